"""What is said of a claim, of a file, of several files: plain data, which every format of `derive.render.reports` prints.

Finding      one claim: its verdict, the reading that was used, the assumptions, the causes, the certificate
FileReport   the findings of one document, or why it can't be used
Report       several documents
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sympy import Basic

from derive.errors import Place
from derive.reader.directives import KINDS, VERDICTS

__all__ = [
    "KINDS",
    "VERDICTS",
    "Assumption",
    "Certificate",
    "Diagnosis",
    "FileReport",
    "Finding",
    "Numeric",
    "Report",
    "worst",
]


@dataclass(frozen=True)
class Assumption:
    """What has to be taken as meant, and the kind of mistake that it is to leave it unsaid."""

    sentence: str
    kind: str


@dataclass(frozen=True)
class Diagnosis:
    """A cause whose repair was verified: `sentence` says it, `missing` is what to add, `repair` the whole line mended.

    `paths` are the paths that are missing or counted twice, source first, each a tuple of names at their indices.
    """

    kind: str
    sentence: str
    paths: tuple[tuple[str, ...], ...] = ()
    missing: Basic | None = None
    repair: Basic | None = None


@dataclass(frozen=True)
class Certificate:
    """How a verdict was reached.

    `method`: field, tower (exact), ball (two disjoint balls), shape, search (samples of an inequality), proof, words.
    """

    method: str
    seeds: int = 0
    points: int = 0
    prime_bits: int | None = None
    error_bound: float | None = None
    at: str = ""
    """Where two sides differ: `entry (1, 2) at n = 3, T = 2, t = 1`."""
    left: str = ""
    right: str = ""
    note: str = ""


@dataclass(frozen=True)
class Numeric:
    """The two sides in float64 beside an automatic differentiation: for people, it decides nothing."""

    oracle: str
    max_rel_err: float


@dataclass(frozen=True)
class Finding:
    """One claim and what is to be said of it.

    `formula` is the reading that was used; `readings` are the sentences of the notation that it takes, `assumptions`
    those that make it *holds-if*; `causes` are at most two; `inherits` is the number of the claim whose error this
    one repeats; `expected` what a directive asked for.
    """

    n: int
    place: Place
    latex: str
    kind: str
    verdict: str
    formula: Basic | None = None
    readings: tuple[str, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    causes: tuple[Diagnosis, ...] = ()
    inherits: int | None = None
    certificate: Certificate | None = None
    numeric: Numeric | None = None
    reason: str = ""
    """Why it is undecided or unread; what a definition defines."""
    caret: str = ""
    """Of an unread claim: its line with a caret below the column."""
    skipped: bool = False
    expected: tuple[str, str | None] | None = None
    as_expected: bool = True
    """Whether the display got the verdict that its `expect` asks for; true where it asks for none."""
    display: int = 0

    @property
    def effective(self) -> str:
        """The verdict, as it counts: what was expected counts as if it held, what was not as a failure."""
        if self.skipped:
            return "defines"
        if self.expected is None:
            return self.verdict
        return "holds" if self.as_expected else "fails"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of mistake, the gravest first: of its causes, or of its assumptions."""
        return tuple(dict.fromkeys([*(c.kind for c in self.causes), *(a.kind for a in self.assumptions)]))


@dataclass(frozen=True)
class FileReport:
    """The findings of one document; `trouble` is the sentence of an error that keeps it from being used."""

    file: str
    systems: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    trouble: str | None = None
    trouble_place: Place | None = None
    seconds: float = field(default=0.0, compare=False)

    @property
    def verdict(self) -> str:
        """The worst that counts; *unread* where the file can't be used."""
        return "unread" if self.trouble is not None else worst(f.effective for f in self.findings)

    @property
    def first_wrong(self) -> Finding | None:
        """The first claim that fails, not because of an earlier one."""
        wrong = [f for f in self.findings if f.effective == "fails"]
        return next((f for f in wrong if f.inherits is None), wrong[0] if wrong else None)


@dataclass(frozen=True)
class Report:
    """What was found in one or several documents; see `derive.render.reports` for its formats."""

    files: tuple[FileReport, ...]
    strict: bool = False

    @property
    def claims(self) -> tuple[Finding, ...]:
        return tuple(finding for file in self.files for finding in file.findings)

    @property
    def verdict(self) -> str:
        return worst(file.verdict for file in self.files)

    @property
    def exit_code(self) -> int:
        """1 if a claim fails (`strict`: or holds only if, or is undecided); else 2 if one is unread or a file is of no use."""
        found = {f.effective for f in self.claims}
        if found & ({"fails", "holds-if", "undecided"} if self.strict else {"fails"}):
            return 1
        return 2 if "unread" in found or any(file.trouble is not None for file in self.files) else 0

    def __bool__(self) -> bool:
        return self.exit_code == 0

    def __iter__(self) -> Iterator[FileReport]:
        return iter(self.files)

    def __str__(self) -> str:
        from derive.render.reports import text

        return text.render(self)

    def _repr_html_(self) -> str:
        from derive.render.reports import html

        return html.fragment(self)

    def to_dict(self) -> dict[str, Any]:
        """What `--format json` prints."""
        from derive.render.reports import json

        return json.data(self)


def worst(verdicts: Iterable[str]) -> str:
    """The worst of several; *holds* where there is none, or nothing but definitions."""
    found = set(verdicts)
    return next((v for v in VERDICTS if v in found and v != "defines"), "holds")
