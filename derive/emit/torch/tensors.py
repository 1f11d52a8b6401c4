"""An emitted PyTorch module, run: the functions of `Compiled`, for tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from derive.emit.compiled import Arrays, Compiled, require
from derive.emit.torch.frame import class_name
from derive.emit.torch.module import Module
from derive.errors import DeriveError
from derive.system import System

MISSING = "the backend torch needs PyTorch, which is not installed: pip install torch"


def source(system: System, seeds: tuple[str, ...] | None = None) -> str:
    """The module of a system; `seeds` are the states that have cotangents."""
    return Module(system, seeds).source()


def compile(
    system: System, dtype: str, functions: Mapping[str, Callable[..., Any]], seeds: tuple[str, ...] | None = None
) -> Compiled:
    """The module, run; `functions` are the named unknowns of the system, with the derivatives that are called.

    Raises `DeriveError` where PyTorch is not installed.
    """
    try:
        import torch  # noqa: F401
    except ImportError:
        raise DeriveError(MISSING) from None
    module = Module(system, seeds)
    text = module.source()
    require(system, functions, module.needed)
    again = partial(compile, system, dtype, functions)
    return Tensors(system, text, dtype, functions, module.program.seeds, again, "torch")


class Tensors(Compiled):
    """`Compiled` for tensors: what is given as an array or a list becomes one, a tensor stays where it is.

    `forward` is differentiable, twice; `layer` makes the `torch.nn.Module`.
    """

    def forward(
        self, params: Arrays, inputs: Arrays, initial: Arrays | None = None, *, lengths: Any = None
    ) -> dict[str, Any]:
        return super().forward(*map(self._cast, (params, inputs, initial)), lengths=lengths)

    def vjp(
        self, params: Arrays, inputs: Arrays, cotangents: Arrays, initial: Arrays | None = None, **options: Any
    ) -> dict[str, Any]:
        return super().vjp(*map(self._cast, (params, inputs, cotangents, initial)), **options)

    def value_and_grad(
        self, params: Arrays, inputs: Arrays, targets: Arrays, initial: Arrays | None = None, **options: Any
    ) -> tuple[Any, dict[str, Any]]:
        return super().value_and_grad(*map(self._cast, (params, inputs, targets, initial)), **options)

    def layer(self, *sizes: int, **options: Any) -> Any:
        """The `torch.nn.Module` of these sizes."""
        return getattr(self.module, class_name(self.system.name))(*sizes, **options)

    def _cast(self, arrays: Arrays | None) -> Arrays:
        import torch

        wanted = torch.float32 if self.dtype == "float32" else None
        given = arrays or {}
        if all(torch.is_tensor(value) and value.dtype == (wanted or value.dtype) for value in given.values()):
            return given

        def tensor(value: Any) -> Any:
            if isinstance(value, int):
                return value
            if not torch.is_tensor(value):
                value = torch.as_tensor(np.asarray(value, dtype=np.result_type(np.asarray(value), np.float32)))
            return value if wanted is None else value.to(wanted)

        return {name: tensor(value) for name, value in given.items()}
