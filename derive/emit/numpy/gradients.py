"""The backward pass, in blocks of steps where that can be done, and the gradients that it gives."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeAlias

from derive import expr
from derive.emit.code import RANK, ROW, kind_of, total, wrapped
from derive.emit.face import axes_along
from derive.emit.numpy.allocation import Allocation
from derive.emit.numpy.parts import is_zipped
from derive.emit.numpy.regions import Beyond, Everywhere, width
from derive.emit.numpy.ufuncs import Ref
from derive.emit.source import (
    BLOCKS,
    function,
    indented,
    quoted,
    uses,
    without_double_blanks,
)
from derive.expr import Node, Var
from derive.lattice import Border
from derive.schedule.program import (
    CARRIED,
    STORED,
    Edge,
    Gradient,
    OuterTotal,
    Sweep,
    Total,
    statements,
)
from derive.schedule.storage import read_by as _read
from derive.schedule.terms import can_be_infinite, is_backward
from derive.system import Variable

BAR = "_bar"
Margins: TypeAlias = "tuple[tuple[int, int], ...]"


class Gradients(Allocation):
    def _blocks(self) -> str:
        """The function that runs the backward pass in blocks of steps."""
        program = self.program
        kept = self._trajectories()
        rows = dict.fromkeys(v.name for v in kept if v.name not in self.arrays.bare)
        stacks = [self.arrays.name(Ref(s.parts[0].name, (), len(s.parts))) for s in program.stacks]
        rows |= dict.fromkeys(name for name in stacks if name in self.kept_stacks)
        carried = {n: a.var for n, a in program.arrays.items() if a.storage == CARRIED and n in self.program.inside}
        pairs = ", ".join(f'"{name}": "{var.shape[0]}"' for name, var in carried.items())
        return BLOCKS.format(
            rows="\n".join(wrapped("rows = ", f"({quoted(rows)})", 4)),
            carried="\n".join(wrapped("carried = ", f"{{{pairs}}}", 4)),
            border=self.layout.before[0] + self.layout.after[0],
            bare=f"({quoted(v.name for v in kept if v.name in self.arrays.bare)})",
        )

    def _has_blocks(self) -> bool:
        """Whether the backward pass is one downward sweep along a chain whose steps hand on nothing but what is carried."""
        program = self.program
        sweeps = [item for item in program.backward if isinstance(item, Sweep)]
        one = len(sweeps) == 1 and sweeps[0].direction < 0 and is_zipped(program, sweeps[0])
        kept = {n for n, a in program.arrays.items() if n in self.program.inside and a.storage == STORED}
        columns = all(
            expr.is_column(a.var)
            for n, a in program.arrays.items()
            if a.storage == CARRIED and n in self.program.inside
        )
        borders = {b.variable for b in self.system.borders} & {v.name for v in self.face.inputs}
        learned = any(self.face.is_learned(b) for b in self.face.borders)
        return one and columns and kept <= self.arrays.bare and not borders and not learned and not self.face.targets

    def _pull(self) -> str:
        """The backward pass."""
        self.scratch, self.turned, self.halving = {}, {}, {}
        program = self.program
        items = self._items(program.backward)
        body = [*items, "", "gradients = {}", *(line for g in program.gradients for line in self._gradient(g))]
        known = {t.stem for g in program.gradients for t in _targets(g)}
        unread = [v.name for v in self.system.parameters if v.name not in known]
        body += [f'gradients["{name}"] = np.zeros_like({self._entry(name)})' for name in unread]
        for v in self.system.inputs:
            body += self._input_gradient(v)
        body.append("return gradients")
        body = self._named_rows(body)
        body = [*self._made(program.backward, body), *body]
        packs = self._packed(program.backward)
        known_packs = self._packed(program.forward).values()
        kept = [name for name in packs.values() if name in known_packs]
        mine = {pack: name for pack, name in packs.items() if name not in kept}
        own = {t.name for s in statements(program.backward) for t in s.targets}
        given = [v.name for v in self._trajectories() if v.name not in own]
        used = [name for name in given if uses(body, self.names.of[name])]
        points = self._points(body)
        runs = self._run_views(body)
        turned = self._turned_lines()
        numbers = self._number_lines([*body, *turned])
        lines = [
            *self._parameters([*body, *turned]),
            *self._unpacked(used),
            *[f'{name} = values["{name}"]' for name in kept if uses([*body, *turned], name)],
            *(
                f'{self.names.of[seed + "_ct"]} = cotangents["{seed}"]'
                for seed in program.seeds
                if uses(body, self.names.of[seed + "_ct"])
            ),
            *self._sizes([*body, *points, *runs, *numbers]),
            *points,
            *numbers,
            *self._packing(mine),
            *turned,
            *runs,
        ]
        doc = "The adjoint equations, and the gradients that they give.\n\n"
        doc += "\n".join(f"    {line}" for line in self.face.adjoint_equations())
        head = (
            "_pull_block(values, sizes, cotangents, carried)" if self.in_blocks else "_pull(values, sizes, cotangents)"
        )
        return function(head, doc, without_double_blanks([*lines, "", *body]))

    def _named_rows(self, body: Sequence[str]) -> list[str]:
        """What several products read as the rows of a matrix gets a name."""
        lines = list(body)
        found = Counter(name for line in lines for name in re.findall(r"_flat\((\w+)\)", line))
        for name in (name for name, count in found.items() if count > 1):
            text, rows = f"_flat({name})", self.names.new(f"{name}_rows")
            first = next(k for k, line in enumerate(lines) if text in line)
            lines = [line.replace(text, rows) for line in lines]
            lines.insert(first, f"{rows} = {text}")
        return lines

    def _trajectories(self) -> list[Var]:
        """What the forward pass hands on: inputs, states and the pieces that are kept."""
        given = (*self.face.inputs, *self.face.states)
        return [*(v.var for v in given if v.var.index), *self._kept_parts()]

    def _kept_parts(self) -> list[Var]:
        """Pieces of forward equations that the backward pass reads."""
        own = {t.name for s in statements(self.program.forward) for t in s.targets}
        read = {v.name for s in statements(self.program.backward) for v in _read(s)}
        read |= {v.name for g in self.program.gradients for v in _read(g)}
        return [a.var for n, a in self.program.arrays.items() if n in own & read and a.origin == "part"]

    def _run_views(self, body: Sequence[str]) -> list[str]:
        """Runs of forward stacks that the backward pass reads: parts of the arrays that the forward pass filled."""
        lines = []
        forward = {t.name for s in statements(self.program.forward) for t in s.targets}
        for (name, k, count), text in list(self.arrays.runs.items()):
            stack = next(s for s in self.program.stacks if s.name == name)
            if stack.parts[0].name in forward and uses(body, text):
                whole = self.arrays.name(Ref(stack.parts[0].name, (), len(stack.parts)))
                self.kept_stacks[whole] = None
                lines.append(f'{text} = values["{whole}"]' + (self._parts(stack, k, count) if text != whole else ""))
        return lines

    def _gradient(self, gradient: Any) -> list[str]:
        self.region = Everywhere(self.arrays, self.everywhere)
        match gradient:
            case OuterTotal():
                return self._outer_total(gradient)
            case Total():
                name = gradient.target.stem
                text = total(self.printer, gradient.value)
                is_row = kind_of(gradient.target) == ROW
                return wrapped(f'gradients["{name}"] = ', f"({text})[None]" if is_row else text)
            case Edge():
                return self._edge(gradient)
        raise AssertionError(gradient)

    def _outer_total(self, gradient: OuterTotal, into: str = "gradients") -> list[str]:
        left = f"_flat({self._run_text(gradient.left)})"
        text = f"{left}.sum(0)"
        if gradient.right is not None:
            right = f"_flat({self._run_text([gradient.right])})"
            whole = self._is_whole(gradient.left) and self._is_whole([gradient.right])
            text = f"{left}.T.dot({right})" if whole else f"{left}.T @ {right}"
        names = [t.stem if into == "gradients" else t.name for t in gradient.targets]
        if len(names) == 1:
            is_row = kind_of(gradient.targets[0]) == ROW
            return [f'{into}["{names[0]}"] = {f"({text})[None]" if is_row else text}']
        sizes = [self.names.size(v.shape[0]) for v in gradient.left]
        if len(set(sizes)) == 1:
            n = sizes[0]
            together, k = self._of_sums
            each = f"    {into}[name] = {together}[{k} * {n} : ({k} + 1) * {n}]"
            return [f"{together} = {text}", f"for {k}, name in enumerate(({quoted(names)})):", each]
        cuts = [width(self.arrays, gradient.left[:k]) for k in range(1, len(sizes))]
        pieces = [f'{into}["{name}"]' for name in names]
        return [f"{', '.join(pieces)} = np.split({text}, [{', '.join(cuts)}])"]

    @cached_property
    def _of_sums(self) -> tuple[str, str]:
        """What several sums as one are called, and the number of one of them."""
        return self.names.new("total"), self.names.new("k")

    def _input_gradient(self, variable: Variable) -> list[str]:
        bar = f"{variable.name}{BAR}"
        row = "[..., None, :]" if kind_of(variable.var) == ROW else ""
        if bar in self.program.arrays:
            rows = self.arrays.rows(bar, self.everywhere)
            value = f"{self.names.of[bar]}[{rows}]" if rows else self.names.of[bar]
            return [f'gradients["{variable.name}"] = {value}{row}']
        name = self.names.of[variable.name]
        rows = self.arrays.rows(variable.name, self.everywhere)
        return [f'gradients["{variable.name}"] = np.zeros_like({f"{name}[{rows}]" if rows else name}){row}']

    def _edge(self, edge: Edge) -> list[str]:
        """The gradient by a boundary value: the adjoint equation beyond the lattice."""
        entry = f'gradients["{edge.key}"]'
        self.region = Beyond(self.arrays, edge)
        plain, late = self._late_terms(edge.value)
        local = f"{self.names.of[edge.border.variable]}[{self.layout.border(edge.border)}]"
        start = expr.add(*plain) if plain else None
        text = f"np.zeros_like({local})" if start is None else self._text(start)
        lines = wrapped(f"{entry} = ", f"{text}.copy()" if isinstance(start, Var) else text)
        for condition, margins, term in late:
            self.region = Beyond(self.arrays, edge, margins)
            rows = [
                f"{low or ''}:{-high or ''}" for (low, high), s in zip(margins, edge.steps, strict=True) if s is None
            ]
            place = f"{entry}[{', '.join(rows)}]" if any(map(any, margins)) else entry
            added = wrapped(f"{place} += ", self._text(term))
            lines += [f"if {condition}:", *indented(added)] if condition else added
        return [*lines, *self._outward(edge.border, entry, entry)]

    def _late_terms(self, rhs: Node) -> tuple[list[Node], list[tuple[str, Margins, Node]]]:
        """The terms on a border; apart those that would divide by zero where the lattice does not reach."""
        plain: list[Node] = []
        late = []
        for term in rhs.args if isinstance(rhs, expr.Add) else (rhs,):
            condition, margins = (self._reached(term), self._left_out(term)) if can_be_infinite(term) else ("", ())
            if condition or any(map(any, margins)):
                late.append((condition, margins, term))
            elif not isinstance(term, expr.Zero):
                plain.append(term)
        return plain, late

    def _left_out(self, term: Node) -> Margins:
        """How many points at either end of a border have no adjoint of `term` beside them."""
        offsets: list[set[int]] = [{0} for _ in self.system.lattice.indices]
        for var in (v for v in expr.variables(term) if v.index and (is_backward(v) or v.name in self.program.inside)):
            for found, index, symbol in zip(offsets, var.index, self.system.lattice.indices, strict=True):
                found |= {int(index - symbol)} if index.has(symbol) else set()
        return tuple((-min(found), max(found)) for found in offsets)

    def _reached(self, term: Node) -> str:
        """The condition that all adjoints which a term reads near the border lie inside the lattice."""
        conditions: dict[str, None] = {}
        lattice = self.system.lattice
        for var in (v for v in expr.variables(term) if is_backward(v) or v.name in self.program.inside):
            for axis, (index, n) in enumerate(zip(var.index, lattice.lengths, strict=True)):
                if index.is_Integer and index > 1:
                    conditions[f"{index} <= {self.names.length[axis]}"] = None
                elif index.has(n) and index != n:
                    conditions[f"{n - index} < {self.names.length[axis]}"] = None
        return " and ".join(conditions)

    def _outward(self, border: Border, target: str, text: str) -> list[str]:
        """A gradient as it is returned: of a learned value summed over the batch, of a row with both axes."""
        var = self.system.variables[border.variable].var
        row = kind_of(var) == ROW
        if self.face.is_learned(border):
            text = self.printer.call("sum_leading", text, str(RANK[kind_of(var)]), f"keep={axes_along(border)}")
        text = f"{text}[..., None, :]" if row else text
        return [f"{target} = {text}"] if text != target else []


def _targets(gradient: Gradient) -> tuple[Var, ...]:
    """The adjoints of parameters that a gradient gives."""
    return (
        gradient.targets
        if isinstance(gradient, OuterTotal)
        else (gradient.target,)
        if isinstance(gradient, Total)
        else ()
    )
