"""What every emitted PyTorch module has in common, as text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from derive.emit.source import CHECK_SHAPES, quoted, uses

RECURRENCE = '''
class Recurrence(torch.autograd.Function):
    """The states as one function of parameters, inputs and boundary values; its derivative is the derived adjoint."""

    @staticmethod
    def forward(ctx, sizes, *arrays):
        values = run(named(ARGUMENTS, arrays), sizes)
        ctx.sizes, ctx.names = sizes, tuple(values)
        ctx.save_for_backward(*values.values())
        ctx.set_materialize_grads(False)
        return tuple(trajectories(values, sizes).values())

    @staticmethod
    def backward(ctx, *cotangents):
        given = named(STATES, cotangents)
        for name in given:
            if name not in COTANGENTS:
                known = ", ".join(COTANGENTS)
                raise ValueError(f"this module has cotangents of {known}; write it with those of {name} as well")
        values = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
        if torch.is_grad_enabled():
            arrays = [*map(values.get, ARGUMENTS), *map(given.get, COTANGENTS)]
            return (None, *Adjoint.apply(ctx.sizes, values, *arrays))
        gradients = pull(values, ctx.sizes, given)
        return (None, *(gradients.get(name) if name in values else None for name in ARGUMENTS))
'''

ADJOINT = '''
class Adjoint(torch.autograd.Function):
    """The gradients as one function of the same, and of cotangents; its derivative is the second adjoint."""

    @staticmethod
    def forward(ctx, sizes, values, *arrays):
        given = named(COTANGENTS, arrays[len(ARGUMENTS) :])
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
        along = named(ARGUMENTS, directions)
        for name in ctx.present:
            head, bracket, rest = name.partition("[")
            direction = along[name] if name in along else torch.zeros_like(values[name])
            values[f"{head}_dot{bracket}{rest}"] = direction
        for name, array in zip(ctx.given, ctx.saved_tensors[count:], strict=True):
            values[f"{name}_ct"] = array
        for name in COTANGENTS:
            values.setdefault(f"{name}_ct", zero_of(values, ctx.sizes, STATES[name]))
        gradients, tangents = second(values, ctx.sizes)
        found = [gradients.get(name) if name in ctx.present else None for name in ARGUMENTS]
        return (None, None, *found, *(tangents.get(name) if name in ctx.given else None for name in COTANGENTS))
'''

VJP = '''
@torch.no_grad()
def vjp(params, inputs, cotangents, initial=None):
    """The gradients of sum(cotangents[h] * h) over the states h, cotangents that are left out being zero.

    Of every parameter, summed over the batch, and for each sample of every input and of every boundary value.
    """
    values, sizes = arguments(params, inputs, initial)
    given = {name: torch.as_tensor(array) for name, array in cotangents.items()}
    shapes = {name: tuple(array.shape) for name, array in given.items()}
    _check_shapes("cotangents", shapes, COTANGENTS, dict(sizes), optional="state with a cotangent")
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
def arguments(params, inputs, initial=None, targets=None):
    """All arrays by name, in one dtype, and what the letters of their shapes stand for."""
    groups = (PARAMETERS, params), (INPUTS, {inputs}), (INITIAL, initial or {{}}), ({targets}, targets or {{}})
    given = [{{name: torch.as_tensor(array) for name, array in some.items()}} for _, some in groups]
    shapes = [tuple((name, tuple(array.shape)) for name, array in some.items()) for some in given]
    sizes = dict(_sizes(*shapes, targets is not None)){lengths}
    batch = sizes.setdefault("...", ())
    tables = zip((table for table, _ in groups), given, strict=True)
    values = {{name: some[name] for table, some in tables for name in table if name in some}}
    dtype = functools.reduce(torch.promote_types, {{array.dtype for array in values.values()}}, torch.float32)
    return {{name: array.to(dtype) for name, array in values.items()}}, {{**sizes, "batch": math.prod(batch)}}
'''


SIZES = '''
@functools.lru_cache(maxsize=256)
def _sizes(params, inputs, initial, targets, with_targets):
    """What the letters of the shapes stand for, every array being checked; shapes that were seen before are known."""
    sizes = {}
    _check_shapes("params", dict(params), PARAMETERS, sizes)
    _check_shapes("inputs", dict(inputs), INPUTS, sizes)
    if with_targets:
        _check_shapes("targets", dict(targets), TABLE, sizes)
    _check_shapes("initial", dict(initial), INITIAL, sizes, optional="boundary value")
    return sizes
'''


def arguments(targets: bool, lengths: Sequence[str]) -> str:
    """The function that takes what is given; `lengths` are asked for by name where there is no input."""
    table = "TARGETS" if targets else "{}"
    source = ARGUMENTS.format(
        targets=table,
        inputs="{}" if lengths else "inputs",
        lengths=f" | {{name: int(inputs[name]) for name in ({quoted(lengths)})}}" if lengths else "",
    )
    return "\n\n\n".join([source.strip("\n"), SIZES.strip("\n").replace("TABLE", table), CHECK_SHAPES.strip("\n")])


HELPERS = {
    "named": '''
def named(names, arrays):
    """The arrays by name, those that are there."""
    return {name: array for name, array in zip(names, arrays, strict=True) if array is not None}
''',
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
        return {{name: {low} + ({high} - {low}) * array for name, array in uniform.items()}}

    params, inputs, initial, cotangents = map(draw, (PARAMETERS, INPUTS, INITIAL, COTANGENTS)){inputs}{targets}
    free = {{name: array for name, array in (params | inputs | initial).items() if torch.is_tensor(array)}}
    directions = {{name: torch.rand(array.shape, generator=generator).to(array) - 0.5 for name, array in free.items()}}

    def value():
        states = forward(params, inputs, initial)
        return sum((cotangents[name] * states[name]).sum() for name in COTANGENTS)

    def slope():
        gradients = vjp(params, inputs, cotangents, initial)
        return sum((directions[name] * gradient).sum() for name, gradient in gradients.items())

    def second_gradients():
        known = [free[name].requires_grad_() for name in gradients]
        first = torch.autograd.grad(value(), known, create_graph=True)
        along = sum((directions[name] * gradient).sum() for name, gradient in zip(gradients, first, strict=True))
        found = torch.autograd.grad(along, known, allow_unused=True) if along.requires_grad else [None] * len(known)
        for array in known:
            array.requires_grad_(False)
        pairs = zip(gradients, known, found, strict=True)
        return {{name: torch.zeros_like(array) if g is None else g for name, array, g in pairs}}

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

    gradients = vjp(params, inputs, cotangents, initial)
    error = max(worst(value, gradients), worst(slope, second_gradients())){loss}
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


def class_name(name: str) -> str:
    """`GRU`, `StackedLSTM`, `GRUBefore`: every word with a capital, the names of cells in capitals."""
    words = re.findall(r"[A-Za-z]+|\d+", name) or ["System"]
    found = "".join(
        re.sub(r"(rnn|gru|lstm)$", lambda m: m.group().upper(), w[0].upper() + w[1:], flags=re.I) for w in words
    )
    return found if found[0].isalpha() else f"System{found}"
