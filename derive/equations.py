"""Equations in NumPy's operators, read from text: never executed, every error with its line and column."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import NoReturn

from sympy import Expr, Rational, Symbol

from derive import clipping, expr, functions
from derive.errors import Place, ShapeError, SystemError_, did_you_mean
from derive.expr import Node, Var
from derive.shapes import ONE, Juxtapose

BUILTINS = {"diag": 1, "sum": 1, **dict.fromkeys(clipping.CALLS, 2)}
"""What a call may name beside the rows of `derive.functions`, with its number of arguments."""
LARGEST = 64
"""The largest offset of a read, since each one up to it has a boundary value, and the largest exponent."""
QUOTED = 60
"""How many characters of a formula an error repeats."""


@dataclass(frozen=True)
class Source:
    """A text, its margin taken off, and where it stands: its first line in `file`, and what stands before each line.

    A system is read through four of its methods only, `statements`, `expression`, `place` and `quote`: equations of
    another language come in through a subclass that answers these.
    """

    text: str
    file: str
    first_line: int
    margins: tuple[int, ...]

    @classmethod
    def located(cls, text: str, file: str, line: int, name: str) -> Source:
        """The text in the file that makes a system at `line`; one that stands nowhere there is placed in `name`."""
        lines = text.splitlines()
        # The first line may follow the quotes, as in a docstring: its margin is its own.
        margin = min((_margin(line) for line in lines[1:] if line.strip()), default=0)
        margins = [_margin(text), *(margin for _ in lines[1:])]
        body = "\n".join(line[cut:] for line, cut in zip(lines, margins, strict=False))
        linecache.checkcache(file)
        before = _before(text, linecache.getlines(file), line)
        if before is None:
            return cls(body, name, 1, tuple(margins))
        margins[0] += len(before) - before.rfind("\n") - 1
        return cls(body, file, before.count("\n") + 1, tuple(margins))

    def place(self, node: ast.AST) -> Place:
        if not hasattr(node, "lineno"):
            return Place(self.file, self.first_line, 1)
        line, column = node.lineno, getattr(node, "col_offset", 0)
        typed = self.text.split("\n")[line - 1].encode()[:column].decode(errors="replace")  # Python counts bytes
        return self._at(line, len(typed))

    def _at(self, line: int, column: int) -> Place:
        line = min(line, len(self.margins))
        return Place(self.file, self.first_line + line - 1, self.margins[line - 1] + column + 1)

    def quote(self, node: ast.AST) -> str:
        """The node as it was typed, on one line."""
        return _shortened(ast.get_source_segment(self.text, node) or ast.unparse(node))

    def statements(self) -> list[ast.Assign]:
        """The equations as assignments.  Raises `SystemError_` where the text is no list of `name[t] = expression`."""
        body = self._parse("equation", "h[t] = tanh(W @ h[t-1] + b)").body
        for statement in body:
            simple = isinstance(statement, ast.Assign) and len(statement.targets) == 1
            if not simple or not _is_indexed(statement.targets[0]):  # type: ignore[attr-defined]
                law = "an equation has the form name[t] = expression"
                raise SystemError_(f"{law}, found '{self.quote(statement)}'", self.place(statement))
        return body  # type: ignore[return-value]

    def expression(self) -> ast.expr:
        """A single expression, as a loss is written."""
        body = self._parse("loss", "cross_entropy(o[t], y[t])").body
        if len(body) != 1 or not isinstance(body[0], ast.Expr):
            law = "a loss is one expression, such as cross_entropy(o[t], y[t])"
            raise SystemError_(f"{law}, found '{_shortened(self.text)}'", self._at(1, 0))
        return body[0].value

    def _parse(self, what: str, example: str) -> ast.Module:
        try:
            return ast.parse(self.text)
        except SyntaxError as error:
            place, found = self._at(error.lineno or 1, (error.offset or 1) - 1), _shortened(error.text or "")
            raise SystemError_(f"this is no {what} ({error.msg}): '{found}'; write it like {example}", place) from None
        except (MemoryError, RecursionError):
            raise SystemError_(f"this {what} is nested too deeply; give its parts names", self._at(1, 0)) from None
        except ValueError as error:
            raise SystemError_(f"this is no {what} ({error}); write it like {example}", self._at(1, 0)) from None


def _shortened(typed: str) -> str:
    typed = " ".join(typed.split())
    return typed if len(typed) <= QUOTED else typed[: QUOTED - 1] + "…"


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


def _before(text: str, lines: list[str], line: int) -> str | None:
    """What stands in a file before the text: where it first stands from `line` on, or else above."""
    whole = "".join(lines)
    start = whole.find(text, sum(map(len, lines[: line - 1])))
    start = start if start >= 0 else whole.rfind(text)
    return whole[:start] if start >= 0 and text.strip() else None


def _is_indexed(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)


def index_elements(node: ast.Subscript) -> list[ast.expr]:
    return list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]


def target_name(statement: ast.Assign) -> str:
    return statement.targets[0].value.id  # type: ignore[attr-defined]


def lattice_names(source: Source, statements: list[ast.Assign]) -> tuple[str, ...]:
    """The index names that all left-hand sides share: `("t",)`."""
    found: tuple[str, ...] | None = None
    for statement in statements:
        target = statement.targets[0]
        elements = index_elements(target)  # type: ignore[arg-type]
        names = tuple(e.id for e in elements if isinstance(e, ast.Name))
        if len(names) < len(elements):
            law = "a left-hand side stands at the plain index, as in h[t]: shift the whole equation"
        elif len(set(names)) < len(names) or not all(map(str.islower, names)):
            law = "indices are different lower-case names, as in h[i,j]"
        elif found is not None and names != found:
            law = f"all equations live on one lattice, here [{','.join(found)}]"
        else:
            found = names
            continue
        raise SystemError_(f"{law}; found '{source.quote(target)}'", source.place(target))
    if found is None:
        raise SystemError_("a system needs at least one equation", source.place(ast.Module([], [])))
    return found


class Checker(ast.NodeVisitor):
    """Walks a right-hand side: only the operators of equations, only known names, indices at constant offsets."""

    def __init__(
        self, source: Source, indices: tuple[str, ...], indexed: set[str], plain: set[str], unknowns: set[str]
    ):
        self.source, self.indices, self.indexed, self.plain, self.unknowns = source, indices, indexed, plain, unknowns
        self.target = ""
        self.read: set[str] = set()

    def equation(self, statement: ast.Assign) -> None:
        self.target = target_name(statement)
        self.visit(statement.value)

    def loss(self, source: Source, tree: ast.expr) -> None:
        self.source, self.target = source, ""
        self.visit(tree)

    def fail(self, node: ast.AST, message: str) -> NoReturn:
        raise SystemError_(message, self.source.place(node))

    def undefined(self, node: ast.AST, name: str) -> NoReturn:
        alike, others = (self.indexed, self.plain) if isinstance(node, ast.Subscript) else (self.plain, self.indexed)
        near = did_you_mean(name, sorted(alike)) or did_you_mean(name, sorted(others))
        self.fail(node, f"{name} is not defined{near}; give it an equation or list it among the inputs or parameters")

    def point(self, shift: int = 0) -> str:
        """The canonical point as it is typed, moved along the first axis."""
        return ",".join([f"{self.indices[0]}{shift:+d}" if shift else self.indices[0], *self.indices[1:]])

    def generic_visit(self, node: ast.AST) -> NoReturn:
        typed = self.source.quote(node)
        self.fail(node, f"'{typed}' has no meaning in an equation; use + - * / @ ** .T, names, numbers and functions")

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)) or not isfinite(node.value):
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self.indexed:
            self.fail(node, f"{node.id} needs an index here: {node.id}[{self.point()}]")
        if node.id in self.indices:
            self.fail(node, f"{node.id} is an index and has no value in an equation; read it from an input")
        if node.id not in self.plain:
            self.undefined(node, node.id)
        self.read.add(node.id)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.value, ast.Name):
            self.generic_visit(node)
        name = node.value.id
        if name in self.plain:
            self.fail(node, f"{name} is a parameter and has no index; write {name}, or list it among the inputs")
        if name not in self.indexed:
            self.undefined(node, name)
        self.read.add(name)
        if not any(self.offset(node)) and name == self.target:
            self.fail(node, f"{name}[{self.point()}] is defined by itself; did you mean {name}[{self.point(-1)}]?")

    def offset(self, node: ast.Subscript) -> tuple[int, ...]:
        elements = index_elements(node)
        if len(elements) != len(self.indices):
            count = f"{len(self.indices)} ind{'ices' if len(self.indices) > 1 else 'ex'}"
            self.fail(node, f"'{self.source.quote(node)}' needs {count}: [{self.point()}]")
        return tuple(self._one_offset(e, i, node) for e, i in zip(elements, self.indices, strict=True))

    def _one_offset(self, element: ast.expr, index: str, node: ast.Subscript) -> int:
        if isinstance(element, ast.Name) and element.id == index:
            return 0
        if (
            isinstance(element, ast.BinOp)
            and isinstance(element.op, (ast.Add, ast.Sub))
            and isinstance(element.left, ast.Name)
            and element.left.id == index
            and isinstance(element.right, ast.Constant)
            and isinstance(element.right.value, int)
        ):
            if element.right.value > LARGEST:
                self.fail(node, f"'{self.source.quote(node)}' is read too far away: offsets go up to {LARGEST}")
            return element.right.value if isinstance(element.op, ast.Add) else -element.right.value
        typed = self.source.quote(node)
        if isinstance(element, ast.Constant):
            self.fail(node, f"'{typed}' is read at a fixed point; a read at {index}-1 brings in the boundary value")
        self.fail(node, f"'{typed}' is read at an index that is not {index} plus or minus a number")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Pow):
            exponent = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
            whole = isinstance(exponent, ast.Constant) and isinstance(exponent.value, int)
            if not whole or exponent.value > LARGEST:  # type: ignore[attr-defined]
                law = f"an exponent is a whole number up to {LARGEST}; write exp(b * log(a)) or sqrt(a)"
                self.fail(node, f"{law}, found '{self.source.quote(node)}'")
            self.visit(node.left)
        elif isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.MatMult)):
            self.visit(node.left)
            self.visit(node.right)
            if isinstance(node.op, ast.Div) and isinstance(node.right, ast.Constant) and not node.right.value:
                self.fail(node, f"'{self.source.quote(node)}' divides by zero")
        else:
            self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if not isinstance(node.op, (ast.USub, ast.UAdd)):
            self.generic_visit(node)
        self.visit(node.operand)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr != "T":
            self.generic_visit(node)
        self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        known = [*functions.TABLE, *BUILTINS, *sorted(self.unknowns)]
        if isinstance(node.func, ast.Attribute) and node.func.attr in known:
            self.fail(node, f"{self.source.quote(node.func)} is written without its module: {node.func.attr}")
        if not isinstance(node.func, ast.Name) or node.keywords:
            self.generic_visit(node)
        name = node.func.id
        if name in self.indexed:
            inside = ",".join(map(self.source.quote, node.args))
            self.fail(node, f"{name} is not a function; did you mean {name}[{inside}]?")
        if name not in known:
            near = did_you_mean(name, known)
            unknown = "one without a formula is listed in unknown_functions"
            self.fail(node, f"{name} is not a function that derive knows{near}; {unknown}")
        arity = BUILTINS.get(name) or functions.row(name).arity
        if len(node.args) != arity:
            self.fail(node, f"{name} takes {arity} argument{'s' if arity > 1 else ''}, found {len(node.args)}")
        for argument in node.args:
            self.visit(argument)


class Builder:
    """From a checked right-hand side and the shapes of its names to a node."""

    def __init__(
        self,
        indices: tuple[Symbol, ...],
        shapes: Mapping[str, tuple[Expr, Expr]],
        offset: Callable[[ast.Subscript], tuple[int, ...]],
    ):
        self.indices, self.shapes, self.offset = indices, shapes, offset

    def node(self, tree: ast.expr, shape: tuple[Expr, Expr]) -> Node:
        return expr.as_node(self.build(tree), shape)

    def build(self, tree: ast.expr) -> Node | Rational:
        """A node, or a plain number."""
        if isinstance(tree, ast.Constant):
            return Rational(str(tree.value))
        if isinstance(tree, ast.Name):
            return Var(tree.id, (), (), *self.shapes[tree.id])
        if isinstance(tree, ast.Subscript):
            name = tree.value.id  # type: ignore[attr-defined]
            index = tuple(i + o if o else i for i, o in zip(self.indices, self.offset(tree), strict=True))
            return Var(name, (), index, *self.shapes[name])
        if isinstance(tree, ast.UnaryOp):
            value = self.build(tree.operand)
            return -value if isinstance(tree.op, ast.USub) else value
        if isinstance(tree, ast.Attribute):
            return expr.transpose(self._as_node(tree.value))
        if isinstance(tree, ast.Call):
            return self._call(tree)
        assert isinstance(tree, ast.BinOp)
        return self._binary(tree)

    def _as_node(self, tree: ast.expr) -> Node:
        return expr.as_node(self.build(tree), (ONE, ONE))

    def _call(self, tree: ast.Call) -> Node:
        name = tree.func.id  # type: ignore[attr-defined]
        arguments = [self.build(a) for a in tree.args]
        if name in clipping.CALLS:
            g, c = map(expr.as_node, arguments, ((ONE, ONE),) * 2)
            return clipping.CALLS[name].node(g, c)
        shapes = [a.shape for a in arguments if isinstance(a, Node)]
        shape = next((s for s in shapes if s != (ONE, ONE)), (ONE, ONE))
        nodes = [expr.as_node(a, shape) for a in arguments]
        if name == "diag":
            return expr.diag(nodes[0])
        if name == "sum":
            return expr.entries_sum(nodes[0])
        return expr.apply(name, *nodes)

    def _binary(self, tree: ast.BinOp) -> Node | Rational:
        left, right = self.build(tree.left), self.build(tree.right)
        if isinstance(tree.op, Juxtapose):
            return juxtaposed(left, right)
        if isinstance(tree.op, ast.MatMult):
            return expr.mul(expr.as_node(left, (ONE, ONE)), expr.as_node(right, (ONE, ONE)))
        if isinstance(tree.op, ast.Pow):
            return left**right
        if isinstance(tree.op, ast.Mult):
            return left * right
        if isinstance(tree.op, ast.Div):
            if isinstance(left, Node) or not isinstance(right, Node):
                return left / right
            return expr.scale(left, expr.power(right, -1))
        if isinstance(right, Node) and isinstance(left, Node) and expr.is_scalar(left):
            left = expr.as_node(left, right.shape)
        return left + right if isinstance(tree.op, ast.Add) else left - right


def juxtaposed(left: Node | Rational, right: Node | Rational) -> Node | Rational:
    """The product of two factors side by side: by a scalar, of matrices, or entrywise of two columns of equal shape.

    Raises `ShapeError` where the shapes allow none of the three.
    """
    if not (isinstance(left, Node) and isinstance(right, Node)) or expr.is_scalar(left) or expr.is_scalar(right):
        return left * right
    if left.shape[1] == right.shape[0]:
        return expr.mul(left, right)
    if expr.is_column(left) and left.shape == right.shape:
        return expr.had(left, right)
    found = f"{expr.show_shape(left.shape)} and {expr.show_shape(right.shape)}"
    raise ShapeError(f"a matrix product needs inner dimensions that agree, found {found}; did you mean a transpose .T?")
