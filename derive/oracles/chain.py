"""Derivatives that no single state has: of expressions, and by the copy of a parameter that one step reads.

Both come from the truth by one rule, the chain rule at a node of the unrolled graph: `∂y/∂x = Σ_v ∂⁺y/∂v · ∂v/∂x` over
what y reads, and `∂y/∂W_(s) = Σ_v ∂y/∂v_s · ∂⁺v_s/∂W` over the states of step s that read W.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy

from derive import expr
from derive.evaluate import Array, Point, Unevaluable, evaluate, reads
from derive.oracles.road import Settle
from derive.oracles.truth import TOTAL, Key, Unrolled

Read = Callable[[expr.Var, Point], Array]


def jacobian(truth: Unrolled, y: Key, x: Key, held: Iterable[str] = ()) -> Array:
    """`∂y/∂x`, total, between names; `x` may be a parameter at a step, which is its copy there.  Raises `Outside`."""
    if not is_copy(truth, x):
        return truth.jacobian(*y, *x, held)
    parts = [truth.jacobian(*y, *v, held) @ truth.immediate(*v, x[0], ()) for v in _readers(truth, x, held)]
    return sum(parts[1:], parts[0]) if parts else _none(truth, truth.value(*y), truth.value(x[0]))


def gradient(truth: Unrolled, x: Key, held: Iterable[str] = ()) -> Array:
    """`∇ L` by a name, or by the copy of a parameter."""
    if not is_copy(truth, x):
        return truth.gradient(*x, held)
    value = truth.value(x[0])
    parts = [truth.pullback(*v, x[0], (), truth.gradient(*v, held)) for v in _readers(truth, x, held)]
    return sum(parts[1:], parts[0]) if parts else truth.engine.ring.full(0, *value.shape)


def immediate(truth: Unrolled, y: Key, x: Key) -> Array:
    """`∂⁺y/∂x`; by a copy it is that by the parameter, where y stands at the copy's step.

    By a parameter that the equation of y does not read, all that earlier steps have computed is held fixed, not what its
    own step has: `∂⁺h_t/∂W` of `a_t = W h_{t-1}, h_t = tanh(a_t)` is that by the copy of W at step t.
    """
    if goes_through_its_step(truth, y, x):
        return jacobian(truth, y, (x[0], y[1]))
    if not is_copy(truth, x):
        return _through_auxiliaries(truth, y, x)
    if y[1] == x[1]:
        return truth.immediate(*y, x[0], ())
    return _none(truth, truth.value(*y), truth.value(x[0]))


def _through_auxiliaries(truth: Unrolled, y: Key, x: Key) -> Array:
    """What an auxiliary state names stands in the equation that reads it."""
    found, equation = truth.immediate(*y, *x), truth.system.equations.get(y[0])
    if truth.auxiliary and equation is not None:
        for var, at in reads(equation.rhs, truth.env(y[1])):
            if var.name in truth.auxiliary and (var.name, at) != x:
                inner = _through_auxiliaries(truth, (var.name, at), x)
                found = found + truth.engine.ring.matmul(truth.immediate(*y, var.name, at), inner)
    return found


def of_expression(
    truth: Unrolled, y: expr.Node, x: Key, env: Mapping[str, int], read: Read, *, total: bool, held: Iterable[str] = ()
) -> Array:
    """The Jacobian of an expression by a name: entries of `y` by entries of `x`.

    Immediate: only what stands in the expression itself moves, and of an entry `y_i` what stands in the equation of y.
    Raises `Unevaluable` where a derivative stands in it.
    """
    value, slopes = _slopes(truth, y, env, read)
    found = _none(truth, value, truth.value(x[0], () if is_copy(truth, x) else x[1]))
    for v, slope in slopes.items():
        if v[0] not in truth.system.variables:
            continue
        inner = _of_name(truth, v, x, total=total, entry=isinstance(y, expr.Entry), held=held)
        found = found if inner is None else found + truth.engine.ring.matmul(slope, inner)
    return found


def by_free(truth: Unrolled, y: expr.Node, x: Key, env: Mapping[str, int], read: Read) -> Array:
    """The Jacobian of an expression by a name that no system knows: nothing else that stands in it moves."""
    found = _slopes(truth, y, env, read)[1]
    if x not in found:
        raise Unevaluable(f"{x[0]} does not stand in {y}, so that the derivative by it says nothing")
    return found[x]


def _slopes(truth: Unrolled, y: expr.Node, env: Mapping[str, int], read: Read) -> tuple[Array, dict[Key, Array]]:
    """The value of an expression, and its Jacobian by each name that stands in it, the others fixed."""
    leaves = {(var.at(()), at): read(var, at) for var, at in reads(y, env)}
    marked = next((var for var, _ in leaves if var.marks), None)
    if marked is not None:
        raise Unevaluable(f"the derivative of {marked} is not worked out, so it has no value here")

    def program(ring: Any, given: Mapping[Any, Array], settle: Settle) -> dict[Any, Array]:
        return {TOTAL: evaluate(y, ring, lambda var, at: given[var.at(()), at], {}, env)}

    run = truth.engine.linearize(program, leaves)
    value = run.values[TOTAL]
    rows = []
    for i, j in numpy.ndindex(*value.shape):
        unit = [[int((a, b) == (i, j)) for b in range(value.shape[1])] for a in range(value.shape[0])]
        rows.append(run.pull(TOTAL, truth.engine.ring.constant(unit)))
    return value, {
        (var.name, at): numpy.concatenate([row[var, at].reshape(1, -1) for row in rows]) for var, at in leaves
    }


def _of_name(truth: Unrolled, v: Key, x: Key, *, total: bool, entry: bool, held: Iterable[str]) -> Array | None:
    """`∂v/∂x` of what an expression reads; None where it does not move."""
    if total:
        return jacobian(truth, v, x, held)
    if entry:
        return immediate(truth, v, x)
    return truth.engine.ring.identity(truth.value(*v).size) if v == x else None


def is_direct(truth: Unrolled, y: Key, x: Key) -> bool:
    """Whether `∂⁺y/∂x` is that of the equation of y and of nothing else."""
    return not is_copy(truth, x) and not goes_through_its_step(truth, y, x)


def goes_through_its_step(truth: Unrolled, y: Key, x: Key) -> bool:
    """Whether x is a parameter that the equation of the state y does not read itself."""
    variable, equation = truth.system.variables.get(x[0]), truth.system.equations.get(y[0])
    if equation is None or not y[1] or x[1] or variable is None or variable.kind != "parameter":
        return False
    return all(v.name != x[0] for v in expr.variables(equation.rhs))


def is_copy(truth: Unrolled, x: Key) -> bool:
    """Whether this is a parameter at a step: the copy of it that the equations of that step read."""
    variable = truth.system.variables.get(x[0])
    return bool(x[1]) and variable is not None and not variable.indexed


def _readers(truth: Unrolled, x: Key, held: Iterable[str]) -> list[Key]:
    """The states of the copy's step whose equations read the parameter, and that are no constants."""
    equations, constant = truth.system.equations, frozenset(held)
    return [
        key for key in truth.schedule
        if key[1] == x[1] and not constant & {key, key[0]}
        and any(v.name == x[0] for v in expr.variables(equations[key[0]].rhs))
    ]  # fmt: skip


def _none(truth: Unrolled, y: Array, x: Array) -> Array:
    return truth.engine.ring.full(0, y.size, x.size)
