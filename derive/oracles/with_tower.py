"""The exact road on which `exp(a + b) = exp(a) exp(b)`: a tower of fields, for lines that F_p disputes."""

from __future__ import annotations

from random import Random

from derive.oracles.road import Engine
from derive.oracles.with_field import ResidueEngine
from derive.tower import PRIMES, Pillar, Tower


class TowerEngine(ResidueEngine):
    method = "tower"
    ring: Tower

    def draw(self, random: Random, shadow: float) -> Pillar:
        return Pillar(self.ring, [random.randrange(p) for p in PRIMES], shadow, 1)


def engine(seed: int) -> Engine:
    return TowerEngine(seed, Tower(seed))
