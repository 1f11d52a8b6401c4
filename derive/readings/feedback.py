"""What teacher forcing takes from a system: the reads that it replaces, and what goes from the table and the adjoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derive import adjoint as adjoints
from derive import expr, forcing
from derive.derivation import Derivation, Step
from derive.expr import Equals, Labelled
from derive.forcing import Vanished
from derive.partials import table
from derive.readings import steps
from derive.readings.systems import show
from derive.system import System

if TYPE_CHECKING:
    from derive.queries import Request

CUT, EMPTY = "cut", "zero then"


def vanished(request: Request) -> Derivation:
    """The reads of predictions, their entries of the table, and the terms of the adjoint that go with them."""
    system = request.system
    forced, gone = forcing.teacher_forced(system), forcing.vanished(system)
    changed = [e for name, e in forced.equations.items() if e.rhs is not system.equations[name].rhs]
    recurrences = _recurrences(system, gone)
    done = [
        steps.forward(system),
        Step(
            "definition",
            "Teacher forcing",
            "Each read of a prediction at another step becomes one of its target there, which is data.",
            tuple(Equals(e.target, system.equations[e.name].rhs) for e in changed),
            tuple(Equals(e.target, e.rhs) for e in changed),
        ),
        steps.local_partials(
            [v.entry for v in gone if v.cut],
            "These entries of the table are reads of a prediction: with forcing, the system has none of them.",
        ),
        Step("chain rule", "What the adjoint loses", _what_goes(system, gone), (), recurrences),
        Step("locality", "What is left", _what_is_left(system, forced), (), ()),
    ]
    return request.answer(done, recurrences[0].rhs)


def _recurrences(system: System, gone: tuple[Vanished, ...]) -> tuple[Equals, ...]:
    """The adjoint of each source of what goes, as it is without forcing, with a label under every term that goes."""
    terms, lost = adjoints.contributions(system), {v.key: v for v in gone}
    lines = []
    for source in dict.fromkeys(v.entry.source for v in sorted(gone, key=lambda v: not v.cut)):
        entries = [e for e in table(system).of_source(source.name) if e.key in terms]
        labelled = [
            Labelled(terms[e.key], CUT if lost[e.key].cut else EMPTY) if e.key in lost else terms[e.key]
            for e in sorted(entries, key=adjoints.as_written)
        ]
        lines.append(Equals(source.marked(adjoints.MARK), show(system, steps.sum_of(labelled))))
    own = adjoints.adjoint(system).equations
    named = dict.fromkeys(v.name for line in lines for v in expr.variables(line.rhs) if adjoints.DELTA in v.marks)
    return (*lines, *(Equals(own[name].target, show(system, own[name].rhs)) for name in named))


def _what_goes(system: System, gone: tuple[Vanished, ...]) -> str:
    cut = sorted({v.entry.source.name for v in gone if v.cut})
    names = " and ".join(f"`{name}`" for name in cut)
    hands = "hands" if len(cut) == 1 else "hand"
    return f"What {names} {hands} to equations of other steps comes back in the marked terms; without these reads they are gone."


def _what_is_left(system: System, forced: System) -> str:
    before, after = forcing.recurrent(system), forcing.recurrent(forced)
    if not after:
        swept = " and ".join(f"`{name}`" for name in before)
        wait = "waits" if len(before) == 1 else "wait"
        return (
            f"{swept} no longer {wait} for another step: every step is on its own, gradients are local in time, and "
            "all steps are computed at once, without backpropagation through time."
        )
    kept = " and ".join(f"`{name}`" for name in after)
    return f"The feedback of the output is gone; the recurrence of {kept} still takes backpropagation through time."
