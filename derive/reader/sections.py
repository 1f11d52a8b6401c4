"""The sections of a document: where a system begins, by its name or its equations, and what the author's habits are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from derive import expr
from derive.errors import DeriveError, SystemError_
from derive.expr import Node
from derive.reader import limits
from derive.reader.define import Definition, define
from derive.reader.directives import Directive
from derive.reader.document import Display, Document, Item
from derive.reader.habits import observed
from derive.reader.losses import Written
from derive.reader.resolve import Resolver
from derive.reader.scope import Meaning
from derive.reader.statements import flat, is_condition
from derive.reader.steering import Defined, State
from derive.reader.tree import Tree, Unread


class Sections:
    """A document and the state in which its next formula is read; `trees` are its displays, parsed or not."""

    def __init__(self, document: Document, trees: Mapping[int, Tree | Unread], later: Defined):
        self.document, self.trees = document, trees
        self.name = Path(document.name).stem if document.name != "<stdin>" else "document"
        self.later = later
        self.state = State(document.macros, later)
        self.at = 0
        self.settled: frozenset[int] = frozenset()

    def start(self) -> None:
        """A document that neither names nor defines a system may simply start with one: its longest run of equations.

        The directives that stand among them are followed with them, and `settled` says which these were.
        """
        if any(map(_starts_system, self.document.items)):
            return
        leading = self.leading()
        while leading:
            self.state = State(self.document.macros, self.later)
            ahead = [n for n in range(leading[-1]) if _shapes_system(self.document.items[n])]
            try:
                for n in ahead:
                    self.state.obey(self.document.items[n])  # type: ignore[arg-type]
                self.define([item for n in leading if isinstance(item := self.document.items[n], Display)])
                self.settled = frozenset(ahead)
                return
            except (DeriveError, Unread):
                leading.pop()
        self.state = State(self.document.macros, self.later)

    def leading(self) -> list[int]:
        """Where the displays stand that may be forward equations; behind them everything may be scalar."""
        found: list[int] = []
        for n, item in enumerate(self.document.items):
            ends = isinstance(item, Display) and not self.is_forward(item)
            if ends or len(found) == limits.MOST_LEADING or (found and _is_directive(item, "scalar")):
                break
            if isinstance(item, Display):
                found.append(n)
        return found

    def observe(self) -> None:
        """Takes on the habits that the formulas show from here to the next system."""
        section = takewhile(lambda item: not _starts_system(item), self.document.items[self.at + 1 :])
        items = [*self.document.items[self.at : self.at + 1], *section]
        trees = [self.trees[item.n] for item in items if isinstance(item, Display)]
        scope = self.state.scope
        constant = frozenset(name for name, m in scope.names.items() if m.indexed is not True and m.shape[1] != 1)
        habits = observed([tree for tree in trees if isinstance(tree, Tree)], scope.letters, constant)
        self.state.scope = replace(scope, habits=habits)

    def tree(self, display: Display) -> Tree:
        """Raises `Unread`."""
        found = self.trees[display.n]
        if isinstance(found, Unread):
            raise found
        return found

    def is_forward(self, display: Display) -> bool:
        """Whether a display has equations only, and no derivative in them."""
        tree = self.trees[display.n]
        if isinstance(tree, Unread) or any(t.names("partial", "nabla") or t.kind == "implication" for t in tree.walk()):
            return False
        return any(t.kind == "relation" and t.value[0] in ("=", ":=") for t in tree.children)

    def define(self, displays: Sequence[Display]) -> None:
        """The system whose forward equations these displays are.  Raises `DeriveError`; `Unread` for what is no formula."""
        written: list[Written] = []
        for display in displays:
            for statement in flat(self.tree(display)):
                if statement.kind == "relation" and statement.value[0] in ("=", ":=") and not is_condition(statement):
                    left, right, *further = statement.children
                    written.append(Written(left, right, display, tuple(further)))
        if not written:
            message = "there is no forward equation here, such as h_t = \\tanh(W h_{t-1} + U x_t)"
            raise SystemError_(message, displays[0].place(0))
        state = self.state
        loss_at = {"final": "last", "every": "every"}.get(state.loss or "")
        made = define(
            written,
            self.name,
            declared=state.declared,
            scalar=state.scalar,
            loss_at=loss_at,
            renamed=state.renamed(),
        )
        state.use(made.system)
        self.remember(made)
        self.observe()

    def remember(self, made: Definition) -> None:
        """What a definition calls things: split matrices, shorthands, unknown functions."""
        scope = self.state.scope
        names = {
            name: Meaning(expr.Block([scope.names[part].node for part in parts]), False)
            for name, parts in made.splits.items()
        }
        functions, losses = scope.functions | made.functions, made.losses | {"L"}
        scope = replace(scope.with_names(names), functions=functions, losses=losses, scalar=self.state.scalar)
        for name, tree in made.shorthands.items():
            for reading in Resolver(scope).readings(tree)[:1]:
                if isinstance(reading.value, Node):
                    scope = scope.with_names({name: Meaning(reading.value, True)})
        self.state.scope = scope


def _starts_system(item: Item) -> bool:
    return _is_directive(item, "system", "define")


def _shapes_system(item: Item) -> bool:
    return _is_directive(item, "declare", "scalar", "alias")


def _is_directive(item: Item, *words: str) -> bool:
    return isinstance(item, Directive) and item.word in words
