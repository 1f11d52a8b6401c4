"""What was found in documents, for whom it may concern: one file a format, each with a function `render(report) -> str`.

    text     a person at a terminal          html    a person at a desk: one page, and `_repr_html_` for notebooks
    json     programs                        junit   a build server
    sarif    a code review                   github  the log of a GitHub action

A new format is a new module and a row in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable

from derive.render.reports import github, html, json, junit, sarif, text
from derive.verdicts.report import Report

FORMATS: dict[str, Callable[[Report], str]] = {
    "text": text.render,
    "json": json.render,
    "junit": junit.render,
    "sarif": sarif.render,
    "github": github.render,
    "html": html.render,
}
