"""The statements of a program as lines of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sympy import Integer

from derive import expr
from derive.emit.code import SCALAR, WIDTH, kind_of, wrapped
from derive.emit.layout import Place
from derive.emit.source import indented, under_conditions
from derive.emit.torch.groups import Accumulated, Fused, accumulated, fused
from derive.emit.torch.memory import read_once, summed
from derive.emit.torch.statements import Into
from derive.emit.torch.views import Views
from derive.expr import Node, Var
from derive.schedule.program import Assign, Item, Product, Sweep
from derive.schedule.terms import can_be_infinite, is_backward, terms_of


class Pass(Views):
    """Writes the statements of one function."""

    # --- lines --------------------------------------------------------------------------------------------------------------

    def lines(self, items: Sequence[Item]) -> list[str]:
        found: list[str] = []
        for item in items:
            if isinstance(item, Sweep):
                known = set(self.stepped)
                block = self.sweep(item, {})
                views = [line for name, (_, line) in self.stepped.items() if name not in known]
                found += ["", *views, *block, ""]
            else:
                found += self.statement(item)
        return found

    def sweep(self, sweep: Sweep, outer: Mapping[int, Mapping[str, int]]) -> list[str]:
        around = {**outer, sweep.axis: {name: sweep.direction * p for name, p in sweep.shifts.items()}}
        body: list[tuple[str, list[str]]] = []
        for item in self._grouped(sweep):
            if isinstance(item, Sweep):
                body.append(("", self.sweep(item, around)))
            else:
                name = item.targets[0].name
                behind = {axis: of.get(name, 0) for axis, of in around.items()}
                self.place, self.inside = self._place(behind), True
                guard = self._guard(behind, around)
                body.append((guard, self.statement(item)))
                self.place, self.inside = self.everywhere, False
        return [f"for {self.names.index[sweep.axis]} in {self._range(sweep)}:", *indented(under_conditions(body))]

    def _grouped(self, sweep: Sweep) -> Sequence[Item]:
        """What a sweep does, with neighbours taken together where all are at the same step."""
        if any(sweep.shifts.values()):
            return sweep.body
        return fused(accumulated(sweep.body, self.memory), self.memory, self.made)

    def _place(self, behind: Mapping[int, int]) -> Place:
        steps = tuple(i - behind[axis] if axis in behind else None for axis, i in enumerate(self.lattice.indices))
        return Place(steps, self.everywhere.margins)

    def _range(self, sweep: Sweep) -> str:
        behind = [sweep.direction * sweep.shifts.get(name, 0) for name in sweep.names]
        first, last = Integer(1) + min(behind), self.lattice.lengths[sweep.axis] + max(behind)
        if sweep.direction > 0:
            return f"range({self.text(first)}, {self.text(last + 1)})"
        return f"range({self.text(last)}, {self.text(first - 1)}, -1)"

    def _guard(self, behind: Mapping[int, int], around: Mapping[int, Mapping[str, int]]) -> str:
        """The condition that a variable which is behind its loop, or ahead of it, is within the lattice."""
        conditions = []
        for axis in (axis for axis, shifts in around.items() if any(shifts.values())):
            step, length = self.place.steps[axis], self.lattice.lengths[axis]
            assert step is not None
            conditions.append(f"1 <= {self.text(step)} <= {self.text(length)}")
        return " and ".join(conditions)

    def moved(self, node: Node) -> Node:
        steps = zip(self.lattice.indices, self.place.steps, strict=True)
        moved: Node = expr.at(node, {i: step for i, step in steps if step is not None and step != i})
        return moved

    def statement(self, item: Assign | Product) -> list[str]:
        self.fused = item if isinstance(item, Fused) else None
        lines = self.assign(item) if isinstance(item, Assign) else self.product(item)
        self.fused = None
        return lines

    # --- assignments --------------------------------------------------------------------------------------------------------

    def assign(self, item: Assign) -> list[str]:
        plain, guarded = self._terms(item.value)
        target, value = self.moved(item.target), self.moved(expr.add(*plain) if plain else expr.Zero(*item.value.shape))
        assert isinstance(target, Var)
        lines = self._written(target, value)
        for offset, term in guarded:
            lines += self._guarded(item.target, offset, term)
        return lines

    def _written(self, target: Var, value: Node) -> list[str]:
        self.printer.read = self.read
        out = self.read(target)
        text = Into(self.printer, out, self._there(target, value)).line(value)
        copied = f"{out}.copy_("
        if text.startswith(copied) and self._is_free(target) and not isinstance(value, Var):
            self.made.add(target.name)
            full = self.printer.full(self.printer.value(value), value)
            if full.batched:
                return wrapped(f"{out} = ", full.text)
            self.made.discard(target.name)
        return chained(text, out, 4 * sum(step is not None for step in self.place.steps)) if text != out else []

    def _there(self, target: Var, value: Node) -> Var | None:
        """What is read in the place where the result goes."""
        block = self.block(target)
        assert block is not None
        for var in expr.variables(value):
            together = bool(var.index) and self.block(var) is block and self.called(var) == self.called(target)
            if together and self.read(var) == self.read(target) and read_once(value, var):
                return var
        return None

    def _is_free(self, target: Var) -> bool:
        """Whether a statement may make the array that it computes: it stands for all points, and no other piece is there."""
        block = self.block(target)
        assert block is not None
        alone = len(block.names) == 1 and not any(map(any, block.margins))
        return alone and not self.inside

    def _terms(self, value: Node) -> tuple[list[Node], list[tuple[tuple[int, ...], Node]]]:
        """The terms of a right-hand side; apart, with their offset, those that would divide by zero beyond the lattice."""
        plain: list[Node] = []
        guarded = []
        for term in terms_of(value):
            offsets = {self.system.offset(v) for v in expr.variables(term) if v.index and self.is_adjoint(v)}
            offsets = {offset for offset in offsets if any(offset)}
            (offset,) = offsets if len(offsets) == 1 else ((),)
            if offset and can_be_infinite(term):
                guarded.append((offset, term))
            else:
                plain.append(term)
        return plain, guarded

    def is_adjoint(self, var: Var) -> bool:
        """Whether a variable is zero beyond the lattice, as adjoints are and what is computed of them."""
        return is_backward(var) or var.name in self.memory.backward

    def _guarded(self, target: Var, offset: tuple[int, ...], term: Node) -> list[str]:
        before = self.place
        # Along an axis that is not swept, the points that read beyond the lattice are left out.
        margins = [(max(0, -o), max(0, o)) if s is None else (0, 0) for o, s in zip(offset, before.steps, strict=True)]
        self.place = Place(before.steps, tuple(margins))
        lines = wrapped("", f"{self.read(self.moved(target))}.add_({self.value(self.moved(term))})")  # type: ignore[arg-type]
        self.place = before
        condition = self._within(offset)
        return [f"if {condition}:", *indented(lines)] if condition else lines

    def _within(self, offset: tuple[int, ...]) -> str:
        conditions = []
        for axis, (o, step) in enumerate(zip(offset, self.place.steps, strict=True)):
            if o and step is not None:
                limit = self.lattice.lengths[axis] if o > 0 else Integer(1)
                conditions.append(f"{self.text(step + o)} {'<=' if o > 0 else '>='} {self.text(limit)}")
        return " and ".join(conditions)

    def value(self, node: Node) -> str:
        return self.printer.full(self.printer.value(node), node).text

    # --- products -----------------------------------------------------------------------------------------------------------

    def product(self, item: Product) -> list[str]:
        matrix = self.transposed(item.pack)
        if item.transposed:
            matrix = self.by_columns(item.pack) if self.inside else self.matrix(item.pack)
        first = self.moved(item.operands[0])
        assert isinstance(first, Var)
        operand = self.at(self.span(item.operands), first)
        operand = f"{operand}[..., None]" if self.is_scalar(item.operands) else operand
        target = self.moved(item.target)
        assert isinstance(target, Var)
        name = self.span(item.targets)
        bias = self.bias(item.bias) if item.bias else ""
        added = f".add_({bias})" if bias else ""
        if not self.inside and self._is_made(item):
            self.made.add(item.target.name)
            rows = self.printer.call("rows", operand)
            text = f"torch.mm({rows}, {matrix}){added}"
            block = self.block(item.target)
            assert block is not None
            parts = [f"@ {block.name}"] if len(block.parts) > 1 else []
            return [*wrapped(f"{name} = ", f"{text}.view({self.memory.shape(block)})"), *parts]
        out = self.at(name, target)
        out = f"{out}[..., None]" if self.is_scalar(item.targets) else out
        if self.lattice.dimension == 1 or (self.inside and all(s is not None for s in self.place.steps)):
            if not self.inside:
                operand = self.printer.call("rows", operand)
                out = f"{out}.view(-1, {self._width(item.targets)})"
            if isinstance(item, Accumulated):
                return wrapped("", f"{out}.addmm_({operand}, {matrix})")
            return wrapped("", f"torch.mm({operand}, {matrix}, out={out}){added}")
        product = f"{operand} @ {matrix}"
        return wrapped("", f"torch.add({product}, {bias}, out={out})" if bias else f"{out}.copy_({product})")

    def is_scalar(self, parts: Sequence[Var]) -> bool:
        return len(parts) == 1 and kind_of(parts[0]) == SCALAR

    def _is_made(self, item: Product) -> bool:
        block = self.block(item.target)
        assert block is not None
        whole = len(block.parts) == len(item.targets) == len(block.names)
        return whole and not any(map(any, block.margins)) and not self.is_scalar(item.targets)

    def _width(self, parts: Sequence[Var]) -> str:
        return summed([self.names.size(p.shape[0]) for p in parts])


def chained(text: str, out: str, indent: int) -> list[str]:
    """A chain of operations in place, on one line where it fits, else an operation a line."""
    if indent + len(text) <= WIDTH:
        return [text]
    calls, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c == "." and depth == 0 and text[i - 1] in ")]" and i > 0:
            calls.append(text[start:i])
            start = i
    calls.append(text[start:])
    if calls[0] == out:
        calls = [calls[0] + calls[1], *calls[2:]]
    return [line for k, call in enumerate(calls) for line in wrapped("", f"{out if k else ''}{call}", 0)]
