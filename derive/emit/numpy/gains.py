"""Coefficients of the backward sweep, multiplied out: what is a multiple of a multiple of an adjoint is a multiple of it.

    δ_b = g_b ⊙ h̄,  δ_a = g_a ⊙ δ_b        becomes        δ_b = g_b ⊙ h̄,  δ_a = (g_a ⊙ g_b) ⊙ h̄

The coefficients are known before the sweep, for all steps; where δ_a and δ_b lie side by side, a step makes both in one call.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TypeAlias

from derive import expr
from derive.expr import Var
from derive.schedule.program import STORED, Array, Assign, Item, Program, Sweep, statements
from derive.schedule.storage import read_by
from derive.schedule.terms import can_be_infinite

Multiple: TypeAlias = "tuple[Var, Var]"
"""A coefficient, and the adjoint that it multiplies."""


def multiplied_out(program: Program) -> Program:
    """The program with sweeps whose parts of one stack are multiples of what is none of them."""
    for k, item in enumerate(program.backward):
        if isinstance(item, Sweep):
            program = _Coefficients(program, k, item).program()
    return program


class _Coefficients:
    def __init__(self, program: Program, k: int, sweep: Sweep):
        self.before, self.sweep, self.after = list(program.backward[:k]), sweep, program.backward[k + 1 :]
        self.scheduled, self.arrays, self.shared = program, dict(program.arrays), dict(program.shared)
        self.stack = {p.name: s.name for s in program.stacks for p in s.parts}
        every = (*statements(program.forward), *statements(program.backward), *program.gradients)
        self.reads = Counter(v.name for s in every for v in read_by(s))

    def program(self) -> Program:
        found: dict[str, Multiple] = {}
        body: list[Item] = []
        for item in self.sweep.body:
            multiple = self._multiple(item)
            if multiple is not None and isinstance(item, Assign):
                gain, adjoint = multiple
                if adjoint.name in found and self._are_neighbours(item.target, adjoint) and self._is_finite(gain):
                    multiple = self._product(item.target, gain, found[adjoint.name][0]), found[adjoint.name][1]
                    item = replace(item, value=expr.had(*multiple))
                found[item.target.name] = multiple
            body.append(item)
        backward = (*self.before, replace(self.sweep, body=tuple(body)), *self.after)
        return replace(self.scheduled, backward=backward, arrays=self.arrays, shared=self.shared)

    def _multiple(self, item: Item) -> Multiple | None:
        """The factors of `target = gain ⊙ adjoint`, both at the step of the target."""
        if not isinstance(item, Assign) or not isinstance(item.value, expr.Had) or len(item.value.args) != 2:
            return None
        factors = [f for f in item.value.args if isinstance(f, Var) and f.shape == item.target.shape]
        inside = [f for f in factors if f.name in self.sweep.names]
        outside = [f for f in factors if f.name not in self.sweep.names]
        if len(inside) != 1 or len(outside) != 1 or any(f.index != item.target.index for f in factors):
            return None
        return outside[0], inside[0]

    def _are_neighbours(self, one: Var, other: Var) -> bool:
        return one.name in self.stack and self.stack[one.name] == self.stack.get(other.name)

    def _is_finite(self, gain: Var) -> bool:
        return not any(isinstance(s, Assign) and s.target == gain and can_be_infinite(s.value) for s in self.before)

    def _product(self, target: Var, gain: Var, other: Var) -> Var:
        """The coefficient `gain ⊙ other`, in the place of `gain` if nothing else reads it."""
        own = next((s for s in self.before if isinstance(s, Assign) and s.target == gain), None)
        if own is not None and self.reads[gain.name] == 1:
            self.before.remove(own)
            self.before.append(replace(own, value=expr.had(own.value, other)))
            return gain
        name = f"{target.base}_gain"
        while name in self.arrays:
            name += "_2"
        made = Var(name, (), target.index, *target.shape)
        self.arrays[name] = Array(made)
        if self.arrays[target.name].storage == STORED and target.name not in self.shared.values():
            self.shared[name] = target.name
        self.before.append(Assign(made, expr.had(gain, other)))
        return made
