"""The exact road: F_p with its own tape."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import numpy

from derive.evaluate import Array
from derive.field import Element, Field, P
from derive.oracles.road import Engine, Key, Linearization, Program
from derive.residues import Residue, Residues
from derive.scalars import entrywise, object_array


class ResidueEngine(Engine):
    """What needs nothing of a ring but that its elements are residues on its tape."""

    exact = True
    ring: Residues

    def __init__(self, seed: int, ring: Residues):
        self.seed, self.ring = seed, ring

    def draw(self, random: Random, shadow: float) -> Residue:
        """A uniform element."""
        raise NotImplementedError

    def leaf(self, key: Key, floats: numpy.ndarray, simplex: bool = False) -> Array:
        """Uniform elements; the floats become their shadows, spread so that sums reach both sides of every kink."""
        random = Random(f"{self.seed} {key}")
        shadows = floats / floats.sum() if simplex else 1.5 * floats
        flat = [self.draw(random, float(s)) for s in shadows.flat]
        if simplex:
            flat[-1] = sum(flat[:-1], self.ring.number(0)) * -1 + 1
            flat[-1].s = float(shadows.flat[-1])
        return object_array([flat], floats.shape)

    def linearize(self, program: Program, leaves: Mapping[Key, Array]) -> Linearization:
        ring, start = self.ring, len(self.ring.tape)
        taped = {key: entrywise(lambda e: ring.place(e.untaped()), array) for key, array in leaves.items()}
        outputs = program(ring, taped, lambda key, value: value)
        span = start, len(ring.tape)
        return Linearization(
            {key: ring.detached(value) for key, value in outputs.items()},
            lambda key, cotangent: ring.pull(outputs[key], cotangent, taped, span),
            lambda directions: ring.push(outputs, {leaf: (taped[leaf], d) for leaf, d in directions.items()}, span),
        )

    def difference(self, a: Array, b: Array) -> tuple[float, tuple[int, int] | None]:
        wrong: Any = next(((i, j) for i, j in numpy.ndindex(a.shape) if a[i, j].v != b[i, j].v), None)
        return float(wrong is not None), wrong

    def error_bound(self, degree: int) -> float:
        return self.ring.error(degree)


class FieldEngine(ResidueEngine):
    method = "field"
    ring: Field

    def draw(self, random: Random, shadow: float) -> Element:
        return Element(self.ring, random.randrange(P), shadow, 1)


def engine(seed: int) -> Engine:
    return FieldEngine(seed, Field(seed))
