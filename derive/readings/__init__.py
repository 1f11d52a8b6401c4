"""What can be read off the table: one module a view.  No reading knows another but through the steps that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from derive.expr import Node
from derive.notation import Notation
from derive.partials import table
from derive.readings import blocks, bounds, closed, feedback, gradients, jacobians, listings, systems
from derive.system import LOSS

if TYPE_CHECKING:
    from derive.derivation import Derivation
    from derive.queries import Request

READINGS: dict[str, Callable[[Request], Derivation]] = {
    "forward": systems.forward,
    "table": systems.local_partials,
    "adjoint": systems.adjoint,
    "tangent": systems.tangent,
    "immediate": jacobians.immediate,
    "jacobian": jacobians.jacobian,
    "product": jacobians.product,
    "gradient": gradients.gradient,
    "unrolled": gradients.unrolled,
    "paths": listings.paths,
    "closed": closed.closed,
    "bound": bounds.bound,
    "blocks": blocks.blocks,
    "forcing": feedback.vanished,
}


def kind(request: Request) -> str:
    """Which reading answers: a derivative is a gradient, a Jacobian or a product by what stands above and below."""
    query = request.query
    if query.kind != "derivative":
        return query.kind
    assert query.above is not None and query.below is not None
    if query.above.name == LOSS and (query.above.index is None or query.below.index is None):
        numbers = all(i.is_Integer for i in query.below.index or ())
        return "unrolled" if request.unroll and numbers else "gradient"
    if query.below.index is None or query.above.index is None:
        return "jacobian"
    numbers = all((b - a).is_Integer for a, b in zip(query.above.index, query.below.index, strict=True))
    return "jacobian" if numbers else "product"


def resolve_factors(request: Request) -> Notation:
    """The notation with its named factors (`H` for the Jacobian of `h` by `a`) looked up in the system's table."""
    local = table(request.system)
    still = (0,) * request.system.lattice.dimension

    def jacobian(target: str, source: str) -> Node | None:
        entry = local.entries.get((target, source, still))
        return entry.map.jacobian() if entry is not None and entry.map.is_matrix else None

    return request.notation.with_factors(jacobian) if request.notation.factors else request.notation
