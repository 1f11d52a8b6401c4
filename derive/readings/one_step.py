"""What one step hands to the next, in norms: the blocks of its Jacobian, and the small matrix `N` of their bounds.

N_t   the norms of the blocks at `t`, at most what their vectors say: `‖f_t‖_∞`, `‖i_t ⊙ (1 - g_t²)‖_∞ ‖U_g‖`
N     the same with every vector at its largest, so that `N_t ≤ N` entry by entry; a number where there is one block
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sympy import Basic, Expr, Integer, Symbol

from derive import expr, norms
from derive.errors import QueryError
from derive.expr import Equals, Node, Partial, Relation, Var
from derive.readings import blocks, steps
from derive.readings.jacobians import Ordered
from derive.system import System

if TYPE_CHECKING:
    from derive.queries import Request


@dataclass(frozen=True)
class OneStep:
    """One step's Jacobian and the norms of its blocks: as they are at `t`, and at the largest."""

    request: Request
    parts: Ordered

    @cached_property
    def sizes(self) -> norms.Sizes:
        """How large the states can be."""
        return norms.Sizes(self.system)

    @cached_property
    def kept(self) -> Node:
        """The bounds of the blocks in the vectors as they are at `t`."""
        return self._blocks_of(norms.of_vector)

    @cached_property
    def worst(self) -> Node:
        """The bounds of the blocks with each vector at its largest."""
        return self._blocks_of(self.sizes.entries)

    @property
    def system(self) -> System:
        return self.request.system

    @property
    def index(self) -> Symbol:
        return self.system.lattice.indices[0]

    @property
    def direction(self) -> int:
        return self.parts.direction

    @property
    def alone(self) -> bool:
        """Whether a step is one Jacobian, and its bound a number."""
        return not isinstance(self.parts.step, expr.Block)

    def _blocks_of(self, of_entries: Callable[[Node], Node | None]) -> Node:
        if self.alone:
            return self._norm(self.parts.step, of_entries)
        return expr.Block(*([self._norm(b, of_entries) for b in row] for row in self.parts.step.args))

    def _norm(self, node: Node, of_entries: Callable[[Node], Node | None]) -> Node:
        found = norms.matrix(self.system, node, of_entries)
        if found is None:
            raise QueryError(
                f"{self.request.query.text!r}: no bound is known for a part of the Jacobian of one step, {node}; "
                "its entries grow with what is given"
            )
        return found

    @property
    def size(self) -> int:
        return len(self.parts.cut) * self.parts.delays

    def place(self, name: str) -> Expr:
        """The row of a name in the matrices."""
        return Integer(self.parts.cut.index(name) + 1)

    @property
    def name(self) -> str:
        return next(n for n in ("N", "B", "Q", "G") if n not in self.system.variables)

    @property
    def at_step(self) -> Var:
        """`N_t`."""
        return Var(self.name, (), (self.index,), self.size, self.size)

    @property
    def rate(self) -> Node:
        """The bound of one step, by a name where it is a sum."""
        return self.always if self.alone and isinstance(self.worst, expr.Add) else self.worst

    @property
    def always(self) -> Var:
        return Var(self.name, (), (), self.size, self.size) if not self.alone else Var(self.name, (), (), 1, 1)

    def states(self, index: Expr) -> list[Var]:
        """What a step hands on, at an index."""
        return [
            self.system.variables[n].var.at((index + self.direction * d,))
            for d in range(self.parts.delays)
            for n in self.parts.cut
        ]

    # --- lines ---

    @property
    def said(self) -> str:
        names = ", ".join(f"`{n}`" for n in self.parts.cut)
        if self.alone:
            return f"All that a step hands to the next is {names}, so that one Jacobian says what a step does."
        last = f" of the last {self.parts.delays} steps" if self.parts.delays > 1 else ""
        return (
            f"A step hands on {names}{last}. The Jacobian of one step has a block for each pair of them, the others held fixed: "
            "the product of these block matrices is the Jacobian over several steps, while a product of single blocks is not."
        )

    @property
    def jacobian_lines(self) -> tuple[Basic, ...]:
        if self.alone:
            before = self.states(self.index + self.direction)[0]
            return (Equals(Partial(self.states(self.index)[0], before, held=self.request.hold), self.parts.step),)
        return tuple(blocks.block_lines(self.parts, self.system, self.request.hold))

    @property
    def norms_said(self) -> str:
        return "What stands on a diagonal counts by its largest entry" + (
            "." if self.alone else f"; `{self.name}[{self.index}]` is the matrix of the norms of the blocks."
        )

    @property
    def norm_lines(self) -> tuple[Basic, ...]:
        if self.alone:
            return (Relation("<=", norms.norm(self._one_step()), self.kept),)
        lines = [
            Relation("<=", norms.norm(line.lhs), bound)
            for line, bound in zip(self.jacobian_lines, (b for row in self.kept.args for b in row), strict=False)
            if not isinstance(bound, expr.Zero)
        ]
        return (*lines, Equals(self.at_step, self.norms))

    @property
    def norms(self) -> Node:
        """The norms of the blocks, not worked out; the rows that only pass values on as they are."""
        partials = [line.lhs for line in self.jacobian_lines]
        width = self.size
        rows = [list(row) for row in self.kept.args]
        for n, partial in enumerate(partials):
            if not isinstance(rows[n // width][n % width], expr.Zero):
                rows[n // width][n % width] = norms.norm(partial)
        return expr.Block(*rows)

    def _one_step(self) -> Node:
        return Partial(self.states(self.index)[0], self.states(self.index + self.direction)[0], held=self.request.hold)

    @property
    def worst_lines(self) -> tuple[Basic, ...]:
        if self.alone:
            line = Relation("<=", norms.norm(self._one_step()), self.rate)
            return (line,) if self.rate is self.worst else (Equals(self.rate, self.worst), line)
        return (Equals(self.always, self.worst),)

    @property
    def worst_said(self) -> str:
        return (
            "Each vector is replaced by the largest value that an entry of it can have."
            if self.alone
            else "Each vector is replaced by the largest value that an entry of it can have. Entry by entry, "
            f"`{self.name}[{self.index}]` is at most `{self.name}`."
        )

    def over(self, above: str, below: str, apart: Expr) -> Node:
        """The bound over so many steps, of one of the states by one of them."""
        if self.alone:
            return _power(self.rate, apart)
        return self._entries(expr.MatrixPower(self.always, apart), above, self._starts(below, self.sizes.entries))

    def product(self, above: str, below: str, t: Expr, k: Expr) -> Node:
        """The same with every step's own norms."""
        j = Symbol("j", integer=True)
        range_ = (j, k + 1, t) if self.direction < 0 else (j, t, k - 1)
        step = norms.norm(self._one_step()) if isinstance(self.kept, expr.Add) else self.kept
        body = expr.at(step if self.alone else self.at_step, {self.index: j})
        made = expr.Product(body, range_, descending=self.direction < 0)
        if self.alone:
            return made
        starts = {u: expr.at(r, {self.index: k}) for u, r in self._starts(below, norms.of_vector).items()}
        return self._entries(made, above, starts)

    def _starts(self, below: str, of_entries: Callable[[Node], Node | None]) -> dict[str, Node]:
        """How the states of one step depend on one of them: on itself, and on what it is part of within the step."""
        column = [row[0] for row in blocks.rows(self.parts.right)][: len(self.parts.cut)]
        return {
            u: self._norm(block, of_entries)
            for u, block in zip(self.parts.cut, column, strict=True)
            if not isinstance(block, expr.Zero)
        }

    def _entries(self, matrix: Node, above: str, starts: dict[str, Node]) -> Node:
        terms = [expr.had(expr.Entry(matrix, self.place(above), self.place(u)), r) for u, r in starts.items()]
        return steps.sum_of(terms)


def _power(rate: Node, exponent: Expr) -> Node:
    """`(¼ ‖W‖)^(t-k)`, its number inside."""
    return (
        expr.power(rate, exponent)
        if isinstance(rate, (expr.Ones, expr.Norm, expr.Apply, Var))
        else expr.Power(rate, exponent)
    )
