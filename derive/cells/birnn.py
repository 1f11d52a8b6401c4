"""The bidirectional recurrent network: one chain reads the past, one the future, and the output reads both."""

from derive.system import System

birnn = System(
    "birnn",
    title="Bidirectional recurrent network",
    equations="""
        h_fwd[t] = tanh(W_fwd @ x[t] + U_fwd @ h_fwd[t-1] + b_fwd)
        h_bwd[t] = tanh(W_bwd @ x[t] + U_bwd @ h_bwd[t+1] + b_bwd)
        o[t] = V_fwd @ h_fwd[t] + V_bwd @ h_bwd[t] + b_o
    """,
    inputs="x: m",
    parameters="W_fwd U_fwd b_fwd W_bwd U_bwd b_bwd V_fwd V_bwd b_o",
    shapes="h_fwd h_bwd: n, o: q",
    outputs="o",
    reference="Schuster and Paliwal 1997, IEEE Transactions on Signal Processing 45(11)",
)
