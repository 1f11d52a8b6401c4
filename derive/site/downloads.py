"""A sheet as files to take away: LaTeX, PDF where there is a TeX, a notebook, the document's own Markdown, modules."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from derive import catalogue
from derive.errors import DeriveError
from derive.render import ipynb, md, pdf
from derive.render import tex as tex_format
from derive.site import prose
from derive.site.sheet import Algorithm, Drawn, Formula, Listing, Prose, Sheet, Table, Worked


@dataclass(frozen=True)
class Download:
    """A file beside a page: its name, what the link says, what is in it."""

    name: str
    said: str
    content: str | bytes


def downloads(sheet: Sheet) -> Iterator[Download]:
    """All that can be made of the sheet on this machine."""
    stem = PurePosixPath(sheet.path).name
    source = tex(sheet)
    yield Download(f"{stem}.tex", "LaTeX", source)
    if shutil.which("pdflatex"):
        try:
            yield Download(f"{stem}.pdf", "PDF", pdf.compile_tex(source if has_tikz() else tex(sheet, pictures=False)))
        except DeriveError as error:
            raise DeriveError(f"{sheet.path}.tex: {error}") from None
    yield Download(f"{stem}.ipynb", "Notebook", notebook(sheet))
    if sheet.source:
        yield Download(f"{stem}.md", "Markdown", sheet.source)
    yield from _modules(sheet, stem)


def _modules(sheet: Sheet, stem: str) -> Iterator[Download]:
    """The code of the page's own systems; what has a function without a formula has none."""
    own = [s for s in sheet.systems if sheet.path.startswith("systems/") or s.name not in catalogue.names()]
    for number, system in enumerate(own, 1):
        try:
            source = system.compile("numpy").source
        except DeriveError:
            continue
        name = re.sub(r"\W", "_", stem) + (f"_{number}" if len(own) > 1 else "")
        yield Download(f"{name}.py", f"NumPy module of {system.name}" if len(own) > 1 else "NumPy module", source)


@cache
def has_tikz() -> bool:
    """Whether the TeX of this machine can draw."""
    program = shutil.which("kpsewhich")
    return program is not None and subprocess.run([program, "tikz.sty"], capture_output=True).returncode == 0


# --- LaTeX ------------------------------------------------------------------------------------------------------------


def tex(sheet: Sheet, pictures: bool = True) -> str:
    """The sheet as an article that compiles as it is; without `pictures` it says in words what they show."""
    drawn = "\\usepackage{tikz}\n" if pictures and any(isinstance(block, Drawn) for block in sheet.blocks) else ""
    paper = Paper(pictures)
    body = "".join(TEX[type(block)](block, paper) for block in sheet.blocks)
    title = prose.tex(f"# {sheet.title}").strip().removeprefix("\\section*{").removesuffix("}")
    return (
        f"{tex_format.PREAMBLE}{drawn}\n\\begin{{document}}\n"
        f"{{\\LARGE\\bfseries {title}\\par}}\n\\bigskip\n{body}\n\\end{{document}}\n"
    )


@dataclass
class Paper:
    """What a document is written with: whether it can be drawn in, and the steps that stand in it so far."""

    pictures: bool
    steps: set[tuple[Any, ...]] = field(default_factory=set)


def _prose_tex(block: Prose, _: Paper) -> str:
    return prose.tex(block.text)


def _formula_tex(block: Formula, _: Paper) -> str:
    said = [said for finding in block.findings if (said := _said(finding))]
    return tex_format.display(block.latex) + "\n" + "".join(f"{{\\small {tex_format.escape(s)}\\par}}\n" for s in said)


def _said(finding: Any) -> str:
    """What has to be said of a formula on paper: nothing where it simply holds."""
    said = SAID.get(finding.verdict, "")
    reasons = [cause.sentence for cause in finding.causes] or [one.sentence for one in finding.assumptions]
    return f"{said}: {'; '.join(reasons)}." if said and reasons else said and f"{said}."


SAID = {
    "fails": "This line is wrong",
    "holds-if": "This line holds only if",
    "undecided": "This line is undecided",
    "unread": "This line can't be read as a formula",
}


def _worked_tex(block: Worked, paper: Paper) -> str:
    if block.result_only:
        return "".join(tex_format.display(f) + "\n" for f in block.derivation.result_fragments())
    return "\n".join(tex_format.section(block.derivation, paper.steps)) + "\n"


def _drawn_tex(block: Drawn, paper: Paper) -> str:
    shown = block.picture.tikz() if paper.pictures else f"\\emph{{{tex_format.escape(block.picture.alt)}}}"
    return f"\\begin{{center}}\n{shown}\n\n{{\\small {tex_format.escape(block.picture.title)}}}\n\\end{{center}}\n\n"


def _listing_tex(block: Listing, _: Paper) -> str:
    return "" if block.title else prose.verbatim(block.source)


def _algorithm_tex(block: Algorithm, _: Paper) -> str:
    return f"\\subsection*{{{tex_format.escape(block.title)}}}\n{block.tex}\n"


def _table_tex(block: Table, _: Paper) -> str:
    return prose.tex(_markdown_table(block))


TEX: dict[type, Callable[[Any, Paper], str]] = {
    Prose: _prose_tex,
    Formula: _formula_tex,
    Worked: _worked_tex,
    Drawn: _drawn_tex,
    Listing: _listing_tex,
    Algorithm: _algorithm_tex,
    Table: _table_tex,
}


def _markdown_table(block: Table) -> str:
    rows = [block.head, ("---",) * len(block.head), *block.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


# --- notebooks --------------------------------------------------------------------------------------------------------


def notebook(sheet: Sheet) -> str:
    """The sheet as a notebook: what a derivation or a picture comes from is a cell that can be run."""
    cells = [ipynb.markdown_cell(f"# {sheet.title}")]
    for block in sheet.blocks:
        cells += CELLS[type(block)](block)
    return ipynb.notebook(cells)


def _prose_cells(block: Prose) -> Iterator[dict[str, Any]]:
    text = re.sub(r"<!--.*?-->", "", block.text, flags=re.DOTALL)
    if text.strip():
        yield ipynb.markdown_cell(text.strip())


def _formula_cells(block: Formula) -> Iterator[dict[str, Any]]:
    said = "".join(f"\n\n*{s}*" for f in block.findings if (s := _said(f)))
    yield ipynb.markdown_cell(f"$$\n{block.latex}\n$$" + said)


def _worked_cells(block: Worked) -> Iterator[dict[str, Any]]:
    found = block.derivation
    yield ipynb.code_cell(block.python)
    if block.result_only:
        yield ipynb.markdown_cell("\n\n".join(map(md.display, found.result_fragments())))
    else:
        yield ipynb.markdown_cell("\n\n".join(list(md.section(found))[1:]))


def _drawn_cells(block: Drawn) -> Iterator[dict[str, Any]]:
    yield ipynb.code_cell(block.python)


def _listing_cells(block: Listing) -> Iterator[dict[str, Any]]:
    yield ipynb.markdown_cell(f"```{block.language}\n{block.source}```")


def _algorithm_cells(block: Algorithm) -> Iterator[dict[str, Any]]:
    yield ipynb.markdown_cell(f"**{block.title}**\n\n$$\n{block.latex}\n$$")


def _table_cells(block: Table) -> Iterator[dict[str, Any]]:
    yield ipynb.markdown_cell(_markdown_table(block))


CELLS: dict[type, Callable[[Any], Iterator[dict[str, Any]]]] = {
    Prose: _prose_cells,
    Formula: _formula_cells,
    Worked: _worked_cells,
    Drawn: _drawn_cells,
    Listing: _listing_cells,
    Algorithm: _algorithm_cells,
    Table: _table_cells,
}
