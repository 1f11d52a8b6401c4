"""What a system is worth by its text: an interpreter that shares nothing with derive, differentiated by HIPS autograd.

It reads the equations with Python's own parser and evaluates one entry of the lattice after another, on demand, one sample
at a time; a value beyond the lattice is a boundary value, or zero.  Vectors are columns.
"""

from __future__ import annotations

import ast
import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import autograd.numpy as np
import numpy
from autograd import value_and_grad
from autograd.scipy.special import erf
from autograd.tracer import getval
from random_systems import SIZES, Drawn

Arrays: TypeAlias = "dict[str, numpy.ndarray]"
Point: TypeAlias = "tuple[int, ...]"


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _softplus(x: Any) -> Any:
    return np.log(1 + np.exp(x))


def _log_sum_exp(x: Any) -> Any:
    return np.log(np.sum(np.exp(x))).reshape(1, 1)


def _layer_norm(x: Any) -> Any:
    centred = x - np.mean(x)
    return centred / np.sqrt(np.mean(centred * centred) + 1e-5)


def _hard_sigmoid(x: Any) -> Any:
    return np.where(x <= -3, 0 * x, np.where(x >= 3, 0 * x + 1, x / 6 + 0.5))


def _hard_tanh(x: Any) -> Any:
    return np.where(x <= -1, 0 * x - 1, np.where(x >= 1, 0 * x + 1, x))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": lambda x: x * np.sign(x),
    "cosh": np.cosh,
    "cross_entropy": lambda o, y: _log_sum_exp(o) - np.sum(y * o).reshape(1, 1),
    "diag": lambda x: np.diag(x[:, 0]),
    "elu": lambda x: np.where(x > 0, x, np.exp(np.where(x > 0, 0 * x, x)) - 1),
    "gelu": lambda x: x * (1 + erf(x / 2**0.5)) / 2,
    "hard_sigmoid": _hard_sigmoid,
    "hard_tanh": _hard_tanh,
    "identity": lambda x: x,
    "layer_norm": _layer_norm,
    "leaky_relu": lambda x: np.where(x > 0, x, x / 100),
    "log": np.log,
    "log_sum_exp": _log_sum_exp,
    "logistic": lambda o, y: np.sum(_softplus(o) - y * o).reshape(1, 1),
    "max": lambda x, y: np.where(x > y, x, y),
    "min": lambda x, y: np.where(x < y, x, y),
    "relu": lambda x: np.where(x > 0, x, 0 * x),
    "sech": lambda x: 1 / np.cosh(x),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "softmax": lambda x: np.exp(x) / np.sum(np.exp(x)),
    "softplus": _softplus,
    "sqrt": np.sqrt,
    "square": lambda x: x * x,
    "squared_error": lambda o, y: np.sum((o - y) ** 2).reshape(1, 1) / 2,
    "sum": lambda x: np.sum(x).reshape(1, 1),
    "tanh": np.tanh,
}
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.MatMult: operator.matmul,
}


def shapes_of(drawn: Drawn) -> dict[str, tuple[int, int]]:
    """Rows and columns of every variable."""
    found = {}
    for declared in (drawn.inputs, drawn.parameters, drawn.shapes, drawn.targets):
        for entry in filter(None, declared.split(", ")):
            name, _, shape = entry.partition(": ")
            sizes = [SIZES[s] for s in shape.split(" x ")] if shape != "scalar" else [1]
            found[name] = (sizes[0], sizes[1] if len(sizes) > 1 else 1)
    return found


class Interpreter:
    """The equations of a system; `boundary` is what holds beyond the lattice for every variable."""

    def __init__(self, drawn: Drawn, boundary: Mapping[str, str]):
        self.shapes, self.boundary = shapes_of(drawn), boundary
        statements = [s for s in ast.parse(drawn.equations).body if isinstance(s, ast.Assign)]
        targets = [s.targets[0] for s in statements]
        self.equations = {t.value.id: s.value for t, s in zip(targets, statements, strict=True)}  # type: ignore[attr-defined]
        self.loss = ast.parse(drawn.loss, mode="eval").body if drawn.loss else None
        self.loss_at = drawn.loss_at
        self.indices = "ij" if "[i,j]" in drawn.equations else "t"

    def flows_back(self, of_loss: bool) -> bool:
        """Whether states flow from the last step to the first."""
        trees = [*self.equations.values(), *([self.loss] if of_loss and self.loss else [])]
        reads = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Subscript)]
        return any(o > 0 for n in reads if n.value.id in self.equations for o in offset(n))  # type: ignore[attr-defined]

    def value(self, values: Mapping[str, Any], sizes: Point, cotangents: Mapping[str, Any] | None, cut: int = 0) -> Any:
        """`Σ <cotangent, state>` of one sample, or its loss where there are no cotangents.

        `cut`: reads of states end no gradient beyond segments of so many steps (0: nothing is cut).
        """
        run = Run(self, values, sizes, cut, self.flows_back(cotangents is None))
        points = list(itertools.product(*(range(1, n + 1) for n in sizes)))
        if cotangents is None:
            assert self.loss is not None
            places = points if self.loss_at == "every" else points[-1:]
            return sum(np.sum(run.formula(self.loss, p)) for p in places)
        terms = [
            np.sum(run.get(name, p) * numpy.reshape(c[tuple(i - 1 for i in p)], self.shapes[name]))
            for name, c in cotangents.items()
            for p in points
        ]
        return sum(terms, 0.0)

    def gradients(self, values: Arrays, sizes: Point, cotangents: Mapping[str, Any] | None, cut: int = 0) -> Any:
        """That value, and its gradient by all `values`."""
        given = {name: numpy.asarray(array, float) for name, array in values.items()}
        # What the value does not depend on has the gradient zero.
        total = lambda v: self.value(v, sizes, cotangents, cut) + sum(np.sum(0.0 * a) for a in v.values())  # noqa: E731
        return value_and_grad(total)(given)

    def trajectories(self, values: Mapping[str, Any], sizes: Point) -> dict[str, Any]:
        """Every state at every step, each `(*sizes, rows, columns)`."""
        run = Run(self, values, sizes)
        found = {name: numpy.zeros((*sizes, *self.shapes[name])) for name in self.equations}
        for name, array in found.items():
            for place in numpy.ndindex(*sizes):
                array[place] = run.get(name, tuple(i + 1 for i in place))
        return found


class Run:
    """One sample: `get` gives a variable at a point, and remembers it."""

    def __init__(self, of: Interpreter, values: Mapping[str, Any], sizes: Point, cut: int = 0, back: bool = False):
        self.of, self.values, self.sizes, self.cut, self.back = of, values, sizes, cut, back
        self.memory: dict[tuple[str, Point], Any] = {}

    def get(self, name: str, point: Point) -> Any:
        if (name, point) not in self.memory:
            self.memory[name, point] = self._made(name, point)
        return self.memory[name, point]

    def _made(self, name: str, point: Point) -> Any:
        shape = self.of.shapes[name]
        if all(1 <= p <= n for p, n in zip(point, self.sizes, strict=True)):
            if name in self.of.equations:
                return self.formula(self.of.equations[name], point) + np.zeros(shape)
            return np.reshape(self.values[name][tuple(p - 1 for p in point)], shape)
        if self.of.boundary.get(name, "zero") == "zero":
            return np.zeros(shape)
        key, place = self._beyond(name, point)
        return np.reshape(self.values[key][place], shape) if key in self.values else np.zeros(shape)

    def _beyond(self, name: str, point: Point) -> tuple[str, Point]:
        """The key of a boundary value, and where along its border the point lies."""
        parts, place = [], []
        for p, n, index in zip(point, self.sizes, self.of.indices, strict=True):
            inside = 1 <= p <= n
            place += [p - 1] if inside else []
            parts.append(index if inside else str(p) if p < 1 else f"{index.upper()}+{p - n}")
        return f"{name}[{','.join(parts)}]", tuple(place)

    def read(self, name: str, point: Point, reader: Point) -> Any:
        """A variable as a formula at `reader` reads it: a state of another segment is a constant."""
        value = self.get(name, point)
        apart = self.cut and name in self.of.equations and self._segment(point) != self._segment(reader)
        return getval(value) if apart else value

    def _segment(self, point: Point) -> int:
        """The number of a segment, from where states start to flow; boundary values belong to the first."""
        (step,), (length,) = point, self.sizes
        return max(0, (length - step if self.back else step - 1) // self.cut)

    def formula(self, node: ast.expr, point: Point) -> Any:
        """The value of a formula at a point, as a matrix."""
        match node:
            case ast.Constant():
                return float(node.value)  # type: ignore[arg-type]
            case ast.Name():
                return np.reshape(self.values[node.id], self.of.shapes[node.id])
            case ast.Attribute():
                return self.formula(node.value, point).T
            case ast.UnaryOp():
                return -self.formula(node.operand, point)
            case ast.Call():
                return FUNCTIONS[node.func.id](*(self.formula(a, point) for a in node.args))  # type: ignore[attr-defined]
            case ast.Subscript():
                where = tuple(p + o for p, o in zip(point, offset(node), strict=True))
                return self.read(node.value.id, where, point)  # type: ignore[attr-defined]
            case ast.BinOp(op=ast.Pow()):
                return self.formula(node.left, point) ** node.right.value  # type: ignore[attr-defined]
            case ast.BinOp():
                return OPERATORS[type(node.op)](self.formula(node.left, point), self.formula(node.right, point))
        raise AssertionError(ast.dump(node))


def offset(node: ast.Subscript) -> tuple[int, ...]:
    """The offset of a read: (-1,) of `h[t-1]`."""
    steps: Sequence[Any] = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    signs = {ast.Add: 1, ast.Sub: -1}
    return tuple(0 if isinstance(s, ast.Name) else signs[type(s.op)] * s.right.value for s in steps)


def largest(arrays: Sequence[Any]) -> float:
    """The largest absolute entry; infinite where one is no number."""
    found = max((float(numpy.max(numpy.abs(a))) for a in arrays if numpy.size(a)), default=0.0)
    return found if math.isfinite(found) else math.inf
