"""One thread everywhere: imported before NumPy, PyTorch, JAX and numba, which read these when they start."""

from __future__ import annotations

import os

for _library in ("OMP", "OPENBLAS", "MKL", "VECLIB", "NUMEXPR", "NUMBA"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"
os.environ["MKL_DYNAMIC"] = "FALSE"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
os.environ["NPROC"] = "1"  # the size of XLA's own pool
os.environ["JAX_PLATFORMS"] = "cpu"
