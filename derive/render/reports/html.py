"""Verdicts as one HTML page that works offline: every formula wears its verdict and unfolds its certificate.

Formulas are printed from what was read, never from the document's text; what was not read is shown as code.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path

from sympy import Basic

from derive.printing import latex
from derive.printing import text as unicode_text
from derive.render.html import formula, page
from derive.render.outline import sentence
from derive.render.reports import words
from derive.verdicts.report import FileReport, Finding, Report

HERE = Path(__file__).parent
TITLE = "Verdicts"


def render(report: Report) -> str:
    title = f"{TITLE}: {report.files[0].file}" if len(report.files) == 1 else TITLE
    return page(words.clean(title), "\n".join(_body(report)), _file("report.css"), _file("report.js"))


def _body(report: Report) -> Iterator[str]:
    yield f'<header class="overview {report.verdict}"><h1>{TITLE}</h1>'
    counts = f"{words.several(len(report.claims), 'claim')} in {words.several(len(report.files), 'document')}"
    yield f'<p class="all">{badge(report.verdict)} {counts}</p>'
    yield f'<p class="chips" role="group" aria-label="Show only">{"".join(_chips(report))}</p>'
    entries = "".join(_entry(f"f{number}", file) for number, file in enumerate(report, 1))
    yield f'<nav aria-label="Documents"><ul>{entries}</ul></nav></header>'
    for number, file in enumerate(report, 1):
        yield from _section(f"f{number}", file)


def _chips(report: Report) -> Iterator[str]:
    """How many claims there are of each category; with scripts, buttons that leave only those."""
    for category, n in words.tally(report.claims):
        sign = words.CATEGORIES[category][0]
        yield (
            f'<button type="button" class="chip {css_class(category)}" data-filter="{css_class(category)}" aria-pressed="false" '
            f'disabled><span aria-hidden="true">{sign}</span> {category} <b>{n}</b></button>'
        )


def _entry(anchor: str, file: FileReport) -> str:
    wrong = file.first_wrong
    place = "" if wrong is None else _prose(words.where(wrong.place, file.file))
    link = "" if wrong is None else f' <a class="first" href="#{anchor}-{wrong.n}">first wrong: {place}</a>'
    return f'<li><a href="#{anchor}"><code>{_prose(file.file)}</code></a> {badge(file.verdict)}{link}</li>'


def _section(anchor: str, file: FileReport) -> Iterator[str]:
    systems = "".join(f'<span class="system">{_prose(name)}</span>' for name in file.systems)
    yield f'<section id="{anchor}">\n<h2><code>{_prose(file.file)}</code> {systems}</h2>'
    kind, said = ("reference", words.summary(file.findings)) if file.trouble is None else ("trouble", file.trouble)
    yield f'<p class="{kind}">{_prose(said)}</p>'
    for finding in file.findings:
        yield from _claim(f"{anchor}-{finding.n}", finding, file)
    yield "</section>"


def _claim(anchor: str, finding: Finding, file: FileReport) -> Iterator[str]:
    category = words.category(finding)
    yield f'<article class="claim {css_class(category)}" id="{anchor}" data-category="{css_class(category)}">'
    yield (
        f'<header><a class="number" href="#{anchor}" aria-label="Link to claim {finding.n}">{finding.n}</a> '
        f"{badge(category, words.verdict(finding))}{kinds(finding)}"
        f'<span class="place">{_prose(words.where(finding.place, file.file))}</span></header><div class="said">'
    )
    yield shown(finding)
    yield from (f'<p class="why">{_prose(why)}</p>' for why in words.reasons(finding, file))
    labels = sentence(", ".join(dict.fromkeys(label for label, _ in _rows(finding))))
    if labels:
        is_open = " open" if category == "fails" and finding.inherits is None else ""
        yield f"<details{is_open}><summary>{labels}</summary>{unfolded(finding)}</details>"
    yield "</div></article>"


def kinds(finding: Finding) -> str:
    """The kinds of mistake, each with its sentence as a tooltip."""
    return "".join(f'<span class="kind" title="{words.KINDS.get(k, k)}">{k}</span>' for k in finding.kinds)


def unfolded(finding: Finding) -> str:
    """What a claim unfolds: repairs, paths, readings, the certificate."""
    listed = "".join(f"<dt>{sentence(label)}</dt><dd>{content}</dd>" for label, content in _rows(finding))
    return f"<dl>{listed}</dl>" if listed else ""


def shown(finding: Finding) -> str:
    """The claim as it was read, or its source where it was not."""
    if finding.formula is not None:
        return "".join(formula(latex(part)) for part in words.parts(finding.formula))
    return f'<pre class="raw" tabindex="0"><code>{_prose(finding.caret or finding.latex)}</code></pre>'


def _rows(finding: Finding) -> Iterator[tuple[str, str]]:
    """What a claim unfolds: a label and its HTML."""
    for repair in words.repairs(finding):
        yield "repair", formula(latex(repair)) + _copy(repair, "Copy the repair as LaTeX")
    for cause in finding.causes:
        if cause.missing is not None:
            yield "missing", formula(latex(cause.missing))
        yield from (("path", f"<code>{_prose(' → '.join(path))}</code>") for path in cause.paths)
    yield from (("reading", _prose(reading)) for reading in finding.readings)
    if finding.certificate is not None:
        yield "certificate", _prose(words.certificate(finding.certificate))
    if finding.numeric is not None:
        yield "in floats", _prose(words.numeric(finding.numeric))
    if finding.formula is not None:
        yield "as read", f"<code>{_one_line(finding.formula)}</code> " + _copy(finding.formula, "Copy as LaTeX")


def _copy(shown: Basic, label: str) -> str:
    return f'<button type="button" class="copy" data-copy="{escape(latex(shown))}" hidden>{label}</button>'


def badge(category: str, said: str = "") -> str:
    """A verdict with its sign."""
    sign = words.CATEGORIES[category][0]
    return f'<span class="badge {css_class(category)}"><span aria-hidden="true">{sign}</span> {said or category}</span>'


def css_class(category: str) -> str:
    """The name that the style sheet knows a category by."""
    return category.replace(" ", "-")


def _one_line(shown: Basic) -> str:
    return _prose(" ".join(unicode_text(shown).split()))


def _prose(said: str) -> str:
    return escape(words.clean(said))


@cache
def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


# --- notebooks --------------------------------------------------------------------------------------------------------

INK = {
    "fails": "#d1372b",
    "unread": "#9457c9",
    **dict.fromkeys(("undecided", "holds-if"), "#a86e00"),
    **dict.fromkeys(("holds", "as expected"), "#2a8a47"),
    **dict.fromkeys(("defines", "skipped"), "#7a828c"),
}
"""Colours that can be read on a light and on a dark notebook."""
CELL = "text-align: left; vertical-align: top"


def fragment(report: Report) -> str:
    """What a notebook shows: tables without scripts, formulas in Unicode; a claim that is not fine is unfolded."""
    return "".join(_table(file) for file in report) or "<p>No documents.</p>"


def _table(file: FileReport) -> str:
    head = f"<p><strong><code>{_prose(file.file)}</code></strong>: {_word(file.verdict)}. "
    said = file.trouble if file.trouble is not None else words.summary(file.findings)
    rows = "".join(_table_row(finding, file) for finding in file.findings)
    heads = "".join(f'<th style="{CELL}">{title}</th>' for title in ("claim", "line", "verdict", "formula"))
    return head + f"{_undollared(said)}</p>" + (f"<table><tr>{heads}</tr>{rows}</table>" if rows else "")


def _table_row(finding: Finding, file: FileReport) -> str:
    said = [_undollared(why) for why in words.reasons(finding, file)]
    said += [f"Repair: <code>{_one_line(repair)}</code>" for repair in words.repairs(finding)]
    said += [_undollared(words.certificate(c)) for c in (finding.certificate,) if c is not None]
    shown = _prose(finding.latex) if finding.formula is None else _one_line(finding.formula)
    unfolded = "" if words.is_fine(finding) else " open"
    more = f"<details{unfolded}><summary>why</summary>{'<br>'.join(said)}</details>" if said else ""
    cells = (str(finding.n), str(finding.place.line), _word(words.category(finding)), f"<code>{shown}</code>{more}")
    return "<tr>" + "".join(f'<td style="{CELL}">{cell}</td>' for cell in cells) + "</tr>"


def _word(category: str) -> str:
    return f'<strong style="white-space: nowrap; color: {INK[category]}">{words.CATEGORIES[category][0]} {category}</strong>'


def _undollared(said: str) -> str:
    """A notebook takes what stands between dollar signs for TeX, but for code."""
    return _prose(said).replace("$", "<code>$</code>")
