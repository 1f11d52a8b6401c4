"""numba, loops by hand: a step is one product with the recurrent weights and one loop over the units.

Products up to `SMALL` multiplications are loops too; larger ones, and those after the sweeps, are `np.dot`, which is the BLAS.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from peers import Peer

SMALL = 1 << 15
jit = numba.njit(fastmath=True, error_model="numpy")


@jit
def product(a, b, out):
    """out = a @ b."""
    (M, K), N = a.shape, b.shape[1]
    if M * N * K > SMALL:
        np.dot(a, b, out)
        return
    for i in range(M):
        for j in range(N):
            out[i, j] = 0
        for k in range(K):
            a_ik = a[i, k]
            for j in range(N):
                out[i, j] += a_ik * b[k, j]


@jit
def flat(a):
    return a.reshape(-1, a.shape[2])


@jit
def projected(x, W, b):
    T, B = x.shape[:2]
    a = np.empty((T, B, len(b)), x.dtype)
    product(flat(x), np.ascontiguousarray(W.T), flat(a))
    for t in range(T):
        for s in range(B):
            for j in range(len(b)):
                a[t, s, j] += b[j]
    return a


@jit
def gradients(d, d_h, x, h, W):
    """Of W, U and b, and of x; `d_h` are the errors on the side of h."""
    (T, B, k), n = d.shape, h.shape[2]
    W_bar, U_bar, b_bar, x_bar = np.empty_like(W), np.empty((k, n), W.dtype), np.zeros(k, W.dtype), np.empty_like(x)
    product(np.ascontiguousarray(flat(d).T), flat(x), W_bar)
    product(np.ascontiguousarray(flat(d_h).T), flat(h[:-1]), U_bar)
    product(flat(d), W, flat(x_bar))
    for t in range(T):
        for s in range(B):
            for j in range(k):
                b_bar[j] += d[t, s, j]
    return W_bar, U_bar, b_bar, x_bar


@jit
def rnn_loops(W, U, b, x, h_ct):
    (T, B), n, one = x.shape[:2], len(b), x.dtype.type(1)
    a = projected(x, W, b)
    h, u, U_T = np.zeros((T + 1, B, n), x.dtype), np.zeros((B, n), x.dtype), np.ascontiguousarray(U.T)
    for t in range(T):
        product(h[t], U_T, u)
        for s in range(B):
            for j in range(n):
                h[t + 1, s, j] = math.tanh(a[t, s, j] + u[s, j])
    d = a
    u[:] = 0
    for t in range(T - 1, -1, -1):
        if t < T - 1:
            product(d[t + 1], U, u)
        for s in range(B):
            for j in range(n):
                d[t, s, j] = (h_ct[t, s, j] + u[s, j]) * (one - h[t + 1, s, j] * h[t + 1, s, j])
    return gradients(d, d, x, h, W)


@jit
def sigmoid(a, one):
    """`one` is of the arrays' type, without which float32 becomes float64."""
    return one / (one + math.exp(-a))


@jit
def gru_loops(W, U, b, c, x, h_ct):
    (T, B), n, one = x.shape[:2], len(c), x.dtype.type(1)
    a = projected(x, W, b)  # [h̃ z r], then their errors
    h, v, U_T = np.zeros((T + 1, B, n), x.dtype), np.empty((B, 3 * n), x.dtype), np.ascontiguousarray(U.T)
    d_h, c_bar = np.empty((T, B, 3 * n), x.dtype), np.zeros_like(c)  # u in the last of [δz δr δu] until it is used
    for t in range(T):
        product(h[t], U_T, v)
        for s in range(B):
            for j in range(n):
                z, r = sigmoid(a[t, s, n + j] + v[s, j], one), sigmoid(a[t, s, 2 * n + j] + v[s, n + j], one)
                u = v[s, 2 * n + j] + c[j]
                hh = math.tanh(a[t, s, j] + r * u)
                a[t, s, j], a[t, s, n + j], a[t, s, 2 * n + j], d_h[t, s, 2 * n + j] = hh, z, r, u
                h[t + 1, s, j] = hh + z * (h[t, s, j] - hh)
    h_bar, carry = np.zeros((B, n), x.dtype), np.zeros((B, n), x.dtype)
    for t in range(T - 1, -1, -1):
        if t < T - 1:
            product(d_h[t + 1], U, h_bar)
        for s in range(B):
            for j in range(n):
                e = h_ct[t, s, j] + h_bar[s, j] + carry[s, j]
                hh, z, r, u = a[t, s, j], a[t, s, n + j], a[t, s, 2 * n + j], d_h[t, s, 2 * n + j]
                delta = e * (one - z) * (one - hh * hh)
                d_u = delta * r
                d_z, d_r = e * z * (one - z) * (h[t, s, j] - hh), d_u * u * (one - r)
                carry[s, j] = e * z
                c_bar[j] += d_u
                a[t, s, j], a[t, s, n + j], a[t, s, 2 * n + j] = delta, d_z, d_r
                d_h[t, s, j], d_h[t, s, n + j], d_h[t, s, 2 * n + j] = d_z, d_r, d_u
    W_bar, U_bar, b_bar, x_bar = gradients(a, d_h, x, h, W)
    return W_bar, U_bar, b_bar, x_bar, c_bar


@jit
def lstm_loops(W, U, b, x, h_ct):
    (T, B), n, one = x.shape[:2], U.shape[1], x.dtype.type(1)
    a = projected(x, W, b)  # [o i f g], then their errors
    h, c = np.zeros((T + 1, B, n), x.dtype), np.zeros((T + 1, B, n), x.dtype)
    v, U_T = np.empty((B, 4 * n), x.dtype), np.ascontiguousarray(U.T)
    for t in range(T):
        product(h[t], U_T, v)
        for s in range(B):
            for j in range(n):
                o, i = sigmoid(a[t, s, j] + v[s, j], one), sigmoid(a[t, s, n + j] + v[s, n + j], one)
                f = sigmoid(a[t, s, 2 * n + j] + v[s, 2 * n + j], one)
                g = math.tanh(a[t, s, 3 * n + j] + v[s, 3 * n + j])
                a[t, s, j], a[t, s, n + j], a[t, s, 2 * n + j], a[t, s, 3 * n + j] = o, i, f, g
                c[t + 1, s, j] = f * c[t, s, j] + i * g
                h[t + 1, s, j] = o * math.tanh(c[t + 1, s, j])
    h_bar, c_bar = np.zeros((B, n), x.dtype), np.zeros((B, n), x.dtype)
    for t in range(T - 1, -1, -1):
        if t < T - 1:
            product(a[t + 1], U, h_bar)
        for s in range(B):
            for j in range(n):
                o, i, f, g = a[t, s, j], a[t, s, n + j], a[t, s, 2 * n + j], a[t, s, 3 * n + j]
                e, q = h_ct[t, s, j] + h_bar[s, j], math.tanh(c[t + 1, s, j])
                k = c_bar[s, j] + e * o * (one - q * q)
                a[t, s, j], a[t, s, n + j] = e * q * o * (one - o), k * g * i * (one - i)
                a[t, s, 2 * n + j], a[t, s, 3 * n + j] = k * c[t, s, j] * f * (one - f), k * i * (one - g * g)
                c_bar[s, j] = k * f
    return gradients(a, a, x, h, W)


def vjp(loops):
    return lambda p, x, h_ct: dict(zip(("W", "U", "b", "x", "c"), loops(*p.values(), x, h_ct), strict=False))


PEER = Peer({"rnn": vjp(rnn_loops), "gru": vjp(gru_loops), "lstm": vjp(lstm_loops)})
