"""Documents: what is a formula, where it stands, what steers it, and what is said of a document that is off."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sympy import Symbol

from derive.errors import DeriveError, Place
from derive.reader import limits
from derive.reader.directives import KINDS, WORDS, Directive, parse_directive
from derive.reader.document import ENVIRONMENTS, Display, Document, Macro, Query, parse, read


def shown(text: str, kind: str = "md") -> list[tuple[str, str]]:
    """The environment and the text, blanks run together, of every display."""
    return [(d.environment, " ".join(d.text.split())) for d in parse(text, "doc", kind).displays]


def directives(document: Document) -> list[tuple[str, object]]:
    return [(item.word, item.value) for item in document.items if isinstance(item, Directive)]


def check_places(text: str, document: Document) -> None:
    """Every character of a display that is no blank stands in the file where `place` says."""
    lines = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))
    for display in document.displays:
        for offset, character in enumerate(display.text):
            place = display.place(offset)
            if not character.isspace():
                assert lines[place.line - 1][place.column - 1] == character, (display, offset)
        assert display.place(0).line <= len(lines)


# --- what is a formula ---

MARKDOWN = {
    "$$ a = b $$": [("$$", "a = b")],
    "$$\na\n= b\n$$": [("$$", "a = b")],
    "$$\na\n\n= b\n$$": [("$$", "a = b")],
    "text $$a$$ text $$b$$": [("$$", "a"), ("$$", "b")],
    r"\[ a \\[2pt] b \]": [("\\[", r"a \\[2pt] b")],
    "```math\na = b\n```": [("math", "a = b")],
    "~~~math\na = b\n~~~": [("math", "a = b")],
    "``` math\na\n```\n````math\n```\n````": [("math", "a"), ("math", "```")],
    "\\begin{align}\na &= b\n\\end{align}": [("align", "a &= b")],
    r"\begin{alignat*}{2} a \end{alignat*}": [("alignat*", "a")],
    r"$$\begin{aligned} a &= b \\ &= c \end{aligned}$$": [("$$", r"\begin{aligned} a &= b \\ &= c \end{aligned}")],
    r"$$\begin{align} a \end{align}$$": [("$$", r"\begin{align} a \end{align}")],
    "> $$\n> a\n>   > b\n> $$": [("$$", "a > b")],
    "> > $$\n> > a\n> > $$": [("$$", "a")],
    "> ```math\n> a\n> ```": [("math", "a")],
    "> ```\n> $$\n\n$$a$$": [("$$", "a")],
    "- item\n\n    $$ a $$\n": [("$$", "a")],
    "1. $$a$$\n2. ```math\n   b\n   ```": [("$$", "a"), ("math", "b")],
    "!!! note\n\n    $$ a $$\n": [("$$", "a")],
    "$$ a % why $ \\frac{\n b $$": [("$$", "a b")],
    r"$$ 5\% a $$": [("$$", r"5\% a")],
    r"$$ \text{for $t$} \$ $$": [("$$", r"\text{for $t$} \$")],
    r"\$$ costs $5 and $6, see $a$$b$ and $$c$$": [("$$", "c")],
    "# it costs $5 ($$a$$)": [("$$", "a")],
    "a `stray backtick\n\n$$ a $$\n\nanother `": [("$$", "a")],
    # not math
    "`$$ a $$`": [],
    "`` a ` $$ b $$ ``": [],
    "```\n$$ a $$\n```": [],
    "```python\n$$ a\n": [],
    "~~~\n```math\n~~~": [],
    "text\n\n    $$ a\n\n    $$ b $$\n\ntext": [],
    "<!-- $$ a -->": [],
    "<!-- derived -->": [],
    "<pre>\n$$ a $$\n</pre> <code>\\[</code>": [],
    "inline $a = b$, $`a`$ and \\(c\\)": [],
    "\\\\[ no \\\\]": [],
    r"\begin{tabular}{c} a \end{tabular}": [],
    "": [],
}


@pytest.mark.parametrize("text", MARKDOWN)
def test_markdown(text):
    assert shown(text) == MARKDOWN[text]
    check_places(text, parse(text, "doc", "md"))


LATEX = {
    r"\[ a \]": [("\\[", "a")],
    r"$$ a $$ and $b$$c$": [("$$", "a")],
    **{
        rf"\begin{{{name}}} a \\[2pt] b \\\end{{{name}}}": [(name, r"a \\[2pt] b \\")]
        for name in ENVIRONMENTS
        if not ENVIRONMENTS[name]
    },
    r"\begin{alignat}{2} a \end{alignat}": [("alignat", "a")],
    r"\begin {equation} \begin{split} a \end{split} \end {equation}": [("equation", r"\begin{split} a \end{split}")],
    r"\begin{subequations}\begin{align} a \end{align}\end{subequations}": [("align", "a")],
    r"\[ no \] \begin{document} \[ a \] \end{document} \[ no": [("\\[", "a")],
    "\\[ a % \\]\n b \\% \\]": [("\\[", r"a b \%")],
    "$$ a\n% the rest\nb $$": [("$$", "a b")],
    "% \\begin{align}\n\\[ a \\]": [("\\[", "a")],
    "\\\\% \\[\n\\[ a \\]": [("\\[", "a")],
    r"\newcommand{\be}{\begin{equation}} \def\ee{\end{equation}} \be a \ee": [("equation", "a")],
    r"\begin{document} \newcommand\be{\begin{align}} \be a \end{align} \end{document}": [("align", "a")],
    # not math
    r"\begin{verbatim} \[ % \end{verbatim}": [],
    r"\begin{lstlisting}[language=TeX] $$ \end{lstlisting} \begin{comment} \[ \end{comment}": [],
    r"\verb|\[| \verb*+$$+ \lstinline{$$} \url{a%b$$}": [],
    "\\iffalse \\[ a \\] \\fi": [],
    r"\begin{math} a \end{math} $a$ \(b\)": [],
    r"\input{secret} \include{secret}": [],
}


@pytest.mark.parametrize("text", LATEX)
def test_latex(text):
    assert shown(text, "tex") == LATEX[text]
    check_places(text, parse(text, "doc", "tex"))


def test_displays_are_numbered_and_placed():
    document = parse("é $$a$$\n\n  \\[\nb \\]", "hw.md", "md")
    assert [(d.n, str(d.place(0))) for d in document.displays] == [(1, "hw.md:1:5"), (2, "hw.md:3:5")]
    assert document.displays[1].place(document.displays[1].text.index("b")) == Place("hw.md", 4, 1)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark_do_not_move_places(ends, mark):
    text = mark + "$$a$$\n> $$\n> b\n> $$\n\\newcommand{\\x}{\ny}\n\n```math\nc\n```\n".replace("\n", ends)
    document = parse(text, "doc", "md")
    assert [str(d.place(len(d.text) - len(d.text.lstrip()))) for d in document.displays] == [
        "doc:1:3",
        "doc:3:3",
        "doc:9:1",
    ]
    check_places(text, document)


PROSE = st.text(st.sampled_from("ab é.\n\r\t>-*#%&{}^_~0\f\0\u2028\U0001d44e"), max_size=30)
FORMULAS = {
    "md": ("$$X$$", "\\[ X\n\\]", "\n\n```math\nX\n```\n", "\n\n> $$\n> X\n> $$\n\n", "\\begin{align}X\\end{align}"),
    "tex": ("$$X$$", "\\[ X\n\\]", "\\begin{align*}\nX\\end{align*}", "\\begin{alignat}{2}X\\end{alignat}"),
}


@pytest.mark.parametrize("kind", FORMULAS)
@given(data=st.data())
def test_prose_around_formulas_moves_their_places_only(kind, data):
    parts = data.draw(st.lists(st.tuples(PROSE, st.sampled_from(FORMULAS[kind])), max_size=5))
    text = "".join(f"a{prose}\n\na {formula}" for prose, formula in parts)
    if kind == "md":
        text = re.sub(r"~{3,}", "", text)
    document = parse(text, "doc", kind)
    check_places(text, document)
    expected = text if kind == "md" else re.sub(r"(?m)%[^\n\r]*", "", text)
    assert sum(d.text.count("X") for d in document.displays) == expected.count("X") == len(parts)


WORDS_OF_A_FILE = (
    r"$$ \[ \] ``` ~~~ <!-- --> \begin{align} \end{align} derive: skip <pre> </pre> \newcommand \def \let \x #1 \verb| "
    r"\begin{verbatim} \end{verbatim} \iffalse \begin{document} \end{document} ```math"
)
SOUP = st.lists(
    st.sampled_from([*"$`>%#\\{}[]()~-1 \n\r\f\0a=", "\n\n", "    ", "\n```math\n", *WORDS_OF_A_FILE.split()]),
    max_size=40,
).map("".join)


@pytest.mark.parametrize("kind", ["md", "tex", "ipynb"])
@given(text=SOUP)
def test_any_text_is_a_document_or_an_error_with_a_place(kind, text):
    if kind == "ipynb":
        text = json.dumps({"cells": [{"cell_type": "markdown", "source": text}]})
    try:
        document = parse(text, "doc", kind)
    except DeriveError as e:
        assert re.match(r"doc(:cell 1)?:\d+:\d+: ", str(e))
    else:
        if kind != "ipynb":
            check_places(text, document)


# --- macros ---

MACROS = {
    r"\newcommand{\vh}{\mathbf{h}}": Macro("vh", 0, r"\mathbf{h}"),
    r"\newcommand\vh{\mathbf h}": Macro("vh", 0, r"\mathbf h"),
    r"\newcommand*{\pd}[2]{\frac{\partial #1}{\partial #2}}": Macro("pd", 2, r"\frac{\partial #1}{\partial #2}"),
    r"\renewcommand { \d } [2] [L] {\partial #1/\partial #2}": Macro("d", 2, r"\partial #1/\partial #2", "L"),
    r"\providecommand\x[1][]{#1}": Macro("x", 1, "#1", ""),
    r"\newcommand\x\alpha": Macro("x", 0, r"\alpha"),
    r"\newcommand{\*}{\odot}": Macro("*", 0, r"\odot"),
    r"\def\grad#1{\nabla_{#1}}": Macro("grad", 1, r"\nabla_{#1}"),
    r"\def\d#1#2{#1/#2}": Macro("d", 2, "#1/#2"),
    r"\def\x{\{a\}{b}}": Macro("x", 0, r"\{a\}{b}"),
    r"\let\phi\varphi": Macro("phi", 0, r"\varphi"),
    r"\let\phi = \varphi": Macro("phi", 0, r"\varphi"),
    r"\DeclareMathOperator{\diag}{diag}": Macro("diag", 0, "diag", operator=True),
    r"\DeclareMathOperator*\argmax{arg\,max}": Macro("argmax", 0, r"arg\,max", operator=True),
}


@pytest.mark.parametrize("text", MACROS)
@pytest.mark.parametrize(
    ("kind", "around"),
    [
        ("tex", "{}\n\\begin{{document}}\n\\[ a \\]\n\\end{{document}}"),
        ("tex", "\\[ {} a \\]"),
        ("md", "{}\n\n$$ a $$"),
        ("md", "${}$\n\n$$ a $$"),
        ("md", "$$ {} a $$"),
    ],
)
def test_macros(text, kind, around):
    document = parse(around.format(text), "doc", kind)
    assert document.macros == {MACROS[text].name: MACROS[text]}
    assert [d.text.split() for d in document.displays] == [["a"]]
    check_places(around.format(text), document)


def test_the_later_definition_wins_and_let_copies():
    macros = parse(r"\def\a#1{x#1} \let\b\a \renewcommand\a{y}", "doc", "tex").macros
    assert macros == {"a": Macro("a", 0, "y"), "b": Macro("b", 1, "x#1")}


def test_the_word_newcommand_in_prose_defines_nothing():
    assert parse("Use \\newcommand for it, or `\\def\\x{`.", "doc", "md").macros == {}


def test_a_def_that_looks_for_text_is_left_out_of_a_preamble():
    assert parse(r"\def\a{x} \def\a(#1){y} \begin{document}\[ a \]\end{document}", "doc", "tex").macros == {}


# --- directives ---

n, m = Symbol("n", integer=True, positive=True), Symbol("m", integer=True, positive=True)
DIRECTIVES = {
    "system gru": ("system", "gru"),
    "system mdrnn(3)": ("system", "mdrnn(3)"),
    "define": ("define", None),
    "declare W_z U: n x m, x: m, a: scalar": ("declare", {"W_z": (n, m), "U": (n, m), "x": (m, 1), "a": (1, 1)}),
    "alias Z = z, W^{hh} = U_h": ("alias", (("Z", "z"), ("W^{hh}", "U_h"))),
    r"alias W_{a,b} = W, h_{t=0} = h, h(i,j) = k": ("alias", (("W_{a,b}", "W"), ("h_{t=0}", "h"), ("h(i,j)", "k"))),
    "hold z, r": ("hold", ("z", "r")),
    "hold none": ("hold", ()),
    "scalar": ("scalar", None),
    "layout denominator": ("layout", "denominator"),
    "order  ascending ": ("order", "ascending"),
    "loss every": ("loss", "every"),
    "unroll 3": ("unroll", 3),
    "expect fails missing-path": ("expect", ("fails", "missing-path")),
    "expect holds-if": ("expect", ("holds-if", None)),
    "skip": ("skip", None),
}


@pytest.mark.parametrize("text", DIRECTIVES)
def test_directives(text):
    place = Place("hw.md", 3, 4)
    assert parse_directive(text, place) == Directive(*DIRECTIVES[text], place)
    for kind, comment in (
        ("md", f"<!-- derive: {text} -->"),
        ("tex", f"% derive: {text}\n"),
        ("tex", f"%%DERIVE:{text}"),
    ):
        assert directives(parse(comment, "doc", kind)) == [DIRECTIVES[text]]


def test_every_word_has_a_test_and_an_example_that_it_reads():
    assert {word for word, _ in DIRECTIVES.values()} == set(WORDS)
    for word, row in WORDS.items():
        assert parse_directive(row.example, Place("doc", 1, 1)).word == word


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_may_be_expected(kind):
    assert parse_directive(f"expect fails {kind}", Place("doc", 1, 1)).value == ("fails", kind)


def test_several_directives_in_one_comment():
    text = "> <!-- derive: scalar; hold z\n>  declare x: n,\n>    b: n\n>\n> skip -->\n"
    document = parse(text, "doc", "md")
    expected = [("scalar", None), ("hold", ("z",)), ("declare", {"x": (n, 1), "b": (n, 1)}), ("skip", None)]
    assert directives(document) == expected
    lines = text.split("\n")
    for item in document.items:
        assert isinstance(item, Directive)
        assert lines[item.place.line - 1][item.place.column - 1 :].startswith(item.word)


def test_a_declaration_goes_on_in_the_next_comment_of_latex():
    text = "% derive: declare x: n,\n  %   b: n\n% derive: hold z,\n% derive: r"
    with pytest.raises(DeriveError, match="doc:3:11: the directive 'hold'"):
        parse(text, "doc", "tex")
    document = parse(text.split("\n% derive: hold")[0], "doc", "tex")
    assert directives(document) == [("declare", {"x": (n, 1), "b": (n, 1)})]


@pytest.mark.parametrize("kind", ["md", "tex"])
def test_items_stand_in_order_and_a_directive_inside_a_display_before_it(kind):
    steer = "<!-- derive: {} -->".format if kind == "md" else "% derive: {}".format
    text = f"{steer('scalar')}\n$$ a $$\n{steer('skip')}\n\n$$ b % derive: hold z\n$$\n{steer('define')}\n"
    items = parse(text, "d", kind).items
    kinds = [item.text.strip() if isinstance(item, Display) else getattr(item, "word", None) for item in items]
    assert kinds == ["scalar", "a", "skip", "hold", "b", "define"]


def test_a_query_is_an_item_of_its_own():
    document = parse("$$a$$\n\n```derive hold=z\n  dL/dh[t]\n```\n\n$$b$$", "doc", "md")
    assert document.items[1] == Query("dL/dh[t]", "hold=z", Place("doc", 4, 3))
    assert [d.n for d in document.displays] == [1, 2]


# --- notebooks and files ---


def notebook(*cells: tuple[str, str | list[str]]) -> str:
    return json.dumps({"nbformat": 4, "cells": [{"cell_type": kind, "source": source} for kind, source in cells]})


def test_a_notebook_is_its_markdown_cells():
    text = notebook(
        ("markdown", "<!-- derive: system gru -->\n$\\newcommand{\\x}{y}$ $$a$$"),
        ("code", "x = '$$'"),
        ("raw", "$$"),
        ("markdown", ["text\n", "  $$b$$"]),
    )
    document = parse(text, "hw.ipynb", "ipynb")
    assert [(d.n, str(d.place(0))) for d in document.displays] == [
        (1, "hw.ipynb:cell 1:2:24"),
        (2, "hw.ipynb:cell 4:2:5"),
    ]
    assert directives(document) == [("system", "gru")]
    assert document.macros == {"x": Macro("x", 0, "y")}


def test_files(tmp_path):
    text = "\ufeff$$a$$\r\n"
    for name in ("hw.md", "hw.MARKDOWN", "hw.tex"):
        (tmp_path / name).write_bytes(text.encode())
        document = read(tmp_path / name)
        assert document.name == str(tmp_path / name)
        assert document.displays[0].place(0) == Place(document.name, 1, 3)
    (tmp_path / "hw.ipynb").write_text(notebook(("markdown", "$$a$$")))
    assert read(str(tmp_path / "hw.ipynb")).displays[0].text == "a"


STANDARD_INPUT = {
    "\\documentclass{article}\n%$$\n\\[ a \\]": "\\[",
    "\\begin{document} \\[ a \\] % $$\n\\end{document}": "\\[",
    "\\begin{align} a % $$\n\\end{align}": "align",
    "```tex\n\\documentclass{a}\n```\n50% off $$a$$": "$$",
    "<!-- derive: skip -->\n`$$` \\begin{align} a \\end{align}": "align",
    "# Title\n`$$`\n\n$$ a $$": "$$",
}


@pytest.mark.parametrize("text", STANDARD_INPUT)
def test_standard_input_is_latex_where_it_looks_like_it(text, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    document = read("-")
    assert [d.environment for d in document.displays] == [STANDARD_INPUT[text]]
    assert document.displays[0].place(0).file == "<stdin>"


def test_reading_a_document_does_not_import_sympy():
    code = "import sys; from derive.reader.document import parse; parse('$$a$$', 'd', 'md'); assert 'sympy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- errors ---

ERRORS = {
    ("md", "text\n\n $$ a"): "doc:3:2: $$ opens a display formula that no $$ closes",
    ("md", "a $$ b\n\n$$ c $$"): "doc:1:3: $$ opens a display formula that no $$ closes",
    ("md", "$$\na\n\n$$\nb\n$$\nc"): (
        "doc:6:1: $$ opens a display formula that no $$ closes; the one of line 1 runs over a blank line, was its end forgotten?"
    ),
    ("md", "```math\na\n"): "doc:1:1: the block ```math is never closed by ```",
    ("md", "- > ~~~~derive\na\n"): "doc:1:5: the block ~~~~derive is never closed by ~~~~",
    ("md", "\n<!-- a"): "doc:2:1: <!-- opens a comment that no --> closes",
    ("md", "<!-- derive: -->"): "a directive is missing after 'derive:'; the directives are system, define, declare",
    ("tex", "\\[ a \\[ b \\]"): "doc:1:1: \\[ opens a display formula that no \\] closes",
    ("tex", "\\begin{align} a\n\\begin{align} b\\end{align}"): (
        "doc:1:1: \\begin{align} opens a display formula that no \\end{align} closes"
    ),
    ("tex", "a\n\\begin{verbatim}"): "doc:2:1: \\begin{verbatim} is never closed by \\end{verbatim}",
    (
        "tex",
        "\\begin{alignat} a \\end{alignat}",
    ): "doc:1:16: this environment takes an argument in braces, and has none",
    ("tex", "\n\\newcommand{\\x}[a]{b}"): (
        "doc:2:1: the \\newcommand of \\x is malformed, it takes 'a' arguments, which is no number from 0 to 9; "
        "write it as in \\newcommand{\\vect}[1]{\\mathbf{#1}}"
    ),
    ("tex", r"\newcommand{\x}[1]{#2}"): "\\x is malformed, its body uses #2, and it takes 1 argument; write",
    ("tex", r"\newcommand{\x}{{b}"): "\\x is malformed, no } closes its {; write",
    ("tex", r"\newcommand{\x}[1][b{#1}"): "\\x is malformed, no ] closes its [; write",
    ("tex", r"\newcommand{\x}[][b]{c}"): "it takes '' arguments",
    ("tex", r"\newcommand{\x}[0][b]{c}"): "it has a default for an argument, and takes none",
    ("tex", r"\newcommand{x}{c}"): "the \\newcommand is malformed, it names no command",
    ("tex", r"\newcommand{\x}"): "it has no body",
    ("tex", r"\def\x#1"): "it has no body in braces; write it as in \\def\\vect#1{\\mathbf{#1}}",
    (
        "md",
        r"$$\def\x(#1){a}$$",
    ): "doc:1:3: the \\def of \\x is malformed, its arguments are delimited by text, not by braces",
    ("md", r"$$\let\x$$"): "it says nothing that the command stands for; write it as in \\let\\phi\\varphi",
    ("md", r"$$ \DeclareMathOperator\diag $$"): "the \\DeclareMathOperator of \\diag is malformed, it has no body",
    ("ipynb", '{"cells":\n ['): "doc:2:3: a notebook is JSON, and this is not: Expecting value",
    ("ipynb", "[" * 10**5): "doc: a notebook is JSON, and this is nested too deeply",
    ("ipynb", "1" * 10**4): "doc: a notebook is JSON, and this is nested too deeply or has too long a number",
    ("ipynb", "[]"): "doc: a notebook has a list 'cells', and this file has none; is it of format 4?",
    (
        "ipynb",
        '{"cells": [1, {"cell_type": "markdown"}]}',
    ): "doc:cell 2: the source of a cell is a string or a list of strings",
    ("ipynb", notebook(("code", ""), ("markdown", "a\n$$"))): "doc:cell 2:2:1: $$ opens",
    ("md", "a" * (limits.LARGEST_DOCUMENT + 1)): "doc: a document has at most 2000000 characters, found 2000001",
    ("md", "$$" + "a" * (limits.LARGEST_DISPLAY + 1) + "$$"): (
        "doc:1:3: a display formula has at most 50000 characters, found 50001; is its end missing?"
    ),
    ("md", "$$a$$\n" * (limits.MOST_DISPLAYS + 1)): "doc:5001:3: a document has at most 5000 display formulas",
    (
        "md",
        "<!--derive:skip-->\n" * (limits.MOST_DIRECTIVES + 1),
    ): "doc:5001:12: a document has at most 5000 directives",
    (
        "tex",
        "".join(f"\\def\\{chr(0x4E00 + i)}{{}}\n" for i in range(501)),
    ): "doc:501:1: a document defines at most 500 macros",
}


@pytest.mark.parametrize(("kind", "text"), ERRORS, ids=[str(i) for i in range(len(ERRORS))])
def test_errors(kind, text):
    with pytest.raises(DeriveError) as e:
        parse(text, "doc", kind)
    assert ERRORS[kind, text] in str(e.value)


DIRECTIVE_ERRORS = {
    "systen gru": "hw.md:3:4: there is no directive 'systen' (did you mean system?); the directives are system, define, declare,",
    "xyz": "there is no directive 'xyz'; the directives are",
    "system": "the directive 'system' takes the name of a system of the catalogue, as in 'system gru', found nothing",
    "system my.py:cell": "found 'my.py:cell': a document names the catalogue only, never a file",
    "system ../gru": "a document names the catalogue only, never a file",
    "system a\\b": "a document names the catalogue only, never a file",
    "system gru.md": "a document names the catalogue only, never a file",
    "system gru lstm": "as in 'system gru', found 'gru lstm'",
    "define gru": "the directive 'define' takes no argument, as in 'define', found 'gru'",
    "scalar W": "takes no argument",
    "skip it": "takes no argument",
    "declare": "takes names with their shapes, as in 'declare W_z: n x m, x: m, a: scalar', found nothing",
    "declare x": "found 'x': no shape is given for x",
    "declare x y": "found 'x y': no shape is given for x, y",
    "declare x: n x m x q": "the shape in 'x: n x m x q' is not understood",
    "declare x: n, x: m": "x is declared twice",
    "alias": "takes pairs, the document's notation = the system's name, as in 'alias Z = z, W^{hh} = U_h', found nothing",
    "alias Z": "'Z' is not a pair",
    "alias Z =": "'Z =' is not a pair",
    "alias = z": "'= z' is not a pair",
    "alias Z = z,": "found 'Z = z,'",
    "alias Z = z, Z = r": "Z stands there twice",
    "alias W_{a = z": "its brackets do not match",
    "alias W_a} = z": "its brackets do not match",
    "hold": "takes names separated by commas, or none, as in 'hold z, r', found nothing",
    "hold z r": "'z r' is not a name",
    "hold h[t]": "'h[t]' is not a name",
    "hold z, none": "found 'z, none'",
    "layout numerater": "takes numerator or denominator, as in 'layout numerator', found 'numerater': did you mean numerator?",
    "order": "takes ascending or descending, as in 'order ascending', found nothing",
    "loss first": "takes final or every, as in 'loss final', found 'first'",
    "unroll 0": "takes a whole number from 1 to 64, as in 'unroll 3', found '0'",
    "unroll 65": "takes a whole number from 1 to 64",
    "unroll 1e3": "takes a whole number from 1 to 64",
    "unroll ³": "takes a whole number from 1 to 64",
    "expect": "takes a verdict, and the kind of mistake if one is meant, as in 'expect fails missing-path', found nothing",
    "expect fail": "the verdicts are fails, unread, undecided, holds-if, holds, defines (did you mean fails?)",
    "expect fails missing path": "(did you mean missing-path?)",
    "expect holds sign": "a kind goes with fails and holds-if only",
}


@pytest.mark.parametrize("text", DIRECTIVE_ERRORS)
def test_directive_errors(text):
    with pytest.raises(DeriveError) as e:
        parse_directive(text, Place("hw.md", 3, 4))
    assert str(e.value).startswith("hw.md:3:4: ")
    assert DIRECTIVE_ERRORS[text] in str(e.value)
    assert not re.search(r"[: ]$|\(\)|\?\?", str(e.value))


def test_files_that_can_not_be_used(tmp_path):
    (tmp_path / "homework.md").write_bytes(b"a\n\xc3\xa9 \xe9\n")
    (tmp_path / "folder.md").mkdir()
    (tmp_path / "large.tex").write_bytes(b"a" * (4 * limits.LARGEST_DOCUMENT + 1))
    for name, message in {
        "homework.md": "homework.md:2:3: a document is UTF-8, found the byte 0xe9 at offset 5; save it in that encoding",
        "homwork.md": "homwork.md: there is no such file (did you mean homework.md?)",
        "homework.txt": "homework.txt: a document is a file that ends in .md, .markdown, .tex or .ipynb",
        "homework": "a document is a file that ends in .md, .markdown, .tex or .ipynb",
        "folder.md": "folder.md: the file can't be read",
        "no\0.md": "the file can't be read",
        "large.tex": "large.tex: a document has at most 2000000 characters, found more",
        "no/where.md": "where.md: there is no such file",
    }.items():
        with pytest.raises(DeriveError) as e:
            read(tmp_path / name)
        assert message in str(e.value)


@pytest.mark.parametrize("kind", ["md", "tex"])
@pytest.mark.parametrize(
    "piece",
    [
        "$",
        "$ a",
        "`",
        "` ``",
        "\\(",
        "<pre ",
        "\\verb|a",
        "\\url{",
        "> ",
        "\\begin{",
        "%",
        ", ",
        "\\def\\a{}",
        "    a\n\n",
        "~~~\n",
    ],
)
def test_the_time_is_in_proportion_to_the_text(kind, piece):
    """A line, or lines, of half a megabyte of what could make a scanner look far ahead again and again."""
    start = time.perf_counter()
    with suppress(DeriveError):
        parse("a\n" + piece * (500_000 // len(piece)), "doc", kind)
    assert time.perf_counter() - start < 10


def test_no_other_file_is_opened(tmp_path):
    (tmp_path / "secret.tex").write_text("\\[ secret \\]")
    (tmp_path / "hw.tex").write_text("\\input{secret} \\include{secret.tex} \\[ a \\]")
    assert [d.text.strip() for d in read(tmp_path / "hw.tex").displays] == ["a"]
