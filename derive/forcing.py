"""Teacher forcing: a system whose output is fed back, with the target in the output's place; again a system.

    teacher-forced      every read of a prediction at another step, y_hat[t-1], becomes one of its target, y[t-1]
    scheduled-sampling  it becomes one of y_mix[t-1], where y_mix[t] = s[t] * y[t] + (1 - s[t]) * y_hat[t]

What the prediction of a target is, the loss says: `squared_error(y_hat, y)` compares `y` with `y_hat`,
`cross_entropy(o, y)` with `softmax(o)`, `logistic(o, y)` with `sigmoid(o)`, a difference `y - y_hat` and `y.T @ log(y_hat)`
with `y_hat`.  A read is replaced whether it goes by the prediction's name or spells it out.  The target is then read by the
equations too, data like an input (an emitted `forward` takes it among its inputs), and has a boundary value of its own:
`y[0]`, the start symbol.

Forcing is not `hold`.  Holding `y_hat` constant keeps the values of the free-running system and lets no gradient pass
`y_hat` at all, that of the loss included.  Forcing changes the values: `y_hat` is computed and charged as before, only its
way to later steps is cut, and the entries of the table along that way are gone (`vanished`).  What a forced system never
meets in training are its own mistakes (exposure bias); scheduled sampling shows them to it, with a mask `s` of zeros and
ones that is drawn outside and is an input here: `s = 1` is teacher forcing, `s = 0` the free-running system.

Gradients of scheduled sampling flow through the part `(1 - s) * y_hat`, which is differentiable here.  Bengio et al. feed
back a token that is drawn from the prediction, and do not differentiate through the draw: that is `hold` of `y_mix`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeAlias

from sympy import Basic, Expr, Symbol

from derive import expr
from derive.adjoint import contributions
from derive.errors import DeriveError
from derive.expr import SCALAR, Node, Var
from derive.functions import OUTPUTS
from derive.lattice import Loop
from derive.partials import Entry, Key, table
from derive.system import LOSS, Equation, Parts, System, Variable

LOSSES = ("squared_error", *OUTPUTS)
"""The rows of `derive.functions` that compare a prediction with a target."""
EXAMPLES = f"write it by {', '.join(LOSSES)}, or as a difference"
MASK, MIXED = "s", "mix"
WILLIAMS_ZIPSER = "Williams and Zipser 1989, Neural Computation 1(2)"
BENGIO = "Bengio, Vinyals, Jaitly and Shazeer 2015, arXiv:1506.03099"


@dataclass(frozen=True)
class Pair:
    """A prediction at the lattice's own index, and the target that the loss compares it with."""

    prediction: Node
    target: Var

    def at(self, shift: Mapping[Symbol, Expr]) -> tuple[Node, Var]:
        return expr.at(self.prediction, shift), expr.at(self.target, shift)


Feedback: TypeAlias = "list[tuple[Pair, Mapping[Symbol, Expr]]]"
"""Pairs, each with a shift at which its prediction is read."""


@cache
def teacher_forced(system: System) -> System:
    """`system` with the target in the place of every prediction that is fed back.

    Raises `DeriveError` where there is none to force.
    """
    found = fed_back(system)
    feedback = {read: target for pair, shift in found for read, target in (pair.at(shift),)}
    parts = _without_reads(system, feedback)
    return System.of(_named(_with_targets(parts, found), "teacher-forced", "with teacher forcing", WILLIAMS_ZIPSER))


@cache
def scheduled_sampling(system: System) -> System:
    """`system` with `y_mix` in the place of every prediction that is fed back: the target where the mask `s` is 1.

    One mask serves all targets.  Raises `DeriveError` where nothing is fed back, or a name is taken.
    """
    found = fed_back(system)
    mask = Var(MASK, (), system.lattice.indices, *SCALAR)
    mixed = {pair: _mix(system, pair) for pair, _ in found}
    for taken in (MASK, *(y.name for y in mixed.values())):
        if taken in system.variables:
            raise DeriveError(f"{system.name} has a variable {taken}, which scheduled sampling needs; rename that one")
    feedback = {pair.at(shift)[0]: expr.at(mixed[pair], shift) for pair, shift in found}
    parts = _with_targets(_without_reads(system, feedback), found)
    variables = {**parts.variables, MASK: Variable(mask, "input", True)}
    boundary = {**parts.boundary, MASK: "given"}
    equations = {n: e for n, e in parts.equations.items() if n != LOSS}
    for pair, y in mixed.items():
        variables[y.name] = Variable(y, "state", True)
        equations[y.name] = Equation(y, _mixture(mask, pair))
        boundary[y.name] = parts.boundary[pair.target.name]
    equations[LOSS] = parts.equations[LOSS]
    parts = replace(parts, variables=variables, equations=equations, boundary=boundary)
    return System.of(_named(parts, "scheduled-sampling", "with scheduled sampling", BENGIO))


TRANSFORMATIONS: dict[str, Callable[[System], System]] = {
    "teacher-forced": teacher_forced,
    "scheduled-sampling": scheduled_sampling,
}
"""By the name that stands before a system's, `teacher-forced(jordan)`."""


# --- what is fed back -------------------------------------------------------------------------------------------------


def pairs(system: System) -> tuple[Pair, ...]:
    """Every prediction that the loss compares with a target, under each of its names.  Raises `DeriveError` for none."""
    if not system.has_loss:
        example = "targets='y: q', loss='squared_error(y_hat[t], y[t])'"
        raise DeriveError(f"{system.name} has no target to force: its loss is left abstract; give it one, {example}")
    found = tuple(_pairs(system))
    if not found:
        raise DeriveError(f"{system.name} has no target to force: its loss compares no output with one; {EXAMPLES}")
    targets: dict[Node, Var] = {}
    for pair in found:
        if targets.setdefault(pair.prediction, pair.target) is not pair.target:
            both = f"{targets[pair.prediction].name} and {pair.target.name}"
            raise DeriveError(f"{system.name} compares one prediction with two targets, {both}: neither can replace it")
    return found


def _pairs(system: System) -> Iterator[Pair]:
    for node in expr.walk(system.equations[LOSS].rhs):
        for prediction, target in COMPARISONS.get(type(node), _none)(node):
            if isinstance(target, Var) and system.variables[target.name].kind == "target":
                yield Pair(prediction, target)
                yield from (Pair(e.target, target) for e in system.equations.values() if e.rhs is prediction)


Compared: TypeAlias = "Iterator[tuple[Node, Node]]"
"""A prediction, and what may be its target."""


def _none(node: Basic) -> Compared:
    return iter(())


def _by_a_row(node: expr.Apply) -> Compared:
    """`squared_error(p, y)`, `cross_entropy(o, y)`, `logistic(o, y)`."""
    if node.function in LOSSES:
        output, target = node.arguments
        yield (expr.apply(OUTPUTS[node.function], output) if node.function in OUTPUTS else output), target


def _by_difference(node: expr.Add) -> Compared:
    """`p - y` or `y - p`, whatever the loss makes of it."""
    if len(node.args) == 2:
        for first, second in (node.args, node.args[::-1]):
            yield -second, first
            yield second, -first


def _by_logarithm(node: Node) -> Compared:
    """`y.T @ log(p)` or `y * log(p)`."""
    logarithms = [a.arguments[0] for a in node.args if isinstance(a, expr.Apply) and a.function == "log"]
    others = [a.args[0] if isinstance(a, expr.Transpose) else a for a in node.args]
    yield from ((p, y) for p in logarithms for y in others)


COMPARISONS: dict[type, Callable[..., Compared]] = {
    expr.Apply: _by_a_row,
    expr.Add: _by_difference,
    expr.Mul: _by_logarithm,
    expr.Had: _by_logarithm,
    expr.Inner: _by_logarithm,
}
"""How a loss compares a prediction with a target, by the kind of node that does."""


def fed_back(system: System) -> Feedback:
    """Each pair with each shift at which an equation, the loss aside, reads the prediction."""
    if system.parts.given:
        raise DeriveError(f"{system.name} is derived from another system: force that one, then derive from it")
    known = pairs(system)
    offsets = sorted({offset for _, _, offset in system.reads if any(offset)})
    nodes = {n for name, e in system.equations.items() if name != LOSS for n in expr.walk(e.rhs)}
    shifts = [system.lattice.shifted(offset) for offset in offsets]
    found: Feedback = [(pair, shift) for pair in known for shift in shifts if pair.at(shift)[0] in nodes]
    if not found:
        names = [p.prediction.name for p in known if isinstance(p.prediction, Var)]
        reads = f"{names[0]}[{system.lattice.point((-1,))}]" if names else "its prediction at another step"
        what = f"{known[0].target.name} would take the place of"
        raise DeriveError(f"{system.name} feeds no output back: {what} {reads}, which no equation reads")
    return found


# --- the new system ---------------------------------------------------------------------------------------------------


def _without_reads(system: System, feedback: Mapping[Node, Node]) -> Parts:
    equations = {
        name: equation if name == LOSS else replace(equation, rhs=expr.replace(equation.rhs, feedback))
        for name, equation in system.equations.items()
    }
    return replace(system.parts, equations=equations)


def _with_targets(parts: Parts, found: Feedback) -> Parts:
    """The targets that are read take over the boundary values of what they stand for; data, they are never learned."""
    boundary = dict(parts.boundary)
    for pair, _ in found:
        if isinstance(pair.prediction, Var):
            was = boundary[pair.prediction.name]
            boundary[pair.target.name] = "zero" if was == "zero" else "given"
    return replace(parts, boundary=boundary)


def _named(parts: Parts, transformation: str, manner: str, source: str) -> Parts:
    reference = "; ".join(filter(None, (parts.reference, source)))
    return replace(parts, name=f"{transformation}({parts.name})", title=f"{parts.title}, {manner}", reference=reference)


def _mix(system: System, pair: Pair) -> Var:
    """Where the target of a prediction is one of another step, the mixture stands at the prediction's."""
    return Var(f"{pair.target.name}_{MIXED}", (), system.lattice.indices, *pair.target.shape)


def _mixture(mask: Var, pair: Pair) -> Node:
    free = expr.add(expr.Ones(*SCALAR), -mask)
    return expr.add(expr.scale(mask, pair.target), expr.scale(free, pair.prediction))


# --- what is gone -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vanished:
    """An entry of the table that hands nothing back once the system is forced, and the term of its source's adjoint that goes.

    `cut`: its read was replaced, so that the table has no such entry any more; else nothing comes back to its target.
    """

    entry: Entry
    term: Node
    cut: bool

    @property
    def key(self) -> Key:
        return self.entry.key


def vanished(system: System) -> tuple[Vanished, ...]:
    """What teacher forcing takes from the adjoint, entry by entry `(target, source, offset)` of the table.

    Where a prediction goes by a name, the entries that are cut are the reads of that name at other steps.  What only those
    reads led back to goes too: the prediction of a `cross_entropy(o, y)`, which charges `o` itself.
    """
    forced = teacher_forced(system)
    before, after, left = contributions(system), contributions(forced), table(forced).entries
    return tuple(
        Vanished(entry, before[entry.key], entry.key not in left)
        for entry in table(system)
        if entry.key in before.keys() - after.keys()
    )


def recurrent(system: System) -> tuple[str, ...]:
    """The states that a sweep over the lattice must compute one step after the other; none where every step is on its own.

    Where a forced system has none, its gradients are local in time: no backpropagation through time is left to do, and
    all steps can be trained at once.
    """
    return tuple(name for item in system.schedule for name in _swept(item))


def _swept(item: Loop | str, inside: bool = False) -> Iterator[str]:
    if isinstance(item, Loop):
        for part in item.body:
            yield from _swept(part, True)
    elif inside:
        yield item
