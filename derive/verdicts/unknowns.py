"""Names that nothing explains, and lines that only suppose something of what is given."""

from __future__ import annotations

from sympy import Basic

from derive import expr
from derive.expr import Equals, Partial
from derive.verdicts.question import Question
from derive.verdicts.shorthands import without_mark

SUPPOSED = "this is true of some values and false of others: it supposes something of what is given"


def names_without_meaning(question: Question, formula: Equals) -> list[str]:
    """Names that nothing explains and that stand on one side only: the other side can't be what they are meant for."""
    left, right = (set(unexplained(question, side)) for side in formula.args)
    both = left | right
    if all(v.name in both for v in expr.variables(formula)):
        return []
    return sorted((left ^ right) | {v.name for v in expr.variables(formula) if v.name in both and v.index})


def unexplained(question: Question, root: Basic) -> list[str]:
    """The names of a formula that neither the system nor a definition knows, nor the mark of a name that one knows."""
    known = {target.name for target, _ in question.definitions} | set(question.system.variables)
    return [v.name for v in expr.variables(root) if not {v.name, without_mark(v)} & known]


def is_hypothesis(question: Question, formula: Basic) -> bool:
    """Whether a line speaks of given quantities alone: `QᵀQ = I`, `λ < 1`, `W = I` may be what the text supposes."""
    if any(
        isinstance(n, (expr.Apply, Partial, expr.Pulled, expr.GradientOf, expr.Extremum)) for n in expr.walk(formula)
    ):
        return False
    variables = expr.variables(formula)
    free = set(unexplained(question, formula))
    parameters = {v.name for v in question.system.of_kind("parameter", "input", "target")}
    return bool(variables) and all(v.name in free or v.name in parameters for v in variables)
