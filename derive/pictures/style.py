"""How each role looks, in light and in dark: one table that both writers read.

The hues are those of Okabe and Ito 2008 (Color universal design), darker where they are drawn on white and lighter where
they are drawn on black.  A hue never stands alone: each has a dash pattern of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

COLOURS: dict[str, tuple[str, str]] = {
    "ink": ("#1c1e21", "#e4e7eb"),
    "faint": ("#5d646e", "#9aa4b0"),
    "aside": ("#9aa3af", "#636e7b"),
    "line": ("#d9dde3", "#333a43"),
    "wash": ("#f3f5f8", "#1d2228"),
    "paper": ("#ffffff", "#15181c"),
    "hue-1": ("#0072b2", "#56b4e9"),
    "hue-2": ("#c44e00", "#ff8c42"),
    "hue-3": ("#00805d", "#2fd0a0"),
    "hue-4": ("#a8467f", "#e9a3cb"),
    "hue-5": ("#9a6a00", "#e6b422"),
    "hue-6": ("#4f4a8c", "#b3adf5"),
}
"""Name to its value on white and on black."""

HUES = 6


@dataclass(frozen=True)
class Style:
    """What a class sets; what is None it leaves to the classes that stand before it in `STYLES`."""

    colour: str | None = None
    """of a stroke, of its tip and of a text"""
    width: float | None = None
    dash: tuple[float, ...] | None = None
    fill: str | None = None
    opacity: float | None = None
    """of a filling"""
    bold: bool | None = None


DASHES: tuple[tuple[float, ...], ...] = ((), (7, 3), (2, 2.5), (9, 3, 2, 3), (14, 3), (5, 2, 2, 2, 2, 2))

STYLES: dict[str, Style] = {
    "band": Style("line", 1, (), "wash"),
    "ground": Style("paper", 0, (), "paper", 0.85),
    "edge": Style("faint", 1.3, ()),
    "node": Style("ink", 1.3, (), "paper"),
    "input": Style("faint", dash=(3, 2)),
    "loss": Style(width=2.4),
    "border": Style("faint", dash=(3, 2)),
    "through": Style(dash=(1.5, 2.5)),
    "name": Style("ink"),
    "note": Style("faint"),
    "axis": Style("faint", 1, ()),
    "grid": Style("line", 1, ()),
    "curve": Style("ink", 2.2, ()),
    "spread": Style(fill="faint", opacity=0.16),
    "mark": Style(width=1),
    "bar": Style("faint", 1, (), "faint", 0.55),
    "whisker": Style("ink", 1.2, ()),
    **{f"path-{k}": Style(f"hue-{k}", 2.2, DASHES[k - 1]) for k in range(1, HUES + 1)},
    **{f"hue-{k}": Style(f"hue-{k}") for k in range(1, HUES + 1)},
    **{f"tint-{k}": Style(fill=f"hue-{k}") for k in range(1, HUES + 1)},
    "aside": Style("aside"),
    "on-path": Style(width=2.2),
    "end": Style(width=2.8, bold=True),
    "bound": Style(width=1.2, dash=(4, 3)),
    "strong": Style("ink", bold=True),
}
"""Class to its style; where several set the same, the later in this table wins."""


def resolved(role: str) -> Style:
    """All classes of a role together."""
    found = Style()
    classes = role.split()
    for name, style in STYLES.items():
        if name in classes:
            found = Style(**{k: v if v is not None else getattr(found, k) for k, v in vars(style).items()})
    return found
