"""How long deriving takes, beside what importing SymPy takes: `python benchmarks/solve.py`.

CPU time of fresh processes, the median of several runs; the ratios are what counts, since both parts of each are measured in
one process.  Of every system of the catalogue: *derive* is the table, the adjoint, the tangent and every one-step Jacobian as
worked solutions; *all* adds building the systems and printing every step as LaTeX.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 5

SOLVE = """
from time import process_time as now
start = now()
import sympy
imported = now()
from derive import check, readings
from derive.catalogue import load, names
ours = now()
systems = [load(name) for name in names()]
built = now()
found = []
for system in systems:
    for query in check.standard_queries(system):
        vectors = all(v.shape[1] == 1 for v in system.states)
        if query in ("table", "adjoint", "tangent") or (vectors and not query.startswith("dL")):
            found.append(system.derive(query))
derived = now()
for derivation in found:
    for step in derivation.steps:
        step.latex(derivation.notation)
printed = now()
formulas = sum(len(step.lines) for d in found for step in d.steps)
print(imported - start, derived - built, printed - ours, formulas)
"""


def solve() -> tuple[float, float, float, int]:
    """CPU seconds of importing SymPy, of deriving, of everything; and the number of formulas."""
    imported, derived, everything, formulas = subprocess.run(
        [sys.executable, "-c", SOLVE], capture_output=True, text=True, check=True
    ).stdout.split()
    return float(imported), float(derived), float(everything), int(formulas)


def cpu_of(*command: str) -> float:
    """CPU seconds of a command, children included."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    solve()
    rows = [solve() for _ in range(RUNS)]
    imports, derives, everything = (statistics.median(column) for column in list(zip(*rows, strict=True))[:3])
    first, second = (statistics.median(row[k] / row[0] for row in rows) for k in (1, 2))
    bare = statistics.median(cpu_of(sys.executable, "-c", "pass") for _ in range(RUNS))
    helped = statistics.median(cpu_of(sys.executable, "-m", "derive", "--help") for _ in range(RUNS))
    print(f"import sympy             {imports * 1e3:6.0f} ms CPU")
    print(
        f"derive the catalogue     {derives * 1e3:6.0f} ms CPU   {rows[0][3]} formulas, {first:.2f} of importing SymPy"
    )
    print(f"all, LaTeX included      {everything * 1e3:6.0f} ms CPU   {second:.2f} of importing SymPy")
    print(f"python -c pass           {bare * 1e3:6.0f} ms CPU")
    print(f"derive --help            {helped * 1e3:6.0f} ms CPU")
    print(f"Python {sys.version.split()[0]}, {RUNS} runs each, {time.strftime('%Y-%m-%d')}")


if __name__ == "__main__":
    main()
