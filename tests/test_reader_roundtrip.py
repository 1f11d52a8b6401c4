r"""What derive prints, derive reads: every formula of every standard derivation of the catalogue, in every notation.

The law: `read_back(latex(line, notation), scope_of(system, notation))[0] ≡ line`, and `≡` is one canonical form.  The
*first* reading has to be the formula; one further down would say that the reader guesses at what its own printer means.

A formula that several queries or notations of one system write in one way is read once: `nabla` and `subscript` cost
nothing, `circ` only what has a Hadamard product.  A notation changes the derivation only by its factors, and scope
only by layout, loss and factors, so that the key of what was read is (those, LaTeX, formula).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from sympy import Basic

from derive import catalogue
from derive.canonical import canonical
from derive.check import standard_queries
from derive.derivation import Derivation
from derive.errors import QueryError, ShapeError
from derive.expr import Equals, strip_labels
from derive.notation import NOTATIONS, Notation
from derive.printing import latex
from derive.reader.own import read_back, scope_of
from derive.reader.scope import Scope
from derive.reader.tree import Unread
from derive.system import System

OTHERS = [name for name in NOTATIONS if name != "default"]
SHOWN = 3
"""Failures that are printed of one system in one notation; the rest is only counted."""


def derivations(system: System, notation: str) -> list[Derivation]:
    """The worked answers to the standard queries; those that a system refuses are no formulas."""
    found = []
    for query in standard_queries(system):
        try:
            found.append(system.derive(query, notation=notation))
        except (QueryError, ShapeError):
            continue
    return found


@cache
def fault(system: System, notation: Notation, written: str, printed: Basic) -> str | None:
    """What is wrong with what is read from `written`, where `printed` was printed; None where it is that formula."""
    try:
        readings = [reading.formula for reading in read_back(written, scope(system, notation))]
    except Unread as error:
        begin, end = error.span
        return f"is not read: {error}, at {written[begin:end]!r}"
    wanted = canonical(printed)
    forms = [canonical(strip_labels(formula)) for formula in readings]
    if forms and forms[0] == wanted:
        return None
    rank = f"; the printed formula is reading {forms.index(wanted) + 1}" if wanted in forms else ""
    return f"is read as\n  {forms[0] if forms else 'nothing'}\nand not as\n  {wanted}{rank}"


@cache
def scope(system: System, notation: Notation) -> Scope:
    return scope_of(system, notation)


def pinned(notation: Notation) -> Notation:
    """What `scope_of` asks of a notation, and nothing else: one scope for all notations that differ in glyphs."""
    return replace(Notation(), layout=notation.layout, loss=notation.loss, factors=notation.factors)


def faults(name: str, notation: str) -> list[str]:
    """One message for every formula of the system that is not read back, in the order in which they are derived."""
    system = catalogue.load(name)
    found: dict[tuple[str, Basic], str] = {}
    for derivation in derivations(system, notation):
        for step in derivation.steps:
            for line in step.lines:
                written, printed = latex(line, derivation.notation), strip_labels(line)
                if wrong := fault(system, pinned(derivation.notation), written, printed):
                    place = f"{name}, notation {notation}, {derivation.query}, {step.rule}"
                    found.setdefault((written, printed), f"{place}:\n  {written}\n{wrong}")
    return list(found.values())


def report(messages: list[str]) -> str:
    more = f"\n\nand {len(messages) - SHOWN} more" if len(messages) > SHOWN else ""
    return "\n\n".join(messages[:SHOWN]) + more


@pytest.mark.parametrize("name", catalogue.names())
def test_every_formula_is_read_back(name):
    messages = faults(name, "default")
    assert not messages, report(messages)


@pytest.mark.parametrize("notation", OTHERS)
@pytest.mark.parametrize("name", catalogue.names())
def test_every_formula_is_read_back_in_every_notation(name, notation):
    messages = faults(name, notation)
    assert not messages, report(messages)


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
    gru, plain = catalogue.load("gru"), Notation()
    right, wrong = BROKEN[kind]
    befallen = passed = 0
    for derivation in derivations(gru, "default"):
        for step in derivation.steps:
            for line in step.lines:
                written, printed = latex(line, plain), strip_labels(line)
                if right in written:
                    befallen += 1
                    passed += fault(gru, plain, written.replace(right, wrong, 1), printed) is None
    assert befallen, f"no formula of the GRU has {right}"
    assert not passed, f"{passed} of {befallen} formulas are read back all the same"


def test_a_fault_shows_both_formulas_and_the_place_of_an_error():
    gru, plain = catalogue.load("gru"), Notation()
    equation = gru.equations["h"]
    printed = Equals(equation.target, equation.rhs)
    right = latex(printed, plain)
    assert fault(gru, plain, right, printed) is None
    told = fault(gru, plain, right.replace(r"\tilde{h}_t", "r_t"), printed)
    other = equation.rhs.xreplace({gru.variables["h_tilde"].var: gru.variables["r"].var})
    assert told == f"is read as\n  {canonical(Equals(equation.target, other))}\nand not as\n  {canonical(printed)}"
    unread = fault(gru, plain, right.replace(r"\odot", r"\otimes_q"), printed)
    assert unread is not None and unread.startswith("is not read: ")


def test_failures_are_counted_where_they_are_many():
    assert report(["one", "two"]) == "one\n\ntwo"
    assert report(["one", "two", "three", "four", "five"]) == "one\n\ntwo\n\nthree\n\nand 2 more"
