"""Entries of arrays and scalars as C expressions."""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr, Integer

from derive.emit.c import library
from derive.emit.c.names import CNames
from derive.emit.loops.kernel import Kernel
from derive.emit.loops.language import (
    SAMPLE,
    SAMPLES,
    Call,
    Condition,
    Local,
    Number,
    Over,
    Plus,
    Raised,
    Read,
    Same,
    Scalar,
    Times,
    Where,
)
from derive.emit.loops.memory import Block
from derive.emit.loops.plan import Plan

SUM, PRODUCT, ATOM = range(3)
"""How tightly source binds."""


class ScalarPrinter:
    """Scalars of one kernel; `called` collects the functions of the table that they call, by their C names."""

    def __init__(self, plan: Plan, kernel: Kernel, names: CNames):
        self.plan, self.kernel, self.names = plan, kernel, names
        self.lattice = plan.system.lattice
        self.called: dict[str, tuple[str, int]] = {}
        self.sizes = [*self.lattice.lengths, SAMPLES, *plan.system.dimensions]
        self.rows: dict[Read, str] = {}
        """Entries of the loop that is being written which go by the name of a row."""
        self.arguments: dict[str, list[str]] = {}
        """By routine: the regions and given arrays that it takes."""

    def _name(self, key: str) -> str:
        """What an array is called; one that was given and is used as it is, by its own name."""
        plain = key.removesuffix(" given")
        layout = self.kernel.layout
        same = plain in layout and key in layout and layout[plain].block == layout[key].block
        return self.names.array(plain if same else key)

    def _condition(self, conditions: Sequence[Condition]) -> str:
        return " && ".join(f"{self.names.size(a)} {op} {self.names.size(b)}" for a, op, b in conditions)

    def _local(self, array: str) -> str:
        return f"{self._name(array)}_here"

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

    def _scalar(self, s: Scalar) -> tuple[str, int]:
        """The source of a scalar, and how tightly it binds."""
        match s:
            case Number():
                return self._number(s.value)
            case Read():
                return self._entry(s), ATOM
            case Local():
                return self._local(s.array), ATOM
            case Plus():
                return self._plus(s), SUM
            case Times():
                return self._times(s)
            case Over():
                return f"{self._at_least(s.above, PRODUCT)} / {self._at_least(s.below, ATOM)}", PRODUCT
            case Raised():
                return self._raised(s), ATOM
            case Call():
                return self._call(s), ATOM
            case Same():
                return f"({s.left} == {s.right})", ATOM
            case Where():
                return f"({self._condition(s.conditions)} ? {self._scalar(s.value)[0]} : 0)", ATOM

    def _at_least(self, s: Scalar, level: int) -> str:
        text, found = self._scalar(s)
        return text if found >= level else f"({text})"

    def _number(self, value: Expr) -> tuple[str, int]:
        if value.is_Integer:
            return str(value), ATOM if value >= 0 else SUM
        if value.is_number:
            text = f"R({float(value)!r})" if value >= 0 else f"-R({float(-value)!r})"
            return text, ATOM if value >= 0 else SUM
        above, below = value.as_numer_denom()
        text = f"(real)({self.names.size(above)})"
        return (text, ATOM) if below == 1 else (f"{text} / ({self.names.size(below)})", PRODUCT)

    def _plus(self, s: Plus) -> str:
        text = ""
        for term in sorted(s.terms, key=lambda t: bool(text) or _sign(t)[0] < 0):
            sign, body = _sign(term)
            operand = self._at_least(body, PRODUCT)
            text += (" - " if sign < 0 else " + ") + operand if text else ("-" if sign < 0 else "") + operand
        return text

    def _times(self, s: Times) -> tuple[str, int]:
        sign, body = _sign(s)
        if sign < 0:
            return f"-{self._at_least(body, PRODUCT)}", SUM
        first, *others = s.factors
        return " * ".join([self._at_least(first, PRODUCT), *(self._at_least(f, ATOM) for f in others)]), PRODUCT

    def _raised(self, s: Raised) -> str:
        base = self._scalar(s.base)[0]
        if s.exponent == 2:
            return f"square({base})"
        if s.exponent.is_Integer:
            return f"power({base}, {s.exponent})"
        return f"real_pow({base}, {self.names.size(s.exponent)})"

    def _call(self, s: Call) -> str:
        name = library.function_name(s.function, s.order)
        self.called[name] = s.function, s.order
        return f"{name}({', '.join(self._scalar(a)[0] for a in s.arguments)})"


def _times(text: str, factor: str, compound: bool = False) -> str:
    return text if factor == "1" else f"({text}) * {factor}" if compound else f"{text} * {factor}"


def _sign(s: Scalar) -> tuple[int, Scalar]:
    """`(-1, x)` of `-x`."""
    if isinstance(s, Number) and s.value.is_number and s.value < 0:
        return -1, Number(-s.value)
    if isinstance(s, Times) and isinstance(s.factors[0], Number) and s.factors[0].value.is_number:
        c = s.factors[0].value
        if c < 0:
            rest = s.factors[1:] if c == -1 else (Number(-c), *s.factors[1:])
            return -1, rest[0] if len(rest) == 1 else Times(rest)
    return 1, s
