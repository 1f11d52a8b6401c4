"""What emitted C may call: one small function an entry, printed into the source only where it is used.

`exp` and `tanh` are written so that a compiler runs several entries at once; both are right to a few units in the last place.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import sympy
from sympy import Expr, Symbol
from sympy.printing.c import C99CodePrinter

from derive import functions
from derive.emit import library
from derive.errors import DeriveError
from derive.functions import Elementwise

HEAD = """\
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef SINGLE
typedef float real;
typedef int32_t bits;
#else
typedef double real;
typedef int64_t bits;
#endif
#define R(number) ((real)(number))
#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline))"""

PRODUCTS = r"""
/* The machine's BLAS, where Python found one; its product of matrices, row by row. */
typedef void product(int, int, int, blas_int, blas_int, blas_int, real, const real *, blas_int, const real *, blas_int,
                     real, real *, blas_int);
static product *gemm = 0;
enum { BY_ROWS = 101, AS_IT_IS = 111, TRANSPOSED = 112, ENOUGH_ROWS = 4, ENOUGH_WORK = 16384 };

void use_blas(product *found) { gemm = found; }

/* Numbers that are added and multiplied at once. */
typedef real strip __attribute__((vector_size(64), aligned(sizeof(real)), may_alias));
enum { STRIP = 64 / sizeof(real) };

/* Columns of y = x @ matrix from `start` on, `count` strips at a time, whose sums stay in registers; returns where
   it stopped. */
INLINE long columns(const int count, long start, long width, long depth, const real *x, const real *matrix,
                    const real *bias, real *y, int added)
{
    const real *first = bias ? bias : added ? y : 0;
    for (; start + count * STRIP <= width; start += count * STRIP) {
        strip sum[8] = {{0}};
#pragma GCC unroll 8
        for (int k = 0; first && k < count; k++) sum[k] = ((const strip *)(first + start))[k];
        for (long j = 0; j < depth; j++)
#pragma GCC unroll 8
            for (int k = 0; k < count; k++) sum[k] += x[j] * ((const strip *)(matrix + j * width + start))[k];
#pragma GCC unroll 8
        for (int k = 0; k < count; k++) ((strip *)(y + start))[k] = sum[k];
    }
    return start;
}

/* target (rows x width) = bias + left (rows x depth) @ matrix (depth x width); with `added`, += . */
APART void multiply(long rows, long width, long depth, const real *left, long left_step, const real *matrix,
                    const real *bias, real *target, long target_step, int added)
{
    if (gemm && rows >= ENOUGH_ROWS && rows * width * depth >= ENOUGH_WORK) {
        for (long row = 0; bias && row < rows; row++)
            memcpy(target + row * target_step, bias, width * sizeof(real));
        gemm(BY_ROWS, AS_IT_IS, AS_IT_IS, rows, width, depth, 1, left, left_step, matrix, width, bias || added, target,
             target_step);
        return;
    }
    for (long row = 0; row < rows; row++) {
        const real *x = left + row * left_step;
        real *y = target + row * target_step;
        long start = columns(8, 0, width, depth, x, matrix, bias, y, added);
        start = columns(4, start, width, depth, x, matrix, bias, y, added);
        start = columns(2, start, width, depth, x, matrix, bias, y, added);
        start = columns(1, start, width, depth, x, matrix, bias, y, added);
        for (; start + 8 <= width; start += 8) {
            real sum[8];
            for (int k = 0; k < 8; k++) sum[k] = bias ? bias[start + k] : added ? y[start + k] : 0;
            for (long j = 0; j < depth; j++)
                for (int k = 0; k < 8; k++) sum[k] += x[j] * matrix[j * width + start + k];
            for (int k = 0; k < 8; k++) y[start + k] = sum[k];
        }
        for (; start < width; start++) {
            real sum = bias ? bias[start] : added ? y[start] : 0;
            for (long j = 0; j < depth; j++) sum += x[j] * matrix[j * width + start];
            y[start] = sum;
        }
    }
}"""

ACROSS = r"""
/* target (rows x width) = left (rows x depth) @ matrix.T, the matrix (width x depth); with `added`, += . */
APART void multiply_across(long rows, long width, long depth, const real *left, long left_step, const real *matrix,
                           real *target, long target_step, int added)
{
    if (gemm && rows >= ENOUGH_ROWS && rows * width * depth >= ENOUGH_WORK) {
        gemm(BY_ROWS, AS_IT_IS, TRANSPOSED, rows, width, depth, 1, left, left_step, matrix, depth, added, target,
             target_step);
        return;
    }
    for (long row = 0; row < rows; row++)
        for (long k = 0; k < width; k++) {
            real sum = 0;
#pragma omp simd reduction(+ : sum)
            for (long j = 0; j < depth; j++) sum += left[row * left_step + j] * matrix[k * depth + j];
            target[row * target_step + k] = sum + (added ? target[row * target_step + k] : 0);
        }
}"""

ACCUMULATE = r"""
/* Tiles of left.T @ right from the column `start` on, whose sums stay in registers; where it stopped. */
INLINE long tiles(const int high, const int wide, long start, long rows, long depth, const real *left, long left_step,
                  const real *right, long right_step, real *target)
{
    for (; start + wide <= depth; start += wide) {
        real sum[4][16] = {{0}};
        for (long row = 0; row < rows; row++)
            for (int j = 0; j < high; j++)
                for (int k = 0; k < wide; k++)
                    sum[j][k] += left[row * left_step + j] * right[row * right_step + start + k];
        for (int j = 0; j < high; j++)
            for (int k = 0; k < wide; k++) target[j * depth + start + k] += sum[j][k];
    }
    return start;
}

/* target (width x depth) += left.T (rows x width) @ right (rows x depth). */
APART void accumulate(long rows, long width, long depth, const real *left, long left_step, const real *right,
                      long right_step, real *target)
{
    if (gemm && rows * width * depth >= ENOUGH_WORK) {
        gemm(BY_ROWS, TRANSPOSED, AS_IT_IS, width, depth, rows, 1, left, left_step, right, right_step, 1, target,
             depth);
        return;
    }
    long top = 0;
    for (; top + 4 <= width; top += 4) {
        long start = tiles(4, 16, 0, rows, depth, left + top, left_step, right, right_step, target + top * depth);
        start = tiles(4, 8, start, rows, depth, left + top, left_step, right, right_step, target + top * depth);
        tiles(4, 1, start, rows, depth, left + top, left_step, right, right_step, target + top * depth);
    }
    for (; top < width; top++) {
        long start = tiles(1, 16, 0, rows, depth, left + top, left_step, right, right_step, target + top * depth);
        tiles(1, 1, start, rows, depth, left + top, left_step, right, right_step, target + top * depth);
    }
}"""

ADD_ROWS = r"""
/* target (width) += the sum of the rows. */
APART void add_rows(long rows, long width, const real *left, long left_step, real *target)
{
    for (long row = 0; row < rows; row++) {
#pragma omp simd
        for (long k = 0; k < width; k++) target[k] += left[row * left_step + k];
    }
}"""

TRANSPOSE = r"""
/* target (columns x rows, `step` apart) = matrix.T, in squares that stay in the cache. */
APART void transpose(const real *matrix, long rows, long columns, real *target, long step)
{
    enum { SIDE = 16 };
    for (long top = 0; top < rows; top += SIDE)
        for (long start = 0; start < columns; start += SIDE)
            for (long row = top; row < rows && row < top + SIDE; row++)
                for (long k = start; k < columns && k < start + SIDE; k++)
                    target[k * step + row] = matrix[row * columns + k];
}"""

EXP = r"""
/* exp(x) = 2**k exp(r) with x = k log 2 + r, |r| < 0.35: a polynomial in r, and k into the exponent's bits. */
static inline real two_to_the(real shifted)
{
    bits k;
    memcpy(&k, &shifted, sizeof k);
#ifdef SINGLE
    k = (bits)((uint32_t)(k + 127) << 23);
#else
    k = (bits)((uint64_t)(k + 1023) << 52);
#endif
    memcpy(&shifted, &k, sizeof k);
    return shifted;
}

#ifdef SINGLE
#define LOW -87.3f
#define HIGH 88.3f
#else
#define LOW -708.3
#define HIGH 709.4
#endif

/* exp(r) - 1 for the rest r of x, and 2**k. */
static inline real reduced(real x, real *power)
{
#ifdef SINGLE
    const real magic = 12582912.0f;
    const real shifted = x * 1.44269504f + magic, k = shifted - magic;
    const real r = (x - k * 0.693145752f) - k * 1.42860677e-6f;
    real p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
#else
    const real magic = 6755399441055744.0;
    const real shifted = x * 1.4426950408889634 + magic, k = shifted - magic;
    const real r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
    real p = 1.6059043836821613e-10;
    p = p * r + 2.08767569878681e-9;
    p = p * r + 2.505210838544172e-8;
    p = p * r + 2.755731922398589e-7;
    p = p * r + 2.7557319223985893e-6;
    p = p * r + 2.48015873015873e-5;
    p = p * r + 1.984126984126984e-4;
    p = p * r + 1.388888888888889e-3;
    p = p * r + 8.333333333333333e-3;
    p = p * r + 4.1666666666666664e-2;
    p = p * r + 0.16666666666666666;
    p = p * r + 0.5;
#endif
    *power = two_to_the(shifted);
    return p * r * r + r;
}

/* exp(x) where that is a number, its bounds beyond. */
static inline real bounded_exp(real x)
{
    const real inside = x < LOW ? LOW : x > HIGH ? HIGH : x;
    real power;
    const real rest = reduced(inside, &power);
    return power + power * rest;
}

static inline real real_exp(real x) { return x > HIGH ? R(INFINITY) : x < LOW ? 0 : bounded_exp(x); }"""

TANH = r"""
/* tanh(x) = -t / (2 + t) with t = exp(-2 |x|) - 1, which is right for small x too. */
static inline real real_tanh(real x)
{
    const real twice = -2 * (x < 0 ? -x : x), inside = twice < -80 ? -80 : twice;
    real power;
    const real rest = reduced(inside, &power), t = power * rest + (power - 1), y = -t / (2 + t);
    return x < 0 ? -y : y;
}"""


def _wrapper(name: str) -> str:
    return f"""
#ifdef SINGLE
static inline real real_{name}(real x) {{ return {name}f(x); }}
#else
static inline real real_{name}(real x) {{ return {name}(x); }}
#endif"""


def _one(head: str, value: str) -> str:
    return f"\nstatic inline real {head} {{ return {value}; }}"


SOURCES: dict[str, str] = {
    "multiply": PRODUCTS,
    "multiply_across": ACROSS,
    "accumulate": ACCUMULATE,
    "add_rows": ADD_ROWS,
    "transpose": TRANSPOSE,
    "reduced": EXP,
    "real_tanh": TANH,
    **{f"real_{name}": _wrapper(name) for name in ("log", "log1p", "sqrt", "erf", "expm1", "fabs")},
    "real_pow": """
#ifdef SINGLE
static inline real real_pow(real x, real y) { return powf(x, y); }
#else
static inline real real_pow(real x, real y) { return pow(x, y); }
#endif""",
    "power": """
static inline real power(real x, int k)
{
    real y = 1;
    for (; k > 0; k--) y *= x;
    return y;
}""",
    "square": _one("square(real x)", "x * x"),
    "sigmoid": _one("sigmoid(real x)", "1 / (1 + bounded_exp(-x))"),
    "silu": _one("silu(real x)", "x * sigmoid(x)"),
    "cosh": _one("real_cosh(real x)", "R(0.5) * (real_exp(x) + real_exp(-x))"),
    "sinh": "\nstatic inline real real_sinh(real x)\n{\n"
    "    const real t = real_expm1(x < 0 ? -x : x), y = R(0.5) * (t + t / (t + 1));\n    return x < 0 ? -y : y;\n}",
    "relu": _one("relu(real x)", "x < 0 ? 0 : x"),
    "elu": _one("elu(real x)", "x > 0 ? x : real_expm1(x)"),
    "softplus": _one("softplus(real x)", "(x > 0 ? x : 0) + real_log1p(real_exp(x > 0 ? -x : x))"),
    "hard_sigmoid": _one("hard_sigmoid(real x)", "x < -3 ? 0 : x > 3 ? 1 : x / 6 + R(0.5)"),
    "hard_tanh": _one("hard_tanh(real x)", "x < -1 ? -1 : x > 1 ? 1 : x"),
    "sign": _one("sign(real x)", "(x > 0) - (x < 0)"),
    "step": _one("step(real x)", "x > 0"),
    "larger": _one("larger(real x, real y)", "x < y ? y : x"),
    "smaller": _one("smaller(real x, real y)", "y < x ? y : x"),
}
"""By name; what an entry calls stands before it."""

NAMES = {
    "tanh": "real_tanh", "exp": "real_exp", "log": "real_log", "sqrt": "real_sqrt", "cosh": "real_cosh",
    "sinh": "real_sinh", "abs": "real_fabs", "max": "larger", "min": "smaller",
}  # fmt: skip
"""What a function of the table is called in C, where it is not its own name."""

DEFINED_BY = {
    "real_cosh": "cosh",
    "real_sinh": "sinh",
    "real_exp": "reduced",
    "bounded_exp": "reduced",
    "use_blas": "multiply",
}
"""The entry that defines a function, where it is not the one of its name."""


def function_name(name: str, order: int) -> str:
    return NAMES.get(name, name) if order == 0 else library.function_name(name, order)


def definition(function: str, known: dict[str, tuple[str, int]]) -> str:
    """The source of a C function; `known` are the functions of `derive.functions` by their names in C."""
    entry = DEFINED_BY.get(function, function)
    if entry in SOURCES:
        return SOURCES[entry]
    return _from_formula(function, *known[function])


def with_dependencies(text: str, known: dict[str, tuple[str, int]]) -> list[str]:
    """The sources of all that the text calls, each after what it calls itself."""
    found: dict[str, str] = {}

    def add(body: str) -> None:
        for function in re.findall(r"(?<![\w.])([a-z_]\w*)\(", body):
            entry = DEFINED_BY.get(function, function)
            if entry in found or not (entry in SOURCES or function in known):
                continue
            source = definition(function, known)
            found[entry] = ""
            add(source.replace(f"{function}(", "", 1) if entry not in SOURCES else source)
            del found[entry]
            found[entry] = source

    add(text)
    return [source.strip("\n") for source in found.values() if source]


# --- functions of the table, from their SymPy expressions -----------------------------------------------------------------


class _Printer(C99CodePrinter):
    """SymPy's C printer, for `real` numbers."""

    def __init__(self) -> None:
        super().__init__({"user_functions": {"exp": "real_exp", "log": "real_log", "erf": "real_erf", "Abs": "real_fabs",
                                             "tanh": "real_tanh", "sign": "sign", "sqrt": "real_sqrt"}})  # fmt: skip

    def _print_Float(self, e: Any) -> str:
        return f"R({float(e)!r})"

    def _print_Rational(self, e: Any) -> str:
        return f"R({float(e)!r})"

    def _print_NumberSymbol(self, e: Any) -> str:
        return f"R({float(e)!r})"

    def _print_Pow(self, e: Any, **options: Any) -> str:
        base, exponent = e.args
        if exponent == sympy.Rational(1, 2):
            return f"real_sqrt({self._print(base)})"
        if exponent == 2:
            return f"square({self._print(base)})"
        if exponent.is_Integer and exponent > 0:
            return f"power({self._print(base)}, {exponent})"
        if exponent.is_Integer:
            return f"(1 / {self._print(base**-exponent) if exponent != -1 else self.parenthesize(base, 100)})"
        return f"real_pow({self._print(base)}, {self._print(exponent)})"

    def _print_Exp1(self, e: Any) -> str:
        return f"R({float(e)!r})"

    def _print_Min(self, e: Any) -> str:
        left, right = (self._print(a) for a in e.args)
        return f"smaller({left}, {right})"


@cache
def _from_formula(function: str, name: str, order: int) -> str:
    """`static inline real gelu_prime(real x)`.  Raises `DeriveError` for a function without a formula."""
    row = functions.row(name)
    expression = functions.expression(name, order) if isinstance(row, Elementwise) else None
    if expression is None or not isinstance(row, Elementwise):
        raise DeriveError(
            f"{name} has no formula, and C can't call a function of Python: compile with backend numpy and functions="
        )
    arguments = ", ".join(f"real {a}" for a in ("x", "y")[: row.arity])
    lines = []
    by_sigmoid = library._in_sigmoid(expression)
    if by_sigmoid is not None and expression.free_symbols:
        lines.append("    const real s = sigmoid(x);")
        expression = by_sigmoid
    else:
        expression = library._without_overflow(expression)
    lines.append(f"    return {_Printer().doprint(_plain(expression))};")
    return "\n".join([f"\nstatic inline real {function}({arguments})", "{", *lines, "}"])


def _plain(expression: Expr) -> Expr:
    """With fractions and roots as floats, and symbols that C may write."""
    symbols = {s: Symbol(s.name) for s in expression.free_symbols}
    return library._floats(expression).xreplace(symbols)


__all__ = ["HEAD", "SOURCES", "definition", "function_name", "with_dependencies"]
