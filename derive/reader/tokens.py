r"""LaTeX as tokens, each with the span of characters that it was read from; the user's macros are expanded.

A token that comes out of a macro has the span of the call.  What has no meaning (spacing, labels, sizes of brackets) is
set aside, not thrown away: `Tokens.aside` holds it, so that every character of a formula is accounted for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from derive.reader import limits
from derive.reader.macros import Macro
from derive.reader.scope import FUNCTIONS
from derive.reader.tree import Span, Unread


@dataclass(frozen=True, slots=True)
class Token:
    r"""`kind`: command (value without its backslash), letter, digit, symbol, text (the words of \text{…}) or word."""

    kind: str
    value: str
    span: Span

    def of(self, kind: str, *values: str) -> bool:
        return self.kind == kind and (not values or self.value in values)


@dataclass(frozen=True)
class Tokens:
    kept: tuple[Token, ...]
    aside: tuple[Token, ...]


def spaced(words: str) -> list[str]:
    """The rows of a table that are one word each."""
    return words.split()


UNICODE: Mapping[str, str] = {
    **dict(zip("αβγδεζηθικλμνξπρστυφχψω", spaced(
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega"
    ), strict=True)),
    "Δ": "Delta", "Σ": "Sigma", "Γ": "Gamma", "Λ": "Lambda", "Θ": "Theta", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
    "∂": "partial", "∇": "nabla", "⊙": "odot", "∘": "circ", "·": "cdot", "×": "times", "∑": "sum", "∏": "prod",
    "≤": "le", "≥": "ge", "≠": "ne", "≈": "approx", "∈": "in", "→": "to", "⇒": "Rightarrow", "⊤": "top", "−": "minus",
    "…": "dots", "⋯": "dots", "′": "prime", "∞": "infty", "‖": "|", "≔": "coloneqq", "←": "gets", "ℓ": "ell", "∀": "forall",
}  # fmt: skip

BRACKETS = frozenset(
    spaced(
        "( ) [ ] | . / < > { } Vert vert langle rangle lbrace rbrace lbrack rbrack lfloor rfloor lceil rceil lvert rvert "
        "lVert rVert lparen rparen uparrow downarrow backslash"
    )
)
"""What may stand behind one of `BRACKETING`."""

SPACING = frozenset(
    spaced(
        ", : ; ! > thinspace medspace thickspace negthinspace enspace enskip hfill hfil nonumber notag allowbreak break "
        "nobreak limits nolimits displaystyle textstyle scriptstyle scriptscriptstyle centering hline noindent smallskip medskip "
        "bigskip null relax normalsize small large mathstrut strut nulldelimiterspace qquadspace protect / - par"
    )
)
"""Commands that change how a formula looks and not what it says."""

BRACKETING: Mapping[str, str] = {
    **dict.fromkeys(spaced("left bigl Bigl biggl Biggl"), "open"),
    **dict.fromkeys(spaced("right bigr Bigr biggr Biggr"), "close"),
    **dict.fromkeys(spaced("middle big Big bigg Bigg bigm Bigm biggm Biggm"), "symbol"),
}
r"""What stands before a bracket, and which side of a pair a `|` then is."""

LABELLING = frozenset(spaced("label tag tag* eqref ref color textcolor hspace hspace* vspace vspace* phantom hphantom vphantom "
                      "mspace kern intertext shortintertext cite footnote rule"))  # fmt: skip
r"""Commands that are set aside with their argument (`\textcolor` keeps its second one)."""

APPLIED = frozenset([*FUNCTIONS, "diag", "Diag"])
"""Words of a text that are names where a bracket or a script follows."""
WORDS = frozenset(spaced("text textrm textit textbf textsf texttt textnormal mbox hbox textup"))
UPRIGHT = frozenset(spaced("mathrm operatorname operatorname* mathsf mathtt mathit mathop mathnormal rm"))
FONTS = frozenset(spaced("mathbf boldsymbol bm mathbb mathcal mathfrak mathscr pmb bf bold boxed mathord mathbin "
                  "mathopen mathclose mathpunct mathinner smash ensuremath vec underline"))  # fmt: skip
r"""Commands that dress one letter or formula and leave its meaning alone; `\vec x` is the vector `x`."""

_LEX = re.compile(
    r"(?P<space>[\s~]+)|\\(?P<command>[A-Za-z@]+\*?|.)|(?P<letter>[A-Za-z])|(?P<digit>[0-9]|\.(?=[0-9]))|(?P<symbol>.)",
    re.DOTALL,
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_STARRED = {"operatorname*", "tag*", "hspace*", "vspace*"}


def tokenize(text: str, macros: Mapping[str, Macro]) -> Tokens:
    """Raises `Unread` where braces do not pair, a macro lacks its arguments, or a bound is hit."""
    raw, calls = _expand(_lex(text), macros)
    found = _Sorter(raw).sorted()
    return Tokens(found.kept, (*calls, *found.aside))


def _lex(text: str) -> list[Token]:
    tokens: list[Token] = []
    for match in _LEX.finditer(_SURROGATE.sub("\ufffd", text)):
        kind, value, span = str(match.lastgroup), match[str(match.lastgroup)], match.span()
        if kind == "command" and value.endswith("*") and len(value) > 1 and value not in _STARRED:
            star = Token("symbol", "*", (span[1] - 1, span[1]))
            tokens += [Token(kind, value[:-1], (span[0], span[1] - 1)), star]
        elif kind == "symbol" and value in UNICODE:
            tokens.append(Token("command", UNICODE[value], span))
        else:
            tokens.append(Token(kind, value, span))
    return tokens


def _expand(tokens: list[Token], macros: Mapping[str, Macro]) -> tuple[list[Token], list[Token]]:
    """With every macro replaced by its body, and the calls.  The budget stops what never ends."""
    done: list[Token] = []
    calls: list[Token] = []
    pending = list(reversed(tokens))
    budget = limits.LARGEST_EXPANSION
    while pending:
        token = pending.pop()
        macro = macros.get(token.value) if token.kind == "command" else None
        if macro is None:
            done.append(token)
            continue
        arguments, end = _arguments(macro, token, pending)
        span = (token.span[0], max(token.span[1], end))
        calls.append(Token("call", token.value, span))
        body = _body(macro, arguments, span) if len(macro.body) <= limits.LARGEST_DISPLAY else None
        budget -= len(body) + 1 if body is not None else budget + 1
        if body is None or budget < 0:
            raise Unread(f"\\{token.value} expands to more than {limits.LARGEST_EXPANSION} tokens", token.span)
        pending.extend(reversed(body))
    return done, calls


def _body(macro: Macro, arguments: Sequence[list[Token]], span: Span) -> list[Token]:
    written = _lex(macro.body)
    if macro.operator:
        written = [Token("command", "operatorname", span), Token("symbol", "{", span), *written]
        written.append(Token("symbol", "}", span))
    numbers = {str(n): argument for n, argument in enumerate(arguments, 1)}
    body: list[Token] = []
    skip = False
    for here, after in zip_longest(written, written[1:]):
        if skip:
            skip = False
        elif here.of("symbol", "#") and after is not None and after.value in numbers:
            body += [Token(t.kind, t.value, span) for t in numbers[after.value]]
            skip = True
        else:
            body.append(Token(here.kind, here.value, span))
    return body


def _arguments(macro: Macro, call: Token, pending: list[Token]) -> tuple[list[list[Token]], int]:
    """The arguments of a call, and where the last one ends."""
    found: list[list[Token]] = []
    end = call.span[1]
    if macro.default is not None:
        optional, end = _optional(pending, call, macro.default)
        found.append(optional)
    while len(found) < macro.arity:
        while pending and pending[-1].kind == "space":
            pending.pop()
        if not pending:
            expected = f"{macro.arity} argument{'s' * (macro.arity != 1)}"
            raise Unread(f"\\{call.value} takes {expected}, found {len(found)}", call.span)
        inside, braces = _group(pending, call)
        found.append(inside)
        end = max(end, (braces or inside)[-1].span[1])
    return found, end


def _optional(pending: list[Token], call: Token, default: str) -> tuple[list[Token], int]:
    """The tokens in brackets that stand next, or the default's; and where they end."""
    if not (pending and pending[-1].of("symbol", "[")):
        return _lex(default), call.span[1]
    opening = pending.pop()
    taken: list[Token] = []
    while pending:
        token = pending.pop()
        if token.of("symbol", "]"):
            return taken, token.span[1]
        taken.append(token)
    raise Unread(f"this bracket [ behind \\{call.value} is never closed", opening.span)


def _group(pending: list[Token], call: Token) -> tuple[list[Token], list[Token]]:
    """The tokens of a braced group and its two braces, or the next token alone and no braces."""
    first = pending.pop()
    if first.of("symbol", "}"):
        raise Unread(f"\\{call.value} lacks an argument, found }}", first.span)
    if not first.of("symbol", "{"):
        return [first], []
    depth = 1
    taken: list[Token] = []
    while pending:
        token = pending.pop()
        depth += token.of("symbol", "{") - token.of("symbol", "}")
        if not depth:
            return taken, [first, token]
        taken.append(token)
    raise Unread("this brace { is never closed", first.span)


class _Sorter:
    """Sets aside what has no meaning, and joins the letters of upright words."""

    def __init__(self, raw: list[Token]):
        self.pending = list(reversed(raw))
        self.kept: list[Token] = []
        self.aside: list[Token] = []

    def sorted(self) -> Tokens:
        while self.pending:
            self.one(self.pending.pop())
        self.drop_empty_groups()
        return Tokens(tuple(self.kept), tuple(self.aside))

    def drop_empty_groups(self) -> None:
        """`a ={} \\\\ b`: an empty group behind a sign is there for the spacing only."""
        kept: list[Token] = []
        for n, token in enumerate(self.kept):
            after = self.kept[n + 1] if n + 1 < len(self.kept) else None
            empty = token.of("symbol", "}") and kept and kept[-1].of("symbol", "{")
            before = kept[-2] if empty and len(kept) > 1 else None
            scripted = after is not None and after.of("symbol", "_", "^")
            if empty and not scripted and (before is None or before.of("symbol", "=", "+", "-", "&", "(", ",")):
                self.aside += [kept.pop(), token]
            else:
                kept.append(token)
        self.kept = kept

    def one(self, token: Token) -> None:
        if token.kind == "space":
            self.aside.append(token)
        elif token.kind != "command":
            self.kept.append(token)
        elif token.value in BRACKETING:
            self.bracket(token)
        elif token.value in ("mathbb", "mathds") and self.is_expectation():
            raise Unread("an expectation or a probability is not read", token.span)
        elif token.value in FONTS and self.is_ones():
            self.ones(token)
        elif token.value in SPACING or token.value in FONTS or token.value.isspace():
            self.aside.append(token)
        elif token.value in LABELLING:
            self.set_aside(token)
        elif token.value in WORDS:
            self.words(token)
        elif token.value in UPRIGHT:
            self.upright(token)
        else:
            self.kept.append(token)

    def is_expectation(self) -> bool:
        r"""`\\mathbb{E}`, `\\mathbb P`: no loss and no matrix."""
        following = [t.value for t in reversed(self.pending[-3:]) if t.kind != "space" and t.value != "{"]
        return bool(following) and following[0] in ("E", "P", "V")

    def bracket(self, token: Token) -> None:
        r"""`\left|` opens and `\right|` closes; `\left.` is a bracket that is not seen."""
        self.aside.append(token)
        self.spaces()
        if not self.pending or self.pending[-1].value not in BRACKETS:
            found = self.pending[-1] if self.pending else None
            shown = "the end of the formula" if found is None else "\\" * (found.kind == "command") + found.value
            raise Unread(f"\\{token.value} lacks its bracket, found {shown}", (found or token).span)
        found = self.pending.pop()
        bar = {"|": "||", "Vert": "||", "vert": "|"}.get(found.value) if found.kind == "command" else found.value
        angle = {"<": "langle", ">": "rangle"}.get(found.value) if found.kind == "symbol" else None
        if bar in ("|", "||", "."):
            self.kept.append(Token(BRACKETING[token.value], bar, found.span))
        else:
            self.kept.append(Token("command", angle, found.span) if angle else found)

    def is_ones(self) -> bool:
        r"""`\\mathbf 1`, `\\mathbb{1}`: a vector of ones, or what an indicator begins with."""
        following = [t for t in self.pending[-4:][::-1] if t.kind != "space"]
        if following[:1] and following[0].of("digit", "1"):
            return True
        return (
            len(following) > 2
            and following[0].of("symbol", "{")
            and following[1].of("digit", "1")
            and following[2].of("symbol", "}")
        )

    def ones(self, token: Token) -> None:
        self.aside.append(token)
        self.spaces()
        first = self.pending.pop()
        if first.kind == "digit":
            self.kept.append(Token("word", "ones", first.span))
            return
        self.aside.append(first)
        self.spaces()
        digit = self.pending.pop()
        self.kept.append(Token("word", "ones", digit.span))
        self.spaces()
        self.aside.append(self.pending.pop())

    def spaces(self) -> None:
        while self.pending and self.pending[-1].kind == "space":
            self.aside.append(self.pending.pop())

    def set_aside(self, token: Token) -> None:
        self.aside.append(token)
        self.spaces()
        if self.pending and self.pending[-1].of("symbol", "{"):
            inside, braces = _group(self.pending, token)
            self.aside += [*inside, *braces]

    def words(self, token: Token) -> None:
        self.aside.append(token)
        self.spaces()
        if not self.pending:
            raise Unread(f"\\{token.value} lacks its words in braces", token.span)
        inside, braces = _group(self.pending, token)
        self.aside += braces
        span = (inside[0].span[0], inside[-1].span[1]) if inside else token.span
        if any(t.of("symbol", "$") for t in inside):
            self.mixed(inside)
            return
        written = "".join(t.value if t.kind != "space" else " " for t in inside)
        is_name = written in APPLIED and self.is_applied()
        self.kept.append(Token("word" if is_name else "text", written, span))

    def is_applied(self) -> bool:
        r"""`\text{softmax}(…)`: a function, whatever font it stands in."""
        after = next((t for t in reversed(self.pending) if t.kind != "space"), None)
        return after is not None and (after.value in ("(", "[", "^", "_", "'") or after.value in BRACKETING)

    def mixed(self, inside: list[Token]) -> None:
        r"""Words with inline math, `\text{for $t > 1$}`: the words as text, the math as it stands."""
        in_math = False
        run: list[Token] = []
        for token in [*inside, Token("symbol", "$", (inside[-1].span[1], inside[-1].span[1]))]:
            if token.of("symbol", "$"):
                self.aside.append(token)
                if run and not in_math:
                    written = "".join(t.value if t.kind != "space" else " " for t in run)
                    self.kept.append(Token("text", written, (run[0].span[0], run[-1].span[1])))
                elif run:
                    inner = _Sorter(run).sorted()
                    self.kept += inner.kept
                    self.aside += inner.aside
                in_math, run = not in_math, []
            else:
                run.append(token)

    def upright(self, token: Token) -> None:
        r"""`\mathrm{ReLU}` is one word; `\mathrm{d}h` and `\mathsf T` are letters; what holds more is a group."""
        self.aside.append(token)
        self.spaces()
        plain = self.plain()
        if not plain or plain[0].kind != "letter" or (len(plain) > 1 and any(t.of("symbol", "_") for t in plain)):
            return
        inside, braces = _group(self.pending, token)
        self.aside += [*braces, *(t for t in inside if t.kind in ("space", "command"))]
        written = "".join(t.value for t in plain)
        span = (plain[0].span[0], plain[-1].span[1])
        self.kept.append(Token("letter" if len(written) == 1 else "word", written, span))

    def plain(self) -> list[Token]:
        """The letters of the group that stands next, if it holds nothing else.  It is looked at, not taken."""
        found: list[Token] = []
        if not (self.pending and self.pending[-1].of("symbol", "{")):
            return found
        for n in range(len(self.pending) - 2, -1, -1):
            token = self.pending[n]
            if token.of("symbol", "}"):
                return found
            if token.kind in ("letter", "digit") or token.of("symbol", "_", "-"):
                found.append(token)
            elif token.kind != "space" and not (token.kind == "command" and token.value in SPACING):
                break
        return []
