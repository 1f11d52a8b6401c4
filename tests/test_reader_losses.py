"""Losses as documents write them: each spelling says the same system as the plain term at t, gradients included."""

from __future__ import annotations

import pytest
from test_reader_systems import defined, reading

from derive import expr
from derive.canonical import same
from derive.errors import DeriveError
from derive.system import System

CELL = r"h_t &= \tanh(W h_{t-1} + U x_t) \\ y_t &= V h_t \\ p_t &= \operatorname{softmax}(y_t) \\ "
SQUARED, ENTROPY = r"L_t &= \frac12 \|y_t - d_t\|^2", r"L_t &= -d_t^\top \log p_t"

EVERY = {
    r"L &= \frac12\sum_{t=1}^T \|y_t-d_t\|^2": SQUARED,
    r"L &= \sum_{t=1}^T \tfrac{1}{2} \|y_t-d_t\|^2": SQUARED,
    r"L &= \frac12\left(\sum_t \|y_t-d_t\|^2\right)": SQUARED,
    r"L &= \frac{\sum_t \|y_t-d_t\|^2}{2}": SQUARED,
    r"L &= \frac12\sum_{k=1}^T \|y_k-d_k\|^2": SQUARED,
    r"L &= \frac12\sum_{t=1}^T\sum_{k=1}^q (y_{t,k}-d_{t,k})^2": SQUARED,
    r"L &= \sum_t L_t \\ L_t &= \frac12 \|y_t-d_t\|^2": SQUARED,
    r"L_t &= \frac12 \|y_t-d_t\|^2 \\ L &= \sum_{t=1}^T L_t": SQUARED,
    r"L &= \sum_t L_t = \frac12\sum_{t=1}^T \|y_t-d_t\|^2": SQUARED,
    r"L &= L_1 + L_2 + \dots + L_T \\ L_t &= \frac12 \|y_t-d_t\|^2": SQUARED,
    r"E_t &= \frac12 \|y_t-d_t\|^2 \\ E &= \sum_t E_t": SQUARED,
    r"C &= \frac12\sum_{t=1}^T \|y_t-d_t\|^2": SQUARED,
    r"J &= \frac12\sum_{t=1}^T \|y_t-d_t\|^2": SQUARED,
    r"\mathcal L &= \sum_{t=1}^T \ell_t \\ \ell_t &= \frac12\|y_t-d_t\|^2": SQUARED,
    r"L &= -\sum_{t=1}^T d_t^\top \log p_t": ENTROPY,
    r"L &= \sum_t -d_t^\top \log p_t": ENTROPY,
}
LAST = [
    r"L &= \frac12\|y_T-d_T\|^2",
    r"L_T &= \frac12\|y_T-d_T\|^2",
    r"L_t &= \frac12\|y_t-d_t\|^2 \\ L &= L_T",
    r"E_t &= \frac12\|y_t-d_t\|^2 \\ E &= E_T",
]
REFUSED = {
    r"L &= \frac1T\sum_{t=1}^T \|y_t-d_t\|^2": "leave the factor 1/T away",
    r"L &= \frac{1}{2T}\sum_t \|y_t-d_t\|^2": "leave the factor 1/T away",
    r"L &= \frac{\sum_{t=1}^T \|y_t-d_t\|^2}{T}": "leave the factor 1/T away",
    r"L &= \frac12\sum_{t=2}^T \|y_t-d_t\|^2": "a loss sums over every step",
    r"L &= \frac12\sum_{t=1}^{T-1} \|y_t-d_t\|^2": "a loss sums over every step",
    r"L &= \sum_{t=1}^T \|y_t-d_t\|^2 + \lambda \|W\|^2": "stands outside of the sum",
    r"C_t &= \|y_t-d_t\|^2 \\ C &= \frac12 \sum_t C_t": "put into C at a step what stands beside it",
}


def system(loss: str, before: str = "") -> System:
    return defined(rf"\begin{{aligned}}{CELL}{loss}\end{{aligned}}", before)


def assert_same(found: System, wanted: System) -> None:
    kinds = [{v.name: (v.kind, v.shape) for v in s.variables.values()} for s in (found, wanted)]
    assert kinds[0] == kinds[1]
    terms = [s.equations[s.loss_name].rhs for s in (found, wanted)]
    assert same(*terms), terms


@pytest.mark.parametrize(("loss", "plain"), EVERY.items())
def test_a_sum_over_the_steps_is_its_term_at_every_step(loss, plain):
    found = system(loss)
    assert_same(found, system(plain))
    assert found.loss == "every"


@pytest.mark.parametrize("loss", LAST)
def test_a_loss_at_the_end_is_that_of_the_last_step(loss):
    found = system(loss)
    assert_same(found, system(SQUARED))
    assert found.loss == "last"


def test_a_target_without_an_index_belongs_to_the_last_step():
    found = system(r"L &= \frac12\|y_T-d\|^2")
    assert (found.loss, found.variables["d"].indexed) == ("last", False)


@pytest.mark.parametrize(("loss", "why"), REFUSED.items())
def test_what_a_system_cannot_hold_is_said(loss, why):
    with pytest.raises(DeriveError, match=why):
        system(loss)


@pytest.mark.parametrize("letter", ["E", "C", "J"])
def test_the_letter_that_a_definition_gives_its_loss_is_the_loss(letter):
    """No derivative of it need be taken anywhere."""
    loss = rf"{letter}_t &= \frac12\|y_t-d_t\|^2 \\ {letter} &= \sum_t {letter}_t"
    claims = reading(f"<!-- derive: define -->\n$$\\begin{{aligned}}{CELL}{loss}\\end{{aligned}}$$").claims
    assert [c.kind for c in claims] == ["equation"] * 5
    assert [c.read_as() for c in claims][3:] == ["L_t = ½ ‖y_t - d_t‖²", "L = Σ_{t=1..T} L_t"]


def test_a_state_that_goes_by_a_letter_of_losses_stays_a_state():
    lines = r"C_t &= F C_{t-1} + U x_t \\ L &= \frac12\sum_{t=1}^T \|C_t-d_t\|^2"
    found = defined(rf"\begin{{aligned}}{lines}\end{{aligned}}")
    assert found.variables["C"].kind == "state" and found.loss == "every"


OUTPUTS = (
    r"h_t &= \tanh(W h_{t-1} + U x_t) \\ y_t &= V h_t \\ p_t &= \operatorname{softmax}(y_t) \\ s_t &= \sigma(y_t) \\ "
)
OF_A_SOFTMAX = [r"\operatorname{CE}(p_t, d_t)", r"\operatorname{CE}(d_t, p_t)", r"\mathrm{CrossEntropy}(p_t, d_t)"]
BERNOULLI = r"L_t &= -d_t^\top \log s_t - (1 - d_t)^\top \log(1 - s_t)"
OF_OUTPUTS = [
    *((rf"L_t &= {written}", r"L_t &= -d_t^\top \log p_t") for written in OF_A_SOFTMAX),
    *((rf"L &= \sum_{{t=1}}^T {written}", r"L_t &= -d_t^\top \log p_t") for written in OF_A_SOFTMAX),
    (
        r"L_t &= \operatorname{CE}(\operatorname{softmax}(y_t), d_t)",
        r"L_t &= -d_t^\top \log(\operatorname{softmax}(y_t))",
    ),
    (r"L_t &= \operatorname{BCE}(s_t, d_t)", BERNOULLI),
    (r"L_t &= \operatorname{BCE}(d_t, s_t)", BERNOULLI),
]


@pytest.mark.parametrize(("loss", "plain"), OF_OUTPUTS)
def test_the_entropy_of_an_output_takes_the_softmax_once(loss, plain):
    found, wanted = (defined(rf"\begin{{aligned}}{OUTPUTS}{lines}\end{{aligned}}") for lines in (loss, plain))
    assert_same(found, wanted)


@pytest.mark.parametrize("written", OF_A_SOFTMAX)
def test_a_claim_reads_it_as_the_definition_does(written):
    text = f"<!-- derive: define -->\n$$\\begin{{aligned}}{OUTPUTS}L_t &= {written}\\end{{aligned}}$$"
    made = reading(text)
    loss = made.system().equations["L"].rhs
    assert made.claims[-1].formula is not None and same(made.claims[-1].formula.args[1], loss)


def test_the_entropy_of_logits_stays():
    found = defined(rf"\begin{{aligned}}{OUTPUTS}L_t &= \operatorname{{CE}}(y_t, d_t)\end{{aligned}}")
    assert getattr(found.equations["L"].rhs, "function", None) == "cross_entropy"


def test_a_shorthand_for_a_softmax_is_one():
    text = "<!-- derive: system rnn -->\n" + "".join(
        f"$$ {formula} $$\n"
        for formula in (
            r"\hat y_t = \operatorname{softmax}(o_t)",
            r"L_t = \operatorname{CE}(\hat y_t, y_t)",
            r"L_t = \operatorname{CE}(o_t, y_t)",
        )
    )
    assert [c.read_as() for c in reading(text).claims[1:]] == ["L_t = -y_tᵀ log(ŷ_t)", "L_t = CE(o_t, y_t)"]


def test_a_function_in_the_font_of_words_is_a_function():
    found = defined(
        rf"\begin{{aligned}}{OUTPUTS.replace('operatorname', 'text')}L &= \sum_t \text{{CE}}(p_t, d_t)\end{{aligned}}"
    )
    assert_same(found, defined(rf"\begin{{aligned}}{OUTPUTS}L_t &= -d_t^\top \log p_t\end{{aligned}}"))


def test_a_loss_written_out_with_dots_is_the_sum_over_the_steps():
    lines = r"L_t &= \frac12 \|y_t-d_t\|^2 \\ L &= L_1 + L_2 + \dots + L_T"
    claims = reading(f"<!-- derive: define -->\n$$\\begin{{aligned}}{CELL}{lines}\\end{{aligned}}$$").claims
    total = claims[-1].formula
    assert total is not None and claims[-1].unread is None
    assert {str(n) for n in total.atoms(expr.Var)} >= {"L"} and total.args[1].func is expr.Sum, total
