"""Loops under numba: as plain Python against the NumPy module for every system, compiled for a few, since that takes seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_emit_c import MORE, SYSTEMS, worst
from test_emit_contract import Case

from derive.catalogue import load
from derive.emit import compile_system
from derive.emit import numba as backend
from derive.emit.compiled import Compiled
from derive.errors import DeriveError
from derive.system import System

numba = pytest.importorskip("numba")
SEED = 13
KNOWN = {**SYSTEMS, **MORE}


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of the loops is Python: as such it runs without being compiled."""
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)


def compare(ours: Compiled, system: System, case: Case, tolerance: float, at: str) -> None:
    numpys = compile_system(system)
    inputs = {**case.inputs, **{k: v for k, v in case.targets.items() if k in numpys.module.INPUTS}}
    states, wanted = (f.forward(case.params, inputs, case.initial) for f in (ours, numpys))
    assert worst(states, wanted) < tolerance, at
    given = case.params, inputs, {n: case.cotangents[n] for n in numpys.seeds}, case.initial
    assert worst(ours.vjp(*given), numpys.vjp(*given)) < tolerance, at
    if system.has_loss:
        given = case.params, case.inputs, case.targets, case.initial
        (loss, gradients), (known, wanted) = ours.value_and_grad(*given), numpys.value_and_grad(*given)
        assert abs(loss - known) < tolerance * (1 + abs(known)), at
        assert worst(gradients, wanted) < tolerance, at


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("name", KNOWN)
def test_the_loops_as_plain_python_are_numpy(name: str):
    system = KNOWN[name]
    ours = compile_system(system, "numba")
    for length, batch in ((1, ()), (2, (2, 3)), (4, (2,))):
        case = Case(system, length, batch, SEED)
        compare(ours, system, case, 1e-12, f"{name}, {length} steps, batch {batch}, seed {SEED}")


@pytest.mark.parametrize(("name", "dtype"), [("lstm", "float32"), ("mdrnn", "float64"), ("last step", "float64")])
def test_compiled_loops_are_numpy(name: str, dtype: str):
    """An LSTM, a grid, a system with a loss; once for each type, whatever the arrays are like."""
    system, tolerance = KNOWN[name], {"float32": 1e-5, "float64": 1e-12}[dtype]
    ours, case = compile_system(system, "numba", dtype), Case(system, 3, (2,), SEED)
    for array in case.inputs.values():
        array.flags.writeable = False
    compare(ours, system, case, tolerance, f"{name}, {dtype}, seed {SEED}")
    found = ours.vjp(case.params, {k: v[:, 0] for k, v in case.inputs.items()} if name != "mdrnn" else case.inputs, {})
    assert {array.dtype for array in found.values()} == {np.dtype(dtype)}
    for function in vars(ours.module).values():
        if isinstance(function, numba.core.dispatcher.Dispatcher) and function.__name__.endswith("_loops"):
            assert len(function.signatures) == 1, f"{function.__name__} was compiled twice: {function.signatures}"
    if dtype == "float32":
        assert not list(doubles(ours.module)), "computed in float64"


def doubles(module: Any) -> Any:
    """The variables of compiled loops that are float64."""
    for name, function in vars(module).items():
        for compiled in getattr(function, "overloads", {}).values():
            types = compiled.type_annotation.typemap if compiled.type_annotation else {}
            named = {variable: kind for variable, kind in types.items() if not variable.startswith("$")}
            yield from (f"{name}: {variable}" for variable, kind in named.items() if kind == numba.float64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exp_and_tanh_are_right_to_the_last_digits(dtype: str):
    module, x = compile_system(SYSTEMS["lstm"], "numba").module, np.linspace(-30, 30, 4001).astype(dtype)
    x = np.concatenate([x, np.array([1e-20, 700, -700, 1e5, -1e5, np.inf, -np.inf, np.nan], dtype)])
    sigmoid, tanh = module.sigmoid, module.tanh

    @module.jit
    def both(x: Any) -> Any:
        found = np.empty((2, len(x)), x.dtype)
        for k in range(len(x)):
            found[0, k], found[1, k] = sigmoid(x[k]), tanh(x[k])
        return found

    exact = x.astype("float64")
    wanted = np.stack([0.5 * np.tanh(0.5 * exact) + 0.5, np.tanh(exact)])
    np.testing.assert_allclose(both(x), wanted, rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)


@pytest.mark.usefixtures("plain")
def test_large_products_go_to_the_blas_and_small_ones_are_loops():
    system, rng = SYSTEMS["lstm"], np.random.default_rng(SEED)
    for length, batch, m, n, scipy in ((2, 20, 9, 17, True), (2, 20, 9, 17, False), (2, 2, 5, 3, True)):
        ours = compile_system(system, "numba")
        ours.module.LARGE, ours.module.SCIPY = 1 << 10, scipy
        shapes = {v.name: [{"n": n, "m": m}[str(k)] for k in v.shape if k != 1] for v in system.parameters}
        params = {name: rng.normal(size=shape) / 4 for name, shape in shapes.items()}
        given = params, {"x": rng.normal(size=(length, batch, m))}, {"h": rng.normal(size=(length, batch, n))}
        wanted = compile_system(system).vjp(*given)
        if not scipy:
            with pytest.warns(UserWarning, match="SciPy is not installed: large products of matrices are loops"):
                assert worst(ours.vjp(*given), wanted) < 1e-12, (length, batch, m, n)
        assert worst(ours.vjp(*given), wanted) < 1e-12, (length, batch, m, n)


def test_the_module_stands_alone_and_checks_itself(tmp_path: Path):
    path = tmp_path / "gru_under_numba.py"
    path.write_text(backend.source(SYSTEMS["gru"]), encoding="utf-8")
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-I", path], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 1e-6


def test_without_numba_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    with pytest.raises(DeriveError, match=r"the backend numba needs numba: pip install 'derive-bptt\[numba\]'"):
        compile_system(SYSTEMS["rnn"], "numba")
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ImportError, match="these loops need numba: pip install numba scipy"):
        exec(backend.source(SYSTEMS["rnn"]), {"__name__": "module"})


@pytest.mark.usefixtures("plain")
def test_wrong_names_and_shapes_are_sentences():
    case, compiled = Case(SYSTEMS["lstm"], 2, (), SEED), compile_system(SYSTEMS["lstm"], "numba")
    params: Mapping[str, Any] = {**case.params, "U_i": case.params["U_i"][:2]}
    with pytest.raises(ValueError, match=r"params\['U_i'\] has shape \(2, 3\); it should be \(n, n\)"):
        compiled.forward(params, case.inputs)


def test_a_function_without_a_formula_and_a_derived_system_are_sentences():
    unknown = System("u", equations="h[t] = phi(h[t-1] + x[t])", inputs="x: n", unknown_functions="phi")
    with pytest.raises(DeriveError, match="phi has no formula, and numba can't compile a function that is given later"):
        compile_system(unknown, "numba")
    with pytest.raises(DeriveError, match="was derived from another system; the backend for it is numpy"):
        compile_system(load("rnn").adjoint(), "numba")


@pytest.mark.parametrize("name", KNOWN)
def test_the_source_passes_ruff(name: str, tmp_path: Path):
    pytest.importorskip("ruff")
    path = tmp_path / "module.py"
    path.write_text(backend.source(KNOWN[name]), encoding="utf-8")
    command = ["ruff", "check", "--isolated", "--line-length", "120", "--select", "E,F,I,UP,B", path]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
