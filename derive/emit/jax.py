"""A system as a standalone JAX module: pure functions, with the derived adjoint as the rule for reverse mode.

`forward`, `vjp` and `value_and_grad` may be jitted, mapped with `vmap`, and differentiated again.  `states` is a
`jax.custom_vjp`: `jax.grad` of any function of it runs the derived adjoint.  JAX has NumPy's names, so that formulas are
printed as NumPy's and spelled with `jnp`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy
from sympy import Expr

from derive import expr
from derive.emit import library
from derive.emit.code import POWER, ROW, kind_of
from derive.emit.compiled import Arrays, Compiled
from derive.emit.face import Face, example_border
from derive.emit.source import (
    CHECK_SHAPES,
    MAIN,
    UNKNOWN,
    called_in,
    dictionary,
    function,
    uses,
    without_double_blanks,
)
from derive.emit.traced import Function, Shared
from derive.emit.waves import SOURCES as OF_WAVES
from derive.errors import DeriveError
from derive.expr import Var
from derive.lattice import Border
from derive.schedule import Program, schedule
from derive.schedule.program import statements
from derive.schedule.storage import read_by
from derive.system import System

CALLED = ("forward", "vjp", "value_and_grad", "states")


def source(system: System, seeds: tuple[str, ...] | None = None) -> str:
    """The module of a system; `seeds` are the states that have cotangents."""
    return Module(schedule(system, seeds, False)).source()


def compile(
    system: System, dtype: str, functions: Mapping[str, Callable[..., Any]], seeds: tuple[str, ...] | None = None
) -> Compiled:
    """The module, run; `functions` are the named unknowns of the system, with their derivatives, written in JAX."""
    if find_spec("jax") is None:
        raise DeriveError('the backend "jax" needs JAX, which is not installed: pip install jax')
    module = Module(schedule(system, seeds, False))
    text = module.source()
    missing = [name for name in module.unknown if name not in functions]
    if missing:
        entries = ", ".join(f'"{name}": …' for name in missing)
        raise DeriveError(f"{system.name} has functions without a formula; give them, functions={{{entries}}}")
    again = partial(compile, system, dtype, functions)
    return CompiledJax(system, text, dtype, functions, module.program.seeds, again, "jax")


class CompiledJax(Compiled):
    """The functions of an emitted JAX module, jitted.

    With dtype "float64" they run where JAX has 64 bits switched on, for the time of the call, and nothing else changes:
    results are NumPy's arrays then, unless `jax_enable_x64` is set.  With arrays that are being traced the functions of
    the module are called as they are, in the caller's own settings.
    """

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.module: Any = Jitted(self.module, self.dtype == "float64", bool(self.system.inputs))

    def _cast(self, arrays: Arrays | None) -> Arrays:
        import jax

        given = dict(arrays or {})
        kept = {n: a for n, a in given.items() if isinstance(a, jax.Array)}
        return {**super()._cast({n: a for n, a in given.items() if n not in kept}),
                **{n: a if self.dtype == "float64" else a.astype(self.dtype) for n, a in kept.items()}}  # fmt: skip


class Jitted:
    """A module whose functions are jitted when they are first called.

    Without inputs a length is a number that is given, and they are not.
    """

    def __init__(self, module: Any, wide: bool, jits: bool):
        self.module, self.wide, self.jits = module, wide, jits
        self.jitted: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.module, name)
        return partial(self._call, name, function) if name in CALLED else function

    def _call(self, name: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        import jax

        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((arguments, named))):
            return function(*arguments, **named)
        if self.jits and name not in self.jitted:
            self.jitted[name] = jax.jit(function)
        with jax.enable_x64(self.wide):
            found = self.jitted.get(name, function)(*arguments, **named)
        # What has 64 bits would lose half of them at the next step of JAX, where these are switched off.
        return jax.tree.map(numpy.asarray, found) if self.wide and not jax.config.read("jax_enable_x64") else found


# --- the module ---------------------------------------------------------------------------------------------------------


class Module:
    """The text of a module."""

    def __init__(self, program: Program):
        self.program, self.system = program, program.system
        self.face = Face(program)
        adjoint = program.adjoint
        self.shared = Shared(program, [*self.system.variables, *(adjoint.variables if adjoint else ())])
        self.unknown: list[str] = []
        """The functions without a formula that the source calls, known once it is written."""

    def source(self) -> str:
        body = [self._forward()]
        if not self.face.derived:
            body += [self._states(), self._vjp(), *([self._value_and_grad(), self._loss()] if self.face.loss else [])]
            body.append(self.face.check(CHECK, CHECK_LOSS))
        body += [self._values(), self._run(), *([] if self.face.derived else self._custom())]
        called = _definitions(called_in(self.shared.called, body))
        self.unknown = re.findall(r'_unknown\("([^"]+)"\)', "\n".join(called))
        body += [*called, *([UNKNOWN] if self.unknown else []), GIVEN, CHECK_SHAPES]
        text = [spelled(part.strip("\n")) for part in body] + ([] if self.face.derived else [MAIN.strip("\n")])
        uses_math = any(uses(part.splitlines(), "math.prod") for part in text)
        imports = [
            "import difflib",
            *(["import math"] if uses_math else []),
            "",
            "import jax",
            "import jax.numpy as jnp",
        ]
        imports += ["import numpy as np"] if any(uses(part.splitlines(), "np") for part in text) else []
        imports += ["from jax import lax"] if any("lax." in part for part in text) else []
        imports = [
            i for i in imports if i != "import jax" or any(re.search(r"\bjax\.(?!numpy)", part) for part in text)
        ]
        tables = self.face.tables(bool(self.unknown))
        head = "\n".join([self.face.docstring("JAX"), "", *imports, "", *tables])
        return "\n\n\n".join([head, *text]) + "\n"

    # --- what is called from outside ------------------------------------------------------------------------------------

    def _forward(self) -> str:
        doc = f"""
            Every state at every step, by name.

            `initial` holds boundary values, such as {example_border(self.face)}; those that are left out are zero.
        """
        lines = ["values, _ = _values(params, inputs, initial)", "found = _run(values)"]
        lines += self._returned([v.name for v in self.face.states], "found", "STATES")
        return function("forward(params, inputs, initial=None)", doc, lines)

    def _returned(self, names: Sequence[str], source: str, table: str) -> list[str]:
        """Arrays by name, rows with both of their axes."""
        rows = [n for n in names if kind_of(self.system.variables[n].var) == ROW and self.system.variables[n].var.index]
        more = [*(v.name for v in self.face.states if not v.var.index), *(e.key for e in self.face.outer)]
        pick = f"{{name: {source}[name] for name in {table}}}"
        if table == "STATES" and more:
            pick = f"{{name: {source}[name] for name in (*STATES, *TOTALS)}}"
        if not rows:
            return [f"return {pick}"]
        return [f"states = {pick}", *(f'states["{n}"] = states["{n}"][..., None, :]' for n in rows), "return states"]

    def _states(self) -> str:
        names = ", ".join(self.program.seeds)
        doc = f"""
            The states with cotangents, {names}, by name: in losses of your own their derivative is the adjoint below.

                loss = lambda params: jnp.sum(states(params, inputs)["{self.program.seeds[0]}"] ** 2)
                gradients = jax.grad(loss)(params)

            On several devices, each with a part of the batch, gradients of parameters are summed over all of them:

                mesh = jax.make_mesh((jax.device_count(),), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
                batch = jax.NamedSharding(mesh, jax.P({"None, " * self.system.lattice.dimension}"batch"))
                gradients = jax.jit(jax.grad(loss))(params)  # with inputs = jax.device_put(inputs, batch)
        """
        lines = ["values, _ = _values(params, inputs, initial)", "found = _states(values)"]
        lines += self._returned(list(self.program.seeds), "found", "COTANGENTS")
        return function("states(params, inputs, initial=None)", doc, lines)

    def _vjp(self) -> str:
        rows = [n for n in self.program.seeds if kind_of(self.system.variables[n].var) == ROW]
        lines = [
            "values, sizes = _values(params, inputs, initial)",
            'given = _given("cotangents", cotangents, COTANGENTS, sizes, optional="state with a cotangent")',
            *(line for n in rows for line in (f'if "{n}" in given:', f'    given["{n}"] = given["{n}"][..., 0, :]')),
            "found = _run(values)",
            "cotangents = {",
            "    name: given[name].astype(found[name].dtype) if name in given else np.zeros_like(found[name])",
            "    for name in COTANGENTS",
            "}",
            "return _pull(found, cotangents)",
        ]
        doc = f"""
            The gradients of sum(cotangents[h] * h) over the states h ({", ".join(self.program.seeds)}).

            Of every parameter, summed over the batch, and for each sample of every input and of every boundary value.
        """
        return function("vjp(params, inputs, cotangents, initial=None)", doc, lines)

    def _value_and_grad(self) -> str:
        assert self.face.loss is not None
        last = self.system.loss == "last"
        which = "loss of the last step, summed over" if last else "loss, summed over all steps and"
        doc = f"The {which} the batch, and its gradients, as `vjp` returns them."
        fed = "".join(f', "{v.name}": targets["{v.name}"]' for v in self.face.fed)
        lines = [f"inputs = {{**inputs{fed}}}"] if fed else []
        lines += ["values, sizes = _values(params, inputs, initial)"]
        wanted = [v for v in self.face.targets if v not in self.face.fed]
        lines += ['wanted = _given("targets", targets, TARGETS, sizes)'] if wanted else []
        arguments = "values, wanted" if wanted else "values"
        lines += [f"loss, gradients = jax.value_and_grad(_loss)({arguments})"]
        fixed = [
            *(v.name for v in self.face.fed),
            *(b.key for b in self.face.borders if self._is_target(b)),
            *self._steps(),
        ]
        keep = f" if name not in {tuple(fixed)!r}".replace("'", '"') if fixed else ""
        lines += [
            f"return loss, {{name: gradients[name] for name in gradients{keep}}}" if keep else "return loss, gradients"
        ]
        return function("value_and_grad(params, inputs, targets, initial=None)", doc, lines)

    def _is_target(self, border: Border) -> bool:
        return self.system.variables[border.variable].kind == "target"

    def _steps(self) -> list[str]:
        """A system without inputs has its lengths among the values."""
        return [] if self.face.inputs else [str(n) for n in self.system.lattice.lengths]

    def _loss(self) -> str:
        assert self.face.loss is not None
        wanted = [v for v in self.face.targets if v not in self.face.fed]
        source = {name: f'values["{name}"]' for name in (*self._given_names(), *(v.name for v in wanted))}
        source |= {name: f'values["{name}"]' for name in self.program.seeds}
        scope = Function(self.shared, {n: self._unpacked(n, text) for n, text in source.items()})
        node = self.face.loss.rhs
        if self.system.loss == "last":
            node = expr.at(node, dict(zip(self.system.lattice.indices, self.system.lattice.lengths, strict=True)))
        value = scope.printer.full(scope.printer.value(node), node)
        if value.batched:
            text = f"np.sum({value.text})"
        elif self.system.loss == "last":
            text = f"math.prod(batch) * {value.at_least(POWER)}"
        else:
            text = f"points * {value.at_least(POWER)}"
        more = ["values |= wanted"] if wanted else []
        found = [name for name in self.program.seeds if uses(scope.head, self.shared.names.of[name])]
        states = ["values = values | _states(values)" + (" | wanted" if wanted else "")] if found or wanted else []
        del more
        body = scope.body(self._sizes(), [f"return {text}"])
        arguments = "values, wanted" if wanted else "values"
        return function(f"_loss({arguments})", "The loss of these values.", [*states, *body])

    # --- what is called inside ------------------------------------------------------------------------------------------

    def _values(self) -> str:
        """What is given, checked, of one dtype, with all boundary values."""
        lines = ["sizes = {}"]
        if not self.face.inputs:
            lengths = [str(n) for n in self.system.lattice.lengths]
            entries = ", ".join(f'"{n}": int(inputs["{n}"])' for n in lengths)
            lines = [f"sizes = {{{entries}}}"]
        lines += [
            'values = _given("params", params, PARAMETERS, sizes)',
            'values |= _given("inputs", inputs, INPUTS, sizes)',
            'given = _given("initial", initial or {}, INITIAL, sizes, optional="boundary value")',
        ]
        lines += [] if self.face.inputs else ['sizes.setdefault("...", ())']
        lines += ["dtype = np.result_type(np.float32, *values.values(), *given.values())"]
        if self.shared.system.borders and self.face.shapes()["INITIAL"]:
            lines += [
                "for name, shape in INITIAL.items():",
                "    axes = [sizes[letter] for letter in shape.split()]" if not self._has_numbers() else
                "    axes = [int(letter) if letter.isdigit() else sizes[letter] for letter in shape.split()]",
                "    axes = [n for size in axes for n in (size if isinstance(size, tuple) else (size,))]",
                "    values[name] = given[name] if name in given else np.zeros(axes, dtype)",
            ]  # fmt: skip
        lines += [f'values["{n}"] = np.arange(sizes["{n}"])' for n in self._steps()]
        lines += ["return {name: array.astype(dtype) for name, array in values.items()}, sizes"]
        doc = "All that is given, by name, checked and of one dtype; and what the letters of the shapes stand for."
        return function("_values(params, inputs, initial)", doc, lines)

    def _has_numbers(self) -> bool:
        return any(letter.isdigit() for shape in self.face.shapes()["INITIAL"].values() for letter in shape.split())

    def _given_names(self) -> list[str]:
        return [v.name for v in (*self.system.parameters, *self.face.inputs)]

    def _unpacked(self, name: str, text: str) -> str:
        """An array as the functions inside have it: a row with one axis."""
        var = self.system.variables[name].var
        if kind_of(var) != ROW or name in self.program.seeds:
            return text
        return f"{text}[..., 0, :]" if var.index else f"{text}[0]"

    def _source(self) -> dict[str, str]:
        return {n: self._unpacked(n, f'values["{n}"]') for n in self._given_names()}

    def _run(self) -> str:
        scope = Function(self.shared, self._source())
        names = [v.name for v in self.face.states if v.var.index]
        scope.run(self.program.forward, [*names, *self._kept_parts()])
        entries: dict[str, str] = {}
        if self.face.derived:
            for gradient in self.program.gradients:
                entries |= scope.gradient(gradient)
        entries = {n: scope.array(n) for n in (*names, *self._kept_parts())} | entries
        more = ["", *dictionary("return values | ", entries)]
        doc = "Everything that is given and computed, by name."
        return function("_run(values)", doc, without_double_blanks(scope.body(self._sizes(), more)))

    def _kept_parts(self) -> list[str]:
        """The pieces of forward equations that the backward pass reads."""
        read = {v.name for s in statements(self.program.backward) for v in read_by(s)}
        read |= {v.name for g in self.program.gradients for v in read_by(g)}
        forward = {t.name for s in statements(self.program.forward) for t in s.targets}
        return [n for n, a in self.program.arrays.items() if a.origin == "part" and n in read & forward]

    def _custom(self) -> list[str]:
        """The states as a function with a derivative of its own."""
        names = ", ".join(f'"{n}": found["{n}"]' for n in self.program.seeds)
        pull, kept = self._pull()
        picked = "{name: found[name] for name in COTANGENTS}"
        del names
        fixed = [
            *(v.name for v in self.face.fed),
            *(b.key for b in self.face.borders if self._is_target(b)),
            *self._steps(),
        ]
        keep = [f"found[{name!r}]".replace("'", '"') for name in kept]
        entries = dictionary("kept = values | ", {name: text for name, text in zip(kept, keep, strict=True)})
        first = function(
            "_states(values)", "The states that have cotangents.", ["found = _run(values)", f"return {picked}"]
        )
        forward = function("_states_forward(values)", "The states, and what their adjoint needs.",
                           ["found = _run(values)", *entries, f"return {picked}, kept"])  # fmt: skip
        lines = ["gradients = _pull(kept, cotangents)"]
        lines += [f"gradients[{name!r}] = np.zeros_like(kept[{name!r}])".replace("'", '"') for name in fixed]
        backward = function("_states_backward(kept, cotangents)", "The adjoint; targets are no variables.",
                            [*lines, "return (gradients,)"])  # fmt: skip
        return [
            f"@jax.custom_vjp\n{first}",
            forward,
            f"{backward}\n\n\n_states.defvjp(_states_forward, _states_backward)",
            pull,
        ]

    def _pull(self) -> tuple[str, list[str]]:
        """The source of the backward pass, and the names of what it reads of the forward pass."""
        source = self._source()
        computed = [*(v.name for v in self.face.states if v.var.index), *self._kept_parts()]
        source |= {n: f'values["{n}"]' for n in computed}
        source |= {f"{n}_ct": f'cotangents["{n}"]' for n in self.program.seeds}
        scope = Function(self.shared, source)
        inputs = [v.var.marked("bar").name for v in self.system.inputs]
        scope.run(self.program.backward, [n for n in inputs if n in self.program.arrays])
        found: dict[str, str] = {}
        for gradient in self.program.gradients:
            found |= scope.gradient(gradient)
        entries: dict[str, str] = {}
        for v in self.system.parameters:
            text = found.get(v.name + "_bar", "")
            entries[v.name] = self._outward(v.var, text) if text else f'np.zeros_like(values["{v.name}"])'
        for v in self.system.inputs:
            name = v.var.marked("bar").name
            known = name in self.program.arrays
            entries[v.name] = self._outward(v.var, scope.array(name)) if known else f'np.zeros_like(values["{v.name}"])'
        for border in self.face.borders:
            if not self._is_target(border):
                entries[border.key] = self._outward(self.system.variables[border.variable].var, found[border.key])
        more = ["", *dictionary("return ", entries)]
        doc = "The adjoint equations; `cotangents` start them.\n\n" + "\n".join(
            f"    {line}" for line in self.face.adjoint_equations()
        )
        body = scope.body(self._sizes(), more)
        kept = [n for n in computed if any(f'values["{n}"]' in line for line in body)]
        return function("_pull(values, cotangents)", doc, without_double_blanks(body)), kept

    def _outward(self, var: Var, text: str) -> str:
        """A gradient as it is returned: of a row with both axes."""
        if kind_of(var) != ROW:
            return text
        return f"{text}[..., None, :]"

    def _sizes(self) -> dict[str, str]:
        """Where the letters of the shapes are found."""
        found: dict[str, str] = {}
        shapes = self.face.shapes()
        known = {**shapes["INPUTS"], **shapes["PARAMETERS"], **shapes["INITIAL"], **{n: n for n in self._steps()}}
        symbols: dict[Expr, str] = dict(self.shared.names.symbols)
        names = {str(s): local for s, local in symbols.items()} | {"...": "batch"}
        for name, shape in known.items():
            letters = shape.split()
            for k, letter in enumerate(letters):
                if letter not in names or names[letter] in found:
                    continue
                behind = len(letters) - 1 - k
                late = "..." in letters[:k]
                where = f"{k}:{-behind or ''}" if letter == "..." else str(k - len(letters) if late else k)
                found[names[letter]] = f'values["{name}"].shape[{where}]'
        found.setdefault("batch", "()")
        first = next(iter(known))
        return {**found, "dtype": f'values["{first}"].dtype'}


# --- text ---------------------------------------------------------------------------------------------------------------


def spelled(text: str) -> str:
    """NumPy's functions as JAX's, which have the same names; those of NumPy itself are written with its full name."""
    return re.sub(r"(?<![\w.])numpy\.", "np.", re.sub(r"(?<![\w.])np\.", "jnp.", text))


def _definitions(called: Sequence[tuple[str, int]]) -> list[str]:
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
}
"""What JAX says differently from NumPy, or needs besides."""
SOURCES |= OF_WAVES

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
