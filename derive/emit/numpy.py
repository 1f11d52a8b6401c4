"""NumPy: a standalone module with `forward`, `vjp` and `value_and_grad`, and single formulas by SymPy's `lambdify`.

What a system computes in no recurrence is written for all steps at once; a recurrence is a loop.  Arrays are time-major and
keep room for the values beyond the lattice that are read: with one layer before the first step, `h[t]` is the state of step
`t` and `h[0]` the initial one.  What `derive export` writes is what `compile` runs.
"""

from __future__ import annotations

import builtins
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import indent, wrap
from typing import Any

import numpy as np
from sympy import Expr, Integer

from derive import expr
from derive.emit import code
from derive.errors import DeriveError, did_you_mean
from derive.expr import Node, Var
from derive.lattice import Loop
from derive.notation import Notation
from derive.partials import table
from derive.printing import text as unicode_text
from derive.readings.steps import drop_outside
from derive.system import LOSS, Equation, System

RESERVED = (
    "np",
    "math",
    "params",
    "inputs",
    "initial",
    "targets",
    "cotangents",
    "values",
    "batch",
    "dtype",
    "at_end",
    "loss",
)


def compile(system: System, dtype: str, functions: Mapping[str, Callable[..., Any]]) -> Compiled:
    """The module, executed, its arrays in `dtype`; `functions` are the named unknowns of the system."""
    module = _Module(system)
    missing = [f for f in module.unknown if f not in functions]
    if missing:
        names = ", ".join(f'"{f}": …' for f in missing)
        raise DeriveError(f"{system.name} has functions without a formula; pass them as functions={{{names}}}")
    return Compiled(system, module.source(), dtype, functions)


class Compiled:
    """The functions of a system.  Arrays are time-major, `(T, [batch,] dim)`; on a grid `(I, J, [batch,] dim)`.

    Keys are the names as typed: `"W_z"`, `"x"`; a boundary value is `"h[0]"`, and zero where it is left out.
    """

    def __init__(self, system: System, source: str, dtype: str, functions: Mapping[str, Callable[..., Any]]):
        self.system, self.source, self.dtype = system, source, np.dtype(dtype)
        self.module = types.ModuleType(code.identifier(re.sub(r"\W+", "_", system.name)))
        exec(
            builtins.compile(source, f"<derive {system.name}>", "exec"), self.module.__dict__
        )  # our own text, written from the parsed system
        if functions:
            self.module.__dict__["UNKNOWN"].update(functions)

    def forward(self, params: Mapping, inputs: Mapping, initial: Mapping | None = None) -> dict[str, np.ndarray]:
        """Every state's trajectory."""
        return self.module.forward(self._cast(params), self._cast(inputs), self._cast(initial))

    def _only_forward(self) -> None:
        if self.system.parts.given:
            raise DeriveError(
                f"{self.system.name} is a derived system, which holds its derivatives already; use forward"
            )

    def vjp(
        self, params: Mapping, inputs: Mapping, cotangents: Mapping, initial: Mapping | None = None
    ) -> dict[str, np.ndarray]:
        """Gradients of `Σ <cotangent, state>` by every parameter, input and boundary value."""
        self._only_forward()
        known = [v.name for v in self.system.states if v.name != LOSS]
        for name in cotangents:
            if name not in known:
                raise ValueError(f"cotangents has {name!r}, which is no state{did_you_mean(name, known)}")
        return self.module.vjp(self._cast(params), self._cast(inputs), self._cast(cotangents), self._cast(initial))

    def value_and_grad(
        self, params: Mapping, inputs: Mapping, targets: Mapping, initial: Mapping | None = None
    ) -> tuple[Any, dict[str, np.ndarray]]:
        """The loss, summed over steps and batch, and its gradients.  Raises `DeriveError` where the loss is left abstract."""
        self._only_forward()
        if not self.system.has_loss:
            raise DeriveError(
                f"the loss of {self.system.name} is left abstract; "
                f"use vjp with the cotangents of {', '.join(self.system.outputs)}"
            )
        return self.module.value_and_grad(
            self._cast(params), self._cast(inputs), self._cast(targets), self._cast(initial)
        )

    def function(self, query: str, **options: Any) -> Callable[..., np.ndarray]:
        """The result of a query as one function of the names that it reads; leading axes of batches are free."""
        return formula_function(self.system.derive(query, **options))

    def _cast(self, arrays: Mapping | None) -> dict[str, np.ndarray]:
        return {name: np.asarray(value, dtype=self.dtype) for name, value in (arrays or {}).items()}


# --- one formula ------------------------------------------------------------------------------------------------------


def formula_function(derivation: Any) -> Callable[..., np.ndarray]:
    """The formula of a derivation, by `lambdify`; its docstring names the arguments."""
    from sympy import lambdify

    formula = expr.strip_labels(derivation.expr)
    if not isinstance(formula, Node) or any(
        isinstance(n, (expr.Partial, expr.Sum, expr.Product, expr.Block)) for n in expr.walk(formula)
    ):
        raise DeriveError(
            f"the answer to {derivation.query!r} is no single formula of arrays; ask for a Jacobian, or compile the system"
        )
    arguments = list(expr.variables(formula))
    names = {var: _argument(var) for var in arguments}
    sizes = {
        dim: f"{names[v]}.shape[{-1 if k else -2}]" if v.shape[1] != 1 else f"{names[v]}.shape[-1]"
        for v in reversed(arguments)
        for k, dim in enumerate(v.shape)
        if dim != 1
    }

    def no_lattice(node: expr.At) -> str:
        raise DeriveError("a formula for the last step only has no value by itself; ask at a number")

    writer = code.Writer(lambda v: names[v], lambda d: _size(d, sizes), no_lattice)
    piece = writer(formula)
    namespace: dict[str, Any] = {"np": np}
    exec(_helpers(writer.used), namespace)
    function = lambdify(
        list(names.values()), formula, modules=[namespace, "numpy"], printer=_printer(piece.text), docstring_limit=0
    )
    listed = "\n".join(f"    {names[v]}  {expr.show_shape(v.shape)}" for v in arguments)
    function.__name__ = code.identifier(re.sub(r"\W+", "_", derivation.query).strip("_"))
    function.__doc__ = (
        f"{derivation.query} = {unicode_text(formula, Notation())}\n\n"
        f"Arguments, each with any leading axes of batches in common:\n{listed}\n"
    )
    return function


def _printer(written: str) -> Any:
    """SymPy's NumPy printer; a node prints itself as `written`."""
    from sympy.printing.numpy import NumPyPrinter

    class Printer(NumPyPrinter):  # type: ignore[misc]
        def doprint(self, e: Any) -> str:
            return written if isinstance(e, Node) else str(super().doprint(e))

    return Printer({"fully_qualified_modules": True})


def _argument(var: Var) -> str:
    """`h_tm1` for h[t-1], `h_tp1` for h[t+1], `h_3` for h[3]."""
    index = "".join("_" + str(i).replace(" ", "").replace("+", "p").replace("-", "m") for i in var.index)
    return code.identifier(var.name + index, ("np",))


def _size(dim: Expr, sizes: Mapping[Expr, str]) -> str:
    return str(dim) if dim.is_Integer else sizes[dim]


def _helpers(used: Mapping[str, str]) -> str:
    needs_erf = any("_erf(" in source for source in used.values())
    return ("import math\n\n" + code.ERF if needs_erf else "") + "\n\n".join(used.values())


# --- a module -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Where:
    """Where a statement stands on each axis: in a loop (its name), at a fixed point, or everywhere (None)."""

    axes: tuple[str | int | None, ...]


class _Module:
    def __init__(self, system: System):
        if not system.inputs:
            raise DeriveError(
                f"{system.name} reads no input, so that its functions can't know the number of steps; give it one"
            )
        self.system = system
        self.states = [v for v in system.states if v.name != LOSS]
        # A system that was derived from another has its adjoint among its equations already: it runs forward only.
        self.joined = bool(system.parts.given)
        kinds = ("input", "target", "cotangent") if self.joined else ("input",)
        self.given = [v for v in system.variables.values() if v.kind in kinds]
        self.backward = system if self.joined else system.with_cotangents(*(v.name for v in self.states)).adjoint()
        self.lengths = tuple(_legible(str(n)) for n in system.lattice.lengths)
        self.indices = tuple(map(str, system.lattice.indices))
        taken = (*RESERVED, *self.lengths, *self.indices)
        self.names = {n: code.identifier(n, taken) for n in (*self.backward.variables, *system.variables)}
        self.pads = self._pads()
        self.where = _Where((None,) * len(self.indices))
        self.writer = code.Writer(self.read, self.size, self._at_end)
        self.sums: set[str] = set()
        self.body = self._functions()

    @property
    def unknown(self) -> list[str]:
        """The names of functions that the caller must give."""
        return sorted(set(re.findall(r'UNKNOWN\["([^"]+)"\]', "\n".join(self.writer.used.values()))))

    # --- reading arrays ---

    def _pads(self) -> dict[str, tuple[tuple[int, int], ...]]:
        """For every indexed name the layers of room before and after the lattice on each axis."""
        dimension = self.system.lattice.dimension
        room: dict[str, list[list[int]]] = {}
        reads = [
            *self.backward.reads,
            *((e.name, e.name, tuple(-lo for lo, _ in e.extent)) for e in self.backward.own if e.extent),
        ]
        reads += [(e.name, e.name, tuple(hi for _, hi in e.extent)) for e in self.backward.own if e.extent]
        for _, name, offset in reads:
            layers = room.setdefault(name, [[0, 0] for _ in range(dimension)])
            for axis, o in enumerate(offset):
                layers[axis] = [max(layers[axis][0], -o), max(layers[axis][1], o)]
        for name in [v.name for v in (*self.states, *self.system.inputs)]:
            both = [room.get(n, [[0, 0]] * dimension) for n in (name, f"{name}_bar")]
            joined = [[max(a, b) for a, b in zip(*pair, strict=True)] for pair in zip(*both, strict=True)]
            room[name] = room[f"{name}_bar"] = joined
        return {name: tuple((lo, hi) for lo, hi in layers) for name, layers in room.items()}

    def pad(self, name: str) -> tuple[tuple[int, int], ...]:
        return self.pads.get(name, ((0, 0),) * len(self.indices))

    def read(self, var: Var) -> str:
        """The source of a variable where the statement stands."""
        name = self.names[var.name]
        if not var.index:
            return name
        offsets = [
            int(i - own) if own in i.free_symbols else None
            for i, own in zip(var.index, self.system.lattice.indices, strict=True)
        ]
        parts = []
        for axis, (offset, (low, high)) in enumerate(zip(offsets, self.pad(var.name), strict=True)):
            at = self.where.axes[axis]
            if offset is None:
                parts.append(self._fixed(var.index[axis], axis, low))
            elif at is None:
                parts.append(_slice(low + offset, self.lengths[axis], low, high))
            else:
                parts.append(_shifted(str(at), low + offset - 1))
        return name if all(p == ":" for p in parts) else f"{name}[{', '.join(_trimmed(parts))}]"

    def _fixed(self, index: Expr, axis: int, low: int) -> str:
        """A point: `0` or `T + 1`, as a position in the array."""
        if index.is_Integer:
            return str(int(index) - 1 + low)
        return _shifted(self.lengths[axis], int(index - self.system.lattice.lengths[axis]) - 1 + low)

    def size(self, dim: Expr) -> str:
        if dim.is_Integer:
            return str(dim)
        return code.identifier(str(dim), (*self.backward.variables, *self.system.variables, *RESERVED, *self.indices))

    def _at_end(self, node: expr.At) -> str:
        parts = [":" if at is None else _shifted(str(at), -1) for at in self.where.axes]
        return "at_end" if all(p == ":" for p in parts) else f"at_end[{', '.join(_trimmed(parts))}]"

    # --- statements ---

    def value(self, node: Node, where: _Where) -> str:
        self.where = where
        return self.writer(node).text

    def statements(
        self, schedule: Sequence[Loop | str], wanted: set[str], line: Callable[[str, _Where], list[str]]
    ) -> list[str]:
        """The statements of the wanted names in their order, loops and all."""
        everywhere = _Where((None,) * len(self.indices))
        lines: list[str] = []
        for item in schedule:
            lines += self._item(item, wanted, line, everywhere, {})
        return lines

    def _item(
        self, item: Loop | str, wanted: set[str], line: Callable, where: _Where, shifts: dict[int, Loop]
    ) -> list[str]:
        if isinstance(item, str):
            return self._guarded(item, line, where, shifts) if item in wanted else []
        inside: list[str] = []
        index = self.indices[item.axis]
        axes = tuple(index if a == item.axis else w for a, w in enumerate(where.axes))
        for inner in item.body:
            inside += self._item(
                inner, wanted, line, _Where(axes), {**shifts, item.axis: item} if item.shifts else shifts
            )
        if not inside:
            return []
        return [f"for {index} in {self._range(item)}:", *(indent(text, "    ") for text in inside)]

    def _range(self, item: Loop) -> str:
        length = self.lengths[item.axis]
        first = min((0, *(item.direction * p for p in item.shifts.values())))
        last = max((0, *(item.direction * p for p in item.shifts.values())))
        low, high = _shifted("1", first) if first else "1", _shifted(length, last + 1)
        if item.direction > 0:
            return f"range({1 + first}, {high})" if first else f"range({low}, {high})"
        return f"range({_shifted(length, last)}, {first}, -1)"

    def _guarded(self, name: str, line: Callable, where: _Where, shifts: Mapping[int, Loop]) -> list[str]:
        """A variable that runs ahead of its loop stands at a shifted index, and only within the lattice."""
        conditions = []
        axes = list(where.axes)
        for axis, loop in shifts.items():
            shift = loop.shifts.get(name, 0) * -loop.direction
            at = _shifted(self.indices[axis], shift)
            axes[axis] = at
            conditions.append(f"1 <= {at} <= {self.lengths[axis]}")
        lines = line(name, _Where(tuple(axes)))
        if not conditions or not lines:
            return lines
        return [f"if {' and '.join(conditions)}:", *(indent(text, "    ") for text in lines)]

    def assign(self, target: Var, rhs: Node, where: _Where, operator: str = "=") -> str:
        value = self.value(rhs, where)
        self.where = where
        place = self.read(target)
        return code.broken(f"{place} {operator} {value}")

    # --- functions ---

    def _functions(self) -> list[str]:
        if self.joined:
            return [self._run(), self._forward()]
        parts = [self._run(), self._forward(), self._backward(), self._vjp()]
        if self.system.has_loss:
            parts.append(self._value_and_grad())
        parts.append(self._check())
        return parts

    def _run(self) -> str:
        """`_run`: checks what is given and computes every state."""
        system = self.system
        lines = [
            f'_check_shapes("params", params, PARAMETERS, {self._size_names()})',
            f'_check_shapes("inputs", inputs, INPUTS, {self._size_names()})',
        ]
        for v in self.given:
            if any(map(any, self.pad(v.name))):
                lines += [
                    f"{self.names[v.name]} = {self._room(v.name, v.shape)}",
                    f'{self._inner(v.name)} = inputs["{v.name}"]',
                ]
        looped = _looped(system.schedule)
        for v in self.states:
            if v.indexed and (v.name in looped or any(map(any, self.pad(v.name))) or self._is_constant(v.name)):
                lines.append(f"{self.names[v.name]} = {self._room(v.name, v.shape)}")
        lines += self._boundary()
        lines += self.statements(system.schedule, {v.name for v in self.states}, self._forward_line)
        lines += [line for e in system.own for line in self._outer(e)] if self.joined else []
        if any(_uses(line, "at_end") for line in lines):
            lines = [*self._end_marker(), *lines]
        pairs = [f'"{v.name}": {self.names[v.name]}' for v in (*self.given, *self.states)]
        lines.append(_wrapped("return {", pairs, "}"))
        names = ['_check_names("params", params, PARAMETERS)', '_check_names("inputs", inputs, INPUTS)']
        lines = [*names, *self._unpack(), *self._sizes(lines), *lines]
        return _function(
            "_run(params, inputs, initial)", "Every state, with the layers around the lattice that are read.", lines
        )

    def _is_constant(self, name: str) -> bool:
        """Whether the equation reads nothing that has an index: its value is spread over an array."""
        return not any(v.index for v in expr.variables(self.system.equations[name].rhs))

    def _forward_line(self, name: str, where: _Where) -> list[str]:
        equation = self.system.equations[name]
        if not equation.target.index:
            return [f"{self.names[name]} = {self._reduced(equation.body, where)}"]
        if self._is_constant(name) and not any(where.axes):
            return [f"{self._inner(name)}[...] = {self.value(equation.rhs, where)}"]
        return [self.assign(equation.target, equation.rhs, where)]

    def _end_marker(self) -> list[str]:
        """1 at the last step, 0 before."""
        return [
            f"at_end = np.zeros(({', '.join(self.lengths)}, *(1 for _ in batch)), dtype=dtype)",
            f"at_end[{', '.join('-1' for _ in self.lengths)}] = 1",
        ]

    def _unpack(self) -> list[str]:
        lines = [f'{self.names[p.name]} = params["{p.name}"]' for p in self.system.parameters]
        lines += [f'{self.names[v.name]} = inputs["{v.name}"]' for v in self.given]
        return lines

    def _sizes(self, rest: Sequence[str]) -> list[str]:
        """The lengths, the batch and the dimensions, as far as the `rest` of the function uses them."""
        first = self.system.inputs[0]
        name = self.names[first.name]
        dimension, rank = len(self.indices), sum(s != 1 for s in first.shape)
        single = f"{self.lengths[0]} = {name}.shape[0]"
        lines = [single if dimension == 1 else f"{', '.join(self.lengths)} = {name}.shape[:{dimension}]"]
        lines.append(f"batch = {name}.shape[{dimension}:{-rank or ''}]")
        lines += [f"{self.size(dim)} = {self._source_of(dim)}" for dim in self.system.dimensions]
        lines.append(f"dtype = {name}.dtype")
        return [
            line
            for line in lines
            if any(_uses(text, name) for name in line.split(" = ")[0].split(", ") for text in rest)
        ]

    def _lengths_and_sizes(self, rest: Sequence[str]) -> list[str]:
        """`_sizes`, where an input may have room around the lattice: then the lengths are without it."""
        name = self.system.inputs[0].name
        lines = self._sizes(rest)
        room = [lo + hi for lo, hi in self.pad(name)]
        if not any(room):
            return lines
        exact = [
            f"{n} = {self.names[name]}.shape[{a}] - {r}" if r else f"{n} = {self.names[name]}.shape[{a}]"
            for a, (n, r) in enumerate(zip(self.lengths, room, strict=True))
        ]
        return [*exact, *lines[1:]]

    def _source_of(self, dim: Expr) -> str:
        for v in (*self.system.parameters, *self.system.inputs):
            axes = [s for s in v.shape if s != 1]
            if dim in axes:
                return f"{self.names[v.name]}.shape[{axes.index(dim) - len(axes)}]"
        raise DeriveError(
            f"{self.system.name}: the size {dim} is that of no parameter or input, so that its functions can't know it"
        )

    def _size_names(self) -> str:
        return "{" + ", ".join(f'"{d}": {self.size(d)}' for d in self.system.dimensions) + "}"

    def _room(self, name: str, shape: expr.Shape) -> str:
        """An array of zeros with its layers around the lattice."""
        lead = [_shifted(n, lo + hi) for n, (lo, hi) in zip(self.lengths, self.pad(name), strict=True)]
        sizes = [self.size(s) for s in shape if s != 1]
        return f"np.zeros(({', '.join([*lead, '*batch', *sizes])}), dtype=dtype)"

    def _inner(self, name: str) -> str:
        if not self.backward.variables[name].indexed:
            return self.names[name]
        parts = [_slice(lo, n, lo, hi) for n, (lo, hi) in zip(self.lengths, self.pad(name), strict=True)]
        return self.names[name] if all(p == ":" for p in parts) else f"{self.names[name]}[{', '.join(_trimmed(parts))}]"

    def _border(self, border: Any, name: str) -> str:
        parts = []
        for axis, (side, (low, high)) in enumerate(zip(border.sides, self.pad(name), strict=True)):
            if not side.depth:
                parts.append(_slice(low, self.lengths[axis], low, high))
            else:
                parts.append(str(low - side.depth) if side.low else _shifted(self.lengths[axis], low + side.depth - 1))
        return f"{self.names[name]}[{', '.join(_trimmed(parts))}]"

    def _boundary(self) -> list[str]:
        lines = []
        for border in self.system.borders:
            place = self._border(border, border.variable)
            if self.system.boundary[border.variable] == "learned":
                lines.append(f'{place} = params["{border.key}"]')
            else:
                lines.append(f'{place} = initial.get("{border.key}", 0.0)')
        return lines

    def _forward(self) -> str:
        pairs = [
            f'"{v.name}": {self._inner(v.name).replace(self.names[v.name], f"""values["{v.name}"]""", 1)}'
            for v in self.states
        ]
        pairs += [f'"{key}": {place}' for key, place in self._outer_values()]
        lines = ["values = _run(params, inputs, initial or {})"]
        if any(_uses(p, n) for p in pairs for n in self.lengths):
            lines.append(self._lengths_line())
        lines.append(_wrapped("return {", pairs, "}"))
        return _function("forward(params, inputs, initial=None)", "The trajectory of every state.", lines)

    def _outer_values(self) -> list[tuple[str, str]]:
        """The adjoints of boundary values, `h_bar[0]`, of a derived system."""
        found = []
        for e in self.system.own if self.joined else ():
            for border in self.system.borders:
                if e.extent and e.name.partition("_bar")[0] == border.variable:
                    place = self._border(border, e.name).replace(self.names[e.name], f'values["{e.name}"]', 1)
                    found.append((border.key.replace(border.variable, e.name, 1), place))
        return found

    def _lengths_line(self) -> str:
        first = self.system.inputs[0].name
        if len(self.lengths) == 1:
            return f'{self.lengths[0]} = inputs["{first}"].shape[0]'
        return f'{", ".join(self.lengths)} = inputs["{first}"].shape[:{len(self.lengths)}]'

    def _backward(self) -> str:
        """`_backward`: the adjoint recurrences, last step first."""
        backward = self.backward
        own = {e.name: e for e in backward.own}
        lines = []
        for v in self.states:
            if f"{v.name}_bar" in own:
                bar = self.names[f"{v.name}_bar"]
                lines.append(f"{bar} = np.zeros_like({self.names[v.name]})")
                place = self._inner(f"{v.name}_bar")
                lines.append(
                    f'{place} += cotangents.get("{v.name}", 0.0)'
                    if place != bar
                    else f'{bar} += cotangents.get("{v.name}", 0.0)'
                )
        looped = _looped(backward.schedule)
        for e in own.values():
            is_state_bar = e.target.marks[-1] == "bar" and e.target.base in {v.name for v in self.states}
            if e.target.index and not is_state_bar and (e.name in looped or any(map(any, self.pad(e.name)))):
                lines.append(f"{self.names[e.name]} = {self._room(e.name, e.target.shape)}")
        lines += self.statements(backward.schedule, set(own), lambda n, w: self._backward_line(own[n], w))
        for e in own.values():
            lines += self._outer(e)
        pairs = [
            f'"{p.name}": {self.names[p.name + "_bar"] if p.name + "_bar" in own else f"np.zeros_like({self.names[p.name]})"}'
            for p in self.system.parameters
        ]
        pairs += [
            f'"{v.name}": {self._inner(v.name + "_bar") if v.name + "_bar" in own else f"np.zeros_like({self._inner(v.name)})"}'
            for v in self.system.inputs
        ]
        pairs += [self._border_gradient(b, own) for b in self.system.borders]
        lines.append(_wrapped("return {", pairs, "}"))
        unpacked = [f'{self.names[p.name]} = params["{p.name}"]' for p in self.system.parameters]
        unpacked += [f'{self.names[v.name]} = values["{v.name}"]' for v in (*self.system.inputs, *self.states)]
        sizes = self._lengths_and_sizes(lines)
        lines = [*(u for u in unpacked if any(_uses(t, u.split(" = ")[0]) for t in (*lines, *sizes))), *sizes, *lines]
        return _function(
            "_backward(params, values, cotangents)", "The adjoint recurrences, from the last step to the first.", lines
        )

    def _backward_line(self, equation: Equation, where: _Where) -> list[str]:
        target = equation.target
        if not target.index:
            return [f"{self.names[equation.name]} = {self._reduced(equation.body, where)}"]
        rhs = _without_cotangent(equation.rhs)
        if target.marks[-1] == "bar" and target.base in {v.name for v in self.states}:
            return [] if isinstance(rhs, expr.Zero) else [self.assign(target, rhs, where, "+=")]
        return [self.assign(target, rhs, where)]

    def _reduced(self, body: Node, where: _Where) -> str:
        """The sum over lattice and batch; an outer product of columns becomes one matrix product."""
        if isinstance(body, expr.Add):
            return " + ".join(self._reduced(term, where) for term in body.args)
        c, core = expr.split_number(body)
        if c != 1:
            return f"{self.writer.number(c)} * {self._reduced(core, where)}"
        if isinstance(core, expr.Mul) and core.args[-1].shape[0] == 1 and core.args[0].shape[0] != 1:
            left, right = expr.mul(*core.args[:-1]), expr.transpose(core.args[-1])
            if expr.is_column(left) and expr.is_column(right):
                self.sums.add("_sum_outer")
                return f"_sum_outer({self.value(left, where)}, {self.value(right, where)})"
        helper = {"scalar": "np.sum", "vector": "_sum_vectors", "matrix": "_sum_matrices"}[code.form_of(core)]
        self.sums.add(helper)
        return f"{helper}({self.value(core, where)})"

    def _outer(self, equation: Equation) -> list[str]:
        """The adjoints of boundary values: what the first steps send back across the border."""
        lines = []
        for border in self.system.borders:
            if equation.name.partition("_bar")[0] != border.variable or not equation.extent:
                continue
            lattice = self.system.lattice
            index = [s.coordinate(i, n) for s, i, n in zip(border.sides, lattice.indices, lattice.lengths, strict=True)]
            at = {
                i: Integer(p) if isinstance(p, int) else p
                for i, p in zip(lattice.indices, index, strict=True)
                if p != i
            }
            moved = expr.at(equation.rhs, at)
            rhs = drop_outside(moved if self.joined else _without_cotangent(moved), self.system)
            if not isinstance(rhs, expr.Zero):
                lines.append(self.assign(expr.at(equation.target, at), rhs, _Where((None,) * len(index)), "="))
        return lines

    def _border_gradient(self, border: Any, own: Mapping[str, Equation]) -> str:
        if f"{border.variable}_bar" not in own:
            return f'"{border.key}": np.zeros_like({self._border(border, border.variable)})'
        place = self._border(border, f"{border.variable}_bar")
        if self.system.boundary[border.variable] != "learned":
            return f'"{border.key}": {place}'
        form = code.form_of(self.system.variables[border.variable].var)
        helper = {"scalar": "np.sum", "vector": "_sum_vectors", "matrix": "_sum_matrices"}[form]
        self.sums.add(helper)
        return f'"{border.key}": {helper}({place})'

    def _vjp(self) -> str:
        lines = ["values = _run(params, inputs, initial or {})", "return _backward(params, values, cotangents)"]
        title = "Gradients of the sum of <cotangent, state> by every parameter, input and boundary value."
        return _function("vjp(params, inputs, cotangents, initial=None)", title, lines)

    def _value_and_grad(self) -> str:
        system = self.system
        everywhere = _Where((None,) * len(self.indices))
        head = ["values = _run(params, inputs, initial or {})"]
        lines = []
        seeds = self._loss_seeds()
        needed = {v.name for node in (system.equations[LOSS].rhs, *(n for _, n in seeds)) for v in expr.variables(node)}
        losses = self.value(system.equations[LOSS].rhs, everywhere)
        if system.loss == "last":
            lines += self._end_marker()
            losses = f"at_end * {losses}"
        lines.append(f"loss = np.sum({losses})")
        pairs = [f'"{name}": {self.value(node, everywhere)}' for name, node in seeds]
        lines.append(_wrapped("cotangents = {", pairs, "}"))
        lines.append("return loss, _backward(params, values, cotangents)")
        sizes = self._sizes(lines)
        first = system.inputs[0]
        if sizes:
            head.append(f'{self.names[first.name]} = inputs["{first.name}"]')
        head += [
            f'{self.names[v.name]} = values["{v.name}"]' for v in (*system.inputs, *self.states) if v.name in needed
        ]
        head += [f'{self.names[p.name]} = params["{p.name}"]' for p in system.parameters if p.name in needed]
        head += [f'{self.names[v.name]} = targets["{v.name}"]' for v in system.of_kind("target")]
        lines = [*head, *sizes, *lines]
        title = "The loss, summed over steps and batch, and its gradients."
        return _function("value_and_grad(params, inputs, targets, initial=None)", title, lines)

    def _loss_seeds(self) -> list[tuple[str, Node]]:
        from derive.adjoint import loss_weight

        seeds = []
        for entry in table(self.system).of_target(LOSS):
            if entry.source.name not in {v.name for v in self.states}:
                if self.system.variables[entry.source.name].kind in ("input", "parameter"):
                    raise DeriveError(
                        f"{self.system.name}: its loss reads {entry.source.name} directly; let an output stand between"
                    )
                continue
            if any(entry.offset or ()):
                raise DeriveError(
                    f"{self.system.name}: its loss reads {entry.source.name} at another step; let an output stand between"
                )
            seeds.append((entry.source.name, entry.map.pull(loss_weight(self.system))))
        return seeds

    def _check(self) -> str:
        cotangents = ", ".join(f'"{o}"' for o in self.system.outputs)
        lengths = ", ".join("4" if len(self.lengths) == 1 else "3" for _ in self.lengths)
        lines = [
            "rng = np.random.default_rng(seed)",
            f"sizes = {_sample_sizes(self.system)}",
            "params = {name: rng.uniform(-1, 1, [sizes.get(s, s) for s in shape]) for name, shape in PARAMETERS.items()}",
            f"lead = [{lengths}, 2]",
            "inputs = {name: rng.uniform(-1, 1, lead + [sizes.get(s, s) for s in shape]) for name, shape in INPUTS.items()}",
            "states = forward(params, inputs)",
            f"cotangents = {{name: rng.uniform(-1, 1, states[name].shape) for name in ({cotangents},)}}",
            "gradients = vjp(params, inputs, cotangents)",
            "",
            "def objective():",
            "    found = forward(params, inputs)",
            "    return sum(np.sum(cotangents[name] * found[name]) for name in cotangents)",
            "",
            "worst = 0.0",
            "for given in (params, inputs):",
            "    for name, array in given.items():",
            "        entry = tuple(rng.integers(0, size) for size in array.shape)",
            "        before, step = array[entry], 1e-6",
            "        array[entry] = before + step",
            "        above = objective()",
            "        array[entry] = before - step",
            "        below = objective()",
            "        array[entry] = before",
            "        slope = (above - below) / (2 * step)",
            "        worst = max(worst, abs(slope - gradients[name][entry]) / (1 + abs(slope)))",
            "return worst",
        ]
        return _function(
            "check(seed=0)",
            "The largest difference between `vjp` and central finite differences, relative to 1 + |slope|.",
            lines,
        )

    # --- the whole ---

    def source(self) -> str:
        system = self.system
        equations = [
            unicode_text(expr.Equals(e.target, e.rhs), Notation())
            for n, e in system.equations.items()
            if n != LOSS or system.has_loss
        ]
        parts = [f'"""{self._docstring(equations)}"""']
        helpers = _helpers(self.writer.used)
        imports = "import math\n\nimport numpy as np" if "math.erf" in helpers else "import numpy as np"
        parts.append(imports)
        parts.append(
            f"PARAMETERS = {_shapes(system, 'parameter')}\nINPUTS = {_shapes(system, *(v.kind for v in self.given))}"
        )
        if self.unknown:
            parts[-1] += f"\nUNKNOWN = {{}}  # the functions {', '.join(self.unknown)}, to be filled in"
        text = "\n\n".join(parts)
        blocks = [b.removeprefix("import math\n\n").strip("\n") for b in [helpers] if b]
        blocks += [_SUMS[s] for s in sorted(self.sums) if s in _SUMS]
        blocks += [_CHECK_NAMES, _CHECK_SHAPES, *self.body, *([] if self.joined else [_MAIN])]
        return text + "\n\n\n" + "\n\n\n".join(b.strip("\n") for b in blocks) + "\n"

    def _docstring(self, equations: Sequence[str]) -> str:
        system = self.system
        lines = [f"{system.title}.", ""]
        lines += [f"    {row}" for e in equations for row in e.splitlines()]
        lines += [
            "",
            "Shapes: "
            + "; ".join(f"{v.name} {expr.show_shape(v.shape)}" for v in (*system.inputs, *self.states))
            + ".",
        ]
        lead = ", ".join(self.lengths)
        lines += [f"Arrays are time-major, ({lead}, [batch,] dim); a boundary value that is left out is zero."]
        if system.reference:
            lines += [f"Source: {' '.join(system.reference.split())}."]
        compare = "" if self.joined else "; `python` this file to compare its gradients with finite differences"
        lines += [f"Written by derive{compare}."]
        wrapped = [
            part
            for line in lines
            for part in (wrap(line, 100, subsequent_indent="    " if line.startswith("    ") else "") or [""])
        ]
        return "\n".join(wrapped).replace("\\", "\\\\") + "\n"


# --- text -----------------------------------------------------------------------------------------------------------------


_SUMS = {
    "_sum_outer": '''\
def _sum_outer(a, b):
    """The sum of a bᵀ over steps and batch, as one matrix product."""
    return a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1])
''',
    "_sum_vectors": '''\
def _sum_vectors(a):
    """The sum over steps and batch."""
    return a.reshape(-1, a.shape[-1]).sum(axis=0)
''',
    "_sum_matrices": '''\
def _sum_matrices(a):
    """The sum over steps and batch."""
    return a.reshape(-1, *a.shape[-2:]).sum(axis=0)
''',
}

_CHECK_NAMES = '''\
def _check_names(title, given, shapes):
    """Every name is there."""
    for name, shape in shapes.items():
        if name not in given:
            raise ValueError(f"{title} lacks {name!r}, of shape {shape}; it has {', '.join(given) or 'nothing'}")
'''

_CHECK_SHAPES = '''\
def _check_shapes(title, given, shapes, sizes):
    """The last axes of every array have the sizes that its shape names."""
    for name, shape in shapes.items():
        wanted = tuple(sizes.get(s, s) for s in shape)
        found = given[name].shape[given[name].ndim - len(shape) :]
        if found != wanted:
            raise ValueError(f"{title}[{name!r}] has shape {given[name].shape}; its last axes are {shape} = {wanted}")
'''

_MAIN = """\
if __name__ == "__main__":
    print(f"largest difference from finite differences: {check():.1e}")
"""


def _function(signature: str, title: str, lines: Sequence[str]) -> str:
    body = "\n".join(indent(line, "    ") for line in lines)
    return f'def {signature}:\n    """{title}"""\n{body}'


def _wrapped(opening: str, parts: Sequence[str], closing: str) -> str:
    one = opening + ", ".join(parts) + closing
    if len(one) <= 100:
        return one
    return opening + "\n" + "".join(f"    {p},\n" for p in parts) + closing


def _shapes(system: System, *kinds: str) -> str:
    found = {
        v.name: tuple(int(s) if s.is_Integer else str(s) for s in v.shape if s != 1) for v in system.of_kind(*kinds)
    }
    if "parameter" in kinds:
        for b in system.borders:
            if system.boundary[b.variable] == "learned":
                found[b.key] = tuple(str(s) for s in system.variables[b.variable].shape if s != 1)
    parts = [f'"{name}": {_tuple(shape)}' for name, shape in found.items()]
    return _wrapped("{", parts, "}")


def _tuple(shape: tuple[Any, ...]) -> str:
    inner_text = ", ".join(f'"{s}"' if isinstance(s, str) else str(s) for s in shape)
    return f"({inner_text},)" if len(shape) == 1 else f"({inner_text})"


def _sample_sizes(system: System) -> str:
    return "{" + ", ".join(f'"{d}": {3 + k}' for k, d in enumerate(system.dimensions)) + "}"


def _slice(start: int, length: str, low: int, high: int) -> str:
    """`length` positions from `start`, in an array with `low` and `high` layers more."""
    if low == high == 0:
        return ":"
    first = str(start) if start else ""
    last = "" if start == low + high else _shifted(length, start)
    return f"{first}:{last}".replace(" ", " ") if " " not in last else f"{first} : {last}".strip()


def _shifted(index: str, by: int) -> str:
    if index.lstrip("-").isdigit():
        return str(int(index) + by)
    found = re.fullmatch(r"(\w+) ([+-]) (\d+)", index)
    if found:
        index, by = found[1], by + int(found[2] + found[3])
    return index if not by else f"{index} + {by}" if by > 0 else f"{index} - {-by}"


def _legible(name: str) -> str:
    """Not `I` or `O`, which read as digits."""
    return f"{name}_" if name in ("I", "O", "l") else name


def _uses(text: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", re.sub(r'"[^"]*"', "", text)) is not None


def _trimmed(parts: list[str]) -> list[str]:
    """Slices of everything at the end need not be written."""
    while len(parts) > 1 and parts[-1] == ":":
        parts = parts[:-1]
    return parts


def _looped(schedule: Sequence[Loop | str]) -> set[str]:
    """The names that are computed inside a loop."""
    found: set[str] = set()
    pending = [item for item in schedule if isinstance(item, Loop)]
    while pending:
        for item in pending.pop().body:
            if isinstance(item, Loop):
                pending.append(item)
            else:
                found.add(item)
    return found


def _without_cotangent(rhs: Node) -> Node:
    """The right side without the direct terms, which the arrays start with."""

    def leaf(part: Any) -> Any:
        return expr.Zero(*part.shape) if isinstance(part, Var) and "ct" in part.marks else part

    return expr.rewrite(rhs, leaf)
