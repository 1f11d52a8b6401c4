"""Verdicts as commands of a GitHub action's log, which become annotations on the lines of a change.

A message escapes `%` and line ends, a property `:` and `,` besides: nothing that a document holds starts a command.
Carriage returns are gone with the other control characters (`words.clean`).
"""

from __future__ import annotations

from collections.abc import Iterator

from sympy import Basic

from derive.errors import Place
from derive.printing import text
from derive.render.reports import words
from derive.verdicts.report import FileReport, Finding, Report

COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}
_MESSAGE = str.maketrans({"%": "%25", "\n": "%0A"})
_PROPERTY = str.maketrans({"%": "%25", "\n": "%0A", ":": "%3A", ",": "%2C"})


def render(report: Report) -> str:
    return "".join(f"{line}\n" for file in report for line in _file(file, report.strict))


def _file(file: FileReport, strict: bool) -> Iterator[str]:
    if file.trouble is not None:
        yield _command("error", file, file.trouble_place, "the document can't be used", file.trouble)
    for finding in file.findings:
        level = words.level(finding, strict)
        if level is not None:
            kinds = f" ({', '.join(finding.kinds)})" if finding.kinds else ""
            title = f"claim {finding.n} {words.verdict(finding)}{kinds}"
            yield _command(COMMANDS[level], file, finding.place, title, _message(finding, file))
    parts = (file.verdict, words.summary(file.findings), words.first_wrong(file))
    yield f"derive verify: {_escaped(file.file)}: {'; '.join(filter(None, parts))}"


def _message(finding: Finding, file: FileReport) -> str:
    read = [] if finding.formula is None else [_line("read as", finding.formula)]
    mended = [_line("repair", repair) for repair in words.repairs(finding)]
    return "\n".join([*words.reasons(finding, file), *read, *mended]) or words.headline(finding, file)


def _line(label: str, formula: Basic) -> str:
    return f"{label}: {' '.join(text(formula).split())}"


def _command(name: str, file: FileReport, place: Place | None, title: str, message: str) -> str:
    at = {"file": file.file, "title": title}
    if place is not None and place.file == file.file:
        at |= {"line": str(place.line), "col": str(place.column)}
    elif place is not None:  # a line of a notebook's cell is no line of its file
        at["title"] = f"{words.where(place, file.file)}: {title}"
    properties = ",".join(f"{key}={words.clean(value).translate(_PROPERTY)}" for key, value in at.items())
    return f"::{name} {properties}::{_escaped(message)}"


def _escaped(message: str) -> str:
    return words.clean(message).translate(_MESSAGE)
