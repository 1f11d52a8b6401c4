"""Checks: every formula that derive writes, by roads that share no rule with it, and the emitted code by the same roads.

A derivation is checked line by line: every `lhs = rhs` of every step is evaluated, both sides, at every point of small
lattices, with all that it reads taken from automatic differentiation of the forward equations (`derive.oracles`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from sympy import Integer

from derive import expr, functions
from derive.derivation import Derivation
from derive.emit import compile_system
from derive.errors import DeriveError, QueryError, ShapeError
from derive.expr import Equals
from derive.oracles import ROADS, Road, Verdict, check_equation, inequalities
from derive.oracles.inequalities import Measured
from derive.oracles.points import free_indices, sample_sizes
from derive.system import System

if TYPE_CHECKING:
    from collections.abc import Mapping

NUMERIC = "autograd"
"""The float road that a derivation's verdict quotes, where it is installed."""


@dataclass(frozen=True)
class Claim:
    """A formula as a derivation states it: the equation, what is held constant in it, how many steps there are."""

    system: System
    equation: Equals
    derived: System | None
    hold: tuple[str, ...] = ()
    unroll: int | None = None
    ranges: tuple[tuple[Any, tuple[Any, Any]], ...] = ()

    def verdict(self, road: Road | str, seed: int = 0) -> Verdict:
        """The verdict by one road.  Derivations share lines (all of them use the table): each is judged once."""
        return _verdict(self, road, seed)


@lru_cache(maxsize=4096)
def _verdict(claim: Claim, road: Road | str, seed: int) -> Verdict:
    at_numbers = not free_indices(claim.equation) & set(map(str, claim.system.lattice.indices))
    steps = [(claim.unroll,) * claim.system.lattice.dimension] if claim.unroll and at_numbers else None
    return check_equation(
        claim.system, claim.equation, derived=claim.derived, road=road, steps=steps, hold=claim.hold, seed=seed,
        ranges=_ranges(claim),
    )  # fmt: skip


def _ranges(claim: Claim) -> Mapping[Any, tuple[Any, Any]]:
    """A second index, as in `∂h_t/∂h_k`, runs over what the formula is claimed for: earlier steps, or later ones."""
    return {**dict(claim.ranges), **dict(claim_ranges(claim.equation, claim.system))}


def claim_ranges(equation: Equals, system: System) -> Iterator[tuple[Any, tuple[Any, Any]]]:
    """`(k, (lo, hi))` for an index of the left side that bounds an ordered product of the right side."""
    own = set(system.lattice.indices)
    for node in expr.walk(equation.rhs):
        if isinstance(node, expr.Product) and not isinstance(equation.lhs, expr.Var):
            _, lo, hi = node.args[1]
            low, high = (lo - 1, hi) if node.descending else (lo, hi + 1)
            for k in sorted(low.free_symbols - own, key=str):
                if node.descending:
                    yield k, (Integer(1), _base(high) - 1)
            for k in sorted(high.free_symbols - own - low.free_symbols, key=str):
                if not node.descending:
                    yield k, (_base(low) + 1, system.lattice.lengths[0])


def _base(index: Any) -> Any:
    return next(iter(sorted(index.free_symbols, key=str)), index)


def interior(derivation: Derivation) -> dict[Any, tuple[Any, Any]]:
    """Where a formula by paths holds: a path passes only through points of the lattice, since a boundary value is a leaf."""
    lattice = derivation.system.lattice
    bounds = {}
    labels = {n for s in derivation.steps for line in s.lines for n in expr.walk(line) if isinstance(n, expr.Path)}
    inner = [v.index for path in labels for v in path.args[1:-1] if v.index]
    for axis, (index, length) in enumerate(zip(lattice.indices, lattice.lengths, strict=True)):
        offsets = [int(i[axis] - index) for i in inner if (i[axis] - index).is_Integer]
        if offsets:
            bounds[index] = (Integer(1 - min(0, *offsets)), length - max(0, *offsets))
    return bounds


def claims(derivation: Derivation) -> Iterator[Claim]:
    """Every equation of every step, each once; definitions (the forward equations) are what the rest is measured by."""
    seen: set[Equals] = set()
    hold = tuple(derivation.options.get("hold", ()))
    unroll = derivation.options.get("unroll")
    derived = _derived_system(derivation, hold)
    ranges = (
        tuple(interior(derivation).items())
        if isinstance(derivation.expr, expr.Node) and _is_jacobian(derivation)
        else ()
    )
    for step in derivation.steps:
        for line in step.lines:
            if isinstance(line, Equals) and line not in seen and step.rule not in UNCHECKED:
                seen.add(line)
                line = numerator(line)
                yield Claim(derivation.system, expr.strip_labels(line), derived, hold, unroll, ranges)


def numerator(line: Equals) -> Equals:
    """The equation of a Jacobian in numerator layout, whichever it is written in."""
    if isinstance(line.lhs, expr.Transpose) and isinstance(line.lhs.args[0], expr.Partial):
        return Equals(line.lhs.args[0], expr.transpose(line.rhs))
    return line


def _is_jacobian(derivation: Derivation) -> bool:
    return derivation.query.startswith("d") and not derivation.query.startswith("dL")


UNCHECKED = ("definition", "special value", "norm", "law", "path count")
"""The rules of steps whose equations introduce a name, or say nothing of the system itself."""


def _derived_system(derivation: Derivation, hold: tuple[str, ...]) -> System:
    """The system that the marked names of the derivation belong to."""
    if derivation.query == "tangent":
        return derivation.system.tangent()
    from derive.adjoint import adjoint

    return adjoint(derivation.system, hold)


def check_derivation(derivation: Derivation, seed: int = 0) -> Verdict:
    """One verdict for all lines: *holds* if all hold, its error bound the sum of theirs; and the error against autograd."""
    verdicts = [claim.verdict("field", seed) for claim in claims(derivation)]
    if not verdicts:
        return Verdict("defines", "definition", 0, 0, reason="these equations are what the rest is measured by")
    wrong = next((v for v in verdicts if v.verdict == "fails"), None)
    if wrong is not None:
        return wrong
    open_ = next((v for v in verdicts if not v), None)
    if open_ is not None:
        return open_
    checked = [v for v in verdicts if v.verdict == "holds"]
    if not checked:
        return verdicts[0]
    bound = sum(v.error_bound or 0.0 for v in checked)
    total = replace(
        checked[0], points=sum(v.points for v in checked), error_bound=bound, seeds=max(v.seeds for v in checked)
    )
    if ROADS[NUMERIC].available:
        measured = [m for _, m in measured_bounds(derivation, seed)]
        broken = next((m.failure for m in measured if m.failure), None)
        if broken is not None:
            return Verdict("fails", NUMERIC, 1, len(measured), failure=broken)
        places = sum(m.points for m in measured)
        said = f"measured in float64, {len(measured)} bounds hold at {places} points" if measured else ""
        total = replace(total, reason=said)
        floats = [claim.verdict(NUMERIC, seed) for claim in claims(derivation)]
        total = replace(total, max_rel_err=max((v.max_rel_err or 0.0 for v in floats), default=0.0))
    return total


def measured_bounds(derivation: Derivation, seed: int = 0, **sampling: Any) -> Iterator[tuple[Any, Measured]]:
    """Every `lhs ≤ rhs` of norms, measured in float64."""
    system = derivation.system
    lines = dict.fromkeys(line for s in derivation.steps if s.rule != "law" for line in s.lines)
    definitions = inequalities.defined(list(lines), system)
    found = [line for line in lines if inequalities.is_measurable(line, system, definitions)]
    truths = inequalities.samples(system, seed, **sampling) if found else []
    for line in found:
        yield line, inequalities.measure(line, definitions, truths, tuple(derivation.options.get("hold", ())))


# --- whole systems ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What one road says of one system."""

    system: str
    road: str
    formulas: int
    points: int
    error_bound: float | None
    max_rel_err: float | None
    seconds: float
    failure: str = ""

    @property
    def ok(self) -> bool:
        return not self.failure


def standard_queries(system: System) -> list[str]:
    """What is asked of every system: the table, adjoint and tangent, every one-step Jacobian, every gradient."""
    index = ",".join(map(str, system.lattice.indices))
    queries = ["table", "adjoint", "tangent"]
    for source, offset in dict.fromkeys((s, o) for _, s, o in system.reads if any(o) and s in system.equations):
        earlier = ",".join(f"{i}{o:+d}" if o else str(i) for i, o in zip(system.lattice.indices, offset, strict=True))
        queries.append(f"d{source}[{index}]/d{source}[{earlier}]")
    live = system.adjoint().equations
    for name, variable in system.variables.items():
        if f"{name}_bar" in live:
            queries.append(f"dL/d{name}[{index}]" if variable.indexed else f"dL/d{name}")
            if system.lattice.dimension == 1:
                queries.append(f"dL[t]/d{name}[k]" if variable.indexed else f"dL[t]/d{name}")
    return queries


def system_claims(system: System) -> list[Claim]:
    """Every formula of every standard query, each once."""
    found: dict[tuple[Any, ...], Claim] = {}
    for query in standard_queries(system):
        try:
            derivation = system.derive(query)
        except (QueryError, ShapeError):
            continue
        for claim in claims(derivation):
            found.setdefault((claim.equation, claim.derived), claim)
    return list(found.values())


def check_systems(systems: Iterable[str | System], seed: int = 0, roads: Sequence[str] | None = None) -> Iterator[Row]:
    """A row for every system and road.  Roads whose library is missing are left out, unless they are asked for by name."""
    from derive.catalogue import load

    for name in roads or ():
        if name not in ROADS:
            raise DeriveError(f"there is no road {name!r} to check by; the roads are {', '.join(ROADS)}")
        ROADS[name].require()
    chosen = [r for r in ROADS.values() if (r.name in roads if roads else r.available and r.everyday)]
    for spec in systems:
        system = load(spec) if isinstance(spec, str) else spec
        formulas = system_claims(system)
        for road in chosen:
            yield _row(system, formulas, road, seed)


def _row(system: System, formulas: Sequence[Claim], road: Road, seed: int) -> Row:
    start = perf_counter()
    verdicts = []
    failure = ""
    for claim in formulas:
        verdict = claim.verdict(road, seed)
        verdicts.append(verdict)
        if not verdict:
            failure = f"{claim.equation}: {verdict.failure or verdict.reason}"
            break
    error = max((v.max_rel_err or 0.0 for v in verdicts), default=0.0)
    if not road.exact and not failure:
        emitted = emitted_error(system, road, seed)
        error = max(error, emitted)
        failure = f"the emitted gradients differ from {road.name} by {emitted:.1e}" if emitted > 1e-8 else ""
    bound = sum(v.error_bound or 0.0 for v in verdicts) if road.exact else None
    points = sum(v.points for v in verdicts)
    return Row(
        system.name,
        road.name,
        len(verdicts),
        points,
        bound,
        None if road.exact else error,
        perf_counter() - start,
        failure,
    )


def emitted_error(system: System, road: Road, seed: int) -> float:
    """The largest relative difference between the gradients of NumPy's module and the road's, at the road's own point."""
    steps = max(road.lengths)
    count = steps if system.lattice.dimension == 1 else (2,) * system.lattice.dimension
    truth = road.unroll(system, sample_sizes(system, road), seed, count)
    values = {name: np.asarray(value, dtype=float) for name, value in truth.values().items()}
    true = truth.gradients()
    given = {kind: {v.name: values[v.name] for v in system.of_kind(kind)} for kind in ("parameter", "input", "target")}
    initial = {b.key: values[b.key] for b in system.borders if b.key in values}
    learned = {b.key for b in system.borders if system.boundary[b.variable] == "learned"}
    params = given["parameter"] | {k: v for k, v in initial.items() if k in learned}
    initial = {k: v for k, v in initial.items() if k not in learned}
    module = compile_system(system, functions=stand_ins(system, truth.engine.ring))
    if system.has_loss:
        _, found = module.value_and_grad(params, given["input"], given["target"], initial)
    else:
        cotangents = {v.var.base: _charged(system, values[v.name]) for v in system.of_kind("cotangent")}
        found = module.vjp(params, given["input"], cotangents, initial)
    errors = [0.0]
    for name, gradient in found.items():
        if name in true:
            wanted = np.asarray(true[name], dtype=float).reshape(gradient.shape)
            errors.append(float(np.max(np.abs(gradient - wanted) / (1 + np.abs(wanted)), initial=0.0)))
    return max(errors)


def _charged(system: System, cotangent: np.ndarray) -> np.ndarray:
    """The cotangent where the loss is charged: everywhere, or at the last point only."""
    if system.loss == "every":
        return cotangent
    last = (-1,) * system.lattice.dimension
    charged = np.zeros_like(cotangent, dtype=float)
    charged[last] = cotangent[last]
    return charged


def stand_ins(system: System, ring: Any) -> dict[str, Callable[[Any], Any]]:
    """The functions that stand for named unknowns where numbers are floats, with their derivatives."""
    names = {n.function for e in system.equations.values() for n in expr.walk(e.rhs) if isinstance(n, expr.Apply)}
    rows = {n: functions.row(n) for n in sorted(names)}
    unknown = [n for n, r in rows.items() if isinstance(r, functions.Elementwise) and r.expression is None]
    return {n + "'" * k: partial(ring.unknown, n, k) for n in unknown for k in range(3)}
