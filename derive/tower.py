"""The tower of fields: exponentials that obey `exp(a + b) = exp(a) exp(b)`, exactly.

    p_1 | p_2 - 1,  p_2 | p_3 - 1,  …        exp(x) on floor k + 1 is g^(x on floor k), g of order p_k modulo p_(k+1)

An element is a *pillar*: a residue on every floor from some floor up to the top.  A variable has an independent uniform
residue on every floor, a rational number stands for itself on each, and an exponential begins one floor above what
it is the exponential of.  So `E(0) = 1`, `E(a + b) = E(a) E(b)` and `E(k a) = E(a)^k` hold for all `a`, `b`: what
`derive.field`, which hangs everything on one hash, has for `b = -a` only.  Two pillars are equal if their tops are.

Logarithms go the other way by memory.  `log w` is what `w` is known to be the exponential of; else it is sought as a sum
of known logarithms, which finds `log(w E(c)) = log w + c`; else it is drawn, a new *atom* `u`.  A pillar knows its linear
part in atoms, so that `E(c + 2u) = E(c) w²`.  A true line about logarithms of products that are never met can be
rejected here, one without logarithms can not.  erf and unknown functions are drawn by a hash of the top; what is drawn
stands on the ground.

    r        residues, the top first              logs     {atom: coefficient}, or None
    q        the rational number that a constant is, or None
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from operator import mul
from typing import Any, TypeAlias

import numpy
from sympy import Rational

from derive.evaluate import Array, Unevaluable
from derive.residues import Residue, Residues
from derive.scalars import Resample

BOTTOM = 2**127 - 1
FACTORS = (3274, 11090, 290, 218, 2042, 4850, 50, 6218, 13610, 1298, 6530, 4850)
"""The least `c` with `c p + 1` a prime that is 7 modulo 8 (so 2 has a root, and roots are powers), 3, 5 and 7 squares."""
ROOM = 3
"""On how many floors, from the top, a square root must exist."""
WEIGHT = 2**8
"""The degree of an exponential: see `Tower.error`."""
Logs: TypeAlias = "dict[int, Fraction] | None"


def _primes() -> Iterator[int]:
    p = BOTTOM
    yield p
    for c in FACTORS:
        p = c * p + 1
        yield p


PRIMES = tuple(_primes())[::-1]
"""The top first."""


class TooDeep(Unevaluable):
    """More exponentials within one another than there are floors."""


class Pillar(Residue):
    """An element of the tower, with its shadow."""

    __slots__ = ("logs", "q", "r")
    ring: Tower

    def __init__(self, ring: Tower, r: list[int], s: float, d: int = 0, level: int = 0, k: int = -1, logs: Logs = None):
        self.ring, self.r, self.v, self.s, self.d, self.level, self.k, self.logs = ring, r, r[0], s, d, level, k, logs
        self.q: Fraction | None = None

    def __add__(self, other: Any) -> Pillar:
        if other.__class__ is not Pillar:
            if isinstance(other, numpy.ndarray):
                return NotImplemented
            other = self.ring.number(other)
        k = self.k
        if k >= 0 or other.k >= 0:
            tape = self.ring.tape
            tape.append((k, 1, 0, other.k, 1, 0))
            k = len(tape) - 1
        return Pillar(
            self.ring, [(x + y) % p for x, y, p in zip(self.r, other.r, PRIMES, strict=False)], self.s + other.s,
            max(self.d, other.d), max(self.level, other.level), k, _sum(self.logs, other.logs),
        )  # fmt: skip

    def __mul__(self, other: Any) -> Pillar:
        if other.__class__ is not Pillar:
            if isinstance(other, numpy.ndarray):
                return NotImplemented
            other = self.ring.number(other)
        k = self.k
        if k >= 0 or other.k >= 0:
            tape = self.ring.tape
            tape.append((k, other.v, other.d, other.k, self.v, self.d))
            k = len(tape) - 1
        return Pillar(
            self.ring, [x * y % p for x, y, p in zip(self.r, other.r, PRIMES, strict=False)], self.s * other.s,
            self.d + other.d, max(self.level, other.level), k, _multiple(self, other) or _multiple(other, self),
        )  # fmt: skip

    __radd__ = __add__
    __rmul__ = __mul__

    def inverse(self) -> Pillar:
        """`d(1/u) = -1/u² du`"""
        if not all(self.r):
            raise Resample("division by zero in the tower")
        if self.q:
            return self.ring.number(1 / self.q)
        r = [pow(x, -1, p) for x, p in zip(self.r, PRIMES, strict=False)]
        level = self.ring.inverted(self.v, self.d, self.level)
        value = Pillar(self.ring, r, 1 / self.s if self.s else math.inf, 1, level)
        return self.ring.record(self, value, -value.v * value.v % PRIMES[0], 2)

    def untaped(self) -> Pillar:
        return Pillar(self.ring, self.r, self.s, self.d, self.level, logs=self.logs)


def _sum(a: Logs, b: Logs) -> Logs:
    if not a or not b:
        return a or b
    total = {i: a.get(i, Fraction(0)) + b.get(i, Fraction(0)) for i in a | b}
    return {i: n for i, n in total.items() if n}


def _multiple(a: Pillar, b: Pillar) -> Logs:
    """The linear part of `a b`, if `b` is a rational number."""
    return {i: n * b.q for i, n in a.logs.items()} if a.logs and b.q else None


class Tower(Residues):
    """The tower under one key."""

    p = PRIMES[0]
    smallest = BOTTOM

    def __init__(self, seed: int = 0):
        super().__init__(seed)
        self.generators = [self._generator(i) for i in range(len(FACTORS))]
        self._exp: dict[int, Pillar] = {}
        self._log: dict[int, Pillar] = {}
        self._atoms: list[tuple[Pillar, Pillar]] = []  # (w, log w)

    def _generator(self, i: int) -> int:
        """Of the subgroup of order `PRIMES[i + 1]` modulo `PRIMES[i]`."""
        p, c = PRIMES[i], FACTORS[-1 - i]
        powers = (pow(self.hash("generator", i + n * len(PRIMES), p), c, p) for n in range(len(PRIMES)))
        return next(g for g in powers if g != 1)

    # --- elements --------------------------------------------------------------------------------------------------

    def rational(self, q: Rational) -> Pillar:
        n, m = int(q.p), int(q.q)
        number = Pillar(self, [n * pow(m, -1, p) % p for p in PRIMES], float(q))
        number.q = Fraction(n, m)
        return number

    def leaf(self, r: list[int], s: float) -> Pillar:
        return self.place(Pillar(self, r, s))

    def drawn(self, name: str, v: int) -> Pillar:
        return Pillar(self, [self.hash(f"{name}/{i}", v, p) for i, p in enumerate(PRIMES)], math.nan, 1)

    def derivative(self, v: int, degree: int) -> Pillar:
        """On the top floor only: nobody takes exponentials of derivatives."""
        return Pillar(self, [v], math.nan, degree)

    def matmul(self, a: Array, b: Array) -> Array:
        """Entry by entry where linear parts are to be kept."""
        return a @ b if any(e.logs for e in (*a.flat, *b.flat)) else super().matmul(a, b)

    def dot(self, row: list[Pillar], column: list[Pillar]) -> Pillar:
        left, right = (zip(*(e.r for e in vector), strict=False) for vector in (row, column))
        r = [sum(map(mul, xs, ys)) % p for xs, ys, p in zip(left, right, PRIMES, strict=False)]
        s = sum(x.s * y.s for x, y in zip(row, column, strict=True))
        d = max(x.d + y.d for x, y in zip(row, column, strict=True))
        return Pillar(self, r, s, d, max(e.level for e in (*row, *column)))

    # --- functions -------------------------------------------------------------------------------------------------

    def exp_of(self, a: Pillar) -> Pillar:
        """`dE = E da`.  Of `E(a)`, `E(-a)` the one that is asked for first is the indeterminate, the other its inverse."""
        if a.v not in self._exp:
            opposite = self._exp.get(self.p - a.v)
            self._tie(a.untaped(), self._power(a) if opposite is None else opposite.inverse())
        value = self._exp[a.v].untaped()
        value.s = math.exp(min(a.s, 700.0))
        return self.record(a, value, value.v, value.d)

    def _power(self, a: Pillar) -> Pillar:
        """`g^rest Π w^n`, where `a = rest + Σ n log w`."""
        rest, factor = a.untaped(), self.number(1).untaped()
        for i, n in (a.logs or {}).items():
            w, u = self._atoms[i]
            if n.denominator <= 2:
                rest = rest + u * -n
                factor = factor * (w if n.denominator == 1 else self.sqrt_of(w)) ** n.numerator
        if not any(rest.r):
            return factor
        if len(rest.r) == 1:
            raise TooDeep(
                f"exponentials are nested too deep here: the tower has {len(PRIMES)} floors, each takes one, and a "
                "derivative stands on the top floor only"
            )
        r = [pow(g, x, p) for g, x, p in zip(self.generators, rest.r[1:], PRIMES, strict=False)]
        self.hashes += 1
        self.widest = max(self.widest, rest.d)
        return factor * Pillar(self, r, math.nan, WEIGHT)

    def _tie(self, u: Pillar, w: Pillar) -> None:
        """`E(u) = w`, `log w = u`, `log(1/w) = -u`."""
        self._exp[u.v], self._log[w.v], self._log[pow(w.v, -1, self.p)] = w, u, -u

    def log_of(self, a: Pillar) -> Pillar:
        """`d log = da / a`"""
        if a.v == 0:
            raise Resample("log of zero in the tower")
        if a.v not in self._log:
            self._tie(self._factored(a.v) or self._atom(a), a.untaped())
        self.inverted(a.v, a.d, a.level)
        value = self._log[a.v].untaped()
        value.s = math.log(a.s) if a.s > 0 else math.nan
        return self.record(a, value, pow(a.v, -1, self.p), 1)

    def _factored(self, v: int) -> Pillar | None:
        """A logarithm of `v = w e / f`, where `e` and `f` are known and `w` is 1 or an atom's: the sum of theirs."""
        if v == 1:
            return self.number(0).untaped()
        signed = [(sign, w, u) for w, u in self._atoms for sign in (1, -1)]
        for sign, w, u in [(0, self.number(1), self.number(0)), *signed]:
            rest = v * pow(w.v, -sign, self.p) % self.p
            for f, log_f in self._log.items():
                e = rest * f % self.p
                if e in self._log:
                    return u * sign + self._log[e] - log_f
        return None

    def _atom(self, a: Pillar) -> Pillar:
        u = self.hashed("Log", a, a.v)
        u.logs = {len(self._atoms): Fraction(1)}
        self._atoms.append((a.untaped(), u))
        return u

    def sqrt_of(self, a: Pillar) -> Pillar:
        """`d √a = da / (2 √a)`, on the floors from the top on which there is a root, of the two the one that is a
        square: `√a √b = √(ab)`, `√E(a) = E(a/2)`."""
        r = []
        for x, p in zip(a.r, PRIMES, strict=False):
            root = pow(x, (p + 1) // 4, p)
            if root * root % p != x or root == 0:
                break
            r.append(root)
        if len(r) < min(ROOM, len(a.r)):
            raise Resample("the square root of a non-residue in the tower")
        if a.d:
            self.roots.add(a.v)
        d = max(a.d, 1)
        level = self.inverted(r[0], d, a.level)
        value = Pillar(self, r, math.sqrt(a.s) if a.s >= 0 else math.nan, d, level)
        return self.record(a, value, pow(2 * r[0], -1, self.p), 1)

    # --- the error bound -------------------------------------------------------------------------------------------

    def error(self, degree: int) -> float:
        """As in `Residues.error`, on every floor, with the exponentials as indeterminates.

        That a line which is false of real functions is false of polynomials in them: exponentials of functions that
        are linearly independent over the rationals (modulo constants) are algebraically independent (Ax 1971; for
        algebraic numbers Lindemann and Weierstrass; for constants like `e^e` it is Schanuel's conjecture).  That they
        are uniform and independent in the subgroups of order `p_k` is a theorem where the arguments are independent
        linear forms in variables, and a hypothesis where they are not (it is that of Gonnet's `testeq`, STOC 1984).
        The exponents are taken to be integer combinations of independent ones, their coefficients adding up to `WEIGHT`
        at most.  A root that is asked for on `ROOM` floors costs a factor 2 for each.
        """
        return min(1.0, len(PRIMES) * 2 ** ((ROOM - 1) * len(self.roots)) * super().error(degree))
