"""The table of local partial derivatives, `(target, source, offset) -> linear map`: the centre of derive.

`table(system)` differentiates every right-hand side once, with respect to every name that it reads, everything else that it
reads held fixed.  Adjoints, tangents, Jacobians, gradients and paths are readings of this table.

`LOCAL` holds the rules of differentiation: for a node, each child with the elementary maps from the child to the node.  An
unknown node is an error, never zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import sympy
from sympy import Integer

from derive import expr, functions
from derive.errors import DeriveError
from derive.expr import Node, Var
from derive.lattice import Offset
from derive.linear import Chain, LinearMap, Op, normal
from derive.system import System

Key: TypeAlias = "tuple[str, str, Offset | None]"
Local: TypeAlias = "Iterator[tuple[Node, tuple[Op, ...]]]"
Names: TypeAlias = "Mapping[Node, Node]"


@dataclass(frozen=True)
class Entry:
    """`map`: the immediate partial of `target` at the lattice's index by `source` at `index + offset`.

    `offset` is None where the source is a parameter; a target without index sums its map over the lattice.
    """

    target: Var
    source: Var
    offset: Offset | None
    map: LinearMap

    @property
    def key(self) -> Key:
        return self.target.name, self.source.name, self.offset


class Table:
    """The entries, by target, by source and by key, in the order of the equations."""

    def __init__(self, system: System, entries: Mapping[Key, Entry]):
        self.system = system
        self.entries = dict(entries)

    def of_target(self, name: str) -> list[Entry]:
        return [e for e in self.entries.values() if e.target.name == name]

    def of_source(self, name: str) -> list[Entry]:
        return [e for e in self.entries.values() if e.source.name == name]

    def __getitem__(self, key: Key) -> LinearMap:
        return self.entries[key].map

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def __len__(self) -> int:
        return len(self.entries)

    def transposed(self) -> Table:
        """Every entry transposed, its offset negated: the table of the adjoint.  An involution."""
        entries: dict[Key, Entry] = {}
        for e in self:
            back = tuple(-o for o in e.offset) if e.offset is not None else None
            linear = e.map.transposed()
            entry = Entry(e.source, e.target, back, linear.at(self.system.lattice.shifted(back)) if back else linear)
            entries[entry.key] = entry
        return Table(self.system, entries)

    def without(self, held: tuple[str, ...]) -> Table:
        """The table with the named variables held constant: nothing flows through them."""
        return Table(self.system, {k: e for k, e in self.entries.items() if e.target.name not in held})


@cache
def table(system: System) -> Table:
    """The local partials of every equation of `system`."""
    names = {e.rhs: e.target for e in system.equations.values() if e.target.index and isinstance(e.rhs, expr.Apply)}
    entries: dict[Key, Entry] = {}
    for equation in system.equations.values():
        own = {node: var for node, var in names.items()}
        for var, chains in differentiate(equation.body, own):
            offset = system.offset(var) if var.index else None
            source = system.variables[var.name].var
            entry = Entry(equation.target, source, offset, LinearMap(var.shape, equation.target.shape, chains))
            if chains:
                entries[entry.key] = entry
    return Table(system, entries)


def differentiate(root: Node, names: Names) -> list[tuple[Var, tuple[Chain, ...]]]:
    """Every variable that `root` reads, in reading order, with the chains from it to `root`.

    `names`: expressions that have a name, so that derivatives closed under a function are written with the name.
    """
    nodes = [n for n in expr.walk(root) if isinstance(n, Node)]
    chains: dict[Node, list[Chain]] = {root: [Chain()]}
    for node in reversed(nodes):
        if isinstance(node, Var) or node not in chains:
            continue
        for child, ops in local(node, names):
            chains.setdefault(child, []).extend(c.after(ops) for c in chains[node])
    return [(n, normal(reversed(chains[n]))) for n in nodes if isinstance(n, Var) and n in chains]


def local(node: Node, names: Names) -> Local:
    """The children of `node` with the elementary maps from each to `node`.  Raises `DeriveError` for an unknown node."""
    rule = LOCAL.get(type(node))
    if rule is None:
        raise DeriveError(
            f"derive has no rule to differentiate {type(node).__name__}; add one to derive.partials.LOCAL"
        )
    return rule(node, names)


def _constant(node: Node, names: Names) -> Local:
    return iter(())


def _each(node: Node, names: Names) -> Local:
    for term in node.args:
        yield term, ()


def _scale(node: Node, names: Names) -> Local:
    c, body = node.args
    if isinstance(c, Node):
        yield c, (Op("spread", body),)
        yield body, (Op("scaled", c),)
    else:
        yield body, (Op("scaled", expr.number(c)),)


def _had(node: Node, names: Names) -> Local:
    for i, factor in enumerate(node.args):
        yield factor, (Op("hadamard", expr.had(*node.args[:i], *node.args[i + 1 :])),)


def _power(node: Node, names: Names) -> Local:
    body, k = node.args
    yield body, (Op("hadamard", expr.scale(k, expr.power(body, k - 1))),)


def _mul(node: Node, names: Names) -> Local:
    for i, factor in enumerate(node.args):
        before, after = node.args[:i], node.args[i + 1 :]
        right = (Op("right", expr.mul(*after)),) if after else ()
        left = (Op("left", expr.mul(*before)),) if before else ()
        yield factor, (*right, *left)


def _transpose(node: Node, names: Names) -> Local:
    yield node.args[0], (Op("transposed"),)


def _diag(node: Node, names: Names) -> Local:
    yield node.args[0], (Op("to_diagonal"),)


def _diagonal(node: Node, names: Names) -> Local:
    yield node.args[0], (Op("from_diagonal"),)


def _inner(node: Node, names: Names) -> Local:
    left, right = node.args
    yield left, (Op("against", right),)
    yield right, (Op("against", left),)


def _labelled(node: Node, names: Names) -> Local:
    yield node.args[0], ()


def _apply(node: expr.Apply, names: Names) -> Local:
    vectorial = VECTORIAL.get(node.function)
    if vectorial:
        for argument, jacobian in zip(node.arguments, vectorial(node, names), strict=True):
            yield argument, (Op("left", jacobian),)
    elif len(node.arguments) == 2:
        yield from _extremum(node)
    else:
        yield node.arguments[0], (Op("hadamard", elementwise_derivative(node, names)),)


def _extremum(node: expr.Apply) -> Local:
    """max takes its first argument where it is greater, min where it is less; the second otherwise."""
    x, y = node.arguments
    first = expr.apply("step", expr.add(x, -y) if node.function == "max" else expr.add(y, -x))
    yield x, (Op("hadamard", first),)
    yield y, (Op("hadamard", expr.add(expr.Ones(*x.shape), -first)),)


def elementwise_derivative(node: expr.Apply, names: Names) -> Node:
    """`f'` at the argument of `node = f(a)`: closed under `f` where it is, else the function's derivative by name."""
    (a,) = node.arguments
    closed = functions.closed(node.function) if node.order == 0 else None
    if closed is None:
        return expr.apply(node.function, a, order=node.order + 1)
    if closed.row is not None:
        derivative = expr.apply(closed.row, a)
        return names.get(derivative, derivative)
    return from_sympy(closed.expression, a, names.get(node, node))


def from_sympy(formula: sympy.Expr, x: Node, y: Node) -> Node:
    """A polynomial or reciprocal in `x` and `y` as a node, written as people do: `y * (1 - y)`, `1 - y**2`."""
    numerator, denominator = _terms(formula)
    node = _polynomial(numerator, x, y)
    return node if denominator is None else expr.had(node, expr.power(_polynomial(denominator, x, y), -1))


Terms: TypeAlias = "tuple[tuple[tuple[int, int], sympy.Expr], ...]"


@cache
def _terms(formula: sympy.Expr) -> tuple[Terms, Terms | None]:
    """Numerator and denominator as powers of `x` and `y` with their coefficients, lowest degree first."""
    parts = sympy.fraction(sympy.together(formula))
    numerator, denominator = (
        tuple(sorted(sympy.Poly(p, functions.x, functions.y).terms(), key=lambda term: sum(term[0]))) for p in parts
    )
    return numerator, None if parts[1] == 1 else denominator


def _polynomial(terms: Terms, x: Node, y: Node) -> Node:
    common = [min(powers[i] for powers, _ in terms) for i in (0, 1)]

    def monomial(i: int, j: int) -> Node:
        return expr.had(expr.power(x, i), expr.power(y, j))

    rest = [expr.scale(c, monomial(i - common[0], j - common[1])) for (i, j), c in terms]
    return expr.had(monomial(*common), expr.add(*rest))


# --- functions of a whole vector: one Jacobian per argument ---------------------------------------------------------------


def _softmax(node: expr.Apply, names: Names) -> tuple[Node, ...]:
    """`diag(p) - p p.T`."""
    p = names.get(node, node)
    return (expr.add(expr.diag(p), -expr.mul(p, expr.transpose(p))),)


def _log_sum_exp(node: expr.Apply, names: Names) -> tuple[Node, ...]:
    """`softmax(x).T`."""
    return (expr.transpose(_named(expr.apply("softmax", *node.arguments), names)),)


def _layer_norm(node: expr.Apply, names: Names) -> tuple[Node, ...]:
    """`(I - 1 1.T / n - y y.T / n) / s` with `y` the result and `s = sqrt(var + eps)`."""
    (x,) = node.arguments
    n = x.shape[0]
    y = names.get(node, node)
    one = expr.Ones(n, Integer(1))
    mean = expr.scale(1 / n, expr.mul(expr.transpose(one), x))
    centred = expr.add(x, -expr.scale(mean, one))
    variance = expr.scale(1 / n, expr.mul(expr.transpose(centred), centred))
    deviation = expr.apply("sqrt", expr.add(variance, expr.number(functions.LAYER_NORM_EPSILON)))
    projector = expr.add(
        expr.Identity(n), -expr.scale(1 / n, expr.mul(one, one.T)), -expr.scale(1 / n, expr.mul(y, expr.transpose(y)))
    )
    return (expr.scale(expr.power(deviation, -1), projector),)


def _cross_entropy(node: expr.Apply, names: Names) -> tuple[Node, ...]:
    """`(softmax(o) - y).T` for `logsumexp(o) - y.T o`, with `y` a distribution."""
    o, y = node.arguments
    p = _named(expr.apply("softmax", o), names)
    return expr.transpose(expr.add(p, -y)), expr.transpose(-o)


def _squared_error(node: expr.Apply, names: Names) -> tuple[Node, ...]:
    """`(o - y).T` for `|o - y|² / 2`."""
    o, y = node.arguments
    return expr.transpose(expr.add(o, -y)), expr.transpose(expr.add(y, -o))


def _logistic(node: expr.Apply, names: Names) -> tuple[Node, ...]:
    """`(sigmoid(o) - y).T` for `Σ softplus(o) - y o`."""
    o, y = node.arguments
    p = _named(expr.apply("sigmoid", o), names)
    return expr.transpose(expr.add(p, -y)), expr.transpose(-o)


def _named(node: Node, names: Names) -> Node:
    return names.get(node, node)


VECTORIAL: dict[str, Callable[[expr.Apply, Names], tuple[Node, ...]]] = {
    "softmax": _softmax,
    "log_sum_exp": _log_sum_exp,
    "layer_norm": _layer_norm,
    "cross_entropy": _cross_entropy,
    "squared_error": _squared_error,
    "logistic": _logistic,
}

LOCAL: dict[type, Callable[..., Local]] = {
    expr.Var: _constant,
    expr.Zero: _constant,
    expr.Ones: _constant,
    expr.Identity: _constant,
    expr.At: _constant,
    expr.Add: _each,
    expr.Scale: _scale,
    expr.Had: _had,
    expr.Power: _power,
    expr.Mul: _mul,
    expr.Transpose: _transpose,
    expr.Diag: _diag,
    expr.Diagonal: _diagonal,
    expr.Inner: _inner,
    expr.Apply: _apply,
    expr.Labelled: _labelled,
}
