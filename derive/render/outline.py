"""What every format shows, in the same order: the heading, the derivations, and prose with its names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sympy import Basic, Expr, Integer, Symbol

from derive.expr import strip_labels, variables

if TYPE_CHECKING:
    from derive.derivation import Derivation, Step
    from derive.expr import Var

OPTIONS = ("hold", "where", "unroll", "layout", "notation")
_NAME = re.compile(r"([A-Za-z]\w*)(?:\[([\w\s,+-]+)\])?")


def title(derivations: Sequence[Derivation]) -> str:
    """The title of the document: that of its systems."""
    names = dict.fromkeys(d.system.title for d in derivations)
    return ", ".join(names) or "No derivation"


def references(derivations: Sequence[Derivation]) -> list[str]:
    """The references of the systems, each once."""
    return list(dict.fromkeys(" ".join(d.system.reference.split()) for d in derivations if d.system.reference))


def chosen(derivation: Derivation) -> dict[str, Any]:
    """The options of the query that were asked for."""
    return {key: derivation.options[key] for key in OPTIONS if derivation.options.get(key)}


def asked(derivation: Derivation) -> str:
    """The same in the words of the command line: `--hold z --unroll 3`."""
    shown = {key: _typed(value) for key, value in chosen(derivation).items()}
    return " ".join(f"--{key} {value}" for key, value in shown.items())


def _typed(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{name}={number}" for name, number in value.items())
    return ",".join(value) if isinstance(value, (list, tuple)) else str(value)


def numbered(derivation: Derivation) -> Iterator[tuple[int, Step, tuple[Basic, ...]]]:
    """The steps with their numbers and the formulas to show before them: none that stand right above anyway."""
    above: tuple[Basic, ...] = ()
    for number, step in enumerate(derivation.steps, 1):
        known = set(map(strip_labels, step.before)) <= set(map(strip_labels, above))
        yield number, step, () if known else step.before
        above = step.lines


def said(step: Step) -> tuple[Any, ...]:
    """What a step says, whatever it is called: its formulas, or its words where it has none."""
    return (step.rule, *(step.lines or (step.reason,)))


def spans(prose: str, derivation: Derivation | None = None) -> Iterator[tuple[str, str | Var]]:
    """Prose cut at its backticks: ("prose", text), ("math", variable), or ("code", text) for what names no variable."""
    for n, piece in enumerate(re.split(r"`([^`]*)`", prose)):
        variable = _variable(piece, derivation) if n % 2 and derivation else None
        if variable is not None:
            yield "math", variable
        elif piece:
            yield ("code" if n % 2 else "prose"), piece


def _variable(name: str, derivation: Derivation) -> Var | None:
    """The variable of the system, or of the derivation's own formulas, that `h[t-1]`, `U_z` or `N` names."""
    found = _NAME.fullmatch(name.strip())
    if found is None:
        return None
    variable = derivation.system.variables.get(found[1])
    var = variable.var if variable is not None else _own(found[1], derivation)
    if var is None:
        return None
    return var.at(()) if found[2] is None else var.at(_index(part, derivation) for part in found[2].split(","))


def _own(name: str, derivation: Derivation) -> Var | None:
    """What a formula of the derivation names and the system does not: the matrix `N` of a bound."""
    lines = (line for step in derivation.steps for line in step.lines)
    return next((v for line in lines for v in variables(line) if v.name == name), None)


def _index(written: str, derivation: Derivation) -> Expr:
    letter, sign, number = re.match(r"\s*([A-Za-z]*)\s*([+-]?)\s*(\d*)", written).groups()  # type: ignore[union-attr]
    known = {str(s): s for s in (*derivation.system.lattice.indices, *derivation.system.lattice.lengths)}
    base = known.get(letter, Symbol(letter, integer=True)) if letter else Integer(0)
    return base + Integer(int(f"{sign}{number or 0}"))


def sentence(words: str) -> str:
    """With a capital at the start, as a sentence has it."""
    return words[:1].upper() + words[1:]
