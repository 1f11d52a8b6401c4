"""The matrix products of a cell's gradients and nothing else: what no implementation with the same products can go below.

The input projection, one product with the recurrent weights at each step of both sweeps, the gradients of both kinds of weights,
and that of x, called from C: by the BLAS, or by the loops of the peer in C where they are small or of one row.
"""

from __future__ import annotations

import ctypes

import numpy as np

from peers import Peer
from peers.blas import blas
from peers.c_loops import address, library
from peers.cells import STACKS, Setting


def prepare(setting: Setting):
    dtype, (T, B, m), n = setting.x.dtype, setting.x.shape, setting.h_ct.shape[2]
    k, p = len(STACKS[setting.cell]["U"]), setting.stacked
    w = k * n
    work = np.zeros(2 * w * (m + n) + (T + 1) * B * (n + w) + 2 * T * B * m, dtype)
    function = library({"float32": "float", "float64": "double"}[str(dtype)]).gemms
    function.argtypes, function.restype = [ctypes.c_void_p, *[ctypes.c_long] * 5, *[ctypes.c_void_p] * 3], None
    arguments = (blas().gemm(dtype), T, B, m, n, k, address(p["W"]), address(p["U"]), address(work))
    return lambda _alive=(p, work): function(*arguments) or {}


PEER = Peer({}, own=prepare, names=lambda cell, found: {})
