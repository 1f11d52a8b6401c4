"""A sigmoid recurrence of second order: the state reads the two before it."""

from derive.system import System

skip_rnn = System(
    "skip-rnn",
    title="Recurrent network with second-order skip connections",
    equations="""
        h[t] = sigmoid(W @ h[t-1] + M @ h[t-2] + U @ x[t])
    """,
    inputs="x: m",
    parameters="W M U",
    shapes="h: n",
    outputs="h",
    reference="Soltani and Jiang 2016, Higher order recurrent neural networks, arXiv:1605.00064, of order 2",
)
