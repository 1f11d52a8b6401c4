"""HIPS autograd: the gradients of a loop in NumPy."""

from __future__ import annotations

import autograd.numpy as np
from autograd import grad

from peers import Peer


def sigmoid(a):
    return 0.5 * (np.tanh(0.5 * a) + 1)


def rnn(p, x):
    h, hs = np.zeros((x.shape[1], len(p["b"])), x.dtype), []
    for t in range(len(x)):
        h = np.tanh(np.dot(x[t], p["W"].T) + np.dot(h, p["U"].T) + p["b"])
        hs.append(h)
    return np.stack(hs)


def gru(p, x):
    n = len(p["c"])
    h, hs = np.zeros((x.shape[1], n), x.dtype), []
    for t in range(len(x)):
        a, u = np.dot(x[t], p["W"].T) + p["b"], np.dot(h, p["U"].T)
        z, r = sigmoid(a[:, n : 2 * n] + u[:, :n]), sigmoid(a[:, 2 * n :] + u[:, n : 2 * n])
        h = z * h + (1 - z) * np.tanh(a[:, :n] + r * (u[:, 2 * n :] + p["c"]))
        hs.append(h)
    return np.stack(hs)


def lstm(p, x):
    n = p["U"].shape[1]
    h = c = np.zeros((x.shape[1], n), x.dtype)
    hs = []
    for t in range(len(x)):
        a = np.dot(x[t], p["W"].T) + np.dot(h, p["U"].T) + p["b"]
        o, i, f = sigmoid(a[:, :n]), sigmoid(a[:, n : 2 * n]), sigmoid(a[:, 2 * n : 3 * n])
        c = f * c + i * np.tanh(a[:, 3 * n :])
        h = o * np.tanh(c)
        hs.append(h)
    return np.stack(hs)


def vjp(forward):
    gradient = grad(lambda everything, h_ct: np.sum(forward(everything, everything["x"]) * h_ct))
    return lambda p, x, h_ct: gradient({**p, "x": x}, h_ct)


PEER = Peer({"rnn": vjp(rnn), "gru": vjp(gru), "lstm": vjp(lstm)})
