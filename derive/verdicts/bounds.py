r"""Upper bounds of norms, proved: for every norm of matrices with `‖AB‖ ≤ ‖A‖ ‖B‖`, `‖Ax‖ ≤ ‖A‖ ‖x‖` and `‖diag(v)‖ ≤ max |v_i|`.

`derive.norms` works out the bound of a formula.  The ingredients are the one-step Jacobian, which the exact field
confirms, the range of each activation's derivative, and that norm.  `‖∂L/∂h_t‖ ≤ ‖∂L/∂h_T‖ ∏ ¼‖W‖` follows from
`‖∂h_{t+1}/∂h_t‖ ≤ ¼‖W‖` by induction over the steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import sympy
from sympy import Basic, Expr, Symbol

from derive import expr, norms
from derive.clipping import METHODS
from derive.errors import DeriveError
from derive.evaluate import integer, point
from derive.expr import Equals, Node, Partial, Var
from derive.verdicts.question import Question

FURTHEST = 4
"""The bound is compared over 0 to 4 steps; that it is one factor for each step is what makes it one for all."""


@dataclass(frozen=True)
class Proof:
    """Why a bound holds, in words."""

    sentence: str


def prove(question: Question, relation: expr.Relation) -> Proof | None:
    """A proof of `‖…‖ ≤ …`, where its ingredients are there; None says nothing."""
    if relation.op not in ("<=", "<", ">=", ">") or question.system.lattice.dimension != 1:
        return None
    small, large = (relation.lhs, relation.rhs) if relation.op in ("<=", "<") else (relation.rhs, relation.lhs)
    sized = _sized(small)
    if relation.op in ("<", ">") or sized is None:
        return None
    inner = sized.args[0] if isinstance(sized, expr.Transpose) else sized
    plain, kind = any_kind(large), _kind(relation)
    try:
        found = _of_gradient(question, inner, plain) if kind in ("", "2") else None
        if found is None and (kind in ("", "2") or (kind in ("1", "inf") and not _transposes(question, relation))):
            found = _of_jacobian(question, inner, plain)
        return found or _of_clipped(question, small, large)
    except DeriveError:
        return None


def _kind(relation: expr.Relation) -> str | None:
    """The norm that all norms of a line are; None where they are different ones, of which nothing follows."""
    kinds = {node.kind for node in expr.walk(relation) if isinstance(node, expr.Norm)}
    return kinds.pop() if len(kinds) == 1 else None if kinds else ""


def any_kind(node: Node) -> Node:
    """The same where it is not said which norm is meant."""
    return expr.rewrite(node, lambda n: expr.Norm(n.args[0]) if isinstance(n, expr.Norm) else n)  # type: ignore[no-any-return]


def _transposes(question: Question, relation: expr.Relation) -> bool:
    """Whether a transpose stands anywhere: it changes the norms 1 and ∞ of a matrix."""
    system = question.system
    roots = (relation, *(e.rhs for name, e in system.equations.items() if name != system.loss_name))
    return any(isinstance(node, expr.Transpose) for root in roots for node in expr.walk(root))


def _sized(node: Basic) -> Node | None:
    """What `‖…‖`, or `|…|` of a number, stands around."""
    if isinstance(node, expr.Norm):
        return node.args[0]
    magnitude = isinstance(node, expr.Apply) and node.function == "abs" and expr.is_scalar(node)
    return node.arguments[0] if magnitude else None


def _of_gradient(question: Question, inner: Node, large: Node) -> Proof | None:
    """`‖∂L/∂h_t‖`, where the loss reaches h_t through h_{t+1} only."""
    if not isinstance(inner, Var) or inner.marks != ("bar",):
        return None
    (t,), (length,) = question.system.lattice.indices, question.system.lattice.lengths
    state = question.system.variables[inner.base].var.at((t,))
    after = state.at((t + 1,))
    step = expr.mul(expr.transpose(Partial(after, state)), after.marked("bar"))
    earlier = replace(question, conditions=(*question.conditions, expr.Relation("<", t, length)))
    if inner.index != (t,) or not earlier.holds(Equals(state.marked("bar"), step)):
        return None
    rate = one_step(question, state)
    base = norm_symbol(state.at((length,)).marked("bar"), {})
    found = [value(large, {str(length): FURTHEST, str(t): FURTHEST - d}) for d in range(FURTHEST + 1)]
    if rate is None or not is_at_least(found[0], base) or not _keeps_up(found, rate):
        return None
    at_a_step = f"{expr.Norm(Partial(after, state))} ≤ {_shown(rate)}"
    return Proof(f"{at_a_step} at each step, and the loss reaches {state} through {after} only")


def _of_jacobian(question: Question, inner: Node, large: Node) -> Proof | None:
    """`‖∂h_t/∂h_k‖`, one factor for each step."""
    if not isinstance(inner, Partial) or inner.immediate or not all(isinstance(v, Var) for v in inner.args[:2]):
        return None
    y, x = inner.args[:2]
    if y.name != x.name or len(y.index) != 1:
        return None
    letters = {str(s): FURTHEST for s in (*y.index[0].free_symbols, *x.index[0].free_symbols)}
    rate = one_step(question, y.at(question.system.lattice.indices))
    if rate is None:
        return None
    apart = y.index[0] - x.index[0]
    if apart.is_Integer:
        wanted = [({**letters}, int(apart))]
    else:
        moving = [s for s in x.index[0].free_symbols if s not in y.index[0].free_symbols]
        if len(moving) != 1 or not _multiplies(question, y):
            return None
        wanted = [({**letters, str(moving[0]): FURTHEST - d}, d) for d in range(FURTHEST + 1)]
        wanted = [(env, integer(apart, env)) for env, _ in wanted]
    if any(steps < 0 for _, steps in wanted) or (
        len(wanted) == 1 and wanted[0][1] > 1 and not _multiplies(question, y)
    ):
        return None
    found = [value(large, env) for env, _ in wanted]
    if any(b - a != 1 for (_, a), (_, b) in pairwise(wanted)):
        return None
    if not is_at_least(found[0], rate ** wanted[0][1]) or not _keeps_up(found, rate):
        return None
    return Proof(f"each step of {y.base} multiplies by a Jacobian of norm at most {_shown(rate)}")


def _keeps_up(found: list[Expr | None], rate: Expr) -> bool:
    """Whether a bound grows by the rate of one step, or more, with every step.

    Of a sum of exponentials with positive coefficients, as which it stands, the growth never gets less: what is true of
    the first steps is true of all.
    """
    known = [value for value in found if value is not None and is_at_least(value, sympy.S.Zero)]
    return len(known) == len(found) and all(is_at_least(b, rate * a) for a, b in pairwise(known))


def _of_clipped(question: Question, norm: expr.Norm, limit: Node) -> Proof | None:
    """`‖x‖ ≤ c` where `c ≥ 0` is supposed, and x is clipped by value (the largest entry) or by norm (its length)."""
    x = norm.args[0]
    if not (isinstance(x, Node) and expr.is_column(x) and any(_is_positive(g, limit) for g in question.given)):
        return None
    if norm.kind == "inf":
        again = METHODS["value"].node(x, limit)
        return Proof(f"clipping {x} once more changes nothing") if question.holds(Equals(x, again)) else None
    equation = question.system.equations.get(x.name) if isinstance(x, Var) else None
    value = x if equation is None else expr.at(equation.rhs, dict(zip(equation.target.index, x.index, strict=True)))
    if not isinstance(value, expr.Scale) or norm.kind not in ("", "2"):
        return None
    length = expr.apply("min", expr.Norm(value.args[1]), limit)
    same = Equals(expr.power(norm, 2), expr.power(length, 2))
    return Proof(f"{expr.power(norm, 2)} = {same.rhs}, and {limit} ≥ 0") if question.holds(same) else None


def _is_positive(given: expr.Relation, node: Node) -> bool:
    """Whether `c > 0` or `c ≥ 0`, in either direction, is supposed."""
    value, zero = (given.lhs, given.rhs) if given.op in (">", ">=") else (given.rhs, given.lhs)
    known = given.op in (">", ">=", "<", "<=") and value == node
    return known and isinstance(zero, Node) and expr.as_number(zero) == 0


def _multiplies(question: Question, y: Var) -> bool:
    """Whether the Jacobian over two steps is the product of those over one."""
    return question.holds(two_steps(y.at(question.system.lattice.indices)))


def two_steps(y: Var) -> Equals:
    """`∂y_t/∂y_{t-2} = ∂y_t/∂y_{t-1} ∂y_{t-1}/∂y_{t-2}`: true of what is the whole state that a step hands on."""
    (t,) = y.index
    now, before, first = y, y.at((t - 1,)), y.at((t - 2,))
    return Equals(Partial(now, first), expr.mul(Partial(now, before), Partial(before, first)))


def one_step(question: Question, state: Var) -> Expr | None:
    """A bound for the norm of `∂h_t/∂h_{t-1}`, in the norms of the parameters."""
    (t,) = question.system.lattice.indices
    before = state.at((t - 1,))
    derivation = question.system.derive(
        f"d{state.name}[t]/d{state.name}[t-1]".replace("[t", f"[{t}"), hold=question.hold
    )
    found = derivation.expr
    if not isinstance(found, Node) or not question.holds(Equals(Partial(state, before), expr.strip_labels(found))):
        return None
    return bound(question, expr.strip_labels(found))


def bound(question: Question, node: Node) -> Expr | None:
    """A bound for the norm of a matrix made of parameters, diagonals, sums and products."""
    found = norms.matrix(question.system, node, lambda vector: norms.supremum(question.system, vector))
    return None if found is None else value(found, {})


def supremum(question: Question, node: Node) -> Expr | None:
    """A bound for the absolute values of the entries of a vector: a number."""
    found = norms.supremum(question.system, node)
    return None if found is None else value(found, {})


# --- the right side ---------------------------------------------------------------------------------------------------


def value(node: Node, env: Mapping[str, int]) -> Expr | None:
    """A formula of norms and numbers at given indices, as a polynomial in the norms."""
    if isinstance(node, expr.Norm):
        turned = isinstance(node.args[0], expr.Transpose) and node.kind not in ("1", "inf")
        return norm_symbol(node.args[0].args[0] if turned else node.args[0], env, node.kind)
    if isinstance(node, expr.Ones):
        return sympy.S.One
    if isinstance(node, expr.Apply) and node.function == "abs":
        return norm_symbol(node.arguments[0], env)
    if isinstance(node, (expr.Product, expr.Sum)):
        return _over(node, env)
    if isinstance(node, expr.Power):
        inside = value(node.args[0], env)
        return None if inside is None or not _is_line(node.args[1]) else inside ** integer(node.args[1], env)
    parts = [value(a, env) if isinstance(a, Node) else _number(a, env) for a in node.args]
    if any(p is None for p in parts) or not parts:
        return None
    if isinstance(node, expr.Add):
        return sympy.Add(*parts)
    return sympy.Mul(*parts) if isinstance(node, (expr.Had, expr.Scale, expr.Mul)) else None


def _number(a: Basic, env: Mapping[str, int]) -> Expr | None:
    """A coefficient; one that depends on the step is no exponential, and a few steps tell nothing of the others."""
    if not isinstance(a, Expr) or not all(_is_exponential(part) for part in sympy.Mul.make_args(a)):
        return None
    return a.xreplace({s: sympy.Integer(env[str(s)]) for s in a.free_symbols if str(s) in env})


def _is_exponential(a: Expr) -> bool:
    return not a.free_symbols or (isinstance(a, sympy.Pow) and bool(a.base.is_positive) and not a.base.free_symbols
                                  and _is_line(a.exp))  # fmt: skip


def _is_line(a: Expr) -> bool:
    """Whether an exponent, or a bound, is linear in the steps."""
    return bool(a.is_polynomial()) and all(sympy.degree(a, s) <= 1 for s in a.free_symbols) and not any(
        sympy.diff(a, s).free_symbols for s in a.free_symbols
    )  # fmt: skip


def _over(node: expr.Product | expr.Sum, env: Mapping[str, int]) -> Expr | None:
    index, lo, hi = node.args[1]
    if not (_is_line(lo) and _is_line(hi)):
        return None
    inside = [value(node.args[0], {**env, str(index): k}) for k in range(integer(lo, env), integer(hi, env) + 1)]
    if any(p is None for p in inside):
        return None
    return sympy.Mul(*inside) if isinstance(node, expr.Product) else sympy.Add(*inside)


def norm_symbol(node: Node, env: Mapping[str, int], kind: str = "") -> Symbol:
    """The norm of a name as an unknown that is not negative; a gradient at the last step is known by its name."""
    at = ",".join(map(str, point(node.index, env))) if isinstance(node, Var) and node.index and env else ""
    name = node.name if isinstance(node, Var) else str(node)
    return Symbol(f"‖{name}{f'[{at}]' if at and at != str(FURTHEST) else ''}‖{kind}", nonnegative=True)


def is_at_least(large: Expr | None, small: Expr) -> bool:
    """Whether `large - small` has no negative coefficient, as a polynomial in norms."""
    if large is None:
        return False
    difference = sympy.expand(large - small)
    return difference == 0 or all(c.is_nonnegative for c in difference.as_coefficients_dict().values())


def _shown(rate: Expr) -> str:
    return str(rate).replace("*", " ")
