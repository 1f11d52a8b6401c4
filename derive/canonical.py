"""One order for what may be typed in many: the same expression with its sums and products sorted.

`canonical(node)` is `node` without labels and rebuilt from its leaves: the terms of sums and the factors of Hadamard
products stand in the order of a structural key, transposes at the leaves, numbers in front, `diag(a) diag(b)` as one, and
bound indices are `_1`, `_2`, … from the inside out.  Nothing is multiplied out but numbers.  Two expressions with one
canonical form are equal; equal expressions may have two, and then `derive.oracles` has to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise, permutations
from typing import Any, TypeAlias

from sympy import Basic, Expr, Integer, Symbol, Tuple, srepr

from derive import expr, functions
from derive.expr import ONE, Node, add, at, diag, had, is_column, is_scalar, mul, power, scale, split_number, transpose

SORTED_RANGES = 4
"""So many ranges of a sum are tried in every order."""


def same(a: Basic, b: Basic) -> bool:
    """Whether both have one canonical form."""
    return bool(canonical(a) == canonical(b))


def canonical(root: Basic) -> Any:
    """The canonical form of a node or a statement.

    A rule makes a node of one whose parts are canonical already; what it makes is settled in its turn, until a rule has
    nothing to do.
    """
    settled: dict[Basic, Basic] = {}
    pending: list[tuple[Basic, Basic | None]] = [(root, None)]
    while pending:
        node, made = pending.pop()
        if _form(node, settled) is not None:
            continue
        missing = [part for part in _parts(made or node) if _form(part, settled) is None]
        if made is not None:
            form = _form(made, settled)
            if form is None:
                pending += [(node, made), (made, None)]
                continue
            _settle(node, form, settled)
        elif missing:
            pending += [(node, None), *((part, None) for part in missing)]
        else:
            args = tuple(_form(a, settled) if _is_part(a) else a for a in node.args)
            new = _RULES.get(type(node), _rebuilt)(node, args) if not isinstance(node, expr.Var) else node
            if new == node:
                _settle(node, node, settled)
            else:
                pending.append((node, new))
    return _form(root, settled)


def _form(node: Basic, settled: dict[Basic, Basic]) -> Any:
    return getattr(node, "_canonical", None) if isinstance(node, Node) else settled.get(node)


def _settle(node: Basic, form: Basic, settled: dict[Basic, Basic]) -> None:
    if isinstance(node, Node):
        node._canonical = form
    else:
        settled[node] = form


def _is_part(a: Basic) -> bool:
    return isinstance(a, (Node, expr.Statement, Tuple))


def _parts(node: Basic) -> list[Basic]:
    return [] if isinstance(node, (expr.Var, expr.At)) else [a for a in node.args if _is_part(a)]


# --- the key ----------------------------------------------------------------------------------------------------------


def key(root: Basic) -> str:
    """What sorts nodes: their type, then a digest of all they are made of.  The same in every run."""
    return _facts(root)[0]


def _facts(root: Basic) -> tuple[str, int]:
    """The key, and the highest number of a bound index."""
    found = getattr(root, "_facts", None)
    if found is not None:
        return found
    done: dict[Basic, tuple[str, int]] = {}
    pending: list[tuple[Basic, bool]] = [(root, False)]
    while pending:
        node, ready = pending.pop()
        if node in done:
            continue
        known = getattr(node, "_facts", None)
        if known is None and not ready:
            pending.append((node, True))
            pending.extend((a, False) for a in node.args if _is_part(a))
            continue
        done[node] = known or _described(node, done)
        if isinstance(node, Node):
            node._facts = done[node]
    return done[root]


def _described(node: Basic, done: dict[Basic, tuple[str, int]]) -> tuple[str, int]:
    name = type(node).__name__
    parts = [done[a][0] if _is_part(a) else _written(a) for a in node.args]
    depth = max((done[a][1] for a in node.args if _is_part(a)), default=0)
    if isinstance(node, (expr.Sum, expr.Product)):
        depth += len(_ranges(node))
    return f"{name} {blake2b(repr((name, parts)).encode(), digest_size=16).hexdigest()}", depth


@lru_cache(maxsize=1 << 14)
def _written(a: Basic) -> str:
    return srepr(a)


def _ranges(node: expr.Sum | expr.Product) -> tuple[Tuple, ...]:
    return node.args[1:] if isinstance(node, expr.Sum) else node.args[1:2]


# --- numbers ----------------------------------------------------------------------------------------------------------


def _content(node: Node) -> tuple[Expr, Node]:
    """`(c, x)` with `node = c x`: of a sum, `c` is the number before its first term."""
    if isinstance(node, expr.Add):
        c = split_number(node.args[0])[0]
        return (c, _divided(node, c)) if c.is_Rational and c != 1 else (ONE, node)
    return split_number(node)


def _divided(node: expr.Add, c: Expr) -> Node:
    return expr.Add(*(scale(1 / c, term) for term in node.args))


def _contents(nodes: Sequence[Node]) -> tuple[Expr, list[Node]]:
    coefficient: Expr = ONE
    bodies = []
    for node in nodes:
        c, body = _content(node)
        coefficient *= c
        bodies.append(body)
    return coefficient, bodies


def _linear(build: Callable[[Node], Node], body: Node) -> Node:
    c, body = _content(body)
    return scale(c, build(body))


# --- the rules: one type each -----------------------------------------------------------------------------------------


def _rebuilt(node: Basic, args: tuple[Any, ...]) -> Basic:
    if args == node.args:
        return node
    return node.build(*args) if isinstance(node, Node) else node.func(*args)


def _in_order(node: Node) -> Node:
    """A sum, or a Hadamard product, with what it is scaled by, sorted."""
    if isinstance(node, expr.Add):
        return expr.Add(*sorted(node.args, key=lambda term: key(split_number(term)[1])))
    if isinstance(node, expr.Had):
        return expr.Had(*sorted(node.args, key=key))
    if isinstance(node, expr.Scale):
        c, body = node.args
        return expr.Scale(_in_order(c) if isinstance(c, Node) else c, _in_order(body))
    return node


def _add(node: Basic, args: tuple[Any, ...]) -> Node:
    return _in_order(add(*args))


def _scale(node: Basic, args: tuple[Any, ...]) -> Node:
    c, body = args
    if isinstance(c, Node):
        number, (c, body) = _contents(args)
        return _in_order(scale(number, scale(c, body)))
    if isinstance(body, expr.Add):
        return _in_order(add(*(scale(c, term) for term in body.args)))
    return scale(c, body)


def _had(node: Basic, args: tuple[Any, ...]) -> Node:
    number, factors = _contents(args)
    return _in_order(scale(number, had(*factors)))


def _power(node: Basic, args: tuple[Any, ...]) -> Node:
    """`(c x y)^k = c^k x^k y^k`."""
    body, exponent = args
    if not exponent.is_Integer:
        return power(body, exponent)
    c, body = _content(body)
    factors = body.args if isinstance(body, expr.Had) else (body,)
    return _in_order(scale(c**exponent, had(*(power(f, exponent) for f in factors))))


def _mul(node: Basic, args: tuple[Any, ...]) -> Node:
    number, factors = _contents(args)
    product = scale(number, mul(*factors))
    if not isinstance(product, expr.Mul):
        return product
    scalars, rest = _segments(product.args)
    if scalars:
        return scale(had(*scalars), mul(*rest)) if rest else had(*scalars)
    merged = _merged(product.args)
    if len(merged) < len(product.args):
        return mul(*merged)
    return _either_way(product) if is_scalar(product) else product


def _segments(factors: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    """The scalars `x.T … y` within a chain, and the factors that are left."""
    cuts = [0, *(n + 1 for n, f in enumerate(factors[:-1]) if f.shape[1] == 1), len(factors)]
    pieces = [factors[a:b] for a, b in pairwise(cuts)]
    scalars = [p for p in pieces if p[0].shape[0] == 1 and p[-1].shape[1] == 1]
    if len(pieces) == 1:
        return [], list(factors)
    return [mul(*p) for p in scalars], [f for p in pieces if p not in scalars for f in p]


def _merged(factors: Sequence[Node]) -> list[Node]:
    """Neighbours made one: `diag(a) x`, `x.T diag(a)`, `diag(a) diag(b)`, ones, and powers of one matrix."""
    kept: list[Node] = []
    for factor in factors:
        one = _one(kept[-1], factor) if kept else None
        if one is None:
            kept.append(factor)
        else:
            kept[-1] = one
    return kept


def _one(left: Node, right: Node) -> Node | None:
    if isinstance(left, expr.Diag) and is_column(right):
        return had(left.args[0], right)
    if isinstance(right, expr.Diag) and left.shape[0] == 1:
        return had(left, transpose(right.args[0]))
    if isinstance(left, expr.Diag) and isinstance(right, expr.Diag):
        return diag(had(left.args[0], right.args[0]))
    if isinstance(left, expr.Ones) and isinstance(right, expr.Ones):
        return scale(left.shape[1], expr.Ones(left.shape[0], right.shape[1]))
    (a, m), (b, n) = (f.args if isinstance(f, expr.MatrixPower) else (f, ONE) for f in (left, right))
    return expr.matrix_power(a, m + n) if a is b else None


def _either_way(product: Node) -> Node:
    """A scalar product, or the same one transposed: what has the smaller key, signs and numbers aside."""
    number, factors = _contents([canonical(transpose(f)) for f in reversed(product.args)])
    turned = mul(*factors)
    return scale(number, turned) if isinstance(turned, expr.Mul) and key(turned) < key(product) else product


def _transpose(node: Basic, args: tuple[Any, ...]) -> Node:
    (body,) = args
    if isinstance(body, (expr.Had, expr.Power)) or (isinstance(body, expr.Apply) and _elementwise(body)):
        return body.build(*(transpose(a) if isinstance(a, Node) else a for a in body.args))
    if isinstance(body, expr.MatrixPower):
        return expr.matrix_power(transpose(body.args[0]), body.args[1])
    if isinstance(body, expr.Cases):
        return expr.Cases(*((transpose(value), condition) for value, condition in body.args))
    return transpose(body)


def _elementwise(node: expr.Apply) -> bool:
    return isinstance(functions.row(node.function), functions.Elementwise)


def _diag(node: Basic, args: tuple[Any, ...]) -> Node:
    return _linear(diag, args[0])


def _inner(node: Basic, args: tuple[Any, ...]) -> Node:
    number, sides = _contents(args)
    return scale(number, expr.inner(*sorted(sides, key=key)))


def _at_rule(node: Basic, args: tuple[Any, ...]) -> Node:
    """`i = j` as `i - j = 0`, each difference with the sign that its first symbol wants."""
    assert isinstance(node, expr.At)
    differences = [i - p for i, p in zip(node.index, node.point, strict=True) if i != p]
    differences = sorted((-d if d.could_extract_minus_sign() else d for d in differences), key=_written)
    return expr.At(differences, [Integer(0)] * len(differences))


def _sum(node: Basic, args: tuple[Any, ...]) -> Node:
    """One sum over all ranges, the outermost first, numbers before it."""
    body, *ranges = args
    if isinstance(body, expr.Zero):
        return body
    indices = {r[0] for r in ranges}
    c, inside = split_number(body)
    if isinstance(inside, expr.Sum):
        return expr.Sum(scale(c, inside.args[0]), *ranges, *inside.args[1:])
    forms = [_renamed(body, order, indices) for order in _orders(ranges)]
    return scale(*min(forms, key=lambda form: key(form[1])))


def _renamed(body: Node, ranges: Sequence[Tuple], indices: set[Symbol]) -> tuple[Expr, Node]:
    """`(c, sum)`, the bound indices of these ranges numbered from the innermost."""
    depth = _facts(body)[1]
    names = {r[0]: bound_index(depth + len(ranges) - n) for n, r in enumerate(ranges)}
    c, body = _content(canonical(at(body, names)))
    outside, inside = c.as_independent(*names.values(), as_Add=False)
    return outside, expr.Sum(scale(inside, body), *(r.xreplace(names) for r in ranges))


def bound_index(number: int) -> Symbol:
    return Symbol(f"_{number}", integer=True)


def _orders(ranges: Sequence[Tuple]) -> Iterator[Sequence[Tuple]]:
    """The orders in which every bound uses only indices that stand to its left."""
    found = False
    if 1 < len(ranges) <= SORTED_RANGES and len({r[0] for r in ranges}) == len(ranges):
        for order in permutations(ranges):
            if not any(later[0] in r.free_symbols for n, r in enumerate(order) for later in order[n + 1 :]):
                found = True
                yield order
    if not found:
        yield ranges


def _product(node: Basic, args: tuple[Any, ...]) -> Node:
    body, range_, descending = args
    name = bound_index(_facts(body)[1] + 1)
    body = canonical(at(body, {range_[0]: name}))
    return expr.Product(body, range_.xreplace({range_[0]: name}), 1 if is_scalar(body) else descending)


def _partial(node: Basic, args: tuple[Any, ...]) -> Node:
    """Of a true scalar it is its gradient as a row."""
    y, x, immediate, held = args
    if is_scalar(y) and not held:
        return canonical(expr.transpose(expr.GradientOf(y, x, immediate)))  # type: ignore[return-value]
    return expr.Partial(y, x, immediate, sorted(held, key=str))


def _pulled(node: Basic, args: tuple[Any, ...]) -> Node:
    y, x, d, immediate = args
    return _linear(lambda body: expr.Pulled(y, x, body, immediate), d)


def _entry(node: Basic, args: tuple[Any, ...]) -> Node:
    body, i, j = args
    if isinstance(body, expr.Transpose):
        return expr.entry(body.args[0], j, i)
    return _linear(lambda inside: expr.entry(inside, i, j), body)


def _norm(node: Basic, args: tuple[Any, ...]) -> Node:
    """`‖c x‖ = |c| ‖x‖`."""
    c, body = _content(args[0])
    return scale(abs(c), expr.Norm(body, args[1])) if c.is_Rational else expr.Norm(*args)


def _block(node: Basic, args: tuple[Any, ...]) -> Node:
    return args[0][0] if len(args) == len(args[0]) == 1 else expr.Block(*args)


_TURNED = {">": "<", ">=": "<="}


def _relation(node: Basic, args: tuple[Any, ...]) -> Basic:
    """`a > b` as `b < a`."""
    op, lhs, rhs = args
    return expr.Relation(_TURNED[op.name], rhs, lhs) if op.name in _TURNED else expr.Relation(op, lhs, rhs)


Rule: TypeAlias = Callable[[Basic, "tuple[Any, ...]"], Basic]

_RULES: dict[type[Basic], Rule] = {
    expr.Add: _add,
    expr.Scale: _scale,
    expr.Had: _had,
    expr.Power: _power,
    expr.Mul: _mul,
    expr.Transpose: _transpose,
    expr.Diag: _diag,
    expr.Diagonal: lambda node, args: _linear(expr.Diagonal.build, args[0]),
    expr.Inner: _inner,
    expr.At: _at_rule,
    expr.Sum: _sum,
    expr.Product: _product,
    expr.Partial: _partial,
    expr.Pulled: _pulled,
    expr.Entry: _entry,
    expr.Norm: _norm,
    expr.Block: _block,
    expr.Labelled: lambda node, args: args[0],
    expr.Relation: _relation,
}
