"""Compile random systems and compare all that they give: `python benchmarks/fuzz_emit.py --seeds 0 300 --backends numpy,c`.

A system of `tests/random_systems.py` for every seed, in every backend, against the interpreter of its text in
`tests/interpreted.py`, differentiated by HIPS autograd: states, gradients from all cotangents and from some, loss, and
lengths, truncation and checkpoints.  A system that fails is printed with both sides; `--reduce` takes parts of it away for
so many seconds while it still fails in that backend.  Prints how many systems there were; exits with 1 where one fails.
"""

from __future__ import annotations

import argparse
import ast
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from random_cases import Mismatch, mismatches
from random_systems import Drawn, drawn, trimmed

from derive.emit import BACKENDS


def reduced(of: Drawn, fails: Callable[[Drawn], bool], seconds: float) -> Drawn:
    """A smaller system for which `fails` still holds: each part in turn is left out, until none can be, or time is up."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        found = next((v for v in _smaller(of) if time.perf_counter() < end and fails(v)), None)
        if found is None:
            return of
        of = found
    return of


def _smaller(of: Drawn) -> Iterator[Drawn]:
    """The system without its loss, an equation, a boundary value, or with a part of a formula in place of the whole."""
    if of.loss:
        yield from _kept(of, loss="")
    lines = of.equations.splitlines()
    for k in range(len(lines) if len(lines) > 1 else 0):
        yield from _kept(of, equations="\n".join(lines[:k] + lines[k + 1 :]))
    for name in of.boundary:
        yield from _kept(of, boundary={n: how for n, how in of.boundary.items() if n != name})
    for k, line in enumerate(lines):
        for shorter in _shorter(line):
            yield from _kept(of, equations="\n".join([*lines[:k], shorter, *lines[k + 1 :]]))
    for shorter in _shorter(f"loss = {of.loss}") if of.loss else ():
        yield from _kept(of, loss=shorter.removeprefix("loss = "))


def _kept(of: Drawn, **changes: object) -> Iterator[Drawn]:
    changed = replace(of, **changes)  # type: ignore[arg-type]
    yield trimmed(vars(changed))


def _shorter(line: str) -> list[str]:
    """An equation with one operation replaced by one of its operands, the largest first."""
    tree = ast.parse(line).body[0]
    assert isinstance(tree, ast.Assign)
    whole = [n for n in ast.walk(tree.value) if isinstance(n, (ast.BinOp, ast.Call, ast.UnaryOp))]
    found = []
    for node in sorted(whole, key=lambda n: -len(ast.unparse(n))):
        for part in (
            n for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr) and not isinstance(n, ast.Constant)
        ):
            if not (isinstance(node, ast.Call) and part is node.func):
                found.append(ast.unparse(_Exchange(node, part).visit(ast.parse(line).body[0])))
    return found


class _Exchange(ast.NodeTransformer):
    """Puts `part` into the place of the node that is written at the same place as `node`."""

    def __init__(self, node: ast.expr, part: ast.expr):
        self.node, self.part = node, part

    def visit(self, node: ast.AST) -> ast.AST:
        same = (
            isinstance(node, type(self.node)) and ast.dump(node) == ast.dump(self.node) and _at(node) == _at(self.node)
        )
        return self.part if same else self.generic_visit(node)


def _at(node: ast.AST) -> tuple[int, int | None]:
    return getattr(node, "col_offset", -1), getattr(node, "end_col_offset", None)


def hunt(first: int, last: int, backends: Sequence[str], seconds: float) -> int:
    """Puts every seed to every backend, and prints what came of it; the number of systems that fail."""
    failures, start = 0, time.perf_counter()
    for seed in range(first, last):
        system = drawn(seed)
        for backend in backends:
            found = mismatches(system, backend)
            failures += bool(found)
            if found:
                _report(found, seconds)
    count = (last - first) * len(backends)
    print(f"{count} systems, {failures} of which fail, {time.perf_counter() - start:.0f} s")
    return failures


def _report(found: Sequence[Mismatch], seconds: float) -> None:
    print(f"{len(found)} mismatches, the first:\n{found[0]}", flush=True)
    if seconds:
        backend, raised = found[0].backend, isinstance(found[0].found, Exception)
        smaller = reduced(found[0].drawn, lambda d: _fails_alike(mismatches(d, backend), raised), seconds)
        print(f"reduced:\n{next(iter(mismatches(smaller, backend)), found[0])}", flush=True)


def _fails_alike(found: Sequence[Mismatch], raised: bool) -> bool:
    return bool(found) and isinstance(found[0].found, Exception) == raised


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 100), metavar=("FIRST", "LAST"))
    parser.add_argument("--backends", default="numpy", help=f"some of {', '.join(BACKENDS)}")
    parser.add_argument("--reduce", type=float, default=0.0, metavar="SECONDS")
    options = parser.parse_args()
    sys.exit(1 if hunt(*options.seeds, options.backends.split(","), options.reduce) else 0)


if __name__ == "__main__":
    main()
