"""A system as a standalone PyTorch module: an `nn.Module`, an `autograd.Function`, and the functions of the NumPy module."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from sympy import Expr

from derive import expr
from derive.emit.code import ROW, kind_of, wrapped
from derive.emit.face import Face, law
from derive.emit.layout import Names, Place
from derive.emit.source import (
    UNKNOWN,
    called_in,
    dictionary,
    function,
    indented,
    quoted,
    uses,
    without_double_blanks,
)
from derive.emit.torch import text
from derive.emit.torch.memory import Block, Memory
from derive.emit.torch.passes import Pass
from derive.emit.torch.printer import definitions
from derive.emit.torch.second import second_adjoint
from derive.expr import Node, Var
from derive.lattice import Border
from derive.partials import Entry, table
from derive.schedule import Program, schedule
from derive.schedule.program import STORED, Edge, OuterTotal, Total, statements
from derive.schedule.terms import COTANGENT
from derive.system import LOSS, System, Variable

BAR = "_bar"
RESERVED = ("torch", "ctx", "new_empty", "new_zeros", "new_ones", "arrays", "states", "directions", "found", "like", "points",
            "batch", "functools", "COTANGENTS", "ARGUMENTS", "Recurrence", "Adjoint", "self", "T_", "steps", "rows", "bordered", "cotangent",
            "named", "outward", "by_columns", "zero_of", "vjp", "run", "pull", "second", "trajectories", "arguments", "slope_of_tanh", "slope_of_sigmoid", "sum_outer", "sum_leading")  # fmt: skip


class TorchNames(Names):
    """Python names; pieces of memory get theirs while the lines are written."""

    def __init__(self, system: System, variables: Iterable[str]):
        self.renamed: set[str] = set()
        variables = [*variables]
        super().__init__(system, ())
        self.taken |= {*RESERVED}
        self.of = {name: self.new(name) for name in variables}


class Body:
    """One function's lines: what they use is unpacked, packed and allocated in front of them."""

    def __init__(self, module: Module, program: Program, names: TorchNames, memory: Memory):
        self.module, self.program, self.names, self.memory = module, program, names, memory
        self.system = program.system
        self.to = Pass(memory, names)

    # --- what stands in front ---------------------------------------------------------------------------------------------

    def function(self, lines: Sequence[str], computed: set[str], given: Iterable[str] = ()) -> list[str]:
        """`lines` with all that they use; `computed` are the arrays that they fill, `given` names that are there already."""
        late = {line[2:] for line in lines if line.startswith("@ ")}
        lines = [part for line in lines for part in (self._late(line, lines) if line.startswith("@ ") else [line])]
        blocks = [b for b in self.memory.blocks if set(b.names) & computed]
        blocks = [b for b in blocks if not set(b.names) & self.to.made and self._is_used(b, lines)]
        fill = [line for b in blocks for line in self._allocated(b)]
        loaded = [b for b in self.memory.blocks if not set(b.names) & computed and self._is_used(b, lines)]
        late_blocks = [b for b in self.memory.blocks if b.name in late]
        split = [line for b in (*loaded, *blocks) for line in self._parts(b, [*lines, *fill])]
        split += self._views([*lines], [*late_blocks])
        used = [(name, t) for name, t in self.to.packs.items() if uses([*lines, *split], name)]
        packs = [line for name, t in used for line in wrapped(f"{name} = ", t)]
        arrays = self.arrays([*lines, *fill], given)
        unpacked = self.unpacked([self.to.block_name(b) for b in loaded])
        params = self.parameters([*lines, *packs, *split])
        new = [n for n in ("empty", "zeros", "ones") if uses([*lines, *fill, *arrays], f"new_{n}")]
        like = [
            f"{', '.join(f'new_{n}' for n in new)} = {', '.join(f'{self.module.like}.new_{n}' for n in new)}"
        ] if new else []  # fmt: skip
        sizes = self.sizes([*lines, *fill, *arrays, *split])
        return without_double_blanks(
            [*sizes, *params, *like, *arrays, *unpacked, *packs, *fill, *split, "", *lines]
        )

    def _late(self, line: str, lines: Sequence[str]) -> list[str]:
        """The parts of a block that a product has made."""
        block = next(b for b in self.memory.blocks if b.name == line[2:])
        return [*self._parts(block, lines), *self._views(lines, [b for b in self.memory.blocks if b is not block], True)]

    def _views(self, lines: Sequence[str], late: Sequence[Block], only_late: bool = False) -> list[str]:
        others = [self.to.block_name(b) for b in late if len(b.parts) > 1]
        texts = dict(self.to.views)
        used: set[str] = set()
        for name, text in reversed(texts.items()):
            if uses([*lines, *(texts[other] for other in used)], name):
                used.add(name)
        is_late = {name for name, t in texts.items() if any(t.startswith(f"{other}[") for other in others)}
        found = [name for name in texts if name in used - is_late and not (only_late and texts[name].endswith((".T", ")")))]
        return [f"{name} = {texts[name]}" for name in found]

    def _is_used(self, block: Block, lines: Sequence[str]) -> bool:
        names = {self.to.block_name(block), *(self.names.of[p[0]] for p in block.parts)}
        for view, text in self.to.views.items():
            names |= {view} if any(text.startswith((f"{name}[", f"{name}.")) for name in names) else set()
        return any(uses(lines, name) for name in names)

    def _allocated(self, block: Block) -> list[str]:
        name = self.to.block_name(block)
        if block.storage != STORED:
            zero = any(self.memory.program.arrays[n].storage == "carried" for n in block.names)
            return [f"{name} = {'new_zeros' if zero else 'new_empty'}({self.memory.shape(block)})"]
        lines = [f"{name} = new_empty({self.memory.shape(block)})"]
        for axis, (before, after) in enumerate(block.margins):
            lead = "".join(":, " * axis)
            lines += [f"{name}[{lead}:{before}] = 0"] if before else []
            lines += [f"{name}[{lead}-{after}:] = 0"] if after else []
        return lines

    def _parts(self, block: Block, lines: Sequence[str]) -> list[str]:
        """The names of the parts of a block."""
        if len(block.parts) == 1:
            return []
        names = [self.names.of[part[0]] for part in block.parts]
        if not any(uses(lines, name) for name in names):
            return []
        sizes = [self.names.size(n) for n in block.sizes]
        each = sizes[0] if len(set(sizes)) == 1 else f"({', '.join(sizes)})"
        text = _targets(names, f"{self.to.block_name(block)}.split({each}, -1)")
        scalars = [n for n, part in zip(names, block.parts, strict=True) if self._kind(part[0]) == "scalar"]
        return [*text, *(f"{n} = {n}[..., 0]" for n in scalars)]

    def _kind(self, name: str) -> str:
        return kind_of(self.memory.arrays[name].var)

    def unpacked(self, names: Sequence[str], source: str = "values") -> list[str]:
        return unpacked({name: f'{source}["{name}"]' for name in names})

    def parameters(self, lines: Sequence[str]) -> list[str]:
        used = [v for v in self.system.parameters if uses(lines, self.names.of[v.name])]
        row = {v.name: "[0]" if kind_of(v.var) == ROW else "" for v in used}
        return unpacked({self.names.of[v.name]: f'values["{v.name}"]{row[v.name]}' for v in used})

    def arrays(self, lines: Sequence[str], given: Iterable[str]) -> list[str]:
        """Inputs and cotangents with one axis for the batch, and rows around the lattice where they are read there."""
        found = []
        for v in self.system.of_kind("input", "target", "cotangent"):
            if uses(lines, self.names.of[v.name]) and v.name not in given:
                found += self.array(v, f'values["{v.name}"].reshape({self.inner_shape(v.var)})')
        return found

    def array(self, v: Variable, text: str) -> list[str]:
        margins = self.memory.margins[v.name]
        name = self.names.of[v.name]
        if any(map(any, margins)):
            text = self.to.printer.call("bordered", text, *(f"({a}, {b})" for a, b in margins))
        return [f"{name} = {text}", *self.borders([v.name])]

    def inner_shape(self, var: Var, *lengths: str) -> str:
        sizes = [self.names.size(n) for n in var.shape if n != 1]
        return ", ".join([*(lengths or self.names.length), "batch", *sizes])

    def sizes(self, lines: Sequence[str]) -> list[str]:
        symbols = dict.fromkeys([*self.system.lattice.lengths, *self.system.dimensions])
        pairs = {self.names.symbols[s]: f'sizes["{s}"]' for s in symbols if uses(lines, self.names.symbols[s])}
        if uses(lines, "points"):
            pairs |= {self.names.symbols[s]: f'sizes["{s}"]' for s in self.system.lattice.lengths}
        points = [f"points = {' * '.join([*self.names.length, 'batch'])}"] if uses(lines, "points") else []
        if uses([*lines, *points], "batch"):
            pairs["batch"] = 'sizes["batch"]'
        return [*unpacked(pairs), *points]

    # --- borders ----------------------------------------------------------------------------------------------------------

    def borders(self, names: Sequence[str]) -> list[str]:
        """Boundary values, in the rows around the lattice."""
        lines = []
        for border in self.module.known_borders(self.system):
            if border.variable not in names or not self._has_rows(border):
                continue
            var = self.system.variables[border.variable].var
            place, along = self.place(border), self._along(border)
            given = f'values["{border.key}"]'
            if self.system.boundary[border.variable] == "learned":
                given += "[0]" if kind_of(var) == ROW else ""
                lines.append(f"{place} = {given}" + (f"[{', '.join([':'] * len(along))}, None]" if along else ""))
            else:
                sizes = [self.names.size(n) for n in var.shape if n != 1]
                shape = ", ".join([*along, "batch", *sizes])
                lines += [f'if "{border.key}" in values:', f"    {place} = {given}.reshape({shape})"]
        return lines

    def _has_rows(self, border: Border) -> bool:
        margins = self.memory.margins[border.variable]
        return all(
            not side.depth or side.depth <= (before if side.low else after)
            for side, (before, after) in zip(border.sides, margins, strict=True)
        )

    def _along(self, border: Border) -> list[str]:
        return [n for n, side in zip(self.names.length, border.sides, strict=True) if not side.depth]

    def place(self, border: Border, name: str = "") -> str:
        """The rows of a border."""
        parts = []
        for axis, side in enumerate(border.sides):
            before, after = self.memory.margins[border.variable][axis]
            index: Expr | int = side.coordinate(self.system.lattice.indices[axis], self.system.lattice.lengths[axis])
            parts.append(self.to._text(index + before - 1) if side.depth else f"{before or ''}:{-after or ''}")
        return f"{name or self.names.of[border.variable]}[{', '.join(parts)}]"

    def inner(self, var: Var, name: str = "") -> str:
        """An array without its rows around the lattice."""
        return self.to.at(name or self.to.called(var), var)

    # --- gradients --------------------------------------------------------------------------------------------------------

    def gradients(self, wanted: Mapping[str, str]) -> list[str]:
        """The lines that compute totals and edges; `wanted`: what they are returned as, by the name of their target."""
        lines: list[str] = []
        for item in self.program.gradients:
            if isinstance(item, Edge):
                lines += self._edge(item, wanted.get(item.key, item.key)) if item.key in wanted else []
            elif isinstance(item, Total):
                if item.target.name in wanted:
                    lines += wrapped(f'gradients["{wanted[item.target.name]}"] = ', self.to.total(item))
            elif isinstance(item, OuterTotal):
                lines += self._outer(item, wanted)
        return lines

    def _outer(self, item: OuterTotal, wanted: Mapping[str, str]) -> list[str]:
        kept = [k for k, t in enumerate(item.targets) if t.name in wanted]
        if not kept:
            return []
        text, shapes = self.to.outer_total(item)
        entries = [f'gradients["{wanted[t.name]}"]' if t.name in wanted else "_" for t in item.targets]
        if len(entries) == 1:
            text = f"({text})" if shapes[0] and "@" in text and not text.endswith(").T") else text
            return wrapped(f"{entries[0]} = ", f"{text}{shapes[0]}")
        sizes = [self.names.size(v.shape[0]) for v in item.left]
        each = sizes[0] if len(set(sizes)) == 1 else f"({', '.join(sizes)})"
        lines = wrapped("found = ", f"{text}.split({each})")
        for k in kept:
            lines.append(f"{entries[k]} = found[{k}]{shapes[k]}")
        if not any(shapes) and len(kept) == len(entries):
            names = quoted(wanted[t.name] for t in item.targets)
            lines = [*lines[:-len(kept)], *wrapped("", f"gradients.update(zip(({names}), found, strict=True))")]
        return lines

    def _edge(self, item: Edge, key: str) -> list[str]:
        border = item.border
        var = self.system.variables[border.variable].var
        plain, late = self.to.edge(item)
        entry = f'gradients["{key}"]'
        shape = ", ".join([*self._along(border), "batch", *(self.names.size(n) for n in var.shape if n != 1)])
        if plain and not late:
            (outward,) = self.edge_outward(border, entry, "=", plain[0])
            return wrapped(f"{entry} = ", outward.removeprefix(f"{entry} = "))
        lines = wrapped(f"{entry} = ", plain[0]) if plain else [f"{entry} = new_zeros({shape})"]
        for condition, (term,) in late:
            lines += [f"if {condition}:", *indented(wrapped(f"{entry} = {entry} + ", term))]
        return [*lines, *self.edge_outward(border, entry)]

    def edge_outward(self, border: Border, entry: str, operator: str = "=", source: str = "") -> list[str]:
        """A gradient as it is returned: of a learned value summed over the batch, of a row with both axes."""
        var, along = self.system.variables[border.variable].var, len(self._along(border))
        row = "[..., None, :]" if kind_of(var) == ROW else ""
        text = source or entry
        if self.system.boundary[border.variable] == "learned":
            text = text if re.fullmatch(r"\w+(\[[^]]*\])*", text) else f"({text})"
            return [f"{entry} {operator} {text}.sum({along}){row}"]
        return [f"{entry} {operator} outward({text}, sizes, {along}){row}"]


def _targets(names: Sequence[str], text: str) -> list[str]:
    """`a, b, c = text`, in brackets where that is too long."""
    line = f"{', '.join(names)} = {text}"
    if len(line) <= 100:
        return [line]
    return ["(", *indented(textwrap.wrap(", ".join(names) + ",", 96)), f") = {text}"]


def unpacked(pairs: Mapping[str, str]) -> list[str]:
    """`W, U = values["W"], values["U"]`, as many in a line as fit."""
    lines: list[str] = []
    left = list(pairs.items())
    while left:
        count = len(left)
        while count > 1 and len(_unpack(left[:count])) > 100:
            count -= 1
        lines.append(_unpack(left[:count]))
        left = left[count:]
    return lines


def _unpack(pairs: Sequence[tuple[str, str]]) -> str:
    return f"{', '.join(n for n, _ in pairs)} = {', '.join(t for _, t in pairs)}"


class Module:
    """The parts of the module's source."""

    def __init__(self, system: System, seeds: tuple[str, ...] | None = None):
        self.system = system
        self.program = schedule(system, seeds)
        self.face = Face(self.program)
        self.derived, self.states, self.loss = self.face.derived, self.face.states, self.face.loss
        self.targets, self.fed, self.inputs = self.face.targets, self.face.fed, self.face.inputs
        self.unknown: list[str] = []
        """The functions without a formula that the source calls, known once it is written."""
        self.needed: list[str] = []
        """Those that it calls but for gradients of gradients."""
        self.dimension = system.lattice.dimension
        self.names = self._names(self.program)
        extra = [self.loss.rhs] if self.loss else []
        self.memory = Memory(self.program, self.names, [*extra, *self._cotangents_read()])
        self.called: dict[str, tuple[str, int]] = {}

    def _cotangents_read(self) -> list[Node]:
        return [v.var for v in self.states if v.var.index]

    def _names(self, program: Program) -> TorchNames:
        systems = [program.system, *([program.adjoint] if program.adjoint else [])]
        every = [*(n for s in systems for n in s.variables), *program.arrays, *(s.name for s in program.stacks)]
        return TorchNames(program.system, dict.fromkeys(every))

    @cached_property
    def like(self) -> str:
        """An array that has the dtype and the device of all others."""
        return f'values["{(*self.system.parameters, *self.inputs)[0].name}"]'

    def known_borders(self, system: System) -> list[Border]:
        """The borders of what the functions are given or compute, and their tangents."""
        known = {v.name for v in (*self.inputs, *self.states, *(self.targets if self.loss else ()))}
        keys = {b.key for b in self.system.borders if b.variable in known}
        dotted = {b.key.replace(b.variable, f"{b.variable}_dot", 1) for b in self.system.borders if b.variable in known}
        return [b for b in system.borders if b.key in keys or b.key in dotted and system is not self.system]

    def body(self) -> Body:
        return Body(self, self.program, self.names, self.memory)

    def collected(self, body: Body) -> None:
        self.called |= body.to.printer.called

    # --- functions --------------------------------------------------------------------------------------------------------

    def source(self) -> str:
        pull = [] if self.derived else [self._pull()]
        run = self._run("".join(pull))
        second = "" if self.derived else self._second()
        parts = [self._forward()]
        if not self.derived:
            parts = [self._module_class(), *parts, self._vjp(), *([self._value_and_grad()] if self.loss else [])]
            parts += [self.face.check(text.CHECK, text.CHECK_LOSS), text.RECURRENCE, text.ADJOINT]
            parts += [run, *pull, second]
        else:
            parts += [run]
        body = "\n\n\n".join(p.strip("\n") for p in parts)
        helpers = text.helpers(body, self.dimension)
        called = definitions([*called_in(self.called, [body, *helpers])])
        self.unknown = re.findall(r'_unknown\("([^"]+)"\)', "\n".join(called.values()))
        first = body.replace(second, "") if second else body
        needed = definitions([*called_in(self.called, [first, *helpers])])
        self.needed = re.findall(r'_unknown\("([^"]+)"\)', "\n".join(needed.values()))
        lengths = [] if self.inputs else [str(n) for n in self.system.lattice.lengths]
        tail = [text.arguments(bool(self.targets), lengths), *helpers, *called.values(), *([UNKNOWN] if self.unknown else [])]
        tail += [] if self.derived else [text.MAIN]
        head = "\n".join([self._docstring(), "", "import difflib", "import functools", "import math", "", "import torch", "", *self._tables()])
        return "\n\n\n".join([head, body, *(p.strip("\n") for p in tail)]) + "\n"

    def _computed(self, items: Sequence[object]) -> set[str]:
        return {t.name for s in statements(tuple(items)) for t in s.targets}  # type: ignore[arg-type]

    def _run(self, later: str) -> str:
        """The forward pass."""
        body = self.body()
        names = [v.name for v in self.states]
        computed = self._computed(self.program.forward)
        lines = [*body.borders(names), "", *body.to.lines(self.program.forward), ""]
        gradients = body.gradients(self._derived_keys()) if self.derived else []
        lines += ["gradients = {}", *gradients] if gradients else []
        kept = self._stored(body, later)
        pairs = {name: name for name in kept}
        lines += dictionary("found = ", pairs)
        more = " | gradients" if gradients else ""
        lines.append(f"return values | found{more}")
        self.collected(body)
        doc = "The forward pass: all arrays by name.  The batch is one axis, and rows around the lattice are boundary values or zero."
        return function("run(values, sizes)", doc, body.function(lines, computed))

    def _derived_keys(self) -> dict[str, str]:
        found = {g.key: g.key for g in self.program.gradients if isinstance(g, Edge)}
        for g in self.program.gradients:
            targets = g.targets if isinstance(g, OuterTotal) else () if isinstance(g, Edge) else (g.target,)
            found |= {t.name: t.name for t in targets}
        return found

    def _stored(self, body: Body, later: str) -> list[str]:
        """The arrays of the forward pass that are needed afterwards: states, and what the adjoint equations read."""
        found = []
        computed = self._computed(self.program.forward)
        states = {v.name for v in self.states}
        for block in self.memory.blocks:
            if block.storage == STORED and set(block.names) & computed:
                name = body.to.block_name(block)
                if f'values["{name}"]' in later or set(block.names) & states:
                    found.append(name)
        return found

    def _state(self, body: Body, v: Variable, source: str = "values") -> str:
        """The trajectory of a state, among the values, with one axis for the batch."""
        block = self.memory.of[v.name]
        array = f'{source}["{body.to.block_name(block)}"]'
        if len(block.parts) > 1:
            sizes = [self.names.size(n) for n in block.sizes]
            k = next(k for k, part in enumerate(block.parts) if v.name in part)
            from derive.emit.torch.memory import summed

            first = f"{summed(sizes[:k])} " if k else ""
            last = f" {summed(sizes[: k + 1])}" if k + 1 < len(sizes) else ""
            where = body.inner(v.var, "")[len(body.to.called(v.var)) :].strip("[]")
            lead = where or "..."
            tail = f"{first}:{last}" if kind_of(v.var) != "scalar" else str(summed(sizes[:k]) or 0)
            return f"{array}[{lead}, {tail}]" if lead == "..." else f"{array}[{lead}, ..., {tail}]"
        return body.inner(v.var, array)

    def _states(self) -> str:
        body = self.body()
        entries = {}
        for v in self.states:
            if v.var.index:
                row = "[..., None, :]" if kind_of(v.var) == ROW else ""
                entries[v.name] = f"outward({self._state(body, v)}, sizes){row}"
        lines = dictionary("return ", entries)
        sizes = body.sizes(lines)
        return function("trajectories(values, sizes)", "The states by name, with the axes of the batch.", [*sizes, *lines])

    def _pull(self) -> str:
        body = self.body()
        lines = body.to.lines(self.program.backward)
        wanted = {v.var.marked("bar").name: v.name for v in self.system.parameters}
        wanted |= {b.key: b.key for b in self.gradient_borders}
        gradients = ["gradients = {}", *body.gradients(wanted)]
        computed = self._computed(self.program.backward)
        got = {t.name for g in self.program.gradients if not isinstance(g, Edge) for t in (g.targets if isinstance(g, OuterTotal) else (g.target,))}
        for v in self.system.parameters:
            if v.var.marked("bar").name not in got:
                gradients.append(f'gradients["{v.name}"] = torch.zeros_like(values["{v.name}"])')
        for v in self.system.inputs:
            row = "[..., None, :]" if kind_of(v.var) == ROW else ""
            bar = v.var.marked("bar")
            if bar.name in computed:
                gradients.append(f'gradients["{v.name}"] = outward({body.inner(bar)}, sizes){row}')
            else:
                gradients.append(f'gradients["{v.name}"] = torch.zeros_like(values["{v.name}"])')
        seeds = []
        for name in self.program.seeds:
            v = self.system.variables[name]
            ct = v.var.marked(COTANGENT)
            if uses(lines, self.names.of[ct.name]) or uses(gradients, self.names.of[ct.name]):
                call = f'cotangent(cotangents, "{name}", {self._state(body, v)})'
                seeds += body.array(Variable(ct, "cotangent", True), call)
        self.collected(body)
        lines = [*lines, "", *gradients, "return gradients"]
        own = [e for e in (self.program.adjoint.own if self.program.adjoint else ()) if e.name != LOSS + BAR]
        doc = "The adjoint equations, from the cotangents of states to gradients.\n\n"
        doc += "\n".join(f"    {line}" for e in own for line in law(e))
        cotangents = [self.system.variables[name].var.marked(COTANGENT).name for name in self.program.seeds]
        found = body.function([*seeds, *lines], computed, cotangents)
        return function("pull(values, sizes, cotangents)", doc, without_double_blanks(found))

    @cached_property
    def gradient_borders(self) -> list[Border]:
        return [b for b in self.known_borders(self.system) if self.system.variables[b.variable].kind != "target"]

    # --- the second adjoint -----------------------------------------------------------------------------------------------

    def _second(self) -> str:
        system = second_adjoint(self.system, self.program.seeds)
        program = schedule(system)
        names = self._names(program)
        memory = Memory(program, names)
        body = Body(self, program, names, memory)
        computed = self._computed(program.forward)
        lines = [*body.borders([v.name for v in system.states]), "", *body.to.lines(program.forward), "", "gradients = {}"]
        wanted = {v.var.marked("bar", "dot").name: v.name for v in self.system.parameters}
        wanted |= {b.key.replace(b.variable, f"{b.variable}_bar_dot", 1): b.key for b in self.gradient_borders}
        lines += body.gradients(wanted)
        for v in self.system.inputs:
            bar = v.var.marked("bar", "dot")
            if bar.name in computed:
                row = "[..., None, :]" if kind_of(v.var) == ROW else ""
                lines.append(f'gradients["{v.name}"] = outward({body.inner(bar)}, sizes){row}')
        lines.append("tangents = {}")
        for name in self.program.seeds:
            dot = self.system.variables[name].var.marked("dot")
            if dot.name in computed:
                row = "[..., None, :]" if kind_of(dot) == ROW else ""
                lines.append(f'tangents["{name}"] = outward({body.inner(dot)}, sizes){row}')
        lines.append("return gradients, tangents")
        self.collected(body)
        doc = """
            The second adjoint: how gradients and states change along a direction, the values of names that end in _dot.
        """
        return function("second(values, sizes)", doc, body.function(lines, computed))

    # --- the rest ---------------------------------------------------------------------------------------------------------

    def _forward(self) -> str:
        if self.derived:
            totals = ' | {name: found[name] for name in TOTALS}' if self._totals() else ""
            lines = [
                "values, sizes = arguments(params, inputs, initial)",
                "found = run(values, sizes)",
                f"return trajectories(found, sizes){totals}",
            ]
        else:
            lines = [
                "values, sizes = arguments(params, inputs, initial)",
                "return dict(zip(STATES, Recurrence.apply(sizes, *map(values.get, ARGUMENTS)), strict=True))",
            ]
        doc = """
            Every state at every step, by name; gradients flow through them.

            `initial` holds boundary values; those that are left out are zero.
        """
        first = "" if not self.derived else "@torch.no_grad()\n"
        return "\n\n\n".join([first + function("forward(params, inputs, initial=None)", doc, lines), self._states()])

    def _vjp(self) -> str:
        return text.VJP

    def _totals(self) -> list[str]:
        if not self.derived:
            return []
        return [*(v.name for v in self.states if not v.var.index), *(g.key for g in self.program.gradients if isinstance(g, Edge))]

    def _value_and_grad(self) -> str:
        assert self.loss is not None
        body = self.body()
        to = body.to
        last = self.system.loss == "last"
        place = Place(tuple(self.system.lattice.lengths), to.everywhere.margins) if last else to.everywhere
        to.place = place
        value = to.printer.full(to.printer.value(to._moved(self.loss.rhs)), self.loss.rhs)
        if value.batched:
            lines = wrapped("loss = ", f"{value.at_least(4)}.sum()")
        else:
            lines = wrapped("loss = ", f"{'batch' if last else 'points'} * {value.at_least(3)}")
        first, after = self._direct(body, place)
        lines += [*first, "gradients = pull(values, sizes, cotangents)", *after, "return loss, gradients"]
        self.collected(body)
        head = ["values, sizes = arguments(params, inputs, initial, targets)", "values = run(values, sizes)"]
        fed = "".join(f', "{v.name}": targets["{v.name}"]' for v in self.fed)
        if fed:
            head = [f"inputs = {{**inputs{fed}}}", *head]
        which = "loss of the last step, summed over" if last else "loss, summed over all steps and"
        doc = f"The {which} the batch, and its gradients, as `vjp` returns them."
        found = [*head, *body.function(lines, set())]
        return "@torch.no_grad()\n" + function("value_and_grad(params, inputs, targets, initial=None)", doc, found)

    def _direct(self, body: Body, place: Place) -> tuple[list[str], list[str]]:
        """The gradients of the loss by what it reads itself: before the adjoint equations run, and after."""
        to = body.to
        found: dict[str, list[tuple[Entry, Node]]] = {}
        after: list[str] = []
        for entry in table(self.system).of_target(LOSS):
            kind = self.system.variables[entry.source.name].kind
            gradient = entry.map.pull(expr.Ones(*expr.SCALAR))
            if kind == "parameter":
                to.place = place
                total = to.total(Total(entry.source, to._moved(gradient)))
                total = total.replace("points * ", "batch * ") if self.system.loss == "last" else total
                after += wrapped(f'gradients["{entry.source.name}"] = gradients["{entry.source.name}"] + ', total)
            elif kind in ("state", "input"):
                found.setdefault(entry.source.name, []).append((entry, gradient))
        first: list[str] = []
        cotangents: dict[str, str] = {}
        for name, entries in found.items():
            some = self._direct_of(body, name, entries, place)
            first += some[0]
            after += some[2]
            if self.system.variables[name].kind == "state":
                cotangents[name] = some[1]
        return [*first, *dictionary("cotangents = ", cotangents)], after

    def _direct_of(
        self, body: Body, name: str, entries: Sequence[tuple[Entry, Node]], place: Place
    ) -> tuple[list[str], str, list[str]]:
        """The lines of one cotangent, its text, and what is added to gradients afterwards."""
        to, var = body.to, self.system.variables[name].var
        is_input = self.system.variables[name].kind == "input"
        to.place = place
        (entry, gradient) = entries[0]
        if len(entries) == 1 and not any(entry.offset or ()) and not is_input and place == to.everywhere:
            value = to.printer.full(to.printer.value(gradient), gradient)
            if value.batched and not isinstance(gradient, Var):
                return [], value.text, []
        local = self.names.of.setdefault(f"{name} direct", self.names.new(f"{name}_direct"))
        source = to.called(var) if is_input or len(self.memory.of[name].parts) == 1 else to.called(var)
        lines = [f"{local} = torch.zeros_like({source})"]
        for entry, gradient in entries:
            offset = entry.offset or ()
            index = [i + o for i, o in zip(self.system.lattice.indices, offset, strict=True)]
            where = to.at(local, to._moved(source_at(entry.source, index)))  # type: ignore[arg-type]
            lines += wrapped(f"{where} += ", to._value(to._moved(gradient)))
        to.place = to.everywhere
        after = []
        if is_input:
            row = "[..., None, :]" if kind_of(var) == ROW else ""
            inner = to.at(local, var)
            after.append(f'gradients["{name}"] = gradients["{name}"] + outward({inner}, sizes){row}')
        for border in self.gradient_borders:
            if border.variable == name and body._has_rows(border):
                entry_ = f'gradients["{border.key}"]'
                after += body.edge_outward(border, entry_, f"= {entry_} +", body.place(border, local))
        return lines, f"{to.at(local, var)}", after

    def _module_class(self) -> str:
        system = self.system
        shapes = self.face.shapes()
        letters = [part for shape in shapes["PARAMETERS"].values() for part in shape.split()]
        order = [str(s) for s in (*system.dimensions, *system.lattice.lengths) if str(s) in letters]
        return text.module_class(
            class_name(system.name), system.title, order, [v.name for v in self.inputs],
            [str(n) for n in system.lattice.lengths] if not self.inputs else [],
        )  # fmt: skip

    def _tables(self) -> list[str]:
        lines = self.face.tables(bool(self.unknown))
        if not self.derived:
            lines += ["", "# What the recurrence is a function of, in this order.", "ARGUMENTS = (*PARAMETERS, *INPUTS, *INITIAL)"]
        return lines

    def _docstring(self) -> str:
        text = self.face.docstring("PyTorch")
        if self.derived:
            return text
        name = class_name(self.system.name)
        more = f"""`{name}` is a torch.nn.Module; the backward pass of `forward` is the derived adjoint, and its own
backward pass the second adjoint, so that gradients of gradients are exact as well."""
        return text.replace("Run as a program,", f"{more}\nRun as a program,")


def source_at(var: Var, index: Sequence[Expr]) -> Var:
    return var.at(index)


def class_name(name: str) -> str:
    """`GRU`, `StackedLSTM`, `GRUBefore`: every word with a capital, the names of cells in capitals."""
    words = re.findall(r"[A-Za-z]+|\d+", name) or ["System"]
    found = "".join(re.sub(r"(rnn|gru|lstm)$", lambda m: m.group().upper(), w[0].upper() + w[1:], flags=re.I) for w in words)
    return found if found[0].isalpha() else f"System{found}"

