"""Peak memory of an LSTM's gradients, each peer in a fresh process: `python benchmarks/functions.py --memory`.

What is counted is the largest resident size during a call minus the resident size before it; the result is part of it (so that
the gradient of x grows with T, whatever the checkpoints), the arguments are not.  Before that the peer has been compiled and
called once, and what it freed was given back to the system.
"""

from __future__ import annotations

import one_thread  # noqa: F401  before NumPy and the others, which start their threads when they are imported

# isort: split
import argparse
import ctypes
import gc
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from peers import OURS, PEERS
from peers.cells import Shape, setting

from derive.emit.compiled import Compiled

SHAPE: Shape = (200, 32, 128, 256)
LENGTHS = (100, 400, 1600)
"""Steps of the second table, with a checkpoint every √T of them."""
STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RETURNED = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""With these glibc gives freed arrays back."""


def memory(options: argparse.Namespace) -> tuple[str, Any]:
    """In megabytes, of every peer at `SHAPE`, and of ours with checkpoints at `LENGTHS`."""
    if not FORGET.exists():
        sys.exit("peak memory is read from /proc/self, which is Linux's: there is none here")
    found = {name: {SHAPE[0]: megabytes(name, SHAPE)} for name in options.peers if name != "gemms"}
    lines = [f"lstm, float32, (T, batch, in, hidden) = {SHAPE}, MB", "", "| | MB |", "|---|---|"]
    rows = {**PEERS, **OURS}
    lines += [f"| {rows[name].title} | {shown(sizes[SHAPE[0]])} |" for name, sizes in found.items()]
    checkpoints = {}
    if "checkpoint" in inspect.signature(Compiled.vjp).parameters:
        checkpoints = {name: lengths(name, LENGTHS) for name in options.peers if name in OURS}
        lines += ["", f"| a checkpoint every √T steps, T = | {' | '.join(map(str, LENGTHS))} |", "|---" * 4 + "|"]
        lines += [f"| {rows[name].title} | {' | '.join(map(shown, m.values()))} |" for name, m in checkpoints.items()]
    return "\n".join(lines), {"whole": found, "checkpoints": checkpoints}


def lengths(name: str, steps: Iterable[int]) -> dict[int, float | None]:
    return {T: megabytes(name, (T, *SHAPE[1:]), round(T**0.5)) for T in steps}


def shown(size: float | None) -> str:
    return "–" if size is None else f"{size:.0f}"


def megabytes(name: str, shape: Shape, checkpoint: int = 0) -> float | None:
    """In a fresh process; None, and its last line on stderr, where the peer can't run."""
    command = [sys.executable, __file__, name, *map(str, shape), str(checkpoint)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **RETURNED})
    if done.returncode:
        print(f"{name} is left out: {(done.stderr.splitlines() or ['no reason given'])[-1]}", file=sys.stderr)
        return None
    return float(done.stdout)


def peak(call: Callable[[], Any]) -> float:
    """Megabytes that a call adds to the resident size at most."""
    call()
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    FORGET.write_text("5")
    before = resident("VmRSS")
    result = call()
    after = resident("VmHWM")
    del result
    return (after - before) / 1024


def resident(key: str) -> int:
    """Kilobytes."""
    match = re.search(rf"{key}:\s+(\d+)", STATUS.read_text())
    assert match
    return int(match[1])


def main() -> None:
    name, *numbers = sys.argv[1:]
    *shape, checkpoint = map(int, numbers)
    point = setting("lstm", tuple(shape), "float32")
    if name in OURS:
        from peers.ours import prepare

        # Not bound to its arrays: the memory that a bound function keeps is its own before it is called.
        call = prepare(OURS[name].module, point, checkpoint=checkpoint or None)
    else:
        call = PEERS[name].load().prepare(point)
    print(peak(call))


if __name__ == "__main__":
    main()
