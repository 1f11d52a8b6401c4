"""Sweeps of grids in waves: the points at which `i + j` is the same are computed together, one wave after the other.

The points of a wave lie in an array at one distance from each other, each a row up and a column on from the one before, and
their neighbours as far from each other: so statements read and write views, `(points, *batch, n)`, and nothing is gathered.
What is used up at the point that computes it is kept for one wave only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from derive.emit.layout import Place
from derive.emit.numpy.regions import Arrays, Reader, filled, for_lines
from derive.emit.numpy.ufuncs import Neighbours, Ref
from derive.emit.source import indented
from derive.lattice import Offset
from derive.schedule.fronts import Loops, Plane, is_placed, time_of
from derive.schedule.program import SCRATCH, Array, Assign, Program, statements
from derive.schedule.storage import read_by


def in_waves(program: Program, planes: Mapping[Loops, Plane]) -> Program:
    """The program with scratch for what only the wave that computes it reads."""
    found: dict[str, Array] = {}
    for (_, names), plane in planes.items():
        kept = _read_elsewhere(program, names, plane)
        kept |= {name for stack in program.stacks if any(p.name in kept for p in stack.parts) for name in _names(stack)}
        found |= {n: replace(program.arrays[n], storage=SCRATCH) for n in names if n not in kept}
    return replace(program, arrays={**program.arrays, **found})


def _names(stack: Any) -> list[str]:
    return [part.name for part in stack.parts]


def _read_elsewhere(program: Program, names: Sequence[str], plane: Plane) -> set[str]:
    """What is returned, shares its memory, or is read outside of its loops or at another point."""
    system, delays = program.system, plane.front.delays
    kept = {name for name in names if program.arrays[name].origin == "state"}
    kept |= {v.var.marked("bar").name for v in system.inputs} | {*program.shared, *program.shared.values()}
    for one in (s for s in statements(program.backward) if isinstance(s, Assign) and is_placed(s, program)):
        kept |= {one.target.name, *(v.name for v in read_by(one))}
    kept |= {name for stack in program.stacks if not {*_names(stack)} <= {*names} for name in _names(stack)}
    for reader in (*statements(program.forward), *statements(program.backward), *program.gradients):
        target = getattr(reader, "targets", None) or (getattr(reader, "target", None),)
        own = target[0].name if target[0] is not None and target[0].name in names else None
        for var in read_by(reader):
            if var.name in names and (own is None or any(system.offset(var)) or delays[own] != delays[var.name]):
                kept.add(var.name)
    return kept


@dataclass(frozen=True)
class _Group:
    """Which points of a wave are meant: those of the wave `delay` before, with a neighbour at `reach` if there is one."""

    delay: int
    reach: Offset


@dataclass
class _View:
    ref: Ref
    array: str
    shape: str
    """The array in another shape, `{}` being its rows."""
    group: _Group


class Waves(Reader):
    """A sweep of a grid; its loop runs over the waves of arrays: `for h_here, h_before_i in _along(waves, …)`.

    `known`: the names inside of all such loops, each of which is given once.  `cut`: by their names in the loop, the scratch
    of which a wave takes as much as it has points.  `delay`: how many waves later than others the statements at hand are;
    `reach`: they are for the points only that have a neighbour at this offset.
    """

    def __init__(self, arrays: Arrays, plane: Plane, place: Place, known: dict[str, str]):
        self.arrays, self.plane, self.place, self.known = arrays, plane, place, known
        self.delay = 0
        self.reach: Offset = ()
        self.fixed: dict[str, str] = {}
        """What is made before the loop: another shape of an array that is not the grid's."""
        self.grids: dict[str, _View] = {}
        self.cut: dict[str, tuple[str, int]] = {}

    def text(self, ref: Ref, parts: bool = False) -> str:
        name = self.arrays.name(ref)
        made = "_parts" if parts and ref.count > 1 else "_row" if parts else ""
        if ref.scratch or self.arrays.is_scratch(ref.name):
            if made:
                whole, name = name, self._local(f"{name}{made}")
                self.fixed[name] = f"_parts({whole}, {ref.count}, batch)" if ref.count > 1 else f"{whole}[:, None]"
            return self._cut(name)
        if not ref.offset:
            return name
        shape = f"_parts({{}}, {ref.count}, batch)" if made == "_parts" else "{}[:, :, None]" if made else "{}"
        local = self._named(f"{name}_{self._where(ref.offset)}{made}")
        self.grids.setdefault(local, _View(ref, name, shape, _Group(self.delay, self.reach)))
        return local

    def part_text(self, ref: Ref) -> str:
        """The same with the parts of a run on an axis of their own."""
        return self.text(ref, parts=True)

    def _where(self, offset: Sequence[int]) -> str:
        """`here`, `before_i`, `after_2_j`."""
        moves = []
        for index, o in zip(self.arrays.names.index, offset, strict=True):
            far = f"{abs(o)}_" if abs(o) > 1 else ""
            moves += [f"{'before' if o < 0 else 'after'}_{far}{index}"] if o else []
        return "_".join(moves) or "here"

    def _named(self, name: str) -> str:
        name += f"_{self.delay}_late" if self.delay else ""
        name += f"_if_{self._where(self.reach)}" if self.reach else ""
        if name not in self.known:
            self.known[name] = self.arrays.names.new(name)
        return self.known[name]

    def _cut(self, name: str) -> str:
        local = self._named(f"{name}_here")
        self.cut[local] = name, self.delay
        return local

    # --- lines --------------------------------------------------------------------------------------------------------

    def header(self) -> list[str]:
        """The lines before the body of the loop."""
        lines = [f"{made} = {source}" for made, source in self.fixed.items()]
        groups = dict.fromkeys(view.group for view in self.grids.values())
        latest = max(group.delay for group in groups)
        if len(groups) == 1 and not latest:
            (group,) = groups
            names, sources = self._along(group)
            return [*lines, *for_lines(names, "_along(", [self._waves(group), *sources, *self._slope()])]
        nothing = self._local("nothing")
        lines += [f"{nothing} = ((0, slice(0)),)"] if latest else []
        targets, calls = [], []
        for group in groups:
            names, sources = self._along(group)
            before, after = (_times(nothing, count) for count in (group.delay, latest - group.delay))
            waves = " + ".join(part for part in (before, self._waves(group), after) if part)
            targets += _enclosed("(", names, ")")
            calls += _enclosed("_along(", [waves, *sources, *self._slope()], ")")
        return [*lines, "for (", *indented(targets), ") in zip(", *indented([*calls, "strict=True,"]), "):"]

    def _along(self, group: _Group) -> tuple[list[str], list[str]]:
        """The views of a group, and the arrays of which they are."""
        views = {name: view for name, view in self.grids.items() if view.group == group}
        return [*views] if len(views) > 1 else [f"{name}," for name in views], [self._grid(v) for v in views.values()]

    def _grid(self, view: _View) -> str:
        """An array at the place of a view, rows first."""
        rows = self.arrays.rows(view.ref.name, self.place, view.ref.offset)
        text = f"{view.array}[{rows}]" if rows else view.array
        text = view.shape.format(text)
        text += "" if self.plane.axes[0] < self.plane.axes[1] else ".swapaxes(0, 1)"
        return f"{text}[:, ::-1]" if self.plane.flipped else text

    def _waves(self, group: _Group) -> str:
        sizes = [self.arrays.names.length[axis] for axis in self.plane.axes]
        left_out = [f"left_out={self._left_out(group.reach)}"] if group.reach else []
        text = f"_waves({', '.join([*sizes, *self._slope(), *left_out])})"
        return f"{text}[::-1]" if self.plane.downwards else text

    def _left_out(self, reach: Offset) -> tuple[int, ...]:
        """The rows at the top and at the bottom, and the columns at the left and at the right, without such a neighbour."""
        down, right = (reach[axis] for axis in self.plane.axes)
        right = -right if self.plane.flipped else right
        return max(0, -down), max(0, down), max(0, -right), max(0, right)

    def _slope(self) -> list[str]:
        return [f"slope={self.plane.slope}"] if self.plane.slope > 1 else []

    def cuts(self) -> list[str]:
        """The first lines of the body: as much of the scratch as there are points."""
        lines = []
        for delay in sorted({delay for _, delay in self.cut.values()}):
            count = self._local("count" + (f"_{delay}_late" if delay else ""))
            one = next(name for name, view in self.grids.items() if view.group == _Group(delay, ()))
            lines.append(f"{count} = len({one})")
            lines += [f"{local} = {name}[:{count}]" for local, (name, late) in self.cut.items() if late == delay]
        return lines

    def _local(self, name: str) -> str:
        if name not in self.known:
            self.known[name] = self.arrays.names.new(name)
        return self.known[name]


class NeighboursInWaves(Neighbours):
    """Points at the same time are in one wave: what is read at an offset between them may be any of its points."""

    def __init__(self, program: Program, slopes: Sequence[int]):
        super().__init__(program, everywhere=False)
        self.slopes = slopes

    def touched(self, ref: Ref) -> set[tuple[str, Offset]]:
        time = (time_of(self.slopes, ref.offset),) if ref.offset else ()
        return super().touched(replace(ref, offset=time))


def _enclosed(opening: str, items: Sequence[str], closing: str) -> list[str]:
    one = f"{opening}{', '.join(items)}{closing},"
    return [one] if len(one) <= 100 else [opening, *indented(filled(items)), f"{closing},"]


def _times(text: str, count: int) -> str:
    return "" if not count else text if count == 1 else f"{count} * {text}"


def most_points(planes: Iterable[Plane], lengths: Sequence[str]) -> str:
    """How many points a wave has at most."""
    found = dict.fromkeys(f"min({', '.join(lengths[axis] for axis in sorted(p.axes))})" for p in planes)
    return next(iter(found)) if len(found) == 1 else f"max({', '.join(found)})"


def waves_text(planes: Iterable[Plane], body: Iterable[str]) -> str:
    """The functions that loops over waves call, as far as the body of a module needs them."""
    text = WAVES
    if not any("left_out=" in part for part in body):
        for old, new in ALL_POINTS.items():
            text = text.replace(old, new)
    if all(plane.slope == 1 for plane in planes):
        for old, new in SLOPE_ONE.items():
            text = text.replace(old, new)
    return text


WAVES = '''
@functools.lru_cache(maxsize=256)
def _waves(rows, columns, slope=1, left_out=(0, 0, 0, 0)):
    """The points of a grid wave by wave, `slope * i + j` being the same in each: that number, and its rows i.

    `left_out`: so many rows at the top and at the bottom, and columns at the left and at the right.
    """
    top, bottom, left, right = left_out
    numbers = range(slope * (rows - 1) + columns)
    starts = (max(top, (k - columns + right) // slope + 1) for k in numbers)
    stops = (max(0, min(rows - bottom, (k - left) // slope + 1)) for k in numbers)
    return tuple((k, slice(start, stop)) for k, start, stop in zip(numbers, starts, stops, strict=True))


def _along(waves, *grids, slope=1):
    """Of all grids, the points of one wave after the other: views of them, (points, ..., n)."""
    return zip(*(map(_skewed(grid, slope).__getitem__, waves) for grid in grids), strict=True)


def _skewed(grid, slope):
    """A view of a grid with point (i, j) at [slope * i + j, i]; what is at other places is no point of it."""
    (rows, columns), (down, right) = grid.shape[:2], grid.strides[:2]
    shape = (slope * (rows - 1) + columns, rows, *grid.shape[2:])
    return np.lib.stride_tricks.as_strided(grid, shape, (right, down - slope * right, *grid.strides[2:]))
'''

ALL_POINTS = {
    ", left_out=(0, 0, 0, 0)": "",
    """

    `left_out`: so many rows at the top and at the bottom, and columns at the left and at the right.
    """: "",
    "    top, bottom, left, right = left_out\n": "",
    "max(top, (k - columns + right) // slope + 1)": "max(0, (k - columns) // slope + 1)",
    "max(0, min(rows - bottom, (k - left) // slope + 1))": "min(rows, k // slope + 1)",
}
"""The same where no points are left out."""

SLOPE_ONE = {
    ", slope=1": "",
    "slope * (rows - 1) + columns": "rows + columns - 1",
    "(k - columns + right) // slope + 1": "k - columns + right + 1",
    "(k - left) // slope + 1": "k - left + 1",
    "(k - columns) // slope + 1": "k - columns + 1",
    "k // slope + 1": "k + 1",
    "slope * i + j": "i + j",
    "_skewed(grid, slope)": "_skewed(grid)",
    "slope * right": "right",
}
"""The same where the slope is 1."""
