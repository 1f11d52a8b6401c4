"""The unrolled graph of a system, contracted to the names that somebody mentions.

later, earlier   two ends of an edge: the later one reads the earlier one
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias

from sympy import Expr, Integer

from derive import expr
from derive.errors import DeriveError
from derive.expr import Var
from derive.printing import text
from derive.reader import limits
from derive.system import System

Nodes: TypeAlias = "tuple[Var, ...]"


@dataclass(frozen=True)
class Graph:
    """What reads what between some nodes; a parameter at a step is a copy, a name that is held reads nothing."""

    system: System
    mentioned: frozenset[str]
    held: frozenset[str]
    nodes: Nodes

    def reads(self, v: Var) -> Nodes:
        """What the equation of v reads at its index; of a parameter also the copy of that step."""
        equation = self.system.equations.get(v.name)
        if equation is None or v.name in self.held or not self.is_inside(v):
            return ()
        own = self.system.lattice.indices
        read = expr.variables(expr.at(equation.rhs, dict(zip(own, v.index, strict=True))))
        copies = [w.at(v.index) for w in read if not w.index]
        return (*read, *copies)

    def is_inside(self, v: Var) -> bool:
        """Whether v may be on a path between the nodes of the claim: between the first and the last index of theirs."""
        distances = [(i - lo, hi - i) for i, (lo, hi) in zip(v.index, self.range, strict=True)]
        if not all(d.is_Integer for pair in distances for d in pair):
            raise DeriveError(f"{text(v)} is at no known distance from the steps of this list")
        return all(d >= 0 for pair in distances for d in pair)

    @cached_property
    def range(self) -> list[tuple[Expr, Expr]]:
        """The first and the last index on each axis, and not before the first step.

        Raises `DeriveError` where indices have no order, or where paths may turn round at a step beyond them.
        """
        ends = []
        for indices in zip(*(v.index for v in self.nodes if v.index), strict=True):
            distances = [i - indices[0] for i in indices]
            if not all(d.is_Integer for d in distances):
                raise DeriveError("the steps of these names are at no known distance from each other")
            low, high = indices[0] + min(distances), indices[0] + max(distances)
            if high - low > limits.MOST_STEPS:
                raise DeriveError(f"these paths are longer than {limits.MOST_STEPS} steps")
            reaches_back = low.is_Integer and (low < 1 or not all(v.index for v in self.nodes))
            ends.append((Integer(1) if reaches_back else low, high))
        if self._turns():
            raise DeriveError(
                "paths run both ways along the lattice, and are not followed beyond the steps of this list"
            )
        return ends

    def _turns(self) -> bool:
        """Whether something that the claim may pass reads a step before and something a step after."""
        live: set[str] = set()
        pending = [v.name for v in self.nodes]
        while pending:
            name = pending.pop()
            if name not in live:
                live.add(name)
                pending += [source for target, source, _ in self.system.reads if target == name]
        offsets = [offset for target, _, offset in self.system.reads if target in live]
        return any(min(axis) < 0 < max(axis) for axis in zip(*offsets, strict=True))

    @cached_property
    def _before(self) -> dict[Var, frozenset[Var]]:
        return {}

    def before(self, v: Var) -> frozenset[Var]:
        """The mentioned nodes that v depends on through names that are not mentioned."""
        if v not in self._before:
            self._before[v] = self._read_by(v)
        return self._before[v]

    def _read_by(self, v: Var) -> frozenset[Var]:
        found: set[Var] = set()
        seen: set[Var] = set()
        pending = list(self.reads(v))
        while pending:
            w = pending.pop()
            if w in seen:
                continue
            seen.add(w)
            if w.name in self.mentioned:
                found.add(w)
            else:
                pending += self.reads(w)
        return frozenset(found)

    def is_path(self, late_first: Nodes) -> bool:
        return all(earlier in self.before(later) for later, earlier in pairwise(late_first))

    def depends(self, later: Var, earlier: Var) -> bool:
        """Whether there is any way from one to the other, mentioned names included."""
        seen: set[Var] = set()
        pending = [later]
        while pending:
            new = set(self.reads(pending.pop())) - seen
            seen |= new
            pending += new
        return earlier in seen

    def paths(self, start: Var, ends: frozenset[Var], avoided: frozenset[Var]) -> Iterator[Nodes]:
        """Every path from a late node back to the first of `ends` that it meets, past none that is `avoided`."""
        live = self._leading_to(ends, start)
        pending: list[Nodes] = [(start,)]
        while pending:
            path = pending.pop()
            if path[-1] in ends and len(path) > 1:
                yield path
            else:
                pending += [(*path, w) for w in sorted(self.before(path[-1]) & live - avoided, key=str)]

    def _leading_to(self, ends: frozenset[Var], start: Var) -> frozenset[Var]:
        """What is read from `start` on and leads to one of `ends`, these included."""
        readers: dict[Var, set[Var]] = {}
        seen, pending = {start}, [start]
        while pending:
            v = pending.pop()
            for w in self.before(v):
                readers.setdefault(w, set()).add(v)
                pending += [w] if w not in seen else []
                seen.add(w)
        live, pending = set(ends), list(ends)
        while pending:
            new = readers.get(pending.pop(), set()) - live
            live |= new
            pending += new
        return frozenset(live)
