r"""Losses of an output: `CE(p, d)` of what is a softmax is `-dᵀ log p`, the softmax taken once; that of logits stays.

The rows of `derive.functions` take the argument of the output, `cross_entropy(o, d) = -dᵀ log softmax(o)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from derive import expr
from derive.expr import Node, Var
from derive.functions import OUTPUTS
from derive.reader.scope import Scope


def minus_log(p: Node, d: Node) -> Node:
    return expr.scale(-1, expr.inner(d, expr.apply("log", p)))


def _both(p: Node, d: Node) -> Node:
    others = [expr.add(expr.as_node(1, node.shape), expr.scale(-1, node)) for node in (p, d)]
    return expr.add(minus_log(p, d), minus_log(*others))


OF_OUTPUT: Mapping[str, Callable[[Node, Node], Node]] = {"cross_entropy": minus_log, "logistic": _both}
"""The same loss of the output itself, and the target."""


def of_output(scope: Scope, name: str, arguments: Sequence[Node]) -> Node | None:
    """The loss where one of its two arguments, in either order, is its output; None where neither is."""
    if name not in OUTPUTS or len(arguments) != 2 or scope.own:
        return None
    orders = (arguments, tuple(reversed(arguments)))
    return next((OF_OUTPUT[name](*order) for order in orders if _is_output(scope, order[0], OUTPUTS[name])), None)


def _is_output(scope: Scope, node: Node, output: str) -> bool:
    """`softmax(…)`, or a name that an equation or a definition of the document sets to it."""
    return any(
        isinstance(n, expr.Apply) and n.function == output and not n.order for n in (node, *_set_to(scope, node))
    )


def _set_to(scope: Scope, node: Node) -> Iterator[Node]:
    if isinstance(node, Var) and not node.marks:
        equation = scope.system.equations.get(node.name) if scope.system is not None else None
        meaning = scope.lookup(node.name)
        if equation is not None:
            yield equation.rhs
        elif meaning is not None and meaning.value is not None:
            yield meaning.value
