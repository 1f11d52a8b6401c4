"""Is a network of threshold units what its specification says, on strings of every length?

prove(network, specification, values)              a `Proof`: true or false, with a shortest counterexample
ranges(network, specification, "c", values)        the values of a parameter for which it is
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from derive.automata.cells import Ranges, ranges_of
from derive.automata.monitors import Counterexample, Monitor, Outcome, of_systems
from derive.automata.stated import Stated, stated
from derive.automata.tables import Automaton, tabulated
from derive.automata.terms import Slot
from derive.automata.wiring import Wiring
from derive.errors import DeriveError, did_you_mean
from derive.system import System

PREFIX = ":"
"""Stands before the names of a specification, which may be those of the network."""


@dataclass(frozen=True)
class Proof:
    """What came of comparing a network with its specification; true if they agree on strings of every length."""

    network: Automaton | None
    """Minimal; None where it has too many states for a table."""
    specification: Automaton | None
    outcome: Outcome
    outputs: tuple[tuple[str, str], ...]

    @property
    def counterexample(self) -> Counterexample | None:
        return self.outcome.counterexample

    def __bool__(self) -> bool:
        return self.counterexample is None

    def __str__(self) -> str:
        names = ", ".join(f"{a}[t] is {b}[t] of the specification" for a, b in self.outputs)
        if self.counterexample is None:
            return f"proved: {names}; {self.outcome.sentence}"
        wrong = self.counterexample
        return (
            f"refuted: not always {names}; the shortest string that shows it is {wrong.inputs}\n"
            f"  at step {len(wrong.string)} the network says {wrong.left}, the specification {wrong.right}"
        )

    @property
    def tables(self) -> str:
        """The two minimal automata."""
        titled = (("the network", self.network), ("the specification", self.specification))
        parts = [f"{title}, {_states(table)}:\n{table.text()}" for title, table in titled if table is not None]
        return "\n\n".join(parts)

    def data(self) -> dict[str, Any]:
        wrong = self.counterexample
        return {
            "proved": bool(self),
            "states": {"network": self.outcome.network, "specification": self.outcome.specification},
            "counterexample": wrong
            and {"inputs": wrong.inputs, "string": wrong.string, "network": wrong.left, "specification": wrong.right},
            "network": self.network and self.network.data(),
            "specification": self.specification and self.specification.data(),
        }


def _states(table: Automaton) -> str:
    return f"{len(table)} state{'s' * (len(table) != 1)}"


@dataclass(frozen=True)
class Posed:
    """A network and its specification with their values, as they are asked about."""

    network: Stated
    specification: Stated
    free: tuple[str, ...] = ()
    """Names of the network, or of its values, that are left open."""

    @cached_property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The outputs that are compared: of one name, or the only ones."""
        ours, theirs = self.network.system, self.specification.system
        if set(theirs.outputs) <= set(ours.equations):
            return tuple((name, name) for name in theirs.outputs)
        if len(ours.outputs) == len(theirs.outputs) == 1:
            return ((ours.outputs[0], theirs.outputs[0]),)
        missing = next(name for name in theirs.outputs if name not in ours.equations)
        near = did_you_mean(missing, ours.equations)
        raise DeriveError(f"the specification says what {missing} is, and {ours.name} has no {missing}{near}")

    @cached_property
    def wirings(self) -> tuple[Wiring, Wiring]:
        return (
            Wiring(self.network.system, self.network.settings.without(self.free)),
            Wiring(self.specification.system, self.specification.settings, PREFIX),
        )

    @cached_property
    def monitor(self) -> Monitor:
        found = of_systems(*self.wirings, self.pairs)
        for wiring, given in zip(self.wirings, (self.network, self.specification), strict=True):
            wiring.check_settings(given.typed, self.free if given is self.network else ())
        return found

    def table(self, n: int) -> Automaton | None:
        """The minimal automaton of the network (0) or of the specification (1), over the inputs of both."""
        outputs = [side for check in self.monitor.checks for side in (check.left, check.right)][n::2]
        return tabulated(self.monitor.machine, outputs, (self.network, self.specification)[n].system.name)

    def slot(self, name: str) -> Slot:
        """The parameter of that name.  Raises `DeriveError` where it is none, or is more than one number."""
        found = [slot for slot in self.monitor.machine.parameters if slot.name == name]
        if not found:
            known = [slot.name for slot in self.monitor.machine.parameters if not slot.name.startswith(PREFIX)]
            law = "what can be open is a parameter, or an initial value such as h[0]"
            raise DeriveError(f"nothing depends on {name}{did_you_mean(name, known)}; {law}")
        if len(found) > 1:
            raise DeriveError(f"{name} is {len(found)} numbers; a range is asked for one number")
        return found[0]


def posed(network: Any, specification: Any, values: Any = "", free: Sequence[str] = ()) -> Posed:
    ours = stated(network, "network").given(values)
    return Posed(ours, stated(specification, "specification", ours.system.inputs), tuple(free))


def prove(network: System | str, specification: System | str, values: str | Mapping[str, Any] = "") -> Proof:
    """Compare a network with a specification on every string of bits of every length.

    Both are systems, or what names one: `"net.py:net"`, a document, the equations themselves.  `values` gives the
    network's parameters and initial values; those of a specification stand with its equations.  An initial value that is
    left out is zero.

        >>> print(prove("h[t] = step(x[t] + h[t-1] - 3/2); h[0] = 1", "y[t] = y[t-1] * x[t]; y[0] = 1"))
        proved: h[t] is y[t] of the specification; 2 reachable states, compared with ... for strings of every length
        >>> prove("h[t] = step(x[t] + h[t-1] - b); h[0] = 1", "y[t] = y[t-1] * x[t]; y[0] = 1", "b=2").counterexample.string
        ((1,),)

    Raises `DeriveError`: `Unset` where a number is missing, `Endless` where there are too many states, `Inapplicable`
    where a system is none that an automaton runs.
    """
    asked = posed(network, specification, values)
    outcome = asked.monitor.outcome()
    return Proof(asked.table(0), asked.table(1), outcome, asked.pairs)


def ranges(
    network: System | str,
    specification: System | str,
    parameters: str | Sequence[str],
    values: str | Mapping[str, Any] = "",
) -> Ranges:
    """The values of the parameters, the others fixed, for which the network meets the specification: exactly.

        >>> network, specification = "h[t] = step(x[t] + h[t-1] + b); h[0] = 1", "y[t] = y[t-1] * x[t]; y[0] = 1"
        >>> print(ranges(network, specification, "b"))
        -2 < b ≤ -1
        >>> print(ranges(network, specification, "h[0]", "b=-3/2"))
        1/2 < h[0] ≤ 3/2

    Several are asked for at once where no sum has two of them in it.  Raises `DeriveError`.
    """
    names = tuple(part.strip() for part in (parameters.split(",") if isinstance(parameters, str) else parameters))
    asked = posed(network, specification, values, names)
    return ranges_of(asked.monitor, {name: asked.slot(name) for name in names})
