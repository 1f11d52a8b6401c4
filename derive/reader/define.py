"""Forward equations in LaTeX become a system: the same equations, in the language that a Python file writes them in.

The trees are turned into Python's syntax trees (`derive.equations` knows what they mean), every one with the span that
it was read from, so that an error points into the document.  Names are what stands on a left side (states), at an index
(inputs, or targets where only the loss reads them) or without one (parameters).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from derive import functions
from derive.equations import Juxtapose, Source
from derive.errors import DeriveError, Place
from derive.expr import Shape
from derive.reader.document import Display
from derive.reader.names import Part, base_name, decomposed, index_expression, index_letters, is_transpose, part_word
from derive.reader.scope import FUNCTIONS, LOSSES, WORDS_OF_FUNCTIONS
from derive.reader.tree import Span, Tree, Unread
from derive.system import System

ALSO_FUNCTIONS = frozenset(["phi", "psi", "varphi", "rho", "f", "g", "act", "actfun"])
"""Names that are taken for unknown functions where they are applied and stand for nothing else."""


@dataclass
class Written:
    """One equation as it stands: its trees, its display formula."""

    left: Tree
    right: Tree
    display: Display


@dataclass(frozen=True)
class Name:
    """A name as an equation writes it: typed, its index, what is done to it then."""

    typed: str
    index: tuple[Any, ...] = ()
    after: tuple[tuple[str, Any], ...] = ()


@dataclass
class Split:
    """`W [h; x]`: the matrix as its parts, each with the vector that it multiplies."""

    parts: dict[str, Tree] = field(default_factory=dict)


@dataclass(frozen=True)
class Definition:
    """A system with what its document calls things: `splits` are matrices that a concatenation took apart."""

    system: System
    splits: Mapping[str, tuple[str, ...]]
    functions: frozenset[str]
    shorthands: Mapping[str, Tree]
    losses: frozenset[str]


class Translated(Source):
    """Statements that were read from LaTeX; places are those of the document."""

    def __init__(
        self, statements: list[ast.Assign], displays: Mapping[int, Display], texts: Mapping[int, str], name: str
    ):
        super().__init__("", name, 1, (0,))
        object.__setattr__(self, "_statements", statements)
        object.__setattr__(self, "_displays", displays)
        object.__setattr__(self, "_texts", texts)

    def statements(self) -> list[ast.Assign]:
        return self._statements  # type: ignore[attr-defined, no-any-return]

    def expression(self) -> ast.expr:
        return self._statements[0].value  # type: ignore[attr-defined, no-any-return]

    def place(self, node: ast.AST) -> Place:
        span, display = _origin(node)
        return display.place(span[0]) if display is not None else Place(self.file, 1, 1)

    def quote(self, node: ast.AST) -> str:
        span, display = _origin(node)
        if display is None:
            return ast.unparse(node)
        typed = " ".join(display.excerpt(span).split())
        return typed if len(typed) <= 60 else typed[:59] + "…"


def _origin(node: ast.AST) -> tuple[Span, Display | None]:
    return getattr(node, "span", (0, 0)), getattr(node, "display", None)


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


class _Definer:
    def __init__(
        self,
        equations: Sequence[Written],
        name: str,
        declared: dict[str, Shape],
        scalar: bool,
        loss_at: str | None,
        renamed: dict[str, str],
    ):
        self.renamed = renamed
        self.written, self.name, self.declared, self.scalar = list(equations), name, declared, scalar
        self.loss_at = loss_at
        self.display: Display | None = None
        self.functions: set[str] = set()
        self.splits: dict[str, Split] = {}
        self.shorthands: dict[str, Tree] = {}
        self.indexed: dict[str, None] = {}
        self.plain: dict[str, None] = {}
        self.summed: list[str] = []
        self.boundary: dict[str, str] = {}
        self.shift = 0
        self.placed = False
        self.fixed: int | None = None
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
            if name is not None and after is not None and _is_group(after) and not self.is_index(after):
                applied.add(name)
            elif name is not None and (
                tree.kind != "script" or n > 0 or any(s.kind in ("sub", "sup") for s in children[1:])
            ):
                alone.add(name)
            if not (tree.kind == "script" and n > 0):
                self.collect(child, applied, alone)

    def typed(self, tree: Tree) -> str | None:
        try:
            found = self.named(tree) if tree.kind != "chain" else self.named(tree.children[0])
        except Unread:
            return None
        return found.typed if found is not None else None

    def is_index(self, group: Tree) -> bool:
        inside = group.children[0] if group.kind == "script" else group
        if inside.kind != "group" or len(inside.children) != len(self.letters):
            return False
        indices = [index_expression(c, self.letters) for c in inside.children]
        return all(i is not None and {str(s) for s in i.free_symbols} & set(self.letters) for i in indices)

    # --- the system

    def definition(self) -> Definition:
        statements: list[ast.Assign] = []
        loss: tuple[ast.expr, str] | None = None
        loss_letters: set[str] = set()
        for equation in self.written:
            self.display = equation.display
            self.shift, self.fixed = 0, None
            target = self.left(equation.left)
            if target is None:
                continue
            if self.is_loss(target.typed):
                loss_letters.add(target.typed)
                loss = self.loss(equation, target, loss)
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
        return self.made(statements, loss, loss_letters)

    def nothing(self) -> DeriveError:
        return DeriveError(f"{self.name}: there is no forward equation here, such as h_t = \\tanh(W h_{{t-1}} + U x_t)")

    def made(self, statements: list[ast.Assign], loss: tuple[ast.expr, str] | None, letters: set[str]) -> Definition:
        states = [s.targets[0].value.id for s in statements]  # type: ignore[attr-defined]
        read = {n for s in statements for n in _read(s.value)}
        charged = _read(loss[0]) if loss is not None else set()
        inputs = [n for n in self.indexed if n not in states and n in read]
        targets = [n for n in self.indexed if n not in states and n not in read and n in charged]
        parameters = [n for n in self.plain if n in read or n in charged]
        known = {*states, *inputs, *targets, *parameters}
        boundary = {n: kind for n, kind in self.boundary.items() if n in (*states, *inputs)}
        declared = self.declared_shapes(known)
        source = Translated(statements, {}, {}, self.name)
        loss_source = None
        if loss is not None:
            loss_source = Translated([ast.Assign([ast.Name("L")], loss[0])], {}, {}, self.name)
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

    def is_loss(self, typed: str) -> bool:
        if typed not in LOSSES or typed in self.declared:
            return False
        reads = sum(self.occurs(e.right, typed) for e in self.written)
        return typed in ("L", "ell", "Loss", "loss") or not reads

    def occurs(self, tree: Tree, typed: str) -> bool:
        return any(t.kind == "name" and t.value == typed for t in tree.walk())

    def loss(self, equation: Written, target: Name, before: tuple[ast.expr, str] | None) -> tuple[ast.expr, str] | None:
        right = equation.right
        body = _without_time_sum(right, self.letters)
        if body is not None and self.is_loss(self.typed(body) or ""):
            return before
        if body is not None and not target.index:
            self.fixed = None
            return self.expression(body), "every"
        numbers = [i for i in target.index if not i.free_symbols]
        if numbers:
            self.fixed = int(numbers[0])
            return self.expression(right), "last"
        if not target.index:
            return self.expression(self.at_length(right)), "last"
        return self.expression(right), (before[1] if before else "every")

    def at_length(self, tree: Tree) -> Tree:
        """A loss of the last step, written at T, at the lattice's own letter."""
        if tree.kind == "name" and tree.value == self.letters[0].upper():
            return Tree("name", self.letters[0], (), tree.span)
        if tree.kind == "script":
            base, *scripts = tree.children
            moved = [s if s.kind == "sup" and _plain_t(s) else self.at_length(s) for s in scripts]
            return Tree("script", tree.value, (self.at_length(base), *moved), tree.span)
        return Tree(tree.kind, tree.value, tuple(map(self.at_length, tree.children)), tree.span)

    def is_boundary(self, target: Name) -> bool:
        return bool(target.index) and all(not i.free_symbols for i in target.index)

    def note_boundary(self, target: Name, equation: Written) -> None:
        if equation.right.kind == "number" and float(equation.right.value) == 0:
            self.boundary[target.typed] = "zero"
        elif equation.right.kind != "number":
            self.boundary[target.typed] = "given"

    def assign(self, equation: Written, target: Name) -> ast.Assign:
        offsets = [index - _symbol(letter) for index, letter in zip(target.index, self.letters, strict=False)]
        if len(target.index) != len(self.letters) or not all(o.is_Integer for o in offsets):
            raise self.fail(f"a left-hand side stands at {','.join(self.letters)}", equation.left)
        if len(offsets) == 1:
            self.shift = -int(offsets[0])
        elif any(offsets):
            raise self.fail("a left-hand side on a grid stands at the plain index; shift the equation", equation.left)
        left = self.marked(self.subscript(target.typed, [_symbol(x) - self.shift for x in self.letters]), equation.left)
        statement = ast.Assign([left], self.expression(equation.right))
        return self.marked(statement, equation.right)  # type: ignore[return-value]

    # --- names

    def left(self, tree: Tree) -> Name | None:
        found = self.called(tree)
        if found is None:
            raise self.fail("a left-hand side is a name at an index, as in h_t", tree)
        if found.after:
            raise self.fail("a left-hand side is a name at an index, without a transpose or a power", tree)
        return found

    def called(self, tree: Tree) -> Name | None:
        """A name, or one with its index in brackets."""
        if tree.kind == "chain":
            joined = self.joined(list(tree.value), list(tree.children))
            if len(joined[1]) == 2 and joined[0] == [""] and joined[1][1].kind == "group":
                parts = [Part("call", c, True) for c in joined[1][1].children]
                return self.named(joined[1][0], parts)
            if len(joined[1]) == 1:
                return self.named(joined[1][0])
            return None
        return self.named(tree)

    def named(self, tree: Tree, calls: Sequence[Part] = ()) -> Name | None:
        spelled = decomposed(tree)
        if spelled is None:
            return None
        typed, index, after = spelled[0], [], []  # type: ignore[var-annotated]
        self.placed = any(self.at_letter(part) for part in (*spelled[1], *calls))
        for part in (*spelled[1], *calls):
            role, value = self.role(part, tree, spelled[0])
            if role == "name":
                typed = f"{typed}_{value}"
            elif role == "index":
                index.extend(value)
            elif role != "drop":
                after.append((role, value))
        return Name(self.renamed.get(typed, typed), tuple(index), tuple(after))

    def at_letter(self, part: Part) -> bool:
        """Whether a script holds the lattice's own letter."""
        index = None if part.where in ("prime", "odot") else index_expression(part.tree, self.letters)
        return index is not None and bool({str(s) for s in index.free_symbols} & set(self.letters))

    def role(self, part: Part, tree: Tree, base: str) -> tuple[str, Any]:
        if part.where == "odot":
            return "power", part.tree
        if part.where == "prime":
            return ("transpose", None) if base[:1].isupper() else ("name", "prime")
        if is_transpose(part):
            return "transpose", None
        index = index_expression(part.tree, self.letters)
        if index is not None and {str(s) for s in index.free_symbols} & {*self.letters}:
            return "index", [index]
        if index is not None and self.fixed is not None and index == self.fixed:
            return "index", [_symbol(self.letters[0])]
        if index is not None and index.is_Integer and int(index) == 0 and part.where != "sup" and not self.placed:
            return "index", [index]
        if part.tree.kind == "chain" and self.summed and set(part.tree.value) <= {""}:
            return self.letters_of(part)
        if index is not None and self.summed and {str(s) for s in index.free_symbols} & {*self.summed}:
            return "drop", None
        if part.where == "sup" and not part.bracketed and (part.tree.kind == "number" or part.tree.kind == "minus"):
            return "power", part.tree
        if index is not None and index.free_symbols and len(index.args) > 1:
            raise self.fail(f"the index of {base} is not {self.letters[0]} plus or minus a number", tree)
        word = part_word(part.tree)
        if word is None:
            raise self.fail(f"this script of {base} is not understood", part.tree)
        return "name", word

    def letters_of(self, part: Part) -> tuple[str, Any]:
        words = [str(c.value) for c in part.tree.children]
        kept = [w for w in words if w not in self.summed]
        if len(kept) == len(words):
            return "name", "".join(words)
        index = [index_expression(c, self.letters) for c in part.tree.children if str(c.value) in kept]
        return "index", index

    # --- expressions

    def fail(self, message: str, tree: Tree) -> DeriveError:
        from derive.errors import SystemError_

        display = self.display or self.written[0].display
        return SystemError_(message, display.place(tree.span[0]))

    def marked(self, node: Any, tree: Tree) -> Any:
        node.span, node.display = tree.span, self.display
        return node

    def subscript(self, typed: str, index: Sequence[Any]) -> ast.Subscript:
        elements = [self.element(i) for i in index]
        inside = elements[0] if len(elements) == 1 else ast.Tuple(elements)
        return ast.Subscript(ast.Name(typed), inside)

    def element(self, index: Any) -> ast.expr:
        index = index + self.shift if len(self.letters) == 1 else index
        letter = next((x for x in self.letters if _symbol(x) in index.free_symbols), None)
        if letter is None:
            return ast.Constant(int(index)) if index.is_Integer else ast.Name(str(index))
        offset = index - _symbol(letter)
        if not offset.is_Integer:
            return ast.Name(str(index))
        if offset == 0:
            return ast.Name(letter)
        return ast.BinOp(ast.Name(letter), ast.Add() if offset > 0 else ast.Sub(), ast.Constant(abs(int(offset))))

    def expression(self, tree: Tree) -> ast.expr:
        rule = _RULES.get(tree.kind)
        if rule is None:
            raise self.fail(f"this {tree.kind} has no meaning in a forward equation", tree)
        return self.marked(rule(self, tree), tree)  # type: ignore[no-any-return]

    def number(self, tree: Tree) -> ast.expr:
        return ast.Constant(float(tree.value) if "." in tree.value else int(tree.value))

    def reference(self, tree: Tree) -> ast.expr:
        if tree.kind == "script":
            special = self.special_script(tree)
            if special is not None:
                return special
        if tree.names("I", "Id", "ones") and str(tree.value) not in self.declared:
            return ast.Constant(1)
        found = self.named(tree)
        if found is None:
            raise self.fail("this is no name", tree)
        return self.of_name(found, tree)

    def of_name(self, found: Name, tree: Tree) -> ast.expr:
        if found.index:
            if len(found.index) != len(self.letters):
                raise self.fail(f"{found.typed} needs {len(self.letters)} index here", tree)
            self.indexed.setdefault(found.typed)
            node: ast.expr = self.marked(self.subscript(found.typed, found.index), tree)
        else:
            self.plain.setdefault(found.typed)
            node = self.marked(ast.Name(found.typed), tree)
        return self.after(node, found.after, tree)

    def after(self, node: ast.expr, roles: Iterable[tuple[str, Any]], tree: Tree) -> ast.expr:
        for role, value in roles:
            if role == "transpose":
                node = self.marked(ast.Attribute(node, "T"), tree)
            else:
                exponent = index_expression(value, self.letters)
                if exponent is None or not exponent.is_Integer:
                    raise self.fail("an exponent is a whole number here", value)
                number: ast.expr = ast.Constant(abs(int(exponent)))
                number = ast.UnaryOp(ast.USub(), number) if exponent < 0 else number
                node = self.marked(ast.BinOp(node, ast.Pow(), number), tree)
        return node

    def special_script(self, tree: Tree) -> ast.expr | None:
        base, *scripts = tree.children
        if base.kind == "brace":
            return self.expression(base)
        if base.names("e") and scripts[0].kind == "sup" and "e" not in self.shadowed:
            return self.call("exp", [scripts[0].children[0]], tree)
        if base.names("ones"):
            return ast.Constant(1)
        if base.kind in ("group", "frac", "sqrt", "chain", "sum"):
            if base.kind == "group" and base.value in ("|", "||"):
                return self.norm(base, scripts, tree)
            node = self.expression(base)
            return self.after(node, self.script_roles(scripts), tree)
        return None

    def script_roles(self, scripts: Sequence[Tree]) -> list[tuple[str, Any]]:
        roles: list[tuple[str, Any]] = []
        for script in scripts:
            if script.kind == "prime":
                roles.append(("transpose", None))
            elif script.kind == "sup":
                inside = script.children[0]
                transposes = is_transpose(Part("sup", inside))
                power = inside.children[1] if inside.kind == "list" and len(inside.children) == 2 else inside
                roles.append(("transpose", None) if transposes else ("power", power))
            else:
                raise self.fail("an entry has no meaning in a forward equation", script)
        return roles

    def norm(self, base: Tree, scripts: Sequence[Tree], tree: Tree) -> ast.expr:
        power = next((s.children[0] for s in scripts if s.kind == "sup"), None)
        if power is None or power.kind != "number" or power.value != "2":
            raise self.fail("of norms only the squared Euclidean one has a meaning in a forward equation", tree)
        first, second = self.expression(base.children[0]), self.expression(base.children[0])
        square = self.marked(ast.BinOp(first, ast.Mult(), second), tree)
        return ast.Call(ast.Name("sum"), [square], [])

    def sum(self, tree: Tree) -> ast.expr:
        node = self.expression(tree.children[0])
        for child in tree.children[1:]:
            if child.kind == "minus":
                node = self.marked(ast.BinOp(node, ast.Sub(), self.expression(child.children[0])), tree)
            else:
                node = self.marked(ast.BinOp(node, ast.Add(), self.expression(child)), tree)
        return node

    def minus(self, tree: Tree) -> ast.expr:
        return ast.UnaryOp(ast.USub(), self.expression(tree.children[0]))

    def frac(self, tree: Tree) -> ast.expr:
        over, under = map(self.expression, tree.children)
        return ast.BinOp(over, ast.Div(), under)

    def sqrt(self, tree: Tree) -> ast.expr:
        return self.call("sqrt", [tree.children[0]], tree)

    def call(self, name: str, arguments: Sequence[Tree], tree: Tree) -> ast.expr:
        return self.marked(ast.Call(ast.Name(name), [self.expression(a) for a in arguments], []), tree)  # type: ignore[no-any-return]

    def group(self, tree: Tree) -> ast.expr:
        if tree.value in ("|", "||"):
            return self.call("abs", tree.children, tree)
        if len(tree.children) != 1:
            raise self.fail("a concatenation has a meaning behind a matrix only, as in W [h_{t-1}; x_t]", tree)
        return self.expression(tree.children[0])

    def brace(self, tree: Tree) -> ast.expr:
        return self.expression(tree.children[0])

    def stack(self, tree: Tree) -> list[Tree] | None:
        """The parts of a concatenation, written out or by the name of a shorthand."""
        if tree.kind == "group" and str(tree.value)[0] in "[(" and len(tree.children) > 1:
            return list(tree.children)
        if tree.kind == "matrix" and all(len(row.children) == 1 for row in tree.children) and len(tree.children) > 1:
            return [row.children[0] for row in tree.children]
        typed = self.typed(tree) if tree.kind in ("name", "script", "accent") else None
        return self.stack(self.shorthands[typed]) if typed in self.shorthands else None

    # --- chains

    def joined(self, signs: list[str], factors: list[Tree]) -> tuple[list[str], list[Tree]]:
        """Bare letters that spell a function are one name."""
        out_signs: list[str] = []
        out: list[Tree] = []
        n = 0
        while n < len(factors):
            length = self.word_length(signs, factors, n)
            if n:
                out_signs.append(signs[n - 1])
            if length > 1:
                letters = "".join(str(f.value) for f in factors[n : n + length])
                out.append(Tree("name", letters, (), (factors[n].span[0], factors[n + length - 1].span[1])))
            else:
                out.append(factors[n])
            n += max(length, 1)
        return out_signs, out

    def word_length(self, signs: Sequence[str], factors: Sequence[Tree], start: int) -> int:
        letters, best = "", 1
        for n in range(start, min(start + 12, len(factors))):
            if factors[n].kind != "name" or len(str(factors[n].value)) != 1 or (n > start and signs[n - 1]):
                break
            letters += str(factors[n].value)
            if n > start and letters in WORDS_OF_FUNCTIONS and len(letters) > 2:
                best = n - start + 1
        return best

    def chain(self, tree: Tree) -> ast.expr:
        signs, factors = self.joined(list(tree.value), list(tree.children))
        runs: list[list[tuple[str, list[ast.expr]]]] = [[]]
        outer: list[str] = []
        n = 0
        while n < len(factors):
            sign = signs[n - 1] if n else ""
            node, count = self.take(signs, factors, n)
            if sign == "odot":
                outer.append(sign)
                runs.append([])
            runs[-1].append((sign, [node]))
            n += count
        folded = [self.fold(run, tree) for run in runs]
        node = folded[0]
        for right in folded[1:]:
            node = self.marked(ast.BinOp(node, ast.Mult(), right), tree)
        return node

    def fold(self, run: Sequence[tuple[str, list[ast.expr]]], tree: Tree) -> ast.expr:
        node = run[0][1][0]
        for sign, (right,) in run[1:]:
            if sign == "/":
                node = ast.BinOp(node, ast.Div(), right)
            elif sign == "otimes":
                node = ast.BinOp(node, ast.MatMult(), self.marked(ast.Attribute(right, "T"), tree))
            else:
                node = ast.BinOp(node, Juxtapose(), right)
            self.marked(node, tree)
        return node

    def take(self, signs: Sequence[str], factors: Sequence[Tree], n: int) -> tuple[ast.expr, int]:
        """The factor at n with what it takes of those behind it, and how many that were."""
        head = factors[n]
        after = factors[n + 1] if n + 1 < len(factors) else None
        side = after is not None and signs[n] == ""
        if head.kind == "script" and head.children[0].names("sum"):
            return self.entry_sum(signs, factors, n)
        function = self.function(head)
        if function is not None and side and after is not None:
            return self.applied(function, signs, factors, n)
        if side and after is not None and self.is_index(after) and self.is_plain_name(head):
            return self.index_call(head, after), 2
        if after is not None and signs[n] in ("", "cdot", "*", "times"):
            parts = self.stack(after)
            if parts is not None and self.is_plain_name(head):
                return self.split(head, parts, after), 2
        if head.names("diag", "Diag") and side and after is not None:
            return self.marked(ast.Call(ast.Name("diag"), [self.expression(after)], []), head), 2
        return self.expression(head), 1

    def is_plain_name(self, tree: Tree) -> bool:
        return decomposed(tree) is not None

    def index_call(self, head: Tree, group: Tree) -> ast.expr:
        inside = group.children[0] if group.kind == "script" else group
        found = self.named(head, [Part("call", child, True) for child in inside.children])
        assert found is not None
        node = self.of_name(found, head)
        return self.after(node, self.script_roles(group.children[1:]), head) if group.kind == "script" else node

    def function(self, tree: Tree) -> tuple[str, Tree | None] | None:
        """A function and its power."""
        base = tree.children[0] if tree.kind == "script" else tree
        name = base_name(base)
        if name is None or (name in self.shadowed and name not in ("exp", "log", "tanh", "max")):
            return None
        row = name if name in self.functions else FUNCTIONS.get(name)
        if row is None:
            return None
        if tree.kind != "script":
            return row, None
        power = None
        for script in tree.children[1:]:
            if script.kind != "sup":
                return (
                    (row, None)
                    if part_word(script.children[0] if script.children else script) in ("h", "g", "c")
                    else None
                )
            power = script.children[0]
        return row, power

    def applied(
        self, function: tuple[str, Tree | None], signs: Sequence[str], factors: Sequence[Tree], n: int
    ) -> tuple[ast.expr, int]:
        name, power = function
        after = factors[n + 1]
        group = after.children[0] if after.kind == "script" and _is_group(after) else after
        count = 2
        if group.kind == "group" and str(group.value)[0] in "([\\":
            arguments = list(group.children)
        else:
            end = n + 2
            while end < len(factors) and signs[end - 1] == "" and self.function(factors[end]) is None:
                end += 1
            kept = factors[n + 1 : end]
            arguments = [
                kept[0] if len(kept) == 1 else Tree("chain", tuple(signs[n + 1 : end - 1]), tuple(kept), kept[0].span)
            ]
            count, group = end - n, after
        node = self.function_node(name, arguments, factors[n])
        if power is not None:
            node = self.after(node, [("power", power)], factors[n])
        if after.kind == "script" and group is not after:
            node = self.after(node, self.script_roles(after.children[1:]), after)
        return node, count

    def function_node(self, name: str, arguments: list[Tree], tree: Tree) -> ast.expr:
        if name == "max" and len(arguments) == 2:
            zero = [a for a in arguments if a.kind == "number" and a.value == "0"]
            if zero:
                return self.call("relu", [a for a in arguments if a not in zero], tree)
        if name == "layer_norm" and len(arguments) == 3:
            norm = self.call(name, arguments[:1], tree)
            gained = self.marked(ast.BinOp(self.expression(arguments[1]), ast.Mult(), norm), tree)
            return self.marked(ast.BinOp(gained, ast.Add(), self.expression(arguments[2])), tree)  # type: ignore[no-any-return]
        if len(arguments) > functions.row(name).arity:
            raise self.fail(f"{name} takes {functions.row(name).arity} argument, found {len(arguments)}", tree)
        return self.call(name, arguments, tree)

    def split(self, head: Tree, parts: Sequence[Tree], group: Tree) -> ast.expr:
        """`W [h; x]` as `W_h h + W_x x`."""
        found = self.named(head)
        assert found is not None
        if found.index or found.after:
            raise self.fail("what stands before a concatenation is a matrix", head)
        split = self.splits.setdefault(found.typed, Split())
        names: list[str] = []
        for part in parts:
            inner = self.called(part)
            stem = inner.typed if inner is not None else f"{len(names) + 1}"
            names.append(
                f"{found.typed}_{stem}"
                if f"{found.typed}_{stem}" not in names
                else f"{found.typed}_{stem}{len(names) + 1}"
            )
        if split.parts and list(split.parts) != names:
            raise self.fail(f"{found.typed} stands before two different concatenations", group)
        node: ast.expr | None = None
        for name, part in zip(names, parts, strict=True):
            split.parts[name] = part
            self.plain.setdefault(name)
            product = ast.BinOp(self.marked(ast.Name(name), head), ast.MatMult(), self.expression(part))
            self.marked(product, part)
            node = product if node is None else self.marked(ast.BinOp(node, ast.Add(), product), group)
        assert node is not None
        return node

    def entry_sum(self, signs: Sequence[str], factors: Sequence[Tree], n: int) -> tuple[ast.expr, int]:
        """`\\sum_i y_i log p_i`: the sum of the entries."""
        sub = next((s.children[0] for s in factors[n].children[1:] if s.kind == "sub"), None)
        letter = sub
        if sub is not None and sub.kind == "relation":
            letter = sub.children[0]
        if letter is None or letter.kind != "name" or letter.value in self.letters or n + 1 >= len(factors):
            raise self.fail("of sums only those over entries have a meaning in a forward equation", factors[n])
        rest = factors[n + 1 :]
        inner = rest[0] if len(rest) == 1 else Tree("chain", tuple(signs[n + 1 :]), tuple(rest), rest[0].span)
        self.summed.append(str(letter.value))
        body = self.expression(_entrywise(inner))
        self.summed.pop()
        return self.marked(ast.Call(ast.Name("sum"), [body], []), factors[n]), len(factors) - n


def _entrywise(tree: Tree) -> Tree:
    """Under a sum over entries every product is entry by entry."""
    if tree.kind == "chain":
        children = tuple(map(_entrywise, tree.children))
        heads = [base_name(c.children[0] if c.kind == "script" else c) for c in children]
        signs = tuple(
            sign if heads[n] in FUNCTIONS and sign == "" else "odot" if sign in ("", "cdot", "times") else sign
            for n, sign in enumerate(tree.value)
        )
        return Tree("chain", signs, children, tree.span)
    if tree.kind == "script":
        return tree
    return Tree(tree.kind, tree.value, tuple(map(_entrywise, tree.children)), tree.span)


def _without_time_sum(tree: Tree, letters: Sequence[str]) -> Tree | None:
    r"""What `\sum_t` is over; None where the tree is no sum over the lattice."""
    if tree.kind != "chain" or tree.children[0].kind != "script" or not tree.children[0].children[0].names("sum"):
        return None
    sub = next((s.children[0] for s in tree.children[0].children[1:] if s.kind == "sub"), None)
    head = sub.children[0] if sub is not None and sub.kind == "relation" else sub
    if head is None or head.kind != "name" or head.value not in letters:
        return None
    rest = tree.children[1:]
    return rest[0] if len(rest) == 1 else Tree("chain", tree.value[1:], rest, (rest[0].span[0], tree.span[1]))


def _plain_t(script: Tree) -> bool:
    return script.children[0].names("T")


def _is_group(tree: Tree) -> bool:
    inside = tree.children[0] if tree.kind == "script" else tree
    return inside.kind == "group"


def _symbol(name: str) -> Any:
    from sympy import Symbol

    return Symbol(name, integer=True)


def _read(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


_RULES: dict[str, Any] = {
    "number": _Definer.number,
    "name": _Definer.reference,
    "accent": _Definer.reference,
    "script": _Definer.reference,
    "over": _Definer.reference,
    "sum": _Definer.sum,
    "minus": _Definer.minus,
    "frac": _Definer.frac,
    "sqrt": _Definer.sqrt,
    "group": _Definer.group,
    "brace": _Definer.brace,
    "chain": _Definer.chain,
}
