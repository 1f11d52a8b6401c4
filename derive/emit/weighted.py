"""A loss in pieces: the system with its loss as a state like any other, and a weight for every step.

    loss[t] = the loss of step t
    weighted_loss[t] = weight[t] * loss[t]

With ones for the weights, `vjp` from the cotangents `c[t]` of `weighted_loss` gives the gradients of `Σ c[t] loss[t]`, and as
the gradient by `weight[t]` the summand `c[t] loss[t]` itself: value and gradients from one run, whatever steps are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from derive import expr
from derive.emit.arrays import beside, ones
from derive.emit.extent import extent
from derive.emit.lengths import Batch, whole_lengths
from derive.expr import SCALAR, Node, Var
from derive.system import LOSS, Equation, System, Variable

Arrays: TypeAlias = "Mapping[str, Any]"


def weighted(system: System) -> tuple[System, str, str]:
    """`system`, which has a loss, with that as a state, and the names of the weight and of the weighted loss."""
    variables = {name: v for name, v in system.variables.items() if name != LOSS}
    equations = {name: e for name, e in system.equations.items() if name != LOSS}

    def new(name: str, kind: str) -> Var:
        while name in variables:
            name += "_"
        var = Var(name, (), system.lattice.indices, *SCALAR)
        variables[name] = Variable(var, kind, True)
        return var

    def define(target: Var, rhs: Node) -> None:
        equations[target.name] = Equation(target, rhs)

    weight, loss, total = new("weight", "input"), new("loss", "state"), new("weighted_loss", "state")
    define(loss, system.equations[LOSS].rhs)
    define(total, expr.had(weight, loss))
    parts = replace(
        system.parts,
        name=f"{system.name}, weighted",
        title=f"{system.title}, its loss a state",
        variables=variables,
        equations=equations,
        outputs=(total.name,),
        loss="every",
    )
    return System.of(parts).with_cotangents(total.name), weight.name, total.name


class Weighted:
    """The loss and its gradients by the compiled functions of the weighted system."""

    def __init__(self, system: System, compile: Callable[[System], Any]):
        self.system = system
        changed, self.weight, self.loss = weighted(system)
        self.compiled = compile(changed)

    def value_and_grad(
        self, params: Arrays, inputs: Arrays, targets: Arrays, initial: Arrays, lengths: Any = None, **how: Any
    ) -> tuple[Any, dict[str, Any]]:
        """The loss of all steps of all samples, or of every sample's last, and its gradients; `how`: see `Compiled.vjp`."""
        for target in self.system.of_kind("target"):
            if target.name not in {**inputs, **targets}:
                raise ValueError(f"targets lacks {target.name!r}")
        given = {**inputs, **targets}
        size, batch = extent(self.system, given, {}, initial)
        like = next(iter({**given, **initial}.values()), None)
        every = counted = ones((*size, *batch), like)
        if self.system.loss == "last":
            own = whole_lengths(size, batch) if lengths is None else lengths
            counted = beside(Batch(self.system, own, given, {}, initial).last_points(), like)
        found = self.compiled.vjp(
            params, {**given, self.weight: every}, {self.loss: counted}, initial, lengths=lengths, **how
        )
        return found.pop(self.weight).sum(), found
