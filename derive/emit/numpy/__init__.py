"""A system as a standalone NumPy module: `forward`, `vjp`, `value_and_grad` and a `check` against finite differences.

The module is the program of `derive.schedule`, printed: what no recurrence needs is computed for all steps at once, products
of one operand are one product, and a loop writes into arrays that were allocated before it.  An array has rows for the points
around the lattice that are read: with one before the first step, `h[t]` is the state of step `t` and `h[0]` its boundary value.
All other such rows are zero, and that is all there is to the border: the adjoint of what lies outside is zero.

    gains         coefficients of the backward sweep, multiplied out
    parts         how the parts of a stack lie in memory
    regions       where statements stand, and how arrays are read there
    waves         grids, wave by wave
    ufuncs        calls that write in place
    writer        names, arrays, places
    products      matrix products
    statements    calls that write in place, and loops
    allocation    what a function begins with
    gradients     the backward pass
    losses        the loss, and what it reads itself
    module        the whole
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from derive.emit.compiled import Compiled, require
from derive.emit.numpy.module import Module
from derive.schedule import schedule
from derive.system import System


def source(system: System, seeds: tuple[str, ...] | None = None) -> str:
    """The module of a system; `seeds` are the states that have cotangents."""
    return Module(schedule(system, seeds)).source()


def compile(
    system: System, dtype: str, functions: Mapping[str, Callable[..., Any]], seeds: tuple[str, ...] | None = None
) -> Compiled:
    """The module, run; `functions` are the named unknowns of the system, with their derivatives."""
    module = Module(schedule(system, seeds))
    text = module.source()
    require(system, functions, module.unknown)
    again = partial(compile, system, dtype, functions)
    return Compiled(system, text, dtype, functions, module.program.seeds, again)
