"""A document is understood: its formulas become claims, its forward equations systems.

Directives change the state in which the next formulas are read (`derive.reader.steering`).  A formula that is not
understood becomes a claim that says why and where: nothing is skipped in silence.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from sympy import Basic, Integer, Tuple

from derive import expr
from derive.errors import SystemError_
from derive.expr import Equals, Node, Var
from derive.reader import document as documents
from derive.reader import limits
from derive.reader.claims import Asked, Claim, DocumentReading
from derive.reader.clashes import clash_of, transposed
from derive.reader.directives import Directive
from derive.reader.document import Display, Document, Query
from derive.reader.implications import side_of
from derive.reader.names import Spelling
from derive.reader.new_names import dummy, new_name
from derive.reader.parse import parse
from derive.reader.relations import TooMany, Trouble, Understood, letters_in, paths_of, relate, trouble
from derive.reader.resolve import Resolver
from derive.reader.scope import Meaning
from derive.reader.sections import Sections
from derive.reader.statements import claims_of, conditions_of, denied, flat, is_condition, said, speaks
from derive.reader.steering import Defined
from derive.reader.tree import Tree, Unread
from derive.reader.values import Number, Unit, agree
from derive.reader.variants import variants

NO_RELATION = "a formula that claims something has a relation in it, such as ="
EQUATIONS = ("=", ":=", "+=", "-=")


def read(path: str | Path) -> DocumentReading:
    """The claims and systems of the document in a file; `-` is standard input.

    Raises `DeriveError` where the file, a directive or a definition can't be used.
    """
    return understand(documents.read(path))


def understand(document: Document) -> DocumentReading:
    """The document as it is meant.  Raises `DeriveError` where a directive or a definition can't be used.

    A name may be used before the line that defines it: then the document is read again, knowing all names.
    """
    trees = {display.n: _parsed(display, document) for display in document.displays}
    reader = _Reader(document, trees, {})
    found = reader.read()
    for _ in range(limits.MOST_PASSES):
        new = {n: d.keys() for n, d in reader.defined.items()} != {n: d.keys() for n, d in reader.later.items()}
        if not new or not any(claim.unread for claim in found.claims):
            break
        reader = _Reader(document, trees, reader.defined)
        found = reader.read()
    return found


def _parsed(display: Display, document: Document) -> Tree | Unread:
    try:
        # A macro that is defined further down only is known too.
        return parse(display.text, ChainMap(dict(display.macros), document.macros))
    except Unread as error:
        return error


def _reads_itself(formula: Basic) -> bool:
    return isinstance(formula, Equals) and isinstance(formula.lhs, Var) and formula.lhs in expr.variables(formula.rhs)


@dataclass(frozen=True)
class _Here:
    """The display that is being read, and what the directives before it say of its claims."""

    display: Display
    expect: tuple[str, str | None] | None
    skip: bool
    where: tuple[Basic, ...] = ()


class _Reader(Sections):
    """One pass over a document; `later` are the names that it defines further down, as an earlier pass found them."""

    def __init__(self, document: Document, trees: Mapping[int, Tree | Unread], later: Defined):
        super().__init__(document, trees, later)
        self.defined: Defined = {}
        self.claims: list[Claim] = []
        self.queries: list[Asked] = []
        self.last_right: Tree | None = None

    def read(self) -> DocumentReading:
        self.start()
        self.observe()
        for n, item in enumerate(self.document.items):
            self.at = n
            if isinstance(item, Directive):
                if n not in self.settled:
                    self.state.obey(item)
                if item.word == "system":
                    self.observe()
            elif isinstance(item, Query):
                self.queries.append(Asked(item, self.state.scope.system))
            else:
                self.display(item)
        if self.state.defining is not None:
            raise SystemError_("the directive 'define' is followed by no display formula", self.state.defining)
        return DocumentReading(self.document, tuple(self.claims), tuple(self.state.systems), tuple(self.queries))

    # --- displays

    def display(self, display: Display) -> None:
        here = _Here(display, *self.state.next_display())
        defining, self.state.defining = self.state.defining, None
        self.state.settle_hold()
        try:
            tree = self.tree(display)
            if defining is not None:
                self.define([display])
        except Unread as error:
            if defining is not None:
                raise SystemError_(str(error), display.place(error.span[0])) from None
            whole = Tree("statements", None, (), (0, len(display.text)))
            self.append(here, whole, "equation", (), (str(error), error.span))
            return
        before, known = len(self.claims), self.state.scope.names.keys() - set(self.state.scope.letters)
        where = conditions_of(tree, display.excerpt, known, lambda said: self.supposed(here, said))
        here = replace(here, where=tuple(where))
        if speaks(tree):
            self.append(here, tree, "words", (Understood(expr.Words(said(tree, display.excerpt))),), None)
            return
        words = denied(tree)
        for statement in claims_of(tree, display.text, known):
            if words is None:
                self.statement(here, statement)
            else:
                message = f"the words '{words}' may say the opposite of this formula"
                self.append(here, statement, "words", (), (message, statement.span))
        if len(self.claims) == before:
            self.no_claim(here, tree)

    def supposed(self, here: _Here, tree: Tree) -> list[Basic]:
        r"""`\text{if } z_t = z_{t-1} = 1`: the equations that a condition says; none where one is not read."""
        found: list[Basic] = []
        for sign, (left, right) in zip(tree.value, pairwise(tree.children), strict=True):
            pair = Tree("relation", (sign,), (left, right), tree.span)
            readings, _ = relate(self.resolver(here, pair), sign, left, right, pair)
            if not readings or not isinstance(readings[0].formula, Equals):
                return []
            found.append(readings[0].formula)
        return found

    def no_claim(self, here: _Here, tree: Tree) -> None:
        """A display of conditions alone, or of less: nothing is skipped in silence."""
        if any(is_condition(child) for child in flat(tree)):
            only = expr.Words(" ".join(here.display.text.split()))
            self.append(here, tree, "condition", (Understood(only),), None)
        else:
            self.append(here, tree, "words", (), (NO_RELATION, tree.span))

    def statement(self, here: _Here, tree: Tree) -> None:
        if tree.kind == "implication":
            self.implication(here, tree)
        elif tree.kind == "relation" and set(tree.value) == {"->"}:
            self.path(here, tree)
        elif tree.kind == "relation":
            self.relation(here, tree)
        else:
            resolver = self.resolver(here, tree)
            unread = (NO_RELATION, tree.span) if resolver.readings(tree) else trouble(resolver, tree)
            self.append(here, tree, "words", (), unread)

    def relation(self, here: _Here, tree: Tree) -> None:
        """`a = b = c` is two claims; a line that begins with its sign goes on with the right side before it."""
        sides = list(tree.children)
        continues = sides[0].kind == "empty"
        if continues and self.last_right is not None:
            sides[0] = self.last_right
        sets = set(tree.value) <= {"=", ":="} and self.sets(here, sides)
        for n, (sign, (left, right)) in enumerate(zip(tree.value, pairwise(sides), strict=True)):
            start = tree.span[0] if n == 0 else left.span[0]
            pair = Tree("relation", (sign,), (left, right), (start, right.span[1]))
            self.one(here, pair, continues or n > 0, sets)
            self.last_right = right

    def sets(self, here: _Here, sides: Sequence[Tree]) -> bool:
        """`W_1 = W_2 = 1`, `h_0 = 0`: parameters, or values outside of time, are given a number."""
        resolver = self.resolver(here, Tree("list", None, tuple(sides)))
        *names, last = [next((r.value for r in resolver.readings(side)), None) for side in sides]
        if (isinstance(last, Node) and expr.variables(last)) or not isinstance(last, (Node, Number, Unit)):
            return False
        variables = [v for v in names if isinstance(v, Var) and not v.marks]
        return len(variables) == len(names) and all(i.is_number for v in variables for i in v.index)

    def gives(self, formula: Basic) -> bool:
        """`f(z) = [z ≥ ½]`: what an unknown function is."""
        applied = formula.lhs if isinstance(formula, Equals) else None
        return isinstance(applied, expr.Apply) and applied.function in self.state.scope.functions and not applied.order

    def one(self, here: _Here, tree: Tree, continues: bool, sets: bool) -> None:
        """One relation between two sides."""
        (sign,), (left, right) = tree.value, tree.children
        if left.kind == "empty":
            unread = ("this line begins with its relation, and no line before it has a right side", tree.span)
            self.append(here, tree, "equation", (), unread)
            return
        spelling = new_name(self.state.scope, left) if not continues and sign in ("=", ":=") else None
        defined = self.bind(here, spelling, left, right) if spelling is not None else None
        if defined is not None:
            self.append(here, tree, "defines", defined, None)
            return
        resolver = self.resolver(here, tree)
        found, unread_ = relate(resolver, sign, left, right, tree)
        clash = clash_of(resolver, left, right) if unread_ is not None and sign == "=" else None
        argument = dummy(self.state.scope, left) if unread_ is not None else None
        if argument is not None:
            resolver = self.resolver(here, tree)
            any_number = Meaning(Var(argument, (), (), *expr.SCALAR), False)
            resolver.scope = resolver.scope.with_names({argument: any_number})
            found, unread_ = relate(resolver, sign, left, right, tree)
        if sign == ":=" and found and _reads_itself(found[0].formula):
            found, unread_ = [], ("a name is set to what it stands in itself; write += for what is added", tree.span)
        if sign == "+=":
            found = [replace(u, formula=self.accumulated(u.formula)) for u in found]
        others = [variant for first in found[:1] for variant in variants(first, self.state.scope)]
        found = sorted([*found, *others], key=lambda u: u.cost)
        kind = "equation" if sign in EQUATIONS else "relation"
        if kind == "equation" and found and (sets or self.gives(found[0].formula)):
            kind = "sets"
        self.append(here, tree, kind, found, unread_, continues)
        if clash is not None and not found:
            self.claims[-1] = replace(self.claims[-1], clash=clash, mended=self.mended(here, tree))

    def mended(self, here: _Here, tree: Tree) -> tuple[Understood, ...]:
        """The likeliest reading of each way to put in or to take out one transpose, where that makes sides that fit."""
        left, right = tree.children
        ways = [*((left, side) for side in transposed(right)), *((side, right) for side in transposed(left))]
        found: dict[Basic, Understood] = {}
        for sides in ways[: limits.MOST_MENDED]:
            pair = Tree("relation", tree.value, sides, tree.span)
            for understood in relate(self.resolver(here, pair), "=", *sides, pair)[0][:1]:
                found.setdefault(understood.formula, understood)
        return tuple(sorted(found.values(), key=lambda u: u.cost))

    def resolver(self, here: _Here, tree: Tree) -> Resolver:
        """A resolver for one formula, which knows the letters that stand in its indices."""
        resolver = Resolver(self.state.scope, here.display.place)
        resolver.indices = letters_in(tree, self.state.scope)
        return resolver

    def accumulated(self, formula: Basic) -> Basic:
        """`dW += dz_t x_t^T` is the sum over the lattice; at an index it adds to what is there."""
        scope = self.state.scope
        if isinstance(formula, expr.Relation) and isinstance(formula.lhs, Var) and not formula.lhs.index:
            ranges = [(i, Integer(1), n) for i, n in zip(scope.lattice, scope.lengths, strict=True)]
            return Equals(formula.lhs, expr.Sum.build(formula.rhs, *ranges))
        return formula

    # --- definitions

    def bind(self, here: _Here, spelling: Spelling, left: Tree, right: Tree) -> tuple[Understood, ...] | None:
        """The name on the left bound to each value of the right; the first one is what it means from here on."""
        scope = self.state.scope
        resolver = self.resolver(here, Tree("list", None, (left, right), left.span))
        found: list[Understood] = []
        for reading in resolver.bare(resolver.readings(right)):
            value = resolver.losses(reading.value)
            if isinstance(value, Number):
                value = expr.number(value.value)
            if not isinstance(value, Node):
                continue
            if not found and scope.is_loss(spelling.name.partition("_")[0]) and expr.is_scalar(value):
                return None
            if not found:
                target = Var(spelling.name, (), scope.lattice if spelling.index else (), *value.shape)
                meaning = Meaning(target, bool(spelling.index), value)
                self.state.scope = scope.with_names({spelling.name: meaning})
                self.defined.setdefault(len(self.state.systems), {})[spelling.name] = meaning
            at = Var(spelling.name, (), spelling.index, *value.shape)
            found.append(Understood(Equals(at, value), reading.choices, reading.cost))
        return tuple(found) or None

    # --- implications and paths

    def implication(self, here: _Here, tree: Tree) -> None:
        """`z_t = 1 ⇒ J = I`: a claim for each arrow, two for one that points both ways."""
        resolver = self.resolver(here, tree)
        parts: list[Understood] = []
        for n, child in enumerate(tree.children):
            part, unread = side_of(resolver, child, here.display, premise=n < len(tree.children) - 1)
            if part is None:
                self.append(here, tree, "implication", (), unread)
                return
            parts.append(part)
        for sign, (left, right) in zip(tree.value, pairwise(parts), strict=True):
            choices = agree(left.choices, right.choices) or ()
            for a, b in ((left, right), (right, left))[: 2 if sign == "<=>" else 1]:
                understood = Understood(expr.Implies(a.formula, b.formula), choices, a.cost + b.cost)
                self.append(here, tree, "implication", (understood,), None)

    def path(self, here: _Here, tree: Tree) -> None:
        """`h_3 \\to o_3 \\to h_2`; sets of paths in braces are walked one after the other, each with each."""
        resolver = self.resolver(here, tree)
        try:
            walked = paths_of(resolver, tree)
        except TooMany:
            message = f"a list of paths stands for at most {limits.MOST_PATHS} of them"
            self.append(here, tree, "paths", (), (message, tree.span))
            return
        if not walked:
            self.append(here, tree, "paths", (), trouble(resolver, tree))
            return
        paths = [expr.Path(*variables) for variables in walked]
        self.append(here, tree, "paths", (Understood(paths[0] if len(paths) == 1 else Tuple(*paths)),), None)

    # --- the list

    def append(
        self,
        here: _Here,
        tree: Tree,
        kind: str,
        readings: Iterable[Understood],
        unread: Trouble | None,
        continues: bool = False,
    ) -> None:
        readings, display, state = tuple(readings), here.display, self.state
        if not readings and unread is None:
            unread = ("this is not understood", tree.span)
        self.claims.append(
            Claim(
                n=len(self.claims) + 1,
                place=display.place(tree.span[0]),
                latex=display.excerpt(tree.span),
                tree=tree,
                kind=kind,
                readings=readings,
                unread=unread[0] if unread else None,
                unread_place=display.place(unread[1][0]) if unread else None,
                caret=display.caret(unread[1]) if unread else "",
                system=state.scope.system,
                scope=state.scope,
                continues=continues,
                display=display.n,
                expect=here.expect,
                skip=here.skip,
                hold=state.hold,
                unroll=state.unroll,
                loss=state.loss,
                where=here.where,
            )
        )
