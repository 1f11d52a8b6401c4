"""Every format says the same, is read by the program that it is for, and needs nothing from the network."""

from __future__ import annotations

import json
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import program

from derive import render
from derive.errors import DeriveError
from derive.render import html, ipynb, md, outline, pdf, terminal, tex

TEXT_FORMATS = [suffix for suffix in render.RENDERERS if suffix != ".pdf"]


@pytest.mark.parametrize("suffix", TEXT_FORMATS)
def test_every_format_shows_every_step_and_is_the_same_at_every_run(suffix, derivation):
    page = render.RENDERERS[suffix]([derivation])
    assert page == render.RENDERERS[suffix]([derivation])
    for step in derivation.steps:
        assert step.rule in page.lower()
        assert re.sub(r"`.*", "", step.title) in page
    assert "error_bound" in page if suffix == ".json" else "F_p" in page.replace("\\", "")


def test_every_fragment_is_valid_tex_math(derivation, katex):
    for step in derivation.steps:
        for fragment in step.latex(derivation.notation):
            assert "katex-html" in katex(fragment)
    assert "katex-html" in katex(derivation.latex())


def test_katex_refuses_what_is_no_math(katex):
    with pytest.raises(Exception, match="KaTeX parse error"):
        katex(r"\nocommand{x}")


# --- terminal ---------------------------------------------------------------------------------------------------------


def test_terminal_wraps_reasons_and_colours_only_when_asked(derivation):
    plain = derivation.text(width=40)
    assert "\033" not in plain and "`" not in plain
    reasons = [line for line in plain.splitlines() if line.startswith("   ") and not line.startswith("    ")]
    assert reasons and max(map(len, reasons)) <= 40
    coloured = derivation.text(width=40, colour=True)
    assert re.sub(r"\033\[\d*m", "", coloured) == plain != coloured


def test_terminal_numbers_the_steps_in_order(derivation):
    numbers = re.findall(r"^(\d+)\. ", derivation.text(), re.M)
    assert numbers == [str(n) for n, _ in enumerate(derivation.steps, 1)]


@pytest.mark.parametrize("suffix", [".tex", ".html", ".md", ".txt"])
def test_formulas_before_a_step_are_shown_unless_they_stand_right_above(suffix, derivation):
    assert [len(before) for _, _, before in outline.numbered(derivation)] == [0, 0, 0, 1]
    assert [len(step.before) for step in derivation.steps] == [0, 1, 0, 1]
    assert len(re.findall(r"(?i)\bfrom$|>from<", render.RENDERERS[suffix]([derivation]), re.M)) == 1


def test_names_in_prose_are_written_as_the_formulas_write_them(derivation):
    prose = "`h[t-1]`, `U_z`, `h[ T ]`, `z[0]`, `k < t`, `nowhere[t]`"
    assert tex.prose(prose, derivation) == (r"$h_{t-1}$, $U_z$, $h_T$, $z_0$, \texttt{k < t}, \texttt{nowhere[t]}")
    assert md.prose(prose, derivation) == "$h_{t-1}$, $U_z$, $h_T$, $z_0$, `k < t`, `nowhere[t]`"
    assert terminal.prose(prose, derivation) == "h_{t-1}, U_z, h_T, z_0, k < t, nowhere[t]"


def test_the_result_is_what_the_last_step_that_states_it_says(derivation):
    from dataclasses import replace

    border = replace(derivation.steps[0], title="Border cases")
    assert replace(derivation, steps=(*derivation.steps, border)).result == derivation.steps[-1].lines


# --- Markdown and notebook --------------------------------------------------------------------------------------------


def test_markdown_has_a_display_per_fragment_and_escapes_prose(derivation):
    page = derivation.markdown()
    fragments = [f for s in derivation.steps for f in s.latex(derivation.notation)]
    assert page.count("\n$$\n") == 2 * (len(fragments) + 1)
    assert r"A gate & a \<tanh\>" in page and "### 3. Paths from $h_{t-1}$" in page


@pytest.mark.parametrize("sign", "+-=*#>")
def test_markdown_math_has_no_line_that_starts_a_list_or_a_heading(sign):
    shown = md.display(f"a\n  {sign} b\n\nc")
    assert not any(line.strip().startswith(tuple("+-=*#>")) or not line for line in shown.splitlines())
    assert sign in shown


def test_notebook_is_valid_and_asks_for_the_same_derivation(derivation):
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.reads(ipynb.render([derivation]), as_version=4)
    nbformat.validate(notebook)
    (code,) = (cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert "system.derive('dh[t]/dh[t-1]')" in code
    compile(code, "cell", "exec")


def test_notebooks_show_one_rich_form(derivation):
    forms = [name for name in dir(derivation) if name.startswith("_repr_")]
    assert forms == ["_repr_markdown_"]
    assert derivation._repr_markdown_() == derivation.markdown()


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_json_holds_rule_reason_and_both_scripts(derivation):
    (data,) = json.loads(render.json.render([derivation]))["derivations"]
    assert data["query"] == "dh[t]/dh[t-1]" and data["system"] == "gate"
    assert [step["n"] for step in data["steps"]] == [1, 2, 3, 4]
    assert set(data["steps"][0]) == {"n", "rule", "title", "reason", "before", "lines"}
    assert set(data["result"][0]) == {"latex", "text"}
    assert data["verdict"] == {"verdict": "holds", "error_bound": 1e-30}


# --- HTML -------------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Addresses and ids of a page."""

    def __init__(self, source: str):
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if found.get("id") else []
        self.links += [found[key] for key in ("href", "src") if found.get(key)]


def test_html_is_self_contained_and_every_step_has_an_anchor(derivation):
    page = html.render([derivation, derivation])
    seen = Page(page)
    assert len(set(seen.ids)) == len(seen.ids)
    assert [link for link in seen.links if not link.startswith("#")] == []
    assert {link[1:] for link in seen.links} <= set(seen.ids)
    assert {"d1-1", "d1-4", "d2-4"} <= set(seen.ids)
    assert "url(fonts/" not in page and "@import" not in page


def test_html_shows_titles_as_text_never_as_markup(derivation):
    page = html.render([derivation])
    assert "<tanh>" not in page and "&lt;tanh&gt;" in page


def test_html_carries_only_the_fonts_that_it_needs(derivation):
    faces = re.findall(r"@font-face\{[^}]*font-family:KaTeX_(\w+)", html.render([derivation]))
    assert "Main" in faces and "Fraktur" not in faces


def test_html_in_a_browser_renders_every_formula_without_an_error(derivation, tmp_path):
    dom = browse(html.render([derivation]), tmp_path)
    formulas = html.render([derivation]).count('class="formula"')
    assert not refused(dom)
    assert dom.count('class="katex-display"') == formulas


@pytest.mark.parametrize("broken", [r"\nocommand(", r"\frac{("])
def test_a_broken_formula_in_a_page_is_seen_in_the_browser(broken, derivation, tmp_path):
    assert refused(browse(html.render([derivation]).replace(r"\sigma(", broken), tmp_path))


def refused(dom: str) -> bool:
    """Whether KaTeX could not read a formula, or drew a command of it in the colour of errors."""
    return "katex-error" in dom or "#cc0000" in dom


def browse(page: str, folder: Path) -> str:
    """The page's DOM after its scripts have run, in headless Chromium; a message on its console is an error."""
    chromium = program("chromium", "chromium-browser", "google-chrome")
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    quiet = "--disable-background-networking --disable-component-update --disable-sync --disable-quic --no-first-run"
    command = f"{chromium} --headless --no-sandbox --disable-gpu {quiet} --enable-logging=stderr --log-level=0"
    done = subprocess.run(
        [
            *command.split(),
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=10000",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "CONSOLE" not in done.stderr, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return re.sub(r"<(script|style)>.*?</\1>", "", done.stdout, flags=re.S)


# --- TeX and PDF ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "source"),
    [
        ("50 % of a_b", r"50 \% of a\_b"),
        ("σ' = σ − σ²", r"$\sigma$' = $\sigma$ $-$ $\sigma$$^{2}$"),
        ("h̃_t", r"$\tilde{h}$\_t"),
        ("hₜ₋₁", r"h$_{t}$$_{-}$$_{1}$"),
        ("é Ω Α ∘", r"é $\Omega$ $\mathrm{A}$ $\circ$"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
    ],
)
def test_prose_becomes_tex(words, source):
    assert tex.escape(words) == source


def test_one_aligned_block_may_be_broken_across_pages():
    assert tex.display("\\begin{aligned}\na &= b\n\\end{aligned}").startswith(r"\begin{align*}")
    nested = r"\begin{aligned} a &= \begin{aligned} b \end{aligned} \end{aligned}"
    assert nested in tex.display(nested)


def test_the_tex_document_compiles_as_it_is(derivation):
    program("pdflatex")
    data = pdf.render([derivation, derivation])
    assert data.startswith(b"%PDF-")
    assert data == pdf.render([derivation, derivation])


def test_tex_that_does_not_compile_is_a_sentence_with_the_line():
    program("pdflatex")
    with pytest.raises(DeriveError, match=r"pdflatex failed: Undefined control sequence.*l\.2"):
        pdf.compile_tex("\\documentclass{article}\\begin{document}\n\\nocommand\n\\end{document}")


def test_a_missing_tex_is_a_sentence_that_says_what_to_do(derivation, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DeriveError, match=r"needs pdflatex.*write a \.tex or \.html file instead"):
        pdf.render([derivation])


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "a.md"
    render.write(target, "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(DeriveError, match=r"a\.md can't be written: No space left on device"):
        render.write(target, "new")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.md"]


def test_a_written_file_keeps_its_permissions_and_follows_a_link(tmp_path):
    target, link = tmp_path / "a.md", tmp_path / "b.md"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    render.write(link, "new")
    assert link.is_symlink() and target.read_text() == "new" and target.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.htm", r"a\.htm: the suffix \.htm says no format; use one of \.tex .*did you mean \.html\?"),
        ("a", r"a: no suffix says no format"),
    ],
)
def test_an_unknown_suffix_is_a_sentence(name, message):
    with pytest.raises(DeriveError, match=message):
        render.renderer(name)


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(DeriveError, match="can't be written: No such file or directory"):
        render.write(tmp_path / "no" / "a.md", "")


def test_options_are_shown_as_they_are_typed(derivation):
    from dataclasses import replace

    asked = replace(derivation, options={"hold": ("z", "r"), "unroll": 3, "layout": None, "notation": ""})
    assert outline.asked(asked) == "--hold z,r --unroll 3"
    assert "with `--hold z,r --unroll 3`" in md.render([asked])
    assert "hold=('z', 'r'), unroll=3)" in ipynb.render([asked])
    assert "--hold z,r --unroll 3" in terminal.render([asked])
