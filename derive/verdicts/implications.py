"""`premise ⇒ conclusion`: the conclusion is judged where the premise is true.

z_t = 1         a special value: the state is that constant.  Right in the limit, where an activation has no slope
W = I, x_t = 0  a parameter or an input has that value
h_t = -h_{t-1} + x_t   an equation of the system: true already
a ≤ b           with b equal to c, `a ≤ c` follows
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from sympy import Basic, Tuple

from derive import expr
from derive.errors import DeriveError
from derive.evaluate import COMPARE
from derive.expr import Equals, Node, Var
from derive.printing import text
from derive.ranges import range_of_function
from derive.reader.claims import Claim
from derive.reader.relations import Understood
from derive.system import System
from derive.verdicts import bounds, relations, words
from derive.verdicts.judge import Case, Judged
from derive.verdicts.judge import judge as judge_equation
from derive.verdicts.question import Question, is_condition, with_values
from derive.verdicts.report import Certificate, worst

if TYPE_CHECKING:
    from derive.verdicts.verify import Reviewed


def judge(review: Reviewed, claim: Claim) -> Judged:
    """The conclusion under the premise; what the premise can't be taken for is *undecided*."""
    special = words.judge_implication(review, claim)
    if special is not None:
        return special
    formula = claim.formula
    assert isinstance(formula, expr.Implies)
    question: Question | str = review.question(claim)
    for premise in parts(formula.lhs):
        question = supposed(question, premise) if isinstance(question, Question) else question
    if isinstance(question, str):
        return Judged("undecided", formula, reason=question)
    found, verdict = _conclusions(review, claim, question, formula)
    inequalities = tuple(p for p in parts(formula.lhs) if _is_inequality(p))
    if inequalities and verdict != "holds":  # what holds everywhere holds where the premise does
        there = replace(question, given=inequalities)
        found, verdict = _conclusions(review, claim, there, formula)
        if verdict == "fails" and any(v.index for p in inequalities for v in expr.variables(p)):
            # `x_t ≥ 0 ⇒ h_t = Σ_k x_k` may mean all steps by its premise, as `x_t = 0 ⇒ …` does.
            found, verdict = _conclusions(review, claim, replace(there, everywhere=True), formula)
            if verdict != "fails":
                return Judged("undecided", formula, reason=AT_ONE_STEP)
    chosen = next(judged for judged in found if judged.verdict == verdict or verdict == "holds")
    others = (p for p in _inequalities(formula.lhs) if p not in inequalities)
    open_premise = next((p for p in others if not _is_true(review, claim, question, p)), None)
    if verdict == "fails" and open_premise is not None:
        return Judged("undecided", formula, reason=f"{UNUSED} {text(open_premise)}")
    return replace(chosen, formula=formula)


AT_ONE_STEP = (
    "it is false where the premise is true at that step, and no counterexample was found at which the premise is true at "
    "all steps, as it may be meant"
)
UNUSED = "the conclusion fails in general, and nothing here can suppose that"


def _inequalities(premise: Basic) -> list[expr.Relation]:
    return [part for part in parts(premise) if isinstance(part, expr.Relation) and not is_condition(part)]


def _is_true(review: Reviewed, claim: Claim, question: Question, premise: expr.Relation) -> bool:
    return relations.settle(review, claim, question, premise).verdict == "holds"


def _conclusions(review: Reviewed, claim: Claim, question: Question, formula: expr.Implies) -> tuple[list[Judged], str]:
    found = [_conclusion(review, claim, question, formula.lhs, part) for part in parts(formula.rhs)]
    return found, worst(judged.verdict for judged in found)


def _is_inequality(premise: Basic) -> bool:
    """Of values, which pick the points at which the conclusion is asked."""
    return isinstance(premise, expr.Relation) and premise.op in COMPARE and all(
        isinstance(side, Node) for side in (premise.lhs, premise.rhs)
    )  # fmt: skip


def parts(side: Basic) -> tuple[Basic, ...]:
    return tuple(side.args) if isinstance(side, Tuple) else (side,)


def _conclusion(review: Reviewed, claim: Claim, question: Question, premise: Basic, part: Basic) -> Judged:
    if isinstance(part, Equals) and all(isinstance(side, Node) for side in part.args):
        return judge_equation(Case(claim, question, [Understood(part)], None, review.among_numbers))
    if isinstance(part, expr.Relation):
        return _follows(question, premise, part) or relations.settle(review, claim, question, part)
    return Judged("undecided", part, reason="the conclusion is in words")


def _follows(question: Question, premise: Basic, part: expr.Relation) -> Judged | None:
    """`a ≤ b ⇒ a ≤ c` where c is not smaller than b, as polynomials in norms: at the first step, and c grows with every
    step by as much as b."""
    (length, *_), (index, *_) = question.system.lattice.lengths, question.system.lattice.indices
    for given in parts(premise):
        same = (
            isinstance(given, expr.Relation)
            and given.op == part.op
            and part.op in ("<=", "<")
            and given.lhs == part.lhs
        )
        if not same or not all(isinstance(side, Node) for side in (given.rhs, part.rhs)):
            continue
        letters = {str(s) for r in (given.rhs, part.rhs) for s in r.free_symbols} - {str(length), str(index)}
        late = (str(index), str(length))
        moved = [
            late[1:],
            *((*some, *late) for n in range(len(letters) + 1) for some in combinations(sorted(letters), n)),
        ]
        start = dict.fromkeys((*letters, *late), 0)
        try:
            b, c = (bounds.value(side, start) for side in (given.rhs, part.rhs))
            after = [
                tuple(bounds.value(side, {**start, **dict.fromkeys(some, 1)}) for side in (given.rhs, part.rhs))
                for some in moved
            ]
        except DeriveError:
            continue
        if b is None or c is None or any(value is None for pair in after for value in pair):
            continue
        grows = all(bounds.is_at_least(c_after * b, c * b_after) for b_after, c_after in after)
        if bounds.is_at_least(c, b) and grows:
            note = "the right side of the conclusion is not smaller than that of the premise"
            return Judged("holds", part, certificate=Certificate("proof", note=note))
    return None


# --- premises ---------------------------------------------------------------------------------------------------------


def supposed(question: Question, premise: Basic) -> Question | str:
    """The question where the premise is true; a sentence where that can't be had."""
    if is_condition(premise):
        return replace(question, conditions=(*question.conditions, premise))
    if isinstance(premise, expr.Relation):
        return question  # an inequality picks points, and is used by what follows from it
    if not isinstance(premise, Equals):
        return "the premise is in words"
    value = value_of(premise)
    if value is not None:
        return _with_value(question, *value)
    verdict = question.ask(premise).verdict
    if verdict == "holds":
        return question
    return (
        f"whether the premise {premise} can be true is not known"
        if verdict == "undecided"
        else f"the premise {premise} is false here"
    )


def value_of(premise: Equals) -> tuple[Var, Node] | None:
    """A name and the constant that it is set to."""
    for name, value in (premise.args, premise.args[::-1]):
        if isinstance(name, expr.Transpose) and isinstance(value, Node):
            name, value = name.args[0], expr.transpose(value)
        if isinstance(name, Var) and not name.marks and isinstance(value, Node) and not expr.variables(value):
            return name, value
    return None


def _with_value(question: Question, name: Var, value: Node) -> Question | str:
    system, equation = question.system, question.system.equations.get(name.name)
    if name.name not in system.variables:
        return _of_a_name(question, name, value)
    if name.index and any(i.is_number for i in name.index):
        return _before_the_first_step(question, name, value)
    if not all(i.is_Symbol and i not in system.lattice.lengths for i in name.index):
        return ONLY_EVERYWHERE.format(name=name, value=value)
    values = question.values
    if equation is not None:
        reason = _unreachable(equation.rhs, value)
        if reason:
            return f"{name} = {value} {reason}"
        new = {**system.equations, name.name: replace(equation, rhs=value)}
    else:
        values = (*values, (name.name, value))
        new = {n: replace(e, rhs=with_values(e.rhs, values)) for n, e in system.equations.items()}
    try:
        changed = System.of(replace(system.parts, equations=new))
    except DeriveError as error:
        return f"{name} = {value} can't be supposed: {error}"
    definitions = tuple((target, with_values(meaning, values)) for target, meaning in question.definitions)
    return replace(question, system=changed, definitions=definitions, values=values)


ONLY_EVERYWHERE = "only a value at every step can be supposed, or h_0 = 0, found {name} = {value}"


def _before_the_first_step(question: Question, name: Var, value: Node) -> Question | str:
    """`h_0 = 0`."""
    system = question.system
    if not isinstance(value, expr.Zero) or not all(i.is_Integer and i < 1 for i in name.index):
        return ONLY_EVERYWHERE.format(name=name, value=value)
    boundary = {**system.boundary, name.name: "zero"}
    return replace(question, system=System.of(replace(system.parts, boundary=boundary)))


def _of_a_name(question: Question, name: Var, value: Node) -> Question | str:
    """A value for a name that the text has declared, and nothing defines."""
    if any(target.name == name.name for target, _ in question.definitions):
        return f"{name} is defined already"
    values = (*question.values, (name.name, value))
    definitions = tuple((target, with_values(meaning, values)) for target, meaning in question.definitions)
    return replace(question, definitions=definitions, values=values)


def _unreachable(rhs: Node, value: Node) -> str:
    """A constant state has no slope: that is so where its activation is at an end of its range, and nowhere else."""
    number = expr.as_number(value)
    if not isinstance(rhs, expr.Apply) or number is None:
        return "is a value at one point, and says nothing of derivatives"
    found = range_of_function(rhs.function, rhs.order)
    if found is None or number not in (found.low, found.high):
        return "is a value at one point, and says nothing of derivatives"
    return ""
