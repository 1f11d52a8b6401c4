"""What the names of a document mean where a formula stands: the system's variables, aliases, shorthands, declarations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from sympy import Expr, Symbol

from derive import expr, functions
from derive.expr import Node, Shape, Var
from derive.reader.habits import NO_HABITS, Habits
from derive.system import System

FUNCTIONS: Mapping[str, str] = {
    **{name: name for name in functions.TABLE if name not in ("phi", "square", "identity")},
    "sigma": "sigmoid", "varsigma": "sigmoid", "sigm": "sigmoid", "logistic": "sigmoid", "Sigmoid": "sigmoid",
    "Tanh": "tanh", "ReLU": "relu", "RELU": "relu", "Relu": "relu", "LeakyReLU": "leaky_relu", "ELU": "elu",
    "SiLU": "silu", "Swish": "silu", "swish": "silu", "GELU": "gelu", "Softmax": "softmax", "SoftMax": "softmax",
    "LN": "layer_norm", "LayerNorm": "layer_norm", "layernorm": "layer_norm", "ln": "log", "sgn": "sign",
    "hardsigmoid": "hard_sigmoid", "hardtanh": "hard_tanh", "logsumexp": "log_sum_exp", "lse": "log_sum_exp",
    "CE": "cross_entropy", "CrossEntropy": "cross_entropy", "crossentropy": "cross_entropy", "XE": "cross_entropy",
    "xent": "cross_entropy", "BinaryCrossEntropy": "logistic", "SE": "squared_error", "BCE": "logistic", "id": "identity",
    "softsign": "softsign", "Softplus": "softplus", "square": "square",
}  # fmt: skip
"""The names of functions as people write them: the rows of `derive.functions`.  A variable of the same name wins."""

WORDS_OF_FUNCTIONS = frozenset(FUNCTIONS) - {"id", "SE", "CE", "XE", "LN", "ln"}
LOSSES = frozenset(["L", "E", "J", "ell", "Loss", "loss", "C", "mathcal_L", "varepsilon", "xi"])
"""Letters that a loss goes by, where they are no variable's."""
SURELY_LOSSES = frozenset(["L", "Loss", "loss", "mathcal_L", "ell"])


@dataclass(frozen=True)
class Meaning:
    """A name: its node at the lattice's own index, and whether it has one; None: as it is used (a declared name).

    `value` is what a line of the document defined it as.
    """

    node: Node
    indexed: bool | None
    value: Node | None = None

    @property
    def shape(self) -> Shape:
        return self.node.shape

    def at(self, index: tuple[Expr, ...], lattice: tuple[Symbol, ...]) -> Node:
        return expr.at(self.node, dict(zip(lattice, index, strict=True))) if self.indexed is not False else self.node


@dataclass(frozen=True)
class Scope:
    """`names` typed -> meaning; `functions` are the unknown functions; `pins` are choices that directives made."""

    lattice: tuple[Symbol, ...]
    lengths: tuple[Expr, ...]
    names: dict[str, Meaning] = field(default_factory=dict)
    functions: frozenset[str] = frozenset()
    system: System | None = None
    pins: tuple[tuple[str, frozenset[str]], ...] = ()
    scalar: bool = False
    hold: tuple[str, ...] = ()
    losses: frozenset[str] = LOSSES
    later: dict[str, Meaning] = field(default_factory=dict)
    """Names that the document defines further down."""
    habits: Habits = NO_HABITS
    unrolled: bool = False
    """Whether a number stands in the place of T."""
    own: bool = False
    """Whether `δ^{z}_t` means the adjoint of the argument of z, as derive itself writes it."""

    @cached_property
    def letters(self) -> tuple[str, ...]:
        return tuple(map(str, self.lattice))

    @classmethod
    def of(cls, system: System) -> Scope:
        names = {
            name: Meaning(variable.var, variable.indexed)
            for name, variable in system.variables.items()
            if name != system.loss_name and variable.kind != "cotangent"
        }
        applied = {
            node.function
            for equation in system.equations.values()
            for node in expr.walk(equation.rhs)
            if isinstance(node, expr.Apply)
        }
        unknown = frozenset(name for name in applied if name not in functions.TABLE or name == "phi")
        scalar = all(size == 1 for m in names.values() for size in m.shape)
        lattice = system.lattice
        return cls(lattice.indices, lattice.lengths, names, unknown, system, scalar=scalar)

    @classmethod
    def empty(cls, letters: Iterable[str] = ("t",)) -> Scope:
        from derive.lattice import Lattice

        lattice = Lattice.named(tuple(letters))
        return cls(lattice.indices, lattice.lengths)

    @cached_property
    def dimensions(self) -> frozenset[str]:
        """The letters of all sizes."""
        return frozenset(s.name for m in self.names.values() for size in m.shape for s in size.free_symbols)

    def lookup(self, name: str) -> Meaning | None:
        return self.names.get(name) or self.later.get(name)

    def with_names(self, names: Mapping[str, Meaning]) -> Scope:
        return replace(self, names={**self.names, **names})

    def function(self, name: str) -> str | None:
        """The row of the table that a name stands for, where it is no variable."""
        if name in self.names:
            return None
        if name in self.functions:
            return name
        return FUNCTIONS.get(name)

    def is_loss(self, name: str) -> bool:
        """Whether a letter is the loss here: that of the definition, or of those that the document takes derivatives of."""
        if name not in self.losses or name in self.names:
            return False
        if not self.losses >= LOSSES:
            return True
        return name in SURELY_LOSSES or self.habits is NO_HABITS or name in self.habits.losses or name not in LOSSES

    def loss(self, index: tuple[Expr, ...]) -> Var:
        return Var("L", (), index, *expr.SCALAR)
