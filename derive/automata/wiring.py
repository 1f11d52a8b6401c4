"""From the equations of a system, or a formula about it, to a machine.

An equation at `t` is evaluated where `t` is 0, so that the point of a read is its offset.  What is no formula of one
step becomes a state of its own:

    Π_{i=1..t} f(i)    p[t] = p[t-1] · f(t), p[0] = 1, and sums likewise
    {a if t = 1; b}    a choice by the clock, which counts steps up to the last one that a condition names
    x[1], h[0]         what is kept from the first step on
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from sympy import Basic, Symbol

from derive import expr
from derive.automata.arrays import Inapplicable, array_of, numbers, spread
from derive.automata.folds import FOLDS, MOST_CLOCK, end_of, is_first, is_open, line_of, where
from derive.automata.machines import MOST_BITS, Machine, needed
from derive.automata.settings import Key, Settings
from derive.automata.terms import Outside, Slot, Terms, Unset, chosen, compared, read
from derive.errors import DeriveError, did_you_mean
from derive.evaluate import Array, Point, evaluate
from derive.expr import Node, Var
from derive.system import System

CLOCK = "the step"
_SIGNS = {"=": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


class Wiring:
    """Collects definitions for what it is asked to evaluate; `prefix` keeps the names of two systems apart."""

    def __init__(self, system: System, settings: Settings, prefix: str = ""):
        if system.lattice.dimension != 1:
            raise Inapplicable(f"{system.name} has {system.lattice.dimension} indices; an automaton has one, its steps")
        self.system, self.settings, self.prefix = system, settings, prefix
        self.ring = Terms(settings.functions)
        self.inputs = [v for v in system.inputs if v.indexed]
        self._check_inputs()
        self.definitions: dict[Slot, Any] = {}
        self.made: dict[str, tuple[int, int]] = {}
        """The shape of what is defined."""
        self.folds: dict[str, Array] = {}
        """What a fold starts from."""
        self.delayed: dict[str, None] = {}
        self.parameters: dict[Slot, Any] = {}
        self.named: set[str] = set()
        """The parameters that have been asked for."""
        self.bodies: dict[str, tuple[Basic, Symbol]] = {}
        self.horizon = 0

    def _check_inputs(self) -> None:
        if not self.inputs:
            raise Inapplicable(f"{self.system.name} has no inputs, so that there are no strings to run it on")
        sizes = [size for v in self.inputs for size in v.shape]
        if not all(size.is_Integer for size in sizes):
            raise Inapplicable(f"the inputs of {self.system.name} need numbers for their sizes, as in x: 2")
        width = sum(int(v.shape[0] * v.shape[1]) for v in self.inputs)
        if width > MOST_BITS:
            raise Inapplicable(f"{self.system.name} reads {width} bits at a step; {MOST_BITS} are the most")

    # --- evaluation ---

    def terms(self, node: Node, letter: Symbol) -> Array:
        """The entries of a node as terms, at the step that `letter` stands for."""
        flat = self.unfolded(node, letter)
        return evaluate(flat, self.ring, self.read, {letter: 0}, {})

    def read(self, var: Var, at: Point) -> Array:
        if not at:
            return self.parameter(var)
        lag, name = -at[0], self._known(var)
        if lag < 0:
            raise Inapplicable(f"{var} is read before its step has come; an automaton reads from left to right")
        if name in self.system.variables and self.system.variables[name].kind == "input":
            return self._reads(name, numbers(var), lag, "")
        if lag == 0:
            self.define(name)
        else:
            self.delayed[name] = None
        return self._reads(name, numbers(var), lag, self.prefix)

    def _known(self, var: Var) -> str:
        if var.marks or not (var.name in self.system.variables or var.name in self.bodies or var.name == CLOCK):
            raise Inapplicable(f"{var} is no variable of {self.system.name}")
        return str(var.name)

    def _reads(self, name: str, shape: tuple[int, int], lag: int | None, prefix: str) -> Array:
        return array_of([[read(Slot(prefix + name, i, j, lag)) for j in range(shape[1])] for i in range(shape[0])])

    def define(self, name: str) -> None:
        """The definition of a state, after those of all that it reads at the same step."""
        if name in self.made:
            return
        if name in self.bodies:
            node, letter = self.bodies[name]
            self._keep(name, self._folded(name, node, letter))
            return
        equation = self.system.equations.get(name)
        if equation is None or not equation.target.index or any(any(pair) for pair in equation.extent):
            raise Inapplicable(f"{name} has no equation at every step")
        self._keep(name, self.terms(equation.rhs, self.system.lattice.indices[0]))

    def _keep(self, name: str, array: Array) -> None:
        self.made[name] = array.shape
        for i, row in enumerate(array):
            for j, term in enumerate(row):
                self.definitions[Slot(self.prefix + name, i, j, 0)] = term

    # --- parameters ---

    def parameter(self, var: Var) -> Array:
        """Of the system, or a name that the settings use; one without a value is left open."""
        shape = numbers(var)
        if var.name not in self.named:
            self.named.add(var.name)
            given = self.settings.values.get((var.name, ()))
            array = None if given is None else spread(given(self.scalar), shape, var.name)
            for i in range(shape[0]):
                for j in range(shape[1]):
                    slot = Slot(self.prefix + var.name, i, j, None)
                    unset = Unset(f"{var.name} has no value; give it one, as in {var.name}=1")
                    # Those that its value reads stand before it: `scalar` has put them there.
                    self.parameters[slot] = unset if array is None else array[i, j]
        return self._reads(var.name, shape, None, self.prefix)

    def scalar(self, name: str) -> Array:
        """A parameter that a value is made of."""
        known = self.system.variables.get(name)
        return self.parameter(known.var if known is not None else Var(name, (), (), 1, 1))

    def start(self, slot: Slot, name: str, is_input: bool) -> Any:
        """What a slot of the memory is worth before the first step."""
        if name in self.folds:
            return self.folds[name][slot.row, slot.column]
        assert slot.lag is not None
        given = self.settings.values.get((name, (1 - slot.lag,)))
        if given is not None:
            shape = numbers(self.system.variables[name].var)
            return spread(given(self.scalar), shape, name)[slot.row, slot.column]
        if self.settings.zero:
            return Fraction(0)
        reaches = max((-offset[0] for _, source, offset in self.system.reads if source == name), default=0)
        if is_input or slot.lag > reaches:  # the network reads nothing of it there: it has no such value
            return Outside()
        return Unset(f"{name}[{1 - slot.lag}] has no value; give it one: {name}[0]=0")

    # --- what is no formula of one step ---

    def unfolded(self, root: Basic, letter: Symbol) -> Any:
        """`root` with a state for each product, sum and distinction of cases."""
        flat = expr.rewrite(root, lambda node: self._state_of(node) if type(node) in FOLDS else node)
        flat = expr.rewrite(flat, lambda node: self._kept(node, letter) if is_first(node) else node)
        for node in expr.walk(flat):
            if isinstance(node, Var):
                if node.index and not (node.index[0] - letter).is_Integer:
                    raise Inapplicable(f"{node} is read at a point of its own, which no single step knows")
            elif isinstance(node, expr.At) or any(is_open(a) for a in node.args):
                raise Inapplicable(f"{node} depends on the number of the step")
        return flat

    def _state_of(self, node: Basic) -> Var:
        letter, offset = end_of(node)
        name = f"{type(node).__name__.lower()} {len(self.bodies) + 1}"
        same = next((n for n, (body, _) in self.bodies.items() if body == node), None)
        self.bodies.setdefault(same or name, (node, letter))
        return Var(same or name, (), (letter + offset,), *node.shape)  # type: ignore[attr-defined]

    def _kept(self, var: Var, letter: Symbol) -> Var:
        """`x[1]`, or `h[0]`, as something that is kept from the first step on."""
        name = f"{var.name} at {var.index[0]}"
        self.bodies.setdefault(name, (var, letter))
        return Var(name, (), (letter,), *var.shape)

    def _first(self, name: str, var: Var, letter: Symbol) -> Array:
        shape, lag = numbers(var), 1 - int(var.index[0])
        if lag:
            is_input = any(var.name == v.name for v in self.inputs)
            cells = [[Slot(self._known(var), i, j, lag) for j in range(shape[1])] for i in range(shape[0])]
            return array_of([[self.start(slot, slot.name, is_input) for slot in row] for row in cells])
        self.folds[name] = self.ring.full(0, *shape)
        self.delayed[name] = None
        now, before = self.read(var, (0,)), self._reads(name, shape, 1, self.prefix)
        return self.ring.where(self.condition(expr.Relation("=", letter, 1)), now, before)

    def _folded(self, name: str, node: Any, letter: Symbol) -> Array:
        if isinstance(node, expr.Cases):
            return self._cases(node, letter)
        if isinstance(node, Var):
            return self._first(name, node, letter)
        index, lo, _ = node.args[1]
        body = self.terms(node.args[0], index)
        shape = numbers(node)
        is_sum = isinstance(node, expr.Sum)
        self.folds[name] = self.ring.full(0, *shape) if is_sum else self.ring.identity(shape[0])
        before = self._reads(name, shape, 1, self.prefix)
        self.delayed[name] = None
        joined = before + body if is_sum else body @ before if node.descending else before @ body
        if lo > 1:
            counts = self.condition(expr.Relation(">=", index, lo))
            joined = self.ring.where(counts, joined, self.folds[name])
        return joined

    def _cases(self, node: Any, letter: Symbol) -> Array:
        pairs = list(node.args)
        if isinstance(pairs[-1][1], expr.Otherwise):
            result = self.terms(pairs.pop()[0], letter)
        else:
            rows, columns = numbers(node)
            result = array_of([[read(Slot("a step to which no case applies", 0, 0, None))] * columns] * rows)
        for value, condition in reversed(pairs):
            at = self.terms(where(value, condition, letter), letter)
            result = self.ring.where(self.condition(condition), at, result)
        return result

    def condition(self, said: Basic) -> Any:
        """A comparison of the step with a number, as a term.  The clock stops where no condition can tell steps apart."""
        if not isinstance(said, expr.Relation) or said.op not in _SIGNS or isinstance(said.lhs, Node):
            raise Inapplicable(f"{said} compares no step with a number")
        slope, rest = line_of(said)
        root = -rest / slope
        if root > MOST_CLOCK:
            raise Inapplicable(f"{said} is about a step beyond {MOST_CLOCK}")
        self.horizon = max(self.horizon, int(root) + 1)
        now = read(Slot(self.prefix + CLOCK, 0, 0, 0))
        return compared(_SIGNS[said.op], now * self.ring.number(slope) + self.ring.number(rest), Fraction(0))

    # --- the machine ---

    def machine(self, asked: Sequence[Any]) -> Machine:
        """What it takes to work out the terms `asked`."""
        self._settle()
        clock = Slot(self.prefix + CLOCK, 0, 0, 0)
        before = read(clock._replace(lag=1))
        tick = chosen(compared("<", before, self.horizon), before + 1, self.horizon)
        definitions = {clock: tick, **self.definitions}
        kept = needed(definitions, asked)
        memory = tuple(sorted((slot for slot in kept if slot.lag), key=_in_order))
        start = {slot: Fraction(0) if _name(slot, self.prefix) == CLOCK else self._start(slot) for slot in memory}
        widths = tuple((v.name, int(v.shape[0] * v.shape[1])) for v in self.inputs)
        bits = [Slot(v.name, i, j, 0) for v in self.inputs for i in range(v.shape[0]) for j in range(v.shape[1])]
        return Machine(
            self.system.name,
            widths,
            tuple(bits),
            {slot: term for slot, term in definitions.items() if slot in kept},
            memory,
            start,
            dict(self.parameters),
        )

    def _settle(self) -> None:
        """What is read from earlier steps has definitions, too."""
        while waiting := [name for name in self.delayed if name not in self.made]:
            for name in waiting:
                self.define(name)

    def _start(self, slot: Slot) -> Any:
        is_input = any(slot.name == v.name for v in self.inputs)
        return self.start(slot, slot.name if is_input else _name(slot, self.prefix), is_input)

    def check_settings(self, given: Sequence[Key], free: Sequence[str] = ()) -> None:
        """Every value is one of the system, or is used by one.  Raises `DeriveError` with the nearest name."""
        known = {*self.system.variables, *self.named, *free}
        for name, index in given:
            if name not in known:
                near = did_you_mean(name, known)
                raise DeriveError(f"{self.system.name} has no {name}{near}, so that it can't be given a value")
            if bool(index) != (name in self.system.equations or any(name == v.name for v in self.inputs)):
                law = f"{name} has a value at every step; what can be given is the one before the first, {name}[0]=1"
                raise DeriveError(law if not index else f"{name} is a parameter and has no index; write {name}=1")


def _name(slot: Slot, prefix: str) -> str:
    return slot.name.removeprefix(prefix)


def _in_order(slot: Slot) -> tuple[Any, ...]:
    return slot.name, slot.lag, slot.row, slot.column
