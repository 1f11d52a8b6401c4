"""What the engine derives for the left side of a line, and where the line departs from it.

A line that follows one of the usual forms but for one slip is the same tree but for one place: that is where a slip is
looked for first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from sympy import Basic, Tuple

from derive import expr
from derive.adjoint import DELTA, adjoint
from derive.errors import DeriveError
from derive.expr import Equals, Node, Var
from derive.oracles.names import Definitions
from derive.system import LOSS, System
from derive.verdicts.causes.sites import Site

AROUND, WITHIN = 2, 3
"""So far above and below a suspicious place what it stands in and its parts are suspected too."""


@lru_cache(maxsize=64)
def charged(system: System, loss: str | None) -> System:
    """The system with the loss at every step, or at the last only, as is said."""
    return system if loss in (None, system.loss) else System.of(replace(system.parts, loss=loss))


@lru_cache(maxsize=512)
def right_sides(system: System, hold: tuple[str, ...], side: Node) -> tuple[Node, ...]:
    """The right sides that derivations of `side` come to, in their forms."""
    query = _query(side)
    if query is None:
        return ()
    try:
        steps = system.derive(query, hold=tuple(h for h in hold if h in system.equations)).steps
    except DeriveError:
        return ()
    lines = [expr.strip_labels(line) for step in steps for line in step.lines if isinstance(line, Equals)]
    turned = expr.transpose(side)
    straight = [line.rhs for line in lines if line.lhs is side]
    return (*dict.fromkeys(straight + [expr.transpose(line.rhs) for line in lines if line.lhs is turned]),)


def meant(side: Node, definitions: Definitions) -> Node:
    """What a name that the document introduces stands for."""
    for target, value in definitions.get(side.name, ()) if isinstance(side, Var) else ():
        if len(target.index) == len(side.index) and all(i.is_Symbol for i in target.index):
            return expr.at(value, dict(zip(target.index, side.index, strict=True)))  # type: ignore[no-any-return]
    return side


def spelled(system: System, hold: tuple[str, ...], node: Node, formula: Equals) -> Node:
    """`node` with what the adjoint calls `δ` written out, where the line has no such name."""
    known = {v.name for v in expr.variables(formula)}
    names = [v for v in expr.variables(node) if v.marks[-1:] == (DELTA,) and v.name not in known]
    if not names:
        return node
    equations = adjoint(system, hold).equations
    indices = system.lattice.indices
    meant = {v: expr.at(equations[v.name].rhs, dict(zip(indices, v.index, strict=True))) for v in names}
    return expr.replace(node, meant)  # type: ignore[no-any-return]


def _query(side: Node) -> str | None:
    if isinstance(side, expr.Transpose):
        return _query(side.args[0])
    if isinstance(side, Var):
        return f"d{LOSS}/d{typed(side, side.base)}" if side.marks == ("bar",) else None
    if isinstance(side, (expr.Partial, expr.GradientOf)) and isinstance(side.args[0], Var):
        y, x = side.args[:2]
        return f"d{'+' if side.immediate else ''}{typed(y)}/d{typed(x)}"
    return None


def typed(var: Var, name: str = "") -> str:
    """`h[t-1]`: the variable, or another name at its index, as queries write it."""
    name = name or var.name
    return f"{name}[{','.join(str(i).replace(' ', '') for i in var.index)}]" if var.index else name


def departures(formula: Equals, truths: Sequence[Node]) -> Iterator[tuple[Site, Node]]:
    """For every true right side the innermost place at which the line differs from it, with what stands there instead.

    A line that differs as a whole is of another form, and departs nowhere.
    """
    for truth in truths:
        wrong: Basic = formula.rhs
        right: Basic = truth
        above: tuple[tuple[Basic, int], ...] = ((formula, 1),)
        while (step := _single_difference(wrong, right)) is not None:
            at, other = step
            above = (*above, (wrong, at))
            wrong, right = wrong.args[at], other
        if len(above) > 1 and isinstance(wrong, Node) and isinstance(right, Node):
            yield Site(wrong, above), right


def _single_difference(wrong: Basic, right: Basic) -> tuple[int, Basic] | None:
    """The one argument in which two nodes of a kind differ, and its counterpart; terms and factors in any order."""
    if type(wrong) is not type(right) or isinstance(wrong, (Var, expr.At)) or len(wrong.args) != len(right.args):
        return None
    if isinstance(wrong, (expr.Add, expr.Had)):
        odd = [k for k, a in enumerate(wrong.args) if a not in right.args]
        others = [a for a in right.args if a not in wrong.args]
    else:
        odd = [k for k, (a, b) in enumerate(zip(wrong.args, right.args, strict=True)) if a != b]
        others = [right.args[k] for k in odd]
    if len(odd) != 1 or len(others) != 1 or not isinstance(wrong.args[odd[0]], (Node, Tuple)):
        return None
    bounds = isinstance(wrong, (expr.Sum, expr.Product)) and odd[0] > 0
    return None if bounds else (odd[0], others[0])


def suspects(departure: Site) -> list[Site]:
    """The place of a departure, what it stands in, and its parts."""
    inner = [departure]
    for site in inner:
        if len(site.above) - len(departure.above) < WITHIN and not isinstance(site.node, (Var, expr.At)):
            inner += [
                Site(a, (*site.above, (site.node, k))) for k, a in enumerate(site.node.args) if isinstance(a, Node)
            ]
    around = [Site(node, departure.above[:k]) for k, (node, _) in enumerate(departure.above) if isinstance(node, Node)]
    return [*around[: -AROUND - 1 : -1], *inner]
