"""The first page: what this is, every document and every system, and how many formulas were verified."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from derive.site import page, prose
from derive.site.sheet import Tally

HERO = """<div class="hero"><div><h1>Gradients of recurrent networks, derived and checked</h1>
<p>Worked solutions on backpropagation through time, at the level of vectors, for any number of steps.
<b>{count} formulas</b> stand on these pages; every one of them was verified when they were built, the typed ones line by line,
the derived ones on both sides by two roads that share no rule.</p></div>{picture}</div>"""
MARKED = "Five hand-written solutions, typed with their mistakes; every line wears its verdict."
SYSTEMS = "Every system with its table, its adjoint, its Jacobians path by path, its code."


def html(tallies: Mapping[str, Tally]) -> str:
    """The page; `tallies` are those of all others by their paths."""
    count = sum(t.formulas for t in tallies.values())
    documents = {path: t for path, t in tallies.items() if path.startswith(f"{page.DOCUMENTS}/")}
    marked = {path: t for path, t in documents.items() if path.count("/") > 1}
    solutions = {path: t for path, t in documents.items() if path not in marked}
    systems = {path: t for path, t in tallies.items() if path.startswith(f"{page.SYSTEMS}/")}
    body = [
        HERO.format(count=f"{count:,}", picture=_picture()),
        '<h2 id="documents">Worked solutions</h2>',
        _cards(solutions.items()),
        f'<h2 id="marked">Marked by derive</h2><p>{MARKED}</p>',
        _cards(marked.items()),
        f'<h2 id="systems">The catalogue</h2><p>{SYSTEMS}</p>',
        _cards(systems.items()),
    ]
    return page.frame("index", "Worked solutions", f'<main id="top" class="overview">{"".join(body)}</main>')


def _cards(tallies: Iterable[tuple[str, Tally]]) -> str:
    return f'<ul class="cards">{"".join(_card(path, tally) for path, tally in tallies)}</ul>'


def _card(path: str, tally: Tally) -> str:
    title, summary = prose.inline(tally.title), prose.inline(tally.summary)
    count = f"✓ {tally.formulas} formulas verified"
    if tally.wrong:
        count = f"✗ {len(tally.wrong)} of {tally.formulas} formulas are not as they should be"
    return f'<li><a href="{escape(path)}.html"><h3>{title}</h3><p>{summary}</p><p class="count">{count}</p></a></li>'


def _picture() -> str:
    """The paths of a Jacobian, as a taste of what is inside."""
    from derive import catalogue

    picture = catalogue.load("gru").plot("graph", "dh[t]/dh[t-1]")
    said = escape("The four paths of ∂h[t]/∂h[t-1] in a gated recurrent unit")
    return f'<figure class="picture">{picture.svg()}<figcaption>{said}</figcaption></figure>'
