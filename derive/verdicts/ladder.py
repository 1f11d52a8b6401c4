"""The ladder on which one formula is decided: the exact field, balls, the tower of primes; and what to show for it."""

from __future__ import annotations

from dataclasses import replace

from sympy import Basic

from derive.expr import Equals
from derive.oracles import ROADS, Verdict
from derive.verdicts.question import Question
from derive.verdicts.report import Certificate, Numeric


def decided(question: Question, formula: Equals) -> Verdict:
    """The ladder: the exact field; balls, where it says no; the tower of primes, where they don't.

    Where a side has no value in the field (half of all numbers have no square root there), balls may still refute.
    """
    found = question.ask(formula)
    if found.verdict == "undecided":
        ball = question.ask(formula, "ball")
        return ball if ball.verdict == "fails" else found
    if found.verdict != "fails":
        return found
    if found.failure is not None and found.failure.left.startswith("shape "):
        return replace(found, method="shape")
    ball = question.certify(formula, found)
    if ball.verdict == "fails":
        return ball
    tower = question.ask(formula, "tower")
    if tower.verdict == "holds":
        return tower
    reason = "the exact field tells the two sides apart, but real numbers don't"
    return replace(found, verdict="undecided", reason=f"{reason}: {ball.reason}" if ball.reason else reason)


def certificate(found: Verdict) -> Certificate:
    failure = found.failure
    at, left, right = (failure.where, failure.left, failure.right) if failure is not None else ("", "", "")
    return Certificate(found.method, found.seeds, found.points, found.prime_bits, found.error_bound, at, left, right)


def numeric(question: Question, formula: Basic, oracle: str = "autograd") -> Numeric | None:
    """How far the two sides lie apart in float64, where the library is installed."""
    if not ROADS[oracle].available or not question.system.equations or not isinstance(formula, Equals):
        return None
    found = question.ask(formula, oracle)
    return None if found.max_rel_err is None else Numeric(oracle, found.max_rel_err)
