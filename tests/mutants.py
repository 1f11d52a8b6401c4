"""Wrong lines: one edit of a true one, each with the causes that may be named for it.

    mutants(claim)    every single edit of a claim's equation that has a shape, in a fixed order
    EDITS             the edits: a name, the kind of mistake, the kinds that name it as well, how it is made

Some mutants are true: another way to write the line, or an edit that makes no difference (`diag(z)' = diag(z)`).  Which,
an independent road says.  An edit is a function from a place to what is put there instead (or to a whole
equation); `derive.expr` then simplifies, since a person would write `2 z` and not `z + z`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from places import Place, places
from sympy import Integer, Max, Rational

from derive import expr
from derive.check import Claim
from derive.errors import DeriveError
from derive.expr import Equals, Node, Var, add, had, is_scalar, mul, scale, split_number, transpose


@dataclass(frozen=True)
class Edit:
    """`kind` is the cause that a diagnosis should name; `also` are causes whose repair undoes the same edit in other words."""

    name: str
    kind: str
    also: tuple[str, ...]
    made: Callable[[Place], Iterator[Node | Equals]]


@dataclass(frozen=True)
class Mutant:
    """A claim whose equation was edited in one place."""

    claim: Claim
    equation: Equals
    edit: Edit

    @property
    def well_shaped(self) -> bool:
        return self.equation.lhs.shape == self.equation.rhs.shape

    @property
    def causes(self) -> frozenset[str]:
        """What may be named.  Where the sides' shapes differ, that is a cause in itself."""
        shape = () if self.well_shaped else ("ill-typed",)
        return frozenset((self.edit.kind, *self.edit.also, *shape))

    def __str__(self) -> str:
        return f"{self.claim.system.name}, {self.edit.name}:\n  {self.equation}\ninstead of\n  {self.claim.equation}"


def mutants(claim: Claim) -> Iterator[Mutant]:
    """Every edit at every place, each equation once.  An edit that no shapes allow gives no line, so no mutant."""
    seen = {claim.equation}
    for place in places(claim, claim.equation):
        for edit in EDITS:
            for new in _tried(edit, place):
                equation = new if isinstance(new, Equals) else _put(place, new)
                if equation is not None and equation not in seen:
                    seen.add(equation)
                    yield Mutant(claim, equation, edit)


def _tried(edit: Edit, place: Place) -> Iterator[Node | Equals]:
    made = edit.made(place)
    while True:
        try:
            yield next(made)
        except StopIteration:
            return
        except DeriveError:  # a generator that raised is exhausted: this edit has no shape here
            return


def _put(place: Place, new: Node) -> Equals | None:
    try:
        return place.put(new, simplify=True)
    except DeriveError:
        return None


# --- terms and factors ------------------------------------------------------------------------------------------------


def _terms(place: Place) -> tuple[Node, ...]:
    """The terms of a sum, or of a whole right side; `1 - z` is no sum of two paths."""
    node = place.node
    if isinstance(node, expr.Add):
        return () if _is_complement(node) else node.args
    return ()


def _is_complement(node: Node) -> bool:
    return isinstance(node, expr.Add) and len(node.args) == 2 and isinstance(node.args[0], expr.Ones)


def term_dropped(place: Place) -> Iterator[Node]:
    terms = _terms(place)
    yield from (add(*terms[:k], *terms[k + 1 :]) for k in range(len(terms)))


def term_doubled(place: Place) -> Iterator[Node]:
    terms = _terms(place)
    yield from (add(*terms[: k + 1], *terms[k:]) for k in range(len(terms)))


def term_negated(place: Place) -> Iterator[Node]:
    terms = place.node.args if isinstance(place.node, expr.Add) else ()
    yield from (add(*terms[:k], scale(-1, terms[k]), *terms[k + 1 :]) for k in range(len(terms)))


def side_negated(place: Place) -> Iterator[Node]:
    if place.is_root and place.side == 1:
        yield scale(-1, place.node)


def term_invented(place: Place) -> Iterator[Node]:
    """One more term, like the last one but with another gate, weight or state."""
    terms = _terms(place) or ((place.node,) if place.is_root and place.side == 1 else ())
    for term in terms[-1:]:
        for var in expr.variables(term):
            for other in _others(place, var)[:1]:
                yield add(place.node, expr.replace(term, {var: other}))


def factor_dropped(place: Place) -> Iterator[Node]:
    """Left out of a matrix product, the rest must still fit."""
    node = place.node
    if isinstance(node, (expr.Mul, expr.Had)) and len(node.args) > 1:
        build = mul if isinstance(node, expr.Mul) else had
        for k in range(len(node.args)):
            rest = build(*node.args[:k], *node.args[k + 1 :])
            if rest.shape == node.shape:
                yield rest
    if isinstance(node, expr.Scale) and isinstance(node.args[0], Node):
        yield node.args[1]


def factor_swapped(place: Place) -> Iterator[Node]:
    factors = place.node.args if isinstance(place.node, expr.Mul) else ()
    for k in range(len(factors) - 1):
        yield mul(*factors[:k], factors[k + 1], factors[k], *factors[k + 2 :])


def factor_moved_out(place: Place) -> Iterator[Node]:
    """`r * (U h)` for `U (r * h)`, and back."""
    node = place.node
    if isinstance(node, expr.Mul) and isinstance(node.args[-1], expr.Had):
        first, *rest = node.args[-1].args
        yield had(first, mul(*node.args[:-1], had(*rest)))
    if isinstance(node, expr.Had) and isinstance(node.args[-1], expr.Mul):
        product = node.args[-1]
        yield mul(*product.args[:-1], had(*node.args[:-1], product.args[-1]))


def order_reversed(place: Place) -> Iterator[Node]:
    if isinstance(place.node, expr.Product):
        body, range_, descending = place.node.args
        yield expr.Product(body, range_, not descending)


# --- transposes, products ---------------------------------------------------------------------------------------------


def transposed(place: Place) -> Iterator[Node]:
    """One transpose dropped, or one too many."""
    plain = not isinstance(place.node, (expr.Diag, expr.Identity, expr.Mul, expr.Add))
    if place.side == 1 and plain and not is_scalar(place.node):
        yield transpose(place.node)


def side_transposed(place: Place) -> Iterator[Node]:
    """The right side in the other layout."""
    if place.is_root and place.side == 1 and isinstance(place.node, (expr.Mul, expr.Add)):
        yield transpose(place.node)


def hadamard_for_product(place: Place) -> Iterator[Node]:
    node = place.node
    if isinstance(node, expr.Mul):
        for k, (a, b) in enumerate(zip(node.args, node.args[1:], strict=False)):
            if a.shape == b.shape:
                yield mul(*node.args[:k], had(a, b), *node.args[k + 2 :])


def product_for_hadamard(place: Place) -> Iterator[Node]:
    """The matrix product of two square matrices, the inner or the outer product of two columns."""
    if isinstance(place.node, expr.Had):
        first, *rest = place.node.args
        other = had(*rest)
        yield from (mul(a, b) for a, b in ((transpose(first), other), (first, transpose(other)), (first, other)))


# --- indices and bounds -----------------------------------------------------------------------------------------------


def _moved(var: Var, place: Place) -> Iterator[Var]:
    """One step earlier and one later, on each axis."""
    for axis, index in enumerate(var.index):
        for offset in (-1, 1):
            yield var.at((*var.index[:axis], index + offset, *var.index[axis + 1 :]))


def _in_derivative(node: Node, change: Callable[[Var], Iterator[Var]]) -> Iterator[Node]:
    """A derivative with a change in what it is taken of, or by."""
    if isinstance(node, (expr.Partial, expr.Pulled, expr.GradientOf)):
        y, x, *rest = node.args
        if isinstance(y, Var):
            yield from (node.func(new, x, *rest) for new in change(y))
        yield from (node.func(y, new, *rest) for new in change(x))


def index_moved(place: Place) -> Iterator[Node]:
    if isinstance(place.node, Var):
        yield from _moved(place.node, place)
    yield from _in_derivative(place.node, lambda var: _moved(var, place))


def bound_moved(place: Place) -> Iterator[Node]:
    node = place.node
    if isinstance(node, (expr.Sum, expr.Product)):
        last = len(node.args) if isinstance(node, expr.Sum) else 2
        for k in range(1, last):
            index, lo, hi = node.args[k]
            for new in ((lo - 1, hi), (lo + 1, hi), (lo, hi - 1), (lo, hi + 1)):
                yield node.func(*node.args[:k], (index, *new), *node.args[k + 1 :])


def sum_truncated(place: Place) -> Iterator[Node]:
    """Only the last two terms, or the last."""
    if isinstance(place.node, expr.Sum) and len(place.node.args) == 2:
        body, (index, lo, hi) = place.node.args
        yield from (expr.Sum(body, (index, start, hi)) for start in (Max(lo, hi - 1), hi))


def sum_left_out(place: Place) -> Iterator[Node]:
    """The summand stands alone."""
    if isinstance(place.node, expr.Sum):
        yield place.node.args[0]


def border_everywhere(place: Place) -> Iterator[Equals]:
    """What holds at the last step, claimed for every step."""
    lattice, left = place.claim.system.lattice, place.equation.lhs
    moves = {length: index for index, length in zip(lattice.indices, lattice.lengths, strict=True)}
    if place.is_root and place.side == 1 and isinstance(left, Var) and any(i in moves for i in left.index):
        yield expr.at(place.equation, moves)


# --- names ------------------------------------------------------------------------------------------------------------


def _others(place: Place, var: Var) -> list[Var]:
    """Names of the same kind and shape, the next ones in the order of the system first."""
    system, known = place.claim.system, _names(place.claim)
    splits = (len(var.marks) - k for k in range(len(var.marks) + 1))
    named = (("_".join((var.base, *var.marks[:k])), var.marks[k:]) for k in splits)
    base, marks = next(((b, m) for b, m in named if b in system.variables), ("", ()))
    own = system.variables.get(base)
    if own is None:
        return []
    names = [v for v in system.variables.values() if (v.kind, v.shape, v.indexed) == (own.kind, own.shape, own.indexed)]
    k = names.index(own)
    found = [other.var.marked(*marks) if marks else other.var for other in names[k + 1 :] + names[:k]]
    return [v.at(var.index) for v in found if v.name in known]


def _names(claim: Claim) -> frozenset[str]:
    return frozenset(claim.system.variables) | frozenset(claim.derived.variables if claim.derived else ())


def name_exchanged(place: Place) -> Iterator[Node]:
    """A wrong gate, weight or state; on the left only in a derivative, since a name alone there would be defined."""
    if isinstance(place.node, Var) and place.side == 1:
        yield from _others(place, place.node)[:2]
    yield from _in_derivative(place.node, lambda var: iter(_others(place, var)[:2]))


def total_for_immediate(place: Place) -> Iterator[Node]:
    """`∂` for `∂⁺`: the paths through other states are counted as well."""
    yield from _with_immediate(place.node, 0)


def immediate_for_total(place: Place) -> Iterator[Node]:
    yield from _with_immediate(place.node, 1)


def _with_immediate(node: Node, immediate: int) -> Iterator[Node]:
    if isinstance(node, (expr.Partial, expr.Pulled, expr.GradientOf)) and node.immediate != bool(immediate):
        position = 3 if isinstance(node, expr.Pulled) else 2
        yield node.func(*node.args[:position], Integer(immediate), *node.args[position + 1 :])


# --- activations and numbers ------------------------------------------------------------------------------------------


def activation_exchanged(place: Place) -> Iterator[Node]:
    """`1 - z²` for `z (1 - z)` and back; a prime too few or too many; another function."""
    node = place.node
    if isinstance(node, expr.Had):
        for state in node.args:
            if isinstance(state, Var) and _complement(state) in node.args:
                rest = [f for f in node.args if f not in (state, _complement(state))]
                yield had(_complement(expr.power(state, 2)), *rest)
    if _is_complement(node) and (state := _squared(node)) is not None:
        yield had(state, _complement(state))
    if isinstance(node, expr.Apply):
        yield from _other_functions(node)


def _complement(node: Node) -> Node:
    return add(expr.Ones(*node.shape), scale(-1, node))


def _squared(node: Node) -> Node | None:
    c, body = split_number(node.args[1])
    return body.args[0] if c == -1 and isinstance(body, expr.Power) and body.args[1] == 2 else None


def _other_functions(node: expr.Apply) -> Iterator[Node]:
    if len(node.arguments) == 1 and node.shape == node.arguments[0].shape and node.function in _SISTERS:
        yield expr.apply(node.function, *node.arguments, order=1 - min(node.order, 1))
        yield expr.apply(_SISTERS[node.function], *node.arguments, order=node.order)


_SISTERS = {"sigmoid": "tanh", "tanh": "sigmoid", "relu": "tanh", "phi": "tanh"}


def slope_damaged(place: Place) -> Iterator[Node]:
    """`1 - h²` as `1 - h` or `h²`; `z` or `1 - z` alone of `z (1 - z)`."""
    node = place.node
    if _is_complement(node) and (state := _squared(node)) is not None:
        yield from (_complement(state), expr.power(state, 2))
    if isinstance(node, expr.Had):
        for k, factor in enumerate(node.args):
            if isinstance(factor, Var) and _complement(factor) in node.args:
                yield had(*node.args[:k], *node.args[k + 1 :])


def complemented(place: Place) -> Iterator[Node]:
    """`1 - z` for a gate `z`, and back."""
    node, system = place.node, place.claim.system
    if isinstance(node, Var) and node.name in system.variables and system.variables[node.name].kind == "state":
        if not _is_complement(place.parent) and node.shape[1] == 1:  # type: ignore[arg-type]
            yield _complement(node)
    elif _is_complement(node) and _squared(node) is None:
        yield from (node.args[1], scale(-1, node.args[1]))


def number_wrong(place: Place) -> Iterator[Node]:
    """A 2 or a ½ before a whole side, or a term of it."""
    if place.side == 1 and (place.is_root or isinstance(place.parent, expr.Add)):
        yield from (scale(c, place.node) for c in (2, Rational(1, 2)))


EDITS: tuple[Edit, ...] = (
    Edit("a slope damaged", "activation", ("factor", "symbol", "extra-term"), slope_damaged),
    Edit("a term dropped", "missing-path", ("missing-sum",), term_dropped),
    Edit("a term doubled", "double-count", ("extra-term", "factor"), term_doubled),
    Edit("a term negated", "sign", ("factor", "activation"), term_negated),
    Edit("a side negated", "sign", ("factor",), side_negated),
    Edit("a term invented", "extra-term", ("double-count",), term_invented),
    Edit("a factor dropped", "factor", ("activation", "hadamard", "missing-path", "symbol"), factor_dropped),
    Edit("factors swapped", "order", ("transpose", "layout"), factor_swapped),
    Edit("a Hadamard factor moved", "order", ("hadamard",), factor_moved_out),
    Edit("a product reversed", "order", ("transpose", "layout"), order_reversed),
    Edit("a transpose", "transpose", ("layout", "order"), transposed),
    Edit("a side transposed", "layout", ("transpose", "order"), side_transposed),
    Edit("⊙ for a product", "hadamard", ("order",), hadamard_for_product),
    Edit("a product for ⊙", "hadamard", ("order", "transpose"), product_for_hadamard),
    Edit("an index moved", "index", ("boundary", "bounds"), index_moved),
    Edit("a bound moved", "bounds", ("boundary", "index", "missing-path", "extra-term"), bound_moved),
    Edit("a sum truncated", "bounds", ("boundary", "missing-path", "missing-sum"), sum_truncated),
    Edit("a sum left out", "missing-sum", ("boundary", "missing-path"), sum_left_out),
    Edit("a border everywhere", "boundary", ("missing-path", "index"), border_everywhere),
    Edit("another name", "symbol", ("activation",), name_exchanged),
    Edit("∂ for ∂⁺", "double-count", ("extra-term", "symbol"), total_for_immediate),
    Edit("∂⁺ for ∂", "missing-path", ("symbol",), immediate_for_total),
    Edit("another slope", "activation", ("symbol",), activation_exchanged),
    Edit("1 - z", "symbol", ("activation", "sign", "factor", "missing-path", "extra-term"), complemented),
    Edit("a wrong number", "factor", ("double-count", "extra-term", "missing-path"), number_wrong),
)
"""The first edit that makes an equation is the one that it is known by."""
