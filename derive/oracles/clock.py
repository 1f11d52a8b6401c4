"""The time that one question may take: whoever works for long asks whether there is any left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from time import monotonic

from derive.errors import DeriveError

_end: ContextVar[float] = ContextVar("end", default=inf)


class OutOfTime(DeriveError):
    """The time that was given is used up."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What is asked inside may take so long all together."""
    token = _end.set(min(_end.get(), monotonic() + seconds))
    try:
        yield
    finally:
        _end.reset(token)


def is_up() -> bool:
    """Whether the end has come."""
    return monotonic() > _end.get()


def check() -> None:
    """Raises `OutOfTime` where the end has come."""
    if is_up():
        raise OutOfTime("it takes too long to work out")
