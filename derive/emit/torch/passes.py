"""The statements of a program as lines of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sympy import Expr, Integer

from derive import expr
from derive.emit.code import COLUMN, MATRIX, ROW, SCALAR, WIDTH, kind_of, wrapped
from derive.emit.layout import Names, Place, spaced
from derive.emit.source import indented, under_conditions
from derive.emit.torch.groups import Accumulated, Fused, accumulated, fused
from derive.emit.torch.memory import Block, Memory, read_once, summed
from derive.emit.torch.printer import TorchPrinter
from derive.emit.torch.statements import Into
from derive.expr import Node, Var
from derive.schedule.program import (
    STORED,
    Assign,
    Edge,
    Item,
    OuterTotal,
    Pack,
    Product,
    Sweep,
    Total,
)
from derive.schedule.terms import can_be_infinite, is_backward, terms_of

AS_MATRIX = {MATRIX: "{}", ROW: "{}[None]", COLUMN: "{}[:, None]", SCALAR: "{}[None, None]"}
LONGEST = 30
"""Characters of a name that is made of several."""

AS_VECTOR = {COLUMN: "{}", ROW: "{}", SCALAR: "{}[None]"}


class Pass:
    """Writes the statements of one function.

    `views` are the names for pieces of memory and for packed parameters that its lines use, with what they stand for.
    """

    def __init__(self, memory: Memory, names: Names):
        self.memory, self.names, self.system = memory, names, memory.system
        self.lattice = self.system.lattice
        self.everywhere = Place.everywhere(self.lattice.dimension)
        self.place, self.inside = self.everywhere, False
        self.printer = TorchPrinter(self.read, names.size, lambda e: spaced(e, names, self.lattice))
        self.views: dict[str, str] = {}
        self.packs: dict[str, str] = {}
        self.made: set[str] = set()
        """The blocks that a statement makes: they need no memory beforehand."""
        self.stepped: dict[str, tuple[str, str]] = {}
        self.local: set[str] = set()
        self.fused: Fused | None = None
        every = memory.margins.values()
        self.shift = [max([1, *(m[axis][0] for m in every)]) - 1 for axis in range(self.lattice.dimension)]

    def new_name(self, wanted: str) -> str:
        """A name that means nothing else in this function."""
        while wanted in self.names.taken or wanted in self.local:
            wanted += "_"
        self.local.add(wanted)
        return wanted

    # --- what is read -------------------------------------------------------------------------------------------------------

    def block(self, var: Var) -> Block | None:
        return self.memory.of.get(var.name)

    def called(self, var: Var) -> str:
        """What a variable is called: the name of the part whose memory it shares."""
        block = self.block(var)
        root = next((part[0] for part in block.parts if var.name in part), var.name) if block else var.name
        return self.names.of[root]

    def read(self, var: Var) -> str:
        """A variable at the place of the statement."""
        return self.at(self._together(var) if self.fused else self.called(var), var)

    def _together(self, var: Var) -> str:
        """What a variable of a fused statement is called: its span, with an axis for the parts where one vector is shared."""
        assert self.fused is not None
        parts = self.fused.spans.get(var.name)
        if parts is None:
            name = self.called(var)
            return self.view(f"{name}_each", f"{name}[..., None, :]") if var.name in self.fused.shared else name
        name = self.span(parts)
        if not self.fused.shared:
            return name
        return self.view(f"{name}_each", f"{name}.unflatten(-1, ({len(parts)}, -1))")

    def at(self, name: str, var: Var) -> str:
        """The memory of `name`, where `var` is read."""
        block = self.block(var)
        if not var.index or (block is not None and block.storage != STORED):
            return name
        margins = self.memory.margins[var.name]
        if self.inside and all(step is not None for step in self.place.steps):
            where = [self._text(i + s) for i, s in zip(var.index, self.shift, strict=True)]
            missing = [s + 1 - before for s, (before, _) in zip(self.shift, margins, strict=True)]
            return f"{self._steps(name, missing)}{''.join(f'[{w}]' for w in where)}"
        parts = []
        for axis, (index, i) in enumerate(zip(var.index, self.lattice.indices, strict=True)):
            before, after = margins[axis]
            if self.place.steps[axis] is None and index.has(i):
                first, last = self.place.margins[axis]
                start, stop = before + int(index - i) + first, after - int(index - i) + last
                parts.append(f"{start or ''}:{-stop or ''}")
            else:
                parts.append(self._text(index + before - 1))
        while parts and parts[-1] == ":":
            parts.pop()
        return f"{name}[{', '.join(parts)}]" if parts else name

    def _text(self, e: Expr) -> str:
        return spaced(e, self.names, self.lattice)

    def _steps(self, name: str, missing: list[int]) -> str:
        if name not in self.stepped:
            known = self.new_name(f"{name}_at")
            text = self.printer.call("steps", name, *map(str, missing))
            self.stepped[name] = known, f"{known} = {text}"
        return self.stepped[name][0]

    def span(self, parts: Sequence[Var]) -> str:
        """The name of consecutive parts of a block as one array."""
        block = self.block(parts[0])
        if len(parts) == 1 or block is None:
            return self.called(parts[0])
        roots = [next(k for k, part in enumerate(block.parts) if v.name in part) for v in parts]
        assert roots == list(range(roots[0], roots[0] + len(roots))), [v.name for v in parts]
        if len(roots) == len(block.parts):
            return self.block_name(block)
        return self._slice(block, roots[0], roots[-1] + 1)

    def _slice(self, block: Block, start: int, stop: int) -> str:
        sizes = [self.names.size(n) for n in block.sizes]
        first = f"{summed(sizes[:start])} " if start else ""
        last = f" {summed(sizes[:stop])}" if stop < len(sizes) else ""
        return self.view(joined([p[0] for p in block.parts[start:stop]]), f"{self.block_name(block)}[..., {first}:{last}]")

    def view(self, wanted: str, text: str) -> str:
        known = next((name for name, t in self.views.items() if t == text), None)
        if known is None:
            known = self.new_name(wanted)
            self.views[known] = text
        return known

    def block_name(self, block: Block) -> str:
        if len(block.parts) == 1:
            return self.names.of[block.parts[0][0]]
        if block.name not in self.names.renamed:
            self.names.renamed.add(block.name)
            self.names.of[block.name] = self.names.new(joined([p[0] for p in block.parts]))
        return self.names.of[block.name]

    # --- parameters ---------------------------------------------------------------------------------------------------------

    def matrix(self, pack: Pack) -> str:
        return self._pack(pack, AS_MATRIX)

    def transposed(self, pack: Pack) -> str:
        name = self.matrix(pack)
        return self.view(f"{name}_T", f"{name}.T") if name.isidentifier() else f"{name}.T"

    def by_columns(self, pack: Pack) -> str:
        """For a product in a loop, where the copy pays."""
        name = self.matrix(pack)
        text = self.printer.call("by_columns", name)
        return self.view(f"{name}_columns" if name.isidentifier() else "columns", text)

    def bias(self, pack: Pack) -> str:
        return self._pack(pack, AS_VECTOR)

    def _pack(self, pack: Pack, form: Mapping[str, str]) -> str:
        parts = [form[kind_of(p)].format(self.names.of[p.name]) for p in pack.parts]
        if len(parts) == 1:
            return parts[0]
        text = f"torch.cat(({', '.join(parts)}))"
        known = next((name for name, t in self.packs.items() if t == text), None)
        if known is None:
            known = self.new_name(pack.name if len(pack.name) <= LONGEST else joined([p.name for p in pack.parts]))
            self.packs[known] = text
        return known

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
            return f"range({self._text(first)}, {self._text(last + 1)})"
        return f"range({self._text(last)}, {self._text(first - 1)}, -1)"

    def _guard(self, behind: Mapping[int, int], around: Mapping[int, Mapping[str, int]]) -> str:
        """The condition that a variable which is behind its loop, or ahead of it, is within the lattice."""
        conditions = []
        for axis in (axis for axis, shifts in around.items() if any(shifts.values())):
            step, length = self.place.steps[axis], self.lattice.lengths[axis]
            assert step is not None
            conditions.append(f"1 <= {self._text(step)} <= {self._text(length)}")
        return " and ".join(conditions)

    def _moved(self, node: Node) -> Node:
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
        target, value = self._moved(item.target), self._moved(expr.add(*plain) if plain else expr.Zero(*item.value.shape))
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
            if var.index and self.block(var) is block and self.called(var) == self.called(target):
                if self.read(var) == self.read(target) and read_once(value, var):
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
            offsets = {self.system.offset(v) for v in expr.variables(term) if v.index and self._is_adjoint(v)}
            offsets = {offset for offset in offsets if any(offset)}
            (offset,) = offsets if len(offsets) == 1 else ((),)
            if offset and can_be_infinite(term):
                guarded.append((offset, term))
            else:
                plain.append(term)
        return plain, guarded

    def _is_adjoint(self, var: Var) -> bool:
        """Whether a variable is zero beyond the lattice, as adjoints are and what is computed of them."""
        return is_backward(var) or var.name in self.memory.backward

    def _guarded(self, target: Var, offset: tuple[int, ...], term: Node) -> list[str]:
        if self.inside:
            out = self.read(self._moved(target))  # type: ignore[arg-type]
            lines = wrapped("", f"{out}.add_({self._value(self._moved(term))})")
            return [f"if {self._within(offset)}:", *indented(lines)]
        self.place = Place(self.place.steps, tuple((max(0, -o), max(0, o)) for o in offset))
        lines = wrapped("", f"{self.read(target)}.add_({self._value(term)})")
        self.place = self.everywhere
        return lines

    def _within(self, offset: tuple[int, ...]) -> str:
        conditions = []
        for axis, (o, step) in enumerate(zip(offset, self.place.steps, strict=True)):
            if o and step is not None:
                limit = self.lattice.lengths[axis] if o > 0 else Integer(1)
                conditions.append(f"{self._text(step + o)} {'<=' if o > 0 else '>='} {self._text(limit)}")
        return " and ".join(conditions)

    def _value(self, node: Node) -> str:
        return self.printer.full(self.printer.value(node), node).text

    # --- products -----------------------------------------------------------------------------------------------------------

    def product(self, item: Product) -> list[str]:
        matrix = self.transposed(item.pack)
        if item.transposed:
            matrix = self.by_columns(item.pack) if self.inside else self.matrix(item.pack)
        first = self._moved(item.operands[0])
        assert isinstance(first, Var)
        operand = self.at(self.span(item.operands), first)
        operand = f"{operand}[..., None]" if self._is_scalar(item.operands) else operand
        target = self._moved(item.target)
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
        out = f"{out}[..., None]" if self._is_scalar(item.targets) else out
        if self.lattice.dimension == 1 or (self.inside and all(s is not None for s in self.place.steps)):
            if not self.inside:
                operand = self.printer.call("rows", operand)
                out = f"{out}.view(-1, {self._width(item.targets)})"
            if isinstance(item, Accumulated):
                return wrapped("", f"{out}.addmm_({operand}, {matrix})")
            return wrapped("", f"torch.mm({operand}, {matrix}, out={out}){added}")
        product = f"{operand} @ {matrix}"
        return wrapped("", f"torch.add({product}, {bias}, out={out})" if bias else f"{out}.copy_({product})")

    def _is_scalar(self, parts: Sequence[Var]) -> bool:
        return len(parts) == 1 and kind_of(parts[0]) == SCALAR

    def _is_made(self, item: Product) -> bool:
        block = self.block(item.target)
        assert block is not None
        whole = len(block.parts) == len(item.targets) == len(block.names)
        return whole and not any(map(any, block.margins)) and not self._is_scalar(item.targets)

    def _width(self, parts: Sequence[Var]) -> str:
        return summed([self.names.size(p.shape[0]) for p in parts])

    # --- gradients ----------------------------------------------------------------------------------------------------------

    def total(self, item: Total) -> str:
        """The sum of a value over lattice and batch."""
        text = self.printer.total(item.value)
        return f"({text})[None]" if kind_of(item.target) == ROW else text

    def outer_total(self, item: OuterTotal) -> tuple[str, list[str]]:
        """The text of the sum for all targets, and what makes each of their gradients of its rows."""
        left = self.at(self.span(item.left), item.left[0])
        left = f"{left}[..., None]" if self._is_scalar(item.left) else left
        rows = self.printer.call("rows", left)
        if item.right is None:
            shapes = ["[0]" if kind_of(t) == SCALAR else "[None]" if kind_of(t) == ROW else "" for t in item.targets]
            return f"{rows}.sum(0)", shapes
        right = self.read(item.right)
        right = f"{right}[..., None]" if kind_of(item.right) == SCALAR else right
        shapes = [{MATRIX: "", ROW: "", COLUMN: "[:, 0]", SCALAR: "[0, 0]"}[kind_of(t)] for t in item.targets]
        return f"({self.printer.call('rows', right)}.T @ {rows}).T", shapes

    def edge(self, item: Edge) -> tuple[list[str], list[tuple[str, list[str]]]]:
        """The text of a boundary value's gradient, and under their conditions what is added where the lattice is long enough."""
        self.place, self.inside = Place(item.steps, self.everywhere.margins), False
        plain, late = [], []
        for term in terms_of(item.value):
            condition = self._reached(term) if can_be_infinite(term) else ""
            if condition:
                late.append((condition, [self._value(term)]))
            elif not isinstance(term, expr.Zero):
                plain.append(term)
        node = expr.add(*plain) if plain else None
        value = self.printer.full(self.printer.value(node), node) if node is not None else None
        self.place = self.everywhere
        return ([value.text] if value is not None and value.batched else []), late

    def _reached(self, term: Node) -> str:
        """The condition that all adjoints which a term reads near the border lie inside the lattice."""
        conditions: dict[str, None] = {}
        for var in (v for v in expr.variables(term) if v.index and self._is_adjoint(v)):
            for axis, (index, n) in enumerate(zip(var.index, self.lattice.lengths, strict=True)):
                if index.is_Integer and index > 1:
                    conditions[f"{index} <= {self.names.length[axis]}"] = None
                elif index.has(n) and index != n:
                    conditions[f"{n - index} < {self.names.length[axis]}"] = None
        return " and ".join(conditions)


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


def joined(names: Sequence[str]) -> str:
    """`i_f_o_g`, and `i_f_o_g_delta` for names with the same ending."""
    stems = [name.split("_") for name in names]
    ending: list[str] = []
    while all(len(s) > 1 for s in stems) and len({s[-1] for s in stems}) == 1:
        ending.insert(0, stems[0][-1])
        stems = [s[:-1] for s in stems]
    name = "_".join([*("_".join(s) for s in stems), *ending])
    return name if len(name) <= LONGEST else f"{names[0]}_to_{names[-1]}"
