"""Shapes of equations as papers write them, which declare few: what unification leaves open follows convention."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import count

from sympy import Expr

from derive.errors import Place
from derive.shapes import ONE, Dim, Juxtapose, Pair, Unifier, Unknown, Waiting, dimension

GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa",
    "lambda", "mu", "nu", "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi",
    "omega",
)  # fmt: skip
SMALL = ("epsilon", "varepsilon")
"""Names that stand for a small number, in a sum too."""
LETTERS = ("q", "p", "r", "s", "d", "e")
"""What dimensions are called after the first state's `n` and the first input's `m`."""


def _is_greek(name: str) -> bool:
    return name.split("_")[0] in GREEK


class Guesser(Unifier):
    """The unifier for equations as papers write them, which declare few shapes: what stays open follows convention.

    One assumption is made at a time, the surest kind first, and all that follows from it is drawn before the next:
    terms of a sum have equal shapes; lower-case names are columns; Greek parameters in a product are scalars; upper-case
    parameters are matrices; an upper-case state is a column unless that makes a vector a scalar.  Dimensions that are
    open in the end get names.  An error asks for the shape of the name that convention got wrong.
    """

    def __init__(
        self,
        declared: Mapping[str, tuple[Expr, Expr] | None],
        locate: Callable[[ast.AST], tuple[Place, str]],
        *,
        inputs: Sequence[str],
        states: Sequence[str],
        reserved: Collection[str] = (),
        scalar: bool = False,
    ):
        super().__init__(declared, locate)
        self._inputs, self._states, self._indexed = inputs, states, [*inputs, *states]
        self._reserved = {str(d) for shape in declared.values() for d in shape or ()} | set(reserved)
        self._scalar = scalar
        self._transposed: set[str] = set()
        self._lefts: set[int] = set()
        self._taken: dict[str, str] = {}

    def infer(self, node: ast.expr) -> Pair | None:
        if isinstance(node, ast.Attribute):
            self._transposed.add(_name(node.value))
        if isinstance(node, ast.BinOp) and isinstance(node.op, Juxtapose):
            self._lefts.add(id(node.left))
        return super().infer(node)

    def _decide(self) -> bool:
        if self._scalar:
            return self._take_scalars() or super()._decide()
        return (
            any(decide() for decide in (
                self._take_sum,
                self._take_row,
                self._take_lower_column,
                self._take_lower_parameter,
                self._take_inner_product,
                self._take_greek_scalar,
                self._take_entrywise,
                self._take_upper_column,
                self._take_matrix,
                self._take_juxtaposition,
            ))
            or super()._decide()
        )  # fmt: skip

    def _take_scalars(self) -> bool:
        open_dims = [d for pair in self._names.values() for d in self._found(pair) if isinstance(d, Unknown)]
        self._bound.update(dict.fromkeys(open_dims, ONE))
        return bool(open_dims)

    # --- operations ---

    def _of(self, *kinds: type[ast.operator]) -> Iterator[Waiting]:
        return (w for w in self._waiting if isinstance(w[0].op, kinds))

    def _take(self, found: Iterable[Waiting], reading: str | None = None) -> bool:
        """The first of the operations as that reading, where it can be."""
        for waiting in found:
            if reading == "product" and self._clash(self._find(waiting[1][1]), self._find(waiting[2][0])):
                reading = None
            self._resolve(waiting, reading)
            return True
        return False

    def _take_sum(self) -> bool:
        """The terms of a sum have equal shapes; a Greek parameter is left for later, it may be a scalar."""
        return self._take(
            w for w in self._of(ast.Add, ast.Sub) if not (self._greeks(w[0].left) or self._greeks(w[0].right))
        )

    def _take_inner_product(self) -> bool:
        """A transposed vector times a vector."""
        juxtaposed = self._of(Juxtapose)
        inner = (w for w in juxtaposed if self._find(w[1][0]) is self._find(w[2][1]) is ONE)
        return self._take((w for w in inner if isinstance(w[0].left, ast.Attribute)), "product")

    def _take_entrywise(self) -> bool:
        return self._take(self._of(ast.Add, ast.Sub, ast.Mult))

    def _take_matrix(self) -> bool:
        """An upper-case parameter multiplies what stands right of it."""
        return self._take((w for w in self._of(Juxtapose) if self._is_matrix(w[0].left)), "product")

    def _take_juxtaposition(self) -> bool:
        return self._take(self._of(Juxtapose))

    def _is_matrix(self, node: ast.expr) -> bool:
        name = _name(node)
        return name[:1].isupper() and name not in self._indexed

    # --- names ---

    def _take_row(self) -> bool:
        """A vector that stands left of a matrix, which ends the product, is a row: `x_t W`."""
        for waiting in self._of(Juxtapose):
            node, (rows, columns) = waiting[0], self._found(waiting[1])
            ends = isinstance(node.left, ast.Subscript) and id(node) not in self._lefts
            if ends and self._is_matrix(node.right) and not self._exceeds_one(rows) and columns is not ONE:
                self._put(_name(node.left), rows, "row")
                return self._take([waiting], "product")
        # Where some vectors are rows, one that turned out to be 1 x ? is a row as well.
        rows = "row" in self._taken.values()
        return rows and self._take((w for w in self._of(Juxtapose) if self._is_row(w)), "product")

    def _is_row(self, waiting: Waiting) -> bool:
        (rows, columns), is_name = self._found(waiting[1]), isinstance(waiting[0].left, ast.Subscript)
        return is_name and rows is ONE and columns is not ONE and self._find(waiting[2][0]) is not ONE

    def _take_lower_column(self) -> bool:
        lower = [n for n in self._indexed if n[0].islower()]
        # What is transposed somewhere is surely a vector; a state that is a matrix may be seen from it.
        return self._take_column([n for n in lower if n in self._transposed]) or self._take_column(lower)

    def _take_upper_column(self) -> bool:
        return self._take_column([n for n in self._indexed if not n[0].islower()])

    def _take_column(self, names: Iterable[str]) -> bool:
        for name in names:
            columns = self._find(self.name(name)[1])
            if isinstance(columns, Unknown) and not self._is_length(columns):
                return self._put(name, columns, "column")
        return False

    def _is_length(self, dim: Unknown) -> bool:
        """Whether it is the length of a vector with an index, as the columns of `v_t k_t^T` are."""
        vectors = (self._found(self.name(name)) for name in self._indexed)
        return any(ONE in pair and dim in pair for pair in vectors)

    def _put(self, name: str, dim: Dim, what: str) -> bool:
        same = (other for other in self._indexed if any(d is dim for d in self._found(self.name(other))))
        self._taken.update(dict.fromkeys((name, *same), what))
        if isinstance(dim, Unknown):
            self._bound[dim] = ONE
        return True

    def _parameters(self) -> Iterator[str]:
        return (name for name in self._names if name not in self._indexed)

    def _take_lower_parameter(self) -> bool:
        for name in self._parameters():
            rows, columns = self._found(self.name(name))
            vector = name[0].islower() and (name in self._transposed or not _is_greek(name))
            if vector and isinstance(columns, Unknown) and not (rows is ONE and self._is_length(columns)):
                self._bound[columns] = ONE
                return True
        return False

    def _take_greek_scalar(self) -> bool:
        """A Greek parameter that scales what it stands beside, as `alpha` does in `(1 - alpha) h`."""
        for node, *_ in self._waiting:
            product = isinstance(node.op, Juxtapose)
            for name in (*self._greeks(node.left), *self._greeks(node.right)):
                if product or name.split("_")[0] in SMALL:
                    self._bound.update({d: ONE for d in self._found(self.name(name)) if isinstance(d, Unknown)})
                    return True
        return False

    def _greeks(self, node: ast.expr) -> list[str]:
        """The Greek parameters of open shape that a side has the shape of: of `alpha`, and of `1 - alpha` as well."""
        if isinstance(node, ast.Name):
            pair = self._found(self.name(node.id))
            known = node.id in self._indexed or not _is_greek(node.id) or not all(isinstance(d, Unknown) for d in pair)
            return [] if known else [node.id]
        if isinstance(node, ast.UnaryOp):
            return self._greeks(node.operand)
        if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.MatMult):
            return [*self._greeks(node.left), *self._greeks(node.right)]
        return []

    # --- dimensions ---

    def _name_dimensions(self) -> None:
        taken = {*self._reserved}
        for dim, wished in self._open_dimensions():
            if isinstance(still_open := self._find(dim), Unknown):
                name = next(letter for letter in _letters(wished) if letter not in taken)
                taken.add(name)
                self._bound[still_open] = dimension(name)

    def _open_dimensions(self) -> Iterator[tuple[Dim, str]]:
        """Every dimension of a name with what it would be called: the first state's first `n`, the first input's `m`."""
        for names, wished in ((self._states, "n"), (self._inputs, "m")):
            sizes = (size for name in names for size in self._found(self.name(name)))
            yield from ((size, wished) for size in [s for s in sizes if isinstance(s, Unknown)][:1])
        for name in (*self._states, *self._inputs, *self._parameters()):
            yield from ((dim, "") for dim in self.name(name))

    def _hint(self, node: ast.AST) -> str:
        """The hint, and the name whose shape was taken from convention: one in the node, or else the last."""
        inside = {_name(n) for n in ast.walk(node) if isinstance(n, ast.expr)}
        taken = [*self._taken]
        name = next((n for n in reversed(taken) if n in inside), taken[-1] if taken else "")
        asks = f"; {name} is taken for a {self._taken[name]}, else declare {name}: n x m" if name else ""
        return super()._hint(node) + asks


def _letters(wished: str) -> Iterator[str]:
    yield from filter(None, (wished, *LETTERS))
    yield from (f"n_{i}" for i in count(1))


def _name(node: ast.expr) -> str:
    """The name that stands there, transposed, negated or at an index; "" where it is a formula."""
    while not isinstance(node, ast.Name):
        if isinstance(node, (ast.Attribute, ast.Subscript)):
            node = node.value
        elif isinstance(node, ast.UnaryOp):
            node = node.operand
        else:
            return ""
    return node.id
