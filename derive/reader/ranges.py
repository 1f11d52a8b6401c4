r"""The range of a sum or a product: `\sum_{t=1}^{T}`, `\sum_t`, `\prod_{t \ge m > k}`, `\sum_{i,j}`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sympy import Expr, Integer, Symbol

from derive.reader.names import index_expression
from derive.reader.scope import Scope
from derive.reader.tree import Tree
from derive.shapes import dimension


@dataclass(frozen=True)
class Range:
    """`index` from `lo` to `hi`; an end that is not written is None.  `reversed_`: written from the last to the first."""

    index: Symbol
    lo: Expr | None = None
    hi: Expr | None = None
    reversed_: bool = False


def written(head: Tree, scope: Scope, ordered: bool) -> list[Range] | None:
    r"""The ranges at a `\sum` or `\prod`; None where they are not understood.

    `ordered`: of a product, whose ends may stand in the order of its factors.
    """
    if head.kind != "script":
        return []
    sub = next((s.children[0] for s in head.children[1:] if s.kind == "sub"), None)
    sup = next((s.children[0] for s in head.children[1:] if s.kind == "sup"), None)
    hi = _end(sup, scope) if sup is not None else None
    if sub is None or (sup is not None and hi is None):
        return None
    parts = sub.children if sub.kind == "list" else (sub,)
    if sub.kind == "chain" and set(sub.value) <= {""}:
        parts = sub.children
    found: list[Range] = []
    for part in parts:
        one = _one(part, hi, scope, ordered)
        if one is None:
            return None
        found.append(one)
    return found


def _end(tree: Tree, scope: Scope) -> Expr | None:
    """An index, or the size that a letter is: `n` of `\\sum_{i=1}^{n}`."""
    index = index_expression(tree, scope.letters)
    if index is None:
        return None
    sizes = {s: dimension(s.name) for s in index.free_symbols if s.name in scope.dimensions}
    return index.xreplace(sizes)


def _one(tree: Tree, hi: Expr | None, scope: Scope, ordered: bool) -> Range | None:
    if tree.kind == "relation":
        return _related(tree.value, tree.children, hi, scope, ordered)
    index = index_expression(tree, scope.letters)
    return Range(index, None, hi) if index is not None and index.is_Symbol else None


def _related(signs: Sequence[str], sides: Sequence[Tree], hi: Expr | None, scope: Scope, ordered: bool) -> Range | None:
    ends = [_end(side, scope) for side in sides]
    if any(e is None for e in ends):
        return None
    if tuple(signs) == ("=",):
        index, lo = index_expression(sides[0], scope.letters), ends[1]
        if not index.is_Symbol:  # type: ignore[union-attr]
            return None
        backwards = ordered and hi is not None and _backwards(lo, hi, scope)
        return Range(index, hi, lo, True) if backwards else Range(index, lo, hi)
    if len(ends) == 2 and ends[0].is_Symbol:  # type: ignore[union-attr]
        sign, index, end = signs[0], index_expression(sides[0], scope.letters), ends[1]
        strict = Integer(1) if sign in ("<", ">") else Integer(0)
        if sign in ("<", "<="):
            return Range(index, None, end - strict)
        if sign in (">", ">="):
            return Range(index, end + strict, hi)
        return None
    if len(ends) != 3:
        return None
    left, index, right = ends[0], index_expression(sides[1], scope.letters), ends[2]
    if not index.is_Symbol:  # type: ignore[union-attr]
        return None
    steps = [Integer(1) if s in ("<", ">") else Integer(0) for s in signs]
    if all(s in ("<", "<=") for s in signs):
        return Range(index, left + steps[0], right - steps[1])
    if all(s in (">", ">=") for s in signs):
        return Range(index, right + steps[1], left - steps[0], True)
    return None


def _backwards(lo: Expr, hi: Expr, scope: Scope) -> bool:
    """`m = t … k+1` and `j = k-1 … t` go downwards, `m = t+1 … s` and `j = t … k-1` upwards: the numbers say so."""
    if lo.free_symbols and hi.free_symbols:
        first, last = lo.as_coeff_Add()[0], hi.as_coeff_Add()[0]
        if first != last:
            return bool(first < last)
    return _rank(lo, scope) > _rank(hi, scope)


def _rank(end: Expr | None, scope: Scope) -> tuple[int, int]:
    """How late an index is: the first step, other letters, a number, the lattice's own letter, its length.

    Where T is unrolled a number is a length: `m = 3 … t+1` goes downwards there, and `i = 2 … t` upwards elsewhere.
    """
    assert end is not None
    free = end.free_symbols
    kind = 4 if free & set(scope.lengths) else 3 if free & set(scope.lattice) else 1 if free else 0
    if not free and end > 1:
        kind = 4 if scope.own or scope.unrolled else 2
    constant = int(end.subs(dict.fromkeys(free, 0))) if end.is_polynomial() else 0
    return kind, constant


def wait_for(index: Symbol, scope: Scope) -> tuple[Expr, Expr] | None:
    """Where an index runs when nothing is said: along its axis of the lattice."""
    for letter, length in zip(scope.lattice, scope.lengths, strict=True):
        if letter == index:
            return Integer(1), length
    if len(scope.lattice) == 1:
        return Integer(1), scope.lengths[0]
    return None
