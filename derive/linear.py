"""Linear maps between scalars, vectors and matrices, as chains of elementary ones.

A map that a matrix takes part in never becomes a three- or four-index array: it is known by its pushforward `X ↦ J X`, its
pullback `D ↦ J* D` and, between vectors, its Jacobian.  Each elementary map is a row: those three in a line each.

    Hadamard(d)     X ↦ d * X            D ↦ d * D          diag(d)
    Scaled(s)       X ↦ s X              D ↦ s D            s I
    Left(A)         X ↦ A X              D ↦ A.T D          A
    Right(B)        X ↦ X B              D ↦ D B.T          (rows only: B.T acts on X.T)
    Spread(Y)       x ↦ x Y, x scalar    D ↦ <Y, D>         Y
    Against(Y)      X ↦ <Y, X>           d ↦ d Y            Y.T
    Transposed      X ↦ X.T              D ↦ D.T
    ToDiagonal      X ↦ diag(X)          D ↦ diagonal(D)
    FromDiagonal    X ↦ diagonal(X)      D ↦ diag(D)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from sympy import Expr, Integer

from derive import expr
from derive.errors import ShapeError
from derive.expr import Node, Shape

ONE = Integer(1)


@dataclass(frozen=True)
class Op:
    """One elementary linear map; `node` is what it multiplies with, None for the three that only move entries."""

    kind: str
    node: Node | None = None

    def push(self, x: Node) -> Node:
        return _PUSH[self.kind](self.node, x)

    def pull(self, d: Node) -> Node:
        return _PULL[self.kind](self.node, d)

    def transposed(self) -> Op:
        kind = _TRANSPOSED.get(self.kind, self.kind)
        turned = self.kind in ("left", "right") and self.node is not None
        return Op(kind, expr.transpose(self.node) if turned else self.node)  # type: ignore[arg-type]


_TRANSPOSED = {"spread": "against", "against": "spread", "to_diagonal": "from_diagonal", "from_diagonal": "to_diagonal"}

_PUSH: dict[str, Callable[..., Node]] = {
    "hadamard": lambda d, x: expr.had(d, x),
    "scaled": lambda s, x: expr.scale(s, x),
    "left": lambda a, x: _times(a, x),
    "right": lambda b, x: expr.mul(x, b),
    "spread": lambda y, x: expr.scale(x, y),
    "against": lambda y, x: expr.inner(y, x),
    "transposed": lambda _, x: expr.transpose(x),
    "to_diagonal": lambda _, x: expr.diag(x),
    "from_diagonal": lambda _, x: expr.Diagonal.build(x),
}

_PULL: dict[str, Callable[..., Node]] = {
    "hadamard": lambda d, x: expr.had(d, x),
    "scaled": lambda s, x: expr.scale(s, x),
    "left": lambda a, x: _times(expr.transpose(a), x),
    "right": lambda b, x: expr.mul(x, expr.transpose(b)),
    "spread": lambda y, x: expr.inner(y, x),
    "against": lambda y, x: expr.scale(x, y),
    "transposed": lambda _, x: expr.transpose(x),
    "to_diagonal": lambda _, x: expr.Diagonal.build(x),
    "from_diagonal": lambda _, x: expr.diag(x),
}


def _times(a: Node, x: Node) -> Node:
    """`A x`; a sum with a diagonal in it is multiplied out, `(diag(p) - p p.T) x = p * x - p (p.T x)`."""
    if isinstance(a, expr.Add) and expr.is_column(x) and any(isinstance(term, expr.Diag) for term in a.args):
        return expr.add(*(expr.mul(term, x) for term in a.args))
    return expr.mul(a, x)


@dataclass(frozen=True)
class Chain:
    """`coefficient` times the elementary maps one after the other, input side first."""

    coefficient: Expr = ONE
    ops: tuple[Op, ...] = ()

    def after(self, ops: Iterable[Op]) -> Chain:
        """This chain, preceded by `ops` on its input side."""
        return replace(self, ops=(*ops, *self.ops))

    def push(self, x: Node) -> Node:
        for op in self.ops:
            x = op.push(x)
        return expr.scale(self.coefficient, x)

    def pull(self, d: Node) -> Node:
        for op in reversed(self.ops):
            d = op.pull(d)
        return expr.scale(self.coefficient, d)

    def jacobian(self, source: Shape) -> Node | None:
        """The matrix of the map between columns, or None where a matrix takes part."""
        factors: list[Node] = []
        scalars: list[Node] = []
        row = False
        for op in self.ops:
            if op.kind == "scaled" and op.node is not None:
                scalars.append(op.node)
                continue
            step = _matrix(op, row)
            if step is None:
                return None
            factor, row = step
            if factor is not None:
                factors.insert(0, factor)
        if row:
            return None
        body = expr.mul(*factors) if factors else expr.Identity.build(source[0])
        body = _square_one(body)
        return expr.scale(self.coefficient, expr.scale(expr.had(*scalars), body) if scalars else body)


def _square_one(body: Node) -> Node:
    return expr.Ones(*expr.SCALAR) if isinstance(body, expr.Identity) and body.args[0] == 1 else body


def _matrix(op: Op, row: bool) -> tuple[Node | None, bool] | None:
    """`(factor, row)`: the matrix that multiplies what came before, and whether the value now lies as a row."""
    node = op.node
    if op.kind == "transposed":
        return None, not row
    if op.kind == "right" and row and node is not None:
        return expr.transpose(node), not expr.is_column(node)
    if row or node is None:
        return None
    if op.kind == "hadamard" and expr.is_column(node):
        return expr.diag(node), False
    if op.kind == "left" or (op.kind == "spread" and expr.is_column(node)):
        return node, False
    if op.kind == "against" and expr.is_column(node):
        return expr.transpose(node), False
    return None


@dataclass(frozen=True)
class LinearMap:
    """A sum of chains, from a variable of shape `source` to one of shape `target`."""

    source: Shape
    target: Shape
    chains: tuple[Chain, ...] = field(default=())

    def push(self, x: Node) -> Node:
        """`J x`."""
        return expr.add(*(c.push(x) for c in self.chains)) if self.chains else expr.Zero(*self.target)

    def pull(self, d: Node) -> Node:
        """`J* d`, the transpose applied to `d`."""
        return expr.add(*(c.pull(d) for c in self.chains)) if self.chains else expr.Zero(*self.source)

    @property
    def is_matrix(self) -> bool:
        """Whether the map is one between columns (or scalars) and so has a Jacobian matrix."""
        return self.source[1] == 1 and self.target[1] == 1

    def jacobian(self) -> Node:
        """The Jacobian, rows as the target, columns as the source.  Raises `ShapeError` where a matrix takes part."""
        found = [c.jacobian(self.source) for c in self.chains] if self.is_matrix else [None]
        if any(j is None for j in found):
            raise ShapeError(
                f"no Jacobian matrix exists from {expr.show_shape(self.source)} to {expr.show_shape(self.target)}: "
                "the map is known by its pullback"
            )
        return expr.add(*found) if found else expr.Zero(self.target[0], self.source[0])  # type: ignore[arg-type]

    def transposed(self) -> LinearMap:
        """The adjoint map: chains backwards, each elementary map transposed."""
        chains = (Chain(c.coefficient, tuple(op.transposed() for op in reversed(c.ops))) for c in self.chains)
        return LinearMap(self.target, self.source, tuple(chains))

    def at(self, index: dict) -> LinearMap:
        """The map with its index moved."""
        return self.each(lambda node: expr.at(node, index)) if index else self

    def each(self, change: Callable[[Node], Node]) -> LinearMap:
        chains = tuple(
            Chain(c.coefficient, tuple(Op(o.kind, change(o.node)) if o.node is not None else o for o in c.ops))
            for c in self.chains
        )
        return replace(self, chains=chains)


def normal(chains: Iterable[Chain]) -> tuple[Chain, ...]:
    """Chains with neighbours fused, zeros dropped, and those that differ in one Hadamard factor only added up."""
    done: list[Chain] = []
    for chain in map(_fused, chains):
        if chain is None:
            continue
        for position, other in enumerate(done):
            merged = _merged(other, chain)
            if merged is not None:
                done[position] = merged
                break
        else:
            done.append(chain)
    return tuple(c for c in done if c.coefficient != 0)


def _fused(chain: Chain) -> Chain | None:
    coefficient = chain.coefficient
    ops: list[Op] = []
    for op in chain.ops:
        if op.node is not None:
            c, node = expr.split_number(op.node)
            coefficient, op = coefficient * c, Op(op.kind, node)
            if isinstance(node, expr.Zero):
                return None
            if isinstance(node, expr.Identity) or (isinstance(node, expr.Ones) and op.kind in ("hadamard", "scaled")):
                continue
        if ops and op.kind == "transposed" == ops[-1].kind:
            ops.pop()
        elif ops and op.kind == ops[-1].kind and op.kind in _FUSE:
            c, node = expr.split_number(_FUSE[op.kind](ops.pop().node, op.node))
            coefficient *= c
            ops.append(Op(op.kind, node))
        else:
            ops.append(op)
    return Chain(coefficient, tuple(ops)) if coefficient != 0 else None


_FUSE: dict[str, Callable[..., Node]] = {
    "hadamard": lambda first, second: expr.had(second, first),
    "scaled": lambda first, second: expr.had(first, second),
    "left": lambda first, second: expr.mul(second, first),
    "right": lambda first, second: expr.mul(first, second),
}


def _merged(a: Chain, b: Chain) -> Chain | None:
    if a.ops == b.ops:
        return replace(a, coefficient=a.coefficient + b.coefficient)
    if len(a.ops) != len(b.ops):
        return None
    different = [i for i, (x, y) in enumerate(zip(a.ops, b.ops, strict=True)) if x != y]
    (i, *more) = different
    x, y = a.ops[i], b.ops[i]
    if more or x.kind != "hadamard" or y.kind != "hadamard" or x.node is None or y.node is None:
        return None
    total = expr.add(expr.scale(a.coefficient, x.node), expr.scale(b.coefficient, y.node))
    c, node = expr.split_number(_over_one_denominator(total))
    if isinstance(node, expr.Zero):
        return Chain(Integer(0))
    return Chain(c, (*a.ops[:i], Op("hadamard", node), *a.ops[i + 1 :]))


def _over_one_denominator(total: Node) -> Node:
    """A sum as one quotient, where that has fewer terms: `1/s - f/s²` with `s = f + i` is `i/s²`.

    So the law `(u/s)' = (u' s - u s')/s²` is written as people do, without what cancels in it.
    """
    terms = total.args if isinstance(total, expr.Add) else ()
    for base in _denominators(terms[0]) if terms else ():
        powers = [_denominators(term).get(base, 0) for term in terms]
        highest = max(powers)
        if 0 < min(powers) >= highest - 1:
            over = [_over(term, base, k, highest) for term, k in zip(terms, powers, strict=True)]
            numerator = _collected(part for product in over for part in product)
            if not isinstance(numerator, expr.Add) or len(numerator.args) < len(terms):
                return expr.had(numerator, expr.power(base, -highest))
    return total


def _denominators(term: Node) -> dict[expr.Add, int]:
    """The sums that a term is divided by, each with its power."""
    _, body = expr.split_number(term)
    factors = body.args if isinstance(body, expr.Had) else (body,)
    found = [f.args for f in factors if isinstance(f, expr.Power) and isinstance(f.args[0], expr.Add)]
    return {base: int(-k) for base, k in found if k.is_Integer and k < 0}


def _over(term: Node, base: expr.Add, power: int, highest: int) -> list[Node]:
    """The terms of `term * base**highest`, of which `base**power` divides the term, and at most one more is multiplied out."""
    whole = expr.had(term, expr.power(base, power))
    return [whole] if power == highest else [expr.had(whole, summand) for summand in base.args]


def _collected(terms: Iterable[Node]) -> Node:
    """The sum, with products of the same factors in whatever order as one term."""
    coefficients: dict[frozenset[Node], tuple[Expr, Node]] = {}
    for term in terms:
        c, body = expr.split_number(term)
        factors = frozenset(body.args if isinstance(body, expr.Had) else (body,))
        before, first = coefficients.get(factors, (Integer(0), body))
        coefficients[factors] = before + c, first
    return expr.add(*(expr.scale(c, body) for c, body in coefficients.values()))
