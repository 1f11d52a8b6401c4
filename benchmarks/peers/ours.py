"""derive's own: `system.compile(backend, dtype)`, its `vjp` bound to the arrays, as peers have theirs ready before the clock.

By name, and with options, it is `vjp` itself, which looks at every array at every call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peers import Peer, same
from peers.cells import Setting, system


def numpy_arrays() -> tuple[Callable[..., Any], Callable[..., Any]]:
    return same, same


def jax_arrays() -> tuple[Callable[..., Any], Callable[..., Any]]:
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax.numpy.asarray, jax.block_until_ready


def torch_arrays() -> tuple[Callable[..., Any], Callable[..., Any]]:
    import torch

    torch.set_num_threads(1)
    return torch.from_numpy, same


ARRAYS = {"jax": jax_arrays, "torch": torch_arrays}
"""How a backend's arrays are made of NumPy's, and what waits until they are computed."""


def prepare(backend: str, setting: Setting, bound: bool = False, **options: Any) -> Callable[[], dict[str, Any]]:
    """`options` are those of `vjp`."""
    array, wait = ARRAYS.get(backend, numpy_arrays)()
    of = system(setting.cell)
    compiled = of.compile(backend, str(setting.x.dtype))
    params = {name: array(value) for name, value in setting.params.items()}
    given = params, {"x": array(setting.x)}, {of.outputs[0]: array(setting.h_ct)}
    call = compiled.bind("vjp", *given) if bound else lambda: compiled.vjp(*given, **options)
    return lambda: wait(call())


def peer(backend: str) -> Peer:
    ARRAYS.get(backend, numpy_arrays)()  # says what is missing before anything is measured
    return Peer(
        {},
        own=lambda setting: prepare(backend, setting, bound=True),
        own_named=lambda setting: prepare(backend, setting),
    )
