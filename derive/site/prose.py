"""Markdown to HTML and to LaTeX; inline math stands between single dollars."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

from derive.errors import DeriveError
from derive.render import tex as tex_format

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token


@dataclass(frozen=True)
class Heading:
    """A heading of a page: what a link to it says, and where it leads."""

    level: int
    text: str
    anchor: str


@cache
def _parser() -> MarkdownIt:
    try:
        from markdown_it import MarkdownIt
        from mdit_py_plugins.dollarmath import dollarmath_plugin
    except ImportError:
        needed = "markdown-it-py and mdit-py-plugins"
        raise DeriveError(f"the site needs {needed}: pip install 'derive-bptt[docs]'") from None
    parser = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin, allow_space=False, allow_digits=False)
    parser.renderer.rules.update(  # type: ignore[attr-defined]
        math_inline=_math_html, math_block=_display_html, fence=_fence_html, html_inline=_raw_html, html_block=_raw_html
    )
    return parser


def tokens(text: str) -> list[Token]:
    """The Markdown, parsed; comments are no part of it, other HTML stands as it was typed."""
    return [token for token in _parser().parse(text) if not _is_comment(token)]


def _is_comment(token: Token) -> bool:
    return token.type == "html_block" and token.content.lstrip().startswith("<!--")


def slug(text: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")


def headings(text: str) -> Iterator[Heading]:
    found = tokens(text)
    for token, inline in itertools.pairwise(found):
        if token.type == "heading_open":
            yield Heading(int(token.tag[1]), inline.content, slug(inline.content))


# --- HTML -------------------------------------------------------------------------------------------------------------


def html(text: str, link: Callable[[str], str] = str) -> str:
    """The prose as HTML; `link` turns the address of another document into that of its page."""
    found = tokens(text)
    for token, inline in itertools.pairwise(found):
        if token.type == "heading_open":
            token.attrSet("id", slug(inline.content))
    for token in _all(found):
        if token.type == "link_open":
            token.attrSet("href", link(str(token.attrGet("href"))))
    return str(_parser().renderer.render(found, _parser().options, {}))


def inline(text: str) -> str:
    """One paragraph as HTML, without the element around it."""
    return html(text).strip().removeprefix("<p>").removesuffix("</p>")


def _all(found: Sequence[Token]) -> Iterator[Token]:
    for token in found:
        yield token
        yield from _all(token.children or ())


def _math_html(found: Sequence[Token], at: int, *_: Any) -> str:
    return f'<span data-tex="inline">{escape(found[at].content, quote=False)}</span>'


def _display_html(found: Sequence[Token], at: int, *_: Any) -> str:
    return (
        f'<div class="formula" data-tex="display" tabindex="0">{escape(found[at].content.strip(), quote=False)}</div>'
    )


def _fence_html(found: Sequence[Token], at: int, *_: Any) -> str:
    return code_html(found[at].content, found[at].info.split(" ")[0])


def _raw_html(found: Sequence[Token], at: int, *_: Any) -> str:
    content = found[at].content
    return "" if content.lstrip().startswith("<!--") else escape(content)


def code_html(source: str, language: str) -> str:
    """Source code with its words coloured; in a language that Pygments does not know, as it stands."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import TextLexer, get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language or "text", stripnl=False)
    except ClassNotFound:
        lexer = TextLexer(stripnl=False)
    inside = highlight(source, lexer, HtmlFormatter(nowrap=True))
    return f'<pre class="code" tabindex="0"><code>{inside}</code></pre>\n'


# --- LaTeX ------------------------------------------------------------------------------------------------------------

_OPENS = {
    "paragraph": ("", "\n\n"),
    "bullet_list": ("\\begin{itemize}\n", "\\end{itemize}\n\n"),
    "ordered_list": ("\\begin{enumerate}\n", "\\end{enumerate}\n\n"),
    "list_item": ("\\item ", ""),
    "blockquote": ("\\begin{quote}\n", "\\end{quote}\n\n"),
    "em": ("\\emph{", "}"),
    "strong": ("\\textbf{", "}"),
    "tr": ("", " \\\\\n"),
    "thead": ("", "\\hline\n"),
    "tbody": ("", ""),
    "link": ("", ""),
}
_SECTIONS = {"h1": "section", "h2": "section", "h3": "subsection"}


def tex(text: str) -> str:
    """The prose as LaTeX, by the same names of packages as `derive.render.tex`."""
    return "".join(_tex(tokens(text)))


def _tex(found: Sequence[Token]) -> Iterator[str]:
    cells = 0
    for at, token in enumerate(found):
        kind, _, side = token.type.rpartition("_")
        if token.type == "inline":
            yield from _tex(token.children or ())
        elif token.type in _LEAVES:
            yield _LEAVES[token.type](token)
        elif kind == "heading":
            yield f"\n\\{_SECTIONS.get(token.tag, 'subsubsection')}*{{" if side == "open" else "}\n\n"
        elif kind == "table":
            columns = sum(t.type == "th_open" for t in found[at:]) if side == "open" else 0
            width = f"\\dimexpr\\linewidth/{max(columns, 1)}-2\\tabcolsep\\relax"
            table = "\\begin{tabular}{" + f"p{{{width}}}" * columns + "}\n"
            yield f"\\begin{{center}}\\small\n{table}" if side == "open" else "\\end{tabular}\n\\end{center}\n\n"
        elif kind in ("td", "th"):
            cells = 0 if found[at - 1].type == "tr_open" else cells + (side == "open")
            yield " & " if side == "open" and cells else ""
        elif kind in _OPENS:
            yield _OPENS[kind][side == "close"]


_LEAVES: dict[str, Callable[[Token], str]] = {
    "text": lambda t: tex_format.escape(t.content),
    "text_special": lambda t: tex_format.escape(t.content),
    "code_inline": lambda t: f"\\texttt{{{tex_format.escape(t.content)}}}",
    "math_inline": lambda t: f"${t.content}$",
    "math_block": lambda t: tex_format.display(t.content) + "\n",
    "softbreak": lambda t: "\n",
    "hardbreak": lambda t: "\\\\\n",
    "fence": lambda t: verbatim(t.content),
    "code_block": lambda t: verbatim(t.content),
    "hr": lambda t: "\n\\medskip\n",
    "html_inline": lambda t: "",
    "html_block": lambda t: "",
}


def verbatim(source: str) -> str:
    """Code line by line: no environment that its own text could end, and signs that inputenc does not know."""
    lines = (tex_format.escape(line).replace(" ", "~") or "~" for line in source.rstrip("\n").split("\n"))
    return "{\\small\\ttfamily\\raggedright\n" + "\\\\\n".join(f"\\mbox{{{line}}}" for line in lines) + "\\par}\n\n"
