"""Readings that people mean without writing them: variants of a formula as it stands, each an assumption."""

from __future__ import annotations

from collections.abc import Iterator

from sympy import Basic

from derive import expr
from derive.expr import Var
from derive.reader.relations import Understood
from derive.reader.scope import Scope
from derive.reader.values import agree, choice
from derive.system import System

UNWRITTEN = 4
"""What it costs to take something as it is not written."""


def variants(found: Understood, scope: Scope) -> Iterator[Understood]:
    """Of an equation `lhs = rhs` in this scope."""
    if not isinstance(found.formula, expr.Equals):
        return
    for value, make in (("same", _same_index), ("direct", _direct)):
        tag = "index" if value == "same" else "partial"
        changed, both = make(found.formula, scope), agree(found.choices, choice(tag, value))
        if changed is not None and changed != found.formula and both is not None:
            yield Understood(changed, both, found.cost + UNWRITTEN)


def _same_index(formula: expr.Equals, scope: Scope) -> Basic | None:
    """`∂h_m/∂h_{m-1} = diag(z_t) + …`, where the t that only the right side has is m."""
    left, right = (side.free_symbols for side in formula.args)
    letters = {s for v in expr.variables(formula.lhs) for i in v.index for s in i.free_symbols} - set(scope.lengths)
    letters |= {
        s for p in expr.walk(formula.lhs) if isinstance(p, expr.Partial) for v in p.args[:2] for s in _letters(v)
    }
    only_right = (right & set(scope.lattice)) - left
    if len(letters) != 1 or len(only_right) != 1 or len(scope.lattice) != 1:
        return None
    return expr.at(formula, {only_right.pop(): letters.pop()})  # type: ignore[no-any-return]


def _letters(node: Basic) -> set[Basic]:
    return {s for v in expr.variables(node) for i in v.index for s in i.free_symbols}


def _direct(formula: expr.Equals, scope: Scope) -> Basic | None:
    """`∂y/∂x` on the right side as the immediate partial, wherever x stands in the equation of y itself."""
    system = scope.system
    if system is None:
        return None

    def leaf(node: Basic) -> Basic:
        if isinstance(node, expr.Partial) and not node.immediate and _stands_in(system, node.args[1], node.args[0]):
            y, x, _, held = node.args
            return expr.Partial(y, x, 1, held)
        return node

    return expr.Equals(formula.lhs, expr.rewrite(formula.rhs, leaf))


def _stands_in(system: System, x: Basic, y: Basic) -> bool:
    """Whether a state or an input stands in the equation of another; what a weight means in a chain is a choice of its own."""
    if not isinstance(x, Var) or not isinstance(y, Var) or y.marks or y.name not in system.equations or not x.index:
        return False
    steps = dict(zip(system.lattice.indices, y.index, strict=True)) if y.index else {}
    return any(expr.at(v, steps) == x for v in expr.variables(system.equations[y.name].rhs))
