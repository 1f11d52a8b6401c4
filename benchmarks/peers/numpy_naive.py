"""NumPy as in Karpathy's min-char-rnn: lists of states, gradients of the weights added up at every step (Karpathy 2015)."""

from __future__ import annotations

import numpy as np

from peers import Peer


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def rnn(p, x, h_ct):
    W, U, b = p["W"], p["U"], p["b"]
    hs = [np.zeros((x.shape[1], len(b)), x.dtype)]
    for t in range(len(x)):
        hs.append(np.tanh(x[t] @ W.T + hs[t] @ U.T + b))
    dW, dU, db, dx = np.zeros_like(W), np.zeros_like(U), np.zeros_like(b), np.zeros_like(x)
    dhnext = np.zeros_like(hs[0])
    for t in reversed(range(len(x))):
        dh = h_ct[t] + dhnext
        draw = (1 - hs[t + 1] * hs[t + 1]) * dh
        dW += draw.T @ x[t]
        dU += draw.T @ hs[t]
        db += draw.sum(0)
        dx[t] = draw @ W
        dhnext = draw @ U
    return {"W": dW, "U": dU, "b": db, "x": dx}


def gru(p, x, h_ct):
    W, U, b, c = p["W"], p["U"], p["b"], p["c"]
    n = len(c)
    (Wh, Wz, Wr), (Uz, Ur, Uh), (bh, bz, br) = (np.split(v, 3) for v in (W, U, b))
    hs, zs, rs, us, hhs = [np.zeros((x.shape[1], n), x.dtype)], [], [], [], []
    for t in range(len(x)):
        zs.append(sigmoid(x[t] @ Wz.T + hs[t] @ Uz.T + bz))
        rs.append(sigmoid(x[t] @ Wr.T + hs[t] @ Ur.T + br))
        us.append(hs[t] @ Uh.T + c)
        hhs.append(np.tanh(x[t] @ Wh.T + rs[t] * us[t] + bh))
        hs.append(zs[t] * hs[t] + (1 - zs[t]) * hhs[t])
    dW, dU, db, dc, dx = (np.zeros_like(v) for v in (W, U, b, c, x))
    (dWh, dWz, dWr), (dUz, dUr, dUh), (dbh, dbz, dbr) = (np.split(v, 3) for v in (dW, dU, db))
    dhnext = np.zeros_like(hs[0])
    for t in reversed(range(len(x))):
        dh = h_ct[t] + dhnext
        da = dh * (1 - zs[t]) * (1 - hhs[t] * hhs[t])
        du = da * rs[t]
        dr = da * us[t] * rs[t] * (1 - rs[t])
        dz = dh * (hs[t] - hhs[t]) * zs[t] * (1 - zs[t])
        for d, into in ((da, dWh), (dz, dWz), (dr, dWr)):
            into += d.T @ x[t]
        for d, into in ((dz, dUz), (dr, dUr), (du, dUh)):
            into += d.T @ hs[t]
        for d, into in ((da, dbh), (dz, dbz), (dr, dbr), (du, dc)):
            into += d.sum(0)
        dx[t] = da @ Wh + dz @ Wz + dr @ Wr
        dhnext = dh * zs[t] + dz @ Uz + dr @ Ur + du @ Uh
    return {"W": dW, "U": dU, "b": db, "c": dc, "x": dx}


def lstm(p, x, h_ct):
    W, U, b = p["W"], p["U"], p["b"]
    n = U.shape[1]
    (Wo, Wi, Wf, Wg), (Uo, Ui, Uf, Ug), (bo, bi, bf, bg) = (np.split(v, 4) for v in (W, U, b))
    zero = np.zeros((x.shape[1], n), x.dtype)
    hs, cs, os, is_, fs, gs = [zero], [zero], [], [], [], []
    for t in range(len(x)):
        os.append(sigmoid(x[t] @ Wo.T + hs[t] @ Uo.T + bo))
        is_.append(sigmoid(x[t] @ Wi.T + hs[t] @ Ui.T + bi))
        fs.append(sigmoid(x[t] @ Wf.T + hs[t] @ Uf.T + bf))
        gs.append(np.tanh(x[t] @ Wg.T + hs[t] @ Ug.T + bg))
        cs.append(fs[t] * cs[t] + is_[t] * gs[t])
        hs.append(os[t] * np.tanh(cs[t + 1]))
    dW, dU, db, dx = np.zeros_like(W), np.zeros_like(U), np.zeros_like(b), np.zeros_like(x)
    dhnext, dcnext = np.zeros_like(zero), np.zeros_like(zero)
    for t in reversed(range(len(x))):
        o, i, f, g, m = os[t], is_[t], fs[t], gs[t], np.tanh(cs[t + 1])
        dh = h_ct[t] + dhnext
        dc = dcnext + dh * o * (1 - m * m)
        do = dh * m * o * (1 - o)
        di = dc * g * i * (1 - i)
        df = dc * cs[t] * f * (1 - f)
        dg = dc * i * (1 - g * g)
        for k, d in enumerate((do, di, df, dg)):
            gate = slice(k * n, (k + 1) * n)
            dW[gate] += d.T @ x[t]
            dU[gate] += d.T @ hs[t]
            db[gate] += d.sum(0)
        dx[t] = do @ Wo + di @ Wi + df @ Wf + dg @ Wg
        dhnext = do @ Uo + di @ Ui + df @ Uf + dg @ Ug
        dcnext = dc * f
    return {"W": dW, "U": dU, "b": db, "x": dx}


PEER = Peer({"rnn": rnn, "gru": gru, "lstm": lstm})
