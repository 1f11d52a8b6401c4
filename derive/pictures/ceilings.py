"""The bound beside a measured curve: the result of `bound dh[t]/dh[k]`, with the numbers of the draw put in."""

from __future__ import annotations

import numpy as np
from sympy import Basic

from derive import expr
from derive.errors import DeriveError
from derive.evaluate import Ring, evaluate
from derive.expr import Node, Var
from derive.pictures.sampled import Draw, sizes
from derive.system import System


def bound(system: System, above: str, below: str, draw: Draw) -> np.ndarray | None:
    """`‖∂above_T/∂below_t‖₂` is at most this, for the distances 1, 2, … (and nan at 0); None where no bound is known."""
    found = _formula(system, above, below)
    if found is None:
        return None
    own = str(system.lattice.indices[0])
    values = [_value(system, below, found, draw, {own: 1 + k, "k": 1}) for k in range(1, draw.steps)]
    return np.array([np.nan, *values])


def _formula(system: System, above: str, below: str) -> Node | None:
    if system.lattice.dimension > 1:
        return None
    own = system.lattice.indices[0]
    try:
        result = system.derive(f"bound d{above}[{own}]/d{below}[k]").expr
    except DeriveError:
        return None
    return result if isinstance(result, Node) else None


def _value(system: System, state: str, formula: Node, draw: Draw, index: dict[str, int]) -> float:
    """The formula's value, every matrix norm in it the spectral norm of the matrix that was drawn."""
    known: dict[str, float] = {}

    def leaf(node: Basic) -> Basic:
        if isinstance(node, expr.Norm) and isinstance(node.args[0], Var) and node.args[0].name in draw.params:
            name = f"norm_{node.args[0].name}"
            known[name] = float(np.linalg.norm(draw.params[node.args[0].name], 2))
            return Var(name, (), (), *expr.SCALAR)
        return node

    rewritten = expr.rewrite(formula, leaf)
    value = evaluate(rewritten, Ring(), lambda v, _: np.array([[known[v.name]]]), index, sizes(system, state))
    return float(value[0, 0])
