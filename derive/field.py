"""The exact field F_p, p = 2^61 - 1, with every transcendental function hung on one keyed hash `E` of exp.

    E(0) = 1     E(-v) = 1/E(v)     Log(E(v)) = v     E(Log(w)) = w     erf(-v) = -erf(v)     √v · √v = v     √2 = 2^31

Sigmoid, tanh, softmax and the others are rational in `E`, so what follows from the axioms of a field, from equal
arguments giving equal values and from the derivative rules holds here exactly: a true line is never rejected.  (What
needs `exp(a + b) = exp(a) exp(b)` for unrelated `a`, `b` is not in the model: `derive.tower` has it.)  A line that is
false as an identity between rational functions is accepted only if a nonzero polynomial vanishes at a random point: see
`Residues.error`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy
from sympy import Rational

from derive.residues import Residue, Residues
from derive.scalars import Resample, Span, entrywise, object_array

__all__ = ["PRIME_BITS", "Element", "Field", "P", "Resample", "Span", "entrywise", "object_array"]

P = 2**61 - 1
PRIME_BITS = 61


class Element(Residue):
    """An element of F_p with its shadow."""

    __slots__ = ()
    ring: Field
    v: int

    def __init__(self, ring: Field, v: int, s: float, d: int = 0, level: int = 0, k: int = -1):
        self.ring, self.v, self.s, self.d, self.level, self.k = ring, v, s, d, level, k

    def __add__(self, other: Any) -> Element:
        if other.__class__ is not Element:
            if isinstance(other, numpy.ndarray):
                return NotImplemented
            other = self.ring.number(other)
        k = self.k
        if k >= 0 or other.k >= 0:
            tape = self.ring.tape
            tape.append((k, 1, 0, other.k, 1, 0))
            k = len(tape) - 1
        return Element(
            self.ring, (self.v + other.v) % P, self.s + other.s,
            self.d if self.d > other.d else other.d, self.level if self.level > other.level else other.level, k,
        )  # fmt: skip

    def __mul__(self, other: Any) -> Element:
        if other.__class__ is not Element:
            if isinstance(other, numpy.ndarray):
                return NotImplemented
            other = self.ring.number(other)
        k = self.k
        if k >= 0 or other.k >= 0:
            tape = self.ring.tape
            tape.append((k, other.v, other.d, other.k, self.v, self.d))
            k = len(tape) - 1
        return Element(
            self.ring, self.v * other.v % P, self.s * other.s, self.d + other.d,
            self.level if self.level > other.level else other.level, k,
        )  # fmt: skip

    __radd__ = __add__
    __rmul__ = __mul__

    def inverse(self) -> Element:
        """`d(1/u) = -1/u² du`"""
        if self.v == 0:
            raise Resample("division by zero in the field")
        w = pow(self.v, -1, P)
        level = self.ring.inverted(self.v, self.d, self.level)
        value = Element(self.ring, w, 1 / self.s if self.s else math.inf, 1, level)
        return self.ring.record(self, value, -w * w % P, 2)

    def untaped(self) -> Element:
        return Element(self.ring, self.v, self.s, self.d, self.level)


class Field(Residues):
    """F_p under one key."""

    p = smallest = P

    def __init__(self, seed: int = 0):
        super().__init__(seed)
        self._exp: dict[int, tuple[int, int, int]] = {}
        self._log: dict[int, tuple[int, int, int]] = {}

    # --- elements --------------------------------------------------------------------------------------------------

    def rational(self, q: Rational) -> Element:
        return Element(self, int(q.p) * pow(int(q.q), -1, P) % P, float(q))

    def leaf(self, v: int, s: float) -> Element:
        return self.place(Element(self, v % P, s))

    def drawn(self, name: str, v: int) -> Element:
        return Element(self, self.hash(name, v, P), math.nan, 1)

    def derivative(self, v: int, degree: int) -> Element:
        return Element(self, v, math.nan, degree)

    def dot(self, row: list[Element], column: list[Element]) -> Element:
        v, s, d, level = 0, 0.0, 0, 0
        for x, y in zip(row, column, strict=True):
            v += x.v * y.v
            s += x.s * y.s
            d = max(d, x.d + y.d)
            level = max(level, x.level, y.level)
        return Element(self, v % P, s, d, level)

    # --- functions -------------------------------------------------------------------------------------------------

    def _exponential(self, a: Element) -> tuple[int, int, int]:
        """`(E(a), degree, level)`: the hash of whichever of `a`, `-a` is the smaller, or its inverse.

        Of the two the one that is asked for first is the indeterminate, the other its inverse.
        """
        v = a.v
        if v == 0:
            return 1, 0, 0
        if v not in self._exp:
            small = min(v, P - v)
            w = self.hashed("E", a, small).v
            self._tie(v, w if v == small else pow(w, -1, P), (1, 0), (a.d, a.level))
        return self._exp[v]

    def _tie(self, u: int, w: int, measure: tuple[int, int], log_measure: tuple[int, int]) -> None:
        """`E(u) = w`, `E(-u) = 1/w`, `Log(w) = u`, `Log(1/w) = -u`; `measure` is the degree and level of `w`."""
        inverse = pow(w, -1, P)
        self._exp[u], self._log[w] = (w, *measure), (u, *log_measure)
        self._exp[P - u], self._log[inverse] = (inverse, 1, measure[1] + 1), (P - u, *log_measure)

    def exp_of(self, a: Element) -> Element:
        """`dE = E da`"""
        v, d, level = self._exponential(a)
        if level:
            self.inverted(v, d, level - 1)
        return self.record(a, Element(self, v, math.exp(min(a.s, 700.0)), d, level), v, d)

    def log_of(self, a: Element) -> Element:
        """`d log = da / a`"""
        if a.v == 0:
            raise Resample("log of zero in the field")
        if a.v not in self._log and a.v != 1:
            self._tie(self.hashed("Log", a, a.v).v, a.v, (a.d, a.level), (1, 0))
        v, d, level = self._log[a.v] if a.v != 1 else (0, 0, 0)
        self.inverted(a.v, a.d, a.level)
        value = Element(self, v, math.log(a.s) if a.s > 0 else math.nan, d, level)
        return self.record(a, value, pow(a.v, -1, P), 1)

    def sqrt_of(self, a: Element) -> Element:
        """`d √a = da / (2 √a)`.  Of the two roots the one that is itself a square, so that `√a √b = √(ab)`."""
        root = pow(a.v, (P + 1) // 4, P)
        if root * root % P != a.v or root == 0:
            raise Resample("the square root of a non-residue in the field")
        if a.d:
            self.roots.add(a.v)
        d = max(a.d, 1)
        level = self.inverted(root, d, a.level)
        value = Element(self, root, math.sqrt(a.s) if a.s >= 0 else math.nan, d, level)
        return self.record(a, value, pow(2 * root, -1, P), 1)
