"""Jordan's network: the hidden layer reads the output of the step before, not its own past."""

from derive.system import System

jordan = System(
    "jordan",
    title="Jordan network: sigmoid units, feedback from the output",
    equations="""
        h[t] = sigmoid(W_h @ x[t] + U_h @ y_hat[t-1] + b_h)
        y_hat[t] = sigmoid(W_y @ h[t] + b_y)
    """,
    inputs="x: m",
    parameters="W_h U_h b_h W_y b_y",
    shapes="h: n, y_hat: q",
    targets="y: q",
    loss="squared_error(y_hat[t], y[t])",
    outputs="y_hat",
    reference="Jordan 1986, Serial order: a parallel distributed processing approach, ICS report 8604, "
    "without the decaying memory of its state units",
)
