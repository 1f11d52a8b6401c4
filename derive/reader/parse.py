r"""Tokens to the neutral tree, by precedence: separators, `⇒`, relations, sums, chains of factors, scripts.

Nothing is decided here that needs a shape: a chain is flat, with what stands between its factors, and scripts stay
where they stand.  Rows are joined where a line ends or begins with an operator, and separate formulas where not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from derive.errors import did_you_mean
from derive.reader import limits
from derive.reader.macros import Macro
from derive.reader.tokens import Token, Tokens, spaced, tokenize
from derive.reader.tree import Span, Tree, Unread

RELATIONS: Mapping[str, str] = {
    "=": "=", "<": "<", ">": ">", "le": "<=", "leq": "<=", "leqslant": "<=", "ge": ">=", "geq": ">=", "geqslant": ">=",
    "lesssim": "<=", "gtrsim": ">=", "ll": "<", "gg": ">", "approx": "~", "simeq": "~", "sim": "~", "propto": "~",
    "equiv": "=", "coloneqq": ":=", "triangleq": ":=", "doteq": ":=", "stackrel": ":=", "gets": ":=", "leftarrow": ":=",
    "Coloneqq": ":=", "eqdef": ":=", "ne": "!=", "neq": "!=", "in": "in", "to": "->", "rightarrow": "->", "mapsto": "->",
    "longrightarrow": "->", "lt": "<", "gt": ">", "eqqcolon": "=", "uparrow": "up",
    "downarrow": "down", "subset": "in", "subseteq": "in",
}  # fmt: skip
WRITTEN_RELATIONS: Mapping[str, str] = {
    "+=": "+=", "-=": "-=", ":=": ":=", "<-": ":=", "->": "->", "<=": "<=", ">=": ">=", "=": "=", "<": "<", ">": ">",
}  # fmt: skip
"""Relations in characters: as many as stand here are taken."""
IMPLICATIONS = frozenset(spaced("Rightarrow implies Longrightarrow iff Leftrightarrow Longleftrightarrow therefore"))
PRODUCTS: Mapping[str, str] = {
    "*": "*", "cdot": "cdot", "times": "times", "odot": "odot", "circ": "odot", "otimes": "otimes", "ast": "*", "star": "*",
    "/": "/", "div": "/", "bullet": "cdot", "@": "cdot", "bigodot": "odot",
}  # fmt: skip
SIGNS: Mapping[str, str] = {"+": "plus", "-": "minus", "minus": "minus"}
CLOSING: Mapping[str, str] = {
    "(": ")", "[": "]", r"\{": r"\}", "{": "}", "langle": "rangle", "lbrace": "rbrace", "lbrack": "rbrack",
    "lfloor": "rfloor", "lceil": "rceil", "lvert": "rvert", "lVert": "rVert", "lparen": "rparen",
}  # fmt: skip
NAMED_BRACKETS: Mapping[str, str] = {
    "lbrace": r"\{", "rbrace": r"\}", "lbrack": "[", "rbrack": "]", "lvert": "|", "lVert": "||", "lparen": "(",
}  # fmt: skip
ACCENTS: Mapping[str, str] = {
    "tilde": "tilde", "widetilde": "tilde", "hat": "hat", "widehat": "hat", "bar": "bar", "overline": "bar", "dot": "dot",
    "ddot": "ddot", "check": "check", "breve": "breve", "acute": "acute", "mathring": "ring",
    "overrightarrow": "fwd", "overleftarrow": "bwd",
}  # fmt: skip
DOTS = frozenset(spaced("dots cdots ldots dotsb dotsc dotsm dotsi dotso vdots ddots"))
OPERATORS = frozenset([*PRODUCTS, *SIGNS, *RELATIONS, *IMPLICATIONS]) - {"stackrel", "star"}
ENVIRONMENTS: Mapping[str, str] = {
    **dict.fromkeys(spaced("matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix psmallmatrix bsmallmatrix"), "matrix"),
    "array": "matrix", "cases": "cases", "dcases": "cases", "rcases": "cases", "drcases": "cases",
}  # fmt: skip
LINE_ENDS = ("\\", "cr", "newline", "tabularnewline")
NO_FACTOR = frozenset(
    [*OPERATORS, *CLOSING.values(), *LINE_ENDS, "}", "quad", "qquad", "end", "mathrel", "mid", "over"]
)
"""Commands that no factor begins with."""
TRANSPARENT = frozenset(
    spaced(
        "aligned split gathered alignedat align align* gather gather* multline multline* equation equation* eqnarray eqnarray* "
        "multlined alignat alignat* flalign flalign* displaymath subequations math"
    )
)
"""Environments whose rows are formulas of the display."""


def parse(text: str, macros: Mapping[str, Macro] | None = None) -> Tree:
    """The `statements` of a display formula.  Raises `Unread` with the span of what is off."""
    return Parser(tokenize(text, macros or {})).display()


_END = Token("end", "", (0, 0))


class Parser:
    """One formula: `at` is the token that is read next, `aside` what has been set aside.

    Every token is set aside or held by one node: `held` says which, so that one can check that nothing was lost.
    """

    def __init__(self, tokens: Tokens):
        self.tokens: Sequence[Token] = tokens.kept
        self.aside: list[Token] = list(tokens.aside)
        end = self.tokens[-1].span[1] if self.tokens else 0
        self.end = Token("end", "", (end, end))
        self.arguments: list[Token] = []
        self.held: list[tuple[Tree, tuple[Token, ...]]] = []
        self.n = 0
        self.stop = len(self.tokens)
        self.depth = 0
        self.bars: list[str] = []
        self.known_bars: dict[tuple[int, int], bool] = {}
        self.paired, self.equation_arrays = _environments(self.tokens)

    # --- the stream

    @property
    def at(self) -> Token:
        return self.tokens[self.n] if self.n < self.stop else self.end

    def after(self, steps: int = 1) -> Token:
        return self.tokens[self.n + steps] if self.n + steps < self.stop else self.end

    def take(self) -> Token:
        token = self.at
        self.n += token is not self.end
        return token

    def drop(self) -> Token:
        """Takes a token that says nothing, or whose place in the tree says it."""
        token = self.take()
        if token is not self.end:
            self.aside.append(token)
        return token

    def skip(self) -> None:
        """Takes a token of an argument that is about the looks only: the columns of an array, the height of a row."""
        if self.at is not self.end:
            self.arguments.append(self.take())

    def back(self, n: int) -> None:
        """Stands at token `n` again, before which nothing but tokens set aside was taken."""
        passed = {id(token) for token in self.tokens[n : self.n]}
        for record in (self.aside, self.arguments):
            while record and id(record[-1]) in passed:
                record.pop()
        self.n = n

    def node(self, kind: str, value: object, children: Sequence[Tree], span: Span, *tokens: Token) -> Tree:
        """A node that holds `tokens`: the words of a leaf, the operators and brackets of what has children."""
        tree = Tree(kind, value, tuple(children), span)
        self.held.append((tree, tokens))
        return tree

    def leaf(self, kind: str, value: object = None) -> Tree:
        """The token that stands here, as a leaf."""
        token = self.take()
        return self.node(kind, token.value if value is None and kind != "prime" else value, (), token.span, token)

    def operator(self) -> Tree:
        """An operator that stands alone, as in a script."""
        return self.leaf("symbol", PRODUCTS.get(self.at.value, self.at.value))

    def is_symbol(self, *values: str) -> bool:
        return self.at.of("symbol", *values)

    def is_command(self, *values: str) -> bool:
        return self.at.of("command", *values)

    def sign(self, table: Mapping[str, str]) -> str | None:
        """The operator of `table` that stands here."""
        return table.get(self.at.value) if self.at.kind in ("symbol", "command") else None

    def fail(self, message: str, token: Token | None = None) -> Unread:
        return Unread(message, (token or self.at).span)

    def found(self) -> str:
        token = self.at
        if token.kind == "end":
            return "the end of the formula" if self.stop == len(self.tokens) else "the end of the entry"
        if token.kind in ("open", "close"):
            return f"\\{'left' if token.kind == 'open' else 'right'}{token.value.replace('||', chr(92) + '|')}"
        shown = token.value if token.value.isprintable() else " ".join(f"U+{ord(c):04X}" for c in token.value)
        return f"\\{shown}" if token.kind == "command" else shown

    def unexpected(self) -> Unread:
        """The error for what stands behind a formula: a bracket or an environment that nothing opened, or anything else."""
        token, openers = self.at, {close: opening for opening, close in CLOSING.items()}
        name = f"\\{token.value}" if token.kind == "command" and token.value in "{}" else token.value
        if token.kind == "close":
            return self.fail(f"found {self.found()}, and no \\left is open")
        if token.kind in ("symbol", "command") and name in openers:
            opening = openers[name] if token.kind == "symbol" or name[0] == "\\" else f"\\{openers[name]}"
            return self.fail(f"found {self.found()}, and no {opening} is open")
        if token.of("command", "end"):
            return self.fail(self.unopened())
        if token.of("command", "over"):
            return self.fail(r"found \over, which is not read; write \frac{…}{…}")
        return self.fail(f"found {self.found()} where the formula should go on or end")

    def unopened(self) -> str:
        return f"found \\end{{{self.environment_name()}}}, and no \\begin{{{self.environment_name()}}} is open"

    def no_factor(self) -> Unread:
        return self.fail(f"found {self.found()} where a name, a number or a bracket should stand")

    # --- statements

    def display(self) -> Tree:
        found = self.statements(lambda: self.at.kind == "end")
        return Tree("statements", None, tuple(found), _span(found) if found else self.end.span)

    def statements(self, done: Callable[[], bool]) -> list[Tree]:
        found: list[Tree] = []
        while not done():
            if self.separator():
                continue
            if self.at.kind == "text":
                found.append(self.leaf("words"))
                continue
            found.append(self.implication())
            if not (done() or self.is_separator()):
                raise self.unexpected()
        return found

    def is_separator(self) -> bool:
        return (
            self.at.kind == "text"
            or self.is_symbol(",", ";", "&", ".")
            or (self.is_symbol(":") and not self.after().of("symbol", "="))
            or self.is_command(*LINE_ENDS, "quad", "qquad", "colon")
            or self.is_environment(TRANSPARENT)
        )

    def separator(self) -> bool:
        if self.is_environment(TRANSPARENT):
            self.environment_mark()
        elif self.is_symbol(",", ";", "&", ".") or (self.is_symbol(":") and not self.after().of("symbol", "=")):
            self.drop()
        elif self.is_command(*LINE_ENDS):
            self.row_end()
        elif self.is_command("quad", "qquad", "colon"):
            self.drop()
        else:
            return False
        return True

    def row_end(self) -> None:
        r"""`\\`, `\\*`, `\\[2pt]`."""
        self.drop()
        if self.is_symbol("*"):
            self.skip()
        if self.is_symbol("[") and self.skip_is_length():
            while not self.is_symbol("]"):
                self.skip()
            self.skip()

    def skip_is_length(self) -> bool:
        inside = ""
        for token in self.tokens[self.n + 1 : self.n + 9]:
            if token.of("symbol", "]"):
                return inside.rstrip("eximptcn ") != inside and inside[:1] in "0123456789.-"
            inside += token.value
        return False

    def is_environment(self, names: frozenset[str] | Mapping[str, str]) -> bool:
        if not self.is_command("begin", "end"):
            return False
        return self.environment_name() in names or (names is TRANSPARENT and self.n in self.equation_arrays)

    def environment_name(self) -> str:
        return _environment_name(self.tokens, self.n)

    def environment_mark(self, held: bool = False) -> str:
        """Passes `\\begin{…}` or `\\end{…}`; `held` where a node of the tree holds the command."""
        name = self.environment_name()
        if self.n not in self.paired:
            raise self.fail(f"\\begin{{{name}}} is never ended" if self.is_command("begin") else self.unopened())
        opening = self.take() if held else self.drop()
        while not self.is_symbol("}"):
            if self.at.kind == "end":
                raise self.fail(f"\\{opening.value} lacks the name of its environment in braces", opening)
            self.skip()
        self.skip()
        if opening.value == "begin" and (name.startswith(("alignedat", "alignat")) or name == "array"):
            self.skip_place()
            self.skip_braces()
        if opening.value == "begin" and name in ("aligned", "split", "gathered", "multlined"):
            self.skip_place()
        return name

    def skip_place(self) -> None:
        """Passes `[t]`, which says where a box stands."""
        if self.is_symbol("[") and self.after().of("letter") and self.after(2).of("symbol", "]"):
            for _ in range(3):
                self.skip()

    def skip_braces(self) -> None:
        """Passes a braced group, if one stands here."""
        depth, opening = int(self.is_symbol("{")), self.at
        while depth:
            self.skip()
            if self.at.kind == "end":
                raise self.fail("this brace { is never closed", opening)
            depth += self.is_symbol("{") - self.is_symbol("}")
            if not depth:
                self.skip()

    # --- relations

    def implication(self) -> Tree:
        parts, signs = [self.relation()], []
        heads: list[Token] = []
        while self.is_command(*IMPLICATIONS):
            signs.append(
                "<=>" if "iff" in self.at.value or "Left" in self.at.value or "left" in self.at.value else "=>"
            )
            heads.append(self.take())
            while self.is_symbol("&") or self.is_command("quad", "qquad", "\\"):
                self.separator()
            parts.append(self.relation())
        return parts[0] if not signs else self.node("implication", tuple(signs), parts, _span(parts), *heads)

    def relation_sign(self) -> tuple[str, list[Token]] | None:
        r"""The sign that stands here and its tokens: `=`, `\le`, `:=`, `\mathrel{+}=`, `\stackrel{!}{=}`."""
        if self.is_command("stackrel", "overset"):
            length = self.stacked_relation()
            return (":=", [self.take() for _ in range(length)]) if length else None
        if self.is_command("mathrel"):
            self.drop()
        written, length = self.written_sign()
        if written is not None:
            taken = [self.take() for _ in range(length)]
            return WRITTEN_RELATIONS[written], taken
        sign = self.sign(RELATIONS)
        return None if sign is None else (sign, [self.take()])

    def written_sign(self) -> tuple[str | None, int]:
        """The longest relation in characters that stands here, and how many tokens it is; `{+}` counts as `+`."""
        written, steps = "", 0
        longest: tuple[str | None, int] = (None, 0)
        while steps < 8:
            token = self.after(steps)
            if (
                token.of("symbol", "{")
                and self.after(steps + 1).kind == "symbol"
                and self.after(steps + 2).of("symbol", "}")
            ):
                written, steps = written + self.after(steps + 1).value, steps + 3
            elif token.of("symbol", "{") and written == "" and self.braced_sign():
                return self.braced_sign(), len(self.braced_sign() or "") + 2
            elif token.kind == "symbol":
                written, steps = written + token.value, steps + 1
            else:
                break
            if written in WRITTEN_RELATIONS and (written != "<-" or token.span[0] == self.at.span[1]):  # a < -b
                longest = (written, steps)
            if not any(known.startswith(written) for known in WRITTEN_RELATIONS):
                break
        return longest

    def braced_sign(self) -> str | None:
        """The relation in characters that stands in braces here, `{:=}`."""
        if not (self.is_symbol("{") and self.after(3).of("symbol", "}")):
            return None
        written = self.after(1).value + self.after(2).value
        return written if written in WRITTEN_RELATIONS else None

    def stacked_relation(self) -> int:
        r"""Of how many tokens the `\stackrel{def}{=}` is that stands here; 0 where its base is no relation."""
        n = self.n + 1
        depth = 0
        while n < self.stop:
            depth += self.tokens[n].of("symbol", "{") - self.tokens[n].of("symbol", "}")
            n += 1
            if depth <= 0:
                break
        base = [(token.kind, token.value) for token in self.tokens[n : min(n + 3, self.stop)]]
        if base[:1] == [("symbol", "=")]:
            return n + 1 - self.n
        return n + 3 - self.n if base == [("symbol", "{"), ("symbol", "="), ("symbol", "}")] else 0

    def is_relation(self) -> bool:
        """Whether a relation sign stands here."""
        if self.is_command("stackrel", "overset"):
            return self.stacked_relation() > 0
        return self.is_command("mathrel") or self.sign(RELATIONS) is not None or self.written_sign()[0] is not None

    def relation(self) -> Tree:
        start = self.at.span
        self.rows_before_operator()
        parts: list[Tree] = []
        signs: list[str] = []
        heads: list[Token] = []
        if (first := self.relation_sign()) is not None:
            parts, signs, heads = [self.empty(start[0])], [first[0]], first[1]
        self.soft_rows()
        parts.append(self.sum())
        while True:
            self.rows_before_operator()
            found = self.relation_sign()
            if found is None:
                break
            self.soft_rows()
            if found[0] in ("up", "down") and (
                self.at.kind == "end" or self.is_separator() or self.is_command(*IMPLICATIONS)
            ):
                parts.append(self.empty(found[1][-1].span[1]))
            else:
                parts.append(self.sum())
            signs.append(found[0])
            heads += found[1]
        return parts[0] if not signs else self.node("relation", tuple(signs), parts, _span(parts), *heads)

    def empty(self, at: int) -> Tree:
        return Tree("empty", None, (), (at, at))

    def soft_rows(self) -> None:
        """Behind an operator the formula goes on, on the next row too."""
        while (
            self.is_symbol("&")
            or self.is_command("\\", "quad", "qquad")
            or (self.is_command("begin") and self.is_environment(TRANSPARENT))
        ):
            self.separator()

    def rows_before_operator(self) -> None:
        """A row that begins with an operator goes on with the formula of the row before."""
        mark, passed = self.n, False
        while self.is_symbol("&") or self.is_command(*LINE_ENDS, "quad", "qquad") or self.is_environment(TRANSPARENT):
            passed = True
            self.separator()
        goes_on = passed and (
            (self.at.kind in ("symbol", "command") and self.at.value in OPERATORS) or self.is_relation()
        )
        if passed and not goes_on:
            self.back(mark)

    # --- sums and chains

    def sum(self) -> Tree:
        terms: list[Tree] = []
        heads: list[Token] = []
        while True:
            self.rows_before_operator()
            sign = SIGNS[self.after().value] if self.braced_plus() else self.sign(SIGNS)
            if (sign is None or self.written_sign()[0] is not None) and (terms or sign is not None):
                break
            start, head = self.at.span, None
            if sign is not None:
                head = self.sign_token()
                if not terms and sign != "minus":
                    self.aside.append(head)
                    head = None
                self.soft_rows()
            term = self.chain()
            if sign == "minus" and head is not None:
                term = self.node("minus", None, (term,), (start[0], term.span[1]), head)
            elif head is not None:
                heads.append(head)
            terms.append(term)
        if not terms:
            raise self.no_factor()
        return terms[0] if len(terms) == 1 else self.node("sum", None, terms, _span(terms), *heads)

    def sign_token(self) -> Token:
        """Takes the sign that stands here, out of its braces where it has some."""
        braced = self.is_symbol("{")
        if braced:
            self.drop()
        token = self.take()
        if braced:
            self.drop()
        return token

    def chain(self) -> Tree:
        factors, signs = [self.factor()], []
        heads: list[Token] = []
        while True:
            self.rows_before_operator()
            sign = self.sign(PRODUCTS)
            if sign is not None:
                heads.append(self.take())
                self.soft_rows()
                signs.append(sign)
                factors.append(self.factor(after_sign=True))
            elif self.begins_factor():
                signs.append("")
                factors.append(self.factor())
            else:
                break
        return factors[0] if not signs else self.node("chain", tuple(signs), factors, _span(factors), *heads)

    def begins_factor(self) -> bool:
        token = self.at
        if token.kind in ("letter", "digit", "word", "open"):
            return True
        if token.kind == "symbol":
            if token.value == "|":
                return self.opens_bar()
            return token.value in ("(", "[") or (
                token.value == "{" and self.written_sign()[0] is None and not self.braced_plus()
            )
        if token.kind == "command":
            if token.value in NO_FACTOR:
                return False
            if token.value == "|":
                return self.opens_bar()
            if token.value in ("stackrel", "overset"):
                return not self.is_relation()
            return not (token.value == "begin" and self.is_environment(TRANSPARENT))
        return False

    def opens_bar(self) -> bool:
        """Whether the `|` here opens a pair: none is open, and its other half stands before the bracket's end."""
        if self.bars:
            return False
        key = (self.n, self.stop)
        if key not in self.known_bars:
            self.known_bars[key] = self.has_other_bar()
        return self.known_bars[key]

    def has_other_bar(self) -> bool:
        depth, bar = 0, self.at
        for n in range(self.n + 1, self.stop):
            token = self.tokens[n]
            if depth == 0 and token.of(bar.kind, "|"):
                return True
            depth += _depth(token)
            if depth < 0 or (depth == 0 and (token.of("symbol", "&") or token.of("command", *LINE_ENDS))):
                return False
        return False

    def braced_plus(self) -> bool:
        """Whether `{+}` or `{-}` stands here, a sign that is kept from having space around it."""
        return self.is_symbol("{") and self.after().of("symbol", "+", "-") and self.after(2).of("symbol", "}")

    def factor(self, after_sign: bool = False) -> Tree:
        if after_sign and self.sign(SIGNS):
            sign, head = self.sign(SIGNS), self.take()
            inside = self.factor()
            if sign != "minus":
                self.aside.append(head)
                return inside
            return self.node("minus", None, (inside,), (head.span[0], inside.span[1]), head)
        return self.scripted(self.atom())

    # --- scripts

    def scripted(self, base: Tree) -> Tree:
        scripts: list[Tree] = []
        while True:
            if self.is_symbol("_", "^"):
                mark = self.take()
                inside = self.script()
                scripts.append(self.node("sub" if mark.value == "_" else "sup", None, (inside,), inside.span, mark))
            elif self.is_symbol("'") or self.is_command("prime"):
                scripts.append(self.leaf("prime"))
            else:
                break
        if not scripts:
            return base
        return Tree("script", None, (base, *scripts), (base.span[0], scripts[-1].span[1]))

    def script(self) -> Tree:
        """What stands in a script: one token, or a braced group that may be an operator, a list, a range."""
        if self.is_symbol("{"):
            opening = self.drop()
            self.deeper(opening)
            found: list[Tree] = []
            bars, self.bars = self.bars, []
            while not self.is_symbol("}"):
                if self.at.kind == "end":
                    raise self.fail("this brace { is never closed", opening)
                if self.is_symbol(",", ";", "&") or self.is_command(*LINE_ENDS, "quad", "qquad", "substack"):
                    self.drop()
                else:
                    found.append(self.script_part())
            self.bars = bars
            end = self.drop()
            self.depth -= 1
            if len(found) == 1:
                return found[0]
            return Tree("list", None, tuple(found), (opening.span[0], end.span[1]))
        if self.at.kind in ("letter", "digit", "word", "text"):
            return self.leaf("number" if self.at.kind == "digit" else "name", self.at.value.strip())
        if self.is_symbol("'") or self.is_command("prime"):
            return self.leaf("prime")
        if (self.at.kind == "symbol" and self.at.value in "+-*<>=") or (
            self.at.kind == "command" and self.at.value in OPERATORS | {"dagger"}
        ):
            return self.operator()
        if self.at.kind == "end" or self.is_symbol("}", "_", "^", "&", ")", "]"):
            raise self.fail(f"a script is missing here, found {self.found()}")
        if self.is_command("substack"):
            self.drop()
            if not self.is_symbol("{"):
                raise self.fail(f"\\substack lacks its lines in braces, found {self.found()}")
            return self.script()
        return self.atom()

    def script_part(self) -> Tree:
        if self.at.kind == "text":
            return self.leaf("name", self.at.value.strip())
        if self.at.kind in ("symbol", "command") and self.at.value in OPERATORS:
            lone = self.after().of("symbol", "}")
            if lone or (self.at.value not in SIGNS and self.at.value not in RELATIONS):
                return self.operator()
        if self.is_symbol("'") or self.is_command("prime"):
            return self.leaf("prime")
        return self.implication()

    # --- atoms

    def deeper(self, token: Token) -> None:
        self.depth += 1
        if self.depth > limits.DEEPEST:
            raise self.fail(f"brackets and scripts are nested more than {limits.DEEPEST} deep", token)

    def atom(self) -> Tree:
        token = self.at
        if token.kind == "digit":
            return self.number()
        if token.kind in ("letter", "word"):
            return self.leaf("name")
        if token.kind == "open":
            return self.pair(token)
        if token.kind == "symbol":
            return self.symbol_atom(token)
        if token.kind == "command":
            return self.command_atom(token)
        if token.kind == "text":
            return self.leaf("words")
        raise self.no_factor()

    def number(self) -> Tree:
        start, written = self.at.span, ""
        end = start
        digits: list[Token] = []
        while self.at.kind == "digit" and (not written or self.at.span[0] == end[1] or self.at.span == end):
            digits.append(self.take())
            written, end = written + digits[-1].value, digits[-1].span
        span = (start[0], end[1])
        if len(written) > limits.LARGEST_NUMBER:
            raise Unread(f"a number has at most {limits.LARGEST_NUMBER} digits, found {len(written)}", span)
        if written.count(".") > 1 or written == ".":
            raise Unread(f"found {written} where a number should stand; it has at most one point", span)
        return self.node("number", written, (), span, *digits)

    def symbol_atom(self, token: Token) -> Tree:
        if token.value == "{":
            return self.braces(token)
        if token.value in CLOSING:
            return self.brackets(token, token.value, CLOSING[token.value])
        if token.value == "|":
            return self.pair(token)
        raise self.no_factor()

    def braces(self, token: Token) -> Tree:
        """A group of TeX's: no brackets are seen."""
        self.drop()
        self.deeper(token)
        bars, self.bars = self.bars, []
        found = self.statements(lambda: self.is_symbol("}") or self.at.kind == "end")
        self.bars = bars
        if self.at.kind == "end":
            raise self.fail("this brace { is never closed", token)
        end = self.drop()
        self.depth -= 1
        if len(found) == 1:
            return found[0]
        if not found:
            return Tree("empty", None, (), (token.span[0], end.span[1]))
        return Tree("statements", None, tuple(found), (token.span[0], end.span[1]))

    def closes(self, close: str) -> bool:
        value = close.removeprefix("\\")
        if self.at.kind == "close":  # as in \left\{ … \right.
            return self.at.value == "." and value == "}"
        kind = "command" if close.startswith("\\") or len(close) > 1 else "symbol"
        other = {")": "]", "]": ")"}.get(close)
        return self.at.of(kind, value) or (other is not None and self.at.of("symbol", other))

    def brackets(self, token: Token, opening: str, close: str) -> Tree:
        self.take()
        self.deeper(token)
        bars, self.bars = self.bars, []
        found: list[Tree] = []
        separators: list[str] = []
        shown = opening if token.kind == "symbol" or opening == r"\{" else f"\\{opening}"
        while not self.closes(close):
            if self.at.kind == "end" or self.is_symbol("}"):
                raise self.fail(f"this bracket {shown} is never closed, found {self.found()}", token)
            if (
                self.is_symbol(",", ";", ":")
                or self.is_command("mid", "quad", "qquad", "colon")
                or (self.is_symbol("|") and not self.opens_bar())
            ):
                separators.append(self.drop().value)
            elif self.is_symbol("&") or self.is_command("\\"):
                self.separator()
                if found and len(separators) < len(found):
                    separators.append("\\")
            elif self.is_environment(TRANSPARENT):
                self.environment_mark()
            elif self.at.kind == "text":
                found.append(self.leaf("words"))
            elif self.at.kind in ("symbol", "command") and self.at.value in OPERATORS and self.after().value == close:
                found.append(self.operator())
            else:
                found.append(self.implication())
                if not (self.closes(close) or self.is_symbol(",", ";", "&", "|", ":") or self.at.kind == "text" or
                        self.is_command("mid", "quad", "qquad", "colon", "\\") or self.is_environment(TRANSPARENT)):  # fmt: skip
                    if self.at.kind == "end" or self.is_symbol("}"):
                        raise self.fail(f"this bracket {shown} is never closed, found {self.found()}", token)
                    raise self.fail(f"found {self.found()} where the bracket {shown} should close")
        end = self.take()
        self.bars = bars
        self.depth -= 1
        mark = NAMED_BRACKETS.get(opening, opening) + (";" if ";" in separators or "\\" in separators else "")
        return self.node("group", mark, found, (token.span[0], end.span[1]), token, end)

    def pair(self, token: Token) -> Tree:
        """`|x|`, `\\|x\\|`, and `\\left. x \\right|` with a script behind it."""
        value = "||" if token.of("command", "|") or token.value == "||" else token.value
        self.take()
        self.deeper(token)
        self.bars.append(value if token.kind != "open" else "open")
        found = [self.implication()]
        while self.is_symbol(","):
            self.drop()
            found.append(self.implication())
        closed = self.at.kind == "close" or (token.kind != "open" and self.is_bar(value))
        if value == "." and self.at.kind != "end" and not self.at.of("close", "|", "||", "."):
            raise self.fail(f"found {self.found()}, which \\left. does not open; it is read with \\right|")
        if not closed:
            bracket = value.replace("||", r"\|")
            shown = rf"\left{bracket}" if token.kind == "open" else bracket
            expected = rf"\right{bracket}" if token.kind == "open" else bracket
            raise self.fail(f"this {shown} is never closed, found {self.found()} where {expected} should stand", token)
        end = self.take()
        self.bars.pop()
        self.depth -= 1
        if value == "." == end.value and len(found) == 1:
            self.aside += [token, end]
            return found[0]
        return self.node(
            "group", value + ("|" if value == "." else ""), found, (token.span[0], end.span[1]), token, end
        )

    def is_bar(self, value: str) -> bool:
        return self.at.of("command", "|") if value == "||" else self.is_symbol("|")

    # --- commands

    def command_atom(self, token: Token) -> Tree:
        name = token.value
        if name in ("frac", "dfrac", "tfrac", "cfrac", "nicefrac", "sfrac"):
            self.take()
            over, under = self.argument(token), self.argument(token)
            return self.node("frac", None, (over, under), (token.span[0], under.span[1]), token)
        if name in ACCENTS:
            self.take()
            inside = self.argument(token)
            return self.node("accent", ACCENTS[name], (inside,), (token.span[0], inside.span[1]), token)
        if name == "sqrt":
            self.take()
            if self.is_symbol("["):
                raise self.fail(r"found \sqrt[…]: only square roots are read")
            inside = self.argument(token)
            return self.node("sqrt", None, (inside,), (token.span[0], inside.span[1]), token)
        if name in ("underbrace", "overbrace", "underbracket", "overbracket", "cancel"):
            self.take()
            inside = self.argument(token)
            return self.node("brace", name, (inside,), (token.span[0], inside.span[1]), token)
        if name in ("overset", "underset", "stackrel"):
            self.take()
            mark, inside = self.argument(token), self.argument(token)
            return self.node("over", name, (inside, mark), (token.span[0], inside.span[1]), token)
        if name == "begin":
            return self.environment(token)
        if name in ("{", "lbrace", "langle", "lfloor", "lceil", "lvert", "lVert", "lbrack", "lparen"):
            opening = r"\{" if name == "{" else name
            return self.brackets(token, opening, CLOSING[opening])
        if name == "|":
            return self.pair(token)
        if name in DOTS:
            return self.leaf("symbol", "dots")
        if name in NO_FACTOR:
            raise self.no_factor()
        if len(name) == 1 and not name.isalpha():
            raise self.fail(f"\\{name} is not understood here")
        return self.leaf("name")

    def argument(self, command: Token) -> Tree:
        """A braced argument, or the next single token as TeX takes it."""
        if self.at.kind == "digit":
            return self.leaf("number")
        if self.at.kind == "end" or self.is_symbol("}", "&", "^", "_", ")", "]", ",") or self.is_command("\\"):
            raise self.fail(f"\\{command.value} lacks an argument, found {self.found()}")
        if self.at.kind in ("symbol", "command") and self.at.value in OPERATORS:
            return self.operator()
        if self.is_symbol("{") and self.after(2).of("symbol", "}") and self.after().value in OPERATORS:
            self.drop()
            operator = self.operator()
            self.drop()
            return operator
        self.deeper(self.at)
        found = self.atom()
        self.depth -= 1
        return found

    def environment(self, token: Token) -> Tree:
        name = self.environment_name()
        if name not in ENVIRONMENTS:
            known = did_you_mean(name, [*ENVIRONMENTS, *TRANSPARENT])
            raise self.fail(f"the environment {name or '?'} is not understood inside a formula{known}")
        self.environment_mark(held=True)
        self.deeper(token)
        bars, self.bars = self.bars, []
        rows: list[list[Tree]] = [[]]
        while True:
            rows[-1].append(self.cell())
            if self.is_symbol("&"):
                self.drop()
            elif self.is_command(*LINE_ENDS):
                self.row_end()
                rows.append([])
            elif self.is_command("end") and self.environment_name() == name:
                break
            elif self.is_command("end"):
                raise self.fail(f"\\end{{{self.environment_name()}}} stands where \\end{{{name}}} should")
            else:
                raise self.fail(f"\\begin{{{name}}} is never ended, found {self.found()}", token)
        self.bars = bars
        self.environment_mark()
        end = self.arguments[-1].span[1]
        self.depth -= 1
        if len(rows[-1]) == 1 and rows[-1][0].kind == "empty":
            rows.pop()
        kept = [Tree("row", None, tuple(row), _span(row)) for row in rows]
        return self.node(ENVIRONMENTS[name], name, kept, (token.span[0], end), token)

    def cell(self) -> Tree:
        """The formulas up to the `&`, `\\\\` or `\\end` that ends this entry."""
        outer, end = self.stop, self.end
        self.stop = self.cell_end()
        if self.stop < outer:
            start = self.tokens[self.stop].span[0]
            self.end = Token("end", "", (start, start))
        found = self.statements(lambda: self.at.kind == "end")
        position = self.end.span[0]
        self.stop, self.end = outer, end
        if len(found) == 1:
            return found[0]
        return Tree("statements", None, tuple(found), _span(found)) if found else self.empty(position)

    def cell_end(self) -> int:
        depth = 0
        for n in range(self.n, self.stop):
            token = self.tokens[n]
            if depth == 0 and (token.of("symbol", "&", "}") or token.of("command", *LINE_ENDS, "end")):
                return n
            depth += _depth(token, brackets=False)
        return self.stop


def _depth(token: Token, brackets: bool = True) -> int:
    """1 where a group opens, -1 where one closes."""
    if token.kind == "command":
        opens, closes = token.value in ("begin", "{", "langle"), token.value in ("end", "}", "rangle")
        return (opens - closes) * (brackets or token.value in ("begin", "end"))
    if token.kind != "symbol":
        return 0
    return (token.value in "{([" if brackets else token.value == "{") - (
        token.value in "})]" if brackets else token.value == "}"
    )


_LONGEST_NAME = 20


def _environment_name(tokens: Sequence[Token], n: int) -> str:
    """The name in braces behind the `\\begin` or `\\end` at `n`; empty where there is none."""
    name = ""
    if not (n + 1 < len(tokens) and tokens[n + 1].of("symbol", "{")):
        return name
    for token in tokens[n + 2 : n + 2 + _LONGEST_NAME]:
        if token.of("symbol", "}"):
            return name
        name += token.value
    return ""


def _environments(tokens: Sequence[Token]) -> tuple[frozenset[int], frozenset[int]]:
    r"""Every `\begin` and `\end` that has its other half; and those of arrays that are rows of relations, `a &=& b`.

    An array is rows of relations, not a matrix, where a cell of its own begins with the sign.
    """
    paired: set[int] = set()
    equations: set[int] = set()
    opened: list[list[int]] = []
    for n, token in enumerate(tokens):
        if token.of("command", "begin"):
            opened.append([n])
        elif token.of("command", "end") and opened:
            start, *signs = opened.pop()
            name = _environment_name(tokens, start)
            if name == _environment_name(tokens, n):
                paired |= {start, n}
                equations |= {start, n} if signs and name == "array" else set()
        elif opened and tokens[n - 1].of("symbol", "&") and token.kind in ("symbol", "command"):
            opened[-1] += [n] if token.value in RELATIONS and token.value not in (":", "colon") else []
    return frozenset(paired), frozenset(equations)


def _span(trees: Sequence[Tree]) -> Span:
    return (trees[0].span[0], trees[-1].span[1]) if trees else (0, 0)
