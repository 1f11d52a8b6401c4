"""Verdicts as JUnit XML: a test suite a file, a test case a claim."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from derive.render.reports import text, words
from derive.verdicts.report import FileReport, Finding, Report

OUTCOMES = {"fails": "failure", "unread": "error", "undecided": "skipped", "skipped": "skipped"}
"""What a test case of each category holds; the others passed."""
STRICT = {"undecided": "failure", "holds-if": "failure"}


def render(report: Report) -> str:
    root = Element("testsuites", name="derive verify")
    for file in report:
        _suite(root, file, report.strict)
    for outcome in ("tests", "failures", "errors", "skipped"):
        root.set(outcome, str(sum(int(suite.get(outcome, "0")) for suite in root)))
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _suite(root: Element, file: FileReport, strict: bool) -> None:
    name = words.clean(file.file)
    suite = SubElement(root, "testsuite", name=name)
    for finding in file.findings:
        _case(suite, finding, file, strict)
    if file.trouble is not None:
        case = SubElement(suite, "testcase", classname=name, name="the document", file=name)
        trouble = words.clean(file.trouble)
        SubElement(case, "error", type="unusable", message=trouble).text = trouble
    for plural, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(plural, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite)))
    suite.set("time", f"{file.seconds:.3f}")


def _case(suite: Element, finding: Finding, file: FileReport, strict: bool) -> None:
    name = words.clean(file.file)
    title = f"claim {finding.n} ({words.clean(words.where(finding.place, file.file))})"
    case = SubElement(suite, "testcase", classname=name, name=title, file=name, line=str(finding.place.line))
    category = words.category(finding)
    outcome = (STRICT.get(category) if strict else None) or OUTCOMES.get(category)
    full = text.finding(finding, file)
    if outcome is None:
        SubElement(case, "system-out").text = full
    else:
        message = words.headline(finding, file)
        SubElement(case, outcome, type=words.rule(finding), message=message).text = full
