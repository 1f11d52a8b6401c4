"""Documents whose lines are labelled true or false, by someone who had not seen the checker.

A line that starts with `@` labels the formula below it, up to the next empty line: `T` true, `F` false, `D` a definition,
`U` to be unread, `?` open; a letter for each claim of the display.  `#tex` makes the document LaTeX.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "labelled"
NAMES = sorted(path.stem for path in FOLDER.glob("*.txt"))


@dataclass(frozen=True)
class Labelled:
    """A document, and for each labelled display its first and last line and the labels of its claims."""

    text: str
    kind: str
    displays: tuple[tuple[int, int, str], ...]

    def label(self, line: int, nth: int) -> str:
        """What is to be found of the nth claim of the display around a line."""
        labels = next((labels for first, last, labels in self.displays if first <= line <= last), "")
        return labels[nth] if nth < len(labels) else "?"


def labelled(name: str) -> Labelled:
    source = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").split("\n")
    kind = "tex" if any(line.startswith("#tex") for line in source) else "md"
    out: list[str] = []
    displays = []
    lines = iter(line for line in source if not line.startswith("#tex"))
    for line in lines:
        if not line.startswith("@"):
            out.append(line)
            continue
        body = []
        for inside in lines:
            if not inside.strip():
                break
            body.append(inside)
        first = len(out) + 1
        own = kind == "tex" and body[0].startswith(r"\begin{") and not body[0].startswith(r"\begin{cases")
        opening, closing = ([], []) if own else (["$$"], ["$$"]) if kind == "md" else ([r"\["], [r"\]"])
        out += [*opening, *body, *closing]
        displays.append((first, len(out), line[1:].strip()))
        out.append("")
    return Labelled("\n".join(out) + "\n", kind, tuple(displays))
