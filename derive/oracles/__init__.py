"""Roads to the truth: ways to differentiate the forward equations that share no rule with the symbolic engine.

    field      reverse mode over F_p, exact; the road of every certificate
    tower      reverse mode over a tower of fields, exact, with `exp(a + b) = exp(a) exp(b)`; for lines that F_p rejects
    ball       reverse mode in ball arithmetic: where two sides differ, a certificate that they do
    autograd   HIPS autograd, float64
    jax        JAX, float64
    torch      PyTorch, float64
    sympy      every equation differentiated entry by entry by SymPy, the total derivative by solving a linear system

A road is a file that knows its library and nothing of recurrent networks; `truth` unrolls a system and asks the
road; `check` compares the two sides of an equation with that, `inequalities` those of a bound.
"""

from __future__ import annotations

from derive.oracles.check import Failure, Verdict, check_equation, check_system
from derive.oracles.road import Engine, MissingLibrary, Road
from derive.oracles.truth import Unrolled

ROADS: dict[str, Road] = {
    road.name: road
    for road in (
        Road("field", "derive.oracles.with_field", "", exact=True),
        Road("tower", "derive.oracles.with_tower", "", exact=True, lengths=(1, 2, 3), everyday=False),
        Road("ball", "derive.oracles.with_ball", ""),
        Road("autograd", "derive.oracles.with_autograd", "autograd"),
        Road("jax", "derive.oracles.with_jax", "jax"),
        Road("torch", "derive.oracles.with_torch", "torch"),
        Road("sympy", "derive.oracles.with_sympy", "", lengths=(2,), small=True),
    )
}

__all__ = [
    "ROADS",
    "Engine",
    "Failure",
    "MissingLibrary",
    "Road",
    "Unrolled",
    "Verdict",
    "check_equation",
    "check_system",
]
