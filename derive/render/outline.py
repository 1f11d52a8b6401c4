"""What every format shows, in the same order: the heading, the derivations, and prose with its names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from derive.derivation import Derivation


def title(derivations: Sequence[Derivation]) -> str:
    """The title of the document: that of its systems."""
    names = dict.fromkeys(d.system.title for d in derivations)
    return ", ".join(names) or "No derivation"


def references(derivations: Sequence[Derivation]) -> list[str]:
    """The references of the systems, each once."""
    return list(dict.fromkeys(" ".join(d.system.reference.split()) for d in derivations if d.system.reference))


def asked(derivation: Derivation) -> str:
    """The options that were asked for, in the words of the command line: `--hold z --unroll 3`."""
    words = []
    for key, value in sorted(derivation.options.items()):
        if value is None or value == () or value == [] or value == "":
            continue
        shown = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        words.append(f"--{key} {shown}")
    return " ".join(words)


def spans(prose: str) -> list[tuple[bool, str]]:
    """Prose cut at its backticks: `(is_name, text)`."""
    pieces = re.split(r"`([^`]*)`", prose)
    return [(bool(i % 2), piece) for i, piece in enumerate(pieces) if piece]


def sentence(words: str) -> str:
    """With a capital at the start, as a sentence has it."""
    return words[:1].upper() + words[1:]


def plain(prose: str) -> str:
    """Prose without its backticks."""
    return "".join(piece for _, piece in spans(prose))
