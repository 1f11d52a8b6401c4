"""Gradients of small systems whose adjoints reach beyond the lattice, against finite differences of `forward`."""

import numpy as np
import pytest
from test_emit_contract import Case, assert_gradients

from derive.system import System

SYSTEMS = {
    "a transposed matrix": "h[t] = tanh(U.T @ h[t-1] + x[t])",
    "two steps, transposed": "h[t] = tanh(U @ h[t-1] + U.T @ h[t-3] + x[t])",
    "a product inside a product": "h[t] = U @ (V @ tanh(h[t-1] + x[t]))",
    "a root of what comes next": "h[t] = sqrt(sigmoid(x[t+1]))",
    "a root at two steps": "h[t] = sqrt(0.5 + square(U @ x[t+2])) + U @ x[t-1]",
    "a transposed product inside": "h[t] = U @ tanh(V.T @ h[t-1] + x[t])",
}
SCALARS = {
    "a logarithm of a product": "h[t] = log(sigmoid(h[t-3] * h[t-2]) + 0.2 * square(x[t]))",
    "a quotient": "h[t] = (x[t] + h[t-2]) / (1.5 + square(h[t-3] * h[t-2]))",
}


def cells() -> dict[str, System]:
    vectors = {}
    for name, equation in SYSTEMS.items():
        parameters = " ".join(p for p in "UV" if p in equation)
        vectors[name] = System(
            "cell", equations=equation, inputs="x: n", parameters=parameters and f"{parameters}: n x n", shapes="h: n"
        )
    return vectors | {
        name: System("cell", equations=equation, inputs="x: scalar", shapes="h: scalar")
        for name, equation in SCALARS.items()
    }


CELLS = cells()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("T", "batch"), [(1, ()), (2, (3,)), (4, (1,))])
def test_boundary_values_have_the_slopes_of_forward(name: str, T: int, batch: tuple[int, ...]):
    case = Case(CELLS[name], T, batch)
    f = case.compiled()

    def value() -> float:
        found = f.forward(case.params, case.inputs, case.initial)
        return sum(float(np.sum(c * found[k])) for k, c in case.cotangents.items())

    assert_gradients(case, f.vjp(case.params, case.inputs, case.cotangents, case.initial), value)
