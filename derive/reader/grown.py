r"""Sums that dots leave open, of products that grow: `a_t x_t + a_t a_{t-1} x_{t-1} + a_t a_{t-1} a_{t-2} x_{t-2} + \cdots`.

From term to term some factors go and others come.  Where what comes is each time the same, one step earlier, the terms
are those of a sum over steps, which goes on to the first step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from sympy import Basic, Expr, Integer, Symbol

from derive import expr
from derive.expr import Node, is_scalar

LETTERS = ("k", "j", "m", "s", "r")


def grown(terms: Sequence[Node]) -> Node | None:
    """The sum that these first terms begin; None where they show no pattern (three at least do)."""
    if len(terms) < 3 or not all(is_scalar(term) for term in terms):
        return None
    counted = [Counter(_factors(term)) for term in terms]
    going = [before - after for before, after in pairwise(counted)]
    coming = [after - before for before, after in pairwise(counted)]
    last, first_growth = going[0], coming[0] - _shifted(going[0], Integer(-1))
    start = next((i for node in last for i in _indices(node)), None)
    steady = all(_shifted(a, Integer(-1)) == b for a, b in pairwise(going))
    steady = steady and all(_shifted(a, Integer(-1)) == b for a, b in pairwise(coming))
    if not steady or start is None or coming[0] != _shifted(last, Integer(-1)) + first_growth:
        return None
    taken = {str(s) for term in terms for s in term.free_symbols}
    k, j = (Symbol(letter, integer=True) for letter in [x for x in LETTERS if x not in taken][:2])
    growth = _product(_shifted(first_growth, j - start + 1))
    chain = expr.Product(growth, (j, k, start - 1), 1)
    body = expr.had(_product(counted[0] - last), chain, _product(_shifted(last, k - start)))
    return expr.Sum(body, (k, Integer(1), start))


def _factors(node: Node) -> Iterator[Node]:
    if isinstance(node, expr.Power) and node.args[1].is_Integer and node.args[1] > 0:
        yield from (factor for factor in _factors(node.args[0]) for _ in range(int(node.args[1])))
    elif isinstance(node, (expr.Had, expr.Mul)):
        yield from (factor for part in node.args if isinstance(part, Node) for factor in _factors(part))
    elif isinstance(node, expr.Scale) and isinstance(node.args[0], Node):
        yield from _factors(node.args[0])
        yield from _factors(node.args[1])
    else:
        yield node


def _product(factors: Counter[Node]) -> Node:
    nodes = list(factors.elements())
    return expr.had(*nodes) if nodes else expr.Ones(*expr.SCALAR)


def _indices(node: Node) -> Iterator[Expr]:
    return (i for v in expr.variables(node) for i in v.index)


def _shifted(factors: Counter[Node], by: Expr) -> Counter[Node]:
    """Every index moved by the same number of steps."""

    def leaf(node: Basic) -> Basic:
        return node.at([i + by for i in node.index]) if isinstance(node, expr.Var) and node.index else node

    return Counter({expr.rewrite(node, leaf): n for node, n in factors.items()})
