"""The corpus of display equations and what each of them means: the typed form, evaluated into nodes.

A corpus file is a Markdown document in one author's style; a comment `<!-- means: … -->` directly behind a display says
what it is to be read as, one claim a line.  `corpus` pairs the two, `means` makes nodes of a line.  The typed form is
Python's syntax and is read through `ast`; nothing in it is executed.

    A @ B      matrix product             a * b      Hadamard product, or a number or true scalar times anything
    A.T        transpose                  x**2       entry by entry
    D  Dp      ∂y/∂x, total, immediate    bar grad   ∇_x L and ∇_x L_t, in the shape of x
    h[t-1]     a name at an index         a == b == c  a chain is the equations of its neighbours
    a <= b     a relation                 cases((a, t < T), (b, True))  a distinction of cases
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

from sympy import Expr, Integer, Symbol, Tuple

from derive import expr, functions
from derive.errors import DeriveError
from derive.expr import SCALAR, Equals, Node, Shape, Var
from derive.shapes import dimension

Symbols: TypeAlias = Mapping[str, tuple[Shape, bool]]
Value: TypeAlias = "Node | Expr"

UNREAD = "unread"
"""Stands for the meaning of a display that nobody can give one."""
LOSS = "L"
_INDEX_NAMES = frozenset("abcdefghijklmnopqrstuvwxyz") | {"tau"}
_LENGTHS = frozenset(name.upper() for name in _INDEX_NAMES if len(name) == 1)
"""Letters that are lengths, as those of a lattice are, where they name no variable."""
_UNKNOWN_FUNCTIONS = frozenset("fgF") | {"psi", "rho"}


# --- documents ----------------------------------------------------------------------------------------------------------

_PIECE = re.compile(
    r"<!--(?P<comment>.*?)-->"
    r"|\$\$(?P<dollars>.*?)\$\$"
    r"|\\\[(?P<brackets>.*?)\\\]"
    r"|^```math\n(?P<fence>.*?)^```",
    re.DOTALL | re.MULTILINE,
)


def corpus(path: Path | str) -> list[tuple[int, list[str]]]:
    """`(number of the display, lines of its meaning)` for every display of a document, counted from 1.

    Raises ValueError where a display has no meaning, or a meaning no display.
    """
    found: list[tuple[int, list[str]]] = []
    for piece in _PIECE.finditer(Path(path).read_text(encoding="utf-8")):
        if piece["comment"] is None:
            found.append((len(found) + 1, []))
            continue
        kind, _, text = piece["comment"].strip().partition(":")
        if kind.strip() != "means":
            continue
        if not found or found[-1][1]:
            raise ValueError(f"{path}: the meaning {text.strip()!r} stands behind no display of its own")
        found[-1][1].extend(line.strip() for line in text.splitlines() if line.strip())
    without = [number for number, lines in found if not lines]
    if without:
        raise ValueError(f"{path}: no meaning behind the displays {without}")
    return found


# --- the typed form -----------------------------------------------------------------------------------------------------


def means(text: str, symbols: Symbols) -> list[Any]:
    """The claims of one line: an `Equals` for each neighbouring pair, a `Relation` for any other sign, or one node.

    `implies(a, …, b)` is one `Implies`, of the claims before the last line that it names; `path(h[t-1], z[t], h[t])` a `Path`.

    Raises DeriveError (its ShapeError among them) where the line is no typed form or its shapes do not fit.
    """
    try:
        line = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise DeriveError(f"{text!r} is not in the typed form: {error.msg}") from None
    return _claims(line, _Evaluator({LOSS: (SCALAR, True), **symbols}))


def _claims(line: ast.expr, evaluator: _Evaluator) -> list[Any]:
    if isinstance(line, ast.Call) and ast.unparse(line.func) == "implies":
        *premises, conclusions = (_claims(side, evaluator) for side in line.args)
        return [expr.Implies(_together([claim for side in premises for claim in side]), _together(conclusions))]
    if isinstance(line, ast.Call) and ast.unparse(line.func) == "path":
        return [expr.Path(*map(evaluator.var, line.args))]
    if not isinstance(line, ast.Compare):
        return [_node(evaluator.value(line))]
    return _compared(line, evaluator)


def _together(claims: list[Any]) -> Any:
    return claims[0] if len(claims) == 1 else Tuple(*claims)


_RELATIONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "=", ast.NotEq: "!=", ast.LtE: "<=", ast.GtE: ">=", ast.Lt: "<", ast.Gt: ">", ast.In: "in",
}  # fmt: skip


def _compared(line: ast.Compare, evaluator: _Evaluator) -> list[Any]:
    sides = [evaluator.value(side) for side in (line.left, *line.comparators)]
    return [_claim(_RELATIONS[type(op)], *pair) for op, pair in zip(line.ops, pairwise(sides), strict=True)]


def _claim(op: str, lhs: Value, rhs: Value) -> Any:
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
    return expr.number(left, right.shape if isinstance(right, Node) else SCALAR), _node(right)


def _node(value: Value) -> Node:
    return value if isinstance(value, Node) else expr.number(value)


class _Evaluator:
    def __init__(self, symbols: Symbols):
        self._symbols = symbols

    def value(self, node: ast.AST) -> Value:
        """A node, or a plain SymPy number or index expression, which has no shape yet."""
        if type(node) not in _SYNTAX:
            raise DeriveError(f"{ast.unparse(node)!r} has no place in the typed form")
        return _SYNTAX[type(node)](self, node)

    def node(self, node: ast.AST) -> Node:
        return _node(self.value(node))

    def var(self, node: ast.AST) -> Var:
        value = self.value(node)
        if not isinstance(value, Var):
            raise DeriveError(f"{ast.unparse(node)!r} should be a name, at an index where it has one")
        return value

    def index(self, node: ast.AST) -> Expr:
        """A point or a bound: integers, index letters, T."""
        value = _Evaluator({}).value(node)
        if isinstance(value, Node):
            raise DeriveError(f"{ast.unparse(node)!r} is not an index")
        return value

    def range(self, node: ast.AST) -> tuple[Expr, Expr, Expr]:
        """`(k, 1, t)`."""
        if not isinstance(node, ast.Tuple) or len(node.elts) != 3:
            raise DeriveError(f"{ast.unparse(node)!r} should be a range such as (k, 1, t)")
        letter, lo, hi = map(self.index, node.elts)
        return letter, lo, hi

    # Syntax

    def constant(self, node: ast.Constant) -> Value:
        if type(node.value) is not int:
            raise DeriveError(f"{node.value!r} is not a whole number; write a fraction as 1/2")
        return Integer(node.value)

    def name(self, node: ast.Name) -> Value:
        shape, indexed = self._symbols.get(node.id, (SCALAR, True))
        if node.id not in self._symbols and any(
            str(s) == node.id for shape_, _ in self._symbols.values() for size in shape_ for s in size.free_symbols
        ):
            return dimension(node.id)
        if not indexed or (node.id == LOSS and self._symbols):
            return Var(node.id, (), (), *shape)
        if node.id in _LENGTHS and node.id not in self._symbols:
            return Symbol(node.id, integer=True, positive=True)
        if node.id in _INDEX_NAMES:
            return Symbol(node.id, integer=True)
        raise DeriveError(f"{node.id!r} is not known{' without an index' if node.id in self._symbols else ''}")

    def subscript(self, node: ast.Subscript) -> Value:
        name = ast.unparse(node.value)
        shape, indexed = self._symbols.get(name, (SCALAR, name == LOSS))
        if not indexed and name not in self._symbols:
            raise DeriveError(f"{name!r} is not known at an index")
        index = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return Var(name, (), tuple(map(self.index, index)), *shape)

    def attribute(self, node: ast.Attribute) -> Value:
        if node.attr != "T":
            raise DeriveError(f"the only attribute of the typed form is .T, found {ast.unparse(node)!r}")
        return expr.transpose(self.node(node.value))

    def unary(self, node: ast.UnaryOp) -> Value:
        value = self.value(node.operand)
        return -value if isinstance(node.op, ast.USub) else value

    def binary(self, node: ast.BinOp) -> Value:
        if type(node.op) not in _OPERATORS:
            raise DeriveError(f"{ast.unparse(node)!r} has no place in the typed form")
        return _OPERATORS[type(node.op)](self.value(node.left), self.value(node.right))

    def call(self, node: ast.Call) -> Value:
        name = ast.unparse(node.func)
        if name in _CALLS:
            return _CALLS[name](self, *node.args, **{k.arg: ast.literal_eval(k.value) for k in node.keywords if k.arg})
        if name not in functions.TABLE and name not in _UNKNOWN_FUNCTIONS:
            raise DeriveError(f"there is no function {name!r}")
        return self.apply(name, 0, node.args)

    # Calls

    def apply(self, name: str, order: int, arguments: list[ast.expr]) -> Node:
        """A row of the table of functions; plain numbers take the shape of the other argument."""
        values = [self.value(a) for a in arguments]
        shape = next((v.shape for v in values if isinstance(v, Node)), SCALAR)
        return expr.apply(name, *(expr.as_node(v, shape) for v in values), order=order)

    def prime(self, name: ast.expr, argument: ast.expr, order: ast.expr | None = None) -> Node:
        times = 1 if order is None else int(self.index(order))
        return self.apply(ast.literal_eval(name), times, [argument])

    def diag(self, body: ast.expr) -> Node:
        return expr.diag(self.node(body))

    def identity(self, n: ast.Name) -> Node:
        return expr.Identity(dimension(n.id))

    def ones(self, *sizes: ast.Name) -> Node:
        return expr.Ones(*_sizes(sizes))

    def zeros(self, *sizes: ast.Name) -> Node:
        return expr.Zero(*_sizes(sizes))

    def total(self, y: ast.expr, x: ast.expr, held: tuple[str, ...] = ()) -> Node:
        """By an entry, the entry of the Jacobian; of a scalar by an entry of a matrix, that of the gradient."""
        above, below = self.node(y), self.node(x)
        if not isinstance(below, expr.Entry):
            return expr.Partial(above, self.var(x), 0, tuple(held))
        body, *position = below.args
        if isinstance(above, expr.Entry) and expr.is_column(body) and expr.is_column(above.args[0]):
            return expr.entry(expr.Partial(above.args[0], body, 0, tuple(held)), above.args[1], position[0])
        return expr.entry(expr.GradientOf(above, body), *position)

    def immediate(self, y: ast.expr, x: ast.expr) -> Node:
        return expr.Partial(self.node(y), self.var(x), 1)

    def bar(self, x: ast.expr) -> Node:
        return self.var(x).marked("bar")

    def grad(self, y: ast.expr, x: ast.expr) -> Node:
        return expr.GradientOf(self.node(y), self.var(x))

    def pulled(self, y: ast.expr, x: ast.expr, d: ast.expr, total: bool = False) -> Node:
        return expr.Pulled(self.node(y), self.var(x), self.node(d), not total)

    def sum(self, body: ast.expr, *ranges: ast.expr) -> Node:
        """The ranges as a `Sum` has them: one whose bounds use another's index stands behind that."""
        ordered: list[tuple[Expr, Expr, Expr]] = []
        for range_ in map(self.range, ranges):
            users = (n for n, (_, lo, hi) in enumerate(ordered) if range_[0] in lo.free_symbols | hi.free_symbols)
            ordered.insert(next(users, len(ordered)), range_)
        return expr.Sum(self.node(body), *ordered)

    def product(self, body: ast.expr, range_: ast.expr, ascending: bool = False) -> Node:
        return expr.Product(self.node(body), self.range(range_), not ascending)

    def entry(self, x: ast.expr, *index: ast.expr) -> Node:
        """Of a row, the one index is that of the column."""
        body, position = self.node(x), [self.index(i) for i in index]
        return (
            expr.entry(body, 1, *position) if len(position) == 1 and body.shape[0] == 1 else expr.entry(body, *position)
        )

    def kronecker(self, i: ast.expr, j: ast.expr) -> Node:
        return expr.At((self.index(i),), (self.index(j),))

    def norm(self, x: ast.expr, kind: str = "") -> Node:
        return expr.Norm(self.node(x), kind)

    def matrix_power(self, body: ast.expr, exponent: ast.expr) -> Node:
        return expr.matrix_power(self.node(body), self.index(exponent))

    def cases(self, *pairs: ast.Tuple) -> Node:
        """`(value, condition)`, a condition being a comparison, or True for all that is left."""
        values = [self.value(pair.elts[0]) for pair in pairs]
        shape = next((v.shape for v in values if isinstance(v, Node)), SCALAR)
        conditions = (self.condition(pair.elts[1]) for pair in pairs)
        return expr.Cases(*zip((expr.as_node(v, shape) for v in values), conditions, strict=True))

    def condition(self, node: ast.expr) -> expr.Statement:
        if isinstance(node, ast.Constant) and node.value is True:
            return expr.Otherwise()
        if not isinstance(node, ast.Compare) or len(node.ops) != 1:
            raise DeriveError(f"{ast.unparse(node)!r} is not a condition")
        (claim,) = _compared(node, self)
        return claim

    def cat(self, *parts: ast.expr) -> Node:
        return expr.Block(*([self.node(part)] for part in parts))

    def block(self, rows: ast.List) -> Node:
        return expr.Block(*([self.node(entry) for entry in row.elts] for row in rows.elts))  # type: ignore[attr-defined]


def _sizes(sizes: tuple[ast.Name, ...]) -> Shape:
    rows, columns = (*(dimension(size.id) for size in sizes), expr.ONE)[:2]
    return rows, columns


# --- operators: plain numbers meet each other as SymPy's, and a node as a number in its shape ---------------------------


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
    return expr.mul(_node(left), _node(right))


_OPERATORS: dict[type[ast.operator], Callable[[Value, Value], Value]] = {
    ast.Add: _add,
    ast.Sub: _subtract,
    ast.Mult: _times,
    ast.MatMult: _product,
    ast.Div: _over,
    ast.Pow: _power,
}

_SYNTAX: dict[type[ast.AST], Callable[..., Value]] = {
    ast.Constant: _Evaluator.constant,
    ast.Name: _Evaluator.name,
    ast.Subscript: _Evaluator.subscript,
    ast.Attribute: _Evaluator.attribute,
    ast.UnaryOp: _Evaluator.unary,
    ast.BinOp: _Evaluator.binary,
    ast.Call: _Evaluator.call,
}

_CALLS: dict[str, Callable[..., Value]] = {
    "D": _Evaluator.total,
    "Dp": _Evaluator.immediate,
    "I": _Evaluator.identity,
    "Prod": _Evaluator.product,
    "Sum": _Evaluator.sum,
    "bar": _Evaluator.bar,
    "block": _Evaluator.block,
    "cases": _Evaluator.cases,
    "cat": _Evaluator.cat,
    "diag": _Evaluator.diag,
    "entry": _Evaluator.entry,
    "grad": _Evaluator.grad,
    "kron": _Evaluator.kronecker,
    "mpow": _Evaluator.matrix_power,
    "norm": _Evaluator.norm,
    "ones": _Evaluator.ones,
    "prime": _Evaluator.prime,
    "pulled": _Evaluator.pulled,
    "zeros": _Evaluator.zeros,
}
