"""The gated recurrent unit as first published: the reset gate before the matrix product."""

from derive.system import System

gru_before = System(
    "gru-before",
    title="Gated recurrent unit, reset before the product",
    equations="""
        z[t] = sigmoid(W_z @ x[t] + U_z @ h[t-1] + b_z)
        r[t] = sigmoid(W_r @ x[t] + U_r @ h[t-1] + b_r)
        h_tilde[t] = tanh(W_h @ x[t] + U_h @ (r[t] * h[t-1]) + b_h)
        h[t] = z[t] * h[t-1] + (1 - z[t]) * h_tilde[t]
    """,
    inputs="x: m",
    parameters="W_z U_z b_z W_r U_r b_r W_h U_h b_h",
    shapes="h: n",
    outputs="h",
    reference="Cho et al. 2014, arXiv:1406.1078, equations 5 to 8, with biases",
)
