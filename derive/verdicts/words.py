r"""Statements in words: a table of sentences, each with the computation that settles it.

A sentence is matched without its formulas, which stand as `{0}`, `{1}`, …: `{0} is controlled by the single parameter {1}`.
A sentence that no row knows is *undecided*.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from sympy import Basic

from derive import expr, paths
from derive.clipping import METHODS
from derive.errors import DeriveError
from derive.expr import Equals, Partial, Var, Words
from derive.partials import table
from derive.printing import text
from derive.reader import limits
from derive.reader.claims import Claim
from derive.reader.relations import letters_in
from derive.reader.resolve import Resolver
from derive.reader.tree import Tree
from derive.verdicts import bounds, growth
from derive.verdicts.judge import Judged
from derive.verdicts.ladder import certificate, decided
from derive.verdicts.question import Question
from derive.verdicts.report import Certificate, Diagnosis

if TYPE_CHECKING:
    from derive.verdicts.verify import Reviewed

Check: TypeAlias = "Callable[[Question, re.Match[str], list[Any]], Judged | None]"
UNKNOWN = "a statement in words, which nothing here can check"


def judge(review: Reviewed, claim: Claim) -> Judged:
    """The verdict of the first row that knows the sentence."""
    said, objects = sentence(claim, claim.tree)
    for pattern, check in SENTENCES:
        match = pattern.fullmatch(said)
        found = None if match is None else check(review.question(claim), match, objects)
        if found is not None:
            return replace(found, formula=claim.formula if found.formula is None else found.formula)
    return Judged("undecided", claim.formula, reason=UNKNOWN)


def judge_implication(review: Reviewed, claim: Claim) -> Judged | None:
    """An implication with words on a side; None where there are none, or only formulas have to be checked."""
    formula = claim.formula
    assert isinstance(formula, expr.Implies)
    if isinstance(formula.lhs, Words) and isinstance(formula.rhs, expr.Relation):
        products = [side for side in formula.rhs.args if isinstance(side, expr.Product)]
        return telescopes(review, claim, products[0]) if products and formula.rhs.op == "~" else None
    if not (isinstance(formula.lhs, Words) and isinstance(formula.rhs, Words)):
        return None
    said, objects = sentence(claim, claim.tree)
    for pattern, check in IMPLICATIONS:
        match = pattern.fullmatch(said)
        found = None if match is None else check(review.question(claim), match, objects)
        if found is not None:
            return replace(found, formula=formula)
    return Judged("undecided", formula, reason=UNKNOWN)


def sentence(claim: Claim, tree: Tree) -> tuple[str, list[Any]]:
    """The words of a claim, with a number in braces for each formula in it, and what these are."""
    objects: list[Any] = []
    if claim.scope is None:
        return "", objects
    resolver = Resolver(claim.scope)
    resolver.indices = letters_in(tree, claim.scope)

    def said(part: Tree) -> str:
        if part.kind == "words":
            return str(part.value).translate(BRACES)
        if part.kind == "statements":
            return " ".join(map(said, part.children))
        if part.kind == "implication":
            return " ⇒ ".join(map(said, part.children))
        if part.kind == "relation" and part.value[-1] in ARROWS and part.children[-1].kind == "empty":
            return f"{said(part.children[0])} {ARROWS[part.value[-1]]}"
        objects.append(next((reading.value for reading in resolver.readings(part)), None))
        return f"{{{len(objects) - 1}}}"

    return " ".join(said(tree).split()).strip(QUOTES), objects


BRACES = str.maketrans("{}", "()")
ARROWS = {"up": "↑", "down": "↓"}
QUOTES = "\"'`“”„. "


# --- a parameter that grows or shrinks --------------------------------------------------------------------------------


def _of_parameter(settle: Callable[[Question, Var], Judged]) -> Check:
    def check(question: Question, match: re.Match[str], objects: list[Any]) -> Judged | None:
        parameter = objects[0]
        known = {v.name for v in question.system.parameters}
        return settle(question, parameter) if isinstance(parameter, Var) and parameter.name in known else None

    return check


# --- which parameter multiplies ---------------------------------------------------------------------------------------


def _controlled(question: Question, match: re.Match[str], objects: list[Any]) -> Judged | None:
    """A Jacobian over one step is controlled by the parameters that stand in it outside of an activation's argument."""
    partial, named = objects[:2]
    if not isinstance(partial, Partial) or not isinstance(named, Var):
        return None
    worked_out = growth.jacobian(question, partial)
    if worked_out is None:
        return None
    known = {v.name for v in question.system.parameters}
    factors = [v for v in _outside_activations(worked_out) if v.name in known]
    what = f"{text(partial)} = {text(worked_out)}"
    sure = replace(certificate(decided(question, Equals(partial, worked_out))), note=what)
    if factors == [named]:
        return Judged("holds", readings=("what controls a Jacobian is what multiplies in it",), certificate=sure)
    said = _other_factors(text(named), [text(v) for v in factors], text(partial))
    if len(factors) != 1:
        return Judged("fails", causes=(Diagnosis("unknown", said),), certificate=sure)
    mended = match.string.replace("{0}", text(partial)).replace("{1}", text(factors[0]))
    return Judged("fails", causes=(Diagnosis("symbol", said, repair=Words(mended)),), certificate=sure)


def _other_factors(named: str, factors: list[str], partial: str) -> str:
    others = [f for f in factors if f != named]
    verb = "does" if len(others) == 1 else "do"
    if named in factors:
        return f"{named} is not the only parameter that multiplies in {partial}: {' and '.join(others)} {verb} too"
    return f"{named} is not what multiplies in {partial}: {' and '.join(others) or 'no parameters'} {verb}"


def _outside_activations(root: Basic) -> list[Var]:
    """The names of a formula that stand in no function's argument."""
    found: dict[Var, None] = {}
    pending = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, Var):
            found[node] = None
        elif not isinstance(node, expr.Apply):
            pending += [a for a in node.args if isinstance(a, Basic)]
    return list(found)


# --- clipping ---------------------------------------------------------------------------------------------------------


def _clips(question: Question, match: re.Match[str], objects: list[Any]) -> Judged | None:
    """Each half of the sentence against what clipping does."""
    found = [(how, said in KEEPS) for how, said in zip(match.groups()[::2], match.groups()[1::2], strict=True) if how]
    results = [(how, said, METHODS[how].keeps_direction, METHODS[how].why) for how, said in found]
    if any(kept is None for *_, kept, _ in results):
        return None
    true = all(said == kept for _, said, kept, _ in results)
    notes = "; ".join(f"by {how}: {note}" for how, _, _, note in results)
    return Judged("holds" if true else "fails", certificate=Certificate("proof", note=notes))


KEEPS = ("keeps", "preserves", "does", "does too")


# --- the product of the Jacobians over single steps -------------------------------------------------------------------


def telescopes(review: Reviewed, claim: Claim, product: expr.Product) -> Judged | None:
    """A product of one-step Jacobians of y stands for the Jacobian over all steps: *fails* if paths lead past y.

    None where the product is none of these; *undecided* where it is the Jacobian over all steps.
    """
    body, question = product.args[0], review.question(claim)
    body = body.args[0] if isinstance(body, expr.Transpose) else body
    if not isinstance(body, Partial) or not all(isinstance(v, Var) and len(v.index) == 1 for v in body.args[:2]):
        return None
    (y, x), indices = body.args[:2], question.system.lattice.indices
    if y.name != x.name or y.index[0] - x.index[0] != 1 or y.name not in question.system.equations:
        return None
    y = y.at(indices)
    found = decided(question, bounds.two_steps(y))
    if found.verdict != "fails":
        reason = f"the product is {text(y)}'s Jacobian over all steps; how near it comes to 1 depends on all parameters"
        return Judged("undecided", claim.formula, reason=found.reason or reason)
    return Judged("fails", claim.formula, causes=_past(question, y), certificate=certificate(found))


def _past(question: Question, y: Var) -> tuple[Diagnosis, ...]:
    """The paths over two steps that avoid y in between; named if the line holds with them."""
    place = paths.placing(question.system.lattice)
    try:
        local = table(question.system).without(tuple(question.hold))
        walks = paths.walks(local, paths.Point(y.name, (0,)), paths.Point(y.name, (-2,)), limits.MOST_PATHS)
    except DeriveError:
        return ()
    between = y.at((y.index[0] - 1,))
    lost = [walk for walk in walks if between not in walk.nodes(place)]
    formula = bounds.two_steps(y)
    missing = expr.add(*(walk.partials(place) for walk in lost))
    repair = Equals(formula.lhs, expr.add(formula.rhs, missing))
    if not question.holds(repair):
        return ()
    first, named = text(lost[0].label(place)), tuple(tuple(map(text, walk.nodes(place))) for walk in lost)
    count = f"{len(lost)} paths lead past it, such as" if len(lost) > 1 else "a path leads past it,"
    said = f"{text(y)} is not all that a step hands on, so that its Jacobians don't multiply: {count} {first}"
    return (Diagnosis("missing-path", said, named, missing, repair),)


# --- the table --------------------------------------------------------------------------------------------------------

CLIP = r"clip(?:ping)?[- ]by[- ](norm|value)"
SENTENCES: tuple[tuple[re.Pattern[str], Check], ...] = (
    (re.compile(r".*\{0\} is (?:controlled|governed) by (?:the|a) (?:single|only) parameter \{1\}"), _controlled),
    (
        re.compile(
            rf"{CLIP} (keeps|preserves|changes|does not keep) the direction(?: of the gradient)?"
            rf"(?:,? ?(?:and|but|while)? {CLIP} (does not|doesn't|does too|does))?"
        ),
        _clips,
    ),
)
"""Sentence -> what settles it."""
IMPLICATIONS: tuple[tuple[re.Pattern[str], Check], ...] = (
    (re.compile(r"\{0\} ↑ ⇒ (?:the )?gradients? explodes?"), _of_parameter(growth.explodes)),
    (re.compile(r"\{0\} ↓ ⇒ (?:the )?gradients? vanish(?:es)?"), _of_parameter(growth.vanishes)),
)
