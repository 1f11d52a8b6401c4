"""`d(c[t],h[t])/d(c[t-1],h[t-1])`: each block, the product over the steps, and what one block alone misses."""

from __future__ import annotations

import pytest

from derive import catalogue, expr
from derive.errors import QueryError
from derive.expr import Equals, Partial
from derive.oracles import check_equation

PAIRS = [("lstm", "c", "h"), ("lstm-coupled", "c", "h"), ("lstm-peephole", "c", "h")]


@pytest.mark.parametrize(("name", "c", "h"), PAIRS)
def test_one_step(name: str, c: str, h: str):
    d = catalogue.load(name).derive(f"d({c}[t],{h}[t])/d({c}[t-1],{h}[t-1])")
    verdict = d.check()
    assert verdict.verdict == "holds" and verdict.error_bound < 2**-60, f"{d}\n{verdict}"
    assert isinstance(d.expr, expr.Block) and len(d.expr.args) == 2


@pytest.mark.parametrize(("name", "c", "h"), PAIRS)
def test_over_many_steps_it_is_the_product(name: str, c: str, h: str):
    d = catalogue.load(name).derive(f"d({c}[t],{h}[t])/d({c}[k],{h}[k])")
    assert isinstance(d.expr, expr.Product) and d.check().verdict == "holds"


def test_backwards_in_time():
    d = catalogue.load("blstm").derive("d(c_bwd[t],h_bwd[t])/d(c_bwd[t+1],h_bwd[t+1])")
    assert d.check().verdict == "holds"


def test_two_steps_written_out():
    d = catalogue.load("lstm").derive("d(c[t],h[t])/d(c[t-2],h[t-2])")
    assert isinstance(d.expr, expr.Mul) and len(d.expr.args) == 2 and d.check().verdict == "holds"


def test_the_other_order_of_the_states():
    lstm = catalogue.load("lstm")
    one, other = (lstm.derive(q).expr for q in ("d(c[t],h[t])/d(c[t-1],h[t-1])", "d(h[t],c[t])/d(h[t-1],c[t-1])"))
    assert [list(row)[::-1] for row in other.args][::-1] == [list(row) for row in one.args]


def test_one_block_is_not_enough():
    """S002-18: the product of `∂c_t/∂c_{t-1}` is not the Jacobian over two steps; with the way through h it is."""
    lstm = catalogue.load("lstm")
    d = lstm.derive("d(c[t],h[t])/d(c[t-1],h[t-1])")
    (line,) = next(s for s in d.steps if s.rule == "two steps").lines
    assert check_equation(lstm, line).verdict == "holds"
    first = Equals(line.lhs, line.rhs.args[0])
    assert check_equation(lstm, first).verdict == "fails"
    c, (t,) = lstm.variables["c"].var, lstm.lattice.indices
    now, before, earlier = (c.at((t - k,)) for k in range(3))
    total = Equals(Partial(now, earlier), expr.mul(Partial(now, before), Partial(before, earlier)))
    assert check_equation(lstm, total).verdict == "fails"


def test_of_a_single_state_it_is_its_jacobian():
    d = catalogue.load("gru").derive("d(h[t])/d(h[t-1])")
    assert d.check().verdict == "holds" and not isinstance(d.expr, expr.Block)


@pytest.mark.parametrize(
    ("name", "query", "words"),
    [
        ("lstm", "d(c[t])/d(c[t-1])", "what a step of lstm hands to the next is c[t],h[t], not c"),
        ("lstm", "d(c[t],h[t])/d(h[t-1],c[t-1])", "in the same order"),
        ("lstm", "d(c[t],h[t])/d(c[t-1],h[t-2])", "at one index above and one below"),
        ("lstm", "d(c[t],h[t])/d(c[t+1],h[t+1])", "at a step computed before"),
        ("skip-rnn", "d(h[t])/d(h[t-1])", "of the last 2 steps"),
        ("mdlstm", "d(c[i,j],h[i,j])/d(c[i-1,j],h[i-1,j])", "on a grid"),
        ("lstm", "d(c[t],nope[t])/d(c[t-1],nope[t-1])", "nope"),
    ],
)
def test_what_is_off_is_said(name: str, query: str, words: str):
    with pytest.raises(QueryError) as error:
        catalogue.load(name).derive(query)
    assert words in str(error.value), str(error.value)


def test_it_renders(katex):
    d = catalogue.load("lstm").derive("d(c[t],h[t])/d(c[k],h[k])")
    for step in d.steps:
        for fragment in step.latex(d.notation):
            katex(fragment)
