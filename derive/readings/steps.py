"""Steps that several readings share: the forward equations, the local partials, the border."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product

from sympy import Basic

from derive import expr
from derive.derivation import Step
from derive.expr import Equals, Node, Var
from derive.partials import Entry
from derive.system import LOSS, Equation, System


def total_loss(system: System) -> Var:
    return Var(LOSS, (), (), *expr.SCALAR)


def loss_equation(system: System) -> Equals:
    """`L = Σ_t L_t`, or `L = L_T`."""
    step = system.variables[LOSS].var
    if system.loss == "last":
        return Equals(total_loss(system), step.at(system.lattice.lengths))
    return Equals(total_loss(system), expr.Sum(step, *system.lattice.ranges))


def forward(system: System, names: Iterable[str] | None = None) -> Step:
    """The forward equations, all of them or those named, and the loss."""
    wanted = set(system.equations if names is None else names)
    lines: list[Basic] = [
        Equals(e.target, e.rhs) for n, e in system.equations.items() if n in wanted and (n != LOSS or system.has_loss)
    ]
    if LOSS in wanted:
        lines.append(loss_equation(system))
    reason = "These are the equations of the system"
    if LOSS in wanted and not system.has_loss:
        outputs = ", ".join(f"`{o}`" for o in system.outputs)
        reason += f"; the loss is left abstract: it reads {outputs} and nothing else"
    return Step("definition", "Forward equations", reason + ".", (), tuple(lines))


def local_partials(entries: Sequence[Entry], reason: str = "") -> Step:
    """The immediate partials that are used: Jacobians between vectors, pullbacks where a matrix takes part."""
    default = "Each equation is differentiated by what it reads, everything else that it reads held fixed."
    return Step("local partial", "Local partials", reason or default, (), tuple(map(local_line, entries)))


def local_line(entry: Entry) -> Equals:
    source = source_var(entry)
    if entry.map.is_matrix:
        return Equals(expr.Partial(entry.target, source, immediate=True), entry.map.jacobian())
    upstream = entry.target.marked("bar")
    return Equals(expr.Pulled(entry.target, source, upstream), entry.map.pull(upstream))


def typed(var: Var) -> str:
    """A variable at its index within a sentence."""
    return f"`{var.name}[{','.join(str(i).replace(' ', '') for i in var.index)}]`"


def sum_of(terms: Sequence[Node]) -> Node:
    """The terms as they stand, none merged, so that each keeps its own line."""
    return expr.Add(*terms) if len(terms) > 1 else terms[0]


def put_in(node: Node, target: Var, value: Node) -> Node:
    """`node` with `target`, at whatever index, replaced by its `value` there."""

    def leaf(part: Basic) -> Basic:
        if isinstance(part, Var) and part.name == target.name:
            return expr.at(value, dict(zip(target.index, part.index, strict=True)))
        return part

    return expr.rewrite(node, leaf)


def source_var(entry: Entry) -> Var:
    if entry.offset is None or not entry.source.index:
        return entry.source
    return entry.source.at(i + o for i, o in zip(entry.source.index, entry.offset, strict=True))


# --- borders ----------------------------------------------------------------------------------------------------------


def is_backward(var: Var) -> bool:
    """Whether the variable is zero outside the lattice: adjoints, deltas, cotangents."""
    return bool(var.marks) and var.marks[0] in ("bar", "delta", "ct")


def outside(var: Var, system: System) -> bool:
    """Whether a backward variable surely lies outside the lattice.

    What stands on the border is computed by no equation, so that its adjoint is read by no recurrence.
    """
    return any(
        ((i - n).is_Integer and int(i - n) > 0) or (i.is_Integer and int(i) < 1)
        for i, n in zip(var.index, system.lattice.lengths, strict=True)
    )


def drop_outside(node: Node, system: System) -> Node:
    """`node` with the backward variables that lie outside the lattice set to zero."""

    def leaf(part: Basic) -> Basic:
        if isinstance(part, Var) and part.index and is_backward(part) and outside(part, system):
            return expr.Zero(*part.shape)
        return part

    return expr.rewrite(node, leaf)


def border_lines(
    system: System, equations: Sequence[Equation], finish: Callable[[Node], Node]
) -> tuple[list[Equals], list[Equals]]:
    """The equations at the edges of the lattice, where neighbours are missing; and on the boundary values outside it."""
    edges: list[Equals] = []
    outer: list[Equals] = []
    for equation in equations:
        for index in _edges(system, equation):
            edges.append(_line(system, equation, index, finish))
        for index in _outer(system, equation):
            outer.append(_line(system, equation, index, finish))
    return edges, outer


def _line(system: System, equation: Equation, index: Sequence, finish: Callable[[Node], Node]) -> Equals:
    at = dict(zip(system.lattice.indices, index, strict=True))
    lhs = expr.at(equation.target, at)
    rhs = finish(drop_outside(expr.at(equation.rhs, at), system))
    return Equals(lhs, rhs)


def _edges(system: System, equation: Equation) -> Iterable[tuple]:
    """The layers inside the lattice from which some neighbour that is read lies outside."""
    reads = [system.offset(v) for v in expr.variables(equation.rhs) if is_backward(v) and v.index]
    lattice = system.lattice
    axes = []
    for a, (i, n) in enumerate(zip(lattice.indices, lattice.lengths, strict=True)):
        high = max((r[a] for r in reads), default=0)
        low = max((-r[a] for r in reads), default=0)
        axes.append([i, *(n - k for k in range(high)), *(1 + k for k in range(low))])
    return [index for index in product(*axes) if index != lattice.indices]


def _outer(system: System, equation: Equation) -> Iterable[tuple]:
    lattice = system.lattice
    if not equation.extent:
        return []
    axes = []
    for i, n, (low, high) in zip(lattice.indices, lattice.lengths, equation.extent, strict=True):
        axes.append([i, *(1 - k for k in range(1, low + 1)), *(n + k for k in range(1, high + 1))])
    return [index for index in product(*axes) if index != lattice.indices]
