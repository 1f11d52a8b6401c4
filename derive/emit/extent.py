"""How far a call reaches: the lengths of its lattice, and the shape of its batch, from the arrays that are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from derive.emit.arrays import as_array
from derive.errors import did_you_mean
from derive.system import System

Arrays: TypeAlias = "Mapping[str, Any]"
Shape: TypeAlias = "tuple[int, ...]"


def own_axes(system: System, name: str) -> int:
    """How many axes a variable has besides steps and batch: none as a scalar, one as a column, else two."""
    rows, columns = system.variables[name].shape
    return 2 if columns != 1 else int(rows != 1)


def extent(system: System, inputs: Arrays, cotangents: Arrays, initial: Arrays) -> tuple[Shape, Shape]:
    """The lengths of the lattice and the shape of the batch.

    A system that reads no input is told its lengths, `{"T": 100}`; its batch is that of a cotangent or a boundary value,
    or else there is none.  Raises `ValueError` where an array has too few axes, or a length is missing.
    """
    d = system.lattice.dimension
    read = [v.name for v in system.of_kind("input", "target") if v.name in inputs]
    whole = [("inputs", n, inputs[n]) for n in read] + [("cotangents", n, a) for n, a in cotangents.items()]
    for what, name, given in whole:
        array = as_array(given)
        if name in system.variables:
            axes = d + own_axes(system, name)
            if array.ndim < axes:
                raise ValueError(f"{what}[{name!r}] has shape {tuple(array.shape)}; it should have {axes} axes or more")
            lattice = tuple(array.shape[:d]) if read else _told(system, inputs)
            return lattice, tuple(array.shape[d : array.ndim - own_axes(system, name)])
    for border in system.borders:
        if border.key in initial and system.boundary[border.variable] == "given":
            shape = as_array(initial[border.key]).shape
            along = sum(not side.depth for side in border.sides)
            return _told(system, inputs), tuple(shape[along : len(shape) - own_axes(system, border.variable)])
    return _told(system, inputs), ()


def _told(system: System, inputs: Arrays) -> Shape:
    for name in [v.name for v in system.inputs] or map(str, system.lattice.lengths):
        if name not in inputs:
            raise ValueError(f"inputs lacks {name!r}{did_you_mean(name, inputs)}")
    return tuple(int(inputs[str(n)]) for n in system.lattice.lengths)
