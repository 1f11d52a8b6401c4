"""Places in an equation: what may be exchanged, and the equation with something else in its place.

A place is named by argument positions from the root.  What a derivative is taken of and by is no place of its own: a
derivative is exchanged as a whole.  Around a place stand sums and products that bind indices; what is put there may use
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sympy import Basic, Expr, Symbol, Tuple

from derive import expr
from derive.check import Claim
from derive.expr import Equals, Node, Var

Steps = tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """A node of a claim's equation: `side` is 0 on the left; `binders` are the sums and products around it, outermost first."""

    claim: Claim
    equation: Equals
    steps: Steps
    node: Node
    binders: tuple[tuple[Symbol, Basic, Basic], ...] = ()
    parent: Basic | None = None

    @property
    def side(self) -> int:
        return self.steps[0]

    @property
    def is_root(self) -> bool:
        """Whether it is a whole side."""
        return len(self.steps) == 1

    @cached_property
    def bound(self) -> frozenset[Symbol]:
        return frozenset(index for index, _, _ in self.binders)

    def put(self, new: Node, simplify: bool) -> Equals:
        """The equation with `new` here.  Raises `ShapeError` where it does not fit."""
        return put(self.equation, self.steps, new, simplify)


def places(claim: Claim, equation: Equals) -> Iterator[Place]:
    """Every place of both sides, parents first."""
    pending: list[Place] = [Place(claim, equation, (k,), side) for k, side in ((1, equation.rhs), (0, equation.lhs))]
    while pending:
        here = pending.pop()
        yield here
        for step, child in _children(here.node):
            inner = here.binders + _ranges(here.node) if step == (0,) else here.binders
            pending.append(Place(claim, equation, here.steps + step, child, inner, here.node))


def _children(node: Node) -> Iterator[tuple[Steps, Node]]:
    if isinstance(node, (Var, expr.At, expr.Partial, expr.GradientOf)):
        return
    if isinstance(node, expr.Pulled):
        yield (2,), node.args[2]
        return
    for k, child in enumerate(node.args):
        if isinstance(child, Node):
            yield (k,), child
        elif isinstance(node, expr.Block):
            yield from (((k, n), entry) for n, entry in enumerate(child))


def _ranges(node: Node) -> tuple[tuple[Symbol, Basic, Basic], ...]:
    if isinstance(node, expr.Sum):
        return tuple(tuple(r) for r in node.args[1:])
    return (tuple(node.args[1]),) if isinstance(node, expr.Product) else ()


def put(root: Basic, steps: Steps, new: Node, simplify: bool) -> Equals:
    """`root` with the node at `steps` exchanged; what stands above is built anew, `simplify` says how."""
    above: list[Basic] = [root]
    for step in steps[:-1]:
        above.append(above[-1].args[step])
    made: Basic = new
    for node, step in zip(reversed(above), reversed(steps), strict=True):
        args = (*node.args[:step], made, *node.args[step + 1 :])
        made = node.build(*args) if simplify and isinstance(node, Node) else _plain(node, args)
    return made


def _plain(node: Basic, args: tuple[Basic, ...]) -> Basic:
    return Tuple(*args) if isinstance(node, Tuple) else node.func(*args)


def moved(node: Any, moves: Mapping[Symbol, Expr]) -> Any:
    """`node` at another index, otherwise as it is written: `derive.expr.at` would simplify it."""
    if isinstance(node, Var):
        return node.at(i.xreplace(moves) for i in node.index)
    if isinstance(node, Expr) and not isinstance(node, Node):
        return node.xreplace(moves)
    if isinstance(node, (Node, Tuple)) and node.args:
        return _plain(node, tuple(moved(a, moves) for a in node.args))
    return node
