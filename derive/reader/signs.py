r"""Signs of several tokens, `:=`, `\mathrel{+}=`, `\stackrel{!}{=}`, and the rows that a formula goes on over."""

from __future__ import annotations

from derive.reader.grammar import LINE_ENDS, OPERATORS, RELATIONS, TRANSPARENT, WRITTEN_RELATIONS
from derive.reader.stream import Stream
from derive.reader.tokens import Token


class Signs(Stream):
    """What stands between terms and factors."""

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
            if written in WRITTEN_RELATIONS and (written != "<-" or self.is_arrow(token, self.after(steps))):
                longest = (written, steps)
            if not any(known.startswith(written) for known in WRITTEN_RELATIONS):
                break
        return longest

    def is_arrow(self, minus: Token, after: Token) -> bool:
        """Whether this is `a <- b`, in one piece and apart from what follows; `a < -b` and `a<-b` compare with -b."""
        return minus.span[0] == self.at.span[1] and after.span[0] > minus.span[1]

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

    def braced_plus(self) -> bool:
        """Whether `{+}` or `{-}` stands here, a sign that is kept from having space around it."""
        return self.is_symbol("{") and self.after().of("symbol", "+", "-") and self.after(2).of("symbol", "}")

    def sign_token(self) -> Token:
        """Takes the sign that stands here, out of its braces where it has some."""
        braced = self.is_symbol("{")
        if braced:
            self.drop()
        token = self.take()
        if braced:
            self.drop()
        return token

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
