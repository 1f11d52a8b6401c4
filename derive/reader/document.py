r"""Documents: a Markdown, LaTeX or notebook file becomes its display formulas and directives, each with its place.

A document is data.  Nothing in it is run, no `\input` is followed, every bound stands in `derive.reader.limits`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from derive import documents
from derive.errors import DeriveError, Place, SystemError_, did_you_mean
from derive.reader import limits
from derive.reader.macros import Macro
from derive.reader.markdown import Markdown
from derive.reader.scan import ENVIRONMENTS, Latex, Scanner
from derive.reader.source import Display, Gathered, Item, Query, Source

__all__ = ["ENVIRONMENTS", "Display", "Document", "Item", "Macro", "Query", "parse", "read"]

SCANNERS: Mapping[str, type[Scanner]] = {"md": Markdown, "ipynb": Markdown, "tex": Latex}


@dataclass(frozen=True)
class Document:
    """What a document holds, in its order; a directive inside a display formula stands before it."""

    name: str
    items: tuple[Item, ...]
    macros: dict[str, Macro]

    @property
    def displays(self) -> tuple[Display, ...]:
        return tuple(item for item in self.items if isinstance(item, Display))


def read(path: str | Path) -> Document:
    """The document in a file, by its suffix; `-` is standard input.  Raises `DeriveError` where it can't be used."""
    if str(path) == "-":
        text = _decoded(sys.stdin.buffer.read(4 * limits.LARGEST_DOCUMENT + 1), "<stdin>")
        return parse(text, "<stdin>", "tex" if _looks_like_latex(text) else "md")
    kind = documents.kind(path)
    if kind is None:
        raise DeriveError(f"{path}: a document is a file that ends in {_or(documents.SUFFIXES)}")
    return parse(_decoded(_bytes(Path(path)), str(path)), str(path), kind)


def parse(text: str, name: str, kind: str) -> Document:
    """The document that `text` writes; `kind` is `md`, `tex` or `ipynb`."""
    if len(text) > limits.LARGEST_DOCUMENT:
        raise DeriveError(f"{name}: a document has at most {limits.LARGEST_DOCUMENT} characters, found {len(text)}")
    gathered = Gathered()
    for source in _cells(text, name) if kind == "ipynb" else [Source.of(text, name)]:
        SCANNERS[kind](source, gathered).scan()
    return Document(name, tuple(gathered.items), gathered.macros)


def _or(words: Mapping[str, Any]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}"


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4 * limits.LARGEST_DOCUMENT + 1)
    except FileNotFoundError:
        raise DeriveError(f"{path}: there is no such file{did_you_mean(path.name, _beside(path))}") from None
    except (OSError, ValueError) as e:
        raise DeriveError(f"{path}: the file can't be read ({getattr(e, 'strerror', None) or e})") from None


def _beside(path: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(path.parent) if documents.kind(name) is not None)
    except (OSError, ValueError):
        return []


def _decoded(data: bytes, name: str) -> str:
    if len(data) > 4 * limits.LARGEST_DOCUMENT:
        raise DeriveError(f"{name}: a document has at most {limits.LARGEST_DOCUMENT} characters, found more")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        line_start = data.rfind(b"\n", 0, e.start) + 1
        column = len(data[line_start : e.start].decode("utf-8").removeprefix("\ufeff")) + 1
        place = Place(name, data.count(b"\n", 0, e.start) + 1, column)
        found = f"found the byte 0x{data[e.start]:02x} at offset {e.start}"
        raise SystemError_(f"a document is UTF-8, {found}; save it in that encoding", place) from None


def _looks_like_latex(text: str) -> bool:
    """Standard input has no suffix: a document class tells, or environments where nothing is Markdown's alone."""
    outside = re.sub(r"^[ \t]*(```+|~~~+)[^\n]*\n(?:.*?\n)??[ \t]*\1[^\n]*$", "", text, flags=re.DOTALL | re.MULTILINE)
    if re.search(r"\\documentclass\b|\\begin\s*\{document\}", outside):
        return True
    named = re.findall(r"\\begin\s*\{(\w+\*?)\}", outside)
    return outside == text and "<!--" not in text and any(name in ENVIRONMENTS for name in named)


def _cells(text: str, name: str) -> Iterator[Source]:
    """The Markdown cells of a notebook, each a source of its own; they are counted among all cells."""
    try:
        cells = json.loads(text.removeprefix("\ufeff"))["cells"]
    except json.JSONDecodeError as e:
        place = Place(name, e.lineno, e.colno)
        raise SystemError_(f"a notebook is JSON, and this is not: {e.msg}", place) from None
    except (ValueError, RecursionError):
        raise DeriveError(
            f"{name}: a notebook is JSON, and this is nested too deeply or has too long a number"
        ) from None
    except (KeyError, TypeError):
        cells = None
    if not isinstance(cells, list):
        raise DeriveError(f"{name}: a notebook has a list 'cells', and this file has none; is it of format 4?")
    for number, cell in enumerate(cells, 1):
        if isinstance(cell, dict) and cell.get("cell_type") == "markdown":
            yield Source.of(_cell_text(cell.get("source"), f"{name}:cell {number}"), f"{name}:cell {number}")


def _cell_text(source: Any, name: str) -> str:
    lines = [source] if isinstance(source, str) else source
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise DeriveError(f"{name}: the source of a cell is a string or a list of strings")
    return "".join(lines)
