"""What a document shows of its author's habits: where the index of time stands, and which names carry it.

An author who writes `h^{(t)}` throughout means an entry by `h_1`, one who writes `h_t` means a power by `h_t^2`.  Nothing
is forbidden by a habit: a reading against it costs so much that any other one goes before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from derive.reader.names import Part, decomposed, index_expression, spellings
from derive.reader.tree import Tree

UNUSUAL = 8
"""The price of an index of time where the author never puts one."""
SELDOM = 0.1
"""A place that is used so much less often than the usual one is no habit."""
NO_NAMES = ("sum", "prod", "partial", "nabla", "max", "min")


@dataclass(frozen=True)
class Habits:
    """`places`: where time stands, as `Part.place` has it; empty where nothing shows it.  `timed`: names that carry it.

    `losses`: letters of which derivatives are taken.  `signs`: which of several signs for one thing are usual, `top`
    beside `T`, `d` beside `partial`.
    """

    places: frozenset[str] = frozenset()
    timed: frozenset[str] = frozenset()
    signs: frozenset[str] = frozenset()
    losses: frozenset[str] = frozenset()

    def against(self, places: Iterable[str]) -> int:
        """The price of indices of time in these places."""
        return sum(UNUSUAL for place in places if place not in self.places) if self.places else 0

    def forbids(self, places: Iterable[str]) -> bool:
        """Whether an index stands above without brackets, of an author who never writes one there."""
        return bool(self.places) and "sup" not in self.places and "sup" in set(places)

    @property
    def has_other_transposes(self) -> bool:
        """Whether `^T` need not be a transpose, since transposes are written otherwise."""
        return "top" in self.signs and "T" not in self.signs

    def means_total(self, straight: bool) -> bool:
        """Whether a derivative with a straight d is the total one to the author, who has ∂ for others."""
        return straight and "partial" in self.signs


NO_HABITS = Habits()


def observed(trees: Sequence[Tree], letters: Sequence[str], constant: frozenset[str] = frozenset()) -> Habits:
    """The habits that formulas show; `constant` are names without an index, whose superscripts are powers."""
    counted: Counter[str] = Counter()
    timed: set[str] = set()
    for base, parts in (found for tree in trees for found in _scripted(tree)):
        at_time = [part for part in parts if _is_time(part, letters) and not (part.place == "sup" and base in constant)]
        counted.update({part.place for part in at_time})
        if at_time:
            timed.update(s.name for s in spellings(base, parts, letters) if s.index)
    signs = Counter(sign for tree in trees for sign in _signs(tree))
    usual = _usual(signs, "T", "top") | _usual(signs, "d", "partial")
    losses = frozenset(name for tree in trees for name in _differentiated(tree))
    return Habits(_usual(counted), frozenset(timed), usual, losses)


def _usual(counted: Counter[str], *signs: str) -> frozenset[str]:
    kept = {sign: n for sign, n in counted.items() if not signs or sign in signs}
    return frozenset(sign for sign, n in kept.items() if n > SELDOM * max(kept.values()))


def _differentiated(tree: Tree) -> Iterator[str]:
    """The names that stand behind a ∂, a d or a nabla."""
    for node in tree.walk():
        if node.kind == "chain":
            for operator, name in pairwise(node.children):
                base, head = (t.children[0] if t.kind == "script" else t for t in (operator, name))
                if base.names("partial", "d", "nabla") and head.kind == "name":
                    yield str(head.value)
        elif node.names("dL", "dE", "dJ", "dC"):
            yield str(node.value)[1:]


def _signs(tree: Tree) -> Iterator[str]:
    for node in tree.walk():
        if node.names("partial", "d"):
            yield str(node.value)
        elif node.kind == "sup" and node.children[0].names("T", "top"):
            yield str(node.children[0].value)


def _scripted(tree: Tree) -> Iterator[tuple[str, tuple[Part, ...]]]:
    for node in tree.walk():
        spelled = decomposed(node) if node.kind == "script" else None
        if spelled is not None and spelled[0] not in NO_NAMES:
            yield spelled
        elif node.kind == "chain":
            for n, (name, group) in enumerate(zip(node.children, node.children[1:], strict=False)):
                if node.value[n] == "" and group.kind == "group" and group.value == "(":
                    called = decomposed(name)
                    if called is not None:
                        yield called[0], tuple(Part("call", child, True) for child in group.children)


def _is_time(part: Part, letters: Sequence[str]) -> bool:
    """`t`, `t-1`, `t+1`: the lattice's letter and at most a number."""
    if part.where in ("prime", "odot"):
        return False
    index = index_expression(part.tree, letters)
    if index is None:
        return False
    _, rest = index.as_coeff_Add()
    return bool(rest.is_Symbol) and str(rest) in letters
