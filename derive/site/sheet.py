"""What a page says, block by block; `page` and `downloads` write it down."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from derive.derivation import Derivation
    from derive.pictures import Picture
    from derive.system import System
    from derive.verdicts.report import FileReport, Finding


@dataclass(frozen=True)
class Prose:
    """Markdown with inline math between single dollars; its headings make the page's contents."""

    text: str


@dataclass(frozen=True)
class Formula:
    """A display formula as its author wrote it, and what was found of each of its claims."""

    latex: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Worked:
    """A derivation with its verdict.  `command` and the lines of `python` ask for the same; `folded`: the steps are unfolded
    by hand."""

    derivation: Derivation
    command: str
    python: str
    folded: bool = False
    result_only: bool = False


@dataclass(frozen=True)
class Drawn:
    """A picture, the command that shows the same, and the lines of Python that do."""

    picture: Picture
    command: str
    python: str


@dataclass(frozen=True)
class Listing:
    """Source code, folded under its title where it has one."""

    source: str
    language: str = "python"
    title: str = ""


@dataclass(frozen=True)
class Algorithm:
    """An algorithm as formulas: `latex` for KaTeX, `tex` for a document."""

    title: str
    latex: str
    tex: str


@dataclass(frozen=True)
class Table:
    """Rows of cells, each Markdown."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block: TypeAlias = Prose | Formula | Worked | Drawn | Listing | Algorithm | Table


@dataclass(frozen=True)
class Sheet:
    """A page: where it stands below the site's root (`systems/gru`), its title, what it says.

    `report` is that of the document's claims; `systems` are those whose code can be downloaded; `source` is the document
    itself, empty where there is none.
    """

    path: str
    title: str
    blocks: tuple[Block, ...]
    report: FileReport | None = None
    systems: tuple[System, ...] = ()
    source: str = ""
    summary: str = ""

    @property
    def derivations(self) -> tuple[Derivation, ...]:
        return tuple(block.derivation for block in self.blocks if isinstance(block, Worked))


def title_of(document: Path) -> str:
    """The heading of a Markdown file; its name where it has none."""
    found = re.match(r"\s*#\s+(.+?)\s*$", document.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return found[1] if found else document.stem


@dataclass(frozen=True)
class Tally:
    """What was verified of a page: how many `claims` of its own, definitions left out, how many lines of derivations;
    `wrong` says what is not as it should be, a sentence each."""

    title: str
    summary: str
    claims: int = 0
    derived: int = 0
    wrong: tuple[str, ...] = field(default=())

    @property
    def formulas(self) -> int:
        return self.claims + self.derived
