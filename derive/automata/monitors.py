"""A claim about a network, watched while the network runs: is it true at every step of every string?

The right side of `y[t] = Π_{i=1..t} x[i]` becomes a machine beside the network (`derive.automata.wiring`); what is
explored are the states of both together, breadth first.  If no step of the exploration contradicts the claim, no string
of any length does; if one does, the string that leads to it is a shortest one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Basic, Symbol, Tuple

from derive import expr
from derive.automata.arrays import Inapplicable
from derive.automata.machines import Exploration, Letter, Machine, shown
from derive.automata.terms import Outside, Slot, chosen, compared, every, holds, value
from derive.automata.wiring import CLOCK, Wiring
from derive.evaluate import Array
from derive.expr import Node
from derive.system import System

SIGNS = {"=": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


@dataclass(frozen=True)
class Check:
    """`left op right`, entry by entry, at the steps at which `guard` is true."""

    op: str
    left: Array
    right: Array
    guard: Any = True

    @property
    def truth(self) -> Any:
        pairs = zip(self.left.flat, self.right.flat, strict=True)
        return every(compared(self.op, a, b) for a, b in pairs)

    @property
    def terms(self) -> list[Any]:
        return [*self.left.flat, *self.right.flat, self.guard]


@dataclass(frozen=True)
class Counterexample:
    """A shortest string after which the two sides differ."""

    inputs: str
    string: tuple[Letter, ...]
    left: str
    right: str

    def __str__(self) -> str:
        return f"{self.inputs}: {self.left} against {self.right} at step {len(self.string)}"


@dataclass(frozen=True)
class Outcome:
    """What an exploration found: `steps` at which something was claimed, and the states of either side."""

    counterexample: Counterexample | None
    steps: int
    network: int
    specification: int

    @property
    def sentence(self) -> str:
        """What a proof rests on."""
        compared = f", compared with the specification's {self.specification}" if self.specification else ""
        return f"{self.network} reachable state{'s' * (self.network != 1)}{compared}, for strings of every length"


@dataclass(frozen=True)
class Monitor:
    """A machine, what is claimed of it, and which of its memory is the network's own."""

    machine: Machine
    checks: tuple[Check, ...]
    own: frozenset[Slot]

    def outcome(self, values: Mapping[Slot, Any] | None = None) -> Outcome:
        """Every state, or as many as it takes to find a counterexample.  Raises `Unset`, `Endless`."""
        fixed = self.machine.fixed(values)
        exploration, steps = Exploration(fixed), 0
        for move in exploration:
            for check in self.checks:
                found = self.judged(check, move.env)
                steps += found is not None
                if found:
                    string = (*exploration.string(move.source), exploration.letters[move.letter])
                    wrong = Counterexample(shown(self.machine, string), string, *found)
                    return Outcome(wrong, steps, *self._states(exploration))
        return Outcome(None, steps, *self._states(exploration))

    def _states(self, exploration: Exploration) -> tuple[int, int]:
        """How many states each side has by itself; the clock that a claim brings along counts for neither."""
        memory = [(n, slot) for n, slot in enumerate(self.machine.memory) if not slot.name.endswith(CLOCK)]
        places = [[n for n, slot in memory if (slot in self.own) == own] for own in (True, False)]
        network, other = ({tuple(map(str, (state[n] for n in ns))) for state in exploration.states} for ns in places)
        return len(network), len(other) if places[1] else 0

    @staticmethod
    def judged(check: Check, env: Mapping[Slot, Any]) -> tuple[str, ...] | None:
        """The two sides where they differ; nothing where the claim is true; None where it says nothing."""
        try:
            if not value(check.guard, env):
                return None
            left, right = ([value(term, env) for term in side.flat] for side in (check.left, check.right))
        except Outside:
            return None
        if all(holds(check.op, a, b) for a, b in zip(left, right, strict=True)):
            return ()
        return ", ".join(map(str, left)), ", ".join(map(str, right))


def of_claim(wiring: Wiring, formula: Basic, conditions: Sequence[Basic], letter: Symbol) -> Monitor:
    """The monitor of a claim for every step `letter` at which the conditions hold.  Raises `Inapplicable`."""
    ahead = _ahead(formula, letter)
    if ahead:
        # `y[t+1] = …` for t ≥ 1 is `y[t] = …` for t ≥ 2: what is read has come by then.
        conditions = (*conditions, expr.Relation(">=", letter, 1))
        formula, *conditions = (expr.at(said, {letter: letter - ahead}) for said in (formula, *conditions))
    guard = every(wiring.condition(said) for said in conditions)
    checks = tuple(_checks(wiring, formula, letter, guard))
    machine = wiring.machine([term for check in checks for term in check.terms])
    own = frozenset(s for s in machine.memory if s.name in wiring.system.variables)
    return Monitor(machine, checks, own)


def _ahead(formula: Basic, letter: Symbol) -> int:
    """How many steps beyond its own a formula reads."""
    read = [v.index[0] for v in expr.variables(formula) if v.index]
    folds = [node.args[1] for node in expr.walk(formula) if isinstance(node, (expr.Sum, expr.Product))]
    offsets = [e - letter for e in (*read, *(hi for _, _, hi in folds)) if e.has(letter)]
    return max((int(o) for o in offsets if o.is_Integer), default=0)


def _checks(wiring: Wiring, formula: Basic, letter: Symbol, guard: Any) -> Iterator[Check]:
    if isinstance(formula, Tuple):
        for part in formula.args:
            yield from _checks(wiring, part, letter, guard)
    elif isinstance(formula, expr.Implies):
        premise = [check.truth for check in _checks(wiring, formula.lhs, letter, True)]
        yield from _checks(wiring, formula.rhs, letter, _both(guard, every(premise)))
    elif isinstance(formula, (expr.Equals, expr.Relation)):
        yield _check(wiring, formula, letter, guard)
    else:
        raise Inapplicable(f"{formula} is no comparison")


def _check(wiring: Wiring, formula: Any, letter: Symbol, guard: Any) -> Check:
    op = SIGNS.get("=" if isinstance(formula, expr.Equals) else formula.op)
    sides = formula.lhs, formula.rhs
    if op is None or not all(isinstance(side, Node) for side in sides) or sides[0].shape != sides[1].shape:
        raise Inapplicable(f"{formula} is no comparison of values of one shape")
    return Check(op, wiring.terms(formula.lhs, letter), wiring.terms(formula.rhs, letter), guard)


def _both(guard: Any, condition: Any) -> Any:
    """The condition counts only where the guard is true: elsewhere it may read what is not there."""
    return condition if guard is True else chosen(guard, condition, False)


def of_systems(network: Wiring, specification: Wiring, pairs: Sequence[tuple[str, str]]) -> Monitor:
    """The monitor of two systems that read one string: each pair of outputs is equal at every step."""
    checks = tuple(
        Check("==", *(_output(wiring, name) for wiring, name in zip((network, specification), pair, strict=True)))
        for pair in pairs
    )
    first = network.machine([term for check in checks for term in check.left.flat])
    second = specification.machine([term for check in checks for term in check.right.flat])
    return Monitor(first.joined(second), checks, frozenset(first.memory))


def _output(wiring: Wiring, name: str) -> Array:
    system: System = wiring.system
    letter = system.lattice.indices[0]
    return wiring.terms(system.variables[name].var.at((letter,)), letter)
