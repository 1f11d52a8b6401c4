"""Work in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")


def mapped(function: Callable[[Work], Result], work: Sequence[Work], jobs: int = 1) -> Iterator[Result]:
    """`function` of each piece of work, in order, in as many processes as `jobs` says: the results don't depend on it."""
    if jobs == 1 or len(work) < 2:
        yield from map(function, work)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Forking after JAX or PyTorch has started its threads can hang.
    with ProcessPoolExecutor(min(jobs, len(work)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(function, work)
