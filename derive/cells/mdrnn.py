"""The multi-dimensional recurrent network: a state on a grid reads its neighbour before it along every axis."""

from derive.lattice import index_names, neighbours_before
from derive.system import System


def mdrnn(dimensions: int = 2) -> System:
    """On a grid of so many dimensions; a neighbour outside the grid is zero."""
    here = ",".join(index_names(dimensions))
    before = enumerate(neighbours_before(dimensions), 1)
    recurrent = " + ".join(f"U_{axis} @ h[{neighbour}]" for axis, neighbour in before)
    return System(
        "mdrnn" if dimensions == 2 else f"mdrnn({dimensions})",
        title=f"Multi-dimensional recurrent network, {dimensions}-D",
        equations=f"h[{here}] = tanh(W @ x[{here}] + {recurrent} + b)",
        inputs="x: m",
        parameters=" ".join(["W", *(f"U_{axis}" for axis in range(1, dimensions + 1)), "b"]),
        shapes="h: n",
        outputs="h",
        boundary={"h": "zero"},
        reference="Graves, Fernández and Schmidhuber 2007, arXiv:0705.2011, section 2",
    )
