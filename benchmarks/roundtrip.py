r"""Read what derive prints: `python benchmarks/roundtrip.py [--systems gru,lstm] [--notations default,bar]`.

The law: `read_back(latex(line, notation), scope_of(system, notation))[0] ≡ line` for every line of every derivation of
the standard queries, where `≡` is one canonical form.  A line is, by its readings:

    first    the first reading is the formula that was printed
    other    one further down is: the reader guesses at what its own printer means
    differs  none is
    unread   there is none

A formula that several queries or notations of one system write in one way is read once, and counted where it comes first:
`nabla` and `subscript` name the default.  Prints the lines that are not `first`, then how many there are of each kind in
each notation; exits with 1 where some line is not `first`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from sympy import Basic

from derive import catalogue
from derive.canonical import canonical
from derive.check import standard_queries
from derive.derivation import Derivation
from derive.errors import QueryError, ShapeError
from derive.expr import strip_labels
from derive.notation import NOTATIONS, Notation
from derive.printing import latex
from derive.reader.own import read_back, scope_of
from derive.reader.scope import Scope
from derive.reader.tree import Unread
from derive.system import System

KINDS = ("first", "other", "differs", "unread")


@dataclass(frozen=True)
class Line:
    """One formula as it is printed: `place` names system, notation, query and rule."""

    place: str
    written: str
    printed: Basic
    scope: Scope


@dataclass(frozen=True)
class Outcome:
    """What became of a line; `message` has the LaTeX and both formulas, empty where the kind is `first`."""

    kind: str
    message: str = ""


def plain(notation: Notation) -> Notation:
    """What derivations and scopes depend on: layout, loss, factors.  The rest is glyphs."""
    return Notation(layout=notation.layout, loss=notation.loss, factors=notation.factors)


@cache
def derivations(system: System, notation: Notation) -> tuple[Derivation, ...]:
    """The worked answers to the standard queries; a query that the system refuses has no formulas."""
    found = []
    for query in standard_queries(system):
        try:
            found.append(system.derive(query, notation=notation))
        except (QueryError, ShapeError):
            continue
    return tuple(found)


@cache
def scope(system: System, notation: Notation) -> Scope:
    return scope_of(system, notation)


def lines(name: str, notations: tuple[str, ...]) -> Iterator[tuple[str, Line]]:
    """Notation and line: every formula of the system, each way to write it once, under the first notation that does so."""
    system, seen = catalogue.load(name), set()
    for chosen in notations:
        for derivation in derivations(system, plain(NOTATIONS[chosen])):
            known = scope(system, plain(derivation.notation))
            notation = replace(NOTATIONS[chosen], factors=derivation.notation.factors)
            for step in derivation.steps:
                for line in step.lines:
                    written, printed = latex(line, notation), strip_labels(line)
                    key = (plain(notation), written, printed)
                    if key not in seen:
                        seen.add(key)
                        yield chosen, Line(f"{name}, {chosen}, {derivation.query}, {step.rule}", *key[1:], known)


def outcome(line: Line) -> Outcome:
    """The law for one line."""
    wanted = canonical(line.printed)
    head = f"{line.place}:\n  {line.written}"
    try:
        readings = [strip_labels(reading.formula) for reading in read_back(line.written, line.scope)]
    except Unread as error:
        begin, end = error.span
        return Outcome("unread", f"{head}\nis not read: {error}, at {line.written[begin:end]!r}; it was\n  {wanted}")
    found = canonical(readings[0]) if readings else "nothing"
    if found == wanted:
        return Outcome("first")
    rank = next((n for n, formula in enumerate(readings, 1) if canonical(formula) == wanted), None)
    kind, which = ("differs", "") if rank is None else ("other", f"; that is reading {rank}")
    return Outcome(kind, f"{head}\nis read as\n  {found}\nand not as\n  {wanted}{which}")


def table(counts: dict[str, Counter[str]]) -> str:
    """A row for every notation, and their sum."""
    total: Counter[str] = sum(counts.values(), Counter())
    rows = [f"{'notation':<12}{'lines':>8}" + "".join(f"{kind:>9}" for kind in KINDS)]
    for name, count in (*counts.items(), ("all", total)):
        rows.append(f"{name:<12}{count.total():>8}" + "".join(f"{count[kind]:>9}" for kind in KINDS))
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--systems", default=",".join(catalogue.names()))
    parser.add_argument("--notations", default=",".join(NOTATIONS))
    options = parser.parse_args()
    notations = tuple(options.notations.split(","))
    counts: dict[str, Counter[str]] = {notation: Counter() for notation in notations}
    start = time.process_time()
    for name in options.systems.split(","):
        for notation, line in lines(name, notations):
            found = outcome(line)
            counts[notation][found.kind] += 1
            if found.message:
                print(found.message, end="\n\n", flush=True)
    print(table(counts))
    print(f"{time.process_time() - start:.0f} s CPU")
    sys.exit(any(count.total() > count["first"] for count in counts.values()))


if __name__ == "__main__":
    main()
