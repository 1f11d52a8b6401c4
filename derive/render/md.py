"""Derivations as Markdown with `$$ … $$`, as GitHub, notebooks and most renderers read it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sympy import Basic

from derive.derivation import fragments
from derive.printing import latex
from derive.render import outline

if TYPE_CHECKING:
    from derive.derivation import Derivation, Step


_MARKUP = re.compile(r"[\\*_\[\]<>$|]")


def render(derivations: Sequence[Derivation]) -> str:
    blocks = list(head(derivations))
    for derivation in derivations:
        blocks += section(derivation)
    return "\n\n".join(blocks) + "\n"


def head(derivations: Sequence[Derivation]) -> Iterator[str]:
    yield f"# {prose(outline.title(derivations))}"
    yield from map(prose, outline.references(derivations))


def section(derivation: Derivation) -> Iterator[str]:
    """One derivation, block by block: its heading, its steps, its verdict."""
    options = outline.asked(derivation)
    yield f"## `{derivation.query}`" + (f" with `{options}`" if options else "")
    for numbered in outline.numbered(derivation):
        yield from step_blocks(*numbered, derivation)
    if derivation.verdict is not None:
        yield f"**Checked.** {prose(str(derivation.verdict), derivation)}"


def step_blocks(number: int, step: Step, before: tuple[Basic, ...], derivation: Derivation) -> Iterator[str]:
    yield f"### {number}. {prose(step.title, derivation)}"
    yield f"*{prose(outline.sentence(step.rule))}.* {prose(step.reason, derivation)}"
    if before:
        yield "From"
        yield from map(display, fragments(before, derivation.notation))
        yield "follows"
    yield from map(display, step.latex(derivation.notation))


def display(fragment: str) -> str:
    """A display formula.  No line starts with a sign, which Markdown would take for a list or heading."""
    lines = filter(None, map(str.strip, fragment.splitlines()))
    return re.sub(r"\n(?=[-+*=#>]|\d+[.)])", " ", "$$\n" + "\n".join(lines) + "\n$$")


def prose(words: str, derivation: Derivation | None = None) -> str:
    """Prose with its names as inline formulas, and with nothing that Markdown would take for markup."""
    pieces = []
    for kind, piece in outline.spans(words, derivation):
        if not isinstance(piece, str):
            pieces.append(f"${latex(piece, derivation.notation)}$")  # type: ignore[union-attr]
        else:
            pieces.append(f"`{piece}`" if kind == "code" else _MARKUP.sub(r"\\\g<0>", piece))
    return "".join(pieces)
