"""A document's formulas as claims, each with its place, its system and every reading that is well-shaped.

Directives change the state in which the next formulas are read: the system, declared shapes, aliases, what is held
constant, pinned readings.  A formula that is not understood becomes a claim that says why and where: nothing is skipped
in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from sympy import Basic, Integer, Tuple

from derive import expr
from derive.errors import DeriveError, Place, ShapeError, SystemError_
from derive.expr import Equals, Node, Var
from derive.notation import Notation
from derive.printing import latex, text
from derive.reader import document as documents
from derive.reader.define import Definition, Written, define
from derive.reader.directives import Directive
from derive.reader.document import Display, Document, Query
from derive.reader.names import decomposed, index_expression, part_word, spellings
from derive.reader.chains import _joined_name, joined
from derive.reader.parse import parse
from derive.reader.products import as_node, carries
from derive.reader.resolve import Resolver
from derive.reader.scope import LOSSES, Meaning, Scope
from derive.reader.tree import Tree, Unread
from derive.reader.values import ASSUMPTIONS, Cube, Function, Loss, Number, Reading, Unit, agree, choice
from derive.system import System

UNLIKELY = 4
"""A reading of a left side that costs so much is less likely than a new name."""

COMPARISONS = ("<=", ">=", "<", ">", "!=", "~")


@dataclass(frozen=True)
class Understood:
    """One way in which a claim can be read: the formula, and the choices that it takes."""

    formula: Basic
    choices: tuple[tuple[str, frozenset[str]], ...] = ()
    cost: int = 0

    @property
    def assumptions(self) -> tuple[str, ...]:
        """The choices as sentences; what is only notation is left out."""
        return tuple(
            ASSUMPTIONS[tag, value]
            for tag, allowed in self.choices
            if len(allowed) == 1
            for value in allowed
            if (tag, value) in ASSUMPTIONS
        )


@dataclass(frozen=True)
class Claim:
    """One claim of a document: `readings` are in the order of likelihood, none where `unread` says why.

    `kind`: defines (it introduces a name), equation, relation, implication, paths or words.  `expect` and `skip` are
    what directives said of it; `hold`, `unroll`, `loss` the state in which it stands.
    """

    n: int
    place: Place
    latex: str
    tree: Tree
    kind: str
    readings: tuple[Understood, ...] = ()
    unread: str | None = None
    unread_place: Place | None = None
    caret: str = ""
    system: System | None = None
    scope: Scope | None = field(default=None, compare=False, repr=False)
    continues: bool = False
    display: int = 0
    expect: tuple[str, str | None] | None = None
    skip: bool = False
    hold: tuple[str, ...] = ()
    unroll: int | None = None
    loss: str | None = None

    @property
    def formula(self) -> Basic | None:
        return self.readings[0].formula if self.readings else None

    def read_as(self, notation: Notation = Notation()) -> str:  # noqa: B008 - frozen
        """The claim printed back from what was understood, in Unicode; empty where it is unread."""
        return "" if self.formula is None else text(self.formula, notation)

    def read_as_latex(self, notation: Notation = Notation()) -> str:  # noqa: B008 - frozen
        return "" if self.formula is None else latex(self.formula, notation)


@dataclass(frozen=True)
class DocumentReading:
    """A document as it was understood: the systems that it speaks of, its claims, its questions."""

    document: Document
    claims: tuple[Claim, ...]
    systems: tuple[System, ...]
    queries: tuple[Query, ...] = ()

    def system(self, number: int = 1) -> System:
        """The system that the document defines or names, the first one where there are several.

        Raises `DeriveError` where there is none, with what to write.
        """
        name = self.document.name
        if not self.systems:
            raise DeriveError(
                f"{name} defines no system: put `<!-- derive: define -->` (in LaTeX `% derive: define`) before its forward "
                "equations, or `derive: system NAME` for one of the catalogue"
            )
        if not 1 <= number <= len(self.systems):
            raise DeriveError(f"{name} speaks of {len(self.systems)} systems, found {name}:{number}")
        return self.systems[number - 1]


def read(path: str | Path) -> DocumentReading:
    """The claims and systems of the document in a file; `-` is standard input.

    Raises `DeriveError` where the file, a directive or a definition can't be used.
    """
    return understand(documents.read(path))


def understand(document: Document) -> DocumentReading:
    return _Reader(document).read()


class _Reader:
    def __init__(self, document: Document):
        self.document = document
        self.name = Path(document.name).stem if document.name != "<stdin>" else "document"
        self.scope = Scope.empty()
        self.claims: list[Claim] = []
        self.systems: list[System] = []
        self.queries: list[Query] = []
        self.declared: dict[str, Any] = {}
        self.aliases: list[tuple[str, str, Place]] = []
        self.scalar = False
        self.defining: Place | None = None
        self.state: dict[str, Any] = {"hold": (), "unroll": None, "loss": None}
        self.pins: dict[str, frozenset[str]] = {}
        self.expect: tuple[str, str | None] | None = None
        self.skip = False
        self.later: dict[str, Meaning] = {}
        self.last_right: Tree | None = None

    def read(self) -> DocumentReading:
        """A name may be used before the line that defines it: then the document is read again, knowing all names."""
        first = self.once()
        if not self.later and any(c.unread for c in first.claims) and any(c.kind == "defines" for c in first.claims):
            again = _Reader(self.document)
            again.later = {n: m for c in first.claims if c.scope is not None for n, m in c.scope.names.items()}
            again.scope = replace(again.scope, later=again.later)
            return again.once()
        return first

    def once(self) -> DocumentReading:
        items = list(self.document.items)
        self.starts_with_system(items)
        for item in items:
            if isinstance(item, Directive):
                _DIRECTIVES[item.word](self, item)
            elif isinstance(item, Query):
                self.queries.append(item)
            else:
                self.display(item)
        if self.defining is not None:
            raise SystemError_("the directive 'define' is followed by no display formula", self.defining)
        return DocumentReading(self.document, tuple(self.claims), tuple(self.systems), tuple(self.queries))

    def starts_with_system(self, items: Sequence[Any]) -> None:
        """A document that neither names nor defines a system, and simply starts with one."""
        words = {i.word for i in items if isinstance(i, Directive)}
        if words & {"system", "define"}:
            return
        for item in items:
            if isinstance(item, Directive):
                if item.word in ("declare", "scalar", "alias"):
                    _DIRECTIVES[item.word](self, item)
        leading: list[Display] = []
        for display in (i for i in items if isinstance(i, Display)):
            if not self.is_forward(display):
                break
            leading.append(display)
        self.leading: list[Display] = []
        while leading:
            try:
                self.define(leading)
                self.leading = leading
                return
            except (DeriveError, Unread):
                leading = leading[:-1]

    def is_forward(self, display: Display) -> bool:
        """Whether a display has equations only, and no derivative in them."""
        try:
            tree = parse(display.text, self.document.macros)
        except Unread:
            return False
        if any(t.names("partial", "nabla") or t.kind in ("implication",) for t in tree.walk()):
            return False
        return any(t.kind == "relation" and t.value[0] in ("=", ":=") for t in tree.children)

    # --- directives

    def use(self, system: System) -> None:
        self.systems.append(system)
        pins = tuple(sorted(self.pins.items()))
        self.scope = replace(Scope.of(system), pins=pins, hold=self.state["hold"], later=self.later)
        self.declare_names()
        self.apply_aliases()

    def declare_names(self) -> None:
        self.scope = self.scope.with_names(
            {name: self.free(name, shape) for name, shape in self.declared.items() if name not in self.scope.names}
        )

    def free(self, name: str, shape: Any) -> Meaning:
        """A declared name: with or without an index, as it is used."""
        return Meaning(Var(name, (), self.scope.lattice, *shape), None)

    def apply_aliases(self) -> None:
        for left, right, place in self.aliases:
            theirs, ours = self.alias_name(left, place), self.alias_name(right, place, typed=True)
            if self.scope.is_loss(ours):
                self.scope = replace(self.scope, losses=self.scope.losses | {theirs})
                continue
            meaning = self.scope.lookup(ours)
            if meaning is None and theirs in self.scope.names:
                # Either side may be the document's name.
                theirs, ours, meaning = ours, theirs, self.scope.lookup(theirs)
            if meaning is None:
                if self.scope.system is not None:
                    from derive.errors import did_you_mean

                    near = did_you_mean(ours, self.scope.names)
                    raise SystemError_(f"alias {left} = {right}: {self.scope.system.name} has no {ours}{near}", place)
                continue
            self.scope = self.scope.with_names({theirs: meaning})

    def alias_name(self, written: str, place: Place, typed: bool = False) -> str:
        """A name as it is typed, every script a part of it but the lattice's own letter."""
        if typed and written.isidentifier():
            return written
        try:
            tree = parse(written, self.document.macros)
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

    # --- systems

    def define(self, displays: Sequence[Display]) -> None:
        written: list[Written] = []
        for display in displays:
            tree = parse(display.text, self.document.macros)
            for statement in _flat(tree):
                if statement.kind == "relation" and statement.value[0] in ("=", ":=") and not _is_condition(statement):
                    written.append(Written(statement.children[0], statement.children[1], display, statement.value[0]))
        if not written:
            message = "there is no forward equation here, such as h_t = \\tanh(W h_{t-1} + U x_t)"
            raise SystemError_(message, displays[0].place(0))
        declared = {n: s for n, s in self.declared.items()}
        loss_at = {"final": "last", "every": "every"}.get(self.state["loss"] or "")
        renamed = {
            self.alias_name(left, place): self.alias_name(right, place, True) for left, right, place in self.aliases
        }
        made = define(written, self.name, declared=declared, scalar=self.scalar, loss_at=loss_at, renamed=renamed)
        self.use(made.system)
        self.remember(made)

    def remember(self, made: Definition) -> None:
        """What a definition calls things: split matrices, shorthands, unknown functions."""
        names: dict[str, Meaning] = {}
        for name, parts in made.splits.items():
            cells = [self.scope.names[p].node for p in parts]
            names[name] = Meaning(expr.Block(cells), False)
        self.scope = replace(
            self.scope.with_names(names),
            functions=self.scope.functions | made.functions,
            losses=made.losses | {"L"},
            scalar=self.scalar,
        )
        for name, tree in made.shorthands.items():
            for reading in Resolver(self.scope).readings(tree)[:1]:
                if isinstance(reading.value, Node):
                    self.scope = self.scope.with_names({name: Meaning(reading.value, True)})

    # --- displays

    def display(self, display: Display) -> None:
        expected, self.expect = self.expect, None
        skipped, self.skip = self.skip, False
        try:
            tree = parse(display.text, self.document.macros)
        except Unread as error:
            if self.defining is not None:
                raise _placed(error, display) from None
            empty = Tree("statements", None, (), error.span)
            self.append(display, empty, "equation", (), (str(error), error.span), expected, skipped)
            return
        if self.defining is not None:
            self.defining = None
            try:
                self.define([display])
            except Unread as error:
                raise _placed(error, display) from None
        for statement in self.statements(tree, display.text):
            self.statement(display, statement, expected, skipped)

    def statements(self, tree: Tree, text: str) -> Iterator[Tree]:
        """Relations and implications; what only says where they hold is no claim."""
        for statement in _hypotheses(list(_flat(tree)), text):
            if statement.kind in ("words", "empty") or any(t.names("forall") for t in statement.walk()):
                continue
            if _is_condition(statement) or statement.kind == "symbol":
                continue
            if statement.kind in ("name", "number", "script", "group", "accent") and len(tree.children) > 1:
                continue
            yield statement

    def statement(self, display: Display, tree: Tree, expected: tuple[str, str | None] | None, skipped: bool) -> None:
        if tree.kind == "implication":
            self.implication(display, tree, expected, skipped)
        elif tree.kind == "relation" and "->" in tree.value and set(tree.value) == {"->"}:
            self.path(display, tree, expected, skipped)
        elif tree.kind == "relation":
            self.relation(display, tree, expected, skipped)
        else:
            readings = Resolver(self.scope)
            message = "a formula that claims something has a relation in it, such as ="
            found = readings.readings(tree)
            unread = (message, tree.span) if found else _trouble(readings, tree)
            self.append(display, tree, "words", (), unread, expected, skipped)

    def relation(self, display: Display, tree: Tree, expected: tuple[str, str | None] | None, skipped: bool) -> None:
        sides = list(tree.children)
        continues = sides[0].kind == "empty"
        if continues and self.last_right is not None:
            sides[0] = self.last_right
        for sign, left, right in zip(tree.value, sides, sides[1:], strict=False):
            pair = Tree(
                "relation", (sign,), (left, right), (tree.span[0] if left is sides[0] else left.span[0], right.span[1])
            )
            self.one(display, pair, expected, skipped, continues or left is not sides[0])
            self.last_right = right

    def one(
        self, display: Display, tree: Tree, expected: tuple[str, str | None] | None, skipped: bool, continues: bool
    ) -> None:
        """One relation between two sides."""
        (sign,), (left, right) = tree.value, tree.children
        if left.kind == "empty":
            unread = ("this line begins with its relation, and no line before it has a right side", tree.span)
            self.append(display, tree, "equation", (), unread, expected, skipped)
            return
        defined = self.introduces(left, right, sign) if not continues and sign in ("=", ":=") else None
        if defined is not None:
            self.append(display, tree, "defines", defined, None, expected, skipped)
            return
        resolver = self.resolver(tree)
        found, unread = relate(resolver, sign, left, right, tree)
        if sign == "+=":
            found = [replace(u, formula=self.accumulated(u.formula)) for u in found]
        kind = "equation" if sign in ("=", ":=", "+=", "-=") else "relation"
        self.append(display, tree, kind, found, unread, expected, skipped, continues)

    def resolver(self, tree: Tree) -> Resolver:
        """A resolver for one formula, which knows the letters that stand in its indices."""
        resolver = Resolver(self.scope)
        resolver.indices = _letters(tree, self.scope)
        return resolver

    def accumulated(self, formula: Basic) -> Basic:
        """`dW += dz_t x_t^T` is the sum over the lattice; at an index it adds to what is there."""
        if isinstance(formula, expr.Relation) and isinstance(formula.lhs, Var) and not formula.lhs.index:
            ranges = [(i, Integer(1), n) for i, n in zip(self.scope.lattice, self.scope.lengths, strict=True)]
            return Equals(formula.lhs, expr.Sum.build(formula.rhs, *ranges))
        return formula

    def introduces(self, left: Tree, right: Tree, sign: str) -> tuple[Understood, ...] | None:
        """A new name on the left side: bound from here on."""
        spelled = decomposed(left)
        if spelled is None and left.kind == "chain":
            joined_left = joined(Resolver(self.scope), list(left.value), list(left.children))
            letters = [f for f in left.children]
            if set(left.value) == {""} and all(f.kind == "name" for f in letters[:-1]) and len(joined_left[1]) > 1:
                spelled = decomposed(_joined_name(letters))
                known = Resolver(self.scope).readings(left)
                if (
                    known
                    or spelled is None
                    or not any(
                        p.tree.kind == "name" and len(str(p.tree.value)) > 1 or p.tree.kind == "chain"
                        for p in spelled[1]
                    )
                ):
                    return None
        if spelled is None:
            return None
        known = Resolver(replace(self.scope, later={})).readings(left) if left.kind != "chain" else []
        known = [r for r in known if r.cost < UNLIKELY]
        base, parts = spelled
        if any(not isinstance(r.value, Loss) for r in known) or (known and base == "L"):
            return None
        if self.scope.function(base) is not None or base in ("partial", "nabla", "sum", "prod"):
            return None
        lattice = self.scope.lattice
        for spelling in spellings(base, parts, self.scope.letters):
            if spelling.after or spelling.name in self.scope.names:
                continue
            own = [i for i in spelling.index if i.free_symbols & set(lattice)]
            if spelling.index and len(own) != len(spelling.index):
                continue
            if len(spelling.index) not in (0, len(lattice)):
                continue
            return self.bind(spelling, left, right)
        return None

    def bind(self, spelling: Any, left: Tree, right: Tree) -> tuple[Understood, ...] | None:
        """The name on the left bound to each value of the right; the first one is what it means from here on."""
        lattice = self.scope.lattice
        resolver = self.resolver(Tree("list", None, (left, right), left.span))
        found = []
        for reading in resolver.bare(resolver.readings(right)):
            value = resolver.losses(reading.value)
            if isinstance(value, Number):
                value = expr.number(value.value)
            if not isinstance(value, Node):
                continue
            index = tuple(lattice) if spelling.index else ()
            target = Var(spelling.name, (), index, *value.shape)
            at = Var(spelling.name, (), spelling.index, *value.shape)
            if not found and self.scope.is_loss(spelling.name.partition("_")[0]) and expr.is_scalar(value):
                return None
            if not found:
                self.scope = self.scope.with_names({spelling.name: Meaning(target, bool(index))})
            found.append(Understood(Equals(at, value), reading.choices, reading.cost))
        return tuple(found) or None

    def implication(self, display: Display, tree: Tree, expected: tuple[str, str | None] | None, skipped: bool) -> None:
        """`z_t = 1 ⇒ J = I`."""
        resolver = Resolver(self.scope)
        parts: list[list[Understood]] = []
        for child in tree.children:
            found, unread = self.part(resolver, child)
            if unread is not None:
                self.append(display, tree, "implication", (), unread, expected, skipped)
                return
            parts.append(found)
        formula = parts[0][0]
        for after in parts[1:]:
            choices = agree(formula.choices, after[0].choices) or ()
            formula = Understood(expr.Implies(formula.formula, after[0].formula), choices, formula.cost + after[0].cost)
        self.append(display, tree, "implication", (formula,), None, expected, skipped)

    def part(self, resolver: Resolver, tree: Tree) -> tuple[list[Understood], tuple[str, tuple[int, int]] | None]:
        if tree.kind == "words":
            return [Understood(expr.Words(str(tree.value).strip()))], None
        if tree.kind == "list":
            parts = [self.part(resolver, child) for child in tree.children]
            wrong = next((unread for _, unread in parts if unread is not None), None)
            if wrong is not None:
                return [], wrong
            return [Understood(Tuple(*(found[0].formula for found, _ in parts)))], None
        if tree.kind != "relation":
            return [], _trouble(resolver, tree)
        made: list[Understood] = []
        for sign, left, right in zip(tree.value, tree.children, tree.children[1:], strict=False):
            found, unread = relate(resolver, sign, left, right, tree)
            if unread is not None:
                return [], unread
            made.append(found[0])
        return made[-1:], None

    def path(self, display: Display, tree: Tree, expected: tuple[str, str | None] | None, skipped: bool) -> None:
        resolver = Resolver(self.scope)
        variables = []
        for child in tree.children:
            values = [r.value for r in resolver.readings(child) if isinstance(r.value, Var)]
            if not values:
                self.append(display, tree, "paths", (), _trouble(resolver, child), expected, skipped)
                return
            variables.append(values[0])
        self.append(display, tree, "paths", (Understood(expr.Path(*variables)),), None, expected, skipped)

    def append(
        self,
        display: Display,
        tree: Tree,
        kind: str,
        readings: Iterable[Understood],
        unread: tuple[str, tuple[int, int]] | None,
        expected: tuple[str, str | None] | None,
        skipped: bool,
        continues: bool = False,
    ) -> None:
        start, end = tree.span if tree.span[1] > tree.span[0] else (tree.span[0], tree.span[0] + 1)
        readings = tuple(readings)
        self.claims.append(
            Claim(
                n=len(self.claims) + 1,
                place=display.place(start),
                latex=display.text[start:end].strip(),
                tree=tree,
                kind=kind,
                readings=readings,
                unread=unread[0] if unread else None if readings else "this is not understood",
                unread_place=display.place(unread[1][0]) if unread else None,
                caret=_caret(display, unread[1]) if unread else "",
                system=self.scope.system,
                scope=self.scope,
                continues=continues,
                display=display.n,
                expect=expected,
                skip=skipped,
                hold=self.state["hold"],
                unroll=self.state["unroll"],
                loss=self.state["loss"],
            )
        )


def relate(
    resolver: Resolver, sign: str, left: Tree, right: Tree, tree: Tree
) -> tuple[list[Understood], tuple[str, tuple[int, int]] | None]:
    """Every reading of `left sign right`, or why there is none."""
    lefts = resolver.readings(left)
    rights = resolver.readings(right) if lefts else []
    if not lefts or not rights:
        return [], _trouble(resolver, left if not lefts else right)
    made: dict[Any, Understood] = {}
    for a in lefts:
        for b in rights:
            choices = agree(a.choices, b.choices)
            if choices is None:
                continue
            for formula, extra, cost in _related(resolver, sign, a.value, b.value):
                both = agree(choices, extra)
                if both is not None:
                    understood = Understood(formula, both, a.cost + b.cost + cost)
                    key = formula
                    if key not in made or made[key].cost > understood.cost:
                        made[key] = understood
    if not made:
        return [], _sides(resolver, left, right, tree)
    return sorted(made.values(), key=lambda u: u.cost), None


def _sides(resolver: Resolver, left: Tree, right: Tree, tree: Tree) -> tuple[str, tuple[int, int]]:
    a, b = resolver.readings(left)[0].value, resolver.readings(right)[0].value
    if isinstance(a, Node) and isinstance(b, Node) and a.shape != b.shape:
        shapes = f"{expr.show_shape(a.shape)} and {expr.show_shape(b.shape)}"
        columns = f"(columns {left.span[0] + 1} and {right.span[0] + 1} of the formula)"
        return f"the two sides have different shapes, {shapes} {columns}", right.span
    return "the two sides do not go together", tree.span


def _related(resolver: Resolver, sign: str, a: Any, b: Any) -> Iterator[tuple[Basic, Any, int]]:
    """The formulas that two values and a sign make."""
    a, b = resolver.losses(a), resolver.losses(b)
    if isinstance(a, Function) or isinstance(b, Function):
        shape = next((v.shape for v in (a, b) if isinstance(v, Node)), expr.SCALAR)
        argument = Var("u", (), (), *shape)
        tag = choice("function", "argument")
        if isinstance(a, Function):
            a = expr.apply(a.name, argument, order=a.order)
        if isinstance(b, Function):
            b = expr.apply(b.name, argument, order=b.order)
        yield from ((f, tag, c + 1) for f, _, c in _related(resolver, sign, a, b))
        return
    if isinstance(a, Cube) and isinstance(b, Cube):
        if (a.rows, a.columns) == (b.rows, b.columns):
            anything = Var("v", (), (), a.rows, a.columns)
            yield _formula(sign, a.pull(anything), b.pull(anything)), (), 0
        return
    if isinstance(a, Cube) or isinstance(b, Cube):
        return
    shape = next((v.shape for v in (a, b) if isinstance(v, Node)), expr.SCALAR)
    if isinstance(a, Node) and isinstance(b, Node):
        a, b = _zeros(a, b.shape), _zeros(b, a.shape)
        if a.shape == b.shape:
            yield _formula(sign, a, b), (), 0
        elif sign in COMPARISONS or expr.is_scalar(a) or expr.is_scalar(b):
            yield from _spread(sign, a, b)
        elif a.shape == (b.shape[0], b.shape[0]) and b.shape[1] == 1 and not carries(b):
            yield _formula(sign, a, expr.diag(b)), choice("vector", "diagonal"), 5
        elif a.shape == (b.shape[1], b.shape[0]) and 1 in a.shape:
            yield _formula(sign, a, expr.transpose(b)), choice("layout", "numerator", "denominator"), 7
        return
    if isinstance(a, (Node, Number, Unit)) and isinstance(b, (Node, Number, Unit)):
        sides = [_shaped(v, shape) for v in (a, b)]
        if all(s is not None for s in sides):
            yield _formula(sign, *sides), (), 0  # type: ignore[arg-type]


def _letters(tree: Tree, scope: Scope) -> frozenset[Any]:
    """The letters that stand in scripts and brackets as indices, where they are no names."""
    found: set[Any] = set()
    for node in tree.walk():
        if node.kind != "script":
            continue
        for script in node.children[1:]:
            for inside in script.children:
                index = index_expression(inside, scope.letters)
                parts = [index] if index is not None else [index_expression(c, scope.letters) for c in inside.walk()]
                for part in parts:
                    found |= part.free_symbols if part is not None else set()
    return frozenset(s for s in found if str(s) not in scope.names)


def _zeros(node: Node, shape: Any) -> Node:
    """A matrix of plain zeros in the shape of what it is compared with."""
    cells = [cell for row in node.args for cell in row] if isinstance(node, expr.Block) else []
    return expr.Zero(*shape) if cells and all(isinstance(c, expr.Zero) for c in cells) else node


def _shaped(value: Any, shape: Any) -> Node | None:
    node = as_node(value, shape)
    if node is None and isinstance(value, Number):
        square = shape[0] == shape[1] and shape != expr.SCALAR
        return expr.scale(value.value, expr.Identity(shape[0])) if square else expr.number(value.value, shape)
    if node is None and isinstance(value, Unit):
        return expr.Ones(*shape)
    return node


def _spread(sign: str, a: Node, b: Node) -> Iterator[tuple[Basic, Any, int]]:
    if expr.is_scalar(a) != expr.is_scalar(b):
        shape = b.shape if expr.is_scalar(a) else a.shape
        if 1 in shape:
            yield _formula(sign, expr.as_node(a, shape), expr.as_node(b, shape)), (), 2


def _formula(sign: str, a: Node, b: Node) -> Basic:
    if sign in ("=", ":="):
        return Equals(a, b)
    return expr.Relation(sign, a, b)


def _trouble(resolver: Resolver, tree: Tree) -> tuple[str, tuple[int, int]]:
    error = resolver.unread(tree)
    return str(error), error.span


def _caret(display: Display, span: tuple[int, int]) -> str:
    """The line of the formula with a caret under the place."""
    text_ = display.text
    start = min(span[0], max(len(text_) - 1, 0))
    begin = text_.rfind("\n", 0, start) + 1
    end = text_.find("\n", start)
    line = text_[begin : end if end >= 0 else len(text_)]
    width = max(1, min(span[1], begin + len(line)) - start)
    return f"{line}\n{' ' * (start - begin)}{'^' * width}"


def _placed(error: Unread, display: Display) -> DeriveError:
    return SystemError_(str(error), display.place(error.span[0]))


def _flat(tree: Tree) -> Iterator[Tree]:
    for child in tree.children:
        if child.kind == "statements":
            yield from _flat(child)
        elif child.kind == "cases" and all(
            row.children and row.children[0].kind == "relation" for row in child.children
        ):
            # A brace before several equations, not a case distinction.
            yield from (cell for row in child.children for cell in row.children if cell.kind != "empty")
        elif child.kind == "group" and child.children and all(c.kind == "relation" for c in child.children):
            if len(child.children) > 1 or str(child.value) != "(":
                yield from child.children
        else:
            yield child


def _hypotheses(statements: list[Tree], text: str) -> Iterator[Tree]:
    """`a = b, c = d ⇒ e`: relations that only commas part from an implication are its hypotheses too."""
    waiting: list[Tree] = []
    for here, after in zip_longest(statements, statements[1:]):
        between = text[here.span[1] : after.span[0]] if after is not None else "end"
        goes_on = not between.replace("\\ ", "").replace("\\,", "").replace("\\;", "").strip(" ,~}\n")
        if here.kind == "relation" and goes_on and "," in between:
            waiting.append(here)
        elif here.kind == "implication" and waiting and here.children[0].kind == "relation":
            joint = Tree("list", None, (*waiting, here.children[0]), (waiting[0].span[0], here.children[0].span[1]))
            yield Tree("implication", here.value, (joint, *here.children[1:]), (waiting[0].span[0], here.span[1]))
            waiting = []
        else:
            yield from waiting
            waiting = []
            yield here
    yield from waiting


def _is_condition(tree: Tree) -> bool:
    """`t = 1`, `k < t`, `t \\ge 2`: says where a claim holds."""
    if tree.kind == "relation":
        return (
            all(index_expression(c) is not None or (c.kind == "symbol") for c in tree.children)
            and tree.children[0].kind in ("name", "number", "sum")
            and not any(c.kind == "name" and str(c.value) in LOSSES for c in tree.children)
        )
    return False


# --- directives -------------------------------------------------------------------------------------------------------


def _system(reader: _Reader, item: Directive) -> None:
    from derive.catalogue import named

    try:
        system = named(item.value)
    except DeriveError as error:
        raise SystemError_(str(error), item.place) from None
    reader.use(system)


def _define(reader: _Reader, item: Directive) -> None:
    reader.defining = item.place


def _declare(reader: _Reader, item: Directive) -> None:
    if reader.scalar and any(shape != expr.SCALAR for shape in item.value.values()):
        reader.scalar = False  # a dimension that is declared ends the stretch in which all are 1
    reader.declared.update(item.value)
    system = reader.scope.system
    changed = {
        name: reader.free(name, shape)
        for name, shape in item.value.items()
        if system is None or name not in system.variables
    }
    reader.scope = reader.scope.with_names(changed)


def _alias(reader: _Reader, item: Directive) -> None:
    new = [(left, right, item.place) for left, right in item.value]
    reader.aliases.extend(new)
    if reader.scope.system is not None:
        reader.apply_aliases()


def _hold(reader: _Reader, item: Directive) -> None:
    reader.state["hold"] = tuple(item.value)
    reader.scope = replace(reader.scope, hold=tuple(item.value))


def _scalar(reader: _Reader, item: Directive) -> None:
    reader.scalar = True
    reader.scope = replace(reader.scope, scalar=True)


def _layout(reader: _Reader, item: Directive) -> None:
    reader.pin("layout", item.value)


def _order(reader: _Reader, item: Directive) -> None:
    reader.pin("order", item.value)


def _loss(reader: _Reader, item: Directive) -> None:
    reader.state["loss"] = item.value


def _unroll(reader: _Reader, item: Directive) -> None:
    reader.state["unroll"] = item.value


def _expect(reader: _Reader, item: Directive) -> None:
    reader.expect = item.value


def _skip(reader: _Reader, item: Directive) -> None:
    reader.skip = True


_DIRECTIVES: dict[str, Callable[[_Reader, Directive], None]] = {
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

__all__ = ["Claim", "Loss", "Reading", "DocumentReading", "ShapeError", "Understood", "latex", "read", "understand"]
