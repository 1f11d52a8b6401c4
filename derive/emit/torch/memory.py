"""Where the arrays of a program lie: what shares memory, what lies side by side, how many rows there are around the lattice.

An array has `before` rows in front of step 1 on every axis and `after` behind the last one, as many as are read: a boundary
value, or zero.  The batch is one axis inside the module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from sympy import Expr

from derive.emit.layout import Names, spaced
from derive.expr import Node, Var, variables
from derive.schedule.program import (
    CARRIED,
    SCRATCH,
    STORED,
    Array,
    Assign,
    Product,
    Program,
    Stack,
    Sweep,
    statements,
)
from derive.schedule.storage import _entrywise, read_by, sharing
from derive.schedule.terms import can_be_infinite
from derive.system import System

RESERVED = frozenset((
    "torch", "ctx", "self", "functools", "new_empty", "new_zeros", "new_ones", "arrays", "states",
    "directions", "found", "points", "batch", "steps", "rows", "bordered", "cotangent", "named", "outward",
    "by_columns", "zero_of", "vjp", "run", "pull", "second", "trajectories", "arguments", "slope_of_tanh",
    "slope_of_sigmoid", "sum_outer", "sum_leading", "tangents", "COTANGENTS", "ARGUMENTS", "Recurrence",
    "Adjoint",
))  # fmt: skip
"""What names mean in a module already."""


class TorchNames(Names):
    """Python names; pieces of memory get theirs while the lines are written."""

    def __init__(self, system: System, variables: Iterable[str]):
        self.renamed: set[str] = set()
        variables = [*variables]
        super().__init__(system, ())
        self.taken |= RESERVED
        self.of = {name: self.new(name) for name in variables}


Margins = tuple[tuple[int, int], ...]
"""Along every axis: the rows before the lattice and after it."""


@dataclass
class Block:
    """A piece of memory: the names that stand for each of its parts, which lie side by side."""

    parts: list[list[str]]
    var: Var
    storage: str
    name: str = ""
    sizes: list[Expr] = field(default_factory=list)
    margins: Margins = ()

    @property
    def names(self) -> list[str]:
        return [name for part in self.parts for name in part]


class Memory:
    """The blocks of a program's arrays; `margins` of everything that is indexed."""

    def __init__(self, program: Program, names: Names, extra: Iterable[Node] = ()):
        self.program, self.names, self.system = program, names, program.system
        self.margins = _margins(program, extra)
        self.arrays = _kept(program)
        self.backward = {t.name for s in statements(program.backward) for t in s.targets}
        self.alias: dict[str, str] = {}
        self._alias()
        self.blocks = self._blocks()
        self.of = {name: block for block in self.blocks for name in block.names}
        for block in self.blocks:
            both = [self.margins[name] for name in block.names]
            block.margins = tuple(
                (max(a for a, _ in axis), max(b for _, b in axis)) for axis in zip(*both, strict=True)
            )
            self.margins.update(dict.fromkeys(block.names, block.margins))

    # --- what shares memory -----------------------------------------------------------------------------------------------

    def _alias(self) -> None:
        """Finds for every name the one whose memory it uses."""
        program = self.program
        self.alias = sharing((program.forward, program.backward), program.gradients, self.arrays)
        while (stack := self._torn()) is not None:
            self.alias = {a: b for a, b in self.alias.items() if a not in [p.name for p in stack.parts]}

    def _torn(self) -> Stack | None:
        """A stack that shares its memory, of which a part would lie in two places."""
        keys: dict[str, tuple[str, ...]] = {}
        for stack in sorted(self.program.stacks, key=lambda s: any(p.name in self.alias for p in s.parts)):
            key = self._key(stack)
            shares = any(p.name in self.alias for p in stack.parts)
            torn = len({*key}) < len(key) or any(keys.setdefault(root, key) != key for root in key)
            if torn and shares:
                return stack
        return None

    def _root(self, name: str) -> str:
        while name in self.alias:
            name = self.alias[name]
        return name

    def _blocks(self) -> list[Block]:
        """Stacks first; those that share all their parts are one."""
        stacks: dict[tuple[str, ...], list[Stack]] = {}
        for stack in self.program.stacks:
            stacks.setdefault(self._key(stack), []).append(stack)
        found = [self._block(list(key), stack[0].name) for key, stack in stacks.items()]
        inside = {name for block in found for name in block.names}
        rest = dict.fromkeys(self._root(name) for name in self.arrays if name not in inside)
        return [*found, *(self._block([name], name) for name in rest)]

    def _key(self, stack: Stack) -> tuple[str, ...]:
        return tuple(self._root(p.name) for p in stack.parts)

    def _block(self, roots: list[str], name: str) -> Block:
        parts = [[root, *(n for n in self.arrays if n != root and self._root(n) == root)] for root in roots]
        longest = (SCRATCH, CARRIED, STORED)
        storage = max((self.arrays[n].storage for part in parts for n in part), key=longest.index)
        for n in (n for part in parts for n in part):
            self.arrays[n] = replace(self.arrays[n], storage=storage)
        sizes = [self.arrays[root].var.shape[0] for root in roots]
        return Block(parts, self.arrays[roots[0]].var, storage, name, sizes)

    # --- text -------------------------------------------------------------------------------------------------------------

    def shape(self, block: Block) -> str:
        """The arguments of `new_empty`."""
        lattice = self.system.lattice
        sizes = [self.names.size(n) for n in block.var.shape if n != 1]
        if len(block.parts) > 1:
            sizes = [summed([self.names.size(n) for n in block.sizes])]
        if block.storage != STORED:
            return ", ".join(["batch", *sizes])
        rows = [
            spaced(n + before + after, self.names, lattice)
            for n, (before, after) in zip(lattice.lengths, block.margins, strict=True)
        ]
        return ", ".join([*rows, "batch", *sizes])


def summed(sizes: list[str]) -> str:
    """`4 * n`, `3 * n + m`."""
    counted = {s: sizes.count(s) for s in sizes}
    return " + ".join(s if k == 1 else f"{k} * {s}" for s, k in counted.items())


# --- rows around the lattice ------------------------------------------------------------------------------------------------


def _margins(program: Program, extra: Iterable[Node]) -> dict[str, Margins]:
    """How far beyond the lattice each variable is read."""
    lattice = program.system.lattice
    found: dict[str, list[tuple[int, int]]] = {}
    for name in (*(v.name for v in program.system.variables.values() if v.indexed), *program.arrays):
        found[name] = [(0, 0)] * lattice.dimension
    for var in _read(program, extra):
        reach = found.setdefault(var.name, [(0, 0)] * lattice.dimension)
        for axis, (index, i, n) in enumerate(zip(var.index, lattice.indices, lattice.lengths, strict=False)):
            if index.has(i):
                low, high = -int(index - i), int(index - i)
            elif index.has(n):
                low, high = 0, int(index - n)
            else:
                low, high = 1 - int(index), int(index) - 1
            before, after = reach[axis]
            reach[axis] = max(before, low), max(after, high)
    return {name: tuple(reach) for name, reach in found.items()}


def _read(program: Program, extra: Iterable[Node]) -> Iterator[Var]:
    for statement in (*statements(program.forward), *statements(program.backward), *program.gradients):
        yield from (v for v in read_by(statement) if v.index)
    for node in extra:
        yield from (v for v in variables(node) if v.index)


def _kept(program: Program) -> dict[str, Array]:
    """The arrays of a program.  One that is carried is one buffer, if its last value is used up before the next is there."""
    arrays = dict(program.arrays)
    for items in (program.forward, program.backward):
        for item in items:
            if isinstance(item, Sweep):
                found = [n for n in item.names if arrays[n].storage == CARRIED]
                late = [n for n in found if not _is_buffer(n, item, program.system)]
                for name in late:
                    arrays[name] = replace(arrays[name], storage=STORED)
    for stack in program.stacks:
        if len({arrays[p.name].storage for p in stack.parts}) > 1:
            for part in stack.parts:
                arrays[part.name] = replace(arrays[part.name], storage=STORED)
    return arrays


def _is_buffer(name: str, sweep: Sweep, system: System) -> bool:
    written = False
    for item in sweep.body:
        for statement in statements((item,)):
            old = [v for v in read_by(statement) if v.name == name and any(system.offset(v))]
            here = name in [t.name for t in statement.targets]
            if old and (written or (here and not _in_place(statement, old[0]))):
                return False
            written = written or here
    return True


def _in_place(statement: Assign | Product, old: Var) -> bool:
    """Whether the new value may take the place of the old one, entry by entry."""
    return isinstance(statement, Assign) and read_once(statement.value, old) and not can_be_infinite(statement.value)


def read_once(value: Node, var: Var) -> bool:
    """Whether `var` is read once, entry by entry, so that the result may take its place."""
    return _entrywise(value, var) and not any(v.name == var.name and v != var for v in variables(value))
