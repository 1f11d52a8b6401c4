"""A system as a standalone JAX module: pure functions, with the derived adjoint as the rule for reverse mode.

`forward`, `vjp` and `value_and_grad` may be jitted, mapped with `vmap`, and differentiated again.  `states` is a
`jax.custom_vjp`: `jax.grad` of any function of it runs the derived adjoint.  JAX has NumPy's names, so that formulas are
printed as NumPy's and spelled with `jnp`.

    library    functions, as JAX has them, and the texts that all modules share
    traced     statements as lines of a traced function
    chains     a sweep along a chain as a `lax.scan`
    waves      a sweep of a grid as a `lax.scan` along a wave
    passes     the forward and the backward pass as functions
    module     the text of a module
    jitted     the module, run
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

from derive.emit.compiled import Compiled, require
from derive.emit.jax.jitted import CompiledJax
from derive.emit.jax.module import Module
from derive.errors import DeriveError
from derive.schedule import schedule
from derive.system import System


def source(system: System, seeds: tuple[str, ...] | None = None) -> str:
    """The module of a system; `seeds` are the states that have cotangents."""
    return Module(schedule(system, seeds, False)).source()


def compile(
    system: System, dtype: str, functions: Mapping[str, Callable[..., Any]], seeds: tuple[str, ...] | None = None
) -> Compiled:
    """The module, run; `functions` are the named unknowns of the system, with their derivatives, written in JAX."""
    if find_spec("jax") is None:
        raise DeriveError('the backend "jax" needs JAX, which is not installed: pip install jax')
    module = Module(schedule(system, seeds, False))
    text = module.source()
    require(system, functions, module.unknown)
    again = partial(compile, system, dtype, functions)
    return CompiledJax(system, text, dtype, functions, module.program.seeds, again, "jax")
