"""Pictures of a system, made from its equations, as SVG and as TikZ.

`draw(system, kind, query)` gives a `Picture`; a new kind of picture is a new module and a row in `KINDS`.

What is drawn:
    graph           the unrolled dependency graph, the paths of a query highlighted
    dependencies    its variables, links, points and paths
    placement       where its nodes stand
    edges           how an edge goes from one to another
    beyond          what lies outside the points that are shown
    partials        the local Jacobians beside its edges
    legend          its paths in words
    flow            the gradient's norm over the distance, for several scales of the weights
    measured        its numbers
    contributions   what each path of a Jacobian contributes
    growth          products of one-step Jacobians against the Jacobian over many steps
    automaton       the states of a network of threshold units
    sampled         the random parameters and inputs that these two measure with
    ceilings        the bound beside a curve
    axes            the frame of a chart
How it is written:
    model           strokes, boxes, areas and labels, each with a role
    words           text with sub- and superscripts
    style           what each role looks like
    svg             the writer for pages
    tikz            the writer for LaTeX
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from derive.errors import DeriveError, did_you_mean
from derive.pictures import contributions, flow, graph, growth
from derive.pictures.model import Picture
from derive.queries import held_names
from derive.system import System

__all__ = ["FORMATS", "KINDS", "Kind", "Picture", "Request", "draw", "writer"]


@dataclass(frozen=True)
class Request:
    """What a picture is asked to show."""

    system: System
    query: str | None = None
    unroll: int | None = None
    hold: tuple[str, ...] = ()
    labels: bool = False
    """Whether the edges of a graph carry their local partials."""
    seed: int = 0
    where: Mapping[str, float] = field(default_factory=dict)
    """Parameters every entry of which has a given value."""
    scales: tuple[float, ...] = ()
    """Spectral norms of the recurrent matrices, one curve for each: from above 0 to `LARGEST_SCALE`."""
    others: tuple[System, ...] = ()
    """Systems beside which the first is shown."""


@dataclass(frozen=True)
class Kind:
    """A row of `KINDS`: the function that draws, what it shows, and which options of a `Request` it takes."""

    draw: Callable[[Request], Picture]
    summary: str
    options: tuple[str, ...]


KINDS: dict[str, Kind] = {
    "graph": Kind(
        graph.draw,
        "the unrolled dependency graph, the paths of QUERY highlighted",
        ("query", "unroll", "hold", "labels"),
    ),
    "flow": Kind(
        flow.draw,
        "the gradient's norm against the distance from the loss, for several scales of the weights",
        ("query", "seed", "where", "scales", "others"),
    ),
    "growth": Kind(
        growth.draw,
        "a Jacobian QUERY of one step, multiplied over many steps, against the Jacobian over all of them",
        ("query", "seed", "where", "scales"),
    ),
    "paths": Kind(
        contributions.draw,
        "what each path of a Jacobian QUERY contributes: the norm of its product",
        ("query", "hold", "seed", "where", "scales"),
    ),
}

LARGEST_SCALE = 1000

FORMATS: dict[str, Callable[[Picture], str]] = {".svg": Picture.svg, ".tex": Picture.tikz}


def draw(system: System, kind: str, query: str | None = None, **options: Any) -> Picture:
    """The picture of that kind: `draw(gru, "graph", "dh[t]/dh[t-1]")`.

    Options are those that the row of `KINDS` names, among the fields of `Request`.  The same question gives the same
    picture.  Raises `DeriveError` for a kind or an option that there is not.
    """
    if kind not in KINDS:
        raise DeriveError(f"there is no picture {kind!r}{did_you_mean(kind, KINDS)}; the kinds are {', '.join(KINDS)}")
    row = KINDS[kind]
    given = {name: value for name, value in {"query": query, **options}.items() if value or name not in _FIELDS}
    for name in given:
        if name not in row.options:
            taken = ", ".join(row.options)
            raise DeriveError(
                f"the picture {kind!r} has no option {name}{did_you_mean(name, row.options)}; it takes {taken}"
            )
    given["hold"] = held_names(system, given.get("hold", ()))
    _check_numbers(given)
    return row.draw(Request(system, **given))


def _check_numbers(given: Mapping[str, Any]) -> None:
    if given.get("seed", 0) < 0:
        raise DeriveError(f"the seed of a picture is a whole number from 0 on, found {given['seed']}")
    for scale in given.get("scales", ()):
        if not 0 < scale <= LARGEST_SCALE:
            raise DeriveError(
                f"a scale is the norm of the recurrent matrices, above 0 and at most {LARGEST_SCALE}, found {scale:g}"
            )


_FIELDS = frozenset(f.name for f in fields(Request))


def writer(path: str | Path) -> Callable[[Picture], str]:
    """How the name of the file asks for a picture to be written.  Raises `DeriveError` for a suffix that no format has."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        found = f"the suffix {suffix}" if suffix else "no suffix"
        raise DeriveError(f"{path}: {found} says no format of a picture; use one of {' '.join(FORMATS)}")
    return FORMATS[suffix]
