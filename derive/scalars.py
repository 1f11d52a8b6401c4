"""Rings of scalars that record themselves on a tape: what F_p, the tower of fields and the balls have in common.

An element knows `+`, `*`, its inverse and its sign; every other operator follows here.  A ring knows its rational
numbers; its arrays are NumPy object arrays, and its choices are made by signs.

    v, k     value, and place on the tape (-1 for a constant)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self, TypeAlias

import numpy
from sympy import Rational

from derive.errors import DeriveError
from derive.evaluate import Array, Ring

Span: TypeAlias = "tuple[int, int | None]"
"""Where a program begins and ends on the tape."""


class Resample(DeriveError):
    """The random point was unlucky: a division by zero, or a square root of a non-residue.  Draw another."""


class Scalar:
    """An element of a `ScalarRing`.  In `+` and `*` a NumPy array is left to NumPy, which takes it entry by entry."""

    __slots__ = ("k", "ring", "v")
    ring: Any
    v: Any
    k: int

    def __add__(self, other: Any) -> Self:
        raise NotImplementedError

    def __mul__(self, other: Any) -> Self:
        raise NotImplementedError

    def inverse(self) -> Self:
        """Raises `Resample` at zero."""
        raise NotImplementedError

    def sign(self) -> int:
        """-1, 0 or 1.  Raises `Resample` where that can't be told."""
        raise NotImplementedError

    def untaped(self) -> Self:
        """The same value as a constant, a new object."""
        raise NotImplementedError

    def __neg__(self) -> Self:
        return self * -1

    def __sub__(self, other: Any) -> Self:
        return self + other * -1

    def __rsub__(self, other: Any) -> Self:
        return self * -1 + other

    def __truediv__(self, other: Any) -> Self:
        return self * self.ring.element(other).inverse()

    def __rtruediv__(self, other: Any) -> Self:
        return self.inverse() * other

    def __pow__(self, exponent: int) -> Self:
        exponent = int(exponent)
        if exponent == 0:
            return self.ring.number(1)
        base, exponent = (self if exponent > 0 else self.inverse()), abs(exponent)
        if exponent == 1:
            return base
        half = base ** (exponent // 2)
        return half * half * base if exponent % 2 else half * half


class ScalarRing(Ring):
    """Arrays are NumPy object arrays of `Scalar`."""

    def __init__(self) -> None:
        self.tape: list[Any] = []
        self._numbers: dict[Any, Any] = {}

    def rational(self, q: Rational) -> Any:
        """A rational number as an element."""
        raise NotImplementedError

    def number(self, q: Any) -> Any:
        found = self._numbers.get(q)
        if found is None:
            found = self._numbers[q] = self.rational(Rational(q))
        return found

    def element(self, value: Any) -> Any:
        return value if isinstance(value, Scalar) else self.number(value)

    def constant(self, rows: Iterable[Iterable[int]]) -> Array:
        return object_array([[self.number(entry) for entry in row] for row in rows])

    def detached(self, a: Array) -> Array:
        """The same values, off the tape."""
        return entrywise(lambda e: e.untaped(), a)

    def compare(self, relation: str, a: Any, b: Any) -> Any:
        """By the sign of the difference."""
        difference = a - b
        return MASKS[relation](each(lambda e: e.sign(), difference))

    def where(self, mask: Any, a: Any, b: Any) -> Any:
        if isinstance(mask, (bool, numpy.bool_)):
            return a if mask else b
        shape = numpy.shape(mask)
        pick = zip(mask.flat, _spread(a, shape), _spread(b, shape), strict=True)
        return object_array([[x if m else y for m, x, y in pick]], shape)


class Lazily(Mapping[Any, Array]):
    """`f` of every entry of several arrays, each when it is first asked for: of many leaves, few are read."""

    def __init__(self, arrays: Mapping[Any, Array], f: Callable[[Any], Any]):
        self.arrays, self.f = arrays, f
        self.done: dict[Any, Array] = {}

    def __getitem__(self, key: Any) -> Array:
        if key not in self.done:
            self.done[key] = entrywise(self.f, self.arrays[key])
        return self.done[key]

    def __contains__(self, key: object) -> bool:
        return key in self.arrays

    def __iter__(self) -> Iterator[Any]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


def object_array(rows: list[list[Any]], shape: tuple[int, ...] | None = None) -> Array:
    """Filled entry by entry: NumPy must not look for a length inside an element."""
    flat = [entry for row in rows for entry in row]
    array = numpy.empty(len(flat), dtype=object)
    array[:] = flat
    return array.reshape(shape or (len(rows), len(rows[0]) if rows else 0))


def entrywise(f: Callable[[Any], Any], a: Array) -> Array:
    return object_array([[f(e) for e in a.flat]], a.shape)


def each(f: Callable[[Any], Any], a: Any) -> Any:
    """Of a scalar, or of every entry of an array."""
    return f(a) if isinstance(a, Scalar) else entrywise(f, a)


def _spread(a: Any, shape: tuple[int, ...]) -> Iterable[Any]:
    return numpy.broadcast_to(a, shape).flat if isinstance(a, numpy.ndarray) else [a] * math.prod(shape)


MASKS: dict[str, Callable[[Any], Any]] = {
    ">": lambda s: s > 0,
    ">=": lambda s: s >= 0,
    "<": lambda s: s < 0,
    "<=": lambda s: s <= 0,
    "==": lambda s: s == 0,
    "!=": lambda s: s != 0,
}
