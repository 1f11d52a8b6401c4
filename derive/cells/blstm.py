"""The bidirectional LSTM: one chain of memory cells reads the past, one the future, and the output reads both."""

from derive.system import System

blstm = System(
    "blstm",
    title="Bidirectional long short-term memory",
    equations="""
        i_fwd[t] = sigmoid(W_i_fwd @ x[t] + U_i_fwd @ h_fwd[t-1] + b_i_fwd)
        f_fwd[t] = sigmoid(W_f_fwd @ x[t] + U_f_fwd @ h_fwd[t-1] + b_f_fwd)
        g_fwd[t] = tanh(W_g_fwd @ x[t] + U_g_fwd @ h_fwd[t-1] + b_g_fwd)
        o_fwd[t] = sigmoid(W_o_fwd @ x[t] + U_o_fwd @ h_fwd[t-1] + b_o_fwd)
        c_fwd[t] = f_fwd[t] * c_fwd[t-1] + i_fwd[t] * g_fwd[t]
        m_fwd[t] = tanh(c_fwd[t])
        h_fwd[t] = o_fwd[t] * m_fwd[t]

        i_bwd[t] = sigmoid(W_i_bwd @ x[t] + U_i_bwd @ h_bwd[t+1] + b_i_bwd)
        f_bwd[t] = sigmoid(W_f_bwd @ x[t] + U_f_bwd @ h_bwd[t+1] + b_f_bwd)
        g_bwd[t] = tanh(W_g_bwd @ x[t] + U_g_bwd @ h_bwd[t+1] + b_g_bwd)
        o_bwd[t] = sigmoid(W_o_bwd @ x[t] + U_o_bwd @ h_bwd[t+1] + b_o_bwd)
        c_bwd[t] = f_bwd[t] * c_bwd[t+1] + i_bwd[t] * g_bwd[t]
        m_bwd[t] = tanh(c_bwd[t])
        h_bwd[t] = o_bwd[t] * m_bwd[t]

        y_hat[t] = V_fwd @ h_fwd[t] + V_bwd @ h_bwd[t] + b_y
    """,
    inputs="x: m",
    parameters="""
        W_i_fwd U_i_fwd b_i_fwd W_f_fwd U_f_fwd b_f_fwd W_g_fwd U_g_fwd b_g_fwd W_o_fwd U_o_fwd b_o_fwd
        W_i_bwd U_i_bwd b_i_bwd W_f_bwd U_f_bwd b_f_bwd W_g_bwd U_g_bwd b_g_bwd W_o_bwd U_o_bwd b_o_bwd
        V_fwd V_bwd b_y
    """,
    shapes="h_fwd h_bwd: n, y_hat: q",
    outputs="y_hat",
    reference="Graves and Schmidhuber 2005, Neural Networks 18(5-6), with the memory cell of `lstm`",
)
