"""Where everything lies in memory, once the routines of a kernel are complete.

What a forward sweep leaves behind is in the region `values`; the rest of a routine is in `memory`, where nothing is kept between
calls.  Arrays that a `Program` puts side by side are one block.  An array of the backward sweep takes the place of one that is
read for the last time where it is computed, entry by entry: the adjoints of the gates that of the gates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sympy import Expr, Integer

from derive import expr
from derive.emit.loops.language import Clear, Fused, Item, Pile, Read
from derive.emit.loops.losses import VALUE
from derive.emit.loops.memory import (
    GIVEN,
    GRADIENTS,
    MEMORY,
    VALUES,
    Block,
    Place,
    border_block,
    given,
    sizes_of,
    width_of,
)
from derive.emit.loops.walks import accesses, everything, loops, written
from derive.expr import Shape
from derive.schedule.program import CARRIED, SCRATCH, STORED, OuterTotal, Stack, statements
from derive.schedule.storage import read_by

if TYPE_CHECKING:
    from derive.emit.loops.kernel import Maker

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
            if all(
                t and kept.get(t) == STORED and kept.get(n) == STORED
                for n, t in zip(side_by_side, targets, strict=True)
            ):
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

    def _is_used_up(self, values: tuple[str, ...], names: tuple[str, ...], loop: Fused, later: Sequence[Item]) -> bool:
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
