"""Verdicts as SARIF 2.1.0 (OASIS): what a code review shows beside the lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import derive
from derive.errors import Place
from derive.printing import text
from derive.render.json import dumps
from derive.render.reports import words
from derive.verdicts.report import FileReport, Finding, Report

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
RULES = {
    **{f"fails/{kind}": (f"The claim is false: {sentence}.", "error") for kind, sentence in words.KINDS.items()},
    "unexpected": ("The claim got another verdict than the document expects.", "error"),
    "unread": ("The claim, or the document, is not understood.", "warning"),
    "undecided": ("Neither that the claim holds nor that it fails could be shown.", "note"),
    "holds-if": ("The claim holds under an assumption that the document does not state.", "note"),
}
"""What a result may say: its rule, in a sentence, and how loudly."""


def render(report: Report) -> str:
    return dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(report)]})


def _run(report: Report) -> dict[str, Any]:
    results = [result for file in report for result in _results(file, report.strict)]
    driver = {"name": "derive", "version": derive.__version__, "semanticVersion": derive.__version__, "rules": _rules()}
    return {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"%SRCROOT%": {"description": {"text": "The folder in which derive was run."}}},
        "results": results,
    }


def _rules() -> list[dict[str, Any]]:
    return [
        {"id": name, "shortDescription": {"text": sentence}, "defaultConfiguration": {"level": level}}
        for name, (sentence, level) in RULES.items()
    ]


def _results(file: FileReport, strict: bool) -> list[dict[str, Any]]:
    trouble = [] if file.trouble is None else [_result("unread", "error", file.trouble, file, file.trouble_place)]
    return [*trouble, *(_claim(f, file, level) for f in file.findings if (level := words.level(f, strict)))]


def _claim(finding: Finding, file: FileReport, level: str) -> dict[str, Any]:
    sentences = [f"Claim {finding.n} {words.verdict(finding)}.", *words.reasons(finding, file)]
    sentences += [f"Repair: {' '.join(text(repair).split())}" for repair in words.repairs(finding)]
    result = _result(words.rule(finding), level, "\n".join(sentences), file, finding.place)
    if "region" in result["locations"][0]["physicalLocation"]:
        snippet = {"text": words.clean(finding.latex)}
        result["locations"][0]["physicalLocation"]["region"]["snippet"] = snippet
    return result


def _result(rule: str, level: str, message: str, file: FileReport, place: Place | None) -> dict[str, Any]:
    return {
        "ruleId": rule,
        "ruleIndex": list(RULES).index(rule),
        "level": level,
        "message": {"text": words.clean(message)},
        "locations": [_location(file.file, place)],
    }


def _location(file: str, place: Place | None) -> dict[str, Any]:
    """A line of a file; a line of a notebook's cell is no line of its file, and is named only."""
    physical: dict[str, Any] = {"artifactLocation": _artifact(file)}
    if place is not None and place.file == file:
        physical["region"] = {"startLine": place.line, "startColumn": place.column}
    location: dict[str, Any] = {"physicalLocation": physical}
    if place is not None and place.file != file:
        location["logicalLocations"] = [{"name": words.where(place, file)}]
    return location


def _artifact(file: str) -> dict[str, str]:
    """Relative to where derive runs, if it is below."""
    here, path = Path.cwd(), Path(file)
    absolute = Path(os.path.abspath(path))
    if absolute.is_relative_to(here):
        return {"uri": quote(absolute.relative_to(here).as_posix(), errors="replace"), "uriBaseId": "%SRCROOT%"}
    return {"uri": absolute.as_uri()}
