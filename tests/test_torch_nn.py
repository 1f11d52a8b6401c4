"""`torch.nn`'s recurrent layers with the same weights: states and every gradient, both directions, several layers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from derive.catalogue import load
from derive.errors import DeriveError
from derive.interchange import LAYOUTS, from_torch, to_torch

torch = pytest.importorskip("torch")
STEPS, BATCH, INPUT, HIDDEN, CLASSES, SEED = 5, 3, 4, 6, 2, 11


@dataclass(frozen=True)
class Case:
    """A layer of `torch.nn`, and what its output and its first states are called in the system."""

    module: str
    states: tuple[str, ...] = ("h",)
    initial: tuple[str, ...] = ("h[0]",)
    cells: tuple[str, ...] = ()
    options: dict[str, object] = field(default_factory=dict)
    output: str = ""
    """What the system computes from the states by a linear layer."""

    def layer(self, dtype=torch.float64):
        torch.manual_seed(SEED)
        return getattr(torch.nn, self.module)(INPUT, HIDDEN, **self.options).to(dtype)

    def linear(self, dtype=torch.float64):
        torch.manual_seed(SEED + 1)
        return torch.nn.Linear(HIDDEN * len(self.states), CLASSES).to(dtype)


def stacked(layers):
    numbers = range(1, layers + 1)
    h, c = (tuple(f"{name}_{k}[0]" for k in numbers) for name in "hc")
    return Case("LSTM", (f"h_{layers}",), h, c, {"num_layers": layers})


RELU, BOTH = {"nonlinearity": "relu"}, {"bidirectional": True}
FIRST = {name: (f"{name}_fwd[0]", f"{name}_bwd[T+1]") for name in "hc"}
CASES = {
    "rnn": Case("RNN", output="o"),
    "rnn-relu": Case("RNN", options=RELU, output="o"),
    "irnn": Case("RNN", options=RELU, output="o"),
    "birnn": Case("RNN", ("h_fwd", "h_bwd"), FIRST["h"], options=BOTH, output="o"),
    "mdrnn(1)": Case("RNN", initial=()),
    "gru": Case("GRU"),
    "lstm": Case("LSTM", cells=("c[0]",)),
    "mdlstm(1)": Case("LSTM", initial=()),
    "stacked-lstm": stacked(2),
    "stacked-lstm(1)": stacked(1),
    "stacked-lstm(3)": stacked(3),
    "blstm": Case("LSTM", ("h_fwd", "h_bwd"), FIRST["h"], FIRST["c"], BOTH, output="y_hat"),
}
MODES = {
    "RNN_TANH": ("RNN", {}),
    "RNN_RELU": ("RNN", RELU),
    "GRU": ("GRU", {}),
    "LSTM": ("LSTM", {}),
}


def same(found, wanted, what):
    np.testing.assert_allclose(found, wanted, atol=1e-10, err_msg=f"{what}, seed {SEED}")


def test_every_layer_is_compared():
    assert LAYOUTS.keys() <= CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_states_and_every_gradient(name):
    """Cotangents on the states and on the output above them; the gradients of both biases of a pair, too."""
    case = CASES[name]
    layer, linear = case.layer(), case.linear()
    x = torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64, requires_grad=True)
    first = torch.randn(2, len(case.initial), BATCH, HIDDEN, dtype=torch.float64, requires_grad=True)
    given = first[0] if not case.cells else (first[0], first[1])
    states, _ = layer(x, given) if case.initial else layer(x)
    output = linear(states)
    on_states, on_output = torch.randn_like(states), torch.randn_like(output)
    (states * on_states).sum().backward(retain_graph=True)
    if case.output:
        (output * on_output).sum().backward()

    params = from_torch(layer, name) | (from_torch(linear, name) if case.output else {})
    assert list(params) and params.keys() == {v.name for v in load(name).parameters}
    initial = {
        key: array
        for keys, arrays in zip((case.initial, case.cells), first.detach().numpy(), strict=True)
        for key, array in zip(keys, arrays, strict=False)
    }
    f = load(name).compile("numpy")
    found = f.forward(params, {"x": x.detach().numpy()}, initial)
    cotangents = dict(zip(case.states, np.split(on_states.numpy(), len(case.states), -1), strict=True))
    same(np.concatenate([found[s] for s in case.states], -1), states.detach().numpy(), "states")
    if case.output:
        same(found[case.output], output.detach().numpy(), case.output)
        cotangents[case.output] = on_output.numpy()
    gradients = f.vjp(params, {"x": x.detach().numpy()}, cotangents, initial)
    same(gradients["x"], x.grad.numpy(), "x")
    for keys, wanted in zip((case.initial, case.cells), first.grad.numpy() if case.initial else [(), ()], strict=True):
        for key, gradient in zip(keys, wanted, strict=False):
            same(gradients[key], gradient, key)
    modules = {None: layer, "Linear": linear} if case.output else {None: layer}
    for kind, module in modules.items():
        sent = to_torch(gradients, name, kind, gradients=True)
        wanted = {key: p.grad for key, p in module.named_parameters()}
        assert sent.keys() == wanted.keys()
        for key, gradient in wanted.items():
            same(sent[key].numpy(), gradient.numpy(), key)


@pytest.mark.parametrize("name", CASES)
def test_there_and_back(name):
    """Another layer that loads them computes the same; the parameters come back as they were."""
    case = CASES[name]
    layer, other = case.layer(), getattr(torch.nn, case.module)(INPUT, HIDDEN, **case.options).double()
    params = from_torch(layer, name)
    state = to_torch(params, name)
    assert list(state) == list(layer.state_dict())
    other.load_state_dict(state)
    x = torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64)
    same(other(x)[0].detach().numpy(), layer(x)[0].detach().numpy(), name)
    back = from_torch(other, name)
    assert back.keys() == params.keys() and all(np.array_equal(back[k], params[k]) for k in params)


@pytest.mark.parametrize("name", ["rnn", "rnn-relu", "gru", "lstm"])
def test_a_cell(name):
    module = getattr(torch.nn, f"{CASES[name].module}Cell")
    torch.manual_seed(SEED)
    cell = module(INPUT, HIDDEN, **CASES[name].options).double()
    params = from_torch(cell, name)
    full = {v.name: np.zeros([{"n": HIDDEN, "q": CLASSES}[str(s)] for s in v.shape if s != 1])
            for v in load(name).parameters if v.name not in params}  # fmt: skip
    x = torch.randn(1, BATCH, INPUT, dtype=torch.float64)
    step = cell(x[0])
    h = load(name).compile("numpy").forward(params | full, {"x": x.numpy()})["h"][0]
    same(h, (step[0] if isinstance(step, tuple) else step).detach().numpy(), name)
    other = module(INPUT, HIDDEN, **CASES[name].options).double()
    other.load_state_dict(to_torch(params, name, f"{CASES[name].module}Cell"))
    assert all(np.array_equal(v, params[k]) for k, v in from_torch(other, name).items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_the_dtype_is_kept(dtype):
    params = from_torch(CASES["gru"].layer(dtype), "gru")
    assert all(p.dtype == str(dtype).partition(".")[2] for p in params.values())
    assert all(t.dtype == dtype for t in to_torch(params, "gru").values())


def test_without_biases():
    layer = torch.nn.GRU(INPUT, HIDDEN, bias=False).double()
    params = from_torch(layer, "gru")
    assert not any(params[name].any() for name in ("b_z", "b_r", "b_h", "c_h"))
    x = torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64)
    same(load("gru").compile("numpy").forward(params, {"x": x.numpy()})["h"], layer(x)[0].detach().numpy(), "h")


def test_what_comes_is_a_copy():
    layer = CASES["lstm"].layer()
    params = from_torch(layer, "lstm")
    before = params["W_i"].copy()
    with torch.no_grad():
        layer.weight_ih_l0.zero_()
    assert np.array_equal(params["W_i"], before) and params["W_i"].flags.writeable


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("mode", MODES)
def test_a_module_of_another_kind(name, mode):
    """Whatever its size: with five units 3 gates are no multiple of 4, with four they are."""
    module, options = MODES[mode]
    wanted = LAYOUTS.get(name, LAYOUTS["stacked-lstm"]).mode
    for hidden in (4, 5) if mode != wanted else ():
        layers = {k: v for k, v in CASES[name].options.items() if k not in RELU}
        layer = getattr(torch.nn, module)(INPUT, hidden, **options, **layers)
        with pytest.raises(DeriveError, match=f"the module is of mode {mode}, .* of {wanted}"):
            from_torch(layer, name)
        if "RNN" not in mode or "RNN" not in wanted:
            with pytest.raises(DeriveError, match="has the shape"):
                from_torch(layer.state_dict(), name)


def test_what_numpy_has_no_dtype_for():
    with pytest.raises(DeriveError, match=r"weight_ih_l0 has the dtype torch.bfloat16, which NumPy lacks"):
        from_torch(CASES["lstm"].layer(torch.bfloat16), "lstm")
