"""Grids in waves, in emitted NumPy: against the same modules going point by point, against finite differences, and by hand."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import test_emit_contract as contract
from test_emit_contract import Case, assert_gradients

from derive import catalogue, cli
from derive.emit.numpy.module import Module
from derive.emit.numpy.waves import WAVES
from derive.notation import Notation
from derive.schedule import account, schedule, text
from derive.schedule.fronts import planes
from derive.schedule.program import Program
from derive.system import System

SEED = 11


def cell(equations: str, boundary: str | None = "given", **more: str) -> System:
    """A cell with the matrices U, V and W that its equations use."""
    matrices = ", ".join(f"{name}: n x n" for name in "UVW" if re.search(rf"\b{name}\b", equations))
    options = {"parameters": matrices, "boundary": {"h": boundary} if boundary else {}, **more}
    return System("cell", equations=equations, inputs="x: n", **options)


CELLS = {
    "corner": cell("h[i,j] = tanh(x[i,j] + U @ h[i-1,j] + V @ h[i,j-1] + W @ h[i-1,j-1])"),
    "zero borders": cell("h[i,j] = tanh(x[i,j] + U @ h[i-1,j] + V @ h[i,j-1])", "zero"),
    "learned borders": cell("h[i,j] = tanh(x[i,j] + U @ h[i-1,j] + V @ h[i,j-1])", "learned"),
    "upwards": cell("h[i,j] = tanh(x[i,j] + U @ h[i+1,j] + V @ h[i,j+1])"),
    "from lower left": cell("h[i,j] = tanh(x[i,j] + U @ h[i+1,j] + V @ h[i,j-1])"),
    "from upper right": cell("h[i,j] = tanh(x[i,j] + U @ h[i-1,j] + V @ h[i,j+1])"),
    "from the next column": cell("h[i,j] = tanh(x[i,j] + U @ h[i-1,j+1] + V @ h[i,j-1])"),
    "from the next row": cell("h[i,j] = tanh(x[i,j] + U @ h[i+1,j-1] + V @ h[i-1,j])"),
    "a knight's move": cell("h[i,j] = tanh(x[i,j] + U @ h[i-1,j+2] + V @ h[i,j-1])", "learned"),
    "steep, from the right": cell("h[i,j] = tanh(x[i,j] + U @ h[i-1,j-1] + V @ h[i,j+1])"),
    "steep, from below": cell("h[i,j] = tanh(x[i,j] + U @ h[i-1,j-1] + V @ h[i+1,j])"),
    "two away": cell("h[i,j] = tanh(x[i,j] + U @ h[i-2,j] + V @ h[i,j-1] + W @ h[i-1,j-2])"),
    "one state behind": cell(
        "g[i,j] = tanh(x[i,j] + U @ h[i-2,j] + V @ g[i,j-1])\nh[i,j] = sigmoid(W @ g[i+1,j]) * h[i,j-1]"
    ),
    "four directions": cell(
        "a[i,j] = tanh(x[i,j] + U @ a[i-1,j] + V @ a[i,j-1])\nb[i,j] = tanh(x[i,j] + U @ b[i+1,j] + V @ b[i,j-1])\n"
        "c[i,j] = tanh(x[i,j] + U @ c[i-1,j] + V @ c[i,j+1])\nd[i,j] = tanh(x[i,j] + U @ d[i+1,j] + V @ d[i,j+1])\n"
        "h[i,j] = a[i,j] * b[i,j] + c[i,j] * d[i,j]", None,
    ),
    "softmax and layer norm": cell("p[i,j] = softmax(U @ h[i-1,j] + x[i,j])\nh[i,j] = layer_norm(V @ p[i,j] + h[i,j-1])"),
    "a quotient": cell("h[i,j] = (x[i,j] + h[i-1,j]) / (1.5 + square(W @ h[i,j-1]))"),
    "a quotient, steep": cell(
        "h[i,j] = (x[i,j] + h[i-1,j+1]) / (1.5 + square(W @ h[i,j-1])) + h[i-1,j-2] / (2 + square(x[i,j]))"
    ),
    "a quotient, from below": cell("h[i,j] = (x[i,j] + h[i+1,j-1]) / (1.5 + square(h[i-1,j]))"),
    "a quotient, from the right": cell("h[i,j] = (x[i,j] + h[i-1,j]) / (1.5 + square(h[i,j+1]))"),
    "a quotient, three axes": cell(
        "h[i,j,k] = (x[i,j,k] + h[i-1,j,k]) / (1.5 + square(W @ h[i,j,k-1])) + V @ h[i,j-1,k]"
    ),
    "a root behind": cell("g[i,j] = tanh(x[i,j] + U @ h[i-2,j] + V @ g[i,j-1])\nh[i,j] = sqrt(1 + square(g[i+1,j])) * h[i,j-1]"),
    "scalars": cell(
        "a[i,j] = tanh(w * a[i-1,j] + v * a[i,j-1] + sum(x[i,j]))\nh[i,j] = a[i,j] * x[i,j]",
        None, parameters="w v: scalar", shapes="a: scalar",
    ),
    "matrix state": cell(
        "C[i,j] = U @ C[i-1,j] + C[i,j-1] @ V + x[i,j] @ (W @ x[i,j]).T\nh[i,j] = tanh(C[i,j] @ x[i,j])", None
    ),
    "three axes": cell(
        "h[i,j,k] = tanh(x[i,j,k] + U @ h[i-1,j,k] + V @ h[i,j+1,k] + W @ h[i,j,k-1] + h[i-1,j-1,k+1])", "learned"
    ),
    "three axes, a gate": cell(
        "g[i,j,k] = sigmoid(x[i,j,k] + U @ h[i-1,j,k+1])\nh[i,j,k] = tanh(g[i,j,k] * h[i,j-1,k] + W @ h[i,j,k-1])"
    ),
}  # fmt: skip
GRIDS = {
    **{n: s for n in (*catalogue.names(), "mdrnn(3)", "mdlstm(3)") if (s := catalogue.load(n)).lattice.dimension > 1},
    **CELLS,
}
SIZES = [(1, 1, 1), (1, 4, 2), (4, 1, 3), (2, 5, 2), (5, 2, 1)]


def module(system: System, waves: bool = True) -> Any:
    """The emitted module, for cotangents of every state; without waves its loops go over points."""
    with patch("derive.emit.numpy.writer.planes", planes if waves else lambda program: {}):
        source = Module(schedule(system, tuple(n for n in system.equations if n != "L"))).source()
    found: dict[str, Any] = {"__name__": "emitted"}
    exec(source, found)
    return SimpleNamespace(**found, source=source)


def case(system: System, size: tuple[int, ...], batch: tuple[int, ...], dtype: str = "float64") -> Case:
    with patch.object(contract, "lengths", lambda s, T: dict(zip(map(str, s.lattice.lengths), size, strict=False))):
        return Case(system, batch=batch, seed=SEED, dtype=dtype)


def assert_same(found: Mapping[str, Any], wanted: Mapping[str, Any], what: Any, rtol: float = 1e-9) -> None:
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape, (what, name, SEED)
        message = f"{name} of {what}, seed {SEED}: waves, then points"
        np.testing.assert_allclose(found[name], array, rtol=rtol, atol=rtol / 100, err_msg=message)


# --- forward and backward -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GRIDS)
def test_waves_compute_what_points_do(name: str):
    system = GRIDS[name]
    waves, points = module(system), module(system, waves=False)
    assert "_along(" in waves.source and "_along(" not in points.source
    for size, batch in product(SIZES, [(), (2,), (2, 3)]):
        for dtype in ("float64", "float32") if batch == (2,) else ("float64",):
            c = case(system, size, batch, dtype)
            rtol = 1e-9 if dtype == "float64" else 2e-4
            given = (c.params, c.inputs, c.initial)
            assert_same(waves.forward(*given), points.forward(*given), (name, size, batch), rtol)
            given = (c.params, c.inputs, c.cotangents, c.initial)
            assert_same(waves.vjp(*given), points.vjp(*given), (name, size, batch), rtol)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("size", [(1, 2, 1), (3, 2, 2)])
def test_gradients_in_waves_are_the_slopes_of_forward(name: str, size: tuple[int, ...]):
    system = CELLS[name]
    c, f = case(system, size, (2,)), module(system)

    def value() -> float:
        found = f.forward(c.params, c.inputs, c.initial)
        return sum(float((bar * found[k]).sum()) for k, bar in c.cotangents.items())

    assert_gradients(c, f.vjp(c.params, c.inputs, c.cotangents, c.initial), value)


def test_a_grid_by_hand():
    rng = np.random.default_rng(SEED)
    system = CELLS["a knight's move"]
    c, n = case(system, (4, 5), ()), 3
    c.params = {name: rng.normal(size=array.shape) for name, array in c.params.items()}
    n = c.params["U"].shape[0]
    h = np.zeros((5, 8, n))
    for key, value in c.params.items():
        if "[" in key:
            i, j = key.removeprefix("h[").removesuffix("]").split(",")
            h[0 if i == "0" else slice(1, None), {"0": 0, "J+1": 6, "J+2": 7}.get(j, slice(1, 6))] = value
    for i, j in product(range(1, 5), range(1, 6)):
        h[i, j] = np.tanh(c.inputs["x"][i - 1, j - 1] + c.params["U"] @ h[i - 1, j + 2] + c.params["V"] @ h[i, j - 1])
    found = module(system).forward(c.params, c.inputs)["h"]
    np.testing.assert_allclose(found, h[1:, 1:6], rtol=1e-12, err_msg=f"emitted, then by hand; seed {SEED}")


@pytest.mark.parametrize("loss_at", ["every", "last"])
@pytest.mark.parametrize("boundary", ["given", "zero", "learned"])
def test_a_loss_in_waves_is_that_of_points(loss_at: str, boundary: str):
    system = cell(
        "h[i,j] = tanh(x[i,j] + U @ h[i-1,j+1] + V @ h[i,j-1])", boundary,
        targets="y: n", loss="squared_error(h[i,j], y[i,j])", loss_at=loss_at,
    )  # fmt: skip
    waves, points = module(system), module(system, waves=False)
    for size, batch in product(SIZES, [(), (3,)]):
        c = case(system, size, batch)
        given = (c.params, c.inputs, c.targets, c.initial)
        (loss, gradients), (wanted, others) = waves.value_and_grad(*given), points.value_and_grad(*given)
        assert np.isclose(loss, wanted, rtol=1e-12), (loss, wanted, size, batch, SEED)
        assert_same(gradients, others, (loss_at, boundary, size, batch))


@pytest.mark.parametrize("name", ["mdlstm", "corner", "steep, from below"])
def test_samples_of_different_lengths_in_waves_are_as_if_alone(name: str):
    system = GRIDS[name]
    c, f = case(system, (4, 3), (3,)), system.compile("numpy")
    bars = {k: c.cotangents[k] for k in (system.outputs[0],)}
    lengths = np.array([[4, 3], [1, 2], [3, 1]])
    whole = f.vjp(c.params, c.inputs, bars, c.initial, lengths=lengths)
    for b, (rows, columns) in enumerate(lengths):
        one = {"x": c.inputs["x"][:rows, :columns, b]}
        edges = {
            key: array[: rows if key.startswith("h[i") else columns, b] if array.ndim > 2 else array[b]
            for key, array in c.initial.items()
        }
        alone = f.vjp(c.params, one, {k: v[:rows, :columns, b] for k, v in bars.items()}, edges)
        np.testing.assert_allclose(
            whole["x"][:rows, :columns, b], alone["x"], rtol=1e-9, atol=1e-12, err_msg=f"{name} {b}"
        )


# --- at random ------------------------------------------------------------------------------------------------------------


def at_random(seed: int) -> System:
    """A grid of one to three states that are swept along one axis, some a step behind, and inside along the other."""
    rng = np.random.default_rng(seed)
    axes, directions = rng.permutation(2), rng.choice([-1, 1], 2)
    names = "hgf"[: rng.integers(1, 4)]
    behind = {name: rng.integers(0, 2) for name in names}
    lines, matrices = [], []
    for place, name in enumerate(names):
        terms = ["x[i,j]"]
        for k in range(rng.integers(2, 4)):
            source = str(rng.choice([*names]))
            back = -rng.integers(0, 3)
            aside = rng.integers(-2, 3) if back else rng.integers(-2, 1 if names.index(source) < place else 0)
            steps = np.array([back + behind[name] - behind[source], aside])[axes] * directions
            i, j = (f"{o:+d}" if o else "" for o in steps)
            read = f"{source}[i{i},j{j}]"
            matrices.append(f"U_{name}{k}: n x n")
            terms.append([f"U_{name}{k} @ {read}", f"sigmoid(U_{name}{k} @ {read}) * {read}"][rng.integers(2)])
        lines.append(f"{name}[i,j] = tanh({' + '.join(terms)})")
    return System("cell", equations="\n".join(lines), inputs="x: n", parameters=", ".join(matrices))


@pytest.mark.parametrize("seed", range(24))
def test_grids_at_random_compute_in_waves_what_they_do_point_by_point(seed: int):
    system = at_random(seed)
    waves, points = module(system), module(system, waves=False)
    for size in ((1, 3), (3, 1), (4, 5)):
        c = case(system, size, (2,))
        given = (c.params, c.inputs, c.initial)
        assert_same(waves.forward(*given), points.forward(*given), (seed, size, system.equations))
        given = (c.params, c.inputs, c.cotangents, c.initial)
        assert_same(waves.vjp(*given), points.vjp(*given), (seed, size, system.equations))


def test_most_grids_at_random_are_more_than_loops_along_one_axis():
    found = [planes(schedule(at_random(seed))).values() for seed in range(24)]
    slopes = {tuple(map(abs, p.front.slopes)) for of in found for p in of}
    assert sum(map(bool, found)) >= 6 and len(slopes) >= 3, slopes
    assert any(max(p.front.delays.values()) for of in found for p in of)


# --- the waves themselves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns", "slope"), [*product((1, 2, 5), (1, 2, 4), (1, 2, 3))])
def test_a_wave_has_the_points_of_its_number_and_every_point_is_in_one(rows: int, columns: int, slope: int):
    found: dict[str, Any] = {"np": np, "functools": __import__("functools")}
    exec(WAVES, found)
    grid = np.arange(2 * rows * columns).reshape(rows, columns, 2)
    whole, seen = np.pad(grid, ((1, 2), (1, 1), (0, 0)), constant_values=-1), []
    waves = found["_waves"](rows, columns, slope)
    views = [*found["_along"](waves, grid, whole[1:-2, 1:-1], slope=slope)]
    for number, (wave, inside) in enumerate(views):
        points = [(i, j) for i in range(rows) for j in range(columns) if slope * i + j == number]
        assert wave.tolist() == inside.tolist() == [grid[p].tolist() for p in points], (wave, points)
        seen += points
    assert sorted(seen) == [*np.ndindex(rows, columns)]
    for left_out in product((0, 1), (0, 2), (0, 2), (0, 1)):
        top, bottom, left, right = left_out
        some = [view for (view,) in found["_along"](found["_waves"](rows, columns, slope, left_out), grid, slope=slope)]
        assert len(some) == len(views)
        wanted = grid[top : max(top, rows - bottom), left : max(left, columns - right)].reshape(-1, 2).tolist()
        assert sorted(point for view in some for point in view.tolist()) == wanted, left_out
    for _, inside in views:
        inside[...] = 0
    assert (whole[1:-2, 1:-1] == 0).all() and (whole == -1).sum() == whole.size - grid.size


def test_every_read_is_of_an_earlier_wave_or_of_an_earlier_statement():
    for name, system in GRIDS.items():
        program = schedule(system)
        for plane in planes(program).values():
            assert_in_time(name, program, plane)


def assert_in_time(name: str, program: Program, plane: Any) -> None:
    from derive.schedule.storage import read_by

    front, done = plane.front, set()
    for statement in front.order:
        target = statement.targets[0].name
        for var in read_by(statement):
            offset = program.system.offset(var) if var.index else ()
            if var.name in front.delays and not any(offset[a] for a in plane.outer):
                late = sum(s * o for s, o in zip(front.slopes, offset, strict=True))
                late += front.delays[var.name] - front.delays[target]
                assert late < 0 or (late == 0 and var.name in done), f"{name}: {target} reads {var}, {late} waves later"
        done |= {t.name for t in statement.targets}


# --- what is written ------------------------------------------------------------------------------------------------------


def test_modules_in_waves_pass_ruff(tmp_path: Path):
    pytest.importorskip("ruff")
    for k, system in enumerate([*CELLS.values(), *map(at_random, range(24))]):
        (tmp_path / f"module_{k}.py").write_text(module(system).source, encoding="utf-8")
    how = ["check", "--isolated", "--select", "E,F,I,UP,B", "--line-length", "120", str(tmp_path)]
    found = subprocess.run([sys.executable, "-m", "ruff", *how], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("name", ["mdrnn", "mdlstm"])
def test_no_loop_of_the_catalogues_grids_goes_over_points(name: str):
    source = catalogue.load(name).compile("numpy").source
    loops = re.findall(r"^( +)for .* in range\(", source, re.MULTILINE)
    assert not loops and len(re.findall(r"in _along\(", source)) == 2


def test_what_only_its_wave_reads_has_no_array_of_all_points():
    source = catalogue.load("mdlstm").compile("numpy").source
    assert "h_bar = np.empty((min(len_i, len_j), *batch, n), dtype)" in source
    assert source.count("np.empty((min(len_i, len_j), *batch, 5 * n), dtype)") == 2


def test_a_module_says_slope_only_where_one_is_steep():
    plain, steep = module(CELLS["corner"]).source, module(CELLS["a knight's move"]).source
    assert "slope=" not in plain and "slope *" not in plain and "_waves(len_i, len_j, slope=3)" in steep


def test_what_may_divide_by_zero_beyond_the_border_is_for_the_points_before_it():
    """Such terms of the adjoint are computed where they read inside; across a loop around the waves, point by point."""
    source = module(CELLS["a quotient"]).source
    assert "_waves(len_i, len_j, left_out=(0, 1, 0, 0))[::-1]" in source
    assert "h_bar_here_if_after_i += " in source
    found = planes(schedule(CELLS["a quotient, three axes"]))
    assert [p.downwards for p in found.values()] == [False]


SAID = {
    "corner": (["for i = 1..I; in NumPy and JAX in waves i + j = 2..I+J"], ["; in NumPy and JAX in waves i + j = I+J..2"]),
    "a knight's move": (["waves 3*i + j = 4..3*I+J"], ["waves 3*i + j = 3*I+J..4"]),
    "from upper right": (["waves i - j = 1-J..I-1"], ["waves i - j = I-1..1-J"]),
    "one state behind": (["waves i + j = 2..I+J+1"], ["waves i + j = I+J..1"]),
    "three axes": (["in JAX in waves", "in NumPy in waves j - k = J-1..1-K"], ["in NumPy in waves j - k = 1-K..J-1"]),
    "a quotient": (["in NumPy and JAX in waves"], ["in NumPy and JAX in waves"]),
    "a quotient, three axes": (["in NumPy in waves j + k = 2..J+K"], ["in JAX in waves i + j + k = I+J+K..3"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_the_schedule_says_in_which_waves(name: str):
    page = text.text(schedule(CELLS[name]), Notation())
    forward, backward = page.split("Backward")
    for part, lines in zip((forward, backward), SAID[name], strict=True):
        for line in lines:
            assert line in part, f"{line}\nis not in\n{part}"


def test_a_chain_and_a_grid_along_one_axis_have_no_waves(capsys):
    assert cli.main(["show", "lstm", "--schedule"]) == 0
    assert "waves" not in capsys.readouterr().out
    one = schedule(cell("h[i,j] = tanh(U @ h[i-1,j] + V @ x[i,j-1])"))
    found = account.data(one, Notation())
    assert not any(item.get("waves") for item in (*found["forward"], *found["backward"]))
