r"""`bound dL/dh[t]`, `bound dh[t]/dh[k]`: a norm bound, with the ingredients of its proof.

1  the Jacobian of one step, of all that a step hands on: the oracles confirm it like any other formula
2  its blocks' norms by `‖AB‖ ≤ ‖A‖ ‖B‖`: a small matrix `N_t` of numbers that are not negative
3  the supremum of each activation and of its derivative, from the table of functions; how large the states can be
4  the product over the steps: `‖∂u_t/∂v_k‖` is at most the entry of `N_t ⋯ N_{k+1} ≤ N^(t-k)`
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sympy import Basic, Expr, Integer, Symbol

from derive import expr, functions, norms
from derive.derivation import Derivation, Step
from derive.errors import QueryError
from derive.expr import Equals, Node, Partial, Relation, Var
from derive.partials import table
from derive.ranges import range_of_function
from derive.readings import jacobians, steps
from derive.readings.one_step import OneStep
from derive.readings.systems import held_step
from derive.system import LOSS, System

if TYPE_CHECKING:
    from derive.queries import Request

NORM = (
    "This holds for the norms 1, 2 and infinity of vectors, with the norms of matrices that they induce: for the norm 2 the "
    "spectral norm. With the largest entry of a matrix in its place it would be false. "
    "The gradient of the loss is measured in the dual norm: the norm 2 is its own dual, 1 and infinity are each other's."
)


def bound(request: Request) -> Derivation:
    """An upper bound for the norm of a derivative by a state."""
    query, system = request.query, request.system
    above, below = query.above, query.below
    assert above is not None and below is not None
    if system.lattice.dimension > 1:
        raise QueryError(
            f"{query.text!r}: on a grid a derivative is a sum over paths, not a product of steps; "
            f"ask 'paths {above} <- {below}' for how many there are"
        )
    if below.index is None or (above.index is None and above.name != LOSS):
        raise QueryError(
            f"a bound is asked of a derivative by a state at an index, as in 'bound dL/dh[t]'; found {query.text!r}"
        )
    local = table(system).without(request.hold)
    try:
        parts = jacobians.ordered(system, local, above.name, below.name)
    except QueryError as error:
        reason = str(error).partition(";")[0]
        raise QueryError(f"{query.text!r}: {reason}, so that no product of steps carries a bound") from None
    product = OneStep(request, parts)
    for name in (below.name, *((above.name,) if above.name != LOSS else ())):
        if name not in parts.cut:
            wanted = [f"'bound dL/d{n}[t]'" if above.name == LOSS else f"'bound d{n}[t]/d{n}[k]'" for n in parts.cut]
            handed = " or ".join(wanted)
            raise QueryError(
                f"{name} is not what a step hands to the next: the bound is made of Jacobians of {', '.join(parts.cut)}; "
                f"ask {handed}"
            )
    lines, result = _result(request, product)
    done = [
        steps.forward(system),
        held_step(request),
        Step("one step", "What one step hands to the next", product.said, (), product.jacobian_lines),
        None if expr.is_scalar(parts.step) else Step("law", "The norm", NORM, (), tuple(_laws())),
        Step(
            "norm",
            "The norm of one step" if product.alone else "The norms of the blocks",
            product.norms_said,
            (),
            product.norm_lines,
        ),
        _suprema(system, product),
        _state_sizes(system, product.sizes),
        None
        if product.worst is product.kept
        else Step("norm", "Every factor at its largest", product.worst_said, (), product.worst_lines),
        Step("product", "The product over the steps", _product_said(product), (), tuple(lines)),
        _conditions(product, request),
    ]
    return request.answer(done, result)


# --- the result -------------------------------------------------------------------------------------------------------


def _result(request: Request, product: OneStep) -> tuple[list[Basic], Node]:
    above, below = request.query.above, request.query.below
    assert above is not None and below is not None and below.index is not None
    if above.name == LOSS:
        return _of_loss(request, product, below.name, below.index[0])
    assert above.index is not None
    y, x = request.var(above), request.var(below)
    (t,), (k,) = above.index, below.index
    apart = (t - k) * -product.direction
    if apart.is_negative or apart.is_zero:
        raise QueryError(
            f"{request.query.text!r}: a bound is asked of a later step by an earlier one, in the order of computation"
        )
    total = norms.norm(Partial(y, x, held=request.hold))
    result = product.over(above.name, below.name, apart)
    kept = product.product(above.name, below.name, t, k)
    return [Relation("<=", total, kept), Relation("<=", total, result)], result


def _of_loss(request: Request, product: OneStep, name: str, t: Expr) -> tuple[list[Basic], Node]:
    """One loss term at `s` reaches back by a product; the whole loss by their sum."""
    system = product.system
    (length,) = system.lattice.lengths
    s = Symbol("s", integer=True)
    x, down = system.variables[name].var.at((t,)), product.direction < 0
    above = request.query.above
    assert above is not None
    last = above.index[0] if above.index is not None else length
    one = above.index is not None or system.loss == "last"
    lines: list[Basic] = []
    far = last if one else s
    whole = system.loss == "last" and above.index is None
    apart = (far - t) if down else (t - far)
    term = _reached(product, far, lambda u: product.over(u, name, apart), whole)
    reached = x.marked("bar") if whole else expr.GradientOf(system.variables[LOSS].var.at((far,)), x)
    if product.kept is not product.worst:
        by_steps = _reached(product, far, lambda u: product.product(u, name, far, t), whole)
        lines.append(Relation("<=", norms.norm(reached), by_steps))
    lines.append(Relation("<=", norms.norm(reached), term))
    if one:
        return lines, term
    range_ = (s, t, length) if down else (s, 1, t)
    total = expr.Sum(term, range_)
    lines.append(Relation("<=", norms.norm(x.marked("bar")), total))
    return lines, total


def _reached(product: OneStep, at: Expr, back: Callable[[str], Node], whole: bool) -> Node:
    """`Σ_u ‖∂L_s/∂u_s‖ back(u)` over the states that the loss reads directly; `whole`: there is no other loss."""
    system, own = product.system, product.index
    left = product.parts.left
    row = left.args[0] if isinstance(left, expr.Block) else (left,)
    if not product.parts.reaches:
        raise QueryError(f"the loss of {system.name} reads states of another step, for which no bound is worked out")
    read = [(u, block) for u, block in zip(product.states(own), row, strict=True) if not isinstance(block, expr.Zero)]
    loss = system.variables[LOSS].var.at((at,))
    terms = []
    for u, block in read:
        var = expr.at(u, {own: at})
        direct = expr.transpose(expr.at(block, {own: at})) if len(read) > 1 else expr.GradientOf(loss, var)
        if whole and len(read) == 1:
            direct = var.marked("bar")
        terms.append(expr.Had(back(u.name), norms.norm(direct)))
    return steps.sum_of(terms)


# --- the ingredients --------------------------------------------------------------------------------------------------


def _laws() -> Iterator[Basic]:
    """What is asked of a norm."""
    n = Symbol("n")
    a, b = (Var(name, (), (), n, n) for name in "AB")
    x, v = (Var(name, (), (), n, 1) for name in "xv")
    yield Relation("<=", expr.Norm(expr.mul(a, b)), expr.had(expr.Norm(a), expr.Norm(b)))
    yield Relation("<=", expr.Norm(expr.mul(a, x)), expr.had(expr.Norm(a), expr.Norm(x)))
    yield Equals(expr.Norm(expr.diag(v)), expr.Norm(v, "inf"))


def _suprema(system: System, product: OneStep) -> Step | None:
    """How large each activation that stands in the Jacobian is, and its derivative: from its row of the table."""
    names = {v.name for v in expr.variables(product.parts.step)}
    applied = [
        n.function
        for name, e in system.equations.items()
        for n in expr.walk(e.rhs)
        if isinstance(n, expr.Apply) and (name in names or any(v.name in names for v in expr.variables(e.rhs)))
    ]
    used = {n.function for n in expr.walk(product.parts.step) if isinstance(n, expr.Apply)}
    u = Var("u", (), (), 1, 1)
    lines: list[Basic] = []
    for function in dict.fromkeys(
        f for f in applied if f in used or isinstance(functions.row(f), functions.Elementwise)
    ):
        for order in (0, 1):
            value = norms.greatest(range_of_function(function, order)) if function != LOSS else None
            if value is not None:
                size = expr.apply("abs", expr.apply(function, u, order=order))
                lines.append(Relation("<=", size, expr.number(value)))
    if not lines:
        return None
    reason = "The largest values of each activation and of its derivative over all numbers, worked out from the function itself."
    return Step("supremum", "The activations", reason, (), tuple(lines))


def _state_sizes(system: System, sizes: norms.Sizes) -> Step | None:
    """How large the states are that no activation bounds, and on the border."""
    if not sizes.used:
        return None
    lines = [Relation("<=", norms.norm(system.variables[name].var, "inf"), value) for name, value in sizes.used.items()]
    reason = (
        "By induction over the steps: a gate lies between 0 and 1, so that a weighted mean stays between what it is the mean of, "
        "and a sum grows by at most what is added at each step."
    )
    return Step("state bound", "How large the states are", reason, (), tuple(lines))


def _product_said(product: OneStep) -> str:
    if product.alone:
        return "The Jacobian over several steps is the product of those of single steps, and so is its bound."
    return (
        "The norms of the blocks of a product are at most the entries of the product of their norms, "
        "since all of these are sums of products of numbers that are not negative. "
        f"The rows and columns stand for {', '.join(steps.typed(v) for v in product.states(product.index))}."
    )


def _conditions(product: OneStep, request: Request) -> Step:
    """When the bound goes to zero; and that it is a bound only."""
    rate = product.worst
    lines: tuple[Basic, ...] = ()
    warning = "A bound from above does not say that a gradient is as large"
    warning += (
        ": large weights drive units into saturation, where the derivative of their activation is nearly zero, so that the "
        "gradient may vanish all the same."
        if _saturates(product)
        else ": one factor may turn a vector into directions that the next one shrinks, or be zero where a unit is off."
    )
    if product.alone:
        least = _constant(rate)
        if least < 1:
            y, x = product.states(product.index)[0], product.states(Symbol("k", integer=True))[0]
            goes = Relation("->", norms.norm(Partial(y, x, held=request.hold)), expr.Zero(1, 1))
            lines = (expr.Implies(Relation("<", product.rate, expr.Ones(1, 1)), goes),)
            said = "Where the factor of a step is below 1, the bound falls with every step: what comes from far away vanishes."
        elif any(v.index for v in expr.variables(product.parts.step)):
            said = "This bound never falls below 1, whatever the weights: "
            said += "whether the gradient vanishes depends on the states of each step."
        else:
            said = "This bound never falls below 1: it leaves open whether the gradient vanishes."
        return Step("condition", "What it says, and what not", f"{said} {warning}", (), lines)
    diagonal = [_constant(product.worst.args[k][k]) for k in range(product.size)]
    if product.parts.delays == 2 and len(product.parts.cut) == 1 and max(diagonal) < 1:
        total = expr.add(*product.worst.args[0])
        y, x = product.states(product.index)[0], product.states(Symbol("k", integer=True))[0]
        goes = Relation("->", norms.norm(Partial(y, x, held=request.hold)), expr.Zero(1, 1))
        lines = (expr.Implies(Relation("<", total, expr.Ones(1, 1)), goes),)
        said = f"The powers of `{product.name}` go to zero where the sum of its first row is below 1: then the gradient vanishes."
    elif max(diagonal) >= 1:
        kept = product.parts.cut[diagonal.index(max(diagonal)) % len(product.parts.cut)]
        said = (
            f"An entry on the diagonal of `{product.name}`, that of `{kept}`, is 1 whatever the weights: while its gate is open, "
            f"`{kept}` hands its gradient on undiminished, and no choice of weights makes this bound vanish."
        )
    else:
        said = f"The powers of `{product.name}` go to zero where its spectral radius is below 1: then the gradient vanishes."
    if _grows_with_length(product):
        said += f" The bound of the states grows with the number of steps, and `{product.name}` with it."
    return Step("condition", "What it says, and what not", f"{said} {warning}", (), lines)


def _grows_with_length(product: OneStep) -> bool:
    """Whether the bound of a step grows with the length of the chain."""
    (length,) = product.system.lattice.lengths
    numbers = [
        n.args[0] for n in expr.walk(product.worst) if isinstance(n, expr.Scale) and not isinstance(n.args[0], Node)
    ]
    return any(length in number.free_symbols for number in numbers)


def _saturates(product: OneStep) -> bool:
    """Whether a bounded activation stands in the recurrence."""
    names = [v.name for v in expr.variables(product.parts.step)]
    rhs = [product.system.equations[n].rhs for n in names if n in product.system.equations]
    applied = [n for e in rhs for n in expr.walk(e) if isinstance(n, expr.Apply) and len(n.arguments) == 1]
    return any(norms.greatest(range_of_function(n.function)) is not None for n in applied)


def _constant(node: Node) -> Expr:
    """The number in a bound, all weights being zero."""
    terms = node.args if isinstance(node, expr.Add) else (node,)
    return sum((expr.as_number(t) or Integer(0) for t in terms), Integer(0))
