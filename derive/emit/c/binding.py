"""How an emitted module builds its C source, keeps what was built and calls it: text, which needs ctypes and NumPy only."""

LIBRARY = '''
FLAGS = ("-O2", "-march=native", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")


@functools.cache
def _routines(dtype):
    """The C functions for numbers of this dtype, built once and kept in the user's cache."""
    suffix, blas, product = _blas(dtype)
    library = ctypes.CDLL(str(_built(("-DSINGLE",) if dtype == np.float32 else (), suffix)))
    for name, arguments in ARGUMENTS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = None, [ctypes.c_long] * SIZES + [ctypes.c_void_p] * len(arguments)
    if product is not None:
        library.use_blas.restype, library.use_blas.argtypes = None, [ctypes.c_void_p]
        library.use_blas(ctypes.cast(product, ctypes.c_void_p))
    library.blas = blas
    return library


def _at(array):
    """The address of an array's first number; the quicker way is for arrays that may be written."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    except (TypeError, ValueError, BufferError):
        return array.ctypes.data


def _built(precision, suffix):
    """The shared library of SOURCE: found in the cache by its content, or built by the system's compiler."""
    compiler = _compiler()
    wide = ("-mprefer-vector-width=512",) if platform.machine() in ("x86_64", "AMD64") else ()
    command = [*compiler.split(), *FLAGS, *wide, *precision, f"-Dblas_int={suffix}"]
    identity = "\\n".join([SOURCE, *command, platform.machine(), _processor()])
    folder = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "derive")
    name = hashlib.sha256(identity.encode()).hexdigest()[:32] + ".so"
    if (folder / name).exists():
        return folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        room = tempfile.TemporaryDirectory(dir=folder)
    except OSError:
        folder = pathlib.Path(tempfile.mkdtemp())
        room = tempfile.TemporaryDirectory(dir=folder)
    with room as made:
        source, library = pathlib.Path(made, "source.c"), pathlib.Path(made, "library.so")
        source.write_text(SOURCE, encoding="utf-8")
        done = subprocess.run([*command, "-o", library, source, "-lm"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{compiler} does not build this module: {done.stderr.strip()}")
        os.replace(library, folder / name)
    return folder / name


def _compiler():
    """The command of the system's C compiler."""
    found = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if found is None:
        raise OSError(
            "there is no C compiler: install one (gcc or clang, as cc), or use the backend numba or numpy, "
            "which need none"
        )
    return found


def _processor():
    """What the processor can do, which -march=native asks."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        return platform.processor()


@functools.cache
def _blas(dtype):
    """BLAS's product of matrices, as `(type of its sizes, library, function)`; NumPy's own BLAS first."""
    letter = "s" if dtype == np.float32 else "d"
    symbols = {f"scipy_cblas_{letter}gemm64_": "int64_t", f"cblas_{letter}gemm64_": "int64_t",
               f"scipy_cblas_{letter}gemm": "int32_t", f"cblas_{letter}gemm": "int32_t"}  # fmt: skip
    root = pathlib.Path(np.__file__).parent
    bundled = sorted([*root.parent.glob("numpy.libs/*blas*"), *root.glob(".dylibs/*blas*")])
    for path in (*bundled, "libopenblas.so.0", "libopenblas.so", "libcblas.so.3", "libblas.so.3", "libmkl_rt.so.2"):
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        for symbol, suffix in symbols.items():
            if hasattr(library, symbol):
                return suffix, library, getattr(library, symbol)
    return "int64_t", None, None
'''

IMPORTS = """\
import ctypes
import difflib
import functools
import hashlib
import itertools
import math
import os
import pathlib
import platform
import shutil
import subprocess
import tempfile

import numpy as np"""
