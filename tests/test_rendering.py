"""What derive writes about every system of the catalogue is rendered by the programs that it is for: KaTeX and pdflatex.

A fragment is whatever the formats put into math mode: the formulas of the steps and those before them, the result, and
the names in the prose.  Every query of `derive check` is asked, and those with options; in every notation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache

import pytest
from conftest import program

from derive import catalogue
from derive.check import standard_queries
from derive.derivation import Derivation, Step, fragments
from derive.errors import QueryError, ShapeError
from derive.notation import NOTATIONS, Notation, notation
from derive.printing import latex
from derive.queries import jacobians, main_results
from derive.render import outline, pdf, tex
from derive.system import System

STYLES = (*NOTATIONS, "bar,bold,superscript", "odot,circ")
REFUSED = (QueryError, ShapeError)
"""What a system may answer to a query that has no answer, in one sentence."""


def extra(system: System) -> Iterator[tuple[str, dict[str, object]]]:
    """Queries with options: a Jacobian with what it passes through held, at a value, and with a number of steps."""
    for query in jacobians(system)[:1]:
        held = next((n for n in system.equations if n not in (*system.outputs, system.loss_name)), None)
        if held is not None:
            yield query, {"hold": held}
            yield query, {"where": {held: 1}}
        source, below = query[1:].split("/d")
        yield f"paths {source} <- {below}", {}
        yield query.replace("d", "d+", 1), {}
    if system.lattice.dimension == 1:
        yield f"dL[2]/d{system.parameters[0].name}", {"unroll": 2}
        yield f"paths L[3] <- {system.parameters[0].name}", {"unroll": 3}


def plain(style: Notation) -> Notation:
    """What a derivation depends on: layout, loss, factors.  The rest is glyphs."""
    return Notation(layout=style.layout, loss=style.loss, factors=style.factors)


@cache
def derivations(name: str, style: Notation) -> tuple[Derivation, ...]:
    system, found = catalogue.load(name), []
    asked = dict.fromkeys((*main_results(system), *standard_queries(system)))
    for query, options in (*((query, {}) for query in asked), *extra(system)):
        try:
            found.append(system.derive(query, notation=style, **options))
        except REFUSED:
            continue
    return tuple(found)


def written(found: Iterable[Derivation], style: Notation) -> Iterator[str]:
    """Every fragment of these derivations in a notation; a step that several of them take is written once."""
    once: set[object] = set()
    for derivation in found:
        shown = replace(derivation, notation=replace(style, factors=derivation.notation.factors))
        for step in shown.steps:
            key = (shown.notation, step.lines, step.before, step.title, step.reason)
            if key not in once:
                once.add(key)
                yield from step.latex(shown.notation)
                yield from fragments(step.before, shown.notation)
                yield from named(step, shown)
        yield shown.latex()


def named(step: Step, derivation: Derivation) -> Iterator[str]:
    """The names in the prose of a step."""
    for words in (step.title, step.reason):
        for kind, piece in outline.spans(words, derivation):
            if kind == "math":
                yield latex(piece, derivation.notation)


@pytest.mark.parametrize("name", catalogue.names())
def test_katex_renders_every_fragment_in_every_notation(name, refused_by_katex):
    seen: dict[str, None] = {}
    for chosen in dict.fromkeys(map(notation, STYLES)):
        seen.update(dict.fromkeys(written(derivations(name, plain(chosen)), chosen)))
    refused = refused_by_katex(seen)
    assert not refused, f"{len(refused)} of {len(seen)} fragments, the first:\n" + "\n\n".join(refused[:3])
    assert len(seen) > 200


def test_katex_names_what_it_refuses(refused_by_katex):
    (found,) = refused_by_katex([r"h_t \odot z_t", r"\operatorname{x} \nocommand", r"\sigma"])
    assert r"\nocommand" in found and "Undefined control sequence" in found


@pytest.mark.parametrize("name", catalogue.names())
def test_only_what_has_no_answer_is_left_out(name):
    """The queries with options are answered, for nearly every system: otherwise nothing of them would be rendered."""
    system = catalogue.load(name)
    refused = []
    for query, options in extra(system):
        try:
            system.derive(query, **options)
        except REFUSED as error:
            refused.append(f"{query} {options}: {error}")
    assert len(refused) <= 1, "\n".join(refused)


@pytest.mark.parametrize("style", ["default", "goodfellow", "bar,bold,superscript"])
def test_pdflatex_sets_the_solutions_of_the_whole_catalogue(style):
    program("pdflatex")
    found = [
        system.derive(query, notation=style)
        for system in map(catalogue.load, catalogue.names())
        for query in main_results(system)
    ]
    source = tex.render(found)
    assert set(re.findall(r"\\usepackage(?:\[.*?\])?\{(.*?)\}", source)) == {
        "fontenc", "inputenc", "lmodern", "amsmath,amssymb", "geometry",
    }  # fmt: skip
    assert pdf.compile_tex(source).startswith(b"%PDF-")
