"""What can be done to an array of NumPy, JAX or torch alike: their functions that go by one name, and what follows from those.

Nothing here writes into an array, since JAX's can't be written to.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

LIBRARIES = {"jax": "jax.numpy", "jaxlib": "jax.numpy", "torch": "torch"}
"""By the package of an array's type: where `concatenate`, `where`, `zeros_like`, `broadcast_to` and `minimum` are."""


def library(*arrays: Any) -> Any:
    """The module of the first array that is not NumPy's; NumPy if there is none."""
    packages = (type(array).__module__.partition(".")[0] for array in arrays)
    return import_module(next((LIBRARIES[p] for p in packages if p in LIBRARIES), "numpy"))


def as_array(value: Any) -> Any:
    return value if hasattr(value, "shape") else np.asarray(value)


def known(values: Any) -> np.ndarray | None:
    """The numbers of an array; None for one of JAX's that is being traced, which has none yet."""
    try:
        return np.asarray(values.cpu() if hasattr(values, "cpu") else values)
    except TypeError:
        return None


def finite(array: Any) -> bool:
    """Whether all entries are; of an array that is being traced this is taken on trust."""
    try:
        return bool(library(array).isfinite(array).all())
    except TypeError:
        return True


def beside(values: Any, array: Any) -> Any:
    """`values` in the library, and on the device, of `array`."""
    module = library(values, array)
    return module.asarray(values, device=array.device) if module.__name__ == "torch" else module.asarray(values)


def joined(parts: Sequence[Any], axis: int = 0) -> Any:
    """The parts one after the other, in memory of their own."""
    return library(*parts).concatenate(list(parts), axis=axis)


def zeros(rows: int, row: Any) -> Any:
    """So many rows of zeros, each as `row`."""
    module = library(row)
    return module.zeros_like(module.broadcast_to(row, (rows, *row.shape)))


def ones(shape: Sequence[int], like: Any) -> Any:
    """Of single precision, which leaves the precision of what they are multiplied with as it is."""
    return beside(np.ones(tuple(shape), np.float32), like)


def row_added(array: Any, row: int, value: Any) -> Any:
    """`array` with `value` added to one of its rows."""
    return joined([array[:row], (array[row] + value)[None], array[row + 1 :]])


def lengthened(array: Any, axis: int, length: int) -> Any:
    """`array` with zeros behind it along an axis, up to a length."""
    missing = length - array.shape[axis]
    if not missing:
        return array
    module = library(array)
    more = module.zeros_like(array[(slice(None),) * axis + (slice(0, 1),)])
    shape = [missing if k == axis else size for k, size in enumerate(array.shape)]
    return joined([array, module.broadcast_to(more, tuple(shape))], axis)


def kept(mask: Any, array: Any) -> Any:
    """`array` where the mask is true, zero elsewhere; the mask has the leading axes of the array, or 1 in their place."""
    mask = beside(mask, array)
    module = library(mask, array)
    mask = mask.reshape((*mask.shape, *(1 for _ in array.shape[mask.ndim :])))
    return module.where(mask, beside(array, mask), module.zeros_like(beside(array, mask)))
