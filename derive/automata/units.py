"""Units over bits: a unit is the function that its weights make of the bits that it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import Any, TypeAlias

from derive.automata.terms import Slot, value
from derive.errors import DeriveError

Table: TypeAlias = "tuple[Any, ...]"
"""The answers to all strings of the bits that a unit reads, in the order of `itertools.product`."""

MOST_EVALUATIONS = 400_000
"""Of one unit, while its functions are listed."""


@dataclass
class Unit:
    """An entry of a state: its term, the bits that it reads, and the weights that are its own."""

    slot: Slot
    term: Any
    bits: tuple[Slot, ...]
    own: tuple[Slot, ...]
    is_output: bool
    answers: dict[Table, tuple[Fraction, ...]] = field(default_factory=dict)
    """Its functions, each with the smallest weights that make it."""

    @property
    def form(self) -> str:
        """The same for units that differ in the names of their weights only; they have the same functions."""
        said = str(self.term)
        for n, slot in enumerate((*self.own, *self.bits)):
            said = said.replace(repr(slot), f"<{n}>")
        return said

    def tabulate(self, grid: Sequence[Fraction], fixed: Mapping[Slot, Any]) -> None:
        if len(grid) ** len(self.own) << len(self.bits) > MOST_EVALUATIONS:
            count = f"{len(self.own)} weights of {len(grid)} values each, for {len(self.bits)} bits"
            raise DeriveError(f"a unit of {self.slot.name} has {count}, which are too many to try; name a smaller grid")
        found: dict[Table, tuple[Fraction, ...]] = {}
        strings = list(product((0, 1), repeat=len(self.bits)))
        for weights in sorted(product(grid, repeat=len(self.own)), key=lambda w: sum(map(abs, w))):
            env = {**fixed, **dict(zip(self.own, weights, strict=True))}
            table = []
            for bits in strings:
                env.update(zip(self.bits, bits, strict=True))
                table.append(value(self.term, env))
            found.setdefault(tuple(table), weights)
        self.answers = found
