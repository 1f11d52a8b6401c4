"""Time against the number of steps, and what comes before the first result: `python benchmarks/functions.py --growth`.

An LSTM of 32 units, batch 1, float64.  Microseconds for a step: a row that stays as it is grows linearly.  Deriving and emitting
is timed in a fresh process for each T, from loading the system to the function; then its first call, compiling included.
"""

from __future__ import annotations

import one_thread  # noqa: F401  before NumPy and the others, which start their threads when they are imported

# isort: split
import argparse
import subprocess
import sys
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

from peers import OURS, PEERS, Row
from peers.cells import Shape, setting
from timing import timed

from derive.errors import DeriveError

STEPS = (10, 30, 100, 300, 1_000, 3_000, 10_000)
FRESH = (10, 100, 1_000, 10_000)
PATIENCE = 20.0
"""Seconds: a peer whose call takes longer is not asked for more steps."""
SECONDS = 1.0


def shape(T: int) -> Shape:
    return T, 1, 32, 32


def growth(options: argparse.Namespace) -> tuple[str, Any]:
    rows: Mapping[str, Row] = {**{name: PEERS[name] for name in ("numpy", "autograd")}, **OURS}
    rows = {name: row for name, row in rows.items() if name in options.peers}
    steps = {name: per_step(row) for name, row in rows.items()}
    fresh = {name: {T: first(name, T) for T in FRESH} for name in rows if name in OURS}
    return "\n\n".join((shown_steps(rows, steps), shown_first(rows, fresh))), {"steps": steps, "fresh": fresh}


def per_step(row: Row) -> dict[int, float]:
    """Seconds for a step, by T."""
    found: dict[int, float] = {}
    for T in STEPS:
        try:
            call = row.load().prepare(setting("lstm", shape(T), "float64"))
        except (ImportError, OSError, DeriveError) as error:
            print(f"{row.title} is left out: {error}", file=sys.stderr)
            return {}
        call()
        times = [timed(call, 1)]
        while sum(times) < SECONDS:
            times.append(timed(call, 1))
        found[T] = median(times) / T
        if times[0] > PATIENCE:
            print(f"{row.title} took {times[0]:.0f} s for {T} steps and is asked for no more", file=sys.stderr)
            break
    return found


def first(name: str, T: int) -> tuple[float, float] | None:
    """Seconds of deriving and emitting, and of the first call, in a fresh process; imports are not counted."""
    done = subprocess.run([sys.executable, __file__, name, str(T)], capture_output=True, text=True)
    if done.returncode:
        print(f"{name} is left out: {(done.stderr.splitlines() or ['no reason given'])[-1]}", file=sys.stderr)
        return None
    emitting, calling = done.stdout.split()
    return float(emitting), float(calling)


def shown_steps(rows: Mapping[str, Row], steps: Mapping[str, Mapping[int, float]]) -> str:
    lines = [f"| µs for a step, T = | {' | '.join(map(str, STEPS))} |", "|---" * (len(STEPS) + 1) + "|"]
    for name, found in steps.items():
        lines.append(
            f"| {rows[name].title} | {' | '.join(f'{found[T] * 1e6:.3g}' if T in found else '–' for T in STEPS)} |"
        )
    return "\n".join(lines)


def shown_first(rows: Mapping[str, Row], fresh: Mapping[str, Mapping[int, tuple[float, float] | None]]) -> str:
    lines = [
        f"| seconds to derive and emit; of the first call, T = | {' | '.join(map(str, FRESH))} |",
        "|---" * (len(FRESH) + 1) + "|",
    ]
    for name, found in fresh.items():
        cells = ["–" if both is None else f"{both[0]:.2f}; {both[1]:.2f}" for both in found.values()]
        lines.append(f"| {rows[name].title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """In the fresh process: what `first` reads."""
    name, T = sys.argv[1], int(sys.argv[2])
    import sympy  # noqa: F401

    peer, point = OURS[name].load(), setting("lstm", shape(T), "float64")
    start = time.perf_counter()
    call = peer.prepare(point)
    emitted = time.perf_counter()
    call()
    print(emitted - start, time.perf_counter() - emitted)


if __name__ == "__main__":
    main()
