"""Whether a changed line is a repair: it is true, and it says something."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from sympy import Basic

from derive import expr
from derive.canonical import canonical
from derive.errors import DeriveError
from derive.expr import Equals
from derive.verdicts.causes.edits import Change
from derive.verdicts.causes.samples import Samples
from derive.verdicts.causes.sites import Site


class Repairs:
    """The changes of one wrong line that were tried."""

    def __init__(self, formula: Equals, samples: Samples, holds: Callable[[Equals], bool]):
        self.formula, self.samples, self.holds = formula, samples, holds
        self.trials = 0
        self.known: set[Basic] = set()

    def mends(self, repair: Equals) -> bool:
        """Whether the full check accepts the line, which says something; each line once."""
        form = canonical(repair)
        if form in self.known:
            return False
        self.known.add(form)
        try:
            return self.samples.tells(repair) and self.holds(repair)
        except DeriveError:
            return False

    def is_idle(self, node: Basic) -> bool:
        return isinstance(node, (expr.Partial, expr.Pulled, expr.GradientOf)) and self.samples.vanishes(node)

    def _is_emptied(self, repair: Equals) -> bool:
        """Whether a zero stands in the repair that the line does not have."""
        return any(isinstance(n, expr.Zero) for n in expr.walk(repair)) and not any(
            isinstance(n, expr.Zero) for n in expr.walk(self.formula)
        )

    def _adds_nothing(self, site: Site, new: Basic) -> bool:
        """Whether a zero was put in, with which all that is wrong goes away, or the other side, which is equal to itself."""
        added = [n for n in expr.walk(new) if n not in expr.walk(site.node)]
        return site.other_side in added or any(map(self.is_idle, added))

    def _idles(self, repair: Equals) -> bool:
        """Whether terms of its sums vanish, not at an end only, that did not in the line; on a grid most points are ends."""
        summed = any(isinstance(n, expr.Sum) for n in expr.walk(self.formula))
        return summed and not self.samples.on_grid and self.samples.idle_terms(repair) - self.idle > len(self.samples)

    @cached_property
    def idle(self) -> int:
        return self.samples.idle_terms(self.formula)

    def tried(self, site: Site, change: Change) -> Equals | None:
        """The mended line, if the change mends it."""
        self.trials += 1
        try:
            bare = site.put(change.new)
            if bare.lhs.shape != bare.rhs.shape or not self.samples.agree(bare.lhs, bare.rhs):
                return None
            repair = site.settle(change.new)
            if self._is_emptied(repair) or self._adds_nothing(site, change.new) or self._idles(repair):
                return None
        except (DeriveError, TypeError, AttributeError):
            return None
        return repair if self.mends(repair) else None
