r"""A picture as TikZ: a `tikzpicture` that needs `\usepackage{tikz}` and no library, its colours defined inside."""

from __future__ import annotations

from collections.abc import Iterator

from derive.pictures.model import XY, Area, Box, Label, Picture, Shape, Stroke
from derive.pictures.style import COLOURS, resolved

WIDEST = 340.0
"""In TeX points: what fits between the margins of an article."""
POINTS = 0.75
"""of TeX in a pixel of the picture, at most."""
ANCHORS = {"start": "base west", "middle": "base", "end": "base east"}


def written(picture: Picture) -> str:
    scale = min(POINTS, WIDEST / picture.width)
    lines = [f"% {line}" for line in (picture.title, *_wrapped(picture.alt))]
    lines.append(rf"\begin{{tikzpicture}}[x={scale:.4f}pt, y=-{scale:.4f}pt]")
    lines += [rf"  \definecolor{{{_colour(n)}}}{{HTML}}{{{light[1:].upper()}}}" for n, (light, _) in COLOURS.items()]
    lines += [f"  {line}" for shape in picture.shapes for line in _command(shape, scale)]
    lines.append(r"\end{tikzpicture}")
    return "\n".join(lines) + "\n"


def _wrapped(words: str) -> list[str]:
    from textwrap import wrap

    return wrap(words, 110)


def _command(shape: Shape, scale: float) -> Iterator[str]:
    if isinstance(shape, Stroke):
        tip = ", -latex" if shape.arrow else ""
        yield rf"\draw[{_drawn(shape.role, scale)}{tip}] {_path(shape)};"
    elif isinstance(shape, Box):
        left, top, right, bottom = shape.extent
        radius = min(shape.radius, shape.width / 2, shape.height / 2) * scale
        filled = _filled(shape.role)
        options = f"{_drawn(shape.role, scale)}{', ' + filled if filled else ''}, rounded corners={_n(radius)}pt"
        yield rf"\path[draw, {options}] {_at((left, top))} rectangle {_at((right, bottom))};"
    elif isinstance(shape, Area):
        yield rf"\fill[{_filled(shape.role)}] {' -- '.join(map(_at, shape.points))} -- cycle;"
    else:
        yield _label(shape, scale)


def _path(stroke: Stroke) -> str:
    if not stroke.control:
        return " -- ".join(map(_at, stroke.points))
    # A quadratic curve as the cubic that it is.
    start, end, middle = stroke.points[0], stroke.points[-1], stroke.control
    first, second = (tuple(p + 2 / 3 * (m - p) for p, m in zip(at, middle, strict=True)) for at in (start, end))
    return f"{_at(start)} .. controls {_at(first)} and {_at(second)} .. {_at(end)}"  # type: ignore[arg-type]


def _drawn(role: str, scale: float) -> str:
    style = resolved(role)
    options = [f"color={_colour(style.colour or 'ink')}", f"line width={_n((style.width or 1) * scale)}pt"]
    if style.dash:
        marks = [f"{'off' if k % 2 else 'on'} {_n(length * scale)}pt" for k, length in enumerate(style.dash)]
        options.append(f"dash pattern={' '.join(marks)}")
    return ", ".join(options)


def _filled(role: str) -> str:
    style = resolved(role)
    opacity = f", fill opacity={_n(style.opacity)}" if style.opacity is not None else ""
    return f"fill={_colour(style.fill)}{opacity}" if style.fill else ""


def _label(label: Label, scale: float) -> str:
    style = resolved(label.role)
    size = label.size * scale
    font = rf"\fontsize{{{_n(size)}}}{{{_n(1.2 * size)}}}\selectfont" + (r"\bfseries" if style.bold else "")
    options = f"anchor={ANCHORS[label.anchor]}, inner sep=0pt, text={_colour(style.colour or 'ink')}, font={font}"
    return rf"\node[{options}] at {_at(label.at)} {{{label.words.tex}}};"


def _colour(name: str) -> str:
    return "derive" + name.replace("-", "")


def _at(point: XY) -> str:
    return f"({_n(point[0])},{_n(point[1])})"


def _n(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")
