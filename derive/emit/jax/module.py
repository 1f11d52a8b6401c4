"""The text of a JAX module: its functions, and what they share."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sympy import Expr

from derive import expr
from derive.emit.code import POWER, ROW, kind_of
from derive.emit.face import Face, example_border
from derive.emit.jax.library import CHECK, CHECK_LOSS, GIVEN, definitions, spelled
from derive.emit.jax.passes import Function
from derive.emit.jax.traced import Shared
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
from derive.expr import Var
from derive.lattice import Border
from derive.schedule import Program
from derive.schedule.program import statements
from derive.schedule.storage import read_by


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
        called = definitions(called_in(self.shared.called, body))
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
            *self.face.checked(
                'given = _given("initial", initial or {}, INITIAL, sizes, optional="boundary value")'
            ).splitlines(),
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
