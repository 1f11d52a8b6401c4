"""The solution of a linear recurrence, and the rules by which its induction closes.

    W W^k = W^(k+1)                A_t Π_{j=i+1..t-1} A_j = Π_{j=i+1..t} A_j                c c^k = c^(k+1)

A factor moves under a sum, since it is linear; a sum or a product over an empty range is zero or the identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Expr, Symbol

from derive import expr
from derive.affine import Linear
from derive.canonical import same
from derive.expr import Node
from derive.system import System


@dataclass(frozen=True)
class Solved:
    """The claim for a linear recurrence, and its parts: what the start and the forcing of each step have become at `t`."""

    of: Linear
    i: Symbol
    j: Symbol

    @classmethod
    def over(cls, found: Linear, system: System, taken: set[str]) -> Solved:
        """With letters for the bound indices that nothing else is called by."""
        letters = (c for c in "ikjsluvp" if c not in {*system.variables, *taken, str(found.index)})
        i, j = (Symbol(next(letters), integer=True) for _ in range(2))
        return cls(found, i, j)

    @property
    def value(self) -> Node:
        """`P(t, 0) h_0 + Σ_i P(t, i) u_i`."""
        terms = [self.from_start, self.sum(self.of.index)]
        return total(terms)

    @property
    def from_start(self) -> Node:
        return self.moved(self.of.start, self.of.border)

    @property
    def term(self) -> Node:
        """What the forcing of step `i` is worth at `t`."""
        return self.moved(expr.at(self.of.forcing, {self.of.index: self.i}), self.i)

    def sum(self, upto: Expr) -> Node:
        """The terms from the border to `upto`."""
        range_ = (self.i, 1, upto) if self.of.direction < 0 else (self.i, upto, self.of.length)
        return expr.Sum.build(self.term, range_)

    def moved(self, x: Node, since: Expr) -> Node:
        """`x`, a value at the step `since`, carried to `t`: multiplied by the factors of the steps between."""
        left, right = self.of.factor.left, self.of.factor.right
        return expr.mul(self.power(left, since, True), x, self.power(right, since, False))

    def power(self, side: Node, since: Expr, on_left: bool) -> Node:
        """The product of the factor over the steps between `since` and `t`."""
        t, down = self.of.index, self.of.direction < 0
        number, body = expr.split_number(side)
        if isinstance(body, expr.Scale) and isinstance(body.args[1], expr.Identity):
            return expr.scale(self.power(expr.scale(number, body.args[0]), since, on_left), body.args[1])
        if any(v.index for v in expr.variables(side)):
            range_ = (self.j, since + 1, t) if down else (self.j, t, since - 1)
            return expr.Product(expr.at(side, {t: self.j}), range_, descending=down == on_left)
        steps_ = t - since if down else since - t
        if isinstance(body, expr.Diag):
            return expr.scale(number**steps_, expr.diag(expr.power(body.args[0], steps_)))
        one = isinstance(body, (expr.Identity, expr.Ones))
        return expr.scale(number**steps_, body if one else expr.matrix_power(body, steps_))


def closes(found: Linear, solved: Solved, pieces: list[Node], claimed: Node) -> bool:
    """Whether `pieces` and the forcing are the claim: the start as it stands, the sum with one term more."""
    last = reduced(expr.at(solved.term, {solved.i: found.index}))
    sums = [p for p in pieces if isinstance(p, expr.Sum)]
    grown = solved.sum(found.index)
    if isinstance(found.forcing, expr.Zero):
        grows = not sums
    else:
        grows = agree(last, found.forcing) and len(sums) == 1 and agree(sums[0].args[0], solved.term)
        grows = grows and sums[0].args[1:] == solved.sum(found.index + found.direction).args[1:]
    rest = [p for p in pieces if not isinstance(p, (expr.Sum, expr.Zero))]
    wanted = [p for p in terms_of(claimed) if p is not grown and not isinstance(p, expr.Zero)]
    return grows and len(rest) == len(wanted) and all(map(agree, rest, wanted))


def agree(a: Node, b: Node) -> bool:
    """Whether two terms are one: the same but for numbers, and these equal for every index."""
    (c, a), (d, b) = expr.split_number(a), expr.split_number(b)
    return same(a, b) and sympy.simplify(c - d) == 0


def advanced(found: Linear, node: Node) -> Node:
    """The factor of step `t` times `node`, a part of the claim at the step before."""
    if isinstance(node, expr.Sum):
        return expr.Sum(advanced(found, node.args[0]), *node.args[1:])
    return _joined(_joined(node, found.factor.left, True), found.factor.right, False)


def _joined(node: Node, factor: Node, on_left: bool) -> Node:
    """`factor` times `node` (or `node` times `factor`), where a power or a product of it stands at that side of `node`."""
    a, body = expr.split_number(factor)
    c, node = expr.split_number(node)
    number = _merged(a, c)
    if isinstance(body, (expr.Identity, expr.Ones)):
        return expr.scale(number, node)
    if isinstance(body, expr.Scale) and isinstance(body.args[1], expr.Identity):
        body = body.args[0]
    if isinstance(node, expr.Scale):
        return expr.scale(number, expr.scale(_joined(node.args[0], body, on_left), node.args[1]))
    parts = list(node.args) if isinstance(node, (expr.Mul, expr.Had)) else [node]
    for k in range(len(parts)) if on_left else reversed(range(len(parts))):
        longer = _longer(parts[k], body, on_left)
        if longer is not None and (isinstance(node, expr.Had) or k == (0 if on_left else len(parts) - 1)):
            parts[k] = longer
            built = expr.had(*parts) if isinstance(node, expr.Had) else expr.mul(*parts)
            return expr.scale(number, built)
    return expr.scale(number, expr.mul(body, node) if on_left else expr.mul(node, body))


def _merged(a: Expr, c: Expr) -> Expr:
    return sympy.powsimp(a * c) if a != 1 else c


def _longer(node: Node, factor: Node, on_left: bool) -> Node | None:
    """`A A^k = A^(k+1)`, `A_t Π_{..t-1} A_j = Π_{..t} A_j`; None where `node` is neither for this factor."""
    if isinstance(node, expr.MatrixPower) and node.args[0] is factor:
        return expr.matrix_power(factor, node.args[1] + 1)
    if isinstance(node, expr.Product):
        body, (j, lo, hi), _ = node.args
        for next_, range_ in ((hi + 1, (j, lo, hi + 1)), (lo - 1, (j, lo - 1, hi))):
            outer = (next_ == hi + 1) == (node.descending == on_left)
            if outer and expr.at(body, {j: next_}) is factor:
                return expr.Product(body, range_, node.descending)
    return None


def reduced(node: Node) -> Node:
    """Without the products and sums whose range is empty."""

    def leaf(part: Any) -> Any:
        if isinstance(part, (expr.Product, expr.Sum)):
            _, lo, hi = part.args[1]
            if (hi - lo).is_negative:
                one = expr.Ones(1, 1) if expr.is_scalar(part) else expr.Identity(part.shape[0])
                return one if isinstance(part, expr.Product) else expr.Zero(*part.shape)
        return part

    made: Node = expr.rewrite(node, leaf)
    return expr.add(*made.args) if isinstance(made, expr.Add) else made


n = Symbol("n", integer=True, nonnegative=True)


def fundamental(alpha: Expr, beta: Expr) -> Expr | None:
    """`φ(n)` with `φ(0) = 1`, `φ(1) = α`, `φ(n) = α φ(n-1) + β φ(n-2)`, by SymPy's `rsolve`; None where a root is irrational."""
    r, f = Symbol("r"), sympy.Function("f")
    roots = sympy.roots(r**2 - alpha * r - beta, r)
    if not all(root.is_Rational and root != 0 for root in roots):
        return None
    solved = sympy.rsolve(f(n) - alpha * f(n - 1) - beta * f(n - 2), f(n), {f(0): 1, f(1): alpha})
    return None if solved is None else sympy.powsimp(sympy.expand(solved))


def terms_of(node: Node) -> tuple[Node, ...]:
    return node.args if isinstance(node, expr.Add) else (node,)


def total(terms: list[Node]) -> Node:
    """The sum of the terms but those that are zero, as they stand."""
    kept = [t for t in terms if not isinstance(t, expr.Zero)] or terms[:1]
    return expr.Add(*kept) if len(kept) > 1 else kept[0]
