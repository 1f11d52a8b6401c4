r"""What a factor takes of those that stand behind it in a chain.

A function takes its argument, `\sum` what follows, `\nabla_h` a loss, a name its index in brackets, `\delta` and `d` the
name whose adjoint they write.  `HEADS` lists them in the order in which they are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from derive import expr
from derive.expr import Node, Var, is_scalar
from derive.reader import blocks, continued, derivatives, postfix, references
from derive.reader.big import big_operator
from derive.reader.calls import function, is_group
from derive.reader.names import Part, base_name, decomposed, index_expression, word
from derive.reader.scope import Meaning
from derive.reader.tree import Tree, beside, chain_of
from derive.reader.values import Function, Loss, Number, Reading, Taken, Unit, Value, agree, combined

if TYPE_CHECKING:
    from derive.reader.resolve import Resolver


def _slash_derivative(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> Taken:
    r"""`\partial L / \partial W`, `dL/dW`."""
    if not derivatives.is_d(resolver, factors[n]):
        return None
    slash = next((m for m in range(n + 1, len(factors)) if m - 1 < len(signs) and signs[m - 1] == "/"), None)
    if slash is None or slash - n < 2 or not derivatives.is_d(resolver, factors[slash]) or slash + 1 >= len(factors):
        return None
    over = chain_of(signs, factors, n, slash)
    end = slash + 2
    # h(t) below the slash takes its index along.
    if end < len(factors) and signs[end - 1] == "" and _is_index_call(resolver, factors[slash + 1], factors[end]):
        end += 1
    under = chain_of(signs, factors, slash, end)
    found = derivatives.quotient(resolver, over, under)
    return (found or [], end - n - 1)


def _operator(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> Taken:
    r"""`\frac{\partial}{\partial h} x`, `\nabla_h L`, `\partial_{h} L`."""
    head, after = factors[n], beside(signs, factors, n)
    if head.kind == "frac" and derivatives.is_d(resolver, head.children[0]) and after is not None:
        end = len(factors) if greedy else n + 2
        body = chain_of(signs, factors, n + 1, end)
        over = Tree("chain", ("",), (head.children[0], body), body.span)
        return derivatives.quotient(resolver, over, head.children[1]) or [], end - n - 1
    base = head.children[0] if head.kind == "script" else head
    if not base.names("nabla", "partial") or head.kind != "script":
        return None
    below = next((s.children[0] for s in head.children[1:] if s.kind == "sub"), None)
    if below is None:
        return None
    return derivatives.nabla(resolver, below, after)


def _adjoint(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> Taken:
    r"""`\delta h_t`, `dh_t`, `dW`: the adjoint of the name that follows."""
    head, after = factors[n], beside(signs, factors, n)
    if after is None or not head.names("delta", "d") or resolver.scope.lookup(str(head.value)):
        return None
    spelled = decomposed(after)
    if spelled is None:
        return None
    calls: list[Part] = []
    count = 1
    if n + 2 < len(factors) and signs[n + 1] == "" and _is_index_call(resolver, after, factors[n + 2]):
        calls, count = _callparts_of(factors[n + 2]), 2
    found = []
    for reading in references.reference(resolver, after, calls):
        for value, choices, price in derivatives.d_of(reading.value, head.names("d")):
            together = agree(reading.choices, choices)
            if together is not None:
                found.append(Reading(value, together, reading.cost + price))
    return (found, count) if found else None


def _diagonal(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> Taken:
    head = factors[n]
    after = beside(signs, factors, n)
    if not head.names("diag", "Diag", "diagonal") or after is None or resolver.scope.lookup(str(head.value)):
        return None
    inside = after.children[0] if after.kind == "script" else after
    if inside.kind != "group":
        return combined([resolver.readings(after)], _as_diagonal), 1
    if not inside.children:
        resolver.trouble(after, "diag takes a column vector, and nothing stands here")
        return [], 1
    if any(c.kind == "symbol" for c in inside.children):
        column = continued.column(resolver, inside.children)
        found = combined([column], _as_diagonal)
    elif len(inside.children) > 1:
        stacked = combined([resolver.readings(c) for c in inside.children], _numbers_or_columns)
        found = combined([stacked], _as_diagonal)
    elif head.names("diagonal"):
        found = combined([resolver.readings(inside.children[0])], _diagonal_of)
    else:
        found = combined([resolver.bare(resolver.readings(inside.children[0]))], _as_diagonal)
    if after.kind == "script":
        found = postfix.tail(resolver, found, after.children[1:])
    if not found:
        resolver.trouble(after, "diag takes a column vector")
    return found, 1


def _as_diagonal(value: Value) -> Iterator[Reading]:
    if isinstance(value, expr.Mul) and isinstance(value.args[0], expr.Product) and isinstance(value.args[1], expr.Ones):
        yield Reading(value.args[0])
    elif isinstance(value, Node) and value.shape[1] == 1:
        yield Reading(expr.diag(value))
    elif isinstance(value, Node) and value.shape[0] == 1:
        yield Reading(expr.diag(expr.transpose(value)), (), 2)
    elif isinstance(value, Node) and value.shape[0] == value.shape[1]:
        # diag(A) of a square matrix, as a matrix: its diagonal alone.
        yield Reading(expr.diag(expr.Diagonal.build(value)), (), 4)
    elif isinstance(value, Number):
        yield Reading(Unit(value.value))


def _diagonal_of(value: Value) -> Iterator[Reading]:
    if isinstance(value, Node) and value.shape[0] == value.shape[1]:
        yield Reading(expr.Diagonal.build(value))


def _numbers_or_columns(*values: Value) -> Iterator[Reading]:
    if all(isinstance(v, Number) or (isinstance(v, Node) and v.shape == expr.SCALAR) for v in values):
        cells = [expr.number(v.value) if isinstance(v, Number) else v for v in values]
        yield Reading(expr.Block(*([c] for c in cells)))


def _indicator(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> Taken:
    r"""`\mathbf 1[z > 0]`."""
    head, after = factors[n], beside(signs, factors, n)
    if not (head.names("ones") or head.names("chi")) or after is None or after.kind != "group":
        return None
    if len(after.children) == 1 and after.children[0].kind == "relation":
        return blocks.indicator(resolver, after.children[0]), 1
    return None


def _index_call(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> Taken:
    """`h(t-1)`, `x(i, j)`: an index in brackets."""
    after = beside(signs, factors, n)
    if after is None or not _is_index_call(resolver, factors[n], after):
        return None
    group = after.children[0] if after.kind == "script" else after
    found = references.reference(resolver, factors[n], _callparts_of(group))
    if not found:
        return None
    return (postfix.tail(resolver, found, after.children[1:]) if after.kind == "script" else found), 1


def _is_index_call(resolver: Resolver, name: Tree, group: Tree) -> bool:
    inside = group.children[0] if group.kind == "script" else group
    if inside.kind != "group" or inside.value not in ("(", "[") or len(inside.children) != len(resolver.scope.lattice):
        return False
    spelled = decomposed(name)
    if spelled is None or any(index_expression(c, resolver.scope.letters) is None for c in inside.children):
        return False
    letters = {t.value for c in inside.children for t in c.walk() if t.kind == "name"}
    known = any(x in resolver.scope.names for x in letters)
    readings = references.reference(resolver, name, _callparts_of(inside))
    bare = base_name(name)
    is_loss = bare is not None and resolver.scope.is_loss(bare)
    return bool(readings) and not known and (is_loss or any(_indexed(r.value) for r in readings))


def _indexed(value: Value) -> bool:
    if isinstance(value, Loss):
        return bool(value.index)
    nodes = expr.variables(value) if isinstance(value, Node) else ()
    return any(v.index for v in nodes)


def _callparts_of(group: Tree) -> list[Part]:
    return [Part("call", child, True) for child in group.children]


EXTREMA = {"max": "max", "sup": "max", "min": "min", "inf": "min"}


def _extremum(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> Taken:
    r"""`\max_z \sigma'(z)`, `\max \sigma'`: over all numbers; of several arguments `max` is a function."""
    head, after = factors[n], beside(signs, factors, n)
    base, *scripts = head.children if head.kind == "script" else (head,)
    kind = EXTREMA.get(word(base))
    if kind is None or after is None or resolver.scope.lookup(word(base)) is not None or len(scripts) > 1:
        return None
    if not scripts:
        if is_group(after):
            return None
        functions = [r for r in resolver.readings(after) if isinstance(r.value, Function)]
        over, bodies = Var("u", (), (), *expr.SCALAR), resolver.bare(functions)
        taken = 1
    else:
        letter = word(scripts[0].children[0]) if scripts[0].kind == "sub" else ""
        if not letter or resolver.scope.lookup(letter) is not None:
            return None
        over = Var(letter, (), (), *expr.SCALAR)
        inner = resolver.inside(resolver.scope.with_names({letter: Meaning(over, False)}))
        taken = len(factors) - n - 1 if greedy else 1
        bodies = inner.bare(inner.readings(chain_of(signs, factors, n + 1, n + 1 + taken)))
    made = ((r, r.value) for r in bodies)
    extrema = [
        Reading(expr.Extremum(kind, v, over), (), r.cost) for r, v in made if isinstance(v, Node) and is_scalar(v)
    ]
    return (extrema, taken) if extrema else None


HEADS: tuple[Callable[..., Taken], ...] = (
    big_operator,
    _slash_derivative,
    _operator,
    _extremum,
    _diagonal,
    _indicator,
    _index_call,
    _adjoint,
    function,
)
