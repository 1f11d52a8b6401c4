"""Single edits of a formula: what one slip of the pen would have to be for the line to be right.

An edit is a function of a place in the formula that lists what could stand there instead; `derive.verdicts.diagnosis.ROWS`
is the table of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sympy import Basic, Integer, Rational, Tuple

from derive import expr
from derive.expr import Node, Var
from derive.verdicts.pool import Pool
from derive.verdicts.sites import Site


@dataclass(frozen=True)
class Change:
    """What stands in a place instead; `words`, with `nodes` printed into it, says so to a person."""

    new: Basic
    words: str
    nodes: tuple[Basic, ...]
    kind: str = ""
    """Where it is another than that of the row."""


def instead(site: Site, new: Node, words: str, kind: str = "") -> Change:
    """`words` with the node that stands there and with the new one."""
    return Change(new, words, (site.node, new), kind)


def signs(site: Site, pool: Pool) -> Iterator[Change]:
    """A term with the other sign."""
    if site.is_term and not (isinstance(site.parent, expr.Equals) and site.above[-1][1] == 0):
        yield instead(site, expr.scale(-1, site.node), "the sign of {0} is wrong: write {1}")


def transposes(site: Site, pool: Pool) -> Iterator[Change]:
    """A matrix transposed, or no longer."""
    node = site.node
    if isinstance(site.parent, expr.Transpose) or 1 in node.shape:
        return
    turned = expr.transpose(node)
    if turned is not node:
        bare = isinstance(node, expr.Transpose)
        yield instead(site, turned, f"{{0}} is {'' if bare else 'not '}transposed: write {{1}}", _layout(site))


def _layout(site: Site) -> str:
    """The whole of a side transposed is the other layout."""
    return "layout" if isinstance(site.parent, expr.Equals) else ""


def indices(site: Site, pool: Pool) -> Iterator[Change]:
    """A read one step earlier or later."""
    node = site.node
    if isinstance(node, Var):
        for axis, i in enumerate(node.index):
            for step in (-1, 1):
                moved = node.at((*node.index[:axis], i + step, *node.index[axis + 1 :]))
                yield instead(site, moved, "{0} is read at the wrong index: write {1}")
    elif isinstance(node, expr.Entry):
        i, j = node.args[1:]
        for swapped in {(j, i), (i, i), (j, j)} - {(i, j)} if node.args[0].shape[1] != 1 else ():
            yield instead(site, expr.Entry(node.args[0], *swapped), "{0} is the wrong entry: write {1}")


def bounds(site: Site, pool: Pool) -> Iterator[Change]:
    """A sum or product that starts or ends elsewhere."""
    node = site.node
    if not isinstance(node, (expr.Sum, expr.Product)):
        return
    what = "sum" if isinstance(node, expr.Sum) else "product"
    outer = [i for i, _, _ in site.indices()]
    ranges = [(at, a) for at, a in enumerate(node.args) if isinstance(a, Tuple)]
    for at, range_ in ranges:
        for end, verb, near in ((1, "start", _starts(outer, pool)), (2, "end", _ends(outer, pool))):
            for value in dict.fromkeys((range_[end] - 1, range_[end] + 1, *near)):
                width = (value - range_[1] if end == 2 else range_[2] - value) + 1
                if value != range_[end] and width != 0:
                    moved = Tuple(*(value if k == end else a for k, a in enumerate(range_)))
                    new = node.func(*(moved if k == at else a for k, a in enumerate(node.args)))
                    said = tuple(expr.Relation("=", range_[0], v) for v in (range_[end], value))
                    yield Change(new, f"the {what} {verb}s at {{0}}: it must {verb} at {{1}}", said)


def _starts(outer: Sequence[Any], pool: Pool) -> Iterator[Any]:
    yield from map(Integer, (1, 0, 2))
    for i in (*pool.system.lattice.indices, *outer):
        yield from (i, i + 1)


def _ends(outer: Sequence[Any], pool: Pool) -> Iterator[Any]:
    for i in (*pool.lengths, *pool.system.lattice.indices, *outer):
        yield from (i, i - 1)


def derivatives(site: Site, pool: Pool) -> Iterator[Change]:
    """A total derivative for an immediate one, and back."""
    node = site.node
    if isinstance(node, expr.Partial):
        new: Node = expr.Partial(node.args[0], node.args[1], not node.immediate, node.held)
    elif isinstance(node, (expr.Pulled, expr.GradientOf)):
        new = node.func(*node.args[:-1], Integer(not node.immediate))
    else:
        return
    if node.immediate:
        yield instead(site, new, "{0} is the immediate derivative: the total one is meant, {1}", "missing-path")
    else:
        words = "{0} is the total derivative, which counts what others of its terms count too: the immediate one is meant, {1}"
        yield instead(site, new, words)


def factors(site: Site, pool: Pool) -> Iterator[Change]:
    """A number in front."""
    c, body = expr.split_number(site.node)
    if c != 1:
        for value in {Integer(1), -c, 1 / c, Integer(-1)} - {c}:
            words = "the number in front of {0} is wrong: write {1}"
            yield instead(site, expr.scale(value, body), words, "sign" if value == -c else "")
    elif site.is_term or isinstance(site.parent, expr.Sum):
        for value in (Rational(1, 2), Integer(2)):
            yield instead(site, expr.scale(value, body), "a factor is missing at {0}: write {1}")
    if isinstance(site.node, (expr.Power, expr.MatrixPower)):
        base, exponent = site.node.args
        for k in (exponent - 1, exponent + 1):
            yield instead(site, site.node.build(base, k), "the exponent of {0} is wrong: write {1}")


def extra_terms(site: Site, pool: Pool) -> Iterator[Change]:
    """A sum without one of its terms."""
    node = site.node
    if isinstance(node, expr.Add):
        for k, term in enumerate(node.args):
            kept = (*node.args[:k], *node.args[k + 1 :])
            new = kept[0] if len(kept) == 1 else expr.Add(*kept)
            yield Change(new, "the term {0} does not belong here", (term,))


def extra_factors(site: Site, pool: Pool) -> Iterator[Change]:
    """A product without one of its factors."""
    node = site.node
    words = "the factor {0} does not belong in {1}"
    if isinstance(node, (expr.Had, expr.Mul)):
        for k, factor in enumerate(node.args):
            kept = (*node.args[:k], *node.args[k + 1 :])
            if isinstance(node, expr.Had) or fits(kept, node.shape):
                new = kept[0] if len(kept) == 1 else node.func(*kept)
                yield Change(new, words, (factor, node), "activation" if is_slope(factor) else "")
    if isinstance(node, expr.Power) and node.args[1] != 1:
        yield instead(site, node.args[0], "{0} is a power too many: write {1}")


def is_slope(node: Node) -> bool:
    """Whether it looks like the derivative of an activation: `σ'(a)`, `1 - h²`, `1 - z`."""
    body = node.args[0] if isinstance(node, expr.Diag) else node
    if isinstance(body, expr.Apply):
        return body.order > 0
    terms: tuple[Any, ...] = body.args if isinstance(body, expr.Add) else ()
    return len(terms) == 2 and isinstance(terms[0], expr.Ones)


def fits(factors: Iterable[Node], shape: Any) -> bool:
    """Whether the factors form a product of this shape."""
    kept = list(factors)
    rows, columns = shape
    chained = all(a.shape[1] == b.shape[0] for a, b in pairwise(kept))
    return chained and bool(kept[0].shape[0] == rows and kept[-1].shape[1] == columns)
