"""The roads to the truth against each other, and what they say of derived systems, right and wrong."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from sympy import Symbol

import derive
from derive import catalogue, expr
from derive.expr import Equals, Ones, Partial, Sum, add, diag, had, mul, power
from derive.oracles import ROADS, MissingLibrary, Unrolled, check_equation, check_system
from derive.oracles.check import BOUND
from derive.system import System

t, k = Symbol("t", integer=True), Symbol("k", integer=True)
INSTALLED = [name for name, road in ROADS.items() if road.available]
FLOATS = [name for name in INSTALLED if not ROADS[name].exact]


def small(system, road: str, T: int = 3, seed: int = 1) -> Unrolled:
    steps = T if system.lattice.dimension == 1 else (2,) * system.lattice.dimension
    return ROADS[road].unroll(system, dict(zip(system.dimensions, (3, 4, 2, 5), strict=False)), seed, steps)


@pytest.mark.parametrize("name", ["gru", "skip-rnn", "birnn", "mdrnn", "linear-attention"])
def test_gradients_are_finite_differences(name):
    """One road against differences of its own forward values; the others are compared with it below."""
    truth = small(derive.load(name), "autograd", T=2)
    gradients, step = truth.gradients(), 1e-6
    for key in list(truth.leaves)[:6] + list(truth.leaves)[-3:]:
        if "|" in key[0]:
            continue
        values = []
        for sign in (1, -1):
            moved = {other: array.copy() for other, array in truth.leaves.items()}
            moved[key].flat[0] += sign * step
            values.append(truth.engine.linearize(truth._program(frozenset()), moved).values["", ()][0, 0])
        slope = (values[0] - values[1]) / (2 * step)
        assert slope == pytest.approx(truth.gradient(*key).flat[0], rel=1e-6, abs=1e-7), key
    assert set(gradients) >= {v.name for v in truth.system.variables.values()}


def test_all_float_roads_agree():
    everything = System(
        "everything",
        equations="""
            a[t] = layer_norm(W @ x[t] + U @ h[t-1] + b)
            h[t] = phi(a[t]) + gelu(a[t]) * softplus(a[t]) + elu(h[t-1]) - silu(a[t])
            o[t] = softmax(h[t]) + max(h[t], a[t]) * hard_tanh(a[t]) + leaky_relu(h[t]) * abs(a[t])
        """,
        inputs="x: m", parameters="W U b", shapes="h: n", targets="y: n", loss="logistic(o[t], y[t])",
        boundary={"h": "learned"}, unknown_functions="phi",
    )  # fmt: skip
    sizes = dict.fromkeys(everything.dimensions, 2)
    results = {
        road: {key: np.asarray(g, dtype=float) for key, g in ROADS[road].gradients(everything, sizes, 3, 2).items()}
        for road in FLOATS
    }
    first = results.pop(FLOATS[0])
    assert "h[0]" in first and first["x"].shape == (2, 2)
    for road, gradients in results.items():
        for name, gradient in gradients.items():
            assert np.allclose(gradient, first[name], atol=1e-10), (road, name)


def test_the_field_is_fast():

    lstm = derive.load("lstm")
    sizes = dict(zip(lstm.dimensions, (5, 4), strict=True))
    ROADS["field"].gradients(lstm, sizes, 0, 4)
    start = time.process_time()
    ROADS["field"].gradients(lstm, sizes, 1, 4)
    assert time.process_time() - start < 0.5


def test_borders_and_outside():
    truth = small(derive.load("gru"), "autograd")
    assert not np.allclose(truth.gradient("h", (0,)), 0)
    assert np.allclose(truth.gradient("h", (4,)), 0)
    assert np.allclose(truth.gradients()["h[0]"], truth.gradient("h", (0,))[:, 0])
    assert np.allclose(truth.jacobian("h", (2,), "h", (2,)), np.eye(3))
    assert np.allclose(truth.jacobian("h", (1,), "h", (2,)), 0)
    assert np.allclose(truth.jacobian("L", (), "h", (2,)), truth.gradient("h", (2,)).T)
    assert np.allclose(truth.immediate("h", (2,), "h", (1,)), np.diag(truth.value("z", (2,))[:, 0]))


def test_a_missing_library_says_what_to_install(monkeypatch):
    monkeypatch.setattr("derive.oracles.road.find_spec", lambda name: None)
    assert not ROADS["jax"].available
    with pytest.raises(MissingLibrary, match=r"JAX is not installed: pip install derive-bptt\[jax\]"):
        ROADS["jax"].engine(0)


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", ["adjoint", "tangent"])
@pytest.mark.parametrize("name", catalogue.names())
def test_every_derived_system_holds_exactly(name, reading):
    system = derive.load(name)
    for equation, verdict in check_system(system, getattr(system, reading)()).items():
        assert verdict, (equation, str(verdict))
        assert verdict.verdict == "defines" or verdict.error_bound < BOUND, equation


@pytest.mark.parametrize("road", FLOATS)
@pytest.mark.parametrize("name", ["gru", "rnn", "birnn", "mdlstm", "linear-attention"])
def test_every_road_agrees(name, road):
    system = derive.load(name)
    for equation, verdict in check_system(system, system.adjoint(), road=road).items():
        assert verdict, (equation, str(verdict))


def test_hessian_vector_products():
    """The tangent of the adjoint, against the tape of the adjoint's own equations."""
    adjoint = derive.load("rnn").adjoint()
    verdicts = check_system(adjoint, adjoint.tangent())
    assert verdicts["W_bar_dot"].verdict == "holds" and all(verdicts.values())


def gru_jacobian(gru: System):
    """`∂h_t/∂h_{t-1}` as its four paths: carry, z, h̃, r."""
    var = {name: v.var for name, v in gru.variables.items()}
    h, z, r, candidate = (var[name] for name in ("h", "z", "r", "h_tilde"))
    before, one = h.at((t - 1,)), Ones(*h.shape)
    slope = had(one - z, one - power(candidate, 2))
    reset = had(slope, add(mul(var["U_h"], before), var["c_h"]), r, one - r)
    return Partial(h, before), (
        diag(z),
        mul(diag(had(before - candidate, z, one - z)), var["U_z"]),
        mul(diag(had(slope, r)), var["U_h"]),
        mul(diag(reset), var["U_r"]),
    )


@pytest.mark.parametrize("road", INSTALLED)
def test_total_jacobian_and_its_mutants(road):
    gru = derive.load("gru")
    jacobian, terms = gru_jacobian(gru)
    assert check_equation(gru, Equals(jacobian, add(*terms)), road=road).verdict == "holds"
    for missing in range(4):
        wrong = add(*(term for i, term in enumerate(terms) if i != missing))
        verdict = check_equation(gru, Equals(jacobian, wrong), road=road)
        assert verdict.verdict == "fails" and verdict.failure is not None and "on the left" in str(verdict)
    held = Partial(*jacobian.args[:2], 0, ("z",))
    assert check_equation(gru, Equals(held, add(terms[0], *terms[2:])), road=road)
    assert not check_equation(gru, Equals(held, add(*terms)), road=road)
    immediate = Partial(*jacobian.args[:2], 1)
    assert check_equation(gru, Equals(immediate, terms[0]), road=road)


@pytest.mark.parametrize("road", INSTALLED)
def test_a_broken_rule_fails_on_every_road(road):
    """An adjoint whose `h_bar` forgets what flows through the reset gate."""
    gru = derive.load("gru")
    adjoint = gru.adjoint()
    h_bar = adjoint.equations["h_bar"]
    kept = [term for term in h_bar.rhs.args if "U_r" not in {v.base for v in expr.variables(term)}]
    assert len(kept) == len(h_bar.rhs.args) - 1
    broken = System.of(replace(adjoint.parts, equations={**adjoint.equations, "h_bar": replace(h_bar, rhs=add(*kept))}))
    verdicts = check_system(gru, broken, road=road)
    assert {name for name, verdict in verdicts.items() if not verdict} == {"h_bar"}


@pytest.mark.parametrize("reach", [1, 2, 3])
def test_truncated_backpropagation_is_told_from_the_whole(reach):
    """`W_bar` from the last `reach` of four steps only; a gradient check with a loose tolerance may let it pass."""
    rnn = derive.load("rnn")
    W, h = (rnn.variables[name].var for name in ("W", "h"))
    terms = mul(h.marked("delta").at((k,)), h.at((k - 1,)).T)
    T = rnn.lattice.lengths[0]
    whole, short = Sum(terms, (k, 1, T)), Sum(terms, (k, T - reach + 1, T))
    adjoint = rnn.adjoint()
    assert check_equation(rnn, Equals(W.marked("bar"), whole), derived=adjoint)
    assert not check_equation(rnn, Equals(W.marked("bar"), short), derived=adjoint, steps=(4,))


def test_points_beyond_the_lattice_are_skipped_and_none_is_undecided():
    rnn = derive.load("rnn")
    h, a = rnn.variables["h"].var, rnn.variables["a"].var
    ahead = Equals(h.at((t + 1,)), expr.apply("tanh", a.at((t + 1,))))
    assert check_equation(rnn, ahead, steps=(3,)).points == 2 * 4
    assert check_equation(rnn, ahead, steps=(1,)).verdict == "undecided"
    two = Equals(Partial(h.at((t,)), h.at((k,))), expr.Zero(h.shape[0], h.shape[0]))
    assert check_equation(rnn, two, ranges={k: (t + 1, rnn.lattice.lengths[0])})
    assert not check_equation(rnn, two)


def test_square_roots_are_paid_for_in_the_bound():
    """Points are drawn until all roots exist; each root weakens the bound, more seeds make up for it."""
    equations = "h[t] = tanh(layer_norm(W @ x[t] + U @ h[t-1]))"
    system = System("normalised", equations=equations, inputs="x: m", parameters="W U", shapes="h: n")
    verdicts = check_system(system, system.adjoint())
    assert all(v.verdict == "defines" or v.error_bound < BOUND for v in verdicts.values()), verdicts


def test_a_certificate_says_how_sure_it_is():
    rnn = derive.load("rnn")
    h = rnn.variables["h"].var
    verdict = check_equation(rnn, Equals(h, expr.apply("tanh", rnn.variables["a"].var)))
    assert verdict.certificate == {"method": "field", "prime_bits": 61, "seeds": 2, "error_bound": verdict.error_bound}
    assert 0 < verdict.error_bound < BOUND and "probability" in str(verdict)


# --- derivatives of expressions, and by copies of parameters ---


def previous(name: str) -> expr.Var:
    variable = derive.load("gru").variables[name].var
    return variable.at((t - 1,))


@pytest.mark.parametrize("road", INSTALLED)
def test_the_derivative_of_an_expression(road):
    """`∂(z ⊙ h)/∂h₋ = diag(h) ∂z/∂h₋ + diag(z) ∂h/∂h₋`, and not without one of the two."""
    gru = derive.load("gru")
    z, h = gru.variables["z"].var, gru.variables["h"].var
    terms = [mul(diag(h), Partial(z, previous("h"))), mul(diag(z), Partial(h, previous("h")))]
    left = Partial(had(z, h), previous("h"))
    assert check_equation(gru, Equals(left, add(*terms)), road=road), "the product rule"
    assert not check_equation(gru, Equals(left, terms[0]), road=road)
    direct = Partial(had(z, h), h, 1)
    assert check_equation(gru, Equals(direct, diag(z)), road=road), "∂⁺: z stays"


@pytest.mark.parametrize("name", [n for n in catalogue.names() if catalogue.load(n).lattice.dimension == 1])
def test_the_gradient_by_a_parameter_is_the_sum_of_those_by_its_copies(name):
    """`∇_W L = Σ_s ∇_{W_(s)} L`, for every parameter of every system; one copy alone is not all of it."""
    system = derive.load(name)
    for variable in system.of_kind("parameter"):
        whole, copy = variable.var.marked("bar"), variable.var.at((k,)).marked("bar")
        length = system.lattice.lengths[0]
        verdict = check_equation(system, Equals(whole, Sum(copy, (k, 1, length))), steps=[3])
        assert verdict, f"{name}, {variable.name}: {verdict}"
        first = check_equation(system, Equals(whole, copy.at((1,))), steps=[3])
        assert first.verdict == "fails", f"{name}, {variable.name}: {first}"


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm", "birnn", "linear-attention"])
def test_the_pullback_through_a_total_derivative(name):
    """`(∂h/∂W)* d = ∇_W <d, h>`, the left side by the Jacobian of h, the right by that of the product."""
    system = derive.load(name)
    state = next(v.var for v in system.of_kind("state") if expr.is_column(v.var) and not expr.is_scalar(v.var))
    d = expr.Ones(*state.shape)
    for variable in system.of_kind("parameter"):
        pulled = expr.Pulled(state, variable.var, d, 0)
        inner = expr.GradientOf(expr.inner(d, state), variable.var)
        assert check_equation(system, Equals(pulled, inner), steps=[3]), f"{name}, {variable.name}"


def test_an_immediate_gradient_is_not_the_total_one():
    rnn = derive.load("rnn")
    one, b = expr.entry(rnn.variables["a"].var, 1), rnn.variables["b"].var
    claim = Equals(expr.GradientOf(one, b, 1), expr.GradientOf(one, b))
    assert check_equation(rnn, claim, steps=[1]), "at the first step there is nothing in between"
    assert check_equation(rnn, claim, steps=[2]).verdict == "fails"


@pytest.mark.parametrize("road", INSTALLED)
def test_the_immediate_partial_by_a_parameter_of_the_same_step(road):
    """`∇_W L = Σ_t (∂⁺h_t/∂W)* ∇_{h_t} L` of a cell in two equations, `a = W h₋ + …`, `h = tanh(a)`."""
    rnn = derive.load("rnn")
    h, W = rnn.variables["h"].var, rnn.variables["W"].var
    pulled = expr.Pulled(h, W, h.marked("bar"), 1)
    total = Equals(W.marked("bar"), Sum(pulled, (t, 1, rnn.lattice.lengths[0])))
    assert check_equation(rnn, total, road=road)
    step = mul(had(add(Ones(*h.shape), -power(h, 2)), h.marked("bar")), expr.transpose(h.at((t - 1,))))
    assert check_equation(rnn, Equals(pulled, step), road=road)
    assert check_equation(rnn, Equals(pulled, expr.scale(2, step)), road=road).verdict == "fails"
