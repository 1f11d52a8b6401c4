"""The typed form of a formula, in Python's syntax, evaluated into nodes.

It is read through `ast`; nothing in it is executed.

    A @ B      matrix product             a * b      Hadamard product, or a number or true scalar times anything
    A.T        transpose                  x**2       entry by entry
    D  Dp      ∂y/∂x, total, immediate    bar grad   ∇_x L and ∇_x L_t, in the shape of x
    h[t-1]     a name at an index         b[t]       the copy of a parameter that step t reads
    n  1/n     a dimension                Sum(entry(x, i), (i, 1, n))  a letter that a range binds is an index
    cases((a, t < T), (b, True))          a distinction of cases
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any, TypeAlias

from corpus_signs import OPERATORS, RELATIONS, Value, as_node, claim
from sympy import Expr, Integer, Symbol, sqrt

from derive import expr, functions
from derive.errors import DeriveError
from derive.expr import SCALAR, Node, Shape, Var
from derive.shapes import dimension

Symbols: TypeAlias = Mapping[str, "tuple[Shape, bool | None]"]
"""Name -> shape, and whether it has an index; None: as it is used."""
Aliases: TypeAlias = Mapping[str, Node]

LOSS = "L"
_INDEX_NAMES = frozenset("abcdefghijklmnopqrstuvwxyz") | {"tau"}
_LENGTHS = frozenset(name.upper() for name in _INDEX_NAMES if len(name) == 1)
"""Letters that are lengths, as those of a lattice are, where they name no variable."""
_UNKNOWN_FUNCTIONS = frozenset("fgF") | {"psi", "rho"}


class Evaluator:
    """The meaning of a piece of syntax, given what the names are: their shapes, and the blocks that some stand for."""

    def __init__(self, symbols: Symbols, aliases: Aliases | None = None):
        self._symbols, self._aliases = symbols, aliases or {}
        shapes = (shape for shape, _ in symbols.values())
        self._sizes = frozenset(str(letter) for shape in shapes for size in shape for letter in size.free_symbols)
        self._bound: frozenset[str] = frozenset()

    def binding(self, ranges: Iterable[ast.expr]) -> Evaluator:
        """The evaluator inside a sum or product: the letters of its ranges are indices, whatever else has their name."""
        inside = Evaluator(self._symbols, self._aliases)
        inside._bound = self._bound.union(ast.unparse(r.elts[0]) for r in ranges if isinstance(r, ast.Tuple))
        return inside

    def value(self, node: ast.AST) -> Value:
        """A node, or a plain SymPy number or index expression, which has no shape yet."""
        if type(node) not in _SYNTAX:
            raise DeriveError(f"{ast.unparse(node)!r} has no place in the typed form")
        return _SYNTAX[type(node)](self, node)

    def node(self, node: ast.AST) -> Node:
        return as_node(self.value(node))

    def var(self, node: ast.AST) -> Var:
        value = self.value(node)
        if not isinstance(value, Var):
            raise DeriveError(f"{ast.unparse(node)!r} should be a name, at an index where it has one")
        return value

    def index(self, node: ast.AST, sizes: frozenset[str] = frozenset()) -> Expr:
        """A point: integers, index letters, T.  At the end of a range `sizes` are dimensions."""
        letters = Evaluator({})
        letters._sizes = sizes - self._bound
        value = letters.value(node)
        if isinstance(value, Node):
            raise DeriveError(f"{ast.unparse(node)!r} is not an index")
        return value

    def range(self, node: ast.AST) -> tuple[Expr, Expr, Expr]:
        """`(k, 1, t)`."""
        if not isinstance(node, ast.Tuple) or len(node.elts) != 3:
            raise DeriveError(f"{ast.unparse(node)!r} should be a range such as (k, 1, t)")
        letter, lo, hi = node.elts
        return self.index(letter), self.index(lo, self._sizes), self.index(hi, self._sizes)

    def compared(self, line: ast.Compare) -> list[Any]:
        """`a == b <= c`: the claims of its neighbours."""
        sides = [self.value(side) for side in (line.left, *line.comparators)]
        return [claim(RELATIONS[type(op)], *pair) for op, pair in zip(line.ops, pairwise(sides), strict=True)]

    # Syntax

    def constant(self, node: ast.Constant) -> Value:
        if type(node.value) is not int:
            raise DeriveError(f"{node.value!r} is not a whole number; write a fraction as 1/2")
        return Integer(node.value)

    def name(self, node: ast.Name) -> Value:
        letter = node.id
        shape, indexed = self._symbols.get(letter, (SCALAR, True))
        if letter in self._bound:
            return Symbol(letter, integer=True)
        if letter in self._aliases:
            return self._aliases[letter]
        if letter in self._sizes and letter not in self._symbols:
            return dimension(letter)
        if not indexed or (letter == LOSS and self._symbols):
            return Var(letter, (), (), *shape)
        if letter in _LENGTHS and letter not in self._symbols:
            return Symbol(letter, integer=True, positive=True)
        if letter in _INDEX_NAMES:
            return Symbol(letter, integer=True)
        raise DeriveError(f"{letter!r} is not known{' without an index' if letter in self._symbols else ''}")

    def subscript(self, node: ast.Subscript) -> Value:
        name = ast.unparse(node.value)
        if name not in self._symbols:
            raise DeriveError(f"{name!r} is not known at an index")
        index = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return Var(name, (), tuple(map(self.index, index)), *self._symbols[name][0])

    def attribute(self, node: ast.Attribute) -> Value:
        if node.attr != "T":
            raise DeriveError(f"the only attribute of the typed form is .T, found {ast.unparse(node)!r}")
        return expr.transpose(self.node(node.value))

    def unary(self, node: ast.UnaryOp) -> Value:
        value = self.value(node.operand)
        return -value if isinstance(node.op, ast.USub) else value

    def binary(self, node: ast.BinOp) -> Value:
        if type(node.op) not in OPERATORS:
            raise DeriveError(f"{ast.unparse(node)!r} has no place in the typed form")
        return OPERATORS[type(node.op)](self.value(node.left), self.value(node.right))

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

    def root(self, x: ast.expr) -> Value:
        value = self.value(x)
        return expr.apply("sqrt", value) if isinstance(value, Node) else sqrt(value)

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
        """`held` are names, or names at an index."""
        constant = [self.var(ast.parse(h, mode="eval").body) if "[" in h else h for h in held]
        return self.partial(y, x, 0, tuple(constant))

    def immediate(self, y: ast.expr, x: ast.expr) -> Node:
        return self.partial(y, x, 1, ())

    def partial(self, y: ast.expr, x: ast.expr, immediate: int, held: tuple[Any, ...]) -> Node:
        """By an entry, the entry of the Jacobian; of a scalar by an entry of a matrix, that of the gradient."""
        above, below = self.node(y), self.node(x)
        if not isinstance(below, expr.Entry):
            return expr.Partial(above, self.var(x), immediate, held)
        body, *position = below.args
        if isinstance(above, expr.Entry) and expr.is_column(body) and expr.is_column(above.args[0]):
            return expr.entry(expr.Partial(above.args[0], body, immediate, held), above.args[1], position[0])
        return expr.entry(expr.GradientOf(above, body, immediate), *position)

    def bar(self, x: ast.expr) -> Node:
        return _bar(self.node(x))

    def grad(self, y: ast.expr, x: ast.expr) -> Node:
        return expr.GradientOf(self.node(y), self.var(x))

    def pulled(self, y: ast.expr, x: ast.expr, d: ast.expr, total: bool = False) -> Node:
        return expr.Pulled(self.node(y), self.var(x), self.node(d), not total)

    def sum(self, body: ast.expr, *ranges: ast.expr) -> Node:
        """The ranges as a `Sum` has them: one whose bounds use another's index stands behind that."""
        inside = self.binding(ranges)
        ordered: list[tuple[Expr, Expr, Expr]] = []
        for range_ in map(inside.range, ranges):
            users = (n for n, (_, lo, hi) in enumerate(ordered) if range_[0] in lo.free_symbols | hi.free_symbols)
            ordered.insert(next(users, len(ordered)), range_)
        return expr.Sum(inside.node(body), *ordered)

    def product(self, body: ast.expr, range_: ast.expr, ascending: bool = False) -> Node:
        inside = self.binding([range_])
        return expr.Product(inside.node(body), inside.range(range_), not ascending)

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
        return self.compared(node)[0]

    def cat(self, *parts: ast.expr) -> Node:
        return expr.Block(*([self.node(part)] for part in parts))

    def block(self, rows: ast.List) -> Node:
        return expr.Block(*([self.node(entry) for entry in row.elts] for row in rows.elts))  # type: ignore[attr-defined]


def _bar(node: Node) -> Node:
    """Of a block, block by block."""
    if isinstance(node, expr.Block):
        return expr.Block(*([_bar(cell) for cell in row] for row in node.args))
    if not isinstance(node, Var):
        raise DeriveError(f"bar is of a name, found {node}")
    return node.marked("bar")


def _sizes(sizes: tuple[ast.Name, ...]) -> Shape:
    rows, columns = (*(dimension(size.id) for size in sizes), expr.ONE)[:2]
    return rows, columns


_SYNTAX: dict[type[ast.AST], Callable[..., Value]] = {
    ast.Constant: Evaluator.constant,
    ast.Name: Evaluator.name,
    ast.Subscript: Evaluator.subscript,
    ast.Attribute: Evaluator.attribute,
    ast.UnaryOp: Evaluator.unary,
    ast.BinOp: Evaluator.binary,
    ast.Call: Evaluator.call,
}

_CALLS: dict[str, Callable[..., Value]] = {
    "D": Evaluator.total,
    "Dp": Evaluator.immediate,
    "I": Evaluator.identity,
    "Prod": Evaluator.product,
    "Sum": Evaluator.sum,
    "bar": Evaluator.bar,
    "block": Evaluator.block,
    "cases": Evaluator.cases,
    "cat": Evaluator.cat,
    "diag": Evaluator.diag,
    "entry": Evaluator.entry,
    "grad": Evaluator.grad,
    "kron": Evaluator.kronecker,
    "mpow": Evaluator.matrix_power,
    "norm": Evaluator.norm,
    "ones": Evaluator.ones,
    "prime": Evaluator.prime,
    "pulled": Evaluator.pulled,
    "sqrt": Evaluator.root,
    "zeros": Evaluator.zeros,
}
