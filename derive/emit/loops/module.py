"""What a module of loops has in Python, whatever its loops are written in: tables of shapes, checks, memory, and the functions.

How the routines are called is the text of `derive.emit.loops.calls`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sympy import Expr, Integer

from derive.emit.code import wrapped
from derive.emit.face import Face, example_border
from derive.emit.layout import Names
from derive.emit.loops import calls
from derive.emit.loops.kernel import BAR
from derive.emit.loops.language import SAMPLES
from derive.emit.loops.memory import Block, sizes_of
from derive.emit.loops.plan import Plan
from derive.emit.source import SIZES, indented, shape_of, tuple_of
from derive.expr import Var
from derive.system import LOSS

WIDTH = 100


class ModuleText:
    """The Python of a plan; `arguments` are those of every routine, by the names of `derive.emit.loops`."""

    def __init__(self, plan: Plan, language: str, arguments: Mapping[str, Sequence[str]]):
        self.plan, self.system, self.language, self.arguments = plan, plan.system, language, arguments
        self.lattice = self.system.lattice
        self.names, self.face = Names(self.system, ()), Face(plan.program)
        self.has_loss = plan.loss is not None
        self.symbols = [*self.lattice.lengths, *self.system.dimensions]

    # --- tables -----------------------------------------------------------------------------------------------------------

    def tables(self) -> list[str]:
        lines = [*self.face.tables(False), "", "# What the routines take, behind the sizes.", "ARGUMENTS = {"]
        for name, arguments in self.arguments.items():
            lines += [f"    {line}" for line in tuple_of(f'"{name}": ', [a.removesuffix(" given") for a in arguments])]
            lines[-1] += ","
        return [*lines, "}", "", "# Bytes of memory that are kept for the next call.", "SMALL = 1 << 18"]

    # --- functions ------------------------------------------------------------------------------------------------------------

    def functions(self) -> list[str]:
        found = [self._forward(), calls.VJP]
        if self.has_loss:
            found.append(self._value_and_grad())
        sizes = self.face.checked(SIZES).replace("TARGETS_TABLE", "TARGETS" if self.face.targets else "{}")
        return [*found, self._bind(), self.face.check(), self._call(), self._known(), self._layout(), sizes]

    def _forward(self) -> str:
        return calls.FORWARD.format(example=example_border(self.face))

    def _value_and_grad(self) -> str:
        last = self.system.loss == "last"
        return calls.VALUE_AND_GRAD.format(
            which="loss of the last step, summed over" if last else "loss, summed over all steps and"
        )

    def _bind(self) -> str:
        rows = {name: row for name, row in calls.BOUND.items() if name in self.arguments}
        return calls.BIND.replace(
            "BOUND_ROWS", "\n".join(f"    {name!r}: {row}," for name, row in rows.items()).replace("'", '"')
        )

    def _call(self) -> str:
        tables = {"INPUTS": "inputs", "INITIAL": "initial"} | ({"TARGETS": "targets"} if self.face.targets else {})
        text = calls.CALL + (calls.LOSS if self.has_loss else "")
        text = text.replace("PAIRS", ", ".join(f"({table}, {given})" for table, given in tables.items()))
        text = text.replace("        GIVEN_ELSEWHERE\n", self._given_elsewhere().lstrip("\n"))
        return text.replace(", LENGTHS", ", lengths" if self._unseen else "")

    def _given_elsewhere(self) -> str:
        """Lengths come as numbers where no input shows them; targets are inputs where states read them."""
        if self._unseen:
            return calls.LENGTHS.replace("NAMES", tuple_of("", self._unseen)[0])
        fed = ", ".join(f'"{v.name}": targets["{v.name}"]' for v in self.plan.inputs if v.kind == "target")
        return calls.FED.replace("TARGETS_READ", fed) if fed else ""

    def _known(self) -> str:
        order = "".join(f'sizes["{n}"], ' for n in self.symbols)
        known = "".join(f'    sizes["{n}"] = lengths[{k}]\n' for k, n in enumerate(self._unseen))
        text = calls.KNOWN.replace("ORDERED", order).replace("    LENGTHS_KNOWN\n", known)
        return text.replace(", LENGTHS", ", lengths" if known else "")

    @property
    def _unseen(self) -> list[str]:
        """The lengths that no input shows: they are given as numbers."""
        return [str(n) for n in self.lattice.lengths] if not self.plan.inputs else []

    # --- memory ---------------------------------------------------------------------------------------------------------------

    def _layout(self) -> str:
        """`_layout(T, m, n, batch)`: how much memory there is, and where results lie in it."""
        arguments = ", ".join([*(self.names.symbols[s] for s in self.symbols), "batch"])
        sizes = shape_of([self._size(s) for s in (*self.lattice.lengths, SAMPLES, *self.system.dimensions)])
        body = ["samples = math.prod(batch)", "return {", f'    "sizes": {sizes},']
        for key, text in self._counts().items():
            *lines, last = wrapped(f'"{key}": ', text, 4)
            body += [*lines, f"{last},"]
        body += ["    # The parameters, one behind the other."]
        body += self._tabled("parameters", {b.name: self._given_shape(b) for b in self.plan.parameters})
        body += ["    # The blocks of the states, one behind the other; every state in its block, and its shape."]
        body += self._tabled("blocks", {b.name: self._block_shape(b) for b in self.plan.forward.values})
        body += [*self._tabled("states", self._states())]
        if self.plan.gradients:
            body += ["    # The gradients, one behind the other."]
            body += self._tabled("gradients", self._gradients())
        doc = '"""How many numbers the regions of memory hold, and where in them the states and the gradients lie."""'
        used = [line for line in body if "samples" in line]
        return "\n".join([f"def _layout({arguments}):", *indented([doc, *(body if len(used) > 1 else body[1:]), "}"])])

    def _tabled(self, head: str, entries: Mapping[str, str]) -> list[str]:
        lines = [f'    "{head}": {{', *(f'        "{key}": {value},' for key, value in entries.items()), "    },"]
        return [part for line in lines for part in wrapped("", line.strip(), len(line) - len(line.lstrip()))]

    def _counts(self) -> dict[str, str]:
        kernels = [self.plan.forward, *([self.plan.gradients] if self.plan.gradients else [])]
        rooms = [self._total(blocks) for k in kernels for blocks in k.memory.values()]
        rooms = list(dict.fromkeys(self._size(r) for r in rooms if r != 0)) or ["0"]
        counts = {}
        counts["memory"] = rooms[0] if len(rooms) == 1 else f"max({', '.join(rooms)})"
        counts["values"] = self._size(self._total(self.plan.gradients.values)) if self.plan.gradients else "0"
        return counts

    def _block_shape(self, block: Block) -> str:
        return shape_of([*map(self._size, block.rows(self.lattice)), "*batch", self._size(block.width)])

    def _states(self) -> dict[str, str]:
        """For every state: its block, its rows and columns there, and its shape."""
        found = {}
        for variable in (v for v in self.system.states if v.name != LOSS):
            place = self.plan.forward.layout[variable.name]
            sides = zip(self.lattice.lengths, place.block.before, strict=True)
            rows = [f"slice({low}, {self._size(n + low)})" for n, low in sides]
            stop = place.start + _product(place.shape)
            part = shape_of([*rows, "...", f"slice({self._size(place.start)}, {self._size(stop)})"])
            found[variable.name] = f'("{place.block.name}", {part}, {self._shape(variable.var)})'
        return found

    def _gradients(self) -> dict[str, str]:
        """The shapes of the gradients, in the order of their memory."""
        assert self.plan.gradients is not None
        return {b.name.removesuffix(BAR): self._given_shape(b) for b in self.plan.gradients.gradients}

    def _given_shape(self, block: Block) -> str:
        """The shape of what a block holds, as it is given and returned."""
        borders = {b.key: b.variable for b in self.plan.borders}
        known = {*self.system.variables, *borders}
        key = block.name if block.name in known else block.name.removesuffix(BAR)
        lead = [self._size(self.lattice.lengths[axis]) for axis in block.axes]
        batch = ["*batch"] if block.batched else []
        var = self.system.variables[borders.get(key, key)].var
        return shape_of([*lead, *batch, *map(self._size, _outer(var))])

    def _shape(self, var: Var) -> str:
        return shape_of([*map(self._size, self.lattice.lengths), "*batch", *map(self._size, _outer(var))])

    def _total(self, blocks: Sequence[Block]) -> Expr:
        total: Expr = Integer(0)
        for block in blocks:
            total = total + block.count(self.lattice)
        return total.expand()

    def _size(self, e: Expr) -> str:
        names = {**self.names.symbols, SAMPLES: "samples"}
        terms = (Integer(0) + e).as_ordered_terms()
        return " + ".join(self._factors(term, names) for term in sorted(terms, key=lambda t: (t.is_number, str(t))))

    def _factors(self, term: Expr, names: Mapping[Expr, str]) -> str:
        c, rest = term.as_coeff_Mul()
        factors = [str(c)] if c != 1 or rest == 1 else []
        for factor in () if rest == 1 else rest.as_ordered_factors():
            base, exponent = factor.as_base_exp()
            text = names[base] if base in names else f"({self._size(base)})"
            factors.append(text if exponent == 1 else f"{text}**{exponent}")
        return " * ".join(factors)


def _outer(var: Var) -> tuple[Expr, ...]:
    """The last axes of a variable as it is given and returned: a row has two."""
    return tuple(var.shape) if var.shape[0] == 1 and var.shape[1] != 1 else sizes_of(var.shape)


def _product(sizes: Sequence[Expr]) -> Expr:
    found: Expr = Integer(1)
    for size in sizes:
        found = found * size
    return found
