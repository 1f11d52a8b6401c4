"""The errors that users see: each is one sentence that says where, what was found and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


class DeriveError(Exception):
    """Anything that a user can mend.  `str(error)` is the whole message; the command line prints it and exits with 2."""


class ShapeError(DeriveError):
    """Two shapes that should agree do not."""


class QueryError(DeriveError):
    """A question that the system has no answer to: an unknown name, an index outside the lattice, a malformed query."""


@dataclass(frozen=True)
class Place:
    """Where a piece of text stands: file (or the system's name), line and column, both counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class SystemError_(DeriveError):
    """A system that is not well-formed, with the place in its text."""

    def __init__(self, message: str, place: Place | None = None):
        super().__init__(f"{place}: {message}" if place else message)
        self.place = place


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`" (did you mean U_z?)"`, or nothing where no known name is near."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""
