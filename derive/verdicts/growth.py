r"""Whether a gradient explodes with a parameter that grows, and vanishes with one that shrinks.

grows     one network is enough to refute it: a large parameter, and a gradient that balls certify to be tiny
shrinks   proved where the one-step Jacobian's norm is bounded by a multiple of the parameter's, `|φ'| |W|`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy
import sympy

from derive import expr
from derive.errors import DeriveError
from derive.evaluate import Array
from derive.expr import Equals, Node, Partial, Var
from derive.oracles import ROADS, Unrolled
from derive.oracles.points import sizes
from derive.oracles.truth import Key, show
from derive.printing import text
from derive.ranges import range_of_function
from derive.system import System
from derive.verdicts import bounds
from derive.verdicts.judge import Judged
from derive.verdicts.ladder import decided
from derive.verdicts.question import Question
from derive.verdicts.report import Certificate

STEPS = 5
TINY = 1e-6
"""A derivative over all steps below this has not exploded."""
LARGE = (10, 100)
SEEDS = 4
START = 0.5


def explodes(question: Question, parameter: Var) -> Judged:
    """*fails* if the derivative of the last state by the first one is smaller, and tiny, where the parameter is large."""
    if not ROADS["ball"].available:
        return Judged("undecided", reason="no counterexample was searched for: python-flint is not installed")
    tried = 0
    for sample in _samples(question, parameter):
        tried += 1
        usual, large = replace(sample, value=1).size(), sample.size()
        if usual is not None and large is not None and large[0] > 0 and large[1] < min(TINY, usual[0]):
            sure = Certificate("ball", points=tried, at=sample.where, note=sample.said(large[1], usual[0]))
            return Judged("fails", certificate=sure)
    searched = Certificate("search", points=tried)
    return Judged("undecided", certificate=searched, reason=f"no counterexample among {tried} networks, and no proof")


def vanishes(question: Question, parameter: Var) -> Judged:
    """*holds* if each step multiplies by a Jacobian that shrinks below 1 with the parameter."""
    state = next(recurrent(question.system), None)
    rate = None if state is None else _rate(question, state)
    if state is None or rate is None:
        return Judged("undecided", reason="no bound of the Jacobian over a step was found that holds for all steps")
    least = rate.subs(bounds.norm_symbol(parameter, {}), 0)
    if not (least.is_number and least < 1):
        return Judged("undecided", reason=f"the bound {rate} of a step does not fall below 1 with {parameter} alone")
    step = Partial(state, state.at((state.index[0] - 1,)))
    note = f"‖{text(step)}‖ ≤ {rate}, and the derivative over several steps is the product of these"
    return Judged("holds", certificate=Certificate("proof", note=note))


def _rate(question: Question, state: Var) -> sympy.Expr | None:
    """A bound of the one-step Jacobian's norm that holds for every further step too."""
    worked_out = jacobian(question, Partial(state, state.at((state.index[0] - 1,))))
    if worked_out is None or not decided(question, bounds.two_steps(state)):
        return None
    number, body = expr.split_number(worked_out)
    factors = [_bound(question, f) for f in (body.args if isinstance(body, (expr.Had, expr.Mul)) else (body,))]
    return None if any(f is None for f in factors) else sympy.Mul(abs(number), *factors)


def _bound(question: Question, factor: Node) -> sympy.Expr | None:
    """The norm of a parameter; the supremum of what is made of bounded activations."""
    system, inner = question.system, factor.args[0] if isinstance(factor, expr.Diag) else factor
    if isinstance(inner, Var) and inner.name in {v.name for v in system.parameters}:
        return bounds.norm_symbol(inner, {})
    equations = [system.equations.get(v.name) for v in expr.variables(inner)]
    activated = [e.rhs for e in equations if e is not None and isinstance(e.rhs, expr.Apply)]
    known = len(activated) == len(equations) and all(range_of_function(a.function) is not None for a in activated)
    return bounds.supremum(question, inner) if known else None


def jacobian(question: Question, partial: Partial) -> Node | None:
    """What the engine derives for a Jacobian between two names, where the exact field confirms it."""
    y, x = partial.args[:2]
    if not (isinstance(y, Var) and isinstance(x, Var) and y.index and x.index):
        return None
    names = [f"{v.name}[{','.join(map(str, v.index))}]" for v in (y, x)]
    try:
        found = expr.strip_labels(question.system.derive(f"d{names[0]}/d{names[1]}", hold=question.hold).expr)
    except DeriveError:
        return None
    holds = isinstance(found, Node) and found.shape == partial.shape and question.holds(Equals(partial, found))
    return found if holds else None


def recurrent(system: System) -> Iterator[Var]:
    """The states that a later step reads, vectors or numbers."""
    read = dict.fromkeys(source for _, source, offset in system.reads if any(offset))
    for name in read:
        if name in system.equations and expr.is_column(system.variables[name].var):
            yield system.variables[name].var


# --- a counterexample -------------------------------------------------------------------------------------------------


class Chosen(Unrolled):
    """A system without input, with some values that are chosen and all others drawn at random."""

    def __init__(self, system: System, size: Mapping[Any, int], seed: int, chosen: Mapping[str, float]):
        self.chosen = {**chosen, **{v.name: 0.0 for v in system.inputs}}
        super().__init__(system, ROADS["ball"], {**size, system.lattice.lengths[0]: STEPS}, seed)

    def random(self, key: Key, shape: expr.Shape) -> Array:
        """A chosen number stands on the diagonal of a matrix."""
        if key[0] not in self.chosen:
            return super().random(key, shape)
        rows, columns = self._shape(shape)
        pattern = numpy.eye(rows, columns) if columns > 1 else numpy.ones((rows, 1))
        return self.engine.leaf(show(key), self.chosen[key[0]] * pattern)


@dataclass(frozen=True)
class Sample:
    """A network with a value of the parameter."""

    system: System
    parameter: Var
    state: Var
    value: int
    seed: int

    def size(self) -> tuple[float, float] | None:
        """Bounds of the largest entry of `∂s_T/∂s_0`, from below and from above; None where there are none."""
        chosen = {self.parameter.name: float(self.value), self.state.name: START}
        try:
            truth = Chosen(self.system, sizes(self.system, ROADS["ball"])[0], self.seed, chosen)
            entries = truth.jacobian(self.state.name, (STEPS,), self.state.name, (0,)).flat
        except DeriveError:
            return None
        found = [abs(entry.v) for entry in entries]
        return max(float(v.abs_lower()) for v in found), max(float(v.abs_upper()) for v in found)

    @property
    def where(self) -> str:
        return f"{text(self.parameter)} = {self.value}, no input, {text(self.state.at((0,)))} = {START}"

    def said(self, above: float, usual: float) -> str:
        over_all = Partial(self.state.at((STEPS,)), self.state.at((0,)))
        return f"|{text(over_all)}| is below {above:.1e}, and above {usual:.1e} with {text(self.parameter)} = 1"


def _samples(question: Question, parameter: Var) -> Iterator[Sample]:
    system = question.system
    if system.lattice.dimension != 1 or parameter.name not in {v.name for v in system.parameters}:
        return
    for large in LARGE:
        for state in (s for s in recurrent(system) if system.boundary.get(s.name, "zero") != "zero"):
            for seed in range(SEEDS):
                yield Sample(system, parameter, state, large, question.seed + seed)
