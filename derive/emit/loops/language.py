"""What loops are made of, in no language yet.

A *scalar* is one number at one place of its loops.  A *nest* gives an array its entries: `target (op)= value` for all values of
its axes, with a reduction over one more axis, or none.  Where a nest stands, the point of the lattice is known: steps are
index expressions.  The axes are those of a sample in the batch, and of the rows and columns of a matrix.

    Number       0.5, n                 a number, or an expression of the dimensions
    Read         h[t-1][sample, row]    an entry of an array
    Local        a value that this loop has just computed
    Plus Times Over Raised              arithmetic
    Call         a row of `derive.functions`, or its derivative
    Same         1 where two axes have the same value, else 0
    Where        a value where conditions on the steps hold, else 0
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from sympy import Expr, Integer, Symbol

SAMPLE, ROW, COLUMN, INNER = "sample", "row", "column", "inner"
SAMPLES = Symbol("samples", integer=True, positive=True)
"""How many samples there are: the product of the axes of the batch."""


@dataclass(frozen=True)
class Axis:
    name: str
    size: Expr


@dataclass(frozen=True)
class Number:
    value: Expr


@dataclass(frozen=True)
class Read:
    """`array` at `steps` of the lattice (none for a parameter), of a sample where it is `batched`, at its last `axes`."""

    array: str
    steps: tuple[Expr, ...]
    batched: bool
    axes: tuple[str, ...]


@dataclass(frozen=True)
class Local:
    array: str


@dataclass(frozen=True)
class Plus:
    terms: tuple[Scalar, ...]


@dataclass(frozen=True)
class Times:
    factors: tuple[Scalar, ...]


@dataclass(frozen=True)
class Over:
    above: Scalar
    below: Scalar


@dataclass(frozen=True)
class Raised:
    """`base**exponent` for a whole number above 1, or an expression of the dimensions."""

    base: Scalar
    exponent: Expr


@dataclass(frozen=True)
class Call:
    function: str
    order: int
    arguments: tuple[Scalar, ...]


@dataclass(frozen=True)
class Same:
    left: str
    right: str


Condition: TypeAlias = "tuple[Expr, str, Expr]"
"""`(t, "<=", T)`"""


@dataclass(frozen=True)
class Where:
    conditions: tuple[Condition, ...]
    value: Scalar


Scalar: TypeAlias = "Number | Read | Local | Plus | Times | Over | Raised | Call | Same | Where"

ZERO, ONE = Number(Integer(0)), Number(Integer(1))


def plus(*terms: Scalar) -> Scalar:
    """A sum without its zeros."""
    kept = tuple(t for t in terms if t != ZERO)
    return ZERO if not kept else kept[0] if len(kept) == 1 else Plus(kept)


def times(*factors: Scalar) -> Scalar:
    """A product without its ones."""
    if ZERO in factors:
        return ZERO
    flat = [g for f in factors for g in (f.factors if isinstance(f, Times) else (f,))]
    kept = tuple(f for f in flat if f != ONE)
    return ONE if not kept else kept[0] if len(kept) == 1 else Times(kept)


def minus(left: Scalar, right: Scalar) -> Scalar:
    return plus(left, times(Number(Integer(-1)), right))


def where(conditions: tuple[Condition, ...], value: Scalar) -> Scalar:
    return Where(conditions, value) if conditions else value


def parts(scalar: Scalar) -> tuple[Scalar, ...]:
    """What a scalar is made of."""
    if isinstance(scalar, Plus):
        return scalar.terms
    if isinstance(scalar, Times):
        return scalar.factors
    if isinstance(scalar, Over):
        return scalar.above, scalar.below
    if isinstance(scalar, Raised):
        return (scalar.base,)
    if isinstance(scalar, Call):
        return scalar.arguments
    return (scalar.value,) if isinstance(scalar, Where) else ()


def reads(scalar: Scalar) -> Iterator[Read]:
    """The entries that a scalar reads."""
    pending = [scalar]
    while pending:
        part = pending.pop()
        if isinstance(part, Read):
            yield part
        pending += parts(part)


def mapped(scalar: Scalar, change: Callable[[Read], Scalar]) -> Scalar:
    """`scalar` with every entry that it reads replaced."""
    if isinstance(scalar, Read):
        return change(scalar)
    if isinstance(scalar, Plus):
        return Plus(tuple(mapped(t, change) for t in scalar.terms))
    if isinstance(scalar, Times):
        return Times(tuple(mapped(f, change) for f in scalar.factors))
    if isinstance(scalar, Over):
        return Over(mapped(scalar.above, change), mapped(scalar.below, change))
    if isinstance(scalar, Raised):
        return replace(scalar, base=mapped(scalar.base, change))
    if isinstance(scalar, Call):
        return replace(scalar, arguments=tuple(mapped(a, change) for a in scalar.arguments))
    if isinstance(scalar, Where):
        return replace(scalar, value=mapped(scalar.value, change))
    return scalar


@dataclass(frozen=True)
class Nest:
    """`target = value` or `target += value` for all values of `axes`, outermost first.

    `over`: `value` is summed over this axis, or its maximum taken (`kind` "sum" or "max").  Axes of `axes` that the target
    lacks are summed over as well, by `+=`.
    """

    target: Read
    value: Scalar
    axes: tuple[Axis, ...]
    over: Axis | None = None
    kind: str = "sum"
    operation: str = "="


@dataclass(frozen=True)
class Fused:
    """Nests that run as one loop over `axes`; what `kept_local` names never touches memory."""

    axes: tuple[Axis, ...]
    nests: tuple[Nest, ...]
    kept_local: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Rows:
    """Vectors below one another: `array` at `steps`, the axes named in `every` running over the whole lattice.

    Those of all samples (`batched`) follow one another, and so do those of the last axis of the lattice.
    """

    array: str
    steps: tuple[Expr, ...]
    every: tuple[int, ...] = ()


@dataclass(frozen=True)
class Multiply:
    """`target = left @ matrix (+ bias)`, or with `added`, `target += left @ matrix`: one row for each vector.

    `target`, `left` are `width` and `depth` wide.  `transposed`: the matrix is stored as `width x depth`.
    """

    target: Rows
    left: Rows
    matrix: str
    transposed: bool
    width: tuple[Expr, ...]
    depth: tuple[Expr, ...]
    bias: str | None = None
    added: bool = False


@dataclass(frozen=True)
class Accumulate:
    """`target += left.T @ right`, summed over all rows: a gradient, `width x depth`.  Without `right`, the sum of the rows."""

    target: str
    left: Rows
    right: Rows | None
    width: tuple[Expr, ...]
    depth: tuple[Expr, ...]


@dataclass(frozen=True)
class Clear:
    """An array is zero beyond the lattice before a sweep starts; everywhere, where it is `whole`."""

    array: str
    whole: bool = False


@dataclass(frozen=True)
class Pile:
    """`target` becomes the matrices `parts` below one another; `transposed`: their transposes side by side."""

    target: str
    parts: tuple[str, ...]
    transposed: bool


@dataclass(frozen=True)
class IfGiven:
    """`body`, where the array was given."""

    array: str
    body: tuple[Item, ...]


@dataclass(frozen=True)
class Walk:
    """`for i = first..last`, or from last to first (`direction` -1); every item under its conditions, or none."""

    axis: int
    direction: int
    first: Expr
    last: Expr
    body: tuple[Guarded, ...]


@dataclass(frozen=True)
class Guarded:
    conditions: tuple[Condition, ...]
    item: Item


Item: TypeAlias = "Fused | Multiply | Accumulate | Clear | Pile | IfGiven | Walk"
