r"""Scripts: which part of `W_{xi}`, `h^{(t)}`, `h_{t,i}`, `h_t^\top` is a name, an index, an entry, a transpose, a power.

A script can be taken in several ways; `spellings` lists them all, `derive.reader.resolve` keeps those that name
something.  Names are typed as design.md (6) has them: `h_tilde`, `W_xi`, `W_hh` for `W^{hh}`, whatever the position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from sympy import Expr, Integer, Rational, Symbol

from derive.reader.tree import Tree

TRANSPOSES = frozenset(["T", "top", "intercal", "trans", "tr", "prime"])
LENGTHS = frozenset("TIJK")
MOST_SPELLINGS = 200


def symbol(name: str, lattice: Sequence[str] = ()) -> Symbol:
    """An index, or the length of the lattice that an upper-case index letter names."""
    if name in LENGTHS and (name.lower() in lattice or name == "T"):
        return Symbol(name, integer=True, positive=True)
    return Symbol(name, integer=True)


def index_expression(tree: Tree, lattice: Sequence[str] = ()) -> Expr | None:
    """`t-1`, `T-t`, `2k`, `3` as an expression; None where the tree is none."""
    if tree.kind == "number":
        return Rational(tree.value)
    if tree.kind == "name" and (len(tree.value) == 1 or tree.value in ("tau", "ell", "nu", "mu")):
        return symbol(tree.value, lattice)
    if tree.kind == "minus":
        inside = index_expression(tree.children[0], lattice)
        return None if inside is None else -inside
    if tree.kind == "group" and tree.value in ("(", r"\{") and len(tree.children) == 1:
        return index_expression(tree.children[0], lattice)
    if tree.kind not in ("sum", "chain") or (tree.kind == "chain" and not set(tree.value) <= {"", "cdot"}):
        return None
    parts = [index_expression(child, lattice) for child in tree.children]
    if any(part is None for part in parts):
        return None
    if tree.kind == "chain" and not all(part.is_number for part in parts[:-1]):  # type: ignore[union-attr]
        return None  # `hh` is two letters, not a square, and `t 2` no product
    total: Expr = Integer(0) if tree.kind == "sum" else Integer(1)
    for part in parts:
        total = total + part if tree.kind == "sum" else total * part
    return total


@dataclass(frozen=True)
class Part:
    """One piece of a script: `where` is sub, sup, call or prime; `bracketed` in round brackets, as in `h^{(t)}`."""

    where: str
    tree: Tree
    bracketed: bool = False

    @property
    def place(self) -> str:
        """`sub`, `sup`, `sup(` with brackets, `call`."""
        return f"{self.where}(" if self.bracketed and self.where == "sup" else self.where


@dataclass(frozen=True)
class Spelling:
    """One way to take a name with its scripts.

    `name` as typed; `index` in the order in which it stands, `places` where; `after`: what is done then, in order:
    `("transpose",)`, `("power", tree)`, `("odot", tree)`, `("prime",)`.  `cost` is small where people mean it so.
    """

    name: str
    index: tuple[Expr, ...]
    after: tuple[tuple[str, Tree | None], ...]
    cost: int = 0
    places: tuple[str, ...] = ()


def base_name(tree: Tree) -> str | None:
    """The letter with its accents as typed: `h_tilde`; None where the tree is no name."""
    if tree.kind == "name":
        return str(tree.value).replace("-", "_").replace(" ", "_")
    if tree.kind == "accent":
        inside = base_name(tree.children[0])
        return None if inside is None else f"{inside}_{tree.value}"
    if tree.kind == "over" and tree.children[1].kind in ("symbol", "name", "list"):
        inside, mark = base_name(tree.children[0]), tree.children[1].value
        suffix = {"rightarrow": "fwd", "to": "fwd", "leftarrow": "bwd", "gets": "bwd", "->": "fwd"}.get(str(mark))
        return f"{inside}_{suffix}" if inside and suffix else None
    return None


def decomposed(tree: Tree) -> tuple[str, tuple[Part, ...]] | None:
    r"""The base and the parts of all scripts, inside out; `\tilde{h_t}` has the accent on the base."""
    if tree.kind == "accent" and tree.children[0].kind == "script":
        inner = decomposed(tree.children[0])
        return None if inner is None else (f"{inner[0]}_{tree.value}", inner[1])
    if tree.kind != "script":
        name = base_name(tree)
        return None if name is None else (name, ())
    base, *scripts = tree.children
    inner = decomposed(base)
    if inner is None:
        return None
    parts = list(inner[1])
    for script in scripts:
        if script.kind == "prime":
            parts.append(Part("prime", script))
        else:
            parts.extend(parts_of(script.kind, script.children[0]))
    return inner[0], tuple(parts)


def parts_of(where: str, tree: Tree) -> Iterator[Part]:
    if tree.kind == "list" and tree.children and tree.children[0].kind == "symbol" and tree.children[0].value == "odot":
        yield Part("odot", tree.children[1])
    elif tree.kind == "list":
        for child in tree.children:
            yield from parts_of(where, child)
    elif tree.kind == "group" and str(tree.value).rstrip(";") in ("(", "[", "langle", r"\{"):
        for child in tree.children:
            yield Part(where, child, True)
    elif tree.kind == "prime":
        yield Part("prime", tree)
    elif tree.kind == "chain" and where == "sup" and len(tree.children) == 2 and _is_bracketed(tree.children[0]):
        # h^{(t-1) T}: an index, then a transpose
        yield from parts_of(where, tree.children[0])
        yield from parts_of(where, tree.children[1])
    elif tree.kind == "script" and where == "sup" and _is_bracketed(tree.children[0]):
        yield from parts_of(where, tree.children[0])
        for script in tree.children[1:]:
            yield from parts_of(where, script.children[0]) if script.children else [Part("prime", script)]
    else:
        yield Part(where, tree)


def _is_bracketed(tree: Tree) -> bool:
    return tree.kind == "group" and tree.value in ("(", "langle", "[")


def part_word(tree: Tree) -> str | None:
    """A part as a piece of a name: `xi`, `in`, `1`, `h_fwd`; None where it is no word."""
    if tree.kind in ("number", "words"):
        return str(tree.value).strip().replace(" ", "_").replace("-", "_").replace(".", "_") or None
    if tree.kind == "chain" and set(tree.value) <= {""}:
        words = [part_word(child) for child in tree.children]
        return None if any(w is None for w in words) else "".join(words)  # type: ignore[arg-type]
    if tree.kind == "symbol" and tree.value in ("*", "star"):
        return "star"
    if tree.kind == "relation" and tree.value == ("->",):
        words = [part_word(child) for child in tree.children]
        return None if any(w is None for w in words) else "_".join(words)  # type: ignore[arg-type]
    if tree.kind == "script" and all(s.kind in ("sub", "sup") for s in tree.children[1:]):
        words = [part_word(tree.children[0]), *(part_word(s.children[0]) for s in tree.children[1:])]
        return None if any(w is None for w in words) else "".join(words)  # type: ignore[arg-type]
    if tree.kind == "group" and len(tree.children) == 1:
        return part_word(tree.children[0])
    return base_name(tree)


def word(tree: Tree) -> str:
    """A lone name or number as it is typed; empty for anything else."""
    return str(tree.value) if tree.kind in ("name", "number") else ""


def letters(tree: Tree, lattice: Sequence[str]) -> tuple[Expr, ...] | None:
    """Indices that stand side by side: `ij`, `ti`."""
    if tree.kind == "chain" and set(tree.value) <= {""}:
        found = [index_expression(child, lattice) for child in tree.children]
        if all(f is not None and (f.is_Symbol or f.is_Integer) for f in found):
            return tuple(found)  # type: ignore[arg-type]
    return None


def is_transpose(part: Part) -> bool:
    if part.where == "prime":
        return True
    return part.where == "sup" and not part.bracketed and part.tree.kind == "name" and part.tree.value in TRANSPOSES


def spellings(base: str, parts: Sequence[Part], lattice: Sequence[str]) -> Iterator[Spelling]:
    """Every way to take the parts, likely ones first."""
    ways = [list(_ways(part, lattice)) for part in parts]
    for n, chosen in enumerate(product(*ways)):
        if n >= MOST_SPELLINGS:
            return
        name, cost = base, 0
        index: tuple[Expr, ...] = ()
        after: tuple[tuple[str, Tree | None], ...] = ()
        places: tuple[str, ...] = ()
        for part, (role, value, price) in zip(parts, chosen, strict=True):
            cost += price
            if role == "name":
                cost += bool(index) and (part.where == "sub" or part.bracketed)  # c_{2,1} is c_2 at 1
                name = f"{name}_{value}"
            elif role == "index":
                index += value
                places += (part.place,) * len(value)
            else:
                after += ((role, value),)
        yield Spelling(name, index, after, cost, places)


def _ways(part: Part, lattice: Sequence[str]) -> Iterator[tuple[str, Any, int]]:
    tree = part.tree
    if part.where == "odot":
        yield "odot", tree, 0
        return
    if part.where == "prime":
        yield "prime", None, 0
        yield "name", "prime", 0
        return
    if is_transpose(part):
        yield "transpose", tree, 0
    written = part_word(tree)
    index = index_expression(tree, lattice)
    if index is not None:
        yield "index", (index,), _price(part, index) + 3 * is_transpose(part)
    if written is not None:
        # g_{1,t}^2 is a square, unless only g_2 is a name
        yield "name", written, 3 if part.where == "sup" and not part.bracketed and tree.kind == "number" else 0
    if tree.kind == "script" and written is not None:
        # A name inside a script: δ^{f_1} of `f_1`.
        pieces = (tree.children[0], *(s.children[0] for s in tree.children[1:]))
        yield "name", "_".join(part_word(piece) or "" for piece in pieces), 0
    several = letters(tree, lattice)
    if several is not None:
        yield "index", several, 1
    if part.where == "sup" and not part.bracketed:
        yield "power", tree, (0 if index is not None and _price(part, index) else 1) + 3 * is_transpose(part)
    elif part.where == "sup" and index is not None:
        yield "power", tree, 4


def _price(part: Part, index: Expr) -> int:
    """An index above, without brackets, is a letter or a letter and a number: `h^t`, but `a^2`, `W^{T-t}` are powers."""
    if part.where != "sup" or part.bracketed or len(index.free_symbols) == 1:
        return 0
    return 3 if index.free_symbols else 7


def index_letters(tree: Tree) -> set[str]:
    """The letters that stand in scripts or brackets with a number added: `t` of `h_{t-1}`, `h(t-1)`."""
    found: set[str] = set()
    for node in tree.walk():
        if node.kind == "script":
            for script in node.children[1:]:
                for inside in script.walk():
                    found |= _shifted(inside)
        elif node.kind == "group" and str(node.value).startswith(("(", "[")):
            for child in node.children:
                found |= _shifted(child) if _only_letter_sum(child) else set()
    return found


def _only_letter_sum(tree: Tree) -> bool:
    return tree.kind == "sum" and all(
        c.kind in ("name", "number") or (c.kind == "minus" and c.children[0].kind == "number") for c in tree.children
    )


def _shifted(tree: Tree) -> set[str]:
    if not _only_letter_sum(tree):
        return set()
    named = [c.value for c in tree.children if c.kind == "name" and len(c.value) == 1 and c.value.islower()]
    numbers = [c for c in tree.children if c.kind != "name"]
    return {named[0]} if len(named) == 1 and len(numbers) == len(tree.children) - 1 else set()
