"""The emitted NumPy modules: against loops written by hand, finite differences, batches of one, both precisions, and ruff."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from derive import expr
from derive.catalogue import load, names
from derive.emit.numpy.gains import multiplied_out
from derive.errors import DeriveError
from derive.schedule import schedule
from derive.schedule.program import Assign, Sweep
from derive.system import System

SYSTEMS = (*names(), "mdrnn(3)", "mdlstm(3)", "stacked-lstm(3)")
SEED = 7


def arrays(system: System, kind: str, lead: tuple[int, ...], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random values for every variable of a kind; targets are distributions."""
    sizes = {str(d): 3 + k for k, d in enumerate(system.dimensions)}
    found = {}
    for v in system.of_kind(kind):
        shape = [sizes[str(s)] for s in v.shape if s != 1]
        front = lead if v.indexed else ()
        distribution = kind == "target"
        found[v.name] = (
            rng.dirichlet(np.ones(shape[0]), front) if distribution else rng.uniform(-1, 1, (*front, *shape))
        )
    return found


def lead_of(system: System, *batch: int) -> tuple[int, ...]:
    return (*((4,) if system.lattice.dimension == 1 else (2,) * system.lattice.dimension), *batch)


@pytest.mark.parametrize("name", SYSTEMS)
def test_gradients_agree_with_finite_differences(name):
    error = load(name).compile("numpy").module.check(SEED)
    assert error < 1e-7, f"{name}: {error} at seed {SEED}"


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_batch_is_its_samples_one_by_one(name):
    system, rng = load(name), np.random.default_rng(SEED)
    f, axis = system.compile("numpy"), system.lattice.dimension
    params, inputs = arrays(system, "parameter", (), rng), arrays(system, "input", lead_of(system, 3), rng)
    states = f.forward(params, inputs)
    output = system.outputs[0]
    cotangents = {output: rng.uniform(-1, 1, states[output].shape)}
    whole = f.vjp(params, inputs, cotangents)
    summed = dict.fromkeys(params, 0.0)
    for b in range(3):
        one = {k: np.take(v, b, axis) for k, v in inputs.items()}
        alone = f.forward(params, one)
        for state, value in alone.items():
            np.testing.assert_allclose(
                value, np.take(states[state], b, axis), atol=1e-12, err_msg=f"{name} {state} {SEED}"
            )
        gradients = f.vjp(params, one, {output: np.take(cotangents[output], b, axis)})
        summed = {k: summed[k] + gradients[k] for k in params}
        for x in inputs:
            np.testing.assert_allclose(
                gradients[x], np.take(whole[x], b, axis), atol=1e-12, err_msg=f"{name} {x} {SEED}"
            )
    for k in params:
        np.testing.assert_allclose(summed[k], whole[k], atol=1e-11, err_msg=f"{name} {k} {SEED}")


@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
@pytest.mark.parametrize("name", ["gru", "gru-before", "linear-rnn", "lstm", "lstm-coupled"])
def test_gradients_do_not_depend_on_how_many_steps_are_a_block(name, batch, monkeypatch):
    system, rng = load(name), np.random.default_rng(SEED)
    f = system.compile("numpy")
    params, inputs = arrays(system, "parameter", (), rng), arrays(system, "input", (7, *batch), rng)
    states = f.forward(params, inputs)
    cotangents = {output: rng.uniform(-1, 1, states[output].shape) for output in system.outputs}
    whole = f.vjp(params, inputs, cotangents)
    for rows in (1, 3 * int(np.prod(batch))):
        monkeypatch.setattr(f.module, "BLOCK", rows)
        found = f.vjp(params, inputs, cotangents)
        assert found.keys() == whole.keys()
        for key, value in whole.items():
            np.testing.assert_allclose(found[key], value, atol=1e-12, err_msg=f"{name} {key} {rows} rows {SEED}")


@pytest.mark.parametrize("name", ["lstm", "gru", "lstm-peephole", "stacked-lstm(3)"])
def test_a_gate_of_a_step_is_one_piece_of_memory(name):
    system, rng = load(name), np.random.default_rng(SEED)
    params, inputs = arrays(system, "parameter", (), rng), arrays(system, "input", (4, 3), rng)
    for state, value in system.compile("numpy").forward(params, inputs).items():
        assert all(step.flags.c_contiguous for step in value), f"{name} {state}: {value.strides}"


@pytest.mark.parametrize("name", [n for n in SYSTEMS if load(n).lattice.dimension == 1])
def test_no_error_is_a_known_multiple_of_another_in_its_stack(name):
    program = multiplied_out(schedule(load(name)))
    stack_of = {part.name: stack.name for stack in program.stacks for part in stack.parts}
    for sweep in (item for item in program.backward if isinstance(item, Sweep)):
        for made in (s for s in sweep.body if isinstance(s, Assign) and isinstance(s.value, expr.Had)):
            read = [v.name for v in made.value.args if isinstance(v, expr.Var) and v.name in sweep.names]
            others = [n for n in read if n in stack_of and stack_of[n] == stack_of.get(made.target.name)]
            assert not others, f"{name}: {made.target.name} is a multiple of {others}: {made.value}"


@pytest.mark.parametrize("name", [n for n in SYSTEMS if load(n).lattice.dimension == 1])
def test_a_batch_of_none_has_no_gradients_of_parameters(name):
    system, rng = load(name), np.random.default_rng(SEED)
    params, inputs = arrays(system, "parameter", (), rng), arrays(system, "input", lead_of(system, 0), rng)
    f = system.compile("numpy")
    output = system.outputs[0]
    found = f.vjp(params, inputs, {output: f.forward(params, inputs)[output]})
    assert all(not np.any(found[key]) and found[key].shape == value.shape for key, value in params.items()), found


@pytest.mark.parametrize("name", SYSTEMS)
def test_float32_stays_float32(name):
    system, rng = load(name), np.random.default_rng(SEED)
    f = system.compile("numpy", dtype="float32")
    params, inputs = arrays(system, "parameter", (), rng), arrays(system, "input", lead_of(system, 2), rng)
    states = f.forward(params, inputs)
    gradients = f.vjp(params, inputs, {system.outputs[0]: np.ones_like(states[system.outputs[0]])})
    wrong = {k: v.dtype for k, v in (states | gradients).items() if v.dtype != np.float32}
    assert not wrong
    if system.has_loss:
        loss, _ = f.value_and_grad(params, inputs, arrays(system, "target", lead_of(system, 2), rng))
        assert loss.dtype == np.float32


@pytest.mark.parametrize("name", [n for n in SYSTEMS if load(n).has_loss])
def test_the_loss_and_its_gradients(name):
    system, rng = load(name), np.random.default_rng(SEED)
    f, lead = system.compile("numpy"), lead_of(system, 2)
    params, inputs, targets = (arrays(system, kind, lead, rng) for kind in ("parameter", "input", "target"))
    _, gradients = f.value_and_grad(params, inputs, targets)
    for key, value in params.items():
        direction, step = rng.uniform(-1, 1, value.shape), 1e-6
        above, below = (
            f.value_and_grad(params | {key: value + s * direction}, inputs, targets)[0] for s in (step, -step)
        )
        slope, found = (above - below) / (2 * step), np.sum(gradients[key] * direction)
        assert abs(slope - found) < 1e-5 * (1 + abs(slope)), f"{name} {key}: {slope} against {found} at seed {SEED}"


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_module_stands_alone_and_passes_ruff(name, tmp_path):
    file = tmp_path / "module.py"
    file.write_text(load(name).compile("numpy").source, encoding="utf-8")
    ruff = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--select",
        "E,F,I,UP,B",
        "--line-length",
        "120",
        str(file),
    ]
    pytest.importorskip("ruff")
    found = subprocess.run(ruff, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    if name in ("gru", "mdlstm"):
        run = subprocess.run([sys.executable, "-I", str(file)], capture_output=True, text=True, check=True)
        assert "finite differences" in run.stdout
    assert "derive" not in [line.split()[1] for line in file.read_text().splitlines() if line.startswith("import ")]


def test_a_gru_by_hand():
    rng, n, m, steps = np.random.default_rng(SEED), 4, 3, 5
    gru = load("gru")
    p = {v.name: rng.uniform(-1, 1, [{"n": n, "m": m}[str(s)] for s in v.shape if s != 1]) for v in gru.parameters}
    x, h0 = rng.uniform(-1, 1, (steps, m)), rng.uniform(-1, 1, n)

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    h, expected = h0, []
    for t in range(steps):
        z = sigmoid(p["W_z"] @ x[t] + p["U_z"] @ h + p["b_z"])
        r = sigmoid(p["W_r"] @ x[t] + p["U_r"] @ h + p["b_r"])
        candidate = np.tanh(p["W_h"] @ x[t] + r * (p["U_h"] @ h + p["c_h"]) + p["b_h"])
        h = z * h + (1 - z) * candidate
        expected.append(h)
    found = gru.compile("numpy").forward(p, {"x": x}, {"h[0]": h0})["h"]
    np.testing.assert_allclose(found, expected, atol=1e-14)


@pytest.mark.parametrize("steps", [1, 2])
def test_fewer_steps_than_the_furthest_read(steps):
    system, rng = load("skip-rnn"), np.random.default_rng(SEED)
    f = system.compile("numpy")
    params, x = arrays(system, "parameter", (), rng), rng.uniform(-1, 1, (steps, 4))
    n = params["W"].shape[0]
    initial = {"h[0]": rng.uniform(-1, 1, n), "h[-1]": rng.uniform(-1, 1, n)}
    gradients = f.vjp(params, {"x": x}, {"h": np.ones((steps, n))}, initial)
    for key in initial:
        for entry in range(n):
            moved = {k: v.copy() for k, v in initial.items()}
            moved[key][entry] += 1e-6
            slope = (
                f.forward(params, {"x": x}, moved)["h"].sum() - f.forward(params, {"x": x}, initial)["h"].sum()
            ) / 1e-6
            assert abs(slope - gradients[key][entry]) < 1e-4, (key, entry, slope, gradients[key][entry])


@pytest.mark.parametrize("name", names())
def test_derived_systems_run(name):
    """The tangent of the adjoint holds Hessian-vector products: the difference of gradients along a direction."""
    system, rng = load(name), np.random.default_rng(SEED)
    base, joined = system.compile("numpy"), system.adjoint().tangent().compile("numpy")
    lead = lead_of(system, 2)
    kinds = {k: arrays(system, k, lead, rng) for k in ("parameter", "input", "target", "cotangent")}
    params, inputs, targets, cotangents = kinds.values()
    direction = {k: rng.uniform(-1, 1, v.shape) for k, v in params.items()}
    given = inputs | targets | cotangents
    given |= {f"{k}_dot": np.zeros_like(v) for k, v in given.items()}
    found = joined.forward(params | {f"{k}_dot": v for k, v in direction.items()}, given)

    def gradients(step: float) -> dict[str, np.ndarray]:
        moved = {k: params[k] + step * direction[k] for k in params}
        if system.has_loss:
            return base.value_and_grad(moved, inputs, targets)[1]
        return base.vjp(moved, inputs, {k.removesuffix("_ct"): v for k, v in cotangents.items()})

    above, below = gradients(1e-6), gradients(-1e-6)
    for key in params:
        slope = (above[key] - below[key]) / 2e-6
        np.testing.assert_allclose(found[f"{key}_bar_dot"], slope, atol=1e-6, err_msg=f"{name} {key} seed {SEED}")


def test_one_formula_is_a_documented_function():
    function = load("lstm").compile("numpy").function("dc[t]/dc[t-1]")
    assert "c_tm1" in inspect.signature(function).parameters
    assert "f_t  n" in function.__doc__
    rng, n = np.random.default_rng(SEED), 3
    values = {
        k: rng.uniform(0.1, 0.9, (n, n) if k.startswith("U_") else (n,)) for k in inspect.signature(function).parameters
    }
    v = values
    inner = sum(
        np.diag(left) @ v[u]
        for left, u in (
            (v["c_tm1"] * v["f_t"] * (1 - v["f_t"]), "U_f"),
            (v["g_t"] * v["i_t"] * (1 - v["i_t"]), "U_i"),
            (v["i_t"] * (1 - v["g_t"] ** 2), "U_g"),
        )
    )
    expected = np.diag(v["f_t"]) + inner @ np.diag(v["o_tm1"] * (1 - v["m_tm1"] ** 2))
    np.testing.assert_allclose(function(**values), expected, atol=1e-14)
    batched = {k: a if k.startswith("U_") else np.stack([a, a]) for k, a in values.items()}
    np.testing.assert_allclose(function(**batched)[1], expected, atol=1e-14)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda f, p, x: f.forward({k: v for k, v in p.items() if k != "U_z"}, x), "params lacks 'U_z'"),
        (lambda f, p, x: f.forward(p | {"b_z": np.ones(9)}, x), r"params\['b_z'\] has shape \(9,\)"),
        (lambda f, p, x: f.forward(p, {}), "inputs lacks 'x'"),
        (lambda f, p, x: f.vjp(p, x, {"hh": 1.0}), "no state .did you mean h"),
    ],
)
def test_what_is_given_wrongly_is_said(call, message):
    system, rng = load("gru"), np.random.default_rng(SEED)
    params, x = arrays(system, "parameter", (), rng), arrays(system, "input", (4,), rng)
    with pytest.raises(ValueError, match=message):
        call(system.compile("numpy"), params, x)


def test_backends_and_losses_that_are_not_there():
    with pytest.raises(DeriveError, match=r"no backend 'nump'.*did you mean numpy"):
        load("gru").compile("nump")
    with pytest.raises(DeriveError, match="left abstract; use vjp"):
        load("gru").compile("numpy").value_and_grad({}, {}, {})


def test_an_unknown_function_is_passed_in():
    system = System("cell", equations="h[t] = phi(W @ h[t-1] + x[t])", inputs="x: n", parameters="W", shapes="h: n")
    with pytest.raises(DeriveError, match="functions without a formula"):
        system.compile("numpy")
    from derive.emit import compile_system

    f = compile_system(system, functions={"phi": np.sin, "phi'": np.cos})
    rng = np.random.default_rng(SEED)
    params, x = {"W": rng.uniform(-1, 1, (3, 3))}, {"x": rng.uniform(-1, 1, (4, 3))}
    gradient = f.vjp(params, x, {"h": np.ones((4, 3))})["W"]
    moved = {"W": params["W"].copy()}
    moved["W"][0, 1] += 1e-6
    slope = (f.forward(moved, x)["h"].sum() - f.forward(params, x)["h"].sum()) / 1e-6
    assert abs(slope - gradient[0, 1]) < 1e-4


def test_the_example_of_the_readme_runs():
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    namespace: dict = {}
    for block in readme.split("```python\n")[1:]:
        exec(compile(block.split("```")[0], "README.md", "exec"), namespace)
