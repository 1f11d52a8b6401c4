"""The second adjoint: what the gradients change by, and with them the backward pass of the backward pass.

`s = Σ <u, gradient>` is the derivative of `Σ <cotangent, state>` along `u`.  Its gradient by the cotangents is the tangent of
the states along `u`, and its gradient by all else the tangent of the adjoint (Pearlmutter 1994): one forward pass of a derived
system, in which only the tangents of parameters, inputs and boundary values are free.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from derive import expr
from derive.adjoint import adjoint
from derive.schedule.program import Program, Sweep, statements
from derive.schedule.storage import read_by
from derive.schedule.terms import COTANGENT, seeded
from derive.system import Equation, System
from derive.tangent import MARK, tangent


def second_adjoint(system: System, seeds: tuple[str, ...]) -> System:
    """The tangent of the adjoint, without what neither gradients nor states along a direction need.

    Cotangents and targets stand still.
    """
    whole = tangent(adjoint(seeded(system, seeds)))
    still = {v.var.marked(MARK).name for v in system.of_kind("target")}
    still |= {system.variables[name].var.marked(COTANGENT, MARK).name for name in seeds}
    zero = {v: expr.Zero(*v.shape) for e in whole.equations.values() for v in expr.variables(e.rhs) if v.name in still}
    equations = {n: replace(e, rhs=expr.replace(e.rhs, zero), place=None) for n, e in whole.equations.items()}
    wanted = [n for n in equations if n in _wanted(system, seeds)]
    kept = _needed(equations, wanted)
    equations = {n: e for n, e in equations.items() if n in kept}
    read = {v.name for e in equations.values() for v in expr.variables(e.rhs)}
    variables = {n: v for n, v in whole.variables.items() if n in kept or n in read}
    parts = replace(whole.parts, equations=equations, variables=variables, outputs=tuple(wanted))
    return System.of(parts)


def _wanted(system: System, seeds: tuple[str, ...]) -> set[str]:
    """The tangents of gradients, and of the states that have cotangents."""
    found = {v.var.marked("bar", MARK).name for v in (*system.parameters, *system.inputs)}
    found |= {system.variables[b.variable].var.marked("bar", MARK).name for b in system.borders}
    return found | {system.variables[name].var.marked(MARK).name for name in seeds}


def live(program: Program, wanted: Collection[str]) -> Program:
    """`program` without the statements outside of loops that compute neither what is wanted nor what another one reads."""
    while True:
        every = [*statements(program.forward), *statements(program.backward), *program.gradients]
        read = {v.name for s in every for v in read_by(s)} | {*wanted}
        kept = [
            tuple(i for i in items if isinstance(i, Sweep) or any(t.name in read for t in i.targets))
            for items in (program.forward, program.backward)
        ]
        if kept == [program.forward, program.backward]:
            return program
        program = replace(program, forward=kept[0], backward=kept[1])


def _needed(equations: dict[str, Equation], wanted: list[str]) -> set[str]:
    kept: set[str] = set()
    pending = list(wanted)
    while pending:
        name = pending.pop()
        if name not in kept and name in equations:
            kept.add(name)
            pending.extend(v.name for v in expr.variables(equations[name].rhs))
    return kept
