r"""What derive prints, derive reads: every formula of every standard derivation of the catalogue, in every notation.

The law stands in `benchmarks/roundtrip.py`, which puts every formula to it: the *first* reading of what is printed has the
canonical form of what was to be printed.  Here a formula of over `LONGEST` characters is read in the default notation
only; the default has eight of them, and in all notations they would take as long as half of the rest.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from derive import catalogue
from derive.canonical import canonical
from derive.expr import Equals, strip_labels
from derive.notation import NOTATIONS, Notation
from derive.printing import latex
from derive.reader.own import scope_of

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "roundtrip.py"
LONGEST = 4000
SHOWN = 3
"""Failures of one system that are printed; the rest is only counted."""


def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("roundtrip", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["roundtrip"] = module
    spec.loader.exec_module(module)
    return module


roundtrip = benchmark()


def report(messages: list[str]) -> str:
    more = f"\n\nand {len(messages) - SHOWN} more" if len(messages) > SHOWN else ""
    return "\n\n".join(messages[:SHOWN]) + more


@pytest.mark.parametrize("name", catalogue.names())
def test_every_formula_is_read_back(name):
    messages = [
        found.message
        for notation, line in roundtrip.lines(name, tuple(NOTATIONS))
        if notation == "default" or len(line.written) <= LONGEST
        if (found := roundtrip.outcome(line)).kind != "first"
    ]
    assert not messages, report(messages)


def test_the_default_comes_first_and_every_notation_writes_something():
    """Otherwise what is counted once would be counted elsewhere."""
    found = {notation for notation, _ in roundtrip.lines("gru", tuple(NOTATIONS))}
    names_of_the_default = {name for name, notation in NOTATIONS.items() if notation == Notation()}
    assert next(iter(NOTATIONS)) == "default"
    assert set(NOTATIONS) - found == {*names_of_the_default, "hadamard"} - {"default"}


# --- the test can fail ------------------------------------------------------------------------------------------------

BROKEN = {
    "a transpose lost": (r"U_z^{\top}", "U_z"),
    "a factor lost": (r"z_{t+1} \odot ", ""),
    "another operation": (r"\odot", "+"),
    "a neighbour's name": ("U_z", "U_r"),
    "another time": ("_{t+1}", "_t"),
    "another sign": (" + ", " - "),
    "a square lost": ("^2", ""),
    "an immediate derivative as a total one": (r"\partial^{+}", r"\partial"),
    "another end of a product": (r"\prod_{j=t+1}^{s}", r"\prod_{j=t+2}^{s}"),
    "another order of a product": (r"\prod_{j=t+1}^{s}", r"\prod_{j=s}^{t+1}"),
    "half a formula": (" = ", " "),
}
"""What may go wrong with a formula: what stands there, and what stands there then."""


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_formula_is_not_read_back(kind):
    """Every formula of the GRU that `kind` can befall, with one place of it changed."""
    right, wrong = BROKEN[kind]
    befallen = [line for _, line in roundtrip.lines("gru", ("default",)) if right in line.written]
    assert befallen, f"no formula of the GRU has {right}"
    for line in befallen:
        broken = replace(line, written=line.written.replace(right, wrong, 1))
        assert roundtrip.outcome(broken).kind in ("differs", "unread"), broken.written


def line_of(name: str, printed: Equals, written: str) -> object:
    system = catalogue.load(name)
    return roundtrip.Line("a place", written, strip_labels(printed), scope_of(system, Notation()))


def test_a_failure_shows_the_place_the_latex_and_both_formulas():
    gru = catalogue.load("gru")
    equation = gru.equations["h"]
    printed = Equals(equation.target, equation.rhs)
    right = latex(printed, Notation())
    assert roundtrip.outcome(line_of("gru", printed, right)) == roundtrip.Outcome("first")
    wrong = right.replace(r"\tilde{h}_t", "r_t")
    other = equation.rhs.xreplace({gru.variables["h_tilde"].var: gru.variables["r"].var})
    read = canonical(Equals(equation.target, other))
    message = f"a place:\n  {wrong}\nis read as\n  {read}\nand not as\n  {canonical(printed)}"
    assert roundtrip.outcome(line_of("gru", printed, wrong)) == roundtrip.Outcome("differs", message)


def test_what_is_not_read_is_shown_with_the_error_and_its_place():
    gru = catalogue.load("gru")
    printed = Equals(gru.equations["h"].target, gru.equations["h"].rhs)
    found = roundtrip.outcome(line_of("gru", printed, r"h_t = q_t \odot z_t"))
    assert found.kind == "unread"
    assert found.message.startswith("a place:\n  h_t = q_t \\odot z_t\nis not read: ")
    assert "at 'q_t'" in found.message and found.message.endswith(str(canonical(printed)))


def test_the_table_has_a_row_for_every_notation_and_their_sum():
    counts = {"default": {"first": 3}, "bar": {"first": 1, "unread": 2}}
    rows = roundtrip.table({name: roundtrip.Counter(count) for name, count in counts.items()}).split("\n")
    assert [row.split() for row in rows] == [
        ["notation", "lines", "first", "other", "differs", "unread"],
        ["default", "3", "3", "0", "0", "0"],
        ["bar", "3", "1", "0", "0", "2"],
        ["all", "6", "4", "0", "0", "2"],
    ]


def test_of_many_failures_three_are_printed():
    assert report(["one", "two"]) == "one\n\ntwo"
    assert report(["one", "two", "three", "four", "five"]) == "one\n\ntwo\n\nthree\n\nand 2 more"
