"""Readings that are systems: the forward equations, the table, the adjoint and the tangent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from derive import adjoint as adjoints
from derive import expr
from derive import tangent as tangents
from derive.derivation import Derivation, Step
from derive.errors import QueryError
from derive.expr import Equals, Node, Var
from derive.partials import Entry, table
from derive.readings import steps
from derive.system import LOSS, Equation, System

if TYPE_CHECKING:
    from derive.queries import Request


def forward(request: Request) -> Derivation:
    """The equations as they stand."""
    step = steps.forward(request.system)
    return request.answer([step], step.lines[0].rhs)


def local_partials(request: Request) -> Derivation:
    """Every entry of the table."""
    entries = [e for e in table(request.system).without(request.hold) if _shown(e)]
    lines = steps.local_partials(entries)
    if not entries:
        held = ", ".join(request.hold)
        raise QueryError(f"with {held} held constant nothing of {request.system.name} is left to differentiate")
    done = [steps.forward(request.system), held_step(request), lines]
    return request.answer(done, steps.local_line(entries[0]).rhs)


def _shown(entry: Entry) -> bool:
    return "ct" not in entry.source.marks and not (entry.target.name == LOSS and _is_abstract(entry))


def _is_abstract(entry: Entry) -> bool:
    return any(
        "ct" in v.marks
        for c in entry.map.chains
        for op in c.ops
        if op.node is not None
        for v in expr.variables(op.node)
    )


def held_step(request: Request) -> Step | None:
    if not request.hold:
        return None
    names = ", ".join(f"`{n}`" for n in request.hold)
    return Step(
        "held constant", "Held constant", f"Nothing flows through {names}: taken as constant, as was asked.", (), ()
    )


# --- adjoint ----------------------------------------------------------------------------------------------------------


def adjoint(request: Request) -> Derivation:
    """The adjoint recurrences, collected, with parameter gradients and border cases."""
    system = request.system
    backward = adjoints.adjoint(system, request.hold)
    recurrences, sums = split(backward)
    collected = inline(backward)
    closed, closed_sums = split_equations(backward, collected)
    done = [
        steps.forward(system),
        held_step(request),
        steps.local_partials(_state_entries(request)),
        Step(
            "chain rule",
            "The chain rule, backwards",
            "The loss depends on a variable through everything that reads it, so its gradient is the sum over its readers.",
            (),
            tuple(chain_rule(request, e) for e in recurrences if "delta" not in e.target.marks),
        ),
        Step(
            "substitution",
            "The local partials put in",
            "Each factor is replaced by its local partial; a pullback that several terms share gets a name of its own.",
            (),
            tuple(Equals(e.target, show(system, labelled(request, e))) for e in recurrences),
        ),
        Step(
            "collection",
            "Adjoint recurrences, collected",
            "Adjoints with a single term are put in where they are used; what is left runs against the order of computation.",
            tuple(
                Equals(e.target, show(system, e.rhs)) for e in recurrences if all(e.rhs is not c.rhs for c in closed)
            ),
            tuple(Equals(e.target, show(system, e.rhs)) for e in closed),
        ),
        parameter_step(system, sums, closed_sums),
        border_step(system, list(closed)),
        unrolled_step(request, closed, closed_sums),
    ]
    return request.answer(done, show(system, closed[0].rhs))


def split(backward: System) -> tuple[list[Equation], list[Equation]]:
    """The recurrences of the states; and the gradients of inputs and parameters, which nothing reads."""
    return split_equations(backward, [e for e in backward.own if e.name != f"{LOSS}_bar"])


def split_equations(backward: System, equations: Iterable[Equation]) -> tuple[list[Equation], list[Equation]]:
    recurrences: list[Equation] = []
    leaves: list[Equation] = []
    for e in equations:
        forward_name = e.name.removesuffix("_bar").removesuffix("_delta")
        (recurrences if backward.variables[forward_name].kind == "state" else leaves).append(e)
    return recurrences, leaves


def chain_rule(request: Request, equation: Equation) -> Equals:
    """`∇_v L = Σ (∂⁺u/∂v).T ∇_u L` over the readers `u` of `v`, not worked out."""
    system = request.system
    name = equation.target.base if len(equation.target.marks) == 1 else equation.target.name[: -len("_bar")]
    terms = [reader_term(system, e) for e in readers(request, name)]
    return Equals(equation.target, steps.sum_of(terms))


def readers(request: Request, name: str) -> list[Entry]:
    local = table(request.system).without(request.hold)
    live = adjoints.adjoint(request.system, request.hold).equations
    entries = [e for e in local.of_source(name) if e.target.name == LOSS or f"{e.target.name}_bar" in live]
    return sorted(entries, key=adjoints.as_written)


def reader_term(system: System, entry: Entry) -> Node:
    if entry.target.name == LOSS:
        weight = adjoints.loss_weight(system)
        local = entry.map.pull(expr.Ones(*expr.SCALAR)) if not system.has_loss else _loss_partial(entry)
        term = expr.scale(weight, local)
    else:
        upstream = entry.target.marked("bar")
        term = pulled(entry, upstream)
    moved = expr.at(term, back(system, entry))
    if entry.offset is None and entry.target.index:
        return expr.Sum(moved, *system.lattice.ranges)
    return moved


def back(system: System, entry: Entry) -> dict:
    """The substitution from the index of the entry's target to that of its source."""
    return system.lattice.shifted(tuple(-o for o in entry.offset)) if entry.offset is not None else {}


def _loss_partial(entry: Entry) -> Node:
    if not entry.map.is_matrix:
        return expr.Pulled(entry.target, steps.source_var(entry), expr.Ones(*expr.SCALAR))
    return expr.transpose(expr.Partial(entry.target, steps.source_var(entry), immediate=True))


def pulled(entry: Entry, upstream: Node) -> Node:
    source = steps.source_var(entry)
    if entry.map.is_matrix:
        return expr.mul(expr.transpose(expr.Partial(entry.target, source, immediate=True)), upstream)
    return expr.Pulled(entry.target, source, upstream)


def labelled(request: Request, equation: Equation) -> Node:
    """The right side with the edge that each term goes back along under its brace."""
    if "delta" in equation.target.marks or not isinstance(equation.rhs, expr.Add):
        return equation.rhs
    system = request.system
    name = equation.target.name[: -len("_bar")]
    entries = readers(request, name)
    if len(entries) != len(equation.rhs.args):
        return equation.rhs
    terms = []
    for entry, term in zip(entries, equation.rhs.args, strict=True):
        label = expr.Path(system.variables[name].var, expr.at(entry.target, back(system, entry)))
        terms.append(expr.Labelled(term, label))
    return expr.Add(*terms)


def show(system: System, node: Node) -> Node:
    """For the eye: `L_bar[t]` is 1 inside the lattice."""
    weight = adjoints.loss_weight(system)

    def leaf(part):  # type: ignore[no-untyped-def]
        if isinstance(part, Var) and part.name == f"{LOSS}_bar":
            return expr.at(weight, dict(zip(system.lattice.indices, part.index, strict=True)))
        return part

    return expr.rewrite(node, leaf)


def inline(backward: System) -> list[Equation]:
    """The adjoint equations with those that have a single term, linear in one other adjoint, put in where they are used."""
    own = {e.name: e for e in backward.own if e.name != f"{LOSS}_bar"}
    while True:
        chosen = next((e for e in own.values() if _passes_on(e, own)), None)
        if chosen is None:
            return list(own.values())
        del own[chosen.name]
        own = {n: replace(e, rhs=steps.put_in(e.rhs, chosen.target, chosen.rhs)) for n, e in own.items()}


def _passes_on(equation: Equation, own: dict[str, Equation]) -> bool:
    target = equation.target
    if not target.index or target.marks[-1] != "bar" or isinstance(equation.rhs, expr.Add) or equation.extent:
        return False
    if not any(v.name == equation.name for e in own.values() if e is not equation for v in expr.variables(e.rhs)):
        return False
    back = {v.name for v in expr.variables(equation.rhs) if steps.is_backward(v) and "ct" not in v.marks}
    return len(back) == 1 and equation.name not in back


def _state_entries(request: Request) -> list[Entry]:
    live = adjoints.adjoint(request.system, request.hold).equations
    return [
        e
        for e in table(request.system).without(request.hold)
        if e.source.name in request.system.equations
        and f"{e.source.name}_bar" in live
        and (f"{e.target.name}_bar" in live or (e.target.name == LOSS and request.system.has_loss))
    ]


def parameter_step(system: System, sums: Sequence[Equation], collected: Sequence[Equation]) -> Step | None:
    if not collected:
        return None
    return Step(
        "sum over the lattice",
        "Gradients of parameters",
        "A parameter is read at every step, so its gradient is the sum of what each step sends back to it.",
        tuple(
            Equals(e.target, show(system, e.rhs)) for e, c in zip(sums, collected, strict=True) if e.rhs is not c.rhs
        ),
        tuple(Equals(e.target, show(system, e.rhs)) for e in collected),
    )


def border_step(system: System, equations: Sequence[Equation]) -> Step | None:
    """What the recurrences say at the edges and for the boundary values."""
    edges, outer = steps.border_lines(system, equations, lambda node: show(system, node))
    if not edges and not outer:
        return None
    reason = "What lies beyond the lattice sends nothing back, so a term whose index leaves it is zero"
    if outer:
        reason += "; a boundary value has no loss term of its own"
    return Step("border", "Border cases", reason + ".", (), (*edges, *outer))


def unrolled_step(request: Request, recurrences: Sequence[Equation], sums: Sequence[Equation]) -> Step | None:
    """The recurrences and sums for a number of steps, every index a number."""
    if request.sizes is None:
        return None
    system = request.system
    lines = unrolled_lines(request, recurrences)
    for e in sums:
        lines += _at_every_point(request, e) if e.target.index else [Equals(e.target, expand_sum(request, e.rhs))]
    lengths = ", ".join(f"{n} = {size}" for n, size in zip(system.lattice.lengths, request.sizes, strict=True))
    return Step(
        "unrolling",
        f"Unrolled for {lengths}",
        "Every index is a number; terms beyond the lattice are gone.",
        (),
        tuple(lines),
    )


def _at_every_point(request: Request, equation: Equation) -> list[Equals]:
    """The gradient of an input, point by point."""
    assert request.sizes is not None
    system = request.system
    fixed = _fixed(system, request.sizes)
    lines = []
    for point in grid(request.sizes):
        at = dict(zip(system.lattice.indices, point, strict=True))
        rhs = steps.drop_outside(expr.at(equation.rhs, at), fixed)
        lines.append(Equals(expr.at(equation.target, at), show(system, rhs)))
    return lines


def unrolled_lines(request: Request, recurrences: Sequence[Equation]) -> list[Equals]:
    system, sizes = request.system, request.sizes
    assert sizes is not None
    count = 1
    for n in sizes:
        count *= n
    if count > MOST_POINTS:
        raise QueryError(f"writing out {count} points would fill pages; unroll to at most {MOST_POINTS}")
    names = {e.name for e in recurrences}
    schedule = adjoints.adjoint(system, request.hold).schedule
    order = [(n, p) for n, p in points(schedule, system, sizes) if n in names]
    by_name = {e.name: e for e in recurrences}
    lines = []
    for name, point in order:
        at = dict(zip(system.lattice.indices, point, strict=True)) | dict(
            zip(system.lattice.lengths, sizes, strict=True)
        )
        rhs = expr.at(by_name[name].rhs, at)
        fixed = _fixed(system, sizes)
        lines.append(Equals(expr.at(by_name[name].target, at), show(system, steps.drop_outside(rhs, fixed))))
    return lines


MOST_POINTS = 60


def _fixed(system: System, sizes: Sequence[int]) -> System:
    from sympy import Integer

    lattice = replace(system.lattice, lengths=tuple(map(Integer, sizes)))
    return System.of(replace(system.parts, lattice=lattice))


def points(schedule: Sequence, system: System, sizes: Sequence[int]) -> list[tuple[str, tuple[int, ...]]]:
    """Every (name, point) in an order of evaluation."""
    found: list[tuple[str, tuple[int, ...]]] = []
    backward = {n for n in adjoints.adjoint(system).equations} - set(system.equations)

    def visit(item, fixed: dict[int, int]) -> None:  # type: ignore[no-untyped-def]
        if isinstance(item, str):
            free = [a for a in range(len(sizes)) if a not in fixed]
            for rest in grid([sizes[a] for a in free], item in backward):
                at = dict(fixed) | dict(zip(free, rest, strict=True))
                found.append((item, tuple(at[a] for a in range(len(sizes)))))
            return
        steps_ = range(1, sizes[item.axis] + 1)
        for s in steps_ if item.direction > 0 else reversed(steps_):
            for inner in item.body:
                visit(inner, fixed | {item.axis: s})

    for item in schedule:
        visit(item, {})
    return found


def grid(sizes: Sequence[int], down: bool = False) -> list[tuple[int, ...]]:
    grid: list[tuple[int, ...]] = [()]
    for n in sizes:
        steps_ = range(n, 0, -1) if down else range(1, n + 1)
        grid = [(*g, i) for g in grid for i in steps_]
    return grid


def expand_sum(request: Request, node: Node) -> Node:
    """A sum over the lattice, term by term."""
    if not isinstance(node, expr.Sum) or request.sizes is None:
        return show(request.system, node)
    lattice = request.system.lattice
    terms = [expr.at(node.args[0], dict(zip(lattice.indices, p, strict=True))) for p in grid(request.sizes, down=False)]
    return show(request.system, expr.add(*terms))


# --- tangent ----------------------------------------------------------------------------------------------------------


def tangent(request: Request) -> Derivation:
    """The tangent recurrences: the table as it stands."""
    system = request.system
    forward_mode = tangents.tangent(system)
    own = [e for e in forward_mode.own if _shown_tangent(e)]
    done = [
        steps.forward(system),
        steps.local_partials([e for e in table(system) if _shown(e)]),
        Step(
            "chain rule",
            "Tangent recurrences",
            "A small change of what an equation reads changes its result by the local partials times that change.",
            (),
            tuple(Equals(e.target, e.rhs) for e in own),
        ),
    ]
    return request.answer(done, own[0].rhs)


def _shown_tangent(equation: Equation) -> bool:
    return equation.name != f"{LOSS}_dot" or not any("ct" in v.marks for v in expr.variables(equation.rhs))
