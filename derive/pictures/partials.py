"""The local partials along the edges of a graph: `diag(f_t)` beside `c[t-1] → c[t]`, where there is room for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from derive import expr
from derive.lattice import Offset
from derive.partials import table
from derive.paths import Point
from derive.pictures.dependencies import Link
from derive.pictures.edges import NODE, bend, curve
from derive.pictures.model import XY, Box, Extent, Label, Shape, overlap
from derive.pictures.words import Words, formula

if TYPE_CHECKING:
    from derive.pictures.graph import Graph

SIZE = 11.0
WIDEST = 92.0
"""A longer formula is left to the legend of the table."""
PLACES = (16, 13, 19, 10, 22, 8, 24)
"""Where along an edge, of 32 parts, a label may stand, the best first."""


def labels(graph: Graph) -> Iterator[Shape]:
    """A label for each edge on a path; without a query, for each that arrives at the last cell."""
    taken: list[Extent] = [_around(at, graph.widths[n]) for at, n in graph.standing]
    for link, offset in _labelled(graph):
        words = _words(graph, link, offset)
        if words is None or words.width(SIZE) > WIDEST:
            continue
        source = tuple(a + b for a, b in zip(offset, link.offset, strict=True))
        start, end = graph.grid.node(link.source, source), graph.grid.node(link.target, offset)
        for place in _candidates(start, end, graph.centres):
            label = Label((place[0], place[1] + 0.33 * SIZE), words, "name", size=SIZE)
            if not any(overlap(label.extent, other) for other in taken):
                taken.append(label.extent)
                left, top, right, bottom = label.extent
                yield Box(((left + right) / 2, (top + bottom) / 2), right - left + 2, bottom - top, 3, "ground")
                yield label
                break


def _labelled(graph: Graph) -> Iterator[tuple[Link, Offset]]:
    for offset in graph.window.points:
        for link in graph.links:
            source = tuple(a + b for a, b in zip(offset, link.offset, strict=True))
            if link.through or source not in graph.window:
                continue
            ends = Point(link.target, offset), Point(link.source, source)
            if ends in graph.highlight.edges if graph.highlight else offset == graph.window.high:
                yield link, offset


def _words(graph: Graph, link: Link, offset: Offset) -> Words | None:
    """The Jacobian of the edge, at its own point; None where it is no matrix."""
    system = graph.asked.system
    linear = table(system).entries[link.target, link.source, link.offset].map
    if not linear.is_matrix:
        return None
    index = [b + o for b, o in zip(graph.window.base, offset, strict=True)]
    return formula(expr.at(linear.jacobian(), dict(zip(system.lattice.indices, index, strict=True))))


def _candidates(start: XY, end: XY, nodes: list[XY]) -> list[XY]:
    points = curve(start, bend(start, end, nodes), end)
    return [(float(points[k][0]), float(points[k][1])) for k in PLACES]


def _around(at: XY, width: float) -> Extent:
    return at[0] - width / 2, at[1] - NODE / 2, at[0] + width / 2, at[1] + NODE / 2
