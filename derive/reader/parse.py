r"""Tokens to the neutral tree, by precedence: separators, `⇒`, relations, sums, chains of factors, scripts.

Nothing is decided here that needs a shape: a chain is flat, with what stands between its factors, and scripts stay
where they stand.  Rows are joined where a line ends or begins with an operator, and separate formulas where not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from derive.reader.atoms import Atoms
from derive.reader.grammar import IMPLICATIONS, LINE_ENDS, NO_FACTOR, OPERATORS, PRODUCTS, RELATIONS, SIGNS, TRANSPARENT
from derive.reader.macros import Macro
from derive.reader.stream import span_of
from derive.reader.tokens import Token, tokenize
from derive.reader.tree import Tree


def parse(text: str, macros: Mapping[str, Macro] | None = None) -> Tree:
    """The `statements` of a display formula.  Raises `Unread` with the span of what is off."""
    return Parser(tokenize(text, macros or {})).display()


class Parser(Atoms):
    """One formula, by precedence."""

    def display(self) -> Tree:
        found = self.statements(lambda: self.at.kind == "end")
        return Tree("statements", None, tuple(found), span_of(found) if found else self.end.span)

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
        return parts[0] if not signs else self.node("implication", tuple(signs), parts, span_of(parts), *heads)

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
        return parts[0] if not signs else self.node("relation", tuple(signs), parts, span_of(parts), *heads)

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
        return terms[0] if len(terms) == 1 else self.node("sum", None, terms, span_of(terms), *heads)

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
        return factors[0] if not signs else self.node("chain", tuple(signs), factors, span_of(factors), *heads)

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

    def factor(self, after_sign: bool = False) -> Tree:
        if after_sign and self.sign(SIGNS):
            sign, head = self.sign(SIGNS), self.take()
            inside = self.factor()
            if sign != "minus":
                self.aside.append(head)
                return inside
            return self.node("minus", None, (inside,), (head.span[0], inside.span[1]), head)
        return self.scripted(self.atom())

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
        if self.at.of("digit", "."):
            raise self.no_factor()
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
