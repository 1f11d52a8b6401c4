r"""Derivatives as they are written: `\frac{\partial y}{\partial x}`, `dL/dW`, `\nabla_{h_t} L`, adjoints.

What a quotient means follows from what stands above and below: a loss above gives a gradient (a column, or a row in
numerator layout), two vectors a Jacobian, a vector above a matrix a linear map that is known by its pullback (`Cube`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from derive import expr
from derive.expr import Node, Var, is_column, is_scalar
from derive.reader.postfix import marked
from derive.reader.products import is_vector
from derive.reader.tree import Tree
from derive.reader.values import Choices, Cube, Loss, Reading, Value, agree, choice, combined

if TYPE_CHECKING:
    from derive.reader.resolve import Resolver

COLUMN = choice("layout", "mixed", "denominator")
ROW = choice("layout", "numerator")
JACOBIAN = choice("layout", "mixed", "numerator")
TRANSPOSED = choice("layout", "denominator")


def is_d(resolver: Resolver, tree: Tree) -> bool:
    r"""Whether this is `\partial`, `\partial^+` or a `d` that is no variable."""
    base = tree.children[0] if tree.kind == "script" else tree
    if tree.kind == "script" and not all(s.kind == "sup" for s in tree.children[1:]):
        return False
    if base.names("partial"):
        return True
    return base.names("d") and not resolver.scope.lookup("d")


def immediate(tree: Tree) -> bool | None:
    r"""Whether a `∂` has a plus; None for a second derivative."""
    if tree.kind != "script":
        return False
    inside = tree.children[1].children[0] if tree.children[1].children else None
    return True if inside is not None and inside.kind == "symbol" and inside.value in ("+", "*", "star") else None


def operand(resolver: Resolver, tree: Tree) -> tuple[Tree, Tree] | None:
    """`(∂, what follows it)`; a chain or a sum whose first factor is ∂."""
    if tree.kind == "chain" and is_d(resolver, tree.children[0]) and tree.value[0] == "":
        rest = tree.children[1:]
        inner = rest[0] if len(rest) == 1 else Tree("chain", tree.value[1:], rest, (rest[0].span[0], rest[-1].span[1]))
        return tree.children[0], inner
    if tree.kind == "name" and len(str(tree.value)) > 1 and str(tree.value)[0] == "d":
        name = Tree("name", str(tree.value)[1:], (), (tree.span[0] + 1, tree.span[1]))
        if resolver.scope.lookup(str(name.value)):
            return Tree("name", "d", (), tree.span), name
    return None


def quotient(resolver: Resolver, over: Tree, under: Tree) -> list[Reading] | None:
    """The readings of `over/under` where it is a derivative; None where it is none."""
    above, below = operand(resolver, over), operand(resolver, under)
    if above is None or below is None:
        return None
    if immediate(above[0]) is None:
        resolver.trouble(over, "second derivatives are not read")
        return []
    plus = bool(immediate(above[0]))
    below_losses = [Reading(resolver.losses(r.value), r.choices, r.cost) for r in resolver.readings(below[1])]
    xs = [r for r in below_losses if _is_variable(r.value)]
    if not xs:
        if not resolver.readings(below[1]):
            return []
        resolver.trouble(under, "a derivative is taken with respect to a variable, or an entry of one")
        return []
    ys = resolver.bare(resolver.readings(above[1]))
    straight = above[0].names("d")
    found = combined([ys, xs], lambda y, x: list(derivative(resolver, y, x, plus, straight)))
    if not found:
        resolver.trouble(over, "this derivative has no meaning between these shapes")
    return found


def _is_variable(value: Value) -> bool:
    if isinstance(value, expr.Entry):
        value = value.args[0]
    if isinstance(value, expr.Block):
        return all(isinstance(cell, Var) for row in value.args for cell in row)
    return isinstance(value, Var)


def derivative(resolver: Resolver, y: Value, x: Value, plus: bool, straight: bool = False) -> Iterator[Reading]:
    """Every meaning of `∂y/∂x`."""
    hold = resolver.scope.hold
    if isinstance(x, expr.Block):
        yield from _by_block(resolver, y, x, plus)
        return
    if isinstance(x, expr.Entry):
        for reading in derivative(resolver, y, x.args[0], plus):
            taken = _entry_of(reading.value, y, x)
            if taken is not None:
                yield Reading(taken, (), reading.cost)
        return
    if isinstance(y, Loss):
        if not y.index:
            for gradient in adjoints(x):
                yield from _laid_out(gradient)
            return
        y = resolver.scope.loss(y.index)
        if resolver.scope.own:
            yield from _as_printed(resolver, y, x, plus)
            return
    if not isinstance(y, Node) or not isinstance(x, Var):
        return
    if isinstance(y, Var) and y.base == "L" and is_scalar(y):
        yield from _laid_out(expr.GradientOf(y, x))
    elif isinstance(y, expr.Entry) and is_vector(y.args[0]) and is_column(x) and not is_scalar(x):
        yield from _laid_out(expr.GradientOf(y, x, plus))
    elif is_scalar(y) and is_scalar(x):
        yield Reading(expr.Partial(y, x, plus, hold))
    elif is_scalar(y):
        yield from _laid_out(expr.GradientOf(y, x, plus))
    elif is_column(y) and is_column(x):
        jacobian = expr.Partial(y, x, plus, hold)
        yield Reading(jacobian, JACOBIAN)
        if not is_scalar(x):
            yield Reading(expr.transpose(jacobian), TRANSPOSED, 2)
    else:
        yield from _by_matrix(y, x, plus, straight)


def _as_printed(resolver: Resolver, y: Var, x: Value, plus: bool) -> Iterator[Reading]:
    r"""`\frac{\partial L_t}{\partial h_t}` as derive itself writes it: a row, or the cotangent of an open loss."""
    if isinstance(x, Var) and is_column(x):
        is_open = f"{x.name}_ct" in resolver.scope.names and x.index == y.index and not plus
        if is_open:
            yield from _laid_out(x.marked("ct"))
        row = expr.Partial(y, x, plus, resolver.scope.hold)
        yield Reading(row, JACOBIAN, 2 * is_open)
        if not is_scalar(x):
            yield Reading(expr.transpose(row), TRANSPOSED, 2 * is_open)
    elif isinstance(x, Var):
        yield Reading(expr.GradientOf(y, x, plus))


def _laid_out(gradient: Node) -> Iterator[Reading]:
    if is_vector(gradient):
        yield Reading(gradient, COLUMN)
        yield Reading(expr.transpose(gradient), ROW, 1)
    else:
        yield Reading(gradient)


def _entry_of(value: Value, y: Value, x: expr.Entry) -> Node | None:
    """`∂y_i/∂x_j` as the entry of the Jacobian, `∂L/∂x_j` as that of the gradient."""
    body, i, j = x.args
    if isinstance(value, expr.Transpose):
        return None
    if isinstance(y, expr.Entry) and isinstance(value, expr.GradientOf) and is_vector(body):
        return expr.entry(expr.Partial(y.args[0], body, value.immediate), y.args[1], i)
    if isinstance(value, Node) and value.shape == body.shape:
        return expr.entry(value, i, j)
    return None


def _by_matrix(y: Node, x: Var, plus: bool, straight: bool) -> Iterator[Reading]:
    if not isinstance(y, Var):
        return
    if plus:
        yield Reading(_pulled(y, x, 1))
        return
    immediate = _pulled(y, x, 1)
    yield Reading(replace(_pulled(y, x, 0), immediate=immediate, straight=straight))


def _pulled(y: Var, x: Var, immediate: int) -> Cube:
    return Cube(lambda d: expr.Pulled(y, x, d, immediate), y.shape[0], columns=y.shape[1])


def in_chain(resolver: Resolver, readings: list[Reading]) -> list[Reading]:
    """In a chain of derivatives `∂h/∂W` is often the immediate partial; which one is meant first, habits say."""
    found: list[Reading] = []
    for r in readings:
        once = _immediate(r.value)
        if once is None:
            found.append(r)
            continue
        straight = isinstance(r.value, Cube) and r.value.straight
        first = isinstance(r.value, Cube) and not resolver.scope.habits.means_total(straight)
        for value, weight, late in ((once, "immediate", not first), (r.value, "total", first)):
            choices = agree(r.choices, choice("weight", weight))
            if choices is not None:
                found.append(Reading(value, choices, r.cost + late))
    return found


def _immediate(value: Value) -> Value | None:
    """What a total derivative by a parameter means if it is the immediate one."""
    if isinstance(value, Cube):
        return value.immediate
    if isinstance(value, expr.Partial) and not value.immediate and expr.is_scalar(value):
        y, x = value.args[:2]
        if isinstance(y, Var) and isinstance(x, Var) and y.index and not x.index:
            return expr.Partial(y, x, 1, value.args[3])
    return None


def _by_block(resolver: Resolver, y: Value, x: Node, plus: bool) -> Iterator[Reading]:
    """By a concatenation: the derivatives by its parts, laid side by side as a gradient or a Jacobian has them."""
    cells = [[list(derivative(resolver, y, cell, plus)) for cell in row] for row in x.args]
    if isinstance(y, expr.Block):
        rows = [[list(derivative(resolver, part[0], cell[0], plus)) for cell in x.args] for part in y.args]
        if all(all(line) for line in rows):
            parts = [cell[0] for cell in x.args]
            made = [[_beside(resolver, line[0].value, parts) for line in row] for row in rows]
            yield Reading(expr.Block(*made), JACOBIAN)
        return
    if not all(all(line) for line in cells):
        return
    first = [[line[0] for line in row] for row in cells]
    if any(isinstance(r.value, Cube) for row in first for r in row):
        return
    if isinstance(y, Loss) or (isinstance(y, Node) and is_scalar(y)):
        yield Reading(expr.Block(*([r.value for r in row] for row in first)), COLUMN if is_column(x) else ())
    elif is_column(x):
        yield Reading(expr.Block([row[0].value for row in first]), JACOBIAN)


def _beside(resolver: Resolver, value: Value, parts: Sequence[Node]) -> Value:
    """The derivative by one of several parts, which vary for themselves: the other states are held at their step.

    A part is itself and does not move with the others, `∂h_{t-1}/∂h_{t-2} = 0` where `[h_{t-1}; h_{t-2}]` stands below.
    """
    system = resolver.scope.system
    if not isinstance(value, expr.Partial) or value.immediate or system is None:
        return value
    y, x, _, held = value.args
    if y in parts:
        return expr.Identity(y.shape[0]) if y == x else expr.Zero(*value.shape)
    others = [p for p in parts if isinstance(p, Var) and p.index and p not in (x, y) and p.name in system.equations]
    return expr.Partial(y, x, 0, (*held, *others))


def adjoints(value: Value) -> Iterator[Node]:
    """`∇_x L` of a variable, or of the blocks of a concatenation; an entry gives the gradient's entry."""
    if isinstance(value, Var) and not value.marks:
        yield value.marked("bar")
    elif isinstance(value, Var) and value.marks in (("bar",), ("delta",), ("dot",)):
        return
    elif isinstance(value, expr.Transpose):
        for inside in adjoints(value.args[0]):
            yield expr.transpose(inside)
    elif isinstance(value, expr.Entry):
        for inside in adjoints(value.args[0]):
            yield expr.entry(inside, *value.args[1:])
    elif isinstance(value, expr.Block):
        yield marked(value, "bar")


def d_of(value: Value, straight: bool) -> Iterator[tuple[Node, Choices, int]]:
    r"""`\delta x` is the adjoint of x; `dx` is it in code, and in calculus the differential, the tangent of x."""
    for gradient in adjoints(value):
        yield gradient, choice("d", "gradient") if straight else (), 0
    if straight and isinstance(value, Var) and not value.marks:
        yield value.marked("dot"), choice("d", "differential"), 1


def nabla(resolver: Resolver, below: Tree, after: Tree | None) -> tuple[list[Reading], int] | None:
    r"""`\nabla_{h_t} L`, `\nabla_W h_i`; without a loss behind it the loss is meant."""
    xs = [r for r in resolver.readings(below) if _is_variable(r.value)]
    if not xs:
        resolver.trouble(below, "a gradient is taken with respect to a variable")
        return [], 0
    ys = resolver.readings(after) if after is not None else []
    if any(isinstance(r.value, Loss) or _is_scalar_formula(r.value) for r in ys):
        found = combined([ys, xs], lambda y, x: _gradients(resolver, y, x))
        if found:
            return found, 1
    return combined([xs], lambda x: [Reading(g) for g in adjoints(x)]), 0


def _is_scalar_formula(value: Value) -> bool:
    return isinstance(value, expr.Entry)


def _gradients(resolver: Resolver, y: Value, x: Value) -> list[Reading]:
    if isinstance(y, Loss) and not y.index:
        return [Reading(g) for g in adjoints(x)]
    if isinstance(y, Loss):
        y = resolver.scope.loss(y.index)
    if isinstance(y, Node) and is_scalar(y) and isinstance(x, Var):
        return [Reading(expr.GradientOf(y, x))]
    return []
