"""Derivations as a LaTeX article that compiles as it is; it needs amsmath, lmodern and geometry, nothing else."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sympy import Basic

from derive.derivation import fragments
from derive.printing import latex
from derive.render import outline

if TYPE_CHECKING:
    from derive.derivation import Derivation, Step

PREAMBLE = r"""\documentclass[10pt,a4paper]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{lmodern}
\usepackage{amsmath,amssymb}
\usepackage[margin=20mm]{geometry}
\allowdisplaybreaks
\setlength{\parindent}{0pt}
\setlength{\parskip}{0.6ex}
"""

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "—": "---",
    "“": "``",
    "”": "''",
    "’": "'",
    "…": r"\ldots{}",
    "\u00a0": "~",
    **{c: "\\" + c for c in "#$%&_{}"},
}
_SYMBOLS = {
    "∘": r"\circ", "⊙": r"\odot", "·": r"\cdot", "×": r"\times", "∂": r"\partial", "∇": r"\nabla", "Σ": r"\sum",
    "∑": r"\sum", "Π": r"\prod", "∏": r"\prod", "→": r"\to", "←": r"\leftarrow", "⇒": r"\Rightarrow", "↦": r"\mapsto",
    "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "≈": r"\approx", "∈": r"\in", "∞": r"\infty", "√": r"\surd", "−": "-",
    "⟨": r"\langle", "⟩": r"\rangle", "ᵀ": "^{T}", "⊤": r"\top", "′": "'", "⁺": "^{+}", "⁻": "^{-}", "₋": "_{-}",
    "₊": "_{+}",
}  # fmt: skip
LATIN_END = 0x180
"""Up to here inputenc knows every letter in T1."""
_CAPITALS = ("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega")
_ACCENTS = {
    "TILDE": r"\tilde",
    "CIRCUMFLEX ACCENT": r"\hat",
    "MACRON": r"\bar",
    "OVERLINE": r"\bar",
    "DOT ABOVE": r"\dot",
}


def render(derivations: Sequence[Derivation]) -> str:
    parts = [
        PREAMBLE,
        "\\begin{document}",
        f"{{\\LARGE\\bfseries {prose(outline.title(derivations))}\\par}}",
    ]
    parts += [f"{prose(reference)}\n" for reference in outline.references(derivations)]
    for derivation in derivations:
        parts += section(derivation)
    return "\n".join([*parts, "\\end{document}"]) + "\n"


def section(derivation: Derivation, above: set[tuple[Any, ...]] | None = None) -> Iterator[str]:
    """One derivation: its heading, its steps, its verdict.  `above`: the steps that the document has shown already."""
    options = outline.asked(derivation)
    with_options = f" with \\texttt{{{escape(options)}}}" if options else ""
    yield f"\n\\section*{{\\texttt{{{escape(derivation.query)}}}{with_options}}}"
    for number, step, before in outline.numbered(derivation):
        if above is not None and outline.said(step) in above:
            yield f"\n{number}. {prose(step.title, derivation)}, as above.\n"
        else:
            yield from _step(number, step, before, derivation)
        if above is not None:
            above.add(outline.said(step))
    if derivation.verdict is not None:
        yield f"\\medskip\n\\textbf{{Checked.}} {prose(str(derivation.verdict), derivation)}"


def _step(number: int, step: Step, before: tuple[Basic, ...], derivation: Derivation) -> Iterator[str]:
    yield f"\n\\subsection*{{{number}. {prose(step.title, derivation)}}}"
    yield f"\\emph{{{prose(outline.sentence(step.rule))}.}} {prose(step.reason, derivation)}"
    if before:
        yield "From"
        yield from map(display, fragments(before, derivation.notation))
        yield "follows"
    yield from map(display, step.latex(derivation.notation))


def display(fragment: str) -> str:
    """A display formula.  One aligned block over everything becomes `align*`, which may be broken across pages."""
    begin, end = r"\begin{aligned}", r"\end{aligned}"
    inner = fragment.strip().removeprefix(begin).removesuffix(end)
    if fragment.strip() == begin + inner + end and begin not in inner and end not in inner:
        return f"\\begin{{align*}}{inner}\\end{{align*}}"
    return f"\\[\n{fragment.strip()}\n\\]"


def prose(words: str, derivation: Derivation | None = None) -> str:
    """Prose with its names as inline formulas."""
    pieces = []
    for kind, piece in outline.spans(words, derivation):
        if not isinstance(piece, str):
            pieces.append(f"${latex(piece, derivation.notation)}$")  # type: ignore[union-attr]
        else:
            pieces.append(f"\\texttt{{{escape(piece)}}}" if kind == "code" else escape(piece))
    return "".join(pieces)


def escape(words: str) -> str:
    """Text as TeX source: what is special to TeX is escaped, mathematical signs become math, accents commands."""
    return "".join(_character(c) for c in _letters(words))


def _letters(words: str) -> list[str]:
    """Characters, each with the combining marks that follow it."""
    letters: list[str] = []
    for character in unicodedata.normalize("NFC", words):
        if letters and unicodedata.combining(character):
            letters[-1] += character
        else:
            letters.append(character)
    return letters


def _character(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter.isascii() or (len(letter) == 1 and letter.isalpha() and ord(letter) < LATIN_END):
        return letter
    return f"${_symbol(letter)}$"


def _symbol(letter: str) -> str:
    """A character outside ASCII, in math mode."""
    if letter in _SYMBOLS:
        return _SYMBOLS[letter]
    decomposed = unicodedata.normalize("NFKD", letter)
    base, marks = decomposed[0], decomposed[1:]
    name = unicodedata.name(base, "UNKNOWN")
    symbol = base if base.isascii() else _greek(name) or rf"\texttt{{[{name.lower()}]}}"
    if unicodedata.name(letter[0], "").startswith(("SUBSCRIPT", "SUPERSCRIPT", "LATIN SUBSCRIPT")):
        return ("_" if "SUBSCRIPT" in unicodedata.name(letter[0]) else "^") + f"{{{symbol}}}"
    for mark in marks:
        accent = unicodedata.name(mark, "").removeprefix("COMBINING ")
        symbol = f"{_ACCENTS[accent]}{{{symbol}}}" if accent in _ACCENTS else symbol
    return symbol


def _greek(name: str) -> str:
    """`\\sigma` for GREEK SMALL LETTER SIGMA; a capital that TeX has no command for looks Latin."""
    words = name.split()
    if words[:1] != ["GREEK"] or len(words) < 4:
        return ""
    letter = words[3].lower().replace("lamda", "lambda")
    if words[1] != "CAPITAL":
        return "\\" + letter
    return "\\" + letter.capitalize() if letter.capitalize() in _CAPITALS else rf"\mathrm{{{letter[0].upper()}}}"
