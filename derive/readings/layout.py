"""Numerator layout: gradients as rows.  Both sides of an adjoint equation are transposed, and the products with them."""

from __future__ import annotations

from sympy import Basic

from derive import expr
from derive.derivation import Step
from derive.expr import Equals, Node, Var
from derive.readings.steps import is_backward


def as_rows(step: Step) -> Step:
    """The step with its gradient equations transposed; other formulas stay."""
    return Step(step.rule, step.title, step.reason, tuple(map(_line, step.before)), tuple(map(_line, step.lines)))


def _line(line: Basic) -> Basic:
    if (
        isinstance(line, Equals)
        and isinstance(line.lhs, Var)
        and line.lhs.marks[:1] in (("bar",), ("delta",))
        and not expr.is_scalar(line.lhs)
    ):
        return Equals(expr.transpose(line.lhs), row(line.rhs))
    return line


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
