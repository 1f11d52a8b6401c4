"""A system as a standalone module of Python loops, which numba compiles where they are first called.

library     what the loops may call, one small function an entry
printer     routines of `derive.emit.loops` as Python
binding     what the module imports, and how it calls its loops
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

from derive.emit.compiled import Compiled
from derive.emit.layout import Names
from derive.emit.loops.module import ModuleText
from derive.emit.loops.names import LoopNames
from derive.emit.loops.plan import Plan, plan
from derive.emit.numba import binding, library
from derive.emit.numba.printer import RESERVED, LoopPrinter
from derive.emit.source import MAIN
from derive.errors import DeriveError
from derive.system import System

TITLES = {
    "sweep": "Every state at every step.",
    "record": "The forward sweep, which keeps what the backward one needs.",
    "loss": "The loss, and the cotangents of what it reads.",
    "backward": "The adjoint equations, and the gradients.",
    "direct": "What the loss gives to gradients by itself.",
}
ENTRIES = {
    "vjp": ("From cotangents to gradients.", ("record", "backward")),
    "value_and_grad": ("The loss and its gradients.", ("record", "loss", "backward", "direct")),
}
"""What Python calls for gradients: their titles, and the routines that they run one after the other."""


def compile(
    system: System, dtype: str, functions: Mapping[str, Callable[..., Any]], seeds: tuple[str, ...] | None = None
) -> Compiled:
    """The module, run.  Raises `DeriveError` without numba, and for a system with functions that have no formula."""
    if find_spec("numba") is None:
        raise DeriveError("the backend numba needs numba: pip install 'derive-bptt[numba]'; c and numpy do without")
    again = partial(compile, system, dtype, functions)
    return Compiled(system, source(system, seeds), dtype, functions, plan(system, seeds).program.seeds, again, "numba")


@cache
def source(system: System, seeds: tuple[str, ...] | None = None) -> str:
    """The module of a system; `seeds` are the states that have cotangents."""
    if system.parts.given:
        raise DeriveError(f"{system.name} was derived from another system; the backend for it is numpy")
    return _module(plan(system, seeds))


def _module(made: Plan) -> str:
    names = LoopNames(made, RESERVED, Names(made.system, ()).taken)
    forward = LoopPrinter(made, made.forward, names)
    routines, printers = forward.functions(TITLES), [forward]
    arguments = {"forward": forward.arguments["forward"]}
    if made.gradients:
        backward = LoopPrinter(made, made.gradients, names)
        routines += backward.functions(TITLES)
        for name in ("vjp", "value_and_grad") if made.loss else ("vjp",):
            title, steps = ENTRIES[name]
            routines.append(backward.entry(name, title, [s for s in steps if s in made.gradients.routines]))
            arguments[name] = backward.arguments[name]
        printers.append(backward)
    called = {name: key for printer in printers for name, key in printer.called.items()}
    definitions = library.with_dependencies(routines, called)
    module = ModuleText(made, "numba", arguments)
    head = [module.face.docstring("numba"), "", binding.imports(definitions), "", *module.tables()]
    parts = ["\n".join([*head, "", binding.constants(definitions)]), *module.functions(), *definitions, *routines]
    return "\n\n\n".join(part.strip("\n") for part in (*parts, binding.calls(arguments), MAIN)) + "\n"
