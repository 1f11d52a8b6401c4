"""A line that is true except at an end of the lattice: the simplest condition under which it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from sympy import Expr, Integer, Symbol

from derive import expr
from derive.evaluate import COMPARE, integer
from derive.expr import Node, Relation
from derive.lattice import Lattice

ENOUGH = 2
"""So many points must lie on either side of a condition: one may be chance."""


@dataclass(frozen=True)
class Condition:
    """`lhs op rhs`, between an index and an end."""

    op: str
    lhs: Expr
    rhs: Expr
    is_last: bool = False
    """Whether it leaves out one value only."""

    def __call__(self, env: Mapping[str, int]) -> bool:
        return bool(COMPARE[self.op](integer(self.lhs, env), integer(self.rhs, env)))

    def is_at_end(self, env: Mapping[str, int]) -> bool:
        """Where its two sides are the same: a line that is true there only is not true but at an end."""
        return integer(self.lhs, env) == integer(self.rhs, env)

    @property
    def relation(self) -> Relation:
        return Relation(self.op, self.lhs, self.rhs)

    @property
    def end(self) -> Relation:
        """The complement: where the line is false."""
        return Relation("=" if self.is_last else OPPOSITE[self.op], self.lhs, self.rhs)


OPPOSITE = {"<": ">=", ">": "<=", "<=": ">", ">=": "<"}


def condition(
    lattice: Lattice, free: Sequence[str], side: Node, found: Sequence[tuple[Mapping[str, int], bool]]
) -> Condition | None:
    """The condition that is true exactly at the points at which the line is; None where there is none.

    `free` are the index symbols that the line is about, `side` what it says something of.
    """
    points = {tuple(env.items()): agree for env, agree in found}
    agreeing = sum(points.values())
    if agreeing < ENOUGH or len(points) - agreeing < ENOUGH:
        return None
    for candidate in _candidates(lattice, free, side):
        beyond = sum(agree and not candidate.is_at_end(dict(point)) for point, agree in points.items())
        if beyond >= ENOUGH and all(candidate(env) == agree for env, agree in found):
            return candidate
    return None


def _candidates(lattice: Lattice, free: Sequence[str], side: Node) -> Iterator[Condition]:
    """Conditions that leave out an end, the smallest end first."""
    own = [i for i in lattice.indices if str(i) in free]
    others = [Symbol(n, integer=True) for n in free if n not in set(map(str, (*own, *lattice.lengths)))]
    for i, length in product([*own, *others], lattice.lengths):
        for k in (0, 1):
            yield Condition("<", i, length - k, not k)
            yield Condition(">", i, Integer(1 + k), not k)
        yield Condition("<=", i, length)
        yield Condition(">=", i, Integer(1))
    for k, t in _distances(side):
        for op in OPPOSITE:
            yield Condition(op, k, t)
        yield Condition("<", k, t - 1)
    for length in lattice.lengths:
        yield Condition(">", length, Integer(1))
        yield Condition(">", length, Integer(2))


def _distances(side: Node) -> Iterator[tuple[Expr, Expr]]:
    """`(k, t)` for a derivative `∂y_t/∂x_k` along the lattice, which is a matter of how far they are apart."""
    body = side.args[0] if isinstance(side, expr.Transpose) else side
    if isinstance(body, (expr.Partial, expr.GradientOf)) and isinstance(body.args[0], expr.Var):
        y, x = body.args[:2]
        for t, k in zip(y.index, x.index, strict=False):
            if t.is_Symbol and k.is_Symbol and t != k:
                yield k, t
