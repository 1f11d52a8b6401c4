"""A document as it was understood: its systems, and every claim printed back from what was read."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING, Any

from derive.render import facts

if TYPE_CHECKING:
    from derive.notation import Notation
    from derive.reader.claims import Claim, DocumentReading


def text(found: DocumentReading, notation: Notation) -> str:
    """For a terminal: one block a system, then one a claim, with its line and column."""
    blocks = [facts.text(system, notation) for system in found.systems]
    unread = sum(claim.unread is not None for claim in found.claims)
    read = len(found.claims) - unread
    blocks.append(f"Claims of {found.document.name}: {read} read, {unread} unread")
    blocks += [_claim(claim, notation) for claim in found.claims]
    return "\n\n".join(blocks)


def _claim(claim: Claim, notation: Notation) -> str:
    head = f"{claim.n}  line {claim.place.line}, column {claim.place.column}  {claim.kind}"
    if claim.unread is not None:
        where = claim.unread_place or claim.place
        body = [f"unread at {where.line}:{where.column}: {claim.unread}", claim.caret]
    else:
        body = [claim.read_as(notation), *(f"  taking: {a}" for a in claim.readings[0].assumptions)]
        others = len(claim.readings) - 1
        body += [f"  and {others} other reading{'s' if others > 1 else ''}"] if others else []
    return "\n".join([head, indent("\n".join(line for line in body if line), "    ")])


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
        "readings": [list(reading.assumptions) for reading in claim.readings],
        "unread": None
        if claim.unread is None
        else {
            "message": claim.unread,
            "line": place.line if place else None,
            "column": place.column if place else None,
        },
    }
