"""What derive itself prints, read back: the scope and the choices that a notation pins.

The reader must take every formula that the printer writes for the formula that it was: a property that the tests hold
over every line of every derivation.
"""

from __future__ import annotations

from dataclasses import replace

from sympy import Basic

from derive.expr import Node, Path, Var, variables
from derive.notation import Notation
from derive.reader.parse import parse
from derive.reader.relations import Understood, letters_in, relate
from derive.reader.resolve import Resolver
from derive.reader.scope import Meaning, Scope
from derive.reader.tree import Tree, Unread
from derive.system import System


def scope_of(system: System, notation: Notation) -> Scope:
    """The names of the system, the factors that the notation names, the choices that it makes."""
    scope = Scope.of(system)
    layout = frozenset([notation.layout or "mixed"])
    pins = (("layout", layout), ("order", frozenset(["ascending"])))
    factors = {
        name: Meaning(node, any(v.index for v in variables(node)))
        for name, node in notation.factors
        if isinstance(node, Node)
    }
    losses = scope.losses | {notation.loss}
    cotangents = {n: Meaning(v.var, True) for n, v in system.variables.items() if v.kind == "cotangent"}
    named = scope.with_names({**factors, **cotangents})
    return replace(named, own=True, pins=pins, losses=losses)


def read_back(written: str, scope: Scope) -> list[Understood]:
    """The readings of one printed formula.  Raises `Unread`."""
    tree = parse(written)
    statements = [s for s in tree.children if s.kind != "empty"]
    if len(statements) != 1:
        raise Unread(f"one formula is printed, {len(statements)} are read", tree.span)
    (statement,) = statements
    if statement.kind != "relation":
        found = Resolver(scope)
        readings = found.readings(statement)
        if not readings:
            raise found.unread(statement)
        return [Understood(r.value, r.choices, r.cost) for r in readings if isinstance(r.value, Basic)]
    if set(statement.value) == {"->"}:
        return [Understood(Path(*(_variable(c, scope) for c in statement.children)))]
    resolver = Resolver(scope)
    resolver.indices = letters_in(statement, scope)
    left, right = statement.children[:2]
    readings_, unread = relate(resolver, statement.value[0], left, right, statement)
    if unread is not None:
        raise Unread(*unread)
    return readings_


def _variable(tree: Tree, scope: Scope) -> Var:
    resolver = Resolver(scope)
    for reading in resolver.readings(tree):
        if isinstance(reading.value, Var):
            return reading.value
    raise resolver.unread(tree)
