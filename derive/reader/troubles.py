"""Why a tree has no reading: the name that nothing defines, the two shapes that do not fit and where they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from sympy import Symbol

from derive.errors import ShapeError, did_you_mean
from derive.expr import Node, show_shape
from derive.reader.names import Part, Spelling, decomposed, spellings
from derive.reader.products import add, multiply
from derive.reader.tree import Tree
from derive.reader.values import Cube, Reading

if TYPE_CHECKING:
    from derive.reader.resolve import Resolver


def reason(resolver: Resolver, tree: Tree) -> str:
    if tree.kind in ("name", "script", "accent"):
        spelled = decomposed(tree)
        if spelled is not None:
            return undefined(resolver, *spelled)
    if tree.kind in ("sum", "chain"):
        return clash(resolver, tree)
    if tree.kind == "symbol" and tree.value == "dots":
        return "the terms before and after these dots do not fix a pattern"
    if tree.kind == "words":
        return f"the words '{str(tree.value).strip()[:40]}' are no part of a formula"
    if tree.kind == "empty":
        return "a side of this relation is missing"
    return f"this {tree.kind} is not understood here"


UNKNOWN_TO_DERIVE = frozenset(["diag", "Diag", "nabla", "partial", "lim", "det", "tr", "sup", "inf", "max", "min", "argmax",
    "argmin", "O", "Pr", "mathcal_O", "rank", "vec", "int", "oint", "infty", "dim", "ker", "arg", "Re", "Im"])  # fmt: skip
"""Bases that no document declares: what they mean is not derived here, or they lack what belongs to them."""


def undefined(resolver: Resolver, base: str, parts: Sequence[Part]) -> str:
    scope = resolver.scope
    spelled = list(spellings(base, parts, scope.letters))
    shortest = min((s.name for s in spelled), key=len, default=base)
    if shortest in scope.names:
        meaning = scope.names[shortest]
        at = f"at {len(scope.lattice)} index" if meaning.indexed else "without an index"
        return f"{shortest} is known {at} as {show_shape(meaning.shape)}; these scripts do not fit it"
    if base in UNKNOWN_TO_DERIVE:
        return f"what {base} stands for here is not understood"
    # What carries time is its index, all else a part of the name.
    at_time = [s for s in spelled if len(s.index) == len(scope.lattice) and _at(s, scope.lattice)]
    likely = max((s.name for s in at_time or spelled), key=len, default=base)
    near = did_you_mean(likely, scope.names)
    shape = "n x m" if base[:1].isupper() else "n"
    return f"{likely} is not defined{near}; define it, or declare it: 'declare {likely}: {shape}'"


def _at(spelling: Spelling, lattice: Sequence[Symbol]) -> bool:
    return all(index.free_symbols & set(lattice) for index in spelling.index)


def clash(resolver: Resolver, tree: Tree) -> str:
    """The two neighbours whose shapes do not fit, and where they stand."""
    shown = [(child, resolver.readings(child)) for child in tree.children if child.kind != "symbol"]
    values = [(child, found[0].value) for child, found in shown if found]
    nodes = [(child, value) for child, value in values if isinstance(value, (Node, Cube))]
    for (left, a), (right, b) in pairwise(nodes):
        if isinstance(a, Node) and isinstance(b, Node):
            fits = any(True for sign in ("", "odot") for _ in _tried(multiply, sign, a, b))
            if tree.kind == "sum":
                fits = any(True for _ in add([a, b]))
            if not fits or (tree.kind == "chain" and "odot" in tree.value and a.shape != b.shape):
                return clash_message(resolver, tree, left, right, a, b)
    if len(nodes) >= 2 and isinstance(nodes[0][1], Node) and isinstance(nodes[-1][1], Node):
        return clash_message(resolver, tree, nodes[0][0], nodes[-1][0], nodes[0][1], nodes[-1][1])
    return "these factors do not go together" if tree.kind == "chain" else "these terms do not go together"


def columns(resolver: Resolver, left: Tree, right: Tree) -> str:
    """Where two trees stand: the columns of their line in the file, or of the formula where it has no file."""
    if resolver.where is None:
        return f"(columns {left.span[0] + 1} and {right.span[0] + 1} of the formula)"
    first, second = resolver.where(left.span[0]), resolver.where(right.span[0])
    if first.line == second.line:
        return f"(columns {first.column} and {second.column})"
    return f"({first.line}:{first.column} and {second.line}:{second.column})"


def clash_message(resolver: Resolver, tree: Tree, left: Tree, right: Tree, a: Node, b: Node) -> str:
    shapes = f"{show_shape(a.shape)} and {show_shape(b.shape)} {columns(resolver, left, right)}"
    if tree.kind == "sum":
        return f"a sum needs equal shapes, found {shapes}"
    if "odot" in tree.value and a.shape != b.shape:
        hint = "; did you mean a matrix product?" if a.shape[1] == b.shape[0] else ""
        return f"a Hadamard product needs equal shapes, found {shapes}{hint}"
    hint = "; did you mean a transpose?" if a.shape[0] == b.shape[0] or a.shape[1] == b.shape[1] else ""
    return f"a matrix product needs inner dimensions that agree, found {shapes}{hint}"


def _tried(make: Callable[..., Iterable[Reading]], *arguments: object) -> list[Reading]:
    try:
        return list(make(*arguments))
    except ShapeError:
        return []
