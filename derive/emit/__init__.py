"""From a system to functions that run: one file a backend; `algorithm` is the one that is written to be read.

A backend is a module with `compile(system, dtype, functions) -> compiled`; `BACKENDS` names them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from derive.errors import DeriveError, did_you_mean

if TYPE_CHECKING:
    from derive.system import System

BACKENDS = {
    "numpy": "derive.emit.numpy",
    "c": "derive.emit.c",
    "jax": "derive.emit.jax",
    "torch": "derive.emit.torch",
}
DTYPES = ("float32", "float64")


def compile_system(
    system: System,
    backend: str = "numpy",
    dtype: str = "float64",
    functions: Mapping[str, Callable[..., Any]] | None = None,
) -> Any:
    """The functions of `system` in a backend.

    `functions` gives the named unknowns of the system: `{"phi": f, "phi'": df}`.  Raises `DeriveError` for a backend or a
    dtype that does not exist.
    """
    if backend not in BACKENDS:
        raise DeriveError(
            f"there is no backend {backend!r}{did_you_mean(backend, BACKENDS)}; the backends are {', '.join(BACKENDS)}"
        )
    if dtype not in DTYPES:
        raise DeriveError(f"there is no dtype {dtype!r}{did_you_mean(dtype, DTYPES)}; it is {' or '.join(DTYPES)}")
    return import_module(BACKENDS[backend]).compile(system, dtype, dict(functions or {}))
