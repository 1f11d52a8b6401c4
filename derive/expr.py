"""The nodes: what a formula of a recurrent cell is made of.

Every node is a SymPy `MatrixExpr` of our own class, built by `Basic.__new__` with no evaluation and interned, so that equal
nodes are the same object.  Shapes are checked when a node is built: a column vector is `(n, 1)`, a row `(1, n)`, a true
scalar `(1, 1)`.  The functions in lower case (`add`, `had`, `mul`, …) are how nodes are built: they drop zeros and ones,
flatten, pull numbers to the front and keep the author's order.  Trees may be deep: everything here walks with a stack.

    Var         h[t-1], W_z, h_bar[t+1]     a name at an index; `marks` say what was derived of it: bar, dot, delta, …
    Zero Ones Identity                      constants of a shape
    Add Scale                               sums; a number or a true scalar times anything
    Had Power                               Hadamard products; entrywise integer powers
    Mul Transpose Diag Diagonal Inner       matrix algebra; `Diagonal` takes the diagonal out, `Inner` is sum(A * B)
    Apply                                   a row of `derive.functions`, or its derivative (`order`)
    At                                      1 where the index is the given point, else 0
    Sum Product                             over an index, both ends included, empty if hi < lo; a product says its order
    Partial                                 ∂y/∂x, total or immediate, not worked out
    Pulled GradientOf                       (∂y/∂x)* d, and ∂L_t/∂x, for an x that is a matrix
    Block                                   a matrix of matrices
    Entry Norm Extremum                     one entry of a vector or matrix; ‖x‖; max over all numbers
    MatrixPower Cases                       W W … W; one value or another, as conditions on indices or values say
    Labelled                                an expression with a name under its brace

What is said about nodes is a `Statement`: `Equals`, `Relation`, `Implies`, a `Path`, `Words`, or `Otherwise`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from sympy import Basic, Expr, Integer, Symbol, Tuple, sympify
from sympy.core.symbol import Str
from sympy.matrices.expressions.matexpr import MatrixExpr

from derive import functions
from derive.errors import DeriveError, ShapeError

Shape: TypeAlias = "tuple[Expr, Expr]"
ONE = Integer(1)
SCALAR: Shape = (ONE, ONE)

_interned: WeakValueDictionary[tuple[Any, ...], Node] = WeakValueDictionary()


class Node(MatrixExpr):
    """One node.  `Node(*args)` is the bare, interned constructor; `build` is the simplifying one."""

    _op_priority = 20.0

    def __new__(cls, *args: Basic) -> Node:
        key = (cls, *args)
        node = _interned.get(key)
        if node is None:
            # A Python 1 has the hash of SymPy's and would be found in its place.
            args = tuple(a if isinstance(a, Basic) else sympify(a) for a in args)
            node = Basic.__new__(cls, *args)
            node._shape = cls.shape_of(*args)
            _interned[key] = node
        return node

    @classmethod
    def shape_of(cls, *args: Any) -> Shape:
        raise NotImplementedError

    @classmethod
    def build(cls, *args: Any) -> Node:
        """Build again from changed arguments, simplifying."""
        return cls(*args)

    @property
    def shape(self) -> Shape:
        return self._shape

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    # Equal nodes are one object, so that its identity is its hash.
    __hash__ = object.__hash__

    def __add__(self, other: Any) -> Node:
        return add(self, as_node(other, self.shape))

    def __radd__(self, other: Any) -> Node:
        return add(as_node(other, self.shape), self)

    def __sub__(self, other: Any) -> Node:
        return add(self, scale(-1, as_node(other, self.shape)))

    def __rsub__(self, other: Any) -> Node:
        return add(as_node(other, self.shape), scale(-1, self))

    def __neg__(self) -> Node:
        return scale(-1, self)

    def __mul__(self, other: Any) -> Node:
        return had(self, other) if isinstance(other, Node) else scale(other, self)

    def __rmul__(self, other: Any) -> Node:
        return scale(other, self)

    def __matmul__(self, other: Any) -> Node:
        return mul(self, other)

    def __pow__(self, other: Any) -> Node:
        return power(self, other)

    def __truediv__(self, other: Any) -> Node:
        return had(self, power(other, -1)) if isinstance(other, Node) else scale(ONE / sympify(other), self)

    @property
    def T(self) -> Node:
        return transpose(self)

    def _latex(self, printer: Any) -> str:
        from derive.notation import Notation
        from derive.printing import latex

        return latex(self, Notation())

    def _sympystr(self, printer: Any) -> str:
        from derive.notation import Notation
        from derive.printing import text

        return text(self, Notation())

    _pretty = None

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self._latex(None)}$"


def is_scalar(node: Node) -> bool:
    rows, columns = node._shape
    return rows is ONE and columns is ONE


def is_column(node: Node) -> bool:
    return node._shape[1] is ONE


def show_shape(shape: Shape) -> str:
    """`n x m`, `n` for a column, `scalar`."""
    rows, columns = shape
    if shape == SCALAR:
        return "scalar"
    return str(rows) if columns == 1 else f"{rows} x {columns}"


def _same_shape(what: str, nodes: Sequence[Node]) -> Shape:
    first = nodes[0]._shape
    for node in nodes[1:]:
        if node._shape is not first and node._shape != first:
            raise ShapeError(f"{what} needs equal shapes, found {show_shape(first)} and {show_shape(node.shape)}")
    return first


class Var(Node):
    """`base`, with marks and at an index: `Var("h", ("bar",), (t + 1,), (n, 1))` is `h_bar[t+1]`.  A parameter has no index."""

    base: str
    marks: tuple[str, ...]
    name: str
    """The name as typed: `h_bar`."""
    index: tuple[Expr, ...]

    def __new__(cls, base: Any, marks: Any, index: Any, rows: Any, columns: Any) -> Var:
        if not isinstance(rows, Expr) or not isinstance(columns, Expr):
            rows, columns = sympify(rows), sympify(columns)
        if not isinstance(index, Tuple):
            index = Tuple(*index)
        var: Any = Node.__new__(cls, _str(base), _marks(marks), index, rows, columns)
        if not hasattr(var, "name"):
            var.base = str(var.args[0])
            var.marks = tuple(map(str, var.args[1].args))
            var.name = "_".join((var.base, *var.marks))
            var.index = var.args[2].args
        return var

    @classmethod
    def shape_of(cls, base: Str, marks: Tuple, index: Tuple, rows: Expr, columns: Expr) -> Shape:
        return rows, columns

    @property
    def stem(self) -> str:
        """The name without its last mark: `h` of `h_bar`."""
        return "_".join((self.base, *self.marks[:-1]))

    def at(self, index: Iterable[Any]) -> Var:
        return Var(self.args[0], self.args[1], tuple(index), *self.shape)

    @lru_cache(maxsize=4096)  # noqa: B019 - nodes are interned, and few
    def marked(self, *marks: str) -> Var:
        return Var(self.args[0], (*self.marks, *marks), self.index, *self.shape)


def _str(value: Any) -> Str:
    return value if isinstance(value, Str) else Str(str(value))


def _marks(marks: Any) -> Tuple:
    return marks if isinstance(marks, Tuple) else Tuple(*map(_str, marks))


class _Constant(Node):
    @classmethod
    def shape_of(cls, rows: Expr, columns: Expr) -> Shape:
        return rows, columns


class Zero(_Constant):
    """All entries 0."""


class Ones(_Constant):
    """All entries 1: what a number becomes beside a vector (`1 - z`)."""


class Identity(Node):
    """`I_n`."""

    @classmethod
    def shape_of(cls, n: Expr) -> Shape:
        return n, n


class Add(Node):
    @classmethod
    def shape_of(cls, *terms: Node) -> Shape:
        return _same_shape("a sum", terms)

    @classmethod
    def build(cls, *terms: Node) -> Node:
        return add(*terms)


class Scale(Node):
    """`c x`: `c` is a number (any SymPy expression of the dimensions) or a true scalar node."""

    @classmethod
    def shape_of(cls, c: Expr, body: Node) -> Shape:
        return body.shape

    @classmethod
    def build(cls, c: Any, body: Node) -> Node:
        return scale(c, body)


class Had(Node):
    @classmethod
    def shape_of(cls, *factors: Node) -> Shape:
        return _same_shape("a Hadamard product", factors)

    @classmethod
    def build(cls, *factors: Node) -> Node:
        return had(*factors)


class Power(Node):
    """`x**k`, entry by entry, for an integer `k`, which may be an index expression: `w**(T - t)`."""

    @classmethod
    def shape_of(cls, body: Node, exponent: Expr) -> Shape:
        return body.shape

    @classmethod
    def build(cls, body: Node, exponent: Any) -> Node:
        return power(body, exponent)


class Mul(Node):
    @classmethod
    def shape_of(cls, *factors: Node) -> Shape:
        for left, right in pairwise(factors):
            if left.shape[1] != right.shape[0]:
                raise ShapeError(
                    "a matrix product needs inner dimensions that agree, "
                    f"found {show_shape(left.shape)} @ {show_shape(right.shape)}"
                )
        return factors[0].shape[0], factors[-1].shape[1]

    @classmethod
    def build(cls, *factors: Node) -> Node:
        return mul(*factors)


class Transpose(Node):
    @classmethod
    def shape_of(cls, body: Node) -> Shape:
        return body.shape[1], body.shape[0]

    @classmethod
    def build(cls, body: Node) -> Node:
        return transpose(body)


class Diag(Node):
    """`diag(v)`, the square matrix with the column `v` on its diagonal."""

    @classmethod
    def shape_of(cls, body: Node) -> Shape:
        if not is_column(body):
            raise ShapeError(f"diag takes a column vector, found {show_shape(body.shape)}")
        return body.shape[0], body.shape[0]

    @classmethod
    def build(cls, body: Node) -> Node:
        return diag(body)


class Diagonal(Node):
    """The diagonal of a square matrix, as a column."""

    @classmethod
    def shape_of(cls, body: Node) -> Shape:
        return body.shape[0], ONE

    @classmethod
    def build(cls, body: Node) -> Node:
        return Zero(body.shape[0], ONE) if isinstance(body, Zero) else cls(body)


class Inner(Node):
    """`<A, B> = sum(A * B)`, a true scalar, for matrices."""

    @classmethod
    def shape_of(cls, left: Node, right: Node) -> Shape:
        _same_shape("an inner product", (left, right))
        return SCALAR

    @classmethod
    def build(cls, left: Node, right: Node) -> Node:
        return inner(left, right)


class Apply(Node):
    """The `order`-th derivative of the function `name` at its arguments (order 0: the function)."""

    def __new__(cls, name: Any, order: Any, *arguments: Node) -> Apply:
        return Node.__new__(cls, _str(name), sympify(order), *arguments)  # type: ignore[return-value]

    @classmethod
    def shape_of(cls, name: Str, order: Expr, *arguments: Node) -> Shape:
        if len(arguments) > 1:
            _same_shape(str(name), arguments)
        row = functions.row(name.name)
        if not isinstance(row, functions.Elementwise) and not is_column(arguments[0]):
            raise ShapeError(f"{name} takes a column vector, found {show_shape(arguments[0].shape)}")
        return SCALAR if row.result == "scalar" else arguments[0].shape

    @property
    def function(self) -> str:
        return self.args[0].name

    @property
    def order(self) -> int:
        return int(self.args[1])

    @property
    def arguments(self) -> tuple[Node, ...]:
        return self.args[2:]


class At(Node):
    """1 where `index == point`, else 0; a true scalar."""

    def __new__(cls, index: Iterable[Any], point: Iterable[Any]) -> Node:
        index, point = Tuple(*index), Tuple(*point)
        if index == point:
            return Ones(ONE, ONE)
        if any((i - p).is_number for i, p in zip(index, point, strict=True) if i != p):
            return Zero(ONE, ONE)
        return Node.__new__(cls, index, point)

    @classmethod
    def shape_of(cls, index: Tuple, point: Tuple) -> Shape:
        return SCALAR

    @property
    def index(self) -> tuple[Expr, ...]:
        return self.args[0].args

    @property
    def point(self) -> tuple[Expr, ...]:
        return self.args[1].args


class Sum(Node):
    """`Σ body` over the ranges `(index, lo, hi)`, both ends included; zero where a range is empty."""

    def __new__(cls, body: Node, *ranges: Any) -> Sum:
        return Node.__new__(cls, body, *(Tuple(*r) for r in ranges))  # type: ignore[return-value]

    @classmethod
    def shape_of(cls, body: Node, *ranges: Tuple) -> Shape:
        return body.shape

    @classmethod
    def build(cls, body: Node, *ranges: Any) -> Node:
        return body if isinstance(body, Zero) else cls(body, *ranges)


class Product(Node):
    """`Π body` over `index = lo … hi`; `descending`: the latest factor stands left.  The identity where the range is empty."""

    def __new__(cls, body: Node, range_: Any, descending: Any = 1) -> Product:
        return Node.__new__(cls, body, Tuple(*range_), sympify(int(descending)))  # type: ignore[return-value]

    @classmethod
    def shape_of(cls, body: Node, range_: Tuple, descending: Expr) -> Shape:
        if body.shape[0] != body.shape[1]:
            raise ShapeError(f"an ordered product needs square factors, found {show_shape(body.shape)}")
        return body.shape

    @classmethod
    def build(cls, body: Node, range_: Any, descending: Any = 1) -> Node:
        return body if isinstance(body, Identity) else cls(body, range_, descending)

    @property
    def descending(self) -> bool:
        return bool(self.args[2])


def _called(node: Node) -> str:
    """How an error calls what is differentiated."""
    return node.name if isinstance(node, Var) else "the expression"


def _quotient(y: Node, x: Var) -> str:
    return f"∂{y.name}/∂{x.name}" if isinstance(y, Var) else f"the derivative of {_called(y)} by {x.name}"


class Partial(Node):
    """`∂y/∂x` of a column (or scalar) by a column, numerator layout: shape (rows of y, rows of x).

    `y` is a variable or any expression.  `immediate`: everything else that the equation of `y` reads is held fixed
    (`∂⁺`); by a parameter that it does not read, what earlier steps have computed.  `held` are
    names held constant, or variables at an index, which are constant there alone.
    """

    def __new__(cls, y: Node, x: Var, immediate: Any = 0, held: Iterable[Any] = ()) -> Partial:
        constant = (name if isinstance(name, Var) else _str(name) for name in held)
        return Node.__new__(cls, y, x, sympify(int(immediate)), Tuple(*constant))  # type: ignore[return-value]

    @classmethod
    def shape_of(cls, y: Node, x: Var, immediate: Expr, held: Tuple) -> Shape:
        if not (is_column(y) and is_column(x)):
            raise ShapeError(
                f"{_quotient(y, x)} is a matrix only between vectors; ask for a gradient, or for the table"
            )
        return y.shape[0], x.shape[0]

    @property
    def immediate(self) -> bool:
        return bool(self.args[2])

    @property
    def held(self) -> tuple[str, ...]:
        """The names that are held constant wherever they stand."""
        return tuple(str(name) for name in self.args[3].args if not isinstance(name, Var))

    @property
    def held_at(self) -> tuple[Var, ...]:
        """What is held constant at one point."""
        return tuple(name for name in self.args[3].args if isinstance(name, Var))


class Pulled(Node):
    """`(∂y/∂x)* d`: the pullback of `d` through the partial of `y` by `x`, the immediate or the total one; of the shape of `x`.

    What stands for `∂y/∂W` where `W` is a matrix; between columns it is `Partial(y, x).T @ d`.
    """

    def __new__(cls, y: Node, x: Var, d: Node, immediate: Any = 1) -> Pulled:
        return Node.__new__(cls, y, x, d, sympify(int(immediate)))  # type: ignore[return-value]

    @classmethod
    def shape_of(cls, y: Node, x: Var, d: Node, immediate: Expr) -> Shape:
        _same_shape(f"the pullback to {x.name}", (y, d))
        return x.shape

    @property
    def immediate(self) -> bool:
        return bool(self.args[3])


class GradientOf(Node):
    """`∂y/∂x` of a true scalar `y`, total or immediate, as a column (or a matrix) of the shape of `x`.

    The gradient of one loss term, or of one entry.
    """

    def __new__(cls, y: Node, x: Var, immediate: Any = 0) -> GradientOf:
        return Node.__new__(cls, y, x, sympify(int(immediate)))  # type: ignore[return-value]

    @classmethod
    def shape_of(cls, y: Node, x: Var, immediate: Expr) -> Shape:
        _same_shape(f"the gradient of {_called(y)}: a scalar", (y, Ones(*SCALAR)))
        return x.shape

    @property
    def immediate(self) -> bool:
        return bool(self.args[2])


class Block(Node):
    """A matrix of matrices, row by row."""

    def __new__(cls, *rows: Any) -> Block:
        return Node.__new__(cls, *(Tuple(*row) for row in rows))  # type: ignore[return-value]

    @classmethod
    def shape_of(cls, *rows: Tuple) -> Shape:
        for row in rows:
            for entry, above in zip(row, rows[0], strict=True):
                if entry.shape[0] != row[0].shape[0] or entry.shape[1] != above.shape[1]:
                    raise ShapeError("the blocks of a block matrix do not fit together")
        return sum((row[0].shape[0] for row in rows), Integer(0)), sum((e.shape[1] for e in rows[0]), Integer(0))


class Entry(Node):
    """`x_i` of a column, `A_ij` of a matrix, counted from 1; a true scalar."""

    def __new__(cls, body: Node, i: Any, j: Any = 1) -> Entry:
        return Node.__new__(cls, body, sympify(i), sympify(j))  # type: ignore[return-value]

    @classmethod
    def shape_of(cls, body: Node, i: Expr, j: Expr) -> Shape:
        for position, size in zip((i, j), body.shape, strict=True):
            if position.is_Integer and (position < 1 or (size.is_Integer and position > size)):
                raise ShapeError(f"there is no entry {i},{j} in {show_shape(body.shape)}")
        return SCALAR

    @classmethod
    def build(cls, body: Node, i: Any, j: Any = 1) -> Node:
        return entry(body, i, j)

    @property
    def position(self) -> tuple[Expr, ...]:
        """`(i,)` of a column, `(i, j)` of a matrix."""
        return self.args[1:2] if is_column(self.args[0]) else self.args[1:]


NORMS = ("", "1", "2", "F", "inf")


class Norm(Node):
    """`‖x‖`, a true scalar: `kind` is one of `NORMS`, the empty one standing for any that is submultiplicative."""

    def __new__(cls, body: Node, kind: Any = "") -> Norm:
        return Node.__new__(cls, body, _str(kind))  # type: ignore[return-value]

    @classmethod
    def shape_of(cls, body: Node, kind: Str) -> Shape:
        if kind.name not in NORMS:
            raise DeriveError(f"a norm is one of {', '.join(NORMS[1:])}, or any; found {kind}")
        return SCALAR

    @property
    def kind(self) -> str:
        return self.args[1].name


class Extremum(Node):
    """`max_u f(u)`, the greatest (`kind` max) or least (min) value that a scalar takes over all numbers `u`."""

    def __new__(cls, kind: Any, body: Node, over: Var) -> Extremum:
        return Node.__new__(cls, _str(kind), body, over)  # type: ignore[return-value]

    @classmethod
    def shape_of(cls, kind: Str, body: Node, over: Var) -> Shape:
        if not (is_scalar(body) and is_scalar(over)):
            raise ShapeError(f"{kind} is taken of a scalar over a scalar, found {show_shape(body.shape)}")
        return SCALAR

    @property
    def kind(self) -> str:
        return self.args[0].name


class MatrixPower(Node):
    """`A A … A` of a square matrix, `exponent` times; -1 is the inverse."""

    def __new__(cls, body: Node, exponent: Any) -> MatrixPower:
        return Node.__new__(cls, body, sympify(exponent))  # type: ignore[return-value]

    @classmethod
    def shape_of(cls, body: Node, exponent: Expr) -> Shape:
        if body.shape[0] != body.shape[1]:
            raise ShapeError(f"a matrix power needs a square matrix, found {show_shape(body.shape)}")
        return body.shape

    @classmethod
    def build(cls, body: Node, exponent: Any) -> Node:
        return matrix_power(body, exponent)


class Cases(Node):
    """The value of the first pair `(value, condition)` whose condition holds; a condition is a `Statement`."""

    def __new__(cls, *pairs: Any) -> Cases:
        return Node.__new__(cls, *(Tuple(*pair) for pair in pairs))  # type: ignore[return-value]

    @classmethod
    def shape_of(cls, *pairs: Tuple) -> Shape:
        return _same_shape("a distinction of cases", [pair[0] for pair in pairs])


class Labelled(Node):
    """`body` with `label` under its brace; means what `body` means."""

    def __new__(cls, body: Node, label: Any) -> Labelled:
        return Node.__new__(cls, body, label if isinstance(label, Basic) else _str(label))  # type: ignore[return-value]

    @classmethod
    def shape_of(cls, body: Node, label: Basic) -> Shape:
        return body.shape


# --- statements -------------------------------------------------------------------------------------------------------


class Statement(Basic):
    """What is said about nodes; it has no value of its own."""

    _latex = Node._latex
    _sympystr = Node._sympystr
    _repr_latex_ = Node._repr_latex_


class Path(Statement):
    """A path through the dependency graph, source first: `h[t-1] -> z[t] -> h[t]`."""

    def __new__(cls, *variables: Var) -> Path:
        return Basic.__new__(cls, *variables)


class _Sided(Statement):
    @property
    def lhs(self) -> Any:
        return self.args[-2]

    @property
    def rhs(self) -> Any:
        return self.args[-1]


class Equals(_Sided):
    """`lhs = rhs`; the right side may be an `Add` whose terms are shown one a line."""

    def __new__(cls, lhs: Basic, rhs: Basic) -> Equals:
        return Basic.__new__(cls, lhs, rhs)


RELATIONS = ("=", "!=", "<", "<=", ">", ">=", "~", "in", "+=", "-=", "->")


class Relation(_Sided):
    """`lhs op rhs`, for an `op` of `RELATIONS` (`~`: about; `+=`: is increased by; `->`: tends to).

    A side is a node, an index expression, or a SymPy set or tuple that `in` asks about.  Equations of nodes are `Equals`;
    a relation `=` is one of indices.
    """

    def __new__(cls, op: Any, lhs: Any, rhs: Any) -> Relation:
        if str(op) not in RELATIONS:
            raise DeriveError(f"a relation is one of {' '.join(RELATIONS)}, found {op}")
        return Basic.__new__(cls, _str(op), sympify(lhs), sympify(rhs))

    @property
    def op(self) -> str:
        return self.args[0].name  # type: ignore[attr-defined]


class Implies(_Sided):
    """`lhs ⇒ rhs`: statements, or a `Tuple` of several that hold together."""

    def __new__(cls, lhs: Basic, rhs: Basic) -> Implies:
        return Basic.__new__(cls, lhs, rhs)


class Words(Statement):
    """A statement in words, which nobody works out."""

    def __new__(cls, text: Any) -> Words:
        return Basic.__new__(cls, _str(text))

    @property
    def text(self) -> str:
        return self.args[0].name  # type: ignore[attr-defined]


class Otherwise(Statement):
    """The condition of the last of several cases."""


# --- building ---------------------------------------------------------------------------------------------------------


def number(value: Any, shape: Shape = SCALAR) -> Node:
    """A number in every entry of `shape`."""
    return scale(value, Ones(*shape))


def as_node(value: Any, shape: Shape) -> Node:
    """`value`, spread over `shape` where it is a number or a true scalar."""
    if not isinstance(value, Node):
        return number(value, shape)
    return scale(value, Ones(*shape)) if is_scalar(value) and shape != SCALAR else value


def as_number(node: Node) -> Expr | None:
    """The number that a scalar node is, if it is one."""
    if isinstance(node, Zero):
        return Integer(0)
    if isinstance(node, Ones):
        return ONE
    if isinstance(node, Scale) and not isinstance(node.args[0], Node) and isinstance(node.args[1], Ones):
        return node.args[0]
    return None


def split_number(node: Node) -> tuple[Expr, Node]:
    """`(c, x)` with `node = c x` and `c` a number."""
    if isinstance(node, Scale) and not isinstance(node.args[0], Node):
        return node.args
    return ONE, node


def scale(c: Any, body: Node) -> Node:
    if isinstance(c, Node):
        value = as_number(c)
        if value is None:
            return _scale_by_node(c, body)
        c = value
    if c is ONE:
        return body
    c = sympify(c)
    if c == 0 or isinstance(body, Zero):
        return Zero(*body.shape)
    factor, body = split_number(body)
    c = _times(c, factor)
    return body if c == 1 else Scale(c, body)


def _times(a: Expr, b: Expr) -> Expr:
    """`a b`; nearly every coefficient is 1."""
    return b if a is ONE else a if b is ONE else a * b


def _scale_by_node(c: Node, body: Node) -> Node:
    if isinstance(body, Zero):
        return body
    a, c = split_number(c)
    b, body = split_number(body)
    if is_scalar(body):
        return scale(a * b, had(c, body))
    if isinstance(body, Scale):
        return scale(a * b, Scale(had(c, body.args[0]), body.args[1]))
    return scale(a * b, Scale(c, body))


def add(*terms: Node) -> Node:
    """The sum, flattened, with equal terms collected in the order in which they first stand."""
    coefficients: dict[Node, Expr] = {}
    pending = [(ONE, term) for term in reversed(terms)]
    while pending:
        c, term = pending.pop()
        factor, body = split_number(term)
        if isinstance(body, Add):
            c = _times(c, factor)
            pending.extend((c, inner_term) for inner_term in reversed(body.args))
        elif not isinstance(body, Zero):
            c = _times(c, factor)
            coefficients[body] = coefficients[body] + c if body in coefficients else c
    kept = [scale(c, body) for body, c in coefficients.items() if c is ONE or c != 0]
    if not kept:
        return Zero(*terms[0].shape)
    _same_shape("a sum", [*terms])
    return kept[0] if len(kept) == 1 else Add(*kept)


def had(*factors: Node) -> Node:
    """The Hadamard product: numbers and true scalars to the front, powers collected, ones dropped."""
    shape = next((f.shape for f in factors if not is_scalar(f)), SCALAR)
    coefficient: Expr = ONE
    scalars: list[Node] = []
    exponents: dict[Node, Expr] = {}
    pending = list(reversed(factors))
    while pending:
        c, body = split_number(pending.pop())
        coefficient = _times(coefficient, c)
        if isinstance(body, Zero):
            return Zero(*shape)
        if isinstance(body, Had):
            pending.extend(reversed(body.args))
        elif isinstance(body, Scale):
            scalars.append(body.args[0])
            pending.append(body.args[1])
        elif is_scalar(body) and shape != SCALAR:
            scalars.append(body)
        elif not isinstance(body, Ones):
            base, exponent = body.args if isinstance(body, Power) else (body, ONE)
            exponents[base] = exponents[base] + exponent if base in exponents else exponent
    kept = [power(base, exponent) for base, exponent in exponents.items() if exponent is ONE or exponent != 0]
    product = Ones(*shape) if not kept else kept[0] if len(kept) == 1 else Had(*kept)
    if scalars:
        product = scale(had(*scalars), product)
    return scale(coefficient, product)


def power(body: Node, exponent: Any) -> Node:
    if exponent is ONE:
        return body
    exponent = sympify(exponent)
    if exponent == 1 or isinstance(body, Ones):
        return body
    if exponent == 0:
        return Ones(*body.shape)
    c, inner_body = split_number(body)
    if c != 1:
        return scale(c**exponent, power(inner_body, exponent))
    if isinstance(body, Power):
        return power(body.args[0], body.args[1] * exponent)
    return Power(body, exponent)


def mul(*factors: Node) -> Node:
    """The matrix product: flat, identities dropped, scalars to the front; `diag(a) x` of a column is `a * x`."""
    Mul.shape_of(*_without_scalars(factors))
    coefficient: Expr = ONE
    scalars: list[Node] = []
    flat: list[Node] = []
    pending = list(reversed(factors))
    while pending:
        c, body = split_number(pending.pop())
        coefficient = _times(coefficient, c)
        if isinstance(body, Mul):
            pending.extend(reversed(body.args))
        elif isinstance(body, Scale):
            scalars.append(body.args[0])
            pending.append(body.args[1])
        elif isinstance(body, Identity):
            continue
        elif is_scalar(body):
            scalars.append(body)
        else:
            flat.append(body)
    shape = _product_shape(factors)
    if any(isinstance(f, Zero) for f in flat) or any(isinstance(s, Zero) for s in scalars) or coefficient == 0:
        return Zero(*shape)
    body = _product(flat) if flat else (Ones(*SCALAR) if shape == SCALAR else Identity(shape[0]))
    if scalars:
        body = scale(had(*scalars), body)
    return scale(coefficient, body)


def _without_scalars(factors: Sequence[Node]) -> list[Node]:
    return [f for f in factors if not is_scalar(f)] or [factors[0]]


def _product_shape(factors: Sequence[Node]) -> Shape:
    kept = _without_scalars(factors)
    return kept[0].shape[0], kept[-1].shape[1]


def _product(factors: list[Node]) -> Node:
    """Right to left, so that a diagonal before a column becomes a Hadamard product, and two diagonals one."""
    right: list[Node] = []
    for factor in reversed(factors):
        if isinstance(factor, Diag) and right:
            if is_column(right[-1]):
                rest = right[0] if len(right) == 1 else Mul(*right)
                right = [had(factor.args[0], rest)]
                continue
            if isinstance(right[0], Diag):
                right[0] = diag(had(factor.args[0], right[0].args[0]))
                if isinstance(right[0], Identity) and len(right) > 1:
                    right.pop(0)
                continue
        right.insert(0, factor)
    return right[0] if len(right) == 1 else Mul(*right)


def transpose(body: Node) -> Node:
    if is_scalar(body) or isinstance(body, (Identity, Diag)):
        return body
    if isinstance(body, Transpose):
        return body.args[0]
    if isinstance(body, (Zero, Ones)):
        return type(body)(body.args[1], body.args[0])
    if isinstance(body, Mul):
        return mul(*(transpose(f) for f in reversed(body.args)))
    if isinstance(body, Add):
        return add(*map(transpose, body.args))
    if isinstance(body, Scale):
        return scale(body.args[0], transpose(body.args[1]))
    if isinstance(body, Sum):
        return Sum(transpose(body.args[0]), *body.args[1:])
    if isinstance(body, Product):
        return Product(transpose(body.args[0]), body.args[1], not body.descending)
    if isinstance(body, Labelled):
        return Labelled(transpose(body.args[0]), body.args[1])
    if isinstance(body, Block):
        return Block(*([transpose(row[j]) for row in body.args] for j in range(len(body.args[0]))))
    return Transpose(body)


def diag(body: Node) -> Node:
    if isinstance(body, Ones):
        return Identity(body.shape[0])
    if isinstance(body, Zero):
        return Zero(body.shape[0], body.shape[0])
    if is_scalar(body):
        return body
    if isinstance(body, Scale):
        return scale(body.args[0], diag(body.args[1]))
    return Diag(body)


def inner(left: Node, right: Node) -> Node:
    """`sum(left * right)`; for columns `left.T @ right`."""
    if is_scalar(left):
        return had(left, right)
    if is_column(left):
        return mul(transpose(left), right)
    a, left = split_number(left)
    b, right = split_number(right)
    if isinstance(left, Zero) or isinstance(right, Zero):
        return Zero(*SCALAR)
    return scale(a * b, Inner(left, right))


def entry(body: Node, i: Any, j: Any = 1) -> Node:
    if isinstance(body, Zero):
        return Zero(*SCALAR)
    return body if is_scalar(body) and i == j == 1 else Entry(body, i, j)


def matrix_power(body: Node, exponent: Any) -> Node:
    exponent = sympify(exponent)
    if is_scalar(body):
        return power(body, exponent)
    if exponent == 1:
        return body
    if exponent == 0 or isinstance(body, Identity):
        return Identity(MatrixPower.shape_of(body, exponent)[0])
    return MatrixPower(body, exponent)


def apply(name: str, *arguments: Node, order: int = 0) -> Node:
    return Apply(name, order, *arguments)


def entries_sum(body: Node) -> Node:
    """The sum of all entries."""
    return inner(Ones(*body.shape), body)


# --- walking ----------------------------------------------------------------------------------------------------------


def walk(root: Basic) -> tuple[Basic, ...]:
    """Every distinct sub-expression, children before parents, each once, in a fixed order."""
    known = getattr(root, "_walk", None)
    if known is None:
        known = _walk(root)
        if isinstance(root, Node):
            root._walk = known
    return known


def _walk(root: Basic) -> tuple[Basic, ...]:
    seen: set[int] = set()
    order: list[Basic] = []
    pending: list[tuple[Basic, bool]] = [(root, False)]
    while pending:
        node, done = pending.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            if isinstance(node, (Var, At)):
                order.append(node)
                continue
            pending.append((node, True))
            pending.extend(
                (child, False) for child in reversed(node.args) if isinstance(child, (Node, Tuple, Statement))
            )
    return tuple(order)


def variables(root: Basic) -> tuple[Var, ...]:
    """The distinct `Var`s in reading order."""
    known = getattr(root, "_variables", None)
    if known is None:
        known = tuple(node for node in walk(root) if isinstance(node, Var))
        if isinstance(root, Node):
            root._variables = known
    return known


def rewrite(root: Any, leaf: Callable[[Basic], Basic]) -> Any:
    """`root` with every node replaced by `leaf(node)`, bottom up, and everything above simplified anew.

    What is left of a node whose parts have been replaced may be one of these parts: that one is not replaced again.
    """
    done: dict[int, Basic] = {}
    changed: set[int] = set()
    for node in walk(root):
        rebuilt = node
        parts: tuple[Basic, ...] = ()
        if changed and not isinstance(node, (Var, At)) and not changed.isdisjoint(map(id, node.args)):
            parts = tuple(done.get(id(a), a) for a in node.args)
            rebuilt = node.build(*parts) if isinstance(node, Node) else node.func(*parts)
        done[id(node)] = new = rebuilt if any(rebuilt is part for part in parts) else leaf(rebuilt)
        if new is not node:
            changed.add(id(node))
    return done[id(root)]


def replace(root: Any, mapping: Mapping[Node, Node]) -> Any:
    """`root` with nodes exchanged as `mapping` says."""
    return rewrite(root, lambda node: mapping.get(node, node)) if mapping else root  # type: ignore[call-overload]


def at(root: Any, index: Mapping[Symbol, Any]) -> Any:
    """`root` with index symbols (or lengths) replaced everywhere: `at(e, {t: t + 1})`."""
    return _at(root, tuple((k, sympify(v)) for k, v in index.items())) if index else root


_INDEXED_ARGS = (Entry, Power, MatrixPower, Scale, Relation)
"""What has index expressions among its arguments."""


@lru_cache(maxsize=1 << 14)
def _at(root: Any, items: tuple[tuple[Symbol, Expr], ...]) -> Any:
    """Bottom up; the index expressions of a node are exchanged before it is built anew, which may simplify it away."""
    swap = dict(items)
    moved: dict[Basic, Basic] = {}
    done: dict[int, Basic] = {}

    def move(i: Basic) -> Basic:
        if i not in moved:
            moved[i] = i.xreplace(swap)
        return moved[i]

    def new(node: Basic) -> Basic:
        if isinstance(node, Var):
            return node.at(map(move, node.index)) if node.index else node
        if isinstance(node, At):
            return At(map(move, node.index), map(move, node.point))
        indexed = isinstance(node, (*_INDEXED_ARGS, Tuple))
        args = tuple(
            done[id(a)] if id(a) in done else move(a) if indexed and isinstance(a, Expr) else a for a in node.args
        )
        if all(a is b for a, b in zip(args, node.args, strict=True)):
            return node
        return node.build(*args) if isinstance(node, Node) else node.func(*args)

    for node in walk(root):
        done[id(node)] = new(node)
    return done[id(root)]


def strip_labels(root: Any) -> Any:
    """`root` without its underbraces."""
    return rewrite(root, lambda node: node.args[0] if isinstance(node, Labelled) else node)
