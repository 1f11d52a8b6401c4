"""A system as a standalone NumPy module: `forward`, `vjp`, `value_and_grad` and a `check` against finite differences.

The module is the program of `derive.schedule`, printed: what no recurrence needs is computed for all steps at once, products
of one operand are one product, and a loop writes into arrays that were allocated before it.  An array has rows for the points
around the lattice that are read: with one before the first step, `h[t]` is the state of step `t` and `h[0]` its boundary value.
All other such rows are zero, and that is all there is to the border: the adjoint of what lies outside is zero.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from sympy import Expr

from derive import expr
from derive.emit import library
from derive.emit.code import POWER, RANK, ROW, SCALAR, ArrayPrinter, kind_of, total, wrapped
from derive.emit.compiled import Compiled
from derive.emit.face import Face, axes_along, example_border
from derive.emit.layout import Layout, Names, Place
from derive.emit.regions import Arrays, Everywhere, Indexed, Region, Zipped, run_name, width
from derive.emit.source import (
    ARRAYS,
    BLOCKS,
    BORDERED,
    COTANGENTS,
    FLAT,
    MAIN,
    SIZES,
    UNKNOWN,
    called_in,
    dictionary,
    function,
    indented,
    quoted,
    under_conditions,
    uses,
    without_double_blanks,
)
from derive.emit.ufuncs import Call, Neighbours, Ref, Steps, merged
from derive.errors import DeriveError
from derive.expr import Node, Var
from derive.lattice import Border
from derive.partials import table
from derive.schedule import schedule
from derive.schedule.program import (
    CARRIED,
    STORED,
    Assign,
    Edge,
    Gradient,
    Item,
    OuterTotal,
    Pack,
    Product,
    Program,
    Stack,
    Sweep,
    Total,
    statements,
)
from derive.schedule.storage import read_by as _read
from derive.schedule.terms import can_be_infinite, is_backward, terms_of
from derive.system import LOSS, System, Variable

BAR = "_bar"


def compile(
    system: System, dtype: str, functions: Mapping[str, Callable[..., Any]], seeds: tuple[str, ...] | None = None
) -> Compiled:
    """The module, run; `functions` are the named unknowns of the system, with their derivatives."""
    module = _Module(schedule(system, seeds))
    source = module.source()
    missing = [name for name in module.unknown if name not in functions]
    if missing:
        entries = ", ".join(f'"{name}": …' for name in missing)
        raise DeriveError(f"{system.name} has functions without a formula; give them, functions={{{entries}}}")
    again = partial(compile, system, dtype, functions)
    return Compiled(system, source, dtype, functions, module.program.seeds, again)


class _Module:
    def __init__(self, program: Program):
        self.program, self.system = program, program.system
        self.face = Face(program)
        system = self.system
        systems = [s for s in (system, program.adjoint) if s is not None]
        names = dict.fromkeys([*(n for s in systems for n in s.variables), *program.arrays])
        self.names = Names(system, names)
        self.layout = Layout(systems, self.names, system.lattice)
        self.arrays = Arrays(program, self.names, self.layout)
        self.everywhere = Place.everywhere(system.lattice.dimension)
        self.region: Region | Zipped = Everywhere(self.arrays, self.everywhere)
        self.printer = ArrayPrinter(lambda var: self.region.read(var), self.names.size, self._position)
        self.scratch: dict[tuple[str, tuple[str, ...], int], str] = {}
        """Scratch arrays of the function that is being written: `(whether for all rows, sizes, which) -> name`."""
        self.scratch_names: dict[tuple[str, int], str] = {}
        self.inside = {t.name for s in statements(program.backward) for t in s.targets}
        """What the backward pass computes: zero beyond the lattice."""
        self.in_blocks = False
        self.numbers: dict[str, str] = {}
        self.halves: set[str] = set()
        """Products that come halved, and below, the sigmoids that take them."""
        self.halved = self._halved()
        self.turned: dict[tuple[Pack, tuple[str, ...]], tuple[str, list[str]]] = {}
        """Copies of packs as products read them, with the lines that make them."""
        self.packs: dict[Pack, str] = {}
        """The packs of the function that is being written, with their names."""
        self.kept_stacks: dict[str, None] = {}
        """The stacks of the forward pass of which the backward pass reads several parts at once."""
        self.unknown: list[str] = []
        """The functions without a formula that the source calls, known once it is written."""

    def _position(self, e: Expr) -> str:
        """A step as it is compared with another one."""
        return self.layout.row(e, 0)

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
        body += [self._filled(text) for text in (ARRAYS, SIZES)]
        body += [COTANGENTS] if backward else []
        pads = [f"[({before}, {after})]" for before, after in zip(self.layout.before, self.layout.after, strict=True)]
        if any("_bordered(" in part for part in body):
            body.append(BORDERED.format(pads=" + ".join(pads), d=len(pads)))
        body += [MAIN] if backward else []
        imports = ["import difflib", "import functools", "import math"]
        tables = self.face.tables(bool(self.unknown))
        head = "\n".join([self.face.docstring("NumPy"), "", *imports, "", "import numpy as np", "", *tables])
        return "\n\n\n".join([head, *(part.strip("\n") for part in body)]) + "\n"

    def _filled(self, text: str) -> str:
        """What all modules share, for this system's targets, and for lengths that are given where nothing has them."""
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

    # --- statements -------------------------------------------------------------------------------------------------------

    def _items(self, items: Iterable[Item]) -> list[str]:
        """The lines of items at the top of a function."""
        lines: list[str] = []
        for kind, group in _grouped(items):
            if kind is Sweep:
                for sweep in group:
                    lines += ["", *self._sweep(sweep), ""]
            else:
                self.region = Everywhere(self.arrays, self.everywhere)
                lines += self._statements(group, "rows")
        return lines

    def _sweep(self, sweep: Sweep) -> list[str]:
        if self._is_zipped(sweep):
            region = Zipped(self.arrays, sweep.direction)
            self.region = region
            body = self._statements(sweep.body, "scratch")
            return [*region.header(), *indented(body)]
        return self._loop(sweep, {})

    def _is_zipped(self, sweep: Sweep) -> bool:
        """Whether a loop over rows will do: a chain, all in step, no values that are bare numbers."""
        plain = self.system.lattice.dimension == 1 and not sweep.shifts
        vectors = all(kind_of(self.program.arrays[n].var) != SCALAR for n in sweep.names)
        return plain and vectors and not any(self._is_placed(s) for s in statements((sweep,)))

    def _is_placed(self, statement: Assign | Product) -> bool:
        """Whether a statement has to know where it stands: it asks for its step, or would divide by zero beyond the border."""
        if isinstance(statement, Product):
            return False
        return any(isinstance(n, expr.At) for n in expr.walk(statement.value)) or bool(self._terms(statement.value)[1])

    def _statements(self, group: Sequence[Any], scratch: str) -> list[str]:
        """Assignments and products at one place: neighbouring assignments are taken together."""
        lines: list[str] = []
        steps = Steps(
            self.program, self.printer, self._expression, lambda shape, k: self._scratch(scratch, shape, k), self.halved
        )
        waiting: list[Call] = []
        neighbours = Neighbours(self.program, isinstance(self.region, Everywhere))

        def settle() -> None:
            lines.extend(line for call in merged(waiting, neighbours) for line in self._call(call))
            waiting.clear()

        for statement in group:
            if isinstance(statement, Assign) and not self._is_placed(statement):
                waiting.extend(steps.of(steps.ref(statement.target), statement.value))
            else:
                settle()
                lines += self._product(statement) if isinstance(statement, Product) else self._placed(statement)
        settle()
        return lines

    def _scratch(self, kind: str, shape: tuple[Expr, Expr], k: int) -> str:
        key = kind, tuple(self.names.size(n) for n in shape if n != 1), k
        if key not in self.scratch:
            number = sum(known[0] == kind for known in self.scratch)
            if (kind, number) not in self.scratch_names:
                self.scratch_names[kind, number] = self.names.new(f"{kind}_{number + 1}" if number else kind)
            self.scratch[key] = self.scratch_names[kind, number]
        return self.scratch[key]

    def _expression(self, node: Node) -> tuple[str, tuple[Ref, ...]]:
        """A node as source, and what it reads."""
        text = self.printer.full(self.printer.value(node), node).text
        offset = self.system.offset
        return text, tuple(Ref(v.name, offset(v) if v.index else ()) for v in expr.variables(node))

    def _call(self, call: Call) -> list[str]:
        """A call as a line; what is no universal function is an expression that is copied."""
        show = self.region.part_text if call.each else self.region.text
        out = show(call.out)
        operands = [self._number(o) if isinstance(o, str) else show(o) for o in call.operands]
        if not call.function:
            return self._copied(out, call.copied or operands[0])
        sign = IN_PLACE.get(call.function)
        if sign and operands[0] == out and out.isidentifier():
            return wrapped(f"{out} {sign}= ", operands[1])
        # Of these two NumPy wants it by name.
        by_name = call.function in ("np.maximum", "np.minimum")
        return wrapped("", f"{call.function}({', '.join([*operands, f'out={out}' if by_name else out])})")

    def _number(self, text: str) -> str:
        """A number as an array without axes, which is not converted at every call."""
        if text not in self.numbers:
            known = {"1": "one", "0": "zero", "0.5": "half", "2": "two"}
            self.numbers[text] = self.names.new(known.get(text, "number_" + re.sub(r"\W+", "_", text)))
        return self.numbers[text]

    def _number_lines(self, body: Sequence[str]) -> list[str]:
        used = {text: name for text, name in self.numbers.items() if uses(body, name)}
        return [f"{name} = np.asarray({text}, dtype)" for text, name in used.items()]

    def _copied(self, out: str, text: str) -> list[str]:
        return wrapped(f"{out} = " if out.endswith("]") else f"{out}[...] = ", text)

    def _product(self, product: Product) -> list[str]:
        """One matrix product; for all steps of a chain the rows of all steps are the rows of one matrix."""
        factor = self._factor(product)
        out, operand = self._run_text(product.targets), self._run_text(product.operands)
        chain = self.system.lattice.dimension == 1
        if isinstance(self.region, Everywhere) and chain:
            lines = wrapped("", f"np.matmul(_flat({operand}), {factor}, _flat({out}))")
        elif isinstance(self.region, Everywhere):
            lines = [f"{out} = (_flat({operand}) @ {factor}).reshape(*{operand}.shape[:-1], -1)"]
        elif isinstance(self.region, Zipped):
            # `dot` costs less than `matmul`, and asks for an array of its own.
            whole = not self.arrays.is_stored(product.target.name)
            lines = [f"{operand}.dot({factor}, {out})" if whole else f"np.matmul({operand}, {factor}, {out})"]
        else:
            lines = [f"{out} = {operand} @ {factor}"]
        if product.bias is not None:
            bias = self._bias(product)
            lines += [f"{out} += {bias}"] if out.isidentifier() else wrapped("", f"np.add({out}, {bias}, {out})")
        return lines

    def _run_text(self, variables: Sequence[Var]) -> str:
        """Neighbours in a stack as one array, at the place of the statement."""
        system = self.system
        var = variables[0]
        offset = system.offset(var) if self.arrays.is_stored(var.name) else ()
        return self.region.text(Ref(var.name, offset, len(variables)))

    def _halved(self) -> set[str]:
        """Sigmoids of sums of products that nothing else reads: these come halved, since σ(a) = (1 + tanh(a / 2)) / 2."""
        found = list(statements(self.program.forward))
        single = {s.target.name: s.value for s in found if isinstance(s, Assign)}
        products = {t.name for s in found if isinstance(s, Product) and not s.transposed for t in s.targets}
        every = (*found, *statements(self.program.backward), *self.program.gradients)
        count = Counter(v.name for s in every for v in _read(s))
        halved = set()
        looped = {name for item in self.program.forward if isinstance(item, Sweep) for name in item.names}
        looped -= {n for i in self.program.forward if isinstance(i, Sweep) and self._is_zipped(i) for n in i.names}
        for name, value in ((n, v) for n, v in single.items() if n not in looped):
            if isinstance(value, expr.Apply) and value.function == "sigmoid" and not value.order:
                terms = terms_of(value.arguments[0])
                if all(isinstance(t, Var) and t.name in products and count[t.name] == 1 for t in terms):
                    self.halves |= {t.name for t in terms if isinstance(t, Var)}
                    halved.add(name)
        return halved

    def _spans(self, product: Product) -> list[str]:
        """The runs of targets of a product that come halved, as slices."""
        found = []
        sizes = [t for t in product.targets]
        k = 0
        while k < len(sizes):
            stop = k
            while stop < len(sizes) and sizes[stop].name in self.halves:
                stop += 1
            if stop > k:
                start = width(self.arrays, sizes[:k]) if k else ""
                end = width(self.arrays, sizes[:stop]) if stop < len(sizes) else ""
                found.append(f"{start} : {end}".strip() if start or end else ":")
            k = max(stop, k + 1)
        return found

    def _factor(self, product: Product) -> str:
        """The right factor of a product; in a loop, a copy whose rows lie as they are read."""
        pack = self._pack(product.pack)
        if product.transposed:
            return pack
        spans = self._spans(product)
        if not spans and not isinstance(self.region, Zipped):
            return f"{pack}.T"
        key = product.pack, tuple(spans)
        if key not in self.turned:
            name = self.names.new(f"{pack}_T_half" if spans else f"{pack}_T")
            self.turned[key] = name, [f"{name} = {pack}.T.copy()", *(f"{name}[:, {s}] *= half" for s in spans)]
            if spans:
                self._number("0.5")
        return self.turned[key][0]

    def _bias(self, product: Product) -> str:
        assert product.bias is not None
        bias, spans = self._pack(product.bias), self._spans(product)
        if not spans:
            return bias
        key = product.bias, tuple(spans)
        if key not in self.turned:
            name = self.names.new(f"{bias}_half")
            self.turned[key] = name, [f"{name} = {bias}.copy()", *(f"{name}[{s}] *= half" for s in spans)]
        return self.turned[key][0]

    def _pack(self, pack: Pack) -> str:
        if len(pack.parts) == 1:
            return self.names.of[pack.parts[0].name]
        if pack not in self.packs:
            self.packs[pack] = self.names.new(run_name([p.name for p in pack.parts]))
        return self.packs[pack]

    # --- statements that have to know where they stand --------------------------------------------------------------------

    def _loop(self, sweep: Sweep, outer: Mapping[int, Mapping[str, int]]) -> list[str]:
        """A sweep as a loop over positions."""
        around = {**outer, sweep.axis: {name: sweep.direction * p for name, p in sweep.shifts.items()}}
        inside: list[tuple[str, list[str]]] = []
        for item in sweep.body:
            if isinstance(item, Sweep):
                inside.append(("", self._loop(item, around)))
                continue
            behind = {axis: of.get(item.target.name, 0) for axis, of in around.items()}
            self.region = Indexed(self.arrays, self._loop_place(behind))
            lines = self._product(item) if isinstance(item, Product) else self._placed(item)
            inside.append((self._guard(behind, around), lines))
        lines = under_conditions(inside)
        return [f"for {self.names.index[sweep.axis]} in {self._range(sweep, around)}:", *indented(lines)]

    def _loop_place(self, behind: Mapping[int, int]) -> Place:
        """Inside loops, whose indices count rows; `behind`: how far a variable is behind them."""
        symbols = enumerate(self.system.lattice.indices)
        steps = tuple(
            i - (self.layout.before[axis] - 1) - behind[axis] if axis in behind else None for axis, i in symbols
        )
        return Place(steps, self.everywhere.margins)

    def _range(self, sweep: Sweep, around: Mapping[int, Mapping[str, int]]) -> str:
        behind = [around[sweep.axis].get(name, 0) for name in sweep.names]
        last = self.system.lattice.lengths[sweep.axis] + max(behind)
        if sweep.direction > 0:
            return f"range({self.layout.row(1 + min(behind), sweep.axis)}, {self.layout.row(last + 1, sweep.axis)})"
        return f"range({self.layout.row(last, sweep.axis)}, {self.layout.row(min(behind), sweep.axis)}, -1)"

    def _guard(self, behind: Mapping[int, int], around: Mapping[int, Mapping[str, int]]) -> str:
        """The condition that a variable which is behind its loop, or ahead of it, is within the lattice."""
        place, conditions = self._loop_place(behind), []
        for axis in (axis for axis, shifts in around.items() if any(shifts.values())):
            step, length = place.steps[axis], self.system.lattice.lengths[axis]
            assert step is not None
            row = self.layout.row
            conditions.append(f"{row(1, axis)} <= {row(step, axis)} <= {row(length, axis)}")
        return " and ".join(conditions)

    def _placed(self, statement: Assign) -> list[str]:
        """`target = value`; a term that would divide by zero beyond the border stands apart, with its condition."""
        assert isinstance(self.region, Region)
        place = self.region.place
        plain, guarded = self._terms(statement.value)
        target = self.region.read(statement.target)
        value = self._at(expr.add(*plain), place) if plain else None
        lines = wrapped(f"{target} = ", self._text(value) if value is not None else "0")
        for offset, term in guarded:
            if place.steps[0] is None:
                self.region = Everywhere(
                    self.arrays, Place(place.steps, tuple((max(0, -o), max(0, o)) for o in offset))
                )
                lines += wrapped(f"{self.region.read(statement.target)} += ", self._text(term))
                self.region = Everywhere(self.arrays, place)
            else:
                condition = self._inside(offset, place)
                lines += [f"if {condition}:", *indented(wrapped(f"{target} += ", self._text(self._at(term, place))))]
        return lines

    def _text(self, node: Node) -> str:
        return self.printer.full(self.printer.value(node), node).text

    def _at(self, node: Any, place: Place) -> Any:
        """A node at a place; only what asks for its step changes, since arrays are read by their offset."""

        def leaf(part: Any) -> Any:
            if isinstance(part, expr.At):
                steps = {i: s for i, s in zip(self.system.lattice.indices, place.steps, strict=True) if s is not None}
                return expr.at(part, steps)
            return part

        return expr.rewrite(node, leaf)

    def _terms(self, value: Node) -> tuple[list[Node], list[tuple[tuple[int, ...], Node]]]:
        """The terms of a right-hand side; apart, with the offset at which they read, those that need a guard."""
        plain: list[Node] = []
        guarded = []
        for term in terms_of(value):
            read = [v for v in expr.variables(term) if v.index and (is_backward(v) or v.name in self.inside)]
            offset = next((o for v in read if any(o := self.system.offset(v))), ())
            if any(offset) and can_be_infinite(term):
                guarded.append((offset, term))
            elif not isinstance(term, expr.Zero):
                plain.append(term)
        return plain, guarded

    def _inside(self, offset: tuple[int, ...], place: Place) -> str:
        """The condition that the step at `offset` is one of the lattice's."""
        conditions = []
        for axis, (o, step) in enumerate(zip(offset, place.steps, strict=True)):
            if o and step is not None:
                limit = self.system.lattice.lengths[axis] if o > 0 else 1
                sign = "<=" if o > 0 else ">="
                conditions.append(f"{self.layout.row(step + o, axis)} {sign} {self.layout.row(limit, axis)}")
        return " and ".join(conditions)

    # --- the functions ----------------------------------------------------------------------------------------------------

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
        lines = [
            "values, sizes = _run(*_arrays(params, inputs, initial))",
            "gradients = _pull(values, sizes, _cotangents(cotangents, sizes))",
            'return _batched({**INPUTS, **INITIAL}, gradients, sizes["batch"], sizes["..."])',
        ]
        names = " and ".join(self.program.seeds)
        doc = f"""
            The gradients of sum(cotangents[h] * h) over h = {names}; a cotangent that is left out is zero.

            Of every parameter, summed over the batch, and for each sample of every input and of every boundary value.
        """
        return function("vjp(params, inputs, cotangents, initial=None)", doc, lines)

    def _run(self) -> str:
        """The forward pass."""
        self.scratch, self.turned = {}, {}
        face, program = self.face, self.program
        items = self._items(program.forward)
        extra: list[str] = []
        for gradient in program.gradients if face.derived else ():
            extra += self._derived_total(gradient)
        needed = [*items, *extra]
        arrays = self._made(program.forward, needed)
        borders = self._set_borders([*face.inputs, *face.states])
        inputs = [
            self._input(v)
            for v in face.inputs
            if v.name not in self.arrays.bare or uses([*needed, *borders], self.names.of[v.name])
        ]
        body = [*self._note(), *inputs, *arrays, *borders, "", *items, *extra]
        kept = [*(v.var for v in (*face.inputs, *face.states) if v.var.index), *self._kept_parts()]
        given = {v.name for v in face.inputs} & self.arrays.bare
        known = {v.name: self.names.of[v.name] for v in kept if v.name not in given}
        known |= {name: name for name in self.kept_stacks}
        known |= {
            name: name
            for name in self._packed(program.backward).values()
            if name in self._packed(program.forward).values()
        }
        body += ["", *dictionary("values |= ", known), "return values, sizes"]
        points = self._points(body)
        turned = [line for _, lines in self.turned.values() for line in lines]
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

    def _kept_parts(self) -> list[Var]:
        """Pieces of forward equations that the backward pass reads."""
        own = {t.name for s in statements(self.program.forward) for t in s.targets}
        read = {v.name for s in statements(self.program.backward) for v in _read(s)}
        read |= {v.name for g in self.program.gradients for v in _read(g)}
        return [a.var for n, a in self.program.arrays.items() if n in own & read and a.origin == "part"]

    def _packed(self, items: Iterable[Item]) -> dict[Pack, str]:
        """The packs that items use, with their names."""
        products = [s for s in statements(tuple(items)) if isinstance(s, Product)]
        packs = [pack for p in products for pack in (p.pack, p.bias) if pack is not None and len(pack.parts) > 1]
        return {pack: self._pack(pack) for pack in packs}

    def _packing(self, packs: Mapping[Pack, str]) -> list[str]:
        """Parameters below one another."""
        return [
            line
            for pack, name in packs.items()
            for line in wrapped(f"{name} = ", f"np.concatenate([{', '.join(self._entry(p.name) for p in pack.parts)}])")
        ]

    def _made(self, items: Iterable[Item], body: Sequence[str]) -> list[str]:
        """The arrays that items fill: those of a stack as one, of which the parts are views."""
        lines: list[str] = []
        program = self.program
        wanted = [t for s in statements(tuple(items)) for t in s.targets if t.index and t.name not in program.shared]
        done: set[str] = set()
        single: list[Var] = []
        if self.in_blocks:
            held = [v for v in dict.fromkeys(wanted) if v.name in self.inside and self.is_carried(v)]
            lines += self._unpacked([v.name for v in held], "carried")
            wanted = [v for v in wanted if v not in held]
        for var in dict.fromkeys(wanted):
            stack = self.arrays.stack_of.get(var.name, (None, 0))[0]
            if stack is None or any(p.name not in program.arrays for p in stack.parts):
                single.append(var)
            elif stack.name not in done:
                done.add(stack.name)
                lines += self._stack(stack, body)
        return [*lines, *self._allocated(single), *self._scratches()]

    def is_carried(self, var: Var) -> bool:
        return self.program.arrays[var.name].storage == CARRIED

    def _stack(self, stack: Stack, body: Sequence[str]) -> list[str]:
        """An array for the parts of a stack side by side, and views of those that are used."""
        whole = self.arrays.name(Ref(stack.parts[0].name, (), len(stack.parts)))
        lines = [f"{whole} = {self._empty(stack.parts[0], [width(self.arrays, stack.parts)])}"]
        runs = {
            (k, n): name for (s, k, n), name in self.arrays.runs.items() if s == stack.name and n < len(stack.parts)
        }
        used = [self.names.of[p.name] for p in stack.parts]
        if any(uses(body, name) for name in used):
            sizes = {self.names.size(p.shape[0]) for p in stack.parts}
            if len(sizes) == 1:
                (n,) = sizes
                views = f"({whole}[..., k * {n} : (k + 1) * {n}] for k in range({len(used)}))"
                lines += wrapped(f"{', '.join(used)} = ", views)
            else:
                lines += [f"{name} = {whole}{self._columns(stack, k, 1)}" for k, name in enumerate(used)]
        lines += [f"{name} = {whole}{self._columns(stack, k, n)}" for (k, n), name in runs.items() if uses(body, name)]
        return lines

    def _columns(self, stack: Stack, k: int, count: int) -> str:
        start = width(self.arrays, stack.parts[:k]) if k else ""
        stop = width(self.arrays, stack.parts[: k + count]) if k + count < len(stack.parts) else ""
        return f"[..., {start} : {stop}]".replace(" : ]", " :]").replace("[..., :", "[..., :").replace(",  :", ", :")

    def _empty(self, var: Var, sizes: Sequence[str]) -> str:
        """An array for all rows, or for one; zeros where there is a border, or a first step that reads what was carried."""
        rows: list[str] = []
        if self.arrays.is_stored(var.name):
            axes = range(self.system.lattice.dimension)
            rows = self.names.length if var.name in self.arrays.bare else [self.layout.rows(axis) for axis in axes]
        made = "empty" if var.name in self.arrays.bare or self.arrays.is_scratch(var.name) else "zeros"
        return f"np.{made}(({', '.join([*rows, '*batch', *sizes])}), dtype)"

    def _allocated(self, variables: Iterable[Var]) -> list[str]:
        """Arrays of zeros, as many of a shape in a line as fit."""
        groups: dict[str, list[str]] = {}
        for var in variables:
            sizes = [self.names.size(n) for n in var.shape if n != 1]
            groups.setdefault(self._empty(var, sizes), []).append(self.names.of[var.name])
        return _several(groups)

    def _scratches(self) -> list[str]:
        groups: dict[str, list[str]] = {}
        for (kind, sizes, _), name in self.scratch.items():
            rows = [*self.names.length] if kind == "rows" else []
            groups.setdefault(f"np.empty(({', '.join([*rows, '*batch', *sizes])}), dtype)", []).append(name)
        return _several(groups)

    def _input(self, variable: Variable) -> str:
        """An input or a target, with its rows outside the lattice where such rows are read."""
        value = _without_row(variable.var, self._entry(variable.name))
        value = value if variable.name in self.arrays.bare else f"_bordered({value})"
        return f"{self.names.of[variable.name]} = {value}"

    def _entry(self, name: str) -> str:
        return f'values["{name}"]'

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

    # --- backwards --------------------------------------------------------------------------------------------------------

    def _blocks(self) -> str:
        """The function that runs the backward pass in blocks of steps."""
        program, names = self.program, self.names
        states = [names.of[v.name] for v in self.face.states if v.var.index]
        parts = [names.of[v.name] for v in self._kept_parts()]
        rows = [n for n in (*states, *parts) if n not in {names.of[b] for b in self.arrays.bare & {*names.of}}]
        rows += [names.of[v.name] for v in self.face.inputs if v.name not in self.arrays.bare]
        stacks = [self.arrays.name(Ref(s.parts[0].name, (), len(s.parts))) for s in program.stacks]
        carried = {n: a for n, a in program.arrays.items() if a.storage == CARRIED and n in self.inside}
        totals = dict.fromkeys(t.stem for g in program.gradients for t in _targets(g))
        bare = [names.of[v.name] for v in self.face.inputs if v.name in self.arrays.bare]
        bare += [names.of[v.name] for v in self._kept_parts() if v.name in self.arrays.bare]
        return BLOCKS.format(
            rows=f"({quoted(dict.fromkeys([*rows, *(s for s in stacks if s in self.kept_stacks)]))})",
            carried="{" + ", ".join(f'"{names.of[n]}": "{a.var.shape[0]}"' for n, a in carried.items()) + "}",
            border=self.layout.before[0] + self.layout.after[0],
            bare=f"({quoted(bare)})",
            totals=f"({quoted(totals)})",
        )

    def _has_blocks(self) -> bool:
        """Whether the backward pass is one downward sweep along a chain whose steps hand on nothing but what is carried."""
        program = self.program
        sweeps = [item for item in program.backward if isinstance(item, Sweep)]
        one = len(sweeps) == 1 and sweeps[0].direction < 0 and self._is_zipped(sweeps[0])
        kept = {n for n, a in program.arrays.items() if n in self.inside and a.storage == STORED}
        columns = all(
            expr.is_column(a.var) for n, a in program.arrays.items() if a.storage == CARRIED and n in self.inside
        )
        borders = {b.variable for b in self.system.borders} & {v.name for v in self.face.inputs}
        learned = any(self.face.is_learned(b) for b in self.face.borders)
        return one and columns and kept <= self.arrays.bare and not borders and not learned and not self.face.targets

    def _pull(self) -> str:
        """The backward pass."""
        self.scratch, self.turned = {}, {}
        program = self.program
        items = self._items(program.backward)
        body = [*items, "", "gradients = {}", *(line for g in program.gradients for line in self._gradient(g))]
        known = {t.stem for g in program.gradients for t in _targets(g)}
        unread = [v.name for v in self.system.parameters if v.name not in known]
        body += [f'gradients["{name}"] = np.zeros_like({self._entry(name)})' for name in unread]
        for v in self.system.inputs:
            body += self._input_gradient(v)
        body.append("return gradients")
        body = [*self._made(program.backward, body), *body]
        packs = self._packed(program.backward)
        kept = [name for name in packs.values() if name in self._packed(program.forward).values()]
        mine = {pack: name for pack, name in packs.items() if name not in kept}
        own = {t.name for s in statements(program.backward) for t in s.targets}
        trajectories = [
            v.name
            for v in (*(s.var for s in (*self.face.inputs, *self.face.states)), *self._kept_parts())
            if v.name not in own
        ]
        used = [name for name in trajectories if uses(body, self.names.of[name])]
        points = self._points(body)
        runs = self._run_views(body)
        turned = [line for _, lines in self.turned.values() for line in lines]
        numbers = self._number_lines([*body, *turned])
        lines = [
            *self._parameters([*body, *turned]),
            *self._unpacked(used),
            *[f'{name} = values["{name}"]' for name in kept if uses(body, name)],
            *(
                f'{self.names.of[seed + "_ct"]} = cotangents["{seed}"]'
                for seed in program.seeds
                if uses(body, self.names.of[seed + "_ct"])
            ),
            *self._sizes([*body, *points, *runs, *numbers]),
            *points,
            *numbers,
            *self._packing(mine),
            *turned,
            *runs,
        ]
        doc = "The adjoint equations, and the gradients that they give.\n\n"
        doc += "\n".join(f"    {line}" for line in self.face.adjoint_equations())
        head = (
            "_pull_block(values, sizes, cotangents, carried)" if self.in_blocks else "_pull(values, sizes, cotangents)"
        )
        return function(head, doc, without_double_blanks([*lines, "", *body]))

    def _run_views(self, body: Sequence[str]) -> list[str]:
        """Runs of forward stacks that the backward pass reads: parts of the arrays that the forward pass filled."""
        lines = []
        forward = {t.name for s in statements(self.program.forward) for t in s.targets}
        for (name, k, count), text in list(self.arrays.runs.items()):
            stack = next(s for s in self.program.stacks if s.name == name)
            if stack.parts[0].name in forward and uses(body, text):
                whole = self.arrays.name(Ref(stack.parts[0].name, (), len(stack.parts)))
                self.kept_stacks[whole] = None
                lines.append(f'{text} = values["{whole}"]' + (self._columns(stack, k, count) if text != whole else ""))
        return lines

    def _gradient(self, gradient: Any) -> list[str]:
        self.region = Everywhere(self.arrays, self.everywhere)
        match gradient:
            case OuterTotal():
                return self._outer_total(gradient)
            case Total():
                name = gradient.target.stem
                text = total(self.printer, gradient.value)
                is_row = kind_of(gradient.target) == ROW
                return wrapped(f'gradients["{name}"] = ', f"({text})[None]" if is_row else text)
            case Edge():
                return self._edge(gradient)
        raise AssertionError(gradient)

    def _outer_total(self, gradient: OuterTotal, into: str = "gradients") -> list[str]:
        left = f"_flat({self._run_text(gradient.left)})"
        text = f"{left}.sum(0)"
        if gradient.right is not None:
            text = f"{left}.T @ _flat({self._run_text([gradient.right])})"
        names = [t.stem if into == "gradients" else t.name for t in gradient.targets]
        if len(names) == 1:
            is_row = kind_of(gradient.targets[0]) == ROW
            return [f'{into}["{names[0]}"] = {f"({text})[None]" if is_row else text}']
        sizes = [self.names.size(v.shape[0]) for v in gradient.left]
        if len(set(sizes)) == 1:
            n = sizes[0]
            each = f"    {into}[name] = total[k * {n} : (k + 1) * {n}]"
            return [f"total = {text}", f"for k, name in enumerate(({quoted(names)})):", each]
        cuts = [width(self.arrays, gradient.left[:k]) for k in range(1, len(sizes))]
        pieces = [f'{into}["{name}"]' for name in names]
        return [f"{', '.join(pieces)} = np.split({text}, [{', '.join(cuts)}])"]

    def _input_gradient(self, variable: Variable) -> list[str]:
        bar = f"{variable.name}{BAR}"
        row = "[..., None, :]" if kind_of(variable.var) == ROW else ""
        if bar in self.program.arrays:
            rows = self.arrays.rows(bar, self.everywhere)
            value = f"{self.names.of[bar]}[{rows}]" if rows else self.names.of[bar]
            return [f'gradients["{variable.name}"] = {value}{row}']
        name = self.names.of[variable.name]
        rows = self.arrays.rows(variable.name, self.everywhere)
        return [f'gradients["{variable.name}"] = np.zeros_like({f"{name}[{rows}]" if rows else name}){row}']

    def _edge(self, edge: Edge) -> list[str]:
        """The gradient by a boundary value: the adjoint equation beyond the lattice."""
        entry = f'gradients["{edge.key}"]'
        self.region = Beyond(self.arrays, edge)
        plain, late = self._late_terms(edge.value)
        local = f"{self.names.of[edge.border.variable]}[{self.layout.border(edge.border)}]"
        start = expr.add(*plain) if plain else None
        text = f"np.zeros_like({local})" if start is None else self._text(start)
        lines = wrapped(f"{entry} = ", f"{text}.copy()" if isinstance(start, Var) else text)
        for condition, term in late:
            lines += [f"if {condition}:", *indented(wrapped(f"{entry} += ", self._text(term)))]
        return [*lines, *self._outward(edge.border, entry, entry)]

    def _late_terms(self, rhs: Node) -> tuple[list[Node], list[tuple[str, Node]]]:
        """The terms on a border; apart those that would divide by zero where the lattice is too short for them."""
        plain: list[Node] = []
        late = []
        for term in rhs.args if isinstance(rhs, expr.Add) else (rhs,):
            condition = self._reached(term) if can_be_infinite(term) else ""
            if condition:
                late.append((condition, term))
            elif not isinstance(term, expr.Zero):
                plain.append(term)
        return plain, late

    def _reached(self, term: Node) -> str:
        """The condition that all adjoints which a term reads near the border lie inside the lattice."""
        conditions: dict[str, None] = {}
        lattice = self.system.lattice
        for var in (v for v in expr.variables(term) if is_backward(v) or v.name in self.inside):
            for axis, (index, n) in enumerate(zip(var.index, lattice.lengths, strict=True)):
                if index.is_Integer and index > 1:
                    conditions[f"{index} <= {self.names.length[axis]}"] = None
                elif index.has(n) and index != n:
                    conditions[f"{n - index} < {self.names.length[axis]}"] = None
        return " and ".join(conditions)

    def _outward(self, border: Border, target: str, text: str) -> list[str]:
        """A gradient as it is returned: of a learned value summed over the batch, of a row with both axes."""
        var = self.system.variables[border.variable].var
        row = kind_of(var) == ROW
        if self.face.is_learned(border):
            text = self.printer.call("sum_leading", text, str(RANK[kind_of(var)]), f"keep={axes_along(border)}")
        text = f"{text}[..., None, :]" if row else text
        return [f"{target} = {text}"] if text != target else []

    # --- the loss ---------------------------------------------------------------------------------------------------------

    def _value_and_grad(self) -> str:
        face = self.face
        assert face.loss is not None
        last = self.system.loss == "last"
        place = Place(tuple(self.system.lattice.lengths), self.everywhere.margins) if last else self.everywhere
        self.region = Region(self.arrays, place)
        value = self.printer.full(self.printer.value(self._at(face.loss.rhs, place)), face.loss.rhs)
        text = f"np.sum({value.text})" if value.batched else f"points * {value.at_least(POWER)}"
        body = [*wrapped("loss = ", text), "bars = {name: np.zeros_like(values[name]) for name in COTANGENTS}"]
        direct, after = self._direct(place)
        inner = self.layout.inner
        cotangents = f"{{name: bar[{inner}] for name, bar in bars.items()}}"
        body += [*direct, f"gradients = _pull(values, sizes, {cotangents})", *after]
        body.append('return loss, _batched({**INPUTS, **INITIAL}, gradients, sizes["batch"], sizes["..."])')
        fed = "".join(f', "{v.name}": targets["{v.name}"]' for v in face.fed)
        first = [f"inputs = {{**inputs{fed}}}"] if fed else []
        first.append("values, sizes = _run(*_arrays(params, inputs, initial, targets))")
        targets = [v for v in face.targets if v not in face.fed and uses(body, self.names.of[v.name])]
        bordered = [*map(self._input, targets), *self._set_borders(targets)]
        known = [v.name for v in (*face.inputs, *face.states) if uses(body, self.names.of[v.name])]
        points = self._points(body, lengths=not last)
        sizes = self._sizes([*bordered, *body, *points])
        head = [*self._parameters(body), *self._unpacked(known), *sizes, *bordered, *points]
        which = "loss of the last step, summed over" if last else "loss, summed over all steps and"
        doc = f"The {which} the batch, and its gradients, as `vjp` returns them."
        return function("value_and_grad(params, inputs, targets, initial=None)", doc, [*first, *head, *body])

    def _direct(self, place: Place) -> tuple[list[str], list[str]]:
        """The gradients of the loss by what it reads itself: before the adjoint equations run, and after."""
        found: dict[str, list[str]] = {}
        after: list[str] = []
        moved: dict[str, None] = {}
        for entry in table(self.system).of_target(LOSS):
            source, kind = entry.source, self.system.variables[entry.source.name].kind
            gradient = entry.map.pull(expr.Ones(*expr.SCALAR))
            self.region = Region(self.arrays, place)
            if kind == "parameter":
                text = total(self.printer, self._at(gradient, place))
                text = f"({text})[None]" if kind_of(source) == ROW else text
                after += wrapped(f'gradients["{source.name}"] += ', text)
            elif kind in ("state", "input"):
                offset = entry.offset or ()
                rows = self.arrays.rows(source.name, place, offset)
                where = f"[{rows}]" if rows else ""
                bar = f'{"direct" if kind == "input" else "bars"}["{source.name}"]'
                found.setdefault(source.name, []).extend(
                    wrapped(f"{bar}{where} += ", self._text(self._at(gradient, place)))
                )
                moved.update({source.name: None} if any(offset) or kind == "input" else {})
        set_aside, returned = self._set_aside(list(moved))
        return [*set_aside[0], *(line for lines in found.values() for line in lines), *set_aside[1]], [
            *returned,
            *after,
        ]

    def _set_aside(self, names: Sequence[str]) -> tuple[tuple[list[str], list[str]], list[str]]:
        """The loss may read inputs, or beyond the lattice, where no adjoint equation holds: added to what these give."""
        first = ["direct = {}"] if names else []
        then: list[str] = []
        returned: list[str] = []
        for name in names:
            var, is_input = self.system.variables[name].var, self.system.variables[name].kind == "input"
            borders = [b for b in self.face.borders if b.variable == name]
            if is_input:
                row = "[..., None, :]" if kind_of(var) == ROW else ""
                first.append(f'direct["{name}"] = np.zeros_like({self._entry(name)})')
                rows = self.arrays.rows(name, self.everywhere)
                rows = f"[{rows}]" if rows else ""
                returned.append(f'gradients["{name}"] += direct["{name}"]{rows}{row}')
            for border in borders:
                place = f'direct["{name}"][{self.layout.border(border)}]'
                if not is_input:
                    place = f'direct["{border.key}"]'
                    then.append(f'{place} = bars["{name}"][{self.layout.border(border)}].copy()')
                (line,) = self._outward(border, f'gradients["{border.key}"]', place)
                returned.append(line.replace(" = ", " += ", 1))
            if not is_input:
                then += [f'bars["{name}"][{outside}] = 0' for outside in self._outside()]
        return (first, then), returned

    def _outside(self) -> Iterator[str]:
        """The rows before and after all steps, axis by axis."""
        for axis, (before, after) in enumerate(zip(self.layout.before, self.layout.after, strict=True)):
            yield ", ".join([":"] * axis + [f":{before}"])
            if after:
                yield ", ".join([":"] * axis + [f"-{after}:"])

    def _points(self, body: Sequence[str], lengths: bool = True) -> list[str]:
        """How many points a sum over the lattice and the batch has."""
        if not uses(body, "points"):
            return []
        factors = [*(self.names.length if lengths else []), "int(np.prod(batch))"]
        return [f"points = {' * '.join(factors)}"]

    def _derived_total(self, gradient: Any) -> list[str]:
        """What a derived system says without an index, or beyond the lattice."""
        if isinstance(gradient, Edge):
            self.region = Beyond(self.arrays, gradient)
            return wrapped(f'values["{gradient.key}"] = ', self._text(gradient.value))
        self.region = Everywhere(self.arrays, self.everywhere)
        if isinstance(gradient, Total):
            return wrapped(f'values["{gradient.target.name}"] = ', total(self.printer, gradient.value))
        return self._outer_total(gradient, "values")


# --- text -----------------------------------------------------------------------------------------------------------------

IN_PLACE = {"np.add": "+", "np.subtract": "-", "np.multiply": "*", "np.divide": "/"}


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


def _targets(gradient: Gradient) -> tuple[Var, ...]:
    """The adjoints of parameters that a gradient gives."""
    return (
        gradient.targets
        if isinstance(gradient, OuterTotal)
        else (gradient.target,)
        if isinstance(gradient, Total)
        else ()
    )


def _grouped(items: Iterable[Item]) -> Iterator[tuple[type, list[Any]]]:
    """Neighbouring items of a kind: sweeps, and statements for all points."""
    group: list[Any] = []
    for item in items:
        if group and isinstance(item, Sweep) != isinstance(group[0], Sweep):
            yield (Sweep if isinstance(group[0], Sweep) else Assign), group
            group = []
        group.append(item)
    if group:
        yield (Sweep if isinstance(group[0], Sweep) else Assign), group


def _several(groups: Mapping[str, list[str]]) -> list[str]:
    """`a, b = (np.zeros(…) for _ in range(2))`, as many of a shape in a line as fit."""
    lines: list[str] = []
    for source, names in groups.items():
        left = names
        while left:
            count = next(k for k in range(len(left), 0, -1) if k == 1 or len(", ".join(left[:k]) + source) <= 80)
            each = source if count == 1 else f"({source} for _ in range({count}))"
            lines.append(f"{', '.join(left[:count])} = {each}")
            left = left[count:]
    return lines


def _without_row(var: Var, text: str) -> str:
    """A row vector has one axis inside the module, two outside."""
    return f"{text}[..., 0, :]" if kind_of(var) == ROW else text
