"""Matrix products: their right factors, halved where a sigmoid follows, and their biases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from derive.emit.code import wrapped
from derive.emit.layout import run_name
from derive.emit.numpy.regions import Everywhere, Zipped, span, width
from derive.emit.numpy.ufuncs import Ref
from derive.emit.numpy.waves import Waves
from derive.emit.numpy.writer import Writer
from derive.emit.source import uses
from derive.expr import Var
from derive.schedule.program import (
    Item,
    Pack,
    Product,
    statements,
)

BAR = "_bar"


class Products(Writer):
    def _product(self, product: Product) -> list[str]:
        """One matrix product; for all steps at once the rows of all of them are the rows of one matrix."""
        factor = self._factor(product)
        out, operand = self._run_text(product.targets), self._run_text(product.operands)
        # Inside the border of a grid the rows lie too far apart to be those of one matrix.
        rows = self.system.lattice.dimension == 1 or out.isidentifier()
        if isinstance(self.region, Everywhere) and rows:
            # `dot` costs less than `matmul`; of what is no one piece of memory it makes a copy, or takes it for no result.
            whole = self._is_whole(product.targets) and self._is_whole(product.operands)
            call = f"_flat({operand}).dot(" if whole else f"np.matmul(_flat({operand}), "
            lines = wrapped("", f"{call}{factor}, _flat({out}))")
        elif isinstance(self.region, (Everywhere, Waves)):
            lines = wrapped("", f"np.matmul({operand}, {factor}, {out})")
        elif isinstance(self.region, Zipped):
            # `dot` costs less than `matmul`, and asks for an array of its own.
            whole = not self.arrays.is_stored(product.target.name) and self._is_whole(product.targets)
            lines = [f"{operand}.dot({factor}, {out})" if whole else f"np.matmul({operand}, {factor}, {out})"]
        else:
            # Parts of a stack are views of it: it stays the array that it is.
            place = f"{out}[...]" if out.isidentifier() and self.arrays.stack_with(product.target.name) else out
            lines = [f"{place} = {operand} @ {factor}"]
        if product.bias is not None:
            bias = self._bias(product)
            lines += [f"{out} += {bias}"] if out.isidentifier() else wrapped("", f"np.add({out}, {bias}, {out})")
        return lines

    def _run_text(self, variables: Sequence[Var]) -> str:
        """Neighbours in a stack as one array, at the place of the statement."""
        system = self.system
        var = variables[0]
        offset = system.offset(var) if self.arrays.is_stored(var.name) else ()
        return self.region.text(Ref(var.name, offset, len(variables)))

    def _is_whole(self, variables: Sequence[Var]) -> bool:
        """Whether these are all that lies side by side, and no part of a wider array."""
        stack = self.arrays.stack_with(variables[0].name)
        return stack is None or len(stack.parts) == len(variables)

    def _spans(self, product: Product) -> list[str]:
        """The runs of targets of a product that come halved, as slices."""
        found = []
        sizes = [t for t in product.targets]
        k = 0
        while k < len(sizes):
            stop = k
            while stop < len(sizes) and sizes[stop].name in self.halves:
                stop += 1
            if stop > k:
                start = width(self.arrays, sizes[:k]) if k else ""
                end = width(self.arrays, sizes[:stop]) if stop < len(sizes) else ""
                found.append(span(start, end))
            k = max(stop, k + 1)
        return found

    def _factor(self, product: Product) -> str:
        """The right factor of a product; in a loop, a copy whose rows lie as they are read."""
        pack = self._pack(product.pack)
        if product.transposed:
            return pack
        if isinstance(self.region, (Zipped, Waves)):
            return self._copy(product, product.pack, f"{pack}.T", f"{pack}_T")
        return f"{self._copy(product, product.pack, pack, pack, '[:, None]') if self._spans(product) else pack}.T"

    def _bias(self, product: Product) -> str:
        assert product.bias is not None
        bias = self._pack(product.bias)
        return self._copy(product, product.bias, bias, bias) if self._spans(product) else bias

    def _copy(self, product: Product, pack: Pack, source: str, name: str, axes: str = "") -> str:
        """A copy of a pack, with the rows, columns or entries halved that the targets ask for."""
        spans = tuple(self._spans(product))
        key = name, spans
        if key not in self.turned:
            order = ', order="C"' if source.endswith(".T") else ""
            halves = self._halves(product, spans) + ("" if spans == (":",) else axes) if spans else ""
            made = self.names.new(f"{name}_half" if spans else name)
            copy = f"np.multiply({source}, {halves}{order})" if spans else f"{source}.copy()"
            self.turned[key] = made, [f"{made} = {copy}"]
        return self.turned[key][0]

    def _halves(self, product: Product, spans: tuple[str, ...]) -> str:
        """What the columns of a product are multiplied with: halves, or ones and halves."""
        if spans == (":",):
            return self._number("0.5")
        key = width(self.arrays, product.targets), spans
        if key not in self.halving:
            name = self.names.new(f"halves_{len(self.halving) + 1}" if self.halving else "halves")
            lines = [f"{name} = np.ones({key[0]}, dtype)", *(f"{name}[{span}] = 0.5" for span in spans)]
            self.halving[key] = name, lines
        return self.halving[key][0]

    def _turned_lines(self) -> list[str]:
        """The lines that make the copies."""
        made = [line for _, lines in self.turned.values() for line in lines]
        return [*(line for name, lines in self.halving.values() if uses(made, name) for line in lines), *made]

    def _pack(self, pack: Pack) -> str:
        if len(pack.parts) == 1:
            return self.names.of[pack.parts[0].name]
        if pack not in self.packs:
            self.packs[pack] = self.names.new(run_name([p.name for p in pack.parts]))
        return self.packs[pack]

    def _packed(self, items: Iterable[Item]) -> dict[Pack, str]:
        """The packs that items use, with their names."""
        products = [s for s in statements(tuple(items)) if isinstance(s, Product)]
        packs = [pack for p in products for pack in (p.pack, p.bias) if pack is not None and len(pack.parts) > 1]
        return {pack: self._pack(pack) for pack in packs}

    def _packing(self, packs: Mapping[Pack, str]) -> list[str]:
        """Parameters below one another."""
        return [
            line
            for pack, name in packs.items()
            for line in wrapped(f"{name} = ", f"np.concatenate([{', '.join(self._entry(p.name) for p in pack.parts)}])")
        ]
