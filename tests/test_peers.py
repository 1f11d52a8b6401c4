"""What derive is measured against computes the same: the gradients of every peer in `benchmarks/peers/`, and the script runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from peers import OTHERS, OURS, PEERS, disagreement
from peers.cells import CELLS, by_name, setting, stacked, system

ROOT = Path(__file__).parent.parent
SHAPES = ((5, 1, 3, 4), (4, 3, 5, 7))
SEED = 7
OF_OTHERS = {"lstm-peephole": (4, 3, 5, 6), "skip-rnn": (4, 3, 5, 6), "blstm": (4, 3, 5, 6), "mdrnn": (2, 3, 2, 5, 4)}


def peer(row):
    try:
        return row.load()
    except (ImportError, OSError) as error:
        pytest.skip(f"{row.title}: {error}")


def wanted(point):
    """By the emitted NumPy, without the gradients of boundary values."""
    of = system(point.cell)
    found = of.compile("numpy").vjp(point.params, {"x": point.x}, {of.outputs[0]: point.h_ct})
    return {name: value for name, value in found.items() if name in {*point.params, "x"}}


def same(found, point, what):
    for name, value in wanted(point).items():
        message = f"{what}, {point.cell}: {name}, seed {SEED}"
        assert found[name].shape == value.shape, message
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=message)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", [name for name in PEERS if name != "gemms"])
def test_gradients_of_a_peer(name, cell, shape):
    point, one = setting(cell, shape, "float64", SEED), peer(PEERS[name])
    same(one.gradients(point, one.prepare(point)()), point, name)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", ["numpy", "naive", "c"])
def test_gradients_by_name(name, cell):
    point, one = setting(cell, SHAPES[1], "float64", SEED), peer(PEERS[name])
    same(one.gradients(point, one.prepare(point, named=True)()), point, name)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("cell", OF_OTHERS)
def test_gradients_of_other_systems(name, cell):
    point, one = setting(cell, OF_OTHERS[cell], "float64", SEED), peer(OTHERS[name])
    same(one.gradients(point, one.prepare(point)()), point, name)


@pytest.mark.parametrize("cell", [*CELLS, *OF_OTHERS])
def test_stacks_hold_every_parameter(cell):
    point = setting(cell, OF_OTHERS.get(cell, SHAPES[0]), "float64", SEED)
    back = by_name(cell, {**stacked(cell, point.params), "x": point.x})
    assert set(back) == {*point.params, "x"}
    for name, value in point.params.items():
        np.testing.assert_array_equal(back[name], value, err_msg=f"{cell}: {name}")


def test_every_backend_has_a_row():
    from derive.emit import BACKENDS

    assert {row.module for row in OURS.values()} == set(BACKENDS)


def test_the_script_compares_and_reports(tmp_path):
    written = tmp_path / "found.json"
    point = ["--cells", "lstm", "--dtypes", "float64", "--shapes", "3x2x2x4", "--peers", "naive,ours-numpy"]
    command = [sys.executable, str(ROOT / "benchmarks/functions.py"), *point, "--seconds", "0", "-o", str(written)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert "| best NumPy | 1.00 |" in done.stdout and "| naive NumPy |" in done.stdout, done.stdout
    (point,) = json.loads(written.read_text())["numbers"]
    assert point["rounds"] >= 5 and set(point["ratios"]) == {"numpy", "naive", "ours-numpy"}


def test_a_wrong_gradient_is_told():
    right = wanted(setting("rnn", SHAPES[0], "float64", SEED))
    assert disagreement(right, right) == ""
    assert "gradient of U differs by 0.001" in disagreement(right | {"U": right["U"] * 1.001}, right)
    assert "wanted of U, W, b, x" in disagreement({"U": right["U"]}, right)
