"""Statements of a `Program` as walks over the lattice with loops inside.

Statements that stand outside of all sweeps run point by point as well, neighbours in one walk where what they read of each other
is of the same point; a product there is one for the whole last axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sympy import Expr, Integer, Symbol

from derive import expr
from derive.emit.loops.entries import Entries, is_batched
from derive.emit.loops.fusion import fused
from derive.emit.loops.language import (
    COLUMN,
    ROW,
    Accumulate,
    Condition,
    Guarded,
    Item,
    Multiply,
    Read,
    Rows,
    Walk,
)
from derive.expr import Node, Shape, Var
from derive.schedule.program import Assign, Edge, Gradient, OuterTotal, Product, Sweep, Total
from derive.schedule.program import Item as Statement
from derive.schedule.storage import read_by
from derive.schedule.terms import can_be_infinite, is_backward, outer_factors, terms_of
from derive.system import System


@dataclass(frozen=True)
class Around:
    """Where statements stand: for every axis that is swept, how far each name is behind the loop's own step."""

    behind: Mapping[int, Mapping[str, int]] = field(default_factory=dict)

    def inside(self, sweep: Sweep) -> Around:
        moved = {name: sweep.direction * p for name, p in sweep.shifts.items()}
        return Around({**self.behind, sweep.axis: moved})


class Lowering:
    """`new(shape, batched)` names what is computed on the way; `packed(parts, transposed)` a matrix of several parameters.

    `edge` says where the gradient of a boundary value is gathered: an array with the axes along which the border runs.
    """

    def __init__(
        self,
        system: System,
        new: Callable[[Shape, bool], str],
        packed: Callable[[tuple[Var, ...], bool], str],
        edge: Callable[[Edge], Read],
    ):
        self.system, self.new, self.packed, self.edge = system, new, packed, edge
        self.lattice = system.lattice
        self.axes = tuple(range(self.lattice.dimension))

    # --- statements -------------------------------------------------------------------------------------------------

    def items(self, statements: Sequence[Statement], around: Around | None = None) -> list[Item]:
        return [g.item for g in self.guarded(statements, around or Around())]

    def guarded(self, statements: Sequence[Statement], around: Around) -> list[Guarded]:
        found: list[Guarded] = []
        group: list[Assign] = []
        for statement in statements:
            if isinstance(statement, Assign) and self._joins(group, statement, around):
                group.append(statement)
                continue
            found += self._group(group, around)
            group = [statement] if isinstance(statement, Assign) else []
            if isinstance(statement, Sweep):
                found.append(Guarded((), self._sweep(statement, around)))
            elif isinstance(statement, Product):
                found += self._product(statement, around)
        return [*found, *self._group(group, around)]

    def _joins(self, group: Sequence[Assign], statement: Assign, around: Around) -> bool:
        if not group:
            return True
        if self._conditions(group[0].target.name, around) != self._conditions(statement.target.name, around):
            return False
        free = [a for a in self.axes if a not in around.behind]
        computed = {s.target.name for s in group}
        return not any(
            v.name in computed and any(self.system.offset(v)[a] for a in free) for v in read_by(statement) if v.index
        )

    def _group(self, group: Sequence[Assign], around: Around) -> list[Guarded]:
        if not group:
            return []
        entries = Entries(self.new, self._guard)
        for statement in group:
            place = self._place(statement.target.name, around)
            target = expr.at(statement.target, place)
            entries.assign(read_of(target), expr.at(statement.value, place))
        conditions = self._conditions(group[0].target.name, around)
        free = [a for a in self.axes if a not in around.behind]
        return self.walked([Guarded(conditions, item) for item in fused(entries.nests)], free)

    def walked(self, body: Sequence[Guarded], free: Sequence[int]) -> list[Guarded]:
        """`body` at every point of the free axes."""
        found = list(body)
        for axis in reversed(free):
            length = self.lattice.lengths[axis]
            found = [Guarded((), Walk(axis, 1, Integer(1), length, tuple(found)))] if found else []
        return found

    def _sweep(self, sweep: Sweep, around: Around) -> Walk:
        inner = around.inside(sweep)
        behind = [inner.behind[sweep.axis].get(name, 0) for name in sweep.names]
        first, last = Integer(1) + min(behind), self.lattice.lengths[sweep.axis] + max(behind)
        return Walk(sweep.axis, sweep.direction, first, last, tuple(self.guarded(sweep.body, inner)))

    def _place(self, name: str, around: Around) -> dict[Symbol, Expr]:
        moves = {axis: of.get(name, 0) for axis, of in around.behind.items()}
        return {self.lattice.indices[axis]: self.lattice.indices[axis] - p for axis, p in moves.items() if p}

    def _conditions(self, name: str, around: Around) -> tuple[Condition, ...]:
        """That a variable which is behind its loop, or ahead of it, is within the lattice."""
        found: list[Condition] = []
        for axis, of in around.behind.items():
            if any(of.values()):
                step = self.lattice.indices[axis] - of.get(name, 0)
                found += [(Integer(1), "<=", step), (step, "<=", self.lattice.lengths[axis])]
        return tuple(found)

    def _guard(self, term: Node) -> tuple[Condition, ...]:
        """A term that may divide by zero beyond the lattice, where adjoints are zero, is left out there."""
        if not can_be_infinite(term):
            return ()
        found: dict[Condition, None] = {}
        for var in (v for v in expr.variables(term) if is_backward(v)):
            for step, index, length in zip(var.index, self.lattice.indices, self.lattice.lengths, strict=True):
                if not (step - 1).is_nonnegative and step != index:
                    found[Integer(1), "<=", step] = None
                if step not in (index, length, 1):
                    found[step, "<=", length] = None
        return tuple(found)

    # --- products -----------------------------------------------------------------------------------------------------

    def _product(self, product: Product, around: Around) -> list[Guarded]:
        name = product.target.name
        free = [a for a in self.axes if a not in around.behind]
        place, conditions = self._place(name, around), self._conditions(name, around)
        every = (self.axes[-1],) if self.axes[-1] in free else ()
        rows = lambda var: Rows(var.name, expr.at(var, place).index, every)  # noqa: E731
        items: list[Item] = []
        if product.transposed:
            target = rows(product.target)
            width = (product.target.shape[0],)
            for k, run in enumerate(_runs(product.operands)):
                parts = tuple(product.pack.parts[i] for i in run)
                depth = tuple(product.operands[i].shape[0] for i in run)
                left = rows(product.operands[run[0]])
                items.append(Multiply(target, left, self.packed(parts, False), False, width, depth, added=k > 0))
        else:
            width = tuple(t.shape[0] for t in product.targets)
            (operand,) = product.operands
            bias = self.packed(product.bias.parts, False) if product.bias else None
            matrix = self.packed(product.pack.parts, True)
            target = rows(product.target)
            items.append(Multiply(target, rows(operand), matrix, False, width, (operand.shape[0],), bias))
        return self.walked([Guarded(conditions, item) for item in items], [a for a in free if a not in every])

    # --- sums over the lattice, edges -----------------------------------------------------------------------------------

    def gradients(self, found: Sequence[Gradient]) -> list[Item]:
        totals = Entries(self.new, self._guard)
        items: list[Guarded] = []
        for gradient in found:
            if isinstance(gradient, Total):
                self._total(gradient, totals)
            elif isinstance(gradient, OuterTotal):
                items += self._outer_total(gradient)
            elif isinstance(gradient, Edge):
                items += self._edge(gradient)
            elif isinstance(gradient, (Assign, Product)):
                items += self.guarded([gradient], Around())
        whole = [Guarded((), item) for item in fused(totals.nests)]
        return [g.item for g in (*self.walked(whole, self.axes), *items)]

    def _total(self, total: Total, entries: Entries) -> None:
        """A sum point by point; outer products of vectors of every sample are one product of all samples."""
        rest = []
        for term in terms_of(total.value):
            c, core = expr.split_number(term)
            scalar, core = core.args if isinstance(core, expr.Scale) else (expr.Ones(1, 1), core)
            pair = outer_factors(core)
            if pair is None or not all(map(is_batched, pair)) or self._guard(term):
                rest.append(term)
            else:
                left = expr.scale(c, expr.scale(scalar, pair[0]))
                entries.accumulate(total.target.name, left, pair[1])
        if rest and not all(isinstance(term, expr.Zero) for term in rest):
            entries.assign(read_of(total.target), expr.add(*rest), "+=")

    def _outer_total(self, total: OuterTotal) -> list[Guarded]:
        every = (self.axes[-1],)
        left = Rows(total.left[0].name, total.left[0].index, every)
        right = Rows(total.right.name, total.right.index, every) if total.right else None
        width = tuple(v.shape[0] for v in total.left)
        depth = (total.right.shape[0],) if total.right else (Integer(1),)
        item = Accumulate(total.targets[0].name, left, right, width, depth)
        return self.walked([Guarded((), item)], self.axes[:-1])

    def _edge(self, edge: Edge) -> list[Guarded]:
        entries = Entries(self.new, self._guard)
        target = self.edge(edge)
        entries.assign(target, edge.value, "=" if target.batched else "+=")
        free = [axis for axis, step in enumerate(edge.steps) if step is None]
        return self.walked([Guarded((), item) for item in fused(entries.nests)], free)


def read_of(var: Var) -> Read:
    """A variable as a nest writes it."""
    rows, columns = var.shape
    axes = tuple(name for name, size in ((ROW, rows), (COLUMN, columns)) if size != 1)
    return Read(var.name, var.index, bool(var.index), axes)


def _runs(operands: Sequence[Var]) -> list[list[int]]:
    """Neighbouring operands that are read at one point."""
    runs: list[list[int]] = []
    for k, operand in enumerate(operands):
        if runs and operands[runs[-1][-1]].index == operand.index:
            runs[-1].append(k)
        else:
            runs.append([k])
    return runs
