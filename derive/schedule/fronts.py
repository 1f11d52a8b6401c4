"""Waves through a grid: when each of its points can be computed, so that many are computed together.

A point `p` of an array `u` is computed at the time `slopes * p + delays[u]`, where the slopes are small whole numbers, so that
what it reads was computed earlier: on a grid whose states read their upper and their left neighbour, the waves are the
anti-diagonals, `i + j` (Lamport 1974, The parallel execution of DO loops).  A chain in which some states run ahead of others
is the same thing without neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from derive.errors import DeriveError
from derive.lattice import strongly_connected
from derive.schedule.program import Assign, Product, Sweep, statements
from derive.schedule.storage import read_by
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


def front(sweep: Sweep, system: System) -> Front:
    """The least steep waves in whose order all is computed before it is read."""
    found = [*statements((sweep,))]
    name = {t.name: s.targets[0].name for s in found for t in s.targets}
    edges = [(s.targets[0].name, name[v.name], system.offset(v)) for s in found for v in read_by(s) if v.name in name]
    directions = _directions(sweep, system.lattice.dimension)
    for slopes in _slopes(directions):
        delays = _delays(list(dict.fromkeys(name.values())), edges, slopes)
        if delays is None:
            continue
        late = [(t, s, o) for t, s, o in edges if time_of(slopes, o) + delays[s] == delays[t]]
        parts = strongly_connected(list(delays), late)
        if all(len(part) == 1 for part in parts) and all(t != s for t, s, _ in late):
            by_name = {s.targets[0].name: s for s in found}
            order = tuple(by_name[n] for part in parts for n in part)
            return Front(slopes, {t: delays[n] for t, n in name.items()}, order)
    raise DeriveError(f"{system.name}: no order of waves was found for {', '.join(name)}; compile it with NumPy")


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
