"""The exact range of a scalar function of one number: `tanh'` over the reals is `(0, 1]`.

A formula of one free scalar is a SymPy expression of it.  Where it is a quotient of polynomials in `E = exp(ku)` its
range over `0 < E` follows from the zeros of its derivative and the limits at both ends; pieces of polynomials are left
to SymPy.  A formula of several numbers that rises or falls in each has its ends at two corners of their ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import sympy
from sympy import Basic, Expr, Symbol

from derive import expr, functions
from derive.expr import Node, Var

_u = Symbol("u", real=True)
_E = Symbol("E", positive=True)


@dataclass(frozen=True)
class Range:
    """From `low` to `high`; whether the ends are values."""

    low: Expr
    high: Expr
    low_taken: bool
    high_taken: bool

    def __str__(self) -> str:
        ends = "[" if self.low_taken else "(", "]" if self.high_taken else ")"
        return f"{ends[0]}{self.low}, {self.high}{ends[1]}"


def range_of(node: Node) -> Range | None:
    """The range of a scalar formula over all values of the one name in it; None where it is not worked out."""
    names = expr.variables(node)
    if len(names) != 1 or not expr.is_scalar(node) or not expr.is_scalar(names[0]):
        return None
    value = as_function(node, names[0])
    return None if value is None else range_of_expression(value)


def without_extrema(root: Basic) -> Basic:
    """`max_u f(u)` as the number that it is, where the range of f is worked out and has a greatest value."""

    def leaf(node: Basic) -> Basic:
        found = range_of(node.args[1]) if isinstance(node, expr.Extremum) else None
        if found is None:
            return node
        value, taken = (found.high, found.high_taken) if node.kind == "max" else (found.low, found.low_taken)  # type: ignore[attr-defined]
        return expr.number(value) if taken else node

    return expr.rewrite(root, leaf)  # type: ignore[no-any-return]


@lru_cache(maxsize=256)
def range_of_function(name: str, order: int = 0) -> Range | None:
    """The range of a row of the table, or of its derivative."""
    value = functions.expression(name, order)
    return None if value is None or len(value.free_symbols) > 1 else range_of_expression(value.subs(functions.x, _u))


def as_function(node: Node, of: Var) -> Expr | None:
    """A formula as an expression in `u`, the value of the name."""
    return _in_values(node, {of: _u})


def _in_values(node: Node, values: Mapping[Var, Symbol]) -> Expr | None:
    done: dict[Basic, Expr | None] = {}
    for part in expr.walk(node):
        if isinstance(part, Node):
            done[part] = _value(part, values, done)
    return done[node]


def _value(node: Node, values: Mapping[Var, Symbol], done: dict[Basic, Expr | None]) -> Expr | None:
    if isinstance(node, Var):
        return values.get(node)
    if isinstance(node, expr.Ones):
        return sympy.S.One
    if isinstance(node, expr.Zero):
        return sympy.S.Zero
    parts = [done.get(a) if isinstance(a, Node) else a for a in node.args]
    if isinstance(node, expr.Apply):
        value = functions.expression(node.function, node.order) if len(node.arguments) == 1 else None
        inner = done.get(node.arguments[0])
        return None if value is None or inner is None else value.subs(functions.x, inner)
    if any(part is None for part in parts):
        return None
    if isinstance(node, expr.Add):
        return sympy.Add(*parts)
    if isinstance(node, expr.Mul) and not all(expr.is_scalar(a) for a in node.args):
        return None  # a sum of products
    if isinstance(node, (expr.Had, expr.Scale, expr.Mul)):
        return sympy.Mul(*parts)
    if isinstance(node, expr.Power) and node.args[1].is_Integer:
        return sympy.Pow(*parts)
    if isinstance(node, expr.Norm) and expr.is_scalar(node.args[0]):
        return sympy.Abs(parts[0])
    return None


@lru_cache(maxsize=256)
def range_of_expression(value: Expr) -> Range | None:
    """Of an expression in `u` over the reals."""
    if not value.has(_u):
        return Range(value, value, True, True)
    if value.has(sympy.Abs):
        return _without_bars(value)
    quotient = _in_exponential(value)
    if quotient is not None:
        return _over(quotient, _E, sympy.Interval.open(0, sympy.oo))
    pieces = value.args if isinstance(value, sympy.Piecewise) else [(value, sympy.true)]
    found: list[Range] = []
    left: sympy.Set = sympy.S.Reals
    for branch, condition in pieces:
        holds = sympy.S.Reals.intersect(condition.as_set()) if condition != sympy.true else sympy.S.Reals
        here, left = left.intersect(holds), left - holds
        for part in here.args if isinstance(here, sympy.Union) else (here,):
            over = _of_polynomial(branch, part)
            if over is None:
                return None
            found.append(over)
    return _joined(found)


def _without_bars(value: Expr) -> Range | None:
    """Where what stands between bars has one sign."""
    signs = {}
    for bars in value.atoms(sympy.Abs):
        inside = None if bars.args[0].has(sympy.Abs) else range_of_expression(bars.args[0])
        if inside is None or not (inside.low >= 0 or inside.high <= 0):
            return None
        signs[bars] = bars.args[0] if inside.low >= 0 else -bars.args[0]
    return range_of_expression(value.xreplace(signs))


def _of_polynomial(value: Expr, domain: sympy.Set) -> Range | None:
    """Over an interval, or a few points."""
    if not value.has(_u):
        return Range(value, value, True, True)
    if isinstance(domain, sympy.FiniteSet):
        return _joined([Range(v, v, True, True) for v in (value.subs(_u, point) for point in domain)])
    if not isinstance(domain, sympy.Interval) or not value.is_polynomial(_u):
        return None
    found = _over(value, _u, domain)
    closed = [
        value.subs(_u, end)
        for end, is_open in ((domain.start, domain.left_open), (domain.end, domain.right_open))
        if not is_open
    ]
    return None if found is None else _joined([found, *(Range(v, v, True, True) for v in closed)])


def over_interval(value: Expr, domain: Range) -> Range | None:
    """The range of a polynomial in `u` over an interval."""
    closed = sympy.Interval(domain.low, domain.high, not domain.low_taken, not domain.high_taken)
    return _of_polynomial(value, closed)


def over_ranges(node: Node, domains: Mapping[Var, Range]) -> Range | None:
    """The range of a formula of several names, each with its own range, where it rises or falls strictly in every one.

    `f / (f + i)` of two gates is in `(0, 1)`: it rises with `f` and falls with `i`.
    """
    symbols = {var: _signed(f"u_{k}", domain) for k, (var, domain) in enumerate(domains.items())}
    value = _in_values(node, symbols)
    if value is None:
        return None
    return _over_corners(sympy.together(value), tuple((symbols[var], domain) for var, domain in domains.items()))


def _signed(name: str, domain: Range) -> Symbol:
    """A symbol that knows the sign of what it stands for."""
    if domain.low > 0 or (domain.low == 0 and not domain.low_taken):
        return Symbol(name, positive=True)
    if domain.high < 0 or (domain.high == 0 and not domain.high_taken):
        return Symbol(name, negative=True)
    return Symbol(name, real=True)


@lru_cache(maxsize=256)
def _over_corners(value: Expr, domains: tuple[tuple[Symbol, Range], ...]) -> Range | None:
    """Strictly monotone in each symbol: its ends are limits at two corners, taken where each of their sides is."""
    numerator, denominator = sympy.fraction(value)
    if not (numerator.is_polynomial() and denominator.is_polynomial() and denominator.is_nonzero):
        return None
    corners: list[tuple[list[Expr], bool]] = [([], True), ([], True)]
    for symbol, domain in domains:
        slope = sympy.factor(value.diff(symbol))
        if not (slope.is_positive or slope.is_negative):
            return None
        ends = (domain.low, domain.low_taken), (domain.high, domain.high_taken)
        for k, (end, taken) in enumerate(ends if slope.is_positive else ends[::-1]):
            corners[k] = ([*corners[k][0], end], corners[k][1] and taken)
    names = [symbol for symbol, _ in domains]
    low, high = (value.subs(list(zip(names, corner, strict=True))) for corner, _ in corners)
    return Range(low, high, corners[0][1], corners[1][1]) if low.is_finite and high.is_finite else None


def _joined(parts: list[Range]) -> Range | None:
    """The smallest interval around several ranges."""
    if not parts:
        return None
    low, high = min((r.low for r in parts), key=sympy.N), max((r.high for r in parts), key=sympy.N)
    return Range(
        low, high, any(r.low_taken and r.low == low for r in parts), any(r.high_taken and r.high == high for r in parts)
    )


def _in_exponential(value: Expr) -> Expr | None:
    powers = value.atoms(sympy.exp)
    if not powers or value.atoms(sympy.Piecewise, sympy.log, sympy.erf, sympy.Abs):
        return None
    slopes = [e.args[0].coeff(_u) for e in powers]
    if not all(s.is_Rational and s != 0 and e.args[0] == s * _u for s, e in zip(slopes, powers, strict=True)):
        return None
    step = sympy.gcd([abs(s) for s in slopes])
    quotient = sympy.together(value.xreplace({e: _E ** (e.args[0] / (step * _u)) for e in powers}))
    return None if quotient.has(_u) else sympy.cancel(quotient)


def _over(value: Expr, name: Symbol, domain: sympy.Interval) -> Range | None:
    """The range of a quotient of polynomials that has no pole in the open domain."""
    poles = sympy.Poly(sympy.fraction(value)[1], name)
    if poles.degree() > 0 and any(domain.contains(root) == sympy.true for root in sympy.real_roots(poles)):
        return None
    slope = sympy.fraction(sympy.together(value.diff(name)))[0]
    turning = [] if slope.is_number else [r for r in sympy.real_roots(sympy.Poly(slope, name)) if r in domain]
    taken = [sympy.nsimplify(sympy.simplify(value.subs(name, r))) for r in turning]
    ends = [sympy.limit(value, name, domain.start, "+"), sympy.limit(value, name, domain.end, "-")]
    if not slope.is_number or slope != 0:
        values = [*taken, *ends]
        low, high = min(values, key=sympy.N), max(values, key=sympy.N)
        return Range(low, high, low in taken, high in taken)
    return Range(ends[0], ends[0], True, True)
