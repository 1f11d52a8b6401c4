"""The catalogue: what holds for every system of it, and what `load` says of names and files that it can't use."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import pytest

import derive
from derive import catalogue, expr
from derive.errors import DeriveError
from derive.lattice import Loop
from derive.system import LOSS, System

MEMBERS = ("mdrnn(1)", "mdrnn(3)", "mdlstm(1)", "mdlstm(3)", "stacked-lstm(1)", "stacked-lstm(3)")
EVERY = (*catalogue.names(), *MEMBERS)
MY_CELL = Path(__file__).parent / "data" / "my_cell.py"


@pytest.fixture(params=[*EVERY, f"{MY_CELL}:my_cell"], ids=[*EVERY, "my_cell.py:my_cell"])
def system(request: pytest.FixtureRequest) -> System:
    return catalogue.load(request.param)


def scheduled(items: tuple[Loop | str, ...]) -> Iterator[str]:
    for item in items:
        if isinstance(item, Loop):
            yield from scheduled(item.body)
        else:
            yield item


def visits(system: System, length: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """`(name, point)` in the order in which the schedule computes them, so many points along each axis."""
    axes = range(system.lattice.dimension)

    def run(items: tuple[Loop | str, ...], at: Mapping[int, int], moved: Mapping[tuple[str, int], int]):
        for item in items:
            if isinstance(item, Loop):
                reach = max(item.shifts.values(), default=0)
                steps = range(1 - reach, length + reach + 1)
                shifts = {(name, item.axis): item.direction * shift for name, shift in item.shifts.items()}
                for step in steps if item.direction > 0 else reversed(steps):
                    yield from run(item.body, {**at, item.axis: step}, {**moved, **shifts})
            else:
                spans = [[at[a] - moved.get((item, a), 0)] if a in at else range(1, length + 1) for a in axes]
                yield from ((item, p) for p in product(*spans) if all(1 <= i <= length for i in p))

    yield from run(system.schedule, {}, {})


def test_names_are_those_of_the_issue():
    assert catalogue.names() == (
        "birnn", "blstm", "elman", "gru", "gru-before", "irnn", "jordan", "linear-attention", "linear-rnn", "lstm",
        "lstm-coupled", "lstm-peephole", "mdlstm", "mdrnn", "mingru", "minlstm", "rnn", "rnn-relu", "skip-rnn",
        "stacked-lstm",
    )  # fmt: skip


def test_titles_are_one_line_each():
    titles = catalogue.titles()
    assert tuple(titles) == catalogue.names()
    assert all(20 < len(title) < 120 and "\n" not in title for title in titles.values())


def test_names_and_titles_do_not_import_sympy():
    code = (
        "from derive import catalogue; catalogue.names(); catalogue.titles(); print(catalogue.families());"
        "import sys; print('sympy' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert said == "('mdlstm', 'mdrnn', 'stacked-lstm')\nFalse\n"


def test_schedule_has_every_equation_once(system: System):
    assert sorted(scheduled(system.schedule)) == sorted(system.equations)


def test_schedule_computes_before_it_reads(system: System):
    """On a small lattice every read inside it is of a value that is there, and every value is computed once."""
    length = 3 if system.lattice.dimension < 3 else 2
    done: set[tuple[str, tuple[int, ...]]] = set()
    for name, point in visits(system, length):
        for var in expr.variables(system.equations[name].rhs):
            source = tuple(p + o for p, o in zip(point, system.offset(var), strict=True)) if var.index else ()
            if var.name in system.equations and all(1 <= i <= length for i in source):
                assert (var.name, source) in done, f"{name}{point} reads {var.name}{source} too early"
        assert (name, point) not in done
        done.add((name, point))
    assert len(done) == len(system.equations) * length**system.lattice.dimension


def test_everything_declared_is_read_and_everything_read_is_declared(system: System):
    read = {var.name for equation in system.equations.values() for var in expr.variables(equation.rhs)}
    assert {v.name for v in system.variables.values() if v.kind != "state"} <= read <= set(system.variables)
    assert {v.name for v in system.states} == set(system.equations)


def test_shapes_agree_and_are_symbolic(system: System):
    for variable in system.variables.values():
        assert variable.var.shape == variable.shape
        assert all(size == 1 or size.is_Symbol for size in variable.shape)
    for name, equation in system.equations.items():
        assert equation.target.shape == equation.rhs.shape == system.variables[name].shape


def test_naming_conventions(system: System):
    """`x: m`; `W_g`, `U_g` and `b_g` belong to one gate."""
    assert [(v.name, str(v.shape[0])) for v in system.inputs] == [("x", "m")]
    assert str(system.variables[system.outputs[0]].shape[0]) in ("n", "q", "p")
    rows = {v.name: v.shape[0] for v in system.parameters}
    for gate in (name[2:] for name in rows if name.startswith("b_")):
        assert {rows[name] for name in (f"W_{gate}", f"U_{gate}", f"b_{gate}") if name in rows} == {rows[f"b_{gate}"]}


def test_loss_is_a_scalar_at_every_point(system: System):
    assert system.variables[LOSS].shape == expr.SCALAR
    assert system.has_loss == bool(system.of_kind("target"))


def test_reference_title_and_name(system: System):
    assert len(system.reference) > 15 and any(c.isdigit() for c in system.reference)
    assert system.title and system.title[0].isupper()


@pytest.mark.parametrize("name", EVERY)
def test_name_is_what_loads_it(name: str):
    system = catalogue.load(name)
    assert catalogue.load(system.name) is system
    assert system.name == name
    assert catalogue.load(system) is system


BORDERS = {
    "gru": ["h[0]"],
    "lstm": ["h[0]", "c[0]"],
    "skip-rnn": ["h[0]", "h[-1]"],
    "jordan": ["y_hat[0]"],
    "birnn": ["h_fwd[0]", "h_bwd[T+1]"],
    "blstm": ["h_fwd[0]", "c_fwd[0]", "h_bwd[T+1]", "c_bwd[T+1]"],
    "linear-attention": ["S[0]"],
    "stacked-lstm": ["h_1[0]", "c_1[0]", "h_2[0]", "c_2[0]"],
    "mdrnn": [],
    "mdlstm(3)": [],
}


@pytest.mark.parametrize("name", BORDERS)
def test_borders(name: str):
    assert [border.key for border in catalogue.load(name).borders] == BORDERS[name]


@pytest.mark.parametrize("dimensions", [1, 2, 3, 8])
def test_a_grid_reads_one_neighbour_along_every_axis(dimensions: int):
    for family in ("mdrnn", "mdlstm"):
        system = catalogue.load(f"{family}({dimensions})")
        assert system.lattice.dimension == dimensions
        offsets = {offset for target, source, offset in system.reads if source == "h" and target != LOSS}
        assert offsets == {tuple(-(a == b) for b in range(dimensions)) for a in range(dimensions)}
    forget = [name for name in system.equations if name.startswith("f_")]
    assert len(forget) == dimensions
    assert all(str(length) != LOSS for length in system.lattice.lengths)


def test_equations_of_a_family_read_as_typed():
    assert repr(catalogue.load("mdrnn(3)")) == "System('mdrnn(3)': h, L)"
    (h,) = (e for n, e in catalogue.load("mdrnn").equations.items() if n == "h")
    read = [(v.name, tuple(map(str, v.index))) for v in expr.variables(h.rhs)]
    assert read == [
        ("W", ()), ("x", ("i", "j")), ("U_1", ()), ("h", ("i - 1", "j")), ("U_2", ()), ("h", ("i", "j - 1")), ("b", ()),
    ]  # fmt: skip


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_stacked_layers(layers: int):
    system = catalogue.load(f"stacked-lstm({layers})")
    assert system.outputs == (f"h_{layers}",)
    below = {source for target, source, _ in system.reads if target == f"i_{layers}"}
    assert below == {"x" if layers == 1 else f"h_{layers - 1}", f"h_{layers}"}
    assert len(system.parameters) == 12 * layers


def test_spelling_is_forgiven():
    assert catalogue.load("LSTM") is catalogue.load("lstm")
    assert catalogue.load(" lstm_peephole ") is catalogue.load("lstm-peephole")
    assert derive.load("mdrnn( 3 )").lattice.dimension == 3
    assert catalogue.load("mdrnn()").lattice.dimension == 2


HINT = "`derive list` shows all, and a system of your own is named as FILE.py:NAME"
BAD_NAMES = [
    ("gruu", f"there is no system 'gruu' in the catalogue (did you mean gru?); {HINT}"),
    ("lstm-peep", f"there is no system 'lstm-peep' in the catalogue (did you mean lstm-peephole?); {HINT}"),
    ("", f"there is no system '' in the catalogue; {HINT}"),
    ("__init__", f"there is no system '__init__' in the catalogue; {HINT}"),
    ("../cells/gru", f"there is no system '../cells/gru' in the catalogue; {HINT}"),
    ("gru(2)", "gru takes no arguments, found gru(2)"),
    ("mdrnn(0)", "dimensions of mdrnn is a whole number from 1 to 8, found '0'"),
    ("mdrnn(9)", "dimensions of mdrnn is a whole number from 1 to 8, found '9'"),
    ("mdrnn(-1)", "dimensions of mdrnn is a whole number from 1 to 8, found '-1'"),
    ("mdrnn(x)", "dimensions of mdrnn is a whole number from 1 to 8, found 'x'"),
    ("mdrnn(2, 3)", "mdrnn takes dimensions, found mdrnn(2, 3)"),
    ("homework.tex", "homework.tex: there is no such file"),
]


@pytest.mark.parametrize(("spec", "message"), BAD_NAMES, ids=[spec or "empty" for spec, _ in BAD_NAMES])
def test_bad_names(spec: str, message: str):
    with pytest.raises(DeriveError) as error:
        catalogue.load(spec)
    assert str(error.value) == message


def test_a_value_that_is_no_system():
    with pytest.raises(
        DeriveError, match=r"^int object is an int, not a System; write it as System\(name, equations=…\)$"
    ):
        catalogue.load(3)  # type: ignore[arg-type]


def test_load_of_the_catalogue_never_runs_a_file():
    with pytest.raises(DeriveError, match="there is no system"):
        catalogue.named(f"{MY_CELL}:my_cell")


# --- files of the user's ----------------------------------------------------------------------------------------------

CELL = 'System("cell", equations="h[t] = tanh(W @ x[t] + h[t-1])", inputs="x: m", parameters="W", shapes="h: n")'
FILE = f"""\
from derive import System
from beside import WIDTH

cell = {CELL}
number = 3

def family(depth: int, width: int = WIDTH) -> System:
    return cell

def broken(depth: int = 1):
    return depth

def raising():
    return 1 / 0
"""

BAD_FILES = [
    ("cell.py:cell", "cell.py: there is no such file (did you mean cells.py?)"),
    ("cells.py:cel", "cells.py defines no cel (did you mean cell?); its systems are cell"),
    ("cells.py:number", "cells.py:number is an int, not a System; write it as System(name, equations=…)"),
    ("cells.py:broken", "cells.py:broken() is an int, not a System; write it as System(name, equations=…)"),
    ("cells.py:raising", "cells.py:14: the file stopped with ZeroDivisionError: division by zero"),
    ("cells.py:family", "cells.py:family takes depth, width, found cells.py:family()"),
    ("cells.py:family(99)", "depth of cells.py:family is a whole number from 1 to 8, found '99'"),
    ("cells.py:cell(2)", "cells.py:cell takes no arguments, found cells.py:cell(2)"),
    ("two.py", "say which system of two.py is meant, as in two.py:a; its systems are a, b"),
    ("none.py", "say which system of none.py is meant, as in none.py:NAME; it defines no System"),
    ("none.py:a", "none.py defines no a; it defines no System"),
    ("raises.py:a", "raises.py:2: the file stopped with ZeroDivisionError: division by zero"),
    ("exits.py:a", "exits.py:1: the file stopped with SystemExit: 3"),
    ("syntax.py:a", "syntax.py:2:5: invalid syntax"),
    ("bytes.py:a", "bytes.py: source code string cannot contain null bytes"),
    (
        "undefined.py:a",
        "undefined.py:5:24: y is not defined; give it an equation or list it among the inputs or parameters",
    ),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the user's files, as the current one."""
    head = "from derive import System\n"
    files = {
        "cells.py": FILE,
        "beside.py": "WIDTH = 2\n",
        "two.py": f"{head}a = {CELL}\nb = {CELL}\n",
        "none.py": "x = 1\n",
        "raises.py": "\n1 / 0\n",
        "exits.py": "raise SystemExit(3)\n",
        "syntax.py": "a = 1\nb = = 2\n",
        "bytes.py": "a = 1\0",
        "undefined.py": f'{head}a = System(\n  "a", inputs="x: m", equations="""\n'
        '    f[t] = f[t-1] + x[t]\n    h[t] = tanh(f[t] + y[t])\n    """)\n',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("spec", "message"), BAD_FILES, ids=[spec for spec, _ in BAD_FILES])
def test_bad_files(folder: Path, spec: str, message: str):
    path = list(sys.path)
    with pytest.raises(DeriveError) as error:
        catalogue.load(spec)
    assert str(error.value) == message
    assert sys.path == path


def test_a_file_of_the_users(folder: Path):
    assert catalogue.load("cells.py:cell").name == "cell"
    assert catalogue.load(folder / "cells.py").name == "cell"
    assert catalogue.load(f"{folder / 'cells.py'}:family(3)").name == "cell"


def test_a_file_is_read_anew(folder: Path):
    first = catalogue.load("cells.py:cell")
    (folder / "cells.py").write_text(FILE.replace('"cell"', '"changed"'), encoding="utf-8")
    assert first.name == "cell"
    assert catalogue.load("cells.py:cell").name == "changed"


def test_the_minimal_gated_unit_needs_no_line_of_derive_changed():
    system = catalogue.load(f"{MY_CELL}:my_cell")
    assert list(system.equations) == ["f", "h_tilde", "h", LOSS]
    assert [b.key for b in system.borders] == ["h[0]"]
