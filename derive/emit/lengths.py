"""Batches of samples of different lengths: every sample as if it were alone on a lattice of its own lengths.

Where nothing is read at a later point of the lattice, padded points can't influence those before them: one run over the whole
lattice, with cotangents that are zero beyond a sample's length, is exact.  Padded rows of inputs are replaced there by the last
row of the sample, lest 0 meets what is not finite.  Where something is read ahead (both directions, adjoints, `x[t+1]`), or
where states run off to infinity all the same, samples of equal lengths run together, on the lattice that is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from derive.emit.arrays import as_array, beside, finite, joined, kept, known, lengthened, library
from derive.emit.extent import extent
from derive.system import LOSS, System

Arrays: TypeAlias = "Mapping[str, Any]"
Run: TypeAlias = "Callable[[Arrays, Arrays, Arrays, Arrays], Mapping[str, Any]]"
"""`run(params, inputs, cotangents, initial)`, gradients or states by name."""


@dataclass(frozen=True)
class Axes:
    """Of an array: the axes of the lattice along which it runs, and whether it has a batch."""

    along: tuple[int, ...]
    batched: bool


def array_axes(system: System) -> dict[str, Axes]:
    """By name or key, for all that the functions of a system take and return."""
    everywhere = tuple(range(system.lattice.dimension))
    found = {name: Axes(everywhere, True) if v.indexed else Axes((), False) for name, v in system.variables.items()}
    for border in system.borders:
        along = tuple(axis for axis, side in enumerate(border.sides) if not side.depth)
        found[border.key] = Axes(along, system.boundary[border.variable] != "learned")
        for equation in system.own if system.parts.given else ():
            if equation.target.base == border.variable:
                found[border.key.replace(border.variable, equation.name, 1)] = Axes(along, True)
    return found


def only_looks_back(system: System) -> bool:
    """Whether no point is read from one before it, along any axis; an abstract loss aside."""
    counted = [offset for target, _, offset in system.reads if target != LOSS]
    return not system.parts.given and all(o <= 0 for offset in counted for o in offset)


def whole_lengths(size: tuple[int, ...], batch: tuple[int, ...]) -> np.ndarray:
    """The lengths of a batch of which no sample is padded."""
    return np.full((*batch, len(size)), size) if len(size) > 1 else np.full(batch, size[0])


class Batch:
    """The lengths of a batch of samples: one for each axis of the lattice.

    `lengths` has the shape of the batch; on a grid one more axis, for the axes of the lattice.  Raises `ValueError`
    where it has another one, or where a length is no whole number from 1 to that of the arrays.
    """

    def __init__(self, system: System, lengths: Any, inputs: Arrays, cotangents: Arrays, initial: Arrays):
        self.system, self.axes = system, array_axes(system)
        self.dimension = system.lattice.dimension
        self.size, self.shape = extent(system, inputs, cotangents, initial)
        numbers = known(lengths)
        self.lengths = lengths if numbers is None else numbers
        self.given = [{n: as_array(a) for n, a in of.items()} for of in (inputs, cotangents, initial)]
        self._check_arrays()
        self._check(numbers)

    def _check_arrays(self) -> None:
        """Raises `ValueError` for an array whose steps or batch are not those of the first."""
        for what, given in zip(("inputs", "cotangents", "initial"), self.given, strict=True):
            for name, array in given.items():
                axes = self.axes.get(name)
                if axes is not None and axes.batched:
                    wanted = (*(self.size[axis] for axis in axes.along), *self.shape)
                    if tuple(array.shape[: len(wanted)]) != wanted:
                        raise ValueError(
                            f"{what}[{name!r}] has shape {tuple(array.shape)}; it should begin with {wanted}, steps and batch"
                        )

    def _check(self, numbers: np.ndarray | None) -> None:
        wanted = (*self.shape, self.dimension) if self.dimension > 1 else self.shape
        if tuple(self.lengths.shape) != wanted:
            each = "a number for each axis of every sample" if self.dimension > 1 else "a number for every sample"
            raise ValueError(f"lengths has shape {tuple(self.lengths.shape)}; it should have {wanted}, {each}")
        if numbers is None:
            return
        if not np.issubdtype(numbers.dtype, np.integer):
            raise ValueError(f"lengths are whole numbers; found {numbers.dtype}")
        letters = map(str, self.system.lattice.lengths)
        for letter, size, found in zip(letters, self.size, self._by_axis(numbers), strict=True):
            wrong = found[(found < 1) | (found > size)]
            if wrong.size:
                raise ValueError(f"lengths are from 1 to {letter} = {size}; found {wrong.flat[0]}")

    def _by_axis(self, lengths: Any) -> list[Any]:
        return [lengths] if self.dimension == 1 else [lengths[..., axis] for axis in range(self.dimension)]

    def run(self, run: Run, params: Arrays) -> dict[str, Any]:
        """What `run` gives for every sample alone; zero beyond its lengths, summed over the samples where there is no batch."""
        if only_looks_back(self.system):
            found = self._together(run, params)
            if known(self.lengths) is None or all(map(finite, found.values())):
                return found
        return self._by_lengths(run, params)

    # --- one run over the whole lattice -------------------------------------------------------------------------------

    def _together(self, run: Run, params: Arrays) -> dict[str, Any]:
        inputs, cotangents, initial = self.given
        inputs, initial = ({n: self._each(self._padded, n, a) for n, a in of.items()} for of in (inputs, initial))
        cotangents = {n: self._each(self._masked, n, a) for n, a in cotangents.items()}
        found = run(params, inputs, cotangents, initial)
        return {name: self._each(self._masked, name, a) for name, a in found.items()}

    def _each(self, change: Callable[[Any, Axes], Any], name: str, array: Any) -> Any:
        """An array, changed if it has steps and samples."""
        axes = self.axes.get(name, Axes((), False))
        return change(array, axes) if axes.along and axes.batched else array

    def _masked(self, array: Any, axes: Axes) -> Any:
        """Zero beyond the lengths."""
        inside: Any = True
        for place, axis in enumerate(axes.along):
            inside = inside & (self._steps(array, place, axes) < self._by_axis(self.lengths)[axis])
        return kept(inside, array)

    def _padded(self, array: Any, axes: Axes) -> Any:
        """Beyond the lengths, the last row inside."""
        rows, module = [], library(self.lengths, array)
        for place, axis in enumerate(axes.along):
            steps, last = self._steps(array, place, axes), self._by_axis(self.lengths)[axis] - 1
            rows.append(module.minimum(beside(steps, array), beside(last, array)))
        batch = (
            [beside(numbers, array) for numbers in np.ogrid[tuple(slice(n) for n in self.shape)]] if self.shape else []
        )
        return (beside(array, self.lengths) if module is not library(array) else array)[(*rows, *batch)]

    def last_points(self) -> Any:
        """Of every sample: 1 at its last point, 0 elsewhere."""
        everywhere = Axes(tuple(range(self.dimension)), True)
        lattice, found = np.empty(self.size), np.float32(1)
        for axis, lengths in enumerate(self._by_axis(self.lengths)):
            found = found * (self._steps(lattice, axis, everywhere) == lengths - 1)
        return found

    def _steps(self, array: Any, place: int, axes: Axes) -> np.ndarray:
        """The steps of an axis counted from 0, along that axis, with axes of 1 for the others and the batch."""
        shape = [-1 if k == place else 1 for k in range(len(axes.along))]
        return np.arange(array.shape[place]).reshape(*shape, *(1 for _ in self.shape))

    # --- samples of equal lengths together ----------------------------------------------------------------------------

    @cached_property
    def groups(self) -> list[tuple[tuple[int, ...], np.ndarray]]:
        """The lengths that occur, and which samples have them.  Raises `ValueError` where they are being traced."""
        if known(self.lengths) is None:
            raise ValueError(
                f"{self.system.name} runs samples of equal lengths together, so that lengths must be known numbers; "
                "leave them out of what is traced"
            )
        lengths = np.stack([np.ravel(n) for n in self._by_axis(np.asarray(self.lengths))], axis=1)
        found, which = np.unique(lengths, axis=0, return_inverse=True)
        return [(tuple(map(int, n)), np.flatnonzero(which.ravel() == k)) for k, n in enumerate(found)]

    def _by_lengths(self, run: Run, params: Arrays) -> dict[str, Any]:
        found = []
        given = ({name: as_array(a) for name, a in params.items()}, *self.given)
        for lengths, samples in self.groups:
            found.append(run(*({n: self._cut(n, a, lengths, samples) for n, a in of.items()} for of in given)))
        return {name: self._assembled(name, [of[name] for of in found]) for name in found[0]}

    def _cut(self, name: str, array: Any, lengths: tuple[int, ...], samples: np.ndarray) -> Any:
        """The part of an array that a group reads; the length itself, where a system without inputs is told it."""
        letters = list(map(str, self.system.lattice.lengths))
        if name not in self.axes:
            return lengths[letters.index(name)] if name in letters else array
        axes = self.axes[name]
        array = array[tuple(slice(lengths[axis]) for axis in axes.along)] if axes.along else array
        if not axes.batched:
            return array
        d = len(axes.along)
        flat = array.reshape((*array.shape[:d], -1, *array.shape[d + len(self.shape) :]))
        return flat[(slice(None),) * d + (beside(samples, flat),)]

    def _assembled(self, name: str, parts: list[Any]) -> Any:
        axes = self.axes[name]
        for place, axis in enumerate(axes.along):
            parts = [lengthened(part, place, self.size[axis]) for part in parts]
        if not axes.batched:
            return sum(parts[1:], parts[0])
        d = len(axes.along)
        order = np.argsort(np.concatenate([samples for _, samples in self.groups]))
        whole = joined(parts, axis=d)[(slice(None),) * d + (beside(order, parts[0]),)]
        return whole.reshape((*whole.shape[:d], *self.shape, *whole.shape[d + 1 :]))
