"""The truth about a system, by one road: its forward equations, unrolled for a number of steps and differentiated there.

Every state is computed as `rhs + ε` with a leaf `ε = 0` of its own, so that the gradient by a state is that by its `ε`, and a
held state is a constant plus its `ε`.  Where the right side is one activation, its argument has a leaf of its own too: the
gradient by that is the adjoint of the pre-activation, `z_delta`.  Nothing here knows how a matrix product or a tanh is differentiated: the road does.

    key       (name, point): ("h", (2,)), ("W", ()) for what has no index
    leaf      parameters, inputs, boundary values, and the ε of every state (and of its pre-activation)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary
from zlib import crc32

import numpy
from sympy import Basic, Expr, Symbol

from derive import expr
from derive.errors import DeriveError
from derive.evaluate import VECTORIAL, Array, Point, children, environment, evaluate, function, integer, reads
from derive.field import PRIME_BITS, Element, Resample
from derive.oracles.road import Engine, Linearization, Road, Settle, lengths

if TYPE_CHECKING:
    from derive.evaluate import Ring
    from derive.system import Equation, System

Key: TypeAlias = "tuple[str, Point]"
TOTAL: Key = ("", ())
ATTEMPTS = 2000


class Outside(DeriveError):
    """A point at which something that is read does not exist."""


class Unrolled:
    """A system over concrete lengths, at random values drawn from `seed`, differentiated by `road`.

    `sizes` gives dimensions and lengths (`{n: 3, m: 4, T: 2}`, symbols or names).  `loss` is "every" or "last"; left out,
    it is the system's own.  Values and derivatives come out plain: float64 arrays, or field elements off the tape.
    """

    def __init__(self, system: System, road: Road, sizes: Mapping[Any, int], seed: int, loss: str | None = None):
        self.system, self.road, self.seed = system, road, seed
        self.loss = loss or system.loss
        self.sizes = environment(sizes)
        self.lengths = tuple(integer(length, self.sizes) for length in system.lattice.lengths)
        self.indices = tuple(map(str, system.lattice.indices))
        self.schedule, self._borders = self._plan()
        self._positive = _needs_positive(system)
        self._simplex = _distributions(system)
        self._draws: dict[Point, int] = {}
        self._runs: dict[frozenset[str], Linearization] = {}
        self._pulled: dict[Any, dict[Key, Array]] = {}
        self.derived: WeakKeyDictionary[Any, dict[Key, Array]] = WeakKeyDictionary()
        """What the names of a derived system were found to be worth."""
        self._restart()

    # --- what is computed, and in which order ---------------------------------------------------------------------

    @property
    def points(self) -> Iterator[Point]:
        return product(*(range(1, length + 1) for length in self.lengths))

    def domain(self, equation: Equation) -> Iterator[Point]:
        """The points at which an equation holds; `()` alone for one without an index."""
        if not equation.target.index:
            return iter([()])
        extent = equation.extent or ((0, 0),) * len(self.lengths)
        return product(*(range(1 - lo, n + hi + 1) for n, (lo, hi) in zip(self.lengths, extent, strict=True)))

    def env(self, at: Point) -> dict[str, int]:
        return {**self.sizes, **dict(zip(self.indices, at, strict=False))}

    def _plan(self) -> tuple[list[Key], list[Key]]:
        """Every state at every point, each after what it reads; and the boundary values that are read."""
        equations = self.system.equations
        pending: list[tuple[Key, bool]] = [((n, p), False) for n, e in equations.items() for p in self.domain(e)][::-1]
        inside = {key for key, _ in pending}
        done: dict[Key, None] = {}
        open_: set[Key] = set()
        outside: dict[Key, None] = {}
        while pending:
            key, ready = pending.pop()
            if ready:
                done[key] = None
                open_.discard(key)
            elif key not in done:
                if key in open_:
                    raise DeriveError(f"{self.system.name}: {show(key)} is read before it can be computed")
                open_.add(key)
                pending.append((key, True))
                for var, at in reads(equations[key[0]].rhs, self.env(key[1])):
                    read = (var.name, at)
                    if read in inside:
                        pending.extend([(read, False)] if read not in done else [])
                    elif at and not self._within(at):
                        outside[read] = None
        return list(done), list(outside)

    def _within(self, at: Point) -> bool:
        return all(1 <= i <= n for i, n in zip(at, self.lengths, strict=True))

    # --- values ---------------------------------------------------------------------------------------------------

    def _restart(self) -> None:
        """Draw, run; where the field can't go on (`Resample`), draw anew what stands at the point that it stopped at."""
        for _ in range(ATTEMPTS):
            self.engine: Engine = self.road.engine(self.seed)
            self.leaves = dict(self._draw())
            try:
                self._at: Key = TOTAL
                self._runs = {frozenset(): self.engine.linearize(self._program(frozenset()), self.leaves)}
                return
            except Resample:
                inputs = any(key in self.leaves for v in self.system.of_kind("input") for key in [(v.name, self._at[1])])
                point = self._at[1] if inputs else ()
                self._draws[point] = self._draws.get(point, 0) + 1
        raise Resample(f"{self.system.name}: no random point was found at which all square roots and quotients exist")

    def _draw(self) -> Iterator[tuple[Key, Array]]:
        for variable in self.system.variables.values():
            if variable.kind != "state":
                for at in self.points if variable.indexed else [()]:
                    yield (variable.name, at), self.random((variable.name, at), variable.shape)
        for name, at in self._borders:
            variable = self.system.variables[name]
            if self.system.boundary.get(name, "zero") == "zero":
                yield (name, at), self._zeros(variable.shape)
            else:
                yield (name, at), self.random((name, at), variable.shape)
        for name, at in self.schedule:
            shape = self.system.equations[name].target.shape
            yield (name, at), self._zeros(shape)
            if preactivation(self.system.equations[name]) is not None:
                yield (before(name), at), self._zeros(shape)

    def random(self, key: Key, shape: expr.Shape) -> Array:
        """The value of a leaf: the same floats for every road."""
        label = f"{show(key)} {self._draws.get(key[1], 0)}"
        generator = numpy.random.default_rng([self.seed & 0xFFFFFFFF, crc32(label.encode())])
        low, high = (0.5, 1.5) if self._positive or key[0] in self._simplex else (-1.0, 1.0)
        floats = generator.uniform(low, high, self._shape(shape))
        return self.engine.leaf(label, floats, key[0] in self._simplex)

    def _shape(self, shape: expr.Shape) -> tuple[int, int]:
        return integer(shape[0], self.sizes), integer(shape[1], self.sizes)

    def _zeros(self, shape: expr.Shape) -> Array:
        return self.engine.ring.full(0, *self._shape(shape))

    def _program(self, held: frozenset[str]) -> Callable[[Ring, Mapping[Any, Array], Settle], dict[Any, Array]]:
        constants = {key: self.value(*key) for key in self.schedule if key[0] in held}

        def program(ring: Ring, leaves: Mapping[Any, Array], settle: Settle) -> dict[Any, Array]:
            values: dict[Any, Array] = {}

            def read(var: expr.Var, at: Point) -> Array:
                key = (var.name, at)
                return values[key] if key in values else leaves[key]

            for key in self.schedule:
                self._at = key
                if key in constants:
                    value = ring.lift(constants[key])
                else:
                    value = self._state(key, ring, leaves, read)
                values[key] = settle(key, value + leaves[key])
            losses = [values[self.system.loss_name, at] for at in self._loss_points()]
            return {**values, TOTAL: sum(losses[1:], losses[0])}

        return program

    def _state(self, key: Key, ring: Ring, leaves: Mapping[Any, Array], read: Callable[[expr.Var, Point], Array]) -> Array:
        equation, env = self.system.equations[key[0]], self.env(key[1])
        inner = preactivation(equation)
        if inner is None:
            return evaluate(equation.rhs, ring, read, {}, env)
        moved = evaluate(inner, ring, read, {}, env) + leaves[before(key[0]), key[1]]
        return function(ring, equation.rhs.function, 0, moved)

    def _loss_points(self) -> list[Point]:
        return [self.lengths] if self.loss == "last" else list(self.points)

    def value(self, name: str, at: Point = ()) -> Array:
        """A state, an input, a parameter or a boundary value.  Raises `Outside` where there is none."""
        key = (name, at)
        if key in self._runs[frozenset()].values:
            return self._runs[frozenset()].values[key]
        if key not in self.leaves:
            raise Outside(f"{show(key)} does not exist for {self.lengths} steps")
        return self.leaves[key]

    # --- derivatives ----------------------------------------------------------------------------------------------

    def run(self, held: Iterable[str] = ()) -> Linearization:
        names = frozenset(held) & frozenset(self.system.equations)
        if names not in self._runs:
            self._runs[names] = self.engine.linearize(self._program(names), self.leaves)
        return self._runs[names]

    def _pull(self, key: Key, entry: tuple[int, int], held: frozenset[str] = frozenset()) -> dict[Any, Array]:
        """The derivatives of one entry of a state, or of the total loss, by every leaf."""
        found = self._pulled.get((key, entry, held))
        if found is None:
            run = self.run(held)
            rows, columns = run.values[key].shape
            unit = self.engine.ring.constant([[int((i, j) == entry) for j in range(columns)] for i in range(rows)])
            found = self._pulled[key, entry, held] = run.pull(key, unit)
        return found

    def gradient(self, name: str, at: Point = ()) -> Array:
        """`∇ L` by a state at a point, a parameter, an input or a boundary value; zero outside the domain."""
        pulled = self._pull(TOTAL, (0, 0))
        return pulled[name, at] if (name, at) in pulled else self._zeros(self.system.variables[name].shape)

    def delta(self, name: str, at: Point) -> Array:
        """The gradient of the total loss by the pre-activation of a state; zero outside the domain."""
        pulled = self._pull(TOTAL, (0, 0))
        key = (before(name), at)
        return pulled[key] if key in pulled else self._zeros(self.system.variables[name].shape)

    def jacobian(self, y: str, y_point: Point, x: str, x_point: Point, held: Iterable[str] = ()) -> Array:
        """`∂y/∂x` through the unrolled graph, numerator layout: entries of `y` by entries of `x`, each row by row.

        Names in `held` are constants.  `y` without an index, where it is the loss, is the total loss.  Raises `Outside`.
        """
        names = frozenset(held)
        key = TOTAL if y == self.system.loss_name and not y_point else (y, y_point)
        if (x, x_point) not in self.leaves:
            raise Outside(f"{show((x, x_point))} does not exist for {self.lengths} steps")
        if key not in self.run(names).values:
            return self._of_leaf((y, y_point), (x, x_point))
        rows, columns = self.run(names).values[key].shape
        pulls = [self._pull(key, (i, j), names) for i in range(rows) for j in range(columns)]
        return numpy.concatenate([pull[x, x_point].reshape(1, -1) for pull in pulls])

    def _of_leaf(self, y: Key, x: Key) -> Array:
        rows, columns = self.value(*y).size, self.value(*x).size
        return self.engine.ring.identity(rows) if x == y else self.engine.ring.full(0, rows, columns)

    def immediate(self, y: str, y_point: Point, x: str, x_point: Point) -> Array:
        """`∂⁺y/∂x`: only the equation of `y` is differentiated, everything that it reads is a leaf."""
        equation = self.system.equations[y]
        read = {(var.name, at): self.value(var.name, at) for var, at in reads(equation.rhs, self.env(y_point))}
        if (y, y_point) == (x, x_point) or (x, x_point) not in read:
            return self._of_leaf((y, y_point), (x, x_point))
        run = self.engine.linearize(
            lambda ring, leaves, settle: {
                TOTAL: evaluate(equation.rhs, ring, lambda var, at: leaves[var.name, at], {}, self.env(y_point))
            },
            read,
        )
        rows = run.values[TOTAL].shape[0]
        units = (self.engine.ring.constant([[int(i == k)] for i in range(rows)]) for k in range(rows))
        return numpy.concatenate([run.pull(TOTAL, unit)[x, x_point].reshape(1, -1) for unit in units])

    def tangent(self, name: str, at: Point, direction: Callable[[Key], Array | None]) -> Array:
        """`Σ <∂y/∂leaf, direction(leaf)>` over the leaves that have a direction."""
        key = (name, at)
        value = self.value(name, at)
        if key not in self.run().values:
            moved = direction(key)
            return self.engine.ring.full(0, *value.shape) if moved is None else moved
        moving = self._directions(direction)
        entries = []
        for i, j in numpy.ndindex(*value.shape):
            pulled = self._pull(key, (i, j))
            row = numpy.concatenate([pulled[leaf].reshape(-1) for leaf, _ in moving])
            entries.append(row @ numpy.concatenate([d.reshape(-1) for _, d in moving]))
        result = numpy.empty(value.shape, dtype=value.dtype)
        result.reshape(-1)[:] = entries
        return result

    def _directions(self, direction: Callable[[Key], Array | None]) -> list[tuple[Key, Array]]:
        states = {*self.schedule, *((before(name), at) for name, at in self.schedule)}
        found = [(leaf, direction(leaf)) for leaf in self.leaves if leaf not in states]
        return [(leaf, d) for leaf, d in found if d is not None]

    # --- by name --------------------------------------------------------------------------------------------------

    def values(self) -> dict[str, Array]:
        """Every value by name: parameters `W`, trajectories `x` and `h` (time first), boundary values `h[0]`."""
        return self._named(self.value)

    def gradients(self) -> dict[str, Array]:
        """The gradient of the total loss by everything, under the names of `values`."""
        return self._named(self.gradient)

    def _named(self, of: Callable[[str, Point], Array]) -> dict[str, Array]:
        found = {}
        for variable in self.system.variables.values():
            name, shape = variable.name, variable.shape
            index = variable.indexed and (name not in self.system.equations or bool(self.system.equations[name].target.index))
            if index:
                stacked = numpy.stack([_flat(of(name, at), shape) for at in self.points])
                found[name] = stacked.reshape(*self.lengths, *stacked.shape[1:])
            else:
                found[name] = _flat(of(name, ()), shape)
        for key, places in self.border_points().items():
            name = key.partition("[")[0]
            arrays = [_flat(of(name, at), self.system.variables[name].shape) for at in places]
            found[key] = numpy.stack(arrays) if "," in key else arrays[0]
        return found

    def border_points(self) -> dict[str, list[Point]]:
        """`{"h[0]": [(0,)], "h[0,j]": [(0, 1), (0, 2), …]}`: where each boundary value that is given or learned lies."""
        found: dict[str, list[Point]] = {}
        for border in self.system.borders:
            axes = []
            for side, index, length in zip(border.sides, self.system.lattice.indices, self.lengths, strict=True):
                lone = side.coordinate(Symbol("_"), length) if side.depth else None
                axes.append(range(1, length + 1) if lone is None else [int(lone)])
            places = [at for at in product(*axes) if (border.variable, at) in self.leaves]
            if places:
                found[border.key] = places
        return found


def preactivation(equation: Equation) -> expr.Node | None:
    """The argument of the activation that the right side is, if it is one: `a` in `tanh(a)`."""
    rhs = equation.rhs
    if isinstance(rhs, expr.Apply) and rhs.function not in VECTORIAL and len(rhs.arguments) == 1 and rhs.order == 0:
        return rhs.arguments[0]
    return None


def before(name: str) -> str:
    """The name of the leaf at a state's pre-activation: no variable has a bar in its name."""
    return f"{name}|pre"


def _flat(a: Array, shape: expr.Shape) -> Array:
    """A column without its second axis, a true scalar without both."""
    if shape == expr.SCALAR:
        return a.reshape(())
    return a.reshape(-1) if shape[1] == 1 else a


def show(key: Key) -> str:
    return f"{key[0]}[{','.join(map(str, key[1]))}]" if key[1] else key[0]


def _applied(system: System) -> list[expr.Apply]:
    return [n for e in system.equations.values() for n in expr.walk(e.rhs) if isinstance(n, expr.Apply)]


def _needs_positive(system: System) -> bool:
    return any(node.function in ("log", "sqrt") for node in _applied(system))


def _distributions(system: System) -> frozenset[str]:
    """The targets of a cross-entropy, which sum to one."""
    seconds = [n.arguments[1] for n in _applied(system) if n.function == "cross_entropy"]
    return frozenset(v.name for v in seconds if isinstance(v, expr.Var) and v.name not in system.equations)


# --- verdicts ---------------------------------------------------------------------------------------------------------


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
    """*holds* is wrong with a probability of at most `error_bound` (exact roads), or means equal up to rounding (float roads).

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

    @property
    def certificate(self) -> dict[str, Any]:
        return {"method": self.method, "prime_bits": self.prime_bits, "seeds": self.seeds, "error_bound": self.error_bound}


BOUND = 2.0**-60
MOST_SEEDS = 6
SIZES = ((3, 4, 5, 6, 7, 8), (5, 3, 4, 7, 6, 9))
LENGTHS = {1: ((1,), (2,), (3,), (4,)), 2: ((1, 1), (1, 3), (2, 2), (3, 2)), 3: ((1, 1, 1), (1, 2, 2), (2, 2, 2))}

_truths: WeakKeyDictionary[System, dict[Any, Unrolled]] = WeakKeyDictionary()


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
) -> Verdict:
    """Is the equation true at every point of the lattice where both of its sides exist, for every number of steps?

    What is read is the truth: forward names from `system`, unrolled; `h_bar` the gradient of the loss, `h_dot` the derivative
    along random `W_dot`, `x_dot`; `Partial` the Jacobian; any other marked name (`z_delta`) from its equation in `derived`.
    `ranges` gives free indices other bounds than `1 … T`, in symbols if need be (`{k: (1, t)}`); `extent` widens the lattice's
    own.  `outside` is what a forward variable means beyond the lattice: "skip" the point, or "zero", as in the equations of a
    derived system (the default where the left side is such an equation's).
    """
    if isinstance(road, str):
        from derive.oracles import ROADS

        road = ROADS[road]
    question = _Question(system, derived, equation, dict(ranges or {}), outside, tuple(extent))
    if isinstance(equation.lhs, expr.Var) and derived is not None and introduces(system, equation.lhs):
        return Verdict("defines", road.name, 0, 0, reason=f"this equation is what {equation.lhs.name} means")
    errors: list[float] = []
    worst, points, seeds = 0.0, 0, 0
    while seeds < (2 if road.exact else 1) or (errors and math.prod(errors) > BOUND and seeds < MOST_SEEDS):
        error = 0.0
        for sizes, count in product(_sizes(system, road), steps or _steps(system, road)):
            try:
                truth = _truth(system, road, {**sizes, **lengths(system, count)}, seeds, loss)
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


def _steps(system: System, road: Road) -> Sequence[int | tuple[int, ...]]:
    dimension = system.lattice.dimension
    if road.exact:
        return LENGTHS.get(dimension, ((1,) * dimension, (2,) * dimension))
    return [max(road.lengths) if dimension == 1 else (2,) * dimension]


def _truth(system: System, road: Road, sizes: Mapping[Any, int], seed: int, loss: str | None) -> Unrolled:
    """The same unrolled system serves every question that is asked of it."""
    known = _truths.setdefault(system, {})
    key = (road.name, tuple(sorted((str(k), v) for k, v in sizes.items())), seed, loss)
    if key not in known:
        known[key] = Unrolled(system, road, sizes, seed, loss)
    return known[key]


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

    def ask(self, truth: Unrolled) -> _Outcome:
        reader = _Reader(self, truth)
        points, degree, worst = 0, 0, 0.0
        for env in self._points(truth):
            try:
                left, right = (reader.value(side, env) for side in (self.equation.lhs, self.equation.rhs))
            except Outside:
                continue
            points += 1
            if left.shape != right.shape:
                return _Outcome(points, failure=Failure(env, (0, 0), f"shape {left.shape}", f"shape {right.shape}"))
            difference, entry = truth.engine.difference(left, right)
            worst = max(worst, difference)
            if entry is not None:
                return _Outcome(points, degree, worst, Failure(env, entry, str(left[entry]), str(right[entry])))
            degree = max(degree, *(e.d for e in (*left.flat, *right.flat) if isinstance(e, Element)), 0, 0)
        return _Outcome(points, degree, worst)

    @cached_property
    def zero_outside(self) -> bool:
        if self.outside is not None:
            return self.outside == "zero"
        lhs = self.equation.lhs
        return self.derived is not None and isinstance(lhs, expr.Var) and lhs.name in self.derived.equations

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

    def _range(self, name: str, bounds: Mapping[str, tuple[Any, Any]], truth: Unrolled, env: Mapping[str, int]) -> range:
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
        elif isinstance(node, expr.Partial):
            pending.extend((v, bound) for v in node.args[:2])
        elif isinstance(node, (expr.Sum, expr.Product)):
            ranges = node.args[1:] if isinstance(node, expr.Sum) else node.args[1:2]
            inner = bound
            for index, lo, hi in ranges:
                found.update(str(s) for e in (lo, hi) for s in e.free_symbols if str(s) not in inner)
                inner = inner | {str(index)}
            pending.append((node.args[0], inner))
        elif isinstance(node, expr.Scale):
            expressions.extend(() if isinstance(node.args[0], expr.Node) else (node.args[0],))
            pending.extend((child, bound) for child in children(node))
        elif isinstance(node, expr.Equals):
            pending.extend((side, bound) for side in node.args)
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

    def __init__(self, question: _Question, truth: Unrolled):
        self.question, self.truth = question, truth
        self._derived = truth.derived.setdefault(question.derived or question, {})

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
        try:
            return self.truth.value(var.name, at)
        except Outside:
            if not self.question.zero_outside:
                raise
            return self.truth.engine.ring.full(0, *(integer(n, self.truth.sizes) for n in var.shape))

    def _bar(self, name: str, at: Point) -> Array:
        return self.truth.gradient(name, at)

    def _dot(self, name: str, at: Point) -> Array:
        try:
            return self._once((f"{name}_dot", at), lambda: self.truth.tangent(name, at, self._direction))
        except Outside:
            shape = self.truth.system.variables[name].shape
            return self.truth.engine.ring.full(0, *(integer(n, self.truth.sizes) for n in shape))

    def _delta(self, name: str, at: Point) -> Array:
        return self.truth.delta(name, at)

    def _direction(self, leaf: Key) -> Array | None:
        """A random direction for everything that varies: not for what is zero at the border."""
        variable = self.truth.system.variables[leaf[0]]
        zero = leaf in self.truth._borders and self.truth.system.boundary.get(leaf[0], "zero") == "zero"
        moves = self.question.derived is None or f"{leaf[0]}_dot" in self.question.derived.variables
        if zero or not moves:
            return None
        key = (f"{leaf[0]}_dot", leaf[1])
        return self._once(key, lambda: self.truth.random(key, variable.shape))

    def _from_equation(self, var: expr.Var, at: Point) -> Array:
        derived = self.question.derived
        equation = derived.equations.get(var.name) if derived else None
        if equation is None:
            if derived is None or var.name not in derived.variables:
                raise DeriveError(f"{var.name} is neither of {self.truth.system.name} nor derived of it")
            return self._once((var.name, at), lambda: self.truth.random((var.name, at), var.shape))
        if at not in set(self.truth.domain(equation)):
            return self.truth.engine.ring.full(0, *(integer(n, self.truth.sizes) for n in var.shape))
        return self._once((var.name, at), lambda: self.value(equation.rhs, self.truth.env(at)))

    def _once(self, key: Key, value: Callable[[], Array]) -> Array:
        if key not in self._derived:
            self._derived[key] = value()
        return self._derived[key]

    def partial(self, node: expr.Partial, y_point: Point, x_point: Point) -> Array:
        y, x = (v.name for v in node.args[:2])
        if node.immediate:
            return self.truth.immediate(y, y_point, x, x_point)
        return self.truth.jacobian(y, y_point, x, x_point, node.held)


MARKS: dict[str, Callable[[_Reader, str, Point], Array]] = {"bar": _Reader._bar, "dot": _Reader._dot, "delta": _Reader._delta}
