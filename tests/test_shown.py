"""What derive must show: the results that four hand-written solutions aim at, and where those go wrong, what stands instead."""

from __future__ import annotations

import itertools

import mpmath
import pytest

from derive import expr
from derive.catalogue import load
from derive.derivation import Derivation, Step
from derive.errors import DeriveError, QueryError, SystemError_
from derive.expr import Equals, Node, Partial, Var, add, diag, had, mul, transpose
from derive.oracles import Verdict, check_equation
from derive.printing import latex, text
from derive.system import System

SEED = 0


def step(derivation: Derivation, rule: str) -> Step:
    found = [s for s in derivation.steps if s.rule == rule]
    assert found, f"{derivation.query} has no step {rule!r}, only {[s.rule for s in derivation.steps]}"
    return found[0]


def rights(derivation: Derivation, rule: str) -> list[str]:
    """The terms of the only equation of a step, as they are printed."""
    (line,) = step(derivation, rule).lines
    return [latex(expr.strip_labels(term), derivation.notation) for term in line.rhs.args]


def printed(derivation: Derivation) -> str:
    """Every line of every step in LaTeX."""
    return "\n".join(latex(line, derivation.notation) for s in derivation.steps for line in s.lines)


def var(system: System, name: str, *offset: int) -> Var:
    found = system.variable(name).var
    return found.at(i + o for i, o in zip(found.index, offset, strict=True)) if offset else found


def holds(system: System, left: Node, right: Node, **options) -> Verdict:
    return check_equation(system, Equals(left, right), road="field", seed=SEED, **options)


# --- the cell of an LSTM ----------------------------------------------------------------------------------------------


def test_the_cell_of_an_lstm_has_four_terms_with_the_matrices_in_their_places():
    slope = r"\mathrm{diag}(o_{t-1} \odot (1 - m_{t-1}^2))"
    assert rights(load("lstm").derive("dc[t]/dc[t-1]"), "substitution") == [
        r"\mathrm{diag}(f_t)",
        rf"\mathrm{{diag}}(c_{{t-1}} \odot f_t \odot (1 - f_t))\, U_f {slope}",
        rf"\mathrm{{diag}}(g_t \odot i_t \odot (1 - i_t))\, U_i {slope}",
        rf"\mathrm{{diag}}(i_t \odot (1 - g_t^2))\, U_g {slope}",
    ]


def test_each_term_of_the_cell_is_a_named_path():
    (line,) = step(load("lstm").derive("dc[t]/dc[t-1]"), "substitution").lines
    assert [" ".join(v.name for v in term.args[1].args) for term in line.rhs.args] == [
        "c c", "c m h f c", "c m h i c", "c m h g c",
    ]  # fmt: skip


def test_the_slope_of_the_output_stands_to_the_right_of_the_matrix():
    """All diagonals drawn in front of `U_g`, as for scalars, is another matrix."""
    lstm = load("lstm")
    c, before, f, i, g = (var(lstm, n) for n in ("c", "c", "f", "i", "g"))
    before, o, m = (var(lstm, n, -1) for n in ("c", "o", "m"))
    left = Partial(c, before)
    slope = had(o, 1 - expr.power(m, 2))
    gates = {"U_f": had(before, f, 1 - f), "U_i": had(g, i, 1 - i), "U_g": had(i, 1 - expr.power(g, 2))}
    u = {name: var(lstm, name) for name in gates}
    inner = {lstm.lattice.indices[0]: (2, lstm.lattice.lengths[0])}
    right = add(diag(f), *(mul(diag(d), u[name], diag(slope)) for name, d in gates.items()))
    wrong = add(diag(f), *(mul(diag(had(d, slope)), u[name]) for name, d in gates.items()))
    assert holds(lstm, left, right, ranges=inner), right
    assert holds(lstm, left, wrong, ranges=inner).verdict == "fails", wrong


def test_with_its_gates_held_the_cell_keeps_the_forget_gate_alone():
    derivation = load("lstm").derive("dc[t]/dc[t-1]", hold="f,i,g")
    assert derivation.expr == diag(var(derivation.system, "f"))
    assert latex(derivation.expr, derivation.notation) == r"\mathrm{diag}(f_t)"
    assert "f, i, g" in step(derivation, "held constant").reason.replace("`", "")


# --- the GRU ----------------------------------------------------------------------------------------------------------


def test_a_gru_has_four_paths():
    assert rights(load("gru").derive("dh[t]/dh[t-1]"), "substitution") == [
        r"\mathrm{diag}(z_t)",
        r"\mathrm{diag}((h_{t-1} - \tilde{h}_t) \odot z_t \odot (1 - z_t))\, U_z",
        r"\mathrm{diag}((1 - z_t) \odot (1 - \tilde{h}_t^2) \odot r_t)\, U_h",
        r"\mathrm{diag}((1 - z_t) \odot (1 - \tilde{h}_t^2) \odot (U_h h_{t-1} + c_h) \odot r_t \odot (1 - r_t))\, U_r",
    ]


def test_with_z_held_the_path_through_z_is_gone():
    gru = load("gru")
    terms = rights(gru.derive("dh[t]/dh[t-1]", hold="z"), "substitution")
    assert terms == [t for t in rights(gru.derive("dh[t]/dh[t-1]"), "substitution") if "U_z" not in t]


def test_the_usual_short_form_holds_with_z_held_and_not_otherwise():
    """`diag(z) + diag(1 - z) ∂h̃_t/∂h_{t-1}`."""
    gru = load("gru")
    z, h, candidate, before = var(gru, "z"), var(gru, "h"), var(gru, "h_tilde"), var(gru, "h", -1)
    short = add(diag(z), mul(diag(1 - z), Partial(candidate, before)))
    assert holds(gru, Partial(h, before), short, hold=("z",))
    assert holds(gru, Partial(h, before), short).verdict == "fails"


def test_with_z_at_one_the_state_is_copied():
    derivation = load("gru").derive("dh[t]/dh[t-1]", where={"z": 1})
    assert isinstance(derivation.expr, expr.Identity), derivation.expr
    assert text(derivation.steps[-1].lines[0], derivation.notation) == "∂h_t/∂h_{t-1} = I"


# --- the RNN in Goodfellow's notation ---------------------------------------------------------------------------------

GOODFELLOW = {
    "S004-1": r"a^{(t)} = b + W h^{(t-1)} + U x^{(t)}",
    "S004-2": r"\nabla_{o^{(t)}} L = \hat{y}^{(t)} - y^{(t)}",
    "S004-2, the sum": r"L = \sum_{t=1}^{T} L^{(t)}",
    "S004-4": r"\nabla_c L = \sum_{t=1}^{T} \nabla_{o^{(t)}} L",
    "S004-5": r"\nabla_{h^{(t)}} L = V^T \nabla_{o^{(t)}} L + W^T H^{(t+1)} \nabla_{h^{(t+1)}} L",
    "S004-8": r"\nabla_b L = \sum_{t=1}^{T} H^{(t)} \nabla_{h^{(t)}} L",
    "S004-9": r"\nabla_W L = \sum_{t=1}^{T} H^{(t)}\, (\nabla_{h^{(t)}} L)\, h^{(t-1)T}",
    "S004-9, for U": r"\nabla_U L = \sum_{t=1}^{T} H^{(t)}\, (\nabla_{h^{(t)}} L)\, x^{(t)T}",
    "S004-9, for V": r"\nabla_V L = \sum_{t=1}^{T} (\nabla_{o^{(t)}} L)\, h^{(t)T}",
    "the last step": r"\nabla_{h^{(T)}} L = V^T \nabla_{o^{(T)}} L",
}


@pytest.mark.parametrize("line", GOODFELLOW)
def test_the_rnn_in_the_notation_of_the_book(line: str):
    found = printed(load("rnn").derive("adjoint", notation="goodfellow"))
    assert GOODFELLOW[line] in found.splitlines(), f"{line}: {GOODFELLOW[line]} is not among\n{found}"


def test_the_book_says_what_its_h_is():
    """S004-6: a factor with a name of its own is defined where it is used."""
    derivation = load("rnn").derive("adjoint", notation="goodfellow")
    pages = derivation.markdown()
    assert r"H^{(t)} = \mathrm{diag}(1 - " in pages.replace(r"&= ", "= "), pages


# --- paths and how many there are -------------------------------------------------------------------------------------


def lstm_paths(steps: int) -> mpmath.mpf:
    """The paths from `W_f` to `L[steps]`, by hand.  `h` is read by `o`, and by `f`, `i`, `g` of which `c` makes one; `c` is
    read by `h` (through `m`) and by the next `c`.  Counts of paths from `h`, from `c`, and from all `c` so far:

        h' = h + 3 c      c' = h' + c      sum' = sum + c'
    """
    with mpmath.workdps(60):
        onward = mpmath.matrix([[1, 3, 0], [1, 4, 0], [1, 4, 1]])
        return (onward ** (steps - 1) * mpmath.matrix([1, 1, 1]))[2]


def test_the_paths_of_three_steps_are_all_there():
    derivation = load("lstm").derive("dL[3]/dW_f", unroll=3)
    listed = step(derivation, "paths")
    assert len(set(listed.lines)) == len(listed.lines) == 30 == lstm_paths(3)
    assert listed.reason.startswith("30 paths lead from `W_f` to `L[3]`")
    routes = [[f"{v.name}{v.index[0]}" if v.index else v.name for v in path.args] for path in listed.lines]
    assert all(r[0] == "W_f" and r[-2:] == ["h3", "L3"] for r in routes), routes
    assert [sum(r[1] == f"f{t}" for r in routes) for t in (3, 2, 1)] == [1, 5, 24]
    # Text 002's five ways from one step to the step before it, out of f_2.
    between = {tuple(n for n in r[2:-2] if n not in ("m3", "m2", "c2")) for r in routes if r[1] == "f2"}
    assert between == {("c3",), ("h2", "o3"), *((("h2", gate, "c3")) for gate in ("f3", "i3", "g3"))}


def test_paths_are_counted_without_a_list():
    """A count of 680452 digits is no enumeration."""
    derivation = load("lstm").derive("paths L[3] <- W_f", unroll=3)
    assert derivation.options["count"] == "30"
    count = load("lstm").derive("paths L[20] <- W_f", unroll=20).options["count"]
    assert count == "11209883884350" and lstm_paths(20) == int(count)
    assert count in step(load("lstm").derive("dL[3]/dW_f", unroll=3), "paths").reason


def test_the_paths_of_a_million_steps():
    count = load("lstm").derive("paths L[1000000] <- W_f", unroll=10**6).options["count"]
    digits, exponent = count.split(" × 10^") if "×" in count else count.split("e+")
    wanted = mpmath.nstr(lstm_paths(10**6), 12)
    assert f"{digits}e+{exponent}" == wanted, f"{count} against {wanted}"
    assert int(exponent) == 680451


def test_what_is_counted_for_longer_chains_is_what_was_counted_for_the_short_one():
    said = {
        "dL[3]/dW_h": "3 paths lead from `W_h` to `L[3]`; 20 for T = 20",
        "dL/dW_h": "6 paths lead from `W_h` to `L`.",
    }
    for query, sentence in said.items():
        found = step(load("linear-rnn").derive(query, unroll=3), "paths").reason
        assert found.startswith(sentence), (query, found)


def test_a_count_agrees_with_the_list():
    for name, steps in itertools.product(("gru", "skip-rnn", "birnn"), (2, 3)):
        output = load(name).outputs[0]
        state = "h_fwd" if name == "birnn" else "h"
        derivation = load(name).derive(f"paths {output}[{steps}] <- {state}[1]", unroll=steps)
        listed = step(derivation, "paths").lines
        assert derivation.options["count"] == str(len(listed)), (name, steps)


# --- the other systems ------------------------------------------------------------------------------------------------


def test_a_second_order_rnn_takes_two_terms_back():
    derivation = load("skip-rnn").derive("dL/dh[t]")
    assert derivation.latex() == (
        r"\nabla_{h_t} L = \frac{\partial L_t}{\partial h_t} + W^{\top} \delta^{h}_{t+1} + M^{\top} \delta^{h}_{t+2}"
    )
    assert r"\delta^{h}_t = h_t \odot (1 - h_t) \odot \nabla_{h_t} L" in printed(derivation)


def test_the_second_order_rnn_does_not_count_the_route_through_the_next_step_twice():
    """S003-11 adds the route `h_t → h_{t+1} → h_{t+2}` to a gradient by `h_{t+1}` that holds it already."""
    rnn = load("skip-rnn")
    adjoint = rnn.adjoint()
    t = rnn.lattice.indices[0]
    bar, h, direct = adjoint.variable("h_bar").var, var(rnn, "h"), rnn.variable("h_ct").var
    w, m = (transpose(var(rnn, n)) for n in ("W", "M"))

    def back(matrix: Node, ahead: int, gradient: Node) -> Node:
        """`matrix.T diag(σ') gradient` with σ' at so many steps ahead."""
        state = expr.at(h, {t: t + ahead})
        return mul(matrix, had(state, 1 - state, gradient))

    one, two = (expr.at(bar, {t: t + k}) for k in (1, 2))
    corrected = add(direct, back(w, 1, one), back(m, 2, two))
    twice = add(corrected, back(w, 1, back(w, 2, two)))
    assert holds(rnn, bar, corrected, derived=adjoint)
    assert holds(rnn, bar, twice, derived=adjoint).verdict == "fails"


def test_a_grid_takes_gradients_from_both_neighbours():
    derivation = load("mdrnn").derive("adjoint")
    assert (
        r"\nabla_{h_{i,j}} L = \frac{\partial L_{i,j}}{\partial h_{i,j}} + U_1^{\top} \delta^{h}_{i+1,j}"
        r" + U_2^{\top} \delta^{h}_{i,j+1}"
    ) in printed(derivation).splitlines()
    assert r"\nabla_W L = \sum_{i=1}^{I} \sum_{j=1}^{J} \delta^{h}_{i,j} x_{i,j}^{\top}" in printed(derivation)


def test_a_bidirectional_lstm_is_followed_both_ways():
    derivation = load("blstm").derive("adjoint")
    collected = {line.lhs.name: line.rhs for line in step(derivation, "collection").lines}
    (t,) = derivation.system.lattice.indices
    for direction, after in (("fwd", 1), ("bwd", -1)):
        reads = {(v.name, v.index[0] - t) for v in expr.variables(collected[f"h_{direction}_bar"]) if v.index}
        assert reads == {("y_hat_bar", 0), *((f"{g}_{direction}_delta", after) for g in "ifgo")}, direction
        reads = {(v.name, v.index[0] - t) for v in expr.variables(collected[f"c_{direction}_bar"]) if v.index}
        assert {(f"c_{direction}_bar", after), (f"f_{direction}", after), (f"h_{direction}_bar", 0)} <= reads, direction


# --- what is refused, and in which words ------------------------------------------------------------------------------

REFUSED = {
    ("dh[t]/dU_y", ()): "'dh[t]/dU_y' asks for U_y, which gru does not have (did you mean U_z?)",
    ("dL/dUz", ()): "did you mean U_z?",
    ("dh/dh[t-1]", ()): "h in 'dh/dh[t-1]' needs an index: h[t]",
    ("dh[t]/dW_z[t]", ()): "W_z in 'dh[t]/dW_z[t]' is a parameter and has no index: write W_z",
    ("dh[t,2]/dh[1]", ()): "is written at an index of the lattice",
    ("dh[2*t]/dh[1]", ()): "the index '2*t' in 'dh[2*t]/dh[1]' is not understood; write t, t-1, k or a number",
    ("dh[4]/dh[1]", (("unroll", 3),)): "h[4] in 'dh[4]/dh[1]' lies outside the lattice t = 1..3",
    ("dh[1]/dh[-1]", ()): "h[-1] in 'dh[1]/dh[-1]' lies outside the lattice t = 1..T",
    ("dL[9]/dh[1]", (("unroll", 9),)): "more than 200 paths from h to L; count them with 'paths h[t] <- h[k]'",
    ("dh[t]/dh[t-1]", (("hold", "zz"),)): "zz can't be held constant: gru has no equation for it (did you mean z?)",
    ("dh[t]/dh[t-1]", (("unroll", 0),)): "unroll takes a number of steps from 1 on, found 0",
    ("dh[t]/dh[t-1]", (("layout", "numerater"),)): "did you mean numerator?",
    ("dh[t]/dh[t-1]", (("where", (("zz", 1),)),)): "gru has no zz to give a value (did you mean z?)",
    ("ajoint", ()): "the query 'ajoint' is not understood (did you mean adjoint?)",
}


@pytest.mark.parametrize("query, options", REFUSED)
def test_a_query_that_has_no_answer_is_refused_in_one_sentence(query: str, options: tuple):
    given = {key: dict(value) if key == "where" else value for key, value in options}
    with pytest.raises(QueryError) as refusal:
        load("gru").derive(query, **given)
    said = str(refusal.value)
    assert REFUSED[query, options] in said, said
    assert "\n" not in said and "Traceback" not in said


CLASHES = {
    "shapes": ("h[t] = tanh(W @ x[t] + U @ h[t-1])", {"parameters": "W: n x m, U: m x n"}, "U"),
    "an undefined name": ("h[t] = tanh(W @ x[t] + U_z @ h[t-1])", {"parameters": "W U_h"}, "did you mean U_h?"),
    "a cycle": ("h[t] = tanh(W @ h[t] + x[t])", {"parameters": "W"}, "h[t] is defined by itself; did you mean h[t-1]?"),
    "both ways": ("h[t] = tanh(W @ h[t-1] + W @ h[t+1] + x[t])", {"parameters": "W"}, "no order of evaluation exists"),
}


@pytest.mark.parametrize("what", CLASHES)
def test_equations_that_clash_are_refused_with_their_place(what: str):
    equations, options, words = CLASHES[what]
    with pytest.raises(DeriveError) as refusal:
        System("cell", equations=equations, inputs="x: m", shapes="h: n" if what == "shapes" else "", **options)
    assert words in str(refusal.value), refusal.value
    assert isinstance(refusal.value, SystemError_) and refusal.value.place is not None, type(refusal.value)
