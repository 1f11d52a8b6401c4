"""Nodes as NumPy source, whatever the leading axes are: one step or all of them, one sample or a batch.

    kind      shape     array
    scalar    1 x 1     (...)
    column    n x 1     (..., n)
    row       1 x n     (..., n)
    matrix    n x m     (..., n, m)

What depends on an index has leading axes (it is *batched*), a parameter has none: `W @ x` is `x @ W.T`, one product for all.
`RULES` has a row for every kind of node, `PRODUCTS` one for every pair of kinds in a matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from typing import Any, TypeAlias

from sympy import Basic, Expr, Rational

from derive import expr, functions
from derive.emit import library
from derive.errors import DeriveError
from derive.expr import Node, Var
from derive.schedule.terms import outer_factors

SCALAR, COLUMN, ROW, MATRIX = "scalar", "column", "row", "matrix"
RANK = {SCALAR: 0, COLUMN: 1, ROW: 1, MATRIX: 2}

SUM, MATMUL, PRODUCT, POWER, ATOM = range(5)
"""How tightly source binds.  `a @ b` gets brackets inside `*` and `/`, so that nobody has to count from the left."""


def kind_of(node: Node) -> str:
    rows, columns = node.shape
    if columns == 1:
        return SCALAR if rows == 1 else COLUMN
    return ROW if rows == 1 else MATRIX


@dataclass(frozen=True)
class Value:
    """A piece of source and what it is worth.

    `loose`: entries that are all equal are written once, `1` for a vector of ones; a sum or a product spreads them.
    `flipped`: the source of the transpose of an unbatched matrix, where that is a name.
    """

    text: str
    level: int
    kind: str
    batched: bool
    loose: bool = False
    flipped: str = ""

    def at_least(self, level: int) -> str:
        """The source, in brackets where it binds less tightly than `level`."""
        return self.text if self.level >= level else f"({self.text})"

    def lifted(self, kind: str) -> str:
        """A scalar's source, its last axes as many as `kind` has: `a[t][..., None]`."""
        if not self.batched or kind == SCALAR:
            return self.text
        return f"{self.at_least(ATOM)}[..., {', '.join(['None'] * RANK[kind])}]"


class ArrayPrinter(library.FormulaPrinter):
    """SymPy's NumPy printer, taught our nodes; `lambdify` takes it as it is.

    `read(var)` and `size(dimension)` say what variables and dimensions are called, `index(expression)` a position on the
    lattice; `dtype` is the source of the dtype.  `called` collects the functions of `derive.emit.library`.
    """

    def __init__(
        self,
        read: Callable[[Var], str],
        size: Callable[[Expr], str],
        index: Callable[[Expr], str] = str,
        dtype: str = "dtype",
    ):
        super().__init__({"fully_qualified_modules": True})
        self.read, self.size, self.index, self.dtype = read, size, index, dtype
        self.called: dict[str, tuple[str, int]] = {}

    def doprint(self, e: Any) -> str:
        return self.full(self.value(e), e).text if isinstance(e, Node) else super().doprint(e)

    def value(self, root: Node) -> Value:
        """The source of a node, its parts first, so that the depth of a formula does not matter."""
        done: dict[Basic, Value] = {}
        for node in expr.walk(root):
            if isinstance(node, Node):
                done[node] = self._rule(node)(self, node, done.__getitem__)
        return done[root]

    def _rule(self, node: Node) -> Rule:
        rule = RULES.get(type(node))
        if rule is None:
            raise DeriveError(f"derive has no rule to write {type(node).__name__} in NumPy: {expr.strip_labels(node)}")
        return rule

    def full(self, value: Value, node: Node) -> Value:
        """`value` with every entry there, as a function or a matrix product needs it."""
        if not value.loose:
            return value
        sizes = [self.size(n) for n in node.shape if n != 1]
        shape = sizes[0] if len(sizes) == 1 else f"({', '.join(sizes)})"
        ones = f"np.ones({shape}, dtype={self.dtype})"
        if value.text == "1":
            return replace(value, text=ones, level=ATOM, loose=False)
        return replace(value, text=f"{value.at_least(PRODUCT)} * {ones}", level=PRODUCT, loose=False)

    def number(self, c: Expr) -> str:
        """A number, or an expression of the dimensions, as Python writes it; such numbers never change a dtype."""
        if c.is_Rational:
            decimal = repr(float(c))
            return str(c) if c.is_Integer else decimal if Rational(decimal) == c else f"{c.p} / {c.q}"
        if not c.free_symbols:
            return repr(float(c))
        return super().doprint(c)

    def _print_Symbol(self, e: Any) -> str:
        return self.size(e)

    def call(self, name: str, *arguments: str, order: int = 0) -> str:
        """A call of a function of the library."""
        self.called[library.function_name(name, order)] = (name, order)
        return f"{library.function_name(name, order)}({', '.join(arguments)})"


Get: TypeAlias = "Callable[[Basic], Value]"
Rule: TypeAlias = "Callable[[ArrayPrinter, Any, Get], Value]"


# --- constants and sums -----------------------------------------------------------------------------------------------


def _var(p: ArrayPrinter, node: Var, get: Get) -> Value:
    text, batched = p.read(node), bool(node.index)
    return Value(text, ATOM, kind_of(node), batched, flipped="" if batched else f"{text}.T")


def _constant(text: str) -> Rule:
    def rule(p: ArrayPrinter, node: Node, get: Get) -> Value:
        return Value(text, ATOM, kind_of(node), False, loose=kind_of(node) != SCALAR)

    return rule


def _identity(p: ArrayPrinter, node: Node, get: Get) -> Value:
    text = f"np.eye({p.size(node.shape[0])}, dtype={p.dtype})"
    return Value(text, ATOM, MATRIX, False, flipped=text)


def _at(p: ArrayPrinter, node: expr.At, get: Get) -> Value:
    same = [f"({p.index(i)} == {p.index(k)})" for i, k in zip(node.index, node.point, strict=True) if i != k]
    return Value(" * ".join(same), PRODUCT if len(same) > 1 else ATOM, SCALAR, False)


def _add(p: ArrayPrinter, node: expr.Add, get: Get) -> Value:
    terms = sorted(node.args[: _first_positive(node.args) + 1], key=_is_negative)
    text = ""
    for term in (*terms, *node.args[len(terms) :]):
        if text and _is_negative(term):
            c, body = expr.split_number(term)
            text += f" - {_times(p, -c, get(body)).at_least(MATMUL)}"
        else:
            text += f"{' + ' if text else ''}{get(term).at_least(MATMUL if text else SUM)}"
    values = [get(term) for term in node.args]
    return Value(text, SUM, kind_of(node), any(v.batched for v in values), all(v.loose for v in values))


def _first_positive(terms: Sequence[Node]) -> int:
    return next((i for i, term in enumerate(terms) if not _is_negative(term)), 0)


def _is_negative(term: Node) -> bool:
    c, _ = expr.split_number(term)
    return bool(c.is_negative)


def _scale(p: ArrayPrinter, node: expr.Scale, get: Get) -> Value:
    c, body = node.args
    value = get(body)
    if not isinstance(c, Node):
        return _times(p, c, value)
    scalar = get(c)
    text = scalar.lifted(value.kind)
    level = scalar.level if text == scalar.text else ATOM
    factor = replace(scalar, text=text, level=level, kind=value.kind, loose=value.kind != SCALAR)
    return hadamard([factor, value], [])


def _times(p: ArrayPrinter, c: Expr, value: Value) -> Value:
    """`c` times a value: `-x`, `2 * x`, `x / 3`."""
    if c == 1:
        return value
    if value.text == "1":
        return replace(
            value, text=p.number(c), level=ATOM if p.number(c).isidentifier() or _is_literal(p.number(c)) else SUM
        )
    if c.is_negative:
        positive = _times(p, -c, value)
        return replace(positive, text=f"-{positive.at_least(MATMUL)}", level=SUM, flipped="")
    above, below = c.as_numer_denom()
    body = value.at_least(PRODUCT)
    if c.free_symbols or "/" in p.number(c):
        text = body if above == 1 else f"{_bracketed(p.number(above))} * {body}"
        return replace(value, text=f"{text} / {_bracketed(p.number(below))}", level=PRODUCT, flipped="")
    return replace(value, text=f"{p.number(c)} * {body}", level=PRODUCT, flipped="")


def _is_literal(text: str) -> bool:
    return text[0].isdigit() and " " not in text


def _bracketed(text: str) -> str:
    return f"({text})" if " " in text else text


def _had(p: ArrayPrinter, node: expr.Had, get: Get) -> Value:
    below = [f for f in node.args if isinstance(f, expr.Power) and f.args[1].is_negative]
    return hadamard([get(f) for f in node.args if f not in below], [_raised(get(f.args[0]), -f.args[1]) for f in below])


def hadamard(above: Sequence[Value], below: Sequence[Value]) -> Value:
    """`a * b / c`, entry by entry."""
    written = [v for v in above if v.text != "1"]
    parts = [v.at_least(PRODUCT if i == 0 else POWER) for i, v in enumerate(written)]
    text = " * ".join(parts) or "1"
    for divisor in below:
        text += f" / {divisor.at_least(POWER)}"
    every = [*above, *below]
    single = len(written) == 1 and not below
    level = written[0].level if single else PRODUCT if written or below else ATOM
    kind = max((v.kind for v in every), key=RANK.__getitem__)
    return Value(text, level, kind, any(v.batched for v in every), all(v.loose for v in every))


def _power(p: ArrayPrinter, node: expr.Power, get: Get) -> Value:
    value, exponent = get(node.args[0]), node.args[1]
    if exponent.is_negative:
        return hadamard([replace(value, text="1", level=ATOM, batched=False)], [_raised(value, -exponent)])
    return _raised(value, exponent)


def _raised(value: Value, exponent: Expr) -> Value:
    if exponent == 1:
        return value
    return replace(value, text=f"{value.at_least(ATOM)}**{exponent}", level=POWER, flipped="")


# --- matrix products ----------------------------------------------------------------------------------------------------


def _mul(p: ArrayPrinter, node: expr.Mul, get: Get) -> Value:
    """Split where the inner dimension is 1, so that no matrix is built that only multiplies a vector."""
    simpler = spread(node)
    if simpler is not None:
        return p.value(simpler)
    values = [_chain(p, part, get) for part in chains(node.args)]
    vectors = [v for v in values if v.kind != SCALAR]
    if len(vectors) > 1:
        vectors = [p.full(v, part[0]) for v, part in zip(values, chains(node.args), strict=True) if v.kind != SCALAR]
    product = reduce(lambda a, b: PRODUCTS[a.kind, b.kind](p, a, b), vectors) if vectors else None
    for scalar in (v for v in values if v.kind == SCALAR):
        product = scalar if product is None else _scaled(product, scalar)
    assert product is not None
    return product


def spread(node: expr.Mul) -> Node | None:
    """`(diag(p) - p p.T) d` as `p * d - p (p.T d)`: a sum of diagonal and of outer products is spread over a vector."""
    *before, last = node.args
    if not before or not expr.is_column(last):
        return None
    c, factor = split_scale(before[-1])
    if not isinstance(factor, expr.Add) or not any(map(_structured, factor.args)):
        return None
    terms = [expr.scale(c, expr.mul(term, last)) for term in factor.args]
    return expr.mul(*before[:-1], expr.add(*terms)) if len(before) > 1 else expr.add(*terms)


def split_scale(node: Node) -> tuple[Any, Node]:
    return node.args if isinstance(node, expr.Scale) else (1, node)


def _structured(term: Node) -> bool:
    _, body = split_scale(term)
    if isinstance(body, expr.Scale):
        return _structured(body)
    return isinstance(body, (expr.Diag, expr.Identity)) or (
        isinstance(body, expr.Mul) and expr.is_column(body.args[0]) and not expr.is_column(body)
    )


def chains(factors: Sequence[Node]) -> Iterator[list[Node]]:
    """The factors of a product, cut where the inner dimension is 1."""
    part = [factors[0]]
    for left, right in pairwise(factors):
        if left.shape[1] == 1:
            yield part
            part = []
        part.append(right)
    yield part


def _chain(p: ArrayPrinter, factors: Sequence[Node], get: Get) -> Value:
    """A product of matrices that may begin with a row and end with a column: vectors first."""
    values = [_factor(p, f, get) for f in factors] if len(factors) > 1 else [get(factors[0])]
    if values[-1].kind == COLUMN:
        return reduce(lambda b, a: PRODUCTS[a.kind, b.kind](p, a, b), values[::-1])
    return reduce(lambda a, b: PRODUCTS[a.kind, b.kind](p, a, b), values)


DIAGONAL = "diagonal"


def _factor(p: ArrayPrinter, node: Node, get: Get) -> Value:
    """What stands in a product: a diagonal matrix as its vector, a vector of ones as such."""
    if isinstance(node, expr.Diag):
        return replace(p.full(get(node.args[0]), node.args[0]), kind=DIAGONAL)
    return p.full(get(node), node)


Product: TypeAlias = "Callable[[ArrayPrinter, Value, Value], Value]"


def _made(text: str, level: int, kind: str, *of: Value) -> Value:
    return Value(text, level, kind, any(v.batched for v in of))


def _scaled(value: Value, scalar: Value) -> Value:
    text = scalar.lifted(value.kind)
    level = scalar.level if text == scalar.text else ATOM
    factor = replace(scalar, text=text, level=level, kind=value.kind, loose=value.kind != SCALAR)
    return hadamard([value, factor], [])


def _matrix_column(p: ArrayPrinter, a: Value, x: Value) -> Value:
    if a.batched:
        return _made(p.call("matvec", a.text, x.text), ATOM, COLUMN, a, x)
    return _made(f"{x.at_least(POWER)} @ {a.flipped or a.at_least(ATOM) + '.T'}", MATMUL, COLUMN, a, x)


def _row_matrix(p: ArrayPrinter, x: Value, a: Value) -> Value:
    if a.batched:
        return _made(p.call("matvec", _flip(p, a).text, x.text), ATOM, ROW, a, x)
    return _made(f"{x.at_least(POWER)} @ {a.at_least(ATOM)}", MATMUL, ROW, a, x)


def _matrix_matrix(p: ArrayPrinter, a: Value, b: Value) -> Value:
    return _made(f"{a.at_least(MATMUL)} @ {b.at_least(POWER)}", MATMUL, MATRIX, a, b)


def _inner_product(p: ArrayPrinter, a: Value, b: Value) -> Value:
    for ones, other in ((a, b), (b, a)):
        if ones.text.startswith("np.ones(") and ones.level == ATOM:
            return _made(f"{other.at_least(ATOM)}.sum(-1)", ATOM, SCALAR, other)
    return _made(p.call("dot", a.text, b.text), ATOM, SCALAR, a, b)


def _outer_product(p: ArrayPrinter, a: Value, b: Value) -> Value:
    return _made(p.call("outer", a.text, b.text), ATOM, MATRIX, a, b)


def _diagonal_matrix(p: ArrayPrinter, d: Value, b: Value) -> Value:
    return _made(f"{d.at_least(ATOM)}[..., :, None] * {b.at_least(POWER)}", PRODUCT, MATRIX, d, b)


def _matrix_diagonal(p: ArrayPrinter, a: Value, d: Value) -> Value:
    return _made(f"{a.at_least(PRODUCT)} * {d.at_least(ATOM)}[..., None, :]", PRODUCT, MATRIX, a, d)


def _entrywise(kind: str) -> Product:
    return lambda p, a, b: _made(f"{a.at_least(PRODUCT)} * {b.at_least(POWER)}", PRODUCT, kind, a, b)


PRODUCTS: dict[tuple[str, str], Product] = {
    (MATRIX, COLUMN): _matrix_column,
    (ROW, MATRIX): _row_matrix,
    (MATRIX, MATRIX): _matrix_matrix,
    (ROW, COLUMN): _inner_product,
    (COLUMN, ROW): _outer_product,
    (DIAGONAL, MATRIX): _diagonal_matrix,
    (MATRIX, DIAGONAL): _matrix_diagonal,
    (DIAGONAL, COLUMN): _entrywise(COLUMN),
    (ROW, DIAGONAL): _entrywise(ROW),
    (DIAGONAL, DIAGONAL): _entrywise(DIAGONAL),
}


def _flip(p: ArrayPrinter, value: Value) -> Value:
    """The transpose of a matrix."""
    if value.batched:
        return Value(p.call("flip", value.text), ATOM, MATRIX, True)
    return Value(value.flipped or f"{value.at_least(ATOM)}.T", ATOM, MATRIX, False, value.loose, value.at_least(ATOM))


def _transpose(p: ArrayPrinter, node: expr.Transpose, get: Get) -> Value:
    value = get(node.args[0])
    if value.kind == MATRIX:
        return value if value.loose else _flip(p, value)
    return replace(value, kind=kind_of(node))


def _diag(p: ArrayPrinter, node: expr.Diag, get: Get) -> Value:
    value = p.full(get(node.args[0]), node.args[0])
    return Value(p.call("diag", value.text), ATOM, MATRIX, value.batched)


def _diagonal(p: ArrayPrinter, node: expr.Diagonal, get: Get) -> Value:
    value = p.full(get(node.args[0]), node.args[0])
    return Value(f"np.diagonal({value.text}, axis1=-2, axis2=-1)", ATOM, COLUMN, value.batched)


def _inner(p: ArrayPrinter, node: expr.Inner, get: Get) -> Value:
    left, right = node.args
    if isinstance(left, expr.Ones) or isinstance(right, expr.Ones):
        other = right if isinstance(left, expr.Ones) else left
        value = p.full(get(other), other)
    else:
        value = hadamard([p.full(get(left), left), get(right)], [])
    axes = "(-2, -1)" if value.kind == MATRIX else "-1"
    return Value(f"{value.at_least(ATOM)}.sum({axes})", ATOM, SCALAR, value.batched)


# --- functions, sums over the lattice -----------------------------------------------------------------------------------


def _apply(p: ArrayPrinter, node: expr.Apply, get: Get) -> Value:
    name, order, kind = node.function, node.order, kind_of(node)
    entrywise = isinstance(functions.row(name), functions.Elementwise)
    if not entrywise and all(kind_of(a) == SCALAR for a in node.arguments):
        return of_scalars(p, node, get)
    values = [get(a) if entrywise else p.full(get(a), a) for a in node.arguments]
    batched = any(v.batched for v in values)
    loose = entrywise and all(v.loose for v in values)
    if name == "identity" and order == 0:
        return values[0]
    template = library.inline(name) if order == 0 else None
    if template is None:
        text = p.call(name, *(_as_array(p, v) for v in values), order=order)
    else:
        text = template.format(**dict(zip("xy", (v.text for v in values), strict=False)))
    return Value(text, ATOM, kind, batched, loose)


def of_scalars(p: ArrayPrinter, node: expr.Apply, get: Get) -> Value:
    """A function of vectors whose only entry is a scalar: along an axis of its own."""
    values = [get(a) for a in node.arguments]
    text = p.call(node.function, *(f"{v.at_least(ATOM)}[..., None]" for v in values), order=node.order)
    one = text if getattr(functions.row(node.function), "result", "") == "scalar" else f"{text}[..., 0]"
    return Value(one, ATOM, SCALAR, any(v.batched for v in values))


def _as_array(p: ArrayPrinter, value: Value) -> str:
    """A function asks its argument for a dtype, which a bare number lacks."""
    bare = not any(c.isalpha() for c in value.text)
    return f"np.asarray({value.text}, dtype={p.dtype})" if bare else value.text


def _sum(p: ArrayPrinter, node: expr.Sum, get: Get) -> Value:
    return Value(total(p, node.args[0]), SUM, kind_of(node), False)


def total(p: ArrayPrinter, body: Node) -> str:
    """The sum of `body` over all leading axes: one matrix product for a sum of outer products, term by term."""
    terms = body.args if isinstance(body, expr.Add) else (body,)
    text = ""
    for term in terms:
        c, core = expr.split_number(term)
        value = _times(p, -c if text and c.is_negative else c, _total_of(p, core))
        text += f"{' - ' if c.is_negative else ' + '}{value.at_least(MATMUL)}" if text else value.text
    return text


def _total_of(p: ArrayPrinter, term: Node) -> Value:
    scalar, core = split_scale(term)
    pair = outer_factors(core)
    if pair is not None:
        left, right = (p.full(p.value(v), v) for v in (expr.scale(scalar, pair[0]), pair[1]))
        if left.batched and right.batched:
            return Value(p.call("sum_outer", left.text, right.text), ATOM, MATRIX, False)
    value, kind = p.full(p.value(term), term), kind_of(term)
    if not value.batched:
        return hadamard([Value("points", ATOM, kind, False), value], [])
    if kind == SCALAR:
        return Value(f"np.sum({value.text})", ATOM, SCALAR, False)
    return Value(p.call("sum_leading", value.text, str(RANK[kind])), ATOM, kind, False)


def no_formula(p: ArrayPrinter, node: Node, get: Get) -> Value:
    raise DeriveError(f"{expr.strip_labels(node)} is no formula of arrays: ask with a number of steps (unroll=3)")


RULES: dict[type, Rule] = {
    expr.Var: _var,
    expr.Zero: _constant("0"),
    expr.Ones: _constant("1"),
    expr.Identity: _identity,
    expr.At: _at,
    expr.Add: _add,
    expr.Scale: _scale,
    expr.Had: _had,
    expr.Power: _power,
    expr.Mul: _mul,
    expr.Transpose: _transpose,
    expr.Diag: _diag,
    expr.Diagonal: _diagonal,
    expr.Inner: _inner,
    expr.Apply: _apply,
    expr.Sum: _sum,
    expr.Labelled: lambda p, node, get: get(node.args[0]),
    expr.Product: no_formula,
    expr.Partial: no_formula,
    expr.Pulled: no_formula,
    expr.GradientOf: no_formula,
}


# --- long lines ---------------------------------------------------------------------------------------------------------

WIDTH = 100


def wrapped(head: str, text: str, indent: int = 0) -> list[str]:
    """`head` and an expression, on as many lines as it takes: broken at its loosest operators, inside brackets."""
    return _laid_out(head, text, "", indent, bracketed=False)


def _laid_out(head: str, text: str, tail: str, indent: int, bracketed: bool) -> list[str]:
    """`bracketed`: brackets are open around the line, so that an operator may begin one."""
    space = " " * indent
    if indent + len(head) + len(text) + len(tail) <= WIDTH:
        return [f"{space}{head}{text}{tail}"]
    parts = next((p for ops in (("+", "-"), ("*", "/", "@")) if len(p := _split(text, ops)) > 1), [])
    if parts and bracketed:
        parts = [head + parts[0], *parts[1:-1], parts[-1] + tail]
        return [line for part in parts for line in _operand(part, indent)]
    if parts:
        return [f"{space}{head}(", *(line for part in parts for line in _operand(part, indent + 4)), f"{space}){tail}"]
    start, end = _longest_bracket(text)
    if end <= start:
        return [f"{space}{head}{text}{tail}"]
    inside = _split(text[start + 1 : end], (",",))
    commas = ["," if len(inside) > 1 else "" for _ in inside]
    lines = [
        x for part, comma in zip(inside, commas, strict=True) for x in _laid_out("", part, comma, indent + 4, True)
    ]
    return [f"{space}{head}{text[: start + 1]}", *lines, f"{space}{text[end:]}{tail}"]


def _operand(part: str, indent: int) -> list[str]:
    operator = part[:2] if part[:2] in ("+ ", "- ", "* ", "/ ", "@ ") else ""
    return _laid_out(operator, part[len(operator) :], "", indent, bracketed=True)


def _split(text: str, operators: tuple[str, ...]) -> list[str]:
    """`text` cut before these operators, or after a comma, outside all brackets."""
    parts, start, depth = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if depth == 0 and c in operators:
            if c == ",":
                parts.append(text[start:i].strip())
                start = i + 1
            elif text[i - 1 : i + 2] == f" {c} ":
                parts.append(text[start:i].strip())
                start = i
    return [*parts, text[start:].strip()]


def _longest_bracket(text: str) -> tuple[int, int]:
    best, opened = (0, 0), []
    for i, c in enumerate(text):
        if c in "([{":
            opened.append(i)
        elif c in ")]}" and opened:
            start = opened.pop()
            if not opened and i - start > best[1] - best[0]:
                best = (start, i)
    return best
