"""Single edits of gates: half of `z ∘ (1 - z)` forgotten, `z` and `1 - z` exchanged, a rate left out."""

from __future__ import annotations

from collections.abc import Iterator

from derive import expr
from derive.expr import Node, Var
from derive.verdicts.causes.edits import Change, negated
from derive.verdicts.causes.pool import Pool
from derive.verdicts.causes.residual import terms
from derive.verdicts.causes.sites import Site, sites


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
    """`z` and `1 - z` exchanged throughout; the terms with the derivative of the gate may have the sign of the other."""
    if not (site.is_right and isinstance(site.parent, expr.Equals)):
        return
    nodes = expr.walk(site.node)
    derived = {x for n in nodes if isinstance(n, (expr.Partial, expr.Pulled, expr.GradientOf)) for x in n.args[:2]}
    for var in expr.variables(site.node):
        both = complement(var) in nodes or _stands_beside_one(var, nodes)
        twice = sum(s.node is var for s in sites(pool.formula) if s.is_right) > 1
        if both and twice and _is_gate(var) and var not in derived and (expr.is_column(var) or expr.is_scalar(var)):
            # By way of a name that stands nowhere: `1 - (1 - z)` is `z`, which would be replaced in its turn.
            elsewhere = var.marked("exchanged")
            new = expr.replace(expr.replace(site.node, {var: elsewhere}), {elsewhere: complement(var)})
            slopes = [term for term in terms(new) if _holds_slope(term, var)]
            turned = expr.add(*(negated(term) if term in slopes else term for term in terms(new)))
            for meant in (new, turned) if slopes else (new,):
                yield Change(meant, "{0} and {1} are exchanged", (var, complement(var)))


def _holds_slope(term: Node, var: Node) -> bool:
    return any(isinstance(n, expr.Had) and {var, complement(var)} <= set(n.args) for n in expr.walk(term))


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
