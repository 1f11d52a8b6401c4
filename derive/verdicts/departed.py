"""How a line departs from what is derived, where it does so in one place: what is missing there, or in another order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from derive import expr
from derive.expr import Node
from derive.verdicts.edits import Change
from derive.verdicts.insertions import LARGEST
from derive.verdicts.residual import terms
from derive.verdicts.sites import Site


def departed(site: Site, right: Node) -> Iterator[tuple[str, Change]]:
    """What the difference is called, with the change to what is derived."""
    wrong = site.node
    missing = [term for term in terms(right) if term not in terms(wrong)]
    if 0 < len(missing) == len(terms(right)) - len(terms(wrong)):
        words = "the terms {0} are missing" if len(missing) > 1 else "the term {0} is missing"
        yield "missing-path", Change(right, words, (expr.add(*missing),))
    elif _same_factors(wrong, right):
        words = "the factors of {0} stand in the wrong order: write {1}"
        yield "order", Change(right, words, (wrong, right))
    elif not (site.is_whole or site.size > LARGEST):
        yield "symbol", Change(right, "{0} stands where {1} belongs", (wrong, right))


def _same_factors(wrong: Node, right: Node) -> bool:
    """Whether two products have the same factors, those of diagonals included."""
    return isinstance(wrong, expr.Mul) and isinstance(right, expr.Mul) and _factors(wrong) == _factors(right)


def _factors(node: Node) -> Counter[Node]:
    found: Counter[Node] = Counter()
    pending = [node]
    while pending:
        part = pending.pop()
        if isinstance(part, (expr.Mul, expr.Had, expr.Diag)):
            pending.extend(part.args)
        else:
            found[part] += 1
    return found
