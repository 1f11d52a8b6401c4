r"""What is done to a value that stands: entries below it, transposes and powers above."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sympy import Expr, Integer

from derive import expr
from derive.errors import ShapeError
from derive.expr import Node, Var, is_scalar
from derive.reader.names import index_expression, is_transpose, letters, parts_of
from derive.reader.products import is_vector
from derive.reader.tree import Tree
from derive.reader.values import Cube, Number, Reading, Unit, Value, Wide, agree, choice, pruned

if TYPE_CHECKING:
    from derive.reader.resolve import Resolver


def tail(resolver: Resolver, readings: list[Reading], scripts: Sequence[Tree]) -> list[Reading]:
    """Scripts on what is no name: entries below, transposes and powers above."""
    for script in scripts:
        made: list[Reading] = []
        for reading in readings:
            for done in on_value(resolver, reading.value, script):
                together = agree(reading.choices, done.choices)
                if together is not None:
                    made.append(Reading(done.value, together, reading.cost + done.cost))
        readings = pruned(made)
    return readings


def on_value(resolver: Resolver, value: Value, script: Tree) -> Iterator[Reading]:
    if script.kind == "prime":
        yield from operated(resolver, value, "prime", None)
        return
    parts = list(parts_of(script.kind, script.children[0]))
    if script.kind == "sub":
        index: list[Expr] = []
        for part in parts:
            one = index_expression(part.tree, resolver.scope.letters)
            several = (one,) if one is not None else letters(part.tree, resolver.scope.letters)
            if several is None:
                return
            index.extend(several)
        taken = entry(value, tuple(index)) if isinstance(value, Node) else None
        if taken is not None:
            yield Reading(taken)
        return
    results = [Reading(value)]
    for part in parts:
        role = "transpose" if is_transpose(part) else "odot" if part.where == "odot" else "power"
        results = [
            Reading(d.value, together, r.cost + d.cost)
            for r in results
            for d in operated(resolver, r.value, role, part.tree)
            if (together := agree(r.choices, d.choices)) is not None
        ]
        if role == "transpose" and part.tree.names("T"):
            results += [Reading(d.value, d.choices, d.cost + 4) for d in operated(resolver, value, "power", part.tree)]
    yield from results


def scripted(resolver: Resolver, found: Reading, after: Sequence[tuple[str, Tree | None]]) -> Iterator[Reading]:
    readings = [found]
    for role, tree in after:
        readings = [
            Reading(done.value, together, r.cost + done.cost)
            for r in readings
            for done in operated(resolver, r.value, role, tree)
            if (together := agree(r.choices, done.choices)) is not None
        ]
    yield from readings


def operated(resolver: Resolver, value: Value, role: str, tree: Tree | None) -> Iterator[Reading]:
    """A transpose or a power of a value."""
    if role in ("transpose", "prime"):
        is_t = tree is not None and tree.names("T")
        price = 2 if role == "prime" else 6 * (is_t and resolver.scope.habits.has_other_transposes)
        if isinstance(value, Node):
            yield Reading(expr.transpose(value), choice("prime", "transpose") if role == "prime" else (), price)
        elif isinstance(value, Number):
            yield Reading(Number(value.value, value.ones, value.ones and not value.row), (), price)
        elif isinstance(value, Unit):
            yield Reading(value, (), price)
        elif isinstance(value, Wide):
            yield Reading(Wide(value.column, not value.turned), (), price)
        elif isinstance(value, Cube):
            yield Reading(Cube(value.pull, value.rows, not value.transposed, value.columns), (), price)
        return
    assert tree is not None
    if isinstance(value, Cube):
        if tree.kind == "symbol" and tree.value in ("*", "star"):
            yield Reading(Cube(value.pull, value.rows, not value.transposed, value.columns))
        return
    exponent = index_expression(tree, resolver.scope.letters)
    if exponent is None or any(resolver.scope.lookup(s.name) for s in exponent.free_symbols):
        return
    if isinstance(value, Number):
        yield Reading(Number(value.value**exponent))
    elif isinstance(value, Node):
        yield from powers(value, exponent, role == "odot")


def powers(node: Node, exponent: Expr, entrywise: bool) -> Iterator[Reading]:
    square = node.shape[0] == node.shape[1] and not is_scalar(node)
    if square and not entrywise:
        yield Reading(expr.matrix_power(node, exponent))
    else:
        yield Reading(expr.power(node, exponent))


def entry(node: Node, index: tuple[Expr, ...]) -> Node | None:
    """The entry at the index; the node itself where there is none; None where it has no such entry."""
    if not index:
        return node
    if is_scalar(node):
        return None
    if len(index) == 1 and is_vector(node):
        return expr.entry(node, index[0])
    if len(index) == 1 and node.shape[0] == 1:
        return expr.entry(node, Integer(1), index[0])
    if len(index) == 2 and not is_vector(node):
        return expr.entry(node, *index)
    return None


def marked(node: Node, mark: str) -> Node:
    """The adjoint, tangent, … of a name; of a block matrix, block by block."""
    if isinstance(node, Var):
        return node.marked(mark)
    if isinstance(node, expr.Block):
        return expr.Block(*([marked(cell, mark) for cell in row] for row in node.args))
    raise ShapeError("an adjoint is that of a variable")
