"""A derivation: the steps from a system's equations to a formula, each with its rule and its reason.

A `Derivation` holds SymPy objects only; what a person sees is made from them by `derive.render`, one file a format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sympy import Basic

from derive.expr import Equals, Node, Relation, strip_labels
from derive.notation import LATEX
from derive.printing import latex, text

if TYPE_CHECKING:
    from derive.notation import Notation
    from derive.system import System

ROWS = 16
"""Most rows of one aligned block: a block can't be broken across pages, nor be taken in at a glance."""


@dataclass(frozen=True)
class Step:
    """One step: the `rule` that is used, a `title`, the `reason` in one sentence, the formulas before and after.

    `lines` are `Equals` (the terms of a sum may be `Labelled`: then one a line), `Path`s or plain nodes.  In `title`
    and `reason` what stands between backticks is a name as typed, such as `h[t-1]`.
    """

    rule: str
    title: str
    reason: str
    before: tuple[Basic, ...] = ()
    lines: tuple[Basic, ...] = ()

    def latex(self, notation: Notation) -> tuple[str, ...]:
        """The formulas after the step as LaTeX fragments, short equations aligned in one block."""
        return tuple(fragments(self.lines, notation))

    def to_dict(self, number: int, notation: Notation) -> dict[str, Any]:
        return {
            "n": number,
            "rule": self.rule,
            "title": self.title,
            "reason": self.reason,
            "before": [formula(line, notation) for line in self.before],
            "lines": [formula(line, notation) for line in self.lines],
        }


@dataclass(frozen=True)
class Derivation:
    """The worked answer to `query`: `expr` is the result as a SymPy object, `steps` the way there.

    `options` are those that were asked for (`hold`, `unroll`, `layout`, `notation`); `checked` fills in the `verdict`.
    """

    system: System
    query: str
    steps: tuple[Step, ...]
    expr: Basic
    notation: Notation
    options: Mapping[str, Any] = field(default_factory=dict)
    verdict: Any = None

    @property
    def result(self) -> tuple[Basic, ...]:
        """The formulas of the last step that states `expr`; what follows it (border cases, say) adds to the result."""
        result = strip_labels(self.expr)
        stating = [s.lines for s in self.steps if any(strip_labels(_right_side(line)) is result for line in s.lines)]
        return stating[-1] if stating else (self.expr,)

    def latex(self) -> str:
        """The result as LaTeX math: a fragment for a display, one `aligned` block after the other."""
        return "\n".join(_one_display(self.result_fragments()))

    def result_fragments(self) -> tuple[str, ...]:
        """The same as several displays, no block too long for a page."""
        return tuple(fragments(self.result, self.notation))

    def text(self, width: int = 100, colour: bool = False) -> str:
        """Every step in readable Unicode, reasons wrapped at `width` columns; `colour`: with ANSI colours."""
        from derive.render import terminal

        return terminal.render([self], width=width, colour=colour)

    def markdown(self) -> str:
        """Every step as Markdown, formulas between `$$`."""
        from derive.render import md

        return md.render([self])

    def to_dict(self) -> dict[str, Any]:
        """What `.json` files hold: plain data, the same at every run."""
        return {
            "system": self.system.name,
            "title": self.system.title,
            "reference": self.system.reference,
            "query": self.query,
            "options": {key: _plain(value) for key, value in sorted(self.options.items())},
            "steps": [step.to_dict(number, self.notation) for number, step in enumerate(self.steps, 1)],
            "result": [formula(line, self.notation) for line in self.result],
            "verdict": _plain(self.verdict),
        }

    def check(self, seed: int = 0) -> Any:
        """The verdict on the result: method, error bound, numeric error against automatic differentiation."""
        from derive.check import check_derivation

        return check_derivation(self, seed=seed)

    def checked(self, seed: int = 0) -> Derivation:
        """This derivation with its verdict, which every format then states."""
        return replace(self, verdict=self.check(seed))

    def __str__(self) -> str:
        return self.text()

    def _repr_markdown_(self) -> str:
        return self.markdown()


def _right_side(line: Basic) -> Basic:
    return line.rhs if isinstance(line, (Equals, Relation)) else line  # type: ignore[no-any-return]


def formula(line: Basic, notation: Notation) -> dict[str, str]:
    """One formula in both scripts."""
    return {"latex": latex(line, notation), "text": text(line, notation)}


def fragments(lines: Iterable[Basic], notation: Notation) -> Iterator[str]:
    """LaTeX fragments for `lines`: neighbours that are one row each share an `aligned` block, `ROWS` at the most."""
    rows = (_row(line, notation) for line in lines)
    for kind, group in groupby(rows, key=lambda row: row[0]):
        found = [source for _, source in group]
        if kind == "display":
            yield from found
        else:
            for start in range(0, len(found), ROWS):
                yield _aligned(found[start : start + ROWS])


def _row(line: Basic, notation: Notation) -> tuple[str, str]:
    whole = latex(line, notation)
    if r"\begin{aligned}" in whole:
        return "display", whole
    if isinstance(line, Equals):
        return "equation", f"{latex(line.lhs, notation)} &= {latex(line.rhs, notation)}"
    if isinstance(line, Relation) and isinstance(line.lhs, Node) and isinstance(line.rhs, Node):
        return "equation", f"{latex(line.lhs, notation)} &{LATEX.relations[line.op]} {latex(line.rhs, notation)}"
    return "row", f"& {whole}"


_ALIGNED_SIGN = re.compile(f" &({'|'.join(map(re.escape, ('=', *LATEX.relations.values())))}) ")


def _aligned(rows: list[str]) -> str:
    if len(rows) == 1:
        return _ALIGNED_SIGN.sub(r" \1 ", rows[0].removeprefix("& "), count=1)
    return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"


def _one_display(parts: tuple[str, ...]) -> Iterator[str]:
    """Several fragments under one another in one display."""
    if len(parts) <= 1:
        yield from parts
    else:
        yield "\\begin{gathered}\n" + " \\\\[1ex]\n".join(parts) + "\n\\end{gathered}"


def _plain(value: Any) -> Any:
    """`value` as JSON data: the fields of a dataclass, mappings, lists, numbers and strings."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
