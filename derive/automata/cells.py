"""For which values of a parameter a network meets its specification on strings of every length: exactly.

The exploration depends on a parameter only through signs of affine forms (`derive.automata.affine`), so that its verdict
at one value is its verdict on a whole cell.  Cells are explored until they cover every value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeAlias

from derive.automata.affine import Interval, Sample, union
from derive.automata.monitors import Counterexample, Monitor, Outcome
from derive.automata.terms import Slot
from derive.errors import DeriveError

MOST_CELLS = 1_000
"""Cells that are explored."""

Box: TypeAlias = "tuple[Interval, ...]"
"""A range for each parameter."""


@dataclass(frozen=True)
class Cell:
    """Values of the parameters, a range for each, at which the exploration runs in one way."""

    box: Box
    counterexample: Counterexample | None
    """What is wrong there, if anything."""
    steps: int = 0
    """At how many steps of the exploration something was claimed."""


@dataclass(frozen=True)
class Ranges:
    """The cells cover all values of the parameters `names`, and do not overlap."""

    names: tuple[str, ...]
    cells: tuple[Cell, ...]

    def __contains__(self, values: Mapping[str, Fraction] | Fraction | int) -> bool:
        """Whether the specification is met there: `Fraction(-3, 2) in found`, `{"c": -1, "c_0": 0} in found`."""
        at = values if isinstance(values, Mapping) else {self.names[0]: values}
        return any(all(at[n] in i for n, i in zip(self.names, box, strict=True)) for box in self.good)

    def __bool__(self) -> bool:
        """Whether there is any value."""
        return bool(self.good)

    @property
    def good(self) -> tuple[Box, ...]:
        return tuple(cell.box for cell in self.cells if cell.counterexample is None)

    @property
    def intervals(self) -> dict[str, tuple[Interval, ...]]:
        """The range of each parameter; all values are their product exactly if `is_product`."""
        return {name: union([box[n] for box in self.good]) for n, name in enumerate(self.names)}

    @property
    def is_product(self) -> bool:
        """Whether no cell that is wrong reaches into the product of the ranges."""
        axes = list(self.intervals.values())
        bad = (cell.box for cell in self.cells if cell.counterexample is not None)
        return not any(
            all(any(not (part & side).is_empty for part in axis) for axis, side in zip(axes, box, strict=True))
            for box in bad
        )

    @property
    def outcome(self) -> Outcome:
        """Of the claim that it is true for every value."""
        cell = next((cell for cell in self.cells if cell.counterexample is not None), None)
        wrong = None
        if cell is not None and cell.counterexample is not None:
            at = ", ".join(f"{name} = {i.inside}" for name, i in zip(self.names, cell.box, strict=True))
            wrong = replace(cell.counterexample, inputs=f"{at}, {cell.counterexample.inputs}")
        return Outcome(wrong, sum(cell.steps for cell in self.cells), 0, 0)

    def data(self) -> dict[str, Any]:
        """All cells, each with what is wrong there."""
        return {
            "values": str(self),
            "cells": [
                {
                    "values": _said({name: (i,) for name, i in zip(self.names, cell.box, strict=True)}),
                    "proved": cell.counterexample is None,
                    "counterexample": cell.counterexample and cell.counterexample.inputs,
                }
                for cell in self.cells
            ],
        }

    def __str__(self) -> str:
        """`-2 < c ≤ -1 and -1 < c_0 ≤ 0`"""
        if not self.good:
            return f"no value of {' and '.join(self.names)}"
        if self.is_product:
            return _said({name: found for name, found in self.intervals.items()})
        return "; or ".join(_said({name: (i,) for name, i in zip(self.names, box, strict=True)}) for box in self.good)


def _said(ranges: Mapping[str, Sequence[Interval]]) -> str:
    said = [" or ".join(i.text(name) for i in found) for name, found in ranges.items()]
    return " and ".join(f"({part})" if " or " in part and len(said) > 1 else part for part in said)


def ranges_of(monitor: Monitor, parameters: Mapping[str, Slot]) -> Ranges:
    """Of each parameter, by name.  Raises `DeriveError` where two of them stand in one sum, or a product."""
    names = tuple(parameters)
    pending: list[Box] = [tuple(Interval() for _ in names)]
    cells: list[Cell] = []
    while pending:
        box = pending.pop()
        if len(cells) >= MOST_CELLS:
            raise DeriveError(f"the values of {', '.join(names)} fall into more than {MOST_CELLS} cells")
        sample = Sample({name: interval.inside for name, interval in zip(names, box, strict=True)})
        outcome = monitor.outcome({slot: sample.form(name) for name, slot in parameters.items()})
        found = tuple(sample.cell[name] & interval for name, interval in zip(names, box, strict=True))
        cells.append(Cell(found, outcome.counterexample, outcome.steps))
        pending.extend(rest for rest in _minus(box, found) if not any(i.is_empty for i in rest))
    return Ranges(names, tuple(cells))


def _minus(box: Box, inner: Box) -> Iterator[Box]:
    """What is left of a box without a smaller one, cut along one axis after the other."""
    for n, (whole, part) in enumerate(zip(box, inner, strict=True)):
        for rest in whole.minus(part):
            yield (*inner[:n], rest, *box[n + 1 :])
