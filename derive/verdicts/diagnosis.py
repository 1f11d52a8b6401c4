"""Why a line is wrong: the smallest changes that make it right.

    boundary   it is true but at an end of the lattice
    residual   its two sides differ by what some paths contribute
    edits      one slip of the pen: `ROWS`

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
from derive.verdicts import boundary, counted, edits, insertions, reordered, residual
from derive.verdicts.departed import departed, replaced
from derive.verdicts.derived import charged, departures, right_sides, suspects, typed
from derive.verdicts.edits import Change
from derive.verdicts.pool import Pool
from derive.verdicts.report import Diagnosis
from derive.verdicts.residual import Contribution, Parts
from derive.verdicts.samples import Samples, places
from derive.verdicts.sites import Site, sites

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


Rows: TypeAlias = "tuple[tuple[str, Callable[[Site, Pool], Iterator[Change]]], ...]"
Stage: TypeAlias = "Callable[[], Iterator[Diagnosis]]"
DERIVATIVES: Rows = (("double-count", edits.derivatives),)
ROWS: tuple[Rows, ...] = (
    (
        ("extra-term", edits.extra_terms),
        ("sign", edits.signs),
        ("transpose", edits.transposes),
        ("index", edits.indices),
        ("order", reordered.orders),
        ("hadamard", reordered.hadamards),
        ("bounds", edits.bounds),
        ("activation", insertions.activations),
        ("symbol", insertions.symbols),
        ("factor", edits.factors),
        ("factor", edits.extra_factors),
        ("missing-sum", insertions.missing_sums),
    ),
    (
        ("factor", insertions.missing_factors),
        ("missing-path", insertions.missing_terms),
        ("symbol", insertions.quantities),
    ),
    (("symbol", insertions.exchanged),),
)
"""Kind and edit, in groups: where one of a group explains the line, the later and larger ones are not tried."""


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
        self.samples = Samples(places(question.trial(formula)), ends).telling(formula)
        self.sums = [(turned, level) for turned in (False, True) for level in self._levels(turned)]
        self.trials = 0
        self.repairs: set[Basic] = set()

    def causes(self) -> tuple[Diagnosis, ...]:
        return tuple(islice(self._causes(), MOST_CAUSES))

    def _causes(self) -> Iterator[Diagnosis]:
        """Stage by stage, the cheap and telling ones first; what explains the line spares the later ones."""
        found = [c for stage in (self._boundary, self._idle_derivatives, self._residual) for c in self._fresh(stage)]
        yield from found
        if found:
            return
        others = list(self._fresh(self._other_derivatives))
        small, *larger = (partial(self._slips, rows, self.everywhere) for rows in ROWS)
        stages: list[Stage] = [self._nearby, small, *larger]
        for stage in stages:
            found = list(self._fresh(stage))
            if found or (others and stage is small):
                yield from (*others, *found)
                return

    def _fresh(self, stage: Stage) -> Iterator[Diagnosis]:
        """What a stage finds, with trials of its own."""
        self.trials = 0
        return stage()

    def say(self, node: Basic) -> str:
        """On one line."""
        return " ".join(text(node, self.notation).split())

    def _mends(self, repair: Equals) -> bool:
        """Whether the full check accepts the line; each line once."""
        if repair in self.repairs:
            return False
        self.repairs.add(repair)
        try:
            return self.question.holds(repair)
        except DeriveError:
            return False

    # --- an end of the lattice

    def _boundary(self) -> Iterator[Diagnosis]:
        free = self.question.trial(self.formula).free_names
        condition = partial(boundary.condition, self.system.lattice, free, self.formula.lhs)
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
        side, other = self.formula.args[:: -1 if turned else 1]
        unworked = any(isinstance(n, (expr.Partial, expr.Pulled)) for n in expr.walk(other))
        found = list(residual.levels(self.system, self.question.hold, side))
        yield from found if unworked else found[::-1]

    def _residual(self) -> Iterator[Diagnosis]:
        found = [(turned, parts) for turned, level in self.sums if (parts := self._lacking(turned, level)) is not None]
        for turned, missing in sorted(found, key=_unnamed):
            side, other = self.formula.args[:: -1 if turned else 1]
            repair = Equals(*(side, _sum(other, counted.total(missing)))[:: -1 if turned else 1])
            if self._mends(repair):
                for kind, parts in counted.by_kind(missing).items():
                    paths = tuple(tuple(map(typed, part.path)) for part, _ in parts if part.path)
                    lacks = counted.total(parts) if kind == "missing-path" else None
                    said = counted.sentence(kind, parts, side, self.say)
                    yield Diagnosis(kind, said, paths, lacks, self._without(kind) or repair)
                yield from self._other_derivatives()
                return

    def _lacking(self, turned: bool, level: tuple[Contribution, ...]) -> Parts | None:
        return residual.explain(level, Equals(*self.formula.args[::-1]) if turned else self.formula, self.samples)

    def _without(self, kind: str) -> Equals | None:
        """The line with a term less, where what is counted twice stands in it as a term."""
        if kind != "double-count":
            return None
        for site in sites(self.formula):
            for change in edits.extra_terms(site, self.pool):
                mended = self._tried(site, change)
                if mended is not None:
                    return mended
        return None

    # --- slips of the pen

    @cached_property
    def truths(self) -> tuple[Node, ...]:
        """Right sides that the engine derives for this left side."""
        return right_sides(self.system, tuple(self.question.hold), self.formula.lhs)

    @cached_property
    def pool(self) -> Pool:
        derived = [c.term for _, level in self.sums for c in level]
        return Pool(self.system, self.formula, (*derived, *self.truths))

    @cached_property
    def everywhere(self) -> tuple[Site, ...]:
        return tuple(sites(self.formula))

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
            mended = self._tried(site, change)
            if mended is not None:
                yield self._cause(kind, change, mended)

    def _idle_derivatives(self) -> Iterator[Diagnosis]:
        """Slips in a derivative that is zero everywhere, which nobody writes on purpose."""
        places = [s for s in self.everywhere if self._is_idle(s.node) or self._is_idle(s.parent)]
        return self._slips((*ROWS[0], ("symbol", insertions.quantities)), places)

    def _is_idle(self, node: Basic) -> bool:
        return isinstance(node, (expr.Partial, expr.Pulled, expr.GradientOf)) and self.samples.vanishes(node)

    def _slips(self, rows: Rows, places: Sequence[Site]) -> Iterator[Diagnosis]:
        for kind, row in rows:
            for site in places:
                for change in _changes(row, site, self.pool):
                    if self._is_spent():
                        return
                    mended = self._tried(site, change)
                    if mended is not None:
                        yield self._cause(change.kind or kind, change, mended)

    def _cause(self, kind: str, change: Change, mended: Equals) -> Diagnosis:
        return Diagnosis(kind, change.words.format(*map(self.say, change.nodes)), repair=mended)

    def _is_spent(self) -> bool:
        return self.trials >= MOST_TRIALS or perf_counter() > self.deadline

    def _is_emptied(self, repair: Equals) -> bool:
        """Whether all that stood on a side was taken away."""
        return any(isinstance(b, expr.Zero) and a is not b for a, b in zip(self.formula.args, repair.args, strict=True))

    def _adds_nothing(self, new: Basic) -> bool:
        """Whether a zero was put in, with which all that is wrong goes away."""
        return any(map(self._is_idle, expr.walk(new)))

    def _tried(self, site: Site, change: Change) -> Equals | None:
        """The mended line, if the change mends it."""
        self.trials += 1
        try:
            bare = site.put(change.new)
            if bare.lhs.shape != bare.rhs.shape or not self.samples.agree(bare.lhs, bare.rhs):
                return None
            repair = site.settle(change.new)
            if self._is_emptied(repair) or self._adds_nothing(change.new):
                return None
        except (DeriveError, TypeError, AttributeError):
            return None
        return repair if self._mends(repair) else None


def _changes(row: Callable[[Site, Pool], Iterator[Change]], site: Site, pool: Pool) -> Iterator[Change]:
    """What the row proposes; an edit that has no shape ends the list."""
    proposed = iter(row(site, pool))
    while True:
        try:
            yield next(proposed)
        except (StopIteration, DeriveError):
            return


def _unnamed(found: tuple[bool, Parts]) -> tuple[int, int]:
    """Few contributions before many, those of paths before others."""
    return len(found[1]), sum(not part.path for part, _ in found[1])


def _sum(side: Node, term: Node) -> Node:
    return term if isinstance(side, expr.Zero) else expr.add(side, term)
