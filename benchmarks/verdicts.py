r"""No false accept, no false reject: `python benchmarks/verdicts.py [--rewrites 20000] [--mutants 20000] [--causes 0]`.

Every line that derive derives for the catalogue is written in other ways that are as true (`tests/rewrites.py`), and
edited in one place (`tests/mutants.py`); a seeded choice of both is judged.  The referee is an independent road: HIPS
autograd in float64, at three points, of other sizes and other numbers of steps than those at which lines are judged.

    rewrites   holds; undecided; or a FALSE REJECT
    mutants    fails; equal, where the referee finds no difference either; undecided; or a FALSE ACCEPT
               strict: the line is judged to fail, and the referee, which visits fewer points, finds no difference
               shape: the two sides have different shapes, and the line fails for that
    causes     of mutants that fail: whether a cause is named, whether it is the one of the edit, or one that comes to the same

With `--text N` every N-th rewrite is printed in one of the notations and read back before it is judged.  What is wrong, or
worth a look, is printed as it is found; exits with 1 where there is a false accept or a false reject.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from derive import catalogue
from derive.check import Claim, claim_ranges, system_claims
from derive.errors import DeriveError
from derive.expr import Equals, Relation, Var, variables
from derive.notation import NOTATIONS, Notation
from derive.oracles import Verdict
from derive.oracles.check import Trial
from derive.oracles.names import MARKS, introduces
from derive.printing import latex
from derive.reader.own import read_back, scope_of
from derive.reader.scope import Scope
from derive.reader.tree import Unread
from derive.system import System
from derive.verdicts.causes.diagnosis import diagnose
from derive.verdicts.ladder import decided
from derive.verdicts.question import Question

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from mutants import Mutant, mutants
from rewrites import Rewrite, rewrite

REFEREE = "autograd"
POINTS = (((4, 6, 3, 5, 2, 7), (1, 2, 1)), ((2, 5, 4, 3, 6, 7), (3, 3, 2)), ((4, 3, 5, 4, 2, 6), (5, 2, 3)))
"""Sizes of the dimensions, and numbers of steps on each axis."""
FIRST_SEED = 11
"""At the seeds from here on no state of a catalogue system is a ReLU that is dead at all steps."""
SHOWN = 3
"""Outcomes of one kind that are printed for each system."""


# --- one line ---------------------------------------------------------------------------------------------------------


def judged(claim: Claim, equation: Equals) -> Verdict:
    """The verdict under test.  A line that speaks of a name that a derivation introduced is put to the field alone."""
    try:
        if speaks_for_itself(claim, equation):
            return decided(question(claim), equation)
        return Trial(
            claim.system, equation, derived=claim.derived, ranges=ranges(claim), hold=claim.hold
        ).verdict("field")  # fmt: skip
    except DeriveError as error:
        return Verdict("undecided", "field", 0, 0, reason=str(error))


def question(claim: Claim) -> Question:
    bounds = ranges(claim).items()
    conditions = [r for k, (lo, hi) in bounds for r in (Relation("<=", lo, k), Relation("<=", k, hi))]
    return Question(claim.system, hold=claim.hold, conditions=tuple(conditions))


def ranges(claim: Claim) -> dict:
    """Where the original is claimed: what an edit does to a bound does not change what the line is about."""
    return {**dict(claim.ranges), **dict(claim_ranges(claim.equation, claim.system))}


def speaks_for_itself(claim: Claim, equation: Equals) -> bool:
    return all(_is_known(claim.system, var) for var in variables(equation))


def _is_known(system: System, var: Var) -> bool:
    if var.name in system.variables:
        return True
    base = "_".join((var.base, *var.marks[:-1]))
    return base in system.variables and var.marks[-1] in MARKS and not introduces(system, var)


def told_apart(claim: Claim, equation: Equals) -> bool | None:
    """Whether the referee sees the two sides differ; None where it finds no point at which both exist."""
    verdicts = [_refereed(claim, equation, sizes, steps, seed) for seed, (sizes, steps) in enumerate(POINTS)]
    if "fails" in verdicts:
        return True
    return False if "holds" in verdicts else None


def _refereed(claim: Claim, equation: Equals, sizes: Sequence[int], steps: tuple[int, ...], seed: int) -> str:
    system = claim.system
    trial = Trial(
        system, equation, derived=claim.derived, ranges=ranges(claim), hold=claim.hold, seed=FIRST_SEED + seed,
        runs=[(dict(zip(system.dimensions, sizes, strict=False)), steps[: system.lattice.dimension])],
    )  # fmt: skip
    try:
        return trial.verdict(REFEREE).verdict
    except DeriveError:
        return "undecided"


def rewrite_outcome(made: Rewrite, found: Verdict) -> str:
    if found.verdict != "fails":
        return str(found.verdict)
    return "wrong law" if told_apart(made.claim, made.equation) else "FALSE REJECT"


def mutant_outcome(mutant: Mutant, found: Verdict) -> str:
    apart = told_apart(mutant.claim, mutant.equation) if mutant.well_shaped else True
    return MUTANT_OUTCOMES[found.verdict, apart] if mutant.well_shaped or found.verdict != "fails" else "shape"


MUTANT_OUTCOMES = {
    ("fails", True): "fails", ("fails", False): "strict", ("fails", None): "strict",
    ("holds", True): "FALSE ACCEPT", ("holds", False): "equal", ("holds", None): "vacuous",
    ("undecided", True): "undecided", ("undecided", False): "undecided", ("undecided", None): "undecided",
}  # fmt: skip
"""By the verdict, and by whether the referee tells the sides apart."""


def cause_outcome(mutant: Mutant) -> str:
    """How well the causes that are named fit the edit."""
    causes = diagnose(question(mutant.claim), mutant.equation)
    kinds = [cause.kind for cause in causes]
    if not kinds:
        return "no cause"
    wrong = [c for c in causes if isinstance(c.repair, Equals) and told_apart(mutant.claim, c.repair)]
    if wrong:
        return "WRONG REPAIR"
    return "right" if mutant.edit.kind in kinds else "equivalent" if mutant.causes & {*kinds} else "other"


# --- through text -----------------------------------------------------------------------------------------------------


def reread(claim: Claim, equation: Equals, random: Random) -> tuple[str, list[Equals]]:
    """The equation as it is printed in one of the notations, and the readings of that."""
    name = random.choice(list(NOTATIONS))
    notation, scope = _notation(claim.system, name)
    written = latex(equation, notation)
    try:
        found = [u.formula for u in read_back(written, scope)]
    except Unread:
        found = []
    return f"{name}: {written}", [formula for formula in found if isinstance(formula, Equals)]


@cache
def _notation(system: System, name: str) -> tuple[Notation, Scope]:
    notation = system.derive("table", notation=NOTATIONS[name]).notation
    return notation, scope_of(system, notation)


# --- many lines -------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """Counts of one system, and what is printed of it."""

    system: str
    counts: Counter[str]
    seconds: float = 0.0

    def note(self, kind: str, outcome: str, line: object, why: object = "") -> None:
        self.counts[f"{kind}: {outcome}"] += 1
        if outcome in NOTED and self.counts[f"{kind}: {outcome}"] <= SHOWN:
            print(f"{outcome}, {line}\n{why}\n", flush=True)


NOTED = frozenset(
    {
        "FALSE REJECT",
        "FALSE ACCEPT",
        "wrong law",
        "strict",
        "vacuous",
        "WRONG REPAIR",
        "no cause",
        "other",
        "unread",
        "misread",
    }
)
WRONG = ("FALSE REJECT", "FALSE ACCEPT", "wrong law", "WRONG REPAIR")


def run(system: System, options: argparse.Namespace, shares: tuple[int, int, int]) -> Tally:
    """So many rewrites, mutants and causes of one system."""
    start, random, tally = time.process_time(), Random(f"{options.seed} {system.name}"), Tally(system.name, Counter())
    claims = system_claims(system)
    for number in range(shares[0]):
        made = rewrite(random.choice(claims), random)
        if options.text and number % options.text == 0:
            text(tally, made, random)
        found = judged(made.claim, made.equation)
        tally.note("rewrites", rewrite_outcome(made, found), made, found)
    if any(shares[1:]):
        sampled(tally, claims, shares, random)
    tally.seconds = time.process_time() - start
    return tally


def text(tally: Tally, made: Rewrite, random: Random) -> None:
    written, readings = reread(made.claim, made.equation, random)
    verdicts = [judged(made.claim, formula).verdict for formula in readings]
    outcome = verdicts[0] if verdicts else "unread"
    if outcome == "fails":
        outcome = "other reading" if "holds" in verdicts else "misread"
    tally.note("text", outcome, made, written)


def sampled(tally: Tally, claims: Sequence[Claim], shares: tuple[int, int, int], random: Random) -> None:
    """Mutants of every edit in equal shares, as far as there are so many."""
    causes = shares[2]
    for mutant in choice([m for claim in claims for m in mutants(claim)], max(shares[1:]), random):
        found = judged(mutant.claim, mutant.equation)
        outcome = mutant_outcome(mutant, found)
        tally.note("mutants", outcome, mutant, found)
        if outcome == "fails" and causes and speaks_for_itself(mutant.claim, mutant.equation):
            causes -= 1
            tally.note("causes", cause_outcome(mutant), mutant)


def choice(found: Sequence[Mutant], most: int, random: Random) -> list[Mutant]:
    """At most so many, the kinds of edit in turn."""
    edits: dict[str, list[Mutant]] = {}
    for mutant in random.sample(found, len(found)):
        edits.setdefault(mutant.edit.name, []).append(mutant)
    turns = ((rank, mutant) for group in edits.values() for rank, mutant in enumerate(group))
    return [mutant for _, mutant in sorted(turns, key=lambda turn: turn[0])][:most]


def shared(total: int, weights: Sequence[int]) -> Iterator[int]:
    """`total` in proportion to the weights, rounded up."""
    return (-(-total * weight // sum(weights)) for weight in weights)


COLUMNS = {
    "rewrites": ("holds", "undecided", "FALSE REJECT", "wrong law"),
    "text": ("holds", "other reading", "undecided", "unread", "misread"),
    "mutants": ("fails", "equal", "shape", "undecided", "strict", "vacuous", "FALSE ACCEPT"),
    "causes": ("right", "equivalent", "other", "no cause", "WRONG REPAIR"),
}


def table(tallies: Iterable[Tally]) -> str:
    """For each kind of line a row a system, and their sum."""
    rows, tallies = [], list(tallies)
    total = Tally("all", sum((t.counts for t in tallies), Counter()), sum(t.seconds for t in tallies))
    for kind, columns in COLUMNS.items():
        if any(total.counts[f"{kind}: {column}"] for column in columns):
            rows.append(f"{kind:<18}{'lines':>9}" + "".join(f"{column:>15}" for column in columns))
            for tally in (*tallies, total):
                counts = [tally.counts[f"{kind}: {column}"] for column in columns]
                rows.append(f"{tally.system:<18}{sum(counts):>9}" + "".join(f"{count:>15}" for count in counts))
            rows.append("")
    return "\n".join((*rows, f"{total.seconds:.0f} s CPU"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name, default in (("rewrites", 20_000), ("mutants", 20_000), ("causes", 0), ("text", 0), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--systems", default=",".join(catalogue.names()))
    options = parser.parse_args()
    systems = [catalogue.load(name) for name in options.systems.split(",")]
    weights = [len(system_claims(system)) for system in systems]
    totals = (options.rewrites, options.mutants, options.causes)
    tallies = []
    for system, *shares in zip(systems, *(shared(total, weights) for total in totals), strict=True):
        tallies.append(run(system, options, (shares[0], shares[1], shares[2])))
        print(f"{system.name}: {dict(tallies[-1].counts)}, {tallies[-1].seconds:.0f} s", file=sys.stderr, flush=True)
    print(table(tallies))
    sys.exit(any(tally.counts[f"{kind}: {wrong}"] for tally in tallies for kind in COLUMNS for wrong in WRONG))


if __name__ == "__main__":
    main()
