"""Is this equation true?  Both sides at every point of small lattices, all that they read taken from the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy
from sympy import Basic, Expr

from derive import expr
from derive.errors import DeriveError
from derive.evaluate import Array, Unevaluable, integer
from derive.oracles import clock, points
from derive.oracles.names import MARKS, Definitions, Given, Names, introduces
from derive.oracles.points import Steps, free_indices
from derive.oracles.road import Road, lengths
from derive.oracles.truth import VARIANTS, Outside, Unrolled
from derive.residues import Residue
from derive.scalars import Resample

if TYPE_CHECKING:
    from derive.system import System


@dataclass(frozen=True)
class Failure:
    """Where two sides differ: the sizes and indices, the entry, what stands left and right there."""

    at: dict[str, int]
    entry: tuple[int, int]
    left: str
    right: str

    @property
    def where(self) -> str:
        at = ", ".join(f"{name} = {value}" for name, value in self.at.items())
        row, column = (k + 1 for k in self.entry)
        return f"entry ({row}, {column}) at {at}"

    def __str__(self) -> str:
        return f"{self.where}: {self.left} on the left, {self.right} on the right"


@dataclass(frozen=True)
class Verdict:
    """*holds* is wrong with a probability of at most `error_bound` (exact roads), or means equal up to rounding (float
    roads).

    *defines*: the equation introduces its left side, there is nothing to compare.  *undecided* says why in `reason`.
    """

    verdict: str
    method: str
    seeds: int
    points: int
    prime_bits: int | None = None
    error_bound: float | None = None
    max_rel_err: float | None = None
    failure: Failure | None = None
    reason: str = ""

    def __bool__(self) -> bool:
        return self.verdict in ("holds", "defines")

    def __str__(self) -> str:
        return SENTENCES[self.verdict](self)

    @property
    def certificate(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "prime_bits": self.prime_bits,
            "seeds": self.seeds,
            "error_bound": self.error_bound,
        }


EXACT = {
    "field": "F_p with p = 2^61 - 1",
    "tower": "a tower of prime fields in which exp(a + b) = exp(a) exp(b)",
}

SENTENCES: dict[str, Callable[[Verdict], str]] = {
    "holds": lambda v: (
        f"holds at {v.points} points: exactly, over {EXACT[v.method]} and {v.seeds} seeds, "
        f"wrong with a probability of at most {v.error_bound:.1e}"
        + (f"; in float64, largest relative error {v.max_rel_err:.1e}" if v.max_rel_err is not None else "")
        + (f"; {v.reason}" if v.reason else "")
        if v.error_bound is not None
        else f"holds at {v.points} points, by {v.method} in float64: largest relative error {v.max_rel_err:.1e}"
    ),
    "fails": lambda v: f"fails, by {v.method}: {v.failure}",
    "defines": lambda v: f"defines: {v.reason}",
    "undecided": lambda v: f"undecided: {v.reason}",
}

NOWHERE = "there is no point at which both sides exist"
EMPTY = "every product in it is empty wherever both sides exist"
AT_FEW_STEPS = "both sides exist for a few steps only, not for as many as were tried"
BOUND = 2.0**-60
MOST_SEEDS = 16


def check_equation(
    system: System,
    equation: expr.Equals,
    *,
    road: Road | str = "field",
    **options: Any,
) -> Verdict:
    """Is the equation true at every point of the lattice where both of its sides exist, for every number of steps?

    What is read is the truth: forward names from `system`, unrolled; `h_bar` the gradient of the loss, `z_delta` that
    by a pre-activation, `h_dot` the derivative along random `W_dot`, `x_dot`; `Partial`, `Pulled`, `GradientOf` the
    derivatives that they name; any other name from its equation in `derived`.  Names in `hold` are constants
    throughout.  The options are those of `Trial`.
    """
    return Trial(system, equation, **options).verdict(road)


def check_system(system: System, derived: System, **options: Any) -> dict[str, Verdict]:
    """Every equation that `derived` (an adjoint, a tangent) adds to `system`."""
    return {
        equation.name: check_equation(
            system, expr.Equals(equation.target, equation.rhs), derived=derived, extent=equation.extent, **options
        )
        for equation in derived.own
        if equation.name not in system.equations
    }


@lru_cache(maxsize=256)
def _unrolled(
    system: System,
    road: Road,
    sizes: tuple[tuple[Any, int], ...],
    seed: int,
    loss: str | None,
    auxiliary: frozenset[str],
    variant: int,
) -> Unrolled | DeriveError:
    """The same unrolled system serves every question that is asked of it; what could not be unrolled in time, or at all,
    is not tried again."""
    try:
        return Unrolled(system, road, dict(sizes), seed, loss, auxiliary, variant)
    except DeriveError as error:
        return error


def forget() -> None:
    """Start anew: an unrolled system remembers what it was asked, and its error bounds grow with that."""
    _unrolled.cache_clear()


def _truth(*of: Any) -> Unrolled:
    found = _unrolled(*of)
    if isinstance(found, DeriveError):
        raise found
    return found


@lru_cache(maxsize=4096)
def _takes_an_extreme(root: Basic) -> bool:
    return any(
        (isinstance(n, expr.Apply) and n.function in ("max", "min")) or (isinstance(n, expr.Norm) and n.kind == "inf")
        for n in expr.walk(root)
    )


def _is_true(relation: expr.Relation, names: Names, env: Mapping[str, int]) -> bool:
    left, right = names.sides(expr.Equals(relation.lhs, relation.rhs), env)
    return bool(names.truth.engine.ring.compare(relation.op, left, right).all())


@dataclass(frozen=True)
class _Outcome:
    points: int
    degree: int = 0
    difference: float = 0.0
    failure: Failure | None = None
    error: float = 0.0
    reaches: bool = True
    """Whether there is a point for the largest number of steps: a line about a few steps only shows nothing."""
    told: bool = False


@dataclass(frozen=True, eq=False)
class Trial:
    """An equation and all that is agreed on where it is asked.

    `ranges` gives free indices other bounds than `1 … T`, in symbols if need be (`{k: (1, t)}`); `extent` widens the
    lattice's own; `only` picks points, of which one at
    least has to be `telling`.  `outside` is what a forward variable means beyond the lattice, where it is no
    boundary value: "skip" the point, or "zero", as in the equations of a system (the default where the left side is an
    adjoint or a tangent).  `steps` take the place of
    those of the road, `runs` those of the sizes too.  `definitions` are the
    shorthands of a text, `auxiliary` those that are states of the system here; `free` gives any value to a name that
    nothing explains.  `given` are inequalities of values: only points at which they are true are asked, and with
    `everywhere` only draws in which they are true at all steps.  `first` is the seed to begin with.
    """

    system: System
    equation: expr.Equals
    derived: System | None = None
    ranges: Mapping[Any, tuple[Any, Any]] | None = None
    outside: str | None = None
    steps: Steps | None = None
    runs: Sequence[tuple[Mapping[Any, int], int | tuple[int, ...]]] | None = None
    only: Callable[[Mapping[str, int]], bool] | None = None
    telling: Callable[[Mapping[str, int]], bool] | None = None
    loss: str | None = None
    extent: Sequence[tuple[int, int]] = ()
    hold: Sequence[str] = ()
    definitions: Definitions | None = None
    auxiliary: frozenset[str] = frozenset()
    free: bool = False
    seed: int = 0
    given: Sequence[expr.Relation] = ()
    everywhere: bool = False
    first: int = 0

    def verdict(self, road: Road | str = "field") -> Verdict:
        road = _road(road)
        lhs = self.equation.lhs
        if isinstance(lhs, expr.Var) and self.derived is not None and introduces(self.system, lhs):
            return Verdict("defines", road.name, 0, 0, reason=f"this equation is what {lhs.name} means")
        errors: list[float] = []
        worst, count, seeds, reaches, told = 0.0, 0, 0, True, False
        least = 1 if not road.exact else len(VARIANTS) if self.chooses else 2
        while seeds < least or (errors and BOUND < math.prod(errors) < 1 and seeds < MOST_SEEDS):
            try:
                with numpy.errstate(over="ignore"):  # 1 / (1 + exp(-x)) is 0 there, as it should be
                    found = self._under(road, self.first + seeds)
            except (Resample, Unevaluable) as unlucky:
                if self.first + seeds >= 2 and isinstance(unlucky, Resample):  # a variant that has no real values
                    seeds += 1
                    continue
                return Verdict("undecided", road.name, seeds, count, reason=str(unlucky))
            seeds, count, worst, reaches = seeds + 1, count + found.points, max(worst, found.difference), found.reaches
            told = told or found.told
            if found.failure:
                error = None if road.exact else worst
                return Verdict(
                    "fails", road.name, seeds, count, _prime_bits(road), max_rel_err=error, failure=found.failure
                )
            # The other variants are there to find a branch that is wrong; the bound is that of the usual values.
            counts = found.points and (bool(self.given) or self._variant(self.first + seeds - 1) < 2)
            errors += [found.error] if road.exact and counts else []
        if not count or not reaches or not told:
            reason = NOWHERE if not count else AT_FEW_STEPS if not reaches else EMPTY
            return Verdict("undecided", road.name, seeds, count, reason=reason)
        if not road.exact:
            return Verdict("holds", road.name, seeds, count, max_rel_err=worst)
        bound = math.prod(errors)
        reason = "" if bound < BOUND else "the error bound is too weak"
        return Verdict(
            "undecided" if reason else "holds", road.name, seeds, count, _prime_bits(road), bound, reason=reason
        )

    def _under(self, road: Road, seed: int) -> _Outcome:
        """What one seed shows at all sizes and numbers of steps, up to the first failure."""
        points, worst, error, told = 0, 0.0, 0.0, False
        at_lengths: dict[tuple[int, ...], int] = {}
        for truth in self.truths(road, seed):
            found = self.ask(truth)
            points, worst, told = points + found.points, max(worst, found.difference), told or found.told
            at_lengths[truth.lengths] = at_lengths.get(truth.lengths, 0) + found.points
            if found.failure:
                return replace(found, points=points, difference=worst)
            error = max(error, truth.engine.error_bound(found.degree) or 0.0) if found.points else error
        longest = max(at_lengths, key=math.prod, default=())
        reaches = self.only is not None or bool(self.given) or bool(at_lengths.get(longest))
        return _Outcome(points, difference=worst, error=error, reaches=reaches, told=told)

    def truths(self, road: Road, seed: int = 0) -> Iterator[Unrolled]:
        """The system, unrolled, at every set of sizes and every number of steps."""
        for sizes, count in self.runs or product(
            points.sizes(self.system, road, points.dimensions_of(self.equation)),
            self.steps or points.steps(self.system, road),
        ):
            items = tuple({**sizes, **lengths(self.system, count)}.items())
            yield _truth(
                self.system, road, items, self.seed * MOST_SEEDS + seed, self.loss, self.auxiliary, self._variant(seed)
            )

    def _variant(self, seed: int) -> int:
        return seed if self.chooses and seed < len(VARIANTS) else 0

    @cached_property
    def chooses(self) -> bool:
        """Whether a greater or a lesser of two values is taken anywhere, or only points of some values are asked."""
        defined = (value for several in (self.definitions or {}).values() for _, value in several)
        roots = (self.equation, *(e.rhs for e in self.system.equations.values()), *defined)
        return bool(self.given) or any(map(_takes_an_extreme, roots))

    def ask(self, truth: Unrolled) -> _Outcome:
        count, degree, worst, told = 0, 0, 0.0, False
        for env, left, right in self.sides(truth):
            count += 1
            told = told or self.telling is None or self.telling(env)
            if left.shape != right.shape:
                return _Outcome(count, failure=Failure(env, (0, 0), f"shape {left.shape}", f"shape {right.shape}"))
            difference, entry = truth.engine.difference(left, right)
            worst = max(worst, difference)
            if entry is not None:
                return _Outcome(count, degree, worst, Failure(env, entry, str(left[entry]), str(right[entry])))
            degree = max(degree, max((e.d for e in (*left.flat, *right.flat) if isinstance(e, Residue)), default=0))
        return _Outcome(count, degree, worst, told=told)

    def survey(self, road: Road | str = "field") -> list[tuple[dict[str, int], bool]]:
        """Every point where both sides exist, and whether they agree there."""
        found = []
        for truth in self.truths(_road(road)):
            for env, left, right in self.sides(truth):
                agree = left.shape == right.shape and truth.engine.difference(left, right)[1] is None
                found.append((env, agree))
        return found

    def sides(self, truth: Unrolled) -> Iterator[tuple[dict[str, int], Array, Array]]:
        """Both sides at every point at which they exist."""
        names = self.names(truth)
        for env in self.points(truth):
            clock.check()
            try:
                if not all(_is_true(relation, names, env) for relation in self.given):
                    continue
                if self.everywhere and not self._supposed_everywhere(names, env):
                    continue
                left, right = names.sides(self.equation, env)
            except Outside:
                continue
            yield env, left, right

    def _supposed_everywhere(self, names: Names, env: Mapping[str, int]) -> bool:
        truth = names.truth
        for at, relation in product(truth.points, self.given):
            try:
                if not _is_true(relation, names, {**env, **dict(zip(truth.indices, at, strict=True))}):
                    return False
            except Outside:
                continue
        return True

    def names(self, truth: Unrolled) -> Names:
        """What the names of the equation are worth there."""
        return Names(self._given, truth)

    @cached_property
    def _given(self) -> Given:
        return Given(
            self.derived,
            frozenset(self.hold),
            self._zero_outside,
            self.definitions or {},
            self.free,
        )

    @cached_property
    def _zero_outside(self) -> bool:
        if self.outside is not None:
            return self.outside == "zero"
        lhs = self.equation.lhs
        return isinstance(lhs, expr.Var) and bool(lhs.marks) and lhs.marks[-1] in MARKS

    @cached_property
    def free_names(self) -> tuple[str, ...]:
        """The index symbols that the equation is about: the lattice's first, then the others in alphabetical order."""
        found = free_indices(self.equation) | {str(s) for s in self.ranges or {}}
        own = [str(i) for i in self.system.lattice.indices]
        return (*(i for i in own if i in found), *sorted(found - set(own)))

    def points(self, truth: Unrolled) -> list[dict[str, int]]:
        """Every choice of the free indices."""
        bounds = {str(k): v for k, v in (self.ranges or {}).items()}
        found = [dict(truth.sizes)]
        for name in (n for n in self.free_names if n not in truth.sizes):
            found = [{**e, name: i} for e in found for i in self._range(name, bounds, truth, e)]
        return found if self.only is None else [env for env in found if self.only(env)]

    @cached_property
    def _entries(self) -> dict[str, list[Any]]:
        """The letters that count the entries of a vector or a matrix, and how far they go."""
        found: dict[str, list[Any]] = {}
        for node in expr.walk(self.equation):
            if isinstance(node, expr.Entry):
                for position, size in zip(node.args[1:], node.args[0].shape, strict=True):
                    if position.is_Symbol:
                        found.setdefault(str(position), []).append(size)
        return found

    def _range(
        self, name: str, bounds: Mapping[str, tuple[Any, Any]], truth: Unrolled, env: Mapping[str, int]
    ) -> range:
        if name in self._entries and name not in truth.indices:
            return range(1, min(integer(size, env) for size in self._entries[name]) + 1)
        if name in bounds:
            lo, hi = (integer(b, env) if isinstance(b, Expr) else int(b) for b in bounds[name])
            return range(lo, hi + 1)
        axis = truth.indices.index(name) if name in truth.indices else 0
        before, after = self.extent[axis] if self.extent and name in truth.indices else (0, 0)
        return range(1 - before, truth.lengths[axis] + after + 1)


@lru_cache
def _prime_bits(road: Road) -> int | None:
    return road.engine(0).ring.smallest.bit_length() if road.exact else None  # type: ignore[attr-defined]


def _road(road: Road | str) -> Road:
    if isinstance(road, Road):
        return road
    from derive.oracles import ROADS

    return ROADS[road]
