"""A function as an algorithm in LaTeX: latexify's algorithmic mode, a statement a line, long sums and lists on several."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence

from latexify.codegen.algorithmic_codegen import IPythonAlgorithmicCodegen
from latexify.transformers import AugAssignReplacer, DocstringRemover

from derive.emit.algorithm import Routine
from derive.expr import Var
from derive.notation import LATEX, Notation
from derive.printing import index_string, latex, visible
from derive.render.latexified import PRODUCT, Formulas

WIDTH = 78
"""How many visible characters go on a line before a sum or a list is broken."""


def lines(routine: Routine, notation: Notation) -> tuple[str, ...]:
    """The algorithm, one fragment a line, indented by `\\hspace`."""
    tree: ast.AST = ast.parse(routine.source)
    for transformer in (AugAssignReplacer(), DocstringRemover()):
        tree = transformer.visit(tree)
    begin, end = r"\begin{array}{l} ", r" \end{array}"
    whole = Algorithmic(routine, notation).visit(tree)
    return tuple(whole.removeprefix(begin).removesuffix(end).split(Algorithmic._LINE_BREAK))


class Algorithmic(IPythonAlgorithmicCodegen):
    """latexify's algorithm; long sums and lists go on over several lines."""

    def __init__(self, routine: Routine, notation: Notation):
        super().__init__()
        self.routine = routine
        self._expression_codegen: Formulas = Formulas(routine, notation)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> str:
        names = [self._name(argument.arg, self.routine.starts) for argument in node.args.args]
        head = rf"\mathbf{{function}} \ \mathrm{{{node.name}}}("
        header = self._list(head, names, ")")
        with self._increment_level():
            body = [self.visit(statement) for statement in node.body]
        rows = [*header, *body, self._add_indent(r"\mathbf{end \ function}")]
        return rf"\begin{{array}}{{l}} {self._LINE_BREAK.join(rows)} \end{{array}}"

    def visit_For(self, node: ast.For) -> str:
        assert isinstance(node.iter, ast.Call)
        first, last, *downwards = map(self._expression_codegen.step, node.iter.args)
        last = last + 1 if downwards else last - 1
        span = rf"{index_string((first,), LATEX)}, \dots, {index_string((last,), LATEX)}"
        head = rf"\mathbf{{for}} \ {self._expression_codegen.visit(node.target)} = {span} \ \mathbf{{do}}"
        with self._increment_level():
            body = [self.visit(statement) for statement in node.body]
        rows = [self._add_indent(head), *body, self._add_indent(r"\mathbf{end \ for}")]
        return self._LINE_BREAK.join(rows)

    def visit_Assign(self, node: ast.Assign) -> str:
        (target,) = node.targets
        made = node.value.elt if isinstance(node.value, ast.GeneratorExp) else node.value
        if isinstance(made, ast.Call) and isinstance(target, (ast.Name, ast.Tuple)):
            return self._declaration(target, made)
        head = rf"{self._expression_codegen.visit(target)} \gets "
        return self._LINE_BREAK.join(self._sum(head, node.value))

    def _declaration(self, target: ast.Name | ast.Tuple, made: ast.Call) -> str:
        """Trajectories and totals, zero at first."""
        names = [t for t in (target.elts if isinstance(target, ast.Tuple) else [target]) if isinstance(t, ast.Name)]
        indices = next((v.index for n in names for v in [self.routine.variables[n.id]] if v.index), ())
        of_steps = ast.unparse(made.func) == "Trajectory"
        if of_steps:
            indices = self.routine.indices
        written = [latex(self.routine.variables[n.id].at(indices), self._expression_codegen.notation) for n in names]
        shape = self.routine.variables[names[0].id].shape
        size = r" \times ".join(index_string((n,), LATEX) for n in shape if n != 1)
        space = rf" \gets 0 \in \mathbb{{R}}{f'^{{{size}}}' if size else ''}"
        every = rf" \text{{ for every }} {index_string(indices, LATEX)}" if of_steps else ""
        return self._LINE_BREAK.join(self._list("", written, f"{space}{every}"))

    def visit_Return(self, node: ast.Return) -> str:
        assert isinstance(node.value, (ast.Name, ast.Tuple))  # all that `derive.emit.algorithm` returns
        given = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        names = [self._name(name.id, self.routine.reached) for name in given if isinstance(name, ast.Name)]
        return self._LINE_BREAK.join(self._list(r"\mathbf{return} \ ", names, ""))

    def _name(self, name: str, borders: Mapping[str, tuple[Var, ...]]) -> str:
        """A name; a trajectory that is given, or returned, for its boundary values is written as these."""
        if name in borders:
            return ", ".join(latex(var, self._expression_codegen.notation) for var in borders[name])
        return self._expression_codegen.visit(ast.Name(name))

    # --- lines --------------------------------------------------------------------------------------------------------

    def _sum(self, head: str, value: ast.expr) -> list[str]:
        """`head` and a value; a sum that is too long is broken before its signs."""
        whole = head + self._expression_codegen.value(value)
        if visible(whole) <= WIDTH or not isinstance(value, ast.BinOp):
            return [self._add_indent(whole)]
        return self._rows(head, list(self._terms(value)), "")

    def _terms(self, value: ast.expr) -> Iterable[str]:
        """The terms of a sum, each with its sign; the right side of a `+` may be a sum itself."""
        formulas = self._expression_codegen
        if not isinstance(value, ast.BinOp) or not isinstance(value.op, (ast.Add, ast.Sub)):
            yield formulas.value(value)
            return
        yield from self._terms(value.left)
        if isinstance(value.op, ast.Sub):
            yield f"{{}} - {formulas.operand(value.right, PRODUCT)}"
        else:
            first, *rest = self._terms(value.right)
            yield f"{{}} + {formulas.bracketed(first) if first.startswith('-') else first}"
            yield from rest

    def _list(self, head: str, words: Sequence[str], tail: str) -> list[str]:
        return self._rows(head, [f"{word}, " for word in words[:-1]] + [*words[-1:]], tail)

    def _rows(self, head: str, parts: Sequence[str], tail: str) -> list[str]:
        rows, width = [head], visible(head)
        for part in parts:
            if width + visible(part) > WIDTH and rows[-1] != head:
                rows.append("")
                width = 0
            rows[-1] += part if rows[-1].endswith((" ", "(")) or not rows[-1] else f" {part.removeprefix('{} ')}"
            width += visible(part)
        rows[-1] += tail
        first, *rest = (row.rstrip() for row in rows)
        start = self._add_indent(first)
        with self._increment_level(), self._increment_level():
            return [start, *map(self._add_indent, rest)]
