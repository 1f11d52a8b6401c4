"""The recurrent network with rectified linear units: Goodfellow's, with ReLU in place of tanh."""

from derive.system import System

rnn_relu = System(
    "rnn-relu",
    title="Recurrent network with rectified linear units and softmax outputs",
    equations="""
        a[t] = b + W @ h[t-1] + U @ x[t]
        h[t] = relu(a[t])
        o[t] = c + V @ h[t]
        y_hat[t] = softmax(o[t])
    """,
    inputs="x: m",
    parameters="b W U c V",
    shapes="h: n, o: q",
    targets="y: q",
    loss="cross_entropy(o[t], y[t])",
    outputs="y_hat",
    reference="Goodfellow, Bengio and Courville 2016, Deep Learning, section 10.2; Nair and Hinton 2010 for the units",
)
