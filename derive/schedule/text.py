"""A program for a person: what is computed for all points at once, what is swept, what is one product, what is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import indent

from derive.expr import Var
from derive.notation import Notation
from derive.printing import text as written
from derive.schedule.account import Data, data, every_line
from derive.schedule.program import CARRIED, SCRATCH, STORED, Program

WIDE = 110
"""Columns of a terminal that a formula may take before its right side gets a line of its own."""

BACKENDS = {"numpy": "NumPy", "jax": "JAX"}

KEPT = {STORED: "for every point", CARRIED: "from one step to the next", SCRATCH: "within a step"}


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
    if any("[" in line["text"] for line in every_line(found)):
        legend.append(("[a; b]", "a above b, side by side in memory: such a line is one matrix product, or one sum"))
    if legend:
        blocks.append(_block("Names", _table(legend)))
    return "\n\n".join(blocks)


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
    waves = [f"; in {_joined(w['backends'])} in waves {w['index']} = {w['from']}..{w['to']}" for w in item["waves"]]
    return f"for {item['index']} = {item['from']}..{item['to']}{late}{count}{''.join(waves)}"


def _joined(backends: Sequence[str]) -> str:
    return " and ".join(BACKENDS[name] for name in backends)


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
    width = max(_columns(name) for name, _ in rows)
    return [f"{name}{' ' * (width - _columns(name))}  {said}" for name, said in rows]


def _columns(line: str) -> int:
    """How wide it stands: combining accents take no room."""
    return sum(not "\u0300" <= character <= "\u036f" for character in line)


def _block(heading: str, lines: list[str]) -> str:
    return f"{heading}\n" + indent("\n".join(lines), "    ")
