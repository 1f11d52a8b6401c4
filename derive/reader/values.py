"""What a piece of a formula can stand for, and the choices that it takes to read it so.

A `Reading` is a value with its choices: `layout` may be mixed (gradients are columns, Jacobians in numerator layout: the
field's habit), numerator or denominator; two pieces of one formula must agree.  `cost` orders readings: what people mean
first comes first.  The sentences of the choices that are more than notation stand in `ASSUMPTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, TypeAlias

from sympy import Expr, Integer

from derive import expr
from derive.errors import ShapeError
from derive.expr import Node
from derive.reader import limits

ONE = Integer(1)

ASSUMPTIONS: Mapping[tuple[str, str], str] = {
    (
        "vector",
        "diagonal",
    ): "a vector that stands for a matrix means the diagonal matrix of it: σ'(a)·W is diag(σ'(a)) W",
    ("summand", "diagonal"): "a vector where only a matrix can stand means the diagonal matrix of it",
    ("product", "hadamard"): "the product of two vectors that stand side by side is entry by entry",
    ("product", "dot"): "the product of two vectors that stand side by side is their inner product",
    ("identity", "ones"): "I beside a vector means a vector of ones",
    ("order", "descending"): "in a product over an index the latest factor stands left",
    ("order", "ascending"): "in a product over an index the latest factor stands right",
    ("layout", "numerator"): "∂y/∂x has a row for each entry of y, and a gradient is a row",
    ("layout", "denominator"): "∂y/∂x has a row for each entry of x, and a gradient is a column",
    ("weight", "immediate"): "∂h/∂W in a chain is the immediate partial",
    ("weight", "total"): "∂h/∂W in a chain is the total derivative",
    ("index", "same"): "an index that stands on one side only means the one of the other side",
    ("partial", "direct"): "∂y/∂x is the immediate partial wherever x stands in the equation of y",
    ("d", "gradient"): "a d before a name makes it the gradient of the loss, as in code",
    ("d", "differential"): "a d before a name makes it its differential",
    ("prime", "transpose"): "a prime is a transpose",
    ("bars", "norm"): "bars around a vector are its norm",
    ("bars", "entries"): "bars around a vector take the absolute value of every entry",
    ("scalar", "spread"): "a scalar is added to every entry",
    ("index", "current"): "a name without its index is taken at the current one",
    ("function", "argument"): "a function without its argument is meant at every argument",
    ("entries", "outer"): "the product of a column with a vector beside it is their outer product",
}
"""The sentence of each choice, for reports."""


@dataclass(frozen=True)
class Number:
    """A number, or an index expression: it spreads over any shape.  `ones`: written as a vector of ones, `row`: transposed."""

    value: Expr
    ones: bool = False
    row: bool = False


@dataclass(frozen=True)
class Unit:
    """`c I`, the identity matrix of whatever size it needs, times a number or a true scalar."""

    coefficient: Any = ONE


@dataclass(frozen=True)
class Wide:
    """`c 𝟏ᵀ`, a column in as many columns as it needs; `turned`: `𝟏 cᵀ`."""

    column: Node
    turned: bool = False

    def in_shape(self, shape: expr.Shape) -> Node | None:
        rows, columns = shape[::-1] if self.turned else shape
        if rows != self.column.shape[0]:
            return None
        wide = expr.mul(self.column, expr.Ones(ONE, columns))
        return expr.transpose(wide) if self.turned else wide

    def scaled(self, number: Any) -> Wide:
        return Wide(expr.scale(number, self.column), self.turned)


@dataclass(frozen=True)
class Cube:
    """`∂y/∂W` of a column by a matrix, known by its pullback: `pull(d)` is the gradient of `<d, y>`.

    `rows` (and `columns`, for a matrix) is the size of y; `transposed`: written with a transpose, so that what it acts
    on stands to its right.  `immediate` is what the same sign means in a chain of derivatives; `straight`: written with d.
    """

    pull: Callable[[Node], Node]
    rows: Expr
    transposed: bool = False
    columns: Expr = ONE
    immediate: Cube | None = None
    straight: bool = False


@dataclass(frozen=True)
class Function:
    """A function without its argument: `\\tanh'`, `\\sigma`."""

    name: str
    order: int = 0


@dataclass(frozen=True)
class Loss:
    """The loss: the total one, or the term at an index."""

    index: tuple[Expr, ...] = ()


Value: TypeAlias = "Node | Number | Unit | Cube | Function | Loss | Any"
Choices: TypeAlias = "tuple[tuple[str, frozenset[str]], ...]"


@dataclass(frozen=True)
class Reading:
    value: Value
    choices: Choices = ()
    cost: int = 0

    def chosen(self) -> dict[str, frozenset[str]]:
        return dict(self.choices)


Taken: TypeAlias = "tuple[list[Reading], int] | None"
"""The readings of a head of a chain with what it took, and how many factors behind it that were; None: it is no such head."""

FAR = 7
"""A reading that costs so much more than the likeliest is none."""


def spread(values: Iterable[Value]) -> list[Node] | None:
    """The values as nodes, a number in the shape of the first one; None where one is neither."""
    kept = list(values)
    shape = next((v.shape for v in kept if isinstance(v, Node)), expr.SCALAR)
    nodes = [expr.number(v.value, shape) if isinstance(v, Number) else v for v in kept]
    found = [n for n in nodes if isinstance(n, Node)]
    return found if len(found) == len(kept) else None


def choice(tag: str, *values: str) -> Choices:
    return ((tag, frozenset(values)),)


def agree(*several: Choices) -> Choices | None:
    """All choices together; None where two contradict each other."""
    merged: dict[str, frozenset[str]] = {}
    for choices in several:
        for tag, allowed in choices:
            merged[tag] = merged[tag] & allowed if tag in merged else allowed
            if not merged[tag]:
                return None
    return tuple(sorted(merged.items()))


def combined(parts: Iterable[list[Reading]], make: Callable[..., Iterable[Reading]]) -> list[Reading]:
    """`make(*values)` for every choice of one reading of each part whose choices agree.

    Raises `ShapeError` where every choice clashes.
    """
    found: list[Reading] = []
    clash: ShapeError | None = None
    for chosen in product(*_likeliest([list(part) for part in parts])):
        choices = agree(*(r.choices for r in chosen))
        if choices is None:
            continue
        cost = sum(r.cost for r in chosen)
        try:
            results = list(make(*(r.value for r in chosen)))
        except ShapeError as error:
            clash = clash or error
            continue
        for made in results:
            together = agree(choices, made.choices)
            if together is not None:
                found.append(Reading(made.value, together, cost + made.cost))
    if clash is not None and not found:
        raise clash
    return pruned(found)


def _likeliest(parts: list[list[Reading]]) -> list[list[Reading]]:
    """As many readings of each part as can all be combined: the last of the longest list goes first."""
    while prod(map(len, parts)) > limits.MOST_COMBINATIONS:
        max(parts, key=len).pop()
    return parts


def pruned(readings: Iterable[Reading]) -> list[Reading]:
    """The cheapest reading of each value and choice, in the order of their costs; the dearest are left out."""
    best: dict[Any, Reading] = {}
    ordered = sorted(readings, key=lambda r: r.cost)
    for reading in ordered:
        if reading.cost > ordered[0].cost + FAR:
            break
        key = (id(reading.value) if isinstance(reading.value, Cube) else reading.value, reading.choices)
        best.setdefault(key, reading)
    return list(best.values())[: limits.MOST_READINGS]
