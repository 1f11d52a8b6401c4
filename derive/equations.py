"""Equations in NumPy's operators, read from text: never executed, every error with its line and column."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from textwrap import dedent

from sympy import Expr, Rational, Symbol

from derive import expr, functions
from derive.errors import Place, SystemError_, did_you_mean
from derive.expr import Node, Var
from derive.shapes import ONE

BUILTINS = ("diag", "sum")


@dataclass(frozen=True)
class Source:
    """The text of a system and where it stands, so that errors can point at it."""

    text: str
    file: str = "<equations>"
    first_line: int = 1
    indent: int = 0

    def place(self, node: ast.AST) -> Place:
        return Place(self.file, getattr(node, "lineno", 1) + self.first_line - 1, getattr(node, "col_offset", 0) + self.indent + 1)

    def statements(self) -> list[ast.Assign]:
        """The equations as assignments.  Raises `SystemError_` where the text is not a list of `name[index] = expression`."""
        text = dedent(self.text)
        try:
            body = ast.parse(text).body
        except SyntaxError as error:
            place = Place(self.file, (error.lineno or 1) + self.first_line - 1, (error.offset or 1) + self.indent)
            line = (error.text or "").strip()
            raise SystemError_(f"this is not an equation ({error.msg}): '{line}'; write h[t] = tanh(W @ h[t-1] + b)", place) from None
        for statement in body:
            simple = isinstance(statement, ast.Assign) and len(statement.targets) == 1
            if not simple or not _is_indexed(statement.targets[0]):  # type: ignore[union-attr]
                raise SystemError_(
                    f"an equation has the form name[t] = expression, found '{ast.unparse(statement)}'", self.place(statement)
                )
        return body  # type: ignore[return-value]

    def expression(self) -> ast.expr:
        """A single expression, as a loss is written."""
        try:
            return ast.parse(self.text.strip(), mode="eval").body
        except SyntaxError as error:
            raise SystemError_(f"this is not an expression ({error.msg}): '{self.text.strip()}'", Place(self.file, self.first_line, error.offset or 1)) from None


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
        if not all(isinstance(e, ast.Name) for e in elements):
            raise SystemError_(f"the left-hand side stands at the plain index, as in h[t], found '{ast.unparse(target)}'", source.place(target))
        names = tuple(e.id for e in elements)  # type: ignore[attr-defined]
        if found is not None and names != found:
            raise SystemError_(
                f"all equations live on one lattice [{', '.join(found)}], found '{ast.unparse(target)}'", source.place(target)
            )
        found = names
    if found is None:
        raise SystemError_("a system needs at least one equation", Place(source.file, source.first_line, 1))
    return found


class Checker(ast.NodeVisitor):
    """Walks a parsed right-hand side: only the operators of equations, only names that are known, indices at constant offsets."""

    def __init__(self, source: Source, indices: tuple[str, ...], indexed: set[str], plain: set[str], unknowns: set[str]):
        self.source, self.indices, self.indexed, self.plain, self.unknowns = source, indices, indexed, plain, unknowns
        self.reads: list[tuple[str, tuple[int, ...]]] = []

    def fail(self, node: ast.AST, message: str) -> None:
        raise SystemError_(message, self.source.place(node))

    def generic_visit(self, node: ast.AST) -> None:
        self.fail(node, f"'{ast.unparse(node)}' has no meaning in an equation; use + - * / @ ** .T, names, numbers and functions")

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self.indexed:
            self.fail(node, f"{node.id} needs an index here: {node.id}[{', '.join(self.indices)}]")
        if node.id not in self.plain:
            self.fail(node, f"{node.id} is not defined{did_you_mean(node.id, self.plain | self.indexed)}; give it an equation or list it among the inputs or parameters")

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.value, ast.Name):
            return self.generic_visit(node)
        name = node.value.id
        if name in self.plain:
            self.fail(node, f"{name} is a parameter and has no index; write {name}, or list it among the inputs")
        if name not in self.indexed:
            self.fail(node, f"{name} is not defined{did_you_mean(name, self.plain | self.indexed)}; give it an equation or list it among the inputs or parameters")
        self.reads.append((name, self.offset(node)))
        return None

    def offset(self, node: ast.Subscript) -> tuple[int, ...]:
        elements = index_elements(node)
        if len(elements) != len(self.indices):
            self.fail(node, f"'{ast.unparse(node)}' needs {len(self.indices)} indices [{', '.join(self.indices)}]")
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
            return element.right.value if isinstance(element.op, ast.Add) else -element.right.value
        self.fail(node, f"'{ast.unparse(node)}' is read at an index that is not {index} plus or minus a number")
        raise AssertionError

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Pow):
            if not (isinstance(node.right, ast.Constant) and isinstance(node.right.value, int)):
                self.fail(node, f"'{ast.unparse(node)}': only integer powers, entry by entry")
            self.visit(node.left)
        elif isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.MatMult)):
            self.visit(node.left)
            self.visit(node.right)
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
        if not isinstance(node.func, ast.Name) or node.keywords:
            self.generic_visit(node)
        name = node.func.id  # type: ignore[attr-defined]
        if name not in functions.TABLE and name not in BUILTINS and name not in self.unknowns:
            known = [*functions.TABLE, *BUILTINS, *self.unknowns]
            self.fail(node, f"{name} is not a function that derive knows{did_you_mean(name, known)}; a function without a formula is listed in unknown_functions")
        arity = 1 if name in BUILTINS else functions.row(name).arity
        if len(node.args) != arity:
            self.fail(node, f"{name} takes {arity} argument{'s' if arity > 1 else ''}, found {len(node.args)}")
        for argument in node.args:
            self.visit(argument)


class Builder:
    """From a checked right-hand side and the shapes of its names to a node."""

    def __init__(self, indices: tuple[Symbol, ...], shapes: Mapping[str, tuple[Expr, Expr]], offset: Callable[[ast.Subscript], tuple[int, ...]]):
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
            index = tuple(i + o for i, o in zip(self.indices, self.offset(tree), strict=True))
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
        shape = next((a.shape for a in arguments if isinstance(a, Node)), (ONE, ONE))
        nodes = [expr.as_node(a, shape) for a in arguments]
        if name == "diag":
            return expr.diag(nodes[0])
        if name == "sum":
            return expr.entries_sum(nodes[0])
        return expr.apply(name, *nodes)

    def _binary(self, tree: ast.BinOp) -> Node | Rational:
        left, right = self.build(tree.left), self.build(tree.right)
        if isinstance(tree.op, ast.MatMult):
            return expr.mul(expr.as_node(left, (ONE, ONE)), expr.as_node(right, (ONE, ONE)))
        if isinstance(tree.op, ast.Pow):
            return left**right
        if isinstance(tree.op, ast.Mult):
            return left * right
        if isinstance(tree.op, ast.Div):
            return left / right if isinstance(left, Node) or not isinstance(right, Node) else expr.scale(left, expr.power(right, -1))
        if isinstance(right, Node) and isinstance(left, Node) and expr.is_scalar(left):
            left = expr.as_node(left, right.shape)
        return left + right if isinstance(tree.op, ast.Add) else left - right
