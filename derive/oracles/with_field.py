"""The exact road: F_p with its own tape."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import numpy

from derive.evaluate import Array
from derive.field import Element, Field, P, entrywise, object_array
from derive.oracles.road import Engine, Key, Linearization, Program


class FieldEngine(Engine):
    method = "field"
    exact = True
    ring: Field

    def __init__(self, seed: int):
        self.seed = seed
        self.ring = Field(seed)

    def leaf(self, key: Key, floats: numpy.ndarray, simplex: bool = False) -> Array:
        """Uniform elements; the floats become their shadows, spread so that sums reach both sides of every kink."""
        random = Random(f"{self.seed} {key}")
        shadows = floats / floats.sum() if simplex else 1.5 * floats
        flat = [Element(self.ring, random.randrange(P), float(s), 1) for s in shadows.flat]
        if simplex:
            flat[-1] = sum(flat[:-1], self.ring.number(0)) * -1 + 1
            flat[-1].s = float(shadows.flat[-1])
        return object_array([flat], floats.shape)

    def linearize(self, program: Program, leaves: Mapping[Key, Array]) -> Linearization:
        field, start = self.ring, len(self.ring.tape)
        taped = {key: entrywise(lambda e: field.leaf(e.v, e.s), array) for key, array in leaves.items()}
        outputs = program(field, taped, lambda key, value: value)
        span = start, len(field.tape)
        return Linearization(
            {key: field.detached(value) for key, value in outputs.items()},
            lambda key, cotangent: field.pull(outputs[key], cotangent, taped, span),
            lambda directions: field.push(outputs, {leaf: (taped[leaf], d) for leaf, d in directions.items()}, span),
        )

    def difference(self, a: Array, b: Array) -> tuple[float, tuple[int, int] | None]:
        wrong: Any = next(((i, j) for i, j in numpy.ndindex(a.shape) if a[i, j].v != b[i, j].v), None)
        return float(wrong is not None), wrong

    def error_bound(self, degree: int) -> float:
        return self.ring.error(degree)


def engine(seed: int) -> Engine:
    return FieldEngine(seed)
