"""Where the nodes of a graph stand: inside one cell by layers, and the cells side by side on the lattice.

Layers follow the reads within a point (Sugiyama, Tagawa and Toda 1981): what is read stands before what reads it, and a chain
or layer that depends on another has layers of its own beyond it.  The order within the layers is that of the least cost among
all orders of one layer at a time: nodes under an edge, crossings, length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np

from derive.lattice import Offset
from derive.pictures.dependencies import Link, lanes
from derive.pictures.model import XY

ACROSS, ALONG = 38.0, 52.0
"""Between nodes of a layer, and between layers."""
GAP = 24.0
"""Between cells."""
MOST_ORDERED = 5
"""Layers with more nodes keep the order of the equations."""
HIT, CROSSED, BROAD, LENGTH = 40.0, 6.0, 12.0, 0.05
SWEEPS = 3


def layers(names: Sequence[str], links: Sequence[Link]) -> dict[str, int]:
    """The layer of each variable, from 0: above all that it reads at its own point, inputs just before their first reader."""
    within = [k for k in links if not any(k.offset)]
    layer: dict[str, int] = {}
    above = 0
    for lane in lanes(names, links):
        inside = [k for k in links if k.target in lane and k.source in lane]
        base = above if inside else 0
        pending = list(lane)
        while pending:
            for name in pending:
                read = [k.source for k in within if k.target == name]
                if not any(s in pending for s in read):
                    layer[name] = max([base, *(layer[s] + 1 for s in read)])
                    pending.remove(name)
                    break
        if inside:
            above = max(layer[n] for n in lane) + 1
    for name in names:
        if not any(k.target == name for k in links):
            readers = [layer[k.target] for k in within if k.source == name]
            layer[name] = min(readers, default=0) - 1
    used = {old: new for new, old in enumerate(sorted(set(layer.values())))}
    return {name: used[layer[name]] for name in names}


@dataclass(frozen=True)
class Cell:
    """The places of the variables around the centre of a cell, in the picture's unit, and its size."""

    places: dict[str, XY]
    width: float
    height: float


def cell(
    names: Sequence[str], links: Sequence[Link], upwards: bool, widths: dict[str, float], along: float = ALONG
) -> Cell:
    """A cell whose layers follow each other upwards, or downwards, `along` apart."""
    layer = layers(names, links)
    rows = [[n for n in names if layer[n] == k] for k in range(max(layer.values(), default=0) + 1)]
    across = max([ACROSS, *(max(widths[n] for n in row) + 6 for row in rows if len(row) > 1)])
    broad = max(len(row) for row in rows)
    slots = _ordered(tuple(map(tuple, rows)), tuple(links), broad)
    height = along * (len(rows) - 1)
    places = {}
    for name in names:
        y = layer[name] * along - height / 2
        places[name] = (slots[name] * across, -y if upwards else y)
    left = min(x - widths[n] / 2 for n, (x, _) in places.items())
    right = max(x + widths[n] / 2 for n, (x, _) in places.items())
    middle = (left + right) / 2
    return Cell({n: (x - middle, y) for n, (x, y) in places.items()}, right - left, height)


@lru_cache(maxsize=128)
def _ordered(rows: tuple[tuple[str, ...], ...], links: tuple[Link, ...], broad: int) -> dict[str, float]:
    """The position of every variable within its layer, in steps from the middle."""
    slots = {n: x for row in rows for n, x in zip(row, _even(len(row), 0), strict=True)}
    cost = _Cost(rows, links, broad)
    best = cost(slots)
    for _ in range(SWEEPS):
        before = best
        for row in rows:
            for trial in _orders(row, broad):
                candidate = {**slots, **trial}
                found = cost(candidate)
                if found < best - 1e-9:
                    best, slots = found, candidate
        if best == before:
            break
    return slots


def _even(count: int, shift: float) -> list[float]:
    return [k - (count - 1) / 2 + shift for k in range(count)]


def _orders(row: Sequence[str], broad: int) -> Iterable[dict[str, float]]:
    """The orders of a layer, each in the middle and moved by half steps as far as the cell is broad."""
    room = (broad - len(row)) / 2 + 1
    shifts = sorted((k / 2 for k in range(-int(2 * room), int(2 * room) + 1)), key=lambda s: (abs(s), s))
    orders = permutations(row) if len(row) <= MOST_ORDERED else (tuple(row),)
    for order in orders:
        for shift in shifts:
            yield dict(zip(order, _even(len(row), shift), strict=True))


class _Cost:
    """Of an order: what the edges within a cell and between it and its neighbours meet on their way, in steps of a layer."""

    def __init__(self, rows: Sequence[Sequence[str]], links: Sequence[Link], broad: int):
        self.row = {n: k * ALONG / ACROSS for k, row in enumerate(rows) for n in row}
        self.broad = broad
        pitch, height = broad + GAP / ACROSS, (len(rows) * ALONG + GAP) / ACROSS
        cells = list(dict.fromkeys(o for k in links for o in ((0,) * len(k.offset), k.offset)))
        at = {o: _displaced(o, pitch, height) for o in cells}
        self.nodes = [(n, at[o]) for o in cells for n in self.row]
        ends = [(k.source, at[k.offset], k.target, (0.0, 0.0)) for k in links if any(k.offset)]
        ends += [(k.source, at[o], k.target, at[o]) for k in links if not any(k.offset) for o in cells]
        self.starts, self.ends = [e[:2] for e in ends], [e[2:] for e in ends]

    def __call__(self, slots: dict[str, float]) -> float:
        nodes, start, end = (self.points(slots, which) for which in (self.nodes, self.starts, self.ends))
        lengths = np.hypot(*(end - start).T)
        beyond = max(max(slots.values()) - min(slots.values()) + 1 - self.broad, 0.0)
        met = HIT * hits(start, end, nodes, 0.42).sum() + CROSSED * _crossings(start, end)
        return float(met + BROAD * beyond + LENGTH * (lengths**2).sum())

    def points(self, slots: dict[str, float], which: Sequence[tuple[str, XY]]) -> np.ndarray:
        return np.array([(slots[n] + x, self.row[n] + y) for n, (x, y) in which]).reshape(-1, 2)


def _displaced(offset: Offset, pitch: float, height: float) -> XY:
    """Where a neighbour stands, in steps of a layer: along a chain to the side; on a grid the first axis runs down."""
    axes = ((pitch, 0.0),) if len(offset) == 1 else ((0.0, height), (pitch, 0.0), (pitch / 2, -height / 2))
    return sum(o * a[0] for o, a in zip(offset, axes)), sum(o * a[1] for o, a in zip(offset, axes))  # noqa: B905


def hits(start: np.ndarray, end: np.ndarray, nodes: np.ndarray, radius: float) -> np.ndarray:
    """For each edge how many nodes, other than its ends, are nearer than `radius`."""
    along = end - start
    squared = np.maximum((along**2).sum(1), 1e-12)
    relative = nodes[None] - start[:, None]
    part = np.clip((relative * along[:, None]).sum(2) / squared[:, None], 0, 1)
    distance = np.hypot(*np.moveaxis(relative - part[..., None] * along[:, None], 2, 0))
    inner = (part > 1e-9) & (part < 1 - 1e-9)
    return ((distance < radius) & inner).sum(1)


def _crossings(start: np.ndarray, end: np.ndarray) -> int:
    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        ab, ac = b - a, c - a
        return np.sign(ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0])

    a, b, c, d = start[:, None], end[:, None], start[None], end[None]
    crossed = (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
    return int(crossed.sum()) // 2


@dataclass(frozen=True)
class Grid:
    """The centre of the cell at each point: a chain runs to the right; on a grid the first axis runs down, the second right."""

    cell: Cell
    dimension: int
    gap: float = GAP

    @property
    def axes(self) -> tuple[XY, ...]:
        width, height = self.cell.width + self.gap + 14, self.cell.height + ALONG + self.gap
        if self.dimension == 1:
            return ((width, 0.0),)
        right, down, deep = (max(width, 84.0), 0.0), (0.0, max(height, 84.0)), (0.52 * max(width, 84.0), -0.47 * height)
        return (down, right) if self.dimension == 2 else _oblique(right, down, deep)

    def centre(self, offset: Sequence[float]) -> XY:
        x = sum(o * a[0] for o, a in zip(offset, self.axes, strict=True))
        y = sum(o * a[1] for o, a in zip(offset, self.axes, strict=True))
        return x, y

    def node(self, name: str, offset: Offset) -> XY:
        (x, y), (dx, dy) = self.centre(offset), self.cell.places[name]
        return x + dx, y + dy


def _oblique(right: XY, down: XY, deep: XY) -> tuple[XY, ...]:
    """Three axes: the first two twice as far apart, so that the third fits between them."""
    return (down[0], 1.9 * down[1]), (1.9 * right[0], right[1]), deep
