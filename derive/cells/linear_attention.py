"""Linear attention: a matrix memory to which each step adds the outer product of a value and a key."""

from derive.system import System

linear_attention = System(
    "linear-attention",
    title="Linear attention as a recurrence with a matrix state",
    equations="""
        q[t] = W_q @ x[t]
        k[t] = W_k @ x[t]
        v[t] = W_v @ x[t]
        S[t] = S[t-1] + v[t] @ k[t].T
        y[t] = S[t] @ q[t]
    """,
    inputs="x: m",
    parameters="W_q W_k W_v",
    shapes="k: n, v: p",
    outputs="y",
    reference="Katharopoulos et al. 2020, arXiv:2006.16236, equations 16 to 20, with φ(x) = x and no normaliser; "
    "Schlag, Irie and Schmidhuber 2021, arXiv:2102.11174",
)
