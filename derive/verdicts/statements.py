"""Claims that are no equations."""

from __future__ import annotations

from typing import Any

from derive.reader.claims import Claim
from derive.verdicts.judge import Judged


def judge_statement(review: Any, claim: Claim) -> Judged:
    return Judged("undecided", claim.formula, reason="not yet")
