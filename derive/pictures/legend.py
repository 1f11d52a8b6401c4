"""The paths of a graph in words: the rows of its legend, and its text alternative."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from derive.expr import Var
from derive.pictures.dependencies import Highlight
from derive.pictures.model import XY, Label, Shape, Stroke
from derive.pictures.style import HUES
from derive.pictures.words import Words, formula, said

if TYPE_CHECKING:
    from derive.pictures.graph import Graph

SIZE = 14.0
LINE = 21.0
LEFT, SAMPLE = 12.0, 30.0
WIDEST = 420.0
"""What a legend may widen a picture to; longer names are broken."""
TOLD = 12
"""Paths that a text alternative names; more are counted."""


def rows(found: Highlight | None, width: float, top: float) -> Iterator[Shape]:
    """A line and a name for each path, or one line for all of them."""
    if found is None:
        return
    y = top + 12
    if not found.walks or len(found.walks) > HUES:
        if found.walks:
            yield Stroke(((LEFT, y), (LEFT + SAMPLE, y)), "edge path-1 on-path", True)
        x = LEFT + (SAMPLE + 8 if found.walks else 0)
        yield from _counted(found, (x, y + 5), width - x - 8)
        return
    for number, walk in enumerate(found.walks, 1):
        yield Stroke(((LEFT, y), (LEFT + SAMPLE, y)), f"edge path-{number}", True)
        names = [formula(v) for v in found.label(walk).args]
        for line in wrapped(names, width - LEFT - SAMPLE - 14):
            yield Label((LEFT + SAMPLE + 8, y + 5), line, "name", "start", SIZE)
            y += LINE


def _counted(found: Highlight, at: XY, width: float) -> Iterator[Label]:
    """How many paths there are, on one line or on two."""
    first, rest = (said(part) for part in _counting(found))
    source, target = (formula(var) for var in found.ends)
    lines = [first + source + said(" to ") + target]
    if rest.runs[0].text and (lines[0] + rest).width(SIZE) > width:
        lines.append(said("") + rest)
    else:
        lines[0] = lines[0] + rest
    for k, line in enumerate(lines):
        yield Label((at[0], at[1] + k * LINE), line, "name", "start", SIZE)


def width(found: Highlight | None) -> float:
    """What the longest name of a path needs, up to `WIDEST`."""
    if found is None or len(found.walks) > HUES:
        return 0.0
    whole = [wrapped([formula(v) for v in found.label(w).args], 1e9)[0].width(SIZE) for w in found.walks]
    return min(max(whole, default=0.0) + LEFT + SAMPLE + 16, WIDEST)


def wrapped(names: Sequence[Words], width: float) -> list[Words]:
    """`a → b → c` in lines that are no wider than `width`, broken before an arrow."""
    lines = [names[0]]
    for name in names[1:]:
        joined = lines[-1] + said(" → ") + name
        if joined.width(SIZE) <= width:
            lines[-1] = joined
        else:
            lines.append(said("→ ") + name)
    return lines


def count(found: Highlight) -> str:
    """How many paths there are, as a sentence says it."""
    first, rest = _counting(found)
    source, target = map(as_typed, found.ends)
    return f"{first}{source} to {target}{rest}"


def _counting(found: Highlight) -> tuple[str, str]:
    """What stands before the names and after them."""
    number = len(found.walks)
    if not number:
        return "No path leads from ", ""
    return f"{number} path{'s' if number > 1 else ''} from ", ", as far as shown" if found.more else ""


def alternative(graph: Graph) -> str:
    """What the graph shows, in sentences."""
    system, window = graph.asked.system, graph.window
    index = ", ".join(map(str, system.lattice.indices))
    points = [f"({graph.title(o)})" if len(o) > 1 else graph.title(o) for o in window.points]
    several = f"the variables {listed(graph.names)}" if len(graph.names) > 1 else f"the variable {graph.names[0]}"
    where = f"for {index} =" if len(system.lattice.indices) > 1 else "at the steps"
    told = f"The dependency graph of {system.name} {where} {listed(points)}: at each {several}."
    if across := _across(graph):
        told += f" From point to point it reads {'; '.join(across)}."
    if any(link.through for link in graph.links):
        told += " Dotted arrows pass through variables that are not drawn."
    return told + (f" {_paths(graph.highlight)}" if graph.highlight else "")


def _across(graph: Graph) -> list[str]:
    """What is read at another point, and by what."""
    readers: dict[str, list[str]] = {}
    here = graph.asked.system.lattice.indices
    for link in graph.links:
        if any(link.offset):
            var = graph.asked.system.variables[link.source].var
            source = as_typed(var.at(tuple(i + o for i, o in zip(here, link.offset, strict=True))))
            readers.setdefault(source, []).append(link.target)
    return [f"{source} into {listed(names)}" for source, names in readers.items()]


def _paths(found: Highlight) -> str:
    told = count(found) + (f", {listed(found.held)} held constant" if found.held else "")
    names = [" → ".join(as_typed(v) for v in found.label(walk).args) for walk in found.walks[:TOLD]]
    more = "; …" if len(found.walks) > TOLD else ""
    return f"{told}: {'; '.join(names)}{more}." if names else f"{told}."


def as_typed(var: Var) -> str:
    """`h[t-1]`, as a query writes it."""
    return f"{var.name}[{','.join(str(i).replace(' ', '') for i in var.index)}]" if var.index else var.name


def listed(items: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else list(items))
