"""Shapes of names, found by unification over the equations before a node is built.

A shape is a pair of dimensions; an unknown dimension is an `Unknown` until the equations say what it is.  `W @ x` makes
the inner dimensions agree, `a + b` and `a * b` all of them, unless one side is a true scalar; that is known only once
the other equations have been read, so sums and Hadamard products wait until nothing else moves.  Factors that are
written side by side wait likewise, until their shapes say which product they form.  What then is open is an error, or,
for equations in LaTeX, settled by the conventions of the field (`derive.conventions`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeAlias

from sympy import Expr, Integer, Symbol

from derive import clipping, functions
from derive.errors import DeriveError, Place, SystemError_

ONE = Integer(1)


class Juxtapose(ast.MatMult):
    """What stands between two factors side by side, as in `W h` or `W \\cdot h`: the shapes decide which product it is.

    A true scalar scales; where the inner dimensions agree it is the matrix product; two columns multiply entrywise.
    """


class Unknown:
    """A dimension that is not known yet."""


Dim: TypeAlias = "Expr | Unknown"
Pair: TypeAlias = "tuple[Dim, Dim]"
Waiting: TypeAlias = "tuple[ast.BinOp, Pair, Pair, Pair]"
"""An operation, the shapes of its two sides, and that of its result."""

PRODUCT = "a matrix product needs inner dimensions that agree"


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
        self._waiting: list[Waiting] = []
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
        self._propagate()
        while self._decide():
            self._propagate()
        if self._loss is not None:
            self._agree(self._loss_shape, (ONE, ONE), self._loss, "a loss is a scalar")
        self._name_dimensions()
        found = {name: self._found(pair) for name, pair in self._names.items()}
        still_open = [name for name, pair in found.items() if any(isinstance(d, Unknown) for d in pair)]
        if still_open:
            likely = next((name for name in self._targets if name in still_open), still_open[-1])
            raise DeriveError(
                f"the equations leave the shape open of {', '.join(still_open)}; "
                f"declare what is missing, say shapes='{likely}: n'"
            )
        return found  # type: ignore[return-value]

    def _propagate(self) -> None:
        """What is certain, until nothing moves."""
        moved = -1
        while moved != (moved := len(self._bound) - len(self._waiting)):
            for waiting in [w for w in self._waiting if self._is_ready(w)]:
                self._resolve(waiting)
            for waiting in self._waiting:
                self._agree_partly(*waiting)

    def _decide(self) -> bool:
        """One assumption, once nothing is certain any more; False where none is left to make."""
        for waiting in self._waiting[:1]:
            self._resolve(waiting)
            return True
        return False

    def _name_dimensions(self) -> None:
        """Dimensions that stay open stay so."""

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
        if isinstance(node.op, ast.MatMult) and not isinstance(node.op, Juxtapose):
            left, right = left or (ONE, ONE), right or (ONE, ONE)
            self._agree_dim(left[1], right[0], node, left, right, PRODUCT)
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
        if name in clipping.CALLS:
            if shapes[1] is not None:
                self._agree(shapes[1], (ONE, ONE), node, f"{name} takes a scalar limit")
            return pairs[0]
        row = functions.row(name)
        if row.result == "same" and row.arity == 2:  # entry by entry: a scalar is spread
            pairs = [p for p in pairs if not self._spreads(p)] or pairs
        for other in pairs[1:]:
            self._agree(pairs[0], other, node, f"{name} needs arguments of equal shapes")
        if isinstance(row, functions.Vectorial):
            self._agree_dim(pairs[0][1], ONE, node, pairs[0], pairs[0], f"{name} takes a column vector")
        return (ONE, ONE) if row.result == "scalar" else pairs[0]

    def _is_ready(self, waiting: Waiting) -> bool:
        if isinstance(waiting[0].op, Juxtapose):
            return self._reading(*waiting[1:3]) is not None
        return self._spreads(waiting[1]) or self._spreads(waiting[2]) or self._both_known(waiting)

    def _resolve(self, waiting: Waiting, reading: str | None = None) -> None:
        """What an operation says of its shapes, as certain as may be; `reading`: which product a juxtaposition is."""
        self._waiting.remove(waiting)
        self._state(waiting, reading)

    def _state(self, waiting: Waiting, reading: str | None = None) -> None:
        node, left, right, out = waiting
        if isinstance(node.op, Juxtapose):
            reading = reading or self._reading(left, right) or self._likely(left, right)
            if reading == "product":
                self._agree_dim(left[1], right[0], node, left, right, PRODUCT)
                self._agree(out, (left[0], right[1]), node, PRODUCT)
                return
            if reading == "scalar":
                self._agree(left, (ONE, ONE), node, "a factor that scales a matrix is a scalar")
        self._elementwise(node, left, right, out)

    def _reading(self, left: Pair, right: Pair) -> str | None:
        """Which product two factors side by side certainly form: entrywise (scaling included), or of matrices."""
        (rows, inner), (other, columns) = self._found(left), self._found(right)
        if self._spreads(left) or self._spreads(right):
            return "entrywise"
        if inner is other or (isinstance(inner, Expr) and inner == other):
            return "product"  # right for a scalar on either side too, since it is 1 x 1
        if inner is ONE and columns is ONE and rows is other:
            return "entrywise"
        if self._is_no_scalar(left) and self._is_no_scalar(right):
            if self._exceeds_one(inner) or self._exceeds_one(columns):
                return "product"
            if inner is ONE and self._exceeds_one(other):
                return "entrywise"
        return None

    def _likely(self, left: Pair, right: Pair) -> str:
        """Which product it is where that is open: of columns entrywise, of matrices if it can be one."""
        inner, other, columns = self._find(left[1]), self._find(right[0]), self._find(right[1])
        if inner is ONE and columns is ONE:
            return "entrywise"
        if inner is ONE and not self._is_no_scalar(left):
            return "scalar"
        return "entrywise" if self._clash(inner, other) else "product"

    def _agree_partly(self, node: ast.BinOp, left: Pair, right: Pair, out: Pair) -> None:
        """What all the products that two factors side by side may form have in common."""
        if isinstance(node.op, Juxtapose):
            if self._is_no_scalar(left):
                self._agree_dim(out[0], left[0], node, left, right, PRODUCT)
            if self._is_no_scalar(right) or self._find(left[1]) is self._find(right[1]) is ONE:
                self._agree_dim(out[1], right[1], node, left, right, PRODUCT)

    def _elementwise(self, node: ast.BinOp, left: Pair, right: Pair, out: Pair) -> None:
        what = f"a {'sum' if isinstance(node.op, (ast.Add, ast.Sub)) else 'Hadamard product'} needs equal shapes"
        if self._spreads(left):
            self._agree(out, right, node, what)
        elif self._spreads(right):
            self._agree(out, left, node, what)
        else:
            self._agree(left, right, node, what)
            self._agree(out, left, node, what)

    def _spreads(self, pair: Pair) -> bool:
        return all(self._find(d) is ONE for d in pair)

    def _both_known(self, waiting: Waiting) -> bool:
        """Neither side can turn out to be a scalar."""
        return all(map(self._is_no_scalar, waiting[1:3]))

    def _is_no_scalar(self, pair: Pair) -> bool:
        return any(map(self._exceeds_one, self._found(pair)))

    @staticmethod
    def _exceeds_one(dim: Dim) -> bool:
        return isinstance(dim, Expr) and dim is not ONE

    def _found(self, pair: Pair) -> Pair:
        return self._find(pair[0]), self._find(pair[1])

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
            raise SystemError_(f"{what}, found {found} in '{typed}'{self._hint(node)}", place)

    def _assume_the_rest(self) -> None:
        """What can still be found out before two shapes that clash are shown."""
        waiting, self._waiting = self._waiting, []
        for entry in waiting:
            with suppress(SystemError_):
                self._state(entry)

    def _show(self, pair: Pair) -> str:
        """`n x m`, `n` for a column, `scalar`; `?` for what is not known yet."""
        rows, columns = (("?" if isinstance(d, Unknown) else str(d)) for d in map(self._find, pair))
        if columns == "1":
            return "scalar" if rows == "1" else rows
        return f"{rows} x {columns}"

    def _hint(self, node: ast.AST) -> str:
        op = node.op if isinstance(node, ast.BinOp) else None
        return next((hint for kind, hint in HINTS if isinstance(op, kind)), "")


HINTS = (
    (ast.Mult, "; * is the Hadamard product, did you mean the matrix product @?"),
    (Juxtapose, "; did you mean a transpose, or an entrywise product?"),
    (ast.MatMult, "; @ is the matrix product, did you mean * or a transpose .T?"),
)
