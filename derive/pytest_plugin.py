"""The claims of documents as test items: `pytest paper.tex notes.md derivations/`.

A document that is named on the command line is always collected; one that is found in a folder only if it holds a
directive (`<!-- derive: … -->`, `% derive: …`), so that a README is left alone.  Collecting reads a document, judging
waits for the first of its items that runs.  A claim passes as `derive verify` passes it; `derive_strict = true` in the
configuration is its `--strict`.  What a document skips is no item.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from derive import documents
from derive.errors import DeriveError

if TYPE_CHECKING:
    from derive.reader.claims import Claim
    from derive.reader.document import Display
    from derive.verdicts.report import FileReport, Finding

STRICT = "derive_strict"
FAILING, DOUBTFUL = ("fails", "unread"), ("holds-if", "undecided")
"""The verdicts with which a claim fails, and those with which it passes with a warning, or fails if that is strict."""
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.+?)\s*$|\\(?:chapter|(?:sub)*section)\*?\s*\{([^{}]*)\}", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(STRICT, "claims that hold only under an assumption, or are undecided, fail", "bool", False)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Document | None:
    if documents.kind(file_path) is None:
        return None
    named = parent.session.isinitpath(file_path)
    if not named and not documents.is_steered(file_path):
        return None
    document: Document = Document.from_parent(parent, path=file_path)
    document.named = named
    return document


class Document(pytest.File):
    """A document.  It is read when it is collected, and judged when the first of its claims runs."""

    named = True

    def collect(self) -> Iterable[Claimed]:
        """Raises `CollectError` with the sentence of the error where the document can't be used."""
        from derive.reader.directives import Directive
        from derive.reader.document import read
        from derive.reader.understand import understand

        try:
            document = read(self.path)
            if not self.named and not any(isinstance(item, Directive) for item in document.items):
                return  # what looked like a directive stands in a block of code
            found = understand(document)
        except DeriveError as error:
            raise self.CollectError(str(error)) from None
        displays = {display.n: display for display in document.displays}
        for claim in found.claims:
            if not claim.skip:
                yield Claimed.of(self, claim, displays[claim.display])

    @cached_property
    def judged(self) -> FileReport:
        from derive.verdicts.verify import verify_file

        return verify_file(self.path)


class Claimed(pytest.Item):
    """One claim; `-k` finds it by its kind, its heading and its LaTeX too."""

    claim: Claim

    @classmethod
    def of(cls, document: Document, claim: Claim, display: Display) -> Claimed:
        cell = claim.place.file.removeprefix(str(document.path)).removeprefix(":")
        where = ", ".join(filter(None, (cell, f"line {claim.place.line}")))
        item: Claimed = cls.from_parent(document, name=f"claim {claim.n} ({where})")
        item.claim = claim
        system = "" if claim.system is None else claim.system.name
        item.extra_keyword_matches |= {claim.kind, claim.latex, heading(display), system} - {""}
        return item

    @property
    def file(self) -> FileReport:
        assert isinstance(self.parent, Document)
        return self.parent.judged

    def runtest(self) -> None:
        finding = next(finding for finding in self.file.findings if finding.n == self.claim.n)
        self.user_properties += [("verdict", finding.verdict), ("line", finding.place.line)]
        if finding.effective in FAILING or (finding.effective in DOUBTFUL and self.config.getini(STRICT)):
            raise WrongClaim(finding, self.file)
        if finding.effective in DOUBTFUL:
            from derive.render.reports import words

            self.warn(pytest.PytestWarning(f"claim {finding.n} {words.headline(finding, self.file)}"))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What is wrong and how to mend it, without a traceback; ours only where the checker itself broke."""
        if isinstance(excinfo.value, WrongClaim):
            return Explained(excinfo.value, self)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.claim.place.line - 1, f"{self.path.name}, {self.name}"


class WrongClaim(Exception):
    """A claim that does not pass, with its finding."""

    def __init__(self, finding: Finding, file: FileReport):
        from derive.render.reports import words

        super().__init__(words.headline(finding, file))
        self.finding, self.file = finding, file


class Explained:
    """A failure as pytest shows it: in the terminal, in the short summary, in JUnit XML."""

    def __init__(self, wrong: WrongClaim, item: Claimed):
        self.wrong = wrong
        self.reprcrash = SimpleNamespace(path=str(item.path), lineno=item.claim.place.line, message=str(wrong))

    def toterminal(self, out: Any) -> None:
        out.line(self._text(colour=out.hasmarkup))

    def __str__(self) -> str:
        return self._text(colour=False)

    def _text(self, colour: bool) -> str:
        from derive.render.reports import text

        return text.finding(self.wrong.finding, self.wrong.file, colour=colour)


def heading(display: Display) -> str:
    """The heading under which a formula stands."""
    before = _HEADING.findall(display.source.text, 0, display.start)
    return next(filter(None, before[-1])) if before else ""
