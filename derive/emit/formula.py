"""One formula as a NumPy function, through SymPy's `lambdify`: `dh[t]/dh[t-1]` as `f(z_t, h_tm1, U_z, …)`."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from sympy import Expr, Symbol

from derive import expr
from derive.emit import library
from derive.emit.code import ArrayPrinter
from derive.errors import DeriveError
from derive.expr import Node, Var

if TYPE_CHECKING:
    from derive.derivation import Derivation


def formula_function(derivation: Derivation, functions: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """The result of a derivation as a function of the arrays that it reads, with leading batch axes if they have any.

    Parameters have none.  A sum over the lattice sums over all leading axes, so that what it reads are trajectories.
    Raises `DeriveError` for a formula with an ordered product or a derivative that is not worked out.
    """
    formula = derivation.expr
    if not isinstance(formula, Node):
        raise DeriveError(f"the result of {derivation.query!r} is no formula: ask for a derivative or a gradient")
    formula = expr.strip_labels(formula)
    names = argument_names(expr.variables(formula))
    lattice = sorted(_lattice_symbols(formula), key=str)
    printer = ArrayPrinter(names.__getitem__, _size_of(names, formula), dtype=_dtype_of(names))
    arguments = [Symbol(name) for name in (*names.values(), *map(str, lattice))]
    printer.value(formula)
    found = sympy.lambdify(arguments, formula, modules=_namespace(printer, functions), printer=printer)
    found.__name__ = re.sub(r"\W+", "_", derivation.query).strip("_")
    found.__doc__ = _documentation(derivation, formula, names, lattice)
    return found


def argument_names(variables: Iterable[Var]) -> dict[Var, str]:
    """`z[t]` is `z_t`, `h[t-1]` `h_tm1`, `h[i+1,j]` `h_ip1_j`, `h[-1]` `h_m1`; each name once."""
    names: dict[Var, str] = {}
    taken: set[str] = set()
    for var in variables:
        index = (str(i).replace(" ", "").replace("+", "p").replace("-", "m") for i in var.index)
        name = "_".join((var.name, *index))
        while name in taken or keyword.iskeyword(name) or name in _RESERVED:
            name += "_"
        names[var] = name
        taken.add(name)
    return names


_RESERVED = frozenset({"np", "points", *library.CALLED})


def _lattice_symbols(formula: Node) -> set[Symbol]:
    """The symbols of positions that the formula's value depends on: those of `[t = T]`."""
    found = (n.index + n.point for n in expr.walk(formula) if isinstance(n, expr.At))
    return {s for index in found for i in index for s in i.free_symbols}


def _size_of(names: Mapping[Var, str], formula: Node) -> Callable[[Expr], str]:
    """A dimension is the length of an axis of the first argument that has it; a position is itself."""
    positions = _lattice_symbols(formula)

    def size(n: Expr) -> str:
        if n.is_Integer or n in positions:
            return str(n)
        for var, name in names.items():
            axes = [k for k in var.shape if k != 1]
            if n in axes:
                return f"{name}.shape[{axes.index(n) - len(axes)}]"
        raise DeriveError(
            f"the formula {formula} reads nothing that has the dimension {n}, so that NumPy can't know it"
        )

    return size


def _dtype_of(names: Mapping[Var, str]) -> str:
    return f"{next(iter(names.values()))}.dtype" if names else "float"


def _namespace(printer: ArrayPrinter, functions: Mapping[str, Callable[..., Any]]) -> list[Any]:
    namespace: dict[str, Any] = {"np": np, "math": math, "FUNCTIONS": dict(functions)}
    exec("\n\n".join(library.with_dependencies(printer.called.values())), namespace)  # our own text: library entries
    return [namespace]


def _documentation(derivation: Derivation, formula: Node, names: Mapping[Var, str], lattice: Iterable[Symbol]) -> str:
    from derive.printing import text

    lines = [f"{derivation.query}, shape {expr.show_shape(formula.shape)}, as a function of arrays:", ""]
    lines += [f"    {line}" for line in text(formula, derivation.notation).splitlines()]
    lines += ["", "Arguments; those with an index may have leading batch axes:", ""]
    lines += [f"    {name}  {expr.show_shape(var.shape)}" for var, name in names.items()]
    lines += [f"    {symbol}  an integer" for symbol in lattice]
    return "\n".join(lines) + "\n"
