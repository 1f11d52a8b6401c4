"""A loop in PyTorch, gates fused and the input projection before the loop, differentiated by PyTorch."""

from __future__ import annotations

import torch

from peers import Peer

torch.set_num_threads(1)


def rnn(p, x):
    h, hs = x.new_zeros(x.shape[1], len(p["b"])), []
    U_T = p["U"].T
    for a in (x @ p["W"].T + p["b"]).unbind():
        h = torch.tanh(torch.addmm(a, h, U_T))
        hs.append(h)
    return torch.stack(hs)


def gru(p, x):
    n = len(p["c"])
    h, hs = x.new_zeros(x.shape[1], n), []
    U_T = p["U"].T
    c = torch.cat((x.new_zeros(2 * n), p["c"]))
    for a in (x @ p["W"].T + p["b"]).unbind():
        a_h, a_z, a_r = a.chunk(3, 1)
        u_z, u_r, u = torch.addmm(c, h, U_T).chunk(3, 1)
        z, r = torch.sigmoid(a_z + u_z), torch.sigmoid(a_r + u_r)
        hh = torch.tanh(a_h + r * u)
        h = hh + z * (h - hh)
        hs.append(h)
    return torch.stack(hs)


def lstm(p, x):
    h = c = x.new_zeros(x.shape[1], p["U"].shape[1])
    hs = []
    U_T = p["U"].T
    for a in (x @ p["W"].T + p["b"]).unbind():
        o, i, f, g = torch.addmm(a, h, U_T).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        hs.append(h)
    return torch.stack(hs)


def leaf(a):
    return torch.from_numpy(a).requires_grad_()


def vjp(forward):
    def gradients(p, x, h_ct):
        return dict(zip((*p, "x"), torch.autograd.grad(forward(p, x), (*p.values(), x), h_ct), strict=True))

    return gradients


PEER = Peer({"rnn": vjp(rnn), "gru": vjp(gru), "lstm": vjp(lstm)}, leaf)
