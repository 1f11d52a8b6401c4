"""Text with sub- and superscripts, for a label: its runs for SVG, its TeX for TikZ, its plain form for a sentence."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from sympy import Basic

from derive.notation import Notation
from derive.printing import latex, text

SMALL = 0.72
"""The size of a script beside that of its base."""

_SCRIPT = re.compile(r"([_^])(\{[^{}]*\}|\\?.)")
_WORD = re.compile(r"(?:[^\W\d_][\u0300-\u036f]*)+|[^\W\d_]|\d+|\s+|.", re.DOTALL)
_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "%": r"\%", "&": r"\&", "#": r"\#", "_": r"\_",
    "^": r"\^{}", "~": r"\~{}", "→": r"$\to$", "←": r"$\leftarrow$", "−": "$-$", "×": r"$\times$", "…": r"\ldots{}",
    "⋯": r"$\cdots$", "≤": r"$\leq$", "≥": r"$\geq$", "‖": r"$\|$", "∂": r"$\partial$", "·": r"$\cdot$", "∞": r"$\infty$",
    "⁻": r"$^{-}$", "|": r"$|$", "<": r"$<$", ">": r"$>$", "φ": r"$\varphi$", "σ": r"$\sigma$", "“": "``", "”": "''",
}  # fmt: skip
_TEX.update({digit: f"$^{{{n}}}$" for n, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")})

_WIDTHS = {**dict.fromkeys("ijlftrI.,;:|'()[]/ !", 0.42), **dict.fromkeys("mwMWQO@∂→←⋯…%", 0.98), "‖": 0.5, "·": 0.35}


@dataclass(frozen=True)
class Run:
    """A piece of text on one line: `level` 0, −1 for a subscript, +1 for a superscript; letters of formulas are italic."""

    text: str
    level: int = 0
    italic: bool = False


@dataclass(frozen=True)
class Words:
    """`runs` in reading order, and the same in TeX."""

    runs: tuple[Run, ...]
    tex: str

    def __add__(self, other: Words) -> Words:
        return Words((*self.runs, *other.runs), self.tex + other.tex)

    @property
    def plain(self) -> str:
        return "".join(run.text for run in self.runs)

    def width(self, size: float) -> float:
        """At most how wide the words are, in common fonts."""
        return sum(size * (SMALL if run.level else 1.0) * sum(map(_width, run.text)) for run in self.runs)


def _width(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    return _WIDTHS.get(character, 0.78 if character.isupper() else 0.65)


def said(prose: str) -> Words:
    """Upright text."""
    return Words((Run(prose),), "".join(_TEX.get(c, c) for c in prose))


def formula(node: Basic, notation: Notation | None = None) -> Words:
    """A formula on one line, as `derive.printing` writes it."""
    chosen = notation or Notation()
    return Words(tuple(_runs(text(node, chosen))), f"${latex(node, chosen)}$")


def typed(markup: str, tex: str) -> Words:
    """A formula given as one-line markup, `|∂L_T/∂h_t|`, and in TeX."""
    return Words(tuple(_runs(markup)), f"${tex}$")


def _runs(markup: str) -> Iterator[Run]:
    last = 0
    for match in _SCRIPT.finditer(markup):
        yield from _level(markup[last : match.start()], 0)
        yield from _level(match[2].removeprefix("{").removesuffix("}"), -1 if match[1] == "_" else 1)
        last = match.end()
    yield from _level(markup[last:], 0)


def _level(piece: str, level: int) -> Iterator[Run]:
    """Single letters are variables and italic; words such as `tanh` and `fwd` are upright.  Neighbours of a kind are joined."""
    joined: list[Run] = []
    for word in _WORD.findall(piece.replace("-", "−")):
        letters = unicodedata.normalize("NFC", word)
        base = [c for c in letters if not unicodedata.combining(c)]
        italic = len(base) == 1 and base[0].isalpha() and base[0] not in "∂∇"
        if joined and joined[-1].italic == italic:
            joined[-1] = Run(joined[-1].text + letters, level, italic)
        else:
            joined.append(Run(letters, level, italic))
    yield from joined
