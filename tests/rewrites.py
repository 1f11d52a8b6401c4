"""True lines written in other ways: laws of algebra, applied at random places of either side.

    rewrite(claim, random)   another equation that is as true, and the laws that made it, in order
    LAWS                     the laws at one place: a name, and what may stand there instead
    EQUATION_LAWS            those of a whole equation: sides exchanged, both transposed, a term moved

A law is a function from a place to nodes of the same value there.  It builds with the bare classes (`Mul(a, b)`, not
`a @ b`), since the constructors of `derive.expr` would undo most of what stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from random import Random

from places import Place, moved, places
from sympy import Expr, Integer, Rational, Symbol

from derive import expr
from derive.check import Claim
from derive.expr import (
    ONE,
    Add,
    Diag,
    Equals,
    Had,
    Identity,
    Mul,
    Node,
    Ones,
    Product,
    Scale,
    Sum,
    Transpose,
    Var,
    is_column,
    is_scalar,
)
from derive.system import Equation

MOST = 4
"""So many laws are applied in a row."""


@dataclass(frozen=True)
class Law:
    """`weight`: one that applies anywhere comes before one that seldom does only so often."""

    name: str
    made: Callable[[Place], Iterator[Node]]
    weight: float = 5.0


@dataclass(frozen=True)
class Rewrite:
    """A claim's equation, written in another way."""

    claim: Claim
    equation: Equals
    laws: tuple[str, ...]

    def __str__(self) -> str:
        made = ", ".join(self.laws)
        return f"{self.claim.system.name}, {made}:\n  {self.equation}\nfor\n  {self.claim.equation}"


def rewrite(claim: Claim, random: Random, steps: int | None = None) -> Rewrite:
    """One to four laws in a row, or so many as `steps` says."""
    equation, names = claim.equation, []
    for _ in range(steps or random.randint(1, MOST)):
        equation, name = _step(claim, equation, random)
        names.append(name)
    return Rewrite(claim, equation, tuple(names))


def _step(claim: Claim, equation: Equals, random: Random) -> tuple[Equals, str]:
    """The first law of a random order that applies anywhere; `x = x + y - y` always does."""
    for law in sorted(LAWS, key=lambda law: random.random() ** (1 / law.weight), reverse=True):
        if isinstance(law, EquationLaw):
            return random.choice(list(law.made(equation))), law.name
        found = list(places(claim, equation))
        for place in random.sample(found, len(found)):
            if made := list(law.made(place)):
                return place.put(random.choice(made), simplify=False), law.name
    raise AssertionError(f"no law applies to {equation}")


# --- sums and products of terms ---------------------------------------------------------------------------------------


def commuted(place: Place) -> Iterator[Node]:
    if isinstance(place.node, (Add, Had)) and len(place.node.args) > 1:
        first, *rest = place.node.args
        yield from (place.node.func(*rest, first), place.node.func(*reversed(place.node.args)))


def grouped(place: Place) -> Iterator[Node]:
    """Brackets around two neighbours."""
    node = place.node
    if isinstance(node, (Add, Had, Mul)):
        for k in range(len(node.args) - 1 if len(node.args) > 2 else 0):
            yield node.func(*node.args[:k], node.func(*node.args[k : k + 2]), *node.args[k + 2 :])


def ungrouped(place: Place) -> Iterator[Node]:
    node = place.node
    if isinstance(node, (Add, Had, Mul)):
        for k, inner in enumerate(node.args):
            if isinstance(inner, node.func):
                yield node.func(*node.args[:k], *inner.args, *node.args[k + 1 :])


def distributed(place: Place) -> Iterator[Node]:
    """`a (b + c) = a b + a c`, for both products, numbers and diag."""
    node = place.node
    if isinstance(node, (Mul, Had, Scale, Diag)):
        for k, inner in enumerate(node.args):
            if isinstance(inner, Add):
                yield Add(*(_with(node, k, term) for term in inner.args))


def _with(node: Node, k: int, new: Node) -> Node:
    """`node` with another argument at `k`."""
    args = (*node.args[:k], new, *node.args[k + 1 :])
    return _times(*args) if isinstance(node, Scale) else node.func(*args)


def factored(place: Place) -> Iterator[Node]:
    """`a b + a c = a (b + c)`: the first or the last factor of two matrix products, any of two Hadamard products."""
    if isinstance(place.node, Add):
        for i, j in combinations(range(len(place.node.args)), 2):
            rest = [t for n, t in enumerate(place.node.args) if n not in (i, j)]
            for shared in _shared(place.node.args[i], place.node.args[j]):
                yield Add(shared, *rest) if rest else shared


def _shared(a: Node, b: Node) -> Iterator[Node]:
    if isinstance(a, Mul) and isinstance(b, Mul) and min(len(a.args), len(b.args)) > 1:
        if a.args[0] == b.args[0]:
            yield Mul(a.args[0], Add(_many(Mul, *a.args[1:]), _many(Mul, *b.args[1:])))
        if a.args[-1] == b.args[-1]:
            yield Mul(Add(_many(Mul, *a.args[:-1]), _many(Mul, *b.args[:-1])), a.args[-1])
    if isinstance(a, Had) and isinstance(b, Had):
        for factor in a.args:
            if factor in b.args:
                yield Had(factor, Add(_without(a, factor), _without(b, factor)))


def _many(operation: type[Node], *args: Node) -> Node:
    """A product of one factor is that factor."""
    return args[0] if len(args) == 1 else operation(*args)


def _without(product: Node, factor: Node) -> Node:
    k = product.args.index(factor)
    return _many(Had, *product.args[:k], *product.args[k + 1 :], Ones(*product.shape))


def cancelled(place: Place) -> Iterator[Node]:
    """`x = x + y - y`, where `y` is a parameter or `x` itself."""
    x, system = place.node, place.claim.system
    for y in (x, *(v.var for v in system.parameters if v.shape == x.shape)):
        yield Add(x, y, _times(Integer(-1), y))


def complemented(place: Place) -> Iterator[Node]:
    """`x = 1 - (1 - x)`."""
    yield _minus(_minus(place.node))


def _minus(x: Node) -> Node:
    return Add(Ones(*x.shape), _times(Integer(-1), x))


# --- numbers and scalars ----------------------------------------------------------------------------------------------


def scaled_and_back(place: Place) -> Iterator[Node]:
    """`x = (1/c) ⊙ (c x)`."""
    for c in (Integer(-1), Integer(2), Rational(1, 3)):
        yield Had(Scale(1 / c, Ones(*place.node.shape)), _times(c, place.node))


def _times(c: Expr, x: Node) -> Node:
    """A number times a number is one: the constructors of `derive.expr` rely on it."""
    factor, body = expr.split_number(x) if not isinstance(c, Node) else (ONE, x)
    return Scale(c * factor, body)


def scalar_inwards(place: Place) -> Iterator[Node]:
    """`c (A B) = (c A) B = A (c B)`, for both products and transposes."""
    if isinstance(place.node, Scale):
        c, body = place.node.args
        if isinstance(body, (Mul, Had)):
            for k, factor in enumerate(body.args):
                yield _with(body, k, _times(c, factor))
        if isinstance(body, Transpose):
            yield Transpose(_times(c, body.args[0]))


def scalar_outwards(place: Place) -> Iterator[Node]:
    if isinstance(place.node, (Mul, Had)):
        for k, factor in enumerate(place.node.args):
            if isinstance(factor, Scale):
                c, body = factor.args
                yield _times(c, _with(place.node, k, body))


def power_as_product(place: Place) -> Iterator[Node]:
    """`h² = h ⊙ h`."""
    if isinstance(place.node, expr.Power) and place.node.args[1] == 2:
        yield Had(place.node.args[0], place.node.args[0])


def product_as_power(place: Place) -> Iterator[Node]:
    if isinstance(place.node, Had) and len(place.node.args) == 2 and place.node.args[0] == place.node.args[1]:
        yield expr.Power(place.node.args[0], Integer(2))


# --- diagonals --------------------------------------------------------------------------------------------------------


def diag_apart(place: Place) -> Iterator[Node]:
    """`diag(a * b) = diag(a) diag(b)`."""
    if isinstance(place.node, Diag) and isinstance(place.node.args[0], Had):
        factors = place.node.args[0].args
        for k in range(1, len(factors)):
            yield Mul(Diag(_many(Had, *factors[:k])), Diag(_many(Had, *factors[k:])))


def diag_together(place: Place) -> Iterator[Node]:
    node = place.node
    if isinstance(node, Mul):
        for k, (a, b) in enumerate(zip(node.args, node.args[1:], strict=False)):
            if isinstance(a, Diag) and isinstance(b, Diag):
                yield _many(Mul, *node.args[:k], Diag(Had(a.args[0], b.args[0])), *node.args[k + 2 :])
                yield _many(Mul, *node.args[:k], b, a, *node.args[k + 2 :])


def diag_of_column(place: Place) -> Iterator[Node]:
    """`a * x = diag(a) x`."""
    if isinstance(place.node, Had) and is_column(place.node) and not is_scalar(place.node):
        for k in range(1, len(place.node.args)):
            yield Mul(Diag(_many(Had, *place.node.args[:k])), _many(Had, *place.node.args[k:]))


def column_of_diag(place: Place) -> Iterator[Node]:
    """`diag(a) x = a * x`, and `diag(a) W = (a 1') * W` of a matrix."""
    node = place.node
    if isinstance(node, Mul) and isinstance(node.args[0], Diag) and len(node.args) > 1:
        (a,), x = node.args[0].args, _many(Mul, *node.args[1:])
        yield Had(a, x) if is_column(x) else Had(Mul(a, Ones(ONE, x.shape[1])), x)


def diag_as_identity(place: Place) -> Iterator[Node]:
    """`diag(a) = I * (a 1')`."""
    if isinstance(place.node, Diag):
        a = place.node.args[0]
        yield Had(Identity(a.shape[0]), Mul(a, Ones(ONE, a.shape[0])))


def identity_put_in(place: Place) -> Iterator[Node]:
    x = place.node
    if not is_scalar(x):
        yield from (Mul(Identity(n), x) for n in x.shape[:1] if n != 1)
        yield from (Mul(x, Identity(n)) for n in x.shape[1:] if n != 1)


# --- transposes -------------------------------------------------------------------------------------------------------


def transpose_inwards(place: Place) -> Iterator[Node]:
    """`(A B)' = B' A'`, and so on: one level."""
    if isinstance(place.node, Transpose):
        body = place.node.args[0]
        if isinstance(body, Mul):
            yield _many(Mul, *map(Transpose, reversed(body.args)))
        if isinstance(body, (Add, Had)):
            yield body.func(*map(Transpose, body.args))
        if isinstance(body, Sum):
            yield Sum(Transpose(body.args[0]), *body.args[1:])
        if isinstance(body, Product):
            yield Product(Transpose(body.args[0]), body.args[1], not body.descending)
        if isinstance(body, (Transpose, Diag, Identity)):
            yield body.args[0] if isinstance(body, Transpose) else body


def transpose_outwards(place: Place) -> Iterator[Node]:
    """`x = x''`, the inner one pushed down as far as it goes, or left where it is."""
    yield from (Transpose(expr.transpose(place.node)), Transpose(Transpose(place.node)))


def scalar_transposed(place: Place) -> Iterator[Node]:
    if is_scalar(place.node):
        yield Transpose(place.node)


def inner_product(place: Place) -> Iterator[Node]:
    """`a' b = <a, b> = b' a`."""
    node = place.node
    if isinstance(node, Mul) and len(node.args) == 2 and is_scalar(node) and is_column(node.args[1]):
        a, b = expr.transpose(node.args[0]), node.args[1]
        yield from (expr.Inner(a, b), Mul(Transpose(b), a))


# --- sums and ordered products over an index --------------------------------------------------------------------------


def index_renamed(place: Place) -> Iterator[Node]:
    system = place.claim.system
    taken = place.node.free_symbols | place.bound | {*system.lattice.indices}
    letters = {str(s) for s in (*taken, *system.dimensions)}
    for k, (index, lo, hi) in _ranges(place.node):
        for new in (Symbol(letter, integer=True) for letter in "sjkqu" if letter not in letters):
            yield _with_range(place.node, k, (new, lo, hi), {index: new})


def range_shifted(place: Place) -> Iterator[Node]:
    for k, (index, lo, hi) in _ranges(place.node):
        yield from (_with_range(place.node, k, (index, lo - d, hi - d), {index: index + d}) for d in (-1, 1, 2))


def sum_reversed(place: Place) -> Iterator[Node]:
    """`Σ f(t) = Σ f(lo + hi - t)`."""
    if isinstance(place.node, Sum):
        for k, (index, lo, hi) in _ranges(place.node):
            yield _with_range(place.node, k, (index, lo, hi), {index: lo + hi - index})


def _ranges(node: Node) -> Iterator[tuple[int, tuple[Symbol, Symbol, Symbol]]]:
    """The innermost range, whose index stands in the body only, if nothing in there binds the same letter."""
    if isinstance(node, (Sum, Product)):
        k = len(node.args) - 1 if isinstance(node, Sum) else 1
        index = node.args[k][0]
        if all(index != r[0] for inner in expr.walk(node.args[0]) for _, r in _bound_in(inner)):
            yield k, tuple(node.args[k])


def _bound_in(node: Node) -> list[tuple[int, tuple[Symbol, ...]]]:
    if isinstance(node, Sum):
        return [(k, tuple(r)) for k, r in enumerate(node.args) if k]
    return [(1, tuple(node.args[1]))] if isinstance(node, Product) else []


def _with_range(node: Node, k: int, range_: tuple[Symbol, ...], moves: dict[Symbol, Symbol]) -> Node:
    return node.func(moved(node.args[0], moves), *node.args[1:k], range_, *node.args[k + 1 :])


def end_taken_out(place: Place) -> Iterator[Node]:
    """The first or the last term of a sum that has one, the outer factor of a product that has one."""
    node = place.node
    for k, (index, lo, hi) in _ranges(node):
        first, last = (moved(node.args[0], {index: end}) for end in (lo, hi))
        if isinstance(node, Sum) and k == 1 and _has_terms(lo, hi, place):
            yield Add(first, Sum(node.args[0], (index, lo + 1, hi)))
            yield Add(Sum(node.args[0], (index, lo, hi - 1)), last)
        if isinstance(node, Product) and _has_factors(lo, hi, place):
            above, below = (Product(node.args[0], (index, *r), node.args[2]) for r in ((lo + 1, hi), (lo, hi - 1)))
            yield from (
                (Mul(above, first), Mul(last, below)) if node.descending else (Mul(first, above), Mul(below, last))
            )


def _has_terms(lo: Symbol, hi: Symbol, place: Place) -> bool:
    """Whether the range runs from 1, or up to the length, and the other end is a step of the lattice."""
    lattice = place.claim.system.lattice
    return (lo == 1 and (hi in lattice.lengths or hi.is_Symbol)) or (lo.is_Symbol and hi in lattice.lengths)


def _has_factors(lo: Symbol, hi: Symbol, place: Place) -> bool:
    """`∏_{k+1..t}` of a claim about `k < t`, where neither is bound."""
    distance = hi - lo + 1
    return (
        not place.bound & distance.free_symbols and len(distance.free_symbols) == 2 and not distance.as_coeff_Add()[0]
    )


def sum_of_sums(place: Place) -> Iterator[Node]:
    """`Σ (a + b) = Σ a + Σ b`."""
    if isinstance(place.node, Sum) and isinstance(place.node.args[0], Add):
        yield Add(*(Sum(term, *place.node.args[1:]) for term in place.node.args[0].args))


def sums_joined(place: Place) -> Iterator[Node]:
    if isinstance(place.node, Add):
        for i, j in combinations(range(len(place.node.args)), 2):
            a, b = place.node.args[i], place.node.args[j]
            if isinstance(a, Sum) and isinstance(b, Sum) and a.args[1:] == b.args[1:]:
                rest = [t for n, t in enumerate(place.node.args) if n not in (i, j)]
                yield Add(Sum(Add(a.args[0], b.args[0]), *a.args[1:]), *rest)


def into_the_sum(place: Place) -> Iterator[Node]:
    """`A Σ b = Σ A b`."""
    node = place.node
    if isinstance(node, (Mul, Had, Scale, Transpose, Diag)):
        for k, inner in enumerate(node.args):
            others = [a for n, a in enumerate(node.args) if n != k and isinstance(a, Node)]
            if isinstance(inner, Sum) and not _indices(inner) & frozenset().union(*(a.free_symbols for a in others)):
                yield Sum(_with(node, k, inner.args[0]), *inner.args[1:])


def out_of_the_sum(place: Place) -> Iterator[Node]:
    node = place.node
    if isinstance(node, Sum) and isinstance(node.args[0], (Mul, Had)) and len(node.args[0].args) > 1:
        body = node.args[0]
        ends = (0, len(body.args) - 1) if isinstance(body, Mul) else range(len(body.args))
        for k in ends:
            if not _indices(node) & body.args[k].free_symbols:
                rest = Sum(_many(body.func, *body.args[:k], *body.args[k + 1 :]), *node.args[1:])
                yield body.func(body.args[k], rest) if k == 0 else body.func(rest, body.args[k])


def _indices(node: Sum) -> frozenset[Symbol]:
    return frozenset(r[0] for r in node.args[1:])


def sums_exchanged(place: Place) -> Iterator[Node]:
    """`Σ_i Σ_j = Σ_j Σ_i` where no bound depends on the other index, and two sums as one."""
    node = place.node
    if isinstance(node, Sum) and len(node.args) == 3:
        outer, inner = node.args[1:]
        yield Sum(Sum(node.args[0], inner), outer)
        if outer[0] not in inner.free_symbols:
            yield Sum(node.args[0], inner, outer)
    if isinstance(node, Sum) and isinstance(node.args[0], Sum) and not _indices(node) & _indices(node.args[0]):
        yield Sum(node.args[0].args[0], *node.args[1:], *node.args[0].args[1:])


# --- names ------------------------------------------------------------------------------------------------------------


def name_written_out(place: Place) -> Iterator[Node]:
    """A state, an adjoint, a tangent as the right side of its equation, at a step of the lattice."""
    node, claim = place.node, place.claim
    if isinstance(node, Var) and _is_step(place, node):
        local = claim.derived.equations.get(node.name) if claim.derived else None
        equation = claim.system.equations.get(node.name) or (local if local and _is_local(local) else None)
        if equation and len(equation.target.index) == len(node.index):
            yield moved(equation.rhs, dict(zip(equation.target.index, node.index, strict=True)))


def _is_local(equation: Equation) -> bool:
    """Whether all that it reads stands at its own point: beyond the ends an adjoint is zero, and a state is nothing."""
    return all(v.index in ((), equation.target.index) for v in expr.variables(equation.rhs))


def _is_step(place: Place, var: Var) -> bool:
    """Whether every index is a letter as it stands, whose range, if it is bound, lies within the lattice."""
    lengths = place.claim.system.lattice.lengths
    beyond = {i for i, lo, hi in place.binders if not (hi.is_Symbol and (lo.is_Symbol or lo.as_coeff_Add()[0] > 0))}
    return bool(var.index) and all(i.is_Symbol and i not in lengths and i not in beyond for i in var.index)


def shorthand_used(place: Place) -> Iterator[Node]:
    """A name for the right side of its equation."""
    for equation in place.claim.system.equations.values():
        if equation.rhs == place.node:
            yield equation.target


def sigmoid_slope(place: Place) -> Iterator[Node]:
    """`s (1 - s) = s - s² = σ(a) (1 - σ(a)) = σ'(a)` for a state `s = σ(a)`."""
    node = place.node
    if isinstance(node, Had):
        for s in node.args:
            c = expr.add(Ones(*s.shape), expr.scale(-1, s))
            if isinstance(s, Var) and c in node.args:
                rest = [f for f in node.args if f not in (s, c)]
                forms = [Add(s, Scale(Integer(-1), expr.Power(s, Integer(2))))]
                for a in _activated(place, s, "sigmoid"):
                    forms += [
                        expr.apply("sigmoid", a, order=1),
                        Had(expr.apply("sigmoid", a), _minus(expr.apply("sigmoid", a))),
                    ]
                yield from (Had(form, *rest) if rest else form for form in forms)


def tanh_slope(place: Place) -> Iterator[Node]:
    """`1 - h² = (1 - h) (1 + h) = 1 - tanh(a)² = tanh'(a)` for a state `h = tanh(a)`."""
    node = place.node
    if isinstance(node, Add) and len(node.args) == 2 and isinstance(node.args[0], Ones):
        c, square = expr.split_number(node.args[1])
        if c == -1 and isinstance(square, expr.Power) and square.args[1] == 2:
            h = square.args[0]
            yield Had(_minus(h), Add(node.args[0], h))
            for a in _activated(place, h, "tanh"):
                yield expr.apply("tanh", a, order=1)
                yield _minus(expr.Power(expr.apply("tanh", a), Integer(2)))


def _activated(place: Place, state: Node, function: str) -> Iterator[Node]:
    """The argument of the activation that the state is."""
    if isinstance(state, Var) and state.name in place.claim.system.equations and _is_step(place, state):
        equation = place.claim.system.equations[state.name]
        if isinstance(equation.rhs, expr.Apply) and equation.rhs.function == function and equation.rhs.order == 0:
            yield moved(equation.rhs.arguments[0], dict(zip(equation.target.index, state.index, strict=True)))


def slope_named(place: Place) -> Iterator[Node]:
    """`tanh'(a) = 1 - tanh(a)²`, `σ'(a) = σ(a) (1 - σ(a))`."""
    node = place.node
    if isinstance(node, expr.Apply) and node.order == 1:
        value = expr.apply(node.function, *node.arguments)
        if node.function == "tanh":
            yield _minus(expr.Power(value, Integer(2)))
        if node.function == "sigmoid":
            yield Had(value, _minus(value))


def derivative_as_gradient(place: Place) -> Iterator[Node]:
    """`∂L/∂h` of a scalar is the transposed gradient; the pullback to a column is a product with the transposed Jacobian."""
    node = place.node
    if isinstance(node, expr.Partial) and is_scalar(node.args[0]) and not node.held:
        yield Transpose(expr.GradientOf(*node.args[:3]))
    if isinstance(node, expr.GradientOf) and is_column(node.args[1]):
        yield Transpose(expr.Partial(*node.args))
    if isinstance(node, expr.Pulled) and is_column(node.args[0]) and is_column(node.args[1]):
        y, x, d, immediate = node.args
        yield Mul(Transpose(expr.Partial(y, x, immediate)), d)


# --- whole equations --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EquationLaw:
    name: str
    made: Callable[[Equals], Iterator[Equals]]
    weight: float = 0.7


def sides_exchanged(equation: Equals) -> Iterator[Equals]:
    yield Equals(equation.rhs, equation.lhs)


def sides_transposed(equation: Equals) -> Iterator[Equals]:
    """The line in the other layout."""
    for turn in (Transpose, expr.transpose):
        yield Equals(Transpose(equation.lhs), turn(equation.rhs))


def term_moved(equation: Equals) -> Iterator[Equals]:
    """`l = a + b` as `l - b = a`, and as `l - (a + b) = 0`."""
    left, right = equation.lhs, equation.rhs
    yield Equals(Add(left, _times(Integer(-1), right)), expr.Zero(*left.shape))
    if isinstance(right, Add):
        for k, term in enumerate(right.args):
            rest = Add(*right.args[:k], *right.args[k + 1 :], expr.Zero(*right.shape))
            yield Equals(Add(left, _times(Integer(-1), term)), rest)


def sides_scaled(equation: Equals) -> Iterator[Equals]:
    yield from (Equals(_times(c, equation.lhs), _times(c, equation.rhs)) for c in (Integer(-1), Rational(2, 3)))


LAWS: tuple[Law | EquationLaw, ...] = (
    Law("commuted", commuted, 0.7),
    Law("grouped", grouped),
    Law("ungrouped", ungrouped),
    Law("distributed", distributed),
    Law("factored", factored),
    Law("x = x + y - y", cancelled, 0.7),
    Law("x = 1 - (1 - x)", complemented, 0.7),
    Law("scaled and back", scaled_and_back, 0.7),
    Law("scalar inwards", scalar_inwards),
    Law("scalar outwards", scalar_outwards),
    Law("power as product", power_as_product),
    Law("product as power", product_as_power, 20.0),
    Law("diag apart", diag_apart),
    Law("diag together", diag_together, 20.0),
    Law("diag(a) x for a ⊙ x", diag_of_column),
    Law("a ⊙ x for diag(a) x", column_of_diag),
    Law("diag as identity", diag_as_identity),
    Law("identity put in", identity_put_in, 0.7),
    Law("transpose inwards", transpose_inwards),
    Law("transpose outwards", transpose_outwards, 0.7),
    Law("scalar transposed", scalar_transposed, 20.0),
    Law("inner product", inner_product, 20.0),
    Law("index renamed", index_renamed),
    Law("range shifted", range_shifted),
    Law("sum reversed", sum_reversed),
    Law("end taken out", end_taken_out),
    Law("sum of sums", sum_of_sums, 20.0),
    Law("sums joined", sums_joined, 20.0),
    Law("into the sum", into_the_sum),
    Law("out of the sum", out_of_the_sum, 20.0),
    Law("sums exchanged", sums_exchanged),
    Law("name written out", name_written_out),
    Law("shorthand used", shorthand_used),
    Law("σ' in another form", sigmoid_slope),
    Law("tanh' in another form", tanh_slope),
    Law("slope worked out", slope_named, 20.0),
    Law("derivative as gradient", derivative_as_gradient),
    EquationLaw("sides exchanged", sides_exchanged),
    EquationLaw("sides transposed", sides_transposed),
    EquationLaw("term moved", term_moved),
    EquationLaw("sides scaled", sides_scaled),
)
