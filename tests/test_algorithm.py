"""The sweeps that are written to be read do what the emitted modules do: every state, the loss and every gradient."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from test_emit_contract import CATALOGUE, CELLS, DIMENSIONS, WITH_LOSS, Case, lengths

from derive import catalogue
from derive.emit.algorithm import Program, Routine, program
from derive.emit.sweeps import sweeps
from derive.system import LOSS, System

FAMILIES = {name: catalogue.load(name) for name in ("mdrnn(3)", "stacked-lstm(3)")}
SYSTEMS = {**CATALOGUE, **FAMILIES, **CELLS, **WITH_LOSS}
SEED = 11

Values = dict[str, dict[str, np.ndarray]]


def size(system: System, s: Any, T: int) -> int:
    return int(s) if s.is_Integer else {**DIMENSIONS, **lengths(system, T)}[str(s)]


class Run:
    """The program of a system and its module, on the same numbers."""

    def __init__(self, system: System, T: int):
        self.system, self.T = system, T
        self.case = Case(system, T=T, batch=(), seed=SEED)
        self.program: Program = program(system)
        self.compiled = system.compile("numpy")
        self.points = list(product(*(range(1, n + 1) for n in lengths(system, T).values())))
        fed = [v.name for v in system.of_kind("target") if v.name in self.compiled.module.INPUTS]
        self.inputs = {**self.case.inputs, **{name: self.case.targets[name] for name in fed}}

    def matrix(self, name: str, value: Any) -> np.ndarray:
        return np.reshape(value, [size(self.system, s, self.T) for s in self.system.variables[name].shape])

    def trajectory(self, name: str, array: np.ndarray | None = None) -> Any:
        """A trajectory with the values of an array, and the boundary values of that name."""
        shape = [size(self.system, s, self.T) for s in self.system.variables[name].shape]
        found = self.program.module["Trajectory"](*shape)
        for point in self.points if array is not None else ():
            found[key(point)] = self.matrix(name, array[tuple(i - 1 for i in point)])
        for border in self.system.borders:
            values = {**self.case.params, **self.case.initial}
            if border.variable == name:
                for point, where in self.border(border):
                    found[key(point)] = self.matrix(name, values[border.key][where])
        return found

    def border(self, border: Any) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """The points of a border, and where they stand in its array."""
        axes = []
        sides = zip(border.sides, self.system.lattice.indices, lengths(self.system, self.T).values(), strict=True)
        for side, index, n in sides:
            axes.append([int(side.coordinate(index, n))] if side.depth else range(1, n + 1))
        kept = [axis for axis, side in enumerate(border.sides) if not side.depth]
        return [(point, tuple(point[axis] - 1 for axis in kept)) for point in product(*axes)]

    def call(self, routine: Routine, values: dict[str, Any]) -> dict[str, Any]:
        sizes = {
            name: size(self.system, symbol, self.T) for name, symbol in routine.symbols.items() if name not in "tijk"
        }
        given = [sizes[name] if name in sizes else values[name] for name in routine.arguments]
        found = self.program.module[routine.name](*given)
        return dict(zip(routine.results, [found] if len(routine.results) == 1 else found, strict=True))

    def cotangents(self) -> dict[str, np.ndarray]:
        drawn = self.case.cotangents
        return {v.name: drawn[v.var.base] for v in self.system.of_kind("cotangent") if len(v.var.marks) == 1}

    def given(self) -> dict[str, Any]:
        names, values = self.program.names, {}
        for v in self.system.parameters:
            values[names[v.name]] = self.matrix(v.name, self.case.params[v.name]).copy()
        for v in self.system.of_kind("input", "target"):
            values[names[v.name]] = self.trajectory(v.name, {**self.case.inputs, **self.case.targets}[v.name])
        for v in self.system.states:
            values.setdefault(names[v.name], self.trajectory(v.name))
        for v in self.system.of_kind("cotangent"):
            values[names[v.name]] = self.trajectory(v.name, self.cotangents()[v.name])
        return values


def key(point: tuple[int, ...]) -> Any:
    return point if len(point) > 1 else point[0]


@cache
def run(name: str, T: int) -> tuple[Run, dict[str, Any], dict[str, Any]]:
    found = Run(SYSTEMS[name], T)
    values = found.given()
    forward, *backward = found.program.routines
    states = found.call(forward, values)
    return found, states, found.call(backward[0], {**values, **states}) if backward else {}


@pytest.mark.parametrize("T", [1, 4])
@pytest.mark.parametrize("name", SYSTEMS)
def test_forward_is_that_of_the_module(name: str, T: int):
    found, states, _ = run(name, T)
    wanted = found.compiled.forward(found.case.params, found.inputs, found.case.initial)
    for state, array in wanted.items():
        shown = states[found.program.names[state]]
        for point in found.points:
            expected = found.matrix(state, array[tuple(i - 1 for i in point)])
            np.testing.assert_allclose(
                shown[key(point)], expected, rtol=0, atol=1e-13, err_msg=f"{state} {point} {SEED}"
            )
    if found.system.has_loss:
        losses = states[found.program.names[LOSS]]
        ends = found.points[-1:] if found.system.loss == "last" else found.points
        loss, _ = found.compiled.value_and_grad(
            found.case.params, found.case.inputs, found.case.targets, found.case.initial
        )
        assert abs(sum(float(losses[key(p)][0, 0]) for p in ends) - loss) < 1e-12 * (1 + abs(loss))


@pytest.mark.parametrize("T", [1, 4])
@pytest.mark.parametrize("name", SYSTEMS)
def test_gradients_are_those_of_the_module(name: str, T: int):
    found, _, gradients = run(name, T)
    case, names, system = found.case, found.program.names, found.system
    if system.has_loss:
        _, wanted = found.compiled.value_and_grad(case.params, case.inputs, case.targets, case.initial)
    else:
        outputs = {name: case.cotangents[name] for name in system.outputs}
        wanted = found.compiled.vjp(case.params, case.inputs, outputs, case.initial)
    borders = {b.key: b for b in system.borders}
    compared = 0
    for gradient, array in wanted.items():
        base = borders[gradient].variable if gradient in borders else gradient
        bar = names.get(f"{base}_bar", f"{base}_bar")
        said = f"{gradient} of {name} at T = {T}, seed {SEED}\n{found.program.source}"
        if bar not in gradients:
            assert not np.any(array), said
            continue
        shown = gradients[bar]
        if gradient in borders:
            pairs = [(shown[key(point)], array[where]) for point, where in found.border(borders[gradient])]
        elif base in case.inputs:
            pairs = [(shown[key(point)], array[tuple(i - 1 for i in point)]) for point in found.points]
        else:
            pairs = [(shown, array)]
        for left, right in pairs:
            np.testing.assert_allclose(left, found.matrix(base, right), rtol=1e-10, atol=1e-10, err_msg=said)
            compared += 1
    assert compared


DERIVED = {
    **{
        f"the adjoint of {name}": CATALOGUE[name].adjoint()
        for name in ("gru", "rnn", "mdlstm", "linear-attention", "birnn")
    },
    **{f"the tangent of {name}": CATALOGUE[name].tangent() for name in ("lstm", "skip-rnn", "mdrnn")},
    "Hessian-vector products of an elman network": CATALOGUE["elman"].adjoint().tangent(),
}


@pytest.mark.parametrize("name", DERIVED)
def test_an_adjoint_or_a_tangent_is_one_sweep(name: str):
    """All its equations, those of the forward pass too, and the gradients by boundary values."""
    found = Run(DERIVED[name], 3)
    system, case = found.system, found.case
    (routine,) = found.program.routines
    states = found.call(routine, found.given())
    wanted = found.compiled.forward(case.params, {**found.inputs, **found.cotangents()}, case.initial)
    for key_, array in wanted.items():
        shown = states[found.program.names[key_.partition("[")[0]]]
        if "[" in key_:
            where = key_.partition("[")[2].removesuffix("]").replace("T", str(found.T))
            pairs = [(shown[int(eval(where))], array)]
        elif system.variables[key_].indexed:
            pairs = [(shown[key(p)], array[tuple(i - 1 for i in p)]) for p in found.points]
        else:
            pairs = [(shown, array)]
        for left, right in pairs:
            right = found.matrix(key_.partition("[")[0], right)
            np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-10, err_msg=f"{key_}\n{routine.source}")


@pytest.mark.parametrize("name", CATALOGUE)
def test_as_few_loops_as_directions(name: str):
    """Forwards and backwards: one nest of loops for each direction that a recurrence of the system has."""
    system, adjoint = CATALOGUE[name], CATALOGUE[name].adjoint()
    directions = 2 if name in ("birnn", "blstm") else 1
    assert len(sweeps(system, [n for n in system.equations if n != LOSS], 1)) == directions
    assert len(sweeps(adjoint, [e.name for e in adjoint.own], -1)) == directions


@pytest.mark.parametrize("name", SYSTEMS)
def test_boundary_values_have_gradients_and_no_other_do(name: str):
    system = SYSTEMS[name]
    given = {b.key for b in system.borders if system.variables[b.variable].kind != "target"}
    (*_, backward) = program(system).routines
    reached = [var for found in backward.reached.values() for var in found]
    names = [f"{var.base}[{','.join(str(i).replace(' ', '') for i in var.index)}]" for var in reached]
    assert len(names) == len(set(names)) and set(names) <= given, names
