"""Special values: what a result becomes where a gate is saturated, `z = 1`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from derive import expr
from derive.derivation import Derivation, Step
from derive.errors import QueryError, did_you_mean
from derive.expr import Equals, Node, Relation, Var


def at_values(derivation: Derivation, values: Mapping[str, int]) -> Derivation:
    """`derivation` with a last step: its result where every entry of the named variables has the given value."""
    known = derivation.system.variables
    for name in values:
        if name not in known:
            raise QueryError(f"{derivation.system.name} has no {name} to give a value{did_you_mean(name, known)}")

    def leaf(node: expr.Basic) -> expr.Basic:
        if isinstance(node, Var) and node.name in values:
            return expr.number(values[node.name], node.shape)
        return node

    result: Node = expr.rewrite(expr.strip_labels(derivation.expr), leaf)
    said = " and ".join(f"`{name}` = {value}" for name, value in values.items())
    last = next((line for line in derivation.result if isinstance(line, (Equals, Relation))), None)
    line = last.func(*last.args[:-1], result) if last is not None else result
    reason = f"With every entry of {said}, terms with a factor zero are gone."
    step = Step("special value", "At a special value", reason, derivation.result, (line,))
    options = {**derivation.options, "where": dict(values)}
    return replace(derivation, steps=(*derivation.steps, step), expr=result, options=options)
