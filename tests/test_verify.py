"""Verdicts on documents: the five texts line by line, what a verdict rests on, what the command says."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

import derive
from derive.cli import main
from derive.reader import document
from derive.verdicts.report import FileReport, Finding, worst
from derive.verdicts.verify import BROKEN, verify_file

FOLDER = Path(__file__).parents[1] / "derivations" / "marked"
TEXTS = ("text-000", "text-001", "text-002", "text-003", "text-004")

VERDICTS: dict[str, str] = {
    "S000-1": "holds-if index",
    "S000-2": "defines",
    "S000-3": "defines",
    **dict.fromkeys(("S000-4", "S000-5", "S000-6", "S000-7"), "holds-if missing-path"),
    "S000-8": "holds",
    **dict.fromkeys(("S001-1", "S001-2", "S001-3", "S001-4"), "holds"),
    "S001-5": "fails double-count",
    "S001-6": "defines",
    "S002-1": "holds",
    "S002-2": "defines",
    **dict.fromkeys((f"S002-{n}" for n in (3, 4, 5, 6, 7, 9, 10, 12, 13, 14, 15, 16)), "holds"),
    "S002-8": "holds-if double-count",
    "S002-11": "fails",
    "S002-17": "holds-if order",
    "S002-18": "fails missing-path",
    "S002-19": "fails symbol",
    **dict.fromkeys((f"S003-{n}" for n in (1, 2, 5, 7, 8, 12, 13, 14, 15)), "holds"),
    **dict.fromkeys((f"S003-{n}" for n in (3, 4, 9, 10)), "holds-if ill-typed"),
    "S003-6": "holds-if order",
    "S003-11": "fails double-count",
    "S004-1": "defines",
    **dict.fromkeys((f"S004-{n}" for n in (2, 4, 5, 6, 7, 8, 9)), "holds"),
    "S004-3": "holds-if layout",
}
"""Heading -> what is to be found of the author's line below it: the verdict, and the mistake."""

BY_ENUMERATION = ("S003-13", "S003-14", "S003-15")
"""Here the author's line sets numbers; that they do what is said of them stands in the displays after it."""


def verified(text: str, kind: str = "md", **options) -> FileReport:
    return verify_file(document.parse(text, f"notes.{kind}", kind), **options)


def only(text: str, **options) -> Finding:
    """The last claim of a document."""
    return verified(text, **options).findings[-1]


def about(system: str, formula: str, *directives: str) -> Finding:
    before = "\n".join(f"<!-- derive: {d} -->" for d in (f"system {system}", *directives))
    return only(f"{before}\n$$ {formula} $$")


def described(found: Finding) -> str:
    shown = [a.sentence for a in found.assumptions] + [c.sentence for c in found.causes]
    return f"{found.verdict} {found.kinds} {found.reason} {shown} {found.certificate}: {found.latex}"


@cache
def without_expectations(name: str) -> FileReport:
    lines = (FOLDER / f"{name}.md").read_text(encoding="utf-8").splitlines()
    return verified("\n".join("" if "derive: expect" in line else line for line in lines))


@cache
def by_heading(name: str) -> dict[str, list[list[Finding]]]:
    """Heading -> its displays, each with its findings."""
    source = (FOLDER / f"{name}.md").read_text(encoding="utf-8").splitlines()
    found: dict[str, dict[int, list[Finding]]] = {}
    for finding in without_expectations(name).findings:
        above = [line for line in source[: finding.place.line] if line.startswith("#")][-1]
        number = re.match(r"#+ (S\d+-\d+)", above)
        if number:
            found.setdefault(number[1], {}).setdefault(finding.display, []).append(finding)
    return {heading: list(displays.values()) for heading, displays in found.items()}


def verdict_of(findings: list[Finding]) -> str:
    return "defines" if all(f.verdict == "defines" for f in findings) else worst(f.verdict for f in findings)


# --- the five texts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heading", VERDICTS)
def test_every_line_of_the_texts_gets_its_verdict(heading):
    displays = by_heading(f"text-{heading[1:4]}")[heading]
    wanted, _, kind = VERDICTS[heading].partition(" ")
    first = [f for display in displays for f in display] if heading in BY_ENUMERATION else displays[0]
    shown = "\n".join(map(described, first))
    assert verdict_of(first) == wanted, shown
    assert not kind or any(kind in f.kinds for f in first if f.verdict == wanted), shown


@pytest.mark.parametrize("name", TEXTS)
def test_what_stands_below_a_wrong_line_as_its_correction_is_right(name):
    for heading, (_, *corrected) in by_heading(name).items():
        for findings in corrected:
            wrong = [described(f) for f in findings if f.verdict not in ("holds", "defines")]
            # The corrected double sum leaves the order of its product open, as its author did.
            assert not wrong or heading == "S000-1", f"{heading}: {wrong}"


def test_a_formula_that_goes_on_from_a_wrong_one_says_whose_error_it_repeats():
    (first,), (second, *_) = by_heading("text-000")["S000-5"][0], by_heading("text-000")["S000-6"][0]
    assert second.inherits == first.n and second.verdict == first.verdict


def test_the_missing_path_is_named_with_the_term_that_it_contributes():
    (finding,) = by_heading("text-000")["S000-7"][0]
    (cause,) = finding.causes
    assert cause.kind == "missing-path" and ("h[m-1]", "z[m]", "h[m]") in cause.paths, cause
    assert "h_{m-1} → z_m → h_m" in cause.sentence and cause.repair is not None


def test_the_folder_holds_as_it_stands(capsys):
    assert main(["verify", str(FOLDER)]) == 0, capsys.readouterr().out


def test_without_what_it_expects_the_folder_fails_and_names_the_first_wrong_line_of_each(tmp_path, capsys):
    for name in TEXTS:
        text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
        (tmp_path / f"{name}.md").write_text(re.sub(r"<!-- derive: expect .* -->", "", text), encoding="utf-8")
    assert main(["verify", str(tmp_path), "--format", "json"]) == 1
    files = {Path(f["file"]).stem: f for f in json.loads(capsys.readouterr().out)["files"]}
    wrong = {name: f["first_wrong"] for name, f in files.items()}
    first = {
        name: next((c.n for c in without_expectations(name).findings if c.verdict == "fails"), None) for name in TEXTS
    }
    assert wrong == first
    assert [name for name in TEXTS if first[name]] == ["text-001", "text-002", "text-003"], "000 and 004 hold if …"
    assert main(["verify", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    for name in ("text-000", "text-004"):
        doubtful = next(c for c in without_expectations(name).findings if c.verdict == "holds-if")
        assert f"{name}.md" in shown and f"claim {doubtful.n}" in shown


# --- what a verdict rests on --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "verdict"), [(4, "fails"), (17, "fails"), (29, "fails"), (30, "holds")])
def test_backpropagation_cut_off_is_not_the_gradient(steps, verdict):
    formula = (
        rf"\frac{{\partial h_{{30}}}}{{\partial W}} = \sum_{{k={31 - steps}}}^{{30}}"
        r" \left( \prod_{j=k+1}^{30} \frac{\partial h_j}{\partial h_{j-1}} \right) \frac{\partial^+ h_k}{\partial W}"
    )
    found = only(
        f"<!-- derive: scalar -->\n<!-- derive: define -->\n$$ h_t = \\tanh(W h_{{t-1}} + U x_t) $$\n\n$$ {formula} $$"
    )
    assert found.verdict == verdict, described(found)


RIGHT = {
    "lstm": r"\frac{\partial c_t}{\partial f_t} = \mathrm{diag}(c_{t-1})",
    "gru": r"\frac{\partial L}{\partial U_z} = \sum_{t=1}^{T} (\nabla_{z_t} L \odot z_t \odot (1 - z_t)) h_{t-1}^\top",
    "rnn": r"\nabla_{h_t} L = W^\top \mathrm{diag}(1 - h_{t+1}^2) \nabla_{h_{t+1}} L + V^\top \nabla_{o_t} L",
    "elman": r"\frac{\partial L}{\partial b_h} = \sum_t h_t \odot (1 - h_t) \odot \nabla_{h_t} L",
    "birnn": r"\frac{\partial L}{\partial b_o} = \sum_t \nabla_{o_t} L",
}


@pytest.mark.parametrize(
    ("formula", "kind"),
    [
        (r"\frac{\partial c_t}{\partial f_t} = \mathrm{diag}(c_t)", "index"),
        (r"\frac{\partial h_t}{\partial o_t} = \mathrm{diag}(\tanh(c_{t-1}))", "index"),
        (
            r"\frac{\partial L}{\partial U_f} = \sum_{t=1}^{T} (\nabla_{f_t} L \odot f_t \odot (1 + f_t)) h_{t-1}^\top",
            "sign",
        ),
        (
            r"\frac{\partial L}{\partial U_f} = \sum_{t=1}^{T} (\nabla_{i_t} L \odot f_t \odot (1 - f_t)) h_{t-1}^\top",
            "symbol",
        ),
        (r"\frac{\partial L}{\partial b_f} = \nabla_{f_t} L \odot f_t \odot (1 - f_t)", "missing-sum"),
        (r"\frac{\partial h_t}{\partial c_t} = \mathrm{diag}(o_t \odot (1 - m_t))", "activation"),
    ],
)
def test_a_wrong_line_fails_for_certain_and_its_mistake_is_named(formula, kind):
    found = about("lstm", formula)
    assert found.verdict == "fails", described(found)
    assert found.certificate is not None and found.certificate.method == "ball" and found.certificate.at, described(
        found
    )
    assert kind in found.kinds or found.kinds in (("factor",), ("symbol",)), described(found)
    assert found.numeric is None or found.numeric.max_rel_err > 1e-6
    assert all(cause.repair is not None for cause in found.causes)


def test_what_holds_says_how_likely_it_is_to_be_wrong():
    found = about("lstm", RIGHT["lstm"])
    assert found.verdict == "holds", described(found)
    assert found.certificate.method == "field" and found.certificate.error_bound < 2**-60


def test_a_gate_that_is_held_constant_is_an_assumption_and_is_none_where_it_is_said():
    held = r"\mathrm{diag}(z_t) + \mathrm{diag}(1 - z_t) \frac{\partial \tilde h_t}{\partial h_{t-1}}"
    formula = rf"\frac{{\partial h_t}}{{\partial h_{{t-1}}}} = {held}"
    assumed, said = about("gru", formula), about("gru", formula, "hold z")
    assert (assumed.verdict, assumed.kinds) == ("holds-if", ("missing-path",)), described(assumed)
    assert said.verdict == "holds", described(said)


def test_nothing_is_assumed_that_would_leave_nothing():
    assert about("gru", r"\frac{\partial L}{\partial U_z} = 0").verdict == "fails"


def test_the_layout_of_most_lines_is_that_of_the_document():
    lines = [
        r"\frac{\partial o_t}{\partial h_t} = V",
        r"\frac{\partial a_t}{\partial h_{t-1}} = W",
        r"\frac{\partial a_t}{\partial x_t} = U^\top",
    ]
    text = "<!-- derive: system rnn -->\n" + "\n".join(f"$$ {line} $$\n" for line in lines)
    found = verified(text).findings
    assert [f.verdict for f in found] == ["holds", "holds", "holds-if"] and found[2].kinds == ("layout",)
    turned = verified(text.replace("= V", r"= V^\top").replace("= W ", r"= W^\top "))
    assert [f.verdict for f in turned.findings] == ["holds"] * 3, "all in denominator layout"


def test_a_shorthand_is_known_from_its_definition_on_and_before():
    delta = r"\delta_t = \mathrm{diag}(1 - h_t^2) \nabla_{h_t} L"
    later = r"\nabla_W L = \sum_t \delta_t h_{t-1}^\top"
    text = "<!-- derive: system rnn -->\n$$ {} $$\n\n$$ {} $$"
    assert [f.verdict for f in verified(text.format(delta, later)).findings] == ["defines", "holds"]
    wrong = verified(text.format(delta.replace("1 - ", ""), later)).findings
    assert [f.verdict for f in wrong] == ["defines", "fails"]


@pytest.mark.parametrize(("below", "verdict"), [("I & 0", "holds"), ("0 & I", "fails"), ("I & W", "fails")])
def test_a_part_of_what_is_varied_does_not_move_with_the_other_parts(below, verdict):
    pair = r"\frac{\partial[h_t;h_{t-1}]}{\partial[h_{t-1};h_{t-2}]}"
    above = r"\mathrm{diag}(h_t\odot(1-h_t))W & \mathrm{diag}(h_t\odot(1-h_t))M"
    block = rf"\begin{{bmatrix}}{above}\\ {below}\end{{bmatrix}}"
    assert only(f"<!-- derive: system skip-rnn -->\n\n$$ {pair} = {block} $$").verdict == verdict


def test_a_recurrent_shorthand_is_worked_out_from_its_end():
    text = r"""<!-- derive: system linear-rnn -->
$$ s_t = x_t + s_{t+1} $$

$$ s_t = \sum_{k=t}^{T} x_k $$

$$ s_t = \sum_{k=t+1}^{T} x_k $$"""
    found = verified("<!-- derive: declare s: m -->\n" + text).findings
    assert [f.verdict for f in found[1:]] == ["holds", "fails"], [described(f) for f in found]


@pytest.mark.parametrize(
    ("formula", "verdict"),
    [
        (r"z_t = 1 \Rightarrow \frac{\partial h_t}{\partial h_{t-1}} = I", "holds"),
        (r"z_t = 0 \Rightarrow \frac{\partial h_t}{\partial h_{t-1}} = I", "fails"),
        (r"z_t = \tfrac12 \Rightarrow \frac{\partial h_t}{\partial h_{t-1}} = I", "undecided"),
        (r"z_t > 0 \Rightarrow \frac{\partial h_t}{\partial h_{t-1}} = I", "fails"),
        (r"x_t > 0 \Rightarrow \mathrm{ReLU}'(x_t) = 1", "undecided"),
        (r"x_t > 0 \Rightarrow \mathrm{ReLU}'(x_t) = 2", "undecided"),
        (r"h_t \in [-1, 1]", "undecided"),
        (r"z_t \in (0, 1)", "holds"),
        (r"z_t \in (0, \tfrac12)", "fails"),
        (r"h_t \in \mathbb{R}^n", "holds"),
        (r"0 < \sigma'(x) \le \tfrac14", "holds"),
        (r"0 < \sigma'(x) < \tfrac14", "fails"),
        (r"\sigma(x) \ne \tanh(x)", "holds"),
    ],
)
def test_special_values_ranges_and_inequalities(formula, verdict):
    found = about("gru", formula)
    assert found.verdict == verdict, described(found)


@pytest.mark.parametrize(
    ("formula", "verdict"),
    [
        (r"\left\| \frac{\partial h_t}{\partial h_{t-1}} \right\| \le \|W\|", "holds"),
        (r"\left\| \frac{\partial h_T}{\partial h_t} \right\| \le \|W\|^{T-t}", "holds"),
        (r"\left\| \frac{\partial h_T}{\partial h_t} \right\| \le \tfrac12 \|W\|^{T-t}", "undecided"),
        (r"\|h_t\| \le \|x_t\|", "fails"),
    ],
)
def test_a_bound_is_proved_or_a_counterexample_is_found_or_it_stays_open(formula, verdict):
    found = about("rnn", formula)
    assert found.verdict == verdict, described(found)
    assert verdict != "holds" or found.certificate.method == "proof"


@pytest.mark.parametrize(
    ("loss", "rate", "verdict"),
    [("final", r"\tfrac14", "holds"), ("final", r"\tfrac15", "undecided"), ("every", r"\tfrac14", "undecided")],
)
def test_a_bound_of_the_gradient_needs_a_loss_at_the_end_only(loss, rate, verdict):
    network = "<!-- derive: declare x: m, h: n -->\n<!-- derive: define -->\n$$ h_t=\\sigma(Wh_{t-1}+Ux_t) $$"
    gradient = r"\left\|\frac{\partial L}{\partial h_%s}\right\|"
    bound = rf"{gradient % 't'} \le {gradient % 'T'} ({rate} \|W\|)^{{T-t}}"
    found = only(f"{network}\n<!-- derive: loss {loss} -->\n\n$$ {bound} $$")
    assert found.verdict == verdict, described(found)


@pytest.mark.parametrize(
    ("formula", "verdict"),
    [("2 + 3 = 5", "holds"), ("2 + 3 = 6", "fails"), ("6 = 2 + 3", "fails"), (r"2 + 3 \le 4", "fails")],
)
def test_numbers_alone_say_nothing_of_where_and_are_a_claim(formula, verdict):
    found = about("rnn", formula)
    assert found.verdict == verdict, described(found)


@pytest.mark.parametrize(
    ("bound", "verdict"),
    [(r"|w|^{T-t}", "holds"), (r"\prod_{k=t+1}^{T} |w|", "holds"), (r"\tfrac12 |w|^{T-t}", "fails"), ("|u|", "fails")],
)
def test_a_bound_of_numbers_is_proved_like_one_of_norms(bound, verdict):
    network = r"<!-- derive: scalar -->" "\n$$ s_t = \\tanh(u x_t + w s_{t-1}) $$\n"
    found = verified(network + rf"$$ \left| \frac{{\partial s_T}}{{\partial s_t}} \right| \le {bound} $$").findings[-1]
    assert found.verdict == verdict, described(found)


@pytest.mark.parametrize(
    ("formula", "verdict"),
    [
        (r"p^\top q = 3", "holds"),
        (r"p^\top q = 4", "fails"),
        (r"\|p - q\|_2 = 4", "fails"),
        (r"p^\top u = 3", "undecided"),
        (r"p = \begin{bmatrix} 0 \\ 1 \end{bmatrix}", "defines"),
    ],
)
def test_a_line_whose_names_all_have_numbers_supposes_nothing(formula, verdict):
    given = r"$$ p = \begin{bmatrix} 3 \\ 4 \end{bmatrix},\quad q = \begin{bmatrix} 1 \\ 0 \end{bmatrix} $$"
    found = only(f"<!-- derive: declare p: 2, q: 2, u: 2 -->\n\n{given}\n\n$$ {formula} $$")
    assert found.verdict == verdict, described(found)


def test_what_only_the_tower_of_primes_can_tell_holds():
    found = only("<!-- derive: declare a: scalar, b: scalar -->\n$$ e^{a+b} = e^a e^b $$")
    assert (found.verdict, found.certificate.method) == ("holds", "tower"), described(found)


def test_a_hypothesis_is_no_mistake():
    found = only("<!-- derive: declare Q: n x n -->\n$$ Q^\\top Q = I $$")
    assert found.verdict == "undecided", described(found)


@pytest.mark.parametrize("condition", [r"T\text{ even}", r"T \text{ is even}", r"\text{for even } T"])
def test_a_condition_in_words_picks_the_points(condition):
    text = "<!-- derive: scalar -->\n<!-- derive: define -->\n$$ h_t = -h_{t-1} + x_t $$\n\n$$ FORMULA $$"
    formula = r"h_T = h_0 + \sum_{i=1}^{T} (-1)^{T-i} x_i"
    assert only(text.replace("FORMULA", formula)).verdict == "fails"
    assert only(text.replace("FORMULA", f"{formula} \\quad {condition}")).verdict == "holds"


def test_a_letter_of_a_size_may_be_an_index_too():
    right = r"\frac{\partial h_m}{\partial h_{m-1}} = \mathrm{diag}(1 - h_m^2) W"
    for formula, verdict in ((right, "holds"), (right.replace("h_m^2", "h_{m-1}^2"), "fails")):
        found = about("rnn", formula)
        assert found.verdict == verdict, described(found)
        assert verdict == "fails" or found.certificate.points > 20, "not only where m is the size"


def test_numbers_that_the_text_gives_are_used():
    text = (
        "<!-- derive: scalar -->\n<!-- derive: define -->\n$$ h_t = w h_{t-1} + x_t $$\n\n$$ w = -1 $$\n\n$$ FORMULA $$"
    )
    formula = r"\frac{\partial h_t}{\partial h_{t-2}} = 1"
    found = only(text.replace("FORMULA", formula))
    assert found.verdict == "holds" and "with the values that the text gives" in found.readings, described(found)
    assert only(text.replace("FORMULA", formula).replace("w = -1", "w = -2")).verdict == "fails"


def test_sizes_are_bounded():
    for formula in (
        r"h_t = \sum_{k=1}^{10^9} x_k",
        r"h_t = h_t^{1000000000}",
        r"\frac{\partial h_{900}}{\partial h_1} = 0",
    ):
        found = about("rnn", formula)
        assert found.verdict in ("undecided", "unread", "fails"), described(found)
        assert BROKEN not in found.reason


# --- the report -------------------------------------------------------------------------------------------------------


def test_the_report_is_the_same_from_several_processes_and_a_broken_file_stops_no_other(tmp_path, capsys):
    (tmp_path / "a.md").write_text(f"<!-- derive: system lstm -->\n$$ {RIGHT['lstm']} $$", encoding="utf-8")
    (tmp_path / "b.md").write_text("<!-- derive: system nothing-of-that-name -->\n$$ a = b $$", encoding="utf-8")
    (tmp_path / "c.md").write_bytes(b"<!-- derive: system rnn --> \xff\xfe")
    (tmp_path / "d.md").write_text(f"<!-- derive: system gru -->\n$$ {RIGHT['gru']} $$", encoding="utf-8")
    codes, shown = [], []
    for jobs in ("1", "2"):
        codes.append(main(["verify", str(tmp_path), "--format", "json", "-j", jobs]))
        shown.append(capsys.readouterr().out)
    assert codes == [2, 2] and shown[0] == shown[1]
    files = json.loads(shown[0])["files"]
    assert [f["verdict"] for f in files] == ["holds", "unread", "unread", "holds"]


@pytest.mark.parametrize(
    ("formula", "strict", "code"),
    [
        (RIGHT["gru"], True, 0),
        (r"\frac{\partial L}{\partial U_z} = 0", False, 1),
        (r"\frac{\partial h_t}{\partial h_{t-1}} = \mathrm{diag}(z_t)", False, 0),
        (r"\frac{\partial h_t}{\partial h_{t-1}} = \mathrm{diag}(z_t)", True, 1),
        (r"\frac{\partial h_t}{\partial q_{t-1}} = 0", False, 2),
    ],
)
def test_exit_codes(tmp_path, capsys, formula, strict, code):
    path = tmp_path / "a.md"
    path.write_text(f"<!-- derive: system gru -->\n$$ {formula} $$", encoding="utf-8")
    assert main(["verify", str(path), *(["--strict"] if strict else [])]) == code, capsys.readouterr().out
    assert derive.verify(path, strict=strict).exit_code == code


def test_options_stand_before_the_document(tmp_path, capsys):
    path = tmp_path / "a.md"
    path.write_text(
        r"$$ \frac{\partial h_t}{\partial h_{t-1}} = \mathrm{diag}(z_t) + \mathrm{diag}(1 - z_t)"
        r" \frac{\partial \tilde h_t}{\partial h_{t-1}} $$",
        encoding="utf-8",
    )
    assert main(["verify", str(path), "--system", "gru", "--hold", "z", "--strict"]) == 0, capsys.readouterr().out
    assert main(["verify", str(path), "--system", "gru", "--strict"]) == 1


@pytest.mark.parametrize("system", RIGHT)
def test_a_right_line_holds(system):
    found = about(system, RIGHT[system])
    assert found.verdict in ("holds", "holds-if"), described(found)


CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.md"))


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: p.stem)
def test_no_document_of_the_corpus_breaks_the_judge(path):
    report = verify_file(path)
    assert report.trouble is None
    broken = [described(f) for f in report.findings if BROKEN in f.reason]
    assert not broken, broken
