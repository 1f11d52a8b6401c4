"""Names with their scripts: which of them name something in the scope, at which index, which entry of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import sympy
from sympy import Expr, Integer

from derive.expr import Node, Var
from derive.reader import derivatives, postfix
from derive.reader.names import Part, Spelling, decomposed, index_expression, spellings
from derive.reader.postfix import entry, marked
from derive.reader.scope import Meaning
from derive.reader.tree import Tree
from derive.reader.values import Function, Loss, Number, Reading, Unit, pruned
from derive.shapes import dimension

if TYPE_CHECKING:
    from derive.reader.resolve import Resolver


def reference(resolver: Resolver, tree: Tree, calls: Sequence[Part] = ()) -> list[Reading]:
    """The readings of a name with its scripts, and with an index in brackets behind it."""
    spelled = decomposed(tree)
    if spelled is None:
        return []
    base, parts = spelled
    found: list[Reading] = []
    for spelling in spellings(base, (*parts, *calls), resolver.scope.letters):
        letters = {s for i in spelling.index for s in i.free_symbols if str(s) not in resolver.bound}
        price = 4 * any(str(s) in resolver.scope.names and s not in resolver.scope.lattice for s in letters)
        found.extend(Reading(r.value, r.choices, r.cost + price) for r in meant(resolver, spelling))
    return pruned(found)


def meant(resolver: Resolver, spelling: Spelling) -> Iterator[Reading]:
    for node, price in nodes(resolver, spelling):
        for reading in postfix.scripted(resolver, node, spelling.after):
            yield Reading(reading.value, reading.choices, spelling.cost + price + reading.cost)
    if (
        not spelling.after
        and resolver.scope.is_loss(spelling.name)
        and len(spelling.index) <= len(resolver.scope.lattice)
    ):
        yield Reading(Loss(spelling.index), (), spelling.cost)


def nodes(resolver: Resolver, spelling: Spelling) -> Iterator[tuple[Node, int]]:
    """The nodes that a name at an index can be, with entries taken out, and a price."""
    for meaning, price in meanings(resolver, spelling.name):
        for node, entries, cost in indexed(resolver, meaning, spelling.index):
            taken = entry(node, entries)
            if taken is not None:
                yield taken, price + cost


def meanings(resolver: Resolver, name: str) -> Iterator[tuple[Meaning, int]]:
    known = resolver.scope.lookup(name)
    if known is not None:
        yield known, 0
        return
    for mark in ("bar", "dot"):
        below = resolver.scope.lookup(name.replace(f"_{mark}", "", 1)) if f"_{mark}" in name else None
        if below is not None:
            yield Meaning(marked(below.node, mark), below.indexed), 1
        stem = name.removesuffix(f"_{mark}")
        if stem != name and resolver.scope.is_loss(stem) and resolver.scope.own:
            yield Meaning(marked(resolver.scope.loss(resolver.scope.lattice), mark), True), 0
    if name.startswith("delta_") and resolver.scope.own:
        below = resolver.scope.lookup(name.removeprefix("delta_"))
        if below is not None and below.indexed:
            yield Meaning(marked(below.node, "delta"), True), 1


def indexed(
    resolver: Resolver, meaning: Meaning, index: tuple[Expr, ...]
) -> Iterator[tuple[Node, tuple[Expr, ...], int]]:
    lattice = resolver.scope.lattice
    size = len(lattice)
    if meaning.indexed is None and isinstance(meaning.node, Var):
        yield meaning.node.at(()), index, sum(4 for i in index if i.free_symbols & set(lattice))
    if meaning.indexed is False:
        yield meaning.node, index, 0
        if len(index) == size and isinstance(meaning.node, Var):
            at_time = all(i.free_symbols & set(lattice) or i.is_Integer for i in index)
            yield meaning.node.at(index), (), 2 if at_time else 6
        return
    if len(index) < size and meaning.indexed:
        yield meaning.node, index, 6
    for chosen in combinations(range(len(index)), size):
        at = tuple(index[n] for n in chosen)
        rest = tuple(i for n, i in enumerate(index) if n not in chosen)
        price = sum(0 if i.free_symbols & {*lattice, *resolver.scope.lengths} else 1 for i in at)
        price += sum(4 for i in rest if i.free_symbols & {*lattice, *resolver.scope.lengths})
        yield meaning.at(at, lattice), rest, price


def name(resolver: Resolver, tree: Tree) -> list[Reading]:
    found = reference(resolver, tree)
    if found:
        return found
    if tree.names("I", "Id"):
        return [Reading(Unit())]
    if tree.names("ones"):
        return [Reading(Number(Integer(1), True))]
    if tree.names("pi"):
        return [Reading(Number(sympy.pi))]
    function = resolver.scope.function(str(tree.value))
    if function is not None:
        return [Reading(Function(function))]
    index = index_expression(tree, resolver.scope.letters)
    if index is not None and index in {*resolver.scope.lattice, *resolver.scope.lengths, *resolver.indices}:
        return [Reading(Number(index), (), 5)]
    if str(tree.value) in resolver.dimensions:
        return [Reading(Number(dimension(str(tree.value))), (), 5)]
    if len(str(tree.value)) > 2 and str(tree.value)[0] == "d":
        return adjoint_word(resolver, str(tree.value)[1:])
    return []


def accent(resolver: Resolver, tree: Tree) -> list[Reading]:
    found = reference(resolver, tree)
    if not found and tree.value == "dot":
        inside = resolver.readings(tree.children[0])
        return [Reading(Function(r.value.name, r.value.order + 1)) for r in inside if isinstance(r.value, Function)]
    if not found and tree.children[0].kind not in ("name", "script", "accent"):
        return resolver.readings(tree.children[0]) if tree.value in ("check",) else []
    return found


def adjoint_word(resolver: Resolver, name: str) -> list[Reading]:
    """`dWhh` as one word: the adjoint of `Whh`."""
    below = resolver.scope.lookup(name)
    if below is None:
        return []
    return [Reading(value, (), 6) for value in derivatives.adjoints(below.node)]
