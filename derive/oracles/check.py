"""Is this equation true?  Both sides at every point of small lattices, all that they read taken from the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

from sympy import Basic, Expr, Tuple

from derive import expr
from derive.errors import DeriveError
from derive.evaluate import Array, Point, Unevaluable, children, evaluate, integer, point
from derive.field import PRIME_BITS, Element, Resample
from derive.oracles import chain
from derive.oracles.road import Road, lengths
from derive.oracles.truth import ATTEMPTS, Key, Outside, Unrolled, preactivation

if TYPE_CHECKING:
    from derive.system import System


@dataclass(frozen=True)
class Failure:
    """Where two sides differ: the sizes and indices, the entry, what stands left and right there."""

    at: dict[str, int]
    entry: tuple[int, int]
    left: str
    right: str

    def __str__(self) -> str:
        where = ", ".join(f"{name} = {value}" for name, value in self.at.items())
        row, column = (k + 1 for k in self.entry)
        return f"entry ({row}, {column}) at {where}: {self.left} on the left, {self.right} on the right"


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


SENTENCES: dict[str, Callable[[Verdict], str]] = {
    "holds": lambda v: (
        f"holds at {v.points} points: exactly, over F_p with p = 2^61 - 1 and {v.seeds} seeds, "
        f"wrong with a probability of at most {v.error_bound:.1e}"
        + (f"; in float64, largest relative error {v.max_rel_err:.1e}" if v.max_rel_err is not None else "")
        if v.error_bound is not None
        else f"holds at {v.points} points, by {v.method} in float64: largest relative error {v.max_rel_err:.1e}"
    ),
    "fails": lambda v: f"fails, by {v.method}: {v.failure}",
    "defines": lambda v: f"defines: {v.reason}",
    "undecided": lambda v: f"undecided: {v.reason}",
}

BOUND = 2.0**-60
MOST_SEEDS = 16
SIZES = ((3, 4, 5, 6, 7, 8), (5, 3, 4, 7, 6, 9))
LENGTHS = {1: ((1,), (2,), (3,), (4,)), 2: ((1, 1), (1, 3), (2, 2), (3, 2)), 3: ((1, 1, 1), (1, 2, 2), (2, 2, 2))}


def check_equation(
    system: System,
    equation: expr.Equals,
    *,
    derived: System | None = None,
    road: Road | str = "field",
    ranges: Mapping[Any, tuple[Any, Any]] | None = None,
    outside: str | None = None,
    steps: Sequence[int | tuple[int, ...]] | None = None,
    loss: str | None = None,
    extent: Sequence[tuple[int, int]] = (),
    hold: Sequence[str] = (),
    seed: int = 0,
) -> Verdict:
    """Is the equation true at every point of the lattice where both of its sides exist, for every number of steps?

    What is read is the truth: forward names from `system`, unrolled; `h_bar` the gradient of the loss, `z_delta` that
    by a pre-activation, `h_dot` the derivative along random `W_dot`, `x_dot`; `Partial`, `Pulled`, `GradientOf` the
    derivatives that they name; any other name from its equation in `derived`.  Names in `hold` are constants
    throughout.

    `ranges` gives free indices other bounds than `1 … T`, in symbols if need be (`{k: (1, t)}`); `extent` widens the
    lattice's own.  `outside` is what a forward variable means beyond the lattice, where it is no boundary value: "skip"
    the point, or "zero", as in the equations of a system (the default where the left side is an adjoint or a tangent).
    """
    if isinstance(road, str):
        from derive.oracles import ROADS

        road = ROADS[road]
    question = _Question(system, derived, equation, dict(ranges or {}), outside, tuple(extent), frozenset(hold))
    if isinstance(equation.lhs, expr.Var) and derived is not None and introduces(system, equation.lhs):
        return Verdict("defines", road.name, 0, 0, reason=f"this equation is what {equation.lhs.name} means")
    errors: list[float] = []
    worst, points, seeds = 0.0, 0, 0
    while seeds < (2 if road.exact else 1) or (errors and BOUND < math.prod(errors) < 1 and seeds < MOST_SEEDS):
        error = 0.0
        for sizes, count in product(_sizes(system, road), steps or _steps(system, road)):
            try:
                truth = _truth(
                    system, road, tuple({**sizes, **lengths(system, count)}.items()), seed * MOST_SEEDS + seeds, loss
                )
                outcome = question.ask(truth)
            except Resample as unlucky:
                return Verdict("undecided", road.name, seeds, points, reason=str(unlucky))
            points, worst = points + outcome.points, max(worst, outcome.difference)
            if outcome.failure:
                return Verdict(
                    "fails", road.name, seeds + 1, points, PRIME_BITS if road.exact else None,
                    max_rel_err=None if road.exact else worst, failure=outcome.failure,
                )  # fmt: skip
            error = max(error, truth.engine.error_bound(outcome.degree) or 0.0) if outcome.points else error
        errors += [error] if road.exact else []
        seeds += 1
    if not points:
        return Verdict("undecided", road.name, seeds, 0, reason="there is no point at which both sides exist")
    if not road.exact:
        return Verdict("holds", road.name, seeds, points, max_rel_err=worst)
    bound = math.prod(errors)
    reason = "" if bound < BOUND else "the error bound is too weak"
    return Verdict("undecided" if reason else "holds", road.name, seeds, points, PRIME_BITS, bound, reason=reason)


def check_system(system: System, derived: System, **options: Any) -> dict[str, Verdict]:
    """Every equation that `derived` (an adjoint, a tangent) adds to `system`."""
    return {
        equation.name: check_equation(
            system, expr.Equals(equation.target, equation.rhs), derived=derived, extent=equation.extent, **options
        )
        for equation in derived.own
        if equation.name not in system.equations
    }


def _sizes(system: System, road: Road) -> list[dict[Any, int]]:
    dimensions = system.dimensions
    if road.small:
        return [dict.fromkeys(dimensions, 2)]
    sets = SIZES if road.exact else SIZES[:1]
    return [{d: s[k] if k < len(s) else 3 + k for k, d in enumerate(dimensions)} for s in sets]


def sample_sizes(system: System, road: Road) -> dict[Any, int]:
    """One set of sizes at which the road is asked."""
    return _sizes(system, road)[0]


def _steps(system: System, road: Road) -> Sequence[int | tuple[int, ...]]:
    dimension = system.lattice.dimension
    if road.exact:
        return LENGTHS.get(dimension, ((1,) * dimension, (2,) * dimension))
    if dimension > 1:
        return [(2,) * dimension]
    # One step more than the furthest read, so that there is a point from which it stays inside.
    furthest = max((abs(o[0]) for _, _, o in system.reads), default=0)
    return [max(*road.lengths, furthest + 1)]


@lru_cache(maxsize=256)
def _truth(system: System, road: Road, sizes: tuple[tuple[Any, int], ...], seed: int, loss: str | None) -> Unrolled:
    """The same unrolled system serves every question that is asked of it."""
    return Unrolled(system, road, dict(sizes), seed, loss)


@dataclass(frozen=True)
class _Outcome:
    points: int
    degree: int = 0
    difference: float = 0.0
    failure: Failure | None = None


@dataclass(frozen=True, eq=False)
class _Question:
    system: System
    derived: System | None
    equation: expr.Equals
    ranges: dict[Any, tuple[Any, Any]]
    outside: str | None
    extent: tuple[tuple[int, int], ...]
    held: frozenset[str]

    def ask(self, truth: Unrolled) -> _Outcome:
        reader = _Reader(self, truth)
        points, degree, worst = 0, 0, 0.0
        for env in self._points(truth):
            try:
                left, right = reader.sides(self.equation, env)
            except Outside:
                continue
            points += 1
            if left.shape != right.shape:
                return _Outcome(points, failure=Failure(env, (0, 0), f"shape {left.shape}", f"shape {right.shape}"))
            difference, entry = truth.engine.difference(left, right)
            worst = max(worst, difference)
            if entry is not None:
                return _Outcome(points, degree, worst, Failure(env, entry, str(left[entry]), str(right[entry])))
            degree = max(degree, max((e.d for e in (*left.flat, *right.flat) if isinstance(e, Element)), default=0))
        return _Outcome(points, degree, worst)

    @cached_property
    def zero_outside(self) -> bool:
        if self.outside is not None:
            return self.outside == "zero"
        lhs = self.equation.lhs
        return isinstance(lhs, expr.Var) and bool(lhs.marks) and lhs.marks[-1] in MARKS

    @cached_property
    def free(self) -> tuple[str, ...]:
        """The index symbols that the equation is about: the lattice's first, then the others in alphabetical order."""
        found = free_indices(self.equation) | {str(s) for s in self.ranges}
        own = [str(i) for i in self.system.lattice.indices]
        return (*(i for i in own if i in found), *sorted(found - set(own)))

    def _points(self, truth: Unrolled) -> list[dict[str, int]]:
        bounds = {str(k): v for k, v in self.ranges.items()}
        found = [dict(truth.sizes)]
        for name in (n for n in self.free if n not in truth.sizes):
            found = [{**e, name: i} for e in found for i in self._range(name, bounds, truth, e)]
        return found

    def _range(
        self, name: str, bounds: Mapping[str, tuple[Any, Any]], truth: Unrolled, env: Mapping[str, int]
    ) -> range:
        if name in bounds:
            lo, hi = (integer(b, env) if isinstance(b, Expr) else int(b) for b in bounds[name])
            return range(lo, hi + 1)
        axis = truth.indices.index(name) if name in truth.indices else 0
        before, after = self.extent[axis] if self.extent and name in truth.indices else (0, 0)
        return range(1 - before, truth.lengths[axis] + after + 1)


def free_indices(root: Basic) -> set[str]:
    """The symbols that stand in indices and bounds of `root` and are bound by no sum or product."""
    found: set[str] = set()
    pending: list[tuple[Basic, frozenset[str]]] = [(root, frozenset())]
    while pending:
        node, bound = pending.pop()
        expressions: list[Expr] = []
        if isinstance(node, expr.Var):
            expressions.extend(node.index)
        elif isinstance(node, expr.At):
            expressions.extend((*node.index, *node.point))
        elif isinstance(node, (expr.Partial, expr.Pulled, expr.GradientOf)):
            pending.extend((v, bound) for v in node.args[:3] if isinstance(v, expr.Node))
        elif isinstance(node, (expr.Sum, expr.Product)):
            ranges = node.args[1:] if isinstance(node, expr.Sum) else node.args[1:2]
            inner = bound
            for index, lo, hi in ranges:
                found.update(str(s) for e in (lo, hi) for s in e.free_symbols if str(s) not in inner)
                inner = inner | {str(index)}
            pending.append((node.args[0], inner))
        elif isinstance(node, (expr.Scale, expr.Power, expr.MatrixPower, expr.Entry)):
            expressions.extend(a for a in node.args if not isinstance(a, expr.Node))
            pending.extend((child, bound) for child in children(node))
        elif isinstance(node, (expr.Statement, Tuple)):
            pending.extend((side, bound) for side in node.args if isinstance(side, (expr.Node, expr.Statement, Tuple)))
            expressions.extend(a for a in node.args if isinstance(a, Expr) and not isinstance(a, expr.Node))
        elif isinstance(node, expr.Cases):
            pending.extend((pair, bound) for pair in node.args)
        else:
            pending.extend((child, bound) for child in children(node))
        found.update(str(s) for e in expressions for s in e.free_symbols if str(s) not in bound)
    return found


def introduces(system: System, var: expr.Var) -> bool:
    """Whether `var` is known by its equation only: a `delta` of a state that is no single activation."""
    if not var.marks or var.marks[-1] != "delta" or var.name in system.variables:
        return False
    equation = system.equations.get("_".join((var.base, *var.marks[:-1])))
    return equation is None or preactivation(equation) is None


class _Reader:
    """What the names in an equation are worth, by the truth."""

    attempt = 0
    met_outside = False

    def __init__(self, question: _Question, truth: Unrolled):
        self.question, self.truth = question, truth
        self._derived = truth.derived.setdefault(question.derived or question, {}).setdefault(question.held, {})

    def sides(self, equation: expr.Equals, env: Mapping[str, int]) -> tuple[Array, Array]:
        """Both values.  What stands beyond the lattice is zero; where the root of a variance that is zero does not
        exist, it is drawn at random, since nothing flows back from there."""
        for attempt in range(ATTEMPTS):
            try:
                self.attempt = attempt
                return self.value(equation.lhs, env), self.value(equation.rhs, env)
            except Resample:
                if not self.met_outside:
                    raise
        raise Resample("no values beyond the lattice were found for which all square roots exist")

    def value(self, node: expr.Node, env: Mapping[str, int]) -> Array:
        return evaluate(node, self.truth.engine.ring, self.read, {}, env, self.partial)

    def read(self, var: expr.Var, at: Point) -> Array:
        if var.name in self.truth.system.variables or not var.marks:
            return self._forward(var, at)
        base, mark = "_".join((var.base, *var.marks[:-1])), var.marks[-1]
        if base in self.truth.system.variables and mark in MARKS and not introduces(self.truth.system, var):
            return MARKS[mark](self, base, at)
        return self._from_equation(var, at)

    def _forward(self, var: expr.Var, at: Point) -> Array:
        kind = self.truth.system.variable(var.name).kind
        try:
            return self.truth.value(var.name, () if chain.is_copy(self.truth, (var.name, at)) else at)
        except Outside:
            if not self.question.zero_outside:
                raise
            self.met_outside = True
            if not self.attempt or kind == "cotangent":
                return self._zeros(var.shape)
            return self.truth.random((f"{var.name} outside {self.attempt}", at), var.shape)

    def _bar(self, name: str, at: Point) -> Array:
        return chain.gradient(self.truth, (name, at), self.question.held)

    def _delta(self, name: str, at: Point) -> Array:
        return self.truth.delta(name, at, self.question.held)

    def _dot(self, name: str, at: Point) -> Array:
        tangent = self.truth.tangent
        try:
            return self._once((f"{name}_dot", at), lambda: tangent(name, at, self._directions(), self.question.held))
        except Outside:
            return self._zeros(self.truth.system.variables[name].shape)

    def _zeros(self, shape: expr.Shape) -> Array:
        return self.truth.engine.ring.full(0, *(integer(n, self.truth.sizes) for n in shape))

    def _directions(self) -> dict[Key, Array]:
        """A random direction for everything that varies: not for a state, nor for what is zero at the border."""
        if DIRECTIONS not in self._derived:
            self._derived[DIRECTIONS] = {leaf: self._direction(leaf) for leaf in self.truth.leaves if self._moves(leaf)}
        return self._derived[DIRECTIONS]

    def _moves(self, leaf: Key) -> bool:
        system, derived = self.truth.system, self.question.derived
        if leaf in self.truth.boundary_leaves:
            return system.boundary.get(leaf[0], "zero") != "zero"
        variable = system.variables.get(leaf[0])
        free = variable is not None and variable.kind != "state"
        return free and (derived is None or f"{leaf[0]}_dot" in derived.variables)

    def _direction(self, leaf: Key) -> Array:
        return self.truth.random((f"{leaf[0]}_dot", leaf[1]), self.truth.system.variables[leaf[0]].shape)

    def _from_equation(self, var: expr.Var, at: Point) -> Array:
        derived = self.question.derived
        equation = derived.equations.get(var.name) if derived else None
        if equation is None:
            if derived is None or var.name not in derived.variables:
                raise DeriveError(f"{var.name} is neither of {self.truth.system.name} nor derived of it")
            return self._once((var.name, at), lambda: self.truth.random((var.name, at), var.shape))
        if at not in set(self.truth.domain(equation)):
            return self._zeros(var.shape)
        return self._once((var.name, at), lambda: self.value(equation.rhs, self.truth.env(at)))

    def _once(self, key: Key, value: Callable[[], Array]) -> Array:
        if key not in self._derived:
            self._derived[key] = value()
        return self._derived[key]

    def partial(self, node: Any, env: Mapping[str, int], *pulled: Array) -> Array:
        return DERIVATIVES[type(node)](self, node, env, *pulled)

    def _partial(self, node: expr.Partial, env: Mapping[str, int]) -> Array:
        return self._jacobian(node, env, self.question.held | frozenset(node.held))

    def _pulled(self, node: expr.Pulled, env: Mapping[str, int], cotangent: Array) -> Array:
        """`(∂y/∂x)* d`; of an immediate partial by one backward sweep."""
        y, x = self._key(node.args[0], env), self._key(node.args[1], env)
        if y is not None and x is not None and node.immediate and chain.is_direct(self.truth, y, x):
            return self.truth.pullback(*y, *x, cotangent)
        row = self.truth.engine.ring.matmul(cotangent.reshape(1, -1), self._jacobian(node, env, self.question.held))
        return row.reshape(self._zeros(node.shape).shape)

    def _gradient_of(self, node: expr.GradientOf, env: Mapping[str, int]) -> Array:
        return self._jacobian(node, env, self.question.held).reshape(self._zeros(node.shape).shape)

    def _jacobian(self, node: Any, env: Mapping[str, int], held: frozenset[str]) -> Array:
        """Entries of `y` by entries of `x`, total or immediate."""
        y, x = self._key(node.args[0], env), self._key(node.args[1], env)
        if x is None:
            raise Unevaluable(f"a derivative by {node.args[1]} is not worked out, so it has no value here")
        if y is None:
            return chain.of_expression(self.truth, node.args[0], x, env, self.read, total=not node.immediate, held=held)
        return chain.immediate(self.truth, y, x) if node.immediate else chain.jacobian(self.truth, y, x, held)

    def _key(self, node: expr.Node, env: Mapping[str, int]) -> Key | None:
        """The name and the point of a variable of the system; None for anything else."""
        if not isinstance(node, expr.Var) or node.name not in self.truth.system.variables:
            return None
        return node.name, point(node.index, env)


DERIVATIVES: dict[type, Callable[..., Array]] = {
    expr.Partial: _Reader._partial,
    expr.Pulled: _Reader._pulled,
    expr.GradientOf: _Reader._gradient_of,
}
DIRECTIONS: Key = ("", ())
MARKS: dict[str, Callable[[_Reader, str, Point], Array]] = {
    "bar": _Reader._bar,
    "dot": _Reader._dot,
    "delta": _Reader._delta,
}
