"""The best NumPy that we could write by hand, the yardstick: one way for a batch of one, another for batches."""

from __future__ import annotations

from peers import Peer, numpy_batch, numpy_one


def chosen(cell):
    one, batch = getattr(numpy_one, cell), getattr(numpy_batch, cell)
    return lambda p, x, h_ct: (one if x.shape[1] == 1 else batch)(p, x, h_ct)


PEER = Peer({cell: chosen(cell) for cell in ("rnn", "gru", "lstm")})
