"""C with fused loops by hand, and the BLAS for larger products: `c_loops.c`, built by the system's compiler."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from peers import Peer
from peers.blas import blas
from peers.cells import Setting

FLAGS = ("-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", "-std=gnu11")
WIDE = ("-mprefer-vector-width=512",) if platform.machine() in ("x86_64", "AMD64") else ()
WORK = {
    "rnn": lambda T, B, m, n: n * (m + n) + (2 * T + 2) * B * n,
    "gru": lambda T, B, m, n: 3 * n * (m + n) + (5 * T + 6) * B * n,
    "lstm": lambda T, B, m, n: 4 * n * (m + n) + (6 * T + 4) * B * n,
}
"""How many numbers a call needs beside its arguments and results."""


@cache
def library(real: str) -> ctypes.CDLL:
    """Built once for each text, number type and BLAS; raises `OSError` where there is no compiler, or one that can't."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if not compiler:
        raise OSError("the peer in C needs a C compiler: none is called cc, and CC names none")
    source = Path(__file__).with_name("c_loops.c")
    options = (*FLAGS, *WIDE, f"-DREAL={real}", f"-DBLAS_INT={blas().integer}")
    key = hashlib.sha256(" ".join(options).encode() + source.read_bytes()).hexdigest()[:16]
    built = Path(tempfile.gettempdir()) / f"derive-benchmark-{key}.so"
    if not built.exists():
        fresh = built.with_suffix(f".{os.getpid()}")
        command = [compiler, *options, str(source), "-o", str(fresh), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"{compiler} could not build the peer in C: {done.stderr.strip()}")
        fresh.replace(built)
    return ctypes.CDLL(str(built))


@cache
def bound(cell: str, dtype: np.dtype, shape: tuple[int, int, int, int]):
    """`call(pointers of parameters, x and h_ct) -> gradients`."""
    function = getattr(library({"float32": "float", "float64": "double"}[str(dtype)]), cell)
    T, B, m, n = shape
    k = {"rnn": 1, "gru": 3, "lstm": 4}[cell] * n
    shapes = {"W": (k, m), "U": (k, n), "b": (k,)} | ({"c": (n,)} if cell == "gru" else {}) | {"x": (T, B, m)}
    sizes = [int(np.prod(s)) for s in shapes.values()]
    ends = np.cumsum(sizes).tolist()
    starts = [end - size for end, size in zip(ends, sizes, strict=True)]
    places = [(name, start, end, s) for (name, s), start, end in zip(shapes.items(), starts, ends, strict=True)]
    offsets = [start * dtype.itemsize for start in starts]
    function.argtypes = [ctypes.c_void_p, *[ctypes.c_long] * 4, *[ctypes.c_void_p] * (2 * len(shapes) + 2)]
    function.restype = None
    gemm, work = blas().gemm(dtype), WORK[cell](*shape)

    def call(*pointers):
        found, room = np.empty(ends[-1], dtype), np.empty(work, dtype)
        out = address(found)
        function(gemm, T, B, m, n, *pointers, *[out + o for o in offsets], address(room))
        return {name: found[start:end].reshape(s) for name, start, end, s in places}

    return call


def address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


def prepare(setting: Setting):
    """The addresses of the parameters, of x and of the cotangents are taken before."""
    arrays = [*setting.stacked.values(), setting.x, setting.h_ct]
    (T, B, m), n = setting.x.shape, setting.h_ct.shape[2]
    call, pointers = bound(setting.cell, setting.x.dtype, (T, B, m, n)), [address(a) for a in arrays]
    return lambda _alive=arrays: call(*pointers)


def vjp(cell):
    def gradients(p, x, h_ct):
        call = bound(cell, x.dtype, (*x.shape, h_ct.shape[2]))
        return call(*[address(a) for a in (*p.values(), x, h_ct)])

    return gradients


PEER = Peer({cell: vjp(cell) for cell in WORK}, own=prepare)
