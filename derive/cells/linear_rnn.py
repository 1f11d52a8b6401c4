"""The linear recurrent network: no activation, so that the state is a sum of products of matrices."""

from derive.system import System

linear_rnn = System(
    "linear-rnn",
    title="Linear recurrent network",
    equations="""
        h[t] = W_h @ h[t-1] + W_x @ x[t]
    """,
    inputs="x: m",
    parameters="W_h W_x",
    shapes="h: n",
    outputs="h",
    reference="Saxe, McClelland and Ganguli 2014, arXiv:1312.6120, for why linear networks are studied",
)
