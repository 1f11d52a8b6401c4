r"""Atoms: names, numbers, brackets, `\frac` and its like, environments with rows of cells."""

from __future__ import annotations

from collections.abc import Callable

from derive.errors import did_you_mean
from derive.reader import limits
from derive.reader.grammar import (
    ACCENTS,
    CLOSING,
    DOTS,
    ENVIRONMENTS,
    LINE_ENDS,
    NAMED_BRACKETS,
    NO_FACTOR,
    OPERATORS,
    TRANSPARENT,
)
from derive.reader.signs import Signs
from derive.reader.stream import span_of
from derive.reader.tokens import Token
from derive.reader.tree import Tree, Unread


class Atoms(Signs):
    """What a factor is made of; what stands inside brackets is read by `implication` and `statements`."""

    def implication(self) -> Tree:
        raise NotImplementedError

    def statements(self, done: Callable[[], bool]) -> list[Tree]:
        raise NotImplementedError

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
        half_open = end.value if opening in ("(", "[") and end.value in (")", "]") and end.value != close else ""
        mark = (
            NAMED_BRACKETS.get(opening, opening) + half_open + (";" if ";" in separators or "\\" in separators else "")
        )
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
        if name in ("underbrace", "overbrace", "underbracket", "overbracket"):
            self.take()
            inside = self.argument(token)
            return self.node("brace", name, (inside,), (token.span[0], inside.span[1]), token)
        if name in ("cancel", "bcancel", "xcancel", "sout", "st"):
            raise self.fail(f"found \\{name}: what is struck out is not read")
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
        if self.at.kind == "digit" and self.at.value != ".":
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
        kept = [Tree("row", None, tuple(row), span_of(row)) for row in rows]
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
        return Tree("statements", None, tuple(found), span_of(found)) if found else self.empty(position)

    def cell_end(self) -> int:
        depth = 0
        for n in range(self.n, self.stop):
            token = self.tokens[n]
            if depth == 0 and (token.of("symbol", "&", "}") or token.of("command", *LINE_ENDS, "end")):
                return n
            depth += _depth(token, brackets=False)
        return self.stop

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
