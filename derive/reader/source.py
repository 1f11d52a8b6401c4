"""A source and what is found in it: display formulas, queries and directives, each with its place."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from derive.errors import Place, SystemError_
from derive.reader import limits
from derive.reader.directives import Directive
from derive.reader.macros import Macro


@dataclass(frozen=True)
class Source:
    """A text and where it stands: a file, or one cell of a notebook.  `\\r\\n` and `\\r` have become line ends."""

    file: str
    text: str

    @classmethod
    def of(cls, text: str, file: str) -> Source:
        """The text as it is read: the byte order mark is not part of it, what no encoding can write is replaced."""
        text = text.removeprefix("\ufeff").replace("\r\n", " \n").replace("\r", "\n")
        return cls(file, re.sub("[\ud800-\udfff]", "\ufffd", text))

    @cached_property
    def _lines(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    @cached_property
    def _gaps(self) -> list[int]:
        """Where paragraphs end: the offsets of the lines that hold blanks and `>` at most."""
        return [match.start() for match in re.finditer(r"^[ \t\f>]*$", self.text, re.MULTILINE)]

    def place(self, offset: int) -> Place:
        offset = max(0, min(offset, len(self.text)))
        line = bisect_right(self._lines, offset)
        return Place(self.file, line, offset - self._lines[line - 1] + 1)

    def line_start(self, offset: int) -> int:
        return self._lines[bisect_right(self._lines, offset) - 1]

    def paragraph_end(self, offset: int) -> int:
        i = bisect_left(self._gaps, offset)
        return self._gaps[i] if i < len(self._gaps) else len(self.text)


@dataclass(frozen=True)
class Display:
    """A display formula: `text` is the math between its delimiters, comments and definitions of macros blanked."""

    n: int
    text: str
    environment: str
    source: Source = field(repr=False)
    start: int
    """The offset of `text` in its source."""
    macros: Mapping[str, Macro] = field(default_factory=dict, repr=False, compare=False)
    """The macros as they stand where the formula does."""
    span: tuple[int, int] = field(default=(0, 0), repr=False, compare=False)
    """Where it stands in its source, its delimiters included."""

    def place(self, offset: int = 0) -> Place:
        """Of a character of `text`: line and column of the file, in characters from 1."""
        return self.source.place(self.start + offset)

    def excerpt(self, span: tuple[int, int]) -> str:
        """The characters of a span, with the braces that it cuts, and the command before them."""
        start, end = span[0], max(span[1], span[0] + 1)
        depth = least = 0
        for brace in _BRACE.findall(self.text, start, end):
            depth += 1 if brace == "{" else -1
            least = min(least, depth)
        for _ in range(-least):
            before = _OPENING.search(self.text[:start])
            start = before.start() if before else start
        for _ in range(depth - least):
            after = _CLOSING.match(self.text, end)
            end = after.end() if after else end
        return self.text[start:end].strip()

    def caret(self, span: tuple[int, int]) -> str:
        """The line on which a span begins, and carets under it."""
        start = min(span[0], max(len(self.text) - 1, 0))
        begin = self.text.rfind("\n", 0, start) + 1
        line = self.text[begin:].partition("\n")[0]
        width = max(1, min(span[1], begin + len(line)) - start)
        # Of a long line, what is around the place.
        cut = max(0, start - begin - WIDEST // 2) if len(line) > WIDEST else 0
        shown = line[cut : cut + WIDEST]
        before, after = "…" * bool(cut), "…" * (cut + WIDEST < len(line))
        column = start - begin - cut + len(before)
        return f"{before}{shown}{after}\n{' ' * column}{'^' * min(width, len(shown) + len(before) - column)}"


WIDEST = 110
"""Characters of a line of LaTeX that are shown."""
_BRACE = re.compile(r"(?<!\\)[{}]")
_OPENING = re.compile(r"(\\[a-zA-Z]+\*?)?\s*\{\s*$")
_CLOSING = re.compile(r"\s*\}")


@dataclass(frozen=True)
class Query:
    """A fenced `derive` block: not a claim, but a question; `options` is what stands behind the word `derive`."""

    text: str
    options: str
    place: Place
    span: tuple[int, int] = field(default=(0, 0), repr=False, compare=False)
    """Where the block stands in its source, its fences included."""


Item: TypeAlias = Display | Directive | Query


@dataclass
class Gathered:
    """What has been found so far; it goes on from cell to cell."""

    items: list[Item] = field(default_factory=list)
    macros: dict[str, Macro] = field(default_factory=dict)
    displays: int = 0
    directives: int = 0

    def add_display(self, text: str, environment: str, source: Source, start: int, span: tuple[int, int]) -> None:
        place = source.place(start)
        self.displays += 1
        if self.displays > limits.MOST_DISPLAYS:
            raise SystemError_(f"a document has at most {limits.MOST_DISPLAYS} display formulas", place)
        if len(text) > limits.LARGEST_DISPLAY:
            found = f"found {len(text)}; is its end missing?"
            raise SystemError_(f"a display formula has at most {limits.LARGEST_DISPLAY} characters, {found}", place)
        self.items.append(Display(self.displays, text, environment, source, start, self.macros, span))

    def add_directive(self, directive: Directive) -> None:
        self.directives += 1
        if self.directives > limits.MOST_DIRECTIVES:
            raise SystemError_(f"a document has at most {limits.MOST_DIRECTIVES} directives", directive.place)
        self.items.append(directive)

    def drop_macro(self, name: str) -> None:
        self.macros = {n: macro for n, macro in self.macros.items() if n != name}

    def add_macro(self, macro: Macro, place: Place) -> None:
        self.macros = {**self.macros, macro.name: macro}  # displays keep the ones before
        if len(self.macros) > limits.MOST_MACROS:
            raise SystemError_(f"a document defines at most {limits.MOST_MACROS} macros", place)
