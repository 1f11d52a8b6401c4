"""What a flow is made of: `|∂L_T/∂h_t|` at every distance `T − t`, for several scales of the recurrent weights.

`L_T = <v, h_T>` for a random direction `v` of length one; the gradient is the adjoint recurrence, run as the emitted code of
`system.adjoint()`.  In a chain that runs backwards the loss stands at the first point, `L_1`; on a grid both points move
along the diagonal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sympy import Symbol

from derive.errors import QueryError
from derive.pictures import ceilings, sampled
from derive.pictures.dependencies import backwards, carriers, lanes, reads
from derive.pictures.words import Words, typed
from derive.printing import latex, text
from derive.queries import parse
from derive.system import LOSS, System

DRAWS = 9
STEPS = {1: 51, 2: 13, 3: 6}
"""The length along every axis, by the dimension of the lattice."""


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

    @property
    def corner(self) -> str:
        """The index of the loss."""
        return ",".join(["1" if backwards(self.system, self.state) else "T"] * self.system.lattice.dimension)

    @property
    def gradient(self) -> Words:
        """`|∂L_T/∂h_t|`."""
        var = self.system.variables[self.state].var
        at = var.at((Symbol("t", integer=True),) * self.system.lattice.dimension)
        return typed(f"|∂L_{{{self.corner}}}/∂{text(at)}|", rf"|\partial L_{{{self.corner}}} / \partial {latex(at)}|")

    @property
    def said(self) -> str:
        index = ",".join("t" * self.system.lattice.dimension)
        return f"|∂L[{self.corner}]/∂{self.state}[{index}]|"


def flow(
    system: System, query: str | None, scales: Sequence[float], seed: int, where: Mapping[str, float] | None = None
) -> Flow:
    """The curves of a system.  Raises `QueryError` for a state that nothing flows through."""
    state = state_of(system, query)
    found = sampled.recurrent_matrices(system)
    chosen: Sequence[float | None] = list(scales) if found else [None]
    return Flow(system, state, tuple(_curve(system, state, scale, seed, where or {}) for scale in chosen))


def has(system: System, query: str | None) -> bool:
    try:
        return query is not None and bool(state_of(system, query))
    except QueryError:
        return False


def state_of(system: System, query: str | None) -> str:
    """The state whose gradient is asked for; left out, the one that the outputs read most directly."""
    recurrent = carriers(reads(system))
    if query is not None:
        asked = parse(query, system)
        of_loss = asked.above is not None and asked.above.name == LOSS
        if not of_loss or asked.below is None or asked.below.name not in recurrent:
            known = " or ".join(f"'dL/d{name}[{system.lattice.point()}]'" for name in recurrent)
            raise QueryError(f"the flow of a gradient is asked for as {known}, not {query!r}")
        return asked.below.name
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


def _curve(system: System, state: str, scale: float | None, seed: int, where: Mapping[str, float]) -> Curve:
    norms, bounds = [], []
    for number in range(DRAWS):
        draw = sampled.draw(system, state, scale or 1.0, STEPS[system.lattice.dimension], seed * DRAWS + number, where)
        norms.append(gradient_norms(system, state, draw, seed * DRAWS + number))
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
