"""Derivations as one HTML page that works offline: KaTeX, its style and its fonts are inside."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from sympy import Basic

from derive.derivation import fragments
from derive.printing import latex
from derive.render import outline

if TYPE_CHECKING:
    from derive.derivation import Derivation, Step

HERE = Path(__file__).parent
FAMILIES = {
    "Caligraphic": r"\mathcal",
    "Fraktur": r"\mathfrak",
    "SansSerif": r"\mathsf",
    "Script": r"\mathscr",
    "Typewriter": r"\mathtt",
}
"""The fonts that are put into a page only where a command in it asks for them."""


def render(derivations: Sequence[Derivation]) -> str:
    return page(outline.title(derivations), "\n".join(_body(derivations)))


def page(title: str, body: str, css: str = "", script: str = "") -> str:
    """A page that needs nothing from elsewhere; `css` and `script` are put after those that every page has."""
    return Template(_file("page.html")).substitute(
        title=escape(title),
        katex_css=_style(body),
        css=_file("page.css") + css,
        body=body,
        katex_js=_file("katex/katex.min.js").replace("</script", r"<\/script"),
        script=script,
    )


def _body(derivations: Sequence[Derivation]) -> Iterator[str]:
    yield f"<h1>{prose(outline.title(derivations))}</h1>"
    for reference in outline.references(derivations):
        yield f'<p class="reference">{prose(reference)}</p>'
    if len(derivations) > 1:
        items = (f'<li><a href="#d{n}"><code>{escape(d.query)}</code></a></li>' for n, d in enumerate(derivations, 1))
        yield f"<nav><ul>{''.join(items)}</ul></nav>"
    for number, derivation in enumerate(derivations, 1):
        yield from _section(f"d{number}", derivation)


def _section(anchor: str, derivation: Derivation) -> Iterator[str]:
    options = outline.asked(derivation)
    shown = f' <span class="with">with <code>{escape(options)}</code></span>' if options else ""
    yield f'<section id="{anchor}">\n<h2><code>{escape(derivation.query)}</code>{shown}</h2>'
    for number, step, before in outline.numbered(derivation):
        yield from step_article(f"{anchor}-{number}", number, step, before, derivation)
    if derivation.verdict is not None:
        kind = "verdict" if derivation.verdict else "verdict bad"
        yield f'<p class="{kind}">{prose(str(derivation.verdict), derivation)}</p>'
    yield "</section>"


def step_article(
    anchor: str, number: int, step: Step, before: tuple[Basic, ...], derivation: Derivation
) -> Iterator[str]:
    yield f'<article class="step" id="{anchor}">'
    yield (
        f'<header><a class="number" href="#{anchor}" aria-label="Link to step {number}">{number}</a>'
        f'<h3>{prose(step.title, derivation)}</h3><span class="rule">{prose(step.rule)}</span></header>'
    )
    yield f'<p class="reason">{prose(step.reason, derivation)}</p>'
    if before:
        formulas = "".join(map(formula, fragments(before, derivation.notation)))
        yield f'<p class="from">from</p><div class="before">{formulas}</div>'
    yield from map(formula, step.latex(derivation.notation))
    yield "</article>"


def formula(fragment: str) -> str:
    """A display formula as its TeX source, which the script replaces; without scripts it can still be read."""
    return f'<div class="formula" data-tex="display" tabindex="0">{escape(fragment, quote=False)}</div>'


def prose(words: str, derivation: Derivation | None = None) -> str:
    """Prose with its names as inline formulas."""
    pieces = []
    for kind, piece in outline.spans(words, derivation):
        if not isinstance(piece, str):
            source = latex(piece, derivation.notation)  # type: ignore[union-attr]
            pieces.append(f'<span data-tex="inline">{escape(source, quote=False)}</span>')
        else:
            pieces.append(f"<code>{escape(piece)}</code>" if kind == "code" else escape(piece))
    return "".join(pieces)


def _style(body: str) -> str:
    """KaTeX's style sheet with the fonts that the page needs in place of their addresses."""

    def face(match: re.Match[str]) -> str:
        name = re.search(r"fonts/([\w-]+)\.woff2", match[0])
        if name is None or not _is_needed(name[1], body):
            return ""
        source = f"src:url(data:font/woff2;base64,{_font(name[1])}) format('woff2')"
        return re.sub(r"src:[^;}]*", lambda _: source, match[0])

    return re.sub(r"@font-face\{[^}]*\}", face, _file("katex/katex.min.css"))


def _is_needed(font: str, body: str) -> bool:
    family = font.removeprefix("KaTeX_").partition("-")[0]
    return family not in FAMILIES or FAMILIES[family] in body


@cache
def _font(name: str) -> str:
    return base64.b64encode((HERE / "katex" / "fonts" / f"{name}.woff2").read_bytes()).decode("ascii")


@cache
def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
