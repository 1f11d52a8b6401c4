"""Waves through a grid: when each of its points can be computed, so that many are computed together.

A point `p` of an array `u` is computed at the time `slopes * p + delays[u]`, where the slopes are small whole numbers, so that
what it reads was computed earlier: on a grid whose states read their upper and their left neighbour, the waves are the
anti-diagonals, `i + j` (Lamport 1974, The parallel execution of DO loops).  A chain in which some states run ahead of others
is the same thing without neighbours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from derive.errors import DeriveError
from derive.expr import Node, variables
from derive.lattice import Edge, Offset, strongly_connected
from derive.schedule.program import Assign, Item, Product, Program, Sweep, statements
from derive.schedule.storage import read_by
from derive.schedule.terms import asks_where, can_be_infinite, is_backward, terms_of
from derive.system import System

STEEPEST = 4


@dataclass(frozen=True)
class Front:
    """When the points are computed: `slopes` for every axis, `delays` for every name, and the statements in order."""

    slopes: tuple[int, ...]
    delays: Mapping[str, int]
    order: tuple[Assign | Product, ...]

    @property
    def axis(self) -> int:
        """The axis that time stands for: where all others are known, a time is one step of it."""
        return max(a for a, slope in enumerate(self.slopes) if abs(slope) == 1)


def front(sweep: Sweep, system: System, outer: Collection[int] = ()) -> Front:
    """The least steep waves in whose order all is computed before it is read.

    `outer`: the axes of loops around the sweep, in step with it, which have computed whatever is read across them.
    """
    found = [*statements((sweep,))]
    name = {t.name: s.targets[0].name for s in found for t in s.targets}
    edges = [(s.targets[0].name, name[v.name], system.offset(v)) for s in found for v in read_by(s) if v.name in name]
    edges = [(target, source, offset) for target, source, offset in edges if not any(offset[a] for a in outer)]
    directions = _directions(sweep, system.lattice.dimension)
    for slopes in _slopes(directions):
        delays = _delays(list(dict.fromkeys(name.values())), edges, slopes)
        if delays is None:
            continue
        late = [(t, s, o) for t, s, o in edges if time_of(slopes, o) + delays[s] == delays[t]]
        parts = strongly_connected(list(delays), late)
        if all(len(part) == 1 for part in parts) and all(t != s for t, s, _ in late):
            return Front(slopes, {t: delays[n] for t, n in name.items()}, _ordered(found, late))
    raise DeriveError(f"{system.name}: no order of waves was found for {', '.join(name)}; compile it with NumPy")


@dataclass(frozen=True)
class Plane:
    """Loops over two axes of a grid whose points can be computed in waves, inside of loops over the axes `outer`.

    A wave of a plane is a line: it has `slope` * row + column the same, where the steps of `axes[0]` are the rows, those of
    `axes[1]` the columns, `flipped` where they are counted from the last, and the waves run `downwards` or not.
    """

    front: Front
    outer: tuple[int, ...]
    axes: tuple[int, int]

    @property
    def slope(self) -> int:
        return abs(self.front.slopes[self.axes[0]])

    @property
    def flipped(self) -> bool:
        return self.front.slopes[self.axes[0]] * self.front.slopes[self.axes[1]] < 0

    @property
    def downwards(self) -> bool:
        return self.front.slopes[self.axes[0]] < 0


def planes(program: Program) -> dict[Loops, Plane]:
    """The sweeps of a program that are planes, by what `loops` says of them."""
    found: dict[Loops, Plane] = {}
    pending: list[tuple[Item, tuple[int, ...]]] = [(item, ()) for item in (*program.forward, *program.backward)]
    for item, outer in pending:
        if isinstance(item, Sweep):
            plane = _plane(item, program, outer)
            if plane is not None:
                found[loops(item)] = plane
            elif not any(item.shifts.values()):
                pending += [(one, (*outer, item.axis)) for one in item.body]
    return found


Loops: TypeAlias = "tuple[int, tuple[str, ...]]"


def loops(sweep: Sweep) -> Loops:
    """What a sweep is known by: its axis, and what it computes."""
    return sweep.axis, sweep.names


def _plane(sweep: Sweep, program: Program, outer: tuple[int, ...]) -> Plane | None:
    system = program.system
    axes = [axis for axis in range(system.lattice.dimension) if axis not in outer]
    inner = [item for item in sweep.body if isinstance(item, Sweep)]
    deeper = any(isinstance(item, Sweep) for one in inner for item in one.body)
    if len(axes) != 2 or not inner or deeper:
        return None
    values = [s.value for s in statements((sweep,)) if isinstance(s, Assign)]
    across = (reach(term, program) for value in values for term in terms_of(value))
    if any(map(asks_where, values)) or any(offset[a] for offset in across if offset for a in outer):
        return None
    if not has_front(sweep, system, outer):
        return None
    first, second = axes
    found = front(sweep, system, outer)
    return Plane(found, outer, (first, second) if abs(found.slopes[second]) == 1 else (second, first))


def is_placed(statement: Assign | Product, program: Program) -> bool:
    """Whether a statement has to know where it stands: it asks for its step, or would divide by zero beyond the border."""
    if isinstance(statement, Product):
        return False
    return asks_where(statement.value) or any(reach(t, program) for t in terms_of(statement.value))


def reach(term: Node, program: Program) -> Offset:
    """The offset at which a term reads adjoints, or what is computed with them, and may be infinite where that is beyond
    the lattice; none where it can't be."""
    read = [v for v in variables(term) if v.index and (is_backward(v) or v.name in program.inside)]
    offset = next((o for v in read if any(o := program.system.offset(v))), ())
    return offset if offset and can_be_infinite(term) else ()


def has_front(sweep: Sweep, system: System, outer: Collection[int] = ()) -> bool:
    try:
        front(sweep, system, outer)
    except DeriveError:
        return False
    return True


def _ordered(found: Sequence[Assign | Product], late: Sequence[Edge]) -> tuple[Assign | Product, ...]:
    """The statements as they stand, as far as what is read at the same time comes first."""
    left, order = list(found), []
    while left:
        names = {s.targets[0].name for s in left}
        waiting = {target for target, source, _ in late if source in names}
        following = next(s for s in left if s.targets[0].name not in waiting)
        left.remove(following)
        order.append(following)
    return tuple(order)


def _directions(sweep: Sweep, dimension: int) -> list[int]:
    """Of every axis, which way it is swept; 0 where it is not."""
    found = [0] * dimension
    pending: list[Sweep] = [sweep]
    while pending:
        one = pending.pop()
        found[one.axis] = found[one.axis] or one.direction
        pending += [item for item in one.body if isinstance(item, Sweep)]
    return found


def _slopes(directions: Sequence[int]) -> Iterator[tuple[int, ...]]:
    ranges = [range(1, STEEPEST + 1) if d else range(1) for d in directions]
    for slopes in sorted(product(*ranges), key=sum):
        if 1 in slopes:
            yield tuple(s * d for s, d in zip(slopes, directions, strict=True))


def time_of(slopes: Sequence[int], offset: Sequence[int]) -> int:
    return sum(s * o for s, o in zip(slopes, offset, strict=True))


def _delays(
    names: Sequence[str], edges: Sequence[tuple[str, str, tuple[int, ...]]], slopes: Sequence[int]
) -> dict[str, int] | None:
    """The least delays with which no source is later than its target; None where there are none."""
    delays = dict.fromkeys(names, 0)
    for _ in range(len(names) + 1):
        late = [(t, delays[s] + time_of(slopes, o)) for t, s, o in edges if delays[s] + time_of(slopes, o) > delays[t]]
        if not late:
            return delays
        for target, time in late:
            delays[target] = max(delays[target], time)
    return None
