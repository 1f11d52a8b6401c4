"""The exact field F_p, p = 2^61 - 1, with every transcendental function hung on one keyed hash `E` of exp.

    E(0) = 1     E(-v) = 1/E(v)     Log(E(v)) = v     E(Log(w)) = w     erf(-v) = -erf(v)     √v · √v = v     √2 = 2^31

Sigmoid, tanh, softmax and the others are rational in `E`, so what follows from the axioms of a field, from equal
arguments giving equal values and from the derivative rules holds here exactly: a true line is never rejected.  (What
needs `exp(a + b) = exp(a) exp(b)` for unrelated `a`, `b` is not in the model.)  A line that is false as an identity
between rational functions is accepted only if a nonzero polynomial vanishes at a random point: see `Field.error`.

Every element carries a *shadow*, an ordinary float computed alongside, from which relu, max, abs and step take their
branch.  The elements record themselves on a tape of scalars; `Field.pull` runs it backwards.  The tape knows `+ * 1/ E
log erf sqrt` and unknown functions, one line each, and nothing of matrices: it shares no rule with the symbolic
engine.

    v, s     value mod p, shadow            d, level   degree, and depth of nested inverses (for the error bound)
    k        place on the tape, -1 for a constant
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy
from sympy import Rational

from derive.errors import DeriveError
from derive.evaluate import Array, Ring, unknown_shift

P = 2**61 - 1
PRIME_BITS = 61
Span: TypeAlias = "tuple[int, int | None]"
"""Where a program begins and ends on the tape."""


class Resample(DeriveError):
    """The random point was unlucky: a division by zero, or a square root of a non-residue.  Draw another."""


class Element:
    """An element of F_p with its shadow."""

    __slots__ = ("d", "field", "k", "level", "s", "v")

    def __init__(self, field: Field, v: int, s: float, d: int = 0, level: int = 0, k: int = -1):
        self.field, self.v, self.s, self.d, self.level, self.k = field, v, s, d, level, k

    def __add__(self, other: Any) -> Element:
        if other.__class__ is not Element:
            if isinstance(other, numpy.ndarray):
                return NotImplemented  # NumPy takes it entry by entry
            other = self.field.number(other)
        k = self.k
        if k >= 0 or other.k >= 0:
            tape = self.field.tape
            tape.append((k, 1, 0, other.k, 1, 0))
            k = len(tape) - 1
        return Element(
            self.field, (self.v + other.v) % P, self.s + other.s,
            self.d if self.d > other.d else other.d, self.level if self.level > other.level else other.level, k,
        )  # fmt: skip

    def __mul__(self, other: Any) -> Element:
        if other.__class__ is not Element:
            if isinstance(other, numpy.ndarray):
                return NotImplemented  # NumPy takes it entry by entry
            other = self.field.number(other)
        k = self.k
        if k >= 0 or other.k >= 0:
            tape = self.field.tape
            tape.append((k, other.v, other.d, other.k, self.v, self.d))
            k = len(tape) - 1
        return Element(
            self.field, self.v * other.v % P, self.s * other.s, self.d + other.d,
            self.level if self.level > other.level else other.level, k,
        )  # fmt: skip

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> Element:
        return self * -1

    def __sub__(self, other: Any) -> Element:
        return self + other * -1

    def __rsub__(self, other: Any) -> Element:
        return self * -1 + other

    def __truediv__(self, other: Any) -> Element:
        return self * self.field.element(other).inverse()

    def __rtruediv__(self, other: Any) -> Element:
        return self.inverse() * other

    def __pow__(self, exponent: int) -> Element:
        exponent = int(exponent)
        if exponent == 0:
            return self.field.number(1)
        base = self if exponent > 0 else self.inverse()
        result = base
        for _ in range(abs(exponent) - 1):
            result = result * base
        return result

    def inverse(self) -> Element:
        """`d(1/u) = -1/u² du`"""
        if self.v == 0:
            raise Resample("division by zero in the field")
        w = pow(self.v, -1, P)
        level = self.field.inverted(self)
        s = 1 / self.s if self.s else math.inf
        return self.field.record(self, w, s, -w * w % P, 2, level)

    def __eq__(self, other: object) -> bool:
        return self.v == self.field.element(other).v

    def __hash__(self) -> int:
        return hash(self.v)

    def __repr__(self) -> str:
        return str(self.v) if math.isnan(self.s) else f"{self.v} (≈ {self.s:.6g})"


class Field(Ring):
    """F_p under one key.  Its arrays are NumPy object arrays of `Element`."""

    def __init__(self, seed: int = 0):
        self.key = seed.to_bytes(16, "big", signed=True)
        self.tape: list[tuple[int, int, int, int, int, int]] = []
        self.hashes = 0  # distinct arguments that were hashed: two of them may collide
        self.roots: set[int] = set()
        self.widest = 1  # the largest degree of a hashed argument
        self.inverse_degrees: list[dict[int, int]] = []  # by level: {inverted value: its degree}
        self._exp: dict[int, tuple[int, int, int]] = {}
        self._log: dict[int, tuple[int, int, int]] = {}
        self._numbers: dict[Any, Element] = {}
        self._degrees: dict[tuple[int, int], int] = {}
        self._seen: set[tuple[str, int]] = set()
        root = self.hash("pi", 0)
        self._pi = Element(self, root * root % P, math.pi, 2)

    # --- elements --------------------------------------------------------------------------------------------------

    def number(self, q: Any) -> Element:
        found = self._numbers.get(q)
        if found is None:
            q_ = Rational(q)
            found = Element(self, int(q_.p) * pow(int(q_.q), -1, P) % P, float(q_))
            self._numbers[q] = found
        return found

    def element(self, value: Any) -> Element:
        return value if isinstance(value, Element) else self.number(value)

    def pi(self) -> Element:
        return self._pi

    def constant(self, rows: Iterable[Iterable[int]]) -> Array:
        return object_array([[self.number(entry) for entry in row] for row in rows])

    def matmul(self, a: Array, b: Array) -> Array:
        """Off the tape a product needs no element for every partial sum."""
        if any(e.k >= 0 for e in a.flat) or any(e.k >= 0 for e in b.flat):
            return a @ b
        columns = b.T.tolist()
        return object_array([[self._dot(row, column) for column in columns] for row in a.tolist()])

    def _dot(self, row: list[Element], column: list[Element]) -> Element:
        v, s, d, level = 0, 0.0, 0, 0
        for x, y in zip(row, column, strict=True):
            v += x.v * y.v
            s += x.s * y.s
            d = max(d, x.d + y.d)
            level = max(level, x.level, y.level)
        return Element(self, v % P, s, d, level)

    def leaf(self, v: int, s: float) -> Element:
        """A variable of the tape: an indeterminate of degree 1."""
        self.tape.append((-1, 0, 0, -1, 0, 0))
        return Element(self, v % P, s, 1, 0, len(self.tape) - 1)

    def detached(self, a: Array) -> Array:
        """The same values, off the tape."""
        return entrywise(lambda e: Element(self, e.v, e.s, e.d, e.level), a)

    def record(self, a: Element, v: int, s: float, slope: int, slope_degree: int, level: int = 0) -> Element:
        """`f(a)` with `df = slope da`: degree 1, a new indeterminate."""
        k = -1
        if a.k >= 0:
            self.tape.append((a.k, slope, slope_degree, -1, 0, 0))
            k = len(self.tape) - 1
        return Element(self, v, s, 1, level, k)

    def inverted(self, a: Element) -> int:
        """Note that `a` was inverted; the level of the inverse."""
        while len(self.inverse_degrees) <= a.level:
            self.inverse_degrees.append({})
        degrees = self.inverse_degrees[a.level]
        degrees[a.v] = max(degrees.get(a.v, 0), a.d)
        return a.level + 1

    def hash(self, name: str, v: int) -> int:
        """A keyed random function into 1 … p-1."""
        digest = blake2b(v.to_bytes(8, "big"), digest_size=24, key=self.key, person=name.encode()[:16]).digest()
        return int.from_bytes(digest, "big") % (P - 1) + 1

    def _hashed(self, name: str, a: Element, v: int) -> int:
        if (name, v) not in self._seen:
            self._seen.add((name, v))
            self.hashes += 1
        self.widest = max(self.widest, a.d)
        return self.hash(name, v)

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
            w = self._hashed("E", a, small)
            self._tie(v, w if v == small else pow(w, -1, P), (1, 0), (a.d, a.level))
        return self._exp[v]

    def _tie(self, u: int, w: int, measure: tuple[int, int], log_measure: tuple[int, int]) -> None:
        """`E(u) = w`, `E(-u) = 1/w`, `Log(w) = u`, `Log(1/w) = -u`; `measure` is the degree and level of `w`."""
        inverse = pow(w, -1, P)
        self._exp[u], self._log[w] = (w, *measure), (u, *log_measure)
        self._exp[P - u], self._log[inverse] = (inverse, 1, measure[1] + 1), (P - u, *log_measure)

    def _exp_of(self, a: Element) -> Element:
        """`dE = E da`"""
        v, d, level = self._exponential(a)
        if level:
            self.inverted(Element(self, v, 0.0, d, level - 1))
        result = self.record(a, v, math.exp(min(a.s, 700.0)), v, d, level)
        result.d = d
        return result

    def _log_of(self, a: Element) -> Element:
        """`d log = da / a`"""
        if a.v == 0:
            raise Resample("log of zero in the field")
        if a.v not in self._log and a.v != 1:
            self._tie(self._hashed("Log", a, a.v), a.v, (a.d, a.level), (1, 0))
        v, d, level = self._log[a.v] if a.v != 1 else (0, 0, 0)
        self.inverted(a)
        result = self.record(a, v, math.log(a.s) if a.s > 0 else math.nan, pow(a.v, -1, P), 1, level)
        result.d = d
        return result

    def _erf_of(self, a: Element) -> Element:
        """`d erf = 2/√π E(-a²) da`"""
        small = min(a.v, P - a.v)
        value = self._hashed("erf", a, small) if a.v else 0
        untaped = Element(self, a.v, a.s, a.d, a.level)
        slope = self._exp_of(-(untaped * untaped)) * (self._sqrt_of(self._pi).inverse() * 2)
        return self.record(a, value if small == a.v else P - value, math.erf(a.s), slope.v, slope.d, slope.level)

    def _sqrt_of(self, a: Element) -> Element:
        """`d √a = da / (2 √a)`.  Of the two roots the one that is itself a square, so that `√a √b = √(ab)`."""
        root = pow(a.v, (P + 1) // 4, P)
        if root * root % P != a.v or root == 0:
            raise Resample("the square root of a non-residue in the field")
        if a.d:
            self.roots.add(a.v)
        s = math.sqrt(a.s) if a.s >= 0 else math.nan
        level = self.inverted(Element(self, root, s, max(a.d, 1), a.level))
        result = self.record(a, root, s, pow(2 * root, -1, P), 1, level)
        result.d = max(a.d, 1)
        return result

    def exp(self, a: Any) -> Any:
        return _each(self._exp_of, a)

    def log(self, a: Any) -> Any:
        return _each(self._log_of, a)

    def erf(self, a: Any) -> Any:
        return _each(self._erf_of, a)

    def sqrt(self, a: Any) -> Any:
        return _each(self._sqrt_of, a)

    def sin(self, a: Any) -> Any:
        raise DeriveError("sine has no image in the exact field: its laws are not those of one real exponential")

    def unknown(self, name: str, order: int, a: Array) -> Array:
        return entrywise(lambda e: self._unknown_of(name, order, e), a)

    def _unknown_of(self, name: str, order: int, a: Element) -> Element:
        """`d φ^(k) = φ^(k+1) da`, each derivative a hash of its own."""
        value, slope = (self._hashed(f"{order + i} {name}", a, a.v) for i in (0, 1))
        shadow = math.sin(a.s + unknown_shift(name) + order * math.pi / 2)
        return self.record(a, value, shadow + (a.s / 2 if order == 0 else 0.5 * (order == 1)), slope, 1)

    # --- branches --------------------------------------------------------------------------------------------------

    def compare(self, relation: str, a: Any, b: Any) -> Any:
        """By the shadow of the difference; a difference that is zero in the field is zero."""
        difference = a - b
        signs = entrywise(_sign, difference) if isinstance(difference, numpy.ndarray) else _sign(difference)
        return MASKS[relation](signs)

    def where(self, mask: Any, a: Any, b: Any) -> Any:
        if isinstance(mask, (bool, numpy.bool_)):
            return a if mask else b
        shape = numpy.shape(mask)
        pick = zip(mask.flat, _spread(a, shape), _spread(b, shape), strict=True)
        return object_array([[x if m else y for m, x, y in pick]], shape)

    # --- reverse mode ----------------------------------------------------------------------------------------------

    def pull(
        self, outputs: Array, cotangents: Array, leaves: dict[Any, Array], span: Span = (0, None)
    ) -> dict[Any, Array]:
        """The derivatives of `Σ cotangent · output` by every leaf, one backward sweep over a span of the tape."""
        seeds = [
            (y.k, c.v if isinstance(c, Element) else c) for y, c in zip(outputs.flat, cotangents.flat, strict=True)
        ]
        top = max((k for k, _ in seeds), default=-1)
        bars = [0] * (top + 2 if top >= 0 else 1)  # the last slot takes what flows into constants (k = -1)
        for k, c in seeds:
            bars[k] = (bars[k] + c) % P
        tape = self.tape
        for k in range(top, span[0] - 1, -1):
            bar = bars[k]
            if bar:
                i, wi, _, j, wj, _ = tape[k]
                bars[i] = (bars[i] + bar * wi) % P
                bars[j] = (bars[j] + bar * wj) % P
        degree = self.degree(span)
        return {
            key: entrywise(lambda e: Element(self, bars[e.k] if 0 <= e.k <= top else 0, math.nan, degree), array)
            for key, array in leaves.items()
        }

    def push(
        self, outputs: dict[Any, Array], directions: dict[Any, tuple[Array, Array]], span: Span = (0, None)
    ) -> dict[Any, Array]:
        """The derivatives of all outputs along `(leaf, direction)` pairs: one forward sweep over the same slopes."""
        dots = [0] * (len(self.tape) + 1)  # the last slot is what constants contribute (k = -1)
        for leaf, direction in directions.values():
            for e, d in zip(leaf.flat, direction.flat, strict=True):
                dots[e.k] = d.v
        for k, (i, wi, _, j, wj, _) in enumerate(self.tape[slice(*span)], start=span[0]):
            if i >= 0 or j >= 0:
                dots[k] = (wi * dots[i] + wj * dots[j]) % P
        degree = self.degree(span) + 1
        return {
            key: entrywise(lambda e: Element(self, dots[e.k], math.nan, degree), array)
            for key, array in outputs.items()
        }

    # --- the error bound -------------------------------------------------------------------------------------------

    def degree(self, span: Span) -> int:
        """A bound on the degree, in leaves, hashes and inverses, of every derivative on the tape: the heaviest path."""
        start, stop = span[0], span[1] or len(self.tape)
        if (start, stop) not in self._degrees:
            paths = [0] * (stop - start + 1)
            for k, (i, _, di, j, _, dj) in enumerate(self.tape[start:stop]):
                left = paths[i - start] + di if i >= start else 0
                right = paths[j - start] + dj if j >= start else 0
                paths[k] = left if left > right else right
            self._degrees[start, stop] = max(paths)
        return self._degrees[start, stop]

    def error(self, degree: int) -> float:
        """A bound on the probability that one run under one random key accepts a false equation.

        Both sides are polynomials of degree at most `degree` in independent uniform variables (leaves and hashes) and
        in inverses `1/u`.  Multiplying by every `u` of one level, as often as the degree asks, clears that level, so
        `D = degree · Π_levels (1 + Σ deg u)` bounds the numerator of their difference; a square root doubles it, and
        halves the chance that a drawn point can be used at all.  By Schwartz and Zippel it vanishes with probability
        `≤ D/p`.  To this comes the chance that two of the `hashes` arguments collide, each a difference of the same
        kind. The factor 2 pays for the points that are thrown away for a division by zero.
        """
        clearing = math.prod(1 + sum(level.values()) for level in self.inverse_degrees)
        pairs = 1 + self.hashes * (self.hashes - 1) // 2
        total = (max(degree, 1) + pairs * self.widest) * clearing * 4 ** len(self.roots)
        return min(1.0, 2 * total / P)


def object_array(rows: list[list[Any]], shape: tuple[int, ...] | None = None) -> Array:
    """Filled entry by entry: NumPy must not look for a length inside an element."""
    flat = [entry for row in rows for entry in row]
    array = numpy.empty(len(flat), dtype=object)
    array[:] = flat
    return array.reshape(shape or (len(rows), len(rows[0]) if rows else 0))


def entrywise(f: Callable[[Any], Any], a: Array) -> Array:
    return object_array([[f(e) for e in a.flat]], a.shape)


def _each(f: Callable[[Element], Element], a: Any) -> Any:
    return f(a) if isinstance(a, Element) else entrywise(f, a)


def _spread(a: Any, shape: tuple[int, ...]) -> Iterable[Any]:
    return numpy.broadcast_to(a, shape).flat if isinstance(a, numpy.ndarray) else [a] * math.prod(shape)


def _sign(e: Element) -> int:
    if e.v == 0:
        return 0
    if math.isnan(e.s):
        raise Resample("a branch depends on a value that is not a real number")
    return (e.s > 0) - (e.s < 0)


MASKS: dict[str, Callable[[Any], Any]] = {
    ">": lambda s: s > 0,
    ">=": lambda s: s >= 0,
    "<": lambda s: s < 0,
    "<=": lambda s: s <= 0,
    "==": lambda s: s == 0,
    "!=": lambda s: s != 0,
}
