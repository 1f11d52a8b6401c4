"""Single edits of a formula: what one slip of the pen would have to be for the line to be right.

`ROWS` is the table, the smallest and most usual slips first: a kind of cause, and the function that lists, for one place
in the formula, what could stand there instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
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
    what = "sum" if isinstance(node, expr.Sum) else "product"
    outer = [i for i, _, _ in site.indices()]
    ranges = [(at, a) for at, a in enumerate(node.args) if isinstance(a, Tuple)]
    for at, range_ in ranges:
        for end, verb, near in ((1, "start", _starts(outer)), (2, "end", _ends(outer, pool))):
            for value in dict.fromkeys((range_[end] - 1, range_[end] + 1, *near)):
                width = (value - range_[1] if end == 2 else range_[2] - value) + 1
                if value != range_[end] and width != 0:
                    moved = Tuple(*(value if k == end else a for k, a in enumerate(range_)))
                    new = node.func(*(moved if k == at else a for k, a in enumerate(node.args)))
                    said = tuple(expr.Relation("=", range_[0], v) for v in (range_[end], value))
                    yield Change(new, f"the {what} {verb}s at {{0}}: it must {verb} at {{1}}", said)


def _starts(outer: Sequence[Any]) -> Iterator[Any]:
    yield from (Integer(1), Integer(0))
    for i in outer:
        yield from (i, i + 1)


def _ends(outer: Sequence[Any], pool: Pool) -> Iterator[Any]:
    for i in (*pool.lengths, *pool.system.lattice.indices, *outer):
        yield from (i, i - 1)


def orders(site: Site, pool: Pool) -> Iterator[Change]:
    """Factors of a product in another order."""
    node = site.node
    if isinstance(node, expr.Product) and node.shape != expr.SCALAR:
        new = expr.Product(node.args[0], node.args[1], not node.descending)
        first = "latest" if new.descending else "earliest"
        yield _instead(
            site, new, f"the factors of {{0}} stand in the wrong order, the {first} comes first: write {{1}}"
        )
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
    chained = all(a.shape[1] == b.shape[0] for a, b in pairwise(kept))
    return chained and (kept[0].shape[0], kept[-1].shape[1]) == tuple(shape)


def _order_with_diagonals(site: Site) -> Iterator[Change]:
    """A diagonal on the wrong side of a matrix: `a ⊙ (W x)` for `W (a ⊙ x)`, `diag(a ⊙ b) W` for `diag(a) W diag(b)`."""
    node = site.node
    words = "the factors of {0} stand in the wrong order: write {1}"
    if isinstance(node, expr.Had):
        for product in (f for f in node.args if isinstance(f, expr.Mul) and f.args[-1].shape == node.shape):
            *matrices, x = product.args
            for moved, kept in _parted(f for f in node.args if f is not product):
                inside = expr.Mul(*matrices, expr.had(*moved, x))
                yield _instead(site, expr.Had(*kept, inside) if kept else inside, words)
    if isinstance(node, expr.Mul):
        for k, factor in enumerate(node.args):
            for moved, kept in _parted(_entries(factor)):
                rest = _diagonal_like(factor, kept)
                for gap in {k - 1, k + 2} | {0, len(node.args)} - {k, k + 1}:
                    new = _moved(node.args, k, rest, max(gap, 0), moved)
                    if new is not None and new.shape == node.shape:
                        yield _instead(site, new, words)


def _entries(factor: Node) -> tuple[Node, ...]:
    """The factors of what scales rows: of `diag(a ⊙ b)`, and of a column `a ⊙ b`."""
    body = factor.args[0] if isinstance(factor, expr.Diag) else factor
    scales = isinstance(factor, expr.Diag) or expr.is_column(factor)
    return () if not scales else body.args if isinstance(body, expr.Had) else (body,)


def _diagonal_like(factor: Node, kept: Sequence[Node]) -> Node | None:
    if not kept:
        return None if isinstance(factor, expr.Diag) else expr.Ones(*factor.shape)
    return expr.diag(expr.had(*kept)) if isinstance(factor, expr.Diag) else expr.had(*kept)


def _moved(args: Sequence[Node], k: int, rest: Node | None, gap: int, moved: Sequence[Node]) -> Node | None:
    """The product with `rest` in the k-th place and the diagonal of `moved` before what stood at `gap`."""
    factors: list[Node] = []
    for n in range(len(args) + 1):
        if n == gap:
            factors.append(expr.diag(expr.had(*moved)))
        if n < len(args):
            factors += [args[n]] if n != k else [rest] if rest is not None else []
    chained = all(a.shape[1] == b.shape[0] for a, b in pairwise(factors))
    return expr.Mul(*factors) if chained else None


def _parted(factors: Iterable[Node]) -> Iterator[tuple[tuple[Node, ...], tuple[Node, ...]]]:
    """One or two of the factors, or all, and the others."""
    everything = tuple(factors)
    sizes = dict.fromkeys((1, 2, len(everything))) if everything else {}
    for size in sizes:
        for chosen in combinations(everything, size):
            yield chosen, tuple(f for f in everything if f not in chosen)


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
