"""What a claim is put to the oracles with: the system, the shorthands, what is held, which steps there are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from sympy import Basic, Expr, Integer, Mod, Symbol

from derive import expr
from derive.errors import DeriveError
from derive.evaluate import COMPARE, Unevaluable, integer
from derive.expr import Equals
from derive.lattice import Lattice
from derive.oracles import ROADS, Verdict
from derive.oracles.check import Trial
from derive.oracles.points import LENGTHS, Steps, dimensions_of, free_indices, sizes
from derive.oracles.truth import VARIANTS
from derive.ranges import without_extrema
from derive.reader import limits
from derive.system import Parts, System
from derive.verdicts import kinks
from derive.verdicts.shorthands import Definition, explain

LONGEST = 4
"""Every question is asked at 1 to 4 steps."""
OF_PRODUCTS = 6
"""A product over an index also at so many: a path may need five steps to come back to where a factor is wrong."""
BEYOND = 3
"""So far beyond the largest number that stands in a line."""
QUICK = 3


@dataclass(frozen=True)
class Question:
    """The context of a claim.

    `conditions` are relations of indices that pick the points; `ones`: every dimension is 1; `beyond`: what lies beyond
    the first and the last step is zero, where a point at which it is read is left out otherwise; `values` are what
    parameters and inputs are in the formula (the system has them already); `given` are inequalities of values that pick
    the points, too, and with `everywhere` only draws in which they are true at all steps.
    """

    system: System
    definitions: tuple[Definition, ...] = ()
    hold: tuple[str, ...] = ()
    loss: str | None = None
    unroll: int | None = None
    conditions: tuple[Basic, ...] = ()
    ones: bool = False
    beyond: bool = False
    values: tuple[tuple[str, expr.Node], ...] = ()
    given: tuple[expr.Relation, ...] = ()
    everywhere: bool = False
    seed: int = field(default=0, compare=False)

    # --- asking ---

    def ask(self, formula: Equals, road: str = "field") -> Verdict:
        """Both sides at every point, by one road; *undecided* where a side has no value."""
        if self.unroll is None and self.largest(formula) > limits.MOST_STEPS:
            reason = f"it takes more steps than {limits.MOST_STEPS}, which are as many as are tried"
            return Verdict("undecided", road, 0, 0, reason=reason)
        try:
            trial = self.trial(formula)
            found = trial.verdict(road)
            return kinks.settled(trial, found, road) if found.verdict == "holds" and ROADS[road].exact else found
        except DeriveError as error:
            return Verdict("undecided", road, 0, 0, reason=str(error))

    def holds(self, formula: Equals) -> bool:
        return self.ask(formula).verdict == "holds"

    def quick(self, formula: Equals) -> bool | None:
        """At a few points only: False is certain (in the field), True is likely, None: it has no value."""
        try:
            outcome = next(iter(self._quick_outcomes(formula)), None)
        except DeriveError:
            return None
        return None if outcome is None else outcome

    def _quick_outcomes(self, formula: Equals) -> Iterator[bool]:
        trial = self.trial(formula)
        few = [run for run in trial.runs or () if _length(run[1]) <= QUICK] or list(trial.runs or ())
        outcome = trial.ask(next(replace(trial, runs=few[-1:]).truths(ROADS["field"])))
        if outcome.points:
            yield outcome.failure is None

    def survey(self, formula: Equals) -> list[tuple[dict[str, int], bool]]:
        """At every point where both sides exist, whether they agree."""
        try:
            return self.trial(formula).survey()
        except DeriveError:
            return []

    def certify(self, formula: Equals, found: Verdict) -> Verdict:
        """By balls, at the point at which an exact road tells the two sides apart."""
        failure = found.failure
        if failure is None:
            return found
        names = list(map(str, self.system.lattice.lengths))
        count = tuple(failure.at[name] for name in names)
        dimensions = {name: value for name, value in failure.at.items() if name not in names}
        try:
            trial = self.trial(formula)
            size = {
                d: dimensions[str(d)]
                for d in (*trial.system.dimensions, *dimensions_of(formula))
                if str(d) in dimensions
            }
            there = replace(trial, runs=[(size, count)], first=found.seeds - 1).verdict("ball")
            # Balls are other numbers than those at which the premises were found to be true.
            draws = (replace(trial, first=n).verdict("ball") for n in range(len(VARIANTS) if self.given else 0))
            return there if there.verdict == "fails" else next((v for v in draws if v.verdict == "fails"), there)
        except DeriveError as error:
            return Verdict("undecided", "ball", 0, 0, reason=str(error))

    def trial(self, formula: Equals) -> Trial:
        apart = {s: Symbol(f"{s}′") for s in self._clashing(formula)}
        definitions = [(expr.at(target, apart), expr.at(value, apart)) for target, value in self.definitions]
        plain = with_values(without_extrema(expr.at(formula, apart)), self.values)
        explained = explain(self.system, plain, definitions)
        given = [explain(self.system, self._sides(g, apart), definitions) for g in self.given]
        return Trial(
            explained.system,
            explained.formula,
            runs=list(self._runs(explained.system, formula)),
            only=self._only(explained.formula, [expr.at(c, apart) for c in self.conditions]),
            telling=_full(explained.formula),
            loss=self.loss,
            outside="zero" if self.beyond else None,
            hold=self.hold,
            definitions={name: found for e in (*given, explained) for name, found in e.definitions.items()},
            auxiliary=explained.auxiliary,
            free=True,
            seed=self.seed,
            everywhere=self.everywhere,
            given=[expr.Relation(g.op, *e.formula.args) for g, e in zip(self.given, given, strict=True)],
        )

    def _sides(self, given: expr.Relation, apart: Mapping[Symbol, Symbol]) -> Equals:
        """The two sides of an inequality as an equation has them: its shorthands are worked out in the same way."""
        sides = with_values(without_extrema(expr.at(given, apart)), self.values)
        return Equals(sides.lhs, sides.rhs)

    def _clashing(self, formula: Equals) -> set[Symbol]:
        """The letters of indices that are the letter of a size, too: in `h_m` of a network with `x: m` it is another m."""
        letters = index_letters(formula).union(*(index_letters(value) for _, value in self.definitions))
        sizes_ = {str(d) for d in (*self.system.dimensions, *dimensions_of(formula))}
        return {s for s in letters if str(s) in sizes_} if sizes_ else set()

    # --- where ---

    def steps(self, formula: Equals) -> Steps:
        """1 to 4 steps; more than any number that stands in an index or a bound; only so many as `unroll` says."""
        dimension, largest = self.system.lattice.dimension, self.largest(formula)
        if self.unroll is not None:
            return [(self.unroll,) * dimension]
        if dimension > 1:
            grids = LENGTHS.get(dimension, ((1,) * dimension, (2,) * dimension))
            return [*grids, *([(largest + BEYOND,) * dimension] if 1 < largest <= LONGEST else [])]
        few = list(range(1, LONGEST + 1))
        if any(isinstance(node, expr.Product) for node in expr.walk(formula)):
            few.append(OF_PRODUCTS)
        more = (largest, largest + BEYOND) if 1 < largest <= limits.MOST_STEPS else ()
        return [*few, *(n for n in more if n > LONGEST and n not in few)]

    def largest(self, formula: Equals) -> int:
        """The largest number in an index, a bound or a condition: a line is asked well beyond it."""
        return max((n for root in (formula, *self.conditions) for n in literals(root)), default=0)

    def _runs(self, system: System, formula: Equals) -> Iterator[tuple[Mapping[Any, int], int | tuple[int, ...]]]:
        """Every number of steps at one set of unequal sizes; one of them at another, where sizes tell more than steps."""
        letters, steps = [*system.dimensions, *dimensions_of(formula)], self.steps(formula)
        if self.ones:
            yield from ((dict.fromkeys(letters, 1), count) for count in steps)
            return
        first, second = sizes(system, ROADS["field"], dimensions_of(formula))
        yield from ((first, count) for count in steps)
        if letters and first != second:
            yield second, ([c for c in steps if _length(c) <= QUICK] or list(steps))[-1]

    def _only(self, formula: Equals, given: Sequence[Basic]) -> Any:
        conditions = [*given, *ranges_of(formula)]
        return (lambda env: all(_is_true(c, env) for c in conditions)) if conditions else None


def with_values(root: Any, values: Iterable[tuple[str, expr.Node]]) -> Any:
    """A formula with values in place of names.  Raises `Unevaluable` where a derivative is taken by such a name."""
    known = dict(values)
    if not known:
        return root
    for node in expr.walk(root):
        x = node.args[1] if isinstance(node, (expr.Partial, expr.Pulled, expr.GradientOf)) else None
        if isinstance(x, expr.Var) and x.name in known:
            raise Unevaluable(f"a derivative by {x} says nothing where {x} is one value")

    def leaf(node: Basic) -> Basic:
        return known.get(node.name, node) if isinstance(node, expr.Var) and not node.marks else node

    return expr.rewrite(root, leaf)


def _length(count: int | tuple[int, ...]) -> int:
    return count if isinstance(count, int) else max(count)


def _is_true(condition: Any, env: Mapping[str, int]) -> bool:
    """Whether a condition on indices holds; one that says nothing of the indices here picks no point out."""
    try:
        return bool(COMPARE[SIGNS[condition.op]](integer(condition.lhs, env), integer(condition.rhs, env)))
    except Unevaluable:
        return True


SIGNS = {"=": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def is_condition(statement: Basic) -> bool:
    """Whether a statement compares indices."""
    return isinstance(statement, expr.Relation) and statement.op in SIGNS and not any(
        isinstance(side, expr.Node) for side in (statement.lhs, statement.rhs)
    )  # fmt: skip


_PARITY = re.compile(
    r"\b(?:(?P<even>even)|odd)\s+(?P<after>[A-Za-z])\b|\b(?P<before>[A-Za-z])\s+(?:is\s+)?(?:(?P<even_>even)|odd)\b"
)


def conditions_of(where: Iterable[Basic]) -> Iterator[Basic]:
    """What a display says of when it holds, as far as that is about indices: relations, `T even`."""
    for said in where:
        if is_condition(said):
            yield said
        elif isinstance(said, expr.Words) and (found := _PARITY.search(said.text)) is not None:
            letter = Symbol(found["after"] or found["before"], integer=True)
            yield expr.Relation("=", Mod(letter, 2), Integer(0 if found["even"] or found["even_"] else 1))


@lru_cache(maxsize=1024)
def ranges_of(formula: Basic) -> tuple[Basic, ...]:
    """A product from `k+1` to `t` is claimed where that is a range, or an empty one, and a power `W^{t-k}` for `k ≤ t`."""
    bounds = [expr.Relation("<=", lo - 1, hi) for lo, hi in _products(formula)]
    for node in expr.walk(formula):
        letters = node.args[1].free_symbols if isinstance(node, (expr.MatrixPower, expr.Power)) else set()
        if len(letters) > 1 and {str(s) for s in letters} <= free_indices(formula):
            bounds.append(expr.Relation(">=", node.args[1], 0))
    return tuple(dict.fromkeys(bounds))


def _products(formula: Basic) -> tuple[tuple[Expr, Expr], ...]:
    """The bounds of the products that run between free letters."""
    free = free_indices(formula)
    ranges = [node.args[1].args[1:] for node in expr.walk(formula) if isinstance(node, expr.Product)]
    return tuple(
        (lo, hi)
        for lo, hi in ranges
        if lo.free_symbols and hi.free_symbols and {str(s) for s in lo.free_symbols | hi.free_symbols} <= free
    )


def _full(formula: Basic) -> Any:
    """Whether no product is empty at a point: where all are, a line is true of the identity, and says nothing."""
    products = _products(formula)
    return (lambda env: all(integer(lo, env) <= integer(hi, env) for lo, hi in products)) if products else None


@lru_cache(maxsize=4096)
def index_letters(root: Basic) -> frozenset[Symbol]:
    """The letters that stand in an index, and those that sums and products run over."""
    found: set[Symbol] = set()
    for node in expr.walk(root):
        if isinstance(node, expr.Var):
            found.update(s for i in node.index for s in i.free_symbols)
        elif isinstance(node, (expr.Sum, expr.Product)):
            found.update(a.args[0] for a in node.args[1:] if not a.is_Integer)
    return frozenset(found)


@lru_cache(maxsize=4096)
def literals(root: Basic) -> frozenset[int]:
    """The numbers that stand in indices, as distances between them, and in bounds."""
    found: set[int] = set()
    for node in expr.walk(root):
        expressions: list[Expr] = []
        if isinstance(node, expr.Var):
            expressions += node.index
        elif isinstance(node, (expr.Sum, expr.Product)):
            expressions += [bound for a in node.args[1:] if not a.is_Integer for bound in a.args[1:]]
        elif isinstance(node, expr.Relation):
            expressions += [side for side in (node.lhs, node.rhs) if not isinstance(side, expr.Node)]
        found |= {
            abs(int(n))
            for e in expressions
            if isinstance(e, Expr)
            for n in e.as_coefficients_dict().values()
            if n.is_Integer
        }
    return frozenset(found)


@lru_cache(maxsize=8)
def nothing(letters: tuple[str, ...] = ("t",)) -> System:
    """A system without equations, for claims that speak of none."""
    lattice = Lattice.named(letters)
    return System.of(Parts("", "", "", lattice, {}, {}, ()))
