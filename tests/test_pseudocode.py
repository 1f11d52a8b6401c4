"""Algorithms in LaTeX: brackets survive, every line reads back as the equation that it is, KaTeX and pdflatex accept all."""

from __future__ import annotations

import ast
import json
import re
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from conftest import program as installed
from hypothesis import given, settings
from hypothesis import strategies as st
from test_emit_contract import CELLS, WITH_LOSS

from derive import catalogue, cli, expr
from derive.canonical import canonical
from derive.emit.algorithm import program
from derive.emit.columns import ColumnPrinter
from derive.errors import DeriveError
from derive.expr import Equals, strip_labels
from derive.notation import NOTATIONS, notation
from derive.reader.own import read_back, scope_of
from derive.render import pdf, tex
from derive.render.pseudocode import Algorithm, algorithms
from derive.schedule.terms import summand
from derive.system import LOSS, System

latexified = pytest.importorskip("derive.render.latexified", reason="latexify is not there")

NAMES = (*catalogue.names(), "mdrnn(3)", "stacked-lstm(3)")


@cache
def of(name: str, style: str = "bar") -> tuple[Algorithm, ...]:
    return algorithms(catalogue.load(name), style)


# --- brackets -----------------------------------------------------------------------------------------------------------

ZOO = System(
    "zoo",
    equations="y[t] = W @ d[t] + U @ g[t] + a[t] * (C[t] @ d[t]) + (r[t] @ g[t]) * d[t]",
    inputs="d: n, g: n, r: 1 x n, a: scalar, C: n x n",
    parameters="W: n x n, U: n x n",
)
CALLED = {name: (name, 0) for name in ("tanh", "sigmoid")}
ROUTINE = replace(program(ZOO).routines[0], functions=CALLED)
SCOPE = scope_of(ZOO, notation("default"))
COLUMN, ROW, MATRIX, SCALAR = (3, 1), (1, 3), (3, 3), (1, 1)
LEAVES = {COLUMN: ["d[t]", "g[t]"], ROW: ["r[t]"], MATRIX: ["W", "U", "C[t]"], SCALAR: ["a[t]"]}


def printed(source: str, style: str = "default") -> str:
    (statement,) = ast.parse(source).body
    assert isinstance(statement, ast.Expr)
    return latexified.Formulas(ROUTINE, notation(style)).value(statement.value)


def test_three_products_print_differently():
    assert printed("W @ (d[t] * g[t])") == r"W \, (d_t \odot g_t)"
    assert printed("(W @ d[t]) * g[t]") == r"(W d_t) \odot g_t"
    assert printed("W * (d[t] @ r[t])") == r"W \odot (d_t r_t)"


def test_what_python_groups_is_grouped():
    assert printed("a[t] * W @ d[t]") == r"(a_t W) \, d_t"
    assert printed("W @ U @ d[t]") == "W U d_t"
    assert printed("W @ (U @ d[t])") == r"W \, (U d_t)"
    assert printed("d[t] - (g[t] - d[t])") == "d_t - (g_t - d_t)"
    assert printed("W @ -d[t]") == r"W \, (-d_t)"
    assert printed("(W @ d[t]).T @ g[t]") == r"(W d_t)^{\top} g_t"
    assert printed("(1 - d[t] ** 2) * g[t] / 3") == r"\frac{(1 - d_t^2) \odot g_t}{3}"


@st.composite
def sources(draw: st.DrawFn, shape: tuple[int, int], depth: int) -> str:
    """Python of a shape, every part in brackets; Python's own parser drops those that say nothing."""

    def part(of_shape: tuple[int, int]) -> str:
        return draw(sources(of_shape, depth - 1))

    if not depth or draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from(LEAVES[shape]))
    kind = draw(st.sampled_from(["+", "-", "*", "@", "@", "scale", "minus", ".T", "call"]))
    if kind in "+-*":
        return f"({part(shape)}) {kind} ({part(shape)})"
    if kind == "@":
        inner = draw(st.sampled_from([1, 3]))
        return f"({part((shape[0], inner))}) @ ({part((inner, shape[1]))})"
    if kind == "scale":
        return f"({part(SCALAR)}) * ({part(shape)})"
    if kind == "minus":
        return f"-({part(shape)})"
    if kind == ".T":
        return f"({part(shape[::-1])}).T"
    return f"{draw(st.sampled_from(list(CALLED)))}({part(shape)})"


def worth(source: str) -> np.ndarray:
    """The value of Python source at random numbers, the same at every call."""
    rng = np.random.default_rng(3)
    values = {name: rng.normal(size=shape) for shape, names in LEAVES.items() for name in names}
    table: dict[str, object] = {"t": 0, "np": np, "tanh": np.tanh, "sigmoid": lambda v: 1 / (1 + np.exp(-v))}
    for name, value in values.items():
        table[name.removesuffix("[t]")] = {0: value} if name.endswith("[t]") else value
    return eval(source, table)  # drawn above


@settings(max_examples=250, deadline=None, derandomize=True)
@given(st.sampled_from(list(LEAVES)).flatmap(lambda shape: sources(shape, 4)))
def test_brackets_survive(source: str):
    """What is printed, read by derive's own reader, has the value that Python gives to the source."""
    written = printed(source)
    formula = read_back(written, SCOPE)[0].formula
    python = (
        ColumnPrinter(lambda v: f"{v.name}[t]" if v.index else v.name, str).formula(formula).replace("((n, ", "((3, ")
    )
    left, right = worth(python.replace(", n))", ", 3))").replace("eye(n)", "eye(3)")), worth(source)
    said = f"{source}\n  is printed  {written}\n  is read     {formula}\n{left}\nagainst\n{right}"
    np.testing.assert_allclose(np.broadcast_to(left, np.shape(right)), right, rtol=1e-9, atol=1e-9, err_msg=said)


# --- what is shown is the derivation ------------------------------------------------------------------------------------


def statements(algorithm: Algorithm) -> list[str]:
    """The assignments of an algorithm, what goes over several lines in one."""
    joined = " ".join(line if r"{} " in line else f"\n{line}" for line in algorithm.lines)
    found = [re.sub(r"\\hspace\{\d+em\} |\{\} ", "", line) for line in joined.splitlines()]
    return [line for line in found if r"\gets" in line and r"\mathbb{R}" not in line]


LINES = [
    (name, style)
    for style in ("bar", "bar,superscript,circ", "nabla")
    for name in NAMES
    # The reader knows the weight of a loss, 1 or [t = T], as \bar L_t only.
    if style != "nabla" or f"{LOSS}_bar" not in catalogue.load(name).adjoint().equations
]


@pytest.mark.parametrize(("name", "style"), LINES)
def test_every_line_is_an_equation_of_the_system_or_of_its_adjoint(name: str, style: str):
    """Every equation is a line, read back; a gradient's sum over the lattice is a line that adds its body."""
    system = catalogue.load(name)
    scope = scope_of(system, notation(style))
    adjoint = system.adjoint()
    forward = [e for e in system.equations.values() if e.name != LOSS or system.has_loss]
    for algorithm, equations in zip(of(name, style), (forward, adjoint.own), strict=True):
        read = set()
        for line in statements(algorithm):
            written = line.replace(r"\gets", "=").strip()
            read.add(canonical(strip_labels(read_back(written, scope)[0].formula)))
        for e in equations:
            rhs = e.rhs if e.target.index else expr.add(e.target, summand(e.rhs))
            wanted = canonical(strip_labels(Equals(e.target, rhs)))
            assert wanted in read, f"{name}: {wanted}\nis none of the lines of\n" + "\n".join(map(str, read))


@pytest.mark.parametrize("name", NAMES)
def test_the_shape_of_an_algorithm(name: str):
    for algorithm in of(name):
        heads = [line.replace(r"\hspace", "") for line in algorithm.lines]
        loops = sum(r"\mathbf{for}" in line for line in heads)
        assert (
            loops
            == sum(r"\mathbf{end \ for}" in line for line in heads)
            == algorithm.source.count("for ") - (algorithm.source.count("for _ in"))
        )
        assert heads[0].startswith(r"\mathbf{function}") and heads[-1] == r"\mathbf{end \ function}"
        assert algorithm.source in program(catalogue.load(name)).source


def test_the_directions_of_the_loops():
    def loops(name: str) -> list[list[str]]:
        return [re.findall(r"\\mathbf\{for\} \\ (.*?) \\ \\mathbf\{do\}", a.latex) for a in of(name)]

    up, down = r"t = 1, \dots, T", r"t = T, \dots, 1"
    assert loops("gru") == [[up], [down]]
    assert loops("birnn") == [[up, down], [up, down]]
    assert loops("mdlstm") == [[r"i = 1, \dots, I", r"j = 1, \dots, J"], [r"i = I, \dots, 1", r"j = J, \dots, 1"]]


def test_boundary_values_are_named_where_they_are_given_and_returned():
    forward, backward = of("skip-rnn")
    assert "(T, x, h_0, h_{-1}, W, M, U)" in forward.latex
    assert r"\mathbf{return} \ \bar{W}, \bar{M}, \bar{U}, \bar{x}, \bar{h}_0, \bar{h}_{-1}" in backward.latex


# --- who renders it -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_katex_renders_every_algorithm_in_every_notation(name, katex):
    for fragment in {algorithm.latex for style in NOTATIONS for algorithm in of(name, style)}:
        assert "katex-html" in katex(fragment)
        assert not re.search(r"\\operatorname|\\label|[^\x00-\x7f]", fragment)


@pytest.mark.parametrize("name", [*CELLS, *WITH_LOSS])
def test_the_algorithms_of_unusual_systems(name, refused_by_katex):
    """Reads ahead and across borders, loops with shifts, conditions, matrix states, scalars, rows, awkward names."""
    system = {**CELLS, **WITH_LOSS}[name]
    assert not refused_by_katex(
        [a.latex for style in ("bar", "nabla,bold,superscript") for a in algorithms(system, style)]
    )


def test_a_condition_is_shown():
    (_, backward) = algorithms(CELLS["logarithms of gates"])
    assert r"\mathbf{if} \ t+1 \le T" in backward.latex and "if t + 1 <= T:" in backward.source
    (forward, _) = algorithms(CELLS["a chain that runs ahead"])
    assert r"\mathbf{if} \ 1 \le t-1 \le T" in forward.latex


def test_pdflatex_sets_every_algorithm():
    installed("pdflatex")
    body = "\n".join(f"\\section*{{{name}}}\n{a.tex}" for name in NAMES for a in of(name))
    document = f"{tex.PREAMBLE}\\begin{{document}}\n{body}\n\\end{{document}}\n"
    assert pdf.compile_tex(document).startswith(b"%PDF-")


def test_without_latexify_there_is_python_and_a_sentence(monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == "latexify"]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("latexified", "algorithmic"):
        monkeypatch.delitem(sys.modules, f"derive.render.{name}", raising=False)
        monkeypatch.delattr(f"derive.render.{name}", raising=False)
    (forward, _) = algorithms(catalogue.load("gru"))
    assert forward.source.startswith("def forward(") and forward.title == "Forward sweep"
    with pytest.raises(DeriveError, match=r"needs latexify-py, .* pip install 'derive-bptt\[latex\]' .* Python"):
        _ = forward.latex


# --- the command ----------------------------------------------------------------------------------------------------------


def test_show_prints_python_and_has_the_latex_as_json(capsys):
    assert cli.main(["show", "rnn", "--pseudocode"]) == 0
    shown = capsys.readouterr().out
    forward, backward = of("rnn")
    note, _, shown = shown.partition("\n\n\n")
    assert note.startswith("# A Trajectory has the values of a variable by step")
    assert shown == f"# Forward sweep\n\n{forward.source}\n\n\n# Backward sweep\n\n{backward.source}\n"
    assert cli.main(["show", "rnn", "--pseudocode", "--format", "json", "--notation", "bar,superscript"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["latex"] for row in rows] == [a.latex for a in of("rnn", "bar,superscript")]


def test_a_cell_of_a_users_own_and_a_document_have_algorithms(tmp_path, capsys):
    cell = tmp_path / "cells.py"
    cell.write_text(
        "from derive import System\n"
        "leaky = System('leaky', equations='h[t] = a * h[t-1] + tanh(W @ x[t])',\n"
        "               inputs='x: m', parameters='a, W', shapes='h: n')\n"
    )
    paper = tmp_path / "paper.tex"
    paper.write_text("% derive: define\n\\[ h_t = a \\odot h_{t-1} + \\tanh(W x_t) \\]\n")
    for name in (f"{cell}:leaky", str(paper)):
        assert cli.main(["show", name, "--pseudocode"]) == 0
        assert "h[t] = a * h[t - 1] + tanh(W @ x[t])" in capsys.readouterr().out
