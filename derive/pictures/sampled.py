"""Random parameters and inputs for what a picture measures, drawn from a seed.

Recurrent matrices, those that stand on a cycle of reads, are `scale` times a random orthogonal matrix, so that each has
spectral norm `scale`; all other matrices are normal with variance 1/columns, vectors normal with standard deviation 0.1,
inputs, targets and cotangents standard normal, boundary values zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from derive import expr
from derive.errors import DeriveError, did_you_mean
from derive.expr import Node, Var
from derive.partials import table
from derive.pictures.dependencies import Link, lanes, reads
from derive.system import System

UNITS, OTHERS = 16, 8
"""The size of the state that is measured, and of every other dimension."""
SPREAD = 0.1


@dataclass(frozen=True)
class Draw:
    """One choice of all that a system is given; `steps` is its length along every axis."""

    params: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    cotangents: dict[str, np.ndarray]
    """of a loss that is left abstract"""
    steps: int


def draw(
    system: System, state: str, scale: float, steps: int, seed: int, where: Mapping[str, float] | None = None
) -> Draw:
    """Parameters and inputs for `steps` steps; the same inputs, and the same directions of the matrices, at every scale.

    `where`: parameters every entry of which has the given value.  Raises `DeriveError` for a name that is no parameter.
    """
    rng = np.random.default_rng(seed)
    recurrent = recurrent_matrices(system)
    params = {
        v.name: _parameter(rng, shape(system, state, v.name), scale, v.name in recurrent) for v in system.parameters
    }
    for name, value in (where or {}).items():
        if name not in params:
            raise DeriveError(
                f"{name} is no parameter of {system.name}{did_you_mean(name, params)}; they are {', '.join(params)}"
            )
        params[name] = np.full_like(params[name], value)
    size = (steps,) * system.lattice.dimension
    inputs, cotangents = (
        {v.name: rng.standard_normal((*size, *_lean(shape(system, state, v.name)))) for v in system.of_kind(*kinds)}
        for kinds in (("input", "target"), ("cotangent",))
    )
    return Draw(params, inputs, cotangents, steps)


@cache
def compiled(system: System) -> Any:
    """The emitted code of a system."""
    return system.compile()


def values(system: System, state: str, draw: Draw) -> Callable[[Var, tuple[int, ...]], np.ndarray]:
    """What a formula reads of a draw: a parameter, or a variable at a point, by the emitted code; zero beyond the border."""
    around = {**draw.inputs, **draw.cotangents, **compiled(system).forward(draw.params, draw.inputs)}

    def read(var: Var, at: tuple[int, ...]) -> np.ndarray:
        size = shape(system, state, var.name)
        if any(i < 1 for i in at):
            return np.zeros(size)
        return np.reshape(around[var.name][tuple(i - 1 for i in at)] if at else draw.params[var.name], size)

    return read


@cache
def compiled_adjoint(system: System, output: str) -> Any:
    """The emitted code of the adjoint recurrences, for a cotangent of `output` at every point."""
    return system.with_cotangents(output).adjoint().compile()


def direction(system: System, state: str, output: str, steps: int, at: int, seed: int) -> np.ndarray:
    """A cotangent of `output` that is zero but at the point `at` (along every axis), where it has length one."""
    dimension = system.lattice.dimension
    found = np.zeros(((steps,) * dimension) + _lean(shape(system, state, output)))
    here = np.random.default_rng((seed, 1)).standard_normal(found[(at,) * dimension].shape)
    found[(at,) * dimension] = here / np.sqrt((here**2).sum())
    return found


@cache
def sizes(system: System, state: str) -> dict[Any, int]:
    """A number for every dimension: `UNITS` for those of `state`."""
    measured = {s for size in system.variables[state].shape for s in size.free_symbols}
    return {d: UNITS if d in measured else OTHERS for d in system.dimensions}


@cache
def _shapes(system: System, state: str) -> dict[str, tuple[int, ...]]:
    numbers = sizes(system, state)
    return {name: tuple(int(size.subs(numbers)) for size in v.shape) for name, v in system.variables.items()}


def shape(system: System, state: str, name: str) -> tuple[int, int]:
    """The numbers of rows and columns of a variable."""
    rows, columns = _shapes(system, state)[name]
    return rows, columns


def _lean(shape: tuple[int, int]) -> tuple[int, ...]:
    """A column is an array with one axis, a scalar one with none."""
    return shape if shape[1] > 1 else shape[:1] if shape[0] > 1 else ()


def _parameter(rng: np.random.Generator, shape: tuple[int, int], scale: float, recurrent: bool) -> np.ndarray:
    normal = rng.standard_normal(_lean(shape))
    if shape[1] == 1:
        return SPREAD * normal
    if not recurrent:
        return normal / np.sqrt(shape[1])
    left, _, right = np.linalg.svd(normal, full_matrices=False)
    return scale * (left @ right)


def recurrent_matrices(system: System) -> tuple[str, ...]:
    """The matrices among the parameters that multiply what comes around a cycle of reads."""
    links = reads(system)
    around = [set(lane) for lane in lanes(list(system.equations), links) if any(_inside(k, lane) for k in links)]
    found: dict[str, None] = {}
    for entry in table(system):
        lane = any({entry.target.name, entry.source.name} <= lane for lane in around)
        if lane and entry.offset is not None and entry.map.is_matrix:
            found.update(dict.fromkeys(v.name for v in _factors(entry.map.jacobian()) if v.shape[1] != 1))
    return tuple(n for n in found if system.variables[n].kind == "parameter")


def _inside(link: Link, lane: list[str]) -> bool:
    return link.target in lane and link.source in lane


def _factors(node: Node) -> Iterator[Var]:
    """The variables that are factors of a product or of the terms of a sum."""
    if isinstance(node, Var):
        yield node
    elif isinstance(node, (expr.Add, expr.Mul, expr.Scale, expr.Transpose)):
        for part in node.args:
            if isinstance(part, Node):
                yield from _factors(part)
