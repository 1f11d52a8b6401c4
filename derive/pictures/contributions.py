"""What each path of a Jacobian contributes: the spectral norm of the product of local Jacobians along it.

The Jacobian is the sum of these products; a norm of it is at most the sum of theirs, and may be much less where paths cancel.
Measured in the middle of a sequence of random inputs; a bar is the median over draws, the line on it their range.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from derive import queries
from derive.errors import QueryError
from derive.evaluate import Ring, evaluate
from derive.expr import Node, Var
from derive.paths import Walk, placing
from derive.pictures import sampled
from derive.pictures.axes import number
from derive.pictures.dependencies import Highlight, highlight
from derive.pictures.legend import as_typed, wrapped
from derive.pictures.model import Box, Label, Picture, Shape, Stroke, framed
from derive.pictures.words import Words, formula, said
from derive.system import System

if TYPE_CHECKING:
    from derive.pictures import Request

DRAWS = 15
STEPS = {1: 20, 2: 8, 3: 5}
MOST_BARS = 12
WIDTH, LEFT, BAR = 270.0, 0.0, 13.0
SIZE = 13.5


@dataclass(frozen=True)
class Contribution:
    """The norms of one product over the draws; `path` is None for the Jacobian itself."""

    path: tuple[Var, ...] | None
    norms: np.ndarray

    @property
    def middle(self) -> float:
        return float(np.median(self.norms))

    @property
    def name(self) -> str:
        return " → ".join(map(as_typed, self.path)) if self.path else "their sum, the Jacobian"


def draw(asked: Request) -> Picture:
    """A bar for each path of `asked.query`, the longest first, and one for their sum."""
    system, query = asked.system, asked.query or _main(asked.system)
    found = highlight(system, query, None, asked.hold)
    if found.more or not found.walks:
        raise QueryError(f"{query!r} has no paths to compare: ask for a Jacobian such as {_main(system)!r}")
    matrices = [entry for walk in found.walks for entry, _ in walk.steps if not entry.map.is_matrix]
    if matrices:
        target, source = matrices[0].target.name, matrices[0].source.name
        raise QueryError(
            f"the paths of {query!r} have no Jacobian matrices to compare: {target} or {source} is a matrix"
        )
    scale = asked.scales[0] if asked.scales else 1.0
    paths, total = measured(system, found, scale, asked.seed, dict(asked.where))
    shown = sorted(paths, key=lambda c: -c.middle)[:MOST_BARS]
    shapes = list(_bars([*shown, total], len(paths) - len(shown), scale, sampled.recurrent_matrices(system) != ()))
    return framed(f"What each path of {query} of {system.name} contributes", _told(query, system, paths, total), shapes)


def _main(system: System) -> str:
    """The Jacobian between neighbours that is asked for where none is named."""
    asked = queries.jacobians(system)
    if not asked:
        raise QueryError(f"{system.name} hands no vector from point to point; ask for a Jacobian of your own")
    return asked[0]


# --- what is measured ---------------------------------------------------------------------------------------------------


def measured(
    system: System, found: Highlight, scale: float, seed: int, where: dict[str, float]
) -> tuple[list[Contribution], Contribution]:
    """The contribution of every path of `found`, and that of the whole Jacobian."""
    norms = np.array([_norms(system, found.walks, scale, seed * DRAWS + k, where) for k in range(DRAWS)])
    paths = [Contribution(found.label(w).args, norms[:, k]) for k, w in enumerate(found.walks)]
    return paths, Contribution(None, norms[:, -1])


def _norms(system: System, walks: Sequence[Walk], scale: float, seed: int, where: dict[str, float]) -> list[float]:
    """The spectral norm of the product along each walk, and that of their sum, in the middle of one sequence."""
    products = jacobians(system, walks, scale, seed, where)
    return [float(np.linalg.norm(p, 2)) for p in (*products, sum(products))]


def jacobians(
    system: System, walks: Sequence[Walk], scale: float, seed: int, where: dict[str, float]
) -> list[np.ndarray]:
    """The products along the walks as arrays."""
    state = walks[0].source.name
    steps = STEPS[system.lattice.dimension]
    draw = sampled.draw(system, state, scale, steps, seed, where)
    read = sampled.values(system, state, draw)
    index = dict(zip(system.lattice.indices, _middle(walks, steps), strict=True))
    at = placing(system.lattice)
    known: dict[Node, np.ndarray] = {}

    def factor(node: Node) -> np.ndarray:
        if node not in known:
            known[node] = evaluate(node, Ring(), read, index, sampled.sizes(system, state))
        return known[node]

    return [_product([factor(at.node(e.map.jacobian(), o)) for e, o in walk.steps]) for walk in walks]


def _product(factors: Sequence[np.ndarray]) -> np.ndarray:
    found = factors[0]
    for factor in factors[1:]:
        found = found @ factor
    return found


def _middle(walks: Sequence[Walk], steps: int) -> tuple[int, ...]:
    """A point from which every walk stays well inside the lattice."""
    offsets = np.array([o for w in walks for _, o in w.steps] + [w.source.offset for w in walks])
    low, high = offsets.min(0), offsets.max(0)
    room = steps - int((high - low).max())
    if room < 1:
        raise QueryError(
            f"the paths reach over {int((high - low).max())} points; what they contribute is measured over {steps}"
        )
    return tuple(int(steps - room // 2 - h) for h in high)


# --- how it is shown ----------------------------------------------------------------------------------------------------


def _bars(rows: Sequence[Contribution], left_out: int, scale: float, scaled: bool) -> Iterator[Shape]:
    longest = max(float(np.max(c.norms)) for c in rows) or 1.0
    y = 0.0
    for row in rows:
        for line in _heading(row):
            yield Label((LEFT, y), line, "name" if row.path else "name strong", "start", SIZE)
            y += 18
        yield from _bar(row, y - 4, longest)
        y += BAR + 20
    notes = [f"… and {left_out} paths more, each less than these"] if left_out > 0 else []
    notes.append(f"spectral norms: median and range of {DRAWS} draws")
    notes += [f"recurrent matrices of norm {scale:g}"] if scaled else []
    for note in notes:
        yield Label((LEFT, y + 4), said(note), "note", "start", 12)
        y += 17


def _heading(row: Contribution) -> list[Words]:
    if row.path is None:
        return [said("their sum, the Jacobian")]
    return wrapped([formula(v) for v in row.path], WIDTH + 60)


def _bar(row: Contribution, top: float, longest: float) -> Iterator[Shape]:
    def x(value: float) -> float:
        return LEFT + WIDTH * value / longest

    low, high, middle = x(float(row.norms.min())), x(float(row.norms.max())), x(row.middle)
    role = "hue-1 tint-1" if row.path else "hue-2 tint-2"
    y = top + BAR / 2
    if middle > LEFT:
        yield Box(((LEFT + middle) / 2, y), middle - LEFT, BAR, 2, f"bar {role}", f"{row.name}: {number(row.middle)}")
    yield Stroke(((low, y), (high, y)), "whisker")
    for end in (low, high):
        yield Stroke(((end, y - 4), (end, y + 4)), "whisker")
    yield Label((max(high, middle) + 8, y + 4.5), _value(row.middle), "name", "start", 13)


def _value(value: float) -> Words:
    return said(number(value))


def _told(query: str, system: System, paths: Sequence[Contribution], total: Contribution) -> str:
    ranked = sorted(paths, key=lambda c: -c.middle)
    each = "; ".join(f"{c.name}: {number(c.middle)}" for c in ranked[:MOST_BARS])
    more = f"; and {len(paths) - MOST_BARS} more" if len(paths) > MOST_BARS else ""
    return (
        f"The {len(paths)} path{'s' if len(paths) > 1 else ''} of {query} of {system.name} by the spectral norm of the product "
        f"along each, median of {DRAWS} draws: {each}{more}. Their sum, the Jacobian, has the norm {number(total.middle)}."
    )
