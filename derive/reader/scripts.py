r"""Scripts that are more than a name's: `e^x`, `\delta_{ij}`, `\mathbf 1_{t = T}`, `\left. … \right|_{h}`, `(…)^\top`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sympy import Integer

from derive import expr
from derive.expr import Var
from derive.reader import blocks, calls, postfix, references
from derive.reader.names import base_name, decomposed, index_expression, letters, word
from derive.reader.tree import Tree
from derive.reader.values import Number, Reading, Unit, pruned
from derive.shapes import dimension

if TYPE_CHECKING:
    from derive.reader.resolve import Resolver


def script(resolver: Resolver, tree: Tree) -> list[Reading]:
    base, *scripts = tree.children
    if base.kind == "brace":
        return resolver.readings(base)
    found = references.reference(resolver, tree)
    special = special_script(resolver, tree, base, scripts)
    return pruned([*found, *special])


def special_script(resolver: Resolver, tree: Tree, base: Tree, scripts: Sequence[Tree]) -> list[Reading]:
    first = scripts[0]
    if base.names("e") and first.kind == "sup" and not resolver.scope.lookup("e"):
        return calls.applied(resolver, "exp", 0, [resolver.readings(first.children[0])])
    if base.names("ones") or (base.kind == "number" and base.value == "1" and first.kind == "sub"):
        return of_ones(resolver, scripts)
    if base.names("delta") and first.kind == "sub" and len(scripts) == 1:
        return kronecker(resolver, first.children[0])
    if base.names("I", "Id") and not resolver.scope.lookup("I"):
        return [Reading(Unit())] if all(s.kind != "prime" for s in scripts) else []
    function = calls.function_head(resolver, tree)
    if function is not None:
        return calls.bare_power(resolver, *function)
    if base.kind == "group" and base.value == ".|" and first.kind == "sub":
        return held(resolver, base, first, scripts[1:])
    if base.kind in ("group", "chain", "frac", "sum", "number", "matrix", "sqrt", "script", "accent"):
        if base.kind in ("script", "accent") and decomposed(base) is not None:
            return []
        norm = base.kind == "group" and base.value in ("||", "|")
        if norm and first.kind == "sub":
            return postfix.tail(resolver, blocks.norm(resolver, base, word(first.children[0])), scripts[1:])
        return postfix.tail(resolver, resolver.readings(base), scripts)
    return []


def kronecker(resolver: Resolver, tree: Tree) -> list[Reading]:
    r"""`\delta_{ij}`: 1 where the two indices are equal."""

    letters_ = [index_expression(c, resolver.scope.letters) for c in tree.children] if tree.kind == "list" else None
    found = letters_ if letters_ is not None else letters(tree, resolver.scope.letters) or ()
    pair = [index for index in found if index is not None]
    if len(pair) != 2 or len(found) != 2:
        return []
    at_time = any(i.free_symbols & {*resolver.scope.lattice, *resolver.scope.lengths} for i in pair)
    return [Reading(expr.At((pair[0],), (pair[1],)), (), 5 if at_time else 0)]


def of_ones(resolver: Resolver, scripts: Sequence[Tree]) -> list[Reading]:
    first = scripts[0]
    if first.kind == "sub" and first.children[0].kind == "relation":
        return blocks.indicator(resolver, first.children[0])
    if first.kind == "sub" and first.children[0].kind == "chain":
        sizes = [base_name(c) for c in first.children[0].children]
        if len(sizes) == 2 and all(sizes):
            return [Reading(expr.Ones(*(dimension(s) for s in sizes)))]  # type: ignore[arg-type]
    return postfix.tail(resolver, [Reading(Number(Integer(1), True))], [s for s in scripts if s.kind != "sub"])


def held(resolver: Resolver, base: Tree, sub: Tree, rest: Sequence[Tree]) -> list[Reading]:
    r"""`\left. ∂c_t/∂c_{t-1} \right|_{h_{t-1}}`: what stands below is held constant; a bare name, at every step."""
    inside = sub.children[0]
    names: list[Var | str] = []
    for tree in inside.children if inside.kind == "list" else (inside,):
        if tree.kind == "relation":
            return []
        found = [(r.value, r.chosen()) for r in resolver.readings(tree) if isinstance(r.value, Var)]
        if not found:
            return []
        variable, choices = found[0]
        names.append(variable if variable.index and "index" not in choices else variable.name)
    made = []
    for reading in resolver.readings(base.children[0]):
        value = reading.value
        turned = isinstance(value, expr.Transpose)
        partial = value.args[0] if isinstance(value, expr.Transpose) else value
        if isinstance(partial, expr.Partial):
            partial = expr.Partial(partial.args[0], partial.args[1], partial.immediate, tuple(names))
            made.append(Reading(expr.transpose(partial) if turned else partial, reading.choices, reading.cost))
    return postfix.tail(resolver, made, rest)
