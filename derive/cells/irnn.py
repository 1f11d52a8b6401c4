"""The IRNN: rectified linear units, the recurrent matrix starting as the identity; the last output classifies."""

from derive.system import System

irnn = System(
    "irnn",
    title="IRNN: rectified linear units, W initialised to I and b to 0",
    equations="""
        h[t] = relu(W @ h[t-1] + U @ x[t] + b)
        o[t] = V @ h[t] + c
    """,
    inputs="x: m",
    parameters="W U b V c",
    shapes="h: n, o: q",
    targets="y: q",
    loss="cross_entropy(o[t], y[t])",
    loss_at="last",
    outputs="o",
    reference="Le, Jaitly and Hinton 2015, arXiv:1504.00941: a ReLU recurrence with W = I and b = 0 at the start",
)
