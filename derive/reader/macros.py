r"""Macros: what `\newcommand` and its like define, read from left to right; nothing is expanded here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from derive.errors import Place, SystemError_
from derive.reader import limits


@dataclass(frozen=True)
class Macro:
    r"""`\name` with `arity` arguments `#1`, `#2`, … in its body, the first one optional where there is a default."""

    name: str
    arity: int
    body: str
    default: str | None = None
    operator: bool = False
    """Whether the body is printed upright, as the name of an operator."""


class Definition:
    r"""The text behind a `\newcommand` or its like, read from left to right; `at` is where the reading stands."""

    def __init__(self, text: str, match: re.Match[str], macros: Mapping[str, Macro], place: Place):
        self.text, self.at, self.command, self.macros = text, match.end(), match[0][1:], macros
        self.place = place
        self.name = ""

    def malformed(self, why: str) -> SystemError_:
        example = DEFINITIONS[self.command].example
        shown = f" of \\{self.name}" if self.name else ""
        return SystemError_(rf"the \{self.command}{shown} is malformed, {why}; write it as in {example}", self.place)

    def take(self, pattern: str) -> re.Match[str] | None:
        """What `pattern` matches next, behind blanks."""
        match = re.compile(rf"\s*(?:{pattern})", re.DOTALL).match(self.text, self.at)
        self.at = match.end() if match else self.at
        return match

    def take_name(self) -> None:
        found = self.take(r"\{\s*\\([A-Za-z@]+|.)\s*\}") or self.take(r"\\([A-Za-z@]+|.)")
        if not found:
            raise self.malformed("it names no command")
        self.name = found[1]

    def take_arity(self) -> int:
        found = self.take(r"\[([^\]\n]{0,20})\]")
        arity = found[1].strip() if found else "0"
        if not re.fullmatch("[0-9]", arity) or int(arity) > limits.LARGEST_ARITY:
            raise self.malformed(f"it takes {arity!r} arguments, which is no number from 0 to {limits.LARGEST_ARITY}")
        return int(arity)

    def take_default(self) -> str | None:
        return self.until("]") if self.take(r"\[") else None

    def take_body(self) -> str:
        if self.take(r"\{"):
            return self.until("}")
        found = self.take(r"\\(?:[A-Za-z@]+|.)|[^\s}]")
        if not found:
            raise self.malformed("it has no body")
        return found[0].lstrip()

    def until(self, closer: str) -> str:
        """The text up to the closing bracket, braces inside in pairs; the reading goes on behind it."""
        start, depth = self.at, 0
        for match in re.compile(r"\\.|[{}\]]", re.DOTALL).finditer(self.text, start):
            if match[0] == closer and depth == 0:
                self.at = match.end()
                return self.text[start : match.start()]
            depth += (match[0] == "{") - (match[0] == "}")
            if depth < 0:
                break
        raise self.malformed(f"no {closer} closes its {self.text[start - 1]}")

    def macro(self, arity: int, body: str, default: str | None = None, operator: bool = False) -> Macro:
        used = [int(number) for number in re.findall(r"(?<!#)#([0-9])", body)]
        if max(used, default=0) > arity:
            raise self.malformed(
                f"its body uses #{max(used)}, and it takes {arity or 'no'} argument{'s' * (arity != 1)}"
            )
        return Macro(self.name, arity, body, default, operator)


def _newcommand(source: Definition) -> Macro:
    source.take(r"\*")
    source.take_name()
    arity = source.take_arity()
    default = source.take_default()
    if default is not None and not arity:
        raise source.malformed("it has a default for an argument, and takes none")
    return source.macro(arity, source.take_body(), default)


def _def(source: Definition) -> Macro | None:
    r"""`\def\name#1#2{body}`; None where other text than this stands before the body, which LaTeX would look for."""
    source.take_name()
    parameters = source.take(r"([^{}]*)(?=\{)")
    if not parameters:
        raise source.malformed("it has no body in braces")
    body, numbers = source.take_body(), re.sub(r"\s", "", parameters[1])
    arity = len(numbers) // 2
    if numbers != "".join(f"#{i}" for i in range(1, arity + 1)):
        return None
    return source.macro(arity, body)


def _let(source: Definition) -> Macro:
    r"""`\let\a\b`: what `\b` means at this point, so a macro is copied."""
    source.take_name()
    source.take("=")
    found = source.take(r"\\(?:[A-Za-z@]+|.)|[^\s}]")
    if not found:
        raise source.malformed("it says nothing that the command stands for")
    target = found[0].lstrip()
    known = source.macros.get(target[1:]) if target[0] == "\\" else None
    return replace(known, name=source.name) if known else Macro(source.name, 0, target)


def _operator(source: Definition) -> Macro:
    source.take(r"\*")
    source.take_name()
    return source.macro(0, source.take_body(), operator=True)


@dataclass(frozen=True)
class Row:
    read: Callable[[Definition], Macro | None]
    example: str


_COMMAND = Row(_newcommand, r"\newcommand{\vect}[1]{\mathbf{#1}}")
DEFINITIONS: Mapping[str, Row] = {
    **dict.fromkeys(("newcommand", "renewcommand", "providecommand", "DeclareRobustCommand"), _COMMAND),
    **dict.fromkeys(("def", "gdef"), Row(_def, r"\def\vect#1{\mathbf{#1}}")),
    "let": Row(_let, r"\let\phi\varphi"),
    "DeclareMathOperator": Row(_operator, r"\DeclareMathOperator{\diag}{diag}"),
}
"""The commands that define a macro, without their backslash; a star may follow."""
