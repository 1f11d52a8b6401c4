"""Arrays of terms, whose shapes are numbers."""

from __future__ import annotations

from typing import Any

import numpy

from derive import expr
from derive.errors import DeriveError
from derive.evaluate import Array
from derive.expr import Node

LARGEST = 256
"""Entries of one variable."""


class Inapplicable(DeriveError):
    """What no machine that reads its string from left to right can say, or this translation doesn't know."""


def numbers(node: Node) -> tuple[int, int]:
    if not all(size.is_Integer for size in node.shape):
        raise Inapplicable(f"{node} is {expr.show_shape(node.shape)}; an automaton needs numbers for the sizes")
    if node.shape[0] * node.shape[1] > LARGEST:
        raise Inapplicable(f"{node} has more than {LARGEST} entries")
    return int(node.shape[0]), int(node.shape[1])


def spread(array: Array, shape: tuple[int, int], name: str) -> Array:
    """An array of this shape; a single number stands for all entries, and a row for a column."""
    if array.shape == shape:
        return array
    if array.shape == (1, 1):
        return array_of([[array[0, 0]] * shape[1] for _ in range(shape[0])])
    if array.shape == shape[::-1] and 1 in shape:
        return array.T
    raise DeriveError(
        f"{name} is {shape[0]} × {shape[1]}, the value that it is given {array.shape[0]} × {array.shape[1]}"
    )


def array_of(rows: list[list[Any]]) -> Array:
    found = numpy.empty((len(rows), len(rows[0])), dtype=object)
    for i, row in enumerate(rows):
        for j, entry in enumerate(row):
            found[i, j] = entry
    return found
