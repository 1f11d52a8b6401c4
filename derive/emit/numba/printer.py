"""Routines of `derive.emit.loops` as functions of Python that numba compiles.

Every block of memory is an array of its own shape, `(T + 1, samples, n)`; arrays that lie side by side are columns of one.
A loop over the entries of a sample goes through rows, which are its views.
"""

from __future__ import annotations

import keyword
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from sympy import Expr, Integer

from derive.emit.code import wrapped
from derive.emit.loops.fusion import distinct_reads
from derive.emit.loops.kernel import Kernel
from derive.emit.loops.language import (
    SAMPLE,
    SAMPLES,
    Accumulate,
    Axis,
    Clear,
    Fused,
    Guarded,
    IfGiven,
    Item,
    Multiply,
    Nest,
    Pile,
    Read,
    Rows,
    Same,
    Walk,
    Where,
)
from derive.emit.loops.memory import GIVEN, GRADIENTS, MEMORY, PARAMETERS, VALUES
from derive.emit.loops.names import LoopNames
from derive.emit.loops.plan import Plan
from derive.emit.loops.printer import RoutinePrinter, neighbours
from derive.emit.loops.scalars import ATOM, PRODUCT, SUM
from derive.emit.numba import library
from derive.emit.source import docstring, indented

WIDTH = 110
REGIONS = (PARAMETERS, VALUES, MEMORY, GRADIENTS)
RESERVED = frozenset({
    *library.SOURCES, *keyword.kwlist,
    "np", "math", "numba", "jit", "exact", "real", "forward", "vjp", "value_and_grad", "check", "samples", "sample", "row",
    "column", "inner", "values", "memory", "parameters", "gradients", "total",
})  # fmt: skip
"""Names that mean something else in the routines."""


class LoopPrinter(RoutinePrinter):
    """The functions of one kernel, in Python."""

    AND = " and "
    function_name = staticmethod(library.function_name)

    def __init__(self, plan: Plan, kernel: Kernel, names: LoopNames):
        super().__init__(plan, kernel, names)
        self.spans: dict[str, tuple[str, Expr, tuple[Expr, ...]]] = {}
        """Matrices of several parameters or gradients: region, first number and shape, by their names."""
        self.seen: dict[str, None] = {}
        """The blocks that the routine which is being written uses."""

    # --- functions --------------------------------------------------------------------------------------------------------

    def _function(self, name: str, items: Sequence[Item], title: str) -> str:
        name = "forward" if name == "sweep" else name
        self.spans, self.seen = {}, {}
        body = self._items([Guarded((), item) for item in items])
        self.optional = {i.array for i in items if isinstance(i, IfGiven)}
        declared, arguments = self._made(name, body)
        self.arguments[name] = arguments
        if any("real(" in line for line in body):
            declared.insert(0, f"real = {self._flat(arguments[-1])}.dtype.type")
        return self._definition(f"{name}_loops", title, arguments, [*declared, "", *body])

    def entry(self, name: str, title: str, routines: Sequence[str]) -> str:
        """A function that runs routines one after the other, so that Python calls one only."""
        order = dict.fromkeys(a for routine in routines for a in self.arguments[routine])
        arguments = [*(a for a in order if a not in REGIONS), *(r for r in REGIONS if r in order)]
        self.arguments[name] = arguments
        sizes = [self.names.symbols[s] for s in self.sizes]
        calls = [
            line
            for routine in routines
            for line in _call(f"{routine}_loops", [*sizes, *map(self._flat, self.arguments[routine])])
        ]
        return self._definition(f"{name}_loops", title, arguments, calls)

    def _definition(self, name: str, title: str, arguments: Sequence[str], body: Sequence[str]) -> str:
        sizes = [self.names.symbols[s] for s in self.sizes]
        head = _call(f"def {name}", [*sizes, *map(self._flat, arguments)])
        head[-1] += ":"
        return "\n".join(["@jit", *head, *_folded(indented([docstring(title), *body]))])

    def _flat(self, argument: str) -> str:
        """What a routine calls the numbers of an array, or of a region, in a row."""
        return argument.removeprefix("the ") if argument in REGIONS else f"{self._name(argument)}_flat"

    def _made(self, routine: str, body: Sequence[str]) -> tuple[list[str], list[str]]:
        """The arrays that a routine uses, each with its shape, and the arguments that they are parts of."""
        memory = self.kernel.memory["sweep" if routine == "forward" else routine]
        regions = {PARAMETERS: self.plan.parameters, VALUES: self.kernel.values, MEMORY: memory,
                   GRADIENTS: self.kernel.gradients}  # fmt: skip
        lines: list[str] = []
        found: dict[str, None] = {}
        for key in self.seen:
            block = self.kernel.layout[key].block
            if block.region == GIVEN:
                found[block.name] = None
                if key not in self.optional:
                    lines.append(self._shaped(key))
        for region, blocks in regions.items():
            start: Expr = Integer(0)
            for block in blocks:
                for key in (k for k in self.seen if self.kernel.layout[k].block == block):
                    found[region] = None
                    lines += self._part(self._block_name(key), region, start, self._shape(key))
                start += block.count(self.lattice)
            for name, (where, first, shape) in self.spans.items():
                if where == region:
                    found[region] = None
                    lines += self._part(name, region, first, shape)
        return lines, [*(a for a in found if a not in REGIONS), *(r for r in REGIONS if r in found)]

    def _shaped(self, key: str) -> str:
        shape = ", ".join(map(self.names.size, self._shape(key)))
        return f"{self._block_name(key)} = {self._flat(key)}.reshape({shape})"

    def _part(self, name: str, region: str, start: Expr, shape: Sequence[Expr]) -> list[str]:
        self.called["part"] = "part", 0
        sizes = ", ".join(map(self.names.size, shape)) + ("," if len(shape) == 1 else "")
        return _assigned(name, "=", f"part({self._flat(region)}, {self.names.size(start.expand())}, ({sizes}))")

    def _count(self, shape: Sequence[Expr]) -> Expr:
        count: Expr = Integer(1)
        for size in shape:
            count = count * size
        return count

    # --- arrays -----------------------------------------------------------------------------------------------------------

    def _is_matrix(self, key: str) -> bool:
        """Whether the entries of an array stand in rows and columns of it, and not in a part of its last axis."""
        place = self.kernel.layout[key]
        return len(place.block.parts) == 1 and len(place.shape) == 2

    def _shape(self, key: str) -> list[Expr]:
        place = self.kernel.layout[key]
        block = place.block
        rows = list(block.rows(self.lattice)) if block.axes or block.rolling else []
        return [*rows, *([SAMPLES] if block.batched else []), *(place.shape if self._is_matrix(key) else [block.width])]

    def _first(self, key: str) -> str:
        """The array among those in one block by which the block goes in this routine."""
        block = self.kernel.layout[key].block
        for other in self.seen:
            if self.kernel.layout[other].block == block:
                return other
        self.seen[key] = None
        return key

    def _block_name(self, key: str) -> str:
        first = self._first(key)
        block = self.kernel.layout[first].block
        return self._name(first) if len(block.parts) == 1 else self.names.array(_together(block.parts))

    def _at(self, key: str, steps: tuple[Expr, ...]) -> list[str]:
        """The indices of a point."""
        block = self.kernel.layout[key].block
        if block.rolling:
            return [f"{self.names.bracketed(steps[0])} % 2"]
        before = block.before
        return (
            [self.names.size(Integer(0) + s - 1 + b) for s, b in zip(steps, before, strict=True)] if block.axes else []
        )

    def _columns(self, key: str, width: Expr) -> str:
        """Which part of the last axis an array is; nothing where it is all of it."""
        place = self.kernel.layout[key]
        if place.start == 0 and (place.block.width - width).expand() == 0:
            return ""
        stop = self.names.size((place.start + width).expand())
        return f"{self.names.size(place.start)} : {stop}" if place.start != 0 else f":{stop}"

    def _entry(self, read: Read) -> str:
        if read in self.rows:
            return self.rows[read]
        place = self.kernel.layout[read.array]
        at = [*self._at(read.array, read.steps), *([SAMPLE] if place.block.batched else [])]
        if self._is_matrix(read.array):
            last = list(read.axes)
        else:
            start = [self.names.size(place.start)] if place.start != 0 else []
            own = (
                [f"{read.axes[0]} * {self.names.bracketed(place.shape[1])}", read.axes[1]]
                if len(read.axes) == 2
                else read.axes
            )
            last = [" + ".join([*start, *own]) or "0"]
        return f"{self._block_name(read.array)}[{', '.join([*at, *last])}]"

    # --- items ------------------------------------------------------------------------------------------------------------

    def _items(self, body: Iterable[Guarded]) -> list[str]:
        lines: list[str] = []
        open_condition = ""
        for guarded in body:
            inside, condition = self._item(guarded.item), self._condition(guarded.conditions)
            if condition and condition != open_condition:
                lines.append(f"if {condition}:")
            lines += indented(inside) if condition else inside
            open_condition = condition
        return lines

    def _if_given(self, item: IfGiven) -> list[str]:
        inside = self._items([Guarded((), part) for part in item.body])
        return [f"if {self._flat(item.array)}.size:", *indented([self._shaped(item.array), *inside])]

    def _walk(self, walk: Walk) -> list[str]:
        i = self.names.symbols[self.lattice.indices[walk.axis]]
        first, last, size = walk.first, walk.last, self.names.size
        up = f"for {i} in range({size(first)}, {size(last + 1)}):"
        down = f"for {i} in range({size(last)}, {size(first - 1)}, -1):"
        return [up if walk.direction > 0 else down, *indented(self._items(walk.body))]

    def _loops(self, axes: Sequence[Axis], body: list[str], simd: bool = False) -> list[str]:
        for axis in reversed(axes):
            body = [f"for {axis.name} in range({self.names.size(axis.size)}):", *indented(body)]
        return body

    def _fused(self, item: Fused) -> list[str]:
        """Values first, then what is stored: an array may take the place of another one, entry by entry."""
        rows = self._row_views(item)
        if len(item.nests) == 1:
            (nest,) = item.nests
            body = _assigned(self._entry(nest.target), nest.operation, self._scalar(nest.value)[0])
        else:
            body, stored = [], []
            for nest in item.nests:
                name = self._local(nest.target.array)
                body += _assigned(name, "=", self._scalar(nest.value)[0])
                if nest.target.array not in item.kept_local:
                    stored.append(f"{self._entry(nest.target)} {nest.operation} {name}")
            body += stored
        self.rows = {}
        if not rows:
            return self._loops(item.axes, body)
        return self._loops(item.axes[:1], [*rows, *self._loops(item.axes[1:], body)])

    def _row_views(self, item: Fused) -> list[str]:
        """Names for the rows of a sample that a loop over its entries goes through."""
        names = [axis.name for axis in item.axes]
        if len(names) != 2 or names[0] != SAMPLE:
            return []
        stored = [n.target for n in item.nests if n.target.array not in item.kept_local]
        found = [r for r in (*distinct_reads(item), *stored) if r.batched and r.axes == (names[1],)]
        lines = []
        for read in dict.fromkeys(found):
            name = self._row_name(read)
            at = [*self._at(read.array, read.steps), SAMPLE]
            columns = self._columns(read.array, self.kernel.layout[read.array].shape[0])
            view = ", ".join([*at, *([columns] if columns else [])])
            lines.append(f"{name} = {self._block_name(read.array)}[{view}]")
            self.rows[read] = f"{name}[{names[1]}]"
        return lines

    def _reduction(self, nest: Nest) -> list[str]:
        """A sum over one more axis: innermost where its entries are neighbours, else around the row of results."""
        over, target = nest.over, self._entry(nest.target)
        assert over is not None
        value = self._scalar(nest.value)[0]
        if nest.kind == "sum" and len(nest.target.axes) > 0 and not neighbours(nest):
            start = [] if nest.operation == "+=" else self._loops(nest.axes, [f"{target} = 0"])
            *outer, last = nest.axes
            return [*start, *self._loops([*outer, over, last], _assigned(target, "+=", value))]
        if nest.kind == "sum":
            loop = ["total = real(0)", *self._loops([over], _assigned("total", "+=", value))]
        else:
            loop = ["total = -real(np.inf)", *self._loops([over], _assigned("total", "=", f"max(total, {value})"))]
        return self._loops(nest.axes, [*loop, f"{target} {nest.operation} total"])

    # --- products ---------------------------------------------------------------------------------------------------------

    def _view(self, rows: Rows, width: Expr) -> tuple[str, bool]:
        """Vectors below one another, as a matrix, and whether it is all of its array's columns."""
        key = rows.array
        place, lengths = self.kernel.layout[key], self.lattice.lengths
        name, columns = self._block_name(key), self._columns(key, width)
        steps = [Integer(1) + s - self.lattice.indices[a] if a in rows.every else s for a, s in enumerate(rows.steps)]
        at = self._at(key, tuple(steps))
        count: Expr = SAMPLES
        for axis in rows.every:
            low, length = Integer(0) + steps[axis] - 1 + place.block.before[axis], lengths[axis]
            whole = (place.block.rows(self.lattice)[axis] - length).expand() == 0
            at[axis] = ":" if whole else f"{self.names.size(low)} : {self.names.size(low + length)}"
            count = count * length
        while at and at[-1] == ":":
            at.pop()
        text = f"{name}[{', '.join(at)}]" if at else name
        if rows.every or self._is_matrix(key):
            text += f".reshape({self.names.size(count)}, {self.names.size(place.block.width)})"
        return f"{text}[:, {columns}]" if columns else text, not columns

    def _matrix(self, key: str, sizes: Sequence[Expr]) -> str:
        """A parameter or a gradient, or several that follow one another, as an array of this shape."""
        place = self.kernel.layout[key]
        if [s for s in place.shape] == list(sizes):
            return self._block_name(key)
        blocks = list(self.plan.parameters if place.block.region == PARAMETERS else self.kernel.gradients)
        first = blocks.index(place.block)
        start, count, names = Integer(0), Integer(0), []
        for block in blocks[:first]:
            start = start + block.count(self.lattice)
        total = self._count(sizes)
        for block in blocks[first:]:
            if (count - total).expand() == 0:
                break
            count = count + block.count(self.lattice)
            names.append(block.name)
        name = self.names.array(_stem(names))
        self.spans[name] = place.block.region, start, tuple(sizes)
        return name

    def _multiply(self, item: Multiply) -> list[str]:
        width, depth = (sum(sizes, Integer(0)) for sizes in (item.width, item.depth))
        (target, whole), (left, _) = self._view(item.target, width), self._view(item.left, depth)
        if item.transposed:
            called, matrix = "multiply_across", self._matrix(item.matrix, (width, depth))
        else:
            called, matrix = "multiply" if whole else "multiply_columns", self._matrix(item.matrix, (depth, width))
        self.called[called] = called, 0
        lines = _call(called, [left, matrix, target, str(item.added)])
        return [*lines, *_call("add_to_rows", [self._matrix(item.bias, (width,)), target])] if item.bias else lines

    def _accumulate(self, item: Accumulate) -> list[str]:
        width, depth = (sum(sizes, Integer(0)) for sizes in (item.width, item.depth))
        left, _ = self._view(item.left, width)
        if item.right is None:
            return _call("add_rows", [left, self._matrix(item.target, (width,))])
        right, _ = self._view(item.right, depth)
        return _call("accumulate", [left, right, self._matrix(item.target, (width, depth))])

    def _clear(self, item: Clear) -> list[str]:
        block, name = self.kernel.layout[item.array].block, self._block_name(item.array)
        if block.rolling or len(block.axes) > 1 or getattr(item, "whole", False):
            return [f"{name}[:] = 0"]
        (before,), (after,) = block.before, block.after
        (rows,) = block.rows(self.lattice)
        lines = [f"{name}[:{before}] = 0"] if before else []
        return [*lines, f"{name}[{self.names.size(rows - after)} :] = 0"] if after else lines

    def _pile(self, item: Pile) -> list[str]:
        lines, start = [], Integer(0)
        target = self._block_name(item.target)
        for part in item.parts:
            rows = self.plan.system.variables[part].shape[0]
            at, stop = self.names.size(start), self.names.size(start + rows)
            if item.transposed:
                lines += _call("transpose", [self._block_name(part), target, at])
            else:
                lines.append(
                    f"{target}[{at if start != 0 else ''} : {stop}] = {self._block_name(part)}".replace("[ :", "[:")
                )
            start += rows
        return lines

    # --- scalars ------------------------------------------------------------------------------------------------------------

    def _number(self, value: Expr) -> tuple[str, int]:
        if value.is_number:
            text = library.number(abs(value))
            text = text if text.startswith("exact(") else f"real({text})"
            return (text, ATOM) if value >= 0 else (f"-{text}", SUM)
        above, below = value.as_numer_denom()
        text = f"real({self.names.size(above)})"
        return (text, ATOM) if below == 1 else (f"{text} / real({self.names.size(below)})", PRODUCT)

    def _power(self, base: str, exponent: Expr) -> str:
        return f"({base}) ** real({self.names.size(exponent)})"

    def _same(self, s: Same) -> str:
        return f"exact({s.left} == {s.right})"

    def _where(self, s: Where) -> str:
        return f"({self._scalar(s.value)[0]} if {self._condition(s.conditions)} else real(0))"


def _assigned(target: str, operation: str, text: str) -> list[str]:
    return wrapped(f"{target} {operation} ", text)


def _folded(lines: Iterable[str]) -> Iterator[str]:
    """Assignments that are too long where they stand, on more lines."""
    for line in lines:
        text = line.lstrip()
        target, operation, value = text.partition(" += " if " += " in text else " = ")
        if len(line) > WIDTH and operation:
            yield from wrapped(target + operation, value, len(line) - len(text))
        else:
            yield line


def _call(head: str, arguments: Sequence[str]) -> list[str]:
    """A call, or the head of a definition, on as many lines as it takes."""
    one = f"{head}({', '.join(arguments)})"
    if len(one) <= WIDTH - 16:
        return [one]
    inside = textwrap.wrap(", ".join(arguments) + ",", WIDTH - 24, break_long_words=False, break_on_hyphens=False)
    return [f"{head}(", *indented(inside), ")"]


def _together(parts: Sequence[str]) -> str:
    """`i_f_o_g_rec` of `i_rec`, `f_rec`, `o_rec`, `g_rec`; the first and the last of many."""
    _, mark, role = parts[0].rpartition("_")
    role = mark + role if mark and all(p.endswith(mark + role) for p in parts) else ""
    found = "_".join(p.removesuffix(role) for p in parts) + role
    return found if len(found) <= 24 else f"{parts[0]}_to_{parts[-1]}"


def _stem(names: Sequence[str]) -> str:
    """`U_i_f_o_g` of `U_i`, `U_f`, `U_o`, `U_g`; `U_i_f_o_g_bar` of their gradients; the first and the last of many."""
    bars = "_bar" if all(n.endswith("_bar") for n in names) else ""
    plain = [n.removesuffix(bars) for n in names]
    found = "_".join([plain[0], *(n.split("_", 1)[-1] for n in plain[1:])])
    return (found if len(found) <= 24 else f"{plain[0]}_to_{plain[-1]}") + bars
