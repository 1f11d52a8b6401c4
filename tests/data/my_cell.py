"""The minimal gated unit, written as a user would: nothing of derive is changed for it."""

from derive import System

my_cell = System(
    "my_cell",
    title="Minimal gated unit",
    equations="""
        f[t] = sigmoid(W_f @ x[t] + U_f @ h[t-1] + b_f)
        h_tilde[t] = tanh(W_h @ x[t] + U_h @ (f[t] * h[t-1]) + b_h)
        h[t] = (1 - f[t]) * h[t-1] + f[t] * h_tilde[t]
    """,
    inputs="x: m",
    parameters="W_f U_f b_f W_h U_h b_h",
    shapes="h: n",
    outputs="h",
    reference="Zhou et al. 2016, arXiv:1603.09420",
)
