"""What leaves a loop: pieces of equations get a name, so that they are computed once, or for all points at once.

Equations are a dictionary from names to `(target, right-hand side)`, all at the lattice's own index.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from derive import expr
from derive.expr import Node, Var
from derive.lattice import Edge as Read
from derive.lattice import Loop, order
from derive.schedule.terms import COTANGENT, asks_where, can_be_infinite, has_product, is_costly
from derive.system import System

Equations: TypeAlias = "dict[str, tuple[Var, Node]]"


ROLES = ("in", "rec", "gain", "arg", "sum", "part", "stack")


class Names:
    """Names for pieces; none is used twice.

    `z_in` is what enters `z` from outside its recurrence, `z_rec` from inside; `z_gain` a coefficient, `z_arg` what a matrix
    is multiplied by, `z_sum` a sum of products, `z_part` another piece.
    """

    def __init__(self, taken: Iterable[str]):
        self.taken = set(taken)

    def new(self, target: Var, role: str, like: Node, index: tuple[Any, ...]) -> Var:
        stem, _, last = target.base.rpartition("_")
        name = base = f"{stem if last in ROLES else target.base}_{role}"
        count = 1
        while name in self.taken:
            count += 1
            name = f"{base}_{count}"
        self.taken.add(name)
        # A piece of the backward pass is zero beyond the lattice, as adjoints are; its marks say that it is one.
        return Var(name, (), index, *like.shape)


def inlined(equations: Equations, kept: Collection[str], also: Iterable[Node]) -> Equations:
    """The equations without those that are read once, by another one at the same point: these stand where they are read.

    So do those that only give another name to a variable, unless that would be read further away, or a cotangent beyond the
    lattice.  `kept` stay; `also` are other right-hand sides that read.
    """
    uses: Counter[Var] = Counter()
    for rhs in (*(rhs for _, rhs in equations.values()), *also):
        uses.update(_occurrences(rhs))
    by_name: Counter[str] = Counter()
    for var, count in uses.items():
        by_name[var.name] += count
    gone = {n: e for n, e in equations.items() if n not in kept and by_name[n] == 1 and uses[e[0]] == 1}
    read_elsewhere = {v.name for rhs in also for v in expr.variables(rhs)}
    gone = {n: e for n, e in gone.items() if n not in read_elsewhere and not can_be_infinite(e[1])}
    gone |= {
        n: (target, rhs)
        for n, (target, rhs) in equations.items()
        if isinstance(rhs, Var)
        and n not in {*kept, *read_elsewhere}
        and (uses[target] == by_name[n] or (rhs.index == target.index and COTANGENT not in rhs.marks))
    }
    mixed = _under_quotients(equations, gone)
    gone = {n: e for n, e in gone.items() if n not in mixed}
    found: Equations = {}
    for name, (target, rhs) in equations.items():
        if name not in gone:
            found[name] = target, _substituted(rhs, gone)
    return found


def _under_quotients(equations: Equations, gone: Equations) -> set[str]:
    """What reads around its point, and is read by a term that may divide by zero.

    Where such a term reads beyond the lattice it is left out, as a whole: a sum inside may be zero there in part only.
    """
    around: set[str] = set()
    count = -1
    while count != (count := len(around)):
        around |= {
            n
            for n, (target, rhs) in gone.items()
            if any(v.name in around or (v.index and v.index != target.index) for v in expr.variables(rhs))
        }
    readers = [rhs for _, rhs in equations.values() if can_be_infinite(rhs)]
    return {v.name for rhs in readers for v in expr.variables(rhs) if v.name in around}


def _occurrences(root: Node) -> Counter[Var]:
    """How often a formula reads each variable, with repetitions."""
    found: Counter[Var] = Counter()
    pending: list[Any] = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, Var):
            found[node] += 1
        else:
            pending.extend(a for a in node.args if isinstance(a, (Node, expr.Tuple)))
    return found


def _substituted(rhs: Node, gone: Mapping[str, tuple[Var, Node]]) -> Node:
    while any(v.name in gone for v in expr.variables(rhs)):
        rhs = expr.replace(rhs, {v: _moved(gone[v.name], v) for v in expr.variables(rhs) if v.name in gone})
    return rhs


def _moved(equation: tuple[Var, Node], var: Var) -> Node:
    """The right-hand side of an equation at the index of `var`."""
    target, rhs = equation
    return expr.at(rhs, {i: e for i, e in zip(target.index, var.index, strict=True) if i != e})


def shared_pieces(system: System, forward: Equations, readers: Sequence[Node]) -> list[Node]:
    """Costly pieces of the forward equations that `readers` need again, the largest of each, at whatever point."""
    pieces = {
        part: None
        for _, rhs in forward.values()
        for part in expr.walk(rhs)
        if isinstance(part, Node) and part is not rhs and not isinstance(part, Var) and is_costly(part)
    }
    varying = [p for p in pieces if any(v.index for v in expr.variables(p))]
    offsets = {system.offset(v) for rhs in readers for v in expr.variables(rhs) if v.index}
    moved = {expr.at(p, system.lattice.shifted(o)): p for o in sorted(offsets, key=any, reverse=True) for p in varying}
    found: dict[Node, None] = {}
    for rhs in readers:
        pending: list[Any] = [rhs]
        while pending:
            node = pending.pop()
            if node in moved:
                found[moved[node]] = None
            elif not isinstance(node, Var):
                pending.extend(a for a in node.args if isinstance(a, (Node, expr.Tuple)))
    return list(found)


class Hoister:
    """Takes out of right-hand sides what does not depend on the names of their loop."""

    def __init__(self, system: System, names: Names, coefficients: bool):
        self.system, self.names, self.coefficients = system, names, coefficients

    def hoisted(self, equations: Equations) -> Equations:
        """The equations, with new ones for what left a loop, before the first that reads them."""
        inside = {n: names for names in self.loops(equations) for n in names}
        found: Equations = {}
        for name, (target, rhs) in equations.items():
            pieces: Equations = {}
            if name in inside:
                rhs = self._without(rhs, target, inside[name], pieces)
            found |= pieces
            found[name] = target, rhs
        return found

    def loops(self, equations: Equations) -> list[frozenset[str]]:
        """The names that each loop computes."""
        items = order(tuple(equations), reads(self.system, equations), self.system.lattice.dimension)
        return [frozenset(item.names) for item in items if isinstance(item, Loop)]

    def _without(self, node: Node, target: Var, loop: Collection[str], pieces: Equations) -> Node:
        """`node`, which depends on the loop, with its independent parts replaced by names."""
        again = lambda part: self._without(part, target, loop, pieces)  # noqa: E731
        if isinstance(node, Var) or not _depends(node, loop):
            return (
                node if isinstance(node, Var) or not self._leaves(node) else self._named(node, target, "gain", pieces)
            )
        if isinstance(node, expr.Add):
            return self._split(node, target, loop, pieces, expr.add, "in")
        if isinstance(node, expr.Had):
            return self._split(node, target, loop, pieces, expr.had, "gain")
        return _rebuilt(node, again)

    def _split(
        self, node: Node, target: Var, loop: Collection[str], pieces: Equations, build: Callable[..., Node], role: str
    ) -> Node:
        """A sum or a product with its independent operands as one, in the place of the first."""
        outside = [part for part in node.args if not _depends(part, loop) and self._may_leave(part)]
        together = build(*outside) if outside else None
        many = len(outside) > 1 if role == "gain" else False
        if together is None or not self._leaves(together, many):
            return build(*(self._without(part, target, loop, pieces) for part in node.args))
        name = self._named(together, target, role, pieces)
        rest = [p if p in outside else self._without(p, target, loop, pieces) for p in node.args]
        first = next(i for i, p in enumerate(node.args) if p in outside)
        return build(*(name if i == first else p for i, p in enumerate(rest) if i == first or p not in outside))

    def _may_leave(self, node: Node) -> bool:
        return not asks_where(node) and not (can_be_infinite(node) and self._reads_around(node))

    def _reads_around(self, node: Node) -> bool:
        return any(any(self.system.offset(v)) for v in expr.variables(node) if v.index)

    def _leaves(self, node: Node, many: bool = False) -> bool:
        """Whether a node that does not depend on a loop is worth an array of its own."""
        if not self._may_leave(node) or not any(v.index for v in expr.variables(node)):
            return False
        if has_product(node):
            return True
        plain = isinstance(node, (Var, expr.Zero, expr.Ones)) or expr.is_scalar(node)
        return self.coefficients and not plain and (many or is_costly(node) or not _is_term(node))

    def _named(self, node: Node, target: Var, role: str, pieces: Equations) -> Var:
        for var, rhs in pieces.values():
            if rhs == node:
                return var
        var = self.names.new(target, role, node, self.system.lattice.indices)
        pieces[var.name] = var, node
        return var


def _is_term(node: Node) -> bool:
    """A number times a variable: cheaper where it stands."""
    _, body = expr.split_number(node)
    return isinstance(body, (Var, expr.Ones))


def _depends(node: Node, loop: Collection[str]) -> bool:
    return any(v.name in loop for v in expr.variables(node))


def _rebuilt(node: Any, part: Callable[[Node], Node]) -> Node:
    """`node` with each of its parts exchanged."""
    if isinstance(node, (Var, expr.At)):
        return node
    args = [part(a) if isinstance(a, Node) else a for a in node.args]
    return node if all(a is b for a, b in zip(args, node.args, strict=True)) else node.build(*args)


def reads(system: System, equations: Equations) -> list[Read]:
    """`(target, source, offset)` of what the equations read of each other."""
    still = (0,) * system.lattice.dimension
    return [
        (name, var.name, system.offset(var) if var.index else still)
        for name, (_, rhs) in equations.items()
        for var in expr.variables(rhs)
        if var.name in equations
    ]
