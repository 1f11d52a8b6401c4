"""What people leave unsaid: the one list of assumptions under which a line may hold, each with its sentence.

Two kinds of them.  A *choice* of the reader (`derive.reader.values.ASSUMPTIONS` has the sentences) is only notation, or a
slip that makes a line hold *if* it is meant so: `SLIPS` says which, with the kind of mistake that it is.  A *family*
changes the question: gates held constant, a loss at the last step only, numbers in place of vectors.  A family is a
function in `FAMILIES`; it offers nothing that the text does not leave open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, product
from math import prod

from sympy import Basic, Integer, Symbol

from derive import expr
from derive.expr import Apply, Equals, Partial, Var
from derive.oracles.check import AT_FEW_STEPS, NOWHERE
from derive.oracles.points import free_indices
from derive.oracles.truth import preactivation
from derive.printing import text
from derive.reader.claims import Claim
from derive.reader.relations import Understood
from derive.reader.values import ASSUMPTIONS
from derive.system import System
from derive.verdicts.question import Question, index_letters
from derive.verdicts.report import Assumption
from derive.verdicts.shorthands import without_mark

SLIPS: Mapping[tuple[str, str], str] = {
    ("vector", "diagonal"): "ill-typed",
    ("order", "descending"): "order",
    ("weight", "immediate"): "double-count",
    ("index", "same"): "index",
}
"""The choices that make a line hold only if they are meant, and the mistake that it is not to say so."""

UNIT_INTERVAL = ("sigmoid", "hard_sigmoid")
MOST_HELD = 2
"""Gates that are held constant together."""
MOST_ARGUMENTS = 64
"""Ways in which one letter may stand for several arguments."""


Family = Callable[[Question, Equals, Claim], "Iterator[Taken]"]


@dataclass(frozen=True)
class Taken:
    """A question and a formula as an assumption changes them."""

    question: Question
    formula: Equals
    assumptions: tuple[Assumption, ...]


def taken(families: tuple[Family, ...], question: Question, formula: Equals, claim: Claim) -> Iterator[Taken]:
    """Every way to make all of these assumptions together."""
    first, *rest = families
    for one in first(question, formula, claim):
        if not rest:
            yield one
            continue
        for more in taken(tuple(rest), one.question, one.formula, claim):
            yield replace(more, assumptions=(*one.assumptions, *more.assumptions))


def notes(understood: Understood, claim: Claim) -> tuple[tuple[str, ...], tuple[Assumption, ...]]:
    """The choices of a reading that no directive makes: what is only notation, and what is an assumption."""
    pinned = {tag for tag, _ in claim.scope.pins} if claim.scope is not None else set()
    scalar = claim.scope is not None and claim.scope.scalar
    readings, assumptions = [], []
    for tag, allowed in understood.choices:
        if len(allowed) != 1 or tag in pinned or (tag == "order" and scalar):
            continue
        (value,) = allowed
        sentence = ASSUMPTIONS.get((tag, value))
        if (tag, value) in SLIPS and sentence is not None:
            assumptions.append(Assumption(sentence, SLIPS[tag, value]))
        elif sentence is not None:
            readings.append(sentence)
    return tuple(readings), tuple(assumptions)


def gates(question: Question, formula: Equals, claim: Claim) -> Iterator[Taken]:
    """Gates are held constant: states in the unit interval that others are multiplied by, and of which the line says
    nothing itself."""
    if question.hold or not _differentiates(formula):
        return
    found = [name for name in gates_of(question.system) if name not in _said_of(formula)]
    for count in range(1, MOST_HELD + 1):
        for held in combinations(found, count):
            names = " and ".join(held)
            sentence = f"{names} held constant (the gate{'s' * (count > 1)} treated as constant)"
            yield Taken(replace(question, hold=held), formula, (Assumption(sentence, "missing-path"),))


def _said_of(formula: Equals) -> set[str]:
    """The names of which, and by which, a line takes derivatives."""
    nodes = [n for n in expr.walk(formula) if isinstance(n, (Partial, expr.Pulled, expr.GradientOf))]
    named = {v.name for n in nodes for v in n.args[:2] if isinstance(v, Var)}
    return named | {without_mark(v) for v in expr.variables(formula) if v.marks}


def uses_once(question: Question, formula: Equals, claim: Claim) -> Iterator[Taken]:
    """`Σ_t (∂z_t/∂b)ᵀ ∂L/∂z_t`: the derivative by a weight is the immediate partial, which counts each use once."""

    def leaf(node: Basic) -> Basic:
        if not isinstance(node, Partial) or node.immediate or not isinstance(node.args[0], Var):
            return node
        y, x, _, held = node.args
        return Partial(y, x, 1, held) if y.index and not x.index and is_parameter(question.system, x) else node

    once = expr.rewrite(formula.rhs, leaf)
    if once != formula.rhs:
        yield Taken(
            question, Equals(formula.lhs, once), (Assumption(ASSUMPTIONS["weight", "immediate"], "double-count"),)
        )


def is_parameter(system: System, x: expr.Node) -> bool:
    variable = system.variables.get(x.name) if isinstance(x, Var) else None
    return variable is not None and variable.kind == "parameter"


def alone(question: Question, formula: Equals, claim: Claim) -> Iterator[Taken]:
    """`∂C_T/∂C_t = ∏ diag(f_k)`: all states but the one that is differentiated are held constant."""
    sides = [n for n in expr.walk(formula) if isinstance(n, Partial) and all(isinstance(v, Var) for v in n.args[:2])]
    names = {v.name for n in sides for v in n.args[:2]}
    others = tuple(
        name for name in question.system.equations if name not in names and name != question.system.loss_name
    )
    if not question.hold and len(names) == 1 and others:
        (own,) = names
        sentence = f"everything but {own} is held constant: one path only"
        yield Taken(replace(question, hold=others), formula, (Assumption(sentence, "missing-path"),))


def gates_of(system: System) -> tuple[str, ...]:
    """The states that are a sigmoid, or another function into the unit interval, and a factor somewhere."""
    factors = {
        v.name
        for equation in system.equations.values()
        for node in expr.walk(equation.rhs)
        if isinstance(node, (expr.Had, expr.Scale))
        for v in expr.variables(node)
    }
    return tuple(
        name
        for name, equation in system.equations.items()
        if isinstance(equation.rhs, Apply) and equation.rhs.function in UNIT_INTERVAL and name in factors
    )


def _differentiates(formula: Equals) -> bool:
    return any(isinstance(n, (Partial, expr.Pulled, expr.GradientOf)) for n in expr.walk(formula)) or any(
        v.marks for v in expr.variables(formula)
    )


def immediate(question: Question, formula: Equals, claim: Claim) -> Iterator[Taken]:
    """`∂c_t/∂c_{t-1}`, `∂a_{t,i}/∂W_{jk}` on the left is the immediate partial."""
    found = [n for n in expr.walk(formula.lhs) if isinstance(n, (Partial, expr.GradientOf)) and not n.immediate]
    if len(found) != 1 or isinstance(formula.lhs, (expr.Sum, expr.Add)):
        return
    (node,) = found
    y, x = node.args[:2]
    name = y.args[0] if isinstance(y, expr.Entry) else y
    if not isinstance(name, Var) or name.name == question.system.loss_name:
        return
    direct = Partial(y, x, 1, node.args[3]) if isinstance(node, Partial) else expr.GradientOf(y, x, 1)
    sentence = (
        f"{text(node)} is the immediate partial: all else that the equation of {text(name)} reads is held constant"
    )
    kind = "double-count" if is_parameter(question.system, x) else "missing-path"
    yield Taken(question, Equals(expr.replace(formula.lhs, {node: direct}), formula.rhs), (Assumption(sentence, kind),))


def loss(question: Question, formula: Equals, claim: Claim) -> Iterator[Taken]:
    """The loss is taken at the last step only, where nothing says at which steps it is, and the network has a last one.

    A line that writes the gradient of what the loss reads at step t has a loss there.
    """
    system, lhs = question.system, formula.lhs
    backwards = any(max(offset) > 0 for _, _, offset in system.reads)
    if question.loss is not None or system.loss != "every" or backwards or system.loss_name not in system.equations:
        return
    direct = {v.name for v in expr.variables(system.equations[system.loss_name].rhs)}
    own = {without_mark(v) for v in expr.variables(lhs)}
    marked = {without_mark(v) for v in expr.variables(formula) if v.marks}
    terms = any(isinstance(n, expr.GradientOf) for n in expr.walk(formula))
    if marked and not terms and not (marked & direct) - own:
        sentence = "the loss is taken at the last step only: no loss term of step t"
        yield Taken(replace(question, loss="last"), formula, (Assumption(sentence, "missing-path"),))


def steps_from_zero(question: Question, formula: Equals, claim: Claim) -> Iterator[Taken]:
    """Steps are numbered 0 … T-1 in a sum whose other sums begin at 1: its end is the last step."""
    if question.system.lattice.dimension != 1:
        return
    (length,) = question.system.lattice.lengths
    sums = [n for n in expr.walk(formula) if isinstance(n, expr.Sum)]
    ends = {hi for n in sums for _, lo, hi in n.args[1:] if lo == 0}
    if length - 1 in ends:
        moved = expr.rewrite(formula, lambda node: _to_the_last_step(node, length))
        sentence = f"the losses are numbered 0 to {length}-1, the last one is that of the last step, and h_0 is given"
        yield Taken(question, moved, (Assumption(sentence, "index"),))


def _to_the_last_step(node: expr.Node, length: Symbol) -> expr.Node:
    if not isinstance(node, expr.Sum):
        return node
    ranges = [(i, lo, length if lo == 0 and hi == length - 1 else hi) for i, lo, hi in node.args[1:]]
    return expr.Sum(node.args[0], *ranges)


def start_at_zero(question: Question, formula: Equals, claim: Claim) -> Iterator[Taken]:
    """The states before the first step are zero, where nothing says what they are, and the line does not write them."""
    system = question.system
    given = {n: "zero" for n, kind in system.boundary.items() if kind == "given" and n in system.equations}
    if _differentiates(formula):
        return
    written = (v for v in expr.variables(formula) if v.name in given and v.index)
    if given and not any(all(i.is_Integer and i < 1 for i in v.index) for v in written):
        changed = System.of(replace(system.parts, boundary={**system.boundary, **given}))
        sentence = "the states before the first step are zero"
        yield Taken(replace(question, system=changed), formula, (Assumption(sentence, "boundary"),))


def last_step(question: Question, formula: Equals, claim: Claim) -> Iterator[Taken]:
    """A letter that is no index of the network, `τ`, stands for the last step."""
    if question.system.lattice.dimension != 1:
        return
    (index,), (length,) = question.system.lattice.indices, question.system.lattice.lengths
    free = {s for s in index_letters(formula) if str(s) in free_indices(formula)}
    # Beside another letter, k of ∂h_t/∂h_k, it is a step like any other.
    for letter in free - {index, length} if len(free - {length}) == 1 else ():
        if length not in free:
            sentence = f"{text(expr.Relation('=', letter, length))}: it is the last step"
            yield Taken(question, expr.at(formula, {letter: length}), (Assumption(sentence, "boundary"),))


def one_before_the_other(question: Question, formula: Equals, claim: Claim) -> Iterator[Taken]:
    """`∂h_t/∂h_k = J_t ∂h_{t-1}/∂h_k` is meant for k < t."""
    found = [n.args[:2] for n in expr.walk(formula.lhs) if isinstance(n, (Partial, expr.GradientOf))]
    pairs = [(y.index, x.index) for y, x in found if isinstance(y, Var) and isinstance(x, Var)]
    for above, below in dict.fromkeys(pairs):
        if len(above) != 1 or len(below) != 1 or not above[0].free_symbols ^ below[0].free_symbols:
            continue
        for first, last in ((below[0], above[0]), (above[0], below[0])):
            condition = expr.Relation("<", first, last)
            under = replace(question, conditions=(*question.conditions, condition))
            yield Taken(under, formula, (Assumption(text(condition), "boundary"),))


def beyond(question: Question, formula: Equals, claim: Claim) -> Iterator[Taken]:
    """What lies beyond the first and the last step is zero, in a line that can't be read without it."""
    if question.ask(formula).reason in (NOWHERE, AT_FEW_STEPS):
        sentence = "what lies beyond the first and the last step counts as zero"
        yield Taken(replace(question, beyond=True), formula, (Assumption(sentence, "bounds"),))


def numbers(question: Question, formula: Equals, claim: Claim) -> Iterator[Taken]:
    """Every quantity is a number, in a text that works with numbers elsewhere."""
    if claim.scope is not None and claim.scope.scalar:
        return
    sentence = "every quantity is a number: then factors commute"
    yield Taken(replace(question, ones=True), formula, (Assumption(sentence, "order"),))


def arguments(question: Question, formula: Equals, claim: Claim) -> Iterator[Taken]:
    """One letter that nothing defines stands for the argument of each activation in turn: `tanh'(θ)` beside `σ'(θ)`."""
    known = {target.name for target, _ in question.definitions} | set(question.system.variables)
    letters = {v for v in expr.variables(formula) if v.name not in known and not v.marks}
    places = [
        n for n in expr.walk(formula) if isinstance(n, Apply) and len(n.arguments) == 1 and n.arguments[0] in letters
    ]
    terms = _with_places(formula, places)
    options = [
        _arguments_of(question.system, place.function, place.shape)
        for place in places
        for _ in range(terms.get(place, 0))
    ]
    if not places or not all(options) or prod(map(len, options)) > MOST_ARGUMENTS:
        return
    names = ", ".join(sorted({v.name for v in letters}))
    for chosen in product(*options):
        said = f"{names} stands for the argument of each activation in turn"
        yield Taken(question, _with_arguments(formula, places, list(chosen)), (Assumption(said, "activation"),))


def _arguments_of(system: System, function: str, shape: expr.Shape) -> list[expr.Node]:
    return [
        inner
        for equation in system.equations.values()
        for inner in [preactivation(equation)]
        if inner is not None
        and isinstance(equation.rhs, Apply)
        and equation.rhs.function == function
        and inner.shape == shape
    ]


def _with_places(formula: Equals, places: list[Apply]) -> dict[Apply, int]:
    """How many terms of the right side each place stands in."""
    terms = formula.rhs.args if isinstance(formula.rhs, expr.Add) else (formula.rhs,)
    return {place: sum(place in expr.walk(term) for term in terms) for place in places}


def _with_arguments(formula: Equals, places: list[Apply], chosen: list[expr.Node]) -> Equals:
    """Each term of the right side with an argument of its own."""
    terms = list(formula.rhs.args) if isinstance(formula.rhs, expr.Add) else [formula.rhs]
    for place in places:
        for n, term in enumerate(terms):
            if place in expr.walk(term):
                terms[n] = expr.replace(term, {place: Apply(place.args[0], Integer(place.order), chosen.pop(0))})
    return Equals(formula.lhs, expr.add(*terms))


FAMILIES: tuple[tuple[Family, ...], ...] = (
    (uses_once,),
    (gates,),
    (immediate,),
    (alone,),
    (loss,),
    (steps_from_zero,),
    (arguments,),
    (start_at_zero,),
    (last_step,),
    (one_before_the_other,),
    (beyond,),
)
"""What may be meant anywhere, together with what."""

AMONG_NUMBERS: tuple[tuple[Family, ...], ...] = ((numbers,), (numbers, arguments))
"""What may be meant in a text that works with numbers elsewhere."""
