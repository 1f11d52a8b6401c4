"""A sweep along a chain as a `lax.scan`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sympy import Expr

from derive.emit.jax.traced import LONG, Scope, pair, side, step_function, unpacked
from derive.expr import Var
from derive.schedule.program import Pack, Sweep, names_of, statements
from derive.schedule.storage import read_by

if TYPE_CHECKING:
    from derive.emit.jax.passes import Function


def scan(outer: Function, sweep: Sweep, kept: Sequence[str]) -> None:
    """The lines of a sweep; `kept` are the names of which all steps are needed outside."""
    step = Step(outer, sweep)
    for statement in statements(sweep.body):
        step.statement(statement)
    rows = [step.kept(name) for name in kept]
    _write(outer, step, list(dict.fromkeys(rows)))


def _write(outer: Function, step: Step, rows: list[str]) -> None:
    sweep, names = step.sweep, outer.names
    given, carried = list(step.rows), list(step.carried.values())
    last = [
        outer.shared.name(name, "last") if lag == 1 and step.is_asked_last(name) else "_" for name, lag in step.carried
    ]
    function, start = (outer.shared.name(f"{sweep.names[-1]}_{role}") for role in ("step", "start"))
    following = [step.following(name, lag) for name, lag in step.carried]
    outer.lines += step_function(function, carried, given, step.lines, pair(following, rows))
    starts = [outer.border_row(name, lag, sweep.direction > 0) for name, lag in step.carried]
    if len(starts) > 1:
        outer.add(start, f"({', '.join(starts)})")
        starts = [start]
    inputs = [step.rows[local] for local in given]
    arguments = pair(starts, inputs) if inputs else f"{starts[0]}, None, {names.length[0]}"
    reverse = ", reverse=True" if sweep.direction < 0 else ""
    ends = last if any(name != "_" for name in last) else ["_"]
    target = pair(ends, rows or ["_"])
    if len(target) <= LONG:
        outer.add(target, f"lax.scan({function}, {arguments}{reverse})")
    else:
        last_carry, all_rows = (outer.shared.name(f"{sweep.names[-1]}_{role}") for role in ("last_carry", "rows"))
        outer.add(
            f"{last_carry if len(ends) > 1 else ends[0]}, {all_rows}", f"lax.scan({function}, {arguments}{reverse})"
        )
        outer.lines += [*(unpacked(ends, last_carry) if len(ends) > 1 else ()), *unpacked(rows, all_rows)]
    known = (*sweep.names, *(s.name for s in outer.shared.program.stacks))
    outer.defined |= {name for name in known if names.of[name] in rows} | {name for name in last if name != "_"}


class Step(Scope):
    """The body of a scan."""

    def __init__(self, outer: Function, sweep: Sweep):
        self.outer, self.sweep = outer, sweep
        self.inside = set(names_of(sweep))
        self.rows: dict[str, str] = {}
        """What comes in at each step, and all steps of it."""
        self.carried: dict[tuple[str, int], str] = {}
        """What was computed, or came in, so many steps before."""
        self.split_up: set[str] = set()
        self.stacked: set[str] = set()
        self.here = {
            v.name for s in statements(sweep.body) for v in read_by(s) if v.index and not any(outer.system.offset(v))
        }
        super().__init__(outer.shared)

    def read(self, var: Var) -> str:
        if not var.index:
            return self.outer.read(var)
        (offset,) = self.system.offset(var)
        lag = -self.sweep.direction * offset
        if lag == 0 and var.name in self.inside:
            return self.names.of[var.name]
        if lag > 0 and (var.name in self.inside or var.name in self.here):
            return self.before(var.name, lag)
        return self.row(var, offset)

    def before(self, name: str, lag: int) -> str:
        for k in range(1, lag + 1):
            if (name, k) not in self.carried:
                self.carried[name, k] = self.shared.name(name, side(-self.sweep.direction * k))
        return self.carried[name, lag]

    def row(self, var: Var, offset: int) -> str:
        """What comes in from outside; parts of a stack come in together."""
        stack = self.shared.stack_of.get(var.name)
        local = self.names.of[var.name] if offset == 0 else self.shared.name(var.name, side(offset))
        if stack is not None and offset == 0 and stack.name in self.outer.defined:
            if stack.name not in self.split_up:
                self.split_up.add(stack.name)
                whole = self.names.of[stack.name]
                self.rows[whole] = whole
                parts = ", ".join(self.names.of[p.name] for p in stack.parts)
                self.add(parts, self.split(self._biased(whole, var.name), stack.parts))
        elif local not in self.rows:
            self.rows[local] = self.outer.read(var)
            if var.name in self.outer.biases:
                self.add(local, self._biased(local, var.name))
        return local

    def _biased(self, text: str, name: str) -> str:
        bias = self.outer.biases.get(name)
        return f"{text} + {self.pack(bias)}" if bias else text

    def position(self, e: Expr) -> str:
        symbol, length = self.system.lattice.indices[0], self.system.lattice.lengths[0]
        if e == symbol:
            self.rows[self.names.index[0]] = f"np.arange(1, {self.names.length[0]} + 1)"
            return self.names.index[0]
        return self.names.length[0] if e == length else str(e)

    def lead(self) -> str:
        return "*batch"

    def joined(self, parts: Sequence[Var]) -> str:
        stack = self.shared.stack_of.get(parts[0].name)
        if len(parts) == 1:
            return self.read(parts[0])
        if stack is None or [p.name for p in stack.parts] != [p.name for p in parts]:
            return self.concatenated([self.read(p) for p in parts])
        local = self.names.of[stack.name]
        if stack.name not in self.stacked:
            self.stacked.add(stack.name)
            self.add(local, self.concatenated([self.read(p) for p in parts]))
        return local

    def pack(self, pack: Pack) -> str:
        return self.outer.pack(pack)

    def transposed(self, pack: Pack) -> str:
        """The transpose is made once, before the loop."""
        name = self.outer.pack(pack)
        local = self.shared.name(name, "transposed")
        if local not in self.outer.defined:
            self.outer.defined.add(local)
            self.shared.called["transposed"] = ("transposed", 0)
            self.outer.add(local, f"transposed({name})")
        return local

    def kept(self, name: str) -> str:
        """What stands for a name among the rows that come out: the name, or its stack."""
        stack = self.shared.stack_of.get(name)
        if stack is not None and all(p.name in self.inside for p in stack.parts):
            return self.joined([p.at(self.system.lattice.indices) for p in stack.parts])
        return self.names.of[name]

    def following(self, name: str, lag: int) -> str:
        """What is carried on."""
        if lag > 1:
            return self.carried[name, lag - 1]
        return self.read(self.outer.variable(name).at(self.system.lattice.indices))

    def is_asked_last(self, name: str) -> bool:
        """Whether a gradient at a border reads what is carried out of the sweep."""
        return name in self.inside and self.outer.shared.is_last(name, self.sweep)
