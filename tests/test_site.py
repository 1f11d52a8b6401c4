"""The site: what fenced blocks ask for, what pages say, that all of it renders, fits and leads somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections import Counter
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from conftest import program

from derive import catalogue
from derive.errors import DeriveError
from derive.reader.document import parse
from derive.reader.understand import understand
from derive.site import asked, build, documents, formulas, prose
from derive.site import page as pages_html
from derive.site.sheet import Drawn, Sheet, Worked

ROOT = Path(__file__).parents[1]
PAGES = build.pages(ROOT)


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The whole site, built once."""
    out = tmp_path_factory.mktemp("site")
    made = build.build(ROOT, out, jobs=2)
    assert not made.wrong, "\n".join(made.wrong)
    assert made.made == len(PAGES) and made.formulas > 3000
    return out


def page(site: Path, path: str) -> str:
    return (site / f"{path}.html").read_text(encoding="utf-8")


def outside_formulas(html: str) -> str:
    """A page's text and elements without KaTeX's and without code."""
    html = re.sub(r"<annotation.*?</annotation>", "", html, flags=re.DOTALL)
    return re.sub(r"<(pre|code|svg|style)\b.*?</\1>", "", html, flags=re.DOTALL)


# --- fenced blocks ----------------------------------------------------------------------------------------------------


def blocks(text: str, before: str = "<!-- derive: system gru -->\n") -> list:
    (one,) = understand(parse(f"{before}\n```derive\n{text}\n```\n", "doc.md", "md")).queries
    return list(asked.blocks(one, "gru"))


def test_a_block_is_answered_line_by_line_for_the_system_that_the_document_speaks_of():
    first, second, third = blocks(
        "dh[t]/dh[t-1] --hold z\n\n# a remark\nadjoint --system jordan --result\nplot graph dh[t]/dh[t-1]"
    )
    assert (
        isinstance(first, Worked)
        and first.derivation.system.name == "gru"
        and first.derivation.options["hold"] == ("z",)
    )
    assert first.derivation.verdict
    assert isinstance(second, Worked) and second.derivation.system.name == "jordan" and second.result_only
    assert isinstance(third, Drawn)
    commands = [block.command for block in (first, second, third)]
    assert commands == [
        "derive solve gru 'dh[t]/dh[t-1]' --hold z",
        "derive solve jordan adjoint",
        "derive plot gru graph 'dh[t]/dh[t-1]'",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("dq[t]/dh[t-1]", "asks for q, which gru does not have"),
        ("adjoint --nonsense", "unrecognized arguments: --nonsense"),
        ("adjoint --system grru", "did you mean gru"),
        ("plot nonsense", "nonsense"),
        ("adjoint 'open", "No closing quotation"),
    ],
)
def test_a_block_that_can_t_be_answered_says_why_and_where(line, said):
    with pytest.raises(DeriveError, match=re.escape(said)) as caught:
        blocks(f"adjoint\n{line}")
    assert str(caught.value).startswith("doc.md:5:1: the block asks for")


def test_a_query_of_several_words_is_one_word_of_its_command():
    (block,) = blocks("paths h[t] <- h[t-1] --hold z")
    assert block.command == "derive solve gru 'paths h[t] <- h[t-1]' --hold z"


def test_a_step_of_words_alone_is_left_out_only_where_the_same_words_stand_above():
    worked = blocks("dh[t]/dh[t-1] --hold z\ndh[t]/dh[t-1] --hold r\ndh[t]/dh[t-1] --hold z")
    html = pages_html.html(Sheet("derivations/doc", "Doc", tuple(worked)), (), (None, None))
    assert html.count("Nothing flows through") == 2, "z and r, and z again is as above"


def test_prove_draws_the_automaton_of_the_claim_above(tmp_path):
    document = tmp_path / "net.md"
    define = "<!-- derive: scalar -->\n<!-- derive: declare h x: scalar -->\n<!-- derive: define -->\n"
    define += "$$\nh_t = f(h_{t-1} + x_t)\n$$\n"
    given, claim = "\n$$\nf(z) = [z > 1.5],\\quad h_0 = 1\n$$\n", "\n$$\nh_t = h_{t-1} x_t\n$$\n"
    document.write_text(define + given + claim + "\n```derive\nprove\n```\n", encoding="utf-8")
    sheet = documents.sheet(document, "net", "net.md")
    (drawn,) = (block for block in sheet.blocks if isinstance(block, Drawn))
    assert drawn.command == "derive prove net.md" and drawn.picture.title.startswith(
        "h_t = h_{t-1} x_t: 2 reachable states"
    )
    assert "from 0 input 0 leads to 1 with the answer 0" in drawn.picture.alt
    assert "from 1 input 0 or 1 leads to 1 with the answer 0" in drawn.picture.alt


def test_a_block_without_a_system_says_what_to_write():
    with pytest.raises(DeriveError, match="write --system NAME, or `derive: system NAME` above"):
        blocks("adjoint", before="")


# --- prose and formulas -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("markdown", "html", "tex"),
    [
        ("a *b* `c_d` $x_t$", '<em>b</em> <code>c_d</code> <span data-tex="inline">x_t</span>', r"\emph{b} \texttt{c\_d} $x_t$"),
        ("- a\n- b", "<ul>\n<li>a</li>", "\\begin{itemize}\n\\item a"),
        ("| a | b |\n|---|---|\n| $x$ | 50 % |", "<th>a</th>", r"$x$ & 50 \%"),
        ("<script>alert(1)</script>", "&lt;script&gt;", ""),
        ("a <!-- derive: skip --> b", "<p>a  b</p>", "a  b"),
        ("it costs $5 and $6", "it costs $5 and $6", r"\$5 and \$6"),
    ],
)  # fmt: skip
def test_prose_in_both_formats(markdown, html, tex):
    assert html in prose.html(markdown)
    assert tex in prose.tex(markdown)


def test_a_formula_that_katex_refuses_stops_the_build():
    with pytest.raises(DeriveError, match=r"KaTeX refuses '\\\\nonsense'"):
        formulas.typeset('<div class="formula" data-tex="display">\\nonsense</div>')


def test_what_is_folded_is_tried_and_left_to_the_script():
    folded = formulas.later('<div class="formula" data-tex="display">x_t</div>')
    assert formulas.typeset(folded) == folded and "data-later" in folded
    with pytest.raises(DeriveError):
        formulas.typeset(folded.replace("x_t", r"\nonsense"))


# --- the whole site ---------------------------------------------------------------------------------------------------


def test_every_document_and_every_system_has_a_page_and_its_downloads(site):
    for one in PAGES:
        html = page(site, one.path)
        assert html.count("<h1") == 1 and '<html lang="en">' in html
        for name in re.findall(r'<a href="([^"]+)" download>', html):
            assert (site / one.path).parent.joinpath(name).stat().st_size > 100, name
        assert f"{Path(one.path).name}.tex" in html and f"{Path(one.path).name}.ipynb" in html
    assert {p.system for p in PAGES if p.system} == set(catalogue.names())


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    broken, loaded = [], []
    for file in site.rglob("*.html"):
        html = file.read_text(encoding="utf-8")
        anchors = Counter(re.findall(r'\bid="([^"]+)"', html))
        assert not (twice := [a for a, n in anchors.items() if n > 1]), f"{file.name}: {twice}"
        loaded += re.findall(r'(?:src|<link[^>]*href)="(https?:[^"]+)"', html)
        for address in re.findall(r'\bhref="([^"]+)"', html):
            path, _, anchor = unescape(address).partition("#")
            if "://" in path:
                continue
            target = (file.parent / path).resolve() if path else file
            if not target.is_file() or (anchor and f'id="{anchor}"' not in target.read_text(encoding="utf-8")):
                broken.append(f"{file.relative_to(site)}: {address}")
    assert not loaded and not broken, "\n".join(broken)


def test_no_dollar_sign_and_no_error_of_katex_is_left_on_a_page(site):
    for file in site.rglob("*.html"):
        html = outside_formulas(file.read_text(encoding="utf-8"))
        assert "katex-error" not in html, file
        assert "$" not in re.sub(r"<[^>]*>", "", html), file


def test_every_picture_says_in_words_what_it_shows(site):
    found = 0
    for file in site.rglob("*.html"):
        for svg in re.findall(r"<svg\b.*?</svg>", file.read_text(encoding="utf-8"), re.DOTALL):
            if "katex" in svg or "derive-picture" not in svg:
                continue
            tree = ElementTree.fromstring(svg)
            found += 1
            assert tree.get("role") == "img" and len("".join(tree.find("{*}desc").itertext())) > 40
    assert found > 20


def test_every_notebook_is_one_and_its_code_compiles(site):
    for file in site.rglob("*.ipynb"):
        notebook = nbformat.read(file, 4)
        nbformat.validate(notebook)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                compile(cell.source, str(file), "exec")


def test_every_page_was_compiled_by_tex(site):
    program("pdflatex")
    for one in PAGES:
        assert (site / f"{one.path}.pdf").read_bytes().startswith(b"%PDF"), one.path


# --- what changed -----------------------------------------------------------------------------------------------------


def small(root: Path) -> Path:
    """A folder with one document."""
    (root / "derivations").mkdir(exist_ok=True)
    document = root / "derivations" / "small.md"
    document.write_text("# Small\n\nA rule.\n\n<!-- derive: system irnn -->\n\n$$\nh_t = 2 h_t\n$$\n", encoding="utf-8")
    return document


def test_only_what_changed_is_made_again_and_what_is_gone_goes(tmp_path, monkeypatch):
    every = build.pages
    monkeypatch.setattr(build, "pages", lambda root: [p for p in every(root) if p.system in ("", "irnn")])
    document, out = small(tmp_path), tmp_path / "site"
    first = build.build(tmp_path, out)
    assert first.made == 2 and list(first.wrong) == ["derivations/small: formula of line 8 fails"]
    assert build.build(tmp_path, out).made == 0
    (out / "systems" / "irnn.tex").unlink()
    assert build.build(tmp_path, out).made == 1
    document.write_text(document.read_text().replace("2 h_t", "h_t"), encoding="utf-8")
    again = build.build(tmp_path, out)
    assert again.made == 1 and not again.wrong
    document.rename(document.with_name("other.md"))
    build.build(tmp_path, out)
    assert not (out / "derivations" / "small.html").exists() and (out / "derivations" / "other.html").exists()


def test_a_page_that_can_t_be_made_is_one_sentence_and_the_others_are_kept(tmp_path, monkeypatch, capsys):
    every = build.pages
    monkeypatch.setattr(build, "pages", lambda root: [p for p in every(root) if p.system in ("", "irnn")])
    document, out = small(tmp_path), tmp_path / "site"
    text = document.read_text(encoding="utf-8")
    document.write_text(f"{text}\n```derive\ndh[t]/dq[t]\n```\n", encoding="utf-8")
    assert build.run(tmp_path, out, jobs=1, anew=False) == 2
    said = capsys.readouterr().err
    assert "small.md:12:1: the block asks for 'dh[t]/dq[t]': " in said and said.count("\n") == 1
    assert (out / "systems" / "irnn.html").exists() and not (out / "derivations").exists()
    document.write_bytes(text.encode() + b"\xff")
    assert build.run(tmp_path, out, jobs=1, anew=False) == 2
    assert "a document is UTF-8, found the byte 0xff" in capsys.readouterr().err
    document.write_text(text, encoding="utf-8")
    assert build.build(tmp_path, out).made == 1  # the other page was kept
    assert build.run(tmp_path, document, jobs=1, anew=False) == 2
    assert capsys.readouterr().err == f"build_docs: the folder {document} can't be made: Not a directory\n"


def test_the_same_source_gives_the_same_page(tmp_path):
    one = next(p for p in PAGES if p.path.endswith("skip-connection"))
    for name in ("a", "b"):
        build.make(one, ROOT, tmp_path / name)
    for file in (tmp_path / "a").rglob("*.*"):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes(), file.name


# --- a browser --------------------------------------------------------------------------------------------------------

SCREENS = (380, 1280)
SAMPLE = ("index", "derivations/gru-gradient", "derivations/threshold-networks", "derivations/how-a-verdict-is-reached",
          "derivations/marked/text-003", "systems/mdlstm", "systems/stacked-lstm")  # fmt: skip

MEASURE = r"""
<!DOCTYPE html><meta charset="utf-8"><body>
<script>
const scrolled = ".katex, .formula, .code, .table, table, svg, .algorithm";
const wide = (page) => [...page.querySelectorAll("main *")].filter((e) => !e.closest(scrolled)
  && e.getBoundingClientRect().right > page.documentElement.clientWidth + 1).map((e) => e.outerHTML.slice(0, 150));
const measure = async (frame) => {
  const page = frame.contentDocument, root = page.documentElement;
  for (const details of page.querySelectorAll(".worked details")) details.open = true;
  await new Promise((done) => setTimeout(done, 300));
  return {
    overflow: root.scrollWidth - root.clientWidth,
    wide: wide(page),
    later: page.querySelectorAll("[data-later]").length,
    refused: page.querySelectorAll(".katex-error").length,
    copies: page.querySelectorAll(".formula").length - page.querySelectorAll("[aria-label='Copy this formula as LaTeX']").length,
  };
};
(async () => {
  const found = {};
  for (const [path, width] of PLACES) {
    const frame = Object.assign(document.createElement("iframe"), { width, height: 900, src: path });
    await new Promise((done) => { frame.onload = done; document.body.append(frame); });
    found[`${path} at ${width}`] = await measure(frame);
    frame.remove();
  }
  document.body.append(Object.assign(document.createElement("pre"), { id: "found", textContent: JSON.stringify(found) }));
})();
</script>
"""


@pytest.fixture
def served(site):
    """The site at an address of this machine, as a browser wants it to look into frames."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_pages_fit_every_screen_without_a_message_on_the_console(site, served, tmp_path):
    chromium = program("chromium", "chromium-browser", "google-chrome")
    places = [[f"{path}.html", width] for path in SAMPLE for width in SCREENS]
    (site / "measure.html").write_text(MEASURE.replace("PLACES", json.dumps(places)), encoding="utf-8")
    quiet = "--disable-background-networking --disable-component-update --disable-sync --disable-quic --no-first-run"
    command = f"{chromium} --headless --no-sandbox --disable-gpu {quiet} --enable-logging=stderr --log-level=0"
    done = subprocess.run(
        [*command.split(), f"--user-data-dir={tmp_path}", "--virtual-time-budget=60000", "--dump-dom", f"{served}/measure.html"],
        capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    (site / "measure.html").unlink()
    assert "CONSOLE" not in done.stderr, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    found = json.loads(unescape(re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)[1]))
    assert len(found) == len(places)
    for place, measured in found.items():
        assert measured == {"overflow": 0, "wide": [], "later": 0, "refused": 0, "copies": 0}, place
