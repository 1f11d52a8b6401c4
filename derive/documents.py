"""Which files are documents: Markdown, LaTeX, notebooks.  Light, so that asking costs no import of the reader."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

SUFFIXES: Mapping[str, str] = {".md": "md", ".markdown": "md", ".tex": "tex", ".ipynb": "ipynb"}
"""The suffix of a file: the kind of document that it is."""

_DIRECTIVE = re.compile(rb"(<!--|%)\s*derive:")


def kind(path: str | Path) -> str | None:
    """`md`, `tex` or `ipynb`; None for what is no document."""
    return SUFFIXES.get(Path(path).suffix.lower())


def is_steered(path: Path) -> bool:
    """Whether a file that nobody named wants to be read: it holds a directive, `<!-- derive: … -->` or `% derive: …`."""
    try:
        return kind(path) is not None and _DIRECTIVE.search(path.read_bytes()) is not None
    except OSError:
        return False


def within(paths: Iterable[str | Path]) -> Iterator[str]:
    """The files that are named, and of each folder the documents that hold a directive, in the order of their names."""
    for path in map(Path, paths):
        if path.is_dir():
            inside = (
                p
                for p in sorted(path.rglob("*"))
                if not any(part.startswith(".") for part in p.parts[len(path.parts) :])
            )
            yield from (str(p) for p in inside if p.is_file() and is_steered(p))
        else:
            yield str(path)
