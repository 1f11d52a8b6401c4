"""Finite automata: each state answers each letter with an output and goes on to a state (Mealy's form).

Minimal automata, numbered in the order in which a search from the start meets their states, are equal as tables exactly
if they answer every string in the same way (Moore 1956; the numbering settles the isomorphism).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from derive.automata.machines import Endless, Exploration, Fixed, Letter, Machine
from derive.automata.terms import value
from derive.evaluate import Array


@dataclass(frozen=True)
class Automaton:
    """`moves[q][a]` and `outputs[q][a]`: where state `q` goes on letter `a`, and what it answers.  It starts in 0.

    `states` says of each what the network remembers in it.
    """

    name: str
    letters: tuple[Letter, ...]
    moves: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[tuple[Any, ...], ...], ...]
    states: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.moves)

    def run(self, string: Sequence[Letter]) -> Iterator[tuple[Any, ...]]:
        """The answers, letter by letter."""
        state = 0
        for letter in string:
            n = self.letters.index(tuple(letter))
            yield self.outputs[state][n]
            state = self.moves[state][n]

    def minimal(self) -> Automaton:
        """The smallest automaton that answers in the same way: Moore's refinement of the states with equal answers."""
        blocks = _numbered(self.outputs)
        while True:
            finer = _numbered([(blocks[q], *(blocks[p] for p in moves)) for q, moves in enumerate(self.moves)])
            if max(finer) == max(blocks):
                return self._merged(blocks)
            blocks = finer

    def _merged(self, blocks: Sequence[int]) -> Automaton:
        """One state for each block, in the order in which a search meets them."""
        order, first = [blocks[0]], {blocks[0]: 0}
        for block in order:
            for target in self.moves[first[block]]:
                if blocks[target] not in first:
                    first[blocks[target]] = target
                    order.append(blocks[target])
        place = {block: n for n, block in enumerate(order)}
        kept = [first[block] for block in order]
        return replace(
            self,
            moves=tuple(tuple(place[blocks[p]] for p in self.moves[q]) for q in kept),
            outputs=tuple(self.outputs[q] for q in kept),
            states=tuple(" or ".join(dict.fromkeys(self._of_block(blocks, block))) for block in order),
        )

    def _of_block(self, blocks: Sequence[int], block: int) -> list[str]:
        return [state for q, state in enumerate(self.states) if blocks[q] == block]

    def answers_like(self, other: Automaton) -> bool:
        """Whether both answer every string of every length in the same way."""
        a, b = self.minimal(), other.minimal()
        return (a.letters, a.moves, a.outputs) == (b.letters, b.moves, b.outputs)

    def differs(self, other: Automaton) -> tuple[Letter, ...] | None:
        """A shortest string that the two answer differently, found in their product; None if there is none."""
        came: dict[tuple[int, int], tuple[tuple[int, int], int] | None] = {(0, 0): None}
        for pair in (waiting := [(0, 0)]):
            for n in range(len(self.letters)):
                if self.outputs[pair[0]][n] != other.outputs[pair[1]][n]:
                    return self._string(came, pair, n)
                after = (self.moves[pair[0]][n], other.moves[pair[1]][n])
                if after not in came:
                    came[after] = pair, n
                    waiting.append(after)
        return None

    def _string(self, came: dict[Any, Any], pair: tuple[int, int], letter: int) -> tuple[Letter, ...]:
        found = [self.letters[letter]]
        while came[pair] is not None:
            pair, letter = came[pair]
            found.append(self.letters[letter])
        return tuple(reversed(found))

    # --- shown ---

    def data(self) -> dict[str, Any]:
        """Nodes and edges with labels, as a picture draws them: letters with one answer and one target share an edge."""
        edges: dict[tuple[int, int, str], list[str]] = {}
        for q, moves in enumerate(self.moves):
            for n, target in enumerate(moves):
                edges.setdefault((q, target, _answer(self.outputs[q][n])), []).append(_letter(self.letters[n]))
        return {
            "name": self.name,
            "start": 0,
            "nodes": [{"id": q, "label": label} for q, label in enumerate(self.states)],
            "edges": [
                {
                    "source": q,
                    "target": p,
                    "letters": letters,
                    "output": answer,
                    "label": f"{', '.join(letters)} / {answer}",
                }
                for (q, p, answer), letters in edges.items()
            ],
        }

    def text(self) -> str:
        """The table: a line for each state; below each letter the output and the state that follows."""
        rows = zip(self.outputs, self.moves, strict=True)
        cells = [[f"{_answer(o)} → {p}" for o, p in zip(*row, strict=True)] for row in rows]
        lines = [["state", *map(_letter, self.letters), "remembers"]]
        lines += [[str(q), *row, self.states[q]] for q, row in enumerate(cells)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(f"{c:{w}}" for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)

    __str__ = text


def automaton(fixed: Fixed, outputs: Sequence[Array]) -> Automaton:
    """The automaton of a machine: every state that it reaches.  Raises `Unset`, `Endless`."""
    exploration = Exploration(fixed)
    terms = [term for output in outputs for term in output.flat]
    moves: list[list[int]] = []
    answers: list[list[tuple[Any, ...]]] = []
    for move in exploration:
        if move.source == len(moves):
            moves.append([])
            answers.append([])
        moves[-1].append(move.target)
        answers[-1].append(tuple(value(term, move.env) for term in terms))
    states = [_remembered(fixed, state) for state in exploration.states]
    rows = tuple(map(tuple, moves)), tuple(map(tuple, answers))
    return Automaton(fixed.machine.name, fixed.machine.letters, *rows, tuple(states))


def tabulated(machine: Machine, outputs: Sequence[Array], name: str) -> Automaton | None:
    """The minimal automaton of some outputs of a machine; None where it has too many states for one."""
    about = replace(machine.about([term for output in outputs for term in output.flat]), name=name)
    try:
        return automaton(about.fixed(), outputs).minimal()
    except Endless:
        return None


def _remembered(fixed: Fixed, state: Sequence[Any]) -> str:
    said = []
    for slot, entry in zip(fixed.machine.memory, state, strict=True):
        alone = not any(s.name == slot.name and s != slot and s.lag == slot.lag for s in fixed.machine.memory)
        place = "" if alone else f"_{slot.row + 1}" if not slot.column else f"_{slot.row + 1},{slot.column + 1}"
        back = "" if slot.lag == 1 else f" {slot.lag} steps back"
        said.append(f"{slot.name.removeprefix(':')}{place}{back} = {'?' if isinstance(entry, Exception) else entry}")
    return ", ".join(said) or "nothing"


def _numbered(keys: Sequence[Any]) -> list[int]:
    numbers: dict[Any, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _letter(letter: Letter) -> str:
    return "".join(map(str, letter))


def _answer(output: Sequence[Any]) -> str:
    return ", ".join(map(str, output))
