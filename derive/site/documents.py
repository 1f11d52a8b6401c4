"""A Markdown document as a sheet: its prose, its formulas with their verdicts, and what its fenced blocks ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from derive.reader.claims import DocumentReading
from derive.reader.document import read
from derive.reader.source import Display, Query
from derive.reader.understand import understand
from derive.site import asked
from derive.site.sheet import Block, Formula, Prose, Sheet, title_of
from derive.verdicts.report import FileReport, Finding
from derive.verdicts.verify import judged

_TITLE = re.compile(r"\s*#\s+(.+?)\s*\n")


def sheet(file: Path, path: str, shown_as: str) -> Sheet:
    """The document as a page at `path`; a command line calls it `shown_as`.  Raises `DeriveError` where it can't be read."""
    found = understand(read(file))  # says it where the file is no text
    report = judged(found)
    text = file.read_text(encoding="utf-8")
    systems = tuple({system.name: system for system in found.systems}.values())
    return Sheet(
        path,
        title_of(file),
        tuple(_blocks(text, found, report, shown_as)),
        report,
        systems,
        text,
        _summary(text),
    )


def _blocks(text: str, found: DocumentReading, report: FileReport, shown_as: str) -> Iterator[Block]:
    """The text below its title, cut at its displays and its fenced blocks."""
    numbers = {id(system): n for n, system in reversed(list(enumerate(found.systems, 1)))}
    questions = {one.query.span: one for one in found.queries}
    title = _TITLE.match(text)
    at = title.end() if title else 0
    cuts: list[Display | Query] = [*found.document.displays, *(one.query for one in found.queries)]
    for item in sorted(cuts, key=lambda item: item.span):
        yield from _prose(text[at : item.span[0]])
        at = item.span[1]
        if isinstance(item, Display):
            yield Formula(_shown(item), _of_display(report, item))
        else:
            one = questions[item.span]
            yield from asked.blocks(one, _name(one.system, numbers, shown_as))
    yield from _prose(text[at:])


def _name(system: object, numbers: dict[int, int], shown_as: str) -> str:
    """How a command line names the system: by the catalogue, or as a system of the document."""
    from derive import catalogue

    name = getattr(system, "name", "")
    if name.partition("(")[0] in catalogue.names():
        return str(name)
    number = numbers.get(id(system), 1)
    return shown_as if number == 1 else f"{shown_as}:{number}"


def _prose(text: str) -> Iterator[Prose]:
    if text.strip():
        yield Prose(text.strip("\n"))


def _shown(display: Display) -> str:
    """The formula as it is typeset; an environment that stands by itself in LaTeX is one inside a display here."""
    text = re.sub(r"\n\s*\n", "\n", display.text.strip())
    inner = INSIDE.get(display.environment.rstrip("*"))
    return f"\\begin{{{inner}}}{text}\\end{{{inner}}}" if inner else text


INSIDE = {"align": "aligned", "gather": "gathered", "multline": "gathered", "alignat": "aligned"}


def _of_display(report: FileReport, display: Display) -> tuple[Finding, ...]:
    return tuple(finding for finding in report.findings if finding.display == display.n)


def _summary(text: str) -> str:
    """The paragraph below the title."""
    after = _TITLE.sub("", text, count=1)
    paragraphs = (p.strip() for p in re.split(r"\n\s*\n", re.sub(r"<!--.*?-->", "", after, flags=re.DOTALL)))
    return " ".join(next((p for p in paragraphs if p and not p.startswith(("#", "|", "```"))), "").split())
