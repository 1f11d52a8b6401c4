"""The automaton of a network of threshold units: its states, and where each input leads with which answer.

States stand in a row, in the order in which a search from the start meets them; what leads on is drawn above them, what
leads back below, what stays is a loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from derive.automata.tables import Automaton
from derive.errors import DeriveError
from derive.pictures.model import XY, Box, Label, Picture, Shape, Stroke, framed
from derive.pictures.words import said

MOST_STATES = 8
RADIUS, APART, SIZE = 21.0, 150.0, 13.5
RISE = 46.0
"""How far an arc to the neighbour bends away from the row."""


def drawn(automaton: Automaton, title: str) -> Picture:
    """The picture.  Raises `DeriveError` where there are too many states to take in at a glance."""
    if len(automaton) > MOST_STATES:
        raise DeriveError(f"{automaton.name} has {len(automaton)} states, and a picture shows at most {MOST_STATES}")
    data = automaton.data()
    return framed(title, _alternative(data), _shapes(data), narrowest=220)


def _shapes(data: Mapping[str, Any]) -> Iterator[Shape]:
    first = _place(data["start"])
    yield Stroke(((first[0] - RADIUS - 30, first[1]), (first[0] - RADIUS - 2, first[1])), "edge", arrow=True)
    for (source, target), labels in _joined(data["edges"]).items():
        yield from _edge(source, target, labels)
    for node in data["nodes"]:
        centre = _place(node["id"])
        yield Box(centre, 2 * RADIUS, 2 * RADIUS, RADIUS, "node state", tip=node["label"])
        yield Label((centre[0], centre[1] + 5), said(str(node["id"])), "name")
        yield Label((centre[0], RADIUS + 20 + _depth(data)), said(node["label"]), "note", size=SIZE)


def _place(state: int) -> XY:
    return APART * state, 0.0


def _depth(data: Mapping[str, Any]) -> float:
    """How far the arcs that lead back hang down."""
    widest = max((edge["source"] - edge["target"] for edge in data["edges"]), default=0)
    return RISE * widest + 14 if widest > 0 else 0.0


def _joined(edges: list[Mapping[str, Any]]) -> dict[tuple[int, int], list[str]]:
    """Arcs between the same two states share a line, with their labels under one another."""
    found: dict[tuple[int, int], list[str]] = {}
    for edge in edges:
        found.setdefault((edge["source"], edge["target"]), []).append(edge["label"])
    return found


def _edge(source: int, target: int, labels: list[str]) -> Iterator[Shape]:
    (x, y), (to, _) = _place(source), _place(target)
    if source == target:
        yield Stroke(((x - 11, y - RADIUS + 3), (x + 11, y - RADIUS + 1)), "edge", arrow=True, control=(x, y - 118))
        yield from _labels((x, y - 77), labels, -1)
        return
    side = -1 if target > source else 1
    bend = side * RISE * abs(target - source)
    start = (x + (-side) * RADIUS * 0.8, y + side * RADIUS * 0.6)
    end = (to + side * RADIUS * 0.85, y + side * RADIUS * 0.65)
    middle = ((x + to) / 2, y + 2 * bend * 0.8)
    yield Stroke((start, end), "edge", arrow=True, control=middle)
    yield from _labels((middle[0], y + 0.8 * bend + side * 14 + (10 if side > 0 else 0)), labels, side)


def _labels(at: XY, labels: list[str], side: int) -> Iterator[Shape]:
    rows = list(reversed(labels)) if side < 0 else labels
    for row, label in enumerate(rows):
        yield Label((at[0], at[1] + side * 17 * row), said(label), "name", size=SIZE)


def _alternative(data: Mapping[str, Any]) -> str:
    """What the picture shows, in sentences."""
    states = ", ".join(f"{node['id']} ({node['label']})" for node in data["nodes"])
    moves = "; ".join(
        f"from {e['source']} input {' or '.join(e['letters'])} leads to {e['target']} with the answer {e['output']}"
        for e in data["edges"]
    )
    return f"The automaton of {data['name']} with the states {states}, starting in {data['start']}: {moves}."
