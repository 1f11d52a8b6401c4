"""Elman's simple recurrent network: the context units hold the hidden layer of the step before."""

from derive.system import System

elman = System(
    "elman",
    title="Elman network: sigmoid units, feedback from the hidden layer",
    equations="""
        h[t] = sigmoid(W_h @ x[t] + U_h @ h[t-1] + b_h)
        y_hat[t] = sigmoid(W_y @ h[t] + b_y)
    """,
    inputs="x: m",
    parameters="W_h U_h b_h W_y b_y",
    shapes="h: n, y_hat: q",
    targets="y: q",
    loss="squared_error(y_hat[t], y[t])",
    outputs="y_hat",
    reference="Elman 1990, Finding structure in time, Cognitive Science 14(2)",
)
