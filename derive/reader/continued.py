r"""Sums, products and lists that dots continue: the terms that stand there fix the pattern.

`a_1 + a_2 + \cdots + a_T` is a sum over the index in which its first and last terms differ; `J_t J_{t-1} \cdots J_{k+1}`
a product whose order is the one that is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from sympy import Basic, Expr, Integer, Symbol

from derive import expr
from derive.errors import ShapeError
from derive.expr import Node
from derive.reader.grown import grown
from derive.reader.products import chain as form_products
from derive.reader.tree import Tree, chain_of
from derive.reader.values import Number, Reading, Value, combined, spread

if TYPE_CHECKING:
    from derive.reader.resolve import Resolver

INDEX = "m"


def is_dots(tree: Tree) -> bool:
    return tree.kind == "symbol" and tree.value == "dots"


def sum_(resolver: Resolver, tree: Tree) -> list[Reading]:
    """A sum with dots: what stands before them, the pattern, what stands after the last term of the pattern."""
    place = next(n for n, c in enumerate(tree.children) if is_dots(c))
    before, after = tree.children[:place], tree.children[place + 1 :]
    if before and not after:
        return combined([resolver.readings(c) for c in before], _endless)
    if not before or any(is_dots(c) for c in after):
        return []
    parts = [resolver.readings(c) for c in (*before, *after)]
    if any(not p for p in parts):
        return []
    count = len(before)

    def make(*values: Value) -> Iterator[Reading]:
        terms = spread(map(resolver.losses, values))
        if terms is None or len({t.shape for t in terms}) > 1:
            return
        for start in range(count - 1, -1, -1) if count == 1 else range(count - 1):
            found = pattern(terms[start:count], terms[count])
            if found is not None:
                index, body, lo, hi, _ = found
                total = expr.Sum(body, (index, lo, hi))
                yield Reading(expr.add(*terms[:start], total, *terms[count + 1 :]))
                return

    return combined(parts, make)


def _endless(*values: Value) -> Iterator[Reading]:
    terms = spread(values)
    whole = grown(terms) if terms is not None else None
    if whole is not None:
        yield Reading(whole)


def product_(resolver: Resolver, signs: Sequence[str], factors: Sequence[Tree]) -> list[Reading]:
    """A product with dots between its factors; what stands before and after the pattern multiplies it."""
    place = next(n for n, c in enumerate(factors) if is_dots(c))
    before, after = list(factors[:place]), list(factors[place + 1 :])
    if not before or not after or any(is_dots(c) for c in after):
        return []
    before_signs = list(signs[: place - 1])
    after_signs = list(signs[place + 1 :])
    # The unit that repeats: one factor, or a few; the shortest that fits wins.
    for width in range(1, min(len(after), len(before)) + 1):
        last = _slice(resolver, after_signs, after, 0, width)
        shown = [
            _slice(resolver, before_signs, before, n, width) for n in range(len(before) % width, len(before), width)
        ]
        for start in range(len(shown)):
            units = shown[start:]
            if any(not u for u in units) or not last:
                continue
            found = combined([*units, last], _as_product)
            if not found:
                continue
            head = before[: len(before) % width + start * width]
            parts: list[list[Reading]] = []
            outer: list[str] = []
            if head:
                parts.append(resolver.readings(chain_of(before_signs, head)))
                outer.append("")
            parts.append(found)
            rest = after[width:]
            if rest:
                outer.append("")
                parts.append(resolver.readings(chain_of(after_signs[width:], rest)))
            if all(parts):
                made = form_products(outer, parts)
                if made:
                    return made
    return []


def _slice(resolver: Resolver, signs: list[str], factors: list[Tree], start: int, width: int) -> list[Reading]:
    return resolver.readings(chain_of(signs, factors, start, start + width)) if start + width <= len(factors) else []


def _as_product(*values: Value) -> Iterator[Reading]:
    if all(isinstance(v, Number) and v.value == 1 for v in values):
        yield Reading(values[0])
    if not all(isinstance(v, Node) for v in values):
        return
    found = pattern(values[:-1], values[-1])
    if found is None:
        return
    index, body, lo, hi, falling = found
    if body.shape[0] == body.shape[1]:
        yield Reading(expr.Product(body, (index, lo, hi), falling))


def pattern(first: Sequence[Any], last: Any) -> tuple[Symbol, Node, Expr, Expr, bool] | None:
    """`(m, body, lo, hi, falling)` where the shown terms are `body` at consecutive m, and the last term ends them.

    The body is one of the terms with every index (and exponent) that moves replaced by one of m; which ones move, and
    which way, is settled by the other terms.
    """
    free = {str(s) for node in (first[0], last) for s in node.free_symbols}
    index = Symbol(next(n for n in (INDEX, "s", "r", "l", "q_") if n not in free), integer=True)
    candidates = list(dict.fromkeys([*_indices(first[0]), *_indices(last), Integer(0), Integer(1)]))[:12]
    for source in dict.fromkeys((first[0], first[-1], last)):
        for body in _bodies(source, index):
            found = _ends(body, first, last, index, candidates)
            if found is not None:
                return found
    return None


def _ends(
    body: Node, first: Sequence[Any], last: Any, index: Symbol, candidates: Sequence[Expr]
) -> tuple[Symbol, Node, Expr, Expr, bool] | None:
    """Where the shown terms begin and end as values of the body."""
    at = {start: _at(body, index, start) for start in candidates}
    starts = [start for start, node in at.items() if node is first[0]]
    ends = [end for end, node in at.items() if node is last]
    for start in starts:
        for end in ends:
            if start == end:
                continue
            steps = [d for d in (1, -1) if all(_at(body, index, start + d * n) is t for n, t in enumerate(first))]
            if len(first) == 1:
                difference = end - start
                falling = difference.is_negative or (not difference.is_number and bool(start.free_symbols))
                steps = [-1 if falling else 1]
            if steps:
                rising = steps[0] > 0
                return (index, body, start, end, False) if rising else (index, body, end, start, True)
    return None


def _at(body: Node, index: Symbol, value: Expr) -> Node | None:
    try:
        return expr.at(body, {index: value})  # type: ignore[no-any-return]
    except (ShapeError, TypeError, ValueError):
        return None


def _indices(node: Node) -> list[Expr]:
    found: list[Expr] = []
    for inside in expr.walk(node):
        if isinstance(inside, expr.Var):
            found.extend(inside.index)
        elif isinstance(inside, expr.Entry):
            found.extend(inside.args[1:3])
        elif isinstance(inside, (expr.MatrixPower, expr.Power)):
            found.append(inside.args[1])
    return list(dict.fromkeys(found))


MOVING = 4
"""Different indices of one term; with more, no pattern is looked for."""


def _bodies(node: Node, index: Symbol) -> Iterator[Node]:
    """The term with m in place of an index, the others moving along, against it, or not at all."""
    positions = _indices(node)
    if len(positions) > MOVING:
        return
    for primary in positions:
        others = [i for i in positions if i != primary]
        for signs in product((1, 0, -1), repeat=len(others)):
            moved = {primary: index, **{i: i + s * (index - primary) for i, s in zip(others, signs, strict=True)}}
            yield _moved(node, moved)


def _moved(node: Node, moved: dict[Expr, Expr]) -> Node:
    def move(i: Expr) -> Expr:
        return moved.get(i, i)

    def leaf(inside: Basic) -> Basic:
        if isinstance(inside, expr.Var) and inside.index:
            return inside.at(map(move, inside.index))
        if isinstance(inside, expr.Entry):
            body, i, j = inside.args
            return expr.entry(body, move(i), j if body.shape[1] == 1 else move(j))
        if isinstance(inside, expr.MatrixPower):
            return expr.matrix_power(inside.args[0], move(inside.args[1]))
        if isinstance(inside, expr.Power):
            return expr.power(inside.args[0], move(inside.args[1]))
        return inside

    return expr.rewrite(node, leaf)  # type: ignore[no-any-return]


def column(resolver: Resolver, cells: Sequence[Tree]) -> list[Reading]:
    """`a_1, a_2, …, a_n` as the column whose entries they are."""
    shown = [c for c in cells if not is_dots(c)]
    parts = [resolver.readings(c) for c in shown]

    def make(*values: Value) -> Iterator[Reading]:
        cells = [v for v in values if isinstance(v, Node)]
        if len(cells) < len(values):
            return
        entries = [n for n in expr.walk(cells[0]) if isinstance(n, expr.Entry)]
        if not entries or any(e.args[1] != 1 for e in entries):
            return
        whole = lifted(cells[0], entries[0].args[0].shape)
        if whole is not None and all(_entry_fits(cells[0], cell, n) for n, cell in enumerate(cells[:-1])):
            yield Reading(whole)

    return combined(parts, make)


def _entry_fits(first: Node, value: Node, n: int) -> bool:
    return _moved(first, {Integer(1): Integer(n + 1)}) is value


def lifted(node: Node, shape: expr.Shape) -> Node | None:
    """A scalar formula of first entries as the formula of the columns."""
    if isinstance(node, expr.Entry):
        return node.args[0] if node.args[0].shape == shape else None
    if not any(isinstance(n, expr.Entry) for n in expr.walk(node)):
        return expr.as_node(node, shape)
    if isinstance(node, expr.Scale):
        body = lifted(node.args[1], shape)
        return None if body is None or isinstance(node.args[0], Node) else expr.scale(node.args[0], body)
    if isinstance(node, expr.Power):
        body = lifted(node.args[0], shape)
        return None if body is None else expr.power(body, node.args[1])
    operands = [lifted(a, shape) for a in node.args if isinstance(a, Node)]
    parts = [p for p in operands if p is not None]
    if len(parts) < len(operands):
        return None
    if isinstance(node, (expr.Add, expr.Had)):
        return node.build(*parts)
    return expr.apply(node.function, *parts, order=node.order) if isinstance(node, expr.Apply) else None


def matrix(resolver: Resolver, rows: Sequence[Sequence[Tree]]) -> list[Reading]:
    """A matrix with dots: diagonal where off the diagonal nothing, zeros or dots stand, a column where it has one cell a row."""
    if all(len(row) == 1 for row in rows):
        return column(resolver, [row[0] for row in rows])
    on = [row[n] for n, row in enumerate(rows) if n < len(row)]
    off = [c for n, row in enumerate(rows) for m, c in enumerate(row) if m != n]
    empty = all(c.kind == "empty" or is_dots(c) or (c.kind == "number" and c.value == "0") for c in off)
    if not empty or len(rows) != len(rows[0]):
        return []
    return combined([column(resolver, on)], lambda v: [Reading(expr.diag(v))])
