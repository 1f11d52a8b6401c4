"""What the schedule asks of right-hand sides, and the system whose adjoint `vjp` is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from sympy import Expr

from derive import expr, functions
from derive.errors import DeriveError, did_you_mean
from derive.expr import Node, Var
from derive.partials import Entry
from derive.system import LOSS, Equation, Parts, System, Variable

COTANGENT = "ct"


def default_seeds(system: System) -> tuple[str, ...]:
    """The outputs, and the states that the loss reads; a derived system, which runs forwards only, has none."""
    if system.parts.given:
        return ()
    read = {v.name for v in expr.variables(system.equations[LOSS].rhs)} if system.has_loss else set()
    return tuple(n for n in system.equations if n in {*system.outputs, *read} and n != LOSS)


def chosen_seeds(system: System, names: Collection[str] | None) -> tuple[str, ...]:
    """The states that have cotangents: those of these names, and what the loss reads; None: the default.

    Raises `DeriveError` for what is no state, and for a derived system.
    """
    if names is None:
        return default_seeds(system)
    if system.parts.given:
        raise DeriveError(f"{system.name} was derived from another system and runs forwards only: it has no cotangents")
    states = [v.name for v in system.states if v.name != LOSS]
    for name in names:
        if name not in states:
            near = did_you_mean(name, states)
            raise DeriveError(f"{name} is no state, and has no cotangent{near}; the states are {', '.join(states)}")
    if not names:
        raise DeriveError(f"say of which states there are cotangents: {', '.join(states)}")
    wanted = {*names, *(default_seeds(system) if system.has_loss else ())}
    return tuple(n for n in system.equations if n in wanted)


def seeded(system: System, seeds: Collection[str]) -> System:
    """`system` with a free cotangent at each of `seeds` in place of its loss: what `vjp` is the adjoint of."""
    variables = {n: v for n, v in system.variables.items() if n != LOSS and v.kind != "cotangent"}
    equations = {n: e for n, e in system.equations.items() if n != LOSS}
    terms = []
    for name in (n for n in equations if n in seeds):
        cotangent = variables[name].var.marked(COTANGENT)
        variables[cotangent.name] = Variable(cotangent, "cotangent", True)
        terms.append(expr.inner(cotangent, variables[name].var))
    loss = system.variables[LOSS]
    variables[LOSS], equations[LOSS] = loss, Equation(loss.var, expr.add(*terms))
    parts: Parts = replace(
        system.parts, variables=variables, equations=equations, outputs=tuple(equations), loss="every"
    )
    return System.of(parts)


def gradient_of_loss(system: System, entry: Entry) -> Node:
    """The gradient of the loss of one step by what an entry of the table reads; where the loss itself is in it, written out."""
    loss = system.equations[LOSS]
    return expr.replace(entry.map.pull(expr.Ones(*expr.SCALAR)), {loss.target: loss.rhs})


def summand(rhs: Node) -> Node:
    """What is summed over the lattice where the right-hand side is a sum, or several."""
    bodies = []
    for term in terms_of(rhs):
        c, core = expr.split_number(term)
        if not isinstance(core, (expr.Sum, expr.Zero)):
            raise DeriveError(f"{term} is no sum over the lattice, which is all that a name without an index can be")
        bodies.append(expr.scale(c, core.args[0]) if isinstance(core, expr.Sum) else core)
    return expr.add(*bodies)


def terms_of(node: Node) -> tuple[Node, ...]:
    return node.args if isinstance(node, expr.Add) else (node,)


def is_backward(var: Var) -> bool:
    """Whether a variable is an adjoint or a cotangent, and so zero where it has no equation."""
    return not {"bar", "delta", COTANGENT}.isdisjoint(var.marks)


def asks_where(node: Node) -> bool:
    """Whether a value depends on the step by more than what it reads there."""
    return any(isinstance(n, expr.At) for n in expr.walk(node))


def can_be_infinite(node: Node) -> bool:
    """Whether a term may divide by zero where all that it reads is zero."""
    for part in expr.walk(node):
        if isinstance(part, expr.Power) and part.args[1].is_negative:
            return True
        if isinstance(part, expr.Apply):
            row = functions.row(part.function)
            if part.function in ("log", "sqrt") or (isinstance(row, functions.Elementwise) and row.formula is None):
                return True
    return False


def is_product(node: Node) -> bool:
    """Whether a node is a matrix product that costs more than its operands: not an outer or an inner one."""
    return isinstance(node, expr.Mul) and any(min(map(_size, f.shape)) for f in node.args)


def _size(n: Expr) -> int:
    return 0 if n == 1 else 1


def has_product(node: Node) -> bool:
    return any(is_product(part) for part in expr.walk(node) if isinstance(part, Node))


def is_costly(node: Node) -> bool:
    """Whether a node is worth a name: it holds a matrix product or a function."""
    return any(isinstance(part, expr.Apply) or is_product(part) for part in expr.walk(node) if isinstance(part, Node))


def outer_factors(node: Node) -> tuple[Node, Node] | None:
    """`(a, b)` with `node = a b.T` and columns `a`, `b`."""
    if not isinstance(node, expr.Mul) or 1 in node.shape:
        return None
    for i, factor in enumerate(node.args[:-1], 1):
        if factor.shape[1] == 1:
            return expr.mul(*node.args[:i]), expr.transpose(expr.mul(*node.args[i:]))
    return None
