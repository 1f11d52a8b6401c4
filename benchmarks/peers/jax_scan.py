"""jax.value_and_grad of a scan, gates fused, compiled as a whole; inputs are projected at each step, or all before the scan."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import sigmoid

from peers import Peer

jax.config.update("jax_enable_x64", True)


def scan(step, states, n, x, project, before):
    """`step(states, a) -> states, h`, with `a = project(x_t)`; all states are zero before the first step."""
    zeros = (jnp.zeros((x.shape[1], n), x.dtype),) * states
    if before:
        return lax.scan(step, zeros, project(x))[1]
    return lax.scan(lambda state, x_t: step(state, project(x_t)), zeros, x)[1]


def affine(p):
    return lambda x: x @ p["W"].T + p["b"]


def rnn(p, x, before):
    def step(state, a):
        h = jnp.tanh(a + state[0] @ p["U"].T)
        return (h,), h

    return scan(step, 1, len(p["b"]), x, affine(p), before)


def gru(p, x, before):
    def step(state, a):
        (a_h, a_z, a_r), (u_z, u_r, u_h) = jnp.split(a, 3, 1), jnp.split(state[0] @ p["U"].T, 3, 1)
        z, r = sigmoid(a_z + u_z), sigmoid(a_r + u_r)
        h = z * state[0] + (1 - z) * jnp.tanh(a_h + r * (u_h + p["c"]))
        return (h,), h

    return scan(step, 1, len(p["c"]), x, affine(p), before)


def lstm(p, x, before):
    def step(state, a):
        h, c = state
        o, i, f, g = jnp.split(a + h @ p["U"].T, 4, 1)
        c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
        h = sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return scan(step, 2, p["U"].shape[1], x, affine(p), before)


def vjp(forward, before):
    def loss(everything, h_ct):
        return jnp.sum(forward(everything, everything["x"], before) * h_ct)

    gradient = jax.value_and_grad(loss)
    return jax.jit(lambda p, x, h_ct: gradient({**p, "x": x}, h_ct)[1])


def peer(forwards, before):
    vjps = {cell: vjp(forward, before) for cell, forward in forwards.items()}
    return Peer(vjps, jnp.asarray, jax.block_until_ready)


CELLS = {"rnn": rnn, "gru": gru, "lstm": lstm}
PEER, PROJECTED = peer(CELLS, before=False), peer(CELLS, before=True)
