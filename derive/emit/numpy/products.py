"""Matrix products: their right factors, halved where a sigmoid follows, and their biases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from derive.emit.code import wrapped
from derive.emit.layout import run_name
from derive.emit.numpy.regions import Everywhere, Zipped, width
from derive.emit.numpy.ufuncs import Ref
from derive.emit.numpy.waves import Waves
from derive.emit.numpy.writer import Writer
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
        flat = self.system.lattice.dimension == 1 or out.isidentifier()
        if isinstance(self.region, Everywhere) and flat:
            lines = wrapped("", f"np.matmul(_flat({operand}), {factor}, _flat({out}))")
        elif isinstance(self.region, (Everywhere, Waves)):
            lines = wrapped("", f"np.matmul({operand}, {factor}, {out})")
        elif isinstance(self.region, Zipped):
            # `dot` costs less than `matmul`, and asks for an array of its own.
            whole = not self.arrays.is_stored(product.target.name)
            lines = [f"{operand}.dot({factor}, {out})" if whole else f"np.matmul({operand}, {factor}, {out})"]
        else:
            # Parts of a stack are views of it: it stays the array that it is.
            place = f"{out}[...]" if out.isidentifier() and product.target.name in self.arrays.stack_of else out
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
                found.append(f"{start} : {end}".strip() if start or end else ":")
            k = max(stop, k + 1)
        return found

    def _factor(self, product: Product) -> str:
        """The right factor of a product; in a loop, a copy whose rows lie as they are read."""
        pack = self._pack(product.pack)
        if product.transposed:
            return pack
        spans = self._spans(product)
        if not spans and not isinstance(self.region, (Zipped, Waves)):
            return f"{pack}.T"
        key = product.pack, tuple(spans)
        if key not in self.turned:
            name = self.names.new(f"{pack}_T_half" if spans else f"{pack}_T")
            self.turned[key] = (
                name,
                [f"{name} = {pack}.T.copy()", *(f"{name}[:, {s}] *= {self._number('0.5')}" for s in spans)],
            )
        return self.turned[key][0]

    def _bias(self, product: Product) -> str:
        assert product.bias is not None
        bias, spans = self._pack(product.bias), self._spans(product)
        if not spans:
            return bias
        key = product.bias, tuple(spans)
        if key not in self.turned:
            name = self.names.new(f"{bias}_half")
            self.turned[key] = (
                name,
                [f"{name} = {bias}.copy()", *(f"{name}[{s}] *= {self._number('0.5')}" for s in spans)],
            )
        return self.turned[key][0]

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
