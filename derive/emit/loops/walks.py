"""Going through items: what stands inside of walks, what is written, what is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sympy import Expr

from derive.emit.loops.language import Accumulate, Clear, Fused, IfGiven, Item, Multiply, Pile, Walk, reads


def everything(items: Iterable[Item]) -> Iterator[Item]:
    """The items inside and outside of walks."""
    for item in items:
        if isinstance(item, Walk):
            yield from everything(g.item for g in item.body)
        elif isinstance(item, IfGiven):
            yield from everything(item.body)
        else:
            yield item


def loops(items: Iterable[Item]) -> Iterator[Fused]:
    yield from (item for item in everything(items) if isinstance(item, Fused))


def written(items: Iterable[Item]) -> Iterator[str]:
    """The arrays that are written to memory."""
    for item in everything(items):
        if isinstance(item, Fused):
            yield from (n.target.array for n in item.nests if n.target.array not in item.kept_local)
        elif isinstance(item, Multiply):
            yield item.target.array
        elif isinstance(item, (Accumulate, Pile)):
            yield item.target
        elif isinstance(item, Clear):
            yield item.array


def accesses(item: Item) -> Iterator[tuple[str, tuple[Expr, ...], tuple[str, ...]]]:
    """What an item reads: arrays, steps and axes."""
    if isinstance(item, Fused):
        for nest in item.nests:
            yield from ((r.array, r.steps, r.axes) for r in reads(nest.value))
    elif isinstance(item, Multiply):
        yield item.left.array, item.left.steps, ()
    elif isinstance(item, Accumulate):
        yield item.left.array, item.left.steps, ()
        yield from [(item.right.array, item.right.steps, ())] if item.right else []
