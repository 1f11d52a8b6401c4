"""What things are called in an emitted module, and where they stand in its arrays."""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sympy import Expr, Integer

from derive import expr
from derive.emit import library
from derive.lattice import Border, Lattice
from derive.schedule.hoist import ROLES
from derive.system import System

LOCALS = ("params", "inputs", "initial", "targets", "cotangents", "values", "sizes", "given", "gradients", "bars",
          "batch", "dtype", "points", "loss", "name", "array", "direct", "carried")  # fmt: skip
MODULE = ("np", "math", "difflib", "forward", "vjp", "value_and_grad", "check", "PARAMETERS", "INPUTS", "TARGETS",
          "INITIAL", "STATES", "FUNCTIONS", "backward", "Trajectory", "inner", "diagonal")  # fmt: skip
AMBIGUOUS = ("l", "O", "I")
"""Names that a linter takes for digits."""


class Names:
    """Python names for the variables, dimensions, lengths and indices of a system, none of which means anything else.

    `own` are further names that a backend's modules use themselves.
    """

    def __init__(self, system: System, variables: Iterable[str], own: Iterable[str] = ()):
        self.taken = {*own, *LOCALS, *MODULE, *AMBIGUOUS, *dir(builtins), *keyword.kwlist, *library.CALLED}
        self.taken |= {library.function_name(name, order) for name in applied(system) for order in range(4)}
        self.of = {name: self.new(name) for name in variables}
        lattice = system.lattice
        plain = not any(str(n) in AMBIGUOUS for n in lattice.lengths)
        self.index = [self.new(str(i)) for i in lattice.indices]
        self.length = [
            self.new(str(n) if plain else f"len_{i}") for i, n in zip(self.index, lattice.lengths, strict=True)
        ]
        self.symbols = {n: self.new(str(n)) for n in system.dimensions}
        self.symbols.update(zip(lattice.lengths, self.length, strict=True))

    def new(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def size(self, n: Expr) -> str:
        return str(n) if n.is_Integer else self.symbols[n]


def applied(system: System) -> list[str]:
    """The functions that a system applies."""
    found = (n for e in system.equations.values() for n in expr.walk(e.rhs) if isinstance(n, expr.Apply))
    return list(dict.fromkeys(n.function for n in found))


@dataclass(frozen=True)
class Place:
    """Where a statement stands: for every axis a step (an expression), or None where it is for all steps at once.

    `margins`: on an axis for all steps at once, how many steps at either end are left out.
    """

    steps: tuple[Expr | None, ...]
    margins: tuple[tuple[int, int], ...]

    @classmethod
    def everywhere(cls, dimension: int) -> Place:
        return cls((None,) * dimension, ((0, 0),) * dimension)


class Layout:
    """The rows of an array: `before` of them on each axis, then one for every step, then `after`."""

    def __init__(self, systems: Iterable[System], names: Names, lattice: Lattice):
        dimension = lattice.dimension
        offsets = [offset for s in systems for _, _, offset in s.reads]
        self.names, self.lattice = names, lattice
        self.before = [max([1, *(-o[axis] for o in offsets)]) for axis in range(dimension)]
        self.after = [max([0, *(o[axis] for o in offsets)]) for axis in range(dimension)]

    def row(self, step: Expr | int, axis: int) -> str:
        """The position of a step, in terms of the loop's own index, which counts rows."""
        return spaced(step + self.before[axis] - 1, self.names, self.lattice)

    def slice(self, axis: int, offset: int = 0, margin: tuple[int, int] = (0, 0)) -> str:
        start = self.before[axis] + offset + margin[0]
        stop = self.after[axis] - offset + margin[1]
        return f"{start or ''}:{-stop or ''}"

    def rows(self, axis: int) -> str:
        """How many rows there are."""
        return spaced(self.lattice.lengths[axis] + self.before[axis] + self.after[axis], self.names, self.lattice)

    @property
    def inner(self) -> str:
        """All steps."""
        return ", ".join(self.slice(axis) for axis in range(self.lattice.dimension))

    def border(self, border: Border) -> str:
        parts = []
        for axis, side in enumerate(border.sides):
            step = side.coordinate(self.lattice.indices[axis], self.lattice.lengths[axis])
            parts.append(self.row(step, axis) if side.depth else self.slice(axis))
        return ", ".join(parts)


def spaced(e: Expr | int, names: Names, lattice: Lattice) -> str:
    """`t - 1`, `T + 2`: an index expression, its symbol first."""
    terms = Integer(0) + e
    constant = terms.as_coefficients_dict().get(Integer(1), Integer(0)) if not terms.is_Integer else terms
    symbols = terms - constant
    if symbols == 0:
        return str(constant)
    renamed = {**names.symbols, **dict(zip(lattice.indices, names.index, strict=True))}
    text = " + ".join(renamed[s] for s in sorted(symbols.free_symbols, key=str))
    return f"{text} + {constant}" if constant > 0 else f"{text} - {-constant}" if constant < 0 else text


LONGEST = 24


def run_name(names: Sequence[str]) -> str:
    """One name for several: `ifo`, `ifo_delta`, `W_ifo`, `U_ifo_fwd`; from the first to the last where that would be long."""
    stems, roles = zip(*(_split(n) for n in names), strict=True)
    pieces = [stem.split("_") for stem in stems]
    head = _common(pieces)
    tail = _common([p[: len(head) - 1 : -1] if head else p[::-1] for p in pieces])[::-1]
    middles = ["_".join(p[len(head) : len(p) - len(tail)]) for p in pieces]
    if not all(middles):
        head, tail, middles = [], [], list(stems)
    together = "".join(middles) if all(len(m) == 1 for m in middles) else "_".join(middles)
    name = "_".join([*head, together, *tail, *(roles[-1:] if roles[-1] else ())])
    return name if len(name) <= LONGEST else f"{names[0]}_to_{'_'.join([middles[-1], *tail])}"


def _common(pieces: Sequence[Sequence[str]]) -> list[str]:
    """What all of them start with."""
    found = []
    for parts in zip(*pieces, strict=False):
        if len(set(parts)) > 1:
            break
        found.append(parts[0])
    return found


def _split(name: str) -> tuple[str, str]:
    """`("z", "delta")` of `z_delta`, `("h", "sum")` of `h_sum_2`."""
    parts = name.split("_")
    while len(parts) > 1 and parts[-1].isdigit():
        parts.pop()
    if len(parts) > 1 and parts[-1] in (*ROLES, "delta", "bar"):
        return "_".join(parts[:-1]), parts[-1]
    return name, ""
