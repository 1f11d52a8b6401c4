"""Weights in the arrays of PyTorch and back, without PyTorch: where each parameter stands, and what is said of others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

import derive
from derive.catalogue import load, names
from derive.errors import DeriveError
from derive.interchange import LAYOUTS, from_torch, to_torch
from derive.system import System

SIZES = {"n": 6, "m": 4, "q": 2}
SYSTEMS = (*LAYOUTS, "stacked-lstm(1)", "stacked-lstm(3)")


@pytest.fixture(autouse=True)
def without_torch(monkeypatch):
    """State dicts of NumPy arrays, as where PyTorch is not installed."""
    monkeypatch.setitem(sys.modules, "torch", None)


def draw(name: str, seed: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {v.name: rng.normal(size=[SIZES[str(s)] for s in v.shape if s != 1]) for v in load(name).parameters}


def kinds(name: str) -> tuple[str | None, ...]:
    layout = LAYOUTS.get(name, LAYOUTS["stacked-lstm"])
    return (None, "Linear") if layout.output else (None,)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_parameter_goes_there_and_comes_back(name: str):
    params, back = draw(name), {}
    for kind in kinds(name):
        back |= from_torch(to_torch(params, name, kind), name)
    assert back.keys() == params.keys()
    for key, wanted in params.items():
        assert np.array_equal(back[key], wanted), f"{name}, {key}: {back[key]}, not {wanted}, seed 3"


@pytest.mark.parametrize("name", SYSTEMS)
def test_gradients_go_the_transposed_way(name: str):
    """`<from_torch(w), g> = <w, to_torch(g, gradients=True)>`: the map is linear, and this is its transpose."""
    rng, gradients = np.random.default_rng(5), draw(name, seed=4)
    for kind in kinds(name):
        sent = to_torch(gradients, name, kind, gradients=True)
        weights = {key: rng.normal(size=a.shape) for key, a in sent.items()}
        ours = sum((p * gradients[key]).sum() for key, p in from_torch(weights, name).items())
        theirs = sum((w * sent[key]).sum() for key, w in weights.items())
        assert ours == pytest.approx(theirs, rel=1e-12), f"{name}, {kind}, seeds 4 and 5"


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_bias_stands_whole_in_the_first_of_its_pair(name: str):
    params = draw(name)
    state = to_torch(params, name)
    seconds = np.concatenate([a for key, a in state.items() if key.startswith("bias_hh")])
    apart = [params[own] for own in LAYOUTS.get(name, LAYOUTS["stacked-lstm"]).apart.values()]
    assert np.count_nonzero(seconds) == sum(a.size for a in apart)
    sums = {
        key: a + state[key.replace("ih", "hh")] * (not apart) for key, a in state.items() if key.startswith("bias_ih")
    }
    assert all(np.array_equal(state[key], total) for key, total in sums.items())


def test_the_order_of_the_gates():
    """That of the documentation of `torch.nn`: i, f, g, o for an LSTM, r, z, n for a GRU."""
    lstm, gru = draw("lstm"), draw("gru")
    state = to_torch(lstm, "lstm")
    assert np.array_equal(state["weight_hh_l0"], np.vstack([lstm[f"U_{g}"] for g in "ifgo"]))
    state = to_torch(gru, "gru")
    assert np.array_equal(state["weight_ih_l0"], np.vstack([gru[f"W_{g}"] for g in "rzh"]))
    assert np.array_equal(state["bias_hh_l0"][2 * SIZES["n"] :], gru["c_h"])


def test_the_bias_of_a_pair_is_its_sum():
    state = {key: np.full(a.shape, 1.0 + key.startswith("bias_hh")) for key, a in to_torch(draw("gru"), "gru").items()}
    params = from_torch(state, "gru")
    assert (params["b_z"] == 3).all() and (params["b_h"] == 1).all() and (params["c_h"] == 2).all()


def test_more_than_the_layer_holds_is_passed_over():
    """What `vjp` returns has the gradients of inputs and first states beside those of the parameters."""
    params = draw("lstm")
    found = to_torch(params | {"x": np.zeros(3), "h[0]": np.zeros(6)}, "lstm")
    assert all(np.array_equal(a, to_torch(params, "lstm")[key]) for key, a in found.items())


def test_from_the_top_of_the_package():
    assert derive.from_torch is from_torch and derive.to_torch is to_torch


def test_nothing_imports_torch_for_arrays():
    code = (
        "import derive, sys, numpy as np\n"
        "w = {'weight_ih_l0': np.ones((2, 3)), 'weight_hh_l0': np.ones((2, 2))}\n"
        "print(sorted(derive.from_torch(w, 'mdrnn(1)')), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "['U_1', 'W', 'b'] False\n", done.stderr


# --- what is refused ------------------------------------------------------------------------------------------------------


def changed(name: str, **changes: object) -> dict[str, object]:
    """The state dict of a layer with arrays of other shapes put in, or taken out (None)."""
    state = dict(to_torch(draw(name), name)) | {key: v and np.zeros(v) for key, v in changes.items()}
    return {key: value for key, value in state.items() if value is not None}


def linear(columns: int) -> dict[str, object]:
    return {"weight": np.ones((2, columns)), "bias": np.ones(2)}


ARE = "these are the weights of"
REFUSED = [
    ("mdrnn", lambda: {}, "mdrnn is no layer of torch.nn; those of the catalogue that are: rnn, rnn-relu, irnn, birnn"),
    ("minlstm", lambda: {}, "minlstm is no layer of torch.nn"),
    ("lstm", lambda: 3, "weights come from a module of torch.nn or its state dict; found int"),
    ("lstm", lambda: {}, "lstm needs weight_ih_l0; found nothing; pass the layer itself"),
    ("lstm", lambda: {"rnn.weight_ih_l0": np.ones(3)}, "lstm needs weight_ih_l0; found rnn.weight_ih_l0; pass the layer"),
    ("lstm", lambda: changed("lstm", bias_hh_l0=None), "lstm needs bias_hh_l0; found weight_ih_l0, weight_hh_l0"),
    ("lstm", lambda: changed("lstm", weight_hr_l0=(3, 6)), "weight_hr_l0 projects the state (proj_size), which no system"),
    ("lstm", lambda: changed("stacked-lstm(3)"), f"lstm has no place for weight_ih_l1; {ARE} stacked-lstm(3)"),
    ("stacked-lstm", lambda: changed("lstm"), f"stacked-lstm needs weight_ih_l1; found weight_ih_l0, weight_hh_l0, "
     f"bias_ih_l0, bias_hh_l0; {ARE} lstm or mdlstm(1)"),
    ("lstm", lambda: changed("blstm"), f"lstm has no place for weight_ih_l0_reverse; {ARE} blstm"),
    ("gru", lambda: changed("gru", weight_ih_l0_reverse=(18, 4)),
     "gru has no place for weight_ih_l0_reverse; no system of the catalogue is that layer"),
    ("lstm", lambda: changed("gru"),
     f"weight_ih_l0 has the shape (18, 4); lstm reads W_i, W_f, W_g, W_o in it, each (n, m); {ARE} gru"),
    ("rnn", lambda: changed("gru"), f"weight_hh_l0 has the shape (18, 6); it should be (n, n) with n = 18; {ARE} gru"),
    ("lstm", lambda: changed("lstm", bias_ih_l0=(20,)),
     "bias_ih_l0 has the shape (20,); lstm reads b_i, b_f, b_g, b_o in it, each (n) with n = 6"),
    ("lstm", lambda: changed("lstm", weight_hh_l0=(24,)),
     "weight_hh_l0 has the shape (24,); lstm reads U_i, U_f, U_g, U_o in it, each (n, n) with n = 6"),
    ("lstm", lambda: linear(6), "lstm has no output layer"),
    ("blstm", lambda: linear(5), "weight has the shape (2, 5); blstm reads V_fwd, V_bwd in it, each (q, n)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "source", "words"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_such_layer_is_a_sentence(name: str, source: Callable[[], object], words: str):
    with pytest.raises(DeriveError) as error:
        from_torch(source(), name)
    assert words in str(error.value), str(error.value)


NOT_SENT = [
    ({"U_i": None}, "lstm", None, "the parameters lack U_i of lstm"),
    ({"U_i": np.zeros((6, 5))}, "lstm", None, "U_i has the shape (6, 5); it should be (n, n) with n = 6"),
    ({"b_f": np.zeros((6, 1))}, "lstm", None, "b_f has the shape (6, 1); it should be (n) with n = 6"),
    ({}, "lstm", "Linear", "of torch.nn, lstm is LSTM or LSTMCell, not Linear"),
    ({}, "lstm", "LTSM", "of torch.nn, lstm is LSTM or LSTMCell, not LTSM (did you mean LSTM?)"),
    ({}, "stacked-lstm", "LSTMCell", "of torch.nn, stacked-lstm is LSTM, not LSTMCell"),
    ({}, "gru", None, "the parameters lack W_r of gru"),
    ({}, "jordan", None, "jordan is no layer of torch.nn"),
]


@pytest.mark.parametrize(("changes", "name", "module", "words"), NOT_SENT, ids=range(len(NOT_SENT)))
def test_what_can_not_be_sent_is_a_sentence(changes: dict[str, object], name: str, module: str | None, words: str):
    params = {key: value for key, value in (draw("lstm") | changes).items() if value is not None}
    with pytest.raises(DeriveError) as error:
        to_torch(params, name, module)
    assert words in str(error.value), str(error.value)


def test_a_system_of_ones_own_is_not_taken_for_its_namesake():
    """Cho's `z` keeps the new state: PyTorch's weights would be another network's."""
    own = System(
        "gru",
        equations="z[t] = sigmoid(W_z @ x[t] + U_z @ h[t-1] + b_z)\nh[t] = (1 - z[t]) * h[t-1] + z[t] * tanh(W_h @ x[t])",
        inputs="x: m",
        parameters="W_z U_z b_z W_h",
        shapes="h: n",
    )
    with pytest.raises(DeriveError, match=r"gru is no layer of torch.nn; .* a system of your own"):
        from_torch(to_torch(draw("gru"), "gru"), own)


@pytest.mark.parametrize("name", names())
def test_every_system_is_a_layer_or_says_that_it_is_none(name: str):
    if name in LAYOUTS:
        assert to_torch(draw(name), name)
        return
    with pytest.raises(DeriveError, match=f"^{name} is no layer of torch.nn"):
        to_torch({}, name)
