"""Routines of `derive.emit.loops` in a language: what all languages do alike."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from derive.emit.loops.language import (
    Accumulate,
    Clear,
    Fused,
    Guarded,
    IfGiven,
    Item,
    Multiply,
    Nest,
    Pile,
    Read,
    Walk,
    reads,
)
from derive.emit.loops.scalars import ScalarPrinter


class RoutinePrinter(ScalarPrinter):
    """The functions of one kernel; a language adds how it writes each item."""

    def functions(self, titles: Mapping[str, str]) -> list[str]:
        return [self._function(name, items, titles[name]) for name, items in self.kernel.routines.items()]

    @abstractmethod
    def _function(self, name: str, items: Sequence[Item], title: str) -> str: ...

    @abstractmethod
    def _items(self, body: Iterable[Guarded]) -> list[str]: ...

    def _item(self, item: Item) -> list[str]:
        match item:
            case Walk():
                return self._walk(item)
            case Fused():
                return self._fused(item) if item.nests[0].over is None else self._reduction(item.nests[0])
            case Multiply():
                return self._multiply(item)
            case Accumulate():
                return self._accumulate(item)
            case Clear():
                return self._clear(item)
            case Pile():
                return self._pile(item)
            case IfGiven():
                return self._if_given(item)

    @abstractmethod
    def _walk(self, walk: Walk) -> list[str]: ...

    @abstractmethod
    def _fused(self, item: Fused) -> list[str]: ...

    @abstractmethod
    def _reduction(self, nest: Nest) -> list[str]: ...

    @abstractmethod
    def _multiply(self, item: Multiply) -> list[str]: ...

    @abstractmethod
    def _accumulate(self, item: Accumulate) -> list[str]: ...

    @abstractmethod
    def _clear(self, item: Clear) -> list[str]: ...

    @abstractmethod
    def _pile(self, item: Pile) -> list[str]: ...

    @abstractmethod
    def _if_given(self, item: IfGiven) -> list[str]: ...

    def _row_name(self, read: Read) -> str:
        """`c_t`, `c_before` for a step back, `c_after`."""
        name, offsets = self._name(read.array), []
        for step in read.steps:
            index = next((i for i in self.lattice.indices if step.has(i)), None)
            offset = step - index if index is not None else None
            text = (
                f"at_{step}" if offset is None else f"m{-offset}" if offset < 0 else f"p{offset}" if offset > 0 else ""
            )
            offsets.append(re.sub(r"\W", "", text))
        moved = "_".join(o for o in offsets if o)
        found = f"{name}_row{'_' + moved if moved else ''}"
        taken = {text.partition("[")[0] for text in self.rows.values()}
        while found in taken:
            found += "_"
        return found


def neighbours(nest: Nest) -> bool:
    """Whether what is summed lies side by side along the axis of the sum."""
    last = nest.target.axes[-1]
    found = [r.axes[-1] for r in reads(nest.value) if r.axes]
    return last not in found
