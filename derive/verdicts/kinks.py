"""Where a function takes another branch: relu at 0, hard_tanh at -1 and 1, max where its two values are equal.

A line in which such a branch is never taken at any point shows nothing of it: `max(x_t, 1000) = 1000` is true of all numbers
that are drawn.  The verdict *holds* stands only where both sides of every kink were seen, where a range or a premise
says on which side all values lie, or where nothing kinked is in the line and in the equations it depends on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import lru_cache

import sympy
from sympy import Basic

from derive import expr, functions, norms
from derive.errors import DeriveError
from derive.expr import Equals, Node
from derive.oracles import ROADS, Verdict
from derive.oracles.check import Trial
from derive.oracles.truth import Outside
from derive.printing import text
from derive.ranges import Range, as_function, over_interval, range_of_expression, range_of_function
from derive.system import System

MOST_SEEDS = 8
"""So many draws of everything are tried to see a kink from both sides."""


def settled(trial: Trial, found: Verdict, road: str) -> Verdict:
    """The verdict *holds*, if both sides of every kink were seen; what more draws show; else *undecided*."""
    known = _supposed(trial)
    open_ = [d for d in _of_trial(trial) if not has_known_sign(trial.system, d, known)]
    seeds, seen = trial.first, {d: set[int]() for d in open_}
    upto = seeds + found.seeds
    while open_:
        while open_ and seeds < upto:
            _look(trial, road, seeds, seen)
            open_, seeds = [d for d in open_ if len(seen[d]) < 2], seeds + 1
        if not open_ or seeds >= MOST_SEEDS:
            break
        more = replace(trial, first=seeds).verdict(road)
        if more.verdict == "fails":
            return replace(more, seeds=seeds + more.seeds)
        if more.verdict != "holds":
            break
        upto = seeds + more.seeds
    open_ = [d for d in open_ if not _is_premise(trial, road, d)]
    if not open_:
        return found
    reason = f"{text(open_[0])} has one sign at all points that were tried, and nothing says that it has no other"
    return replace(found, verdict="undecided", error_bound=None, reason=reason)


# --- which there are --------------------------------------------------------------------------------------------------


def _of_trial(trial: Trial) -> list[Node]:
    """What is compared with zero in a formula, in its shorthands and in the equations that it depends on."""
    defined = [value for several in (trial.definitions or {}).values() for _, value in several]
    roots: list[Basic] = [trial.equation, *defined]
    equations = trial.system.equations
    variables = [v for root in roots for v in expr.variables(root)]
    adjoint = any(v.marks for v in variables) or any(
        isinstance(n, (expr.GradientOf, expr.Pulled)) for root in roots for n in expr.walk(root)
    )
    names = list(equations) if adjoint else [v.name for v in variables]
    done: set[str] = set()
    while names:
        name = names.pop()
        if name in equations and name not in done:
            done.add(name)
            roots.append(equations[name].rhs)
            names += [v.name for v in expr.variables(equations[name].rhs)]
    return list(dict.fromkeys(d for root in roots for d in of_formula(root)))


@lru_cache(maxsize=1024)
def of_formula(root: Basic) -> tuple[Node, ...]:
    """The differences whose sign picks a branch somewhere in it."""
    return tuple(dict.fromkeys(d for node in expr.walk(root) for d in _differences(node)))


def _differences(node: Basic) -> Iterator[Node]:
    if isinstance(node, expr.Norm) and node.kind in ("1", "inf"):
        yield node.args[0]
    elif isinstance(node, expr.Apply) and len(node.arguments) == 2 and node.function in ("max", "min"):
        first, second = node.arguments
        yield expr.add(first, expr.scale(-1, second))
    elif isinstance(node, expr.Apply) and len(node.arguments) == 1:
        (value,) = node.arguments
        for cut in _cuts(node.function):
            yield expr.add(value, expr.scale(-cut, expr.Ones(*value.shape))) if cut else value


@lru_cache(maxsize=256)
def _cuts(name: str) -> tuple[sympy.Expr, ...]:
    row = functions.row(name)
    value = row.expression if isinstance(row, functions.Elementwise) else None
    if value is None:
        return ()
    found = {relation.rhs for relation in value.atoms(sympy.core.relational.Relational)}
    if value.has(sympy.Abs, sympy.sign):
        found.add(sympy.Integer(0))
    return tuple(sorted((cut for cut in found if cut.is_Rational), key=sympy.default_sort_key))


# --- on which sides values lie ----------------------------------------------------------------------------------------


def has_known_sign(system: System, node: Node, known: Collection[Node] = ()) -> bool:
    """Whether all values are on one side by the ranges of what they are made of, and by what is `known` not to be
    negative; of numbers alone there is one value."""
    opposite = expr.add(*(expr.scale(-1, a) for a in (node.args if isinstance(node, expr.Add) else (node,))))
    return not expr.variables(node) or any(not_negative(system, side, known) for side in (node, opposite))


def not_negative(system: System, node: Node, known: Collection[Node] = ()) -> bool:
    if any(_exceeds(node, k) for k in known) or isinstance(node, (expr.Ones, expr.Zero, expr.Norm)):
        return True
    if isinstance(node, expr.Power) and node.args[1].is_even:
        return True
    if isinstance(node, expr.Inner) and node.args[0] == node.args[1]:
        return True
    if isinstance(node, expr.Apply) and len(node.arguments) == 1:
        found = range_of_function(node.function, node.order)
        if found is not None and found.low >= 0:
            return True
    parts = node.args if isinstance(node, (expr.Add, expr.Had, expr.Scale, expr.Mul)) else ()
    if parts and all(not_negative(system, a, known) if isinstance(a, Node) else a.is_nonnegative for a in parts):
        return True
    return _by_choices(system, node, known) or _by_range(system, node)


def _by_choices(system: System, node: Node, known: Collection[Node]) -> bool:
    """Of `max(a, b) + c`, where one of `a + c` and `b + c` is not negative; of a min, where both are."""
    terms = node.args if isinstance(node, expr.Add) else (node,)
    for n, term in enumerate(terms):
        factor, value = (
            term.args if isinstance(term, expr.Scale) and not isinstance(term.args[0], Node) else (sympy.S.One, term)
        )
        if isinstance(value, expr.Var) and value.name in system.equations and value.index == system.lattice.indices:
            value = system.equations[value.name].rhs
        if not (isinstance(value, expr.Apply) and value.function in ("max", "min") and factor.is_number):
            continue
        rest = terms[:n] + terms[n + 1 :]
        sums = (expr.add(expr.scale(factor, a), *rest) for a in value.arguments if a.shape == node.shape)
        found = [not_negative(system, each, known) for each in sums]
        if len(found) == 2 and (any(found) if (value.function == "max") == bool(factor > 0) else all(found)):
            return True
    return False


def _exceeds(node: Node, known: Node) -> bool:
    """Whether it is that, or a positive number more."""
    if node.shape != known.shape:
        return False
    more = expr.as_number(expr.add(node, expr.scale(-1, known)))
    return more is not None and bool(more >= 0)


def _supposed(trial: Trial) -> tuple[Node, ...]:
    """What the premises say is not negative."""
    pairs = [(r.lhs, r.rhs) if r.op in (">", ">=") else (r.rhs, r.lhs) for r in trial.given if r.op in IN_ORDER]
    return tuple(expr.add(large, expr.scale(-1, small)) for large, small in pairs if large.shape == small.shape)


IN_ORDER = ("<", "<=", ">", ">=")


def _by_range(system: System, node: Node) -> bool:
    names = expr.variables(node)
    value = as_function(node, names[0]) if len(names) == 1 else None
    if value is None:
        return False
    name = names[0]
    if name.name not in system.equations:
        return _lies_above(range_of_expression(value))
    domain = norms.range_of_state(system, name)
    within = domain is not None and _lies_above(over_interval(value, domain))
    if name.index == system.lattice.indices or not within:
        return within
    at_zero = value.subs(dict.fromkeys(value.free_symbols, 0))  # before the first step, where nothing is given
    return bool(at_zero >= 0) and system.boundary.get(name.name, "zero") == "zero"


def _lies_above(found: Range | None) -> bool:
    return found is not None and bool(found.low >= 0)


def _look(trial: Trial, road: str, seed: int, seen: dict[Node, set[int]]) -> None:
    """The signs of all entries at all points of a draw."""
    waiting = {d: replace(trial, equation=Equals(d, d), outside="zero") for d in seen if len(seen[d]) < 2}
    for truth in trial.truths(ROADS[road], seed):
        for d, asked in list(waiting.items()):
            try:
                for _, values, _ in asked.sides(truth):
                    seen[d].update(e.sign() for e in values.flat if e.sign())
            except (DeriveError, Outside):
                continue
            if len(seen[d]) == 2:
                del waiting[d]
        if not waiting:
            return


def _is_premise(trial: Trial, road: str, d: Node) -> bool:
    """Whether `d` is, at the points of a premise `a > b`, what it says is not negative, or the opposite of that."""
    for apart in _supposed(trial):
        for value in (apart, expr.scale(-1, apart)):
            if value.shape == d.shape and replace(trial, equation=Equals(d, value)).verdict(road).verdict == "holds":
                return True
    return False
