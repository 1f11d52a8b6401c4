"""Gradients of the loss: a variable's adjoint recurrence, a parameter's sum, its factored form, and all paths written out."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from sympy import Symbol

from derive import adjoint as adjoints
from derive import expr, paths
from derive.derivation import Derivation, Step
from derive.errors import QueryError
from derive.expr import Equals, Node
from derive.partials import Entry, table
from derive.paths import Point
from derive.readings import jacobians, steps, systems
from derive.readings.listings import count_sentence
from derive.system import LOSS, Equation, System

if TYPE_CHECKING:
    from derive.queries import Request


def gradient(request: Request) -> Derivation:
    """`∂L/∂x` (or `∂L_t/∂W`): what the adjoint recurrences say of one variable."""
    system, name = request.system, _wanted(request)
    if request.query.above is not None and request.query.above.index is not None:
        return _of_one_step(request)
    backward = adjoints.adjoint(system, request.hold)
    if f"{name}_bar" not in backward.equations:
        return _independent(request)
    original = {e.name: e for e in backward.own}
    collected = {e.name: e for e in systems.inline(backward)}
    chosen = collected.get(f"{name}_bar", original[f"{name}_bar"])
    needed = _needed(chosen, collected)
    others = [e for n, e in collected.items() if n in needed and n != chosen.name]
    recurrences, leaves = systems.split_equations(backward, [chosen, *others])
    var = request.var(request.query.below) if request.query.below else chosen.target
    done = [
        steps.forward(system),
        systems.held_step(request),
        steps.local_partials(
            _entries(request, name),
            f"Each equation that reads `{name}` is differentiated by it, everything else that it reads held fixed.",
        ),
        Step(
            "chain rule",
            "The chain rule, backwards",
            f"`{name}` reaches the loss through everything that reads it.",
            (),
            (systems.chain_rule(request, original[f"{name}_bar"]),),
        ),
        _recurrences(system, others),
        Step(
            "collection",
            "The gradient",
            "The local partials are put in, and so are adjoints with a single term.",
            ()
            if original[chosen.name].rhs is chosen.rhs
            else (Equals(chosen.target, systems.show(system, original[chosen.name].rhs)),),
            (Equals(chosen.target, systems.show(system, chosen.rhs)),),
        ),
        factored_step(request, chosen, collected),
        systems.border_step(system, recurrences),
        systems.unrolled_step(request, recurrences, leaves),
    ]
    rhs = systems.show(system, chosen.rhs)
    if var.index:
        rhs = expr.at(rhs, dict(zip(system.lattice.indices, var.index, strict=True)))
    return request.answer(done, rhs)


def _wanted(request: Request) -> str:
    assert request.query.below is not None
    name = request.query.below.name
    kind = request.system.variable(name).kind
    if kind in ("cotangent", "target") or name == LOSS:
        raise QueryError(f"{name} is not what the loss is differentiated by; ask for a state, an input or a parameter")
    return name


def _independent(request: Request) -> Derivation:
    assert request.query.below is not None
    var = request.var(request.query.below)
    zero = expr.Zero(*var.shape)
    reason = f"Nothing that the loss depends on reads `{request.query.below}`."
    return request.answer(
        [
            steps.forward(request.system),
            systems.held_step(request),
            Step("paths", "No path", reason, (), (Equals(var.marked("bar"), zero),)),
        ],
        zero,
    )


def _needed(chosen: Equation, equations: dict[str, Equation]) -> set[str]:
    needed, pending = {chosen.name}, [chosen]
    while pending:
        for var in expr.variables(pending.pop().rhs):
            if var.name in equations and var.name not in needed:
                needed.add(var.name)
                pending.append(equations[var.name])
    return needed


def _entries(request: Request, name: str) -> list[Entry]:
    return [e for e in systems.readers(request, name) if e.target.name != LOSS or request.system.has_loss]


def _recurrences(system: System, others: Sequence[Equation]) -> Step | None:
    if not others:
        return None
    return Step(
        "adjoint recurrence",
        "The adjoints that it needs",
        "They are found against the order of computation, each from those of its readers.",
        (),
        tuple(Equals(e.target, systems.show(system, e.rhs)) for e in others),
    )


# --- factored ---------------------------------------------------------------------------------------------------------


def factored_step(request: Request, chosen: Equation, collected: dict[str, Equation]) -> Step | None:
    """The recurrence solved: `∇_h L` as a sum of ordered products, and with it a parameter's double sum."""
    system = request.system
    if system.lattice.dimension > 1 or system.loss != "every":
        return None
    local = table(system).without(request.hold)
    needed = _needed(chosen, collected)
    recurrent = [
        e
        for n, e in collected.items()
        if n in needed
        and e.target.index
        and e.target.marks == ("bar",)
        and any(v.name == n for v in expr.variables(e.rhs))
    ]
    if len(recurrent) != 1:
        return None
    state = recurrent[0].target.base
    try:
        parts = jacobians.ordered(system, local, LOSS, state)
    except (QueryError, expr.ShapeError):
        return None
    if parts.cut != (state,) or parts.delays > 1:
        return None
    own, t, j = system.lattice.indices[0], Symbol("s", integer=True), Symbol("j", integer=True)
    direct = expr.transpose(expr.at(parts.left, {own: t}))
    down = parts.direction < 0
    step = expr.at(parts.named_step, {own: j})
    middle = expr.Product(step, (j, own + 1, t) if down else (j, t, own - 1), descending=down)
    range_ = (t, own, system.lattice.lengths[0]) if down else (t, 1, own)
    solved = expr.Sum(expr.mul(expr.transpose(middle), direct), range_)
    lines = [Equals(parts.named_step, parts.step), Equals(recurrent[0].target, solved)]
    if chosen is not recurrent[0] and not chosen.target.index:
        lines.append(Equals(chosen.target, _with_solution(system, chosen, collected, recurrent[0], solved)))
    held = f", with {', '.join(request.hold)} held constant" if request.hold else ""
    return Step(
        "factored sum",
        "As a sum of ordered products",
        f"The recurrence is linear in the adjoint of `{state}`; unrolled, it is a product of one-step Jacobians "
        f"for every loss that `{state}` reaches{held}.",
        (),
        tuple(lines),
    )


def _with_solution(
    system: System, chosen: Equation, collected: dict[str, Equation], recurrent: Equation, solved: Node
) -> Node:
    """The parameter's sum with every adjoint but the recurrent one put in, and that one replaced by its solution."""
    rhs = chosen.rhs
    for _ in range(len(collected)):
        for name, e in collected.items():
            if name != chosen.name and e.target.index:
                value = solved if name == recurrent.name else e.rhs
                rhs = steps.put_in(rhs, e.target, value)
        if not any(v.name in collected for v in expr.variables(rhs)):
            break
    return systems.show(system, rhs)


# --- one loss term, and everything written out -----------------------------------------------------------------------------


def _of_one_step(request: Request) -> Derivation:
    """`∂L_t/∂W` for a symbolic `t`: a sum over the steps at which `W` was read."""
    system, name = request.system, _wanted(request)
    above = request.query.above
    assert above is not None and above.index is not None and request.query.below is not None
    if system.lattice.dimension > 1:
        raise QueryError(
            f"{request.query.text!r}: on a grid, ask for the total 'dL/d{name}', or give numbers with unroll"
        )
    local = table(system).without(request.hold)
    var = request.var(request.query.below)
    t, k, j = above.index[0], Symbol("k", integer=True), Symbol("j", integer=True)
    own = system.lattice.indices[0]
    lines, terms = [], []
    for entry in local.of_source(name):
        reader = entry.target
        if not expr.is_column(reader):
            raise QueryError(
                f"{request.query.text!r} passes through the matrix {reader.name}; "
                f"ask for 'dL/d{name}' or give numbers with unroll"
            )
        if reader.name not in {e.target.name for e in local}:
            continue
        middle = expr.Partial(request.var(above), expr.at(reader, {own: k}), held=request.hold)
        try:
            parts = jacobians.ordered(system, local, LOSS, reader.name)
            lines.append(Equals(middle, jacobians.assembled(parts, own, t, k, j, named=True)))
        except QueryError:
            pass
        terms.append(entry.map.at({own: k}).pull(expr.transpose(middle)))
    if not terms:
        return _independent(request)
    result = expr.Sum(expr.add(*terms), (k, 1, t))
    backward = any(e.offset and e.offset[0] > 0 for e in local)
    if backward:
        result = expr.Sum(expr.add(*terms), (k, 1, system.lattice.lengths[0]))
    lhs = expr.GradientOf(request.var(above), var)
    done = [
        steps.forward(system),
        systems.held_step(request),
        steps.local_partials(
            local.of_source(name),
            f"Each equation that reads `{name}` is differentiated by it, everything else that it reads held fixed.",
        ),
        Step(
            "sum over the lattice",
            f"The sum over the steps that read `{name}`",
            "Each reading step counts through its own copy of the parameter.",
            (),
            (Equals(lhs, result),),
        ),
        Step(
            "ordered product",
            "The factors",
            f"For `k < {t}`, each factor is a product of one-step Jacobians.",
            (),
            tuple(lines),
        )
        if lines
        else None,
    ]
    return request.answer(done, result)


def unrolled(request: Request) -> Derivation:
    """A gradient for a number of steps: every path written out and counted."""
    system, name = request.system, _wanted(request)
    assert request.query.below is not None and request.query.above is not None and request.sizes is not None
    local = table(system).without(request.hold)
    var = request.var(request.query.below)
    above = request.query.above
    targets = _targets(request)
    source = Point(name, tuple(map(int, var.index)) if var.index else None)
    numbers = [paths.count(local, p, source, request.sizes) for p in targets]
    exact = [n for n in numbers if isinstance(n, int)]
    total = sum(exact) if len(exact) == len(numbers) else None
    sentence = count_sentence(local, targets[-1], source, request, total, only=len(targets) == 1)
    lhs: Node = var.marked("bar") if above.index is None else expr.GradientOf(request.var(above), var)
    if total is None or total > jacobians.MOST_PATHS:
        return _too_many(request, sentence, lhs)
    placing = paths.placing(system.lattice, absolute=True)
    found = [w for p in targets for w in paths.walks(local, p, source, jacobians.MOST_PATHS, request.sizes)]
    if not found:
        return _independent(request)
    found.sort(key=lambda w: tuple(-o for o in w.steps[-1][1]))
    terms = [expr.Labelled(w.pull(expr.Ones(*expr.SCALAR), placing), w.label(placing)) for w in found]
    line = Equals(lhs, steps.sum_of(terms))
    result = expr.add(*(t.args[0] for t in terms))
    fixed = dict(zip(system.lattice.lengths, request.sizes, strict=True))
    done = [
        steps.forward(system),
        systems.held_step(request),
        steps.local_partials(
            list(dict.fromkeys(e for w in found for e, _ in w.steps if e.target.name != LOSS or system.has_loss))
        ),
        Step("paths", "All paths", sentence, (), tuple(w.label(placing) for w in found)),
        Step(
            "substitution",
            "One term a path",
            "Along a path the transposed partials multiply, from the loss back to the variable.",
            (),
            (expr.at(line, fixed),),
        ),
    ]
    return request.answer(done, result)


def _targets(request: Request) -> list[Point]:
    above, system = request.query.above, request.system
    assert above is not None and request.sizes is not None
    if above.index is not None:
        point = tuple(i.subs(dict(zip(system.lattice.lengths, request.sizes, strict=True))) for i in above.index)
        if not all(i.is_Integer for i in point):
            raise QueryError(f"with unroll the index of {above} is a number, as in L[{request.unroll}]")
        return [Point(LOSS, tuple(map(int, point)))]
    if system.loss == "last":
        return [Point(LOSS, request.sizes)]
    if prod(request.sizes) > systems.MOST_POINTS:
        one = f"dL[{request.unroll}]/d{request.query.below}"
        raise QueryError(
            f"the paths from {prod(request.sizes)} losses are too many to list; ask for one of them, {one!r}"
        )
    return [Point(LOSS, p) for p in systems.grid(request.sizes)]


def _too_many(request: Request, sentence: str, lhs: Node) -> Derivation:
    """Too many paths to write: their number, and the recurrences, which do the same sum without listing it."""
    short = request.query.text
    reason = (
        f"{sentence} They are too many to write out; the adjoint recurrence sums them one step at a time: "
        f"ask for 'dL/d{request.query.below}'."
    )
    step = Step("paths", "The number of paths", reason, (), ())
    return request.answer([steps.forward(request.system), step], lhs, query=short)
