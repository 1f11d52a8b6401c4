"""What an emitted module imports, and how it calls its loops: the text of it."""

from __future__ import annotations

from collections.abc import Iterable

_IMPORTS = """\
import difflib
import functools
import importlib.util
import itertools
import math
import types
import warnings

import numpy as np

try:
    import numba
    from numba import extending
except ImportError as error:
    raise ImportError("these loops need numba: pip install numba scipy") from error"""

CONSTANTS = """\
# numba's products of matrices are SciPy's; those of fewer multiplications than LARGE are loops, without SciPy all are.
SCIPY = importlib.util.find_spec("scipy") is not None
LARGE = 1 << 14

# A number that a float32 holds exactly takes the type of what it meets: written so, no float32 becomes a float64.
exact = np.float32

# Sums may be added up in any order; infinities and what is not a number stay what they are.
ANY_ORDER = {"fastmath": {"contract", "nsz", "reassoc"}, "error_model": "numpy", "nogil": True}
jit = numba.njit(cache=False, **ANY_ORDER)"""

IN_ORDER = """\
# Where rounding is made use of, sums are added up as they are written.
IN_ORDER = {"fastmath": {"contract"}, "error_model": "numpy", "nogil": True}
jit_in_order = numba.njit(cache=False, **IN_ORDER)"""

_CALLS = '''
@functools.cache
def _routines(dtype):
    """The loops for numbers of this dtype; they take an empty array for what was not given."""
    if not SCIPY:
        warnings.warn("SciPy is not installed: large products of matrices are loops, which are slower", stacklevel=4)
    empty = np.empty(0, dtype)

    def filled(loops):
        return lambda *arguments: loops(*[empty if given is None else given for given in arguments])

    loops = {ROUTINES}
    return types.SimpleNamespace(**{name: filled(routine) for name, routine in loops.items()})


def _at(array):
    """The numbers of an array in a row; one that can't be written is copied, or all would be compiled again for it."""
    numbers = array.reshape(-1)
    return numbers if numbers.flags.behaved else numbers.copy()
'''


def imports(definitions: Iterable[str]) -> str:
    return _IMPORTS if _in_order(definitions) else _IMPORTS.replace("    from numba import extending\n", "")


def constants(definitions: Iterable[str]) -> str:
    return f"{CONSTANTS}\n\n{IN_ORDER}" if _in_order(definitions) else CONSTANTS


def _in_order(definitions: Iterable[str]) -> bool:
    return any("IN_ORDER" in text for text in definitions)


def calls(routines: Iterable[str]) -> str:
    return _CALLS.replace("ROUTINES", ", ".join(f'"{name}": {name}_loops' for name in routines))
