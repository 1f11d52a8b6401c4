"""Inequalities between norms, measured: both sides in float64, at weights of several sizes, at every point.

What is measured is no proof: a bound that holds everywhere it was measured is said to hold there, one that fails once
fails.  Norms are the spectral norm of a matrix and the Euclidean norm of a vector where none is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from sympy import Basic

from derive import expr
from derive.evaluate import Array, Ring, Unevaluable, evaluate
from derive.expr import Equals, Node, Relation, Var
from derive.oracles import ROADS
from derive.oracles.check import Failure, Trial
from derive.oracles.points import sizes
from derive.oracles.road import Road, lengths
from derive.oracles.truth import Key, Outside, Unrolled
from derive.system import System

ROAD = "autograd"
SCALES = (0.3, 1.0, 4.0)
"""The parameters and the boundary values are drawn at so many sizes."""
STEPS = (1, 4)
SLACK = 1e-9


class Normed(Ring):
    """Float64 with every norm."""

    def norm(self, x: Array, kind: str) -> Array:
        order: Any = {"": 2, "2": 2, "1": 1, "inf": numpy.inf, "F": "fro"}[kind]
        if not numpy.isfinite(x).all():
            raise Unevaluable("an entry is too large for float64")
        return numpy.array([[numpy.linalg.norm(numpy.asarray(x, dtype=float), order)]])


class Scaled(Unrolled):
    """A system whose parameters and boundary values are `scale` times as large."""

    def __init__(self, system: System, road: Road, size: Mapping[Any, int], seed: int, scale: float):
        self.scale = scale
        super().__init__(system, road, size, seed)

    def random(self, key: Key, shape: expr.Shape) -> Array:
        drawn = super().random(key, shape)
        variable = self.system.variables.get(key[0])
        free = variable is not None and variable.kind in ("parameter", "state")
        return drawn * self.scale if free and key[0] not in self._simplex else drawn


@dataclass(frozen=True)
class Measured:
    """At how many points it was measured, how near to equality it came (`lhs / rhs`), and where it failed."""

    points: int
    closest: float
    failure: Failure | None = None


def measure(
    relation: Relation, definitions: Mapping[str, Equals], truths: Sequence[Unrolled], hold: Sequence[str] = ()
) -> Measured:
    """`lhs ≤ rhs` at every point of the `truths`; other letters than the system's own stay on the side of the sources."""
    equation = Equals(put_in(relation.lhs, definitions), put_in(relation.rhs, definitions))
    points, closest = 0, 0.0
    for truth in truths:
        trial = Trial(truth.system, equation, hold=hold, ranges=_ranges(truth.system, equation))
        for env, left, right in _sides(trial, truth):
            points += 1
            closest = max(closest, left / right if right else (0.0 if left <= SLACK else numpy.inf))
            if left > right * (1 + SLACK) + SLACK:
                return Measured(points, closest, Failure(env, (0, 0), f"{left:.6g}", f"{right:.6g}"))
    return Measured(points, closest)


def samples(
    system: System, seed: int = 0, scales: Sequence[float] = SCALES, steps: Sequence[int] = STEPS
) -> list[Unrolled]:
    """The system over some numbers of steps, with weights of several sizes."""
    road = ROADS[ROAD]
    (size,) = sizes(system, road)
    with numpy.errstate(all="ignore"):
        return [
            Scaled(system, road, {**size, **lengths(system, count)}, seed, scale) for scale in scales for count in steps
        ]


def _sides(trial: Trial, truth: Unrolled) -> Iterator[tuple[dict[str, int], float, float]]:
    names, ring = trial.names(truth), Normed()
    for env in trial.points(truth):
        try:
            with numpy.errstate(all="ignore"):
                found = [evaluate(side, ring, names.read, {}, env, names.partial) for side in trial.equation.args]
        except (Outside, Unevaluable):
            continue
        left, right = (float(value.reshape(())) for value in found)
        yield env, left, right


def _ranges(system: System, equation: Equals) -> dict[Any, tuple[Any, Any]]:
    """A second letter of a derivative runs over the steps from which its first one is computed."""
    own, found = system.lattice.indices[0], {}
    backward = any(offset[0] > 0 for _, source, offset in system.reads if source in system.equations)
    for node in expr.walk(equation.lhs):
        if isinstance(node, expr.Partial):
            y, x = node.args[0].index[0], node.args[1].index[0]
            for letter in x.free_symbols - {own} - y.free_symbols:
                found[letter] = (y, system.lattice.lengths[0]) if backward and _runs_back(system, node) else (1, y)
        elif isinstance(node, expr.GradientOf) and node.args[0].index:
            s, t = node.args[0].index[0], node.args[1].index[0]
            for letter in s.free_symbols - {own, *system.lattice.lengths}:
                found[letter] = (1, t) if backward and _runs_back(system, node) else (t, system.lattice.lengths[0])
    return found


def _runs_back(system: System, node: Node) -> bool:
    """Whether the state below reads later values of itself or of others."""
    name = node.args[1].name  # type: ignore[attr-defined]
    return any(t == name or s == name for t, s, offset in system.reads if offset[0] > 0)


def put_in(root: Basic, definitions: Mapping[str, Equals]) -> Any:
    """`root` with the names that `definitions` explain replaced, at whatever index."""

    def leaf(part: Basic) -> Basic:
        line = definitions.get(part.name) if isinstance(part, Var) and not part.index else None
        if isinstance(part, Var) and part.index:
            line = definitions.get(f"{part.name}[]")
        if line is None:
            return part
        return expr.at(line.rhs, dict(zip(line.lhs.index, part.index, strict=True)))  # type: ignore[attr-defined]

    return expr.rewrite(root, leaf)


def defined(lines: Sequence[Basic], system: System) -> dict[str, Equals]:
    """The names that lines introduce, and that are none of the system's; an indexed one with `[]` after it."""
    found = {}
    for line in lines:
        if isinstance(line, Equals) and isinstance(line.lhs, Var) and line.lhs.name not in system.variables:
            found[f"{line.lhs.name}[]" if line.lhs.index else line.lhs.name] = line
    return found


def is_measurable(line: Basic, system: System, definitions: Mapping[str, Equals]) -> bool:
    """Whether a line is `lhs ≤ rhs` of norms of what the system has."""
    if not isinstance(line, Relation) or line.op != "<=" or system.lattice.dimension > 1:
        return False
    known = {*system.variables, *(name.removesuffix("[]") for name in definitions)}
    scalars = all(isinstance(side, Node) and expr.is_scalar(side) for side in line.args[1:])
    return scalars and all(v.name in known or v.marks for v in expr.variables(line))
