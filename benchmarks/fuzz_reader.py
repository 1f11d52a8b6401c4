r"""Feed the reader formulas that nobody would write: `python benchmarks/fuzz_reader.py [--inputs 100000] [--seed 0]`.

Inputs are random strings over LaTeX's alphabet, formulas of the corpus with tokens deleted, doubled, swapped, put in or
cut off, and two formulas spliced.  Each stands in a document that speaks of a system, or defines one by it; the outcome
is `read`, `unread` (a claim that says so at a place in the document) or `refused` (a `DeriveError` with a place).  With
`--parse` formulas are only parsed, to a tree or an `Unread` whose span lies in the text.  Prints how many of each there
were and the slowest input; exits with 1 where anything else was raised, or an input took over a second of CPU.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from derive.errors import DeriveError, Place
from derive.printing import latex
from derive.printing import text as printed
from derive.reader import document
from derive.reader.account import unaccounted
from derive.reader.macros import Macro
from derive.reader.parse import parse
from derive.reader.tree import Unread
from derive.reader.understand import understand

ROOT = Path(__file__).parent.parent
MOST_SECONDS = 1.0
COMMENT = re.compile(r"<!-- derive:.*?-->", re.DOTALL)
KINDS = (
    tuple("hWUbxzrcfioagLVySntkij"),
    (*"+-=*", r"\odot", r"\cdot", r"\le"),
    (
        r"\sigma",
        r"\tanh",
        r"\exp",
        r"\mathrm",
        r"\mathbf",
        r"\hat",
        r"\tilde",
        r"\bar",
        r"\partial",
        r"\delta",
        r"\nabla",
    ),
    (r"\sum", r"\prod"),
    tuple("0123"),
    ("_", "^"),
)
PIECE = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.DOTALL)
COMMANDS = r"""
    \\ \, \{ \} \| \left \right \left( \right) \left. \right| \bigl \Big \frac \tfrac \sqrt \bar \tilde \text \mathrm
    \mathbf \operatorname \begin \end \begin{aligned} \end{aligned} \begin{pmatrix} \end{pmatrix} \begin{cases} \end{cases}
    \begin{array}{rcl} \end{array} \sum_ \prod \odot \cdot \le \in \to \Rightarrow \stackrel \mathrel \overset \underbrace
    \partial \nabla \sigma \quad \tag \label \color \substack \mid \langle \rangle \over \middle \limits \prime ^\top _{t-1}
    {+} := \text{for \begin{ \end{ \a \b \c \d \e \f
"""
STRANGE = ["α", "⊙", "ℓ", "𝐖", "é", "‖", "\0", "\x7f", "\ud800", "\u202e", "\ufeff"]
ALPHABET = [*"abhtWL0123 .,;:+-*/=<>|!'()[]{}^_&~#$%\"@\n", *COMMANDS.split(), *STRANGE]
MACROS = {
    macro.name: macro
    for macro in (
        Macro("a", 0, r"\b\b"),
        Macro("b", 0, r"x_{\c}"),
        Macro("c", 1, r"#1 + #1"),
        Macro("d", 2, r"\frac{#1}{#2", default="k"),
        Macro("e", 0, ""),
        Macro("f", 0, r"\f\f"),
    )
}


HEADS = (
    *(f"<!-- derive: system {name} -->\n" for name in ("gru", "lstm", "rnn", "mdrnn")),
    "<!-- derive: scalar; system gru -->\n",
    "<!-- derive: define -->\n",
    "$$ h_t = \\tanh(W h_{t-1} + U x_t + b) $$\n",
    "",
)
"""What stands in a document before a formula of no document's own."""


@dataclass(frozen=True)
class Formula:
    """A formula in pieces, as TeX would cut it, and what stands before it in its document."""

    pieces: list[str]
    head: str


def parsed(text: str, head: str = "") -> str:
    """`tree` or `unread`.  Raises AssertionError where a span lies outside of the text, or a token is lost."""
    try:
        tree = parse(text, MACROS)
        assert not (missing := unaccounted(text, MACROS)), f"lost: {missing[:3]}"
    except Unread as error:
        assert 0 <= error.span[0] <= error.span[1] <= len(text), error.span
        return "unread"
    assert all(0 <= node.span[0] <= node.span[1] <= len(text) for node in tree.walk())
    return "tree"


def understood(text: str, head: str = HEADS[0]) -> str:
    """`read`, `unread` or `refused`: what the whole reader makes of a document with this formula.

    Raises AssertionError where a claim has neither a reading nor a reason, or a place lies outside of the document.
    """
    whole = f"{head}\n$$\n{text}\n$$\n"
    try:
        found = understand(document.parse(whole, "fuzz.md", "md"))
    except DeriveError as error:
        assert_refused(error, whole)
        return "refused"
    for claim in found.claims:
        assert_within(claim.place, whole)
        assert (claim.unread is None) == bool(claim.readings), claim
        if claim.unread_place is not None:
            assert_within(claim.unread_place, whole)
        for reading in claim.readings:
            assert latex(reading.formula) and printed(reading.formula)
    return "unread" if any(claim.unread is not None for claim in found.claims[-1:]) else "read"


def assert_refused(error: DeriveError, whole: str) -> None:
    """One sentence that says something, and where: a place in the document, or the document."""
    assert str(error).strip() and "Traceback" not in str(error), error
    place = getattr(error, "place", None)
    assert place is not None or str(error).startswith("fuzz"), f"no place: {error}"
    if place is not None:
        assert_within(place, whole)


def assert_within(place: Place, whole: str) -> None:
    """Line and column are those of a character of the document, or of the end of a line."""
    lines = whole.split("\n")
    assert 1 <= place.line <= len(lines), (place, len(lines))
    assert 1 <= place.column <= len(lines[place.line - 1]) + 1, (place, lines[place.line - 1])


@cache
def formulas() -> tuple[Formula, ...]:
    """The displays of the corpus.  What comes before one is its document up to the end of the first display."""
    paths = [p for folder in ("tests/corpus", "derivations") for p in sorted((ROOT / folder).glob("*.md"))]
    return tuple(formula for path in paths for formula in formulas_of(path))


def formulas_of(path: Path) -> Iterator[Formula]:
    lines = path.read_text(encoding="utf-8").split("\n")
    displays = document.read(path).displays
    for n, display in enumerate(displays):
        begins = [d.place(0).line for d in displays[: min(n, 1) + 1]]
        before = "\n".join(lines[: begins[-1] - 1])
        comments = "\n".join(COMMENT.findall(before)) if n == 0 else before
        yield Formula(PIECE.findall(display.text), comments if n == 0 or closed(before) else HEADS[0])


def closed(text: str) -> bool:
    """Whether every display of `text` is closed, so that another can follow."""
    try:
        return text.count("$$") % 2 == 0 and bool(document.parse(text, "head.md", "md").displays)
    except DeriveError:
        return False


def mutate(pieces: list[str], other: list[str], rng: random.Random) -> list[str]:
    """`pieces` after one change of a random kind, at a random place."""
    i, j = rng.randint(0, len(pieces)), rng.randint(0, len(pieces))
    match rng.randrange(6):
        case 0:
            return pieces[:i] + pieces[i + 1 :]
        case 1:
            return pieces[:i] + pieces[i : i + 1] + pieces[i:]
        case 2 if pieces:
            swapped = list(pieces)
            swapped[i - 1], swapped[j - 1] = swapped[j - 1], swapped[i - 1]
            return swapped
        case 3:
            return [*pieces[:i], rng.choice(ALPHABET), *pieces[i:]]
        case 4:
            return pieces[:i]
        case _:
            return pieces[:i] + other[rng.randint(0, len(other)) :]


def exchange(pieces: list[str], rng: random.Random) -> list[str]:
    """One piece exchanged for one of its kind: a formula that still parses, and says something else."""
    places = [(n, kind) for n, piece in enumerate(pieces) for kind in KINDS if piece in kind]
    if not places:
        return pieces
    n, kind = rng.choice(places)
    return [*pieces[:n], rng.choice(kind), *pieces[n + 1 :]]


def inputs(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Texts with their heads.  One in four is random, one is mutated anywhere, two keep their brackets."""
    rng, known = random.Random(seed), formulas()
    for n in range(count):
        if n % 4 == 0:
            yield "".join(rng.choices(ALPHABET, k=rng.randint(0, 40))), rng.choice(HEADS)
            continue
        formula, other = rng.choice(known), rng.choice(known)
        pieces = formula.pieces
        for _ in range(rng.randint(1, 4)):
            pieces = mutate(pieces, other.pieces, rng) if n % 4 == 1 else exchange(pieces, rng)
        yield "".join(pieces), formula.head if rng.randrange(4) else rng.choice(HEADS)


def fuzz(outcome: Callable[[str, str], str], count: int, seed: int, most_seconds: float = math.inf) -> int:
    """Puts every input to `outcome`, and prints what came of it; the number of crashes and of slow inputs."""
    counts: Counter[str] = Counter()
    slowest, text_of_slowest, failures = 0.0, "", 0
    start = time.perf_counter()
    for text, head in inputs(count, seed):
        began = time.process_time()
        try:
            counts[outcome(text, head)] += 1
        except Exception:
            failures += 1
            print(f"{head!a}\n{text!a}\n{traceback.format_exc(limit=-3)}", file=sys.stderr)
        seconds = time.process_time() - began
        if seconds > most_seconds:
            failures += 1
            print(f"{head!a}\n{text!a}\n{seconds:.1f} s", file=sys.stderr)
        if seconds > slowest:
            slowest, text_of_slowest = seconds, text
    shown = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))
    print(f"{count} inputs, seed {seed}: {shown}, {failures} failures, {time.perf_counter() - start:.1f} s")
    print(f"slowest, {slowest * 1e3:.1f} ms: {text_of_slowest!a}")
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parse", action="store_true", help="only parse the formulas")
    options = parser.parse_args()
    outcome = parsed if options.parse else understood
    sys.exit(1 if fuzz(outcome, options.inputs, options.seed, MOST_SECONDS) else 0)


if __name__ == "__main__":
    main()
