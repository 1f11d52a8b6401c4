"""The bound beside a measured curve: the result of `bound dh[t]/dh[k]`, with the norms of what was drawn put in."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from sympy import Basic

from derive import expr
from derive.errors import DeriveError
from derive.evaluate import Ring, evaluate
from derive.expr import Node, Var
from derive.pictures.dependencies import backwards
from derive.pictures.sampled import Draw, sizes
from derive.system import System

FIRST = "k"
"""The index of the point that is computed first."""


def bound(system: System, above: str, below: str, draw: Draw) -> np.ndarray | None:
    """`‖∂above_s/∂below_k‖₂` is at most this at the distances 0, 1, … (nan at 0); None where no bound is known."""
    formula = _formula(system, above, below)
    if formula is None:
        return None
    norms = tuple(_norm(node, draw) for node in _norms(formula))
    return np.array([np.nan, *_values(system, below, formula, norms, draw.steps)])


@lru_cache(maxsize=64)
def _formula(system: System, above: str, below: str) -> Node | None:
    """The bound as a formula in norms of what the system is given."""
    if system.lattice.dimension > 1:
        return None
    own = system.lattice.indices[0]
    try:
        found = system.derive(f"bound d{above}[{own}]/d{below}[{FIRST}]")
    except DeriveError:
        return None
    if not isinstance(found.expr, Node):
        return None
    names: dict[Node, Node] = {}
    for line in (line for step in found.steps for line in step.lines if isinstance(line, expr.Equals)):
        if isinstance(line.lhs, Var) and not line.lhs.index and line.lhs.name not in system.variables:
            names[line.lhs] = line.rhs
    return expr.replace(found.expr, names)  # type: ignore[no-any-return]


def _norms(formula: Node) -> list[Node]:
    """The norms in it, and the absolute values of numbers."""
    return [node for node in expr.walk(formula) if isinstance(node, expr.Norm) or _is_absolute(node)]


def _is_absolute(node: Basic) -> bool:
    return isinstance(node, expr.Apply) and node.function == "abs"


def _norm(node: Node, draw: Draw) -> float:
    """The norm of a parameter that was drawn; boundary values are zero."""
    (var,) = expr.variables(node)
    if var.index:
        return 0.0
    array = draw.params[var.name]
    if array.ndim == 0 or _is_absolute(node):
        return float(np.abs(array).max())
    return float(np.linalg.norm(array, np.inf if node.kind == "inf" else 2))  # type: ignore[attr-defined]


@lru_cache(maxsize=256)
def _values(system: System, below: str, formula: Node, norms: tuple[float, ...], steps: int) -> tuple[float, ...]:
    """The formula at the distances 1, 2, …: every norm in it is a number."""
    numbers = [Var(f"norm_{k}", (), (), *expr.SCALAR) for k in range(len(norms))]
    known = {var.name: np.array([[value]]) for var, value in zip(numbers, norms, strict=True)}
    named: dict[Basic, Node] = dict(zip(_norms(formula), numbers, strict=True))
    plain = expr.replace(formula, named)
    own, last = str(system.lattice.indices[0]), str(system.lattice.lengths[0])
    found = []
    for distance in range(1, steps):
        later, earlier = (1, 1 + distance) if backwards(system, below) else (1 + distance, 1)
        point = {own: later, FIRST: earlier, last: steps}
        value = evaluate(plain, Ring(), lambda v, _: known[v.name], point, sizes(system, below))
        found.append(float(value[0, 0]))
    return tuple(found)
