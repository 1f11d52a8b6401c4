"""PyTorch, float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy
import torch

from derive.evaluate import Array, Ring
from derive.oracles.road import Engine, VectorEngine


class TorchRing(Ring):
    array = torch

    def constant(self, rows: Iterable[Iterable[int]]) -> Array:
        return torch.tensor([list(row) for row in rows], dtype=torch.float64)

    def where(self, mask: Any, a: Any, b: Any) -> Array:
        """PyTorch wants tensors on both sides."""
        if isinstance(mask, bool):
            return a if mask else b
        return torch.where(mask, *(torch.as_tensor(side, dtype=torch.float64) for side in (a, b)))

    def sqrt(self, a: Any) -> Array:
        """Of bare numbers too: `√2`."""
        return torch.sqrt(torch.as_tensor(a, dtype=torch.float64))

    def erf(self, a: Array) -> Array:
        return torch.special.erf(a)

    def lift(self, a: numpy.ndarray) -> Array:
        return torch.as_tensor(a)


class TorchEngine(VectorEngine):
    method = "torch"
    traced = TorchRing()

    def vjp(
        self, f: Callable[[Any], Any], x: numpy.ndarray
    ) -> tuple[numpy.ndarray, Callable[[numpy.ndarray], numpy.ndarray]]:
        point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        value = f(point)

        def pull(cotangent: numpy.ndarray) -> numpy.ndarray:
            (gradient,) = torch.autograd.grad(value, point, torch.as_tensor(cotangent), retain_graph=True)
            return gradient.numpy()

        return value.detach().numpy(), pull


def engine(seed: int) -> Engine:
    return TorchEngine()
