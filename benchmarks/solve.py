"""How long deriving takes, beside what importing SymPy takes: `python benchmarks/solve.py`.

Every figure is CPU time of a fresh process, the median of several; the ratio is what counts, since both are measured in turn
on the same machine.  "solve" is the adjoint, the tangent and every one-step Jacobian of all systems of the catalogue, as
LaTeX; SymPy's own import is measured in the same process, before it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 5

SOLVE = """
import time
t0 = time.process_time()
import sympy
t1 = time.process_time()
from derive.catalogue import load, names
formulas = 0
for name in names():
    system = load(name)
    index = ",".join(map(str, system.lattice.indices))
    queries = ["adjoint", "tangent"]
    for source, offset in dict.fromkeys((s, o) for _, s, o in system.reads if any(o) and s in system.equations):
        if system.variables[source].shape[1] == 1:
            there = ",".join(f"{i}{o:+d}" if o else str(i) for i, o in zip(system.lattice.indices, offset))
            queries.append(f"d{source}[{index}]/d{source}[{there}]")
    for query in queries:
        derivation = system.derive(query)
        formulas += sum(len(step.lines) for step in derivation.steps)
        for step in derivation.steps:
            step.latex(derivation.notation)
t2 = time.process_time()
print(t1 - t0, t2 - t1, formulas)
"""


def solve() -> tuple[float, float, int]:
    """CPU seconds of `import sympy`, of solving the catalogue, and the number of formulas."""
    imported, solved, formulas = subprocess.run(
        [sys.executable, "-c", SOLVE], capture_output=True, text=True, check=True
    ).stdout.split()
    return float(imported), float(solved), int(formulas)


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
    imports = statistics.median(row[0] for row in rows)
    solves = statistics.median(row[1] for row in rows)
    ratio = statistics.median(row[1] / row[0] for row in rows)
    bare = statistics.median(cpu_of(sys.executable, "-c", "pass") for _ in range(RUNS))
    helped = statistics.median(cpu_of(sys.executable, "-m", "derive", "--help") for _ in range(RUNS))
    print(f"import sympy              {imports * 1e3:6.0f} ms CPU")
    print(
        f"solve the catalogue       {solves * 1e3:6.0f} ms CPU   {rows[0][2]} formulas   {ratio:.2f} of importing SymPy"
    )
    print(f"python -c pass            {bare * 1e3:6.0f} ms CPU")
    print(f"derive --help             {helped * 1e3:6.0f} ms CPU")
    print(f"Python {sys.version.split()[0]}, {RUNS} runs each, {time.strftime('%Y-%m-%d')}")


if __name__ == "__main__":
    main()
