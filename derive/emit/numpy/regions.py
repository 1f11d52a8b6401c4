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
from derive.emit.numpy.parts import Turned
from derive.emit.numpy.ufuncs import Ref
from derive.emit.source import indented
from derive.expr import Var
from derive.schedule.program import SCRATCH, STORED, Edge, Stack, statements
from derive.schedule.storage import read_by


class Arrays:
    """What the arrays of a program are called, and which of them have borders."""

    def __init__(self, layers: Turned, names: Names, layout: Layout):
        self.program, self.first, self.names, self.layout = layers.program, layers.first, names, layout
        program = self.program
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

    def is_first(self, ref: Ref) -> bool:
        """Whether a reference is to several parts, on an axis of their own before that of the batch."""
        return ref.count > 1 and self.stack_of[self.program.shared.get(ref.name, ref.name)][0].name in self.first

    def stack_with(self, name: str) -> Stack | None:
        """The stack that an array lies in, or what it shares its memory with."""
        found = self.stack_of.get(self.program.shared.get(name, name))
        return found and found[0]

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

    def edge_row(self, axis: int, direction: int) -> str:
        """The row of the step before the first, in the direction of a sweep."""
        return str(self.layout.before[axis] - 1 if direction > 0 else -self.layout.after[axis])

    def rows_at(self, var: Var, margins: Sequence[tuple[int, int]]) -> str:
        """The rows of a variable at an index whose steps may be numbers; `margins`: see `Place`."""
        lattice = self.program.system.lattice
        parts = []
        for axis, (index, symbol) in enumerate(zip(var.index, lattice.indices, strict=True)):
            bare = var.name in self.bare
            low, high = margins[axis]
            if index.has(symbol):
                own = f"{low or ''}:{-high or ''}"
                parts.append(own if bare else self.layout.slice(axis, int(index - symbol), margins[axis]))
            else:
                parts.append(self.layout.row(index - (self.layout.before[axis] if bare else 0), axis))
        return ", ".join(parts)


class Reader:
    """Where statements stand: how variables are read there."""

    arrays: Arrays

    def text(self, ref: Ref) -> str:
        raise NotImplementedError

    def read(self, var: Var) -> str:
        system = self.arrays.program.system
        return self.text(Ref(var.name, system.offset(var) if var.index else ()))


class Region(Reader):
    """Statements at one place."""

    def __init__(self, arrays: Arrays, place: Place):
        self.arrays, self.place = arrays, place

    def text(self, ref: Ref) -> str:
        """The source of an array at this place."""
        name = self.arrays.name(ref)
        if not ref.scratch and ref.offset and self.arrays.is_stored(ref.name):
            rows = self.arrays.rows(ref.name, self.place, ref.offset)
            return f"{name}[{rows}]" if rows else name
        return name

    def part_text(self, ref: Ref) -> str:
        """The same with the parts of a run on an axis of their own, before that of the batch."""
        text, axes = self.text(ref), self.arrays.program.system.lattice.dimension
        if ref.count > 1:
            return text if self.arrays.is_first(ref) else f"_parts({text}, {ref.count}, batch)"
        has_rows = ref.scratch or (ref.offset and self.arrays.is_stored(ref.name))
        return f"{text}[{':, ' * axes}None]" if has_rows else text


class Everywhere(Region):
    """All points of the lattice."""


class Indexed(Region):
    """One point of the axes that are swept."""


class Beyond(Region):
    """At a border: arrays are read at steps that are numbers."""

    def __init__(self, arrays: Arrays, edge: Edge, margins: Sequence[tuple[int, int]] = ()):
        super().__init__(arrays, Place(edge.steps, tuple(margins) or ((0, 0),) * len(edge.steps)))

    def read(self, var: Var) -> str:
        arrays = self.arrays
        name = arrays.name(Ref(var.name))
        if not var.index or not arrays.is_stored(var.name):
            return name
        return f"{name}[{arrays.rows_at(var, self.place.margins)}]"


WHEN = {0: "t", -1: "before", 1: "after"}


@dataclass
class _View:
    name: str
    """The variable, or the first of a run."""
    array: str
    offset: int
    turn: int = 0
    """So many parts that lie side by side are read one by one."""


@dataclass
class Zipped(Reader):
    """A sweep along a chain; `views` are what its loop runs over, by their names in the loop."""

    arrays: Arrays
    direction: int
    views: dict[str, _View] = field(default_factory=dict)
    fixed: dict[str, str] = field(default_factory=dict)
    """What is made before the loop: another shape of an array that is not indexed."""

    def text(self, ref: Ref, parts: bool = False) -> str:
        name = self.arrays.name(ref)
        turn = ref.count if parts and ref.count > 1 and not self.arrays.is_first(ref) else 0
        if not ref.offset or ref.scratch or not self.arrays.is_stored(ref.name):
            if turn:
                self.fixed[f"{name}_parts"] = f"_parts({name}, {turn}, batch)"
            return f"{name}_parts" if turn else name
        (offset,) = ref.offset
        when = WHEN.get(offset, f"{'before' if offset < 0 else 'after'}_{abs(offset)}")
        local = f"{name}_{when}" + ("_parts" if turn else "")
        self.views.setdefault(local, _View(ref.name, name, offset, turn))
        return local

    def part_text(self, ref: Ref) -> str:
        return self.text(ref, parts=True)

    def _behind(self) -> dict[str, str]:
        """What is read of the step before where this step's is at hand: `{"h_before": "h_t"}`."""
        now = {(view.array, view.turn): local for local, view in self.views.items() if not view.offset}
        return {
            local: now[view.array, view.turn]
            for local, view in self.views.items()
            if view.offset == -self.direction and (view.array, view.turn) in now
        }

    def footer(self) -> list[str]:
        """The lines after the body of the loop, in the loop: this step becomes the one before."""
        behind = self._behind()
        return [f"{', '.join(behind)} = {', '.join(behind.values())}"] if behind else []

    def header(self) -> list[str]:
        """The lines before the body of the loop."""
        lines = [f"{made} = {source}" for made, source in self.fixed.items()]
        everywhere = Place.everywhere(1)
        reverse = "[::-1]" if self.direction < 0 else ""
        sources, first = {}, {}
        behind = self._behind()
        for local, view in self.views.items():
            rows = self.arrays.rows(view.name, everywhere, (view.offset,))
            rows = self.arrays.edge_row(0, self.direction) if local in behind else rows
            text = f"{view.array}[{rows}]" if rows else view.array
            text = f"_parts({text}, {view.turn}, batch)" if view.turn else text
            if local in behind:
                first[local] = text
            else:
                sources[local] = text + reverse
        lines += [f"{', '.join(first)} = {', '.join(first.values())}"] if first else []
        names = list(sources)
        if len(names) == 1:
            return [*lines, f"for {names[0]} in {sources[names[0]]}:"]
        return [*lines, *for_lines(names, "zip(", list(sources.values()), ["strict=True"])]


def for_lines(names: Sequence[str], call: str, sources: Sequence[str], last: Sequence[str] = ()) -> list[str]:
    """`for names in call(sources):`, on as many lines as it takes; `last` has a line of its own."""
    one = f"for {', '.join(names)} in {call}{', '.join([*sources, *last])}):"
    if len(one) <= 110:
        return [one]
    target = [f"for {', '.join(names)} in {call}"]
    if len(target[0]) > 110:
        target = ["for (", *indented(filled(names)), f") in {call}"]
    return [*target, *indented([*filled(sources), *filled(last)]), "):"]


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


def span(start: str, stop: str) -> str:
    """A slice as a formatter writes it: `:n`, `n:`, `n : 2 * n`."""
    return f"{start} : {stop}".strip() if " " in start + stop else f"{start}:{stop}"
