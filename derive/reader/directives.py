"""Directives: the comments of a document that steer how its formulas are read.

A directive is a word and its argument: `system gru`, `declare W_z: n x m, x: m`, `skip`.  The table `WORDS` has one row
for each: what it takes, in words and as an example, and the function that reads it.  A document names the catalogue and
its own formulas, never a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from derive.errors import DeriveError, Place, SystemError_, did_you_mean
from derive.reader.limits import LARGEST_UNROLL

VERDICTS = ("fails", "unread", "undecided", "holds-if", "holds", "defines")
"""What may be said of a claim, the worst first."""
KINDS = (
    *("missing-path", "extra-term", "sign", "index", "bounds", "transpose", "order", "hadamard", "activation"),
    *("double-count", "missing-sum", "layout", "ill-typed", "factor", "symbol", "boundary", "unknown"),
)
"""What a diagnosis may name as the cause."""

_WITH_A_KIND = ("fails", "holds-if")
_SYSTEM = re.compile(r"([A-Za-z][\w-]*\s*\(\s*)*[A-Za-z][\w-]*\s*(\([^()]*\))?[)\s]*")
_A_FILE = re.compile(r"[/\\:]|\.(py|md|markdown|tex|ipynb)\b")


@dataclass(frozen=True)
class Directive:
    """One directive, its argument as data; `place` is where its word stands."""

    word: str
    value: Any
    place: Place


@dataclass(frozen=True)
class Word:
    """A row of the table.  `read` takes the text behind the word and raises `DeriveError` where it is off."""

    takes: str
    example: str
    read: Callable[[str], Any]


def parse_directive(text: str, place: Place) -> Directive:
    """The directive that `text` writes.  Raises `SystemError_` with the place where word or argument is off."""
    word, _, argument = re.sub(r"\s+", " ", text.strip()).partition(" ")
    if word not in WORDS:
        raise SystemError_(f"{_unknown(word)}; the directives are {', '.join(WORDS)}", place)
    row, argument = WORDS[word], argument.strip()
    try:
        return Directive(word, row.read(argument), place)
    except DeriveError as e:
        found = f"found {argument!r}" if argument else "found nothing"
        reason = f": {e}" if str(e) else ""
        raise SystemError_(
            f"the directive '{word}' takes {row.takes}, as in '{row.example}', {found}{reason}", place
        ) from e


def split_directives(text: str) -> Iterator[tuple[int, str]]:
    """The directives of one comment with their offsets: `;` and line ends separate, a line that ends in `,` goes on."""
    joined = re.sub(r",\s*\n", lambda match: ",".ljust(len(match[0])), text)
    for part in re.finditer(r"[^;\n]+", joined):
        if part[0].strip():
            yield part.start() + len(part[0]) - len(part[0].lstrip()), part[0].strip()


def _unknown(word: str) -> str:
    if not word:
        return "a directive is missing after 'derive:'"
    near = did_you_mean(word.lower().rstrip(":="), WORDS)
    return f"there is no directive {word!r}{near}"


def _nothing(text: str) -> None:
    if text:
        raise DeriveError


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise DeriveError(did_you_mean(text, choices).strip(" ()"))
        return text

    return read


def _system(text: str) -> str:
    if _A_FILE.search(text):
        raise DeriveError("a document names the catalogue only, never a file")
    if not _SYSTEM.fullmatch(text):
        raise DeriveError
    return text


def _declare(text: str) -> Mapping[str, Any]:
    from derive.shapes import parse_declarations  # imports SymPy

    if "\\" in text:
        raise DeriveError("a name is typed without LaTeX, h_tilde for \\tilde h")
    declared = parse_declarations(text)
    without = [name for name, shape in declared.items() if shape is None]
    if without:
        raise DeriveError(f"no shape is given for {', '.join(without)}")
    if not declared:
        raise DeriveError
    return declared


def _alias(text: str) -> tuple[tuple[str, str], ...]:
    pairs = tuple(_pair(part) for part in _split(text, ","))
    lefts = [left for left, _ in pairs]
    twice = next((left for left in lefts if lefts.count(left) > 1), None)
    if twice is not None:
        raise DeriveError(f"{twice} stands there twice")
    return pairs


def _pair(part: str) -> tuple[str, str]:
    left, *right = (side.strip() for side in _split(part, "=", at_most=1))
    if not left or not right or not right[0]:
        raise DeriveError(f"{part.strip()!r} is not a pair" if part.strip() else "")
    return left, right[0]


def _split(text: str, separator: str, at_most: int = -1) -> list[str]:
    """The parts of `text` between the separators that stand outside of all brackets."""
    parts: list[str] = []
    depth = start = 0
    for i, c in enumerate(text):
        depth += (c in "{([") - (c in "})]")
        if depth < 0:
            break
        if c == separator and depth == 0 and len(parts) != at_most:
            parts.append(text[start:i])
            start = i + 1
    if depth:
        raise DeriveError("its brackets do not match")
    return [*parts, text[start:]]


def _hold(text: str) -> tuple[str, ...]:
    if text == "none":
        return ()
    names = [name.strip() for name in text.split(",")]
    off = next((name for name in names if not name.isidentifier()), None)
    if off is not None or "none" in names:
        raise DeriveError(f"{off!r} is not a name" if off else "")
    return tuple(dict.fromkeys(names))


def _unroll(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= LARGEST_UNROLL:
        raise DeriveError
    return int(text)


def _expect(text: str) -> tuple[str, str | None]:
    verdict, _, kind = text.partition(" ")
    if verdict not in VERDICTS:
        raise DeriveError(f"the verdicts are {', '.join(VERDICTS)}{did_you_mean(verdict, VERDICTS)}")
    if kind and verdict not in _WITH_A_KIND:
        raise DeriveError(f"a kind goes with {' and '.join(_WITH_A_KIND)} only")
    if kind and kind not in KINDS:
        raise DeriveError(f"the kinds are {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    return verdict, kind or None


WORDS: Mapping[str, Word] = {
    "system": Word("the name of a system of the catalogue", "system gru", _system),
    "define": Word("no argument", "define", _nothing),
    "declare": Word("names with their shapes", "declare W_z: n x m, x: m, a: scalar", _declare),
    "alias": Word("pairs, the document's notation = the system's name", "alias Z = z, W^{hh} = U_h", _alias),
    "hold": Word("names separated by commas, or none", "hold z, r", _hold),
    "scalar": Word("no argument", "scalar", _nothing),
    "layout": Word("numerator or denominator", "layout numerator", _one_of("numerator", "denominator")),
    "order": Word("ascending or descending", "order ascending", _one_of("ascending", "descending")),
    "loss": Word("final or every", "loss final", _one_of("final", "every")),
    "unroll": Word(f"a whole number from 1 to {LARGEST_UNROLL}", "unroll 3", _unroll),
    "expect": Word("a verdict, and the kind of mistake if one is meant", "expect fails missing-path", _expect),
    "skip": Word("no argument", "skip", _nothing),
}
"""The directives, one a row."""
