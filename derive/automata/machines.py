"""A machine: what a network keeps from step to step, and how a step changes it.

    bits         the entries of the inputs at this step, in order; a *letter* gives each of them 0 or 1
    definitions  entry of a state at this step -> its term, in an order of evaluation
    memory       the entries that later steps read, so many steps back; a *state* gives each of them a value
    parameters   entry -> its value, which may be made of others

Only what the outputs depend on is kept, so that two strings lead to one state where nothing asked can tell them apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import Any, TypeAlias

from derive.automata.arrays import Inapplicable
from derive.automata.terms import Outside, Slot, Unset, slots, value
from derive.errors import DeriveError

Letter: TypeAlias = "tuple[int, ...]"
State: TypeAlias = "tuple[Any, ...]"

MOST_BITS = 8
"""Bits that one step may read: 256 letters."""

MOST_STATES = 5_000
"""States that an exploration visits."""

MOST_MOVES = 40_000
"""Steps that it takes: a state is left on every letter."""


LARGEST_NUMBER = 512
"""Bits of a number that a state keeps: squared at every step, a number would soon fill the memory."""


class Endless(DeriveError):
    """More states than are explored: the network may have no finite automaton."""


@dataclass(frozen=True)
class Machine:
    name: str
    inputs: tuple[tuple[str, int], ...]
    """Each input with the number of its bits."""
    bits: tuple[Slot, ...]
    definitions: Mapping[Slot, Any]
    memory: tuple[Slot, ...]
    start: Mapping[Slot, Any]
    parameters: Mapping[Slot, Any]

    @property
    def letters(self) -> tuple[Letter, ...]:
        return tuple(product((0, 1), repeat=len(self.bits)))

    @property
    def unset(self) -> dict[str, Slot]:
        """The parameters that have no number."""
        return {slot.name: slot for slot, given in self.parameters.items() if isinstance(given, Unset)}

    def fixed(self, values: Mapping[Slot, Any] | None = None) -> Fixed:
        """The machine with a number for every parameter; `values` overrules."""
        env: dict[Slot, Any] = dict(values or {})
        for slot, term in self.parameters.items():
            if slot not in env:
                env[slot] = attempted(term, env)
        return Fixed(self, env, tuple(attempted(self.start[slot], env) for slot in self.memory))

    def about(self, terms: Sequence[Any]) -> Machine:
        """What it takes of the machine to work out these terms."""
        kept = needed(self.definitions, terms)
        memory = tuple(slot for slot in self.memory if slot in kept)
        definitions = {slot: term for slot, term in self.definitions.items() if slot in kept}
        start = {slot: self.start[slot] for slot in memory}
        return replace(self, definitions=definitions, memory=memory, start=start)

    def joined(self, other: Machine) -> Machine:
        """Both machines on one string, which has the inputs of both; their states must have different names."""
        sizes = dict(self.inputs)
        for name, width in other.inputs:
            if sizes.setdefault(name, width) != width:
                raise DeriveError(f"{name} has {sizes[name]} bits in {self.name} and {width} in {other.name}")
        for slot in self.start.keys() & other.start.keys():
            first, second = self.start[slot], other.start[slot]
            if str(first) != str(second):
                law = f"{slot.name} before the first step is {first} for one and {second} for the other"
                raise DeriveError(f"{law}; give {self.name} and {other.name} one value, {slot.name}[0]={second}")
        return Machine(
            f"{self.name} and {other.name}",
            tuple(sizes.items()),
            (*self.bits, *(slot for slot in other.bits if slot not in self.bits)),
            {**self.definitions, **other.definitions},
            (*self.memory, *(slot for slot in other.memory if slot not in self.start)),
            {**self.start, **other.start},
            {**self.parameters, **other.parameters},
        )


def attempted(term: Any, env: Mapping[Slot, Any]) -> Any:
    """The value of a term, or the exception that says why it has none, for whoever reads it to raise."""
    if isinstance(term, Exception):
        return term
    try:
        return value(term, env)
    except (Outside, Unset) as error:
        return error
    except RecursionError:
        raise Inapplicable("an equation is nested too deeply; give its parts names of their own") from None


@dataclass(frozen=True)
class Fixed:
    """A machine whose parameters have numbers."""

    machine: Machine
    constants: Mapping[Slot, Any]
    start: State

    def step(self, state: State, letter: Sequence[int]) -> dict[Slot, Any]:
        """What everything is worth at one step."""
        env = {**self.constants, **dict(zip(self.machine.memory, state, strict=True))}
        env.update(zip(self.machine.bits, letter, strict=True))
        for slot, term in self.machine.definitions.items():
            env[slot] = attempted(term, env)
        return env

    def after(self, env: Mapping[Slot, Any]) -> State:
        """The state that a step leaves."""
        return tuple(env[slot._replace(lag=slot.lag - 1)] for slot in self.machine.memory if slot.lag is not None)

    def run(self, string: Sequence[Letter]) -> Iterator[dict[Slot, Any]]:
        """Step by step."""
        state = self.start
        for letter in string:
            env = self.step(state, letter)
            yield env
            state = self.after(env)


@dataclass(frozen=True)
class Move:
    """One step of an exploration: from a state (its number), on a letter, to a state; `env` is what is worth what."""

    source: int
    letter: int
    env: Mapping[Slot, Any]
    target: int


class Exploration:
    """Every state that some string leads to, breadth first, so that the string that is kept for each is a shortest one."""

    def __init__(self, fixed: Fixed):
        self.fixed, self.letters = fixed, fixed.machine.letters
        self.most = min(MOST_STATES, MOST_MOVES // len(self.letters))
        self.states: list[State] = [fixed.start]
        self.came: list[tuple[int, int] | None] = [None]

    def __iter__(self) -> Iterator[Move]:
        """Raises `Endless` where there are more states than are explored."""
        numbers = {_key(self.fixed.start): 0}
        source = 0
        while source < len(self.states):
            for n, letter in enumerate(self.letters):
                env = self.fixed.step(self.states[source], letter)
                after = self.fixed.after(env)
                target = numbers.setdefault(_key(after), len(self.states))
                if target == len(self.states):
                    self._add(after, (source, n))
                yield Move(source, n, env, target)
            source += 1

    def _add(self, state: State, came: tuple[int, int]) -> None:
        if len(self.states) >= self.most:
            raise Endless(
                f"{self.fixed.machine.name} has more than {self.most} reachable states, which are as many as are "
                f"explored; after {len(self.string(came[0]))} steps it still finds new ones. A proof for every length "
                "needs finitely many: is an activation missing that makes the state 0 or 1?"
            )
        if any(_bits(entry) > LARGEST_NUMBER for entry in state):
            raise Endless(
                f"{self.fixed.machine.name} reaches a state with a number of more than {LARGEST_NUMBER} bits after "
                f"{len(self.string(came[0])) + 1} steps, so that there is no end of states; is an activation missing?"
            )
        self.states.append(state)
        self.came.append(came)

    def string(self, state: int) -> tuple[Letter, ...]:
        """A shortest string that leads to a state."""
        found = []
        while (came := self.came[state]) is not None:
            state, letter = came
            found.append(self.letters[letter])
        return tuple(reversed(found))


def _bits(entry: Any) -> int:
    """The size of a number, or of what an affine form begins with."""
    if isinstance(entry, (int, Fraction)):
        return max(entry.numerator.bit_length(), entry.denominator.bit_length())
    return max((_bits(part) for part in getattr(entry, "parts", ())), default=0)


def _key(state: State) -> tuple[Any, ...]:
    """Exceptions stand for what is unset or outside, whichever object they are."""
    return tuple(type(entry) if isinstance(entry, Exception) else entry for entry in state)


def shown(machine: Machine, string: Sequence[Letter]) -> str:
    """`x = 1, 0, 1`; the bits of one step stand together."""
    said, first = [], 0
    for name, width in machine.inputs:
        steps = ("".join(map(str, letter[first : first + width])) for letter in string)
        said.append(f"{name} = {', '.join(steps)}")
        first += width
    return "; ".join(said)


def needed(definitions: Mapping[Slot, Any], asked: Sequence[Any]) -> set[Slot]:
    """The slots that terms depend on, at this step and at all before."""
    found: set[Slot] = set()
    pending = list(slots(asked))
    while pending:
        slot = pending.pop()
        if slot in found:
            continue
        found.add(slot)
        if slot.lag:
            pending.append(slot._replace(lag=slot.lag - 1))
        elif slot in definitions:
            pending.extend(slots([definitions[slot]]))
    return found
