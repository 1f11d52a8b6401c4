"""A whole program as routines of loops over blocks of memory.

of `forward`      sweep       every state
of gradients      record      what the backward sweep needs of the forward one
                  loss        its value, and the cotangents that it starts from
                  backward    the adjoints, and the gradients
                  direct      what the loss gives to gradients by itself
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from derive import expr
from derive.emit.loops.economy import Pass, carry, needed, recompute
from derive.emit.loops.kernel import Kernel, Maker
from derive.emit.loops.losses import Loss, loss_of
from derive.emit.loops.memory import PARAMETERS, Block, border_block, width_of
from derive.expr import Var
from derive.lattice import Border
from derive.schedule import schedule
from derive.schedule.program import Program, statements
from derive.schedule.storage import read_by
from derive.system import LOSS, System, Variable


@dataclass(frozen=True)
class Plan:
    """`parameters`: their blocks, in the order of their memory, learned boundary values among them.

    `inputs` are what `forward` is given, `borders` the boundary values that are known by a key, given or learned.
    """

    system: System
    program: Program
    parameters: tuple[Block, ...]
    inputs: tuple[Variable, ...]
    borders: tuple[Border, ...]
    forward: Kernel
    gradients: Kernel | None
    loss: Loss | None


@cache
def plan(system: System, seeds: tuple[str, ...] | None = None) -> Plan:
    """The routines of a system; `seeds` are the states that have cotangents."""
    program = schedule(system, seeds, coefficients=False)
    read = {v.name for s in system.states if s.name != LOSS for v in expr.variables(system.equations[s.name].rhs)}
    fed = [v for v in system.of_kind("target") if v.name in read]
    known = {v.name for v in system.of_kind("input", "state", "target")} - {LOSS}
    borders = tuple(b for b in system.borders if b.variable in known)
    loss = loss_of(system, program.seeds) if system.has_loss and program.adjoint else None
    made = _Making(system, program, (*system.inputs, *fed), borders, loss)
    return Plan(system, program, made.parameters, made.inputs, borders, made.forward(), made.gradients(), loss)


class _Making:
    def __init__(
        self,
        system: System,
        program: Program,
        inputs: tuple[Variable, ...],
        borders: tuple[Border, ...],
        loss: Loss | None,
    ):
        self.system, self.program, self.inputs, self.borders, self.loss = system, program, inputs, borders, loss
        self.parameters = parameters(system, program, borders)

    def forward(self) -> Kernel:
        one = Pass(self.program.forward)
        maker = Maker(self, [one], {v.name for v in self.system.states})
        return maker.kernel({"sweep": maker.sweep(one, arriving=self.inputs)})

    def gradients(self) -> Kernel | None:
        if self.program.adjoint is None:
            return None
        forward = Pass(self.program.forward)
        new = self._new_name()
        backward = carry(self.system, Pass(self.program.backward, self.program.gradients), new)
        backward = recompute(self.system, forward, backward, new)
        wanted = {v.name for s in (*statements(backward.items), *backward.gradients) for v in read_by(s)}
        kept = {v.name for v in self.loss.variables} if self.loss else set()
        record = Pass(needed(forward.items, wanted | kept))
        maker = Maker(self, [record, backward], kept)
        routines = {"record": maker.sweep(record, arriving=self.inputs)}
        if self.loss:
            routines["loss"] = maker.loss(self.loss)
        cotangents = [
            Variable(self.system.variables[n].var.marked("ct"), "cotangent", True) for n in self.program.seeds
        ]
        routines["backward"] = maker.sweep(backward, arriving=cotangents)
        if self.loss and self.loss.direct:
            routines["direct"] = maker.direct(self.loss)
        return maker.kernel(routines)

    def _new_name(self) -> Callable[[Var, str], Var]:
        taken = {t.name for s in statements((*self.program.forward, *self.program.backward)) for t in s.targets}
        taken |= set(self.system.variables)

        def new(target: Var, role: str) -> Var:
            name = f"{target.name.removesuffix('_bar')}_{role}"
            while name in taken:
                name += "_"
            taken.add(name)
            return Var(name, (), self.system.lattice.indices, *target.shape)

        return new


def parameters(system: System, program: Program, borders: tuple[Border, ...]) -> tuple[Block, ...]:
    """Every parameter, those of one pack behind one another; then the learned boundary values."""
    order: dict[str, None] = {}
    for pack in program.packs:
        if not any(p.name in order for p in pack.parts):
            order.update(dict.fromkeys(p.name for p in pack.parts))
    order.update(dict.fromkeys(v.name for v in system.parameters))
    found = [
        Block(name, PARAMETERS, (name,), (width_of(system.variables[name].shape),), (), batched=False) for name in order
    ]
    learned = [border_block(system, b, b.key, PARAMETERS) for b in borders if system.boundary[b.variable] == "learned"]
    return (*found, *learned)
