"""Verdicts as JSON: the same bytes at every run, without timings."""

from __future__ import annotations

from typing import Any

from sympy import Basic

from derive.errors import Place
from derive.printing import latex, text
from derive.render.json import dumps
from derive.render.reports import words
from derive.verdicts.report import Certificate, Diagnosis, FileReport, Finding, Numeric, Report


def render(report: Report) -> str:
    return words.clean(dumps(data(report)))


def data(report: Report) -> dict[str, Any]:
    """What `--format json` prints; formulas of a diagnosis are LaTeX, assumptions sentences."""
    return {"files": [_file(file) for file in report], "verdict": report.verdict, "exit_code": report.exit_code}


def _file(file: FileReport) -> dict[str, Any]:
    first = file.first_wrong
    return {
        "file": file.file,
        "system": next(iter(file.systems), None),
        "systems": list(file.systems),
        "verdict": file.verdict,
        "first_wrong": None if first is None else first.n,
        "trouble": None if file.trouble is None else {"message": file.trouble, **_at(file.trouble_place)},
        "claims": [_claim(finding, file) for finding in file.findings],
    }


def _claim(finding: Finding, file: FileReport) -> dict[str, Any]:
    return {
        "n": finding.n,
        **_at(finding.place),
        "cell": None if finding.place.file == file.file else finding.place.file.removeprefix(f"{file.file}:"),
        "kind": finding.kind,
        "latex": finding.latex,
        "read_as": _shown(text, finding.formula),
        "read_as_latex": _shown(latex, finding.formula),
        "verdict": finding.verdict,
        "expected": None if finding.expected is None else list(filter(None, finding.expected)),
        "as_expected": finding.as_expected,
        "skipped": finding.skipped,
        "readings": list(finding.readings),
        "assumptions": [assumption.sentence for assumption in finding.assumptions],
        "assumption_kinds": [assumption.kind for assumption in finding.assumptions],
        "diagnosis": next(map(_cause, finding.causes), None),
        "causes": [_cause(cause) for cause in finding.causes],
        "inherits": finding.inherits,
        "reason": finding.reason,
        "certificate": None if finding.certificate is None else _certificate(finding.certificate),
        "numeric": None if finding.numeric is None else _numeric(finding.numeric),
    }


def _at(place: Place | None) -> dict[str, int | None]:
    return {"line": place.line, "column": place.column} if place is not None else {"line": None, "column": None}


def _shown(printer: Any, formula: Basic | None) -> str | None:
    return None if formula is None else printer(formula)


def _cause(cause: Diagnosis) -> dict[str, Any]:
    return {
        "kind": cause.kind,
        "sentence": cause.sentence,
        "paths": [list(path) for path in cause.paths],
        "missing": _shown(latex, cause.missing),
        "repair": _shown(latex, cause.repair),
    }


def _certificate(found: Certificate) -> dict[str, Any]:
    return {
        "method": found.method,
        "prime_bits": found.prime_bits,
        "seeds": found.seeds,
        "error_bound": found.error_bound,
        "points": found.points,
        "at": found.at,
        "left": found.left,
        "right": found.right,
        "note": found.note,
    }


def _numeric(found: Numeric) -> dict[str, Any]:
    """`max_rel_err` is null where it is no number: JSON knows neither infinities nor NaN."""
    finite = found.max_rel_err - found.max_rel_err == 0
    return {"oracle": found.oracle, "max_rel_err": found.max_rel_err if finite else None}
