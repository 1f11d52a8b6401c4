"""The unrolled dependency graph, with the paths of a query.

A column a step of a chain, inputs below and the loss above; on a grid a cell a point.  What lies beyond the points that are
shown is hinted at by `⋯`; a given boundary value has a node of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from sympy import Integer

from derive.errors import QueryError
from derive.lattice import Offset
from derive.notation import TEXT
from derive.paths import Point
from derive.pictures import beyond, dependencies, legend, partials, placement
from derive.pictures.dependencies import Highlight, Link, Window
from derive.pictures.edges import CLEAR, NODE, bend, shifted, sides, trimmed
from derive.pictures.model import XY, Box, Label, Picture, Shape, Stroke, framed
from derive.pictures.style import HUES
from derive.pictures.words import Words, formula, typed
from derive.printing import index_string
from derive.system import LOSS

if TYPE_CHECKING:
    from derive.pictures import Request

SIZE = 15.0
BELOW = 20.0
"""What the index of a step takes below its cell."""
NARROWEST = 330.0
NARROW = 140.0
"""Three steps of a cell are shown if each is no wider, else two."""
ROOMY = 1.5
"""How much further apart the layers stand where edges have labels."""
MOST_STEPS = {1: 8, 2: 4, 3: 2}
"""How many steps along each axis a picture unrolls, by the dimension of the lattice."""


def draw(asked: Request) -> Picture:
    """The graph of `asked.system`, the paths of `asked.query` highlighted.  Raises `QueryError` for what can't be shown."""
    return Graph(asked).picture()


@dataclass(frozen=True)
class Graph:
    """What is drawn, worked out piece by piece."""

    asked: Request

    @cached_property
    def highlight(self) -> Highlight | None:
        if not self.asked.query:
            return None
        return dependencies.highlight(self.asked.system, self.asked.query, self.asked.unroll, self.asked.hold)

    @cached_property
    def names(self) -> tuple[str, ...]:
        on_paths = {p.name for p in self.highlight.points} if self.highlight else set()
        return dependencies.shown_variables(self.asked.system, on_paths)

    @cached_property
    def links(self) -> list[Link]:
        return dependencies.contracted(dependencies.reads(self.asked.system), self.names)

    @cached_property
    def words(self) -> dict[str, Words]:
        """The names without their index, which the cell says."""
        return {n: formula(self.asked.system.variables[n].var.at(())) for n in self.names}

    @cached_property
    def widths(self) -> dict[str, float]:
        return {n: max(NODE, w.width(SIZE) + 12) for n, w in self.words.items()}  # type: ignore[attr-defined]

    @cached_property
    def grid(self) -> placement.Grid:
        dimension = self.asked.system.lattice.dimension
        if dimension > max(MOST_STEPS):
            raise QueryError(f"a picture has at most {max(MOST_STEPS)} axes; {self.asked.system.name} has {dimension}")
        room = ROOMY if self.asked.labels else 1.0
        cell = placement.cell(self.names, self.links, dimension == 1, self.widths, room * placement.ALONG)
        return placement.Grid(cell, dimension, room**2 * placement.GAP)

    @cached_property
    def window(self) -> Window:
        return _window(self)

    def title(self, offset: Offset) -> str:
        """The index of a cell as it is written."""
        index = [b + o for b, o in zip(self.window.base, offset, strict=True)]
        return index_string(index, TEXT).replace("-", "−")

    def named(self, point: Point) -> str:
        return legend.as_typed(dependencies.named_at(self.asked.system, point, self.window.base))

    # --- shapes ---

    def picture(self) -> Picture:
        shapes = [*self.bands(), *self.edges(), *beyond.shapes(self), *self.nodes(), *self.titles()]
        shapes += partials.labels(self) if self.asked.labels else []
        drawn = framed("", "", shapes, narrowest=max(NARROWEST, legend.width(self.highlight)))
        shapes = [*drawn.shapes, *legend.rows(self.highlight, drawn.width, drawn.height)]
        done = framed(self.caption(), legend.alternative(self), shapes)
        return replace(done, width=max(done.width, drawn.width))

    def caption(self) -> str:
        shown = f", with the paths of {self.asked.query}" if self.asked.query else ""
        return f"Dependency graph of {self.asked.system.title}{shown}"

    def bands(self) -> Iterator[Shape]:
        """A ground for each cell; in three dimensions they would cover each other."""
        width, height = self.footprint
        for offset in self.window.points if self.grid.dimension < 3 else []:
            x, y = self.grid.centre(offset)
            below = BELOW if self.grid.dimension == 1 else 0
            yield Box((x, y + below / 2), width, height + below, 10, "band")

    @property
    def footprint(self) -> XY:
        return self.grid.cell.width + 14, self.grid.cell.height + NODE + 14

    def titles(self) -> Iterator[Shape]:
        """The index of each cell: below it, or on a plane before its row and above its column."""
        width, height = self.footprint
        (left, *_), (top, *_) = self.window.low[::-1], self.window.low
        for offset in self.window.points:
            x, y = self.grid.centre(offset)
            parts = self.title(offset).split(",")
            if len(parts) == 1:
                yield _title((x, y + height / 2 + 13), parts[0])
            elif len(parts) > 2:
                title = _title((x + 10, y + height / 2 + 4), ",".join(parts), 11, "start")
                start, above, right, bottom = title.extent
                yield Box(((start + right) / 2, (above + bottom) / 2), right - start, bottom - above, 2, "ground")
                yield title
            else:
                if offset[1] == left:
                    yield _title((x - width / 2 - beyond.ROOM, y + 4), parts[0], anchor="end")
                if offset[0] == top:
                    yield _title((x, y - height / 2 - beyond.ROOM), parts[1])

    def nodes(self) -> Iterator[Shape]:
        for offset in self.window.points:
            for name in self.names:
                yield from self.node(Point(name, offset))

    def node(self, point: Point) -> Iterator[Shape]:
        x, y = self.grid.node(point.name, point.offset)  # type: ignore[arg-type]
        on = self.highlight.points if self.highlight else {}
        role = f"node {self.kind(point.name)}"
        if self.highlight:
            role += " end" if self.is_end(point) else " on-path" if point in on else " aside"
        lettering = "note aside" if "aside" in role else "name strong" if "end" in role else "name"
        yield Box((x, y), self.widths[point.name], NODE, NODE / 2, role, self.named(point))
        yield Label((x, y + 0.33 * SIZE), self.words[point.name], lettering, size=SIZE)  # type: ignore[arg-type]

    def kind(self, name: str) -> str:
        kinds = {"input": "input", "target": "input"}
        return "loss" if name == LOSS else kinds.get(self.asked.system.variables[name].kind, "state")

    def is_end(self, point: Point) -> bool:
        assert self.highlight is not None
        return any(point in (w.source, w.target) for w in self.highlight.walks)

    def edges(self) -> Iterator[Shape]:
        """Those of no path first, so that the paths lie above."""
        drawn = [
            (self.strokes(k, o), k, o) for o in self.window.points for k in self.links if _from(k, o) in self.window
        ]
        for above in (False, True):
            for strokes, _, _ in drawn:
                yield from (s for s in strokes if ("path-" in s.role or "on-path" in s.role) == above)

    def strokes(self, link: Link, offset: Offset) -> list[Stroke]:
        target, source = Point(link.target, offset), Point(link.source, _from(link, offset))
        numbers = self.highlight.edges.get((target, source), []) if self.highlight else []
        tip = f"{self.named(source)} → {self.named(target)}"
        start, end = self.grid.node(link.source, source.offset), self.grid.node(link.target, offset)  # type: ignore[arg-type]
        control = bend(start, end, self.centres)
        plain = "edge through" if link.through else "edge"
        if not numbers:
            role = f"{plain} aside" if self.highlight else plain
            return [self.stroke(start, end, control, target, source, role, tip)]
        if len(self.highlight.walks) > HUES:  # type: ignore[union-attr]
            return [self.stroke(start, end, control, target, source, "edge path-1 on-path", tip)]
        return [
            self.stroke(*shifted(start, end, control, side), target, source, f"edge path-{number + 1}", tip)
            for number, side in zip(numbers, sides(len(numbers)), strict=True)
        ]

    def stroke(
        self, start: XY, end: XY, control: XY | None, target: Point, source: Point, role: str, tip: str
    ) -> Stroke:
        first = trimmed(start, control or end, self.widths[source.name])
        last = trimmed(end, control or start, self.widths[target.name], CLEAR)
        return Stroke((first, last), role, True, control, tip)

    @cached_property
    def standing(self) -> list[tuple[XY, str]]:
        """Where each node stands, and its name."""
        return [(self.grid.node(n, o), n) for o in self.window.points for n in self.names]

    @cached_property
    def centres(self) -> list[XY]:
        return [at for at, _ in self.standing]


def _title(at: XY, index: str, size: float = 13, anchor: str = "middle") -> Label:
    return Label(at, typed(index, index.replace("−", "-")), "note", anchor, size)


def _from(link: Link, offset: Offset) -> Offset:
    return tuple(a + b for a, b in zip(offset, link.offset, strict=True))


def _one_beyond(window: Window, offset: Offset) -> Offset:
    return tuple(min(max(o, a - 1), b + 1) for o, a, b in zip(offset, window.low, window.high, strict=True))


def _window(graph: Graph) -> Window:
    """The points of the query's paths; of an unrolled lattice all; else a point and its neighbours."""
    system, found, unroll = graph.asked.system, graph.highlight, graph.asked.unroll
    dimension = system.lattice.dimension
    if found and found.points:
        offsets = [p.offset for p in found.points if p.offset is not None]
        low, high = (tuple(f(o[a] for o in offsets) for a in range(dimension)) for f in (min, max))
        closed = None
        if unroll and all(b == 0 for b in found.base) and unroll <= MOST_STEPS[dimension]:
            low, high, closed = (1,) * dimension, (unroll,) * dimension, (unroll,) * dimension
        return _limited(Window(found.base, low, high, closed), system.name)
    if unroll:
        window = Window((Integer(0),) * dimension, (1,) * dimension, (unroll,) * dimension, (unroll,) * dimension)
        return _limited(window, system.name)
    base = found.base if found else system.lattice.indices
    offsets = [k.offset for k in graph.links]
    if dimension > 1:
        return Window(base, (-1,) * dimension, (0,) * dimension)
    back, ahead = max([0, *(-o[0] for o in offsets)]), max([0, *(o[0] for o in offsets)])
    narrow = graph.grid.axes[0][0] <= NARROW
    return Window(base, (-max(back, 1),), (max(ahead, 1 if narrow else 0),))


def _limited(window: Window, name: str) -> Window:
    most = MOST_STEPS[len(window.low)]
    steps = max(b - a + 1 for a, b in zip(window.low, window.high, strict=True))
    if steps > most:
        raise QueryError(
            f"a picture of {steps} steps of {name} is too wide to be read; it shows at most {most}: ask for fewer with "
            "--unroll, or for points that are closer"
        )
    return window
