"""What a line may have meant: the pieces from which a wrong factor, name or term is replaced.

They are the pieces of what the engine derives for the left side, those of the line itself, and the names of the system.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from derive import expr
from derive.expr import Equals, Node, Var
from derive.partials import table
from derive.system import System

IDLE = (expr.Zero, expr.Sum)
MOST_INDICES = 6
MOST_PIECES = 60
"""Of one shape: the smallest, and where the line has all derivatives worked out those that have, too."""


class Pool:
    """`derived` are true right sides, or terms of them."""

    def __init__(self, system: System, formula: Equals, derived: Iterable[Node]):
        self.system, self.formula, self.derived = system, formula, tuple(derived)
        self.lengths = system.lattice.lengths

    @cached_property
    def _by_shape(self) -> dict[Any, list[Node]]:
        found: dict[Any, dict[Node, None]] = {}
        for root in (*(self.derived or self._locals()), *self._summands(), self.formula.rhs, *self.formula.lhs.args):
            for node in expr.walk(root):
                if isinstance(node, Node) and node is not self.formula.lhs and not isinstance(node, IDLE):
                    found.setdefault(node.shape, {})[node] = None
                    if isinstance(node, expr.Had):
                        self._parts(node, found[node.shape])
        for var in self._names():
            found.setdefault(var.shape, {})[var] = None
        worked = not _holds_derivative(self.formula.rhs)
        return {
            shape: sorted(nodes, key=lambda n: (worked and _holds_derivative(n), len(expr.walk(n))))[:MOST_PIECES]
            for shape, nodes in found.items()
        }

    def _locals(self) -> Iterator[Node]:
        """What the local partials of the names that stand in the line are made of."""
        for var in expr.variables(self.formula):
            move = dict(zip(self.system.lattice.indices, var.index, strict=False))
            for entry in table(self.system).of_target(var.name):
                nodes = (op.node for chain in entry.map.chains for op in chain.ops if op.node is not None)
                yield from (expr.at(node, move) for node in nodes)

    def _summands(self) -> Iterator[Node]:
        """What is summed in what is derived, at the indices at which the line reads."""
        indices = {i for v in expr.variables(self.formula) for i in v.index if i.free_symbols}
        for sum_ in (n for root in self.derived for n in expr.walk(root) if isinstance(n, expr.Sum)):
            body, (dummy, *_) = sum_.args[:2]
            for index in sorted(indices - {dummy}, key=str)[:MOST_INDICES]:
                yield expr.at(body, {dummy: index})

    def _parts(self, node: expr.Had, found: dict[Node, None]) -> None:
        """The derivative of an activation is often two factors of a longer product: `z ∘ (1 - z)`."""
        for factor in node.args:
            rest = expr.split_number(expr.add(expr.Ones(*factor.shape), -factor))[1]
            if rest in node.args:
                found[expr.had(factor, rest)] = None

    def of_shape(self, shape: Any) -> list[Node]:
        """Those of that shape, the likeliest first."""
        return self._by_shape.get(tuple(shape), self._by_shape.get(shape, []))

    def like(self, var: Var) -> list[Var]:
        """The other names that could stand in its place, at the same index and with the same marks."""
        found = []
        for other in self.system.variables.values():
            candidate = other.var
            if candidate.shape != var.shape or len(candidate.index) != len(var.index):
                continue
            named = candidate.at(var.index).marked(*var.marks) if var.marks else candidate.at(var.index)
            if named.name != var.name and (not var.marks or not candidate.marks):
                found.append(named)
        return found

    def _names(self) -> list[Var]:
        """Every parameter, and every name at the indices at which the line reads."""
        indexed = {v.index for v in expr.variables(self.formula) if v.index}
        return [
            v.var.at(index)
            for v in self.system.variables.values()
            for index in (indexed if v.var.index else ((),))
            if len(index) == len(v.var.index)
        ]


def _holds_derivative(node: Node) -> bool:
    return any(isinstance(n, (expr.Partial, expr.Pulled)) for n in expr.walk(node))
