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
    for number, step in enumerate(derivation.steps, 1):
        yield from _step(number, step, derivation, width, colour)
    if derivation.verdict is not None:
        kind = "ok" if getattr(derivation.verdict, "ok", True) else "bad"
        yield ""
        yield from (paint(kind, line, colour) for line in wrap(str(derivation.verdict), width))


def _step(number: int, step: Step, derivation: Derivation, width: int, colour: bool) -> Iterator[str]:
    yield ""
    title, rule = f"{number}. {outline.plain(step.title)}", f"[{step.rule}]"
    yield f"{paint('title', title, colour)}  {paint('rule', rule, colour)}"
    for line in wrap(outline.plain(step.reason), width - 3, initial_indent="   ", subsequent_indent="   "):
        yield paint("reason", line, colour)
    if step.before:
        yield paint("reason", "   From", colour)
        yield from _formulas(step.before, derivation)
        yield paint("reason", "   follows", colour)
    if step.lines:
        yield from [] if step.before else [""]
        yield from _formulas(step.lines, derivation)


def _formulas(lines: Sequence[Basic], derivation: Derivation) -> Iterator[str]:
    for line in lines:
        yield from (f"{INDENT}{row}".rstrip() for row in text(line, derivation.notation).splitlines())
