"""Stacked LSTM layers: each layer reads the hidden state of the layer below as its input."""

from derive.system import System

LAYER = """
    i_{k}[t] = sigmoid(W_i_{k} @ {below}[t] + U_i_{k} @ h_{k}[t-1] + b_i_{k})
    f_{k}[t] = sigmoid(W_f_{k} @ {below}[t] + U_f_{k} @ h_{k}[t-1] + b_f_{k})
    g_{k}[t] = tanh(W_g_{k} @ {below}[t] + U_g_{k} @ h_{k}[t-1] + b_g_{k})
    o_{k}[t] = sigmoid(W_o_{k} @ {below}[t] + U_o_{k} @ h_{k}[t-1] + b_o_{k})
    c_{k}[t] = f_{k}[t] * c_{k}[t-1] + i_{k}[t] * g_{k}[t]
    m_{k}[t] = tanh(c_{k}[t])
    h_{k}[t] = o_{k}[t] * m_{k}[t]
"""
PARAMETERS = "W_i_{k} U_i_{k} b_i_{k} W_f_{k} U_f_{k} b_f_{k} W_g_{k} U_g_{k} b_g_{k} W_o_{k} U_o_{k} b_o_{k}"


def stacked_lstm(layers: int = 2) -> System:
    """So many layers, all of the same width; the lowest reads `x`."""
    numbers = range(1, layers + 1)
    return System(
        "stacked-lstm" if layers == 2 else f"stacked-lstm({layers})",
        title=f"Stacked long short-term memory, {layers} layer{'s' if layers > 1 else ''}",
        equations="".join(LAYER.format(k=k, below=f"h_{k - 1}" if k > 1 else "x") for k in numbers),
        inputs="x: m",
        parameters="\n".join(PARAMETERS.format(k=k) for k in numbers),
        shapes=", ".join(f"h_{k}: n" for k in numbers),
        outputs=f"h_{layers}",
        reference="Graves, Mohamed and Hinton 2013, arXiv:1303.5778; Pascanu et al. 2014, arXiv:1312.6026",
    )
