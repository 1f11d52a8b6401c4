"""What every emitted module says of its system, whatever its backend: its docstring and the tables of its shapes."""

from __future__ import annotations

from derive import expr
from derive.emit.layout import applied
from derive.emit.source import CHECK, CHECK_LOSS, dictionary, docstring, quoted, tuple_of
from derive.errors import DeriveError
from derive.expr import Var
from derive.lattice import Border
from derive.notation import Notation
from derive.printing import text
from derive.schedule.program import Edge, Program
from derive.system import LOSS, Equation, Variable

BARRED = Notation(adjoint="bar")


class Face:
    """The public side of a module: which arrays it takes and returns, by name."""

    def __init__(self, program: Program):
        self.program, self.system = program, program.system
        self.derived = program.adjoint is None
        """Whether this is an adjoint or a tangent already: then it is run forwards only, its loss among its states."""
        system = self.system
        self.states = [v for v in system.states if self.derived or v.name != LOSS]
        self.loss = None if self.derived or not system.has_loss else system.equations[LOSS]
        self.targets = [] if self.derived else list(system.of_kind("target"))
        read = {v.name for s in self.states for v in expr.variables(system.equations[s.name].rhs)}
        self.fed = [v for v in self.targets if v.name in read]
        """Targets that a state reads: `forward` finds them among its inputs."""
        kinds = ("input", "target", "cotangent") if self.derived else ("input",)
        self.inputs = [*system.of_kind(*kinds), *self.fed]

    @property
    def outer(self) -> list[Edge]:
        """What a derived system says beyond the lattice: `h_bar[0]`."""
        return [g for g in self.program.gradients if isinstance(g, Edge)] if self.derived else []

    @property
    def borders(self) -> list[Border]:
        """The borders of what the functions are given or compute."""
        known = {v.name for v in (*self.inputs, *self.states, *(self.targets if self.loss else ()))}
        return [b for b in self.system.borders if b.variable in known]

    def is_learned(self, border: Border) -> bool:
        return self.system.boundary[border.variable] == "learned"

    def variable(self, border: Border) -> Variable:
        return self.system.variables[border.variable]

    def shapes(self) -> dict[str, dict[str, str]]:
        """Names with their shapes, as letters; "..." are the axes of a batch."""
        lattice = [str(n) for n in self.system.lattice.lengths]

        def shape(var: Var, *leading: str) -> str:
            sizes = [] if var.shape == expr.SCALAR else [var.shape[0]] if var.shape[1] == 1 else [*var.shape]
            return " ".join([*leading, *map(str, sizes)])

        params = {v.name: shape(v.var) for v in self.system.parameters}
        initial = {}
        for border in self.borders:
            along = [n for n, side in zip(lattice, border.sides, strict=True) if not side.depth]
            var = self.variable(border).var
            if self.is_learned(border):
                params[border.key] = shape(var, *along)
            else:
                initial[border.key] = shape(var, *along, "...")
        states = {v.name: shape(v.var, *lattice, "...") for v in self.states if v.var.index}
        tables = {
            "PARAMETERS": params,
            "INPUTS": {v.name: shape(v.var, *lattice, "...") for v in self.inputs},
            "TARGETS": {v.name: shape(v.var, *lattice, "...") for v in self.targets},
            "INITIAL": initial,
            "STATES": states,
        }
        if not self.derived:
            tables["COTANGENTS"] = {name: states[name] for name in self.program.seeds}
        return {name: entries for name, entries in tables.items() if name != "TARGETS" or entries}

    def telling(self) -> list[str]:
        """The boundary values that can't be left out, since nothing else tells the size of a state.

        Raises `DeriveError` where nothing tells it.
        """
        shapes = self.shapes()
        known = {
            letter for name in ("PARAMETERS", "INPUTS") for shape in shapes[name].values() for letter in shape.split()
        }
        known |= {"...", *map(str, self.system.lattice.lengths)}
        found: list[str] = []
        for name, shape in shapes["STATES"].items():
            for letter in (x for x in shape.split() if not x.isdigit() and x not in known):
                key = next((k for k, other in shapes["INITIAL"].items() if letter in other.split()), None)
                if key is None:
                    raise DeriveError(
                        f"the size {letter} of {name} stands in no array that would be given; let a parameter, an input or "
                        f"a boundary value have it, or give {name} a size that is a number"
                    )
                found.append(key)
                known |= set(shapes["INITIAL"][key].split())
        return found

    def checked(self, text: str) -> str:
        """`text`, in which boundary values are checked, with those asked for that can't be left out."""
        names = self.telling()
        if not names:
            return text
        table = f"{{name: INITIAL[name] for name in ({quoted(names)})}}"
        lines = text.splitlines()
        optional = 'INITIAL, sizes, optional="boundary value"'
        return "\n".join(
            x for line in lines for x in ([line.replace(optional, f"{table}, sizes")] * (optional in line) + [line])
        )

    def tables(self, unknown: bool) -> list[str]:
        """The tables as source; `unknown`: whether there are functions without a formula."""
        lines = ['# Shapes by name; "..." are the axes of a batch, which may be missing.']
        for name, entries in self.shapes().items():
            lines += dictionary(f"{name} = ", {key: f'"{shape}"' for key, shape in entries.items()})
        totals = [*(v.name for v in self.states if not v.var.index), *(edge.key for edge in self.outer)]
        if totals:
            lines += tuple_of("TOTALS = ", totals)
        if unknown:
            lines += ["", "# The functions without a formula, to be filled in by name.", "FUNCTIONS = {}"]
        return lines

    def docstring(self, backend: str) -> str:
        system = self.system
        ranges = ", ".join(f"{i} = 1..{n}" for i, n in zip(system.lattice.indices, system.lattice.lengths, strict=True))
        lines = [f"{system.title}, in {backend}.", "", f"For {ranges}:", ""]
        for equation in system.equations.values():
            if self.derived or equation.name != LOSS or self.loss:
                lines += [f"    {line}" for line in law(equation)]
        if self.loss and system.loss == "last":
            lines += ["", "The loss is that of the last step."]
        order = ", ".join([*map(str, system.lattice.lengths), "[batch,] n"])
        lines += ["", f"Arrays are time-major, ({order}); gradients of parameters are summed over the batch."]
        if not self.derived:
            lines += ["Run as a program, the module compares its gradients with finite differences."]
        lines += ["", f"Source: {system.reference}."] if system.reference else []
        lines += ["Written by derive."]
        return docstring("\n".join(lines))

    def adjoint_equations(self) -> list[str]:
        """The adjoint system, line by line."""
        own = self.program.adjoint.own if self.program.adjoint else ()
        return [line for e in own if e.target.base != LOSS for line in law(e)]

    def check(self, template: str = CHECK, of_loss: str = CHECK_LOSS) -> str:
        """The function `check`, which compares gradients with finite differences at small sizes."""
        system = self.system
        count = {str(n): 3 + k for k, n in enumerate(system.dimensions)}
        count |= {str(n): 3 + k for k, n in enumerate(system.lattice.lengths)}
        fixed = {str(n) for v in system.variables.values() for n in v.shape if n.is_Integer and n != 1} | {"1"}
        used = {part for shape in self.shapes().values() for part in " ".join(shape.values()).split()}
        count |= {n: int(n) for n in sorted(fixed & used)}
        entries = [f'"{name}": ({size},)' for name, size in count.items()] + ['"...": (2,)']
        low, high = (0.5, 1.5) if {"log", "sqrt"} & set(applied(system)) else (-1, 1)
        lengths = "" if self.inputs else ", ".join(f'"{n}": {count[str(n)]}' for n in system.lattice.lengths)
        return template.format(
            sizes=", ".join(entries), low=low, high=high,
            inputs=f"\n    inputs |= {{{lengths}}}" if lengths else "",
            loss=of_loss if self.loss else "",
            targets=f"\n    targets = {'draw(TARGETS)' if self.targets else '{}'}" if self.loss else "",
        )  # fmt: skip


def law(equation: Equation) -> list[str]:
    """An equation as lines of text."""
    return text(expr.Equals(equation.target, equation.rhs), BARRED).splitlines()


def axes_along(border: Border) -> int:
    """Along how many axes of the lattice a border runs."""
    return sum(not side.depth for side in border.sides)


def example_border(face: Face) -> str:
    keys = [b.key for b in face.borders if not face.is_learned(b)]
    return f'"{keys[0]}"' if keys else "none here"
