"""What it means that a line is off by some contributions, and how it is said."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TypeAlias

from sympy import Basic, Rational

from derive import expr
from derive.expr import Node
from derive.verdicts.causes.residual import Parts

Say: TypeAlias = "Callable[[Basic], str]"

KINDS_OF = {
    Fraction(1): "missing-path", Fraction(-1): "double-count", Fraction(-2): "double-count", Fraction(2): "sign",
}  # fmt: skip
"""The kind by the coefficient with which a contribution is lacking; any other is a wrong factor."""


def by_kind(parts: Parts, whole: bool) -> dict[str, Parts]:
    """The contributions by what their coefficients mean, those that are counted too often first.

    `whole`: these are all there are; where each is counted twice, the number in front is wrong.
    """
    found: dict[str, Parts] = {}
    for part, c in sorted(parts, key=lambda p: p[1] > 0):
        kind = KINDS_OF.get(c, "factor")
        kind = "factor" if kind == "double-count" and whole else kind
        found[kind] = (*found.get(kind, ()), (part, c))
    return found


def total(parts: Parts) -> Node:
    """What is to be added."""
    return expr.add(*(expr.scale(Rational(c), part.term) for part, c in parts))


def sentence(kind: str, parts: Parts, lhs: Node, say: Say) -> str:
    return SENTENCES[kind](parts, lhs, say)


def _routes(parts: Parts, say: Say) -> str:
    """`the path x → z → h`, `the paths … , … and …`; nothing where they come from no path."""
    routes = [say(expr.Path(*part.path)) for part, _ in parts if part.path]
    if len(routes) < 2:
        return f"the path {routes[0]}" if routes else ""
    return f"the paths {', '.join(routes[:-1])} and {routes[-1]}"


def _missing(parts: Parts, lhs: Node, say: Say) -> str:
    return f"{say(lhs)} misses {_routes(parts, say) or 'a term'}: add {say(total(parts))}"


def _double(parts: Parts, lhs: Node, say: Say) -> str:
    counted = "are counted twice" if len(parts) > 1 else "is counted twice"
    return f"{_routes(parts, say) or 'a term'} {counted}: take away {say(expr.scale(-1, total(parts)))}"


def _sign(parts: Parts, lhs: Node, say: Say) -> str:
    return f"the sign of {say(_terms(parts))} is wrong"


def _factor(parts: Parts, lhs: Node, say: Say) -> str:
    return f"the number in front of {say(_terms(parts))} is wrong"


def _terms(parts: Parts) -> Node:
    return expr.add(*(part.term for part, _ in parts))


SENTENCES: dict[str, Callable[[Parts, Node, Say], str]] = {
    "missing-path": _missing,
    "double-count": _double,
    "sign": _sign,
    "factor": _factor,
}
