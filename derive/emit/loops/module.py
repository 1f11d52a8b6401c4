"""What a module of loops has in Python, whatever its loops are written in: tables of shapes, checks, memory, and the functions.

A language adds `_routines(dtype)`, an object with one function for each routine, and `_at(array)`, what that takes for an array.
Everything else here is printed as it stands: the text of an emitted module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sympy import Expr, Integer

from derive.emit.code import wrapped
from derive.emit.face import Face, example_border
from derive.emit.layout import Names
from derive.emit.loops.kernel import BAR
from derive.emit.loops.language import SAMPLES
from derive.emit.loops.memory import Block, sizes_of
from derive.emit.loops.plan import Plan
from derive.emit.source import SIZES, indented, tuple_of
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
        found = [self._forward(), VJP]
        if self.has_loss:
            found.append(self._value_and_grad())
        sizes = self.face.checked(SIZES).replace("TARGETS_TABLE", "TARGETS" if self.face.targets else "{}")
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
        targets = bool(self.face.targets)
        tables = {"PARAMETERS": "params", "INPUTS": "inputs", "INITIAL": "initial"} | (
            {"TARGETS": "targets"} if targets else {}
        )
        pairs = ", ".join(f"({table}, {given})" for table, given in tables.items() if table != "PARAMETERS")
        text = PREPARED.replace("PAIRS", pairs)
        order = "".join(f'sizes["{n}"], ' for n in self.symbols)
        lengths = [str(n) for n in self.lattice.lengths] if not self.plan.inputs else []
        numbers = ", ".join(f'int(inputs["{n}"])' for n in lengths)
        known = "".join(f'    sizes["{n}"] = lengths[{k}]\n' for k, n in enumerate(lengths))
        text = text.replace("ORDERED", order).replace("    LENGTHS_KNOWN\n", known)
        return text.replace(", LENGTHS_GIVEN", f", {_tuple([numbers])}" if lengths else "").replace(
            ", LENGTHS", ", lengths" if lengths else ""
        )

    # --- memory ---------------------------------------------------------------------------------------------------------------

    def _layout(self) -> str:
        """`_layout(T, m, n, batch)`: how much memory there is, and where results lie in it."""
        arguments = ", ".join([*(self.names.symbols[s] for s in self.symbols), "batch"])
        sizes = _tuple([self._size(s) for s in (*self.lattice.lengths, SAMPLES, *self.system.dimensions)])
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
        return _tuple([*map(self._size, block.rows(self.lattice)), "*batch", self._size(block.width)])

    def _states(self) -> dict[str, str]:
        """For every state: its block, its rows and columns there, and its shape."""
        found = {}
        for variable in (v for v in self.system.states if v.name != LOSS):
            place = self.plan.forward.layout[variable.name]
            sides = zip(self.lattice.lengths, place.block.before, strict=True)
            rows = [f"slice({low}, {self._size(n + low)})" for n, low in sides]
            stop = place.start + _product(place.shape)
            part = _tuple([*rows, "...", f"slice({self._size(place.start)}, {self._size(stop)})"])
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
        return _tuple([*lead, *batch, *map(self._size, _outer(var))])

    def _shape(self, var: Var) -> str:
        return _tuple([*map(self._size, self.lattice.lengths), "*batch", *map(self._size, _outer(var))])

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


def _outer(var: Var) -> tuple[Expr, ...]:
    """The last axes of a variable as it is given and returned: a row has two."""
    return tuple(var.shape) if var.shape[0] == 1 and var.shape[1] != 1 else sizes_of(var.shape)


def _tuple(parts: Sequence[str]) -> str:
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
    arrays["the values"] = values = np.empty(layout["total"], layout["dtype"])
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
    return _gradients(routines.vjp, layout, arrays, ARGUMENTS["vjp"])


def _gradients(routine, layout, arrays, names):
    arrays["the gradients"] = gradients = np.zeros(layout["count"], layout["dtype"])
    _run(routine, layout, arrays, names)
    return {name: gradients[start:stop].reshape(shape) for name, (start, stop, shape) in layout["results"].items()}
'''

VALUE_AND_GRAD = '''
def value_and_grad(params, inputs, targets, initial=None):
    """The {which} the batch, and its gradients, as `vjp` returns them."""
{fed}    arrays, layout, routines = _prepared(params, inputs, initial or {{}}, {{}}, targets)
    arrays["the loss"] = loss = np.zeros(1, layout["dtype"])
    gradients = _gradients(routines.value_and_grad, layout, arrays, ARGUMENTS["value_and_grad"])
    return loss[0], gradients
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
    layout = _known(*keys, targets is not None, LENGTHS_GIVEN)
    params, inputs, initial, targets, seeds = groups
    arrays, dtype = {"the room": _room(layout, cotangents is not None)}, layout["dtype"]
    for name, place in arrays["the room"].parameters:
        place[...] = params[name]
    for table, given in (PAIRS):
        for name in table:
            if name in given:
                arrays[name] = np.ascontiguousarray(given[name], dtype)
    for name in COTANGENTS if cotangents is not None else ():
        array = seeds[name] if name in seeds else np.zeros(layout["found"][name][-1], dtype)
        arrays[name + "_ct"] = np.ascontiguousarray(array, dtype)
    return arrays, layout, _routines(dtype)


@functools.lru_cache(maxsize=256)
def _known(params, inputs, initial, targets, cotangents, with_targets, LENGTHS):
    """The layout for arrays of these shapes, which are checked, and the dtype that they have together."""
    sizes = dict(_sizes(params, inputs, initial, targets, with_targets))
    LENGTHS_KNOWN
    _check_shapes("cotangents", _shapes(cotangents), COTANGENTS, sizes, optional="state")
    layout = _layout(ORDEREDsizes["..."])
    blocks, layout["results"] = _placed(layout["blocks"]), _placed(layout["gradients"])
    layout["total"], layout["count"] = (sum(map(math.prod, layout[key].values())) for key in ("blocks", "gradients"))
    layout["found"] = {name: (*blocks[block], *place) for name, (block, *place) in layout["states"].items()}
    layout["dtype"] = np.dtype(np.float32 if sizes["dtype"] == np.float32 else np.float64)
    layout["rooms"] = [], []
    return layout


def _placed(shapes):
    """Arrays one behind the other: where each starts and stops, and its shape."""
    stops = list(itertools.accumulate(map(math.prod, shapes.values())))
    places = zip(shapes.items(), [0, *stops], stops, strict=False)
    return {name: (start, stop, shape) for (name, shape), start, stop in places}


class _Room:
    """Memory that a call works in: parameters behind one another, room for the routines, and values for gradients."""

    def __init__(self, layout, with_values):
        placed = _placed(layout["parameters"])
        memory = sum(map(math.prod, layout["parameters"].values()))
        values = memory + layout["memory"]
        self.array = np.empty(values + (layout["values"] if with_values else 0), layout["dtype"])
        self.parameters = [(name, self.array[a:b].reshape(shape)) for name, (a, b, shape) in placed.items()]
        starts = {"the parameters": 0, "the memory": memory, "the values": values}
        self.places = {name: _at(self.array[start:]) for name, start in starts.items()}


def _room(layout, with_values):
    """Room that an earlier call has left, or new; small rooms are kept."""
    try:
        return layout["rooms"][with_values].pop()
    except IndexError:
        return _Room(layout, with_values)


def _run(routine, layout, arrays, names):
    room = arrays.pop("the room")
    places = {**room.places, **{name: _at(array) for name, array in arrays.items()}}
    routine(*layout["sizes"], *map(places.get, names))
    if room.array.nbytes < SMALL:
        layout["rooms"]["the gradients" in arrays].append(room)
'''
