"""`closed h[t]`: a linear recurrence solved, `h[t] = Π A · h[0] + Σ_i (Π A) u[i]`, and the induction that proves it.

The proof is worked out, not recited: the claim at `t - 1` is put into the equation, the factor moves under the sum
and joins its powers and products by three rules that hold for every `t`, the forcing joins as the last term, and what
comes out has to be the claim at `t`.  Each line is then a formula like any other, which the oracles evaluate.

    W W^k = W^(k+1)                A_t Π_{j=i+1..t-1} A_j = Π_{j=i+1..t} A_j                c c^k = c^(k+1)
"""

from __future__ import annotations

from dataclasses import dataclass
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
    line = Equals(var, _sum([*past, found.parts.forcing]))
    kind = "the same at every step" if found.constant else "another one at every step"
    reason = f"The equation is affine in its own past: each value of `{found.name}` is multiplied by a factor, {kind}, and a term without it is added."
    if found.inlined:
        reason += (
            f" For that, {_listed(found.inlined)} of the same step {'is' if len(found.inlined) == 1 else 'are'} put in."
        )
    if found.given:
        reason += f" {_listed(found.given)} depend on earlier `{found.name}` themselves: the form is closed given their values."
    return Step("linear recurrence", "A linear recurrence", reason, (), (line,))


def _listed(names: tuple[str, ...]) -> str:
    quoted = [f"`{n}`" for n in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _stack(found: Linear) -> Step | None:
    if found.order == 1:
        return None
    reason = f"The last {found.order} values under one another are a state of first order; its factor is the companion matrix."
    line = Equals(found.state, _sum([expr.Mul(found.factor.left, found.before), found.forcing]))
    return Step("companion form", "In companion form", reason, (), (line,))


# --- the solution -----------------------------------------------------------------------------------------------------


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
        return _sum(terms)

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
    base = Equals(expr.at(found.state, border), expr.at(claim.rhs, border))
    if not same(reduced(base.rhs), found.start):
        raise DeriveError(f"the closed form of {found.name} is not its start at {t} = {found.border}")
    before = expr.at(claim.rhs, back)
    factor = found.factor
    put_in = Equals(found.state, _sum([_unworked(factor, before), found.forcing]))
    pieces = [advanced(found, term) for term in _terms(before)]
    through = Equals(found.state, _sum([*pieces, found.forcing]))
    _closes(found, solved, pieces, claim.rhs)
    said = f"`{found.name}[{t}{found.direction:+d}]`"
    return (
        Step(
            "base case",
            "Induction: the base case",
            f"At `{t} = {found.border}` the sum is empty and every product is the identity"
            + (", and what stands beyond the border is zero." if isinstance(found.start, expr.Zero) else "."),
            (),
            () if isinstance(found.start, expr.Zero) else (base,),
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


def _sum(terms: list[Node]) -> Node:
    """The terms but those that are zero, as they stand."""
    return steps.sum_of([t for t in terms if not isinstance(t, expr.Zero)] or terms[:1])


def _closes(found: Linear, solved: Solved, pieces: list[Node], claimed: Node) -> None:
    """Whether `pieces` and the forcing are the claim: the start as it stands, the sum with one term more."""
    last = reduced(expr.at(solved.term, {solved.i: found.index}))
    sums = [p for p in pieces if isinstance(p, expr.Sum)]
    grown = solved.sum(found.index)
    if isinstance(found.forcing, expr.Zero):
        closes = not sums
    else:
        closes = agree(last, found.forcing) and len(sums) == 1 and agree(sums[0].args[0], solved.term)
        closes = closes and sums[0].args[1:] == solved.sum(found.index + found.direction).args[1:]
    rest = [p for p in pieces if not isinstance(p, (expr.Sum, expr.Zero))]
    wanted = [p for p in _terms(claimed) if p is not grown and not isinstance(p, expr.Zero)]
    if not closes or len(rest) != len(wanted) or not all(map(agree, rest, wanted)):
        raise DeriveError(f"the induction for the closed form of {found.name} does not close")


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
    n = var.shape[0]
    first = expr.Block(
        [expr.Identity.build(n) if n != 1 else expr.Ones(1, 1), *([expr.Zero(n, n)] * (found.order - 1))]
    )
    parts = _terms(value)
    moved = [
        expr.Sum(expr.mul(first, p.args[0]), *p.args[1:]) if isinstance(p, expr.Sum) else expr.mul(first, p)
        for p in parts
    ]
    return var, steps.sum_of(moved)


def _geometric(found: Linear, solved: Solved) -> Step | None:
    """A forcing that is the same at each step: the sum of a geometric series."""
    constant = [t for t in _terms(found.forcing) if not any(v.index for v in expr.variables(t))]
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
    total = expr.Sum(body, (solved.i, 1, t))
    number, rest = expr.split_number(side)
    if isinstance(rest, (expr.Identity, expr.Ones)):
        series = sympy.simplify(sympy.summation(number ** (t - solved.i), (solved.i, 1, t)))
        reason = "A forcing that is the same at each step makes a geometric series."
        return Step("geometric series", "The constant part", reason, (), (Equals(total, expr.scale(series, bias)),))
    one = expr.Identity(side.shape[0]) if not expr.is_scalar(side) else expr.Ones(1, 1)
    left = expr.mul(expr.add(one, expr.scale(-1, side)), total)
    right = expr.mul(expr.add(one, expr.scale(-1, solved.power(side, Integer(0), True))), bias)
    reason = "A forcing that is the same at each step makes a geometric series; where 1 is no eigenvalue of the factor, this is its sum."
    return Step("geometric series", "The constant part", reason, (), (Equals(left, right),))


def _terms(node: Node) -> tuple[Node, ...]:
    return node.args if isinstance(node, expr.Add) else (node,)


def _second_order(found: Linear, solved: Solved, system: System) -> Equals | None:
    """`h_t = φ(t) h_0 + β φ(t-1) h_{-1} + Σ φ(t-i) u_i` where the roots of `r² = α r + β` are rational numbers."""
    var = system.variables[found.name].var
    if found.order != 2 or found.direction > 0:
        return None
    numbers = [_number(found.parts.lags.get(lag), var) for lag in (-1, -2)]
    if any(n is None for n in numbers):
        return None
    alpha, beta = (n for n in numbers if n is not None)
    phi = fundamental(alpha, beta)
    if phi is None:
        return None
    t, n = found.index, _n
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
    return Equals(var, _sum([*starts, rest]))


_n = Symbol("n", integer=True, nonnegative=True)


def fundamental(alpha: Expr, beta: Expr) -> Expr | None:
    """`φ(n)` with `φ(0) = 1`, `φ(1) = α`, `φ(n) = α φ(n-1) + β φ(n-2)`, by SymPy's `rsolve`; None where a root is irrational."""
    r, f = Symbol("r"), sympy.Function("f")
    roots = sympy.roots(r**2 - alpha * r - beta, r)
    if not all(root.is_Rational and root != 0 for root in roots):
        return None
    solved = sympy.rsolve(f(_n) - alpha * f(_n - 1) - beta * f(_n - 2), f(_n), {f(0): 1, f(1): alpha})
    return None if solved is None else sympy.powsimp(sympy.expand(solved))


def _number(factor: affine.Factor | None, var: Node) -> Expr | None:
    if factor is None:
        return Integer(0)
    number, rest = expr.split_number(factor.left)
    return number if isinstance(rest, (expr.Identity, expr.Ones)) else None
