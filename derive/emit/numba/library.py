"""What emitted loops may call: one small function an entry, printed into the module only where it is used.

Functions of `derive.functions` take and return one number.  Their constants keep its type where a float32 holds them exactly; the
others, such as √2, are float64, and so is what is computed with them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
import sympy
from sympy import Expr, Symbol
from sympy.printing.pycode import PythonCodePrinter

from derive import functions
from derive.emit import library
from derive.emit.code import wrapped
from derive.errors import DeriveError
from derive.functions import Elementwise

MULTIPLY = '''
@jit
def multiply(left, matrix, target, added):
    """target = left @ matrix, one row for each row of `left`; with `added`, += ."""
    rows, depth = left.shape
    width = matrix.shape[1]
    if SCIPY:
        if rows * depth * width >= LARGE:
            LARGE_PRODUCT
            return
    for i in range(rows):
        x, y = left[i], target[i]
        if not added:
            y[:] = 0
        whole = depth - depth % 4
        for k in range(0, whole, 4):
            x_0, x_1, x_2, x_3 = x[k], x[k + 1], x[k + 2], x[k + 3]
            row_0, row_1, row_2, row_3 = matrix[k], matrix[k + 1], matrix[k + 2], matrix[k + 3]
            for j in range(width):
                y[j] += x_0 * row_0[j] + x_1 * row_1[j] + x_2 * row_2[j] + x_3 * row_3[j]
        for k in range(whole, depth):
            x_0, row_0 = x[k], matrix[k]
            for j in range(width):
                y[j] += x_0 * row_0[j]
'''
_IN_PLACE = """if added:
                target += np.dot(np.ascontiguousarray(left), matrix)
            else:
                np.dot(np.ascontiguousarray(left), matrix, target)"""
_ASIDE = """product = np.dot(np.ascontiguousarray(left), matrix)
            if added:
                target += product
            else:
                target[:] = product"""

_REDUCED = '''
@jit_in_order
def reduced_NAME(x):
    """`(rest, power)`, exp(x) = power * (1 + rest): of x = k log 2 + r the polynomial in r, and 2**k by its bits."""
    inside = REAL(LOW) if x < REAL(LOW) else REAL(HIGH) if x > REAL(HIGH) else x
    shifted = inside * REAL(1.4426950408889634) + REAL(MAGIC)
    k = shifted - REAL(MAGIC)
    r = (inside - k * REAL(UPPER)) - k * REAL(LOWER)
    p = REAL(FIRST)
POLYNOMIAL    power = BITS((REAL(shifted).view(BITS) + BIAS) << MANTISSA).view(REAL)
    power = REAL(0) if x < REAL(LOW) else REAL(np.inf) if x > REAL(HIGH) else power
    return p * r * r + r, power
'''


def _reduced(name: str, real: str, bits: str, order: int, numbers: Mapping[str, str]) -> str:
    """The reduction for one type: `order` terms of the series of exp, for |r| < 0.35."""
    terms = [repr(1 / math.factorial(k)) for k in range(order, 1, -1)]
    polynomial = "".join(f"    p = p * r + {real}({term})\n" for term in terms[1:])
    text = _REDUCED.replace("NAME", name).replace("POLYNOMIAL", polynomial).replace("FIRST", terms[0])
    for word, value in {**numbers, "REAL": real, "BITS": bits}.items():
        text = text.replace(word, value)
    return text.strip("\n")


REDUCED = "\n\n\n".join([
    _reduced("single", "np.float32", "np.int32", 7, {
        "LOW)": "-87.3)", "HIGH": "88.3", "MAGIC": "12582912.0", "UPPER": "0.693145752", "LOWER": "1.42860677e-6",
        "BIAS": "127", "MANTISSA": "23"}),
    _reduced("double", "np.float64", "np.int64", 13, {
        "LOW)": "-708.3)", "HIGH": "709.4", "MAGIC": "6755399441055744.0", "UPPER": "0.6931471803691238",
        "LOWER": "1.9082149292705877e-10", "BIAS": "1023", "MANTISSA": "52"}),
    "REDUCED = {numba.float32: reduced_single, numba.float64: reduced_double}",
])  # fmt: skip

SOURCES: dict[str, str] = {
    "REDUCED": REDUCED,
    "exp": '''
def exp(x):
    """exp(x); compiled it is a polynomial, of which several are computed at once."""
    return np.exp(x)


@extending.overload(exp, jit_options=IN_ORDER)
def _exp(x):
    reduced = REDUCED[x]

    def compiled(x):
        rest, power = reduced(x)
        return power * (exact(1) + rest)

    return compiled
''',
    "tanh": '''
def tanh(x):
    """tanh(x); compiled it is -t / (2 + t) with t = exp(-2 |x|) - 1, which is right for small x too."""
    return np.tanh(x)


@extending.overload(tanh, jit_options=IN_ORDER)
def _tanh(x):
    reduced = REDUCED[x]

    def compiled(x):
        rest, power = reduced(exact(-2) * abs(x))
        t = power * rest + (power - exact(1))
        y = -t / (exact(2) + t)
        return -y if x < 0 else y

    return compiled
''',
    "part": '''
@jit
def part(region, start, shape):
    """The numbers of a region of memory from `start` on, as an array of this shape."""
    count = 1
    for size in shape:
        count *= size
    return region[start : start + count].reshape(shape)
''',
    "multiply": MULTIPLY.replace("LARGE_PRODUCT", _IN_PLACE),
    "multiply_columns": MULTIPLY.replace("LARGE_PRODUCT", _ASIDE)
    .replace("def multiply(", "def multiply_columns(")
    .replace("target = left @ matrix, one row", "target = left @ matrix for some columns of an array, one row"),
    "multiply_across": '''
@jit
def multiply_across(left, matrix, target, added):
    """target = left @ matrix.T; with `added`, += ."""
    rows, depth = left.shape
    if SCIPY:
        if rows * depth * len(matrix) >= LARGE:
            product = np.dot(np.ascontiguousarray(left), matrix.T)
            if added:
                target += product
            else:
                target[:] = product
            return
    for i in range(rows):
        x, y = left[i], target[i]
        for k in range(len(matrix)):
            row, total = matrix[k], exact(0)
            for j in range(depth):
                total += x[j] * row[j]
            y[k] = y[k] + total if added else total
''',
    "accumulate": '''
@jit
def accumulate(left, right, target):
    """target += left.T @ right, summed over all rows."""
    rows, width = left.shape
    depth = right.shape[1]
    if SCIPY:
        if rows * width * depth >= LARGE:
            target += np.dot(np.ascontiguousarray(left).T, np.ascontiguousarray(right))
            return
    whole = rows - rows % 4
    for i in range(0, whole, 4):
        row_0, row_1, row_2, row_3 = right[i], right[i + 1], right[i + 2], right[i + 3]
        for k in range(width):
            y = target[k]
            x_0, x_1, x_2, x_3 = left[i, k], left[i + 1, k], left[i + 2, k], left[i + 3, k]
            for j in range(depth):
                y[j] += x_0 * row_0[j] + x_1 * row_1[j] + x_2 * row_2[j] + x_3 * row_3[j]
    for i in range(whole, rows):
        row_0 = right[i]
        for k in range(width):
            x_0, y = left[i, k], target[k]
            for j in range(depth):
                y[j] += x_0 * row_0[j]
''',
    "add_rows": '''
@jit
def add_rows(left, target):
    """target += the sum of the rows of `left`."""
    for i in range(len(left)):
        x = left[i]
        for k in range(len(target)):
            target[k] += x[k]
''',
    "add_to_rows": '''
@jit
def add_to_rows(vector, target):
    """Every row of `target` += vector."""
    for i in range(len(target)):
        y = target[i]
        for k in range(len(vector)):
            y[k] += vector[k]
''',
    "transpose": '''
@jit
def transpose(matrix, target, start):
    """The columns of `target` from `start` on = matrix.T."""
    for k in range(target.shape[0]):
        for i in range(matrix.shape[0]):
            target[k, start + i] = matrix[i, k]
''',
    "sigmoid": '''
@jit
def sigmoid(x):
    return exact(1) / (exact(1) + exp(-x))
''',
    "silu": '''
@jit
def silu(x):
    return x * sigmoid(x)
''',
    "relu": '''
@jit
def relu(x):
    return x if x > 0 else exact(0)
''',
    "elu": '''
@jit
def elu(x):
    return x if x > 0 else np.expm1(x)
''',
    "softplus": '''
@jit
def softplus(x):
    return max(x, exact(0)) + np.log1p(exp(-abs(x)))
''',
    "square": '''
@jit
def square(x):
    return x * x
''',
    "power": '''
@jit
def power(x, k):
    """x**k for a whole number k."""
    y = x
    for _ in range(k - 1):
        y *= x
    return y
''',
    "sign": '''
@jit
def sign(x):
    return exact(x > 0) - exact(x < 0)
''',
    "step": '''
@jit
def step(x):
    return exact(x > 0)
''',
}  # fmt: skip
"""By name; what an entry calls is printed as well."""

PLAIN = {"log": "np.log", "sqrt": "np.sqrt", "cosh": "np.cosh", "sinh": "np.sinh", "abs": "abs", "max": "max",
         "min": "min"}  # fmt: skip
"""Functions of the table that Python or NumPy has, for numbers too."""


def function_name(name: str, order: int) -> str:
    return PLAIN.get(name, library.function_name(name, 0)) if order == 0 else library.function_name(name, order)


def with_dependencies(texts: Iterable[str], known: Mapping[str, tuple[str, int]]) -> list[str]:
    """The sources of all that the texts call; `known` are the functions of `derive.functions` by their names in Python."""
    found: dict[str, str] = {}
    pending = list(texts)
    while pending:
        text = pending.pop()
        for name in sorted({a or b for a, b in re.findall(r"(?<![\w.])(?:([a-z_]\w*)(?=\()|(REDUCED))", text)}):
            if name not in found and (name in SOURCES or name in known) and name not in PLAIN.values():
                found[name] = SOURCES[name] if name in SOURCES else _from_formula(name, *known[name])
                pending.append(found[name].partition(":\n")[2])
    return [found[name].strip("\n") for name in sorted(found, key=lambda name: (name != "REDUCED", name))]


# --- functions of the table, from their SymPy expressions -----------------------------------------------------------------


def number(value: Expr) -> str:
    """A number as source: in the type of what it meets, where a float32 holds it exactly."""
    text = str(value) if value.is_Integer else repr(float(value))
    return f"exact({text})" if float(np.float32(float(value))) == float(value) else repr(float(value))


class _Printer(PythonCodePrinter):
    """SymPy's Python printer, for numbers that may be float32."""

    def _print_Float(self, e: Any) -> str:
        return number(e)

    _print_Rational = _print_Integer = _print_Zero = _print_One = _print_Half = _print_NegativeOne = _print_Float
    _print_NumberSymbol = _print_Exp1 = _print_Pi = _print_Float

    def _print_exp(self, e: Any) -> str:
        return f"exp({self._print(e.args[0])})"

    def _print_log(self, e: Any) -> str:
        return f"np.log({self._print(e.args[0])})"

    def _print_tanh(self, e: Any) -> str:
        return f"tanh({self._print(e.args[0])})"

    def _print_erf(self, e: Any) -> str:
        return f"np.float64(math.erf({self._print(e.args[0])}))"

    def _print_sign(self, e: Any) -> str:
        return f"sign({self._print(e.args[0])})"

    def _print_Pow(self, e: Any, **options: Any) -> str:
        base, exponent = e.args
        if exponent == sympy.Rational(1, 2):
            return f"np.sqrt({self._print(base)})"
        if exponent.is_negative:
            return f"({number(sympy.Integer(1))} / {self.parenthesize(base**-exponent, 100)})"
        if exponent.is_Integer:
            return f"{'square' if exponent == 2 else 'power'}({self._print(base)}{'' if exponent == 2 else f', {exponent}'})"
        return f"{self.parenthesize(base, 100)}**{number(exponent)}"

    def _print_Mul(self, e: Any) -> str:
        sign, factors = (
            ("-", (-e).args if isinstance(-e, sympy.Mul) else (-e,)) if e.could_extract_minus_sign() else ("", e.args)
        )
        return sign + " * ".join(self.parenthesize(f, 50) for f in factors)

    def _print_Relational(self, e: Any) -> str:
        right = str(e.rhs) if e.rhs.is_Integer else self._print(e.rhs)
        return f"{self._print(e.lhs)} {e.rel_op} {right}"


@cache
def _from_formula(function: str, name: str, order: int) -> str:
    """The source of `gelu_prime(x)`.  Raises `DeriveError` for a function without a formula."""
    row = functions.row(name)
    expression = functions.expression(name, order) if isinstance(row, Elementwise) else None
    if expression is None or not isinstance(row, Elementwise):
        raise DeriveError(
            f"{name} has no formula, and numba can't compile a function that is given later: "
            "compile with backend numpy and functions="
        )
    lines = []
    by_sigmoid = library._in_sigmoid(expression)
    if by_sigmoid is not None and expression.free_symbols:
        lines.append("    s = sigmoid(x)")
        expression = by_sigmoid
    else:
        expression = library._without_overflow(expression)
    lines += wrapped("return ", _Printer().doprint(_plain(expression)), 4)
    return "\n".join(["@jit", f"def {function}({', '.join(('x', 'y')[: row.arity])}):", *lines])


def _plain(expression: Expr) -> Expr:
    """With fractions and roots as floats, and symbols without assumptions."""
    symbols = {s: Symbol(s.name) for s in expression.free_symbols}
    return library._floats(expression).xreplace(symbols)
