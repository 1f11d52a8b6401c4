"""Where in a formula something can be changed: a sub-expression with all that stands above it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sympy import Basic, Symbol, Tuple

from derive import expr
from derive.expr import Equals, Node

MOST_SITES = 400
"""A line of more sub-expressions is too long to try all that could be changed in it."""


@dataclass(frozen=True)
class Site:
    """One occurrence of a node: `above` are the nodes that it stands in, outermost first, each with the argument's place."""

    node: Node
    above: tuple[tuple[Basic, int], ...]

    @property
    def parent(self) -> Basic:
        return self.above[-1][0]

    @property
    def size(self) -> int:
        """Of how many parts it is made."""
        return len(expr.walk(self.node))

    @property
    def is_right(self) -> bool:
        """Whether it stands in the right side."""
        return self.above[0][1] == 1

    @property
    def other_side(self) -> Any:
        formula, at = self.above[0]
        return formula.args[1 - at]

    @property
    def is_whole(self) -> bool:
        """Whether it is all that a side says: the side, or what is summed in it."""
        return all(isinstance(parent, (Equals, expr.Sum, expr.Transpose)) for parent, _ in self.above)

    @property
    def is_term(self) -> bool:
        """Whether it is a term of a sum, or a side."""
        return isinstance(self.parent, (expr.Add, Equals))

    def under(self, *kinds: type) -> bool:
        return any(isinstance(parent, kinds) for parent, _ in self.above)

    def indices(self) -> list[tuple[Symbol, Any, Any]]:
        """The ranges of the sums and products that it stands in."""
        ranges: list[tuple[Symbol, Any, Any]] = []
        for parent, _ in self.above:
            if isinstance(parent, expr.Sum):
                ranges.extend(r.args for r in parent.args[1:])
            elif isinstance(parent, expr.Product):
                ranges.append(parent.args[1].args)
        return ranges

    def put(self, new: Basic) -> Equals:
        """The formula with `new` in this place, all else as it is written.  Raises `ShapeError` where it does not fit."""
        return self._put(new, lambda parent, args: parent.func(*args))

    def settle(self, new: Basic) -> Equals:
        """The same, simplified on the way up: a product in a product is one product."""
        return self._put(
            new, lambda parent, args: parent.build(*args) if isinstance(parent, Node) else parent.func(*args)
        )

    def _put(self, new: Basic, build: Any) -> Equals:
        for parent, at in reversed(self.above):
            new = build(parent, (*parent.args[:at], new, *parent.args[at + 1 :]))
        return new  # type: ignore[return-value]


def sites(formula: Equals) -> Iterator[Site]:
    """Every occurrence of every node, the right side before the left, from the outside in.  At most `MOST_SITES` of each."""
    for at in (1, 0):
        yield from islice(_inside(formula.args[at], ((formula, at),)), MOST_SITES)


def _inside(root: Basic, above: tuple[tuple[Basic, int], ...]) -> Iterator[Site]:
    pending = [(root, above)]
    while pending:
        node, above = pending.pop()
        if isinstance(node, Node):
            yield Site(node, above)
        if not isinstance(node, (expr.Var, expr.At)):
            inside = [(a, (*above, (node, k))) for k, a in enumerate(node.args) if isinstance(a, (Node, Tuple))]
            pending.extend(reversed(inside))
