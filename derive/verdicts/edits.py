"""Single edits of a formula: what one slip of the pen would have to be for the line to be right.

`ROWS` is the table, the smallest and most usual slips first: a kind of cause, and the function that lists, for one place
in the formula, what could stand there instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sympy import Basic, Integer, Rational, Tuple

from derive import expr
from derive.expr import Node, Var
from derive.verdicts.sites import Site

if TYPE_CHECKING:
    from derive.verdicts.pool import Pool


@dataclass(frozen=True)
class Change:
    """What stands in a place instead; `words`, with `nodes` printed into it, says so to a person."""

    new: Basic
    words: str
    nodes: tuple[Basic, ...]
    kind: str = ""
    """Where it is another than that of the row."""


Row: TypeAlias = "tuple[str, Callable[[Site, Pool], Iterable[Change]]]"


def _instead(site: Site, new: Node, words: str = "{0} is wrong here: write {1}", kind: str = "") -> Change:
    return Change(new, words, (site.node, new), kind)


def signs(site: Site, pool: Pool) -> Iterator[Change]:
    """A term with the other sign."""
    if site.is_term and not (isinstance(site.parent, expr.Equals) and site.above[-1][1] == 0):
        yield _instead(site, expr.scale(-1, site.node), "the sign of {0} is wrong: write {1}")


def transposes(site: Site, pool: Pool) -> Iterator[Change]:
    """A matrix transposed, or no longer."""
    node = site.node
    if isinstance(site.parent, expr.Transpose) or 1 in node.shape:
        return
    turned = expr.transpose(node)
    if turned is not node:
        bare = isinstance(node, expr.Transpose)
        yield _instead(site, turned, f"{{0}} is {'' if bare else 'not '}transposed: write {{1}}", _layout(site))


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
                yield _instead(site, moved, "{0} is read at the wrong index: write {1}")
    elif isinstance(node, expr.Entry):
        i, j = node.args[1:]
        for swapped in {(j, i), (i, i), (j, j)} - {(i, j)} if node.args[0].shape[1] != 1 else ():
            yield _instead(site, expr.Entry(node.args[0], *swapped), "{0} is the wrong entry: write {1}")


def bounds(site: Site, pool: Pool) -> Iterator[Change]:
    """A sum or product that starts or ends elsewhere."""
    node = site.node
    if not isinstance(node, (expr.Sum, expr.Product)):
        return
    what = "the sum" if isinstance(node, expr.Sum) else "the product"
    for at, argument in enumerate(node.args):
        if isinstance(argument, Tuple) and len(argument) == 3:
            index, lo, hi = argument
            others = [i for i, _, _ in site.indices()]
            for end, verb, near in ((1, "starts", (1, 0, *others)), (2, "ends", (*pool.lengths, *others))):
                for value in _near(argument[end], near):
                    range_ = Tuple(*(value if k == end else a for k, a in enumerate(argument)))
                    new = node.func(*(range_ if k == at else a for k, a in enumerate(node.args)))
                    words = f"{what} {verb} at {index} = {argument[end]}: it must {verb[:-1]} at {index} = {value}"
                    yield Change(new, words.replace("{", "{{").replace("}", "}}"), ())


def _near(bound: Any, usual: Iterable[Any]) -> list[Any]:
    """Other bounds, the nearest first."""
    steps = [bound + k for k in (-1, 1, -2, 2)]
    far = [Integer(u) if isinstance(u, int) else u for u in usual]
    return [v for v in dict.fromkeys([*steps, *far, *(u + k for u in far for k in (-1, 1))]) if v != bound]


def orders(site: Site, pool: Pool) -> Iterator[Change]:
    """Factors of a product in another order."""
    node = site.node
    if isinstance(node, expr.Product) and node.shape != expr.SCALAR:
        new = expr.Product(node.args[0], node.args[1], not node.descending)
        first = "latest" if not node.descending else "earliest"
        yield Change(new, f"the factors of the product stand in the wrong order: the {first} comes first, {{0}}", (new,))
    if isinstance(node, expr.Mul):
        for factors in _reordered(node.args):
            if fits(factors, node.shape):
                yield _instead(site, expr.Mul(*factors), "the factors of {0} stand in the wrong order: write {1}")
    yield from _order_with_diagonals(site)


def _reordered(factors: tuple[Node, ...]) -> Iterator[tuple[Node, ...]]:
    n = len(factors)
    for i in range(n - 1):
        yield (*factors[:i], factors[i + 1], factors[i], *factors[i + 2 :])
    if n > 2:
        yield factors[::-1]
        yield (*factors[1:], factors[0])
        yield (factors[-1], *factors[:-1])


def fits(factors: Iterable[Node], shape: Any) -> bool:
    """Whether the factors form a product of this shape."""
    kept = list(factors)
    chained = all(a.shape[1] == b.shape[0] for a, b in zip(kept, kept[1:], strict=False))
    return chained and (kept[0].shape[0], kept[-1].shape[1]) == tuple(shape)


def _order_with_diagonals(site: Site) -> Iterator[Change]:
    """`a ⊙ (W x)` for `W (a ⊙ x)`, and the other way round: a diagonal on the wrong side of a matrix."""
    node = site.node
    words = "the factors of {0} stand in the wrong order: write {1}"
    if isinstance(node, expr.Had):
        for k, factor in enumerate(node.args):
            others = (*node.args[:k], *node.args[k + 1 :])
            if isinstance(factor, expr.Mul) and factor.shape[1] == 1:
                *matrices, x = factor.args
                if x.shape == node.shape:
                    yield _instead(site, expr.Mul(*matrices, expr.Had(*others, x)), words)
    if isinstance(node, expr.Mul) and node.shape[1] == 1 and isinstance(node.args[-1], expr.Had):
        *matrices, last = node.args
        for k, factor in enumerate(last.args):
            others = (*last.args[:k], *last.args[k + 1 :])
            for outside, inside in ((factor, others), (expr.had(*others), (factor,))):
                if outside.shape == node.shape:
                    yield _instead(site, expr.Had(outside, expr.Mul(*matrices, expr.had(*inside))), words)


def hadamards(site: Site, pool: Pool) -> Iterator[Change]:
    """A Hadamard product that should be a matrix product, or a diagonal; and back."""
    node = site.node
    if isinstance(node, expr.Had) and node.shape != expr.SCALAR:
        yield from _to_matrix_products(site, node)
    if isinstance(node, expr.Mul):
        for i in range(len(node.args) - 1):
            for joined in _joined(*node.args[i : i + 2]):
                factors = (*node.args[:i], joined, *node.args[i + 2 :])
                if fits(factors, node.shape):
                    new = joined if len(factors) == 1 else expr.Mul(*factors)
                    yield _instead(site, new, "the product in {0} is an elementwise one: write {1}")


def _to_matrix_products(site: Site, node: expr.Had) -> Iterator[Change]:
    words = "the product in {0} is a matrix product: write {1}"
    if node.shape[0] == node.shape[1]:
        yield _instead(site, expr.Mul(*node.args), words)
        for i in range(len(node.args)):
            rest = (*node.args[:i], *node.args[i + 1 :])
            yield _instead(site, expr.Mul(node.args[i], expr.had(*rest)), words)
            yield _instead(site, expr.Mul(expr.had(*rest), node.args[i]), words)
    for factor in node.args:
        if isinstance(factor, expr.Diag):
            rest = [f for f in node.args if f is not factor]
            yield _instead(site, expr.Mul(factor, expr.had(*rest)), words)


def _joined(left: Node, right: Node) -> Iterator[Node]:
    if left.shape == right.shape:
        yield expr.Had(left, right)
    if isinstance(left, expr.Diag) and left.args[0].shape == right.shape:
        yield expr.Had(left.args[0], right)
    if left.shape[1] == 1 and right.shape[0] == 1 and left.shape[0] == right.shape[1]:
        yield expr.diag(expr.had(left, expr.transpose(right)))


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
        yield _instead(site, new, "{0} is the immediate derivative: the total one is meant, {1}", "missing-path")
    else:
        words = "{0} is the total derivative, which counts what others of its terms count too: the immediate one is meant, {1}"
        yield _instead(site, new, words)


def factors(site: Site, pool: Pool) -> Iterator[Change]:
    """A number in front."""
    c, body = expr.split_number(site.node)
    if c != 1:
        for value in {Integer(1), -c, 1 / c, Integer(-1)} - {c}:
            words = "the number in front of {0} is wrong: write {1}"
            yield _instead(site, expr.scale(value, body), words, "sign" if value == -c else "")
    elif site.is_term or isinstance(site.parent, expr.Sum):
        for value in (Rational(1, 2), Integer(2)):
            yield _instead(site, expr.scale(value, body), "a factor is missing at {0}: write {1}")
    if isinstance(site.node, (expr.Power, expr.MatrixPower)):
        base, exponent = site.node.args
        for k in (exponent - 1, exponent + 1):
            yield _instead(site, site.node.build(base, k), "the exponent of {0} is wrong: write {1}")


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
        yield _instead(site, node.args[0], "{0} is a power too many: write {1}")


def is_slope(node: Node) -> bool:
    """Whether it looks like the derivative of an activation: `σ'(a)`, `1 - h²`, `1 - z`."""
    body = node.args[0] if isinstance(node, expr.Diag) else node
    if isinstance(body, expr.Apply):
        return body.order > 0
    terms = body.args if isinstance(body, expr.Add) else ()
    return len(terms) == 2 and isinstance(terms[0], expr.Ones)
