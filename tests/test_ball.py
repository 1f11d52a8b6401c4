"""Balls hold the true value: of every function of the table, of its derivative, of what is made of them."""

from __future__ import annotations

import random

import numpy as np
import pytest
import sympy
from flint import arb

from derive import functions
from derive.ball import Ball, Balls, relative
from derive.evaluate import function
from derive.oracles.with_ball import BallEngine
from derive.scalars import Resample, object_array

DIGITS = 80
ELEMENTWISE = [r.name for r in functions.TABLE.values() if isinstance(r, functions.Elementwise) and r.formula]
UNARY = [name for name in ELEMENTWISE if functions.row(name).arity == 1]


def holds(ball: Ball, exact: sympy.Expr) -> bool:
    """Whether the value lies in the ball, with nothing to spare but the digits that it was worked out to."""
    value = arb(str(sympy.N(exact, DIGITS)))
    return bool((ball.v - value).contains(0)) or abs(float(ball.v - value)) < 1e-50


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("point", ["1/3", "-7/5", "3"])
def test_a_ball_holds_the_value_and_the_derivative_of_a_function(name: str, point: str):
    exact = abs(sympy.Rational(point)) if name in ("log", "sqrt") else sympy.Rational(point)
    ring = Balls()
    leaf = ring.leaf(ring.number(exact).v)
    start = len(ring.tape) - 1
    value = function(ring, name, 0, object_array([[leaf]]))
    slope = ring.pull(value, ring.constant([[1]]), {"x": object_array([[leaf]])}, (start, None))["x"]
    x = functions.x
    assert holds(value[0, 0], functions.expression(name).subs(x, exact)), (name, value)
    assert holds(slope[0, 0], functions.expression(name, 1).subs(x, exact)), (name, slope)
    assert value[0, 0].v.rad() < arb("1e-50")


@pytest.mark.parametrize("seed", range(20))
def test_arithmetic_holds_the_exact_rational(seed: int):
    """A random expression in `+ - * /` over rationals, against the same one in exact arithmetic."""
    draw, ring = random.Random(seed), Balls()
    exact = [sympy.Rational(draw.randint(1, 99), draw.randint(1, 99)) for _ in range(6)]
    balls = [ring.number(q) for q in exact]
    for _ in range(12):
        i, j, op = draw.randrange(6), draw.randrange(6), draw.choice("+-*/")
        if op == "/" and exact[j] == 0:
            continue
        balls[i] = applied(op, balls[i], balls[j])
        exact[i] = applied(op, exact[i], exact[j])
    for ball, q in zip(balls, exact, strict=True):
        assert (ball.v - arb(int(q.p)) / arb(int(q.q))).contains(0), (seed, ball, q)


def applied(op: str, a: object, b: object) -> object:
    return {"+": a + b, "-": a - b, "*": a * b}[op] if op != "/" else a / b  # type: ignore[operator]


def test_what_cannot_be_told_is_not_decided():
    ring = Balls()
    third = Ball(ring, arb(1) / 3)
    zero = third * 3 - 1
    for doubtful in (lambda: zero.inverse(), lambda: ring.log(zero), lambda: ring.compare(">", zero, ring.number(0))):
        with pytest.raises(Resample):
            doubtful()
    assert ring.compare("==", ring.number(2), ring.number(2))


def test_disjoint_balls_are_a_difference_and_wide_ones_none():
    engine = BallEngine()
    a, b = (object_array([[engine.ring.number(sympy.Rational(q))]]) for q in ("1/3", "1/3"))
    assert engine.difference(a, b) == (pytest.approx(0, abs=1e-50), None)
    tiny = object_array([[engine.ring.number(sympy.Rational(1, 3) + sympy.Rational(1, 10**40))]])
    assert engine.difference(a, tiny)[1] == (0, 0), "balls tell apart what floats can't"
    wide = object_array([[Ball(engine.ring, arb(1, 1))]])
    with pytest.raises(Resample, match="too wide"):
        engine.difference(wide, object_array([[engine.ring.number(1)]]))
    assert relative(a[0, 0], b[0, 0]) < 1e-50
    assert np.asarray(a, dtype=float)[0, 0] == pytest.approx(1 / 3)
