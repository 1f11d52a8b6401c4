"""Sums over the uses of a weight: `Σ_i ∂y/∂h_i ∂⁺h_i/∂W` counts each use once, with total derivatives some of them again."""

from __future__ import annotations

from collections.abc import Iterator

from sympy import Basic

from derive import expr
from derive.expr import Equals, Partial, Var
from derive.verdicts.question import Question
from derive.verdicts.report import Diagnosis


def counts_again(question: Question, formula: Basic) -> bool:
    """Whether a sum over the uses of a weight, `Σ_i ∂y/∂h_i ∂h_i/∂W`, is true of total derivatives only.

    It is the derivative of y with immediate ones; total ones count the earlier uses again.
    """
    for node in expr.walk(formula):
        for whole, once in sums_over_uses(node):
            if question.holds(Equals(whole, once)) and not question.holds(Equals(whole, node)):
                return True
    return False


def sums_over_uses(node: Basic) -> Iterator[tuple[Partial, expr.Node]]:
    """`(∂y/∂W, Σ_i ∂y/∂h_i ∂⁺h_i/∂W)` of a sum with total derivatives, where W has no index."""
    if not isinstance(node, expr.Sum):
        return
    letters = {i for i, *_ in node.args[1:]}
    partials = [
        n for n in expr.walk(node.args[0]) if isinstance(n, Partial) and all(isinstance(v, Var) for v in n.args[:2])
    ]
    outer = [p for p in partials if not _letters(p.args[0]) & letters and _letters(p.args[1]) & letters]
    uses = [p for p in partials if not p.immediate and not p.args[1].index and _letters(p.args[0]) & letters]
    for first in outer:
        for use in uses:
            direct = Partial(use.args[0], use.args[1], 1, use.args[3])
            whole = Partial(first.args[0], use.args[1])
            if whole.shape == node.shape:
                yield whole, expr.replace(node, {use: direct})


def _letters(var: Var) -> set[Basic]:
    return {s for i in var.index for s in i.free_symbols}


def doubled(question: Question, formula: Equals) -> tuple[Equals, Diagnosis]:
    """The formula as it is meant, with immediate partials, and what is wrong with it as it stands."""
    node, whole, once = next(
        (node, whole, once)
        for node in expr.walk(formula)
        for whole, once in sums_over_uses(node)
        if question.holds(Equals(whole, once))
    )
    use = next(n for n in expr.walk(node) if isinstance(n, Partial) and n.args[1] == whole.args[1] and not n.immediate)
    sentence = (
        f"the sum stands for {whole}, and counts each use of {whole.args[1]} once with the immediate partial only; the "
        f"total derivative {use} counts the earlier uses again"
    )
    return expr.replace(formula, {node: once}), Diagnosis("double-count", sentence, repair=Equals(whole, once))
