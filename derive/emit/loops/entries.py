"""Formulas as nests: one entry of a node as a scalar, a rule for every kind of node.

An entry is asked for at a *place*, `(row, column)`: the names of the axes along which the node extends, None where its size is 1.
What sums over an axis (a matrix product, an inner product, the normaliser of a softmax) is a nest of its own, which fills
an array that the entry then reads; a matrix is never built that only multiplies a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from sympy import Expr, Integer

from derive import expr, functions
from derive.emit.code import chains, spread
from derive.emit.loops.language import (
    COLUMN,
    INNER,
    ONE,
    ROW,
    SAMPLE,
    SAMPLES,
    ZERO,
    Accumulate,
    Axis,
    Call,
    Condition,
    Multiply,
    Nest,
    Number,
    Over,
    Raised,
    Read,
    Rows,
    Same,
    Scalar,
    Where,
    plus,
    times,
    where,
)
from derive.emit.loops.vectors import RULES as VECTORS
from derive.errors import DeriveError
from derive.expr import Node, Shape, Var

Place: TypeAlias = "tuple[str | None, str | None]"
Factor: TypeAlias = "Callable[[Place], Scalar]"
Guard: TypeAlias = "Callable[[Node], tuple[Condition, ...]]"
"""The conditions under which a term is finite: it is zero where they do not hold."""


def is_batched(node: Node) -> bool:
    return any(v.index for v in expr.variables(node))


def never(term: Node) -> tuple[Condition, ...]:
    return ()


class Entries:
    """The nests of formulas at one point of the lattice, in the order in which they run.

    `new(shape, batched)` is the name of an array that holds what a nest computes on the way.
    """

    def __init__(self, new: Callable[[Shape, bool], str], guard: Guard = never):
        self.new, self.guard = new, guard
        self.nests: list[Nest | Multiply | Accumulate] = []

    def assign(self, target: Read, value: Node, operation: str = "=") -> None:
        """`target (op)= value`; where the target has no samples, `+=` gathers those of the value."""
        terms = value.args if isinstance(value, expr.Add) else (value,)
        self.gather(target, [(self.guard(term), term) for term in terms], operation)

    def gather(self, target: Read, terms: Sequence[tuple[tuple[Condition, ...], Node]], operation: str = "=") -> None:
        """`target (op)=` the sum of terms, each where its conditions hold."""
        shape = terms[0][1].shape
        batched = any(is_batched(term) for _, term in terms)
        gathered = operation == "+=" and not target.batched
        count = len(self.nests)
        place = (ROW if shape[0] != 1 else None, COLUMN if shape[1] != 1 else None)
        scalar = plus(*(where(conditions, self.entry(term, place)) for conditions, term in terms))
        if gathered and not batched:
            scalar = times(Number(SAMPLES), scalar)
        last = self.nests[-1] if len(self.nests) > count else None
        if isinstance(last, Nest) and not gathered and _is_the_same(scalar, last.target, target):
            self.nests[-1] = replace(last, target=target, operation=operation)
            return
        self.nests.append(
            Nest(target, scalar, axes_of(shape, target.batched or (gathered and batched)), operation=operation)
        )

    def accumulate(self, target: str, left: Node, right: Node) -> None:
        """`target += Σ left right.T` over the samples of a point, for columns."""
        rows = []
        for side in (left, right):
            entry = self.stored(side)((INNER, None))
            assert isinstance(entry, Read)
            rows.append(Rows(entry.array, entry.steps))
        self.nests.append(Accumulate(target, rows[0], rows[1], (left.shape[0],), (right.shape[0],)))

    def entry(self, node: Node, place: Place) -> Scalar:
        rule = RULES.get(type(node))
        if rule is None:
            raise DeriveError(f"derive has no rule to write {type(node).__name__} as a loop: {expr.strip_labels(node)}")
        return rule(self, node, place)

    def kept(self, node: Node) -> Factor:
        """The entries of a node that is read again and again: what takes more than a read is computed once."""
        core = expr.split_number(node)[1]
        core = core.args[0] if isinstance(core, expr.Transpose) else core
        if isinstance(core, (Var, expr.Ones, expr.Identity)):
            return lambda place: self.entry(node, place)
        return self.stored(node)

    def stored(self, node: Node) -> Factor:
        """The entries of a node that stands in memory: of a variable, or of an array that is filled with it."""
        if isinstance(node, Var):
            return lambda place: self.entry(node, place)
        rows, columns = node.shape
        place = (ROW if rows != 1 else None, COLUMN if columns != 1 else None)
        batched = is_batched(node)
        scalar = self.entry(node, place)
        if isinstance(scalar, Read) and not scalar.steps and scalar.axes == tuple(a for a in place if a):
            return self._entries_of(scalar.array, batched)
        name = self.new(node.shape, batched)
        target = Read(name, (), batched, tuple(a for a in place if a))
        self.nests.append(Nest(target, scalar, axes_of(node.shape, batched)))
        return self._entries_of(name, batched)

    def multiplied(self, matrix: Node, right: Factor) -> Factor:
        """A parameter, or its transpose, times the column of every sample: `right` are its entries, in an array."""
        core = matrix.args[0] if isinstance(matrix, expr.Transpose) else matrix
        shape = (matrix.shape[0], Integer(1))
        name = self.new(shape, True)
        entry = right((INNER, None))
        assert isinstance(core, Var) and isinstance(entry, Read)
        left, target = Rows(entry.array, entry.steps), Rows(name, ())
        self.nests.append(Multiply(target, left, core.name, core is matrix, (matrix.shape[0],), (matrix.shape[1],)))
        return self._entries_of(name, True)

    def _entries_of(self, name: str, batched: bool) -> Factor:
        return lambda place: Read(name, (), batched, tuple(a for a in place if a))

    def folded(
        self, shape: Shape, batched: bool, n: Expr, value: Callable[[Place], Scalar], kind: str = "sum"
    ) -> Factor:
        """An array of this shape, whose entries are the sum or the maximum of `value` over `INNER` = 1..n."""
        rows, columns = shape
        place = (ROW if rows != 1 else None, COLUMN if columns != 1 else None)
        name = self.new(shape, batched)
        target = Read(name, (), batched, tuple(a for a in place if a))
        over = Axis(INNER, n)
        self.nests.append(Nest(target, value(place), axes_of(shape, batched), over, kind))
        return self._entries_of(name, batched)


def _is_the_same(scalar: Scalar, computed: Read, target: Read) -> bool:
    """Whether `scalar` is what was computed, one entry for each of `target`'s."""
    return scalar == computed and (computed.batched, computed.axes) == (target.batched, target.axes)


def axes_of(shape: Shape, batched: bool) -> tuple[Axis, ...]:
    """The loops over an array of this shape, outermost first."""
    found = [Axis(SAMPLE, SAMPLES)] if batched else []
    return (*found, *(Axis(name, size) for name, size in zip((ROW, COLUMN), shape, strict=True) if size != 1))


Rule: TypeAlias = "Callable[[Entries, Any, Place], Scalar]"


# --- constants, sums, entrywise products --------------------------------------------------------------------------------


def _var(e: Entries, node: Var, place: Place) -> Scalar:
    axes = tuple(a for a, size in zip(place, node.shape, strict=True) if size != 1 and a)
    return Read(node.name, node.index, bool(node.index), axes)


def _constant(value: Scalar) -> Rule:
    return lambda e, node, place: value


def _identity(e: Entries, node: Node, place: Place) -> Scalar:
    return _same(place)


def _same(place: Place) -> Scalar:
    row, column = place
    return ONE if row == column or row is None or column is None else Same(row, column)


def _at(e: Entries, node: expr.At, place: Place) -> Scalar:
    return Where(tuple((i, "==", p) for i, p in zip(node.index, node.point, strict=True) if i != p), ONE)


def _add(e: Entries, node: expr.Add, place: Place) -> Scalar:
    return plus(*(where(e.guard(term), e.entry(term, place)) for term in node.args))


def _scale(e: Entries, node: expr.Scale, place: Place) -> Scalar:
    c, body = node.args
    factor = e.entry(c, (None, None)) if isinstance(c, Node) else Number(c)
    return times(factor, e.entry(body, place))


def _had(e: Entries, node: expr.Had, place: Place) -> Scalar:
    below = [f for f in node.args if isinstance(f, expr.Power) and f.args[1].is_negative]
    above = times(*(e.entry(f, place) for f in node.args if f not in below))
    return Over(above, times(*(_raised(e.entry(f.args[0], place), -f.args[1]) for f in below))) if below else above


def _power(e: Entries, node: expr.Power, place: Place) -> Scalar:
    body, exponent = node.args
    if exponent.is_negative:
        return Over(ONE, _raised(e.entry(body, place), -exponent))
    return _raised(e.entry(body, place), exponent)


def _raised(base: Scalar, exponent: Expr) -> Scalar:
    return base if exponent == 1 else Raised(base, exponent)


def _transpose(e: Entries, node: expr.Transpose, place: Place) -> Scalar:
    return e.entry(node.args[0], place[::-1])


def _diag(e: Entries, node: expr.Diag, place: Place) -> Scalar:
    return times(_same(place), e.entry(node.args[0], (place[0], None)))


def _diagonal(e: Entries, node: expr.Diagonal, place: Place) -> Scalar:
    return e.entry(node.args[0], (place[0], place[0]))


# --- products that sum ------------------------------------------------------------------------------------------------


def _mul(e: Entries, node: expr.Mul, place: Place) -> Scalar:
    """Split where the inner dimension is 1: an outer product needs no sum, a row times a column is one number."""
    simpler = spread(node)
    if simpler is not None:
        return e.entry(simpler, place)
    found = []
    for part in chains(node.args):
        rows, columns = part[0].shape[0] != 1, part[-1].shape[1] != 1
        found.append(_chain(e, part)((place[0] if rows else None, place[1] if columns else None)))
    return times(*found)


def _chain(e: Entries, factors: Sequence[Node]) -> Factor:
    """A product of matrices that may begin with a row and end with a column: vectors first."""
    if len(factors) == 1:
        return lambda place: e.entry(factors[0], place)
    nodes = list(factors)
    if nodes[-1].shape[1] == 1:
        last, *others = nodes[::-1]
        right, shape, batched = e.kept(last), last.shape, is_batched(last)
        for node in others:
            if _is_parameter(node) and batched and _is_array(right):
                right, shape = e.multiplied(node, right), (node.shape[0], shape[1])
            else:
                right, shape, batched = _product(e, node, None, right, (node.shape[0], shape[1]), batched)
        return right
    first, *others = nodes
    left, shape, batched = e.kept(first), first.shape, is_batched(first)
    for node in others:
        left, shape, batched = _product(e, node, left, None, (shape[0], node.shape[1]), batched)
    return left


def _is_parameter(node: Node) -> bool:
    """Whether a node is a matrix without an index, or the transpose of one."""
    core = node.args[0] if isinstance(node, expr.Transpose) else node
    return isinstance(core, Var) and not core.index and 1 not in core.shape


def _is_array(right: Factor) -> bool:
    """Whether a column stands in memory, entry by entry."""
    return isinstance(right((INNER, None)), Read)


def _product(
    e: Entries, node: Node, left: Factor | None, right: Factor | None, shape: Shape, batched: bool
) -> tuple[Factor, Shape, bool]:
    """`node @ right`, or `left @ node`; a diagonal matrix multiplies entry by entry."""
    batched = batched or is_batched(node)
    if isinstance(node, expr.Diag):
        vector = e.kept(node.args[0])
        if right is not None:
            return (lambda place: times(vector((place[0], None)), right(place))), shape, batched
        assert left is not None
        return (lambda place: times(left(place), vector((place[1], None)))), shape, batched
    own = e.kept(node)
    if right is not None:
        size = node.shape[1]
        value: Factor = lambda place: times(own((place[0], INNER)), right((INNER, place[1])))  # noqa: E731
    else:
        size = node.shape[0]
        value = lambda place: times(left((place[0], INNER)), own((INNER, place[1])))  # type: ignore[misc]  # noqa: E731
    return e.folded(shape, batched, size, value), shape, batched


def _inner(e: Entries, node: expr.Inner, place: Place) -> Scalar:
    """The sum over both axes of a matrix: over its columns first, which are then summed."""
    left, right = (e.kept(argument) for argument in node.args)
    rows, columns = node.args[0].shape
    batched = is_batched(node)
    if columns == 1 or rows == 1:
        one = (lambda k: (k, None)) if columns == 1 else (lambda k: (None, k))
        size = rows if columns == 1 else columns
        return e.folded(expr.SCALAR, batched, size, lambda _: times(left(one(INNER)), right(one(INNER))))((None, None))
    by_row = e.folded(
        (rows, Integer(1)), batched, columns, lambda at: times(left((at[0], INNER)), right((at[0], INNER)))
    )
    return e.folded(expr.SCALAR, batched, rows, lambda _: by_row((INNER, None)))((None, None))


# --- functions ----------------------------------------------------------------------------------------------------------


def _apply(e: Entries, node: expr.Apply, place: Place) -> Scalar:
    row = functions.row(node.function)
    if isinstance(row, functions.Elementwise):
        arguments = tuple(e.entry(a, place) for a in node.arguments)
        if node.function == "identity" and node.order == 0:
            return arguments[0]
        return Call(node.function, node.order, arguments)
    if node.order or node.function not in VECTORS:
        raise DeriveError(
            f"{node.function} takes a vector: its derivative is a matrix and has no formula entry by entry"
        )
    batched, n = is_batched(node), node.arguments[0].shape[0]
    known = [e.kept(a) for a in node.arguments]
    vectors = tuple((lambda k, f=f: f((k if n != 1 else None, None))) for f in known)

    def fold(kind: str, entry: Callable[[str | None], Scalar]) -> Scalar:
        return e.folded(expr.SCALAR, batched, n, lambda _: entry(INNER), kind)((None, None))

    return VECTORS[node.function](fold, n, vectors)(place[0])


def _no_formula(e: Entries, node: Node, place: Place) -> Scalar:
    raise DeriveError(f"{expr.strip_labels(node)} is no formula of arrays: ask with a number of steps (unroll=3)")


RULES: dict[type, Rule] = {
    expr.Var: _var,
    expr.Zero: _constant(ZERO),
    expr.Ones: _constant(ONE),
    expr.Identity: _identity,
    expr.At: _at,
    expr.Add: _add,
    expr.Scale: _scale,
    expr.Had: _had,
    expr.Power: _power,
    expr.Mul: _mul,
    expr.Transpose: _transpose,
    expr.Diag: _diag,
    expr.Diagonal: _diagonal,
    expr.Inner: _inner,
    expr.Apply: _apply,
    expr.Sum: _no_formula,
    expr.Labelled: lambda e, node, place: e.entry(node.args[0], place),
    expr.Product: _no_formula,
    expr.Partial: _no_formula,
    expr.Pulled: _no_formula,
    expr.GradientOf: _no_formula,
}
