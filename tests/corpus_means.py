"""The corpus of display equations and what each of them means, one claim a line.

A corpus file is a Markdown document in one author's style; a comment `<!-- means: … -->` directly behind a display says
what it is to be read as, in the typed form of `corpus_typed`.  `corpus` pairs the two, `means` makes claims of a line:

    a == b == c      the equations of its neighbours       a <= b        a relation
    approx(a, b)     a ≈ b                                 path(h[t-1], z[t], h[t])  a path through the graph
    implies(a, b)    a ⇒ b; a string stands for words
    unread           nobody can give it a meaning
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus_signs import as_node, claim
from corpus_typed import LOSS, Aliases, Evaluator, Symbols
from sympy import Tuple

from derive import expr
from derive.errors import DeriveError
from derive.expr import SCALAR

UNREAD = "unread"
"""Stands for the meaning of a display that nobody can give one."""


# --- documents ----------------------------------------------------------------------------------------------------------

_PIECE = re.compile(
    r"<!--(?P<comment>.*?)-->"
    r"|\$\$(?P<dollars>.*?)\$\$"
    r"|\\\[(?P<brackets>.*?)\\\]"
    r"|^```math\n(?P<fence>.*?)^```",
    re.DOTALL | re.MULTILINE,
)


def corpus(path: Path | str) -> list[tuple[int, list[str]]]:
    """`(number of the display, lines of its meaning)` for every display of a document, counted from 1.

    Raises ValueError where a display has no meaning, or a meaning no display.
    """
    found: list[tuple[int, list[str]]] = []
    for piece in _PIECE.finditer(Path(path).read_text(encoding="utf-8")):
        if piece["comment"] is None:
            found.append((len(found) + 1, []))
            continue
        kind, _, text = piece["comment"].strip().partition(":")
        if kind.strip() != "means":
            continue
        if not found or found[-1][1]:
            raise ValueError(f"{path}: the meaning {text.strip()!r} stands behind no display of its own")
        found[-1][1].extend(line.strip() for line in text.splitlines() if line.strip())
    without = [number for number, lines in found if not lines]
    if without:
        raise ValueError(f"{path}: no meaning behind the displays {without}")
    return found


# --- claims -------------------------------------------------------------------------------------------------------------


def means(text: str, symbols: Symbols, aliases: Aliases | None = None) -> list[Any]:
    """The claims of one line: an `Equals` for each neighbouring pair, a `Relation` for any other sign, or one node.

    `aliases` are names that stand for a block of matrices.

    Raises DeriveError (its ShapeError among them) where the line is no typed form or its shapes do not fit.
    """
    try:
        line = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise DeriveError(f"{text!r} is not in the typed form: {error.msg}") from None
    return _claims(line, Evaluator({LOSS: (SCALAR, True), **symbols}, aliases or {}))


def _claims(line: ast.expr, evaluator: Evaluator) -> list[Any]:
    if isinstance(line, ast.Constant) and isinstance(line.value, str):
        return [expr.Words(line.value)]
    if isinstance(line, ast.Call) and ast.unparse(line.func) in _STATEMENTS:
        return [_STATEMENTS[ast.unparse(line.func)](evaluator, *line.args)]
    return evaluator.compared(line) if isinstance(line, ast.Compare) else [as_node(evaluator.value(line))]


def _implies(evaluator: Evaluator, *sides: ast.expr) -> Any:
    """Of the claims of all sides but the last, those of the last."""
    *premises, conclusions = (_claims(side, evaluator) for side in sides)
    return expr.Implies(_together([one for side in premises for one in side]), _together(conclusions))


def _together(claims: list[Any]) -> Any:
    return claims[0] if len(claims) == 1 else Tuple(*claims)


def _path(evaluator: Evaluator, *variables: ast.expr) -> Any:
    return expr.Path(*map(evaluator.var, variables))


def _approx(evaluator: Evaluator, left: ast.expr, right: ast.expr) -> Any:
    return claim("~", evaluator.value(left), evaluator.value(right))


_STATEMENTS: dict[str, Callable[..., Any]] = {"approx": _approx, "implies": _implies, "path": _path}
