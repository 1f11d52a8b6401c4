"""Derivations as a Jupyter notebook (nbformat 4.5): the lines that make each derivation, then its steps, by cells."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from derive.render import md, outline

if TYPE_CHECKING:
    from derive.derivation import Derivation

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def render(derivations: Sequence[Derivation]) -> str:
    return notebook(_cells(derivations))


def notebook(cells: Iterable[dict[str, Any]]) -> str:
    """The file that holds the cells, each with a name of its own."""
    named = [{**cell, "id": f"cell-{number}"} for number, cell in enumerate(cells, 1)]
    whole = {"cells": named, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _cells(derivations: Sequence[Derivation]) -> Iterator[dict[str, Any]]:
    yield markdown_cell("\n\n".join(md.head(derivations)))
    for derivation in derivations:
        heading, *_ = md.section(derivation)
        yield markdown_cell(heading)
        yield code_cell(asking(derivation, derivation.system.name))
        for numbered in outline.numbered(derivation):
            yield markdown_cell("\n\n".join(md.step_blocks(*numbered, derivation)))
        if derivation.verdict is not None:
            yield markdown_cell(list(md.section(derivation))[-1])


def markdown_cell(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def code_cell(source: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }


def asking(derivation: Derivation, spec: str) -> str:
    """The lines of Python that ask for the derivation; its `d.expr`, `d.latex()` and `d.check()` are then at hand."""
    options = "".join(f", {k}={v!r}" for k, v in outline.chosen(derivation).items())
    return f"import derive\n\nsystem = derive.load({spec!r})\nd = system.derive({derivation.query!r}{options})\nd.expr"
