"""Single edits of a formula: what one slip of the pen would have to be for the line to be right.

An edit is a function of a place in the formula that lists what could stand there instead; `derive.verdicts.causes.slips`
is the table of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sympy import Basic, Integer, Rational

from derive import expr
from derive.expr import Node, Var
from derive.verdicts.causes.pool import Pool
from derive.verdicts.causes.sites import Site


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
        yield instead(site, negated(site.node), "the sign of {0} is wrong: write {1}")


def negated(node: Node) -> Node:
    """`b - a` for `a - b`, in a product as well; else a minus in front."""
    return _turned(node) or expr.scale(-1, node)


def _turned(node: Basic) -> Node | None:
    if isinstance(node, expr.Add):
        negative = [bool(expr.split_number(term)[0].is_negative) for term in node.args]
        if len(node.args) != 2 or negative[0] == negative[1] or is_slope(node):
            return None
        minus, plus = node.args if negative[0] else node.args[::-1]
        return expr.Add(expr.scale(-1, minus), expr.scale(-1, plus))
    if isinstance(node, (expr.Mul, expr.Had, expr.Diag, expr.Transpose, expr.Sum)):
        for k, part in enumerate(node.args):
            if (new := _turned(part)) is not None:
                return node.func(*node.args[:k], new, *node.args[k + 1 :])
    return None


def transposes(site: Site, pool: Pool) -> Iterator[Change]:
    """A matrix transposed, or no longer; an entry of it with its indices exchanged."""
    node = site.node
    if isinstance(node, expr.Entry) and node.args[0].shape[1] != 1:
        i, j = node.args[1:]
        yield instead(site, expr.Entry(node.args[0], j, i), "the indices of {0} are exchanged: write {1}")
    if isinstance(site.parent, (expr.Transpose, expr.Entry)) or 1 in node.shape:
        return
    turned = expr.transpose(node)
    if turned is not node:
        bare = isinstance(node, expr.Transpose)
        yield instead(site, turned, f"{{0}} is {'' if bare else 'not '}transposed: write {{1}}", _layout(site))


def _layout(site: Site) -> str:
    """The whole of a side transposed is the other layout."""
    return "layout" if isinstance(site.parent, expr.Equals) else ""


def indices(site: Site, pool: Pool) -> Iterator[Change]:
    """A read one step earlier or later, or as far on the other side."""
    node = site.node
    if isinstance(node, Var):
        for axis, i in enumerate(node.index):
            for step in dict.fromkeys((-1, 1, -2 * i.as_coeff_Add()[0] if i.free_symbols else 1)):
                if step == 0:
                    continue
                moved = node.at((*node.index[:axis], i + step, *node.index[axis + 1 :]))
                yield instead(site, moved, "{0} is read at the wrong index: write {1}")
    elif isinstance(node, expr.Entry):
        i, j = node.args[1:]
        for swapped in dict.fromkeys(((i, i), (j, j))) if i != j and node.args[0].shape[1] != 1 else ():
            yield instead(site, expr.Entry(node.args[0], *swapped), "{0} is the wrong entry: write {1}")


def shifts(site: Site, pool: Pool) -> Iterator[Change]:
    """A whole term read at another step."""
    if not (site.is_right and (site.is_term or isinstance(site.parent, expr.Sum))):
        return
    read = {i for v in expr.variables(site.node) for i in v.index}
    if isinstance(site.node, Var) or len({v for v in expr.variables(site.node) if v.index}) < 2:
        return
    for letter in sorted({s for i in read for s in i.free_symbols}, key=str):
        offsets = {(i - letter) for i in read if letter in i.free_symbols}
        across = {-2 * o for o in offsets if len(offsets) == 1}
        for step in sorted(({-1, 1} | across) - {0}, key=lambda s: (s not in across, s)):
            moved = expr.at(site.node, {letter: letter + step})
            yield instead(site, moved, "{0} is read at the wrong index: write {1}")


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
    """A sum without one of its terms; of `1 - h²` among factors it is the factor that does not belong there."""
    node = site.node
    if isinstance(node, expr.Add) and not (is_slope(node) and isinstance(site.parent, (expr.Mul, expr.Had))):
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
