"""The multi-dimensional LSTM: a memory cell on a grid, with one forget gate for every axis."""

from derive.lattice import index_names, neighbours_before
from derive.system import System


def mdlstm(dimensions: int = 2) -> System:
    """On a grid of so many dimensions; a neighbour outside the grid is zero.

    The input gate is `iota`, as Graves writes it, since `i` is an index.
    """
    here = ",".join(index_names(dimensions))
    before = dict(enumerate(neighbours_before(dimensions), 1))
    forget = [f"f_{axis}" for axis in before]
    gates = ["iota", *forget, "g", "o"]

    def equation(gate: str) -> str:
        recurrent = " + ".join(f"U_{gate}_{axis} @ h[{neighbour}]" for axis, neighbour in before.items())
        squash = "tanh" if gate == "g" else "sigmoid"
        return f"{gate}[{here}] = {squash}(W_{gate} @ x[{here}] + {recurrent} + b_{gate})"

    kept = " + ".join(f"{f}[{here}] * c[{b}]" for f, b in zip(forget, before.values(), strict=True))
    return System(
        "mdlstm" if dimensions == 2 else f"mdlstm({dimensions})",
        title=f"Multi-dimensional long short-term memory, {dimensions}-D",
        equations="\n".join(
            [
                *map(equation, gates),
                f"c[{here}] = {kept} + iota[{here}] * g[{here}]",
                f"m[{here}] = tanh(c[{here}])",
                f"h[{here}] = o[{here}] * m[{here}]",
            ]
        ),
        inputs="x: m",
        parameters="\n".join(
            " ".join([f"W_{gate}", *(f"U_{gate}_{axis}" for axis in before), f"b_{gate}"]) for gate in gates
        ),
        shapes="h: n",
        outputs="h",
        boundary={"h": "zero", "c": "zero"},
        reference="Graves, Fernández and Schmidhuber 2007, arXiv:0705.2011, section 2.2, without peepholes",
    )
