"""What is said of a finding, in words: every format takes its sentences from here.

category   what a finding counts as: its verdict, "as expected" or "skipped"
reasons    why it has its verdict, a sentence each
clean      a text without the characters that steer a terminal, a log or the direction of writing
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_CEILING, Context, Decimal

from sympy import Basic, Tuple

from derive.errors import Place
from derive.verdicts.report import Certificate, FileReport, Finding, Numeric

CATEGORIES: dict[str, tuple[str, str, str]] = {
    "fails": ("✗", "fails", "fail"),
    "unread": ("?", "is unread", "are unread"),
    "undecided": ("~", "is undecided", "are undecided"),
    "holds-if": ("!", "holds under an assumption", "hold under an assumption"),
    "holds": ("✓", "holds", "hold"),
    "as expected": ("✓", "is as expected", "are as expected"),
    "defines": ("≔", "defines", "define"),
    "skipped": ("–", "is skipped", "are skipped"),
}
"""The worst first: a sign, what one claim does, what several do."""
FINE = ("holds", "as expected", "defines", "skipped")

KINDS = {
    "missing-path": "a path of the chain rule is left out",
    "extra-term": "a term stands there that does not belong",
    "sign": "a sign is wrong",
    "index": "an index is off",
    "bounds": "a sum or a product begins or ends at the wrong place",
    "transpose": "a transpose is missing, or there is one too many",
    "order": "the factors of a product stand in the wrong order",
    "hadamard": "the entrywise product and the matrix product are confused",
    "activation": "the derivative of an activation is missing, or is taken at the wrong place",
    "double-count": "a path is counted twice",
    "missing-sum": "a sum is missing",
    "layout": "the line is in the other layout",
    "ill-typed": "the shapes can't be",
    "factor": "a factor is missing, wrong, or there is one too many",
    "symbol": "one quantity stands in the place of another",
    "boundary": "the line is true inside the lattice, but not at its border",
    "unknown": "no single cause was found",
}
"""The causes of a wrong line, in words."""

METHODS = {
    "field": "exact arithmetic over the integers modulo a prime",
    "tower": "exact arithmetic along a chain of primes, in which exp(a + b) = exp(a) exp(b)",
    "ball": "ball arithmetic: two disjoint balls",
    "shape": "the shapes of the two sides",
    "graph": "the paths of the unrolled network",
    "automaton": "the finite automaton of the network",
    "enumeration": "every string of bits, in exact arithmetic",
    "range": "the exact range of a function",
    "search": "a search for a counterexample",
    "proof": "a proof whose ingredients were verified",
    "words": "words, which are not checked",
}
"""How a verdict was reached."""

LEVELS = {"fails": "error", "unread": "warning", "undecided": "note", "holds-if": "note"}
"""How loudly a code review is to say it; a later line that repeats an error is a warning only."""

_STEERING = dict.fromkeys(
    (
        *(*range(9), *range(11, 32), *range(127, 160)),
        *(*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF),
    ),
    "\ufffd",
)
_UP = Context(prec=2, rounding=ROUND_CEILING)


def clean(words: str) -> str:
    """Control characters, overrides of the direction of writing and lone surrogates become `\\ufffd`."""
    return words.translate(_STEERING)


# --- what a finding counts as -----------------------------------------------------------------------------------------


def category(finding: Finding) -> str:
    """Its row in `CATEGORIES`."""
    if finding.skipped:
        return "skipped"
    return "as expected" if finding.expected is not None and finding.as_expected else finding.effective


def is_fine(finding: Finding) -> bool:
    return category(finding) in FINE


def level(finding: Finding, strict: bool) -> str | None:
    """error, warning, note; None of what is fine.  `strict`: what counts then is a warning at least."""
    found = LEVELS.get(category(finding))
    if finding.inherits is not None and found == "error":
        return "warning"
    return "warning" if strict and found == "note" else found


def summary(findings: Sequence[Finding]) -> str:
    """`12 claims: 3 fail, 1 is unread, 8 hold`."""
    counts = [f"{n} {CATEGORIES[name][2 if n > 1 else 1]}" for name, n in tally(findings)]
    return f"{several(len(findings), 'claim')}: {', '.join(counts)}" if counts else "no claims"


def several(n: int, thing: str) -> str:
    return f"{n} {thing}{'' if n == 1 else 's'}"


def tally(findings: Iterable[Finding]) -> list[tuple[str, int]]:
    """The categories that occur, the worst first, and how often."""
    found = Counter(map(category, findings))
    return [(name, found[name]) for name in CATEGORIES if found[name]]


def verdict(finding: Finding) -> str:
    """`fails`; `fails, as expected`; `holds, not as expected`."""
    if finding.skipped:
        return "skipped"
    if finding.expected is None:
        return finding.verdict
    return f"{finding.verdict}, {'as expected' if finding.as_expected else 'not as expected'}"


def where(place: Place, file: str) -> str:
    """`line 12, column 3`; in a notebook the cell before it."""
    cell = place.file.removeprefix(f"{file}:")
    line = f"line {place.line}, column {place.column}"
    return line if place.file == file else f"{cell}, {line}"


# --- why --------------------------------------------------------------------------------------------------------------


def reasons(finding: Finding, file: FileReport) -> list[str]:
    """Why it has its verdict, a sentence each, the most telling first."""
    return [sentence for sentence, _ in explained(finding, file)]


def explained(finding: Finding, file: FileReport) -> Iterator[tuple[str, Basic | None]]:
    """The same, each sentence with the line as it would mend it."""
    if finding.expected is not None and not finding.as_expected:
        asked = " ".join(filter(None, finding.expected))
        yield f"The document expects: {asked}; found: {' '.join((finding.verdict, *finding.kinds))}.", None
    if finding.inherits is not None:
        yield f"Repeats the error of claim {finding.inherits}{_line_of(finding.inherits, file)}.", None
    yield from ((f"Only if: {clean(assumption.sentence)}", None) for assumption in finding.assumptions)
    yield from ((clean(cause.sentence), cause.repair) for cause in finding.causes)
    if finding.reason:
        yield clean(finding.reason), None


def _line_of(n: int, file: FileReport) -> str:
    return next((f" (line {f.place.line})" for f in file.findings if f.n == n), "")


def headline(finding: Finding, file: FileReport) -> str:
    """One line that says it all, for an annotation: `fails (sign): the sign of … is wrong`."""
    kinds = f" ({', '.join(finding.kinds)})" if finding.kinds else ""
    first = next(iter(reasons(finding, file)), "")
    return f"{verdict(finding)}{kinds}{': ' if first else ''}{first}"


def parts(formula: Basic) -> Sequence[Basic]:
    """A list of paths has a line for each."""
    return tuple(formula.args) if isinstance(formula, Tuple) else (formula,)


def repairs(finding: Finding) -> list[Basic]:
    """The line mended, once for each cause that names a mend, each once."""
    return list(dict.fromkeys(cause.repair for cause in finding.causes if cause.repair is not None))


def certificate(found: Certificate) -> str:
    """How the verdict was reached, in one sentence."""
    method = METHODS.get(found.method, found.method)
    if found.prime_bits is not None:
        method += f" of {found.prime_bits} bits"
    sides = f"left {found.left}, right {found.right}" if found.left or found.right else ""
    bound = "" if found.error_bound is None else f"a wrong line passes with a probability of at most {_at_most(found)}"
    counts = " and ".join(several(n, thing) for n, thing in ((found.points, "point"), (found.seeds, "seed")) if n)
    parts = (method + (f", with {counts}" if counts else ""), found.at, sides, bound, found.note)
    return clean("; ".join(filter(None, parts)))


def _at_most(found: Certificate) -> str:
    """Two digits, rounded up: what is said to bound must bound."""
    return f"{_UP.create_decimal(Decimal(found.error_bound or 0)):.1e}"


def numeric(found: Numeric) -> str:
    return f"{found.oracle}: largest relative error {found.max_rel_err:.2g}"


def rule(finding: Finding) -> str:
    """A name for what is wrong, as SARIF and JUnit group by it: `fails/missing-path`, `unread`, `unexpected`."""
    if finding.expected is not None and not finding.as_expected:
        return "unexpected"
    if category(finding) == "fails":
        return f"fails/{finding.kinds[0] if finding.kinds else 'unknown'}"
    return finding.verdict


def first_wrong(file: FileReport) -> str:
    found = file.first_wrong
    return "" if found is None else f"the first wrong one is claim {found.n}, {where(found.place, file.file)}"
