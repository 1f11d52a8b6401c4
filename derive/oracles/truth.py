"""The truth about a system, by one road: its forward equations, unrolled for a number of steps and differentiated
there.

Every state is computed as `rhs + ε` with a leaf `ε = 0` of its own, so that the gradient by a state is that by its
`ε`, and a held state is a constant plus its `ε`.  Where the right side is one activation, its argument has a leaf of
its own too: the gradient by that is the adjoint of the pre-activation, `z_delta`.  Nothing here knows how a matrix
product or a tanh is differentiated: the road does.

    key       (name, point): ("h", (2,)), ("W", ()) for what has no index
    leaf      parameters, inputs, boundary values, and the ε of every state (and of its pre-activation)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary
from zlib import crc32

import numpy

from derive import expr
from derive.errors import DeriveError
from derive.evaluate import VECTORIAL, Array, Point, environment, evaluate, function, integer, reads
from derive.oracles import clock
from derive.oracles.road import Engine, Linearization, Road, Settle
from derive.scalars import Resample

if TYPE_CHECKING:
    from derive.evaluate import Ring
    from derive.system import Equation, System

Key: TypeAlias = "tuple[str, Point]"
TOTAL: Key = ("", ())
ATTEMPTS = 2000
"""How often unlucky points are drawn anew: k square roots at one point need some 2^k draws."""


VARIANTS: tuple[tuple[float, str], ...] = (
    (1.0, ""),
    (1.0, ""),
    (1 / 16, ""),
    (16.0, ""),
    (1.0, "arrays"),
    (1.0, "all"),
)
"""How far scalars are spread, and what has both signs where all would be positive: where max and min choose between two
values, each of them is to be the greater at some point."""


class Outside(DeriveError):
    """A point at which something that is read does not exist."""


class Unrolled:
    """A system over concrete lengths, at random values drawn from `seed`, differentiated by `road`.

    `sizes` gives dimensions and lengths (`{n: 3, m: 4, T: 2}`, symbols or names).  `loss` is "every" or "last"; left
    out, it is the system's own; `auxiliary` are states that only name a part of other equations; `variant` is one of
    `VARIANTS`.  Values and
    derivatives come out plain: float64 arrays, or field elements off the tape.
    """

    def __init__(
        self,
        system: System,
        road: Road,
        sizes: Mapping[Any, int],
        seed: int,
        loss: str | None = None,
        auxiliary: frozenset[str] = frozenset(),
        variant: int = 0,
    ):
        self.system, self.road, self.seed, self.auxiliary = system, road, seed, auxiliary
        self._spread, self._both_signs = VARIANTS[variant]
        self.loss = loss or system.loss
        self.sizes = environment(sizes)
        self.lengths = tuple(integer(length, self.sizes) for length in system.lattice.lengths)
        self.indices = tuple(map(str, system.lattice.indices))
        self.schedule, self.boundary_leaves = self._plan()
        self._positive = _needs_positive(system)
        self._simplex = distributions(system)
        self._draws: dict[Point, int] = {}
        self._runs: dict[frozenset[str], Linearization] = {}
        self._locals: dict[Key, tuple[Linearization, set[Key]]] = {}
        self._pulled_rows: dict[Key, list[Mapping[Key, Array]]] = {}
        self._pulled: dict[Any, Mapping[Key, Array]] = {}
        self._pushed: tuple[Mapping[Key, Array], frozenset[str], dict[Any, Array]] | None = None
        self.derived: WeakKeyDictionary[Any, dict[frozenset[str], dict[Key, Any]]] = WeakKeyDictionary()
        """What the names of a derived system were found to be worth, by the names that are held."""
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
                    elif at and not self.within(at):
                        outside[read] = None
        return list(done), list(outside)

    def within(self, at: Point) -> bool:
        """Whether this is a point of the lattice."""
        return all(1 <= i <= n for i, n in zip(at, self.lengths, strict=True))

    # --- values ---------------------------------------------------------------------------------------------------

    def _restart(self) -> None:
        """Draw and run; where the field stops (`Resample`), draw anew what stands at the point that it stopped at."""
        for _ in range(ATTEMPTS):
            clock.check()
            self.engine: Engine = self.road.engine(self.seed)
            self.leaves = dict(self._draw())
            try:
                self._at: Key = TOTAL
                self._runs = {frozenset(): self.engine.linearize(self._program(frozenset()), self.leaves)}
                return
            except Resample:
                inputs = any(
                    key in self.leaves for v in self.system.of_kind("input") for key in [(v.name, self._at[1])]
                )
                point = self._at[1] if inputs else ()
                self._draws[point] = self._draws.get(point, 0) + 1
        raise Resample(f"{self.system.name}: no random point was found at which all square roots and quotients exist")

    def _draw(self) -> Iterator[tuple[Key, Array]]:
        for variable in self.system.variables.values():
            if variable.kind != "state":
                for at in self.points if variable.indexed else [()]:
                    yield (variable.name, at), self.random((variable.name, at), variable.shape)
        for name, at in self.boundary_leaves:
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
        signed = self._both_signs == "all" or (self._both_signs == "arrays" and shape != expr.SCALAR)
        positive = self._positive and not signed
        low, high = (0.5, 1.5) if positive or key[0] in self._simplex else (-1.0, 1.0)
        floats = generator.uniform(low, high, self._shape(shape)) * (self._spread if shape == expr.SCALAR else 1.0)
        return self.engine.leaf(label, floats, key[0] in self._simplex)

    def _shape(self, shape: expr.Shape) -> tuple[int, int]:
        return integer(shape[0], self.sizes), integer(shape[1], self.sizes)

    def _zeros(self, shape: expr.Shape) -> Array:
        return self.engine.ring.full(0, *self._shape(shape))

    def _program(self, held: frozenset[Any]) -> Callable[[Ring, Mapping[Any, Array], Settle], dict[Any, Array]]:
        constants = {key: self.value(*key) for key in self.schedule if key[0] in held or key in held}

        def program(ring: Ring, leaves: Mapping[Any, Array], settle: Settle) -> dict[Any, Array]:
            values: dict[Any, Array] = {}

            def read(var: expr.Var, at: Point) -> Array:
                key = (var.name, at)
                return values[key] if key in values else leaves[key]

            for key in self.schedule:
                self._at = key
                value = ring.lift(constants[key]) if key in constants else self._state(key, ring, leaves, read)
                values[key] = settle(key, value + leaves[key])
            losses = [values[self.system.loss_name, at] for at in self._loss_points()]
            return {**values, TOTAL: sum(losses[1:], losses[0])} if losses else values

        return program

    def _state(
        self, key: Key, ring: Ring, leaves: Mapping[Any, Array], read: Callable[[expr.Var, Point], Array]
    ) -> Array:
        equation, env = self.system.equations[key[0]], self.env(key[1])
        inner = preactivation(equation)
        if inner is None:
            return evaluate(equation.rhs, ring, read, {}, env)
        moved = evaluate(inner, ring, read, {}, env) + leaves[before(key[0]), key[1]]
        return function(ring, equation.rhs.function, 0, moved)

    def _loss_points(self) -> list[Point]:
        """Where the loss is charged; nowhere in a system without equations."""
        if self.system.loss_name not in self.system.equations:
            return []
        return [self.lengths] if self.loss == "last" else list(self.points)

    def value(self, name: str, at: Point = ()) -> Array:
        """A state, an input, a parameter or a boundary value.  Raises `Outside` where there is none."""
        key = self._output(name, at)
        if key in self._runs[frozenset()].values:
            return self._runs[frozenset()].values[key]
        if key not in self.leaves:
            raise Outside(f"{show(key)} does not exist for {self.lengths} steps")
        return self.leaves[key]

    # --- derivatives ----------------------------------------------------------------------------------------------

    def run(self, held: Iterable[Any] = ()) -> Linearization:
        """The run in which names, or keys, are constants."""
        known = self.system.equations
        constant = frozenset(h for h in held if (h if isinstance(h, str) else h[0]) in known)
        if constant not in self._runs:
            self._runs[constant] = self.engine.linearize(self._program(constant), self.leaves)
        return self._runs[constant]

    def _pull(self, key: Key, entry: tuple[int, int], held: frozenset[Any] = frozenset()) -> Mapping[Any, Array]:
        """The derivatives of one entry of a state, or of the total loss, by every leaf."""
        found = self._pulled.get((key, entry, held))
        if found is None:
            run = self.run(held)
            rows, columns = run.values[key].shape
            unit = self.engine.ring.constant([[int((i, j) == entry) for j in range(columns)] for i in range(rows)])
            found = self._pulled[key, entry, held] = run.pull(key, unit)
        return found

    def gradient(self, name: str, at: Point = (), held: Iterable[str] = ()) -> Array:
        """`∇ L` by a state at a point, a parameter, an input or a boundary value; zero outside the domain."""
        pulled = self._pull(TOTAL, (0, 0), frozenset(held))
        return pulled[name, at] if (name, at) in pulled else self._zeros(self.system.variables[name].shape)

    def delta(self, name: str, at: Point, held: Iterable[str] = ()) -> Array:
        """The gradient of the total loss by the pre-activation of a state; zero outside the domain."""
        pulled = self._pull(TOTAL, (0, 0), frozenset(held))
        key = (before(name), at)
        return pulled[key] if key in pulled else self._zeros(self.system.variables[name].shape)

    def jacobian(self, y: str, y_point: Point, x: str, x_point: Point, held: Iterable[str] = ()) -> Array:
        """`∂y/∂x` through the unrolled graph, numerator layout: entries of `y` by entries of `x`, each row by row.

        Names in `held` are constants.  `y` without an index, where it is the loss, is the total loss.  Raises
        `Outside`.
        """
        names, key = frozenset(held), self._output(y, y_point)
        if (x, x_point) not in self.leaves:
            raise Outside(f"{show((x, x_point))} does not exist for {self.lengths} steps")
        if key not in self.run(names).values:
            return self._of_leaf((y, y_point), (x, x_point))
        entries = numpy.ndindex(*self.run(names).values[key].shape)
        return numpy.concatenate([self._pull(key, (i, j), names)[x, x_point].reshape(1, -1) for i, j in entries])

    def _output(self, name: str, at: Point) -> Key:
        return TOTAL if name == self.system.loss_name and not at else (name, at)

    def _of_leaf(self, y: Key, x: Key) -> Array:
        rows, columns = self.value(*y).size, self.value(*x).size
        return self.engine.ring.identity(rows) if x == y else self.engine.ring.full(0, rows, columns)

    def immediate(self, y: str, y_point: Point, x: str, x_point: Point) -> Array:
        """`∂⁺y/∂x`: only the equation of `y` is differentiated, everything that it reads is a leaf."""
        key, run = (x, x_point), self._local((y, y_point))
        if (y, y_point) == key or run is None or key not in run[1]:
            return self._of_leaf((y, y_point), key)
        return numpy.concatenate([pulled[key].reshape(1, -1) for pulled in self._rows((y, y_point), run[0])])

    def _rows(self, y: Key, run: Linearization) -> list[Mapping[Key, Array]]:
        """The derivatives of each entry of a column by all that its equation reads."""
        if y not in self._pulled_rows:
            units = self.engine.ring.identity(run.values[TOTAL].shape[0])
            self._pulled_rows[y] = [run.pull(TOTAL, unit.reshape(-1, 1)) for unit in units]
        return self._pulled_rows[y]

    def pullback(self, y: str, y_point: Point, x: str, x_point: Point, cotangent: Array) -> Array:
        """`(∂⁺y/∂x)* d`, of the shape of `x`."""
        key, run = (x, x_point), self._local((y, y_point))
        if run is not None and key in run[1]:
            return run[0].pull(TOTAL, cotangent)[key]
        return cotangent if (y, y_point) == key else self.engine.ring.full(0, *self.value(*key).shape)

    def _local(self, y: Key) -> tuple[Linearization, set[Key]] | None:
        """The equation of `y` alone, and what it reads; None for a leaf."""
        if y not in self._locals:
            equation = self.system.equations.get(y[0])
            if equation is None or y not in self.run().values:
                self.value(*y)
                return None
            read = {(var.name, at): self.value(var.name, at) for var, at in reads(equation.rhs, self.env(y[1]))}

            def program(ring: Ring, leaves: Mapping[Any, Array], settle: Settle) -> dict[Any, Array]:
                value = evaluate(equation.rhs, ring, lambda var, at: leaves[var.name, at], {}, self.env(y[1]))
                return {TOTAL: value}

            self._locals[y] = self.engine.linearize(program, read), set(read)
        return self._locals[y]

    def tangent(self, name: str, at: Point, directions: Mapping[Key, Array], held: Iterable[str] = ()) -> Array:
        """`Σ <∂y/∂leaf, direction>` over the leaves that have a direction.  Raises `Outside`."""
        key, names, value = (name, at), frozenset(held), self.value(name, at)
        run = self.run(names)
        if key not in run.values:
            return directions[key] if key in directions else self.engine.ring.full(0, *value.shape)
        if run.push is not None:
            if self._pushed is None or self._pushed[0] is not directions or self._pushed[1] != names:
                self._pushed = directions, names, run.push(directions)
            return self._pushed[2][key]
        straight = numpy.concatenate([d.reshape(-1) for d in directions.values()])
        pulls = [self._pull(key, (i, j), names) for i, j in numpy.ndindex(*value.shape)]
        rows = [numpy.concatenate([pulled[leaf].reshape(-1) for leaf in directions]) for pulled in pulls]
        return (numpy.stack(rows) @ straight).reshape(value.shape)

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
            index = variable.indexed and (
                name not in self.system.equations or bool(self.system.equations[name].target.index)
            )
            if index:
                stacked = numpy.stack([_flat(of(name, at), shape) for at in self.points])
                found[name] = stacked.reshape(*self.lengths, *stacked.shape[1:])
            else:
                found[name] = _flat(of(name, ()), shape)
        for key, places in self.border_points().items():
            name = key.partition("[")[0]
            arrays = [_flat(of(name, at), self.system.variables[name].shape) for at in places]
            runs_along = set(key.partition("[")[2].rstrip("]").split(",")) & set(self.indices)
            found[key] = numpy.stack(arrays) if runs_along else arrays[0]
        return found

    def border_points(self) -> dict[str, list[Point]]:
        """`{"h[0]": [(0,)], "h[0,j]": [(0, 1), (0, 2), …]}`: where the given and the learned boundary values lie."""
        found: dict[str, list[Point]] = {}
        for border in self.system.borders:
            axes: list[Iterable[int]] = []
            for side, index, length in zip(border.sides, self.system.lattice.indices, self.lengths, strict=True):
                axes.append([int(side.coordinate(index, length))] if side.depth else range(1, length + 1))
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


def distributions(system: System) -> frozenset[str]:
    """The targets of a cross-entropy, which sum to one: `y` in `CE(o, y)` and in `-yᵀ log p`."""
    seconds = [n.arguments[1] for n in _applied(system) if n.function == "cross_entropy"]
    for equation in system.equations.values():
        for node in expr.walk(equation.rhs):
            if isinstance(node, (expr.Mul, expr.Had, expr.Inner)) and any(_is_log(a) for a in node.args):
                seconds += [a.args[0] if isinstance(a, expr.Transpose) else a for a in node.args if not _is_log(a)]
    leaves = (v.name for v in seconds if isinstance(v, expr.Var) and expr.is_column(v) and not expr.is_scalar(v))
    return frozenset(name for name in leaves if system.variables[name].kind in ("input", "target"))


def _is_log(node: expr.Node) -> bool:
    inner = node.args[0] if isinstance(node, expr.Transpose) else node
    return isinstance(inner, expr.Apply) and inner.function == "log" and not inner.order
