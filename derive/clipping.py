"""Gradient clipping, by value and by norm: one formula each, for nodes, for SymPy's exact numbers and for NumPy's arrays.

    by value    min(max(g, -c), c)         every entry is cut off at ±c: ‖clip(g)‖_∞ ≤ c, and the direction turns
    by norm     c / max(‖g‖, c) * g        g itself up to the length c, then c g / ‖g‖: the direction stays

Equations call them `clip_value(g, c)` and `clip_norm(g, c)`, with a scalar `c`; they are differentiated, printed and
evaluated as the formulas that they stand for.  Beyond the limit the Jacobian of clipping by norm is
`c/‖g‖ (I - g gᵀ/‖g‖²)`, which is zero along `g`; that of clipping by value is diagonal, 0 where an entry is cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import sympy

from derive import expr
from derive.errors import DeriveError
from derive.expr import Node

if TYPE_CHECKING:
    import numpy as np

_NODES = SimpleNamespace(
    max=lambda a, b: _entrywise("max", a, b),
    min=lambda a, b: _entrywise("min", a, b),
    norm=lambda g: expr.apply("sqrt", expr.inner(g, g)),
    over=lambda a, b: expr.had(a, expr.power(b, -1)),
)
_EXACT = SimpleNamespace(
    max=lambda a, b: _each(sympy.Max, a, b),
    min=lambda a, b: _each(sympy.Min, a, b),
    norm=lambda g: sympy.sqrt(sum(x**2 for x in g)),
    over=lambda a, b: a / b,
)


def _entrywise(name: str, a: Node, b: Node) -> Node:
    return expr.apply(name, a, expr.as_node(b, a.shape))


def _each(f: Callable[..., sympy.Expr], a: Any, b: sympy.Expr) -> Any:
    return a.applyfunc(lambda x: f(x, b)) if isinstance(a, sympy.MatrixBase) else f(a, b)


def _arrays() -> SimpleNamespace:
    import numpy

    return SimpleNamespace(
        max=numpy.maximum, min=numpy.minimum, norm=lambda g: numpy.sqrt((g * g).sum()), over=numpy.divide
    )


@dataclass(frozen=True)
class Method:
    """One way to clip `g` at the limit `c`; `formula(g, c, a)` is written in the arithmetic `a`: max, min, norm, over."""

    name: str
    call: str
    text: str
    latex: str
    formula: Callable[[Any, Any, Any], Any]
    source: str

    def node(self, g: Node, c: Node) -> Node:
        """The clipped node, for a scalar `c`."""
        return self.formula(g, c, _NODES)  # type: ignore[no-any-return]

    def exact(self, g: tuple[Any, ...], c: Any = 1) -> tuple[sympy.Expr, ...]:
        """The clipped entries, without rounding."""
        return tuple(self.formula(sympy.Matrix(list(map(sympy.sympify, g))), sympy.sympify(c), _EXACT))

    def cosine(self, g: tuple[Any, ...], c: Any = 1) -> sympy.Expr:
        """Of the angle between `g` and what becomes of it: 1 where the direction is kept."""
        before, after = (sympy.Matrix(list(map(sympy.sympify, v))) for v in (g, self.exact(g, c)))
        return sympy.sqrtdenest(sympy.simplify(before.dot(after) / (before.norm() * after.norm())))

    @cached_property
    def keeps_direction(self) -> bool | None:
        """Whether `clip(g) = λ g` with `λ > 0` for every `g`; None where that was neither proved nor refuted."""
        return self._direction[0]

    @cached_property
    def why(self) -> str:
        """The proof, or a vector that refutes it."""
        return self._direction[1]

    @cached_property
    def _direction(self) -> tuple[bool | None, str]:
        """Proved where every entry gets the same positive factor; refuted by a vector of rational numbers."""
        factors = [sympy.simplify(new / old) for new, old in zip(self.exact(_ENTRIES, _LIMIT), _ENTRIES, strict=True)]
        if factors[0] == factors[1] and factors[0].is_positive:
            return True, "every entry is multiplied by the same positive number"
        for g in EXAMPLES:
            new = self.exact(g)
            if any(a * d != b * c for (a, b), (c, d) in pairwise(zip(g, new, strict=True))):
                return False, f"({', '.join(map(str, g))}) becomes ({', '.join(map(str, new))}) at the limit 1"
        return None, ""


_ENTRIES = sympy.symbols("g_1 g_2", real=True, nonzero=True)
_LIMIT = sympy.Symbol("c", positive=True)
EXAMPLES = tuple(tuple(map(sympy.Rational, v)) for v in (("10", "1", "-1/2"), ("3", "4"), ("1/2", "1/3")))
"""Gradients to try; at the limit 1 the first has the cosines 1 by norm and √5/3 ≈ 0.7454 by value."""

METHODS: dict[str, Method] = {
    m.name: m
    for m in (
        Method(
            "value", "clip_value", "min(max(g, -c), c)", r"\min(\max(g, -c), c)",
            lambda g, c, a: a.min(a.max(g, -c), c),
            "Mikolov 2012, Statistical language models based on neural networks, section 3.2.2",
        ),
        Method(
            "norm", "clip_norm", "c / max(norm(g), c) * g", r"\frac{c}{\max(\lVert g \rVert, c)} g",
            lambda g, c, a: a.over(c, a.max(a.norm(g), c)) * g,
            "Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063, algorithm 1",
        ),
    )
}  # fmt: skip
CALLS: Mapping[str, Method] = {method.call: method for method in METHODS.values()}
"""By the name that equations call it."""


def by_value(gradients: Mapping[str, np.ndarray], limit: float) -> dict[str, np.ndarray]:
    """Every entry between `-limit` and `limit`, as `torch.nn.utils.clip_grad_value_` leaves it.

    `gradients` as `vjp` returns them, or some of them; new arrays come back.  Raises `DeriveError` for a limit that is
    not positive.
    """
    return _clipped("value", gradients, limit)


def by_norm(gradients: Mapping[str, np.ndarray], limit: float) -> dict[str, np.ndarray]:
    """All arrays times one factor, so that the norm over all their entries together is at most `limit`.

    `torch.nn.utils.clip_grad_norm_` does the same up to the `1e-6` that it adds to the norm.  Raises `DeriveError` for a
    limit that is not positive.
    """
    return _clipped("norm", gradients, limit)


def _clipped(name: str, gradients: Mapping[str, np.ndarray], limit: float) -> dict[str, np.ndarray]:
    import numpy

    if not limit > 0:
        raise DeriveError(f"gradients are clipped at a limit above zero, found {limit}")
    arrays = {key: numpy.asarray(value) for key, value in gradients.items()}
    if not arrays:
        return {}
    whole = numpy.concatenate([a.ravel() for a in arrays.values()])
    ends = numpy.cumsum([a.size for a in arrays.values()])[:-1]
    parts = numpy.split(METHODS[name].formula(whole, whole.dtype.type(limit), _arrays()), ends)
    return {
        key: part.reshape(a.shape).astype(a.dtype, copy=False)
        for (key, a), part in zip(arrays.items(), parts, strict=True)
    }
