"""An emitted module, run: what `System.compile` returns."""

from __future__ import annotations

import linecache
import re
import types
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property, partial
from typing import Any, TypeAlias

import numpy as np

from derive.emit import compile_system
from derive.emit.cuts import asked
from derive.emit.lengths import Batch
from derive.emit.segments import Segmented
from derive.emit.weighted import Weighted
from derive.errors import DeriveError
from derive.system import System

Arrays: TypeAlias = "Mapping[str, Any]"


THIRD = {"forward": "", "vjp": "cotangents", "value_and_grad": "targets"}
"""What functions take behind params and inputs."""


def require(system: System, functions: Mapping[str, Callable[..., Any]], called: Iterable[str]) -> None:
    """That every function without a formula that a module calls was given; else a `DeriveError` that says which are not."""
    missing = [name for name in called if name not in functions]
    if missing:
        entries = ", ".join(f'"{name}": …' for name in missing)
        raise DeriveError(f"{system.name} has functions without a formula; give them, functions={{{entries}}}")


class Compiled:
    """The functions of a system; what runs is `source`, as it would be exported.

    Arrays are time-major, `(T, [batch,] n)`, on a grid `(I, J, [batch,] n)`; keys are names as typed: `"W_z"`, `"x"`,
    `"h[0]"`.  With dtype "float64" the arrays' own dtype decides (float32 stays float32), with "float32" they are rounded
    to that first.  A wrong shape or a missing name is a `ValueError`.

    `lengths`: how many steps every sample of a padded batch has, of the batch's shape; on a grid with one more axis, for the
    axes of the lattice.  Results are those of every sample alone on its own length, zero beyond it.
    """

    def __init__(
        self,
        system: System,
        source: str,
        dtype: str,
        functions: Mapping[str, Callable[..., Any]],
        seeds: Sequence[str],
        emit: Callable[[tuple[str, ...]], Compiled],
        backend: str = "numpy",
    ):
        self.system, self.source, self.dtype, self.functions = system, source, dtype, dict(functions)
        self.seeds, self._emit, self.backend = tuple(seeds), cache(emit), backend
        self.module = _run(source, system.name)
        if hasattr(self.module, "FUNCTIONS"):
            self.module.FUNCTIONS.update(functions)

    def forward(
        self, params: Arrays, inputs: Arrays, initial: Arrays | None = None, *, lengths: Any = None
    ) -> dict[str, Any]:
        """The trajectory of every state.  A boundary value that `initial` leaves out is zero."""
        self._ask_lengths(inputs)
        if lengths is None:
            return self.module.forward(self._cast(params), self._cast(inputs), self._cast(initial))
        batch = Batch(self.system, lengths, inputs, {}, initial or {})
        return batch.run(lambda p, x, _, initial: self.forward(p, x, initial), params)

    def vjp(
        self,
        params: Arrays,
        inputs: Arrays,
        cotangents: Arrays,
        initial: Arrays | None = None,
        *,
        lengths: Any = None,
        truncate: int | None = None,
        checkpoint: int | bool | None = None,
    ) -> dict[str, Any]:
        """The gradients of `Σ <cotangent, state>` by every parameter, input and boundary value.

        Cotangents may name any state; those that are left out are zero.  `source` is the module for those of `seeds`; for
        others a module is emitted when they are first given.  A parameter's gradient, and that of a learned
        boundary value, is summed over the batch.

        `truncate=k`: truncated backpropagation: gradients of states end every k steps, counted from where the states
        start to flow, as with `detach`; those by inputs, read at whatever step, do not.  A boundary value such as h[0]
        gets its gradient from the first k steps.
        `checkpoint=k`: the same gradients with less memory: in segments of k steps (True: about the root of T), each of
        which runs forwards a second time.
        Raises `DeriveError` where these are asked of a grid, or of states that flow both ways.
        """
        self._function("vjp", f"{self.system.name} was derived from another system; compile that one for gradients")
        self._ask_lengths(inputs)
        if lengths is None:
            return self._vjp(params, inputs, cotangents, initial or {}, truncate, checkpoint)
        batch = Batch(self.system, lengths, inputs, cotangents, initial or {})
        return batch.run(lambda p, x, c, initial: self._vjp(p, x, c, initial, truncate, checkpoint), params)

    def _vjp(
        self, params: Arrays, inputs: Arrays, cotangents: Arrays, initial: Arrays, truncate: Any, checkpoint: Any
    ) -> dict[str, Any]:
        if not asked(truncate) and not asked(checkpoint):
            others = cotangents.keys() - self.seeds
            more = tuple(v.name for v in self.system.states if v.name in others) if others else ()
            if more:
                return self._emit((*self.seeds, *more)).vjp(params, inputs, cotangents, initial)
            return self.module.vjp(self._cast(params), self._cast(inputs), self._cast(cotangents), self._cast(initial))
        return self._segmented.vjp(params, inputs, cotangents, initial, truncate, checkpoint)

    def value_and_grad(
        self,
        params: Arrays,
        inputs: Arrays,
        targets: Arrays,
        initial: Arrays | None = None,
        *,
        lengths: Any = None,
        truncate: int | None = None,
        checkpoint: int | bool | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """The loss, summed over the batch, and its gradients; the options are those of `vjp`.

        With `lengths` a loss of the last step is that of every sample's own last step.  Raises `DeriveError` where the
        loss is left abstract.
        """
        outputs = ", ".join(self.system.outputs)
        missing = f"the loss of {self.system.name} is left abstract; use vjp with the cotangents of {outputs}"
        value_and_grad = self._function("value_and_grad", missing)
        self._ask_lengths(inputs)
        if lengths is None and not asked(truncate) and not asked(checkpoint):
            return value_and_grad(self._cast(params), self._cast(inputs), self._cast(targets), self._cast(initial))
        return self._weighted.value_and_grad(
            params, inputs, targets, initial or {}, lengths, truncate=truncate, checkpoint=checkpoint
        )

    def bind(self, function: str, params: Arrays, inputs: Arrays, *others: Arrays) -> Callable[[], Any]:
        """`forward`, `vjp` or `value_and_grad` of these arrays, as a function of no arguments, for many calls.

        Names, shapes and dtypes are looked at once; every call reads what the arrays hold then, such as parameters that an
        optimiser changes in place, and returns new arrays.  One call has to end before the next begins.  `others` are what
        the function takes behind `inputs`.  Raises `ValueError` for an array that would have to be copied: one of another
        dtype, a list, with c and numba also one with gaps; `DeriveError` for a function that there is not.
        """
        if function not in THIRD:
            raise DeriveError(f"{function!r} is none of the functions that can be bound: {', '.join(THIRD)}")
        if THIRD[function] and not others:
            raise DeriveError(f"{function} takes {THIRD[function]} behind the inputs, which were not given")
        self._function(function, f"{self.system.name} has no {function}")
        self._ask_lengths(inputs)
        given = [params, inputs, *others]
        if function == "vjp":
            unseen = tuple(v.name for v in self.system.states if v.name in others[0].keys() - self.seeds)
            if unseen:
                return self._emit((*self.seeds, *unseen)).bind(function, *given)
        for arrays in given:
            for name, array in self._cast(arrays).items():
                if array is not arrays[name]:
                    raise ValueError(
                        f"{name} would be copied, so that its changes are not seen; give an array of {self.dtype}"
                    )
        if hasattr(self.module, "bind"):
            return self.module.bind(function, *given)
        return partial(getattr(self.module, function), *given)

    @cached_property
    def _segmented(self) -> Segmented:
        return Segmented(self.system, self._alike)

    @cached_property
    def _weighted(self) -> Weighted:
        return Weighted(self.system, self._alike)

    def _alike(self, system: System) -> Any:
        """Another system, compiled in the same way."""
        return compile_system(system, self.backend, self.dtype, self.functions)

    def function(self, query: str, **options: Any) -> Callable[..., Any]:
        """The result of a query as one function of arrays, through SymPy's `lambdify`; its docstring lists the arguments.

        `options` are those of `System.derive`.  Raises `DeriveError` where the result is no formula of arrays.
        """
        from derive.emit.formula import formula_function

        return formula_function(self.system.derive(query, **options), self.functions)

    def _function(self, name: str, missing: str) -> Callable[..., Any]:
        if not hasattr(self.module, name):
            raise DeriveError(missing)
        return getattr(self.module, name)

    @cached_property
    def _lengths(self) -> tuple[str, ...]:
        """The lengths that no array shows: they are given among the inputs, as numbers."""
        shown = self.system.inputs or self.system.of_kind("target")
        return () if shown else tuple(str(n) for n in self.system.lattice.lengths)

    def _ask_lengths(self, inputs: Arrays) -> None:
        for length in self._lengths:
            if length not in inputs:
                raise ValueError(f"inputs lacks {length!r}, a number of steps, which no array shows")

    def _cast(self, arrays: Arrays | None) -> Arrays:
        if self.dtype == "float64" or not arrays:
            return arrays or {}
        dtype = np.dtype(self.dtype)
        if all([getattr(value, "dtype", None) is dtype for value in arrays.values()]):
            return arrays
        return {name: _rounded(value, dtype) for name, value in arrays.items()}


def _rounded(value: Any, dtype: np.dtype[Any]) -> Any:
    return value if isinstance(value, int) else np.asarray(value, dtype=dtype)


def _run(source: str, name: str) -> types.ModuleType:
    """The module that the source is; tracebacks show its lines."""
    module = types.ModuleType("derived_" + re.sub(r"\W+", "_", name))
    filename = f"<derive {name}, {zlib.crc32(source.encode()):08x}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec"), module.__dict__)  # our own text: names are identifiers, the rest is quoted
    return module
