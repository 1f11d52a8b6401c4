"""Nodes as NumPy source.  Leading axes are time and batch, whatever they are; a formula only knows its last ones.

    form     array
    scalar   (...)
    vector   (..., n)       a column; a row too, which of the two the product around it knows
    matrix   (..., n, m)

What depends on an index is batched, a parameter is not: `W @ x` is `x @ W.T`, so that a whole batch is one product.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from sympy import Expr
from sympy.printing.numpy import NumPyPrinter

from derive import expr, functions
from derive.errors import DeriveError
from derive.expr import Node, Var

SUM, PRODUCT, MATMUL, UNARY, POWER, ATOM = range(6)
# Python reads `*` and `@` from left to right, as one level: what stands on the right of either is UNARY at least.  On the left
# of `@` a product gets brackets all the same, for the reader.


@dataclass(frozen=True)
class Piece:
    """Source text: how tightly it binds, its form, whether it has leading axes."""

    text: str
    level: int
    form: str
    batched: bool

    def at_least(self, level: int) -> str:
        return self.text if self.level >= level else f"({self.text})"


def form_of(node: Node) -> str:
    rows, columns = node.shape
    if rows == 1 and columns == 1:
        return "scalar"
    return "vector" if rows == 1 or columns == 1 else "matrix"


class Writer:
    """Writes nodes; `read(var)` is the source of a variable, `size(dim)` that of a dimension."""

    def __init__(self, read: Callable[[Var], str], size: Callable[[Expr], str], at: Callable[[expr.At], str]):
        self.read, self.size, self.at = read, size, at
        self.used: dict[str, str] = {}
        """Helper functions that the text calls: name to source."""

    def __call__(self, root: Node) -> Piece:
        done: dict[int, Piece] = {}
        for node in expr.walk(root):
            if isinstance(node, Node):
                rule = RULES.get(type(node))
                if rule is None:
                    raise DeriveError(
                        f"there is no rule to write a {type(node).__name__} in NumPy; add one to derive.emit.code.RULES"
                    )
                done[id(node)] = rule(self, node, lambda child: done[id(child)])
        return done[id(root)]

    def number(self, value: Expr) -> str:
        """A number or an expression of the dimensions; Python floats keep the dtype of the arrays."""
        names = {s: self.size(s) for s in value.free_symbols}
        if not names:
            return str(int(value)) if value.is_Integer else repr(float(value))
        text = str(value)
        for symbol, source in names.items():
            text = re.sub(rf"\b{re.escape(str(symbol))}\b", source, text)
        return f"({text})"

    def call(self, name: str, order: int) -> str:
        """The name of a helper function, whose source is kept in `used`."""
        helper = name + {0: "", 1: "_prime"}.get(order, f"_prime_{order}")
        if helper not in self.used:
            self.used[helper] = helper_source(helper, name, order, self)
        return helper


Get = Callable[[Node], Piece]
Rule = Callable[[Writer, Node, Get], Piece]


def _var(w: Writer, node: Var, get: Get) -> Piece:
    return Piece(w.read(node), ATOM, form_of(node), bool(node.index))


def _ones(w: Writer, node: Node, get: Get) -> Piece:
    """Only a 1: in a sum or a product NumPy spreads it.  `full` writes it out where it stands alone."""
    return Piece("1", ATOM, form_of(node), False)


def full(w: Writer, node: Node, get: Get) -> Piece:
    """`node`, with ones written out as an array."""
    piece = get(node)
    if not isinstance(node, expr.Ones) or piece.form == "scalar":
        return piece
    sizes = [w.size(s) for s in node.shape if s != 1]
    return Piece(f"np.ones({sizes[0] if len(sizes) == 1 else '(' + ', '.join(sizes) + ')'})", ATOM, piece.form, False)


def _zero(w: Writer, node: Node, get: Get) -> Piece:
    sizes = [w.size(s) for s in node.shape if s != 1]
    text = "0.0" if not sizes else f"np.zeros({sizes[0] if len(sizes) == 1 else '(' + ', '.join(sizes) + ')'})"
    return Piece(text, ATOM, form_of(node), False)


def _identity(w: Writer, node: Node, get: Get) -> Piece:
    return Piece(f"np.eye({w.size(node.shape[0])})", ATOM, "matrix", False)


def _add(w: Writer, node: Node, get: Get) -> Piece:
    text = ""
    pieces = []
    for term in node.args:
        c, body = expr.split_number(term)
        piece = get(term)
        negative = c.is_number and c < 0
        pieces.append(piece)
        written = _without_sign(w, c, body, get) if negative and text else piece.at_least(PRODUCT if text else SUM)
        text += (f" - {written}" if negative else f" + {written}") if text else written
    return Piece(text, SUM, form_of(node), any(p.batched for p in pieces))


def _without_sign(w: Writer, c: Expr, body: Node, get: Get) -> str:
    piece = get(body)
    if c == -1:
        return piece.at_least(PRODUCT)
    return f"{w.number(-c)} * {piece.at_least(UNARY)}"


def _scale(w: Writer, node: Node, get: Get) -> Piece:
    c, body = node.args
    piece = get(body)
    if isinstance(c, Node):
        scalar = get(c)
        factor = scalar.at_least(ATOM) + _axes(scalar, piece.form)
        if isinstance(body, expr.Ones) and piece.form == "scalar":
            return scalar
        return Piece(f"{factor} * {piece.at_least(UNARY)}", PRODUCT, piece.form, scalar.batched or piece.batched)
    if isinstance(body, expr.Ones):
        return Piece(w.number(c), ATOM if c.is_nonnegative else UNARY, piece.form, False)
    if c == -1:
        return Piece(f"-{piece.at_least(UNARY)}", PRODUCT, piece.form, piece.batched)
    return Piece(f"{w.number(c)} * {piece.at_least(UNARY)}", PRODUCT, piece.form, piece.batched)


def _axes(scalar: Piece, form: str) -> str:
    """The axes that spread a batched scalar over vectors or matrices."""
    if not scalar.batched or form == "scalar":
        return ""
    return "[..., None]" if form == "vector" else "[..., None, None]"


def _had(w: Writer, node: Node, get: Get) -> Piece:
    pieces = [get(f) for f in node.args]
    text = " * ".join(p.at_least(PRODUCT if i == 0 else UNARY) for i, p in enumerate(pieces))
    return Piece(text, PRODUCT, form_of(node), any(p.batched for p in pieces))


def _power(w: Writer, node: Node, get: Get) -> Piece:
    body, exponent = node.args
    piece = get(body)
    if exponent < 0:
        below = piece.at_least(ATOM) if exponent == -1 else f"{piece.at_least(ATOM)} ** {-int(exponent)}"
        return Piece(f"1 / {below}", PRODUCT, piece.form, piece.batched)
    return Piece(f"{piece.at_least(ATOM)} ** {int(exponent)}", POWER, piece.form, piece.batched)


@dataclass(frozen=True)
class Factor:
    """A factor of a matrix product: its piece, and which way it lies."""

    piece: Piece
    lies: str
    """row, column, matrix; `diagonal` for diag(v), given by v"""
    transposed: str | None = None
    """The source of its transpose, where that is shorter"""


def _factor(w: Writer, node: Node, get: Get) -> Factor:
    if isinstance(node, expr.Diag):
        return Factor(full(w, node.args[0], get), "diagonal")
    piece = full(w, node, get)
    lies = "column" if node.shape[1] == 1 else "row" if node.shape[0] == 1 else "matrix"
    if lies == "matrix" and not piece.batched:
        turned = get(node.args[0]).at_least(ATOM) if isinstance(node, expr.Transpose) else f"{piece.at_least(ATOM)}.T"
        return Factor(piece, lies, turned)
    return Factor(piece, lies)


def _mul(w: Writer, node: Node, get: Get) -> Piece:
    """Vectors first: a product that ends in a column is folded from the right, one that begins with a row from the left."""
    factors = [_factor(w, f, get) for f in node.args]
    while len(factors) > 1:
        i = _best(factors)
        factors[i : i + 2] = [_product(factors[i], factors[i + 1])]
    return factors[0].piece


def _best(factors: list[Factor]) -> int:
    """The pair to multiply next: onto a column or a row if there is one, inner before outer products."""
    pairs = [(a.lies, b.lies) for a, b in pairwise(factors)]
    for wanted in (
        ("matrix", "column"),
        ("diagonal", "column"),
        ("row", "matrix"),
        ("row", "diagonal"),
        ("row", "column"),
    ):
        if wanted in pairs:
            return pairs.index(wanted)
    return 0


def _product(a: Factor, b: Factor) -> Factor:
    return PRODUCTS[a.lies, b.lies](a, b)


def _made(text: str, level: int, lies: str, a: Factor, b: Factor) -> Factor:
    form = {"row": "vector", "column": "vector", "scalar": "scalar"}.get(lies, "matrix")
    return Factor(Piece(text, level, form, a.piece.batched or b.piece.batched), lies)


def _matrix_column(a: Factor, b: Factor) -> Factor:
    if a.transposed is not None:
        return _made(f"{b.piece.at_least(MATMUL)} @ {a.transposed}", MATMUL, "column", a, b)
    left, right = a.piece.at_least(MATMUL), b.piece.at_least(ATOM)
    return _made(f"({left} @ {right}[..., None])[..., 0]", ATOM, "column", a, b)


def _row_matrix(a: Factor, b: Factor) -> Factor:
    if not b.piece.batched:
        return _made(f"{a.piece.at_least(MATMUL)} @ {b.piece.at_least(POWER)}", MATMUL, "row", a, b)
    return _made(f"({a.piece.at_least(ATOM)}[..., None, :] @ {b.piece.at_least(ATOM)})[..., 0, :]", ATOM, "row", a, b)


def _row_column(a: Factor, b: Factor) -> Factor:
    return _made(f"np.sum({a.piece.at_least(PRODUCT)} * {b.piece.at_least(UNARY)}, axis=-1)", ATOM, "scalar", a, b)


def _column_row(a: Factor, b: Factor) -> Factor:
    left, right = a.piece.at_least(ATOM), b.piece.at_least(ATOM)
    return _made(f"{left}[..., :, None] * {right}[..., None, :]", PRODUCT, "matrix", a, b)


def _column_scalar(a: Factor, b: Factor) -> Factor:
    scalar = b.piece.at_least(ATOM) + _axes(b.piece, "vector")
    return _made(f"{a.piece.at_least(PRODUCT)} * {scalar}", PRODUCT, "column", a, b)


def _scalar_row(a: Factor, b: Factor) -> Factor:
    scalar = a.piece.at_least(ATOM) + _axes(a.piece, "vector")
    return _made(f"{scalar} * {b.piece.at_least(UNARY)}", PRODUCT, "row", a, b)


def _matrix_matrix(a: Factor, b: Factor) -> Factor:
    return _made(f"{a.piece.at_least(MATMUL)} @ {b.piece.at_least(POWER)}", MATMUL, "matrix", a, b)


def _diagonal_column(a: Factor, b: Factor) -> Factor:
    return _made(f"{a.piece.at_least(PRODUCT)} * {b.piece.at_least(UNARY)}", PRODUCT, b.lies, a, b)


def _row_diagonal(a: Factor, b: Factor) -> Factor:
    return _made(f"{a.piece.at_least(PRODUCT)} * {b.piece.at_least(UNARY)}", PRODUCT, "row", a, b)


def _diagonal_matrix(a: Factor, b: Factor) -> Factor:
    return _made(f"{a.piece.at_least(ATOM)}[..., :, None] * {b.piece.at_least(UNARY)}", PRODUCT, "matrix", a, b)


def _matrix_diagonal(a: Factor, b: Factor) -> Factor:
    return _made(f"{a.piece.at_least(MATMUL)} * {b.piece.at_least(ATOM)}[..., None, :]", PRODUCT, "matrix", a, b)


PRODUCTS: dict[tuple[str, str], Callable[[Factor, Factor], Factor]] = {
    ("matrix", "column"): _matrix_column,
    ("row", "matrix"): _row_matrix,
    ("row", "column"): _row_column,
    ("column", "row"): _column_row,
    ("matrix", "matrix"): _matrix_matrix,
    ("column", "scalar"): _column_scalar,
    ("scalar", "row"): _scalar_row,
    ("diagonal", "column"): _diagonal_column,
    ("row", "diagonal"): _row_diagonal,
    ("diagonal", "matrix"): _diagonal_matrix,
    ("matrix", "diagonal"): _matrix_diagonal,
}


def _transpose(w: Writer, node: Node, get: Get) -> Piece:
    piece = full(w, node.args[0], get)
    if piece.form != "matrix":
        return piece
    if piece.batched:
        return Piece(f"np.swapaxes({piece.text}, -1, -2)", ATOM, "matrix", True)
    return Piece(f"{piece.at_least(ATOM)}.T", ATOM, "matrix", False)


def _diag(w: Writer, node: Node, get: Get) -> Piece:
    piece = full(w, node.args[0], get)
    n = w.size(node.shape[0])
    return Piece(
        f"{piece.at_least(ATOM)}[..., :, None] * np.eye({n}, dtype={_dtype(piece)})", PRODUCT, "matrix", piece.batched
    )


def _dtype(piece: Piece) -> str:
    name = re.match(r"\w+", piece.text.lstrip("(-"))
    return f"np.result_type({piece.text})" if not (name and piece.text.isidentifier()) else f"{piece.text}.dtype"


def _diagonal(w: Writer, node: Node, get: Get) -> Piece:
    piece = get(node.args[0])
    return Piece(f"np.diagonal({piece.text}, axis1=-2, axis2=-1)", ATOM, "vector", piece.batched)


def _inner(w: Writer, node: Node, get: Get) -> Piece:
    a, b = (full(w, n, get) for n in node.args)
    text = f"np.sum({a.at_least(PRODUCT)} * {b.at_least(UNARY)}, axis=(-2, -1))"
    return Piece(text, ATOM, "scalar", a.batched or b.batched)


def _apply(w: Writer, node: expr.Apply, get: Get) -> Piece:
    pieces = [full(w, a, get) for a in node.arguments]
    batched = any(p.batched for p in pieces)
    row = functions.row(node.function)
    template = row.numpy if isinstance(row, functions.Elementwise) and node.order == 0 else None
    arguments = ", ".join(p.text for p in pieces)
    if template is not None and re.fullmatch(r"np\.\w+\((\{[xy]\}|, )+\)", template):
        return Piece(template.format(x=pieces[0].text, y=pieces[-1].text), ATOM, form_of(node), batched)
    return Piece(f"{w.call(node.function, node.order)}({arguments})", ATOM, form_of(node), batched)


def _at(w: Writer, node: expr.At, get: Get) -> Piece:
    return Piece(w.at(node), ATOM, "scalar", True)


def _sum(w: Writer, node: expr.Sum, get: Get) -> Piece:
    raise DeriveError("a sum over an index inside a formula has no NumPy form; ask for it with numbers, by unroll")


RULES: dict[type, Rule] = {
    expr.Var: _var,  # type: ignore[dict-item]
    expr.Zero: _zero,
    expr.Ones: _ones,
    expr.Identity: _identity,
    expr.Add: _add,
    expr.Scale: _scale,
    expr.Had: _had,
    expr.Power: _power,
    expr.Mul: _mul,
    expr.Transpose: _transpose,
    expr.Diag: _diag,
    expr.Diagonal: _diagonal,
    expr.Inner: _inner,
    expr.Apply: _apply,  # type: ignore[dict-item]
    expr.At: _at,  # type: ignore[dict-item]
    expr.Labelled: lambda w, node, get: get(node.args[0]),
    expr.Sum: _sum,  # type: ignore[dict-item]
}


# --- helper functions of a module -----------------------------------------------------------------------------------------

_VECTORIAL = {
    "softmax": '''\
def softmax(x):
    """exp(x) / sum(exp(x)) over the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
''',
    "log_sum_exp": '''\
def log_sum_exp(x):
    """log(sum(exp(x))) over the last axis."""
    top = x.max(axis=-1, keepdims=True)
    return np.log(np.exp(x - top).sum(axis=-1)) + top[..., 0]
''',
    "layer_norm": '''\
def layer_norm(x):
    """(x - mean) / sqrt(variance + 1e-5) over the last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
''',
    "cross_entropy": '''\
def cross_entropy(o, y):
    """-sum(y * log(softmax(o))) for a distribution y."""
    top = o.max(axis=-1, keepdims=True)
    return np.log(np.exp(o - top).sum(axis=-1)) + top[..., 0] - (y * o).sum(axis=-1)
''',
    "squared_error": '''\
def squared_error(o, y):
    """Half the squared distance."""
    return 0.5 * ((o - y) ** 2).sum(axis=-1)
''',
    "logistic": '''\
def logistic(o, y):
    """-sum(y * log(sigmoid(o)) + (1 - y) * log(1 - sigmoid(o)))."""
    return (np.logaddexp(o, 0.0) - y * o).sum(axis=-1)
''',
}

ERF = "_erf = np.vectorize(math.erf, otypes=[float])\n"


def helper_source(helper: str, name: str, order: int, writer: Writer) -> str:
    """The source of a helper function.  Its result has the dtype of its argument."""
    if order == 0 and name in _VECTORIAL:
        return _VECTORIAL[name]
    formula = functions.expression(name, order)
    row = functions.row(name)
    title = f"{name}{chr(39) * order}, entry by entry."
    if formula is None:
        key = name + "'" * order
        return f'def {helper}(x):\n    """{title}"""\n    return UNKNOWN["{key}"](x)\n'
    assert isinstance(row, functions.Elementwise)
    body = row.numpy.format(x="x", y="y") if row.numpy and order == 0 else _written(formula)
    arguments = "x, y" if row.arity == 2 else "x"
    return f'def {helper}({arguments}):\n    """{title}"""\n    return np.asarray({body}, dtype=x.dtype)\n'


class _Printer(NumPyPrinter):  # type: ignore[misc]
    """SymPy's printer for the formulas of the table, with `_erf` for what NumPy lacks."""

    _module = "np"

    def _print_erf(self, e: Expr) -> str:
        return f"_erf({self._print(e.args[0])})"

    def _print_sign(self, e: Expr) -> str:
        return f"np.sign({self._print(e.args[0])})"

    def _print_Piecewise(self, e: Expr) -> str:
        *branches, (last, _) = e.args
        text = self._print(last)
        for value, condition in reversed(branches):
            text = f"np.where({self._print(condition)}, {self._print(value)}, {text})"
        return text

    def _print_Relational(self, e: Expr) -> str:
        return f"{self._print(e.lhs)} {e.rel_op} {self._print(e.rhs)}"

    def _print_Or(self, e: Expr) -> str:
        return " | ".join(f"({self._print(a)})" for a in e.args)

    def _print_And(self, e: Expr) -> str:
        return " & ".join(f"({self._print(a)})" for a in e.args)


def _written(formula: Expr) -> str:
    return str(_Printer({"fully_qualified_modules": True}).doprint(formula)).replace("numpy.", "np.")


def broken(line: str, width: int = 100) -> str:
    """A long assignment in brackets, one term a line."""
    if len(line) <= width:
        return line
    head, operator, tail = re.match(r"([^=]*?) ([+]?=) (.*)", line).groups()  # type: ignore[union-attr]
    opening, inside = "(", tail
    call = re.fullmatch(r"([\w.]+\()(.*)\)", tail)
    if call and _closes_last(tail):
        opening, inside = call.groups()
    for separators in (("+", "-"), ("*",), ("@",)):
        parts = _split(inside, separators)
        if len(parts) > 1:
            return f"{head} {operator} {opening}\n" + "".join(f"    {p}\n" for p in parts) + ")"
    return line


def _closes_last(text: str) -> bool:
    """Whether the first bracket closes at the end of the text."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and character == ")":
            return i == len(text) - 1
    return False


def _split(text: str, separators: tuple[str, ...]) -> list[str]:
    """At the spaced operators outside all brackets; each part begins with its operator."""
    parts, start, depth = [], 0, 0
    for i, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and character in separators and text[i - 1 : i + 2] == f" {character} ":
            parts.append(text[start:i].rstrip())
            start = i
    return [*parts, text[start:]]


def identifier(name: str, taken: tuple[str, ...] = ()) -> str:
    """`name` as a Python name that means nothing else."""
    return f"{name}_" if keyword.iskeyword(name) or name in taken else name
