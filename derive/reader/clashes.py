r"""Formulas whose names and signs are all understood, and which no shapes allow: `V (\hat y_t - y_t)` where Vᵀ is meant.

Only what the system or a declaration gives a shape counts: a derivative or a shorthand may stand in another layout.  The
rules here are looser than those that readings are made by, so that a clash is one under every reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, TypeAlias

from derive import expr
from derive.expr import SCALAR, Node, Shape, Var
from derive.reader.chains import grouped, joined
from derive.reader.names import Part, is_transpose
from derive.reader.products import ENTRYWISE
from derive.reader.tree import Span, Tree
from derive.reader.values import Loss, Number, Reading, Unit, Value

if TYPE_CHECKING:
    from derive.reader.resolve import Resolver

Fitted: TypeAlias = "Shape | None"
"""A shape; None is that of a number or of `I`, which fit any."""
DERIVED = (expr.Partial, expr.Pulled, expr.GradientOf)
LONGEST = 12
"""Chains of more factors are not tried in all their bracketings."""


@dataclass(frozen=True)
class Clash:
    """Two shapes that stand where they can't, and the characters that it is about."""

    left: Shape
    right: Shape
    span: Span


def clash_of(resolver: Resolver, left: Tree, right: Tree) -> Clash | None:
    """Why two sides make no equation, if shapes alone keep them from it; None where anything else is not understood."""
    if all([resolver.readings(side) for side in (left, right)]):
        return clash_between(resolver, left, right)
    clashes = [clash for clash in resolver.clashes if clash is not None]
    for (start, end), clash in zip((span for span, _ in resolver.troubles), resolver.clashes, strict=True):
        if clash is None and not any(start <= c.span[0] and c.span[1] <= end for c in clashes):
            return None
    return clashes[0] if clashes else None


def clash_in(resolver: Resolver, tree: Tree) -> Clash | None:
    """The clash that makes a chain or a sum unreadable, its parts being plain; None where anything else may."""
    if tree.kind == "sum":
        return _of_sum([_shapes(resolver, resolver.readings(child)) for child in tree.children], tree.span)
    if tree.kind != "chain" or any(child.kind == "symbol" for child in tree.children):
        return None
    ways = grouped(resolver, *joined(resolver, list(tree.value), list(tree.children)))
    found = [_of_chain(signs, [_shapes(resolver, part) for part in parts], tree.span) for signs, parts in ways]
    return found[0] if found and all(found) else None


def clash_between(resolver: Resolver, left: Tree, right: Tree) -> Clash | None:
    """The clash of two sides that are read, each by itself; `∇_V L` has the shape of V in every layout."""
    sides = [_shapes(resolver, resolver.readings(side), side) for side in (left, right)]
    return _of_sum(sides, (left.span[0], right.span[1]))


def _of_sum(terms: Sequence[set[Fitted] | None], span: Span) -> Clash | None:
    """No two terms fit; one that is not plain leaves it open."""
    known = [term for term in terms if term]
    if len(known) < len(terms):
        return None
    for n, first in enumerate(known):
        for second in known[n + 1 :]:
            if not any(_added(a, b) for a, b in product(first, second)):
                return _clash(first, second, span)
    return None


def _of_chain(signs: Sequence[str], factors: Sequence[set[Fitted] | None], span: Span) -> Clash | None:
    """No bracketing of the factors has a shape."""
    known = [factor for factor in factors if factor]
    if len(known) < len(factors) or not 2 <= len(known) <= LONGEST or _bracketed(signs, known):
        return None
    pairs = zip(signs, pairwise(known), strict=True)
    ends = known[0], known[-1]
    return _clash(*next((pair for sign, pair in pairs if not _bracketed([sign], pair)), ends), span)


def _clash(first: set[Fitted], second: set[Fitted], span: Span) -> Clash:
    left, right = (next((shape for shape in shapes if shape is not None), SCALAR) for shapes in (first, second))
    return Clash(left, right, span)


# --- what has a shape of its own


def _shapes(resolver: Resolver, readings: Iterable[Reading], side: Tree | None = None) -> set[Fitted] | None:
    """The shapes of all readings; None where there is none, or where one of them is not plain."""
    is_gradient = side is not None and _is_nabla(side)
    values = [resolver.losses(r.value) if isinstance(r.value, Loss) else r.value for r in readings]
    if not values or not all(_is_plain(resolver, v) or (is_gradient and _is_gradient(v)) for v in values):
        return None
    return {value.shape if isinstance(value, Node) else None for value in values}


def _is_plain(resolver: Resolver, value: Value) -> bool:
    if isinstance(value, (Number, Unit)):
        return True
    if not isinstance(value, Node) or any(isinstance(n, DERIVED) for n in expr.walk(value)):
        return False
    scope = resolver.scope
    system = scope.system.variables if scope.system is not None else {}
    declared = {m.node for m in scope.names.values() if m.indexed is None}
    declared_names = {node.name for node in declared if isinstance(node, Var)}
    return all(not v.marks and (v.name in system or v.name in declared_names) for v in expr.variables(value))


def _is_gradient(value: Value) -> bool:
    return isinstance(value, Var) and value.marks == ("bar",)


def _is_nabla(tree: Tree) -> bool:
    return any(t.names("nabla") for t in tree.walk()) and not any(t.names("partial", "d") for t in tree.walk())


# --- looser than `products`


def _bracketed(signs: Sequence[str], factors: Sequence[set[Fitted]]) -> set[Fitted]:
    """The shapes that a chain can have, by any bracketing of it."""
    best: dict[tuple[int, int], set[Fitted]] = {(n, n + 1): shapes for n, shapes in enumerate(factors)}
    for length in range(2, len(factors) + 1):
        for start in range(len(factors) - length + 1):
            end = start + length
            best[start, end] = {
                shape
                for cut in range(start + 1, end)
                for a, b in product(best[start, cut], best[cut, end])
                for shape in _multiplied(signs[cut - 1], a, b)
            }
    return best[0, len(factors)]


def _multiplied(sign: str, a: Fitted, b: Fitted) -> Iterator[Fitted]:
    """Every shape that a product of the two can have: of matrices, entry by entry, inner, by a diagonal matrix."""
    if a is None or a == SCALAR:
        yield b
    if b is None or b == SCALAR:
        yield a
    if a is None or b is None:
        return
    if (a == b and (sign or 1 in a)) or (1 in a and a == b[::-1]):
        yield from (a, b, SCALAR)
    if sign in ENTRYWISE:
        if _added(a, b):
            yield from (a, b)
        return
    if sign == "otimes":
        yield (a[0] * a[1], b[0] * b[1])
    if a[1] == b[0]:
        yield (a[0], b[1])
    if a[1] == 1 and a[0] == b[0]:
        yield b
    if (b[1] == 1 or a[0] == 1) and a[1] == b[0]:
        yield a


def _added(a: Fitted, b: Fitted) -> bool:
    """Whether two terms, or two sides, can be of one shape: spread, on a diagonal, a row for a column."""
    if a is None or b is None or SCALAR in (a, b) or a == b or (1 in a and a == b[::-1]):
        return True
    return (a[0] == b[0] and 1 in (a[1], b[1])) or (a[1] == b[1] and 1 in (a[0], b[0]))


# --- one transpose more or less


def transposed(tree: Tree) -> Iterator[Tree]:
    """The tree with one transpose put in, or taken out: of its smallest parts first, of itself last."""
    held = {"chain", "sum", "minus", "group", "frac"}
    if tree.kind in held or (tree.kind == "script" and tree.children[0].kind == "group"):
        parts = tree.children[:1] if tree.kind in ("script", "frac") else tree.children
        for n, child in enumerate(parts):
            for changed in transposed(child):
                children = (*tree.children[:n], changed, *tree.children[n + 1 :])
                yield Tree(tree.kind, tree.value, children, tree.span)
    if tree.kind in ("name", "accent", "script", "group", "chain", "sum"):
        yield _turned(tree)


def _turned(tree: Tree) -> Tree:
    base, *scripts = tree.children if tree.kind == "script" else (tree,)
    rest = [s for s in scripts if not (s.children and is_transpose(Part(s.kind, s.children[0])))]
    if len(rest) < len(scripts):
        return Tree("script", tree.value, (base, *rest), tree.span) if rest else base
    if tree.kind in ("chain", "sum"):
        base = Tree("group", "(", (tree,), tree.span)
    mark = Tree("sup", None, (Tree("name", "top", (), tree.span),), tree.span)
    return Tree("script", None, (base, *scripts, mark), tree.span)
