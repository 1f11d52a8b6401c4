"""What lies beyond the points of a graph: a hint `⋯` where the lattice goes on, a node for a given boundary value."""

from __future__ import annotations

from collections.abc import Iterator
from math import hypot
from typing import TYPE_CHECKING

from derive.lattice import Offset
from derive.paths import Point
from derive.pictures import dependencies
from derive.pictures.dependencies import Link, Window
from derive.pictures.edges import CLEAR, NODE, bend, trimmed
from derive.pictures.model import XY, Box, Label, Shape, Stroke
from derive.pictures.words import Words, formula, said

if TYPE_CHECKING:
    from derive.pictures.graph import Graph

SIZE = 12.0
HINT = 20.0
ROOM = 42.0
"""What a hint takes beside a cell."""


def shapes(graph: Graph) -> Iterator[Shape]:
    """The edges across the border of the window, and what they lead to; in three dimensions there is no room for them."""
    if graph.grid.dimension > 2:
        return
    crossing = [
        (here, there, comes)
        for offset in graph.window.points
        for link in graph.links
        for here, there, comes in _crossing(graph.window, link, offset)
        if not graph.window.closed or (comes and has_value(graph, there))
    ]
    places = {there: _place(graph, there) for _, there, _ in crossing}
    standing = [*graph.centres, *places.values()]
    yield from dict.fromkeys(_stroke(graph, *across, standing) for across in crossing)
    for point, place in places.items():
        yield from _hint(graph, point, place)


def has_value(graph: Graph, point: Point) -> bool:
    """Whether what stands at a point outside the lattice is given or learned, and not zero."""
    return graph.asked.system.boundary.get(point.name, "zero") != "zero"


def _crossing(window: Window, link: Link, offset: Offset) -> Iterator[tuple[Point, Point, bool]]:
    """`(here, beyond, whether it comes from there)` for the reads of a link across the border of the window."""
    source = tuple(a + b for a, b in zip(offset, link.offset, strict=True))
    if source not in window:
        yield Point(link.target, offset), Point(link.source, source), True
    target = tuple(a - b for a, b in zip(offset, link.offset, strict=True))
    if target not in window:
        # One hint stands for all that read a variable later on.
        near = tuple(min(max(o, a - 1), b + 1) for o, a, b in zip(target, window.low, window.high, strict=True))
        yield Point(link.source, offset), Point(link.source, near), False


def _stroke(graph: Graph, here: Point, there: Point, comes: bool, standing: list[XY]) -> Stroke:
    assert here.offset is not None
    inner, outer = graph.grid.node(here.name, here.offset), _place(graph, there)
    width = _width(graph, there)
    role = "edge aside" if graph.highlight else "edge"
    control = bend(outer, inner, standing)
    near = trimmed(inner, control or outer, graph.widths[here.name], CLEAR if comes else 0)
    far = trimmed(outer, control or inner, width)
    return Stroke((far, near) if comes else (near, far), role, True, control)


def _place(graph: Graph, point: Point) -> XY:
    """Close to the edge of the window, at the height of its own layer."""
    assert point.offset is not None
    window, grid = graph.window, graph.grid
    near = [min(max(o, a), b) for o, a, b in zip(point.offset, window.low, window.high, strict=True)]
    x, y = grid.centre(near)
    dx, dy = grid.cell.places[point.name]
    for o, n, (ax, ay) in zip(point.offset, near, grid.axes, strict=True):
        away, size = o - n, hypot(ax, ay)
        if not away:
            continue
        sideways = abs(ax) > abs(ay)
        wide = _width(graph, point) if sideways else NODE
        reach = (
            (grid.cell.width if sideways else grid.cell.height + NODE) / 2
            + wide / 2
            + 11
            + (abs(away) - 1) * (wide + 6)
        )
        x, y = x + reach * ax / size * _sign(away), y + reach * ay / size * _sign(away)
        dx, dy = (0.0, dy) if sideways else (dx, 0.0)
    return x + dx, y + dy


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def _words(graph: Graph, point: Point) -> Words:
    return formula(dependencies.named_at(graph.asked.system, point, graph.window.base))


def _width(graph: Graph, point: Point) -> float:
    return max(NODE, _words(graph, point).width(SIZE) + 8) if graph.window.closed else HINT


def _hint(graph: Graph, point: Point, at: XY) -> Iterator[Shape]:
    x, y = at
    if graph.window.closed:
        yield Box((x, y), _width(graph, point), NODE, NODE / 2, "node border", graph.named(point))
        yield Label((x, y + 0.3 * SIZE), _words(graph, point), "note", size=SIZE)
    else:
        yield Label((x, y + 5), said("⋯"), "note aside" if graph.highlight else "note", size=15)
