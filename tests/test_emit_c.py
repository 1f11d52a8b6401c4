"""Loops, and their C: the nests of every kind of node against NumPy's text of it, the built modules against the NumPy module."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sympy import Integer, Rational, Symbol
from test_emit_contract import CELLS, WITH_LOSS, Case

from derive import expr
from derive.catalogue import load, names
from derive.emit import c, compile_system, library
from derive.emit.code import ArrayPrinter
from derive.emit.loops.entries import RULES, Entries
from derive.emit.loops.language import (
    SAMPLE,
    SAMPLES,
    Call,
    Local,
    Multiply,
    Nest,
    Number,
    Over,
    Plus,
    Raised,
    Read,
    Same,
    Scalar,
    Times,
    Where,
)
from derive.errors import DeriveError
from derive.expr import Node, Var
from derive.system import System

SYSTEMS: dict[str, System] = {name: load(name) for name in (*names(), "mdrnn(3)")}
MORE = {**{name: CELLS[name] for name in (
    "second order, no activation", "a state that reads ahead", "both ways", "two chains, one step apart",
    "a chain that runs ahead", "inputs at other steps", "grid, corner", "grid, from below right", "grid, given borders",
    "grid, learned borders", "learned border", "zero border", "matrix state with scalar gates", "matrix algebra",
    "row parameter", "scalars only", "quotients", "logarithms of gates", "maxima", "awkward names", "a fixed size", "gelu",
    "elu",
)}, **WITH_LOSS}  # fmt: skip
SEED = 11
has_compiler = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="needs a C compiler")


# --- nests, run by an interpreter -------------------------------------------------------------------------------------------


class Interpreter:
    """Runs nests number by number: arrays by name, batched ones with one leading axis."""

    def __init__(self, arrays: dict[str, np.ndarray], sizes: Mapping[Any, int]):
        self.arrays, self.sizes = arrays, sizes

    def run(self, nest: Nest | Multiply) -> None:
        if isinstance(nest, Multiply):
            matrix = self.arrays[nest.matrix]
            left = self.arrays[nest.left.array]
            self.arrays[nest.target.array] = left @ (matrix.T if nest.transposed else matrix)
            return
        axes = [(axis.name, self.sizes.get(axis.size, axis.size)) for axis in nest.axes]
        shape = [size for name, size in axes if name in nest.target.axes or (name == SAMPLE and nest.target.batched)]
        if nest.operation == "=":
            self.arrays[nest.target.array] = np.zeros([int(s) for s in shape])
        for values in product(*(range(int(size)) for _, size in axes)):
            at = dict(zip((name for name, _ in axes), values, strict=True))
            over = nest.over
            inner = [{over.name: k} for k in range(int(self.sizes.get(over.size, over.size)))] if over else [{}]
            found = [self.value(nest.value, {**at, **k}) for k in inner]
            value = max(found) if nest.kind == "max" else sum(found)
            self.arrays[nest.target.array][self.entry(nest.target, at)] += value

    def entry(self, read: Read, at: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(at[a] for a in ((SAMPLE,) if read.batched else ()) + read.axes)

    def value(self, s: Scalar, at: Mapping[str, int]) -> float:
        match s:
            case Number():
                return float(s.value.subs(self.sizes))
            case Read():
                return float(self.arrays[s.array][self.entry(s, at)])
            case Plus():
                return sum(self.value(t, at) for t in s.terms)
            case Times():
                return float(np.prod([self.value(f, at) for f in s.factors]))
            case Over():
                return self.value(s.above, at) / self.value(s.below, at)
            case Raised():
                return self.value(s.base, at) ** int(s.exponent)
            case Call():
                return float(FUNCTIONS(s.function, s.order)(*(np.asarray(self.value(a, at)) for a in s.arguments)))
            case Same():
                return float(at[s.left] == at[s.right])
            case Where() | Local():
                raise AssertionError(s)


def FUNCTIONS(name: str, order: int) -> Any:
    namespace: dict[str, Any] = {"np": np, "math": math}
    exec("\n\n".join(library.with_dependencies([(name, order)])), namespace)
    return namespace[library.function_name(name, order)]


N, M = Symbol("n", integer=True, positive=True), Symbol("m", integer=True, positive=True)
T = Symbol("t", integer=True)
SIZES = {N: 3, M: 4, SAMPLES: 2}
ONE = Integer(1)


def variable(name: str, rows: Any, columns: Any, indexed: bool) -> Var:
    return Var(name, (), (T,) if indexed else (), rows, columns)


W, V = variable("W", N, M, False), variable("V", N, N, False)
a, b, x = variable("a", N, 1, True), variable("b", N, 1, True), variable("x", M, 1, True)
C, D, s, w = variable("C", N, N, True), variable("D", N, N, True), variable("s", 1, 1, True), variable("w", N, 1, False)
READS = (W, V, a, b, x, C, D, s, w)

NODES: dict[str, Node] = {
    "sum": a - 2 * b + Rational(1, 3) * w,
    "ones": 1 - a,
    "scaled by a scalar": expr.scale(s, a + b),
    "a number of entries": expr.scale(1 / N, a),
    "entrywise": a * b * expr.power(w, 3),
    "quotient": a / (1 + b * b),
    "function": expr.apply("tanh", a + b),
    "derivative": expr.apply("gelu", a, order=1),
    "maximum": expr.apply("max", a, b),
    "parameter times column": W @ x,
    "transpose times column": W.T @ a,
    "chain": V @ W @ x,
    "chain with functions": expr.mul(V, expr.apply("tanh", W @ x)),
    "matrix of the step times column": C @ a,
    "its transpose times column": C.T @ a,
    "outer product": a @ b.T,
    "outer product of products": (W @ x) @ expr.apply("exp", a).T,
    "inner product": a.T @ b,
    "row": a.T @ C,
    "matrices": V @ C @ D,
    "diagonal times matrix": expr.diag(a) @ C,
    "matrix times diagonal": C @ expr.diag(b),
    "diagonal": expr.diag(a * b),
    "identity": expr.Identity(N) + C,
    "diagonal of": expr.Diagonal(C @ D),
    "inner product of matrices": expr.inner(C, D),
    "sum of entries": expr.entries_sum(C),
    "transposed sum": expr.Transpose(C) * D,
    "softmax": expr.apply("softmax", a + b),
    "softmax's Jacobian": (expr.diag(a) - a @ a.T) @ b,
    "log_sum_exp": expr.apply("log_sum_exp", a),
    "layer_norm": expr.apply("layer_norm", W @ x + a),
    "cross_entropy": expr.apply("cross_entropy", a, b),
    "squared_error": expr.apply("squared_error", a, b),
    "logistic": expr.apply("logistic", a, b),
    "scalar function": expr.apply("exp", s) * expr.inner(a, w),
}


def values_of(rng: np.random.Generator) -> dict[str, np.ndarray]:
    def shape(var: Var) -> list[int]:
        return [2] * bool(var.index) + [int(SIZES.get(n, n)) for n in var.shape if n != 1]

    return {var.name: rng.uniform(0.2, 1.0, shape(var)) for var in READS}


@pytest.mark.parametrize("name", NODES)
def test_nests_are_what_numpy_says(name: str):
    node, arrays = NODES[name], values_of(np.random.default_rng(SEED))
    printer = ArrayPrinter(lambda var: var.name, lambda n: str(SIZES.get(n, n)), dtype="float")
    text = printer.full(printer.value(node), node).text
    namespace: dict[str, Any] = {"np": np, "math": math, **arrays}
    exec("\n\n".join(library.with_dependencies(printer.called.values())), namespace)
    wanted = eval(text, namespace)
    made: list[str] = []

    def new(shape: Any, batched: bool) -> str:
        made.append(f"part_{len(made)}")
        return made[-1]

    entries = Entries(new)
    axes = tuple(axis for axis, size in zip(("row", "column"), node.shape, strict=True) if size != 1)
    entries.assign(Read("result", (T,), True, axes), node)
    interpreter = Interpreter(arrays, SIZES)
    for nest in entries.nests:
        interpreter.run(nest)
    np.testing.assert_allclose(interpreter.arrays["result"], wanted, rtol=1e-12, err_msg=f"{text}, seed {SEED}")


def test_every_kind_of_node_that_numpy_writes_has_a_rule():
    from derive.emit.code import RULES as NUMPY

    assert set(NUMPY) == set(RULES)


# --- modules ----------------------------------------------------------------------------------------------------------------


def worst(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> float:
    assert set(found) == set(wanted)
    errors = [0.0]
    for name, array in wanted.items():
        assert found[name].shape == array.shape, name
        if array.size:
            errors.append(float(np.abs(found[name] - array).max() / (1e-2 + np.abs(array).max())))
    return max(errors)


@has_compiler
@pytest.mark.parametrize("name", [*SYSTEMS, *MORE])
def test_c_is_numpy(name: str):
    system = {**SYSTEMS, **MORE}[name]
    ours, numpys = compile_system(system, "c"), compile_system(system)
    for length, batch in ((1, ()), (2, (2, 3)), (5, (3,))):
        case = Case(system, length, batch, SEED)
        inputs = {**case.inputs, **{k: v for k, v in case.targets.items() if k in numpys.module.INPUTS}}
        at = f"{name}, {length} steps, batch {batch}, seed {SEED}"
        given = case.params, inputs
        assert worst(ours.forward(*given, case.initial), numpys.forward(*given, case.initial)) < 1e-12, at
        seeds = {n: case.cotangents[n] for n in numpys.seeds}
        assert worst(ours.vjp(*given, seeds, case.initial), numpys.vjp(*given, seeds, case.initial)) < 1e-12, at
        if system.has_loss:
            given = case.params, case.inputs, case.targets, case.initial
            (loss, gradients), (known, wanted) = ours.value_and_grad(*given), numpys.value_and_grad(*given)
            assert abs(loss - known) < 1e-12 * (1 + abs(known)), at
            assert worst(gradients, wanted) < 1e-12, at


@has_compiler
@pytest.mark.parametrize("name", ["lstm", "rnn", "mdrnn", "linear-attention"])
def test_float32_stays_float32_and_is_near(name: str):
    case = Case(SYSTEMS[name], 5, (3,), SEED)
    ours, numpys = compile_system(SYSTEMS[name], "c", "float32"), compile_system(SYSTEMS[name])
    found = ours.vjp(case.params, case.inputs, case.cotangents, case.initial)
    assert {v.dtype for v in found.values()} == {np.dtype("float32")}
    assert worst(found, numpys.vjp(case.params, case.inputs, case.cotangents, case.initial)) < 1e-5


@has_compiler
def test_large_products_go_to_the_blas_and_small_ones_are_loops():
    """Both ways of every product: enough rows and work for the one, too few for the other."""
    system, rng = SYSTEMS["lstm"], np.random.default_rng(SEED)
    for length, batch, m, n in ((3, 40, 19, 37), (3, 1, 37, 67), (2, 2, 5, 3)):
        shapes = {v.name: [{"n": n, "m": m}[str(k)] for k in v.shape if k != 1] for v in system.parameters}
        params = {name: rng.normal(size=shape) / 4 for name, shape in shapes.items()}
        inputs, seeds = {"x": rng.normal(size=(length, batch, m))}, {"h": rng.normal(size=(length, batch, n))}
        found, wanted = (compile_system(system, which).vjp(params, inputs, seeds) for which in ("c", "numpy"))
        assert worst(found, wanted) < 1e-12, (length, batch, m, n)


@has_compiler
def test_the_module_stands_alone_and_checks_itself(tmp_path: Path):
    path = tmp_path / "lstm_in_c.py"
    path.write_text(c.source(SYSTEMS["lstm"]), encoding="utf-8")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": ""}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-I", path], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        assert float(done.stdout.split()[-1]) < 1e-6
    built = [p.suffix for p in (tmp_path / "cache" / "derive").iterdir()]
    assert built == [".so"], "one library, written whole, for both runs"


@has_compiler
def test_without_a_blas_loops_do_the_products(monkeypatch: pytest.MonkeyPatch):
    system, case = SYSTEMS["gru"], Case(SYSTEMS["gru"], 3, (40,), SEED)
    compiled = compile_system(system, "c")
    monkeypatch.setattr(compiled.module, "_blas", lambda dtype: ("int64_t", None, None))
    found = compiled.vjp(case.params, case.inputs, case.cotangents, case.initial)
    assert worst(found, compile_system(system).vjp(case.params, case.inputs, case.cotangents, case.initial)) < 1e-12


def test_without_a_compiler_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    sentence = r"there is no C compiler: install one \(gcc or clang, as cc\), or use the backend numba or numpy"
    with pytest.raises(DeriveError, match=sentence):
        compile_system(SYSTEMS["rnn"], "c")
    assert "static void backward(" in c.source(SYSTEMS["rnn"])


@has_compiler
def test_wrong_names_and_shapes_are_sentences():
    case, compiled = Case(SYSTEMS["lstm"], 2, (), SEED), compile_system(SYSTEMS["lstm"], "c")
    params = dict(case.params)
    params["U_i"] = params["U_i"][:2]
    with pytest.raises(ValueError, match=r"params\['U_i'\] has shape \(2, 3\); it should be \(n, n\)"):
        compiled.forward(params, case.inputs)
    with pytest.raises(ValueError, match=r"initial has 'h\[1\]', which is no boundary value"):
        compiled.forward(case.params, case.inputs, {"h[1]": case.initial["h[0]"]})


@has_compiler
def test_arrays_that_are_lists_or_strided_or_read_only_are_taken_as_they_are():
    case, compiled = Case(SYSTEMS["rnn"], 3, (2,), SEED), compile_system(SYSTEMS["rnn"], "c")
    wanted = compiled.forward(case.params, case.inputs)["h"]
    strided = np.repeat(case.inputs["x"], 2, axis=-1)[..., ::2]
    frozen = case.inputs["x"].copy()
    frozen.flags.writeable = False
    for x in (strided, frozen, case.inputs["x"].tolist()):
        np.testing.assert_array_equal(compiled.forward(case.params, {"x": x})["h"], wanted)


@has_compiler
def test_no_gradient_is_part_of_what_a_later_call_changes():
    case, compiled = Case(SYSTEMS["lstm"], 3, (2,), SEED), compile_system(SYSTEMS["lstm"], "c")
    first = compiled.vjp(case.params, case.inputs, {"h": case.cotangents["h"]}, case.initial)
    kept = {name: array.copy() for name, array in first.items()}
    compiled.vjp(case.params, case.inputs, {"h": 2 * case.cotangents["h"]}, case.initial)
    for name, array in kept.items():
        np.testing.assert_array_equal(first[name], array)


def test_a_function_without_a_formula_and_a_derived_system_are_sentences():
    unknown = System("u", equations="h[t] = phi(h[t-1] + x[t])", inputs="x: n", unknown_functions="phi")
    with pytest.raises(DeriveError, match="phi has no formula, and C can't call a function of Python"):
        compile_system(unknown, "c")
    with pytest.raises(DeriveError, match="was derived from another system; the backend for it is numpy"):
        compile_system(load("rnn").adjoint(), "c")


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_source_passes_ruff(name: str, tmp_path: Path):
    pytest.importorskip("ruff")
    path = tmp_path / "module.py"
    path.write_text(c.source(SYSTEMS[name]), encoding="utf-8")
    command = ["ruff", "check", "--isolated", "--line-length", "120", "--select", "E,F,I,UP,B", path]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@has_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "span"), [("tanh", 12.0), ("exp", 80.0), ("sigmoid", 30.0)])
def test_functions_of_our_own_are_right_to_a_few_units_in_the_last_place(name: str, span: float, dtype: str):
    system = System("f", equations=f"h[t] = {name}(x[t])", inputs="x: n", shapes="h: n")
    x = np.concatenate([np.linspace(-span, span, 20_001), np.logspace(-30, 0, 301), [0.0]]).astype(dtype)
    found = compile_system(system, "c", dtype).forward({}, {"x": x[None]})["h"][0]
    exact = x.astype(np.longdouble)
    wanted = {"tanh": np.tanh, "exp": np.exp, "sigmoid": lambda v: 1 / (1 + np.exp(-v))}[name](exact)
    units = np.abs(found - wanted) / np.spacing(np.abs(wanted).astype(dtype))
    assert units.max() <= 4, f"{units.max()} units at {x[units.argmax()]}"


@has_compiler
def test_functions_go_to_their_limits():
    system = System("f", equations="h[t] = exp(x[t])\ng[t] = tanh(x[t])", inputs="x: n", shapes="h g: n")
    x = np.array([[-1e4, 1e4, np.inf, -np.inf, np.nan]])
    found = compile_system(system, "c").forward({}, {"x": x})
    np.testing.assert_array_equal(found["h"][0], [0, np.inf, np.inf, 0, np.nan])
    np.testing.assert_array_equal(found["g"][0], [-1, 1, 1, -1, np.nan])
