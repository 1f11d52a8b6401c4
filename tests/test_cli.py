"""The program `derive`: what it prints where, with which exit code, and how fast it answers."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from test_emit_contract import RUFF

import derive
from derive import cli
from derive.emit import BACKENDS, module_source
from derive.errors import DeriveError

ROOT = Path(derive.__file__).parent.parent


def run(*arguments: str, **settings) -> subprocess.CompletedProcess[str]:
    """The program as a process of its own."""
    command = [sys.executable, "-m", "derive", *arguments]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, **settings)


@pytest.fixture
def world(monkeypatch, gate, derivation):
    """A catalogue of one system whose every answer is the derivation made by hand; `asked` keeps what it was asked."""
    asked: list[tuple] = []

    class Known:
        lattice, equations, variables = gate.lattice, gate.equations, gate.variables
        reads, outputs, name = gate.reads, gate.outputs, gate.name

        def derive(self, query, **options):
            asked.append((query, options))
            return replace(derivation, query=query, verdict=None)

    def load(spec):
        if spec != "gate":
            raise DeriveError(f"there is no system {spec}")
        return Known()

    catalogue = ModuleType("derive.catalogue")
    catalogue.load, catalogue.names, catalogue.titles = load, lambda: ["gate"], lambda: {"gate": "A gate"}
    catalogue.families, catalogue.TRANSFORMATIONS = lambda: ("gates", "grids"), {"forced": ""}
    catalogue.is_document = lambda spec: False
    check = ModuleType("derive.check")
    check.rows = [SimpleNamespace(system="gate", error_bound=1e-24, max_rel_err=None, seconds=0.5, failure="", ok=True)]
    check.check_systems = lambda names, seed, roads: check.rows
    check.check_derivation = lambda d, seed: d.query != "wrong"

    def source(system, backend, cotangents):
        asked.append((system.name, {"backend": backend, "cotangents": cotangents}))
        return "import numpy as np\n"

    monkeypatch.setattr("derive.emit.module_source", source)
    for module in (catalogue, check):
        name = module.__name__.partition(".")[2]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(derive, name, module, raising=False)
    return SimpleNamespace(asked=asked, check=check)


# --- answering at once ------------------------------------------------------------------------------------------------


def test_help_costs_less_than_100_ms_of_cpu():
    """The least of some runs: what else the machine does can only add."""

    def cpu() -> float:
        before = os.times()
        assert run("--help").returncode == 0
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(cpu() for _ in range(5)) < 0.1


@pytest.mark.parametrize(
    "statement", ["import derive", "import derive.cli", "import derive.cli; derive.cli._parsers()"]
)
def test_nothing_heavy_is_imported_before_a_command_runs(statement):
    code = f"{statement}; import sys; print(sorted({{'sympy', 'numpy'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_names_what_it_has():
    assert set(derive.__all__) <= set(dir(derive))
    assert derive.System.__module__ == "derive.system"
    with pytest.raises(AttributeError, match="no attribute 'sytem'"):
        _ = derive.sytem


def test_version_and_bare_call():
    assert run("--version").stdout == f"derive {derive.__version__}\n"
    bare = run()
    assert bare.returncode == 0 and "solve" in bare.stdout


# --- solve ------------------------------------------------------------------------------------------------------------


def test_solve_prints_the_derivation(world, capsys):
    assert cli.main(["solve", "gate", "dh[t]/dh[t-1]"]) == 0
    out, err = capsys.readouterr()
    assert "4. Collected" in out and "\033" not in out and err == ""


def test_solve_without_a_query_asks_for_the_main_results(world, capsys):
    assert cli.main(["solve", "gate"]) == 0
    assert [query for query, _ in world.asked] == ["forward", "table", "dh[t]/dh[t-1]", "adjoint"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["gate", "q", "--hold", "z, r", "--unroll", "3", "--layout", "numerator", "--notation", "goodfellow"],
        ["--hold=z,r", "gate", "--unroll=3", "--layout=numerator", "--notation=goodfellow", "q"],
    ],
)
def test_solve_passes_its_options_on_wherever_they_stand(arguments, world, capsys):
    assert cli.main(["solve", *arguments]) == 0
    assert world.asked == [
        ("q", {"hold": ("z", "r"), "unroll": 3, "layout": "numerator", "notation": "goodfellow", "where": {}}),
    ]


def test_solve_writes_the_file_whose_suffix_says_the_format(world, tmp_path, capsys):
    assert cli.main(["solve", "gate", "q", "-o", str(tmp_path / "a.html")]) == 0
    assert (tmp_path / "a.html").read_text().startswith("<!DOCTYPE html>")
    assert capsys.readouterr().out == ""


def test_solve_looks_at_the_suffix_before_it_works(world, capsys):
    assert cli.main(["solve", "gate", "q", "-o", "a.doc"]) == 2
    assert world.asked == []
    assert "use one of .tex" in capsys.readouterr().err


def test_solve_as_json_is_what_the_json_file_holds(world, tmp_path, capsys):
    assert cli.main(["solve", "gate", "q", "--format", "json"]) == 0
    printed = capsys.readouterr().out
    assert cli.main(["solve", "gate", "q", "-o", str(tmp_path / "a.json")]) == 0
    assert (tmp_path / "a.json").read_text() == printed
    assert json.loads(printed)["derivations"][0]["query"] == "q"


def test_solve_exits_with_1_where_a_check_fails(world, capsys):
    assert cli.main(["solve", "gate", "right", "--check"]) == 0
    assert cli.main(["solve", "gate", "right", "wrong", "--check"]) == 1
    assert capsys.readouterr().err == "derive: the check of wrong failed\n"


# --- the other commands -----------------------------------------------------------------------------------------------


def test_list_prints_names_and_titles(world, capsys):
    assert cli.main(["list"]) == 0
    rows, _, more = capsys.readouterr().out.partition("\n\n")
    assert rows == "gate  A gate"
    assert more == "gates, grids take a number: gates(3); forced(NAME) make another system of one\n"
    assert cli.main(["list", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"name": "gate", "title": "A gate"}]


def test_show_prints_equations_shapes_and_reference(monkeypatch, world, gate, capsys):
    monkeypatch.setattr("derive.catalogue.load", lambda spec: gate)
    assert cli.main(["show", "gate"]) == 0
    out = capsys.readouterr().out
    for part in ("h_t = z_t ⊙ h_{t-1}", "U_z  n x n", "t = 1..T", "h[0]: given", "Müller_1990"):
        assert part in out
    assert cli.main(["show", "gate", "--format", "json", "--notation", "superscript"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["boundary"] == {"h[0]": "given"} and data["dimensions"] == ["n", "m"]
    assert "h^{(t)}" in data["equations"][1]["latex"]


def test_export_prints_or_writes_the_module(world, tmp_path, capsys):
    assert cli.main(["export", "gate"]) == 0
    assert capsys.readouterr().out == "import numpy as np\n"
    assert cli.main(["export", "gate", "--backend", "jax", "-o", str(tmp_path / "f.py")]) == 0
    assert (tmp_path / "f.py").read_text() == "import numpy as np\n"
    assert cli.main(["export", "gate", "--cotangents", "h, c", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["source"] == "import numpy as np\n"
    assert [options for _, options in world.asked] == [
        {"backend": "numpy", "cotangents": None},
        {"backend": "jax", "cotangents": None},
        {"backend": "numpy", "cotangents": ("h", "c")},
    ]


@pytest.mark.parametrize("backend", BACKENDS)
def test_export_writes_a_module_of_every_backend_that_ruff_passes(backend, tmp_path):
    """Functions of the cotangents that are asked for; whether these are right is asked of `compile`, which runs the same text."""
    pytest.importorskip("ruff")
    path = tmp_path / "lstm.py"
    assert cli.main(["export", "lstm", "--backend", backend, "--cotangents", "h,c", "-o", str(path)]) == 0
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert "σ(W_i x_t + U_i h_{t-1} + b_i)" in (ast.get_docstring(tree) or "")
    tables = {
        t.id: n.value for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)
    }
    assert [key.value for key in tables["COTANGENTS"].keys] == ["c", "h"]
    assert {"forward", "vjp", "check"} <= {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", RUFF, "--line-length", "120", str(path)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("backend", BACKENDS)
def test_export_writes_a_module_where_no_library_is_installed(backend, tmp_path):
    for library in ("autograd", "jax", "numba", "scipy", "torch"):
        (tmp_path / f"{library}.py").write_text("raise ModuleNotFoundError('no such library', name=__name__)\n")
    done = run("export", "gru", "--backend", backend, env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})
    assert done.returncode == 0 and "def vjp(" in done.stdout, done.stderr


@pytest.mark.parametrize("backend", BACKENDS)
def test_export_leaves_functions_without_a_formula_to_be_filled_in(backend, tmp_path, capsys):
    """Compiled loops can't call Python's functions: these backends say so."""
    (tmp_path / "cell.py").write_text(
        "from derive import System\n"
        "cell = System('cell', equations='h[t] = phi(U @ h[t-1] + x[t])', inputs='x: n', parameters='U',"
        " unknown_functions='phi')\n"
    )
    code = cli.main(["export", f"{tmp_path / 'cell.py'}:cell", "--backend", backend])
    out, err = capsys.readouterr()
    if backend in ("c", "numba"):
        assert code == 2 and "phi" in err and err.count("\n") == 1
    else:
        assert code == 0 and "FUNCTIONS = {}" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gru", "--backend", "nunpy"], "there is no backend 'nunpy' (did you mean numpy?); the backends are numpy"),
        (["gru", "--cotangents", "zz"], "zz is no state, and has no cotangent (did you mean z?); the states are "),
        (["gru", "--cotangents", "x"], "x is no state"),
        (["gru", "--cotangents", "L"], "L is no state"),
        (["teacher-forced(jordan)", "--cotangents", ""], "say of which states there are cotangents: "),
    ],
)
def test_what_export_can_not_do_is_one_sentence(arguments, said, capsys):
    assert cli.main(["export", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and err.count("\n") == 1


def test_cotangents_are_chosen_in_python_too():
    lstm = derive.load("lstm")
    assert lstm.compile(cotangents="h, c").seeds == lstm.compile(cotangents=["c", "h"]).seeds == ("c", "h")
    assert (
        lstm.compile(cotangents="c").source
        == module_source(lstm, seeds="c")
        != lstm.compile().source
        == module_source(lstm)
    )
    with pytest.raises(DeriveError, match=r"lstm adjoint was derived from another system .* it has no cotangents"):
        lstm.adjoint().compile(cotangents="h")


def test_a_loss_keeps_the_cotangents_of_what_it_reads():
    """Or `value_and_grad` of the same module would have none to start from."""
    system = derive.System(
        "cell", equations="h[t] = tanh(U @ h[t-1] + x[t])\no[t] = V @ h[t]", inputs="x: n", parameters="U, V: p x n",
        targets="y: p", loss="squared_error(o[t], y[t])",
    )  # fmt: skip
    assert system.compile(cotangents="h").seeds == ("h", "o") and system.compile().seeds == ("o",)


def test_check_prints_a_table_that_counts(world, capsys):
    assert cli.main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["system", "error_bound", "max_rel_err", "seconds"]
    assert lines[1].split() == ["gate", "1.0e-24", "-", "0.50", "ok"]
    assert lines[-1] == "1 passed, 0 failed"


def test_check_exits_with_1_where_one_fails_or_none_was_made(world, capsys):
    world.check.rows = [
        *world.check.rows,
        SimpleNamespace(**{**vars(world.check.rows[0]), "ok": False, "failure": "h_bar differs"}),
    ]
    assert cli.main(["check", "gate"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].endswith("FAILED") and lines[-2:] == ["gate: h_bar differs", "1 passed, 1 failed"]
    assert cli.main(["check", "gate", "--format", "json"]) == 1
    assert [row["ok"] for row in json.loads(capsys.readouterr().out)] == [True, False]
    world.check.rows = []
    assert cli.main(["check", "gate"]) == 1


# --- what can go wrong ------------------------------------------------------------------------------------------------


def test_an_error_is_one_sentence_on_stderr(world, capsys):
    assert cli.main(["solve", "grru"]) == 2
    assert capsys.readouterr() == ("", "derive: there is no system grru\n")


@pytest.mark.parametrize(
    "arguments", [["sovle"], ["solve"], ["solve", "gate", "--unroll", "0"], ["list", "--hold", "z"]]
)
def test_arguments_that_are_off_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error():
    long = "c.COMMANDS['list'] = (lambda _: c._print('line\\n' * 10**6), '', ())"
    program = f"import derive.cli as c; {long}; raise SystemExit(c.main(['list']))"
    command = ["bash", "-c", '"$0" -c "$1" | head -c 1; exit ${PIPESTATUS[0]}', sys.executable, program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == "" and done.returncode == 0


def test_an_interrupt_is_quiet(world, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("derive.catalogue.load", interrupted)
    assert cli.main(["solve", "gate"]) == 130
    assert capsys.readouterr().err == ""


def test_progress_is_for_a_terminal_only(monkeypatch, capsys):
    assert list(cli._with_progress(["a", "b"])) == ["a", "b"]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(cli._with_progress(["a", "b"], iter([1, 2]))) == [1, 2]
    assert "2/2 b" in capsys.readouterr().err


def test_jacobians_are_asked_between_neighbours_on_any_lattice():
    from derive.queries import jacobians
    from derive.system import System

    grid = System(
        "grid",
        equations="h[i, j] = tanh(U @ h[i-1, j] + V @ h[i, j-1] + W @ x[i, j])",
        inputs="x: m",
        parameters="U: n x n, V: n x n, W: n x m",
        shapes="h: n",
    )
    assert jacobians(grid) == ["dh[i,j]/dh[i-1,j]", "dh[i,j]/dh[i,j-1]"]
