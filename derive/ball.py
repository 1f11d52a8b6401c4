"""Real numbers as balls: a midpoint and a radius that hold the true value, so that two disjoint balls are a proof.

Where the exact field says that two sides differ, they differ as rational functions in one hashed exponential; that they
differ as functions of real numbers is certified here, at a point, by arithmetic that keeps every rounding error.  The
elements record themselves on a tape of scalars, which knows `+ * 1/ exp log sqrt sin erf` and nothing of matrices.

    v     the ball, of python-flint            k     place on the tape, -1 for a constant
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy
from flint import arb, ctx, fmpq
from sympy import Rational

from derive.evaluate import Array
from derive.scalars import Lazily, Resample, Scalar, ScalarRing, Span, each

PRECISION = 192
"""Bits of every midpoint."""


class Ball(Scalar):
    """A real number, enclosed."""

    __slots__ = ()
    ring: Balls

    def __init__(self, ring: Balls, v: Any, k: int = -1):
        self.ring, self.v, self.k = ring, v, k

    def __add__(self, other: Any) -> Ball:
        if isinstance(other, numpy.ndarray):
            return NotImplemented
        b = self.ring.element(other)
        return self.ring.record(self.v + b.v, (self, 1), (b, 1))

    def __mul__(self, other: Any) -> Ball:
        if isinstance(other, numpy.ndarray):
            return NotImplemented
        b = self.ring.element(other)
        return self.ring.record(self.v * b.v, (self, b.v), (b, self.v))

    __radd__ = __add__
    __rmul__ = __mul__

    def inverse(self) -> Ball:
        """`d(1/u) = -1/u² du`"""
        if self.v.contains(0):
            raise Resample("a divisor can't be told from zero")
        w = 1 / self.v
        return self.ring.record(w, (self, -w * w))

    def sign(self) -> int:
        """A ball that holds zero, and is not zero, has none."""
        if self.v > 0:
            return 1
        if self.v < 0:
            return -1
        if self.v.is_exact() and self.v == 0:
            return 0
        raise Resample("a branch depends on a value that can't be told from zero")

    def untaped(self) -> Ball:
        return Ball(self.ring, self.v)

    def __float__(self) -> float:
        return float(self.v.mid())

    def __repr__(self) -> str:
        return str(self.v.str(17, radius=True))


class Balls(ScalarRing):
    """Balls of `PRECISION` bits."""

    tape: list[tuple[int, Any, int, Any]]

    def __init__(self) -> None:
        super().__init__()
        ctx.prec = PRECISION  # of python-flint as a whole

    def rational(self, q: Rational) -> Ball:
        return Ball(self, arb(fmpq(int(q.p), int(q.q))))

    def pi(self) -> Ball:
        return Ball(self, arb.pi())

    def lift(self, a: Array) -> Array:
        return self.detached(a)

    def leaf(self, v: Any) -> Ball:
        """A variable of the tape."""
        self.tape.append((-1, 0, -1, 0))
        return Ball(self, v, len(self.tape) - 1)

    def record(self, v: Any, *slopes: tuple[Ball, Any]) -> Ball:
        """A value with its derivatives by one or two others."""
        (a, da), (b, db) = slopes if len(slopes) == 2 else (slopes[0], (_CONSTANT, 0))
        if a.k < 0 and b.k < 0:
            return Ball(self, v)
        self.tape.append((a.k, da, b.k, db))
        return Ball(self, v, len(self.tape) - 1)

    # --- functions -------------------------------------------------------------------------------------------------

    def exp(self, a: Any) -> Any:
        return self._each(a, lambda v: (v.exp(), v.exp()))

    def log(self, a: Any) -> Any:
        return self._each(a, lambda v: (_positive(v).log(), 1 / v))

    def sqrt(self, a: Any) -> Any:
        return self._each(a, lambda v: (_positive(v).sqrt(), 1 / (2 * v.sqrt())))

    def sin(self, a: Any) -> Any:
        return self._each(a, lambda v: (v.sin(), v.cos()))

    def erf(self, a: Any) -> Any:
        return self._each(a, lambda v: (v.erf(), 2 * (-v * v).exp() / arb.pi().sqrt()))

    def _each(self, a: Any, f: Callable[[Any], tuple[Any, Any]]) -> Any:
        """`f(v)` is a value with its derivative."""

        def one(e: Ball) -> Ball:
            value, slope = f(e.v)
            return self.record(value, (e, slope))

        return each(one, a)

    # --- reverse mode ----------------------------------------------------------------------------------------------

    def pull(self, outputs: Array, cotangents: Array, leaves: Mapping[Any, Array], span: Span) -> Mapping[Any, Array]:
        """The derivatives of `Σ cotangent · output` by every leaf, one backward sweep over a span of the tape."""
        start, stop = span[0], span[1] or len(self.tape)
        bars: list[Any] = [0] * (stop - start + 1)  # the last slot takes what flows into constants (k = -1)
        for y, c in zip(outputs.flat, cotangents.flat, strict=True):
            place = y.k - start if y.k >= start else -1
            bars[place] = bars[place] + self.element(c).v
        for k in range(stop - 1, start - 1, -1):
            bar = bars[k - start]
            if not _is_zero(bar):
                i, di, j, dj = self.tape[k]
                for place, slope in ((i, di), (j, dj)):
                    if place >= start:
                        bars[place - start] = bars[place - start] + bar * slope
        return Lazily(leaves, lambda e: Ball(self, arb(bars[e.k - start]) if e.k >= start else arb(0)))


def _is_zero(bar: Any) -> bool:
    """Exactly: of a ball that merely contains zero, nothing may be left out."""
    return isinstance(bar, int) or bool(bar.is_zero())


def _positive(v: Any) -> Any:
    if not v > 0:
        raise Resample("a logarithm or a square root of what can't be told from zero, or is below it")
    return v


def relative(a: Ball, b: Ball) -> float:
    """At most how far apart two balls are, relative to their size."""
    scale = 1 + max(abs(float(a)), abs(float(b)))
    bound = float(abs(a.v - b.v).abs_upper()) / scale
    return bound if math.isfinite(bound) else math.inf


_CONSTANT = Ball.__new__(Ball)
_CONSTANT.k = -1
