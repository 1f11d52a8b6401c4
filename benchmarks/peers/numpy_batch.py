"""The best NumPy by hand for batches.

Gates are fused, the input projection of all steps is one matrix product (`[x 1]`, so that the bias is a column) and so are the
gradients of all weights; arrays are allocated before the loops, and the errors of a step overwrite its gates.  Products want the
gates of a sample side by side, `(batch, k n)`; entrywise calls are three to five times faster on a gate at a time,
`(k, batch, n)`: a step's memory holds the first before tanh and after the errors, the second in between.  Each entrywise call
is on the arrays of one step, which stay in the cache.  σ(a) = (1 + tanh(a / 2)) / 2, the halves being in the weights.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np


def with_one(x):
    """Rows `[x_t 1]`."""
    rows = np.empty((x.shape[0] * x.shape[1], x.shape[2] + 1), x.dtype)
    rows[:, :-1].reshape(x.shape)[...] = x
    rows[:, -1] = 1
    return rows


def columns(W, b):
    """The right factor of `[x 1]`."""
    return np.concatenate((W.T, b[None]))


def halved(p, *gates):
    """Copies of the named parameters with so many of their first or last rows halved."""
    copies = []
    for name, part in gates:
        copies.append(p[name].copy())
        copies[-1][part] *= p[name].dtype.type(0.5)
    return copies


def flat(a):
    return a.reshape(-1, a.shape[-1])


def from_zero(T, *shape, dtype):
    """Room for T + 1 steps, the first of which is zero."""
    a = np.empty((T + 1, *shape), dtype)
    a[0] = 0
    return a


def rnn(p, x, h_ct):
    W, U, b = p["W"], p["U"], p["b"]
    (T, B, m), n = x.shape, len(b)
    x1, h = with_one(x), from_zero(T, B, n, dtype=x.dtype)
    np.matmul(x1, columns(W, b), flat(h[1:]))
    U_T, s = U.T.copy(), np.empty((B, n), x.dtype)
    for h_prev, h_t in pairwise(h):
        h_prev.dot(U_T, s)
        np.add(h_t, s, h_t)
        np.tanh(h_t, h_t)

    d, one, slope, d_next = np.empty_like(h_ct), np.ones((), x.dtype), np.empty_like(s), np.zeros_like(s)
    for d_t, h_t, ct in zip(d[::-1], h[:0:-1], h_ct[::-1], strict=True):
        d_next.dot(U, s)
        np.add(s, ct, s)
        np.multiply(h_t, h_t, slope)
        np.subtract(one, slope, slope)
        np.multiply(s, slope, d_t)
        d_next = d_t
    d = flat(d)
    G = d.T.dot(x1)
    return {"W": G[:, :m], "b": G[:, m], "U": d.T.dot(flat(h[:-1])), "x": d.dot(W).reshape(x.shape)}


def gru(p, x, h_ct):
    """In a step's memory: [W x + b], then h̃ z r, then [δh̃ δz δr]; and u, then [δz δr δu]."""
    (T, B, m), n, dtype = x.shape, len(p["c"]), x.dtype
    last, first = slice(n, None), slice(2 * n)
    W, b, U_T = halved(p, ("W", last), ("b", last), ("U", first))
    U_T, c = U_T.T.copy(), p["c"]
    x1, h = with_one(x), from_zero(T, B, n, dtype=dtype)
    a, zru = np.empty((T, B, 3 * n), dtype), np.empty((T, B, 3 * n), dtype)
    np.matmul(x1, columns(W, b), flat(a))
    gates, us = a.reshape(T, 3, B, n), zru.reshape(T, 3, B, n)[:, 2]
    half, one = np.asarray(0.5, dtype), np.ones((), dtype)
    pre, s, q = np.empty((B, 3, n), dtype), np.empty((B, 3 * n), dtype), np.empty((B, n), dtype)
    s_gates, (pre_h, pre_z_r) = s.reshape(B, 3, n).transpose(1, 0, 2), (pre[:, 0], pre[:, 1:].transpose(1, 0, 2))
    steps = zip(h, h[1:], a.reshape(T, B, 3, n), us, gates, gates[:, 1:], strict=False)
    for h_prev, h_t, x_t, u, (hh, z, r), z_r in steps:
        h_prev.dot(U_T, s)
        np.copyto(pre, x_t)
        np.add(pre_z_r, s_gates[:2], z_r)
        np.tanh(z_r, z_r)
        np.multiply(z_r, half, z_r)
        np.add(z_r, half, z_r)
        np.add(s_gates[2], c, u)
        np.multiply(r, u, q)
        np.add(q, pre_h, q)
        np.tanh(q, hh)
        np.subtract(h_prev, hh, q)
        np.multiply(z, q, q)
        np.add(q, hh, h_t)

    U, h_bar, carry, d_next = p["U"], np.empty_like(q), np.zeros_like(q), np.zeros((B, 3 * n), dtype)
    d_h, d_z, d_r, d_u = d = np.empty((4, B, n), dtype)
    errors = (v.reshape(T, B, 3, n).transpose(0, 2, 1, 3) for v in (a, zru))
    steps = zip(gates[::-1], us[::-1], *(v[::-1] for v in errors), zru[::-1], h[-2::-1], h_ct[::-1], strict=True)
    for (hh, z, r), u, hzr_errors, zru_errors, zru_t, h_prev, ct in steps:
        d_next.dot(U, h_bar)
        np.add(h_bar, ct, h_bar)
        np.add(h_bar, carry, h_bar)
        np.multiply(h_bar, z, carry)
        np.subtract(h_bar, carry, d_h)
        np.subtract(h_prev, hh, d_z)
        np.multiply(d_z, carry, d_z)
        np.subtract(one, z, q)
        np.multiply(d_z, q, d_z)
        np.multiply(hh, hh, q)
        np.subtract(one, q, q)
        np.multiply(d_h, q, d_h)
        np.multiply(d_h, r, d_u)
        np.subtract(one, r, q)
        np.multiply(q, u, q)
        np.multiply(q, d_u, d_r)
        np.copyto(hzr_errors, d[:3])
        np.copyto(zru_errors, d[1:])
        d_next = zru_t
    hzr, zru = flat(a), flat(zru)
    G = hzr.T.dot(x1)
    c_bar = np.ones(T * B, dtype).dot(zru[:, 2 * n :])
    return {
        "W": G[:, :m],
        "b": G[:, m],
        "U": zru.T.dot(flat(h[:-1])),
        "c": c_bar,
        "x": hzr.dot(p["W"]).reshape(x.shape),
    }


def lstm(p, x, h_ct):
    """In a step's memory: [W x + b], then o i f g, then [δo δi δf δg]."""
    (T, B, m), n, dtype = x.shape, p["U"].shape[1], x.dtype
    first = slice(3 * n)
    W, b, U_T = halved(p, ("W", first), ("b", first), ("U", first))
    U_T = U_T.T.copy()
    x1, h, c = with_one(x), from_zero(T, B, n, dtype=dtype), from_zero(T, B, n, dtype=dtype)
    a, m_all = np.empty((T, B, 4 * n), dtype), np.empty((T, B, n), dtype)
    np.matmul(x1, columns(W, b), flat(a))
    gates = a.reshape(T, 4, B, n)
    half, one = np.asarray(0.5, dtype), np.ones((), dtype)
    s, q = np.empty((B, 4 * n), dtype), np.empty((B, n), dtype)
    s_gates = s.reshape(B, 4, n).transpose(1, 0, 2)
    states = zip(h, h[1:], c, c[1:], m_all, strict=False)
    for (h_prev, h_t, c_prev, c_t, m_t), a_t, four, oif in zip(states, a, gates, gates[:, :3], strict=True):
        h_prev.dot(U_T, s)
        np.add(a_t, s, s)
        np.tanh(s_gates, four)
        np.multiply(oif, half, oif)
        np.add(oif, half, oif)
        o, i, f, g = four
        np.multiply(i, g, q)
        np.multiply(f, c_prev, c_t)
        np.add(c_t, q, c_t)
        np.tanh(c_t, m_t)
        np.multiply(o, m_t, h_t)

    U, h_bar, c_bar, d_next = p["U"], np.empty_like(q), np.zeros_like(q), np.zeros_like(s)
    d_o, d_i, d_f, d_g = d = np.empty((4, B, n), dtype)
    d_oif, d_ifg = d[:3], d[1:]
    errors = a.reshape(T, B, 4, n).transpose(0, 2, 1, 3)
    steps = zip(gates[::-1], errors[::-1], a[::-1], c[-2::-1], m_all[::-1], h_ct[::-1], strict=True)
    for four, errors_t, a_t, c_prev, m_t, ct in steps:
        o, i, f, g = four
        d_next.dot(U, h_bar)
        np.add(h_bar, ct, h_bar)
        np.multiply(four, four, d)
        np.subtract(four[:3], d_oif, d_oif)
        np.subtract(one, d_g, d_g)
        np.multiply(m_t, m_t, q)
        np.subtract(one, q, q)
        np.multiply(q, o, q)
        np.multiply(q, h_bar, q)
        np.add(c_bar, q, c_bar)
        np.multiply(h_bar, m_t, h_bar)
        np.multiply(d_o, h_bar, d_o)
        np.multiply(d_i, g, d_i)
        np.multiply(d_f, c_prev, d_f)
        np.multiply(d_g, i, d_g)
        np.multiply(d_ifg, c_bar, d_ifg)
        np.multiply(c_bar, f, c_bar)
        np.copyto(errors_t, d)
        d_next = a_t
    a = flat(a)
    G = a.T.dot(x1)
    return {"W": G[:, :m], "b": G[:, m], "U": a.T.dot(flat(h[:-1])), "x": a.dot(p["W"]).reshape(x.shape)}
