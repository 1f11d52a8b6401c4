"""What a system is, on one page: its equations, dimensions, variables, boundary values and reference."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING, Any

from derive.expr import Equals, show_shape
from derive.printing import latex
from derive.printing import text as unicode_text

if TYPE_CHECKING:
    from derive.notation import Notation
    from derive.system import System, Variable

HEADINGS = {
    "input": "Inputs",
    "target": "Targets",
    "parameter": "Parameters",
    "state": "States",
    "cotangent": "Cotangents of the loss, which is left open",
}


def text(system: System, notation: Notation) -> str:
    """The page for a terminal."""
    blocks = [f"{system.name}: {system.title}"]
    if system.reference:
        blocks.append(" ".join(system.reference.split()))
    blocks.append(
        _block(
            "Equations",
            [
                unicode_text(Equals(e.target, e.rhs), notation)
                for e in system.equations.values()
                if system.has_loss or e.name != system.loss_name
            ],
        )
    )
    ranges = [f"{i} = 1..{n}" for i, n in zip(system.lattice.indices, system.lattice.lengths, strict=True)]
    dimensions = ", ".join(map(str, system.dimensions)) or "none"
    blocks.append(_block("Lattice", [", ".join(ranges)]))
    blocks.append(_block("Dimensions", [dimensions]))
    for kind, heading in HEADINGS.items():
        found = system.of_kind(kind)
        if found:
            blocks.append(_block(heading, _columns(found)))
    if _boundary(system):
        blocks.append(
            _block("Values outside the lattice", [f"{name}: {kind}" for name, kind in _boundary(system).items()])
        )
    blocks.append(_block("Outputs", [", ".join(system.outputs)]))
    return "\n\n".join(blocks)


def data(system: System, notation: Notation) -> dict[str, Any]:
    """The page as JSON data."""
    return {
        "name": system.name,
        "title": system.title,
        "reference": system.reference,
        "lattice": {str(i): str(n) for i, n in zip(system.lattice.indices, system.lattice.lengths, strict=True)},
        "dimensions": list(map(str, system.dimensions)),
        "equations": [
            {
                "name": e.name,
                "text": unicode_text(Equals(e.target, e.rhs), notation),
                "latex": latex(Equals(e.target, e.rhs), notation),
            }
            for e in system.equations.values()
        ],
        "variables": [
            {"name": v.name, "kind": v.kind, "shape": list(map(str, v.shape)), "indexed": v.indexed}
            for v in system.variables.values()
        ],
        "boundary": _boundary(system),
        "outputs": list(system.outputs),
        "loss": {"name": system.loss_name, "at": system.loss},
    }


def _boundary(system: System) -> dict[str, str]:
    """What is read outside the lattice, by its key, and where its value comes from; what is not named there is zero."""
    read = {source for _, source, offset in system.reads if any(offset)}
    named = {border.key: system.boundary[border.variable] for border in system.borders}
    zero = {name: "zero" for name in system.boundary if name in read and system.boundary[name] == "zero"}
    return {**named, **zero}


def _block(heading: str, lines: list[str]) -> str:
    return f"{heading}\n" + indent("\n".join(lines), "    ")


def _columns(variables: tuple[Variable, ...]) -> list[str]:
    width = max(len(v.name) for v in variables)
    return [f"{v.name:{width}}  {show_shape(v.shape)}" for v in variables]
