"""How fast emitted functions are, beside code written by hand and by others: `python benchmarks/functions.py [-o FILE.json]`.

The gradients of a cell by every parameter and its inputs, given cotangents of h at every step: derive's functions in every
backend, and the peers in `benchmarks/peers/`, each in its own file.  One thread.  Everything is compiled and run once before, and
all gradients are compared; then the calls are interleaved, and the numbers are medians of the rounds' ratios to the best NumPy
that we could write by hand: 1.00, lower is faster.

    --any       other systems (peepholes, second order, both directions, a grid) against a loop in PyTorch and a scan in JAX
    --growth    time against T = 10 … 10,000, the time of deriving and emitting, and of the first call in a fresh process
    --memory    peak memory of an LSTM's gradients in a fresh process

Peers keep their parameters stacked and in their own arrays; ours are bound to theirs.  With `--by-name` ours, and the peers with
NumPy's arrays, take them by name, and ours check them, at every call.
"""

from __future__ import annotations

import one_thread  # noqa: F401  before NumPy and the others, which start their threads when they are imported

# isort: split
import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from growth import growth
from memory import memory
from peers import OTHERS, OURS, PEERS, YARDSTICK, Peer, Row, disagreement
from peers.cells import CELLS, Setting, Shape, setting
from timing import Times, fastest, interleave, machine, ratio, threads

from derive.errors import DeriveError

SHAPES: tuple[Shape, ...] = (
    (20, 1, 8, 8),
    (100, 1, 32, 32),
    (100, 32, 64, 128),
    (200, 32, 128, 256),
    (50, 64, 512, 512),
)
DTYPES = ("float32", "float64")
UNUSABLE = (ImportError, OSError, DeriveError)
"""What peers raise that lack a library, a compiler or a BLAS."""
OTHER_SHAPES: dict[str, tuple[Shape, ...]] = {
    **dict.fromkeys(("lstm-peephole", "skip-rnn", "blstm"), SHAPES[:3]),
    "mdrnn": ((5, 4, 1, 8, 8), (10, 10, 1, 32, 32), (10, 10, 32, 64, 128)),
}
ROWS = {**PEERS, **OURS}
TORCH = ("torch-loop", "torch-nn")
COMPARED: dict[str, tuple[Iterable[str], Iterable[str]]] = {
    "emitted NumPy to the best by hand": (("ours-numpy",), ("numpy",)),
    "emitted C to C by hand": (("ours-c",), ("c",)),
    "emitted numba to numba by hand": (("ours-numba",), ("numba",)),
    "emitted JAX to jax.value_and_grad of a scan": (("ours-jax",), ("jax-scan",)),
    "emitted torch to the better of torch.nn and a loop": (("ours-torch",), TORCH),
    "the best of ours to the best peer": (tuple(OURS), tuple(name for name in {**PEERS, **OTHERS} if name != "gemms")),
    "the best of ours to the GEMMs alone": (tuple(OURS), ("gemms",)),
}
"""Ratios that the table does not show: the fastest of the first to the fastest of the second."""


def load(rows: Mapping[str, Row]) -> dict[str, Peer]:
    """The peers that can run here; of the others, a sentence on stderr."""
    found = {}
    for name, row in rows.items():
        try:
            found[name] = row.load()
        except UNUSABLE as error:
            print(f"{row.title} is left out: {error}", file=sys.stderr)
    return found


def prepared(peers: Mapping[str, Peer], point: Setting, named: bool) -> dict[str, Callable[[], Any]]:
    """The calls, each run once, and its gradients compared with the first one's.  One that can't do this point is left out."""
    calls: dict[str, Callable[[], Any]] = {}
    wanted: Mapping[str, np.ndarray] = {}
    for name, peer in peers.items():
        try:
            call = peer.prepare(point, named)
            found = peer.gradients(point, call())
        except UNUSABLE as error:
            print(f"{name} is left out of {point.cell}: {error}", file=sys.stderr)
            continue
        wanted = wanted or found
        if found and (difference := disagreement(found, wanted)):
            sys.exit(f"{name}, {point.cell}, {point.x.shape}: {difference}")
        calls[name] = call
    return calls


def measure(peers: Mapping[str, Peer], point: Setting, options: argparse.Namespace) -> dict[str, Any]:
    """The first of the peers is 1.00."""
    calls = prepared(peers, point, options.by_name)
    times = interleave(calls, options.seconds)
    first, rounds = next(iter(times)), min(map(len, times.values()))
    shape = (*point.x.shape, point.h_ct.shape[-1])
    busy = {name: round(threads(call), 2) for name, call in calls.items()}
    print(f"{point.cell} {shape} {point.x.dtype}: {rounds} rounds", file=sys.stderr, flush=True)
    for name in (name for name, used in busy.items() if used > 1.2):
        print(f"  {name} used {busy[name]} threads", file=sys.stderr)
    return {
        "cell": point.cell,
        "dtype": str(point.x.dtype),
        "shape": shape,
        "rounds": rounds,
        "seconds": {name: float(np.median(values)) for name, values in times.items()},
        "quartiles": {name: np.quantile(values, (0.25, 0.75)).tolist() for name, values in times.items()},
        "ratios": {name: ratio(times, name, first) for name in times},
        "threads": busy,
        "compared": compared(times),
    }


def compared(times: Times) -> dict[str, float]:
    found = {}
    for title, (ours, theirs) in COMPARED.items():
        one, other = fastest(times, ours), fastest(times, theirs)
        if one and other:
            found[title] = ratio(times, one, other)
    return found


def cells_of(points: list[dict[str, Any]], value: Callable[[dict[str, Any]], float | None]) -> list[str]:
    """For each cell the numbers of its shapes, in their order."""
    columns: dict[str, list[str]] = {}
    for point in points:
        found = value(point)
        columns.setdefault(point["cell"], []).append("–" if found is None else short(found))
    return [" ".join(column) for column in columns.values()]


def short(number: float) -> str:
    return f"{number:.2f}" if number < 9.95 else f"{number:.0f}"


def table(points: list[dict[str, Any]], rows: Iterable[tuple[str, Callable[[dict[str, Any]], float | None]]]) -> str:
    cells = list(dict.fromkeys(point["cell"] for point in points))
    lines = [f"| | {' | '.join(cells)} |", "|---" * (len(cells) + 1) + "|"]
    for title, value in rows:
        numbers = cells_of(points, value)
        if any(set(column) - set("– ") for column in numbers):
            lines.append(f"| {title} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def report(points: list[dict[str, Any]], rows_of: Mapping[str, Row]) -> str:
    """A table of ratios for each dtype, and one of those in `COMPARED`."""
    shapes = list(dict.fromkeys(str(tuple(point["shape"])) for point in points))
    parts = [f"(T, batch, in, hidden): {', '.join(shapes)}, in this order; 1.00: {next(iter(rows_of.values())).title}"]
    for dtype in dict.fromkeys(point["dtype"] for point in points):
        of_dtype = [point for point in points if point["dtype"] == dtype]
        rows = [(row.title, lambda point, name=name: point["ratios"].get(name)) for name, row in rows_of.items()]
        pairs = [(title, lambda point, title=title: point["compared"].get(title)) for title in COMPARED]
        parts += [f"**{dtype}**", table(of_dtype, rows)]
        if any(point["compared"] for point in of_dtype):
            parts.append(table(of_dtype, pairs))
    return "\n\n".join(parts)


def grid(options: argparse.Namespace) -> tuple[str, Any]:
    peers = load({name: ROWS[name] for name in dict.fromkeys((YARDSTICK, *options.peers))})
    points = [
        measure(peers, setting(cell, shape, dtype), options)
        for dtype in options.dtypes
        for cell in options.cells
        for shape in options.shapes
    ]
    return report(points, ROWS), points


def others(options: argparse.Namespace) -> tuple[str, Any]:
    rows = {**OTHERS, **OURS}
    peers = load(rows)
    points = [
        measure(peers, setting(cell, shape, dtype), options)
        for dtype in options.dtypes
        for cell, shapes in OTHER_SHAPES.items()
        for shape in shapes
    ]
    return report(points, rows), points


def listed(choices: Iterable[Any], convert: Callable[[str], Any] = str) -> Callable[[str], list[Any]]:
    """Some of the choices, with commas between them."""
    choices = list(choices)

    def parse(text: str) -> list[Any]:
        found = [convert(part) for part in text.split(",")]
        for value in found:
            if value not in choices:
                raise argparse.ArgumentTypeError(f"{value} is none of {', '.join(map(str, choices))}")
        return found

    return parse


def shapes_of(text: str) -> list[Shape]:
    """`1,3` are the first and the third; `20x1x8x8` is one of one's own."""
    found = []
    for part in text.split(","):
        numbers = tuple(map(int, part.split("x")))
        if len(numbers) not in (1, 4) or (len(numbers) == 1 and not 1 <= numbers[0] <= len(SHAPES)):
            raise argparse.ArgumentTypeError(f"{part} is neither 1 to {len(SHAPES)} nor TxBATCHxINxHIDDEN")
        found.append(numbers if len(numbers) == 4 else SHAPES[numbers[0] - 1])
    return found


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cells", type=listed(CELLS), default=list(CELLS), help="of rnn,gru,lstm")
    parser.add_argument("--shapes", type=shapes_of, default=list(SHAPES), help="1 to 5, or TxBATCHxINxHIDDEN")
    parser.add_argument("--dtypes", type=listed(DTYPES), default=list(DTYPES))
    parser.add_argument("--peers", type=listed(ROWS), default=list(ROWS), help=f"of {','.join(ROWS)}")
    parser.add_argument("--seconds", type=float, default=10, help="for each point (at least five rounds; default 10)")
    parser.add_argument("--by-name", action="store_true", help="peers with NumPy's arrays take parameters by name, too")
    what = parser.add_mutually_exclusive_group()
    for mode in ("any", "growth", "memory"):
        what.add_argument(f"--{mode}", dest="mode", action="store_const", const=mode, default="grid")
    parser.add_argument("-o", "--output", type=Path, help="the numbers, as JSON")
    return parser


def main() -> None:
    options = arguments().parse_args()
    print(f"{machine()}; one thread", file=sys.stderr)
    text, numbers = MODES[options.mode](options)
    print(text)
    if options.output:
        options.output.write_text(
            json.dumps({"machine": machine(), "mode": options.mode, "numbers": numbers}, indent=1)
        )


MODES = {"grid": grid, "any": others, "growth": growth, "memory": memory}

if __name__ == "__main__":
    main()
