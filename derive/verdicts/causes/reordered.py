"""Single edits of products: factors in another order, another kind of product."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise

from derive import expr
from derive.expr import Node
from derive.verdicts.causes.edits import Change, fits, instead
from derive.verdicts.causes.pool import Pool
from derive.verdicts.causes.sites import Site


def orders(site: Site, pool: Pool) -> Iterator[Change]:
    """Factors of a product in another order."""
    node = site.node
    if isinstance(node, expr.Product) and node.shape != expr.SCALAR:
        new = expr.Product(node.args[0], node.args[1], not node.descending)
        first = "latest" if new.descending else "earliest"
        yield instead(site, new, f"the factors of {{0}} stand in the wrong order, the {first} comes first: write {{1}}")
    if isinstance(node, expr.Mul):
        for factors in _reordered(node.args):
            if fits(factors, node.shape):
                yield instead(site, expr.Mul(*factors), "the factors of {0} stand in the wrong order: write {1}")
    yield from _order_with_diagonals(site)


def _reordered(factors: tuple[Node, ...]) -> Iterator[tuple[Node, ...]]:
    n = len(factors)
    for i in range(n - 1):
        yield (*factors[:i], factors[i + 1], factors[i], *factors[i + 2 :])
    if n > 2:
        yield factors[::-1]
        yield (*factors[1:], factors[0])
        yield (factors[-1], *factors[:-1])


def _order_with_diagonals(site: Site) -> Iterator[Change]:
    """A diagonal on the wrong side of a matrix: `a ⊙ (W x)` for `W (a ⊙ x)`, `diag(a ⊙ b) W` for `diag(a) W diag(b)`."""
    node = site.node
    words = "the factors of {0} stand in the wrong order: write {1}"
    if isinstance(node, expr.Had):
        for product in (f for f in node.args if isinstance(f, expr.Mul) and f.args[-1].shape == node.shape):
            *matrices, x = product.args
            for moved, kept in _parted(f for f in node.args if f is not product):
                inside = expr.Mul(*matrices, expr.had(*moved, x))
                yield instead(site, expr.Had(*kept, inside) if kept else inside, words)
    if isinstance(node, expr.Mul):
        for k, factor in enumerate(node.args):
            for moved, kept in _parted(_entries(factor)):
                rest = _diagonal_like(factor, kept)
                for gap in {k - 1, k + 2} | {0, len(node.args)} - {k, k + 1}:
                    new = _moved(node.args, k, rest, max(gap, 0), moved)
                    if new is not None and new.shape == node.shape:
                        yield instead(site, new, words)


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
    if isinstance(node, expr.Scale) and isinstance(node.args[0], expr.Mul):
        row, column = node.args[0].args[0], expr.mul(*node.args[0].args[1:])
        if row.shape[::-1] == column.shape and column.shape[0] == node.shape[0]:
            new = expr.mul(expr.Diag(expr.Had(expr.transpose(row), column)), node.args[1])
            yield instead(site, new, "the product in {0} is an elementwise one: write {1}")
    if isinstance(node, expr.Mul):
        for i in range(len(node.args) - 1):
            for joined in _joined(*node.args[i : i + 2]):
                factors = (*node.args[:i], joined, *node.args[i + 2 :])
                if fits(factors, node.shape):
                    new = joined if len(factors) == 1 else expr.Mul(*factors)
                    yield instead(site, new, "the product in {0} is an elementwise one: write {1}")


def _to_matrix_products(site: Site, node: expr.Had) -> Iterator[Change]:
    words = "the product in {0} is a matrix product: write {1}"
    if node.shape[0] == node.shape[1]:
        yield instead(site, expr.Mul(*node.args), words)
        for i in range(len(node.args)):
            rest = (*node.args[:i], *node.args[i + 1 :])
            yield instead(site, expr.Mul(node.args[i], expr.had(*rest)), words)
            yield instead(site, expr.Mul(expr.had(*rest), node.args[i]), words)
    for factor in node.args:
        if isinstance(factor, expr.Diag):
            others = [f for f in node.args if f is not factor]
            yield instead(site, expr.Mul(factor, expr.had(*others)), words)


def _joined(left: Node, right: Node) -> Iterator[Node]:
    if left.shape == right.shape:
        yield expr.Had(left, right)
    if isinstance(left, expr.Diag) and left.args[0].shape == right.shape:
        yield expr.Had(left.args[0], right)
    if left.shape[1] == 1 and right.shape[0] == 1 and left.shape[0] == right.shape[1]:
        yield expr.diag(expr.had(left, expr.transpose(right)))
