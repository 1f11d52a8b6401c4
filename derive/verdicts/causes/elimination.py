"""Linear equations over the prime field, and the small fractions that their solutions are."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from derive.field import P


def small(c: int) -> Fraction | None:
    """The fraction with numerator and denominator of at most 4 that is `c` modulo p."""
    for denominator in (1, 2, 3, 4):
        n = c * denominator % P
        n = n - P if n > P // 2 else n
        if abs(n) <= 4:
            return Fraction(n, denominator)
    return None


def solve(columns: Sequence[Sequence[int | None]], target: Sequence[int | None]) -> list[int] | None:
    """The solution of `Σ c_k column_k = target` over F_p, free coefficients zero; None where there is none.

    Rows in which anything has no value are left out.
    """
    n = len(columns)
    pivots: list[tuple[int, list[int]]] = []
    for row in zip(*columns, target, strict=True):
        if any(v is None for v in row) or not any(row):
            continue
        values = [int(v) for v in row]  # type: ignore[arg-type]
        for at, pivot in pivots:
            if values[at]:
                c = values[at]
                values = [(a - c * b) % P for a, b in zip(values, pivot, strict=True)]
        lead = next((k for k, v in enumerate(values) if v), None)
        if lead == n:
            return None
        if lead is not None:
            inverse = pow(values[lead], -1, P)
            pivots.append((lead, [v * inverse % P for v in values]))
    solution = [0] * n
    for at, pivot in reversed(pivots):
        solution[at] = (pivot[-1] - sum(pivot[k] * solution[k] for k in range(n) if k != at)) % P
    return solution if pivots else None
