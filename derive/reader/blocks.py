r"""Brackets and arrays: concatenations, matrices, case distinctions, norms, indicators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import sympy
from sympy import Expr

from derive import expr
from derive.errors import ShapeError
from derive.expr import Node, is_column, is_scalar
from derive.reader import continued
from derive.reader.names import index_expression
from derive.reader.products import add, is_vector, negated
from derive.reader.tree import Tree
from derive.reader.values import ONE, Number, Reading, Unit, Value, agree, choice, combined, spread
from derive.shapes import dimension

if TYPE_CHECKING:
    from derive.reader.resolve import Resolver


def group(resolver: Resolver, tree: Tree) -> list[Reading]:
    value = str(tree.value)
    if value in ("|", "||"):
        return norm(resolver, tree, "")
    if value.startswith("langle") and len(tree.children) == 2:
        pair = [resolver.readings(c) for c in tree.children]
        return combined(pair, _inner)
    if len(tree.children) == 1:
        child = tree.children[0]
        if child.kind == "relation":
            return indicator(resolver, child)
        return resolver.bare(resolver.readings(child)) if value != ".|" else resolver.readings(child)
    return stacked(resolver, tree)


def stacked(resolver: Resolver, tree: Tree) -> list[Reading]:
    """`[h; x]`, `[h, x]`: columns one above the other; numbers in a row."""
    if not tree.children or any(continued.is_dots(c) for c in tree.children):
        return []
    parts = [resolver.readings(child) for child in tree.children]

    def make(*values: Value) -> Iterator[Reading]:
        if all(isinstance(v, Number) for v in values):
            row = spread(values) or []
            yield Reading(expr.Block(row) if ";" not in str(tree.value) else expr.Block(*([n] for n in row)))
            return
        nodes = [v for v in values if isinstance(v, Node)]
        if len(nodes) < len(values):
            return
        if all(is_column(n) for n in nodes):
            yield Reading(expr.Block(*([n] for n in nodes)))
        elif len({n.shape[0] for n in nodes}) == 1:
            yield Reading(expr.Block(nodes))

    return combined(parts, make)


def matrix(resolver: Resolver, tree: Tree) -> list[Reading]:
    rows = [row.children for row in tree.children]
    if any(continued.is_dots(cell) for row in rows for cell in row):
        return continued.matrix(resolver, rows)
    if len({len(row) for row in rows}) != 1:
        resolver.trouble(tree, "the rows of this matrix have different numbers of entries")
        return []
    cells = [resolver.readings(cell) for row in rows for cell in row]
    width = len(rows[0])
    sizes = [dimension(name) for name in sorted(resolver.dimensions)]
    return combined(cells, lambda *values: list(_sized_blocks(values, width, sizes)))


def cases(resolver: Resolver, tree: Tree) -> list[Reading]:
    parts, conditions = [], []
    for row in tree.children:
        cells = [c for c in row.children if c.kind != "empty"]
        if not cells:
            continue
        if cells[0].kind == "statements":
            cells = [*cells[0].children, *cells[1:]]
        parts.append(resolver.readings(cells[0]))
        rest = [c for c in cells[1:] if c.kind != "words"]
        rest = [x for c in rest for x in (c.children if c.kind == "statements" else [c]) if x.kind != "words"]
        conditions.append(condition(resolver, rest[0]) if rest else expr.Otherwise())
    if any(c is None for c in conditions):
        resolver.trouble(tree, "a condition of these cases is not understood")
        return []

    def make(*values: Value) -> Iterator[Reading]:
        nodes = spread(values)
        if nodes is not None and len({n.shape for n in nodes}) == 1:
            yield Reading(expr.Cases(*zip(nodes, conditions, strict=True)))

    return combined(parts, make)


def condition(resolver: Resolver, tree: Tree) -> object | None:
    if tree.kind != "relation" or len(tree.value) != 1:
        return None
    indices = [index_expression(side, resolver.scope.letters) for side in tree.children]
    if all(i is not None and not any(resolver.scope.lookup(s.name) for s in i.free_symbols) for i in indices):
        return expr.Relation(tree.value[0], *indices)
    sides = [resolver.readings(side) for side in tree.children]
    if any(not side for side in sides):
        return None
    nodes = spread(side[0].value for side in sides)
    return None if nodes is None else expr.Relation(tree.value[0], *nodes)


def norm(resolver: Resolver, tree: Tree, kind: str) -> list[Reading]:
    kind = {"infty": "inf", "oo": "inf"}.get(kind, kind)
    if kind not in expr.NORMS:
        resolver.trouble(tree, f"a norm is one of {', '.join(expr.NORMS[1:])}, or any; found {kind}")
        return []
    found = []
    for reading in resolver.bare(resolver.readings(tree.children[0])):
        value = resolver.losses(reading.value)
        if isinstance(value, Number):
            found.append(Reading(Number(sympy.Abs(value.value)), reading.choices, reading.cost))
        elif isinstance(value, Node) and is_scalar(value) and not kind:
            found.append(Reading(expr.apply("abs", value), reading.choices, reading.cost))
        elif isinstance(value, Node) and is_vector(value) and not kind and tree.value == "|":
            for made, meant, price in ((expr.Norm(value, kind), "norm", 0), (expr.apply("abs", value), "entries", 1)):
                choices = agree(reading.choices, choice("bars", meant))
                if choices is not None:
                    found.append(Reading(made, choices, reading.cost + price))
        elif isinstance(value, Node):
            found.append(Reading(expr.Norm(value, kind), reading.choices, reading.cost))
    return found


def indicator(resolver: Resolver, tree: Tree) -> list[Reading]:
    """`[z > 0]`, `[t = T]`: 1 where it is so, else 0."""
    if len(tree.value) != 1:
        return []
    sign, (left, right) = tree.value[0], tree.children
    indices = [index_expression(side, resolver.scope.letters) for side in (left, right)]
    if sign == "=" and all(i is not None for i in indices):
        return [Reading(expr.At((indices[0],), (indices[1],)))]
    if sign not in ("<", ">", "<=", ">="):
        return []
    parts = [resolver.readings(side) for side in ((left, right) if sign in (">", "<=") else (right, left))]

    def make(a: Value, b: Value) -> Iterator[Reading]:
        minus = negated(b)
        for difference in add([a, minus]) if minus is not None else ():
            if isinstance(difference.value, Node):
                above = expr.apply("step", difference.value)
                # a ≤ b is where a > b is not
                yield Reading(above if sign in ("<", ">") else expr.add(expr.Ones(*above.shape), -above))

    return combined(parts, make)


def _sized_blocks(values: Sequence[Value], width: int, sizes: Sequence[Expr]) -> Iterator[Reading]:
    """A block matrix; one of zeros and identities only has blocks of any size that the document knows."""
    if any(isinstance(v, Unit) for v in values) and not any(isinstance(v, Node) for v in values):
        for size in sizes:
            known = [expr.scale(v.coefficient, expr.Identity(size)) if isinstance(v, Unit) else v for v in values]
            yield from _blocks(known, width)
    else:
        yield from _blocks(values, width)


def _blocks(values: Sequence[Value], width: int) -> Iterator[Reading]:
    """The block matrix, its zeros and identities in the size that their row and their column have."""
    rows = [list(values[n : n + width]) for n in range(0, len(values), width)]
    heights = _sizes([[v.shape[0] for v in row if isinstance(v, Node)] for row in rows])
    widths = _sizes([[v.shape[1] for v in column if isinstance(v, Node)] for column in zip(*rows, strict=True)])
    filled: list[list[Node]] = []
    for height, row in zip(heights, rows, strict=True):
        cells = [_cell(v, (height or w or ONE, w or height or ONE)) for w, v in zip(widths, row, strict=True)]
        filled.append([cell for cell in cells if cell is not None])
        if len(filled[-1]) < len(row):
            return
    try:
        yield Reading(expr.Block(*filled))
    except ShapeError:
        return


def _sizes(known: Sequence[Sequence[Expr]]) -> list[Expr | None]:
    """The size of each row: what its blocks say; where none does, that of all the others, if they have one."""
    first = [sizes[0] if sizes else None for sizes in known]
    everywhere = {size for size in first if size is not None}
    return [next(iter(everywhere)) if size is None and len(everywhere) == 1 else size for size in first]


def _cell(value: Value, shape: expr.Shape) -> Node | None:
    if isinstance(value, Number):
        return expr.number(value.value, shape) if value.value == 0 or shape == expr.SCALAR else None
    if isinstance(value, Unit):
        return expr.Identity(shape[0])
    return value if isinstance(value, Node) else None


def _inner(a: Value, b: Value) -> Iterator[Reading]:
    if isinstance(a, Node) and isinstance(b, Node) and a.shape == b.shape:
        yield Reading(expr.inner(a, b))
