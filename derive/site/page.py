"""A sheet as an HTML page: its contents beside it, every formula with its verdict, every step with its anchor."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from html import escape
from pathlib import Path, PurePosixPath
from string import Template
from typing import Any, TypeAlias

from derive.derivation import Derivation
from derive.render import html as derivation_html
from derive.render import outline
from derive.render.reports import html as report_html
from derive.render.reports import words
from derive.site import formulas, prose
from derive.site.sheet import Algorithm, Drawn, Formula, Listing, Prose, Sheet, Table, Worked
from derive.verdicts.report import FileReport, Finding

HERE = Path(__file__).parent
DOCUMENTS, SYSTEMS, VERDICTS = "derivations", "systems", "derivations/how-a-verdict-is-reached"


Neighbour: TypeAlias = "tuple[str, str] | None"


def html(sheet: Sheet, downloads: Sequence[tuple[str, str]], neighbours: tuple[Neighbour, Neighbour]) -> str:
    """The page.  `downloads` are the names of files beside it, each with what it is; `neighbours` the pages before and after
    it, by path and title."""
    writer = _Writer(sheet)
    body = "\n".join(writer.blocks())
    head = _title_block(sheet, downloads)
    contents = _contents(sheet)
    return frame(
        sheet.path, sheet.title, f'{contents}<main id="top">\n{head}\n{body}\n{_onwards(sheet, neighbours)}</main>'
    )


def _root(path: str) -> str:
    """The way from a page up to the site's folder."""
    return "../" * path.count("/")


def _onwards(sheet: Sheet, neighbours: tuple[Neighbour, Neighbour]) -> str:
    """Links to the pages before and after."""
    root = _root(sheet.path)
    links = [
        f'<a rel="{rel}" href="{root}{escape(path)}.html"><span>{said}</span>{prose.inline(title)}</a>'
        for (rel, said), (path, title) in ((words, one) for words, one in zip(ONWARDS, neighbours, strict=True) if one)
    ]
    return f'<nav class="onwards" aria-label="Before and after">{"".join(links)}</nav>' if links else ""


ONWARDS = (("prev", "Before"), ("next", "Next"))


def frame(path: str, title: str, body: str) -> str:
    """What all pages have around their body; formulas are set here."""
    root = _root(path)
    here = {"home": path == "index", "documents": path.startswith(DOCUMENTS) and path != VERDICTS,
            "systems": path.startswith(SYSTEMS), "verdicts": path == VERDICTS}  # fmt: skip
    current = {f"at_{name}": ' aria-current="page"' if is_here else "" for name, is_here in here.items()}
    plain = re.sub(r"[$`*]", "", title)
    whole = Template(_file("page.html")).substitute(title=escape(plain), root=root, body=body, **current)
    return formulas.typeset(whole)


@cache
def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _title_block(sheet: Sheet, downloads: Sequence[tuple[str, str]]) -> str:
    links = "".join(f'<a href="{escape(file)}" download>{escape(said)}</a>' for file, said in downloads)
    taken = f'<p class="downloads" aria-label="Downloads">{links}</p>' if links else ""
    return f"<h1>{prose.inline(sheet.title)}</h1>\n{taken}"


def _contents(sheet: Sheet) -> str:
    """Links to the headings, and the whole of them once more for narrow screens."""
    found = [
        h for block in sheet.blocks if isinstance(block, Prose) for h in prose.headings(block.text) if h.level == 2
    ]
    if len(found) < 2:
        return ""
    items = "".join(f'<li><a href="#{h.anchor}">{prose.inline(h.text)}</a></li>' for h in found)
    return (
        '<nav class="contents" aria-label="On this page"><details><summary>On this page</summary>'
        f"<ol>{items}</ol></details></nav>\n"
    )


class _Writer:
    """One page; derivations and pictures are numbered through it."""

    def __init__(self, sheet: Sheet):
        self.sheet = sheet
        self.numbers: dict[str, int] = {}
        self.shown: dict[tuple[Any, ...], str] = {}

    def blocks(self) -> Iterator[str]:
        for block in self.sheet.blocks:
            yield WRITERS[type(block)](self, block)

    def number(self, kind: str) -> int:
        self.numbers[kind] = self.numbers.get(kind, 0) + 1
        return self.numbers[kind]

    def link(self, address: str) -> str:
        """A link to another document leads to its page, one to a README to the first page."""
        file, mark, anchor = address.partition("#")
        if "://" in file or not file.endswith(".md"):
            return address
        if PurePosixPath(file).name == "README.md":
            return f"{_root(self.sheet.path)}index.html"
        return f"{file.removesuffix('.md')}.html{mark}{anchor}"

    def prose(self, block: Prose) -> str:
        return prose.html(block.text, self.link)

    def formula(self, block: Formula) -> str:
        anchor = f"formula-{self.number('formula')}"
        shown = derivation_html.formula(block.latex)
        report = self.sheet.report
        if report is None or not block.findings:
            return f'<figure class="claimed" id="{anchor}">{shown}</figure>'
        worst = min(block.findings, key=lambda f: list(words.CATEGORIES).index(_found(f)))
        badges = "".join(dict.fromkeys(report_html.badge(_found(f), words.verdict(f)) for f in block.findings))
        kinds = "".join(dict.fromkeys(report_html.kinds(f) for f in block.findings))
        more = "".join(_finding(f, report, len(block.findings) > 1) for f in block.findings)
        return (
            f'<figure class="claimed {report_html.css_class(_found(worst))}" id="{anchor}">{shown}'
            f'<figcaption><a class="number" href="#{anchor}" aria-label="Link to this formula">#</a>{badges}{kinds}'
            f"{_why(worst, report)}<details><summary>How it was checked</summary>{more}</details></figcaption></figure>"
        )

    def worked(self, block: Worked) -> str:
        anchor = f"derivation-{self.number('derivation')}"
        found = block.derivation
        asked = outline.asked(found)
        options = f' <span class="with">{escape(asked)}</span>' if asked else ""
        result = "".join(derivation_html.formula(f) for f in found.result_fragments())
        if block.result_only:
            content = result
            for step in found.steps:
                if step.lines == found.result:
                    self.shown.setdefault(outline.said(step), anchor)
        else:
            content = "\n".join(self.steps(anchor, found))
        if block.folded:
            count = words.several(len(found.steps), "step")
            content = f"{result}<details><summary>{count}</summary>{formulas.later(content)}</details>"
        return (
            f'<section class="worked" id="{anchor}"><header><a class="number" href="#{anchor}" '
            f'aria-label="Link to this derivation">#</a><code class="query">{escape(found.query)}</code>{options}</header>\n'
            f'{content}\n<footer><p class="verdict">{_verdict(found)}</p>{_command(block.command)}</footer></section>'
        )

    def steps(self, anchor: str, found: Derivation) -> Iterator[str]:
        """The steps; one that stands further up on the page is not said again."""
        for number, step, before in outline.numbered(found):
            own = f"{anchor}-{number}"
            above = self.shown.setdefault(outline.said(step), own)
            if above == own:
                yield from derivation_html.step_article(own, number, step, before, found)
            else:
                title = derivation_html.prose(step.title, found)
                said = f'{title}, <a href="#{above}">as above</a>'
                yield f'<p class="step again" id="{own}"><span class="number">{number}</span> {said}</p>'

    def drawn(self, block: Drawn) -> str:
        anchor = f"picture-{self.number('picture')}"
        return (
            f'<figure class="picture" id="{anchor}">{block.picture.svg()}'
            f"<figcaption>{escape(block.picture.title)}{_command(block.command)}</figcaption></figure>"
        )

    def listing(self, block: Listing) -> str:
        code = prose.code_html(block.source, block.language)
        return f"<details><summary>{escape(block.title)}</summary>{code}</details>" if block.title else code

    def algorithm(self, block: Algorithm) -> str:
        shown = derivation_html.formula(block.latex)
        return f'<figure class="algorithm"><figcaption>{escape(block.title)}</figcaption>{shown}</figure>'

    def table(self, block: Table) -> str:
        head = "".join(f"<th>{prose.inline(cell)}</th>" for cell in block.head)
        rows = "".join(f"<tr>{''.join(f'<td>{prose.inline(cell)}</td>' for cell in row)}</tr>" for row in block.rows)
        return (
            f'<div class="table" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        )


WRITERS: dict[type, Callable[[_Writer, Any], str]] = {
    Prose: _Writer.prose,
    Formula: _Writer.formula,
    Worked: _Writer.worked,
    Drawn: _Writer.drawn,
    Listing: _Writer.listing,
    Algorithm: _Writer.algorithm,
    Table: _Writer.table,
}


def _command(command: str) -> str:
    return f'<p class="command"><code>{escape(command)}</code></p>'


def _verdict(found: Derivation) -> str:
    _, _, said = str(found.verdict).partition(" ")
    return f"{report_html.badge(found.verdict.verdict)} {derivation_html.prose(said, found)}"


def _found(finding: Finding) -> str:
    """What a formula is shown as: a mistake in its own colour, also where the page expects it."""
    return "skipped" if finding.skipped else finding.verdict


def _why(finding: Finding, report: FileReport) -> str:
    """The most telling reason of what is not simply right, in the open."""
    said = words.reasons(finding, report) if finding.verdict not in ("holds", "defines") else []
    return f'<p class="why">{escape(said[0])}</p>' if said else ""


def _finding(finding: Finding, report: FileReport, among_others: bool) -> str:
    shown = report_html.shown(finding) if among_others else ""
    reasons = "".join(f"<p>{escape(why)}</p>" for why in words.reasons(finding, report))
    return f'<div class="found">{shown}{reasons}{report_html.unfolded(finding)}</div>'
