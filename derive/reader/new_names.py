"""Names that a formula brings in by itself: what is new on its left side, the argument of a function's identity."""

from __future__ import annotations

from dataclasses import replace

from derive.reader.calls import function_head
from derive.reader.chains import joined, joined_name
from derive.reader.names import Part, Spelling, decomposed, spellings, word
from derive.reader.resolve import Resolver
from derive.reader.scope import Scope
from derive.reader.tree import Tree
from derive.reader.values import Loss

UNLIKELY = 4
"""A reading of a left side that costs so much is less likely than a new name."""
NO_NAMES = ("partial", "nabla", "sum", "prod")


def new_name(scope: Scope, left: Tree) -> Spelling | None:
    """The name that is new on a left side, as it is typed; None where the side is known, or is no name."""
    spelled = _together(scope, left) if left.kind == "chain" else decomposed(left)
    if spelled is None:
        return None
    base, parts = spelled
    if left.kind != "chain":
        known = [r for r in Resolver(replace(scope, later={})).readings(left) if r.cost < UNLIKELY]
        if any(not isinstance(r.value, Loss) for r in known) or (known and base == "L"):
            return None
    if scope.function(base) is not None or base in NO_NAMES:
        return None
    return next((s for s in spellings(base, parts, scope.letters) if _is_new(scope, s)), None)


def _together(scope: Scope, tree: Tree) -> tuple[str, tuple[Part, ...]] | None:
    """Letters that spell a new name together, `dh_{next}`: known by a script that is a word."""
    resolver = Resolver(scope)
    letters = list(tree.children)
    _, factors = joined(resolver, list(tree.value), letters)
    if set(tree.value) != {""} or len(factors) == 1 or any(f.kind != "name" for f in letters[:-1]):
        return None
    spelled = decomposed(joined_name(letters))
    if spelled is None or resolver.readings(tree):
        return None
    is_word = any(p.tree.kind == "chain" or len(word(p.tree)) > 1 for p in spelled[1])
    return spelled if is_word else None


def _is_new(scope: Scope, spelling: Spelling) -> bool:
    if spelling.after or spelling.name in scope.names or len(spelling.index) not in (0, len(scope.lattice)):
        return False
    if any(place == "sup" and i in scope.lengths for place, i in zip(spelling.places, spelling.index, strict=True)):
        return False  # J_t^T is a transpose
    return all(i.free_symbols & set(scope.lattice) for i in spelling.index)


def dummy(scope: Scope, left: Tree) -> str | None:
    """The argument of `f(z) = …` where nothing else is called z: the identity is about any number."""
    if left.kind != "chain" or len(left.children) != 2 or function_head(Resolver(scope), left.children[0]) is None:
        return None
    after = left.children[1]
    inside = after.children[0] if after.kind == "group" and len(after.children) == 1 else after
    return word(inside) if inside.kind == "name" and scope.lookup(word(inside)) is None else None
