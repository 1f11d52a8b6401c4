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
from derive.reader.values import Function, Loss, Number, Reading, Unit, choice, pruned
from derive.shapes import dimension

if TYPE_CHECKING:
    from derive.reader.resolve import Resolver


CURRENT = choice("index", "current")


def reference(resolver: Resolver, tree: Tree, calls: Sequence[Part] = ()) -> list[Reading]:
    """The readings of a name with its scripts, and with an index in brackets behind it."""
    spelled = decomposed(tree)
    if spelled is None:
        return []
    base, parts = spelled
    found: list[Reading] = []
    for spelling in spellings(base, (*parts, *calls), resolver.scope.letters):
        letters = {s for i in spelling.index for s in i.free_symbols if s.name not in resolver.bound}
        price = 4 * any(s.name in resolver.scope.names and s not in resolver.scope.lattice for s in letters)
        found.extend(Reading(r.value, r.choices, r.cost + price) for r in meant(resolver, spelling))
    return pruned(found)


def meant(resolver: Resolver, spelling: Spelling) -> Iterator[Reading]:
    for found in nodes(resolver, spelling):
        for reading in postfix.scripted(resolver, found, spelling.after):
            yield Reading(reading.value, reading.choices, spelling.cost + reading.cost)
    scope = resolver.scope
    # J^T is a transpose, not the loss at the last step.
    turned = any(p == "sup" and i in scope.lengths for p, i in zip(spelling.places, spelling.index, strict=True))
    if not (spelling.after or turned) and scope.is_loss(spelling.name) and len(spelling.index) <= len(scope.lattice):
        yield Reading(Loss(spelling.index), (), spelling.cost)


def nodes(resolver: Resolver, spelling: Spelling) -> Iterator[Reading]:
    """The nodes that a name at an index can be, with entries taken out."""
    for meaning, price in meanings(resolver, spelling.name):
        for reading, entries in indexed(resolver, meaning, spelling):
            taken = entry(reading.value, entries) if isinstance(reading.value, Node) else None
            if taken is not None:
                yield Reading(taken, reading.choices, price + reading.cost)


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


def indexed(resolver: Resolver, meaning: Meaning, spelling: Spelling) -> Iterator[tuple[Reading, tuple[Expr, ...]]]:
    """The name at an index, with the indices that are left for its entries."""
    scope, index = resolver.scope, spelling.index
    size, habits, letters = len(scope.lattice), scope.habits, {*scope.lattice, *scope.lengths}
    if habits.forbids(spelling.places):
        return
    if meaning.indexed is None and isinstance(meaning.node, Var) and _are_entries(resolver, meaning.node, index):
        yield Reading(meaning.node.at(()), (), 6 * (bool(index) and spelling.name in habits.timed)), index
    if meaning.indexed is False:
        yield Reading(meaning.node), index
        if len(index) == size and isinstance(meaning.node, Var):
            at_time = all(i.free_symbols & set(scope.lattice) or i.is_Integer for i in index)
            # W^{(2)} is the copy of W at step 2, whatever stands above of other names.
            unusual = habits.against(place for place in spelling.places if place == "sup")
            yield Reading(meaning.node.at(index), (), (2 if at_time else 6) + unusual), ()
        return
    if meaning.indexed and (len(index) < size or (index and all(map(habits.against, zip(spelling.places))))):
        yield Reading(meaning.node, CURRENT, 6 if len(index) < size else 2), index
    for chosen in combinations(range(len(index)), size):
        at = tuple(index[n] for n in chosen)
        rest = tuple(i for n, i in enumerate(index) if n not in chosen)
        if not _are_entries(resolver, meaning.node, rest):
            continue
        price = sum(0 if i.free_symbols & letters else 1 for i in at)
        price += habits.against(spelling.places[n] for n in chosen)
        # Where time always stands above, without brackets, so does a number.
        price -= 7 * sum(
            habits.places == {"sup"} and spelling.places[n] == "sup" and index[n].is_number for n in chosen
        )
        yield Reading(meaning.at(at, scope.lattice), (), price), rest


def _are_entries(resolver: Resolver, node: Node, index: Sequence[Expr]) -> bool:
    """An index of time is an entry of what is as long as time only."""
    scope = resolver.scope
    lengths = {s for length in scope.lengths for s in length.free_symbols}
    at_time = any(i.free_symbols & {*scope.lattice, *lengths} for i in index)
    return not at_time or any(size.free_symbols & lengths for size in node.shape)


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
    return [Reading(value, choices, 6 + price) for value, choices, price in derivatives.d_of(below.node, True)]
