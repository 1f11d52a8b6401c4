"""What arrays, sizes and steps are called in C."""

from __future__ import annotations

import re

from sympy import Expr, Integer, Symbol

from derive.emit.c import library
from derive.emit.layout import Names
from derive.emit.loops.language import SAMPLES
from derive.emit.loops.plan import Plan

RESERVED = frozenset(
    [
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
        "asm",
        "typeof",
        "main",
        "real",
        "bits",
        "R",
        "gemm",
        "product",
        "samples",
        "sample",
        "row",
        "column",
        "inner",
        "values",
        "memory",
        "parameters",
        "gradients",
        "loss",
        "total",
        "sum",
        "top",
        "multiply",
        "multiply_across",
        "accumulate",
        "add_rows",
        "transpose",
        "reduced",
        "two_to_the",
        "power",
        "square",
        "larger",
        "smaller",
        "use_blas",
        "y0",
        "y1",
        "yn",
        "j0",
        "j1",
        "jn",
        "gamma",
        "exp",
        "log",
        "tanh",
        "sqrt",
        "erf",
        "signbit",
        "index",
        "div",
        "time",
        "signal",
        "remove",
        "NULL",
        "INFINITY",
        "NAN",
        "EOF",
    ]
)
"""Names that mean something else in the C source."""


class CNames:
    """What arrays, sizes and steps are called in C: names as typed, where C has no other use for them."""

    def __init__(self, plan: Plan):
        system = plan.system
        self.taken = set(RESERVED) | {library.function_name(n, k) for n in library.NAMES for k in range(2)}
        self.taken |= set(library.SOURCES)
        names = Names(system, ())
        self.symbols: dict[Symbol, str] = {}
        for symbol, name in names.symbols.items():
            self.symbols[symbol] = self._free(name)
        for index, name in zip(system.lattice.indices, names.index, strict=True):
            self.symbols[index] = self._free(name)
        self.symbols[SAMPLES] = "samples"
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
