"""Layouts.  In numerator layout a gradient is a row, in denominator layout a Jacobian is transposed: equations are, with both
their sides, so that the derivative itself stands on the left.
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Basic

from derive import expr
from derive.derivation import Step
from derive.expr import Equals, Node, Var
from derive.readings.steps import is_backward


def laid_out(step: Step, layout: str) -> Step:
    """The step with the equations of gradients (numerator) or of Jacobians (denominator) transposed; other formulas stay."""
    before, lines = (tuple(_line(line, layout) for line in part) for part in (step.before, step.lines))
    return Step(step.rule, step.title, step.reason, before, lines)


def _line(line: Basic, layout: str) -> Basic:
    if not isinstance(line, Equals):
        return line
    if layout == "numerator" and is_gradient(line.lhs):
        return Equals(expr.transpose(line.lhs), row(line.rhs))
    if layout == "denominator" and isinstance(line.lhs, expr.Partial):
        return Equals(expr.transpose(line.lhs), expr.transpose(line.rhs))
    return line


def is_gradient(node: Basic) -> bool:
    """Whether a left side is the adjoint of a vector or a matrix."""
    return isinstance(node, Var) and node.marks[:1] in (("bar",), ("delta",)) and not expr.is_scalar(node)


def result(node: Node, steps: Sequence[Step], layout: str) -> Node:
    """The result, laid out as the equation that states it."""
    for line in (line for step in steps for line in step.lines if isinstance(line, Equals)):
        if isinstance(line.lhs, expr.Partial) and layout == "denominator" and expr.strip_labels(line.rhs) == node:
            return expr.transpose(node)
        if is_gradient(line.lhs) and layout == "numerator" and expr.strip_labels(line.rhs) == node:
            return row(node)
    return node


def row(node: Node) -> Node:
    """The transpose of a column, written as a row: `(a * (A d)).T = d.T A.T diag(a)`."""
    if expr.is_scalar(node):
        return node
    if isinstance(node, expr.Add):
        return expr.Add(*map(row, node.args))
    if isinstance(node, expr.Scale):
        return expr.scale(node.args[0], row(node.args[1]))
    if isinstance(node, expr.Labelled):
        return expr.Labelled(row(node.args[0]), node.args[1])
    if isinstance(node, expr.Sum):
        return expr.Sum(row(node.args[0]), *node.args[1:])
    if isinstance(node, expr.Mul):
        return expr.mul(row(node.args[-1]), *(expr.transpose(f) for f in reversed(node.args[:-1])))
    if isinstance(node, expr.Had) and expr.is_column(node):
        last = [f for f in node.args if _carries(f)]
        if len(last) == 1:
            rest = expr.had(*(f for f in node.args if f is not last[0]))
            return expr.mul(row(last[0]), expr.diag(rest))
    return expr.transpose(node)


def _carries(node: Node) -> bool:
    return any(is_backward(v) for v in expr.variables(node))
