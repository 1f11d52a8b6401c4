"""Python source as text: lines, docstrings, and what every emitted module has in common."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence


def uses(lines: Iterable[str], name: str) -> bool:
    pattern = re.compile(rf"(?<![\w.\"]){re.escape(name)}(?![\w\"])")
    return any(pattern.search(line) for line in lines)


def called_in(known: Mapping[str, tuple[str, int]], parts: Iterable[str]) -> list[tuple[str, int]]:
    """The functions of the library that the text calls."""
    code = re.sub(r'""".*?"""', "", "\n".join(parts), flags=re.DOTALL)
    found = set(re.findall(r"(?<![\w.])(\w+)\(", code))
    return [key for name, key in known.items() if name in found]


def indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]


def under_conditions(parts: Iterable[tuple[str, list[str]]]) -> list[str]:
    """Lines, those with a condition under an `if` that neighbours share."""
    lines: list[str] = []
    open_condition = ""
    for condition, some in parts:
        if condition and some:
            lines += [f"if {condition}:"] if condition != open_condition else []
            some = indented(some)
        lines += some
        open_condition = condition if some else open_condition
    return lines


def without_double_blanks(lines: Sequence[str]) -> list[str]:
    kept = [line for k, line in enumerate(lines) if line or (k and lines[k - 1])]
    while kept and not kept[-1]:
        kept.pop()
    while kept and not kept[0]:
        kept.pop(0)
    return kept


def quoted(names: Iterable[str]) -> str:
    """What stands inside the brackets of a tuple of strings."""
    names = [f'"{n}"' for n in names]
    return ", ".join(names) + ("," if len(names) == 1 else "")


def dictionary(head: str, entries: Mapping[str, str]) -> list[str]:
    pairs = [f'"{key}": {value}' for key, value in entries.items()]
    one = f"{head}{{{', '.join(pairs)}}}"
    return [one] if len(one) <= 100 else [f"{head}{{", *(f"    {pair}," for pair in pairs), "}"]


def tuple_of(head: str, names: Sequence[str]) -> list[str]:
    one = f"{head}({quoted(names)})"
    return [one] if len(one) <= 100 else [f"{head}(", *(f'    "{name}",' for name in names), ")"]


def shape_of(axes: Sequence[str]) -> str:
    """`(*batch, n)`, `(*batch,)`"""
    return f"({', '.join(axes)}{',' if len(axes) == 1 else ''})"


def docstring(text: str) -> str:
    """`text` as a docstring, whatever stands in it."""
    text = "\n".join(_folded(text.strip()))
    text = text.replace("\\", "\\\\").replace('"""', "'''")
    end = "\n" if "\n" in text or text.endswith('"') else ""
    return f'"""{text}{end}"""'


def _folded(text: str) -> Iterator[str]:
    for line in text.splitlines():
        margin = " " * (len(line) - len(line.lstrip()))
        yield from textwrap.wrap(line, 108, subsequent_indent=margin + "    " * bool(margin)) or [""]


def function(signature: str, doc: str, lines: Iterable[str]) -> str:
    doc_lines = doc.strip("\n").splitlines()
    if len(doc_lines) > 1 and not doc_lines[0].strip():
        doc_lines = doc_lines[1:]
    margin = min((len(line) - len(line.lstrip()) for line in doc_lines[:1]), default=0)
    text = "\n".join(line[margin:] if line[:margin].isspace() else line for line in doc_lines)
    body = [*docstring(text).splitlines(), *lines]
    return "\n".join([f"def {signature}:", *indented(body)])


ARRAYS = '''
def _arrays(params, inputs, initial=None, targets=None):
    """All arrays by name, in one dtype, and what the letters of their shapes stand for."""
    given = (params, inputs, initial or {}, targets or {})
    groups = [{name: np.asarray(array) for name, array in group.items()} for group in given]
    found = [tuple([(name, array.shape, array.dtype) for name, array in group.items()]) for group in groups]
    sizes = _sizes(*found, targets is not None)
    values = groups[0] | groups[1] | groups[2] | groups[3]
    if not sizes["alike"]:
        values = {name: array.astype(sizes["dtype"], copy=False) for name, array in values.items()}
    return _batched({**INPUTS, **TARGETS_TABLE, **INITIAL}, values, sizes["..."], sizes["batch"]), sizes


def _batched(shapes, arrays, old, new):
    """The arrays with other axes for the batch; inside there is one axis, or none for a batch of one."""
    if old == new:
        return arrays
    found = dict(arrays)
    for name in arrays.keys() & shapes.keys():
        letters, axes = shapes[name].split(), arrays[name].shape
        if "..." in letters:
            start = letters.index("...")
            found[name] = arrays[name].reshape((*axes[:start], *new, *axes[start + len(old) :]))
    return found
'''

BIND = '''
def bind(function, params, inputs, *others):
    """`vjp` of these arrays, or another function, as one without arguments for many calls: it looks at them once.

    Every call reads what the arrays hold then.
    """
    plain = functools.partial(globals()[function], params, inputs, *others)
    if function != "vjp":
        return plain
    cotangents, initial = (*others, None)[:2]
    values, sizes = _arrays(params, inputs, initial)
    given = _cotangents(cotangents, sizes)
    found = {**inputs, **params, **(initial or {})}
    views = [(found[name], array) for name, array in values.items()]
    views += [(array, given[name]) for name, array in cotangents.items()]
    # A copy would not see what changes.
    seen = all(isinstance(array, np.ndarray) and np.may_share_memory(array, view) for array, view in views)
    return functools.partial(_vjp, values, sizes, given) if seen else plain
'''

CHECK_SHAPES = '''def _check_shapes(what, given, shapes, sizes, optional=""):
    """Whether every array has its shape; the letters get their sizes here.

    `optional` is what an entry is called of which none is needed.
    """
    for name in given:
        if optional and name not in shapes:
            known = f"the names are {', '.join(shapes)}" if shapes else "there is none"
            raise ValueError(f"{what} has {name!r}, which is no {optional}{_near(name, shapes)}; {known}")
    for name, shape in shapes.items():
        letters = shape.split()
        if name in given:
            _check_shape(f"{what}[{name!r}]", given[name], letters, sizes)
        elif not optional:
            others = [other for other in given if other not in shapes]
            raise ValueError(f"{what} lacks {name!r}, of shape ({', '.join(letters)}){_near(name, others)}")


def _check_shape(what, shape, letters, sizes):
    """Whether the axes are as long as the letters say; a letter without a size gets that of the axis."""
    found, known = list(shape), {letter: sizes[letter] for letter in letters if letter in sizes}
    if "..." in letters:
        start = letters.index("...")
        stop = len(found) - (len(letters) - 1 - start)
        found[start:stop] = [tuple(found[start:stop])] if start <= stop else []
    wanted = [int(letter) if letter.isdigit() else known.get(letter) for letter in letters]
    repeated = dict(zip(letters, found, strict=False))
    fits = len(found) == len(letters) and all(
        size == (repeated[letter] if want is None else want)
        for size, want, letter in zip(found, wanted, letters, strict=True)
    )
    if not fits:
        where = ", ".join(f"{letter} = {size}" for letter, size in known.items())
        where = f", with {where}" if where else ""
        raise ValueError(f"{what} has shape {shape}; it should be ({', '.join(letters)}){where}")
    sizes.update(repeated)


def _near(name, known):
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""
'''

SIZES = (
    '''
@functools.lru_cache(maxsize=256)
def _sizes(params, inputs, initial, targets, with_targets):
    """What the letters of the shapes stand for, every array being checked; shapes that were seen before are known."""
    sizes = {}
    _check_shapes("params", _shapes(params), PARAMETERS, sizes)
    _check_shapes("inputs", _shapes(inputs), INPUTS, sizes)
    if with_targets:
        _check_shapes("targets", _shapes(targets), TARGETS_TABLE, sizes)
    _check_shapes("initial", _shapes(initial), INITIAL, sizes, optional="boundary value")
    dtypes = {dtype for group in (params, inputs, initial, targets) for *_, dtype in group}
    sizes["dtype"] = np.result_type(np.float32, *dtypes)
    sizes["alike"] = dtypes == {sizes["dtype"]}
    batch = sizes.setdefault("...", ())
    sizes["batch"] = (math.prod(batch),) if math.prod(batch) != 1 else ()
    return sizes


def _shapes(found):
    return {name: shape for name, shape, _ in found}


'''
    + CHECK_SHAPES
)

COTANGENTS = '''
def _cotangents(cotangents, sizes):
    """The cotangents by name; those that are left out are zero, without taking memory."""
    zero, count = np.zeros((), sizes["dtype"]), 0
    found = {}
    for name, shape in COTANGENTS.items():
        axes = ()
        for letter in shape.split():
            axes += sizes[letter] if letter == "..." else (int(sizes.get(letter, letter)),)
        array = np.asarray(cotangents[name], sizes["dtype"]) if name in cotangents else np.broadcast_to(zero, axes)
        found[name] = array
        count += name in cotangents and array.shape == axes
    if count != len(cotangents):
        shapes = {name: np.shape(array) for name, array in cotangents.items()}
        _check_shapes("cotangents", shapes, COTANGENTS, dict(sizes), optional="state")
    return _batched(COTANGENTS, found, sizes["..."], sizes["batch"])
'''

BLOCKS = '''
BLOCK = 1024
"""So many rows, one for every step and sample, belong to a block of the backward pass."""


def _pull(values, sizes, cotangents):
    """The gradients, from the last block of steps to the first, so that what is in the making stays in the cache.

    What a step hands to the one before it is carried from block to block.
    """
    T, steps = sizes["T"], max(1, BLOCK // max(1, math.prod(sizes["batch"])))
{carried}
    carried = {{name: np.zeros((*sizes["batch"], sizes[n]), sizes["dtype"]) for name, n in carried.items()}}
    if steps >= T:
        return _pull_block(values, sizes, cotangents, carried)
{rows}
    blocks = []
    for stop in range(T, 0, -steps):
        start = max(0, stop - steps)
        part = {{name: array[start : stop + {border}] if name in rows else array for name, array in values.items()}}
        part |= {{name: values[name][start:stop] for name in {bare}}}
        seeds = {{name: array[start:stop] for name, array in cotangents.items()}}
        blocks.append(_pull_block(part, {{**sizes, "T": stop - start}}, seeds, carried))
        if len(blocks) > 1:
            for name in PARAMETERS:
                blocks[0][name] += blocks[-1].pop(name)
    joined = {{name: np.concatenate([block[name] for block in blocks[::-1]]) for name in INPUTS}}
    return blocks[-1] | blocks[0] | {{name: blocks[-1][name] for name in INITIAL}} | joined
'''

FLAT = '''
def _flat(array):
    """All leading axes as one: the rows of a matrix."""
    return array.reshape(-1, array.shape[-1])
'''

PARTS = '''
def _parts(array, count, batch):
    """Parts that lie side by side along the last axis, on an axis of their own before that of the batch."""
    parts = array.reshape(*array.shape[:-1], count, array.shape[-1] // count)
    return parts.swapaxes(-3, -2) if batch else parts
'''

BORDERED = '''
def _bordered(array):
    """`array` with zero rows for the points around the lattice."""
    return np.pad(array, {pads} + [(0, 0)] * (array.ndim - {d}))
'''

UNKNOWN = """
def _unknown(name):
    if name not in FUNCTIONS:
        raise ValueError(f"{name} has no formula: put a function of arrays into FUNCTIONS[{name!r}]")
    return FUNCTIONS[name]
"""

CHECK = '''
def check(seed=0):
    """The largest difference between the gradients and central finite differences, relative to 1 + |slope|."""
    rng = np.random.default_rng(seed)
    sizes = {{{sizes}}}

    def draw(shapes):
        axes = {{name: sum((sizes[letter] for letter in shape.split()), ()) for name, shape in shapes.items()}}
        return {{name: rng.uniform({low}, {high}, axes[name]) for name in shapes}}

    params, inputs, initial, cotangents = map(draw, (PARAMETERS, INPUTS, INITIAL, COTANGENTS)){inputs}{targets}

    def value():
        states = forward(params, inputs, initial)
        return sum(np.sum(cotangents[name] * states[name]) for name in COTANGENTS)

    def worst(value, gradients, step=1e-6):
        errors = [0.0]
        for name, array in (params | inputs | initial).items():
            for k in rng.choice(np.size(array), min(np.size(array), 8), replace=False) if name in gradients else ():
                entry = np.unravel_index(k, array.shape)
                here = array[entry]
                array[entry] = here + step
                above = value()
                array[entry] = here - step
                slope = (above - value()) / (2 * step)
                array[entry] = here
                errors.append(abs(slope - gradients[name][entry]) / (1 + abs(slope)))
        return max(errors)

    error = worst(value, vjp(params, inputs, cotangents, initial)){loss}
    return float(error)
'''

CHECK_LOSS = """

    def loss():
        return value_and_grad(params, inputs, targets, initial)[0]

    error = max(error, worst(loss, value_and_grad(params, inputs, targets, initial)[1]))"""

MAIN = """
if __name__ == "__main__":
    print(f"largest difference between the gradients and finite differences: {check():.1e}")
"""
