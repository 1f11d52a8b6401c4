"""What a module of loops has in Python, whatever its loops are written in: tables of shapes, checks, memory, and the functions.

A language adds `_routines(dtype)`, an object with one function for each routine, and `_at(array)`, what that takes for an array.
Everything else here is printed as it stands: the text of an emitted module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sympy import Expr, Integer

from derive.emit.face import Face, example_border
from derive.emit.layout import Names
from derive.emit.loops.kernel import BAR
from derive.emit.loops.language import SAMPLES
from derive.emit.loops.memory import Block, sizes_of
from derive.emit.loops.plan import Plan
from derive.emit.source import SIZES, indented, quoted, tuple_of
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
        lines = [*self.face.tables(False), "", "# The parameters in the order in which they lie in memory."]
        lines += tuple_of("ORDER = ", [b.name for b in self.plan.parameters])
        lines += ["", "# What the routines take, behind the sizes.", "ARGUMENTS = {"]
        for name, arguments in self.arguments.items():
            lines += [f"    {line}" for line in tuple_of(f'"{name}": ', [a.removesuffix(" given") for a in arguments])]
            lines[-1] += ","
        return [*lines, "}", "", "# Bytes of memory that are kept for the next call.", "SMALL = 1 << 20"]

    # --- functions ------------------------------------------------------------------------------------------------------------

    def functions(self) -> list[str]:
        found = [self._forward(), VJP]
        if self.has_loss:
            found.append(self._value_and_grad())
        sizes = SIZES.replace("TARGETS_TABLE", "TARGETS" if self.face.targets else "{}")
        return [*found, self.face.check(), self._prepared(), self._layout(), sizes]

    def _forward(self) -> str:
        return FORWARD.format(example=example_border(self.face))

    def _value_and_grad(self) -> str:
        last = self.system.loss == "last"
        which = "loss of the last step, summed over" if last else "loss, summed over all steps and"
        fed = [v for v in self.plan.inputs if v.kind == "target"]
        more = "".join(f', "{v.name}": targets["{v.name}"]' for v in fed)
        return VALUE_AND_GRAD.format(which=which, fed=f"    inputs = {{**inputs{more}}}\n" if fed else "")

    def _prepared(self) -> str:
        lengths = [str(n) for n in self.lattice.lengths] if not self.plan.inputs else []
        text = PREPARED.replace("SIZES_IN_ORDER", ", ".join(f'sizes["{n}"]' for n in self.symbols))
        text = text.replace("LENGTHS_GIVEN", f"({quoted(lengths)})" if lengths else "()")
        return text.replace("TARGETS_TABLE", "TARGETS" if self.face.targets else "{}")

    # --- memory ---------------------------------------------------------------------------------------------------------------

    def _layout(self) -> str:
        """`_layout(T, m, n, batch)`: how much memory there is, and where results lie in it."""
        arguments = ", ".join([*(self.names.symbols[s] for s in self.symbols), "batch"])
        body = ["samples = math.prod(batch)", "layout = {"]
        order = [*self.lattice.lengths, SAMPLES, *self.system.dimensions]
        sizes = tuple_of("", [])[0] if not order else f"({', '.join(self._size(s) for s in order)})"
        body += [f'    "sizes": {sizes},', '    "rooms": ([], []),']
        for key, text in self._counts().items():
            body.append(f'    "{key}": {text},')
        body += [f"    {line}" for line in self._tabled('"found": {', self._found(), "},")]
        body += [f"    {line}" for line in self._tabled('"results": {', self._results(), "},")]
        body += ["}", "return layout"]
        doc = '"""How many numbers the regions of memory hold, and where in them the states and the gradients lie."""'
        return "\n".join([f"def _layout({arguments}):", *indented([doc, *body])])

    def _tabled(self, head: str, entries: Mapping[str, str], tail: str) -> list[str]:
        return [head, *(f'    "{key}": {value},' for key, value in entries.items()), tail]

    def _counts(self) -> dict[str, str]:
        kernels = [self.plan.forward, *([self.plan.gradients] if self.plan.gradients else [])]
        rooms = [self._total(blocks) for k in kernels for blocks in k.memory.values()]
        rooms = list(dict.fromkeys(self._size(r) for r in rooms if r != 0)) or ["0"]
        counts = {"parameters": self._size(self._total(self.plan.parameters)), "states": self._size(self._total(kernels[0].values))}
        counts["memory"] = rooms[0] if len(rooms) == 1 else f"max({', '.join(rooms)})"
        if self.plan.gradients:
            counts["values"] = self._size(self._total(self.plan.gradients.values))
            counts["gradients"] = self._size(self._total(self.plan.gradients.gradients))
        return counts

    def _outer(self, var: Var) -> tuple[Expr, ...]:
        """The last axes of a variable as it is given and returned: a row has two."""
        return tuple(var.shape) if var.shape[0] == 1 and var.shape[1] != 1 else sizes_of(var.shape)

    def _found(self) -> dict[str, str]:
        """For every state: where its block starts and stops, its shape, what of it is the state, and the shape of that."""
        found, kernel = {}, self.plan.forward
        starts = self._starts(kernel.values)
        for variable in (v for v in self.system.states if v.name != LOSS):
            place = kernel.layout[variable.name]
            block, start = place.block, starts[place.block.name]
            rows = [self._size(n) for n in block.rows(self.lattice)]
            inner = [
                f"slice({low}, {self._size(n + low)})" for n, low in zip(self.lattice.lengths, block.before, strict=True)
            ]
            stop = place.start + _product(place.shape)
            part = [*inner, "...", f"slice({self._size(place.start)}, {self._size(stop)})"]
            shape = [*map(self._size, self.lattice.lengths), "*batch", *map(self._size, self._outer(variable.var))]
            entries = [self._size(start), self._size((start + self._count(block)).expand()),
                       self._tuple([*rows, "*batch", self._size(block.width)]), self._tuple(part), self._tuple(shape)]  # fmt: skip
            found[variable.name] = f"({', '.join(entries)})"
        return found

    def _results(self) -> dict[str, str]:
        """For every gradient: where it starts and stops, and its shape."""
        kernel = self.plan.gradients
        if kernel is None:
            return {}
        starts, found = self._starts(kernel.gradients), {}
        for key, shape in self._gradient_shapes().items():
            block = next(b for b in kernel.gradients if b.name == key + BAR)
            start = starts[block.name]
            stop = (start + self._count(block)).expand()
            found[key] = f"({self._size(start)}, {self._size(stop)}, {self._tuple(shape)})"
        return found

    def _gradient_shapes(self) -> dict[str, list[str]]:
        lattice = [self._size(n) for n in self.lattice.lengths]
        found = {v.name: [*map(self._size, self._outer(v.var))] for v in self.system.parameters}
        found |= {v.name: [*lattice, "*batch", *map(self._size, self._outer(v.var))] for v in self.system.inputs}
        for border in self.plan.borders:
            variable = self.system.variables[border.variable]
            if variable.kind in ("state", "input"):
                along = [n for n, side in zip(lattice, border.sides, strict=True) if not side.depth]
                batch = [] if self.system.boundary[border.variable] == "learned" else ["*batch"]
                found[border.key] = [*along, *batch, *map(self._size, self._outer(variable.var))]
        return found

    def _starts(self, blocks: Sequence[Block]) -> dict[str, Expr]:
        found: dict[str, Expr] = {}
        start: Expr = Integer(0)
        for block in blocks:
            found[block.name] = start
            start = (start + self._count(block)).expand()
        return found

    def _count(self, block: Block) -> Expr:
        count: Expr = block.width
        for rows in block.rows(self.lattice):
            count = count * rows
        return (count * SAMPLES if block.batched else count).expand()

    def _total(self, blocks: Sequence[Block]) -> Expr:
        total: Expr = Integer(0)
        for block in blocks:
            total = total + self._count(block)
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

    def _tuple(self, parts: Sequence[str]) -> str:
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _product(sizes: Sequence[Expr]) -> Expr:
    found: Expr = Integer(1)
    for size in sizes:
        found = found * size
    return found


# --- text ---------------------------------------------------------------------------------------------------------------------

FORWARD = '''
def forward(params, inputs, initial=None):
    """Every state at every step, by name.

    `initial` holds boundary values, such as {example}; those that are left out are zero.
    """
    arrays, layout, routines = _prepared(params, inputs, initial or {{}})
    values = arrays["values"] = np.empty(layout["states"], layout["dtype"])
    _run(routines.forward, layout, arrays, ARGUMENTS["forward"])
    return {{
        name: values[start:stop].reshape(rows)[part].reshape(shape)
        for name, (start, stop, rows, part, shape) in layout["found"].items()
    }}
'''

VJP = '''
def vjp(params, inputs, cotangents, initial=None):
    """The gradients of sum(cotangents[h] * h) over the states h of COTANGENTS, those that are left out being zero.

    Of every parameter, summed over the batch, and for each sample of every input and of every boundary value.
    """
    arrays, layout, routines = _prepared(params, inputs, initial or {}, cotangents)
    gradients = arrays["gradients"] = np.zeros(layout["gradients"], layout["dtype"])
    _run(routines.vjp, layout, arrays, ARGUMENTS["vjp"])
    return {name: gradients[start:stop].reshape(shape) for name, (start, stop, shape) in layout["results"].items()}
'''

VALUE_AND_GRAD = '''
def value_and_grad(params, inputs, targets, initial=None):
    """The {which} the batch, and its gradients, as `vjp` returns them."""
{fed}    arrays, layout, routines = _prepared(params, inputs, initial or {{}}, {{}}, targets)
    gradients = arrays["gradients"] = np.zeros(layout["gradients"], layout["dtype"])
    loss = arrays["loss"] = np.zeros(1, layout["dtype"])
    _run(routines.value_and_grad, layout, arrays, ARGUMENTS["value_and_grad"])
    return loss[0], {{name: gradients[start:stop].reshape(shape) for name, (start, stop, shape) in layout["results"].items()}}
'''

PREPARED = '''
def _prepared(params, inputs, initial, cotangents=None, targets=None):
    """All that is given, as the routines take it; the layout of memory; and the routines."""
    groups = [params, inputs, initial, targets or {}, cotangents or {}]
    try:
        keys = [tuple([(name, array.shape, array.dtype) for name, array in group.items()]) for group in groups]
    except AttributeError:
        groups = [{name: np.asarray(array) for name, array in group.items()} for group in groups]
        keys = [tuple([(name, array.shape, array.dtype) for name, array in group.items()]) for group in groups]
    layout = _known(*keys, targets is not None, tuple([int(inputs[name]) for name in LENGTHS_GIVEN]))
    params, inputs, initial, targets, seeds = groups
    dtype = layout["dtype"]
    arrays = {"room": _room(layout, cotangents is not None)}
    if ORDER:
        np.concatenate([params[name].ravel() for name in ORDER], out=arrays["room"].parameters)
    for table, given in ((INPUTS, inputs), (INITIAL, initial), (TARGETS_TABLE, targets)):
        for name in table:
            if name in given:
                arrays[name] = np.ascontiguousarray(given[name], dtype)
    for name in COTANGENTS if cotangents is not None else ():
        given = name in seeds
        arrays[name + "_ct"] = np.ascontiguousarray(seeds[name], dtype) if given else np.zeros(layout["found"][name][-1], dtype)
    return arrays, layout, _routines(dtype)


@functools.lru_cache(maxsize=256)
def _known(params, inputs, initial, targets, cotangents, with_targets, lengths):
    """The layout for arrays of these shapes, which are checked, and the dtype that they have together."""
    groups = params, inputs, initial, targets
    sizes = dict(_sizes(*(tuple((name, shape) for name, shape, _ in group) for group in groups), with_targets))
    sizes |= zip(LENGTHS_GIVEN, lengths, strict=True)
    sizes.setdefault("...", ())
    _check_shapes("cotangents", {name: shape for name, shape, _ in cotangents}, COTANGENTS, sizes, "state with a cotangent")
    known = {*PARAMETERS, *INPUTS, *INITIAL, *TARGETS_TABLE}
    dtype = np.result_type(np.float32, *{dtype for group in groups for name, _, dtype in group if name in known})
    layout = _layout(SIZES_IN_ORDER, sizes["..."])
    layout["dtype"] = np.dtype(np.float32 if dtype == np.float32 else np.float64)
    return layout


class _Room:
    """Memory that a call works in: the parameters behind one another, room for the routines, and, for gradients, the values."""

    def __init__(self, layout, with_values):
        counts = [layout["parameters"], layout["memory"], layout["values"] if with_values else 0]
        self.array = np.empty(sum(counts), layout["dtype"])
        self.parameters = self.array[: counts[0]]
        parts = [self.array[sum(counts[:k]) :] for k in range(3)]
        self.places = dict(zip(("parameters", "memory", "values"), map(_at, parts), strict=True))


def _room(layout, with_values):
    """Room that an earlier call has left, or new; small rooms are kept."""
    try:
        return layout["rooms"][with_values].pop()
    except IndexError:
        return _Room(layout, with_values)


def _run(routine, layout, arrays, names):
    room = arrays.pop("room")
    places = {**room.places, **{name: _at(array) for name, array in arrays.items()}}
    routine(*layout["sizes"], *map(places.get, names))
    if room.array.nbytes < SMALL:
        layout["rooms"]["gradients" in arrays].append(room)
'''
