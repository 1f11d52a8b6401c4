"""Formulas that nobody would write: each becomes a tree or is unread at a place inside it, and soon."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from derive.reader import limits
from derive.reader.macros import Macro
from derive.reader.parse import parse
from derive.reader.tree import Tree, Unread

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "fuzz_reader.py"


def fuzzer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_reader", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_reader"] = module
    spec.loader.exec_module(module)
    return module


fuzz_reader = fuzzer()
FORMULAS = fuzz_reader.formulas()
OUTCOMES = ("tree", "unread")
QUICK = settings(deadline=None, max_examples=300)


@QUICK
@given(st.lists(st.sampled_from(fuzz_reader.ALPHABET), max_size=40).map("".join))
@example("")
@example(r"\e\e")
@example(r"\text{}\mathrm{}\left.\right.")
def test_random_pieces(text):
    assert fuzz_reader.parsed(text) in OUTCOMES


@QUICK
@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=40))
def test_random_characters(text):
    assert fuzz_reader.parsed(text) in OUTCOMES


@QUICK
@given(st.sampled_from(FORMULAS), st.sampled_from(FORMULAS), st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_corpus_mutated(formula, other, changes, rng):
    pieces = formula.pieces
    for _ in range(changes):
        pieces = fuzz_reader.mutate(pieces, other.pieces, rng)
    assert fuzz_reader.parsed("".join(pieces)) in OUTCOMES


# --- large and deep ---

N = limits.LARGEST_DISPLAY
MACROS = {
    macro.name: macro
    for macro in (
        *(Macro(a, 0, rf"\{b}\{b}") for a, b in zip("abcdefghijklmnopqrstuv", "bcdefghijklmnopqrstuvw", strict=True)),
        Macro("loop", 0, r"\loop"),
        Macro("grow", 0, r"x \grow \grow"),
        Macro("id", 1, "#1"),
        Macro("double", 1, "#1 #1"),
        Macro("option", 1, "#1", default="x"),
        Macro("huge", 0, "x" * 1_000_000),
        Macro("none", 0, ""),
    )
}
READ = {
    "factors": "a " * 10_000,
    "products": r"a \odot " * 5_000 + "a",
    "terms": "a+" * 20_000 + "a",
    "relations": "a=" * 20_000 + "a",
    "implications": r"a\implies " * 4_000 + "a",
    "rows": r"a &= b \\ " * 5_000,
    "empty rows": "a" + r"\\" * 20_000 + "b",
    "rows that go on": ("a" + r"\\&" * 3) * 4_999 + "+ b",
    "separators": "&" * N,
    "commas": "," * N,
    "primes": "x" + "'" * (N - 1),
    "scripts": "x" + "_i" * 20_000,
    "a list in a script": "x_{" + "," * (N - 4) + "}",
    "bars": "|a|" * 15_000,
    "bars that separate": "(a|b)" * 10_000,
    "entries": r"\begin{pmatrix}" + "a&" * 20_000 + r"a\end{pmatrix}",
    "rows of a matrix": r"\begin{pmatrix}" + r"a\\" * 12_000 + r"a\end{pmatrix}",
    "a wide matrix in many": r"\begin{pmatrix}" * 50 + "a&" * 20_000 + "a" + r"\end{pmatrix}" * 50,
    "many matrices": r"\begin{pmatrix}a\end{pmatrix}" * 1_500,
    "arrays of relations": r"\begin{array}{r}a&=b\end{array}" * 1_500,
    "calls": r"\none" * 8_000,
    "braces about a word": r"\mathrm{ab}" * 4_000,
    "stacks": r"a\stackrel{a}{b}" * 3_000,
}
TOO_MUCH = {
    "brackets": "(" * N,
    "braces in pairs": "{" * (N // 2) + "}" * (N // 2),
    "fractions": r"\frac{" * 5_000,
    "fractions without braces": r"\frac" * 10_000,
    "accents": r"\bar" * 10_000,
    "scripts in scripts": "x_{" * 15_000,
    "lefts": r"\left(" * 8_000,
    "bars in brackets": "(a|" * 15_000,
    "brackets in bars": "|a(" * 15_000,
    "matrices in matrices": r"\begin{pmatrix}" * 3_000,
    "begins": r"\begin{" * 7_000,
    "begins without a name": r"\begin" * 8_000,
    "upright in upright": r"\mathrm{a" * 5_000,
    "upright in pairs": r"\mathrm{" * 5_000 + "}" * 5_000,
    "words in math in words": r"\text{$" * 3_000 + "$}" * 3_000,
    "columns": r"\begin{array}{" * 3_000,
    "relations on relations": r"\stackrel{" * 5_000,
    "digits": "1" * N,
    "points": "1." * 20_000,
    "signs": "-" * N,
    "signs behind a product": r"a\cdot" + "-" * 40_000,
    "arrows": "<-" * 20_000,
    "lines of a script": r"x_" + r"\substack" * 5_000,
    "a macro bomb": r"\a",
    "a loop": r"\loop",
    "a growing loop": r"\grow",
    "a huge body": r"\huge",
    "calls in calls": r"\id{" * 10_000 + "x" + "}" * 10_000,
    "doubled calls": r"\double{" * 40 + "x" + "}" * 40,
    "options": r"\option[" * 6_000,
    "NULs": "\0" * N,
    "surrogates": "\ud800" * N,
    "letters of no formula": "𝐖" * N,
}


def seconds_of(text: str) -> tuple[Tree | Unread, float]:
    start = time.perf_counter()
    try:
        found: Tree | Unread = parse(text, MACROS)
    except Unread as error:
        found = error
    return found, time.perf_counter() - start


@pytest.mark.parametrize("name", READ)
def test_long_formulas_are_read_soon(name):
    assert len(READ[name]) <= N
    found, seconds = seconds_of(READ[name])
    assert isinstance(found, Tree), found
    assert seconds < 3, seconds  # under one, where nothing else runs


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_is_too_much_is_said_soon(name):
    text = TOO_MUCH[name][:N]
    found, seconds = seconds_of(text)
    assert isinstance(found, Unread)
    assert 0 <= found.span[0] <= found.span[1] <= len(text)
    str(found).encode()
    assert seconds < 3, seconds


GROWS = {
    "brackets in bars": lambda n: "|a(" * n,
    "bars in brackets": lambda n: "(a|" * n,
    "entries": lambda n: r"\begin{pmatrix}" + "a&" * n + r"a\end{pmatrix}",
    "rows": lambda n: r"a &= b \\ " * n,
    "upright": lambda n: r"\mathrm{a+" * n + "}" * n,
}


@pytest.mark.parametrize("name", GROWS)
def test_time_grows_with_length_and_not_its_square(name):
    best = [min(seconds_of(GROWS[name](n))[1] for _ in range(3)) for n in (500, 4_000)]
    assert best[1] < 32 * best[0] + 0.02, best  # 8 times as long; its square would be 64


NESTS = {
    "brackets": ("(", ")"),
    "braces": ("{", "}"),
    "scripts": ("x_{", "}"),
    "fractions": (r"\frac{", "}{y}"),
    "accents": (r"\bar{", "}"),
    "bars": (r"\left|", r"\right|"),
    "matrices": (r"\begin{pmatrix}", r"\end{pmatrix}"),
    "sets": (r"\{", r"\}"),
    "products with a sign": (r"a \odot -(", ")"),
    "scripts of brackets": ("x^{a+b=(", ")}"),
    "braces in matrices": (r"\begin{cases}{a = ", r"}\end{cases}"),
}


@pytest.mark.parametrize("name", NESTS)
def test_as_deep_as_the_bound_says_and_no_deeper(name):
    opening, closing = NESTS[name]
    levels = [n for n in range(limits.DEEPEST + 2) if isinstance(seconds_of(opening * n + "x" + closing * n)[0], Tree)]
    deepest = levels[-1]
    assert levels == list(range(deepest + 1)) and limits.DEEPEST // 2 - 1 <= deepest <= limits.DEEPEST
    tree, _ = seconds_of(opening * deepest + "x" + closing * deepest)
    assert "x" in str(tree)
    found, _ = seconds_of(opening * 1000 + "x" + closing * 1000)
    assert isinstance(found, Unread) and f"more than {limits.DEEPEST} deep" in str(found)


# --- the script ---


def test_the_script_counts_and_fails_where_something_crashes(capsys):
    assert fuzz_reader.fuzz(fuzz_reader.parsed, 400, seed=1) == 0
    assert "0 failures" in capsys.readouterr().out

    def crash(text: str, head: str) -> str:
        raise RecursionError(text)

    assert fuzz_reader.fuzz(crash, 3, seed=1) == 3
    assert "RecursionError" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--parse"]])
def test_the_script_runs(options):
    command = [sys.executable, SCRIPT, "--inputs", "50", "--seed", "7", *options]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("50 inputs, seed 7: ")


# --- the whole reader ---


def test_every_document_is_read_unread_or_refused(capsys):
    failures = fuzz_reader.fuzz(fuzz_reader.understood, 300, seed=3)
    said = capsys.readouterr()
    assert failures == 0, said.err
    assert all(f" {outcome}" in said.out for outcome in ("read", "unread", "refused"))


SMALL = [
    "",
    " ",
    "%",
    "=",
    ",",
    r"\\",
    "&",
    r"\,",
    "{}",
    "h_t",
    "= h_t",
    "h_t =",
    r"h_t^{x^2+1} = y_t",
    r"\lim_{t} h_t = 0",
    "1 = 1",
]


@pytest.mark.parametrize("head", fuzz_reader.HEADS)
@pytest.mark.parametrize("text", SMALL)
def test_next_to_nothing(text, head):
    assert fuzz_reader.understood(text, head) in ("read", "unread", "refused")
