"""Products that can be one product: what is taken together lies side by side in memory.

`U_i h, U_f h, …` are `[U_i; U_f; …] h`; `U_i.T a + U_f.T b + …` is `[U_i; U_f; …].T [a; b; …]`; the gradients `Σ a h.T`,
`Σ b h.T`, … are `Σ [a; b; …] h.T`.  Where two such sets of parts overlap, an order is looked for in which the parts of each
are neighbours.  Within a set, parts that go through the same function are neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any, TypeAlias

from derive import expr
from derive.expr import Node, Var
from derive.schedule.hoist import Names
from derive.schedule.products import Factored, Joint, Single
from derive.schedule.program import Assign, OuterTotal, Pack, Product, Stack, Total
from derive.schedule.terms import is_backward
from derive.system import System

MOST_PERMUTED = 6
"""Kinds of parts whose orders are all tried."""

Statement: TypeAlias = "Assign | Product"


class Fusion:
    """The statements of both passes, their products fused; `stacks` and `totals` come with them."""

    def __init__(self, system: System, names: Names, passes: Sequence[Factored], totals: Sequence[Total | OuterTotal]):
        self.system, self.names = system, names
        self.indices = system.lattice.indices
        self.computed = {n for one in passes for n in computed(one)}
        self.adjoints = {
            target.base: {v.name for v in expr.variables(value) if is_backward(v)}
            for one in passes
            for target, value in one.equations.values()
            if "delta" in target.marks
        }
        """What the adjoint of a pre-activation is a multiple of."""
        grouped = _by(_outer(totals), lambda total: total.right)
        sets = [tuple(map(self._here, j.operands)) for one in passes for j in one.joint]
        outer = [[t.left[0] for t in group] for right, group in grouped.items() if right is not None]
        sets += [tuple(map(self._here, lefts)) for lefts in outer]
        self.orders = arrangement(filter(self._can_be_stacked, sets), self._key)
        self.matrix_order = self._matrix_order(passes)
        self.stacks = [self._stack(order) for order in self.orders if len(order) > 1]
        self.totals: list[Total | OuterTotal] = [
            *(t for t in totals if isinstance(t, Total)),
            *(total for group in grouped.values() for total in self._fused_totals(group)),
        ]

    def statements(self, one: Factored, loop_of: Mapping[str, int]) -> list[Statement]:
        """What one pass computes, in the order in which its parts were found; loops are not crossed."""
        found: list[Statement] = [Assign(target, value) for target, value in one.equations.values()]
        for joint in one.joint:
            found += self._fused_joint(joint)
        groups = _by(one.single, lambda s: (s.operand, loop_of.get(s.target.name, -1)))
        for group in groups.values():
            found += self._fused_single(group)
        return found

    # --- orders -----------------------------------------------------------------------------------------------------------

    def _here(self, var: Var) -> Var:
        return var.at(self.indices)

    def _can_be_stacked(self, parts: Sequence[Var]) -> bool:
        return all(p.name in self.computed for p in parts) and len(set(parts)) == len(parts)

    def _key(self, part: Var) -> tuple[int, bool, int]:
        """Parts of one activation together; last of them those whose adjoint is also that of parts of other activations."""
        names = list(self.system.equations)
        base = next((n for n in sorted(names, key=len, reverse=True) if f"{part.base}_".startswith(f"{n}_")), "")
        if not base:
            return len(names), False, len(names)
        alike = [n for n in names if _function(self.system, n) == _function(self.system, base)]
        others = {v for n in names if n not in alike for v in self.adjoints.get(n, ())}
        return names.index(alike[0]), not others.isdisjoint(self.adjoints.get(base, ())), names.index(base)

    def _matrix_order(self, passes: Sequence[Factored]) -> dict[Var, int]:
        """Where a matrix stands in its pack: where the operand of its transpose stands, so that both share the pack."""
        position = {part: i for i, part in enumerate(part for order in self.orders for part in order)}
        pairs = [
            (m, self._here(v)) for one in passes for j in one.joint for m, v in zip(j.matrices, j.operands, strict=True)
        ]
        return {m: position[v] for m, v in pairs if v in position}

    def _runs(self, parts: Sequence[Var]) -> list[list[int]]:
        """Positions of `parts`, grouped into those that are neighbours."""
        place = {part: (k, i) for k, order in enumerate(self.orders) for i, part in enumerate(order)}
        found: list[list[int]] = [[k] for k, p in enumerate(parts) if self._here(p) not in place]
        last: tuple[int, int] | None = None
        for k in sorted(
            (k for k, p in enumerate(parts) if self._here(p) in place), key=lambda k: place[self._here(parts[k])]
        ):
            here = place[self._here(parts[k])]
            if last is not None and here == (last[0], last[1] + 1):
                found[-1].append(k)
            else:
                found.append([k])
            last = here
        return found

    def _stack(self, parts: Sequence[Var]) -> Stack:
        return Stack(self.names.new(parts[0], "stack", parts[0], ()).name, tuple(parts))

    # --- fused --------------------------------------------------------------------------------------------------------------

    def _fused_joint(self, joint: Joint) -> list[Statement]:
        found: list[Statement] = []
        targets = []
        groups = self._runs(joint.operands)
        for group in groups:
            target = (
                joint.target if len(groups) == 1 else self.names.new(joint.target, "sum", joint.target, self.indices)
            )
            pack = Pack(tuple(joint.matrices[k] for k in group))
            found.append(Product((target,), pack, tuple(joint.operands[k] for k in group), transposed=True))
            targets.append(target)
        return found if len(groups) == 1 else [*found, Assign(joint.target, expr.add(*targets))]

    def _fused_single(self, group: Sequence[Single]) -> list[Statement]:
        order = sorted(group, key=lambda s: (self.matrix_order.get(s.matrix, -1), self._key(s.target)))
        found: list[Statement] = []
        every = all(s.bias is not None for s in order)
        targets = []
        for s in order:
            target = s.target
            if s.bias is not None and not every:
                target = self.names.new(s.target, "rec", s.target, self.indices)
                found.append(Assign(s.target, expr.add(target, s.bias)))
            targets.append(target)
        bias = Pack(tuple(s.bias for s in order if s.bias is not None)) if every else None
        stacked = {p for stack in self.stacks for p in stack.parts}
        if len(targets) > 1 and stacked.isdisjoint(targets):
            self.stacks.append(self._stack(targets))
        elif len(targets) > 1:
            return [
                Product((s.target,), Pack((s.matrix,)), (s.operand,), bias=s.bias and Pack((s.bias,))) for s in order
            ]
        return [Product(tuple(targets), Pack(tuple(s.matrix for s in order)), (order[0].operand,), bias=bias), *found]

    def _fused_totals(self, group: Sequence[OuterTotal]) -> list[OuterTotal]:
        lefts = [t.left[0] for t in group]
        at_home = all(v == self._here(v) for v in lefts) and self._can_be_stacked(lefts)
        groups = self._runs(lefts) if at_home else [[k] for k in range(len(group))]
        return [
            OuterTotal(tuple(group[k].targets[0] for k in g), tuple(lefts[k] for k in g), group[0].right)
            for g in groups
        ]


def computed(one: Factored) -> list[str]:
    return [*one.equations, *(p.target.name for p in one.single), *(p.target.name for p in one.joint)]


def _outer(totals: Iterable[Total | OuterTotal]) -> list[OuterTotal]:
    return [t for t in totals if isinstance(t, OuterTotal)]


def _by(items: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _function(system: System, name: str) -> str:
    rhs: Node = system.equations[name].rhs
    return rhs.function if isinstance(rhs, expr.Apply) else ""


# --- neighbours -------------------------------------------------------------------------------------------------------------


def arrangement(sets: Iterable[Sequence[Var]], key: Callable[[Var], Any]) -> list[list[Var]]:
    """Parts that share a set, directly or not, in an order in which as many sets as possible are neighbours.

    Parts that belong to the same sets are of one kind and stay together, in the order of `key`.
    """
    sets = [tuple(s) for s in sets]
    kinds: dict[tuple[bool, ...], list[Var]] = {}
    for part in dict.fromkeys(p for s in sets for p in s):
        kinds.setdefault(tuple(part in s for s in sets), []).append(part)
    found = []
    for component in _components(list(kinds)):
        orders = permutations(component) if len(component) <= MOST_PERMUTED else iter([tuple(component)])
        best = max(orders, key=lambda order: _neighbours(order, len(sets)))
        found.append([part for kind in best for part in sorted(kinds[kind], key=key)])
    return found


def _components(kinds: list[tuple[bool, ...]]) -> list[list[tuple[bool, ...]]]:
    """Kinds that share a set, directly or not."""
    components: list[list[tuple[bool, ...]]] = []
    for kind in kinds:
        near = [c for c in components if any(a and b for other in c for a, b in zip(kind, other, strict=True))]
        components = [c for c in components if c not in near] + [[k for c in near for k in c] + [kind]]
    return components


def _neighbours(kinds: Sequence[tuple[bool, ...]], count: int) -> int:
    """How many sets have their kinds next to one another."""
    places = [[i for i, kind in enumerate(kinds) if kind[s]] for s in range(count)]
    return sum(1 for p in places if p and p[-1] - p[0] == len(p) - 1)
