"""The loss of a system, and where its gradients enter the adjoint equations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from derive.emit.code import ROW, kind_of, wrapped
from derive.emit.layout import Place
from derive.emit.source import dictionary, function
from derive.emit.torch.body import Body
from derive.expr import Node, Var
from derive.partials import Entry, table
from derive.schedule.program import Total
from derive.schedule.terms import gradient_of_loss
from derive.system import LOSS

if TYPE_CHECKING:
    from derive.emit.torch.module import Module


class Loss:
    """Writes `value_and_grad`."""

    def __init__(self, module: Module):
        self.module, self.system, self.names, self.memory = module, module.system, module.names, module.memory

    def function(self) -> str:
        loss = self.module.loss
        assert loss is not None
        body = self.module.body()
        to = body.to
        last = self.system.loss == "last"
        place = Place(tuple(self.system.lattice.lengths), to.everywhere.margins) if last else to.everywhere
        to.place = place
        value = to.printer.full(to.printer.value(to.moved(loss.rhs)), loss.rhs)
        if value.batched:
            lines = wrapped("loss = ", f"{value.at_least(4)}.sum()")
        else:
            lines = wrapped("loss = ", f"{'batch' if last else 'points'} * {value.at_least(3)}")
        first, after = self._direct(body, place)
        lines += [*first, "gradients = pull(values, sizes, cotangents)", *after, "return loss, gradients"]
        self.module.collected(body)
        head = ["values, sizes = arguments(params, inputs, initial, targets)", "values = run(values, sizes)"]
        fed = "".join(f', "{v.name}": targets["{v.name}"]' for v in self.module.fed)
        if fed:
            head = [f"inputs = {{**inputs{fed}}}", *head]
        which = "loss of the last step, summed over" if last else "loss, summed over all steps and"
        doc = f"The {which} the batch, and its gradients, as `vjp` returns them."
        found = [*head, *body.function(lines, set())]
        return "@torch.no_grad()\n" + function("value_and_grad(params, inputs, targets, initial=None)", doc, found)

    def _direct(self, body: Body, place: Place) -> tuple[list[str], list[str]]:
        """The gradients of the loss by what it reads itself: before the adjoint equations run, and after."""
        to = body.to
        found: dict[str, list[tuple[Entry, Node]]] = {}
        after: list[str] = []
        for entry in table(self.system).of_target(LOSS):
            kind = self.system.variables[entry.source.name].kind
            gradient = gradient_of_loss(self.system, entry)
            if kind == "parameter":
                to.place = place
                total = to.total(Total(entry.source, to.moved(gradient)))
                total = total.replace("points * ", "batch * ") if self.system.loss == "last" else total
                after += wrapped(f'gradients["{entry.source.name}"] = gradients["{entry.source.name}"] + ', total)
            elif kind in ("state", "input"):
                found.setdefault(entry.source.name, []).append((entry, gradient))
        first: list[str] = []
        cotangents: dict[str, str] = {}
        for name, entries in found.items():
            some = self._direct_of(body, name, entries, place)
            first += some[0]
            after += some[2]
            if self.system.variables[name].kind == "state":
                cotangents[name] = some[1]
        return [*first, *dictionary("cotangents = ", cotangents)], after

    def _direct_of(
        self, body: Body, name: str, entries: Sequence[tuple[Entry, Node]], place: Place
    ) -> tuple[list[str], str, list[str]]:
        """The lines of one cotangent, its text, and what is added to gradients afterwards."""
        to, var = body.to, self.system.variables[name].var
        is_input = self.system.variables[name].kind == "input"
        to.place = place
        (entry, gradient) = entries[0]
        if len(entries) == 1 and not any(entry.offset or ()) and not is_input and place == to.everywhere:
            value = to.printer.full(to.printer.value(gradient), gradient)
            if value.batched and not isinstance(gradient, Var):
                return [], value.text, []
        local = self.names.of.setdefault(f"{name} direct", self.names.new(f"{name}_direct"))
        lines = [f"{local} = torch.zeros_like({to.called(var)})"]
        for entry, gradient in entries:
            offset = entry.offset or ()
            index = [i + o for i, o in zip(self.system.lattice.indices, offset, strict=True)]
            where = to.at(local, to.moved(entry.source.at(index)))  # type: ignore[arg-type]
            lines += wrapped(f"{where} += ", to.value(to.moved(gradient)))
        to.place = to.everywhere
        after = []
        if is_input:
            row = "[..., None, :]" if kind_of(var) == ROW else ""
            inner = to.at(local, var)
            after.append(f'gradients["{name}"] = gradients["{name}"] + outward({inner}, sizes){row}')
        for border in self.module.gradient_borders:
            if border.variable == name and body.has_rows(border):
                entry_ = f'gradients["{border.key}"]'
                after += body.edge_outward(border, entry_, f"= {entry_} +", body.place(border, local))
        return lines, f"{to.at(local, var)}", after
