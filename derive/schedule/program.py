"""What runs: the arrays of a system and the statements that fill them, in the order in which they run.

A `Program` says nothing about a language.  Statements stand for all points of the lattice at once, or inside a `Sweep` for
one point of its axis after the other, and for all points of the axes that are not swept.  All of them speak of nodes
(`derive.expr`) at the lattice's own index: what a backend prints of `h[t-1]` is its own affair.

    Assign     target = value                         any node
    Product    [a_1; …; a_k] = [M_1; …; M_k] x + b    products with one operand, as one matrix product
               y = [M_1; …; M_k].T [x_1; …; x_k]      the transpose of that, with operands that lie side by side
    Total      G = Σ value                            over the lattice and the batch: the gradient of a parameter
    OuterTotal [G_1; …; G_k] = Σ [d_1; …; d_k] x.T    the same for Σ d x.T, as one matrix product
    Edge       h_bar[0] = value                       at a border: the gradient of a boundary value
    Sweep      for t = 1..T, or downwards             a recurrence: its body runs point by point

Arrays that lie side by side are a `Stack`, parameters that do, a `Pack`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from sympy import Expr

from derive.expr import Node, Var
from derive.lattice import Border
from derive.system import System

STORED, CARRIED, SCRATCH = "stored", "carried", "scratch"


@dataclass(frozen=True)
class Pack:
    """Parameters below one another, `[M_1; …; M_k]`: matrices of as many columns, or vectors.  One alone is itself."""

    parts: tuple[Var, ...]

    @property
    def name(self) -> str:
        return "_".join([self.parts[0].name, *(p.name.split("_", 1)[-1] for p in self.parts[1:])])


@dataclass(frozen=True)
class Stack:
    """Indexed arrays that lie side by side along their last axis, in this order."""

    name: str
    parts: tuple[Var, ...]


@dataclass(frozen=True)
class Array:
    """One indexed array of a program.

    `storage`: "stored" for all points; "carried" from one step of its sweep to the next, where only `offset` -1 in the
    direction of the sweep is read; "scratch" where it is used up at the point that computes it.
    `origin`: what it is: "state", "adjoint", or "part" for a piece of an equation that the schedule gave a name.
    """

    var: Var
    storage: str = STORED
    origin: str = "part"


@dataclass(frozen=True)
class Assign:
    target: Var
    value: Node

    @property
    def targets(self) -> tuple[Var, ...]:
        return (self.target,)


@dataclass(frozen=True)
class Product:
    """`targets[k] = pack[k] @ operands[0] + bias[k]`; `transposed`: `targets[0] = Σ_k pack[k].T @ operands[k]`.

    The targets are consecutive parts of one stack, as are the operands; each operand is read at its own index.
    """

    targets: tuple[Var, ...]
    pack: Pack
    operands: tuple[Var, ...]
    transposed: bool = False
    bias: Pack | None = None

    @property
    def target(self) -> Var:
        return self.targets[0]


@dataclass(frozen=True)
class Total:
    """`target = Σ value` over the lattice and the batch, `target` without an index."""

    target: Var
    value: Node


@dataclass(frozen=True)
class OuterTotal:
    """`targets[k] = Σ left[k] @ right.T` over the lattice and the batch; the left sides are consecutive parts of a stack.

    Without a `right` it is the sum of the left sides themselves: the gradient of a bias.
    """

    targets: tuple[Var, ...]
    left: tuple[Var, ...]
    right: Var | None


@dataclass(frozen=True)
class Edge:
    """The gradient of a boundary value, returned as `key`: `value` at `steps`, `0` or `T + 1`, None along an axis."""

    border: Border
    key: str
    value: Node
    steps: tuple[Expr | None, ...]


@dataclass(frozen=True)
class Sweep:
    """A loop along `axis`, upwards (`direction` +1) or downwards.

    At step `s` the statement that computes `name` is at `s - direction * shifts.get(name, 0)`, if that is on the lattice.
    """

    axis: int
    direction: int
    body: tuple[Item, ...]
    shifts: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that is computed inside."""
        return tuple(n for item in self.body for n in names_of(item))


Item: TypeAlias = "Assign | Product | Sweep"
Gradient: TypeAlias = "Assign | Product | Total | OuterTotal | Edge"


def names_of(item: Item) -> tuple[str, ...]:
    """The names that an item computes."""
    return item.names if isinstance(item, Sweep) else tuple(t.name for t in item.targets)


def statements(items: tuple[Item, ...]) -> Iterator[Assign | Product]:
    """The statements inside and outside of sweeps."""
    for item in items:
        if isinstance(item, Sweep):
            yield from statements(item.body)
        else:
            yield item


@dataclass(frozen=True)
class Program:
    """The passes of a system.

    `forward` computes the states.  `backward` starts from the cotangents `v_ct` of the `seeds` (indexed arrays like inputs;
    one that was not given is zero) and computes the adjoints; `gradients` are what is returned.  Both are empty for a
    derived system, which runs forwards only.
    """

    system: System
    adjoint: System | None
    seeds: tuple[str, ...]
    arrays: Mapping[str, Array]
    stacks: tuple[Stack, ...]
    packs: tuple[Pack, ...]
    shared: Mapping[str, str]
    """`{"p": "i"}`: p is used up where i is computed, entry by entry, so that they may share their memory."""
    forward: tuple[Item, ...]
    backward: tuple[Item, ...] = ()
    gradients: tuple[Gradient, ...] = ()

    @cached_property
    def inside(self) -> frozenset[str]:
        """What the backward pass computes: zero beyond the lattice."""
        return frozenset(name for item in self.backward for name in names_of(item))
