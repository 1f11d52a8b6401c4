"""JAX with a hand-derived backward: a scan for each sweep that carries nothing but the recurrence, one GEMM for each weight."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from peers import Peer

jax.config.update("jax_enable_x64", True)


def sums(d, a):
    """Σ_t d_t a_tᵀ, over time and batch."""
    return d.reshape(-1, d.shape[2]).T @ a.reshape(-1, a.shape[2])


def before(h):
    """h_{t-1} for t = 1..T."""
    return jnp.concatenate((jnp.zeros_like(h[:1]), h[:-1]))


def rnn(p, x, h_ct):
    W, U, b = p["W"], p["U"], p["b"]

    def step(h, a):
        h = jnp.tanh(a + h @ U.T)
        return h, h

    def back(d, now):
        k, ct = now
        d = k * (ct + d @ U)
        return d, d

    zero = jnp.zeros_like(h_ct[0])
    h = lax.scan(step, zero, x @ W.T + b)[1]
    d = lax.scan(back, zero, (1 - h * h, h_ct), reverse=True)[1]
    return {"W": sums(d, x), "U": sums(d, before(h)), "b": d.sum((0, 1)), "x": d @ W}


def gru(p, x, h_ct):
    W, U, b, c = p["W"], p["U"], p["b"], p["c"]

    def step(h, a):
        (a_h, a_z, a_r), (u_z, u_r, u) = jnp.split(a, 3, 1), jnp.split(h @ U.T, 3, 1)
        z, r, u = jax.nn.sigmoid(a_z + u_z), jax.nn.sigmoid(a_r + u_r), u + c
        hh = jnp.tanh(a_h + r * u)
        h = z * h + (1 - z) * hh
        return h, (h, hh, z, r, u)

    def back(carry, now):
        (k_z, k_r, k_u, z), ct = now
        d, h_bar = carry
        h_bar = ct + h_bar + d @ U
        return (jnp.concatenate((k_z * h_bar, k_r * h_bar, k_u * h_bar), 1), z * h_bar), h_bar

    zero = jnp.zeros_like(h_ct[0])
    h, hh, z, r, u = lax.scan(step, zero, x @ W.T + b)[1]
    k_h = (1 - z) * (1 - hh * hh)
    k_z, k_r, k_u = (before(h) - hh) * z * (1 - z), k_h * u * r * (1 - r), k_h * r
    h_bar = lax.scan(back, (jnp.tile(zero, 3), zero), ((k_z, k_r, k_u, z), h_ct), reverse=True)[1]
    d_z, d_r, d_u = k_z * h_bar, k_r * h_bar, k_u * h_bar
    hzr, zru = jnp.concatenate((k_h * h_bar, d_z, d_r), 2), jnp.concatenate((d_z, d_r, d_u), 2)
    sum_b, sum_c = hzr.sum((0, 1)), d_u.sum((0, 1))
    return {"W": sums(hzr, x), "U": sums(zru, before(h)), "b": sum_b, "c": sum_c, "x": hzr @ W}


def lstm(p, x, h_ct):
    W, U, b = p["W"], p["U"], p["b"]

    def step(state, a):
        h, c_prev = state
        a_o, a_i, a_f, a_g = jnp.split(a + h @ U.T, 4, 1)
        o, i, f, g = jax.nn.sigmoid(a_o), jax.nn.sigmoid(a_i), jax.nn.sigmoid(a_f), jnp.tanh(a_g)
        c = f * c_prev + i * g
        m = jnp.tanh(c)
        h = o * m
        return (h, c), (h, o, i, f, g, m, c_prev)

    def back(carry, now):
        (k_m, k_o, k_i, k_f, k_g, f), ct = now
        d, c_bar = carry
        h_bar = ct + d @ U
        c_bar = c_bar + k_m * h_bar
        d = jnp.concatenate((k_o * h_bar, k_i * c_bar, k_f * c_bar, k_g * c_bar), 1)
        return (d, f * c_bar), d

    zero = jnp.zeros_like(h_ct[0])
    h, o, i, f, g, m, c_prev = lax.scan(step, (zero, zero), x @ W.T + b)[1]
    k = o * (1 - m * m), m * o * (1 - o), g * i * (1 - i), c_prev * f * (1 - f), i * (1 - g * g), f
    d = lax.scan(back, (jnp.tile(zero, 4), zero), (k, h_ct), reverse=True)[1]
    return {"W": sums(d, x), "U": sums(d, before(h)), "b": d.sum((0, 1)), "x": d @ W}


PEER = Peer(
    {"rnn": jax.jit(rnn), "gru": jax.jit(gru), "lstm": jax.jit(lstm)}, jnp.asarray, jax.block_until_ready
)  # fmt: skip
