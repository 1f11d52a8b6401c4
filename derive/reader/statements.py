"""The statements of a display formula: which of its parts claim something, and which only say where."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import zip_longest

from derive.reader.names import index_expression
from derive.reader.scope import LOSSES
from derive.reader.tree import Tree

NO_CLAIMS = ("words", "empty", "symbol")
OBJECTS = ("name", "number", "script", "group", "accent")
"""What is no claim beside other statements: `h_0`, in `h_t = …, h_0`."""


def claims_of(tree: Tree, text: str, known: Collection[str] = ()) -> Iterator[Tree]:
    """Relations and implications; what only says where they hold is no claim.  `known`: names that are no indices."""
    for statement in hypotheses(list(flat(tree)), text):
        if (
            statement.kind in NO_CLAIMS
            or is_condition(statement, known)
            or any(t.names("forall") for t in statement.walk())
        ):
            continue
        if statement.kind not in OBJECTS or len(tree.children) == 1:
            yield statement


def flat(tree: Tree) -> Iterator[Tree]:
    for child in tree.children:
        if child.kind == "statements":
            yield from flat(child)
        elif child.kind == "cases" and all(
            row.children and row.children[0].kind == "relation" for row in child.children
        ):
            # A brace before several equations, not a case distinction.
            yield from (cell for row in child.children for cell in row.children if cell.kind != "empty")
        elif child.kind == "group" and child.children and all(c.kind == "relation" for c in child.children):
            if len(child.children) > 1 or str(child.value) != "(":
                yield from child.children
        else:
            yield child


def hypotheses(statements: list[Tree], text: str) -> Iterator[Tree]:
    """`a = b, c = d ⇒ e`: relations that only commas part from an implication are its hypotheses too."""
    waiting: list[Tree] = []
    for here, after in zip_longest(statements, statements[1:]):
        between = text[here.span[1] : after.span[0]] if after is not None else "end"
        goes_on = not between.replace("\\ ", "").replace("\\,", "").replace("\\;", "").strip(" ,~}\n")
        if here.kind == "relation" and goes_on and "," in between:
            waiting.append(here)
        elif here.kind == "implication" and waiting and here.children[0].kind == "relation":
            joint = Tree("list", None, (*waiting, here.children[0]), (waiting[0].span[0], here.children[0].span[1]))
            yield Tree("implication", here.value, (joint, *here.children[1:]), (waiting[0].span[0], here.span[1]))
            waiting = []
        else:
            yield from waiting
            waiting = []
            yield here
    yield from waiting


def is_condition(tree: Tree, known: Collection[str] = ()) -> bool:
    """`t = 1`, `k < t`, `t \\ge 2`: says where a claim holds."""
    if tree.kind == "relation":
        return (
            all(index_expression(c) is not None or (c.kind == "symbol") for c in tree.children)
            and tree.children[0].kind in ("name", "number", "sum")
            and not any(t.kind == "name" and (t.value in LOSSES or t.value in known) for t in tree.walk())
        )
    return False
