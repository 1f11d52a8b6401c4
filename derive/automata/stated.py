"""Systems as a person states them: a name, a file, a document with its numbers, or the equations themselves.

stated("h[t] = step(x[t] + h[t-1] - 3/2); h[0] = 1")     equations and values, one after the other
stated("x: 2; y[t] = y[t-1] * abs(sum(x[t]) - 1)")       a shape; a size that nothing settles is 1
stated("net.py:net"), stated("notes.md:2")               the numbers of a document are its own
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sympy import Integer

from derive import expr, functions
from derive.automata.settings import Key, Settings
from derive.equations import BUILTINS, Source
from derive.errors import DeriveError
from derive.system import LOSS, System, Variable

_EQUATION = re.compile(r"\s*[A-Za-z_]\w*\s*\[\s*[a-z]\w*\s*\]\s*=")
_SHAPE = re.compile(r"\w+(\s+\w+)*\s*:\s*[\w\s×]+")


@dataclass(frozen=True)
class Stated:
    """A system with what is given together with it."""

    system: System
    settings: Settings
    typed: tuple[Key, ...] = ()
    """What somebody gave a value here, and not in a document, which may set more than the system reads."""

    def given(self, more: str | Mapping[str, Any]) -> Stated:
        """With further values, which overrule."""
        new = Settings.read(more)
        values, functions_ = {**self.settings.values, **new.values}, {**self.settings.functions, **new.functions}
        return replace(self, settings=Settings(values, functions_, zero=True), typed=(*self.typed, *new.values))


def stated(what: Any, name: str = "network", inputs: Sequence[Any] = ()) -> Stated:
    """The system that is meant.  `inputs`: those of another system, whose shapes equations without shapes take over."""
    if isinstance(what, str) and "=" in what:
        parts = [part.strip() for part in re.split(r"[;\n]", what) if part.strip()]
        if "=" not in parts[0] and not _SHAPE.fullmatch(parts[0]):
            return stated(parts[0], name, inputs).given("\n".join(parts[1:]))
        return _of_text(parts, what, name, inputs)
    from derive import catalogue

    if isinstance(what, str) and catalogue.is_document(what):
        from derive.verdicts.bits import given_in

        return Stated(*given_in(*catalogue.document_and_number(what)))
    return Stated(catalogue.load(what), Settings.read())


def _of_text(parts: Sequence[str], text: str, name: str, inputs: Sequence[Any]) -> Stated:
    equations = [part for part in parts if _EQUATION.match(part)]
    shapes = [part for part in parts if _SHAPE.fullmatch(part)]
    values = [part for part in parts if part not in equations and part not in shapes]
    if not equations:
        raise DeriveError(f"{text.strip()!r} has no equation; write one as y[t] = y[t-1] * x[t]")
    settings = Settings.read("\n".join(values))
    indexed, plain = _names("\n".join(equations), name)
    states = {part.partition("[")[0].strip() for part in equations}
    sizes = [f"{v.name}: {expr.show_shape(v.shape)}" for v in inputs if v.name in indexed and v.shape != expr.SCALAR]
    unknown = [f for f in plain if f in settings.functions]
    known = {*functions.TABLE, *BUILTINS, *unknown}
    read = partial(
        System.read,
        name,
        Source.located("\n".join(equations), name, 1, name),
        inputs=" ".join(n for n in indexed if n not in states),
        parameters=" ".join(n for n in plain if n not in known),
        unknown_functions=" ".join(unknown),
        infer=True,
    )
    system = read(shapes=", ".join(shapes or sizes))
    if system.dimensions:
        ones = dict.fromkeys(system.dimensions, Integer(1))
        system = read(shapes={n: tuple(d.xreplace(ones) for d in v.shape) for n, v in _own(system).items()})
    return Stated(system, settings, tuple(settings.values))


def _own(system: System) -> dict[str, Variable]:
    """Its variables but the loss and the cotangents, which a system makes itself."""
    return {name: v for name, v in system.variables.items() if v.kind != "cotangent" and name != LOSS}


def _names(equations: str, name: str) -> tuple[list[str], list[str]]:
    """Those that have an index, and those that have none, each once; what is wrong with the text `System` says."""
    indexed: dict[str, None] = {}
    plain: dict[str, None] = {}
    inside: set[int] = set()
    for statement in Source.located(equations, name, 1, name).statements():
        for node in ast.walk(statement):
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
                indexed[node.value.id] = None
                inside |= {id(n) for n in ast.walk(node)}
            elif isinstance(node, ast.Name) and id(node) not in inside:
                plain[node.id] = None
    return list(indexed), list(plain)
