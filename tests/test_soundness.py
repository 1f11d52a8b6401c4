"""Lines that are nearly true, or true for a reason that no sample shows: never *holds* where they are false, never *fails*
where they are true."""

import pytest
from test_verify import described, only

from derive.verdicts.report import Finding

SCALARS = "<!-- derive: scalar -->\n<!-- derive: declare h x w c b: scalar -->\n<!-- derive: define -->\n"
LINEAR = SCALARS + "$$ h_t = w h_{t-1} + x_t $$"
RELU = SCALARS + r"$$ h_t = \max(0, h_{t-1} + x_t), \quad h_0 = 0 $$"
SIGMOID = "<!-- derive: declare x: m, h: n -->\n<!-- derive: define -->\n$$ h_t = \\sigma(W h_{t-1} + U x_t) $$"
HARD = (
    "<!-- derive: declare x: m, h: n -->\n<!-- derive: define -->\n" r"$$ h_t = \mathrm{hardtanh}(W h_{t-1} + U x_t) $$"
)


def verdict(text: str, formula: str) -> str:
    found = only(f"{text}\n\n$$ {formula} $$")
    print(described(found))
    return found.verdict


KINKS = [
    (RELU, r"\max(h_t, 1000) = 1000", "undecided"),
    (RELU, r"x_t \ge 0 \Rightarrow h_t = h_{t-1} + x_t", "holds"),
    (RELU, r"h_t > 0 \Rightarrow \frac{\partial h_t}{\partial h_{t-1}} = 1", "holds"),
    (RELU, r"\mathrm{ReLU}(h_t) = h_t", "holds"),
    (LINEAR, r"\min(x_t, 1000) = x_t", "undecided"),
    (LINEAR, r"|x_t - 30| = 30 - x_t", "undecided"),
    (LINEAR, r"|x_t| = \max(x_t, -x_t)", "holds"),
    (LINEAR, r"b<-0.5 \Rightarrow |b| = -b", "holds"),
    (LINEAR, r"b<-0.5 \Rightarrow |b| = b", "fails"),
    (LINEAR, r"w > 0,\ h_{t-1} > 0 \Rightarrow \mathrm{ReLU}(w h_{t-1}) = w h_{t-1}", "holds"),
    (LINEAR, r"w > 0 \Rightarrow \mathrm{ReLU}(w h_{t-1}) = w h_{t-1}", "fails"),
    (SIGMOID, r"\mathrm{ReLU}(h_t) = h_t", "holds"),
    (HARD, r"\mathrm{hardtanh}(h_t) = h_t", "holds"),
    (HARD, r"\mathrm{hardtanh}(x_t) = x_t", "undecided"),
]


@pytest.mark.parametrize(("text", "formula", "expected"), KINKS)
def test_a_branch_that_is_never_taken_shows_nothing(text, formula, expected):
    assert verdict(text, formula) == expected


def test_a_positive_parameter_has_to_be_supposed():
    """Where roots are taken numbers are drawn positive, and some draws have both signs all the same."""
    text = SCALARS + r"$$ h_t = \sqrt{x_t^2 + 1},\quad y_t = \max(h_t, c) $$"
    assert verdict(text, r"|c| y_t = c y_t") != "holds"


STEP = r"\left\|\frac{\partial h_t}{\partial h_{t-1}}\right\|"
LONG = r"\left\|\frac{\partial h_t}{\partial h_k}\right\|"
BOUNDS = [
    (STEP + r"_2 \le \tfrac14 \|W\|_2", "holds"),
    (STEP + r"_\infty \le \tfrac14 \|W\|_\infty", "holds"),
    (STEP + r"_F \le \tfrac14 \|W\|_2", "undecided"),
    (STEP + r"_2 \le \tfrac14 \|W\|_1", "undecided"),
    (LONG + r"_F \le (\tfrac14 \|W\|_F)^{t-k}", "fails"),  # ‖I‖_F = √n
    (LONG + r"\le (\tfrac13 \|W\|)^{t-k}", "holds"),
    (LONG + r"\le 2 (\tfrac14 \|W\|)^{t-k}", "holds"),
    (LONG + r"\le 100\, (\tfrac{24}{100} \|W\|)^{t-k}", "undecided"),  # false from 113 steps on
    (LONG + r"\le (5-t+k) (\tfrac14 \|W\|)^{t-k}", "undecided"),
    (r"\|h_t\| \le (\tfrac14 \|W\|)^{T-t} \Rightarrow \|h_t\| \le \|W\|^{T-t}", "holds"),
    (r"\|h_t\| \le \|W\|_2 \Rightarrow \|h_t\| \le \|W\|_1", "undecided"),
    (r"\|h_t\| \le \|W\|^t \Rightarrow \|h_t\| \le \|W\|^k", "undecided"),
    (r"\|h_t\| \le t \|W\| \Rightarrow \|h_t\| \le 4 \|W\|", "undecided"),
    (r"\|h_t\| \le (\tfrac14)^t \|W\| \Rightarrow \|h_t\| \le 100 (\tfrac{24}{100})^t \|W\|", "undecided"),
    (r"\|x_t\|_1 \le \|x_t\|_\infty", "undecided"),
    (r"h_t < 1", "holds"),
    (r"h_{t-1} < 1", "undecided"),  # h_0 may be any number
]


@pytest.mark.parametrize(("formula", "expected"), BOUNDS)
def test_a_bound_is_one_in_one_norm_and_for_all_steps(formula, expected):
    assert verdict(SIGMOID, formula) == expected


NETWORK = SCALARS + r"$$ h_t = f(h_{t-1} + x_t + c),\quad y_t = h_t $$"
SET = NETWORK + "\n\n" + r"$$ f(z) = [z \ge 0.5],\quad h_0 = 1,\quad c = -1.5 $$"
OPEN = NETWORK + "\n\n" + r"$$ f(z) = [z \ge 0.5],\quad c = -1.5 $$"
BITS = [
    (SET, r"y_t \le y_{t-1}", "holds"),
    (SET, r"y_t = y_{t-1} x_t", "holds"),
    (SET, r"y_t < y_{t-1}", "fails"),
    (SET, r"c \ge 0 \Rightarrow y_t = 1", "undecided"),  # true of such a c, and of no interest for the one that is set
    (SET, r"c = 0 \Rightarrow y_t = 1", "undecided"),
    (SET + "\n\n$$ c = 0 $$", "y_t = 1", "holds"),
    (SET + "\n\n$$ h_0 = 0 $$", "y_t = 0", "holds"),
    (SET + "\n\n$$ f(z) = [z > 0.5] $$", "y_t = 0", "holds"),
    (OPEN, r"y_t = h_0 \prod_{i=1}^{t} x_i", "undecided"),
    (OPEN, r"y_t = y_{t-1} x_t", "undecided"),
]


@pytest.mark.parametrize(("text", "formula", "expected"), BITS)
def test_what_a_network_of_thresholds_does_is_not_judged_by_other_activations(text, formula, expected):
    assert verdict(text, formula) == expected


PREMISES = [
    (LINEAR, r"x_t = 0 \Rightarrow h_t = w h_{t-1}", "holds"),
    (LINEAR, r"x_{t-1} = 0 \Rightarrow h_t = w h_{t-1}", "undecided"),
    (LINEAR, r"x_T = 0 \Rightarrow x_t = 0", "undecided"),
    (LINEAR, r"w = 2,\ w > 3 \Rightarrow h_t = 3", "undecided"),
    (LINEAR, r"x_t > 0,\ x_t < 0 \Rightarrow h_t = 7", "undecided"),
    (LINEAR, r"h_t > 1 \Rightarrow h_t = x_t", "fails"),
    (LINEAR, r"t > 2 \Rightarrow h_t = x_t", "fails"),
    (LINEAR, r"k > t \Rightarrow \frac{\partial h_t}{\partial x_k} = 1", "fails"),
    (LINEAR, r"w > 0 \Rightarrow h_t = x_t", "fails"),
    (RELU, r"x_t \ge 0 \Rightarrow h_t = \sum_{k=1}^{t} x_k", "undecided"),  # at all steps, or at one?
    (RELU, r"x_t \ge 0 \Rightarrow h_t = \sum_{k=2}^{t} x_k", "fails"),
]


@pytest.mark.parametrize(("text", "formula", "expected"), PREMISES)
def test_a_premise_is_met_where_it_is_used(text, formula, expected):
    assert verdict(text, formula) == expected


SET_TWICE = [
    ("h_t = 3 h_{t-1} + x_t", "holds"),
    ("h_t = 2 h_{t-1} + x_t", "fails"),
    ("w^2 = 9", "holds"),
    ("w^2 = 4", "fails"),
]


@pytest.mark.parametrize(("formula", "expected"), SET_TWICE)
def test_the_last_value_that_a_text_gives_counts(formula, expected):
    between = "$$ w = 2 $$\n\n$$ h_t = 2 h_{t-1} + x_t $$\n\n$$ w = 3 $$"
    assert verdict(LINEAR + "\n\n" + between, formula) == expected


SET_ONCE = [
    (r"x_t > 0 \Rightarrow h_t = 2 h_{t-1} + x_t", "holds"),
    (r"x_t > 0 \Rightarrow h_t = 3 h_{t-1} + x_t", "fails"),
    (r"x_t = 0 \Rightarrow \frac{\partial h_t}{\partial h_{t-1}} = 2", "holds"),
    (r"x_t = 0 \Rightarrow \frac{\partial h_t}{\partial h_{t-1}} = 3", "fails"),
    (r"h_t \le 2 h_{t-1} + x_t", "undecided"),
    (r"\frac{\partial h_t}{\partial h_{t-1}} > 1", "undecided"),
    (r"\frac{\partial h_t}{\partial h_{t-1}} > 3", "fails"),
    (r"w \frac{\partial h_t}{\partial w} = 2 \frac{\partial h_t}{\partial w}", "undecided"),
]


@pytest.mark.parametrize(("formula", "expected"), SET_ONCE)
def test_what_fails_has_to_fail_for_the_values_that_a_text_gives(formula, expected):
    assert verdict(LINEAR + "\n\n$$ w = 2 $$", formula) == expected


# --- held constant ---

HELD = (
    r"$$ \frac{\partial h_t}{\partial h_{t-1}}"
    r" = \mathrm{diag}(z_t) + \mathrm{diag}(1 - z_t) \frac{\partial \tilde h_t}{\partial h_{t-1}} $$"
)


def held(*directives: str) -> Finding:
    return only("".join(f"<!-- derive: {directive} -->\n" for directive in directives) + HELD)


def test_what_is_held_goes_by_any_of_its_names():
    for directives in (("system gru", "hold z"), ("system gru", "alias u = z", "hold u")):
        assert held(*directives).verdict == "holds", directives


def test_to_hold_what_there_is_not_makes_no_line_wrong():
    found = held("system gru", "hold h_tild")
    assert found.verdict == "unread"
    assert found.reason == "h_tild is to be held constant, and gru has no h_tild (did you mean h_tilde?)"


def test_what_only_the_system_before_has_is_not_held_in_the_next():
    found = held("system lstm", "hold f, o", "system gru")
    assert found.verdict == "holds-if" and "z held constant" in found.assumptions[0].sentence
