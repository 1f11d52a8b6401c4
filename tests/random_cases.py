"""Random systems compiled, against `interpreted`: `mismatches` runs every function of a backend in every way it can be asked.

What a backend refuses with a sentence is no mismatch.  Values that are large, or no numbers, tell nothing: they are left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from interpreted import Arrays, Interpreter, Point, largest
from random_systems import Drawn

from derive.errors import DeriveError
from derive.system import LOSS, System

SIZES: tuple[tuple[int, tuple[int, ...]], ...] = ((1, ()), (2, (3,)), (4, (1,)), (3, (2, 2)))
"""Steps and batch; on a grid the other axis is a step longer."""
TOLERANCE = 1e-9
LARGE = 1e5


@dataclass(frozen=True)
class Mismatch:
    """Both sides of what differs, or what was raised."""

    drawn: Drawn
    backend: str
    call: str
    name: str
    found: Any
    wanted: Any = None

    def __str__(self) -> str:
        head = f"{self.backend}, {self.call}: {self.name}"
        if isinstance(self.found, Exception):
            return f"{head}: {type(self.found).__name__}: {self.found}\n{self.drawn}"
        return f"{head} is\n{self.found}\n  and should be\n{self.wanted}\n{self.drawn}"


class Case:
    """Random arrays for a system, and what they give by its interpreter, summed over the samples as `vjp` does."""

    def __init__(self, drawn: Drawn, system: System, steps: int, batch: tuple[int, ...]):
        self.drawn, self.system, self.batch = drawn, system, batch
        self.dimension = system.lattice.dimension
        self.sizes: Point = (steps, steps + 1)[: self.dimension]
        self.interpreter = Interpreter(drawn, system.boundary)
        rng = np.random.default_rng(drawn.seed)
        shapes = self.interpreter.shapes

        def draw(name: str, *axes: int) -> np.ndarray:
            return np.asarray(0.6 * rng.normal(size=(*axes, *outer(system, name, shapes[name]))))

        everywhere = (*self.sizes, *batch)
        self.params = {v.name: draw(v.name) for v in system.parameters}
        self.inputs = {v.name: draw(v.name, *everywhere) for v in system.inputs}
        self.targets = {v.name: draw(v.name, *everywhere) for v in system.of_kind("target")}
        self.states = [v.name for v in system.states if v.name != LOSS]
        self.cotangents = {name: draw(name, *everywhere) for name in self.states}
        self.initial: Arrays = {}
        self.along: dict[str, int] = {}
        """Along how many axes of the lattice a given boundary value runs."""
        for border in system.borders:
            axes = [n for side, n in zip(border.sides, self.sizes, strict=True) if not side.depth]
            if system.boundary[border.variable] == "learned":
                self.params[border.key] = draw(border.variable, *axes)
            else:
                self.initial[border.key] = draw(border.variable, *axes, *batch)
                self.along[border.key] = len(axes)

    @property
    def has_samples(self) -> bool:
        """Whether what `forward` is given has the axes of a batch."""
        fed = any(f"{name}[" in self.drawn.equations for name in self.targets)
        return not self.batch or bool(self.inputs or fed or self.initial)

    def sample(self, at: tuple[int, ...], arrays: Arrays, sizes: Point) -> Arrays:
        """Views of the arrays of one sample, as long as it is."""
        found = {}
        for name, array in arrays.items():
            if name in self.params:
                found[name] = array
            elif name in self.along:
                found[name] = array[(slice(None),) * self.along[name] + at + (...,)]
            else:
                found[name] = array[tuple(slice(n) for n in sizes) + at + (...,)]
        return found

    def states_wanted(self) -> Arrays:
        found = {name: np.zeros_like(array) for name, array in self.cotangents.items()}
        for at in np.ndindex(*self.batch):
            values = self.sample(at, {**self.params, **self.inputs, **self.targets, **self.initial}, self.sizes)
            for name, array in self.interpreter.trajectories(values, self.sizes).items():
                place = (slice(None),) * self.dimension + at + (...,)
                found[name][place] = array.reshape(found[name][place].shape)
        return found

    def gradients_wanted(self, cotangents: Arrays | None, lengths: Any = None, cut: int = 0) -> tuple[float, Arrays]:
        """The value of all samples and its gradients; without cotangents those of the loss."""
        given = {**self.params, **self.inputs, **self.targets, **self.initial}
        total, found = 0.0, {name: np.zeros_like(array) for name, array in given.items()}
        for at in np.ndindex(*self.batch):
            sizes = self.sizes if lengths is None else tuple(np.atleast_1d(lengths[at]))
            seeds = None if cotangents is None else self.sample(at, cotangents, sizes)
            value, slopes = self.interpreter.gradients(self.sample(at, given, sizes), sizes, seeds, cut)
            total += float(value)
            parts = self.sample(at, found, sizes)
            for name, slope in slopes.items():
                parts[name] += slope
        targets = tuple(self.targets)
        return total, {name: g for name, g in found.items() if name.partition("[")[0] not in targets}


def outer(system: System, name: str, shape: tuple[int, int]) -> tuple[int, ...]:
    """The last axes of a variable as it is given: none of a scalar, one of a column."""
    letters = tuple(map(str, system.variables[name].shape))
    return () if letters == ("1", "1") else shape[:1] if letters[1] == "1" else shape


@dataclass
class Trial:
    """One system in one backend, with arrays of one size."""

    case: Case
    backend: str
    compiled: Any
    every_way: bool = True
    found: list[Mismatch] = field(default_factory=list)

    def __post_init__(self) -> None:
        case = self.case
        self.choice = random.Random(case.drawn.seed + len(case.batch))
        known = self.compiled.module.INITIAL
        self.initial = {name: array for name, array in case.initial.items() if name in known}
        fed = {name: array for name, array in case.targets.items() if name in self.compiled.module.INPUTS}
        self.lengths = (
            {} if case.inputs or fed else dict(zip(map(str, case.system.lattice.lengths), case.sizes, strict=True))
        )
        self.inputs = {**case.inputs, **fed, **self.lengths}

    def ways(self) -> Iterator[tuple[str, Callable[[], None]]]:
        case = self.case
        yield "forward", self.forward
        every = case.cotangents
        yield "vjp", lambda: self.vjp(every)
        if case.drawn.loss:
            yield "value_and_grad", self.value_and_grad
        yield from self.more_ways() if self.every_way else ()

    def more_ways(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """What takes modules of its own: other cotangents, and one of the options, drawn by the seed."""
        case, every = self.case, self.case.cotangents
        some = self.choice.sample(sorted(every), self.choice.randint(1, len(every)))
        if len(some) < len(every):
            yield f"vjp of {', '.join(some)}", lambda: self.vjp({name: every[name] for name in some})
        lasts = np.random.default_rng(case.drawn.seed).integers(1, np.add(case.sizes, 1), (*case.batch, case.dimension))
        options: list[dict[str, Any]] = [{"checkpoint": 2}, {"truncate": 2}]
        options += [{"lengths": lasts if case.dimension > 1 else lasts[..., 0]}] if case.batch else []
        how = self.choice.choice(options)
        yield f"vjp, {how}", lambda: self.vjp(every, **how)
        if case.drawn.loss:
            yield f"value_and_grad, {how}", lambda: self.value_and_grad(**how)

    def forward(self) -> None:
        self.compare(
            "forward", self.compiled.forward(self.case.params, self.inputs, self.initial), self.case.states_wanted()
        )

    def vjp(self, cotangents: Arrays, **how: Any) -> None:
        found = self.compiled.vjp(self.case.params, self.inputs, cotangents, self.initial, **how)
        _, wanted = self.case.gradients_wanted(cotangents, how.get("lengths"), how.get("truncate", 0))
        self.compare(f"vjp of {', '.join(cotangents)}, {how}", found, wanted)

    def value_and_grad(self, **how: Any) -> None:
        case = self.case
        inputs = case.inputs or self.lengths
        value, found = self.compiled.value_and_grad(case.params, inputs, case.targets, case.initial, **how)
        loss, wanted = case.gradients_wanted(None, how.get("lengths"), how.get("truncate", 0))
        self.compare(f"value_and_grad, {how}", {"the loss": value, **found}, {"the loss": np.asarray(loss), **wanted})

    def compare(self, call: str, found: Any, wanted: Arrays) -> None:
        """Every array that is wanted; one that is left out is zero."""
        call = f"{call}, T = {self.case.sizes[0]}, batch {self.case.batch}"
        if largest(list(wanted.values())) > LARGE:
            return
        for name, array in wanted.items():
            got = found.get(name)
            got = (
                np.zeros_like(array)
                if got is None
                else got.detach().numpy()
                if hasattr(got, "detach")
                else np.asarray(got)
            )
            if got.shape != array.shape or not np.max(np.abs(got - array), initial=0) <= TOLERANCE * (
                1 + largest([array])
            ):
                self.found.append(Mismatch(self.case.drawn, self.backend, call, name, got, array))


def mismatches(
    drawn: Drawn, backend: str, sizes: Sequence[tuple[int, tuple[int, ...]]] = SIZES, every_way: bool = True
) -> list[Mismatch]:
    """What `backend` gives that it should not; nothing for a system that is refused.

    `every_way`: in all ways in which the functions can be called, else those of one module.
    """
    try:
        system = drawn.system()
        states = [v.name for v in system.states if v.name != LOSS]
        compiled = system.compile(backend, cotangents=None if every_way else states)
    except DeriveError:
        return []
    except Exception as error:
        return [Mismatch(drawn, backend, "compile", "raised", error)]
    found = []
    for steps, batch in sizes:
        case = Case(drawn, system, steps, batch)
        if case.has_samples:
            found += _tried(Trial(case, backend, compiled, every_way))
    return found


def _tried(trial: Trial) -> list[Mismatch]:
    for call, run in trial.ways():
        call = f"{call}, T = {trial.case.sizes[0]}, batch {trial.case.batch}"
        try:
            with np.errstate(all="ignore"):
                run()
        except DeriveError:
            continue
        except Exception as error:
            trial.found.append(Mismatch(trial.case.drawn, trial.backend, call, "raised", error))
    return trial.found
