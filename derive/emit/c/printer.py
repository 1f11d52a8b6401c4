"""Routines of `derive.emit.loops` as plain C."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from sympy import Expr, Integer

from derive.emit.c.scalars import CScalars
from derive.emit.loops.fusion import distinct_reads
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
    Rows,
    Scalar,
    Walk,
)
from derive.emit.loops.losses import VALUE
from derive.emit.loops.memory import GIVEN, GRADIENTS, MEMORY, PARAMETERS, VALUES, Block
from derive.emit.loops.printer import RoutinePrinter, neighbours
from derive.emit.source import indented

WIDTH, LONGEST = 94, 118


class CPrinter(RoutinePrinter, CScalars):
    """The functions of one kernel, in C."""

    def _function(self, name: str, items: Sequence[Item], title: str) -> str:
        body = self._items([Guarded((), item) for item in items])
        used = [key for key in self.kernel.layout if _uses(body, self._name(key))]
        declared, arguments = self._declared(name, used)
        self.arguments[name] = arguments
        head = ", ".join(
            [*(f"long {self.names.symbols[s]}" for s in self.sizes), *(self._argument(a, name) for a in arguments)]
        )
        lines = textwrap.wrap(f"static void {name}({head})", WIDTH, subsequent_indent=" " * (len(name) + 13))
        return "\n".join([f"/* {title}. */", *lines, "{", *_folded(indented([*declared, "", *body])), "}"])

    def exported(self, name: str, title: str, routines: Sequence[str]) -> str:
        """A function that runs routines one after the other."""
        order = dict.fromkeys(a for routine in routines for a in self.arguments[routine])
        regions = (VALUES, MEMORY, GRADIENTS)
        arguments = [*(a for a in order if a not in regions), *(r for r in regions if r in order)]
        sizes = [self.names.symbols[s] for s in self.sizes]
        head = ", ".join([*(f"long {s}" for s in sizes), *(self._argument(a, name) for a in arguments)])
        lines = textwrap.wrap(f"void {name}({head})", WIDTH, subsequent_indent=" " * (len(name) + 6))
        body = []
        for routine in routines:
            given = ", ".join([*sizes, *map(self._given_name, self.arguments[routine])])
            body += textwrap.wrap(f"{routine}({given});", WIDTH, subsequent_indent="    ")
        self.arguments[name] = arguments
        return "\n".join([f"/* {title}. */", *lines, "{", *indented(body), "}"])

    def _given_name(self, name: str) -> str:
        return name.removeprefix("the ") if name in (PARAMETERS, VALUES, MEMORY, GRADIENTS) else self._name(name)

    def _argument(self, name: str, routine: str) -> str:
        seeds = routine in ("loss", "value_and_grad") and name.endswith("_ct given")
        written = seeds or name in (VALUES, MEMORY, GRADIENTS, VALUE)
        text = self._given_name(name)
        return f"real *{text}" if written else f"const real *{text}"

    def _declared(self, name: str, used: Sequence[str]) -> tuple[list[str], list[str]]:
        """Pointers to what a routine uses, and the arguments that they come from."""
        lines, arguments = [], []
        regions = {PARAMETERS: self.plan.parameters, VALUES: self.kernel.values, MEMORY: self.kernel.memory[name],
                   GRADIENTS: self.kernel.gradients}  # fmt: skip
        given = [key for key in used if self.kernel.layout[key].block.region == GIVEN]
        for region, blocks in regions.items():
            start: Expr = Integer(0)
            for block in blocks:
                parts = [k for k in used if self.kernel.layout[k].block == block]
                for key in parts:
                    offset = (start + self.kernel.layout[key].start).expand()
                    const = "const " if region == PARAMETERS else ""
                    base = self._given_name(region)
                    at = f"{base} + {self.names.size(offset)}" if offset != 0 else base
                    lines += self._pointer(f"{const}real *const {self._name(key)} = {at};", self._shape_note(key))
                arguments += [region] if parts and region not in arguments else []
                start += block.count(self.lattice)
        given = list(dict.fromkeys(self.kernel.layout[key].block.name for key in given))
        arguments = [*(a for a in arguments if a == PARAMETERS), *given, *(a for a in arguments if a != PARAMETERS)]
        order = [PARAMETERS, *(a for a in arguments if a not in regions), VALUES, MEMORY, GRADIENTS]
        return lines, [a for a in order if a in arguments]

    def _pointer(self, text: str, note: str) -> list[str]:
        together = f"{text}  {note}" if note else text
        return (
            [together] if len(together) <= WIDTH + 16 else [note, *textwrap.wrap(text, WIDTH, subsequent_indent="    ")]
        )

    def _shape_note(self, key: str) -> str:
        place = self.kernel.layout[key]
        rows = (
            [self.names.bracketed(n) for n in place.block.rows(self.lattice)]
            if place.block.axes or place.block.rolling
            else []
        )
        samples = ["samples"] if place.block.batched else []
        own = [self.names.bracketed(n) for n in place.shape]
        wide = (
            [f"{own.pop(0)} of {self.names.bracketed(place.block.width)}"]
            if own and len(place.block.parts) > 1 and len(own) == 1
            else []
        )
        dims = [*rows, *samples, *wide, *own]
        return f"/* {' x '.join(dims)} */" if dims else ""

    # --- items ------------------------------------------------------------------------------------------------------------

    def _items(self, body: Iterable[Guarded]) -> list[str]:
        lines: list[str] = []
        open_condition = ""
        for guarded in body:
            inside = self._item(guarded.item)
            condition = self._condition(guarded.conditions)
            if condition and condition == open_condition:
                lines[-1:] = [*indented(inside), "}"]
            elif condition:
                lines += [f"if ({condition}) {{", *indented(inside), "}"]
            else:
                lines += inside
            open_condition = condition
        return lines

    def _if_given(self, item: IfGiven) -> list[str]:
        inside = self._items([Guarded((), part) for part in item.body])
        return [f"if ({self._name(item.array)}) {{", *indented(inside), "}"]

    def _walk(self, walk: Walk) -> list[str]:
        i = self.names.symbols[self.lattice.indices[walk.axis]]
        first, last = self.names.size(walk.first), self.names.size(walk.last)
        up = f"for (long {i} = {first}; {i} <= {last}; {i}++) {{"
        down = f"for (long {i} = {last}; {i} >= {first}; {i}--) {{"
        return [up if walk.direction > 0 else down, *indented(self._items(walk.body)), "}"]

    def _loops(self, axes: Sequence[Axis], body: list[str], simd: bool = False) -> list[str]:
        for axis in reversed(axes):
            bare = len(body) == 1 or body[0].startswith("for (")
            head = f"for (long {axis.name} = 0; {axis.name} < {self.names.size(axis.size)}; {axis.name}++)"
            body = [head, *indented(body)] if bare and simd is False else [head + " {", *indented(body), "}"]
            if simd:
                body, simd = ["#pragma omp simd", *body], False
        return body

    def _fused(self, item: Fused) -> list[str]:
        """Values first, then what is stored: an array may take the place of another one, entry by entry."""
        rows = self._row_pointers(item)
        if len(item.nests) == 1:
            (nest,) = item.nests
            body = self._statement(f"{self._entry(nest.target)} {nest.operation} ", nest.value)
        else:
            body, stored = [], []
            for nest in item.nests:
                name = self._local(nest.target.array)
                body += self._statement(f"const real {name} = ", nest.value)
                if nest.target.array not in item.kept_local:
                    stored.append(f"{self._entry(nest.target)} {nest.operation} {name};")
            body += stored
        self.rows = {}
        parallel = bool(item.axes) and self._is_parallel(item)
        if not rows:
            return self._loops(item.axes, body, parallel)
        return self._loops(item.axes[:1], [*rows, *self._loops(item.axes[1:], body, parallel)])

    def _row_pointers(self, item: Fused) -> list[str]:
        """Names for the rows of a sample that a loop over its entries goes through."""
        names = [axis.name for axis in item.axes]
        if len(names) != 2 or names[0] != SAMPLE:
            return []
        stored = [n.target for n in item.nests if n.target.array not in item.kept_local]
        found = [r for r in (*distinct_reads(item), *stored) if r.batched and r.axes == (names[1],)]
        lines = []
        for read in dict.fromkeys(found):
            written = any(t.array == read.array and t.steps == read.steps for t in stored)
            name = self._row_name(read)
            start = self._entry(read).partition("[")[2].removesuffix(f" + {names[1]}]")
            lines.append(f"{'' if written else 'const '}real *const {name} = {self._name(read.array)} + {start};")
            self.rows[read] = f"{name}[{names[1]}]"
        return lines

    def _is_parallel(self, item: Fused) -> bool:
        """Whether every step of the innermost loop writes entries of its own."""
        inner = item.axes[-1].name
        kept = [n.target for n in item.nests if n.target.array not in item.kept_local]
        return all(t.batched if inner == SAMPLE else inner in t.axes for t in kept)

    def _statement(self, head: str, value: Scalar) -> list[str]:
        text = f"{head}{self._scalar(value)[0]};"
        return textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)

    def _reduction(self, nest: Nest) -> list[str]:
        """A sum over one more axis: innermost where its entries are neighbours, else around the row of results."""
        over, target = nest.over, self._entry(nest.target)
        assert over is not None
        operation = nest.operation
        if nest.kind == "sum" and len(nest.target.axes) > 0 and not neighbours(nest):
            start = [] if operation == "+=" else self._loops(nest.axes, [f"{target} = 0;"])
            *outer, last = nest.axes
            add = self._loops([*outer, over, last], self._statement(f"{target} += ", nest.value), simd=True)
            return [*start, *add]
        if nest.kind == "sum":
            first, step, clause = "0", self._statement("total += ", nest.value), "+"
        else:
            first, step, clause = (
                "-INFINITY",
                [*self._statement("const real next = ", nest.value), "total = total < next ? next : total;"],
                "max",
            )
        loop = self._loops([over], step, simd=True)
        loop[0] = f"#pragma omp simd reduction({clause} : total)"
        lines = [f"real total = {first};", *loop, f"{target} {operation} total;"]
        return self._loops(nest.axes, lines) if nest.axes else ["{", *(f"    {line}" for line in lines), "}"]

    # --- products ---------------------------------------------------------------------------------------------------------

    def _rows(self, rows: Rows) -> tuple[str, str, str]:
        """How many rows, where the first starts, and how far apart they are."""
        place = self.kernel.layout[rows.array]
        block = place.block
        steps = [
            Integer(1) + step - self.lattice.indices[a] if a in rows.every else step
            for a, step in enumerate(rows.steps)
        ]
        count: Expr = SAMPLES
        for axis in rows.every:
            count = count * self.lattice.lengths[axis]
        position = self._row(block, tuple(steps))
        start = self._name(rows.array)
        if position != "0":
            factors = [position, "samples", self.names.bracketed(block.width)]
            start += f" + {' * '.join(f for f in factors if f != '1')}"
        return self.names.size(count), start, self.names.size(block.width)

    def _multiply(self, item: Multiply) -> list[str]:
        count, target, target_step = self._rows(item.target)
        _, left, left_step = self._rows(item.left)
        width, depth = (self.names.size(sum(sizes, Integer(0))) for sizes in (item.width, item.depth))
        matrix, bias = self._name(item.matrix), self._name(item.bias) if item.bias else "0"
        added = "1" if item.added else "0"
        if item.transposed:
            call = f"multiply_across({count}, {width}, {depth}, {left}, {left_step}, {matrix}, {target}, {target_step}, {added});"
        else:
            given = f"{left}, {left_step}, {matrix}, {bias}, {target}, {target_step}, {added}"
            call = f"multiply({count}, {width}, {depth}, {given});"
        return textwrap.wrap(call, WIDTH, subsequent_indent="    ")

    def _accumulate(self, item: Accumulate) -> list[str]:
        count, left, left_step = self._rows(item.left)
        width, target = self.names.size(sum(item.width, Integer(0))), self._name(item.target)
        if item.right is None:
            return [f"add_rows({count}, {width}, {left}, {left_step}, {target});"]
        _, right, right_step = self._rows(item.right)
        depth = self.names.size(sum(item.depth, Integer(0)))
        call = f"accumulate({count}, {width}, {depth}, {left}, {left_step}, {right}, {right_step}, {target});"
        return textwrap.wrap(call, WIDTH, subsequent_indent="    ")

    def _clear(self, item: Clear) -> list[str]:
        block = self.kernel.layout[item.array].block
        name = self._name(item.array)
        start = self.kernel.layout[item.array].start
        first = name if start == 0 else f"{name} - {self.names.bracketed(start)}"
        row = self.names.size((SAMPLES * block.width).expand())
        if block.rolling or len(block.axes) > 1:
            return [f"memset({first}, 0, {self._factored(block)} * sizeof(real));"]
        lines = []
        (before,), (after,) = block.before, block.after
        if before:
            count = f"{before} * {row}" if before > 1 else row
            lines.append(f"memset({first}, 0, {count} * sizeof(real));")
        if after:
            count = f"{after} * {row}" if after > 1 else row
            (rows,) = block.rows(self.lattice)
            lines.append(f"memset({first} + {self.names.bracketed(rows - after)} * {row}, 0, {count} * sizeof(real));")
        return lines

    def _factored(self, block: Block) -> str:
        rows = [self.names.bracketed(n) for n in block.rows(self.lattice)]
        return " * ".join([*rows, "samples", self.names.bracketed(block.width)])

    def _pile(self, item: Pile) -> list[str]:
        """Matrices below one another; or their transposes side by side, whose rows are as wide as all together."""
        lines, start = [], Integer(0)
        shapes = [self.plan.system.variables[p].shape for p in item.parts]
        step = self.names.size(sum((rows for rows, _ in shapes), Integer(0)))
        target = self._name(item.target)
        for part, (rows, columns) in zip(item.parts, shapes, strict=True):
            at = f"{target} + {self.names.size(start)}" if start != 0 else target
            if item.transposed:
                size = f"{self.names.size(rows)}, {self.names.size(columns)}"
                lines.append(f"transpose({self._name(part)}, {size}, {at}, {step});")
                start += rows
            else:
                lines.append(f"memcpy({at}, {self._name(part)}, {self.names.size(rows * columns)} * sizeof(real));")
                start += rows * columns
        return lines


def _folded(lines: Iterable[str]) -> Iterator[str]:
    """Lines that are not too long, wherever they stand."""
    for line in lines:
        margin = " " * (len(line) - len(line.lstrip()) + 4)
        if len(line) <= LONGEST:
            yield line
        else:
            yield from textwrap.wrap(
                line, LONGEST, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
            )


def _uses(lines: Iterable[str], name: str) -> bool:
    pattern = re.compile(rf"(?<![\w.]){re.escape(name)}(?!\w)")
    return any(pattern.search(line) for line in lines)
