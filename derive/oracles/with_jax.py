"""JAX, in 64 bits for as long as it is asked, whatever the caller's configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy
from jax.scipy.special import erf

from derive.evaluate import Array, Ring
from derive.oracles.road import Engine, VectorEngine


def _x64() -> Any:
    """JAX moved this context manager out of `experimental`."""
    try:
        return jax.enable_x64(True)
    except (AttributeError, TypeError):
        from jax.experimental import enable_x64  # type: ignore[attr-defined]

        return enable_x64()


class JaxRing(Ring):
    array = jnp

    def erf(self, a: Array) -> Array:
        return erf(a)

    def lift(self, a: numpy.ndarray) -> Array:
        return jnp.asarray(a)


class JaxEngine(VectorEngine):
    method = "jax"
    traced = JaxRing()

    def vjp(
        self, f: Callable[[Any], Any], x: numpy.ndarray
    ) -> tuple[numpy.ndarray, Callable[[numpy.ndarray], numpy.ndarray]]:
        with _x64():
            value, pull = jax.vjp(jax.jit(f), jnp.asarray(x))

        def pull_numpy(cotangent: numpy.ndarray) -> numpy.ndarray:
            with _x64():
                return numpy.asarray(pull(jnp.asarray(cotangent))[0])

        return numpy.asarray(value), pull_numpy


def engine(seed: int) -> Engine:
    return JaxEngine()
