"""The routines that share their values, as they are made: statements lowered, and what arrives put into its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from sympy import Expr

from derive.emit.loops.economy import Pass, lifetimes
from derive.emit.loops.entries import axes_of
from derive.emit.loops.fusion import in_memory, with_locals
from derive.emit.loops.language import Clear, Fused, Guarded, IfGiven, Item, Nest, Pile, Read
from derive.emit.loops.losses import Loss
from derive.emit.loops.lowering import Lowering, read_of
from derive.emit.loops.memory import Block, Reach, border_steps, given
from derive.emit.loops.placement import BAR, Kernel, Memory
from derive.expr import Shape, Var
from derive.lattice import Border
from derive.schedule.program import CARRIED, SCRATCH, STORED, Program, statements
from derive.schedule.storage import read_by
from derive.system import System, Variable


class Source(Protocol):
    """What is known of a system before its routines are made."""

    system: System
    program: Program
    parameters: tuple[Block, ...]
    borders: tuple[Border, ...]
    loss: Loss | None


class Maker:
    def __init__(self, source: Source, passes: Sequence[Pass], kept: set[str]):
        self.source, self.passes = source, list(passes)
        self.system, self.lattice, self.program = source.system, source.system.lattice, source.program
        self.kept = lifetimes(self.system, passes, kept)
        self.shapes: dict[str, Shape] = {
            t.name: t.shape for p in passes for s in statements(p.items) for t in s.targets
        }
        self.reach = self._reach()
        self.made: dict[str, tuple[Shape, bool]] = {}
        """What is computed on the way, with its shape, and whether it is of every sample."""
        self.piles: dict[str, tuple[tuple[Var, ...], bool]] = {}
        self.wanted: dict[str, None] = {}
        self.arrived: dict[str, Variable] = {}
        self.lowering = Lowering(self.system, self._new, self._packed, lambda edge: self._edge(edge.border))

    def _reach(self) -> Reach:
        reach = Reach(self.lattice)
        for one in self.passes:
            for statement in (*statements(one.items), *one.gradients):
                for var in (v for v in read_by(statement) if v.index):
                    reach.see(var.name, var.index)
        loss = self.source.loss if len(self.passes) > 1 else None
        for var in loss.variables if loss else ():
            if var.index:
                reach.see(var.name, var.index)
        for border in self.source.borders:
            if border.variable in self.shapes or border.variable in reach.found:
                reach.see(border.variable, border_steps(border, self.lattice))
        return reach

    def is_bordered(self, name: str) -> bool:
        return any(map(any, self.reach.of([name])))

    # --- routines -----------------------------------------------------------------------------------------------------

    def sweep(self, one: Pass, arriving: Sequence[Variable]) -> list[Item]:
        """The items of a pass: what arrives goes to its place, then the statements run, then sums and edges."""
        self.wanted = {}
        computed = [t.name for s in statements(one.items) for t in s.targets]
        items = [*self._arrivals(arriving), *self._borders(computed)]
        items += [*self.lowering.items(one.items), *self.lowering.gradients(one.gradients)]
        return [*self._piled(), *items]

    def loss(self, loss: Loss) -> list[Item]:
        targets = [v for v in self.system.of_kind("target") if v.name not in self.arrived]
        return [*self._arrivals(targets), *loss.items(self.lowering)]

    def direct(self, loss: Loss) -> list[Item]:
        return loss.direct_items(self.lowering, self._edge)

    def _piled(self) -> list[Item]:
        """What makes the piles that a routine wants."""
        wanted = ((name, *self.piles[name]) for name in self.wanted)
        return [Pile(name, tuple(p.name for p in parts), flip) for name, parts, flip in wanted]

    def _new(self, shape: Shape, batched: bool) -> str:
        taken = {*self.made, *self.shapes, *self.system.variables}
        name = next(n for k in range(1, len(taken) + 2) if (n := f"part_{k}") not in taken)
        self.made[name] = shape, batched
        return name

    def _packed(self, parts: tuple[Var, ...], transposed: bool) -> str:
        """Parameters below one another, by the name of the first; their transposes side by side are a pile."""
        order = [b.name for b in self.source.parameters]
        start = order.index(parts[0].name)
        if not transposed and order[start : start + len(parts)] == [p.name for p in parts]:
            return parts[0].name
        stem = "_".join([parts[0].name, *(p.name.split("_", 1)[-1] for p in parts[1:])])
        name = next(
            n
            for k in range(100)
            if self.piles.get(n := self._pile_name(stem, transposed, k)) in (None, (parts, transposed))
        )
        self.piles[name] = parts, transposed
        self.wanted[name] = None
        return name

    def _pile_name(self, stem: str, transposed: bool, k: int) -> str:
        return f"{stem}{'_transposed' if transposed else '_pile'}{f'_{k}' if k else ''}"

    def _edge(self, border: Border) -> Read:
        """The gradient of a boundary value."""
        steps = tuple(i for i, side in zip(self.lattice.indices, border.sides, strict=True) if not side.depth)
        var = self.system.variables[border.variable].var
        batched = self.system.boundary[border.variable] != "learned"
        return replace(read_of(var), array=border.key + BAR, steps=steps, batched=batched)

    # --- what arrives, and what lies around the lattice -----------------------------------------------------------------

    def _arrivals(self, arriving: Sequence[Variable]) -> list[Item]:
        found: list[Item] = []
        for variable in arriving:
            self.arrived[variable.name] = variable
            if self.is_bordered(variable.name):
                var, index = variable.var, self.lattice.indices
                found += [Clear(variable.name), *self._copy(var, index, given(variable.name), index, True)]
                found += self._boundary_values(variable.name)
        return found

    def _borders(self, computed: Iterable[str]) -> list[Item]:
        found: list[Item] = []
        for name in computed:
            if self.kept[name] == CARRIED or (self.kept[name] == STORED and self.is_bordered(name)):
                found += [Clear(name), *self._boundary_values(name)]
        # All are cleared before the first is filled: several may lie in one block.
        return sorted(found, key=lambda item: not isinstance(item, Clear))

    def _boundary_values(self, name: str) -> list[Item]:
        found: list[Item] = []
        for border in (b for b in self.source.borders if b.variable == name):
            batched = self.system.boundary[name] != "learned"
            source = given(border.key) if batched else border.key
            to = border_steps(border, self.lattice)
            free = tuple(i for i in self.lattice.indices if i in to)
            copied = self._copy(self.system.variables[name].var, to, source, free, batched)
            found += [IfGiven(source, tuple(copied))] if batched else copied
        return found

    def _copy(self, var: Var, to: tuple[Expr, ...], source: str, steps: tuple[Expr, ...], batched: bool) -> list[Item]:
        target = replace(read_of(var.at(to)), batched=True)
        nest = Nest(target, replace(target, array=source, steps=steps, batched=batched), axes_of(var.shape, True))
        free = [axis for axis, i in enumerate(self.lattice.indices) if i in steps]
        return [g.item for g in self.lowering.walked([Guarded((), Fused(nest.axes, (nest,)))], free)]

    # --- memory -----------------------------------------------------------------------------------------------------------

    def kernel(self, routines: Mapping[str, list[Item]]) -> Kernel:
        items = [item for some in routines.values() for item in some]
        read = set(in_memory(items))
        scratch = [*self.made, *(n for n, kept in self.kept.items() if kept == SCRATCH)]
        local = frozenset(n for n in scratch if n not in read)
        routines = {name: with_locals(some, local) for name, some in routines.items()}
        return Memory(self, routines).kernel()
