"""Forward equations in LaTeX become a system: the same equations, in the language that a Python file writes them in.

The trees are turned into Python's syntax trees (`derive.equations` knows what they mean), every one with the span that
it was read from, so that an error points into the document.  Names are what stands on a left side (states), at an index
(inputs, or targets where only the loss reads them) or without one (parameters).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from derive.errors import DeriveError
from derive.expr import Shape
from derive.reader.losses import Loss, Losses, Written
from derive.reader.names import Part, base_name, decomposed, index_expression, index_letters
from derive.reader.naming import Name, symbol
from derive.reader.scope import FUNCTIONS, LOSSES
from derive.reader.translate import Translated, is_group
from derive.reader.tree import Tree
from derive.system import System

ALSO_FUNCTIONS = frozenset(["phi", "psi", "varphi", "rho", "f", "g", "act", "actfun"])
"""Names that are taken for unknown functions where they are applied and stand for nothing else."""


@dataclass(frozen=True)
class Definition:
    """A system with what its document calls things: `splits` are matrices that a concatenation took apart."""

    system: System
    splits: Mapping[str, tuple[str, ...]]
    functions: frozenset[str]
    shorthands: Mapping[str, Tree]
    losses: frozenset[str]


def define(
    equations: Sequence[Written],
    name: str,
    *,
    declared: Mapping[str, Shape] | None = None,
    scalar: bool = False,
    loss_at: str | None = None,
    renamed: Mapping[str, str] | None = None,
) -> Definition:
    """The system of these equations.  Raises `DeriveError` with the place of what is off.

    `renamed`: names as the document types them -> as the system is to have them (aliases).
    """
    return _Definer(equations, name, dict(declared or {}), scalar, loss_at, dict(renamed or {})).definition()


class _Definer(Losses):
    def __init__(
        self,
        equations: Sequence[Written],
        name: str,
        declared: dict[str, Shape],
        scalar: bool,
        loss_at: str | None,
        renamed: dict[str, str],
    ):
        super().__init__(equations[0].display, renamed, declared)
        self.written, self.name, self.scalar, self.loss_at = list(equations), name, scalar, loss_at
        self.boundary: dict[str, str] = {}
        self.terms = {}
        self.find_letters()
        self.find_functions()

    # --- what the letters are

    def find_letters(self) -> None:
        shifted: set[str] = set()
        for equation in self.written:
            shifted |= index_letters(equation.left) | index_letters(equation.right)
        on_left = [x for e in self.written for x in self.left_letters(e.left)]
        chosen = [x for x in dict.fromkeys(on_left) if x in shifted] or [x for x in dict.fromkeys(on_left) if x == "t"]
        self.letters = (
            tuple(chosen) or tuple(x for x in ("t",) if x in shifted or not on_left) or tuple(on_left[:1]) or ("t",)
        )
        if "t" in self.letters and len(self.letters) > 1 and not self.together():
            self.letters = ("t",)

    def together(self) -> bool:
        """Whether one left side has all the letters."""
        return any(set(self.letters) <= set(self.left_letters(e.left)) for e in self.written)

    def left_letters(self, tree: Tree) -> list[str]:
        """The letters in the index of a left side."""
        found: list[str] = []
        parts: list[Part] = []
        spelled = decomposed(tree)
        if spelled is not None:
            parts = list(spelled[1])
        elif tree.kind == "chain" and len(tree.children) == 2 and tree.children[1].kind == "group":
            parts = [Part("call", child, True) for child in tree.children[1].children]
            inner = decomposed(tree.children[0])
            parts += list(inner[1]) if inner else []
        for part in parts:
            index = index_expression(part.tree)
            if index is not None:
                found.extend(sorted(str(s) for s in index.free_symbols if str(s).islower() and len(str(s)) == 1))
        return found

    def find_functions(self) -> None:
        """Names that are only ever applied, and stand nowhere alone."""
        applied: set[str] = set()
        alone: set[str] = set()
        for equation in self.written:
            for tree in (equation.left, equation.right):
                self.collect(tree, applied, alone)
        lefts = {self.typed(e.left) for e in self.written}
        self.functions = {
            name
            for name in applied - alone - lefts
            if name not in FUNCTIONS
            and (name in ALSO_FUNCTIONS or (len(name) > 1 and name.islower() and name != "diag"))
        }
        self.shadowed = alone | {x for x in lefts if x}

    def collect(self, tree: Tree, applied: set[str], alone: set[str]) -> None:
        children = list(tree.children)
        for n, child in enumerate(children):
            name = base_name(child)
            after = children[n + 1] if tree.kind == "chain" and n + 1 < len(children) and tree.value[n] == "" else None
            if name is not None and after is not None and is_group(after) and not self.is_index(after):
                applied.add(name)
            elif name is not None and (
                tree.kind != "script" or n > 0 or any(s.kind in ("sub", "sup") for s in children[1:])
            ):
                alone.add(name)
            if not (tree.kind == "script" and n > 0):
                self.collect(child, applied, alone)

    # --- the system

    def definition(self) -> Definition:
        statements: list[ast.Assign] = []
        charged: list[tuple[Written, Name]] = []
        for equation in self.written:
            self.display = equation.display
            self.shift, self.fixed = 0, None
            target = self.left(self.loss_side(equation.left))
            if self.is_loss(target.typed):
                charged.append((equation, target))
                continue
            if self.is_boundary(target):
                self.note_boundary(target, equation)
                continue
            stacked = self.stack(equation.right)
            if stacked is not None:
                self.shorthands[target.typed] = equation.right
                continue
            if not target.index:
                raise self.fail(f"{target.typed} stands without an index: an equation of a system is at "
                                f"{','.join(self.letters)}, as in h_{self.letters[0]} = …", equation.left)  # fmt: skip
            statements.append(self.assign(equation, target))
        if not statements:
            raise self.nothing()
        return self.made(statements, self.loss(charged), {target.typed for _, target in charged})

    def nothing(self) -> DeriveError:
        return DeriveError(f"{self.name}: there is no forward equation here, such as h_t = \\tanh(W h_{{t-1}} + U x_t)")

    def made(self, statements: list[ast.Assign], loss: Loss | None, letters: set[str]) -> Definition:
        states = [s.targets[0].value.id for s in statements]  # type: ignore[attr-defined]
        read = {n for s in statements for n in _read(s.value)}
        charged = _read(loss[0]) if loss is not None else set()
        inputs = [n for n in self.indexed if n not in states and n in read]
        targets = [n for n in self.indexed if n not in states and n not in read and n in charged]
        parameters = [n for n in self.plain if n in read or n in charged]
        known = {*states, *inputs, *targets, *parameters}
        boundary = {n: kind for n, kind in self.boundary.items() if n in (*states, *inputs)}
        declared = self.declared_shapes(known)
        source = Translated.of(statements, self.name)
        loss_source = None
        if loss is not None:
            loss_source = Translated.of([ast.Assign([ast.Name("L")], loss[0])], self.name)
        system = System.read(
            self.name,
            source,
            loss=loss_source,
            inputs=" ".join(inputs),
            parameters=" ".join(parameters),
            targets=" ".join(targets),
            shapes=declared,
            boundary=boundary or None,
            loss_at=self.loss_at or (loss[1] if loss else "every"),
            unknown_functions=" ".join(sorted(self.functions)),
            infer=True,
            scalar=self.scalar,
        )
        splits = {name: tuple(split.parts) for name, split in self.splits.items()}
        return Definition(
            system, splits, frozenset(self.functions), dict(self.shorthands), frozenset(letters) or LOSSES
        )

    def declared_shapes(self, known: set[str]) -> dict[str, Shape]:
        return {name: shape for name, shape in self.declared.items() if name in known}

    def is_boundary(self, target: Name) -> bool:
        return bool(target.index) and all(not i.free_symbols for i in target.index)

    def note_boundary(self, target: Name, equation: Written) -> None:
        if equation.right.kind == "number" and float(equation.right.value) == 0:
            self.boundary[target.typed] = "zero"
        elif equation.right.kind != "number":
            self.boundary[target.typed] = "given"

    def assign(self, equation: Written, target: Name) -> ast.Assign:
        offsets = [index - symbol(letter) for index, letter in zip(target.index, self.letters, strict=False)]
        if len(target.index) != len(self.letters) or not all(o.is_Integer for o in offsets):
            raise self.fail(f"a left-hand side stands at {','.join(self.letters)}", equation.left)
        if len(offsets) == 1:
            self.shift = -int(offsets[0])
        elif any(offsets):
            raise self.fail("a left-hand side on a grid stands at the plain index; shift the equation", equation.left)
        left = self.marked(self.subscript(target.typed, [symbol(x) - self.shift for x in self.letters]), equation.left)
        statement = ast.Assign([left], self.expression(equation.right))
        return self.marked(statement, equation.right)  # type: ignore[return-value]

    def left(self, tree: Tree) -> Name:
        found = self.called(tree)
        if found is None:
            raise self.fail("a left-hand side is a name at an index, as in h_t", tree)
        if found.after:
            raise self.fail("a left-hand side is a name at an index, without a transpose or a power", tree)
        return found


def _read(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
