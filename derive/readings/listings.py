"""Paths as an answer of their own: listed where they are few, counted for every length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sympy import Basic

from derive import paths as graph
from derive.derivation import Derivation, Step
from derive.errors import QueryError
from derive.expr import Node, Var
from derive.partials import Table, table
from derive.paths import Point
from derive.readings import counts, jacobians, steps
from derive.readings.systems import held_step

if TYPE_CHECKING:
    from derive.queries import Request

LENGTHS = (20, 10**6)
"""The lengths for which a count is given beside the one that was asked for."""


def paths(request: Request) -> Derivation:
    """The paths from one variable to another, named by what they pass, and how many there are."""
    target_ref, source_ref = request.query.above, request.query.below
    assert target_ref is not None and source_ref is not None
    y, x = request.var(target_ref), request.var(source_ref)
    local = table(request.system).without(request.hold)
    if not y.index:
        raise QueryError(f"paths lead to a variable at an index, such as L[t] or h[t]; found {target_ref}")
    if y is x:
        raise QueryError(f"a path leads from one variable to another; {target_ref} is {source_ref} itself")
    absolute = request.sizes is not None and all(i.is_Integer for i in (*y.index, *x.index))
    if absolute:
        return _absolute(request, local, y, x)
    if request.sizes is None and _is_symbolic(y, x):
        return counts.symbolic(request, local, y, x)
    if not x.index:
        raise QueryError(
            f"the number of paths to {x.name} depends on the length; "
            f"give a number with unroll and an index such as {target_ref.name}[3]"
        )
    found, placing, move = jacobians.find_walks(request, local, y, x)
    many = "No path leads" if not found else "One path leads" if len(found) == 1 else f"{len(found)} paths lead"
    step = Step(
        "paths",
        "The paths",
        f"{many} from `{source_ref}` to `{target_ref}`.",
        (),
        tuple(_placed(w.label(placing), move) for w in found),
    )
    lines: Sequence[Basic] = step.lines
    return request.answer(
        [steps.forward(request.system), held_step(request), step], lines[0] if lines else x, count=len(found)
    )


def _is_symbolic(y: Var, x: Var) -> bool:
    """Whether the distance is no number; from a parameter, whether the index above is a symbol."""
    if not x.index:
        return any(i.is_Symbol for i in y.index)
    return not all((b - a).is_Integer for a, b in zip(y.index, x.index, strict=True))


def _placed(label: Basic, move: dict) -> Basic:
    from derive import expr

    return expr.at(label, move)


def _absolute(request: Request, local: Table, y: Node, x: Node) -> Derivation:
    assert request.sizes is not None
    target = Point(y.name, tuple(map(int, y.index)))  # type: ignore[attr-defined]
    source = Point(x.name, tuple(map(int, x.index)) if x.index else None)  # type: ignore[attr-defined]
    number = graph.count(local, target, source, request.sizes)
    lines: tuple[Basic, ...] = ()
    if isinstance(number, int) and number <= jacobians.MOST_PATHS:
        placing = graph.placing(request.system.lattice, absolute=True)
        lines = tuple(w.label(placing) for w in graph.walks(local, target, source, jacobians.MOST_PATHS, request.sizes))
    sentence = count_sentence(local, target, source, request, number)
    step = Step("paths", "The paths", sentence, (), lines)
    return request.answer(
        [steps.forward(request.system), held_step(request), step], lines[0] if lines else x, count=str(number)
    )


def count_sentence(
    local: Table, target: Point, source: Point, request: Request, number: int | str | None, only: bool = True
) -> str:
    """How many paths there are, and how many for longer chains, by a power of the count's matrix.

    `only`: the paths are those to `target`, and not to the losses of earlier steps as well.
    """
    assert request.sizes is not None and target.offset is not None
    shown = graph.count(local, target, source, request.sizes) if number is None else number
    verb, noun = ("leads", "path") if shown == 1 else ("lead", "paths")
    end = steps.typed(request.system.variables[target.name].var.at(target.offset)) if only else f"`{target.name}`"
    sentence = f"{shown} {noun} {verb} from `{source.name}` to {end}"
    chain = request.system.lattice.dimension == 1
    if only and chain and source.offset is None and target.offset[0] == request.sizes[0]:
        longer = [n for n in LENGTHS if n > request.sizes[0]]
        more = [(n, c) for n in longer if (c := _count_at(local, target.name, source, n)) is not None]
        sentence += "; " + ", ".join(f"{c} for T = {n}" for n, c in more) if more else ""
    return sentence + "."


def _count_at(local: Table, target: str, source: Point, length: int) -> int | str | None:
    """The count for another length, or None where it would take too long."""
    try:
        return graph.count(local, Point(target, (length,)), source, (length,))
    except QueryError:
        return None
