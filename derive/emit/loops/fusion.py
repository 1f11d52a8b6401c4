"""Neighbouring nests over the same axes as one loop, in which a value that was just computed is not read from memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from derive.emit.loops.language import (
    Accumulate,
    Fused,
    Guarded,
    IfGiven,
    Item,
    Local,
    Multiply,
    Nest,
    Read,
    Scalar,
    Walk,
    mapped,
    reads,
)


def fused(nests: Iterable[Nest | Multiply | Accumulate]) -> list[Item]:
    """Loops, each with as many neighbouring nests as may run together."""
    found: list[Item] = []
    group: list[Nest] = []
    for nest in nests:
        if isinstance(nest, Nest) and group and _joins(group, nest):
            group.append(_localised(group, nest))
            continue
        found += [Fused(group[0].axes, tuple(group))] if group else []
        group = [nest] if isinstance(nest, Nest) else []
        found += [] if isinstance(nest, Nest) else [nest]
    return [*found, *([Fused(group[0].axes, tuple(group))] if group else [])]


def _joins(group: Sequence[Nest], nest: Nest) -> bool:
    """Whether a nest runs over the same axes and reads of what the group computes only the entry that is at hand."""
    if group[0].axes != nest.axes or group[0].over is not None or nest.over is not None:
        return False
    targets = {n.target.array: n for n in group}
    if nest.target.array in targets:
        return False
    for read in reads(nest.value):
        other = targets.get(read.array)
        if other is None or read.steps != other.target.steps:
            continue
        if read != other.target or other.operation != "=":
            return False
    # Nor may it overwrite what the group reads elsewhere.
    return not any(r.array == nest.target.array and r.steps == nest.target.steps for n in group for r in reads(n.value))


def _localised(group: Sequence[Nest], nest: Nest) -> Nest:
    computed = {n.target for n in group}
    return replace(nest, value=mapped(nest.value, lambda r: Local(r.array) if r in computed else r))


def in_memory(items: Iterable[Item]) -> Iterator[str]:
    """The arrays that are read from memory."""
    for item in items:
        if isinstance(item, Walk):
            yield from in_memory(g.item for g in item.body)
        elif isinstance(item, IfGiven):
            yield from in_memory(item.body)
        elif isinstance(item, Fused):
            for nest in item.nests:
                yield from (read.array for read in reads(nest.value))
        elif isinstance(item, Multiply):
            yield item.left.array
        elif isinstance(item, Accumulate):
            yield item.left.array
            yield from [item.right.array] if item.right else []


def with_locals(items: Iterable[Item], local: frozenset[str]) -> list[Item]:
    """The items, with what is never read from memory kept out of it."""
    found: list[Item] = []
    for item in items:
        if isinstance(item, Walk):
            body = zip(item.body, with_locals([g.item for g in item.body], local), strict=True)
            item = replace(item, body=tuple(Guarded(g.conditions, new) for g, new in body))
        elif isinstance(item, IfGiven):
            item = replace(item, body=tuple(with_locals(item.body, local)))
        elif isinstance(item, Fused):
            own = {n.target.array for n in item.nests if n.operation == "="}
            item = replace(item, kept_local=local & own)
        found.append(item)
    return found


def distinct_reads(item: Fused) -> list[Read]:
    """What a loop reads from memory, each entry once, in the order in which it is needed."""
    found: dict[Read, None] = {}
    for nest in item.nests:
        found.update(dict.fromkeys(_in_order(nest.value)))
    return list(found)


def _in_order(scalar: Scalar) -> list[Read]:
    found: list[Read] = []

    def see(read: Read) -> Scalar:
        found.append(read)
        return read

    mapped(scalar, see)
    return found
