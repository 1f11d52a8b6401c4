"""The minimal LSTM: gates that read the input only and are normalised to add up to one, linear in its state."""

from derive.system import System

minlstm = System(
    "minlstm",
    title="Minimal long short-term memory, linear in its state",
    equations="""
        f[t] = sigmoid(W_f @ x[t] + b_f)
        i[t] = sigmoid(W_i @ x[t] + b_i)
        h_tilde[t] = W_h @ x[t] + b_h
        f_prime[t] = f[t] / (f[t] + i[t])
        i_prime[t] = i[t] / (f[t] + i[t])
        h[t] = f_prime[t] * h[t-1] + i_prime[t] * h_tilde[t]
    """,
    inputs="x: m",
    parameters="W_f b_f W_i b_i W_h b_h",
    shapes="h: n",
    outputs="h",
    reference="Feng et al. 2024, Were RNNs all we needed?, arXiv:2410.01201, section 3.2: a scan over t computes h",
)
