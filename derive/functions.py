"""The table of functions: one row each.  A row is data; SymPy differentiates it.

An elementwise row holds the function as a SymPy expression in `x`, made on first use.  Its derivatives come from
`sympy.diff` and are, where that is possible, *closed*: written in terms of the function's own value `y`
(`tanh' = 1 - y**2`, `sigmoid' = y - y**2`).
To add a function, add a row: the printers, the exact field, the oracles and the emitters all read this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import sympy
from sympy import Abs, Expr, Piecewise, Rational, Symbol, erf, exp, log, sign, sqrt

x = Symbol("x", real=True)
y = Symbol("y", real=True)
_E = Symbol("E", positive=True)


@dataclass(frozen=True)
class Elementwise:
    """`f` applied to every entry.  `formula` is `f`; None for a named unknown, whose derivatives stay `f', f'', …`.

    `numpy` is a numerically stable way to write it, with `{x}` for the argument (and `{y}` for a second one); where
    it is left out, the expression itself is printed.
    """

    name: str
    formula: Callable[..., Expr] | None
    latex: str
    text: str
    numpy: str | None = None
    arity: int = 1
    result: str = "same"

    @cached_property
    def expression(self) -> Expr | None:
        """`f(x)`, or `f(x, y)` for a function of two arguments, as a SymPy expression."""
        return self.formula and sympy.sympify(self.formula(*(x, y)[: self.arity]))


@dataclass(frozen=True)
class Vectorial:
    """A function of a whole vector: `result` is "same" (a vector of the same length) or "scalar".

    Its Jacobian is a rule in `derive.partials`; its value, from exp, log, sums and roots, is one in `derive.evaluate`.
    """

    name: str
    latex: str
    text: str
    result: str = "same"
    arity: int = 1


def _sigmoid(x: Expr) -> Expr:
    return 1 / (1 + exp(-x))


_ROWS: tuple[Elementwise | Vectorial, ...] = (
    Elementwise("sigmoid", _sigmoid, r"\sigma", "σ", "0.5 * np.tanh(0.5 * {x}) + 0.5"),
    Elementwise("tanh", lambda x: (exp(2 * x) - 1) / (exp(2 * x) + 1), r"\tanh", "tanh", "np.tanh({x})"),
    Elementwise("cosh", lambda x: (exp(x) + exp(-x)) / 2, r"\cosh", "cosh", "np.cosh({x})"),
    Elementwise("sinh", lambda x: (exp(x) - exp(-x)) / 2, r"\sinh", "sinh", "np.sinh({x})"),
    Elementwise("sech", lambda x: 2 / (exp(x) + exp(-x)), r"\mathrm{sech}", "sech"),
    Elementwise("relu", lambda x: Piecewise((x, x > 0), (0, True)), r"\mathrm{ReLU}", "ReLU", "np.maximum({x}, 0.0)"),
    Elementwise("leaky_relu", lambda x: Piecewise((x, x > 0), (x / 100, True)), r"\mathrm{LeakyReLU}", "LeakyReLU"),
    Elementwise("elu", lambda x: Piecewise((x, x > 0), (exp(x) - 1, True)), r"\mathrm{ELU}", "ELU",
                "np.where({x} > 0, {x}, np.expm1(np.minimum({x}, 0.0)))"),
    Elementwise("softplus", lambda x: log(1 + exp(x)), r"\mathrm{softplus}", "softplus", "np.logaddexp({x}, 0.0)"),
    Elementwise("silu", lambda x: x * _sigmoid(x), r"\mathrm{SiLU}", "SiLU", "{x} * (0.5 * np.tanh(0.5 * {x}) + 0.5)"),
    Elementwise("gelu", lambda x: x * (1 + erf(x / sqrt(2))) / 2, r"\mathrm{GELU}", "GELU"),
    Elementwise("hard_sigmoid", lambda x: Piecewise((0, x <= -3), (1, x >= 3), (x / 6 + Rational(1, 2), True)),
                r"\mathrm{hardsigmoid}", "hardsigmoid", "np.clip({x} / 6 + 0.5, 0.0, 1.0)"),
    Elementwise("hard_tanh", lambda x: Piecewise((-1, x <= -1), (1, x >= 1), (x, True)),
                r"\mathrm{hardtanh}", "hardtanh", "np.clip({x}, -1.0, 1.0)"),
    Elementwise("identity", lambda x: x, r"\mathrm{id}", "id", "{x}"),
    Elementwise("exp", exp, r"\exp", "exp", "np.exp({x})"),
    Elementwise("log", log, r"\log", "log", "np.log({x})"),
    Elementwise("square", lambda x: x**2, r"\mathrm{square}", "square", "{x} * {x}"),
    Elementwise("sqrt", sqrt, r"\mathrm{sqrt}", "sqrt", "np.sqrt({x})"),
    Elementwise("abs", Abs, r"\mathrm{abs}", "abs", "np.abs({x})"),
    Elementwise("sign", sign, r"\mathrm{sign}", "sign", "np.sign({x})"),
    Elementwise("step", lambda x: Piecewise((1, x > 0), (0, True)), r"\mathrm{step}", "step",
                "np.where({x} > 0, 1.0, 0.0)"),
    Elementwise("max", lambda x, y: Piecewise((x, x > y), (y, True)), r"\max", "max", "np.maximum({x}, {y})", arity=2),
    Elementwise("min", lambda x, y: Piecewise((x, x < y), (y, True)), r"\min", "min", "np.minimum({x}, {y})", arity=2),
    Elementwise("phi", None, r"\phi", "φ"),
    Vectorial("softmax", r"\mathrm{softmax}", "softmax"),
    Vectorial("log_sum_exp", r"\mathrm{logsumexp}", "logsumexp", result="scalar"),
    Vectorial("layer_norm", r"\mathrm{LN}", "LN"),
    Vectorial("cross_entropy", r"\mathrm{CE}", "CE", result="scalar", arity=2),
    Vectorial("squared_error", r"\mathrm{SE}", "SE", result="scalar", arity=2),
    Vectorial("logistic", r"\mathrm{BCE}", "BCE", result="scalar", arity=2),
)  # fmt: skip

TABLE: dict[str, Elementwise | Vectorial] = {row.name: row for row in _ROWS}

OUTPUTS: Mapping[str, str] = {"cross_entropy": "softmax", "logistic": "sigmoid"}
"""A loss of the argument of an output, and that output."""

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
    """A derivative in terms of `x` and of `y = f(x)`: a polynomial or rational expression, or another row's name."""

    expression: Expr | None = None
    row: str | None = None


@cache
def closed(name: str) -> Closed | None:
    """`f'` closed under `f` (`Closed.expression` in `y` and `x`), or as another row of the table; None: it is `f'`.

    Where `f` is a quotient of linear functions of `E = exp(kx)`, `E` is eliminated: that covers exp, sigmoid and tanh.
    """
    function, derivative = row(name), None
    if isinstance(function, Elementwise) and function.arity == 1:
        derivative = expression(name, 1)
    if derivative is None:
        return None
    if derivative.is_polynomial(x) or name == "log":
        return Closed(derivative)
    if name == "sqrt":
        return Closed(derivative.subs(sqrt(x), y))
    assert isinstance(function, Elementwise) and function.expression is not None
    return _eliminate_exponential(function.expression, derivative) or _named(derivative)


def _eliminate_exponential(function: Expr, derivative: Expr) -> Closed | None:
    f, df = _in_exponential(function), _in_exponential(derivative)
    if f is None or df is None:
        return None
    numerator, denominator = sympy.fraction(f)
    equation = sympy.Poly(numerator - y * denominator, _E)
    if equation.degree() != 1:
        return None
    slope, constant = equation.all_coeffs()
    return Closed(sympy.expand(sympy.cancel(df.subs(_E, -constant / slope))))


def _named(derivative: Expr) -> Closed | None:
    """The row whose function is `derivative`."""
    wanted = _in_exponential(derivative)
    for other in _ROWS:
        f = other.expression if isinstance(other, Elementwise) and other.arity == 1 else None
        if f is not None and (f == derivative or (wanted is not None and _in_exponential(f) == wanted)):
            return Closed(row=other.name)
    return None


@cache
def _in_exponential(f: Expr) -> Expr | None:
    """`f` as one quotient of polynomials in `E = exp(kx)`, where it is one: `1 / (1 + exp(-x))` is `E / (E + 1)`."""
    powers = f.atoms(exp)
    if not powers or f.atoms(Piecewise, log, erf):
        return None
    k = min(abs(e.args[0].coeff(x)) for e in powers)
    if not k:
        return None
    quotient = sympy.together(f.xreplace({e: _E ** (e.args[0] / (k * x)) for e in powers}))
    return None if quotient.has(x) else quotient


def prime(latex: str, order: int) -> str:
    """`f`, `f'`, `f''`: the name of a derivative of an unknown or unclosed function."""
    return latex + "'" * order
