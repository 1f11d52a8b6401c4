"""Every bound on untrusted input, in one place.  A bound that is hit is said, with its number."""

from __future__ import annotations

LARGEST_DOCUMENT = 2_000_000
"""Characters of a document; of a notebook, those of its file."""

LARGEST_DISPLAY = 50_000
"""Characters between the delimiters of one display formula."""

MOST_DISPLAYS = 5_000
"""Display formulas in one document."""

MOST_DIRECTIVES = 5_000
"""Directives in one document."""

MOST_MACROS = 500
"""Macros that one document may define."""

LARGEST_ARITY = 9
"""Arguments of one macro; TeX has no more."""

LARGEST_UNROLL = 64
"""The number that `unroll` may put in place of T."""

LARGEST_EXPANSION = 20_000
"""Tokens that the macros of one display formula may expand to."""

DEEPEST = 60
"""Brackets, fractions and scripts inside one another."""

LARGEST_NUMBER = 12
"""Digits of a number."""

MOST_LEADING = 40
"""Displays at the start of a document that are tried as the forward equations of its system."""

MOST_PASSES = 4
"""How often a document is read again because it uses names before it defines them."""

MOST_COMBINATIONS = 500
"""Combinations of readings of the parts of one sum, product or matrix that are tried, likely ones first."""

MOST_MENDED = 40
"""Places where a transpose is put in or taken out in search of a formula that shapes allow."""

MOST_PATHS = 1_000
"""Paths that one list of paths may stand for."""

MOST_READINGS = 64
"""Readings of one formula that are kept; a formula with more is not understood."""

MOST_STEPS = 128
"""Numbers of steps that a claim may ask about: those in its indices and conditions."""

MOST_SECONDS = 30.0
"""Time for one claim, its causes included; one that takes longer is undecided."""

MOST_STRINGS = 256
"""Strings of bits of one length on which a network of threshold units is run."""
