"""The tokens of one formula as they are read: where one stands, what is set aside, what holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from derive.reader.grammar import CLOSING, LINE_ENDS, PRODUCTS, RELATIONS, TRANSPARENT
from derive.reader.tokens import Token, Tokens
from derive.reader.tree import Span, Tree, Unread

_LONGEST_NAME = 20


class Stream:
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

    def empty(self, at: int) -> Tree:
        return Tree("empty", None, (), (at, at))

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


def span_of(trees: Sequence[Tree]) -> Span:
    return (trees[0].span[0], trees[-1].span[1]) if trees else (0, 0)
