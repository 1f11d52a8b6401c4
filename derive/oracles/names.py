"""What the names in an equation are worth, by the truth: variables, adjoints and tangents, derivatives, definitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from derive import expr
from derive.errors import DeriveError
from derive.evaluate import Array, Point, Unevaluable, evaluate, integer, point
from derive.oracles import chain
from derive.oracles.truth import ATTEMPTS, Key, Outside, Unrolled, preactivation
from derive.scalars import Resample

if TYPE_CHECKING:
    from derive.system import System

Definitions: TypeAlias = "Mapping[str, tuple[tuple[expr.Var, expr.Node], ...]]"
"""Name -> its definitions, each a left side at an index and what it stands for there."""


@dataclass(frozen=True, eq=False)
class Given:
    """What is agreed on beside the system.

    `derived` has the equations of marked names that no derivative explains; names in `held` are constants;
    `zero_outside`: a forward variable is zero beyond the lattice, where it is no boundary value; `definitions` are the
    shorthands of a text; `free`: a name that nothing explains has any value.
    """

    derived: System | None = None
    held: frozenset[str] = frozenset()
    zero_outside: bool = False
    definitions: Definitions = field(default_factory=dict)
    free: bool = False


def introduces(system: System, var: expr.Var) -> bool:
    """Whether `var` is known by its equation only: a `delta` of a state that is no single activation."""
    if not var.marks or var.marks[-1] != "delta" or var.name in system.variables:
        return False
    equation = system.equations.get(var.stem)
    return equation is None or preactivation(equation) is None


class Names:
    """What the names in an equation are worth, by the truth."""

    attempt = 0
    met_outside = False

    def __init__(self, given: Given, truth: Unrolled):
        self.given, self.truth = given, truth
        owner = given if given.definitions or given.derived is None else given.derived
        self._derived = truth.derived.setdefault(owner, {}).setdefault(given.held, {})
        self._open: set[Key] = set()

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
        if var.name in self.given.definitions:
            return self._defined(var, at)
        if var.name in self.truth.system.variables:
            return self._forward(var, at)
        if not var.marks:
            return self._from_equation(var, at) if self.given.free else self._forward(var, at)
        base, mark = var.stem, var.marks[-1]
        if base in self.truth.system.variables and mark in MARKS and not introduces(self.truth.system, var):
            return MARKS[mark](self, base, at)
        return self._from_equation(var, at)

    def _forward(self, var: expr.Var, at: Point) -> Array:
        kind = self.truth.system.variable(var.name).kind
        try:
            return self.truth.value(var.name, () if chain.is_copy(self.truth, (var.name, at)) else at)
        except Outside:
            if not self.given.zero_outside:
                raise
            self.met_outside = True
            if not self.attempt or kind == "cotangent":
                return self._zeros(var.shape)
            return self.truth.random((f"{var.name} outside {self.attempt}", at), var.shape)

    def _bar(self, name: str, at: Point) -> Array:
        return chain.gradient(self.truth, (name, at), self.given.held)

    def _delta(self, name: str, at: Point) -> Array:
        return self.truth.delta(name, at, self.given.held)

    def _dot(self, name: str, at: Point) -> Array:
        tangent = self.truth.tangent
        try:
            return self._once((f"{name}_dot", at), lambda: tangent(name, at, self._directions(), self.given.held))
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
        system, derived = self.truth.system, self.given.derived
        if leaf in self.truth.boundary_leaves:
            return system.boundary.get(leaf[0], "zero") != "zero"
        variable = system.variables.get(leaf[0])
        free = variable is not None and variable.kind != "state"
        return free and (derived is None or f"{leaf[0]}_dot" in derived.variables)

    def _direction(self, leaf: Key) -> Array:
        return self.truth.random((f"{leaf[0]}_dot", leaf[1]), self.truth.system.variables[leaf[0]].shape)

    def _from_equation(self, var: expr.Var, at: Point) -> Array:
        derived = self.given.derived
        equation = derived.equations.get(var.name) if derived else None
        if equation is None:
            if not self.given.free and (derived is None or var.name not in derived.variables):
                raise DeriveError(f"{var.name} is neither of {self.truth.system.name} nor derived of it")
            return self._once((var.name, at), lambda: self.truth.random((var.name, at), var.shape))
        if at not in set(self.truth.domain(equation)):
            return self._zeros(var.shape)
        return self._once((var.name, at), lambda: self.value(equation.rhs, self.truth.env(at)))

    def _defined(self, var: expr.Var, at: Point) -> Array:
        """What a definition says of the name at this point; one that goes on beyond the lattice is zero there."""
        key, (target, value, env) = (f"{var.name} defined", at), self._definition(var.name, at)
        if key in self._open:
            raise Unevaluable(f"{target} is defined by itself")
        if any(v.name == var.name for v in expr.variables(value)) and not self.truth.within(at):
            return self._zeros(var.shape)
        self._open.add(key)
        try:
            return self._once(key, lambda: self.value(value, env))
        finally:
            self._open.discard(key)

    def _definition(self, name: str, at: Point) -> tuple[expr.Var, expr.Node, dict[str, int]]:
        """The definition that fits the point, and what the letters in its index are there."""
        for target, value in self.given.definitions[name]:
            env = _solved(target, at, self.truth)
            if env is not None:
                return target, value, env
        raise Unevaluable(f"{name} is defined, but not at the index {', '.join(map(str, at))}")

    def _once(self, key: Key, value: Callable[[], Array]) -> Array:
        if key not in self._derived:
            self._derived[key] = value()
        return self._derived[key]

    def partial(self, node: Any, env: Mapping[str, int], *pulled: Array) -> Array:
        """A derivative; of what lies beyond the lattice it is zero where that is."""
        try:
            return DERIVATIVES[type(node)](self, node, env, *pulled)
        except Outside:
            if not self.given.zero_outside:
                raise
            return self._zeros(node.shape)

    def _partial(self, node: expr.Partial, env: Mapping[str, int]) -> Array:
        at_points = {(v.name, point(v.index, env)) for v in node.held_at}
        return self._jacobian(node, env, self.given.held.union(node.held, at_points))

    def _pulled(self, node: expr.Pulled, env: Mapping[str, int], cotangent: Array) -> Array:
        """`(∂y/∂x)* d`; of an immediate partial by one backward sweep."""
        y, x = self._key(node.args[0], env), self._key(node.args[1], env)
        if y is not None and x is not None and node.immediate and chain.is_direct(self.truth, y, x):
            return self.truth.pullback(*y, *x, cotangent)
        row = self.truth.engine.ring.matmul(cotangent.reshape(1, -1), self._jacobian(node, env, self.given.held))
        return row.reshape(self._zeros(node.shape).shape)

    def _gradient_of(self, node: expr.GradientOf, env: Mapping[str, int]) -> Array:
        return self._jacobian(node, env, self.given.held).reshape(self._zeros(node.shape).shape)

    def _jacobian(self, node: Any, env: Mapping[str, int], held: frozenset[Any]) -> Array:
        """Entries of `y` by entries of `x`, total or immediate."""
        y, x = self._key(node.args[0], env), self._key(node.args[1], env)
        if x is None:
            return self._by_free(node, env)
        if self.given.free and x in self.truth.boundary_leaves and self._is_nothing(x[0]):
            raise Outside(f"{x[0]} is zero by convention there: nothing varies")
        if y is None:
            return chain.of_expression(self.truth, node.args[0], x, env, self.read, total=not node.immediate, held=held)
        return chain.immediate(self.truth, y, x) if node.immediate else chain.jacobian(self.truth, y, x, held)

    def _is_nothing(self, name: str) -> bool:
        return self.truth.system.boundary.get(name, "zero") == "zero"

    def _by_free(self, node: Any, env: Mapping[str, int]) -> Array:
        """By a name that is none of the system's, of an expression in which it stands."""
        y, x = node.args[:2]
        stands = isinstance(x, expr.Var) and any(v.name == x.name for v in expr.variables(y))
        if not (self.given.free and stands) or x.name in self.given.definitions or y == x:
            raise Unevaluable(f"a derivative by {x} is not worked out, so it has no value here")
        return chain.by_free(self.truth, y, (x.name, point(x.index, env)), env, self.read)

    def _key(self, node: expr.Node, env: Mapping[str, int]) -> Key | None:
        """The name and the point of a variable of the system; None for anything else."""
        if not isinstance(node, expr.Var) or node.name not in self.truth.system.variables:
            return None
        return node.name, point(node.index, env)


DERIVATIVES: dict[type, Callable[..., Array]] = {
    expr.Partial: Names._partial,
    expr.Pulled: Names._pulled,
    expr.GradientOf: Names._gradient_of,
}
DIRECTIONS: Key = ("", ())
MARKS: dict[str, Callable[[Names, str, Point], Array]] = {
    "bar": Names._bar,
    "dot": Names._dot,
    "delta": Names._delta,
}


def _solved(target: expr.Var, at: Point, truth: Unrolled) -> dict[str, int] | None:
    """What the letters in the index of a definition's left side are, for it to stand at this point; None: it can't."""
    env = dict(truth.sizes)
    if len(target.index) != len(at):
        return None
    for index, wanted in zip(target.index, at, strict=True):
        letters = [s for s in index.free_symbols if str(s) not in env]
        if len(letters) == 1 and (index - letters[0]).is_Integer:
            env[str(letters[0])] = wanted - int(index - letters[0])
        elif integer(index, env) != wanted:
            return None
    return env
