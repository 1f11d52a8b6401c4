"""From equations to a program: what is computed when, and what is computed as one.

Both directions go through the same steps, none of which knows a cell:

    inline      an adjoint that is read once stands where it is read
    share       what the backward sweep needs again of a forward equation gets a name, and is stored
    hoist       what does not depend on a recurrence leaves its loop: `W x + b`, and the coefficients of the adjoint, which
                is linear: they are known before it starts
    factor      a matrix times a vector gets a name
    fuse        products of one operand are one product, and so are their transposes and their gradients
    order       strongly connected parts are swept, all else is for all points at once
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any

from derive import expr
from derive.adjoint import adjoint
from derive.expr import Node, Var
from derive.lattice import Loop, Offset, order
from derive.schedule import borders
from derive.schedule.fusion import Fusion, computed
from derive.schedule.hoist import Equations, Hoister, Names, inlined, shared_pieces
from derive.schedule.products import Factored, Factoring, totals
from derive.schedule.program import Edge, Gradient, Product, Program, names_of, statements
from derive.schedule.storage import Storage, in_stacks, ordered, read_by, reads, sharing, stacked_alike
from derive.schedule.terms import can_be_infinite, default_seeds, has_product, is_backward, seeded, summand
from derive.system import LOSS, Equation, System


@cache
def schedule(system: System, seeds: tuple[str, ...] | None = None, coefficients: bool = True) -> Program:
    """The program of a system; `seeds` are the states that have cotangents (default: outputs, and what the loss reads).

    `coefficients`: whether pointwise work leaves a loop as well; a backend with loops of its own keeps it in registers.
    """
    return _Builder(system, default_seeds(system) if seeds is None else seeds, coefficients).program()


class _Builder:
    def __init__(self, system: System, seeds: tuple[str, ...], coefficients: bool):
        self.system, self.seeds = system, seeds
        self.derived = bool(system.parts.given)
        self.adjoint = None if self.derived else adjoint(seeded(system, seeds))
        self.names = Names([*system.variables, *(self.adjoint.variables if self.adjoint else ())])
        self.named: dict[Node, Var] = {}
        self.hoister = Hoister(self.adjoint or system, self.names, coefficients)
        self.factoring = Factoring(system, self.names, self.named)

    def program(self) -> Program:
        sums = self._sums()
        backward = self._backward(sums)
        forward = self._with_shared(self._forward(), [rhs for _, rhs in (*backward.values(), *sums.values())])
        backward, sums = self._with_names(backward), self._with_names(sums)
        passes = [self.factoring.factored(self.hoister.hoisted(one)) for one in (forward, backward)]
        fusion = Fusion(self.system, self.names, passes, totals(sums, self.factoring))
        runs = [ordered(self.system, fusion.statements(one, self._loop_of(one))) for one in passes]
        gradients: list[Gradient] = list(fusion.totals)
        gradients += self._edges(passes[1])
        arrays = Storage(self.system, runs, gradients, fusion.stacks).arrays()
        shared = in_stacks(sharing(runs, gradients, arrays), fusion.stacks)
        products = [s for run in runs for s in statements(run) if isinstance(s, Product)]
        return Program(
            system=self.system,
            adjoint=self.adjoint,
            seeds=self.seeds,
            arrays=arrays,
            stacks=(*fusion.stacks, *stacked_alike(shared, fusion.stacks, arrays)),
            packs=tuple(dict.fromkeys(pack for p in products for pack in (p.pack, p.bias) if pack is not None)),
            shared=shared,
            forward=runs[0],
            backward=runs[1],
            gradients=tuple(gradients),
        )

    def _edges(self, backward: Factored) -> Iterator[Edge]:
        """At the borders, by pieces of the backward pass where these are zero beyond the lattice, written out elsewhere."""
        if self.derived:
            return borders.outer_values(self.system)
        inside, ending = set(computed(backward)), _ending(self.system, backward)
        values = {}
        for name, rhs in self._of_borders.items():
            value = self.factoring.recalled(rhs)
            pieces = {v.name for v in expr.variables(value) if v.name in inside and not is_backward(v)}
            values[name] = value if pieces <= ending else rhs
        return borders.gradients(self.system, values, inside)

    @cached_property
    def _own(self) -> Mapping[str, Equation]:
        return {e.name: e for e in self.adjoint.own} if self.adjoint else {}

    @cached_property
    def _of_borders(self) -> dict[str, Node]:
        """The adjoint equations of what has boundary values."""
        names = {f"{b.variable}_bar" for b in self.system.borders}
        return {name: equation.rhs for name, equation in self._own.items() if name in names}

    def _forward(self) -> Equations:
        wanted = (e for e in self.system.equations.values() if e.target.index and (self.derived or e.name != LOSS))
        return {e.name: (e.target, e.rhs) for e in wanted}

    def _sums(self) -> Equations:
        """The gradients of parameters, as what is summed; for a derived system, its states without an index."""
        equations = self.system.equations.values() if self.derived else self._own.values()
        return {e.name: (e.target, summand(e.rhs)) for e in equations if not e.target.index}

    def _backward(self, sums: Equations) -> Equations:
        equations = {e.name: (e.target, e.rhs) for e in self._own.values() if e.target.index and e.target.base != LOSS}
        inputs = [v.var.marked("bar").name for v in self.system.inputs]
        edges = [edge.value for edge in borders.gradients(self.system, self._of_borders)]
        return inlined(equations, inputs, [*(rhs for _, rhs in sums.values()), *edges])

    def _with_shared(self, forward: Equations, readers: Sequence[Node]) -> Equations:
        """The forward equations, with names for the pieces that are needed again."""
        found: Equations = {}
        pieces = shared_pieces(self.system, forward, readers)
        for name, (target, rhs) in forward.items():
            for piece in pieces:
                if piece not in self.named and piece in expr.walk(rhs):
                    role = "rec" if has_product(piece) else "part"
                    self.named[piece] = var = self.names.new(target, role, piece, self.system.lattice.indices)
                    found[var.name] = var, piece
            found[name] = target, expr.replace(rhs, self.named)
        return found

    def _with_names(self, equations: Equations) -> Equations:
        """The equations with the names of pieces, at whatever point these are read."""
        return {n: (target, self._recognised(rhs)) for n, (target, rhs) in equations.items()}

    def _recognised(self, rhs: Node) -> Node:
        found = expr.replace(rhs, self.named)
        # A piece with an adjoint need not be zero one point before the lattice, where it is not computed.
        known = {p: v for p, v in self.named.items() if not any(map(is_backward, expr.variables(p)))}
        for offset in {self.system.offset(v) for v in expr.variables(rhs) if v.index}:
            if any(offset):
                there = self.system.lattice.shifted(offset)
                moved = {expr.at(p, there): expr.at(v, there) for p, v in known.items()}
                found = self._replaced(found, moved, offset)
        return found

    def _replaced(self, node: Node, moved: Mapping[Node, Node], offset: Offset) -> Node:
        """`node` with pieces that are read elsewhere: only in products that are zero where this is beyond the lattice.

        A piece has no value there, though its formula has one; nothing may be divided by it.
        """
        if isinstance(node, Var):
            return node
        if self._ends(node, offset):
            return node if can_be_infinite(node) else expr.replace(node, moved)
        args = [self._replaced(a, moved, offset) if isinstance(a, Node) else a for a in node.args]
        return node if all(a is b for a, b in zip(args, node.args, strict=True)) else node.build(*args)

    def _ends(self, node: Any, offset: Offset) -> bool:
        """Whether a value is zero where the point at `offset` is beyond the lattice, since it is an adjoint's multiple."""
        if isinstance(node, Var):
            return bool(node.index) and is_backward(node) and self.system.offset(node) == offset
        parts = [a for a in node.args if isinstance(a, Node)]
        if isinstance(node, expr.Add):
            return all(self._ends(a, offset) for a in parts)
        if isinstance(node, (expr.Mul, expr.Had, expr.Scale, expr.Transpose)):
            return any(self._ends(a, offset) for a in parts)
        return False

    def _loop_of(self, one: Factored) -> dict[str, int]:
        """Which loop computes a name, before products are fused: those of different loops stay apart."""
        found = [*one.statements()]
        items = order(tuple(s.targets[0].name for s in found), reads(self.system, found), self.system.lattice.dimension)
        return {name: k for k, item in enumerate(items) if isinstance(item, Loop) for name in item.names}


def _ending(system: System, backward: Factored) -> set[str]:
    """The pieces of the backward pass that are zero beyond the lattice: at each point a sum over adjoints there."""
    known = set(computed(backward))
    found: set[str] = set()
    for statement in backward.statements():
        pulled = [v for v in read_by(statement) if v.index and (is_backward(v) or v.name in known)]
        if pulled and all((is_backward(v) or v.name in found) and not any(system.offset(v)) for v in pulled):
            found.update(names_of(statement))
    return found
