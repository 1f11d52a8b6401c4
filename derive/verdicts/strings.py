"""A network of threshold units on one string of bits, in exact rationals.

given    the numbers and the functions that a document gives, and the relations that pick the points of a claim
bits     those of all steps, one after the other
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import Any, TypeAlias

import numpy
from sympy import Basic, Rational, Tuple

from derive import expr
from derive.evaluate import COMPARE, Array, Point, Ring, Unevaluable, evaluate, integer
from derive.expr import Equals, Node, Var
from derive.oracles.points import free_indices
from derive.system import System
from derive.verdicts.question import SIGNS

Key: TypeAlias = "tuple[str, Point]"
Wrong: TypeAlias = "tuple[str, str] | None"
"""The two sides of what is false."""


class Unset(Exception):
    """Something has no value that is a number."""


class Outside(Exception):
    """A point before the first step or after the last."""


@dataclass(frozen=True)
class Function:
    """`f(argument) = body`."""

    argument: Var
    body: Node


@dataclass(frozen=True)
class Given:
    """`settings`: a name, with its index where it is a value outside of time -> the number that it is given."""

    settings: Mapping[Key, Node]
    functions: Mapping[str, Function]
    conditions: tuple[Basic, ...] = ()


@dataclass
class Run:
    """The network on one string of bits; values are worked out when they are asked for."""

    system: System
    given: Given
    T: int
    bits: tuple[int, ...]
    counted: bool = False
    """Whether the last point that was asked about says anything: an implication does where its premise is true."""
    outside: bool = False
    """Whether that point reads beyond the string."""
    values: dict[Key, Array] = field(default_factory=dict)
    open: set[Key] = field(default_factory=set)
    """What is being worked out."""

    def __post_init__(self) -> None:
        self.ring = Rationals(self.given.functions)
        self.letter, self.length = (str(s[0]) for s in (self.system.lattice.indices, self.system.lattice.lengths))
        self.inputs = dict(self._inputs())

    def _inputs(self) -> Iterator[tuple[Key, Array]]:
        bits = iter(self.bits)
        for t in range(1, self.T + 1):
            for v in self.system.inputs:
                rows, columns = map(int, v.shape)
                yield (v.name, (t,)), self.ring.constant([[next(bits) for _ in range(columns)] for _ in range(rows)])

    def points(self, formula: Basic) -> Iterator[dict[str, int]]:
        """Every choice of the free indices for which the conditions hold."""
        names = sorted(free_indices(formula) - {self.length})
        for chosen in product(range(1, self.T + 1), repeat=len(names)):
            env = {self.length: self.T, **dict(zip(names, chosen, strict=True))}
            if all(self._wrong(condition, env) is None for condition in self.given.conditions):
                yield env

    def wrong(self, formula: Basic, env: Mapping[str, int]) -> Wrong:
        """The two sides where the formula is false; a point that reads outside the string, or divides by zero, says
        nothing."""
        self.counted = self.outside = False
        try:
            return self._wrong(formula, env)
        except (Outside, ZeroDivisionError):
            self.counted, self.outside = False, True
            return None

    def _wrong(self, formula: Basic, env: Mapping[str, int]) -> Wrong:
        if type(formula) not in RULES:
            raise Unset
        return RULES[type(formula)](self, formula, env)

    def _equal(self, formula: Equals, env: Mapping[str, int]) -> Wrong:
        left, right = self.value(formula.lhs, env), self.value(formula.rhs, env)
        self.counted = True
        return None if left.shape == right.shape and bool((left == right).all()) else (_show(left), _show(right))

    def _related(self, formula: expr.Relation, env: Mapping[str, int]) -> Wrong:
        """Of values entry by entry, or of indices."""
        if formula.op not in SIGNS:
            raise Unset
        of = self.value if isinstance(formula.lhs, Node) else lambda e, env: numpy.array([integer(e, env)])
        left, right = of(formula.lhs, env), of(formula.rhs, env)
        self.counted = True
        true = bool(numpy.all(COMPARE[SIGNS[formula.op]](left, right)))
        return None if true else (_show(left), _show(right))

    def _all(self, formulas: Tuple, env: Mapping[str, int]) -> Wrong:
        return next((w for f in formulas if (w := self._wrong(f, env)) is not None), None)

    def _implied(self, formula: expr.Implies, env: Mapping[str, int]) -> Wrong:
        if self._wrong(formula.lhs, env) is not None:
            self.counted = False
            return None
        return self._wrong(formula.rhs, env)

    def value(self, node: Node, env: Mapping[str, int]) -> Array:
        return evaluate(node, self.ring, self.read, {}, env)

    def read(self, var: Var, at: Point) -> Array:
        key = (var.name, at)
        if key in self.open:
            raise Unset
        if key not in self.values:
            self.open.add(key)
            try:
                self.values[key] = self._worked_out(var, at)
            finally:
                self.open.discard(key)
        return self.values[key]

    def _worked_out(self, var: Var, at: Point) -> Array:
        """A bit of the string; what is set; what the equation of a state says."""
        key = (var.name, at)
        if key in self.inputs:
            return self.inputs[key]
        if key in self.given.settings:
            return self.value(self.given.settings[key], {})
        equation = self.system.equations.get(var.name)
        if at and not 1 <= at[0] <= self.T:
            raise Unset if equation is not None and at[0] < 1 else Outside
        if equation is None:
            raise Unset
        return self.value(equation.rhs, {self.length: self.T, **({self.letter: at[0]} if at else {})})

    def described(self, env: Mapping[str, int]) -> str:
        """`x = 1, 0, 1 at t = 3`; the bits of one step stand together."""
        said = []
        for v in self.system.inputs:
            steps = ("".join(str(b) for b in self.inputs[v.name, (t,)].flat) for t in range(1, self.T + 1))
            said.append(f"{v.name} = {', '.join(steps)}")
        where = ", ".join(f"{name} = {at}" for name, at in env.items() if name != self.length)
        return f"{'; '.join(said)}{f' at {where}' if where else ''}"


RULES: dict[type, Callable[[Run, Any, Mapping[str, int]], Wrong]] = {
    Equals: Run._equal,
    expr.Relation: Run._related,
    expr.Implies: Run._implied,
    Tuple: Run._all,
}


def _show(value: Array) -> str:
    return ", ".join(map(str, value.flat))


# --- exact rationals --------------------------------------------------------------------------------------------------


class Rationals(Ring):
    """Fractions; an unknown function is what the document says, and has to be a threshold: 0 or 1."""

    def __init__(self, functions: Mapping[str, Function]):
        self.functions = functions

    def number(self, q: Rational) -> Fraction:
        return Fraction(int(q.p), int(q.q))

    def constant(self, rows: Any) -> Array:
        return numpy.array([[Fraction(entry) for entry in row] for row in rows], dtype=object)

    def where(self, mask: Array, a: Any, b: Any) -> Array:
        return numpy.where(numpy.asarray(mask, dtype=bool), a, b)

    def exp(self, a: Array) -> Array:
        raise Unevaluable("a value that is no rational number")

    log = sqrt = sin = erf = exp

    def unknown(self, name: str, order: int, a: Array) -> Array:
        if order or name not in self.functions:
            raise Unset
        found = numpy.array([[self._call(self.functions[name], z) for z in row] for row in a], dtype=object)
        if not all(z in (0, 1) for z in found.flat):
            raise Unset
        return found

    def _call(self, function: Function, z: Fraction) -> Fraction:
        argument = function.argument.name

        def read(var: Var, at: Point) -> Array:
            if var.name != argument:
                raise Unset
            return self.constant([[z]])

        value: Fraction = evaluate(function.body, self, read, {}, {})[0, 0]
        return value
