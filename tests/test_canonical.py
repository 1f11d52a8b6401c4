"""The canonical form: it is its own, no order of typing changes it, and it means what the expression means."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import pytest
from sympy import Basic, Integer, Symbol, symbols

from derive import expr
from derive.canonical import canonical, key, same
from derive.catalogue import load, names
from derive.check import Claim, system_claims
from derive.expr import (
    SCALAR,
    Cases,
    Entry,
    GradientOf,
    Identity,
    Labelled,
    Norm,
    Otherwise,
    Product,
    Pulled,
    Relation,
    Sum,
    Var,
    add,
    at,
    diag,
    had,
    inner,
    matrix_power,
    mul,
    power,
    scale,
    transpose,
)

n, T = symbols("n T", integer=True, positive=True)
t, k, i, j = symbols("t k i j", integer=True)


def column(base: str, *index: object) -> Var:
    return Var(base, (), index, n, 1)


def matrix(base: str) -> Var:
    return Var(base, (), (), n, n)


a, b, c, h = (column(letter, t) for letter in "abch")
W, U = matrix("W"), matrix("U")
w, v = (Var(letter, (), (), *SCALAR) for letter in "wv")
ACROSS = column("x", i)

SAME = {
    "terms": (a + b - c, -c + b + a),
    "factors": (had(a, b, c), had(c, had(b, a))),
    "scalars": (scale(w, scale(v, a)), scale(had(v, w), a)),
    "numbers": (scale(2, a + b), scale(2, b) + scale(2, a)),
    "a sign inside": (had(a, b - c), scale(-1, had(c - b, a))),
    "labels": (Labelled(a, "first") + b, b + a),
    "diagonals": (mul(diag(a), diag(b), W), mul(diag(had(b, a)), W)),
    "a diagonal before a column": (mul(diag(a), b, transpose(c)), mul(had(b, a), transpose(c))),
    "a diagonal behind a row": (mul(transpose(a), diag(b), W), mul(transpose(had(b, a)), W)),
    "transposes": (transpose(had(a, W @ b)), had(mul(transpose(b), transpose(W)), transpose(a))),
    "the transpose of a function": (transpose(expr.apply("tanh", a)), expr.apply("tanh", transpose(a))),
    "a scalar product": (mul(transpose(a), W, b), mul(transpose(b), transpose(W), a)),
    "a scalar in a chain": (mul(a, transpose(b), c, transpose(h)), scale(mul(transpose(c), b), mul(a, transpose(h)))),
    "inner products": (inner(W, U), inner(U, W)),
    "powers": (power(had(a, b), 2), had(power(b, 2), power(a, 2))),
    "matrix powers": (mul(W, matrix_power(W, k), U), mul(matrix_power(W, k + 1), U)),
    "ones": (mul(expr.Ones(n, 1), expr.Ones(1, n)), expr.Ones(n, n)),
    "a transposed power": (transpose(matrix_power(W, k)), matrix_power(transpose(W), k)),
    "the bound index": (Sum(ACROSS, (i, 1, t)), Sum(at(ACROSS, {i: k}), (k, 1, t))),
    "sums of sums": (
        Sum(Sum(had(ACROSS, a), (i, 1, t)), (t, 1, T)),
        Sum(had(a, at(ACROSS, {i: k})), (t, 1, T), (k, 1, t)),
    ),
    "the order of sums": (
        Sum(Sum(had(ACROSS, a), (i, 1, 3)), (t, 1, T)),
        Sum(Sum(had(ACROSS, a), (t, 1, T)), (i, 1, 3)),
    ),
    "a bound that stands behind": (Sum(ACROSS, (t, 1, T), (i, 1, t)), Sum(ACROSS, (i, 1, t), (t, 1, T))),
    "numbers before sums": (Sum(scale(-2, ACROSS), (i, 1, t)), scale(-2, Sum(ACROSS, (i, 1, t)))),
    "a sign in a sum": (Sum(ACROSS - a, (i, 1, t)), scale(-1, Sum(a - ACROSS, (i, 1, t)))),
    "a number that varies": (Sum(scale(2 * i, ACROSS), (i, 1, t)), scale(2, Sum(scale(k, at(ACROSS, {i: k})), (k, 1, t)))),
    "products": (Product(diag(ACROSS), (i, 1, t)), Product(diag(at(ACROSS, {i: k})), (k, 1, t))),
    "Kronecker": (expr.At((i,), (j,)), expr.At((j,), (i,))),
    "entries": (Entry(transpose(W), i, j), Entry(W, j, i)),
    "norms": (Norm(a - b), Norm(b - a)),
    "pullbacks": (Pulled(h, W, scale(2, a)), scale(2, Pulled(h, W, a))),
    "relations": (Relation("<=", Norm(a), w), Relation(">=", w, Norm(a))),
    "cases": (Cases((a + b, Relation("<", t, T)), (a, Otherwise())), Cases((b + a, Relation(">", T, t)), (a, Otherwise()))),
}  # fmt: skip

DIFFERENT = {
    "matrix products": (W @ U, U @ W),
    "the direction of a product": (Product(W + diag(ACROSS), (i, 1, t)), Product(W + diag(ACROSS), (i, 1, t), False)),
    "kinds of norms": (Norm(W, "2"), Norm(W, "F")),
    "immediate and total": (Pulled(h, W, a), Pulled(h, W, a, 0)),
    "free and bound": (Sum(ACROSS, (i, 1, t)), Sum(ACROSS, (k, 1, t))),
    "entries": (Entry(W, i, j), Entry(W, j, i)),
    "signs": (a - b, b - a),
}


@pytest.mark.parametrize("left, right", SAME.values(), ids=SAME)
def test_one_form_of_what_is_typed_in_two_ways(left: Basic, right: Basic):
    assert canonical(left) == canonical(right), f"{canonical(left)} and {canonical(right)}"


@pytest.mark.parametrize("left, right", DIFFERENT.values(), ids=DIFFERENT)
def test_two_forms_of_what_differs(left: Basic, right: Basic):
    assert not same(left, right)


@pytest.mark.parametrize("node", [side for pair in (*SAME.values(), *DIFFERENT.values()) for side in pair], ids=str)
def test_the_form_of_a_form_is_itself(node: Basic):
    assert canonical(canonical(node)) == canonical(node)


@cache
def formulas(name: str) -> tuple[Claim, ...]:
    """Every line of every derivation that is asked of a system."""
    return tuple(system_claims(load(name)))


def shuffled(root: Basic, source: random.Random) -> Basic:
    """The terms of sums and the factors of Hadamard products in another order."""

    def leaf(node: Basic) -> Basic:
        if isinstance(node, (expr.Add, expr.Had)):
            return type(node)(*source.sample(node.args, len(node.args)))
        return node

    return expr.rewrite(root, leaf)


@pytest.mark.parametrize("name", names())
def test_no_order_changes_the_form_of_a_formula(name: str):
    source = random.Random(7)
    for line in (claim.equation for claim in formulas(name)):
        form = canonical(line)
        assert canonical(form) == form, f"the form of {line} is {form}, whose form is {canonical(form)}"
        assert canonical(shuffled(line, source)) == form, f"seed 7: {line} in another order"


@pytest.mark.parametrize("name", ["rnn", "gru", "linear-attention"])
def test_the_form_is_worth_what_the_formula_is_worth(name: str):
    """The left sides as they are typed, the right sides in their form, on the field."""
    for claim in formulas(name):
        line = expr.Equals(claim.equation.lhs, canonical(claim.equation.rhs))
        verdict = replace(claim, equation=line).verdict("field", seed=5)
        assert verdict, f"{name} at seed 5: {line} {verdict}"


def test_a_key_is_the_same_in_every_run():
    assert key(column("h", t)) == key(Var("h", (), (Symbol("t", integer=True),), n, Integer(1)))
    assert key(W) != key(U)
    assert same(Identity(n), Identity(n)) and same(GradientOf(w, W), GradientOf(w, W))


def test_a_deep_formula_has_a_form():
    deep: expr.Node = a
    for _ in range(3000):
        deep = expr.apply("tanh", add(b, deep))
    assert canonical(deep) is canonical(canonical(deep))


COLUMN = (Symbol("n", integer=True, positive=True), Integer(1))
ENTRY = Entry(Var("e", (), (), *COLUMN), Integer(1), Integer(1))


@pytest.mark.parametrize("seed", range(300))
def test_a_scalar_product_and_its_transpose_have_one_form(seed: int):
    """Signs move out of sums that the transpose orders otherwise: the form must not go back and forth between the two."""
    pick = random.Random(seed)
    columns = [Var(name, (), (), *COLUMN) for name in "opqr"]
    columns += [expr.apply("softmax", columns[0]), expr.apply("tanh", columns[1]), expr.Ones(*COLUMN)]
    terms = [scale(pick.choice([1, -1, 2, ENTRY]), pick.choice(columns)) for _ in range(3)]
    product = mul(transpose(add(*terms)), pick.choice(columns))
    form = canonical(product)
    assert canonical(form) == form == canonical(transpose(product)), (product, form)
    assert canonical(scale(-1, product)) == canonical(scale(-1, form)), (product, form)
