"""The machine's BLAS, by the address of its gemm: the OpenBLAS that comes with NumPy, or the system's."""

from __future__ import annotations

import ctypes
import ctypes.util
import glob
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

NAMES = (("scipy_cblas_{}gemm64_", "long"), ("cblas_{}gemm64_", "long"), ("cblas_{}gemm", "int"))
"""What gemm is called, and the integers that it takes."""


@dataclass(frozen=True)
class Blas:
    library: ctypes.CDLL
    name: str
    integer: str

    def gemm(self, dtype: np.dtype) -> int:
        letter = {"float32": "s", "float64": "d"}[str(dtype)]
        address = ctypes.cast(self.library[self.name.format(letter)], ctypes.c_void_p).value
        assert address
        return address


@cache
def blas() -> Blas:
    """Raises `OSError` where there is none."""
    beside = Path(np.__file__).parent
    bundled = [
        path for folder in ("../numpy.libs", ".libs", ".dylibs") for path in glob.glob(f"{beside / folder}/*openblas*")
    ]
    for path in (*bundled, *filter(None, map(ctypes.util.find_library, ("openblas", "cblas", "blas", "Accelerate")))):
        library = ctypes.CDLL(path)
        for name, integer in NAMES:
            if hasattr(library, name.format("s")):
                return Blas(library, name, integer)
    raise OSError("no BLAS was found: neither one that NumPy brought along nor one of the system; install OpenBLAS")
