"""The dependency graph of a system as a picture shows it: which variables, which reads, which points, which paths.

A variable that is left out is passed through: `a <- hidden <- b` becomes the link `a <- b`, marked as going through others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product

from sympy import Expr, Integer

from derive import expr
from derive.errors import QueryError
from derive.lattice import Offset, strongly_connected
from derive.partials import Table, table
from derive.paths import Point, Walk, reaching, walks
from derive.queries import Query, Reference, Request, parse
from derive.readings import jacobians
from derive.system import LOSS, System

MOST_VARIABLES = 10
"""A cell with more is drawn by what it carries from point to point."""


@dataclass(frozen=True)
class Link:
    """`target` at a point reads `source` at that point moved by `offset`; `through`: by way of variables left out."""

    target: str
    source: str
    offset: Offset
    through: bool = False


def reads(system: System) -> list[Link]:
    """Every read of a variable at an index that has a derivative, without the cotangents of an abstract loss."""
    kinds = {name: v.kind for name, v in system.variables.items()}
    entries = table(system).entries
    return [Link(t, s, o) for t, s, o in entries if o is not None and kinds[s] != "cotangent"]


def carriers(links: Iterable[Link]) -> list[str]:
    """The variables that are read at another point than their reader's."""
    return list(dict.fromkeys(k.source for k in links if any(k.offset)))


def contracted(links: Sequence[Link], shown: Iterable[str]) -> list[Link]:
    """The links among `shown`, the others passed through; a variable that is left out and carries something ends its paths."""
    kept, ended = set(shown), {*carriers(links)} - set(shown)
    current = [k for k in links if k.source not in ended and k.target not in ended]
    for name in dict.fromkeys(n for k in links for n in (k.target, k.source) if n not in kept):
        into = [k for k in current if k.target == name]
        out = [k for k in current if k.source == name]
        current = [k for k in current if name not in (k.target, k.source)]
        current += [Link(b.target, a.source, _sum(a.offset, b.offset), True) for b in out for a in into]
    found: dict[tuple[str, str, Offset], Link] = {}
    for k in sorted(current, key=lambda k: k.through):
        found.setdefault((k.target, k.source, k.offset), k)
    return list(found.values())


def _sum(a: Offset, b: Offset) -> Offset:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def shown_variables(system: System, on_paths: Iterable[str]) -> tuple[str, ...]:
    """All variables of a small cell; of a large one, and on a grid, what it carries, what it yields and what is on a path.

    With paths, a large cell is drawn without the chains and layers that none of them touches.
    """
    links = reads(system)
    every = [n for n in system.variables if any(n in (k.target, k.source) for k in links)]
    grid, on = system.lattice.dimension > 1, set(on_paths)
    if len(every) <= MOST_VARIABLES and not grid:
        return tuple(every)
    near = {n for lane in lanes(every, links) for n in lane if not on or on & set(lane)}
    kept = on | (near & set(carriers(links)))
    if not grid:
        kept |= {*system.outputs, LOSS, *(v.name for v in system.inputs)}
    joined = {n for k in contracted(links, kept) for n in (k.target, k.source)} | on
    return tuple(n for n in every if n in kept & joined)


def lanes(names: Sequence[str], links: Sequence[Link]) -> list[list[str]]:
    """The variables in parts that depend on each other through the points (a chain, a layer), sources first."""
    return strongly_connected(list(names), [(k.target, k.source, k.offset) for k in links])


def backwards(system: System, state: str) -> bool:
    """Whether the chain of `state` runs from the last point to the first."""
    lane = next(lane for lane in lanes(list(system.equations), reads(system)) if state in lane)
    return any(o > 0 for k in reads(system) if k.source in lane and k.target in lane for o in k.offset)


# --- the paths that a query asks for ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Highlight:
    """The paths of a query, over points relative to `base`: 0, 0 for a query at numbers, else the index above."""

    base: tuple[Expr, ...]
    ends: tuple[expr.Var, expr.Var]
    """Source and target."""
    walks: tuple[Walk, ...] = ()
    more: bool = False
    """Whether the paths go on beyond the points that are shown, as those of a total loss do."""
    held: tuple[str, ...] = ()

    @property
    def edges(self) -> dict[tuple[Point, Point], list[int]]:
        """`(target, source)` with the numbers of the paths that cross the edge."""
        found: dict[tuple[Point, Point], list[int]] = {}
        for number, walk in enumerate(self.walks):
            for entry, offset in walk.steps:
                assert entry.offset is not None
                ends = Point(entry.target.name, offset), Point(entry.source.name, _sum(offset, entry.offset))
                found.setdefault(ends, []).append(number)
        return found

    @property
    def points(self) -> dict[Point, list[int]]:
        """Every point on a path, with the numbers of its paths."""
        found: dict[Point, list[int]] = {}
        for (target, source), numbers in self.edges.items():
            for end in (source, target):
                found[end] = sorted({*found.get(end, ()), *numbers})
        return found

    def label(self, walk: Walk) -> expr.Path:
        """The path with its points as they are written: `h[t-1] → z[t] → h[t]`."""
        named = [_at(v, o, self.base) for v, o in _passed(walk)]
        return expr.Path(*named)


def _passed(walk: Walk) -> list[tuple[expr.Var, Offset]]:
    """The variables along a path and their offsets, source first."""
    first = walk.steps[-1]
    assert walk.source.offset is not None
    return [(first[0].source, walk.source.offset), *((e.target, o) for e, o in reversed(walk.steps))]


def _at(var: expr.Var, offset: Offset, base: tuple[Expr, ...]) -> expr.Var:
    return var.at(tuple(b + o for b, o in zip(base, offset, strict=True)))


def named_at(system: System, point: Point, base: tuple[Expr, ...]) -> expr.Var:
    """The variable at a point, as it is written."""
    assert point.offset is not None
    return _at(system.variables[point.name].var, point.offset, base)


def highlight(system: System, text: str, unroll: int | None, held: tuple[str, ...]) -> Highlight:
    """The paths that `text` asks for.  Raises `QueryError` where it asks for none that a picture can show."""
    query = parse(text, system)
    if query.above is None or query.below is None:
        raise QueryError(
            f"a picture shows the paths of 'dh[t]/dh[t-1]', 'dL/dh[t]' or 'paths h[t] <- h[t-1]', not {text!r}"
        )
    if query.below.index is None:
        raise QueryError(
            f"{query.below} in {text!r} is a parameter, which every point reads: a picture shows paths between variables "
            f"at points, as in 'dL/dh[t]'"
        )
    local = table(system).without(held)
    if query.above.index is None:
        return _of_total(system, local, query.above, query.below, held)
    request = Request(system, query, held, unroll)
    y, x = request.var(query.above), request.var(query.below)
    _at_a_distance(query, y, x)
    found, _, move = jacobians.find_walks(request, local, y, x)
    base = tuple(move[i] for i in system.lattice.indices) if move else (Integer(0),) * system.lattice.dimension
    kept = sorted((w for w in found if w.steps and (query.kind != "immediate" or len(w.steps) == 1)), key=_length)
    return Highlight(base, (x, y), tuple(kept), False, held)


def _length(walk: Walk) -> int:
    return len(walk.steps)


def _at_a_distance(query: Query, y: expr.Var, x: expr.Var) -> None:
    if not all((b - a).is_Integer for a, b in zip(y.index, x.index, strict=True)):
        raise QueryError(
            f"a picture of {query.text!r} needs points at a known distance; write numbers, as in "
            f"'d{query.above.name}[3]/d{query.below.name}[1]'"  # type: ignore[union-attr]
        )


def _of_total(system: System, local: Table, above: Reference, below: Reference, held: tuple[str, ...]) -> Highlight:
    """The paths to the total loss, as far as the points that are shown reach."""
    if above.name != LOSS:
        raise QueryError(f"{above} has no index: write {above}[{system.lattice.point()}]")
    assert below.index is not None
    lattice = system.lattice
    source = Point(below.name, (0,) * lattice.dimension)
    found: list[Walk] = []
    for offset in _ahead(system, below.name):
        found += sorted(walks(local, Point(LOSS, offset), source, jacobians.MOST_PATHS), key=_length)
    ends = system.variables[below.name].var.at(below.index), system.variables[LOSS].var.at(())
    return Highlight(below.index, ends, tuple(found), True, held)


def _ahead(system: System, name: str) -> list[Offset]:
    """The points near by at which a loss reads what `name` has become: two steps of a small cell, one of a large or a grid."""
    links = reads(system)
    reached = reaching([(k.source, k.target, k.offset) for k in links], name)
    steps = [o for k in links if k.source in reached and k.target in reached for o in k.offset]
    far = 2 if system.lattice.dimension == 1 and len(system.equations) < MOST_VARIABLES - 2 else 1
    low, high = (-far if any(o > 0 for o in steps) else 0), (far if any(o < 0 for o in steps) else 0)
    if low and high:
        low, high = -1, 1
    return list(product(range(low, high + 1), repeat=system.lattice.dimension))


@dataclass(frozen=True)
class Window:
    """The points that are shown, `low..high` on each axis, relative to `base`; `closed`: all of an unrolled lattice."""

    base: tuple[Expr, ...]
    low: Offset
    high: Offset
    closed: tuple[int, ...] | None = field(default=None)

    @property
    def points(self) -> list[Offset]:
        return list(product(*(range(a, b + 1) for a, b in zip(self.low, self.high, strict=True))))

    def __contains__(self, offset: Offset) -> bool:
        return all(a <= o <= b for a, o, b in zip(self.low, offset, self.high, strict=True))
