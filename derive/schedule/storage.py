"""The order of statements, and how long what they compute has to be kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from derive import expr, functions
from derive.expr import Node, Var
from derive.lattice import Edge as Read
from derive.lattice import Loop, order
from derive.schedule.program import (
    CARRIED,
    SCRATCH,
    STORED,
    Array,
    Assign,
    Edge,
    Gradient,
    Item,
    OuterTotal,
    Product,
    Stack,
    Sweep,
    statements,
)
from derive.schedule.terms import asks_where, can_be_infinite
from derive.system import System


def read_by(statement: Assign | Product | Gradient) -> tuple[Var, ...]:
    """The variables that a statement reads."""
    match statement:
        case Product():
            return (*statement.operands, *statement.pack.parts, *(statement.bias.parts if statement.bias else ()))
        case OuterTotal():
            return (*statement.left, *([statement.right] if statement.right else []))
        case _:
            return expr.variables(statement.value)


def reads(system: System, found: Sequence[Assign | Product]) -> list[Read]:
    """`(target, source, offset)` between statements, each known by its first target."""
    name = {t.name: s.targets[0].name for s in found for t in s.targets}
    still = (0,) * system.lattice.dimension
    edges: dict[Read, None] = {}
    for statement in found:
        for var in read_by(statement):
            if var.name in name:
                edges[statement.targets[0].name, name[var.name], system.offset(var) if var.index else still] = None
    return list(edges)


def ordered(system: System, found: Sequence[Assign | Product]) -> tuple[Item, ...]:
    """The statements in an order of evaluation: strongly connected parts are sweeps, all else stands for all points.

    A value that depends on the step itself is computed step by step.
    """
    by_name = {s.targets[0].name: s for s in found}
    dimension = system.lattice.dimension

    def item(one: Loop | str, outside: bool) -> Item:
        if isinstance(one, Loop):
            return Sweep(one.axis, one.direction, tuple(item(o, False) for o in one.body), _shifts(one, by_name))
        statement: Item = by_name[one]
        if outside and isinstance(statement, Assign) and statement.target.index and asks_where(statement.value):
            for axis in reversed(range(dimension)):
                statement = Sweep(axis, 1, (statement,))
        return statement

    return tuple(item(one, True) for one in order(tuple(by_name), reads(system, found), dimension, pointwise=False))


def _shifts(loop: Loop, by_name: Mapping[str, Assign | Product]) -> dict[str, int]:
    return {t.name: p for name, p in loop.shifts.items() for t in by_name[name].targets}


class Storage:
    """For every array of a program, how long it has to be kept."""

    def __init__(
        self, system: System, passes: Sequence[Sequence[Item]], gradients: Iterable[Gradient], stacks: Iterable[Stack]
    ):
        self.system, self.passes, self.gradients, self.stacks = system, passes, tuple(gradients), tuple(stacks)
        self.sweep_of = {
            name: item for items in passes for item in items if isinstance(item, Sweep) for name in item.names
        }

    def arrays(self) -> dict[str, Array]:
        kinds = {v.name: v.kind for v in self.system.variables.values()}
        kept = self._kept()
        found = {}
        for items in self.passes:
            for statement in statements(tuple(items)):
                for target in statement.targets:
                    state = kinds.get(target.name) == "state"
                    storage = STORED if state or target.name in kept else self._in_sweep(target.name)
                    origin = "state" if state else "adjoint" if target.marks else "part"
                    found[target.name] = Array(target, storage, origin)
        return self._as_stacks(found)

    def _kept(self) -> set[str]:
        """What is computed for all points, or read outside the sweep that computes it."""
        kept = {t.name for items in self.passes for s in items if not isinstance(s, Sweep) for t in s.targets}
        for items in self.passes:
            for item in items:
                for statement in statements((item,)):
                    for var in read_by(statement):
                        if self.sweep_of.get(var.name) is not item:
                            kept.add(var.name)
        for gradient in self.gradients:
            for var in read_by(gradient):
                if not (isinstance(gradient, Edge) and self._is_last(var, gradient)):
                    kept.add(var.name)
        return kept

    def _is_last(self, var: Var, edge: Edge) -> bool:
        """Whether an edge reads what a sweep computed last, on a chain."""
        sweep = self.sweep_of.get(var.name)
        if sweep is None or len(var.index) != 1:
            return False
        last = self.system.lattice.lengths[0] if sweep.direction > 0 else 1
        return bool(var.index[0] == last)

    def _in_sweep(self, name: str) -> str:
        sweep = self.sweep_of[name]
        # A term that may divide by zero beyond the lattice is added under a condition, in a step of its own.
        guarded = any(isinstance(s, Assign) and can_be_infinite(s.value) for s in statements((sweep,)))
        if self.system.lattice.dimension > 1 or any(sweep.shifts.values()) or guarded:
            return STORED
        offsets = {
            self.system.offset(var)[0] * sweep.direction
            for statement in statements((sweep,))
            for var in read_by(statement)
            if var.name == name
        }
        last = any(var.name == name for edge in self.gradients for var in read_by(edge))
        if offsets <= {0} and not last:
            return SCRATCH
        return CARRIED if offsets <= {0, -1} and not self._is_read_late(name, sweep) else STORED

    def _is_read_late(self, name: str, sweep: Sweep) -> bool:
        """Whether the value of the step before is read after that of this step was computed."""
        done = False
        for statement in statements((sweep,)):
            if done and any(v.name == name and any(self.system.offset(v)) for v in read_by(statement)):
                return True
            done = done or name in [t.name for t in statement.targets]
        return False

    def _as_stacks(self, arrays: dict[str, Array]) -> dict[str, Array]:
        """What lies side by side is kept alike: as long as the part that is kept longest."""
        longest = [SCRATCH, CARRIED, STORED]
        for stack in self.stacks:
            storage = max((arrays[p.name].storage for p in stack.parts), key=longest.index)
            for part in stack.parts:
                found = arrays[part.name]
                arrays[part.name] = Array(found.var, storage, found.origin)
        return arrays


def sharing(
    passes: Sequence[Sequence[Item]], gradients: Iterable[Gradient], arrays: Mapping[str, Array]
) -> dict[str, str]:
    """Pieces that are read once, where their own pass computes something entry by entry from them.

    Both may share their memory.
    """
    readers: dict[str, list[tuple[Var, Assign | Product | Gradient]]] = {}
    runs = [list(statements(tuple(items))) for items in passes]
    for reader in (*(statement for run in runs for statement in run), *gradients):
        for var in read_by(reader):
            readers.setdefault(var.name, []).append((var, reader))
    found: dict[str, str] = {}
    for run in runs:
        for name in (t.name for statement in run for t in statement.targets):
            becomes = _becomes(arrays[name], readers.get(name, []), run)
            if becomes is not None and arrays[becomes.name].storage == STORED and becomes.name not in found.values():
                found[name] = becomes.name
    return {name: _last(name, found) for name in found}


def _becomes(
    array: Array, reading: Sequence[tuple[Var, Assign | Product | Gradient]], run: Sequence[Assign | Product]
) -> Var | None:
    """What is computed from an array entry by entry, where nothing else reads it."""
    if array.origin != "part" or array.storage != STORED or len(reading) != 1:
        return None
    var, reader = reading[0]
    if var != array.var or not isinstance(reader, Assign) or reader not in run or can_be_infinite(reader.value):
        return None
    return reader.target if reader.target.shape == var.shape and _entrywise(reader.value, var) else None


def _last(name: str, becomes: Mapping[str, str]) -> str:
    while name in becomes:
        name = becomes[name]
    return name


def _entrywise(value: Node, var: Var) -> bool:
    """Whether `var` is read once, and goes into `value` entry by entry."""
    if value == var:
        return True
    inside = [a for a in value.args if isinstance(a, Node) and var in expr.variables(a)]
    if len(inside) != 1 or not isinstance(value, (expr.Add, expr.Had, expr.Scale, expr.Power, expr.Apply)):
        return False
    if isinstance(value, expr.Apply) and not isinstance(functions.row(value.function), functions.Elementwise):
        return False
    return _entrywise(inside[0], var)


def in_stacks(shared: Mapping[str, str], stacks: Iterable[Stack]) -> dict[str, str]:
    """What may share its memory, parts of a stack only all together, and only with what is in no other stack."""
    taken = {p.name for stack in stacks for p in stack.parts}
    left = dict(shared)
    for stack in stacks:
        names = [p.name for p in stack.parts]
        if not all(n in left for n in names) or not taken.isdisjoint(left[n] for n in names):
            for name in names:
                left.pop(name, None)
    return left


def stacked_alike(shared: Mapping[str, str], stacks: Iterable[Stack], arrays: Mapping[str, Array]) -> Iterator[Stack]:
    """The stacks of what shares its memory with the parts of a stack: in the same order."""
    for stack in stacks:
        if all(p.name in shared for p in stack.parts):
            yield Stack(f"{stack.name}_of", tuple(arrays[shared[p.name]].var for p in stack.parts))
