r"""Upper bounds of norms, as formulas: of matrices that are made of parameters and diagonals, and of what stands on these.

For every norm of matrices with `‖AB‖ ≤ ‖A‖ ‖B‖`, `‖Ax‖ ≤ ‖A‖ ‖x‖` and `‖diag(v)‖ ≤ max |v_i| = ‖v‖_∞`: the ones that
the norms 1, 2 and ∞ of vectors induce.  The largest entry of a matrix is none of these, nor is Frobenius' norm, for
which `‖I‖ = √n`.

    matrix    ‖A‖ of a sum, a product, a diagonal, in the norms of the parameters
    entries   max |v_i|: the range of a function over what it is asked for, products and sums of these
    Sizes     how large the states themselves can be: tanh units stay below 1, an LSTM's cell below ‖c_0‖_∞ + T
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import sympy
from sympy import Expr, Integer

from derive import affine, expr, functions
from derive.errors import DeriveError
from derive.expr import Node, Var
from derive.ranges import Range, as_function, over_interval, over_ranges, range_of_function
from derive.system import System

OfEntries: TypeAlias = "Callable[[Node], Node | None]"
"""A bound for the absolute values of the entries of a column."""


def matrix(system: System, node: Node, of_entries: OfEntries) -> Node | None:
    """A bound for the norm of a matrix made of parameters, diagonals, sums and products; None where it has other parts."""
    if isinstance(node, (expr.Identity, expr.Ones)):
        return expr.Ones(1, 1)
    if isinstance(node, expr.Zero):
        return expr.Zero(1, 1)
    if isinstance(node, Var):
        return norm(node) if is_parameter(system, node) else of_entries(node) if expr.is_scalar(node) else None
    if isinstance(node, expr.Transpose):
        return matrix(system, node.args[0], of_entries)
    if isinstance(node, expr.Diag):
        return of_entries(node.args[0])
    if isinstance(node, expr.Scale) and not isinstance(node.args[0], Node):
        inside = matrix(system, node.args[1], of_entries)
        return None if inside is None else expr.scale(abs(node.args[0]), inside)
    if expr.is_scalar(node):
        return _scalar_product(system, node, of_entries) or of_entries(node)
    if isinstance(node, (expr.Add, expr.Mul, expr.Scale)):
        return _together(
            expr.add if isinstance(node, expr.Add) else expr.had, [matrix(system, a, of_entries) for a in node.args]
        )
    return None


def _together(build: Callable[..., Node], parts: list[Node | None]) -> Node | None:
    found = [p for p in parts if p is not None]
    return build(*found) if len(found) == len(parts) else None


def _scalar_product(system: System, node: Node, of_entries: OfEntries) -> Node | None:
    """Of numbers: what is a parameter keeps its absolute value, the rest its bound."""
    if not isinstance(node, expr.Had):
        return None
    weights = [a for a in node.args if isinstance(a, Var) and is_parameter(system, a)]
    if not weights:
        return None
    rest = [a for a in node.args if a not in weights]
    inside = of_entries(expr.had(*rest)) if rest else expr.Ones(1, 1)
    return None if inside is None else expr.had(inside, *map(norm, weights))


def is_parameter(system: System, var: Var) -> bool:
    variable = system.variables.get(var.name)
    return variable is not None and variable.kind == "parameter"


def norm(node: Node, kind: str = "") -> Node:
    """`‖x‖`; of a number its absolute value."""
    return expr.apply("abs", node) if expr.is_scalar(node) else expr.Norm(node, kind)


def of_vector(vector: Node) -> Node:
    """The bound that keeps the vector: `‖z_t‖_∞`."""
    return expr.Ones(1, 1) if isinstance(vector, expr.Ones) else norm(vector, "inf")


# --- entries ----------------------------------------------------------------------------------------------------------


def supremum(system: System, node: Node, size: OfEntries | None = None) -> Node | None:
    """A bound for the absolute values of the entries of a vector; `size`: of the names in it that no range bounds."""
    names = expr.variables(node)
    domain = range_of_state(system, names[0]) if len(names) == 1 else None
    inside = as_function(node, names[0]) if domain is not None else None
    found = over_interval(inside, domain) if inside is not None and domain is not None else None
    if found is not None and (size is None or names[0].index == system.lattice.indices):
        return largest(found)
    if isinstance(node, expr.Apply) and len(node.arguments) == 1:
        return largest(range_of_function(node.function, node.order))
    if isinstance(node, expr.Ones):
        return expr.Ones(1, 1)
    if size is not None and isinstance(node, Var):
        return size(node)
    return _of_parts(system, node, size)


def _of_parts(system: System, node: Node, size: OfEntries | None) -> Node | None:
    if isinstance(node, expr.Power):
        inside = supremum(system, node.args[0], size)
        k = node.args[1]
        return expr.power(inside, k) if inside is not None and k.is_Integer and k > 0 else None
    if isinstance(node, expr.Scale) and not isinstance(node.args[0], Node):
        inside = supremum(system, node.args[1], size)
        return None if inside is None else expr.scale(abs(node.args[0]), inside)
    if isinstance(node, expr.Mul) and expr.is_column(node) and size is not None:
        weights = [norm(a, "inf") if isinstance(a, Var) and is_parameter(system, a) else None for a in node.args[:-1]]
        return _together(expr.had, [*weights, supremum(system, node.args[-1], size)])
    if isinstance(node, expr.Had):
        return _together(expr.had, [supremum(system, part, size) for part in _by_name(node, size)])
    if isinstance(node, (expr.Add, expr.Scale)):
        return _together(
            expr.add if isinstance(node, expr.Add) else expr.had, [supremum(system, a, size) for a in node.args]
        )
    return None


def _by_name(node: expr.Had, size: OfEntries | None) -> list[Node]:
    """The factors of one name together, whose product may be smaller than its parts: `z (1 - z)` is at most ¼."""
    if size is None:
        return list(node.args)
    groups: dict[tuple[Var, ...], list[Node]] = {}
    for factor in node.args:
        groups.setdefault(expr.variables(factor), []).append(factor)
    return [expr.had(*factors) for factors in groups.values()]


def range_of_state(system: System, var: Var) -> Range | None:
    """What the entries of a state may be, inside the lattice: where it is one activation, or a function of such."""
    equation = system.equations.get(var.name)
    if equation is None:
        return None
    rhs = equation.rhs
    if isinstance(rhs, expr.Apply):
        elementwise = isinstance(functions.row(rhs.function), functions.Elementwise) and len(rhs.arguments) == 1
        return range_of_function(rhs.function, rhs.order) if elementwise else None
    names = expr.variables(rhs)
    if any(v.index != equation.target.index or v.name == var.name for v in names):
        return None
    if len(names) == 1:
        domain, inside = range_of_state(system, names[0]), as_function(rhs, names[0])
        return over_interval(inside, domain) if domain is not None and inside is not None else None
    domains: dict[Var, Range] = {}
    for name in names:
        found = range_of_state(system, name)
        if found is None:
            return None
        domains[name] = found
    return over_ranges(rhs, domains) if domains else None


def largest(found: Range | None) -> Node | None:
    """The largest absolute value; None where there is none."""
    value = greatest(found)
    return None if value is None else expr.number(value)


def greatest(found: Range | None) -> Expr | None:
    if found is None or not (found.low.is_finite and found.high.is_finite):
        return None
    return max(abs(found.low), abs(found.high), key=sympy.N)


# --- how large states are ---------------------------------------------------------------------------------------------


@dataclass
class Sizes:
    """Bounds for the entries of the names of a system, at every point and on its borders, in what is given."""

    system: System
    used: dict[str, Node] = field(default_factory=dict)
    """The states whose size took more than the range of an activation, with their bound."""
    _open: set[str] = field(default_factory=set)

    def __call__(self, var: Var) -> Node | None:
        kind = self.system.variables[var.name].kind if var.name in self.system.variables else ""
        if kind == "parameter":
            return norm(var, "inf")
        if kind != "state" or var.name in self._open:
            return None
        inside = self.inside(var.name)
        if inside is None or var.index == self.system.lattice.indices:
            return inside
        start = self.start(var.name)
        return inside if start is None else maximum(inside, start)

    def entries(self, node: Node) -> Node | None:
        return supremum(self.system, node, self)

    def start(self, name: str) -> Node | None:
        """The norm of the boundary value; None where that is zero."""
        if self.system.boundary.get(name, "zero") == "zero":
            return None
        (t,), (length,) = self.system.lattice.indices, self.system.lattice.lengths
        offsets = [offset[0] for _, source, offset in self.system.reads if source == name and offset[0]]
        starts = [Integer(1 - k) for k in range(1, max((-o for o in offsets), default=0) + 1)]
        starts += [length + k for k in range(1, max(offsets, default=0) + 1)]
        var = self.system.variables[name].var
        found = [norm(expr.at(var, {t: at}), "inf") for at in starts]
        return maximum(*found) if found else None

    def inside(self, name: str) -> Node | None:
        """Of a state inside the lattice."""
        var = self.system.variables[name].var
        found = largest(range_of_state(self.system, var))
        if found is not None or self.system.lattice.dimension > 1:
            return found
        if name not in self.used:
            self._open.add(name)
            made = self._of_recurrence(name) or supremum(self.system, self.system.equations[name].rhs, self)
            self._open.discard(name)
            if made is None:
                return None
            self.used[name] = made
        return self.used[name]

    def _of_recurrence(self, name: str) -> Node | None:
        """`y = F y_ + u` with `|F| ≤ 1`: at most `max(‖y_0‖_∞, A)` where `u = (1 - F) a`, else `‖y_0‖_∞ + T max |u|`."""
        try:
            found = affine.linear(self.system, name)
        except DeriveError:
            return None
        factor = found.factor.left.args[0] if isinstance(found.factor.left, expr.Diag) else None
        kept = range_of_state(self.system, factor) if isinstance(factor, Var) else None
        if (
            found.order > 1
            or found.inlined
            or factor is None
            or kept is None
            or not (kept.low >= -1 and kept.high <= 1)
        ):
            return None
        start = self.start(name)
        rest = self._beside(found.forcing, factor) if kept.low >= 0 else None
        if rest is not None:
            inner = self.entries(rest)
            return inner if start is None or inner is None else maximum(inner, start)
        added = self.entries(found.forcing)
        grown = None if added is None else expr.scale(found.length, added)
        return grown if start is None or grown is None else expr.add(start, grown)

    def _beside(self, forcing: Node, factor: Var) -> Node | None:
        """`a` with `forcing = (1 - F) a`, as it stands or with the equation of `F` put in."""
        for value in (factor, self.system.equations[factor.name].rhs):
            other = expr.add(expr.Ones(*forcing.shape), expr.scale(-1, value))
            if isinstance(forcing, expr.Had) and other in forcing.args:
                return expr.had(*(a for a in forcing.args if a is not other))
        return None


def maximum(*parts: Node) -> Node:
    """The greatest of numbers that are not negative; one that is a term of another is not said."""
    kept: list[Node] = []
    for part in parts:
        if not any(part is k or (isinstance(k, (expr.Add, expr.Apply)) and part in k.args) for k in kept):
            kept.append(part)
    result = kept[0]
    for part in kept[1:]:
        result = expr.apply("max", result, part)
    return result
