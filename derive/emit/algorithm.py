"""A system's sweeps as Python to be read: `forward`, and `backward`, the adjoint equations step by step.

The same equations in the same order as the modules of `derive.emit.numpy`, one step and one sample at a time, every vector a
column.  A variable is a *trajectory*, the table of its values by step, which is zero where it has none: that is the border of
the lattice.  Boundary values are the entries that a trajectory has before the sweep starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from sympy import Expr, Integer, Symbol

from derive import expr
from derive.adjoint import adjoint
from derive.emit.code import WIDTH, wrapped
from derive.emit.columns import ColumnPrinter, definitions
from derive.emit.layout import Names, spaced
from derive.emit.source import indented, under_conditions, uses
from derive.emit.sweeps import sweeps
from derive.expr import Node, Var
from derive.lattice import Border, Loop
from derive.schedule.borders import is_beyond
from derive.schedule.terms import can_be_infinite, is_backward, summand
from derive.system import LOSS, Equation, System

BAR = "_bar"

PREAMBLE = '''\
import numpy as np


class Trajectory(dict):
    """The values of a variable by step, matrices of one shape; zero where it has none."""

    def __init__(self, rows, columns, values=()):
        super().__init__(values)
        self.shape = rows, columns

    def __missing__(self, step):
        return np.zeros(self.shape)
'''


@dataclass(frozen=True)
class Routine:
    """One function of the program: its source, and what its names stand for.

    `variables`: by their Python names, without an index.  `symbols`: dimensions, lengths and indices by theirs.
    `starts`, `reached`: the boundary entries that an argument holds at the start, and a result at the end.
    """

    name: str
    title: str
    source: str
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    variables: Mapping[str, Var]
    symbols: Mapping[str, Symbol]
    indices: tuple[Symbol, ...]
    functions: Mapping[str, tuple[str, int]]
    starts: Mapping[str, tuple[Var, ...]] = field(default_factory=dict)
    reached: Mapping[str, tuple[Var, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """The functions of a system with all that they call: `source` is a module that needs NumPy only."""

    system: System
    names: Mapping[str, str]
    """The Python names of the system's variables."""
    routines: tuple[Routine, ...]
    source: str

    @cached_property
    def module(self) -> dict[str, Any]:
        """The names of the module, once it has run."""
        namespace: dict[str, Any] = {}
        exec(compile(self.source, f"<sweeps of {self.system.name}>", "exec"), namespace)  # our own text
        return namespace


@cache
def program(system: System) -> Program:
    """`forward` and `backward` of a system; of an adjoint or a tangent `forward` alone, which is all of it."""
    derived = bool(system.parts.given)
    whole = system if derived else adjoint(system)
    names = Names(system, dict.fromkeys(n for s in (system, whole) for n in s.variables))
    called: dict[str, tuple[str, int]] = {}
    states = [v for v in system.states if v.name != LOSS or derived or system.has_loss]
    routines = [_Sweep(system, names, [v.name for v in states], 1).forward(called)]
    own = [e.name for e in whole.own] if not derived else []
    if own:
        routines.append(_Sweep(whole, names, own, -1, system.borders).backward(called))
    called_for = definitions(called)
    preamble = f"import math\n\n{PREAMBLE}" if any("math." in text for text in called_for) else PREAMBLE
    parts = [preamble.strip("\n"), *called_for, *(routine.source for routine in routines)]
    return Program(system, dict(names.of), tuple(routines), "\n\n\n".join(parts) + "\n")


class _Sweep:
    """The equations named `own` of a system; what else they read is given, boundary values at `borders` among it."""

    def __init__(
        self, system: System, names: Names, own: Sequence[str], direction: int, borders: Sequence[Border] | None = None
    ):
        self.borders = system.borders if borders is None else borders
        self.system, self.names, self.own, self.direction = system, names, list(own), direction
        self.lattice = system.lattice
        self.printer = ColumnPrinter(self._read, names.size)
        self.printer.index = self._step

    # --- names and places -------------------------------------------------------------------------------------------

    def _read(self, var: Var) -> str:
        name = self.names.of[var.name]
        return f"{name}[{', '.join(map(self._step, var.index))}]" if var.index else name

    def _step(self, e: Expr | int) -> str:
        return spaced(e, self.names, self.lattice)

    def _var(self, name: str) -> Var:
        var = self.system.variables[name].var
        return var.at(()) if var.index else var

    def _borders(self, names: Iterable[str]) -> list[Border]:
        names = set(names)
        return [b for b in self.borders if b.variable in names]

    def _coordinates(self, border: Border) -> list[Expr]:
        sides = zip(border.sides, self.lattice.indices, self.lattice.lengths, strict=True)
        return [Integer(0) + side.coordinate(i, n) for side, i, n in sides]

    # --- the two functions --------------------------------------------------------------------------------------------

    def forward(self, called: dict[str, tuple[str, int]]) -> Routine:
        given = [v.name for v in self.system.of_kind("input", "target", "cotangent")]
        started = {b.variable: None for b in self._borders(self.own)}
        body = [*self._loops(), *self._all_ends()]
        results = [self.names.of[name] for name in self.own]
        lines = [*self._declared([n for n in self.own if n not in started]), *body]
        return self._routine("forward", "Forward sweep", [*given, *started], lines, results, {}, called)

    def backward(self, called: dict[str, tuple[str, int]]) -> Routine:
        equations = self.system.equations
        body = [*self._loops(), *self._all_ends()]
        ends = [n for n in self.own if equations[n].extent]
        kinds = {n: self.system.variables[equations[n].target.base].kind for n in self.own if _is_adjoint(equations[n])}
        returned = [n for n, kind in kinds.items() if kind == "parameter"]
        returned += [n for n, kind in kinds.items() if kind == "input" and n not in ends] + ends
        lines = [*self._declared(self.own), *body]
        given = [v.name for v in self.system.variables.values() if v.kind != "parameter" and v.name not in self.own]
        reached = {self.names.of[n]: tuple(self._ends(equations[n])) for n in ends}
        results = [self.names.of[n] for n in returned]
        return self._routine("backward", "Backward sweep", given, lines, results, reached, called)

    def _routine(
        self,
        name: str,
        title: str,
        given: Sequence[str],
        lines: list[str],
        results: Sequence[str],
        reached: Mapping[str, tuple[Var, ...]],
        called: dict[str, tuple[str, int]],
    ) -> Routine:
        called.update(self.printer.called)
        sizes = {self.names.symbols[s]: s for s in (*self.lattice.lengths, *self.system.dimensions)}
        parameters = [v.name for v in self.system.parameters]
        variables = [n for n in (*given, *parameters) if uses(lines, self.names.of[n])]
        arguments = (*(n for n in sizes if uses(lines, n)), *(self.names.of[n] for n in variables))
        head = listed(f"def {name}(", arguments, "):")
        starts: dict[str, list[Var]] = {}
        for border in self._borders(variables if name == "forward" else ()):
            var = self.system.variables[border.variable]
            if var.kind == "state":
                starts.setdefault(self.names.of[var.name], []).append(var.var.at(self._coordinates(border)))
        return Routine(
            name,
            title,
            "\n".join([*head, *indented([*lines, *_returned(results)])]),
            arguments,
            tuple(results),
            {self.names.of[n]: self._var(n) for n in self.system.variables},
            {**sizes, **dict(zip(self.names.index, self.lattice.indices, strict=True))},
            self.lattice.indices,
            dict(self.printer.called),
            {key: tuple(found) for key, found in starts.items()},
            reached,
        )

    def _declared(self, names: Sequence[str]) -> list[str]:
        """Everything that is computed, zero at first: trajectories, and the totals of sums; those of one shape together."""
        groups: dict[str, list[str]] = {}
        for name in names:
            var = self.system.equations[name].target
            shape = ", ".join(map(self.names.size, var.shape))
            value = f"Trajectory({shape})" if var.index else f"np.zeros(({shape}))"
            groups.setdefault(value, []).append(self.names.of[name])
        lines = []
        for value, group in groups.items():
            for row in packed(group, WIDTH - len(f" = ({value} for _ in range(10))")):
                several = f"({value} for _ in range({len(row)}))" if len(row) > 1 else value
                lines.append(f"{', '.join(row)} = {several}")
        return lines

    # --- loops --------------------------------------------------------------------------------------------------------

    def _loops(self) -> list[str]:
        lines: list[str] = []
        for loop in sweeps(self.system, self.own, self.direction):
            lines += self._loop(loop, {})
        return lines

    def _loop(self, loop: Loop, outer: Mapping[int, Mapping[str, int]]) -> list[str]:
        around = {**outer, loop.axis: {name: loop.direction * p for name, p in loop.shifts.items()}}
        inside: list[tuple[str, list[str]]] = []
        for item in loop.body:
            if isinstance(item, Loop):
                inside.append(("", self._loop(item, around)))
            else:
                behind = {axis: of.get(item, 0) for axis, of in around.items()}
                inside.append((self._guard(behind, around), self._statement(item, self._place(behind))))
        head = f"for {self.names.index[loop.axis]} in {self._range(loop, around)}:"
        return [head, *indented(under_conditions(inside))]

    def _place(self, behind: Mapping[int, int]) -> dict[Symbol, Expr]:
        return {i: i - behind.get(axis, 0) for axis, i in enumerate(self.lattice.indices)}

    def _range(self, loop: Loop, around: Mapping[int, Mapping[str, int]]) -> str:
        behind = [around[loop.axis].get(name, 0) for name in loop.names]
        first, last = Integer(1) + min(behind), self.lattice.lengths[loop.axis] + max(behind)
        if loop.direction > 0:
            return f"range({self._step(first)}, {self._step(last + 1)})"
        return f"range({self._step(last)}, {self._step(first - 1)}, -1)"

    def _guard(self, behind: Mapping[int, int], around: Mapping[int, Mapping[str, int]]) -> str:
        """The condition that a variable which is behind its loop, or ahead of it, is within the lattice."""
        place, conditions = self._place(behind), []
        for axis in (axis for axis, shifts in around.items() if any(shifts.values())):
            step = self._step(place[self.lattice.indices[axis]])
            conditions.append(f"1 <= {step} <= {self._step(self.lattice.lengths[axis])}")
        return " and ".join(conditions)

    # --- statements ---------------------------------------------------------------------------------------------------

    def _statement(self, name: str, place: Mapping[Symbol, Expr]) -> list[str]:
        equation = self.system.equations[name]
        if not equation.target.index:
            return self._added(self.names.of[name], "+=", expr.at(summand(equation.rhs), place))
        return self._assigned(expr.at(equation.target, place), expr.at(equation.rhs, place))

    def _added(self, target: str, operator: str, value: Node) -> list[str]:
        return wrapped(f"{target} {operator} ", self.printer.formula(value))

    def _assigned(self, target: Var, rhs: Node) -> list[str]:
        """`target = rhs`; a term that would divide by zero beyond the border stands apart, under its condition.

        So does one that could find there, in a short sequence, what was just computed at the other end.
        """
        plain: list[Node] = []
        guarded: list[tuple[str, Node]] = []
        for term in rhs.args if isinstance(rhs, expr.Add) else (rhs,):
            condition = self._inside(term) if can_be_infinite(term) or self._meets_an_end(term) else ""
            if condition:
                guarded.append((condition, term))
            else:
                plain.append(term)
        left = self._read(target)
        lines = self._added(left, "=", expr.add(*plain) if plain else expr.Zero(*target.shape))
        for condition, term in guarded:
            lines += [f"if {condition}:", *indented(wrapped(f"{left} = {left} + ", self.printer.value(term).text))]
        return lines

    def _meets_an_end(self, term: Node) -> bool:
        """Whether a term reads an adjoint at a step from one end (`h_bar[2]`) that has a value beyond the other."""
        for var in expr.variables(term):
            extent = self.system.equations[var.name].extent if var.name in self.own else ()
            for index, n, (low, high) in zip(var.index, self.lattice.lengths, extent, strict=False):
                if (high and index.is_Integer and index > 1) or (low and index.has(n) and (n - index).is_positive):
                    return True
        return False

    def _inside(self, term: Node) -> str:
        """The condition that all adjoints which a term reads lie within the lattice, where that is not plain."""
        conditions: dict[str, None] = {}
        for var in (v for v in expr.variables(term) if is_backward(v) and v.index):
            for index, i, n in zip(var.index, self.lattice.indices, self.lattice.lengths, strict=True):
                above = index - i if index.has(i) else index - 1
                below = above if index.has(i) else index - n
                if above.is_Integer and above > 0:
                    conditions[f"{self._step(index)} <= {self._step(n)}"] = None
                if below.is_Integer and below < 0:
                    conditions[f"{self._step(index)} >= 1"] = None
        return " and ".join(conditions)

    # --- boundary values ----------------------------------------------------------------------------------------------

    def _ends(self, equation: Equation) -> Iterator[Var]:
        for border in self._borders([equation.target.base]):
            yield equation.target.at(self._coordinates(border))

    def _all_ends(self) -> list[str]:
        equations = [self.system.equations[name] for name in self.own]
        return [line for e in equations if e.extent for line in self._end(e)]

    def _end(self, equation: Equation) -> list[str]:
        """The adjoint equation at the boundary, where the adjoints of what has no equation there are zero."""
        lines: list[str] = []
        for border in self._borders([equation.target.base]):
            place = dict(zip(self.lattice.indices, self._coordinates(border), strict=True))
            rhs = self._without_beyond(expr.at(equation.rhs, place))
            found = self._assigned(expr.at(equation.target, place), rhs)
            for axis, side in reversed(list(enumerate(border.sides))):
                if not side.depth:
                    length = self._step(self.lattice.lengths[axis] + 1)
                    found = [f"for {self.names.index[axis]} in range(1, {length}):", *indented(found)]
            lines += found
        return lines

    def _without_beyond(self, rhs: Node) -> Node:
        def leaf(node: Any) -> Any:
            if not isinstance(node, Var) or not node.index or not (is_backward(node) or "ct" in node.marks):
                return node
            outside = (is_beyond(index, n) for index, n in zip(node.index, self.lattice.lengths, strict=True))
            return expr.Zero(*node.shape) if any(outside) else node

        return expr.rewrite(rhs, leaf)


def packed(words: Sequence[str], width: int) -> list[list[str]]:
    """Words in rows that are no wider than `width` when they are set with commas, as far as that can be."""
    rows: list[list[str]] = []
    for word in words:
        if rows and len(", ".join([*rows[-1], word])) <= width:
            rows[-1].append(word)
        else:
            rows.append([word])
    return rows


def listed(head: str, words: Sequence[str], tail: str) -> list[str]:
    """`head a, b, c tail`, on lines of their own where one is too short."""
    one = f"{head}{', '.join(words)}{tail}"
    if len(one) <= WIDTH:
        return [one]
    return [head, *(f"    {', '.join(row)}," for row in packed(words, WIDTH - 5)), tail]


def _returned(names: Sequence[str]) -> list[str]:
    if not names:
        return ["return ()"]
    lines = listed("return (", names, ")")
    return lines if len(lines) > 1 else [f"return {', '.join(names)}"]


def _is_adjoint(equation: Equation) -> bool:
    """Whether an equation is that of a gradient, and not of a pullback that has a name."""
    return bool(equation.target.marks) and equation.target.marks[-1] == "bar" and equation.name != LOSS + BAR
