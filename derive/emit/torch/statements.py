"""One statement as one line of PyTorch that writes into memory which is there: `out=`, then in place.

`torch.mul(f, c_before, out=c).addcmul_(i, g)` computes `f * c_before + i * g`; the rules are those of `Into`.
"""

from __future__ import annotations

from dataclasses import dataclass

from derive import expr
from derive.emit.code import POWER, SCALAR, Value, kind_of
from derive.emit.torch.printer import INPLACE, TorchPrinter
from derive.expr import Node, Var
from derive.schedule.terms import terms_of

PLAIN = "torch.{f}({x}, out={out})"
OUT = {"relu": "torch.clamp({x}, min=0, out={out})"}
"""How a function writes into memory, where that is no argument of its own."""


@dataclass
class Into:
    """Writes a node into `out`; `here` is the variable, if any, whose value is there already."""

    printer: TorchPrinter
    out: str
    here: Var | None = None

    def line(self, node: Node) -> str:
        return self.chain(node)

    # --- parts --------------------------------------------------------------------------------------------------------------

    def value(self, node: Node) -> Value:
        return self.printer.value(node)

    def operand(self, node: Node, kind: str) -> str:
        """`node` as an argument of an operation on arrays of that kind."""
        value = self.value(node)
        return value.lifted(kind) if value.kind == SCALAR else value.text

    def is_here(self, node: Node) -> bool:
        return self.here is not None and self.here in expr.variables(node)

    def is_plain(self, node: Node) -> bool:
        """Whether a node is an array of all its entries, which needs no operation."""
        return isinstance(node, Var) and bool(node.index) and not self.is_here(node)

    # --- rules --------------------------------------------------------------------------------------------------------------

    def chain(self, node: Node) -> str:
        match node:
            case Var() if self.is_here(node):
                return self.out
            case expr.Labelled():
                return self.chain(node.args[0])
            case expr.Power() if node.args[1] == 2 and self.is_plain(node.args[0]):
                return f"torch.square({self.value(node.args[0]).text}, out={self.out})"
            case expr.Zero():
                return f"{self.out}.zero_()"
            case expr.Add():
                return self._add(node)
            case expr.Scale() if not isinstance(node.args[0], Node):
                return self._times(node)
            case expr.Had() | expr.Scale():
                return self._had(node)
            case expr.Apply() if node.function in INPLACE and not node.order and len(node.arguments) == 1:
                return self._apply(node)
        return f"{self.out}.copy_({self.value(node).text})"

    def _apply(self, node: expr.Apply) -> str:
        (argument,) = node.arguments
        if self.is_plain(argument):
            return OUT.get(node.function, PLAIN).format(f=node.function, x=self.value(argument).text, out=self.out)
        return f"{self.chain(argument)}.{node.function}_()"

    def _times(self, node: expr.Scale) -> str:
        c, body = node.args
        number = self.printer.number(c)
        if self.is_plain(body) and c == -1:
            return f"torch.neg({self.value(body).text}, out={self.out})"
        if self.is_plain(body):
            return f"torch.mul({self.value(body).text}, {number}, out={self.out})"
        return f"{self.chain(body)}.neg_()" if c == -1 else f"{self.chain(body)}.mul_({number})"

    # sums

    def _add(self, node: expr.Add) -> str:
        if self.here is None and (mixed := self._mixture(node)) is not None:
            z, a, b = (self.value(v).text for v in mixed)
            return f"torch.lerp({b}, {a}, {z}, out={self.out})"
        terms = sorted(terms_of(node), key=self._rank)
        first, *rest = terms
        if not self.is_here(first) and not self._is_full(first):
            return f"{self.out}.copy_({self.value(node).text})"
        if rest and self.is_plain(first) and self._is_beside(expr.split_number(rest[0])[1], kind_of(node)):
            c, second = expr.split_number(rest.pop(0))
            alpha = "" if abs(c) == 1 else f", alpha={self.printer.number(abs(c))}"
            name = "sub" if c.is_negative else "add"
            text = f"torch.{name}({self.value(first).text}, {self.value(second).text}{alpha}, out={self.out})"
        else:
            text = self.chain(first)
        kind = kind_of(node)
        return text + "".join(self._added(term, kind) for term in rest)

    def _is_beside(self, node: Node, kind: str) -> bool:
        """Whether a node is an array, or a parameter, of that kind."""
        return isinstance(node, Var) and kind_of(node) == kind and not self.is_here(node)

    def _rank(self, term: Node) -> int:
        """What a sum begins with: what is there, then what may be written there in one operation."""
        c, body = expr.split_number(term)
        if self.is_here(term):
            return 0
        if c == 1 and self.is_plain(body):
            return 1
        if self._is_full(term):
            return 2 if c == 1 else 3
        return 4

    def _is_full(self, term: Node) -> bool:
        """Whether a term has all entries of the result: it depends on the point."""
        value = self.value(term)
        return value.batched and not value.loose and kind_of(term) == value.kind

    def _added(self, term: Node, kind: str) -> str:
        c, body = expr.split_number(term)
        number, sign = self.printer.number(abs(c)), "sub" if c.is_negative else "add"
        if isinstance(body, expr.Ones):
            return f".{sign}_({number})"
        factors = self._factors(body)
        if len(factors) > 1 and all(kind_of(f) == kind or kind_of(f) == SCALAR for f in factors):
            scale = "" if c == 1 else f", value={self.printer.number(c)}"
            left, right = self._two(factors, kind)
            return f".addcmul_({left}, {right}{scale})"
        alpha = "" if abs(c) == 1 else f", alpha={number}"
        return f".{sign}_({self.operand(factors[0], kind)}{alpha})"

    def _factors(self, node: Node) -> list[Node]:
        """The factors of an entrywise product; ones are none."""
        if isinstance(node, expr.Had) and not any(_is_quotient(f) for f in node.args):
            return list(node.args)
        if isinstance(node, expr.Scale) and isinstance(node.args[0], Node):
            return [node.args[0], *(f for f in self._factors(node.args[1]) if not isinstance(f, expr.Ones))]
        return [node]

    def _two(self, factors: list[Node], kind: str) -> tuple[str, str]:
        """A product of several factors as one of two."""
        first, *rest = factors
        right = " * ".join(
            self.value(f).at_least(POWER) if kind_of(f) == kind or kind_of(f) != SCALAR else self.operand(f, kind)
            for f in rest
        )
        return self.operand(first, kind), right

    def _mixture(self, node: expr.Add) -> tuple[Var, Var, Var] | None:
        """`(z, a, b)` of `z * a + (1 - z) * b`."""
        terms = terms_of(node)
        if len(terms) != 2 or not all(isinstance(t, expr.Had) and len(t.args) == 2 for t in terms):
            return None
        for one, other in (terms, terms[::-1]):
            for z, a in (one.args, one.args[::-1]):
                for complement, b in (other.args, other.args[::-1]):
                    if _one_minus(complement) == z and all(map(self.is_plain, (z, a, b))):
                        return z, a, b  # type: ignore[return-value]
        return None

    # products

    def _had(self, node: Node) -> str:
        factors = self._factors(node)
        kind = kind_of(node)
        if len(factors) < 2 or any(kind_of(f) not in (kind, SCALAR) for f in factors):
            return f"{self.out}.copy_({self.value(node).text})"
        rest = list(factors)
        slopes = self._slopes(rest, kind)
        rest.sort(key=lambda f: 0 if self.is_here(f) else 1 if self.is_plain(f) else 2 if self._is_full(f) else 3)
        if not rest:
            return f"{self.out}.copy_({self.value(node).text})"
        if not self.is_here(rest[0]) and not (self._is_full(rest[0]) and kind_of(rest[0]) == kind):
            return f"{self.out}.copy_({self.value(node).text})"
        return self._with_slopes(*self._multiplied(rest, kind), slopes)

    def _multiplied(self, factors: list[Node], kind: str) -> tuple[str, bool]:
        """The product of these, and whether it is in `out`."""
        first, *rest = factors
        if not rest and self.is_plain(first):
            return self.value(first).text, False
        if rest and self.is_plain(first) and kind_of(first) == kind:
            second = rest.pop(0)
            text = f"torch.mul({self.value(first).text}, {self.operand(second, kind)}, out={self.out})"
        else:
            text = self.chain(first)
        return text + "".join(f".mul_({self.operand(f, kind)})" for f in rest), True

    def _slopes(self, factors: list[Node], kind: str) -> list[tuple[str, str]]:
        """Takes `1 - y * y`, `y * (1 - y)` and `1 - y` out of the factors, if others are left: `(name, y)`, `y` of that kind."""
        found = []
        for factor in list(factors):
            tanh, sigmoid = _tanh_of(factor), _one_minus(factor)
            y = tanh if tanh is not None else sigmoid
            if y is None or not self.is_plain(y) or kind_of(y) != kind or factor not in factors:
                continue
            gone = [factor, y] if sigmoid is not None and y in factors and len(factors) > 2 else [factor]
            if len(factors) <= len(gone):
                continue
            for one in gone:
                factors.remove(one)
            name = "slope_of_tanh" if tanh is not None else "slope_of_sigmoid" if len(gone) == 2 else "complement"
            found.append((name, self.value(y).text))
        return found

    def _with_slopes(self, text: str, inside: bool, slopes: list[tuple[str, str]]) -> str:
        """`slope_of_tanh(y, text, out)` around what was multiplied."""
        for name, y in slopes:
            if name == "complement":
                text = f"{text}.addcmul_({self.out}, {y}, value=-1)" if inside else self._first(text, y)
            else:
                text = self.printer.call(name, y, text, self.out)
            inside = True
        return text

    def _first(self, text: str, y: str) -> str:
        return f"torch.addcmul({text}, {text}, {y}, value=-1, out={self.out})"


def _is_quotient(node: Node) -> bool:
    return isinstance(node, expr.Power) and bool(node.args[1].is_negative)


def _tanh_of(node: Node) -> Node | None:
    """`y` of `1 - y * y`."""
    square = _one_minus(node)
    return square.args[0] if isinstance(square, expr.Power) and square.args[1] == 2 else None


def _one_minus(node: Node) -> Node | None:
    """`y` of `1 - y`."""
    if not isinstance(node, expr.Add) or len(node.args) != 2:
        return None
    for one, other in (node.args, node.args[::-1]):
        c, body = expr.split_number(other)
        if isinstance(one, expr.Ones) and c == -1:
            return body
    return None
