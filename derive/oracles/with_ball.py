"""Ball arithmetic: what differs here differs for certain, at a point of real numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy
from flint import arb

from derive.ball import Ball, Balls, relative
from derive.evaluate import Array
from derive.oracles.road import TOLERANCE, Engine, Key, Linearization, Program
from derive.scalars import Resample, entrywise, object_array


class BallEngine(Engine):
    method = "ball"
    ring: Balls

    def __init__(self) -> None:
        self.ring = Balls()

    def leaf(self, key: Key, floats: numpy.ndarray, simplex: bool = False) -> Array:
        flat = [Ball(self.ring, arb(float(x))) for x in floats.flat]
        if simplex:
            total = sum(flat[1:], flat[0])
            flat = [x / total for x in flat]
        return object_array([flat], floats.shape)

    def linearize(self, program: Program, leaves: Mapping[Key, Array]) -> Linearization:
        ring, start = self.ring, len(self.ring.tape)
        taped = {key: entrywise(lambda e: ring.leaf(e.v), array) for key, array in leaves.items()}
        outputs = program(ring, taped, lambda key, value: value)
        span = start, len(ring.tape)
        return Linearization(
            {key: ring.detached(value) for key, value in outputs.items()},
            lambda key, cotangent: ring.pull(outputs[key], cotangent, taped, span),
        )

    def difference(self, a: Array, b: Array) -> tuple[float, tuple[int, int] | None]:
        """An entry where the two balls are disjoint.  Raises `Resample` where they are too wide to say anything."""
        worst = 0.0
        for i, j in numpy.ndindex(*a.shape):
            worst = max(worst, relative(a[i, j], b[i, j]))
            if not (a[i, j].v - b[i, j].v).contains(0):
                return worst, (i, j)
        if worst > TOLERANCE:
            raise Resample("the balls are too wide to tell the two sides apart")
        return worst, None


def engine(seed: int) -> Engine:
    return BallEngine()
