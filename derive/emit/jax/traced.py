"""The statements of a program as lines of a traced function: arrays are values, so that nothing is assigned in place.

A statement for all points is one line.  A sweep is a `lax.scan`: what it reads at its own step comes in as rows, what it
computed a step before, or two, is carried, and what is read outside comes out stacked.  A recurrence that is linear in its
state, entry by entry, is a parallel scan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sympy import Expr

from derive import expr
from derive.emit.code import ArrayPrinter, Value, wrapped
from derive.emit.jax.library import SOURCES
from derive.emit.layout import Names, run_name
from derive.emit.source import indented
from derive.expr import Node, Var
from derive.schedule.program import (
    Assign,
    Edge,
    OuterTotal,
    Pack,
    Product,
    Program,
    Stack,
    Sweep,
    Total,
    statements,
)
from derive.schedule.storage import read_by
from derive.schedule.terms import can_be_infinite

LONG = 50
"""An expression that is longer has a line of its own."""


OWN = ("jax", "jnp", "lax", "numpy", "states", "found", "kept", "wanted", "carry", "row")
"""What a module calls its libraries, its functions, and what it has at hand inside them."""


class Shared:
    """What all functions of a module have in common: names, and where in their arrays the points of the lattice are."""

    def __init__(self, program: Program, variables: Iterable[str]):
        self.program, self.system = program, program.system
        self.names = Names(self.system, dict.fromkeys([*variables, *program.arrays]), (*SOURCES, *OWN))
        self.packs = {
            pack: self.names.new(run_name([p.name for p in pack.parts]))
            for pack in program.packs
            if len(pack.parts) > 1
        }
        for stack in program.stacks:
            self.names.of[stack.name] = self.names.new(run_name([p.name for p in stack.parts]))
        self.called: dict[str, tuple[str, int]] = {}
        self.local: dict[tuple[Any, ...], str] = {}
        self.stack_of = {
            part.name: stack for stack in program.stacks if _is_used(stack, program) for part in stack.parts
        }
        self.before, self.after = self._margins()
        self.forward = {t.name for s in statements(program.forward) for t in s.targets}
        """What the forward pass computes."""
        self.infinite = any(can_be_infinite(s.value) for s in statements(program.backward) if isinstance(s, Assign))
        """Whether what is beyond the lattice must be finite where it is divided by."""

    def name(self, *key: Any) -> str:
        """A Python name for a thing that is no variable: `("h", "around")` is `h_around`."""
        if key not in self.local:
            self.local[key] = self.names.new("_".join(map(str, key)))
        return self.local[key]

    def is_last(self, name: str, sweep: Sweep) -> bool:
        """Whether gradients at borders read of `name` what a sweep along a chain carries out, and nothing else."""
        if self.system.lattice.dimension > 1 or sweep.shifts:
            return False
        end = self.system.lattice.lengths[0] if sweep.direction > 0 else 1
        edges = [v for g in self.program.gradients if isinstance(g, Edge) for v in read_by(g) if v.name == name]
        carried = {self.system.offset(v)[0] for s in statements(sweep.body) for v in read_by(s) if v.name == name}
        return bool(edges) and all(v.index[0] == end for v in edges) and -sweep.direction in carried

    def _margins(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """By name, how many rows before the first step and after the last are read, on every axis."""
        program, dimension = self.program, self.system.lattice.dimension
        before: dict[str, list[int]] = {}
        after: dict[str, list[int]] = {}
        found = [*statements(program.forward), *statements(program.backward)]
        offsets = [(v.name, self.system.offset(v)) for s in found for v in read_by(s) if v.index]
        offsets += [(source, offset) for _, source, offset in self.system.reads]
        for total_ in program.gradients:
            if isinstance(total_, (OuterTotal, Total)):
                offsets += [(v.name, self.system.offset(v)) for v in read_by(total_) if v.index]
        # A fixed step lies beyond a lattice that is too short for it.
        edges = [v for g in program.gradients if isinstance(g, Edge) for v in read_by(g) if v.index]
        offsets += [(v.name, self._from_one_step(v)) for v in edges]
        for name, offset in offsets:
            low = before.setdefault(name, [0] * dimension)
            high = after.setdefault(name, [0] * dimension)
            for axis, o in enumerate(offset):
                low[axis], high[axis] = max(low[axis], -o), max(high[axis], o)
        return before, after

    def _from_one_step(self, var: Var) -> tuple[int, ...]:
        """How far an index lies from the only point of a lattice of one step."""
        lattice = self.system.lattice
        only: dict[Expr, int] = dict.fromkeys([*lattice.indices, *lattice.lengths], 1)
        return tuple(int(i.subs(only)) - 1 for i in var.index)


def _is_used(stack: Stack, program: Program) -> bool:
    """Whether a product takes parts of a stack together."""
    names = {part.name for part in stack.parts}
    for item in (*statements(program.forward), *statements(program.backward), *program.gradients):
        sides: tuple[Var, ...] = ()
        if isinstance(item, Product):
            sides = item.operands if item.transposed else item.targets
        elif isinstance(item, OuterTotal):
            sides = item.left
        if len(sides) > 1 and sides[0].name in names:
            return True
    return False


class Scope:
    """Lines, and what they may read.  `read` makes available what is read before the line that reads it."""

    def __init__(self, shared: Shared):
        self.shared, self.system, self.names = shared, shared.system, shared.names
        self.lines: list[str] = []
        self.printer = self._printer()
        self.printer.called = shared.called

    def _printer(self) -> ArrayPrinter:
        return ArrayPrinter(self.read, self.names.size, self.position)

    def read(self, var: Var) -> str:
        raise NotImplementedError

    def position(self, e: Expr) -> str:
        raise NotImplementedError

    def lead(self) -> str:
        """The sizes of the axes before those of a vector."""
        raise NotImplementedError

    def joined(self, parts: Sequence[Var]) -> str:
        raise NotImplementedError

    def pack(self, pack: Pack) -> str:
        raise NotImplementedError

    # --- statements -------------------------------------------------------------------------------------------------------

    def statement(self, item: Assign | Product) -> None:
        if isinstance(item, Assign):
            self.add(self.names.of[item.target.name], self.value(item.value))
        else:
            self.product(item)

    def value(self, node: Node) -> str:
        """The source of a node that has an index: an array with all its axes, whatever the node reads."""
        value = self.printer.full(self.printer.value(node), node)
        return value.text if value.batched else self._spread(value, node)

    def _spread(self, value: Value, node: Node) -> str:
        shape = f"({', '.join(part for part in (self.lead(), *self.sizes(node)) if part)},)"
        if value.text == "0" or isinstance(node, expr.Zero):
            return f"np.zeros({shape}, dtype)"
        return f"np.broadcast_to(np.asarray({value.text}, dtype), {shape})"

    def sizes(self, node: Node) -> list[str]:
        return [self.names.size(n) for n in node.shape if n != 1]

    def product(self, item: Product) -> None:
        transposed = f"{self.joined(item.operands)} @ {self.pack(item.pack)}" if item.transposed else ""
        text = transposed or self.linear(item)
        self.add(", ".join(self.names.of[t.name] for t in item.targets), self.split(text, item.targets))

    def linear(self, item: Product) -> str:
        text = f"{self.read(item.operands[0])} @ {self.transposed(item.pack)}"
        return text + (f" + {self.pack(item.bias)}" if item.bias else "")

    def transposed(self, pack: Pack) -> str:
        return f"{self.pack(pack)}.T"

    def split(self, text: str, parts: Sequence[Var], axis: int = -1) -> str:
        """`text` cut into parts of these shapes, along their first axis."""
        if len(parts) == 1:
            return text
        sizes = [self.names.size(p.shape[0]) for p in parts]
        where = str(len(parts)) if len(set(sizes)) == 1 else f"[{', '.join(sums(sizes)[:-1])}]"
        return f"np.split({text}, {where}, {axis})"

    def add(self, target: str, text: str) -> None:
        first: list[str] = []
        if len(target) > 80:
            *first, target = wrapped("", f"({target})")
        self.lines += [*first, *wrapped(f"{target} = ", text)]

    def concatenated(self, texts: Sequence[str], axis: int = -1) -> str:
        return f"np.concatenate([{', '.join(texts)}]{f', {axis}' if axis else ''})"


def sums(sizes: Sequence[str]) -> list[str]:
    """`n`, `2 * n`, `2 * n + m`: the sums of the first sizes."""
    found = []
    for k in range(1, len(sizes) + 1):
        counts = Counter(sizes[:k])
        found.append(" + ".join(size if count == 1 else f"{count} * {size}" for size, count in counts.items()))
    return found


def side(offset: int) -> str:
    """`prev` for a step before, `next2` for two steps after."""
    return ("prev" if offset < 0 else "next") + (str(abs(offset)) if abs(offset) > 1 else "")


def step_function(
    name: str, carried: Sequence[str], rows: Sequence[str], lines: Sequence[str], result: str
) -> list[str]:
    """The body of a scan as a function; `result` is what is carried on and what comes out."""
    body = [*unpacked(carried, "carry"), *unpacked(rows, "row"), *lines]
    body += wrapped("return ", result if len(result) < 90 else f"({result})")
    return ["", f"def {name}(carry, row):", *indented(body), ""]


def unpacked(names: Sequence[str], source: str) -> list[str]:
    """`a, b = source`"""
    line = f"{', '.join(names)} = {source}"
    if not names or len(line) <= 100:
        return [line] if names else []
    *lines, last = wrapped("", f"({', '.join(names)})")
    return [*lines, f"{last} = {source}"]


def pair(one: Sequence[str], other: Sequence[str]) -> str:
    """`(a, b), c`: what stands on either side of `=` for two groups of values."""
    return ", ".join(
        f"({', '.join(group)})" if len(group) > 1 else group[0] if group else "None" for group in (one, other)
    )
