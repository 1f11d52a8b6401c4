"""The recurrent network of Goodfellow, Bengio and Courville: tanh units, softmax over the outputs, cross-entropy."""

from derive.system import System

rnn = System(
    "rnn",
    title="Recurrent network with tanh units and softmax outputs",
    equations="""
        a[t] = b + W @ h[t-1] + U @ x[t]
        h[t] = tanh(a[t])
        o[t] = c + V @ h[t]
        y_hat[t] = softmax(o[t])
    """,
    inputs="x: m",
    parameters="b W U c V",
    shapes="h: n, o: q",
    targets="y: q",
    loss="cross_entropy(o[t], y[t])",
    outputs="y_hat",
    reference="Goodfellow, Bengio and Courville 2016, Deep Learning, section 10.2, equations 10.8 to 10.11",
)
