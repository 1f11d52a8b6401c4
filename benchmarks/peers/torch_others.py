"""Loops in PyTorch for other systems: gates fused, input projections before the loop, differentiated by PyTorch."""

from __future__ import annotations

import torch

from peers import Peer
from peers.torch_loop import leaf, lstm, vjp


def lstm_peephole(p, x):
    h = c = x.new_zeros(x.shape[1], p["U"].shape[1])
    U_T, (p_o, p_i, p_f), hs = p["U"].T, p["p"].chunk(3), []
    for a in (x @ p["W"].T + p["b"]).unbind():
        o, i, f, g = torch.addmm(a, h, U_T).chunk(4, 1)
        c = torch.sigmoid(f + p_f * c) * c + torch.sigmoid(i + p_i * c) * torch.tanh(g)
        h = torch.sigmoid(o + p_o * c) * torch.tanh(c)
        hs.append(h)
    return torch.stack(hs)


def skip_rnn(p, x):
    before = h = x.new_zeros(x.shape[1], len(p["W"]))
    W_T, M_T, hs = p["W"].T, p["M"].T, []
    for a in (x @ p["U"].T).unbind():
        h, before = torch.sigmoid(torch.addmm(torch.addmm(a, h, W_T), before, M_T)), h
        hs.append(h)
    return torch.stack(hs)


def blstm(p, x):
    def chain(way, x):
        return lstm({kind: p[f"{kind}_{way}"] for kind in "WUb"}, x)

    return chain("fwd", x) @ p["V_fwd"].T + chain("bwd", x.flip(0)).flip(0) @ p["V_bwd"].T + p["b_y"]


def mdrnn(p, x):
    zero = x.new_zeros(x.shape[2], len(p["b"]))
    U_1, U_2, rows = p["U_1"].T, p["U_2"].T, []
    above = [zero] * x.shape[1]
    for row in (x @ p["W"].T + p["b"]).unbind():
        left, here = zero, []
        for a, up in zip(row.unbind(), above, strict=True):
            left = torch.tanh(torch.addmm(torch.addmm(a, up, U_1), left, U_2))
            here.append(left)
        above = here
        rows.append(torch.stack(here))
    return torch.stack(rows)


PEER = Peer(
    {"lstm-peephole": vjp(lstm_peephole), "skip-rnn": vjp(skip_rnn), "blstm": vjp(blstm), "mdrnn": vjp(mdrnn)}, leaf
)  # fmt: skip
