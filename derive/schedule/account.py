"""A program as data: its passes in groups and sweeps, with counts, how long arrays are kept, and what their names mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from sympy import Expr, Integer

from derive import expr
from derive.expr import Var
from derive.notation import Notation
from derive.printing import latex, text
from derive.schedule.formulas import formula
from derive.schedule.fronts import Front, front, has_front, loops, planes
from derive.schedule.hoist import ROLES
from derive.schedule.program import (
    STORED,
    Array,
    Assign,
    Edge,
    Gradient,
    Item,
    OuterTotal,
    Product,
    Program,
    Sweep,
    Total,
    statements,
)
from derive.schedule.terms import COTANGENT, is_product

Data: TypeAlias = "dict[str, Any]"

LEGEND = {
    "ct": "the cotangent of {0}, which is given",
    "bar": "the adjoint of {0}",
    "delta": "the adjoint of what the function of {0} is applied to",
    "in": "what enters {0}, or its adjoint, from outside the loop",
    "rec": "a piece of {0} with a matrix product in it",
    "gain": "a factor in {0}, or in its adjoint, known before the loop",
    "arg": "what a matrix is multiplied by, in {0} or in its adjoint",
    "sum": "products with transposed matrices, added up for the adjoint of {0}",
    "part": "a piece of {0} that is needed again",
}
"""What pieces are, by their marks or the ends of their names; {0} is whose piece it is."""


def data(program: Program, notation: Notation) -> Data:
    """The program as JSON data; formulas as text and as LaTeX."""
    passes = _Passes(program, notation)
    lattice = program.system.lattice
    return {
        "name": program.system.name,
        "title": program.system.title,
        "lattice": {str(i): str(n) for i, n in zip(lattice.indices, lattice.lengths, strict=True)},
        "cotangents": list(program.seeds),
        "forward": passes.items(program.forward),
        "backward": passes.items(program.backward),
        "gradients": [passes.line(g) for g in program.gradients],
        "arrays": {
            name: {"text": text(a.var, notation), "storage": a.storage, "origin": a.origin}
            for name, a in program.arrays.items()
        },
        "side_by_side": [[part.name for part in stack.parts] for stack in program.stacks],
        "parameters_below_one_another": [
            [part.name for part in pack.parts] for pack in program.packs if pack.parts[1:]
        ],
        "shared_memory": dict(program.shared),
        "counts": _counts(program),
        "names": dict(_names(program, notation)),
    }


def every_line(found: Data) -> Iterator[Data]:
    """The statements among the items of a program's data, at whatever depth."""
    pending = [*found["forward"], *found["backward"], *found["gradients"]]
    for item in pending:
        if "body" in item:
            pending.extend(item["body"])
        else:
            yield item


class _Passes:
    """Items as data: what stands for all points at once in groups, sweeps with what they hold."""

    def __init__(self, program: Program, notation: Notation):
        self.program, self.notation, self.lattice = program, notation, program.system.lattice
        self.planes = planes(program)

    def items(self, items: Sequence[Item], swept: frozenset[int] = frozenset()) -> list[Data]:
        left = [str(i) for axis, i in enumerate(self.lattice.indices) if axis not in swept]
        found: list[Data] = []
        for item in items:
            if isinstance(item, Sweep):
                found.append(self._sweep(item, swept))
            elif not left:
                found.append(self.line(item))
            else:
                if not found or found[-1]["kind"] != "all":
                    found.append({"kind": "all", "indices": left, "body": []})
                found[-1]["body"].append(self.line(item))
        return found

    def _sweep(self, sweep: Sweep, swept: frozenset[int]) -> Data:
        index, length = self.lattice.indices[sweep.axis], self.lattice.lengths[sweep.axis]
        late = max(sweep.shifts.values(), default=0)
        first, last = (Integer(1), length + late) if sweep.direction > 0 else (length, Integer(1) - late)
        return {
            "kind": "sweep",
            "index": str(index),
            "from": _said(first),
            "to": _said(last),
            "behind": self._behind(sweep),
            "waves": self._waves(sweep, outermost=not swept),
            "body": self.items(sweep.body, swept | {sweep.axis}),
        }

    def _waves(self, sweep: Sweep, outermost: bool) -> list[Data]:
        """The waves in which backends go through a sweep, where these are more than its steps."""
        system, fronts = self.program.system, dict[str, Front]()
        if loops(sweep) in self.planes:
            fronts["numpy"] = self.planes[loops(sweep)].front
        if outermost and system.lattice.dimension > 1 and has_front(sweep, system):
            fronts["jax"] = front(sweep, system)
        found: dict[tuple[str, str, str], list[str]] = {}
        for backend, one in fronts.items():
            if sum(map(bool, one.slopes)) > 1:
                found.setdefault(self._times(one), []).append(backend)
        return [
            {"index": index, "from": first, "to": last, "backends": backends}
            for (index, first, last), backends in found.items()
        ]

    def _times(self, front: Front) -> tuple[str, str, str]:
        """What all points of a wave have the same, and from where to where it goes."""
        direction = -1 if next(slope for slope in front.slopes if slope) < 0 else 1
        same, low, high = Integer(0), Integer(0), Integer(0)
        for slope, i, n in zip(front.slopes, self.lattice.indices, self.lattice.lengths, strict=True):
            slope *= direction
            first, last = (1, n) if slope > 0 else (n, 1)
            same, low, high = same + slope * i, low + slope * first, high + slope * last
        first, last = (low, high) if direction > 0 else (high, low)
        return str(same), _said(first), _said(last + direction * max(front.delays.values()))

    def _behind(self, sweep: Sweep) -> Data:
        """What is computed some steps after its turn, by how many."""
        found: dict[str, list[str]] = {}
        for name, steps in sweep.shifts.items():
            found.setdefault(str(steps), []).append(text(self.program.arrays[name].var, self.notation))
        return dict(found)

    def line(self, statement: Assign | Product | Gradient) -> Data:
        targets = [statement.key] if isinstance(statement, Edge) else [t.name for t in _targets(statement)]
        equation = formula(statement, self.program)
        kind = _kind(statement)
        return {
            "kind": kind,
            "computes": targets,
            "text": text(equation, self.notation),
            "latex": latex(equation, self.notation),
        }


def _said(e: Expr) -> str:
    return str(e).replace(" ", "")


def _targets(statement: Any) -> tuple[Var, ...]:
    return statement.targets if hasattr(statement, "targets") else (statement.target,)


def _kind(statement: Assign | Product | Gradient) -> str:
    match statement:
        case Product():
            return "product"
        case OuterTotal(right=Var()):
            return "product, summed"
        case OuterTotal() | Total():
            return "sum"
        case Edge():
            return "border"
        case _:
            return "formula"


def _counts(program: Program) -> Data:
    """Matrix products, how many single ones they stand for, and the numbers that are stored at a point."""
    found: Data = {}
    for name, items in (("forward", program.forward), ("backward", program.backward)):
        swept = [s for item in items if isinstance(item, Sweep) for s in statements((item,))]
        at_once = [item for item in items if not isinstance(item, Sweep)]
        for where, run in (("all_at_once", at_once), ("in_a_step", swept)):
            products = [s for s in run if isinstance(s, Product)]
            matrices = sum(len(p.pack.parts) for p in products)
            found.setdefault(where, {})[name] = {"products": len(products), "of_single_matrices": matrices}
            others = sum(is_product(n) for s in run if isinstance(s, Assign) for n in expr.walk(s.value))
            found.setdefault("inside_formulas", {})[name] = found.get("inside_formulas", {}).get(name, 0) + others
    outer = [g for g in program.gradients if isinstance(g, OuterTotal) and g.right is not None]
    found["all_at_once"]["gradients"] = {
        "products": len(outer),
        "of_single_matrices": sum(len(g.targets) for g in outer),
    }
    kept = [a.var for a in program.arrays.values() if a.storage == STORED]
    own = [v for v in kept if v.name not in program.shared]
    found["stored_at_a_point"] = {"numbers": _said(_size(own)), "without_sharing": _said(_size(kept))}
    return found


def _size(variables: Iterable[Var]) -> Expr:
    return sum((v.shape[0] * v.shape[1] for v in variables), Integer(0))


def _names(program: Program, notation: Notation) -> Iterator[tuple[str, str]]:
    """One piece of every kind that occurs, with what it is."""
    examples: dict[str, Var] = {}
    for seed in program.seeds:
        examples.setdefault("ct", program.system.variables[seed].var.marked(COTANGENT))
    for array in program.arrays.values():
        for kind in _kinds(array):
            examples.setdefault(kind, array.var)
    for kind in (k for k in LEGEND if k in examples):
        owner = program.system.variables.get(_owner(examples[kind]))
        name = text(owner.var.at(()), notation) if owner else _owner(examples[kind])
        yield text(examples[kind], notation), LEGEND[kind].format(name)


PIECE = re.compile(rf"_({'|'.join(ROLES)})(_\d+)?$")


def _kinds(array: Array) -> list[str]:
    """The mark of an adjoint, or the role that the name of a piece says."""
    if array.origin == "state":
        return []
    piece = PIECE.search(array.var.base) if array.origin == "part" else None
    return [piece[1]] if piece else [mark for mark in array.var.marks if mark in LEGEND]


def _owner(var: Var) -> str:
    return PIECE.sub("", var.base)
