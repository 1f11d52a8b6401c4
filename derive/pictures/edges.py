"""The way of an edge between two nodes: where it starts and ends, and how it bends around what stands between."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

import numpy as np

from derive.pictures.model import XY

NODE = 30.0
"""The height of a node."""
CLEAR = 1.5
"""Between a tip and the node that it points to."""
BENDS = (0.0, 14.0, -14.0, 28.0, -28.0, 44.0, -44.0)
BESIDE = 3.6
"""Between the strokes of several paths along one edge."""


def bend(start: XY, end: XY, nodes: Sequence[XY]) -> XY | None:
    """The control point of the least bend that keeps clear of the other nodes; None for a straight line."""
    others = np.array([p for p in nodes if p not in (start, end)]).reshape(-1, 2)
    length = hypot(end[0] - start[0], end[1] - start[1]) or 1.0
    normal = (end[1] - start[1]) / length, (start[0] - end[0]) / length
    trials: list[tuple[int, float, float, XY]] = []
    for trial in BENDS:
        x, y = ((a + b) / 2 + 2 * trial * n for a, b, n in zip(start, end, normal, strict=True))
        away = np.hypot(*np.moveaxis(curve(start, (x, y), end)[:, None] - others[None], 2, 0))
        met = int((away.min(0) < NODE / 2 + 3).sum()) if len(others) else 0
        trials.append((met, abs(trial), trial, (x, y)))
    _, _, best, control = min(trials, key=lambda t: t[:2])
    return control if best else None


def trimmed(at: XY, towards: XY, width: float, clear: float = 0) -> XY:
    """The point where the way from `at` leaves its node, a pill as wide as `width`, by as much as `clear`."""
    length = hypot(towards[0] - at[0], towards[1] - at[1]) or 1.0
    ux, uy = (towards[0] - at[0]) / length, (towards[1] - at[1]) / length
    radius, straight = NODE / 2 + clear, max(width - NODE, 0.0) / 2
    if abs(uy) * straight > abs(ux) * radius:
        reach = radius / abs(uy)
    else:
        reach = abs(ux) * straight + (radius**2 - (straight * uy) ** 2) ** 0.5
    return at[0] + reach * ux, at[1] + reach * uy


def curve(start: XY, control: XY | None, end: XY) -> np.ndarray:
    """33 points along the edge."""
    s, middle = np.linspace(0, 1, 33)[:, None], control or ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    return (1 - s) ** 2 * np.array(start) + 2 * s * (1 - s) * np.array(middle) + s**2 * np.array(end)


def sides(count: int) -> list[float]:
    return [(k - (count - 1) / 2) * BESIDE for k in range(count)]


def shifted(start: XY, end: XY, control: XY | None, side: float) -> tuple[XY, XY, XY | None]:
    """The edge moved sideways."""
    length = hypot(end[0] - start[0], end[1] - start[1]) or 1.0
    dx, dy = side * (end[1] - start[1]) / length, side * (start[0] - end[0]) / length

    def moved(p: XY) -> XY:
        return p[0] + dx, p[1] + dy

    return moved(start), moved(end), moved(control) if control else None
