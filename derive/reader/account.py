"""Nothing is dropped in silence: every character of a formula is in a token, and every token is accounted for.

A token is held by one node of the tree (a leaf's words, an operator, a bracket, a command such as `frac`) or set aside:
`LAYOUT` says what the parser may set aside, spacing and labels are the tokenizer's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from derive.reader.grammar import LINE_ENDS
from derive.reader.macros import Macro
from derive.reader.parse import Parser
from derive.reader.tokens import Token, Tokens, spaced, tokenize
from derive.reader.tree import Tree

LAYOUT: Mapping[str, frozenset[str]] = {
    "symbol": frozenset(spaced("{ } & , ; . : | +")),
    "command": frozenset([*LINE_ENDS, *spaced("begin end quad qquad mid colon substack mathrel")]),
    "open": frozenset("."),
    "close": frozenset("."),
}
"""What groups, separates and aligns: its place in the tree says it.  A leading `+` says nothing."""


def unaccounted(text: str, macros: Mapping[str, Macro]) -> list[Token]:
    """The tokens of `text` that its tree has lost; none, unless the reader is wrong.  Raises `Unread`."""
    tokens = tokenize(text, macros)
    parser = Parser(tokens)
    tree = parser.display()
    return [*_uncovered(text, tokens), *lost(tokens, parser, tree)]


def lost(tokens: Tokens, parser: Parser, tree: Tree) -> list[Token]:
    """The tokens that are not in exactly one place, and those that were set aside and say something."""
    nodes = {id(node) for node in tree.walk()}
    places = Counter(id(token) for node, held in parser.held if id(node) in nodes for token in held)
    places.update(id(token) for token in parser.arguments)
    set_aside = {id(token) for token in parser.aside[len(tokens.aside) :]}
    places.update(set_aside)
    return [t for t in tokens.kept if places[id(t)] != 1 or (id(t) in set_aside and not is_layout(t))]


def is_layout(token: Token) -> bool:
    """Whether the parser may set this token aside."""
    return token.value in LAYOUT.get(token.kind, ())


def _uncovered(text: str, tokens: Tokens) -> list[Token]:
    covered = bytearray(len(text))
    for token in (*tokens.kept, *tokens.aside):
        start, end = token.span
        covered[start:end] = b"\1" * (end - start)
    return [
        Token("lost", c, (n, n + 1)) for n, c in enumerate(text) if not covered[n] and not (c.isspace() or c == "~")
    ]
