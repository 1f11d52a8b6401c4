"""Routines that share their values: what they run, and where everything lies in memory.

What `forward` leaves behind is in the region `values`; the rest of a routine is in `memory`, where nothing is kept between routines.
Arrays that a `Program` puts side by side are one block.  An array of the backward sweep takes the place of one that is read for
the last time where it is computed, entry by entry: the adjoints of the gates that of the gates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sympy import Expr, Integer

from derive import expr
from derive.emit.loops.economy import Pass, lifetimes
from derive.emit.loops.entries import axes_of
from derive.emit.loops.fusion import in_memory, with_locals
from derive.emit.loops.language import Accumulate, Clear, Fused, Guarded, IfGiven, Item, Multiply, Nest, Pile, Read, Walk, reads
from derive.emit.loops.losses import VALUE, Loss
from derive.emit.loops.lowering import Lowering, read_of
from derive.emit.loops.memory import (
    GIVEN,
    GRADIENTS,
    MEMORY,
    VALUES,
    Block,
    Place,
    Reach,
    border_block,
    border_steps,
    given,
    sizes_of,
    width_of,
)
from derive.expr import Shape, Var
from derive.lattice import Border
from derive.schedule.program import CARRIED, SCRATCH, STORED, OuterTotal, Program, Stack, statements
from derive.schedule.storage import read_by
from derive.system import System, Variable

BAR = "_bar"


@dataclass(frozen=True)
class Kernel:
    """`routines`: their items by name.  `layout`: where every array lies.

    `values`, `gradients`: the blocks of these regions in their order; `memory`: those of each routine.
    """

    routines: Mapping[str, tuple[Item, ...]]
    layout: Mapping[str, Place]
    values: tuple[Block, ...]
    gradients: tuple[Block, ...]
    memory: Mapping[str, tuple[Block, ...]]


class Source(Protocol):
    """What is known of a system before its routines are made."""

    system: System
    program: Program
    parameters: tuple[Block, ...]
    borders: tuple[Border, ...]
    loss: Loss | None


class Maker:
    def __init__(self, source: Any, passes: Sequence[Pass], kept: set[str]):
        self.source, self.passes = source, list(passes)
        self.system, self.lattice, self.program = source.system, source.system.lattice, source.program
        self.kept = lifetimes(self.system, passes, kept)
        self.shapes: dict[str, Shape] = {t.name: t.shape for p in passes for s in statements(p.items) for t in s.targets}
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
        name = next(n for k in range(100) if self.piles.get(n := self._pile_name(stem, transposed, k)) in (None, (parts, transposed)))
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
        local = {n for n, kept in self.kept.items() if kept == SCRATCH and n not in read}
        local = frozenset(local | {n for n in self.made if n not in read})
        routines = {name: with_locals(some, local) for name, some in routines.items()}
        return Memory(self, routines).kernel()


class Memory:
    """The blocks of routines that are complete."""

    def __init__(self, maker: Maker, routines: Mapping[str, list[Item]]):
        self.maker, self.routines = maker, routines
        self.system, self.lattice, self.program = maker.system, maker.lattice, maker.program
        self.axes = tuple(range(self.lattice.dimension))
        self.names = list(routines)
        self.home = self._homes()
        self.stacks = self._stacks()
        self.alias = self._shared() | self._overlaid()
        self.places: dict[str, Place] = {}
        self.blocks: dict[str, list[Block]] = {}

    def kernel(self) -> Kernel:
        self._put_given()
        self._put_gradients()
        self._put_computed()
        self._put_piles()
        for name, other in self.alias.items():
            self.places[name] = self.places[self._aliased(other)]
        routines = {name: tuple(self._with_clears(items)) for name, items in self.routines.items()}
        memory = {name: tuple(self.blocks.get(f"{MEMORY} {name}", ())) for name in self.names}
        values, gradients = (tuple(self.blocks.get(region, ())) for region in (VALUES, GRADIENTS))
        return Kernel(routines, self.places, values, gradients, memory)

    def _homes(self) -> dict[str, str]:
        """The routine that first writes an array, for all that are in memory."""
        found: dict[str, str] = {}
        for name, items in self.routines.items():
            for array in written(items):
                found.setdefault(array, name)
        return found

    # --- what lies side by side, and what shares its memory ------------------------------------------------------------------

    def _stacks(self) -> list[Stack]:
        """The stacks of which something is in memory."""
        return [s for s in self.program.stacks if any(p.name in self.home for p in s.parts)]

    def _stack_of(self, name: str) -> Stack | None:
        return next((s for s in self.stacks if any(p.name == name for p in s.parts)), None)

    def _names_with(self, name: str) -> tuple[str, ...]:
        stack = self._stack_of(name)
        return tuple(p.name for p in stack.parts) if stack else (name,)

    def _shared(self) -> dict[str, str]:
        """What the schedule says may share its memory, where this holds for all that lies side by side."""
        found: dict[str, str] = {}
        kept, passes = self.maker.kept, self.maker.passes
        readers = [v.name for p in passes for s in (*statements(p.items), *p.gradients) for v in read_by(s)]
        shared = {p: i for p, i in self.program.shared.items() if readers.count(p) == 1}
        for name in shared:
            side_by_side = self._names_with(name)
            targets = [shared.get(n) for n in side_by_side]
            if all(t and kept.get(t) == STORED and kept.get(n) == STORED for n, t in zip(side_by_side, targets, strict=True)):
                together = self._names_with(str(targets[0]))
                if len(side_by_side) == 1 or together == tuple(targets):
                    found[name] = shared[name]
        return found

    def _overlaid(self) -> dict[str, str]:
        """Arrays of the backward sweep in the place of values that are read for the last time where they are computed."""
        found: dict[str, str] = {}
        if "backward" not in self.routines or self.lattice.dimension > 1:
            return found
        later = [item for n in ("backward", "direct") for item in self.routines.get(n, ())]
        for loop in (f for f in loops(later) if f.axes):
            targets = {n.target.array: n.target for n in loop.nests}
            for name in targets:
                side_by_side = self._names_with(name)
                if name in found or not all(self._can_be_laid(n, targets) for n in side_by_side):
                    continue
                taken = {self._aliased(v) for v in found.values()}
                for other in self._values():
                    if other[0] not in taken and self._is_used_up(other, side_by_side, loop, later):
                        found |= dict(zip(side_by_side, other, strict=True))
                        break
        return found

    def _can_be_laid(self, name: str, targets: Mapping[str, Read]) -> bool:
        shared = self.maker.program.shared.values()
        stored = self.maker.kept.get(name) == STORED and self.home.get(name) == "backward" and name not in shared
        return name in targets and stored and not self._is_input_gradient(name)

    def _values(self) -> list[tuple[str, ...]]:
        """The stored values of the forward sweep, side by side as they are."""
        first, kept, shared = self.names[0], self.maker.kept, self._shared()
        own = [n for n, r in self.home.items() if r == first and kept.get(n) == STORED and n not in shared]
        return list(dict.fromkeys(self._names_with(n) for n in own))

    def _is_used_up(
        self, values: tuple[str, ...], names: tuple[str, ...], loop: Fused, later: Sequence[Item]
    ) -> bool:
        """Whether `values` have the shapes of `names`, and nobody but this loop reads them, entry by entry, at its own point."""
        shapes = self.maker.shapes
        if len(values) != len(names) or any(shapes.get(v) != shapes[n] for v, n in zip(values, names, strict=True)):
            return False
        here = next(n.target for n in loop.nests if n.target.array == names[0])
        for item in everything(later):
            own = isinstance(item, Fused) and item is loop
            for read in accesses(item):
                array, steps, axes = read
                if array in values and not (own and steps == here.steps and axes == here.axes):
                    return False
        return True

    def _aliased(self, name: str) -> str:
        alias = getattr(self, "alias", {})
        return alias.get(name, name)

    # --- blocks -----------------------------------------------------------------------------------------------------------

    def _put(self, block: Block, shapes: Sequence[Shape], region: str = "") -> None:
        if any(part in self.places for part in block.parts):
            return
        self.blocks.setdefault(region or block.region, []).append(block)
        start: Expr = Integer(0)
        for part, width, shape in zip(block.parts, block.widths, shapes, strict=True):
            self.places[part] = Place(block, start, sizes_of(shape))
            start += width

    def _put_given(self) -> None:
        variables = self.system.variables
        for block in self.maker.source.parameters:
            name = block.name if block.name in variables else block.name.partition("[")[0]
            self._put(block, [variables[name].shape])
        self._put(Block(VALUE, GIVEN, (VALUE,), (Integer(1),), (), batched=False), [expr.SCALAR])
        none = (0,) * len(self.axes)
        for name, variable in self.maker.arrived.items():
            shape = variable.shape
            block = Block(given(name), GIVEN, (given(name),), (width_of(shape),), self.axes, none, none)
            self._put(block, [shape])
            if not self.maker.is_bordered(name):
                self.places[name] = self.places[given(name)]
                continue
            before, after = self.maker.reach.of([name])
            home = self.home.get(name, self.names[0])
            region = VALUES if home != "backward" else f"{MEMORY} {home}"
            self._put(Block(name, VALUES, (name,), (width_of(shape),), self.axes, before, after), [shape], region)
        for border in self.maker.source.borders:
            if self.system.boundary[border.variable] != "learned":
                block = border_block(self.system, border, given(border.key), GIVEN)
                self._put(block, [self.system.variables[border.variable].shape])

    def _put_gradients(self) -> None:
        """Gradients of parameters, those of one product behind one another; of inputs; of boundary values."""
        if "backward" not in self.routines:
            return
        order: dict[str, Shape] = {}
        for gradient in self.program.gradients:
            if isinstance(gradient, OuterTotal):
                order |= {t.name: t.shape for t in gradient.targets}
        order |= {v.name + BAR: v.shape for v in self.system.parameters if v.name + BAR not in order}
        for name, shape in order.items():
            self._put(Block(name, GRADIENTS, (name,), (width_of(shape),), (), batched=False), [shape])
        none = (0,) * len(self.axes)
        for v in self.system.inputs:
            block = Block(v.name + BAR, GRADIENTS, (v.name + BAR,), (width_of(v.shape),), self.axes, none, none)
            self._put(block, [v.shape])
        for border in self.maker.source.borders:
            if self.system.variables[border.variable].kind in ("state", "input"):
                block = border_block(self.system, border, border.key + BAR, GRADIENTS)
                self._put(block, [self.system.variables[border.variable].shape])

    def _put_computed(self) -> None:
        kept, shapes = self.maker.kept, self.maker.shapes | {n: s for n, (s, _) in self.maker.made.items()}
        longest = [SCRATCH, CARRIED, STORED]
        for name, routine in self.home.items():
            if name in self.places or name in self.alias or name not in shapes:
                continue
            parts = self._names_with(name)
            known = [n for n in parts if n in kept]
            storage = max((kept[n] for n in known), key=longest.index) if known else SCRATCH
            stored = storage == STORED
            sharing = [n for n, other in self.alias.items() if other in parts]
            before, after = self.maker.reach.of([*parts, *sharing]) if stored else ((), ())
            batched = self.maker.made[name][1] if name in self.maker.made else True
            all_shapes = [shapes.get(n) or self.program.arrays[n].var.shape for n in parts]
            region = VALUES if stored and routine == self.names[0] else f"{MEMORY} {routine}"
            stack = self._stack_of(name)
            block = Block(
                stack.name if stack else name, region, parts, tuple(map(width_of, all_shapes)),
                self.axes if stored else (), before, after, batched, storage == CARRIED,
            )  # fmt: skip
            self._put(block, all_shapes)

    def _is_input_gradient(self, name: str) -> bool:
        return any(v.name + BAR == name for v in self.system.inputs)

    def _put_piles(self) -> None:
        for routine, items in self.routines.items():
            for pile in (i for i in items if isinstance(i, Pile)):
                parts, transposed = self.maker.piles[pile.target]
                rows = sum((p.shape[0] for p in parts), Integer(0))
                columns = parts[0].shape[1]
                shape = (columns, rows) if transposed else (rows, columns)
                block = Block(pile.target, MEMORY, (pile.target,), (rows * columns,), (), batched=False)
                self.blocks.setdefault(f"{MEMORY} {routine}", []).append(block)
                self.places[pile.target] = Place(block, Integer(0), sizes_of(shape))

    def _with_clears(self, items: Iterable[Item]) -> Iterator[Item]:
        """Each block is cleared once."""
        seen: set[str] = set()
        for item in items:
            if isinstance(item, Clear):
                block = self.places[item.array].block.name
                if block in seen:
                    continue
                seen.add(block)
            yield item


# --- walking --------------------------------------------------------------------------------------------------------------


def everything(items: Iterable[Item]) -> Iterator[Item]:
    """The items inside and outside of walks."""
    for item in items:
        if isinstance(item, Walk):
            yield from everything(g.item for g in item.body)
        elif isinstance(item, IfGiven):
            yield from everything(item.body)
        else:
            yield item


def loops(items: Iterable[Item]) -> Iterator[Fused]:
    yield from (item for item in everything(items) if isinstance(item, Fused))


def written(items: Iterable[Item]) -> Iterator[str]:
    """The arrays that are written to memory."""
    for item in everything(items):
        if isinstance(item, Fused):
            yield from (n.target.array for n in item.nests if n.target.array not in item.kept_local)
        elif isinstance(item, Multiply):
            yield item.target.array
        elif isinstance(item, (Accumulate, Pile)):
            yield item.target
        elif isinstance(item, Clear):
            yield item.array


def accesses(item: Item) -> Iterator[tuple[str, tuple[Expr, ...], tuple[str, ...]]]:
    """What an item reads: arrays, steps and axes."""
    if isinstance(item, Fused):
        for nest in item.nests:
            yield from ((r.array, r.steps, r.axes) for r in reads(nest.value))
    elif isinstance(item, Multiply):
        yield item.left.array, item.left.steps, ()
    elif isinstance(item, Accumulate):
        yield item.left.array, item.left.steps, ()
        yield from [(item.right.array, item.right.steps, ())] if item.right else []


