"""Single edits that need a piece from elsewhere: a name, a factor or a term in place of another, or besides it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from sympy import Integer, Symbol

from derive import expr, functions
from derive.expr import Node, Var
from derive.partials import elementwise_derivative
from derive.verdicts.causes.edits import Change, fits, is_slope
from derive.verdicts.causes.pool import Pool
from derive.verdicts.causes.sites import Site


def activations(site: Site, pool: Pool) -> Iterator[Change]:
    """The derivative of another activation, a prime too many or too few, another function."""
    node = site.node
    if isinstance(node, expr.Apply) and len(node.arguments) == 1:
        words = "{0} is not what belongs here: write {1}"
        for order in (node.order + 1, node.order - 1) if _has_derivatives(node.function) else ():
            if order >= 0:
                new = expr.apply(node.function, *node.arguments, order=order)
                missing = "the derivative of the activation belongs here" if order > node.order else "a prime too many"
                yield Change(new, f"{missing}: write {{1}} for {{0}}", (node, new))
        for name in _others(pool):
            if name != node.function:
                new = expr.apply(name, *node.arguments, order=node.order)
                yield Change(new, words, (node, new))
    yield from _slopes(site)


def _has_derivatives(name: str) -> bool:
    return isinstance(functions.row(name), functions.Elementwise)


def _others(pool: Pool) -> dict[str, None]:
    """The elementwise functions of the system, and the two that are mistaken for one another."""
    used = (n.function for e in pool.system.equations.values() for n in expr.walk(e.rhs) if isinstance(n, expr.Apply))
    return dict.fromkeys(f for f in (*used, "sigmoid", "tanh") if _has_derivatives(f) and _unary(f))


def _unary(name: str) -> bool:
    return name not in ("max", "min")


CLOSED = ("tanh", "sigmoid")


@cache
def slopes(value: Node) -> tuple[Node, ...]:
    """What the derivative of an activation is in terms of its value, for each of `CLOSED`: `1 - h²`, `z ∘ (1 - z)`."""
    activation = Var("u", (), (), *value.shape)
    return tuple(
        elementwise_derivative(node, {node: value})  # type: ignore[arg-type]
        for node in (expr.apply(name, activation) for name in CLOSED)
    )


def _slopes(site: Site) -> Iterator[Change]:
    """`z ∘ (1 - z)` for `1 - z²`, and back; they may be some of the factors of a product."""
    node = site.node
    if isinstance(node, (expr.Diag, expr.Transpose)) or node.shape[1] != 1:
        return
    factors = node.args if isinstance(node, expr.Had) else (node,)
    yield from _squares(node, factors)
    for value in (v for v in expr.variables(node) if v.shape == node.shape):
        forms = slopes(value)
        for form in forms:
            parts = form.args if isinstance(form, expr.Had) else (form,)
            if all(p in factors for p in parts):
                rest = tuple(f for f in factors if f not in parts)
                for other in forms:
                    if other is not form:
                        new = expr.had(*rest, other)
                        words = "{0} is the derivative of another activation: write {1}"
                        yield Change(new, words, (form, other))


def _squares(node: Node, factors: Sequence[Node]) -> Iterator[Change]:
    """`z ∘ (1 - z)` for `z²`, and `1 - h²` for `1 - h`."""
    for k, factor in enumerate(factors):
        if isinstance(factor, expr.Power) and factor.args[1] == 2:
            base = factor.args[0]
            slope = expr.had(base, _complement(base))
            rest = (*factors[:k], *factors[k + 1 :])
            yield Change(expr.had(*rest, slope), "{0} stands where {1} belongs", (factor, slope))
    if (base := _complement(node)) and isinstance(base, (Var, expr.Apply)):
        squared = _complement(expr.power(base, 2))
        yield Change(squared, "{0} stands where {1} belongs", (node, squared))


def _complement(node: Node) -> Node:
    return expr.add(expr.Ones(*node.shape), expr.scale(-1, node))


def _names(site: Site, pool: Pool) -> Iterator[Change]:
    """Another gate, another weight; a gate for one minus the gate."""
    node = site.node
    words = "{0} stands where {1} belongs"
    if isinstance(node, Var):
        for other in pool.like(node):
            # Of both sides the same name says nothing.
            if other not in pool.formula.args:
                yield Change(other, words, (node, other))
    elif site.is_term or isinstance(site.parent, (expr.Had, expr.Mul, expr.Diag, expr.Apply)):
        names = expr.variables(node)
        for var in names if not isinstance(node, (expr.Partial, expr.Sum)) else ():
            for other in pool.like(var) if _occurs_twice(node, var) else ():
                yield Change(expr.replace(node, {var: other}), words, (var, other))
    yield from _complements(site)


def symbols(site: Site, pool: Pool) -> Iterator[Change]:
    """A wrong name on the right."""
    return _names(site, pool) if site.is_right else iter(())


def quantities(site: Site, pool: Pool) -> Iterator[Change]:
    """A wrong name on the left: the line is true of something else."""
    return iter(()) if site.is_right else _names(site, pool)


def _occurs_twice(root: Node, var: Var) -> bool:
    """Whether the name stands in two places, so that no single exchange would do."""
    count, pending = 0, [root]
    while pending and count < 2:
        node = pending.pop()
        count += node is var
        pending.extend(a for a in node.args if isinstance(a, Node))
    return count > 1


def _complements(site: Site) -> Iterator[Change]:
    node = site.node
    if (
        isinstance(node, (expr.Ones, expr.Identity))
        or node.shape[0] == node.shape[1] != 1
        or node.shape[0] == 1 != node.shape[1]
    ):
        return
    new = _complement(node)
    if isinstance(node, Var) or not isinstance(new, expr.Add) or len(new.args) < 3:
        yield Change(new, "{0} stands where {1} belongs", (node, new))


def missing_sums(site: Site, pool: Pool) -> Iterator[Change]:
    """A sum over an index that is free, and does not stand on the other side."""
    node = site.node
    inner = isinstance(node, (expr.Transpose, expr.Diag, Var)) and not site.is_term
    if inner:
        return
    bound = {i for i, _, _ in site.indices()}
    free = _indices(site.other_side)
    loose = sorted(_indices(node) - bound - free - set(pool.lengths), key=str)
    for s in loose:
        for lo, hi in _ranges(s, bound, pool):
            new = expr.Sum(node, (s, lo, hi))
            yield Change(new, "a sum is missing: write {0}", (new,))
    for t, length in zip(pool.system.lattice.indices, pool.lengths, strict=True):
        if length in _indices(node) and t not in _indices(node) | bound | free:
            new = expr.Sum(expr.at(node, {length: t}), (t, Integer(1), length))
            yield Change(new, "a sum is missing: write {0}", (new,))
    if len(loose) > 1 and set(loose) == set(pool.system.lattice.indices):
        new = expr.Sum(node, *pool.system.lattice.ranges)
        yield Change(new, "a sum is missing: write {0}", (new,))


def _indices(node: Node) -> set[Symbol]:
    found = {s for v in expr.variables(node) for i in v.index for s in i.free_symbols}
    return {s for s in found if isinstance(s, Symbol)}


def _ranges(s: Symbol, bound: set[Symbol], pool: Pool) -> Iterator[tuple[object, object]]:
    for length in pool.lengths:
        yield Integer(1), length
        yield Integer(1), length - 1
        yield Integer(2), length
        for t in sorted({*bound, *pool.system.lattice.indices} - {s}, key=str):
            yield Integer(1), t
            yield t, length
            yield t + 1, length
            yield Integer(1), t - 1


def missing_factors(site: Site, pool: Pool) -> Iterator[Change]:
    """One more factor in a product, or beside what is none yet."""
    node = site.node
    words = "a factor is missing in {0}: write {1}"
    if isinstance(site.parent, (expr.Mul, expr.Had)) and isinstance(site.parent, type(node)):
        return
    if not isinstance(site.parent, expr.Had) and (node.shape[1] == 1 or node.shape[0] == 1):
        for piece in pool.of_shape(node.shape):
            if not isinstance(piece, (expr.Ones, expr.Add)) or is_slope(piece):
                new = expr.had(node, piece)
                yield Change(new, words, (node, new), _kind_of_factor(piece))
    if not isinstance(site.parent, expr.Mul):
        yield from _into_product(site, pool)


def _kind_of_factor(piece: Node) -> str:
    body = piece.args[0] if isinstance(piece, expr.Diag) else piece
    parts = body.args if isinstance(body, expr.Had) else (body,)
    return "activation" if any(is_slope(p) for p in parts) else ""


def _into_product(site: Site, pool: Pool) -> Iterator[Change]:
    """A matrix, or a diagonal, at every gap of the product where its shape lets it stand."""
    node = site.node
    args = node.args if isinstance(node, expr.Mul) else (node,)
    ends = [args[0].shape[0], *(a.shape[1] for a in args)]
    for gap, size in enumerate(ends):
        left, right = args[:gap], args[gap:]
        if size == 1 and expr.is_scalar(node):
            continue
        pieces = [p for p in pool.of_shape((size, size)) if not isinstance(p, expr.Identity)]
        pieces += [expr.transpose(p) for p in pieces if isinstance(p, Var)]
        columns = [expr.Diag(p) for p in pool.of_shape((size, Integer(1))) if not isinstance(p, expr.Ones)]
        if node.shape[1] == 1 and gap == 0:
            columns = []
        for piece in dict.fromkeys((*pieces, *columns)):
            factors = (*left, piece, *right)
            if size != 1 and fits(factors, node.shape):
                new = expr.Mul(*factors)
                yield Change(new, "a factor is missing in {0}: write {1}", (node, new), _kind_of_factor(piece))


def missing_terms(site: Site, pool: Pool) -> Iterator[Change]:
    """One more term, from what the engine derives."""
    node = site.node
    if isinstance(site.parent, expr.Add) or (isinstance(node, expr.Ones) and not site.is_term):
        return
    present = {expr.split_number(term)[1] for term in (node.args if isinstance(node, expr.Add) else (node,))}
    for piece in (p for p in pool.of_shape(node.shape) if expr.split_number(p)[1] not in present):
        for sign in (1, -1):
            term = expr.scale(sign, piece)
            new = expr.Add(node, term) if not isinstance(node, expr.Add) else expr.Add(*node.args, term)
            yield Change(new, "the term {0} is missing", (term,))


LARGEST = 8
"""What has more parts than this is no slip of the pen."""


def exchanged(site: Site, pool: Pool) -> Iterator[Change]:
    """Any piece in place of any other of its shape."""
    node = site.node
    if site.is_whole or site.size > LARGEST:
        return
    kind = "activation" if site.under(expr.Apply) or is_slope(node) else ""
    for piece in pool.of_shape(node.shape):
        if piece is not node:
            yield Change(piece, "{0} stands where {1} belongs", (node, piece), kind or _kind_of_factor(piece))
