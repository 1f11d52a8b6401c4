"""The claims of a document about networks of threshold units, each with its proof and the automaton of what it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Basic

from derive.automata.cells import Ranges, ranges_of
from derive.automata.monitors import Monitor, Outcome
from derive.automata.settings import Settings
from derive.automata.tables import Automaton, tabulated
from derive.automata.terms import Outside, Unset
from derive.errors import DeriveError, did_you_mean
from derive.printing import text
from derive.reader.claims import Claim
from derive.reader.understand import read
from derive.verdicts.bits import Network, network_of, settings_of
from derive.verdicts.verify import Reviewed, states_an_equation

KINDS = ("equation", "implication", "relation")


@dataclass(frozen=True)
class Proved:
    """A claim, what the exploration of its network found, and the minimal automaton of its left side."""

    claim: Claim
    outcome: Outcome
    table: Automaton | None
    ranges: Ranges | None = None
    parameters: tuple[str, ...] = ()
    """What it depends on."""
    open: tuple[str, ...] = ()
    """Those of them that nothing sets: the claim is about all of their values."""

    def __bool__(self) -> bool:
        return self.outcome.counterexample is None

    @property
    def as_expected(self) -> bool:
        """Whether it came out as the document says with `expect`; without one it has to be proved."""
        wanted = self.claim.expect[0] if self.claim.expect else "holds"
        return wanted == ("holds" if self else "fails")

    def __str__(self) -> str:
        wrong = self.outcome.counterexample
        lines = [f"{self.claim.place.line}: {text(self.claim.formula)}"]
        if wrong is None:
            every = f"every value of {' and '.join(self.open)}, for strings of every length"
            lines.append(f"  proved: {every if self.open else self.outcome.sentence}")
        else:
            found = "refuted, as expected" if self.as_expected else "refuted"
            lines.append(f"  {found}: the shortest string that shows it is {wrong.inputs}")
            lines.append(f"  at step {len(wrong.string)} the left side is {wrong.left}, the right side {wrong.right}")
        if self.ranges is not None:
            lines.append(f"  true exactly for {self.ranges}" if self.ranges else f"  true for {self.ranges}")
        if self.table is not None:
            lines += [f"  {line}" for line in self.table.text().split("\n")]
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        wrong = self.outcome.counterexample
        return {
            "line": self.claim.place.line,
            "claim": text(self.claim.formula),
            "proved": bool(self),
            "states": {"network": self.outcome.network, "specification": self.outcome.specification},
            "counterexample": wrong
            and {"inputs": wrong.inputs, "string": wrong.string, "left": wrong.left, "right": wrong.right},
            "automaton": self.table and self.table.data(),
            "ranges": None if self.ranges is None else str(self.ranges),
        }


def proved(
    path: str, number: int | None = None, values: str | Mapping[str, Any] = "", names: Sequence[str] = ()
) -> list[Proved]:
    """Every claim of a document that an automaton can watch, with other `values` than the document's if they are given.

    `names`: parameters whose ranges are asked for.  Raises `DeriveError` where no claim is about a network of threshold
    units whose values are set.
    """
    document = read(path)
    wanted = None if number is None else document.system(number)
    review = Reviewed(document)
    found = [
        one
        for claim in review.claims
        if claim.kind in KINDS and (wanted is None or claim.system is wanted) and not states_an_equation(claim)
        for one in _proved(review, claim, Settings.read(values), tuple(names))
    ]
    if not found:
        raise DeriveError(
            f"{path} claims nothing that can be proved about a network of threshold units; it takes an activation, as in "
            "f(z) = [z \\ge 1/2], numbers for all weights, and a claim such as y_t = \\prod_{i=1}^t x_i"
        )
    if names and not any(one.ranges is not None for one in found):
        known = {slot for one in found for slot in one.parameters}
        missing = next((name for name in names if name not in known), names[0])
        raise DeriveError(f"{path} proves nothing that depends on {', '.join(names)}{did_you_mean(missing, known)}")
    return found


def _proved(review: Reviewed, claim: Claim, given: Settings, names: tuple[str, ...]) -> Iterator[Proved]:
    network = network_of(review, claim)
    if network is None:
        return
    settings = settings_of(network.given)
    settings = Settings({**settings.values, **given.values}, {**settings.functions, **given.functions})
    for understood in claim.readings:
        try:
            monitor = network.monitor(understood.formula, settings)
            free = monitor.machine.unset
            every = ranges_of(monitor, free) if free else None
            outcome = monitor.outcome() if every is None else every.outcome
        except DeriveError:
            continue
        found = _ranges(network, understood.formula, settings, names) if names else every
        table = _table(monitor, network.system.name)
        yield Proved(claim, outcome, table, found, tuple(s.name for s in monitor.machine.parameters), tuple(free))
        return


def _ranges(network: Network, formula: Basic, settings: Settings, names: tuple[str, ...]) -> Ranges | None:
    """None where the claim does not depend on all of them."""
    monitor = network.monitor(formula, settings.without(names))
    slots = {slot.name: slot for slot in monitor.machine.parameters}
    if not slots.keys() >= set(names):
        return None
    return ranges_of(monitor, {name: slots[name] for name in names})


def _table(monitor: Monitor, name: str) -> Automaton | None:
    """What the left side of the claim does; an implication has no table."""
    if len(monitor.checks) != 1 or monitor.checks[0].guard is not True:
        return None
    try:
        return tabulated(monitor.machine, [monitor.checks[0].left], name)
    except (Outside, Unset):
        return None
