"""Every formula of the catalogue by every road; and a broken rule, which every road must notice."""

from __future__ import annotations

import pytest

from derive import expr, functions, linear, partials
from derive.adjoint import adjoint
from derive.catalogue import load, names
from derive.check import check_derivation, check_systems, system_claims
from derive.oracles import ROADS, check_system
from derive.partials import table
from derive.system import System
from derive.tangent import tangent

SEED = 3
CACHES = (table, adjoint, tangent, functions.closed, partials._terms)
REPRESENTATIVE = {
    "torch": ("rnn", "mdlstm", "linear-attention"),
    "sympy": ("rnn", "skip-rnn"),
}
LONG = ("blstm", "mdlstm", "stacked-lstm")
ON_JAX = ("rnn", "mdlstm", "linear-attention")


def rows(system: str | System, road: str):
    return list(check_systems([system], seed=SEED, roads=[road]))


def all_right(system: str | System, road: str) -> None:
    for row in rows(system, road):
        assert row.ok, f"{row.system} by {row.road} at seed {SEED}: {row.failure}"
        assert row.formulas > 0 and row.points > 0
        if row.error_bound is not None:
            assert row.error_bound < row.formulas * 2.0**-60


@pytest.mark.parametrize("name", [*(n for n in names() if n not in LONG), "mdrnn(3)"])
def test_every_formula_exactly(name):
    all_right(name, "field")


@pytest.mark.parametrize(
    "road, name", [*(("field", n) for n in LONG), *(("jax", n) for n in ON_JAX), ("sympy", "lstm")]
)
def test_the_derived_systems(road, name):
    """Adjoint and tangent only, where all formulas take long: `derive check` has them all by every road."""
    if ROADS[road].library:
        pytest.importorskip(ROADS[road].library)
    system = load(name)
    for derived in (system.adjoint(), system.tangent()):
        for equation, verdict in check_system(system, derived, road=road, seed=SEED).items():
            assert verdict, f"{derived.name} by {road} at seed {SEED}: {equation} {verdict}"


@pytest.mark.parametrize("name", names())
def test_every_formula_by_autograd(name):
    pytest.importorskip("autograd")
    all_right(name, "autograd")


@pytest.mark.parametrize("road, name", [(road, name) for road, chosen in REPRESENTATIVE.items() for name in chosen])
def test_by_the_other_roads(road, name):
    if ROADS[road].library:
        pytest.importorskip(ROADS[road].library)
    all_right(name, road)


# --- broken rules -----------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh():
    """The caches emptied before and after: what a broken rule derives must not stay."""

    def clear():
        for cache in CACHES:
            cache.cache_clear()

    clear()
    yield clear
    clear()


def broken_had(node, names):
    """The product rule without its other factor for the first child."""
    first, *rest = partials._had(node, names)
    yield first[0], ()
    yield from rest


def transpose_forgotten(a, d):
    return expr.mul(a if a.shape[0] == a.shape[1] else expr.transpose(a), d)


BROKEN = {
    "tanh' = 1 - tanh": lambda m: m.setattr(functions, "closed", lambda name: functions.Closed(1 - functions.y)),
    "product rule": lambda m: m.setitem(partials.LOCAL, expr.Had, broken_had),
    "a transpose": lambda m: m.setitem(linear._PULL, "left", transpose_forgotten),
    "a sign": lambda m: m.setitem(linear._PULL, "hadamard", lambda d, x: -expr.had(d, x)),
}


def small_cell() -> System:
    """Square matrices throughout, so that a forgotten transpose has shapes that fit."""
    return System(
        "cell",
        equations="h[t] = tanh(W @ x[t] + U @ h[t-1]) * x[t]",
        inputs="x: n",
        parameters="W U",
        shapes="h: n",
        outputs="h",
    )


@pytest.mark.parametrize("road", list(ROADS))
def test_unbroken_rules_hold_by_every_road(road, fresh):
    if ROADS[road].library:
        pytest.importorskip(ROADS[road].library)
    all_right(small_cell(), road)


@pytest.mark.parametrize("road", list(ROADS))
@pytest.mark.parametrize("rule", list(BROKEN))
def test_a_broken_rule_is_noticed_by_every_road(rule, road, fresh, monkeypatch):
    if ROADS[road].library:
        pytest.importorskip(ROADS[road].library)
    cell = small_cell()
    with monkeypatch.context() as broken:
        BROKEN[rule](broken)
        fresh()
        found = rows(cell, road)
        assert not any(row.ok for row in found), f"{road} did not notice: {rule}"
        assert all("=" in row.failure for row in found)
    fresh()


# --- systems that the catalogue does not have -------------------------------------------------------------------------------


def chain(right: str, **more) -> System:
    return System(
        "cell", equations=f"h[t] = {right}", inputs="x: n", parameters="W: n x n", shapes="h: n", outputs="h", **more
    )


ELEMENTWISE = [n for n, row in functions.TABLE.items() if isinstance(row, functions.Elementwise) and row.arity == 1]
POSITIVE = {"log": "log(exp(W @ h[t-1]) + exp(x[t]))", "sqrt": "sqrt(2 + x[t].T @ x[t]) * (W @ h[t-1])"}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_function_of_the_table(name):
    system = chain(POSITIVE.get(name, f"{name}(W @ h[t-1] + x[t])"))
    for road in ("field", "autograd"):
        if ROADS[road].available:
            all_right(system, road)


UNUSUAL = {
    "softmax": lambda: chain("softmax(W @ h[t-1] + x[t])"),
    "log_sum_exp": lambda: chain("log_sum_exp(W @ h[t-1]) * x[t]"),
    "layer_norm": lambda: chain("layer_norm(W @ h[t-1] + x[t])"),
    "max": lambda: chain("max(W @ h[t-1], x[t])"),
    "min": lambda: chain("min(W @ h[t-1], x[t])"),
    "quotient": lambda: chain("x[t] / (2 + exp(W @ h[t-1]))"),
    "loss at the last step": lambda: chain(
        "tanh(W @ h[t-1] + x[t])", targets="y: n", loss="squared_error(h[t], y[t])", loss_at="last"
    ),
    "logistic": lambda: chain("tanh(W @ h[t-1] + x[t])", targets="y: n", loss="logistic(h[t], y[t])"),
    "learned boundary": lambda: chain("tanh(W @ h[t-1] + x[t])", boundary={"h": "learned"}),
    "zero boundary": lambda: chain("tanh(W @ h[t-1] + x[t])", boundary={"h": "zero"}),
    "abstract loss at the last step": lambda: chain("tanh(W @ h[t-1] + x[t])", loss_at="last"),
    "two unknown functions": lambda: chain("phi(W @ psi(h[t-1]) + x[t])", unknown_functions="psi"),
    "input of two steps before": lambda: chain("tanh(W @ h[t-1] + x[t-2])"),
    "second order, linear": lambda: chain("W @ h[t-1] + 2 * h[t-2] + x[t]"),
    "input of the step before": lambda: chain("tanh(W @ h[t-1] + x[t-1] * x[t+1])"),
    "both signs": lambda: System(
        "both",
        equations="""
            a[t] = tanh(W @ b[t-2] + x[t])
            b[t] = tanh(V @ a[t+1] + x[t])
        """,
        inputs="x: n",
        parameters="W V: n x n",
        outputs="b",
    ),
    "grid with given boundary": lambda: System(
        "grid",
        equations="h[i,j] = tanh(W @ h[i-1,j] + V @ h[i,j-1] + M @ h[i-1,j-1] + x[i,j])",
        inputs="x: n",
        parameters="W V M: n x n",
        boundary={"h": "given"},
    ),
    "scalar gates and a matrix state": lambda: System(
        "matrix-lstm",
        equations="""
            f[t] = sigmoid(w.T @ x[t] + b)
            v[t] = V @ x[t]
            k[t] = K @ x[t]
            C[t] = f[t] * C[t-1] + (1 - f[t]) * v[t] @ k[t].T
            y[t] = C[t] @ k[t]
        """,
        inputs="x: m",
        parameters="w: m, b: scalar, V: n x m, K: p x m",
        outputs="y",
    ),
}


@pytest.mark.parametrize("name", list(UNUSUAL))
def test_unusual_systems(name):
    system = UNUSUAL[name]()
    for road in ("field", "autograd"):
        if ROADS[road].available:
            all_right(system, road)


def test_a_cell_of_a_users_own():
    system = load("tests/data/my_cell.py:my_cell")
    all_right(system, "field")
    assert len(system_claims(system)) > 30
    verdict = check_derivation(system.derive("dL/dU_f"), seed=SEED)
    assert verdict and verdict.error_bound < 2.0**-60


@pytest.mark.parametrize(
    "query", ["forward", "table", "adjoint", "tangent", "dh[t]/dh[t-1]", "dL/dU_z", "paths h[t] <- h[t-1]"]
)
def test_every_verdict_is_a_sentence(query):
    verdict = check_derivation(load("gru").derive(query), seed=SEED)
    assert verdict, str(verdict)
    assert str(verdict).startswith(("holds at", "defines:"))
