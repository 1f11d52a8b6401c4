"""Forward mode: the tangent of a system, again a system.

    u_dot[t] = Σ over the entries (u, v, offset) of the table:  J(u, v, offset)[t] v_dot[t + offset]

Tangents of inputs, parameters and boundary values are free.  The tangent of a system together with its adjoint holds
Hessian-vector products: `W_bar_dot` is the derivative of `∂L/∂W` along the direction `(W_dot, x_dot, …)` (Pearlmutter 1994).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from derive import expr
from derive.adjoint import reduction, shared_factors, without_factors
from derive.errors import DeriveError
from derive.expr import Node
from derive.partials import Entry, table
from derive.system import System, Variable

MARK = "dot"


@cache
def tangent(system: System) -> System:
    """`system` with `v_dot` for every state, and free tangents of its inputs and parameters."""
    local = table(system)
    equations = dict(system.equations)
    variables = dict(system.variables)
    for variable in system.variables.values():
        dotted = variable.var.marked(MARK)
        if dotted.name in variables:
            raise DeriveError(
                f"{system.name}: the tangent {dotted.name} collides with a name of the system; rename that one"
            )
        if variable.kind != "state":
            kind = "parameter" if variable.kind == "parameter" else "input"
            variables[dotted.name] = Variable(dotted, kind, variable.indexed)
    for name, equation in system.equations.items():
        target = equation.target.marked(MARK)
        factors = shared_factors(local, name)
        entries = local.of_target(name)
        if not entries:
            rhs: Node = expr.Zero(*target.shape)
        elif target.index:
            rhs = expr.had(*factors, expr.add(*(_term(e, factors) for e in entries)))
        else:
            rhs = reduction(system, entries, lambda e: _term(e, ()))
        equations[target.name] = replace(equation, target=target, rhs=rhs, place=None)
        variables[target.name] = Variable(target, "state", bool(target.index))
    boundary = {**system.boundary, **{f"{n}_{MARK}": kind for n, kind in system.boundary.items()}}
    parts = replace(
        system.parts,
        name=f"{system.name} tangent",
        title=f"Tangent of {system.title}",
        equations=equations,
        variables=variables,
        boundary=boundary,
        given=tuple(system.equations),
    )
    return System.of(parts)


def _term(entry: Entry, factors: tuple[Node, ...]) -> Node:
    source = entry.source.marked(MARK)
    if entry.offset is not None:
        source = source.at(i + o for i, o in zip(source.index, entry.offset, strict=True))
    chains = tuple(without_factors(c, factors) for c in entry.map.chains)
    return replace(entry.map, chains=chains).push(source)
