"""What is affine in its own past: `y[t] = Σ_d A_d y[t - d] + u`, with the factors `A_d` and the forcing `u`.

A factor acts as `x ↦ left x right`; beside a vector or a number `right` is 1.  Gates that stand beside the past count as
given, whatever they read themselves: what is affine is the one equation, in the one name.

    lags     one factor for each offset at which the past is read
    stacked  a recurrence of order p as one of order 1, of the last p values under one another: its companion form
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sympy import Expr, Symbol

from derive import expr
from derive.errors import QueryError
from derive.expr import Node, Var
from derive.paths import reaching
from derive.system import LOSS, System


class NotAffine(QueryError):
    """A term in which the past stands otherwise than to the first power."""

    def __init__(self, term: Node):
        super().__init__(f"{term} is not linear in its own past")
        self.term = term


@dataclass(frozen=True)
class Factor:
    """`x ↦ left x right`."""

    left: Node
    right: Node

    def __call__(self, x: Node) -> Node:
        return expr.mul(self.left, x, self.right)


@dataclass(frozen=True)
class Affine:
    """`y = Σ lags[d](y at offset d) + forcing`."""

    lags: Mapping[int, Factor]
    forcing: Node


def split(node: Node, own: str, index: Symbol) -> Affine:
    """The right side `node` of the equation of `own`, by its own past.  Raises `NotAffine` with the term that is not."""
    lags: dict[int, Factor] = {}
    forcing: list[Node] = []
    one = _one(node)
    for term in expanded(node, own):
        if not _reads(term, own):
            forcing.append(term)
            continue
        var, factor = _factor(term, own, one)
        lag = int(var.index[0] - index)
        lags[lag] = _joined(lags[lag], factor, term) if lag in lags else factor
    return Affine(lags, expr.add(*forcing) if forcing else expr.Zero(*node.shape))


def _one(node: Node) -> Factor:
    return Factor(expr.Identity.build(node.shape[0]) if node.shape[0] != 1 else expr.Ones(1, 1), _right_one(node))


def _right_one(node: Node) -> Node:
    return expr.Ones(1, 1) if expr.is_column(node) else expr.Identity(node.shape[1])


def _reads(node: Node, own: str) -> bool:
    return any(v.name == own for v in expr.variables(node))


def expanded(node: Node, own: str) -> list[Node]:
    """The terms of a sum, those in which the past stands inside a bracket multiplied out."""
    if isinstance(node, expr.Labelled):
        return expanded(node.args[0], own)
    if isinstance(node, expr.Add):
        return [term for a in node.args for term in expanded(a, own)]
    if not _reads(node, own) or not isinstance(node, (expr.Scale, expr.Had, expr.Mul)):
        return [node]
    at = [k for k, a in enumerate(node.args) if isinstance(a, Node) and _reads(a, own)]
    if len(at) != 1:
        return [node]
    (k,) = at
    inner = expanded(node.args[k], own)
    if len(inner) == 1 and inner[0] is node.args[k]:
        return [node]
    rebuild: Callable[..., Node] = node.build
    return [term for e in inner for term in expanded(rebuild(*node.args[:k], e, *node.args[k + 1 :]), own)]


def _factor(term: Node, own: str, one: Factor) -> tuple[Var, Factor]:
    """The past's value in a term, and what stands around it."""
    if isinstance(term, Var):
        return term, one
    at = [k for k, a in enumerate(term.args) if isinstance(a, Node) and _reads(a, own)]
    if len(at) != 1 or not isinstance(term, (expr.Scale, expr.Had, expr.Mul)):
        raise NotAffine(term)
    (k,) = at
    inside = term.args[k]
    try:
        var, factor = _factor(inside, own, one)
    except NotAffine as error:
        raise error if isinstance(inside, (expr.Scale, expr.Had, expr.Mul)) else NotAffine(inside) from None
    if isinstance(term, expr.Scale):
        if k:
            return var, Factor(expr.scale(term.args[0], factor.left), factor.right)
        raise NotAffine(term)
    if isinstance(term, expr.Mul):
        left = expr.mul(*term.args[:k], factor.left) if k else factor.left
        right = expr.mul(factor.right, *term.args[k + 1 :]) if k + 1 < len(term.args) else factor.right
        if left.shape[0] != left.shape[1] or right.shape[0] != right.shape[1]:
            raise NotAffine(term)
        return var, Factor(left, right)
    rest = expr.had(*term.args[:k], *term.args[k + 1 :])
    if not expr.is_column(term):
        raise NotAffine(term)
    return var, Factor(expr.mul(expr.diag(rest), factor.left), factor.right)


def _joined(a: Factor, b: Factor, term: Node) -> Factor:
    if a.right is b.right:
        return Factor(expr.add(a.left, b.left), a.right)
    if a.left is b.left:
        return Factor(a.left, expr.add(a.right, b.right))
    raise NotAffine(term)


# --- of a system ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Linear:
    """`state = factor(before) + forcing`, first order: one step of a linear recurrence along a chain.

    `start` is the state beyond the border; `direction` is -1 where the past lies before.  `given` are the names in the
    factor and the forcing that depend on the state themselves; `equation` is what was recognised, of any order.
    """

    name: str
    index: Symbol
    length: Expr
    direction: int
    state: Node
    factor: Factor
    forcing: Node
    start: Node
    given: tuple[str, ...]
    equation: Node
    parts: Affine
    inlined: tuple[str, ...]

    @property
    def order(self) -> int:
        return max(map(abs, self.parts.lags))

    @property
    def constant(self) -> bool:
        """Whether the factor is the same at each step."""
        return not any(v.index for side in (self.factor.left, self.factor.right) for v in expr.variables(side))

    @property
    def before(self) -> Node:
        return expr.at(self.state, {self.index: self.index + self.direction})

    @property
    def border(self) -> Expr:
        """The index of the start."""
        return expr.ONE - 1 if self.direction < 0 else self.length + 1


def linear(system: System, name: str) -> Linear:
    """The recurrence of `name`, where it is affine in its own past.  Raises `NotAffine`, or `QueryError` for what has none."""
    equation, inlined = own_past(system, name)
    (t,), (length,) = system.lattice.indices, system.lattice.lengths
    parts = split(equation, name, t)
    signs = {lag > 0 for lag in parts.lags}
    if len(signs) != 1 or 0 in parts.lags:
        raise QueryError(f"{name} reads its own past both ways along the chain, so that no sweep computes it")
    direction = 1 if True in signs else -1
    state, factor, forcing = _stacked(system, name, parts, direction)
    given = _given(system, name, parts)
    end = expr.ONE - 1 if direction < 0 else length + 1
    start = expr.at(state, {t: end})
    if system.boundary.get(name, "zero") == "zero":
        start = expr.Zero(*state.shape)
    return Linear(name, t, length, direction, state, factor, forcing, start, given, equation, parts, inlined)


def own_past(system: System, name: str) -> tuple[Node, tuple[str, ...]]:
    """The right side of `name` with its own past in it, and what of the same step was put in for that."""
    if system.lattice.dimension > 1:
        raise QueryError(
            f"{system.name} lives on a grid, where the past is reached along many paths; "
            f"ask 'paths' for their number, or unroll a few steps"
        )
    (t,) = system.lattice.indices
    node, inlined = system.equations[name].rhs, []
    edges = [(target, source, offset) for target, source, offset in system.reads]
    through = reaching(edges, name)
    while not _reads(node, name):
        between = [v for v in expr.variables(node) if v.name in system.equations and v.name in through]
        same = [v for v in between if v.index == (t,)]
        if not same:
            raise QueryError(_no_past(name, between))
        for v in dict.fromkeys(same):
            inlined.append(v.name)
            node = expr.replace(node, {v: system.equations[v.name].rhs})
    return node, tuple(dict.fromkeys(inlined))


def _no_past(name: str, between: list[Var]) -> str:
    if between:
        return (
            f"{name}[t] reaches its own past through {between[0]} only, whose equation holds inside the lattice alone; "
            f"ask for 'closed {between[0].name}[t]'"
        )
    return f"{name}[t] reads no earlier or later {name}: its equation is a closed form already"


def _given(system: System, name: str, parts: Affine) -> tuple[str, ...]:
    """What stands beside the past and depends on it by ways of its own."""
    edges = [(target, source, offset) for target, source, offset in system.reads]
    depends = reaching(edges, name) - {name, LOSS}
    nodes = [parts.forcing, *(side for f in parts.lags.values() for side in (f.left, f.right))]
    return tuple(dict.fromkeys(v.name for node in nodes for v in expr.variables(node) if v.name in depends))


def _stacked(system: System, name: str, parts: Affine, direction: int) -> tuple[Node, Factor, Node]:
    """The state, the factor and the forcing of a first order; of a higher one in companion form."""
    var = system.variables[name].var
    order = max(map(abs, parts.lags))
    if order == 1:
        (factor,) = parts.lags.values()
        return var, factor, parts.forcing
    if not expr.is_column(var):
        raise QueryError(f"{name} is a matrix that reads {order} steps of its past; its closed form is not worked out")
    n, (t,) = var.shape[0], system.lattice.indices
    one, zero = _one(var).left, expr.Zero(n, n)
    lags = {abs(lag): factor.left for lag, factor in parts.lags.items()}
    rows = [[lags.get(d, zero) for d in range(1, order + 1)]]
    rows += [[one if d == k else zero for d in range(1, order + 1)] for k in range(1, order)]
    state = expr.Block(*([var.at((t + direction * k,))] for k in range(order)))
    forcing = expr.Block([parts.forcing], *([expr.Zero(n, 1)] for _ in range(1, order)))
    return state, Factor(expr.Block(*rows), expr.Ones(1, 1)), forcing
