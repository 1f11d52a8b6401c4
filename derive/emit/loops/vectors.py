"""Functions of whole vectors, from sums and maxima over their entries: one rule for each, as in `derive.functions`.

A rule gets its arguments as functions of an axis, the length `n` of the vectors, and `fold(kind, entry)`, which is the sum or the
maximum of an entry over all of them, as a scalar; it returns the entry of the result, as a function of an axis again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sympy import Expr, Rational

from derive import functions
from derive.emit.loops.language import Call, Number, Over, Scalar, minus, plus, times

Entry: TypeAlias = "Callable[[str | None], Scalar]"
"""An entry of a vector, at an axis."""
Fold: TypeAlias = "Callable[[str, Entry], Scalar]"
Rule: TypeAlias = "Callable[[Fold, Expr, tuple[Entry, ...]], Entry]"


def _call(name: str, *arguments: Scalar) -> Scalar:
    return Call(name, 0, arguments)


def _softmax(fold: Fold, n: Expr, arguments: tuple[Entry, ...]) -> Entry:
    (x,) = arguments
    top = fold("max", x)
    total = fold("sum", lambda k: _call("exp", minus(x(k), top)))
    return lambda k: Over(_call("exp", minus(x(k), top)), total)


def _log_sum_exp(fold: Fold, n: Expr, arguments: tuple[Entry, ...]) -> Entry:
    (x,) = arguments
    top = fold("max", x)
    total = fold("sum", lambda k: _call("exp", minus(x(k), top)))
    return lambda k: plus(top, _call("log", total))


def _layer_norm(fold: Fold, n: Expr, arguments: tuple[Entry, ...]) -> Entry:
    (x,) = arguments
    mean = Over(fold("sum", x), Number(n))
    spread = fold("sum", lambda k: _call("square", minus(x(k), mean)))
    scale = _call("sqrt", plus(Over(spread, Number(n)), Number(functions.LAYER_NORM_EPSILON)))
    return lambda k: Over(minus(x(k), mean), scale)


def _cross_entropy(fold: Fold, n: Expr, arguments: tuple[Entry, ...]) -> Entry:
    o, y = arguments
    top = _log_sum_exp(fold, n, (o,))(None)
    agreed = fold("sum", lambda k: times(y(k), o(k)))
    return lambda k: minus(top, agreed)


def _squared_error(fold: Fold, n: Expr, arguments: tuple[Entry, ...]) -> Entry:
    o, y = arguments
    total = fold("sum", lambda k: _call("square", minus(o(k), y(k))))
    return lambda k: times(Number(Rational(1, 2)), total)


def _logistic(fold: Fold, n: Expr, arguments: tuple[Entry, ...]) -> Entry:
    o, y = arguments
    total = fold("sum", lambda k: minus(_call("softplus", o(k)), times(y(k), o(k))))
    return lambda k: total


RULES: dict[str, Rule] = {
    "softmax": _softmax,
    "log_sum_exp": _log_sum_exp,
    "layer_norm": _layer_norm,
    "cross_entropy": _cross_entropy,
    "squared_error": _squared_error,
    "logistic": _logistic,
}
