"""The minimal gated recurrent unit: a GRU whose gate and candidate read the input only, linear in its state."""

from derive.system import System

mingru = System(
    "mingru",
    title="Minimal gated recurrent unit, linear in its state",
    equations="""
        z[t] = sigmoid(W_z @ x[t] + b_z)
        h_tilde[t] = W_h @ x[t] + b_h
        h[t] = (1 - z[t]) * h[t-1] + z[t] * h_tilde[t]
    """,
    inputs="x: m",
    parameters="W_z b_z W_h b_h",
    shapes="h: n",
    outputs="h",
    reference="Feng et al. 2024, Were RNNs all we needed?, arXiv:2410.01201, section 3.1: a scan over t computes h",
)
