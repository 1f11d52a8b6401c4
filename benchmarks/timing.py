"""Interleaved timing: in each round every call has its turn, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

BLOCK = 1e-3
"""Seconds: a shorter call is repeated within its turn until they are filled."""
ROUNDS = 5
"""At least so many, however long they take."""

Calls = Mapping[str, Callable[[], Any]]
Times = dict[str, list[float]]


def interleave(calls: Calls, seconds: float) -> Times:
    """Seconds of one call, for each round; rounds begin until `seconds` are over, every second one in the other order."""
    repeats = {name: max(1, round(BLOCK / timed(call, 1))) for name, call in calls.items() if call() or True}
    times: Times = {name: [] for name in calls}
    order = list(calls)
    gc.collect()
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times[order[0]]) < ROUNDS:
            for name in order:
                times[name].append(timed(calls[name], repeats[name]))
            order.reverse()
            gc.collect(0)
    finally:
        gc.enable()
    return times


def timed(call: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def ratio(times: Times, name: str, to: str) -> float:
    """The median of the rounds' ratios."""
    return median(a / b for a, b in zip(times[name], times[to], strict=True))


def fastest(times: Times, names: Iterable[str]) -> str | None:
    """Of those that were timed."""
    return min((name for name in names if name in times), key=lambda name: median(times[name]), default=None)


def threads(call: Callable[[], Any], seconds: float = 0.2) -> float:
    """CPU seconds for each second of the clock."""
    wall, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() < wall + seconds:
        call()
    return (time.process_time() - cpu) / (time.perf_counter() - wall)


def machine() -> str:
    """The processor, Python and the libraries, in a line."""
    libraries = ("numpy", "autograd", "torch", "jax", "numba")
    return ", ".join(
        [processor(), f"{os.cpu_count()} cores", f"Python {platform.python_version()}", *versions(libraries)]
    )


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def versions(libraries: Iterable[str]) -> list[str]:
    found = []
    for library in libraries:
        try:
            found.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            continue
    return found
