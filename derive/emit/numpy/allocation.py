"""What a function begins with: parameters, sizes, arrays side by side, borders."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from derive.emit.code import ROW, kind_of
from derive.emit.face import axes_along
from derive.emit.numpy.regions import span, width
from derive.emit.numpy.statements import Statements
from derive.emit.numpy.ufuncs import Ref
from derive.emit.numpy.waves import most_points
from derive.emit.source import (
    quoted,
    shape_of,
    uses,
)
from derive.expr import Var
from derive.schedule.program import (
    CARRIED,
    Item,
    Stack,
    statements,
)
from derive.system import Variable

BAR = "_bar"


class Allocation(Statements):
    def _made(self, items: Iterable[Item], body: Sequence[str]) -> list[str]:
        """The arrays that items fill: those of a stack as one, of which the parts are views."""
        lines: list[str] = []
        program = self.program
        wanted = [t for s in statements(tuple(items)) for t in s.targets if t.index and t.name not in program.shared]
        done: set[str] = set()
        single: list[Var] = []
        if self.in_blocks:
            held = [v for v in dict.fromkeys(wanted) if v.name in self.program.inside and self.is_carried(v)]
            lines += self._unpacked([v.name for v in held], "carried")
            wanted = [v for v in wanted if v not in held]
        for var in dict.fromkeys(wanted):
            stack = self.arrays.stack_of.get(var.name, (None, 0))[0]
            if stack is None or any(p.name not in program.arrays for p in stack.parts):
                single.append(var)
            elif stack.name not in done:
                under = self.layers.over.get(stack.name, stack.name)
                both = [s for s in program.stacks if s.name in (under, stack.name)]
                for one in sorted(both, key=lambda s: s.name != under):
                    lines += self._stack(one, body) if one.name not in done else []
                    done.add(one.name)
        return [*lines, *self._allocated(single), *self._scratches()]

    def is_carried(self, var: Var) -> bool:
        return self.program.arrays[var.name].storage == CARRIED

    @property
    def returned(self) -> set[str]:
        """The arrays that are gradients themselves."""
        return {f"{v.name}{BAR}" for v in self.system.inputs}

    def _stack(self, stack: Stack, body: Sequence[str]) -> list[str]:
        """An array for the parts of a stack side by side, and views of those that are used."""
        whole = self._whole(stack)
        lines = [f"{whole} = {self._memory(stack)}"]
        runs = {
            (k, n): name for (s, k, n), name in self.arrays.runs.items() if s == stack.name and n < len(stack.parts)
        }
        parts = [(self.names.of[p.name], f"{whole}{self._parts(stack, k, 1)}") for k, p in enumerate(stack.parts)]
        used = [(name, view) for name, view in parts if uses(body, name)]
        one = f"{', '.join(name for name, _ in used)} = {', '.join(view for _, view in used)}"
        lines += [one] if used and len(one) <= 100 else [f"{name} = {view}" for name, view in used]
        lines += [f"{name} = {whole}{self._parts(stack, k, n)}" for (k, n), name in runs.items() if uses(body, name)]
        return lines

    def _whole(self, stack: Stack) -> str:
        return self.arrays.name(Ref(stack.parts[0].name, (), len(stack.parts)))

    def _memory(self, stack: Stack) -> str:
        """Room for the parts of a stack; where that is the room of another, without what this one has around the lattice."""
        first, wide = stack.parts[0], width(self.arrays, stack.parts)
        under = next((s for s in self.program.stacks if s.name == self.layers.over.get(stack.name)), None)
        if under is not None:
            rows = self.arrays.rows(under.parts[0].name, self.everywhere)
            inside = f"[{rows}]" if rows else ""
            return f"{self._whole(under)}{inside}.reshape({', '.join(self.names.length)}, *batch, {wide})"
        if stack.name in self.arrays.first:
            return self._empty(first, [self.names.size(first.shape[0])], str(len(stack.parts)))
        return self._empty(first, [wide])

    def _parts(self, stack: Stack, k: int, count: int) -> str:
        """Neighbours in a stack, as an index of the whole."""
        if stack.name in self.arrays.first:
            stop = k + count if k + count < len(stack.parts) else ""
            parts = str(k) if count == 1 else f"{k or ''}:{stop}"
            return f"[:, {parts}]" if self.arrays.is_stored(stack.parts[0].name) else f"[{parts}]"
        return self._columns(stack, k, count)

    def _columns(self, stack: Stack, k: int, count: int) -> str:
        start = width(self.arrays, stack.parts[:k]) if k else ""
        stop = width(self.arrays, stack.parts[: k + count]) if k + count < len(stack.parts) else ""
        return f"[..., {span(start, stop)}]"

    def _empty(self, var: Var, sizes: Sequence[str], *parts: str) -> str:
        """An array for all rows, or for one; zeros where there is a border, or a first step that reads what was carried."""
        if self.arrays.is_stored(var.name):
            axes = range(self.system.lattice.dimension)
            rows = self.names.length if var.name in self.arrays.bare else [self.layout.rows(axis) for axis in axes]
        else:
            rows = self._points_of_wave()
        made = "empty" if var.name in self.arrays.bare or self.arrays.is_scratch(var.name) else "zeros"
        return f"np.{made}({shape_of([*rows, *parts, '*batch', *sizes])}, dtype)"

    def _points_of_wave(self) -> list[str]:
        """The rows of an array that lasts a step: none where that is one point."""
        return [most_points(self.planes.values(), self.names.length)] if self.planes else []

    def _allocated(self, variables: Iterable[Var]) -> list[str]:
        """Arrays of zeros, as many of a shape in a line as fit."""
        groups: dict[tuple[str, bool], list[str]] = {}
        for var in variables:
            sizes = [self.names.size(n) for n in var.shape if n != 1]
            groups.setdefault((self._empty(var, sizes), var.name in self.returned), []).append(self.names.of[var.name])
        return _several(groups)

    def _scratches(self) -> list[str]:
        groups: dict[tuple[str, bool], list[str]] = {}
        for (kind, sizes, _), name in self.scratch.items():
            rows = [*self.names.length] if kind == "rows" else self._points_of_wave()
            source = f"np.empty({shape_of([*rows, '*batch', *sizes])}, dtype)"
            groups.setdefault((source, False), []).append(name)
        return _several(groups)

    def _input(self, variable: Variable) -> str:
        """An input or a target, with its rows outside the lattice where such rows are read."""
        value = _without_row(variable.var, self._entry(variable.name))
        value = value if variable.name in self.arrays.bare else f"_bordered({value})"
        return f"{self.names.of[variable.name]} = {value}"

    def _parameters(self, body: Sequence[str]) -> list[str]:
        """The parameters that the lines use, by their names."""
        used = [v for v in self.system.parameters if uses(body, self.names.of[v.name])]
        flat = [v for v in used if kind_of(v.var) != ROW]
        lines = self._unpacked([v.name for v in flat])
        return [*lines, *(f"{self.names.of[v.name]} = {self._entry(v.name)}[0]" for v in used if v not in flat)]

    def _unpacked(self, names: Sequence[str], source: str = "values", mark: str = "") -> list[str]:
        """`W, U = values["W"], values["U"]`, as many in a line as fit."""
        lines: list[str] = []
        left = list(names)
        while left:
            count = next(
                k for k in range(len(left), 0, -1) if k == 1 or len(self._unpack(left[:k], source, mark)) <= 100
            )
            lines.append(self._unpack(left[:count], source, mark))
            left = left[count:]
        return lines

    def _unpack(self, names: Sequence[str], source: str, mark: str) -> str:
        targets = ", ".join(self.names.of[name + mark] for name in names)
        entries = [f'{source}["{name}"]' for name in names]
        if len(names) < 4:
            return f"{targets} = {', '.join(entries)}"
        return f"{targets} = ({source}[name] for name in ({quoted(names)}))"

    def _sizes(self, body: Sequence[str]) -> list[str]:
        symbols = {**{n: n for n in self.system.lattice.lengths}, **{n: n for n in self.system.dimensions}}
        pairs = [(self.names.symbols[s], f'sizes["{s}"]') for s in symbols if uses(body, self.names.symbols[s])]
        pairs += [("batch", 'sizes["batch"]')] if uses(body, "batch") or uses(body, "points") else []
        pairs += [("dtype", 'sizes["dtype"]')] if uses(body, "dtype") else []
        if not pairs:
            return []
        halves = [pairs] if len(pairs) <= 5 else [pairs[:4], pairs[4:]]
        return [f"{', '.join(left for left, _ in half)} = {', '.join(right for _, right in half)}" for half in halves]

    def _note(self) -> list[str]:
        rows = []
        for axis, i in enumerate(self.names.index):
            shift = self.layout.before[axis] - 1
            rows.append(f"step {i} is row {f'{i} + {shift}' if shift else i}")
        note = f"In arrays with a border {', '.join(rows)}; the rows around are the border: boundary values, or zero."
        return [f"# {line}" for line in textwrap.wrap(note, 100)]

    def _set_borders(self, variables: Sequence[Variable]) -> list[str]:
        lines = []
        names = [v.name for v in variables]
        for border in (b for b in self.face.borders if b.variable in names):
            var = self.system.variables[border.variable].var
            place = f"{self.names.of[border.variable]}[{self.layout.border(border)}]"
            value, axes = _without_row(var, self._entry(border.key)), axes_along(border)
            if not self.face.is_learned(border):
                lines += [f'if "{border.key}" in values:', f"    {place} = {value}"]
            elif axes:
                lines.append(f"{place} = np.expand_dims({value}, tuple(range({axes}, {axes} + len(batch))))")
            else:
                lines.append(f"{place} = {value}")
        return lines

    def _points(self, body: Sequence[str], lengths: bool = True) -> list[str]:
        """How many points a sum over the lattice and the batch has."""
        if not uses(body, "points"):
            return []
        factors = [*(self.names.length if lengths else []), "int(np.prod(batch))"]
        return [f"points = {' * '.join(factors)}"]


def _several(groups: Mapping[tuple[str, bool], list[str]]) -> list[str]:
    """`a, b = np.zeros((2, …))`, as many of a shape in a line as fit; each for itself where one may outlive the others."""
    lines: list[str] = []
    for (source, alone), names in groups.items():
        left = names
        while left:
            most = 1 if alone else len(left)
            count = next(k for k in range(most, 0, -1) if k == 1 or len(", ".join(left[:k]) + source) <= 90)
            each = source if count == 1 else source.replace("((", f"(({count}, ", 1)
            lines.append(f"{', '.join(left[:count])} = {each}")
            left = left[count:]
    return lines


def _without_row(var: Var, text: str) -> str:
    """A row vector has one axis inside the module, two outside."""
    return f"{text}[..., 0, :]" if kind_of(var) == ROW else text
