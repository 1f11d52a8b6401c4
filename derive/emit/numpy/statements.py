"""Statements at their places: calls that write in place, taken together, and loops over positions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from sympy import Expr

from derive import expr
from derive.emit.code import wrapped
from derive.emit.layout import Place
from derive.emit.numpy.parts import guarded, is_zipped
from derive.emit.numpy.products import Products
from derive.emit.numpy.regions import Everywhere, Indexed, Region, Zipped
from derive.emit.numpy.ufuncs import Call, Neighbours, Ref, Steps, merged
from derive.emit.numpy.waves import NeighboursInWaves, Waves
from derive.emit.source import (
    indented,
    under_conditions,
)
from derive.expr import Node, Var
from derive.schedule.fronts import is_placed, loops
from derive.schedule.program import (
    Assign,
    Item,
    Product,
    Sweep,
    statements,
)
from derive.schedule.storage import read_by as _read
from derive.schedule.terms import terms_of


class Statements(Products):
    def _halved(self) -> set[str]:
        """Sigmoids of sums of products that nothing else reads: these come halved, since σ(a) = (1 + tanh(a / 2)) / 2."""
        found = list(statements(self.scheduled.forward))
        single = {s.target.name: s.value for s in found if isinstance(s, Assign)}
        made = {t.name for s in found if isinstance(s, Product) and not s.transposed for t in s.targets}
        products = {name for name in made if self.scheduled.arrays[name].origin == "part"}
        every = (*found, *statements(self.scheduled.backward), *self.scheduled.gradients)
        count = Counter(v.name for s in every for v in _read(s))
        halved = set()
        looped = {name for item in self.scheduled.forward if isinstance(item, Sweep) for name in item.names}
        looped -= {
            n for i in self.scheduled.forward if isinstance(i, Sweep) and is_zipped(self.program, i) for n in i.names
        }
        looped -= {name for _, names in self.planes for name in names}
        for name, value in ((n, v) for n, v in single.items() if n not in looped):
            if isinstance(value, expr.Apply) and value.function == "sigmoid" and not value.order:
                terms = terms_of(value.arguments[0])
                if all(isinstance(t, Var) and t.name in products and count[t.name] == 1 for t in terms):
                    self.halves |= {t.name for t in terms if isinstance(t, Var)}
                    halved.add(name)
        return halved

    def _items(self, items: Iterable[Item]) -> list[str]:
        """The lines of items at the top of a function."""
        lines: list[str] = []
        for kind, group in _grouped(items):
            if kind is Sweep:
                for sweep in group:
                    lines += ["", *self._sweep(sweep), ""]
            else:
                self.region = Everywhere(self.arrays, self.everywhere)
                lines += self._statements(group, "rows")
        return lines

    def _sweep(self, sweep: Sweep) -> list[str]:
        if is_zipped(self.program, sweep):
            region = Zipped(self.arrays, sweep.direction)
            self.region = region
            body = self._statements(sweep.body, "scratch")
            return [*region.header(), *indented([*body, *region.footer()])]
        return self._loop(sweep, {})

    def _wave(self, sweep: Sweep, outer: Mapping[int, Mapping[str, int]]) -> list[str]:
        """A sweep of a grid in waves; `outer`: the loops around it."""
        plane, place = self.planes[loops(sweep)], self._loop_place({axis: 0 for axis in outer})
        region = Waves(self.arrays, plane, place, self.wave_names)
        self.region = region
        body = []
        for delay, group in groupby(plane.front.order, lambda s: plane.front.delays[s.targets[0].name]):
            region.delay = delay
            body += self._statements([*group], "scratch")
        return [*region.header(), *indented([*region.cuts(), *body])]

    def _statements(self, group: Sequence[Any], scratch: str) -> list[str]:
        """Assignments and products at one place: neighbouring assignments are taken together."""
        lines: list[str] = []
        steps = Steps(
            self.program, self.printer, self._expression, lambda sizes, k: self._scratch(scratch, sizes, k), self.halved
        )
        waiting: list[Call] = []
        neighbours = self._neighbours()

        def settle() -> None:
            lines.extend(line for call in merged(waiting, neighbours) for line in self._call(call))
            waiting.clear()

        for statement in group:
            if isinstance(statement, Assign) and not is_placed(statement, self.program):
                waiting.extend(steps.of(steps.ref(statement.target), statement.value))
            else:
                settle()
                lines += self._product(statement) if isinstance(statement, Product) else self._apart(statement)
        settle()
        return lines

    def _neighbours(self) -> Neighbours:
        if isinstance(self.region, Waves):
            return NeighboursInWaves(self.program, self.region.plane.front.slopes)
        return Neighbours(self.program, isinstance(self.region, Everywhere))

    def _scratch(self, kind: str, sizes: tuple[Expr, ...], k: int) -> str:
        key = kind, tuple(map(self.names.size, sizes)), k
        if key not in self.scratch:
            number = sum(known[0] == kind for known in self.scratch)
            if (kind, number) not in self.scratch_names:
                self.scratch_names[kind, number] = self.names.new(f"{kind}_{number + 1}" if number else kind)
            self.scratch[key] = self.scratch_names[kind, number]
        return self.scratch[key]

    def _expression(self, node: Node) -> tuple[str, tuple[Ref, ...]]:
        """A node as source, and what it reads."""
        text = self.printer.full(self.printer.value(node), node).text
        offset = self.system.offset
        return text, tuple(Ref(v.name, offset(v) if v.index else ()) for v in expr.variables(node))

    def _call(self, call: Call) -> list[str]:
        """A call as a line; what is no universal function is an expression that is copied."""
        each = call.each or any(self.arrays.is_first(ref) for ref in (*call.refs, call.out))
        show = self.region.part_text if each else self.region.text
        out = show(call.out)
        operands = [self._number(o) if isinstance(o, str) else show(o) for o in call.operands]
        if not call.function:
            return self._copied(out, call.copied or operands[0])
        sign = IN_PLACE.get(call.function)
        if sign and operands[0] == out and out.isidentifier():
            return wrapped(f"{out} {sign}= ", operands[1])
        # Of these two NumPy wants it by name.
        by_name = call.function in ("np.maximum", "np.minimum")
        return wrapped("", f"{call.function}({', '.join([*operands, f'out={out}' if by_name else out])})")

    def _copied(self, out: str, text: str) -> list[str]:
        return wrapped(f"{out} = " if out.endswith("]") else f"{out}[...] = ", text)

    def _loop(self, sweep: Sweep, outer: Mapping[int, Mapping[str, int]]) -> list[str]:
        """A sweep as a loop over positions, or over waves."""
        if loops(sweep) in self.planes:
            return self._wave(sweep, outer)
        around = {**outer, sweep.axis: {name: sweep.direction * p for name, p in sweep.shifts.items()}}
        inside: list[tuple[str, list[str]]] = []
        for item in sweep.body:
            if isinstance(item, Sweep):
                inside.append(("", self._loop(item, around)))
                continue
            behind = {axis: of.get(item.target.name, 0) for axis, of in around.items()}
            self.region = Indexed(self.arrays, self._loop_place(behind))
            lines = self._product(item) if isinstance(item, Product) else self._placed(item)
            inside.append((self._guard(behind, around), lines))
        lines = under_conditions(inside)
        return [f"for {self.names.index[sweep.axis]} in {self._range(sweep, around)}:", *indented(lines)]

    def _loop_place(self, behind: Mapping[int, int]) -> Place:
        """Inside loops, whose indices count rows; `behind`: how far a variable is behind them."""
        symbols = enumerate(self.system.lattice.indices)
        steps = tuple(
            i - (self.layout.before[axis] - 1) - behind[axis] if axis in behind else None for axis, i in symbols
        )
        return Place(steps, self.everywhere.margins)

    def _range(self, sweep: Sweep, around: Mapping[int, Mapping[str, int]]) -> str:
        behind = [around[sweep.axis].get(name, 0) for name in sweep.names]
        last = self.system.lattice.lengths[sweep.axis] + max(behind)
        if sweep.direction > 0:
            return f"range({self.layout.row(1 + min(behind), sweep.axis)}, {self.layout.row(last + 1, sweep.axis)})"
        return f"range({self.layout.row(last, sweep.axis)}, {self.layout.row(min(behind), sweep.axis)}, -1)"

    def _guard(self, behind: Mapping[int, int], around: Mapping[int, Mapping[str, int]]) -> str:
        """The condition that a variable which is behind its loop, or ahead of it, is within the lattice."""
        place, conditions = self._loop_place(behind), []
        for axis in (axis for axis, shifts in around.items() if any(shifts.values())):
            step, length = place.steps[axis], self.system.lattice.lengths[axis]
            assert step is not None
            row = self.layout.row
            conditions.append(f"{row(1, axis)} <= {row(step, axis)} <= {row(length, axis)}")
        return " and ".join(conditions)

    def _apart(self, statement: Assign) -> list[str]:
        """`target = value`; a term that would divide by zero beyond the border is for fewer points."""
        if not isinstance(self.region, Waves):
            return self._placed(statement)
        plain, apart = guarded(self.program, statement.value)
        value = self._text(expr.add(*plain)) if plain else "0"
        lines = wrapped(f"{self.region.read(statement.target)}[...] = ", value)
        for offset, term in apart:
            self.region.reach = offset
            lines += wrapped(f"{self.region.read(statement.target)} += ", self._text(term))
            self.region.reach = ()
        return lines

    def _placed(self, statement: Assign) -> list[str]:
        """`target = value`; a term that would divide by zero beyond the border stands apart, with its condition."""
        assert isinstance(self.region, Region)
        place = self.region.place
        plain, apart = guarded(self.program, statement.value)
        target = self.region.read(statement.target)
        value = self._at(expr.add(*plain), place) if plain else None
        in_place = self.arrays.stack_with(statement.target.name) or (apart and place.steps[0] is None)
        if in_place and target.isidentifier():
            target += "[...]"
        lines = wrapped(f"{target} = ", self._text(value) if value is not None else "0")
        for offset, term in apart:
            # Along an axis that is not swept, the points that read beyond the lattice are left out.
            margins = [
                (max(0, -o), max(0, o)) if s is None else (0, 0) for o, s in zip(offset, place.steps, strict=True)
            ]
            self.region = type(self.region)(self.arrays, Place(place.steps, tuple(margins)))
            target = self.region.read(statement.target)
            added = wrapped(f"{target} += ", self._text(self._at(term, place)))
            self.region = type(self.region)(self.arrays, place)
            condition = self._inside(offset, place)
            lines += [f"if {condition}:", *indented(added)] if condition else added
        return lines

    def _text(self, node: Node) -> str:
        return self.printer.full(self.printer.value(node), node).text

    def _at(self, node: Any, place: Place) -> Any:
        """A node at a place; only what asks for its step changes, since arrays are read by their offset."""

        def leaf(part: Any) -> Any:
            if isinstance(part, expr.At):
                steps = {i: s for i, s in zip(self.system.lattice.indices, place.steps, strict=True) if s is not None}
                return expr.at(part, steps)
            return part

        return expr.rewrite(node, leaf)

    def _inside(self, offset: tuple[int, ...], place: Place) -> str:
        """The condition that the step at `offset` is one of the lattice's."""
        conditions = []
        for axis, (o, step) in enumerate(zip(offset, place.steps, strict=True)):
            if o and step is not None:
                limit = self.system.lattice.lengths[axis] if o > 0 else 1
                sign = "<=" if o > 0 else ">="
                conditions.append(f"{self.layout.row(step + o, axis)} {sign} {self.layout.row(limit, axis)}")
        return " and ".join(conditions)


IN_PLACE = {"np.add": "+", "np.subtract": "-", "np.multiply": "*", "np.divide": "/"}


def _grouped(items: Iterable[Item]) -> Iterator[tuple[type, list[Any]]]:
    """Neighbouring items of a kind: sweeps, and statements for all points."""
    group: list[Any] = []
    for item in items:
        if group and isinstance(item, Sweep) != isinstance(group[0], Sweep):
            yield (Sweep if isinstance(group[0], Sweep) else Assign), group
            group = []
        group.append(item)
    if group:
        yield (Sweep if isinstance(group[0], Sweep) else Assign), group
