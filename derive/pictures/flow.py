"""The flow of the gradient back: `|∂L_T/∂h_t|` over the distance `T − t`, for several scales of the recurrent weights.

A curve is the median over draws of parameters, inputs and the direction of the loss; the band around it goes from the least
to the greatest.  A thin dashed line is the bound of `bound dh[t]/dh[k]`, where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from derive.pictures import measured
from derive.pictures.axes import Axes, decades, number
from derive.pictures.dependencies import backwards
from derive.pictures.measured import Curve, Flow
from derive.pictures.model import Area, Box, Extent, Label, Picture, Shape, Stroke, framed, overlap
from derive.pictures.words import said, typed

if TYPE_CHECKING:
    from derive.pictures import Request

SCALES = (0.5, 1.0, 1.5, 3.0)
WIDTH, HEIGHT, LEFT, RIGHT = 270.0, 190.0, 48.0, 62.0
APART = 15.0
"""Between the names of two curves."""
LEAST, MOST = -16, 12
"""The exponents beyond which a curve leaves the picture."""


def draw(asked: Request) -> Picture:
    """A panel for `asked.system` and one for each of `asked.others`, on the same axes."""
    systems = (asked.system, *asked.others)
    # Another system may have no state of that name; it is shown by its own.
    queries = [asked.query] + [asked.query if measured.has(system, asked.query) else None for system in asked.others]
    flows = [
        measured.flow(system, query, asked.scales or SCALES, asked.seed, asked.where)
        for system, query in zip(systems, queries, strict=True)
    ]
    low, high = _limits(flows)
    shapes: list[Shape] = []
    top = 0.0
    for flow in flows:
        axes = Axes(LEFT, top + 26, WIDTH, HEIGHT, flow.steps, low, high)
        shapes += _panel(flow, axes)
        top += HEIGHT + 84
    shapes += _key(flows, top)
    names = ", ".join(f.system.name for f in flows)
    return framed(f"Flow of the gradient back through {names}", _told(flows), shapes)


# --- how it is shown ----------------------------------------------------------------------------------------------------


def _limits(flows: Sequence[Flow]) -> tuple[int, int]:
    curves = [c for f in flows for c in f.curves]
    return decades([v for c in curves for v in c.middle], LEAST, MOST)


def _panel(flow: Flow, axes: Axes) -> Iterator[Shape]:
    system = flow.system
    yield Label((axes.left - 40, axes.top - 10), said(f"{system.name}: ") + flow.gradient, "strong", "start", 14)
    first = "t − 1" if backwards(system, flow.state) else "T − t"
    way = "steps from the loss" if system.lattice.dimension == 1 else "steps along the diagonal"
    yield from axes.frame(typed(first, first.replace("−", "-")) + said(f", {way}"), 10 if flow.steps > 20 else 2)
    distances = range(flow.steps + 1)
    for hue, curve in enumerate(flow.curves, 1):
        yield from _band(axes, curve, hue)
    for hue, curve in enumerate(flow.curves, 1):
        if curve.bound is not None:
            yield from (Stroke(tuple(p), f"curve hue-{hue} bound") for p in axes.within(distances[1:], curve.bound[1:]))
        for piece in axes.within(distances, curve.middle):
            yield Stroke(tuple(piece), f"curve hue-{hue}", tip=curve.name)
        yield from _marks(axes, curve, hue)
    yield from _names(axes, flow)


def _band(axes: Axes, curve: Curve, hue: int) -> Iterator[Shape]:
    """From the least to the greatest of the draws, as far as the picture reaches."""
    inside = [
        (
            axes.across(k),
            axes.up(max(np.log10(max(low, 1e-300)), axes.low)),
            axes.up(min(np.log10(max(high, 1e-300)), axes.high)),
        )
        for k, (low, high) in enumerate(zip(curve.low, curve.high, strict=True))
        if high > 10.0**axes.low and low < 10.0**axes.high
    ]
    if len(inside) > 1:
        points = [(x, y) for x, _, y in inside] + [(x, y) for x, y, _ in reversed(inside)]
        yield Area(tuple(points), f"spread tint-{hue}")


def _marks(axes: Axes, curve: Curve, hue: int) -> Iterator[Shape]:
    """A mark of its own shape at every tenth step, so that curves are told apart without their colour."""
    every = max(len(curve.middle) // 5, 1)
    for k in range(every // 2 + hue - 1, len(curve.middle), every):
        if axes.low <= np.log10(max(curve.middle[k], 1e-300)) <= axes.high:
            yield mark(axes.at(k, curve.middle[k]), hue)


def mark(at: tuple[float, float], hue: int) -> Shape:
    """The shape that goes with a hue."""
    x, y = at
    role = f"mark hue-{hue} tint-{hue}"
    if hue % 4 == 1:
        return Box(at, 8, 8, 4, role)
    if hue % 4 == 2:
        return Box(at, 7.5, 7.5, 0, role)
    if hue % 4 == 3:
        return Area(((x, y - 5.5), (x + 5, y + 4), (x - 5, y + 4)), role)
    return Area(((x, y - 6), (x + 5.5, y), (x, y + 6), (x - 5.5, y)), role)


def _names(axes: Axes, flow: Flow) -> Iterator[Shape]:
    """Beside the end of each curve its name; where it leaves the picture, above that place."""
    ends = []
    for hue, curve in enumerate(flow.curves, 1):
        pieces = axes.within(range(flow.steps + 1), curve.middle)
        if pieces and curve.name:
            ends.append((pieces[-1][-1], hue, curve.name))
    right = axes.left + axes.width
    placed = _apart({hue: y for (x, y), hue, _ in ends if x > right - 30})
    leaving: list[Extent] = []
    for (x, y), hue, name in ends:
        at = (right + 10, placed[hue] + 4) if hue in placed else (min(x + 8, right - 30), y - 5)
        label = Label(at, typed(name, name), f"name hue-{hue}", "start", 13)
        while hue not in placed and any(overlap(label.extent, other) for other in leaving):
            label = replace(label, at=(label.at[0], label.at[1] - APART))
        leaving.append(label.extent)
        yield label


def _apart(places: dict[int, float]) -> dict[int, float]:
    """The same places with at least `APART` between neighbours."""
    order = sorted(places, key=lambda hue: places[hue])
    moved = {hue: places[hue] for hue in order}
    for _ in range(20):
        for a, b in pairwise(order):
            gap = APART - (moved[b] - moved[a])
            if gap > 0:
                moved[a], moved[b] = moved[a] - gap / 2, moved[b] + gap / 2
    return moved


def _key(flows: Sequence[Flow], y: float) -> Iterator[Shape]:
    """What the letters and lines mean."""
    lines = []
    if any(c.scale is not None for f in flows for c in f.curves):
        lines.append(typed("s", "s") + said(": spectral norm of every recurrent matrix"))
    lines.append(said(f"line: median of {measured.DRAWS} draws; band: least to greatest"))
    if any(c.bound is not None for f in flows for c in f.curves):
        lines.append(said("thin dashes: the bound; where none is seen, it is above"))
    for number_, line in enumerate(lines):
        yield Label((LEFT - 40, y + 18 * number_), line, "note", "start", 12.5)


def _told(flows: Sequence[Flow]) -> str:
    told = []
    for flow in flows:
        ends = "; ".join(_sentence(curve) for curve in flow.curves)
        told.append(
            f"{flow.system.name}: {flow.said} after {flow.steps} steps, median of {measured.DRAWS} draws: {ends}."
        )
    return "The norm of the gradient against the distance from the loss, on a logarithmic scale. " + " ".join(told)


def _sentence(curve: Curve) -> str:
    name = f"{curve.name}: " if curve.name else ""
    bound = f" (bound {number(curve.bound[-1])})" if curve.bound is not None else ""
    return f"{name}{number(curve.middle[-1])}{bound}"
