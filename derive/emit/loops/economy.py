"""What loops over single numbers need not store: passes over the statements of a `Program`.

carry        `f[t+1] * c_bar[t+1]` is computed at its own step and carried to the next, so that `f` is read at one step only
recompute    a state such as `tanh(c[t])` is computed again where the backward sweep reads it
needed       statements that nobody reads are left out
lifetimes    how long the rest has to be kept
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from derive import expr, functions
from derive.expr import Node, Var
from derive.schedule.program import (
    CARRIED,
    SCRATCH,
    STORED,
    Assign,
    Edge,
    Gradient,
    Item,
    Product,
    Sweep,
    statements,
)
from derive.schedule.storage import read_by
from derive.system import System


@dataclass(frozen=True)
class Pass:
    """Statements in their order, and the sums and edges that follow them."""

    items: tuple[Item, ...]
    gradients: tuple[Gradient, ...] = ()


def changed(
    items: tuple[Item, ...], change: Callable[[Assign | Product], Iterable[Assign | Product]]
) -> tuple[Item, ...]:
    """The items with every statement replaced by what `change` makes of it; sweeps that are left empty are gone."""
    found: list[Item] = []
    for item in items:
        if isinstance(item, Sweep):
            body = changed(item.body, change)
            shifts = dict(item.shifts)
            for name in (t.name for s in statements(body) for t in s.targets):
                shifts.setdefault(name, 0)
            found += [replace(item, body=body, shifts=shifts)] if body else []
        else:
            found += change(item)
    return tuple(found)


# --- carried terms ------------------------------------------------------------------------------------------------------


def carry(system: System, given: Pass, new: Callable[[Var, str], Var]) -> Pass:
    """Products of arrays at one neighbouring point, in sums of a chain's sweep, computed at that point.

    An adjoint is among the factors, so that what is carried is zero beyond the lattice, as the product is.
    """
    if system.lattice.dimension > 1:
        return given
    named: dict[Node, Var] = {}

    def at_home(term: Node) -> tuple[Node, int] | None:
        """The term at the lattice's own index, with its offset, if it is entrywise and at one point."""
        factors = [v for v in expr.variables(term)]
        offsets = {system.offset(v)[0] for v in factors if v.index and v.index[0].has(*system.lattice.indices)}
        fixed = any(v.index and not v.index[0].has(*system.lattice.indices) for v in factors)
        entrywise = isinstance(term, expr.Had) and all(isinstance(f, (Var, expr.Add, expr.Power)) for f in term.args)
        backward = any({"bar", "delta"} & set(v.marks) for v in factors)
        if fixed or len(offsets) != 1 or offsets == {0} or not entrywise or not backward:
            return None
        (offset,) = offsets
        return expr.at(term, system.lattice.shifted([-offset])), offset

    def of_sweep(sweep: Sweep) -> Sweep:
        inside = {name for name in sweep.names}
        pieces: dict[str, list[Assign]] = {}

        def change(statement: Assign | Product) -> list[Assign | Product]:
            if not isinstance(statement, Assign) or not isinstance(statement.value, expr.Add):
                return [statement]
            terms = []
            for term in statement.value.args:
                home = at_home(term)
                marked = [v for v in expr.variables(term) if v.name in inside]
                if home is None or not marked:
                    terms.append(term)
                    continue
                piece, offset = home
                if piece not in named:
                    named[piece] = new(statement.target, "carried")
                    last = max(marked, key=lambda v: sweep.names.index(v.name)).name
                    pieces.setdefault(last, []).append(Assign(named[piece], piece))
                terms.append(expr.at(named[piece], system.lattice.shifted([offset])))
            return [replace(statement, value=expr.add(*terms))]

        body = changed(sweep.body, change)
        body = changed(body, lambda s: [s, *(p for t in s.targets for p in pieces.get(t.name, ()))])
        return replace(sweep, body=body)

    items = tuple(
        of_sweep(item) if isinstance(item, Sweep) and not any(item.shifts.values()) else item for item in given.items
    )
    return Pass(items, tuple(_with_carried(system, g, named) for g in given.gradients))


def _with_carried(system: System, gradient: Gradient, named: Mapping[Node, Var]) -> Gradient:
    """An edge reads what was carried to it."""
    if not isinstance(gradient, Edge) or gradient.steps[0] is None:
        return gradient
    (index,) = system.lattice.indices
    swaps = {}
    for piece, var in named.items():
        for step in {v.index[0] for v in expr.variables(gradient.value) if v.index}:
            swaps[expr.at(piece, {index: step})] = expr.at(var, {index: step})
    return replace(gradient, value=expr.replace(gradient.value, swaps))


# --- states that are computed again ---------------------------------------------------------------------------------------


def recompute(system: System, forward: Pass, backward: Pass, new: Callable[[Var, str], Var]) -> Pass:
    """The backward pass, which computes again, by a new name, what takes one function of one array at the same point."""
    cheap = {s.target.name: s for s in statements(forward.items) if isinstance(s, Assign) and _is_cheap(s)}
    read_forward = {v.name for s in statements(forward.items) for v in read_by(s) if any(_offset(system, v))}
    read_last = {v.name for g in backward.gradients for v in read_by(g)}
    used: dict[str, set[Var]] = {}
    for statement in statements(backward.items):
        for var in read_by(statement):
            used.setdefault(var.name, set()).add(var)
    again = {
        name: s
        for name, s in cheap.items()
        if used.get(name) == {s.target} and name not in read_forward | read_last and _one_place(backward.items, name)
    }
    again = {n: s for n, s in again.items() if not any(v.name in again for v in read_by(s))}
    named = {s.target: new(s.target, "again") for s in again.values()}
    done: set[Var] = set()

    def change(statement: Assign | Product) -> list[Assign | Product]:
        wanted = [v for v in dict.fromkeys(read_by(statement)) if v in named]
        first = [Assign(named[v], again[v.name].value) for v in wanted if v not in done]
        done.update(wanted)
        if wanted and isinstance(statement, Assign):
            statement = replace(statement, value=expr.replace(statement.value, named))
        return [*first, statement]

    return replace(backward, items=changed(backward.items, change))


def _is_cheap(statement: Assign) -> bool:
    value = statement.value
    return (
        isinstance(value, expr.Apply)
        and isinstance(functions.row(value.function), functions.Elementwise)
        and all(isinstance(a, Var) and a.index == statement.target.index for a in value.arguments)
    )


def _offset(system: System, var: Var) -> tuple[int, ...]:
    return system.offset(var) if var.index else ()


def _one_place(items: Sequence[Item], name: str) -> bool:
    """Whether everything that reads `name` stands in one sweep, or outside of all, as plain statements."""
    found = [any(v.name == name for s in statements((item,)) for v in read_by(s)) for item in items]
    places = [item for item, reads in zip(items, found, strict=True) if reads]
    return (
        len(places) == 1
        and isinstance(places[0], Sweep)
        and not any(isinstance(inner, Sweep) for inner in places[0].body)
        and not any(
            isinstance(s, Product) and any(v.name == name for v in s.operands) for s in statements((places[0],))
        )
    )


# --- what is left out, and for how long the rest is kept --------------------------------------------------------------------


def needed(items: tuple[Item, ...], wanted: Collection[str]) -> tuple[Item, ...]:
    """The statements that `wanted` depends on."""
    live = set(wanted)
    found = list(statements(items))
    grown = True
    while grown:
        before = len(live)
        for statement in found:
            if any(t.name in live for t in statement.targets):
                live.update(v.name for v in read_by(statement))
        grown = len(live) > before
    return changed(items, lambda s: [s] if any(t.name in live for t in s.targets) else [])


def lifetimes(system: System, passes: Sequence[Pass], kept: Collection[str]) -> dict[str, str]:
    """For every name that the passes compute: stored, carried to the next step of its sweep, or scratch of one point.

    `kept` are stored whatever reads them.  What a statement outside of all sweeps computes is scratch only where nobody reads
    it at another point, and no product stands between: those are left stored.
    """
    home = {n: item for p in passes for item in p.items if isinstance(item, Sweep) for n in item.names}
    computed = {t.name for p in passes for s in statements(p.items) for t in s.targets}
    long = {n for n in computed if n in kept or n not in home}
    offsets: dict[str, set[int]] = {n: set() for n in computed}
    for one in passes:
        for item in one.items:
            for statement in statements((item,)):
                for var in read_by(statement):
                    if var.name in computed and (home.get(var.name) is not item or system.lattice.dimension > 1):
                        long.add(var.name)
                    elif var.name in computed and isinstance(item, Sweep):
                        offsets[var.name].add(system.offset(var)[0] * item.direction)
        for gradient in one.gradients:
            for var in read_by(gradient):
                if var.name in computed and not _is_last(system, var, gradient, home.get(var.name)):
                    long.add(var.name)
                elif var.name in computed:
                    offsets[var.name].add(-1)
    long |= {n for n, sweep in home.items() if any(sweep.shifts.values())}
    return {
        n: STORED if n in long or not offsets[n] <= {0, -1} else SCRATCH if offsets[n] <= {0} else CARRIED
        for n in computed
    }


def _is_last(system: System, var: Var, gradient: Gradient, sweep: Sweep | None) -> bool:
    """Whether an edge of a chain reads what its sweep computed last."""
    if not isinstance(gradient, Edge) or sweep is None or len(var.index) != 1:
        return False
    return bool(var.index[0] == (system.lattice.lengths[0] if sweep.direction > 0 else 1))
