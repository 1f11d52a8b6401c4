"""Scans in JAX for other systems, as in `jax_scan`."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jax.nn import sigmoid

from peers.jax_scan import affine, lstm, peer, scan


def lstm_peephole(p, x, before):
    p_o, p_i, p_f = jnp.split(p["p"], 3)

    def step(state, a):
        h, c = state
        o, i, f, g = jnp.split(a + h @ p["U"].T, 4, 1)
        c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * jnp.tanh(g)
        h = sigmoid(o + p_o * c) * jnp.tanh(c)
        return (h, c), h

    return scan(step, 2, p["U"].shape[1], x, affine(p), before)


def skip_rnn(p, x, before):
    def step(state, a):
        h = sigmoid(a + state[0] @ p["W"].T + state[1] @ p["M"].T)
        return (h, state[0]), h

    return scan(step, 2, len(p["W"]), x, lambda x: x @ p["U"].T, before)


def blstm(p, x, before):
    def chain(way, x):
        return lstm({kind: p[f"{kind}_{way}"] for kind in "WUb"}, x, before)

    return chain("fwd", x) @ p["V_fwd"].T + chain("bwd", x[::-1])[::-1] @ p["V_bwd"].T + p["b_y"]


def mdrnn(p, x, before):
    """A scan over the rows of scans along them."""
    project = affine(p)

    def row(above, now):
        def step(left, now):
            up, a = now
            h = jnp.tanh((a if before else project(a)) + up @ p["U_1"].T + left @ p["U_2"].T)
            return h, h

        here = lax.scan(step, jnp.zeros_like(above[0]), (above, now))[1]
        return here, here

    return lax.scan(row, jnp.zeros((*x.shape[1:3], len(p["b"])), x.dtype), project(x) if before else x)[1]


SYSTEMS = {"lstm-peephole": lstm_peephole, "skip-rnn": skip_rnn, "blstm": blstm, "mdrnn": mdrnn}
PEER, PROJECTED = peer(SYSTEMS, before=False), peer(SYSTEMS, before=True)
