"""An emitted module, run: what `System.compile` returns."""

from __future__ import annotations

import linecache
import re
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from derive.errors import DeriveError
from derive.system import System

Arrays: TypeAlias = "Mapping[str, Any]"


class Compiled:
    """The functions of a system; what runs is `source`, as it would be exported.

    Arrays are time-major, `(T, [batch,] n)`, on a grid `(I, J, [batch,] n)`; keys are names as typed: `"W_z"`, `"x"`,
    `"h[0]"`.  With dtype "float64" the arrays' own dtype decides (float32 stays float32), with "float32" they are rounded
    to that first.  A wrong shape or a missing name is a `ValueError`.
    """

    def __init__(
        self,
        system: System,
        source: str,
        dtype: str,
        functions: Mapping[str, Callable[..., Any]],
        seeds: Sequence[str],
        emit: Callable[[tuple[str, ...]], Compiled],
    ):
        self.system, self.source, self.dtype, self.functions = system, source, dtype, dict(functions)
        self.seeds, self._emit = tuple(seeds), cache(emit)
        self.module = _run(source, system.name)
        if hasattr(self.module, "FUNCTIONS"):
            self.module.FUNCTIONS.update(functions)

    def forward(self, params: Arrays, inputs: Arrays, initial: Arrays | None = None) -> dict[str, np.ndarray]:
        """The trajectory of every state.  A boundary value that `initial` leaves out is zero."""
        return self.module.forward(self._cast(params), self._cast(inputs), self._cast(initial))

    def vjp(
        self, params: Arrays, inputs: Arrays, cotangents: Arrays, initial: Arrays | None = None
    ) -> dict[str, np.ndarray]:
        """The gradients of `Σ <cotangent, state>` by every parameter, input and boundary value.

        Cotangents may name any state; those that are left out are zero.  `source` is the module for those of `seeds`; for
        others a module is emitted when they are first given.  A parameter's gradient, and that of a learned
        boundary value, is summed over the batch.
        """
        missing = f"{self.system.name} was derived from another system; compile that one for gradients"
        vjp = self._function("vjp", missing)
        more = [v.name for v in self.system.states if v.name in cotangents and v.name not in self.seeds]
        if more:
            return self._emit((*self.seeds, *more)).vjp(params, inputs, cotangents, initial)
        return vjp(self._cast(params), self._cast(inputs), self._cast(cotangents), self._cast(initial))

    def value_and_grad(
        self, params: Arrays, inputs: Arrays, targets: Arrays, initial: Arrays | None = None
    ) -> tuple[Any, dict[str, np.ndarray]]:
        """The loss, summed over the batch, and its gradients.  Raises `DeriveError` where the loss is left abstract."""
        outputs = ", ".join(self.system.outputs)
        missing = f"the loss of {self.system.name} is left abstract; use vjp with the cotangents of {outputs}"
        value_and_grad = self._function("value_and_grad", missing)
        return value_and_grad(self._cast(params), self._cast(inputs), self._cast(targets), self._cast(initial))

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

    def _cast(self, arrays: Arrays | None) -> Arrays:
        if self.dtype == "float64" or not arrays:
            return arrays or {}
        return {name: _rounded(value, self.dtype) for name, value in arrays.items()}


def _rounded(value: Any, dtype: str) -> Any:
    return value if isinstance(value, int) else np.asarray(value, dtype=dtype)


def _run(source: str, name: str) -> types.ModuleType:
    """The module that the source is; tracebacks show its lines."""
    module = types.ModuleType("derived_" + re.sub(r"\W+", "_", name))
    filename = f"<derive {name}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec"), module.__dict__)  # our own text: names are identifiers, the rest is quoted
    return module
