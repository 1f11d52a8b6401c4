"""From a system to functions that run: a backend is a module or a package here, and a row of `BACKENDS`.

It has two functions: `source(system, seeds)` is a standalone module as text, which needs no library to be written;
`compile(system, dtype, functions, seeds)` runs it.  It prints a `derive.schedule.Program`: what is computed when has been decided
there.  `seeds` are the states that have cotangents.

    numpy jax torch    backends that print operations on arrays
    loops              the program as nests of loops over named axes: what `c` and `numba` print
    c numba            backends that print loops
    face source        what every module says of its system; text that all of them share
    layout             names, rows and borders
    code library       nodes as NumPy's source; functions that it may call
    compiled           the module, run
    formula            one formula as a function
    segments cuts      time cut into segments: truncation, checkpoints
    lengths extent     batches of different lengths
    weighted arrays    losses in pieces; arrays of NumPy, JAX and PyTorch alike
    algorithm sweeps columns    both sweeps as Python to be read
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from derive.errors import DeriveError, did_you_mean

if TYPE_CHECKING:
    from derive.system import System

BACKENDS = {
    "numpy": "derive.emit.numpy",
    "c": "derive.emit.c",
    "numba": "derive.emit.numba",
    "jax": "derive.emit.jax",
    "torch": "derive.emit.torch",
}
DTYPES = ("float32", "float64")


def compile_system(
    system: System,
    backend: str = "numpy",
    dtype: str = "float64",
    functions: Mapping[str, Callable[..., Any]] | None = None,
    seeds: Collection[str] | str | None = None,
) -> Any:
    """The functions of `system` in a backend.

    `functions` gives the named unknowns of the system: `{"phi": f, "phi'": df}`.  `seeds`: the states that have cotangents,
    `"h, c"` (default: the outputs and what the loss reads).  Raises `DeriveError` for a backend, a dtype or a state that
    does not exist.
    """
    module = _backend(backend)
    if dtype not in DTYPES:
        raise DeriveError(f"there is no dtype {dtype!r}{did_you_mean(dtype, DTYPES)}; it is {' or '.join(DTYPES)}")
    return module.compile(system, dtype, dict(functions or {}), _seeds(system, seeds))


def module_source(system: System, backend: str = "numpy", seeds: Collection[str] | str | None = None) -> str:
    """The module of `system` in a backend as text; what stands in it is what `compile_system` runs.

    Writing it needs nothing but derive.  Raises as that.
    """
    return str(_backend(backend).source(system, _seeds(system, seeds)))


def _backend(name: str) -> Any:
    if name not in BACKENDS:
        raise DeriveError(
            f"there is no backend {name!r}{did_you_mean(name, BACKENDS)}; the backends are {', '.join(BACKENDS)}"
        )
    return import_module(BACKENDS[name])


def _seeds(system: System, names: Collection[str] | str | None) -> tuple[str, ...] | None:
    """As `schedule` takes them: in the order of the equations."""
    from derive.schedule.terms import chosen_seeds

    if names is None:
        return None
    return chosen_seeds(system, names.replace(",", " ").split() if isinstance(names, str) else names)
