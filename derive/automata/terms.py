"""Formulas of single entries: `derive.evaluate` in a ring of terms, which are worked out once and evaluated many times.

A `Term` is an operation on terms, numbers and `Slot`s; `value(term, env)` is its value where `env` says what the slots
are worth.  The numbers are `Fraction`s (or affine forms in a parameter: `derive.automata.affine`), never floats.

    Slot(name, row, column, lag)   an entry of a variable so many steps back; without a lag it is a parameter's
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import numpy
from sympy import Rational

from derive.errors import DeriveError
from derive.evaluate import COMPARE, Array, Ring, Unevaluable


class Unset(DeriveError):
    """A parameter or an initial value that has no number."""


class Outside(Exception):
    """An input before the first step, where there is none."""


class Slot(NamedTuple):
    name: str
    row: int
    column: int
    lag: int | None

    def __str__(self) -> str:
        return self.name


class Term:
    """`op` of `args`; the sums and products of numbers alone are worked out at once."""

    __slots__ = ("args", "op")

    def __init__(self, op: str, *args: Any):
        self.op, self.args = op, args

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, SCALARS):
            return NotImplemented
        return self if _is(other, 0) else Term("+", self, other)

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, SCALARS):
            return NotImplemented
        return 0 if _is(other, 0) else self if _is(other, 1) else Term("*", self, other)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Term:
        return Term("*", self, -1)

    def __sub__(self, other: Any) -> Any:
        return self + (-other) if isinstance(other, SCALARS) else NotImplemented

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __pow__(self, exponent: int) -> Term:
        return Term("**", self, exponent)

    def __and__(self, other: Any) -> Any:
        return both(self, other)

    def __or__(self, other: Any) -> Term:
        return Term("or", self, other)

    __rand__, __ror__ = __and__, __or__

    def __str__(self) -> str:
        """The same for terms of one structure."""
        return f"{self.op}({', '.join(map(repr if self.op == 'read' else str, self.args))})"


SCALARS = (Term, Fraction, int)
Scalar: TypeAlias = "Term | Fraction | int | bool"
Env: TypeAlias = "Mapping[Slot, Any]"


def _is(scalar: Any, number: int) -> bool:
    return not isinstance(scalar, Term) and bool(scalar == number)


def read(slot: Slot) -> Term:
    return Term("read", slot)


def compared(op: str, a: Any, b: Any) -> Any:
    if isinstance(a, Term) or isinstance(b, Term):
        return Term(op, a, b)
    return COMPARE[op](a, b)


def chosen(condition: Any, a: Any, b: Any) -> Any:
    if isinstance(condition, Term):
        return Term("if", condition, a, b)
    return a if condition else b


def both(a: Any, b: Any) -> Any:
    if not isinstance(a, Term) or not isinstance(b, Term):
        known, other = (a, b) if not isinstance(a, Term) else (b, a)
        return other if known else False
    return Term("and", a, b)


def every(conditions: Iterable[Any]) -> Any:
    result: Any = True
    for condition in conditions:
        result = both(result, condition)
    return result


# --- values -----------------------------------------------------------------------------------------------------------


def value(term: Any, env: Env) -> Any:
    """Raises `Unset` and `Outside` where a slot that counts has no value; a branch that isn't taken does not count."""
    return RULES[term.op](env, *term.args) if isinstance(term, Term) else term


def holds(op: str, a: Any, b: Any) -> bool:
    """Whether `a op b`; an affine form decides it at its sample, and takes note."""
    difference = a - b
    decide = getattr(difference, "compare", None)
    return decide(op) if decide is not None else bool(COMPARE[op](difference, 0))


def _read(env: Env, slot: Slot) -> Any:
    found = env.get(slot)
    if found is None:
        raise Unset(f"{slot.name} has no value")
    if isinstance(found, Exception):
        raise found
    return found


def _power(env: Env, base: Any, exponent: int) -> Any:
    found = value(base, env)
    if exponent < 0 and found == 0:
        raise Unevaluable("a division by zero")
    return (Fraction(found) if isinstance(found, int) else found) ** exponent


def _bit(env: Env, term: Any, name: str) -> Any:
    found = value(term, env)
    if found not in (0, 1):
        raise Unset(f"{name} is no threshold: a value of it is {found}")
    return found


RULES: dict[str, Callable[..., Any]] = {
    "read": _read,
    "+": lambda env, a, b: value(a, env) + value(b, env),
    "*": lambda env, a, b: value(a, env) * value(b, env),
    "**": _power,
    "if": lambda env, condition, a, b: value(a if value(condition, env) else b, env),
    "and": lambda env, a, b: value(a, env) and value(b, env),
    "or": lambda env, a, b: value(a, env) or value(b, env),
    "bit": _bit,
    **{op: (lambda env, a, b, op=op: holds(op, value(a, env), value(b, env))) for op in COMPARE},
}


def slots(terms: Iterable[Any]) -> Iterator[Slot]:
    """The slots that terms read, each once, in a fixed order."""
    found: dict[Slot, None] = {}
    seen: set[int] = set()
    pending = list(terms)[::-1]
    while pending:
        term = pending.pop()
        if not isinstance(term, Term) or id(term) in seen:
            continue
        seen.add(id(term))
        if term.op == "read":
            found[term.args[0]] = None
        else:
            pending.extend(reversed(term.args))
    return iter(found)


# --- the ring ---------------------------------------------------------------------------------------------------------


class Terms(Ring):
    """Terms; `functions` gives the unknown functions, each a function from a scalar to a scalar."""

    def __init__(self, functions: Mapping[str, Callable[[Scalar], Scalar]]):
        self.functions = functions

    def number(self, q: Rational) -> Fraction:
        return Fraction(int(q.p), int(q.q))

    def constant(self, rows: Any) -> Array:
        return numpy.array([[Fraction(entry) for entry in row] for row in rows], dtype=object)

    def compare(self, relation: str, a: Array, b: Any) -> Array:
        return numpy.frompyfunc(lambda p, q: compared(relation, p, q), 2, 1)(a, b)

    def where(self, mask: Array, a: Any, b: Any) -> Array:
        return numpy.frompyfunc(chosen, 3, 1)(mask, a, b)

    def exp(self, a: Array) -> Array:
        raise Unevaluable("a function with values that are no rational numbers makes no finite automaton; use step")

    log = sqrt = sin = erf = exp

    def unknown(self, name: str, order: int, a: Array) -> Array:
        if order or name not in self.functions:
            raise Unset(f"nothing says what {name} is; say it with the values, as in {name}(z)=[z>=1/2]")
        return numpy.frompyfunc(self.functions[name], 1, 1)(a)
