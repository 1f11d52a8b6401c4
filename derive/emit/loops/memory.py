"""Where the arrays of loops lie: blocks of memory, and the regions in which blocks follow one another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sympy import Expr, Integer

from derive.emit.loops.language import SAMPLES
from derive.expr import Shape
from derive.lattice import Border, Lattice
from derive.system import System

GIVEN = "given"
PARAMETERS, VALUES, MEMORY, GRADIENTS = "the parameters", "the values", "the memory", "the gradients"
"""Regions of memory, by names that no variable can have."""
"""What callers pass, array by array; all parameters; what a forward sweep leaves behind; room to work in; results."""


@dataclass(frozen=True)
class Block:
    """One array, or several that lie side by side: rows for the points of `axes`, of every sample, `parts` of these widths.

    `before`, `after`: how many rows there are beyond the lattice, axis by axis.  `rolling`: only two steps are kept, the even
    and the odd one.
    """

    name: str
    region: str
    parts: tuple[str, ...]
    widths: tuple[Expr, ...]
    axes: tuple[int, ...]
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    batched: bool = True
    rolling: bool = False

    @property
    def width(self) -> Expr:
        return sum(self.widths, Integer(0))

    @property
    def is_bordered(self) -> bool:
        return self.rolling or any(self.before) or any(self.after)

    def count(self, lattice: Lattice) -> Expr:
        """How many numbers it holds."""
        found = self.width
        for rows in self.rows(lattice):
            found = found * rows
        return (found * SAMPLES if self.batched else found).expand()

    def rows(self, lattice: Lattice) -> tuple[Expr, ...]:
        """How many rows there are, axis by axis."""
        if self.rolling:
            return (Integer(2),)
        sides = zip(self.axes, self.before, self.after, strict=True)
        return tuple(lattice.lengths[axis] + low + high for axis, low, high in sides)


@dataclass(frozen=True)
class Place:
    """An array in its block: its first entry, and the shape of what it holds for one point and sample."""

    block: Block
    start: Expr
    shape: tuple[Expr, ...]


def sizes_of(shape: Shape) -> tuple[Expr, ...]:
    return tuple(size for size in shape if size != 1)


def width_of(shape: Shape) -> Expr:
    return shape[0] * shape[1]


class Reach:
    """How far beyond the lattice every array is read or written, axis by axis."""

    def __init__(self, lattice: Lattice):
        self.lattice = lattice
        self.found: dict[str, tuple[list[int], list[int]]] = {}

    def see(self, name: str, steps: Iterable[Expr | int]) -> None:
        """An access at `t + 1`, at a number such as 0, or at `T + 1`."""
        d = self.lattice.dimension
        before, after = self.found.setdefault(name, ([0] * d, [0] * d))
        for axis, step in enumerate(steps):
            low, high = self._beyond(Integer(0) + step, axis)
            before[axis], after[axis] = max(before[axis], low), max(after[axis], high)

    def _beyond(self, step: Expr, axis: int) -> tuple[int, int]:
        index, length = self.lattice.indices[axis], self.lattice.lengths[axis]
        if step.has(index):
            offset = int(step - index)
            return max(0, -offset), max(0, offset)
        # The shortest lattice has one step.
        return (max(0, int(1 - step.subs(length, 1))), max(0, int(step.subs(length, 1) - 1)))

    def of(self, names: Iterable[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """How far arrays that lie side by side reach together."""
        d = self.lattice.dimension
        known = [self.found.get(name, ([0] * d, [0] * d)) for name in names]
        return (
            tuple(max(low[a] for low, _ in known) for a in range(d)),
            tuple(max(high[a] for _, high in known) for a in range(d)),
        )


def given(name: str) -> str:
    """What an array is called as it was given, without rows around the lattice."""
    return f"{name} given"


def border_block(system: System, border: Border, name: str, region: str) -> Block:
    """The memory of a boundary value, or of its gradient: rows for the points of the axes along which the border runs."""
    var = system.variables[border.variable].var
    axes = tuple(axis for axis, side in enumerate(border.sides) if not side.depth)
    none = (0,) * len(axes)
    batched = system.boundary[border.variable] != "learned"
    return Block(name, region, (name,), (width_of(var.shape),), axes, none, none, batched)


def border_steps(border: Border, lattice: Lattice) -> tuple[Expr, ...]:
    """Where a boundary value stands: `0`, or `T + 1`; the lattice's own index along the border."""
    sides = zip(border.sides, lattice.indices, lattice.lengths, strict=True)
    return tuple(Integer(0) + side.coordinate(i, n) for side, i, n in sides)
