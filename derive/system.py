"""A system of recurrence equations on an index lattice: the one object that everything else reads.

    gru = System(
        "gru",
        equations='''
            z[t] = sigmoid(W_z @ x[t] + U_z @ h[t-1] + b_z)
            ...
        ''',
        inputs="x: m",
        parameters="W_z U_z b_z …",
        shapes="h: n",
    )

A system checks itself when it is made: its names, its shapes, and that an order of evaluation exists.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sympy import Symbol

from derive import expr
from derive.conventions import Guesser
from derive.equations import Builder, Checker, Source, lattice_names, target_name
from derive.errors import DeriveError, Place, SystemError_, did_you_mean
from derive.expr import SCALAR, Node, Shape, Var
from derive.lattice import Border, CycleError, Edge, Lattice, Loop, Offset, borders, difference, order
from derive.shapes import Unifier, parse_declarations

if TYPE_CHECKING:
    from derive.derivation import Derivation
    from derive.pictures.model import Picture

LOSS = "L"
BOUNDARIES = ("given", "zero", "learned")
MARKS = {"bar": "adjoint", "dot": "tangent", "delta": "adjoint of the argument", "ct": "cotangent"}


@dataclass(frozen=True)
class Variable:
    """A name of a system: what it is, its shape, whether it has an index."""

    var: Var
    kind: str
    """input, target, parameter, state or cotangent"""
    indexed: bool

    @property
    def name(self) -> str:
        return self.var.name

    @property
    def shape(self) -> Shape:
        return self.var.shape


@dataclass(frozen=True)
class Equation:
    """`target = rhs` at the lattice's own index; a target without an index is a reduction, its right side a `Sum`.

    `extent`: how far the domain reaches beyond the lattice on each axis, `((1, 0),)` for `0..T`.
    """

    target: Var
    rhs: Node
    place: Place | None = None
    extent: tuple[tuple[int, int], ...] = ()

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def body(self) -> Node:
        """The right side without the sum over the lattice."""
        return self.rhs.args[0] if isinstance(self.rhs, expr.Sum) and not self.target.index else self.rhs


@dataclass(frozen=True)
class Parts:
    """What a system is made of, once its text has been read."""

    name: str
    title: str
    reference: str
    lattice: Lattice
    variables: dict[str, Variable]
    equations: dict[str, Equation]
    outputs: tuple[str, ...]
    boundary: dict[str, str] = field(default_factory=dict)
    loss: str = "every"
    given: tuple[str, ...] = ()
    """Names of the equations that a derived system (an adjoint, a tangent) took over; what is left is its own."""


class System:
    """Equations, and what they are checked for.  `System(name, equations=…)` reads text, `System.of` takes nodes."""

    def __init__(
        self,
        name: str,
        *,
        equations: str,
        inputs: str = "",
        parameters: str = "",
        shapes: str = "",
        targets: str = "",
        outputs: str = "",
        boundary: Mapping[str, str] | None = None,
        loss: str = "",
        loss_at: str = "every",
        unknown_functions: str = "",
        title: str = "",
        reference: str = "",
    ):
        caller = sys._getframe(1)
        here = caller.f_code.co_filename, caller.f_lineno, name
        read = System.read(
            name,
            Source.located(equations, *here),
            loss=Source.located(loss, *here) if loss.strip() else None,
            inputs=inputs,
            parameters=parameters,
            shapes=shapes,
            targets=targets,
            outputs=outputs,
            boundary=boundary,
            loss_at=loss_at,
            unknown_functions=unknown_functions,
            title=title,
            reference=reference,
        )
        self._take(read.parts)

    @classmethod
    def read(
        cls,
        name: str,
        equations: Source,
        *,
        loss: Source | None = None,
        inputs: str = "",
        parameters: str = "",
        shapes: str | Mapping[str, Shape | None] = "",
        targets: str = "",
        outputs: str = "",
        boundary: Mapping[str, str] | None = None,
        loss_at: str = "every",
        unknown_functions: str = "",
        title: str = "",
        reference: str = "",
        infer: bool = False,
        scalar: bool = False,
    ) -> System:
        """A system from equations in any language that a `Source` gives as Python's statements.

        `infer`: shapes that the equations leave open follow the conventions of `derive.shapes`, and dimensions that
        stay open get names.  `scalar`: they are 1.  Raises `DeriveError`, with the place where there is one.
        """
        try:
            declarations = _Declarations(inputs, parameters, targets, shapes, unknown_functions)
            reading = _Reading(equations, loss, declarations, infer=infer or scalar, scalar=scalar)
            indexed = [*reading.states, *declarations.of("input", "target")]
            chosen = _boundaries(boundary or {}, indexed, reading.lattice)
        except SystemError_:
            raise
        except DeriveError as error:
            raise DeriveError(f"{name}: {error}") from None
        except RecursionError:
            raise DeriveError(f"{name}: an equation is nested too deeply; give its parts names of their own") from None
        parts = Parts(
            name=name,
            title=title or name,
            reference=reference,
            lattice=reading.lattice,
            variables=reading.variables,
            equations=reading.equations,
            outputs=tuple(outputs.replace(",", " ").split()) or _last_states(reading.equations),
            boundary=chosen,
            loss=loss_at,
        )
        system = cls.of(parts)
        if loss is None:
            system._take(_with_abstract_loss(parts))
        return system

    @classmethod
    def of(cls, parts: Parts) -> System:
        system = cls.__new__(cls)
        system._take(parts)
        return system

    def _take(self, parts: Parts) -> None:
        self.parts = parts
        self.name, self.title, self.reference = parts.name, parts.title, parts.reference
        self.lattice, self.variables, self.equations = parts.lattice, parts.variables, parts.equations
        self.outputs, self.boundary, self.loss = parts.outputs, parts.boundary, parts.loss
        self.loss_name = LOSS
        self.__dict__.pop("schedule", None)
        self._check()

    def _check(self) -> None:
        for output in self.outputs:
            if output not in self.equations:
                near = did_you_mean(output, self.equations)
                raise DeriveError(f"{self.name}: the output {output} has no equation{near}")
        if self.loss not in ("every", "last"):
            raise DeriveError(f"{self.name}: loss_at is 'every' or 'last', found {self.loss!r}")
        for equation in self.equations.values():
            if equation.target.shape != equation.rhs.shape:
                raise DeriveError(
                    f"{self.name}: {equation.name} is {expr.show_shape(equation.target.shape)}, "
                    f"its right-hand side {expr.show_shape(equation.rhs.shape)}"
                )
        _ = self.schedule

    # --- names ---

    def variable(self, name: str) -> Variable:
        """The variable of that name.  Raises `DeriveError` with the nearest name."""
        if name not in self.variables:
            raise DeriveError(f"{self.name} has no variable {name}{did_you_mean(name, self.variables)}")
        return self.variables[name]

    def of_kind(self, *kinds: str) -> tuple[Variable, ...]:
        return tuple(v for v in self.variables.values() if v.kind in kinds)

    @property
    def parameters(self) -> tuple[Variable, ...]:
        return self.of_kind("parameter")

    @property
    def inputs(self) -> tuple[Variable, ...]:
        return self.of_kind("input")

    @property
    def states(self) -> tuple[Variable, ...]:
        return self.of_kind("state")

    @property
    def own(self) -> tuple[Equation, ...]:
        """The equations that are this system's own: without those of the system that it was derived from."""
        return tuple(e for name, e in self.equations.items() if name not in self.parts.given)

    @property
    def has_loss(self) -> bool:
        """Whether the loss is a formula; if not, it is left abstract and its cotangents are inputs."""
        return not self.of_kind("cotangent")

    @cached_property
    def dimensions(self) -> tuple[Symbol, ...]:
        """The symbolic dimensions, in the order in which the variables use them."""
        found: dict[Symbol, None] = {}
        for variable in self.variables.values():
            for size in variable.shape:
                found.update(dict.fromkeys(sorted(size.free_symbols, key=str)))
        return tuple(found)

    # --- reads ---

    @cached_property
    def reads(self) -> tuple[Edge, ...]:
        """`(target, source, offset)` of every read of an indexed variable; a reduction reads at every point."""
        edges: dict[Edge, None] = {}
        for equation in self.equations.values():
            for var in expr.variables(equation.rhs):
                if var.index:
                    edges[equation.name, var.name, self.offset(var)] = None
        return tuple(edges)

    def offset(self, var: Var) -> Offset:
        """The offset at which a right-hand side reads `var`."""
        return difference(var.index, self.lattice.indices)

    @cached_property
    def borders(self) -> tuple[Border, ...]:
        """The regions outside the lattice whose values are given or learned; all others are zero."""
        offsets: dict[str, list[Offset]] = {}
        for _, source, offset in self.reads:
            if self.boundary.get(source, "zero") != "zero":
                offsets.setdefault(source, []).append(offset)
        return tuple(b for name, reads in offsets.items() for b in borders(name, reads, self.lattice))

    @cached_property
    def schedule(self) -> tuple[Loop | str, ...]:
        """An order of evaluation.  Raises `DeriveError` naming a cycle where none exists."""
        dependent = [(t, s, o) for t, s, o in self._dependencies()]
        try:
            return order(tuple(self.equations), dependent, self.lattice.dimension)
        except CycleError as error:
            raise SystemError_(self._explained(error), self.equations[error.cycle[0]].place) from None

    def _explained(self, error: CycleError) -> str:
        point = self.lattice.point
        if not any(any(offset) for _, _, offset in error.edges):
            around = [f"{name}[{point()}]" for name in error.cycle]
            instead = f"{error.cycle[0]}[{point((-1,))}]"
            return f"{around[0]} needs itself: {' <- '.join(around)}; read one of them a step earlier, say {instead}"
        reads = ", ".join(f"{target} reads {source}[{point(offset)}]" for target, source, offset in error.edges)
        return f"no order of evaluation exists: {reads}; give each direction a chain of its own, as birnn does"

    def _dependencies(self) -> Iterable[Edge]:
        still = (0,) * self.lattice.dimension
        for equation in self.equations.values():
            for var in expr.variables(equation.rhs):
                if var.name in self.equations:
                    yield equation.name, var.name, self.offset(var) if var.index else still

    # --- readings ---

    def derive(
        self,
        query: str,
        *,
        hold: Sequence[str] | str = (),
        unroll: int | None = None,
        layout: str | None = None,
        notation: Any = None,
        where: Mapping[str, int] | None = None,
    ) -> Derivation:
        """The worked answer to a query such as `"dh[t]/dh[t-1]"`.

        `hold`: names held constant.  `unroll`: a number in place of the length.  `layout`: numerator or denominator.
        `where`: names with the constant value at which the result is read, `{"z": 1}`.  Raises `QueryError`.
        """
        from derive.queries import derive

        return derive(self, query, hold=hold, unroll=unroll, layout=layout, notation=notation, where=where)

    def compile(
        self,
        backend: str = "numpy",
        dtype: str = "float64",
        functions: Mapping[str, Callable[..., Any]] | None = None,
        cotangents: Collection[str] | str | None = None,
    ) -> Any:
        """Functions to call: `.forward`, `.vjp`, `.value_and_grad`, `.function`, `.source`.

        `functions` gives the named unknowns, `{"phi": f, "phi'": df}`.  `cotangents`: the states for whose cotangents `vjp` is
        written, `"h, c"`; left out, they are the outputs and what the loss reads.
        """
        from derive.emit import compile_system

        return compile_system(self, backend, dtype, functions, cotangents)

    def plot(self, kind: str, query: str | None = None, **options: Any) -> Picture:
        """A picture, as SVG in a notebook: the graph with the paths of a query, the flow of the gradient, what paths contribute.

        `derive.pictures.KINDS` lists the kinds with their options.  Raises `DeriveError` for another.
        """
        from derive.pictures import draw

        return draw(self, kind, query, **options)

    def adjoint(self) -> System:
        """This system with its adjoint recurrences (reverse mode), again a system."""
        from derive.adjoint import adjoint

        return adjoint(self)

    def tangent(self) -> System:
        """This system with its tangent recurrences (forward mode), again a system."""
        from derive.tangent import tangent

        return tangent(self)

    def with_cotangents(self, *names: str) -> System:
        """This system with its loss left abstract and a free cotangent for each of the named states."""
        equations = {n: e for n, e in self.equations.items() if n != LOSS}
        read = {v.name for e in equations.values() for v in expr.variables(e.rhs)}
        gone = {n for n, v in self.variables.items() if v.kind in ("cotangent", "target") and n not in read}
        variables = {n: v for n, v in self.variables.items() if n != LOSS and n not in gone}
        parts = replace(self.parts, equations=equations, variables=variables, outputs=names or self.outputs)
        return System.of(_with_abstract_loss(parts))

    def __repr__(self) -> str:
        return f"System({self.name!r}: {', '.join(f'{e.name}' for e in self.equations.values())})"

    def _repr_markdown_(self) -> str:
        return self.derive("forward").markdown()


class _Declarations:
    """The names that a system declares, by kind, and the shapes that are given with them."""

    def __init__(
        self,
        inputs: str,
        parameters: str,
        targets: str,
        shapes: str | Mapping[str, Shape | None],
        unknown_functions: str,
    ):
        self.kinds = {
            "parameter": parse_declarations(parameters),
            "input": parse_declarations(inputs),
            "target": parse_declarations(targets),
        }
        self.shapes = parse_declarations(shapes) if isinstance(shapes, str) else dict(shapes)
        self.unknown_functions = set(unknown_functions.replace(",", " ").split())

    def of(self, *kinds: str) -> list[str]:
        return [name for kind in kinds for name in self.kinds[kind]]

    def settled(self, states: Sequence[str]) -> dict[str, Shape | None]:
        """Every name with its shape or None.  Raises where a name stands in two places or a shape is nobody's."""
        where: dict[str, str] = {}
        found: dict[str, Shape | None] = {}
        for kind, names in self.kinds.items():
            for name, shape in names.items():
                if name in where:
                    raise DeriveError(f"{name} is among the {where[name]}s and among the {kind}s; give one a new name")
                where[name], found[name] = kind, shape
        known = [*found, *states]
        for name, shape in self.shapes.items():
            if name not in known:
                near = did_you_mean(name, known)
                raise DeriveError(f"a shape is given for {name}, which is no variable of the system{near}")
            if found.get(name) not in (None, shape):
                raise DeriveError(f"{name} is given two shapes, among the {where[name]}s and in shapes")
            found[name] = shape
        return found


class _Reading:
    """The steps from text to nodes, in order: names, reads, shapes, nodes."""

    def __init__(
        self,
        equations: Source,
        loss: Source | None,
        declarations: _Declarations,
        *,
        infer: bool = False,
        scalar: bool = False,
    ):
        self.equations_source, self.loss_source = equations, loss or equations
        statements = equations.statements()
        indices = lattice_names(equations, statements)
        self.lattice = Lattice.named(indices)
        self.states = [target_name(s) for s in statements]
        _unique(equations, statements, declarations)
        declared = declarations.settled(self.states)
        self.loss_tree = loss.expression() if loss else None
        self.loss_nodes = {id(node) for node in ast.walk(self.loss_tree)} if self.loss_tree else set()
        parameters, indexed = declarations.of("parameter"), [*self.states, *declarations.of("input", "target")]
        checker = Checker(equations, indices, set(indexed), set(parameters), declarations.unknown_functions)
        for statement in statements:
            checker.equation(statement)
        if self.loss_tree is not None:
            checker.loss(self.loss_source, self.loss_tree)
        for kind, names in declarations.kinds.items():
            for name in names:
                if name not in checker.read:
                    raise DeriveError(f"the {kind} {name} is read by no equation; use it or leave it out")
        unifier = Unifier(declared, self._located)
        if infer:
            inputs, reserved = declarations.of("input", "target"), {*indices, *map(str, self.lattice.lengths)}
            unifier = Guesser(
                declared, self._located, inputs=inputs, states=self.states, reserved=reserved, scalar=scalar
            )
        shapes = self._shapes(unifier, statements, [*parameters, *indexed])
        self.variables = {
            name: Variable(self._var(name, shapes[name], kind != "parameter"), kind, kind != "parameter")
            for kind, names in {**declarations.kinds, "state": self.states}.items()
            for name in names
        }
        builder = Builder(self.lattice.indices, shapes, checker.offset)
        self.equations = {}
        for statement in statements:
            target = self.variables[target_name(statement)].var
            rhs = builder.node(statement.value, target.shape)
            self.equations[target.name] = Equation(target, rhs, equations.place(statement))
        if self.loss_tree is not None:
            self._append_loss(builder.node(self.loss_tree, SCALAR))

    def _shapes(self, unifier: Unifier, statements: list[ast.Assign], names: list[str]) -> dict[str, Shape]:
        for statement in statements:
            unifier.equation(target_name(statement), statement)
        if self.loss_tree is not None:
            unifier.loss(self.loss_tree)
        for name in names:
            unifier.name(name)
        return unifier.settle()

    def _located(self, node: ast.AST) -> tuple[Place, str]:
        source = self.loss_source if id(node) in self.loss_nodes else self.equations_source
        return source.place(node), source.quote(node)

    def _var(self, name: str, shape: Shape, indexed: bool) -> Var:
        return Var(name, (), self.lattice.indices if indexed else (), *shape)

    def _append_loss(self, rhs: Node) -> None:
        var = self._var(LOSS, SCALAR, True)
        self.variables[LOSS] = Variable(var, "state", True)
        self.equations[LOSS] = Equation(var, rhs)


def _unique(source: Source, statements: list[ast.Assign], declarations: _Declarations) -> None:
    """Raises `SystemError_` where a left-hand side has a name that is taken."""
    seen = {name: f"among the {kind}s" for kind, names in declarations.kinds.items() for name in names}
    if LOSS in seen:
        raise DeriveError(f"{LOSS} is the name of the loss; call the one {seen[LOSS]} something else")
    for statement in statements:
        name = target_name(statement)
        if name == LOSS:
            raise SystemError_(f"{LOSS} is the name of the loss; write it as loss='…'", source.place(statement))
        if name in seen:
            raise SystemError_(f"{name} is defined twice, here and {seen[name]}", source.place(statement))
        seen[name] = "by an equation before"
    for name in seen:
        base, _, mark = name.rpartition("_")
        if mark in MARKS and base in seen:
            raise DeriveError(f"{name} is the name of the {MARKS[mark]} of {base}; call it something else")


def _last_states(equations: Mapping[str, Equation]) -> tuple[str, ...]:
    """The outputs where none are named: the states that no other equation reads at the same point, the loss aside."""
    names = [n for n in equations if n != LOSS]
    read = {v.name for n in names for v in expr.variables(equations[n].rhs) if v.index == equations[n].target.index}
    return tuple(n for n in names if n not in read) or (names[-1],)


def _boundaries(chosen: Mapping[str, str], names: Sequence[str], lattice: Lattice) -> dict[str, str]:
    for name, kind in chosen.items():
        if name not in names:
            near = did_you_mean(name, names)
            raise DeriveError(f"a boundary value is chosen for {name}, which is no state or input{near}")
        if kind not in BOUNDARIES:
            raise DeriveError(f"the boundary values of {name} are {', '.join(BOUNDARIES)}; found {kind!r}")
    default = "given" if lattice.dimension == 1 else "zero"
    return {name: chosen.get(name, default) for name in names}


def _with_abstract_loss(parts: Parts) -> Parts:
    """`L[t] = Σ <cotangent of h, h[t]>` over the outputs: its gradient is the cotangent, whatever the loss may be."""
    variables, equations = dict(parts.variables), dict(parts.equations)
    terms = []
    for output in parts.outputs:
        var = variables[output].var
        cotangent = var.marked("ct")
        variables[cotangent.name] = Variable(cotangent, "cotangent", True)
        terms.append(expr.inner(cotangent, var))
    loss = Var(LOSS, (), parts.lattice.indices, *SCALAR)
    variables[LOSS] = Variable(loss, "state", True)
    equations[LOSS] = Equation(loss, expr.add(*terms))
    return replace(parts, variables=variables, equations=equations)
