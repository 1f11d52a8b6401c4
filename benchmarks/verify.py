"""How long a verdict takes: `python benchmarks/verify.py [--system lstm] [--claims 60]`.

A document of so many claims about one cell is made from what derive itself writes of it (each claim as a display of its own,
all of them right) and verified in fresh processes.  CPU time, the median of several runs, beside what importing SymPy takes
in the same process; and the time of single claims, of which the first ones also pay for unrolling the cell.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RUNS = 5

VERIFY = """
from time import process_time as now
start = now()
import sympy
imported = now()
from derive.verdicts.verify import verify_file
report = verify_file(sys.argv[1])
done = now()
print(imported - start, done - imported, len(report.findings), sum(f.verdict == "holds" for f in report.findings))
"""

SINGLE = """
from time import process_time as now
from derive.reader.understand import read
from derive.verdicts.verify import Reviewed
found = read(sys.argv[1])
review, times = Reviewed(found), []
for claim in found.claims:
    start = now()
    review.judged[claim.n] = review.judge(claim)
    times.append(1000 * (now() - start))
print(*times)
"""


def document(system: str, count: int) -> str:
    """Right lines about a cell, as a person would write them: Jacobians and gradients, no marks of our own."""
    from derive import check, expr
    from derive.catalogue import load
    from derive.printing import latex

    lines = []
    for claim in check.system_claims(load(system)):
        marks = {mark for v in expr.variables(claim.equation) for mark in v.marks}
        if marks <= {"bar"} and isinstance(claim.equation.lhs, (expr.Partial, expr.Var)) and not claim.ranges:
            lines.append(latex(claim.equation))
    chosen = lines[:: max(1, len(lines) // count)][:count]
    return "\n\n".join([f"<!-- derive: system {system} -->", *(f"$$\n{line}\n$$" for line in chosen)])


def run(program: str, path: Path) -> list[float]:
    """What a fresh process prints; its modules are compiled already, as they are for a user from the second time on."""
    command = [sys.executable, "-c", f"import sys\n{program}", str(path)]
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=compiled)
    return [float(part) for part in out.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--system", default="lstm")
    parser.add_argument("--claims", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines.md"
        path.write_text(document(options.system, options.claims), encoding="utf-8")
        whole = [run(VERIFY, path) for _ in range(RUNS)]
        single = [run(SINGLE, path) for _ in range(RUNS)]
    imported, verified = (statistics.median(r[k] for r in whole) for k in (0, 1))
    claims, held = (int(whole[0][k]) for k in (2, 3))
    medians = [statistics.median(times) for times in single]
    print(f"{options.system}: {claims} claims, {held} hold")
    print(f"importing SymPy                {1000 * imported:7.0f} ms of CPU")
    print(f"reading and verifying them     {1000 * verified:7.0f} ms, {verified / imported:.2f} of it")
    print(f"one claim, median              {statistics.median(medians):7.1f} ms")
    print(f"one claim, mean                {statistics.median(statistics.mean(times) for times in single):7.1f} ms")


if __name__ == "__main__":
    main()
