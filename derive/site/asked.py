"""A fenced `derive` block: one request a line, in the words of the command line.

    dh[t]/dh[t-1] --hold z              a derivation, step by step
    closed h[t] --system linear-rnn     of another system of the catalogue
    adjoint --result                    the result alone
    plot graph dh[t]/dh[t-2]            a picture

The system is the one that the document speaks of where the block stands.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from derive import catalogue
from derive.errors import DeriveError, Place, SystemError_
from derive.reader.claims import Asked
from derive.site.sheet import Block, Drawn, Worked
from derive.system import System

PLOT = "plot"


class _Parser(argparse.ArgumentParser):
    """Says what is off as an error of ours, and never ends the program."""

    def error(self, message: str) -> NoReturn:
        raise DeriveError(message)


def _parser() -> _Parser:
    from derive.cli import OPTIONS

    parser = _Parser(prog="derive", add_help=False)
    parser.add_argument("words", nargs="+")
    parser.add_argument("--system")
    parser.add_argument("--result", action="store_true")
    for name in ("hold", "where", "unroll", "layout", "notation", "seed"):
        flags, settings = OPTIONS[name]
        parser.add_argument(*flags, **settings)
    return parser


def blocks(asked: Asked, spoken_of: str) -> Iterator[Block]:
    """What a fenced block asks for, in its order; `spoken_of` is how a command line names the document's system.

    Raises `SystemError_` at the line that can't be answered.
    """
    for number, line in enumerate(asked.query.text.splitlines()):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                yield answer(shlex.split(line), asked.system, spoken_of)
            except (DeriveError, ValueError, argparse.ArgumentTypeError) as error:
                place = asked.query.place
                at = Place(place.file, place.line + number, place.column)
                raise SystemError_(f"the block asks for {line.strip()!r}: {error}", at) from None


def answer(words: Sequence[str], system: System | None, spoken_of: str) -> Block:
    """The derivation or the picture that one line asks for."""
    options = _parser().parse_args(list(words))
    name = options.system or spoken_of
    found = catalogue.named(options.system) if options.system else system
    if found is None:
        raise DeriveError(
            "the document has named no system by then: write --system NAME, or `derive: system NAME` above"
        )
    rest = [word for word in words if word != "--result"]
    if options.system:
        at = rest.index("--system")
        del rest[at : at + 2]
    if options.words[0] == PLOT:
        return Drawn(_picture(found, options), shlex.join(["derive", PLOT, name, *rest[1:]]))
    derivation = found.derive(" ".join(options.words), **_asked(options)).checked(options.seed)
    return Worked(derivation, shlex.join(["derive", "solve", name, *rest]), result_only=options.result)


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("hold", "where", "unroll", "layout", "notation")}


def _picture(system: System, options: argparse.Namespace) -> Any:
    from derive import pictures

    _, kind, *query = options.words
    return pictures.draw(system, kind, " ".join(query) or None, unroll=options.unroll, seed=options.seed)
