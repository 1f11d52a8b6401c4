"""How the parts of a stack lie in memory: side by side where a product reads or fills them, one after the other where none does.

    side by side     (T, batch, k n)     the rows of a matrix: what a product of all gates takes and gives
    parts first      (T, k, batch, n)    a gate is one piece of memory: entrywise calls are two to three times faster

For a batch of one these are the same.  The turn costs next to nothing in a call that reads one and writes the other, so that
pieces which products do not touch get memory of their own where they would share that of a stack which products do.  Where
every part is `f(a + b)`, a hoisted and b made in the step, the sum goes to b, and f(b) is written over a, parts first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from derive import expr
from derive.emit.code import SCALAR, kind_of
from derive.emit.numpy.gains import multiplied_out
from derive.expr import Node, Var
from derive.schedule.fronts import is_placed, reach
from derive.schedule.program import SCRATCH, Assign, Item, OuterTotal, Product, Program, Stack, Sweep, statements
from derive.schedule.storage import read_by
from derive.schedule.terms import terms_of


@dataclass(frozen=True)
class Turned:
    """A program, and how its stacks lie."""

    program: Program
    first: frozenset[str] = frozenset()
    """The stacks whose parts come first."""
    over: Mapping[str, str] = field(default_factory=dict)
    """`{"o_stack_2": "o_stack_2_of"}`: the first, side by side, is the memory of the second before a step overwrites it."""


def turned(program: Program) -> Turned:
    """The program in which what products touch shares no memory with what they do not, on chains that run forwards and back."""
    sweeps = [item for item in (*program.forward, *program.backward) if isinstance(item, Sweep)]
    is_chain = program.system.lattice.dimension == 1
    if program.adjoint is None or not is_chain or not all(is_zipped(program, s) for s in sweeps):
        return Turned(program)
    found = Turned(multiplied_out(program))
    for stack in program.stacks:
        if is_even(stack):
            found = _apart(found, stack)
    touched, shared = _touched(found.program), found.program.shared
    held = touched | {shared[name] for name in touched & shared.keys()}
    held |= {name for name, becomes in shared.items() if becomes in touched}
    first = {s.name for s in found.program.stacks if is_even(s) and held.isdisjoint(p.name for p in s.parts)}
    return replace(found, first=frozenset(first))


def is_even(stack: Stack) -> bool:
    """Whether the parts are vectors of one size."""
    return all(expr.is_column(p) for p in stack.parts) and len({p.shape for p in stack.parts}) == 1


def _touched(program: Program) -> set[str]:
    """What products and their gradients read and write."""
    every = (*statements(program.forward), *statements(program.backward), *program.gradients)
    of_products = [s for s in every if isinstance(s, (Product, OuterTotal))]
    return {v.name for s in of_products for v in (*s.targets, *read_by(s))}


def _apart(found: Turned, stack: Stack) -> Turned:
    """`stack` without the memory that others share with it, where products touch only one of both."""
    program = found.program
    touched = _touched(program)
    names = [p.name for p in stack.parts]
    sharing = {name: becomes for name, becomes in program.shared.items() if becomes in names}
    inner, outer = touched.isdisjoint(names), touched.isdisjoint(sharing)
    if not sharing or inner == outer or (inner and not touched.issuperset(sharing)):
        return found
    shared = {name: becomes for name, becomes in program.shared.items() if name not in sharing}
    apart = replace(program, shared=shared)
    if inner:
        before = next((s for s in program.stacks if {p.name for p in s.parts} == sharing.keys()), None)
        sums = _summed(program, before, sharing) if before else None
        if before is None or sums is None:
            return replace(found, program=apart)
        return replace(found, program=replace(apart, forward=sums), over={**found.over, before.name: stack.name})
    parts = sorted((program.arrays[name].var for name in sharing), key=lambda p: names.index(sharing[p.name]))
    in_stacks = {p.name for s in program.stacks for p in s.parts}
    if len(parts) > 1 and in_stacks.isdisjoint(sharing):
        apart = replace(apart, stacks=(*program.stacks, Stack(f"{stack.name}_before", tuple(parts))))
    return replace(found, program=apart)


def _summed(program: Program, before: Stack, becomes: Mapping[str, str]) -> tuple[Item, ...] | None:
    """The forward pass in which `b` is first made `a + b` where each part is `f(a + b)`, if `b` is used for nothing else."""
    values = {s.target.name: s for s in statements(program.forward) if isinstance(s, Assign)}
    sums: dict[str, Node] = {}
    for part in before.parts:
        value = values[becomes[part.name]].value
        terms = terms_of(value.arguments[0]) if isinstance(value, expr.Apply) and len(value.arguments) == 1 else ()
        others = [t for t in terms if isinstance(t, Var) and t != part]
        if len(terms) != 2 or len(others) != 1:
            return None
        sums[others[0].name] = expr.add(*terms)
    every = (*statements(program.forward), *statements(program.backward), *program.gradients)
    used = [v.name for s in every for v in read_by(s) if v.name in sums]
    product = next((s for s in statements(program.forward) if [t.name for t in s.targets] == list(sums)), None)
    scratch = all(name in program.arrays and program.arrays[name].storage == SCRATCH for name in sums)
    if not isinstance(product, Product) or not scratch or len(used) != len(sums):
        return None
    made = {t.name: t for t in product.targets}
    added = [Assign(made[name], value) for name, value in sums.items()]

    def rewritten(items: tuple[Item, ...]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Sweep):
                yield replace(item, body=tuple(rewritten(item.body)))
                continue
            if isinstance(item, Assign) and item.target.name in becomes.values():
                assert isinstance(item.value, expr.Apply)
                name = next(v.name for v in expr.variables(item.value) if v.name in sums)
                item = replace(item, value=expr.apply(item.value.function, made[name], order=item.value.order))
            yield item
            if item is product:
                yield from added

    return tuple(rewritten(program.forward))


# --- loops over rows ----------------------------------------------------------------------------------------------------------


def is_zipped(program: Program, sweep: Sweep) -> bool:
    """Whether a loop over rows will do: a chain, all in step, no values that are bare numbers."""
    plain = program.system.lattice.dimension == 1 and not sweep.shifts
    vectors = all(kind_of(program.arrays[n].var) != SCALAR for n in sweep.names)
    return plain and vectors and not any(is_placed(s, program) for s in statements((sweep,)))


def guarded(program: Program, value: Node) -> tuple[list[Node], list[tuple[tuple[int, ...], Node]]]:
    """The terms of a right-hand side; apart, with the offset at which they read, those that need a guard."""
    plain: list[Node] = []
    apart = []
    for term in terms_of(value):
        offset = reach(term, program)
        if offset:
            apart.append((offset, term))
        elif not isinstance(term, expr.Zero):
            plain.append(term)
    return plain, apart
