"""SymPy's scalar `diff`, entry by entry.

Every entry of every state is a symbol `s` with its own scalar equation `s = f(s, θ)`; SymPy differentiates each `f` by
each symbol in it.  With `A = ∂f/∂s` and `B = ∂f/∂θ` the total derivative is `ds/dθ = (I - A)⁻¹ B`: a linear system is
solved, no chain rule is written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy
import sympy
from sympy import Expr, Rational, Symbol

from derive.evaluate import Array, Ring
from derive.oracles.road import Engine, Key, Linearization, Program
from derive.scalars import entrywise, object_array


class SympyRing(Ring):
    """Object arrays of SymPy scalars."""

    def number(self, q: Rational) -> Any:
        """As a `(1, 1)` array: SymPy's own `*` would make a tensor of NumPy's."""
        return object_array([[q]])

    def pi(self) -> Any:
        return object_array([[sympy.pi]])

    def constant(self, rows: Iterable[Iterable[int]]) -> Array:
        return object_array([[sympy.Integer(entry) for entry in row] for row in rows])

    def exp(self, a: Array) -> Array:
        return _each(sympy.exp, a)

    def log(self, a: Array) -> Array:
        return _each(sympy.log, a)

    def sqrt(self, a: Array) -> Array:
        return _each(sympy.sqrt, a)

    def sin(self, a: Array) -> Array:
        return _each(sympy.sin, a)

    def erf(self, a: Array) -> Array:
        return _each(sympy.erf, a)

    def compare(self, relation: str, a: Any, b: Any) -> Any:
        return _each(lambda d: sympy.Rel(d, 0, relation), a - b)

    def where(self, mask: Any, a: Any, b: Any) -> Any:
        if isinstance(mask, bool):
            return a if mask else b
        sides = [numpy.broadcast_to(numpy.asarray(side, dtype=object), mask.shape).flat for side in (a, b)]
        return object_array(
            [[sympy.Piecewise((x, m), (y, True)) for m, x, y in zip(mask.flat, *sides, strict=True)]], mask.shape
        )

    def sign(self, a: Array) -> Array:
        return _each(sympy.sign, a)


def _each(f: Callable[[Any], Any], a: Any) -> Any:
    return entrywise(f, a) if isinstance(a, numpy.ndarray) else f(a)


class SympyEngine(Engine):
    method = "sympy"
    traced = SympyRing()

    def linearize(self, program: Program, leaves: Mapping[Key, Array]) -> Linearization:
        scalars = _Scalars()
        symbols = {key: scalars.leaves(key, array) for key, array in leaves.items()}
        outputs = program(self.traced, symbols, scalars.settle)
        at = {key: array if _known(array) else scalars.settle((key, "output"), array) for key, array in outputs.items()}
        place = {s: i for i, s in enumerate(scalars.values)}
        total = scalars.total(place)

        def pull(key: Key, cotangent: Array) -> dict[Key, Array]:
            row = sum(
                float(c) * total[place[s]] for s, c in zip(at[key].flat, numpy.asarray(cotangent).flat, strict=True)
            )
            return {leaf: _table(lambda s: row[place[s]], array) for leaf, array in symbols.items()}

        return Linearization({key: _table(scalars.values.__getitem__, array) for key, array in at.items()}, pull)


class _Scalars:
    """Symbols with their numbers, and the scalar equations of those that have one."""

    def __init__(self) -> None:
        self.values: dict[Symbol, float] = {}
        self.partials: dict[Symbol, dict[Symbol, float]] = {}

    def leaves(self, key: Key, array: Array) -> Array:
        symbols = _symbols(key, array.shape)
        self.values.update((s, float(v)) for s, v in zip(symbols.flat, array.flat, strict=True))
        return symbols

    def settle(self, key: Key, array: Array) -> Array:
        """New symbols that equal the entries; their local derivatives, as numbers."""
        symbols = _symbols(("state", key), array.shape)
        entries = [sympy.sympify(entry) for entry in array.flat]
        reads = sorted({s for entry in entries for s in entry.free_symbols}, key=str)
        rows = [[entry, *(_diff(entry, s) if entry.has(s) else 0 for s in reads)] for entry in entries]
        numbers = sympy.lambdify(reads, rows, "math", cse=True)(*(self.values[s] for s in reads))
        for symbol, (value, *partials) in zip(symbols.flat, numbers, strict=True):
            self.values[symbol] = float(value)
            self.partials[symbol] = dict(zip(reads, map(float, partials), strict=True))
        return symbols

    def total(self, place: Mapping[Symbol, int]) -> numpy.ndarray:
        """`(I - A)⁻¹` with leaves and states in one vector: row `s`, column `θ` is `ds/dθ`."""
        local = numpy.zeros((len(place), len(place)))
        for symbol, partials in self.partials.items():
            for read, value in partials.items():
                local[place[symbol], place[read]] = value
        return numpy.linalg.inv(numpy.eye(len(place)) - local)


def _diff(entry: Expr, symbol: Symbol) -> Expr:
    """A jump has derivative zero."""
    return entry.diff(symbol).replace(sympy.DiracDelta, lambda *args: sympy.Integer(0))


def _known(array: Array) -> bool:
    return all(isinstance(entry, Symbol) for entry in array.flat)


def _symbols(key: Key, shape: tuple[int, ...]) -> Array:
    return object_array([[Symbol(f"{key}[{i}]", real=True) for i in range(int(numpy.prod(shape)))]], shape)


def _table(f: Callable[[Any], float], array: Array) -> numpy.ndarray:
    return numpy.array([f(e) for e in array.flat], dtype=float).reshape(array.shape)


def engine(seed: int) -> Engine:
    return SympyEngine()
