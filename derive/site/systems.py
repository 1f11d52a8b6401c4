"""A system of the catalogue as a sheet: what it is, everything that is derived from it, and the code that comes of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from derive import catalogue
from derive.check import claims
from derive.derivation import Derivation
from derive.errors import DeriveError, QueryError
from derive.expr import show_shape
from derive.queries import jacobians
from derive.render.facts import HEADINGS
from derive.render.ipynb import asking
from derive.site.sheet import Algorithm, Block, Drawn, Listing, Prose, Sheet, Table, Worked
from derive.system import System


def sheet(name: str, path: str) -> Sheet:
    """The page of a system of the catalogue, at `path`."""
    system = catalogue.load(name)
    blocks = tuple(_blocks(system))
    checked = _checks(tuple(b.derivation for b in blocks if isinstance(b, Worked)))
    return Sheet(path, system.title, (*blocks, *checked), systems=(system,), summary=system.reference)


def _blocks(system: System) -> Iterator[Block]:
    reference = " ".join(system.reference.split())
    yield Prose("\n\n".join(filter(None, [f"`derive show {system.name}`", reference])))
    yield Prose("## The equations")
    yield _worked(system, "forward", result_only=True)
    yield Table(("what it is", "names", "shape"), tuple(_names(system)))
    yield from _drawn(system, "graph", _first(jacobians(system)))
    yield Prose("## Local partials\n\nOne entry for each read: everything below is a reading of this table.")
    yield _worked(system, "table")
    yield Prose("## The adjoint: backpropagation through time")
    yield _worked(system, "adjoint")
    yield Prose("## Jacobians, path by path")
    for query in jacobians(system):
        yield _worked(system, query, folded=query != jacobians(system)[0])
    yield from _drawn(system, "paths", _first(jacobians(system)))
    yield Prose("## Gradients of the parameters")
    live = system.adjoint().equations
    for parameter in system.parameters:
        if f"{parameter.name}_bar" in live:
            yield _worked(system, f"dL/d{parameter.name}", folded=True)
    yield from _long_run(system)
    yield from _code(system)


def _first(queries: list[str]) -> str | None:
    return queries[0] if queries else None


def _worked(system: System, query: str, folded: bool = False, result_only: bool = False) -> Worked:
    command = shlex.join(["derive", "solve", system.name, query])
    derivation = system.derive(query).checked()
    return Worked(derivation, command, asking(derivation, system.name), folded, result_only)


def _names(system: System) -> Iterator[tuple[str, ...]]:
    """A row for each kind of variable and each shape."""
    for kind, heading in HEADINGS.items():
        by_shape: dict[str, list[str]] = {}
        for variable in system.of_kind(kind):
            by_shape.setdefault(show_shape(variable.shape).replace("x", "×"), []).append(f"`{variable.name}`")
        for shape, names in by_shape.items():
            yield heading, " ".join(names), shape


def _drawn(system: System, kind: str, query: str | None = None) -> Iterator[Drawn]:
    """The picture, where the system has one of this kind."""
    words = [kind, *([query] if query else [])]
    try:
        picture = system.plot(*words)
    except DeriveError:
        return
    python = f"import derive\n\nderive.load({system.name!r}).plot({', '.join(map(repr, words))})"
    yield Drawn(picture, shlex.join(["derive", "plot", system.name, *words]), python)


def _long_run(system: System) -> Iterator[Block]:
    """Closed forms and bounds, where the system has any."""
    found: list[Block] = []
    at = ",".join(map(str, system.lattice.indices))
    closed = [f"closed {name}[{at}]" for name in system.equations]
    for query in (*closed, *(f"bound dL/d{name}[{at}]" for name in system.outputs)):
        try:
            found.append(_worked(system, query, folded=True))
        except QueryError:
            continue  # most recurrences have none, and the query says why
    found += _drawn(system, "flow")
    if found:
        yield Prose("## Over many steps")
        yield from found


def _code(system: System) -> Iterator[Block]:
    from derive.render.pseudocode import algorithms

    yield Prose("## As an algorithm")
    for algorithm in algorithms(system):
        yield Algorithm(algorithm.title, algorithm.latex, algorithm.tex)
    yield Prose(f"## As a module\n\n`derive export {system.name} -o {system.name.replace('-', '_')}.py`")
    yield Listing(system.compile("numpy").source, "python", "The module, which needs nothing but NumPy")


def _checks(derivations: tuple[Derivation, ...]) -> Iterator[Block]:
    """What was found of each derivation of the page."""
    yield Prose(
        "## Checks\n\nEvery line of every derivation above, on both sides, by two roads that share no rule with it."
    )
    rows = []
    for derivation in derivations:
        verdict, lines = derivation.verdict, len(list(claims(derivation)))
        bound = "" if verdict.error_bound is None else f"{verdict.error_bound:.0e}"
        floats = "" if verdict.max_rel_err is None else f"{verdict.max_rel_err:.0e}"
        rows.append((f"`{derivation.query}`", verdict.verdict, str(lines), str(verdict.points), bound, floats))
    yield Table(
        ("query", "verdict", "lines", "points", "wrong with a probability of at most", "against autograd"), tuple(rows)
    )
