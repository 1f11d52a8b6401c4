"""Nodes as calls of NumPy's universal functions that write where they are told: nothing is allocated inside a loop.

`Steps.of(target, value)` makes the calls for `target = value`, the target's array holding what is in the making; parts that
need a place of their own get scratch.  What is no such call (`softmax`, a product with a matrix state) is printed as an
expression and copied.  `merged` takes calls together that do the same to neighbours in a stack: one sigmoid for three gates.

A `Ref` is an array, or a run of parts of a stack, at an offset from the step of the statement.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from sympy import Expr

from derive import expr
from derive.emit import library
from derive.emit.code import ArrayPrinter, kind_of
from derive.expr import Node, Var
from derive.lattice import Offset
from derive.schedule import Program
from derive.schedule.program import STORED


@dataclass(frozen=True)
class Ref:
    """`count` consecutive parts of an array, from the one called `name`, at `offset`.

    `scratch`: a place for intermediate values.  `lifted`: one part that is spread over several.
    """

    name: str
    offset: Offset = ()
    count: int = 1
    scratch: bool = False
    lifted: bool = False


Operand: TypeAlias = "Ref | str"
"""An array, or source: a number."""


@dataclass(frozen=True)
class Call:
    """`function(*operands, out=out)`; without a function, `copied` is an expression of the operands that is copied to `out`."""

    function: str
    operands: tuple[Operand, ...]
    out: Ref
    copied: str = ""
    each: bool = False
    """Whether the operands are arrays of parts, the parts on an axis of their own."""

    @property
    def refs(self) -> list[Ref]:
        return [o for o in self.operands if isinstance(o, Ref)]


class Steps:
    """The calls of statements; `expression` writes what is no call, `scratch(sizes, k)` names the k-th place of these sizes.

    `halved`: names that are a sigmoid of what comes halved: σ(a) = (1 + tanh(a / 2)) / 2.
    """

    def __init__(
        self,
        program: Program,
        printer: ArrayPrinter,
        expression: Callable[[Node], tuple[str, tuple[Ref, ...]]],
        scratch: Callable[[tuple[Expr, ...], int], str],
        halved: Collection[str] = (),
    ):
        self.halved = halved
        self.program, self.printer, self.expression, self.new_scratch = program, printer, expression, scratch
        self.scratches: dict[Ref, tuple[Expr, ...]] = {}
        self.calls: list[Call] = []
        self.free: list[Ref] = []

    def of(self, target: Ref, value: Node) -> list[Call]:
        """The calls for one statement."""
        self.calls, self.free = [], []
        if isinstance(value, expr.Apply) and target.name in self.halved:
            self._sigmoid(target, _inside(self, target, value.arguments[0]))
        else:
            self._to(target, value)
        return self.calls

    def _sigmoid(self, out: Ref, half: Operand) -> None:
        """The sigmoid of twice an operand."""
        self._call("np.tanh", (half,), out)
        self._call("np.multiply", (out, "0.5"), out)
        self._call("np.add", (out, "0.5"), out)

    def ref(self, var: Var) -> Ref:
        """Where a variable is; what is kept for one step only is in one place, whichever step is read."""
        array = self.program.arrays.get(var.name)
        name = self.program.shared.get(var.name, var.name)
        if not var.index or (array is not None and array.storage != STORED):
            return Ref(name)
        return Ref(name, self.program.system.offset(var))

    # --- one node -------------------------------------------------------------------------------------------------------

    def _to(self, out: Ref, node: Node) -> None:
        """The calls after which `out` holds `node`."""
        if isinstance(node, Var):
            if self.ref(node) != out:
                self._call("", (self.ref(node),), out)
            return
        rule = RULES.get(type(node))
        if rule is None or not rule(self, out, node):
            text, refs = self.expression(node)
            self._call("", refs, out, text)

    def _operand(self, node: Node, place: Ref | None = None) -> Operand:
        """Where a node can be read: where it is, or in `place`, which is scratch unless it is given."""
        if isinstance(node, Var):
            return self.ref(node)
        number = expr.as_number(node) if expr.is_scalar(node) else None
        c, core = expr.split_number(node)
        if number is None and isinstance(core, expr.Ones):
            number = c
        if number is not None and not number.free_symbols:
            return self.printer.number(number)
        place = place or self._scratch(node)
        self._to(place, node)
        return place

    def _scratch(self, node: Node) -> Ref:
        # Columns and rows lie in memory alike.
        shape = tuple(n for n in node.shape if n != 1)
        for ref in self.free:
            if self.scratches[ref] == shape:
                self.free.remove(ref)
                return ref
        in_use = {r for call in self.calls for r in (*call.refs, call.out) if r.scratch}
        known = [r for r, s in self.scratches.items() if s == shape and r not in in_use]
        if known:
            return known[0]
        ref = Ref(self.new_scratch(shape, list(self.scratches.values()).count(shape)), scratch=True)
        self.scratches[ref] = shape
        return ref

    def _call(self, function: str, operands: Sequence[Operand], out: Ref, copied: str = "") -> None:
        self.calls.append(Call(function, tuple(operands), out, copied))
        used = dict.fromkeys(o for o in operands if isinstance(o, Ref) and o.scratch and o != out)
        self.free += [o for o in used if o not in self.free]

    def fold(self, out: Ref, function: str, first: Node, rest: Sequence[tuple[str, Node]]) -> None:
        """`first`, then each of the rest by its function; `out` is written only once nothing needs what it held."""
        held = any(self.ref(v) == out for _, node in rest for v in expr.variables(node))
        acc: Operand = out
        if isinstance(first, Var) or held or not _is_worked(first):
            acc = self._operand(first)
        else:
            self._to(out, first)
        places = [out] if acc != out and not held else []
        operands = [self._operand(node, places.pop() if places and _is_worked(node) else None) for _, node in rest]
        # What stands in the place of the result is used first.
        pairs = sorted(zip(rest, operands, strict=True), key=lambda pair: pair[1] != out)
        for (name, _), operand in pairs:
            self._call(name, (acc, operand), out)
            acc = out


def _is_worked(node: Node) -> bool:
    """Whether a node needs calls of its own."""
    _, core = expr.split_number(node)
    return not isinstance(core, (Var, expr.Ones, expr.Zero)) or (isinstance(core, Var) and node is not core)


Rule: TypeAlias = "Callable[[Steps, Ref, Any], bool]"


def _add(s: Steps, out: Ref, node: expr.Add) -> bool:
    if not all(_same_kind(t, node) for t in node.args):
        return False
    if _between(s, out, node):
        return True
    terms = [(*expr.split_number(t), t) for t in node.args]
    positive = [t for t in terms if not t[0].is_negative]
    if not positive:
        return False
    # What needs calls of its own comes first, so that it is made where the sum will be; what `out` holds, before all.
    mine = next((t for t in positive if isinstance(t[2], Var) and s.ref(t[2]) == out), None)
    first = mine or next((t for t in positive if _is_worked(t[2])), positive[0])
    rest: list[tuple[str, Node]] = []
    for c, core, term in terms:
        if term is not first[2]:
            rest.append(("np.subtract", expr.scale(-c, core)) if c.is_negative else ("np.add", term))
    s.fold(out, "np.add", first[2], rest)
    return True


def _between(s: Steps, out: Ref, node: expr.Add) -> bool:
    """`z a + (1 - z) b` as `z (a - b) + b`: a product less."""
    for one, other in (node.args, node.args[::-1]) if len(node.args) == 2 else ():
        if not all(isinstance(term, expr.Had) and len(term.args) == 2 for term in (one, other)):
            continue
        factors = [*one.args, *other.args]
        if any(f.shape != node.shape for f in factors):
            continue
        for z, a in (factors[:2], factors[1::-1]):
            rest = expr.add(expr.Ones(*node.shape), expr.scale(-1, z))
            b = next((f for f in factors[2:] if f != rest), rest)
            if rest in factors[2:] and all(isinstance(v, Var) for v in (z, a, b)) and out not in (s.ref(z), s.ref(b)):
                s._call("np.subtract", (s.ref(a), s.ref(b)), out)
                s._call("np.multiply", (out, s.ref(z)), out)
                s._call("np.add", (out, s.ref(b)), out)
                return True
    return False


def _same_kind(part: Node, whole: Node) -> bool:
    return part.shape == whole.shape


def _had(s: Steps, out: Ref, node: expr.Had) -> bool:
    factors = list(node.args)
    if any(f.shape != node.shape for f in factors):
        return False
    above = [f for f in factors if not (isinstance(f, expr.Power) and f.args[1].is_negative)]
    below = [f for f in factors if f not in above]
    if not above or any(f.args[1] != -1 for f in below):
        return False
    mine = next((f for f in above if isinstance(f, Var) and s.ref(f) == out), None)
    first = mine or next((f for f in above if _is_worked(f)), above[0])
    rest: list[tuple[str, Node]] = [("np.multiply", f) for f in above if f is not first]
    rest += [("np.divide", f.args[0]) for f in below]
    s.fold(out, "np.multiply", first, rest)
    return True


def _scale(s: Steps, out: Ref, node: expr.Scale) -> bool:
    c, body = node.args
    if isinstance(c, Node) or c.free_symbols:
        return False
    if c == -1:
        s._call("np.negative", (_inside(s, out, body),), out)
    else:
        s._call("np.multiply", (_inside(s, out, body), s.printer.number(c)), out)
    return True


def _inside(s: Steps, out: Ref, body: Node) -> Operand:
    """The argument of a function of one operand: read where it is, else made where the result goes."""
    if isinstance(body, Var):
        return s.ref(body)
    s._to(out, body)
    return out


def _power(s: Steps, out: Ref, node: expr.Power) -> bool:
    body, exponent = node.args
    if exponent == 2:
        operand = _inside(s, out, body)
        s._call("np.multiply", (operand, operand), out)
    elif exponent == -1:
        s._call("np.reciprocal", (_inside(s, out, body),), out)
    else:
        return False
    return True


def _apply(s: Steps, out: Ref, node: expr.Apply) -> bool:
    if node.order or len(node.arguments) != 1 or kind_of(node.arguments[0]) != kind_of(node):
        return False
    function, numbers = _ufunc(node.function)
    if not function:
        return False
    operand = _inside(s, out, node.arguments[0])
    if function == "sigmoid":
        s._call("np.multiply", (operand, "0.5"), out)
        s._sigmoid(out, out)
    else:
        s._call(function, (operand, *numbers), out)
    return True


def _ufunc(name: str) -> tuple[str, tuple[str, ...]]:
    """The universal function that a row of the table is, and the numbers that follow its operand."""
    if name == "sigmoid":
        return name, ()
    head, _, tail = (library.inline(name) or "").partition("({x}")
    numbers = tuple(tail.removesuffix(")").removeprefix(", ").split(", ")) if tail != ")" else ()
    return (head, numbers) if tail and "{" not in tail else ("", ())


RULES: dict[type, Rule] = {
    expr.Add: _add,
    expr.Had: _had,
    expr.Scale: _scale,
    expr.Power: _power,
    expr.Apply: _apply,
}


# --- neighbours ---------------------------------------------------------------------------------------------------------------


class Neighbours:
    """Where parts lie in their stacks; what shares its memory is called by the name of what it becomes.

    `everywhere`: a statement covers all rows of an array, so that offsets do not tell pieces of memory apart.
    """

    def __init__(self, program: Program, everywhere: bool):
        self.everywhere = everywhere
        self.place = {p.name: (s.name, k) for s in program.stacks for k, p in enumerate(s.parts)}
        self.parts = {s.name: s.parts for s in program.stacks}

    def distance(self, ref: Operand, first: Operand) -> int | None:
        """How many parts one lies after another in their stack, at the same point."""
        if not isinstance(ref, Ref) or not isinstance(first, Ref) or ref.offset != first.offset:
            return None
        if ref.scratch or first.scratch or ref.name not in self.place or first.name not in self.place:
            return None
        (stack, k), (other, j) = self.place[ref.name], self.place[first.name]
        return k - j if stack == other else None

    def sizes_agree(self, refs: Sequence[Ref]) -> bool:
        places = [self.place[ref.name] for ref in refs]
        return len({self.parts[stack][k].shape for stack, k in places}) == 1

    def touched(self, ref: Ref) -> set[tuple[str, Offset]]:
        """The pieces of memory that a reference covers."""
        names = [ref.name]
        if ref.name in self.place:
            stack, k = self.place[ref.name]
            names = [p.name for p in self.parts[stack][k : k + ref.count]]
        return {(name, () if self.everywhere else ref.offset) for name in names}


def merged(calls: Sequence[Call], neighbours: Neighbours) -> list[Call]:
    """The calls, those that do the same to neighbours as one; an operand that they share is spread over them."""
    left = list(calls)
    found: list[Call] = []
    while left:
        group = _Group(left.pop(0), neighbours)
        while (k := group.next_of(left)) is not None:
            group.take(left.pop(k))
        found.append(group.call())
    return found


class _Group:
    """Calls of one function on neighbours; `calls` by how far they lie from the first that was found."""

    def __init__(self, first: Call, neighbours: Neighbours):
        self.first, self.neighbours = first, neighbours
        self.calls = {0: first}
        self.moves = [True] * len(first.operands)
        """Which operands move from part to part with the result; the others are the same for all."""
        self.stays = [True] * len(first.operands)

    def next_of(self, left: Sequence[Call]) -> int | None:
        """The position of a call that does to a neighbour what these do, if it may be done here."""
        if not self.first.function:
            return None
        written, read = self._touched()
        for k, call in enumerate(left):
            mine_read = {m for r in call.refs for m in self.neighbours.touched(r)}
            mine_written = self.neighbours.touched(call.out)
            if self._fits(call) and not (mine_read & written or mine_written & (read | written)):
                return k
            written |= mine_written
            read |= mine_read
        return None

    def _touched(self) -> tuple[set[Any], set[Any]]:
        touched = self.neighbours.touched
        written = {m for call in self.calls.values() for m in touched(call.out)}
        return written, {m for call in self.calls.values() for r in call.refs for m in touched(r)}

    def _fits(self, call: Call) -> bool:
        far = self.neighbours.distance(call.out, self.first.out)
        if far is None or far not in (min(self.calls) - 1, max(self.calls) + 1) or call.function != self.first.function:
            return False
        moves, stays = self._alike(call, far)
        if not all(m or s for m, s in zip(moves, stays, strict=True)):
            return False
        spread = any(isinstance(o, Ref) and not m for o, m in zip(call.operands, moves, strict=True))
        return not spread or self.neighbours.sizes_agree([c.out for c in (*self.calls.values(), call)])

    def _alike(self, call: Call, far: int) -> tuple[list[bool], list[bool]]:
        pairs = list(zip(call.operands, self.first.operands, strict=True))
        moves = [m and self.neighbours.distance(a, b) == far for m, (a, b) in zip(self.moves, pairs, strict=True)]
        return moves, [s and a == b for s, (a, b) in zip(self.stays, pairs, strict=True)]

    def take(self, call: Call) -> None:
        far = self.neighbours.distance(call.out, self.first.out)
        assert far is not None
        self.moves, self.stays = self._alike(call, far)
        self.calls[far] = call

    def call(self) -> Call:
        """All of them as one."""
        if len(self.calls) == 1:
            return self.first
        lowest, count = self.calls[min(self.calls)], len(self.calls)
        operands: list[Operand] = []
        for operand, moves in zip(lowest.operands, self.moves, strict=True):
            if isinstance(operand, str):
                operands.append(operand)
            else:
                operands.append(replace(operand, count=count) if moves else replace(operand, lifted=True))
        spread = any(isinstance(o, Ref) and o.lifted for o in operands)
        return Call(self.first.function, tuple(operands), replace(lowest.out, count=count), each=spread)
