"""What is printed: a table of formulas, and properties that hold of every formula in every notation."""

from __future__ import annotations

import itertools
import json
import random
import re
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path as Path_

import numpy as np
import pytest
from sympy import Integer, Interval, Rational, Symbol

from derive.errors import DeriveError, QueryError
from derive.expr import (
    Add,
    At,
    Block,
    Cases,
    Diag,
    Diagonal,
    Entry,
    Equals,
    Extremum,
    GradientOf,
    Had,
    Identity,
    Implies,
    Inner,
    Labelled,
    MatrixPower,
    Mul,
    Node,
    Norm,
    Ones,
    Otherwise,
    Partial,
    Path,
    Power,
    Product,
    Pulled,
    Relation,
    Scale,
    Sum,
    Transpose,
    Var,
    Words,
    Zero,
    add,
    apply,
    scale,
)
from derive.notation import LATEX, NOTATIONS, TEXT, Notation, notation
from derive.printing import LINE, RULES, latex, text, visible

dummy = Var("u", (), (), Integer(1), Integer(1))
t, k, m, i, j, T, n = (Symbol(name, integer=True) for name in ("t", "k", "m", "i", "j", "T", "n"))


def column(base, *index, marks=()):
    return Var(base, marks, index or (t,), n, 1)


def matrix(base, *index, marks=()):
    return Var(base, marks, index, n, n)


def number(base, *index, marks=()):
    return Var(base, marks, index or (t,), 1, 1)


h, h_, x, z, h_tilde = column("h"), column("h", t - 1), column("x"), column("z"), column("h_tilde")
h_bar, h_bar_next = column("h", marks=("bar",)), column("h", t + 1, marks=("bar",))
W, U, b, C_, f = matrix("W_z"), matrix("U_z"), Var("b_z", (), (), n, 1), matrix("C", t - 1), number("f")
zbar_W = matrix("W_z", marks=("bar",))

# node, default LaTeX, Goodfellow's LaTeX (None: not asked), text
TABLE = [
    (h, "h_t", "h^{(t)}", "h_t"),
    (h_, "h_{t-1}", "h^{(t-1)}", "h_{t-1}"),
    (h_tilde, r"\tilde{h}_t", r"\tilde{h}^{(t)}", "h̃_t"),
    (column("y_hat"), r"\hat{y}_t", r"\hat{y}^{(t)}", "ŷ_t"),
    (column("c_bar"), r"\bar{c}_t", None, "c̄_t"),
    (column("f_prime"), "{f'}_t", "{f'}^{(t)}", "f′_t"),
    (W, "W_z", "W_z", "W_z"),
    (matrix("U_xi"), "U_{xi}", None, "U_{xi}"),
    (matrix("W_out"), r"W_{\mathrm{out}}", None, "W_{out}"),
    (matrix("gate"), r"\mathrm{gate}", None, "gate"),
    (column("alpha_1"), r"\alpha_{1,t}", r"\alpha_1^{(t)}", "α_{1,t}"),
    (column("c_f"), "c_{f,t}", "c_f^{(t)}", "c_{f,t}"),
    (column("h_1"), "h_{1,t}", "h_1^{(t)}", "h_{1,t}"),
    (column("h", i, j - 1), "h_{i,j-1}", "h^{(i,j-1)}", "h_{i,j-1}"),
    (column("h", T - t + 1), "h_{T-t+1}", "h^{(T-t+1)}", "h_{T-t+1}"),
    (column("h", t - k), "h_{t-k}", None, "h_{t-k}"),
    (column("h", Integer(0)), "h_0", "h^{(0)}", "h_0"),
    (h_bar, r"\nabla_{h_t} L", r"\nabla_{h^{(t)}} L", "∇_{h_t} L"),
    (matrix("W", marks=("bar",)), r"\nabla_W L", r"\nabla_W L", "∇_W L"),
    (zbar_W, r"\nabla_{W_z} L", r"\nabla_{W_z} L", "∇_{W_z} L"),
    (column("h", marks=("dot",)), r"\dot{h}_t", r"\dot{h}^{(t)}", "ḣ_t"),
    (column("z", marks=("delta",)), r"\delta^{z}_t", r"\delta_z^{(t)}", "δ^z_t"),
    (
        column("h", marks=("ct",)),
        r"\frac{\partial L_t}{\partial h_t}",
        r"\frac{\partial L^{(t)}}{\partial h^{(t)}}",
        "∂L_t/∂h_t",
    ),
    (column("h", marks=("bar", "dot")), r"\dot{\overline{h}}_t", None, "h̅̇_t"),
    (column("h", marks=("ct", "dot")), r"\dot{\partial}_{h_t} L_t", None, "∂̇_{h_t} L_t"),
    (1 - h**2, "1 - h_t^2", "1 - (h^{(t)})^2", "1 - h_t²"),
    (2 - h, "2 - h_t", None, "2 - h_t"),
    (scale(-1, h), "-h_t", None, "-h_t"),
    (scale(-1, h) + x, "-h_t + x_t", None, "-h_t + x_t"),
    (h - scale(3, x), "h_t - 3 x_t", None, "h_t - 3 x_t"),
    (scale(Rational(1, 2), h), r"\tfrac12 h_t", None, "½ h_t"),
    (scale(Rational(-3, 20), h), r"-\tfrac{3}{20} h_t", None, "-(3/20) h_t"),
    (scale(2, h + x), "2 (h_t + x_t)", None, "2 (h_t + x_t)"),
    (scale(1 / n, h), r"\frac{1}{n} h_t", None, None),
    (W**2, r"W_z^{\odot 2}", None, "W_z^{⊙2}"),
    (x / h, r"\frac{x_t}{h_t}", None, "x_t / h_t"),
    (h**-2, r"\frac{1}{h_t^2}", None, "1 / h_t²"),
    (
        z * h_ + (1 - z) * h_tilde,
        r"z_t \odot h_{t-1} + (1 - z_t) \odot \tilde{h}_t",
        None,
        "z_t ⊙ h_{t-1} + (1 - z_t) ⊙ h̃_t",
    ),
    (
        apply("sigmoid", W @ x + U @ h_ + b),
        r"\sigma(W_z x_t + U_z h_{t-1} + b_z)",
        r"\sigma(W_z x^{(t)} + U_z h^{(t-1)} + b_z)",
        "σ(W_z x_t + U_z h_{t-1} + b_z)",
    ),
    (apply("tanh", h) ** 2, r"\tanh^2(h_t)", r"\tanh^2(h^{(t)})", "tanh²(h_t)"),
    (apply("phi", h, order=1), r"\phi'(h_t)", None, "φ'(h_t)"),
    (apply("phi", h, order=1) ** 2, r"\phi'(h_t)^2", None, "φ'(h_t)²"),
    (apply("step", h), r"\mathbf{1}[h_t > 0]", None, "1[h_t > 0]"),
    (apply("max", h, x), r"\max(h_t, x_t)", None, "max(h_t, x_t)"),
    (apply("sqrt", h), r"\sqrt{h_t}", None, "√(h_t)"),
    (apply("softmax", h), r"\mathrm{softmax}(h_t)", None, "softmax(h_t)"),
    (
        Diag(1 - h**2) @ W,
        r"\mathrm{diag}(1 - h_t^2)\, W_z",
        r"\mathrm{diag}(1 - (h^{(t)})^2)\, W_z",
        "diag(1 - h_t²) W_z",
    ),
    (W.T, r"W_z^{\top}", "W_z^T", "W_zᵀ"),
    (h_.T, r"h_{t-1}^{\top}", "h^{(t-1)T}", "h_{t-1}ᵀ"),
    (h_bar.T, r"(\nabla_{h_t} L)^{\top}", r"(\nabla_{h^{(t)}} L)^T", "(∇_{h_t} L)ᵀ"),
    (Transpose(h * x), r"(h_t \odot x_t)^{\top}", None, "(h_t ⊙ x_t)ᵀ"),
    (Transpose(h**2), r"(h_t^2)^{\top}", "((h^{(t)})^2)^T", "(h_t²)ᵀ"),
    (f * C_ + number("i") * (x @ h.T), r"f_t\, C_{t-1} + i_t\, x_t h_t^{\top}", None, "f_t C_{t-1} + i_t x_t h_tᵀ"),
    (
        W.T @ ((1 - h**2) * h_bar),
        r"W_z^{\top}\, ((1 - h_t^2) \odot \nabla_{h_t} L)",
        r"W_z^T \mathrm{diag}(1 - (h^{(t)})^2)\, \nabla_{h^{(t)}} L",
        "W_zᵀ ((1 - h_t²) ⊙ ∇_{h_t} L)",
    ),
    (h_bar @ h_.T, r"(\nabla_{h_t} L)\, h_{t-1}^{\top}", r"(\nabla_{h^{(t)}} L)\, h^{(t-1)T}", "(∇_{h_t} L) h_{t-1}ᵀ"),
    (
        Sum(h_bar @ h_.T, (t, 1, T)),
        r"\sum_{t=1}^{T} (\nabla_{h_t} L)\, h_{t-1}^{\top}",
        None,
        "Σ_{t=1..T} (∇_{h_t} L) h_{t-1}ᵀ",
    ),
    (Sum(h + x, (t, 1, T)), r"\sum_{t=1}^{T} (h_t + x_t)", None, "Σ_{t=1..T} (h_t + x_t)"),
    (
        Product(Partial(column("h", m), column("h", m - 1)), (m, k + 1, t)),
        r"\prod_{m=t}^{k+1} \frac{\partial h_m}{\partial h_{m-1}}",
        r"\prod_{m=t}^{k+1} \frac{\partial h^{(m)}}{\partial h^{(m-1)}}",
        "∏_{m=t..k+1} ∂h_m/∂h_{m-1}",
    ),
    (
        Product(Diag(h) @ W, (m, k + 1, t), 0),
        r"\prod_{m=k+1}^{t} (\mathrm{diag}(h_t)\, W_z)",
        None,
        "∏_{m=k+1..t} (diag(h_t) W_z)",
    ),
    (Partial(h, h_, 1), r"\frac{\partial^{+} h_t}{\partial h_{t-1}}", None, "∂⁺h_t/∂h_{t-1}"),
    (
        Pulled(z, W, z.marked("bar")),
        r"\left( \frac{\partial^{+} z_t}{\partial W_z} \right)^{*} (\nabla_{z_t} L)",
        None,
        "(∂⁺z_t/∂W_z)* (∇_{z_t} L)",
    ),
    (GradientOf(Var("L", (), (t,), 1, 1), W), r"\nabla_{W_z} L_t", None, "∇_{W_z} L_t"),
    (
        Partial(h, h_, 0, ("z", "h_tilde")),
        r"\left. \frac{\partial h_t}{\partial h_{t-1}} \right|_{z, \tilde{h}}",
        None,
        "∂h_t/∂h_{t-1}|_{z, h̃}",
    ),
    (Partial(h, h_).T, r"\left( \frac{\partial h_t}{\partial h_{t-1}} \right)^{\top}", None, "(∂h_t/∂h_{t-1})ᵀ"),
    (
        Partial(h, z) @ Partial(z, h_),
        r"\frac{\partial h_t}{\partial z_t}\, \frac{\partial z_t}{\partial h_{t-1}}",
        None,
        "∂h_t/∂z_t · ∂z_t/∂h_{t-1}",
    ),
    (At((t,), (T,)), "[t = T]", "[t = T]", "[t = T]"),
    (At((t,), (T,)) * h_bar, r"[t = T]\, \nabla_{h_t} L", None, "[t = T] ∇_{h_t} L"),
    (Zero(n, Integer(1)), "0", "0", "0"),
    (Ones(n, Integer(1)), r"\mathbf{1}", None, "𝟏"),
    (Ones(n, n) - W, r"\mathbf{1}_{n \times n} - W_z", None, "𝟏_{n×n} - W_z"),
    (Identity(n) - W, "I - W_z", None, "I - W_z"),
    (Inner(W, U), r"\langle W_z, U_z \rangle", None, "⟨W_z, U_z⟩"),
    (Diagonal(W), r"\mathrm{diagonal}(W_z)", None, "diagonal(W_z)"),
    (Block((W, U), (U, W)), r"\begin{bmatrix} W_z & U_z \\ U_z & W_z \end{bmatrix}", None, "[W_z, U_z; U_z, W_z]"),
    (Path(h_, z, h), r"h_{t-1} \to z_t \to h_t", None, "h_{t-1} → z_t → h_t"),
    (
        Labelled(Diag(z), "keep z_t"),
        r"\underbrace{\mathrm{diag}(z_t)}_{\text{keep z\_t}}",
        None,
        "diag(z_t)   ‹keep z_t›",
    ),
    (Entry(h, i), "h_{t,i}", "h_i^{(t)}", "h_{t,i}"),
    (Entry(U, i, j), "U_{z,ij}", None, "U_{z,ij}"),
    (Entry(U, i, j + 1), "U_{z,i,j+1}", None, None),
    (Entry(h_bar, i), r"\left[ \nabla_{h_t} L \right]_i", r"\left[ \nabla_{h^{(t)}} L \right]_i", "[∇_{h_t} L]_i"),
    (Entry(W @ h, 2), r"\left[ W_z h_t \right]_2", None, "[W_z h_t]_2"),
    (
        Extremum(
            "max",
            apply("sigmoid", Var("u", (), (), Integer(1), Integer(1)), order=1),
            Var("u", (), (), Integer(1), Integer(1)),
        ),
        r"\max_{u} \sigma'(u)",
        None,
        "max_u σ'(u)",
    ),
    (Norm(W @ h), r"\left\| W_z h_t \right\|", None, "‖W_z h_t‖"),
    (Norm(U, "F") ** 2, r"\left\| U_z \right\|_F^2", None, "‖U_z‖_F²"),
    (Norm(U, "inf"), r"\left\| U_z \right\|_{\infty}", None, "‖U_z‖_∞"),
    (MatrixPower(U, T - t), "U_z^{T-t}", None, "U_z^{T-t}"),
    (MatrixPower(U.T, -1) @ h, r"(U_z^{\top})^{-1} h_t", None, "(U_zᵀ)⁻¹ h_t"),
    (number("w") ** (T - t), "w_t^{T-t}", "(w^{(t)})^{T-t}", "w_t^{T-t}"),
    (
        Cases((h, Relation("<", t, T)), (x, Otherwise())),
        r"\begin{cases} h_t & t < T \\ x_t & \text{otherwise} \end{cases}",
        None,
        "{h_t if t < T; x_t otherwise}",
    ),
    (
        Implies(Relation("<", Norm(U), number("w")), Words("it {decays}")),
        r"\left\| U_z \right\| < w_t \Rightarrow \text{it \{decays\}}",
        None,
        "‖U_z‖ < w_t ⇒ it {decays}",
    ),
    (Relation("in", i, Interval.open(-1, 1)), r"i \in (-1, 1)", None, "i ∈ (-1, 1)"),
    (Pulled(h, W, z, 0), r"\left( \frac{\partial h_t}{\partial W_z} \right)^{*} z_t", None, "(∂h_t/∂W_z)* z_t"),
    (Partial(W @ h, h), r"\frac{\partial (W_z h_t)}{\partial h_t}", None, "∂(W_z h_t)/∂h_t"),
]


@pytest.mark.parametrize("node, default, goodfellow, plain", TABLE, ids=[row[1] for row in TABLE])
def test_table(node, default, goodfellow, plain):
    assert latex(node) == default
    if goodfellow is not None:
        assert latex(node, notation("goodfellow")) == goodfellow
    if plain is not None:
        assert text(node) == plain


def test_the_table_prints_every_type_of_node():
    from derive.expr import walk

    printed = {type(node) for row in TABLE for node in walk(row[0])} | {Equals}
    assert set(RULES) <= printed


@pytest.mark.parametrize(
    "names, node, expected",
    [
        ("bar", h_bar, r"\bar{h}_t"),
        ("bar", column("h_tilde", marks=("bar",)), r"\bar{\tilde{h}}_t"),
        ("bar", column("c_bar"), r"\overline{c}_t"),
        ("bar", column("h", marks=("bar", "dot")), r"\dot{\bar{h}}_t"),
        ("partial", h_bar, r"\frac{\partial L}{\partial h_t}"),
        ("partial", zbar_W, r"\frac{\partial L}{\partial W_z}"),
        ("partial,numerator", h_bar, r"\left( \frac{\partial L}{\partial h_t} \right)^{\top}"),
        ("partial,numerator", h_bar.T, r"\frac{\partial L}{\partial h_t}"),
        (
            "partial,numerator",
            h_bar.T @ Partial(h, h_),
            r"\frac{\partial L}{\partial h_t}\, \frac{\partial h_t}{\partial h_{t-1}}",
        ),
        ("partial,numerator", number("L", marks=("bar",)), r"\frac{\partial L}{\partial L_t}"),
        (
            "partial,denominator",
            Partial(h, h_).T @ h_bar,
            r"\frac{\partial h_t}{\partial h_{t-1}}\, \frac{\partial L}{\partial h_t}",
        ),
        ("denominator", Partial(h, h_), r"\left( \frac{\partial h_t}{\partial h_{t-1}} \right)^{\top}"),
        ("bold", W @ h + f * h, r"\mathbf{W}_z \mathbf{h}_t + f_t\, \mathbf{h}_t"),
        ("bold", column("alpha"), r"\boldsymbol{\alpha}_t"),
        ("bar,superscript,bold", h_bar, r"\bar{\mathbf{h}}^{(t)}"),
        ("circ", h * x, r"h_t \circ x_t"),
        ("diag", h_bar * z, r"\mathrm{diag}(z_t)\, \nabla_{h_t} L"),
        ("diag", z * (U @ h_), r"\mathrm{diag}(z_t)\, U_z h_{t-1}"),
        ("diag", z * h_, r"z_t \odot h_{t-1}"),
        ("diag", z * apply("tanh", U @ h_), r"z_t \odot \tanh(U_z h_{t-1})"),
        ("default", Mul(Diag(z), h, x.T), r"\mathrm{diag}(z_t)\, h_t x_t^{\top}"),
        ("hadamard", Mul(Diag(z), h, x.T), r"(z_t \odot h_t)\, x_t^{\top}"),
        ("hadamard", Diag(z) @ W, r"\mathrm{diag}(z_t)\, W_z"),
        ("odot", 1 - h**2, r"1 - h_t^{\odot 2}"),
        ("superscript", h**2, "(h^{(t)})^2"),
        ("superscript", h.T, r"h^{(t)\top}"),
        ("goodfellow,default", h, "h_t"),
        ("bar,nabla", h_bar, r"\nabla_{h_t} L"),
    ],
)
def test_notations(names, node, expected):
    assert latex(node, notation(names)) == expected


def test_names_are_overridden_before_the_index():
    own = Notation(names=(("W_z", "W^{hz}"), ("h", "S")), loss="E")
    assert latex(W @ h, own) == "{W^{hz}} S_t"
    assert latex(W.T, own) == r"{W^{hz}}^{\top}"
    assert latex(h_bar, own) == r"\nabla_{S_t} E"
    assert text(W @ h, own) == "W_z S_t"


def test_a_named_factor_is_found_at_every_index():
    book = notation("goodfellow").with_factors(lambda target, source: Diag(1 - h**2))
    following = column("h", t + 1)
    assert latex(W.T @ ((1 - following**2) * h_bar_next), book) == r"W_z^T H^{(t+1)} \nabla_{h^{(t+1)}} L"
    assert latex(((1 - h**2) * h_bar) @ h_.T, book) == r"H^{(t)}\, (\nabla_{h^{(t)}} L)\, h^{(t-1)T}"
    assert latex(Diag(1 - x**2), book) == r"\mathrm{diag}(1 - (x^{(t)})^2)"
    assert notation("goodfellow").with_factors(lambda target, source: None).factors == ()


def test_labelled_terms_stand_one_a_line():
    line = Equals(
        Partial(h, h_),
        add(Labelled(Diag(z), Path(h_, h)), Labelled(scale(-1, Diag(h_ - h_tilde) @ U), Path(h_, z, h)), scale(2, W)),
    )
    assert latex(line) == (
        "\\begin{aligned}\n"
        "\\frac{\\partial h_t}{\\partial h_{t-1}} &= \\underbrace{\\mathrm{diag}(z_t)}_{h_{t-1} \\to h_t} \\\\\n"
        "&\\quad - \\underbrace{\\mathrm{diag}(h_{t-1} - \\tilde{h}_t)\\, U_z}_{h_{t-1} \\to z_t \\to h_t} \\\\\n"
        "&\\quad + 2 W_z\n"
        "\\end{aligned}"
    )
    assert text(line) == (
        "∂h_t/∂h_{t-1} = diag(z_t)   ‹h_{t-1} → h_t›\n"
        "              - diag(h_{t-1} - h̃_t) U_z   ‹h_{t-1} → z_t → h_t›\n"
        "              + 2 W_z"
    )


def test_a_long_sum_is_broken_and_a_short_one_is_not():
    long = Equals(h, Add(*(W @ column(f"x_{c}") for c in "abcdefghijklmnopqrst")))
    assert latex(long).count(r"\\") == 19
    assert text(long).count("\n") == 19
    assert "aligned" not in latex(Equals(h, W @ x + b))


@pytest.mark.parametrize("name", ["goodfelow", "bar,supercript", "xyz"])
def test_an_unknown_notation_is_a_sentence(name):
    with pytest.raises(QueryError, match=r"^there is no notation '\w+'.*; the notations are default, "):
        notation(name)
    with pytest.raises(QueryError, match=r"did you mean goodfellow\?"):
        notation("goodfelow")
    with pytest.raises(QueryError, match="time of a notation is one of sub, sup; found 'up'"):
        Notation(time="up")


def test_an_unknown_node_is_an_error():
    class Strange(Node):
        @classmethod
        def shape_of(cls, body):
            return body.shape

    with pytest.raises(DeriveError, match="no rule to print a Strange"):
        latex(W @ Strange(h))


def test_both_styles_have_the_same_glyphs():
    assert set(LATEX.glyphs) == set(TEXT.glyphs)
    assert all(LATEX.glyphs[name].count("@") == TEXT.glyphs[name].count("@") for name in LATEX.glyphs)
    assert set(LATEX.accents) == set(TEXT.accents) and set(LATEX.special) == set(TEXT.special)


# --- properties -------------------------------------------------------------------------------------------------------

ALL = [
    *NOTATIONS,
    "partial,numerator",
    "partial,superscript",
    "bar,bold,superscript",
    "odot,circ",
    "hadamard,superscript",
]


@pytest.mark.parametrize("names", ALL)
def test_every_fragment_is_well_formed_tex(names):
    chosen = notation(names)
    for node, *_ in TABLE:
        fragment = latex(node, chosen)
        assert_well_formed(fragment)
        assert not re.search(r"\\operatorname|\{align\}|\\label|[^\x00-\x7f]|@", fragment)
        assert "@" not in text(node, chosen)


KATEX = Path_(__file__).parents[1] / "derive" / "render" / "katex" / "katex.min.js"
ASK_KATEX = """
const katex = require(process.argv[1]), asked = JSON.parse(require('fs').readFileSync(0, 'utf8')), refused = [];
for (const tex of asked) {
  try { katex.renderToString(tex, {throwOnError: true, strict: 'error', displayMode: true}) }
  catch (error) { refused.push(tex + ' : ' + error.message) }
}
console.log(JSON.stringify(refused))
"""


@pytest.mark.skipif(not (shutil.which("node") and KATEX.exists()), reason="needs node and the vendored KaTeX")
def test_katex_renders_every_fragment():
    fragments = [latex(node, notation(names)) for names in ALL for node, *_ in TABLE]
    asked = json.dumps(fragments)
    answer = subprocess.run(
        ["node", "-e", ASK_KATEX, str(KATEX)], input=asked, capture_output=True, text=True, check=True
    )
    assert json.loads(answer.stdout) == []


def assert_well_formed(fragment):
    """Braces, `\\left`/`\\right` and environments nest, and nothing has two superscripts or two subscripts."""
    opened = []
    for token in re.findall(r"\\(?:begin|end)\{\w+\}|\\[a-zA-Z]+|\\.|[{}]", fragment, flags=re.S):
        if token == "{" or token == r"\left" or token.startswith(r"\begin"):
            opened.append(token)
        elif token == "}":
            assert opened.pop() == "{", fragment
        elif token == r"\right":
            assert opened.pop() == r"\left", fragment
        elif token.startswith(r"\end"):
            assert opened.pop() == token.replace("end", "begin"), fragment
    assert not opened, fragment
    flat = fragment
    while (inner := re.sub(r"\{[^{}]*\}", "#", flat)) != flat:
        flat = inner
        assert not re.search(r"(\^(#|\w)(_(#|\w))?'?\^)|(_(#|\w)(\^(#|\w))?_)|'\^|\^(#|\w)'", flat), fragment


rng = np.random.default_rng(0)
p_t, d, g = column("p"), column("d", k), column("g", k)
s, M, d_bar = Var("s", (), (), 1, 1), matrix("M"), column("d", k, marks=("bar",))
VALUES = (
    {v: rng.normal(size=(3, 3)) for v in (M,)}
    | {v: rng.normal(size=(3, 1)) for v in (d, g, d_bar)}
    | {s: np.array([[1.7]])}
)
P = rng.normal(size=(9, 3, 1))


def value(node, at_t=5):
    """The value of one of the small formulas below: `p[t]` is the only leaf that changes with `t`."""
    args = [value(a, at_t) if isinstance(a, Node) else a for a in node.args]
    match node:
        case Var():
            return P[at_t] if node is p_t else VALUES[node]
        case Add():
            return sum(args[1:], args[0])
        case Had():
            return np.prod(np.stack(args), axis=0)
        case Mul():
            return np.linalg.multi_dot(args) if len(args) > 1 else args[0]
        case Scale():
            return (args[0] if isinstance(args[0], np.ndarray) else float(args[0])) * args[1]
        case Power():
            return args[0] ** float(args[1])
        case Transpose():
            return args[0].T
        case Diag():
            return np.diag(args[0][:, 0])
        case Sum():
            return sum(value(node.args[0], u) for u in (1, 2))
        case Ones() | Zero():
            return np.full([3 if size == n else 1 for size in node.shape], float(isinstance(node, Ones)))
        case _:
            return np.tanh(args[2])


def grow(columns, matrices):
    """One operation more, built both with the simplifying functions and bare."""
    for a, c in itertools.product(columns, repeat=2):
        yield from (a + c, a - c, a * c, Had(a, c), Add(a, c), Mul(Diag(a), c), scale(-1, a) * c, Mul(a, Transpose(c)))
    for a in columns:
        yield from (Scale(2, a), Scale(-1, a), s * a, Scale(s, a), Power(a, 2), apply("tanh", a), Diag(a), 1 - a)
        yield from (Sum(a, (t, 1, 2)), Scale(Rational(1, 2), a), Power(a, -1))
    for A in matrices:
        yield from (Transpose(A), Scale(s, A), Power(A, 2), Sum(A, (t, 1, 2)), Scale(-1, A))
        yield from (Mul(A, a) for a in columns)
        for B in matrices:
            yield from (Add(A, B), Had(A, B), Mul(A, B))


@pytest.fixture(scope="module")
def formulas():
    columns, matrices = [d, g, p_t, d_bar], [M]
    first = list(grow(columns, matrices))
    of_shape = {shape: [e for e in first if e.shape == shape] for shape in {e.shape for e in first}}
    columns, matrices = [*columns, *of_shape[d.shape]], [*matrices, *of_shape[M.shape]]
    chosen = random.Random(1)
    second = list(grow(chosen.sample(columns, 24), chosen.sample(matrices, 16)))
    with np.errstate(divide="ignore"):
        valued = [(e, value(e)) for e in dict.fromkeys([*first, *second])]
    return [(e, found) for e, found in valued if np.isfinite(found).all()]


@pytest.mark.parametrize("printer", [latex, text])
@pytest.mark.parametrize("names", ["default", "goodfellow", "partial", "bar", "hadamard", "partial,numerator"])
def test_what_prints_alike_is_equal(formulas, printer, names):
    """Two formulas of one shape that have different values print differently: brackets survive."""
    chosen = notation(names)
    seen: dict = {}
    for node, found in formulas:
        printed = printer(node, chosen)
        other, expected = seen.setdefault((printed, node.shape), (node, found))
        np.testing.assert_allclose(
            found, expected, rtol=1e-9, atol=1e-9, err_msg=f"{printed}: {node.args} and {other.args}"
        )


@pytest.mark.parametrize("names", ALL)
def test_tricky_triples_are_distinct(names):
    chosen = notation(names)
    for triple in (
        (W @ (h * x), Had(W @ h, x), Mul(Diag(h), W, x)),
        (Power(h, 2) * x, Power(h * x, 2), Transpose(h * x)),
    ):
        for printer in (latex, text):
            assert len({printer(node, chosen) for node in triple}) == 3


def test_depth_is_no_obstacle():
    deep = h
    for _ in range(4000):  # the innermost product stays ⊙ in diag form: h is no adjoint
        deep = Add(x, Mul(W, Had(z, deep)))
    start = time.process_time()
    assert latex(deep).count(r"\odot") == 4000
    assert text(deep, replace(Notation(), form="diag")).count("diag") == 3999
    assert time.process_time() - start < 5


def test_printing_costs_little():
    """About as much as an LSTM's adjoint: some forty terms, printed afresh."""
    fresh = replace(Notation(), loss="J")
    nodes = [
        W.T @ ((1 - column(f"h_{c}") ** 2) * z * column(f"h_{c}", marks=("bar",))) for c in "abcdefghijklmnopqrstuvwxyz"
    ]
    start = time.process_time()
    for node in nodes:
        latex(node, fresh)
    assert time.process_time() - start < 0.1


def test_nodes_print_themselves():
    assert h._repr_latex_() == r"$\displaystyle h_t$"
    assert str(z * h_) == "z_t ⊙ h_{t-1}"


def test_where_a_term_is_longer_than_a_line_the_sum_in_its_brackets_stands_one_term_a_line():
    from derive import catalogue

    def collected(name: str, query: str) -> str:
        return next(latex(s.lines[-1]) for s in catalogue.load(name).derive(query).steps if s.title == "Collected")

    wide = collected("mdlstm", "dc[i,j]/dc[i-1,j]")
    inside = wide.partition(r"\left( \begin{aligned}")[2].partition(r"\end{aligned} \right)")
    assert inside[0].count(r"\\") == 3 and inside[2].startswith(r"\, \mathrm{diag}(o_{i-1,j}")
    assert max(visible(line) for line in wide.split("\n")) <= LINE
    assert r"\left(" not in collected("gru", "dh[t]/dh[t-1]")
