"""Claims with another sign than `=`: ranges, inequalities, shapes.

    in       the exact range of a function against an interval; the shape of a name against a space
    < ≤ > ≥  the range of the difference, where it is a function of one number; a proof of a bound of norms
             (`derive.verdicts.bounds`); else a search for a counterexample, which balls certify
    ≠        certified by balls somewhere
    ≈        a product of one-step Jacobians stands for the Jacobian over all steps (`derive.verdicts.words`)

What is neither proved nor refuted is *undecided*, with the number of samples: never *holds*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import sympy
from sympy import Tuple

from derive import expr
from derive.errors import DeriveError
from derive.expr import Equals, Node
from derive.oracles import ROADS
from derive.printing import text
from derive.ranges import Range, as_function, over_interval, range_of, range_of_expression, range_of_function
from derive.reader.claims import Claim
from derive.verdicts import bounds, words
from derive.verdicts.assumptions import notes
from derive.verdicts.judge import Judged
from derive.verdicts.ladder import certificate, decided
from derive.verdicts.question import Question
from derive.verdicts.report import Certificate
from derive.verdicts.unknowns import SUPPOSED, is_hypothesis, unexplained

if TYPE_CHECKING:
    from derive.verdicts.verify import Reviewed

SEARCHES = 4
"""So many random draws of everything are searched for a counterexample, each at every point of small lattices."""


def judge(review: Reviewed, claim: Claim) -> Judged:
    """The first reading that is settled; *fails* only if none holds."""
    found, question = [], review.question(claim)
    for understood in claim.readings:
        if isinstance(understood.formula, expr.Relation):
            judged = settle(review, claim, question, understood.formula)
            readings, slips = notes(understood, claim)
            verdict = "holds-if" if judged.verdict == "holds" and slips else judged.verdict
            found.append(replace(judged, verdict=verdict, understood=understood, readings=readings, assumptions=slips))
    order = ("holds", "holds-if", "undecided", "fails")
    none = Judged("undecided", claim.formula, reason="no reading of this is a relation between values")
    return min(found, key=lambda j: order.index(j.verdict), default=none)


def settle(review: Reviewed, claim: Claim, question: Question, relation: expr.Relation) -> Judged:
    """The verdict on one relation."""
    if relation.op not in SETTLED:
        return Judged("undecided", relation, reason=f"nothing settles a claim with the sign {relation.op}")
    found = SETTLED[relation.op](review, claim, question, relation)
    if found.verdict != "fails" or relation.op not in IN_ORDER:
        return found
    undefined = unexplained(question, relation)
    if is_hypothesis(question, relation):
        return Judged("undecided", relation, reason=SUPPOSED)
    if undefined and set(undefined) != {v.name for v in expr.variables(relation)}:
        return Judged("undecided", relation, reason=f"nothing says what {' and '.join(undefined)} stands for")
    return found


def _member(review: Reviewed, claim: Claim, question: Question, relation: expr.Relation) -> Judged:
    node, where = relation.lhs, relation.rhs
    if isinstance(where, Tuple):
        right = tuple(node.shape) == tuple(where)
        shapes = f"{text(node)} is {expr.show_shape(node.shape)}"
        return Judged("holds" if right else "fails", relation, certificate=Certificate("shape", note=shapes))
    found = entries(question, node)
    if found is None or not isinstance(where, sympy.Interval):
        return Judged("undecided", relation, reason=f"the range of {text(node)} is not worked out")
    inside = sympy.Interval(found.low, found.high, not found.low_taken, not found.high_taken).is_subset(where)
    return _by_range("holds" if inside else "fails", relation, node, found)


def _by_range(verdict: str, relation: expr.Relation, node: Node, found: Range) -> Judged:
    return Judged(verdict, relation, certificate=Certificate("range", note=f"the range of {text(node)} is {found}"))


def entries(question: Question, node: Node) -> Range | None:
    """The range of the entries of a node that is, entry by entry, a function of one name."""
    names = expr.variables(node)
    if len(names) != 1:
        return None
    state = question.system.equations.get(names[0].name)
    if state is None:
        if expr.is_scalar(names[0]):
            return range_of(node)
        value = as_function(node, names[0])
        return None if value is None else range_of_expression(value)
    if not isinstance(state.rhs, expr.Apply) or len(state.rhs.arguments) != 1:
        return None
    domain, value = range_of_function(state.rhs.function, state.rhs.order), as_function(node, names[0])
    given = question.system.boundary.get(names[0].name, "zero") != "zero"
    if given and names[0].index and reads_back(names[0].index):
        return None  # a value before the first step is any number
    return None if domain is None or value is None else over_interval(value, domain)


def reads_back(index: tuple[sympy.Expr, ...]) -> bool:
    """Whether a point may lie before the first step: `t - 1`, 0; not `t`, `k`, `t + 1`, 3."""
    return any(i < 1 if i.is_number else i.as_coeff_Add()[0] < 0 for i in index)


def _compare(review: Reviewed, claim: Claim, question: Question, relation: expr.Relation) -> Judged:
    left, right = relation.lhs, relation.rhs
    if not (isinstance(left, Node) and isinstance(right, Node)):
        return Judged("undecided", relation, reason="this compares indices, and says where, not what")
    apart = expr.add(left, expr.scale(-1, right))
    difference = entries(question, apart)
    if difference is not None:
        return _by_range("holds" if IN_ORDER[relation.op](difference) else "fails", relation, apart, difference)
    proof = bounds.prove(question, relation)
    if proof is not None:
        return Judged("holds", relation, certificate=Certificate("proof", note=proof.sentence))
    return search(question, relation)


IN_ORDER: Mapping[str, Callable[[Range], bool]] = {
    "<=": lambda r: bool(r.high <= 0),
    "<": lambda r: bool(r.high < 0) or (r.high == 0 and not r.high_taken),
    ">=": lambda r: bool(r.low >= 0),
    ">": lambda r: bool(r.low > 0) or (r.low == 0 and not r.low_taken),
}
"""Whether `left - right` with this range has the sign that the relation says."""


def search(question: Question, relation: expr.Relation) -> Judged:
    """A point at which the inequality is false for certain."""
    samples = 0
    trial = question.trial(Equals(relation.lhs, relation.rhs))
    try:
        for seed in range(SEARCHES):
            for truth in trial.truths(ROADS["ball"], seed):
                for env, left, right in trial.sides(truth):
                    samples += left.size
                    at = _violated(relation.op, left, right)
                    if at is not None:
                        where = ", ".join(f"{name} = {number}" for name, number in env.items())
                        shown = Certificate(
                            "ball", seed + 1, samples, at=where, left=str(left[at]), right=str(right[at])
                        )
                        return Judged("fails", relation, certificate=shown)
    except DeriveError as error:
        return Judged("undecided", relation, reason=f"{error}; {samples} samples had no counterexample")
    searched = Certificate("search", SEARCHES, samples)
    return Judged(
        "undecided", relation, certificate=searched, reason=f"no counterexample among {samples} samples, and no proof"
    )


def _violated(op: str, left: object, right: object) -> tuple[int, int] | None:
    import numpy

    for at in numpy.ndindex(*left.shape):  # type: ignore[attr-defined]
        difference = left[at].v - right[at].v  # type: ignore[index]
        if (op in ("<=", "<") and difference > 0) or (op in (">=", ">") and difference < 0):
            return at
    return None


def _unequal(review: Reviewed, claim: Claim, question: Question, relation: expr.Relation) -> Judged:
    found = decided(question, Equals(relation.lhs, relation.rhs))
    verdict = {"fails": "holds", "holds": "fails"}.get(found.verdict, "undecided")
    return Judged(verdict, relation, certificate=certificate(found), reason=found.reason)


def _about(review: Reviewed, claim: Claim, question: Question, relation: expr.Relation) -> Judged:
    for side in (relation.lhs, relation.rhs):
        if isinstance(side, expr.Product):
            found = words.telescopes(review, claim, side)
            if found is not None:
                return found
    return Judged("undecided", relation, reason="how near is near is not said")


SETTLED: Mapping[str, Callable[[Reviewed, Claim, Question, expr.Relation], Judged]] = {
    "in": _member,
    **dict.fromkeys(("<", "<=", ">", ">="), _compare),
    "!=": _unequal,
    "~": _about,
}
