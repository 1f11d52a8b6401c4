r"""Python expressions in LaTeX: latexify's, with the operators and names of linear algebra.

latexify prints `W @ (d * g)`, `(W @ d) * g` and `W * (d @ g)` all as `W d g`.  Here `@` stands side by side, `*` of matrices is
the Hadamard product, `.T` a transpose, and every operand that is a product of the other kind keeps its brackets.  Names, indices,
transposes and squares are printed by `derive.printing`, so that they look as in the derivation.

Importing this module needs latexify; `derive.render.pseudocode` does so when an algorithm is asked for.
"""

from __future__ import annotations

import ast

from latexify.codegen.expression_codegen import ExpressionCodegen
from sympy import Expr, Integer

from derive import functions
from derive.emit.algorithm import Routine
from derive.emit.columns import SOURCES
from derive.expr import Identity, Ones, Power, Transpose, Var, Zero
from derive.notation import LATEX, Notation
from derive.printing import index_string, latex

SUM, PRODUCT, ATOM = range(3)

FIELD = {"diag": r"\mathrm{diag}(@)", "diagonal": r"\mathrm{diagonal}(@)", "inner": r"\langle @ \rangle"}
CONSTANTS = {"np.zeros": Zero, "np.ones": Ones, "np.eye": lambda n, _: Identity(n)}


class Formulas(ExpressionCodegen):
    """latexify's expressions; every value is a matrix whose shape is known, since all names have one."""

    def __init__(self, routine: Routine, notation: Notation):
        super().__init__()
        self.routine, self.notation = routine, notation

    def value(self, node: ast.expr) -> str:
        """What stands to the right of an arrow: a comparison is 1 or 0 there, and has brackets."""
        return self.operand(node, SUM)

    # --- names ------------------------------------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> str:
        var = self.var(node)
        if var is not None:
            return latex(var, self.notation)
        if node.id in self.routine.symbols:
            return index_string((self.routine.symbols[node.id],), LATEX)
        return super().visit_Name(node)

    def visit_Subscript(self, node: ast.Subscript) -> str:
        var = self.var(node)
        return latex(var, self.notation) if var is not None else super().visit_Subscript(node)

    def visit_Attribute(self, node: ast.Attribute) -> str:
        if node.attr != "T":
            return super().visit_Attribute(node)
        var = self.var(node.value)
        if var is not None:
            return latex(Transpose(var), self.notation)
        return f"{self.bracketed(self.visit(node.value))}^{{{self.notation.transpose}}}"

    def var(self, node: ast.expr) -> Var | None:
        """The variable that a name, or a name at an index, stands for."""
        if isinstance(node, ast.Name):
            return self.routine.variables.get(node.id)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            var = self.routine.variables.get(node.value.id)
            index = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return var.at(map(self.step, index)) if var is not None else None
        return None

    def step(self, node: ast.expr) -> Expr:
        """An index expression as the number that it is: `t + 1`, `T`, `-1`."""
        if isinstance(node, ast.Constant):
            return Integer(node.value)
        if isinstance(node, ast.UnaryOp):
            return -self.step(node.operand)
        if isinstance(node, ast.BinOp):
            left, right = self.step(node.left), self.step(node.right)
            return left + right if isinstance(node.op, ast.Add) else left - right
        assert isinstance(node, ast.Name), ast.dump(node)
        return self.routine.symbols[node.id]

    # --- operators --------------------------------------------------------------------------------------------------

    def visit_BinOp(self, node: ast.BinOp) -> str:
        if isinstance(node.op, (ast.Add, ast.Sub)):
            return self.sum(node)
        if isinstance(node.op, ast.Pow):
            return self.power(node)
        if isinstance(node.op, ast.Div):
            return self.quotient(node)
        left, right = node.left, node.right
        first = self.factor(left, node, first=True)
        last = self.factor(right, node, first=False)
        return f"{first}{self.between(node, first, last)}{last}"

    def sum(self, node: ast.BinOp) -> str:
        left = self.operand(node.left, SUM)
        subtracted = isinstance(node.op, ast.Sub)
        right = self.operand(node.right, PRODUCT if subtracted else SUM)
        right = self.bracketed(right) if right.startswith("-") else right
        return f"{left} {'-' if subtracted else '+'} {right}"

    def factor(self, operand: ast.expr, product: ast.BinOp, first: bool) -> str:
        """An operand of a product: one of the same kind on its left needs no brackets, any other product does."""
        chained = first and isinstance(operand, ast.BinOp) and self.kind(operand) == self.kind(product)
        if chained:
            return self.visit(operand)
        written = self.operand(operand, ATOM)
        swallows = written.startswith((r"\nabla", r"\partial"))
        return self.bracketed(written) if swallows else written

    def between(self, product: ast.BinOp, first: str, last: str) -> str:
        if self.kind(product) == r"\odot":
            return f" {self.notation.hadamard} "
        if last[:1].isdigit() or (first[-1:].isdigit() and last.startswith(r"\frac")):
            return r" \cdot "
        return r" \, " if last.startswith(("(", r"\left(")) or first.endswith(")") else " "

    def kind(self, node: ast.BinOp) -> str:
        """The sign of a product: none for `@`, and for `*` where one side is a number or a scalar."""
        if isinstance(node.op, ast.MatMult):
            return "@"
        if not isinstance(node.op, ast.Mult):
            return ""
        return "scalar" if any(self.is_scalar(side) for side in (node.left, node.right)) else r"\odot"

    def operand(self, node: ast.expr, level: int) -> str:
        if isinstance(node, ast.Compare):
            return f"[{self.visit(node)}]"
        written = self.visit(node)
        return written if self.level(node) >= level else self.bracketed(written)

    def level(self, node: ast.expr) -> int:
        if isinstance(node, ast.UnaryOp):
            return SUM
        if isinstance(node, ast.BinOp):
            if isinstance(node.op, (ast.Add, ast.Sub)):
                return SUM
            return PRODUCT if isinstance(node.op, (ast.Mult, ast.MatMult)) or self.is_matrix(node) else ATOM
        return ATOM

    def visit_UnaryOp(self, node: ast.UnaryOp) -> str:
        written = self.operand(node.operand, PRODUCT)
        return f"-{self.bracketed(written) if written.startswith('-') else written}"

    def power(self, node: ast.BinOp) -> str:
        var = self.var(node.left)
        exponent = self.step(node.right)
        if var is not None:
            return latex(Power(var, exponent), self.notation)
        sign = "" if self.notation.power == "plain" and not self.is_matrix(node.left) else f"{self.notation.hadamard} "
        return f"{self.bracketed(self.visit(node.left))}^{{{sign}{exponent}}}"

    def quotient(self, node: ast.BinOp) -> str:
        if self.is_matrix(node):
            return f"{self.factor(node.left, node, first=False)} \\oslash {self.factor(node.right, node, first=False)}"
        return rf"\frac{{{self.value(node.left)}}}{{{self.value(node.right)}}}"

    @staticmethod
    def bracketed(written: str) -> str:
        return rf"\left( {written} \right)" if r"\frac" in written else f"({written})"

    # --- shapes -----------------------------------------------------------------------------------------------------

    def shape(self, node: ast.expr) -> tuple[Expr, Expr]:
        """Rows and columns; a number is 1 x 1, since it stretches."""
        one = Integer(1), Integer(1)
        var = self.var(node)
        if var is not None:
            return var.shape
        if isinstance(node, ast.Attribute):
            rows, columns = self.shape(node.value)
            return columns, rows
        if isinstance(node, ast.UnaryOp):
            return self.shape(node.operand)
        if isinstance(node, ast.BinOp):
            left, right = self.shape(node.left), self.shape(node.right)
            return (left[0], right[1]) if isinstance(node.op, ast.MatMult) else right if left == one else left
        if isinstance(node, ast.Call):
            return self.shape_of_call(node)
        return one

    def shape_of_call(self, node: ast.Call) -> tuple[Expr, Expr]:
        name = ast.unparse(node.func)
        if name in CONSTANTS:
            sizes = node.args[0].elts if isinstance(node.args[0], ast.Tuple) else [node.args[0]] * 2
            return self.step(sizes[0]), self.step(sizes[1])
        rows, _ = self.shape(node.args[0])
        if name in FIELD:
            return {"diag": (rows, rows), "diagonal": (rows, Integer(1))}.get(name, (Integer(1), Integer(1)))
        row = functions.row(self.routine.functions[name][0])
        return (Integer(1), Integer(1)) if row.result == "scalar" else self.shape(node.args[0])

    def is_scalar(self, node: ast.expr) -> bool:
        return self.shape(node) == (1, 1)

    def is_matrix(self, node: ast.expr) -> bool:
        return 1 not in self.shape(node)

    # --- calls, conditions, numbers -----------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> str:
        name = ast.unparse(node.func)
        if name in CONSTANTS:
            return latex(CONSTANTS[name](*self.shape(node)), self.notation)
        arguments = ", ".join(map(self.value, node.args))
        if name in FIELD and name in SOURCES:
            return FIELD[name].replace("@", arguments)
        function, order = self.routine.functions[name]
        special = LATEX.special.get(function)
        if special and not order:
            return special.replace("@", arguments)
        return f"{functions.prime(functions.row(function).latex, order)}{self.bracketed(arguments)}"

    def visit_Compare(self, node: ast.Compare) -> str:
        signs = {ast.Eq: "=", ast.LtE: r"\le", ast.GtE: r"\ge"}
        parts = [index_string((self.step(node.left),), LATEX)]
        for operator, side in zip(node.ops, node.comparators, strict=True):
            parts += [signs[type(operator)], index_string((self.step(side),), LATEX)]
        return " ".join(parts)

    def visit_BoolOp(self, node: ast.BoolOp) -> str:
        return r" \text{ and } ".join(map(self.visit, node.values))

    def visit_Constant(self, node: ast.Constant) -> str:
        mantissa, _, exponent = str(node.value).partition("e")
        return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa
