"""Affine forms in open parameters, which know where they were asked: `a + b c` at a sample of c, exactly.

Whoever compares such a form with zero gets the answer at the sample, and the form notes for which values of the parameter
the answer is the same: a half line whose end, `-a / b`, is open or closed as the comparison has it.  What is left when a
whole exploration has run is the cell of all values at which it runs in the very same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from derive.errors import DeriveError
from derive.evaluate import COMPARE


@dataclass(frozen=True)
class Interval:
    """From `lo` to `hi`, None where it has no end; `closed` says of each end whether it belongs."""

    lo: Fraction | None = None
    hi: Fraction | None = None
    closed: tuple[bool, bool] = (False, False)

    def __contains__(self, point: Any) -> bool:
        above = self.lo is None or point > self.lo or (point == self.lo and self.closed[0])
        return above and (self.hi is None or point < self.hi or (point == self.hi and self.closed[1]))

    @property
    def is_empty(self) -> bool:
        if self.lo is None or self.hi is None:
            return False
        return self.lo > self.hi or (self.lo == self.hi and not all(self.closed))

    @property
    def inside(self) -> Fraction:
        """A point of it."""
        if self.lo is not None and self.hi is not None:
            return (self.lo + self.hi) / 2
        if self.lo is None:
            return Fraction(0) if self.hi is None else self.hi - 1
        return self.lo + 1

    def __and__(self, other: Interval) -> Interval:
        _, lo, is_open = max(self._low, other._low)
        _, hi, is_closed = min(self._high, other._high)
        return Interval(lo, hi, (not is_open, is_closed))

    @property
    def _low(self) -> tuple[bool, Any, bool]:
        """Sorts lower ends: none is the leftmost, one that is open stands to the right of one that is closed."""
        return (self.lo is not None, self.lo, not self.closed[0])

    @property
    def _high(self) -> tuple[bool, Any, bool]:
        """Sorts upper ends: none is the rightmost, one that is open stands to the left of one that is closed."""
        return (self.hi is None, self.hi, self.closed[1])

    def minus(self, inner: Interval) -> Iterator[Interval]:
        """What lies on either side of a part of it."""
        if inner.lo is not None:
            yield Interval(self.lo, inner.lo, (self.closed[0], not inner.closed[0]))
        if inner.hi is not None:
            yield Interval(inner.hi, self.hi, (not inner.closed[1], self.closed[1]))

    def touches(self, later: Interval) -> bool:
        """Whether it and one that begins no earlier are one interval together."""
        if self.hi is None or later.lo is None:
            return True
        return later.lo < self.hi or (later.lo == self.hi and (self.closed[1] or later.closed[0]))

    def joined(self, later: Interval) -> Interval:
        _, hi, is_closed = max(self._high, later._high)
        return Interval(self.lo, hi, (self.closed[0], is_closed))

    def text(self, name: str) -> str:
        """`-2 < c ≤ -1`"""
        if self.lo is not None and self.lo == self.hi:
            return f"{name} = {self.lo}"
        low = "" if self.lo is None else f"{self.lo} {'≤' if self.closed[0] else '<'} "
        high = "" if self.hi is None else f" {'≤' if self.closed[1] else '<'} {self.hi}"
        if low and not high:
            return f"{name} {'≥' if self.closed[0] else '>'} {self.lo}"
        return f"{low}{name}{high}" if high else f"every {name}"


def union(intervals: Sequence[Interval]) -> tuple[Interval, ...]:
    """The same set as few intervals as there can be, from left to right."""
    merged: list[Interval] = []
    for interval in sorted(intervals, key=lambda i: (i.lo is not None, i.lo or 0, not i.closed[0])):
        if merged and merged[-1].touches(interval):
            merged[-1] = merged[-1].joined(interval)
        else:
            merged.append(interval)
    return tuple(merged)


@dataclass
class Sample:
    """A point, and the cell around it in which every comparison so far comes out as it did there."""

    point: Mapping[str, Fraction]
    cell: dict[str, Interval] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cell = {name: Interval() for name in self.point}

    def form(self, name: str) -> Affine:
        return Affine(Fraction(0), ((name, Fraction(1)),), self)


@dataclass(frozen=True)
class Affine:
    """`constant + Σ slope · parameter`; equal where the forms are, wherever they are sampled."""

    constant: Fraction
    slopes: tuple[tuple[str, Fraction], ...]
    sample: Sample = field(compare=False, repr=False)

    @property
    def parts(self) -> tuple[Fraction, ...]:
        """Its numbers."""
        return self.constant, *(k for _, k in self.slopes)

    def _made(self, constant: Fraction, slopes: Mapping[str, Fraction]) -> Any:
        kept = tuple(sorted((name, k) for name, k in slopes.items() if k))
        return Affine(constant, kept, self.sample) if kept else constant

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, Affine):
            return self._made(self.constant + other, dict(self.slopes))
        slopes = dict(self.slopes)
        for name, k in other.slopes:
            slopes[name] = slopes.get(name, Fraction(0)) + k
        return self._made(self.constant + other.constant, slopes)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Affine):
            names = sorted({name for name, _ in (*self.slopes, *other.slopes)})
            raise DeriveError(f"{' and '.join(names)} stand in one product, with no bound that is exact; {ADVICE}")
        return self._made(self.constant * other, {name: k * other for name, k in self.slopes})

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Any:
        return self * -1

    def __sub__(self, other: Any) -> Any:
        return self + (-other)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __pow__(self, exponent: int) -> Any:
        if exponent != 1:
            raise DeriveError(f"a power of {self.slopes[0][0]} is no affine form; {ADVICE}")
        return self

    def compare(self, op: str) -> bool:
        """`self op 0` at the sample; the cell shrinks to the values with the same answer."""
        if len(self.slopes) > 1:
            together = " and ".join(name for name, _ in self.slopes)
            raise DeriveError(f"{together} stand in one sum, so that their ranges depend on each other; {ADVICE}")
        ((name, slope),) = self.slopes
        root, point = -self.constant / slope, self.sample.point[name]
        below, there, above = (COMPARE[op](side * slope, 0) for side in (-1, 0, 1))
        if point == root:
            same = Interval(None if below == there else root, None if above == there else root, (True, True))
            answer = there
        elif point > root:
            same, answer = Interval(root, None, (there == above, False)), above
        else:
            same, answer = Interval(None, root, (False, there == below)), below
        self.sample.cell[name] = self.sample.cell[name] & same
        return bool(answer)

    def __str__(self) -> str:
        terms = [f"{k}·{name}" if k != 1 else name for name, k in self.slopes]
        return " + ".join([*terms, *([str(self.constant)] if self.constant else [])])


ADVICE = "give all but one of them a number"
