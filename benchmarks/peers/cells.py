"""The systems of the benchmark as data: what their parameters are called, how hand-written code stacks them, a setting.

    rnn     h = tanh(W x + U h₋ + b)
    gru     the catalogue's `gru`:  z, r,  h̃ = tanh(W_h x + r ∘ u + b_h),  u = U_h h₋ + c_h,  h = z ∘ h₋ + (1 - z) ∘ h̃
    lstm    the catalogue's `lstm`: o, i, f, g,  c = f ∘ c₋ + i ∘ g,  m = tanh(c),  h = o ∘ m

By name, parameters are `W_z (n, m)`, `U_z (n, n)`, `b_z (n,)` for each gate.  Stacked, as a person keeps them who writes the
code by hand, they are `W (k n, m)`, `U (k n, n)`, `b (k n,)`, gates below one another in the order of `STACKS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive import System, load

STACKS = {
    "rnn": {"W": ("W",), "U": ("U",), "b": ("b",)},
    "gru": {"W": ("W_h", "W_z", "W_r"), "U": ("U_z", "U_r", "U_h"), "b": ("b_h", "b_z", "b_r"), "c": ("c_h",)},
    "lstm": {kind: tuple(f"{kind}_{gate}" for gate in "oifg") for kind in "WUb"},
    "lstm-peephole": {
        **{kind: tuple(f"{kind}_{gate}" for gate in "oifg") for kind in "WUb"},
        "p": ("p_o", "p_i", "p_f"),
    },
    "skip-rnn": {"W": ("W",), "M": ("M",), "U": ("U",)},
    "blstm": {
        **{f"{k}_{way}": tuple(f"{k}_{gate}_{way}" for gate in "oifg") for way in ("fwd", "bwd") for k in "WUb"},
        **{alone: (alone,) for alone in ("V_fwd", "V_bwd", "b_y")},
    },
    "mdrnn": {"W": ("W",), "U_1": ("U_1",), "U_2": ("U_2",), "b": ("b",)},
}
CELLS = ("rnn", "gru", "lstm")

RNN = System(
    "rnn",
    equations="h[t] = tanh(W @ x[t] + U @ h[t-1] + b)",
    inputs="x: m",
    parameters="W U b",
    shapes="h: n",
    outputs="h",
)

Arrays = Mapping[str, Any]
Shape = tuple[int, ...]
"""T, batch, inputs, hidden units; for a grid its axes in the place of T."""


@dataclass(frozen=True)
class Setting:
    """Parameters by name, `x (T, batch, m)` and the cotangents of the output, `(T, batch, n)`; on a grid `(I, J, batch, m)`."""

    cell: str
    params: dict[str, np.ndarray]
    x: np.ndarray
    h_ct: np.ndarray

    @property
    def stacked(self) -> dict[str, np.ndarray]:
        return stacked(self.cell, self.params)


def system(cell: str) -> System:
    return RNN if cell == "rnn" else load(cell)


def setting(cell: str, shape: Shape, dtype: str, seed: int = 0) -> Setting:
    """Weights as they are before training, uniform in ±1/√n; inputs and cotangents normal."""
    *lead, m, n = shape
    rng = np.random.default_rng(seed)
    sizes = {"m": m, "n": n, "q": n}
    shapes = {p.name: [sizes[str(s)] for s in p.shape if s != 1] for p in system(cell).parameters}
    params = {name: (rng.uniform(-1, 1, size) / n**0.5).astype(dtype) for name, size in shapes.items()}
    x, h_ct = (rng.normal(size=(*lead, k)).astype(dtype) for k in (m, n))
    return Setting(cell, params, x, h_ct)


def stacked(cell: str, params: Arrays) -> dict[str, np.ndarray]:
    return {kind: np.concatenate([params[name] for name in names]) for kind, names in STACKS[cell].items()}


def by_name(cell: str, gradients: Arrays) -> dict[str, Any]:
    """Stacked gradients by the names of the parameters, and `x`."""
    found = {"x": gradients["x"]}
    for kind, names in STACKS[cell].items():
        n = len(gradients[kind]) // len(names)
        found |= {name: gradients[kind][k * n : (k + 1) * n] for k, name in enumerate(names)}
    return found
