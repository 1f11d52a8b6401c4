r"""`\sum` and `\prod`: what they are over, in which range, and in which order a product stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import sympy
from sympy import Expr, Integer, Symbol

from derive import expr
from derive.expr import Node, Var
from derive.reader import ranges
from derive.reader.ranges import Range
from derive.reader.tree import Tree, chain_of
from derive.reader.values import Cube, Number, Reading, Taken, Unit, Value, agree, choice, combined

if TYPE_CHECKING:
    from derive.reader.resolve import Resolver


def big_operator(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> Taken:
    head = factors[n].children[0] if factors[n].kind == "script" else factors[n]
    if not head.names("sum", "prod") or n + 1 >= len(factors):
        return None
    found = ranges.written(factors[n], resolver.scope, ordered=head.names("prod"))
    if found is None:
        resolver.trouble(factors[n], "the range of this sum is not understood; write it like \\sum_{t=1}^{T}")
        return [], 0
    if head.names("sum"):
        body = chain_of(signs, factors, n + 1)
        return summed(resolver, found, body), len(factors) - n - 1
    return _product(resolver, found, signs, factors, n, greedy)


def summed(resolver: Resolver, found: Sequence[Range], body: Tree) -> list[Reading]:
    inner = resolver.binding(r.index for r in found)

    def make(value: Value) -> Iterator[Reading]:
        value = resolver.losses(value)
        yield from over_range(resolver, value, found)

    return combined([inner.bare(inner.readings(body))], make)


def over_range(resolver: Resolver, value: Value, found: Sequence[Range]) -> Iterator[Reading]:
    if isinstance(value, Number):
        if all(r.lo is not None and r.hi is not None for r in found):
            value = Number(sympy.Sum(value.value, *((r.index, r.lo, r.hi) for r in found)))
            yield Reading(value)
        return
    if isinstance(value, Cube):
        limits = [_limits(resolver, value.pull(Var("v", (), (), value.rows, Integer(1))), r) for r in found]
        if all(limits):
            yield Reading(Cube(lambda d: expr.Sum.build(value.pull(d), *limits), value.rows, value.transposed))
        return
    if isinstance(value, Node):
        limits = [_limits(resolver, value, r) for r in found]
        if all(limits):
            yield Reading(expr.Sum.build(value, *limits))


def _limits(resolver: Resolver, body: Node, r: Range) -> tuple[Symbol, Expr, Expr] | None:
    """Both ends: a sum over entries runs over the dimension, any other along the lattice."""
    if r.lo is not None and r.hi is not None:
        return r.index, r.lo, r.hi
    size = entry_size(body, r.index)
    if (
        size is None
        and r.lo is None
        and r.hi is None
        and r.index.name in resolver.scope.names.keys() - set(resolver.scope.letters)
    ):
        return None  # a sum over gates, or over names of another kind
    whole = (Integer(1), size) if size is not None else ranges.wait_for(r.index, resolver.scope)
    if whole is None:
        return None
    return r.index, r.lo if r.lo is not None else whole[0], r.hi if r.hi is not None else whole[1]


def entry_size(body: Node, index: Symbol) -> Expr | None:
    for node in expr.walk(body):
        if isinstance(node, expr.Entry):
            for position, size in zip(node.args[1:3], node.args[0].shape, strict=True):
                if index in position.free_symbols:
                    return size
    return None


def _product(
    resolver: Resolver, found: Sequence[Range], signs: list[str], factors: list[Tree], n: int, greedy: bool
) -> tuple[list[Reading], int]:
    """The factors that the product is over: as far as they are square and speak of the index, or of no other one."""
    inner = resolver.binding(r.index for r in found)
    longest = _scope_of_product(inner, found, signs, factors, n + 1)
    ends = range(longest, n + 1, -1) if greedy else range(n + 2, longest + 1)
    for end in ends:
        body = chain_of(signs, factors, n + 1, end)
        made = multiplied(resolver, found, inner.bare(inner.readings(body)))
        if made:
            return made, end - n - 1
    return [], 0


def _scope_of_product(
    resolver: Resolver, found: Sequence[Range], signs: Sequence[str], factors: Sequence[Tree], start: int
) -> int:
    own = {str(r.index) for r in found}
    end = start
    for n in range(start, len(factors)):
        letters = {t.value for t in factors[n].walk() if t.kind == "name"}
        head = factors[n].children[0] if factors[n].kind == "script" else factors[n]
        if n > start and head.names("sum", "prod"):
            break
        others = {x for x in letters if x in (*resolver.scope.letters, "k", "m", "s", "j", "i", "tau", "l", "T")}
        if n > start and not letters & own and (others - own) and _has_index(factors[n]):
            break
        end = n + 1
    return max(end, start + 1)


def _has_index(tree: Tree) -> bool:
    return any(t.kind == "script" or t.kind == "group" for t in tree.walk())


def multiplied(resolver: Resolver, found: Sequence[Range], bodies: list[Reading]) -> list[Reading]:
    made: list[Reading] = []
    if len(found) != 1:
        return []
    r = found[0]
    for reading in bodies:
        value, price, choices = reading.value, reading.cost, reading.choices
        if isinstance(value, Node) and value.shape[1] == 1 and value.shape[0] != 1:
            # A Hadamard product of columns over an index: that of their diagonal matrices, times ones.
            limits = _limits(resolver, value, r)
            if limits is not None and not any(f.shape[1] != 1 for f in expr.variables(value) if f.marks):
                ordered = expr.Product(expr.diag(value), limits, 1)
                made.append(Reading(expr.mul(ordered, expr.Ones(*value.shape)), choices, price + 5))
            continue
        if isinstance(value, Unit) or not isinstance(value, Node) or value.shape[0] != value.shape[1]:
            continue
        limits = _limits(resolver, value, r)
        if limits is None:
            continue
        if value.shape == expr.SCALAR or r.reversed_:
            made.append(Reading(expr.Product(value, limits, 1), choices, price))
            continue
        for order, cost in (("descending", 0), ("ascending", 1)):
            both = agree(choices, choice("order", order))
            if both is not None:
                made.append(Reading(expr.Product(value, limits, order == "descending"), both, price + cost))
    return resolver.allowed(made)
