"""What statements compute, as equations: `[a; b]` is `a` above `b`, side by side in memory."""

from __future__ import annotations

from collections.abc import Sequence

from derive import expr
from derive.expr import Equals, Node, Var
from derive.schedule.program import Assign, Edge, Gradient, OuterTotal, Product, Program, Total


def formula(statement: Assign | Product | Gradient, program: Program) -> Equals:
    """What a statement computes, as an equation; what is fused is stacked."""
    match statement:
        case Product(transposed=False):
            product: Node = expr.Mul(_column(statement.pack.parts), statement.operands[0])
            bias = statement.bias
            value = expr.Add(product, _column(bias.parts)) if bias else product
            return Equals(_column(statement.targets), value)
        case Product():
            factors = expr.Transpose(_column(statement.pack.parts)), _column(statement.operands)
            return Equals(statement.target, expr.Mul(*factors))
        case OuterTotal():
            left = _column(statement.left)
            body = expr.Mul(left, expr.transpose(statement.right)) if statement.right else left
            return Equals(_column(statement.targets), expr.Sum(body, *program.system.lattice.ranges))
        case Total():
            return Equals(statement.target, expr.Sum.build(statement.value, *program.system.lattice.ranges))
        case Edge():
            return Equals(_at_border(statement, program), statement.value)
        case _:
            return Equals(statement.target, statement.value)


def _column(parts: Sequence[Var]) -> Node:
    return parts[0] if len(parts) == 1 else expr.Block(*([part] for part in parts))


def _at_border(edge: Edge, program: Program) -> Var:
    """`h_bar[0]`; a derived system, which has no adjoint here, names its variable itself."""
    variables = program.system.variables
    derived = program.adjoint is None
    var = variables[edge.key.partition("[")[0]].var if derived else variables[edge.border.variable].var.marked("bar")
    steps = zip(var.index, edge.steps, strict=True)
    return var.at(tuple(index if step is None else step for index, step in steps))
