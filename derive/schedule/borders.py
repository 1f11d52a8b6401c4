"""What is computed beyond the lattice: the gradients of boundary values, and what a derived system says there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sympy import Expr, Integer

from derive import expr
from derive.expr import Node, Var
from derive.lattice import Border, Lattice
from derive.schedule.program import Edge
from derive.schedule.terms import is_backward
from derive.system import System


def gradients(system: System, adjoints: Mapping[str, Node], inside: Collection[str] = ()) -> Iterator[Edge]:
    """`h_bar[0]` for every boundary value that is given or learned, by the right-hand side of the adjoint of its variable.

    It is zero where nothing depends on it, and so is every adjoint beyond the lattice, as are the names that are computed
    `inside` it only.
    """
    known = {v.name: v.kind for v in system.variables.values()}
    for border in system.borders:
        var = system.variables[border.variable].var
        if known[border.variable] in ("state", "input"):
            rhs = adjoints.get(var.marked("bar").name, expr.Zero(*var.shape))
            yield _edge(border, rhs, system.lattice, border.key, inside)


def outer_values(system: System) -> Iterator[Edge]:
    """What an adjoint that was derived before says of boundary values: `h_bar[0]`."""
    for equation in system.equations.values():
        for border in system.borders:
            if equation.extent and border.variable == equation.target.base:
                key = border.key.replace(border.variable, equation.name, 1)
                yield _edge(border, equation.rhs, system.lattice, key, ())


def _edge(border: Border, rhs: Node, lattice: Lattice, key: str, inside: Collection[str]) -> Edge:
    steps: list[Expr | None] = []
    for side, i, n in zip(border.sides, lattice.indices, lattice.lengths, strict=True):
        steps.append(Integer(0) + side.coordinate(i, n) if side.depth else None)
    return Edge(border, key, _beyond(rhs, steps, lattice, inside), tuple(steps))


def _beyond(rhs: Node, steps: list[Expr | None], lattice: Lattice, inside: Collection[str]) -> Node:
    """A right-hand side beyond the lattice: adjoints of what has no equation there are zero."""

    def leaf(node: Any) -> Any:
        if isinstance(node, Var) and node.index and (is_backward(node) or node.name in inside):
            where = zip(node.index, steps, lattice.lengths, strict=True)
            if any(step is not None and is_beyond(index, n) for index, step, n in where):
                return expr.Zero(*node.shape)
        return node

    at = {i: step for i, step in zip(lattice.indices, steps, strict=True) if step is not None}
    return expr.rewrite(expr.at(rhs, at), leaf)


def is_beyond(index: Expr, length: Expr) -> bool:
    """Whether a step that is a number, or a number after the end, is outside `1..length`."""
    if index.is_Integer:
        return bool(index < 1)
    return bool((index - length).is_positive)
