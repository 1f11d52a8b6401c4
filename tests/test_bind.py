"""Functions bound to arrays: the results of the plain functions, of what the arrays hold when they are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from test_emit_contract import WITH_LOSS, Arrays, Case

from derive.catalogue import load, names
from derive.emit import compile_system
from derive.errors import DeriveError
from derive.system import LOSS, System

SYSTEMS: dict[str, System] = {name: load(name) for name in names()} | WITH_LOSS
COMPILED = {"numpy": list(SYSTEMS), "c": list(SYSTEMS), "numba": ["lstm"]}


def needs(backend: str) -> None:
    if backend == "numba":
        pytest.importorskip("numba")


def calls(case: Case) -> dict[str, tuple[Mapping[str, Any], ...]]:
    """The functions of a system, with what they are given."""
    fed = {
        **case.inputs,
        **{name: array for name, array in case.targets.items() if name in read_by_states(case.system)},
    }
    found: dict[str, tuple[Mapping[str, Any], ...]] = {
        "forward": (case.params, fed, case.initial),
        "vjp": (case.params, fed, case.cotangents, case.initial),
    }
    if case.system.has_loss:
        found["value_and_grad"] = (case.params, case.inputs, case.targets, case.initial)
    return found


def read_by_states(system: System) -> set[str]:
    return {source for target, source, _ in system.reads if target != LOSS}


def flat(found: Any) -> Arrays:
    """Results by name, the loss among them."""
    return {"the loss": found[0], **found[1]} if isinstance(found, tuple) else found


def assert_same(found: Any, wanted: Any, where: str) -> None:
    found, wanted = flat(found), flat(wanted)
    assert found.keys() == wanted.keys(), where
    for name in wanted:
        assert np.array_equal(found[name], wanted[name]), f"{where}: {name}\n{found[name]}\nwanted\n{wanted[name]}"


@pytest.mark.parametrize(("backend", "name"), [(b, n) for b, some in COMPILED.items() for n in some])
def test_a_bound_function_reads_what_the_arrays_hold(backend: str, name: str):
    needs(backend)
    case = Case(SYSTEMS[name], seed=11)
    compiled = compile_system(case.system, backend)
    for function, given in calls(case).items():
        bound, plain = compiled.bind(function, *given), getattr(compiled, function)
        first = bound()
        kept = {key: np.copy(array) for key, array in flat(first).items()}
        assert_same(first, plain(*given), f"{name}, {function}, {backend}, seed 11")
        for arrays in given:
            for array in arrays.values():
                array *= 0.75
        second = bound()
        assert_same(second, plain(*given), f"{name}, {function}, {backend}, seed 11, other numbers")
        assert_same(flat(first), kept, f"{name}, {function}, {backend}: what a call returned is changed by the next")


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_bind_their_own_arrays(backend: str):
    pytest.importorskip(backend)
    case = Case(load("gru"), dtype="float32")
    if backend == "torch":
        import torch

        given = [{k: torch.from_numpy(v) for k, v in group.items()} for group in calls(case)["vjp"]]
    else:
        import jax

        given = [{k: jax.numpy.asarray(v) for k, v in group.items()} for group in calls(case)["vjp"]]
    compiled = compile_system(case.system, backend, "float32")
    found, wanted = compiled.bind("vjp", *given)(), compiled.vjp(*given)
    for name in wanted:
        assert np.array_equal(np.asarray(found[name]), np.asarray(wanted[name])), name


@pytest.mark.parametrize("backend", ["numpy", "c"])
def test_what_would_be_copied_is_refused(backend: str):
    case = Case(load("lstm"), dtype="float32")
    compiled = compile_system(case.system, backend, "float32")
    given = calls(case)["vjp"]
    with pytest.raises(ValueError, match=r"x .*copied"):
        compiled.bind("vjp", given[0], {"x": case.inputs["x"].astype("float64")}, *given[2:])
    with pytest.raises(ValueError, match=r"b_i .*copied"):
        compiled.bind("vjp", {**given[0], "b_i": given[0]["b_i"].tolist()}, *given[1:])


def test_what_can_not_be_bound_is_a_sentence():
    compiled = compile_system(load("gru"))
    with pytest.raises(DeriveError, match="forward, vjp, value_and_grad"):
        compiled.bind("gradient", {}, {})
    with pytest.raises(DeriveError, match="vjp takes cotangents"):
        compiled.bind("vjp", {}, {})
    with pytest.raises(DeriveError, match="gru has no value_and_grad"):
        compiled.bind("value_and_grad", {}, {}, {})


def test_c_refuses_arrays_with_gaps():
    case = Case(load("lstm"), dtype="float32")
    compiled = compile_system(case.system, "c", "float32")
    params, inputs, *others = calls(case)["vjp"]
    every_other = np.repeat(inputs["x"], 2, axis=0)[::2]
    with pytest.raises(ValueError, match=r"x.*copied"):
        compiled.bind("vjp", params, {"x": every_other}, *others)
    turned = {name: np.asfortranarray(array) for name, array in params.items()}
    assert_same(compiled.bind("vjp", turned, inputs, *others)(), compiled.vjp(params, inputs, *others), "lstm in C")


@pytest.mark.parametrize("backend", ["numpy", "c"])
def test_a_length_that_is_given_as_a_number_stays_one(backend: str):
    system = System("decay", equations="h[t] = a * h[t-1]", parameters="a", shapes="h: n")
    compiled = compile_system(system, backend, "float32")
    ones = np.ones((3, 2), "float32")
    given = {"a": 0.5 * ones[0]}, {"T": 3}, {"h": ones}, {"h[0]": ones[1]}
    found = compiled.bind("vjp", *given)()
    assert_same(found, compiled.vjp(*given), "a system without inputs")
    assert found["a"].dtype == "float32"


@pytest.mark.parametrize("backend", ["c", "numba"])
def test_shapes_are_checked_when_a_function_is_bound(backend: str):
    needs(backend)
    case = Case(load("gru"))
    params, inputs, *others = calls(case)["vjp"]
    with pytest.raises(ValueError, match="x"):
        compile_system(case.system, backend).bind("vjp", params, {"x": inputs["x"][..., :-1].copy()}, *others)
