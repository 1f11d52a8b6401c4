"""Two sides and a sign: every reading of `left = right`, or why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, TypeAlias

from sympy import Basic, Expr, Interval, Tuple

from derive import expr
from derive.expr import Equals, Node, Shape, Var
from derive.reader import limits
from derive.reader.names import index_expression
from derive.reader.products import as_node, carries
from derive.reader.resolve import Resolver
from derive.reader.scope import Scope
from derive.reader.tree import Span, Tree
from derive.reader.troubles import columns
from derive.reader.values import ASSUMPTIONS, Choices, Cube, Function, Number, Unit, Wide, agree, choice
from derive.shapes import dimension

Trouble: TypeAlias = "tuple[str, Span]"
"""Why something is unread, and the characters that it is about."""
COMPARISONS = ("<=", ">=", "<", ">", "!=", "~")


@dataclass(frozen=True)
class Understood:
    """One way in which a claim can be read: the formula, and the choices that it takes."""

    formula: Basic
    choices: tuple[tuple[str, frozenset[str]], ...] = ()
    cost: int = 0

    @property
    def assumptions(self) -> tuple[str, ...]:
        """The choices as sentences; what is only notation is left out."""
        return tuple(
            ASSUMPTIONS[tag, value]
            for tag, allowed in self.choices
            if len(allowed) == 1
            for value in allowed
            if (tag, value) in ASSUMPTIONS
        )


def relate(
    resolver: Resolver, sign: str, left: Tree, right: Tree, tree: Tree
) -> tuple[list[Understood], Trouble | None]:
    """Every reading of `left sign right`, or why there is none."""
    if sign == "prop":
        return [], ("a proportionality says nothing of the factor, and is not read", tree.span)
    if sign == "in":
        return belongs(resolver, left, right, tree)
    lefts = resolver.readings(left)
    rights = resolver.readings(right) if lefts else []
    if not lefts or not rights:
        return [], trouble(resolver, left if not lefts else right)
    made: dict[Any, Understood] = {}
    for a in lefts:
        for b in rights:
            choices = agree(a.choices, b.choices)
            if choices is None:
                continue
            for formula, extra, cost in _related(resolver, sign, a.value, b.value):
                both = agree(choices, extra)
                if both is not None:
                    understood = Understood(formula, both, a.cost + b.cost + cost)
                    key = formula
                    if key not in made or made[key].cost > understood.cost:
                        made[key] = understood
    if not made:
        return [], _sides(resolver, left, right, tree)
    return sorted(made.values(), key=lambda u: u.cost), None


def belongs(resolver: Resolver, left: Tree, right: Tree, tree: Tree) -> tuple[list[Understood], Trouble | None]:
    r"""`\tanh u \in [-1, 1]`, `h_t \in (0, 1)^n`: every entry lies in an interval; `h_t \in \mathbb{R}^n`: a shape."""
    shaped = shape_of_reals(right) if all(name not in resolver.scope.names for name in ("R", "R_n")) else None
    interval = None if shaped is not None else interval_of(resolver, right)
    found: list[Understood] = []
    for reading in resolver.readings(left):
        value, cost = reading.value, reading.cost
        if isinstance(value, Function):
            value, cost = expr.apply(value.name, Var("u", (), (), *expr.SCALAR), order=value.order), cost + 1
        if isinstance(value, Node) and interval is not None:
            found.append(Understood(expr.Relation("in", value, interval), reading.choices, cost))
        elif isinstance(value, Node) and shaped is not None:
            found.append(Understood(expr.Relation("in", value, Tuple(*shaped)), reading.choices, cost))
    if found:
        return found, None
    if interval is None and shaped is None:
        return [], ("this is no interval such as [0, 1], and no space such as \\mathbb{R}^n", right.span)
    return [], trouble(resolver, left)


def interval_of(resolver: Resolver, tree: Tree) -> Interval | None:
    """`[a, b]`, `(0, 1)`, `[0, 1)^n`: the numbers between two numbers."""
    group = tree.children[0] if tree.kind == "script" else tree
    mark = str(group.value)
    if group.kind != "group" or mark[:1] not in ("(", "[") or len(group.children) != 2:
        return None
    ends = [next((r.value for r in resolver.readings(child)), None) for child in group.children]
    low, high = (end.value if isinstance(end, Number) else None for end in ends)
    if low is None or high is None or not (low.is_real and high.is_real):
        return None
    return Interval(low, high, mark[0] == "(", (mark[1:2] or {"(": ")", "[": "]"}[mark[0]]) == ")")


def shape_of_reals(tree: Tree) -> tuple[Expr, Expr] | None:
    r"""`\mathbb{R}`, `\mathbb{R}^n`, `\mathbb{R}^{n \times m}`."""
    base, *scripts = tree.children if tree.kind == "script" else (tree,)
    if not base.names("R") or len(scripts) > 1 or any(s.kind != "sup" for s in scripts):
        return None
    if not scripts:
        return expr.SCALAR
    (inside,) = scripts[0].children
    sizes = inside.children if inside.kind == "chain" and set(inside.value) <= {"times"} else (inside,)
    found = [index_expression(size) for size in sizes]
    if len(found) not in (1, 2) or any(size is None for size in found):
        return None
    letters = [size.xreplace({s: dimension(s.name) for s in size.free_symbols}) for size in found if size is not None]
    return letters[0], letters[1] if len(letters) == 2 else expr.ONE


def _sides(resolver: Resolver, left: Tree, right: Tree, tree: Tree) -> Trouble:
    a, b = resolver.readings(left)[0].value, resolver.readings(right)[0].value
    if isinstance(a, Node) and isinstance(b, Node) and a.shape != b.shape:
        shapes = f"{expr.show_shape(a.shape)} and {expr.show_shape(b.shape)}"
        return f"the two sides have different shapes, {shapes} {columns(resolver, left, right)}", right.span
    return "the two sides do not go together", tree.span


def _related(resolver: Resolver, sign: str, a: Any, b: Any) -> Iterator[tuple[Basic, Choices, int]]:
    """The formulas that two values and a sign make."""
    a, b = resolver.losses(a), resolver.losses(b)
    if isinstance(a, Function) or isinstance(b, Function):
        shape = next((v.shape for v in (a, b) if isinstance(v, Node)), expr.SCALAR)
        argument = Var("u", (), (), *shape)
        tag = choice("function", "argument")
        if isinstance(a, Function):
            a = expr.apply(a.name, argument, order=a.order)
        if isinstance(b, Function):
            b = expr.apply(b.name, argument, order=b.order)
        yield from ((f, tag, c + 1) for f, _, c in _related(resolver, sign, a, b))
        return
    if isinstance(a, Cube) and isinstance(b, Cube):
        if (a.rows, a.columns) == (b.rows, b.columns):
            anything = Var("v", (), (), a.rows, a.columns)
            yield _formula(sign, a.pull(anything), b.pull(anything)), (), 0
        return
    if isinstance(a, Cube) or isinstance(b, Cube):
        return
    if not isinstance(a, Node) and not isinstance(b, Node) and (isinstance(a, Unit) or isinstance(b, Unit)):
        for size in sorted(resolver.dimensions) or ["n"]:
            yield from _in_shape(sign, a, b, (dimension(size), dimension(size)))
        return
    shape = next((v.shape for v in (a, b) if isinstance(v, Node)), expr.SCALAR)
    if isinstance(a, Node) and isinstance(b, Node):
        a, b = _zeros(a, b.shape), _zeros(b, a.shape)
        if a.shape == b.shape:
            yield _formula(sign, a, b), (), 0
        elif sign in COMPARISONS or expr.is_scalar(a) or expr.is_scalar(b):
            yield from _spread(sign, a, b)
        elif a.shape == (b.shape[0], b.shape[0]) and b.shape[1] == 1 and not carries(b):
            yield _formula(sign, a, expr.diag(b)), choice("summand", "diagonal"), 5
        elif a.shape == (b.shape[1], b.shape[0]) and 1 in a.shape:
            yield _formula(sign, a, expr.transpose(b)), choice("layout", "numerator", "denominator"), 7
        return
    yield from _in_shape(sign, a, b, shape)


def _zeros(node: Node, shape: Any) -> Node:
    """A matrix of plain zeros in the shape of what it is compared with."""
    cells = [cell for row in node.args for cell in row] if isinstance(node, expr.Block) else []
    return expr.Zero(*shape) if cells and all(isinstance(c, expr.Zero) for c in cells) else node


def _shaped(value: Any, shape: Any) -> Node | None:
    node = as_node(value, shape)
    if node is None and isinstance(value, Number):
        square = shape[0] == shape[1] and shape != expr.SCALAR
        return expr.scale(value.value, expr.Identity(shape[0])) if square else expr.number(value.value, shape)
    if node is None and isinstance(value, Unit) and 1 in shape:
        return expr.Ones(*shape)
    return node


def _spread(sign: str, a: Node, b: Node) -> Iterator[tuple[Basic, Choices, int]]:
    """A scalar beside a vector means every entry; of an equation only one that has a name."""
    if expr.is_scalar(a) == expr.is_scalar(b):
        return
    one, shape = (a, b.shape) if expr.is_scalar(a) else (b, a.shape)
    if 1 in shape and (sign in COMPARISONS or isinstance(one, Var)):
        spread_ = _formula(sign, expr.as_node(a, shape), expr.as_node(b, shape))
        yield spread_, choice("scalar", "spread") if sign not in COMPARISONS else (), 2


def _formula(sign: str, a: Node, b: Node) -> Basic:
    if sign in ("=", ":="):
        return Equals(a, b)
    return expr.Relation(sign, a, b)


def trouble(resolver: Resolver, tree: Tree) -> Trouble:
    error = resolver.unread(tree)
    return str(error), error.span


def _in_shape(sign: str, a: Any, b: Any, shape: Shape) -> Iterator[tuple[Basic, Choices, int]]:
    """Where a number or an identity takes its shape from the other side."""
    if isinstance(a, (Node, Number, Unit, Wide)) and isinstance(b, (Node, Number, Unit, Wide)):
        left, right = _shaped(a, shape), _shaped(b, shape)
        if left is not None and right is not None:
            yield _formula(sign, left, right), (), 0


def letters_in(tree: Tree, scope: Scope) -> frozenset[Any]:
    """The letters that stand in scripts and brackets as indices, where they are no names."""
    found: set[Any] = set()
    for node in tree.walk():
        if node.kind != "script":
            continue
        big = node.children[0].names("sum", "prod")
        for inside in (i for s in node.children[1:] if not (big and s.kind == "sup") for i in s.children):
            # Of a range it is the letter that runs, not its ends.
            kept = inside.children[0] if big and inside.kind == "relation" else inside
            if big and inside.kind not in ("relation", "name", "list"):
                continue
            index = index_expression(kept, scope.letters)
            parts = [index] if index is not None else [index_expression(c, scope.letters) for c in kept.walk()]
            found |= {s for part in parts if part is not None for s in part.free_symbols}
    return frozenset(s for s in found if s.name not in scope.names)


class TooMany(Exception):
    """A list of paths stands for more of them than are worked out."""


def paths_of(resolver: Resolver, tree: Tree) -> list[tuple[Var, ...]]:
    r"""The paths that a piece of a path stands for: a variable, a set `\{a \to b; c\}`, sets joined by `\times`."""
    if tree.kind == "relation" and set(tree.value) == {"->"}:
        return _each_with_each(paths_of(resolver, child) for child in tree.children)
    if tree.kind == "chain" and set(tree.value) <= {"times"}:
        return _each_with_each(paths_of(resolver, child) for child in tree.children)
    if tree.kind == "group" and str(tree.value).startswith("\\{"):
        several = [paths_of(resolver, child) for child in tree.children]
        return [path for found in several for path in found] if all(several) else []
    return next(([(r.value,)] for r in resolver.readings(tree) if isinstance(r.value, Var)), [])


def _each_with_each(parts: Iterable[list[tuple[Var, ...]]]) -> list[tuple[Var, ...]]:
    parts = list(parts)
    if prod(map(len, parts)) > limits.MOST_PATHS:
        raise TooMany
    walked = ([v for piece in chosen for v in piece] for chosen in product(*parts))
    # A piece that begins where the one before ends goes on from there.
    return [tuple(v for n, v in enumerate(path) if n == 0 or v != path[n - 1]) for path in walked]
