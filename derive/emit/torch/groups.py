"""Statements of a loop that are one operation: sums into what is there, and one function of neighbours.

`p + U h` is written into the place of `p`, and `i = sigmoid(p_i)`, `f = sigmoid(p_f)`, … on parts that lie side by side is one
call for all.  Where all read the same vector as well, as `i_delta = i_gain * c_bar`, `f_delta = f_gain * c_bar`, the parts get an
axis of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sympy import Basic

from derive import expr
from derive.emit.code import COLUMN, kind_of
from derive.emit.torch.memory import Block, Memory
from derive.expr import Node, Var
from derive.schedule.program import SCRATCH, Assign, Item, Product, Sweep, statements
from derive.schedule.storage import read_by


class Accumulated(Product):
    """A product that is added to what is there."""


@dataclass(frozen=True)
class Fused(Assign):
    """One assignment for several parts: `target = value` for the first of each of `spans`.

    `shared`: vectors that every part reads.
    """

    spans: dict[str, tuple[Var, ...]] = field(default_factory=dict)
    shared: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[Var, ...]:
        return self.spans[self.target.name]


# --- sums into what is there ------------------------------------------------------------------------------------------------


def accumulated(body: Sequence[Item], memory: Memory) -> list[Item]:
    """The body with products that are only added to pieces which lie as their targets do added there."""
    found = list(body)
    for item in body:
        if isinstance(item, Product) and not item.transposed and item.bias is None:
            swap = _added_to(item, body, memory)
            if swap:
                place = found.index(item)
                found[place] = Accumulated(tuple(swap[t] for t in item.targets), item.pack, item.operands)
                gone = {t: expr.Zero(*t.shape) for t in item.targets}
                found = [Assign(s.target, expr.replace(s.value, gone)) if isinstance(s, Assign) else s for s in found]
    return found


def _added_to(item: Product, body: Sequence[Item], memory: Memory) -> dict[Var, Var]:
    swap: dict[Var, Var] = {}
    for target in item.targets:
        block = memory.of.get(target.name)
        if block is None or block.storage != SCRATCH:
            return {}
        readers = [s for s in statements(tuple(body)) if any(v.name == target.name for v in read_by(s))]
        if len(readers) != 1 or not isinstance(readers[0], Assign) or readers[0] not in body:
            return {}
        (reader,) = readers
        assert isinstance(reader, Assign)
        into = [v for v in _beside(reader.value, target) if _same_place(memory, v, reader.target)]
        if len(into) != 1:
            return {}
        swap[target] = into[0]
    return swap if _neighbours(memory, tuple(swap.values())) is not None else {}


def _same_place(memory: Memory, var: Var, target: Var) -> bool:
    block = memory.of.get(var.name)
    together = block is not None and any({var.name, target.name} <= {*part} for part in block.parts)
    return together and var.index == target.index and var.name != target.name


def _beside(value: Node, var: Var) -> Iterable[Var]:
    """The variables that are added to `var`, at the one place where it stands."""
    sums = [n for n in expr.walk(value) if isinstance(n, expr.Add) and var in n.args]
    return [v for v in sums[0].args if isinstance(v, Var) and v != var] if len(sums) == 1 else []


def _neighbours(memory: Memory, parts: Sequence[Var]) -> Block | None:
    """The block in which these are consecutive parts."""
    blocks = [memory.of.get(v.name) for v in parts]
    block = blocks[0]
    if block is None or any(b is not block for b in blocks):
        return None
    place = [_position(block, v) for v in parts]
    return block if place == list(range(place[0], place[0] + len(place))) else None


def _position(block: Block, var: Var) -> int:
    return next(k for k, part in enumerate(block.parts) if var.name in part)


# --- one function of neighbours ---------------------------------------------------------------------------------------------


def fused(body: Sequence[Item], memory: Memory, made: Iterable[str]) -> list[Item]:
    """The body with assignments to neighbours taken together, at the place of the last of them.

    `made`: arrays of which there are no views beforehand.
    """
    found = list(body)
    made = {*made}
    for block in memory.blocks:
        if len(block.parts) > 1 and not made & {*block.names}:
            by_position = {
                _position(block, s.target): s
                for s in found
                if isinstance(s, Assign) and s.target.name in block.names and kind_of(s.target) == COLUMN
            }
            for group in _groups(by_position, memory, made):
                if _may_move(group, found):
                    one = _as_one(group, memory, made)
                    assert one is not None
                    last = max(found.index(s) for s in group)
                    found[last] = one
                    found = [s for s in found if s not in group]
    return found


def _groups(by_position: dict[int, Assign], memory: Memory, made: set[str]) -> list[list[Assign]]:
    """The longest runs that are one operation."""
    groups: list[list[Assign]] = []
    run: list[Assign] = []
    for k in sorted(by_position):
        one = by_position[k]
        if run and by_position.get(k - 1) is run[-1] and _as_one([*run, one], memory, made) is not None:
            run.append(one)
        else:
            groups.append(run)
            run = [one]
    return [g for g in (*groups, run) if len(g) > 1]


def _as_one(group: Sequence[Assign], memory: Memory, made: set[str]) -> Fused | None:
    first = group[0]
    pairs = [_matched(first.value, other.value, {}) for other in group]
    if any(p is None for p in pairs) or len({s.target.shape for s in group}) > 1:
        return None
    spans: dict[str, tuple[Var, ...]] = {first.target.name: tuple(s.target for s in group)}
    shared: list[str] = []
    for var in expr.variables(first.value):
        parts = tuple(p[var] for p in pairs if p is not None)
        if var.name in spans and spans[var.name] != parts:
            return None
        if len({*parts}) == 1 and var.index and kind_of(var) == COLUMN:
            shared.append(var.name)
        elif len({*parts}) > 1:
            if _neighbours(memory, parts) is None or made & {p.name for p in parts}:
                return None
            spans[var.name] = parts
        elif kind_of(var) != COLUMN or not var.index:
            return None
    if made & {*shared}:
        return None
    return Fused(first.target, first.value, spans, tuple(shared))


def _matched(one: Any, other: Any, found: dict[Var, Var]) -> dict[Var, Var] | None:
    """Which variables of `other` stand where those of `one` do; None where the formulas differ in more."""
    if isinstance(one, Var):
        alike = isinstance(other, Var) and one.index == other.index and one.shape == other.shape
        return found if alike and found.setdefault(one, other) == other else None
    if not isinstance(one, Basic) or one.func != other.func or len(one.args) != len(other.args):
        return found if one == other else None
    if not one.args:
        return found if one == other else None
    if not all(_matched(a, b, found) is not None for a, b in zip(one.args, other.args, strict=True)):
        return None
    return found


def _may_move(group: Sequence[Assign], body: Sequence[Item]) -> bool:
    """Whether nothing between the members reads what they compute, or computes what they read."""
    places = [body.index(s) for s in group]
    writes = {s.target.name for s in group}
    reads = {v.name for s in group for v in read_by(s)}
    between = [s for s in body[min(places) : max(places)] if s not in group]
    if any(isinstance(s, Sweep) for s in between) or writes & {v.name for s in group for v in read_by(s)}:
        return False
    for s in statements(tuple(between)):
        if writes & {v.name for v in read_by(s)} or reads & {t.name for t in s.targets}:
            return False
    return True
