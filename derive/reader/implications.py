r"""The sides of an implication: relations, several of them, or words, `\text{tune } W \Rightarrow J = I`."""

from __future__ import annotations

from itertools import pairwise

from sympy import Tuple

from derive import expr
from derive.reader.document import Display
from derive.reader.relations import Trouble, Understood, relate, trouble
from derive.reader.resolve import Resolver
from derive.reader.statements import OBJECTS
from derive.reader.tree import Tree


def side_of(
    resolver: Resolver, tree: Tree, display: Display, premise: bool = False
) -> tuple[Understood | None, Trouble | None]:
    """What stands on one side of an implication: words, a relation, or several."""
    if tree.kind == "words":
        return Understood(expr.Words(str(tree.value).strip())), None
    if tree.kind == "relation" and tree.children[-1].kind == "empty":
        arrow = "↑" if tree.value[-1] == "up" else "↓"
        return Understood(expr.Words(f"{display.excerpt(tree.children[0].span)} {arrow}")), None
    if premise and tree.kind in OBJECTS:
        return Understood(expr.Words(display.excerpt(tree.span))), None
    if tree.kind == "list" and all(child.kind in (*OBJECTS, "words") for child in tree.children):
        said = (str(c.value).strip() if c.kind == "words" else display.excerpt(c.span) for c in tree.children)
        return Understood(expr.Words(", ".join(said).replace(",", "", 1))), None
    if tree.kind == "list":
        parts = [side_of(resolver, child, display) for child in tree.children]
        formulas = [part.formula for part, _ in parts if part is not None]
        if len(formulas) < len(parts):
            return next((None, unread) for part, unread in parts if part is None)
        return Understood(Tuple(*formulas)), None
    if tree.kind != "relation":
        return None, trouble(resolver, tree)
    made: list[Understood] = []
    for sign, (left, right) in zip(tree.value, pairwise(tree.children), strict=True):
        found, unread = relate(resolver, sign, left, right, tree)
        if unread is not None:
            return None, unread
        made.append(found[0])
    formulas = [understood.formula for understood in made]
    return made[0] if len(made) == 1 else Understood(Tuple(*formulas), (), sum(u.cost for u in made)), None
