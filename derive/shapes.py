"""Shapes of names, found by unification over the equations before a node is built.

A shape is a pair of dimensions; an unknown dimension is an `Unknown` until the equations say what it is.  `W @ x` makes
the inner dimensions agree, `a + b` and `a * b` all of them, unless one side is a true scalar; that is known only once
the other equations have been read, so sums and Hadamard products wait until nothing else moves.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeAlias

from sympy import Expr, Integer, Symbol

from derive import functions
from derive.errors import DeriveError, Place, SystemError_

ONE = Integer(1)


class Unknown:
    """A dimension that is not known yet."""


Dim: TypeAlias = "Expr | Unknown"
Pair: TypeAlias = "tuple[Dim, Dim]"


def parse_declarations(text: str) -> dict[str, tuple[Expr, Expr] | None]:
    """`"W_z W_r: n x m, x: m, a: scalar, b"`: names to shapes; None where a name is declared without one."""
    declared: dict[str, tuple[Expr, Expr] | None] = {}
    for part in filter(None, (p.strip() for p in text.replace("\n", ",").replace(";", ",").split(","))):
        names, _, shape = part.partition(":")
        for name in names.split():
            if not name.isidentifier():
                raise DeriveError(f"{name!r} in {part!r} is not a name; declare as in 'W_z: n x m, x: m, a: scalar'")
            if name in declared:
                raise DeriveError(f"{name} is declared twice, again in {part!r}")
            declared[name] = _parse_shape(shape.strip(), part) if shape.strip() else None
    return declared


def _parse_shape(text: str, part: str) -> tuple[Expr, Expr]:
    if text == "scalar":
        return ONE, ONE
    sizes = [s.strip() for s in text.replace("×", " x ").split(" x ")]
    if len(sizes) > 2 or not all(s.isidentifier() or s.isdecimal() for s in sizes):
        raise DeriveError(f"the shape in {part!r} is not understood; write 'n' for a vector, 'n x m' or 'scalar'")
    dims = [Integer(int(s)) if s.isdecimal() else dimension(s) for s in sizes]
    return dims[0], (dims[1] if len(dims) == 2 else ONE)


def dimension(name: str) -> Symbol:
    return Symbol(name, integer=True, positive=True)


class Unifier:
    """Shapes of the names and of every sub-expression of the parsed equations."""

    def __init__(
        self, declared: Mapping[str, tuple[Expr, Expr] | None], locate: Callable[[ast.AST], tuple[Place, str]]
    ):
        self._bound: dict[Unknown, Dim] = {}
        self._waiting: list[tuple[ast.AST, Pair, Pair, Pair]] = []
        self._names: dict[str, Pair] = {name: s for name, s in declared.items() if s is not None}
        self._targets: list[str] = []
        self._loss: ast.expr | None = None
        self._locate = locate

    def equation(self, target: str, node: ast.Assign) -> None:
        self._targets.append(target)
        found = self.infer(node.value)
        if found is not None:
            self._agree(self.name(target), found, node, f"{target} and its right-hand side need equal shapes")

    def loss(self, node: ast.expr) -> None:
        """The loss, which must turn out to be a scalar."""
        self._loss, self._loss_shape = node, self.infer(node) or (ONE, ONE)

    def name(self, name: str) -> Pair:
        return self._names.setdefault(name, (Unknown(), Unknown()))

    def settle(self) -> dict[str, tuple[Expr, Expr]]:
        """The shapes of all names, once nothing moves any more.  Raises `DeriveError` where one stays open."""
        while self._waiting:
            ready = [w for w in self._waiting if self._spreads(w[1]) or self._spreads(w[2]) or self._both_known(w)]
            for waiting in ready or self._waiting[:1]:
                self._waiting.remove(waiting)
                self._elementwise(*waiting)
        if self._loss is not None:
            self._agree(self._loss_shape, (ONE, ONE), self._loss, "a loss is a scalar")
        found = {name: (self._find(rows), self._find(columns)) for name, (rows, columns) in self._names.items()}
        still_open = [name for name, pair in found.items() if any(isinstance(d, Unknown) for d in pair)]
        if still_open:
            likely = next((name for name in self._targets if name in still_open), still_open[-1])
            raise DeriveError(
                f"the equations leave the shape open of {', '.join(still_open)}; "
                f"declare what is missing, say shapes='{likely}: n'"
            )
        return found  # type: ignore[return-value]

    def infer(self, node: ast.expr) -> Pair | None:
        """The shape of an expression; None for a plain number, which takes any."""
        if isinstance(node, ast.Constant):
            return None
        if isinstance(node, ast.Name):
            return self.name(node.id)
        if isinstance(node, ast.Subscript):
            return self.name(node.value.id)  # type: ignore[attr-defined]
        if isinstance(node, ast.UnaryOp):
            return self.infer(node.operand)
        if isinstance(node, ast.Attribute):
            rows, columns = self.infer(node.value) or (ONE, ONE)
            return columns, rows
        if isinstance(node, ast.Call):
            return self._call(node)
        assert isinstance(node, ast.BinOp)
        left, right = self.infer(node.left), self.infer(node.right)
        if isinstance(node.op, ast.MatMult):
            left, right = left or (ONE, ONE), right or (ONE, ONE)
            self._agree_dim(left[1], right[0], node, left, right, "a matrix product needs inner dimensions that agree")
            return left[0], right[1]
        if left is None or right is None or isinstance(node.op, ast.Pow):
            return left or right
        out: Pair = (Unknown(), Unknown())
        self._waiting.append((node, left, right, out))
        return out

    def _call(self, node: ast.Call) -> Pair | None:
        name = node.func.id  # type: ignore[attr-defined]
        shapes = [self.infer(a) for a in node.args]
        pairs = [s for s in shapes if s is not None] or [(ONE, ONE)]
        if name == "sum":
            return ONE, ONE
        if name == "diag":
            rows = pairs[0][0]
            self._agree_dim(pairs[0][1], ONE, node, pairs[0], pairs[0], "diag takes a column vector")
            return rows, rows
        for other in pairs[1:]:
            self._agree(pairs[0], other, node, f"{name} needs arguments of equal shapes")
        row = functions.row(name)
        if isinstance(row, functions.Vectorial):
            self._agree_dim(pairs[0][1], ONE, node, pairs[0], pairs[0], f"{name} takes a column vector")
        return (ONE, ONE) if row.result == "scalar" else pairs[0]

    def _elementwise(self, node: ast.AST, left: Pair, right: Pair, out: Pair) -> None:
        is_sum = isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub))
        what = f"a {'sum' if is_sum else 'Hadamard product'} needs equal shapes"
        if self._spreads(left):
            self._agree(out, right, node, what)
        elif self._spreads(right):
            self._agree(out, left, node, what)
        else:
            self._agree(left, right, node, what)
            self._agree(out, left, node, what)

    def _spreads(self, pair: Pair) -> bool:
        return all(self._find(d) is ONE for d in pair)

    def _both_known(self, waiting: tuple[ast.AST, Pair, Pair, Pair]) -> bool:
        """Neither side can turn out to be a scalar."""
        return all(any(isinstance(d, Expr) and d is not ONE for d in map(self._find, pair)) for pair in waiting[1:3])

    def _find(self, dim: Dim) -> Dim:
        while isinstance(dim, Unknown) and dim in self._bound:
            dim = self._bound[dim]
        return dim

    def _agree(self, a: Pair, b: Pair, node: ast.AST, what: str) -> None:
        # What clashes comes first: a dimension that agrees must not be taken from a pair that does not.
        for x, y in sorted(zip(a, b, strict=True), key=lambda dims: not self._clash(*dims)):
            self._agree_dim(x, y, node, a, b, what)

    def _clash(self, x: Dim, y: Dim) -> bool:
        x, y = self._find(x), self._find(y)
        return isinstance(x, Expr) and isinstance(y, Expr) and x != y

    def _agree_dim(self, x: Dim, y: Dim, node: ast.AST, a: Pair, b: Pair, what: str) -> None:
        x, y = self._find(x), self._find(y)
        if x is y or (isinstance(x, Expr) and isinstance(y, Expr) and x == y):
            return
        if isinstance(x, Unknown):
            self._bound[x] = y
        elif isinstance(y, Unknown):
            self._bound[y] = x
        else:
            place, typed = self._locate(node)
            self._assume_the_rest()
            found = self._show(a) if a is b or self._loss is node else f"{self._show(a)} and {self._show(b)}"
            raise SystemError_(f"{what}, found {found} in '{typed}'{_hint(node)}", place)

    def _assume_the_rest(self) -> None:
        """What can still be found out before two shapes that clash are shown."""
        waiting, self._waiting = self._waiting, []
        for entry in waiting:
            with suppress(SystemError_):
                self._elementwise(*entry)

    def _show(self, pair: Pair) -> str:
        """`n x m`, `n` for a column, `scalar`; `?` for what is not known yet."""
        rows, columns = (("?" if isinstance(d, Unknown) else str(d)) for d in map(self._find, pair))
        if columns == "1":
            return "scalar" if rows == "1" else rows
        return f"{rows} x {columns}"


def _hint(node: ast.AST) -> str:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return "; * is the Hadamard product, did you mean the matrix product @?"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        return "; @ is the matrix product, did you mean * or a transpose .T?"
    return ""
