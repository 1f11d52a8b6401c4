"""Single edits of gates: half of `z ∘ (1 - z)` forgotten, `z` and `1 - z` exchanged, a rate left out."""

from __future__ import annotations

from collections.abc import Iterator

from derive import expr
from derive.expr import Node, Var
from derive.verdicts.edits import Change
from derive.verdicts.pool import Pool
from derive.verdicts.sites import Site


def complement(node: Node) -> Node:
    """`1 - x`, entry by entry; of `1 - x` it is `x`."""
    return expr.add(expr.Ones(*node.shape), expr.scale(-1, node))


def halves(site: Site, pool: Pool) -> Iterator[Change]:
    """`z ∘ (1 - z) ∘ …` for `z ∘ …`."""
    node = site.node
    stands = isinstance(node, expr.Had) or (isinstance(node, Var) and isinstance(site.parent, expr.Diag))
    if not stands or isinstance(site.parent, expr.Had) or not expr.is_column(node):
        return
    factors = node.args if isinstance(node, expr.Had) else (node,)
    for factor in factors:
        other = complement(factor)
        if _is_gate(factor) != _is_gate(other) and other not in factors:
            new = expr.had(*(part for f in factors for part in ((f, other) if f is factor else (f,))))
            yield Change(new, "the factor {0} is missing in {1}: write {2}", (other, node, new))


def _is_gate(factor: Node) -> bool:
    """Whether it may be the value of an activation; a gradient is none."""
    return isinstance(factor, Var) and not factor.marks


def exchanged(site: Site, pool: Pool) -> Iterator[Change]:
    """`z` and `1 - z` exchanged throughout."""
    if not (site.is_right and isinstance(site.parent, expr.Equals)):
        return
    nodes = expr.walk(site.node)
    derived = {x for n in nodes if isinstance(n, (expr.Partial, expr.Pulled, expr.GradientOf)) for x in n.args[:2]}
    for var in expr.variables(site.node):
        both = complement(var) in nodes or _stands_beside_one(var, nodes)
        if both and _is_gate(var) and var not in derived and (expr.is_column(var) or expr.is_scalar(var)):
            new = expr.replace(site.node, {var: complement(var)})
            yield Change(new, "{0} and {1} are exchanged", (var, complement(var)))


def _stands_beside_one(var: Node, nodes: tuple[object, ...]) -> bool:
    """Whether `I - diag(z)` is written, or a number minus it."""
    terms = [expr.split_number(term) for n in nodes if isinstance(n, expr.Add) for term in n.args]
    return any(c == -1 and body in (var, expr.diag(var)) for c, body in terms)


def rates(site: Site, pool: Pool) -> Iterator[Change]:
    """A scalar parameter in front of a term, or one minus it."""
    if not (site.is_right and (site.is_term or isinstance(site.parent, expr.Sum))):
        return
    for entry in pool.system.variables.values():
        if expr.is_scalar(entry.var) and not entry.var.index:
            for rate in (entry.var, complement(entry.var)):
                new = expr.scale(rate, site.node)
                yield Change(new, "a factor {0} is missing: write {1} for {2}", (rate, new, site.node))
