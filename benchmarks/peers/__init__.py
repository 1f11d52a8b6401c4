"""What derive's functions are measured against: each peer computes the gradients of three cells, in one file.

A peer is given parameters, `x (T, batch, m)` and cotangents of h at every step, and returns the gradients of every parameter and
of x; the state before the first step is zero.  It keeps nothing from one call to the next but what it compiled.  Parameters are
stacked (`cells.STACKS`) and in the peer's own arrays before the clock starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from derive.emit import BACKENDS
from peers.cells import Setting, by_name, stacked

TOLERANCE = {"float32": 1e-3, "float64": 1e-9}
"""How far gradients may be from one another, relative to the largest entry."""


def disagreement(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> str:
    """What is wrong with these gradients; nothing, if nothing is."""
    if set(found) != set(wanted):
        return f"gradients of {', '.join(sorted(found))}, wanted of {', '.join(sorted(wanted))}"
    for name, value in wanted.items():
        error = np.abs(found[name] - value).max() / max(1e-30, np.abs(value).max())
        if not error < TOLERANCE[str(value.dtype)]:
            return f"the gradient of {name} differs by {error:.2g} of its largest entry"
    return ""


def same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Peer:
    """`vjps[cell](params, x, h_ct) -> gradients` in arrays of the peer's own.

    `array` makes one of a NumPy array; `wait` returns when its argument has been computed.  A peer that has a form of its own
    gives `own(setting) -> call` in their place (`own_named` where arrays come and go by name), and `names(cell, gradients)`,
    the gradients of the parameters by name.
    """

    vjps: Mapping[str, Callable[..., dict[str, Any]]]
    array: Callable[[Any], Any] = same
    wait: Callable[[Any], Any] = same
    own: Callable[[Setting], Callable[[], dict[str, Any]]] | None = None
    own_named: Callable[[Setting], Callable[[], dict[str, Any]]] | None = None
    names: Callable[[str, Mapping[str, Any]], dict[str, Any]] = by_name

    def prepare(self, setting: Setting, named: bool = False) -> Callable[[], dict[str, Any]]:
        """Everything that is done once; what it returns is timed.

        `named`: with NumPy's arrays, parameters come and gradients go by name, one array each, as with derive's functions, so
        that stacking them is timed too.
        """
        if named and self.vjps and self.array is same:
            cell, vjp, x, h_ct = setting.cell, self.vjps[setting.cell], setting.x, setting.h_ct
            return lambda: by_name(cell, vjp(stacked(cell, setting.params), x, h_ct))
        if named and self.own_named:
            return self.own_named(setting)
        if self.own:
            return self.own(setting)
        vjp, wait = self.vjps[setting.cell], self.wait
        params = {name: self.array(value) for name, value in setting.stacked.items()}
        x, h_ct = self.array(setting.x), self.array(setting.h_ct)
        return lambda: wait(vjp(params, x, h_ct))

    def gradients(self, setting: Setting, found: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """What a call returned, by the names of the parameters, as NumPy arrays, without boundary values."""
        named = found if set(setting.params) <= set(found) else self.names(setting.cell, found)
        return {name: np.asarray(value) for name, value in named.items() if "[" not in name}


@dataclass(frozen=True)
class Row:
    """A row of the table, and where its peer is."""

    title: str
    module: str
    attribute: str = "PEER"

    def load(self) -> Peer:
        """Raises `ImportError`, or `OSError` where there is no compiler or no BLAS."""
        return getattr(import_module(f"peers.{self.module}"), self.attribute)


@dataclass(frozen=True)
class Ours(Row):
    """A backend of derive's."""

    def load(self) -> Peer:
        """Raises what the backend raises without its dependency."""
        from peers.ours import peer

        return peer(self.module)


PEERS = {
    "numpy": Row("best NumPy", "numpy_best"),
    "naive": Row("naive NumPy", "numpy_naive"),
    "autograd": Row("HIPS autograd", "hips_autograd"),
    "torch-loop": Row("PyTorch loop", "torch_loop"),
    "torch-nn": Row("torch.nn", "torch_nn"),
    "torch-function": Row("torch Function with a hand-derived backward", "torch_function"),
    "jax-scan": Row("jax.value_and_grad of a scan", "jax_scan"),
    "jax-projected": Row("the same, inputs projected before it", "jax_scan", "PROJECTED"),
    "jax-backward": Row("JAX with a hand-derived backward, one GEMM", "jax_backward"),
    "numba": Row("numba, loops by hand", "numba_loops"),
    "c": Row("C, fused loops by hand", "c_loops"),
    "gemms": Row("the GEMMs alone (the limit)", "gemms"),
}
OTHERS = {
    "torch-loop": Row("PyTorch loop", "torch_others"),
    "jax-scan": Row("jax.value_and_grad of a scan", "jax_others"),
    "jax-projected": Row("the same, inputs projected before it", "jax_others", "PROJECTED"),
}
"""The peers of other systems."""
OURS = {f"ours-{backend}": Ours(f"derive, {backend}", backend) for backend in BACKENDS}
YARDSTICK = "numpy"
