"""Systems that are defined in LaTeX: they go through everything that Python ones do, and mistakes in them are said."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_shapes_inferred import renamed, renaming

import derive
from derive import catalogue, cli, expr
from derive.canonical import same
from derive.check import check_systems
from derive.errors import DeriveError
from derive.expr import Equals, Node
from derive.notation import notation
from derive.printing import latex
from derive.reader import document
from derive.reader.claims import DocumentReading
from derive.reader.understand import understand
from derive.system import System

DATA = Path(__file__).with_name("data")
EVERY = [*catalogue.names(), "mdrnn(3)", "stacked-lstm(3)"]
NOTATIONS = ["default", "superscript", "bold", "circ", "bold,superscript,circ"]
OPEN = ("birnn", "blstm", "stacked-lstm", "stacked-lstm(3)")
"""Systems whose equations allow more dimensions than the catalogue gives them: their documents declare the shapes."""


def reading(text: str, kind: str = "md") -> DocumentReading:
    return understand(document.parse(text, f"notes.{kind}", kind))


def defined(equations: str, before: str = "") -> System:
    return reading(f"{before}<!-- derive: define -->\n$$\n{equations}\n$$\n").system()


def written(system: System, style: str) -> str:
    """The forward equations as the printer writes them, in a document that defines them."""
    directives = ["<!-- derive: define -->"]
    if system.name in OPEN:
        names = {v.name: v.shape for v in system.variables.values() if v.kind != "cotangent"}
        shapes = [f"{n}: {' x '.join(str(d) for d in s if d != 1)}" for n, s in names.items() if s != expr.SCALAR]
        directives.insert(0, f"<!-- derive: declare {', '.join(shapes)} -->")
    if system.loss == "last":
        directives.insert(0, "<!-- derive: loss final -->")
    equations = [e for name, e in system.equations.items() if name != system.loss_name or system.has_loss]
    lines = " \\\\\n".join(latex(Equals(e.target, e.rhs), notation(style)) for e in equations)
    return "\n".join(directives) + f"\n$$\n\\begin{{aligned}}\n{lines}\n\\end{{aligned}}\n$$\n"


@pytest.mark.parametrize("style", NOTATIONS)
@pytest.mark.parametrize("name", EVERY)
def test_the_catalogue_printed_and_read_back(name, style):
    wanted = catalogue.load(name)
    found = reading(written(wanted, style))
    system = found.system()
    names = renaming(system, wanted)
    assert sorted(system.variables) == sorted(wanted.variables)
    for variable, original in ((system.variables[n], wanted.variables[n]) for n in wanted.variables):
        assert (variable.kind, variable.indexed) == (original.kind, original.indexed)
    assert list(system.equations) == list(wanted.equations)
    for target, equation in wanted.equations.items():
        assert same(renamed(system.equations[target].rhs, names), equation.rhs), target
    assert (system.outputs, system.boundary, system.loss) == (wanted.outputs, wanted.boundary, wanted.loss)
    assert [claim.unread for claim in found.claims if claim.unread is not None] == []


def arrays(system: System, sizes: dict[Any, int], length: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Parameters, inputs (and targets) and cotangents of the outputs, the same for systems with the same names."""

    def values(name: str, shape: expr.Shape, leading: tuple[int, ...]) -> Any:
        rng = np.random.default_rng(sum(map(ord, name)))
        return rng.normal(size=(*leading, *(sizes[d] for d in shape if d != 1)))

    lattice = (length,) * len(system.lattice.indices)
    parameters = {v.name: values(v.name, v.shape, ()) for v in system.parameters}
    inputs = {v.name: values(v.name, v.shape, lattice) for v in system.of_kind("input")}
    targets = {v.name: values(v.name, v.shape, lattice) for v in system.of_kind("target")}
    if not system.has_loss:
        targets = {name: values(name, system.variables[name].shape, lattice) for name in system.outputs}
    return parameters, inputs, targets


@pytest.mark.parametrize("name", EVERY)
def test_the_same_gradients(name):
    wanted = catalogue.load(name)
    system = reading(written(wanted, "default")).system()
    sizes = {d: n for n, d in enumerate(wanted.dimensions, 2)}
    ours = {d: sizes[w] for d, w in renaming(system, wanted).items() if w != 1}
    gradients = []
    for one, its_sizes in ((system, ours), (wanted, sizes)):
        compiled = one.compile("numpy")
        parameters, inputs, others = arrays(one, its_sizes, 3)
        if one.has_loss:
            gradients.append(compiled.value_and_grad(parameters, inputs, others)[1])
        else:
            gradients.append(compiled.vjp(parameters, inputs, others))
    assert gradients[0].keys() == gradients[1].keys()
    for key, value in gradients[0].items():
        np.testing.assert_allclose(value, gradients[1][key], rtol=1e-12, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("name", ["gru", "lstm-peephole", "mdrnn", "birnn", "rnn"])
def test_every_formula_of_it_holds(name):
    rows = list(check_systems([reading(written(catalogue.load(name), "default")).system()], roads=["field"]))
    assert rows and all(row.ok for row in rows), rows


# --- documents that a person wrote ---

CLAIMS = {
    "grid.md": ["∂h_{i,j}/∂h_{i-1,j} = W_1", "∂h_{i,j}/∂h_{i,j-1} = W_2"],
    "skip.md": [
        "h_{t+2} = tanh(W h_{t+1} + V h_t + U x_{t+2} + b)",
        "∂⁺h_{t+2}/∂h_t = diag(1 - h_{t+2}²) V",
    ],
    "bidirectional.md": ["∂h_{fwd,t}/∂h_{fwd,t-1} = diag(1 - h_{fwd,t}²) U_{fwd}"],
    "peephole.tex": [
        "c_t = f_t ⊙ c_{t-1} + i_t ⊙ tanh([W_{c,h}, W_{c,x}] [h_{t-1}; x_t] + b_c)",
        "∂⁺c_t/∂c_{t-1} = diag(f_t)",
    ],
    "layer_norm.md": ["a_t = LN(W x_t + U h_{t-1}) + b", "∂h_t/∂a_t = diag(1 - h_t²)"],
    "unknown_activation.md": ["∂h_t/∂h_{t-1} = diag(φ'(W x_t + U h_{t-1} + b)) U"],
    "goodfellow.tex": [
        "L = Σ_{t=1..T} L_t",
        "∇_{o_t} L = ŷ_t - y_t",
        "∇_V L = Σ_{t=1..T} (∇_{o_t} L) h_tᵀ",
    ],
    "attention.md": ["S_t = S_{t-1} + v_t k_tᵀ", "∂y_t/∂q_t = S_t"],
    "article.tex": ["∂h_t/∂h_{t-1}|_{z} = diag(1 - z_t) + diag(z_t ⊙ (1 - h̃_t²)) U_h"],
    "notebook.ipynb": ["∂h_t/∂h_{t-1} = diag(1 - h_t²) W"],
}
"""A document, and some of its claims as they are to be read."""

SHAPES = {
    "grid.md": {"h": "n", "x": "m", "W_1": "n x n", "W_2": "n x n", "W_x": "n x m"},
    "skip.md": {"h": "n", "x": "m", "V": "n x n"},
    "bidirectional.md": {"h_fwd": "n", "h_bwd": "q", "V_h_fwd": "p x n", "V_h_bwd": "p x q", "y": "p"},
    "peephole.tex": {"h": "n", "x": "m", "W_i_h": "n x n", "W_i_x": "n x m", "p_o": "n"},
    "layer_norm.md": {"a": "n", "b": "n", "W": "n x m"},
    "unknown_activation.md": {"h": "n", "b": "n"},
    "goodfellow.tex": {"h": "n", "x": "m", "y": "q", "V": "q x n", "L": "scalar"},
    "attention.md": {"v": "q", "k": "n", "S": "q x n", "y": "q"},
    "article.tex": {"z": "n", "h_tilde": "n", "W_h": "n x m"},
    "notebook.ipynb": {"h": "n", "W": "n x n", "U": "n x m"},
}
"""Documents that are no module by themselves, and what is said of them."""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.main(list(arguments))
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return code, said.out, said.err


@pytest.mark.parametrize("name", CLAIMS)
def test_what_a_document_claims(name):
    found = derive.read(DATA / name)
    assert [claim.unread for claim in found.claims if claim.unread is not None] == []
    printed = [claim.read_as() for claim in found.claims]
    assert [line for line in CLAIMS[name] if line not in printed] == [], printed


@pytest.mark.parametrize("name", SHAPES)
def test_what_a_document_defines(name):
    system = derive.load(str(DATA / name))
    letters = {d: str(d) for d in system.dimensions}
    found = {n: expr.show_shape(system.variables[n].shape) for n in SHAPES[name]}
    assert system.name == Path(name).stem
    if name != "attention.md":
        assert found == SHAPES[name], letters
    else:
        v, k = (system.variables[n].shape[0] for n in "vk")
        assert system.variables["S"].shape == (v, k) and system.variables["y"].shape[0] == v


@pytest.mark.parametrize("name", CLAIMS)
def test_the_commands_take_a_document(name, capsys):
    path = str(DATA / name)
    code, out, err = run(capsys, "show", path)
    assert code == cli.DONE, err
    assert "0 unread" in out and CLAIMS[name][0] in out
    assert run(capsys, "solve", path)[0] == cli.DONE
    code, out, err = run(capsys, "check", path, "--roads", "field")
    assert code == cli.DONE and "0 failed" in out, out + err
    code, out, err = run(capsys, "export", path)
    assert code == cli.DONE, err
    compile(out, name, "exec")
    assert ("FUNCTIONS" in out) == (name == "unknown_activation.md")


def test_a_query_a_file_and_json(tmp_path, capsys):
    path = str(DATA / "article.tex")
    assert run(capsys, "solve", path, "dh[t]/dh[t-1]", "--hold", "z", "-o", str(tmp_path / "a.tex"))[0] == cli.DONE
    assert (tmp_path / "a.tex").read_text(encoding="utf-8").startswith("\\documentclass")
    data = json.loads(run(capsys, "show", path, "--format", "json")[1])
    assert [system["name"] for system in data["systems"]] == ["article"]
    assert [claim["line"] for claim in data["claims"]] == [13, 14, 15, 20]
    assert all(claim["unread"] is None and claim["read_as_latex"] for claim in data["claims"])


@pytest.mark.parametrize("name", ["article.tex", "grid.md"])
def test_standard_input(name, monkeypatch, capsys):
    text = (DATA / name).read_bytes()
    for command, *options in (["show"], ["solve"], ["export"], ["check", "--roads", "field"]):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text)))
        assert run(capsys, command, "-", *options)[0] == cli.DONE
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    assert derive.load("-").name == "document"


def test_show_says_what_is_unread_and_exits_with_2(tmp_path, capsys):
    path = tmp_path / "off.md"
    path.write_text("<!-- derive: system gru -->\n$$ h_t = q_t $$\n$$ h_t = h_t $$\n", encoding="utf-8")
    code, out, _ = run(capsys, "show", str(path))
    assert code == cli.UNUSABLE
    assert "1 read, 1 unread" in out and "unread at 2:10: q is not defined" in out and "^^^" in out


def test_the_second_system_of_a_document(tmp_path):
    path = tmp_path / "two.md"
    equations = (r"h_t = \tanh(W h_{t-1})", r"s_t = V s_{t-1}")
    path.write_text("".join(f"<!-- derive: define -->\n$$ {e} $$\n" for e in equations), encoding="utf-8")
    assert [next(iter(derive.load(f"{path}{n}").equations)) for n in ("", ":1", ":2")] == ["h", "h", "s"]
    with pytest.raises(DeriveError, match=r"speaks of 2 systems, found .*:3"):
        derive.load(f"{path}:3")


# --- what a definition takes from its document ---


def shapes(system: System, *names: str) -> list[str]:
    return [expr.show_shape(system.variables[name].shape) for name in names]


def right(system: System, name: str) -> Node:
    return system.equations[name].rhs


def test_a_document_that_starts_with_its_equations():
    system = reading(
        "# Notes\n\n$$ h_t = \\tanh(W h_{t-1} + U x_t) $$\n\n$$ \\frac{\\partial L}{\\partial U} = 0 $$"
    ).system()
    assert list(system.equations) == ["h", "L"]
    assert shapes(system, "h", "W", "U", "x") == ["n", "n x n", "n x m", "m"]


def test_declared_shapes_and_one_name_for_two_dimensions():
    system = defined(r"h_t = \tanh(W h_{t-1} + U x_t)", "<!-- derive: declare h: k, x: k -->\n")
    assert shapes(system, "h", "W", "U", "x") == ["k", "k x k", "k x k", "k"]


def test_scalar_makes_every_dimension_1():
    system = defined(r"h_t = \tanh(w h_{t-1} + u x_t)", "<!-- derive: scalar -->\n")
    assert shapes(system, "h", "w", "u", "x") == ["scalar"] * 4


def test_an_alias_names_the_systems_variable():
    system = defined(r"h_t = \tanh(W^{hh} h_{t-1} + U x_t)", "<!-- derive: alias W^{hh} = W -->\n")
    assert "W" in system.variables and "W_hh" not in system.variables


@pytest.mark.parametrize(("word", "when"), [("final", "last"), ("every", "every")])
def test_where_the_loss_is(word, when):
    before = f"<!-- derive: loss {word} -->\n"
    system = defined(r"h_t = W h_{t-1} + U x_t, \quad L_t = \frac{1}{2} \|h_t - y_t\|^2", before)
    assert system.has_loss and system.loss == when
    assert [v.name for v in system.of_kind("target")] == ["y"]


def test_a_first_value_of_zero():
    system = defined(r"h_0 = 0, \quad h_t = \tanh(W h_{t-1} + U x_t)")
    assert system.boundary["h"] == "zero"


def test_a_matrix_before_a_concatenation_is_split():
    stacked, listed = (defined(rf"h_t = \tanh(W [h_{{t-1}}{sign} x_t] + b)") for sign in (";", ","))
    assert shapes(stacked, "W_h", "W_x") == ["n x n", "n x m"]
    assert right(stacked, "h") == right(listed, "h")


def test_another_index_letter():
    system = defined(r"h_k = \tanh(W h_{k-1} + U x_k)")
    assert [str(i) for i in system.lattice.indices] == ["k"]


# --- mistakes: one sentence with a place, exit code 2 ---

DEFINE = "<!-- derive: define -->\n"
GRU = "<!-- derive: system gru -->\n"
MISTAKES = {
    "two shapes": (
        f"<!-- derive: declare W: n x m, x: n, h: n -->\n{DEFINE}$$ h_t = \\tanh(W x_t + U h_{{t-1}}) $$",
        ("notes.md:3:16: ", "inner dimensions", "n x m", " and n ", "W x_t"),
    ),
    "a sum": (
        f"<!-- derive: declare x: m, h: n -->\n{DEFINE}$$\nh_t = \\tanh(x_t + U h_{{t-1}})\n$$",
        ("notes.md:4:13: ", "a sum needs equal shapes, found n and m", "x_t + U h_"),
    ),
    "an alias of nothing": (
        f"{GRU}\n<!-- derive: alias Z = zz -->\n$$ h_t = h_t $$",
        ("notes.md:3:14: ", "gru has no zz (did you mean z?)"),
    ),
    "a name defined twice": (
        f"{DEFINE}$$ h_t = \\tanh(W h_{{t-1}}), \\quad h_t = U h_{{t-1}} $$",
        ("notes.md:2:", "h is defined twice"),
    ),
    "no index": (f"{DEFINE}$$ h = \\tanh(W h) $$", ("notes.md:2:4: ", "h stands without an index", "h_t = …")),
    "itself": (
        f"{DEFINE}$$ h_t = h_t + W x_t $$",
        ("notes.md:2:10: ", "h[t] is defined by itself", "did you mean h[t-1]?"),
    ),
    "a circle": (f"{DEFINE}$$ a_t = W b_t, \\quad b_t = V a_t $$", ("notes.md:2:10: ", "a[t] <- b[t] <- a[t]")),
    "two arguments": (
        f"{DEFINE}$$ h_t = \\tanh(W h_{{t-1}}, U x_t) $$",
        ("notes.md:2:10: ", "tanh takes 1 argument, found 2"),
    ),
    "a stride": (f"{DEFINE}$$ h_t = W h_{{2t}} $$", ("notes.md:2:12: ", "not t plus or minus a number")),
    "no such system": ("<!-- derive: system grru -->", ("notes.md:1:14: ", "did you mean gru?")),
    "no such directive": ("<!-- derive: sistem gru -->", ("notes.md:1:14: ", "did you mean system?")),
    "a file": ("<!-- derive: system cell.py:gru -->", ("notes.md:1:14: ", "never a file")),
    "a shape that is none": (
        f"<!-- derive: declare W n x m -->\n{DEFINE}$$ h_t = W x_t $$",
        ("notes.md:1:14: ", "as in "),
    ),
    "a display that is open": ("$$ h_t = ", ("notes.md:1:1: ", "no $$ closes")),
    "nothing": ("", ("notes.md defines no system", "derive: define", "derive: system NAME")),
    "words only": ("# A title\n\nand words", ("notes.md defines no system",)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_with_its_place(name, tmp_path, monkeypatch, capsys):
    text, parts = MISTAKES[name]
    monkeypatch.chdir(tmp_path)
    Path("notes.md").write_text(text, encoding="utf-8")
    for command in ("solve", "export"):
        code, out, err = run(capsys, command, "notes.md")
        assert (code, out) == (cli.UNUSABLE, "")
        assert len(err.strip().splitlines()) == 1 and err.startswith(f"derive: {parts[0]}")
        assert [part for part in parts if part not in err] == [], err


def test_what_convention_got_wrong_is_asked_for_by_name():
    equations, before = r"s_t = s_{t-1} + x_t, \quad y_t = s_t \cdot q_t", "<!-- derive: declare q: 3, y: 4 -->\n"
    with pytest.raises(DeriveError, match=r"^notes\.md:4:\d+: .*declare \w+: "):
        defined(equations, before)


def test_a_file_that_is_no_document(capsys, tmp_path):
    code, _, err = run(capsys, "show", str(tmp_path / "notes.md"))
    assert code == cli.UNUSABLE and "there is no such file" in err


LEADING = "$$\n\\begin{aligned} a_t &= W h_{t-1} + U x_t \\\\ h_t &= \\tanh(a_t) \\end{aligned}\n$$\n"
CLAIM = "$$ \\frac{\\partial h_t}{\\partial a_t} = \\operatorname{diag}(1 - h_t^2) $$\n"


@pytest.mark.parametrize("directive", ["scalar", "declare x: n", "alias s = h", "scalar; declare M: n x n"])
def test_what_stands_further_down_leaves_the_first_system_as_it_is(directive):
    """With `define` or without, directives are followed where they stand."""
    below = f"{LEADING}{CLAIM}<!-- derive: {directive} -->\n{CLAIM}"
    found, wanted = reading(below), reading(f"<!-- derive: define -->\n{below}")
    shapes = [{v.name: v.shape for v in r.system().variables.values()} for r in (found, wanted)]
    assert shapes[0] == shapes[1]
    assert [c.read_as() for c in found.claims] == [c.read_as() for c in wanted.claims]


@pytest.mark.parametrize("directive", ["scalar", "declare x: k", "alias h = s"])
def test_what_stands_above_the_first_equations_is_said_of_them(directive):
    head = f"<!-- derive: {directive} -->\n"
    found, wanted = reading(f"{head}{LEADING}"), reading(f"{head}<!-- derive: define -->\n{LEADING}")
    shapes = [{v.name: v.shape for v in r.system().variables.values()} for r in (found, wanted)]
    assert shapes[0] == shapes[1] != {v.name: v.shape for v in reading(LEADING).system().variables.values()}
