"""Why a line is wrong: the smallest changes that make it right.

    boundary   it is true but at an end of the lattice
    summed     a sum or a product over an index runs elsewhere, or over something else: `SUMMED`
    residual   its two sides differ by what some paths contribute
    edits      one slip of the pen: `ROWS`, on the right side before the left

A cause is named only if its repair was checked as a line of its own.  What is tried is bounded by a number of trials, not
by a clock, so that the same line always gets the same cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from time import perf_counter
from typing import Protocol, TypeAlias

from sympy import Basic

from derive import expr
from derive.errors import DeriveError
from derive.expr import Equals, Node
from derive.notation import Notation
from derive.oracles.check import Trial
from derive.printing import text
from derive.system import System
from derive.verdicts.causes import boundary, counted, insertions, residual
from derive.verdicts.causes.departed import departed, replaced
from derive.verdicts.causes.derived import charged, departures, meant, right_sides, spelled, suspects, typed
from derive.verdicts.causes.edits import Change
from derive.verdicts.causes.pool import Pool
from derive.verdicts.causes.repairs import Repairs
from derive.verdicts.causes.residual import Contribution, Parts
from derive.verdicts.causes.samples import Samples, places
from derive.verdicts.causes.sites import Site, sites
from derive.verdicts.causes.slips import COUNTED, DERIVATIVES, ROWS, SUMMED, Rows
from derive.verdicts.report import Diagnosis

MOST_CAUSES = 2
MOST_TRIALS = 2000
"""So many changed lines are evaluated in each of the stages of the search."""


class Question(Protocol):
    """The context in which a line is judged."""

    @property
    def system(self) -> System: ...
    @property
    def hold(self) -> Sequence[str]: ...
    @property
    def loss(self) -> str | None: ...
    def trial(self, formula: Equals) -> Trial: ...
    def holds(self, formula: Equals) -> bool: ...
    def survey(self, formula: Equals) -> Sequence[tuple[dict[str, int], bool]]: ...


Stage: TypeAlias = "Callable[[], Iterator[Diagnosis]]"


def diagnose(
    question: Question, formula: Equals, *, notation: Notation | None = None, limit_seconds: float = 5.0
) -> tuple[Diagnosis, ...]:
    """At most two causes of a wrong line, the smallest change first; nothing where none was found.

    `limit_seconds` is a guard against lines that take long to evaluate; the trials are counted.
    """
    try:
        return _Search(question, formula, notation or Notation(), perf_counter() + limit_seconds).causes()
    except DeriveError:
        # The line has no value at the points at which it would be asked.
        return ()


class _Search:
    def __init__(self, question: Question, formula: Equals, notation: Notation, deadline: float):
        self.question, self.formula, self.notation, self.deadline = question, formula, notation, deadline
        self.system = charged(question.system, question.loss)
        lattice = self.system.lattice
        ends = {str(i): str(length) for i, length in zip(lattice.indices, lattice.lengths, strict=True)}
        trial = question.trial(formula)
        self.definitions, self.free = trial.definitions or {}, trial.free_names
        self.samples = Samples(places(trial), ends).telling(formula)
        self.sums = [(turned, level) for turned in (False, True) for level in self._levels(turned)]
        self.repairs = Repairs(formula, self.samples, question.holds)

    def causes(self) -> tuple[Diagnosis, ...]:
        return tuple(islice(self._causes(), MOST_CAUSES))

    def _causes(self) -> Iterator[Diagnosis]:
        """Stage by stage, the cheap and telling ones first; what explains the line spares the later ones."""
        ends = [c for stage in (self._boundary, self._idle_derivatives) for c in self._fresh(stage)]
        found = [*ends, *(list(self._fresh(self._summed)) or self._fresh(self._residual))]
        yield from found
        if found:
            return
        others = list(self._fresh(self._other_derivatives))
        slips = [partial(self._slips, rows, side) for rows in ROWS for side in self.sides]
        stages: list[Stage] = [self._nearby, *slips]
        for stage in stages:
            found = list(self._fresh(stage))
            if found or (others and stage is slips[0]):
                yield from (*others, *found)
                return

    def _fresh(self, stage: Stage) -> Iterator[Diagnosis]:
        """What a stage finds, with trials of its own."""
        self.repairs.trials = 0
        return stage()

    def say(self, node: Basic) -> str:
        """On one line."""
        return " ".join(text(node, self.notation).split())

    # --- an end of the lattice

    def _boundary(self) -> Iterator[Diagnosis]:
        condition = partial(boundary.condition, self.system.lattice, self.free, self.formula.lhs)
        if condition(self.samples.survey(self.formula)) is None:
            return
        found = condition(self.question.survey(self.formula))
        if found is not None:
            only, end = self.say(found.relation), self.say(found.end)
            sentence = f"true for {only} only: for {end} the two sides differ"
            yield Diagnosis("boundary", sentence, repair=expr.Implies(found.relation, self.formula))

    # --- paths

    def _other_derivatives(self) -> Iterator[Diagnosis]:
        """A total derivative where the immediate one is meant, or the other way round."""
        return self._slips(DERIVATIVES, self.everywhere)

    def _levels(self, turned: bool) -> Iterator[tuple[Contribution, ...]]:
        """The sums that the left side is, or the right one; what is written in derivatives is read so first."""
        shorthand, other = self.formula.args[:: -1 if turned else 1]
        side = meant(shorthand, self.definitions)
        unworked = any(isinstance(n, (expr.Partial, expr.Pulled)) for n in expr.walk(other))
        found = [
            tuple(Contribution(self._spelled(c.term), c.path) for c in level)
            for level in residual.levels(self.system, self.question.hold, side)
        ]
        yield from found if unworked else found[::-1]

    def _summed(self) -> Iterator[Diagnosis]:
        """Slips in what is summed, where something is: its terms may vanish, and then any other mends the line."""
        places = [s for s in self.sides[0] if s.indices() or isinstance(s.node, (expr.Sum, expr.Product))]
        found = [
            (self.samples.idle_terms(cause.repair), cause) for cause in self._slips(SUMMED, places) if cause.repair
        ]
        least = min((idle for idle, _ in found), default=0)
        return (cause for idle, cause in found if idle == least)

    def _residual(self) -> Iterator[Diagnosis]:
        found = [
            (turned, parts, len(parts) == len(level))
            for turned, level in self.sums
            if (parts := self._lacking(turned, level)) is not None
        ]
        for turned, parts, whole in sorted(found, key=_unnamed):
            causes = list(self._recounted(turned, counted.by_kind(parts, whole)))
            yield from causes
            if causes:
                yield from self._other_derivatives()
                return

    def _lacking(self, turned: bool, level: tuple[Contribution, ...]) -> Parts | None:
        return residual.explain(level, Equals(*self.formula.args[::-1]) if turned else self.formula, self.samples)

    def _recounted(self, turned: bool, kinds: dict[str, Parts]) -> Iterator[Diagnosis]:
        """A cause for each kind, with the line in which what is missing is added, and what is there is counted rightly."""
        missing = kinds.get("missing-path", ())
        wrong = [kind for kind in kinds if kind != "missing-path"]
        line = self._with(turned, missing)
        if len(wrong) > 1:
            return
        kind, change, repair = "", None, line if not wrong and self.repairs.mends(line) else None
        if wrong:
            kind, change, repair = self._counted(turned, line, wrong[0])
        if repair is None and wrong == ["double-count"] and len(kinds[wrong[0]]) == 1:
            less = self._with(turned, (*missing, *kinds[wrong[0]]))
            kind, repair = wrong[0], less if self.repairs.mends(less) else None
        if repair is None:
            return
        side = self.formula.args[turned]
        for named, parts in kinds.items():
            if change is not None and named in wrong and not (kind == named == "double-count"):
                yield self._cause(kind, change, repair)
                continue
            paths = tuple(tuple(map(typed, part.path)) for part, _ in parts if part.path)
            lacks = counted.total(parts) if named == "missing-path" else None
            yield Diagnosis(named, counted.sentence(named, parts, side, self.say), paths, lacks, repair)

    def _with(self, turned: bool, parts: Parts) -> Equals:
        """The line with what is lacking added to the side that lacks it."""
        side, other = self.formula.args[:: -1 if turned else 1]
        return Equals(*(side, _sum(other, counted.total(parts)) if parts else other)[:: -1 if turned else 1])

    def _counted(self, turned: bool, line: Equals, kind: str) -> tuple[str, Change | None, Equals | None]:
        """The least edit that counts a term of `line` once."""
        places = [site for site in sites(line) if site.is_right != turned]
        for named, row in COUNTED[kind]:
            for site in places:
                for change in _changes(row, site, self.pool):
                    if (mended := self.repairs.tried(site, change)) is not None:
                        return change.kind or named, change, mended
        return kind, None, None

    # --- slips of the pen

    @cached_property
    def truths(self) -> tuple[Node, ...]:
        """Right sides that the engine derives for this left side."""
        found = right_sides(self.system, tuple(self.question.hold), meant(self.formula.lhs, self.definitions))
        return (*dict.fromkeys(map(self._spelled, found)),)

    def _spelled(self, node: Node) -> Node:
        """Without names that the line does not have."""
        return spelled(self.system, tuple(self.question.hold), node, self.formula)

    @cached_property
    def pool(self) -> Pool:
        derived = [c.term for _, level in self.sums for c in level]
        return Pool(self.system, self.formula, (*derived, *self.truths))

    @cached_property
    def everywhere(self) -> tuple[Site, ...]:
        return tuple(sites(self.formula))

    @cached_property
    def sides(self) -> tuple[tuple[Site, ...], ...]:
        """The places of the right side, and those of the left."""
        return tuple(tuple(s for s in self.everywhere if s.is_right == right) for right in (True, False))

    def _nearby(self) -> Iterator[Diagnosis]:
        """Slips at the place where the line departs from what the engine derives."""
        found = sorted(departures(self.formula, self.truths), key=lambda departure: departure[0].size)
        for site, right in found:
            for stage in (
                partial(self._changed, site, departed(site, right)),
                *(partial(self._slips, rows, suspects(site)) for rows in ROWS[:2]),
                partial(self._changed, site, replaced(site, right)),
            ):
                causes = list(stage())
                yield from causes
                if causes:
                    return

    def _changed(self, site: Site, changes: Iterator[tuple[str, Change]]) -> Iterator[Diagnosis]:
        for kind, change in changes:
            mended = self.repairs.tried(site, change)
            if mended is not None:
                yield self._cause(kind, change, mended)

    def _idle_derivatives(self) -> Iterator[Diagnosis]:
        """Slips in a derivative that is zero everywhere, which nobody writes on purpose."""
        places = [s for s in self.everywhere if self.repairs.is_idle(s.node) or self.repairs.is_idle(s.parent)]
        return self._slips((*ROWS[0], ("symbol", insertions.quantities)), places)

    def _slips(self, rows: Rows, places: Sequence[Site]) -> Iterator[Diagnosis]:
        for kind, row in rows:
            for site in places:
                for change in _changes(row, site, self.pool):
                    if self._is_spent():
                        return
                    mended = self.repairs.tried(site, change)
                    if mended is not None:
                        yield self._cause(change.kind or kind, change, mended)

    def _cause(self, kind: str, change: Change, mended: Equals) -> Diagnosis:
        return Diagnosis(kind, change.words.format(*map(self.say, change.nodes)), repair=mended)

    def _is_spent(self) -> bool:
        return self.repairs.trials >= MOST_TRIALS or perf_counter() > self.deadline


def _changes(row: Callable[[Site, Pool], Iterator[Change]], site: Site, pool: Pool) -> Iterator[Change]:
    """What the row proposes; an edit that has no shape ends the list."""
    proposed = iter(row(site, pool))
    while True:
        try:
            yield next(proposed)
        except (StopIteration, DeriveError):
            return


def _unnamed(found: tuple[bool, Parts, bool]) -> tuple[bool, int, int]:
    """What the right side lacks before what the left does; few contributions before many, those of paths before others."""
    return found[0], len(found[1]), sum(not part.path for part, _ in found[1])


def _sum(side: Node, term: Node) -> Node:
    return term if isinstance(side, expr.Zero) else expr.add(side, term)
