"""A search for weights with which a network meets its specification on strings of every length.

Over bits, a unit is the function that its weights make of the bits that it reads, and many weights make the same one: each
function is tried once, with the smallest weights that make it.  The outputs need no trying: they have to be what the
specification says, so that a choice of the other units either asks two answers of one output for the same bits, and is
out, or says what function the output has to be.  Strings on which a choice was out are kept, and tried on the next ones
first.  What is found is proved again, by the exploration that judges every other network.

    search(network, specification, "W_1,W_2,b_1,h[0]")     a network with open weights
    search(2, specification)                               one with two hidden units and an output that is fed back
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import prod
from typing import Any, TypeAlias

from derive.automata.arrays import Inapplicable
from derive.automata.machines import Machine, attempted
from derive.automata.proofs import PREFIX, Posed, Proof
from derive.automata.settings import number
from derive.automata.stated import Stated, stated
from derive.automata.tables import Automaton
from derive.automata.terms import Slot, Unset, slots
from derive.automata.units import Table, Unit
from derive.automata.wiring import CLOCK
from derive.errors import DeriveError
from derive.system import System

GRID = tuple(Fraction(n, 2) for n in (0, 1, -1, 2, -2, 3, -3, 4, -4))
"""The weights that are tried, unless others are named: multiples of 1/2 from -2 to 2."""
STARTS = (Fraction(0), Fraction(1))
"""The initial values that are tried."""

MOST_CHOICES = 1_000_000
"""Of functions for all units but the outputs."""
KEPT = 12
"""Strings that new choices are tried on first."""

Values: TypeAlias = "dict[Slot, Fraction]"


@dataclass(frozen=True)
class Search:
    """What a search came to; true if it found weights."""

    weights: str
    """As settings, `W=[[-1,-1],[1,1]], b=[1/2,-1]`; empty where there are none."""
    candidates: int
    """How many choices of weights the grid has."""
    choices: int
    """How many of them had to be told apart: choices of functions for the units that are no outputs."""
    proof: Proof | None

    def __bool__(self) -> bool:
        return self.proof is not None

    def data(self) -> dict[str, Any]:
        counted = {"candidates": self.candidates, "choices": self.choices}
        return {"weights": self.weights, **counted, "proof": self.proof and self.proof.data()}

    def __str__(self) -> str:
        networks = f"{self.choices:,} different network{'s' * (self.choices != 1)}"
        counted = f"{self.candidates:,} choices of weights, which come to {networks} to try"
        if self.proof is None:
            return f"none of the weights in the grid meets the specification ({counted})"
        return f"{self.weights}\n  {self.proof}\n  ({counted})"


def search(
    network: System | str | int,
    specification: System | str,
    weights: str | Sequence[str] = (),
    values: str | Mapping[str, Any] = "",
    grid: Sequence[Any] = GRID,
) -> Search:
    """Weights from the grid that make the network meet the specification on strings of every length, or that none do.

    `weights`: the names that are open, all parameters without a value if none are named; `h[0]` is an initial value, 0 or
    1.  A number in place of the network: so many hidden units and an output that both read.

        >>> unit, all_ones = "h[t] = step(w * x[t] + u * h[t-1] + b)", "y[t] = y[t-1] * x[t]; y[0] = 1"
        >>> print(search(unit, all_ones, values="h[0]=1").weights)
        w=1/2, u=1/2, b=-1/2
        >>> print(search(unit, "y[t] = abs(y[t-1] - x[t])"))
        none of the weights in the grid meets the specification (729 choices of weights, which come to 1 different network to try)

    Raises `DeriveError` where nothing is open, a unit that others read is no threshold, or there is too much to try.
    """
    ours = layered(network, specification) if isinstance(network, int) else stated(network, "network")
    ours = ours.given(values)
    names = _open_names(ours, weights, isinstance(network, int))
    if not names:
        raise DeriveError(
            "every weight of the network has a value, so that none can be searched for; prove it as it is"
        )
    asked = Posed(ours, stated(specification, "specification", ours.system.inputs), names)
    return _Search(asked, names, tuple(sorted(map(number, grid), key=_size))).found()


def layered(hidden: int, specification: Any) -> Stated:
    """The network with one hidden layer whose output is fed back, for the inputs of a specification."""
    if not 1 <= hidden <= 8:
        raise DeriveError(f"a network that is searched for has 1 to 8 hidden units, found {hidden}")
    spec = stated(specification, "specification").system
    sizes = [f"{v.name}: {v.shape[0]}" for v in spec.inputs]
    if len(spec.outputs) != 1 or any(v.shape[1] != 1 for v in spec.inputs):
        raise DeriveError("a number of hidden units stands for a network with one output that reads columns of bits")
    reads = " + ".join(f"W_{v.name} @ {v.name}[t]" for v in spec.inputs)
    equations = (f"h[t] = step({reads} + u * y[t-1] + b)", "y[t] = step(v.T @ h[t] + r * y[t-1] + c)")
    return stated("; ".join([*sizes, f"h: {hidden}", "y: scalar", *equations]), "network")


def _open_names(ours: Stated, weights: str | Sequence[str], layer: bool) -> tuple[str, ...]:
    names = weights.split(",") if isinstance(weights, str) else weights
    named = tuple(name.strip() for name in names if name.strip())
    if named:
        return named
    given = {name for name, index in ours.settings.values if not index}
    starts = ("y[0]",) if layer and ("y", (0,)) not in ours.settings.values else ()
    return (*(v.name for v in ours.system.parameters if v.name not in given), *starts)


def _size(weight: Fraction) -> tuple[Any, ...]:
    """Small weights first, and of two that differ in the sign the positive one."""
    return abs(weight), weight < 0


class _Search:
    def __init__(self, asked: Posed, names: Sequence[str], grid: Sequence[Fraction]):
        self.asked, self.grid = asked, grid
        machine = asked.monitor.machine
        specification = asked.table(1)
        if specification is None:
            raise DeriveError("the specification has too many states to search for a network that meets it")
        self.specification: Automaton = specification
        for name in names:
            if not any(slot.name == name for slot in machine.parameters):
                asked.slot(name)  # raises, with the nearest name
        self.open = [s for s, given in machine.parameters.items() if s.name in names and isinstance(given, Unset)]
        ours = {s: term for s, term in machine.definitions.items() if not s.name.startswith(PREFIX)}
        if any(slot.name == CLOCK for slot in ours):
            raise Inapplicable("a network whose equations depend on the number of the step is not searched for")
        self.memory = [slot for slot in machine.memory if not slot.name.startswith(PREFIX)]
        self.shared = self._shared(machine, ours)
        outputs = [term.args[0] for check in asked.monitor.checks for term in check.left.flat]
        self.outputs = {slot: n for n, slot in enumerate(outputs)}
        self.units = [self._unit(slot, term) for slot, term in ours.items()]
        self.places = {slot: n for n, slot in enumerate((*machine.bits, *self.memory, *ours))}
        self.kept: deque[tuple[int, ...]] = deque(maxlen=KEPT)
        self.choices = 0

    def _shared(self, machine: Machine, ours: Mapping[Slot, Any]) -> list[Slot]:
        """The open values that are not the weights of one unit alone."""
        readers = [set(slots([term])) for term in ours.values()]
        starts = set(slots(machine.start.values())) | set(slots(machine.parameters.values()))
        return [s for s in self.open if s in starts or sum(s in reads for reads in readers) != 1]

    def _unit(self, slot: Slot, term: Any) -> Unit:
        reads = list(slots([term]))
        own = tuple(s for s in reads if s in self.open and s not in self.shared)
        return Unit(slot, term, tuple(s for s in reads if s.lag is not None), own, slot in self.outputs)

    def candidates_of(self, slot: Slot) -> Sequence[Fraction]:
        return STARTS if slot.name.endswith("]") else self.grid

    def found(self) -> Search:
        candidates = prod(len(self.candidates_of(slot)) for slot in self.open)
        for shared in product(*map(self.candidates_of, self.shared)):
            values = self._with(dict(zip(self.shared, shared, strict=True)))
            if values is not None:
                chosen = {slot: values.get(slot, self.grid[0]) for slot in self.open}
                return self._proved({**chosen, **values}, candidates)
        return Search("", candidates, self.choices, None)

    def _with(self, shared: Values) -> Values | None:
        fixed = self.asked.monitor.machine.fixed(shared)
        start = self.asked.monitor.machine.start
        self.start = tuple(_bit(attempted(start[slot], fixed.constants)) for slot in self.memory)
        if any(isinstance(bit, Exception) for bit in self.start):
            raise next(bit for bit in self.start if isinstance(bit, Exception))
        if any(bit not in (0, 1) for bit in self.start):
            return None
        self._tabulate(fixed.constants)
        others = [unit for unit in self.units if not unit.is_output]
        if prod(len(unit.answers) for unit in others) > MOST_CHOICES:
            raise DeriveError(
                f"there are more than {MOST_CHOICES:,} choices of units; name fewer weights or a smaller grid"
            )
        for tables in product(*(unit.answers for unit in others)):
            self.choices += 1
            wanted = self._wanted({unit.slot: table for unit, table in zip(others, tables, strict=True)})
            answers = wanted and self._outputs(wanted)
            if answers is not None:
                made = [unit.answers[table] for unit, table in zip(others, tables, strict=True)]
                return {**shared, **self._named([*zip(others, made, strict=True), *answers])}
        return None

    def _named(self, made: Sequence[tuple[Unit, Sequence[Fraction]]]) -> Values:
        return {slot: weight for unit, weights in made for slot, weight in zip(unit.own, weights, strict=True)}

    def _tabulate(self, fixed: Mapping[Slot, Any]) -> None:
        known: dict[str, dict[Table, tuple[Fraction, ...]]] = {}
        read = {slot for unit in self.units for slot in unit.bits} | {s._replace(lag=0) for s in self.memory}
        for slot in read & self.outputs.keys():
            if any(a[self.outputs[slot]] not in (0, 1) for row in self.specification.outputs for a in row):
                raise DeriveError(f"{slot.name} is read by other units, and the specification has it not always 0 or 1")
        for unit in self.units:
            if unit.form not in known:
                unit.tabulate(self.grid, fixed)
                known[unit.form] = unit.answers
            unit.answers = known[unit.form]
            if unit.slot in read and any(answer not in (0, 1) for table in unit.answers for answer in table):
                raise DeriveError(
                    f"{unit.slot.name} is read by other units and is not always 0 or 1, so that there are too many "
                    "networks to try; give it an activation: step"
                )

    # --- what the outputs have to be ---

    def _wanted(self, tables: Mapping[Slot, Table]) -> dict[Slot, dict[int, Any]] | None:
        """For each output the answer to the bits that it may read; None where it would have to give two."""
        wanted: dict[Slot, dict[int, Any]] = {slot: {} for slot in self.outputs}
        for string in self.kept:
            state, q = self.start, 0
            for n in string:
                after = self._step(state, q, n, tables, wanted)
                if after is None:
                    return None
                state, q = after, self.specification.moves[q][n]
        return self._explored(tables, wanted)

    def _explored(self, tables: Mapping[Slot, Table], wanted: dict[Slot, dict[int, Any]]) -> Any:
        start = (self.start, 0)
        strings: dict[tuple[Any, int], tuple[int, ...]] = {start: ()}
        for pair in (waiting := [start]):
            for n in range(len(self.specification.letters)):
                after = self._step(*pair, n, tables, wanted)
                if after is None:
                    self.kept.appendleft((*strings[pair], n))
                    return None
                new = (after, self.specification.moves[pair[1]][n])
                if new not in strings:
                    strings[new] = (*strings[pair], n)
                    waiting.append(new)
        return wanted

    def _step(
        self, state: tuple[int, ...], q: int, n: int, tables: Mapping[Slot, Table], wanted: dict[Slot, dict[int, Any]]
    ) -> tuple[int, ...] | None:
        """The state after one letter, where every output is as specified; None where it can't be."""
        places, row = self.places, [*self.specification.letters[n], *state]
        for unit in self.units:
            index = 0
            for bit in unit.bits:
                index = 2 * index + row[places[bit]]
            table = tables.get(unit.slot)
            if table is None:
                answer = self.specification.outputs[q][n][self.outputs[unit.slot]]
                if wanted[unit.slot].setdefault(index, answer) != answer:
                    return None
                row.append(_bit(answer))
            else:
                row.append(_bit(table[index]))
        return tuple(row[places[slot._replace(lag=slot.lag - 1)]] for slot in self.memory if slot.lag is not None)

    def _outputs(self, wanted: Mapping[Slot, dict[int, Any]]) -> list[tuple[Unit, tuple[Fraction, ...]]] | None:
        """Weights for each output, the smallest that answer as they have to."""
        made = []
        for unit in self.units:
            if unit.is_output:
                asked = wanted[unit.slot].items()
                fits = (w for table, w in unit.answers.items() if all(table[n] == answer for n, answer in asked))
                weights = next(fits, None)
                if weights is None:
                    return None
                made.append((unit, weights))
        return made

    # --- what was found ---

    def _proved(self, values: Values, candidates: int) -> Search:
        text = ", ".join(_written(values))
        ours = self.asked.network.given(text)
        asked = Posed(ours, self.asked.specification)
        outcome = asked.monitor.outcome()
        proof = Proof(asked.table(0), asked.table(1), outcome, asked.pairs)
        if not proof:
            raise DeriveError(f"this is a mistake of derive's: the search found {text}, and yet {proof}")
        return Search(text, candidates, self.choices, proof)


def _bit(answer: Any) -> Any:
    """0 or 1 as what indexes a table."""
    return int(answer) if answer in (0, 1) else answer


def _written(values: Values) -> Iterator[str]:
    """`W=[[-1,-1],[1,1]]`, name by name."""
    names = list(dict.fromkeys(slot.name for slot in values))
    for name in names:
        entries = {(s.row, s.column): weight for s, weight in values.items() if s.name == name}
        rows, columns = (1 + max(place[k] for place in entries) for k in (0, 1))
        lines = [[str(entries[i, j]) for j in range(columns)] for i in range(rows)]
        if rows == columns == 1:
            yield f"{name}={lines[0][0]}"
        elif columns == 1:
            yield f"{name}=[{','.join(line[0] for line in lines)}]"
        else:
            yield f"{name}=[{','.join('[' + ','.join(line) + ']' for line in lines)}]"
