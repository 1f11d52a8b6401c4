"""A sweep of a grid as one `lax.scan` along a wave (`derive.schedule.fronts`): points of one time are computed together.

Inside, arrays have rows for the points around the lattice that are read, as many for all; those on a border have their
boundary value, or zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sympy import Expr

from derive.emit.code import RULES, ArrayPrinter, Get, Rule, Value
from derive.emit.jax.traced import Scope, pair, step_function
from derive.expr import At, Node, Var
from derive.schedule.fronts import Front, front, time_of
from derive.schedule.program import Assign, Pack, Product, Sweep
from derive.schedule.storage import read_by
from derive.system import System

if TYPE_CHECKING:
    from derive.emit.jax.passes import Function


def is_wave(sweep: Sweep, system: System) -> bool:
    """Whether a sweep is more than a chain of which all states are at the same step."""
    return system.lattice.dimension > 1 or bool(sweep.shifts)


# --- lines --------------------------------------------------------------------------------------------------------------


def margins(outer: Function) -> tuple[list[int], list[int]]:
    """How many rows all arrays have before the first step and after the last, on every axis."""
    axes = range(outer.system.lattice.dimension)
    before, after = outer.shared.before.values(), outer.shared.after.values()
    return [max(b[a] for b in before) for a in axes], [max(b[a] for b in after) for a in axes]


def padded(outer: Function, name: str) -> str:
    """An array with its borders, and as many rows around as all others."""
    local = outer.shared.name(name, "padded")
    if local not in outer.defined:
        outer.defined.add(local)
        before, after = margins(outer)
        _bordered(outer, local, name, outer.array(name), before, after)
    return local


def bordered(outer: Function, local: str, name: str, array: str) -> None:
    """An array with its borders, and the rows around that are read of it."""
    _bordered(outer, local, name, array, outer.shared.before[name], outer.shared.after[name])


def _bordered(outer: Function, local: str, name: str, array: str, before: Sequence[int], after: Sequence[int]) -> None:
    outer.shared.called["padding"] = ("padding", 0)
    pads = ", ".join(f"({b}, {a})" for b, a in zip(before, after, strict=True))
    mode = ', mode="edge"' if outer.shared.infinite and name in outer.system.variables else ""
    outer.add(local, f"padding({array}, [{pads}]{mode})")
    if mode:
        _zero_borders(outer, local, name, before, after)
    for border in (b for b in outer.system.borders if b.variable == name):
        where = []
        for axis, (side, n) in enumerate(zip(border.sides, outer.system.lattice.lengths, strict=True)):
            if side.depth:
                row = before[axis] - side.depth if side.low else side.depth - after[axis] - 1
                where.append(str(row))
            else:
                where.append(f"{before[axis] or ''}:{-after[axis] or ''}")
            del n
        outer.add(local, f"{local}.at[{', '.join(where)}].set({outer.border_value(border)})")


def _zero_borders(outer: Function, local: str, name: str, before: Sequence[int], after: Sequence[int]) -> None:
    """The rows that the equations themselves read beyond the lattice are zero."""
    offsets = [offset for _, source, offset in outer.system.reads if source == name]
    for axis in range(outer.system.lattice.dimension):
        skip = ":, " * axis
        low, high = max([0, *(-o[axis] for o in offsets)]), max([0, *(o[axis] for o in offsets)])
        if low:
            outer.add(local, f"{local}.at[{skip}{before[axis] - low}:{before[axis]}].set(0.0)")
        if high:
            stop = high - after[axis]
            outer.add(local, f"{local}.at[{skip}{-after[axis]}:{stop or ''}].set(0.0)")


def wave(outer: Function, sweep: Sweep, kept: Sequence[str]) -> None:
    """The lines of a sweep; `kept` are the names of which all points are needed outside."""
    step = WaveStep(outer, sweep, front(sweep, outer.system), kept)
    for statement in step.front.order:
        step.statement(statement)
    step.write()


class WavePrinter(ArrayPrinter):
    """Where a point is, is known for every point of a wave."""

    def _rule(self, node: Node) -> Rule:
        return _at if isinstance(node, At) else super()._rule(node)


def _at(p: ArrayPrinter, node: At, get: Get) -> Value:
    value = RULES[At](p, node, get)
    return Value(value.text, value.level, value.kind, True)


class WaveStep(Scope):
    """The body of a scan along a wave."""

    def __init__(self, outer: Function, sweep: Sweep, front: Front, kept: Sequence[str]):
        self.outer, self.sweep, self.front = outer, sweep, front
        self.kept = list(kept)
        self.inside = set(sweep.names)
        self.rows: dict[str, str] = {}
        self.carried: dict[tuple[str, int], str] = {}
        self.lags = self._lags()
        self.positions = [a for a in range(outer.system.lattice.dimension) if a != front.axis]
        super().__init__(outer.shared)

    def _printer(self) -> ArrayPrinter:
        return WavePrinter(self.read, self.names.size, self.position)

    def _lags(self) -> dict[str, int]:
        """By name, how many times later it is read at most."""
        found: dict[str, int] = {}
        for statement in self.front.order:
            for var in read_by(statement):
                if var.name in self.inside:
                    found[var.name] = max(found.get(var.name, 0), self._lag(statement.targets[0].name, var))
        return found

    def _lag(self, target: str, var: Var) -> int:
        delays = self.front.delays
        return delays[target] - delays[var.name] - time_of(self.front.slopes, self.outer.system.offset(var))

    def statement(self, item: Assign | Product) -> None:
        self.target = item.targets[0].name
        super().statement(item)
        for target in item.targets:
            if target.name in self.kept or self.lags.get(target.name) or self._is_read_aside(target.name):
                self._mask(target)

    def _is_read_aside(self, name: str) -> bool:
        return any(
            v.name == name and any(self.system.offset(v)) for s in self.front.order for v in read_by(s) if v.index
        )

    def _mask(self, var: Var) -> None:
        """Around the lattice stands a boundary value, or zero."""
        local, delay = self.names.of[var.name], self.front.delays[var.name]
        inside = self._skewed("inside", "inside", delay)
        edge = ""
        if any(b.variable == var.name for b in self.system.borders):
            name = self.shared.name(var.name, "border")
            if name not in self.outer.defined:
                self.outer.defined.add(name)
                before, after = margins(self.outer)
                shape = ", ".join([*self.names.length, "*batch", *self.sizes(var)])
                _bordered(self.outer, name, var.name, f"np.zeros(({shape},), dtype)", before, after)
            edge = f", {self._skewed(name, f'{var.name}_border', delay)}"
        self.shared.called["within"] = ("within", 0)
        self.add(local, f"within({inside}, {local}{edge})")

    def _skewed(self, array: str, name: str, delay: int) -> str:
        """What of an array is needed at each time."""
        local = self.shared.name(name, f"at_{delay}" if delay else "row")
        self.shared.called["skewed"] = ("skewed", 0)
        self.shared.called["wave"] = ("wave", 0)
        if array == "inside":
            pads = ", ".join(f"({b}, {a})" for b, a in zip(*margins(self.outer), strict=True))
            ones = f"np.ones(({', '.join(self.names.length)},), bool)"
            self.shared.called["padding"] = ("padding", 0)
            array = f"padding({ones}, [{pads}])"
        self.rows.setdefault(local, f"skewed({array}, {self._slopes()}, {delay}, {self._latest()})")
        return local

    def _slopes(self) -> str:
        return f"({', '.join(map(str, self.front.slopes))},)" if len(self.front.slopes) == 1 else str(self.front.slopes)

    def _latest(self) -> int:
        return max(self.front.delays.values())

    def read(self, var: Var) -> str:
        if not var.index:
            return self.outer.read(var)
        offset = self.system.offset(var)
        if var.name in self.inside:
            return self._before(var, offset)
        array = padded(self.outer, var.name)
        if any(offset):
            axes = tuple(a for a, o in enumerate(offset) if o)
            moves = tuple(-offset[a] for a in axes)
            array = f"np.roll({array}, {_one(moves)}, {_one(axes)})"
        delay = self.front.delays[self.target]
        where = "_".join(str(o).replace("-", "m") for o in offset) if any(offset) else "here"
        return self._skewed(array, f"{var.name}_{where}", delay)

    def _before(self, var: Var, offset: Sequence[int]) -> str:
        lag = self._lag(self.target, var)
        text = self.names.of[var.name]
        for k in range(1, lag + 1):
            if (var.name, k) not in self.carried:
                self.carried[var.name, k] = self.shared.name(var.name, "before" if k == 1 else f"before_{k}")
            text = self.carried[var.name, k]
        aside = [(axis, offset[a]) for axis, a in enumerate(self.positions) if offset[a]]
        if aside:
            axes, moves = tuple(axis for axis, _ in aside), tuple(-o for _, o in aside)
            text = f"np.roll({text}, {_one(moves)}, {_one(axes)})"
        return text

    def position(self, e: Expr) -> str:
        lattice = self.system.lattice
        if e in lattice.lengths:
            return self.names.length[lattice.lengths.index(e)]
        if e not in lattice.indices:
            return str(e)
        axis = lattice.indices.index(e)
        before, after = margins(self.outer)
        shape = ", ".join([*(f"{n} + {b + a}" for n, b, a in zip(self.names.length, before, after, strict=True))])
        steps = f"np.arange({1 - before[axis]}, {self.names.length[axis]} + {1 + after[axis]})"
        axes = ", ".join("-1" if a == axis else "1" for a in range(lattice.dimension))
        array = f"np.broadcast_to({steps}.reshape({axes}), ({shape},))"
        array = f"{array}.reshape({shape}, *(1 for _ in batch))"
        return self._skewed(array, f"{e}_step", self.front.delays[self.target])

    def lead(self) -> str:
        before, after = margins(self.outer)
        sizes = [f"{self.names.length[a]} + {before[a] + after[a]}" for a in self.positions]
        return ", ".join([*sizes, "*batch"])

    def joined(self, parts: Sequence[Var]) -> str:
        texts = [self.read(p) for p in parts]
        return texts[0] if len(texts) == 1 else self.concatenated(texts)

    def pack(self, pack: Pack) -> str:
        return self.outer.pack(pack)

    def write(self) -> None:
        outer, names = self.outer, self.names
        given, carried = list(self.rows), list(self.carried.values())
        function = self.shared.name(f"{self.sweep.names[-1]}_step")
        following = [self.carried[name, lag - 1] if lag > 1 else names.of[name] for name, lag in self.carried]
        rows = [names.of[name] for name in self.kept]
        outer.lines += step_function(function, carried, given, self.lines, pair(following, rows))
        start, all_rows = (
            self.shared.name(f"{self.sweep.names[-1]}_start"),
            self.shared.name(f"{self.sweep.names[-1]}_rows"),
        )
        zeros = [self._zeros(outer.variable(name)) for name, _ in self.carried]
        outer.add(start, _tuple(zeros))
        outer.add(all_rows, _tuple([self.rows[g] for g in given]))
        waves = [self.shared.name(name, "wave") for name in self.kept]
        outer.add(pair(["_"], waves), f"lax.scan({function}, {start}, {all_rows})")
        self.shared.called["unskewed"] = ("unskewed", 0)
        before, after = margins(outer)
        shape = ", ".join(f"{n} + {b + a}" for n, b, a in zip(names.length, before, after, strict=True))
        inner = ", ".join(f"{b or ''}:{-a or ''}" for b, a in zip(before, after, strict=True))
        for name, local in zip(self.kept, waves, strict=True):
            whole = self.shared.name(name, "padded")
            outer.add(whole, f"unskewed({local}, ({shape},), {self._slopes()}, {self.front.delays[name]})")
            outer.add(names.of[name], f"{whole}[{inner}]")
            outer.defined |= {whole, name}

    def _zeros(self, var: Var) -> str:
        sizes = ", ".join([self.lead(), *self.sizes(var)])
        return f"np.zeros(({sizes},), dtype)"


def _one(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else str(tuple(numbers))


def _tuple(texts: Sequence[str]) -> str:
    return f"({', '.join(texts)})" if len(texts) > 1 else texts[0] if texts else "None"
