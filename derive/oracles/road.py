"""What a road is: a library that can run a program forwards and pull cotangents back through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy

from derive.errors import DeriveError
from derive.evaluate import Array, Ring

if TYPE_CHECKING:
    from derive.system import System

Key: TypeAlias = Any
Settle: TypeAlias = "Callable[[Key, Array], Array]"
Program: TypeAlias = "Callable[[Ring, Mapping[Key, Array], Settle], dict[Key, Array]]"
"""`program(ring, leaves, settle)` gives the outputs; every value that others read goes through `settle` once."""

TITLES = {"autograd": "HIPS autograd", "jax": "JAX", "torch": "PyTorch"}


class MissingLibrary(DeriveError):
    """The road's library is not installed."""


@dataclass(frozen=True)
class Linearization:
    """Outputs of a program, and `pull(key, cotangent)`: the derivatives of `<cotangent, output>` by every leaf."""

    values: dict[Key, Array]
    pull: Callable[[Key, Array], Mapping[Key, Array]]
    push: Callable[[Mapping[Key, Array]], dict[Key, Array]] | None = None
    """The derivatives of all outputs along directions of the leaves, where the road has a quicker way than `pull`."""


class Engine:
    """One road under one seed.  Values that leave it are plain: float64 arrays, or untaped field elements."""

    method = ""
    exact = False
    ring: Ring = Ring()
    """The ring of plain values, in which formulas are evaluated."""

    def leaf(self, key: Key, floats: numpy.ndarray, simplex: bool = False) -> Array:
        """The plain value of a leaf; `simplex`: the entries sum to one."""
        return floats / floats.sum() if simplex else floats

    def linearize(self, program: Program, leaves: Mapping[Key, Array]) -> Linearization:
        raise NotImplementedError

    def difference(self, a: Array, b: Array) -> tuple[float, tuple[int, int] | None]:
        """`(largest relative difference, the entry where they differ)`; the entry is None where the two agree."""
        scale = 1 + numpy.maximum(numpy.abs(a), numpy.abs(b))
        error = numpy.abs(a - b) / scale
        error = numpy.where(numpy.isfinite(error), error, numpy.inf)
        worst = float(error.max()) if error.size else 0.0
        wrong = numpy.argwhere(error > TOLERANCE)
        return worst, (int(wrong[0][0]), int(wrong[0][1])) if len(wrong) else None

    def error_bound(self, degree: int) -> float | None:
        """The probability that one seed accepts a false equation; None for floats, which certify nothing."""
        return None


TOLERANCE = 1e-8


class VectorEngine(Engine):
    """A road whose library maps one vector to one vector: `vjp(f, x) -> (f(x), c ↦ cᵀ f'(x))`, in NumPy arrays."""

    traced: Ring

    def vjp(
        self, f: Callable[[Any], Any], x: numpy.ndarray
    ) -> tuple[numpy.ndarray, Callable[[numpy.ndarray], numpy.ndarray]]:
        raise NotImplementedError

    def linearize(self, program: Program, leaves: Mapping[Key, Array]) -> Linearization:
        leaf_layout = _Layout({key: value.shape for key, value in leaves.items()})
        layouts: list[_Layout] = []

        def f(vector: Any) -> Any:
            outputs = program(self.traced, leaf_layout.split(vector), lambda key, value: value)
            layouts.append(_Layout({key: tuple(value.shape) for key, value in outputs.items()}))
            return self.traced.array.concatenate([value.reshape(-1) for value in outputs.values()])

        vector, pull = self.vjp(f, leaf_layout.join(leaves))
        layout = layouts[-1]
        return Linearization(
            layout.split(vector),
            lambda key, cotangent: leaf_layout.split(pull(layout.join({key: cotangent}))),
        )


class _Layout:
    """Arrays by key, and the same numbers as one vector."""

    def __init__(self, shapes: Mapping[Key, tuple[int, ...]]):
        self.shapes = shapes
        sizes = [int(numpy.prod(shape)) for shape in shapes.values()]
        ends = numpy.cumsum(sizes).tolist()
        self.slices = {key: slice(end - size, end) for key, size, end in zip(shapes, sizes, ends, strict=True)}
        self.size = ends[-1] if ends else 0

    def split(self, vector: Any) -> dict[Key, Any]:
        return {key: vector[self.slices[key]].reshape(shape) for key, shape in self.shapes.items()}

    def join(self, arrays: Mapping[Key, Array]) -> numpy.ndarray:
        """Keys that are left out are zero."""
        vector = numpy.zeros(self.size)
        for key, array in arrays.items():
            vector[self.slices[key]] = numpy.asarray(array, dtype=float).reshape(-1)
        return vector


@dataclass(frozen=True)
class Road:
    """A name in `ROADS`.  The library is imported with the first engine."""

    name: str
    module: str
    library: str
    exact: bool = False
    lengths: tuple[int, ...] = (1, 2, 3, 4)
    """The numbers of steps at which equations are checked."""
    small: bool = False
    """Whether every dimension is 2."""
    everyday: bool = True
    """Whether `derive check` takes it unasked."""

    @property
    def available(self) -> bool:
        return not self.library or find_spec(self.library) is not None

    def require(self) -> None:
        """Raises `MissingLibrary`, which says what to install."""
        if not self.available:
            title = TITLES[self.library]
            raise MissingLibrary(f"{title} is not installed: pip install derive-bptt[{self.library}]")

    def engine(self, seed: int) -> Engine:
        self.require()
        return import_module(self.module).engine(seed)

    def unroll(self, system: System, sizes: Mapping[Any, int], seed: int, T: int | tuple[int, ...]) -> Any:
        """The system, unrolled over `T` steps (a tuple of lengths on a grid), as an `Unrolled`."""
        from derive.oracles.truth import Unrolled

        return Unrolled(system, self, {**sizes, **lengths(system, T)}, seed)

    def gradients(
        self, system: System, sizes: Mapping[Any, int], seed: int, T: int | tuple[int, ...]
    ) -> dict[str, Array]:
        """The gradient of the total loss by every name: parameters `W`; trajectories, time first, of inputs `x` and
        states `h`; boundary values `h[0]`."""
        return self.unroll(system, sizes, seed, T).gradients()

    def jacobian(
        self, system: System, sizes: Mapping[Any, int], seed: int, T: int | tuple[int, ...], y: str, y_point:
        tuple[int, ...], x: str, x_point: tuple[int, ...], held: tuple[str, ...] = (),
    ) -> Array:  # fmt: skip
        """`∂y/∂x`, total, in numerator layout; `held` names are constants."""
        return self.unroll(system, sizes, seed, T).jacobian(y, y_point, x, x_point, held)


def lengths(system: System, T: int | tuple[int, ...]) -> dict[Any, int]:
    counts = (T,) * system.lattice.dimension if isinstance(T, int) else T
    return dict(zip(system.lattice.lengths, counts, strict=True))
