"""Automata of threshold networks: each is settled a second time by loops over strings that are written by hand.

Two automata with m and n states that differ do so on a string of at most m + n - 1 letters (Moore 1956), so that a loop
over all strings of that length decides what the product decides.
"""

from __future__ import annotations

import doctest
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from importlib import import_module
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Basic

from derive import cli
from derive.automata import Automaton, prove, ranges, search
from derive.automata.affine import Interval, union
from derive.automata.arrays import Inapplicable
from derive.automata.machines import MOST_STATES, Endless
from derive.automata.stated import stated
from derive.automata.terms import Unset
from derive.errors import DeriveError
from derive.reader import limits
from derive.reader.document import parse
from derive.reader.understand import understand
from derive.verdicts.bits import Network, network_of
from derive.verdicts.verify import Reviewed, verify_file

Letter = tuple[int, ...]
HALVES = [Fraction(n, 2) for n in range(-4, 5)]
"""The weights of random networks."""

AND = "y[t] = y[t-1] * x[t]; y[0] = 1"
PARITY = "y[t] = abs(y[t-1] - x[t])"
SOME = "y[t] = max(y[t-1], x[t])"
LAST_EQUAL = "y[t] = 1 - abs(x[t] - x[t-1])"
EQUAL = "x: 2; y[t] = y[t-1] * abs(sum(x[t]) - 1); y[0] = 1"
UNIT = "h[t] = step(w * x[t] + u * h[t-1] + b)"
STREAMS = (
    "x: 2; h: 2; h[t] = step(W @ x[t] + b); y[t] = step(v.T @ h[t] + r * y[t-1] + c)"
    "; W=[[-1,-1],[1,1]]; b=[1,-1]; v=[1,1]; r=1; c=-1; y[0]=1"
)
CHAIN = (
    "h[t] = f(W_2 * h[t-1] + W_1 * x[t] + b_1); y[t] = W_3 * h[t] + b_2"
    "; W_1=W_2; W_2=1; b_1=-1.5; W_3=1; b_2=0; h[0]=1; f(z)=[z>=0.5]"
)


def strings(width: int, longest: int) -> Iterator[tuple[Letter, ...]]:
    letters = list(product((0, 1), repeat=width))
    return (s for T in range(1, longest + 1) for s in product(letters, repeat=T))


# --- what the automaton computes is what the network computes -------------------------------------------------------------

NETWORKS = [
    ("h[t] = step(x[t] + h[t-1] - 3/2)", {}, {"h[0]": 1}, 1),
    ("h[t] = step(x[t] - h[t-1])", {}, {"h[0]": 0}, 1),
    ("h[t] = step(x[t] + h[t-1] + h[t-2] - 3/2); y[t] = 2 * h[t] - 1/2", {}, {"h[0]": 1}, 1),
    (
        "x: 2; h: 2; h[t] = step(W @ x[t] + b); y[t] = step(v.T @ h[t] + r * y[t-1] + c)",
        {"W": [[-1, -1], [1, 1]], "b": [1, -1], "v": [1, 1], "r": 1, "c": -1},
        {"y[0]": 1},
        2,
    ),
    (
        "x: scalar; h: 2; h[t] = step(W * x[t] + U @ h[t-1] + b)",
        {"W": [1, 1], "U": [[1, -1], [1, 1]], "b": [0, -1]},
        {},
        1,
    ),
    ("y[t] = x[t-3]", {}, {}, 1),
    ("y[t] = min(max(x[t], y[t-1]) + relu(x[t] - 1/2), 3/2)", {}, {}, 1),
]


@pytest.mark.parametrize(("text", "params", "initial", "width"), NETWORKS, ids=[n[0] for n in NETWORKS])
def test_an_automaton_runs_as_the_emitted_functions_do(text, params, initial, width):
    """On all strings of up to 6 letters, against the forward pass of the module that is emitted, in float64."""
    network = stated(text)
    typed = ", ".join(f"{name}={str(value).replace(' ', '')}" for name, value in {**params, **initial}.items())
    shapes = {v.name: tuple(int(s) for s in v.shape if s != 1) for v in network.system.variables.values()}
    arrays = {name: np.array(value, dtype=float).reshape(shapes[name]) for name, value in params.items()}
    starts = {name: np.array(float(value)) for name, value in initial.items()}
    (table, whole), name = tables_of(text, typed), network.system.outputs[0]
    forward = network.system.compile("numpy").forward
    for string in strings(width, 6 if width == 1 else 4):
        x = np.array(string, dtype=float).reshape((len(string), *shapes["x"]))
        expected = forward(arrays, {"x": x}, starts)[name].reshape(len(string), -1)
        for automaton in (table, whole):
            found = [[float(value) for value in answer] for answer in automaton.run(string)]
            assert found == expected.tolist(), (text, string)


def tables_of(text: str, values: str = "") -> tuple[Automaton, Automaton]:
    """The minimal automaton of a network, and the one that it comes from."""
    from derive.automata.proofs import posed
    from derive.automata.tables import automaton

    asked = posed(text, text, values)
    asked = type(asked)(asked.network, asked.network)
    minimal = asked.table(0)
    assert minimal is not None
    outputs = [check.left for check in asked.monitor.checks]
    machine = asked.monitor.machine.about([term for side in outputs for term in side.flat])
    return minimal, automaton(machine.fixed(), outputs)


# --- two networks: the product against loops ------------------------------------------------------------------------------

weights = st.lists(st.sampled_from(HALVES), min_size=10, max_size=10)
TWO_UNITS = (
    "g[t] = step(a*x[t] + d*g[t-1] + e*h[t-1] + i); h[t] = step(j*x[t] + k*g[t] + l*h[t-1] + m); g[0] = {}; h[0] = {}"
)
NAMES = "adeijklm"


def two_units(w: Sequence[Fraction]) -> tuple[str, str]:
    bits = [int(v > 0) for v in w[8:]]
    return TWO_UNITS.format(*bits), ", ".join(f"{n}={v}" for n, v in zip(NAMES, w, strict=False))


def loop(w: Sequence[Fraction], string: Sequence[Letter]) -> list[int]:
    g, h, found = int(w[8] > 0), int(w[9] > 0), []
    for (x,) in string:
        g = int(w[0] * x + w[1] * g + w[2] * h + w[3] > 0)
        h = int(w[4] * x + w[5] * g + w[6] * h + w[7] > 0)
        found.append(h)
    return found


@settings(max_examples=25, deadline=None, print_blob=True)
@given(weights, weights)
def test_two_networks_agree_exactly_if_loops_do(v, w):
    """At most 4 states each: strings of up to 7 letters tell them apart, or none do."""
    (first, given_first), (second, given_second) = two_units(v), two_units(w)
    a, b = tables_of(first, given_first)[0], tables_of(second, given_second)[0]
    brute = next((s for s in strings(1, 7) if loop(v, s) != loop(w, s)), None)
    differs = a.differs(b)
    assert (differs is None) == (brute is None), (v, w)
    assert a.answers_like(b) == (brute is None), (v, w)
    proof = prove(first, f"{second}; {given_second.replace(', ', '; ')}", given_first)
    assert bool(proof) == (brute is None), (v, w)
    if brute is not None:
        assert differs is not None and proof.counterexample is not None
        assert len(differs) == len(proof.counterexample.string) == len(brute), "a shortest one"
        assert loop(v, differs) != loop(w, differs)
        assert proof.counterexample.left == str(loop(v, proof.counterexample.string)[-1])
        assert proof.counterexample.right == str(loop(w, proof.counterexample.string)[-1])


@settings(max_examples=25, deadline=None, print_blob=True)
@given(weights)
def test_a_minimal_automaton_is_the_smallest_and_answers_alike(w):
    """No two of its states answer all strings alike; and it is the automaton of the loop."""
    text, values = two_units(w)
    minimal, whole = tables_of(text, values)
    assert len(minimal) <= len(whole)
    assert minimal == minimal.minimal(), w
    for string in strings(1, 5):
        assert [int(a) for (a,) in minimal.run(string)] == loop(w, string), (w, string)
    behaviours = {tuple(answers_from(minimal, q, s) for s in strings(1, len(minimal))) for q in range(len(minimal))}
    assert len(behaviours) == len(minimal), w


def answers_from(automaton: Automaton, state: int, string: Sequence[Letter]) -> tuple[object, ...]:
    found = []
    for letter in string:
        n = automaton.letters.index(letter)
        found.append(automaton.outputs[state][n])
        state = automaton.moves[state][n]
    return tuple(found)


def test_states_that_differ_later_only_are_not_merged():
    """What is said three steps later tells the strings of three bits apart: 8 states, though each answers all alike."""
    assert len(tables_of("y[t] = x[t-3]")[0]) == 8


def test_equal_networks_have_one_minimal_automaton():
    """Units in another order, one of them twice, other weights: the tables are the same."""
    first = "g[t] = step(x[t] - h[t-1]); k[t] = step(h[t-1] - x[t]); h[t] = step(g[t] + k[t])"
    second = "k[t] = step(2*h[t-1] - 2*x[t]); e[t] = step(x[t] - h[t-1]); g[t] = step(x[t] - h[t-1])"
    second += "; h[t] = step(k[t] + g[t] + e[t])"
    a, b = tables_of(first)[0], tables_of(second)[0]
    assert (a.moves, a.outputs) == (b.moves, b.outputs)
    assert a.answers_like(b) and len(a) == 2


# --- what the texts claim -------------------------------------------------------------------------------------------------


def test_prefix_and():
    assert prove(CHAIN, AND)
    assert prove(CHAIN, AND).outcome.network == prove(CHAIN, AND).outcome.specification == 2
    assert str(ranges(CHAIN, AND, "b_1")) == "-3/2 ≤ b_1 < -1/2"


def test_a_strict_threshold_is_refuted_by_the_shortest_string():
    proof = prove(CHAIN, AND, "f(z)=[z>0.5]")
    assert not proof and proof.counterexample is not None
    assert proof.counterexample.string == ((1,),)
    assert (proof.counterexample.left, proof.counterexample.right) == ("0", "1")


def test_equality_of_streams():
    assert prove(STREAMS, EQUAL)
    wrong = prove(STREAMS, EQUAL, "c=0").counterexample
    assert wrong is not None and wrong.string == ((0, 1),)
    assert str(ranges(STREAMS, EQUAL, "c")) == "-2 < c ≤ -1"
    both = ranges(STREAMS, EQUAL, "c,c_0", "y[0]=c_0-c")
    assert str(both) == "-2 < c ≤ -1 and -1 < c_0 ≤ 0"
    assert both.is_product
    for c, first in product([Fraction(n, 4) for n in range(-10, 4)], repeat=2):
        true = all(
            streams(c, first, s) == [int(all(a == b for a, b in s[: n + 1])) for n in range(len(s))]
            for s in strings(2, 3)
        )
        assert ({"c": c, "c_0": first} in both) == true, (c, first)


def equal_so_far(string: Sequence[Letter]) -> list[int]:
    return [int(all(a == b for a, b in string[: n + 1])) for n in range(len(string))]


def streams(c: Fraction, first: Fraction, string: Sequence[Letter]) -> list[int]:
    y, found = 0, []
    for n, (a, b) in enumerate(string):
        h = int(1 - a - b > 0) + int(a + b - 1 > 0)
        y = int(h + (y + c if n else first) > 0)
        found.append(y)
    return found


# --- ranges: both sides of every end ---------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None, print_blob=True)
@given(weights, st.sampled_from(NAMES))
def test_ranges_are_right_on_both_sides_of_every_end(w, name):
    """The specification is the network itself at one value, which must lie in the range."""
    text, values = two_units(w)
    found = ranges(text, f"{text}; {values.replace(', ', '; ')}", name, values)
    own = w[NAMES.index(name)]
    assert own in found, (w, name)
    ends = {end for cell in found.cells for i in cell.box for end in (i.lo, i.hi) if end is not None}
    near = Fraction(1, 1000)
    for value in {own, *ends, *(e - near for e in ends), *(e + near for e in ends), Fraction(-50), Fraction(50)}:
        other = [value if n == name else v for n, v in zip(NAMES, w, strict=False)] + list(w[8:])
        true = all(loop(other, s) == loop(w, s) for s in strings(1, 7))
        assert (value in found) == true, (w, name, value, str(found))


def test_the_range_of_an_initial_value():
    assert str(ranges(UNIT, AND, "h[0]", "w=1, u=1, b=-3/2")) == "1/2 < h[0] ≤ 3/2"


def test_the_range_of_a_threshold():
    """The parameter enters with a minus: open and closed ends change sides."""
    assert str(ranges("y[t] = step(x[t] - theta)", "y[t] = x[t]", "theta")) == "0 ≤ theta < 1"
    assert str(ranges("y[t] = f(x[t] - theta); f(z)=[z>=0]", "y[t] = x[t]", "theta")) == "0 < theta ≤ 1"


def test_a_range_of_several_intervals():
    """|w - 1| > 1/2, written with two units."""
    text = "g[t] = step(w*x[t] - 3/2); k[t] = step(1/2 - w*x[t]); y[t] = max(g[t], k[t])"
    assert str(ranges(text, "y[t] = x[t]", "w")) == "no value of w", "the second unit answers 1 to a 0"
    assert str(ranges(text, "y[t] = max(x[t], 1 - x[t])", "w")) == "w < 1/2 or w > 3/2"
    assert str(ranges("y[t] = max(x[t], step(w) * x[t])", "y[t] = x[t]", "w")) == "every w"


def test_cells_cover_the_line_without_overlapping():
    found = ranges(STREAMS, EQUAL, "c")
    cells = sorted((cell.box[0] for cell in found.cells), key=lambda i: (i.lo is not None, i.lo or 0))
    assert union(cells) == (Interval(),)
    assert all((a & b).is_empty for n, a in enumerate(cells) for b in cells[n + 1 :])


# --- the search ------------------------------------------------------------------------------------------------------------


def all_ones(bits: Sequence[int]) -> int:
    return int(all(bits))


def odd(bits: Sequence[int]) -> int:
    return sum(bits) % 2


SEARCHES: list[tuple[str | int, str, str, Callable[[Sequence[int]], int]]] = [
    (UNIT, AND, "w,u,b,h[0]", all_ones),
    (UNIT, SOME, "w,u,b", lambda bits: int(any(bits))),
    (2, PARITY, "", odd),
    ("x: 1; h: 2; h[t] = step(W @ x[t] + U @ h[t-1] + b); y[t] = step(v.T @ h[t] + c)", PARITY, "", odd),
]


@pytest.mark.parametrize("n", range(4))
def test_what_is_found_does_it(n):
    """Run by hand: the weights are put into the network, and its automaton's answers counted off."""
    network, specification, names, law = SEARCHES[n]
    found = search(network, specification, names, "h[0]=0" if names == "w,u,b" else "")
    assert found and found.proof is not None and found.proof.network is not None, found
    for string in strings(1, 7):
        assert [int(a) for (a,) in found.proof.network.run(string)] == [
            law([x for (x,) in string[: k + 1]]) for k in range(len(string))
        ]


def test_streams_with_two_hidden_units_and_the_last_two_bits():
    shape = "x: 2; h: 2; h[t] = step(W @ x[t] + b); y[t] = step(v.T @ h[t] + r * y[t-1] + c)"
    found = search(shape, EQUAL, "W,b,v,r,c,y[0]")
    assert found, found
    assert prove(shape, EQUAL, found.weights)
    two = "g[t] = step(a*x[t] + d*x[t-1] + e); k[t] = step(i*x[t] + j*x[t-1] + l); y[t] = step(m*g[t] + n*k[t] + o)"
    assert search(two, LAST_EQUAL)


def test_none_in_the_grid_is_none_in_the_grid():
    """A single unit makes no parity: every one of the grid's weights is refuted by a loop."""
    found = search(UNIT, PARITY, "w,u,b,h[0]")
    assert not found and found.candidates == 9**3 * 2
    for w, u, b, h0 in product(HALVES, HALVES, HALVES, (0, 1)):
        assert any(
            unit(w, u, b, h0, s) != [odd([x for (x,) in s[: k + 1]]) for k in range(len(s))] for s in strings(1, 3)
        )


@settings(max_examples=15, deadline=None, print_blob=True)
@given(
    st.lists(st.sampled_from(HALVES), min_size=3, max_size=3),
    st.lists(st.sampled_from([-1, 0, 1]), min_size=3, max_size=3),
)
def test_a_search_finds_a_network_exactly_if_there_is_one(w, small):
    """The specification is a unit with weights of the whole grid, the search has three of them only."""
    target = f"h[t] = step({w[0]} * x[t] + {w[1]} * h[t-1] + {w[2]})".replace("+ -", "- ")
    found = search(UNIT, target.replace("h[", "y["), "w,u,b", grid=sorted(set(small)))
    goal = [unit(*w, 0, s) for s in strings(1, 3)]
    brute = [v for v in product(sorted(set(small)), repeat=3) if [unit(*v, 0, s) for s in strings(1, 3)] == goal]
    assert bool(found) == bool(brute), (w, small, str(found))


def unit(w: Fraction, u: Fraction, b: Fraction, h: int, string: Sequence[Letter]) -> list[int]:
    found = []
    for (x,) in string:
        h = int(w * x + u * h + b > 0)
        found.append(h)
    return found


# --- claims of documents ---------------------------------------------------------------------------------------------------


def displays(*formulas: str) -> str:
    return "".join(f"\n$$\n{formula}\n$$\n" for formula in formulas)


DOCUMENT = (
    "<!-- derive: scalar -->\n<!-- derive: declare W_1 W_2 b: scalar, h: scalar, x: scalar -->\n<!-- derive: define -->\n"
    + displays(r"h_t=f(W_2h_{t-1}+W_1x_t+b)", r"W_1=1,\ W_2=1,\ b=%s,\ h_0=%s,\ f(z)=[z\ge0.5]")
)
CLAIMS = [
    r"h_t=\prod_{i=1}^{t}x_i",
    r"h_{t+1}=\prod_{i=1}^{t+1}x_i",
    r"h_t=1-\prod_{i=1}^{t}(1-x_i)",
    r"h_T=\prod_{i=1}^{T}x_i",
    r"h_t=h_{t-1}x_t",
    r"h_{t-1}=\prod_{i=1}^{t-1}x_i,\quad t\ge2",
    r"h_t=\begin{cases}h_{t-1}x_t&t>1\\x_1&t=1\end{cases}",
    r"h_t=\begin{cases}h_{t-1}x_t&t>2\\x_t&t\le2\end{cases}",
    r"h_t=\sum_{i=1}^{t}x_i",
    r"h_t=\sum_{i=2}^{t}x_i",
    r"x_t=0\Rightarrow h_t=0",
    r"h_t=1\Rightarrow x_t=1",
    r"h_t\ge x_t",
    r"h_t=1\Rightarrow x_1=1",
    r"x_1=0\Rightarrow h_t=0",
    r"h_t=h_0\prod_{i=1}^{t}x_i",
    r"h_t\le h_1",
]


@pytest.mark.parametrize(("bias", "start"), [("-1.5", 1), ("-0.5", 0), ("-1", 1)])
def test_a_claim_is_proved_exactly_if_no_string_contradicts_it(bias, start, monkeypatch):
    """By the automaton, and by running the network on all strings of up to 6 bits, which has no automaton in it."""
    monkeypatch.setattr(limits, "MOST_STRINGS", 64)
    review = Reviewed(understand(parse(DOCUMENT % (bias, start) + displays(*CLAIMS), "doc.md", "md")))
    claims = [c for c in review.claims if c.kind in ("equation", "implication", "relation")][-len(CLAIMS) :]
    assert not [c.unread for c in review.claims if c.unread]
    watched = 0
    for claim in claims:
        network = network_of(review, claim)
        assert network is not None
        for understood in claim.readings:
            by_states, by_strings = network.prove(understood.formula), network.enumerate(understood.formula)
            watched += can_be_watched(network, understood.formula)
            if by_states is not None:
                assert by_strings is not None
                assert (by_states.counterexample is None) == (by_strings.counterexample is None), claim.latex
                assert by_states.counterexample is None or by_states.counterexample[1:] == by_strings.counterexample[1:]
    assert watched >= len(CLAIMS), "an automaton takes all of them"


def test_a_claim_with_too_many_states_is_settled_on_strings_up_to_a_length():
    text = DOCUMENT % ("-1.5", 1) + displays(r"h_t\le\sum_{i=1}^{t}x_i")
    (found,) = verify_file(parse(text, "doc.md", "md")).findings[-1:]
    assert (found.verdict, found.certificate.method) == ("holds", "enumeration")


def can_be_watched(network: Network, formula: Basic) -> bool:
    try:
        return bool(network.monitor(formula).checks)
    except DeriveError:
        return False


OPEN = (
    "<!-- derive: declare x: 2, h: 2, y: scalar -->\n<!-- derive: define -->\n"
    + displays(r"h_t=\phi(Wx_t+b),\quad y_t=\phi(v^Th_t+r\,y_{t-1}+c)", r"\phi(z)=[z>0]")
    + displays(
        r"W=\begin{bmatrix}-1&-1\\1&1\end{bmatrix},\ b=\begin{bmatrix}1\\-1\end{bmatrix},\ v=(1,1)^T,\ r=1,\ y_0=1"
    )
)
PREMISES = [
    ("-2<c\\le-1", lambda c: -2 < c <= -1),
    ("c=-1", lambda c: c == -1),
    ("c\\le-1", lambda c: c <= -1),
    ("-2\\le c\\le-1", lambda c: -2 <= c <= -1),
    ("-2<c<0", lambda c: -2 < c < 0),
    ("c>5", lambda c: c > 5),
]


@pytest.mark.parametrize(("premise", "law"), PREMISES, ids=[p[0] for p in PREMISES])
def test_a_claim_about_every_value_of_a_parameter(premise, law):
    """Of a parameter that nothing sets and the claim names; against loops at values near all ends."""
    premise = premise.replace("\\\\", "\\")
    equal = r"\prod_{i=1}^{t}((x_i)_1(x_i)_2+(1-(x_i)_1)(1-(x_i)_2))"
    found = verify_file(parse(OPEN + displays(rf"{premise}\Rightarrow y_t={equal}"), "doc.md", "md")).findings[-1]
    values = {e + d for e in map(Fraction, range(-4, 8)) for d in (Fraction(-1, 100), Fraction(0), Fraction(1, 100))}
    wrong = [c for c in values if law(c) and any(streams(c, 1 + c, s) != equal_so_far(s) for s in strings(2, 3))]
    assert found.verdict == ("fails" if wrong else "holds"), (premise, sorted(wrong), found.reason)
    assert found.certificate.method == "automaton"
    if wrong:
        value = Fraction(found.certificate.at.partition("c = ")[2].partition(",")[0])
        assert law(value) and any(streams(value, 1 + value, s) != equal_so_far(s) for s in strings(2, 3))


def test_an_unset_parameter_that_the_claim_does_not_name_is_nobodys():
    text = OPEN.replace(r",\ r=1", "") + displays(r"c=-1 \Rightarrow y_t=1")
    found = verify_file(parse(text, "doc.md", "md")).findings[-1]
    assert found.certificate is None or found.certificate.method not in ("automaton", "enumeration")


def test_the_verdict_says_states_and_the_string():
    true = verify_file(parse(DOCUMENT % ("-1.5", 1) + displays(CLAIMS[0]), "doc.md", "md")).findings[-1]
    assert true.verdict == "holds"
    certificate = true.certificate
    assert certificate is not None and certificate.method == "automaton"
    assert certificate.note == "2 reachable states, compared with the specification's 2, for strings of every length"
    false = verify_file(
        parse((DOCUMENT % ("-1.5", 1)).replace(r"\ge", ">") + displays(CLAIMS[0]), "doc.md", "md")
    ).findings[-1]
    assert false.certificate is not None
    assert (false.certificate.method, false.certificate.at) == ("automaton", "x = 1 at t = 1")
    assert (false.certificate.left, false.certificate.right) == ("0", "1")


# --- the command, and what can't be asked ------------------------------------------------------------------------------------


def test_the_command(capsys, tmp_path):
    assert cli.main(["prove", CHAIN, "--spec", AND]) == 0
    assert "2 reachable states" in capsys.readouterr().out
    assert cli.main(["prove", CHAIN, "--spec", AND, "--set", "b_1=0"]) == 1
    out = capsys.readouterr().out
    assert "the shortest string that shows it is x = 0\n  at step 1 the network says 1, the specification 0" in out
    assert cli.main(["prove", CHAIN, "--spec", AND, "--range", "b_1"]) == 0
    assert capsys.readouterr().out == "true exactly for -3/2 ≤ b_1 < -1/2\n"
    assert cli.main(["prove", "1", "--spec", AND, "--search", "all"]) == 0
    assert cli.main(["prove", UNIT, "--spec", PARITY, "--search", "all", "--grid=-1,0,1"]) == 1
    assert cli.main(["prove", CHAIN, "--spec", AND, "--format", "json"]) == 0
    capsys.readouterr()
    assert cli.main(["prove", CHAIN]) == 2
    assert "--spec" in capsys.readouterr().err
    file = tmp_path / "net.md"
    file.write_text(DOCUMENT % ("-1.5", 1) + displays(CLAIMS[0]), encoding="utf-8")
    assert cli.main(["prove", str(file)]) == 0
    assert "proved: 2 reachable states" in capsys.readouterr().out
    assert cli.main(["prove", str(file), "--range", "b"]) == 0
    assert "true exactly for -3/2 ≤ b < -1/2" in capsys.readouterr().out
    assert cli.main(["prove", str(file), "--set", "b=0"]) == 1
    assert cli.main(["prove", str(file), "--spec", AND]) == 0
    file.write_text(
        OPEN + displays(r"-2<c\le-1\Rightarrow y_t\le1", r"y_{t-1}=0\Rightarrow y_t=0,\quad t\ge2"), encoding="utf-8"
    )
    assert cli.main(["prove", str(file)]) == 0
    assert "proved: every value of c, for strings of every length" in capsys.readouterr().out
    (tmp_path / "nets.py").write_text(
        "from derive import System\n"
        "net = System('net', equations='h[t] = step(w * x[t] + h[t-1] - 3 / 2)',\n"
        "    inputs='x: scalar', shapes='h w: scalar', parameters='w')\n"
        "spec = System('spec', equations='y[t] = min(y[t-1], x[t])', inputs='x: scalar', shapes='y: scalar')\n",
        encoding="utf-8",
    )
    net, spec = (f"{tmp_path / 'nets.py'}:{name}" for name in ("net", "spec"))
    assert cli.main(["prove", net, "--spec", spec, "--set", "w=1"]) == 0, "both start from 0"
    assert cli.main(["prove", net, "--spec", f"{spec}; y[0]=1", "--set", "w=1, h[0]=1"]) == 0
    assert cli.main(["prove", net, "--spec", f"{spec}; y[0]=1", "--set", "w=1"]) == 1


WRONG = [
    (UNIT, AND, "w=1", Unset, "u has no value; give it one, as in u=1"),
    (UNIT, AND, "ww=1", DeriveError, "has no ww (did you mean w?)"),
    (UNIT, AND, "w=1/0", DeriveError, "divided by numbers other than zero only"),
    (UNIT, AND, "w", DeriveError, "'w' gives no value"),
    (UNIT, AND, "h=1, w=1, u=1, b=1", DeriveError, "h has a value at every step; what can be given is the one before"),
    ("y[t] = y[t-1] + x[t]", "y[t] = x[t] + y[t-1]", "", Endless, f"more than {MOST_STATES} reachable states"),
    ("y[t] = y[t-1] ** 2 + x[t] + 2", "y[t] = x[t] + 2 + y[t-1] ** 2", "", Endless, "a number of more than 512 bits"),
    ("h[t] = tanh(x[t])", AND, "", DeriveError, "no finite automaton; use step"),
    ("h[t] = step(x[t+1])", AND, "", Inapplicable, "an automaton reads from left to right"),
    ("rnn", AND, "", Inapplicable, "the inputs of rnn need numbers for their sizes"),
    ("x: 9; h[t] = step(sum(x[t]))", "y[t] = sum(x[t])", "", Inapplicable, "reads 9 bits at a step"),
    ("a[t] = step(x[t]); b[t] = step(x[t])", AND, "", DeriveError, "the specification says what y is"),
    ("h[t] = phi(x[t])", AND, "", Unset, "nothing says what phi is"),
]


@pytest.mark.parametrize(("network", "specification", "values", "kind", "said"), WRONG, ids=[w[4][:40] for w in WRONG])
def test_what_cannot_be_asked_is_said(network, specification, values, kind, said):
    with pytest.raises(kind) as caught:
        prove(network, specification, values)
    assert said in str(caught.value)


def test_two_parameters_in_one_sum_have_no_ranges_of_their_own():
    with pytest.raises(DeriveError, match="stand in one sum"):
        ranges(UNIT, AND, "w,b", "u=1, h[0]=1")


@pytest.mark.parametrize("module", ["proofs", "weights"])
def test_examples_of_the_documentation(module):
    found = doctest.testmod(import_module(f"derive.automata.{module}"), optionflags=doctest.ELLIPSIS)
    assert found.attempted and not found.failed


def test_a_search_without_an_open_weight_is_refused():
    with pytest.raises(DeriveError, match="every weight of the network has a value, so that none can be searched for"):
        search(UNIT, AND, values="w=1, u=1, b=-3/2, h[0]=1")
