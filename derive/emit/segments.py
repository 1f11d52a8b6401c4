"""Time cut into segments: gradients with the memory of a few, and truncated backpropagation through time.

A chain whose states flow one way is run segment by segment: the last states of one are the boundary values of the next.
Backwards, last segment first, the gradients by a segment's boundary values are cotangents of the states that these were;
each segment's forward pass is done again there.

    checkpoint   between the passes nothing is kept but boundary values: sqrt(T) segments of sqrt(T) steps need memory as
                 sqrt(T).  The gradients are the same.  Griewank 1992; Chen et al. 2016, arXiv:1604.06174
    truncate     between blocks values are handed on and gradients of states are not, as with `detach` every k steps.
                 Williams and Peng 1990, in its form of blocks, BPTT(k; k)

A boundary value that lies outside the lattice is the user's: given, learned or zero.  Steps are counted from 1, segments from
where the states start to flow: from `h[0]`, or from `h[T+1]` where every state reads ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import groupby
from typing import Any, TypeAlias

from derive.emit.arrays import as_array, joined, library, row_added, zeros
from derive.emit.cuts import Segment, flow, segment_of, segments
from derive.emit.extent import extent
from derive.errors import did_you_mean
from derive.lattice import Border
from derive.system import LOSS, System

Arrays: TypeAlias = "Mapping[str, Any]"
Point: TypeAlias = "tuple[str, int]"
"""A variable and a step, on the lattice or beyond its ends."""


class Segmented:
    """The gradients of a system in segments, by the compiled functions of one segment."""

    def __init__(self, system: System, compile: Callable[[System], Any]):
        self.system, self.direction = system, flow(system)
        self.segment = segment_of(system)
        self.compiled = compile(self.segment)

    def vjp(
        self,
        params: Arrays,
        inputs: Arrays,
        cotangents: Arrays,
        initial: Arrays | None = None,
        truncate: int | None = None,
        checkpoint: int | bool | None = None,
    ) -> dict[str, Any]:
        """As `Compiled.vjp`, which see."""
        run = _Run(self, params, inputs, cotangents, initial or {})
        cut = segments(run.T, self.direction, truncate, checkpoint)
        for _, block in groupby(cut, key=lambda segment: segment.start):
            inside = list(block)
            run.forwards(inside if inside[-1] != cut[-1] else inside[:-1])
            run.backwards(inside[::-1])
            run.forget(inside[-1])
        return run.gradients()

    @cached_property
    def borders(self) -> dict[tuple[str, bool, int], Border]:
        """The borders of a segment by variable, end and depth; those of the system are among them, with the same keys."""
        return {(b.variable, b.sides[0].low, b.sides[0].depth): b for b in self.segment.borders}

    @cached_property
    def reach(self) -> dict[str, int]:
        """How far back, or ahead, the states are read."""
        depths: dict[str, int] = {}
        for border in self.segment.borders:
            if self.segment.variables[border.variable].kind == "state":
                depths[border.variable] = max(depths.get(border.variable, 0), border.sides[0].depth)
        return depths

    def keys(self, boundary: str) -> list[str]:
        """The keys of the system's boundary values of that kind."""
        return [b.key for b in self.system.borders if self.system.boundary[b.variable] == boundary]


class _Run:
    """One call: what was given, what is kept between segments, and the gradients so far."""

    def __init__(self, of: Segmented, params: Arrays, inputs: Arrays, cotangents: Arrays, initial: Arrays):
        self.of, self.variables, self.compiled = of, of.segment.variables, of.compiled
        self.params, self.inputs, self.cotangents, self.initial = (
            {name: as_array(value) for name, value in given.items()} for given in (params, inputs, cotangents, initial)
        )
        self._check_names()
        (self.T,), self.batch = extent(of.system, self.inputs, self.cotangents, self.initial)
        self._check_steps()
        self.states: dict[Point, Any] = {}
        self.bars: dict[Point, Any] = {}
        """Gradients by states, and by inputs, that other segments than their own have read."""
        self.totals: dict[str, Any] = {}
        self.parts: dict[str, dict[int, Any]] = {}

    # --- what was given ---------------------------------------------------------------------------------------------

    def _check_names(self) -> None:
        """Raises `ValueError` for what does not exist, and for what is missing."""
        states = [v.name for v in self.of.segment.states if v.name != LOSS]
        for what, given, known in (
            ("initial", self.initial, self.of.keys("given")),
            ("cotangents", self.cotangents, states),
        ):
            for name in given:
                if name not in known:
                    names = f"the names are {', '.join(known)}" if known else "there is none"
                    raise ValueError(f"{what} has {name!r}, which is unknown{did_you_mean(name, known)}; {names}")
        read = [v.name for v in self.of.segment.of_kind("input", "target")]
        self.length = () if read else tuple(map(str, self.of.system.lattice.lengths))
        for what, given, needed in (
            ("params", self.params, self.of.keys("learned")),
            ("inputs", self.inputs, [*read, *self.length]),
        ):
            for name in needed:
                if name not in given:
                    raise ValueError(f"{what} lacks {name!r}{did_you_mean(name, given)}")
        self.inputs = {name: self.inputs[name] for name in [*read, *self.length]}

    def _check_steps(self) -> None:
        """Raises `ValueError` where arrays differ in the number of steps, or have none."""
        for what, given in (("inputs", self.inputs), ("cotangents", self.cotangents)):
            for name, array in given.items():
                if name not in self.length and array.shape[:1] != (self.T,):
                    raise ValueError(
                        f"{what}[{name!r}] has shape {array.shape}; it should have {self.T} steps, as the others"
                    )
        if self.T < 1:
            raise ValueError("there is no step to run; inputs of one step or more are needed")

    def _outside(self, name: str, step: int) -> str | None:
        """The key of a boundary value beyond the lattice; None at a step of the lattice."""
        if 1 <= step <= self.T:
            return None
        return self.of.borders[(name, True, 1 - step) if step < 1 else (name, False, step - self.T)].key

    def _value(self, name: str, step: int) -> Any:
        """What is read at a step beyond a segment; None where that is zero."""
        key = self._outside(name, step)
        if key is None:
            return self.inputs[name][step - 1] if name in self.inputs else self.states[name, step]
        if key in self.of.keys("learned"):
            value = self.params[key]
            return library(value).broadcast_to(value, (*self.batch, *value.shape))
        return self.initial.get(key)

    def _given(self, segment: Segment) -> tuple[Arrays, Arrays, Arrays]:
        """Parameters, inputs and boundary values of a segment."""
        learned = self.of.keys("learned")
        params = {name: array for name, array in self.params.items() if name not in learned}
        inputs = {
            name: segment.last - segment.first + 1 if name in self.length else segment.rows(array)
            for name, array in self.inputs.items()
        }
        found = {b.key: self._value(b.variable, segment.beyond(b)) for b in self.of.segment.borders}
        return params, inputs, {key: value for key, value in found.items() if value is not None}

    # --- forwards ---------------------------------------------------------------------------------------------------

    def forwards(self, cut: list[Segment]) -> None:
        """Runs these segments; of their states only what later ones read is kept, in memory of its own."""
        for segment in cut:
            found = self.compiled.forward(*self._given(segment))
            for name, depth in self.of.reach.items():
                inner = range(segment.first, segment.last + 1)
                for step in inner[-depth:] if self.of.direction > 0 else inner[:depth]:
                    self.states[name, step] = joined([found[name][step - segment.first][None]])[0]

    def forget(self, segment: Segment) -> None:
        """Drops the states that no segment after this one reads."""
        after = segment.last + 1 if self.of.direction > 0 else segment.first - 1
        self.states = {
            (name, step): row for (name, step), row in self.states.items() if abs(after - step) <= self.of.reach[name]
        }

    # --- backwards --------------------------------------------------------------------------------------------------

    def backwards(self, cut: list[Segment]) -> None:
        """Runs these segments, last first, and sends the gradients by their boundary values where these came from."""
        for segment in cut:
            params, inputs, initial = self._given(segment)
            found = self.compiled.vjp(params, inputs, self._cotangents(segment), initial)
            for border in self.of.segment.borders:
                if border.key in found:
                    self._send(border.variable, segment, segment.beyond(border), found.pop(border.key))
            for name, gradient in found.items():
                if self.variables[name].kind == "input":
                    self.parts.setdefault(name, {})[segment.first] = gradient
                else:
                    self._add(self.totals, name, gradient)

    def _cotangents(self, segment: Segment) -> dict[str, Any]:
        found = {name: segment.rows(array) for name, array in self.cotangents.items()}
        for name, step in [p for p in self.bars if p[0] not in self.inputs and p[1] in segment]:
            bar = self.bars.pop((name, step))
            whole = found[name] if name in found else zeros(segment.last - segment.first + 1, bar)
            found[name] = row_added(whole, step - segment.first, bar)
        return found

    def _send(self, name: str, segment: Segment, step: int, gradient: Any) -> None:
        """The gradient by a value at a step beyond a segment; that of a state ends where its block does."""
        key = self._outside(name, step)
        first = segment.start == 1 if self.of.direction > 0 else segment.end == self.T
        if name not in self.inputs and not (segment.start <= step <= segment.end if key is None else first):
            return
        if key is None:
            self._add(self.bars, (name, step), gradient)
        elif key in self.of.keys("learned"):
            self._add(self.totals, key, gradient.reshape((-1, *self.params[key].shape)).sum(0))
        elif key in self.of.keys("given"):
            self._add(self.totals, key, gradient)

    @staticmethod
    def _add(sums: dict[Any, Any], key: Any, value: Any) -> None:
        sums[key] = sums[key] + value if key in sums else value

    # --- the result -------------------------------------------------------------------------------------------------

    def gradients(self) -> dict[str, Any]:
        """With the keys of a run in one piece."""
        wholes = {}
        for name, parts in self.parts.items():
            for _, step in [p for p in self.bars if p[0] == name]:
                first = max(f for f in parts if f <= step)
                parts[first] = row_added(parts[first], step - first, self.bars.pop((name, step)))
            wholes[name] = joined([parts[first] for first in sorted(parts)])
        found = {v.name: self.totals[v.name] for v in self.of.segment.parameters} | wholes
        for border in self.of.system.borders:
            kind = self.of.system.variables[border.variable].kind
            if self.of.system.boundary[border.variable] != "zero" and kind != "target":
                known = border.key in self.totals
                found[border.key] = self.totals[border.key] if known else self._untouched(border)
        return found

    def _untouched(self, border: Border) -> Any:
        """The gradient by a boundary value that only a loss reads: zeros."""
        key, name = border.key, border.variable
        value = self.params.get(key, self.initial.get(key))
        if value is None:
            value = self.inputs[name][0] if name in self.inputs else self._first_states()[name][0]
        return library(value).zeros_like(value)

    def _first_states(self) -> Arrays:
        step = 1 if self.of.direction > 0 else self.T
        return self.compiled.forward(*self._given(Segment(step, step, step, step)))
