"""A fenced `derive` block: one request a line, in the words of the command line.

    dh[t]/dh[t-1] --hold z              a derivation, step by step
    closed h[t] --system linear-rnn     of another system of the catalogue
    adjoint --result                    the result alone
    plot graph dh[t]/dh[t-2]            a picture
    prove                               the automaton of the network of threshold units that the formula above is about

The system is the one that the document speaks of where the block stands.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NoReturn

from derive import catalogue
from derive.errors import DeriveError, Place, SystemError_
from derive.printing import text
from derive.reader.claims import Asked
from derive.render.ipynb import asking
from derive.site.sheet import Block, Drawn, Worked
from derive.system import System


class _Parser(argparse.ArgumentParser):
    """Says what is off as an error of ours, and never ends the program."""

    def error(self, message: str) -> NoReturn:
        raise DeriveError(message)


def _parser(command: str) -> _Parser:
    """The options of a command, without those that say where its output goes."""
    from derive.cli import COMMANDS, OPTIONS

    parser = _Parser(prog="derive", add_help=False)
    parser.add_argument("--system")
    parser.add_argument("--result", action="store_true")
    for name in COMMANDS[command][2]:
        if name not in NOT_ASKED:
            flags, settings = OPTIONS[name]
            parser.add_argument(*flags, **settings)
    return parser


NOT_ASKED = ("system", "network", "output", "format", "check")


def blocks(asked: Asked, spoken_of: str) -> Iterator[Block]:
    """What a fenced block asks for, in its order; `spoken_of` is how a command line names the document's system.

    Raises `SystemError_` at the line that can't be answered.
    """
    for number, line in enumerate(asked.query.text.splitlines()):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                yield answer(shlex.split(line), asked, spoken_of)
            except (DeriveError, ValueError, argparse.ArgumentTypeError) as error:
                place = asked.query.place
                at = Place(place.file, place.line + number, place.column)
                raise SystemError_(f"the block asks for {line.strip()!r}: {error}", at) from None


def answer(words: Sequence[str], asked: Asked, spoken_of: str) -> Block:
    """What one line asks for: a derivation, or by its first word another thing."""
    command = words[0] if words[0] in ANSWERS else SOLVE
    rest = list(words[1:] if command == words[0] else words)
    options = _parser(command).parse_args(rest)
    if command == SOLVE:  # a query of several words is one
        rest = [" ".join(options.queries), *(word for word in rest if word not in options.queries)]
        options.queries = rest[:1]
    system = catalogue.named(options.system) if options.system else asked.system
    if system is None:
        raise DeriveError(
            "the document has named no system by then: write --system NAME, or `derive: system NAME` above"
        )
    if options.system:
        at = rest.index("--system")
        del rest[at : at + 2]
    name = options.system or spoken_of
    shown = ["derive", command, name, *(word for word in rest if word != "--result")]
    return ANSWERS[command](asked, system, options, Named(name, shlex.join(shown)))


@dataclass(frozen=True)
class Named:
    """What a command line calls the system, and the whole of that line."""

    system: str
    command: str

    @property
    def beside(self) -> str:
        """The same for a notebook, which lies beside its document."""
        return PurePosixPath(self.system).name


def plotting(beside: str, options: argparse.Namespace) -> str:
    """The lines of Python that draw what the options of `plot` ask for."""
    from derive.cli import DRAWN_WITH

    given = {name: getattr(options, name) for name in DRAWN_WITH}
    words = [repr(options.kind), *([repr(options.query)] if options.query else [])]
    words += [f"{name}={value!r}" for name, value in given.items() if value]
    if options.others:
        words.append(f"others=[{', '.join(f'derive.load({name!r})' for name in options.others)}]")
    return f"import derive\n\nderive.load({beside!r}).plot({', '.join(words)})"


def _solved(asked: Asked, system: System, options: argparse.Namespace, named: Named) -> Block:
    given = {name: getattr(options, name) for name in ("hold", "where", "unroll", "layout", "notation")}
    derivation = system.derive(options.queries[0], **given).checked(options.seed)
    return Worked(derivation, named.command, asking(derivation, named.beside), result_only=options.result)


def _plotted(asked: Asked, system: System, options: argparse.Namespace, named: Named) -> Block:
    from derive.cli import drawn

    return Drawn(drawn(system, options), named.command, plotting(named.beside, options))


def _proved(asked: Asked, system: System, options: argparse.Namespace, named: Named) -> Block:
    """The automaton of the last claim above the block that has one."""
    from derive.pictures import automaton
    from derive.verdicts.proved import proved

    place = asked.query.place
    above = [one for one in proved(place.file) if one.claim.place.line < place.line and one.table is not None]
    if not above:
        raise DeriveError("no formula above claims anything of a network of threshold units that a table could show")
    last = above[-1]
    assert last.table is not None
    said = f"{text(last.claim.formula)}: {last.outcome.sentence}"
    file = named.beside.partition(":")[0]
    python = f"from derive.verdicts.proved import proved\n\nfor one in proved({file!r}):\n    print(one)"
    return Drawn(automaton.drawn(last.table, said), named.command, python)


SOLVE = "solve"
ANSWERS: dict[str, Callable[[Asked, System, argparse.Namespace, Named], Block]] = {
    SOLVE: _solved,
    "plot": _plotted,
    "prove": _proved,
}
"""A line that begins with none of these words is a query."""
