"""A system as a standalone module that holds its C source, builds it with the system's compiler and calls it.

library     what the source may call, one small function an entry
names       what no array may be called
scalars     entries and numbers
printer     routines of `derive.emit.loops` as C
binding     how the module builds and calls the source
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from derive.emit.c import binding, library
from derive.emit.c.names import RESERVED
from derive.emit.c.printer import CPrinter
from derive.emit.compiled import Compiled
from derive.emit.loops.module import ModuleText
from derive.emit.loops.names import LoopNames
from derive.emit.loops.plan import Plan, plan
from derive.emit.source import MAIN
from derive.errors import DeriveError
from derive.system import System

TITLES = {
    "sweep": "Every state at every step",
    "record": "The forward sweep, which keeps what the backward one needs",
    "loss": "The loss, and the cotangents of what it reads",
    "backward": "The adjoint equations, and the gradients",
    "direct": "What the loss gives to gradients by itself",
}


def compile(
    system: System, dtype: str, functions: Mapping[str, Callable[..., Any]], seeds: tuple[str, ...] | None = None
) -> Compiled:
    """The module, run.

    Raises `DeriveError` where there is no compiler, and for functions without a formula, since C can't call Python's.
    """
    again = partial(compile, system, dtype, functions)
    compiled = Compiled(system, source(system, seeds), dtype, functions, plan(system, seeds).program.seeds, again, "c")
    try:
        compiled.module._compiler()
    except OSError as error:
        raise DeriveError(str(error)) from None
    return compiled


@cache
def source(system: System, seeds: tuple[str, ...] | None = None) -> str:
    """The module of a system; `seeds` are the states that have cotangents."""
    if system.parts.given:
        raise DeriveError(f"{system.name} was derived from another system; the backend for it is numpy")
    return _module(plan(system, seeds))


def _module(made: Plan) -> str:
    names = LoopNames(made, RESERVED)
    forward = CPrinter(made, made.forward, names)
    routines = [*forward.functions(TITLES), forward.exported("forward", "The states", ("sweep",))]
    printers, arguments = [forward], {"forward": forward.arguments["forward"]}
    if made.gradients:
        backward = CPrinter(made, made.gradients, names)
        routines += [
            *backward.functions(TITLES),
            backward.exported("vjp", "From cotangents to gradients", ("record", "backward")),
        ]
        if made.loss:
            steps = [r for r in ("record", "loss", "backward", "direct") if r in made.gradients.routines]
            routines.append(backward.exported("value_and_grad", "The loss and its gradients", steps))
        printers.append(backward)
        arguments |= {
            name: backward.arguments[name] for name in ("vjp", "value_and_grad") if name in backward.arguments
        }
    called = {name: key for printer in printers for name, key in printer.called.items()}
    definitions = library.with_dependencies("\n".join(["multiply(", *routines]), called)
    text = "\n\n".join([library.HEAD, *definitions, *routines])
    module = ModuleText(made, "C", arguments)
    head = [module.face.docstring("C"), "", binding.IMPORTS, "", *module.tables(), "", f"SOURCE = r'''\n{text}\n'''"]
    parts = ["\n".join(head), *module.functions(), binding.LIBRARY.replace("SIZES", str(len(forward.sizes))), MAIN]
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"
