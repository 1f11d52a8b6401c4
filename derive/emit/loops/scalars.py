"""Scalars of loops as expressions of a language; a language says how it writes entries, numbers, powers and conditions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from sympy import Expr

from derive.emit.loops.kernel import Kernel
from derive.emit.loops.language import (
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
from derive.emit.loops.names import LoopNames
from derive.emit.loops.plan import Plan

SUM, PRODUCT, ATOM = range(3)
"""How tightly source binds."""


class ScalarPrinter(ABC):
    """Scalars of one kernel; `called` collects the functions of the table that they call, by their names in the language."""

    AND: str
    function_name: Callable[[str, int], str]
    """What the derivative of some order of a function of the table is called."""

    def __init__(self, plan: Plan, kernel: Kernel, names: LoopNames):
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
        return self.AND.join(f"{self.names.size(a)} {op} {self.names.size(b)}" for a, op, b in conditions)

    def _local(self, array: str) -> str:
        return f"{self._name(array)}_here"

    @abstractmethod
    def _entry(self, read: Read) -> str:
        """An entry of an array; a name, where `rows` has one for it."""

    @abstractmethod
    def _number(self, value: Expr) -> tuple[str, int]:
        """A number, or one that sizes make."""

    @abstractmethod
    def _power(self, base: str, exponent: Expr) -> str: ...

    @abstractmethod
    def _same(self, s: Same) -> str:
        """1 where two indices are the same, else 0."""

    @abstractmethod
    def _where(self, s: Where) -> str:
        """The value where the conditions hold, else 0."""

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
                return self._same(s), ATOM
            case Where():
                return self._where(s), ATOM

    def _at_least(self, s: Scalar, level: int) -> str:
        text, found = self._scalar(s)
        return text if found >= level else f"({text})"

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
        return self._power(base, s.exponent)

    def _call(self, s: Call) -> str:
        name = type(self).function_name(s.function, s.order)
        self.called[name] = s.function, s.order
        return f"{name}({', '.join(self._scalar(a)[0] for a in s.arguments)})"


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
