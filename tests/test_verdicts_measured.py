"""No false accept and no false reject: a seeded sample of what `benchmarks/verdicts.py` runs in full."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from random import Random
from types import ModuleType

import pytest
from mutants import EDITS, Mutant, mutants
from rewrites import LAWS, rewrite

from derive import catalogue
from derive.check import Claim, system_claims

pytest.importorskip("autograd")

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "verdicts.py"
SEED = 4
REWRITES, MUTANTS = 3, 4
"""Of each system."""


def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verdicts_benchmark", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["verdicts_benchmark"] = module
    spec.loader.exec_module(module)
    return module


measured = benchmark()


@cache
def claims(name: str) -> list[Claim]:
    return system_claims(catalogue.load(name))


@cache
def wrong_lines(name: str) -> list[Mutant]:
    return [mutant for claim in claims(name)[:: 1 + len(claims(name)) // 40] for mutant in mutants(claim)]


@pytest.mark.parametrize("name", catalogue.names())
def test_true_lines_are_not_rejected_and_wrong_ones_are_not_accepted(name: str) -> None:
    """Both in one test, since both are asked of the same unrolled systems, of which only so many are kept."""
    random = Random(f"{SEED} {name}")
    for _ in range(REWRITES):
        made = rewrite(random.choice(claims(name)), random)
        found = measured.judged(made.claim, made.equation)
        assert measured.rewrite_outcome(made, found) == "holds", f"{made}\n{found}\nseed {SEED}"
    for mutant in measured.choice(wrong_lines(name), MUTANTS, random):
        found = measured.judged(mutant.claim, mutant.equation)
        outcome = measured.mutant_outcome(mutant, found)
        assert outcome in ("fails", "equal", "shape", "undecided"), f"{outcome}: {mutant}\n{found}\nseed {SEED}"


def test_every_edit_is_made_somewhere_in_the_catalogue() -> None:
    made = {mutant.edit.name for name in ("gru", "rnn", "elman", "mdrnn") for mutant in wrong_lines(name)}
    assert {edit.name for edit in EDITS} - made == set()


def test_every_law_is_used_somewhere_in_the_catalogue() -> None:
    random, names = Random(SEED), ("rnn", "gru", "mdrnn", "linear-attention")
    made = [rewrite(random.choice(claims(name)), random, steps=8) for name in names for _ in range(60)]
    found = {law for chain in made for law in chain.laws}
    assert {law.name for law in LAWS} - found == set()


def test_the_referee_tells_a_wrong_line_from_its_original() -> None:
    """It accepts every line of a system, and not one of those in which a side was negated."""
    for claim in claims("rnn"):
        assert measured.told_apart(claim, claim.equation) is False, str(claim.equation)
    for mutant in wrong_lines("rnn"):
        if mutant.edit.name == "a side negated":
            assert measured.told_apart(mutant.claim, mutant.equation) is True, str(mutant)
