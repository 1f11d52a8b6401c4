r"""Functions: `\tanh^2(c)`, `\sigma'(a)`, `\operatorname{sech}^2 x`, bare ones without an argument."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sympy import Expr

from derive import expr, functions
from derive.expr import Node
from derive.reader import postfix
from derive.reader.names import index_expression, word
from derive.reader.outputs import of_output
from derive.reader.scope import Scope
from derive.reader.tree import Tree, beside, chain_of
from derive.reader.values import Function, Number, Reading, Taken, Value, combined, spread

if TYPE_CHECKING:
    from derive.reader.resolve import Resolver


def function_head(resolver: Resolver, tree: Tree) -> tuple[Function, Tree | None] | None:
    """A function with its primes and a power: `\\tanh^2`, `\\sigma'`; None where the tree is none."""
    if tree.kind == "name":
        found = resolver.scope.function(str(tree.value))
        return (Function(found), None) if found is not None else None
    if tree.kind == "accent" and tree.value == "dot":
        inside = function_head(resolver, tree.children[0])
        return None if inside is None else (Function(inside[0].name, inside[0].order + 1), inside[1])
    if tree.kind != "script":
        return None
    inside = function_head(resolver, tree.children[0])
    if inside is None:
        return None
    function, power = inside
    for script in tree.children[1:]:
        if script.kind == "prime" or (script.kind == "sup" and script.children[0].kind == "prime"):
            function = Function(function.name, function.order + 1)
        elif (
            script.kind == "sup"
            and script.children[0].kind == "list"
            and all(c.kind == "prime" for c in script.children[0].children)
        ):
            function = Function(function.name, function.order + len(script.children[0].children))
        elif script.kind == "sup" and power is None:
            power = script.children[0]
        elif script.kind == "sub" and word(script.children[0]) in ("h", "g", "c"):
            continue
        else:
            return None
    return function, power


def bare_power(resolver: Resolver, function: Function, power: Tree | None) -> list[Reading]:
    r"""`\tanh^2` without its argument."""
    if power is None:
        return [Reading(function)]
    exponent = index_expression(power, resolver.scope.letters)
    return [] if exponent is None else raised(resolver.bare([Reading(function)]), exponent)


def raised(readings: Sequence[Reading], exponent: Expr) -> list[Reading]:
    """Values to a power, entry by entry."""
    nodes = ((r, r.value) for r in readings)
    return [Reading(expr.power(n, exponent), r.choices, r.cost) for r, n in nodes if isinstance(n, Node)]


def applied(resolver: Resolver, name: str, order: int, arguments: Sequence[list[Reading]]) -> list[Reading]:
    def make(*values: Value) -> Iterator[Reading]:
        yield from call(resolver.scope, name, order, values)

    return combined(arguments, make)


def call(scope: Scope, name: str, order: int, values: Sequence[Value]) -> Iterator[Reading]:
    if name == "max" and len(values) == 2 and any(isinstance(v, Number) and v.value == 0 for v in values):
        values = [v for v in values if not (isinstance(v, Number) and v.value == 0)] or values
        name = "relu"
    if len(values) != functions.row(name).arity:
        return
    nodes = spread(values)
    if nodes is not None:
        shape = next((n.shape for n in nodes if not expr.is_scalar(n)), expr.SCALAR)
        nodes = [expr.as_node(n, shape) for n in nodes]
        yield Reading(of_output(scope, name, nodes) or expr.apply(name, *nodes, order=order))


def function_call(
    resolver: Resolver, function: Function, power: Tree | None, arguments: Sequence[list[Reading]]
) -> list[Reading]:
    # A bare function inside a call, σ(1 - σ), is more likely a product.
    dearer = [[Reading(r.value, r.choices, r.cost + 8 * ("function" in r.chosen())) for r in a] for a in arguments]
    found = applied(resolver, function.name, function.order, dearer)
    if power is None:
        return found
    exponent = index_expression(power, resolver.scope.letters)
    if power.kind == "list" and power.children[0].kind == "symbol":
        exponent = index_expression(power.children[1], resolver.scope.letters)
    return [] if exponent is None else raised(found, exponent)


def function(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> Taken:
    head = factors[n]
    found = function_head(resolver, head)
    if found is None:
        return None
    function, power = found
    after = beside(signs, factors, n)
    if after is None:
        return None
    if function.name in resolver.scope.functions and not is_group(after):
        return None
    if is_group(after) and not greedy and _speaks_of_functions(resolver, after):
        return None
    if is_group(after):
        group = after.children[0] if after.kind == "script" else after
        call = function_call(resolver, function, power, [_arguments(resolver, c) for c in group.children])
        return (postfix.tail(resolver, call, after.children[1:]) if after.kind == "script" else call), 1
    end = n + 2
    while greedy and end < len(factors) and signs[end - 1] == "" and not function_head(resolver, factors[end]):
        end += 1
    argument = chain_of(signs, factors, n + 1, end)
    return function_call(resolver, function, power, [_arguments(resolver, argument)]), end - n - 1


def _speaks_of_functions(resolver: Resolver, tree: Tree) -> bool:
    """Whether a function stands in it without an argument: σ(1 - σ) is a product."""
    return any("function" in r.chosen() for r in resolver.readings(tree))


def _arguments(resolver: Resolver, tree: Tree) -> list[Reading]:
    return resolver.bare(resolver.readings(tree))


def is_group(tree: Tree) -> bool:
    inside = tree.children[0] if tree.kind == "script" else tree
    return inside.kind == "group" and str(inside.value)[:1] in ("(", "[", "\\")
