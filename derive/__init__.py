"""Worked, checked derivations of backpropagation through time, from a recurrent cell's equations.

    gru = derive.load("gru")                    # a catalogue name, or "my_cell.py:my_cell"
    print(gru.derive("dh[t]/dh[t-1]").text())   # step by step, each with its rule and its reason
    derive.load("paper.tex")                    # the system that a document defines; derive.read gives its claims
    derive.verify("homework.md")                # every claim of it: right, right if …, or wrong and why
    derive.from_torch(layer, "lstm")            # the weights of a torch.nn.LSTM; derive.to_torch is the way back

Names load on first use (PEP 562), so that `import derive` costs nothing: SymPy is imported with the first system.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from derive.catalogue import load
    from derive.derivation import Derivation
    from derive.interchange import from_torch, to_torch
    from derive.reader.understand import read
    from derive.system import System
    from derive.verdicts.verify import verify

__version__ = "0.1.0"
__all__ = ["Derivation", "System", "__version__", "from_torch", "load", "read", "to_torch", "verify"]

_HOME = {
    "load": "derive.catalogue",
    "read": "derive.reader.understand",
    "verify": "derive.verdicts.verify",
    "System": "derive.system",
    "Derivation": "derive.derivation",
    "from_torch": "derive.interchange",
    "to_torch": "derive.interchange",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'derive' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
