"""The equations of a system as few nested loops as their reads allow, for a reader.

`System.schedule` loops over recurrences only and leaves the rest to run for all steps at once, which is fast.  On paper one loop
computes all of a step.  An equation may join a nest of loops if whatever it reads there was computed before: along the axes
of the nest, each in its direction, the first offset that is not zero looks back, or all are zero and the source stands above.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from derive.expr import Var, variables
from derive.lattice import Loop
from derive.system import System


@dataclass(frozen=True)
class Nest:
    """Loops around `names`: the axes from the outermost in, the directions that are settled; `()` for free axes."""

    names: tuple[str, ...]
    axes: tuple[int, ...] = ()
    directions: tuple[tuple[int, int], ...] = ()

    def joined(self, other: Nest) -> Nest | None:
        """This nest with the names of `other` below; None where axes or directions differ."""
        if self.axes and other.axes and self.axes != other.axes:
            return None
        directions = dict(self.directions)
        if any(directions.get(axis, direction) != direction for axis, direction in other.directions):
            return None
        directions.update(other.directions)
        return Nest((*self.names, *other.names), self.axes or other.axes, tuple(directions.items()))


def sweeps(system: System, wanted: Sequence[str], direction: int) -> tuple[Loop, ...]:
    """The wanted equations in loops over all axes, in an order of evaluation; `direction`: of loops that may go either way."""
    return _Fusion(system, frozenset(wanted), direction).loops()


class _Fusion:
    def __init__(self, system: System, wanted: frozenset[str], direction: int):
        self.system, self.wanted, self.direction = system, wanted, direction
        self.axes = tuple(range(system.lattice.dimension))
        self.reads = [edge for edge in system.reads if edge[0] in wanted and edge[1] in wanted]
        totals = {name for name in wanted if not system.equations[name].target.index}
        self.of_totals = [(t, v.name) for t in wanted for v in _unindexed(system, t) if v.name in totals]

    def loops(self) -> tuple[Loop, ...]:
        found: list[Nest | Loop] = []
        for item in self.system.schedule:
            nest = Nest((item,)) if isinstance(item, str) else self._nest(item)
            if set(nest.names) <= self.wanted:
                self._place(nest, found)
        return tuple(item if isinstance(item, Loop) else self._loop(item) for item in found)

    def _place(self, item: Nest | Loop, found: list[Nest | Loop]) -> None:
        """Into the first nest that comes no earlier than what it needs, where it may join; else behind all."""
        needed = {source for target, source, _ in self.reads if target in item.names}
        needed |= {source for target, source in self.of_totals if target in item.names}
        start = max((k for k, other in enumerate(found) if needed & set(other.names)), default=0)
        for k in range(start, len(found)):
            other = found[k]
            if isinstance(other, Nest) and isinstance(item, Nest):
                together = other.joined(item)
                if together is not None and self._is_legal(together):
                    found[k] = together
                    return
        found.append(item)

    def _is_legal(self, nest: Nest) -> bool:
        place = {name: k for k, name in enumerate(nest.names)}
        if any(target in place and source in place for target, source in self.of_totals):
            return False
        directions = dict(nest.directions)
        for target, source, offset in self.reads:
            if target in place and source in place:
                back = [directions.get(a, self.direction) * offset[a] for a in nest.axes or self.axes]
                first = next((b for b in back if b), 0)
                if first > 0 or (first == 0 and place[source] >= place[target]):
                    return False
        return True

    def _nest(self, loop: Loop) -> Nest | Loop:
        """A sweep as one nest, where it has no shifts and may run as one."""
        axes: list[int] = []
        directions: dict[int, int] = {}

        def visit(item: Loop | str, depth: int) -> bool:
            if isinstance(item, str) or (depth and self._is_free(item)):
                return True
            if item.shifts:
                return False
            if depth == len(axes):
                axes.append(item.axis)
            same = axes[depth] == item.axis and directions.setdefault(item.axis, item.direction) == item.direction
            return same and all(visit(part, depth + 1) for part in item.body)

        if not visit(loop, 0):
            return loop
        rest = [a for a in self.axes if a not in axes]
        nest = Nest(loop.names, (*axes, *rest), tuple(directions.items()))
        return nest if self._is_legal(nest) else loop

    def _is_free(self, loop: Loop) -> bool:
        """Whether a loop holds one equation only, which does not read itself inside."""
        names = loop.names
        return len(names) == 1 and not any(t == s == names[0] and not o[0] for t, s, o in self.reads)

    def _loop(self, nest: Nest) -> Loop:
        body: tuple[Loop | str, ...] = nest.names
        directions = dict(nest.directions)
        for axis in reversed(nest.axes or self.axes):
            body = (Loop(axis, directions.get(axis, self.direction), body),)
        (loop,) = body
        assert isinstance(loop, Loop)
        return loop


def _unindexed(system: System, name: str) -> Iterator[Var]:
    return (v for v in variables(system.equations[name].rhs) if not v.index)
