"""Growth: whether the product of one-step Jacobians tells how a Jacobian over many steps grows.

Three spectral norms over the distance `T − t`, medians over draws: of `∂c_T/∂c_t`, by the emitted adjoint with a cotangent
for each entry of `c_T`; of the product of the total derivatives `∂c_k/∂c_{k-1}`, as the formula gives them; of the product of
the immediate partials, the direct path alone.  The first two are the same where all that a step hands on passes through `c`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sympy import Symbol

from derive import expr
from derive.errors import QueryError
from derive.evaluate import Ring, evaluate
from derive.expr import Node, Partial
from derive.partials import table
from derive.pictures import sampled
from derive.pictures.axes import Axes, decades, number
from derive.pictures.flow import mark
from derive.pictures.measured import DRAWS, STEPS
from derive.pictures.model import Label, Picture, Shape, Stroke, framed
from derive.pictures.words import Words, formula, said, typed
from derive.queries import parse
from derive.system import System

if TYPE_CHECKING:
    from derive.pictures import Request

WIDTH, HEIGHT, LEFT = 290.0, 190.0, 48.0
LEAST, MOST = -16, 12


@dataclass(frozen=True)
class Curve:
    """A norm for every distance from 1 on; `name` as a formula, `plain` in words."""

    name: Words
    plain: str
    norms: np.ndarray


def draw(asked: Request) -> Picture:
    """The curves of `asked.query`, a Jacobian of one step such as `dc[t]/dc[t-1]`."""
    system = asked.system
    state = state_of(system, asked.query)
    curves = measured(system, state, asked.scales[0] if asked.scales else 1.0, asked.seed, dict(asked.where))
    low, high = decades([v for c in curves for v in c.norms], LEAST, MOST)
    distance = len(curves[0].norms)
    axes = Axes(LEFT, 26, WIDTH, HEIGHT, distance, low, high)
    title = f"Growth of the Jacobian of {state} over many steps of {system.name}, and of products of single steps"
    return framed(title, _told(system, curves, distance), _shapes(curves, axes))


def state_of(system: System, query: str | None) -> str:
    """The state whose step is asked for.  Raises `QueryError` for anything else than `dc[t]/dc[t-1]`."""
    index = system.lattice.indices[0]
    local = table(system).entries
    own = [name for name in system.equations if (name, name, (-1,)) in local and system.variables[name].shape[1] == 1]
    if not own:
        raise QueryError(f"growth compares steps of a state that reads itself directly, and {system.name} has none")
    if query is None:
        return own[0]
    asked = parse(query, system)
    if asked.above and asked.below:
        steps = asked.above.index == (index,) and asked.below.index == (index - 1,)
        if steps and asked.above.name == asked.below.name in own:
            return asked.above.name
    known = " or ".join(f"'d{name}[{index}]/d{name}[{index}-1]'" for name in own)
    raise QueryError(f"growth is asked for as {known}, not {query!r}")


# --- what is measured ---------------------------------------------------------------------------------------------------


def measured(system: System, state: str, scale: float, seed: int, where: dict[str, float]) -> tuple[Curve, ...]:
    """The three curves, medians over the draws."""
    found = []
    for draw_number in range(DRAWS):
        drawn = sampled.draw(system, state, scale, STEPS[1], seed * DRAWS + draw_number, where)
        found.append([_norms(true_jacobians(system, state, drawn)), *_products(system, state, drawn)])
    middle = np.median(np.array(found), axis=0)
    k, t, T = (Symbol(letter, integer=True) for letter in "ktT")
    var = system.variables[state].var
    whole, step = Partial(var.at((T,)), var.at((t,))), Partial(var.at((k,)), var.at((k - 1,)))
    direct = Partial(var.at((k,)), var.at((k - 1,)), immediate=True)
    product = typed("∏ ", r"\prod ")
    names = (formula(whole), product + formula(step), product + formula(direct))
    plain = (f"∂{state}[T]/∂{state}[t]", "the product of the one-step Jacobians", "the direct path alone")
    return tuple(Curve(name, words, norms) for name, words, norms in zip(names, plain, middle, strict=True))


def true_jacobians(system: System, state: str, drawn: sampled.Draw) -> np.ndarray:
    """`∂c_T/∂c_t` for the distances 1, 2, …: row `i` is the adjoint of entry `i` of `c_T`, so that a batch has them all."""
    size = sampled.shape(system, state, state)[0]
    backward = sampled.compiled_adjoint(system, state)
    inputs = {name: np.repeat(x[:, None], size, axis=1) for name, x in drawn.inputs.items()}
    cotangent = np.zeros((drawn.steps, size, size))
    cotangent[-1] = np.eye(size)
    found = backward.forward(drawn.params, {**inputs, f"{state}_ct": cotangent})[f"{state}_bar"]
    return np.asarray(found)[-2::-1]


def _products(system: System, state: str, drawn: sampled.Draw) -> Iterator[np.ndarray]:
    """The norms of the products of the total and of the immediate one-step Jacobians, the latest on the left."""
    for steps in one_step(system, state, drawn):
        product, norms = np.eye(len(steps[0])), []
        for jacobian in reversed(steps):
            product = product @ jacobian
            norms.append(np.linalg.norm(product, 2))
        yield np.array(norms)


def one_step(system: System, state: str, drawn: sampled.Draw) -> Iterator[list[np.ndarray]]:
    """The total, then the immediate Jacobians of the steps 2 … T."""
    index = system.lattice.indices[0]
    read = sampled.values(system, state, drawn)
    sizes = sampled.sizes(system, state)
    for sign in ("", "+"):
        worked_out = expr.strip_labels(system.derive(f"d{sign}{state}[{index}]/d{state}[{index}-1]").expr)
        assert isinstance(worked_out, Node)
        yield [evaluate(worked_out, Ring(), read, {index: k}, sizes) for k in range(2, drawn.steps + 1)]


def _norms(jacobians: np.ndarray) -> np.ndarray:
    return np.linalg.norm(jacobians, 2, axis=(1, 2))


# --- how it is shown ----------------------------------------------------------------------------------------------------


def _shapes(curves: Sequence[Curve], axes: Axes) -> Iterator[Shape]:
    yield Label((axes.left - 40, axes.top - 10), said("spectral norms"), "strong", "start", 14)
    yield from axes.frame(typed("T − t", "T - t") + said(", steps"), 10)
    distances = range(1, len(curves[0].norms) + 1)
    for hue, curve in enumerate(curves, 1):
        for piece in axes.within(distances, curve.norms):
            yield Stroke(tuple(piece), f"curve hue-{hue}", tip=curve.plain)
        for d in range(4 + hue, len(curve.norms), 10):
            if axes.low <= np.log10(max(curve.norms[d - 1], 1e-300)) <= axes.high:
                yield mark(axes.at(d, curve.norms[d - 1]), hue)
        y = axes.top + axes.height + 40 + 24 * hue
        yield Stroke(((axes.left - 36, y - 4), (axes.left - 4, y - 4)), f"curve hue-{hue}")
        yield mark((axes.left - 20, y - 4), hue)
        yield Label((axes.left + 8, y), curve.name, "name", "start", 14)


def _told(system: System, curves: Sequence[Curve], distance: int) -> str:
    ends = "; ".join(f"{c.plain}: {number(c.norms[-1])}" for c in curves)
    return f"Spectral norms in {system.name} after {distance} steps, on a logarithmic scale, medians of {DRAWS} draws: {ends}."
