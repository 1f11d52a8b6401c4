"""From the neutral tree to expressions: every reading that names and shapes leave.

`Resolver.readings(tree)` looks the kind of the tree up in `RULES`.  What can't be read is remembered where it is
smallest, so that an `Unread` names the place and the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations

from sympy import Expr, Integer, Rational, Symbol, sympify

from derive import expr, functions
from derive.errors import ShapeError, did_you_mean
from derive.expr import Node, Var, is_column, is_scalar, show_shape
from derive.reader import continued, derivatives, ranges
from derive.reader.names import Part, Spelling, base_name, decomposed, index_expression, spellings
from derive.reader.products import add, chain, divide, is_vector, multiply, negated
from derive.reader.scope import Meaning, Scope
from derive.reader.tree import Span, Tree, Unread
from derive.shapes import dimension
from derive.reader.values import Cube, Function, Loss, Number, Reading, Unit, Value, agree, choice, combined, pruned

BIG = ("sum", "prod")
DIAGONALS = ("diag", "Diag", "diagonal")
EXTREMA = {"max": "max", "min": "min"}


class Resolver:
    def __init__(self, scope: Scope):
        self.scope = scope
        self.known: dict[int, list[Reading]] = {}
        self.kept: list[Tree] = []
        self.troubles: list[tuple[Span, str]] = []
        self.indices: frozenset[Symbol] = frozenset()
        self.bound: frozenset[str] = frozenset()
        self.dimensions = {str(s) for m in scope.names.values() for size in m.shape for s in size.free_symbols}

    def readings(self, tree: Tree) -> list[Reading]:
        """Every reading, likely ones first; none, and a trouble noted, where there is none."""
        if id(tree) not in self.known:
            self.kept.append(tree)
            rule = RULES.get(tree.kind)
            found: list[Reading] = []
            before = len(self.troubles)
            try:
                found = self.allowed(rule(self, tree)) if rule else []
            except ShapeError as error:
                self.trouble(tree, str(error))
            if not found and len(self.troubles) == before:
                self.trouble(tree, self.reason(tree))
            self.known[id(tree)] = found
        return self.known[id(tree)]

    def allowed(self, readings: Iterable[Reading]) -> list[Reading]:
        """Those that agree with what the document's directives pin."""
        return pruned(r for r in readings if agree(r.choices, self.scope.pins) is not None)

    def trouble(self, tree: Tree, message: str) -> None:
        self.troubles.append((tree.span, message))

    def unread(self, tree: Tree) -> Unread:
        span, message = self.troubles[0] if self.troubles else (tree.span, "this is not understood")
        return Unread(message, span)

    def reason(self, tree: Tree) -> str:
        if tree.kind in ("name", "script", "accent"):
            spelled = decomposed(tree)
            if spelled is not None:
                return self.undefined(*spelled)
        if tree.kind in ("sum", "chain"):
            return self.clash(tree)
        if tree.kind == "symbol" and tree.value == "dots":
            return "the terms before and after these dots do not fix a pattern"
        if tree.kind == "words":
            return f"the words '{str(tree.value).strip()[:40]}' are no part of a formula"
        return f"this {tree.kind} is not understood here"

    def undefined(self, base: str, parts: Sequence[Part]) -> str:
        shortest = min((s.name for s in spellings(base, parts, self.scope.letters)), key=len, default=base)
        longest = max((s.name for s in spellings(base, parts, self.scope.letters)), key=len, default=base)
        if shortest in self.scope.names:
            meaning = self.scope.names[shortest]
            at = f"at {len(self.scope.lattice)} index" if meaning.indexed else "without an index"
            return f"{shortest} is known {at} as {show_shape(meaning.shape)}; these scripts do not fit it"
        near = did_you_mean(longest, self.scope.names)
        likely = min((s.name for s in spellings(base, parts, self.scope.letters) if s.name == base or s.index
                      or len(parts) == s.name.count("_") - base.count("_")), key=lambda n: -len(n), default=shortest)  # fmt: skip
        shape = "n x m" if base[:1].isupper() else "n"
        return f"{longest} is not defined{near}; define it, or declare it: 'declare {likely}: {shape}'"

    def clash(self, tree: Tree) -> str:
        """The two neighbours whose shapes do not fit, and where they stand."""
        shown = [(child, self.readings(child)) for child in tree.children if child.kind != "symbol"]
        values = [(child, found[0].value) for child, found in shown if found]
        nodes = [(child, value) for child, value in values if isinstance(value, (Node, Cube))]
        for (left, a), (right, b) in zip(nodes, nodes[1:], strict=False):
            if isinstance(a, Node) and isinstance(b, Node):
                fits = any(True for sign in ("", "odot") for _ in _tried(multiply, sign, a, b))
                if tree.kind == "sum":
                    fits = any(True for _ in add([a, b]))
                if not fits or (tree.kind == "chain" and "odot" in tree.value and a.shape != b.shape):
                    return self.clash_message(tree, left, right, a, b)
        if len(nodes) >= 2 and isinstance(nodes[0][1], Node) and isinstance(nodes[-1][1], Node):
            return self.clash_message(tree, nodes[0][0], nodes[-1][0], nodes[0][1], nodes[-1][1])
        return "these factors do not go together" if tree.kind == "chain" else "these terms do not go together"

    def clash_message(self, tree: Tree, left: Tree, right: Tree, a: Node, b: Node) -> str:
        columns = f"(columns {left.span[0] + 1} and {right.span[0] + 1} of the formula)"
        shapes = f"{show_shape(a.shape)} and {show_shape(b.shape)} {columns}"
        if tree.kind == "sum":
            return f"a sum needs equal shapes, found {shapes}"
        if "odot" in tree.value and a.shape != b.shape:
            hint = "; did you mean a matrix product?" if a.shape[1] == b.shape[0] else ""
            return f"a Hadamard product needs equal shapes, found {shapes}{hint}"
        hint = "; did you mean a transpose?" if a.shape[0] == b.shape[0] or a.shape[1] == b.shape[1] else ""
        return f"a matrix product needs inner dimensions that agree, found {shapes}{hint}"

    # --- names

    def reference(self, tree: Tree, calls: Sequence[Part] = ()) -> list[Reading]:
        """The readings of a name with its scripts, and with an index in brackets behind it."""
        spelled = decomposed(tree)
        if spelled is None:
            return []
        base, parts = spelled
        found: list[Reading] = []
        for spelling in spellings(base, (*parts, *calls), self.scope.letters):
            letters = {s for i in spelling.index for s in i.free_symbols if str(s) not in self.bound}
            price = 4 * any(str(s) in self.scope.names and s not in self.scope.lattice for s in letters)
            found.extend(Reading(r.value, r.choices, r.cost + price) for r in self.meant(spelling))
        return pruned(found)

    def meant(self, spelling: Spelling) -> Iterator[Reading]:
        for node, price in self.nodes(spelling):
            for reading in self.scripted(node, spelling.after):
                yield Reading(reading.value, reading.choices, spelling.cost + price + reading.cost)
        if not spelling.after and self.scope.is_loss(spelling.name) and len(spelling.index) <= len(self.scope.lattice):
            yield Reading(Loss(spelling.index), (), spelling.cost)

    def nodes(self, spelling: Spelling) -> Iterator[tuple[Node, int]]:
        """The nodes that a name at an index can be, with entries taken out, and a price."""
        for meaning, price in self.meanings(spelling.name):
            for node, entries, cost in self.indexed(meaning, spelling.index):
                taken = entry(node, entries)
                if taken is not None:
                    yield taken, price + cost

    def meanings(self, name: str) -> Iterator[tuple[Meaning, int]]:
        known = self.scope.lookup(name)
        if known is not None:
            yield known, 0
            return
        for mark in ("bar", "dot"):
            below = self.scope.lookup(name.replace(f"_{mark}", "", 1)) if f"_{mark}" in name else None
            if below is not None:
                yield Meaning(marked(below.node, mark), below.indexed), 1
            stem = name.removesuffix(f"_{mark}")
            if stem != name and self.scope.is_loss(stem) and self.scope.own:
                yield Meaning(marked(self.scope.loss(self.scope.lattice), mark), True), 0
        if name.startswith("delta_") and self.scope.own:
            below = self.scope.lookup(name.removeprefix("delta_"))
            if below is not None and below.indexed:
                yield Meaning(marked(below.node, "delta"), True), 1

    def indexed(self, meaning: Meaning, index: tuple[Expr, ...]) -> Iterator[tuple[Node, tuple[Expr, ...], int]]:
        lattice = self.scope.lattice
        size = len(lattice)
        if meaning.indexed is None and isinstance(meaning.node, Var):
            yield meaning.node.at(()), index, sum(4 for i in index if i.free_symbols & set(lattice))
        if meaning.indexed is False:
            yield meaning.node, index, 0
            if len(index) == size and isinstance(meaning.node, Var):
                at_time = all(i.free_symbols & set(lattice) or i.is_Integer for i in index)
                yield meaning.node.at(index), (), 2 if at_time else 6
            return
        if len(index) < size and meaning.indexed:
            yield meaning.node, index, 6
        for chosen in combinations(range(len(index)), size):
            at = tuple(index[n] for n in chosen)
            rest = tuple(i for n, i in enumerate(index) if n not in chosen)
            price = sum(0 if i.free_symbols & {*lattice, *self.scope.lengths} else 1 for i in at)
            price += sum(4 for i in rest if i.free_symbols & {*lattice, *self.scope.lengths})
            yield meaning.at(at, lattice), rest, price

    def scripted(self, node: Node, after: Sequence[tuple[str, Tree | None]]) -> Iterator[Reading]:
        readings = [Reading(node)]
        for role, tree in after:
            readings = [
                Reading(done.value, agree(r.choices, done.choices) or (), r.cost + done.cost)
                for r in readings
                for done in self.operated(r.value, role, tree)
            ]
        yield from readings

    def operated(self, value: Value, role: str, tree: Tree | None) -> Iterator[Reading]:
        """A transpose or a power of a value."""
        if role in ("transpose", "prime"):
            price = 2 if role == "prime" else 0
            if isinstance(value, Node):
                yield Reading(expr.transpose(value), (), price)
            elif isinstance(value, Number):
                yield Reading(Number(value.value, value.ones, value.ones and not value.row), (), price)
            elif isinstance(value, Unit):
                yield Reading(value, (), price)
            elif isinstance(value, Cube):
                yield Reading(Cube(value.pull, value.rows, not value.transposed, value.columns), (), price)
            return
        assert tree is not None
        if isinstance(value, Cube):
            if tree.kind == "symbol" and tree.value in ("*", "star"):
                yield Reading(Cube(value.pull, value.rows, not value.transposed, value.columns))
            return
        exponent = index_expression(tree, self.scope.letters)
        if exponent is None or any(self.scope.lookup(str(s)) for s in exponent.free_symbols):
            return
        if isinstance(value, Number):
            yield Reading(Number(value.value**exponent))
        elif isinstance(value, Node):
            yield from powers(value, exponent, role == "odot")

    # --- leaves

    def number(self, tree: Tree) -> list[Reading]:
        return [Reading(Number(Rational(tree.value)))]

    def name(self, tree: Tree) -> list[Reading]:
        found = self.reference(tree)
        if found:
            return found
        if tree.names("I", "Id"):
            return [Reading(Unit())]
        if tree.names("ones"):
            return [Reading(Number(Integer(1), True))]
        if tree.names("pi"):
            from sympy import pi

            return [Reading(Number(pi))]
        function = self.scope.function(str(tree.value))
        if function is not None:
            return [Reading(Function(function))]
        index = index_expression(tree, self.scope.letters)
        if index is not None and index in {*self.scope.lattice, *self.scope.lengths, *self.indices}:
            return [Reading(Number(index), (), 5)]
        if str(tree.value) in self.dimensions:
            from derive.shapes import dimension

            return [Reading(Number(dimension(str(tree.value))), (), 5)]
        if len(str(tree.value)) > 2 and str(tree.value)[0] == "d":
            return self.adjoint_word(str(tree.value)[1:])
        return []

    def adjoint_word(self, name: str) -> list[Reading]:
        """`dWhh` as one word: the adjoint of `Whh`."""
        below = self.scope.lookup(name)
        if below is None:
            return []
        return [Reading(value, (), 6) for value in derivatives.adjoints(below.node)]

    def accent(self, tree: Tree) -> list[Reading]:
        found = self.reference(tree)
        if not found and tree.value == "dot":
            inside = self.readings(tree.children[0])
            return [Reading(Function(r.value.name, r.value.order + 1)) for r in inside if isinstance(r.value, Function)]
        if not found and tree.children[0].kind not in ("name", "script", "accent"):
            return self.readings(tree.children[0]) if tree.value in ("check",) else []
        return found

    def script(self, tree: Tree) -> list[Reading]:
        base, *scripts = tree.children
        if base.kind == "brace":
            return self.readings(base)
        found = self.reference(tree)
        special = self.special_script(tree, base, scripts)
        return pruned([*found, *special])

    def special_script(self, tree: Tree, base: Tree, scripts: Sequence[Tree]) -> list[Reading]:
        first = scripts[0]
        if base.names("e") and first.kind == "sup" and not self.scope.lookup("e"):
            return self.applied("exp", 0, [self.readings(first.children[0])])
        if base.names("ones") or (base.kind == "number" and base.value == "1" and first.kind == "sub"):
            return self.of_ones(scripts)
        if base.names("delta") and first.kind == "sub" and not found_names(self, base, scripts):
            return self.kronecker(first.children[0])
        if base.names("I", "Id") and not self.scope.lookup("I"):
            return [Reading(Unit())] if all(s.kind != "prime" for s in scripts) else []
        function = self.function_head(tree)
        if function is not None:
            return self.bare_power(*function)
        if base.kind == "group" and base.value == ".|" and first.kind == "sub":
            return self.held(base, first, scripts[1:])
        if base.kind in ("group", "chain", "frac", "sum", "number", "matrix", "sqrt", "script", "accent"):
            if base.kind in ("script", "accent") and decomposed(base) is not None:
                return []
            norm = base.kind == "group" and base.value in ("||", "|")
            if norm and first.kind == "sub":
                return self.tail(self.norm(base, _word(first.children[0])), scripts[1:])
            return self.tail(self.readings(base), scripts)
        return []

    def kronecker(self, tree: Tree) -> list[Reading]:
        r"""`\delta_{ij}`: 1 where the two indices are equal."""
        from derive.reader.names import letters

        pair = [index_expression(c, self.scope.letters) for c in tree.children] if tree.kind == "list" else None
        pair = pair if pair is not None else list(letters(tree, self.scope.letters) or ())
        if len(pair) != 2 or any(i is None for i in pair):
            return []
        return [Reading(expr.At((pair[0],), (pair[1],)))]

    def of_ones(self, scripts: Sequence[Tree]) -> list[Reading]:
        first = scripts[0]
        if first.kind == "sub" and first.children[0].kind == "relation":
            return self.indicator(first.children[0])
        if first.kind == "sub" and first.children[0].kind == "chain":
            sizes = [base_name(c) for c in first.children[0].children]
            if len(sizes) == 2 and all(sizes):
                from derive.shapes import dimension

                return [Reading(expr.Ones(*(dimension(s) for s in sizes)))]  # type: ignore[arg-type]
        return self.tail([Reading(Number(Integer(1), True))], [s for s in scripts if s.kind != "sub"])

    def tail(self, readings: list[Reading], scripts: Sequence[Tree]) -> list[Reading]:
        """Scripts on what is no name: entries below, transposes and powers above."""
        for script in scripts:
            made: list[Reading] = []
            for reading in readings:
                for done in self.on_value(reading.value, script):
                    together = agree(reading.choices, done.choices)
                    if together is not None:
                        made.append(Reading(done.value, together, reading.cost + done.cost))
            readings = pruned(made)
        return readings

    def on_value(self, value: Value, script: Tree) -> Iterator[Reading]:
        from derive.reader.names import _parts, is_transpose, letters

        if script.kind == "prime":
            yield from self.operated(value, "prime", None)
            return
        parts = list(_parts(script.kind, script.children[0]))
        if script.kind == "sub":
            index: list[Expr] = []
            for part in parts:
                one = index_expression(part.tree, self.scope.letters)
                several = (one,) if one is not None else letters(part.tree, self.scope.letters)
                if several is None:
                    return
                index.extend(several)
            taken = entry(value, tuple(index)) if isinstance(value, Node) else None
            if taken is not None:
                yield Reading(taken)
            return
        results = [Reading(value)]
        for part in parts:
            role = "transpose" if is_transpose(part) else "odot" if part.where == "odot" else "power"
            results = [
                Reading(d.value, agree(r.choices, d.choices) or (), r.cost + d.cost)
                for r in results
                for d in self.operated(r.value, role, part.tree)
            ]
            if role == "transpose" and part.tree.names("T"):
                results += [Reading(d.value, d.choices, d.cost + 4) for d in self.operated(value, "power", part.tree)]
        yield from results

    def held(self, base: Tree, sub: Tree, rest: Sequence[Tree]) -> list[Reading]:
        r"""`\left. ∂c_t/∂c_{t-1} \right|_{h_{t-1}}`: the names below are held constant."""
        inside = sub.children[0]
        names = []
        for tree in inside.children if inside.kind == "list" else (inside,):
            if tree.kind == "relation":
                return []
            found = [r.value for r in self.readings(tree) if isinstance(r.value, Var)]
            if not found:
                return []
            names.append(found[0].name)
        made = []
        for reading in self.readings(base.children[0]):
            value = reading.value
            turned = isinstance(value, expr.Transpose)
            partial = value.args[0] if turned else value
            if isinstance(partial, expr.Partial):
                partial = expr.Partial(partial.args[0], partial.args[1], partial.immediate, tuple(names))
                made.append(Reading(expr.transpose(partial) if turned else partial, reading.choices, reading.cost))
        return self.tail(made, rest)

    # --- functions

    def function_head(self, tree: Tree) -> tuple[Function, Tree | None] | None:
        """A function with its primes and a power: `\\tanh^2`, `\\sigma'`; None where the tree is none."""
        if tree.kind == "name":
            found = self.scope.function(str(tree.value))
            return (Function(found), None) if found is not None else None
        if tree.kind == "accent" and tree.value == "dot":
            inside = self.function_head(tree.children[0])
            return None if inside is None else (Function(inside[0].name, inside[0].order + 1), inside[1])
        if tree.kind != "script":
            return None
        inside = self.function_head(tree.children[0])
        if inside is None:
            return None
        function, power = inside
        for script in tree.children[1:]:
            if script.kind == "prime" or (script.kind == "sup" and script.children[0].kind == "prime"):
                function = Function(function.name, function.order + 1)
            elif (
                script.kind == "sup"
                and script.children[0].kind == "list"
                and all(c.kind == "prime" for c in script.children[0].children)
            ):
                function = Function(function.name, function.order + len(script.children[0].children))
            elif script.kind == "sup" and power is None:
                power = script.children[0]
            elif script.kind == "sub" and _word(script.children[0]) in ("h", "g", "c"):
                continue
            else:
                return None
        return function, power

    def bare_power(self, function: Function, power: Tree | None) -> list[Reading]:
        r"""`\tanh^2` without its argument."""
        if power is None:
            return [Reading(function)]
        exponent = index_expression(power, self.scope.letters)
        at_dummy = self.bare([Reading(function)])
        return [] if exponent is None else [Reading(expr.power(r.value, exponent), r.choices, r.cost) for r in at_dummy]

    def applied(self, name: str, order: int, arguments: Sequence[list[Reading]]) -> list[Reading]:
        def make(*values: Value) -> Iterator[Reading]:
            yield from self.call(name, order, values)

        return combined(arguments, make)

    def call(self, name: str, order: int, values: Sequence[Value]) -> Iterator[Reading]:
        if name == "max" and len(values) == 2 and any(isinstance(v, Number) and v.value == 0 for v in values):
            values = [v for v in values if not (isinstance(v, Number) and v.value == 0)] or values
            name = "relu"
        if len(values) != functions.row(name).arity:
            return
        shape = next((v.shape for v in values if isinstance(v, Node)), expr.SCALAR)
        nodes = [expr.number(v.value, shape) if isinstance(v, Number) else v for v in values]
        if not all(isinstance(n, Node) for n in nodes):
            return
        yield Reading(expr.apply(name, *nodes, order=order))

    def function_call(
        self, function: Function, power: Tree | None, arguments: Sequence[list[Reading]]
    ) -> list[Reading]:
        # A bare function inside a call, σ(1 - σ), is more likely a product.
        dearer = [[Reading(r.value, r.choices, r.cost + 8 * ("function" in r.chosen())) for r in a] for a in arguments]
        found = self.applied(function.name, function.order, dearer)
        if power is None:
            return found
        exponent = index_expression(power, self.scope.letters)
        if power.kind == "list" and power.children[0].kind == "symbol":
            exponent = index_expression(power.children[1], self.scope.letters)
        if exponent is None:
            return []
        return [Reading(expr.power(r.value, exponent), r.choices, r.cost) for r in found]

    # --- compound trees

    def minus(self, tree: Tree) -> list[Reading]:
        inside = self.bare(self.readings(tree.children[0]))
        made = ((negated(self.losses(r.value)), r) for r in inside)
        return [Reading(value, r.choices, r.cost) for value, r in made if value is not None]

    def sum(self, tree: Tree) -> list[Reading]:
        if any(_is_dots(child) for child in tree.children):
            return continued.sum_(self, tree)
        parts = [self.bare(self.readings(child)) for child in tree.children]
        if any(not p for p in parts):
            return []
        return combined(parts, lambda *values: list(add([self.losses(v) for v in values])))

    def losses(self, value: Value) -> Value:
        return self.scope.loss(value.index) if isinstance(value, Loss) else value

    def bare(self, readings: list[Reading]) -> list[Reading]:
        """Bare functions at a dummy argument."""
        argument = Var("u", (), (), *expr.SCALAR)
        return [
            Reading(expr.apply(r.value.name, argument, order=r.value.order), choice("function", "argument"), r.cost + 1)
            if isinstance(r.value, Function)
            else r
            for r in readings
        ]

    def frac(self, tree: Tree) -> list[Reading]:
        over, under = tree.children
        found = derivatives.quotient(self, over, under)
        if found is not None:
            return found
        parts = [self.bare(self.readings(over)), self.bare(self.readings(under))]
        return combined(parts, lambda a, b: list(divide(self.losses(a), self.losses(b))))

    def sqrt(self, tree: Tree) -> list[Reading]:
        found = []
        for reading in self.readings(tree.children[0]):
            if isinstance(reading.value, Number):
                found.append(
                    Reading(Number(sympify(reading.value.value) ** Rational(1, 2)), reading.choices, reading.cost)
                )
            elif isinstance(reading.value, Node):
                found.append(Reading(expr.apply("sqrt", reading.value), reading.choices, reading.cost))
        return found

    def brace(self, tree: Tree) -> list[Reading]:
        return self.readings(tree.children[0])

    def over(self, tree: Tree) -> list[Reading]:
        return self.reference(tree) or self.readings(tree.children[0])

    def group(self, tree: Tree) -> list[Reading]:
        value = str(tree.value)
        if value in ("|", "||"):
            return self.norm(tree, "")
        if value.startswith("langle") and len(tree.children) == 2:
            pair = [self.readings(c) for c in tree.children]
            return combined(pair, _inner)
        if len(tree.children) == 1:
            child = tree.children[0]
            if child.kind == "relation":
                return self.indicator(child)
            return self.bare(self.readings(child)) if value != ".|" else self.readings(child)
        return self.stacked(tree)

    def stacked(self, tree: Tree) -> list[Reading]:
        """`[h; x]`, `[h, x]`: columns one above the other; numbers in a row."""
        if not tree.children or any(_is_dots(c) for c in tree.children):
            return []
        parts = [self.readings(child) for child in tree.children]

        def make(*values: Value) -> Iterator[Reading]:
            if all(isinstance(v, Number) for v in values):
                row = [expr.number(v.value) for v in values]
                yield Reading(expr.Block(row) if ";" not in str(tree.value) else expr.Block(*([n] for n in row)))
            elif all(isinstance(v, Node) and is_column(v) for v in values):
                yield Reading(expr.Block(*([v] for v in values)))
            elif all(isinstance(v, Node) for v in values) and len({v.shape[0] for v in values}) == 1:
                yield Reading(expr.Block(list(values)))

        return combined(parts, make)

    def norm(self, tree: Tree, kind: str) -> list[Reading]:
        kind = {"infty": "inf", "oo": "inf"}.get(kind, kind)
        found = []
        for reading in self.bare(self.readings(tree.children[0])):
            value = self.losses(reading.value)
            if isinstance(value, Number):
                from sympy import Abs

                found.append(Reading(Number(Abs(value.value)), reading.choices, reading.cost))
            elif isinstance(value, Node) and is_scalar(value) and not kind:
                found.append(Reading(expr.apply("abs", value), reading.choices, reading.cost))
            elif isinstance(value, Node) and is_vector(value) and not kind and tree.value == "|":
                found.append(Reading(expr.Norm(value, kind), reading.choices, reading.cost))
                found.append(Reading(expr.apply("abs", value), choice("bars", "entries"), reading.cost + 1))
            elif isinstance(value, Node):
                found.append(Reading(expr.Norm(value, kind), reading.choices, reading.cost))
        return found

    def indicator(self, tree: Tree) -> list[Reading]:
        """`[z > 0]`, `[t = T]`: 1 where it is so, else 0."""
        if len(tree.value) != 1:
            return []
        sign, (left, right) = tree.value[0], tree.children
        indices = [index_expression(side, self.scope.letters) for side in (left, right)]
        if sign == "=" and all(i is not None for i in indices):
            return [Reading(expr.At((indices[0],), (indices[1],)))]
        if sign not in ("<", ">", "<=", ">="):
            return []
        sides = (left, right) if sign in (">", ">=") else (right, left)
        parts = [self.readings(side) for side in sides]
        return combined(parts, lambda a, b: [
            Reading(expr.apply("step", r.value)) for r in add([a, negated(b)]) if isinstance(r.value, Node)
        ])  # fmt: skip

    def matrix(self, tree: Tree) -> list[Reading]:
        rows = [row.children for row in tree.children]
        if any(_is_dots(cell) for row in rows for cell in row):
            return continued.matrix(self, rows)
        if len({len(row) for row in rows}) != 1:
            self.trouble(tree, "the rows of this matrix have different numbers of entries")
            return []
        cells = [self.readings(cell) for row in rows for cell in row]
        width = len(rows[0])
        sizes = [dimension(name) for name in sorted(self.dimensions)]
        return combined(cells, lambda *values: list(_sized_blocks(values, width, sizes)))

    def cases(self, tree: Tree) -> list[Reading]:
        parts, conditions = [], []
        for row in tree.children:
            cells = [c for c in row.children if c.kind != "empty"]
            if not cells:
                continue
            if cells[0].kind == "statements":
                cells = [*cells[0].children, *cells[1:]]
            parts.append(self.readings(cells[0]))
            rest = [c for c in cells[1:] if c.kind != "words"]
            rest = [x for c in rest for x in (c.children if c.kind == "statements" else [c]) if x.kind != "words"]
            conditions.append(self.condition(rest[0]) if rest else expr.Otherwise())
        if any(c is None for c in conditions):
            self.trouble(tree, "a condition of these cases is not understood")
            return []

        def make(*values: Value) -> Iterator[Reading]:
            shape = next((v.shape for v in values if isinstance(v, Node)), expr.SCALAR)
            nodes = [expr.number(v.value, shape) if isinstance(v, Number) else v for v in values]
            if all(isinstance(n, Node) and n.shape == shape for n in nodes):
                yield Reading(expr.Cases(*zip(nodes, conditions, strict=True)))

        return combined(parts, make)

    def condition(self, tree: Tree) -> object | None:
        if tree.kind != "relation" or len(tree.value) != 1:
            return None
        indices = [index_expression(side, self.scope.letters) for side in tree.children]
        if all(i is not None and not any(self.scope.lookup(str(s)) for s in i.free_symbols) for i in indices):
            return expr.Relation(tree.value[0], *indices)
        sides = [self.readings(side) for side in tree.children]
        if any(not side for side in sides):
            return None
        left, right = sides[0][0].value, sides[1][0].value
        shape = next((v.shape for v in (left, right) if isinstance(v, Node)), expr.SCALAR)
        nodes = [expr.number(v.value, shape) if isinstance(v, Number) else v for v in (left, right)]
        return expr.Relation(tree.value[0], *nodes)

    def chain(self, tree: Tree) -> list[Reading]:
        from derive.reader.chains import read_chain

        return read_chain(self, list(tree.value), list(tree.children), tree)

    def whole_statement(self, tree: Tree) -> list[Reading]:
        return self.readings(tree.children[0]) if len(tree.children) == 1 else []


def found_names(resolver: Resolver, base: Tree, scripts: Sequence[Tree]) -> bool:
    """Whether the document has a δ of its own, at an index."""
    return any(name == "delta" or name.startswith("delta_") for name in resolver.scope.names) and bool(
        resolver.reference(Tree("script", None, (base, *scripts), base.span))
    )


# --- small meanings ---------------------------------------------------------------------------------------------------


def _tried(make: Callable[..., Iterable[Reading]], *arguments: object) -> list[Reading]:
    try:
        return list(make(*arguments))
    except ShapeError:
        return []


def marked(node: Node, mark: str) -> Node:
    """The adjoint, tangent, … of a name; of a block matrix, block by block."""
    if isinstance(node, Var):
        return node.marked(mark)
    if isinstance(node, expr.Block):
        return expr.Block(*([marked(cell, mark) for cell in row] for row in node.args))
    raise ShapeError("an adjoint is that of a variable")


def entry(node: Node, index: tuple[Expr, ...]) -> Node | None:
    """The entry at the index; the node itself where there is none; None where it has no such entry."""
    if not index:
        return node
    if is_scalar(node):
        return None
    if len(index) == 1 and is_vector(node):
        return expr.entry(node, index[0])
    if len(index) == 1 and node.shape[0] == 1:
        return expr.entry(node, Integer(1), index[0])
    if len(index) == 2 and not is_vector(node):
        return expr.entry(node, *index)
    return None


def powers(node: Node, exponent: Expr, entrywise: bool) -> Iterator[Reading]:
    square = node.shape[0] == node.shape[1] and not is_scalar(node)
    if square and not entrywise:
        yield Reading(expr.matrix_power(node, exponent))
    else:
        yield Reading(expr.power(node, exponent))


def _inner(a: Value, b: Value) -> Iterator[Reading]:
    if isinstance(a, Node) and isinstance(b, Node) and a.shape == b.shape:
        yield Reading(expr.inner(a, b))


def _sized_blocks(values: Sequence[Value], width: int, sizes: Sequence[Expr]) -> Iterator[Reading]:
    """A block matrix; one of zeros and identities only has blocks of any size that the document knows."""
    if any(isinstance(v, Unit) for v in values) and not any(isinstance(v, Node) for v in values):
        for size in sizes:
            known = [expr.scale(v.coefficient, expr.Identity(size)) if isinstance(v, Unit) else v for v in values]
            yield from _blocks(known, width)
    else:
        yield from _blocks(values, width)


def _blocks(values: Sequence[Value], width: int) -> Iterator[Reading]:
    rows = [list(values[n : n + width]) for n in range(0, len(values), width)]
    heights = [next((v.shape[0] for v in row if isinstance(v, Node)), None) for row in rows]
    widths = [next((row[j].shape[1] for row in rows if isinstance(row[j], Node)), None) for j in range(width)]
    # A zero whose size nothing says is as large as its neighbours.
    width_of_all = {w for w in widths if w is not None}
    height_of_all = {h for h in heights if h is not None}
    widths = [next(iter(width_of_all)) if w is None and len(width_of_all) == 1 else w for w in widths]
    heights = [next(iter(height_of_all)) if h is None and len(height_of_all) == 1 else h for h in heights]
    filled = []
    for height, row in zip(heights, rows, strict=True):
        line = []
        for size, value in zip(widths, row, strict=True):
            rows_, columns = height or size or Integer(1), size or height or Integer(1)
            if all(v is None for v in (*heights, *widths)):
                rows_ = columns = Integer(1)
            if isinstance(value, Number):
                if value.value != 0 and (rows_, columns) != expr.SCALAR:
                    return
                value = expr.number(value.value, (rows_, columns))
            elif isinstance(value, Unit):
                value = expr.Identity(rows_)
            if not isinstance(value, Node):
                return
            line.append(value)
        filled.append(line)
    try:
        yield Reading(expr.Block(*filled))
    except ShapeError:
        return


def _is_dots(tree: Tree) -> bool:
    return tree.kind == "symbol" and tree.value == "dots"


def _word(tree: Tree) -> str:
    return str(tree.value) if tree.kind in ("name", "number") else ""


RULES: dict[str, Callable[[Resolver, Tree], list[Reading]]] = {
    "number": Resolver.number,
    "name": Resolver.name,
    "accent": Resolver.accent,
    "script": Resolver.script,
    "minus": Resolver.minus,
    "sum": Resolver.sum,
    "chain": Resolver.chain,
    "frac": Resolver.frac,
    "sqrt": Resolver.sqrt,
    "brace": Resolver.brace,
    "over": Resolver.over,
    "group": Resolver.group,
    "matrix": Resolver.matrix,
    "cases": Resolver.cases,
    "statements": Resolver.whole_statement,
}

__all__ = ["BIG", "DIAGONALS", "EXTREMA", "Resolver", "Symbol", "entry", "marked", "ranges"]
