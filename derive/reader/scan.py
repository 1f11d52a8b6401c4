r"""Scanners: one pass over a source finds its display formulas and directives, and the macros that it defines.

visible     the source with what no renderer shows as text (comments, code, verbatim) replaced by blanks of the same
            length, so that an offset means the same character in both
key         a delimiter without its spaces: `$$`, `\[`, `\begin{align}`; a macro that is short for one counts as it
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping

from derive.errors import SystemError_
from derive.reader.directives import Directive, parse_directive, split_directives
from derive.reader.macros import DEFINITIONS, Definition
from derive.reader.source import Gathered, Source

ENVIRONMENTS: Mapping[str, int] = {
    **dict.fromkeys(["equation", "align", "gather", "multline", "eqnarray", "flalign", "displaymath"], 0),
    **dict.fromkeys(["equation*", "align*", "gather*", "multline*", "eqnarray*", "flalign*"], 0),
    **dict.fromkeys(["alignat", "alignat*", "xalignat", "xalignat*", "IEEEeqnarray", "IEEEeqnarray*"], 1),
}
"""The environments that are display formulas: how many arguments stand behind `\\begin{…}`."""

CLOSES: Mapping[str, str] = {
    "$$": "$$",
    r"\[": r"\]",
    **{rf"\begin{{{name}}}": rf"\end{{{name}}}" for name in ENVIRONMENTS},
}
"""The key that opens a display formula: the key that closes it."""

_VERBATIM = ("verbatim", "verbatim*", "Verbatim", "lstlisting", "minted", "alltt", "comment", "filecontents")
_LONGEST_VERB = 1000
_LONGEST_DELIMITER = 50
CONTROL = re.compile(r"\\(?:begin|end)[ \t]*\{[A-Za-z]*\*?\}|\\(?:[A-Za-z@]+|.)|\$\$", re.DOTALL)
_NAME = re.compile(r"\\(?:[A-Za-z@]+|.)", re.DOTALL)
_HIDDEN = re.compile(
    r"(?P<comment>%+(?i:[ \t]*derive[ \t]*:(?P<steers>(?:[^\n]*,[ \t]*\n[ \t]*%(?!%*[ \t]*derive[ \t]*:))*[^\n]*)|[^\n]*))"
    rf"|\\begin[ \t]*\{{(?P<verbatim>{'|'.join(map(re.escape, _VERBATIM))})\}}"
    r"|(?P<iffalse>^[ \t]*\\iffalse\b)"
    r"|\\(?:verb|lstinline)(?![A-Za-z])\*?(?P<verb>[^\s])"
    r"|\\(?:url|path|href)[ \t]*(?P<address>\{)"
    r"|\\.",
    re.DOTALL | re.MULTILINE,
)
"""What LaTeX does not typeset as text; an escaped character is matched so that `\\%` is no comment."""


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


class Scanner:
    """One pass over a source.  A subclass says what its text looks like: `token`, and a method for each of its groups.

    A method takes the match and returns where the scan goes on; each end is looked for once only, so that a scan takes
    time in proportion to the text.
    """

    token: re.Pattern[str]

    def __init__(self, source: Source, gathered: Gathered):
        self.source, self.gathered, self.visible = source, gathered, source.text
        self.pending: deque[tuple[int, Directive]] = deque()
        self.suspect: int | None = None

    def scan(self, start: int = 0, end: int | None = None) -> None:
        at, end = start, len(self.visible) if end is None else end
        while match := self.token.search(self.visible, at, end):
            at = getattr(self, f"on_{match.lastgroup}")(match)

    def error(self, message: str, at: int) -> SystemError_:
        return SystemError_(message, self.source.place(at))

    def key(self, control: str) -> str:
        """The delimiter that a control sequence is or, as a macro, stands for."""
        macro = self.gathered.macros.get(control[1:])
        short_for = macro.body.strip() if macro and len(macro.body) < _LONGEST_DELIMITER else ""
        return re.sub(r"\s", "", short_for if short_for.startswith((r"\begin", r"\end")) else control)

    def on_control(self, match: re.Match[str]) -> int:
        if match[0][1:] in DEFINITIONS:
            return self.definition(match)
        opener = self.key(match[0])
        return self.display(match, opener) if opener in CLOSES else match.end()

    def on_inline(self, match: re.Match[str]) -> int:
        r"""Inline math is prose, except that `\newcommand` may stand in it."""
        end = self.inline_end(match)
        if end is None:
            return match.end()
        self.without_definitions(match.end(), self.visible[match.end() : end - 1])
        return end

    def inline_end(self, match: re.Match[str]) -> int | None:
        """Where the inline math that a `$` opens ends: at the next `$` of its paragraph."""
        at, end = match.end(), self.source.paragraph_end(match.start())
        closing = re.compile(r"(?:[^$\\]|\\.)*+\$", re.DOTALL).match(self.visible, at, end)
        return closing and closing.end()

    def display(self, match: re.Match[str], opener: str) -> int:
        """The display formula that `match` opens; the scan goes on behind its end."""
        start, close = match.end(), self.closing(match, opener)
        environment = opener.removeprefix(r"\begin{").removesuffix("}")
        text = self.shown(match, close.start())
        text = self.without_arguments(text, ENVIRONMENTS.get(environment, 0), start)
        self.emit(self.without_definitions(start, text), environment, start, (match.start(), close.end()))
        return close.end()

    def emit(self, text: str, environment: str, start: int, span: tuple[int, int]) -> None:
        self.flush(start + len(text))
        self.gathered.add_display(text, environment, self.source, start, span)

    def flush(self, end: int) -> None:
        """Put the directives that stand before `end` into the document."""
        while self.pending and self.pending[0][0] < end:
            self.gathered.add_directive(self.pending.popleft()[1])

    def shown(self, match: re.Match[str], end: int) -> str:
        """What the display that `match` opens shows up to `end`."""
        return self.visible[match.end() : end]

    def closing(self, match: re.Match[str], opener: str) -> re.Match[str]:
        """The match that closes a display.  Raises `SystemError_` where another one opens first, or none is left."""
        wanted, blank_line = CLOSES[opener], self.blank_line(match, opener)
        for control in CONTROL.finditer(self.visible, match.end()):
            key = self.key(control[0])
            if control.start() > blank_line or (key == opener != wanted):
                break
            if key == wanted:
                if self.source.paragraph_end(match.end()) < control.start():
                    self.suspect = match.start()
                return control
        raise self.error(f"{opener} opens a display formula that no {wanted} closes{self.hint(opener)}", match.start())

    def hint(self, opener: str) -> str:
        if opener != "$$" or self.suspect is None:
            return ""
        line = self.source.place(self.suspect).line
        return f"; the one of line {line} runs over a blank line, was its end forgotten?"

    def blank_line(self, match: re.Match[str], opener: str) -> int:
        """Where a display must have ended.  Only `$$` looks the same at both ends, and needs a blank line to be told."""
        return self.source.paragraph_end(match.end()) if opener == "$$" else len(self.visible)

    def without_arguments(self, text: str, count: int, start: int) -> str:
        argument = re.compile(r"\s*(?:\[[^\]]*\]\s*)?\{[^{}]*\}").match(text) if count else None
        if count and not argument:
            raise self.error("this environment takes an argument in braces, and has none", start)
        return _blank(argument[0]) + text[argument.end() :] if argument else text

    def without_definitions(self, start: int, text: str) -> str:
        """Gather the macros that `text`, which stands at `start`, defines, and blank their definitions."""
        pieces, at = [], 0
        while match := _NAME.search(text, at):
            end = match.end()
            pieces.append(text[at:end])
            if match[0][1:] in DEFINITIONS:
                end = self.define(self.reading(text, match, start), strict=True)
                pieces[-1] = text[at : match.start()] + _blank(text[match.start() : end])
            at = end
        return "".join([*pieces, text[at:]])

    def definition(self, match: re.Match[str]) -> int:
        """A definition outside of all displays."""
        return self.define(self.reading(self.visible, match, 0), strict=False)

    def reading(self, text: str, match: re.Match[str], start: int) -> Definition:
        """The definition that `match` begins in `text`, which stands at `start`."""
        return Definition(text, match, self.gathered.macros, self.source.place(start + match.start()))

    def define(self, definition: Definition, strict: bool) -> int:
        macro = DEFINITIONS[definition.command].read(definition)
        if macro is not None:
            self.gathered.add_macro(macro, definition.place)
        elif strict:
            raise definition.malformed("its arguments are delimited by text, not by braces")
        else:
            self.gathered.drop_macro(definition.name)  # LaTeX of another kind; where it is used, it is unknown
        return definition.at

    def without_comments(self, text: str, start: int) -> str:
        """Blank what LaTeX does not show of `text`, which stands at `start`; what steers is kept as a directive."""
        pieces, at = [], 0
        while match := _HIDDEN.search(text, at):
            end = self.hidden_end(match, start) if match.lastgroup else match.end()
            hidden = text[match.start() : end]
            pieces += [text[at : match.start()], _blank(hidden) if match.lastgroup else hidden]
            at = end
            if match["steers"] is not None:
                goes_on = re.sub(r"\n[ \t]*%+", lambda m: "\n".ljust(len(m[0])), match["steers"])
                self.pending += self.directives(goes_on, start + match.start("steers"))
        return "".join([*pieces, text[at:]])

    def hidden_end(self, match: re.Match[str], start: int) -> int:
        kind, text = match.lastgroup, match.string
        if kind == "comment":
            return match.end()
        if kind in ("verb", "address"):
            closer = {"{": "}"}.get(match[kind], match[kind])
            reach = text.find("\n", match.end(), match.end() + _LONGEST_VERB)
            end = text.find(closer, match.end(), reach if reach >= 0 else match.end() + _LONGEST_VERB)
            return end + 1 if end >= 0 else match.end()
        closer = r"\fi" if kind == "iffalse" else rf"\end{{{match['verbatim']}}}"
        end = text.find(closer, match.end())
        if end < 0:
            raise self.error(f"{match[0].strip()} is never closed by {closer}", start + match.start())
        return end + len(closer)

    def directives(self, text: str, at: int) -> Iterator[tuple[int, Directive]]:
        """The directives of a comment, `text` at offset `at`, each with its offset."""
        for offset, part in list(split_directives(text)) or [(0, "")]:
            yield at + offset, parse_directive(part, self.source.place(at + offset))


def line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return end if end >= 0 else len(text)


class Latex(Scanner):
    """LaTeX: formulas from the body, macros and directives from the whole file."""

    token = re.compile(rf"(?P<control>{CONTROL.pattern})|(?P<inline>\$)", re.DOTALL)

    def scan(self, start: int = 0, end: int | None = None) -> None:
        self.visible = self.without_comments(self.source.text, 0)
        begin = re.search(r"\\begin\s*\{document\}", self.visible)
        finish = re.compile(r"\\end\s*\{document\}").search(self.visible, begin.end()) if begin else None
        if begin:
            self.preamble(begin.start())
        super().scan(begin.end() if begin else 0, finish.start() if finish else None)
        self.flush(len(self.visible) + 1)

    def preamble(self, end: int) -> None:
        at = 0
        while match := _NAME.search(self.visible, at, end):
            at = self.definition(match) if match[0][1:] in DEFINITIONS else match.end()
