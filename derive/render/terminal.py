"""Derivations for a terminal: readable Unicode, numbered steps, reasons wrapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from sympy import Basic

from derive.printing import text
from derive.render import outline

if TYPE_CHECKING:
    from derive.derivation import Derivation, Step

COLOURS = {"title": "1", "rule": "36", "reason": "2", "ok": "32", "bad": "31"}
INDENT = "    "


def render(derivations: Sequence[Derivation], width: int = 100, colour: bool = False) -> str:
    """All derivations under one another.  `colour`: with ANSI escapes, for a terminal only."""
    lines = [*_head(derivations, width, colour)]
    for derivation in derivations:
        lines += ["", *_derivation(derivation, width, colour)]
    return "\n".join(lines) + "\n"


def paint(kind: str, words: str, colour: bool) -> str:
    return f"\033[{COLOURS[kind]}m{words}\033[0m" if colour and words else words


def _head(derivations: Sequence[Derivation], width: int, colour: bool) -> Iterator[str]:
    yield paint("title", outline.title(derivations), colour)
    for reference in outline.references(derivations):
        yield from (paint("reason", line, colour) for line in wrap(reference, width))


def _derivation(derivation: Derivation, width: int, colour: bool) -> Iterator[str]:
    heading = " ".join(filter(None, (derivation.query, outline.asked(derivation))))
    yield paint("title", heading, colour)
    yield paint("title", "─" * min(len(heading), width), colour)
    for number, step, before in outline.numbered(derivation):
        yield from _step(number, step, before, derivation, width, colour)
    if derivation.verdict is not None:
        kind = "ok" if derivation.verdict else "bad"
        yield ""
        yield from (paint(kind, line, colour) for line in wrap(prose(str(derivation.verdict), derivation), width))


def _step(
    number: int, step: Step, before: tuple[Basic, ...], derivation: Derivation, width: int, colour: bool
) -> Iterator[str]:
    yield ""
    title, rule = f"{number}. {prose(step.title, derivation)}", f"[{step.rule}]"
    yield f"{paint('title', title, colour)}  {paint('rule', rule, colour)}"
    for line in wrap(prose(step.reason, derivation), width - 3, initial_indent="   ", subsequent_indent="   "):
        yield paint("reason", line, colour)
    if before:
        yield paint("reason", "   From", colour)
        yield from _formulas(before, derivation)
        yield paint("reason", "   follows", colour)
    if step.lines:
        yield from [] if before else [""]
        yield from _formulas(step.lines, derivation)


def prose(words: str, derivation: Derivation) -> str:
    """Prose with its names as the formulas write them."""
    pieces = outline.spans(words, derivation)
    return "".join(p if isinstance(p, str) else text(p, derivation.notation) for _, p in pieces)


def _formulas(lines: Sequence[Basic], derivation: Derivation) -> Iterator[str]:
    for line in lines:
        yield from (f"{INDENT}{row}".rstrip() for row in text(line, derivation.notation).splitlines())
