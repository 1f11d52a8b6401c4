"""A picture as SVG: scoped under its own class, so that it can stand inside a page; light and dark; nothing from elsewhere."""

from __future__ import annotations

from functools import cache
from html import escape
from math import atan2, cos, hypot, sin
from typing import TYPE_CHECKING
from zlib import crc32

from derive.pictures.model import XY, Area, Box, Label, Picture, Shape, Stroke
from derive.pictures.style import COLOURS, STYLES, Style
from derive.pictures.words import SMALL, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = "derive-picture"
ZOOM = 1.35
"""How much larger than its own size a picture may be shown."""
TIP = 8.0
FONTS = 'system-ui, -apple-system, "Segoe UI", sans-serif'


def written(picture: Picture) -> str:
    """The whole element.  The same picture is the same text."""
    body = "\n".join(map(_element, picture.shapes))
    key = f"dp{crc32((picture.title + picture.alt + body).encode()):08x}"
    width, height = _n(picture.width), _n(picture.height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{ROOT}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="{key}-t {key}-d" style="width:100%;max-width:{_n(picture.width * ZOOM)}px;height:auto">\n'
        f'<title id="{key}-t">{escape(picture.title, quote=False)}</title>\n'
        f'<desc id="{key}-d">{escape(picture.alt, quote=False)}</desc>\n'
        f"<style>{_css()}</style>\n{body}\n</svg>\n"
    )


@cache
def _css() -> str:
    """Rules for everything under the root and nothing else."""
    light, dark = ("".join(f"--{name}:{pair[k]};" for name, pair in _properties().items()) for k in (0, 1))
    rules = [
        f".{ROOT}{{{light}font-family:{FONTS}}}",
        f"@media (prefers-color-scheme:dark){{.{ROOT}{{{dark}}}}}",
        f".{ROOT} .s{{fill:none;stroke:var(--c);stroke-linecap:round;stroke-linejoin:round}}",
        f".{ROOT} .b,.{ROOT} .a{{stroke:var(--c)}}",
        f".{ROOT} .a{{stroke:none}}",
        f".{ROOT} .k{{fill:var(--c)}}",
        f".{ROOT} text{{fill:var(--c);stroke:none}}",
        f".{ROOT} .i{{font-style:italic}}",
        *(f".{ROOT} .{name}{{{_declarations(style)}}}" for name, style in STYLES.items()),
    ]
    return "".join(rules)


def _properties() -> dict[str, tuple[str, str]]:
    return {f"dp-{name}": pair for name, pair in COLOURS.items()}


def _declarations(style: Style) -> str:
    found = []
    if style.colour:
        found.append(f"--c:var(--dp-{style.colour})")
    if style.width is not None:
        found.append(f"stroke-width:{_n(style.width)}")
    if style.dash is not None:
        found.append(f"stroke-dasharray:{' '.join(map(_n, style.dash)) or 'none'}")
    if style.fill:
        found.append(f"fill:var(--dp-{style.fill})")
    if style.opacity is not None:
        found.append(f"fill-opacity:{_n(style.opacity)}")
    if style.bold:
        found.append("font-weight:600")
    return ";".join(found)


def _element(shape: Shape) -> str:
    if isinstance(shape, Stroke):
        return _stroke(shape)
    if isinstance(shape, Box):
        return _box(shape)
    if isinstance(shape, Area):
        return f'<polygon class="a {shape.role}" points="{_points(shape.points)}"/>'
    return _label(shape)


def _stroke(stroke: Stroke) -> str:
    inside = f"<title>{escape(stroke.tip, quote=False)}</title>" if stroke.tip else ""
    points = stroke.points
    if stroke.arrow:
        # The line ends inside its tip, so that its end does not show beyond the point.
        points = (*points[:-1], _towards(points[-1], stroke.control or points[-2], TIP * 0.7))
    if stroke.control:
        d = f"M{_pair(points[0])}Q{_pair(stroke.control)} {_pair(points[-1])}"
    else:
        d = "M" + "L".join(map(_pair, points))
    line = (
        f'<path class="s {stroke.role}" d="{d}">{inside}</path>'
        if inside
        else f'<path class="s {stroke.role}" d="{d}"/>'
    )
    return line + _tip(stroke) if stroke.arrow else line


def _tip(stroke: Stroke) -> str:
    """A small triangle at the end, in the direction in which the line arrives."""
    x, y = stroke.points[-1]
    fx, fy = stroke.control or stroke.points[-2]
    angle = atan2(y - fy, x - fx)
    corners = [(x, y)]
    for side in (0.42, -0.42):
        corners.append((x - TIP * cos(angle + side), y - TIP * sin(angle + side)))
    return f'<polygon class="k {_hue(stroke.role)}" points="{_points(corners)}"/>'


def _hue(role: str) -> str:
    """The classes of a role that set its colour."""
    return " ".join(name for name in role.split() if name in STYLES and STYLES[name].colour)


def _towards(point: XY, other: XY, distance: float) -> XY:
    dx, dy = other[0] - point[0], other[1] - point[1]
    length = hypot(dx, dy) or 1.0
    part = min(distance / length, 0.9)
    return point[0] + part * dx, point[1] + part * dy


def _box(box: Box) -> str:
    left, top, _, _ = box.extent
    inside = f"<title>{escape(box.tip, quote=False)}</title>" if box.tip else ""
    return (
        f'<rect class="b {box.role}" x="{_n(left)}" y="{_n(top)}" width="{_n(box.width)}" height="{_n(box.height)}" '
        f'rx="{_n(box.radius)}">{inside}</rect>'
    )


def _label(label: Label) -> str:
    anchor = "" if label.anchor == "start" else f' text-anchor="{label.anchor}"'
    runs = "".join(_runs(label.words.runs, label.size))
    x, y = label.at
    return f'<text class="{label.role}" x="{_n(x)}" y="{_n(y)}" font-size="{_n(label.size)}"{anchor}>{runs}</text>'


def _runs(runs: tuple[Run, ...], size: float) -> Iterator[str]:
    level = 0
    for run in runs:
        move = (level - run.level) * 0.22 * size
        shift = f' dy="{_n(move)}"' if move else ""
        small = f' font-size="{_n(size * SMALL)}"' if run.level else ""
        italic = ' class="i"' if run.italic else ""
        content = escape(run.text, quote=False)
        yield f"<tspan{italic}{shift}{small}>{content}</tspan>" if italic or shift or small else content
        level = run.level


def _points(points) -> str:  # type: ignore[no-untyped-def]
    return " ".join(map(_pair, points))


def _pair(point: XY) -> str:
    return f"{_n(point[0])},{_n(point[1])}"


def _n(value: float) -> str:
    """At most two decimals, and no minus before zero."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")
