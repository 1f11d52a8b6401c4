"""The table of functions: one row each.  A row is data; SymPy differentiates it.

An elementwise row holds the function as a SymPy expression in `x`.  Its derivatives come from `sympy.diff` and are, where
that is possible, *closed*: written in terms of the function's own value `y` (`tanh' = 1 - y**2`, `sigmoid' = y - y**2`).
To add a function, add a row: the printers, the exact field, the oracles and the emitters all read this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import sympy
from sympy import Abs, Expr, Piecewise, Rational, Symbol, erf, exp, log, sign, sqrt

x = Symbol("x", real=True)
y = Symbol("y", real=True)


@dataclass(frozen=True)
class Elementwise:
    """`f` applied to every entry.  `expression` is `f(x)`; None for a named unknown, whose derivatives stay `f', f'', …`.

    `numpy` is a numerically stable way to write it, with `{x}` for the argument (and `{y}` for a second one); where it is
    left out, the expression itself is printed.
    """

    name: str
    expression: Expr | None
    latex: str
    text: str
    numpy: str | None = None
    arity: int = 1
    result: str = "same"


@dataclass(frozen=True)
class Vectorial:
    """A function of a whole vector: `result` is "same" (a vector of the same length) or "scalar".

    Its Jacobian is a rule in `derive.partials`; its value, from exp, log, sums and square roots, is one in `derive.evaluate`.
    """

    name: str
    latex: str
    text: str
    result: str = "same"
    arity: int = 1


def _piecewise(*branches: tuple[Expr, object]) -> Expr:
    return Piecewise(*branches)


_SIGMOID = 1 / (1 + exp(-x))
_sixth = x / 6 + Rational(1, 2)

_ROWS: tuple[Elementwise | Vectorial, ...] = (
    Elementwise("sigmoid", _SIGMOID, r"\sigma", "σ", "0.5 * np.tanh(0.5 * {x}) + 0.5"),
    Elementwise("tanh", (exp(2 * x) - 1) / (exp(2 * x) + 1), r"\tanh", "tanh", "np.tanh({x})"),
    Elementwise("relu", _piecewise((x, x > 0), (0, True)), r"\mathrm{ReLU}", "ReLU", "np.maximum({x}, 0.0)"),
    Elementwise("leaky_relu", _piecewise((x, x > 0), (x / 100, True)), r"\mathrm{LeakyReLU}", "LeakyReLU"),
    Elementwise("elu", _piecewise((x, x > 0), (exp(x) - 1, True)), r"\mathrm{ELU}", "ELU",
                "np.where({x} > 0, {x}, np.expm1(np.minimum({x}, 0.0)))"),
    Elementwise("softplus", log(1 + exp(x)), r"\mathrm{softplus}", "softplus", "np.logaddexp({x}, 0.0)"),
    Elementwise("silu", x * _SIGMOID, r"\mathrm{SiLU}", "SiLU", "{x} * (0.5 * np.tanh(0.5 * {x}) + 0.5)"),
    Elementwise("gelu", x * (1 + erf(x / sqrt(2))) / 2, r"\mathrm{GELU}", "GELU"),
    Elementwise("hard_sigmoid", _piecewise((0, x <= -3), (1, x >= 3), (_sixth, True)), r"\mathrm{hardsigmoid}",
                "hardsigmoid", "np.clip({x} / 6 + 0.5, 0.0, 1.0)"),
    Elementwise("hard_tanh", _piecewise((-1, x <= -1), (1, x >= 1), (x, True)), r"\mathrm{hardtanh}", "hardtanh",
                "np.clip({x}, -1.0, 1.0)"),
    Elementwise("identity", x, r"\mathrm{id}", "id", "{x}"),
    Elementwise("exp", exp(x), r"\exp", "exp", "np.exp({x})"),
    Elementwise("log", log(x), r"\log", "log", "np.log({x})"),
    Elementwise("square", x**2, r"\mathrm{square}", "square", "{x} * {x}"),
    Elementwise("sqrt", sqrt(x), r"\mathrm{sqrt}", "sqrt", "np.sqrt({x})"),
    Elementwise("abs", Abs(x), r"\mathrm{abs}", "abs", "np.abs({x})"),
    Elementwise("sign", sign(x), r"\mathrm{sign}", "sign", "np.sign({x})"),
    Elementwise("step", _piecewise((1, x > 0), (0, True)), r"\mathrm{step}", "step", "np.where({x} > 0, 1.0, 0.0)"),
    Elementwise("max", _piecewise((x, x > y), (y, True)), r"\max", "max", "np.maximum({x}, {y})", arity=2),
    Elementwise("min", _piecewise((x, x < y), (y, True)), r"\min", "min", "np.minimum({x}, {y})", arity=2),
    Elementwise("phi", None, r"\phi", "φ"),
    Vectorial("softmax", r"\mathrm{softmax}", "softmax"),
    Vectorial("log_sum_exp", r"\mathrm{logsumexp}", "logsumexp", result="scalar"),
    Vectorial("layer_norm", r"\mathrm{LN}", "LN"),
    Vectorial("cross_entropy", r"\mathrm{CE}", "CE", result="scalar", arity=2),
    Vectorial("squared_error", r"\mathrm{SE}", "SE", result="scalar", arity=2),
    Vectorial("logistic", r"\mathrm{BCE}", "BCE", result="scalar", arity=2),
)

TABLE: dict[str, Elementwise | Vectorial] = {row.name: row for row in _ROWS}

LAYER_NORM_EPSILON = Rational(1, 100000)


def row(name: str) -> Elementwise | Vectorial:
    """The row of `name`; a name that has none is an unknown function, known by its name and its primes only."""
    return TABLE.get(name) or Elementwise(name, None, rf"\mathrm{{{name}}}", name)


@cache
def expression(name: str, order: int = 0) -> Expr | None:
    """The `order`-th derivative of `name` as a SymPy expression in `x`; None for an unknown function.

    Kinks take the branch that the comparison in the row gives them (`relu'(0) = 0`), and a jump has derivative zero.
    """
    base = row(name).expression  # type: ignore[union-attr]
    if base is None:
        return None
    derivative = base.diff(x, order) if order else base
    return derivative.replace(lambda e: e.func.__name__ in ("DiracDelta", "Derivative"), lambda e: sympy.Integer(0))


@dataclass(frozen=True)
class Closed:
    """A derivative in terms of `x` and of `y = f(x)`: a polynomial or rational SymPy expression, or another row's name."""

    expression: Expr | None = None
    row: str | None = None


@cache
def closed(name: str) -> Closed | None:
    """`f'` closed under `f` (`Closed.expression` in `y` and `x`), or as another row of the table, or None: then it is `f'`.

    Where `f` is a quotient of linear functions of some `E = exp(kx)`, `E` is eliminated; that covers exp, sigmoid and tanh.
    """
    function = row(name)
    if not isinstance(function, Elementwise) or function.expression is None or function.arity > 1:
        return None
    derivative = expression(name, 1)
    if derivative is None:
        return None
    if derivative.is_polynomial(x) or (name == "log"):
        return Closed(derivative)
    if name == "sqrt":
        return Closed(sympy.simplify(derivative.subs(sqrt(x), y)))
    same = _named(derivative)
    if same:
        return Closed(row=same)
    return _eliminate_exponential(function.expression, derivative)


def _named(derivative: Expr) -> str | None:
    for other in _ROWS:
        if isinstance(other, Elementwise) and other.arity == 1 and other.expression == derivative:
            return other.name
    return None


def _eliminate_exponential(function: Expr, derivative: Expr) -> Closed | None:
    exponentials = function.atoms(exp)
    if len(exponentials) != 1 or function.atoms(Piecewise):
        return None
    (power,) = exponentials
    E = sympy.Dummy("E", positive=True)
    f, df = (sympy.together(e.subs(power, E).subs(exp(-power.args[0]), 1 / E)) for e in (function, derivative))
    if f.has(x) or df.has(x) or f.has(log):
        return None
    numerator, denominator = sympy.fraction(sympy.cancel(f))
    equation = sympy.Poly(numerator - y * denominator, E)
    if equation.degree() != 1:
        return None
    slope, constant = equation.all_coeffs()
    return Closed(sympy.expand(sympy.cancel(df.subs(E, -constant / slope))))


def prime(latex: str, order: int) -> str:
    """`f`, `f'`, `f''`: the name of a derivative of an unknown or unclosed function."""
    return latex + "'" * order


