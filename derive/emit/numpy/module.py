"""The module: its functions, and what they share."""

from __future__ import annotations

import re
from typing import Any

from derive.emit import library
from derive.emit.code import ROW, kind_of, total, wrapped
from derive.emit.face import example_border
from derive.emit.numpy.losses import Losses
from derive.emit.numpy.regions import Beyond, Everywhere
from derive.emit.numpy.waves import waves_text
from derive.emit.source import (
    ARRAYS,
    BIND,
    BORDERED,
    COTANGENTS,
    FLAT,
    MAIN,
    PARTS,
    SIZES,
    UNKNOWN,
    called_in,
    dictionary,
    function,
    quoted,
    uses,
    without_double_blanks,
)
from derive.schedule.program import (
    Edge,
    Program,
    Total,
)

BAR = "_bar"


class Module(Losses):
    def __init__(self, program: Program):
        super().__init__(program)
        self.halved = self._halved()

    def source(self) -> str:
        """The text of the module."""
        backward = self.program.adjoint is not None
        body = [self._forward()]
        if backward:
            body += [self._vjp(), *([self._value_and_grad()] if self.face.loss else []), self.face.check()]
        self.in_blocks = backward and self._has_blocks()
        pull = [self._pull()] if backward else []
        pull = [*([self._blocks()] if self.in_blocks else []), *pull]
        body += [self._run(), *pull]
        called = library.with_dependencies(called_in(self.printer.called, body))
        self.unknown = re.findall(r'_unknown\("([^"]+)"\)', "\n".join(called))
        body += [*called, *([UNKNOWN] if self.unknown else [])]
        body += [FLAT] if any("_flat(" in part for part in body) else []
        body += [PARTS] if any("_parts(" in part for part in body) else []
        body += [self._filled(text) for text in (ARRAYS, SIZES)]
        body += [COTANGENTS] if backward else []
        pads = [f"[({before}, {after})]" for before, after in zip(self.layout.before, self.layout.after, strict=True)]
        body += [waves_text(self.planes.values(), body)] if any("_waves(" in part for part in body) else []
        if any("_bordered(" in part for part in body):
            body.append(BORDERED.format(pads=" + ".join(pads), d=len(pads)))
        body += [MAIN] if backward else []
        imports = ["import difflib", "import functools", "import math"]
        tables = self.face.tables(bool(self.unknown))
        head = "\n".join([self.face.docstring("NumPy"), "", *imports, "", "import numpy as np", "", *tables])
        return "\n\n\n".join([head, *(part.strip("\n") for part in body)]) + "\n"

    def _filled(self, text: str) -> str:
        """What all modules share, for this system's targets, and for lengths that are given where nothing has them."""
        text = self.face.checked(text)
        text = text.replace(" **TARGETS_TABLE,", " **TARGETS," if self.face.targets else "")
        text = text.replace("TARGETS_TABLE", "TARGETS" if self.face.targets else "{}")
        if self.face.derived:
            text = text.replace("(math.prod(batch),) if math.prod(batch) != 1 else ()", "batch")
        if self.face.inputs:
            return text
        # Lengths stand where shapes do: nothing else has them.
        lengths = f"({quoted(str(n) for n in self.system.lattice.lengths)})"
        for old, new in {
            "given = (params, inputs,": "given = (params, {},",
            "    sizes = _sizes(*found,": f"    found[1] = tuple((name, int(inputs[name])) for name in {lengths})\n"
            "    sizes = _sizes(*found,",
            '_check_shapes("inputs", _shapes(inputs), INPUTS, sizes)': "sizes |= dict(inputs)",
            "(params, inputs, initial, targets) for *_": "(params, initial, targets) for *_",
        }.items():
            text = text.replace(old, new)
        return text

    def _forward(self) -> str:
        lines = ["values, sizes = _run(*_arrays(params, inputs, initial))"]
        states, inner = self.face.states, self.layout.inner
        lines.append(f"states = {{name: values[name][{inner}] for name in STATES}}")
        rows = [v for v in states if v.var.index and kind_of(v.var) == ROW]
        lines += [f'states["{v.name}"] = states["{v.name}"][..., None, :]' for v in rows]
        more = [*(v.name for v in states if not v.var.index), *(edge.key for edge in self.face.outer)]
        if more:
            lines.append("states |= {name: values[name] for name in TOTALS}")
        lines.append('return _batched(STATES, states, sizes["batch"], sizes["..."])')
        doc = f"""
            Every state at every step, by name.

            `initial` holds boundary values, such as {example_border(self.face)}; those that are left out are zero.
        """
        return function("forward(params, inputs, initial=None)", doc, lines)

    def _vjp(self) -> str:
        rows = [name for name in self.program.seeds if kind_of(self.system.variables[name].var) == ROW]
        lines = [
            "values, sizes = _arrays(params, inputs, initial)",
            "return _vjp(values, sizes, _cotangents(cotangents, sizes))",
        ]
        inner = [
            *(f'given = {{**given, "{name}": given["{name}"][..., 0, :]}}' for name in rows),
            "values, _ = _run({**values}, sizes)",
            "gradients = _pull(values, sizes, given)",
            'return _batched({**INPUTS, **INITIAL}, gradients, sizes["batch"], sizes["..."])',
        ]
        names = " and ".join(self.program.seeds)
        doc = f"""
            The gradients of sum(cotangents[h] * h) over h = {names}; a cotangent that is left out is zero.

            Of every parameter, summed over the batch, and for each sample of every input and of every boundary value.
        """
        what = "The gradients, of arrays that were looked at."
        parts = [
            function("vjp(params, inputs, cotangents, initial=None)", doc, lines),
            function("_vjp(values, sizes, given)", what, inner),
            BIND.strip("\n"),
        ]
        return "\n\n\n".join(parts)

    def _run(self) -> str:
        """The forward pass."""
        self.scratch, self.turned, self.halving = {}, {}, {}
        face, program = self.face, self.program
        items = self._items(program.forward)
        extra: list[str] = []
        for gradient in program.gradients if face.derived else ():
            extra += self._derived_total(gradient)
        needed = [*items, *extra]
        given = {v.name for v in face.inputs} & self.arrays.bare
        known = {v.name: self.names.of[v.name] for v in self._trajectories() if v.name not in given}
        known |= {name: name for name in self.kept_stacks}
        known |= {
            name: name
            for name in self._packed(program.backward).values()
            if name in self._packed(program.forward).values()
        }
        arrays = self._made(program.forward, [*needed, *known.values()])
        borders = self._set_borders([*face.inputs, *face.states])
        inputs = [
            self._input(v)
            for v in face.inputs
            if v.name not in self.arrays.bare or uses([*needed, *borders], self.names.of[v.name])
        ]
        body = [*self._note(), *inputs, *arrays, *borders, "", *items, *extra]
        body += ["", *dictionary("values |= ", known), "return values, sizes"]
        points = self._points(body)
        turned = self._turned_lines()
        numbers = self._number_lines([*body, *turned])
        head = [
            *self._parameters([*body, *turned]),
            *self._sizes([*body, *points, *numbers]),
            *points,
            *numbers,
            *self._packing(self._packed(program.forward)),
            *turned,
        ]
        doc = "All arrays by name, with their rows around the lattice."
        return function("_run(values, sizes)", doc, without_double_blanks([*head, "", *body]))

    def _derived_total(self, gradient: Any) -> list[str]:
        """What a derived system says without an index, or beyond the lattice."""
        if isinstance(gradient, Edge):
            self.region = Beyond(self.arrays, gradient)
            return wrapped(f'values["{gradient.key}"] = ', self._text(gradient.value))
        self.region = Everywhere(self.arrays, self.everywhere)
        if isinstance(gradient, Total):
            return wrapped(f'values["{gradient.target.name}"] = ', total(self.printer, gradient.value))
        return self._outer_total(gradient, "values")
