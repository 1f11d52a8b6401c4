"""Entries of arrays and numbers as C expressions."""

from __future__ import annotations

from sympy import Expr, Integer

from derive.emit.c import library
from derive.emit.loops.language import SAMPLE, Read, Same, Where
from derive.emit.loops.memory import Block
from derive.emit.loops.scalars import ATOM, PRODUCT, SUM, ScalarPrinter


class CScalars(ScalarPrinter):
    """Scalars of one kernel, in C."""

    AND = " && "
    function_name = staticmethod(library.function_name)

    def _row(self, block: Block, steps: tuple[Expr, ...]) -> str:
        """The row of a point: `t`, `(i - 1) * J + j - 1`, `(t & 1)`."""
        if block.rolling:
            return f"({self.names.bracketed(steps[0])} & 1)"
        if not block.axes:
            return "0"
        position = ""
        for step, before, count in zip(steps, block.before, block.rows(self.lattice), strict=True):
            row = Integer(0) + step - 1 + before
            if not position:
                position = self.names.bracketed(row)
            elif row == 0:
                position = f"{position} * {self.names.bracketed(count)}"
            else:
                position = f"({position} * {self.names.bracketed(count)} + {self.names.size(row)})"
        return position

    def _entry(self, read: Read) -> str:
        if read in self.rows:
            return self.rows[read]
        place = self.kernel.layout[read.array]
        row = self._row(place.block, read.steps) if (place.block.axes or place.block.rolling) else "0"
        parts: list[str] = []
        width = self.names.bracketed(place.block.width)
        if place.block.batched:
            parts.append(_times(f"{_times(row, 'samples')} + {SAMPLE}" if row != "0" else SAMPLE, width, row != "0"))
        elif row != "0":
            parts.append(_times(row, width))
        if len(read.axes) == 2:
            parts += [_times(read.axes[0], self.names.bracketed(place.shape[1])), read.axes[1]]
        else:
            parts += list(read.axes)
        return f"{self._name(read.array)}[{' + '.join(p for p in parts if p) or '0'}]"

    def _number(self, value: Expr) -> tuple[str, int]:
        if value.is_Integer:
            return str(value), ATOM if value >= 0 else SUM
        if value.is_number:
            text = f"R({float(value)!r})" if value >= 0 else f"-R({float(-value)!r})"
            return text, ATOM if value >= 0 else SUM
        above, below = value.as_numer_denom()
        text = f"(real)({self.names.size(above)})"
        return (text, ATOM) if below == 1 else (f"{text} / ({self.names.size(below)})", PRODUCT)

    def _power(self, base: str, exponent: Expr) -> str:
        return f"real_pow({base}, {self.names.size(exponent)})"

    def _same(self, s: Same) -> str:
        return f"({s.left} == {s.right})"

    def _where(self, s: Where) -> str:
        return f"({self._condition(s.conditions)} ? {self._scalar(s.value)[0]} : 0)"


def _times(text: str, factor: str, compound: bool = False) -> str:
    return text if factor == "1" else f"({text}) * {factor}" if compound else f"{text} * {factor}"
