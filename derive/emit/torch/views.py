"""What the arrays of a program are called, and the pieces of them that lines use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sympy import Expr

from derive.emit.code import COLUMN, MATRIX, ROW, SCALAR, kind_of
from derive.emit.layout import Place, spaced
from derive.emit.torch.groups import Fused
from derive.emit.torch.memory import Block, Memory, TorchNames, summed
from derive.emit.torch.printer import TorchPrinter
from derive.expr import Var
from derive.schedule.program import STORED, Pack

AS_MATRIX = {MATRIX: "{}", ROW: "{}[None]", COLUMN: "{}[:, None]", SCALAR: "{}[None, None]"}
LONGEST = 30
"""Characters of a name that is made of several."""

AS_VECTOR = {COLUMN: "{}", ROW: "{}", SCALAR: "{}[None]"}


class Views:
    """How one function reads variables, at the place of its statement.

    `views` are the names for pieces of memory and for packed parameters that its lines use, with what they stand for.
    """

    def __init__(self, memory: Memory, names: TorchNames):
        self.memory, self.names, self.system = memory, names, memory.system
        self.lattice = self.system.lattice
        self.everywhere = Place.everywhere(self.lattice.dimension)
        self.place, self.inside = self.everywhere, False
        self.printer = TorchPrinter(self.read, names.size, lambda e: spaced(e, names, self.lattice))
        self.views: dict[str, str] = {}
        self.packs: dict[str, str] = {}
        self.made: set[str] = set()
        """The blocks that a statement makes: they need no memory beforehand."""
        self.stepped: dict[str, tuple[str, str]] = {}
        self.local: set[str] = set()
        self.fused: Fused | None = None
        every = memory.margins.values()
        self.shift = [max([1, *(m[axis][0] for m in every)]) - 1 for axis in range(self.lattice.dimension)]

    def new_name(self, wanted: str) -> str:
        """A name that means nothing else in this function."""
        while wanted in self.names.taken or wanted in self.local:
            wanted += "_"
        self.local.add(wanted)
        return wanted

    # --- what is read -------------------------------------------------------------------------------------------------------

    def block(self, var: Var) -> Block | None:
        return self.memory.of.get(var.name)

    def called(self, var: Var) -> str:
        """What a variable is called: the name of the part whose memory it shares."""
        block = self.block(var)
        root = next((part[0] for part in block.parts if var.name in part), var.name) if block else var.name
        return self.names.of[root]

    def read(self, var: Var) -> str:
        """A variable at the place of the statement."""
        return self.at(self._together(var) if self.fused else self.called(var), var)

    def _together(self, var: Var) -> str:
        """What a variable of a fused statement is called: its span, with an axis for the parts where one vector is shared."""
        assert self.fused is not None
        parts = self.fused.spans.get(var.name)
        if parts is None:
            name = self.called(var)
            return self.view(f"{name}_each", f"{name}[..., None, :]") if var.name in self.fused.shared else name
        name = self.span(parts)
        if not self.fused.shared:
            return name
        return self.view(f"{name}_each", f"{name}.unflatten(-1, ({len(parts)}, -1))")

    def at(self, name: str, var: Var) -> str:
        """The memory of `name`, where `var` is read."""
        block = self.block(var)
        if not var.index or (block is not None and block.storage != STORED):
            return name
        margins = self.memory.margins[var.name]
        if self.inside and all(step is not None for step in self.place.steps):
            where = [self.text(i + s) for i, s in zip(var.index, self.shift, strict=True)]
            missing = [s + 1 - before for s, (before, _) in zip(self.shift, margins, strict=True)]
            return f"{self._steps(name, missing)}{''.join(f'[{w}]' for w in where)}"
        parts = []
        for axis, (index, i) in enumerate(zip(var.index, self.lattice.indices, strict=True)):
            before, after = margins[axis]
            if self.place.steps[axis] is None and index.has(i):
                first, last = self.place.margins[axis]
                start, stop = before + int(index - i) + first, after - int(index - i) + last
                parts.append(f"{start or ''}:{-stop or ''}")
            else:
                parts.append(self.text(index + before - 1))
        while parts and parts[-1] == ":":
            parts.pop()
        return f"{name}[{', '.join(parts)}]" if parts else name

    def text(self, e: Expr) -> str:
        return spaced(e, self.names, self.lattice)

    def _steps(self, name: str, missing: list[int]) -> str:
        if name not in self.stepped:
            known = self.new_name(f"{name}_at")
            text = self.printer.call("steps", name, *map(str, missing))
            self.stepped[name] = known, f"{known} = {text}"
        return self.stepped[name][0]

    def span(self, parts: Sequence[Var]) -> str:
        """The name of consecutive parts of a block as one array."""
        block = self.block(parts[0])
        if len(parts) == 1 or block is None:
            return self.called(parts[0])
        roots = [next(k for k, part in enumerate(block.parts) if v.name in part) for v in parts]
        assert roots == list(range(roots[0], roots[0] + len(roots))), [v.name for v in parts]
        if len(roots) == len(block.parts):
            return self.block_name(block)
        return self._slice(block, roots[0], roots[-1] + 1)

    def _slice(self, block: Block, start: int, stop: int) -> str:
        sizes = [self.names.size(n) for n in block.sizes]
        first = f"{summed(sizes[:start])} " if start else ""
        last = f" {summed(sizes[:stop])}" if stop < len(sizes) else ""
        return self.view(
            joined([p[0] for p in block.parts[start:stop]]), f"{self.block_name(block)}[..., {first}:{last}]"
        )

    def view(self, wanted: str, text: str) -> str:
        known = next((name for name, t in self.views.items() if t == text), None)
        if known is None:
            known = self.new_name(wanted)
            self.views[known] = text
        return known

    def block_name(self, block: Block) -> str:
        if len(block.parts) == 1:
            return self.names.of[block.parts[0][0]]
        if block.name not in self.names.renamed:
            self.names.renamed.add(block.name)
            self.names.of[block.name] = self.names.new(joined([p[0] for p in block.parts]))
        return self.names.of[block.name]

    # --- parameters ---------------------------------------------------------------------------------------------------------

    def matrix(self, pack: Pack) -> str:
        return self._pack(pack, AS_MATRIX)

    def transposed(self, pack: Pack) -> str:
        name = self.matrix(pack)
        return self.view(f"{name}_T", f"{name}.T") if name.isidentifier() else f"{name}.T"

    def by_columns(self, pack: Pack) -> str:
        """For a product in a loop, where the copy pays."""
        name = self.matrix(pack)
        text = self.printer.call("by_columns", name)
        return self.view(f"{name}_columns" if name.isidentifier() else "columns", text)

    def bias(self, pack: Pack) -> str:
        return self._pack(pack, AS_VECTOR)

    def _pack(self, pack: Pack, form: Mapping[str, str]) -> str:
        parts = [form[kind_of(p)].format(self.names.of[p.name]) for p in pack.parts]
        if len(parts) == 1:
            return parts[0]
        text = f"torch.cat(({', '.join(parts)}))"
        known = next((name for name, t in self.packs.items() if t == text), None)
        if known is None:
            known = self.new_name(pack.name if len(pack.name) <= LONGEST else joined([p.name for p in pack.parts]))
            self.packs[known] = text
        return known


def joined(names: Sequence[str]) -> str:
    """`i_f_o_g`, and `i_f_o_g_delta` for names with the same ending."""
    stems = [name.split("_") for name in names]
    ending: list[str] = []
    while all(len(s) > 1 for s in stems) and len({s[-1] for s in stems}) == 1:
        ending.insert(0, stems[0][-1])
        stems = [s[:-1] for s in stems]
    name = "_".join([*("_".join(s) for s in stems), *ending])
    return name if len(name) <= LONGEST else f"{names[0]}_to_{names[-1]}"
