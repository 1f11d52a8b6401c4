"""Terms of forward equations as Python's syntax: names at indices, sums, quotients, norms, scripts."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from derive.expr import Shape
from derive.reader.document import Display
from derive.reader.names import Part, index_expression, is_transpose
from derive.reader.naming import Name, Naming, symbol
from derive.reader.tree import Tree


@dataclass
class Split:
    """`W [h; x]`: the matrix as its parts, each with the vector that it multiplies."""

    parts: dict[str, Tree] = field(default_factory=dict)


class Terms(Naming):
    """One definition's names and terms: `indexed` and `plain` are the names that were met, with and without an index."""

    def __init__(self, display: Display, renamed: dict[str, str], declared: dict[str, Shape]):
        super().__init__(display, renamed)
        self.declared = declared
        self.functions: set[str] = set()
        self.shadowed: set[str] = set()
        self.splits: dict[str, Split] = {}
        self.indexed: dict[str, None] = {}
        self.plain: dict[str, None] = {}
        self.shift = 0

    def expression(self, tree: Tree) -> ast.expr:
        raise NotImplementedError

    def subscript(self, typed: str, index: Sequence[Any]) -> ast.Subscript:
        elements = [self.element(i) for i in index]
        inside = elements[0] if len(elements) == 1 else ast.Tuple(elements)
        return ast.Subscript(ast.Name(typed), inside)

    def element(self, index: Any) -> ast.expr:
        index = index + self.shift if len(self.letters) == 1 else index
        letter = next((x for x in self.letters if symbol(x) in index.free_symbols), None)
        if letter is None:
            return ast.Constant(int(index)) if index.is_Integer else ast.Name(str(index))
        offset = index - symbol(letter)
        if not offset.is_Integer:
            return ast.Name(str(index))
        if offset == 0:
            return ast.Name(letter)
        return ast.BinOp(ast.Name(letter), ast.Add() if offset > 0 else ast.Sub(), ast.Constant(abs(int(offset))))

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
        if (
            found is None
            or tree.names("sum", "prod")
            or (tree.kind == "script" and tree.children[0].names("sum", "prod"))
        ):
            raise self.fail("this is no name" if found is None else "nothing stands behind this sign", tree)
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
