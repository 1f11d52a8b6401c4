"""What formulas are worth at a few points, so quickly that hundreds of edits of one line can be tried.

The truth is the exact field's, as in the check of the line.  Here its elements are bare residues, and every
sub-expression that several candidates share is worked out once.  A line that differs at one of these points is
certainly false; one that agrees at all of them is still to be checked in full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

from sympy import Basic

from derive import expr
from derive.errors import DeriveError
from derive.evaluate import COMPARE, RULES, Array, Point, Ring, integer
from derive.expr import Equals, Node
from derive.field import Element, P, entrywise, object_array
from derive.oracles import ROADS
from derive.oracles.check import Trial
from derive.verdicts.question import SIGNS, ranges_of


@dataclass(frozen=True)
class Place:
    """One point of a lattice of a given length: what symbols are worth there, and how names and derivatives are read."""

    env: Mapping[str, int]
    ring: Any
    read: Callable[[expr.Var, Point], Array]
    partial: Callable[..., Array]


def places(trial: Trial) -> list[Place]:
    """The points of the longer of the lattices that a line is asked at, for one set of sizes."""
    truths = list(islice(trial.truths(ROADS["field"]), LATTICES))
    found = []
    for truth in truths[:0:-1] or truths:
        names = trial.names(truth)
        points = (env for env in trial.points(truth) if trial.only is None or trial.only(env))
        found += [Place(env, truth.engine.ring, names.read, names.partial) for env in islice(points, MOST_POINTS)]
    return found


LATTICES = 4
"""So many lengths there are; the shortest tells the least."""
MOST_POINTS = 16


class Residues(Ring):
    """Arrays of integers modulo p.  Functions, which may branch, are left to the field that the residues come from."""

    def __init__(self, ring: Any):
        self.field = ring

    def number(self, q: Any) -> int:
        return self.field.number(q).v

    def pi(self) -> int:
        return self.field.pi().v

    def constant(self, rows: Any) -> Array:
        return object_array([[int(entry) for entry in row] for row in rows])

    def matmul(self, a: Array, b: Array) -> Array:
        return (a @ b) % P


@cache
def identity(size: int) -> Array:
    return object_array([[int(i == j) for j in range(size)] for i in range(size)])


def residues(a: Array) -> Array:
    return entrywise(lambda e: e.v if isinstance(e, Element) else int(e) % P, a)


class _Memo(dict[Any, Array]):
    """The values of nodes where symbols are worth `env`, each worked out when it is first asked for."""

    def __init__(self, values: _Values, env: Mapping[str, int]):
        super().__init__()
        self.values_at, self.env = values, env

    def __missing__(self, node: Any) -> Array:
        found = self[node] = self.values_at.work_out(node, self.env, self)
        return found


class _Values:
    """In the field itself; plays the part of an evaluation for `derive.evaluate.RULES`."""

    def __init__(self, place: Place):
        self.ring, self.read, self.partial = place.ring, place.read, place.partial
        self._memos: dict[tuple[Any, ...], _Memo] = {}

    def memo(self, env: Mapping[str, int]) -> _Memo:
        key = tuple(env.items())
        found = self._memos.get(key)
        if found is None:
            found = self._memos[key] = _Memo(self, env)
        return found

    def value(self, node: Any, env: Mapping[str, int]) -> Array:
        return self.memo(env)[node]

    def work_out(self, node: Any, env: Mapping[str, int], done: _Memo) -> Array:
        return RULES[type(node)](self, node, env, done)  # type: ignore[arg-type]


class _Residues(_Values):
    """In bare residues, what branches or inverts taken from the field."""

    IN_FIELD = (expr.Var, expr.Apply, expr.Power, expr.Norm, expr.Partial, expr.Pulled, expr.GradientOf)

    def __init__(self, place: Place):
        super().__init__(place)
        self.exact = _Values(place)
        self.ring = Residues(place.ring)

    def work_out(self, node: Any, env: Mapping[str, int], done: _Memo) -> Array:
        if isinstance(node, self.IN_FIELD):
            return residues(self.exact.value(node, env))
        return RULES[type(node)](self, node, env, done) % P  # type: ignore[arg-type]


NOWHERE: tuple[type[Exception], ...] = (
    DeriveError,
    KeyError,
    IndexError,
    ValueError,
    ZeroDivisionError,
    RecursionError,
)
"""What an expression without a value at a point raises."""


class Samples:
    """The values of expressions at several places."""

    def __init__(self, places: Sequence[Place], indices: Mapping[str, str]):
        """`indices`: the index symbols of the lattice, each with its length."""
        self._indices = indices
        self._needed: frozenset[int] = frozenset()
        self._places = [(_Residues(place), place.env) for place in places]

    def __len__(self) -> int:
        return len(self._places)

    def value(self, node: Node, k: int) -> Array | None:
        """The residues of `node` at the k-th place; None where it has no value there."""
        values, env = self._places[k]
        try:
            return values.value(node, env)
        except NOWHERE:
            return None

    def vanishes(self, node: Node) -> bool:
        """Whether it has a value somewhere, and is zero wherever it has one."""
        values = [v for k in range(len(self)) if (v := self.value(node, k)) is not None]
        return bool(values) and not any(v.any() for v in values)

    def survey(self, formula: Equals) -> list[tuple[dict[str, int], bool]]:
        """Every place at which both sides exist, and whether they agree there; that two zeros do says nothing."""
        found = [(k, self.same(formula.lhs, formula.rhs, k)) for k in range(len(self))]
        telling = ((k, same) for k, same in found if same is not None and not (same and self._is_zero(formula.lhs, k)))
        return [(dict(self._places[k][1]), bool(same)) for k, same in telling]

    def _is_zero(self, node: Node, k: int) -> bool:
        value = self.value(node, k)
        return value is not None and not value.any()

    def agree(self, left: Node, right: Node) -> bool:
        """Whether the two are equal wherever both exist, which is where the line that they mend has both sides at least."""
        seen = False
        ranges = ranges_of(Equals(left, right))
        for k in range(len(self)):
            if not all(is_true(c, self._places[k][1]) for c in ranges):
                continue
            same = self.same(left, right, k)
            if same is False or (same is None and k in self._needed):
                return False
            seen = seen or (same is not None and not self._says_nothing(left, k))
        return seen

    def _says_nothing(self, node: Node, k: int) -> bool:
        """Whether it is zero or the identity at a place, as what is derived by itself and an empty product are."""
        value = self.value(node, k)
        rows, columns = (0, 0) if value is None else value.shape
        return value is None or not value.any() or (rows == columns and bool((value == identity(rows)).all()))

    @property
    def on_grid(self) -> bool:
        """Whether the lattice has more than one direction."""
        return len(self._indices) > 1

    def idle_terms(self, root: Basic) -> int:
        """How many terms of its sums vanish, at all places."""
        return sum(not term.any() for k in range(len(self)) for term in self._terms(root, k))

    def _terms(self, root: Basic, k: int) -> Iterator[Array]:
        values, env = self._places[k]
        try:
            yield from (values.value(body, inner) for body, inner in summands(root, env))
        except NOWHERE:
            return

    def tells(self, formula: Equals) -> bool:
        """Whether the sides are equal somewhere, and neither zero nor the identity there."""
        return any(
            self.same(formula.lhs, formula.rhs, k) and not self._says_nothing(formula.lhs, k) for k in range(len(self))
        )

    def same(self, left: Node, right: Node, k: int) -> bool | None:
        a, b = self.value(left, k), self.value(right, k)
        return None if a is None or b is None else a.shape == b.shape and bool((a == b).all())

    def telling(self, formula: Equals) -> Samples:
        """The same places, those at which the two sides of a wrong formula differ ahead, the most telling of them first."""

        def rank(k: int) -> tuple[Any, ...]:
            return self.same(formula.lhs, formula.rhs, k) is not False, *_degenerate(self._places[k][1], self._indices)

        chosen = Samples((), self._indices)
        order = sorted(range(len(self)), key=rank)
        chosen._places = [self._places[k] for k in order]
        chosen._needed = frozenset(n for n, k in enumerate(order) if self.same(formula.lhs, formula.rhs, k) is not None)
        return chosen


def is_true(condition: expr.Relation, env: Mapping[str, int]) -> bool:
    return bool(COMPARE[SIGNS[condition.op]](integer(condition.lhs, env), integer(condition.rhs, env)))


def summands(root: Basic, env: Mapping[str, int]) -> Iterator[tuple[Basic, Mapping[str, int]]]:
    """What the innermost sums in `root` sum, at each step that they run over."""
    if not isinstance(root, expr.Sum):
        for part in root.args if any(isinstance(n, expr.Sum) for n in expr.walk(root)) else ():
            yield from summands(part, env)
        return
    body, (dummy, lo, hi), *ranges = root.args
    inner = expr.Sum(body, *ranges) if ranges else body
    for step in range(integer(lo, env), integer(hi, env) + 1):
        at = {**env, str(dummy): step}
        if any(isinstance(n, expr.Sum) for n in expr.walk(inner)):
            yield from summands(inner, at)
        else:
            yield inner, at


def _degenerate(env: Mapping[str, int], indices: Mapping[str, str]) -> tuple[int, int, int]:
    """How many indices stand at an end, where much is zero; how far they are apart; how long the lattice is."""
    lengths = set(indices.values())
    longest = max(env[length] for length in lengths)
    found = [env[i] for i in env if i in indices or (len(i) == 1 and i in SECOND)]
    ends = sum(k in (1, longest) for k in found)
    return ends, max(found, default=0) - min(found, default=0), longest


SECOND = "ijklms"
"""The letters of second indices, as in `∂h_t/∂h_k`."""
