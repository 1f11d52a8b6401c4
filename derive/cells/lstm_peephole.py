"""Long short-term memory with peepholes: the gates see the cell, each unit its own."""

from derive.system import System

lstm_peephole = System(
    "lstm-peephole",
    title="Long short-term memory with peephole connections",
    equations="""
        i[t] = sigmoid(W_i @ x[t] + U_i @ h[t-1] + p_i * c[t-1] + b_i)
        f[t] = sigmoid(W_f @ x[t] + U_f @ h[t-1] + p_f * c[t-1] + b_f)
        g[t] = tanh(W_g @ x[t] + U_g @ h[t-1] + b_g)
        c[t] = f[t] * c[t-1] + i[t] * g[t]
        o[t] = sigmoid(W_o @ x[t] + U_o @ h[t-1] + p_o * c[t] + b_o)
        m[t] = tanh(c[t])
        h[t] = o[t] * m[t]
    """,
    inputs="x: m",
    parameters="W_i U_i p_i b_i W_f U_f p_f b_f W_g U_g b_g W_o U_o p_o b_o",
    shapes="h p_i p_f p_o: n",
    outputs="h",
    reference="Gers, Schraudolph and Schmidhuber 2002, Journal of Machine Learning Research 3; "
    "in the form of Greff et al. 2017, arXiv:1503.04069",
)
