"""From the neutral tree to expressions: every reading that names and shapes leave.

`Resolver.readings(tree)` looks the kind of the tree up in `RULES`.  What can't be read is remembered where it is
smallest, so that an `Unread` names the place and the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sympy import Rational, Symbol, sympify

from derive import expr
from derive.errors import Place, ShapeError
from derive.expr import Node, Var
from derive.reader import blocks, continued, derivatives, references, scripts
from derive.reader.chains import read_chain
from derive.reader.clashes import Clash, clash_in
from derive.reader.products import add, divide, negated
from derive.reader.scope import Scope
from derive.reader.tree import Span, Tree, Unread
from derive.reader.troubles import reason
from derive.reader.values import Function, Loss, Number, Reading, Value, agree, choice, combined, pruned


class Resolver:
    """Reads the trees of one formula in a scope; each tree once."""

    def __init__(self, scope: Scope, where: Callable[[int], Place] | None = None):
        """`where` is the place of a character of the formula, for messages; `clashes` has a row for each of `troubles`."""
        self.scope, self.where = scope, where
        self.known: dict[int, list[Reading]] = {}
        self.kept: list[Tree] = []
        self.troubles: list[tuple[Span, str]] = []
        self.clashes: list[Clash | None] = []
        self.indices: frozenset[Symbol] = frozenset()
        self.bound: frozenset[str] = frozenset()
        self.dimensions = scope.dimensions

    def readings(self, tree: Tree) -> list[Reading]:
        """Every reading, likely ones first; none, and a trouble noted, where there is none."""
        if id(tree) not in self.known:
            self.kept.append(tree)
            rule = RULES.get(tree.kind)
            found: list[Reading] = []
            before = len(self.troubles)
            try:
                found = self.allowed(rule(self, tree)) if rule else []
            except ShapeError as error:
                self.trouble(tree, str(error), clash_in(self, tree))
            if not found and len(self.troubles) == before:
                clash, message = clash_in(self, tree), reason(self, tree)
                if clash is not None:  # what heads take is nothing by itself, and no trouble
                    del self.troubles[before:], self.clashes[before:]
                self.trouble(tree, message, clash)
            self.known[id(tree)] = found
        return self.known[id(tree)]

    def allowed(self, readings: Iterable[Reading]) -> list[Reading]:
        """Those that agree with what the document's directives pin."""
        return pruned(r for r in readings if agree(r.choices, self.scope.pins) is not None)

    def trouble(self, tree: Tree, message: str, clash: Clash | None = None) -> None:
        self.troubles.append((tree.span, message))
        self.clashes.append(clash)

    def unread(self, tree: Tree) -> Unread:
        span, message = self.troubles[0] if self.troubles else (tree.span, "this is not understood")
        return Unread(message, span)

    def losses(self, value: Value) -> Value:
        return self.scope.loss(value.index) if isinstance(value, Loss) else value

    def bare(self, readings: list[Reading]) -> list[Reading]:
        """Bare functions at a dummy argument."""
        argument = Var("u", (), (), *expr.SCALAR)
        return [
            Reading(expr.apply(r.value.name, argument, order=r.value.order), choice("function", "argument"), r.cost + 1)
            if isinstance(r.value, Function)
            else r
            for r in readings
        ]

    def inside(self, scope: Scope) -> Resolver:
        """One for a part of the formula that knows more names; what it can't read is noted here."""
        inner = Resolver(scope, self.where)
        inner.troubles, inner.clashes = self.troubles, self.clashes
        inner.indices, inner.bound = self.indices, self.bound
        return inner

    def binding(self, indices: Iterable[Symbol]) -> Resolver:
        """One to which these letters are indices in scripts, whatever the scope calls by them."""
        hidden = {str(index) for index in indices}
        if not hidden & set(self.scope.names):
            return self
        inner = self.inside(self.scope)
        inner.bound = self.bound | hidden
        return inner


def _number(resolver: Resolver, tree: Tree) -> list[Reading]:
    return [Reading(Number(Rational(tree.value)))]


def _minus(resolver: Resolver, tree: Tree) -> list[Reading]:
    inside = resolver.bare(resolver.readings(tree.children[0]))
    made = ((negated(resolver.losses(r.value)), r) for r in inside)
    return [Reading(value, r.choices, r.cost) for value, r in made if value is not None]


def _sum(resolver: Resolver, tree: Tree) -> list[Reading]:
    if any(continued.is_dots(child) for child in tree.children):
        return continued.sum_(resolver, tree)
    parts = [resolver.bare(resolver.readings(child)) for child in tree.children]
    if any(not p for p in parts):
        return []
    return combined(parts, lambda *values: list(add([resolver.losses(v) for v in values])))


def _chain(resolver: Resolver, tree: Tree) -> list[Reading]:
    return read_chain(resolver, list(tree.value), list(tree.children))


def _frac(resolver: Resolver, tree: Tree) -> list[Reading]:
    over, under = tree.children
    found = derivatives.quotient(resolver, over, under)
    if found is not None:
        return found
    parts = [resolver.bare(resolver.readings(over)), resolver.bare(resolver.readings(under))]
    return combined(parts, lambda a, b: list(divide(resolver.losses(a), resolver.losses(b))))


def _sqrt(resolver: Resolver, tree: Tree) -> list[Reading]:
    found = []
    for reading in resolver.readings(tree.children[0]):
        if isinstance(reading.value, Number):
            found.append(Reading(Number(sympify(reading.value.value) ** Rational(1, 2)), reading.choices, reading.cost))
        elif isinstance(reading.value, Node):
            found.append(Reading(expr.apply("sqrt", reading.value), reading.choices, reading.cost))
    return found


def _brace(resolver: Resolver, tree: Tree) -> list[Reading]:
    return resolver.readings(tree.children[0])


def _over(resolver: Resolver, tree: Tree) -> list[Reading]:
    return references.reference(resolver, tree) or resolver.readings(tree.children[0])


def _whole_statement(resolver: Resolver, tree: Tree) -> list[Reading]:
    return resolver.readings(tree.children[0]) if len(tree.children) == 1 else []


RULES: dict[str, Callable[[Resolver, Tree], list[Reading]]] = {
    "number": _number,
    "name": references.name,
    "accent": references.accent,
    "script": scripts.script,
    "minus": _minus,
    "sum": _sum,
    "chain": _chain,
    "frac": _frac,
    "sqrt": _sqrt,
    "brace": _brace,
    "over": _over,
    "group": blocks.group,
    "matrix": blocks.matrix,
    "cases": blocks.cases,
    "statements": _whole_statement,
}
