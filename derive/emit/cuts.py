"""Where time can be cut: the segments of a chain, and a segment as a system of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isqrt
from typing import Any

from derive.errors import DeriveError
from derive.lattice import Border
from derive.system import LOSS, System


@dataclass(frozen=True)
class Segment:
    """The steps `first..last`; gradients of states flow from it no farther than into the block `start..end`."""

    first: int
    last: int
    start: int
    end: int

    def __contains__(self, step: int) -> bool:
        return self.first <= step <= self.last

    def rows(self, array: Any) -> Any:
        return array[self.first - 1 : self.last]

    def beyond(self, border: Border) -> int:
        """The step that lies at the segment as a border lies at the lattice."""
        (side,) = border.sides
        return self.first - side.depth if side.low else self.last + side.depth


def segments(
    T: int, direction: int, truncate: int | None = None, checkpoint: int | bool | None = None
) -> list[Segment]:
    """The segments of `1..T` in the order in which states flow; the last one may be shorter."""
    found = []
    for start, end in _cut(1, T, steps("truncate", truncate, T), direction):
        length = end - start + 1
        root = isqrt(length - 1) + 1
        k = root if checkpoint is True else steps("checkpoint", checkpoint, length)
        found += [Segment(first, last, start, end) for first, last in _cut(start, end, k, direction)]
    return found


def steps(what: str, given: int | bool | None, otherwise: int) -> int:
    """A number of steps that was asked for.  Raises `ValueError` where it is none."""
    if given is None or given is False:
        return otherwise
    if isinstance(given, bool) or not hasattr(given, "__index__") or given < 1:
        raise ValueError(f"{what} is a number of steps, 1 or more; found {given!r}")
    return int(given)


def asked(option: Any) -> bool:
    return option is not None and option is not False


def _cut(first: int, last: int, k: int, direction: int) -> list[tuple[int, int]]:
    if direction > 0:
        return [(a, min(a + k - 1, last)) for a in range(first, last + 1, k)]
    return [(max(b - k + 1, first), b) for b in range(last, first - 1, -k)]


def flow(system: System) -> int:
    """+1 where no state is read at a later step, -1 where none is at an earlier one.  Raises `DeriveError` for the others."""
    instead = "call it without truncate and checkpoint"
    if system.lattice.dimension > 1:
        raise DeriveError(
            f"{system.name} lies on a grid, where truncate and checkpoint have no one axis to count along; {instead}"
        )
    back: dict[bool, str] = {}
    for target, source, (offset,) in system.reads:
        if offset and target != LOSS and system.variables[source].kind == "state":
            back.setdefault(offset < 0, f"{target}[t] reads {source}[{system.lattice.point((offset,))}]")
    if len(back) > 1:
        raise DeriveError(
            f"{system.name} can't be cut into segments, since states flow both ways: {back[True]}, {back[False]}; {instead}"
        )
    return -1 if False in back else 1


def segment_of(system: System) -> System:
    """`system` over a segment: whatever is read beyond its ends is given, what the next one reads is an output."""
    bare = system.with_cotangents()
    carried = [s for _, s, (o,) in bare.reads if o and bare.variables[s].kind == "state"]
    given = {v.name: "given" for v in bare.of_kind("state", "input", "target") if v.name != LOSS}
    parts = replace(bare.parts, boundary=given, name=f"{system.name}, a segment", title=f"A segment of: {system.title}")
    return System.of(parts).with_cotangents(*dict.fromkeys([*system.outputs, *carried]))
