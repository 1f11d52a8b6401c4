"""The value of a node in a ring: integers modulo a prime, floats, SymPy scalars, or the arrays of an autodiff library.

A value is a 2-D array of ring elements, a column `(n, 1)`, a true scalar `(1, 1)`.  `Ring` lists all that a ring must
know: numbers, `+ * @ **` on its arrays, four transcendental functions and a choice between two values.  Everything
else follows here, by one rule per node.  The functions of `derive.functions` are walked as SymPy expressions in those
operations.

    env     what symbols are worth: {"n": 3, "T": 4, "t": 2}, keyed by name
    read    (Var, point) -> the variable's array there
    partial (node, y's point, x's point, …) -> the array of a derivative that is not worked out: `Partial`,
    `GradientOf`,
            or `Pulled`, for which the value of what is pulled back comes last
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import Any, TypeAlias
from zlib import crc32

import numpy
import sympy
from sympy import Basic, Expr, Integer, Rational, Tuple

from derive import expr, functions
from derive.errors import DeriveError

Array: TypeAlias = Any
Env: TypeAlias = "Mapping[str, int]"
Point: TypeAlias = "tuple[int, ...]"
Read: TypeAlias = "Callable[[expr.Var, Point], Array]"
PartialOf: TypeAlias = "Callable[..., Array]"


MOST_TERMS = 20_000
"""Terms of one sum or product, and the largest exponent, that are worked out."""


class Unevaluable(DeriveError):
    """A node or a function that a ring has no value for."""


class Ring:
    """Float64 NumPy arrays, and the interface that every ring fills in: `array` (its module), numbers and functions."""

    array: Any = numpy

    def number(self, q: Rational) -> Any:
        """A rational number, as what may stand beside an array in `+` and `*`."""
        return float(q)

    def pi(self) -> Any:
        return math.pi

    def constant(self, rows: Iterable[Iterable[int]]) -> Array:
        """An array of small integers."""
        return self.array.array([[float(entry) for entry in row] for row in rows])

    def exp(self, a: Array) -> Array:
        return self.array.exp(a)

    def log(self, a: Array) -> Array:
        return self.array.log(a)

    def sqrt(self, a: Array) -> Array:
        return self.array.sqrt(a)

    def sin(self, a: Array) -> Array:
        return self.array.sin(a)

    def erf(self, a: Array) -> Array:
        return numpy.vectorize(math.erf, otypes=[float])(a)

    def compare(self, relation: str, a: Array, b: Any) -> Array:
        """The mask of `a > b` (`>=`, `<`, `<=`, `==`, `!=`)."""
        return COMPARE[relation](a, b)

    def where(self, mask: Array, a: Any, b: Any) -> Array:
        return self.array.where(mask, a, b)

    def matmul(self, a: Array, b: Array) -> Array:
        return a @ b

    def lift(self, a: numpy.ndarray) -> Array:
        """An array of plain values as one of this ring."""
        return a

    def unknown(self, name: str, order: int, a: Array) -> Array:
        """What stands for a named unknown where numbers are floats: `sin(x + s) + x/2`, with a shift `s` of its own."""
        wave = self.sin(a + (unknown_shift(name) + order * math.pi / 2))
        return wave + a * 0.5 if order == 0 else wave + 0.5 if order == 1 else wave

    def norm(self, x: Array, kind: str) -> Array:
        """A norm that is no root of a sum: only a ring of floats may have it."""
        raise Unevaluable("which norm is meant is not said, or it is no sum of entries")

    # --- what follows from the above -------------------------------------------------------------------------------

    def full(self, value: int, rows: int, columns: int) -> Array:
        return self.constant([[value] * columns] * rows)

    def identity(self, n: int) -> Array:
        return self.constant([[int(i == j) for j in range(n)] for i in range(n)])

    def sum(self, a: Array) -> Array:
        """The sum of all entries, `(1, 1)`."""
        rows, columns = a.shape
        left = a if rows == 1 else self.full(1, 1, rows) @ a
        return left if columns == 1 else left @ self.full(1, columns, 1)

    def sign(self, a: Array) -> Array:
        one, zero = a * 0 + self.number(Integer(1)), a * 0
        return self.where(self.compare(">", a, zero), one, self.where(self.compare("<", a, zero), -one, zero))


COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


def unknown_shift(name: str) -> float:
    """So that `phi` and `psi` are different functions."""
    return (crc32(name.encode()) % 64) / 64


# --- functions of the table, walked as SymPy expressions ------------------------------------------------------------

Operation: TypeAlias = "Callable[[Ring, list[Any]], Any]"


@cache
def program(name: str, order: int) -> tuple[Operation, ...]:
    """`functions.expression(name, order)` as operations, each of which may use the results before it."""
    base, wanted = functions.expression(name, 0), functions.expression(name, order)
    assert base is not None and wanted is not None
    return _compile(wanted, _exponents(base))


def _exponents(base: Expr) -> tuple[Expr, ...]:
    """The arguments of exp that a function is made of, smallest first.

    SymPy writes `exp(2x)**2` as `exp(4x)`; a hashed exp doesn't know that they are equal, so every exp of the function
    and of its derivatives is taken as an integer power of one of these.  `erf(u)` contributes `-u**2`, which is in its
    derivative.
    """
    found = {e.args[0] for e in base.atoms(sympy.exp)} | {-(e.args[0] ** 2) for e in base.atoms(sympy.erf)}
    return tuple(sorted(found, key=lambda a: (abs(a.as_coeff_Mul()[0]), sympy.default_sort_key(a))))


def _compile(root: Expr, exponents: tuple[Expr, ...] = ()) -> tuple[Operation, ...]:
    slots: dict[Basic, int] = {functions.x: 0, functions.y: 1}
    operations: list[Operation] = []
    pending: list[tuple[Basic, bool]] = [(root, False)]
    while pending:
        e, ready = pending.pop()
        if e in slots:
            continue
        parts = _parts(e, exponents)
        if not ready and parts:
            pending.append((e, True))
            pending.extend((part, False) for part in reversed(parts))
        else:
            operations.append(_operation(e, [slots[part] for part in parts], exponents))
            slots[e] = len(operations) + 1
    return tuple(operations) or (lambda ring, v: v[slots[root]],)


def _parts(e: Basic, exponents: tuple[Expr, ...]) -> list[Basic]:
    """What must be worked out before `e`."""
    if isinstance(e, sympy.exp):
        return [_exponent(e.args[0], exponents)[0]]
    if isinstance(e, sympy.Pow):
        return [e.base]
    if isinstance(e, sympy.Piecewise):
        return [part for branch in e.args for part in branch.args]
    return list(e.args) if e.args else []


def _exponent(argument: Expr, exponents: tuple[Expr, ...]) -> tuple[Expr, int]:
    """`(base, k)` with `argument = k * base`, where the function has such a base."""
    for base in exponents:
        ratio = argument / base
        if ratio.is_Integer:
            return base, int(ratio)
    return argument, 1


_FUNCTIONS: dict[type, str] = {sympy.log: "log", sympy.erf: "erf", sympy.sin: "sin", sympy.sign: "sign"}
_RELATIONS: dict[type, str] = {
    sympy.StrictGreaterThan: ">", sympy.GreaterThan: ">=", sympy.StrictLessThan: "<", sympy.LessThan: "<=",
    sympy.Equality: "==", sympy.Unequality: "!=",
}  # fmt: skip
_CONNECTIVES: dict[type, Callable[[Any, Any], Any]] = {sympy.Or: lambda a, b: a | b, sympy.And: lambda a, b: a & b}


def _operation(e: Basic, at: list[int], exponents: tuple[Expr, ...]) -> Operation:
    kind = type(e)
    if isinstance(e, Rational):
        return lambda ring, v: ring.number(e)
    if e is sympy.pi:
        return lambda ring, v: ring.pi()
    if e in (sympy.true, sympy.false):
        return lambda ring, v: bool(e)
    if isinstance(e, sympy.Add):
        return lambda ring, v: _fold(lambda a, b: a + b, [v[i] for i in at])
    if isinstance(e, sympy.Mul):
        return lambda ring, v: _fold(lambda a, b: a * b, [v[i] for i in at])
    if isinstance(e, sympy.Pow) and e.exp.is_Rational and e.exp.q in (1, 2):
        return _power(at[0], int(e.exp.p), e.exp.q == 2)
    if isinstance(e, sympy.exp):
        k = _exponent(e.args[0], exponents)[1]
        return lambda ring, v: _integer_power(ring.exp(v[at[0]]), k)
    if isinstance(e, sympy.Abs):
        return lambda ring, v: v[at[0]] * ring.sign(v[at[0]])
    if kind in _FUNCTIONS:
        return lambda ring, v: getattr(ring, _FUNCTIONS[kind])(v[at[0]])
    if kind in _RELATIONS:
        return lambda ring, v: ring.compare(_RELATIONS[kind], v[at[0]], v[at[1]])
    if isinstance(e, sympy.Piecewise):
        return lambda ring, v: _choose(ring, v, at)
    if kind in (sympy.Or, sympy.And):
        return lambda ring, v: _fold(_CONNECTIVES[kind], [v[i] for i in at])
    raise Unevaluable(f"no value is known for {e}: write the function with + * / exp log erf sqrt Abs sign Piecewise")


def _fold(f: Callable[[Any, Any], Any], values: list[Any]) -> Any:
    result = values[0]
    for value in values[1:]:
        result = f(result, value)
    return result


def _power(at: int, k: int, half: bool) -> Operation:
    if half:
        return lambda ring, v: _integer_power(ring.sqrt(v[at]), k)
    return lambda ring, v: _integer_power(v[at], k)


def _integer_power(a: Any, k: int) -> Any:
    return a if k == 1 else a**k


def _choose(ring: Ring, v: list[Any], at: list[int]) -> Any:
    """Piecewise: the first branch whose condition is true; the last one otherwise."""
    result = v[at[-2]]
    for value, condition in reversed([(v[at[k]], v[at[k + 1]]) for k in range(0, len(at) - 2, 2)]):
        result = ring.where(condition, value, result)
    return result


def run(operations: tuple[Operation, ...], ring: Ring, a: Any, b: Any = None) -> Any:
    """The value of a compiled expression with `x = a` and `y = b`, which take the first two slots."""
    done: list[Any] = [a, b]
    for operation in operations:
        done.append(operation(ring, done))
    return done[-1]


# --- vector functions -------------------------------------------------------------------------------------------------


def _softmax(ring: Ring, x: Array) -> Array:
    e = ring.exp(x)
    return e * ring.sum(e) ** -1


def _log_sum_exp(ring: Ring, x: Array) -> Array:
    return ring.log(ring.sum(ring.exp(x)))


def _layer_norm(ring: Ring, x: Array) -> Array:
    """`(x - mean) / sqrt(variance + ε)`; the variance divides by n."""
    share = ring.number(Rational(1, x.shape[0]))
    centred = x - ring.sum(x) * share
    variance = ring.sum(centred * centred) * share
    return centred * ring.sqrt(variance + ring.number(functions.LAYER_NORM_EPSILON)) ** -1


def _cross_entropy(ring: Ring, o: Array, y: Array) -> Array:
    """`-Σ y log softmax(o) = log Σ exp(o) - yᵀ o`, for a distribution `y`."""
    return _log_sum_exp(ring, o) - ring.sum(y * o)


def _squared_error(ring: Ring, o: Array, y: Array) -> Array:
    difference = o - y
    return ring.sum(difference * difference) * ring.number(Rational(1, 2))


def _logistic(ring: Ring, o: Array, y: Array) -> Array:
    """`-Σ y log σ(o) + (1 - y) log(1 - σ(o)) = Σ softplus(o) - y o`."""
    return ring.sum(run(program("softplus", 0), ring, o) - y * o)


VECTORIAL: dict[str, Callable[..., Array]] = {
    "softmax": _softmax,
    "log_sum_exp": _log_sum_exp,
    "layer_norm": _layer_norm,
    "cross_entropy": _cross_entropy,
    "squared_error": _squared_error,
    "logistic": _logistic,
}


def function(ring: Ring, name: str, order: int, *arguments: Array) -> Array:
    """The `order`-th derivative of a function of the table, entry by entry; of a vector's function order 0 only."""
    if name in VECTORIAL:
        if order:
            raise Unevaluable(f"{name} takes a vector: its derivative is a matrix, not {functions.prime(name, order)}")
        return VECTORIAL[name](ring, *arguments)
    if functions.expression(name, 0) is None:
        return ring.unknown(name, order, arguments[0])
    value = run(program(name, order), ring, *arguments)
    # A derivative such as identity' is a bare number: spread it over the argument's shape.
    return (
        value
        if hasattr(value, "shape") and tuple(value.shape) == tuple(arguments[0].shape)
        else arguments[0] * 0 + value
    )


# --- symbols ----------------------------------------------------------------------------------------------------------


def environment(*mappings: Mapping[Any, int]) -> dict[str, int]:
    """`{symbol or name: int}` mappings, merged and keyed by name."""
    return {str(key): int(value) for mapping in mappings for key, value in mapping.items()}


@lru_cache(maxsize=8192)
def _affine(e: Expr) -> tuple[int, tuple[tuple[str, int], ...]] | None:
    """`(c, ((name, k), …))` for `c + Σ k name` with integers, or None."""
    terms = e.as_coefficients_dict()
    constant = terms.pop(sympy.S.One, Integer(0))
    if constant.is_Integer and all(s.is_Symbol and k.is_Integer for s, k in terms.items()):
        return int(constant), tuple((str(s), int(k)) for s, k in terms.items())
    return None


def integer(e: Expr | int, env: Env) -> int:
    """The value of an index, a length or a dimension."""
    if isinstance(e, int):
        return e
    affine = _affine(e)
    try:
        if affine is not None:
            return affine[0] + sum(k * env[name] for name, k in affine[1])
        return int(_rational(e, env))
    except KeyError as missing:
        raise Unevaluable(f"no value is given for {missing.args[0]} in {e}") from None


def _rational(e: Expr, env: Env) -> Expr:
    if not e.free_symbols:
        return e
    return e.xreplace({s: Integer(env[str(s)]) for s in e.free_symbols}).doit()


def _number(ring: Ring, e: Expr, env: Env) -> Any:
    value = _rational(e, env)
    return ring.number(value) if isinstance(value, Rational) else run(_compile(value), ring, None)


def point(index: Iterable[Expr], env: Env) -> Point:
    return tuple(integer(i, env) for i in index)


# --- nodes ------------------------------------------------------------------------------------------------------------


def evaluate(
    node: expr.Node,
    ring: Ring,
    read: Read,
    index: Mapping[Any, int],
    sizes: Mapping[Any, int],
    partial: PartialOf | None = None,
) -> Array:
    """The value of `node` as a 2-D array over `ring`, at one point of the lattice.

    `index` says what index symbols are (`t`), `sizes` what dimensions and lengths are (`n`, `T`).  Raises `Unevaluable`
    for a symbol without a value, and for a `Partial` where no `partial` is given.
    """
    return _Evaluation(ring, read, partial).value(node, environment(sizes, index))


class _Evaluation:
    def __init__(self, ring: Ring, read: Read, partial: PartialOf | None):
        self.ring, self.read, self.partial = ring, read, partial

    def value(self, root: Basic, env: Env) -> Array:
        """Children before parents; only the body of a sum, a product or a case starts anew."""
        done: dict[Basic, Array] = {}
        for node in _order(root):
            rule = RULES.get(type(node))
            if rule is None:
                raise Unevaluable(f"a {type(node).__name__} has no value")
            done[node] = rule(self, node, env, done)
        return done[root]


@lru_cache(maxsize=4096)
def _order(root: Basic) -> tuple[Basic, ...]:
    seen: set[Basic] = set()
    order: list[Basic] = []
    pending: list[tuple[Basic, bool]] = [(root, False)]
    while pending:
        node, ready = pending.pop()
        if ready:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            pending.append((node, True))
            pending.extend((child, False) for child in reversed(children(node)))
    return tuple(order)


_LEAVES = (expr.Var, expr.At, expr.Sum, expr.Product, expr.Partial, expr.GradientOf, expr.Cases)


def children(node: Basic) -> list[Basic]:
    """The nodes whose values, at the same point, the value of `node` is made of."""
    if isinstance(node, _LEAVES):
        return []
    if isinstance(node, expr.Pulled):
        return [node.args[2]]
    if isinstance(node, expr.Power) and isinstance(node.args[0], expr.Norm):
        return []
    if isinstance(node, expr.Block):
        return [entry for row in node.args for entry in row]
    return [a for a in node.args if isinstance(a, expr.Node)]


Rule: TypeAlias = "Callable[[_Evaluation, Any, Env, dict[Basic, Array]], Array]"


def _shape(node: expr.Node, env: Env) -> tuple[int, int]:
    return integer(node.shape[0], env), integer(node.shape[1], env)


def _scale(run_: _Evaluation, node: Any, env: Env, done: dict[Basic, Array]) -> Array:
    c, body = node.args
    return done[body] * (done[c] if isinstance(c, expr.Node) else _number(run_.ring, c, env))


def _matrix_product(run_: _Evaluation, node: Any, env: Env, done: dict[Basic, Array]) -> Array:
    """From the right where the product ends in a column, else from the left."""
    values = [done[a] for a in node.args]
    if values[-1].shape[1] == 1:
        return _fold(lambda a, b: run_.ring.matmul(b, a), values[::-1])
    return _fold(run_.ring.matmul, values)


def _diagonal(run_: _Evaluation, node: Any, env: Env, done: dict[Basic, Array]) -> Array:
    body = done[node.args[0]]
    n = body.shape[0]
    return (body * run_.ring.identity(n)) @ run_.ring.full(1, n, 1)


def _at(run_: _Evaluation, node: Any, env: Env, done: dict[Basic, Array]) -> Array:
    return run_.ring.full(int(point(node.index, env) == point(node.point, env)), 1, 1)


def _ranges(ranges: Iterable[Tuple], env: Env) -> Iterable[dict[str, int]]:
    """Every environment that the ranges run through; an inner bound may use an index that stands to its left."""
    environments = [dict(env)]
    for index, lo, hi in ranges:
        spans = [(e, range(integer(lo, e), integer(hi, e) + 1)) for e in environments]
        if sum(len(span) for _, span in spans) > MOST_TERMS:
            raise Unevaluable(f"a sum or a product over {index} has more than {MOST_TERMS} terms")
        environments = [{**e, str(index): value} for e, span in spans for value in span]
    return environments


def _sum(run_: _Evaluation, node: Any, env: Env, done: dict[Basic, Array]) -> Array:
    total = None
    for inner in _ranges(node.args[1:], env):
        term = run_.value(node.args[0], inner)
        total = term if total is None else total + term
    return run_.ring.full(0, *_shape(node, env)) if total is None else total


def _product(run_: _Evaluation, node: Any, env: Env, done: dict[Basic, Array]) -> Array:
    """A descending product has its latest factor on the left."""
    total = None
    for inner in _ranges([node.args[1]], env):
        factor = run_.value(node.args[0], inner)
        if total is None:
            total = factor
        else:
            total = run_.ring.matmul(factor, total) if node.descending else run_.ring.matmul(total, factor)
    return run_.ring.identity(_shape(node, env)[0]) if total is None else total


def _partial(run_: _Evaluation, node: Any, env: Env, done: dict[Basic, Array]) -> Array:
    y, x = node.args[:2]
    if run_.partial is None:
        raise Unevaluable(f"∂{y}/∂{x} is not worked out, so it has no value here")
    return run_.partial(node, env, *([done[node.args[2]]] if isinstance(node, expr.Pulled) else []))


def _block(run_: _Evaluation, node: Any, env: Env, done: dict[Basic, Array]) -> Array:
    join = run_.ring.array.concatenate
    return join([join([done[entry] for entry in row], axis=1) for row in node.args], axis=0)


def _entry(run_: _Evaluation, node: Any, env: Env, done: dict[Basic, Array]) -> Array:
    """`e_i' A e_j`, which every ring can work out."""
    body, *position = node.args
    left, right = (
        [int(k == integer(at, env)) for k in range(1, size + 1)]
        for at, size in zip(position, _shape(body, env), strict=True)
    )
    if not (any(left) and any(right)):
        raise Unevaluable(f"there is no entry {','.join(str(integer(i, env)) for i in position)} in {body}")
    ring = run_.ring
    return ring.matmul(ring.constant([left]), ring.matmul(done[body], ring.constant([[k] for k in right])))


def _exponent_of(node: Any, env: Env) -> int:
    exponent = integer(node.args[1], env)
    if abs(exponent) > MOST_TERMS:
        raise Unevaluable(f"the exponent {exponent} is larger than {MOST_TERMS}")
    return exponent


def _matrix_power(run_: _Evaluation, node: Any, env: Env, done: dict[Basic, Array]) -> Array:
    body, exponent = done[node.args[0]], _exponent_of(node, env)
    if exponent < 0:
        raise Unevaluable(f"an inverse is not worked out: the exponent of {node} is {exponent}")
    return _fold(run_.ring.matmul, [run_.ring.identity(body.shape[0]), *[body] * exponent])


def _euclidean(ring: Ring, x: Array) -> Array:
    return ring.sqrt(ring.sum(x * x))


def _is_euclidean(node: expr.Norm, x: Array) -> bool:
    return node.kind == "F" or (node.kind in ("", "2") and 1 in x.shape)


def _power_of(run_: _Evaluation, node: Any, env: Env, done: dict[Basic, Array]) -> Array:
    """An even power of a length needs no root."""
    body, exponent = node.args[0], _exponent_of(node, env)
    if isinstance(body, expr.Norm) and exponent % 2 == 0 and exponent > 0:
        x = run_.value(body.args[0], env)
        if _is_euclidean(body, x):
            return _integer_power(run_.ring.sum(x * x), exponent // 2)
    return _integer_power(run_.value(body, env) if body not in done else done[body], exponent)


def _norm(run_: _Evaluation, node: Any, env: Env, done: dict[Basic, Array]) -> Array:
    """The Euclidean norm, also where none is named; of a column the sum of absolute values, and the largest one.  Others
    take more than a ring has."""
    x, ring = done[node.args[0]], run_.ring
    if _is_euclidean(node, x):
        return _euclidean(ring, x)
    if node.kind == "1" and x.shape[1] == 1:
        return ring.sum(x * ring.sign(x))
    if node.kind == "inf" and x.shape[1] == 1:
        values = x * ring.sign(x)
        entries = [values[i : i + 1] for i in range(x.shape[0])]
        return _fold(lambda a, b: ring.where(ring.compare(">", a, b), a, b), entries)
    try:
        return ring.norm(x, node.kind)
    except Unevaluable as reason:
        raise Unevaluable(f"{node} has no value here: {reason}") from None


def _extremum(run_: _Evaluation, node: Any, env: Env, done: dict[Basic, Array]) -> Array:
    raise Unevaluable(f"{node} has no value here: a {node.kind} over all numbers takes more than finitely many of them")


def _case(node: expr.Cases, env: Env) -> expr.Node:
    """The value whose condition holds; conditions compare indices."""
    for value, condition in node.args:
        if isinstance(condition, expr.Otherwise) or _holds(condition, env):
            return value
    raise Unevaluable(f"no case applies in {node}")


def _holds(condition: Basic, env: Env) -> bool:
    sides = condition.args[1:] if isinstance(condition, expr.Relation) else ()
    if not sides or any(isinstance(side, expr.Node) or not isinstance(side, Expr) for side in sides):
        raise Unevaluable(f"only a condition on indices can be decided, found {condition}")
    compare = COMPARE.get({"=": "=="}.get(condition.op, condition.op))  # type: ignore[attr-defined]
    if compare is None:
        raise Unevaluable(f"only a condition on indices can be decided, found {condition}")
    return bool(compare(*(integer(side, env) for side in sides)))  # type: ignore[arg-type]


RULES: dict[type, Rule] = {
    expr.Var: lambda r, node, env, done: r.read(node, point(node.index, env)),
    expr.Zero: lambda r, node, env, done: r.ring.full(0, *_shape(node, env)),
    expr.Ones: lambda r, node, env, done: r.ring.full(1, *_shape(node, env)),
    expr.Identity: lambda r, node, env, done: r.ring.identity(integer(node.args[0], env)),
    expr.Add: lambda r, node, env, done: _fold(lambda a, b: a + b, [done[a] for a in node.args]),
    expr.Scale: _scale,
    expr.Had: lambda r, node, env, done: _fold(lambda a, b: a * b, [done[a] for a in node.args]),
    expr.Power: _power_of,
    expr.Mul: _matrix_product,
    expr.Transpose: lambda r, node, env, done: done[node.args[0]].T,
    expr.Diag: lambda r, node, env, done: done[node.args[0]] * r.ring.identity(_shape(node, env)[0]),
    expr.Diagonal: _diagonal,
    expr.Inner: lambda r, node, env, done: r.ring.sum(done[node.args[0]] * done[node.args[1]]),
    expr.Apply: lambda r, node, env, done: function(
        r.ring, node.function, node.order, *(done[a] for a in node.arguments)
    ),
    expr.At: _at,
    expr.Sum: _sum,
    expr.Product: _product,
    expr.Partial: _partial,
    expr.Pulled: _partial,
    expr.GradientOf: _partial,
    expr.Block: _block,
    expr.Entry: _entry,
    expr.Norm: _norm,
    expr.Extremum: _extremum,
    expr.MatrixPower: _matrix_power,
    expr.Cases: lambda r, node, env, done: r.value(_case(node, env), env),
    expr.Labelled: lambda r, node, env, done: done[node.args[0]],
}


def reads(root: Basic, env: Env) -> list[tuple[expr.Var, Point]]:
    """The variables that the value of `root` reads, each with its point, once, in a fixed order."""
    found: dict[tuple[expr.Var, Point], None] = {}
    pending: list[tuple[Basic, Env]] = [(root, env)]
    while pending:
        top, inner = pending.pop()
        for node in _order(top):
            if isinstance(node, expr.Var):
                found[node.at(()), point(node.index, inner)] = None
            elif isinstance(node, expr.Sum):
                pending.extend((node.args[0], e) for e in _ranges(node.args[1:], inner))
            elif isinstance(node, expr.Product):
                pending.extend((node.args[0], e) for e in _ranges([node.args[1]], inner))
            elif isinstance(node, expr.Cases):
                pending.append((_case(node, inner), inner))
    return list(found)
