"""Names in forward equations: which part of `W_{xh}`, `h^{(t)}`, `b_1` is a name, an index, a power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Symbol

from derive.errors import DeriveError, SystemError_
from derive.reader.document import Display
from derive.reader.names import Part, decomposed, index_expression, is_transpose, part_word
from derive.reader.scope import WORDS_OF_FUNCTIONS
from derive.reader.tree import Tree


@dataclass(frozen=True)
class Name:
    """A name as an equation writes it: typed, its index, what is done to it then."""

    typed: str
    index: tuple[Any, ...] = ()
    after: tuple[tuple[str, Any], ...] = ()


class Naming:
    """What names are in one definition: its index letters, its functions, what it calls by shorthands.

    `display` is the formula that is being read; `fixed` the number of a step that stands for the letter (`L_T` of a loss
    at the last step); `summed` the letters of sums over entries around the place.
    """

    def __init__(self, display: Display, renamed: dict[str, str]):
        self.display, self.renamed = display, renamed
        self.letters: tuple[str, ...] = ("t",)
        self.shorthands: dict[str, Tree] = {}
        self.summed: list[str] = []
        self.placed = False
        self.fixed: int | None = None

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
            return "index", [symbol(self.letters[0])]
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

    def typed(self, tree: Tree) -> str | None:
        try:
            found = self.named(tree) if tree.kind != "chain" else self.named(tree.children[0])
        except DeriveError:
            return None
        return found.typed if found is not None else None

    def is_index(self, group: Tree) -> bool:
        inside = group.children[0] if group.kind == "script" else group
        if inside.kind != "group" or len(inside.children) != len(self.letters):
            return False
        indices = [index_expression(c, self.letters) for c in inside.children]
        return all(i is not None and {str(s) for s in i.free_symbols} & set(self.letters) for i in indices)

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

    def stack(self, tree: Tree) -> list[Tree] | None:
        """The parts of a concatenation, written out or by the name of a shorthand."""
        if tree.kind == "group" and str(tree.value)[0] in "[(" and len(tree.children) > 1:
            return list(tree.children)
        if tree.kind == "matrix" and all(len(row.children) == 1 for row in tree.children) and len(tree.children) > 1:
            return [row.children[0] for row in tree.children]
        typed = self.typed(tree) if tree.kind in ("name", "script", "accent") else None
        return self.stack(self.shorthands[typed]) if typed in self.shorthands else None

    def fail(self, message: str, tree: Tree) -> DeriveError:
        return SystemError_(message, self.display.place(tree.span[0]))

    def marked(self, node: Any, tree: Tree) -> Any:
        node.span, node.display = tree.span, self.display
        return node


def symbol(name: str) -> Any:
    return Symbol(name, integer=True)
