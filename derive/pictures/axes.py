"""The frame of a chart: where a value lies, its grid, ticks and names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from derive.pictures.model import XY, Label, Shape, Stroke
from derive.pictures.words import Words, said, typed

SIZE = 12.0
MOST_TICKS = 6
DECADES = (1, 2, 3, 5, 10, 20, 50)


@dataclass(frozen=True)
class Axes:
    """A linear axis `0..last` to the right and a logarithmic one upwards, from `10**low` to `10**high`."""

    left: float
    top: float
    width: float
    height: float
    last: float
    low: int
    high: int

    def at(self, x: float, value: float) -> XY:
        """The place of a value, which is positive."""
        return self.across(x), self.up(log10(value))

    def across(self, x: float) -> float:
        return self.left + self.width * x / self.last

    def up(self, exponent: float) -> float:
        return self.top + self.height * (self.high - exponent) / (self.high - self.low)

    def within(self, xs: Sequence[float], values: Iterable[float]) -> list[list[XY]]:
        """The pieces of a curve that lie inside the frame, cut where it crosses the lower or the upper edge."""
        pieces: list[list[XY]] = [[]]
        points = [(x, log10(v) if v > 0 else self.low - 1.0) for x, v in zip(xs, values, strict=True)]
        for number, (x, e) in enumerate(points):
            before = points[number - 1] if number else (x, e)
            inside = self.low <= e <= self.high
            was = self.low <= before[1] <= self.high
            if number and inside != was:
                edge = self.low if min(e, before[1]) < self.low else self.high
                part = (edge - before[1]) / (e - before[1])
                pieces[-1].append((self.across(before[0] + part * (x - before[0])), self.up(edge)))
            if inside:
                pieces[-1].append((self.across(x), self.up(e)))
            elif was:
                pieces.append([])
        return [p for p in pieces if len(p) > 1]

    def frame(self, across: Words, every: int) -> Iterator[Shape]:
        """Lines at the decades, ticks every so many steps, and the name of the axis below."""
        bottom = self.top + self.height
        step = next(d for d in DECADES if (self.high - self.low) / d <= MOST_TICKS)
        for exponent in range(self.low, self.high + 1):
            if exponent % step == 0:
                y = self.up(exponent)
                yield Stroke(((self.left, y), (self.left + self.width, y)), "axis" if not exponent else "grid")
                yield Label((self.left - 6, y + 4), power_of_ten(exponent), "note", "end", SIZE)
        for x in range(0, int(self.last) + 1, every):
            place = self.across(x)
            yield Stroke(((place, bottom), (place, bottom + 4)), "axis")
            yield Label((place, bottom + 17), said(str(x)), "note", size=SIZE)
        yield Stroke(((self.left, bottom), (self.left + self.width, bottom)), "axis")
        yield Label((self.left + self.width / 2, bottom + 34), across, "note", size=SIZE + 1)


def decades(values: Sequence[float], least: int, most: int) -> tuple[int, int]:
    """The powers of ten around the values, within `least..most` and at least one apart."""
    exponents = [log10(v) for v in values if v > 0] or [0.0]
    low, high = floor(max(min(exponents), least)), ceil(min(max(exponents), most))
    return (low, high) if low < high else (low - 1, high + 1)


def power_of_ten(exponent: int) -> Words:
    return typed(f"10^{{{exponent}}}", f"10^{{{exponent}}}") if exponent not in (0, 1) else said(str(10**exponent))


def number(value: float) -> str:
    """Two digits: `0.52`, `3.1·10⁻⁹`; `∞` for what float64 does not hold."""
    if not isfinite(value):
        return "∞"
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"
    digits, _, exponent = f"{value:.1e}".partition("e")
    return f"{digits}·10{str(int(exponent)).translate(_RAISED)}"


_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
