"""Derivations as Markdown with `$$ … $$`, as GitHub, notebooks and most renderers read it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

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
    for number, step in enumerate(derivation.steps, 1):
        yield from step_blocks(number, step, derivation)
    if derivation.verdict is not None:
        yield f"**Checked.** {prose(str(derivation.verdict))}"


def step_blocks(number: int, step: Step, derivation: Derivation) -> Iterator[str]:
    yield f"### {number}. {prose(step.title)}"
    yield f"*{prose(outline.sentence(step.rule))}.* {prose(step.reason)}"
    if step.before:
        yield "From"
        yield from map(display, step.latex_before(derivation.notation))
        yield "follows"
    yield from map(display, step.latex(derivation.notation))


def display(fragment: str) -> str:
    """A display formula.  No line starts with a sign, which Markdown would take for a list or heading."""
    lines = filter(None, map(str.strip, fragment.splitlines()))
    return re.sub(r"\n(?=[-+*=#>]|\d+[.)])", " ", "$$\n" + "\n".join(lines) + "\n$$")


def prose(words: str) -> str:
    """Prose with its names as code, and with nothing that Markdown would take for markup."""
    return "".join(f"`{s}`" if is_name else _MARKUP.sub(r"\\\g<0>", s) for is_name, s in outline.spans(words))
