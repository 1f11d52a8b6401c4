"""Networks of threshold units over bits: finite things, whose claims are decided in exact rationals.

Where a document says what the activation is, `f(z) = [z ≥ ½]`, and gives every parameter that a claim depends on a number,
a claim about the network is proved for strings of every length from the states that the network can reach
(`derive.automata`).  A claim that no automaton can watch is settled on every string of bits up to a length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from time import monotonic
from typing import TYPE_CHECKING, Any

from numpy import array
from sympy import Basic, Symbol

from derive import expr
from derive.automata.arrays import Inapplicable
from derive.automata.cells import ranges_of
from derive.automata.monitors import Counterexample, Monitor, of_claim
from derive.automata.settings import Named, Settings
from derive.automata.terms import Scalar, Slot, Term, Terms
from derive.automata.wiring import Wiring
from derive.errors import DeriveError
from derive.evaluate import Array, evaluate
from derive.expr import Equals, Node, Var
from derive.oracles.points import free_indices
from derive.reader import limits
from derive.reader.claims import Claim
from derive.reader.understand import read
from derive.system import System
from derive.verdicts.judge import Judged
from derive.verdicts.report import Certificate
from derive.verdicts.strings import Function, Given, Key, Run, Unset

if TYPE_CHECKING:
    from derive.verdicts.verify import Reviewed

READING = "the inputs are bits, 0 or 1"
STEP = "step"


def judge(review: Reviewed, claim: Claim) -> Judged | None:
    """The verdict on a claim about a network of bits; None where the claim is no such thing, or not settled by that.

    It *fails* if every reading of it is false on some string, and no words may say that it is not meant there.
    """
    network = network_of(review, claim)
    if network is None:
        return None
    found = []
    for understood in claim.readings:
        outcome = network.prove(understood.formula) or network.enumerate(understood.formula)
        if outcome is None:
            return None
        if outcome.counterexample is None:
            sure = Certificate(outcome.method, points=outcome.points, note=outcome.note)
            return Judged("holds", understood.formula, understood, (READING,), certificate=sure)
        found.append((understood, outcome))
    if not found or any(isinstance(said, (expr.Words, Equals)) for said in claim.where):
        return None
    understood, outcome = found[0]
    assert outcome.counterexample is not None
    at, left, right = outcome.counterexample
    sure = Certificate(outcome.method, at=at, left=left, right=right)
    return Judged("fails", understood.formula, understood, (READING,), certificate=sure)


# --- the network ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What came of running a network on every string: at how many points the claim was true, or where it is false."""

    points: int = 0
    note: str = ""
    counterexample: tuple[str, str, str] | None = None
    method: str = "enumeration"


@dataclass(frozen=True)
class Network:
    """A system over one index, with its settings and its activations."""

    system: System
    given: Given
    unroll: int | None = None

    def prove(self, formula: Basic) -> Outcome | None:
        """Every string of every length, by the reachable states; None where no automaton can watch the formula."""
        try:
            monitor = self.monitor(formula)
            free = monitor.machine.unset
            if free:
                return self.prove_for_all(formula, monitor, free)
            found = monitor.outcome()
        except DeriveError:
            return None
        if found.counterexample is not None:
            return self.refuted(formula, found.counterexample)
        return Outcome(note=found.sentence, method="automaton") if found.steps else None

    def prove_for_all(self, formula: Basic, monitor: Monitor, free: Mapping[str, Slot]) -> Outcome | None:
        """The same for every value of the parameters that a claim names and nothing sets: `c ≤ -1 ⇒ …`."""
        if not free.keys() <= {v.name for v in expr.variables(formula)}:
            return None
        found = ranges_of(monitor, free)
        if found.outcome.counterexample is not None:
            return self.refuted(formula, found.outcome.counterexample)
        if not found.outcome.steps:
            return None
        names = " and ".join(free)
        note = f"every value of {names}, which fall into {len(found.cells)} cells, for strings of every length"
        return Outcome(note=note, method="automaton")

    def refuted(self, formula: Basic, wrong: Counterexample) -> Outcome:
        at = f"{wrong.inputs} at {self.letter(formula)} = {len(wrong.string)}"
        return Outcome(counterexample=(at, wrong.left, wrong.right), method="automaton")

    def monitor(self, formula: Basic, settings: Settings | None = None) -> Monitor:
        """The claim beside the network that it is about, with other settings if asked.  Raises `Inapplicable`."""
        if self.unroll is not None or not self.is_causal:
            raise Inapplicable("a claim about one length, or a step that depends on later ones, takes no automaton")
        wiring = Wiring(self.system, settings_of(self.given) if settings is None else settings)
        return of_claim(wiring, formula, self.given.conditions, self.letter(formula))

    def letter(self, formula: Basic) -> Symbol:
        """The step that a formula is about; a claim about the last step of every string is one about every step."""
        letters = [s for s in formula.free_symbols if str(s) in free_indices(formula)]
        if len(letters) != 1:
            raise Inapplicable("a claim that an automaton watches is about one step")
        return letters[0]

    def enumerate(self, formula: Basic) -> Outcome | None:
        """Every string, the shorter first; None where the formula has no value, or is true for want of a premise."""
        points, start = 0, monotonic()
        try:
            asked = Asked(self, formula)
            for run in self.runs():
                for env in asked.new(run):
                    wrong = run.wrong(formula, env)
                    if wrong is not None:
                        return Outcome(counterexample=(run.described(env), *wrong))
                    points += run.counted
                if monotonic() - start > limits.MOST_SECONDS:
                    return None
        except (DeriveError, Unset):
            return None
        return Outcome(points, f"all {asked.strings} strings of {self.steps}") if points else None

    @property
    def steps(self) -> str:
        return f"{self.unroll} steps" if self.unroll is not None else f"up to {self.longest} steps"

    def runs(self) -> Iterator[Run]:
        lengths = range(1, self.longest + 1)
        if self.unroll is not None and self.unroll not in lengths:
            raise Unset
        before: dict[tuple[int, ...], dict[Key, Any]] = {}
        for T in lengths if self.unroll is None else (self.unroll,):
            known, before = before, {}
            for bits in product((0, 1), repeat=T * self.width):
                run = Run(self.system, self.given, T, bits, values=dict(known.get(bits[: -self.width], {})))
                yield run
                if self.is_causal:
                    before[bits] = run.values

    @cached_property
    def is_causal(self) -> bool:
        """Whether no step depends on what comes after it."""
        length = str(self.system.lattice.lengths[0])
        reads_on = any(offset[0] > 0 for _, _, offset in self.system.reads)
        return not reads_on and all(length not in free_indices(e.rhs) for e in self.system.equations.values())

    @cached_property
    def width(self) -> int:
        """How many bits a step reads.  Raises `Unset` where that is no number."""
        sizes = [size for v in self.system.inputs for size in v.shape]
        if not sizes or not all(size.is_Integer for size in sizes):
            raise Unset
        return sum(int(v.shape[0] * v.shape[1]) for v in self.system.inputs)

    @cached_property
    def longest(self) -> int:
        """The number of steps up to which all strings are no more than are run."""
        steps = (limits.MOST_STRINGS.bit_length() - 1) // self.width
        if steps == 0:
            raise Unset
        return steps


class Asked:
    """The points that are left to ask about: what no later bit can change was settled on the string that is shorter."""

    def __init__(self, network: Network, formula: Basic):
        self.formula, self.width, self.strings = formula, network.width, 0
        self.forgets = not network.is_causal or str(network.system.lattice.lengths[0]) in free_indices(formula)
        self.settled: set[tuple[Any, ...]] = set()

    def new(self, run: Run) -> Iterator[dict[str, int]]:
        self.strings += 1
        for env in run.points(self.formula):
            at = tuple(v for name, v in env.items() if name != run.length)
            is_known = not self.forgets and (at, run.bits[: -self.width]) in self.settled
            if not is_known:
                yield env
            if is_known or not run.outside:
                self.settled.add((at, run.bits))


def settings_of(given: Given) -> Settings:
    """What a document gives, as terms; its functions have to be thresholds."""

    def value(node: Node, named: Named) -> Array:
        return evaluate(node, Terms({}), lambda var, at: named(var.name), {}, {})

    def applied(name: str, function: Function, z: Scalar) -> Term:
        terms = Terms({})
        body = evaluate(function.body, terms, lambda var, at: argument(function, var, z), {}, {})
        return Term("bit", body[0, 0], name)

    def argument(function: Function, var: Var, z: Scalar) -> Array:
        if var.name != function.argument.name:
            raise Inapplicable(f"{var} is not the argument of the function")
        return array([[z]], dtype=object)

    values = {key: partial(value, node) for key, node in given.settings.items()}
    return Settings(values, {name: partial(applied, name, f) for name, f in given.functions.items()})


def given_in(path: str, number: int | None = None) -> tuple[System, Settings]:
    """A system of a document, with all that the document sets for it; an initial value that it doesn't is zero."""
    document = read(path)
    system = document.system(number or 1)
    sets = [c.formula for c in document.claims if c.kind == "sets" and c.system is system]
    given = Given(*_settings(formula for formula in sets if isinstance(formula, Equals)))
    return system, replace(settings_of(given), zero=True)


def network_of(review: Reviewed, claim: Claim) -> Network | None:
    """The system of a claim, if each of its activations is a threshold, with what the document has set by then."""
    system = claim.system
    if system is None or system.lattice.dimension != 1:
        return None
    settings, functions = _settings(_set_before(review, claim))
    applied = {n.function for e in system.equations.values() for n in expr.walk(e.rhs) if isinstance(n, expr.Apply)}
    if not applied or not applied <= {*functions, STEP}:
        return None
    return Network(system, Given(settings, functions, review.question(claim).conditions), claim.unroll)


def _settings(formulas: Iterable[Equals]) -> tuple[dict[Key, Node], dict[str, Function]]:
    functions: dict[str, Function] = {}
    settings: dict[Key, Node] = {}
    for formula in formulas:
        left = formula.lhs
        if isinstance(left, Var) and all(i < 1 for i in left.index):
            settings[left.name, tuple(map(int, left.index))] = formula.rhs
        elif isinstance(left, expr.Apply) and isinstance(left.arguments[0], Var):
            functions[left.function] = Function(left.arguments[0], formula.rhs)
    return settings, functions


def _set_before(review: Reviewed, claim: Claim) -> Iterator[Equals]:
    """What the document sets before the claim, or beside it, in its order."""
    for one in review.claims:
        stands = one.kind == "sets" and (one.n < claim.n or one.display == claim.display)
        if stands and one.system is claim.system and isinstance(one.formula, Equals):
            yield one.formula
