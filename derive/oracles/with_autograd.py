"""HIPS autograd, float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy
from autograd import make_vjp

from derive.evaluate import Array, Ring
from derive.oracles.road import Engine, VectorEngine


class AutogradRing(Ring):
    array = anp

    def erf(self, a: Array) -> Array:
        """Only here does autograd need SciPy."""
        from autograd.scipy.special import erf

        return erf(a)


class AutogradEngine(VectorEngine):
    method = "autograd"
    traced = AutogradRing()

    def vjp(
        self, f: Callable[[Any], Any], x: numpy.ndarray
    ) -> tuple[numpy.ndarray, Callable[[numpy.ndarray], numpy.ndarray]]:
        pull, value = make_vjp(f)(x)
        return value, pull


def engine(seed: int) -> Engine:
    return AutogradEngine()
