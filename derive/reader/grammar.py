"""The signs of formulas: relations, products, brackets, accents, environments; one table each."""

from __future__ import annotations

from collections.abc import Mapping

from derive.reader.tokens import spaced

RELATIONS: Mapping[str, str] = {
    "=": "=", "<": "<", ">": ">", "le": "<=", "leq": "<=", "leqslant": "<=", "ge": ">=", "geq": ">=", "geqslant": ">=",
    "lesssim": "<=", "gtrsim": ">=", "ll": "<", "gg": ">", "approx": "~", "simeq": "~", "sim": "~", "propto": "prop",
    "equiv": "=", "coloneqq": ":=", "triangleq": ":=", "doteq": ":=", "stackrel": ":=", "gets": ":=", "leftarrow": ":=",
    "Coloneqq": ":=", "eqdef": ":=", "ne": "!=", "neq": "!=", "in": "in", "to": "->", "rightarrow": "->", "mapsto": "->",
    "longrightarrow": "->", "lt": "<", "gt": ">", "eqqcolon": "=", "uparrow": "up",
    "downarrow": "down", "subset": "in", "subseteq": "in",
}  # fmt: skip
WRITTEN_RELATIONS: Mapping[str, str] = {
    "+=": "+=", "-=": "-=", ":=": ":=", "<-": ":=", "->": "->", "<=": "<=", ">=": ">=", "=": "=", "<": "<", ">": ">",
}  # fmt: skip
"""Relations in characters: as many as stand here are taken."""
IMPLICATIONS = frozenset(spaced("Rightarrow implies Longrightarrow iff Leftrightarrow Longleftrightarrow therefore"))
PRODUCTS: Mapping[str, str] = {
    "*": "*", "cdot": "cdot", "times": "times", "odot": "odot", "circ": "odot", "otimes": "otimes", "ast": "*", "star": "*",
    "/": "/", "div": "/", "bullet": "cdot", "@": "cdot", "bigodot": "odot",
}  # fmt: skip
SIGNS: Mapping[str, str] = {"+": "plus", "-": "minus", "minus": "minus"}
CLOSING: Mapping[str, str] = {
    "(": ")", "[": "]", r"\{": r"\}", "{": "}", "langle": "rangle", "lbrace": "rbrace", "lbrack": "rbrack",
    "lfloor": "rfloor", "lceil": "rceil", "lvert": "rvert", "lVert": "rVert", "lparen": "rparen",
}  # fmt: skip
NAMED_BRACKETS: Mapping[str, str] = {
    "lbrace": r"\{", "rbrace": r"\}", "lbrack": "[", "rbrack": "]", "lvert": "|", "lVert": "||", "lparen": "(",
}  # fmt: skip
ACCENTS: Mapping[str, str] = {
    "tilde": "tilde", "widetilde": "tilde", "hat": "hat", "widehat": "hat", "bar": "bar", "overline": "bar", "dot": "dot",
    "ddot": "ddot", "check": "check", "breve": "breve", "acute": "acute", "mathring": "ring",
    "overrightarrow": "fwd", "overleftarrow": "bwd",
}  # fmt: skip
DOTS = frozenset(spaced("dots cdots ldots dotsb dotsc dotsm dotsi dotso vdots ddots"))
OPERATORS = frozenset([*PRODUCTS, *SIGNS, *RELATIONS, *IMPLICATIONS]) - {"stackrel", "star"}
ENVIRONMENTS: Mapping[str, str] = {
    **dict.fromkeys(spaced("matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix psmallmatrix bsmallmatrix"), "matrix"),
    "array": "matrix", "cases": "cases", "dcases": "cases", "rcases": "cases", "drcases": "cases",
}  # fmt: skip
LINE_ENDS = ("\\", "cr", "newline", "tabularnewline")
NO_FACTOR = frozenset(
    [*OPERATORS, *CLOSING.values(), *LINE_ENDS, "}", "quad", "qquad", "end", "mathrel", "mid", "over"]
)
"""Commands that no factor begins with."""
TRANSPARENT = frozenset(
    spaced(
        "aligned split gathered alignedat align align* gather gather* multline multline* equation equation* eqnarray eqnarray* "
        "multlined alignat alignat* flalign flalign* displaymath subequations math"
    )
)
"""Environments whose rows are formulas of the display."""
