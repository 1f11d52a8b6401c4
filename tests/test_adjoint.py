"""The adjoint is the table transposed, the tangent is the table, and one after the other gives Hessian-vector products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from derive import catalogue, expr
from derive.adjoint import adjoint
from derive.linear import LinearMap
from derive.oracles import check_system
from derive.partials import Table, table
from derive.system import LOSS, System

SEED = 5
STEP = 1e-5
SIZES = {"m": 3, "n": 4, "q": 5}
STEPS, BATCH = 6, 2
SECOND_ORDER = ("rnn", "gru", "lstm")

Arrays = dict[str, np.ndarray]


@pytest.fixture(params=[*catalogue.names(), "mdrnn(3)"])
def system(request: pytest.FixtureRequest) -> System:
    return catalogue.load(request.param)


def assert_same_map(found: LinearMap, wanted: LinearMap, what: Any) -> None:
    """Both maps of one probe: maps that are built differently need not be equal as data."""
    assert (found.source, found.target) == (wanted.source, wanted.target), what
    probe = expr.Var("probe", (), (), *wanted.source)
    assert found.push(probe) == wanted.push(probe), f"{what}: {found.push(probe)} against {wanted.push(probe)}"


# --- the table, transposed --------------------------------------------------------------------------------------------


def test_transposing_twice_is_the_table(system: System):
    local, twice = table(system), table(system).transposed().transposed()
    assert twice.entries.keys() == local.entries.keys()
    for key, entry in local.entries.items():
        assert twice.entries[key] == entry, f"{key}: {twice.entries[key].map} against {entry.map}"


def test_transposing_swaps_the_names_and_negates_the_offset(system: System):
    back = {(s, t, None if o is None else tuple(-d for d in o)) for t, s, o in table(system).entries}
    assert set(table(system).transposed().entries) == back


def test_a_transposed_map_pushes_what_the_map_pulls(system: System):
    for entry in table(system):
        probe = expr.Var("probe", (), (), *entry.target.shape)
        pushed, pulled = entry.map.transposed().push(probe), entry.map.pull(probe)
        assert pushed == pulled, f"{entry.key}: {pushed} against {pulled}"


def between(derived: Table, mark: str) -> dict[tuple[str, str, Any], LinearMap]:
    """The entries of a derived system from marked names to marked names, by the names without the mark."""
    ends = f"_{mark}"
    return {
        (t.removesuffix(ends), s.removesuffix(ends), o): derived[t, s, o]
        for t, s, o in derived.entries
        if t.endswith(ends) and s.endswith(ends)
    }


def live(system: System) -> set[str]:
    """What the loss depends on."""
    return {n.removesuffix("_bar") for n in adjoint(system, (), False).equations if n.endswith("_bar")} - {LOSS}


def test_the_adjoint_has_the_transposed_table_between_its_bars(system: System):
    here = (0,) * system.lattice.dimension
    names = live(system)
    # A parameter has no index: its adjoint sums what it reads at every point.
    wanted = {
        (t, s, here if o is None else o): linear
        for (t, s, o), linear in ((key, e.map) for key, e in table(system).transposed().entries.items())
        if {t, s} <= names
    }
    found = {
        key: linear
        for key, linear in between(table(adjoint(system, (), False)), "bar").items()
        if LOSS not in key
    }  # fmt: skip
    assert found.keys() == wanted.keys()
    for key in wanted:
        assert_same_map(found[key], wanted[key], key)


def test_the_tangent_has_the_table_itself_between_its_dots(system: System):
    """So the transposed table of the adjoint is the tangent's: reverse mode applied twice is forward mode."""
    wanted = {key: e.map for key, e in table(system).entries.items()}
    found = between(table(system.tangent()), "dot")
    assert found.keys() == wanted.keys()
    for key in wanted:
        assert_same_map(found[key], wanted[key], key)


def test_names_for_shared_pullbacks_change_nothing(system: System):
    """An adjoint with deltas has the same bars as one without."""
    bars = [{n for n in adjoint(system, (), named).equations if n.endswith("_bar")} for named in (False, True)]
    assert bars[0] == bars[1]
    assert not any(n.endswith("_delta") for n in adjoint(system, (), False).equations)


QUOTIENTS = {
    "f[t] / (f[t] + i[t])": ("diag(i_t / (f_t + i_t)²)", "-diag(f_t / (f_t + i_t)²)"),
    "f[t] * i[t] / (f[t] + i[t])": ("diag(i_t² / (f_t + i_t)²)", "diag(f_t² / (f_t + i_t)²)"),
    "f[t] / (f[t] + i[t]) ** 2": ("diag(-2 f_t / (f_t + i_t)³ + 1 / (f_t + i_t)²)", "-2 diag(f_t / (f_t + i_t)³)"),
    "f[t] / (2 * i[t] + 1)": ("diag(1 / (2 i_t + 1))", "-2 diag(f_t / (2 i_t + 1)²)"),
    "(f[t] - i[t]) / (f[t] + i[t])": ("2 diag(i_t / (f_t + i_t)²)", "-2 diag(f_t / (f_t + i_t)²)"),
}


@pytest.mark.parametrize("rhs", QUOTIENTS)
def test_what_cancels_in_the_derivative_of_a_quotient_is_left_out(rhs: str):
    """One quotient where it has fewer terms, else two; and each is exactly the derivative."""
    system = System(
        "quotient",
        equations=f"f[t] = sigmoid(W @ x[t])\ni[t] = sigmoid(V @ x[t])\nq[t] = {rhs}\nh[t] = q[t] * h[t-1] + x[t]",
        inputs="x: n",
        parameters="W V",
        shapes="h: n",
    )
    found = table(system)
    assert tuple(str(found["q", name, (0,)].jacobian()) for name in "fi") == QUOTIENTS[rhs]
    verdict = system.derive("table").check()
    assert verdict.verdict == "holds", str(verdict)


def test_nothing_flows_through_what_is_held():
    held = adjoint(catalogue.load("lstm"), ("f", "i", "g", "o"))
    bars = {n.removesuffix("_bar") for n in held.equations if n.endswith("_bar")}
    assert {"c", "h"} <= bars
    assert not {n for n in bars if n.startswith(("W_", "U_", "b_"))}, bars


# --- second order -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linear-rnn", "irnn", "linear-attention", "mdrnn", "minlstm"])
def test_the_tangent_of_the_adjoint_holds_exactly(name: str):
    """The system of the adjoint is unrolled and differentiated once more by the field: every `v_bar_dot` is its derivative."""
    first = catalogue.load(name).adjoint()
    for equation, verdict in check_system(first, first.tangent(), road="field", steps=steps_of(first)).items():
        assert verdict.verdict == "holds", f"{first.name}: {equation} {verdict}"


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_hessian_vector_products_hold_exactly(name: str):
    first = catalogue.load(name).adjoint()
    verdicts = check_system(first, first.tangent(), road="field", steps=steps_of(first))
    products = {n for n in verdicts if n.endswith("_bar_dot")}
    assert products >= {f"{p.name}_bar_dot" for p in catalogue.load(name).parameters}
    for equation, verdict in verdicts.items():
        assert verdict.verdict == "holds", f"{first.name}: {equation} {verdict}"


def steps_of(system: System) -> list[tuple[int, ...]]:
    return [(2,) * system.lattice.dimension]


class Point:
    """Values of everything that is given, or a direction in their space, drawn from a seed."""

    def __init__(self, system: System, seed: int):
        generator = np.random.default_rng(seed)

        def draw(variable: Any, *lead: int) -> np.ndarray:
            return generator.normal(size=(*lead, *(SIZES[str(d)] for d in variable.shape if d != 1)))

        self.params = {v.name: draw(v) for v in system.parameters}
        self.inputs = {v.name: draw(v, STEPS, BATCH) for v in system.inputs}
        self.targets = {v.name: draw(v, STEPS, BATCH) for v in system.of_kind("target")}
        self.cotangents = {v.name: draw(v, STEPS, BATCH) for v in system.of_kind("cotangent")}

    @property
    def along(self) -> Arrays:
        return {**self.inputs, **self.targets, **self.cotangents}

    def moved(self, direction: Point, step: float) -> Point:
        other = object.__new__(Point)
        for kind in ("params", "inputs", "targets", "cotangents"):
            here, there = getattr(self, kind), getattr(direction, kind)
            setattr(other, kind, {name: here[name] + step * there[name] for name in here})
        return other


def gradients(system: System, at: Point) -> Arrays:
    compiled = system.compile("numpy")
    if system.has_loss:
        return compiled.value_and_grad(at.params, at.inputs, at.targets)[1]
    cotangents = {name.removesuffix("_ct"): value for name, value in at.cotangents.items()}
    return compiled.vjp(at.params, at.inputs, cotangents)


def products(system: System, at: Point, direction: Point) -> Arrays:
    """The derivative of every gradient along a direction, out of one run of the tangent of the adjoint."""
    dotted = lambda arrays: {f"{name}_dot": value for name, value in arrays.items()}  # noqa: E731
    compiled = system.adjoint().tangent().compile("numpy")
    values = compiled.forward({**at.params, **dotted(direction.params)}, {**at.along, **dotted(direction.along)})
    return {n.removesuffix("_bar_dot"): v for n, v in values.items() if n.endswith("_bar_dot")}


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_hessian_vector_products_are_differences_of_gradients(name: str):
    system = catalogue.load(name)
    at, direction = Point(system, SEED), Point(system, SEED + 1)
    found = products(system, at, direction)
    up, down = (gradients(system, at.moved(direction, sign * STEP)) for sign in (1, -1))
    given = [v.name for v in (*system.parameters, *system.inputs)]
    assert set(given) <= found.keys(), f"no product for {set(given) - found.keys()}"
    for leaf in given:
        wanted = (up[leaf] - down[leaf]) / (2 * STEP)
        scale = 1 + np.abs(wanted).max()
        np.testing.assert_allclose(
            found[leaf] / scale, wanted / scale, atol=1e-7, err_msg=f"{name}: {leaf}, seed {SEED}, step {STEP}"
        )


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_hessians_are_symmetric(name: str):
    """`<u, H v> = <v, H u>` for directions of the parameters."""
    system = catalogue.load(name)
    at, u, v = (Point(system, SEED + k) for k in range(3))
    for direction in (u, v):
        for given in (direction.inputs, direction.targets, direction.cotangents):
            given.update({n: np.zeros_like(a) for n, a in given.items()})
    left, right = inner(u.params, products(system, at, v)), inner(v.params, products(system, at, u))
    assert left == pytest.approx(right, rel=1e-10), f"{name}, seed {SEED}"


def inner(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> float:
    return sum(float(np.sum(a[name] * b[name])) for name in a)
