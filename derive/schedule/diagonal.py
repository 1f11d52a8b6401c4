"""Recurrences that are linear in their state, entry by entry: `h[t] = a[t] * h[t-1] + b[t]`, a and b known before.

Composition of such maps is associative, so that all steps can be computed together, in a number of rounds that grows with
log T (Blelloch 1990, Prefix sums and their applications; Martin and Cundy 2018, arXiv:1709.04057).  The adjoint of such a
recurrence is another one.
"""

from __future__ import annotations

from dataclasses import dataclass

from derive import expr
from derive.expr import Node, Var
from derive.schedule.program import Assign, Sweep
from derive.schedule.terms import asks_where, can_be_infinite, terms_of


@dataclass(frozen=True)
class Diagonal:
    """`target = factor * before + rest`: `factor` is a scalar, or has the shape of the target; `rest` may be zero."""

    target: Var
    before: Var
    factor: Node
    rest: Node


def diagonal(sweep: Sweep) -> Diagonal | None:
    """What a sweep computes, if it is such a recurrence."""
    if len(sweep.body) != 1 or not isinstance(sweep.body[0], Assign) or sweep.shifts:
        return None
    target, value = sweep.body[0].target, sweep.body[0].value
    if asks_where(value) or can_be_infinite(value):
        return None
    found = {v for v in expr.variables(value) if v.name == target.name}
    if len(found) != 1 or len(target.index) != 1:
        return None
    (before,) = found
    if before.index[0] != target.index[0] - sweep.direction:
        return None
    inside = [term for term in terms_of(value) if before in expr.variables(term)]
    rest = [term for term in terms_of(value) if term not in inside]
    factors = [_factor(term, before) for term in inside]
    known = [f for f in factors if f is not None]
    if len(known) < len(factors):
        return None
    if len({f.shape for f in known}) > 1:
        known = [expr.scale(f, expr.Ones(*target.shape)) if expr.is_scalar(f) else f for f in known]
    return Diagonal(target, before, expr.add(*known), expr.add(*rest) if rest else expr.Zero(*target.shape))


def _factor(term: Node, before: Var) -> Node | None:
    """`a` with `term = a * before`, entry by entry; None where the term is no such product."""
    if term == before:
        return expr.Ones(*expr.SCALAR)
    if isinstance(term, expr.Scale):
        number, body = term.args
        if isinstance(number, Node) and before in expr.variables(number):
            number, body = body, number
        if isinstance(number, Node) and before in expr.variables(number):
            return None
        factor = _factor(body, before)
        return None if factor is None else expr.scale(number, factor)
    if isinstance(term, expr.Had) and term.args.count(before) == 1:
        rest = [f for f in term.args if f != before]
        return None if any(before in expr.variables(f) for f in rest) else expr.had(*rest)
    return None
