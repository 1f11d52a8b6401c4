r"""The loss of a definition: what `L = ½ \sum_t ‖y_t - d_t‖²`, `E = \sum_t E_t` or `J = L_T` says of its term at one step."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from derive.functions import OUTPUTS
from derive.reader.document import Display
from derive.reader.names import decomposed, index_letters
from derive.reader.naming import Name, symbol
from derive.reader.scope import LOSSES, SURELY_LOSSES
from derive.reader.translate import Translator, is_group
from derive.reader.tree import Tree, chain_of

Loss: TypeAlias = "tuple[ast.expr, str]"
"""The term at the lattice's own index, and where there is one: at `every` step or at the `last`."""

NO_BOUNDS = "a loss sums over every step of its lattice, from 1 to its end, or is that of the last step alone"
NO_MEAN = "a system's loss is the sum over its steps; leave the factor 1/{} away, which scales every gradient alike"
NO_FACTOR = "a system's loss is the plain sum of its terms; put into {0} at a step what stands beside it in the sum"
NO_REST = "a system's loss is a sum over its steps; this stands outside of the sum"


OF_OUTPUT_WRITTEN = {
    "cross_entropy": "-d.T @ log(p)",
    "logistic": "-(d.T @ log(p) + (1 - d).T @ log(1 - p))",
}
"""The rows of `outputs.OF_OUTPUT` as equations are written."""


@dataclass
class Written:
    """One equation as it stands: its trees, its display formula; `further` are the sides behind the first two."""

    left: Tree
    right: Tree
    display: Display
    further: tuple[Tree, ...] = ()


class Losses(Translator):
    """`written` are the equations of the definition; `terms` the losses that stand at an index, translated."""

    written: list[Written]
    terms: dict[str, ast.expr]

    def is_loss(self, typed: str) -> bool:
        """A letter that losses go by, and that no equation reads but one that only adds it up."""
        if typed not in LOSSES or typed in self.declared:
            return False
        reads = (e for e in self.written if self.occurs(e.right, typed) and not self.adds_up(e, typed))
        return typed in SURELY_LOSSES or not any(reads)

    def occurs(self, tree: Tree, typed: str) -> bool:
        return any(t.kind == "name" and t.value == typed for t in tree.walk())

    def adds_up(self, equation: Written, typed: str) -> bool:
        r"""`E = \frac12 \sum_t E_t`, `E = E_T`: nothing but numbers beside the name."""
        if equation.left.kind != "name" or equation.left.value not in LOSSES:
            return False
        body = self.summand(equation.right, frozenset()) or self.at_length(equation.right)
        factors = body.children if body.kind == "chain" else (body,)
        rest = [f for f in factors if any(leaf.kind != "number" for leaf in f.leaves)]
        return len(rest) == 1 and (spelled := decomposed(rest[0])) is not None and spelled[0] == typed

    def loss_side(self, tree: Tree) -> Tree:
        r"""`L_T` and `L(\theta)` on a left side are the loss itself."""
        base, *rest = tree.children if tree.kind in ("script", "chain") else (tree,)
        if base.kind != "name" or base.value not in LOSSES or len(rest) != 1:
            return tree
        at_end = rest[0].kind == "sub" and rest[0].children[0].names(self.letters[0].upper())
        of_all = tree.kind == "chain" and is_group(rest[0]) and not index_letters(rest[0]) & {*self.letters}
        return base if at_end or of_all else tree

    # --- what the equations of losses come to

    def loss(self, charged: Sequence[tuple[Written, Name]]) -> Loss | None:
        """That of the last total, if there is one; else the term at every step."""
        self.terms, self.shift, found = {}, 0, None
        for equation, target in charged:
            if self.stands_at_letter(target):
                self.display = equation.display
                self.terms[target.typed] = self.expression(equation.right)
                found = self.terms[target.typed], "every"
        for equation, target in charged:
            if not self.stands_at_letter(target):
                self.display = equation.display
                rights = (equation.right, *equation.further)
                found = next(filter(None, (self.total(target, right) for right in rights)), found)
        return found

    def stands_at_letter(self, target: Name) -> bool:
        return any(symbol(letter) in index.free_symbols for index in target.index for letter in self.letters)

    def total(self, target: Name, right: Tree) -> Loss | None:
        """`L = …`, `L_T = …`, `L_5 = …`; None where it adds up a loss that nothing defines."""
        self.fixed = int(target.index[0]) if target.index else None
        summed = None if target.index else self.summand(right, frozenset())
        body = summed or self.at_length(right)
        spelled = decomposed(body)
        if spelled is not None and spelled[0] not in self.terms and self.is_loss(spelled[0]):
            return None
        scaled = [name for name in self.terms if spelled is None and self.occurs(body, name)]
        if scaled:
            raise self.fail(NO_FACTOR.format(scaled[0]), right)
        return self.expression(body), "last" if summed is None else "every"

    def of_name(self, found: Name, tree: Tree) -> ast.expr:
        """A loss that has been defined is what it is equal to."""
        if found.typed in self.terms and found.index == tuple(map(symbol, self.letters)):
            return self.after(self.terms[found.typed], found.after, tree)
        return super().of_name(found, tree)

    # --- losses of an output

    def function_node(self, name: str, arguments: list[Tree], tree: Tree) -> ast.expr:
        """`CE(p, d)` of a softmax is `-dᵀ log p`, in either order."""
        orders = (arguments, arguments[::-1]) if name in OUTPUTS and len(arguments) == 2 else ()
        for output, target in orders:
            if self.is_output(output, OUTPUTS[name]):
                names = {"p": self.expression(output), "d": self.expression(target)}
                written = _Named(names, lambda node: self.marked(node, tree))
                return written.visit(ast.parse(OF_OUTPUT_WRITTEN[name], mode="eval").body)  # type: ignore[no-any-return]
        return super().function_node(name, arguments, tree)

    def is_output(self, tree: Tree, function: str) -> bool:
        """Whether this is the function applied, or the name of a state that an equation sets to it."""
        is_name = tree.kind != "chain" or (len(tree.children) == 2 and self.is_index(tree.children[1]))
        typed = self.typed(tree) if is_name else None
        set_to = [e.right for e in self.written if typed is not None and self.typed(e.left) == typed]
        return any(self.is_applied(right, function) for right in (tree, *set_to))

    def is_applied(self, tree: Tree, function: str) -> bool:
        if tree.kind != "chain":
            return False
        signs, factors = self.joined(list(tree.value), list(tree.children))
        return signs == [""] and self.function(factors[0]) == (function, None)

    # --- at one step

    def at_length(self, tree: Tree) -> Tree:
        """A loss of the last step, written at T, at the lattice's own letter."""
        return renamed(tree, self.letters[0].upper(), self.letters[0])

    def summand(self, tree: Tree, lengths: frozenset[str]) -> Tree | None:
        r"""What a sum over the lattice is at one step, its factors with it; None where the tree is no such sum.

        `lengths` are the ends of the sums around it.  Raises `SystemError_` for 1/T, and for other bounds.
        """
        if tree.kind == "chain":
            return self.summed_chain(tree, lengths)
        if tree.kind not in ("minus", "group", "brace", "frac", "sum"):
            return None
        if any(child.kind == "symbol" for child in tree.children):
            return self.continued(tree)
        first, *others = tree.children
        if tree.kind == "sum" and self.summed_over(first):  # the minus behind the sign is the body's: \sum_t -a_t
            body = chain_of(("",), (first, others[0]))
            return self.summand(Tree("sum", None, (body, *others[1:]), tree.span) if others[1:] else body, lengths)
        inside = tree.children[:1] if tree.kind == "frac" else tree.children
        made = [self.summand(child, lengths) for child in inside]
        kept = tuple(child for child in made if child is not None)
        if not kept:
            return None
        if len(kept) < len(made):
            raise self.fail(NO_REST, inside[made.index(None)])
        beside = tree.children[len(inside) :]
        self.refuse_length(beside, lengths)
        return Tree(tree.kind, tree.value, (*kept, *beside), tree.span)

    def summed_chain(self, tree: Tree, lengths: frozenset[str]) -> Tree | None:
        for n, factor in enumerate(tree.children[:-1]):
            over = self.summed_over(factor)
            if over is not None:
                letters, ends = over
                self.refuse_length(tree.children[:n], lengths | ends)
                kept = chain_of(_without(tree.value, n), _without(tree.children, n))
                for letter in letters:
                    kept = renamed(kept, letter, letter if letter in self.letters else self.letters[0])
                return self.summand(kept, lengths | ends) or kept
        for n, factor in enumerate(tree.children):
            inside = self.summand(factor, lengths)
            if inside is not None:
                others = _without(tree.children, n)
                self.refuse_length(others, lengths)
                children = (*tree.children[:n], inside, *tree.children[n + 1 :])
                return Tree("chain", tree.value, children, tree.span)
        return None

    def continued(self, tree: Tree) -> Tree | None:
        r"""`L_1 + L_2 + \dots + L_T`."""
        spelled = [decomposed(term) for term in tree.children if term.kind != "symbol"]
        all_losses = all(parts is not None and self.is_loss(parts[0]) for parts in spelled)
        return self.at_length(tree.children[-1]) if all_losses else None

    def refuse_length(self, trees: Sequence[Tree], lengths: frozenset[str]) -> None:
        for tree in (t for whole in trees for t in whole.walk()):
            if tree.names(*lengths, self.letters[0].upper()) and tree.value not in self.declared:
                raise self.fail(NO_MEAN.format(tree.value), tree)

    def summed_over(self, tree: Tree) -> tuple[list[str], frozenset[str]] | None:
        r"""The letters of `\sum_{t=1}^T` and its end; None where it runs over entries."""
        if tree.kind != "script" or not tree.children[0].names("sum"):
            return None
        below = next((s.children[0] for s in tree.children[1:] if s.kind == "sub"), None)
        above = next((s.children[0] for s in tree.children[1:] if s.kind == "sup"), None)
        head, *low = below.children if below is not None and below.kind == "relation" else (below,)
        names = head.children if head is not None and head.kind == "list" else (head,)
        letters = [str(name.value) for name in names if name is not None and name.kind == "name"]
        ends = frozenset(str(above.value) for _ in "." if above is not None and above.kind == "name")
        steps = bool(letters) and set(letters) <= set(self.letters)
        if not steps and not (len(letters) == 1 and ends == {self.letters[0].upper()}):
            return None
        starts_late = any(b.kind == "number" and b.value != "1" for b in low)
        if starts_late or (above is not None and above.kind not in ("name", "number")):
            raise self.fail(NO_BOUNDS, tree)
        return letters, ends


class _Named(ast.NodeTransformer):
    """What stands for the names of an expression, and a place for all of it."""

    def __init__(self, names: Mapping[str, ast.expr], mark: Callable[[ast.AST], ast.AST]):
        self.names, self.mark = names, mark

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Name) and node.id in self.names:
            return self.names[node.id]
        return self.mark(self.generic_visit(node)) if isinstance(node, ast.expr) else node


def renamed(tree: Tree, old: str, new: str) -> Tree:
    """One letter in place of another, where it is no transpose."""
    if old == new:
        return tree
    if tree.names(old):
        return Tree("name", new, (), tree.span)
    if tree.kind == "sup" and tree.children[0].names(old) and old == "T":
        return tree
    return Tree(tree.kind, tree.value, tuple(renamed(child, old, new) for child in tree.children), tree.span)


def _without(items: tuple[Any, ...], n: int) -> tuple[Any, ...]:
    return (*items[:n], *items[n + 1 :])
