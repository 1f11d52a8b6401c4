"""All pages, in several processes, each only if what it is made of has changed.

A page's key is the hash of its source, of the engine, and of what the machine can do; `.built.json` in the site's folder
remembers the keys, what was verified, and the files that were written.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import derive
from derive import catalogue, documents
from derive.errors import DeriveError
from derive.processes import few_collections, mapped
from derive.render import write
from derive.site.sheet import Sheet, Tally, title_of

PACKAGE = Path(derive.__file__).parent
HERE = Path(__file__).parent
ASSETS = ("site.css", "site.js", "icon.svg")
MEMORY = ".built.json"


@dataclass(frozen=True)
class Page:
    """A page to be: where it will stand, and the file or the name that it is made of.

    `neighbours` are the pages before and after it, by their paths and titles; there is none at the ends.
    """

    path: str
    title: str
    document: str = ""
    system: str = ""
    neighbours: tuple[tuple[str, str] | None, tuple[str, str] | None] = (None, None)

    def sheet(self, root: Path) -> Sheet:
        from derive.site import documents as of_documents
        from derive.site import systems as of_systems

        if self.document:
            return of_documents.sheet(root / self.document, self.path, self.document)
        return of_systems.sheet(self.system, self.path)


@dataclass(frozen=True)
class Built:
    """What came of a page: what was verified, and the files."""

    tally: Tally
    files: tuple[str, ...]


@dataclass(frozen=True)
class Site:
    """What came of all: how many pages were made now, and what was verified of each."""

    made: int
    tallies: Mapping[str, Tally]
    seconds: float

    @property
    def formulas(self) -> int:
        return sum(t.formulas for t in self.tallies.values())

    @property
    def wrong(self) -> tuple[str, ...]:
        return tuple(f"{path}: {said}" for path, t in self.tallies.items() for said in t.wrong)


def pages(root: Path, folder: str = "derivations") -> list[Page]:
    """Every document below `folder`, in the order in which its README names them, then every system of the catalogue."""
    files = [
        Path(file).relative_to(root / folder).as_posix()
        for file in documents.within([root / folder])
        if file.endswith(".md") and Path(file).stem != "README"
    ]
    named = _named(root / folder / "README.md")
    files.sort(key=lambda file: (file.count("/"), named.index(file) if file in named else len(named), file))
    found = [
        Page(f"{folder}/{file.removesuffix('.md')}", title_of(root / folder / file), document=f"{folder}/{file}")
        for file in files
    ]
    return _in_rows(found) + _in_rows(
        [Page(f"systems/{name}", title, system=name) for name, title in catalogue.titles().items()]
    )


def _in_rows(row: list[Page]) -> list[Page]:
    """Each page with its neighbours."""
    ends = [None, *((page.path, page.title) for page in row), None]
    return [replace(page, neighbours=(ends[n], ends[n + 2])) for n, page in enumerate(row)]


def _named(readme: Path) -> list[str]:
    return re.findall(r"\]\(([\w./-]+\.md)\)", readme.read_text(encoding="utf-8")) if readme.is_file() else []


def _longest_first(page: Page) -> int:
    """The largest systems take longest, then the documents: they must not be what is left at the end."""
    cell = PACKAGE / "cells" / f"{page.system.replace('-', '_')}.py"
    return -cell.stat().st_size if page.system else 0


def build(root: Path, out: Path, *, jobs: int = 1, anew: bool = False) -> Site:
    """The site in `out`.  Raises `DeriveError` where a page can't be made; what is wrong on a page is in `Site.wrong`."""
    start, wanted = monotonic(), pages(root)
    remembered = {} if anew else _remembered(out)
    engine = _engine()
    keys = {page.path: _key(page, root, engine) for page in wanted}
    stale = [page for page in wanted if not _is_current(remembered.get(page.path), keys[page.path], out)]
    stale.sort(key=_longest_first)
    _assets(out)
    _forget(remembered, {page.path for page in wanted}, out)
    work = partial(make, root=root, out=out)
    try:
        for page, built in zip(stale, _progress(stale, mapped(work, stale, jobs)), strict=True):
            remembered[page.path] = {"key": keys[page.path], "files": built.files, "tally": asdict(built.tally)}
    finally:  # where a page can't be made, the others need not be made again
        write(out / MEMORY, json.dumps(remembered, indent=1))
    tallies = {page.path: _tally(remembered[page.path]["tally"]) for page in wanted}
    _overview(out, tallies)
    return Site(len(stale), tallies, monotonic() - start)


def make(page: Page, root: Path, out: Path) -> Built:
    """One page and its downloads, written.  Raises `DeriveError` with the page where it can't be made."""
    from derive.site import page as pages_html
    from derive.site.downloads import downloads

    with few_collections():
        sheet = page.sheet(root)
    beside = list(downloads(sheet))
    folder = (out / page.path).parent
    folder.mkdir(parents=True, exist_ok=True)
    html = pages_html.html(sheet, [(download.name, download.said) for download in beside], page.neighbours)
    write(out / f"{page.path}.html", html)
    for download in beside:
        write(folder / download.name, download.content)
    below = folder.relative_to(out)
    return Built(_tallied(sheet), (f"{page.path}.html", *((below / d.name).as_posix() for d in beside)))


def _tallied(sheet: Sheet) -> Tally:
    from derive.check import claims

    findings = sheet.report.findings if sheet.report is not None else ()
    wrong = [
        f"formula of line {f.place.line} {f.effective}"
        for f in findings
        if f.effective in ("fails", "unread", "undecided")
    ]
    if sheet.report is not None and sheet.report.trouble is not None:
        wrong.append(sheet.report.trouble)
    wrong += [f"{d.query}: {d.verdict}" for d in sheet.derivations if not d.verdict]
    derived = sum(len(list(claims(derivation))) for derivation in sheet.derivations)
    judged = sum(finding.verdict != "defines" and not finding.skipped for finding in findings)
    return Tally(sheet.title, sheet.summary, judged, derived, tuple(wrong))


def _tally(data: Mapping[str, Any]) -> Tally:
    return Tally(**{**data, "wrong": tuple(data["wrong"])})


# --- what is remembered -----------------------------------------------------------------------------------------------


def _remembered(out: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((out / MEMORY).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _engine() -> str:
    """The hash of all that pages are made by; style and script are files of their own."""
    digest = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts and file.name not in ASSETS:
            digest.update(file.relative_to(PACKAGE).as_posix().encode() + b"\0" + file.read_bytes())
    digest.update(str([bool(shutil.which("pdflatex")), sys.version_info[:2]]).encode())
    return digest.hexdigest()


def _key(page: Page, root: Path, engine: str) -> str:
    source = (root / page.document).read_bytes() if page.document else page.system.encode()
    return hashlib.sha256(f"{engine}\0{page.path}\0{page.neighbours}\0".encode() + source).hexdigest()


def _is_current(before: Mapping[str, Any] | None, key: str, out: Path) -> bool:
    return before is not None and before["key"] == key and all((out / file).is_file() for file in before["files"])


def _forget(remembered: dict[str, Any], wanted: set[str], out: Path) -> None:
    """Pages whose source is gone go, too."""
    for path in remembered.keys() - wanted:
        for file in remembered.pop(path)["files"]:
            (out / file).unlink(missing_ok=True)


# --- what all pages share ---------------------------------------------------------------------------------------------


def _assets(out: Path) -> None:
    katex = PACKAGE / "render" / "katex"
    try:
        (out / "assets" / "fonts").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DeriveError(f"the folder {out} can't be made: {error.strerror or error}") from None
    for name in ASSETS:
        write(out / "assets" / name, (HERE / name).read_bytes())
    for name in ("katex.min.css", "katex.min.js"):
        write(out / "assets" / name, (katex / name).read_bytes())
    write(out / "assets" / "KaTeX-LICENSE", (katex / "LICENSE").read_bytes())
    for font in katex.glob("fonts/*.woff2"):
        write(out / "assets" / "fonts" / font.name, font.read_bytes())


def _overview(out: Path, tallies: Mapping[str, Tally]) -> None:
    from derive.site import overview

    write(out / "index.html", overview.html(tallies))


def _progress(stale: Sequence[Page], results: Iterator[Built]) -> Iterator[Built]:
    """The results one by one; a terminal on stderr sees a bar."""
    shown, width = sys.stderr.isatty(), 30
    for number, page in enumerate(stale):
        if shown:
            done = width * number // len(stale)
            bar = f"[{'█' * done}{'·' * (width - done)}] {number}/{len(stale)} {page.path}"
            print(f"\r\033[K{bar}", end="", file=sys.stderr, flush=True)
        yield next(results)
    if shown:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def run(root: Path, out: Path, *, jobs: int, anew: bool) -> int:
    """Build, and say what came of it: 0, 1 where a formula is not as it should be, 2 where a page can't be made."""
    try:
        site = build(root, out, jobs=jobs, anew=anew)
    except DeriveError as error:
        print(f"build_docs: {error}", file=sys.stderr)
        return 2
    for said in site.wrong:
        print(f"build_docs: {said}", file=sys.stderr)
    verified = "all verified" if not site.wrong else f"{len(site.wrong)} not as they should be"
    print(
        f"{out / 'index.html'}: {len(site.tallies)} pages, {site.made} of them made now; {site.formulas} formulas, {verified} "
        f"({site.seconds:.0f} s)"
    )
    return 1 if site.wrong else 0
