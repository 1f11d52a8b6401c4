"""Block Jacobians: `d(c[t],h[t])/d(c[t-1],h[t-1])`, each block with the other states of the earlier step held fixed.

What a step hands to the next is all of these states together.  The product of the block matrices is the Jacobian over
several steps; the product of `∂c_t/∂c_{t-1}` alone is not: `c_{t-2} → h_{t-2} → c_{t-1}` is a path of one step, but
`h_{t-2} → h_{t-1} → c_t` passes by `c_{t-1}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sympy import Expr, Symbol

from derive import expr
from derive.derivation import Derivation, Step
from derive.errors import QueryError
from derive.expr import Equals, Node, Partial, Var
from derive.partials import table
from derive.readings import jacobians, steps
from derive.readings.jacobians import Ordered
from derive.readings.systems import held_step
from derive.system import System

if TYPE_CHECKING:
    from derive.queries import Request

MOST_FACTORS = 4
"""A product of more steps than this is written with its sign."""


def handed_on(parts: Ordered, system: System, index: Expr) -> list[Var]:
    """The states that the step `index` hands on, those of earlier steps after them."""
    return [system.variables[n].var.at((index + parts.direction * d,)) for d in range(parts.delays) for n in parts.cut]


def rows(node: Node) -> list[list[Node]]:
    """The blocks of a matrix; of one that has none, itself."""
    return [list(row) for row in node.args] if isinstance(node, expr.Block) else [[node]]


def block_partial(y: Var, x: Var, beside: Sequence[Var], hold: Sequence[str] = ()) -> Partial:
    """`∂y/∂x` with the other states of the step of `x` held fixed."""
    return Partial(y, x, held=(*hold, *(v for v in beside if v is not x)))


def block_lines(parts: Ordered, system: System, hold: Sequence[str] = ()) -> Iterator[Equals]:
    """`∂u_t/∂v_{t-1}` for every pair of states, worked out; not the rows that only pass values on."""
    (t,) = system.lattice.indices
    before = handed_on(parts, system, t + parts.direction)
    after = handed_on(parts, system, t)[: len(parts.cut)]
    for u, row in zip(after, rows(parts.step), strict=False):
        for v, block in zip(before, row, strict=True):
            yield Equals(block_partial(u, v, before, hold), jacobians.factored(block))


def blocks(request: Request) -> Derivation:
    """The block Jacobian of some states by the same ones earlier, over one step or many."""
    query, system = request.query, request.system
    ys, xs = [request.var(r) for r in query.several[0]], [request.var(r) for r in query.several[1]]
    names = [y.name for y in ys]
    _well_asked(request, ys, xs)
    local = table(system).without(request.hold)
    parts = _arranged(jacobians.ordered(system, local, names[0], names[0]), names, system)
    (own,), t, k = system.lattice.indices, ys[0].index[0], xs[0].index[0]
    apart = (t - k) * -parts.direction
    if not (apart.is_Integer and apart > 0) and (apart.is_Integer or not apart.free_symbols):
        raise QueryError(f"{query.text!r}: the states below stand at a step computed before those above")
    one = Equals(_named(parts, system, own, own + parts.direction, request.hold), parts.step)
    several = Equals(_named(parts, system, t, k, request.hold), _product(parts, own, t, k))
    done = [
        steps.forward(system),
        held_step(request),
        Step(
            "block Jacobian",
            "The blocks of one step",
            _said(parts),
            (),
            tuple(block_lines(parts, system, request.hold)),
        ),
        Step("block Jacobian", "As one matrix", "The same blocks, in their places.", (), (one,)),
    ]
    if apart == 1:
        result = expr.at(one, {own: t})
        return request.answer([*done, _two_steps(parts, system, request)], result.rhs)
    reason = "The matrices keep the order of the steps, since they do not commute."
    done.append(_two_steps(parts, system, request))
    done.append(Step("ordered product", "The product over the steps", reason, (), (several,)))
    return request.answer(done, several.rhs)


def _well_asked(request: Request, ys: Sequence[Var], xs: Sequence[Var]) -> None:
    text, system = request.query.text, request.system
    if system.lattice.dimension > 1:
        raise QueryError(
            f"{text!r}: on a grid no step hands on a few states only; give one state at a constant distance"
        )
    if [y.name for y in ys] != [x.name for x in xs] or len({y.name for y in ys}) != len(ys):
        raise QueryError(f"{text!r}: a block Jacobian is that of some states by the same ones, in the same order")
    for group in (ys, xs):
        if any(v.name not in system.equations for v in group) or len({v.index for v in group}) != 1:
            raise QueryError(f"{text!r}: a block Jacobian is taken between states at one index above and one below")


def _arranged(parts: Ordered, names: Sequence[str], system: System) -> Ordered:
    """The step's matrix in the order in which the states were asked for."""
    if set(names) != set(parts.cut) or parts.delays > 1:
        needed = ",".join(f"{n}[t]" for n in parts.cut)
        last = f" of the last {parts.delays} steps" if parts.delays > 1 else ""
        raise QueryError(
            f"what a step of {system.name} hands to the next is {needed}{last}, not {','.join(names)}; "
            f"ask 'd({needed})/d({needed.replace('[t]', '[t-1]')})'"
            + (", or 'bound …', which writes the companion form" if parts.delays > 1 else "")
        )
    if len(names) == 1:
        return parts
    order = [parts.cut.index(n) for n in names]
    found = rows(parts.step)
    step = expr.Block(*([jacobians.factored(found[i][j]) for j in order] for i in order))
    return replace(parts, cut=tuple(names), step=step)


def _named(parts: Ordered, system: System, t: Expr, k: Expr, hold: Sequence[str]) -> Node:
    """The matrix of the derivatives, not worked out."""
    ys, xs = handed_on(parts, system, t), handed_on(parts, system, k)
    found = [[block_partial(y, x, xs, hold) for x in xs] for y in ys]
    return expr.Block(*found) if len(ys) > 1 else found[0][0]


def _product(parts: Ordered, own: Symbol, t: Expr, k: Expr) -> Node:
    """The steps after `k` up to `t`, the latest left."""
    down = parts.direction < 0
    apart = (t - k) * -parts.direction
    if apart.is_Integer and apart <= MOST_FACTORS:
        return expr.Mul(*(expr.at(parts.step, {own: t + parts.direction * d}) for d in range(int(apart))))
    letters = (s for s in "jilsr" if s not in {str(a) for a in (*t.free_symbols, *k.free_symbols)})
    j = Symbol(next(letters), integer=True)
    return expr.Product(expr.at(parts.step, {own: j}), (j, k + 1, t) if down else (j, t, k - 1), descending=down)


def _said(parts: Ordered) -> str:
    names = " and ".join(f"`{n}`" for n in parts.cut)
    fixed = "In each block the other states of the earlier step are held fixed."
    return f"Everything that a step hands to the next is {names}. {fixed}"


def _two_steps(parts: Ordered, system: System, request: Request) -> Step | None:
    """Over two steps a block is a sum over what stands between; the product of one block with itself is one term of it."""
    if len(parts.cut) < 2:
        return None
    (t,) = system.lattice.indices
    d = parts.direction
    now, mid, first = (handed_on(parts, system, t + d * k) for k in range(3))
    terms = [
        expr.Mul(block_partial(now[0], m, mid, request.hold), block_partial(m, first[0], first, request.hold))
        for m in mid
    ]
    line = Equals(block_partial(now[0], first[0], first, request.hold), expr.Add(*terms))
    missing = " and ".join(" → ".join(map(steps.typed, (first[0], m, now[0]))) for m in mid[1:])
    does = "does" if len(mid) == 2 else "do"
    return Step(
        "two steps",
        "Why one block is not enough",
        f"Over two steps, a way from {steps.typed(first[0])} to {steps.typed(now[0])} may lead through any state between. "
        f"{missing} {does} not pass through {steps.typed(mid[0])}: the product of the blocks of `{now[0].name}` "
        "is the first term alone.",
        (),
        (line,),
    )
