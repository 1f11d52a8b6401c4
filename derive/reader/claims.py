"""What a document claims: each formula with its place, its system, and every reading that is well-shaped."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sympy import Basic

from derive.errors import DeriveError, Place
from derive.notation import Notation
from derive.printing import latex, text
from derive.reader.clashes import Clash
from derive.reader.document import Document, Query
from derive.reader.relations import Understood
from derive.reader.scope import Scope
from derive.reader.tree import Tree
from derive.system import System


@dataclass(frozen=True)
class Claim:
    """One claim of a document: `readings` are in the order of likelihood, none where `unread` says why.

    `kind`: defines (it introduces a name), sets (a parameter is given a number), equation, relation, implication,
    paths, condition (it only says where) or words.  `expect` and `skip` are
    what directives said of it; `hold`, `unroll`, `loss` the state in which it stands; `where` is what its display says of
    when it holds: relations of indices, equations that it supposes, and words.  `clash`: every name and sign is
    understood, and no shapes allow the formula; `mended` are its readings with one transpose more or less.
    """

    n: int
    place: Place
    latex: str
    tree: Tree
    kind: str
    readings: tuple[Understood, ...] = ()
    unread: str | None = None
    unread_place: Place | None = None
    caret: str = ""
    system: System | None = None
    scope: Scope | None = field(default=None, compare=False, repr=False)
    continues: bool = False
    display: int = 0
    expect: tuple[str, str | None] | None = None
    skip: bool = False
    hold: tuple[str, ...] = ()
    unroll: int | None = None
    loss: str | None = None
    where: tuple[Basic, ...] = ()
    clash: Clash | None = None
    mended: tuple[Understood, ...] = ()

    @property
    def formula(self) -> Basic | None:
        return self.readings[0].formula if self.readings else None

    @property
    def is_left_out(self) -> bool:
        """Whether the document says itself that this is not to be checked, or can't be read."""
        return self.skip or (self.expect is not None and self.expect[0] == "unread")

    def read_as(self, notation: Notation = Notation()) -> str:  # noqa: B008 - frozen
        """The claim printed back from what was understood, in Unicode; empty where it is unread."""
        return "" if self.formula is None else text(self.formula, notation)

    def read_as_latex(self, notation: Notation = Notation()) -> str:  # noqa: B008 - frozen
        return "" if self.formula is None else latex(self.formula, notation)


@dataclass(frozen=True)
class Asked:
    """A fenced `derive` block, and the system that the document speaks of where it stands."""

    query: Query
    system: System | None


@dataclass(frozen=True)
class DocumentReading:
    """A document as it was understood: the systems that it speaks of, its claims, its questions."""

    document: Document
    claims: tuple[Claim, ...]
    systems: tuple[System, ...]
    queries: tuple[Asked, ...] = ()

    def system(self, number: int = 1) -> System:
        """The system that the document defines or names, the first one where there are several.

        Raises `DeriveError` where there is none, with what to write.
        """
        name = self.document.name
        if not self.systems:
            raise DeriveError(
                f"{name} defines no system: put `<!-- derive: define -->` (in LaTeX `% derive: define`) before its forward "
                "equations, or `derive: system NAME` for one of the catalogue"
            )
        if not 1 <= number <= len(self.systems):
            raise DeriveError(f"{name} speaks of {len(self.systems)} systems, found {name}:{number}")
        return self.systems[number - 1]

    def about(self, number: int) -> DocumentReading:
        """One of its systems, and what is claimed of that one.  Raises `DeriveError` where there is no such system."""
        system = self.system(number)
        claims = tuple(claim for claim in self.claims if claim.system is system)
        return replace(self, claims=claims, systems=(system,))
