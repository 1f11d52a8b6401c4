"""Small systems whose adjoints reach beyond the lattice, against finite differences; random ones, against their text."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from random_cases import Mismatch, mismatches
from random_systems import Drawn, drawn
from test_emit_contract import Case, assert_gradients

from derive.emit.compiled import Compiled
from derive.errors import DeriveError
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


NAMED = System(
    "cell",
    equations="""
        h[t] = tanh(gradients @ memory[t] + parameters @ h[t-1] + values + room[t] * loss)
        o[t] = half * h[t] + one
        p[t] = sigmoid(o[t])
    """,
    inputs="memory: m, room: n", parameters="gradients parameters values loss half one", shapes="h: n", outputs="p",
    targets="total: n", loss="squared_error(o[t], total[t])",
)  # fmt: skip
GATED = System(
    "cell",
    equations="""
        o[t] = R @ h[t-1]
        h[t] = sigmoid(tanh(z @ h[t-1] + half)) * h[t-2] + sigmoid(o[t]) * tanh(A @ h[t-1] + B @ h[t-1] + r + x[t])
        e[t] = tanh(sum(a) * h[t])
    """,
    inputs="x: n",
    parameters="z: 1 x n, half: scalar, R: n x n, A: n x n, B: n x n, r: n, a: m", shapes="h: n", outputs="e",
)  # fmt: skip


@pytest.mark.parametrize("backend", ["numpy", "c"])
@pytest.mark.parametrize("name", ["named", "gated"])
def test_names_and_halves_mean_what_they_say(name: str, backend: str):
    """Variables called as the emitters' own; a pre-activation that is a state; scratch side by side in a loop."""
    system = {"named": NAMED, "gated": GATED}[name]
    assert system.compile(backend).module.check(3) < 1e-6
    wanted = system.compile("numpy")
    case = Case(system, 3, (2,))
    found = system.compile(backend).forward(case.params, case.inputs, case.initial)
    for key, value in wanted.forward(case.params, case.inputs, case.initial).items():
        np.testing.assert_allclose(found[key], value, rtol=1e-9, atol=1e-12, err_msg=key)
    if name == "gated":
        np.testing.assert_allclose(found["o"][1], found["h"][0] @ case.params["R"].T, rtol=1e-9)


@pytest.mark.parametrize("backend", ["numpy", "c"])
@pytest.mark.parametrize("loss_at", ["every", "last"])
def test_a_loss_whose_slope_is_written_with_its_value(backend: str, loss_at: str):
    """And without targets: `tanh' = 1 - tanh²`."""
    system = System(
        "cell", equations="h[t] = tanh(W @ h[t-1] + x[t])", inputs="x: n", parameters="W, k: 1 x n, m: scalar", shapes="h: n",
        loss="tanh(k @ h[t] + m)", loss_at=loss_at,
    )  # fmt: skip
    assert system.compile(backend).module.check(3) < 1e-6


# --- random systems -----------------------------------------------------------------------------------------------------


NARROW: dict[str, dict[str, object]] = {
    "a turned product two steps ahead": {"equations": "h[t] = U.T @ x[t-2]", "inputs": "x: n", "parameters": "U: n x n"},
    "a product of a product one step ahead": {
        "equations": "h[t] = U @ (U @ x[t-1])", "inputs": "x: n", "parameters": "U: n x n",
    },
    "products of two steps": {
        "equations": "h[t] = U @ (v.T @ (V @ x[t-1]).T @ (V @ x[t]))", "inputs": "x: n",
        "parameters": "v: 1 x m, V: n x n, U: n x m",
    },
    "products of a product ahead": {
        "equations": "h[t] = U @ ((U.T @ tanh(U @ h[t+2])) + g * h[t+2])", "inputs": "", "parameters": "U: n x n, g: scalar",
    },
    "four factors beside one": {
        "equations": "h[t] = sigmoid(x[t] * h[t-4]) * h[t-1] + x[t] * h[t-4]", "inputs": "x: n", "parameters": "",
    },
    "a product that a stack and the results share": {
        "equations": "h[i,j] = U @ x[i,j]\nk[i,j] = V @ softplus(W @ x[i,j])", "inputs": "x: m",
        "parameters": "U: n x m, W: m x m, V: n x m", "shapes": "h: n, k: n",
    },
    "a cotangent two rows away": {"equations": "h[i,j] = x[i-2,j]", "inputs": "x: n", "parameters": ""},
    "stacked products on a grid": {
        "equations": "h[i,j] = sigmoid(sigmoid(U @ x[i,j]))\nk[i,j] = c - tanh(V @ x[i,j])", "inputs": "x: n",
        "parameters": "U: m x n, V: m x n, c: scalar", "shapes": "h: m, k: m",
    },
    "a stack of which a part shares its place": {
        "equations": "h[i,j] = U @ x[i,j]\nk[i,j] = V @ softplus(W @ x[i,j])", "inputs": "x: m",
        "parameters": "U: n x m, W: m x m, V: n x m", "shapes": "h: n, k: n",
    },
    "roots beside the border of a grid": {
        "equations": "h[i,j] = tanh(x[i,j])\nk[i,j] = sqrt(0.5 + square(h[i-1,j-1]))", "inputs": "x: n", "parameters": "",
        "shapes": "h: n, k: n", "boundary": {"h": "learned"},
    },
    "columns and rows in one statement": {
        "equations": "k[t] = U @ y[t]\nh[t] = v.T * tanh(sum(k[t]) * (y[t] - silu(h[t-3])))\n"
        "y[t] = (1 - sigmoid(c)) * tanh(sigmoid(y[t-4]) * y[t-4] - silu(h[t-6]))",
        "inputs": "", "parameters": "U: m x n, v: 1 x n, c: scalar", "shapes": "k: m, h: n, y: n",
    },
    "a scalar state": {"equations": "h[t] = h[t-1]", "inputs": "", "parameters": "", "shapes": "h: scalar"},
    "a state of parameters only": {"equations": "h[t] = U @ v", "inputs": "x: n", "parameters": "U: n x m, v: m"},
    "a sum that is spread": {
        "equations": "h[t] = U @ ((U.T @ (sum(h[t-1]) * h[t-1])) + v)", "inputs": "", "parameters": "U: n x m, v: m",
    },
    "a gate that is a scalar": {"equations": "h[t] = (1 - g[t]) * x[t]", "inputs": "x: n, g: scalar", "parameters": ""},
    "functions of numbers": {
        "equations": "h[t] = sigmoid(c - c) * h[t-2] + log_sum_exp(max(c, c)) * x[t]", "inputs": "x: n",
        "parameters": "c: scalar",
    },
    "borders that a short lattice does not reach": {
        "equations": "h[t] = tanh(U @ x[t+1]) * tanh(V @ x[t+2])", "inputs": "x: m", "parameters": "U: n x m, V: n x m",
    },
    "a learned scalar": {
        "equations": "h[t] = tanh(h[t-1] + sum(x[t]))", "inputs": "x: n", "parameters": "", "shapes": "h: scalar",
        "boundary": {"h": "learned"},
    },
    "names of libraries, and of what a module carries": {
        "equations": "carried[t] = tanh(jnp @ carried[t-1] + torch * x[t] + k)\n"
        "lax[t] = sigmoid(A @ carried[t]) * tanh(B @ carried[t]) + sigmoid(C @ carried[t]) * total * k",
        "inputs": "x: n", "parameters": "jnp: n x n, torch: n, A: n x n, B: n x n, C: n x n, total: scalar, k: n",
        "shapes": "carried: n, lax: n",
    },
}  # fmt: skip
"""Systems that a backend was wrong about, each reduced to what it was wrong about."""


def narrow(name: str) -> Drawn:
    blank = {"shapes": "h: n", "targets": "", "boundary": {}, "loss": "", "loss_at": "every", "seed": 1}
    return Drawn(**{**blank, **NARROW[name]})


def shown(found: list[Mismatch]) -> str:
    return "\n\n".join(map(str, found[:3]))


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("name", NARROW)
def test_what_was_once_wrong(name: str, backend: str):
    pytest.importorskip(backend)
    found = mismatches(narrow(name), backend, [(1, ()), (4, (3,))])
    assert not found, shown(found)


@pytest.mark.parametrize("name", ["a state of parameters only", "a sum that is spread"])
def test_what_was_once_wrong_in_loops(name: str):
    found = mismatches(narrow(name), "c", [(1, ()), (4, (3,))])
    assert not found, shown(found)


@pytest.mark.parametrize("name", [*NARROW][-3:])
def test_what_was_once_wrong_in_jax(name: str):
    pytest.importorskip("jax")
    found = mismatches(narrow(name), "jax", [(1, ()), (4, (3,))], every_way=False)
    assert not found, shown(found)


@pytest.mark.parametrize("backend", ["numpy", "c", "torch", "jax"])
def test_a_size_that_no_array_tells(backend: str):
    pytest.importorskip({"c": "numpy"}.get(backend, backend))
    told = narrow("a learned scalar").system().compile(backend)
    assert np.shape(told.forward({"h[0]": np.ones(())}, {"x": np.ones((2, 3))})["h"]) == (2,)
    by_border = System("cell", equations="h[t] = tanh(h[t-1] + sum(x[t]))", inputs="x: m", shapes="h: n")
    f = by_border.compile(backend)
    with pytest.raises(ValueError, match=r"initial lacks 'h\[0\]', of shape \(..., n\)"):
        f.forward({}, {"x": np.ones((2, 3))})
    assert np.shape(f.forward({}, {"x": np.ones((2, 3))}, {"h[0]": np.ones(4)})["h"]) == (2, 4)
    by_nothing = System(
        "cell", equations="h[t] = tanh(h[t-1] + sum(x[t]))", inputs="x: m", shapes="h: n", boundary={"h": "zero"}
    )
    with pytest.raises(DeriveError, match="the size n of h stands in no array that would be given"):
        by_nothing.compile(backend)


SEEDS = {
    "numpy": range(1000, 1025),
    "c": (1000, 1003, 1004, 1005, 1007, 1008, 1013, 1014, 1016, 1018),
    "torch": range(1000, 1005),
    "jax": (1000, 1003, 1004),
}


@pytest.mark.parametrize(("backend", "seed"), [(backend, seed) for backend, seeds in SEEDS.items() for seed in seeds])
def test_a_random_system_is_what_its_text_says(backend: str, seed: int):
    """`benchmarks/fuzz_emit.py` goes on where this ends."""
    pytest.importorskip({"c": "numpy"}.get(backend, backend))
    found = mismatches(drawn(seed), backend, [(1, ()), (4, (2,))], every_way=backend == "numpy")
    assert not found, shown(found)


def test_a_wrong_gradient_is_found(monkeypatch: pytest.MonkeyPatch):
    right = Compiled.vjp

    def wrong(self: Compiled, *given: object, **how: object) -> dict[str, np.ndarray]:
        return {name: 1.001 * array for name, array in right(self, *given, **how).items()}

    monkeypatch.setattr(Compiled, "vjp", wrong)
    first = mismatches(drawn(1000), "numpy", [(4, ())])[0]
    assert first.call.startswith("vjp of carried")
    assert all(part in str(first) for part in ("seed 1000", "and should be", "carried[t] ="))


def test_a_system_that_fails_is_reduced():
    spec = importlib.util.spec_from_file_location(
        "fuzz_emit", Path(__file__).parent.parent / "benchmarks" / "fuzz_emit.py"
    )
    assert spec is not None and spec.loader is not None
    fuzz_emit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz_emit)
    smaller = fuzz_emit.reduced(drawn(0), lambda system: "index @" in system.equations, 20)
    assert (smaller.equations, smaller.parameters) == ("lax[t] = index @ lax[t]", "index: p x p")
