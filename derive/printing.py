r"""Formulas as LaTeX fragments and as Unicode text: one walk, one rule per node type, two tables of glyphs.

`latex(node, notation)` and `text(node, notation)` print any node or statement.  A rule makes a `Fragment` from
the fragments of the node's children and the glyphs of `derive.notation.LATEX` or `TEXT`; nothing here recurses on
depth, so a formula that is thousands of levels deep prints too.

Brackets follow the levels below, tightest last.  A Hadamard product and a matrix product are always bracketed in one
another: `(W d) ⊙ g` and `W (d ⊙ g)`, whichever way a reader would bind them.  `∇_h L`, `Σ` and `∏` are *open*: they
would swallow what stands to their right, so they are bracketed unless they come last in a product.

Names.  `h_tilde`, `y_hat`, `c_bar` are accents, `f_prime` a prime, Greek names Greek letters; what else follows an
underscore is a subscript: `W_xi` is `W_{xi}`.  The index comes after the subscripts: `c_f[t]` is `c_{f,t}` or, with
superscript time, `c_f^{(t)}`; so the layer of a stacked cell is the first subscript, `h_1[t]` is `h_{1,t}` or
`h_1^{(t)}`.  (`h[1,t]` of a grid would print the same; a name has one number of indices within a system, so they do
not meet.)  An adjoint in bar notation is `\bar{h}_t`, and a variable whose own name has a bar is then `\overline{c}`;
several marks stack, the outermost derived last.  The entries of a name are its last subscripts: `h_{t,i}`, `W_{ij}`, `W_{h,ij}`;
of anything else they stand at brackets, `[W h_t]_i`.

A sum whose terms are labelled, or that is too long for a line, is set one term a line, in `aligned` or as lines of
text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeAlias
from unicodedata import normalize
from weakref import WeakKeyDictionary

import sympy
from sympy import Basic, Expr, Rational, Symbol, Tuple

from derive import functions
from derive.errors import DeriveError
from derive.expr import (
    SCALAR,
    Add,
    Apply,
    At,
    Block,
    Cases,
    Diag,
    Diagonal,
    Entry,
    Equals,
    Extremum,
    GradientOf,
    Had,
    Identity,
    Implies,
    Inner,
    Labelled,
    MatrixPower,
    Mul,
    Node,
    Norm,
    Ones,
    Otherwise,
    Partial,
    Path,
    Power,
    Product,
    Pulled,
    Relation,
    Scale,
    Statement,
    Sum,
    Transpose,
    Var,
    Words,
    Zero,
    at,
    had,
    is_column,
    is_scalar,
    split_number,
    variables,
)
from derive.notation import LATEX, SUPERSCRIPTS, TEXT, Notation, Style

RELATION, SUM, HADAMARD, PRODUCT, QUOTIENT, SCRIPTED, ATOM = range(7)

LINE, COLUMNS = 72, 90
"""How many visible characters go on a line before a sum is broken into its terms: of a page, and of a terminal."""
BRACKETS = 45
"""How many of them a sum in brackets has before it is broken, where a term alone is longer than a line."""


class Fragment:
    """A piece of a formula: strings and smaller fragments, with what its surroundings need to know.

    level    how tightly its outermost operation binds
    tall     it holds a fraction, a big operator or a matrix, and wants tall brackets
    open     its right end would swallow a factor that follows
    carries  it is linear in an adjoint or tangent, or holds a matrix times a vector: what `diag` form puts last
    factors  the factors of a matrix product, so that a product around it needs no brackets
    rows     the terms of a sum with their signs
    """

    __slots__ = ("carries", "factors", "head", "level", "open", "parts", "rows", "tail", "tall", "width")

    def __init__(self, parts: tuple[str | Fragment, ...], level: int = ATOM, **flags: Any):
        self.parts = parts
        self.level = level
        pieces = [part for part in parts if isinstance(part, Fragment)]
        self.tall: bool = any(piece.tall for piece in pieces)
        self.carries: bool = any(piece.carries for piece in pieces)
        self.open: bool = False
        self.factors: tuple[Fragment, ...] = ()
        self.rows: tuple[Fragment, ...] = ()
        self.width: int = sum(visible(part) if isinstance(part, str) else part.width for part in parts)
        first, last = parts[0], parts[-1]
        self.head: str = first.head if isinstance(first, Fragment) else first
        self.tail: str = last.tail if isinstance(last, Fragment) else last
        for name, value in flags.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        written: list[str] = []
        pending: list[str | Fragment] = [self]
        while pending:
            part = pending.pop()
            if isinstance(part, str):
                written.append(part)
            else:
                pending.extend(reversed(part.parts))
        return "".join(written)


@lru_cache(4096)
def visible(latex: str) -> int:
    r"""About how many characters are seen: a command counts one, braces, scripts and spacing nothing."""
    return len(_UNSEEN.sub("", _COMMAND.sub("x", _SILENT.sub("", latex))))


_SILENT = re.compile(
    r"\\(begin|end)\{\w+\}"
    r"|\\(left|right|mathrm|mathbf|boldsymbol|text|underbrace|frac|tfrac|tilde|hat|bar|dot|overline)(?![a-zA-Z])"
)
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_UNSEEN = re.compile(r"[{}_^\s]|\\[,!\\]|[\u0300-\u036f]")


@lru_cache(1024)
def _literals(template: str) -> tuple[str, ...]:
    return tuple(template.split("@"))


def fill(template: str, *arguments: str | Fragment, level: int = ATOM, **flags: Any) -> Fragment:
    """The template with each `@` replaced in turn."""
    literals = _literals(template)
    parts: list[str | Fragment] = []
    for literal, argument in zip(literals, (*arguments, ""), strict=True):
        parts.extend(part for part in (literal, argument) if part)
    return Fragment(tuple(parts), level, **flags)


def join(separator: str, pieces: Iterable[str | Fragment], level: int = ATOM, **flags: Any) -> Fragment:
    parts: list[str | Fragment] = []
    for piece in pieces:
        parts += [separator, piece] if parts else [piece]
    return Fragment(tuple(parts), level, **flags)


# --- the public face --------------------------------------------------------------------------------------------------


def latex(node: Basic, notation: Notation = Notation()) -> str:  # noqa: B008 - frozen
    """A fragment for math mode; a sum that is too long, or names its terms, is an `aligned` block.

    Raises DeriveError for a node that no rule knows.
    """
    return _printer(notation, LATEX).page(node)


def text(node: Basic, notation: Notation = Notation()) -> str:  # noqa: B008 - frozen
    """The same formula in Unicode, perhaps on several lines; a label stands as `‹…›` at the end of its term's line."""
    return _printer(notation, TEXT).page(node)


@lru_cache(64)
def _printer(notation: Notation, style: Style, narrow: bool = False) -> Printer:
    return Printer(notation, style, narrow)


class Printer:
    """One notation in one style, with the fragments of the nodes that it has met and that are still alive.

    `narrow`: a sum in brackets that is longer than `BRACKETS` stands one term a line.
    """

    def __init__(self, notation: Notation, style: Style, narrow: bool = False):
        self.notation = notation
        self.style = style
        self.narrow = narrow
        self.glyph = style.glyphs
        self.names = {typed: name for typed, name in notation.names if not style.slash or not set(name) & set("\\{}^")}
        self.factors = [(name, node, variables(node)) for name, node in notation.factors if isinstance(node, Node)]
        self.hadamard = notation.hadamard if not style.slash else {r"\odot": "⊙", r"\circ": "∘"}[notation.hadamard]
        self.mark_accents = {"dot": "dot", "bar": "bar" if notation.adjoint == "bar" else "overline"}
        self.done: WeakKeyDictionary[Basic, Fragment] = WeakKeyDictionary()

    def of(self, root: Any) -> Fragment:
        """The fragment of a node.  Children come before parents, so a rule finds those of its children ready."""
        found = self.done.get(root) if isinstance(root, (Node, Statement)) else self.number(root)
        if found is not None:
            return found
        pending: list[tuple[Basic, bool]] = [(root, False)]
        while pending:
            node, ready = pending.pop()
            if ready:
                self.done[node] = self.factor_named(node) or _rule(node)(self, node)
            elif node not in self.done:
                pending.append((node, True))
                pending.extend((child, False) for child in _children(node))
        return self.done[root]

    # --- lines

    def page(self, root: Basic) -> str:
        lhs, rhs, sign = self.sides(root)
        terms = rhs.args if isinstance(rhs, Add) else (rhs,)
        labels = sum(isinstance(_peel(term)[1], Labelled) for term in terms) if isinstance(rhs, Node) else 0
        left = self.of(lhs).width if lhs is not None else 0
        if not (self.narrow or self.style.slash) and left + max(self.of(term).width for term in terms) > LINE:
            return _printer(self.notation, self.style, narrow=True).page(root)
        width = left + self.of(rhs).width
        if self.style.slash and labels:
            return self.text_lines(lhs, terms, sign)
        if len(terms) > 1 and (labels > 1 or width > (COLUMNS if self.style.slash else LINE)):
            return self.text_lines(lhs, terms, sign) if self.style.slash else self.latex_lines(lhs, terms, sign)
        if isinstance(rhs, Node) and self.factor_named(rhs):
            # The one place where a named factor is said to be what it stands for: where it is all there is.
            return f"{self.of(root)} = {_rule(rhs)(self, rhs)}"
        return str(self.of(root))

    def sides(self, root: Basic) -> tuple[Any, Basic, str]:
        """The left side, the right side and the sign between them; for what has no sides, nothing and itself."""
        if isinstance(root, Equals):
            return root.lhs, root.rhs, "="
        if isinstance(root, Relation) and isinstance(root.lhs, Node) and isinstance(root.rhs, Node):
            return root.lhs, root.rhs, self.style.relations[root.op]
        return None, root, "="

    def latex_lines(self, lhs: Any, terms: Sequence[Node], equals: str) -> str:
        start = f"{self.of(lhs)} &{equals} " if lhs is not None else "&"
        lines = []
        for n, term in enumerate(terms):
            negative, fragment = self.term(term)
            sign = r"&\quad - " if negative else r"&\quad + "
            lines.append((start + ("-" if negative else "") if n == 0 else sign) + str(fragment))
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    def text_lines(self, lhs: Any, terms: Sequence[Node], equals: str) -> str:
        left = f"{self.of(lhs)} " if lhs is not None else ""
        margin = " " * _columns(left)
        lines = []
        for n, term in enumerate(terms):
            coefficient, body = _peel(term)
            label = f"   ‹{self.label(body.args[1])}›" if isinstance(body, Labelled) else ""
            negative, fragment = self.term(_unlabelled(coefficient, body))
            sign = "-" if negative else ""
            start = f"{margin}{sign or '+'} " if n else f"{left}{f'{equals} ' if left else ''}{sign}"
            lines.append(f"{start}{fragment}{label}")
        return "\n".join(lines)

    # --- brackets

    def bracket(self, body: Fragment, name: str = "") -> Fragment:
        """In brackets, which are tall where the content is; with a name before them, a call."""
        body = self.stacked(body) if self.narrow and body.width > BRACKETS else body
        return fill(name + self.glyph["paren_tall" if body.tall else "paren"], body)

    def stacked(self, body: Fragment) -> Fragment:
        """A sum with one term a line; what is none is itself."""
        if not body.rows:
            return body
        parts = join(" \\\\\n&\\quad", body.rows).parts
        widest = max(row.width for row in body.rows)
        return Fragment(("\\begin{aligned}\n&", *parts, "\n\\end{aligned}"), body.level, tall=True, width=widest)

    def at_least(self, body: Fragment, level: int) -> Fragment:
        return body if body.level >= level else self.bracket(body)

    def factor(self, body: Fragment, last: bool) -> Fragment:
        """As a factor of any product: bracketed if it is one itself, or open and not the last."""
        return body if body.level >= QUOTIENT and (last or not body.open) else self.bracket(body)

    def factor_row(self, factors: Sequence[Fragment]) -> list[Fragment]:
        return [self.factor(f, n == len(factors) - 1) for n, f in enumerate(factors)]

    def juxtapose(self, row: Sequence[Fragment], **flags: Any) -> Fragment:
        """Side by side, a thin space where brackets or fractions meet."""
        row = self.factor_row(row)
        parts: list[str | Fragment] = [row[0]]
        for left, right in pairwise(row):
            parts += [self.between(left, right), right]
        return Fragment(tuple(parts), PRODUCT, open=row[-1].open, **flags)

    def between(self, left: Fragment, right: Fragment) -> str:
        if any(f.level == QUOTIENT and not f.open for f in (left, right)):
            return self.glyph["between_quotients"]
        bracketed = left.tail.endswith((")", "]")) or right.head.startswith(("(", "[", r"\left"))
        return self.glyph["thin" if bracketed else "space"]

    # --- numbers and indices

    def number(self, value: Any) -> Fragment:
        value = sympy.sympify(value)
        if _is_negative(value):
            return fill(self.glyph["negative"], self.at_least(self.number(-value), HADAMARD), level=SUM)
        if isinstance(value, Rational):
            return fill(_fraction(value, self.style.slash), level=ATOM)
        if isinstance(value, Symbol):
            return fill(index_string((value,), self.style))
        if any(power.exp.free_symbols for power in value.atoms(sympy.Pow)):
            return self.growing(value)
        written = sympy.sstr(value).replace("**", "^") if self.style.slash else sympy.latex(value)
        return fill("@", written, level=SUM if value.is_Add else PRODUCT, tall=r"\frac" in written)

    def growing(self, value: Expr) -> Fragment:
        """A number to the power of an index, `(-1)^{t-i}`, and sums and products with such ones."""
        if not value.free_symbols:
            return self.number(value)
        if not value.has(sympy.Pow):
            return fill("@", index_string((value,), self.style), level=SUM if value.is_Add else PRODUCT)
        if isinstance(value, sympy.Pow) and not value.exp.is_number:
            base, exponent = (1 / value.base, -value.exp) if _leads_negative(value.exp) else value.args
            shown = self.number(base)
            return self.power(shown if base.is_Integer and base > 0 else self.bracket(shown), exponent)
        if isinstance(value, sympy.Mul):
            factors = sorted(value.args, key=lambda e: (not e.is_number, not e.has(sympy.Pow), sympy.sstr(e)))
            parts = [self.at_least(self.growing(f), HADAMARD) for f in factors]
            digits = any(part.head[:1].isdigit() for part in parts[1:])
            return join(self.glyph["times" if digits else "space"], parts, HADAMARD)
        if isinstance(value, sympy.Add):
            return self.growing_sum(value)
        return self.number(value)

    def growing_sum(self, value: Expr) -> Fragment:
        parts: list[str | Fragment] = []
        for term in sorted(value.args, key=lambda e: (_is_negative(e), not e.has(sympy.Pow), sympy.sstr(e))):
            minus = _is_negative(term)
            sign = (" - " if minus else " + ") if parts else ("-" if minus else "")
            parts += [sign] if sign else []
            parts.append(self.at_least(self.growing(-term if minus else term), HADAMARD))
        return Fragment(tuple(parts), SUM)

    def scaled(self, c: Any, body: Node, in_sum: bool = False) -> Fragment:
        """`c body` for a positive number `c`.  In a sum of columns a vector of ones is a plain number: `1 - z`."""
        if isinstance(body, Ones) and (is_scalar(body) or (in_sum and is_column(body))):
            return self.number(c)
        inside = self.of(body)
        if c == 1:
            return inside
        nested = isinstance(body, Scale) and not isinstance(body.args[0], Node)
        inside = self.bracket(inside) if nested or inside.level < HADAMARD else inside
        digit = inside.head[:1].isdigit()
        separator = self.glyph["times" if digit else "space"]
        return join(separator, (self.at_least(self.number(c), PRODUCT), inside), HADAMARD, open=inside.open)

    def term(self, node: Node) -> tuple[bool, Fragment]:
        """A term of a sum: whether it is subtracted, and without its sign, which stands before the brace of a label."""
        c, body = _peel(node)
        negative = _is_negative(c)
        c = -c if negative else c
        if isinstance(body, Labelled):
            return negative, self.labelled(self.scaled(c, body.args[0], in_sum=True), body.args[1])
        return negative, self.at_least(self.scaled(c, body, in_sum=True), HADAMARD)

    # --- names

    def core(self, typed: str, shape: Any = SCALAR) -> tuple[str, tuple[str, ...]]:
        """The letter with its accents, and the subscripts, of a name as typed."""
        if typed in self.names:
            written = self.names[typed]
            return _put(self.glyph["group"], written) if set(written) & set("^_") else written, ()
        letter, *rest = typed.split("_")
        core = self.letter(letter, shape)
        subscripts = []
        for part in rest:
            if part == "prime":
                core = _put(self.glyph["prime"], core)
            elif part in ("tilde", "hat", "check", "bar"):
                core = self.accent(core, "overline" if part == "bar" and self.notation.adjoint == "bar" else part)
            else:
                subscripts.append(self.subscript(part))
        return core, tuple(subscripts)

    def letter(self, letter: str, shape: Any) -> str:
        symbol = self.style.symbols.get(letter)
        if self.notation.bold and shape != SCALAR:
            return _put(self.glyph["bold_symbol" if symbol else "bold"], symbol or letter)
        return symbol or (letter if len(letter) < 2 else _put(self.glyph["roman"], _escaped(letter, self.style)))

    def grouped(self, script: str) -> str:
        return _braces(script) if self.style.slash else _put(self.glyph["group"], script)

    def subscript(self, part: str) -> str:
        """Two letters are two indices (`W_{hh}`, and `xi` is no Greek letter); three or more are Greek or a word."""
        if len(part) < 3 or part.isdigit():
            return part
        return self.style.symbols.get(part) or _put(self.glyph["roman"], _escaped(part, self.style))

    def accent(self, core: str, name: str) -> str:
        return normalize("NFC", _put(self.style.accents[name], core))

    def scripts(self, core: str, sub: Iterable[str] = (), sup: str = "") -> str:
        """`core_{sub}^{sup}`; a single character needs no braces."""
        below = ",".join(filter(None, sub))
        below = f"{self.glyph['sub']}{_braces(below)}" if below else ""
        above = f"{self.glyph['sup']}{_braces(sup)}" if sup else ""
        return core + below + above

    def indexed(
        self, core: str, sub: Sequence[str], index: Sequence[Expr], sup: str = "", above: str = "", entry: str = ""
    ) -> str:
        """With the index below or above, as the notation has it; `above` is a script of its own, `sup` and `entry` go last."""
        where = index_string(index, self.style)
        if where and self.notation.time == "sup":
            return self.scripts(core, (*sub, above, entry), f"({where}){sup}")
        if above:  # the name first, as in \delta^{z}_t
            core, above = f"{core}{self.glyph['sup']}{self.grouped(above)}", ""
        return self.scripts(core, (*sub, where, entry), sup)

    def plain(self, v: Var, sup: str = "") -> str:
        """The variable without its marks."""
        core, sub = self.core(v.base, v.shape)
        return self.indexed(core, sub, v.index, sup)

    def loss(self, index: Sequence[Expr] = ()) -> str:
        return self.indexed(self.notation.loss, (), index)

    def symbol(self, v: Var, sup: str = "", entry: str = "") -> str:
        """A variable, or an entry of it, that is one letter with accents: no marks, or marks that stack.

        `δ` takes the name above.
        """
        core, sub = self.core(v.base, SCALAR if entry else v.shape)
        above = ""
        for mark in v.marks:
            if mark == "delta":
                core, sub, above = self.glyph["delta"], (), self.scripts(core, sub, above)
            elif mark in self.mark_accents:
                core = self.accent(core, self.mark_accents[mark])
            else:
                sub = (*sub, self.subscript(mark))
        return self.indexed(core, sub, v.index, sup, above, entry)

    def is_quotient(self, v: Basic) -> bool:
        """Whether a variable prints as `∂L/∂h`."""
        if not isinstance(v, Var):
            return False
        return v.marks == ("ct",) or (v.marks == ("bar",) and self.notation.adjoint == "partial")

    def gradient(self, v: Var) -> Fragment:
        loss = self.loss(v.index) if v.marks == ("ct",) else self.loss()
        return fill(self.glyph["partial"], loss, self.plain(v), level=QUOTIENT, tall=True, carries=True)

    def operator(self, v: Var) -> Fragment:
        """`∇_{h_t} L`, and `∂_{h_t} L_t` where a direct derivative has further marks."""
        sign = self.glyph["nabla_sign" if v.marks[0] == "bar" else "partial_sign"]
        for mark in v.marks[1:]:
            sign = self.accent(sign, self.mark_accents[mark])
        loss = self.loss() if v.marks[0] == "bar" else self.loss(v.index)
        operator = self.scripts(sign, (self.plain(v),))
        return fill(self.glyph["nabla"], operator, loss, level=QUOTIENT, open=True, carries=True)

    def is_operator(self, v: Var) -> bool:
        marks = v.marks
        if marks == ("bar",):
            return self.notation.adjoint == "nabla"
        return marks[:1] == ("ct",) and all(mark in self.mark_accents for mark in marks[1:])

    # --- scripts on formulas

    def superscript(self, body: Fragment, script: str) -> Fragment:
        return fill("@" + self.glyph["sup"] + _braces(script), self.at_least(body, ATOM), level=SCRIPTED)

    def transposed(self, body: Fragment) -> Fragment:
        if self.style.slash:
            return fill("@ᵀ", self.at_least(body, ATOM), level=SCRIPTED)
        return self.superscript(body, self.notation.transpose)

    def power(self, body: Fragment, exponent: Expr, entrywise: bool = False) -> Fragment:
        if entrywise:
            space = "" if self.style.slash else " "
            return self.superscript(body, f"{self.hadamard}{space}{self.exponent(exponent)}")
        if self.style.slash and exponent.is_Integer:
            return fill("@" + str(exponent).translate(SUPERSCRIPTS), self.at_least(body, ATOM), level=SCRIPTED)
        return self.superscript(body, self.exponent(exponent))

    def exponent(self, exponent: Expr) -> str:
        return index_string((exponent,), self.style)

    def quotient(self, over: Fragment, under: Fragment) -> Fragment:
        if self.style.slash:
            return fill(self.glyph["quotient"], self.factor(over, False), self.factor(under, False), level=HADAMARD)
        return fill(self.glyph["quotient"], over, under, level=QUOTIENT, tall=True, width=max(over.width, under.width))

    def labelled(self, body: Fragment, label: Basic) -> Fragment:
        body = self.at_least(body, ATOM) if self.style.slash else body
        return fill(self.glyph["label"], body, self.label(label), carries=False, width=body.width)

    def label(self, label: Basic) -> str | Fragment:
        if isinstance(label, (Node, Statement)):
            return self.of(label)
        return _put(self.glyph["words"], _escaped(str(label), self.style))

    # --- named factors

    def factor_named(self, node: Basic) -> Fragment | None:
        """The name of a factor that `node` is, at whatever index: equal to the pattern after a shift of its indices."""
        for name, pattern, inside in self.factors:
            if type(node) is type(pattern):
                anchor = next((v for v in inside if v.index), None)
                shift = _shift(anchor, variables(node)) if anchor is not None else {}
                if at(pattern, shift) is node:
                    index = [shift[_base(i)] for i in anchor.index] if anchor is not None else []
                    core, sub = self.core(name, node.shape)
                    written = self.indexed(core, sub, index)
                    return fill("@", written, level=SCRIPTED if self.notation.time == "sup" and index else ATOM)
        return None


def _children(node: Basic) -> Iterable[Basic]:
    """The formulas right under a node, those in the rows of a block matrix and in its cases too."""
    for child in node.args if not isinstance(node, (Var, At)) else ():
        if isinstance(child, (Node, Statement)):
            yield child
        elif isinstance(child, Tuple):
            yield from (entry for entry in child if isinstance(entry, (Node, Statement)))


def _rule(node: Basic) -> Rule:
    if type(node) not in RULES:
        raise DeriveError(f"there is no rule to print a {type(node).__name__}; add one to derive.printing.RULES")
    return RULES[type(node)]


def _base(index: Expr) -> Any:
    return next(iter(index.free_symbols), index)


def _shift(anchor: Var, found: Sequence[Var]) -> dict[Any, Any]:
    for v in found:
        if v.args[:2] == anchor.args[:2] and len(v.index) == len(anchor.index):
            return {_base(a): _base(a) + i - a for a, i in zip(anchor.index, v.index, strict=True)}
    return {}


def _is_negative(c: Expr) -> bool:
    return all(term.could_extract_minus_sign() for term in sympy.Add.make_args(c))


def _peel(node: Node) -> tuple[Any, Node]:
    """`(c, x)` with `node = c x` and `c` a number, taken out from under a label too."""
    c, body = split_number(node)
    if isinstance(body, Labelled):
        inner, under = _peel(body.args[0])
        under = under.args[0] if isinstance(under, Labelled) else under
        return c * inner, Labelled(under, body.args[1])
    return c, body


def _unlabelled(c: Any, body: Node) -> Node:
    body = body.args[0] if isinstance(body, Labelled) else body
    return body if c == 1 else Scale(c, body)


def _braces(script: str) -> str:
    return script if len(script) == 1 else f"{{{script}}}"


def _put(template: str, argument: str) -> str:
    return template.replace("@", argument)


def _escaped(word: str, style: Style) -> str:
    """A word for `\\mathrm` or `\\text`: what TeX would read as markup is escaped, or left out where it can't be."""
    return word if style.slash else re.sub(r"([{}$&#_%])", r"\\\1", re.sub(r"[\\^~]", "", word))


def _columns(line: str) -> int:
    """How wide a line of text stands: combining accents take no room."""
    return sum(not "\u0300" <= character <= "\u036f" for character in line)


_VULGAR = {(1, 2): "½", (1, 3): "⅓", (2, 3): "⅔", (1, 4): "¼", (3, 4): "¾"}


def _fraction(value: Rational, slash: bool) -> str:
    p, q = int(value.p), int(value.q)
    if q == 1:
        return str(p)
    if slash:
        return _VULGAR.get((p, q), f"({p}/{q})")
    return rf"\tfrac{p}{q}" if p < 10 and q < 10 else rf"\tfrac{{{p}}}{{{q}}}"


def _leads_negative(exponent: Expr) -> bool:
    """Whether the length, or else the last letter, is subtracted: `i-t` of a power, which is written `t-i` of its inverse."""
    letters = sorted(exponent.free_symbols, key=lambda s: (s.name.isupper(), s.name))
    return bool(exponent.coeff(letters[-1]).is_negative)


@lru_cache(4096)
def _index(expression: Expr, style: Style) -> str:
    """`t-1`, `T-t+1`: what is subtracted after what is added, numbers last, no spaces."""
    terms = sympy.Add.make_args(expression)
    terms = sorted(terms, key=lambda e: (e.is_number, e.could_extract_minus_sign(), sympy.sstr(e)))
    written = ""
    for term in terms:
        minus = term.could_extract_minus_sign()
        written += "-" if minus else "+" if written else ""
        written += _index_term(-term if minus else term, style)
    return written


def _index_term(term: Expr, style: Style) -> str:
    if isinstance(term, Symbol):
        return style.symbols.get(term.name, term.name)
    c, rest = term.as_coeff_Mul()
    if c.is_Integer and isinstance(rest, Symbol):
        return f"{c}{_index_term(rest, style)}"
    return (sympy.sstr if style.slash else sympy.latex)(term).replace(" ", "")


def index_string(index: Iterable[Expr], style: Style) -> str:
    return ",".join(_index(sympy.sympify(i), style) for i in index)


# --- the rules: one node type each ------------------------------------------------------------------------------------


def _var(p: Printer, v: Var) -> Fragment:
    if p.is_quotient(v):
        gradient = p.gradient(v)
        row = p.notation.layout == "numerator" and not is_scalar(v)
        return p.transposed(gradient) if row else gradient
    if p.is_operator(v):
        return p.operator(v)
    scripted = (v.index and p.notation.time == "sup") or "delta" in v.marks
    return fill("@", p.symbol(v), level=SCRIPTED if scripted else ATOM, carries=bool(v.marks))


def _transpose(p: Printer, node: Transpose) -> Fragment:
    (body,) = node.args
    layout = p.notation.layout
    if p.is_quotient(body) and layout == "numerator":
        return p.gradient(body)
    if isinstance(body, Partial) and layout == "denominator":
        return _derivative(p, body)
    if not isinstance(body, Var) or p.is_operator(body) or p.is_quotient(body) or "delta" in body.marks:
        return p.transposed(p.of(body))
    if p.style.slash:
        return fill("@ᵀ", p.symbol(body), level=SCRIPTED)
    return fill("@", p.symbol(body, sup=p.notation.transpose), level=SCRIPTED)


def _partial(p: Printer, node: Partial) -> Fragment:
    written = _derivative(p, node)
    column = p.notation.layout == "denominator" and not is_scalar(node)
    return p.transposed(written) if column else written


def _derivative(p: Printer, node: Partial) -> Fragment:
    """`∂y/∂x` in whichever layout."""
    y, x = p.of(node.args[0]), p.of(node.args[1])
    kind = "immediate" if node.immediate else "partial"
    y, x = (p.at_least(z, SCRIPTED) for z in (y, x))
    written = fill(p.glyph[kind], y, x, level=QUOTIENT, tall=True, carries=False, width=max(y.width, x.width) + 1)
    names: list[str | Fragment] = [p.scripts(*p.core(name)) for name in node.held]
    held = [piece for name in (*names, *map(p.of, node.held_at)) for piece in (p.glyph["comma"], name)][1:]
    return fill(p.glyph["held"], written, Fragment(tuple(held)), level=QUOTIENT, carries=False) if held else written


def _pulled(p: Printer, node: Pulled) -> Fragment:
    y, x, d = (p.of(part) for part in node.args[:3])
    kind = "immediate" if node.immediate else "partial"
    local = fill(p.glyph[kind], p.at_least(y, SCRIPTED), p.at_least(x, SCRIPTED), level=QUOTIENT, tall=True)
    return fill(p.glyph["pulled"], p.bracket(local), p.at_least(d, SCRIPTED), level=PRODUCT)


def _gradient_of(p: Printer, node: GradientOf) -> Fragment:
    y, x = (p.of(part) for part in node.args[:2])
    if node.immediate:
        y, x = (p.at_least(z, SCRIPTED) for z in (y, x))
        return fill(p.glyph["immediate"], y, x, level=QUOTIENT, tall=True, carries=True)
    operator = fill("@", p.scripts(p.glyph["nabla_sign"], (str(x),)))
    return fill(p.glyph["nabla"], operator, p.at_least(y, SCRIPTED), level=QUOTIENT, open=True, carries=True)


def _zero(p: Printer, node: Zero) -> Fragment:
    return fill("0")


def _ones(p: Printer, node: Ones) -> Fragment:
    rows, columns = node.shape
    if is_scalar(node):
        return fill("1")
    if columns == 1:
        return fill(p.glyph["ones"])
    if rows == 1:
        return p.transposed(fill(p.glyph["ones"]))
    return fill(p.glyph["ones_sized"], *(index_string((n,), p.style) for n in (rows, columns)))


def _identity(p: Printer, node: Identity) -> Fragment:
    return fill(p.letter(p.glyph["identity"], node.shape))


def _add(p: Printer, node: Add) -> Fragment:
    rows = []
    for n, term in enumerate(node.args):
        negative, fragment = p.term(term)
        sign = p.glyph["minus" if negative else "plus"]
        rows.append(fill("@@", sign.strip() if n == 0 else sign, fragment) if n or negative else fragment)
    return Fragment(tuple(rows), SUM, rows=tuple(rows))


def _scale(p: Printer, node: Scale) -> Fragment:
    c, body = node.args
    if isinstance(c, Node):
        coefficient, inside = p.of(c), p.at_least(p.of(body), HADAMARD)
        free = isinstance(c, Had) and coefficient.level == PRODUCT and not coefficient.open
        coefficient = coefficient if free else p.factor(coefficient, last=False)
        return join(p.glyph["thin"], (coefficient, inside), HADAMARD, open=inside.open)
    if _is_negative(c):
        return fill(p.glyph["negative"], p.at_least(p.scaled(-c, body), HADAMARD), level=SUM)
    return p.scaled(c, body)


def _had(p: Printer, node: Had) -> Fragment:
    if is_scalar(node) or is_column(node):
        below = [f for f in node.args if isinstance(f, Power) and f.args[1].is_negative]
        if below and p.notation.power == "plain":
            above = [f for f in node.args if f not in below]
            over = p.of(_hadamard(above)) if above else fill("1")
            return p.quotient(over, p.of(_hadamard([_reciprocal(f) for f in below])))
    fragments = [p.of(f) for f in node.args]
    if is_scalar(node):
        return p.juxtapose(fragments)
    last = _carrier(fragments) if p.notation.form == "diag" and is_column(node) else None
    if last is not None:
        others = [f for n, f in enumerate(node.args) if n != last]
        return p.of(Mul(Diag(_hadamard(others)), node.args[last]))
    row = p.factor_row(fragments)
    return join(f" {p.hadamard} ", row, HADAMARD, open=row[-1].open)


def _hadamard(factors: Sequence[Node]) -> Node:
    return factors[0] if len(factors) == 1 else Had(*factors)


def _reciprocal(node: Power) -> Node:
    body, exponent = node.args
    return body if exponent == -1 else Power(body, -exponent)


def _carrier(fragments: Sequence[Fragment]) -> int | None:
    """Which factor `diag` form leaves as the vector: the last if it carries, else the only one that does."""
    carrying = [n for n, f in enumerate(fragments) if f.carries]
    last = len(fragments) - 1
    return last if last in carrying else carrying[0] if len(carrying) == 1 else None


def _power(p: Printer, node: Power) -> Fragment:
    body, exponent = node.args
    plain = p.notation.power == "plain" and (is_scalar(body) or is_column(body))
    if exponent.is_negative and plain:
        return p.quotient(fill("1"), p.of(_reciprocal(node)))
    if plain and isinstance(body, Apply) and body.function in _POWER_BEFORE_ARGUMENT and not body.order:
        return _call(p, body, p.power(fill(_function_name(p, body)), exponent))
    return p.power(p.of(body), exponent, entrywise=not plain)


def _matrix_power(p: Printer, node: MatrixPower) -> Fragment:
    body, exponent = node.args
    return p.power(p.of(body), exponent)


_POWER_BEFORE_ARGUMENT = {"tanh", "sigmoid"}


def _mul(p: Printer, node: Mul) -> Fragment:
    nodes = list(node.args)
    if p.notation.form == "hadamard":
        nodes = _diagonals_into_columns(nodes)
        if len(nodes) == 1:
            return p.of(nodes[0])
    factors: list[Fragment] = []
    for fragment in map(p.of, nodes):
        factors.extend(fragment.factors or (fragment,))
    carries = is_column(node) or any(f.carries for f in factors)
    return p.juxtapose(factors, carries=carries, factors=tuple(factors))


def _diagonals_into_columns(nodes: Sequence[Node]) -> list[Node]:
    """`diag(a) x` of a column as `a ⊙ x`."""
    kept: list[Node] = []
    for node in reversed(nodes):
        if isinstance(node, Diag) and kept and is_column(kept[0]):
            kept[0] = had(node.args[0], kept[0])
        else:
            kept.insert(0, node)
    return kept


def _diag(p: Printer, node: Diag) -> Fragment:
    return fill("@", p.bracket(p.of(node.args[0]), p.glyph["diag"]), carries=False)


def _diagonal(p: Printer, node: Diagonal) -> Fragment:
    return p.bracket(p.of(node.args[0]), p.glyph["diagonal"])


def _inner(p: Printer, node: Inner) -> Fragment:
    return fill(p.glyph["inner"], p.of(node.args[0]), p.of(node.args[1]), carries=False)


def _apply(p: Printer, node: Apply) -> Fragment:
    special = p.style.special.get(node.function)
    if special and not node.order:
        return fill(special, p.of(node.arguments[0]), carries=False)
    return _call(p, node, fill(_function_name(p, node)))


def _function_name(p: Printer, node: Apply) -> str:
    row = functions.row(node.function)
    return functions.prime(row.text if p.style.slash else row.latex, node.order)


def _call(p: Printer, node: Apply, name: Fragment) -> Fragment:
    arguments = join(p.glyph["comma"], map(p.of, node.arguments))
    return fill("@@", name, p.bracket(arguments), carries=False)


def _at(p: Printer, node: At) -> Fragment:
    pairs = [(i, q) for i, q in zip(node.index, node.point, strict=True) if i != q]
    said = [fill(p.glyph["is"], *(index_string((e,), p.style) for e in pair)) for pair in pairs]
    return fill(p.glyph["at"], join(p.glyph["comma"], said))


def _sum(p: Printer, node: Sum) -> Fragment:
    body = p.at_least(p.of(node.args[0]), HADAMARD)
    signs = [fill(p.glyph["sum"], *(index_string((e,), p.style) for e in r)) for r in node.args[1:]]
    return Fragment((*signs, body), QUOTIENT, open=True, tall=True)


def _product(p: Printer, node: Product) -> Fragment:
    """Bounds in the order in which the factors stand, left to right: `∏_{m=t}^{k+1}` when the latest is leftmost."""
    index, lo, hi = node.args[1]
    first, last = (hi, lo) if node.descending else (lo, hi)
    sign = fill(p.glyph["product"], *(index_string((e,), p.style) for e in (index, first, last)))
    return Fragment((sign, p.at_least(p.of(node.args[0]), QUOTIENT)), QUOTIENT, open=True, tall=True)


def _block(p: Printer, node: Block) -> Fragment:
    wide = sum(max(p.of(cell).width for cell in column) for column in zip(*node.args, strict=True)) > LINE
    rows = [join(p.glyph["cell"], [_cell(p, cell, wide) for cell in row]) for row in node.args]
    return fill(p.glyph["block"], join(p.glyph["row"], rows), tall=True)


def _cell(p: Printer, node: Node, wide: bool) -> Fragment:
    """A block; where the matrix is too wide, one term of a sum a line."""
    return p.stacked(p.of(node)) if wide and not p.style.slash else p.of(node)


def _entry(p: Printer, node: Entry) -> Fragment:
    body = node.args[0]
    where = _position(p, node.position)
    if isinstance(body, Var) and not p.is_quotient(body) and not p.is_operator(body):
        scripted = (body.index and p.notation.time == "sup") or "delta" in body.marks
        return fill("@", p.symbol(body, entry=where), level=SCRIPTED if scripted else ATOM, carries=bool(body.marks))
    brackets = fill(p.glyph["entry"], p.of(body))
    return fill("@@", brackets, p.scripts("", (where,)), carries=brackets.carries)


def _position(p: Printer, position: Sequence[Expr]) -> str:
    """`ij`, as letters side by side; a comma where that could be misread."""
    written = [index_string((i,), p.style) for i in position]
    return ("" if all(len(i) == 1 and i.isalpha() for i in written) else ",").join(written)


def _norm(p: Printer, node: Norm) -> Fragment:
    kind = p.glyph["infinity"] if node.kind == "inf" else node.kind
    return fill(p.glyph["norm"] + p.scripts("", (kind,)), p.of(node.args[0]), carries=False)


def _extremum(p: Printer, node: Extremum) -> Fragment:
    return fill(
        p.glyph[node.kind], p.symbol(node.args[2]), p.at_least(p.of(node.args[1]), PRODUCT), level=PRODUCT, open=True
    )


def _cases(p: Printer, node: Cases) -> Fragment:
    rows = [
        fill(p.glyph["last_case" if isinstance(condition, Otherwise) else "case"], p.of(value), p.of(condition))
        for value, condition in node.args
    ]
    return fill(p.glyph["cases"], join(p.glyph["row"], rows), level=SUM, tall=True, open=True)


def _labelled(p: Printer, node: Labelled) -> Fragment:
    return p.labelled(p.of(node.args[0]), node.args[1])


def _path(p: Printer, node: Path) -> Fragment:
    return join(p.glyph["arrow"], map(p.of, node.args), RELATION)


def _equals(p: Printer, node: Equals) -> Fragment:
    return fill(p.glyph["equals"], p.of(node.lhs), p.of(node.rhs), level=RELATION)


def _side(p: Printer, side: Basic) -> Fragment:
    """One side of a relation, or several statements in a row: nodes, index expressions, sets."""
    if isinstance(side, (Node, Statement)):
        return p.of(side)
    if isinstance(side, Tuple):
        return join(p.glyph["comma"], [_side(p, s) for s in side], RELATION)
    if isinstance(side, Expr):
        return fill(index_string((side,), p.style))
    if isinstance(side, sympy.Interval):
        brackets = "(["[not side.left_open] + "@, @" + ")]"[not side.right_open]
        return fill(brackets, p.number(side.start), p.number(side.end))
    return fill(sympy.sstr(side) if p.style.slash else sympy.latex(side))


def _relation(p: Printer, node: Relation) -> Fragment:
    if node.op == "in" and isinstance(node.rhs, Tuple):
        size = p.glyph["size"].join(index_string((n,), p.style) for n in node.rhs if n != 1)
        return fill(
            p.glyph["in_reals"] if size else p.glyph["in_numbers"], _side(p, node.lhs), *([size] if size else [])
        )
    lhs, rhs = (_side(p, side) for side in node.args[1:])
    sides = (p.bracket(f) if isinstance(s, Tuple) else f for f, s in zip((lhs, rhs), node.args[1:], strict=True))
    return join(f" {p.style.relations[node.op]} ", sides, RELATION)


def _implies(p: Printer, node: Implies) -> Fragment:
    return fill(p.glyph["implies"], *(_side(p, side) for side in node.args), level=RELATION)


def _words(p: Printer, node: Words) -> Fragment:
    return fill("@", _put(p.glyph["words"], _escaped(node.text, p.style)))


def _otherwise(p: Printer, node: Otherwise) -> Fragment:
    return fill(p.glyph["otherwise"])


Rule: TypeAlias = Callable[[Printer, Any], Fragment]

RULES: dict[type[Basic], Rule] = {
    Var: _var,
    Zero: _zero,
    Ones: _ones,
    Identity: _identity,
    Add: _add,
    Scale: _scale,
    Had: _had,
    Power: _power,
    Mul: _mul,
    Transpose: _transpose,
    Diag: _diag,
    Diagonal: _diagonal,
    Inner: _inner,
    Apply: _apply,
    At: _at,
    Sum: _sum,
    Product: _product,
    Partial: _partial,
    Pulled: _pulled,
    GradientOf: _gradient_of,
    Block: _block,
    Entry: _entry,
    Norm: _norm,
    Extremum: _extremum,
    MatrixPower: _matrix_power,
    Cases: _cases,
    Labelled: _labelled,
    Path: _path,
    Equals: _equals,
    Relation: _relation,
    Implies: _implies,
    Words: _words,
    Otherwise: _otherwise,
}
