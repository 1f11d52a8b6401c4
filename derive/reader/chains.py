r"""Chains of factors: letters that spell a name, what the heads take, then products by shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from derive.reader import continued
from derive.reader.derivatives import in_chain
from derive.reader.heads import HEADS
from derive.reader.names import decomposed, spellings
from derive.reader.products import chain as form_products
from derive.reader.scope import WORDS_OF_FUNCTIONS
from derive.reader.tree import Tree
from derive.reader.values import Reading, pruned

if TYPE_CHECKING:
    from derive.reader.resolve import Resolver


def read_chain(resolver: Resolver, signs: list[str], factors: list[Tree]) -> list[Reading]:
    """Every reading of a flat chain."""
    signs, factors = joined(resolver, signs, factors)
    if any(f.kind == "symbol" and f.value == "dots" for f in factors) and not _sum_before_dots(factors):
        return continued.product_(resolver, signs, factors)
    variants = list(grouped(resolver, signs, factors))
    found: list[Reading] = []
    for price, (outer, parts) in enumerate(variants):
        if all(parts):
            settled = [_settled(resolver, p) for p in parts]
            made = form_products(outer, [in_chain(resolver, p) for p in settled] if len(parts) > 1 else settled)
            found.extend(Reading(r.value, r.choices, r.cost + 2 * price) for r in made)
    return pruned(found)


def _sum_before_dots(factors: Sequence[Tree]) -> bool:
    """Whether a sum takes what the dots continue."""
    for factor in factors:
        head = factor.children[0] if factor.kind == "script" else factor
        if head.names("sum"):
            return True
        if factor.kind == "symbol" and factor.value == "dots":
            return False
    return False


def _settled(resolver: Resolver, readings: list[Reading]) -> list[Reading]:
    return resolver.bare([Reading(resolver.losses(r.value), r.choices, r.cost) for r in readings])


def joined(resolver: Resolver, signs: list[str], factors: list[Tree]) -> tuple[list[str], list[Tree]]:
    """Letters that together spell a known name or function are one name: `tanh(`, `Whh`."""
    out_signs: list[str] = []
    out: list[Tree] = []
    n = 0
    while n < len(factors):
        if n:
            out_signs.append(signs[n - 1])
        length = _word_length(resolver, signs, factors, n)
        if length > 1:
            out.append(joined_name(factors[n : n + length]))
        else:
            out.append(factors[n])
        n += length
    return out_signs, out


def _word_length(resolver: Resolver, signs: Sequence[str], factors: Sequence[Tree], start: int) -> int:
    letters = ""
    best = 1
    for n in range(start, min(len(factors), start + 12)):
        if n > start and signs[n - 1] != "":
            break
        head = factors[n].children[0] if factors[n].kind == "script" else factors[n]
        if head.kind != "name" or not str(head.value).isalpha() or (len(head.value) > 1 and n == start):
            break
        letters += head.value
        if n > start and (
            letters in resolver.scope.names
            or _function_word(resolver, letters)
            or _scripted_word(resolver, letters, factors[n])
        ):
            best = n - start + 1
        if factors[n].kind == "script":
            break
    return best


def _scripted_word(resolver: Resolver, letters: str, last: Tree) -> bool:
    """`dh_{next}` where the document has defined it."""
    if last.kind != "script":
        return False
    spelled = decomposed(Tree("script", None, (Tree("name", letters), *last.children[1:]), last.span))
    return spelled is not None and any(
        s.name in resolver.scope.names for s in spellings(*spelled, resolver.scope.letters) if s.name != letters
    )


def _function_word(resolver: Resolver, word: str) -> bool:
    return (word in WORDS_OF_FUNCTIONS and len(word) > 2) or word in ("diag", "Diag", "max", "min", "exp", "log", "ln")


def joined_name(trees: Sequence[Tree]) -> Tree:
    last = trees[-1]
    heads = [t.children[0] if t.kind == "script" else t for t in trees]
    name = Tree("name", "".join(str(h.value) for h in heads), (), (heads[0].span[0], heads[-1].span[1]))
    if last.kind == "script":
        return Tree("script", last.value, (name, *last.children[1:]), (name.span[0], last.span[1]))
    return name


def grouped(
    resolver: Resolver, signs: list[str], factors: list[Tree]
) -> Iterator[tuple[list[str], list[list[Reading]]]]:
    """The chain with every head's arguments taken: once with the most that each takes, once with the least."""
    seen: set[tuple[int, ...]] = set()
    for greedy in (True, False):
        outer: list[str] = []
        parts: list[list[Reading]] = []
        took: list[int] = []
        n = 0
        while n < len(factors):
            if n:
                outer.append(signs[n - 1])
            readings, count = take(resolver, signs, factors, n, greedy)
            parts.append(readings)
            took.append(count)
            n += count + 1
            if not readings:
                break
        if tuple(took) not in seen:
            seen.add(tuple(took))
            if all(parts) and len(outer) == len(parts) - 1:
                yield outer, parts


def take(resolver: Resolver, signs: list[str], factors: list[Tree], n: int, greedy: bool) -> tuple[list[Reading], int]:
    for head in HEADS:
        taken = head(resolver, signs, factors, n, greedy)
        if taken is not None:
            return taken
    return resolver.readings(factors[n]), 0
