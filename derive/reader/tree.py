r"""The neutral tree: what stands in a formula, before anyone asks what it means.

`W h_t` is a *chain* of two factors, `h_t^T` a name with a subscript and a superscript; whether the first is a matrix
product, and the `T` a transpose, is for shapes and declarations to say (`derive.reader.resolve`).  Every node knows the
span of characters that it was read from, and the leaves of a tree with what was set aside (spacing, labels) are all of
the formula's tokens.

    number words symbol          3.5 · \text{where} · anything else that stands alone: \dots, \partial, an operator in a script
    name                         h, W, alpha, sigmoid, in: a letter, a command, or a word in upright type
    accent                       \tilde h (value: tilde)
    script                       base, then subscripts and superscripts as they stand, each a `sub`, `sup` or `prime`
    chain                        factors with what stands between them (value: "" for juxtaposition, \odot, \cdot, /, …)
    sum                          terms, a subtracted one as a `minus`
    frac sqrt over brace         \frac · \sqrt · \overset · \underbrace
    group                        (…) […] \{…\} |…| \|…\| (value: the brackets), its parts separated by commas or semicolons
    matrix cases                 rows of cells (children: `row`s)
    relation                     a = b ≤ c (value: the signs); an `empty` stands where a line begins with its sign
    implication                  a ⇒ b
    statements                   what commas, \quad, rows and words separate
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from derive.errors import DeriveError

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Tree:
    kind: str
    value: Any = None
    children: tuple[Tree, ...] = ()
    span: Span = (0, 0)

    def __str__(self) -> str:
        """As an S-expression: `(script h (sub t))`, for people and for tests."""
        value = "" if self.value in (None, "") else " " + _shown(self.value)
        if not self.children:
            return _shown(self.value) if self.kind in ("number", "name") else f"({self.kind}{value})"
        return f"({self.kind}{value} {' '.join(map(str, self.children))})"

    def walk(self) -> Iterator[Tree]:
        """This node and all below it, in the order in which they stand."""
        pending = [self]
        while pending:
            tree = pending.pop()
            yield tree
            pending.extend(reversed(tree.children))

    @property
    def leaves(self) -> Iterator[Tree]:
        return (tree for tree in self.walk() if not tree.children)

    def names(self, *values: str) -> bool:
        """Whether this is one of these names, standing alone."""
        return self.kind == "name" and self.value in values


def chain_of(signs: Sequence[str], factors: Sequence[Tree], start: int = 0, stop: int | None = None) -> Tree:
    """The factors from `start` to `stop` as a chain of their own; a single one stands for itself."""
    kept = factors[start:stop]
    if len(kept) == 1:
        return kept[0]
    return Tree("chain", tuple(signs[start : start + len(kept) - 1]), tuple(kept), (kept[0].span[0], kept[-1].span[1]))


def beside(signs: Sequence[str], factors: Sequence[Tree], n: int) -> Tree | None:
    """The factor that stands behind the n-th with nothing between them."""
    return factors[n + 1] if n + 1 < len(factors) and signs[n] == "" else None


def _shown(value: Any) -> str:
    return " ".join(part or "_" for part in value) if isinstance(value, tuple) else str(value)


class Unread(DeriveError):
    """A formula that is not understood: what was found, what was expected, and the span of characters it is about."""

    def __init__(self, message: str, span: Span):
        super().__init__(message)
        self.span = span
