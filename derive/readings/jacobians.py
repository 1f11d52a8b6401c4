"""Derivatives of one variable by another: local, path by path, and as ordered products of one-step Jacobians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sympy import Integer, Symbol

from derive import expr, paths
from derive.derivation import Derivation, Step
from derive.errors import QueryError
from derive.expr import Equals, Node, Var
from derive.lattice import Offset
from derive.partials import Entry, Table, table
from derive.paths import Point, Walk
from derive.readings import steps
from derive.readings.systems import held_step
from derive.system import System

if TYPE_CHECKING:
    from derive.queries import Request

MOST_PATHS = 200
"""More paths than this are not listed: nobody reads them."""


def immediate(request: Request) -> Derivation:
    """`∂⁺y/∂x`: an entry of the table."""
    y, x = _above(request), _below(request)
    local = table(request.system)
    offset = _offset(y, x) if x.index else None
    entry = local.entries.get((y.name, x.name, offset))
    move = dict(zip(request.system.lattice.indices, y.index, strict=True))
    if entry is None:
        zero = _zero(y, x)
        reason = f"The equation of `{y.name}` does not read `{request.query.below}`."
        line = Equals(expr.Partial(y, x, immediate=True), zero)
        return request.answer(
            [steps.forward(request.system, [y.name]), Step("local partial", "Nothing is read", reason, (), (line,))],
            zero,
        )
    line = expr.at(steps.local_line(entry), move)
    step = steps.local_partials([entry])
    done = [steps.forward(request.system, [y.name]), Step(step.rule, "The immediate partial", step.reason, (), (line,))]
    return request.answer(done, line.rhs)


def jacobian(request: Request) -> Derivation:
    """`∂y/∂x` as the sum over the paths from `x` to `y`."""
    y, x = _above(request), _below(request)
    if not (expr.is_column(y) and expr.is_column(x)):
        raise QueryError(
            f"{request.query.text!r} has no Jacobian matrix, since {y.name} is {expr.show_shape(y.shape)} and {x.name} is "
            f"{expr.show_shape(x.shape)}; ask for a gradient such as 'dL/d{x.name}', "
            f"or for 'd+{request.query.above}/d{request.query.below}'"
        )
    if not x.index:
        return _by_parameter(request, y, x)
    system = request.system
    local = table(system).without(request.hold)
    found, placing, move = find_walks(request, local, y, x)
    used = list(dict.fromkeys(e for w in found for e, _ in w.steps))
    total = expr.Partial(y, x, held=request.hold)
    if not found:
        return _no_path(request, total, y, x)
    if not found[0].steps:
        return request.answer(
            [
                Step(
                    "definition",
                    "A variable by itself",
                    "It is the identity.",
                    (),
                    (Equals(total, expr.Identity(y.shape[0])),),
                )
            ],
            expr.Identity(y.shape[0]),
        )
    chain = Equals(total, steps.sum_of([expr.Labelled(w.partials(placing), w.label(placing)) for w in found]))
    worked = Equals(total, steps.sum_of([expr.Labelled(w.jacobian(placing), w.label(placing)) for w in found]))
    chain, worked = expr.at(chain, move), expr.at(worked, move)
    result = (
        expr.add(*map(expr.strip_labels, worked.rhs.args))
        if isinstance(worked.rhs, expr.Add)
        else expr.strip_labels(worked.rhs)
    )
    collected = factored(result)
    names = {w.name for walk in found for w in walk.nodes(placing)}
    done = [
        steps.forward(system, names),
        held_step(request),
        steps.local_partials(used, "Only the partials that lie on a path are needed."),
        Step("paths", "The chain rule, path by path", _count_sentence(found, request), (), (chain,)),
        Step(
            "substitution",
            "The local partials put in",
            "Along a path the Jacobians multiply, in the order of the path.",
            (chain,),
            (worked,),
        ),
    ]
    if isinstance(worked.rhs, expr.Add):
        reason = (
            "Terms that end in the same factors are drawn together."
            if collected is not result
            else "The sum of the paths."
        )
        done.append(Step("collection", "Collected", reason, (worked,), (Equals(total, collected),)))
    done.append(_border(request, found, y, x))
    return request.answer(done, collected)


def _border(request: Request, found: list[Walk], y: Var, x: Var) -> Step | None:
    """Near the border a path through a point outside the lattice does not exist: what stands there is given, not computed."""
    lattice = request.system.lattice
    if y.index != lattice.indices or lattice.dimension > 1:
        return None
    inner = [tuple(o[0] for _, o in w.steps[1:]) for w in found]
    low, high = min((o for w in inner for o in w), default=0), max((o for w in inner for o in w), default=0)
    (t,), (length,) = lattice.indices, lattice.lengths
    points = [Integer(1 + k) for k in range(-low)] + [length - k for k in range(high)]
    if not points:
        return None
    placing = paths.placing(lattice)
    lines = []
    for k, point in enumerate(points):
        first = k < -low
        room = k if first else k - (-low)
        kept = [
            w
            for w, w_inner in zip(found, inner, strict=True)
            if all((-o <= room) if first else (o <= room) for o in w_inner)
        ]
        rhs = expr.add(*(w.jacobian(placing) for w in kept)) if kept else _zero(y, x)
        lines.append(expr.at(Equals(expr.Partial(y, x, held=request.hold), rhs), {t: point}))
    where = f"`{t}` ≥ {1 - low}" if low else f"`{t}` ≤ {length - high}"
    reason = (
        f"The formula holds for {where}. What lies beyond the lattice is given, not computed, "
        "so that no path passes through it."
    )
    return Step("border", "Border cases", reason, (), tuple(lines))


def _count_sentence(found: list[Walk], request: Request) -> str:
    between = f"from `{request.query.below}` to `{request.query.above}`"
    if len(found) == 1:
        return f"One path leads {between}; the derivative is what it carries."
    return f"{len(found)} paths lead {between}; the derivative is the sum over them."


def _no_path(request: Request, total: Node, y: Var, x: Var) -> Derivation:
    zero = _zero(y, x)
    reason = f"No path leads from `{request.query.below}` to `{request.query.above}`."
    return request.answer(
        [
            steps.forward(request.system),
            held_step(request),
            Step("paths", "No path", reason, (), (Equals(total, zero),)),
        ],
        zero,
    )


def _zero(y: Var, x: Var) -> Node:
    return expr.Zero(y.shape[0], x.shape[0])


def factored(node: Node) -> Node:
    """`A B + C B = (A + C) B`: neighbours in a sum of products with the same last factor drawn together."""
    if not isinstance(node, expr.Add):
        return node
    groups: dict[tuple[Node, ...], list[Node]] = {}
    for term in node.args:
        c, body = expr.split_number(term)
        last = body.args[-1:] if isinstance(body, expr.Mul) else ()
        if last and isinstance(last[0], expr.Diag):
            groups.setdefault(last, []).append(expr.scale(c, expr.mul(*body.args[:-1])))
        else:
            groups.setdefault((term,), []).append(term)
    terms = []
    for key, heads in groups.items():
        terms.append(
            expr.Mul(factored(expr.add(*heads)), *key)
            if len(heads) > 1
            else (heads[0] if heads[0] in key else expr.mul(heads[0], *key))
        )
    return expr.add(*terms)


def _above(request: Request) -> Var:
    assert request.query.above is not None
    if request.query.above.index is None:
        raise QueryError(
            f"{request.query.above} in {request.query.text!r} has no index, so that nothing flows into it step by step"
        )
    return request.var(request.query.above)


def _below(request: Request) -> Var:
    assert request.query.below is not None
    return request.var(request.query.below)


def _offset(y: Var, x: Var) -> Offset:
    offset = [b - a for a, b in zip(y.index, x.index, strict=True)]
    if not all(o.is_Integer for o in offset):
        raise QueryError(
            f"the indices of {y.name} and {x.name} need a constant distance here, as in t and t-1, or be numbers"
        )
    return tuple(map(int, offset))


def find_walks(request: Request, local: Table, y: Var, x: Var) -> tuple[list[Walk], paths.Placing, dict]:
    lattice = request.system.lattice
    if request.sizes and all(i.is_Integer for i in (*y.index, *x.index)):
        target, source = (Point(v.name, tuple(map(int, v.index))) for v in (y, x))
        return paths.walks(local, target, source, MOST_PATHS, request.sizes), paths.placing(lattice, absolute=True), {}
    target, source = Point(y.name, (0,) * lattice.dimension), Point(x.name, _offset(y, x))
    return (
        paths.walks(local, target, source, MOST_PATHS),
        paths.placing(lattice),
        dict(zip(lattice.indices, y.index, strict=True)),
    )


def _by_parameter(request: Request, y: Var, x: Var) -> Derivation:
    """`∂y_t/∂b` for a parameter that is a vector: forward in time, since `b` is read at every step."""
    system = request.system
    local = table(system).without(request.hold)
    lattice = system.lattice
    lines = []
    reach = paths.reaching([(e.target.name, e.source.name, e.offset) for e in local], x.name)
    if y.name not in reach:
        return _no_path(request, expr.Partial(y, x, held=request.hold), y, x)
    for name in system.equations:
        if name not in reach or not expr.is_column(system.equations[name].target):
            continue
        target = system.equations[name].target
        terms = []
        for e in local.of_target(name):
            if e.source.name == x.name:
                terms.append(e.map.jacobian())
            elif e.source.name in reach:
                terms.append(expr.mul(e.map.jacobian(), expr.Partial(steps.source_var(e), x, held=request.hold)))
        lines.append(Equals(expr.Partial(target, x, held=request.hold), expr.add(*terms)))
    own = next(line for line in lines if line.lhs.args[0].name == y.name)
    at = dict(zip(lattice.indices, y.index, strict=True))
    done = [
        steps.forward(system, reach),
        held_step(request),
        Step(
            "chain rule",
            "Forward in time",
            f"`{x.name}` acts at every step: directly, and through what was computed before.",
            (),
            tuple(lines),
        ),
    ]
    return request.answer(done, expr.at(own.rhs, at))


# --- ordered products -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ordered:
    """`∂y_t/∂x_k = left[t] · Π step[j] · right[k]` over `j` from `k + 1` to `t` (backward chains: from `t` to `k - 1`)."""

    cut: tuple[str, ...]
    delays: int
    direction: int
    left: Node
    step: Node
    right: Node
    named_step: Node
    reaches: bool
    """Whether `left` starts at the variables of the cut at `t` itself (else at those of the step before)."""


def product(request: Request) -> Derivation:
    """`∂y_t/∂x_k` for symbolic `t` and `k` on a chain: a product of one-step Jacobians, in its order."""
    y, x = _above(request), _below(request)
    system = request.system
    if system.lattice.dimension > 1:
        raise QueryError(
            f"{request.query.text!r}: on a grid the paths are no ordered product; "
            "give indices at a constant distance, or numbers with unroll"
        )
    local = table(system).without(request.hold)
    parts = ordered(system, local, y.name, x.name)
    t, k, j = y.index[0], x.index[0], Symbol("j", integer=True)
    own = system.lattice.indices[0]
    total = expr.Partial(y, x, held=request.hold)
    result = assembled(parts, own, t, k, j, named=False)
    named = assembled(parts, own, t, k, j, named=True)
    lines = [Equals(total, named)]
    when = f"{k} < {t}" if parts.direction < 0 else f"{k} > {t}"
    done = [
        steps.forward(system),
        held_step(request),
        Step(
            "cut",
            "What one step hands to the next",
            f"Between neighbouring steps everything passes through {_names(parts)}, so the derivative is a product of one-step "
            f"Jacobians, for `{when}`.",
            (),
            tuple(_step_lines(system, local, parts)),
        ),
        Step(
            "ordered product",
            "The product, in its order",
            "The factors keep the order of the steps, since matrices do not commute.",
            (),
            tuple(lines),
        ),
    ]
    return request.answer(done, result)


def _names(parts: Ordered) -> str:
    names = [f"`{n}`" for n in parts.cut]
    return " and ".join(names) + (f" of the last {parts.delays} steps" if parts.delays > 1 else "")


def _step_lines(system: System, local: Table, parts: Ordered) -> list[Equals]:
    if parts.named_step is parts.step:
        return []
    return [Equals(parts.named_step, parts.step)]


def assembled(parts: Ordered, own: Symbol, t, k, j: Symbol, named: bool) -> Node:  # type: ignore[no-untyped-def]
    step = expr.at(parts.named_step if named else parts.step, {own: j})
    down = parts.direction < 0
    last = t if parts.reaches else t + parts.direction
    range_ = (j, k + 1, last) if down else (j, last, k - 1)
    middle = expr.Product(step, range_, descending=down)
    left, right = expr.at(parts.left, {own: t}), expr.at(parts.right, {own: k})
    return expr.mul(left, middle, right)


def ordered(system: System, local: Table, y: str, x: str) -> Ordered:
    """The parts of the product.  Raises `QueryError` where the variables between `x` and `y` run both ways."""
    edges = [(e.target.name, e.source.name, e.offset) for e in local if e.offset is not None]
    between = paths.reaching(edges, x) & _below_of(edges, y)
    crossing = [e for e in local if e.offset and e.offset[0] and e.target.name in between and e.source.name in between]
    signs = {1 if e.offset[0] > 0 else -1 for e in crossing if e.offset}
    if len(signs) != 1:
        what = "run both ways along the chain" if signs else "do not connect different steps"
        raise QueryError(
            f"the paths from {x} to {y} {what}; give indices at a constant distance, or numbers with unroll"
        )
    direction = signs.pop()
    # An input that is read at another step is handed on as a state would be; no step of its own leads to it.
    names = dict.fromkeys((*system.equations, x))
    cut = tuple(n for n in names if any(e.source.name == n for e in crossing))
    if not all(expr.is_column(system.variables[n].var) for n in (*cut, y, x)):
        raise QueryError(
            f"the product for d{y}/d{x} passes through a matrix, which has no Jacobian matrix; ask for a gradient"
        )
    delays = max(abs(e.offset[0]) for e in crossing if e.offset)
    crossings = {u: _crossings(local, u, between, set(cut)) for u in {*cut, y}}
    reaches = y in cut or all(_passes(local, y, set(cut), between))
    step = _transition(system, crossings, cut, delays)
    left = _left(system, local, crossings, y, cut, delays, reaches)
    right = _right(system, local, x, cut, delays)
    own = system.lattice.indices[0]
    single = len(cut) == 1 and delays == 1
    var = system.variables[cut[0]].var
    named = expr.Partial(var, var.at((own + direction,)), held=()) if single else step
    return Ordered(cut, delays, direction, left, step, right, named, reaches)


def _below_of(edges: Sequence, y: str) -> set[str]:
    return paths.reaching([(s, t, o) for t, s, o in edges], y)


def _within(local: Table, start: str, stop: set[str], between: set[str]) -> list[tuple[tuple[Entry, ...], str]]:
    """Paths within one step from `start` to the first variable of `stop`."""
    found: list[tuple[tuple[Entry, ...], str]] = []
    pending: list[tuple[str, tuple[Entry, ...]]] = [(start, ())]
    while pending:
        name, steps_ = pending.pop(0)
        for e in local.of_target(name):
            if e.offset is None or any(e.offset) or e.source.name not in between:
                continue
            if e.source.name in stop:
                found.append(((*steps_, e), e.source.name))
            else:
                pending.append((e.source.name, (*steps_, e)))
    return found


def _passes(local: Table, y: str, cut: set[str], between: set[str]) -> list[bool]:
    """For every way back from `y` within its step that leaves the step: whether it met the cut first."""
    met: list[bool] = []
    pending = [y]
    while pending:
        name = pending.pop()
        for e in local.of_target(name):
            if e.offset is None or e.source.name not in between:
                continue
            if any(e.offset):
                met.append(False)
            elif e.source.name in cut:
                met.append(True)
            else:
                pending.append(e.source.name)
    return met


def _crossings(local: Table, start: str, between: set[str], cut: set[str]) -> dict[tuple[str, int], Node]:
    """`(v, delay)` to the Jacobian of `start` at a step by `v` that many steps before, over the paths whose last edge crosses."""
    blocks: dict[tuple[str, int], Node] = {}
    pending: list[tuple[str, tuple[Node, ...]]] = [(start, ())]
    while pending:
        name, factors = pending.pop(0)
        for e in local.of_target(name):
            if e.offset is None or e.source.name not in between:
                continue
            here = (*factors, e.map.jacobian())
            if any(e.offset):
                key = (e.source.name, abs(e.offset[0]))
                block = expr.mul(*here)
                blocks[key] = expr.add(blocks[key], block) if key in blocks else block
            else:
                pending.append((e.source.name, here))
    return blocks


def _block(rows: list[list[Node]]) -> Node:
    return rows[0][0] if len(rows) == 1 and len(rows[0]) == 1 else expr.Block(*rows)


def _transition(system: System, crossings: dict, cut: tuple[str, ...], delays: int) -> Node:
    n = {v: system.variables[v].shape[0] for v in cut}
    rows = []
    for u in cut:
        rows.append([crossings[u].get((v, d), expr.Zero(n[u], n[v])) for d in range(1, delays + 1) for v in cut])
    for d in range(1, delays):
        for u in cut:
            rows.append(
                [
                    expr.Identity(n[u]) if (u, d) == (v, e + 1) and e + 1 == d else expr.Zero(n[u], n[v])
                    for e in range(delays)
                    for v in cut
                ]
            )
    return _block(rows)


def _left(
    system: System, local: Table, crossings: dict, y: str, cut: tuple[str, ...], delays: int, reaches: bool
) -> Node:
    rows_y = system.variables[y].shape[0]
    row: list[Node] = []
    if not reaches:
        row = [
            crossings[y].get((v, d), expr.Zero(rows_y, system.variables[v].shape[0]))
            for d in range(1, delays + 1)
            for v in cut
        ]
        return _block([row])
    first: dict[str, Node] = {y: expr.Identity.build(rows_y)} if y in cut else {}
    if y not in cut:
        for entries, v in _within(local, y, set(cut), set(system.variables)):
            term = expr.mul(*(e.map.jacobian() for e in entries))
            first[v] = expr.add(first[v], term) if v in first else term
    for d in range(delays):
        row += [first[v] if d == 0 and v in first else expr.Zero(rows_y, system.variables[v].shape[0]) for v in cut]
    return _block([row])


def _right(system: System, local: Table, x: str, cut: tuple[str, ...], delays: int) -> Node:
    columns = system.variables[x].shape[0]
    still = (0,) * system.lattice.dimension
    column: list[list[Node]] = []
    placing = paths.placing(system.lattice)
    for d in range(delays):
        for v in cut:
            rows = system.variables[v].shape[0]
            if d:
                column.append([expr.Zero(rows, columns)])
            elif v == x:
                column.append([expr.Identity.build(columns)])
            else:
                inside = Table(system, {k: e for k, e in local.entries.items() if e.offset == still})
                found = paths.walks(inside, Point(v, still), Point(x, still), MOST_PATHS)
                column.append([expr.add(*(w.jacobian(placing) for w in found)) if found else expr.Zero(rows, columns)])
    return _block(column)
