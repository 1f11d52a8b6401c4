"""A document as it was understood: its systems, and every claim printed back from what was read."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING, Any

from derive.printing import text as expr_text
from derive.render import facts

if TYPE_CHECKING:
    from derive.notation import Notation
    from derive.reader.claims import Claim, DocumentReading


def text(found: DocumentReading, notation: Notation) -> str:
    """For a terminal: one block a system, then one a claim, with its line and column."""
    blocks = [facts.text(system, notation) for system in found.systems]
    skipped = sum(claim.skip for claim in found.claims)
    unread = sum(claim.unread is not None and not claim.skip for claim in found.claims)
    counts = f"{len(found.claims) - unread - skipped} read, {unread} unread"
    blocks.append(f"Claims of {found.document.name}: {counts}" + (f", {skipped} skipped" if skipped else ""))
    blocks += [_claim(claim, found.document.name, notation) for claim in found.claims]
    return "\n\n".join(blocks)


def _claim(claim: Claim, name: str, notation: Notation) -> str:
    cell = claim.place.file.removeprefix(f"{name}:")
    where = f"line {claim.place.line}, column {claim.place.column}"
    head = (
        f"{claim.n}  {where if cell == name else f'{cell}, {where}'}  {claim.kind}{'  (skipped)' if claim.skip else ''}"
    )
    if claim.skip and claim.unread is not None:
        body = [claim.latex]
    elif claim.unread is not None:
        place = claim.unread_place or claim.place
        body = [f"unread at {place.line}:{place.column}: {claim.unread}", claim.caret]
    else:
        body = [claim.read_as(notation), *(f"  taking: {a}" for a in claim.readings[0].assumptions)]
        body += [f"  where {_condition(condition, notation)}" for condition in claim.where]
        others = len(claim.readings) - 1
        body += [f"  and {others} other reading{'s' if others > 1 else ''}"] if others else []
    return "\n".join([head, indent("\n".join(line for line in body if line), "    ")])


def _condition(condition: Any, notation: Notation) -> str:
    return expr_text(condition, notation).removeprefix("if ").removeprefix("when ")


def data(found: DocumentReading, notation: Notation) -> dict[str, Any]:
    """The same as JSON data."""
    return {
        "file": found.document.name,
        "systems": [facts.data(system, notation) for system in found.systems],
        "claims": [_data(claim, notation) for claim in found.claims],
    }


def _data(claim: Claim, notation: Notation) -> dict[str, Any]:
    place = claim.unread_place
    return {
        "n": claim.n,
        "line": claim.place.line,
        "column": claim.place.column,
        "kind": claim.kind,
        "latex": claim.latex,
        "read_as": claim.read_as(notation) or None,
        "read_as_latex": claim.read_as_latex(notation) or None,
        "skipped": claim.skip,
        "where": [expr_text(condition, notation) for condition in claim.where],
        "readings": [list(reading.assumptions) for reading in claim.readings],
        "unread": None
        if claim.unread is None
        else {
            "message": claim.unread,
            "line": place.line if place else None,
            "column": place.column if place else None,
        },
    }
