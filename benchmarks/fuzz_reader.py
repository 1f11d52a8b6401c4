r"""Feed the reader formulas that nobody would write: `python benchmarks/fuzz_reader.py [--inputs 100000] [--seed 0]`.

Inputs are random strings over LaTeX's alphabet, formulas of the corpus with tokens deleted, doubled, swapped, put in or
cut off, and two formulas spliced.  Every outcome is a tree or an `Unread` whose span lies in the text.  Prints how many
of each there were and the slowest input; exits with 1 where anything else was raised, or an input took over a second.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from derive.reader.account import unaccounted
from derive.reader.document import read
from derive.reader.macros import Macro
from derive.reader.parse import parse
from derive.reader.tree import Unread

ROOT = Path(__file__).parent.parent
MOST_SECONDS = 1.0
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


def outcome(text: str) -> str:
    """`tree` or `unread`.  Raises AssertionError where a span lies outside of the text, or a token is lost."""
    try:
        tree = parse(text, MACROS)
        assert not (missing := unaccounted(text, MACROS)), f"lost: {missing[:3]}"
    except Unread as error:
        assert 0 <= error.span[0] <= error.span[1] <= len(text), error.span
        return "unread"
    assert all(0 <= node.span[0] <= node.span[1] <= len(text) for node in tree.walk())
    return "tree"


def formulas() -> list[list[str]]:
    """The displays of the corpus, in pieces as TeX would cut them."""
    paths = [p for folder in ("tests/corpus", "derivations") for p in sorted((ROOT / folder).glob("*.md"))]
    return [PIECE.findall(display.text) for path in paths for display in read(path).displays]


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


def inputs(count: int, seed: int) -> Iterator[str]:
    """One in four is random, the others are mutated."""
    rng, known = random.Random(seed), formulas()
    for n in range(count):
        if n % 4 == 0:
            yield "".join(rng.choices(ALPHABET, k=rng.randint(0, 40)))
            continue
        pieces = rng.choice(known)
        for _ in range(rng.randint(1, 4)):
            pieces = mutate(pieces, rng.choice(known), rng)
        yield "".join(pieces)


def fuzz(outcome: Callable[[str], str], count: int, seed: int) -> int:
    """Puts every input to `outcome`, and prints what came of it; the number of crashes and of slow inputs."""
    counts: Counter[str] = Counter()
    slowest, text_of_slowest, failures = 0.0, "", 0
    start = time.perf_counter()
    for text in inputs(count, seed):
        began = time.perf_counter()
        try:
            counts[outcome(text)] += 1
        except Exception:
            failures += 1
            print(f"{text!a}\n{traceback.format_exc(limit=-3)}", file=sys.stderr)
        seconds = time.perf_counter() - began
        if seconds > slowest:
            slowest, text_of_slowest = seconds, text
    failures += slowest > MOST_SECONDS
    shown = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))
    print(f"{count} inputs, seed {seed}: {shown}, {failures} failures, {time.perf_counter() - start:.1f} s")
    print(f"slowest, {slowest * 1e3:.1f} ms: {text_of_slowest!a}")
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(1 if fuzz(outcome, options.inputs, options.seed) else 0)


if __name__ == "__main__":
    main()
