"""A document, claim by claim: what a claim rests on, which layout the document has, whose error a later line repeats."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic

from sympy import Basic

from derive import documents, expr
from derive.canonical import same
from derive.errors import DeriveError, Place, SystemError_, did_you_mean
from derive.expr import Equals, Node, Var
from derive.oracles import Verdict, clock
from derive.oracles.check import forget
from derive.processes import mapped
from derive.reader import limits
from derive.reader.claims import Claim, DocumentReading
from derive.reader.directives import parse_directive
from derive.reader.document import Document, read
from derive.reader.relations import Understood
from derive.reader.understand import understand
from derive.reader.values import agree
from derive.system import System
from derive.verdicts import bits
from derive.verdicts.implications import supposed, value_of
from derive.verdicts.judge import AS_SET, LAYOUTS, Case, Judged, judge, layouts
from derive.verdicts.ladder import certificate, decided
from derive.verdicts.question import Question, conditions_of, nothing
from derive.verdicts.report import Certificate, Diagnosis, FileReport, Finding, Report, worst
from derive.verdicts.shorthands import Definition, of_entries
from derive.verdicts.statements import judge_statement
from derive.verdicts.unknowns import SUPPOSED, unexplained

Progress = Callable[[int, int], None]


def verify(
    *sources: str | Path | Document, strict: bool = False, seed: int = 0, jobs: int = 1, given: Sequence[str] = ()
) -> Report:
    """Every claim of documents, each a path (`.md .tex .ipynb`, or a folder of them) or a `Document`: a `Report`, true if
    nothing fails.

    `strict`: a claim that holds only under an assumption, or is undecided, counts as failing.  `given` are directives
    that stand before every document, `"system gru"`, `"hold z"`.  A file that can't be used is a trouble of its report;
    nothing is raised.
    """
    files = [f for s in sources for f in ([s] if isinstance(s, Document) else documents.within([s]))]
    return Report(tuple(verify_each(files, jobs=jobs, seed=seed, given=given)), strict)


def verify_each(
    sources: Sequence[str | Path | Document],
    *,
    jobs: int = 1,
    seed: int = 0,
    given: Sequence[str] = (),
    progress: Progress | None = None,
) -> Iterator[FileReport]:
    """The report of each document, in their order, from as many processes as `jobs` says."""
    if jobs == 1 or len(sources) < 2:
        return (verify_file(source, seed=seed, given=given, progress=progress) for source in sources)
    return mapped(partial(verify_file, seed=seed, given=given), sources, jobs)


def verify_file(
    source: str | Path | Document, *, seed: int = 0, given: Sequence[str] = (), progress: Progress | None = None
) -> FileReport:
    """One document; what keeps it from being used is its `trouble`."""
    start, name = monotonic(), source.name if isinstance(source, Document) else str(source)
    try:
        document = source if isinstance(source, Document) else read(source)
        first = tuple(parse_directive(text, Place("the command line", 1, 1)) for text in given)
        found = understand(replace(document, items=(*first, *document.items)))
    except DeriveError as error:
        return FileReport(
            name, trouble=str(error), trouble_place=error.place if isinstance(error, SystemError_) else None
        )
    return replace(judged(found, seed, progress), seconds=monotonic() - start)


def judged(found: DocumentReading, seed: int = 0, progress: Progress | None = None) -> FileReport:
    """A document that has been understood."""
    forget()  # what is said of one document must not depend on those before it
    findings = Reviewed(found, seed, progress).findings()
    systems = tuple(dict.fromkeys(system.name for system in found.systems))
    return FileReport(found.document.name, systems, findings)


class Reviewed:
    """The claims of a document, and what they are judged with."""

    def __init__(self, found: DocumentReading, seed: int = 0, progress: Progress | None = None):
        self.claims, self.seed, self.progress = found.claims, seed, progress
        self.judged: dict[int, Judged] = {}
        self.inherited: dict[int, int] = {}
        self.cases: dict[int, Case] = {}
        self.as_set: dict[int, Question] = {}
        """The question of a claim while it is judged with the values that the text gives."""
        self.introduced: list[tuple[System | None, Definition]] = []
        self.among_numbers = any(c.scope is not None and c.scope.scalar for c in found.claims)

    def findings(self) -> tuple[Finding, ...]:
        for claim in self.claims:
            if self.progress is not None:
                self.progress(claim.n, len(self.claims))
            self.judged[claim.n] = self.safely(claim, partial(self.judge, claim))
        self.settle_layout()
        return tuple(self.as_expected(self.finding(claim) for claim in self.claims))

    # --- one claim ---

    def under_its_conditions(self, claim: Claim, judged: Judged) -> Judged:
        """A line that says in words where it holds can't be called wrong where the words are not understood."""
        if judged.verdict != "fails":
            return judged
        by_balls = judged.certificate is not None and judged.certificate.method == "ball"
        if by_balls and bits.network_of(self, claim) is not None:
            return Judged("undecided", judged.formula, judged.understood, judged.readings, reason=NOT_OF_BITS)
        question = self.question(claim)
        for said in claim.where:
            open_ = isinstance(said, expr.Words) and _LIMITS.search(said.text) and not list(conditions_of([said]))
            if open_ or (isinstance(said, Equals) and not isinstance(supposed(question, said), Question)):
                reason = f"it fails in general, and where it is said to hold is not understood: {said}"
                return Judged("undecided", judged.formula, judged.understood, judged.readings, reason=reason)
        return judged

    def under_its_values(self, claim: Claim, judged: Judged) -> Judged:
        """What fails for any values has to fail for those that the text gives, too."""
        by_balls = judged.certificate is not None and judged.certificate.method == "ball"
        repeats = claim.n in self.inherited or any(cause.kind == "double-count" for cause in judged.causes)
        if judged.verdict != "fails" or not by_balls or repeats or AS_SET in judged.readings:
            return judged
        changed = self.with_values(claim, self.question(claim))
        if changed is None:
            return judged
        if isinstance(judged.formula, Equals):
            asked = (decided(q, judged.formula).verdict for q in (changed, replace(changed, beyond=True)))
            if "fails" in asked:
                return judged
        else:
            self.as_set[claim.n] = changed
            try:
                again = self.judge(claim)
            finally:
                del self.as_set[claim.n]
            if again.verdict in ("holds", "holds-if", "fails"):
                return replace(again, readings=(*again.readings, AS_SET))
        return Judged("undecided", judged.formula, judged.understood, judged.readings, reason=NOT_AS_SET)

    def safely(self, claim: Claim, judging: Callable[[], Judged]) -> Judged:
        """A claim on which the program itself breaks is undecided, and the others are judged all the same."""
        try:
            with clock.within(limits.MOST_SECONDS):
                return self.under_its_values(claim, self.under_its_conditions(claim, judging()))
        except Exception as error:
            broken = f"{BROKEN}: {type(error).__name__}: {error}"
            return Judged("undecided", claim.formula, reason=broken)

    def judge(self, claim: Claim) -> Judged:
        if claim.clash is not None:
            return self.clash(claim)
        if claim.unread is not None:
            return Judged("unread", reason=claim.unread)
        if claim.skip or claim.kind in ("defines", "sets", "condition"):
            return Judged("defines", claim.formula, claim.readings[0] if claim.readings else None)
        unknown = held_in_vain(claim)
        if unknown is not None:
            return Judged("unread", reason=unknown)
        if claim.kind == "equation":
            return self.equation(claim)
        return bits.judge(self, claim) or judge_statement(self, claim)

    def equation(self, claim: Claim) -> Judged:
        if states_an_equation(claim):
            return Judged("defines", claim.formula, claim.readings[0], reason="an equation of the system")
        new = self.introduces(claim)
        if new is not None:
            self.introduced.append((claim.system, new))
            return Judged("defines", claim.formula, claim.readings[0], reason="what this name stands for from here on")
        of_bits = bits.judge(self, claim)
        if of_bits is not None:
            return of_bits
        question = self.question(claim)
        case = Case(claim, question, claim.readings, None, self.among_numbers, self.with_values(claim, question))
        head = self.head(claim)
        before = self.judged.get(head.n) if head is not None else None
        if head is not None and before is not None:
            return self.continued(case, claim.n - 1, before)
        self.cases[claim.n] = case
        return judge(case)

    def clash(self, claim: Claim) -> Judged:
        """Names and signs are understood, and no shapes allow the formula: with a transpose more or less it may be right."""
        assert claim.clash is not None
        question, shapes = (
            self.question(claim),
            " and ".join(map(expr.show_shape, (claim.clash.left, claim.clash.right))),
        )
        right = [u.formula for u in claim.mended if isinstance(u.formula, Equals) and decided(question, u.formula)]
        said = f"{claim.unread}".partition("; did you mean")[0]
        causes = [
            Diagnosis("transpose", f"a transpose is missing or too many: {said}", repair=formula) for formula in right
        ]
        causes = causes or [Diagnosis("ill-typed", said)]
        sure = Certificate("shape", note=f"{shapes} do not go together")
        return Judged("fails", claim.formula, causes=tuple(causes[:2]), certificate=sure)

    def continued(self, case: Case, previous: int, head: Judged) -> Judged:
        """`a = b = c`: the second claim is `a = c` where `a = b` is true, else `b = c`, which repeats the error of b."""
        claim, before = case.claim, self.judged[previous]
        if before.verdict == "holds" and isinstance(head.formula, Equals):
            direct = replace(case, readings=[*case.readings, *_from_head(head, case.readings)], asked={})
            self.cases[claim.n] = direct
            return judge(direct)
        self.cases[claim.n] = case
        own = judge(case)
        if own.verdict not in ("holds", "holds-if") and before.verdict == "holds-if":
            from_head = judge(replace(case, readings=list(_from_head(head, case.readings)), asked={}))
            own = from_head if from_head.verdict in ("holds", "holds-if") else own
        if own.verdict not in ("holds", "holds-if") or before.verdict not in ("fails", "holds-if"):
            return own
        whole = self.from_the_head(case, head, own)
        if whole is not None and whole.verdict in ("holds", "undecided"):
            return own  # the chain has come back to what it began with
        self.inherited[claim.n] = self.inherited.get(previous, previous)
        made = _together(before.assumptions, own.assumptions)
        sure = own.certificate if whole is None else certificate(whole)
        return replace(own, verdict=before.verdict, assumptions=made, causes=before.causes, certificate=sure)

    def from_the_head(self, case: Case, head: Judged, own: Judged) -> Verdict | None:
        """What the ladder says of `a = c` where `a = b` is wrong and `b = c` is right; None where their shapes differ."""
        if not isinstance(head.formula, Equals) or not isinstance(own.formula, Equals):
            return None
        if head.formula.lhs.shape != own.formula.rhs.shape:
            return None
        return decided(case.question, Equals(head.formula.lhs, own.formula.rhs))

    def head(self, claim: Claim) -> Claim | None:
        """The first claim of the chain that this one goes on."""
        if not claim.continues:
            return None
        earlier = [c for c in self.claims[: claim.n - 1] if not c.continues]
        return earlier[-1] if earlier else None

    def question(self, claim: Claim) -> Question:
        if claim.n in self.as_set:
            return self.as_set[claim.n]
        system = claim.system
        letters = claim.scope.letters if claim.scope is not None else ("t",)
        question = Question(
            system if system is not None else nothing(letters),
            tuple(self.definitions(claim)),
            claim.hold,
            LOSSES.get(claim.loss or ""),
            claim.unroll,
            tuple(conditions_of(claim.where)),
            seed=self.seed,
        )
        for said in claim.where:
            under = supposed(question, said) if isinstance(said, Equals) else question
            question = under if isinstance(under, Question) else question
        return question

    def with_values(self, claim: Claim, question: Question) -> Question | None:
        """The question with the numbers that earlier lines give to parameters, the last one to each; None where there
        are none."""
        values: dict[Var, Node] = {}
        for earlier in self.claims[: claim.n - 1]:
            judged = self.judged.get(earlier.n)
            gives = earlier.kind == "sets" or (judged is not None and judged.reason == SUPPOSED)
            value = value_of(earlier.formula) if gives and isinstance(earlier.formula, Equals) else None
            if value is not None and earlier.system is claim.system:
                values[value[0]] = value[1]
        changed = question
        for name, given in values.items():
            supposed_ = supposed(changed, Equals(name, given))
            changed = supposed_ if isinstance(supposed_, Question) else changed
        return None if changed == question else changed

    def introduces(self, claim: Claim) -> Definition | None:
        """What an equation defines whose left side is a declared name that nothing has explained yet, or an entry of one."""
        formula = claim.formula
        if claim.kind != "equation" or claim.continues or not isinstance(formula, Equals):
            return None
        name = formula.lhs.args[0] if isinstance(formula.lhs, expr.Entry) else formula.lhs
        if not isinstance(name, Var) or name.marks or not name.index or not unexplained(self.question(claim), name):
            return None
        value = formula.rhs if name == formula.lhs else of_entries(formula.rhs, formula.lhs)
        return (name, value) if value is not None and value.shape == name.shape else None

    def definitions(self, claim: Claim) -> Iterator[Definition]:
        """The shorthands of the claim's system: the nearest before it first, then those further down."""
        before = [c for c in self.claims[: claim.n - 1] if c.kind == "defines"]
        after = [c for c in self.claims[claim.n :] if c.kind == "defines"]
        yield from (new for system, new in self.introduced if system is claim.system)
        for one in (*reversed(before), *after):
            formula = one.formula
            if one.system is claim.system and isinstance(formula, Equals) and isinstance(formula.lhs, Var):
                yield formula.lhs, formula.rhs

    # --- the document ---

    def settle_layout(self) -> None:
        """The layout in which most claims hold is the document's; claims that hold in another one say so."""
        counts: Counter[str] = Counter()
        for judged in self.judged.values():
            if (
                judged.understood is not None
                and judged.verdict in ("holds", "holds-if")
                and "layout" in dict(judged.understood.choices)
            ):
                counts.update(layouts(judged.understood))
        if not counts:
            return
        layout = max(LAYOUTS, key=lambda name: counts[name])
        for n, case in self.cases.items():
            understood = self.judged[n].understood
            pinned = case.claim.scope is not None and "layout" in dict(case.claim.scope.pins)
            if understood is not None and not pinned and layout not in layouts(understood):
                self.judged[n] = self.safely(case.claim, partial(judge, replace(case, layout=layout)))

    def finding(self, claim: Claim) -> Finding:
        judged = self.judged[claim.n]
        return Finding(
            claim.n,
            claim.unread_place or claim.place if judged.verdict == "unread" else claim.place,
            claim.latex,
            claim.kind,
            judged.verdict,
            judged.formula,
            judged.readings,
            judged.assumptions,
            judged.causes,
            self.inherited.get(claim.n),
            judged.certificate,
            judged.numeric,
            judged.reason,
            claim.caret,
            claim.skip,
            claim.expect,
            display=claim.display,
        )

    def as_expected(self, findings: Iterator[Finding]) -> Iterator[Finding]:
        """An `expect` is of a whole display: its worst claim must meet it."""
        every = list(findings)
        for finding in every:
            if finding.expected is None:
                yield finding
                continue
            together = [f for f in every if f.display == finding.display]
            yield replace(finding, as_expected=meets(together, finding.expected))


_LIMITS = re.compile(
    r"\b(if|when(ever)?|for|where|assum\w+|provided|unless|given|suppos\w+|only|except|limit|large|small|case|with|without|linear)\b"
)
"""Words that say where a line holds."""
NOT_AS_SET = "it fails for other values than those that the text gives; with these it is not settled"
NOT_OF_BITS = (
    "it fails for activations of every kind and inputs that are any numbers; what it is for these thresholds and bits "
    "takes numbers for all that it depends on"
)
BROKEN = "derive itself broke off here, which is a mistake of its own"
LOSSES: Mapping[str, str] = {"final": "last", "every": "every"}


def meets(findings: Sequence[Finding], expected: tuple[str, str | None]) -> bool:
    """Whether the worst of these claims has the verdict, and one of those that have it the kind."""
    verdict, kind = expected
    if verdict != "defines" and worst(f.verdict for f in findings) != verdict:
        return False
    return kind is None or any(kind in f.kinds for f in findings if f.verdict == verdict)


def held_in_vain(claim: Claim) -> str | None:
    """A sentence where a name is to be held constant that means nothing; None where there is none."""
    if claim.system is None or claim.scope is None:
        return None
    known = {**claim.system.variables, **claim.scope.names, **claim.scope.later}
    name = next((name for name in claim.hold if name not in known), None)
    if name is None:
        return None
    return f"{name} is to be held constant, and {claim.system.name} has no {name}{did_you_mean(name, claim.system.equations)}"


def states_an_equation(claim: Claim) -> bool:
    """Whether the claim only says what its system is made of."""
    system, formula = claim.system, claim.formula
    if system is None or not isinstance(formula, Equals) or not isinstance(formula.lhs, Var):
        return False
    equation = system.equations.get(formula.lhs.name)
    if equation is None or formula.lhs.marks or len(formula.lhs.index) != len(equation.target.index):
        return False
    moved = expr.at(equation.rhs, dict(zip(equation.target.index, formula.lhs.index, strict=True)))
    return isinstance(formula.rhs, Node) and same(moved, formula.rhs)


def _from_head(head: Judged, readings: Sequence[Understood]) -> Iterator[Understood]:
    """`a = c`, for each reading of `b = c` that goes with the reading of `a = b`."""
    assert isinstance(head.formula, Equals)
    for understood in readings:
        if isinstance(understood.formula, Equals) and understood.formula.rhs.shape == head.formula.lhs.shape:
            choices = agree(understood.choices, head.understood.choices if head.understood is not None else ())
            shared = choices if choices is not None else understood.choices
            yield Understood(Equals(head.formula.lhs, understood.formula.rhs), shared, understood.cost + 1)


def _together(first: Sequence[Basic], second: Sequence[Basic]) -> tuple[Basic, ...]:
    return tuple(dict.fromkeys([*first, *second]))
