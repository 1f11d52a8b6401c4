"""torch.nn.RNN, GRU and LSTM with the same weights."""

from __future__ import annotations

import numpy as np
import torch

from peers import Peer
from peers.cells import Setting

torch.set_num_threads(1)

LAYERS = {
    "rnn": (torch.nn.RNN, [("W", "U", "b", None)]),
    "gru": (torch.nn.GRU, [("W_r", "U_r", "b_r", None), ("W_z", "U_z", "b_z", None), ("W_h", "U_h", "b_h", "c_h")]),
    "lstm": (torch.nn.LSTM, [(f"W_{g}", f"U_{g}", f"b_{g}", None) for g in "ifgo"]),
}
"""The layer, and for each of its gates, in its order, what stands in `weight_ih`, `weight_hh`, `bias_ih` and `bias_hh`."""


def prepare(setting: Setting):
    layer_of, gates = LAYERS[setting.cell]
    layer = layer_of(setting.x.shape[2], setting.h_ct.shape[2]).to(torch.from_numpy(setting.x).dtype)
    zero = np.zeros(setting.h_ct.shape[2], setting.x.dtype)
    with torch.no_grad():
        for weight, names in zip(layer.parameters(), zip(*gates, strict=True), strict=True):
            weight.copy_(torch.from_numpy(np.concatenate([setting.params.get(name, zero) for name in names])))
    x, h_ct = torch.from_numpy(setting.x).requires_grad_(), torch.from_numpy(setting.h_ct)
    leaves = (*layer.parameters(), x)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "x")
    return lambda: dict(zip(names, torch.autograd.grad(layer(x)[0], leaves, h_ct), strict=True))


def by_name(cell, gradients):
    found = {"x": gradients["x"]}
    gates = LAYERS[cell][1]
    for part, names in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), zip(*gates, strict=True), strict=True):
        found |= {name: value for name, value in zip(names, gradients[part].chunk(len(gates)), strict=True) if name}
    return found


PEER = Peer({}, own=prepare, names=by_name)
