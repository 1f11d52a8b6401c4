"""The statements of a display formula: which of its parts claim something, and which only say where."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import pairwise, zip_longest
from typing import TypeAlias

from sympy import Basic

from derive.expr import Relation, Words
from derive.reader.names import index_expression
from derive.reader.scope import LOSSES
from derive.reader.tokens import spaced
from derive.reader.tree import Span, Tree

NO_CLAIMS = ("words", "empty", "symbol")
OBJECTS = ("name", "number", "script", "group", "accent")
"""What is no claim beside other statements: `h_0`, in `h_t = …, h_0`."""


def claims_of(tree: Tree, text: str, known: Collection[str] = ()) -> Iterator[Tree]:
    """Relations and implications; what only says where they hold is no claim.  `known`: names that are no indices."""
    for statement, opener in _opened(hypotheses(list(flat(tree)), text)):
        if opener is not None and statement.kind == "relation":
            continue
        if statement.kind in NO_CLAIMS or is_condition(statement, known) or is_label(statement, known):
            continue
        if any(t.names("forall") for t in statement.walk()):
            continue
        if statement.kind not in OBJECTS or len(tree.children) == 1:
            yield statement


CONNECTIVES = frozenset(
    spaced(
        "a also an again all and as because but by e.g. for get gives have hence here i.e. if in is let next now of or since "
        "so such that the then therefore thus too we when where which while with"
    )
)
"""Words between formulas that add nothing to them."""


CONDITIONAL = frozenset(spaced("if when whenever unless provided assuming given suppose until for let"))
"""Words that make a condition of what follows them."""
NEGATIVE = frozenset(spaced("not unless wrong false incorrect never isn't doesn't don't cannot untrue except"))


Supposed: TypeAlias = "Callable[[Tree], Sequence[Basic]]"
"""What a relation that stands as a condition says, `h_0 = 0`; nothing where it is not read."""


def conditions_of(
    tree: Tree, excerpt: Callable[[Span], str], known: Collection[str] = (), supposed: Supposed = lambda tree: ()
) -> list[Basic]:
    """What a display says of where its claims hold: `t = 20`, `k < t`, `z_t = 1`, and in words, `T even`."""
    if any(s.kind == "words" and _words(s) == ["or"] for s in flat(tree)):
        found = list(_conditions(tree, excerpt, known, lambda tree: ()))
        return [Words(" or ".join(map(str, found)))] if len(found) > 1 else found
    return list(_conditions(tree, excerpt, known, supposed))


def _conditions(
    tree: Tree, excerpt: Callable[[Span], str], known: Collection[str], supposed: Supposed
) -> Iterator[Basic]:
    statements = list(flat(tree))
    for n, (statement, opener) in enumerate(_opened(statements)):
        before = statements[n - 1] if n else None
        after = statements[n + 1] if n + 1 < len(statements) else None
        inside, inner = _unbracketed(statement)
        opener = inside or opener
        limits = opener is not None and _limits(opener)
        as_condition = inner.kind == "relation" and (opener is not None or inner is not statement)
        if as_condition and (limits or not is_condition(inner, known)):
            said = _words(opener)[-2:] if opener is not None else []
            read = () if limits else supposed(inner)
            yield from read or [Words(" ".join([*said, excerpt(inner.span)]))]
        elif is_condition(inner, known):
            if after is not None and after.kind == "symbol" and after.value == "dots" and inner.value == ("=",):
                yield from _from_to(inner, statements[n + 2 : n + 3])
                continue
            ends = [index_expression(side) for side in inner.children]
            if any(end is None for end in ends):
                yield Words(excerpt(statement.span))
            pairs = zip(inner.value, pairwise(ends), strict=True)
            yield from (Relation(sign, a, b) for sign, (a, b) in pairs if a is not None and b is not None)
        elif any(t.names("forall") for t in statement.walk()) or _is_remark(statement):
            yield Words(excerpt(statement.span))
        elif statement.kind == "words" and not (is_conditional(statement) or set(_words(statement)) <= CONNECTIVES):
            of_what = [excerpt(before.span)] if before is not None and before.kind in OBJECTS else []
            own = str(statement.value).split()
            of = [excerpt(after.span)] if own[:1] == ["for"] and after is not None and after.kind in OBJECTS else []
            yield Words(" ".join([*of_what, *own, *of]))


def _from_to(first: Tree, last: Sequence[Tree]) -> Iterator[Basic]:
    """`t = 1, …, T`."""
    index, lo = map(index_expression, first.children)
    hi = index_expression(last[0]) if last else None
    if index is not None and lo is not None:
        yield Relation("<=", lo, index)
    if index is not None and hi is not None:
        yield Relation("<=", index, hi)


def _is_list_of_relations(tree: Tree) -> bool:
    """`(a = b, c = d)`, and one relation in braces; one in round brackets is a condition, `(t < T)`."""
    if tree.kind != "group" or not tree.children or not all(c.kind == "relation" for c in tree.children):
        return False
    return len(tree.children) > 1 or str(tree.value) != "("


def _unbracketed(tree: Tree) -> tuple[Tree | None, Tree]:
    r"""`(t < T)`, `(\text{if } i_t = 0)`: the relation, and the words before it."""
    if tree.kind == "group" and tree.children and tree.children[-1].kind == "relation":
        *words, inner = tree.children
        if not words:
            return None, inner
        if len(words) == 1 and is_conditional(words[0]):
            return words[0], inner
    return None, tree


def _is_remark(tree: Tree) -> bool:
    r"""`(\text{if } i_t = 0)`."""
    return tree.kind == "group" and any(child.kind == "words" for child in tree.children)


def is_conditional(tree: Tree) -> bool:
    """Whether words end so that what follows them is a condition."""
    return tree.kind == "words" and bool(_words(tree)) and _words(tree)[-1] in CONDITIONAL


def _opened(statements: Iterable[Tree]) -> Iterator[tuple[Tree, Tree | None]]:
    """Each statement with the words that make it a condition: `if f_t = 1 and i_t = 0, then …` has two."""
    opener: Tree | None = None
    for statement in statements:
        yield statement, opener if statement.kind != "words" else None
        if statement.kind == "words":
            goes_on = opener is not None and set(_words(statement)) <= {"and", "or"}
            opener = statement if is_conditional(statement) else opener if goes_on else None
        elif statement.kind != "relation":
            opener = None


def _limits(tree: Tree) -> bool:
    """Whether a conditional says more, or other, than that something holds: `unless`, `only if`."""
    return bool({*NEGATIVE, "only"} & set(_words(tree)))


def denied(tree: Tree) -> str | None:
    """Words in a display that may say the opposite of its formulas: `it is not true that`."""
    for statement in flat(tree):
        if statement.kind == "words" and set(_words(statement)) & NEGATIVE and not is_conditional(statement):
            return " ".join(str(statement.value).split())
    return None


def speaks(tree: Tree) -> bool:
    """Whether a display is a statement in words, with or without formulas in it, and no formula of its own."""
    kinds = {statement.kind for statement in flat(tree)}
    return "words" in kinds and not kinds & {"relation", "implication"}


def said(tree: Tree, excerpt: Callable[[Span], str]) -> str:
    """A statement in words as it stands."""
    parts = (str(s.value) if s.kind == "words" else f" {excerpt(s.span)} " for s in flat(tree))
    return " ".join("".join(parts).split())


def _words(tree: Tree) -> list[str]:
    return [word.strip(",.:;()") for word in str(tree.value).lower().split()]


def flat(tree: Tree) -> Iterator[Tree]:
    for child in tree.children:
        if child.kind == "statements":
            yield from flat(child)
        elif child.kind == "cases" and all(
            row.children and row.children[0].kind == "relation" for row in child.children
        ):
            # A brace before several equations, not a case distinction.
            yield from (cell for row in child.children for cell in row.children if cell.kind != "empty")
        elif _is_list_of_relations(child):
            yield from child.children
        else:
            yield child


def hypotheses(statements: list[Tree], text: str) -> Iterator[Tree]:
    """`a = b, c = d ⇒ e`: what only commas part from an implication is its hypothesis too, of the same kind."""
    waiting: list[Tree] = []
    for here, after in zip_longest(statements, statements[1:]):
        between = text[here.span[1] : after.span[0]] if after is not None else "end"
        goes_on = not between.replace("\\ ", "").replace("\\,", "").replace("\\;", "").strip(" ,~}\n")
        if waiting and here.kind == "implication" and _sort(here.children[0]) == _sort(waiting[0]):
            joint = Tree("list", None, (*waiting, here.children[0]), (waiting[0].span[0], here.children[0].span[1]))
            yield Tree("implication", here.value, (joint, *here.children[1:]), (waiting[0].span[0], here.span[1]))
            waiting = []
            continue
        if waiting and _sort(here) != _sort(waiting[0]):
            yield from waiting
            waiting = []
        if goes_on and ((here.kind == "relation" and "," in between) or _sort(here) == "said"):
            waiting.append(here)
        else:
            yield from (*waiting, here)
            waiting = []
    yield from waiting


def _sort(tree: Tree) -> str:
    return "said" if tree.kind in (*OBJECTS, "words") else tree.kind


def is_label(tree: Tree, known: Collection[str] = ()) -> bool:
    r"""`t_3 \\to t_1`: from which step to which, by a letter that is no name."""
    return (
        tree.kind == "relation"
        and set(tree.value) == {"->"}
        and all(side.kind == "script" and side.children[0].names("t") and "t" not in known for side in tree.children)
    )


def is_condition(tree: Tree, known: Collection[str] = ()) -> bool:
    """`t = 1`, `k < t`, `t \\ge 2`: says where a claim holds."""
    if tree.kind != "relation" or any(
        t.kind == "name" and (t.value in LOSSES or t.value in known) for t in tree.walk()
    ):
        return False
    if tree.value == ("in",):
        index = index_expression(tree.children[0])
        return index is not None and index.is_Symbol
    ends = [index_expression(c) for c in tree.children]
    if all(end is not None and end.is_number for end in ends):
        return False  # `2 + 3 = 5` says nothing of where
    known_ends = all(end is not None or c.kind == "symbol" for end, c in zip(ends, tree.children, strict=True))
    return known_ends and tree.children[0].kind in ("name", "number", "sum")
