"""Long short-term memory that forgets as much as it takes in: one gate for both."""

from derive.system import System

lstm_coupled = System(
    "lstm-coupled",
    title="Long short-term memory with coupled input and forget gates",
    equations="""
        i[t] = sigmoid(W_i @ x[t] + U_i @ h[t-1] + b_i)
        f[t] = 1 - i[t]
        g[t] = tanh(W_g @ x[t] + U_g @ h[t-1] + b_g)
        o[t] = sigmoid(W_o @ x[t] + U_o @ h[t-1] + b_o)
        c[t] = f[t] * c[t-1] + i[t] * g[t]
        m[t] = tanh(c[t])
        h[t] = o[t] * m[t]
    """,
    inputs="x: m",
    parameters="W_i U_i b_i W_g U_g b_g W_o U_o b_o",
    shapes="h: n",
    outputs="h",
    reference="Greff et al. 2017, LSTM: a search space odyssey, arXiv:1503.04069, the variant CIFG",
)
