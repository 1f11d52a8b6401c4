"""Nodes as PyTorch source, with the leading axes of `derive.emit.code`, and the functions that it calls.

A row of `CALLS` is a function of PyTorch that stands where it is used; `SOURCES` are defined in the module that calls them.
Every other function comes from the row of `derive.functions`, or from its SymPy expression, printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from derive import expr, functions
from derive.emit import library
from derive.emit.code import (
    ATOM,
    COLUMN,
    MATRIX,
    PRODUCT,
    RANK,
    RULES,
    SCALAR,
    ArrayPrinter,
    Get,
    Rule,
    Value,
    hadamard,
    kind_of,
    of_scalars,
)
from derive.expr import Node
from derive.schedule.terms import outer_factors, terms_of

INPLACE = ("sigmoid", "tanh", "relu", "exp", "log", "sqrt", "square", "sinh", "cosh", "sign", "abs")
"""Functions that PyTorch has by their own name, `torch.tanh(x)` and `x.tanh_()`."""

CALLS: dict[str, str] = {
    **{name: f"torch.{name}({{x}})" for name in INPLACE},
    "softmax": "torch.softmax({x}, -1)",
    "log_sum_exp": "torch.logsumexp({x}, -1)",
    "max": "torch.clamp({x}, min={y})",
    "min": "torch.clamp({x}, max={y})",
    "diag": "torch.diag_embed({x})",
    "flip": "torch.transpose({x}, -1, -2)",
}

SOURCES: dict[str, str] = {
    **{name: library.SOURCES[name] for name in ("dot", "outer", "matvec", "sum_outer")},
    "step": """
def step(x):
    return (x > 0).to(x.dtype)
""",
    "layer_norm": '''
def layer_norm(x):
    """(x - mean) / sqrt(variance + EPSILON) along the last axis."""
    return torch.nn.functional.layer_norm(x, x.shape[-1:], eps=EPSILON)
'''.replace("EPSILON", repr(float(functions.LAYER_NORM_EPSILON))),
    "cross_entropy": '''
def cross_entropy(o, y):
    """-sum(y * log(softmax(o))) along the last axis, for a distribution y."""
    return torch.logsumexp(o, -1) - (y * o).sum(-1)
''',
    "squared_error": '''
def squared_error(o, y):
    """Half the squared distance along the last axis."""
    return 0.5 * (o - y).square().sum(-1)
''',
    "logistic": '''
def logistic(o, y):
    """-sum(y * log(sigmoid(o)) + (1 - y) * log(1 - sigmoid(o))) along the last axis."""
    return (softplus(o) - y * o).sum(-1)
''',
    "softplus": '''
def softplus(x):
    """log(1 + exp(x)), which is x far right."""
    return torch.logaddexp(x, torch.zeros_like(x))
''',
    "sum_leading": '''
def sum_leading(a, rank):
    """The sum over steps and batch: over all axes but the last `rank`."""
    return a.sum(dim=tuple(range(a.ndim - rank)))
''',
    "rows": '''
def rows(array):
    """The vectors of all points below one another: one matrix."""
    return array.reshape(-1, array.shape[-1])
''',
    "by_columns": '''
def by_columns(matrix):
    """`matrix`, stored column by column: products with it in a loop are faster so."""
    return matrix.T.contiguous().T
''',
    "steps": '''
def steps(array, *missing):
    """The array of every step, by its number; `missing`: how many stand in front of the first, along each axis."""
    first, *rest = missing
    found = array.unbind()
    return (*[None] * first, *([steps(row, *rest) for row in found] if rest else found))
''',
    "slope_of_tanh": '''
def slope_of_tanh(y, factor, out):
    """factor * (1 - y * y) in one pass."""
    return torch.ops.aten.tanh_backward.grad_input(factor, y, grad_input=out)
''',
    "slope_of_sigmoid": '''
def slope_of_sigmoid(y, factor, out):
    """factor * y * (1 - y) in one pass."""
    return torch.ops.aten.sigmoid_backward.grad_input(factor, y, grad_input=out)
''',
}  # fmt: skip


class TorchPrinter(ArrayPrinter):
    """`ArrayPrinter` in PyTorch; `new` are the calls that make an array of ones, `new_ones(n)`, where one is needed."""

    def _rule(self, node: Node) -> Rule:
        return TORCH_RULES.get(type(node)) or super()._rule(node)

    def full(self, value: Value, node: Node) -> Value:
        if not value.loose:
            return value
        ones = f"new_ones({', '.join(self.size(n) for n in node.shape if n != 1)})"
        if value.text == "1":
            return replaced(value, ones, ATOM)
        return replaced(value, f"{value.at_least(PRODUCT)} * {ones}", PRODUCT)

    def call(self, name: str, *arguments: str, order: int = 0) -> str:
        if order == 0 and name in CALLS:
            return CALLS[name].format(**dict(zip("xy", arguments, strict=False)))
        return super().call(name, *arguments, order=order)

    def total(self, body: Node) -> str:
        """The sum of `body` over all leading axes: one matrix product for a sum of outer products, term by term."""

        text = ""
        for term in terms_of(body):
            c, core = expr.split_number(term)
            pair = outer_factors(core)
            sides = [self.full(self.value(side), side) for side in pair] if pair else []
            kind = kind_of(core)
            if sides and all(s.batched for s in sides):
                summed = self.call("sum_outer", *(s.text for s in sides))
            else:
                value = self.full(self.value(core), core)
                summed = self.call("sum_leading", value.text, str(RANK[kind]))
                if not value.batched:
                    summed = f"points * {value.at_least(PRODUCT)}"
            sign = " - " if c.is_negative else " + " if text else ""
            number = "" if abs(c) == 1 else f"{self.number(abs(c))} * "
            text += f"{sign if text else sign.strip()}{number}{summed}"
        return text


def _is_number(node: Node) -> bool:
    """Whether a node is written as a number, which no function of PyTorch takes."""
    return expr.is_scalar(node) and expr.as_number(node) is not None


def replaced(value: Value, text: str, level: int) -> Value:
    return Value(text, level, value.kind, value.batched)


def _identity(p: ArrayPrinter, node: expr.Identity, get: Get) -> Value:
    size = p.size(node.shape[0])
    text = f"torch.diag(new_ones({size}))"
    return Value(text, ATOM, MATRIX, False, flipped=text)


def _diagonal(p: ArrayPrinter, node: expr.Diagonal, get: Get) -> Value:
    value = p.full(get(node.args[0]), node.args[0])
    return Value(f"{value.at_least(ATOM)}.diagonal(dim1=-2, dim2=-1)", ATOM, COLUMN, value.batched)


def _apply(p: ArrayPrinter, node: expr.Apply, get: Get) -> Value:
    name, order = node.function, node.order
    row = functions.row(name)
    if not isinstance(row, functions.Elementwise) and all(kind_of(a) == SCALAR for a in node.arguments):
        return of_scalars(p, node, get)
    values = [get(a) for a in node.arguments]
    if name == "identity" and order == 0:
        return values[0]
    if name in ("max", "min") and order == 0:
        values.sort(key=lambda v: v.loose)  # a number may only stand second
    if order or values[0].loose or not isinstance(row, functions.Elementwise):
        values = [p.full(v, a) for v, a in zip(values, node.arguments, strict=True)]
    if isinstance(row, functions.Elementwise) and all(map(_is_number, node.arguments[:1])):
        values[0] = replaced(values[0], f"new_ones(()) * {values[0].at_least(PRODUCT)}", PRODUCT)
    text = p.call(name, *(v.text for v in values), order=order)
    return Value(text, ATOM, kind_of(node), any(v.batched for v in values))


def _power(p: ArrayPrinter, node: expr.Power, get: Get) -> Value:
    """A square as a product, which is cheaper than a power."""
    value, exponent = get(node.args[0]), node.args[1]
    if exponent == 2 and not value.loose and value.level == ATOM and "(" not in value.text:
        return hadamard([value, value], [])
    return RULES[expr.Power](p, node, get)


TORCH_RULES: dict[type, Rule] = {
    expr.Identity: _identity,
    expr.Diagonal: _diagonal,
    expr.Apply: _apply,
    expr.Power: _power,
}


# --- the functions that are defined in a module -----------------------------------------------------------------------------


def definitions(called: Iterable[tuple[str, int]]) -> dict[str, str]:
    """The sources of these functions and of what they call, by name, in alphabetical order."""
    found: dict[str, str] = {}
    pending = list(called)
    while pending:
        name, order = pending.pop()
        key = library.function_name(name, order)
        if key not in found:
            found[key] = _definition(name, order)
            inside = set(re.findall(r"(?<![.\w])(\w+)\(", found[key].partition(":\n")[2]))
            pending.extend((other, 0) for other in inside & SOURCES.keys() if other != key)
    return dict(sorted(found.items()))


def _definition(name: str, order: int) -> str:
    if order == 0 and name in SOURCES:
        return SOURCES[name].strip("\n")
    if order == 0 and name in CALLS:
        return f"def {name}(x):\n    return {CALLS[name].format(x='x', y='y')}"
    text = in_torch(library.definition(name, order))
    return text.replace("s = sigmoid(x)", "s = torch.sigmoid(x)").replace("erf(", "torch.erf(")


RENAMED: tuple[tuple[str, str], ...] = (
    (
        r"np\.where\((.*), ([-\d./ ]+), ([-\d./ ]+)\)\.astype\(x\.dtype\)",
        r"torch.where(\1, torch.full_like(x, \2), \3)",
    ),
    (r"np\.minimum\((\w+), ", r"torch.clamp(\1, max="),
    (r"np\.maximum\((\w+), ", r"torch.clamp(\1, min="),
    (r"np\.clip\(", "torch.clamp("),
    (r"\.astype\(", ".to("),
    (r"np\.", "torch."),
)
"""What NumPy writes, and what PyTorch does in its place; the rest has the same name."""


def in_torch(text: str) -> str:
    for pattern, replacement in RENAMED:
        text = re.sub(pattern, replacement, text)
    return text
