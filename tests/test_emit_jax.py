"""The emitted JAX modules: as NumPy's, under every transformation of JAX, on several devices, and by themselves."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_emit_contract import CELLS, RUFF, WITH_LOSS, Case

from derive import catalogue
from derive.errors import DeriveError
from derive.system import System

jax = pytest.importorskip("jax")
jnp = jax.numpy

DIAGONAL = System(
    "linear recurrence with a diagonal matrix",
    equations="h[t] = w * h[t-1] + W_x @ x[t]",
    inputs="x: m",
    parameters="w W_x",
    shapes="h: n",
)
CATALOGUE = {name: catalogue.load(name) for name in catalogue.names()}
UNUSUAL = (
    "a chain that runs ahead", "both ways", "a state that reads ahead", "learned border", "zero border", "inputs at other steps",
    "grid, from below right", "grid, given borders", "grid, learned borders", "matrix state with scalar gates",
    "row parameter", "quotients", "logarithms of gates", "awkward names", "gelu", "maxima",
    "plain sums across the border", "two places of a grid in the loss", "two steps in the loss, last",
)  # fmt: skip
SYSTEMS = {**CATALOGUE, **{n: {**CELLS, **WITH_LOSS}[n] for n in UNUSUAL}, "diagonal": DIAGONAL}
COMPILED: dict[str, Any] = {}


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """What is compiled here runs once."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def compiled(name: str) -> Any:
    if name not in COMPILED:
        COMPILED[name] = SYSTEMS[name].compile("jax")
    return COMPILED[name]


def assert_same(found: Any, wanted: Any, what: str, tolerance: float = 1e-10) -> None:
    assert set(found) == set(wanted), what
    for key, value in wanted.items():
        assert np.shape(found[key]) == np.shape(value), f"{what} {key}"
        np.testing.assert_allclose(found[key], value, rtol=tolerance, atol=tolerance, err_msg=f"{what} {key}, seed 0")


def of_outputs(case: Case) -> dict[str, np.ndarray]:
    return {name: case.cotangents[name] for name in case.system.outputs}


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_functions_are_those_of_numpy(name: str):
    case = Case(SYSTEMS[name])
    f, reference = compiled(name), SYSTEMS[name].compile("numpy")
    given = case.params, case.inputs
    assert_same(f.forward(*given, case.initial), reference.forward(*given, case.initial), f"{name} forward")
    cotangents = of_outputs(case)
    wanted = reference.vjp(*given, cotangents, case.initial)
    assert_same(f.vjp(*given, cotangents, case.initial), wanted, f"{name} vjp")
    if SYSTEMS[name].has_loss:
        loss, gradients = f.value_and_grad(*given, case.targets, case.initial)
        known, wanted = reference.value_and_grad(*given, case.targets, case.initial)
        assert abs(loss - known) < 1e-10, name
        assert_same(gradients, wanted, f"{name} value_and_grad")


@pytest.mark.parametrize("name", ["gru", "mdrnn", "linear-attention", "both ways", "row parameter"])
@pytest.mark.parametrize(("T", "batch"), [(1, ()), (2, (2, 2))])
def test_cotangents_of_every_state_on_short_chains_with_any_batch(name: str, T: int, batch: tuple[int, ...]):
    case = Case(SYSTEMS[name], T, batch)
    given = case.params, case.inputs, case.cotangents, case.initial
    assert_same(compiled(name).vjp(*given), SYSTEMS[name].compile("numpy").vjp(*given), name)


@pytest.mark.parametrize("name", ["irnn", "mdrnn", "logistic on a grid, last"])
def test_an_adjoint_runs_as_a_system_of_its_own(name: str):
    system = {**CATALOGUE, **WITH_LOSS}[name].adjoint()
    case = Case(system)
    kinds = system.of_kind("input", "target", "cotangent")
    known = {**case.inputs, **case.targets, **case.cotangents}
    rng = np.random.default_rng(0)
    shape = next(iter(case.inputs.values())).shape[:-1]
    inputs = {v.name: known.get(v.name, rng.normal(size=(*shape, 3))) for v in kinds}
    found, wanted = (system.compile(b).forward(case.params, inputs, case.initial) for b in ("jax", "numpy"))
    assert_same(found, wanted, name)


# --- transformations ----------------------------------------------------------------------------------------------------


def loss_of(function: Any, case: Case) -> Any:
    def loss(params: Any) -> Any:
        found = function(params, case.inputs, case.initial)
        return sum(jnp.sum(jnp.sin(found[name] + 0.1)) for name in case.system.outputs)

    return loss


@pytest.mark.parametrize("name", ["lstm", "birnn", "elman", "mdrnn", "minlstm", "row parameter"])
def test_jit_and_vmap_over_a_batch_are_a_batch(name: str):
    case, module, axis = Case(SYSTEMS[name], batch=(3,)), compiled(name).module.module, SYSTEMS[name].lattice.dimension
    cotangents = of_outputs(case)
    with jax.enable_x64(True):
        whole = jax.jit(module.vjp)(case.params, case.inputs, cotangents, case.initial)
        axes = (None, axis, axis, {key: np.ndim(value) - 2 for key, value in case.initial.items()})
        each = jax.jit(jax.vmap(module.vjp, axes))(case.params, case.inputs, cotangents, case.initial)
        whole, each = jax.tree.map(np.asarray, (whole, each))
    for key in case.params:
        np.testing.assert_allclose(each[key].sum(0), whole[key], rtol=1e-10, atol=1e-12, err_msg=f"{name} {key}")
    for key in case.inputs:
        np.testing.assert_allclose(np.moveaxis(each[key], 0, axis), whole[key], rtol=1e-10, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("name", ["gru", "elman", "mdrnn"])
def test_vmap_over_parameters_is_one_network_after_the_other(name: str):
    cases = [Case(SYSTEMS[name], seed=seed) for seed in (1, 2)]
    params = {key: np.stack([case.params[key] for case in cases]) for key in cases[0].params}
    vjp, given = compiled(name).module.module.vjp, (cases[0].inputs, of_outputs(cases[0]), cases[0].initial)
    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda p: vjp(p, *given)))(params))
    for k, case in enumerate(cases):
        assert_same({key: value[k] for key, value in found.items()}, compiled(name).vjp(case.params, *given), name)


@pytest.mark.parametrize("name", ["lstm", "jordan", "skip-rnn", "mdrnn", "mingru", "a chain that runs ahead"])
def test_the_gradient_of_a_users_loss_runs_the_derived_adjoint(name: str):
    case, module = Case(SYSTEMS[name]), compiled(name).module.module
    with jax.enable_x64(True):
        found = jax.jit(jax.grad(loss_of(module.states, case)))(case.params)
        wanted = jax.jit(jax.grad(loss_of(module.forward, case)))(case.params)
        assert "custom_vjp" in str(jax.make_jaxpr(loss_of(module.states, case))(case.params))
        assert "custom_vjp" not in str(jax.make_jaxpr(loss_of(module.forward, case))(case.params))
    assert_same(found, wanted, name)


@pytest.mark.parametrize("name", ["gru-before", "mdrnn", "mingru"])
def test_the_gradient_has_a_gradient(name: str):
    case, module = Case(SYSTEMS[name], T=2), compiled(name).module.module
    ones = {key: np.ones_like(value) for key, value in case.params.items()}

    def slope(function: Any) -> Any:
        def along(params: Any) -> Any:
            gradient = jax.grad(loss_of(function, case))(params)
            return sum(jnp.sum(gradient[key] * ones[key]) for key in ones)

        return jax.jit(jax.grad(along))

    with jax.enable_x64(True):
        assert_same(slope(module.states)(case.params), slope(module.forward)(case.params), name, 1e-9)


@pytest.mark.parametrize(
    "name", ["mingru", "minlstm", "linear-attention", "diagonal", "matrix state with scalar gates"]
)
def test_a_recurrence_that_is_linear_entry_by_entry_is_a_parallel_scan(name: str):
    source = compiled(name).source
    assert source.count("lax.associative_scan(") == 1
    assert "lax.scan(" not in source


@pytest.mark.parametrize("name", ["gru", "second order, no activation", "linear-rnn"])
def test_others_are_scanned(name: str):
    source = {**SYSTEMS, **CELLS}[name].compile("jax").source
    assert "associative_scan" not in source
    assert "lax.scan(" in source


def test_the_sweeps_of_a_grid_are_waves():
    assert "skewed(" in compiled("mdrnn").source
    assert compiled("mdrnn").source.count("lax.scan(") == 2


# --- numbers, errors, files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["elman", "mdrnn", "mingru"])
def test_check_compares_with_finite_differences(name: str):
    assert compiled(name).module.check() < 1e-6


def test_a_wrong_gradient_does_not_pass_the_check():
    source = compiled("mingru").source
    wrong = source.replace('"b_z": b_z_bar', '"b_z": 1.1 * b_z_bar')
    assert wrong != source
    module: dict[str, Any] = {}
    exec(wrong, module)
    assert module["check"]() > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_the_one_that_was_asked_for_and_the_settings_stay(dtype: str):
    before = jax.config.read("jax_enable_x64")
    case = Case(SYSTEMS["mingru"], dtype=dtype)
    f = SYSTEMS["mingru"].compile("jax", dtype)
    gradients = f.vjp(case.params, case.inputs, of_outputs(case), case.initial)
    assert {str(g.dtype) for g in gradients.values()} == {dtype}
    assert jax.config.read("jax_enable_x64") == before


@pytest.mark.parametrize("name", ["mingru", "mdrnn", "lstm-peephole"])
def test_float32_stays_float32_where_64_bits_are_switched_on(name: str):
    case = Case(SYSTEMS[name], dtype="float32")
    f = SYSTEMS[name].compile("jax", "float32")
    with jax.enable_x64(True):
        gradients = f.vjp(case.params, case.inputs, of_outputs(case), case.initial)
    assert {str(g.dtype) for g in gradients.values()} == {"float32"}


def test_a_wrong_shape_is_the_same_sentence_as_numpys_also_when_it_is_traced():
    case = Case(SYSTEMS["elman"])
    params = {**case.params, "b_h": np.ones(7)}
    said = []
    for backend in ("jax", "numpy"):
        with pytest.raises(ValueError) as error:
            SYSTEMS["elman"].compile(backend).forward(params, case.inputs)
        said.append(str(error.value))
    assert said[0] == said[1]
    with pytest.raises(ValueError, match="params lacks 'b_h'"):
        jax.jit(compiled("elman").module.module.forward)({k: v for k, v in params.items() if k != "b_h"}, case.inputs)


def test_without_jax_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    import derive.emit.jax

    monkeypatch.setattr(derive.emit.jax, "find_spec", lambda name: None)
    with pytest.raises(DeriveError, match='the backend "jax" needs JAX, which is not installed: pip install jax'):
        SYSTEMS["elman"].compile("jax")


@pytest.mark.skipif(util.find_spec("ruff") is None, reason="ruff is not installed")
def test_the_modules_pass_ruff_and_need_nothing_but_jax(tmp_path: Path):
    from derive.emit.jax import Module
    from derive.schedule import schedule

    for k, system in enumerate({**SYSTEMS, **WITH_LOSS}.values()):
        text = Module(schedule(system, None, False)).source()
        imported = {
            line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))
        }
        assert imported <= {"difflib", "math", "jax", "numpy"}, system.name
        (tmp_path / f"module_{k}.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", RUFF, "--line-length", "120", str(tmp_path)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


# --- several devices ------------------------------------------------------------------------------------------------------

DEVICES = """
    import os
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax, numpy as np
    from functools import partial

    jax.config.update("jax_enable_x64", True)
    module = {}
    exec(open("module.py").read(), module)
    P = jax.P
    rng = np.random.default_rng(0)
    sizes = dict(n=3, m=4, T=5, I=3, J=3)
    def draw(shapes, batch=(4,)):
        axes = {k: [x for l in s.split() for x in (batch if l == "..." else (sizes[l],))] for k, s in shapes.items()}
        return {k: rng.normal(size=a) for k, a in axes.items()}
    params, inputs, cotangents, initial = map(draw, (module[k] for k in ("PARAMETERS", "INPUTS", "COTANGENTS", "INITIAL")))
    wanted = module["vjp"](params, inputs, cotangents, initial)

    def spec(shapes):
        return {k: P(*("batch" if l == "..." else None for l in s.split())) for k, s in shapes.items()}

    given = tuple(spec(module[k]) for k in ("PARAMETERS", "INPUTS", "COTANGENTS", "INITIAL"))
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    out = given[0] | given[1] | given[3]

    @jax.jit
    @partial(jax.shard_map, mesh=mesh, in_specs=given, out_specs=out, check_vma=False)
    def mapped(params, inputs, cotangents, initial):
        gradients = module["vjp"](params, inputs, cotangents, initial)
        return gradients | {k: jax.lax.psum(gradients[k], "batch") for k in params}

    def compare(found, what):
        for k, v in wanted.items():
            np.testing.assert_allclose(found[k], v, rtol=1e-10, atol=1e-12, err_msg=f"{what} {k}")

    compare(mapped(params, inputs, cotangents, initial), "shard_map")

    place = lambda arrays, specs: {k: jax.device_put(v, jax.NamedSharding(mesh, specs[k])) for k, v in arrays.items()}
    sharded = [place(a, s) for a, s in zip((params, inputs, cotangents, initial), given)]
    found = jax.jit(module["vjp"])(*sharded)
    compare(found, "jit")
    assert len(found["x"].sharding.device_set) == 2, found["x"].sharding

    batch = jax.NamedSharding(mesh, given[1]["x"])
    seed = list(module["COTANGENTS"])[0]
    loss = lambda params, inputs: (module["states"](params, inputs)[seed] ** 2).sum()
    alone = jax.grad(loss)(params, inputs)
    both = jax.jit(jax.grad(loss))(params, jax.device_put(inputs, batch))
    for k in params:
        np.testing.assert_allclose(both[k], alone[k], rtol=1e-10, atol=1e-12, err_msg=k)
    print(len(jax.devices()), "devices")
"""


@pytest.mark.parametrize("name", ["gru"])
def test_a_batch_on_two_devices_has_the_gradients_of_one(name: str, tmp_path: Path):
    (tmp_path / "module.py").write_text(compiled(name).source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DEVICES)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "2 devices\n"
