"""The emitted NumPy code: forward against loops written by hand, gradients against finite differences and autograd."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from derive import catalogue
from derive.emit import BACKENDS, compile_system
from derive.errors import DeriveError
from derive.system import LOSS, System

Arrays = dict[str, np.ndarray]
DIMENSIONS = {"n": 3, "m": 4, "p": 2, "q": 5}


RUFF = "E,F,I,UP,B"


def cell(equations: str, **options: Any) -> System:
    """With `h: n` where the equations leave a shape open."""
    equations = "\n".join(line.strip() for line in equations.splitlines())
    try:
        return System("cell", equations=equations, **options)
    except DeriveError as error:
        if "shapes='" not in str(error):
            raise
        return System("cell", equations=equations, **{"shapes": "h: n", **options})


CELLS: dict[str, System] = {
    "second order, no activation": cell("h[t] = W @ h[t-2] + a * h[t-1] + x[t]", inputs="x", parameters="W, a: n"),
    "plain sums across the border": cell("h[t] = h[t-1] + h[t-2] + h[t-3] + tanh(x[t])", inputs="x: n"),
    "a state that reads ahead": cell(
        "u[t] = a * x[t]\n h[t] = z[t] * h[t-1] + u[t+1]\n z[t] = sigmoid(W @ x[t])",
        inputs="x: n", parameters="a, W", shapes="h: n",
    ),
    "backward chain": cell("h[t] = tanh(W @ x[t] + U @ h[t+1] + b)", inputs="x: m", parameters="W U b", shapes="h: n"),
    "both ways": cell(
        "f[t] = tanh(U @ f[t-1] + x[t])\n g[t] = tanh(V @ g[t+2] + f[t-1])", inputs="x: n", parameters="U V"
    ),
    "two chains, one step apart": cell(
        "g[t] = tanh(A @ h[t-1] + x[t])\n h[t] = tanh(B @ g[t-1] + C @ h[t-2])", inputs="x: n", parameters="A B C"
    ),
    "a chain that runs ahead": cell("g[t] = tanh(A @ h[t+1] + x[t])\n h[t] = B @ g[t-2]", inputs="x: n", parameters="A B"),
    "inputs at other steps": cell(
        "h[t] = tanh(W @ x[t-1] + V @ x[t+1] + U @ h[t-1])", inputs="x: m", parameters="W V U", shapes="h: n"
    ),
    "grid, corner": cell(
        "h[i,j] = tanh(W @ x[i,j] + U @ h[i-1,j] + V @ h[i,j-1] + R @ h[i-1,j-1])",
        inputs="x: m", parameters="W U V R", shapes="h: n",
    ),
    "grid, from below right": cell("h[i,j] = tanh(x[i,j] + U @ h[i+1,j] + V @ h[i,j+1])", inputs="x: n", parameters="U V"),
    "grid, given borders": cell(
        "h[i,j] = tanh(x[i,j] + U @ h[i-1,j] + V @ h[i,j-1])", inputs="x: n", parameters="U V", boundary={"h": "given"}
    ),
    "grid, learned borders": cell(
        "h[i,j] = tanh(x[i,j] + U @ h[i-1,j] + V @ h[i,j-1])", inputs="x: n", parameters="U V", boundary={"h": "learned"}
    ),
    "learned border": cell(
        "h[t] = tanh(x[t] + U @ h[t-1] + V @ h[t-2])", inputs="x: n", parameters="U V", boundary={"h": "learned"}
    ),
    "zero border": cell("h[t] = tanh(x[t] + U @ h[t-1])", inputs="x: n", parameters="U", boundary={"h": "zero", "x": "zero"}),
    "matrix state with scalar gates": cell(
        "f[t] = sigmoid(w.T @ x[t] + b)\n i[t] = exp(u.T @ x[t])\n C[t] = f[t] * C[t-1] + i[t] * (V @ x[t]) @ (K @ x[t]).T\n"
        "y[t] = tanh(C[t]) @ (Q @ x[t])",
        inputs="x: m", parameters="w u: m, b: scalar, V: p x m, K: n x m, Q",
    ),
    "matrix algebra": cell(
        "C[t] = A @ C[t-1] @ B + diag(W @ x[t])\n y[t] = C[t].T @ x[t] + sum(C[t]) * (W @ x[t])\n s[t] = x[t].T @ C[t] @ y[t]",
        inputs="x: n", parameters="A B W: n x n",
    ),
    "row parameter": cell(
        "a[t] = sigmoid(w @ x[t] + c * a[t-1])\n h[t] = a[t] * h[t-1] + (1 - a[t]) * x[t]",
        inputs="x: m", parameters="w: 1 x m, c: scalar",
    ),
    "scalars only": cell("a[t] = tanh(w * a[t-1] + x[t])", inputs="x: scalar", parameters="w: scalar", shapes="a: scalar"),
    "softmax inside": cell(
        "p[t] = softmax(W @ h[t-1] + x[t])\n h[t] = layer_norm(V @ p[t] + h[t-1])\n s[t] = log_sum_exp(h[t])",
        inputs="x: n", parameters="W V",
    ),
    "quotients": cell("h[t] = x[t] / (1 + square(h[t-1])) + 1 / (2 + sqrt(x[t] * x[t] + 0.1))", inputs="x: n"),
    "logarithms of gates": cell(
        "g[t] = 1 + sigmoid(W @ x[t] + U @ h[t-1])\n h[t] = log(g[t]) + h[t-1] / g[t]",
        inputs="x: m", parameters="W U", shapes="h: n",
    ),
    "maxima": cell("h[t] = max(W @ h[t-1], x[t]) + min(h[t-1], 0.5) + abs(x[t])", inputs="x: n", parameters="W"),
    "numbers": cell("h[t] = 0.1 * h[t-1] + x[t] / 3 - 2 * W @ x[t] + 1", inputs="x: n", parameters="W"),
    "awkward names": cell(
        "n[t] = tanh(W @ l[t] + values @ n[t-1] + dtype)\n batch[t] = n[t] * n[t-1] * range[t]\n np[t] = outer[t] + batch[t]\n"
        "outer[t] = I @ n[t]\n sigmoid[t] = tanh(np[t])",
        inputs="l: m, range: n", parameters="W values dtype I",
    ),
    "a fixed size": cell("h[t] = tanh(W @ x[t] + U @ h[t-1])", inputs="x: 2", parameters="W: 3 x 2, U"),
}  # fmt: skip
for name in ("leaky_relu", "elu", "softplus", "silu", "gelu", "hard_sigmoid", "hard_tanh", "exp", "square", "identity"):
    CELLS[name] = cell(f"h[t] = {name}(W @ x[t] + 0.3 * h[t-1])", inputs="x: m", parameters="W", shapes="h: n")

WITH_LOSS: dict[str, System] = {
    "last step": cell(
        "h[t] = tanh(W @ h[t-1] + x[t])", inputs="x: n", parameters="W", targets="y: n",
        loss="squared_error(h[t], y[t])", loss_at="last",
    ),
    "logistic on a grid, last": cell(
        "h[i,j] = tanh(W @ h[i-1,j] + V @ h[i,j-1] + x[i,j])", inputs="x: n", parameters="W V", targets="y: n",
        loss="logistic(h[i,j], y[i,j])", loss_at="last",
    ),
    "parameters and inputs in the loss": cell(
        "h[t] = tanh(W @ h[t-1] + x[t])", inputs="x: n", parameters="W, v: n", targets="y: n",
        loss="squared_error(h[t] + v, y[t]) + 0.1 * sum(W * W) + sum(x[t] * v)",
    ),
    "two steps in the loss": cell(
        "h[t] = tanh(W @ h[t-1] + x[t])", inputs="x: n", parameters="W", targets="y: n",
        loss="squared_error(h[t] - h[t-1], y[t])",
    ),
    "two steps in the loss, last": cell(
        "h[t] = tanh(W @ h[t-1] + x[t])", inputs="x: n", parameters="W", targets="y: n",
        loss="squared_error(h[t] - h[t-2], y[t])", loss_at="last",
    ),
    "a sum, two steps in the loss": cell(
        "h[t] = h[t-1] + x[t]", inputs="x: n", targets="y: n", loss="squared_error(h[t] - h[t-1], y[t])",
    ),
    "inputs at two steps in the loss": cell(
        "h[t] = tanh(x[t] + h[t-1])", inputs="x: n", targets="y: n", loss="squared_error(h[t] - x[t-1], y[t+1] * x[t])",
    ),
    "two places of a grid in the loss": cell(
        "h[i,j] = tanh(W @ h[i-1,j] + V @ h[i,j-1] + x[i,j])", inputs="x: n", parameters="W V", targets="y: n",
        loss="squared_error(h[i,j] - h[i-1,j], y[i,j])", boundary={"h": "learned"},
    ),
    "teacher forcing": cell(
        "h[t] = tanh(U @ h[t-1] + V @ y[t-1] + x[t])\n o[t] = W @ h[t]", inputs="x: n", parameters="U V W", shapes="o: q",
        targets="y: q", loss="cross_entropy(o[t], y[t])",
    ),
}  # fmt: skip
CATALOGUE = {name: catalogue.load(name) for name in catalogue.names()}
SYSTEMS = {**CATALOGUE, **CELLS}
BATCHES = [(), (2,), (2, 3)]


def lengths(system: System, T: int) -> dict[str, int]:
    return {str(length): T + k for k, length in enumerate(system.lattice.lengths)}


def shape_of(system: System, name: str) -> tuple[int, ...]:
    """The last axes of a variable as its array has them."""
    shape = system.variables[name].shape
    sizes = [int(s) if s.is_Integer else DIMENSIONS[str(s)] for s in shape]
    return () if shape == (1, 1) else tuple(sizes[:1]) if shape[1] == 1 else tuple(sizes)


def border_axes(system: System, border: Any, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The axes of the lattice along which a border runs."""
    return tuple(sizes[str(n)] for side, n in zip(border.sides, system.lattice.lengths, strict=True) if not side.depth)


class Case:
    """A system with random numbers for all that it reads."""

    def __init__(
        self, system: System, T: int = 3, batch: tuple[int, ...] = (2,), seed: int = 0, dtype: str = "float64"
    ):
        rng = np.random.default_rng(seed)

        def draw(*shape: int) -> np.ndarray:
            return np.asarray(0.6 * rng.normal(size=shape), dtype)

        self.system, self.batch, sizes = system, batch, lengths(system, T)
        lattice = tuple(sizes.values())
        self.params = {v.name: draw(*shape_of(system, v.name)) for v in system.parameters}
        self.inputs = {v.name: draw(*lattice, *batch, *shape_of(system, v.name)) for v in system.inputs}
        self.targets = {v.name: draw(*lattice, *batch, *shape_of(system, v.name)) for v in system.of_kind("target")}
        self.initial: Arrays = {}
        for border in system.borders:
            axes, shape = border_axes(system, border, sizes), shape_of(system, border.variable)
            if system.boundary[border.variable] == "learned":
                self.params[border.key] = draw(*axes, *shape)
            else:
                self.initial[border.key] = draw(*axes, *batch, *shape)
        self.cotangents = {
            v.name: draw(*lattice, *batch, *shape_of(system, v.name)) for v in system.states if v.name != LOSS
        }

    @property
    def given(self) -> Arrays:
        """What has a gradient."""
        targets = self.system.of_kind("target")
        keys = {k: v for k, v in self.initial.items() if k.partition("[")[0] not in {t.name for t in targets}}
        return {**self.params, **self.inputs, **keys}

    def compiled(self, **options: Any) -> Any:
        return compile_system(self.system, **options)

    def sample(self, at: tuple[int, ...]) -> Case:
        """One sample of the batch."""
        single = Case(self.system, batch=())
        d = self.system.lattice.dimension
        single.params = self.params
        for name in ("inputs", "targets", "cotangents"):
            setattr(single, name, {k: v[(slice(None),) * d + at] for k, v in getattr(self, name).items()})
        depths = {b.key: sum(not s.depth for s in b.sides) for b in self.system.borders}
        single.initial = {k: v[(slice(None),) * depths[k] + at] for k, v in self.initial.items()}
        return single


def finite_differences(value: Callable[[], float], array: np.ndarray, step: float = 1e-5) -> np.ndarray:
    slopes = np.zeros_like(array)
    for entry in np.ndindex(*array.shape):
        before = array[entry]
        array[entry] = before + step
        above = value()
        array[entry] = before - step
        slopes[entry] = (above - value()) / (2 * step)
        array[entry] = before
    return slopes


def assert_gradients(case: Case, gradients: Arrays, value: Callable[[], float]) -> None:
    assert set(gradients) == set(case.given)
    for name, array in case.given.items():
        assert gradients[name].shape == array.shape, name
        wanted = finite_differences(value, array)
        np.testing.assert_allclose(gradients[name], wanted, rtol=1e-6, atol=1e-7, err_msg=name)


# --- gradients ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize(("T", "batch"), [(1, ()), (3, (2,))])
def test_vjp_is_the_slope_of_forward(name: str, T: int, batch: tuple[int, ...]):
    case = Case(SYSTEMS[name], T, batch)
    f = case.compiled()

    def value() -> float:
        found = f.forward(case.params, case.inputs, case.initial)
        return sum(float((c * found[k]).sum()) for k, c in case.cotangents.items())

    assert_gradients(case, f.vjp(case.params, case.inputs, case.cotangents, case.initial), value)


@pytest.mark.parametrize("name", [*(n for n, s in CATALOGUE.items() if s.has_loss), *WITH_LOSS])
@pytest.mark.parametrize(("T", "batch"), [(1, ()), (3, (2,))])
def test_value_and_grad_is_the_loss_and_its_slope(name: str, T: int, batch: tuple[int, ...]):
    case = Case({**CATALOGUE, **WITH_LOSS}[name], T, batch)
    f = case.compiled()

    def value() -> float:
        return float(f.value_and_grad(case.params, case.inputs, case.targets, case.initial)[0])

    loss, gradients = f.value_and_grad(case.params, case.inputs, case.targets, case.initial)
    assert np.ndim(loss) == 0
    assert_gradients(case, gradients, value)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_batch_is_its_samples_one_by_one(name: str):
    case = Case(SYSTEMS[name], batch=(2, 3))
    f, d = case.compiled(), SYSTEMS[name].lattice.dimension
    whole = f.forward(case.params, case.inputs, case.initial)
    gradients = f.vjp(case.params, case.inputs, case.cotangents, case.initial)
    summed = {k: np.zeros_like(v) for k, v in case.params.items()}
    for at in np.ndindex(2, 3):
        one = case.sample(at)
        for key, values in f.forward(one.params, one.inputs, one.initial).items():
            np.testing.assert_allclose(whole[key][(slice(None),) * d + at], values, rtol=1e-12, atol=1e-13, err_msg=key)
        for key, values in f.vjp(one.params, one.inputs, one.cotangents, one.initial).items():
            if key in summed:
                summed[key] += values
            elif key in case.inputs:
                np.testing.assert_allclose(gradients[key][(slice(None),) * d + at], values, rtol=1e-10, atol=1e-12)
    for key, total in summed.items():
        np.testing.assert_allclose(gradients[key], total, rtol=1e-10, atol=1e-11, err_msg=key)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_float32_stays_float32(name: str, batch: tuple[int, ...]):
    case = Case(SYSTEMS[name], batch=batch, dtype="float32")
    f = case.compiled(dtype="float32")
    found = f.forward(case.params, case.inputs, case.initial)
    gradients = f.vjp(case.params, case.inputs, case.cotangents, case.initial)
    assert {k: v.dtype for k, v in {**found, **gradients}.items() if v.dtype != np.float32} == {}
    reference = Case(SYSTEMS[name], batch=batch)
    exact = reference.compiled().forward(reference.params, reference.inputs, reference.initial)
    for key, values in exact.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", SYSTEMS)
def test_gradients_are_those_of_autograd(name: str):
    pytest.importorskip("autograd")
    from derive.check import emitted_error
    from derive.oracles import ROADS

    assert emitted_error(SYSTEMS[name], ROADS["autograd"], 0) < 1e-9


@pytest.mark.parametrize("name", SYSTEMS)
def test_no_gradient_is_part_of_another(name: str):
    """Who clips one in place must not change the next."""
    case = Case(SYSTEMS[name])
    found = [*case.compiled().vjp(case.params, case.inputs, case.cotangents, case.initial).values()]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(found) for b in found[:i])
    assert not any(np.shares_memory(a, b) for a in found for b in case.given.values())


def test_float32_arrays_stay_float32_unless_asked_otherwise():
    case = Case(CATALOGUE["lstm"], dtype="float32")
    f = case.compiled()
    found = f.vjp(case.params, case.inputs, {"h": case.cotangents["h"].astype("float64")}, case.initial)
    assert {v.dtype for v in found.values()} == {np.dtype("float32")}
    rounded = Case(CATALOGUE["lstm"]).compiled(dtype="float32").forward(case.params, case.inputs, case.initial)
    assert {v.dtype for v in rounded.values()} == {np.dtype("float32")}


def test_lists_and_integers_count_as_float64():
    f = compile_system(
        cell("h[t] = tanh(w * h[t-1] + x[t])", inputs="x: scalar", parameters="w: scalar", shapes="h: scalar")
    )
    found = f.forward({"w": 1}, {"x": [1, 0, 2]})["h"]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[1], np.tanh(np.tanh(1)))


def test_cotangents_left_out_are_zero_and_none_are_needed():
    case = Case(CATALOGUE["lstm"])
    f = case.compiled()
    zero = {k: np.zeros_like(v) for k, v in case.cotangents.items()}
    only_h = {"h": case.cotangents["h"]}
    for given, full in ((only_h, {**zero, **only_h}), ({}, zero)):
        a = f.vjp(case.params, case.inputs, given, case.initial)
        b = f.vjp(case.params, case.inputs, full, case.initial)
        for key in b:
            np.testing.assert_allclose(a[key], b[key], rtol=1e-12, atol=1e-14)


def test_boundary_values_left_out_are_zero():
    case = Case(CATALOGUE["skip-rnn"])
    f = case.compiled()
    zero = {k: np.zeros_like(v) for k, v in case.initial.items()}
    np.testing.assert_array_equal(
        f.forward(case.params, case.inputs)["h"], f.forward(case.params, case.inputs, zero)["h"]
    )
    gradients = f.vjp(case.params, case.inputs, case.cotangents)
    assert gradients["h[0]"].shape == gradients["h[-1]"].shape == (2, 3)


@pytest.mark.parametrize("T", [1, 2, 3])
def test_no_nan_comes_from_beyond_the_border(T: int):
    """At `T + 1` the quotient would be 0 / 0; its adjoint there is zero, whatever the quotient is."""
    for name in ("quotients", "logarithms of gates"):
        case = Case(CELLS[name], T)
        with np.errstate(all="raise"):
            gradients = case.compiled().vjp(case.params, case.inputs, case.cotangents, case.initial)
        assert all(np.isfinite(g).all() for g in gradients.values())


# --- forward, by hand -----------------------------------------------------------------------------------------------------


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def by_hand(name: str) -> Callable[[Arrays, Arrays, Arrays, int], Arrays]:
    return {"gru": gru, "skip-rnn": skip_rnn, "birnn": birnn, "mdrnn": mdrnn, "linear-attention": linear_attention}[
        name
    ]


def gru(p: Arrays, x: Arrays, initial: Arrays, T: int) -> Arrays:
    h, hs = initial["h[0]"], []
    for t in range(T):
        z = sigmoid(p["W_z"] @ x["x"][t] + p["U_z"] @ h + p["b_z"])
        r = sigmoid(p["W_r"] @ x["x"][t] + p["U_r"] @ h + p["b_r"])
        h = z * h + (1 - z) * np.tanh(p["W_h"] @ x["x"][t] + r * (p["U_h"] @ h + p["c_h"]) + p["b_h"])
        hs.append(h)
    return {"h": np.stack(hs)}


def skip_rnn(p: Arrays, x: Arrays, initial: Arrays, T: int) -> Arrays:
    hs = [initial["h[-1]"], initial["h[0]"]]
    for t in range(T):
        hs.append(sigmoid(p["W"] @ hs[-1] + p["M"] @ hs[-2] + p["U"] @ x["x"][t]))
    return {"h": np.stack(hs[2:])}


def birnn(p: Arrays, x: Arrays, initial: Arrays, T: int) -> Arrays:
    forward, backward = initial["h_fwd[0]"], initial["h_bwd[T+1]"]
    fs, bs = [], []
    for t in range(T):
        forward = np.tanh(p["W_fwd"] @ x["x"][t] + p["U_fwd"] @ forward + p["b_fwd"])
        backward = np.tanh(p["W_bwd"] @ x["x"][T - 1 - t] + p["U_bwd"] @ backward + p["b_bwd"])
        fs.append(forward)
        bs.insert(0, backward)
    return {"o": np.stack([p["V_fwd"] @ f + p["V_bwd"] @ b + p["b_o"] for f, b in zip(fs, bs, strict=True)])}


def mdrnn(p: Arrays, x: Arrays, initial: Arrays, T: int) -> Arrays:
    rows, columns = x["x"].shape[:2]
    h = np.zeros((rows + 1, columns + 1, len(p["b"])))
    for i in range(rows):
        for j in range(columns):
            a = p["W"] @ x["x"][i, j] + p["U_1"] @ h[i, j + 1] + p["U_2"] @ h[i + 1, j] + p["b"]
            h[i + 1, j + 1] = np.tanh(a)
    return {"h": h[1:, 1:]}


def linear_attention(p: Arrays, x: Arrays, initial: Arrays, T: int) -> Arrays:
    S, states, outputs = initial["S[0]"], [], []
    for t in range(T):
        S = S + np.outer(p["W_v"] @ x["x"][t], p["W_k"] @ x["x"][t])
        states.append(S)
        outputs.append(S @ (p["W_q"] @ x["x"][t]))
    return {"S": np.stack(states), "y": np.stack(outputs)}


@pytest.mark.parametrize("name", ["gru", "skip-rnn", "birnn", "mdrnn", "linear-attention"])
@pytest.mark.parametrize("T", [1, 4])
def test_forward_is_the_loop_written_by_hand(name: str, T: int):
    case = Case(CATALOGUE[name], T, batch=())
    found = case.compiled().forward(case.params, case.inputs, case.initial)
    for key, values in by_hand(name)(case.params, case.inputs, case.initial, T).items():
        np.testing.assert_allclose(found[key], values, rtol=1e-12)


# --- systems that were derived ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gru", "skip-rnn", "birnn", "mdrnn", "linear-attention"])
def test_the_adjoint_system_runs_forward_to_the_gradients(name: str):
    case = Case(CATALOGUE[name])
    (output,) = case.system.outputs
    cotangent = case.cotangents[output]
    adjoint = compile_system(case.system.adjoint())
    found = adjoint.forward(case.params, {**case.inputs, f"{output}_ct": cotangent}, case.initial)
    wanted = case.compiled().vjp(case.params, case.inputs, {output: cotangent}, case.initial)
    for key in (*case.params, *case.inputs):
        np.testing.assert_allclose(found[f"{key}_bar"], wanted[key], rtol=1e-10, atol=1e-12)


def test_the_tangent_of_the_adjoint_is_a_hessian_vector_product():
    case = Case(CATALOGUE["gru"])
    cotangent = {"h_ct": case.cotangents["h"]}
    other = Case(CATALOGUE["gru"], seed=1)
    f = compile_system(case.system.adjoint().tangent())
    directions = {f"{k}_dot": v for k, v in other.params.items()}
    still = {"x_dot": np.zeros_like(case.inputs["x"]), "h_ct_dot": np.zeros_like(cotangent["h_ct"])}
    found = f.forward({**case.params, **directions}, {**case.inputs, **cotangent, **still}, case.initial)
    step, g = 1e-5, compile_system(case.system)

    def gradient(k: float) -> Arrays:
        moved = {name: v + k * other.params[name] for name, v in case.params.items()}
        return g.vjp(moved, case.inputs, {"h": cotangent["h_ct"]}, case.initial)

    above, below = gradient(step), gradient(-step)
    for name in case.params:
        slope = (above[name] - below[name]) / (2 * step)
        np.testing.assert_allclose(found[f"{name}_bar_dot"], slope, rtol=1e-5, atol=1e-7, err_msg=name)


# --- the source ---------------------------------------------------------------------------------------------------------


def source_of(system: System) -> str:
    return compile_system(system).source


@pytest.mark.parametrize("name", [*SYSTEMS, *WITH_LOSS])
def test_source_passes_ruff(name: str, tmp_path):
    pytest.importorskip("ruff")
    path = tmp_path / "module.py"
    path.write_text(source_of({**SYSTEMS, **WITH_LOSS}[name]), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        f"--select={RUFF}",
        "--line-length=120",
        str(path),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + path.read_text()


@pytest.mark.parametrize("name", ["gru", "rnn", "mdlstm", "linear-attention", "birnn"])
def test_source_runs_by_itself(name: str, tmp_path):
    path = tmp_path / "module.py"
    path.write_text(source_of(CATALOGUE[name]), encoding="utf-8")
    done = subprocess.run([sys.executable, "-I", str(path)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "" and done.stdout.strip()
    assert "derive" not in path.read_text().replace("Written by derive", "")
    spec = importlib.util.spec_from_file_location("module", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.check() < 1e-6
    case = Case(CATALOGUE[name])
    cotangents = {key: case.cotangents[key] for key in module.COTANGENTS}
    wanted = case.compiled().vjp(case.params, case.inputs, cotangents, case.initial)
    found = module.vjp(case.params, case.inputs, cotangents, case.initial)
    for key, value in wanted.items():
        np.testing.assert_array_equal(found[key], value)


def test_source_reads_as_the_equations_do():
    source = source_of(CATALOGUE["gru"])
    assert "Cho et al. 2014" in source
    assert "h_t = z_t ⊙ h_{t-1} + (1 - z_t) ⊙ h̃_t" in source
    for function in ("forward", "vjp", "check"):
        assert f"def {function}(" in source
    assert "def value_and_grad(" in source_of(CATALOGUE["rnn"])


def test_a_title_cannot_break_out_of_the_docstring():
    nasty = System(
        "nasty", equations="h[t] = x[t]", inputs="x: n", title='"""; import os \\', reference="\\N{x} ''' \""
    )
    assert compile_system(nasty).forward({}, {"x": np.ones((1, 2))})["h"].shape == (1, 2)


# --- one formula --------------------------------------------------------------------------------------------------------


def test_function_is_the_jacobian():
    case = Case(CATALOGUE["gru"], T=1, batch=(2,))
    f = case.compiled()
    jacobian = f.function("dh[t]/dh[t-1]")
    states = f.forward(case.params, case.inputs, case.initial)
    known = {**case.params, **{f"{k}_t": v[0] for k, v in states.items()}, "x_t": case.inputs["x"][0]}
    known["h_tm1"] = case.initial["h[0]"]
    import inspect

    names = list(inspect.signature(jacobian).parameters)
    assert set(names) <= set(known)
    found = jacobian(**{name: known[name] for name in names})
    assert found.shape == (2, 3, 3)
    for row in range(3):
        seed = np.zeros((1, 2, 3))
        seed[..., row] = 1
        wanted = f.vjp(case.params, case.inputs, {"h": seed}, case.initial)["h[0]"]
        np.testing.assert_allclose(found[:, row], wanted, rtol=1e-10, atol=1e-12)
    one = jacobian(**{name: known[name] if name in case.params else known[name][1] for name in names})
    np.testing.assert_allclose(one, found[1], rtol=1e-12)
    for part in (*names, "n x n", "dh[t]/dh[t-1]"):
        assert part in jacobian.__doc__


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_one_step_jacobian_is_a_function(name: str):
    system = CATALOGUE[name]
    f = compile_system(system)
    reads = {(s, o) for _, s, o in system.reads if any(o) and s in system.equations}
    for source, offset in reads:
        if system.variables[source].shape[1] == 1:
            at = system.lattice.point
            assert callable(f.function(f"d{source}[{at()}]/d{source}[{at(offset)}]"))


# --- what the user gets wrong -------------------------------------------------------------------------------------------


def call_gru(method: str = "forward", **changes: Any) -> Any:
    case = Case(CATALOGUE["gru"])
    given = {"params": case.params, "inputs": case.inputs, "initial": case.initial, "cotangents": case.cotangents}
    for what, entries in changes.items():
        given[what] = {k: v for k, v in {**given[what], **entries}.items() if v is not None}
    if method == "forward":
        given.pop("cotangents")
    return getattr(case.compiled(), method)(**given)


@pytest.mark.parametrize(
    ("method", "changes", "parts"),
    [
        ("forward", {"params": {"U_z": None}}, ["params", "U_z", "(n, n)"]),
        ("forward", {"params": {"U_z": None, "Uz": np.zeros((3, 3))}}, ["U_z", "Uz", "did you mean"]),
        ("forward", {"params": {"U_z": np.zeros((3, 4))}}, ["U_z", "(n, n)", "(3, 4)"]),
        ("forward", {"params": {"b_z": np.zeros((3, 1))}}, ["b_z", "(n)", "(3, 1)"]),
        ("forward", {"inputs": {"x": None}}, ["inputs", "x", "(T, ..., m)"]),
        ("forward", {"inputs": {"x": np.zeros((3, 2, 7))}}, ["x", "(T, ..., m)", "(3, 2, 7)", "m = 4"]),
        ("forward", {"inputs": {"x": np.zeros(4)}}, ["x", "(T, ..., m)", "(4,)"]),
        ("forward", {"initial": {"h[0]": np.zeros(3)}}, ["initial", "h[0]", "(..., n)", "(3,)"]),
        ("forward", {"initial": {"h0": np.zeros(3)}}, ["initial", "h0", "h[0]"]),
        ("vjp", {"cotangents": {"h_tidle": np.zeros((3, 2, 3))}}, ["cotangents", "h_tidle", "did you mean h_tilde"]),
        ("vjp", {"cotangents": {"h": np.zeros((4, 2, 3))}}, ["cotangents", "h", "(T, ..., n)", "(4, 2, 3)", "T = 3"]),
    ],
)
def test_bad_input_is_one_sentence(method: str, changes: dict[str, Any], parts: list[str]):
    with pytest.raises(ValueError) as caught:
        call_gru(method, **changes)
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_value_and_grad_without_a_loss_says_to_use_vjp():
    case = Case(CATALOGUE["gru"])
    with pytest.raises(DeriveError, match="use vjp"):
        case.compiled().value_and_grad(case.params, case.inputs, {})


def test_unknown_backends_and_dtypes_are_named():
    with pytest.raises(DeriveError, match=r"no backend 'numppy' \(did you mean numpy\?\).* numpy"):
        compile_system(CATALOGUE["gru"], "numppy")
    with pytest.raises(DeriveError, match="float32"):
        compile_system(CATALOGUE["gru"], dtype="float33")
    assert "numpy" in BACKENDS


def test_an_unknown_function_is_given_by_the_caller():
    system = cell("h[t] = phi(W @ h[t-1] + x[t])", inputs="x: n", parameters="W")
    with pytest.raises(DeriveError, match="phi"):
        compile_system(system)
    case = Case(system)
    f = case.compiled(functions={"phi": np.sin, "phi'": np.cos})

    def value() -> float:
        return float((f.forward(case.params, case.inputs, case.initial)["h"] * case.cotangents["h"]).sum())

    assert_gradients(case, f.vjp(case.params, case.inputs, case.cotangents, case.initial), value)


def test_a_system_without_inputs_is_told_its_length():
    system = cell("h[t] = tanh(W @ h[t-1])", parameters="W: n x n")
    case = Case(system, batch=(2,))
    found = case.compiled().forward(case.params, {"T": 3}, case.initial)
    assert found["h"].shape == (3, 2, 3)
    for call in (case.compiled().forward, lambda p, x: case.compiled().vjp(p, x, {})):
        with pytest.raises(ValueError, match="inputs lacks 'T', a number of steps"):
            call(case.params, {})
