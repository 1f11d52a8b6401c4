"""The loss and its gradients: what it reads itself, added to what the adjoint equations give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from derive.emit.code import POWER, ROW, kind_of, total, wrapped
from derive.emit.layout import Place
from derive.emit.numpy.gradients import Gradients
from derive.emit.numpy.regions import Region
from derive.emit.source import (
    function,
    uses,
)
from derive.partials import table
from derive.schedule.terms import gradient_of_loss
from derive.system import LOSS

BAR = "_bar"


class Losses(Gradients):
    def _value_and_grad(self) -> str:
        face = self.face
        assert face.loss is not None
        last = self.system.loss == "last"
        place = Place(tuple(self.system.lattice.lengths), self.everywhere.margins) if last else self.everywhere
        self.region = Region(self.arrays, place)
        value = self.printer.full(self.printer.value(self._at(face.loss.rhs, place)), face.loss.rhs)
        text = f"np.sum({value.text})" if value.batched else f"points * {value.at_least(POWER)}"
        body = [*wrapped("loss = ", text), "bars = {name: np.zeros_like(values[name]) for name in COTANGENTS}"]
        direct, after = self._direct(place)
        inner = self.layout.inner
        cotangents = f"{{name: bar[{inner}] for name, bar in bars.items()}}"
        body += [*direct, f"gradients = _pull(values, sizes, {cotangents})", *after]
        body.append('return loss, _batched({**INPUTS, **INITIAL}, gradients, sizes["batch"], sizes["..."])')
        fed = "".join(f', "{v.name}": targets["{v.name}"]' for v in face.fed)
        first = [f"inputs = {{**inputs{fed}}}"] if fed else []
        first.append("values, sizes = _run(*_arrays(params, inputs, initial, targets))")
        targets = [v for v in face.targets if v not in face.fed and uses(body, self.names.of[v.name])]
        bordered = [*map(self._input, targets), *self._set_borders(targets)]
        known = [v.name for v in (*face.inputs, *face.states) if uses(body, self.names.of[v.name])]
        points = self._points(body, lengths=not last)
        sizes = self._sizes([*bordered, *body, *points])
        head = [*self._parameters(body), *self._unpacked(known), *sizes, *bordered, *points]
        which = "loss of the last step, summed over" if last else "loss, summed over all steps and"
        doc = f"The {which} the batch, and its gradients, as `vjp` returns them."
        return function("value_and_grad(params, inputs, targets, initial=None)", doc, [*first, *head, *body])

    def _direct(self, place: Place) -> tuple[list[str], list[str]]:
        """The gradients of the loss by what it reads itself: before the adjoint equations run, and after."""
        found: dict[str, list[str]] = {}
        after: list[str] = []
        moved: dict[str, None] = {}
        for entry in table(self.system).of_target(LOSS):
            source, kind = entry.source, self.system.variables[entry.source.name].kind
            gradient = gradient_of_loss(self.system, entry)
            self.region = Region(self.arrays, place)
            if kind == "parameter":
                text = total(self.printer, self._at(gradient, place))
                text = f"({text})[None]" if kind_of(source) == ROW else text
                after += wrapped(f'gradients["{source.name}"] += ', text)
            elif kind in ("state", "input"):
                offset = entry.offset or ()
                rows = self.arrays.rows(source.name, place, offset)
                where = f"[{rows}]" if rows else ""
                bar = f'{"direct" if kind == "input" else "bars"}["{source.name}"]'
                found.setdefault(source.name, []).extend(
                    wrapped(f"{bar}{where} += ", self._text(self._at(gradient, place)))
                )
                moved.update({source.name: None} if any(offset) or kind == "input" else {})
        set_aside, returned = self._set_aside(list(moved))
        return [*set_aside[0], *(line for lines in found.values() for line in lines), *set_aside[1]], [
            *returned,
            *after,
        ]

    def _set_aside(self, names: Sequence[str]) -> tuple[tuple[list[str], list[str]], list[str]]:
        """The loss may read inputs, or beyond the lattice, where no adjoint equation holds: added to what these give."""
        first = ["direct = {}"] if names else []
        then: list[str] = []
        returned: list[str] = []
        for name in names:
            var, is_input = self.system.variables[name].var, self.system.variables[name].kind == "input"
            borders = [b for b in self.face.borders if b.variable == name]
            if is_input:
                row = "[..., None, :]" if kind_of(var) == ROW else ""
                first.append(f'direct["{name}"] = np.zeros_like({self._entry(name)})')
                rows = self.arrays.rows(name, self.everywhere)
                rows = f"[{rows}]" if rows else ""
                returned.append(f'gradients["{name}"] += direct["{name}"]{rows}{row}')
            for border in borders:
                place = f'direct["{name}"][{self.layout.border(border)}]'
                if not is_input:
                    place = f'direct["{border.key}"]'
                    then.append(f'{place} = bars["{name}"][{self.layout.border(border)}].copy()')
                (line,) = self._outward(border, f'gradients["{border.key}"]', place)
                returned.append(line.replace(" = ", " += ", 1))
            if not is_input:
                then += [f'bars["{name}"][{outside}] = 0' for outside in self._outside()]
        return (first, then), returned

    def _outside(self) -> Iterator[str]:
        """The rows before and after all steps, axis by axis."""
        for axis, (before, after) in enumerate(zip(self.layout.before, self.layout.after, strict=True)):
            yield ", ".join([":"] * axis + [f":{before}"])
            if after:
                yield ", ".join([":"] * axis + [f"-{after}:"])
