"""The body of a traced function: the items of a program one after the other, and the arrays that they read by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sympy import Expr

from derive import expr
from derive.emit.code import POWER, RANK, ROW, Value, kind_of, total, wrapped
from derive.emit.jax.chains import scan
from derive.emit.jax.traced import LONG, Scope, Shared, side, sums
from derive.emit.jax.waves import bordered, is_wave, wave
from derive.emit.source import shape_of, uses
from derive.expr import Var
from derive.lattice import Border, Side
from derive.schedule.diagonal import diagonal
from derive.schedule.program import (
    Assign,
    Edge,
    Gradient,
    Item,
    OuterTotal,
    Pack,
    Product,
    Stack,
    Sweep,
    Total,
    names_of,
    statements,
)
from derive.schedule.storage import read_by


class Function(Scope):
    """The body of a function that knows the arrays of a dictionary `values` by name."""

    def __init__(self, shared: Shared, source: Mapping[str, str]):
        self.source = dict(source)
        """Where what is not computed here comes from: `{"x": 'values["x"]'}`."""
        self.head: dict[str, str] = {}
        self.defined: set[str] = set()
        self.biases: dict[str, Pack] = {}
        """Biases that are not yet added, by the name of what lacks them."""
        super().__init__(shared)

    def run(self, items: Iterable[Item], wanted: Iterable[str]) -> None:
        """All items; `wanted` are names of which a caller asks all points."""
        kept = set(wanted)
        items = self._live(tuple(items), kept)
        self.biases = self._late_biases(items, kept)
        for k, item in enumerate(items):
            others = [s for other in items[:k] + items[k + 1 :] for s in statements((other,))]
            if not isinstance(item, Sweep):
                self.statement(item)
                continue
            needed = kept | {v.name for s in (*others, *self._gradients(item)) for v in read_by(s)}
            inside = [n for n in names_of(item) if n in needed]
            if is_wave(item, self.system):
                wave(self, item, inside)
            elif not self._parallel(item):
                scan(self, item, inside)

    def _live(self, items: tuple[Item, ...], kept: set[str]) -> tuple[Item, ...]:
        """The items without those that nothing reads."""
        needed = kept | {v.name for g in self.shared.program.gradients for v in read_by(g)}
        found: list[Item] = []
        for item in reversed(items):
            if needed & set(names_of(item)):
                found.insert(0, item)
                needed |= {v.name for s in statements((item,)) for v in read_by(s)}
        return tuple(found)

    def _late_biases(self, items: Sequence[Item], kept: set[str]) -> dict[str, Pack]:
        """Biases that are added where a chain's steps read the product, which saves a pass over its memory."""
        if self.system.lattice.dimension > 1:
            return {}
        outside = [s for item in items if not isinstance(item, Sweep) for s in (item,)]
        read = kept | {v.name for s in (*outside, *self.shared.program.gradients) for v in read_by(s)}
        inside = [v for item in items if isinstance(item, Sweep) for s in statements(item.body) for v in read_by(s)]
        read |= {v.name for v in inside if v.index and any(self.system.offset(v))}
        waves = [item for item in items if isinstance(item, Sweep) and item.shifts]
        read |= {v.name for s in statements((*waves,)) for v in read_by(s)}
        found = [s for s in outside if isinstance(s, Product) and s.bias and read.isdisjoint(t.name for t in s.targets)]
        return {t.name: s.bias for s in found for t in s.targets if s.bias}

    def _gradients(self, sweep: Sweep) -> Iterator[Gradient]:
        """The gradients that read more of a sweep than it carries out."""
        for gradient in self.shared.program.gradients:
            names = {v.name for v in read_by(gradient)} & set(sweep.names)
            if not (isinstance(gradient, Edge) and all(self.shared.is_last(name, sweep) for name in names)):
                yield gradient

    def _parallel(self, sweep: Sweep) -> bool:
        found = diagonal(sweep)
        if found is None:
            return False
        factor = self.printer.full(self.printer.value(found.factor), found.factor)
        text = factor.lifted(kind_of(found.target)) if expr.is_scalar(found.factor) else factor.text
        rest = self.value(found.rest)
        first = self.border_row(found.target.name, 1, sweep.direction > 0)
        name, reverse = self.names.of[found.target.name], ", reverse=True" if sweep.direction < 0 else ""
        self.shared.called["linear_recurrence"] = ("linear_recurrence", 0)
        self.add(name, f"linear_recurrence({text}, {rest}, {first}{reverse})")
        self.defined.add(found.target.name)
        return True

    # --- what is read -----------------------------------------------------------------------------------------------------

    def read(self, var: Var) -> str:
        if not var.index:
            return self.array(var.name)
        steps = [self._step(i, s) for i, s in zip(var.index, self.system.lattice.indices, strict=True)]
        carried_out = self.shared.local.get((var.name, "last"))
        if carried_out in self.defined and steps[0] in ("first", "last"):
            return carried_out
        name = self.array(var.name)
        if all(step == 0 for step in steps):
            return name
        if len(steps) == 1 and steps[0] in ("first", "last"):
            return f"{name}[{0 if steps[0] == 'first' else -1}]"
        if len(steps) == 1 and var.index[0].has(self.system.lattice.indices[0]):
            return self.moved(var.name, steps[0])
        around = self.around(var.name)
        return f"{around}[{', '.join(self._slice(var.name, axis, i) for axis, i in enumerate(var.index))}]"

    def _step(self, index: Expr, symbol: Expr) -> Any:
        """An offset from the own step, or where a fixed step is."""
        if index.has(symbol):
            return int(index - symbol)
        lengths = self.system.lattice.lengths
        return "first" if index == 1 else "last" if index in lengths else "beyond"

    def _slice(self, name: str, axis: int, index: Expr) -> str:
        before, after = self.shared.before[name][axis], self.shared.after[name][axis]
        symbol, length = self.system.lattice.indices[axis], self.system.lattice.lengths[axis]
        if index.has(symbol):
            offset = int(index - symbol)
            return f"{before + offset or ''}:{-(after - offset) or ''}"
        if index.has(length):
            return str(int(index - length) - after - 1)
        return str(int(index) + before - 1)

    def array(self, name: str) -> str:
        """An array, all points of it."""
        local = self.names.of[name]
        if name in self.defined:
            return local
        stack = self.shared.stack_of.get(name)
        if name in self.source:
            self.head[local] = self.source[name]
        elif stack is not None and stack.name in self.defined:
            self.add(", ".join(self.names.of[p.name] for p in stack.parts),
                     self.split(self.names.of[stack.name], stack.parts))  # fmt: skip
            self.defined |= {p.name for p in stack.parts}
        return local

    def moved(self, name: str, offset: int) -> str:
        """The array of what a chain's steps read of `name` so many steps before, or after."""
        local = self.shared.name(name, side(offset))
        if local not in self.defined:
            self.defined.add(local)
            rows = [self._row_beyond(name, d, offset < 0) for d in range(1, abs(offset) + 1)]
            helper = "delayed" if offset < 0 else "advanced"
            self.shared.called[helper] = (helper, 0)
            ordered = rows[::-1] if offset < 0 else rows
            self.add(local, f"{helper}({self.array(name)}, {', '.join(ordered)})")
        return local

    def around(self, name: str) -> str:
        """An array with the rows before and after its steps."""
        local = self.shared.name(name, "around")
        if local in self.defined:
            return local
        self.defined.add(local)
        array = self.array(name)
        if self.system.lattice.dimension == 1:
            sides: list[str] = []
            for low, depth in ((True, self.shared.before[name][0]), (False, self.shared.after[name][0])):
                rows = [self._row_beyond(name, d, low) for d in range(1, depth + 1)]
                sides.append(f"[{', '.join(rows[::-1] if low else rows)}]")
            self.shared.called["extended"] = ("extended", 0)
            self.add(local, f"extended({array}, {', '.join(sides if sides[1] != '[]' else sides[:1])})")
        else:
            bordered(self, local, name, array)
        return local

    def _row_beyond(self, name: str, depth: int, low: bool) -> str:
        border = self.border(name, (Side(depth, low),))
        if border is not None:
            return self.border_value(border)
        if self.shared.infinite and not self._reads_beyond(name, depth, low):
            return f"{self.array(name)}[{0 if low else -1}]"
        return "None"

    def _reads_beyond(self, name: str, depth: int, low: bool) -> bool:
        """Whether the equations themselves read so far, so that it is a boundary value, or an adjoint, that is zero."""
        offsets = [offset[0] for _, source, offset in self.system.reads if source == name]
        is_forward = name in self.system.variables or name in self.shared.forward
        return not is_forward or any(-o >= depth if low else o >= depth for o in offsets)

    def border_row(self, name: str, depth: int, low: bool) -> str:
        """The value of a chain's array beyond an end."""
        text = self._row_beyond(name, depth, low)
        if text != "None":
            return text
        var = self.variable(name)
        return f"np.zeros({shape_of(['*batch', *self.sizes(var)])}, dtype)"

    def variable(self, name: str) -> Var:
        arrays = self.shared.program.arrays
        if name in arrays:
            return arrays[name].var
        known = self.system.variables
        if name in known:
            return known[name].var
        assert self.shared.program.adjoint is not None
        return self.shared.program.adjoint.variables[name].var

    def border(self, name: str, sides: tuple[Side, ...]) -> Border | None:
        return next((b for b in self.system.borders if b.variable == name and b.sides == sides), None)

    def border_value(self, border: Border) -> str:
        """The name of a boundary value, without the axis of a row, with the axes of the batch."""
        local = self.shared.name(border.variable, "at", _plain(border.key))
        var, text = self.system.variables[border.variable].var, f'values["{border.key}"]'
        text = f"{text}[..., 0, :]" if kind_of(var) == ROW else text
        along = [n for side, n in zip(border.sides, self.names.length, strict=True) if not side.depth]
        if self.system.boundary[border.variable] == "learned":
            spread = f"np.expand_dims({text}, tuple(range({len(along)}, {len(along)} + len(batch))))" if along else text
            text = f"np.broadcast_to({spread}, {shape_of([*along, '*batch', *self.sizes(var)])})"
        self.head[local] = text
        return local

    def position(self, e: Expr) -> str:
        raise AssertionError("a value that depends on its step is computed in a sweep")

    def lead(self) -> str:
        return ", ".join([*self.names.length, "*batch"])

    def joined(self, parts: Sequence[Var]) -> str:
        """Parts side by side: a stack, a piece of one, or put together here."""
        stack = self.shared.stack_of.get(parts[0].name)
        whole = stack is not None and [p.name for p in stack.parts] == [p.name for p in parts]
        if len(parts) == 1 and not (stack is not None and stack.name in self.defined):
            return self.read(parts[0])
        if stack is not None and (whole or stack.name in self.defined):
            local = self.names.of[stack.name]
            if stack.name not in self.defined:
                self.add(local, self.concatenated([self.read(p) for p in parts]))
                self.defined.add(stack.name)
            return local if whole else f"{local}[..., {self._piece(stack, parts)}]"
        return self.concatenated([self.read(p) for p in parts])

    def _piece(self, stack: Stack, parts: Sequence[Var]) -> str:
        first = [p.name for p in stack.parts].index(parts[0].name)
        ends = ["", *sums([self.names.size(p.shape[0]) for p in stack.parts])]
        last = first + len(parts)
        return f"{ends[first]}:{ends[last] if last < len(stack.parts) else ''}"

    def linear(self, item: Product) -> str:
        late = item.targets[0].name in self.biases
        return super().linear(replace(item, bias=None) if late else item)

    def product(self, item: Product) -> None:
        stack = self.shared.stack_of.get(item.targets[0].name)
        if stack is None or [t.name for t in item.targets] != [p.name for p in stack.parts]:
            return super().product(item)
        self.add(self.names.of[stack.name], self.linear(item))
        self.defined.add(stack.name)
        return None

    def statement(self, item: Assign | Product) -> None:
        super().statement(item)
        stack = self.shared.stack_of.get(item.targets[0].name)
        if stack is None or stack.name not in self.defined:
            self.defined |= {t.name for t in item.targets}

    def pack(self, pack: Pack) -> str:
        parts = [self.array(p.name) for p in pack.parts]
        if len(parts) == 1:
            return parts[0]
        local = self.shared.packs[pack]
        if local not in self.defined:
            self.defined.add(local)
            self.add(local, self.concatenated(parts, 0))
        return local

    # --- gradients --------------------------------------------------------------------------------------------------------

    def gradient(self, item: Gradient) -> dict[str, str]:
        """The lines of a gradient; what it is called and where it is."""
        match item:
            case OuterTotal():
                return self._outer(item)
            case Total():
                self.add(self.names.of[item.target.name], total(self.printer, item.value))
                return {item.target.name: self.names.of[item.target.name]}
            case Edge():
                text = self._edge(item)
                if len(text) > LONG:
                    self.add(local := self.shared.name(item.border.variable, "bar_at", _plain(item.border.key)), text)
                return {item.key: text if len(text) <= LONG else local}
            case _:
                self.statement(item)
                return {t.name: self.names.of[t.name] for t in item.targets}

    def _outer(self, item: OuterTotal) -> dict[str, str]:
        left = self.joined(item.left)
        if item.right is None:
            text = self.printer.call("sum_leading", left, "1")
        else:
            text = self.printer.call("sum_outer", left, self.read(item.right))
        locals_ = [self.names.of[t.name] for t in item.targets]
        self.add(", ".join(locals_), self.split(text, item.targets, 0))
        return {t.name: local for t, local in zip(item.targets, locals_, strict=True)}

    def _edge(self, item: Edge) -> str:
        var = self.system.variables[item.border.variable].var
        along = [n for step, n in zip(item.steps, self.names.length, strict=True) if step is None]
        value = self.printer.full(self.printer.value(item.value), item.value)
        if isinstance(item.value, expr.Zero) or not value.batched:
            shape = ", ".join([*along, "*batch", *self.sizes(var)])
            text = "0.0" if isinstance(item.value, expr.Zero) else value.text
            value = Value(f"np.broadcast_to(np.asarray({text}, dtype), ({shape},))", POWER, kind_of(var), True)
        text = value.text
        if self.system.boundary[item.border.variable] == "learned":
            text = self.printer.call("sum_leading", text, str(RANK[kind_of(var)]), f"keep={len(along)}")
        return text

    # --- the whole body -----------------------------------------------------------------------------------------------------

    def body(self, sizes: Mapping[str, str], more: Sequence[str]) -> list[str]:
        """All lines; `sizes` says what lengths and dimensions are, `more` are the lines after these."""
        lines = [*self.lines, *more]
        points = []
        if uses(lines, "points"):
            batch = "math.prod(batch)"
            points = [f"points = {' * '.join([*self.names.length, batch])}"]
        head = [f"{local} = {text}" for local, text in self.head.items()]
        read = [*head, *points, *lines]
        bare = [re.sub(r'"[^"]*"', '""', line) for line in read]
        known = [f"{name} = {text}" for name, text in sizes.items() if uses(bare, name)]
        return [*known, *_grouped(self.head), *points, *lines]


def _grouped(head: Mapping[str, str]) -> list[str]:
    """`x, W = values["x"], values["W"]`, as many in a line as fit."""
    lines: list[str] = []
    names: list[str] = []
    for name, text in (*head.items(), ("", "")):
        plain = text.endswith('"]') and text.count("[") == 1 and not text.count("(")
        line = f"{', '.join([*names, name])} = {', '.join([*(head[n] for n in names), text])}"
        if names and (not plain or len(line) > 96):
            lines.append(f"{', '.join(names)} = {', '.join(head[n] for n in names)}")
            names = []
        if plain:
            names.append(name)
        elif name:
            lines += wrapped(f"{name} = ", text)
    return lines


def _plain(key: str) -> str:
    """`h[0,j]` as a piece of a name: `0_j`."""
    inside = key.partition("[")[2].rstrip("]")
    return inside.replace("-", "m").replace("+", "p").replace(",", "_")
