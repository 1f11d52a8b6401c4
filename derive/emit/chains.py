"""A sweep along a chain as a `lax.scan`."""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr

from derive import expr
from derive.emit.source import indented
from derive.emit.traced import Function, Scope
from derive.expr import Var
from derive.schedule.program import Pack, Product, Sweep, names_of, statements
from derive.schedule.storage import read_by


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
    last = [outer.shared.name(name, "last") if lag == 1 and step.is_asked_last(name) else "_" for name, lag in step.carried]
    function = outer.shared.name(f"{sweep.names[-1]}_step")
    body = [f"{_tuple(carried)} = carry"] if carried else []
    body += [f"{_tuple(given)} = row"] if given else []
    following = [step.following(name, lag) for name, lag in step.carried]
    body += [*step.lines, f"return {_bracketed(following, 'None')}, {_bracketed(rows, 'None')}"]
    outer.lines += ["", f"def {function}(carry, row):", *indented(body), ""]
    starts = [outer.border_row(name, lag, sweep.direction > 0) for name, lag in step.carried]
    start = outer.shared.name(f"{sweep.names[-1]}_start") if len(starts) > 1 else _tuple(starts) or "None"
    if len(starts) > 1:
        outer.add(start, f"({', '.join(starts)})")
    ends = _bracketed(last) if any(name != "_" for name in last) else "_"
    inputs = _tuple([step.rows[local] for local in given]) or f"None, length={names.length[0]}"
    reverse = ", reverse=True" if sweep.direction < 0 else ""
    outer.add(f"{ends}, {_bracketed(rows)}", f"lax.scan({function}, {start}, {_bracketed_text(inputs)}{reverse})")
    outer.defined |= {name for name in (*sweep.names, *(s.name for s in outer.shared.program.stacks)) if names.of[name] in rows}
    outer.defined |= {name for name in last if name != "_"}


def _tuple(names: Sequence[str]) -> str:
    """What stands on either side of `=`; one name alone is itself."""
    return ", ".join(names)


def _bracketed(names: Sequence[str], nothing: str = "_") -> str:
    return f"({', '.join(names)})" if len(names) > 1 else names[0] if names else nothing


def _bracketed_text(text: str) -> str:
    return text if text.startswith("None") or not _has_comma(text) else f"({text})"


def _has_comma(text: str) -> bool:
    depth = 0
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            return True
    return False


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
                self.carried[name, k] = self.shared.name(name, _side(-self.sweep.direction * k))
        return self.carried[name, lag]

    def row(self, var: Var, offset: int) -> str:
        """What comes in from outside; parts of a stack come in together."""
        stack = self.shared.stack_of.get(var.name)
        local = self.names.of[var.name] if offset == 0 else self.shared.name(var.name, _side(offset))
        if stack is not None and offset == 0 and stack.name in self.outer.defined:
            if stack.name not in self.split_up:
                self.split_up.add(stack.name)
                whole = self.names.of[stack.name]
                self.rows[whole] = whole
                parts = ", ".join(self.names.of[p.name] for p in stack.parts)
                self.add(parts, self.split(whole, stack.parts))
        elif local not in self.rows:
            self.rows[local] = self.outer.read(var)
        return local

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

    def product(self, item: Product) -> None:
        super().product(item)


def _side(offset: int) -> str:
    """`prev` for a step before, `next2` for two steps after."""
    return ("prev" if offset < 0 else "next") + (str(abs(offset)) if abs(offset) > 1 else "")


__all__ = ["Step", "expr", "scan"]
