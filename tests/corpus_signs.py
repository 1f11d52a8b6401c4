"""The signs of the typed form: what each makes of the two values beside it.

A value is a node, or a plain number or index expression of SymPy's, which has no shape yet: plain ones meet each other as
SymPy's, and a node as a number in its shape.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, TypeAlias

from sympy import Expr, Integer

from derive import expr
from derive.errors import DeriveError
from derive.expr import SCALAR, Equals, Node

Value: TypeAlias = "Node | Expr"


def as_node(value: Value) -> Node:
    return value if isinstance(value, Node) else expr.number(value)


def claim(op: str, lhs: Value, rhs: Value) -> Any:
    """An equation or a relation of nodes, where both are index expressions one of these."""
    if not isinstance(lhs, Node) and not isinstance(rhs, Node):
        return expr.Relation(op, lhs, rhs)
    lhs, rhs = _alike(lhs, rhs)
    if lhs.shape != rhs.shape:
        raise expr.ShapeError(
            f"two sides need equal shapes, found {expr.show_shape(lhs.shape)} and {expr.show_shape(rhs.shape)}"
        )
    return Equals(lhs, rhs) if op == "=" else expr.Relation(op, lhs, rhs)


def _alike(left: Value, right: Value) -> tuple[Node, Node]:
    """Both as nodes, a plain number in the shape of what stands beside it."""
    if isinstance(left, Node):
        return left, right if isinstance(right, Node) else expr.number(right, left.shape)
    return expr.number(left, right.shape if isinstance(right, Node) else SCALAR), as_node(right)


def _add(left: Value, right: Value) -> Value:
    if not isinstance(left, Node) and not isinstance(right, Node):
        return left + right
    left, right = _alike(left, right)
    return expr.add(expr.as_node(left, right.shape), expr.as_node(right, left.shape))


def _subtract(left: Value, right: Value) -> Value:
    return _add(left, -right)


def _times(left: Value, right: Value) -> Value:
    if isinstance(left, Node) and isinstance(right, Node):
        return expr.had(left, right)
    if isinstance(left, Node):
        left, right = right, left
    return expr.scale(left, right) if isinstance(right, Node) else left * right


def _over(left: Value, right: Value) -> Value:
    return _times(left, _power(right, Integer(-1)))


def _power(body: Value, exponent: Value) -> Value:
    if isinstance(exponent, Node):
        raise DeriveError("an exponent is an integer or an index expression")
    return expr.power(body, exponent) if isinstance(body, Node) else body**exponent


def _product(left: Value, right: Value) -> Value:
    return expr.mul(as_node(left), as_node(right))


OPERATORS: dict[type[ast.operator], Callable[[Value, Value], Value]] = {
    ast.Add: _add,
    ast.Sub: _subtract,
    ast.Mult: _times,
    ast.MatMult: _product,
    ast.Div: _over,
    ast.Pow: _power,
}

RELATIONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "=", ast.NotEq: "!=", ast.LtE: "<=", ast.GtE: ">=", ast.Lt: "<", ast.Gt: ">", ast.In: "in",
}  # fmt: skip
