"""The gated recurrent unit with the reset gate after the matrix product: the form of cuDNN and PyTorch."""

from derive.system import System

gru = System(
    "gru",
    title="Gated recurrent unit, reset after the product",
    equations="""
        z[t] = sigmoid(W_z @ x[t] + U_z @ h[t-1] + b_z)
        r[t] = sigmoid(W_r @ x[t] + U_r @ h[t-1] + b_r)
        h_tilde[t] = tanh(W_h @ x[t] + r[t] * (U_h @ h[t-1] + c_h) + b_h)
        h[t] = z[t] * h[t-1] + (1 - z[t]) * h_tilde[t]
    """,
    inputs="x: m",
    parameters="W_z U_z b_z W_r U_r b_r W_h U_h b_h c_h",
    shapes="h: n",
    outputs="h",
    reference="Cho et al. 2014, arXiv:1406.1078, in the variant of cuDNN: r after U_h h, z keeps the old state",
)
