"""Verdicts for a terminal: a line for what holds; for what does not, the formula as it was read, why, and the repair."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import shorten, wrap

from sympy import Basic

from derive.printing import latex
from derive.printing import text as unicode_text
from derive.render.reports import words
from derive.render.terminal import paint
from derive.verdicts.report import FileReport, Finding, Report

COLOURS = {"fails": "bad", "unread": "bad", "undecided": "rule", "holds-if": "rule", "defines": "reason"}
"""The row in `derive.render.terminal.COLOURS` of each category; the others are good."""
INDENT, LABEL = 4, 10


def render(report: Report, colour: bool = False, width: int = 100, verbose: bool = False) -> str:
    """All files under one another.  `verbose`: what holds is unfolded too.  `colour`: with ANSI escapes."""
    blocks = ["\n".join(_file(file, colour, width, verbose)) for file in report]
    if len(report.files) > 1:
        blocks.append("\n".join(_all(report, colour, width)))
    return "\n\n".join(blocks) + "\n"


def finding(found: Finding, file: FileReport, colour: bool = False, width: int = 100) -> str:
    """One claim, unfolded."""
    return "\n".join(_unfolded(found, file, colour, width))


def _all(report: Report, colour: bool, width: int) -> Iterator[str]:
    for line in wrap(f"{len(report.files)} files, {words.summary(report.claims)}", width):
        yield paint("title", line, colour)


def _file(file: FileReport, colour: bool, width: int, verbose: bool) -> Iterator[str]:
    kind = COLOURS.get(file.verdict, "ok")
    about = f" ({', '.join(file.systems)})" if file.systems else ""
    yield f"{paint('title', words.clean(file.file + about), colour)}: {paint(kind, file.verdict, colour)}"
    if file.trouble is not None:
        yield from (paint("bad", line, colour) for line in _wrapped(file.trouble, width, 2))
        return
    yield from _wrapped("; ".join(filter(None, (words.summary(file.findings), words.first_wrong(file)))), width, 2)
    was_long = True
    for found in file.findings:
        is_long = verbose or not words.is_fine(found)
        if is_long or was_long:
            yield ""
        yield from _unfolded(found, file, colour, width) if is_long else _short(found, file, colour, width)
        was_long = is_long


def _short(found: Finding, file: FileReport, colour: bool, width: int) -> Iterator[str]:
    """One line, cut where it is too long."""
    head = f"{_sign(found)} {_place(found)}  {_verdict(found)}"
    read = found.latex if found.formula is None else unicode_text(found.formula)
    shown = shorten(words.clean(read), max(width - len(head) - 2, 20), placeholder=" …")
    yield f"{paint(_colour(found), head, colour)}  {shown}"


def _unfolded(found: Finding, file: FileReport, colour: bool, width: int) -> Iterator[str]:
    head = f"{_sign(found)} {_place(found)}  {_verdict(found)}"
    yield paint(_colour(found), head, colour) + paint("reason", f"  claim {found.n}", colour)
    if found.formula is not None:
        yield from _formula(found.formula, width, INDENT)
    else:  # its columns stay as they are
        yield from (f"{' ' * INDENT}{line}" for line in words.clean(found.caret or found.latex).splitlines())
    for label, content in _rows(found, file):
        yield from _row(label, content, colour, width)


def _rows(found: Finding, file: FileReport) -> Iterator[tuple[str, str | Basic]]:
    """What is said of a claim: a label, and a sentence or a formula."""
    yield from (("taking", sentence) for sentence in found.readings)
    for sentence, repair in words.explained(found, file):
        yield "why", sentence
        if repair is not None:
            yield from (("repair", repair), ("LaTeX", latex(repair)))
    if found.certificate is not None:
        yield "shown by", words.certificate(found.certificate)
    if found.numeric is not None:
        yield "in floats", words.numeric(found.numeric)


def _row(label: str, content: str | Basic, colour: bool, width: int) -> Iterator[str]:
    room = INDENT + LABEL
    if not isinstance(content, str):
        lines = list(_formula(content, width, room))
    elif label == "LaTeX":  # to be copied: its lines stay as they are
        lines = [" " * room + line for line in words.clean(content).splitlines()]
    else:
        lines = _wrapped(content, width, room)
    yield " " * INDENT + paint("reason", f"{label:{LABEL}}", colour) + "".join(lines[:1])[room:]
    yield from lines[1:]


def _wrapped(sentence: str, width: int, room: int) -> list[str]:
    return _hung(words.clean(sentence), width, " " * room, " " * room)


def _formula(shown: Basic, width: int, room: int) -> Iterator[str]:
    """A formula keeps its own lines; one that is too long goes on further to the right."""
    for part in words.parts(shown):
        for line in words.clean(unicode_text(part)).splitlines():
            own = " " * (room + len(line) - len(line.lstrip()))
            yield from _hung(line.strip(), width, own, own + "    ")


def _hung(line: str, width: int, first: str, rest: str) -> list[str]:
    room = max(width, len(rest) + 20)
    return wrap(
        line, room, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _place(found: Finding) -> str:
    return words.clean(str(found.place))


def _verdict(found: Finding) -> str:
    return words.verdict(found) + (f" ({', '.join(found.kinds)})" if found.kinds else "")


def _sign(found: Finding) -> str:
    return words.CATEGORIES[words.category(found)][0]


def _colour(found: Finding) -> str:
    return COLOURS.get(words.category(found), "ok")
