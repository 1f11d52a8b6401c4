"""Random systems: equations over states, inputs and parameters of random shapes, with all that a system may have.

A seed gives a chain or a grid; offsets of one, two and three steps, back and ahead; scalars, columns, rows and square or
oblong matrices; products that are shared, turned, nested; gates; functions with and without kinks; names that mean
something to an emitter; boundary values that are given, zero or learned; a loss, of every step or of the last.
Sizes stay small and functions tame, so that values neither overflow nor vanish.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from derive.system import System

Shape: TypeAlias = "tuple[str, str]"
SCALAR: Shape = ("1", "1")
SIZES = {"n": 3, "m": 4, "p": 2, "3": 3, "1": 1}
"""What the letters of shapes stand for."""

WORDS = """
    half one total rows scratch steps k name carried block n values sizes batch x h c W_h b_h u z r f g inputs gradients np
    math d out T_ step first last part y_bar zero two i_ a_1 W_1 v0 p_1 product _x h_bar h_ct N B K e exp_ s q w v m o self
    torch jax jnp lax scale mean variance shift masked lengths params initial double static register index pow1 tanh_ int
    float restrict work loss seeds points low high count end start mask y0 j0 t0 L_ h_1 delta memory samples row total_ real
"""
"""Names of variables: letters and words that emitters use themselves."""

FUNCTIONS = """
    tanh tanh tanh sigmoid sigmoid sigmoid relu abs gelu softplus silu elu leaky_relu hard_tanh hard_sigmoid square cosh
    sech identity
"""


@dataclass(frozen=True)
class Drawn:
    """A system as its text, and the seed that it came from."""

    seed: int
    equations: str
    inputs: str
    parameters: str
    shapes: str
    targets: str
    boundary: Mapping[str, str]
    loss: str
    loss_at: str

    def system(self) -> System:
        """Raises `DeriveError` where the equations can't be a system: where they have no order of evaluation."""
        options: dict[str, Any] = {name: value for name, value in vars(self).items() if name != "seed"}
        return System("cell", **options)

    def __str__(self) -> str:
        lines = [f"seed {self.seed}", *(f"    {line}" for line in self.equations.splitlines())]
        lines += [f"    loss of {self.loss_at}: {self.loss}"] if self.loss else []
        for name in ("inputs", "parameters", "shapes", "targets", "boundary"):
            lines += [f"    {name}: {found}"] if (found := getattr(self, name)) else []
        return "\n".join(lines)


def drawn(seed: int) -> Drawn:
    return _Draw(seed).system()


def trimmed(given: Mapping[str, Any]) -> Drawn:
    """A system without what its equations and its loss don't name."""
    used = {
        node.id
        for text in (given["equations"], given["loss"])
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Name)
    }
    kept = dict(given)
    for kind in ("inputs", "parameters", "targets", "shapes"):
        kept[kind] = ", ".join(entry for entry in given[kind].split(", ") if entry.partition(":")[0] in used)
    kept["boundary"] = {name: how for name, how in given["boundary"].items() if name in used}
    return Drawn(**kept)


class _Draw:
    """The equations as they are made; what they need on the way is declared when it is first read."""

    def __init__(self, seed: int):
        self.seed, self.random = seed, random.Random(seed)
        choose = self.random.choice
        self.grid = self.random.random() < 0.2
        self.backwards = not self.grid and self.random.random() < 0.15
        self.names = WORDS.split()
        self.random.shuffle(self.names)
        self.sizes = self.random.sample(["n", "m", "p"], choose([1, 2, 2, 3]))
        self.sizes += ["3"] * (self.random.random() < 0.15) + ["1"] * (self.random.random() < 0.1)
        self.parameters: dict[str, Shape] = {}
        self.known: list[tuple[str, Shape, int]] = []
        """Formulas that were written before, to be read again, with the number of states that they may read."""
        self.inputs = {self.name(): self.shape(0.12, 0.03) for _ in range(choose([1, 1, 2, 3]))}
        self.states = {self.name(): self.shape(0.12, 0.15) for _ in range(choose([1, 2, 2, 3, 3, 4]))}
        self.done = 0
        """How many states have their equation: these can be read at the same point."""

    def system(self) -> Drawn:
        equations = []
        for state, shape in self.states.items():
            value = self.formula(shape, self.random.choice([2, 3, 3, 4]))
            value = self.recurrent(state, value) if self.random.random() < 0.5 else value
            equations.append(f"{state}[{self.point()}] = {value}")
            self.done += 1
        targets: dict[str, Shape] = {}
        loss = self.loss(targets) if self.random.random() < 0.45 else ""
        borders = [v for v in (*self.states, *self.inputs) if self.random.random() < 0.35]
        declared = {"inputs": self.inputs, "parameters": self.parameters, "shapes": self.states, "targets": targets}
        return trimmed(
            {
                **{kind: ", ".join(f"{v}: {_text(s)}" for v, s in some.items()) for kind, some in declared.items()},
                "seed": self.seed,
                "equations": "\n".join(equations),
                "boundary": {v: self.random.choice(["given", "zero", "learned"]) for v in borders},
                "loss": loss,
                "loss_at": self.random.choice(["every", "last"]),
            }
        )

    # --- names, shapes, points --------------------------------------------------------------------------------------------

    def name(self) -> str:
        return self.names.pop()

    def shape(self, scalar: float, matrix: float) -> Shape:
        """A column, with these chances for a scalar and a matrix."""
        kind, size = self.random.random(), self.random.choice
        if kind < scalar:
            return SCALAR
        return size(self.sizes), (size(self.sizes) if kind < scalar + matrix else "1")

    def point(self, offset: tuple[int, ...] = ()) -> str:
        indices = "ij" if self.grid else "t"
        offset = offset or (0,) * len(indices)
        return ",".join(f"{i}{o:+d}" if o else i for i, o in zip(indices, offset, strict=True))

    def before(self) -> tuple[int, ...]:
        """An offset at which every state has been computed."""
        if self.grid:
            return self.random.choice([(-1, 0), (0, -1), (-1, -1), (-1, 0), (0, -1), (-2, 0)])
        return ((1 if self.backwards else -1) * self.random.choice([1, 1, 1, 1, 2, 3]),)

    def near(self, usual: float = 0.7) -> tuple[int, ...]:
        """An offset at which inputs, and states with an equation, can be read; mostly none."""
        if self.random.random() < usual:
            return (0, 0) if self.grid else (0,)
        if self.grid:
            return self.random.choice([self.before(), (1, 0), (0, 1)])
        return ((1 if self.backwards else -1) * self.random.choice([1, 2, -1]),)

    # --- leaves ---------------------------------------------------------------------------------------------------------------

    def parameter(self, shape: Shape) -> str:
        """One that is there already, or its transpose, or a new one; a column may be a row that is turned."""
        have = [p for p, s in self.parameters.items() if s == shape]
        turned = [p for p, s in self.parameters.items() if s == shape[::-1] and shape != SCALAR]
        if have and self.random.random() > 0.4:
            return self.random.choice(have) + (
                ".T" if shape[0] == shape[1] != "1" and self.random.random() < 0.2 else ""
            )
        if turned and self.random.random() < 0.3:
            return self.random.choice(turned) + ".T"
        new = self.name()
        is_turned = shape[0] != "1" and shape[1] == "1" and self.random.random() < 0.1
        self.parameters[new] = shape[::-1] if is_turned else shape
        return new + (".T" if is_turned else "")

    def leaf(self, shape: Shape) -> str:
        """A state, an input or a parameter."""
        found = [f"{v}[{self.point(self.near())}]" for v, s in self.inputs.items() if s == shape]
        for k, (state, own) in enumerate(self.states.items()):
            where = self.point(self.near() if k < self.done else self.before())
            if own == shape:
                found += [f"{state}[{where}]"] * 2
            elif own == shape[::-1] and self.random.random() < 0.3:
                found.append(f"{state}[{where}].T")
        return self.random.choice(found) if found and self.random.random() > 0.08 else self.parameter(shape)

    # --- formulas -------------------------------------------------------------------------------------------------------------

    def formula(self, shape: Shape, depth: int) -> str:
        """A formula of this shape; now and then one that was written before, as it was or at an earlier point."""
        known = [text for text, s, done in self.known if s == shape and done <= self.done]
        if known and self.random.random() < 0.15:
            again = self.random.choice(known)
            return self.earlier(again) if self.random.random() < 0.5 else again
        if depth <= 0:
            text = self.leaf(shape)
        else:
            kinds = SCALARS if shape == SCALAR else COLUMNS if shape[1] == "1" else MATRICES
            text = self.random.choice([*ENTRYWISE, *kinds])(self, shape, depth - 1)
        text = f"({text})" if "(" in text or "@" in text or " " in text else text
        self.known.append((text, shape, self.done))
        return text

    def earlier(self, text: str) -> str:
        """A formula with every index moved by one offset."""
        offset = self.before()

        def moved(match: re.Match[str]) -> str:
            steps = [int(part[1:] or 0) for part in match[1].split(",")]
            return f"[{self.point(tuple(s + o for s, o in zip(steps, offset, strict=True)))}]"

        return re.sub(r"\[([^\]]*)\]", moved, text)

    def recurrent(self, state: str, value: str) -> str:
        """An equation that surely is a recurrence: a leak, or a gate."""
        shape, old = self.states[state], f"{state}[{self.point(self.before())}]"
        if self.random.random() < 0.3:
            return f"0.5 * {old} + {value}"
        gate = f"sigmoid({self.formula(shape if self.random.random() < 0.6 else SCALAR, 1)})"
        return f"{gate} * {old} + (1 - {gate}) * tanh({value})"

    def size(self) -> str:
        return self.random.choice(self.sizes)

    def loss(self, targets: dict[str, Shape]) -> str:
        columns = [s for s, shape in self.states.items() if shape[1] == "1"]
        terms = []
        if columns and self.random.random() < 0.7:
            state, target = self.random.choice(columns), self.name()
            shape = targets[target] = self.states[state]
            names = ["squared_error"] if shape[0] == "1" else ["squared_error", "logistic", "cross_entropy"]
            read = f"{state}[{self.point()}]" if self.random.random() < 0.6 else self.formula(shape, 1)
            terms.append(f"{self.random.choice(names)}({read}, {target}[{self.point(self.near(0.8))}])")
        if not terms or self.random.random() < 0.5:
            terms.append(self.random.choice(["", "0.1 * "]) + self.formula(SCALAR, 2))
        return " + ".join(terms)


Kind: TypeAlias = "Callable[[_Draw, Shape, int], str]"


def _text(shape: Shape) -> str:
    return "scalar" if shape == SCALAR else shape[0] if shape[1] == "1" else f"{shape[0]} x {shape[1]}"


def _one_of(*templates: str) -> Kind:
    """A formula with `{}` for parts of the same shape, `{s}` for scalars, `{l}` for leaves."""

    def write(draw: _Draw, shape: Shape, depth: int) -> str:
        template = draw.random.choice(templates)
        for mark, of in (("{}", lambda: draw.formula(shape, depth)), ("{s}", lambda: draw.formula(SCALAR, depth)),
                         ("{l}", lambda: draw.leaf(shape))):  # fmt: skip
            while mark in template:
                template = template.replace(mark, of(), 1)
        return template

    return write


def _function(draw: _Draw, shape: Shape, depth: int) -> str:
    return f"{draw.random.choice(FUNCTIONS.split())}({draw.formula(shape, depth)})"


def _affine(draw: _Draw, shape: Shape, depth: int) -> str:
    """`tanh(W a + U b + c)`"""
    if shape[1] != "1":
        return f"tanh({draw.formula(shape, depth)} + {draw.parameter(shape)})"
    terms = [_times(draw, shape, draw.leaf((size, "1")), size) for size in (draw.size(), draw.size())]
    return f"{draw.random.choice(['tanh', 'sigmoid', 'relu'])}({' + '.join(terms)} + {draw.parameter(shape)})"


def _times(draw: _Draw, shape: Shape, column: str, size: str) -> str:
    return f"{draw.parameter((shape[0], size))} @ {column}"


def _product(draw: _Draw, shape: Shape, depth: int) -> str:
    size = draw.size()
    return _times(
        draw, shape, draw.leaf((size, "1")) if draw.random.random() < 0.5 else draw.formula((size, "1"), depth), size
    )


def _reset(draw: _Draw, shape: Shape, depth: int) -> str:
    """`U (r ∘ h)`, `r ∘ (U h + b)` or `U (r ∘ (V h))`"""
    size, other = draw.size(), draw.size()
    column, leaf = (size, "1"), draw.leaf
    match draw.random.randrange(3):
        case 0:
            return _times(draw, shape, f"(sigmoid({draw.parameter(column)} + {leaf(column)}) * {leaf(column)})", size)
        case 1:
            return f"sigmoid({leaf(shape)}) * ({_times(draw, shape, leaf(column), size)} + {draw.parameter(shape)})"
        case _:
            inner = _times(draw, column, leaf((other, "1")), other)
            return _times(draw, shape, f"({draw.formula(column, 0)} * ({inner}))", size)


def _tied(draw: _Draw, shape: Shape, depth: int) -> str:
    W = draw.parameter((shape[0], draw.size()))
    return f"{W} @ tanh({_turned(W)} @ {draw.formula(shape, depth)})"


def _turned(text: str) -> str:
    return text.removesuffix(".T") if text.endswith(".T") else f"{text}.T"


def _of_column(template: str) -> Kind:
    """A formula of a column `{v}` of any size, `{w}` another of that size, `{W}` a row parameter; `{}`: of the shape itself."""

    def write(draw: _Draw, shape: Shape, depth: int) -> str:
        size = draw.size()
        parts = {
            "{v}": lambda: draw.formula((size, "1"), depth),
            "{w}": lambda: _turned(draw.formula((size, "1"), depth)),
            "{W}": lambda: draw.parameter(("1", size)),
            "{M}": lambda: draw.formula((shape[0], size), depth),
            "{}": lambda: draw.formula(shape, depth),
        }
        text = template
        for mark, part in parts.items():
            text = text.replace(mark, part(), 1) if mark in text else text
        return text

    return write


def _outer(draw: _Draw, shape: Shape, depth: int) -> str:
    left, right = draw.formula((shape[0], "1"), depth), draw.formula((shape[1], "1"), depth)
    return f"{left} @ {_turned(right)}"


def _diagonal(draw: _Draw, shape: Shape, depth: int) -> str:
    return f"diag({draw.formula((shape[0], '1'), depth)})" if shape[0] == shape[1] else draw.leaf(shape)


def _matrices(draw: _Draw, shape: Shape, depth: int) -> str:
    size = draw.size()
    return _times(draw, shape, draw.formula((size, shape[1]), depth), size)


ENTRYWISE: tuple[Kind, ...] = (
    *[_one_of("{l}"), _one_of("{} + {}")] * 2,
    *[_function] * 2,
    _one_of("{} * {}"),
    _one_of("{s} * {}"),
    _one_of("{} - {}"),
    _one_of("1 - {}", "0.3 * {}", "{} / 3", "-{}", "2 + {}", "{} ** 2"),
    _one_of("{} / (1.5 + square({}))", "{} / (1.5 + square({}))", "1 / (2 + tanh({}))"),
    _one_of("log(1.2 + square({}))", "sqrt(0.5 + square({}))"),
    _one_of("max({}, {})", "min({}, {})"),
    _one_of("sigmoid({}) * {}"),
    _one_of("{l} * {l} * {l}"),
)
SCALARS: tuple[Kind, ...] = (
    *[_of_column("{W} @ {v}")] * 3,
    _of_column("tanh({W} @ {v} + {})"),
    _of_column("sum({v})"),
    _of_column("log_sum_exp({v})"),
    _of_column("{w} @ {v}"),
)
COLUMNS: tuple[Kind, ...] = (
    *[_product] * 7,
    *[_affine] * 4,
    *[_reset] * 3,
    _tied,
    _one_of("softmax({})", "layer_norm({})"),
    _of_column("{M} @ {v}"),
    _of_column("sum({v}) * {}"),
)
MATRICES: tuple[Kind, ...] = (*[_outer] * 3, *[_matrices] * 2, _diagonal, _affine)
