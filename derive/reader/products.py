"""Sums and products of values, by shape: every meaning that a sign between two values can have.

Each function yields readings, cheapest meaning first, and nothing where the shapes leave none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

from sympy import Integer

from derive import expr
from derive.errors import ShapeError
from derive.expr import Node, is_column, is_scalar
from derive.reader.values import Choices, Cube, Number, Reading, Unit, Value, Wide, choice, combined

JUXTAPOSED = ("", "cdot", "times")
ENTRYWISE = ("odot",)


def is_row(node: Node) -> bool:
    return node.shape[0] == 1 and not is_scalar(node)


def is_vector(node: Node) -> bool:
    return is_column(node) and not is_scalar(node)


def is_square(node: Node) -> bool:
    return node.shape[0] == node.shape[1]


def carries(node: Node) -> bool:
    """Whether an adjoint stands in it: nobody means the diagonal matrix of a gradient."""
    return any(
        isinstance(n, expr.GradientOf) or (isinstance(n, expr.Var) and n.marks and n.marks[0] in ("bar", "ct", "delta"))
        for n in expr.walk(node)
    )


def as_node(value: Value, shape: expr.Shape) -> Node | None:
    """The value in a shape: numbers spread, `I` takes the size; None where it does not fit."""
    if isinstance(value, Number):
        if value.value == 1 and shape[0] == shape[1] and shape != expr.SCALAR and not value.ones:
            return None
        return expr.number(value.value, shape)
    if isinstance(value, Unit):
        unit = expr.Ones(*shape) if shape == expr.SCALAR else expr.Identity(shape[0])
        return expr.scale(value.coefficient, unit) if shape[0] == shape[1] else None
    if isinstance(value, Wide):
        return value.in_shape(shape)
    if isinstance(value, Node) and value.shape == shape:
        return value
    if isinstance(value, Node) and is_scalar(value) and 1 in shape:
        return expr.as_node(value, shape)
    return None


# --- products ---------------------------------------------------------------------------------------------------------


def multiply(sign: str, left: Value, right: Value) -> Iterator[Reading]:
    """`left sign right`."""
    if sign == "/":
        yield from divide(left, right)
        return
    if isinstance(left, Cube) or isinstance(right, Cube):
        yield from _with_cube(left, right)
        return
    if isinstance(left, Wide) or isinstance(right, Wide):
        yield from _with_wide(sign, left, right)
        return
    if isinstance(left, Number) or isinstance(right, Number):
        yield from _with_number(sign, left, right)
        return
    if isinstance(left, Unit) or isinstance(right, Unit):
        yield from _with_unit(sign, left, right)
        return
    if not (isinstance(left, Node) and isinstance(right, Node)):
        return
    if is_scalar(left) or is_scalar(right):
        yield Reading(_scaled(left, right))
        return
    yield from _nodes(sign, left, right)


def _scaled(left: Node, right: Node) -> Node:
    if is_scalar(left) and is_scalar(right):
        return expr.had(left, right)
    return expr.scale(left, right) if is_scalar(left) else expr.scale(right, left)


def _with_number(sign: str, left: Value, right: Value) -> Iterator[Reading]:
    if isinstance(left, Number) and isinstance(right, Number):
        yield Reading(Number(left.value * right.value, left.ones or right.ones, left.row or right.row))
        return
    number = left if isinstance(left, Number) else right
    other = right if isinstance(left, Number) else left
    assert isinstance(number, Number)
    if isinstance(other, Unit):
        vector = number.ones and sign in JUXTAPOSED and number.row == (other is right)
        if vector and not isinstance(other.coefficient, Node):
            yield Reading(Number(number.value * other.coefficient, True, number.row))
        else:
            yield Reading(Unit(_coefficient(number.value, other.coefficient)))
        return
    if not isinstance(other, Node):
        return
    if number.row and sign in JUXTAPOSED and other is right and not is_scalar(other):
        summed = expr.entries_sum(other) if is_vector(other) else expr.mul(expr.Ones(Integer(1), other.shape[0]), other)
        yield Reading(expr.scale(number.value, summed))
        return
    if number.row and other is left and is_vector(other):
        yield from _wide(Wide(expr.scale(number.value, other)))
        return
    if number.ones and not number.row and sign in JUXTAPOSED and other is right and is_row(other):
        yield from _wide(Wide(expr.scale(number.value, expr.transpose(other)), True))
        return
    if number.ones and other is left and sign in JUXTAPOSED and not is_vector(other) and not is_scalar(other):
        yield Reading(expr.mul(other, expr.Ones(other.shape[1], Integer(1))))
        return
    yield Reading(expr.scale(number.value, other))


def _wide(value: Wide) -> Iterator[Reading]:
    """A square matrix, or one of as many columns as it needs."""
    size = value.column.shape[0]
    yield Reading(value.in_shape((size, size)))
    yield Reading(value, (), 1)


def _with_wide(sign: str, left: Value, right: Value) -> Iterator[Reading]:
    """Beside a matrix `c 𝟏ᵀ` takes its shape; before a product it is there already as a square."""
    wide, other = (left, right) if isinstance(left, Wide) else (right, left)
    assert isinstance(wide, Wide)
    if isinstance(other, Number) or (isinstance(other, Node) and is_scalar(other)):
        yield Reading(wide.scaled(other.value if isinstance(other, Number) else other))
    elif isinstance(other, Node) and sign in ENTRYWISE:
        spread = wide.in_shape(other.shape)
        if spread is not None:
            yield Reading(expr.had(spread, other) if wide is left else expr.had(other, spread))


def _with_unit(sign: str, left: Value, right: Value) -> Iterator[Reading]:
    unit, other = (left, right) if isinstance(left, Unit) else (right, left)
    assert isinstance(unit, Unit)
    if sign in ENTRYWISE and isinstance(other, Node) and is_square(other) and not is_scalar(other):
        identity = expr.scale(unit.coefficient, expr.Identity(other.shape[0]))
        yield Reading(expr.had(identity, other) if unit is left else expr.had(other, identity))
    elif sign in ENTRYWISE and isinstance(other, Node) and is_vector(other):
        yield Reading(expr.scale(unit.coefficient, other), choice("identity", "ones"))
    elif isinstance(other, Unit):
        yield Reading(Unit(_coefficient(unit.coefficient, other.coefficient)))
    elif isinstance(other, Node) and is_scalar(other):
        # A true scalar leaves the size of I open; so does it where everything is a scalar, which is the same.
        yield Reading(Unit(_coefficient(other, unit.coefficient)))
    elif isinstance(other, Node):
        yield Reading(expr.scale(unit.coefficient, other))


def _coefficient(a: object, b: object) -> object:
    if isinstance(a, Node) or isinstance(b, Node):
        nodes = [c if isinstance(c, Node) else expr.number(c) for c in (a, b)]
        return expr.had(*nodes)
    return a * b  # type: ignore[operator]


def _with_cube(left: Value, right: Value) -> Iterator[Reading]:
    if isinstance(left, Number) or isinstance(right, Number):
        number, cube = (left, right) if isinstance(left, Number) else (right, left)
        if isinstance(cube, Cube) and isinstance(number, Number):
            yield Reading(_scaled_cube(number.value, cube))
        return
    if isinstance(left, Unit) or isinstance(right, Unit):
        yield Reading(right if isinstance(left, Unit) else left)
        return
    if isinstance(right, Cube) and isinstance(left, Node) and not right.transposed:
        if is_scalar(left):
            yield Reading(Cube(lambda d: expr.scale(left, right.pull(d)), right.rows))
        elif left.shape[1] == right.rows:
            if left.shape[0] == 1:
                yield Reading(right.pull(expr.transpose(left)), choice("layout", "numerator", "mixed"))
            else:
                yield Reading(Cube(lambda d: right.pull(expr.mul(expr.transpose(left), d)), left.shape[0]))
        elif is_vector(left) and left.shape[0] == right.rows:
            # A gradient before ∂h/∂W: people write the chain whatever the layout.
            yield Reading(right.pull(left), (), 1)
    if isinstance(left, Cube) and isinstance(right, Node):
        if is_scalar(right):
            yield Reading(Cube(lambda d: expr.scale(right, left.pull(d)), left.rows, left.transposed))
        elif right.shape == (left.rows, left.columns):
            layout = () if left.transposed else choice("layout", "denominator")
            yield Reading(left.pull(right), layout)
        elif left.transposed and right.shape[0] == left.rows:
            yield Reading(Cube(lambda d: left.pull(expr.mul(right, d)), right.shape[1], True))


def _scaled_cube(number: object, cube: Cube) -> Cube:
    return Cube(lambda d: expr.scale(number, cube.pull(d)), cube.rows, cube.transposed)


def _nodes(sign: str, left: Node, right: Node) -> Iterator[Reading]:
    same = left.shape == right.shape
    if sign in ENTRYWISE:
        if same:
            yield Reading(expr.had(left, right))
        elif is_row(left) and is_vector(right) and left.shape[1] == right.shape[0]:
            yield Reading(expr.had(left, expr.transpose(right)), (), 4)
        elif is_vector(left) and is_row(right) and left.shape[0] == right.shape[1]:
            yield Reading(expr.had(expr.transpose(left), right), (), 4)
        return
    if sign == "otimes":
        if is_vector(left) and is_vector(right):
            yield Reading(expr.mul(left, expr.transpose(right)), choice("entries", "outer"))
        return
    if sign == "*" and same:
        yield Reading(expr.had(left, right), (), 0 if not is_square(left) else 1)
    if left.shape[1] == right.shape[0]:
        yield Reading(expr.mul(left, right))
    if sign in JUXTAPOSED and same and (is_vector(left) or is_row(left)):
        yield Reading(expr.had(left, right), choice("product", "hadamard"), 3)
    if sign == "cdot" and same and is_vector(left):
        yield Reading(expr.inner(left, right), choice("product", "dot"), 4)
    diagonal = choice("vector", "diagonal")
    if any(carries(n) for n in (left, right) if is_vector(n)):
        return
    if is_vector(left) and not is_vector(right) and left.shape[0] == right.shape[0]:
        # Of a product that the chain itself has formed, nobody means the diagonal matrix.
        yield Reading(expr.mul(expr.diag(left), right), diagonal, 12 if isinstance(left, (expr.Mul, expr.Had)) else 5)
    if is_vector(right) and is_row(left) and left.shape[1] == right.shape[0] and carries(left):
        yield Reading(expr.mul(left, expr.diag(right)), diagonal, 5)
    if is_vector(right) and not is_row(left) and not is_vector(left) and left.shape[1] == right.shape[0]:
        yield Reading(expr.mul(left, expr.diag(right)), diagonal, 8)


def divide(left: Value, right: Value) -> Iterator[Reading]:
    if isinstance(right, Number):
        if right.value != 0:
            yield from multiply("", left, Number(1 / right.value))
        return
    if not isinstance(right, Node):
        return
    reciprocal = expr.power(right, -1)
    if isinstance(left, Number):
        yield Reading(expr.scale(left.value, reciprocal))
    elif isinstance(left, Node) and (is_scalar(right) or is_scalar(left)):
        yield Reading(_scaled(left, reciprocal) if is_scalar(right) or is_scalar(left) else left)
    elif isinstance(left, Node) and left.shape == right.shape:
        yield Reading(expr.had(left, reciprocal))


def chain(signs: Sequence[str], factors: Sequence[list[Reading]]) -> list[Reading]:
    """A flat chain: what stands side by side binds first, then `⊙`, unless the shapes say otherwise."""
    if len(factors) == 1:
        return factors[0]
    for strategy in (_tight_products, _tight_hadamards, _left_to_right, _right_to_left):
        found = strategy(list(signs), list(factors))
        if found:
            return found
    return []


def _fold(signs: Sequence[str], factors: Sequence[list[Reading]]) -> list[Reading]:
    def step(left: list[Reading], right: tuple[str, list[Reading]]) -> list[Reading]:
        sign, readings = right
        return combined([left, readings], lambda a, b: _caught(sign, a, b)) if left else []

    return reduce(step, zip(signs, factors[1:], strict=True), factors[0])


def _caught(sign: str, left: Value, right: Value) -> list[Reading]:
    try:
        return list(multiply(sign, left, right))
    except ShapeError:
        return []


def _left_to_right(signs: list[str], factors: list[list[Reading]]) -> list[Reading]:
    return _fold(signs, factors)


def _right_to_left(signs: list[str], factors: list[list[Reading]]) -> list[Reading]:
    right = factors[-1]
    for sign, left in zip(reversed(signs), reversed(factors[:-1]), strict=True):
        right = combined([left, right], lambda a, b, sign=sign: _caught(sign, a, b))
    return right


def _split(
    signs: list[str], factors: list[list[Reading]], at: tuple[str, ...]
) -> tuple[list[str], list[list[Reading]]]:
    """Runs between the signs `at` folded, by whichever side works."""
    outer: list[str] = []
    runs: list[tuple[list[str], list[list[Reading]]]] = [([], [factors[0]])]
    for sign, factor in zip(signs, factors[1:], strict=True):
        if sign in at:
            outer.append(sign)
            runs.append(([], [factor]))
        else:
            runs[-1][0].append(sign)
            runs[-1][1].append(factor)
    return outer, [_either(s, f) for s, f in runs]


def _either(signs: list[str], factors: list[list[Reading]]) -> list[Reading]:
    """Left to right, and right to left where that costs less (`diag(a) W x` is the same both ways)."""
    if len(factors) == 1:
        return factors[0]
    found = _fold(signs, factors)
    if found and found[0].cost == 0:
        return found
    return sorted([*found, *_right_to_left(signs, factors)], key=lambda r: r.cost)


def _tight_products(signs: list[str], factors: list[list[Reading]]) -> list[Reading]:
    outer, runs = _split(signs, factors, ("odot",))
    if any(not run for run in runs):
        return []
    return _fold(outer, runs)


def _tight_hadamards(signs: list[str], factors: list[list[Reading]]) -> list[Reading]:
    outer, runs = _split(signs, factors, ("", "cdot", "times", "otimes"))
    if any(not run for run in runs):
        return []
    return _either(outer, runs)


# --- sums -------------------------------------------------------------------------------------------------------------


def add(values: Sequence[Value]) -> Iterator[Reading]:
    """The sum of values of one shape; numbers spread, and a vector among matrices is its diagonal matrix."""
    numbers = [v for v in values if isinstance(v, Number)]
    if len(numbers) == len(values):
        yield Reading(Number(sum((v.value for v in numbers), Integer(0)), any(v.ones for v in numbers)))
        return
    if any(isinstance(v, Cube) for v in values):
        cubes = [v for v in values if isinstance(v, Cube)]
        if len(cubes) == len(values) and len({c.rows for c in cubes}) == 1 and len({c.transposed for c in cubes}) == 1:
            yield Reading(Cube(lambda d: expr.add(*(c.pull(d) for c in cubes)), cubes[0].rows, cubes[0].transposed))
        return
    nodes = [v for v in values if isinstance(v, Node)]
    if any(not isinstance(v, (Node, Number, Unit, Wide)) for v in values):
        return
    if not nodes:
        units = [v for v in values if isinstance(v, Unit)]
        if len(units) == len(values):
            coefficients = [
                u.coefficient if isinstance(u.coefficient, Node) else expr.number(u.coefficient) for u in units
            ]
            yield Reading(Unit(expr.add(*coefficients)))
        return
    shapes = {n.shape for n in nodes if not is_scalar(n)}
    if len(shapes) <= 1:
        shape = next(iter(shapes), expr.SCALAR)
        yield from _sum_in(shape, values)
        return
    matrices = {s for s in shapes if s[0] == s[1]}
    if len(matrices) == 1 and all(s in matrices or s == (next(iter(matrices))[0], 1) for s in shapes):
        shape = next(iter(matrices))
        raised = [expr.diag(v) if isinstance(v, Node) and is_vector(v) else v for v in values]
        yield from (Reading(r.value, choice("summand", "diagonal"), 5 + r.cost) for r in _sum_in(shape, raised))


def _sum_in(shape: expr.Shape, values: Sequence[Value]) -> Iterator[Reading]:
    terms: list[Node] = []
    cost = 0
    choices: Choices = ()
    for value in values:
        node = as_node(value, shape)
        if node is None and isinstance(value, Unit) and (shape[1] == 1 or shape[0] == 1):
            node, choices, cost = expr.Ones(*shape), choice("identity", "ones"), 4
        if node is None and isinstance(value, Number) and shape[0] == shape[1]:
            node, choices, cost = expr.scale(value.value, expr.Identity(shape[0])), choice("identity", "one"), 4
        if node is None:
            return
        if isinstance(value, Node) and value.shape != shape:
            cost += 3 if isinstance(value, (expr.Var, expr.Entry)) else 14
            choices = choice("scalar", "spread")
        terms.append(node)
    yield Reading(expr.add(*terms), choices, cost)


def negated(value: Value) -> Value | None:
    if isinstance(value, Number):
        return Number(-value.value, value.ones)
    if isinstance(value, Node):
        return expr.scale(-1, value)
    if isinstance(value, Unit):
        return Unit(_coefficient(Integer(-1), value.coefficient))
    if isinstance(value, Cube):
        return _scaled_cube(-1, value)
    return value.scaled(-1) if isinstance(value, Wide) else None
