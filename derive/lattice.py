"""The index lattice: where a system lives, what lies outside it, and in which order its points can be computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import TypeAlias

from sympy import Expr, Symbol

from derive.errors import DeriveError

Offset: TypeAlias = "tuple[int, ...]"
Edge: TypeAlias = "tuple[str, str, Offset]"
"""`(target, source, offset)`: `target[p]` reads `source[p + offset]`."""


class CycleError(DeriveError):
    """No order of evaluation exists; `cycle` are the names around one cycle that no sweep of the lattice breaks.

    `edges` are the reads among them, all at one point where such a cycle exists.
    """

    def __init__(self, cycle: tuple[str, ...], edges: tuple[Edge, ...]):
        super().__init__(" <- ".join(cycle))
        self.cycle, self.edges = cycle, edges


@lru_cache(maxsize=4096)
def difference(index: tuple[Expr, ...], own: tuple[Expr, ...]) -> Offset:
    """`index - own`, which is constant."""
    return tuple(int(i - o) for i, o in zip(index, own, strict=True))


@dataclass(frozen=True)
class Lattice:
    """The points `(i, j, …)` with `1 <= i <= I`, `1 <= j <= J`, …"""

    indices: tuple[Symbol, ...]
    lengths: tuple[Expr, ...]

    @classmethod
    def named(cls, names: Iterable[str]) -> Lattice:
        """Each index with its upper-case letter as its length: `t = 1..T`."""
        names = tuple(names)
        return cls(
            tuple(Symbol(n, integer=True) for n in names),
            tuple(Symbol(n.upper(), integer=True, positive=True) for n in names),
        )

    @property
    def dimension(self) -> int:
        return len(self.indices)

    @property
    def ranges(self) -> tuple[tuple[Symbol, int, Expr], ...]:
        return tuple((i, 1, n) for i, n in zip(self.indices, self.lengths, strict=True))

    def point(self, offset: Sequence[int] = ()) -> str:
        """The canonical point, moved by `offset`, as it is typed: `i-1,j`."""
        moves = [*offset, *(0 for _ in self.indices[len(offset) :])]
        return ",".join(f"{i}{o:+d}" if o else str(i) for i, o in zip(self.indices, moves, strict=True))

    def shifted(self, offset: Sequence[int]) -> dict[Symbol, Expr]:
        """The substitution that moves an expression by `offset`."""
        return {i: i + o for i, o in zip(self.indices, offset, strict=True) if o}


_GRID = "ijkprstz"
"""Letters whose upper case, the lengths, no cell uses for a matrix or for the loss."""


def index_names(dimensions: int) -> tuple[str, ...]:
    """`("t",)` for a chain, `("i", "j", …)` for a grid."""
    return tuple(_GRID[:dimensions]) if dimensions > 1 else ("t",)


def neighbours_before(dimensions: int) -> tuple[str, ...]:
    """The point before along each axis, as it is typed: `("i-1,j", "i,j-1")`."""
    names = index_names(dimensions)
    return tuple(",".join(f"{name}-1" if name == axis else name for name in names) for axis in names)


@dataclass(frozen=True)
class Side:
    """One axis of a border: inside the lattice, or the `depth`-th layer beyond an end (`low`: before 1)."""

    depth: int = 0
    low: bool = True

    def coordinate(self, index: Expr, length: Expr) -> Expr | int:
        if not self.depth:
            return index
        return 1 - self.depth if self.low else length + self.depth


@dataclass(frozen=True)
class Border:
    """A region outside the lattice that is read: `h[0]`, `h[-1]`, `h[T+1]`, `h[0,j]`."""

    variable: str
    key: str
    sides: tuple[Side, ...]


def borders(variable: str, offsets: Iterable[Offset], lattice: Lattice) -> Iterator[Border]:
    """Every region beyond the lattice that reads of `variable` at these offsets reach, nearest first."""
    found: dict[tuple[Side, ...], None] = {}
    for offset in offsets:
        axes = [[Side()] + [Side(d, o < 0) for d in range(1, abs(o) + 1)] for o in offset]
        found.update(dict.fromkeys(sides for sides in product(*axes) if any(s.depth for s in sides)))
    for sides in sorted(found, key=lambda s: [(side.depth, not side.low) for side in s]):
        where = ",".join(
            str(s.coordinate(i, n)).replace(" ", "")
            for s, i, n in zip(sides, lattice.indices, lattice.lengths, strict=True)
        )
        yield Border(variable, f"{variable}[{where}]", sides)


@dataclass(frozen=True)
class Loop:
    """A sweep along `axis`, upwards (`direction` +1) or downwards.

    At step `s` a variable with shift `p` is at `s - direction * p`.
    """

    axis: int
    direction: int
    body: tuple[Loop | str, ...]
    shifts: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The variables inside, in order."""
        return tuple(name for item in self.body for name in ((item,) if isinstance(item, str) else item.names))


def order(
    names: Sequence[str], edges: Sequence[Edge], dimension: int, pointwise: bool = True
) -> tuple[Loop | str, ...]:
    """Nested sweeps in which every value is computed before it is read.

    A plain name stands for a variable that is computed at all points at once; `pointwise`: not inside a sweep, where every
    axis is swept.  Raises `CycleError` where there is no order.
    Karp, Miller and Winograd 1967: an axis along which a strongly connected part only looks back can be swept; what is
    left of its edges is ordered by the axes inside.
    """
    return _order(names, edges, tuple(range(dimension)), False, pointwise)


def _order(
    names: Sequence[str], edges: Sequence[Edge], axes: tuple[int, ...], looped: bool, pointwise: bool
) -> tuple[Loop | str, ...]:
    items: list[Loop | str] = []
    plain: list[str] = []
    for part in strongly_connected(names, edges):
        inside = [e for e in edges if e[0] in part and e[1] in part]
        if inside:
            items.append(_sweep(part, inside, axes, pointwise))
        else:
            items.extend(part)
            plain.extend(part)
    if looped and axes and plain and pointwise:
        return _wrapped(names, items, axes)
    return tuple(items)


def _wrapped(names: Sequence[str], items: list[Loop | str], axes: tuple[int, ...]) -> tuple[Loop | str, ...]:
    """Inside a sweep every axis is swept: plain names get upward loops over the axes that are left."""
    wrapped: list[Loop | str] = []
    for item in items:
        loop: Loop | str = item
        if isinstance(item, str):
            for axis in reversed(axes):
                loop = Loop(axis, 1, (loop,))
        wrapped.append(loop)
    return tuple(wrapped)


def _sweep(part: Sequence[str], edges: Sequence[Edge], axes: tuple[int, ...], pointwise: bool) -> Loop:
    for axis in axes:
        for direction in (1, -1):
            shifts = _shifts(part, [(t, s, direction * o[axis]) for t, s, o in edges])
            if shifts is None:
                continue
            left = [e for e in edges if direction * e[2][axis] + shifts[e[1]] - shifts[e[0]] == 0]
            if len(left) == len(edges):
                continue
            rest = tuple(a for a in axes if a != axis)
            body = _order(part, left, rest, True, pointwise)
            return Loop(axis, direction, body, {n: p for n, p in shifts.items() if p})
    # A cycle at one point is preferred, since it is the mistake.
    for candidates in ([e for e in edges if not any(e[2])], edges):
        cycle = _cycle(part, candidates)
        if cycle:
            raise CycleError(cycle, tuple(e for e in candidates if {e[0], e[1]} <= {*cycle}))
    raise AssertionError(f"{part} is no cycle")


def _shifts(part: Sequence[str], edges: Sequence[tuple[str, str, int]]) -> dict[str, int] | None:
    """`p` with `w + p[source] - p[target] <= 0` for every edge (Bellman and Ford); None where a cycle gains."""
    shifts = dict.fromkeys(part, 0)
    for _ in range(len(part) + 1):
        changed = False
        for target, source, weight in edges:
            if shifts[source] + weight > shifts[target]:
                shifts[target] = shifts[source] + weight
                changed = True
        if not changed:
            return shifts
    return None


def _cycle(part: Sequence[str], edges: Sequence[Edge]) -> tuple[str, ...]:
    """The names around one cycle, the first again at the end; empty where there is none."""
    successors: dict[str, list[str]] = {}
    for target, source, _ in edges:
        successors.setdefault(target, []).append(source)
    for start in part:
        seen, path = {start}, [start]
        stack = [iter(successors.get(start, ()))]
        while stack:
            following = next(stack[-1], None)
            if following is None:
                stack.pop()
                path.pop()
            elif following == start:
                return (*path, start)
            elif following not in seen:
                seen.add(following)
                path.append(following)
                stack.append(iter(successors.get(following, ())))
    return ()


def strongly_connected(names: Sequence[str], edges: Sequence[Edge]) -> list[list[str]]:
    """Tarjan's strongly connected parts, sources first; within a part, the order of `names`."""
    reads: dict[str, list[str]] = {name: [] for name in names}
    for target, source, _ in edges:
        if target in reads and source in reads:
            reads[target].append(source)
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    parts: list[list[str]] = []
    for root in names:
        if root in number:
            continue
        work = [(root, iter(reads[root]))]
        number[root] = low[root] = len(number)
        stack.append(root)
        while work:
            name, rest = work[-1]
            following = next((s for s in rest if s not in number or s in stack), None)
            if following is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == number[name]:
                    cut = stack.index(name)
                    parts.append(sorted(stack[cut:], key=list(names).index))
                    del stack[cut:]
            elif following in number:
                low[name] = min(low[name], number[following])
            else:
                number[following] = low[following] = len(number)
                stack.append(following)
                work.append((following, iter(reads[following])))
    return parts
