"""Reverse mode: the adjoint of a system, again a system.

    v_bar[s] = Σ over the entries (u, v, offset) of the table:  J(u, v, offset)[s - offset]* u_bar[s - offset]

Every entry is transposed and its offset negated (Werbos 1990); a term whose index leaves the lattice is zero, which is all
that there is to the border.  The loss starts it off: `L_bar = 1` at every step, or at the last only.  A parameter is read at
every point, so its adjoint is a sum over the lattice.

Where all that a target reads passes through the same last factors (the derivative of its activation), their pullback is
computed once and has a name, `delta`: the adjoint of the pre-activation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from derive import expr
from derive.errors import DeriveError
from derive.expr import SCALAR, Node, Var
from derive.linear import Chain, Op
from derive.partials import VECTORIAL, Entry, Key, Table, elementwise_derivative, table
from derive.system import LOSS, Equation, System, Variable

MARK = "bar"
DELTA = "delta"


@cache
def adjoint(system: System, held: tuple[str, ...] = (), name_deltas: bool = True) -> System:
    """`system` with `v_bar` for every state, input, parameter and boundary value that the loss depends on.

    `held`: names through which nothing flows.  `name_deltas`: whether shared pullbacks get a name of their own.
    """
    return _Adjoint(system, table(system).without(held), name_deltas).system()


def contributions(system: System) -> dict[Key, Node]:
    """The term that each entry of the table gives to the adjoint of its source, at the source's index."""
    found = _Adjoint(system, table(system), name_deltas=True)
    reached = {*found.live, LOSS}
    return {e.key: found.term(e) for e in found.local if e.target.name in reached and e.source.name in found.live}


class _Adjoint:
    def __init__(self, system: System, local: Table, name_deltas: bool):
        self.forward = system
        self.local = local
        self.live = _live(local)
        self.deltas = {name: f for name in self.live if name_deltas and (f := shared_factors(local, name))}

    def system(self) -> System:
        forward = self.forward
        equations = dict(forward.equations)
        variables = dict(forward.variables)
        for equation in self._equations():
            if equation.name in variables:
                raise DeriveError(
                    f"{forward.name}: the adjoint {equation.name} collides with a name of the system; rename that one"
                )
            equations[equation.name] = equation
            variables[equation.name] = Variable(equation.target, "state", bool(equation.target.index))
        parts = replace(
            forward.parts,
            name=f"{forward.name} adjoint",
            title=f"Adjoint of {forward.title}",
            equations=equations,
            variables=variables,
            boundary={**forward.boundary},
            given=tuple(forward.equations),
        )
        return System.of(parts)

    def _equations(self) -> list[Equation]:
        """In the order of a person: states from the loss backwards, then inputs, then parameters."""
        states = [n for n in reversed(self.forward.equations) if n != LOSS]
        rest = [v.name for v in (*self.forward.inputs, *self.forward.parameters)]
        found = [self._loss()] if self._loss_reaches_out() else []
        for name in (*states, *rest):
            if name in self.live:
                found.append(self._adjoint_of(self.forward.variables[name].var))
            if name in self.deltas:
                found.append(self._delta_of(self.forward.variables[name].var))
        return found

    def _adjoint_of(self, source: Var) -> Equation:
        entries = [e for e in self.local.of_source(source.name) if e.target.name in self.live or e.target.name == LOSS]
        entries.sort(key=as_written)
        if source.index:
            return Equation(source.marked(MARK), expr.add(*map(self.term, entries)), extent=self._extent(source))
        return Equation(source.marked(MARK), reduction(self.forward, entries, self.term))

    def _delta_of(self, target: Var) -> Equation:
        return Equation(target.marked(DELTA), expr.had(*self.deltas[target.name], target.marked(MARK)))

    def term(self, entry: Entry) -> Node:
        """The contribution of one entry at the index of its source; at that of its target where the source has none."""
        factors = self.deltas.get(entry.target.name, ())
        chains = tuple(without_factors(c, factors) for c in entry.map.chains)
        term = replace(entry.map, chains=chains).pull(self.upstream(entry))
        if entry.offset is None:
            return term
        return expr.at(term, self.forward.lattice.shifted(tuple(-o for o in entry.offset)))

    def upstream(self, entry: Entry) -> Node:
        target = entry.target
        if target.name == LOSS:
            reaches_out = self._extent(entry.source) and self.forward.has_loss
            return target.marked(MARK) if reaches_out else loss_weight(self.forward)
        return target.marked(DELTA if target.name in self.deltas else MARK)

    def _loss_reaches_out(self) -> bool:
        """Whether the loss reads a state that has boundary values: its own adjoint then says where it ends."""
        return self.forward.has_loss and any(self._extent(e.source) for e in self.local.of_target(LOSS))

    def _loss(self) -> Equation:
        var = self.forward.variables[LOSS].var
        return Equation(var.marked(MARK), loss_weight(self.forward))

    def _extent(self, source: Var) -> tuple[tuple[int, int], ...]:
        """How far boundary values reach out: the adjoint of `h[0]` is `h_bar` at 0."""
        lattice = self.forward.lattice
        if not source.index:
            return ()
        depths = [(0, 0)] * lattice.dimension
        for border in self.forward.borders:
            if border.variable == source.name:
                for axis, side in enumerate(border.sides):
                    low, high = depths[axis]
                    depths[axis] = (max(low, side.depth), high) if side.low else (low, max(high, side.depth))
        return tuple(depths) if any(map(any, depths)) else ()


def as_written(entry: Entry) -> tuple[bool, bool, bool]:
    """The order of the terms of an adjoint: the loss, the same point, then the neighbours, a variable's own first."""
    return entry.target.name != LOSS, any(entry.offset or ()), entry.target.name != entry.source.name


def reduction(system: System, entries: list[Entry], term: Callable[[Entry], Node]) -> Node:
    """The terms of an unindexed name: those of indexed neighbours in one sum over the lattice, then the others.

    Where the target is itself such a sum, all that it reads is read at every point.
    """
    sums = {name for name, e in system.equations.items() if isinstance(e.rhs, expr.Sum)}
    inside = [term(e) for e in entries if e.target.index or e.source.index or e.target.name in sums]
    direct = [term(e) for e in entries if not (e.target.index or e.source.index or e.target.name in sums)]
    summed = [expr.Sum.build(expr.add(*inside), *system.lattice.ranges)] if inside else []
    return expr.add(*summed, *direct)


def loss_weight(system: System) -> Node:
    """`L_bar[t]`: 1, or 1 at the last point only."""
    if system.loss == "every":
        return expr.Ones(*SCALAR)
    return expr.At(system.lattice.indices, system.lattice.lengths)


def shared_factors(local: Table, target: str) -> tuple[Node, ...]:
    """The factors of the derivative of `target`'s activation, where two or more reads share them."""
    entries = local.of_target(target)
    rhs = local.system.equations[target].rhs if target in local.system.equations else None
    if len(entries) < 2 or not isinstance(rhs, expr.Apply) or rhs.function in VECTORIAL or len(rhs.arguments) > 1:
        return ()
    names = {rhs: local.system.equations[target].target}
    number, derivative = expr.split_number(elementwise_derivative(rhs, names))
    wanted = derivative.args if isinstance(derivative, expr.Had) else (derivative,)
    last = [_last_factors(c) for e in entries for c in e.map.chains]
    shared = number == 1 and all(f in factors for f in wanted for factors in last)
    return wanted if shared else ()


def _last_factors(chain: Chain) -> tuple[Node, ...]:
    op = chain.ops[-1] if chain.ops else None
    if op is None or op.kind != "hadamard" or op.node is None:
        return ()
    return op.node.args if isinstance(op.node, expr.Had) else (op.node,)


def without_factors(chain: Chain, factors: tuple[Node, ...]) -> Chain:
    """The chain without these factors of its last Hadamard product."""
    if not factors:
        return chain
    rest = [f for f in _last_factors(chain) if f not in factors]
    last = (Op("hadamard", expr.had(*rest)),) if rest else ()
    return replace(chain, ops=(*chain.ops[:-1], *last))


def _live(local: Table) -> set[str]:
    """The names that the loss depends on (the loss, targets and cotangents aside)."""
    kinds = {n: v.kind for n, v in local.system.variables.items()}
    reached, pending = set(), [LOSS]
    while pending:
        for entry in local.of_target(pending.pop()):
            name = entry.source.name
            if name not in reached and kinds[name] not in ("target", "cotangent"):
                reached.add(name)
                pending.append(name)
    return reached
