"""The state in which formulas are read, and how directives change it: `DIRECTIVES` has a row for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from derive import expr
from derive.errors import DeriveError, Place, SystemError_, did_you_mean
from derive.expr import Shape, Var
from derive.reader.directives import Directive
from derive.reader.macros import Macro
from derive.reader.names import decomposed, index_expression, part_word
from derive.reader.parse import parse
from derive.reader.scope import Meaning, Scope
from derive.reader.tree import Unread
from derive.system import System

Defined: TypeAlias = dict[int, dict[str, Meaning]]
"""The names that a document defines, after each number of systems."""


@dataclass
class Alias:
    """The document's name = the system's.  `fresh` until a formula is read: a system that starts meanwhile takes it on."""

    left: str
    right: str
    place: Place
    fresh: bool = True
    resolved: bool = False


@dataclass
class State:
    """What the directives so far have said: the scope of the next formula, and what is remembered for the next system.

    `defining`: where a `define` stands whose formulas are still to come.  `expect` and `skip` are about the next display.
    """

    macros: Mapping[str, Macro]
    later: Defined
    scope: Scope = field(default_factory=Scope.empty)
    systems: list[System] = field(default_factory=list)
    declared: dict[str, Shape] = field(default_factory=dict)
    aliases: list[Alias] = field(default_factory=list)
    pins: dict[str, frozenset[str]] = field(default_factory=dict)
    scalar: bool = False
    defining: Place | None = None
    hold: tuple[str, ...] = ()
    unroll: int | None = None
    loss: str | None = None
    expect: tuple[str, str | None] | None = None
    skip: bool = False

    def __post_init__(self) -> None:
        self.scope = replace(self.scope, later=self.later_names())

    def later_names(self) -> dict[str, Meaning]:
        return self.later.get(len(self.systems), {})

    def next_display(self) -> tuple[tuple[str, str | None] | None, bool]:
        """What `expect` and `skip` say of the display that follows; said of that one only.

        Raises `SystemError_` for an alias of what the system that is in force does not have.
        """
        if self.defining is None:
            for alias in self.aliases:
                alias.fresh = False
                self.check(alias)
        said = self.expect, self.skip
        self.expect, self.skip = None, False
        return said

    def obey(self, item: Directive) -> None:
        """Raises `SystemError_` with the place where the directive can't be followed."""
        DIRECTIVES[item.word](self, item)

    def use(self, system: System) -> None:
        """Another system is spoken of: aliases of the one before end, and so does what is held constant and only that one has."""
        if self.systems:
            self.hold = tuple(name for name in self.hold if name in system.variables)
        self.systems.append(system)
        self.aliases = [alias for alias in self.aliases if alias.fresh]
        pins = tuple(sorted(self.pins.items()))
        self.scope = replace(
            Scope.of(system), pins=pins, hold=self.hold, later=self.later_names(), unrolled=self.unroll is not None
        )
        self.declare_names()
        self.apply_aliases()

    def settle_hold(self) -> None:
        """What is held constant goes by the system's names, whatever the document's are."""
        found = ((name, self.scope.lookup(name)) for name in self.hold)
        held = tuple(m.node.name if m is not None and isinstance(m.node, Var) else name for name, m in found)
        if held != self.hold:
            self.hold, self.scope = held, replace(self.scope, hold=held)

    def declare_names(self) -> None:
        self.scope = self.scope.with_names(
            {name: self.free(name, shape) for name, shape in self.declared.items() if name not in self.scope.names}
        )

    def free(self, name: str, shape: Shape) -> Meaning:
        """A declared name: with or without an index, as it is used."""
        return Meaning(Var(name, (), self.scope.lattice, *shape), None)

    def apply_aliases(self) -> None:
        for alias in self.aliases:
            theirs, ours = self.name(alias.left, alias.place), self.name(alias.right, alias.place, typed=True)
            if self.scope.is_loss(ours):
                self.scope = replace(self.scope, losses=self.scope.losses | {theirs})
                alias.resolved = True
                continue
            meaning = self.scope.lookup(ours)
            if meaning is None and theirs in self.scope.names:
                # Either side may be the document's name.
                theirs, ours, meaning = ours, theirs, self.scope.lookup(theirs)
            if meaning is not None:
                self.scope = self.scope.with_names({theirs: meaning})
                alias.resolved = True

    def check(self, alias: Alias) -> None:
        system = self.scope.system
        if system is not None and not alias.resolved:
            near = did_you_mean(self.name(alias.right, alias.place, typed=True), self.scope.names)
            message = f"alias {alias.left} = {alias.right}: {system.name} has no {alias.right}{near}"
            raise SystemError_(message, alias.place)

    def renamed(self) -> dict[str, str]:
        """The names of a definition that is still to come -> what its system is to call them."""
        fresh = (alias for alias in self.aliases if alias.fresh)
        return {self.name(a.left, a.place): self.name(a.right, a.place, typed=True) for a in fresh}

    def name(self, written: str, place: Place, typed: bool = False) -> str:
        """A name as it is typed, every script a part of it but the lattice's own letter."""
        if typed and written.isidentifier():
            return written
        try:
            tree = parse(written, self.macros)
        except Unread as error:
            raise SystemError_(f"alias {written}: {error}", place) from None
        child = tree.children[0] if len(tree.children) == 1 else tree
        spelled = decomposed(child)
        if spelled is None:
            word = part_word(child)
            if word is not None:
                return word
            raise SystemError_(f"alias {written}: this is no name", place)
        base, parts = spelled
        name = base
        for part in parts:
            index = index_expression(part.tree, self.scope.letters)
            if index is not None and index.free_symbols and index.free_symbols <= {*self.scope.lattice}:
                continue
            word = "prime" if part.where == "prime" else part_word(part.tree)
            if word is None:
                raise SystemError_(f"alias {written}: this is no name", place)
            name = f"{name}_{word}"
        return name

    def pin(self, tag: str, *values: str) -> None:
        self.pins[tag] = frozenset(values)
        self.scope = replace(self.scope, pins=tuple(sorted(self.pins.items())))


def _system(state: State, item: Directive) -> None:
    from derive.catalogue import named

    try:
        system = named(item.value)
    except DeriveError as error:
        raise SystemError_(str(error), item.place) from None
    state.use(system)


def _define(state: State, item: Directive) -> None:
    state.defining = item.place


def _declare(state: State, item: Directive) -> None:
    if state.scalar and any(shape != expr.SCALAR for shape in item.value.values()):
        state.scalar = False  # a dimension that is declared ends the stretch in which all are 1
    state.declared.update(item.value)
    system = state.scope.system
    changed = {
        name: state.free(name, shape)
        for name, shape in item.value.items()
        if system is None or name not in system.variables
    }
    state.scope = state.scope.with_names(changed)


def _alias(state: State, item: Directive) -> None:
    state.aliases.extend(Alias(left, right, item.place) for left, right in item.value)
    if state.scope.system is not None:
        state.apply_aliases()


def _hold(state: State, item: Directive) -> None:
    state.hold = tuple(item.value)
    state.scope = replace(state.scope, hold=tuple(item.value))


def _scalar(state: State, item: Directive) -> None:
    """From here on every size is 1, that of what was declared too."""
    state.scalar = True
    state.declared = dict.fromkeys(state.declared, expr.SCALAR)
    free = {name: state.free(name, expr.SCALAR) for name, m in state.scope.names.items() if m.indexed is None}
    state.scope = replace(state.scope.with_names(free), scalar=True)


def _layout(state: State, item: Directive) -> None:
    state.pin("layout", item.value)


def _order(state: State, item: Directive) -> None:
    state.pin("order", item.value)


def _loss(state: State, item: Directive) -> None:
    state.loss = item.value


def _unroll(state: State, item: Directive) -> None:
    state.unroll = item.value
    state.scope = replace(state.scope, unrolled=True)


def _expect(state: State, item: Directive) -> None:
    state.expect = item.value


def _skip(state: State, item: Directive) -> None:
    state.skip = True


DIRECTIVES: dict[str, Callable[[State, Directive], None]] = {
    "system": _system,
    "define": _define,
    "declare": _declare,
    "alias": _alias,
    "hold": _hold,
    "scalar": _scalar,
    "layout": _layout,
    "order": _order,
    "loss": _loss,
    "unroll": _unroll,
    "expect": _expect,
    "skip": _skip,
}
