"""How a line departs from what is derived, where it does so in one place: what is missing there, or in another order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from derive import expr
from derive.expr import Node
from derive.verdicts.causes.edits import Change, is_slope
from derive.verdicts.causes.insertions import LARGEST
from derive.verdicts.causes.residual import terms
from derive.verdicts.causes.sites import Site


def departed(site: Site, right: Node) -> Iterator[tuple[str, Change]]:
    """What the difference is called, with the change to what is derived, where the two have most in common."""
    wrong = site.node
    missing = [term for term in terms(right) if term not in terms(wrong)]
    if 0 < len(missing) == len(terms(right)) - len(terms(wrong)):
        words = "the terms {0} are missing" if len(missing) > 1 else "the term {0} is missing"
        yield "missing-path", Change(right, words, (expr.add(*missing),))
    lacking = _factors(right) - _factors(wrong)
    if _is_product(wrong, right) and not _factors(wrong) - _factors(right):
        order = "the factors of {0} stand in the wrong order: write {1}"
        words = "a factor is missing in {0}: write {1}" if lacking else order
        kind = "order" if not lacking else "activation" if any(map(is_slope, lacking)) else "factor"
        yield kind, Change(right, words, (wrong, right))


def replaced(site: Site, right: Node) -> Iterator[tuple[str, Change]]:
    """Something small for something else."""
    if not (site.is_whole or site.size > LARGEST):
        yield "symbol", Change(right, "{0} stands where {1} belongs", (site.node, right))


def _is_product(*nodes: Node) -> bool:
    return all(isinstance(node, (expr.Mul, expr.Had, expr.Diag)) for node in nodes)


def _factors(node: Node) -> Counter[Node]:
    """The factors of a product with their number, those of diagonals included."""
    found: Counter[Node] = Counter()
    pending = [node]
    while pending:
        part = pending.pop()
        if isinstance(part, (expr.Mul, expr.Had, expr.Diag)):
            pending.extend(part.args)
        else:
            found[part] += 1
    return found
