"""What an emitted NumPy module may define: one small function per entry, printed into the module only where it is used.

`definition(name)` is the source of a function that formulas call.  Functions of `derive.functions` come from their rows:
the stable form where the row has one, else the SymPy expression, printed; a derivative is named `gelu_prime`.
All of them keep the dtype of their argument and work entry by entry, or along the last axis, whatever the leading axes are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import sympy
from sympy import Expr, Piecewise, Symbol, exp
from sympy.printing.numpy import NumPyPrinter

from derive import functions
from derive.errors import DeriveError
from derive.functions import Elementwise

ORDERS = ("", "_prime", "_second", "_third")

_PLAIN = re.compile(r"np\.\w+\(\{x\}(, (\{y\}|-?[\d.]+))*\)")
"""A template that is one call of a NumPy function on its argument stands where it is used."""


def function_name(name: str, order: int) -> str:
    """`gelu`, `gelu_prime`, …: what the `order`-th derivative is called in an emitted module."""
    return name + (ORDERS[order] if order < len(ORDERS) else f"_derivative_{order}")


def inline(name: str) -> str | None:
    """The template of a function that needs no definition: `np.tanh({x})`."""
    row = functions.row(name)
    template = row.numpy if isinstance(row, Elementwise) else None
    return template if template and _PLAIN.fullmatch(template) else None


@cache
def definition(name: str, order: int = 0) -> str:
    """The source of a function.  Raises `DeriveError` where none is known."""
    if order == 0 and name in SOURCES:
        return SOURCES[name].strip("\n")
    row = functions.row(name)
    if not isinstance(row, Elementwise):
        raise DeriveError(f"{name} takes a vector: its derivative is a matrix and has no formula entry by entry")
    if row.formula is None:
        return _unknown(name, order)
    arguments = ("x", "y")[: row.arity]
    stable = row.numpy if order == 0 else None
    body = [f"return {stable.format(x='x', y='y')}"] if stable else _body(name, order)
    head = f"def {function_name(name, order)}({', '.join(arguments)}):"
    return "\n".join([head, *(f"    {line}" for line in body)])


def with_dependencies(definitions: Iterable[tuple[str, int]]) -> list[str]:
    """The sources of these functions and of what they call, each once, in alphabetical order."""
    found: dict[tuple[str, int], str] = {}
    pending = list(definitions)
    while pending:
        key = pending.pop()
        if key not in found:
            found[key] = definition(*key)
            called = set(re.findall(r"(?<![.\w])(\w+)\(", found[key].partition(":\n")[2]))
            pending.extend((other, 0) for other in called & CALLED)
    return [found[key] for key in sorted(found)]


# --- functions of the table, from their SymPy expressions -------------------------------------------------------------


class FormulaPrinter(NumPyPrinter):
    """SymPy's NumPy printer, with `np.` for the module, operators and `np.where` for branches, Python floats for constants.

    A constant such as `np.sqrt(2)` would be a float64 scalar, which makes float64 arrays of float32 ones; a literal does not.
    """

    def _module_format(self, fqn: str, register: bool = True) -> str:
        module, _, name = super()._module_format(fqn, register).partition(".")
        return f"np.{name}" if module == "numpy" else f"{module}.{name}" if name else module

    def doprint(self, e: Expr) -> str:
        return ast.unparse(ast.parse(super().doprint(e), mode="eval")).replace(" ** ", "**")

    def _print_Float(self, e: Expr) -> str:
        return repr(float(e))

    def _print_Relational(self, e: Any) -> str:
        return f"({self._print(e.lhs)} {e.rel_op} {self._print(e.rhs)})"

    def _print_Or(self, e: Any) -> str:
        return " | ".join(map(self._print, sorted(e.args, key=sympy.default_sort_key)))

    def _print_Min(self, e: Expr) -> str:
        return f"np.minimum({', '.join(self._print(a) for a in sorted(e.args, key=lambda a: a.is_number))})"

    def _print_erf(self, e: Expr) -> str:
        return f"erf({self._print(e.args[0])})"

    def _print_Piecewise(self, e: Piecewise) -> str:
        *branches, (last, _) = e.args
        text = self._print(last)
        for value, condition in reversed(branches):
            text = f"np.where({self._print(condition)}, {self._print(value)}, {text})"
        constant = not any(value.free_symbols for value, _ in e.args)
        return f"{text}.astype(x.dtype)" if constant else text


_S = Symbol("s", real=True)


def _body(name: str, order: int) -> list[str]:
    """The statements of a function whose value is `functions.expression(name, order)`."""
    expression = functions.expression(name, order)
    assert expression is not None
    if not expression.free_symbols:
        return [f"return np.full_like(x, {_literal(expression)})"]
    by_sigmoid = _in_sigmoid(expression)
    if by_sigmoid is not None:
        return ["s = sigmoid(x)", f"return {_printed(by_sigmoid)}"]
    return [f"return {_printed(_without_overflow(expression))}"]


def _printed(expression: Expr) -> str:
    return FormulaPrinter({"fully_qualified_modules": True}).doprint(_floats(expression))


def _floats(expression: Expr) -> Expr:
    """`expression` with fractions and roots as floats, whole numbers as they are."""
    constants = {c: c.evalf(17) for c in _constants(expression) if not c.is_Integer}
    return expression.xreplace(constants)


def _constants(expression: Expr) -> list[Expr]:
    """The largest parts without a symbol, products by their coefficient."""
    if not isinstance(expression, Expr) and not expression.args:
        return []
    if not expression.free_symbols:
        return [expression] if isinstance(expression, Expr) else []
    if isinstance(expression, sympy.Mul):
        coefficient, rest = expression.as_independent(*expression.free_symbols)
        if len(coefficient.args) > 1 or not coefficient.is_Rational:
            return [c for part in rest.args or (rest,) for c in _constants(part)] + [*coefficient.args, coefficient]
    if isinstance(expression, sympy.Pow) and expression.exp.is_Rational:
        return _constants(expression.base)
    return [c for part in expression.args for c in _constants(part)]


def _literal(value: Expr) -> str:
    return str(int(value)) if value.is_Integer else repr(float(value))


def _in_sigmoid(expression: Expr) -> Expr | None:
    """A polynomial in `x` and `s = sigmoid(x)`, where the expression is one: `exp(-x)` would overflow far left."""
    if not expression.has(exp(-functions.x)):
        return None
    found = sympy.cancel(expression.subs(exp(-functions.x), (1 - _S) / _S))
    return sympy.collect(sympy.expand(found), functions.x) if found.is_polynomial(_S, functions.x) else None


def _without_overflow(expression: Expr) -> Expr:
    """In the branch that is left when `x > 0` was taken care of, `exp(x)` is `exp(min(x, 0))`."""
    if not isinstance(expression, Piecewise) or expression.args[0][1] != (functions.x > 0):
        return expression
    (first, *rest) = expression.args
    clamped = exp(sympy.Min(functions.x, 0, evaluate=False))
    return Piecewise(first, *((value.subs(exp(functions.x), clamped), condition) for value, condition in rest))


def _unknown(name: str, order: int) -> str:
    return f'''
def {function_name(name, order)}(x):
    return _unknown("{functions.prime(name, order)}")(x)
'''.strip("\n")


# --- functions of whole vectors, and products with any number of leading axes ------------------------------------------------

_EPSILON = repr(float(functions.LAYER_NORM_EPSILON))

SOURCES: dict[str, str] = {
    "step": """
def step(x):
    return np.asarray(x > 0, dtype=x.dtype)
""",
    "erf": '''
def erf(x):
    """The error function, to the last digit: NumPy has none, so it is Python's, entry by entry."""
    return np.vectorize(math.erf, otypes=[float])(x).astype(x.dtype)
''',
    "softmax": '''
def softmax(x):
    """exp(x) / sum(exp(x)) along the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
''',
    "log_sum_exp": '''
def log_sum_exp(x):
    """log(sum(exp(x))) along the last axis."""
    top = x.max(-1)
    return top + np.log(np.exp(x - top[..., None]).sum(-1))
''',
    "layer_norm": f'''
def layer_norm(x):
    """(x - mean) / sqrt(variance + {_EPSILON}) along the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + {_EPSILON})
''',
    "cross_entropy": '''
def cross_entropy(o, y):
    """-sum(y * log(softmax(o))) along the last axis, for a distribution y."""
    return log_sum_exp(o) - (y * o).sum(-1)
''',
    "squared_error": '''
def squared_error(o, y):
    """Half the squared distance along the last axis."""
    return 0.5 * ((o - y) * (o - y)).sum(-1)
''',
    "logistic": '''
def logistic(o, y):
    """-sum(y * log(sigmoid(o)) + (1 - y) * log(1 - sigmoid(o))) along the last axis."""
    return (np.logaddexp(o, 0.0) - y * o).sum(-1)
''',
    "dot": '''
def dot(a, b):
    """The inner product of two vectors, along the last axis."""
    return (a * b).sum(-1)
''',
    "outer": '''
def outer(a, b):
    """The matrix a b.T of two vectors, along the last axis."""
    return a[..., :, None] * b[..., None, :]
''',
    "matvec": '''
def matvec(matrix, x):
    """A matrix for every entry of the leading axes, times a vector for every one."""
    return (matrix @ x[..., None])[..., 0]
''',
    "diag": '''
def diag(x):
    """The diagonal matrix of a vector, along the last axis."""
    return x[..., :, None] * np.eye(x.shape[-1], dtype=x.dtype)
''',
    "flip": '''
def flip(matrix):
    """The transpose of a matrix for every entry of the leading axes."""
    return np.swapaxes(matrix, -1, -2)
''',
    "sum_outer": '''
def sum_outer(a, b):
    """The sum of all a b.T over steps and batch: one matrix product."""
    return a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1])
''',
    "sum_leading": '''
def sum_leading(a, rank, keep=0):
    """The sum over steps and batch: over all axes but the last `rank` and the first `keep`."""
    return a.sum(axis=tuple(range(keep, a.ndim - rank)))
''',
}  # fmt: skip
"""By name; the functions of a vector are those of `derive.functions`, the products have a row in `derive.emit.code`."""

CALLED = frozenset({*SOURCES, "sigmoid"})
"""What other entries may call."""
