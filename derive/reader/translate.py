"""Trees of forward equations become Python's syntax trees, each with the span that it was read from."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from derive import functions
from derive.equations import Juxtapose, Source
from derive.errors import Place
from derive.reader.document import Display
from derive.reader.names import Part, base_name, decomposed, part_word
from derive.reader.scope import FUNCTIONS
from derive.reader.terms import Split, Terms
from derive.reader.tree import Span, Tree


@dataclass(frozen=True)
class Translated(Source):
    """Statements that were read from LaTeX; places are those of the document."""

    assignments: tuple[ast.Assign, ...] = ()

    @classmethod
    def of(cls, assignments: Iterable[ast.Assign], name: str) -> Translated:
        return cls("", name, 1, (0,), tuple(assignments))

    def statements(self) -> list[ast.Assign]:
        return list(self.assignments)

    def expression(self) -> ast.expr:
        return self.assignments[0].value

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


class Translator(Terms):
    """The equations of one definition: chains of factors and what is applied in them."""

    def expression(self, tree: Tree) -> ast.expr:
        rule = _RULES.get(tree.kind)
        if rule is None:
            raise self.fail(f"this {tree.kind} has no meaning in a forward equation", tree)
        return self.marked(rule(self, tree), tree)  # type: ignore[no-any-return]

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
        group = after.children[0] if after.kind == "script" and is_group(after) else after
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


def is_group(tree: Tree) -> bool:
    inside = tree.children[0] if tree.kind == "script" else tree
    return inside.kind == "group"


_RULES: dict[str, Any] = {
    "number": Translator.number,
    "name": Translator.reference,
    "accent": Translator.reference,
    "script": Translator.reference,
    "over": Translator.reference,
    "sum": Translator.sum,
    "minus": Translator.minus,
    "frac": Translator.frac,
    "sqrt": Translator.sqrt,
    "group": Translator.group,
    "brace": Translator.brace,
    "chain": Translator.chain,
}
