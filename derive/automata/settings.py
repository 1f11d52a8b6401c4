"""What a network is given: numbers for its parameters and its initial values, and functions.

`Settings.read("W_1=1, b=[1,-1], h[0]=1, c=-3/2, y[0]=c_0-c, f(z)=[z>=1/2]")` reads them as a person types them; the
judge of documents makes them of nodes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import Any, TypeAlias

import numpy

from derive.automata.terms import Scalar, chosen, compared
from derive.errors import DeriveError
from derive.evaluate import Array

Key: TypeAlias = "tuple[str, tuple[int, ...]]"
"""A name; with an index where it is a value before the first step: `("h", (0,))`."""
Named: TypeAlias = "Callable[[str], Array]"
"""From a name to the array of its parameter."""
Value: TypeAlias = "Callable[[Named], Array]"
"""An array, which may be made of parameters."""

EXAMPLE = "write them as W_1=1, b_1=-3/2, W=[[1,-1],[1,1]], h[0]=1, f(z)=[z>=1/2]"
_LEFT = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\[\s*(-?\d+)\s*\]|\(\s*([A-Za-z_]\w*)\s*\))?\s*")
_SIGNS: dict[type, str] = {ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<=", ast.Eq: "==", ast.NotEq: "!="}
_EQUALS = re.compile(r"(?<![<>=!])=(?!=)")
LONGEST = 10_000
"""Characters of the settings."""


@dataclass(frozen=True)
class Settings:
    """`zero`: an initial value that is left out is zero, as it is when a network runs; else it is unset."""

    values: Mapping[Key, Value] = field(default_factory=dict)
    functions: Mapping[str, Callable[[Scalar], Scalar]] = field(default_factory=dict)
    zero: bool = False

    @classmethod
    def read(cls, text: str | Mapping[str, Any] = "") -> Settings:
        """Settings as they are typed, or a mapping `{"W_1": 1, "h[0]": "1/2"}`.  Raises `DeriveError`."""
        values: dict[Key, Value] = {}
        functions: dict[str, Callable[[Scalar], Scalar]] = {}
        for left, right in _pairs(text):
            match, tree = _LEFT.fullmatch(left), _parsed(right)
            if match is None:
                raise DeriveError(f"{left.strip()!r} is nothing that can be given a value; {EXAMPLE}")
            name, index, argument = match.groups()
            if argument is not None:
                functions[name] = _function(tree, argument, right)
            else:
                values[name, (int(index),) if index is not None else ()] = _value(tree, right)
        return cls(values, functions, zero=True)

    def without(self, names: Sequence[str]) -> Settings:
        """With no number for these; an initial value, `h[0]`, becomes a parameter that is called so."""
        values = dict(self.values)
        for name in names:
            state, _, index = name.removesuffix("]").partition("[")
            if not index:
                values.pop((name, ()), None)
            elif index.lstrip("-").isdecimal():
                values[state, (int(index),)] = partial(_called, name)
            else:
                raise DeriveError(f"{name!r} is no initial value; write it as h[0]")
        return replace(self, values=values)


def _called(name: str, named: Named) -> Array:
    return named(name)


def _pairs(text: str | Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    if not isinstance(text, str):
        return [(left, str(right)) for left, right in text.items()]
    if len(text) > LONGEST:
        raise DeriveError(f"the values have more than {LONGEST} characters")
    parts = [part for part in _split(text) if part.strip()]
    found = [_EQUALS.split(part, maxsplit=1) for part in parts]
    wrong = next((part for part, pair in zip(parts, found, strict=True) if len(pair) != 2), None)
    if wrong is not None:
        raise DeriveError(f"{wrong.strip()!r} gives no value; {EXAMPLE}")
    return [(left, right) for left, right in found]


def _split(text: str) -> list[str]:
    """At the commas and semicolons that stand in no brackets, and at the ends of lines."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "[(") - (sign in "])")
        if depth == 0 and sign in ",;\n":
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise DeriveError(f"{text.strip()!r} is no value; {EXAMPLE}") from None


def number(text: Any) -> Fraction:
    """An exact number from `-3/2`, `0.5`, 1 or 1.5.  Raises `DeriveError`."""
    try:
        return Fraction(str(text).strip())
    except (ValueError, ZeroDivisionError):
        raise DeriveError(f"{str(text).strip()!r} is no number; write 1, -3/2 or 0.5") from None


def _value(tree: ast.expr, typed: str) -> Value:
    rows = [row.elts if isinstance(row, ast.List) else [row] for row in _rows(tree)]
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise DeriveError(f"the rows of {typed.strip()!r} are not of one length; {EXAMPLE}")

    def made(named: Named) -> Array:
        entry = {name: (lambda name=name: named(name)[0, 0]) for row in rows for e in row for name in _names(e)}
        return numpy.array([[_scalar(e, entry, typed) for e in row] for row in rows], dtype=object)

    for row in rows:
        for e in row:
            _scalar(e, {name: (lambda: Fraction(1)) for name in _names(e)}, typed)
    return made


def _rows(tree: ast.expr) -> list[ast.expr]:
    """A list of a comparison is a bit, `[z >= 1/2]`; any other is a column or a matrix."""
    return tree.elts if isinstance(tree, ast.List) and _bit(tree) is None else [tree]


def _bit(tree: ast.expr) -> ast.Compare | None:
    if isinstance(tree, ast.List) and len(tree.elts) == 1 and isinstance(tree.elts[0], ast.Compare):
        return tree.elts[0]
    return None


def _names(tree: ast.AST) -> list[str]:
    return [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]


def _function(tree: ast.expr, argument: str, typed: str) -> Callable[[Scalar], Scalar]:
    def applied(z: Scalar) -> Scalar:
        return _scalar(tree, {argument: lambda: z}, typed)  # type: ignore[no-any-return]

    applied(Fraction(1))
    return applied


def _scalar(tree: ast.expr, named: Mapping[str, Callable[[], Any]], typed: str) -> Any:
    """A number, a name, sums, products and quotients of them, a bit `[z > 0]`."""
    if isinstance(tree, ast.Constant) and isinstance(tree.value, (int, float)) and not isinstance(tree.value, bool):
        return number(ast.unparse(tree))
    if isinstance(tree, ast.Name) and tree.id in named:
        return named[tree.id]()
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, (ast.USub, ast.UAdd)):
        inside = _scalar(tree.operand, named, typed)
        return -inside if isinstance(tree.op, ast.USub) else inside
    if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATIONS:
        return _OPERATIONS[type(tree.op)](_scalar(tree.left, named, typed), _scalar(tree.right, named, typed))
    bit = _bit(tree)
    if bit is not None and len(bit.ops) == 1 and type(bit.ops[0]) in _SIGNS:
        sides = (_scalar(bit.left, named, typed), _scalar(bit.comparators[0], named, typed))
        return chosen(compared(_SIGNS[type(bit.ops[0])], *sides), Fraction(1), Fraction(0))
    raise DeriveError(f"{ast.unparse(tree)!r} in {typed.strip()!r} is not understood; {EXAMPLE}")


def _quotient(a: Any, b: Any) -> Any:
    if not isinstance(b, Fraction) or not b:
        raise DeriveError("a value is divided by numbers other than zero only")
    return a * (1 / b)


_OPERATIONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: _quotient,
}
