r"""Paths and lists of them, `C_3 \to f_3 \to h_2`: whether each is one, and whether a list has them all.

An arrow leads from what reads to what is read, or the other way round; a whole claim keeps to one direction.  Names that the
claim does not mention may be passed on the way: where h = o ∘ m and m = tanh(C), `C_2 \to h_2` is an edge of a text that
never speaks of m.

    piece   a set in braces, or what stands alone: pieces are walked one after the other, each path with each
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from sympy import Basic, Tuple

from derive.errors import DeriveError
from derive.expr import Path, Var
from derive.printing import text
from derive.reader import limits
from derive.reader.claims import Claim
from derive.reader.relations import letters_in, paths_of
from derive.reader.resolve import Resolver
from derive.reader.tree import Tree
from derive.verdicts.graph import Graph, Nodes
from derive.verdicts.judge import Judged
from derive.verdicts.report import Certificate, Diagnosis
from derive.verdicts.shorthands import extended

if TYPE_CHECKING:
    from derive.verdicts.verify import Reviewed

MOST_NAMED = 3
"""So many paths are named in one sentence."""
MOST_CAUSES = 2
JOINS = {"relation": {"->"}, "chain": {"times"}}
"""How pieces are put one after the other."""


def judge(review: Reviewed, claim: Claim) -> Judged:
    """One path *holds* if each of its edges is there.  A list claims to be complete if its paths share an end."""
    formula = claim.formula
    assert formula is not None
    found = tuple(tuple(path.args) for path in (formula.args if isinstance(formula, Tuple) else (formula,)))
    try:
        listed = Listed(graph_of(review, claim, found), found, pieces(claim), formula)
        return listed.judged()
    except DeriveError as error:
        return Judged("undecided", formula, reason=str(error))


def pieces(claim: Claim) -> list[list[Nodes]]:
    """What the text walks through one after the other, each piece as the paths that it stands for."""
    assert claim.scope is not None
    resolver = Resolver(claim.scope)
    resolver.indices = letters_in(claim.tree, claim.scope)

    def parts(tree: Tree) -> Iterator[list[Nodes]]:
        if JOINS.get(tree.kind) == set(tree.value or ()):
            for child in tree.children:
                yield from parts(child)
        else:
            yield paths_of(resolver, tree)

    return list(parts(claim.tree))


def graph_of(review: Reviewed, claim: Claim, found: Sequence[Nodes]) -> Graph:
    """What reads what; a shorthand that the claim names is a node too.  Raises `DeriveError` for a name of nobody."""
    if claim.system is None:
        raise DeriveError("no system is defined whose paths these could be")
    names = {v.name for path in found for v in path}
    used = {target.name: (target, value) for target, value in review.definitions(claim) if target.name in names}
    system, _ = extended(claim.system, tuple(used.values()))
    strange = sorted(names - system.variables.keys())
    if strange:
        raise DeriveError(f"{' and '.join(strange)} is no name of {system.name}")
    return Graph(system, frozenset(names), frozenset(claim.hold), tuple(v for path in found for v in path))


@dataclass(frozen=True)
class Listed:
    """The paths of a claim as they are written, and their pieces."""

    graph: Graph
    written: tuple[Nodes, ...]
    pieces: Sequence[Sequence[Nodes]]
    formula: Basic

    def judged(self) -> Judged:
        skips = self.skips()
        if skips is not None:
            return Judged(
                "undecided", self.formula, reason=f"{shown(skips)} passes names that the text mentions elsewhere"
            )
        causes = [*self.wrong(), *self.missing()]
        if causes:
            return Judged("fails", self.formula, causes=tuple(causes[:MOST_CAUSES]), certificate=self.certificate(""))
        return Judged("holds", self.formula, certificate=self.certificate(self.note()))

    @cached_property
    def backward(self) -> bool:
        """Whether the arrows lead from what reads to what is read: the direction in which more ends, and edges, fit."""
        return self._fitting(self.written) >= self._fitting([path[::-1] for path in self.written])

    def _fitting(self, late_first: Sequence[Nodes]) -> tuple[int, int]:
        ends = sum(self.graph.depends(late, early) for late, early in {(path[0], path[-1]) for path in late_first})
        return ends, sum(b in self.graph.before(a) for path in late_first for a, b in pairwise(path))

    def late_first(self, path: Nodes) -> Nodes:
        return path if self.backward else path[::-1]

    def is_path(self, path: Nodes) -> bool:
        named = self.graph.mentioned.union(v.name for v in path)
        graph = self.graph if named == self.graph.mentioned else replace(self.graph, mentioned=named)
        return graph.is_path(self.late_first(path))

    @cached_property
    def right(self) -> tuple[Nodes, ...]:
        return tuple(path for path in self.written if self.is_path(path))

    @property
    def is_product(self) -> bool:
        """Whether several sets are walked each with each, so that not every combination was written down."""
        return sum(len(piece) > 1 for piece in self.pieces) > 1

    # --- what is wrong

    @cached_property
    def chosen(self) -> Sequence[Nodes]:
        """What somebody wrote down himself: the parts of a product, else the paths."""
        return [path for piece in self.pieces for path in piece] if self.is_product else self.written

    def skips(self) -> Nodes | None:
        """An edge that is none, but a way through names that the claim mentions: perhaps one that is meant."""
        broken = [edge for path in self.chosen for edge in pairwise(path) if not self.is_path(edge)]
        leads = [self.graph.depends(*self.late_first(edge)) for edge in broken]
        return broken[0] if broken and all(leads) else None

    def wrong(self) -> Iterator[Diagnosis]:
        """What was written and is no path."""
        for path in self.chosen:
            if not self.is_path(path):
                yield from self._mended(path)
                return
            if not any(_stands_in(path, whole) for whole in self.right):
                yield Diagnosis("extra-term", f"no path of the list goes through {shown(path)}")
                return

    def _mended(self, path: Nodes) -> Iterator[Diagnosis]:
        first = next((a, b) for a, b in pairwise(path) if not self.is_path((a, b)))
        because = f"there is no edge {shown(first)}"
        found = list(islice(((k, s, n) for k, s, n in self._changes(path) if self.is_path(n)), MOST_CAUSES))
        for kind, sentence, new in found:
            yield Diagnosis(kind, f"{because}: {sentence}", repair=self._with(path, new))
        if not found:
            yield Diagnosis("unknown", because)

    def _changes(self, path: Nodes) -> Iterator[tuple[str, str, Nodes]]:
        """Single changes of a path: another step, another name, two exchanged, one left out."""
        for n, v in enumerate(path):
            for shift in (1, -1) if v.index else ():
                new = v.at((v.index[0] + shift, *v.index[1:]))
                yield "index", f"{text(v)} should be {text(new)}", (*path[:n], new, *path[n + 1 :])
        for n, (a, b) in enumerate(pairwise(path)):
            yield "order", f"{text(a)} and {text(b)} stand in the wrong order", (*path[:n], b, a, *path[n + 2 :])
        for n, v in enumerate(path):
            for state in self.graph.system.states if 0 < n < len(path) - 1 and v.index else ():
                new = state.var.at(v.index)
                yield "symbol", f"{text(v)} should be {text(new)}", (*path[:n], new, *path[n + 1 :])
        for n in range(1, len(path) - 1):
            yield "extra-term", f"{text(path[n])} does not belong here", (*path[:n], *path[n + 1 :])

    def _with(self, path: Nodes, new: Nodes) -> Basic:
        """The claim mended; in a product of sets, the path that was mended."""
        if path not in self.written or len(self.written) == 1:
            return Path(*new)
        return Tuple(*(Path(*(new if p == path else p)) for p in self.written))

    # --- what is missing

    def missing(self) -> Iterator[Diagnosis]:
        if not self.is_complete:
            return
        lost = [path for path in self.all if path not in set(self.right)]
        if lost:
            what = "the path" if len(lost) == 1 else f"{len(lost)} paths:"
            more = ", …" if len(lost) > MOST_NAMED else ""
            sentence = f"the list misses {what} {', '.join(map(shown, lost[:MOST_NAMED]))}{more}"
            named = tuple(tuple(map(text, self.late_first(path)[::-1])) for path in lost)
            yield Diagnosis("missing-path", sentence, named, repair=Tuple(*(Path(*p) for p in (*self.right, *lost))))

    @property
    def is_complete(self) -> bool:
        """Whether the list is about all paths: several, from one place or to one place."""
        ends = {p[0] for p in self.written}, {p[-1] for p in self.written}
        return len(self.written) > 1 and min(map(len, ends)) == 1

    @cached_property
    def all(self) -> tuple[Nodes, ...]:
        """Every path between the ends of the list, in the direction of the text; none leads through another end."""
        ordered = [self.late_first(path) for path in self.written]
        starts, ends = dict.fromkeys(p[0] for p in ordered), frozenset(p[-1] for p in ordered)
        if any(not v.index for v in ends) and not all(i.is_Integer for v in self.graph.nodes for i in v.index):
            raise DeriveError("how many paths lead to a parameter depends on the number of steps")
        walked = (path for start in starts for path in self.graph.paths(start, ends, frozenset(starts)))
        found = tuple(islice(walked, limits.MOST_PATHS + 1))
        if len(found) > limits.MOST_PATHS:
            raise DeriveError(f"there are more than {limits.MOST_PATHS} paths between these ends")
        return tuple(map(self.late_first, found))

    # --- certificate

    def certificate(self, note: str) -> Certificate:
        return Certificate("graph", note=note)

    def note(self) -> str:
        count = len(set(self.right))
        said = [f"{count} path{'s' if count > 1 else ''}{', and there are no others' if self.is_complete else ''}"]
        idle = [path for path in self.written if path not in self.right]
        if idle:
            said.append(
                f"{len(idle)} of the {len(self.written)} combinations {'is' if len(idle) == 1 else 'are'} no path"
            )
            said.append(", ".join(map(shown, idle[:MOST_NAMED])))
        return ": ".join(["; ".join(said[:2]), *said[2:]])


def _stands_in(piece: Nodes, whole: Nodes) -> bool:
    return any(whole[n : n + len(piece)] == piece for n in range(len(whole) - len(piece) + 1))


def shown(path: Iterable[Var]) -> str:
    return text(Path(*path))
