"""How an emitted module of loops calls its routines: text, which needs NumPy only.

A language adds `_routines(dtype)`, an object with one function for each routine, and `_at(array)`, what that takes for an array.
"""

from __future__ import annotations

FORWARD = '''
def forward(params, inputs, initial=None):
    """Every state at every step, by name.

    `initial` holds boundary values, such as {example}; those that are left out are zero.
    """
    with _Call("forward", params, inputs, initial) as call:
        return call.states()
'''

VJP = '''
def vjp(params, inputs, cotangents, initial=None):
    """The gradients of sum(cotangents[h] * h) over the states h of COTANGENTS, those that are left out being zero.

    Of every parameter, summed over the batch, and for each sample of every input and of every boundary value.
    """
    with _Call("vjp", params, inputs, initial, cotangents) as call:
        return call.gradients()
'''

VALUE_AND_GRAD = '''
def value_and_grad(params, inputs, targets, initial=None):
    """The {which} the batch, and its gradients, as `vjp` returns them."""
    with _Call("value_and_grad", params, inputs, initial, targets=targets) as call:
        return call.loss_and_gradients()
'''

BOUND = {
    "forward": '("states", "initial")',
    "vjp": '("gradients", "cotangents", "initial")',
    "value_and_grad": '("loss_and_gradients", "targets", "initial")',
}

BIND = '''
# Of the functions above: what they return, and what they are given behind params and inputs.
BOUND = {
BOUND_ROWS
}


def bind(function, params, inputs, *others):
    """One of the functions above, by its name, without arguments: of what these arrays hold when it runs.

    Shapes are checked once, and the memory to work in is kept: a call has to end before the next one begins.
    An array that would be copied is a ValueError, for its changes would not be seen.
    """
    result, *names = BOUND[function]
    call = _Call(function, params, inputs, **dict(zip(names, others, strict=False)))
    call.refuse_copies()
    return getattr(call, result)
'''

CALL = '''
class _Call:
    """A routine and what it takes: arrays that are given, read as they are when it runs, and room to work in."""

    def __init__(self, name, params, inputs, initial=None, cotangents=None, targets=None):
        GIVEN_ELSEWHERE
        self.given = groups = [params, inputs, initial or {}, targets or {}, cotangents or {}]
        try:
            keys = [tuple([(key, array.shape, array.dtype) for key, array in group.items()]) for group in groups]
        except AttributeError:
            groups = [{key: np.asarray(array) for key, array in group.items()} for group in groups]
            keys = [tuple([(key, array.shape, array.dtype) for key, array in group.items()]) for group in groups]
        self.layout = layout = _known(*keys, targets is not None, LENGTHS)
        params, inputs, initial, targets, seeds = groups
        self.name, dtype = name, layout["dtype"]
        self.routine = getattr(_routines(dtype), name)
        self.room = _room(layout, name != "forward")
        self.parameters = [(place, params[key]) for key, place in self.room.parameters]
        self.arrays = arrays = {}
        for table, group in (PAIRS):
            for key in table:
                if key in group:
                    arrays[key] = np.ascontiguousarray(group[key], dtype)
        for key in COTANGENTS if name == "vjp" else ():
            array = seeds[key] if key in seeds else np.zeros(layout["found"][key][-1], dtype)
            arrays[key + "_ct"] = np.ascontiguousarray(array, dtype)
        self.places = {**self.room.places, **{key: _at(array) for key, array in arrays.items()}}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Small rooms are left for the next call."""
        if self.room.array.nbytes < SMALL:
            self.layout["rooms"][self.name != "forward"].append(self.room)

    def refuse_copies(self):
        dtype = self.layout["dtype"]
        for what, group in zip(("params", "inputs", "initial", "targets", "cotangents"), self.given, strict=True):
            for key, array in group.items():
                is_array = isinstance(array, np.ndarray)
                if not (is_array and (what == "params" or array.dtype == dtype and array.flags.carray)):
                    raise ValueError(f"{what}[{key!r}] would be copied; give a contiguous, writable {dtype} array")

    def run(self, made):
        """Run the routine; `made` are the arrays that it fills, by their names."""
        for place, array in self.parameters:
            place[...] = array
        for name, array in made.items():
            self.places[name] = _at(array)
        self.routine(*self.layout["sizes"], *map(self.places.get, ARGUMENTS[self.name]))

    def states(self):
        layout = self.layout
        values = np.empty(layout["total"], layout["dtype"])
        self.run({"the values": values})
        return {
            name: values[start:stop].reshape(rows)[part].reshape(shape)
            for name, (start, stop, rows, part, shape) in layout["found"].items()
        }

    def gradients(self, made=()):
        layout = self.layout
        gradients = np.zeros(layout["count"], layout["dtype"])
        self.run({"the gradients": gradients, **dict(made)})
        return {name: gradients[place].reshape(shape) for name, place, shape in layout["results"]}
'''

FED = """
        if targets is not None:
            inputs = {**inputs, TARGETS_READ}
"""
"""Targets that states read are inputs too."""

LENGTHS = """
        for length in NAMES:
            if length not in inputs:
                raise ValueError(f"inputs lacks {length!r}, a number of steps, which no array shows")
        lengths, inputs = tuple(int(inputs[length]) for length in NAMES), {}
"""

LOSS = """
    def loss_and_gradients(self):
        layout = self.layout
        loss = np.zeros(1, layout["dtype"])
        seeds = {f"{name}_ct": np.zeros(layout["found"][name][-1], layout["dtype"]) for name in COTANGENTS}
        gradients = self.gradients({"the loss": loss, **seeds})
        return loss[0], gradients
"""

KNOWN = '''
@functools.lru_cache(maxsize=256)
def _known(params, inputs, initial, targets, cotangents, with_targets, LENGTHS):
    """The layout for arrays of these shapes, which are checked, and the dtype that they have together."""
    sizes = dict(_sizes(params, inputs, initial, targets, with_targets))
    LENGTHS_KNOWN
    _check_shapes("cotangents", _shapes(cotangents), COTANGENTS, sizes, optional="state")
    layout = _layout(ORDEREDsizes["..."])
    blocks, results = _placed(layout["blocks"]), _placed(layout["gradients"])
    layout["results"] = [(name, slice(start, stop), shape) for name, (start, stop, shape) in results.items()]
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
    """Room that an earlier call has left, or new."""
    try:
        return layout["rooms"][with_values].pop()
    except IndexError:
        return _Room(layout, with_values)
'''
