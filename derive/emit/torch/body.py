"""One function of the module: its lines, and in front of them all that they use."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from sympy import Expr

from derive.emit.code import ROW, kind_of, wrapped
from derive.emit.source import indented, quoted, uses, without_double_blanks
from derive.emit.torch.memory import Block, Memory, TorchNames
from derive.emit.torch.totals import Totals
from derive.expr import Var
from derive.lattice import Border
from derive.schedule.program import STORED, Edge, OuterTotal, Program, Total
from derive.system import Variable

if TYPE_CHECKING:
    from derive.emit.torch.module import Module


class Body:
    """One function's lines: what they use is unpacked, packed and allocated in front of them."""

    def __init__(self, module: Module, program: Program, names: TorchNames, memory: Memory):
        self.module, self.program, self.names, self.memory = module, program, names, memory
        self.system = program.system
        self.to = Totals(memory, names)

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
        return without_double_blanks([*sizes, *params, *like, *arrays, *unpacked, *packs, *fill, *split, "", *lines])

    def _late(self, line: str, lines: Sequence[str]) -> list[str]:
        """The parts of a block that a product has made."""
        block = next(b for b in self.memory.blocks if b.name == line[2:])
        return [
            *self._parts(block, lines),
            *self._views(lines, [b for b in self.memory.blocks if b is not block], True),
        ]

    def _views(self, lines: Sequence[str], late: Sequence[Block], only_late: bool = False) -> list[str]:
        others = [self.to.block_name(b) for b in late if len(b.parts) > 1]
        texts = dict(self.to.views)
        used: set[str] = set()
        for name in reversed(texts):
            if uses([*lines, *(texts[other] for other in used)], name):
                used.add(name)
        is_late = {name for name, t in texts.items() if any(t.startswith(f"{other}[") for other in others)}
        found = [
            name for name in texts if name in used - is_late and not (only_late and texts[name].endswith((".T", ")")))
        ]
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
            if border.variable not in names or not self.has_rows(border):
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

    def has_rows(self, border: Border) -> bool:
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
            parts.append(self.to.text(index + before - 1) if side.depth else f"{before or ''}:{-after or ''}")
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
            lines = [*lines[: -len(kept)], *wrapped("", f"gradients.update(zip(({names}), found, strict=True))")]
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
        if plain and any(rows for _, rows, _ in late):
            lines.append(f"{entry} = {entry}.clone()")
        for condition, rows, term in late:
            added = wrapped(f"{entry}{rows} += " if rows else f"{entry} = {entry} + ", term)
            lines += [f"if {condition}:", *indented(added)] if condition else added
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
