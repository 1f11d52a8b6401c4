"""Markdown: where its formulas are, and what only looks like one.

quoted      how many `>` a line has to shed
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from functools import cached_property

from derive.reader.scan import CONTROL, Scanner, line_end
from derive.reader.source import Query

_LONGEST_PREFIX = 200
_QUOTES = re.compile(r"[ \t]*(?:>[ \t]*|[-*+][ \t]+|\d{1,9}[.)][ \t]+)*")
_ITEM = re.compile(r"(?:[-*+:]|\d{1,9}[.)])(?:[ \t]|$)|!!!|\?\?\?|===|\[\^[^\]]*\]:|>")
"""What a line begins with whose followers may be indented without being code."""


class Markdown(Scanner):
    """Markdown: code, comments and inline math are no formulas; quotes and list items may hold some."""

    token = re.compile(
        rf"(?P<fence>^{_QUOTES.pattern}(?:`{{3,}}(?=[^`\n]*$)|~{{3,}}))"
        r"|(?P<indented>^(?: {4}| {0,3}\t))"
        r"|(?P<ticks>`+)"
        r"|(?P<comment><!--)"
        r"|(?P<raw><(?i:pre|code|script|style)\b)"
        rf"|(?P<control>{CONTROL.pattern})"
        r"|(?P<inline>\$)",
        re.DOTALL | re.MULTILINE,
    )

    def on_fence(self, match: re.Match[str]) -> int:
        if match.start() in self.indented_code:
            return line_end(self.visible, match.end())
        quoted, fence = match[0].count(">"), match[0].lstrip(" \t>-*+.)0123456789")
        start = min(line_end(self.visible, match.end()) + 1, len(self.visible))
        end, following = self.fence_end(start, fence, quoted)
        info = re.match(r"\s*\{?\.?([\w-]*)\}?\s*(.*)", self.visible[match.end() : start], re.DOTALL)
        word, options = info.groups() if info else ("", "")
        if word in ("math", "derive") and following is None:
            raise self.error(f"the block {fence}{word} is never closed by {fence}", match.end() - len(fence))
        span = (match.start(), end if following is None else following)
        if word == "math":
            text = self.without_comments(self.unquoted(start, end, quoted), start)
            self.emit(self.without_definitions(start, text), "math", start, span)
        elif word == "derive":
            text = self.unquoted(start, end, quoted)
            at = start + len(text) - len(text.lstrip())
            self.gathered.items.append(Query(text.strip(), options.strip(), self.source.place(at), span))
        return span[1]

    def fence_end(self, start: int, fence: str, quoted: int) -> tuple[int, int | None]:
        """Where the block's text ends, and where its closing line ends: None where there is none."""
        closing = re.compile(rf"[ \t>]*{fence}{fence[0]}*[ \t]*")
        at = start
        while at < len(self.visible):
            end = line_end(self.visible, at)
            if closing.fullmatch(self.visible, at, end):
                return at, end
            if quoted and not self.visible[at:end].lstrip().startswith(">"):
                return at, None
            at = end + 1
        return len(self.visible), None

    def on_indented(self, match: re.Match[str]) -> int:
        return line_end(self.visible, match.end()) if match.start() in self.indented_code else match.end()

    @cached_property
    def indented_code(self) -> set[int]:
        """The offsets of the lines that are code by four blanks, which takes an empty line before, and no list."""
        code: set[int] = set()
        after_blank, in_code, in_list = True, False, False
        for line in re.finditer(r"^([ \t]*)([^\n]*)$", self.visible, re.MULTILINE):
            if not line[2]:
                after_blank = True
                continue
            indent = len(line[1].expandtabs(4))
            in_code = indent >= 4 and not in_list and (after_blank or in_code)
            if in_code:
                code.add(line.start())
            elif _ITEM.match(line[2]):
                in_list = True
            elif (after_blank and indent < 2) or line[2].startswith("#"):
                in_list = False
            after_blank = False
        return code

    def on_ticks(self, match: re.Match[str]) -> int:
        """A code span ends at the next run of as many backticks in its paragraph; without one, they are text."""
        runs = self.runs[len(match[0])]
        i = bisect_right(runs, match.start())
        ends = i < len(runs) and runs[i] < self.source.paragraph_end(match.start())
        return runs[i] + len(match[0]) if ends else match.end()

    @cached_property
    def runs(self) -> dict[int, list[int]]:
        """How many backticks: the offsets of the runs of so many."""
        runs: dict[int, list[int]] = defaultdict(list)
        for match in re.finditer("`+", self.visible):
            runs[len(match[0])].append(match.start())
        return runs

    def on_comment(self, match: re.Match[str]) -> int:
        end = self.visible.find("-->", match.start() + 2)
        if end < 0:
            raise self.error("<!-- opens a comment that no --> closes", match.start())
        steers = re.compile(r"<!--\s*derive\s*:", re.IGNORECASE).match(self.visible, match.start(), end)
        if steers:
            text = self.unquoted(steers.end(), end, self.quoted(match.start()))
            for _, directive in self.directives(text, steers.end()):
                self.gathered.add_directive(directive)
        return end + 3

    def on_raw(self, match: re.Match[str]) -> int:
        """HTML that shows its text as it stands."""
        ends = self.tags[match[0][1:].lower()]
        i = bisect_right(ends, match.start())
        return ends[i] if i < len(ends) else match.end()

    @cached_property
    def tags(self) -> dict[str, list[int]]:
        """The name of an element: the offsets at which one ends."""
        tags: dict[str, list[int]] = defaultdict(list)
        for match in re.finditer(r"</(pre|code|script|style)\b", self.visible, re.IGNORECASE):
            tags[match[1].lower()].append(match.end())
        return tags

    def inline_end(self, match: re.Match[str]) -> int | None:
        """As Pandoc has it: no blank inside next to a `$`, no digit behind the second, so that `$5 and $6` are prices."""
        end = super().inline_end(match)
        if end is None or self.visible[match.end()].isspace() or self.visible[end - 2].isspace():
            return None
        return None if re.compile(r"\d|\$(?!\S[^$\n]*\$(?!\$))").match(self.visible, end) else end

    def definition(self, match: re.Match[str]) -> int:
        """In prose the word alone, as one may write it about LaTeX, defines nothing."""
        is_one = re.compile(r"\*?\s*(?:\{\s*)?\\").match(self.visible, match.end())
        return super().definition(match) if is_one else match.end()

    def shown(self, match: re.Match[str], end: int) -> str:
        text = self.unquoted(match.end(), end, self.quoted(match.start()))
        return self.without_comments(text, match.end())

    def quoted(self, at: int) -> int:
        start = self.source.line_start(at)
        line = _QUOTES.match(self.visible, start, min(at, start + _LONGEST_PREFIX))
        return line[0].count(">") if line else 0

    def unquoted(self, start: int, end: int, quoted: int) -> str:
        """The text with the `>` of its lines blanked, as many as the block stands in."""
        text = self.visible[start:end]
        if not quoted:
            return text
        at_line = start == self.source.line_start(start)
        line_start = "^" if at_line else r"(?<=\n)"
        prefix = rf"{line_start}[ \t]*(?:>[ \t]?){{1,{quoted}}}"
        return re.sub(prefix, lambda m: " " * len(m[0]), text, flags=re.MULTILINE)

    def blank_line(self, match: re.Match[str], opener: str) -> int:
        """A `$$` that has its line to itself may have blank lines in its formula, as renderers allow it."""
        alone = re.compile(r"[ \t]*(?:\n|\Z)").match(self.visible, match.end())
        return len(self.visible) if alone else super().blank_line(match, opener)
