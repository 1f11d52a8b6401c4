"""What every emitted PyTorch module has in common, as text."""

from __future__ import annotations

from collections.abc import Sequence

from derive.emit.source import GIVEN, docstring, function, uses

RECURRENCE = '''
class Recurrence(torch.autograd.Function):
    """The states as one function of parameters, inputs and boundary values; its derivative is the derived adjoint."""

    @staticmethod
    def forward(ctx, sizes, *arrays):
        values = {{name: array for name, array in zip(ARGUMENTS, arrays, strict=True) if array is not None}}
        values = run(values, sizes)
        ctx.sizes, ctx.names = sizes, tuple(values)
        ctx.save_for_backward(*values.values())
        ctx.set_materialize_grads(False)
        return tuple(trajectories(values, sizes).values())

    @staticmethod
    def backward(ctx, *cotangents):
        given = {{name: array for name, array in zip(STATES, cotangents, strict=True) if array is not None}}
        for name in given:
            if name not in SEEDS:
                raise ValueError(f"this module has gradients of {{', '.join(SEEDS)}}; export it with the seed {{name}} as well")
        values = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
        if torch.is_grad_enabled():
            arrays = [*map(values.get, ARGUMENTS), *map(given.get, SEEDS)]
            return (None, *Adjoint.apply(ctx.sizes, values, *arrays))
        gradients = pull(values, ctx.sizes, given)
        return (None, *(gradients.get(name) if name in values else None for name in ARGUMENTS))
'''

ADJOINT = '''
class Adjoint(torch.autograd.Function):
    """The gradients as a function of what the states depend on, and of cotangents; its derivative is the second adjoint."""

    @staticmethod
    def forward(ctx, sizes, values, *arrays):
        given = {{name: array for name, array in zip(SEEDS, arrays[len(ARGUMENTS) :], strict=True) if array is not None}}
        gradients = pull(values, sizes, given)
        ctx.sizes, ctx.given, ctx.present = sizes, tuple(given), [name for name in ARGUMENTS if name in values]
        ctx.save_for_backward(*(values[name] for name in ctx.present), *given.values())
        ctx.set_materialize_grads(False)
        return tuple(gradients.get(name) if name in values else None for name in ARGUMENTS)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *directions):
        count = len(ctx.present)
        values = dict(zip(ctx.present, ctx.saved_tensors[:count], strict=True))
        along = dict(zip(ARGUMENTS, directions, strict=True))
        for name in ctx.present:
            direction = along[name] if along[name] is not None else torch.zeros_like(values[name])
            head, bracket, rest = name.partition("[")
            values[f"{{head}}_dot{{bracket}}{{rest}}"] = direction
        for name, array in zip(ctx.given, ctx.saved_tensors[count:], strict=True):
            values[f"{{name}}_ct"] = array
        for name in SEEDS:
            values.setdefault(f"{{name}}_ct", zero_of(values, ctx.sizes, STATES[name]))
        gradients, tangents = second(values, ctx.sizes)
        found = [gradients.get(name) if name in ctx.present else None for name in ARGUMENTS]
        return (None, None, *found, *(tangents.get(name) if name in ctx.given else None for name in SEEDS))
'''

VJP = '''
@torch.no_grad()
def vjp(params, inputs, cotangents, initial=None):
    """The gradients of sum(cotangents[h] * h) over the states h, cotangents that are left out being zero.

    Of every parameter, summed over the batch, and for each sample of every input and of every boundary value.
    """
    values, sizes = arguments(params, inputs, initial or {})
    shapes = {name: STATES[name] for name in SEEDS}
    given = _given("cotangents", cotangents, shapes, sizes, optional="state with a cotangent here")
    return pull(run(values, sizes), sizes, given)
'''

_CLASS = '''
class {name}(torch.nn.Module):
    """{title}.

    Its parameters have the names of the equations; `forward` returns every state at every step, by name.
    """

    def __init__(self{sizes}, device=None, dtype=None):
        super().__init__()
        sizes = {{{letters}}}
        for name, shape in PARAMETERS.items():
            size = [sizes.get(letter) or int(letter) for letter in shape.split()]
            self.register_parameter(name, torch.nn.Parameter(torch.empty(size, device=device, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self):
        """Every entry uniform within 1 / sqrt(n), n the length of its row, as torch.nn does; boundary values zero."""
        for name, parameter in self.named_parameters():
            bound = 0 if "[" in name else 1 / math.sqrt(max(parameter.shape[-1:], default=1))
            torch.nn.init.uniform_(parameter, -bound, bound)

    def forward(self, {inputs}, initial=None):
        return forward(dict(self.named_parameters()), {{{entries}}}, initial)
'''


def module_class(name: str, title: str, sizes: Sequence[str], inputs: Sequence[str], lengths: Sequence[str]) -> str:
    """The `nn.Module`; `sizes` are the letters of its parameters' shapes, `lengths` what is given where there is no input."""
    given = [*inputs, *lengths]
    used = {"self", "device", "dtype", "initial", "forward", "math", "torch"}
    arguments = {g: g + "_" * (g in used) for g in given}
    return _CLASS.format(
        name=name,
        title=title.replace("\\", "/").replace('"', "'"),
        sizes="".join(f", {s}" for s in sizes),
        letters=", ".join(f'"{s}": {s}' for s in sizes),
        inputs=", ".join(arguments.values()),
        entries=", ".join(f'"{g}": {a}' for g, a in arguments.items()),
    )


ARGUMENTS = '''
def arguments(params, inputs, initial{targets}):
    """The arrays by name, checked, of one dtype; and what the letters of their shapes stand for."""
    sizes = {sizes}
    values = _given("params", params, PARAMETERS, sizes)
    values |= _given("inputs", inputs, INPUTS, sizes){more}
    values |= _given("initial", initial, INITIAL, sizes, optional="boundary value")
    sizes.setdefault("...", ())
    sizes["batch"] = math.prod(sizes["..."])
    dtype = torch.float32
    for array in values.values():
        dtype = torch.promote_types(dtype, array.dtype)
    return {{name: array.to(dtype) for name, array in values.items()}}, sizes
'''


def arguments(targets: bool, lengths: bool) -> str:
    """The function that checks what is given."""
    more = '\n    if targets is not None:\n        values |= _given("targets", targets, TARGETS, sizes)' if targets else ""
    size = "{name: int(inputs[name]) for name in LENGTHS}" if lengths else "{}"
    return ARGUMENTS.format(targets=", targets=None" if targets else "", more=more, sizes=size).strip("\n")


HELPERS = {
    "outward": '''
def outward(array, sizes, axes=DIMENSION):
    """`array` with the axes of the batch as they were given, in place of the one behind the first `axes`."""
    return array.reshape(array.shape[:axes] + sizes["..."] + array.shape[axes + 1 :])
''',
    "cotangent": '''
def cotangent(given, name, state):
    """The cotangent of a state, with one axis for the batch; zero where none was given."""
    if name not in given:
        return state.new_zeros(()).expand(state.shape)
    return given[name].to(state.dtype).reshape(state.shape)
''',
    "zero_of": '''
def zero_of(values, sizes, shape):
    """Zeros of a shape that is given by letters."""
    size = [sizes[letter] if letter in sizes else int(letter) for letter in shape.split() if letter != "..."]
    where = shape.split().index("...")
    like = next(iter(values.values()))
    return like.new_zeros(()).expand(*size[:where], *sizes["..."], *size[where:])
''',
    "bordered": '''
def bordered(array, *margins):
    """`array` with rows of zeros around the lattice: so many before and after it along each axis."""
    size = [n + before + after for n, (before, after) in zip(array.shape, margins, strict=False)]
    found = array.new_zeros(size + list(array.shape[len(size) :]))
    found[tuple(slice(before, before + n) for n, (before, _) in zip(array.shape, margins, strict=False))] = array
    return found
''',
}


def helpers(body: str, dimension: int) -> list[str]:
    """The functions that the lines call."""
    found = []
    for name, source in HELPERS.items():
        if uses(body.splitlines(), name):
            found.append(source.replace("DIMENSION", str(dimension)).strip("\n"))
    return found


def given() -> str:
    """`_given` of the NumPy module, for tensors."""
    text = GIVEN.replace("np.asarray(given[name])", "torch.as_tensor(given[name])")
    return text.replace("{array.shape}", "{tuple(array.shape)}")


CHECK = '''
def check(seed=0):
    """The largest difference between gradients and central finite differences, relative to 1 + |slope|.

    Those of the gradients themselves as well: the second adjoint against differences of the adjoint.
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = {{{sizes}}}

    def draw(shapes):
        axes = {{name: sum((sizes[letter] for letter in shape.split()), ()) for name, shape in shapes.items()}}
        uniform = {{name: torch.rand(axes[name], generator=generator, dtype=torch.float64) for name in shapes}}
        return {{name: {low} + {width} * array for name, array in uniform.items()}}

    params, inputs, initial, cotangents = map(draw, (PARAMETERS, INPUTS, INITIAL, {{name: STATES[name] for name in SEEDS}})){inputs}{targets}
    free = {{name: array for name, array in (params | inputs | initial).items() if torch.is_tensor(array)}}
    directions = {{name: torch.rand(array.shape, generator=generator).to(array) - 0.5 for name, array in free.items()}}

    def value():
        states = forward(params, inputs, initial)
        return sum((cotangents[name] * states[name]).sum() for name in SEEDS)

    def slope():
        gradients = vjp(params, inputs, cotangents, initial)
        return sum((directions[name] * gradient).sum() for name, gradient in gradients.items())

    def second_gradients():
        for array in free.values():
            array.requires_grad_()
        known = [name for name in free if name in vjp(params, inputs, cotangents, initial)]
        first = torch.autograd.grad(value(), [free[name] for name in known], create_graph=True)
        along = sum((directions[name] * gradient).sum() for name, gradient in zip(known, first, strict=True))
        found = torch.autograd.grad(along, [free[name] for name in known], allow_unused=True) if along.requires_grad else [None] * len(known)
        for array in free.values():
            array.requires_grad_(False)
        return {{name: torch.zeros_like(free[name]) if g is None else g for name, g in zip(known, found, strict=True)}}

    def worst(value, gradients, step=1e-6):
        errors = [0.0]
        for name in (name for name in free if name in gradients):
            entries = free[name].view(-1)
            for k in torch.randperm(len(entries), generator=generator)[:8].tolist():
                here = float(entries[k])
                entries[k] = here + step
                above = value()
                entries[k] = here - step
                found = float(above - value()) / (2 * step)
                entries[k] = here
                errors.append(abs(found - float(gradients[name].reshape(-1)[k])) / (1 + abs(found)))
        return max(errors)

    error = max(worst(value, vjp(params, inputs, cotangents, initial)), worst(slope, second_gradients())){loss}
    return error
'''

CHECK_LOSS = """

    def loss():
        return value_and_grad(params, inputs, targets, initial)[0]

    error = max(error, worst(loss, value_and_grad(params, inputs, targets, initial)[1]))"""

MAIN = """
if __name__ == "__main__":
    print(f"largest difference between the gradients and finite differences: {check():.1e}")
"""


def check(sizes: str, low: float, high: float, lengths: str, loss: bool) -> str:
    return CHECK.format(
        sizes=sizes, low=low, width=high - low,
        inputs=f"\n    inputs |= {{{lengths}}}" if lengths else "",
        loss=CHECK_LOSS if loss else "", targets="\n    targets = draw(TARGETS)" if loss else "",
    )  # fmt: skip


_ = (docstring, function)
