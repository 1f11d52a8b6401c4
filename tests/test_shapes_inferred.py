"""Shapes of equations that declare none: conventions find those of the catalogue, and say whose shape they took."""

from __future__ import annotations

import ast
from pathlib import Path
from runpy import run_path
from typing import Any
from unittest import mock

import pytest
from sympy import Expr, Rational

import derive.cells
from derive import catalogue, expr
from derive.equations import Source, juxtaposed
from derive.errors import DeriveError, ShapeError, SystemError_
from derive.expr import Node, Var
from derive.shapes import ONE, Juxtapose, dimension, parse_declarations
from derive.system import System

EVERY = (*catalogue.names(), "mdrnn(1)", "mdrnn(3)", "mdlstm(3)", "stacked-lstm(3)")


class Typed(Source):
    """Python's notation, with every `@` read as two factors side by side."""

    def statements(self) -> list[ast.Assign]:
        return [_SideBySide().visit(s) for s in super().statements()]

    def expression(self) -> ast.expr:
        return _SideBySide().visit(super().expression())


class _SideBySide(ast.NodeTransformer):
    def visit_MatMult(self, node: ast.MatMult) -> Juxtapose:
        return Juxtapose()


def typed(text: str) -> Source:
    lines = [line.strip() for line in text.strip().split("\n")]
    return Typed("\n".join(lines), "cell", 1, (0,) * len(lines))


def read(equations: str, loss: str = "", **options: Any) -> System:
    options = {"inputs": "x", "infer": True, **options}
    return System.read("cell", typed(equations), loss=typed(loss) if loss else None, **options)


def shapes(system: System) -> dict[str, str]:
    return {name: expr.show_shape(v.shape) for name, v in system.variables.items()}


# --- the catalogue, with nothing declared -----------------------------------------------------------------------------

FREER = {
    "birnn": "no equation ties the widths of the two chains",
    "blstm": "no equation ties the widths of the two chains",
    "stacked-lstm": "no equation ties the widths of the layers",
    "stacked-lstm(3)": "no equation ties the widths of the layers",
}
"""Systems whose equations allow more dimensions than the catalogue gives them."""


def given(name: str) -> dict[str, str]:
    """What the file of the catalogue hands to `System`."""
    stem, arguments = catalogue._parse(name)
    identifier = stem.replace("-", "_")
    with mock.patch("derive.system.System", lambda _, **options: options):
        made = run_path(str(Path(derive.cells.__path__[0]) / f"{identifier}.py"))[identifier]
    return made if isinstance(made, dict) else made(*filter(None, [arguments and int(arguments)]))


def bare(name: str) -> System:
    """The system of the catalogue read again, with none of its shapes."""
    options = given(name)
    equations, loss = options.pop("equations"), options.pop("loss", "")
    for kind in ("inputs", "targets"):
        options[kind] = " ".join(parse_declarations(options.get(kind, "")))
    del options["shapes"]
    return System.read(name, typed(equations), loss=typed(loss) if loss else None, infer=True, **options)


def renaming(found: System, wanted: System) -> dict[Expr, Expr]:
    """The dimensions of one system to those of the other; fails where one would have to be two."""
    names: dict[Expr, Expr] = {}
    for name, variable in found.variables.items():
        for ours, theirs in zip(variable.shape, wanted.variables[name].shape, strict=True):
            assert names.setdefault(ours, theirs) == theirs, f"{name}: {ours} is both {names[ours]} and {theirs}"
            assert (ours == 1) == (theirs == 1), f"{name} is {variable.shape}, not {wanted.variables[name].shape}"
    return names


def renamed(node: Node, names: dict[Expr, Expr]) -> Node:
    def leaf(part: Any) -> Any:
        if isinstance(part, Var):
            return Var(*part.args[:3], *(names[d] for d in part.shape))
        return names.get(part, part)

    return expr.rewrite(node, leaf)


@pytest.mark.parametrize("name", EVERY)
def test_the_catalogue_needs_no_shapes(name: str):
    found, wanted = bare(name), catalogue.load(name)
    names = renaming(found, wanted)
    assert (len({*names.values()}) < len(names)) == (name in FREER), names
    assert list(found.variables) == list(wanted.variables)
    for equation, original in zip(found.equations.values(), wanted.equations.values(), strict=True):
        assert renamed(equation.rhs, names) == original.rhs
        assert renamed(equation.target, names) == original.target
    assert (found.outputs, found.boundary, found.loss) == (wanted.outputs, wanted.boundary, wanted.loss)


@pytest.mark.parametrize("name", EVERY)
def test_declared_shapes_decide_what_stands_side_by_side(name: str):
    """With the catalogue's own shapes nothing is assumed: the equations are the same to the letter."""
    options, wanted = given(name), catalogue.load(name)
    equations, loss = options.pop("equations"), options.pop("loss", "")
    found = System.read(name, typed(equations), loss=typed(loss) if loss else None, **options)
    assert [e.rhs for e in found.equations.values()] == [e.rhs for e in wanted.equations.values()]


# --- conventions, one by one ------------------------------------------------------------------------------------------

FOUND = {
    "columns": ("h[t] = tanh(W @ x[t] + U @ h[t-1] + b)", {}, "W U b", {"W": "n x m", "b": "n", "h": "n", "x": "m"}),
    "an entrywise product of columns": (
        "h[t] = a[t] @ h[t-1] + x[t]\na[t] = sigmoid(W @ x[t])", {}, "W", {"W": "n x n", "a": "n"},
    ),
    "a scalar gate": (
        "a[t] = sigmoid(w.T @ x[t] + b)\nh[t] = a[t] @ h[t-1] + (1 - a[t]) @ x[t]", {}, "w b",
        {"a": "scalar", "b": "scalar", "w": "n", "h": "n", "x": "n"},
    ),
    "a leak": (
        "h[t] = (1 - alpha) @ h[t-1] + alpha @ tanh(W @ x[t] + b)", {}, "alpha W b",
        {"alpha": "scalar", "W": "n x m", "b": "n"},
    ),
    "retention": (
        "q[t] = W_q @ x[t]\nS[t] = gamma @ S[t-1] + v[t] @ k[t].T\nk[t] = W_k @ x[t]\nv[t] = W_v @ x[t]\ny[t] = S[t] @ q[t]",
        {}, "W_q W_k W_v gamma", {"S": "q x n", "gamma": "scalar", "k": "n", "v": "q", "y": "q"},
    ),
    "a memory of inputs": (
        "S[t] = S[t-1] + v[t] @ k[t].T\ny[t] = S[t] @ q[t]", {"inputs": "q k v"}, "", {"S": "n x m", "q": "m", "v": "n"},
    ),
    "a gated memory": (
        "C[t] = f[t] @ C[t-1] + i[t] @ v[t] @ k[t].T\nn[t] = f[t] @ n[t-1] + i[t] @ k[t]\n"
        "i[t] = exp(w_i.T @ x[t] + b_i)\nf[t] = sigmoid(w_f.T @ x[t] + b_f)\n"
        "h[t] = C[t] @ q[t] / max(abs(n[t].T @ q[t]), 1)",
        {"inputs": "x q k v"}, "w_i b_i w_f b_f",
        {"C": "n x q", "n": "q", "f": "scalar", "i": "scalar", "h": "n", "w_i": "m", "b_f": "scalar"},
    ),
    "the delta rule": (
        "S[t] = S[t-1] + beta[t] @ (v[t] - S[t-1] @ k[t]) @ k[t].T\nbeta[t] = sigmoid(w.T @ x[t])",
        {"inputs": "x k v"}, "w", {"S": "n x q", "beta": "scalar", "w": "m"},
    ),
    "peepholes": ("c[t] = p * c[t-1] + W @ x[t]", {}, "p W", {"p": "n", "W": "n x m"}),
    "layer normalisation": (
        "a[t] = W @ x[t] + U @ h[t-1]\nh[t] = tanh(g * layer_norm(a[t]) + beta)", {}, "W U g beta",
        {"g": "n", "beta": "n", "a": "n"},
    ),
    "a small number": ("h[t] = x[t] / sqrt(h[t-1]**2 + epsilon)", {}, "epsilon", {"epsilon": "scalar", "h": "n"}),
    "attention by softmax": (
        "p[t] = softmax(V @ tanh(W @ x[t]))\ny[t] = p[t].T @ x[t]", {}, "V W", {"y": "scalar", "V": "n x q", "W": "q x n"},
    ),
    "a product of matrices": ("h[t] = A @ B @ h[t-1] + C.T @ x[t]", {}, "A B C", {"A": "n x q", "B": "q x n", "C": "m x n"}),
    "rows": ("h[t] = tanh(x[t] @ W + h[t-1] @ U + b)", {}, "W U b", {"x": "1 x m", "W": "m x n", "h": "1 x n", "b": "1 x n"}),
    "retention with rows": (
        "Q[t] = X[t] @ W_Q\nK[t] = X[t] @ W_K\nV[t] = X[t] @ W_V\n"
        "S[t] = gamma @ S[t-1] + K[t].T @ V[t]\nO[t] = Q[t] @ S[t]",
        {"inputs": "X"}, "W_Q W_K W_V gamma",
        {"X": "1 x m", "Q": "1 x n", "K": "1 x n", "V": "1 x q", "S": "n x q", "O": "1 x q", "gamma": "scalar"},
    ),
    "a matrix in front of a bracket": ("h[t] = U @ (r[t] * h[t-1]) + x[t]\nr[t] = sigmoid(W @ x[t])", {}, "U W", {"U": "n x n"}),
    "upper-case vectors": ("H[t] = tanh(U @ X[t] + W @ H[t-1])", {"inputs": "X"}, "U W", {"H": "n", "X": "m", "U": "n x m"}),
    "a name that is taken": ("h[n] = W @ h[n-1] + x[n]\no[n] = V @ h[n]", {}, "W V", {"h": "q", "o": "p", "x": "q"}),
    "what is declared": (
        "h[t] = W @ x[t] + h[t-1]", {"shapes": {"x": (dimension("n"), ONE)}}, "W", {"W": "q x n"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_conventions(case: str):
    equations, options, parameters, wanted = FOUND[case]
    found = shapes(read(equations, parameters=parameters, **options))
    assert {name: found[name] for name in wanted} == wanted


def test_a_loss_takes_part():
    system = read(
        "h[t] = tanh(W @ h[t-1] + U @ x[t])\no[t] = V @ h[t]",
        "cross_entropy(o[t], y[t]) + lambda_2 @ sum(h[t]**2)",
        parameters="W U V lambda_2",
        targets="y",
    )
    assert {"y": "q", "o": "q", "h": "n", "x": "m", "lambda_2": "scalar"}.items() <= shapes(system).items()
    assert system.has_loss


def test_scalar():
    system = read("S[t] = tanh(U @ X[t] + W @ S[t-1] + b)", inputs="X", parameters="U W b", scalar=True)
    assert {*shapes(system).values()} == {"scalar"}


def test_an_error_asks_for_the_name_that_convention_got_wrong():
    """A matrix by a lower-case name, and nothing to tell before it is taken for a column."""
    equations, sizes = "s[t] = s[t-1] + x[t]\ny[t] = s[t] @ q[t]", {"inputs": "x, q: 3", "shapes": "y: 4"}
    with pytest.raises(
        SystemError_, match=r"^cell:2:8: .* found 4 and 3 in .*; s is taken for a column, else declare s: n x m$"
    ):
        read(equations, **sizes)
    assert shapes(read(equations, **sizes | {"shapes": "y: 4, s: 4 x 3"}))["x"] == "4 x 3"


def test_nothing_is_assumed_unless_asked():
    with pytest.raises(DeriveError, match="the equations leave the shape open of"):
        read("h[t] = W @ x[t] + h[t-1]", parameters="W", infer=False)


# --- the product itself -----------------------------------------------------------------------------------------------


def test_factors_side_by_side():
    a, b, s = Var("a", (), (), "n", 1), Var("b", (), (), "n", 1), Var("s", (), (), 1, 1)
    matrix = Var("W", (), (), "m", "n")
    assert juxtaposed(a, b) == expr.had(a, b)
    assert juxtaposed(s, matrix) == juxtaposed(matrix, s) == expr.scale(s, matrix)
    assert juxtaposed(matrix, a) == expr.mul(matrix, a)
    assert juxtaposed(a.T, b) == expr.mul(expr.transpose(a), b)
    assert juxtaposed(a, b.T) == expr.mul(a, expr.transpose(b))
    assert juxtaposed(Rational(2), a) == expr.scale(2, a)
    with pytest.raises(ShapeError, match=r"found n and m x n; did you mean a transpose \.T\?$"):
        juxtaposed(a, matrix)
