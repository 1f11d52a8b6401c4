"""How work is run: in several processes, and with few collections."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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


@contextmanager
def few_collections() -> Iterator[None]:
    """Formulas are many small objects that live as long as their system does.

    The collector's own thresholds make it walk all of them again and again, which takes a fifth of the time.
    """
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
