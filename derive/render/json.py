"""Derivations as JSON: the same bytes at every run, for programs and for comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import derive

if TYPE_CHECKING:
    from derive.derivation import Derivation


def render(derivations: Sequence[Derivation]) -> str:
    return dumps({"derive": derive.__version__, "derivations": [d.to_dict() for d in derivations]})


def dumps(data: Any) -> str:
    """JSON as every command of the program prints it: readable, Unicode as it is, keys in the order given."""
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
