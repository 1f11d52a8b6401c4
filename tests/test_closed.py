"""`closed h[t]`: linear recurrences solved, against loops written by hand, by both roads, and refused where they are none."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy
import pytest
import sympy

from derive import catalogue, expr
from derive.affine import Factor, linear
from derive.errors import QueryError
from derive.evaluate import Ring, evaluate
from derive.readings.closed import closed as reading
from derive.render import tex
from derive.solutions import Solved, advanced, closes, fundamental, n, terms_of
from derive.system import LOSS, System

STEPS = 7


def system(name: str, equations: str, **declared: object) -> System:
    return System(name, equations=equations, **declared)  # type: ignore[arg-type]


SYSTEMS = {
    "alternating": system("alternating", "h[t] = -h[t-1] + x[t]", shapes="h: 1", inputs="x: 1"),
    "half": system("half", "h[t] = h[t-1] / 2 + x[t] + b", shapes="h: 1, b: 1", inputs="x: 1", parameters="b"),
    "weight": system("weight", "h[t] = w * h[t-1] + x[t] + b", shapes="h w b: 1", inputs="x: 1", parameters="w b"),
    "matrix": system("matrix", "h[t] = W @ h[t-1] + U @ x[t] + b", shapes="h: n", inputs="x: m", parameters="W U b"),
    "leaky": system(
        "leaky", "h[t] = a * h[t-1] + (1 - a) * (U @ x[t])", shapes="h a: n", inputs="x: m", parameters="a U"
    ),
    "no-input": system("no-input", "h[t] = W @ h[t-1]", shapes="h: n", parameters="W"),
    "zero": system(
        "zero", "h[t] = W @ h[t-1] + U @ x[t]", shapes="h: n", inputs="x: m", parameters="W U", boundary={"h": "zero"}
    ),
    "backward": system("backward", "h[t] = W @ h[t+1] + U @ x[t]", shapes="h: n", inputs="x: m", parameters="W U"),
    "bracket": system(
        "bracket",
        "f[t] = sigmoid(V @ x[t])\nh[t] = f[t] * (W @ h[t-1] + c) + U @ x[t]",
        shapes="h: n",
        inputs="x: m",
        parameters="W U V c",
    ),
    "two-equations": system(
        "two-equations",
        "a[t] = W @ h[t-1] + U @ x[t]\nh[t] = V @ a[t] + b",
        shapes="h: n, a: q",
        inputs="x: m",
        parameters="W U V b",
    ),
    "scalar gate": system(
        "scalar gate",
        "f[t] = sigmoid(w.T @ x[t])\nC[t] = f[t] * C[t-1] + (V @ x[t]) @ (K @ x[t]).T",
        shapes="C: p x n, f: 1, w: m, V: p x m, K: n x m",
        inputs="x: m",
        parameters="w V K",
    ),
    "both sides": system(
        "both sides",
        "C[t] = A @ C[t-1] @ B + (V @ x[t]) @ (K @ x[t]).T",
        shapes="C: p x n, A: p x p, B: n x n, V: p x m, K: n x m",
        inputs="x: m",
        parameters="A B V K",
    ),
    "fibonacci": system("fibonacci", "h[t] = h[t-1] + h[t-2] + x[t]", shapes="h: 1", inputs="x: 1"),
    "rational roots": system("rational roots", "h[t] = 3 * h[t-1] - 2 * h[t-2] + x[t]", shapes="h: 1", inputs="x: 1"),
    "double root": system("double root", "h[t] = 4 * h[t-1] - 4 * h[t-2] + x[t]", shapes="h: n", inputs="x: n"),
    "companion": system(
        "companion", "h[t] = W @ h[t-1] + M @ h[t-2] + U @ x[t]", shapes="h: n", inputs="x: m", parameters="W M U"
    ),
}
LAST = {name: [e for e in s.equations if e != LOSS][-1] for name, s in SYSTEMS.items()}
CATALOGUE = [("linear-rnn", "h"), ("lstm", "c"), ("lstm-coupled", "c"), ("lstm-peephole", "c"), ("gru", "h"), ("gru-before", "h"),
             ("mingru", "h"), ("minlstm", "h"), ("linear-attention", "S"),
             ("blstm", "c_fwd"), ("blstm", "c_bwd"), ("stacked-lstm", "c_2")]  # fmt: skip


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_line_of_it_holds(name: str):
    d = SYSTEMS[name].derive(f"closed {LAST[name]}[t]")
    verdict = d.check()
    assert verdict.verdict == "holds" and verdict.error_bound < 2**-60, f"{d}\n{verdict}"
    assert {"base case", "hypothesis", "induction", "closed form"} <= {s.rule for s in d.steps}


@pytest.mark.parametrize(("name", "state"), CATALOGUE)
def test_of_the_catalogue(name: str, state: str):
    d = catalogue.load(name).derive(f"closed {state}[t]")
    verdict = d.check()
    assert verdict.verdict == "holds", f"{d}\n{verdict}"


def test_the_alternating_sum_against_a_loop():
    """S003-1, in fractions, at every step."""
    d = SYSTEMS["alternating"].derive("closed h[t]")
    assert d.latex() == r"h_t = (-1)^t h_0 + \sum_{i=1}^{t} (-1)^{t-i} x_i"
    values = {("h", 0): Fraction(3, 7)} | {("x", i): Fraction(i * i + 1, i + 2) for i in range(1, STEPS + 1)}
    h = values["h", 0]
    for t in range(1, STEPS + 1):
        h = -h + values["x", t]
        found = evaluate(
            d.expr, Exact(), lambda var, at: numpy.array([[values[var.name, at[0]]]], dtype=object), {"t": t}, {}
        )
        assert found[0, 0] == h, f"t = {t}: {found[0, 0]} is not {h}"


class Exact(Ring):
    """Fractions."""

    def number(self, q: sympy.Rational) -> Fraction:
        return Fraction(int(q.p), int(q.q))

    def constant(self, rows):  # type: ignore[no-untyped-def]
        return numpy.array([[Fraction(e) for e in row] for row in rows], dtype=object)


@pytest.mark.parametrize("name", ["matrix", "companion", "bracket"])
def test_matrices_against_a_loop(name: str):
    s, rng = SYSTEMS[name], numpy.random.default_rng(5)
    sizes = {"n": 3, "m": 2, "1": 1}
    params = {p.name: rng.normal(size=[sizes[str(k)] for k in p.shape]) * 0.5 for p in s.parameters}
    x, start = rng.normal(size=(STEPS + 1, 2, 1)), {0: rng.normal(size=(3, 1)), -1: rng.normal(size=(3, 1))}

    def sigmoid(a):  # type: ignore[no-untyped-def]
        return 1 / (1 + numpy.exp(-a))

    h, f = dict(start), {}
    for t in range(1, STEPS + 1):
        p = {k: v for k, v in params.items()}
        f[t] = sigmoid(p["V"] @ x[t]) if "V" in p else None
        h[t] = {
            "matrix": lambda t=t, p=p: p["W"] @ h[t - 1] + p["U"] @ x[t] + p["b"],
            "companion": lambda t=t, p=p: p["W"] @ h[t - 1] + p["M"] @ h[t - 2] + p["U"] @ x[t],
            "bracket": lambda t=t, p=p: f[t] * (p["W"] @ h[t - 1] + p["c"]) + p["U"] @ x[t],
        }[name]()

    def read(var, at):  # type: ignore[no-untyped-def]
        if not at:
            return params[var.name]
        return {"x": x, "h": start, "f": f}[var.name][at[0]]

    formula = s.derive("closed h[t]").expr
    for t in range(1, STEPS + 1):
        found = evaluate(formula, Ring(), read, {"t": t}, {"n": 3, "m": 2})
        assert numpy.allclose(found, h[t]), f"{name} at t = {t}: {found} is not {h[t]}"


def test_the_proof_refuses_what_is_no_solution():
    """With the factor of another recurrence the induction does not close."""
    for name in ("alternating", "matrix", "bracket", "both sides"):
        found = linear(SYSTEMS[name], LAST[name])
        wrong = replace(found, factor=Factor(expr.scale(2, found.factor.left), found.factor.right))
        solved = Solved.over(found, SYSTEMS[name], set())
        before = expr.at(solved.value, {found.index: found.index + found.direction})
        assert closes(found, solved, [advanced(found, p) for p in terms_of(before)], solved.value)
        assert not closes(wrong, solved, [advanced(wrong, p) for p in terms_of(before)], solved.value), name
        shifted = expr.at(before, {found.index: found.index - 1})
        assert not closes(found, solved, [advanced(found, p) for p in terms_of(shifted)], solved.value), name
        other = replace(found, forcing=expr.scale(3, found.forcing))
        assert not closes(other, solved, [advanced(other, p) for p in terms_of(before)], solved.value), name


@pytest.mark.parametrize(
    ("alpha", "beta"), [(3, -2), (4, -4), (1, 6), (0, 4), (sympy.Rational(1, 2), sympy.Rational(1, 2))]
)
def test_the_fundamental_solution(alpha: int, beta: int):
    phi, values = fundamental(sympy.sympify(alpha), sympy.sympify(beta)), [1, sympy.sympify(alpha)]
    for _ in range(8):
        values.append(alpha * values[-1] + beta * values[-2])
    assert phi is not None and [sympy.simplify(phi.subs(n, k)) for k in range(10)] == values


def test_irrational_roots_stay_in_companion_form():
    assert fundamental(sympy.Integer(1), sympy.Integer(1)) is None
    said = str(SYSTEMS["fibonacci"].derive("closed h[t]"))
    assert "companion" in said and "sqrt(5)" in said


def test_a_constant_forcing_is_a_geometric_series():
    line = next(s for s in SYSTEMS["half"].derive("closed h[t]").steps if s.rule == "geometric series").lines[0]
    t, series = SYSTEMS["half"].lattice.indices[0], line.rhs.args[0]
    assert [series.subs(t, k) for k in range(4)] == [0, 1, sympy.Rational(3, 2), sympy.Rational(7, 4)]
    rules = [s.rule for s in SYSTEMS["matrix"].derive("closed h[t]").steps]
    assert "geometric series" in rules


@pytest.mark.parametrize(
    ("name", "query", "words"),
    [
        ("rnn", "closed h[t]", ["tanh(b + W h_{t-1} + U x_t) is not linear", "bound dh[t]/dh[k]"]),
        ("lstm", "closed h[t]", ["is not linear in its own past", "'closed c[t]', which is linear given its gates"]),
        ("rnn", "closed o[t]", ["reads no earlier or later o"]),
        ("gru", "closed z[t]", ["ask for 'closed h[t]'"]),
        ("mdrnn", "closed h[i,j]", ["lives on a grid"]),
        ("lstm", "closed U_f", ["is asked of a state at an index"]),
        ("lstm", "closed x[t]", ["is asked of a state at an index"]),
    ],
)
def test_what_has_none_says_why(name: str, query: str, words: list[str]):
    with pytest.raises(QueryError) as error:
        catalogue.load(name).derive(query)
    assert all(w in str(error.value) for w in words), str(error.value)


def test_given_the_gates_is_said():
    said = str(catalogue.load("lstm").derive("closed c[t]"))
    assert "i, g and f depend on earlier c themselves: the form is closed given their values" in " ".join(said.split())
    assert "given" not in str(catalogue.load("linear-rnn").derive("closed h[t]"))


def test_at_another_index():
    d = SYSTEMS["alternating"].derive("closed h[T]")
    assert d.latex() == r"h_T = (-1)^T h_0 + \sum_{i=1}^{T} (-1)^{T-i} x_i"
    assert d.check().verdict == "holds"


def test_an_open_gate_keeps_the_start():
    assert catalogue.load("gru").derive("closed h[t]", where={"z": 1}).latex() == "h_t = h_0"


def test_of_a_document(tmp_path):
    document = tmp_path / "sum.md"
    document.write_text("<!-- derive: scalar -->\n\n$$ h_t = -h_{t-1} + x_t $$\n", encoding="utf-8")
    d = catalogue.load(str(document)).derive("closed h[t]")
    assert d.check().verdict == "holds" and "(-1)^{t-i}" in d.latex()


@pytest.mark.parametrize("name", SYSTEMS)
def test_it_renders(name: str, katex):
    d = SYSTEMS[name].derive(f"closed {LAST[name]}[t]")
    for step in d.steps:
        for fragment in step.latex(d.notation):
            katex(fragment)
    assert "closed" in tex.render([d]) and d.text() and d.to_dict()["result"]


def test_the_reading_is_in_the_table():
    from derive.readings import READINGS

    assert READINGS["closed"] is reading
