"""What an emitted module imports, and how it calls its loops: the text of it."""

from __future__ import annotations

import re
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
except ImportError as error:
    raise ImportError("these loops need numba: pip install numba scipy") from error"""

CONSTANTS = """\
# numba's products of matrices are SciPy's.  Products of fewer multiplications than LARGE are loops; without SciPy, all are.
SCIPY = importlib.util.find_spec("scipy") is not None
LARGE = 1 << 14

# A number that a float32 holds exactly takes the type of what it meets: written so, no float32 becomes a float64.
exact = np.float32

# Sums may be added up in any order; infinities and what is not a number stay what they are.
jit = numba.njit(cache=False, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy", nogil=True)"""

_CALLS = '''
@functools.cache
def _routines(dtype):
    """The loops for numbers of this dtype; they take an empty array for what was not given."""
    if not SCIPY:
        warnings.warn("SciPy is not installed: large products of matrices are loops, which are slower", stacklevel=4)
    empty = np.empty(0, dtype)

    def filled(loops):
        return lambda *arguments: loops(*[empty if given is None else given for given in arguments])

    return types.SimpleNamespace(ROUTINES)


def _at(array):
    """The numbers of an array in a row; one that can't be written is copied, or numba would compile all again for it."""
    numbers = array.reshape(-1)
    return numbers if numbers.flags.behaved else numbers.copy()
'''


def imports(text: Iterable[str]) -> str:
    return _IMPORTS


def calls(routines: Iterable[str]) -> str:
    return _CALLS.replace("ROUTINES", ", ".join(f"{name}=filled({name}_loops)" for name in routines))
