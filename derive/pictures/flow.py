"""The flow of the gradient back: `|∂L_T/∂h_t|` over the distance `T − t`, for several scales of the recurrent weights.

`L_T = <v, h_T>` for a random direction `v` of length one; the gradient is the adjoint recurrence, run as the emitted code of
`system.adjoint()`.  A curve is the median over draws of parameters, inputs and `v`; the band around it goes from the least
to the greatest.  On a grid both points move along the diagonal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from derive.errors import QueryError
from derive.pictures import ceilings, sampled
from derive.pictures.axes import Axes, decades, number
from derive.pictures.dependencies import carriers, lanes, reads
from derive.pictures.model import Area, Box, Extent, Label, Picture, Shape, Stroke, framed, overlap
from derive.pictures.words import said, typed
from derive.queries import parse
from derive.system import LOSS, System

if TYPE_CHECKING:
    from derive.pictures import Request

SCALES = (0.5, 1.0, 1.5, 3.0)
DRAWS = 9
STEPS = {1: 51, 2: 13, 3: 6}
"""The length along every axis, by the dimension of the lattice."""
WIDTH, HEIGHT, LEFT, RIGHT = 270.0, 190.0, 48.0, 62.0
APART = 15.0
"""Between the names of two curves."""
LEAST, MOST = -16, 12
"""The exponents beyond which a curve leaves the picture."""


@dataclass(frozen=True)
class Curve:
    """What one scale gives: a value for every distance from 0 on."""

    scale: float | None
    """None where no recurrent matrix is to be scaled."""
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    bound: np.ndarray | None

    @property
    def name(self) -> str:
        return f"s = {self.scale:g}" if self.scale is not None else ""


@dataclass(frozen=True)
class Flow:
    """The curves of one system."""

    system: System
    state: str
    curves: tuple[Curve, ...]

    @property
    def steps(self) -> int:
        return len(self.curves[0].middle) - 1


def draw(asked: Request) -> Picture:
    """A panel for `asked.system` and one for each of `asked.others`, on the same axes."""
    systems = (asked.system, *asked.others)
    # Another system may have no state of that name; it is shown by its own.
    queries = [asked.query] + [asked.query if _has(system, asked.query) else None for system in asked.others]
    flows = [
        measured(system, query, asked.scales or SCALES, asked.seed, asked.where)
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


# --- what is measured ---------------------------------------------------------------------------------------------------


def measured(
    system: System, query: str | None, scales: Sequence[float], seed: int, where: Mapping[str, float] | None = None
) -> Flow:
    """The curves of a system.  Raises `QueryError` for a state that nothing flows through."""
    state = _state(system, query)
    found = sampled.recurrent_matrices(system)
    chosen: Sequence[float | None] = list(scales) if found else [None]
    return Flow(system, state, tuple(_curve(system, state, scale, seed, where or {}) for scale in chosen))


def _has(system: System, query: str | None) -> bool:
    try:
        return query is not None and bool(_state(system, query))
    except QueryError:
        return False


def _state(system: System, query: str | None) -> str:
    """The state whose gradient is asked for; left out, the one that the outputs read most directly."""
    recurrent = carriers(reads(system))
    if query is not None:
        parsed = parse(query, system)
        if (
            parsed.above is None
            or parsed.below is None
            or parsed.above.name != LOSS
            or parsed.below.name not in recurrent
        ):
            known = " or ".join(f"'dL/d{name}[{system.lattice.point()}]'" for name in recurrent)
            raise QueryError(f"the flow of a gradient is asked for as {known}, not {query!r}")
        return parsed.below.name
    if not recurrent:
        raise QueryError(f"{system.name} hands nothing from point to point, so that no gradient flows back through it")
    around = [lane for lane in lanes(list(system.equations), reads(system)) if set(lane) & set(recurrent)]
    read_beyond = [k.source for lane in around for k in reads(system) if k.source in lane and k.target not in lane]
    return next(name for name in (*system.outputs, *read_beyond, *recurrent) if name in recurrent)


def head(system: System, state: str) -> str:
    """The variable on which `L_T` depends: the output of the chain that `state` belongs to, or `state` itself."""
    lane = next(lane for lane in lanes(list(system.equations), reads(system)) if state in lane)
    return next((name for name in system.outputs if name in lane), _last_carrier(system, lane, state))


def _last_carrier(system: System, lane: Sequence[str], state: str) -> str:
    """In a chain below the outputs, what the layers above read."""
    above = [k.source for k in reads(system) if k.source in lane and k.target not in lane]
    return above[0] if above else state


def backwards(system: System, state: str) -> bool:
    """Whether the chain of `state` runs from the last point to the first."""
    lane = next(lane for lane in lanes(list(system.equations), reads(system)) if state in lane)
    return any(o > 0 for k in reads(system) if k.source in lane and k.target in lane for o in k.offset)


def _curve(system: System, state: str, scale: float | None, seed: int, where: Mapping[str, float]) -> Curve:
    norms, bounds = [], []
    for number_ in range(DRAWS):
        draw = sampled.draw(system, state, scale or 1.0, STEPS[system.lattice.dimension], seed * DRAWS + number_, where)
        norms.append(gradient_norms(system, state, draw, seed * DRAWS + number_))
        bounds.append(ceilings.bound(system, head(system, state), state, draw))
    values = np.array(norms)
    known = [b for b in bounds if b is not None]
    ceiling = np.max(known, axis=0) if len(known) == len(bounds) else None
    return Curve(scale, np.median(values, axis=0), values.min(0), values.max(0), ceiling)


def gradient_norms(system: System, state: str, draw: sampled.Draw, seed: int) -> np.ndarray:
    """`|∂L_T/∂state|` at the distances 0, 1, … from the last point, by the emitted adjoint system."""
    output = head(system, state)
    backward = sampled.compiled_adjoint(system, output)
    dimension = system.lattice.dimension
    last = -1 if not backwards(system, state) else 0
    cotangent = sampled.direction(system, state, output, draw.steps, last, seed)
    found = backward.forward(draw.params, {**draw.inputs, f"{output}_ct": cotangent})[f"{state}_bar"]
    along = np.array([found[(k,) * dimension] for k in range(draw.steps)])
    norms = np.sqrt((along.reshape(draw.steps, -1) ** 2).sum(1))
    return norms if last == 0 else norms[::-1]


# --- how it is shown ----------------------------------------------------------------------------------------------------


def _limits(flows: Sequence[Flow]) -> tuple[int, int]:
    curves = [c for f in flows for c in f.curves]
    return decades([v for c in curves for v in c.middle], LEAST, MOST)


def _panel(flow: Flow, axes: Axes) -> Iterator[Shape]:
    system, t = flow.system, "t" if flow.system.lattice.dimension == 1 else "t,t"
    gradient = typed(f"|∂L_T/∂{flow.state}_t|", rf"|\partial L_T / \partial {_tex(flow)}|")
    yield Label((axes.left - 40, axes.top - 10), said(f"{system.name}: ") + gradient, "strong", "start", 14)
    first = "t − 1" if backwards(system, flow.state) else "T − t"
    way = "steps along the diagonal" if t != "t" else "steps from the loss"
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


def _tex(flow: Flow) -> str:
    from derive.printing import latex

    var = flow.system.variables[flow.state].var
    return latex(var.at(flow.system.lattice.indices))


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
            yield _mark(axes.at(k, curve.middle[k]), hue)


def _mark(at: tuple[float, float], hue: int) -> Shape:
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
    lines.append(said(f"line: median of {DRAWS} draws; band: least to greatest"))
    if any(c.bound is not None for f in flows for c in f.curves):
        lines.append(said("thin dashes: the bound"))
    for number_, line in enumerate(lines):
        yield Label((LEFT - 40, y + 18 * number_), line, "note", "start", 12.5)


def _told(flows: Sequence[Flow]) -> str:
    told = []
    for flow in flows:
        gradient = f"|∂L_T/∂{flow.state}_t|"
        ends = "; ".join(_sentence(curve) for curve in flow.curves)
        told.append(f"{flow.system.name}: {gradient} after {flow.steps} steps, median of {DRAWS} draws: {ends}.")
    return "The norm of the gradient against the distance from the loss, on a logarithmic scale. " + " ".join(told)


def _sentence(curve: Curve) -> str:
    name = f"{curve.name}: " if curve.name else ""
    bound = f" (bound {number(curve.bound[-1])})" if curve.bound is not None else ""
    return f"{name}{number(curve.middle[-1])}{bound}"
