"""Nodes as Python that reads like the mathematics: every value is a matrix, `n x 1` a column, `1 x 1` a scalar.

So `W @ x` is the product as it is written, `d @ h.T` an outer and `a.T @ b` an inner product, and `*` works entry by entry.  One
step and one sample at a time: this is the source that is *shown*, where `derive.emit.code` writes the one that is fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sympy import Expr

from derive import expr, functions
from derive.emit import library
from derive.emit.code import (
    ATOM,
    MATMUL,
    POWER,
    RULES,
    SCALAR,
    ArrayPrinter,
    Get,
    Rule,
    Value,
    hadamard,
    kind_of,
    no_formula,
)
from derive.emit.source import UNKNOWN
from derive.errors import DeriveError
from derive.expr import Node, Var


class ColumnPrinter(ArrayPrinter):
    """The rules of `ArrayPrinter` for what works entry by entry; those of a matrix product are the ones below."""

    def __init__(self, read: Callable[[Var], str], size: Callable[[Expr], str]):
        super().__init__(read, size)

    def _rule(self, node: Node) -> Rule:
        rule = COLUMN_RULES.get(type(node)) or RULES.get(type(node))
        if rule is None:
            raise DeriveError(f"derive has no rule to write {type(node).__name__} in Python: {expr.strip_labels(node)}")
        return rule

    def full(self, value: Value, node: Node) -> Value:
        """`value` with every entry there: a bare `1` beside a vector stands for a vector of ones."""
        if not value.loose and not (value.text == "1" and kind_of(node) == SCALAR):
            return value
        ones = f"np.ones(({', '.join(map(self.size, node.shape))}))"
        text = ones if value.text == "1" else f"{value.at_least(POWER)} * {ones}"
        if value.text == "0":
            text = ones.replace("ones", "zeros")
        return replace(value, text=text, level=ATOM if text.startswith("np.") else POWER - 1, loose=False)

    def formula(self, node: Node) -> str:
        return self.full(self.value(node), node).text


def _var(p: ArrayPrinter, node: Var, get: Get) -> Value:
    return Value(p.read(node), ATOM, kind_of(node), False)


def _at(p: ArrayPrinter, node: expr.At, get: Get) -> Value:
    same = [f"({p.index(i)} == {p.index(k)})" for i, k in zip(node.index, node.point, strict=True) if i != k]
    return Value(" * ".join(same), ATOM if len(same) == 1 else POWER - 1, SCALAR, False)


def _scale(p: ArrayPrinter, node: expr.Scale, get: Get) -> Value:
    """A number stretches to any shape, a scalar that is computed is written with the ones that it multiplies."""
    c, body = node.args
    if isinstance(c, Node) and get(body).loose:
        return hadamard([get(c), p.full(get(body), body)], [])
    return RULES[expr.Scale](p, node, get)


def _mul(p: ArrayPrinter, node: expr.Mul, get: Get) -> Value:
    factors = [p.full(get(f), f).at_least(POWER) for f in node.args]
    return Value(" @ ".join(factors), MATMUL, kind_of(node), False)


def _transpose(p: ArrayPrinter, node: expr.Transpose, get: Get) -> Value:
    (body,) = node.args
    value = get(body)
    if value.loose:
        return replace(value, kind=kind_of(node))
    return Value(f"{value.at_least(ATOM)}.T", ATOM, kind_of(node), False)


def _call(name: str) -> Rule:
    def rule(p: ArrayPrinter, node: Node, get: Get) -> Value:
        arguments = [p.full(get(a), a).text for a in node.args]
        return Value(p.call(name, *arguments), ATOM, kind_of(node), False)

    return rule


def _identity(p: ArrayPrinter, node: expr.Identity, get: Get) -> Value:
    return Value(f"np.eye({p.size(node.shape[0])})", ATOM, kind_of(node), False)


def _apply(p: ArrayPrinter, node: expr.Apply, get: Get) -> Value:
    arguments = [p.full(get(a), a) for a in node.arguments]
    if node.function == "identity" and not node.order:
        return arguments[0]
    text = p.call(node.function, *(a.text for a in arguments), order=node.order)
    return Value(text, ATOM, kind_of(node), False)


COLUMN_RULES: dict[type, Rule] = {
    Var: _var,
    expr.At: _at,
    expr.Scale: _scale,
    expr.Mul: _mul,
    expr.Transpose: _transpose,
    expr.Diag: _call("diag"),
    expr.Diagonal: _call("diagonal"),
    expr.Inner: _call("inner"),
    expr.Identity: _identity,
    expr.Apply: _apply,
    expr.Sum: no_formula,
}


# --- what the formulas call -----------------------------------------------------------------------------------------------

SOURCES: dict[str, str] = {
    "diag": """
def diag(v):
    return np.diagflat(v)
""",
    "diagonal": """
def diagonal(matrix):
    return np.diagonal(matrix)[:, None]
""",
    "inner": """
def inner(a, b):
    return np.sum(a * b, keepdims=True)
""",
    "softmax": """
def softmax(v):
    e = np.exp(v - v.max())
    return e / e.sum()
""",
    "log_sum_exp": """
def log_sum_exp(v):
    return v.max(keepdims=True) + np.log(np.exp(v - v.max()).sum(keepdims=True))
""",
    "layer_norm": f"""
def layer_norm(v):
    return (v - v.mean()) / np.sqrt(v.var() + {float(functions.LAYER_NORM_EPSILON)!r})
""",
    "cross_entropy": """
def cross_entropy(o, y):
    return log_sum_exp(o) - y.T @ o
""",
    "squared_error": """
def squared_error(o, y):
    return 0.5 * (o - y).T @ (o - y)
""",
    "logistic": """
def logistic(o, y):
    return (np.logaddexp(o, 0.0) - y * o).sum(keepdims=True)
""",
}
"""The functions of one column, and the products, by the name that formulas call."""

CALLS = {"cross_entropy": ("log_sum_exp",)}


def definitions(called: dict[str, tuple[str, int]]) -> list[str]:
    """The sources of the functions that formulas call: of columns from the table above, the others from the library."""
    wanted = dict(called)
    for name in called:
        wanted.update({other: (other, 0) for other in CALLS.get(name, ())})
    own = [SOURCES[name].strip("\n") for name in sorted(wanted) if name in SOURCES]
    entrywise = library.with_dependencies(key for name, key in wanted.items() if name not in SOURCES)
    unknown = [UNKNOWN.strip("\n")] if any("_unknown(" in text for text in entrywise) else []
    return [*own, *entrywise, *(["FUNCTIONS = {}", *unknown] if unknown else [])]
