"""Where an equation is asked: sizes, numbers of steps, and the index symbols that it is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sympy import Basic, Expr, Tuple

from derive import expr
from derive.oracles.road import Road

if TYPE_CHECKING:
    from derive.system import System

SIZES = ((3, 4, 5, 6, 7, 8), (5, 3, 4, 7, 6, 9))
LENGTHS = {
    1: ((1,), (2,), (3,), (4,)),
    2: ((1, 1), (1, 3), (2, 3), (3, 2), (3, 3)),
    3: ((1, 1, 1), (1, 2, 2), (2, 2, 3), (3, 2, 2)),
}
Steps = Sequence[int | tuple[int, ...]]


def sizes(system: System, road: Road, others: Iterable[Any] = ()) -> list[dict[Any, int]]:
    """Unequal numbers for the dimensions of the system and for `others`, as many sets as the road asks for."""
    dimensions = [*system.dimensions, *(d for d in others if d not in system.dimensions)]
    if road.small:
        return [dict.fromkeys(dimensions, 2)]
    sets = SIZES if road.exact else SIZES[:1]
    return [{d: s[k] if k < len(s) else 3 + k for k, d in enumerate(dimensions)} for s in sets]


def sample_sizes(system: System, road: Road) -> dict[Any, int]:
    """One set of sizes at which the road is asked."""
    return sizes(system, road)[0]


def dimensions_of(root: Basic) -> list[Any]:
    """The letters of the sizes that stand in the shapes of its names, in reading order."""
    found = dict.fromkeys(
        s for v in expr.variables(root) for size in v.shape for s in sorted(size.free_symbols, key=str)
    )
    return list(found)


def steps(system: System, road: Road) -> Steps:
    dimension = system.lattice.dimension
    if road.exact:
        return LENGTHS.get(dimension, ((1,) * dimension, (2,) * dimension))
    if dimension > 1:
        return [(2,) * dimension]
    # One step more than the furthest read, so that there is a point from which it stays inside.
    furthest = max((abs(o[0]) for _, _, o in system.reads), default=0)
    return [max(*road.lengths, furthest + 1)]


def free_indices(root: Basic) -> set[str]:
    """The symbols that stand in indices and bounds of `root` and are bound by no sum or product."""
    found: set[str] = set()
    pending: list[tuple[Basic, frozenset[str]]] = [(root, frozenset())]
    while pending:
        node, bound = pending.pop()
        expressions: list[Expr] = []
        if isinstance(node, expr.Var):
            expressions.extend(node.index)
        elif isinstance(node, expr.At):
            expressions.extend((*node.index, *node.point))
        elif isinstance(node, (expr.Partial, expr.Pulled, expr.GradientOf)):
            pending.extend((v, bound) for v in node.args[:3] if isinstance(v, expr.Node))
        elif isinstance(node, (expr.Sum, expr.Product)):
            ranges = node.args[1:] if isinstance(node, expr.Sum) else node.args[1:2]
            inner = bound
            for index, lo, hi in ranges:
                found.update(str(s) for e in (lo, hi) for s in e.free_symbols if str(s) not in inner)
                inner = inner | {str(index)}
            pending.append((node.args[0], inner))
        elif isinstance(node, (expr.Scale, expr.Power, expr.MatrixPower, expr.Entry)):
            expressions.extend(a for a in node.args if not isinstance(a, expr.Node))
            pending.extend((child, bound) for child in _parts(node))
        elif isinstance(node, (expr.Statement, Tuple)):
            pending.extend((side, bound) for side in node.args if isinstance(side, (expr.Node, expr.Statement, Tuple)))
            expressions.extend(a for a in node.args if isinstance(a, Expr) and not isinstance(a, expr.Node))
        elif isinstance(node, expr.Cases):
            pending.extend((pair, bound) for pair in node.args)
        else:
            pending.extend((child, bound) for child in _parts(node))
        found.update(str(s) for e in expressions for s in e.free_symbols if str(s) not in bound)
    return found


def _parts(node: Basic) -> list[Basic]:
    cells = [cell for row in node.args for cell in row] if isinstance(node, expr.Block) else node.args
    return [part for part in cells if isinstance(part, expr.Node)]
