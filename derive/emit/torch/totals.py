"""The gradients at the end of a pass: sums over the lattice and the batch, and what is said of boundary values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from derive import expr
from derive.emit.code import COLUMN, MATRIX, ROW, SCALAR, kind_of
from derive.emit.layout import Place
from derive.emit.torch.passes import Pass
from derive.expr import Node
from derive.schedule.program import Edge, OuterTotal, Total
from derive.schedule.terms import can_be_infinite, terms_of

Late: TypeAlias = "tuple[str, str, str]"
"""A condition, the rows of the gradient in brackets, and what is added to them."""


class Totals(Pass):
    """Writes gradients as well."""

    def total(self, item: Total) -> str:
        """The sum of a value over lattice and batch."""
        text = self.printer.total(item.value)
        return f"({text})[None]" if kind_of(item.target) == ROW else text

    def outer_total(self, item: OuterTotal) -> tuple[str, list[str]]:
        """The text of the sum for all targets, and what makes each of their gradients of its rows."""
        left = self.at(self.span(item.left), item.left[0])
        left = f"{left}[..., None]" if self.is_scalar(item.left) else left
        rows = self.printer.call("rows", left)
        if item.right is None:
            shapes = ["[0]" if kind_of(t) == SCALAR else "[None]" if kind_of(t) == ROW else "" for t in item.targets]
            return f"{rows}.sum(0)", shapes
        right = self.read(item.right)
        right = f"{right}[..., None]" if kind_of(item.right) == SCALAR else right
        shapes = [{MATRIX: "", ROW: "", COLUMN: "[:, 0]", SCALAR: "[0, 0]"}[kind_of(t)] for t in item.targets]
        return f"({self.printer.call('rows', right)}.T @ {rows}).T", shapes

    def edge(self, item: Edge) -> tuple[list[str], list[Late]]:
        """The text of a boundary value's gradient, and what is added to it where the lattice reaches."""
        self.place, self.inside = Place(item.steps, self.everywhere.margins), False
        plain, late = [], []
        for term in terms_of(item.value):
            infinite = can_be_infinite(term)
            condition = self._reached(term) if infinite or not self._has_rows(term) else ""
            margins = self._left_out(term) if infinite else self.everywhere.margins
            if condition or any(map(any, margins)):
                self.place = Place(item.steps, tuple(margins))
                kept = [m for m, step in zip(margins, item.steps, strict=True) if step is None]
                rows = ", ".join(f"{low or ''}:{-high or ''}" for low, high in kept)
                late.append((condition, f"[{rows}]" if any(map(any, kept)) else "", self.value(term)))
                self.place = Place(item.steps, self.everywhere.margins)
            elif not isinstance(term, expr.Zero):
                plain.append(term)
        node = expr.add(*plain) if plain else None
        value = self.printer.full(self.printer.value(node), node) if node is not None else None
        self.place = self.everywhere
        return ([value.text] if value is not None and value.batched else []), late

    def _has_rows(self, term: Node) -> bool:
        """Whether arrays have a row, of zeros, for all that a term reads, however short the lattice is."""
        for var in (v for v in expr.variables(term) if v.index):
            sides = zip(var.index, self.lattice.lengths, self.memory.margins[var.name], strict=True)
            for index, n, (before, after) in sides:
                if (index.is_Integer and index - 1 > after) or (index.has(n) and n - index > before):
                    return False
        return True

    def _left_out(self, term: Node) -> Sequence[tuple[int, int]]:
        """How many points at either end of a border have no adjoint of `term` beside them."""
        offsets: list[set[int]] = [{0} for _ in self.lattice.indices]
        for var in (v for v in expr.variables(term) if v.index and self.is_adjoint(v)):
            for found, index, symbol in zip(offsets, var.index, self.lattice.indices, strict=True):
                found |= {int(index - symbol)} if index.has(symbol) else set()
        return [(-min(found), max(found)) for found in offsets]

    def _reached(self, term: Node) -> str:
        """The condition that all adjoints which a term reads near the border lie inside the lattice."""
        conditions: dict[str, None] = {}
        for var in (v for v in expr.variables(term) if v.index and self.is_adjoint(v)):
            for axis, (index, n) in enumerate(zip(var.index, self.lattice.lengths, strict=True)):
                if index.is_Integer and index > 1:
                    conditions[f"{index} <= {self.names.length[axis]}"] = None
                elif index.has(n) and index != n:
                    conditions[f"{n - index} < {self.names.length[axis]}"] = None
        return " and ".join(conditions)
