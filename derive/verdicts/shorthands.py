r"""The shorthands of a text, as the oracles take them: by name, spelled out, or as states of the system.

A shorthand `A_t = …` stands for its right side.  Where a derivative is taken *by* it, `∂tanh(θ_t)/∂θ_t` or `∂L/∂θ_t`,
it is a state of its own: an auxiliary one, that names what the equations have without a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

from sympy import Basic

from derive import expr
from derive.canonical import canonical
from derive.errors import DeriveError
from derive.expr import Equals, Node, Var
from derive.functions import OUTPUTS
from derive.oracles.names import Definitions
from derive.oracles.points import free_indices
from derive.reader.outputs import OF_OUTPUT
from derive.system import Equation, System, Variable

Definition: TypeAlias = "tuple[Var, Node]"
MARKS = ("bar", "delta", "dot")
DERIVATIVES = (expr.Partial, expr.Pulled, expr.GradientOf)
DEEPEST = 8
"""So often a shorthand may stand in another one."""


@dataclass(frozen=True)
class Explained:
    """A formula with the system and the definitions that explain its names."""

    system: System
    formula: Equals
    definitions: Definitions
    auxiliary: frozenset[str] = frozenset()


def explain(system: System, formula: Equals, definitions: Iterable[Definition]) -> Explained:
    """Every shorthand of the formula in the way that its place in it asks for."""
    known: dict[str, tuple[Definition, ...]] = {}
    for target, value in definitions:
        known[target.name] = (*known.get(target.name, ()), (target, value))
    used = _used(formula, known)
    system, outputs = through_its_output(system, formula)
    if not used:
        return Explained(system, formula, {}, outputs)
    states = tuple(name for name in used if name in _differentiated(formula, used))
    system, auxiliary = extended(system, tuple(used[name][0] for name in states))
    rest = {name: found for name, found in used.items() if name not in auxiliary}
    written = expr.rewrite(formula, lambda node: _spelled_out(node, rest))
    for _ in range(DEEPEST):
        unbound = {n: f for n, f in rest.items() if any(not _is_bound(target, value) for target, value in f)}
        new = _substituted(written, unbound)
        if new == written:
            break
        written = new
    return Explained(system, written, rest, auxiliary | outputs)


@lru_cache(maxsize=1024)
def through_its_output(system: System, formula: Equals) -> tuple[System, frozenset[str]]:
    """Where a derivative is taken by `ŷ = softmax(o)` and the loss is `CE(o, y)`, it is `-yᵀ log ŷ`: the same loss."""
    by = {n.args[1].name for n in expr.walk(formula) if isinstance(n, DERIVATIVES) and isinstance(n.args[1], Var)}
    by |= {without_mark(v) for v in expr.variables(formula) if v.marks}
    equations = dict(system.equations)
    found = set()
    for name in by & equations.keys():
        output = equations[name].rhs
        for other, equation in system.equations.items():
            loss = equation.rhs
            if not isinstance(loss, expr.Apply) or OUTPUTS.get(loss.function) != getattr(output, "function", ""):
                continue
            if loss.arguments[0] == output.arguments[0]:  # type: ignore[attr-defined]
                var = equations[name].target
                equations[other] = replace(equation, rhs=OF_OUTPUT[loss.function](var, loss.arguments[1]))
                found.add(name)
    if not found:
        return system, frozenset()
    return System.of(replace(system.parts, equations=equations)), frozenset(found)


def _used(formula: Basic, known: Mapping[str, tuple[Definition, ...]]) -> dict[str, tuple[Definition, ...]]:
    """The shorthands that the formula reads, those of shorthands included."""
    found: dict[str, tuple[Definition, ...]] = {}
    pending = [formula]
    while pending:
        for var in expr.variables(pending.pop()):
            for name in {var.name, without_mark(var)} & known.keys() - found.keys():
                found[name] = known[name]
                pending.extend(value for _, value in known[name])
    return found


def without_mark(var: Var) -> str:
    """The name of what a mark is put on: `h` of `h_bar`."""
    return var.stem if var.marks and var.marks[-1] in MARKS else var.name


def _differentiated(formula: Basic, known: Mapping[str, tuple[Definition, ...]]) -> set[str]:
    """The shorthands by which a derivative is taken."""
    roots = [formula, *(value for found in known.values() for _, value in found)]
    by = {n.args[1].name for root in roots for n in expr.walk(root) if isinstance(n, DERIVATIVES)}
    marked = {without_mark(v) for root in roots for v in expr.variables(root) if v.marks and v.name not in known}
    return (by | marked) & known.keys()


def _is_bound(target: Var, value: Node) -> bool:
    """Whether all letters in the indices of the right side stand in that of the left side."""
    letters = {str(s) for i in target.index for s in i.free_symbols}
    return free_indices(value) <= letters | {str(s) for size in value.shape for s in size.free_symbols} | {"T"}


def _spelled_out(node: Basic, known: Mapping[str, tuple[Definition, ...]]) -> Basic:
    """What is differentiated has no shorthand in it: the oracles must see what it reads."""
    if not isinstance(node, DERIVATIVES):
        return node
    y = node.args[0]
    for _ in range(DEEPEST):
        new = _substituted(y, known)
        if new == y:
            break
        y = new
    return node if y == node.args[0] else type(node)(y, *node.args[1:])


def _substituted(root: Basic, known: Mapping[str, tuple[Definition, ...]]) -> Basic:
    """Each shorthand of `root` as its right side, where a definition fits its index."""

    def leaf(node: Basic) -> Basic:
        if isinstance(node, Var) and node.name in known:
            return next((v for v in (_value(node, *d) for d in known[node.name]) if v is not None), node)
        return node

    return expr.rewrite(root, leaf) if known else root  # type: ignore[no-any-return]


def _value(var: Var, target: Var, value: Node) -> Node | None:
    moves = {}
    if len(target.index) != len(var.index):
        return value if not target.index or not var.index else None
    for index, wanted in zip(target.index, var.index, strict=True):
        letters = list(index.free_symbols)
        if len(letters) == 1 and (index - letters[0]).is_Integer:
            moves[letters[0]] = wanted - (index - letters[0])
        elif index != wanted:
            return None
    return expr.at(value, moves)  # type: ignore[no-any-return]


def of_entries(value: Node, at: expr.Entry) -> Node | None:
    """The vector whose entries a scalar formula gives: `x_i y_i` is `x ⊙ y`; None where an entry needs others than its own."""
    (vector, letter), shape = (at.args[0], at.args[1]), at.args[0].shape

    def of(node: Node) -> Node | None:
        if letter not in node.free_symbols:
            return expr.as_node(node, shape)
        if isinstance(node, expr.Entry) and node.args[1:] == at.args[1:] and node.args[0].shape == shape:
            return node.args[0] if letter not in node.args[0].free_symbols else None
        if not isinstance(node, (expr.Add, expr.Had, expr.Scale, expr.Power, expr.Apply)):
            return None
        parts: list[Any] = [of(a) if isinstance(a, Node) else a for a in node.args]
        if any(part is None for part in parts):
            return None
        scaled = isinstance(node, expr.Scale) and isinstance(node.args[0], Node)
        return expr.had(*parts) if scaled else node.build(*parts)

    return of(value) if expr.is_column(vector) else None


# --- as states --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def extended(system: System, definitions: tuple[Definition, ...]) -> tuple[System, frozenset[str]]:
    """The system with a state for each definition, which its equations read where they have its right side.

    A definition that is no equation of the system's own names (one with derivatives in it) stays out.
    """
    lattice = system.lattice
    names = frozenset(target.name for target, _ in definitions)
    equations, variables, added = dict(system.equations), dict(system.variables), set()
    for target, value in definitions:
        moved = _at_own_index(system, target, value)
        if isinstance(moved, expr.Block) and any(len(row) != 1 or not isinstance(row[0], Var) for row in moved.args):
            continue
        if moved is None or not all(v.name in system.variables or v.name in names for v in expr.variables(moved)):
            continue
        var = target.at(lattice.indices)
        named = {n: replace(e, rhs=_named(e.rhs, moved, var)) for n, e in equations.items()}
        if named == equations:
            continue  # nothing reads it: what a derivative by it would mean is not said
        equations = named
        equations[target.name] = Equation(var, moved)
        variables[target.name] = Variable(var, "state", True)
        added.add(target.name)
    try:
        parts = replace(system.parts, equations=equations, variables=variables)
        return (System.of(parts), frozenset(added)) if added else (system, frozenset())
    except DeriveError:
        return system, frozenset()


def _at_own_index(system: System, target: Var, value: Node) -> Node | None:
    return _value(target.at(system.lattice.indices), target, value) if target.index and not target.marks else None


def _named(rhs: Node, value: Node, var: Var) -> Node:
    """A right side with `var` in place of `value`; of a stacked value, `A h + B x` is `[A B] z`."""
    form = canonical(value)
    parts = [row[0] for row in value.args] if isinstance(value, expr.Block) else []

    def leaf(node: Basic) -> Basic:
        if parts and isinstance(node, expr.Add):
            return _stacked(node, parts, var)
        same = isinstance(node, Node) and node.shape == var.shape and not isinstance(node, Var)
        return var if same and canonical(node) == form else node

    return expr.rewrite(rhs, leaf)  # type: ignore[no-any-return]


def _stacked(node: expr.Add, parts: Sequence[Node], var: Var) -> Node:
    """The terms of a sum that multiply one part each, as one product with the stacked vector."""
    terms = list(node.args)
    found = [next((t for t in terms if isinstance(t, expr.Mul) and t.args[-1] == part), None) for part in parts]
    weights = [expr.mul(*t.args[:-1]) for t in found if t is not None]
    if len(weights) < len(parts):
        return node
    rest = [t for t in terms if t not in found]
    return expr.add(expr.mul(expr.Block(weights), var), *rest)
