"""What all parts of an emitted NumPy module are written with: the names, the arrays, and where a statement stands."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sympy import Expr

from derive.emit.code import ArrayPrinter
from derive.emit.face import Face
from derive.emit.layout import Layout, Names, Place
from derive.emit.numpy.parts import turned
from derive.emit.numpy.regions import Arrays, Everywhere, Region, Zipped
from derive.emit.numpy.waves import Waves, in_waves
from derive.emit.source import (
    uses,
)
from derive.schedule.fronts import planes
from derive.schedule.program import (
    Pack,
    Program,
)


class Writer:
    def __init__(self, program: Program):
        self.planes = planes(program)
        self.scheduled = in_waves(program, self.planes)
        self.layers = turned(self.scheduled)
        """The program as it was scheduled, and as it is written."""
        self.program = program = self.layers.program
        self.system = program.system
        self.face = Face(program)
        system = self.system
        systems = [s for s in (system, program.adjoint) if s is not None]
        names = dict.fromkeys([*(n for s in systems for n in s.variables), *program.arrays])
        self.names = Names(system, names)
        self.layout = Layout(systems, self.names, system.lattice)
        self.arrays = Arrays(self.layers, self.names, self.layout)
        self.everywhere = Place.everywhere(system.lattice.dimension)
        self.region: Region | Zipped | Waves = Everywhere(self.arrays, self.everywhere)
        self.printer = ArrayPrinter(lambda var: self.region.read(var), self.names.size, self._position)
        self.scratch: dict[tuple[str, tuple[str, ...], int], str] = {}
        """Scratch arrays of the function that is being written: `(whether for all rows, sizes, which) -> name`."""
        self.scratch_names: dict[tuple[str, int], str] = {}
        self.wave_names: dict[str, str] = {}
        """What things are called inside of loops over waves."""
        self.in_blocks = False
        self.numbers: dict[str, str] = {}
        self.halves: set[str] = set()
        """Products that come halved, and below, the sigmoids that take them."""
        self.halved: set[str] = set()
        self.turned: dict[tuple[str, tuple[str, ...]], tuple[str, list[str]]] = {}
        """Copies of packs as products read them, with the lines that make them."""
        self.halving: dict[tuple[str, tuple[str, ...]], tuple[str, list[str]]] = {}
        """What halves them: `(how many columns, which of them) -> name, lines`."""
        self.packs: dict[Pack, str] = {}
        """The packs of the function that is being written, with their names."""
        self.kept_stacks: dict[str, None] = {}
        """The stacks of the forward pass of which the backward pass reads several parts at once."""
        self.unknown: list[str] = []
        """The functions without a formula that the source calls, known once it is written."""

    def _position(self, e: Expr) -> str:
        """A step as it is compared with another one."""
        return self.layout.row(e, 0)

    def _number(self, text: str) -> str:
        """A number as an array without axes, which is not converted at every call."""
        if text not in self.numbers:
            known = {"1": "one", "0": "zero", "0.5": "half", "2": "two"}
            self.numbers[text] = self.names.new(known.get(text, "number_" + re.sub(r"\W+", "_", text)))
        return self.numbers[text]

    def _number_lines(self, body: Sequence[str]) -> list[str]:
        used = {text: name for text, name in self.numbers.items() if uses(body, name)}
        return [f"{name} = np.asarray({text}, dtype)" for text, name in used.items()]

    def _entry(self, name: str) -> str:
        return f'values["{name}"]'
