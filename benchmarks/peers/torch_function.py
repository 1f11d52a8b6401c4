"""torch.autograd.Function with a hand-derived backward: loops over the recurrent products, one GEMM for each kind of weight."""

from __future__ import annotations

import torch

from peers import Peer
from peers.torch_loop import leaf, vjp

torch.set_num_threads(1)


def flat(a):
    return a.flatten(0, -2)


class Rnn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, W, U, b, x):
        a = torch.addmm(b, flat(x), W.T).view(*x.shape[:2], -1)
        h = x.new_zeros(len(x) + 1, x.shape[1], len(b))
        U_T = U.T.contiguous()
        for h_prev, h_t, a_t in zip(h[:-1].unbind(), h[1:].unbind(), a.unbind(), strict=True):
            torch.addmm(a_t, h_prev, U_T, out=h_t).tanh_()
        ctx.save_for_backward(W, U, x, h)
        return h[1:]

    @staticmethod
    def backward(ctx, h_ct):
        W, U, x, h = ctx.saved_tensors
        d = 1 - h[1:] ** 2
        d_next = torch.zeros_like(d[0])
        for d_t, ct in zip(reversed(d.unbind()), reversed(h_ct.unbind()), strict=True):
            d_next = d_t.mul_(torch.addmm(ct, d_next, U))
        d = flat(d)
        return d.T @ flat(x), d.T @ flat(h[:-1]), d.sum(0), (d @ W).view_as(x)


class Gru(torch.autograd.Function):
    @staticmethod
    def forward(ctx, W, U, b, c, x):
        T, batch, n = *x.shape[:2], len(c)
        a = torch.addmm(b, flat(x), W.T).view(T, batch, -1)
        h, s = x.new_zeros(T + 1, batch, n), x.new_empty(T, batch, 4 * n)
        U_T, c = U.T.contiguous(), torch.cat((x.new_zeros(2 * n), c))
        for h_prev, h_t, a_t, s_t in zip(h[:-1].unbind(), h[1:].unbind(), a.unbind(), s.unbind(), strict=True):
            v = torch.addmm(c, h_prev, U_T)
            z_r, (hh, z, r, u) = s_t[:, n : 3 * n], s_t.chunk(4, 1)
            torch.add(a_t[:, n:], v[:, : 2 * n], out=z_r).sigmoid_()
            u.copy_(v[:, 2 * n :])
            torch.addcmul(a_t[:, :n], r, u, out=hh).tanh_()
            torch.lerp(hh, h_prev, z, out=h_t)
        ctx.save_for_backward(W, U, x, h, s)
        return h[1:]

    @staticmethod
    def backward(ctx, h_ct):
        W, U, x, h, s = ctx.saved_tensors
        n = h.shape[2]
        hh, z, r, u = s.chunk(4, 2)
        k_h = (1 - z) * (1 - hh * hh)
        k_u = r * k_h
        k = torch.stack((k_h, (h[:-1] - hh) * z * (1 - z), k_u * u * (1 - r), k_u), 2)
        d_next, carry = torch.zeros_like(h_ct[0]).repeat(1, 3), torch.zeros_like(h_ct[0])
        for d_t, z_t, ct in zip(reversed(k.unbind()), reversed(z.unbind()), reversed(h_ct.unbind()), strict=True):
            h_bar = torch.addmm(ct, d_next, U).add_(carry)
            d_t.mul_(h_bar.unsqueeze(1))
            d_next, carry = d_t[:, 1:].flatten(1), h_bar * z_t
        d = k.view(-1, 4 * n)
        hzr, zru = d[:, : 3 * n], d[:, n:]
        G_U = zru.T @ flat(h[:-1])
        return hzr.T @ flat(x), G_U, hzr.sum(0), zru[:, 2 * n :].sum(0), (hzr @ W).view_as(x)


class Lstm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, W, U, b, x):
        T, batch, n = *x.shape[:2], U.shape[1]
        a = torch.addmm(b, flat(x), W.T).view(T, batch, -1)
        h, c, m = x.new_zeros(T + 1, batch, n), x.new_zeros(T + 1, batch, n), x.new_empty(T, batch, n)
        U_T = U.T.contiguous()
        states = zip(h[:-1].unbind(), h[1:].unbind(), c[:-1].unbind(), c[1:].unbind(), m.unbind(), strict=True)
        for a_t, (h_prev, h_t, c_prev, c_t, m_t) in zip(a.unbind(), states, strict=True):
            a_t.addmm_(h_prev, U_T)
            a_t[:, : 3 * n].sigmoid_()
            o, i, f, g = a_t.chunk(4, 1)
            g.tanh_()
            torch.addcmul(torch.mul(i, g), f, c_prev, out=c_t)
            torch.tanh(c_t, out=m_t)
            torch.mul(o, m_t, out=h_t)
        ctx.save_for_backward(W, U, x, h, c, m, a)
        return h[1:]

    @staticmethod
    def backward(ctx, h_ct):
        W, U, x, h, c, m, a = ctx.saved_tensors
        n = h.shape[2]
        o, i, f, g = a.chunk(4, 2)
        k = torch.stack((m * o * (1 - o), g * i * (1 - i), c[:-1] * f * (1 - f), i * (1 - g * g)), 2)
        k_c = o * (1 - m * m)
        d_next, carry = torch.zeros_like(a[0]), torch.zeros_like(h_ct[0])
        steps = zip(*(reversed(v.unbind()) for v in (k, k_c, f, h_ct)), strict=True)
        for d_t, k_c_t, f_t, ct in steps:
            h_bar = torch.addmm(ct, d_next, U)
            c_bar = torch.addcmul(carry, h_bar, k_c_t)
            d_t[:, 0].mul_(h_bar)
            d_t[:, 1:].mul_(c_bar.unsqueeze(1))
            d_next, carry = d_t.flatten(1), c_bar * f_t
        d = k.view(-1, 4 * n)
        return d.T @ flat(x), d.T @ flat(h[:-1]), d.sum(0), (d @ W).view_as(x)


def forward(function):
    return lambda p, x: function.apply(*p.values(), x)


PEER = Peer({"rnn": vjp(forward(Rnn)), "gru": vjp(forward(Gru)), "lstm": vjp(forward(Lstm))}, leaf)
