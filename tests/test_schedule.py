"""The schedule: what is computed once, in an order that holds point by point, and whose gradients are those of autograd.

`Run` is a second reader of programs, beside the backends: plain NumPy, one statement and one point at a time, over memory in
which a value is gone once another one was written in its place.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from autograd import make_vjp
from test_emit_contract import CELLS, WITH_LOSS

from derive import catalogue, cli, expr
from derive.evaluate import Ring, evaluate, integer
from derive.notation import Notation
from derive.oracles.with_autograd import AutogradRing
from derive.schedule import Program, account, schedule, text
from derive.schedule.program import (
    CARRIED,
    SCRATCH,
    STORED,
    Assign,
    Edge,
    Item,
    OuterTotal,
    Product,
    Sweep,
    Total,
    statements,
)
from derive.schedule.storage import read_by
from derive.schedule.terms import asks_where, can_be_infinite
from derive.system import LOSS, System

SYSTEMS = [*catalogue.names(), "mdrnn(3)", "stacked-lstm(4)"]
DERIVED = {
    "adjoint of gru": lambda: catalogue.load("gru").adjoint(),
    "tangent of lstm": lambda: catalogue.load("lstm").tangent(),
    "adjoint of mdrnn": lambda: catalogue.load("mdrnn").adjoint(),
}
OWN = {
    **CELLS,
    **WITH_LOSS,
    "a coefficient of the adjoint is a product": System(
        "products",
        equations="h[t] = (W @ x[t]) * (U @ h[t-1]) + h[t-1]",
        inputs="x: m",
        parameters="W U",
        shapes="h: n",
    ),
}
EVERY = [*SYSTEMS, *DERIVED, *OWN]
FORWARDS = [name for name in EVERY if name not in DERIVED]
SEED = 3


def system_of(name: str) -> System:
    return DERIVED[name]() if name in DERIVED else OWN.get(name) or catalogue.load(name)


def program_of(name: str) -> Program:
    return schedule(system_of(name))


@pytest.fixture(params=EVERY)
def program(request) -> Program:
    return program_of(request.param)


def sizes_of(system: System) -> dict[str, int]:
    lengths = (3,) if system.lattice.dimension == 1 else (3, 2, 2)
    found = {str(n): 2 + k for k, n in enumerate(system.dimensions)}
    return found | {str(n): size for n, size in zip(system.lattice.lengths, lengths, strict=False)}


def points(system: System, sizes: Mapping[str, int]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(1, sizes[str(n)] + 1) for n in system.lattice.lengths))


# --- what is given, and the truth -------------------------------------------------------------------------------------


class Given:
    """Random values of all that a system is given: parameters, what has an index, and its boundary values, by name and point."""

    def __init__(self, system: System, seeds: Collection[str], seed: int = SEED):
        self.system, self.sizes = system, sizes_of(system)
        self.rng = np.random.default_rng(seed)
        given = {b.variable for b in system.borders if system.variables[b.variable].kind in ("state", "input")}
        wanted = {name: v for name, v in system.variables.items() if v.kind != "state"}
        self.parameters = {n: self.draw(v.var) for n, v in wanted.items() if v.kind == "parameter"}
        self.values: dict[tuple[str, tuple[int, ...]], np.ndarray] = {}
        for point in points(system, self.sizes):
            for name in (n for n, v in wanted.items() if v.kind != "parameter"):
                self.values[name, point] = self.draw(wanted[name].var)
            for name in seeds:
                self.values[f"{name}_ct", point] = self.draw(system.variables[name].var)
        for name in sorted(given):
            for border in (b for b in system.borders if b.variable == name):
                for point in self.at_border(border.sides):
                    self.values[name, point] = self.draw(system.variables[name].var)

    def draw(self, var: expr.Var) -> np.ndarray:
        return self.rng.uniform(-0.9, 0.9, [integer(n, self.sizes) for n in var.shape])

    def at_border(self, sides: Sequence[Any]) -> Iterator[tuple[int, ...]]:
        axes = []
        for side, length in zip(sides, self.system.lattice.lengths, strict=True):
            n = self.sizes[str(length)]
            axes.append(range(1, n + 1) if not side.depth else [1 - side.depth if side.low else n + side.depth])
        return itertools.product(*axes)


class Truth:
    """The equations as they are typed, by recursion from the point that is asked for."""

    def __init__(self, given: Given, ring: Ring, values: Mapping[Any, Any], parameters: Mapping[str, Any]):
        self.given, self.ring, self.values, self.parameters = given, ring, dict(values), parameters

    def read(self, var: expr.Var, point: tuple[int, ...]) -> Any:
        system, name = self.given.system, var.name
        if name in self.parameters:
            return self.parameters[name]
        if (name, point) not in self.values:
            equation = system.equations.get(name)
            if equation is not None and self.reaches(equation.extent, point):
                self.values[name, point] = self.value(equation.rhs, point)
            else:
                self.values[name, point] = self.ring.full(0, *(integer(n, self.given.sizes) for n in var.shape))
        return self.values[name, point]

    def reaches(self, extent: Sequence[tuple[int, int]], point: tuple[int, ...]) -> bool:
        """Whether an equation stands at a point: those of adjoints may, at boundary values."""
        beyond = [*extent, *((0, 0) for _ in point[len(extent) :])]
        ends = [self.given.sizes[str(n)] for n in self.given.system.lattice.lengths]
        return all(1 - low <= p <= n + high for p, n, (low, high) in zip(point, ends, beyond, strict=False))

    def value(self, node: expr.Node, point: tuple[int, ...]) -> Any:
        index = dict(zip(self.given.system.lattice.indices, point, strict=False))
        return evaluate(node, self.ring, self.read, index, self.given.sizes)


def by_autograd(given: Given, seeds: Collection[str]) -> dict[Any, np.ndarray]:
    """The gradients of `Σ <cotangent, state>` by everything that is given."""
    system = given.system
    keys = [k for k in given.values if not k[0].endswith("_ct")]

    def loss(leaves: dict[Any, Any]) -> Any:
        known = {**given.values, **{k: leaves[k] for k in keys}}
        truth = Truth(given, AutogradRing(), known, {n: leaves[n] for n in given.parameters})
        total = 0.0
        for point in points(system, given.sizes):
            for name in seeds:
                state = truth.read(system.variables[name].var, point)
                total = total + truth.ring.sum(state * given.values[f"{name}_ct", point])
        return total

    pull, _ = make_vjp(loss)({**given.parameters, **{k: given.values[k] for k in keys}})
    return pull(np.ones((1, 1)))


# --- a second reader of programs --------------------------------------------------------------------------------------


class Run:
    """A program, one statement and one point after the other.

    Memory: for a stored array one place a point, which arrays of `shared` have in common; else one place in all.  A place
    knows whose value it holds, so that reading what was overwritten, or not yet computed, fails.
    """

    def __init__(self, program: Program, given: Given):
        self.program, self.given, self.lattice = program, given, program.system.lattice
        self.memory: dict[Any, tuple[Any, np.ndarray]] = {}
        self.computed = {n for n in program.arrays}
        self.times: dict[Any, int] = {}
        self.gradients: dict[Any, np.ndarray] = {}
        for items in (program.forward, program.backward):
            for item in items:
                self.item(item, {})
        self.bars()

    def place(self, name: str, point: tuple[int, ...]) -> Any:
        stored = self.program.arrays[name].storage == STORED
        return (self.program.shared.get(name, name), point) if stored else name

    def inside(self, point: Sequence[int]) -> bool:
        return all(1 <= p <= self.given.sizes[str(n)] for p, n in zip(point, self.lattice.lengths, strict=True))

    def read(self, var: expr.Var, point: tuple[int, ...]) -> np.ndarray:
        if var.name in self.given.parameters:
            return self.given.parameters[var.name]
        if var.name in self.computed and self.inside(point):
            assert self.place(var.name, point) in self.memory, f"{var.name} at {point} is read before it is computed"
            whose, value = self.memory[self.place(var.name, point)]
            assert whose == (var.name, point), f"{var.name} at {point} is read, but {whose} stands in its place"
            return value
        outside = np.zeros([integer(n, self.given.sizes) for n in var.shape])
        return self.given.values.get((var.name, point), outside)

    def write(self, var: expr.Var, point: tuple[int, ...], value: np.ndarray) -> None:
        self.memory[self.place(var.name, point)] = (var.name, point), value
        self.times[var.name, point] = self.times.get((var.name, point), 0) + 1

    def value(self, node: expr.Node, point: tuple[int, ...]) -> np.ndarray:
        """A term that may divide by zero is left out where it reads what the backward pass has not beyond the lattice."""
        index = dict(zip(self.lattice.indices, point, strict=True))
        terms = node.args if isinstance(node, expr.Add) else (node,)
        found = np.zeros([integer(n, self.given.sizes) for n in node.shape])
        for term in terms:
            offsets = [
                self.program.system.offset(v) for v in expr.variables(term) if v.index and v.name in self.backwards
            ]
            moved = (tuple(p + o for p, o in zip(point, offset, strict=True)) for offset in offsets)
            if not (can_be_infinite(term) and not all(map(self.inside, moved))):
                found = found + evaluate(term, Ring(), self.read, index, self.given.sizes)
        return found

    @property
    def backwards(self) -> set[str]:
        return {t.name for s in statements(self.program.backward) for t in s.targets}

    def item(self, item: Item, at: Mapping[int, int]) -> None:
        """`at`: the steps of the sweeps around."""
        if not isinstance(item, Sweep):
            axes = [range(1, self.given.sizes[str(n)] + 1) for n in self.lattice.lengths]
            for axis, step in at.items():
                axes[axis] = range(step, step + 1)
            for point in filter(self.inside, itertools.product(*axes)):
                self.statement(item, point)
            return
        n, late = self.given.sizes[str(self.lattice.lengths[item.axis])], max(item.shifts.values(), default=0)
        for step in range(1, n + 1 + late) if item.direction > 0 else range(n, -late, -1):
            for inner in item.body:
                names = inner.names if isinstance(inner, Sweep) else [t.name for t in inner.targets]
                (lag,) = {item.shifts.get(name, 0) for name in names}
                self.item(inner, {**at, item.axis: step - item.direction * lag})

    def statement(self, statement: Assign | Product, point: tuple[int, ...]) -> None:
        if isinstance(statement, Assign):
            self.write(statement.target, point, self.value(statement.value, point))
            return
        pack = np.concatenate([self.given.parameters[m.name] for m in statement.pack.parts])
        operand = np.concatenate([self.value(v, point) for v in statement.operands])
        found = (pack.T if statement.transposed else pack) @ operand
        if statement.bias:
            found = found + np.concatenate([self.given.parameters[b.name] for b in statement.bias.parts])
        heights = [integer(t.shape[0], self.given.sizes) for t in statement.targets]
        for target, value in zip(statement.targets, np.split(found, np.cumsum(heights)[:-1]), strict=True):
            self.write(target, point, value)

    def bars(self) -> None:
        every = list(points(self.program.system, self.given.sizes))
        for gradient in self.program.gradients:
            if isinstance(gradient, Total):
                self.gradients[gradient.target.name] = sum(self.value(gradient.value, p) for p in every)
            elif isinstance(gradient, OuterTotal):
                left = [np.concatenate([self.value(v, p) for v in gradient.left]) for p in every]
                right = [np.ones((1, 1)) if gradient.right is None else self.value(gradient.right, p) for p in every]
                total = sum(a @ b.T for a, b in zip(left, right, strict=True))
                heights = [integer(t.shape[0], self.given.sizes) for t in gradient.targets]
                parts = np.split(total, np.cumsum(heights)[:-1])
                self.gradients |= {t.name: part for t, part in zip(gradient.targets, parts, strict=True)}
            elif isinstance(gradient, Edge):
                for point in self.given.at_border(gradient.border.sides):
                    index = dict(zip(self.lattice.indices, point, strict=True))
                    value = evaluate(gradient.value, Ring(), self.read, index, self.given.sizes)
                    self.gradients[gradient.key.partition("[")[0], point] = value


def close(found: np.ndarray, expected: np.ndarray, what: Any, name: str) -> None:
    error = np.abs(found - expected).max() / max(1.0, np.abs(expected).max())
    assert found.shape == expected.shape and error < 1e-9, (
        f"{what} of {name} (seed {SEED}): the program has\n{found}\nand the truth is\n{expected}"
    )


@pytest.mark.parametrize("name", FORWARDS)
def test_a_program_has_the_states_and_the_gradients_of_its_system(name):
    """Statement by statement in its own order and memory, against recursion and autograd; every target is computed once."""
    program = program_of(name)
    given = Given(program.system, program.seeds)
    run = Run(program, given)
    truth = Truth(given, Ring(), given.values, given.parameters)
    every = list(points(program.system, given.sizes))
    for state in (v for v in program.system.states if v.name != LOSS):
        for point in every:
            close(run.read(state.var, point), truth.read(state.var, point), (state.name, point), name)
    assert run.times == {(n, p): 1 for n in program.arrays for p in every}
    expected = by_autograd(given, program.seeds)
    for parameter in program.system.parameters:
        bar = parameter.var.marked("bar").name
        found = run.gradients.get(bar, np.zeros_like(given.parameters[parameter.name]))
        close(found, expected[parameter.name], bar, name)
    for variable, point in (k for k in expected if isinstance(k, tuple)):
        kind = program.system.variables[variable].kind
        bar = program.system.variables[variable].var.marked("bar")
        if kind == "input" and point in every:
            close(run.read(bar, point), expected[variable, point], (bar.name, point), name)
        elif kind in ("input", "state"):
            close(run.gradients[variable, point], expected[variable, point], (bar.name, point), name)


@pytest.mark.parametrize("name", DERIVED)
def test_a_derived_system_runs_forwards(name):
    program = program_of(name)
    given = Given(program.system, ())
    run = Run(program, given)
    truth = Truth(given, Ring(), given.values, given.parameters)
    for state in program.system.states:
        every = points(program.system, given.sizes) if state.indexed else [()]
        for point in every if state.name != LOSS or LOSS in program.arrays else ():
            found = run.read(state.var, point) if state.indexed else run.gradients[state.name]
            close(found, truth.read(state.var, point), (state.name, point), name)
    for name_, point in (k for k in run.gradients if isinstance(k, tuple)):
        close(run.gradients[name_, point], truth.read(program.system.variables[name_].var, point), (name_, point), name)
    assert program.adjoint is None and not program.backward


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda p: {"forward": p.forward[::-1]}, "is read before it is computed"),
        (lambda p: {"shared": {**p.shared, "r": "z"}}, "stands in its place"),
        (lambda p: {"arrays": {**p.arrays, "h": replace(p.arrays["h"], storage=CARRIED)}}, "stands in its place"),
    ],
)
def test_the_second_reader_sees_a_wrong_order_and_wrong_memory(wrong, said):
    program = program_of("gru")
    given = Given(program.system, program.seeds)
    with pytest.raises(AssertionError, match=said):
        Run(replace(program, **wrong(program)), given)


# --- what a program promises to backends ------------------------------------------------------------------------------


def test_every_name_is_computed_by_one_statement(program):
    names = [t.name for items in (program.forward, program.backward) for s in statements(items) for t in s.targets]
    assert len(names) == len(set(names)) and set(names) == {*program.arrays}


def test_parts_of_a_stack_are_neighbours_in_no_other(program):
    parts = [p.name for stack in program.stacks for p in stack.parts]
    assert len(parts) == len(set(parts)), f"a part is in two stacks: {parts}"
    for stack in program.stacks:
        assert len({program.arrays[p.name].storage for p in stack.parts}) == 1, f"{stack.name} is kept in two ways"


def neighbours(program: Program, variables: Sequence[expr.Var]) -> bool:
    """Whether these follow one another in one stack."""
    names = [v.name for v in variables]
    runs = [[p.name for p in stack.parts] for stack in program.stacks]
    return len(names) == 1 or any(names == run[k : k + len(names)] for run in runs for k in range(len(run)))


def test_what_is_one_product_lies_side_by_side(program):
    for items in (program.forward, program.backward):
        for product in (s for s in statements(items) if isinstance(s, Product)):
            assert neighbours(program, product.targets) and neighbours(program, product.operands), product
            assert len(product.pack.parts) == len(product.operands if product.transposed else product.targets)
            assert product.pack in program.packs and (product.bias is None or product.bias in program.packs)
            assert len({v.index for v in product.operands}) == 1
    for total in (g for g in program.gradients if isinstance(g, OuterTotal)):
        assert neighbours(program, total.left) and len(total.left) == len(total.targets), total


def test_every_parameter_gets_one_gradient(program):
    found = [
        t.name for g in program.gradients if not isinstance(g, Edge) for t in getattr(g, "targets", None) or (g.target,)
    ]
    expected = [e.name for e in (program.adjoint or program.system).equations.values() if not e.target.index]
    assert sorted(found) == sorted(expected)
    keys = [g.key for g in program.gradients if isinstance(g, Edge)]
    assert len(keys) == len(set(keys))
    if program.adjoint:
        read = [
            b.key for b in program.system.borders if program.system.variables[b.variable].kind in ("state", "input")
        ]
        assert sorted(keys) == sorted(read)


def sweeps(items: Sequence[Item]) -> Iterator[Sweep]:
    for item in items:
        if isinstance(item, Sweep):
            yield item
            yield from sweeps(item.body)


def test_what_depends_on_no_recurrence_is_outside_of_sweeps(program):
    """But for terms that may divide by zero beyond the lattice, and what depends on the step itself."""
    found = [*statements(program.forward), *statements(program.backward)]
    guarded = {s.target.name for s in found if isinstance(s, Assign) and can_be_infinite(s.value)}
    for items in (program.forward, program.backward):
        for sweep in (s for s in items if isinstance(s, Sweep)):
            inside = {*sweep.names}
            for statement in statements((sweep,)):
                if isinstance(statement, Assign) and asks_where(statement.value):
                    continue
                assert inside & {v.name for v in read_by(statement)}, f"{statement} could leave its sweep"
                for part in could_leave(statement.value, inside) if isinstance(statement, Assign) else ():
                    if guarded & {v.name for v in expr.variables(part)}:
                        continue
                    raise AssertionError(f"{part} could leave the sweep of {statement.target.name}")


def could_leave(node: expr.Node, inside: Collection[str]) -> Iterator[expr.Node]:
    """Parts that depend on no name of a sweep and cost more than a number times a variable."""
    infinite = can_be_infinite(node)
    if isinstance(node, expr.Var) or (infinite and not isinstance(node, (expr.Add, expr.Had))):
        return
    if depends_on(node, inside):
        apart = [
            a for a in node.args if isinstance(a, expr.Node) and not depends_on(a, inside) and not can_be_infinite(a)
        ]
        if isinstance(node, (expr.Add, expr.Had)) and not expr.is_scalar(node) and len(apart) > 1:
            together = node.build(*apart)
            yield from [together] if varies(together) else []
        for part in node.args:
            if isinstance(part, expr.Node):
                yield from could_leave(part, inside)
    elif (
        varies(node)
        and not infinite
        and not expr.is_scalar(node)
        and not isinstance(expr.split_number(node)[1], expr.Var)
    ):
        yield node


def test_coefficients_inside_a_sweep_are_seen():
    """Those of a backend that keeps them in registers, which asks for a schedule of its own."""
    program = schedule(catalogue.load("gru"), None, False)
    with pytest.raises(AssertionError, match="could leave the sweep"):
        test_what_depends_on_no_recurrence_is_outside_of_sweeps(program)


def depends_on(node: expr.Node, names: Collection[str]) -> bool:
    return any(v.name in names for v in expr.variables(node))


def varies(node: expr.Node) -> bool:
    return any(v.index for v in expr.variables(node))


def test_what_lasts_a_step_is_read_in_its_own_sweep(program):
    """The interpreter above sees the values; this sees every read, also those that are zero."""
    home = {
        n: s for items in (program.forward, program.backward) for s in items if isinstance(s, Sweep) for n in s.names
    }
    for items in (program.forward, program.backward):
        for item in items:
            for statement in statements((item,)):
                for var in read_by(statement):
                    storage = program.arrays[var.name].storage if var.name in program.arrays else STORED
                    if storage != STORED:
                        assert home.get(var.name) is item, f"{var} is kept {storage} and read outside its sweep"
                        steps = {SCRATCH: (0,), CARRIED: (0, -item.direction)}[storage]
                        assert program.system.offset(var)[item.axis] in steps, f"{var} is kept {storage}"


@pytest.mark.parametrize(
    ("name", "forward", "backward", "gradients"),
    [("rnn", 1, 1, 2), ("gru", 1, 1, 2), ("lstm", 1, 1, 2), ("lstm-peephole", 1, 1, 2)],
)
def test_a_gated_cell_takes_one_product_a_step_and_one_for_each_operand_after_it(name, forward, backward, gradients):
    counts = account.data(program_of(name), Notation())["counts"]
    step = counts["in_a_step"]
    assert (step["forward"]["products"], step["backward"]["products"]) == (forward, backward), counts
    assert counts["all_at_once"]["gradients"]["products"] >= gradients


# --- as text ----------------------------------------------------------------------------------------------------------


def test_the_page_says_every_statement_and_every_array(program):
    page, found = text.text(program, Notation(adjoint="bar")), account.data(program, Notation(adjoint="bar"))
    lines = [*account.every_line(found)]
    assert [n for line in lines for n in line["computes"] if "[" not in n and n in program.arrays] == list(
        dict.fromkeys(n for line in lines for n in line["computes"] if n in program.arrays)
    )
    assert {n for line in lines for n in line["computes"]} >= {*program.arrays}
    together = "".join(page.split())
    for line in lines:
        assert "".join(line["text"].split()) in together, line
    assert found == json.loads(json.dumps(found)), "not all of it is JSON"


def test_the_page_of_an_lstm(capsys):
    assert cli.main(["show", "lstm", "--schedule"]) == 0
    page = capsys.readouterr().out
    for line in (
        "for all t at once, 1 matrix product:",
        "[o_{in,t}; i_{in,t}; f_{in,t}; g_{in,t}] = [W_o; W_i; W_f; W_g] x_t + [b_o; b_i; b_f; b_g]",
        "for t = 1..T, 1 matrix product:",
        "[o_{rec,t}; i_{rec,t}; f_{rec,t}; g_{rec,t}] = [U_o; U_i; U_f; U_g] h_{t-1}",
        "for t = T..1, 1 matrix product:",
        "x̄_t = [W_o; W_i; W_f; W_g]ᵀ [δ^o_t; δ^i_t; δ^f_t; δ^g_t]",
        "[Ū_o; Ū_i; Ū_f; Ū_g] = Σ_{t=1..T} [δ^o_t; δ^i_t; δ^f_t; δ^g_t] h_{t-1}ᵀ",
        "c̄_0 = f_1 ⊙ c̄_1",
        "o_{in,t}    what enters o, or its adjoint, from outside the loop",
    ):
        assert line in page, f"{line}\nis not in\n{page}"


def test_the_schedule_is_shown_for_other_cotangents_and_as_json(capsys):
    assert (
        cli.main(["show", "lstm", "--schedule", "--cotangents", "h, c", "--format", "json", "--notation", "bold"]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["cotangents"] == ["c", "h"] and found["forward"][1]["kind"] == "sweep"
    assert r"\bm" in found["gradients"][0]["latex"] or r"\mathbf" in found["gradients"][0]["latex"]


def test_the_schedule_of_a_grid_says_which_axis_is_swept(capsys):
    assert cli.main(["show", "mdrnn", "--schedule"]) == 0
    page = capsys.readouterr().out
    assert "for i = I..1" in page and "for all j at once, 1 matrix product:" in page and "for all i, j at once" in page


def test_a_chain_that_lags_says_so():
    page = text.text(program_of("a chain that runs ahead"), Notation())
    assert "for t = 1..T+1 (1 behind: g_t, g_{rec,t}), 2 matrix products:" in page, page


def test_own_files_and_documents_have_a_schedule(tmp_path, capsys):
    (tmp_path / "cell.py").write_text(
        "from derive import System\n"
        "cell = System('cell', equations='h[t] = tanh(U @ h[t-1] + x[t])', inputs='x: n', parameters='U')\n"
    )
    (tmp_path / "cell.md").write_text("$$ h_t = \\tanh(U h_{t-1} + W x_t) $$\n")
    for spec in ("cell.py:cell", "cell.md"):
        assert cli.main(["show", str(tmp_path / spec), "--schedule"]) == 0
        assert "for t = 1..T, 1 matrix product:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--schedule", "--cotangents", "hh"], "hh is no state, and has no cotangent (did you mean h?)"),
        (["--schedule", "--cotangents", ","], "say of which states there are cotangents"),
        (["--schedule", "--pseudocode"], "ask for one of them"),
        (["--cotangents", "h"], "add --schedule"),
    ],
)
def test_what_is_asked_wrongly_is_said(arguments, said, capsys):
    assert cli.main(["show", "gru", *arguments]) == 2
    assert said in capsys.readouterr().err
