"""Single edits of what is summed or multiplied over an index: where it runs, which way its derivatives go, whose loss it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sympy import Basic, Expr, Integer, Symbol, Tuple

from derive import expr
from derive.expr import Node, Var
from derive.system import LOSS
from derive.verdicts.causes.edits import Change, instead
from derive.verdicts.causes.pool import Pool
from derive.verdicts.causes.sites import Site


def bounds(site: Site, pool: Pool) -> Iterator[Change]:
    """A sum or product that starts or ends elsewhere, or both; a product in either order, which is often left to the reader."""
    node = site.node
    yield from _moves(site, node, pool)
    if isinstance(node, expr.Product) and node.shape != expr.SCALAR:
        yield from _moves(site, expr.Product(node.args[0], node.args[1], not node.descending), pool)


def _moves(site: Site, node: Node, pool: Pool) -> Iterator[Change]:
    if isinstance(node, (expr.Sum, expr.Product)):
        ranges = [(at, a) for at, a in enumerate(node.args) if isinstance(a, Tuple)]
        for at, (dummy, lo, hi) in ranges:
            starts, ends = _starts(site, pool), _ends(site, pool)
            single = [*((v, hi) for v in (lo - 1, lo + 1, *starts)), *((lo, v) for v in (hi - 1, hi + 1, *ends))]
            both = [(a, b) for a in starts for b in ends if a != lo and b != hi and _is_usual(a, b)]
            for start, end in dict.fromkeys((*single, *both)):
                if (start, end) != (lo, hi) and _is_range(dummy, start, end):
                    moved = Tuple(dummy, start, end)
                    new = node.func(*(moved if k == at else a for k, a in enumerate(node.args)))
                    yield _moved(node, new, (dummy, lo, hi), (start, end))


def _is_usual(start: Expr, end: Expr) -> bool:
    """Whether a range begins or ends with the lattice, or lies between two letters."""
    return start == 1 or str(end).isupper() or bool(start.free_symbols and end.free_symbols)


def _is_range(dummy: Symbol, start: Expr, end: Expr) -> bool:
    """Whether it is one of more than one step, in letters other than its own."""
    width = end - start + 1
    return dummy not in (start.free_symbols | end.free_symbols) and not (width.is_Integer and width < 2)


def _moved(node: Node, new: Node, old: tuple[Any, ...], ends: tuple[Expr, Expr]) -> Change:
    what = "sum" if isinstance(node, expr.Sum) else "product"
    dummy, lo, hi = old
    if hi == ends[1]:
        said, verb = (lo, ends[0]), "start"
    elif lo == ends[0]:
        said, verb = (hi, ends[1]), "end"
    else:
        return Change(new, f"the {what} runs over the wrong steps: write {{0}}", (new,))
    relations = tuple(expr.Relation("=", dummy, v) for v in said)
    return Change(new, f"the {what} {verb}s at {{0}}: it must {verb} at {{1}}", relations)


def _letters(site: Site, pool: Pool) -> dict[Any, None]:
    """The letters that a bound may be made of, those of the other side first."""
    bound = [i for i, _, _ in site.indices()]
    free = {s for v in expr.variables(site.other_side) for i in v.index for s in i.free_symbols} - set(pool.lengths)
    return dict.fromkeys((*sorted(free, key=str), *pool.system.lattice.indices, *bound))


def _starts(site: Site, pool: Pool) -> list[Any]:
    return [*map(Integer, (1, 0, 2)), *(v for i in _letters(site, pool) for v in (i, i + 1))]


def _ends(site: Site, pool: Pool) -> list[Any]:
    return [v for i in (*pool.lengths, *_letters(site, pool)) for v in (i, i - 1)]


def turned(site: Site, pool: Pool) -> Iterator[Change]:
    """`∂h_t/∂h_k` for `∂h_k/∂h_t`."""
    node = site.node
    if isinstance(node, expr.Partial) and site.indices():
        y, x = node.args[:2]
        if isinstance(y, Var) and len(y.index) == len(x.index) > 0 and y.index != x.index:
            new = expr.Partial(y.at(x.index), x.at(y.index), node.immediate, node.held)
            yield instead(site, new, "{0} is read at the wrong indices: write {1}")


def losses(site: Site, pool: Pool) -> Iterator[Change]:
    """The loss of one step for that of all, and back."""
    node = site.node
    loss = pool.system.variables.get(LOSS)
    if loss is None or not site.indices():
        return
    if isinstance(node, Var) and node.marks == ("bar",) and node.index:
        state = Var(node.base, (), node.index, *node.shape)
        own = expr.GradientOf(loss.var.at(node.index), state)
        words = "{0} is of the losses of all later steps, which other terms count too: write {1}"
        yield instead(site, own, words, "double-count")
    elif isinstance(node, expr.GradientOf) and _is_loss(node.args[0]) and node.args[1].index:
        words = "{0} is of the loss of one step: that of all is meant, {1}"
        yield instead(site, node.args[1].marked("bar"), words, "missing-path")


def _is_loss(node: Basic) -> bool:
    return isinstance(node, Var) and node.name == LOSS
