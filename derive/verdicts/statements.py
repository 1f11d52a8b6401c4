"""Claims that are no equations: each kind has its judge.

A judge is a function `(review, claim) -> Judged`; `review.question(claim)` is the context of the claim.  A new kind of
claim is a row of `JUDGES`, a new way to settle one a module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from derive.reader.claims import Claim
from derive.verdicts import implications, pathlists, relations, words
from derive.verdicts.judge import Judged

if TYPE_CHECKING:
    from derive.verdicts.verify import Reviewed

StatementJudge: TypeAlias = "Callable[[Reviewed, Claim], Judged]"

JUDGES: Mapping[str, StatementJudge] = {
    "relation": relations.judge,
    "implication": implications.judge,
    "paths": pathlists.judge,
    "words": words.judge,
}


def judge_statement(review: Reviewed, claim: Claim) -> Judged:
    if claim.kind not in JUDGES:
        return Judged("undecided", claim.formula, reason=f"nothing settles a claim of the kind {claim.kind} yet")
    return JUDGES[claim.kind](review, claim)
