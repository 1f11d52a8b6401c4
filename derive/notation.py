"""How formulas are to look: choices and glyphs, all of it data.

A `Notation` says which of the field's habits a formula follows; `NOTATIONS` names the usual ones and
`notation("bar,bold")` looks them up and combines them.  A `Style` is what differs between LaTeX and readable Unicode
text; `derive.printing` walks a formula once and knows neither.  This module imports nothing heavy, so that the
command line can list the notations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from derive.errors import QueryError, did_you_mean

CHOICES: dict[str, tuple[Any, ...]] = {
    "adjoint": ("nabla", "partial", "bar"),
    "time": ("sub", "sup"),
    "hadamard": (r"\odot", r"\circ"),
    "form": ("auto", "diag", "hadamard"),
    "layout": (None, "numerator", "denominator"),
    "transpose": (r"\top", "T"),
    "power": ("plain", "odot"),
}


@dataclass(frozen=True)
class Notation:
    r"""The habits that one author keeps throughout a text.

    adjoint     `h_bar[t]` is `∇_{h_t} L` (nabla), `∂L/∂h_t` (partial) or `\bar h_t` (bar)
    time        `h_t` (sub) or `h^{(t)}` (sup)
    hadamard    `\odot` or `\circ`
    form        auto: `diag(a)` in matrices, `a ⊙ x` between vectors.  diag: also `diag(a) x` where `x` is an adjoint, a
                tangent or a matrix times a vector.  hadamard: `diag(a) x` of a column is `a ⊙ x` inside a product too;
                `diag(a) W` stays, since `a ⊙ W` does not say whether it scales rows or columns
    layout      of `∂y/∂x`: numerator (a gradient `∂L/∂h` is a row) or denominator (`∂y/∂x` is the transposed Jacobian);
                None leaves Jacobians in numerator layout and gradients as columns, the field's mixture
    bold        vectors and matrices bold, scalars not
    transpose   `\top` or `T`
    power       `h^2` (plain) or `h^{\odot 2}` (odot); a matrix always gets the latter, `W^2` being `W W`
    loss        the letter of the total loss
    names       (name as typed, LaTeX) pairs, before any index: `("W_h", "W^{hh}")`
    factors     (name, what it stands for) pairs: a node, printed by that name wherever it occurs, at any index; or a
                pair (target, source) that means the local Jacobian and waits for `with_factors`
    """

    adjoint: str = "nabla"
    time: str = "sub"
    hadamard: str = r"\odot"
    form: str = "auto"
    layout: str | None = None
    bold: bool = False
    transpose: str = r"\top"
    power: str = "plain"
    loss: str = "L"
    names: tuple[tuple[str, str], ...] = ()
    factors: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        for field, allowed in CHOICES.items():
            value = getattr(self, field)
            if value not in allowed:
                shown = ", ".join(str(choice) for choice in allowed)
                raise QueryError(f"{field} of a notation is one of {shown}; found {value!r}")

    def with_factors(self, jacobian: Callable[[str, str], Any]) -> Notation:
        """Every pending factor `(name, (target, source))` given its node `jacobian(target, source)`; None drops it."""
        named = ((name, jacobian(*what) if isinstance(what, tuple) else what) for name, what in self.factors)
        return replace(self, factors=tuple((name, node) for name, node in named if node is not None))


NOTATIONS: dict[str, Notation] = {
    "default": Notation(),
    "nabla": Notation(),
    "partial": Notation(adjoint="partial"),
    "bar": Notation(adjoint="bar"),
    "subscript": Notation(),
    "superscript": Notation(time="sup"),
    "circ": Notation(hadamard=r"\circ"),
    "diag": Notation(form="diag"),
    "hadamard": Notation(form="hadamard"),
    "bold": Notation(bold=True),
    "numerator": Notation(layout="numerator"),
    "denominator": Notation(layout="denominator"),
    "odot": Notation(power="odot"),
    "goodfellow": Notation(time="sup", form="diag", transpose="T", factors=(("H", ("h", "a")),)),
}

_PLAIN = Notation()
_RESETS: dict[str, dict[str, Any]] = {
    "default": dict(vars(_PLAIN)),
    "nabla": {"adjoint": "nabla"},
    "subscript": {"time": "sub"},
}


def notation(names: str | Notation) -> Notation:
    """The preset, or presets, of that name: `"goodfellow"`, `"bar,superscript,bold"`.  The last one wins.

    Raises QueryError where there is no preset of that name.
    """
    if isinstance(names, Notation):
        return names
    chosen = Notation()
    for name in filter(None, (part.strip() for part in names.split(","))):
        chosen = replace(chosen, **_changes(name))
    return chosen


def _changes(name: str) -> dict[str, Any]:
    if name not in NOTATIONS:
        raise QueryError(
            f"there is no notation {name!r}{did_you_mean(name, NOTATIONS)}; the notations are {', '.join(NOTATIONS)}"
        )
    chosen = {f.name: getattr(NOTATIONS[name], f.name) for f in fields(Notation)}
    return _RESETS.get(name, {field: value for field, value in chosen.items() if value != getattr(_PLAIN, field)})


# --- glyphs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Style:
    """One way to set a formula: `glyphs` are templates, `@` for each argument; `slash`: quotients lie on the line."""

    name: str
    slash: bool
    glyphs: dict[str, str]
    relations: dict[str, str]
    accents: dict[str, str]
    symbols: dict[str, str]
    special: dict[str, str]

    def __hash__(self) -> int:
        return hash(self.name)


_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ",
    "tau": "τ", "upsilon": "υ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "ell": "ℓ", "Gamma": "Γ",
    "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Upsilon": "Υ", "Phi": "Φ",
    "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip

SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")

LATEX = Style(
    name="latex",
    slash=False,
    glyphs={
        "paren": "(@)",
        "paren_tall": r"\left( @ \right)",
        "plus": " + ",
        "minus": " - ",
        "negative": "-@",
        "equals": "@ = @",
        "space": " ",
        "thin": r"\, ",
        "times": r" \cdot ",
        "between_quotients": r"\, ",
        "comma": ", ",
        "arrow": r" \to ",
        "quotient": r"\frac{@}{@}",
        "partial": r"\frac{\partial @}{\partial @}",
        "immediate": r"\frac{\partial^{+} @}{\partial @}",
        "held": r"\left. @ \right|_{@}",
        "in_reals": r"@ \in \mathbb{R}^{@}",
        "in_numbers": r"@ \in \mathbb{R}",
        "size": r" \times ",
        "nabla": "@ @",
        "pulled": "@^{*} @",
        "sum": r"\sum_{@=@}^{@} ",
        "product": r"\prod_{@=@}^{@} ",
        "diag": r"\mathrm{diag}",
        "diagonal": r"\mathrm{diagonal}",
        "inner": r"\langle @, @ \rangle",
        "at": "[@]",
        "is": "@ = @",
        "block": r"\begin{bmatrix} @ \end{bmatrix}",
        "cases": r"\begin{cases} @ \end{cases}",
        "case": "@ & @",
        "last_case": "@ & @",
        "otherwise": r"\text{otherwise}",
        "entry": r"\left[ @ \right]",
        "norm": r"\left\| @ \right\|",
        "max": r"\max_{@} @",
        "min": r"\min_{@} @",
        "infinity": r"\infty",
        "implies": r"@ \Rightarrow @",
        "cell": " & ",
        "row": r" \\ ",
        "label": r"\underbrace{@}_{@}",
        "words": r"\text{@}",
        "ones": r"\mathbf{1}",
        "ones_sized": r"\mathbf{1}_{@ \times @}",
        "identity": "I",
        "bold": r"\mathbf{@}",
        "bold_symbol": r"\boldsymbol{@}",
        "roman": r"\mathrm{@}",
        "prime": "{@'}",
        "group": "{@}",
        "sub": "_",
        "sup": "^",
        "delta": r"\delta",
        "nabla_sign": r"\nabla",
        "partial_sign": r"\partial",
    },
    relations={
        "=": "=", "!=": r"\ne", "<": "<", "<=": r"\le", ">": ">", ">=": r"\ge", "~": r"\approx", "in": r"\in", "+=": "+=",
        "-=": "-=", "->": r"\to",
    },
    accents={
        "tilde": r"\tilde{@}", "hat": r"\hat{@}", "bar": r"\bar{@}", "check": r"\check{@}", "overline": r"\overline{@}",
        "dot": r"\dot{@}",
    },
    symbols={name: "\\" + name for name in _GREEK},
    special={"sqrt": r"\sqrt{@}", "abs": r"\left| @ \right|", "step": r"\mathbf{1}[@ > 0]"},
)  # fmt: skip

TEXT = Style(
    name="text",
    slash=True,
    glyphs={
        "paren": "(@)",
        "paren_tall": "(@)",
        "plus": " + ",
        "minus": " - ",
        "negative": "-@",
        "equals": "@ = @",
        "space": " ",
        "thin": " ",
        "times": " · ",
        "between_quotients": " · ",
        "comma": ", ",
        "arrow": " → ",
        "quotient": "@ / @",
        "partial": "∂@/∂@",
        "immediate": "∂⁺@/∂@",
        "held": "@|_{@}",
        "in_reals": "@ ∈ ℝ^{@}",
        "in_numbers": "@ ∈ ℝ",
        "size": "×",
        "nabla": "@ @",
        "pulled": "@* @",
        "sum": "Σ_{@=@..@} ",
        "product": "∏_{@=@..@} ",
        "diag": "diag",
        "diagonal": "diagonal",
        "inner": "⟨@, @⟩",
        "at": "[@]",
        "is": "@ = @",
        "block": "[@]",
        "cases": "{@}",
        "case": "@ if @",
        "last_case": "@ @",
        "otherwise": "otherwise",
        "entry": "[@]",
        "norm": "‖@‖",
        "max": "max_@ @",
        "min": "min_@ @",
        "infinity": "∞",
        "implies": "@ ⇒ @",
        "cell": ", ",
        "row": "; ",
        "label": "@‹@›",
        "words": "@",
        "ones": "𝟏",
        "ones_sized": "𝟏_{@×@}",
        "identity": "I",
        "bold": "@",
        "bold_symbol": "@",
        "roman": "@",
        "prime": "@′",
        "group": "@",
        "sub": "_",
        "sup": "^",
        "delta": "δ",
        "nabla_sign": "∇",
        "partial_sign": "∂",
    },
    relations={
        "=": "=", "!=": "≠", "<": "<", "<=": "≤", ">": ">", ">=": "≥", "~": "≈", "in": "∈", "+=": "+=", "-=": "-=", "->": "→",
    },
    accents={
        "tilde": "@\u0303", "hat": "@\u0302", "bar": "@\u0304", "check": "@\u030c", "overline": "@\u0305",
        "dot": "@\u0307",
    },
    symbols=_GREEK,
    special={"sqrt": "√(@)", "abs": "|@|", "step": "1[@ > 0]"},
)  # fmt: skip
