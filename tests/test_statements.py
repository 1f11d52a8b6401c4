"""Statements that are no equations of gradients: lists of paths, words, and networks of bits.

Each is settled a second time here: paths by the walks of the table, bits by loops written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from random import Random

import pytest
from sympy import Tuple

import derive
from derive import catalogue, paths
from derive.errors import DeriveError
from derive.expr import Path, Var
from derive.partials import table
from derive.reader import limits
from derive.reader.claims import Claim
from derive.reader.document import parse
from derive.reader.understand import understand
from derive.system import System
from derive.verdicts import bits, pathlists, relations, words
from derive.verdicts.graph import Graph, Nodes
from derive.verdicts.judge import Judged
from derive.verdicts.pathlists import Listed
from derive.verdicts.verify import Reviewed


def judged(text: str) -> list[tuple[Claim, Judged | None]]:
    """Every claim of a document that this file is about, with its verdict."""
    review = Reviewed(understand(parse(text, "doc.md", "md")))
    unread = [f"{claim.latex}: {claim.unread}" for claim in review.claims if claim.unread]
    assert not unread, "\n".join(unread)
    return [(claim, JUDGES[claim.kind](review, claim)) for claim in review.claims if claim.kind in JUDGES]


JUDGES: dict[str, Callable[[Reviewed, Claim], Judged | None]] = {
    "equation": bits.judge,
    "implication": lambda review, claim: words.judge_implication(review, claim) or bits.judge(review, claim),
    "paths": pathlists.judge,
    "words": words.judge,
    "relation": relations.judge,
}


def last(text: str) -> Judged:
    """The verdict on the last claim."""
    found = judged(text)[-1][1]
    assert found is not None, text
    return found


def displays(*formulas: str) -> str:
    return "".join(f"\n$$\n{formula}\n$$\n" for formula in formulas)


def about(system: str, *formulas: str) -> str:
    return f"<!-- derive: system {system} -->\n{displays(*formulas)}"


# --- paths: the graph against the walks of the table --------------------------------------------------------------------

STEPS = 3


def placed(system: System) -> Iterator[tuple[Var, Var]]:
    """Pairs of states: a late one, and an earlier one that it may depend on."""
    lattice = system.lattice
    if lattice.dimension != 1:
        return
    names = [name for name in system.equations if name != system.loss_name]
    for late, early in product(names, names):
        for steps in (0, 1, 2) if late != early else (1, 2):
            yield at(system, late, STEPS), at(system, early, STEPS - steps)


def at(system: System, name: str, step: int) -> Var:
    return system.variables[name].var.at((step,))


def walked(system: System, late: Var, early: Var) -> set[Nodes]:
    """Every path, late end first, by the entries of the table of partials."""
    place = paths.placing(system.lattice, absolute=True)
    ends = [paths.Point(v.name, (int(v.index[0]),)) for v in (late, early)]
    found = paths.walks(table(system), *ends, limit=5000, sizes=(STEPS,))
    return {walk.nodes(place)[::-1] for walk in found}


def graph_of(system: System, names: Sequence[str], *ends: Var) -> Graph:
    return Graph(system, frozenset(names), frozenset(), ends)


def contracted(path: Nodes, names: Sequence[str]) -> Nodes:
    return tuple(v for v in path if v.name in names)


@pytest.mark.parametrize("name", catalogue.names())
def test_the_paths_of_the_graph_are_those_of_the_table(name):
    system = derive.load(name)
    for late, early in placed(system):
        try:
            found = set(
                graph_of(system, list(system.variables), late, early).paths(late, frozenset({early}), frozenset())
            )
        except DeriveError as error:
            assert "both ways" in str(error), (name, late, early)
            continue
        assert found == walked(system, late, early), (name, late, early)


@pytest.mark.parametrize("name", ["lstm", "gru", "lstm-peephole", "linear-attention"])
@pytest.mark.parametrize("seed", range(2))
def test_names_that_are_not_mentioned_are_passed(name, seed):
    system, random = derive.load(name), Random(seed)
    states = [state for state in system.equations if state != system.loss_name]
    for late, early in placed(system):
        mentioned = {late.name, early.name, *random.sample(states, 2)}
        found = set(graph_of(system, mentioned, late, early).paths(late, frozenset({early}), frozenset()))
        wanted = {contracted(path, mentioned) for path in walked(system, late, early)}
        assert found == wanted, (name, seed, late, early, mentioned)


def listed(system: System, written: Sequence[Nodes]) -> Judged:
    """The verdict on a list that is written out path by path."""
    ends = tuple(v for path in written for v in path)
    formula = Tuple(*(Path(*path) for path in written))
    return Listed(graph_of(system, list(system.variables), *ends), tuple(written), [list(written)], formula).judged()


@pytest.mark.parametrize("name", ["lstm", "gru"])
@pytest.mark.parametrize("turned", [False, True], ids=["late first", "early first"])
def test_a_list_of_all_paths_holds_and_one_that_lacks_one_names_it(name, turned):
    system = derive.load(name)
    for late, early in placed(system):
        whole = sorted(walked(system, late, early), key=str)
        whole = [path[::-1] if turned else path for path in whole]
        if not 3 <= len(whole) <= 40:
            continue
        assert listed(system, whole).verdict == "holds", (late, early)
        lost = whole[len(whole) // 2]
        found = listed(system, [path for path in whole if path is not lost])
        assert (found.verdict, [cause.kind for cause in found.causes]) == ("fails", ["missing-path"])
        assert len(found.causes[0].paths) == 1
        assert found.causes[0].repair == Tuple(*(Path(*p) for p in whole if p is not lost), Path(*lost))


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_what_mends_a_path_is_a_path(name):
    """A name on the way is put a step further: where that is no path any more, each repair is one."""
    system, random, mended = derive.load(name), Random(0), 0
    pairs = [pair for pair in placed(system) if any(len(path) > 2 for path in walked(system, *pair))]
    for late, early in random.sample(pairs, 15):
        path = random.choice([p for p in sorted(walked(system, late, early), key=str) if len(p) > 2])
        n = random.randrange(1, len(path) - 1)
        wrong = (*path[:n], path[n].at((path[n].index[0] + random.choice((-1, 1)),)), *path[n + 1 :])
        for cause in listed(system, [wrong]).causes:
            assert cause.repair is not None, (name, wrong)
            assert listed(system, [tuple(cause.repair.args)]).verdict == "holds", (name, wrong, cause)
            mended += 1
    assert mended > 10


PATHS = [
    (r"c_3 \to f_3 \to h_2", "holds", ()),
    (r"h_2 \to f_3 \to c_3", "holds", ()),
    (r"c_3 \to h_2", "holds", ()),
    (r"c_t \to f_t \to U_f^{(t)}", "holds", ()),
    (r"h_{t-1} \to f_t \to c_t \to h_t", "holds", ()),
    (r"c_3 \to o_3 \to h_2", "fails", ("symbol", "symbol")),
    (r"c_3 \to f_2 \to h_2", "fails", ("index", "extra-term")),
    (r"c_3 \to f_3 \to U_f^{(4)}", "fails", ("index",)),
    (r"c_3 \to f_3 \to U_f^{(2)}", "undecided", ()),
    (r"c_2 \to i_2 \to h_1 \to W_i", "undecided", ()),
    (
        r"\{c_3 \to c_2; c_3 \to f_3 \to h_2\} \times \{o_2 \to h_1; c_2 \to f_2 \to h_1\} \to c_1",
        "fails",
        ("missing-path",),
    ),
    (rf"h_{{{limits.MOST_STEPS + 2}}} \to h_1", "undecided", ()),
]


@pytest.mark.parametrize(("formula", "verdict", "kinds"), PATHS, ids=[p[0] for p in PATHS])
def test_paths_of_an_lstm(formula, verdict, kinds):
    found = last(about("lstm", formula))
    assert (found.verdict, tuple(cause.kind for cause in found.causes)) == (verdict, kinds), found


def five(t: int) -> list[str]:
    """The ways from step t to the step before."""
    b = t - 1
    return [rf"o_{t}\to h_{b}", rf"c_{t}\to c_{b}", *(rf"c_{t}\to {gate}_{t}\to h_{b}" for gate in "fig")]


@pytest.mark.parametrize("left_out", [None, *range(1, 5)])
def test_a_product_of_lists_is_complete_or_not(left_out):
    """A combination that is no path is only noted; one way less in a list is several paths less."""
    ways = [way for n, way in enumerate(five(3)) if n != left_out]
    formula = rf"\{{{'; '.join(ways)}\}} \times \{{{'; '.join(five(2))}\}} \to c_1 \to f_1 \to W_f^{{(1)}}"
    found = last(about("lstm", formula))
    assert found.verdict == ("holds" if left_out is None else "fails"), found
    assert found.certificate is not None
    if left_out is None:
        assert found.certificate.note.startswith(
            "24 paths, and there are no others; 1 of the 25 combinations is no path"
        )
    else:
        assert [cause.kind for cause in found.causes] == ["missing-path"]


# --- bits: against loops that are written by hand -----------------------------------------------------------------------

CHAIN = (
    "<!-- derive: scalar -->\n<!-- derive: declare W_1 W_2 W_3 b_1 b_2: scalar, h: scalar, x: scalar -->\n"
    "<!-- derive: define -->\n" + displays(r"h_t=f(W_2h_{t-1}+W_1x_t+b_1),\quad y_t=W_3h_t+b_2")
)
CHOSEN = r"W_1=W_2=1,\ b_1=%s,\ W_3=1,\ b_2=0,\ h_0=%s,\ f(z)=[z%s0.5]"
TWO = "<!-- derive: declare x: 2, h: 2, y: scalar -->\n<!-- derive: define -->\n" + displays(
    r"h^{(t)}=\phi(Wx^{(t)}+b),\quad y^{(t)}=\phi(v^Th^{(t)}+r\,y^{(t-1)}+c)",
    r"\phi(z)=[z>0]",
    r"W=\begin{bmatrix}-1&-1\\1&1\end{bmatrix},\ b=\begin{bmatrix}1\\-1\end{bmatrix},\quad v=(1,1)^T,\ r=1",
)
EQUAL = r"y^{(t)}=\prod_{i=1}^{t}\left(x^{(i)}_1x^{(i)}_2+(1-x^{(i)}_1)(1-x^{(i)}_2)\right)"


def chain(bias: float, start: int, strict: bool, string: Sequence[int]) -> list[int]:
    h, found = start, []
    for x in string:
        z = h + x + bias
        h = int(z > 0.5 if strict else z >= 0.5)
        found.append(h)
    return found


@pytest.mark.parametrize("bias", [-0.5, -1, -1.5])
@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("sign", [r"\ge", ">"])
def test_a_chain_of_thresholds_is_what_a_loop_says(bias, start, sign):
    strings = [s for T in range(1, 5) for s in product((0, 1), repeat=T)]
    true = all(chain(bias, start, sign == ">", s) == [int(all(s[: t + 1])) for t in range(len(s))] for s in strings)
    found = last(CHAIN + displays(CHOSEN % (bias, start, sign), r"y_t=\prod_{i=1}^{t}x_i"))
    assert found.verdict == ("holds" if true else "fails"), (bias, start, sign, found)


def test_a_counterexample_is_one():
    """The string that a certificate shows, put into a loop."""
    found = last(CHAIN + displays(CHOSEN % (-1, 0, r"\ge"), r"y_t=\prod_{i=1}^{t}x_i"))
    assert found.certificate is not None
    shown = re.fullmatch(r"x = ([01, ]+) at t = (\d+)", found.certificate.at)
    assert shown is not None, found.certificate.at
    string, t = [int(bit) for bit in shown[1].split(", ")], int(shown[2])
    assert str(chain(-1, 0, False, string)[t - 1]) == found.certificate.left
    assert str(int(all(string[:t]))) == found.certificate.right
    assert found.certificate.left != found.certificate.right


CLAIMS = [
    (r"y_t=y_{t-1}x_t,\quad t\ge2", "holds"),
    (r"y_t\, x_t = y_t", "holds"),
    (r"y_{t+1}=y_tx_{t+1}", "holds"),
    (r"y_{t+1}=x_{t+1}", "fails"),
    (r"y_t=x_t", "fails"),
    (r"y_t=1 \Rightarrow x_1=1", "holds"),
    (r"x_1=1 \Rightarrow y_t=1", "fails"),
    (r"y_2=1 \Rightarrow x_1=x_2=1", "holds"),
    (r"x_1=x_2=1 \Rightarrow y_2=1", "holds"),
]


@pytest.mark.parametrize(("formula", "verdict"), CLAIMS, ids=[c[0] for c in CLAIMS])
def test_claims_of_a_chain(formula, verdict):
    assert last(CHAIN + displays(CHOSEN % (-1.5, 1, r"\ge"), formula)).verdict == verdict


@pytest.mark.parametrize(
    ("c", "first"), [(-1, 0), (-1.5, -0.5), (-1.9, 0), (-2, 0), (0, 0), (-0.9, 0), (-1, -1), (-1, 0.5)]
)
def test_equal_streams_for_the_constants_that_the_text_gives(c, first):
    """`-2 < c ≤ -1` and `-1 < c_0 ≤ 0`, and no others; the answer before the first step makes c_0 of c."""
    found = last(TWO + displays(rf"c={c},\ y^{{(0)}}={round(first - c, 3)}", EQUAL))
    assert found.verdict == ("holds" if -2 < c <= -1 and -1 < first <= 0 else "fails"), found


def test_what_is_not_set_is_no_matter_for_bits():
    """Without a number for each parameter, with an input that is no bit, or with a derivative: another judge's."""
    unset = displays(r"W_1=1,\ f(z)=[z\ge0.5]", r"y_t=\prod_{i=1}^{t}x_i")
    derivative = displays(CHOSEN % (-1.5, 1, r"\ge"), r"\frac{\partial y_t}{\partial h_t}=1")
    smooth = displays(CHOSEN.replace("[z%s0.5]", "z") % (-1.5, 1), r"y_t=\prod_{i=1}^{t}x_i")
    circular = displays(r"W_1=W_2,\ W_2=W_1,\ W_3=1, b_1=1, b_2=1, h_0=1,\ f(z)=[z\ge0.5]", r"y_t=x_t")
    for rest in (unset, derivative, smooth, circular):
        assert judged(CHAIN + rest)[-1][1] is None, rest


def test_wide_inputs_are_not_enumerated():
    text = "<!-- derive: declare x: 900000, h: 1, u: 900000 -->\n<!-- derive: define -->\n"
    text += displays(r"h_t=\phi(u^Tx_t+h_{t-1})", r"\phi(z)=[z>0]", r"h_0=1", r"h_t=h_{t-1}")
    assert judged(text)[-1][1] is None


# --- words ------------------------------------------------------------------------------------------------------------

UP, DOWN = r"%s \uparrow \Rightarrow \text{gradient explodes}", r"%s \downarrow \Rightarrow \text{gradient vanishes}"
CONTROLLED = r"\text{here }\partial h_t/\partial h_{t-1}\text{ is controlled by the single parameter }%s"
TUNED = r"\text{tune } %s \Rightarrow \prod_t \frac{\partial %s_t}{\partial %s_{t-1}} \approx 1"
SENTENCES = [
    ("rnn", UP % "W", "fails", ()),
    ("rnn", DOWN % "W", "holds", ()),
    ("rnn", UP % "U", "undecided", ()),
    ("rnn", DOWN % "U", "undecided", ()),
    ("irnn", UP % "W", "undecided", ()),
    ("linear-rnn", UP % "U", "undecided", ()),
    ("lstm", DOWN % "U_f", "undecided", ()),
    ("gru", DOWN % "U_z", "undecided", ()),
    ("rnn", CONTROLLED % "W", "holds", ()),
    ("rnn", CONTROLLED % "U", "fails", ("symbol",)),
    ("gru", CONTROLLED % "U_z", "fails", ("unknown",)),
    ("lstm", TUNED % ("U_f", "c", "c"), "fails", ("missing-path",)),
    ("rnn", TUNED % ("W", "h", "h"), "undecided", ()),
    ("gru", TUNED % ("U_z", "h", "h"), "undecided", ()),
    ("lstm", r"\prod_t \frac{\partial c_t}{\partial c_{t-1}} \approx I", "fails", ("missing-path",)),
    ("rnn", r"\text{clip-by-norm keeps the direction of the gradient, clip-by-value does not}", "holds", ()),
    ("rnn", r"\text{clip-by-norm keeps the direction of the gradient, clip-by-value does too}", "fails", ()),
    ("rnn", r"\text{clip-by-norm changes the direction}", "fails", ()),
    ("rnn", r"\text{clipping by value changes the direction of the gradient}", "holds", ()),
    ("rnn", r"\text{an RNN learns whatever it is shown}", "undecided", ()),
    ("rnn", r"\text{\{0\} is controlled by the single parameter \{1\}}", "undecided", ()),
]


@pytest.mark.parametrize(
    ("system", "formula", "verdict", "kinds"), SENTENCES, ids=[f"{s[0]} {s[1]}" for s in SENTENCES]
)
def test_sentences(system, formula, verdict, kinds):
    found = last(about(system, formula))
    assert (found.verdict, tuple(cause.kind for cause in found.causes)) == (verdict, kinds), found
    assert found.certificate is not None if verdict != "undecided" else found.reason


def test_the_repair_of_a_slip_in_a_name_says_the_name():
    found = last(about("rnn", CONTROLLED % "U"))
    assert str(found.causes[0].repair) == "here ∂h_t/∂h_{t-1} is controlled by the single parameter W"


@pytest.mark.parametrize("name", ["lstm", "lstm-peephole", "stacked-lstm"])
def test_what_the_product_of_cell_jacobians_lacks_goes_past_the_cell(name):
    """None of the missing paths meets the cell in between, and with them the line holds."""
    system = derive.load(name)
    cell = next(n for n in system.equations if n.startswith("c"))
    review = Reviewed(understand(parse(about(name, TUNED % ("U", cell, cell)), "doc.md", "md")))
    (cause,) = words._past(review.question(review.claims[-1]), system.variables[cell].var)
    between = str(system.variables[cell].var.at((system.lattice.indices[0] - 1,)))
    assert cause.paths
    assert not [path for path in cause.paths if between in path]
