"""The documents of `derivations/`: every formula of every one is judged, and each exercise has a page and a command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from derive import catalogue
from derive.cli import main
from derive.reader.document import read
from derive.verdicts.verify import verify_file

FOLDER = Path(__file__).parents[1] / "derivations"
DOCUMENTS = sorted(path.name for path in FOLDER.glob("*.md") if path.stem != "README")
EXERCISES = 17


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_display_formula_is_judged_as_it_should_be(name):
    report = verify_file(FOLDER / name)
    assert report.trouble is None
    wrong = [
        f"{f.place}: {f.effective} ({f.verdict}): {f.latex}"
        for f in report.findings
        if f.effective not in ("holds", "defines") or f.skipped
    ]
    assert not wrong, "\n".join(wrong)
    displays = {display.n for display in read(FOLDER / name).displays}
    assert {f.display for f in report.findings} == displays, "a display formula makes no claim"


def rows() -> list[tuple[str, ...]]:
    """The cells of the table of exercises."""
    lines = re.findall(r"^\|\s*\d+\s*\|.*\|$", (FOLDER / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines]


def test_every_exercise_names_a_page_and_every_document_is_named():
    found = rows()
    assert [int(number) for number, *_ in found] == list(range(1, EXERCISES + 1))
    pages = [re.findall(r"\(([\w-]+\.md)\)", page) for _, _, page, _ in found]
    assert all(pages) and all((FOLDER / page).is_file() for row in pages for page in row)
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in DOCUMENTS if f"]({name})" not in text] == []


COMMANDS = sorted({command for *_, cell in rows() for command in re.findall(r"`([^`]+)`", cell)})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_table_does_what_it_says(command, monkeypatch, capsys):
    monkeypatch.chdir(FOLDER.parent)
    assert main(shlex.split(command)[1:]) == 0, capsys.readouterr()
    assert len(capsys.readouterr().out) > 200


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_has_what_a_worked_solution_has(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert text.startswith("# ") and headings[-1] == "Try it"
    assert len(set(headings)) == len(headings), "two headings have one anchor"
    assert "```derive" in text or name == "clipping.md", "nothing is derived"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_commands_of_a_document_name_what_there_is(name):
    """The words of a shell block: a command of derive's, and a system or a file that exists."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    for line in re.findall(
        r"^(?:derive) .+$", "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)), re.MULTILINE
    ):
        _, command, subject, *_ = shlex.split(line, comments=True)
        assert command in ("solve", "show", "verify", "check", "export", "plot", "prove"), line
        if "--spec" in line:
            continue  # its subject is a network, typed
        if "/" in subject:
            assert (FOLDER.parent / subject.partition(":")[0]).exists(), line
        else:
            catalogue.load(subject)
