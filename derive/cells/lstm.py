"""Long short-term memory with a forget gate and no peepholes: the form of PyTorch and cuDNN."""

from derive.system import System

lstm = System(
    "lstm",
    title="Long short-term memory",
    equations="""
        i[t] = sigmoid(W_i @ x[t] + U_i @ h[t-1] + b_i)
        f[t] = sigmoid(W_f @ x[t] + U_f @ h[t-1] + b_f)
        g[t] = tanh(W_g @ x[t] + U_g @ h[t-1] + b_g)
        o[t] = sigmoid(W_o @ x[t] + U_o @ h[t-1] + b_o)
        c[t] = f[t] * c[t-1] + i[t] * g[t]
        m[t] = tanh(c[t])
        h[t] = o[t] * m[t]
    """,
    inputs="x: m",
    parameters="W_i U_i b_i W_f U_f b_f W_g U_g b_g W_o U_o b_o",
    shapes="h: n",
    outputs="h",
    reference="Hochreiter and Schmidhuber 1997, Neural Computation 9(8); "
    "Gers, Schmidhuber and Cummins 2000, Neural Computation 12(10), for the forget gate",
)
