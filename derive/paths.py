"""Paths through the dependency graph: listed, named, counted.

A derivative through the unrolled graph is the sum over the paths from `x` to `y` of the products of the table's entries along
them (Bauer 1974).  Paths are found backwards, from `y` to `x`, along the reads; they are listed where they are finitely many
whatever the length of the lattice is, or where the length is a number.  To count them no path is listed: the count obeys the
same linear recurrence as the adjoint, with ones for entries, and a power of its matrix gives it for any length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, prod

from derive import expr
from derive.errors import QueryError
from derive.expr import Node, Var
from derive.lattice import Lattice, Offset
from derive.partials import Entry, Table

EXACT_LENGTH = 2000
"""Up to this length of a chain the count of paths is an exact integer; beyond, a number of 30 digits."""

LONGEST = 1000
"""How many links a path may have that is listed."""
MOST_POINTS = 20_000
"""The largest lattice on which paths are counted point by point, where no power of a matrix does it."""


@dataclass(frozen=True)
class Point:
    """A variable at a point: relative to the lattice's index, or absolute; a parameter has no offset."""

    name: str
    offset: Offset | None


@dataclass(frozen=True)
class Walk:
    """A path, from the target back to the source: the entries that it crosses, each with the offset of its target."""

    target: Point
    source: Point
    steps: tuple[tuple[Entry, Offset], ...]

    def nodes(self, at: Placing) -> tuple[Var, ...]:
        """The variables along the path, source first."""
        first = at(self.steps[-1][0].source, self.source.offset) if self.steps else None
        return (first, *(at(e.target, o) for e, o in reversed(self.steps))) if first else ()

    def label(self, at: Placing) -> expr.Path:
        return expr.Path(*self.nodes(at))

    def jacobian(self, at: Placing) -> Node:
        """The product of the Jacobians, latest factor left."""
        return expr.mul(*(at.node(e.map.jacobian(), o) for e, o in self.steps))

    def partials(self, at: Placing) -> Node:
        """The same product, its factors named and not worked out."""
        factors = []
        for e, o in self.steps:
            source = tuple(a + b for a, b in zip(o, e.offset, strict=True)) if e.offset is not None else None
            factors.append(expr.Partial(at(e.target, o), at(e.source, source), immediate=True))
        return expr.Mul(*factors) if len(factors) > 1 else factors[0]

    def pull(self, d: Node, at: Placing) -> Node:
        """The pullback of `d` along the path."""
        for e, o in self.steps:
            d = _pull_at(e, o, d, at)
        return d


def _pull_at(entry: Entry, offset: Offset, d: Node, at: Placing) -> Node:
    return entry.map.each(lambda node: at.node(node, offset)).pull(d)


class Placing:
    """Puts expressions written at the lattice's index to an offset from it, or to an absolute point."""

    def __init__(self, lattice: Lattice, absolute: bool):
        self.lattice, self.absolute = lattice, absolute

    def index(self, offset: Offset) -> dict:
        if self.absolute:
            return dict(zip(self.lattice.indices, offset, strict=True))
        return self.lattice.shifted(offset)

    def node(self, node: Node, offset: Offset) -> Node:
        return expr.at(node, self.index(offset))

    def __call__(self, var: Var, offset: Offset | None) -> Var:
        return expr.at(var, self.index(offset)) if var.index and offset is not None else var


def placing(lattice: Lattice, absolute: bool = False) -> Placing:
    return Placing(lattice, absolute)


def walks(table: Table, target: Point, source: Point, limit: int, sizes: Sequence[int] | None = None) -> list[Walk]:
    """Every path from `source` to `target`.

    `sizes`: offsets are absolute and paths stay within `1..size` on each axis.  Raises `QueryError` where the paths are more
    than `limit` or longer than `LONGEST`, or where their number depends on a length that is left symbolic.
    """
    bounds = _Bounds(table, source.name)
    found: list[Walk] = []
    for steps in _search(table, target, source, bounds, sizes):
        found.append(Walk(target, source, steps))
        if len(found) > limit:
            raise QueryError(
                f"there are more than {limit} paths from {source.name} to {target.name}; "
                "count them with 'paths h[t] <- h[k]', hold some names constant, or unroll fewer steps"
            )
    return found


def _search(
    table: Table, target: Point, source: Point, bounds: _Bounds, sizes: Sequence[int] | None
) -> Iterator[tuple[tuple[Entry, Offset], ...]]:
    assert target.offset is not None
    if target == source:
        yield ()
        return
    pending: list[tuple[str, Offset, tuple[tuple[Entry, Offset], ...]]] = [(target.name, target.offset, ())]
    while pending:
        name, offset, steps = pending.pop()
        if len(steps) > LONGEST:
            raise QueryError(
                f"a path from {source.name} to {target.name} has more than {LONGEST} links, too many to be read; "
                "ask for points that are closer, or count the paths with 'paths h[t] <- h[k]'"
            )
        onward = []
        for entry in table.of_target(name):
            here = (*steps, (entry, offset))
            if entry.offset is None:
                if entry.source.name == source.name:
                    yield here
                continue
            after = tuple(a + b for a, b in zip(offset, entry.offset, strict=True))
            if entry.source.name == source.name and after == source.offset:
                yield here
            elif _can_go_on(entry.source.name, after, source, bounds, sizes, table):
                onward.append((entry.source.name, after, here))
        pending.extend(reversed(onward))


def _can_go_on(
    name: str, offset: Offset, source: Point, bounds: _Bounds, sizes: Sequence[int] | None, table: Table
) -> bool:
    if not bounds.reaches(name):
        return False
    if sizes is not None:
        return all(1 <= o <= n for o, n in zip(offset, sizes, strict=True))
    if source.offset is None:
        raise QueryError(f"the number of paths to {source.name} depends on the length; give a number with unroll")
    return bounds.possible(name, tuple(s - o for s, o in zip(source.offset, offset, strict=True)))


class _Bounds:
    """For every variable the least and the greatest offset, on each axis, of the paths from it back to `source`."""

    def __init__(self, table: Table, source: str):
        self.source = source
        edges = [(e.target.name, e.source.name, e.offset) for e in table]
        self._reach = reaching(edges, source)
        inside = [(t, s, o) for t, s, o in edges if t in self._reach and s in self._reach and o is not None]
        axes = range(table.system.lattice.dimension)
        self._high = [_longest(self._reach, [(t, s, o[a]) for t, s, o in inside], source) for a in axes]
        self._low = [_longest(self._reach, [(t, s, -o[a]) for t, s, o in inside], source) for a in axes]

    def reaches(self, name: str) -> bool:
        return name in self._reach

    def possible(self, name: str, remaining: Offset) -> bool:
        """Whether a path of this total offset may lead from `name` to the source.  Raises where nothing bounds the search."""
        for axis, r in enumerate(remaining):
            high, low = self._high[axis][name], self._low[axis][name]
            if high == inf and low == inf:
                raise QueryError(
                    f"the paths from {self.source} to {name} run both ways along the lattice, so that their number depends on "
                    "its length; give a number with unroll"
                )
            if not -low <= r <= high:
                return False
        return True


def reaching(edges: Sequence[tuple[str, str, Offset | None]], source: str) -> set[str]:
    reach, pending = {source}, [source]
    while pending:
        name = pending.pop()
        for target, read, _ in edges:
            if read == name and target not in reach:
                reach.add(target)
                pending.append(target)
    return reach


def _longest(names: set[str], edges: Sequence[tuple[str, str, int]], source: str) -> dict[str, float]:
    """The greatest total weight of a walk from each name to `source`; infinite where a cycle gains (Bellman and Ford)."""
    best = dict.fromkeys(names, -inf)
    best[source] = 0
    for sweep in range(2 * len(names) + 1):
        for target, read, weight in edges:
            if best[read] + weight > best[target]:
                best[target] = inf if sweep > len(names) else best[read] + weight
    return best


# --- counting ---------------------------------------------------------------------------------------------------------


def count(table: Table, target: Point, source: Point, sizes: Sequence[int]) -> int | str:
    """The number of paths from `source` (at every point, if it is a parameter) to `target`, at absolute points.

    An exact integer up to `EXACT_LENGTH` steps; beyond, for chains, a decimal number of 12 digits as text.
    """
    one_way = transfer(table, target, source.name)
    if table.system.lattice.dimension == 1 and one_way is not None:
        return _count_chain(table, one_way, target, source, sizes[0])
    return _count_lattice(table, target, source, sizes)


def _count_lattice(table: Table, target: Point, source: Point, sizes: Sequence[int]) -> int:
    """By the recurrence itself, from the target on, each value once.  Raises `QueryError` for a lattice that is too large."""
    if prod(sizes) > MOST_POINTS:
        raise QueryError(
            f"the paths to {source.name} run both ways, so that they are counted for at most {MOST_POINTS} points"
        )
    by_source: dict[str, list[Entry]] = {}
    for entry in table:
        by_source.setdefault(entry.source.name, []).append(entry)
    known: dict[tuple[str, Offset], int] = {}

    def children(name: str, point: Offset) -> list[tuple[str, Offset]]:
        back = []
        for e in by_source.get(name, ()):
            if e.offset is not None:
                after = tuple(p - o for p, o in zip(point, e.offset, strict=True))
                if all(1 <= a <= n for a, n in zip(after, sizes, strict=True)):
                    back.append((e.target.name, after))
        return back

    def value(name: str, point: Offset) -> int:
        pending = [(name, point)]
        while pending:
            at = pending[-1]
            if at in known:
                pending.pop()
                continue
            missing = [c for c in children(*at) if c not in known]
            if missing:
                pending.extend(missing)
                continue
            start = 1 if at == (target.name, target.offset) else 0
            known[at] = start + sum(known[c] for c in children(*at))
            pending.pop()
        return known[name, point]

    if source.offset is not None:
        return value(source.name, source.offset)
    points: list[Offset] = [()]
    for n in sizes:
        points = [(*p, i) for p in points for i in range(1, n + 1)]
    readers = [e.target.name for e in by_source.get(source.name, ())]
    return sum(value(name, p) for p in points for name in readers)


@dataclass(frozen=True)
class Transfer:
    """Counts one step further from the target: `c[s] = Σ_d steps[d] c[s - d]` for the variables `names`."""

    names: tuple[str, ...]
    inside: tuple[tuple[int, int], ...]
    across: tuple[tuple[int, int, int], ...]
    direction: int


@lru_cache(maxsize=64)
def transfer(table: Table, target: Point, source: str) -> Transfer | None:
    """The edges between source and target of a chain, where they run one way; None where they run both ways."""
    everything = [(e.target.name, e.source.name, e.offset) for e in table]
    between = _live_from(table, target.name) & reaching(everything, source)
    edges = [(t, s, o[0]) for t, s, o in everything if o and t in between and s in between]
    signs = {o > 0 for _, _, o in edges if o}
    if len(signs) > 1:
        return None
    readers = [e.target.name for e in table.of_source(source) if e.target.name in between]
    names = tuple(dict.fromkeys((target.name, *readers, *(n for t, s, _ in edges for n in (t, s)))))
    position = {n: i for i, n in enumerate(names)}
    inside = tuple((position[t], position[s]) for t, s, o in edges if o == 0)
    across = tuple((position[t], position[s], abs(o)) for t, s, o in edges if o)
    return Transfer(names, inside, across, 1 if True in signs else -1)


def _live_from(table: Table, root: str) -> set[str]:
    live, pending = {root}, [root]
    while pending:
        for entry in table.of_target(pending.pop()):
            if entry.source.name not in live:
                live.add(entry.source.name)
                pending.append(entry.source.name)
    return live


def _count_chain(table: Table, transfer: Transfer, target: Point, source: Point, length: int) -> int | str:
    assert target.offset is not None
    position = {n: i for i, n in enumerate(transfer.names)}
    if target.name not in position:
        return 0
    room = target.offset[0] - 1 if transfer.direction < 0 else length - target.offset[0]
    readers = [position[e.target.name] for e in table.of_source(source.name) if e.target.name in position]
    if source.offset is None:
        return _power_count(transfer, position[target.name], readers, room, total=True)
    distance = (target.offset[0] - source.offset[0]) * -transfer.direction
    if source.name not in position or not 0 <= distance <= room:
        return 0
    return _power_count(transfer, position[target.name], [position[source.name]], distance, total=False)


def _power_count(transfer: Transfer, start: int, ends: list[int], distance: int, total: bool) -> int | str:
    """Entries of the `distance`-th power of the companion matrix; `total` sums over all distances up to it."""
    exact = distance <= EXACT_LENGTH
    number = _number(exact)
    n, depth = len(transfer.names), max((d for _, _, d in transfer.across), default=1)
    inside = _closure(n, transfer.inside)
    size = n * depth + 1
    step = [[number(0)] * size for _ in range(size)]
    for target, source, d in transfer.across:
        for i in range(n):
            step[i][(d - 1) * n + target] += inside[i][source]
    for i in range(n * (depth - 1)):
        step[n + i][i] = number(1)
    first = [number(0)] * size
    for i in range(n):
        first[i] = number(inside[i][start])
    for end in ends:
        first[-1] += first[end]
        for j in range(size):
            step[-1][j] += step[end][j]
    step[-1][-1] += 1
    last = _apply_power(step, first, distance)
    found = last[-1] if total else sum(last[e] for e in ends)
    return int(found) if exact else _decimal(found)


def _number(exact: bool):  # type: ignore[no-untyped-def]
    if exact:
        return int
    import mpmath

    context = mpmath.mp.clone()
    context.dps = 40
    return context.mpf


def _decimal(value) -> int | str:  # type: ignore[no-untyped-def]
    """12 digits and a power of ten; small numbers as they are."""
    import mpmath

    if value < 10**12:
        return int(mpmath.nint(value))
    digits, _, exponent = mpmath.nstr(value, 12, min_fixed=0, max_fixed=0).partition("e")
    return f"{digits} × 10^{int(exponent)}"


def _closure(n: int, edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """`closure[i][j]`: the number of paths from `j` down to `i` along edges within one step (which have no cycle)."""
    closure = [[int(i == j) for j in range(n)] for i in range(n)]
    for _ in range(n):
        fresh = [[int(i == j) for j in range(n)] for i in range(n)]
        for target, source in edges:
            for j in range(n):
                fresh[source][j] += closure[target][j]
        if fresh == closure:
            break
        closure = fresh
    return closure


def _apply_power(step: list[list], vector: list, exponent: int) -> list:
    """`step**exponent @ vector` by repeated squaring."""
    while exponent:
        if exponent & 1:
            vector = [sum(a * b for a, b in zip(row, vector, strict=True) if a) for row in step]
        exponent >>= 1
        if exponent:
            columns = list(zip(*step, strict=True))
            step = [
                [sum(a * b for a, b in zip(row, column, strict=True) if a and b) for column in columns] for row in step
            ]
    return vector
