"""Emitted JAX modules, run: jitted, with 64 bits where they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy

from derive.emit.compiled import Arrays, Compiled

CALLED = ("forward", "vjp", "value_and_grad", "states")
"""The functions of a module that are jitted."""


class CompiledJax(Compiled):
    """The functions of an emitted JAX module, jitted.

    With dtype "float64" they run where JAX has 64 bits switched on, for the time of the call, and nothing else changes:
    results are NumPy's arrays then, unless `jax_enable_x64` is set.  With arrays that are being traced the functions of
    the module are called as they are, in the caller's own settings.
    """

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.module: Any = Jitted(self.module, self.dtype == "float64", bool(self.system.inputs))

    def _cast(self, arrays: Arrays | None) -> Arrays:
        import jax

        given = arrays or {}
        if all(
            [isinstance(a, jax.Array) and (self.dtype == "float64" or a.dtype == self.dtype) for a in given.values()]
        ):
            return given
        kept = {name: array for name, array in given.items() if isinstance(array, jax.Array)}
        others = super()._cast({name: array for name, array in given.items() if name not in kept})
        if self.dtype != "float64":
            kept = {name: a if a.dtype == self.dtype else a.astype(self.dtype) for name, a in kept.items()}
        return {**others, **kept}


class Jitted:
    """A module whose functions are jitted when they are first called.

    Without inputs a length is a number that is given, and they are not.
    """

    def __init__(self, module: Any, wide: bool, jits: bool):
        self.module, self.wide, self.jits = module, wide, jits
        self.jitted: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.module, name)
        return partial(self._call, name, function) if name in CALLED else function

    def _call(self, name: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        import jax

        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((arguments, named))):
            return function(*arguments, **named)
        if self.jits and name not in self.jitted:
            self.jitted[name] = jax.jit(function)
        ready = self.jitted.get(name, function)
        if not self.wide or jax.config.read("jax_enable_x64"):
            return ready(*arguments, **named)
        with jax.enable_x64(True):
            found = ready(*arguments, **named)
        # What has 64 bits would lose half of them at the next step of JAX, where these are switched off.
        return jax.tree.map(numpy.asarray, found)
