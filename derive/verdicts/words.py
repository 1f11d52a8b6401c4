"""Claims of the kind that `derive.verdicts.statements` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derive.reader.claims import Claim
from derive.verdicts.judge import Judged

if TYPE_CHECKING:
    from derive.verdicts.verify import Reviewed


def judge(review: Reviewed, claim: Claim) -> Judged:
    return Judged("undecided", claim.formula, reason="nothing settles this yet")


def judge_implication(review: Reviewed, claim: Claim) -> Judged | None:
    return None


def telescopes(review: Reviewed, claim: Claim, product: object) -> Judged | None:
    return None
