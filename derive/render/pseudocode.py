"""The sweeps of a system as algorithms beside its derivation: Python that runs, and the same as LaTeX, by latexify."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from derive.emit.algorithm import Routine, program
from derive.errors import DeriveError
from derive.notation import Notation
from derive.notation import notation as look_up
from derive.system import System

MISSING = (
    "an algorithm in LaTeX needs latexify-py, which is not installed; install it with pip install 'derive-bptt[latex]' "
    "(for Python up to 3.13), or take the algorithm as Python, which is its .source"
)


@dataclass(frozen=True)
class Algorithm:
    """One sweep.  `source` is the function that is shown; the module that it belongs to is `derive.emit.algorithm.program`'s."""

    routine: Routine
    notation: Notation

    @property
    def title(self) -> str:
        return self.routine.title

    @property
    def source(self) -> str:
        return self.routine.source

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """Its lines as math, indented.  Raises `DeriveError` where latexify is missing."""
        try:
            from derive.render import algorithmic
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "latexify":
                raise
            raise DeriveError(MISSING) from None
        return algorithmic.lines(self.routine, self.notation)

    @property
    def latex(self) -> str:
        """One fragment for math mode, an `array`, for KaTeX and MathJax."""
        body = " \\\\\n".join(self.lines)
        return f"\\begin{{array}}{{l}}\n{body}\n\\end{{array}}"

    @property
    def tex(self) -> str:
        """A display for a TeX document with amsmath; it may be broken across pages where `\\allowdisplaybreaks` is on."""
        body = " \\\\\n".join(f"& {line}" for line in self.lines)
        return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"


def algorithms(system: System, notation: str | Notation | None = None) -> tuple[Algorithm, ...]:
    r"""The forward and the backward sweep; of an adjoint or a tangent, the one sweep that it is.

    Without a notation adjoints are `\bar h`, since they stand to the left of arrows.
    """
    chosen = look_up("bar" if notation is None else notation)
    return tuple(Algorithm(routine, chosen) for routine in program(system).routines)
