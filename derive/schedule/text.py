"""A program for a person: what is computed for all points at once, what is swept, what is one product, what is kept.

`[a; b]` is `a` above `b`: arrays that lie side by side, or parameters that do, so that a line with it is one matrix product.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from textwrap import indent
from typing import Any, TypeAlias

from sympy import Expr, Integer

from derive import expr
from derive.expr import Equals, Node, Var
from derive.notation import Notation
from derive.printing import latex
from derive.printing import text as written
from derive.schedule.hoist import ROLES
from derive.schedule.program import (
    CARRIED,
    SCRATCH,
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

WIDE = 110
"""Columns of a terminal that a formula may take before its right side gets a line of its own."""

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

KEPT = {STORED: "for every point", CARRIED: "from one step to the next", SCRATCH: "within a step"}


def formula(statement: Assign | Product | Gradient, program: Program) -> Equals:
    """What a statement computes, as an equation; what is fused is stacked."""
    match statement:
        case Product(transposed=False):
            product: Node = expr.Mul(_column(statement.pack.parts), statement.operands[0])
            bias = statement.bias
            value = expr.Add(product, _column(bias.parts)) if bias else product
            return Equals(_column(statement.targets), value)
        case Product():
            factors = expr.Transpose(_column(statement.pack.parts)), _column(statement.operands)
            return Equals(statement.target, expr.Mul(*factors))
        case OuterTotal():
            left = _column(statement.left)
            body = expr.Mul(left, expr.transpose(statement.right)) if statement.right else left
            return Equals(_column(statement.targets), expr.Sum(body, *program.system.lattice.ranges))
        case Total():
            return Equals(statement.target, expr.Sum.build(statement.value, *program.system.lattice.ranges))
        case Edge():
            return Equals(_at_border(statement, program), statement.value)
        case _:
            return Equals(statement.target, statement.value)


def _column(parts: Sequence[Var]) -> Node:
    return parts[0] if len(parts) == 1 else expr.Block(*([part] for part in parts))


def _at_border(edge: Edge, program: Program) -> Var:
    """`h_bar[0]`; a derived system, which has no adjoint here, names its variable itself."""
    variables = program.system.variables
    derived = program.adjoint is None
    var = variables[edge.key.partition("[")[0]].var if derived else variables[edge.border.variable].var.marked("bar")
    steps = zip(var.index, edge.steps, strict=True)
    return var.at(tuple(index if step is None else step for index, step in steps))


# --- as data ----------------------------------------------------------------------------------------------------------


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
            name: {"text": written(a.var, notation), "storage": a.storage, "origin": a.origin}
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


class _Passes:
    """Items as data: what stands for all points at once in groups, sweeps with what they hold."""

    def __init__(self, program: Program, notation: Notation):
        self.program, self.notation, self.lattice = program, notation, program.system.lattice

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
            "body": self.items(sweep.body, swept | {sweep.axis}),
        }

    def _behind(self, sweep: Sweep) -> Data:
        """What is computed some steps after its turn, by how many."""
        found: dict[str, list[str]] = {}
        for name, steps in sweep.shifts.items():
            found.setdefault(str(steps), []).append(written(self.program.arrays[name].var, self.notation))
        return dict(found)

    def line(self, statement: Assign | Product | Gradient) -> Data:
        targets = [statement.key] if isinstance(statement, Edge) else [t.name for t in _targets(statement)]
        equation = formula(statement, self.program)
        kind = _kind(statement)
        return {
            "kind": kind,
            "computes": targets,
            "text": written(equation, self.notation),
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
        name = written(owner.var.at(()), notation) if owner else _owner(examples[kind])
        yield written(examples[kind], notation), LEGEND[kind].format(name)


PIECE = re.compile(rf"_({'|'.join(ROLES)})(_\d+)?$")


def _kinds(array: Array) -> list[str]:
    """The mark of an adjoint, or the role that the name of a piece says."""
    if array.origin == "state":
        return []
    piece = PIECE.search(array.var.base) if array.origin == "part" else None
    return [piece[1]] if piece else [mark for mark in array.var.marks if mark in LEGEND]


def _owner(var: Var) -> str:
    return PIECE.sub("", var.base)


# --- as text ----------------------------------------------------------------------------------------------------------


def text(program: Program, notation: Notation) -> str:
    """The program for a terminal."""
    found = data(program, notation)
    derived = program.adjoint is None
    blocks = [f"{found['name']}: {found['title']}"]
    blocks.append(_block("What it computes" if derived else "Forward", _lines(found["forward"])))
    if found["backward"]:
        blocks.append(
            _block(f"Backward, from cotangents of {', '.join(found['cotangents'])}", _lines(found["backward"]))
        )
    for heading, wanted in (
        ("Sums over all points" if derived else "Gradients of parameters, after the sweeps", lambda g: g != "border"),
        ("Beyond the lattice" if derived else "Gradients of boundary values", lambda g: g == "border"),
    ):
        lines = [line for one in found["gradients"] if wanted(one["kind"]) for line in _formula(one["text"])]
        blocks += [_block(heading, lines)] if lines else []
    blocks.append(_block("Memory", list(_memory(program, notation))))
    blocks.append(_block("Counts", list(_counted(found["counts"]))))
    legend = [*found["names"].items()]
    if any("[" in line["text"] for line in _every_line(found)):
        legend.append(("[a; b]", "a above b, side by side in memory: such a line is one matrix product, or one sum"))
    if legend:
        blocks.append(_block("Names", _table(legend)))
    return "\n\n".join(blocks)


def _every_line(found: Data) -> Iterator[Data]:
    pending = [*found["forward"], *found["backward"], *found["gradients"]]
    for item in pending:
        if "body" in item:
            pending.extend(item["body"])
        else:
            yield item


def _lines(items: Sequence[Data]) -> list[str]:
    lines: list[str] = []
    for item in items:
        if "body" not in item:
            lines += _formula(item["text"])
            continue
        lines += [f"{_header(item)}:", *(f"    {line}" for line in _lines(item["body"]))]
    return lines


def _header(item: Data) -> str:
    products = sum(line["kind"] == "product" for line in item["body"])
    count = f", {_plural(products, 'matrix product')}" if products else ""
    if item["kind"] == "all":
        return f"for all {', '.join(item['indices'])} at once{count}"
    behind = [f"{steps} behind: {', '.join(names)}" for steps, names in item["behind"].items()]
    late = f" ({'; '.join(behind)})" if behind else ""
    return f"for {item['index']} = {item['from']}..{item['to']}{late}{count}"


def _formula(formula: str) -> list[str]:
    left, sign, right = formula.partition(" = ")
    if sign and "\n" not in formula and len(formula) > WIDE:
        return [left, f"    = {right}"]
    return formula.splitlines()


def _memory(program: Program, notation: Notation) -> Iterator[str]:
    def those(variables: Iterable[Var]) -> str:
        return ", ".join(written(v.at(()), notation) for v in variables)

    rows = [
        (KEPT[storage], those(a.var for a in program.arrays.values() if a.storage == storage))
        for storage in (STORED, CARRIED, SCRATCH)
    ]
    arrays = program.arrays
    shared = [f"{those([arrays[a].var])} with {those([arrays[b].var])}" for a, b in program.shared.items()]
    rows.append(("in the same place", ", ".join(shared)))
    rows.append(("side by side", ", ".join(f"[{'; '.join(those([p]) for p in s.parts)}]" for s in program.stacks)))
    width = max(len(name) for name, _ in rows)
    for name, entries in rows:
        if entries:
            yield from _wrapped(f"{name:{width}}  ", entries)


def _wrapped(head: str, entries: str) -> list[str]:
    """Entries after one another, in as many lines as they take."""
    lines, line = [], head
    for entry in entries.split(", "):
        if len(line) > len(head) and len(line) + len(entry) > WIDE:
            lines.append(line.rstrip())
            line = " " * len(head)
        line += f"{entry}, "
    return [*lines, line.removesuffix(", ")]


def _counted(counts: Data) -> Iterator[str]:
    def products(where: Data) -> str:
        found = [(name, n) for name, n in where.items() if n["products"]]
        single = sum(n["of_single_matrices"] for _, n in found)
        parts = ", ".join(f"{n['products']} {'for ' if name == 'gradients' else ''}{name}" for name, n in found)
        return f"{parts}; {_plural(single, 'product')} with single matrices" if found else ""

    inside = counts["inside_formulas"]
    stored = counts["stored_at_a_point"]
    less = f", {stored['without_sharing']} where nothing shared its memory" if len({*stored.values()}) > 1 else ""
    rows = [
        ("matrix products for all points at once", products(counts["all_at_once"])),
        ("matrix products in a step", products(counts["in_a_step"])),
        ("matrix products inside formulas", ", ".join(f"{n} {name}" for name, n in inside.items() if n)),
        ("numbers that are stored at a point", f"{stored['numbers']}{less}"),
    ]
    return iter(_table([row for row in rows if row[1]]))


def _plural(n: int, noun: str) -> str:
    return f"{n or 'no'} {noun}{'' if n == 1 else 's'}"


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    columns: Callable[[str], int] = lambda s: sum(not "\u0300" <= c <= "\u036f" for c in s)  # noqa: E731
    width = max(columns(name) for name, _ in rows)
    return [f"{name}{' ' * (width - columns(name))}  {said}" for name, said in rows]


def _block(heading: str, lines: list[str]) -> str:
    return f"{heading}\n" + indent("\n".join(lines), "    ")
