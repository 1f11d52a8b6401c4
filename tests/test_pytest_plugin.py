"""The claims of documents as test items; a judge made here stands in for the one that takes its time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from made_reports import BALLS, made

from derive import documents
from derive.pytest_plugin import Document, heading
from derive.reader.document import parse
from derive.reader.understand import read
from derive.verdicts.report import Assumption, Diagnosis, FileReport

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parent.parent
HOMEWORK = r"""# Homework

<!-- derive: system gru -->
## S1-1 The Jacobian
$$ \frac{\partial h_t}{\partial h_{t-1}} = \operatorname{diag}(z_t) $$
## Gradients
$$ \frac{\partial L}{\partial U_z} = 0 $$
<!-- derive: skip -->
$$ z_t = 1 $$
$$ a_t = W_z x_t $$
"""


@pytest.fixture
def judge(monkeypatch):
    """Judges every claim as the test says, by its number; what it was asked is kept in `asked`."""

    class Judge:
        def __init__(self):
            self.asked: list[str] = []
            self.fields: dict[int, dict] = {}

        def __call__(self, document: Document) -> FileReport:
            self.asked.append(document.path.name)
            claims = read(document.path).claims
            findings = [made(c, **{"verdict": "holds", **self.fields.get(c.n, {})}) for c in claims]
            document.__dict__["judged"] = file = FileReport(str(document.path), ("gru",), tuple(findings))
            return file

    judged = Judge()
    monkeypatch.setattr(Document, "judged", property(lambda d: d.__dict__.get("judged") or judged(d)))
    return judged


@pytest.fixture(autouse=True)
def alone(request):
    """Hypothesis' own plugin would import it anew in each of the runs inside this one."""
    if "pytester" in request.fixturenames:
        request.getfixturevalue("pytester").makeini("[pytest]\naddopts = -p no:hypothesispytest")


@pytest.fixture
def homework(pytester):
    return write(pytester.path / "homework.md", HOMEWORK)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def collected(pytester, *arguments: str) -> list[str]:
    """The ids of what is collected."""
    run = pytester.runpytest_inprocess("--collect-only", "-q", *arguments)
    return [line for line in run.outlines if "::" in line and not line.startswith("ERROR")]


# --- collecting -------------------------------------------------------------------------------------------------------


def test_every_claim_that_is_not_skipped_is_an_item(pytester, homework, judge):
    assert collected(pytester, "homework.md") == [
        "homework.md::claim 1 (line 5)",
        "homework.md::claim 2 (line 7)",
        "homework.md::claim 4 (line 10)",
    ]
    assert judge.asked == []


@pytest.mark.parametrize(
    ("keyword", "numbers"),
    [
        ("S1-1", [1]),
        ("gradients", [2, 4]),
        ("defines", [4]),
        ("equation and not S1-1", [2]),
        ("U_z", [2]),
        ("gru", [1, 2, 4]),
    ],
    ids=range(6),  # the name of the folder, which is the test's, is a keyword too
)
def test_a_keyword_finds_claims_by_heading_kind_latex_and_system(pytester, homework, judge, keyword, numbers):
    found = collected(pytester, "homework.md", "-k", keyword)
    assert [int(re.search(r"claim (\d+)", line)[1]) for line in found] == numbers


def test_one_claim_can_be_asked_for_by_its_id(pytester, homework, judge):
    pytester.runpytest_inprocess("homework.md::claim 2 (line 7)").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("text", "in_a_folder", "by_name"),
    [
        (HOMEWORK, 3, 3),
        (HOMEWORK.replace("<!-- derive: system gru -->", "").replace("<!-- derive: skip -->", ""), 0, 4),
        ("```html\n<!-- derive: system gru -->\n```\n$$ h_t = 0 $$\n", 0, 1),
        ("A README, `x = 1`, without formulas.\n", 0, 0),
    ],
)
def test_a_document_in_a_folder_is_collected_only_with_a_directive(pytester, judge, text, in_a_folder, by_name):
    write(pytester.path / "pages" / "a.md", text)
    assert len(collected(pytester, "pages")) == in_a_folder
    assert len(collected(pytester, "pages/a.md")) == by_name


def test_latex_and_notebooks_are_documents_too(pytester, judge):
    cell = {"cell_type": "markdown", "source": "<!-- derive: system gru -->\n\n$$ h_t = z_t $$"}
    write(pytester.path / "a.ipynb", json.dumps({"cells": [{"cell_type": "code", "source": ""}, cell]}))
    write(pytester.path / "b.tex", "% derive: system gru\n\\[ h_t = z_t \\]\n")
    write(pytester.path / "c.txt", HOMEWORK)
    assert collected(pytester) == ["a.ipynb::claim 1 (cell 2, line 3)", "b.tex::claim 1 (line 2)"]


def test_a_document_that_cannot_be_used_is_a_sentence(pytester, judge):
    write(pytester.path / "off.md", "\n<!-- derive: hodl z -->\n$$ a = b $$\n")
    run = pytester.runpytest_inprocess("off.md")
    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["*off.md:2:14: there is no directive 'hodl' (did you mean hold[?]);*"])
    run.stdout.no_fnmatch_line("*Traceback*")
    run.stdout.no_fnmatch_line("*raise *")


def test_headings_of_both_kinds_of_document():
    tex = "\\section*{One}\n\\[ a = b \\]\n\\subsection{Two}\n\\[ a = b \\]"
    md = "$$ a = b $$\n# One\n$$ a = b $$\n## Two ##\n$$ a = b $$"
    assert [heading(d) for d in parse(tex, "a.tex", "tex").displays] == ["One", "Two"]
    assert [heading(d) for d in parse(md, "a.md", "md").displays] == ["", "One", "Two ##"]


# --- running ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "plain", "strict"),
    [
        ("holds", "passed", "passed"),
        ("defines", "passed", "passed"),
        ("holds-if", "passed", "failed"),
        ("undecided", "passed", "failed"),
        ("unread", "failed", "failed"),
        ("fails", "failed", "failed"),
    ],
)
def test_a_claim_passes_as_verify_passes_it(pytester, homework, judge, verdict, plain, strict):
    judge.fields[1] = {"verdict": verdict}
    for ini, outcome in (("derive_strict=false", plain), ("derive_strict=true", strict)):
        run = pytester.runpytest_inprocess("homework.md::claim 1 (line 5)", "-o", ini)
        warns = verdict in ("holds-if", "undecided") and outcome == "passed"
        run.assert_outcomes(**{outcome: 1, "warnings": int(warns)})


def test_a_claim_that_passes_under_an_assumption_warns_with_the_assumption(pytester, homework, judge):
    judge.fields[2] = {"verdict": "holds-if", "assumptions": (Assumption("z is held constant", "missing-path"),)}
    run = pytester.runpytest_inprocess("homework.md")
    run.stdout.fnmatch_lines(
        ["*homework.md:7: PytestWarning: claim 2 holds-if (missing-path): Only if: z is held constant"]
    )


@pytest.mark.parametrize(("as_expected", "outcome"), [(True, "passed"), (False, "failed")])
def test_a_mistake_that_is_expected_passes(pytester, homework, judge, as_expected, outcome):
    judge.fields[1] = {"verdict": "fails", "expected": ("fails", None), "as_expected": as_expected}
    pytester.runpytest_inprocess("homework.md::claim 1 (line 5)").assert_outcomes(**{outcome: 1})


def test_a_failure_shows_line_residual_and_repair_and_no_traceback(pytester, homework, judge):
    mended = read(write(pytester.path / "m.md", HOMEWORK.replace("diag}(z_t)", "diag}(1 - z_t)"))).claims[0].formula
    cause = Diagnosis("missing-path", "the path through z is missing", (), None, mended)
    judge.fields[1] = {"verdict": "fails", "causes": (cause,), "certificate": BALLS}
    run = pytester.runpytest_inprocess("homework.md", "--junitxml=out.xml", "-rf")
    run.assert_outcomes(failed=1, passed=2)
    run.stdout.fnmatch_lines(
        [
            "*homework.md:5:4  fails (missing-path)  claim 1",
            "    ∂h_t/∂h_{t-1} = diag(z_t)",
            "    why       the path through z is missing",
            "    repair    ∂h_t/∂h_{t-1} = diag(1 - z_t)",
            "*left 0.2134 ± 1e-52, right 0.1127 ± 1e-52",
            "FAILED homework.md::claim 1 (line 5) - fails (missing-path): the path through*",
        ]
    )
    for word in ("*Traceback*", "*pytest_plugin.py*", "*raise *"):
        run.stdout.no_fnmatch_line(word)
    out = (pytester.path / "out.xml").read_text()
    assert 'message="fails (missing-path): the path through z is missing"' in out and "repair    " in out
    assert '<property name="verdict" value="fails"' in out


def test_the_judge_of_verify_is_the_one_that_judges(pytester):
    true, false = r"1 - (1 - z_t) = z_t", r"1 - z_t = z_t"
    write(pytester.path / "a.md", f"<!-- derive: system gru -->\n$$ {true} $$\n$$ {false} $$\n")
    run = pytester.runpytest_inprocess("a.md")
    run.assert_outcomes(failed=1, passed=1)
    run.stdout.fnmatch_lines(["FAILED a.md::claim 2 (line 3)*"])


def test_a_file_is_judged_once_and_only_when_one_of_its_claims_runs(pytester, homework, judge):
    write(pytester.path / "other.md", HOMEWORK)
    pytester.runpytest_inprocess("homework.md", "other.md", "-k", "homework").assert_outcomes(passed=3, deselected=3)
    assert judge.asked == ["homework.md"]


def test_a_checker_that_breaks_shows_where(pytester, homework, monkeypatch):
    def broken(document):
        raise ZeroDivisionError("a fault of the checker")

    monkeypatch.setattr(Document, "judged", property(broken))
    run = pytester.runpytest_inprocess("homework.md::claim 1 (line 5)")
    run.stdout.fnmatch_lines(["*raise ZeroDivisionError*", "*a fault of the checker"])


# --- ordinary runs ----------------------------------------------------------------------------------------------------


def test_an_ordinary_run_imports_nothing_heavy(tmp_path):
    write(tmp_path / "test_it.py", "def test_it(): pass\n")
    write(tmp_path / "README.md", "$$ a = b $$\n")
    code = "import pytest, sys; r = pytest.main(['-q', '.']); sys.exit(r or any(m in sys.modules for m in ('sympy', 'numpy')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_plugin_installs_with_the_package_under_a_short_name(pytester, homework):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"derive": "derive.pytest_plugin"}
    assert "claim" not in " ".join(collected(pytester, "homework.md", "-p", "no:derive"))


# --- the definitions for pre-commit and GitHub ------------------------------------------------------------------------


def test_the_hook_runs_a_command_that_there_is_on_the_files_that_are_documents():
    from derive.cli import main

    hooks = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    assert "id: derive-verify" in hooks and "language: python" in hooks
    entry = re.search(r"^  entry: derive (\w+)$", hooks, re.MULTILINE)[1]
    with pytest.raises(SystemExit) as end:
        main([entry, "--help"])
    assert end.value.code == 0
    files = re.search(r"^  files: (\S+)$", hooks, re.MULTILINE)[1]
    assert {s for s in (*documents.SUFFIXES, ".txt", ".py") if re.search(files, f"a{s}")} == set(documents.SUFFIXES)


def test_the_hook_installs_what_measures_a_failure():
    hooks = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = json.loads(re.search(r"additional_dependencies: (.*)", hooks)[1])
    assert asked == extras["autograd"]


def test_the_action_passes_its_inputs_as_arguments_never_as_script():
    action = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert "using: composite" in action and "derive verify --format github" in action
    script = re.findall(r"run: \|\n((?:        .*\n|\n)+)", action)
    assert script and not any("${{" in part for part in script)
    given = set(re.findall(r"inputs\.([\w-]+)", action))
    declared = set(re.findall(r"^  ([\w-]+):$", action.partition("\nruns:")[0], re.MULTILINE))
    assert given == declared == {"files", "strict", "python-version"}
