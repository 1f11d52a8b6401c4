"""The loss of a system in loops: its value, the cotangents that it starts the backward sweep from, and what it reads itself.

A loss at `t` that reads `h[t-1]` gives to the cotangent at `s` what it says at `s + 1`, where that is a step; beyond the lattice,
to the gradient of a boundary value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sympy import Expr, Integer, Symbol

from derive import expr
from derive.emit.loops.entries import Entries
from derive.emit.loops.fusion import fused
from derive.emit.loops.language import Condition, Guarded, Item, Read
from derive.emit.loops.lowering import Lowering, read_of
from derive.emit.loops.memory import border_steps, given
from derive.expr import Node, Var
from derive.lattice import Border, Offset
from derive.partials import Entry, table
from derive.schedule.terms import gradient_of_loss
from derive.system import LOSS, System

BAR = "_bar"
VALUE = "the loss"


@dataclass(frozen=True)
class Loss:
    """`entries`: the derivatives of the loss of one step by what it reads; `borders` have gradients of their own."""

    system: System
    seeds: tuple[str, ...]
    entries: tuple[Entry, ...]
    borders: tuple[Border, ...]

    @property
    def rhs(self) -> Node:
        return self.system.equations[LOSS].rhs

    @property
    def variables(self) -> tuple[Var, ...]:
        """All that the value and its derivatives read, at the places where they read it."""
        found = [self.rhs]
        for entry in self.entries:
            found += [self._gradient(entry), self._term(entry, self.system.lattice.indices)[1]]
        return tuple(v for node in found for v in expr.variables(node))

    @property
    def direct(self) -> bool:
        return any(self._kind(e) in ("parameter", "input") for e in self.entries) or bool(self._reached())

    def items(self, lowering: Lowering) -> list[Item]:
        """The value, summed over the batch, and every cotangent."""
        value = Entries(lowering.new)
        value.assign(Read(VALUE, (), False, ()), self._here(self.rhs), "+=")
        found = self._walked(lowering, value)
        cotangents = Entries(lowering.new)
        for name in self.seeds:
            terms = [self._term(e, self.system.lattice.indices) for e in self.entries if e.source.name == name]
            if terms:
                target = self.system.variables[name].var.marked("ct")
                here = read_of(target)
                cotangents.gather(replace(here, array=given(here.array)), terms)
        return [*found, *self._everywhere(lowering, cotangents)]

    def direct_items(self, lowering: Lowering, edge: Callable[[Border], Read]) -> list[Item]:
        own, indexed = Entries(lowering.new), Entries(lowering.new)
        for entry in self.entries:
            target = read_of(entry.source.at(self.system.lattice.indices if entry.source.index else ()).marked("bar"))
            if self._kind(entry) == "parameter":
                own.assign(target, self._here(self._gradient(entry)), "+=")
            elif self._kind(entry) == "input":
                indexed.gather(target, [self._term(entry, self.system.lattice.indices)], "+=")
        found = [*self._walked(lowering, own), *self._everywhere(lowering, indexed)]
        for border, entry in self._reached():
            one = Entries(lowering.new)
            one.gather(edge(border), [self._term(entry, border_steps(border, self.system.lattice))], "+=")
            free = [axis for axis, side in enumerate(border.sides) if not side.depth]
            found += [g.item for g in lowering.walked([Guarded((), i) for i in fused(one.nests)], free)]
        return found

    # --- where the loss stands --------------------------------------------------------------------------------------------

    def _here(self, node: Node) -> Node:
        """A value of the loss's own step: of every one, or of the last."""
        if self.system.loss != "last":
            return node
        return expr.at(node, dict(zip(self.system.lattice.indices, self.system.lattice.lengths, strict=True)))

    def _walked(self, lowering: Lowering, entries: Entries) -> list[Item]:
        body = [Guarded((), item) for item in fused(entries.nests)]
        return [g.item for g in lowering.walked(body, () if self.system.loss == "last" else lowering.axes)]

    def _everywhere(self, lowering: Lowering, entries: Entries) -> list[Item]:
        return [g.item for g in lowering.walked([Guarded((), i) for i in fused(entries.nests)], lowering.axes)]

    # --- what it gives to what it reads -----------------------------------------------------------------------------------

    def _kind(self, entry: Entry) -> str:
        return self.system.variables[entry.source.name].kind

    def _gradient(self, entry: Entry) -> Node:
        return gradient_of_loss(self.system, entry)

    def _term(self, entry: Entry, at: Sequence[Expr]) -> tuple[tuple[Condition, ...], Node]:
        """What the loss gives to the source of an entry at a place, and where there is a step that gives it."""
        lattice = self.system.lattice
        steps = [a - o for a, o in zip(at, entry.offset or (0,) * lattice.dimension, strict=True)]
        moved: dict[Symbol, Expr] = {i: s for i, s in zip(lattice.indices, steps, strict=True) if i != s}
        conditions: list[Condition] = []
        for step, index, length in zip(steps, lattice.indices, lattice.lengths, strict=True):
            if self.system.loss == "last":
                conditions += [(step, "==", length)] if step != length else []
            elif step != index:
                conditions += [(Integer(1), "<=", step), (step, "<=", length)]
        return tuple(conditions), expr.at(self._gradient(entry), moved)

    def _reached(self) -> list[tuple[Border, Entry]]:
        """The borders that the loss reads, each with an entry through which it does."""
        found = []
        for border in self.borders:
            for entry in self.entries:
                if entry.source.name == border.variable and self._reads_beyond(border, entry.offset or ()):
                    found.append((border, entry))
        return found

    def _reads_beyond(self, border: Border, offset: Offset) -> bool:
        """Whether some step reads this border at that offset, on a lattice that is long enough."""
        for side, o in zip(border.sides, offset, strict=True):
            if side.depth and (o >= 0 if side.low else o <= 0):
                return False
            if side.depth > abs(o):
                return False
        return True


def loss_of(system: System, seeds: Sequence[str]) -> Loss:
    kinds = ("state", "input", "parameter")
    entries = [e for e in table(system).of_target(LOSS) if system.variables[e.source.name].kind in kinds]
    borders = [b for b in system.borders if system.variables[b.variable].kind in kinds]
    return Loss(system, tuple(seeds), tuple(entries), tuple(borders))
