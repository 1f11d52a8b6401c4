"""What arrays, sizes and steps are called in loops."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sympy import Expr, Integer, Symbol

from derive.emit.layout import Names
from derive.emit.loops.language import SAMPLES
from derive.emit.loops.plan import Plan


class LoopNames:
    """What arrays, sizes and steps are called in a language: names as typed, where it has no other use for them.

    Nothing is called by a `reserved` name, and no array by one of `others`.
    """

    def __init__(self, plan: Plan, reserved: Iterable[str], others: Iterable[str] = ()):
        system = plan.system
        self.taken = set(reserved)
        names = Names(system, ())
        self.symbols: dict[Symbol, str] = {}
        for symbol, name in names.symbols.items():
            self.symbols[symbol] = self._free(name)
        for index, name in zip(system.lattice.indices, names.index, strict=True):
            self.symbols[index] = self._free(name)
        self.symbols[SAMPLES] = "samples"
        self.taken |= set(others)
        self.arrays: dict[str, str] = {}

    def _free(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def array(self, name: str) -> str:
        """`h`, `h_0` for the boundary value `h[0]`, `h_0_bar` for its gradient."""
        if name not in self.arrays:
            text = name.replace("[", "_").replace("]", "").replace("-", "m").replace("+", "p").replace(",", "_")
            self.arrays[name] = self._free(re.sub(r"\W", "_", text))
        return self.arrays[name]

    def size(self, e: Expr | int) -> str:
        """A number of rows or entries, or a step."""
        e = Integer(0) + e
        terms = sorted(e.as_ordered_terms(), key=lambda t: (t.is_number, str(t)))
        text = ""
        for term in terms:
            coefficient, rest = term.as_coeff_Mul()
            body = self._product(abs(coefficient), rest)
            text += f" {'-' if coefficient < 0 else '+'} {body}" if text else f"{'-' if coefficient < 0 else ''}{body}"
        return text

    def _product(self, coefficient: Expr, rest: Expr) -> str:
        factors = [str(coefficient)] if coefficient != 1 or rest == 1 else []
        for factor in () if rest == 1 else rest.as_ordered_factors():
            base, exponent = factor.as_base_exp()
            text = self.symbols.get(base) or f"({self.size(base)})"
            factors += [text] * int(exponent)
        return " * ".join(factors)

    def bracketed(self, e: Expr | int) -> str:
        text = self.size(e)
        return f"({text})" if " " in text else text
