"""`bound …`: norm bounds against what is measured, over the catalogue; their ingredients against the functions themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy
import pytest
import sympy

from derive import catalogue, expr, functions, norms
from derive.check import measured_bounds
from derive.errors import DeriveError, QueryError
from derive.expr import Relation
from derive.oracles import inequalities
from derive.partials import table
from derive.ranges import range_of_function
from derive.readings import jacobians
from derive.system import System

SIGMOID = System(
    "sigmoid-rnn", equations="h[t] = sigmoid(W @ h[t-1] + U @ x[t])", shapes="h: n", inputs="x: m", parameters="W U"
)
CHAINS = [
    name for name in catalogue.names() if catalogue.load(name).lattice.dimension == 1 and name != "linear-attention"
]


def states(name: str) -> list[str]:
    """What a step of the system hands to the next."""
    system = catalogue.load(name)
    found = dict.fromkeys(s for _, s, offset in system.reads if any(offset) and s in system.equations)
    return list(found)


QUERIES = [
    (name, query) for name in CHAINS for s in states(name) for query in (f"bound dL/d{s}[t]", f"bound d{s}[t]/d{s}[k]")
]


@pytest.mark.parametrize(("name", "query"), QUERIES, ids=lambda v: str(v))
def test_what_is_measured_stays_below(name: str, query: str):
    """Spectral norms in float64, small and large weights, over one and two steps."""
    d = catalogue.load(name).derive(query)
    large = name in ("stacked-lstm", "blstm")
    sampling = {"scales": (2.0,), "steps": (2,)} if large else {"scales": (0.2, 3.0), "steps": (3,)}
    found = list(measured_bounds(d, seed=3, **sampling))
    assert len(found) >= 2 and any(m.points >= 2 for _, m in found)
    for line, m in found:
        assert m.failure is None, f"{name}, {query}, seed 3: {line}\n{m.failure}"


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["elman", "rnn", "gru", "skip-rnn"])
def test_with_many_seeds_and_scales(name: str, seed: int):
    s = states(name)[0]
    for query in (f"bound dL/d{s}[t]", f"bound d{s}[t]/d{s}[k]"):
        for line, m in measured_bounds(catalogue.load(name).derive(query), seed, scales=(0.05, 1.0, 10.0), steps=(5,)):
            assert m.failure is None, f"{name}, {query}, seed {seed}: {line}\n{m.failure}"


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("elman", "bound dL/dh[t]"),
        ("skip-rnn", "bound dh[t]/dh[k]"),
        ("rnn", "bound dL[T]/dh[t]"),
        ("gru", "bound dL/dh[t]"),
    ],
)
def test_check_says_what_was_measured(name: str, query: str):
    verdict = catalogue.load(name).derive(query).check()
    assert verdict.verdict == "holds" and "bounds hold at" in str(verdict), str(verdict)


@pytest.mark.parametrize(("name", "factor"), [("elman", "1/8"), ("rnn", "1/4"), ("lstm", "1/2")])
def test_a_bound_that_is_too_small_is_caught(name: str, factor: str):
    """Halved, or quartered, a bound fails where it is measured."""
    system = catalogue.load(name)
    d = system.derive(f"bound d{states(name)[0]}[t]/d{states(name)[0]}[t-1]")
    truths = inequalities.samples(system, 0, scales=(0.05, 1.0), steps=(3,))
    line = next(line for s in d.steps if s.rule == "norm" for line in s.lines if isinstance(line, Relation))
    wrong = Relation("<=", line.lhs, expr.scale(sympy.Rational(factor) / 2, line.rhs))
    assert inequalities.measure(line, {}, truths).failure is None
    assert inequalities.measure(wrong, {}, truths).failure is not None


def test_the_bound_of_the_homework():
    """S003-8: a sigmoid network with the loss at the end, against a loop in NumPy; with the largest entry for |W| it is false."""
    d = SIGMOID.derive("bound dL[T]/dh[t]")
    assert str(d.result[-1]) == "‖∇_{h_t} L_T‖ ≤ (¼ ‖W‖)^{T-t} ‖∇_{h_T} L_T‖"
    rng, T, n = numpy.random.default_rng(8), 6, 4
    worst_spectral = worst_entry = 0.0
    for _ in range(100):
        W = rng.normal(size=(n, n)) * rng.choice([0.3, 1.0, 3.0])
        h, jacobians_ = rng.normal(size=n), []
        for _t in range(T):
            h = 1 / (1 + numpy.exp(-(W @ h + rng.normal(size=n))))
            jacobians_.append(numpy.diag(h * (1 - h)) @ W)
        gradient = last = rng.normal(size=n)
        for k, J in enumerate(reversed(jacobians_), 1):
            gradient = J.T @ gradient
            size = numpy.linalg.norm(gradient) / numpy.linalg.norm(last)
            worst_spectral = max(worst_spectral, size / (numpy.linalg.norm(W, 2) / 4) ** k)
            worst_entry = max(worst_entry, size / (numpy.abs(W).max() / 4) ** k)
    assert worst_spectral <= 1 < worst_entry


def test_large_weights_need_not_explode():
    """S002-11: tanh, W = 10, no input: the bound is 10^8, the derivative nearly zero; and the page says so."""
    h, product = 0.5, 1.0
    for _ in range(8):
        h = numpy.tanh(10 * h)
        product *= 10 * (1 - h * h)
    assert abs(product) < 1e-30
    said = " ".join(str(catalogue.load("rnn").derive("bound dL/dh[t]")).split())
    assert "large weights drive units into saturation" in said and "‖W‖ < 1 ⇒ ‖∂h_t/∂h_k‖ → 0" in said
    assert "saturation" not in str(catalogue.load("linear-rnn").derive("bound dL/dh[t]"))


# --- ingredients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "order", "value"),
    [
        ("sigmoid", 1, "1/4"),
        ("tanh", 1, 1),
        ("relu", 1, 1),
        ("sigmoid", 0, 1),
        ("tanh", 0, 1),
        ("hard_tanh", 1, 1),
        ("hard_sigmoid", 1, "1/6"),
    ],
)
def test_the_suprema_of_the_table(function: str, order: int, value: object):
    found = norms.greatest(range_of_function(function, order))
    assert found == sympy.sympify(value)
    f = sympy.lambdify(functions.x, functions.expression(function, order), "numpy")
    seen = numpy.abs([float(f(u)) for u in numpy.linspace(-30, 30, 2001)]).max()
    assert 0.999 * float(found) <= seen <= float(found) + 1e-12, f"{function}, order {order}: {seen} against {found}"


RANGES = {
    "f[t] / (f[t] + i[t])": "(0, 1)",
    "f[t] * (i[t] + 1)": "(0, 2)",
    "f[t] - i[t] / 2": "(-1/2, 1)",
    "f[t] * (1 - a[t]) + a[t]": None,  # SymPy does not see that 1 - a is positive
    "f[t] / (f[t] + a[t])": None,  # it has a pole
    "f[t] * a[t]": None,  # whether it rises with f depends on the sign of a
    "f[t] * c[t]": None,  # relu has no largest value
}


@pytest.mark.parametrize("rhs", RANGES)
def test_the_range_of_what_several_activations_make(rhs: str):
    system = System(
        "several",
        equations=f"""
            f[t] = sigmoid(x[t])
            i[t] = sigmoid(V * x[t])
            a[t] = tanh(x[t])
            c[t] = relu(x[t])
            h[t] = {rhs}
            y[t] = h[t] + f[t] + i[t] + a[t] + c[t]
        """,
        inputs="x: n",
        parameters="V: n",
    )
    found = norms.range_of_state(system, system.variables["h"].var)
    assert str(found) == str(RANGES[rhs])
    if found is not None:
        rng = numpy.random.default_rng(4)
        h = system.compile("numpy").forward({"V": rng.normal(size=300)}, {"x": rng.normal(size=(20, 300)) * 9})["h"]
        low, high = float(found.low), float(found.high)
        assert low <= h.min() and h.max() <= high, f"{rhs}, seed 4: from {h.min()} to {h.max()}, not within {found}"
        reached = 0.05 * (high - low)
        assert h.min() < low + reached and h.max() > high - reached, f"{rhs}, seed 4: {found} is wider than it need be"


def test_what_has_no_bound_says_so():
    assert norms.greatest(range_of_function("relu", 0)) is None
    growing = System(
        "growing",
        equations="z[t] = sigmoid(U @ h[t-1])\nh[t] = z[t] * h[t-1] + relu(W @ x[t])",
        shapes="h: n",
        inputs="x: m",
        parameters="U W",
    )
    with pytest.raises(QueryError, match="no bound is known for a part of the Jacobian of one step"):
        growing.derive("bound dL/dh[t]")


@pytest.mark.parametrize(
    ("name", "state", "size"),
    [
        ("gru", "h", "max(1, ‖h_0‖_∞)"),
        ("lstm", "c", "‖c_0‖_∞ + T"),
        ("lstm-coupled", "c", "max(1, ‖c_0‖_∞)"),
        ("mdlstm", "m", "1"),
        ("rnn", "h", "1"),
    ],
)
def test_how_large_the_states_are(name: str, state: str, size: str):
    system = catalogue.load(name)
    found = norms.Sizes(system).inside(state)
    assert found is not None and str(found) == size


def test_a_state_before_the_first_is_as_large_as_it_was_given():
    """`|tanh| ≤ 1` says nothing of `h[0]`."""
    system = catalogue.load("rnn")
    h = system.variables["h"].var
    t = system.lattice.indices[0]
    sizes = norms.Sizes(system)
    assert str(sizes(h)) == "1" and "h_0" in str(sizes(h.at((t - 1,))))


def test_the_verdicts_use_the_same_bounds():
    """One mechanism: a claim's bound and a query's are the same formula."""
    from derive.verdicts import bounds
    from derive.verdicts.question import Question

    question = Question(SIGMOID)
    step = jacobians.ordered(SIGMOID, table(SIGMOID), "h", "h").step
    rate = bounds.bound(question, step)
    worst = norms.matrix(SIGMOID, step, norms.Sizes(SIGMOID).entries)
    assert rate is not None and rate == bounds.value(worst, {})
    assert str(rate) == "‖W‖/4"


# --- as an answer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "query", "words"),
    [
        ("mdrnn", "bound dL/dh[i,j]", "on a grid a derivative is a sum over paths"),
        ("linear-attention", "bound dL/dS[t]", "passes through a matrix"),
        ("rnn", "bound dL/da[t]", "a is not what a step hands to the next"),
        ("rnn", "bound dL/dW", "asked of a derivative by a state at an index"),
        ("rnn", "bound dh[t]/dh[t+1]", "a later step by an earlier one"),
        ("elman", "bound dL/dy_hat[t]", "do not connect different steps"),
    ],
)
def test_what_has_no_bound_is_a_sentence(name: str, query: str, words: str):
    with pytest.raises(QueryError) as error:
        catalogue.load(name).derive(query)
    assert words in str(error.value), str(error.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gru", "This bound never falls below 1"),
        ("lstm", "An entry on the diagonal of N, that of c, is 1 whatever the weights"),
        ("lstm", "N_t is the matrix of the norms of the blocks"),
        ("skip-rnn", "¼ ‖W‖ + ¼ ‖M‖ < 1"),
        ("elman", "¼ ‖U_h‖ < 1"),
        ("minlstm", "This bound never falls below 1"),
    ],
)
def test_the_condition_is_said(name: str, words: str):
    said = " ".join(str(catalogue.load(name).derive("bound dL/dh[t]")).split())
    assert words in said, said[-900:]


def test_nothing_is_said_of_gates_where_there_are_none():
    """The step of the alternating sum is the number -1."""
    alternating = System("alternating", equations="h[t] = -h[t-1] + x[t]", shapes="h: 1", inputs="x: 1")
    said = " ".join(str(alternating.derive("bound dh[t]/dh[k]")).split())
    assert "it leaves open whether the gradient vanishes" in said and "the states of each step" not in said


def test_a_gate_held_constant():
    d = catalogue.load("gru").derive("bound dh[t]/dh[k]", hold="z,r")
    assert "U_z" not in str(d.steps[-2].lines) and d.check().verdict == "holds"


@pytest.mark.parametrize("name", [name for name in CHAINS if name not in ("stacked-lstm", "blstm")])
def test_it_renders(name: str, katex):
    for s in states(name)[:2]:
        d = catalogue.load(name).derive(f"bound dL/d{s}[t]")
        for step in d.steps:
            for fragment in step.latex(d.notation):
                katex(fragment)
        assert d.text() and d.markdown() and d.to_dict()["result"]


def test_the_norm_is_no_matter_of_ring():
    """Only the ring of floats has a spectral norm; elsewhere a norm of a matrix has no value."""
    from derive.evaluate import Ring, evaluate

    a = expr.Var("A", (), (), 2, 2)
    value = numpy.array([[3.0, 0.0], [0.0, 4.0]])
    assert evaluate(expr.Norm(a), inequalities.Normed(), lambda *_: value, {}, {}) == 4.0
    with pytest.raises(DeriveError, match="has no value here"):
        evaluate(expr.Norm(a), Ring(), lambda *_: value, {}, {})


def test_a_failing_bound_fails_the_check():
    d = catalogue.load("elman").derive("bound dh[t]/dh[t-1]")
    steps = []
    for s in d.steps:
        lines = tuple(
            Relation("<=", line.lhs, expr.scale(sympy.Rational(1, 100), line.rhs))
            if isinstance(line, Relation) and s.rule == "norm"
            else line
            for line in s.lines
        )
        steps.append(replace(s, lines=lines))
    assert replace(d, steps=tuple(steps)).check().verdict == "fails"


def test_of_numbers_it_is_the_absolute_value(katex):
    scalar = System(
        "scalar", equations="s[t] = tanh(w * s[t-1] + u * x[t])", shapes="s w u: 1", inputs="x: 1", parameters="w u"
    )
    d = scalar.derive("bound ds[t]/ds[k]")
    assert str(d.result[-1]) == "|∂s_t/∂s_k| ≤ |w|^{t-k}" and "law" not in {s.rule for s in d.steps}
    assert d.check().verdict == "holds" and katex(d.latex())


@pytest.mark.parametrize("layout", ["numerator", "denominator"])
def test_in_either_layout(layout: str):
    for query in ("bound dL/dh[t]", "bound dh[t]/dh[k]"):
        assert catalogue.load("elman").derive(query, layout=layout).check().verdict == "holds"
