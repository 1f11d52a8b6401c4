"""The slips of the pen that are looked for: tables of kinds, each with the edit that undoes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from derive.verdicts.causes import edits, gates, insertions, reordered, summed
from derive.verdicts.causes.edits import Change
from derive.verdicts.causes.pool import Pool
from derive.verdicts.causes.sites import Site

Rows: TypeAlias = "tuple[tuple[str, Callable[[Site, Pool], Iterator[Change]]], ...]"

DERIVATIVES: Rows = (("double-count", edits.derivatives),)
SUMMED: Rows = (("bounds", summed.bounds), ("index", summed.turned), ("double-count", summed.losses))
COUNTED: dict[str, Rows] = {
    "double-count": (("double-count", edits.extra_terms), ("double-count", edits.factors)),
    "sign": (("sign", edits.signs), ("factor", edits.factors)),
    "factor": (("factor", edits.factors), ("double-count", edits.extra_terms), ("factor", edits.extra_factors)),
}
"""How a line is mended in which a contribution is counted with another number than one, by kind."""
ROWS: tuple[Rows, ...] = (
    (
        ("extra-term", edits.extra_terms),
        ("symbol", gates.exchanged),
        ("sign", edits.signs),
        ("transpose", edits.transposes),
        ("factor", gates.halves),
        ("index", edits.indices),
        ("order", reordered.orders),
        ("hadamard", reordered.hadamards),
        ("bounds", summed.bounds),
        ("activation", insertions.activations),
        ("symbol", insertions.symbols),
        ("factor", edits.factors),
        ("factor", gates.rates),
        ("factor", edits.extra_factors),
        ("missing-sum", insertions.missing_sums),
        ("index", edits.shifts),
    ),
    (
        ("factor", insertions.missing_factors),
        ("missing-path", insertions.missing_terms),
        ("symbol", insertions.quantities),
    ),
    (("symbol", insertions.exchanged),),
)
"""Kind and edit, in groups: where one of a group explains the line, the later and larger ones are not tried."""
