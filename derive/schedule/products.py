"""Matrix products by name: what is left of the equations is pointwise, or a product of matrices that are no parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from derive import expr
from derive.expr import Node, Var
from derive.lattice import Offset
from derive.schedule.hoist import Equations, Names
from derive.schedule.program import Assign, OuterTotal, Pack, Product, Total
from derive.schedule.terms import is_backward, outer_factors, terms_of
from derive.system import System


@dataclass
class Single:
    """`target = matrix @ operand + bias`"""

    target: Var
    matrix: Var
    operand: Var
    bias: Var | None = None


@dataclass
class Joint:
    """`target = Σ matrices[k].T @ operands[k]`, the operands at one point."""

    target: Var
    matrices: tuple[Var, ...]
    operands: tuple[Var, ...]


@dataclass
class Factored:
    """The equations of one direction, with their matrix products apart."""

    equations: Equations
    single: list[Single] = field(default_factory=list)
    joint: list[Joint] = field(default_factory=list)

    def statements(self) -> Iterator[Assign | Product]:
        """Everything that is computed, each product for itself."""
        for target, value in self.equations.values():
            yield Assign(target, value)
        for one in self.single:
            yield Product((one.target,), Pack((one.matrix,)), (one.operand,))
        for joint in self.joint:
            yield Product((joint.target,), Pack(joint.matrices), joint.operands, transposed=True)


class Factoring:
    """Takes products of a parameter with a column out of right-hand sides.

    `named`: pieces that have a name already; names that are given here are added.
    """

    def __init__(self, system: System, names: Names, named: dict[Node, Var]):
        self.system, self.names, self.named = system, names, named
        self.joined: dict[tuple[tuple[Var, ...], tuple[Var, ...]], Joint] = {}
        self.parameters = {v.name for v in system.parameters}

    def factored(self, equations: Equations) -> Factored:
        found = Factored({})
        for name, (target, rhs) in equations.items():
            known = len(found.single), len(found.joint)
            rhs = self._without(rhs, target, found)
            self._define(name, target, rhs, found, [*found.single[known[0] :], *found.joint[known[1] :]])
        return found

    def _define(self, name: str, target: Var, rhs: Node, found: Factored, new: list[Single | Joint]) -> None:
        """An equation that is a new product, with a parameter added or not, is that product; any other stays."""
        terms = terms_of(rhs)
        product = next((p for p in new if p.target in terms), None)
        bias = [term for term in terms if product and term != product.target]
        if product is None or len(bias) > 1 or any(not self._is_bias(b, product) for b in bias):
            found.equations[name] = target, rhs
            return
        if isinstance(product, Single):
            product.bias = bias[0] if bias else None
        for node in [node for node, var in self.named.items() if var == product.target]:
            self.named[node] = target
            if bias:
                del self.named[node]
        self.names.taken.discard(product.target.name)
        product.target = target

    def _is_bias(self, node: Node, product: Single | Joint) -> bool:
        return isinstance(product, Single) and isinstance(node, Var) and node.name in self.parameters

    def _without(self, node: Node, target: Var, found: Factored) -> Node:
        if isinstance(node, Var):
            return node
        if self.named.get(node, target) != target:
            return self.named[node]
        if isinstance(node, expr.Add):
            return self._sum(node, target, found)
        factors = self._matrix_and_column(node)
        if factors is None:
            args = [self._without(a, target, found) if isinstance(a, Node) else a for a in node.args]
            return node if all(a is b for a, b in zip(args, node.args, strict=True)) else node.build(*args)
        matrix, column = factors
        operand = self._operand(column, target, found)
        if isinstance(matrix, expr.Transpose):
            return self._joint([(matrix.args[0], operand)], target, found)
        part = self.names.new(target, "rec" if self._is_loop(target) else "in", node, self.system.lattice.indices)
        found.single.append(Single(part, matrix, operand))
        self.named[node] = part
        return part

    def _is_loop(self, target: Var) -> bool:
        return not target.base.endswith("_in")

    def _sum(self, node: expr.Add, target: Var, found: Factored) -> Node:
        """A sum with its transposed products at one point as one product."""
        at_point: dict[tuple[Any, ...], list[tuple[Node, Var, Var]]] = {}
        for term in node.args:
            factors = None if term in self.named else self._matrix_and_column(term)
            if factors is not None and isinstance(factors[0], expr.Transpose):
                operand = self._operand(factors[1], target, found)
                at_point.setdefault(operand.index, []).append((term, factors[0].args[0], operand))
        swap: dict[Node, Node | None] = {}
        for group in at_point.values():
            part = self._joint([(m, v) for _, m, v in group], target, found)
            swap.update(dict.fromkeys((term for term, _, _ in group[1:]), None))
            swap[group[0][0]] = part
        terms = [swap[t] if t in swap else self._without(t, target, found) for t in node.args]
        return expr.add(*(t for t in terms if t is not None))

    def _joint(self, pairs: Sequence[tuple[Any, Var]], target: Var, found: Factored) -> Var:
        """`Σ M_k.T v_k`, computed where its operands are and read from there: adjoints are zero beyond the lattice."""
        offset = self._offset(expr.add(*(v if len(pairs) == 1 else expr.entries_sum(v) for _, v in pairs)))
        back = self.system.lattice.shifted([-o for o in offset])
        matrices, operands = tuple(m for m, _ in pairs), tuple(expr.at(v, back) for _, v in pairs)
        if (matrices, operands) not in self.joined:
            like = expr.mul(expr.transpose(matrices[0]), operands[0])
            part = self.names.new(target, "sum", like, self.system.lattice.indices)
            self.joined[matrices, operands] = joint = Joint(part, matrices, operands)
            found.joint.append(joint)
        return expr.at(self.joined[matrices, operands].target, self.system.lattice.shifted(offset))

    def recalled(self, equation: Node) -> Node:
        """A right-hand side in which the products that were found have their names, if that is all of its products."""
        scratch = Factored({})
        known = dict(self.joined), dict(self.named), set(self.names.taken)
        # What is no adjoint is not zero beyond the lattice, where this is for: it is written out.  So is what an
        # adjoint is equal to: a product of a later step, say, which need not be zero where that adjoint counts as zero.
        self.named = {
            node: var
            for node, var in self.named.items()
            if any(map(is_backward, expr.variables(node))) and not is_backward(var)
        }
        self.joined = {key: joint for key, joint in self.joined.items() if not is_backward(joint.target)}
        value = self._without(equation, Var("recalled", (), self.system.lattice.indices, *equation.shape), scratch)
        self.joined, self.named, self.names.taken = known
        return equation if scratch.equations or scratch.single or scratch.joint else value

    def _matrix_and_column(self, node: Node) -> tuple[Any, Node] | None:
        """`(M, v)` of `M v`, M a parameter or its transpose and v a column that has an index."""
        if not isinstance(node, expr.Mul) or not expr.is_column(node):
            return None
        matrix, column = node.args[0], expr.mul(*node.args[1:]) if len(node.args) > 2 else node.args[1]
        core = matrix.args[0] if isinstance(matrix, expr.Transpose) else matrix
        known = isinstance(core, Var) and core.name in self.parameters and 1 not in core.shape
        varies = expr.is_column(column) and any(v.index for v in expr.variables(column))
        return (matrix, column) if known and varies else None

    def _operand(self, column: Node, target: Var, found: Factored) -> Var:
        """What a matrix is multiplied by, by name."""
        column = self._without(column, target, found)
        if isinstance(column, Var) and column.index:
            return column
        offset = self._offset(column)
        here = expr.at(column, self.system.lattice.shifted([-o for o in offset]))
        if here not in self.named:
            self.named[here] = part = self.names.new(target, "arg", column, self.system.lattice.indices)
            found.equations[part.name] = part, here
        return expr.at(self.named[here], self.system.lattice.shifted(offset))

    def _offset(self, column: Node) -> Offset:
        """Where an operand is read, if that is one point; an adjoint is zero beyond the lattice wherever it is computed."""
        offsets = {self.system.offset(v) for v in expr.variables(column) if v.index}
        still = (0,) * self.system.lattice.dimension
        return offsets.pop() if len(offsets) == 1 and any(map(is_backward, expr.variables(column))) else still


def totals(sums: Mapping[str, tuple[Var, Node]], factoring: Factoring) -> list[Total | OuterTotal]:
    """The gradients of parameters: sums of outer products, and of columns, whose factors have names; all others as they are."""
    found: list[Total | OuterTotal] = []
    for target, value in sums.values():
        left, right = _outer(value, factoring)
        if left is not None:
            found.append(OuterTotal((target,), (left,), right))
        else:
            found.append(Total(target, value))
    return found


def _outer(value: Node, factoring: Factoring) -> tuple[Var | None, Var | None]:
    pair = outer_factors(value)
    if pair is None:
        left = factoring.named.get(value, value)
        is_plain = isinstance(left, Var) and bool(left.index) and expr.is_column(left) and not expr.is_scalar(left)
        return (left, None) if is_plain and isinstance(left, Var) else (None, None)
    left, right = (factoring.named.get(side, side) for side in pair)
    if isinstance(left, Var) and isinstance(right, Var) and left.index and right.index:
        return left, right
    return None, None
