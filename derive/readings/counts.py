"""How many paths, for any length: the count over `d` steps obeys a linear recurrence, and often has a closed form.

The counts over `d` steps are entries of the powers of one matrix of size `m`, so that they obey a recurrence of order
`m` at most (Cayley and Hamilton).  A shorter one is found by Berlekamp's and Massey's algorithm; that it holds for `2 m`
values makes it hold for all.  On a grid where one state reads its neighbours the paths are words, and their number
is a multinomial coefficient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sympy
from sympy import Basic, Expr, Integer, Rational, Symbol

from derive import expr, paths
from derive.derivation import Derivation, Step
from derive.errors import DeriveError, QueryError
from derive.expr import Equals, Node, Var
from derive.partials import Table
from derive.paths import Point
from derive.readings import steps
from derive.readings.systems import held_step

if TYPE_CHECKING:
    from derive.queries import Request

SHOWN = 8
"""So many counts are written out."""
CLOSED_ORDER = 2
"""A recurrence of this order at most is solved with irrational roots."""


@dataclass(frozen=True)
class Count:
    """`N_d` for `d ≥ start`: its values, and `N_d = Σ_k recurrence[k-1] N_(d-k)` from `d = start + len(recurrence) + late` on."""

    start: int
    values: tuple[int, ...]
    recurrence: tuple[Expr, ...]
    late: int

    def closed(self, d: Symbol) -> Expr | None:
        """The solution of the recurrence; None where it is not simple."""
        order = len(self.recurrence)
        if not order:
            return Integer(0)
        r = Symbol("r")
        roots = sympy.roots(r**order - sum(c * r ** (order - k) for k, c in enumerate(self.recurrence, 1)), r)
        rational = all(root.is_Rational for root in roots)
        if sum(roots.values()) != order or not (
            rational or (order <= CLOSED_ORDER and all(root.is_real for root in roots))
        ):
            return None
        terms = [root**d * d**k for root, times in roots.items() for k in range(times)]
        weights = sympy.symbols(f"c0:{order}")
        first = self.start + self.late
        equations = [
            sum(w * term.subs(d, first + n) for w, term in zip(weights, terms, strict=True))
            - self.values[self.late + n]
            for n in range(order)
        ]
        (solution,) = sympy.linsolve(equations, weights)
        solved = sum(sympy.radsimp(sympy.simplify(w)) * term for w, term in zip(solution, terms, strict=True))
        return sympy.powsimp(solved) if rational else solved


def recurrence(values: Sequence[int]) -> list[Rational]:
    """The shortest `c` with `a_n = Σ_k c[k-1] a_(n-k)` (Massey 1969), over the rational numbers."""
    current, previous = [Rational(1)], [Rational(1)]
    length, gap, last = 0, 1, Rational(1)
    for n, _ in enumerate(values):
        found = sum(current[k] * values[n - k] for k in range(min(length, len(current) - 1) + 1))
        if found == 0:
            gap += 1
            continue
        updated = list(current) + [Rational(0)] * max(0, len(previous) + gap - len(current))
        for k, value in enumerate(previous):
            updated[k + gap] -= found / last * value
        if 2 * length <= n:
            previous, last, length, gap = current, found, n + 1 - length, 1
        else:
            gap += 1
        current = updated
    return [-c for c in (current + [Rational(0)] * length)[1 : length + 1]]


def counted(values: Sequence[int], start: int, size: int) -> Count:
    """The count that these values begin, where all of them obey a recurrence of order `size` at most.

    Raises where the values are too few to settle it, or do not obey what was found.
    """
    found = recurrence(values)
    if len(values) < 2 * size + 1 or any(
        values[n] != sum(c * values[n - k] for k, c in enumerate(found, 1)) for n in range(len(found), len(values))
    ):
        raise DeriveError(f"the number of paths follows no recurrence of order {size}")
    late = 0
    while found and found[-1] == 0:
        found.pop()
        late += 1
    return Count(start, tuple(values), tuple(found), late)


# --- as an answer -----------------------------------------------------------------------------------------------------


def symbolic(request: Request, local: Table, y: Var, x: Var) -> Derivation:
    """The number of paths over a distance, or up to a length, that is left a symbol."""
    if request.system.lattice.dimension > 1:
        return _on_grid(request, local, y, x)
    found, what = _between(request, local, y, x) if x.index else _from_parameter(request, local, y)
    d = Symbol("d", integer=True) if x.index else y.index[0]
    lines, result = _lines(found, d, request)
    said = ", ".join(map(str, found.values[:SHOWN]))
    reason = f"{what} From {d} = {found.start} on the numbers are {said}, …: "
    reason += "entries of the powers of one matrix, which obey a linear recurrence."
    step = Step("path count", "The number of paths", reason, (), tuple(lines))
    return request.answer([steps.forward(request.system), held_step(request), step], result, count=_named(found, d))


def _lines(found: Count, d: Symbol, request: Request) -> tuple[list[Basic], Node]:
    """The first values, the recurrence, and the closed form."""
    name = next(n for n in ("N", "P", "Q") if n not in request.system.variables)

    def at(index: Expr) -> Var:
        return Var(name, (), (index,), 1, 1)

    order, lines = len(found.recurrence), []
    needed = order + found.late
    lines += [Equals(at(Integer(found.start + n)), expr.number(found.values[n])) for n in range(needed)]
    terms = [expr.scale(c, at(d - k)) for k, c in enumerate(found.recurrence, 1) if c]
    again = steps.sum_of(terms) if terms else expr.Zero(1, 1)
    lines.append(Equals(at(d), again))
    if not terms:
        return lines, again
    closed = found.closed(d)
    if closed is None:
        return lines, again
    if order == 1 and not found.late:
        lines = []
    lines.append(Equals(at(d), expr.number(closed)))
    return lines, lines[-1].args[1]


def _named(found: Count, d: Symbol) -> str:
    """The count in words, where it has a name."""
    closed = found.closed(d)
    if found.recurrence == (1, 1) and found.values[:2] == (1, 1) and not found.late:
        return f"the Fibonacci number F({d} + 1)"
    return str(closed) if closed is not None else f"a recurrence of order {len(found.recurrence)}"


def _between(request: Request, local: Table, y: Var, x: Var) -> tuple[Count, str]:
    """Between two indices at a distance `d`."""
    down = _runs_down(local, y, x)
    size = _size(local, y, x)
    values = []
    for n in range(2 * size + 2):
        length = 2 * size + 4
        target, source = (length, length - n) if down else (1, 1 + n)
        number = paths.count(local, Point(y.name, (target,)), Point(x.name, (source,)), (length,))
        assert isinstance(number, int)
        values.append(number)
    ends = (y.index[0], x.index[0]) if down else (x.index[0], y.index[0])
    what = f"Let d be the distance {_less(*ends)} "
    what += f"between `{request.query.below}` and `{request.query.above}`."
    return counted(values, 0, size), what


def _less(a: Expr, b: Expr) -> str:
    return f"{a} - {b}" if b.is_Symbol or b.is_Integer else f"{a} - ({b})"


def _from_parameter(request: Request, local: Table, y: Var) -> tuple[Count, str]:
    """From a parameter, which every step reads, to a state after so many steps."""
    (index,) = y.index
    assert request.query.below is not None
    if not index.is_Symbol:
        raise QueryError(
            f"the number of paths to {y.name} is asked for at an index such as T, or at a number with unroll"
        )
    name = request.query.below.name
    x = request.var(request.query.below)
    size = _size(local, y, x) + 1
    if not _runs_down(local, y, x):
        raise QueryError(f"the paths to {y.name} come from later steps; give numbers with unroll")
    values = []
    for n in range(1, 2 * size + 3):
        number = paths.count(local, Point(y.name, (n,)), Point(name, None), (n,))
        assert isinstance(number, int)
        values.append(number)
    return counted(values, 1, size), f"Every step up to {index} reads `{name}`, and paths begin at each."


def _runs_down(local: Table, y: Var, x: Var) -> bool:
    transfer = paths.transfer(local, Point(y.name, (0,)), x.name)
    if transfer is None:
        raise QueryError(
            f"the paths from {x.name} to {y.name} run both ways along the chain, so that their number depends on its length; "
            "give numbers with unroll"
        )
    return transfer.direction < 0


def _size(local: Table, y: Var, x: Var) -> int:
    """The size of the matrix whose powers count."""
    transfer = paths.transfer(local, Point(y.name, (0,)), x.name)
    assert transfer is not None
    return len(transfer.names) * max((d for _, _, d in transfer.across), default=1)


# --- on a grid --------------------------------------------------------------------------------------------------------


def _on_grid(request: Request, local: Table, y: Var, x: Var) -> Derivation:
    """Where one state reads its neighbour along each axis: as many words as there are orders of the steps."""
    lattice = request.system.lattice
    if y.name != x.name or not x.index:
        raise QueryError(
            f"{request.query.text!r}: on a grid a number for any distance is known between one state's points only"
        )
    edges = [(e.source.name, e.offset) for e in local.of_target(y.name)]
    own = [offset for name, offset in edges if name == y.name and offset is not None]
    units = [tuple(-int(k == axis) for k in range(lattice.dimension)) for axis in range(lattice.dimension)]
    other = [name for name, _ in edges if name != y.name and name in paths.reaching(_reads(local), y.name)]
    if sorted(own) != sorted(units) or other:
        raise QueryError(
            f"{request.query.text!r}: {y.name} reads more than its own neighbours, so that its paths are no words over the axes; "
            "give numbers with unroll"
        )
    letters = [Symbol(f"d_{k}", integer=True, nonnegative=True) for k in range(1, lattice.dimension + 1)]
    number = sympy.factorial(sum(letters)) / sympy.Mul(*map(sympy.factorial, letters))
    _confirm(local, y, letters, number)
    shown = " and ".join(f"{d} = {_less(a, b)}" for d, a, b in zip(letters, y.index, x.index, strict=True))
    formula = f"({' + '.join(map(str, letters))})! / ({' '.join(f'{d}!' for d in letters)})"
    reason = (
        f"With {shown}: a path takes so many steps along each axis, in any order. Their number is {formula}, "
        "that of the words with so many letters of each kind."
    )
    step = Step("path count", "The number of paths", reason, (), ())
    return request.answer([steps.forward(request.system), held_step(request), step], y, count=formula)


def _reads(local: Table) -> list[tuple[str, str, tuple[int, ...] | None]]:
    return [(e.target.name, e.source.name, e.offset) for e in local]


def _confirm(local: Table, y: Var, letters: Sequence[Symbol], number: Expr) -> None:
    """Against the count by the recurrence, at small distances."""
    far = (3,) * len(letters)
    for distance in ((1,) * len(letters), (2, *(1,) * (len(letters) - 1)), (2,) * len(letters)):
        source = tuple(f - d for f, d in zip(far, distance, strict=True))
        counted_ = paths.count(local, Point(y.name, far), Point(y.name, source), far)
        if counted_ != number.subs(dict(zip(letters, distance, strict=True))):
            raise DeriveError(f"there are {counted_} paths over {distance}, not what the formula says")
