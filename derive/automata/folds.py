"""What is no formula of one step: products and sums over the steps so far, distinctions of cases by the step."""

from __future__ import annotations

from typing import Any

from sympy import Basic, Expr, Poly, Symbol, Tuple
from sympy.polys.polyerrors import BasePolynomialError

from derive import expr
from derive.automata.arrays import Inapplicable
from derive.expr import Node, Var

MOST_CLOCK = 64
"""The last step that a condition may name."""

FOLDS = (expr.Sum, expr.Product, expr.Cases)


def line_of(said: expr.Relation) -> tuple[Expr, Expr]:
    """The slope and the rest of the difference of two sides, which is a line in the step."""
    try:
        line = Poly(said.lhs - said.rhs)
    except BasePolynomialError:
        line = None
    if line is None or len(line.gens) != 1 or line.degree() != 1 or not all(c.is_Rational for c in line.all_coeffs()):
        raise Inapplicable(f"{said} compares no step with a number")
    slope, rest = line.all_coeffs()
    return slope, rest


def end_of(node: Any) -> tuple[Symbol, Expr]:
    """The letter of the step at which a fold is read, and how far from it it ends."""
    if isinstance(node, expr.Cases):
        letters = {s for _, said in node.args for a in said.args if isinstance(a, Expr) for s in a.free_symbols}
        if len(letters) != 1:
            raise Inapplicable(f"the cases of {node} are not about one step")
        return letters.pop(), 0
    ranges = node.args[1:] if isinstance(node, expr.Sum) else node.args[1:2]
    index, lo, hi = ranges[0]
    if len(ranges) > 1 or not lo.is_Integer or not 1 <= lo <= MOST_CLOCK or len(hi.free_symbols) != 1:
        raise Inapplicable(f"{node} does not run over the steps so far")
    (letter,) = hi.free_symbols
    if not (hi - letter).is_Integer or letter == index:
        raise Inapplicable(f"{node} does not run over the steps so far")
    return letter, hi - letter


def where(value: Node, condition: Basic, letter: Symbol) -> Node:
    """What is read at a number is read at the step that the condition `t = 1` makes equal to it."""
    if not isinstance(condition, expr.Relation) or condition.op != "=":
        return value
    slope, rest = line_of(condition)
    here = (-rest / slope,)
    leaf = lambda node: node.at((letter,)) if isinstance(node, Var) and node.index == here else node  # noqa: E731
    return expr.rewrite(value, leaf)  # type: ignore[no-any-return]


def is_open(argument: Any) -> bool:
    """Whether an argument that is no node has a letter in it."""
    if isinstance(argument, Tuple):
        return any(is_open(a) for a in argument)
    return isinstance(argument, Expr) and not isinstance(argument, Node) and bool(argument.free_symbols)
