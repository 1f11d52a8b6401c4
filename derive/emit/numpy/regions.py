"""Where the statements of an emitted NumPy function stand, and how arrays are read there.

    Everywhere    for all points of the lattice: `c[1:-1]`
    Zipped        in a sweep along a chain: the loop runs over the rows of arrays, `for c_before, c_t in zip(c[:-2], c[1:-1])`
    Waves         in a sweep of a grid: the same along its waves (`derive.emit.numpy.waves`)
    Indexed       in any other sweep: `c[i - 1, j]`

In an array that has a border, the rows around the lattice hold boundary values, or zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from derive.emit.layout import Layout, Names, Place, run_name
from derive.emit.numpy.ufuncs import Ref
from derive.expr import Var
from derive.schedule.program import SCRATCH, STORED, Edge, Program, statements
from derive.schedule.storage import read_by


class Arrays:
    """What the arrays of a program are called, and which of them have borders."""

    def __init__(self, program: Program, names: Names, layout: Layout):
        self.program, self.names, self.layout = program, names, layout
        self.stack_of = {p.name: (s, k) for s in program.stacks for k, p in enumerate(s.parts)}
        self.runs: dict[tuple[str, int, int], str] = {}
        read = program.system.borders
        given = {v.name for v in program.system.of_kind("input", "target", "cotangent")}
        around = {s for system in (program.system, program.adjoint) if system for _, s, o in system.reads if any(o)}
        self.bare = {n for n in given if n not in around and n not in {b.variable for b in read}}
        self.bare |= {f"{seed}_ct" for seed in program.seeds} | self._inner()
        """Arrays without a border: nothing is read around them."""

    def _inner(self) -> set[str]:
        """The pieces and adjoints that are read where they are computed only, with all that shares their memory."""
        program = self.program
        around = {
            v.name
            for s in (*statements(program.forward), *statements(program.backward))
            for v in read_by(s)
            if v.index and any(program.system.offset(v))
        }
        around |= {v.name for g in program.gradients if isinstance(g, Edge) for v in read_by(g)}
        around |= {name for name, array in program.arrays.items() if array.origin == "state"}
        together = [{p.name for p in s.parts} for s in program.stacks] + [{a, b} for a, b in program.shared.items()]
        count = -1
        while count != len(around):
            count = len(around)
            around |= {name for group in together if group & around for name in group}
        return set(program.arrays) - around

    def name(self, ref: Ref) -> str:
        """The array of a variable, or of a run of parts of a stack."""
        if ref.scratch:
            return ref.name
        base = self.program.shared.get(ref.name, ref.name)
        if ref.count == 1:
            return self.names.of[base]
        stack, k = self.stack_of[base]
        key = stack.name, k, ref.count
        if key not in self.runs:
            self.runs[key] = self.names.new(run_name([p.name for p in stack.parts[k : k + ref.count]]))
        return self.runs[key]

    def is_stored(self, name: str) -> bool:
        array = self.program.arrays.get(name)
        return array is None or array.storage == STORED

    def is_scratch(self, name: str) -> bool:
        array = self.program.arrays.get(name)
        return array is not None and array.storage == SCRATCH

    def rows(self, name: str, place: Place, offset: Sequence[int] = ()) -> str:
        """What stands in brackets behind an array to read it at a place: `1:-1`, `t - 1`; nothing where all of it is read."""
        lattice = self.program.system.lattice
        bare = name in self.bare
        parts = []
        for axis in range(lattice.dimension):
            o, step = (offset[axis] if offset else 0), place.steps[axis]
            if step is not None:
                parts.append(self.layout.row(step + o - (self.layout.before[axis] if bare else 0), axis))
            else:
                low, high = place.margins[axis]
                own = f"{low or ''}:{-high or ''}"
                parts.append(own if bare else self.layout.slice(axis, o, place.margins[axis]))
        while parts and parts[-1] == ":":
            parts.pop()
        return ", ".join(parts)

    def rows_at(self, var: Var) -> str:
        """The rows of a variable at an index whose steps may be numbers."""
        lattice = self.program.system.lattice
        parts = []
        for axis, (index, symbol) in enumerate(zip(var.index, lattice.indices, strict=True)):
            bare = var.name in self.bare
            if index.has(symbol):
                parts.append(":" if bare else self.layout.slice(axis, int(index - symbol)))
            else:
                parts.append(self.layout.row(index - (self.layout.before[axis] if bare else 0), axis))
        return ", ".join(parts)


class Region:
    """Statements at one place."""

    def __init__(self, arrays: Arrays, place: Place):
        self.arrays, self.place = arrays, place

    def text(self, ref: Ref) -> str:
        """The source of an array at this place."""
        name = self.arrays.name(ref)
        if not ref.scratch and ref.offset and self.arrays.is_stored(ref.name):
            rows = self.arrays.rows(ref.name, self.place, ref.offset)
            name = f"{name}[{rows}]" if rows else name
        return f"{name}[..., None, :]" if ref.lifted else name

    def part_text(self, ref: Ref) -> str:
        """The same with the parts of a run on an axis of their own."""
        text = self.text(ref)
        return text if ref.lifted else f"{text}.reshape(*{text}.shape[:-1], {ref.count}, -1)"

    def read(self, var: Var) -> str:
        system = self.arrays.program.system
        return self.text(Ref(var.name, system.offset(var) if var.index else ()))


class Everywhere(Region):
    """All points of the lattice."""


class Indexed(Region):
    """One point of the axes that are swept."""


class Beyond(Region):
    """At a border: arrays are read at steps that are numbers."""

    def __init__(self, arrays: Arrays, edge: Edge):
        super().__init__(arrays, Place(edge.steps, ((0, 0),) * len(edge.steps)))

    def read(self, var: Var) -> str:
        arrays = self.arrays
        name = arrays.name(Ref(var.name))
        if not var.index or not arrays.is_stored(var.name):
            return name
        return f"{name}[{arrays.rows_at(var)}]"


WHEN = {0: "t", -1: "before", 1: "after"}


@dataclass
class _View:
    name: str
    """The variable, or the first of a run."""
    array: str
    offset: int
    suffix: str = ""


@dataclass
class Zipped:
    """A sweep along a chain; `views` are what its loop runs over, by their names in the loop."""

    arrays: Arrays
    direction: int
    views: dict[str, _View] = field(default_factory=dict)
    fixed: dict[str, str] = field(default_factory=dict)
    """What is made before the loop: another shape of an array that is not indexed."""

    def text(self, ref: Ref, parts: bool = False) -> str:
        name = self.arrays.name(ref)
        shape = "[..., None, :]" if ref.lifted else f".reshape(*{{}}.shape[:-1], {ref.count}, -1)" if parts else ""
        if not ref.offset or ref.scratch or not self.arrays.is_stored(ref.name):
            if not shape:
                return name
            return self._made(name, shape)
        (offset,) = ref.offset
        when = WHEN.get(offset, f"{'before' if offset < 0 else 'after'}_{abs(offset)}")
        local = f"{name}_{when}" + ("_each" if parts else "_row" if ref.lifted else "")
        if ref.lifted:
            shape = "[:, ..., None, :]"
        self.views.setdefault(local, _View(ref.name, name, offset, shape))
        return local

    def part_text(self, ref: Ref) -> str:
        return self.text(ref, parts=not ref.lifted)

    def _made(self, name: str, shape: str) -> str:
        made = f"{name}_{'row' if 'None' in shape else 'each'}"
        self.fixed[made] = name + shape.format(name)
        return made

    def read(self, var: Var) -> str:
        system = self.arrays.program.system
        return self.text(Ref(var.name, system.offset(var) if var.index else ()))

    def header(self) -> list[str]:
        """The lines before the body of the loop."""
        lines = [f"{made} = {source}" for made, source in self.fixed.items()]
        everywhere = Place.everywhere(1)
        reverse = "[::-1]" if self.direction < 0 else ""
        sources = []
        for view in self.views.values():
            rows = self.arrays.rows(view.name, everywhere, (view.offset,))
            text = f"{view.array}[{rows}]" if rows else view.array
            sources.append(text + view.suffix.format(text) + reverse)
        names = list(self.views)
        if len(names) == 1:
            return [*lines, f"for {names[0]} in {sources[0]}:"]
        one = f"for {', '.join(names)} in zip({', '.join(sources)}, strict=True):"
        if len(one) <= 110:
            return [*lines, one]
        pairs = [f"    {line}" for line in filled(sources)]
        target = [f"for {', '.join(names)} in zip("]
        if len(target[0]) > 110:
            target = ["for (", *(f"    {line}" for line in filled(names)), ") in zip("]
        return [*lines, *target, *pairs, "    strict=True,", "):"]


def filled(items: Sequence[str]) -> list[str]:
    """Items with commas, as many in a line as fit."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + len(item) < 100:
            lines[-1] += f" {item},"
        else:
            lines.append(f"{item},")
    return lines


def sizes_of(arrays: Arrays, ref: Ref) -> list[str]:
    """The sizes of the last axes of an array, or of a run."""
    if ref.count == 1:
        var = arrays.program.arrays[ref.name].var
        return [arrays.names.size(n) for n in var.shape if n != 1]
    stack, k = arrays.stack_of[ref.name]
    return [width(arrays, [p for p in stack.parts[k : k + ref.count]])]


def width(arrays: Arrays, parts: Sequence[Var]) -> str:
    """How wide parts are side by side: `4 * n`."""
    sizes = [arrays.names.size(p.shape[0]) for p in parts]
    if len(set(sizes)) == 1:
        return sizes[0] if len(sizes) == 1 else f"{len(sizes)} * {sizes[0]}"
    return " + ".join(sizes)
