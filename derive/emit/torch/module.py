"""A system as a standalone PyTorch module: an `nn.Module`, an `autograd.Function`, and the functions of the NumPy module."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

from derive.emit.code import ROW, kind_of
from derive.emit.face import Face, law
from derive.emit.source import (
    UNKNOWN,
    called_in,
    dictionary,
    function,
    uses,
    without_double_blanks,
)
from derive.emit.torch import frame
from derive.emit.torch.body import Body
from derive.emit.torch.loss import Loss
from derive.emit.torch.memory import Memory, TorchNames, summed
from derive.emit.torch.printer import definitions
from derive.emit.torch.second import live, second_adjoint
from derive.expr import Node
from derive.lattice import Border
from derive.schedule import Program, schedule
from derive.schedule.program import STORED, Edge, OuterTotal, statements
from derive.schedule.terms import COTANGENT
from derive.system import LOSS, System, Variable


class Module:
    """The parts of the module's source."""

    def __init__(self, system: System, seeds: tuple[str, ...] | None = None):
        self.system = system
        bars = [v.var.marked("bar").name for v in system.inputs]
        self.program = live(schedule(system, seeds), [*(v.name for v in system.states), *bars])
        self.face = Face(self.program)
        self.derived, self.states, self.loss = self.face.derived, self.face.states, self.face.loss
        self.targets, self.fed, self.inputs = self.face.targets, self.face.fed, self.face.inputs
        self.unknown: list[str] = []
        """The functions without a formula that the source calls, known once it is written."""
        self.needed: list[str] = []
        """Those that it calls but for gradients of gradients."""
        self.dimension = system.lattice.dimension
        self.names = self._names(self.program)
        extra = [self.loss.rhs] if self.loss else []
        self.memory = Memory(self.program, self.names, [*extra, *self._cotangents_read()])
        self.called: dict[str, tuple[str, int]] = {}

    def _cotangents_read(self) -> list[Node]:
        return [v.var for v in self.states if v.var.index]

    def _names(self, program: Program) -> TorchNames:
        systems = [program.system, *([program.adjoint] if program.adjoint else [])]
        every = [*(n for s in systems for n in s.variables), *program.arrays, *(s.name for s in program.stacks)]
        return TorchNames(program.system, dict.fromkeys(every))

    @cached_property
    def like(self) -> str:
        """An array that has the dtype and the device of all others."""
        given = (*self.system.parameters, *self.inputs)
        return f'values["{given[0].name}"]' if given else "next(iter(values.values()), torch.empty(()))"

    def known_borders(self, system: System) -> list[Border]:
        """The borders of what the functions are given or compute, and their tangents."""
        known = {v.name for v in (*self.inputs, *self.states, *(self.targets if self.loss else ()))}
        keys = {b.key for b in self.system.borders if b.variable in known}
        dotted = {b.key.replace(b.variable, f"{b.variable}_dot", 1) for b in self.system.borders if b.variable in known}
        return [b for b in system.borders if b.key in keys or (b.key in dotted and system is not self.system)]

    def body(self) -> Body:
        return Body(self, self.program, self.names, self.memory)

    def collected(self, body: Body) -> None:
        self.called |= body.to.printer.called

    # --- functions --------------------------------------------------------------------------------------------------------

    def source(self) -> str:
        pull = [] if self.derived else [self._pull()]
        run = self._run("".join(pull))
        second = "" if self.derived else self._second()
        parts = [self._forward()]
        if not self.derived:
            parts = [self._module_class(), *parts, self._vjp(), *([Loss(self).function()] if self.loss else [])]
            parts += [self.face.check(frame.CHECK, frame.CHECK_LOSS), frame.RECURRENCE, frame.ADJOINT]
            parts += [run, *pull, second]
        else:
            parts += [run]
        body = "\n\n\n".join(p.strip("\n") for p in parts)
        helpers = frame.helpers(body, self.dimension)
        called = definitions([*called_in(self.called, [body, *helpers])])
        self.unknown = re.findall(r'_unknown\("([^"]+)"\)', "\n".join(called.values()))
        first = body.replace(second, "") if second else body
        needed = definitions([*called_in(self.called, [first, *helpers])])
        self.needed = re.findall(r'_unknown\("([^"]+)"\)', "\n".join(needed.values()))
        lengths = [] if self.inputs else [str(n) for n in self.system.lattice.lengths]
        tail = [
            self.face.checked(frame.arguments(bool(self.targets), lengths)),
            *helpers,
            *called.values(),
            *([UNKNOWN] if self.unknown else []),
        ]
        tail += [] if self.derived else [frame.MAIN]
        head = "\n".join(
            [
                self._docstring(),
                "",
                "import difflib",
                "import functools",
                "import math",
                "",
                "import torch",
                "",
                *self._tables(),
            ]
        )
        return "\n\n\n".join([head, body, *(p.strip("\n") for p in tail)]) + "\n"

    def _computed(self, items: Sequence[object]) -> set[str]:
        return {t.name for s in statements(tuple(items)) for t in s.targets}  # type: ignore[arg-type]

    def _run(self, later: str) -> str:
        """The forward pass."""
        body = self.body()
        names = [v.name for v in self.states]
        computed = self._computed(self.program.forward)
        lines = [*body.borders(names), "", *body.to.lines(self.program.forward), ""]
        gradients = body.gradients(self._derived_keys()) if self.derived else []
        lines += ["gradients = {}", *gradients] if gradients else []
        kept = self._stored(body, later)
        pairs = {name: name for name in kept}
        lines += dictionary("found = ", pairs)
        more = " | gradients" if gradients else ""
        lines.append(f"return values | found{more}")
        self.collected(body)
        doc = """
            The forward pass: all arrays by name.

            The batch is one axis, and rows around the lattice are boundary values or zero.
        """
        return function("run(values, sizes)", doc, body.function(lines, computed))

    def _derived_keys(self) -> dict[str, str]:
        found = {g.key: g.key for g in self.program.gradients if isinstance(g, Edge)}
        for g in self.program.gradients:
            targets = g.targets if isinstance(g, OuterTotal) else () if isinstance(g, Edge) else (g.target,)
            found |= {t.name: t.name for t in targets}
        return found

    def _stored(self, body: Body, later: str) -> list[str]:
        """The arrays of the forward pass that are needed afterwards: states, and what the adjoint equations read."""
        found = []
        computed = self._computed(self.program.forward)
        states = {v.name for v in self.states}
        for block in self.memory.blocks:
            if block.storage == STORED and set(block.names) & computed:
                name = body.to.block_name(block)
                if f'values["{name}"]' in later or set(block.names) & states:
                    found.append(name)
        return found

    def _state(self, body: Body, v: Variable, source: str = "values") -> str:
        """The trajectory of a state, among the values, with one axis for the batch."""
        block = self.memory.of[v.name]
        array = f'{source}["{body.to.block_name(block)}"]'
        if len(block.parts) > 1:
            sizes = [self.names.size(n) for n in block.sizes]
            k = next(k for k, part in enumerate(block.parts) if v.name in part)
            first = f"{summed(sizes[:k])} " if k else ""
            last = f" {summed(sizes[: k + 1])}" if k + 1 < len(sizes) else ""
            where = body.inner(v.var, "")[len(body.to.called(v.var)) :].strip("[]")
            lead = where or "..."
            tail = f"{first}:{last}" if kind_of(v.var) != "scalar" else str(summed(sizes[:k]) or 0)
            return f"{array}[{lead}, {tail}]" if lead == "..." else f"{array}[{lead}, ..., {tail}]"
        return body.inner(v.var, array)

    def _states(self) -> str:
        body = self.body()
        entries = {}
        for v in self.states:
            if v.var.index:
                row = "[..., None, :]" if kind_of(v.var) == ROW else ""
                entries[v.name] = f"outward({self._state(body, v)}, sizes){row}"
        lines = dictionary("return ", entries)
        sizes = body.sizes(lines)
        return function(
            "trajectories(values, sizes)", "The states by name, with the axes of the batch.", [*sizes, *lines]
        )

    def _pull(self) -> str:
        body = self.body()
        lines = body.to.lines(self.program.backward)
        wanted = {v.var.marked("bar").name: v.name for v in self.system.parameters}
        wanted |= {b.key: b.key for b in self.gradient_borders}
        gradients = ["gradients = {}", *body.gradients(wanted)]
        computed = self._computed(self.program.backward)
        got = {
            t.name
            for g in self.program.gradients
            if not isinstance(g, Edge)
            for t in (g.targets if isinstance(g, OuterTotal) else (g.target,))
        }
        for v in self.system.parameters:
            if v.var.marked("bar").name not in got:
                gradients.append(f'gradients["{v.name}"] = torch.zeros_like(values["{v.name}"])')
        for v in self.system.inputs:
            row = "[..., None, :]" if kind_of(v.var) == ROW else ""
            bar = v.var.marked("bar")
            if bar.name in computed:
                gradients.append(f'gradients["{v.name}"] = outward({body.inner(bar)}, sizes){row}')
            else:
                gradients.append(f'gradients["{v.name}"] = torch.zeros_like(values["{v.name}"])')
        seeds = []
        for name in self.program.seeds:
            v = self.system.variables[name]
            ct = v.var.marked(COTANGENT)
            if uses(lines, self.names.of[ct.name]) or uses(gradients, self.names.of[ct.name]):
                call = f'cotangent(cotangents, "{name}", {self._state(body, v)})'
                seeds += body.array(Variable(ct, "cotangent", True), call)
        self.collected(body)
        lines = [*lines, "", *gradients, "return gradients"]
        own = [e for e in (self.program.adjoint.own if self.program.adjoint else ()) if e.name != f"{LOSS}_bar"]
        doc = "The adjoint equations, from the cotangents of states to gradients.\n\n"
        doc += "\n".join(f"    {line}" for e in own for line in law(e))
        cotangents = [self.system.variables[name].var.marked(COTANGENT).name for name in self.program.seeds]
        found = body.function([*seeds, *lines], computed, cotangents)
        return function("pull(values, sizes, cotangents)", doc, without_double_blanks(found))

    @cached_property
    def gradient_borders(self) -> list[Border]:
        return [b for b in self.known_borders(self.system) if self.system.variables[b.variable].kind != "target"]

    # --- the second adjoint -----------------------------------------------------------------------------------------------

    def _second(self) -> str:
        system = second_adjoint(self.system, self.program.seeds)
        program = live(schedule(system), system.outputs)
        names = self._names(program)
        memory = Memory(program, names)
        body = Body(self, program, names, memory)
        computed = self._computed(program.forward)
        lines = [
            *body.borders([v.name for v in system.states]),
            "",
            *body.to.lines(program.forward),
            "",
            "gradients = {}",
        ]
        wanted = {v.var.marked("bar", "dot").name: v.name for v in self.system.parameters}
        wanted |= {b.key.replace(b.variable, f"{b.variable}_bar_dot", 1): b.key for b in self.gradient_borders}
        lines += body.gradients(wanted)
        for v in self.system.inputs:
            bar = v.var.marked("bar", "dot")
            if bar.name in computed:
                row = "[..., None, :]" if kind_of(v.var) == ROW else ""
                lines.append(f'gradients["{v.name}"] = outward({body.inner(bar)}, sizes){row}')
        lines.append("tangents = {}")
        for name in self.program.seeds:
            dot = self.system.variables[name].var.marked("dot")
            if dot.name in computed:
                row = "[..., None, :]" if kind_of(dot) == ROW else ""
                lines.append(f'tangents["{name}"] = outward({body.inner(dot)}, sizes){row}')
        lines.append("return gradients, tangents")
        self.collected(body)
        doc = """
            The second adjoint: how gradients and states change along a direction, the values of names that end in _dot.
        """
        return function("second(values, sizes)", doc, body.function(lines, computed))

    # --- the rest ---------------------------------------------------------------------------------------------------------

    def _forward(self) -> str:
        if self.derived:
            totals = " | {name: found[name] for name in TOTALS}" if self._totals() else ""
            lines = [
                "values, sizes = arguments(params, inputs, initial)",
                "found = run(values, sizes)",
                f"return trajectories(found, sizes){totals}",
            ]
        else:
            lines = [
                "values, sizes = arguments(params, inputs, initial)",
                "return dict(zip(STATES, Recurrence.apply(sizes, *map(values.get, ARGUMENTS)), strict=True))",
            ]
        doc = """
            Every state at every step, by name; gradients flow through them.

            `initial` holds boundary values; those that are left out are zero.
        """
        first = "" if not self.derived else "@torch.no_grad()\n"
        return "\n\n\n".join([first + function("forward(params, inputs, initial=None)", doc, lines), self._states()])

    def _vjp(self) -> str:
        return frame.VJP

    def _totals(self) -> list[str]:
        if not self.derived:
            return []
        return [
            *(v.name for v in self.states if not v.var.index),
            *(g.key for g in self.program.gradients if isinstance(g, Edge)),
        ]

    def _module_class(self) -> str:
        system = self.system
        shapes = self.face.shapes()
        letters = [part for shape in shapes["PARAMETERS"].values() for part in shape.split()]
        order = [str(s) for s in (*system.dimensions, *system.lattice.lengths) if str(s) in letters]
        return frame.module_class(
            frame.class_name(system.name), system.title, order, [v.name for v in self.inputs],
            [str(n) for n in system.lattice.lengths] if not self.inputs else [],
        )  # fmt: skip

    def _tables(self) -> list[str]:
        lines = self.face.tables(bool(self.unknown))
        if not self.derived:
            lines += [
                "",
                "# What the recurrence is a function of, in this order.",
                "ARGUMENTS = (*PARAMETERS, *INPUTS, *INITIAL)",
            ]
        return lines

    def _docstring(self) -> str:
        text = self.face.docstring("PyTorch")
        if self.derived:
            return text
        name = frame.class_name(self.system.name)
        more = f"""`{name}` is a torch.nn.Module; the backward pass of `forward` is the derived adjoint, and its own
backward pass the second adjoint, so that gradients of gradients are exact as well."""
        return text.replace("Run as a program,", f"{more}\nRun as a program,")
