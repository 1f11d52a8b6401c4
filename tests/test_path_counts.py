"""The number of paths for any length, against the count by powers of a matrix and against lists."""

from __future__ import annotations

import pytest
import sympy
from sympy import Symbol

from derive import catalogue, paths
from derive.errors import DeriveError, QueryError
from derive.partials import table
from derive.paths import Point
from derive.queries import Request, parse
from derive.readings import counts
from derive.system import System

FAR = 12
SKIPS = System("skips", equations="h[t] = tanh(W @ h[t-1] + M @ h[t-3])", shapes="h: n", parameters="W M")
TWO = System("two", equations="h[t] = tanh(W @ h[t-2])", shapes="h: n", parameters="W")
LARGE = {"skips": SKIPS, "two": TWO}


def load(name: str) -> System:
    return LARGE.get(name) or catalogue.load(name)


CASES = [
    ("rnn", "h", "h"), ("rnn", "L", "h"), ("gru", "h", "h"), ("lstm", "c", "c"), ("lstm", "h", "c"), ("lstm", "L", "h"),
    ("skip-rnn", "h", "h"), ("lstm-peephole", "c", "c"), ("stacked-lstm", "L", "c_1"), ("jordan", "L", "h"), ("skips", "h", "h"),
    ("two", "h", "h"), ("birnn", "h_bwd", "h_bwd"), ("linear-attention", "S", "S"),
]  # fmt: skip


def number(system: System, y: str, x: str, d: int) -> int:
    """Over `d` steps, forwards or backwards in time."""
    back = any(o[0] > 0 for t, s, o in system.reads if t == y and s == x)
    target, source = (1, 1 + d) if back else (1 + d, 1)
    found = paths.count(table(system), Point(y, (target,)), Point(x, (source,)), (FAR + 4,))
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize(("name", "y", "x"), CASES)
def test_the_recurrence_and_the_closed_form(name: str, y: str, x: str):
    system = load(name)
    length = "T" if y == "L" else "t"
    d = system.derive(f"paths {y}[{length}] <- {x}[k]")
    local, var = table(system), system.variables
    found, _ = counts._between(
        _request(system, f"paths {y}[{length}] <- {x}[k]"), local, _at(var[y].var, length), _at(var[x].var, "k")
    )
    values = [number(system, y, x, k) for k in range(FAR + 1)]
    assert list(found.values[: FAR + 1]) == values[: len(found.values)], f"{name}: {found.values} against {values}"
    order, first = len(found.recurrence), len(found.recurrence) + found.late
    for k in range(first, FAR + 1):
        assert values[k] == sum(c * values[k - j] for j, c in enumerate(found.recurrence, 1)), (
            f"{name}, d = {k}, order {order}"
        )
    letter = Symbol("d", integer=True)
    closed = found.closed(letter)
    if closed is not None:
        for k in range(found.late, FAR + 1):
            assert sympy.simplify(closed.subs(letter, k) - values[k]) == 0, (
                f"{name}: {closed} at {k} is not {values[k]}"
            )
    assert d.check().verdict in ("holds", "defines")


def _at(var, index: str):
    return var.at((Symbol(index, integer=True),))


def _request(system: System, query: str) -> Request:
    return Request(system, parse(query, system))


@pytest.mark.parametrize(
    ("name", "query", "count"),
    [
        ("rnn", "paths h[t] <- h[k]", "1"),
        ("gru", "paths h[t] <- h[k]", "4**d"),
        ("skip-rnn", "paths h[t] <- h[k]", "the Fibonacci number F(d + 1)"),
        ("mdrnn", "paths h[i,j] <- h[k,l]", "(d_1 + d_2)! / (d_1! d_2!)"),
        ("mdrnn(3)", "paths h[i,j,k] <- h[l,m,n]", "(d_1 + d_2 + d_3)! / (d_1! d_2! d_3!)"),
        ("skips", "paths h[t] <- h[k]", "a recurrence of order 3"),
    ],
)
def test_what_it_is_called(name: str, query: str, count: str):
    assert load(name).derive(query).options["count"] == count


def test_from_a_parameter_up_to_any_step():
    """The 30 paths of `W_f` at T = 3, which are written out one by one, and those of every other length."""
    lstm = catalogue.load("lstm")
    said = " ".join(str(lstm.derive("paths L[T] <- W_f")).split())
    values = [paths.count(table(lstm), Point("L", (n,)), Point("W_f", None), (n,)) for n in range(1, 9)]
    assert values[2] == 30 and f"the numbers are {', '.join(map(str, values))}, …" in said
    assert "N_T = 6 N_{T-1} - 6 N_{T-2} + N_{T-3}" in said
    assert all(values[n] == 6 * values[n - 1] - 6 * values[n - 2] + values[n - 3] for n in range(3, 8))


def test_too_few_values_settle_nothing():
    assert counts.counted([1, 1, 2, 3, 5, 8], 0, 2).recurrence == (1, 1)
    with pytest.raises(DeriveError, match="follows no recurrence"):
        counts.counted([1, 1, 2, 3], 0, 2)


def test_outputs_lead_nowhere():
    d = catalogue.load("rnn").derive("paths o[t] <- o[k]")
    assert [str(line) for line in d.steps[-1].lines] == ["N_0 = 1", "N_d = 0"]


@pytest.mark.parametrize(
    ("name", "query", "words"),
    [
        ("mdlstm", "paths h[i,j] <- h[k,l]", "reads more than its own neighbours"),
        ("mdrnn", "paths L[i,j] <- h[k,l]", "between one state's points only"),
        ("birnn", "paths L[T] <- U_bwd", "come from later steps; give numbers with unroll"),
        ("rnn", "paths L[k-1] <- W", "give a number with unroll and an index such as L[3]"),
    ],
)
def test_what_is_not_counted_says_why(name: str, query: str, words: str):
    with pytest.raises(QueryError) as error:
        catalogue.load(name).derive(query)
    assert words in str(error.value), str(error.value)


def test_it_renders(katex):
    for name, y, x in CASES:
        d = load(name).derive(f"paths {y}[{'T' if y == 'L' else 't'}] <- {x}[k]")
        for step in d.steps:
            for fragment in step.latex(d.notation):
                katex(fragment)
