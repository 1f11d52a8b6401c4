"""One equation and its verdict: the readings in order, then what people leave unsaid, then what is wrong.

    as read        the first reading that holds, in the layout of the document if there is one
    as meant       a reading with a slip in it, or an assumption of a family: *holds-if*
    wrong          certified by balls; the causes are those whose repair holds

A line that no exact road accepts, and that balls can't tell from a true one, is put to the tower of primes, in which
`exp(a + b) = exp(a) exp(b)`; what is left is *undecided*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sympy import Basic, Tuple

from derive import expr
from derive.expr import Equals, Partial
from derive.oracles import Verdict, clock
from derive.oracles.check import AT_FEW_STEPS, EMPTY, NOWHERE
from derive.reader import limits
from derive.reader.claims import Claim
from derive.reader.relations import Understood
from derive.verdicts import assumptions
from derive.verdicts.causes import diagnosis
from derive.verdicts.ladder import certificate, decided, numeric
from derive.verdicts.question import Question
from derive.verdicts.report import Assumption, Certificate, Diagnosis, Numeric
from derive.verdicts.unknowns import SUPPOSED, is_hypothesis, names_without_meaning
from derive.verdicts.uses import counts_again, doubled

MOST_READINGS = 12
MOST_MEANT = 4
"""Readings that are tried together with what people leave unsaid."""
NEAR = 1
"""A reading without a value leaves a line undecided if it is as likely as this to be meant."""
MOST_EXPLAINED = 3
"""Readings in which the cause of a mistake is looked for."""
LAYOUTS = ("mixed", "numerator", "denominator")


@dataclass(frozen=True)
class Judged:
    """A verdict on one formula, with all that it rests on."""

    verdict: str
    formula: Basic | None = None
    understood: Understood | None = None
    readings: tuple[str, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    causes: tuple[Diagnosis, ...] = ()
    certificate: Certificate | None = None
    numeric: Numeric | None = None
    reason: str = ""


@dataclass
class Case:
    """An equation that is to be judged, as it may be read."""

    claim: Claim
    question: Question
    readings: Sequence[Understood]
    layout: str | None = None
    """The layout of the document, once it is known."""
    among_numbers: bool = False
    """Whether the document works with numbers in place of vectors somewhere."""
    with_values: Question | None = None
    """The question with the numbers that the text has given to parameters, where it has."""
    asked: dict[Equals, Verdict] = field(default_factory=dict)

    def ask(self, formula: Equals) -> Verdict:
        if formula not in self.asked:
            self.asked[formula] = decided(self.question, formula)
        return self.asked[formula]

    def equations(self) -> list[Understood]:
        found = [u for u in self.readings if isinstance(u.formula, Equals)]
        return [u for u in found if all(isinstance(side, expr.Node) for side in u.formula.args)][:MOST_READINGS]


def judge(case: Case) -> Judged:
    """The verdict on an equation.  Raises nothing: what can't be worked out is *undecided*."""
    if not case.equations():
        return Judged("undecided", reason="no reading of this is an equation between values")
    for step in (as_read, as_meant, unlike_the_document, as_set, as_left_unsaid):
        found = step(case)
        if found is not None:
            return found
        if clock.is_up():
            return Judged("undecided", case.equations()[0].formula, reason=TOO_LONG)
    return wrong(case)


TOO_LONG = f"this takes longer than {limits.MOST_SECONDS:.0f} seconds"


def as_read(case: Case) -> Judged | None:
    """A reading that holds as it stands, in the layout of the document."""
    for understood in case.equations():
        readings, slips = assumptions.notes(understood, case.claim)
        if not slips and fits(understood, case.layout) and holds(case, understood):
            return _true(case, understood, readings, ())
    return None


def as_meant(case: Case) -> Judged | None:
    """A reading that holds if a slip in it is meant; the fewest of them."""
    found = [(assumptions.notes(u, case.claim), u) for u in case.equations() if fits(u, case.layout)]
    for (readings, slips), understood in sorted(found, key=lambda item: len(item[0][1])):
        if slips and holds(case, understood):
            return _true(case, understood, readings, tuple(s for s in slips if needed(case, understood, s)))
    return None


def needed(case: Case, understood: Understood, slip: Assumption) -> bool:
    """Whether the line does not hold as well if the immediate partials by weights are total ones: by a copy they are."""
    if slip.kind != "double-count":
        return True
    system = case.question.system

    def leaf(node: Basic) -> Basic:
        by_weight = (
            isinstance(node, (Partial, expr.Pulled))
            and node.immediate
            and assumptions.is_parameter(system, node.args[1])
        )
        return as_total(node) if by_weight else node  # type: ignore[arg-type]

    total = expr.rewrite(understood.formula, leaf)
    return total == understood.formula or case.ask(total).verdict != "holds"


def as_total(node: Partial | expr.Pulled) -> expr.Node:
    """The same derivative, total."""
    if isinstance(node, Partial):
        return Partial(node.args[0], node.args[1], 0, node.args[3])
    y, x, cotangent = node.args[:3]
    return expr.Pulled(y, x, cotangent, 0)


def unlike_the_document(case: Case) -> Judged | None:
    """A reading in another layout than the rest of the document."""
    for understood in case.equations() if case.layout is not None else ():
        if not fits(understood, case.layout) and holds(case, understood):
            readings, slips = assumptions.notes(understood, case.claim)
            (own,) = [r for r in readings if r.startswith("∂y/∂x has")][:1] or ("this line is in another layout",)
            unlike = Assumption(f"{own}, unlike in the rest of the document", "layout")
            return _true(case, understood, tuple(r for r in readings if r != own), (unlike, *slips))
    return None


def as_set(case: Case) -> Judged | None:
    """A reading that holds for the numbers that the text gives to parameters."""
    if case.with_values is None:
        return None
    found = as_read(replace(case, question=case.with_values, asked={}))
    return None if found is None else replace(found, readings=(*found.readings, AS_SET))


AS_SET = "with the values that the text gives"


def as_left_unsaid(case: Case) -> Judged | None:
    """What people leave unsaid, one assumption at a time, on top of a likely reading."""
    families = (*assumptions.FAMILIES, *(assumptions.AMONG_NUMBERS if case.among_numbers else ()))
    for family in families:
        for understood in case.equations()[:MOST_MEANT]:
            for taken in assumptions.taken(family, case.question, understood.formula, case.claim):
                found = decided(taken.question, taken.formula) if says_something(taken) else None
                if found and not counts_again(taken.question, taken.formula):
                    readings, slips = assumptions.notes(understood, case.claim)
                    judged = _true(case, understood, readings, (*taken.assumptions, *slips), found)
                    return replace(judged, causes=_missing(case, understood.formula, taken.assumptions))
                if clock.is_up():
                    return None
    return None


def says_something(taken: assumptions.Taken) -> bool:
    """Whether the line is likely to hold under the assumption, and not because nothing is left: `∂L/∂U = 0`."""
    formula = taken.formula
    nothing = Equals(formula.lhs, expr.Zero(*formula.lhs.shape))
    return bool(taken.question.quick(formula)) and not taken.question.quick(nothing)


def _missing(case: Case, formula: Equals, made: Sequence[Assumption]) -> tuple[Diagnosis, ...]:
    """What the line lacks without the assumption, where that is a path."""
    if all(a.kind != "missing-path" for a in made):
        return ()
    found = diagnosis.diagnose(case.question, formula)
    return tuple(cause for cause in found if cause.kind in ("missing-path", "missing-sum"))[:1]


def _true(
    case: Case,
    understood: Understood,
    readings: tuple[str, ...],
    made: tuple[Assumption, ...],
    found: Verdict | None = None,
) -> Judged:
    found = found or case.ask(understood.formula)
    verdict = "holds-if" if made else "holds"
    return Judged(verdict, understood.formula, understood, readings, made, certificate=certificate(found))


def holds(case: Case, understood: Understood) -> bool:
    return case.ask(understood.formula).verdict == "holds" and not counts_again(case.question, understood.formula)


def fits(understood: Understood, layout: str | None) -> bool:
    """Whether a reading goes with the layout of the document."""
    return layout is None or layout in layouts(understood)


def layouts(understood: Understood) -> frozenset[str]:
    return dict(understood.choices).get("layout", frozenset(LAYOUTS))


# --- what is wrong ----------------------------------------------------------------------------------------------------

NO_CAUSE = Diagnosis("unknown", "no single change that was tried makes this line true")


def wrong(case: Case) -> Judged:
    """Nothing makes the line true: certified, with its causes, or undecided."""
    meant = [u for u in case.equations() if case.ask(u.formula).reason != EMPTY] or case.equations()
    cheapest = min(u.cost for u in meant)
    near = [u for u in meant if u.cost <= cheapest + NEAR]
    open_ = next((u for u in near if case.ask(u.formula).verdict == "undecided"), None)
    if open_ is not None and case.ask(open_.formula).reason in (NOWHERE, AT_FEW_STEPS) and not case.question.beyond:
        return _beyond(case, open_)
    if open_ is not None:
        return _open(case, open_, case.ask(open_.formula).reason)
    again = next((u for u in case.equations() if case.ask(u.formula).verdict == "holds"), None)
    if again is not None:
        return _doubled(case, again)
    likely = sorted(meant, key=lambda u: len(assumptions.notes(u, case.claim)[1]))
    if is_hypothesis(case.question, likely[0].formula):
        return _false_as_set(case, likely[0]) or _open(case, likely[0], SUPPOSED)
    undefined = names_without_meaning(case.question, likely[0].formula)
    if undefined:
        return _open(case, likely[0], f"nothing says what {' and '.join(undefined)} stands for")
    understood, causes = explained(case, likely)
    found = case.ask(understood.formula)
    readings, slips = assumptions.notes(understood, case.claim)
    border = next((cause for cause in causes if cause.kind == "boundary"), None)
    inside = None if border is None else _inside(case.question, understood.formula, border)
    if border is not None and inside is not None:
        made = (Assumption(border.sentence, "boundary"), *slips)
        return Judged("holds-if", understood.formula, understood, readings, made, (border,), certificate(inside))
    known = tuple(cause for cause in causes if cause is not border)
    causes = known or (NO_CAUSE,)
    sure = certificate(found)
    return Judged(
        "fails",
        understood.formula,
        understood,
        readings,
        slips,
        causes,
        sure,
        numeric(case.question, understood.formula),
    )


def _inside(question: Question, formula: Equals, border: Diagnosis) -> Verdict | None:
    """What the ladder says where the condition of a border is true, if that is *holds*."""
    if not isinstance(border.repair, expr.Implies):
        return None
    condition = border.repair.lhs
    conditions = tuple(condition.args) if isinstance(condition, Tuple) else (condition,)
    found = decided(replace(question, conditions=(*question.conditions, *conditions)), formula)
    return found if found.verdict == "holds" else None


def explained(case: Case, likely: Sequence[Understood]) -> tuple[Understood, tuple[Diagnosis, ...]]:
    """The first reading whose mistake is found; where none is, the likeliest."""
    for understood in likely[:MOST_EXPLAINED]:
        causes = diagnosis.diagnose(case.question, understood.formula)
        if causes or clock.is_up():
            return understood, causes
    return likely[0], ()


def _beyond(case: Case, understood: Understood) -> Judged:
    """A line that reads what is not there at every number of steps: false with zero in its place, too, or undecided."""
    reason = case.ask(understood.formula).reason
    with_zeros = replace(case, question=replace(case.question, beyond=True), readings=[understood], asked={})
    found = wrong(with_zeros) if with_zeros.ask(understood.formula).verdict == "fails" else None
    if found is None or found.verdict != "fails":
        return _open(case, understood, reason)
    known = [cause for cause in found.causes if cause.kind != "unknown"]
    sentence = "it reads what lies beyond the first or the last step, where nothing is defined"
    return replace(found, causes=tuple(known) or (Diagnosis("bounds", sentence),))


def _open(case: Case, understood: Understood, reason: str) -> Judged:
    readings, slips = assumptions.notes(understood, case.claim)
    return Judged("undecided", understood.formula, understood, readings, slips, reason=reason)


def _false_as_set(case: Case, understood: Understood) -> Judged | None:
    """A line in which every name has a number from the text supposes nothing, unless it is such a setting itself."""
    formula, values = understood.formula, case.with_values
    if values is None or any(isinstance(side, expr.Var) for side in formula.args):
        return None
    if not {v.name for v in expr.variables(formula)} <= {name for name, _ in values.values}:
        return None
    found = decided(values, formula)
    if found.verdict != "fails":
        return None
    readings, slips = assumptions.notes(understood, case.claim)
    sure, causes = certificate(found), (NO_CAUSE,)
    return Judged("fails", formula, understood, (*readings, AS_SET), slips, causes, sure, numeric(values, formula))


def _doubled(case: Case, understood: Understood) -> Judged:
    """A sum over the uses of a weight whose terms count them again."""
    meant, cause = doubled(case.question, understood.formula)  # type: ignore[arg-type]
    found, shown = case.ask(meant), numeric(case.question, meant)
    readings, slips = assumptions.notes(understood, case.claim)
    return Judged("fails", understood.formula, understood, readings, slips, (cause,), certificate(found), shown)
