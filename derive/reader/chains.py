r"""Chains of factors: what a factor takes of those behind it, before products are formed.

A function takes its argument, `\sum` what follows, `\nabla_h` a loss, a name its index in brackets, `\delta` and `d` the
name whose adjoint they write.  `HEADS` lists them in the order in which they are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from sympy import Expr, Integer, Symbol

from derive import expr
from derive.errors import ShapeError
from derive.expr import Node, Var
from derive.reader import continued, derivatives, ranges
from derive.reader.names import Part, base_name, decomposed, index_expression, spellings
from derive.reader.products import chain as form_products
from derive.reader.ranges import Range
from derive.reader.tree import Tree
from derive.reader.values import Cube, Function, Loss, Number, Reading, Unit, Value, agree, choice, combined, pruned

if True:  # the class is only needed for its type
    from typing import TYPE_CHECKING

    if TYPE_CHECKING:
        from derive.reader.resolve import Resolver

Taken: TypeAlias = "tuple[list[Reading], int] | None"
"""The readings of a head with what it took, and how many factors it took after itself."""


def read_chain(resolver: Resolver, signs: list[str], factors: list[Tree], tree: Tree) -> list[Reading]:
    """Every reading of a flat chain."""
    signs, factors = joined(resolver, signs, factors)
    if any(f.kind == "symbol" and f.value == "dots" for f in factors) and not _sum_before_dots(factors):
        return continued.product_(resolver, signs, factors, tree)
    variants = list(grouped(resolver, signs, factors))
    found: list[Reading] = []
    for price, (outer, parts) in enumerate(variants):
        if all(parts):
            made = form_products(outer, [_settled(resolver, p) for p in parts])
            found.extend(Reading(r.value, r.choices, r.cost + 2 * price) for r in made)
    return pruned(found)


def _sum_before_dots(factors: Sequence[Tree]) -> bool:
    """Whether a sum takes what the dots continue."""
    for factor in factors:
        head = factor.children[0] if factor.kind == "script" else factor
        if head.names("sum"):
            return True
        if factor.kind == "symbol" and factor.value == "dots":
            return False
    return False


def _settled(resolver: Resolver, readings: list[Reading]) -> list[Reading]:
    return resolver.bare([Reading(resolver.losses(r.value), r.choices, r.cost) for r in readings])


def joined(resolver: Resolver, signs: list[str], factors: list[Tree]) -> tuple[list[str], list[Tree]]:
    """Letters that together spell a known name or function are one name: `tanh(`, `Whh`."""
    out_signs: list[str] = []
    out: list[Tree] = []
    n = 0
    while n < len(factors):
        if n:
            out_signs.append(signs[n - 1])
        length = _word_length(resolver, signs, factors, n)
        if length > 1:
            out.append(_joined_name(factors[n : n + length]))
        else:
            out.append(factors[n])
        n += length
    return out_signs, out


def _word_length(resolver: Resolver, signs: Sequence[str], factors: Sequence[Tree], start: int) -> int:
    letters = ""
    best = 1
    for n in range(start, min(len(factors), start + 12)):
        if n > start and signs[n - 1] != "":
            break
        head = factors[n].children[0] if factors[n].kind == "script" else factors[n]
        if head.kind != "name" or not str(head.value).isalpha() or (len(head.value) > 1 and n == start):
            break
        letters += head.value
        if n > start and (
            letters in resolver.scope.names
            or _function_word(resolver, letters)
            or _scripted_word(resolver, letters, factors[n])
        ):
            best = n - start + 1
        if factors[n].kind == "script":
            break
    return best


def _scripted_word(resolver: Resolver, letters: str, last: Tree) -> bool:
    """`dh_{next}` where the document has defined it."""
    if last.kind != "script":
        return False
    spelled = decomposed(Tree("script", None, (Tree("name", letters), *last.children[1:]), last.span))
    return spelled is not None and any(
        s.name in resolver.scope.names for s in spellings(*spelled, resolver.scope.letters) if s.name != letters
    )


def _function_word(resolver: Resolver, word: str) -> bool:
    from derive.reader.scope import WORDS_OF_FUNCTIONS

    return (word in WORDS_OF_FUNCTIONS and len(word) > 2) or word in ("diag", "Diag", "max", "min", "exp", "log", "ln")


def _joined_name(trees: Sequence[Tree]) -> Tree:
    last = trees[-1]
    heads = [t.children[0] if t.kind == "script" else t for t in trees]
    name = Tree("name", "".join(str(h.value) for h in heads), (), (heads[0].span[0], heads[-1].span[1]))
    if last.kind == "script":
        return Tree("script", last.value, (name, *last.children[1:]), (name.span[0], last.span[1]))
    return name


def grouped(
    resolver: Resolver, signs: list[str], factors: list[Tree]
) -> Iterator[tuple[list[str], list[list[Reading]]]]:
    """The chain with every head's arguments taken: once with the most that each takes, once with the least."""
    seen: set[tuple[int, ...]] = set()
    for greedy in (True, False):
        outer: list[str] = []
        parts: list[list[Reading]] = []
        took: list[int] = []
        n = 0
        while n < len(factors):
            if n:
                outer.append(signs[n - 1])
            readings, count = take(resolver, signs, factors, n, greedy)
            parts.append(readings)
            took.append(count)
            n += count + 1
            if not readings:
                break
        if tuple(took) not in seen:
            seen.add(tuple(took))
            if all(parts) and len(outer) == len(parts) - 1:
                yield outer, parts


def take(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> tuple[list[Reading], int]:
    for head in HEADS:
        taken = head(resolver, signs, factors, n, greedy)
        if taken is not None:
            return taken
    return resolver.readings(factors[n]), 0


# --- heads ------------------------------------------------------------------------------------------------------------


def _next(signs: Sequence[str], factors: Sequence[Tree], n: int, sign: str = "") -> Tree | None:
    return factors[n + 1] if n + 1 < len(factors) and signs[n] == sign else None


def _rest(signs: Sequence[str], factors: Sequence[Tree], start: int, stop: int | None = None) -> Tree:
    kept = factors[start:stop]
    if len(kept) == 1:
        return kept[0]
    return Tree("chain", tuple(signs[start : start + len(kept) - 1]), tuple(kept), (kept[0].span[0], kept[-1].span[1]))


def _big(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> Taken:
    head = factors[n].children[0] if factors[n].kind == "script" else factors[n]
    if not head.names("sum", "prod") or n + 1 >= len(factors):
        return None
    found = ranges.written(factors[n], resolver.scope, ordered=head.names("prod"))
    if found is None:
        resolver.trouble(factors[n], "the range of this sum is not understood; write it like \\sum_{t=1}^{T}")
        return [], 0
    if head.names("sum"):
        body = _rest(signs, factors, n + 1)
        return summed(resolver, found, body), len(factors) - n - 1
    return _product(resolver, found, signs, factors, n, greedy)


def bound(resolver: Resolver, found: Sequence[Range]) -> Resolver:
    """The same scope where a name that is bound here is an index in scripts."""
    from derive.reader.resolve import Resolver as Fresh

    hidden = {str(r.index) for r in found}
    if not hidden & set(resolver.scope.names):
        return resolver
    inner = Fresh(resolver.scope)
    inner.troubles, inner.indices = resolver.troubles, resolver.indices
    inner.bound = resolver.bound | hidden
    return inner


def summed(resolver: Resolver, found: Sequence[Range], body: Tree) -> list[Reading]:
    inner = bound(resolver, found)

    def make(value: Value) -> Iterator[Reading]:
        value = resolver.losses(value)
        yield from over_range(resolver, value, found)

    return combined([inner.bare(inner.readings(body))], make)


def over_range(resolver: Resolver, value: Value, found: Sequence[Range]) -> Iterator[Reading]:
    if isinstance(value, Number):
        from sympy import Sum as NumberSum

        if all(r.lo is not None and r.hi is not None for r in found):
            value = Number(NumberSum(value.value, *((r.index, r.lo, r.hi) for r in found)))
            yield Reading(value)
        return
    if isinstance(value, Cube):
        limits = [_limits(resolver, value.pull(Var("v", (), (), value.rows, Integer(1))), r) for r in found]
        if all(limits):
            yield Reading(Cube(lambda d: expr.Sum.build(value.pull(d), *limits), value.rows, value.transposed))
        return
    if isinstance(value, Node):
        limits = [_limits(resolver, value, r) for r in found]
        if all(limits):
            yield Reading(expr.Sum.build(value, *limits))


def _limits(resolver: Resolver, body: Node, r: Range) -> tuple[Symbol, Expr, Expr] | None:
    """Both ends: a sum over entries runs over the dimension, any other along the lattice."""
    if r.lo is not None and r.hi is not None:
        return r.index, r.lo, r.hi
    size = entry_size(body, r.index)
    whole = (Integer(1), size) if size is not None else ranges.wait_for(r.index, resolver.scope)
    if whole is None:
        return None
    return r.index, r.lo if r.lo is not None else whole[0], r.hi if r.hi is not None else whole[1]


def entry_size(body: Node, index: Symbol) -> Expr | None:
    for node in expr.walk(body):
        if isinstance(node, expr.Entry):
            for position, size in zip(node.args[1:3], node.args[0].shape, strict=True):
                if index in position.free_symbols:
                    return size
    return None


def _product(
    resolver: Resolver, found: Sequence[Range], signs: list[str], factors: list[Tree], n: int, greedy: bool
) -> tuple[list[Reading], int]:
    """The factors that the product is over: as far as they are square and speak of the index, or of no other one."""
    inner = bound(resolver, found)
    longest = _scope_of_product(inner, found, signs, factors, n + 1)
    ends = range(longest, n + 1, -1) if greedy else range(n + 2, longest + 1)
    for end in ends:
        body = _rest(signs, factors, n + 1, end)
        made = multiplied(resolver, found, inner.bare(inner.readings(body)))
        if made:
            return made, end - n - 1
    return [], 0


def _scope_of_product(
    resolver: Resolver, found: Sequence[Range], signs: Sequence[str], factors: Sequence[Tree], start: int
) -> int:
    own = {str(r.index) for r in found}
    end = start
    for n in range(start, len(factors)):
        letters = {t.value for t in factors[n].walk() if t.kind == "name"}
        head = factors[n].children[0] if factors[n].kind == "script" else factors[n]
        if n > start and head.names("sum", "prod"):
            break
        others = {x for x in letters if x in (*resolver.scope.letters, "k", "m", "s", "j", "i", "tau", "l", "T")}
        if n > start and not letters & own and (others - own) and _has_index(factors[n]):
            break
        end = n + 1
    return max(end, start + 1)


def _has_index(tree: Tree) -> bool:
    return any(t.kind == "script" or t.kind == "group" for t in tree.walk())


def multiplied(resolver: Resolver, found: Sequence[Range], bodies: list[Reading]) -> list[Reading]:
    made: list[Reading] = []
    if len(found) != 1:
        return []
    r = found[0]
    for reading in bodies:
        value, price, choices = reading.value, reading.cost, reading.choices
        if isinstance(value, Node) and value.shape[1] == 1 and value.shape[0] != 1:
            # A Hadamard product of columns over an index: that of their diagonal matrices, times ones.
            limits = _limits(resolver, value, r)
            if limits is not None and not any(f.shape[1] != 1 for f in expr.variables(value) if f.marks):
                ordered = expr.Product(expr.diag(value), limits, 1)
                made.append(Reading(expr.mul(ordered, expr.Ones(*value.shape)), choices, price + 5))
            continue
        if isinstance(value, Unit) or not isinstance(value, Node) or value.shape[0] != value.shape[1]:
            continue
        limits = _limits(resolver, value, r)
        if limits is None:
            continue
        if value.shape == expr.SCALAR or r.reversed_:
            made.append(Reading(expr.Product(value, limits, 1), choices, price))
            continue
        for order, cost in (("descending", 0), ("ascending", 1)):
            both = agree(choices, choice("order", order))
            if both is not None:
                made.append(Reading(expr.Product(value, limits, order == "descending"), both, price + cost))
    return resolver.allowed(made)


def _slash_derivative(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> Taken:
    r"""`\partial L / \partial W`, `dL/dW`."""
    if not derivatives.is_d(resolver, factors[n]):
        return None
    slash = next((m for m in range(n + 1, len(factors)) if m - 1 < len(signs) and signs[m - 1] == "/"), None)
    if slash is None or slash - n < 2 or not derivatives.is_d(resolver, factors[slash]) or slash + 1 >= len(factors):
        return None
    over = _rest(signs, factors, n, slash)
    end = slash + 2
    # h(t) below the slash takes its index along.
    if end < len(factors) and signs[end - 1] == "" and _is_index_call(resolver, factors[slash + 1], factors[end]):
        end += 1
    under = _rest(signs, factors, slash, end)
    found = derivatives.quotient(resolver, over, under)
    return (found or [], end - n - 1)


def _operator(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> Taken:
    r"""`\frac{\partial}{\partial h} x`, `\nabla_h L`, `\partial_{h} L`."""
    head, after = factors[n], _next(signs, factors, n)
    if head.kind == "frac" and derivatives.is_d(resolver, head.children[0]) and after is not None:
        end = len(factors) if greedy else n + 2
        body = _rest(signs, factors, n + 1, end)
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
    head, after = factors[n], _next(signs, factors, n)
    if after is None or not head.names("delta", "d") or resolver.scope.lookup(str(head.value)):
        return None
    spelled = decomposed(after)
    if spelled is None:
        return None
    calls: list[Part] = []
    count = 1
    if n + 2 < len(factors) and signs[n + 1] == "" and _is_index_call(resolver, after, factors[n + 2]):
        calls, count = _call_parts(factors[n + 2]), 2
    found = []
    for reading in resolver.reference(after, calls):
        for value in derivatives.adjoints(reading.value):
            found.append(Reading(value, reading.choices, reading.cost))
    return (found, count) if found else None


def _diagonal(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> Taken:
    head = factors[n]
    after = _next(signs, factors, n)
    if not head.names("diag", "Diag", "diagonal") or after is None or resolver.scope.lookup(str(head.value)):
        return None
    inside = after.children[0] if after.kind == "script" else after
    if inside.kind != "group":
        return combined([resolver.readings(after)], _as_diagonal), 1
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
        found = resolver.tail(found, after.children[1:])
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
        yield Reading(Unit()) if value.value == 1 else Reading(value)


def _diagonal_of(value: Value) -> Iterator[Reading]:
    if isinstance(value, Node) and value.shape[0] == value.shape[1]:
        yield Reading(expr.Diagonal.build(value))


def _numbers_or_columns(*values: Value) -> Iterator[Reading]:
    if all(isinstance(v, Number) or (isinstance(v, Node) and v.shape == expr.SCALAR) for v in values):
        cells = [expr.number(v.value) if isinstance(v, Number) else v for v in values]
        yield Reading(expr.Block(*([c] for c in cells)))


def _function(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> Taken:
    head = factors[n]
    found = resolver.function_head(head)
    if found is None and head.names("cosh", "sinh", "sech") or _hyperbolic(head):
        return _from_tanh(resolver, signs, factors, n)
    if found is None:
        return None
    function, power = found
    after = _next(signs, factors, n)
    if after is None:
        return None
    if function.name in resolver.scope.functions and not _is_group(after):
        return None
    if _is_group(after) and not greedy and _speaks_of_functions(resolver, after):
        return None
    if _is_group(after):
        group = after.children[0] if after.kind == "script" else after
        call = resolver.function_call(function, power, [_arguments(resolver, c) for c in group.children])
        return (resolver.tail(call, after.children[1:]) if after.kind == "script" else call), 1
    end = n + 2
    while greedy and end < len(factors) and signs[end - 1] == "" and not resolver.function_head(factors[end]):
        end += 1
    argument = _rest(signs, factors, n + 1, end)
    return resolver.function_call(function, power, [_arguments(resolver, argument)]), end - n - 1


def _speaks_of_functions(resolver: Resolver, tree: Tree) -> bool:
    """Whether a function stands in it without an argument: σ(1 - σ) is a product."""
    return any("function" in r.chosen() for r in resolver.readings(tree))


def _arguments(resolver: Resolver, tree: Tree) -> list[Reading]:
    return resolver.bare(resolver.readings(tree))


def _is_group(tree: Tree) -> bool:
    inside = tree.children[0] if tree.kind == "script" else tree
    return inside.kind == "group" and str(inside.value)[:1] in ("(", "[", "\\")


def _hyperbolic(tree: Tree) -> bool:
    return tree.kind == "script" and tree.children[0].names("cosh", "sinh", "sech")


def _from_tanh(resolver: Resolver, signs: list[str], factors: list[Tree], n: int) -> Taken:
    r"""`\mathrm{sech}^2 x = 1 - \tanh^2 x`, `\cosh x`, `\sinh x` by exponentials."""
    head = factors[n]
    name = str((head.children[0] if head.kind == "script" else head).value)
    after = _next(signs, factors, n)
    if after is None:
        return None
    inside = after if not _is_group(after) or after.kind == "script" else after.children[0]
    power = Integer(1)
    if head.kind == "script":
        found = (
            index_expression(head.children[1].children[0], resolver.scope.letters)
            if head.children[1].children
            else None
        )
        if found is None:
            return None
        power = found  # type: ignore[assignment]

    def make(value: Value) -> Iterator[Reading]:
        if not isinstance(value, Node):
            return
        if name == "sech":
            if power == 2:
                yield Reading(expr.add(expr.Ones(*value.shape), -expr.power(expr.apply("tanh", value), 2)))
            else:
                grown = expr.apply("exp", value) + expr.apply("exp", -value)
                yield Reading(expr.power(expr.scale(2, expr.power(grown, -1)), power))
            return
        sign = 1 if name == "cosh" else -1
        both = expr.add(expr.apply("exp", value), expr.scale(sign, expr.apply("exp", expr.scale(-1, value))))
        yield Reading(expr.power(expr.scale(Integer(1) / 2, both), power))

    return combined([_arguments(resolver, inside)], make), 1


def _indicator(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> Taken:
    r"""`\mathbf 1[z > 0]`."""
    head, after = factors[n], _next(signs, factors, n)
    if not (head.names("ones") or head.names("chi")) or after is None or after.kind != "group":
        return None
    if len(after.children) == 1 and after.children[0].kind == "relation":
        return resolver.indicator(after.children[0]), 1
    return None


def _index_call(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> Taken:
    """`h(t-1)`, `x(i, j)`: an index in brackets."""
    after = _next(signs, factors, n)
    if after is None or not _is_index_call(resolver, factors[n], after):
        return None
    group = after.children[0] if after.kind == "script" else after
    found = resolver.reference(factors[n], _call_parts(group))
    if not found:
        return None
    return (resolver.tail(found, after.children[1:]) if after.kind == "script" else found), 1


def _is_index_call(resolver: Resolver, name: Tree, group: Tree) -> bool:
    inside = group.children[0] if group.kind == "script" else group
    if inside.kind != "group" or inside.value not in ("(", "[") or len(inside.children) != len(resolver.scope.lattice):
        return False
    spelled = decomposed(name)
    if spelled is None or any(index_expression(c, resolver.scope.letters) is None for c in inside.children):
        return False
    letters = {t.value for c in inside.children for t in c.walk() if t.kind == "name"}
    known = any(x in resolver.scope.names for x in letters)
    readings = resolver.reference(name, _call_parts(inside))
    bare = base_name(name)
    is_loss = bare is not None and resolver.scope.is_loss(bare)
    return bool(readings) and not known and (is_loss or any(_indexed(r.value) for r in readings))


def _indexed(value: Value) -> bool:
    if isinstance(value, Loss):
        return bool(value.index)
    nodes = expr.variables(value) if isinstance(value, Node) else ()
    return any(v.index for v in nodes)


def _call_parts(group: Tree) -> list[Part]:
    return [Part("call", child, True) for child in group.children]


HEADS: tuple[Callable[..., Taken], ...] = (
    _big,
    _slash_derivative,
    _operator,
    _diagonal,
    _indicator,
    _index_call,
    _adjoint,
    _function,
)

__all__ = ["Function", "ShapeError", "joined", "read_chain"]
