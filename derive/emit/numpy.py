"""A system as a standalone NumPy module: `forward`, `vjp`, `value_and_grad` and a `check` against finite differences.

What no recurrence needs is computed for all steps at once; a recurrence is a loop.  Inside the module every array has rows
for the points around the lattice that are read: with one before the first step, `h[t]` is the state of step `t` and `h[0]`
its boundary value.  All other such rows are zero, and that is all there is to the border: the adjoint of what lies outside
is zero.  The adjoint of a boundary value has no row; it is computed where it is returned.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from sympy import Expr, Integer

from derive import expr, functions
from derive.adjoint import adjoint
from derive.emit import library
from derive.emit.code import POWER, RANK, ROW, ArrayPrinter, Value, kind_of, total, wrapped
from derive.emit.compiled import Compiled
from derive.emit.layout import Layout, Names, Place, applied
from derive.emit.source import (
    BORDERED,
    CHECK,
    CHECK_LOSS,
    GIVEN,
    MAIN,
    UNKNOWN,
    called_in,
    dictionary,
    docstring,
    function,
    indented,
    quoted,
    tuple_of,
    under_conditions,
    uses,
    without_double_blanks,
)
from derive.errors import DeriveError
from derive.expr import Node, Var
from derive.lattice import Border, Loop
from derive.notation import Notation
from derive.partials import table
from derive.printing import text as unicode_text
from derive.system import LOSS, Equation, Parts, System, Variable

BAR = "_bar"

Write: TypeAlias = "Callable[[str, Place], list[str]]"
"""The lines of the equation of a name at a place."""


def compile(system: System, dtype: str, functions: Mapping[str, Callable[..., Any]]) -> Compiled:
    """The module, run; `functions` are the named unknowns of the system, with their derivatives."""
    module = _Module(system)
    source = module.source()
    missing = [name for name in module.unknown if name not in functions]
    if missing:
        entries = ", ".join(f'"{name}": …' for name in missing)
        raise DeriveError(f"{system.name} has functions without a formula; give them, functions={{{entries}}}")
    return Compiled(system, source, dtype, functions)


# --- what runs backwards ------------------------------------------------------------------------------------------------


def seeded(system: System) -> System:
    """`system` with a free cotangent at every state in place of its loss: what `vjp` is the adjoint of."""
    variables = {n: v for n, v in system.variables.items() if n != LOSS and v.kind != "cotangent"}
    equations = {n: e for n, e in system.equations.items() if n != LOSS}
    terms = []
    for name in equations:
        cotangent = variables[name].var.marked("ct")
        variables[cotangent.name] = Variable(cotangent, "cotangent", True)
        terms.append(expr.inner(cotangent, variables[name].var))
    loss = system.variables[LOSS]
    variables[LOSS], equations[LOSS] = loss, Equation(loss.var, expr.add(*terms))
    parts: Parts = replace(
        system.parts, variables=variables, equations=equations, outputs=tuple(equations), loss="every"
    )
    return System.of(parts)


def _without_cotangents(rhs: Node) -> Node:
    """A right-hand side without its cotangent: the array of the adjoint starts as that."""
    terms = rhs.args if isinstance(rhs, expr.Add) else (rhs,)
    kept = [t for t in terms if not (isinstance(t, Var) and "ct" in t.marks)]
    return expr.add(*kept) if kept else expr.Zero(*rhs.shape)


# --- the module ---------------------------------------------------------------------------------------------------------


class _Module:
    def __init__(self, system: System):
        self.system = system
        self.derived = bool(system.parts.given)
        """Whether this is an adjoint or a tangent already: then it is run forwards only, its loss among its states."""
        self.states = [v for v in system.states if self.derived or v.name != LOSS]
        self.loss = None if self.derived or not system.has_loss else system.equations[LOSS]
        self.backward = None if self.derived else adjoint(seeded(system))
        read = {v.name for s in self.states for v in expr.variables(system.equations[s.name].rhs)}
        self.targets = [] if self.derived else list(system.of_kind("target"))
        self.fed = [v for v in self.targets if v.name in read]
        """Targets that a state reads: `forward` finds them among its inputs."""
        kinds = ("input", "target", "cotangent") if self.derived else ("input",)
        self.inputs = [*system.of_kind(*kinds), *self.fed]
        systems = [system] if self.backward is None else [system, self.backward]
        self.names = Names(system, dict.fromkeys(n for s in systems for n in s.variables))
        self.layout = Layout(systems, self.names, system.lattice)
        self.everywhere = Place.everywhere(system.lattice.dimension)
        self.place = self.everywhere
        self.printer = ArrayPrinter(self._read, self.names.size, self._position)
        self.unknown: list[str] = []
        """The functions without a formula that the source calls, known once it is written."""

    # --- arrays -----------------------------------------------------------------------------------------------------

    def _read(self, var: Var) -> str:
        """The source of a variable at the place of the statement."""
        name = self.names.of[var.name]
        parts = []
        for axis, (index, symbol) in enumerate(zip(var.index, self.system.lattice.indices, strict=False)):
            if self.place.steps[axis] is None and index.has(symbol):
                parts.append(self.layout.slice(axis, int(index - symbol), self.place.margins[axis]))
            else:
                parts.append(self.layout.row(index, axis))
        return f"{name}[{', '.join(parts)}]" if parts else name

    def _position(self, e: Expr) -> str:
        """A step as it is compared with another one."""
        return self.layout.row(e, 0)

    def _value(self, node: Node, place: Place) -> Value:
        """`node`, with every entry of it, at a place."""
        self.place = place
        node = self._at(node, place)
        return self.printer.full(self.printer.value(node), node)

    def _at(self, node: Any, place: Place) -> Any:
        steps = zip(self.system.lattice.indices, place.steps, strict=True)
        return expr.at(node, {i: step for i, step in steps if step is not None and step != i})

    def _assign(self, target: str, operator: str, node: Node, place: Place) -> list[str]:
        return wrapped(f"{target} {operator} ", self._value(node, place).text)

    def _equation(self, target: Var, rhs: Node, place: Place, operator: str) -> list[str]:
        """`target = rhs`; a term that would divide by zero beyond the border stands apart, with its condition."""
        plain, guarded = self._terms(rhs)
        lines: list[str] = []
        if plain or operator == "=":
            self.place = place
            left, right = self._read(self._at(target, place)), self._at(expr.add(*plain) if plain else rhs, place)
            value = "0" if not plain else self.printer.value(right).text
            lines += wrapped(f"{left} {operator} ", value)
        for offset, term in guarded:
            lines += self._guarded_term(target, offset, term, place)
        return lines

    def _terms(self, rhs: Node) -> tuple[list[Node], list[tuple[tuple[int, ...], Node]]]:
        """The terms of a right-hand side; apart, with the offset at which they read, those that need a guard."""
        plain: list[Node] = []
        guarded = []
        for term in rhs.args if isinstance(rhs, expr.Add) else (rhs,):
            offsets = {self.system.offset(v) for v in expr.variables(term) if is_backward(v) and v.index}
            (offset,) = offsets if len(offsets) == 1 else ((),)
            if any(offset) and can_be_infinite(term):
                guarded.append((offset, term))
            elif not isinstance(term, expr.Zero):
                plain.append(term)
        return plain, guarded

    def _guarded_term(self, target: Var, offset: tuple[int, ...], term: Node, place: Place) -> list[str]:
        if place.steps[0] is None:
            margins = tuple((max(0, -o), max(0, o)) for o in offset)
            self.place = Place(place.steps, margins)
            left, right = self._read(target), self.printer.value(term).text
            return wrapped(f"{left} += ", right)
        self.place = place
        lines = wrapped(f"{self._read(self._at(target, place))} += ", self.printer.value(self._at(term, place)).text)
        return [f"if {self._inside(offset, place)}:", *indented(lines)]

    def _inside(self, offset: tuple[int, ...], place: Place) -> str:
        """The condition that the step at `offset` is one of the lattice's."""
        conditions = []
        for axis, (o, step) in enumerate(zip(offset, place.steps, strict=True)):
            if o and step is not None:
                limit = self.system.lattice.lengths[axis] if o > 0 else Integer(1)
                sign = "<=" if o > 0 else ">="
                conditions.append(f"{self.layout.row(step + o, axis)} {sign} {self.layout.row(limit, axis)}")
        return " and ".join(conditions)

    def _zeros(self, var: Var) -> str:
        rows = [self.layout.rows(axis) for axis in range(self.system.lattice.dimension)]
        sizes = [self.names.size(n) for n in var.shape if n != 1]
        return f"np.zeros(({', '.join([*rows, '*batch', *sizes])}), dtype)"

    # --- equations in their order ------------------------------------------------------------------------------------

    def _equations(self, system: System, wanted: Iterable[str], write: Write) -> list[str]:
        """The wanted equations of a system in an order of evaluation, with loops where there is a recurrence."""
        wanted = set(wanted)
        lines: list[str] = []
        for item in system.schedule:
            if isinstance(item, str) and item in wanted and _asks_where(system.equations[item]):
                for axis in reversed(range(system.lattice.dimension)):
                    item = Loop(axis, 1, (item,))
            if isinstance(item, Loop):
                block = self._loop(item, wanted, {}, write)
                lines += ["", *block, ""] if block else []
            elif item in wanted:
                lines += write(item, self.everywhere)
        return without_double_blanks(lines)

    def _loop(self, loop: Loop, wanted: set[str], outer: Mapping[int, Mapping[str, int]], write: Write) -> list[str]:
        around = {**outer, loop.axis: {name: loop.direction * p for name, p in loop.shifts.items()}}
        inside: list[tuple[str, list[str]]] = []
        for item in loop.body:
            if isinstance(item, Loop):
                inside.append(("", self._loop(item, wanted, around, write)))
            elif item in wanted:
                behind = {axis: of.get(item, 0) for axis, of in around.items()}
                inside.append((self._guard(behind, around), write(item, self._loop_place(behind))))
        lines = under_conditions(inside)
        return [f"for {self.names.index[loop.axis]} in {self._range(loop, around)}:", *indented(lines)] if lines else []

    def _loop_place(self, behind: Mapping[int, int]) -> Place:
        """Inside loops over all axes, whose indices count rows; `behind`: how far a variable is behind them."""
        symbols = enumerate(self.system.lattice.indices)
        steps = tuple(i - (self.layout.before[axis] - 1) - behind.get(axis, 0) for axis, i in symbols)
        return Place(steps, self.everywhere.margins)

    def _range(self, loop: Loop, around: Mapping[int, Mapping[str, int]]) -> str:
        behind = [around[loop.axis].get(name, 0) for name in loop.names]
        last = self.system.lattice.lengths[loop.axis] + max(behind)
        if loop.direction > 0:
            return f"range({self.layout.row(1 + min(behind), loop.axis)}, {self.layout.row(last + 1, loop.axis)})"
        return f"range({self.layout.row(last, loop.axis)}, {self.layout.row(min(behind), loop.axis)}, -1)"

    def _guard(self, behind: Mapping[int, int], around: Mapping[int, Mapping[str, int]]) -> str:
        """The condition that a variable which is behind its loop, or ahead of it, is within the lattice."""
        place, conditions = self._loop_place(behind), []
        for axis in (axis for axis, shifts in around.items() if any(shifts.values())):
            step, length = place.steps[axis], self.system.lattice.lengths[axis]
            assert step is not None
            row = self.layout.row
            conditions.append(f"{row(1, axis)} <= {row(step, axis)} <= {row(length, axis)}")
        return " and ".join(conditions)

    # --- the functions -----------------------------------------------------------------------------------------------

    def source(self) -> str:
        body = [self._forward()]
        if self.backward is not None:
            body += [self._vjp(), *([self._value_and_grad()] if self.loss else []), self._check()]
        body.append(self._run())
        if self.backward is not None:
            body.append(self._pull(self.backward))
        called = library.with_dependencies(called_in(self.printer.called, body))
        self.unknown = re.findall(r'_unknown\("([^"]+)"\)', "\n".join(called))
        body += [*called, *([UNKNOWN] if self.unknown else []), GIVEN]
        pads = [f"[({before}, {after})]" for before, after in zip(self.layout.before, self.layout.after, strict=True)]
        if any("_bordered(" in part for part in body):
            body.append(BORDERED.format(pads=" + ".join(pads), d=len(pads)))
        body += [MAIN] if self.backward is not None else []
        imports = ["import difflib", *(["import math"] if any("math." in c for c in called) else [])]
        head = "\n".join([self._docstring(), "", *imports, "", "import numpy as np", "", *self._tables()])
        return "\n\n\n".join([head, *(part.strip("\n") for part in body)]) + "\n"

    def _forward(self) -> str:
        lines = ["values, _ = _run(params, inputs, initial)"]
        pick = f"{{name: values[name][{self.layout.inner}] for name in STATES}}"
        rows = [v for v in self.states if v.var.index and kind_of(v.var) == ROW]
        more = [*(v.name for v in self.states if not v.var.index), *(key for key, _, _ in self._outer_values())]
        lines.append(f"states = {pick}" if rows or more else f"return {pick}")
        lines += [f'states["{v.name}"] = states["{v.name}"][..., None, :]' for v in rows]
        if more:
            lines += ["return states | {name: values[name] for name in TOTALS}"]
        elif rows:
            lines.append("return states")
        doc = f"""
            Every state at every step, by name.

            `initial` holds boundary values, such as {self._example_border()}; those that are left out are zero.
        """
        return function("forward(params, inputs, initial=None)", doc, lines)

    def _example_border(self) -> str:
        keys = [b.key for b in self._given_borders()]
        return f'"{keys[0]}"' if keys else "none here"

    def _vjp(self) -> str:
        inner = self.layout.inner
        lines = [
            "values, sizes = _run(params, inputs, initial)",
            'given = _given("cotangents", cotangents, STATES, sizes, optional="state")',
            "bars = {name: np.zeros_like(values[name]) for name in STATES}",
            "for name, array in given.items():",
        ]
        rows = [v.name for v in self.states if kind_of(v.var) == ROW]
        if rows:
            lines.append(f"    array = array[..., 0, :] if name in ({quoted(rows)}) else array")
        lines += [f"    bars[name][{inner}] = array", "return _pull(values, sizes, bars)"]
        doc = """
            The gradients of sum(cotangents[h] * h) over the states h, cotangents that are left out being zero.

            Of every parameter, summed over the batch, and for each sample of every input and of every boundary value.
        """
        return function("vjp(params, inputs, cotangents, initial=None)", doc, lines)

    def _run(self) -> str:
        """The forward pass."""
        body = self._set_borders([*self.inputs, *self.states])
        body += ["", *self._equations(self.system, [v.name for v in self.states], self._write_state), ""]
        for key, node, place in self._outer_values():
            body += self._assign(f'values["{key}"]', "=", node, place)
        body += dictionary("values |= ", {v.name: self.names.of[v.name] for v in (*self.inputs, *self.states)})
        body.append("return values, sizes")
        arrays = self._allocated([v.var for v in self.states if v.var.index])
        body = [*self._note(), *map(self._input, self.inputs), *arrays, *body]
        points = self._points(body)
        sizes = self._sizes([*body, *points])
        lines = [*self._checked_values(), *self._parameters(body), *sizes, *points, "", *body]
        signature = "_run(params, inputs, initial, targets=None)" if self.targets else "_run(params, inputs, initial)"
        doc = "All arrays by name, with their rows around the lattice; and what the letters of their shapes stand for."
        return function(signature, doc, without_double_blanks(lines))

    def _write_state(self, name: str, place: Place) -> list[str]:
        equation = self.system.equations[name]
        if not equation.target.index:
            self.place = place
            return wrapped(f"{self.names.of[name]} = ", total(self.printer, summand(equation.rhs)))
        return self._equation(equation.target, equation.rhs, place, "=")

    def _checked_values(self) -> list[str]:
        lines = ["sizes = {}"]
        if not self.inputs:
            lengths = [str(n) for n in self.system.lattice.lengths]
            lines = [f"sizes = {{name: int(inputs[name]) for name in ({quoted(lengths)})}}"]
        lines += [
            'values = _given("params", params, PARAMETERS, sizes)',
            'values |= _given("inputs", inputs, INPUTS, sizes)',
        ]
        if self.targets:
            lines += ["if targets is not None:", '    values |= _given("targets", targets, TARGETS, sizes)']
        lines.append('values |= _given("initial", initial or {}, INITIAL, sizes, optional="boundary value")')
        lines += [] if self.inputs else ['sizes.setdefault("...", ())']
        return [
            *lines,
            "dtype = np.result_type(np.float32, *values.values())",
            "values = {name: array.astype(dtype, copy=False) for name, array in values.items()}",
            "",
        ]

    def _input(self, variable: Variable) -> str:
        """An input or a target with its rows outside the lattice."""
        return f"{self.names.of[variable.name]} = _bordered({_without_row(variable.var, self._entry(variable.name))})"

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
        pairs += [("batch", 'sizes["..."]')] if uses(body, "batch") or uses(body, "points") else []
        if not pairs:
            return []
        return [f"{', '.join(left for left, _ in pairs)} = {', '.join(right for _, right in pairs)}"]

    def _note(self) -> list[str]:
        rows = []
        for axis, i in enumerate(self.names.index):
            shift = self.layout.before[axis] - 1
            rows.append(f"step {i} is row {f'{i} + {shift}' if shift else i}")
        note = f"In every array {', '.join(rows)}; the rows around are the border: boundary values, or zero."
        return [f"# {line}" for line in textwrap.wrap(note, 100)]

    def _allocated(self, variables: Iterable[Var]) -> list[str]:
        """Arrays of zeros, as many of a shape in a line as fit."""
        groups: dict[str, list[str]] = {}
        for var in variables:
            groups.setdefault(self._zeros(var), []).append(self.names.of[var.name])
        lines: list[str] = []
        for zeros, left in groups.items():
            while left:
                count = next(k for k in range(len(left), 0, -1) if k == 1 or len(", ".join(left[:k]) + zeros) <= 80)
                each = zeros if count == 1 else f"({zeros} for _ in range({count}))"
                lines.append(f"{', '.join(left[:count])} = {each}")
                left = left[count:]
        return lines

    # --- borders -------------------------------------------------------------------------------------------------------

    def _given_borders(self) -> list[Border]:
        return [b for b in self._borders() if self.system.boundary[b.variable] == "given"]

    def _borders(self) -> list[Border]:
        """The borders of what the functions are given or compute."""
        known = {v.name for v in (*self.inputs, *self.states, *(self.targets if self.loss else ()))}
        return [b for b in self.system.borders if b.variable in known]

    def _is_learned(self, border: Border) -> bool:
        return self.system.boundary[border.variable] == "learned"

    def _set_borders(self, variables: Sequence[Variable]) -> list[str]:
        lines = []
        names = [v.name for v in variables]
        for border in (b for b in self._borders() if b.variable in names):
            var = self.system.variables[border.variable].var
            place = f"{self.names.of[border.variable]}[{self.layout.border(border)}]"
            value, axes = _without_row(var, self._entry(border.key)), _axes(border)
            if not self._is_learned(border):
                lines += [f'if "{border.key}" in values:', f"    {place} = {value}"]
            elif axes:
                lines.append(f"{place} = np.expand_dims({value}, tuple(range({axes}, {axes} + len(batch))))")
            else:
                lines.append(f"{place} = {value}")
        return lines

    def _border_place(self, border: Border) -> Place:
        lattice = self.system.lattice
        steps: list[Expr | None] = []
        for side, i, n in zip(border.sides, lattice.indices, lattice.lengths, strict=True):
            steps.append(Integer(0) + side.coordinate(i, n) if side.depth else None)
        return Place(tuple(steps), self.everywhere.margins)

    def _outer_values(self) -> list[tuple[str, Node, Place]]:
        """What an adjoint that was derived before says of boundary values: `("h_bar[0]", right-hand side, place)`."""
        found = []
        for equation in self.system.equations.values() if self.derived else ():
            for border in self.system.borders:
                if equation.extent and border.variable == equation.target.base:
                    place = self._border_place(border)
                    rhs = self._on_border(equation.rhs, place)
                    found.append((border.key.replace(border.variable, equation.name, 1), rhs, place))
        return found

    def _on_border(self, rhs: Node, place: Place) -> Node:
        """A right-hand side beyond the lattice: adjoints of what has no equation there are zero."""
        lattice = self.system.lattice

        def leaf(node: Any) -> Any:
            if isinstance(node, Var) and node.index and (is_backward(node) or "ct" in node.marks):
                steps = zip(node.index, place.steps, lattice.lengths, strict=True)
                if any(step is not None and beyond(index, n) for index, step, n in steps):
                    return expr.Zero(*node.shape)
            return node

        return expr.rewrite(self._at(rhs, place), leaf)

    # --- backwards ----------------------------------------------------------------------------------------------------

    def _pull(self, backward: System) -> str:
        own = {e.name: e for e in backward.own if e.name != LOSS + BAR}
        states = [v.name for v in self.states]
        body = self._equations(backward, [n for n, e in own.items() if e.target.index], self._write_adjoint(own))
        body += ["", "gradients = {}"]
        for v in self.system.parameters:
            body += self._parameter_gradient(v.name, own.get(v.name + BAR))
        for v in self.system.inputs:
            body += self._input_gradient(v.name, own.get(v.name + BAR))
        for border in self._borders():
            body += self._border_gradient(border, own.get(border.variable + BAR))
        body.append("return gradients")
        deltas = [
            e.target for e in own.values() if e.target.index and e.target.base in states and not _is_bar(e.target)
        ]
        body = [*self._allocated(deltas), *body]
        bars = [n for n in states if uses(body, self.names.of[n + BAR])]
        unpacked = self._unpacked(bars, "bars", BAR)
        trajectories = [v.name for v in (*self.inputs, *self.states) if uses(body, self.names.of[v.name])]
        dtype = [f"dtype = {self._entry(states[0])}.dtype"] if uses(body, "dtype") else []
        points = self._points(body)
        lines = [
            *self._parameters(body),
            *self._unpacked(trajectories),
            *self._sizes([*body, *points]),
            *dtype,
            *points,
        ]
        equations = [line for e in own.values() for line in unicode_text(_law(e), BARRED).splitlines()]
        doc = "The adjoint equations; `bars` holds the cotangents that they start from.\n\n"
        doc += "\n".join(f"    {line}" for line in equations)
        return function("_pull(values, sizes, bars)", doc, without_double_blanks([*lines, *unpacked, *body]))

    def _points(self, body: Sequence[str], lengths: bool = True) -> list[str]:
        """How many points a sum over the lattice and the batch has."""
        if not uses(body, "points"):
            return []
        factors = [*(self.names.length if lengths else []), "int(np.prod(batch))"]
        return [f"points = {' * '.join(factors)}"]

    def _write_adjoint(self, own: Mapping[str, Equation]) -> Write:
        states = {v.name for v in self.states}

        def write(name: str, place: Place) -> list[str]:
            target, rhs = own[name].target, _without_cotangents(own[name].rhs)
            if target.base not in states and _is_bar(target):
                return []
            if isinstance(rhs, expr.Zero):
                return []
            return self._equation(target, rhs, place, "+=" if _is_bar(target) else "=")

        return write

    def _parameter_gradient(self, name: str, equation: Equation | None) -> list[str]:
        var = self.system.variables[name].var
        if equation is None:
            return [f'gradients["{name}"] = np.zeros_like({self._entry(name)})']
        self.place = self.everywhere
        text = total(self.printer, summand(equation.rhs))
        return wrapped(f'gradients["{name}"] = ', f"({text})[None]" if kind_of(var) == ROW else text)

    def _input_gradient(self, name: str, equation: Equation | None) -> list[str]:
        var = self.system.variables[name].var
        entry, local = f'gradients["{name}"]', self.names.of[name]
        place = f"{local}[{self.layout.inner}]"
        row = "[..., None, :]" if kind_of(var) == ROW else ""
        rhs = equation.rhs if equation else expr.Zero(*var.shape)
        if isinstance(rhs, expr.Zero):
            return [f"{entry} = np.zeros_like({place}){row}"]
        if not self._terms(rhs)[1]:
            value = self._value(rhs, self.everywhere)
            text = f"{value.text}.copy()" if isinstance(rhs, Var) else value.text
            return wrapped(f"{entry} = ", f"({text}){row}" if row else text)
        bar = self.names.of[name + BAR]
        lines = [f"{bar} = np.zeros_like({local})", *self._equation(var.marked("bar"), rhs, self.everywhere, "+=")]
        return [*lines, f"{entry} = {bar}[{self.layout.inner}]{row}"]

    def _border_gradient(self, border: Border, equation: Equation | None) -> list[str]:
        """The gradient by a boundary value: the adjoint equation beyond the lattice."""
        var = self.system.variables[border.variable].var
        if self.system.variables[border.variable].kind == "target":
            return []
        entry, local = f'gradients["{border.key}"]', f"{self.names.of[border.variable]}[{self.layout.border(border)}]"
        place = self._border_place(border)
        rhs = self._on_border(_without_cotangents(equation.rhs), place) if equation else expr.Zero(*var.shape)
        plain, late = self._late_terms(rhs)
        start = expr.add(*plain) if plain else rhs
        lines = self._assign(entry, "=", start, place) if plain else [f"{entry} = np.zeros_like({local})"]
        if isinstance(start, Var):
            lines = [f"{line}.copy()" for line in lines]
        for condition, term in late:
            lines += [f"if {condition}:", *indented(self._assign(entry, "+=", term, place))]
        return [*lines, *self._outward(border, entry, entry)]

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
        for var in (v for v in expr.variables(term) if is_backward(v)):
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
        if self._is_learned(border):
            text = self.printer.call("sum_leading", text, str(RANK[kind_of(var)]), f"keep={_axes(border)}")
        text = f"{text}[..., None, :]" if row else text
        return [f"{target} = {text}"] if text != target else []

    # --- the loss -----------------------------------------------------------------------------------------------------

    def _value_and_grad(self) -> str:
        assert self.loss is not None
        last = self.system.loss == "last"
        place = Place(tuple(self.system.lattice.lengths), self.everywhere.margins) if last else self.everywhere
        value = self._value(self.loss.rhs, place)
        text = f"np.sum({value.text})" if value.batched else f"points * {value.at_least(POWER)}"
        body = [*wrapped("loss = ", text), "bars = {name: np.zeros_like(values[name]) for name in STATES}"]
        direct, after = self._direct(place)
        body += [*direct, "gradients = _pull(values, sizes, bars)", *after, "return loss, gradients"]
        fed = "".join(f', "{v.name}": targets["{v.name}"]' for v in self.fed)
        first = [f"values, sizes = _run(params, inputs, initial{', targets' if self.targets else ''})"]
        if fed:
            first = [f"inputs = {{**inputs{fed}}}", *first]
        targets = [v for v in self.targets if v not in self.fed and uses(body, self.names.of[v.name])]
        bordered = [*map(self._input, targets), *self._set_borders(targets)]
        known = [v.name for v in (*self.inputs, *self.states) if uses(body, self.names.of[v.name])]
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
            self.place = place
            if kind == "parameter":
                text = total(self.printer, self._at(gradient, place))
                text = f"({text})[None]" if kind_of(source) == ROW else text
                after += wrapped(f'gradients["{source.name}"] += ', text)
            elif kind in ("state", "input"):
                offset = entry.offset or ()
                index = [i + o for i, o in zip(self.system.lattice.indices, offset, strict=True)]
                where = self._read(self._at(source.at(index), place))[len(self.names.of[source.name]) :]
                bar = f'{"direct" if kind == "input" else "bars"}["{source.name}"]'
                found.setdefault(source.name, []).extend(self._assign(f"{bar}{where}", "+=", gradient, place))
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
            borders = [b for b in self._borders() if b.variable == name]
            if is_input:
                row = "[..., None, :]" if kind_of(var) == ROW else ""
                first.append(f'direct["{name}"] = np.zeros_like({self._entry(name)})')
                returned.append(f'gradients["{name}"] += direct["{name}"][{self.layout.inner}]{row}')
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

    # --- the rest of the module ----------------------------------------------------------------------------------------

    def _check(self) -> str:
        system = self.system
        count = {str(n): 3 + k for k, n in enumerate(system.dimensions)}
        count |= {str(n): 3 + k for k, n in enumerate(system.lattice.lengths)}
        fixed = {str(n) for v in system.variables.values() for n in v.shape if n.is_Integer and n != 1} | {"1"}
        used = {part for shape in self._shapes().values() for part in " ".join(shape.values()).split()}
        count |= {n: int(n) for n in sorted(fixed & used)}
        entries = [f'"{name}": ({size},)' for name, size in count.items()] + ['"...": (2,)']
        low, high = (0.5, 1.5) if {"log", "sqrt"} & set(applied(system)) else (-1, 1)
        lengths = "" if self.inputs else ", ".join(f'"{n}": {count[str(n)]}' for n in system.lattice.lengths)
        source = CHECK.format(
            sizes=", ".join(entries), low=low, high=high,
            inputs=f"\n    inputs |= {{{lengths}}}" if lengths else "",
            loss=CHECK_LOSS if self.loss else "",
            targets="\n    targets = draw(TARGETS)" if self.loss else "",
        )  # fmt: skip
        return source

    def _shapes(self) -> dict[str, dict[str, str]]:
        """The tables of the module: names with their shapes, as letters."""
        lattice = [str(n) for n in self.system.lattice.lengths]

        def shape(var: Var, *leading: str) -> str:
            sizes = [] if var.shape == expr.SCALAR else [var.shape[0]] if var.shape[1] == 1 else [*var.shape]
            return " ".join([*leading, *map(str, sizes)])

        params = {v.name: shape(v.var) for v in self.system.parameters}
        initial = {}
        for border in self._borders():
            along = [n for n, side in zip(lattice, border.sides, strict=True) if not side.depth]
            var = self.system.variables[border.variable].var
            if self._is_learned(border):
                params[border.key] = shape(var, *along)
            else:
                initial[border.key] = shape(var, *along, "...")
        indexed = [v.var for v in self.states if v.var.index]
        tables = {
            "PARAMETERS": params,
            "INPUTS": {v.name: shape(v.var, *lattice, "...") for v in self.inputs},
            "TARGETS": {v.name: shape(v.var, *lattice, "...") for v in self.targets},
            "INITIAL": initial,
            "STATES": {v.name: shape(v, *lattice, "...") for v in indexed},
        }
        return {name: entries for name, entries in tables.items() if name != "TARGETS" or entries}

    def _tables(self) -> list[str]:
        lines = ['# Shapes by name; "..." are the axes of a batch, which may be missing.']
        for name, entries in self._shapes().items():
            lines += dictionary(f"{name} = ", {key: f'"{shape}"' for key, shape in entries.items()})
        totals = [*(v.name for v in self.states if not v.var.index), *(key for key, _, _ in self._outer_values())]
        if totals:
            lines += tuple_of("TOTALS = ", totals)
        if self.unknown:
            lines += ["", "# The functions without a formula, to be filled in by name.", "FUNCTIONS = {}"]
        return lines

    def _docstring(self) -> str:
        system = self.system
        ranges = ", ".join(f"{i} = 1..{n}" for i, n in zip(system.lattice.indices, system.lattice.lengths, strict=True))
        lines = [f"{system.title}, in NumPy.", "", f"For {ranges}:", ""]
        for equation in system.equations.values():
            if self.derived or equation.name != LOSS or self.loss:
                lines += [f"    {line}" for line in unicode_text(_law(equation), BARRED).splitlines()]
        if self.loss and system.loss == "last":
            lines += ["", "The loss is that of the last step."]
        order = ", ".join([*map(str, system.lattice.lengths), "[batch,] n"])
        lines += ["", f"Arrays are time-major, ({order}); gradients of parameters are summed over the batch."]
        if self.backward:
            lines += ["Run as a program, the module compares its gradients with finite differences."]
        lines += ["", f"Source: {system.reference}."] if system.reference else []
        lines += ["Written by derive."]
        return docstring("\n".join(lines))


# --- text ---------------------------------------------------------------------------------------------------------------

BARRED = Notation(adjoint="bar")


def _law(equation: Equation) -> expr.Equals:
    return expr.Equals(equation.target, equation.rhs)


def summand(rhs: Node) -> Node:
    """What is summed over the lattice where the right-hand side is a sum, or several."""
    bodies = []
    for term in rhs.args if isinstance(rhs, expr.Add) else (rhs,):
        c, core = expr.split_number(term)
        if not isinstance(core, (expr.Sum, expr.Zero)):
            raise DeriveError(f"{term} is no sum over the lattice, which is all that a name without an index can be")
        bodies.append(expr.scale(c, core.args[0]) if isinstance(core, expr.Sum) else core)
    return expr.add(*bodies)


def is_backward(var: Var) -> bool:
    """Whether a variable is an adjoint, and so zero where it has no equation."""
    return "bar" in var.marks or "delta" in var.marks


def _is_bar(var: Var) -> bool:
    return bool(var.marks) and var.marks[-1] == "bar"


def _asks_where(equation: Equation) -> bool:
    """Whether an equation depends on the step by more than what it reads there."""
    return any(isinstance(n, expr.At) for n in expr.walk(equation.rhs))


def can_be_infinite(term: Node) -> bool:
    """Whether a term may divide by zero where all that it reads is zero."""
    for node in expr.walk(term):
        if isinstance(node, expr.Power) and node.args[1].is_negative:
            return True
        if isinstance(node, expr.Apply):
            row = functions.row(node.function)
            if node.function in ("log", "sqrt") or (isinstance(row, functions.Elementwise) and row.formula is None):
                return True
    return False


def beyond(index: Expr, length: Expr) -> bool:
    """Whether a step that is a number, or a number after the end, is outside `1..length`."""
    if index.is_Integer:
        return bool(index < 1)
    return bool((index - length).is_positive)


def _axes(border: Border) -> int:
    """Along how many axes of the lattice a border runs."""
    return sum(not side.depth for side in border.sides)


def _without_row(var: Var, text: str) -> str:
    """A row vector has one axis inside the module, two outside."""
    return f"{text}[..., 0, :]" if kind_of(var) == ROW else text
