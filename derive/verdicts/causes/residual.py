"""The residual of a line as a signed sum of contributions: which paths it misses, and which it counts twice.

A derivative is the sum of what its paths contribute.  Where a line is off by some of them, the difference of its sides is
a combination of few contributions with small integer coefficients, found by elimination over the exact field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, TypeAlias

from derive import expr, paths
from derive.adjoint import adjoint
from derive.errors import DeriveError, QueryError
from derive.expr import Equals, Node, Var
from derive.lattice import Offset
from derive.partials import Entry, differentiate, table
from derive.system import LOSS, System
from derive.verdicts.causes.elimination import small, solve
from derive.verdicts.causes.samples import Samples

MOST_PATHS = 40
FEW = 3
"""A line that is off by more contributions than these, and does not just leave them out, is wrong in another way."""


@dataclass(frozen=True)
class Contribution:
    """A term of the truth, and the path that it comes from, source first; no path where it is a term and nothing more."""

    term: Node
    path: tuple[Var, ...] = ()


Parts: TypeAlias = "tuple[tuple[Contribution, Fraction], ...]"
"""What a line lacks: each contribution with its coefficient; -1 is counted once too often, 2 has the wrong sign."""


def levels(system: System, hold: Sequence[str], side: Node) -> Iterator[tuple[Contribution, ...]]:
    """What `side` is the sum of, in one way after another: read by read, path by path, term by term."""
    if isinstance(side, expr.Transpose):
        for level in levels(system, hold, side.args[0]):
            yield tuple(Contribution(expr.transpose(c.term), c.path) for c in level)
    rule = SIDES.get(type(side))
    if rule is not None:
        try:
            yield from rule(system, tuple(hold), side)
        except DeriveError:
            return


def _of_partial(system: System, hold: tuple[str, ...], side: expr.Partial) -> Iterator[tuple[Contribution, ...]]:
    y, x = side.args[:2]
    if not isinstance(y, Var) or y.name not in system.variables:
        yield _by_reads(y, x, hold, None, side.immediate)
        return
    if side.immediate:
        yield from _of_entry(system, y, x)
        return
    equation = system.equations.get(y.name)
    if equation is not None:
        body = expr.at(equation.body, dict(zip(system.lattice.indices, y.index, strict=False)))
        yield _by_reads(body, x, hold, y, False)
        if isinstance(body, expr.Add):
            yield tuple(c for term in body.args for c in _by_reads(term, x, hold, y, False))
    if x.index:
        yield _by_paths(system, (*hold, *side.held), y, x)


def _by_reads(body: Node, x: Var, hold: tuple[str, ...], y: Var | None, immediate: bool) -> tuple[Contribution, ...]:
    """`∂y/∂x = Σ_v ∂⁺y/∂v · ∂v/∂x` over what y reads."""
    found = []
    for v, chains in differentiate(body, {}):
        if v.name in hold or not expr.is_column(v) or (immediate and v is not x):
            continue
        local = expr.add(*(_matrix(c, v, body) for c in chains))
        inner = expr.Identity(x.shape[0]) if v is x else expr.Partial(v, x) if v.index else None
        if inner is not None:
            path = (x, *((v,) if v is not x else ()), *((y,) if y is not None else ()))
            found.append(Contribution(expr.mul(local, inner), path))
    return tuple(found)


def _matrix(chain: Any, v: Var, body: Node) -> Node:
    matrix = chain.jacobian(v.shape)
    if matrix is None:
        raise DeriveError("a matrix takes part")
    return matrix


def _of_entry(system: System, y: Var, x: Var) -> Iterator[tuple[Contribution, ...]]:
    entry = table(system).entries.get((y.name, x.name, _offset(y, x)))
    if entry is not None:
        node = expr.at(entry.map.jacobian(), dict(zip(system.lattice.indices, y.index, strict=True)))
        yield tuple(Contribution(t, (x, y)) for t in terms(node))


def _offset(y: Var, x: Var) -> Offset | None:
    """How far x stands from y; None for a parameter.  Raises `QueryError` where that is no number."""
    offset = [b - a for a, b in zip(y.index, x.index, strict=False)]
    if not all(o.is_Integer for o in offset):
        raise QueryError(f"the indices of {y.name} and {x.name} have no constant distance")
    return tuple(map(int, offset)) if x.index else None


def terms(node: Node) -> tuple[Node, ...]:
    return node.args if isinstance(node, expr.Add) else (node,)


def _by_paths(system: System, hold: tuple[str, ...], y: Var, x: Var) -> tuple[Contribution, ...]:
    lattice, local = system.lattice, table(system).without(hold)
    move = dict(zip(lattice.indices, y.index, strict=True))
    target, source = paths.Point(y.name, (0,) * lattice.dimension), paths.Point(x.name, _offset(y, x))
    placing = paths.placing(lattice)
    return tuple(
        Contribution(expr.at(w.jacobian(placing), move), tuple(expr.at(v, move) for v in w.nodes(placing)))
        for w in paths.walks(local, target, source, MOST_PATHS)
        if w.steps
    )


def _of_name(system: System, hold: tuple[str, ...], side: Var) -> Iterator[tuple[Contribution, ...]]:
    """A gradient, term by term of its recurrence; then also what comes over two reads; a state by its equation."""
    mark = side.marks[-1] if side.marks else ""
    if mark == "bar":
        yield from _of_gradient(system, hold, side)
    derived = system.tangent() if mark == "dot" else adjoint(system, hold) if mark else system
    equation = derived.equations.get(side.name)
    if equation is not None:
        rhs = expr.at(equation.rhs, dict(zip(system.lattice.indices, side.index, strict=False)))
        yield tuple(Contribution(t) for t in summands(rhs))


def summands(node: Node) -> tuple[Node, ...]:
    """The terms, a sum of several terms being several sums."""
    found: list[Node] = []
    for term in terms(node):
        if isinstance(term, expr.Sum):
            found.extend(expr.Sum(t, *term.args[1:]) for t in summands(term.args[0]))
        else:
            found.append(term)
    return tuple(found)


def _of_gradient(system: System, hold: tuple[str, ...], side: Var) -> Iterator[tuple[Contribution, ...]]:
    local = table(system).without(hold)
    base = side.stem
    plain = adjoint(system, hold, name_deltas=False)
    live = [e for e in local.of_source(base) if f"{e.target.name}_bar" in plain.variables or e.target.name == LOSS]
    near = tuple(_along(system, side, (e,), plain) for e in live)
    yield near
    if side.index:
        far = [
            _along(system, side, (e, onward), plain)
            for e in live
            for onward in local.of_source(e.target.name)
            if onward.target.index and (f"{onward.target.name}_bar" in plain.variables)
        ]
        yield (*near, *far)


def _along(system: System, side: Var, entries: tuple[Entry, ...], adjoint: System) -> Contribution:
    """What reaches `side` from the gradient at the end of the path that crosses `entries`, the first read first."""
    lattice = system.lattice
    base = system.variables[entries[0].source.name].var
    here = [0] * lattice.dimension
    path, maps = [base], []
    for entry in entries:
        here = [h - o for h, o in zip(here, entry.offset or (0,) * lattice.dimension, strict=True)]
        moved = lattice.shifted(tuple(here))
        path.append(expr.at(entry.target, moved))
        maps.append(entry.map.each(partial(expr.at, index=moved)))
    last = entries[-1].target
    upstream: Node = last.marked("bar") if f"{last.name}_bar" in adjoint.variables else expr.Ones(*expr.SCALAR)
    term = expr.at(upstream, lattice.shifted(tuple(here)))
    if last.name == LOSS and system.loss != "every":
        at_end = expr.At([i for i in path[-1].index], lattice.lengths)
        term = term if f"{last.name}_bar" in adjoint.variables else at_end
    for linear in reversed(maps):
        term = linear.pull(term)
    if side.index:
        move = dict(zip(lattice.indices, side.index, strict=True))
        return Contribution(expr.at(term, move), tuple(expr.at(v, move) for v in path))
    return Contribution(expr.Sum.build(term, *lattice.ranges) if entries[0].target.index else term, tuple(path))


def _of_pulled(system: System, hold: tuple[str, ...], side: expr.Pulled) -> Iterator[tuple[Contribution, ...]]:
    y, x, d = side.args[:3]
    if not side.immediate or not isinstance(y, Var):
        return
    entry: Entry | None = table(system).entries.get((y.name, x.name, _offset(y, x)))
    if entry is not None:
        move = dict(zip(system.lattice.indices, y.index, strict=True))
        node = entry.map.each(lambda n: expr.at(n, move)).pull(d)
        yield tuple(Contribution(t, (x, y)) for t in terms(node))


def _of_gradient_of(system: System, hold: tuple[str, ...], side: expr.GradientOf) -> Iterator[tuple[Contribution, ...]]:
    """`∂L_t/∂x` through what the loss of one step reads."""
    y, x = side.args[:2]
    equation = system.equations.get(y.name) if isinstance(y, Var) else None
    if equation is None or not isinstance(y, Var):
        return
    body = expr.at(equation.body, dict(zip(system.lattice.indices, y.index, strict=False)))
    found = []
    for v, chains in differentiate(body, {}):
        gradient = expr.transpose(expr.add(*(_matrix(c, v, body) for c in chains))) if expr.is_column(v) else None
        if gradient is not None and v is x:
            found.append(Contribution(gradient, (x, y)))
        elif gradient is not None and v.index and not side.immediate:
            inner = (
                expr.Pulled(v, x, gradient, 0) if not expr.is_column(x) else expr.mul(expr.Partial(v, x).T, gradient)
            )
            found.append(Contribution(inner, (x, v, y)))
    yield tuple(found)


SIDES: dict[type, Callable[..., Iterator[tuple[Contribution, ...]]]] = {
    expr.Partial: _of_partial,
    expr.Var: _of_name,
    expr.Pulled: _of_pulled,
    expr.GradientOf: _of_gradient_of,
}


# --- the signed subset ------------------------------------------------------------------------------------------------


def explain(level: Sequence[Contribution], formula: Equals, samples: Samples) -> Parts | None:
    """`lhs - rhs` as a combination of few of the contributions; None where it is none."""
    if formula.lhs.shape != formula.rhs.shape:
        return None
    columns = [_vector(c.term, samples) for c in level]
    residual = _vector(expr.Add(formula.lhs, expr.Scale(-1, formula.rhs)), samples)
    usable = [k for k, column in enumerate(columns) if column is not None]
    if residual is None or not usable:
        return None
    solution = solve([columns[k] for k in usable], residual)  # type: ignore[misc]
    if solution is None:
        return None
    found = [(level[k], small(c)) for k, c in zip(usable, solution, strict=True) if c]
    few = len(found) <= FEW or (len(found) < len(level) and {c for _, c in found} == {1})
    if not found or not few or any(c is None for _, c in found):
        return None
    return tuple(found)  # type: ignore[return-value,arg-type]


def _vector(node: Node, samples: Samples) -> list[int | None] | None:
    """All entries at all places; None stands where the node has no value."""
    found: list[int | None] = []
    for k in range(len(samples)):
        value = samples.value(node, k)
        found.extend([None] * ROOM if value is None else _padded(value.flat))
    return found if any(v is not None for v in found) else None


ROOM = 40
"""So many entries of a value are compared."""


def _padded(entries: Any) -> list[int]:
    kept = [int(v) for v in entries][:ROOM]
    return [*kept, *[0] * (ROOM - len(kept))]
