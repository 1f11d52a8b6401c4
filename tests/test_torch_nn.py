"""`torch.nn`'s recurrent layers with the same weights: states and every gradient, multi-step, both directions, two layers."""

from __future__ import annotations

import numpy as np
import pytest

from derive.catalogue import load

torch = pytest.importorskip("torch")
STEPS, BATCH, INPUT, HIDDEN, SEED = 5, 3, 4, 6, 11


def weights(layer, part, gates):
    """The rows of a stacked weight or bias of `torch.nn`, by gate."""
    stacked = getattr(layer, part).detach().numpy()
    return dict(zip(gates, np.split(stacked, len(gates)), strict=True))


def gated(layer, suffix, gates, rename=lambda name: name):
    """`W_g`, `U_g`, `b_g` from the weights of one layer and direction; the two biases of a gate act as their sum."""
    params = {}
    w, u, b, c = (
        weights(layer, f"{kind}_{suffix}", gates) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    for g in gates:
        params |= {rename(f"W_{g}"): w[g], rename(f"U_{g}"): u[g], rename(f"b_{g}"): b[g] + c[g]}
    return params


def run(layer):
    """Input, output, cotangent, and the gradients that PyTorch finds."""
    torch.manual_seed(SEED)
    x = torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64, requires_grad=True)
    out, _ = layer(x)
    cotangent = torch.randn_like(out)
    out.backward(cotangent)
    return x.detach().numpy(), out.detach().numpy(), cotangent.numpy(), x.grad.numpy()


def same(found, wanted, what):
    np.testing.assert_allclose(found, wanted, atol=1e-10, err_msg=f"{what}, seed {SEED}")


def compare_gates(gradients, layer, suffix, gates, rename=lambda name: name):
    for kind, letter in (("weight_ih", "W"), ("weight_hh", "U"), ("bias_ih", "b")):
        grads = np.split(getattr(layer, f"{kind}_{suffix}").grad.numpy(), len(gates))
        for g, wanted in zip(gates, grads, strict=True):
            same(gradients[rename(f"{letter}_{g}")], wanted, f"{letter}_{g}")


def test_rnn():
    torch.manual_seed(SEED)
    layer = torch.nn.RNN(INPUT, HIDDEN).double()
    x, out, cotangent, x_grad = run(layer)
    p = {k: getattr(layer, f"{k}_l0").detach().numpy() for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    params = {"U": p["weight_ih"], "W": p["weight_hh"], "b": p["bias_ih"] + p["bias_hh"]}
    params |= {"V": np.zeros((2, HIDDEN)), "c": np.zeros(2)}
    f = load("rnn").compile("numpy")
    same(f.forward(params, {"x": x})["h"], out, "h")
    gradients = f.vjp(params, {"x": x}, {"h": cotangent})
    same(gradients["x"], x_grad, "x")
    same(gradients["U"], layer.weight_ih_l0.grad.numpy(), "U")
    same(gradients["W"], layer.weight_hh_l0.grad.numpy(), "W")
    same(gradients["b"], layer.bias_ih_l0.grad.numpy(), "b")


def test_bidirectional_rnn():
    torch.manual_seed(SEED)
    layer = torch.nn.RNN(INPUT, HIDDEN, bidirectional=True).double()
    x, out, cotangent, x_grad = run(layer)
    params = {"V_fwd": np.zeros((2, HIDDEN)), "V_bwd": np.zeros((2, HIDDEN)), "b_o": np.zeros(2)}
    suffixes = {"fwd": "l0", "bwd": "l0_reverse"}
    for direction, suffix in suffixes.items():
        w, u, b, c = (
            getattr(layer, f"{kind}_{suffix}").detach().numpy()
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        params |= {f"W_{direction}": w, f"U_{direction}": u, f"b_{direction}": b + c}
    f = load("birnn").compile("numpy")
    states = f.forward(params, {"x": x})
    same(states["h_fwd"], out[..., :HIDDEN], "h_fwd")
    same(states["h_bwd"], out[..., HIDDEN:], "h_bwd")
    gradients = f.vjp(params, {"x": x}, {"h_fwd": cotangent[..., :HIDDEN], "h_bwd": cotangent[..., HIDDEN:]})
    same(gradients["x"], x_grad, "x")
    for direction, suffix in suffixes.items():
        for letter, kind in {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih"}.items():
            same(gradients[f"{letter}_{direction}"], getattr(layer, f"{kind}_{suffix}").grad.numpy(), letter)


def test_gru():
    torch.manual_seed(SEED)
    layer = torch.nn.GRU(INPUT, HIDDEN).double()
    x, out, cotangent, x_grad = run(layer)
    names = {"r": "r", "z": "z", "n": "h"}
    params = {}
    parts = {k: weights(layer, f"{k}_l0", "rzn") for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    for g, ours in names.items():
        params |= {f"W_{ours}": parts["weight_ih"][g], f"U_{ours}": parts["weight_hh"][g]}
        together = parts["bias_ih"][g] + (parts["bias_hh"][g] if g != "n" else 0)
        params[f"b_{ours}"] = together
    params["c_h"] = parts["bias_hh"]["n"]
    f = load("gru").compile("numpy")
    same(f.forward(params, {"x": x})["h"], out, "h")
    gradients = f.vjp(params, {"x": x}, {"h": cotangent})
    same(gradients["x"], x_grad, "x")
    compare_gates(gradients, layer, "l0", "rzn", lambda name: name.replace("_n", "_h"))
    same(gradients["c_h"], np.split(layer.bias_hh_l0.grad.numpy(), 3)[2], "c_h")


def test_lstm():
    torch.manual_seed(SEED)
    layer = torch.nn.LSTM(INPUT, HIDDEN).double()
    x, out, cotangent, x_grad = run(layer)
    params = gated(layer, "l0", "ifgo")
    f = load("lstm").compile("numpy")
    same(f.forward(params, {"x": x})["h"], out, "h")
    gradients = f.vjp(params, {"x": x}, {"h": cotangent})
    same(gradients["x"], x_grad, "x")
    compare_gates(gradients, layer, "l0", "ifgo")


def test_bidirectional_lstm():
    torch.manual_seed(SEED)
    layer = torch.nn.LSTM(INPUT, HIDDEN, bidirectional=True).double()
    x, out, cotangent, x_grad = run(layer)
    renames = {"l0": lambda name: f"{name}_fwd", "l0_reverse": lambda name: f"{name}_bwd"}
    system = load("blstm")
    params = {k: v for suffix, rename in renames.items() for k, v in gated(layer, suffix, "ifgo", rename).items()}
    sizes = {"n": HIDDEN, "m": INPUT, "q": 2}
    params |= {
        v.name: np.zeros([sizes[str(s)] for s in v.shape if s != 1]) for v in system.parameters if v.name not in params
    }
    f = system.compile("numpy")
    states = f.forward(params, {"x": x})
    same(states["h_fwd"], out[..., :HIDDEN], "h_fwd")
    same(states["h_bwd"], out[..., HIDDEN:], "h_bwd")
    gradients = f.vjp(params, {"x": x}, {"h_fwd": cotangent[..., :HIDDEN], "h_bwd": cotangent[..., HIDDEN:]})
    same(gradients["x"], x_grad, "x")
    for suffix, rename in renames.items():
        compare_gates(gradients, layer, suffix, "ifgo", rename)


def test_two_layers():
    torch.manual_seed(SEED)
    layer = torch.nn.LSTM(INPUT, HIDDEN, num_layers=2).double()
    x, out, cotangent, x_grad = run(layer)
    system = load("stacked-lstm")
    params = {}
    renames = {f"l{k}": (lambda name, k=k: f"{name}_{k + 1}") for k in (0, 1)}
    for suffix, rename in renames.items():
        params |= gated(layer, suffix, "ifgo", rename)
    f = system.compile("numpy")
    same(f.forward(params, {"x": x})["h_2"], out, "h_2")
    gradients = f.vjp(params, {"x": x}, {"h_2": cotangent})
    same(gradients["x"], x_grad, "x")
    for suffix, rename in renames.items():
        compare_gates(gradients, layer, suffix, "ifgo", rename)
