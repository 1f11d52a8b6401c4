"""Residues on a tape: reverse and forward mode modulo one prime, and how sure an equation between residues is.

The tape knows `+ * 1/ E log erf sqrt` and unknown functions, one line each, and nothing of matrices: it shares no rule
with the symbolic engine.  Every element carries a *shadow*, an ordinary float computed alongside, from which relu, max,
abs and step take their branch.

    v, s     value modulo the prime of the tape, shadow
    d, level   degree, and depth of nested inverses (for the error bound)
    k        place on the tape, -1 for a constant
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy

from derive.errors import DeriveError
from derive.evaluate import Array, unknown_shift
from derive.scalars import Lazily, Resample, Scalar, ScalarRing, Span, each, entrywise, object_array

Slope: TypeAlias = "tuple[int, int, int, int, int, int]"
"""`(i, ∂/∂i, its degree, j, ∂/∂j, its degree)`: what an entry of the tape was made of."""


class Residue(Scalar):
    """A residue with its shadow.  Two of them are equal if their residues are."""

    __slots__ = ("d", "level", "s")
    s: float
    d: int
    level: int

    def sign(self) -> int:
        """Of the shadow; what is zero as a residue is zero."""
        if self.v == 0:
            return 0
        if math.isnan(self.s):
            raise Resample("a branch depends on a value that is not a real number")
        return (self.s > 0) - (self.s < 0)

    def __eq__(self, other: object) -> bool:
        return self.v == self.ring.element(other).v

    def __hash__(self) -> int:
        return hash(self.v)

    def __repr__(self) -> str:
        return str(self.v) if math.isnan(self.s) else f"{self.v} (≈ {self.s:.6g})"


class Residues(ScalarRing):
    """Residues under one key.  What no law ties to anything else is drawn by a keyed hash of its argument."""

    p: int
    """The prime of the tape."""
    smallest: int
    """The least number of values that an indeterminate takes."""
    tape: list[Slope]

    def __init__(self, seed: int):
        super().__init__()
        self.key = seed.to_bytes(16, "big", signed=True)
        self.hashes = 0  # distinct arguments that were hashed: two of them may collide
        self.roots: set[int] = set()
        self.widest = 1  # the largest degree of a hashed argument
        self.inverse_degrees: list[dict[int, int]] = []  # by level: {inverted value: its degree}
        self._degrees: dict[tuple[int, int], int] = {}
        self._seen: set[tuple[str, int]] = set()
        self.branches: dict[tuple[str, Any], set[bool]] = {}
        root = self.drawn("pi", 0)
        self._pi = root * root
        self._pi.s = math.pi

    # --- elements --------------------------------------------------------------------------------------------------

    def drawn(self, name: str, v: int) -> Any:
        """A keyed random function, as an element of degree 1 without a shadow."""
        raise NotImplementedError

    def derivative(self, v: int, degree: int) -> Any:
        """A residue of the tape as an element."""
        raise NotImplementedError

    def dot(self, row: list[Any], column: list[Any]) -> Any:
        """`Σ x y` of constants."""
        raise NotImplementedError

    def matmul(self, a: Array, b: Array) -> Array:
        """Off the tape a product needs no element for every partial sum."""
        if any(e.k >= 0 for e in a.flat) or any(e.k >= 0 for e in b.flat):
            return a @ b
        columns = b.T.tolist()
        return object_array([[self.dot(row, column) for column in columns] for row in a.tolist()])

    def pi(self) -> Any:
        return self._pi

    def place(self, e: Any) -> Any:
        """A variable of the tape: an indeterminate of degree 1."""
        self.tape.append((-1, 0, 0, -1, 0, 0))
        e.k, e.d, e.level = len(self.tape) - 1, 1, 0
        return e

    def record(self, a: Any, value: Any, slope: int, slope_degree: int) -> Any:
        """`f(a)` on the tape, with `df = slope da`."""
        if a.k >= 0:
            self.tape.append((a.k, slope, slope_degree, -1, 0, 0))
            value.k = len(self.tape) - 1
        return value

    def inverted(self, v: int, degree: int, level: int) -> int:
        """Note that an element was inverted; the level of the inverse."""
        while len(self.inverse_degrees) <= level:
            self.inverse_degrees.append({})
        degrees = self.inverse_degrees[level]
        degrees[v] = max(degrees.get(v, 0), degree)
        return level + 1

    def hash(self, name: str, v: int, modulus: int) -> int:
        """A keyed random function into 1 … modulus - 1."""
        digest = blake2b(f"{name} {v:x}".encode(), key=self.key).digest()
        return int.from_bytes(digest, "big") % (modulus - 1) + 1

    def hashed(self, name: str, a: Any, v: int) -> Any:
        """`drawn`, where `v` stands for the argument `a`."""
        if (name, v) not in self._seen:
            self._seen.add((name, v))
            self.hashes += 1
        self.widest = max(self.widest, a.d)
        return self.drawn(name, v)

    # --- functions -------------------------------------------------------------------------------------------------

    def exp_of(self, a: Any) -> Any:
        raise NotImplementedError

    def log_of(self, a: Any) -> Any:
        raise NotImplementedError

    def sqrt_of(self, a: Any) -> Any:
        raise NotImplementedError

    def erf_of(self, a: Any) -> Any:
        """`d erf = 2/√π E(-a²) da`"""
        small = min(a.v, self.p - a.v)
        value = self.hashed("erf", a, small) if a.v else self.number(0).untaped()
        value = value if small == a.v else -value
        plain = a.untaped()
        slope = self.exp_of(-(plain * plain)) * (self.sqrt_of(self._pi).inverse() * 2)
        value.s, value.level = math.erf(a.s), slope.level
        return self.record(a, value, slope.v, slope.d)

    def exp(self, a: Any) -> Any:
        return each(self.exp_of, a)

    def log(self, a: Any) -> Any:
        return each(self.log_of, a)

    def erf(self, a: Any) -> Any:
        return each(self.erf_of, a)

    def sqrt(self, a: Any) -> Any:
        return each(self.sqrt_of, a)

    def sin(self, a: Any) -> Any:
        raise DeriveError("sine has no image in the exact field: its laws are not those of one real exponential")

    def unknown(self, name: str, order: int, a: Array) -> Array:
        return entrywise(lambda e: self._unknown_of(name, order, e), a)

    def _unknown_of(self, name: str, order: int, a: Any) -> Any:
        """`d φ^(k) = φ^(k+1) da`, each derivative a hash of its own."""
        value, slope = (self.hashed(f"{order + i} {name}", a, a.v) for i in (0, 1))
        shadow = math.sin(a.s + unknown_shift(name) + order * math.pi / 2)
        value.s = shadow + (a.s / 2 if order == 0 else 0.5 * (order == 1))
        return self.record(a, value, slope.v, 1)

    # --- branches --------------------------------------------------------------------------------------------------

    def compare(self, relation: str, a: Any, b: Any) -> Any:
        """By the sign of the difference.  Which way it went is kept in `branches`, by relation and threshold (0 where
        that is no number): a check has seen a kink from both sides if both ways are there."""
        mask = super().compare(relation, a, b)
        threshold = b.s if isinstance(b, Residue) else 0
        self.branches.setdefault((relation, threshold), set()).update(bool(m) for m in numpy.ravel(mask))
        return mask

    # --- reverse mode ----------------------------------------------------------------------------------------------

    def pull(
        self, outputs: Array, cotangents: Array, leaves: Mapping[Any, Array], span: Span = (0, None)
    ) -> Mapping[Any, Array]:
        """The derivatives of `Σ cotangent · output` by every leaf, one backward sweep over a span of the tape."""
        seeds = [(y.k, self.element(c).v) for y, c in zip(outputs.flat, cotangents.flat, strict=True)]
        top, p, tape = max((k for k, _ in seeds), default=-1), self.p, self.tape
        bars = [0] * (top + 2 if top >= 0 else 1)  # the last slot takes what flows into constants (k = -1)
        for k, c in seeds:
            bars[k] = (bars[k] + c) % p
        for k in range(top, span[0] - 1, -1):
            bar = bars[k]
            if bar:
                i, wi, _, j, wj, _ = tape[k]
                bars[i] = (bars[i] + bar * wi) % p
                bars[j] = (bars[j] + bar * wj) % p
        degree = self.degree(span)
        return Lazily(leaves, lambda e: self.derivative(bars[e.k] if 0 <= e.k <= top else 0, degree))

    def push(
        self, outputs: dict[Any, Array], directions: dict[Any, tuple[Array, Array]], span: Span = (0, None)
    ) -> dict[Any, Array]:
        """The derivatives of all outputs along `(leaf, direction)` pairs: one forward sweep over the same slopes."""
        p = self.p
        dots = [0] * (len(self.tape) + 1)  # the last slot is what constants contribute (k = -1)
        for leaf, direction in directions.values():
            for e, d in zip(leaf.flat, direction.flat, strict=True):
                dots[e.k] = d.v
        for k, (i, wi, _, j, wj, _) in enumerate(self.tape[slice(*span)], start=span[0]):
            if i >= 0 or j >= 0:
                dots[k] = (wi * dots[i] + wj * dots[j]) % p
        degree = self.degree(span) + 1
        return {key: entrywise(lambda e: self.derivative(dots[e.k], degree), array) for key, array in outputs.items()}

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
        return min(1.0, 2 * total / self.smallest)
