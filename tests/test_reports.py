"""Every format of verdicts says the same, is read by the program that it is for, and lets no document steer it."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from made_reports import FIELD, claims, in_a_notebook, made, whole, written

import derive
from derive.errors import Place
from derive.printing import latex
from derive.printing import text as unicode_text
from derive.reader import directives
from derive.render.reports import FORMATS, github, html, sarif, text, words
from derive.verdicts import report as reports
from derive.verdicts.report import Certificate, Diagnosis, FileReport, Numeric, Report, worst

ROOT = Path(__file__).parent.parent
UNSTEERED = "\x00\x07\x1b\x7f\x9b\u202e\u2066\udc80"
"""Characters that would steer a terminal or the direction of writing, and one that no encoding can write."""

KEYS = {
    *("n", "line", "column", "latex", "read_as", "verdict", "readings", "assumptions", "diagnosis", "inherits"),
    *("certificate", "numeric"),
}
"""What the design asks of a claim in JSON."""


def one(**fields) -> Report:
    """A report of one claim, which fails."""
    finding = replace(made(claims()[1], "fails"), **fields)
    return Report((FileReport("a.md", ("gru",), (finding,)),))


# --- all formats ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_the_same_at_every_run_and_names_every_claim_that_is_wrong(name):
    shown = FORMATS[name](whole())
    assert shown == FORMATS[name](whole()) and shown.endswith("\n")
    assert "missing-path" in shown and "holds-if" in shown and "undecided" in shown and "unread" in shown
    assert "misses the path h_{t-1} → z_t → h_t" in shown
    assert "did you mean hold?" in shown


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_in_a_document_steers_a_terminal(name):
    place = Place(f"a{UNSTEERED}.md", 1, 1)
    finding = replace(
        made(claims()[4], "unread", reason=f"found {UNSTEERED}", caret=f"x{UNSTEERED}\n ^"),
        latex=f"h {UNSTEERED}",
        place=place,
    )
    file = FileReport(place.file, ("gru",), (finding,), f"{place}: off", place)
    shown = FORMATS[name](Report((file,)))
    assert not set(shown) & set(UNSTEERED)
    shown.encode()


def test_the_kinds_and_verdicts_have_their_words():
    assert set(words.KINDS) == set(reports.KINDS) == set(directives.KINDS)
    assert set(reports.VERDICTS) == set(directives.VERDICTS) == set(words.CATEGORIES) - {"as expected", "skipped"}
    assert [name for name in words.CATEGORIES if name in reports.VERDICTS] == list(reports.VERDICTS)


def test_what_is_annotated_is_what_is_not_fine():
    for strict in (False, True):
        for finding in whole().claims:
            assert (words.level(finding, strict) is None) == words.is_fine(finding)


def test_a_bound_is_rounded_up():
    shown = words.certificate(replace(FIELD, error_bound=1.41e-24))
    assert "at most 1.5e-24" in shown and "modulo a prime of 61 bits" in shown


def test_every_method_has_its_words():
    for method in words.METHODS:
        assert words.certificate(Certificate(method)) == words.METHODS[method]


# --- the report itself ------------------------------------------------------------------------------------------------


def test_a_report_shows_itself_in_every_way():
    report = whole()
    assert str(report) == text.render(report)
    assert report.to_dict() == json.loads(FORMATS["json"](report))
    assert report._repr_html_() == html.fragment(report)
    assert [file.file for file in report] == ["home work,1.md", "b\x1b[31m.md"]


def test_the_first_wrong_line_is_one_that_repeats_no_earlier_error():
    findings = whole().files[0].findings
    assert FileReport("a.md", (), findings).first_wrong is findings[1]
    assert FileReport("a.md", (), findings[2:]).first_wrong is findings[8]
    assert FileReport("a.md", (), findings[6:8]).first_wrong is findings[6]


@pytest.mark.parametrize(
    ("verdicts", "plain", "strict"),
    [
        (("holds", "defines"), 0, 0),
        (("holds", "holds-if"), 0, 1),
        (("undecided",), 0, 1),
        (("unread", "holds"), 2, 2),
        (("unread", "fails"), 1, 1),
        (("unread", "undecided"), 2, 1),
        ((), 0, 0),
    ],
)
def test_the_exit_code_is_that_of_the_worst(verdicts, plain, strict):
    findings = tuple(made(claims()[1], verdict) for verdict in verdicts)
    report = Report((FileReport("a.md", (), findings),))
    assert (report.exit_code, replace(report, strict=True).exit_code) == (plain, strict)
    assert bool(report) == (plain == 0)
    assert report.verdict == worst(verdicts)


def test_what_was_expected_counts_as_if_it_held_and_what_was_not_as_a_failure():
    (expected,) = (f for f in whole().claims if f.verdict == "fails" and f.expected)
    assert expected.effective == "holds" and words.category(expected) == "as expected"
    missed = replace(expected, as_expected=False)
    assert missed.effective == "fails" and words.rule(missed) == "unexpected"


# --- text -------------------------------------------------------------------------------------------------------------


def test_text_has_a_line_for_what_holds_and_unfolds_what_does_not():
    shown = text.render(whole())
    assert re.findall(r"^(?:✓|≔|–) .*$", shown, re.M) == [
        "≔ home work,1.md:5:4  defines  a_t = W_z x_t",
        "✓ home work,1.md:15:4  fails, as expected (transpose)  \\frac{\\partial L}{\\partial W_z} = …",
        "– home work,1.md:20:4  skipped  z_t = 𝟏",
        "✓ home work,1.md:22:4  holds  ∂h_t/∂h_{t-1} = ∂h_t/∂h_{t-1}",
    ]
    for sentence in (
        "home work,1.md (gru-before): fails",
        "10 claims: 3 fail, 1 is unread,",
        "the first wrong one is claim 2, line 7, column 4",
        "Repeats the error of claim 2 (line 7).",
        "Only if: ∂h_t/∂U_z is the immediate partial",
        "The document expects: fails sign; found: holds.",
        "autograd: largest relative error 0.24",
        "left 0.2134 ± 1e-52, right 0.1127 ± 1e-52",
        "b.md:3:7: there is no directive 'hodl'",
        "2 files, 10 claims:",
    ):
        assert sentence in " ".join(shown.split())


def test_text_prints_a_repair_to_be_read_and_to_be_pasted():
    shown = text.render(one(causes=(Diagnosis("sign", "a sign", repair=claims()[6].formula),)))
    assert f"repair    {unicode_text(claims()[6].formula)}\n" in shown
    assert f"LaTeX     {latex(claims()[6].formula)}\n" in shown


def test_text_puts_a_caret_under_the_column():
    rows = text.render(whole()).splitlines()
    at = next(n for n, row in enumerate(rows) if "alert(1)" in row)
    assert rows[at + 1].index("^") == rows[at].index("/script")


def test_text_unfolds_everything_if_asked_and_colours_only_then():
    plain, verbose = text.render(whole()), text.render(whole(), verbose=True)
    assert plain.count("shown by") == 2 < verbose.count("shown by") == 3
    assert "\033" not in verbose
    coloured = text.render(whole(), colour=True)
    assert re.sub(r"\033\[\d*m", "", coloured) == plain != coloured


def test_text_keeps_to_its_width():
    (long,) = (f for f in whole().claims if f.numeric and f.verdict == "fails")
    rows = text.finding(long, whole().files[0], width=50).splitlines()[1:]
    sentences = [row for row in rows if not row.startswith("    ∂") and "frac" not in row and "repair" not in row]
    assert len(sentences) > 5 and max(map(len, sentences)) <= 50


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_json_has_the_keys_of_the_design():
    data = json.loads(FORMATS["json"](whole()))
    first = data["files"][0]
    assert {"file", "system", "verdict", "first_wrong", "claims"} <= set(first)
    assert (first["system"], first["verdict"], first["first_wrong"]) == ("gru-before", "fails", 2)
    assert all(set(claim) >= KEYS for claim in first["claims"])
    wrong, conditional = first["claims"][1:3]
    assert set(wrong["diagnosis"]) >= {"kind", "paths", "missing", "repair"}
    assert wrong["diagnosis"]["paths"] == [["h[t-1]", "z[t]", "h[t]"]]
    assert wrong["diagnosis"]["repair"] == latex(claims()[6].formula)
    assert wrong["numeric"] == {"oracle": "autograd", "max_rel_err": 0.2389}
    assert conditional["assumptions"] == ["∂h_t/∂U_z is the immediate partial"]
    assert {"method": "field", "prime_bits": 61, "seeds": 2, "error_bound": 1.41e-24}.items() <= conditional[
        "certificate"
    ].items()
    assert data["files"][1]["trouble"] == {
        "message": "b.md:3:7: there is no directive 'hodl' (did you mean hold?)",
        "line": 3,
        "column": 7,
    }


def test_json_holds_no_time_and_no_number_that_json_lacks():
    slow = [replace(file, seconds=7.5) for file in whole()]
    assert FORMATS["json"](Report(tuple(slow))) == FORMATS["json"](whole())
    for error in (float("nan"), float("inf")):
        (claim,) = json.loads(FORMATS["json"](one(numeric=Numeric("autograd", error))))["files"][0]["claims"]
        assert claim["numeric"] == {"oracle": "autograd", "max_rel_err": None}


# --- JUnit ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("strict", "failures", "skipped"), [(False, 3, 2), (True, 5, 1)])
def test_junit_counts_what_it_holds(strict, failures, skipped):
    root = ElementTree.fromstring(FORMATS["junit"](whole(strict)).encode())
    assert [root.get(key) for key in ("tests", "failures", "errors", "skipped")] == [
        *("11", str(failures)),
        *("2", str(skipped)),
    ]
    for suite in root:
        assert int(suite.get("tests", "")) == len(suite.findall("testcase"))
        assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure"))
    assert root[0].get("time") == "0.250"
    failure = root.find(".//failure")
    assert failure.get("type") == "fails/missing-path" and "repair" in failure.text
    names = [case.get("name") for case in root[0]]
    assert len(set(names)) > 6 and names[1] == "claim 2 (line 7, column 4)"


# --- SARIF ------------------------------------------------------------------------------------------------------------


def test_sarif_has_what_its_schema_requires():
    log = json.loads(FORMATS["sarif"](whole()))
    assert set(log) == {"$schema", "version", "runs"} and log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert set(run) <= {"tool", "columnKind", "originalUriBaseIds", "results"}
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert run["tool"]["driver"]["name"] == "derive" and len(set(rules)) == len(rules)
    assert {f"fails/{kind}" for kind in reports.KINDS} <= set(rules)
    for result in run["results"]:
        assert set(result) == {"ruleId", "ruleIndex", "level", "message", "locations"}
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error") and result["message"]["text"]
        (location,) = result["locations"]
        region = location["physicalLocation"]["region"]
        assert region["startLine"] >= 1 and region["startColumn"] >= 1


def test_sarif_annotates_the_wrong_line_with_its_repair():
    results = json.loads(FORMATS["sarif"](whole()))["runs"][0]["results"]
    assert [(r["ruleId"], r["level"]) for r in results] == [
        ("fails/missing-path", "error"),
        ("holds-if", "note"),
        ("unread", "warning"),
        ("fails/unknown", "warning"),
        ("undecided", "note"),
        ("unexpected", "error"),
        ("unread", "error"),
    ]
    first = results[0]["locations"][0]["physicalLocation"]
    assert first["artifactLocation"] == {"uri": "home%20work%2C1.md", "uriBaseId": "%SRCROOT%"}
    assert (first["region"]["startLine"], first["region"]["startColumn"]) == (7, 4)
    assert "Repair: ∂h_t/∂h_{t-1} = " in results[0]["message"]["text"]


def test_sarif_names_files_relative_to_where_derive_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, uri in (
        (tmp_path / "a" / "b.md", "a/b.md"),
        ("./a/../c.md", "c.md"),
        (tmp_path.parent / "d.md", (tmp_path.parent / "d.md").as_uri()),
    ):
        assert sarif._artifact(str(name))["uri"] == uri


# --- GitHub -----------------------------------------------------------------------------------------------------------


def test_github_has_a_command_for_each_claim_that_is_not_fine():
    lines = github.render(whole()).splitlines()
    commands = [line.split(" ")[0] for line in lines if line.startswith("::")]
    assert commands == ["::error", "::notice", "::warning", "::warning", "::notice", "::error", "::error"]
    assert lines[0].startswith("::error file=home work%2C1.md,title=claim 2 fails (missing-path),line=7,col=4::∂h_t")
    assert "%0Arepair: ∂h_t/∂h_{t-1} = " in lines[0]
    strict = github.render(whole(strict=True)).splitlines()
    assert [line.split(" ")[0] for line in strict if line.startswith("::")].count("::warning") == 4


def test_github_escapes_what_would_end_a_property_or_a_line():
    report = one(reason="100 %\r\n::error::x", place=Place("a.md", 3, 1))
    (command, last) = github.render(Report((replace(report.files[0], file="a,b:c%.md\n"),))).splitlines()
    assert command.startswith("::error file=a%2Cb%3Ac%25.md%0A,title=") and "::100 %25\ufffd%0A::error::x" in command
    assert last.startswith("derive verify: a,b:c%25.md%0A: fails")


@pytest.mark.parametrize("name", ["github", "sarif"])
def test_a_line_of_a_notebooks_cell_is_not_taken_for_one_of_its_file(name):
    shown = FORMATS[name](in_a_notebook())
    assert "cell 3, line 5, column 1".replace(",", "%2C" if name == "github" else ",") in shown
    assert "line=5" not in shown and "region" not in shown


# --- HTML -------------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a page holds: ids, links, sources of formulas, and its text."""

    def __init__(self, source: str):
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.copies: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.ids += [found["id"]] if found.get("id") else []
        self.links += [found[key] for key in ("href", "src") if found.get(key)]
        self.copies += [found["data-copy"]] if "data-copy" in found else []

    def handle_data(self, data):
        if self.tags[-1:] != ["script"] and self.tags[-1:] != ["style"]:
            self.text += data


def test_html_is_self_contained_and_links_the_first_wrong_line():
    page = Page(html.render(whole()))
    assert len(set(page.ids)) == len(page.ids) and {"f1", "f2", "f1-1", "f1-10"} <= set(page.ids)
    assert [link for link in page.links if not link.startswith("#")] == []
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert "#f1-2" in page.links and "first wrong: line 7, column 4" in page.text


def test_html_offers_every_repair_to_be_copied():
    assert set(written(whole())) <= set(Page(html.render(whole())).copies)


def test_html_says_every_verdict_in_words_and_shows_a_document_as_text_only():
    source = html.render(whole())
    page = Page(source)
    for category in words.CATEGORIES:
        assert f'data-filter="{category.replace(" ", "-")}"' in source
        assert category in page.text
    assert "alert(1)</script>" in page.text and "<script>alert" not in source
    assert page.tags.count("script") == 2


@pytest.mark.parametrize("evil", ["<img src=x>", '" onclick="x', "</script>", "&lt;b&gt;", "$x$"])
def test_html_escapes_what_a_document_says(evil):
    finding = replace(made(claims()[4], "unread", reason=evil), latex=evil, place=Place(evil, 1, 1))
    report = Report((FileReport(evil, (evil,), (finding,), evil, None),))
    for source in (html.render(report), html.fragment(report)):
        page = Page(source)
        assert page.text.count(evil) >= 3
        assert "img" not in page.tags and "onclick=" not in re.sub(
            r'"[^"]*"|&quot;[^<]*', "", source.split("</style>")[-1]
        )


def test_a_notebook_gets_tables_without_scripts_and_without_dollars():
    shown = html.fragment(one(reason="found $x$ here", caret=""))
    page = Page(shown)
    assert not {"script", "style", "link"} & set(page.tags)
    assert "$" not in re.sub(r"<code>.*?</code>", "", shown) and "found $x$ here" in page.text
    assert page.tags.count("tr") == 2 and unicode_text(claims()[1].formula) in page.text


def test_every_formula_of_a_page_is_valid_tex_math(katex):
    from html import unescape

    sources = re.findall(r'data-tex="display" tabindex="0">(.*?)</div>', html.render(whole()), re.S)
    assert len(sources) > 9
    for source in sources:
        assert "katex-html" in katex(unescape(source))


# --- definitions for other programs -----------------------------------------------------------------------------------


def test_the_files_of_the_pages_are_packaged():
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "package-data"
    ]
    files = {path for pattern in packaged["derive"] for path in Path(derive.__file__).parent.glob(pattern)}
    assert {html.HERE / "report.css", html.HERE / "report.js"} <= files
