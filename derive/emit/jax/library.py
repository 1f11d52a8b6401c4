"""What an emitted JAX module may define, and how formulas are spelled there: NumPy's text, in JAX's names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from derive.emit import library


def spelled(text: str) -> str:
    """NumPy's functions as JAX's, which have the same names; those of NumPy itself are written with its full name."""
    return re.sub(r"(?<![\w.])numpy\.", "np.", re.sub(r"(?<![\w.])np\.", "jnp.", text))


def definitions(called: Sequence[tuple[str, int]]) -> list[str]:
    """The functions that formulas call: JAX's own form where it differs, else the library's."""
    own = [name for name, _ in called if name in SOURCES]
    found = library.with_dependencies(key for key in called if key[0] not in SOURCES)
    texts = [*found, *(SOURCES[name] for name in own)]
    wanted = [name for name in SOURCES if name in own or any(f"{name}(" in text for text in texts)]
    heads = tuple(f"def {name}(" for name in SOURCES)
    return [*(SOURCES[name].strip("\n") for name in wanted), *(text for text in found if not text.startswith(heads))]


SOURCES: dict[str, str] = {
    "erf": """
def erf(x):
    return jax.scipy.special.erf(x)
""",
    "extended": '''
def extended(array, before=(), after=()):
    """`array` with rows before its first step and after its last; None stands for a row of zeros."""
    zero = np.zeros(array.shape[1:], array.dtype)
    rows = [[zero if row is None else row for row in side] for side in (before, after)]
    return np.concatenate([*(row[None] for row in rows[0]), array, *(row[None] for row in rows[1])])
''',
    "delayed": '''
def delayed(array, *rows):
    """`array` as it was len(rows) steps before each step: `rows` come first, None for a row of zeros."""
    zero = np.zeros(array.shape[1:], array.dtype)
    rows = [zero[None] if row is None else row[None] for row in rows]
    return np.concatenate([*rows, array[: max(len(array) - len(rows), 0)]])[: len(array)]
''',
    "advanced": '''
def advanced(array, *rows):
    """`array` as it is len(rows) steps after each step: `rows` come last, None for a row of zeros."""
    zero = np.zeros(array.shape[1:], array.dtype)
    rows = [zero[None] if row is None else row[None] for row in rows]
    return np.concatenate([array[len(rows) :], *rows])[-len(array) :]
''',
    "transposed": '''
def transposed(matrix):
    """The transpose in memory of its own: the barrier keeps XLA from transposing at every step."""
    return lax.optimization_barrier(matrix.T.ravel()).reshape(matrix.shape[::-1])
''',
    "linear_recurrence": '''
def linear_recurrence(a, b, first, reverse=False):
    """h[t] = a[t] * h[t-1] + b[t] for all t at once, `first` before: a parallel scan of the maps h -> a * h + b."""
    a, start = np.broadcast_to(np.asarray(a, b.dtype), b.shape), -1 if reverse else 0
    b = b.at[start].add(a[start] * first)

    def composed(inner, outer):
        return outer[0] * inner[0], outer[0] * inner[1] + outer[1]

    return lax.associative_scan(composed, (a, b), reverse=reverse)[1]
''',
    "sum_outer": '''
def sum_outer(a, b):
    """The sum of all a b.T over steps and batch: one matrix product, in the order in which XLA is faster."""
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    return lax.optimization_barrier((b.T @ a).ravel()).reshape(b.shape[1], a.shape[1]).T
''',
    "padding": '''
def padding(array, pads, mode="constant"):
    """`array` with rows around its first axes, of zeros or of what is nearest."""
    return np.pad(array, [*pads, *[(0, 0)] * (array.ndim - len(pads))], mode)
''',
    "within": '''
def within(inside, value, border=0.0):
    """`value` at the points of the lattice, `border` around it."""
    return np.where(inside.reshape(*inside.shape, *(1 for _ in value.shape[inside.ndim :])), value, border)
''',
    "wave": '''
def wave(shape, slopes, delay):
    """The axis that time stands for, and when each point is reached: at slopes * point + delay, from 0 on."""
    steps = numpy.indices(shape)
    time = sum(abs(s) * (i if s > 0 else n - 1 - i) for s, i, n in zip(slopes, steps, shape, strict=True))
    return max(axis for axis, s in enumerate(slopes) if abs(s) == 1), time + delay
''',
    "skewed": '''
def skewed(array, slopes, delay, latest):
    """The points of `array` in the order in which a wave reaches them: (time, the other axes, ...)."""
    shape = array.shape[: len(slopes)]
    axis, time = wave(shape, slopes, delay)
    others = numpy.delete(numpy.indices(shape), axis, 0).reshape(len(shape) - 1, time.size)
    where = numpy.full((time.max() - delay + latest + 1, *numpy.delete(shape, axis)), -1)
    where[(time.ravel(), *others)] = numpy.arange(time.size)
    flat = array.reshape(-1, *array.shape[len(slopes) :])
    found = flat[numpy.maximum(where, 0)]
    reached = (where >= 0).reshape(*where.shape, *(1 for _ in flat.shape[1:]))
    return np.where(reached, found, np.zeros((), array.dtype))
''',
    "unskewed": '''
def unskewed(rows, shape, slopes, delay):
    """The array whose points a wave has reached in the order of `rows`."""
    axis, time = wave(shape, slopes, delay)
    return rows[(time, *numpy.delete(numpy.indices(shape), axis, 0))]
''',
}
"""What JAX says differently from NumPy, or needs besides."""

GIVEN = '''
def _given(what, given, shapes, sizes, optional=""):
    """The arrays of `given` by name, each checked against its shape; the letters of shapes get their sizes here."""
    _check_shapes(what, {name: np.shape(given[name]) for name in given}, shapes, sizes, optional)
    return {name: np.asarray(given[name]) for name in shapes if name in given}
'''

CHECK = '''
def check(seed=0):
    """The largest difference between the gradients and central finite differences, relative to 1 + |slope|."""
    with jax.enable_x64(True):
        return _check(seed)


def _check(seed):
    rng = numpy.random.default_rng(seed)
    sizes = {{{sizes}}}

    def draw(shapes):
        axes = {{name: sum((sizes[letter] for letter in shape.split()), ()) for name, shape in shapes.items()}}
        return {{name: rng.uniform({low}, {high}, axes[name]) for name in shapes}}

    params, inputs, initial, cotangents = map(draw, (PARAMETERS, INPUTS, INITIAL, COTANGENTS)){inputs}{targets}

    @jax.jit
    def total(params, arrays, initial):
        states = forward(params, inputs | arrays, initial)
        return sum(np.sum(cotangents[name] * states[name]) for name in COTANGENTS)

    def worst(function, gradients, step=1e-6):
        given = [params, {{name: inputs[name] for name in INPUTS}}, initial]
        errors = [0.0]
        for arrays in given:
            for name, array in arrays.items():
                for k in rng.choice(array.size, min(array.size, 8), replace=False) if name in gradients else ():
                    entry = numpy.unravel_index(k, array.shape)
                    here = array[entry]
                    array[entry] = here + step
                    above = float(function(*given))
                    array[entry] = here - step
                    slope = (above - float(function(*given))) / (2 * step)
                    array[entry] = here
                    errors.append(abs(slope - float(gradients[name][entry])) / (1 + abs(slope)))
        return max(errors)

    error = worst(total, vjp(params, inputs, cotangents, initial)){loss}
    return error
'''

CHECK_LOSS = """

    @jax.jit
    def loss(params, arrays, initial):
        return value_and_grad(params, inputs | arrays, targets, initial)[0]

    gradients = jax.jit(value_and_grad)(params, inputs, targets, initial)[1]
    error = max(error, worst(loss, gradients))"""
