"""`closed h[t]`: a linear recurrence solved, `h[t] = Π A · h[0] + Σ_i (Π A) u[i]`, and the induction that proves it.

The proof is worked out, not recited: the claim at `t - 1` is put into the equation, the factor moves under the sum
and joins its powers and products by three rules that hold for every `t`, the forcing joins as the last term, and what comes
out has to be the claim at `t` (`derive.solutions`).  Each line is then a formula like any other, which the oracles evaluate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy
from sympy import Expr, Integer, Symbol

from derive import affine, expr
from derive.affine import Linear, NotAffine
from derive.canonical import same
from derive.derivation import Derivation, Step
from derive.errors import DeriveError, QueryError
from derive.expr import Equals, Node
from derive.readings import steps
from derive.solutions import Solved, advanced, closes, fundamental, n, reduced, terms_of, total
from derive.system import LOSS, System

if TYPE_CHECKING:
    from derive.queries import Request

MOST_ROWS = 3
"""So many first steps are written out, to see the pattern."""


def closed(request: Request) -> Derivation:
    """The closed form of a name, where its equation is affine in its own past."""
    reference = request.query.above
    assert reference is not None
    system, var = request.system, request.var(reference)
    if reference.name not in system.equations or not var.index or reference.name == LOSS:
        raise QueryError(f"a closed form is asked of a state at an index, such as h[t]; found {reference}")
    found = _recognised(system, reference.name)
    solved = Solved.over(found, system, {str(s) for s in var.index[0].free_symbols})
    line = Equals(found.state, solved.value)
    own, result = _read_off(found, solved.value, system)
    at = {found.index: var.index[0]}
    special = _second_order(found, solved, system)
    answer = expr.at(result if special is None else special.rhs, at)
    done = [
        steps.forward(system, [reference.name, *found.given, *found.inlined]),
        _recognition(found, system),
        _stack(found),
        _first_steps(found, solved),
        Step("claim", "The claim", "For every number of steps, as the first ones suggest.", (), (line,)),
        *_induction(found, solved, line),
        _geometric(found, solved),
        Step(
            "closed form", "The closed form", _conclusion(found), (), (Equals(expr.at(own, at), expr.at(result, at)),)
        ),
    ]
    if special is not None:
        reason = "The powers of a companion matrix, worked out from the roots of its characteristic polynomial."
        done.append(Step("closed form", "By the characteristic roots", reason, (), (expr.at(special, at),)))
    return request.answer(done, answer)


def _recognised(system: System, name: str) -> Linear:
    """The recurrence; where it is not linear, which term is not, and what to ask instead."""
    try:
        return affine.linear(system, name)
    except NotAffine as error:
        others = [f"'closed {n}[t]'" for n in system.equations if n not in (name, LOSS) and _is_linear(system, n)]
        instead = f"ask {' or '.join(others)}, which is linear given its gates, or " if others else "ask "
        raise QueryError(
            f"{name}[t] of {system.name} has no closed form: {error.term} is not linear in its own past; "
            f"{instead}'bound d{name}[t]/d{name}[k]' for how far the past reaches"
        ) from None


def _is_linear(system: System, name: str) -> bool:
    try:
        affine.linear(system, name)
    except DeriveError:
        return False
    return True


def _recognition(found: Linear, system: System) -> Step:
    """What was recognised: the factors, the forcing, what is taken as given."""
    var = system.variables[found.name].var
    past = [f(var.at((found.index + lag,))) for lag, f in found.parts.lags.items()]
    line = Equals(var, total([*past, found.parts.forcing]))
    kind = "the same at every step" if found.constant else "another one at every step"
    reason = f"The equation is affine in its own past: each earlier value of `{found.name}` is multiplied by a factor, {kind}, "
    reason += f"and a term without `{found.name}`, the forcing, is added."
    if found.inlined:
        reason += (
            f" For that, {_listed(found.inlined)} of the same step {'is' if len(found.inlined) == 1 else 'are'} put in."
        )
    if found.given:
        depend, own = ("depends", "itself") if len(found.given) == 1 else ("depend", "themselves")
        their = "its value" if len(found.given) == 1 else "their values"
        reason += f" {_listed(found.given)} {depend} on earlier `{found.name}` {own}: the form is closed given {their}."
    return Step("linear recurrence", "A linear recurrence", reason, (), (line,))


def _listed(names: tuple[str, ...]) -> str:
    quoted = [f"`{n}`" for n in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _stack(found: Linear) -> Step | None:
    if found.order == 1:
        return None
    reason = f"The last {found.order} values under one another are a state of first order; its factor is the companion matrix."
    line = Equals(found.state, total([expr.Mul(found.factor.left, found.before), found.forcing]))
    reason += _roots(found)
    return Step("companion form", "In companion form", reason, (), (line,))


# --- the solution -----------------------------------------------------------------------------------------------------


def _roots(found: Linear) -> str:
    """What the powers of a companion matrix of numbers are made of."""
    numbers = [_number(found.parts.lags.get(found.direction * d)) for d in range(1, found.order + 1)]
    if any(c is None for c in numbers):
        return ""
    r = Symbol("r")
    roots = sympy.roots(r**found.order - sum(c * r ** (found.order - d) for d, c in enumerate(numbers, 1) if c), r)
    return f" Its eigenvalues are {', '.join(map(str, roots))}." if sum(roots.values()) == found.order else ""


def _first_steps(found: Linear, solved: Solved) -> Step | None:
    """The recurrence, put into itself."""
    if found.direction > 0 or found.order > 1:
        return None
    t, lines = found.index, []
    value = found.start
    for k in range(1, MOST_ROWS + 1):
        at = {t: Integer(k)}
        value = expr.add(*_times(_at(found, at), value), expr.at(found.forcing, at))
        lines.append(Equals(expr.at(found.state, at), value))
    return Step("substitution", "The first steps", "The equation is put into itself.", (), tuple(lines))


def _at(found: Linear, at: dict[Symbol, Any]) -> affine.Factor:
    return affine.Factor(expr.at(found.factor.left, at), expr.at(found.factor.right, at))


def _times(factor: affine.Factor, node: Node) -> list[Node]:
    terms = node.args if isinstance(node, expr.Add) else (node,)
    return [factor(term) for term in terms]


# --- the induction ----------------------------------------------------------------------------------------------------


def _induction(found: Linear, solved: Solved, claim: Equals) -> tuple[Step, ...]:
    """The base case and the step, worked out; raises where the proof does not close."""
    t, back = found.index, {found.index: found.index + found.direction}
    border = {t: found.border}
    if not same(reduced(expr.at(claim.rhs, border)), found.start):
        raise DeriveError(f"the closed form of {found.name} is not its start at {t} = {found.border}")
    before = expr.at(claim.rhs, back)
    factor = found.factor
    put_in = Equals(found.state, total([_unworked(factor, before), found.forcing]))
    pieces = [advanced(found, term) for term in terms_of(before)]
    through = Equals(found.state, total([*pieces, found.forcing]))
    if not closes(found, solved, pieces, claim.rhs):
        raise DeriveError(f"the induction for the closed form of {found.name} does not close")
    said = f"`{found.name}[{t}{found.direction:+d}]`"
    left = (
        "what stands beyond the border is zero" if isinstance(found.start, expr.Zero) else "what is left is the start"
    )
    return (
        Step(
            "base case",
            "Induction: the base case",
            f"At `{t} = {found.border}` the sum is empty and every product is the identity; {left}.",
            (),
            (),
        ),
        Step(
            "hypothesis",
            "Induction: the step",
            f"The claim is put in for {said}.",
            (claim,),
            (put_in,),
        ),
        Step(
            "induction",
            "Induction: the factors join",
            "The factor moves under the sum, since it is linear, and joins the factors that stand there; "
            f"the forcing of step `{t}` is the sum's missing term. That is the claim at `{t}`, for every `{t}`.",
            (put_in,),
            (through,),
        ),
    )


def _unworked(factor: affine.Factor, node: Node) -> Node:
    """The factor beside a sum, not multiplied out."""
    c, left = expr.split_number(factor.left)
    scalar = None
    if isinstance(left, expr.Scale) and isinstance(left.args[1], expr.Identity):
        scalar, left = left.args
    sides = [f for f in (left, node, factor.right) if f is node or not isinstance(f, (expr.Identity, expr.Ones))]
    product = (expr.Had if expr.is_scalar(node) else expr.Mul)(*sides) if len(sides) > 1 else node
    product = expr.Scale(scalar, product) if scalar is not None else product
    return expr.Scale(c, product) if c != 1 else product


# --- what follows -----------------------------------------------------------------------------------------------------


def _conclusion(found: Linear) -> str:
    which = f"`{found.index}` ≥ 0" if found.direction < 0 else f"`{found.index}` ≤ {found.length} + 1"
    given = f", given {_listed(found.given)}" if found.given else ""
    return f"By induction, for every {which}{given}."


def _read_off(found: Linear, value: Node, system: System) -> tuple[Node, Node]:
    """The name itself, and its value: the first of the values that were stacked."""
    var = system.variables[found.name].var
    if found.order == 1:
        return var, value
    rows = var.shape[0]
    first = expr.Block(
        [expr.Identity.build(rows) if rows != 1 else expr.Ones(1, 1), *([expr.Zero(rows, rows)] * (found.order - 1))]
    )
    parts = terms_of(value)
    moved = [
        expr.Sum(expr.mul(first, p.args[0]), *p.args[1:]) if isinstance(p, expr.Sum) else expr.mul(first, p)
        for p in parts
    ]
    return var, steps.sum_of(moved)


def _geometric(found: Linear, solved: Solved) -> Step | None:
    """A forcing that is the same at each step: the sum of a geometric series."""
    constant = [t for t in terms_of(found.forcing) if not any(v.index for v in expr.variables(t))]
    side, t = found.factor.left, found.index
    if (
        not constant
        or not found.constant
        or found.direction > 0
        or isinstance(found.factor.right, expr.Identity)
        or found.order > 1
    ):
        return None
    bias = expr.add(*constant)
    body = expr.mul(solved.power(side, solved.i, True), bias)
    whole = expr.Sum(body, (solved.i, 1, t))
    number, rest = expr.split_number(side)
    if isinstance(rest, (expr.Identity, expr.Ones)):
        series = sympy.simplify(sympy.summation(number ** (t - solved.i), (solved.i, 1, t)))
        reason = "A forcing that is the same at each step makes a geometric series."
        return Step("geometric series", "The constant part", reason, (), (Equals(whole, expr.scale(series, bias)),))
    one = expr.Identity(side.shape[0]) if not expr.is_scalar(side) else expr.Ones(1, 1)
    left = expr.mul(expr.add(one, expr.scale(-1, side)), whole)
    right = expr.mul(expr.add(one, expr.scale(-1, solved.power(side, Integer(0), True))), bias)
    reason = "A forcing that is the same at each step makes a geometric series; its sum, where the factor has no eigenvalue 1."
    return Step("geometric series", "The constant part", reason, (), (Equals(left, right),))


def _second_order(found: Linear, solved: Solved, system: System) -> Equals | None:
    """`h_t = φ(t) h_0 + β φ(t-1) h_{-1} + Σ φ(t-i) u_i` where the roots of `r² = α r + β` are rational numbers."""
    var = system.variables[found.name].var
    if found.order != 2 or found.direction > 0:
        return None
    numbers = [_number(found.parts.lags.get(lag)) for lag in (-1, -2)]
    if any(c is None for c in numbers):
        return None
    alpha, beta = (c for c in numbers if c is not None)
    phi = fundamental(alpha, beta)
    if phi is None:
        return None
    t = found.index
    zero = system.boundary.get(found.name, "zero") == "zero"
    starts = (
        []
        if zero
        else [
            expr.scale(phi.subs(n, t), var.at((Integer(0),))),
            expr.scale(sympy.powsimp(sympy.expand(beta * phi.subs(n, t - 1))), var.at((Integer(-1),))),
        ]
    )
    forcing = expr.at(found.parts.forcing, {t: solved.i})
    rest = expr.Sum.build(expr.scale(sympy.factor_terms(phi.subs(n, t - solved.i)), forcing), (solved.i, 1, t))
    return Equals(var, total([*starts, rest]))


def _number(factor: affine.Factor | None) -> Expr | None:
    if factor is None:
        return Integer(0)
    number, rest = expr.split_number(factor.left)
    return number if isinstance(rest, (expr.Identity, expr.Ones)) else None
