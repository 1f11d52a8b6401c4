"""The best NumPy by hand for a batch of one, where a call costs more than its arithmetic: as few calls as possible.

A step's pre-activations are one product, of the row `[x_t 1 h_{t-1}]`; so are the gradients of all weights, after the loop.
σ(a) = (1 + tanh(a / 2)) / 2: all gates of a step are one call of tanh, the halves being in the weights.  The backward sweep is
linear: its coefficients are computed outside of it, and a step is three to five calls, on several gates at once where they are
multiplied by the same; errors are written over the gates.  Iterating over arrays makes views at less cost than slices.
"""

from __future__ import annotations

import numpy as np


def rows(x, n):
    """`[x_t 1 h_{t-1}]` for t = 1..T + 1, with h_0 = 0; and the views h_0.., h_1.., of them."""
    T, m = x.shape
    r = np.empty((T + 1, m + 1 + n), x.dtype)
    r[:-1, :m] = x
    r[:, m] = 1
    r[0, m + 1 :] = 0
    return r, r[:-1, m + 1 :], r[1:, m + 1 :]


def parts(a, n, *spans):
    """Columns of `a`, in units of n."""
    return [a[:, first * n : last * n] for first, last in spans]


def down(*arrays):
    """The rows of the arrays, the last first."""
    return zip(*(a[::-1] for a in arrays), strict=True)


def rnn(p, x, h_ct):
    W, U, b = p["W"], p["U"], p["b"]
    x, h_ct = x[:, 0], h_ct[:, 0]
    m, n = x.shape[1], len(b)
    r, _, h = rows(x, n)
    W_b_U = np.concatenate((W.T, b[None], U.T))
    for row, h_t in zip(r, h, strict=False):
        row.dot(W_b_U, h_t)
        np.tanh(h_t, h_t)

    d, h_bar, d_next = h * h, np.empty(n, x.dtype), np.zeros(n, x.dtype)
    np.subtract(x.dtype.type(1), d, d)
    for d_t, ct in down(d, h_ct):
        d_next.dot(U, h_bar)
        np.add(h_bar, ct, h_bar)
        np.multiply(h_bar, d_t, d_t)
        d_next = d_t
    G = d.T.dot(r[:-1])
    return {"W": G[:, :m], "b": G[:, m], "U": G[:, m + 1 :], "x": d.dot(W)[:, None]}


def gru(p, x, h_ct):
    """A step is [h̃ z r u]; its coefficients are [h̃ z r u z], and so are its errors, the last of them z h_bar."""
    W, U, b, c = p["W"], p["U"], p["b"], p["c"]
    x, h_ct = x[:, 0], h_ct[:, 0]
    (T, m), n, dtype = x.shape, len(c), x.dtype
    half, one = np.asarray(0.5, dtype), np.ones((), dtype)
    r, h_prev, h = rows(x, n)
    whole = np.zeros((m + 1 + n, 4 * n), dtype)
    whole[:m, : 3 * n] = W.T
    whole[m, : 3 * n] = b
    whole[m, 3 * n :] = c
    whole[m + 1 :, n:] = U.T
    whole[:, n : 3 * n] *= half
    a, q = np.empty((T, 4 * n), dtype), np.empty(n, dtype)
    views = parts(a, n, (1, 3), (0, 1), (1, 2), (2, 3), (3, 4))
    for row, a_t, z_r, hh, z, r_t, u, h_before, h_t in zip(r, a, *views, h_prev, h, strict=False):
        row.dot(whole, a_t)
        np.tanh(z_r, z_r)
        np.multiply(z_r, half, z_r)
        np.add(z_r, half, z_r)
        np.multiply(r_t, u, q)
        np.add(hh, q, hh)
        np.tanh(hh, hh)
        np.subtract(h_before, hh, q)
        np.multiply(z, q, q)
        np.add(q, hh, h_t)

    hh, z, r_all, u = parts(a, n, (0, 1), (1, 2), (2, 3), (3, 4))
    k = np.empty((T, 5, n), dtype)
    k_h, k_z, k_r, k_u, k_carry = (k[:, j] for j in range(5))
    np.subtract(one, z, k_h)
    np.subtract(h_prev, hh, k_z)
    k_z *= k_h
    k_z *= z
    k_h *= one - hh * hh
    np.multiply(r_all, k_h, k_u)
    np.subtract(one, r_all, k_r)
    k_r *= u
    k_r *= k_u
    k_carry[...] = z
    flat = k.reshape(T, 5 * n)
    h_bar, d_next, carry = np.empty(n, dtype), np.zeros(3 * n, dtype), np.zeros(n, dtype)
    for d_t, ct, zru, carried in down(k, h_ct, *parts(flat, n, (1, 4), (4, 5))):
        d_next.dot(U, h_bar)
        np.add(h_bar, ct, h_bar)
        np.add(h_bar, carry, h_bar)
        np.multiply(h_bar, d_t, d_t)
        d_next, carry = zru, carried
    d = flat[:, : 3 * n]
    G, H = np.matmul(d.T, r[:-1, : m + 1]), np.matmul(flat[:, n : 4 * n].T, r[:-1, m:])
    return {"W": G[:, :m], "b": G[:, m], "U": H[:, 1:], "c": H[2 * n :, 0], "x": np.matmul(d, W)[:, None]}


def lstm(p, x, h_ct):
    """A step is [m o i f g c₋]; its coefficients are [m o i f g f], and so are its errors, the last of them f c_bar."""
    W, U, b = p["W"], p["U"], p["b"]
    x, h_ct = x[:, 0], h_ct[:, 0]
    (T, m), n, dtype = x.shape, U.shape[1], x.dtype
    half, one = np.asarray(0.5, dtype), np.ones((), dtype)
    r, _, h = rows(x, n)
    W_b_U = np.concatenate((W.T, b[None], U.T))
    W_b_U[:, : 3 * n] *= half
    a = np.empty((T + 1, 6 * n), dtype)
    a[0, 5 * n :] = 0
    i_f_g_c = np.empty(2 * n, dtype)
    i_g, f_c = i_f_g_c[:n], i_f_g_c[n:]
    views = parts(a[:-1], n, (1, 5), (1, 4), (2, 4), (4, 6), (0, 1), (1, 2))
    for row, four, oif, i_f, g_c, m_t, o, c, h_t in zip(r, *views, a[1:, 5 * n :], h, strict=False):
        row.dot(W_b_U, four)
        np.tanh(four, four)
        np.multiply(oif, half, oif)
        np.add(oif, half, oif)
        np.multiply(i_f, g_c, i_f_g_c)
        np.add(i_g, f_c, c)
        np.tanh(c, m_t)
        np.multiply(o, m_t, h_t)

    k = a[:-1].copy()
    five, oif, i_f, g_c, m_all, o, i, f = parts(
        a[:-1], n, (0, 5), (1, 4), (2, 4), (4, 6), (0, 1), (1, 2), (2, 3), (3, 4)
    )
    k_five, k_oif, k_if, k_m, k_o, k_g, k_carry = parts(k, n, (0, 5), (1, 4), (2, 4), (0, 1), (1, 2), (4, 5), (5, 6))
    k_five *= five
    np.subtract(oif, k_oif, k_oif)
    np.subtract(one, k_m, k_m)
    np.subtract(one, k_g, k_g)
    k_m *= o
    k_o *= m_all
    k_if *= g_c
    k_g *= i
    k_carry[...] = f
    gates = k.reshape(T, 6, n)
    h_bar, c_bar, d_next, carry = np.empty(n, dtype), np.empty(n, dtype), np.zeros(4 * n, dtype), np.zeros(n, dtype)
    views = parts(k, n, (0, 1), (1, 5), (5, 6))
    for m_o, ifgc, ct, from_h, oifg, carried in down(gates[:, :2], gates[:, 2:], h_ct, *views):
        d_next.dot(U, h_bar)
        np.add(h_bar, ct, h_bar)
        np.multiply(h_bar, m_o, m_o)
        np.add(from_h, carry, c_bar)
        np.multiply(c_bar, ifgc, ifgc)
        d_next, carry = oifg, carried
    d = k[:, n : 5 * n]
    G = np.matmul(d.T, r[:-1])
    return {"W": G[:, :m], "b": G[:, m], "U": G[:, m + 1 :], "x": np.matmul(d, W)[:, None]}
