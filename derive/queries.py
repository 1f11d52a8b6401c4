"""The query language: what may be asked of a system, and which reading of the table answers.

forward · table · adjoint · tangent
forcing              what teacher forcing takes from the adjoint
dh[t]/dh[t-1]        a total derivative: Jacobian, gradient, adjoint recurrence or product, by what stands above and below
d+h[t]/dh[t-1]       the immediate partial
d(c[t],h[t])/d(c[t-1],h[t-1])   the block Jacobian of all that a step hands on
paths c[t] <- c[t-1]            the paths by name, and how many there are
paths h[t] <- h[k]              how many there are over any distance; `paths L[T] <- W` for any length
closed h[t]          a closed form, where the equation is linear in its own past
bound dL/dh[t]       an upper bound of the norm of a derivative
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sympy import Expr, Integer, Symbol

from derive.errors import QueryError, did_you_mean
from derive.expr import Var
from derive.notation import Notation
from derive.notation import notation as look_up_notation
from derive.system import LOSS, System

if TYPE_CHECKING:
    from derive.derivation import Derivation

WORDS = ("forward", "table", "adjoint", "tangent", "forcing")
_NAME = r"[A-Za-z_]\w*"
_REFERENCE = rf"({_NAME})\s*(?:\[([^\]]*)\])?"
_DERIVATIVE = re.compile(rf"\s*d(\+?)\s*{_REFERENCE}\s*/\s*d\s*{_REFERENCE}\s*")
_PATHS = re.compile(rf"\s*paths\s+{_REFERENCE}\s*<-\s*{_REFERENCE}\s*")
_BOUND = re.compile(rf"\s*bound\s+d\s*{_REFERENCE}\s*/\s*d\s*{_REFERENCE}\s*")
_GROUP = rf"\(\s*{_NAME}\s*\[[^\]]*\]\s*(?:,\s*{_NAME}\s*\[[^\]]*\]\s*)*\)"
_BLOCKS = re.compile(rf"\s*d\s*({_GROUP})\s*/\s*d\s*({_GROUP})\s*")
_CLOSED = re.compile(rf"\s*closed\s+{_REFERENCE}\s*")
FORMS = (
    "'forward', 'table', 'adjoint', 'tangent', 'forcing', 'dh[t]/dh[t-1]', 'd+h[t]/dh[t-1]', 'dL/dW', 'dL/dh[t]', "
    "'d(c[t],h[t])/d(c[t-1],h[t-1])', 'paths h[t] <- h[t-1]', 'paths h[t] <- h[k]', 'closed h[t]', 'bound dL/dh[t]'"
)


@dataclass(frozen=True)
class Reference:
    """A name at an index, as a query writes it; no index for a parameter and for the total loss."""

    name: str
    index: tuple[Expr, ...] | None

    def __str__(self) -> str:
        return (
            self.name if self.index is None else f"{self.name}[{','.join(str(i).replace(' ', '') for i in self.index)}]"
        )


@dataclass(frozen=True)
class Query:
    """A question, parsed: `kind` is one of `WORDS`, or `derivative immediate paths bound blocks closed`."""

    text: str
    kind: str
    above: Reference | None = None
    below: Reference | None = None
    several: tuple[tuple[Reference, ...], ...] = ()
    """The states above and below of a block Jacobian."""


@dataclass(frozen=True)
class Request:
    """A query put to a system, with its options: what a reading is given."""

    system: System
    query: Query
    hold: tuple[str, ...] = ()
    unroll: int | None = None
    notation: Notation = field(default_factory=Notation)
    asked: Mapping[str, Any] = field(default_factory=dict)
    """The options as they were asked for."""

    @property
    def sizes(self) -> tuple[int, ...] | None:
        return (self.unroll,) * self.system.lattice.dimension if self.unroll else None

    def var(self, reference: Reference) -> Var:
        """The reference as a node."""
        var = self.system.variable(reference.name).var
        return var if reference.index is None else var.at(reference.index)

    def answer(self, steps: Sequence[Any], result: Any, **more: Any) -> Derivation:
        from derive.derivation import Derivation

        if self.notation.layout:
            from derive.readings import layout

            done = [s for s in steps if s is not None]
            result = layout.result(result, done, self.notation.layout)
            steps = [layout.laid_out(s, self.notation.layout) for s in done]
        kept = {k: v for k, v in (*self.asked.items(), *more.items()) if v}
        return Derivation(
            self.system, self.query.text, tuple(s for s in steps if s is not None), result, self.notation, kept
        )


def parse(text: str, system: System) -> Query:
    """The query that `text` is.  Raises `QueryError` naming what is off: its form, a name, an index outside the lattice."""
    words = text.strip()
    if words in WORDS:
        return Query(words, words)
    if found := _DERIVATIVE.fullmatch(text):
        kind = "immediate" if found[1] else "derivative"
        return Query(
            words, kind, _reference(found[2], found[3], system, words), _reference(found[4], found[5], system, words)
        )
    if found := _PATHS.fullmatch(text):
        return Query(
            words, "paths", _reference(found[1], found[2], system, words), _reference(found[3], found[4], system, words)
        )
    if found := _BOUND.fullmatch(text):
        return Query(
            words, "bound", _reference(found[1], found[2], system, words), _reference(found[3], found[4], system, words)
        )
    if found := _BLOCKS.fullmatch(text):
        groups = [re.findall(_REFERENCE, group) for group in found.groups()]
        several = tuple(tuple(_reference(name, index, system, words) for name, index in group) for group in groups)
        return Query(words, "blocks", several=several)
    if found := _CLOSED.fullmatch(text):
        return Query(words, "closed", _reference(found[1], found[2], system, words))
    raise QueryError(f"the query {words!r} is not understood{did_you_mean(words, WORDS)}; a query is one of {FORMS}")


def _reference(name: str, index: str | None, system: System, query: str) -> Reference:
    if name not in system.variables:
        known = [n for n, v in system.variables.items() if v.kind != "cotangent"]
        raise QueryError(
            f"{query!r} asks for {name}, which {system.name} does not have{did_you_mean(name, known)}; "
            f"its names are {', '.join(known)}"
        )
    variable = system.variables[name]
    if index is None:
        if variable.indexed and name != LOSS:
            raise QueryError(f"{name} in {query!r} needs an index: {name}[{_plain(system.lattice.indices)}]")
        return Reference(name, None)
    if not variable.indexed:
        raise QueryError(f"{name} in {query!r} is a parameter and has no index: write {name}")
    parts = index.split(",")
    if len(parts) != system.lattice.dimension:
        raise QueryError(
            f"{name}[{index}] in {query!r} is written at an index of the lattice: {name}[{_plain(system.lattice.indices)}]"
        )
    return Reference(name, tuple(_index(p, system, query) for p in parts))


def _plain(items: Sequence[Any]) -> str:
    return ",".join(map(str, items))


_INDEX = re.compile(r"\s*(?:([A-Za-z]\w*)\s*(?:([+-])\s*(\d{1,6}))?|(-?\d{1,9}))\s*")


def _index(text: str, system: System, query: str) -> Expr:
    found = _INDEX.fullmatch(text)
    if not found:
        raise QueryError(f"the index {text.strip()!r} in {query!r} is not understood; write t, t-1, k or a number")
    if found[4]:
        return Integer(int(found[4]))
    symbol = next((s for s in (*system.lattice.indices, *system.lattice.lengths) if str(s) == found[1]), None)
    symbol = symbol if symbol is not None else Symbol(found[1], integer=True)
    return symbol + int((found[2] or "+") + found[3]) if found[3] else symbol


def derive(
    system: System,
    query: str,
    *,
    hold: Sequence[str] | str = (),
    unroll: int | None = None,
    layout: str | None = None,
    notation: str | Notation | None = None,
    where: Mapping[str, int] | None = None,
) -> Derivation:
    """The worked answer to `query`.  Raises `QueryError` where the system has none."""
    held = held_names(system, hold)
    if unroll is not None and not 1 <= unroll <= 10**9:
        raise QueryError(f"unroll takes a number of steps from 1 on, found {unroll}")
    chosen = notation if isinstance(notation, Notation) else look_up_notation(notation or "default")
    if layout is not None:
        if layout not in ("numerator", "denominator"):
            raise QueryError(
                f"the layout is numerator or denominator, found {layout!r}{did_you_mean(layout, ('numerator', 'denominator'))}"
            )
        adjoint = "partial" if chosen.adjoint == "nabla" else chosen.adjoint
        chosen = replace(chosen, layout=layout, adjoint=adjoint)
    named = notation if isinstance(notation, str) else None
    asked = {"hold": held, "unroll": unroll, "layout": layout, "notation": named}
    request = Request(system, parse(query, system), held, unroll, chosen, asked)
    answer = _answer(request)
    if not where:
        return answer
    from derive.readings.special import at_values

    return at_values(answer, dict(where))


def held_names(system: System, hold: Sequence[str] | str) -> tuple[str, ...]:
    """The names in `hold`, `"z, r"` or a sequence.  Raises `QueryError` for one that has no equation."""
    held = tuple(h for h in hold.replace(",", " ").split() if h != "none") if isinstance(hold, str) else tuple(hold)
    for name in held:
        if name not in system.equations or name == LOSS:
            raise QueryError(
                f"{name} can't be held constant: {system.name} has no equation for it{did_you_mean(name, system.equations)}"
            )
    return held


def main_results(system: System) -> list[str]:
    """The main results: the equations, the table, a Jacobian between neighbours, the adjoint."""
    return ["forward", "table", *jacobians(system)[:1], "adjoint"]


def jacobians(system: System) -> list[str]:
    """`dh[t]/dh[t-1]` for every vector state that is read at another point, outputs first."""
    reads = {
        (source, offset)
        for _, source, offset in system.reads
        if source in system.equations and any(offset) and system.variables[source].shape[1] == 1
    }
    order = [*system.outputs, *(name for name in system.equations if name not in system.outputs)]
    ranked = sorted(reads, key=lambda read: (order.index(read[0]), sum(map(abs, read[1])), read[1]))
    point = system.lattice.point
    return [f"d{name}[{point()}]/d{name}[{point(offset)}]" for name, offset in ranked]


def _answer(request: Request) -> Derivation:
    from derive import readings

    request = replace(request, notation=readings.resolve_factors(request))
    _inside(request)
    table: Mapping[str, Callable[[Request], Derivation]] = readings.READINGS
    return table[readings.kind(request)](request)


def _inside(request: Request) -> None:
    """Numbers in an index must lie in the lattice (or on a border that is read)."""
    for reference in (request.query.above, request.query.below):
        if reference is None or reference.index is None:
            continue
        for value, index in zip(reference.index, request.system.lattice.indices, strict=True):
            _check_index(request, reference, value, index)


def _check_index(request: Request, reference: Reference, value: Expr, index: Symbol) -> None:
    length = request.unroll
    low = 1 - _depth(request, reference.name)
    if value.is_Integer and (int(value) < low or (length is not None and int(value) > length)):
        upper = length if length is not None else str(index).upper()
        raise QueryError(f"{reference} in {request.query.text!r} lies outside the lattice {index} = 1..{upper}")


def _depth(request: Request, name: str) -> int:
    sides = [s.depth for b in request.system.borders if b.variable == name for s in b.sides if s.low]
    return max(sides, default=0)
