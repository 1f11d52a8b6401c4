"""How lines of a hand derivation are read, in the scope of a system: what they mean, what they take, why they do not."""

from __future__ import annotations

import pytest

from derive import catalogue, expr
from derive.errors import DeriveError
from derive.printing import text
from derive.reader import document
from derive.reader.claims import Claim, DocumentReading
from derive.reader.parse import parse
from derive.reader.relations import relate
from derive.reader.resolve import Resolver
from derive.reader.scope import Scope
from derive.reader.understand import understand

DESCENDING = "in a product over an index the latest factor stands left"
ASCENDING = "in a product over an index the latest factor stands right"
ROWS = "∂y/∂x has a row for each entry of y, and a gradient is a row"
TRANSPOSED = "∂y/∂x has a row for each entry of x, and a gradient is a column"
ENTRYWISE = "the product of two vectors that stand side by side is entry by entry"
INNER = "the product of two vectors that stand side by side is their inner product"
DIAGONAL = "a vector that stands for a matrix means the diagonal matrix of it: σ'(a)·W is diag(σ'(a)) W"


def reading(source: str) -> DocumentReading:
    return understand(document.parse(source, "notes.md", "md"))


def claims(*formulas: str, system: str = "gru", directives: str = "") -> tuple[Claim, ...]:
    """The claims of displays in a document about `system`."""
    head = f"<!-- derive: system {system}{'; ' * bool(directives)}{directives} -->\n"
    return reading(head + "".join(f"$$\n{formula}\n$$\n" for formula in formulas)).claims


def claim(formula: str, system: str = "gru", directives: str = "") -> Claim:
    (only,) = claims(formula, system=system, directives=directives)
    return only


# --- every notation: a line, and what it is read as ---

READ = {
    "gru": {
        # time
        r"h_t = z_t": "h_t = z_t",
        r"h^{(t)} = z^{(t)}": "h_t = z_t",
        r"h^t = z^t": "h_t = z_t",
        r"h(t) = z(t-1)": "h_t = z_{t-1}",
        r"h^{\langle t \rangle} = z^{\langle t-1 \rangle}": "h_t = z_{t-1}",
        r"h_{t-1} = z_{t+1}": "h_{t-1} = z_{t+1}",
        r"h_T = z_1": "h_T = z_1",
        # letters and accents
        r"\mathbf{h}_{t-1} = \boldsymbol{z}_{t}": "h_{t-1} = z_t",
        r"\vec{h}_t = \underline{z}_t": "h_t = z_t",
        r"\tilde h_t = \tanh(W_{h} x_t + b_{\mathrm{h}})": "h̃_t = tanh(W_h x_t + b_h)",
        # products
        r"h_t = z_t \odot r_t": "h_t = z_t ⊙ r_t",
        r"h_t = z_t \circ r_t": "h_t = z_t ⊙ r_t",
        r"h_t = z_t * r_t": "h_t = z_t ⊙ r_t",
        r"h_t = z_t \times r_t": "h_t = z_t ⊙ r_t",
        r"h_t = U_z \cdot h_{t-1}": "h_t = U_z h_{t-1}",
        r"h_t = U_z \times h_{t-1}": "h_t = U_z h_{t-1}",
        r"h_t = U_z h_{t-1}": "h_t = U_z h_{t-1}",
        # transposes, powers, numbers
        r"U_z^T = U_z^\top": "U_zᵀ = U_zᵀ",
        r"U_z^{\mathsf T} = U_z'": "U_zᵀ = U_zᵀ",
        r"h_t^2 = h_t^{\odot 2}": "h_t² = h_t²",
        r"U_z^{T-t} = U_r^{T-t}": "U_z^{T-t} = U_r^{T-t}",
        r"(U_z^\top)^k = (U_z^k)^\top": "(U_zᵀ)^k = (U_z^k)ᵀ",
        r"\left(U_z\right)^{-1} = U_z": "U_z⁻¹ = U_z",
        r"\frac{1}{2} h_t = 0.5 h_t": "½ h_t = ½ h_t",
        # functions
        r"z_t = \sigma(h_t)": "z_t = σ(h_t)",
        r"z_t = \operatorname{sigmoid}(h_t)": "z_t = σ(h_t)",
        r"h_t = \tanh(z_t)": "h_t = tanh(z_t)",
        r"h_t = tanh(z_t)": "h_t = tanh(z_t)",
        r"h_t = \mathrm{ReLU}(z_t)": "h_t = ReLU(z_t)",
        r"h_t = \max(0, z_t)": "h_t = ReLU(z_t)",
        r"h_t = \sigma'(z_t)": "h_t = σ'(z_t)",
        r"h_t = \dot\sigma(z_t)": "h_t = σ'(z_t)",
        r"h_t = 1 - \tanh^2(z_t)": "h_t = 1 - tanh²(z_t)",
        r"h_t = \mathrm{sech}^2(z_t)": "h_t = sech(z_t)²",
        r"h_t = \cosh(z_t) - \sinh(z_t)": "h_t = cosh(z_t) - sinh(z_t)",
        r"\max_u \sigma'(u) = \tfrac14": "max_u σ'(u) = ¼",
        r"\max \sigma' = \tfrac14": "max_u σ'(u) = ¼",
        r"\tanh' = 1 - \tanh^2": "tanh'(u) = 1 - tanh²(u)",
        # matrices and columns
        r"U_z = \operatorname{diag}(z_t)": "U_z = diag(z_t)",
        r"U_z = \mathrm{Diag}(z_t) U_r": "U_z = diag(z_t) U_r",
        r"U_z = I": "U_z = I",
        r"h_t = \mathbf{1} - z_t": "h_t = 1 - z_t",
        r"[h_{t-1}; x_t] = [h_{t-1}, x_t]": "[h_{t-1}; x_t] = [h_{t-1}; x_t]",
        # sums and products over an index
        r"L = \sum_{t=1}^{T} L_t": "L = Σ_{t=1..T} L_t",
        r"L = \sum_t L_t": "L = Σ_{t=1..T} L_t",
        r"\frac{\partial L}{\partial U_z} = \sum_{k=1}^{t} z_k h_{k-1}^\top": "∇_{U_z} L = Σ_{k=1..t} z_k h_{k-1}ᵀ",
        r"\frac{\partial h_t}{\partial h_k} = \prod_{m=k+1}^{t} \frac{\partial h_m}{\partial h_{m-1}}": (
            "∂h_t/∂h_k = ∏_{m=t..k+1} ∂h_m/∂h_{m-1}"
        ),
        r"\frac{\partial h_t}{\partial h_k} = \prod_{t \ge m > k} \frac{\partial h_m}{\partial h_{m-1}}": (
            "∂h_t/∂h_k = ∏_{m=t..k+1} ∂h_m/∂h_{m-1}"
        ),
        r"\frac{\partial h_t}{\partial h_1} = \frac{\partial h_t}{\partial h_{t-1}} \cdots "
        r"\frac{\partial h_2}{\partial h_1}": "∂h_t/∂h_1 = ∏_{m=t..2} ∂h_m/∂h_{m-1}",
        # derivatives
        r"\partial L / \partial W_z = 0": "∇_{W_z} L = 0",
        r"\dfrac{\partial L}{\partial h_t} = 0": "∇_{h_t} L = 0",
        r"\frac{\mathrm d h_t}{\mathrm d h_{t-1}} = U_z": "∂h_t/∂h_{t-1} = U_z",
        r"\frac{\partial^+ h_t}{\partial h_{t-1}} = \mathrm{diag}(z_t)": "∂⁺h_t/∂h_{t-1} = diag(z_t)",
        r"\left.\frac{\partial h_t}{\partial h_{t-1}}\right|_{z_t} = U_z": "∂h_t/∂h_{t-1}|_{z_t} = U_z",
        r"\nabla_{h^{(t)}} L = \nabla_{h_t} L": "∇_{h_t} L = ∇_{h_t} L",
        r"\delta h_t = \bar h_t": "∇_{h_t} L = ∇_{h_t} L",
        r"dh_t = dh_{t+1} \odot z_t": "∇_{h_t} L = (∇_{h_{t+1}} L) ⊙ z_t",
        r"dU_z \mathrel{+}= dz_t h_{t-1}^\top": "∇_{U_z} L = Σ_{t=1..T} (∇_{z_t} L) h_{t-1}ᵀ",
        # entries, norms, comparisons
        r"\frac{\partial h_{t,i}}{\partial h_{t-1,j}} = \delta_{ij}": "[∂h_t/∂h_{t-1}]_{ij} = [i = j]",
        r"\sum_i h_{t,i} = 1": "Σ_{i=1..n} h_{t,i} = 1",
        r"\|U_z\| \le 1": "‖U_z‖ ≤ 1",
        r"\left\|\frac{\partial h_t}{\partial h_{t-1}}\right\| \leq 1": "‖∂h_t/∂h_{t-1}‖ ≤ 1",
        # paths and implications
        r"h_{t-1} \to z_t \to h_t": "h_{t-1} → z_t → h_t",
        r"z_t = 1 \Rightarrow \frac{\partial h_t}{\partial h_{t-1}} = I": "z_t = 𝟏 ⇒ ∂h_t/∂h_{t-1} = I",
        # what only decorates
        r"\underbrace{h_t}_{\text{new}} = \boxed{z_t}": "h_t = z_t",
        r"h_t = \color{red}{z_t}.": "h_t = z_t",
        r"h_t = \bigl( z_t \bigr) \, \tag{3} \label{eq:3}": "h_t = z_t",
    },
    "mdrnn": {
        r"h_{i,j} = h_{i-1,j}": "h_{i,j} = h_{i-1,j}",
        r"h(i,j) = h(i, j-1)": "h_{i,j} = h_{i,j-1}",
        r"\mathbf h^{(i,j)} = b": "h_{i,j} = b",
    },
    "rnn": {
        r"\hat y_t = \mathrm{softmax}(o_t)": "ŷ_t = softmax(o_t)",
        r"\nabla_{o_t} L = \mathrm{softmax}(o_t) - y_t": "∇_{o_t} L = softmax(o_t) - y_t",
        r"\frac{\partial L_t}{\partial h_t} = V^\top \nabla_{o_t} L": "∇_{h_t} L_t = Vᵀ ∇_{o_t} L",
    },
    "lstm": {
        r"c_t = f_t \odot c_{t-1} + i_t \odot g_t": "c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t",
        r"\left.\frac{\partial c_t}{\partial c_{t-1}}\right|_{h_{t-1}} = \operatorname{diag}(f_t)": (
            "∂c_t/∂c_{t-1}|_{h_{t-1}} = diag(f_t)"
        ),
        r"\delta c_t = \delta h_t \circ o_t \circ (1 - \tanh^2(c_t))": (
            "∇_{c_t} L = (∇_{h_t} L) ⊙ o_t ⊙ (1 - tanh²(c_t))"
        ),
    },
}
LINES = [(system, line) for system, lines in READ.items() for line in lines]


@pytest.mark.parametrize(("system", "line"), LINES)
def test_a_line_is_read(system, line):
    only = claim(line, system)
    assert only.unread is None, only.unread
    assert only.read_as() == READ[system][line]


def test_the_parts_do_it_without_a_document():
    scope = Scope.of(catalogue.load("gru"))
    tree = parse(r"h_t = z_t \cdot U_z h_{t-1}").children[0]
    left, right = tree.children
    found, unread = relate(Resolver(scope), "=", left, right, tree)
    assert unread is None and text(found[0].formula) == "h_t = z_t ⊙ (U_z h_{t-1})"


def test_names_are_spelled_from_their_scripts():
    scope = Scope.of(catalogue.load("lstm"))
    for written in (r"W_f", r"W_{f}", r"W^{(f)}", r"W_{\mathrm{f}}", r"\mathbf{W}_f", r"W_{\text{f}}"):
        (reading_,) = Resolver(scope).readings(parse(written).children[0])[:1]
        assert reading_.value == scope.names["W_f"].node, written


# --- several readings, each with what it takes ---

AMBIGUOUS = {
    r"\frac{\partial h_t}{\partial h_k} = \prod_{m=k+1}^{t} \frac{\partial h_m}{\partial h_{m-1}}": {
        DESCENDING,
        ASCENDING,
    },
    r"\frac{\partial h_t}{\partial h_{t-1}} = \sigma'(z_t) U_z": {DIAGONAL, TRANSPOSED},
    r"h_t = z_t \cdot r_t": {ENTRYWISE},
    r"U_z = z_t r_t": {ENTRYWISE, "a vector where only a matrix can stand means the diagonal matrix of it"},
    r"\dfrac{\partial L}{\partial h_t} = 0": {ROWS},
    r"\frac{\partial L}{\partial h_t} = \frac{\partial L}{\partial h_{t+1}} \frac{\partial h_{t+1}}{\partial h_t}": {
        ROWS
    },
}


@pytest.mark.parametrize("line", AMBIGUOUS)
def test_an_ambiguous_line_says_what_each_reading_takes(line):
    only = claim(line)
    assert only.unread is None
    assert AMBIGUOUS[line] <= {assumption for r in only.readings for assumption in r.assumptions}
    assert [r.cost for r in only.readings] == sorted(r.cost for r in only.readings)
    assert len({(r.formula, r.choices) for r in only.readings}) == len(only.readings)


def test_a_line_with_one_meaning_assumes_nothing():
    assert [r.assumptions for r in claim(r"h_t = z_t \odot h_{t-1}").readings] == [()]


# --- why a line is not read: what was found, where, and what is near ---

UNREAD = {
    r"h_t = W_z \odot x_t": (
        "a Hadamard product needs equal shapes, found n x m and m",
        "did you mean a matrix product?",
    ),
    r"h_t = W_z h_t": ("inner dimensions that agree, found n x m and n", "did you mean a transpose?"),
    r"h_t = x_t": ("the two sides have different shapes, n and m", "columns"),
    r"z_t = \sigma(x_t)": ("the two sides have different shapes, n and m",),
    r"h_t = z_t + x_t": ("a sum needs equal shapes, found n and m",),
    r"h_t = W_q x_t": ("W_q is not defined", "did you mean W_z?"),
    r"h_t = q_t": ("q is not defined", "declare"),
    r"h_t = \frac{z_t": ("this brace { is never closed",),
    r"h_t = (z_t": ("this bracket ( is never closed",),
    r"h_t": ("a formula that claims something has a relation in it",),
    r"= z_t": ("no line before it has a right side",),
    r"U_z = \begin{bmatrix} 1 & 0 \\ 0 & 1 \end{bmatrix}": ("different shapes, n x n and 2 x 2",),
}


@pytest.mark.parametrize("line", UNREAD)
def test_an_unread_line_says_why_and_where(line):
    only = claim(line)
    assert not only.readings and only.formula is None and only.read_as() == ""
    assert [part for part in UNREAD[line] if part not in str(only.unread)] == [], only.unread
    assert only.unread_place is not None and only.unread_place.line == 3
    assert 1 <= only.unread_place.column <= len(line) + 1


CARETS = {
    r"h_t = W_z \odot x_t": ("h_t = W_z \\odot x_t", "      ^^^^^^^^^^^^^"),
    r"h_t = (z_t": ("h_t = (z_t", "      ^"),
    r"h_t = q_t + z_t": ("h_t = q_t + z_t", "      ^^^"),
}


@pytest.mark.parametrize("line", CARETS)
def test_a_caret_stands_under_the_place(line):
    assert claim(line).caret == "\n".join(CARETS[line])


def test_one_unread_line_does_not_hide_the_others():
    found = claims(r"h_t = q_t, \quad h_t = z_t", "h_t = r_t")
    assert [c.unread is None for c in found] == [False, True, True]


# --- what a display holds ---


def lines(*formulas: str, **options: str) -> list[str]:
    return [c.read_as() or f"unread: {c.unread}" for c in claims(*formulas, **options)]


def test_a_chain_is_one_claim_for_each_relation():
    assert lines("h_t = z_t = r_t") == ["h_t = z_t", "z_t = r_t"]


@pytest.mark.parametrize(("written", "read"), [("<-", "<"), ("< -", "<"), (r"\le-", "≤"), ("<- ", "=")])
def test_less_than_a_negative_number_is_no_arrow(written, read):
    (found,) = claims(f"a{written}0.5", directives="declare a: scalar")
    assert found.read_as() == f"a {read} {'½' if read == '=' else '-½'}"


def test_a_line_that_begins_with_its_relation_goes_on_within_a_display():
    found = claims("\\begin{aligned}\nh_t &= z_t \\\\\n&= r_t\n\\end{aligned}")
    assert [(c.read_as(), c.continues) for c in found] == [("h_t = z_t", False), ("z_t = r_t", True)]


def test_a_line_that_begins_with_its_relation_goes_on_across_displays():
    found = claims("h_t = z_t", "= r_t", "= \\tilde h_t")
    assert [c.read_as() for c in found] == ["h_t = z_t", "z_t = r_t", "r_t = h̃_t"]
    assert [c.continues for c in found] == [False, True, True]
    assert [c.display for c in found] == sorted({c.display for c in found})


@pytest.mark.parametrize("between", [r", \quad ", r",\qquad ", r" \\ ", r" \text{ and } ", r" \text{ where } ", "; "])
def test_several_claims_in_a_display(between):
    assert lines(f"h_t = z_t{between}r_t = z_t") == ["h_t = z_t", "r_t = z_t"]


def test_an_implication_keeps_its_hypothesis():
    only = claim(r"z_t = 1 \Rightarrow h_t = h_{t-1}")
    assert only.kind == "implication" and isinstance(only.formula, expr.Implies)
    assert only.read_as() == "z_t = 𝟏 ⇒ h_t = h_{t-1}"


@pytest.mark.parametrize("formula", ["t = 1", r"1 \le k < t", r"t = 1, \dots, T"])
def test_what_only_says_where_claims_nothing(formula):
    (claim,) = claims(formula)
    assert (claim.kind, claim.unread) == ("condition", None)


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        (r"\text{and so on}", "and so on"),
        (r"\text{the gate }z_t\text{ is open}", "the gate z_t is open"),
        (r"z_t \uparrow \Rightarrow \text{open}", "z_t ↑ ⇒ open"),
    ],
)
def test_words_are_read_as_words(formula, said):
    (claim,) = claims(formula)
    assert (claim.unread, claim.read_as()) == (None, said)


def test_a_claim_knows_where_its_display_says_that_it_holds():
    (claim,) = claims(r"h_t = z_t \qquad t \ge 2,\ T \text{ even}")
    assert list(map(str, claim.where)) == ["t ≥ 2", "T even"]


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        (r"h_t = z_t \text{ if } r_t = 0", ["r_t = 0"]),
        (r"h_t = z_t \quad \text{when } h_{t-1} = 0", ["h_{t-1} = 0"]),
        (r"h_t = z_t, \quad t = 1, \dots, T", ["1 ≤ t", "t ≤ T"]),
        (r"h_t = z_t \quad (t < T)", ["t < T"]),
        (r"h_t = z_t \text{ unless } t < T", ["unless t < T"]),
        (r"h_t = z_t \text{ only if } t < T", ["only if t < T"]),
        (r"\text{If } r_t = 1 \text{ and } x_t = 0, \text{ then } h_t = z_t", ["r_t = 𝟏", "x_t = 0"]),
        (r"h_t = z_t, \quad t \in [1, T-1]", ["t \\in [1, T-1]"]),
        (r"h_t = z_t \quad \forall t", [r"\forall t"]),
    ],
)
def test_a_condition_is_no_claim(formula, said):
    (claim,) = claims(formula)
    assert (claim.read_as(), list(map(str, claim.where))) == ("h_t = z_t", said)


@pytest.mark.parametrize(
    ("formula", "why"),
    [
        (r"h_t \propto z_t", "a proportionality says nothing of the factor, and is not read"),
        (r"h_t := h_t + z_t", "a name is set to what it stands in itself; write += for what is added"),
        (r"h_t \odot U_z = z_t^2 \odot U_z", None),
        (r"h_.3 = z_t", "found . where a name, a number or a bracket should stand"),
        (r"\frac.3 = z_t", None),
        (r"\| h_t \|_t = 1", "a norm is one of 1, 2, F, inf, or any; found t"),
        (r"\operatorname{diag}() = U_z", "diag takes a column vector, and nothing stands here"),
        (r"\mathbb{E}[h_t] = z_t", "an expectation or a probability is not read"),
        (r"\nabla_{h_t} L = z_t^\top r_t", "the two sides have different shapes, n and scalar (columns 1 and 18)"),
    ],
)
def test_what_would_be_read_as_something_else_is_unread(formula, why):
    (claim,) = claims(formula)
    assert claim.unread is not None and (why is None or claim.unread == why)


def test_a_sum_over_gates_is_no_sum_over_time():
    (claim,) = claims(r"h_t = \sum_z U_z^\top z_t")
    assert claim.unread is not None


def test_a_letter_is_the_loss_where_its_derivative_is_taken():
    (other,) = claims(r"h_t = J_t h_{t-1}")
    assert other.unread is not None and other.unread.startswith("J is not defined")
    first, _ = claims(r"\frac{\partial J}{\partial h_t} = z_t", r"J = \sum_t J_t")
    assert first.read_as() == "∇_{h_t} L = z_t"


def test_what_words_deny_is_not_claimed():
    (claim,) = claims(r"\text{It is not true that } h_t = z_t")
    assert claim.unread == "the words 'It is not true that' may say the opposite of this formula"
    (struck,) = claims(r"h_t = \cancel{z_t} + r_t")
    assert struck.unread == r"found \cancel: what is struck out is not read"


def test_a_d_before_a_name_is_a_gradient_or_a_differential():
    (claim,) = claims(r"dh_t = z_t \odot dh_{t-1}")
    assert [str(r.formula) for r in claim.readings] == ["∇_{h_t} L = z_t ⊙ ∇_{h_{t-1}} L", "ḣ_t = z_t ⊙ ḣ_{t-1}"]
    assert [r.assumptions for r in claim.readings] == [
        ("a d before a name makes it the gradient of the loss, as in code",),
        ("a d before a name makes it its differential",),
    ]


def test_an_index_on_the_right_only_may_mean_the_one_of_the_left():
    (claim,) = claims(r"\frac{\partial h_m}{\partial h_{m-1}} = \operatorname{diag}(1 - z_t)")
    assert "z_t" in str(claim.formula)
    (other,) = [r for r in claim.readings if "z_m" in str(r.formula)]
    assert "an index that stands on one side only means the one of the other side" in other.assumptions


def test_time_stands_where_the_author_puts_it():
    """`h_1` is an entry to whoever writes `h^{(t)}`, and `z_t^2` a square to whoever writes `z_t`."""
    above = claims(r"h^{(t)} = z^{(t)}", r"h_1^{(t)} = z_1^{(t)}")
    assert above[1].read_as() == "h_{t,1} = z_{t,1}"
    below = claims("h_t = z_t", "h_t^2 = z_t")
    assert below[1].read_as() == "h_t² = z_t"


def test_both_ways_are_two_implications():
    found = claims(r"z_t = 1 \iff h_t = h_{t-1}")
    assert [c.read_as() for c in found] == ["z_t = 𝟏 ⇒ h_t = h_{t-1}", "h_t = h_{t-1} ⇒ z_t = 𝟏"]


def test_a_macro_means_what_it_says_where_it_stands():
    text = (
        "<!-- derive: system gru -->\n"
        r"$$ \newcommand{\g}{z} h_t = \g_t $$" + "\n" + r"$$ \renewcommand{\g}{r} h_t = \g_t $$" + "\n"
    )
    assert [c.read_as() for c in reading(text).claims] == ["h_t = z_t", "h_t = r_t"]
    later = "<!-- derive: system gru -->\n" r"$$ h_t = \g_t $$" "\n" r"$$ \newcommand{\g}{z} h_t = \g_t $$" "\n"
    assert [c.read_as() for c in reading(later).claims] == ["h_t = z_t", "h_t = z_t"]


def test_an_alias_ends_with_its_system():
    of_gru = "<!-- derive: system gru -->\n<!-- derive: alias Q = U_z -->\n$$ Q = U_r $$\n"
    first, second = reading(of_gru + "<!-- derive: system rnn -->\n$$ Q = W $$\n").claims
    assert first.read_as() == "U_z = U_r" and second.kind == "defines"


def test_scalar_forgets_what_was_declared():
    text = "<!-- derive: declare x: n, W: n x n -->\n<!-- derive: scalar -->\n$$ W x = x W $$\n"
    (claim,) = reading(text).claims
    assert claim.formula is not None and claim.formula.lhs.shape == (1, 1)


def test_a_list_of_too_many_paths_is_refused():
    sets = r" \times ".join([r"\{h_t; z_t; r_t\}"] * 9)
    (claim,) = claims(rf"{sets} \to h_t")
    assert claim.unread == "a list of paths stands for at most 1000 of them"
    (few,) = claims(r"\{h_2; z_2\} \times \{h_1 \to r_1; z_1\} \to h_0")
    assert few.formula is not None and len(few.formula.args) == 4


def test_a_sum_of_many_readings_is_read_in_bounded_time():
    ambiguous = " + ".join(["(h_i^2 z_j^2)"] * 60)
    (claim,) = claims(rf"h_t = {ambiguous}")
    assert claim.n == 1


def test_a_new_name_on_the_left_is_defined():
    found = claims(r"\delta_t := \frac{\partial L}{\partial h_t}", r"\delta_t = \delta_{t+1} \odot z_t")
    assert [c.kind for c in found] == ["defines", "equation"]
    assert [c.read_as() for c in found] == ["δ_t = ∇_{h_t} L", "δ_t = δ_{t+1} ⊙ z_t"]


def test_a_name_may_be_used_before_it_is_defined():
    assert lines(r"h_t = q_t", r"q_t = z_t \odot r_t") == ["h_t = q_t", "q_t = z_t ⊙ r_t"]


def test_a_claim_knows_its_place_number_and_source():
    first, second = claims(r"h_t = z_t,\quad r_t = z_t")
    assert (first.n, second.n) == (1, 2)
    assert (str(first.place), str(second.place)) == ("notes.md:3:1", "notes.md:3:17")
    assert (first.latex, second.latex) == ("h_t = z_t", "r_t = z_t")
    assert first.system is second.system and first.system is not None and first.system.name == "gru"


# --- directives ---


def test_hold_is_in_force_until_none():
    found = reading(
        "<!-- derive: system gru; hold z -->\n$$ \\frac{\\partial h_t}{\\partial h_{t-1}} = I $$\n"
        "<!-- derive: hold none -->\n$$ \\frac{\\partial h_t}{\\partial h_{t-1}} = I $$"
    ).claims
    assert [c.hold for c in found] == [("z",), ()]
    assert [c.read_as() for c in found] == ["∂h_t/∂h_{t-1}|_{z} = I", "∂h_t/∂h_{t-1} = I"]


@pytest.mark.parametrize(("word", "assumption"), [("numerator", TRANSPOSED), ("denominator", ROWS)])
def test_layout_leaves_the_readings_of_the_other_one_out(word, assumption):
    line = r"\frac{\partial L}{\partial h_t} = \frac{\partial L}{\partial h_{t+1}} + \nabla_{h_t} L"
    taken = {a for r in claim(line, directives=f"layout {word}").readings for a in r.assumptions}
    assert assumption not in taken


@pytest.mark.parametrize(("word", "assumption"), [("ascending", ASCENDING), ("descending", DESCENDING)])
def test_order_pins_products(word, assumption):
    line = r"\frac{\partial h_t}{\partial h_k} = \prod_{m=k+1}^{t} \frac{\partial h_m}{\partial h_{m-1}}"
    taken = {a for r in claim(line, directives=f"order {word}").readings for a in r.assumptions}
    assert taken & {ASCENDING, DESCENDING} == {assumption}


def test_alias_gives_the_documents_names():
    assert lines(r"s_t = Z_t \odot W^{hh} s_{t-1}", directives=r"alias s = h, Z = z, W^{hh} = U_h") == [
        "h_t = z_t ⊙ (U_h h_{t-1})"
    ]


def test_declare_gives_shapes_to_names_that_stand_for_nothing_else():
    assert lines("h_t = A x_t + g_t", directives="declare A: n x m, g: n") == ["h_t = A x_t + g_t"]


def test_scalar_lets_factors_commute():
    source = (
        "<!-- derive: scalar -->\n<!-- derive: define -->\n$$ h_t = w h_{t-1} + u x_t $$\n"
        "$$ \\frac{\\partial h_t}{\\partial w} = h_{t-1} $$"
    )
    found = reading(source)
    assert all(expr.is_scalar(v.var) for v in found.system().variables.values())
    assert [c.unread for c in found.claims] == [None, None]


def test_expect_and_skip_hold_for_the_next_display_only():
    found = reading(
        "<!-- derive: system gru; expect fails missing-path -->\n$$ h_t = z_t $$\n$$ h_t = z_t $$\n"
        "<!-- derive: skip -->\n$$ h_t = z_t $$\n$$ h_t = z_t $$"
    ).claims
    assert [c.expect for c in found] == [("fails", "missing-path"), None, None, None]
    assert [c.skip for c in found] == [False, False, True, False]


def test_unroll_and_loss_stand_on_the_claims_below():
    found = reading(
        "<!-- derive: system rnn -->\n$$ h_t = h_t $$\n<!-- derive: unroll 3; loss final -->\n$$ h_t = h_t $$"
    ).claims
    assert [(c.unroll, c.loss) for c in found] == [(None, None), (3, "final")]


def test_the_system_changes_from_where_it_is_named():
    found = reading("<!-- derive: system gru -->\n$$ h_t = z_t $$\n<!-- derive: system lstm -->\n$$ h_t = o_t $$")
    assert [s.name for s in found.systems] == ["gru", "lstm"]
    assert [c.system.name for c in found.claims if c.system] == ["gru", "lstm"]


@pytest.mark.parametrize(
    "directive", ["hold", "layout sideways", "unroll 1000000", "expect maybe", "order up", "skip it"]
)
def test_a_directive_that_is_off_says_what_it_takes(directive):
    with pytest.raises(DeriveError, match=r"^notes\.md:1:\d+: the directive .* takes .*, as in '"):
        claims("h_t = z_t", directives=directive)


ONES = {
    r"M = I \odot (a_t \mathbf 1^\top)": "M = I ⊙ (a_t 𝟏ᵀ)",
    r"M = I \odot M": "M = I ⊙ M",
    r"a_t = I \odot h_t": "a_t = h_t",
    r"M = (a_t \mathbf 1^\top) \odot (W)": "M = (a_t 𝟏ᵀ) ⊙ W",
    r"V = (o_t \mathbf 1^\top) \odot (V)": "V = (o_t 𝟏ᵀ) ⊙ V",
    r"V = (\mathbf 1 h_t^\top) \odot V": "V = (𝟏 h_tᵀ) ⊙ V",
    r"V = V \odot (h_t \mathbf 1^\top)^\top": "V = V ⊙ (𝟏 h_tᵀ)",
    r"a_t = I \mathbf 1": "a_t = 𝟏",
    r"M = \mathrm{diag}(I(-\mathbf 1))": "M = -I",
    r"M = \mathrm{diag}(-\mathbf 1)": "M = -I",
}


@pytest.mark.parametrize("formula", ONES)
def test_ones_and_identities_beside_matrices(formula):
    r"""`I` is the identity matrix beside a square one, and `c 𝟏ᵀ` has as many columns as what it stands beside."""
    found = claim(formula, "rnn", "declare M: n x n")
    assert found.read_as() == ONES[formula], found.unread


SUPPOSED = {
    r"h_t = r_t \quad \text{if } h_0 = 0": ["h_0 = 0"],
    r"h_t = r_t \quad \text{when } z_t = 1": ["z_t = 𝟏"],
    r"h_t = r_t \quad \text{for } h_0 = 0": ["h_0 = 0"],
    r"h_t = r_t \quad (\text{if } h_0 = 0)": ["h_0 = 0"],
    r"h_t = r_t \quad (h_0 = 0)": ["h_0 = 0"],
    r"h_t = r_t \quad \text{if } z_t = 1 \text{ and } r_t = 0": ["z_t = 𝟏", "r_t = 0"],
    r"h_t = r_t \quad \text{if } z_t = z_{t-1} = 1": ["z_t = z_{t-1}", "z_{t-1} = 𝟏"],
    r"h_t = r_t \quad \text{if } U_z = I": ["U_z = I"],
}
SAID = {
    r"h_t = r_t \quad \text{unless } z_t = 1": "unless z_t = 1",
    r"h_t = r_t \quad \text{only if } z_t = 1": "only if z_t = 1",
    r"h_t = r_t \quad \text{if } z_t = 1 \text{ or } z_t = 0": "if z_t = 1 or if z_t = 0",
    r"h_t = r_t \quad \text{if } q_t = 0": "if q_t = 0",
    r"h_t = r_t \quad \text{if } z_t < 1": "if z_t < 1",
    r"h_t = r_t \quad \text{if } W_z = I": "if W_z = I",
}


@pytest.mark.parametrize("formula", SUPPOSED)
def test_a_condition_that_is_read_is_the_equation_itself(formula):
    found = claim(formula)
    assert [text(said) for said in found.where] == SUPPOSED[formula]
    assert all(isinstance(said, expr.Equals) for said in found.where)


@pytest.mark.parametrize("formula", SAID)
def test_a_condition_that_is_none_or_not_read_stays_words(formula):
    assert [str(said) for said in claim(formula).where] == [str(expr.Words(SAID[formula]))]
