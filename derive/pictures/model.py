"""What a picture is made of: strokes, boxes, areas and labels, each with a role; a writer decides how it looks.

Lengths are in the picture's own unit, the CSS pixel at full size; y grows downwards.  A role is a list of class names such
as `node state` or `edge path-1`: `derive.pictures.style` says what they mean, `svg` and `tikz` write them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from derive.pictures.words import Words

XY: TypeAlias = "tuple[float, float]"
Extent: TypeAlias = "tuple[float, float, float, float]"
"""`(left, top, right, bottom)`"""


@dataclass(frozen=True)
class Stroke:
    """A line through `points`, with a tip at its end if `arrow`; with `control`, a quadratic curve between the two."""

    points: tuple[XY, ...]
    role: str
    arrow: bool = False
    control: XY | None = None
    tip: str = ""
    """What a pointer that rests on it reads."""

    @property
    def extent(self) -> Extent:
        return _around([*self.points, *([self.control] if self.control else [])])


@dataclass(frozen=True)
class Box:
    """A rectangle around its centre; its corners have `radius`, so that half the height makes it round."""

    centre: XY
    width: float
    height: float
    radius: float
    role: str
    tip: str = ""

    @property
    def extent(self) -> Extent:
        (x, y), w, h = self.centre, self.width / 2, self.height / 2
        return x - w, y - h, x + w, y + h


@dataclass(frozen=True)
class Area:
    """A filled polygon."""

    points: tuple[XY, ...]
    role: str

    @property
    def extent(self) -> Extent:
        return _around(self.points)


@dataclass(frozen=True)
class Label:
    """Words on the base line through `at`; `anchor` is start, middle or end."""

    at: XY
    words: Words
    role: str
    anchor: str = "middle"
    size: float = 15

    @property
    def extent(self) -> Extent:
        width = self.words.width(self.size)
        left = self.at[0] - {"start": 0, "middle": width / 2, "end": width}[self.anchor]
        return left, self.at[1] - 0.95 * self.size, left + width, self.at[1] + 0.45 * self.size


Shape: TypeAlias = "Stroke | Box | Area | Label"


@dataclass(frozen=True)
class Picture:
    """A drawing and what it says in words: `title` names it, `alt` tells what is seen, with the numbers.

    `shapes` lie within `(0, 0, width, height)`, the later ones above.
    """

    title: str
    alt: str
    width: float
    height: float
    shapes: tuple[Shape, ...] = field(repr=False)

    def svg(self) -> str:
        """An SVG element that needs nothing from elsewhere and can stand by itself or inside an HTML page."""
        from derive.pictures import svg

        return svg.written(self)

    def tikz(self) -> str:
        r"""A `tikzpicture` for a document with `\\usepackage{tikz}`."""
        from derive.pictures import tikz

        return tikz.written(self)

    def _repr_svg_(self) -> str:
        return self.svg()


def framed(title: str, alt: str, shapes: Iterable[Shape], margin: float = 6, narrowest: float = 0) -> Picture:
    """A picture just large enough for `shapes`, moved so that its corner is the origin; at least `narrowest` wide."""
    kept = tuple(shapes)
    extents = [s.extent for s in kept]
    left, top = min(e[0] for e in extents) - margin, min(e[1] for e in extents) - margin
    width = max(e[2] for e in extents) + margin - left
    height = max(e[3] for e in extents) + margin - top
    slack = max(0.0, narrowest - width)
    moved = tuple(_moved(s, slack / 2 - left, -top) for s in kept)
    return Picture(title, alt, width + slack, height, moved)


def _moved(shape: Shape, dx: float, dy: float) -> Shape:
    def to(p: XY) -> XY:
        return p[0] + dx, p[1] + dy

    if isinstance(shape, Box):
        return replace(shape, centre=to(shape.centre))
    if isinstance(shape, Label):
        return replace(shape, at=to(shape.at))
    if isinstance(shape, Area):
        return replace(shape, points=tuple(map(to, shape.points)))
    control = to(shape.control) if shape.control else None
    return replace(shape, points=tuple(map(to, shape.points)), control=control)


def overlap(a: Extent, b: Extent) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _around(points: Iterable[XY]) -> Extent:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)
