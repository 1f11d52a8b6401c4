"""Weights of `torch.nn`'s recurrent layers, in and out: where each parameter of a system stands in their arrays.

    params = from_torch(torch.nn.LSTM(4, 6), "lstm")       # "W_i", "U_i", "b_i", …: NumPy arrays
    layer.load_state_dict(to_torch(params, "lstm"))

PyTorch stacks the gates of a layer and direction in one array for its input and one for its state, and has a bias with
each.  Two biases that are only ever added act as their sum, `b = b_ih + b_hh`.  The candidate of a GRU keeps them apart,
`tanh(W x + b_ih + r ∘ (U h + b_hh))`: its second one is `c_h`.  An output layer is a `torch.nn.Linear`, which reads both
directions side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from derive import catalogue
from derive.errors import DeriveError, did_you_mean
from derive.system import System

Weights: TypeAlias = "Mapping[str, Any]"


@dataclass(frozen=True)
class Chain:
    """One direction: what the weights and biases of a gate `{g}` are called, in layer `{k}` of several."""

    weight: str
    recurrent: str
    bias: str
    reverse: str = ""


@dataclass(frozen=True)
class Layout:
    """A module of `torch.nn`, by the `mode` that it calls itself, with the gates of a system in its order.

    `apart`: gates with a second bias of their own.  `output`: the weights and the bias of the linear layer above it.
    """

    mode: str
    gates: tuple[str, ...]
    chains: tuple[Chain, ...]
    apart: Mapping[str, str] = field(default_factory=dict)
    output: tuple[tuple[str, ...], str] | None = None

    @property
    def module(self) -> str:
        return self.mode.partition("_")[0]


_PLAIN = (Chain("U", "W", "b"),)
_GATED = (Chain("W_{g}", "U_{g}", "b_{g}"),)
_LSTM = ("i", "f", "g", "o")

LAYOUTS = {
    "rnn": Layout("RNN_TANH", ("",), _PLAIN, output=(("V",), "c")),
    "rnn-relu": Layout("RNN_RELU", ("",), _PLAIN, output=(("V",), "c")),
    "irnn": Layout("RNN_RELU", ("",), _PLAIN, output=(("V",), "c")),
    "birnn": Layout("RNN_TANH", ("",), (Chain("W_fwd", "U_fwd", "b_fwd"), Chain("W_bwd", "U_bwd", "b_bwd", "_reverse")),
                    output=(("V_fwd", "V_bwd"), "b_o")),
    "mdrnn(1)": Layout("RNN_TANH", ("",), (Chain("W", "U_1", "b"),)),
    "gru": Layout("GRU", ("r", "z", "h"), _GATED, apart={"h": "c_h"}),
    "lstm": Layout("LSTM", _LSTM, _GATED),
    "mdlstm(1)": Layout("LSTM", ("iota", "f_1", "g", "o"), (Chain("W_{g}", "U_{g}_1", "b_{g}"),)),
    "stacked-lstm": Layout("LSTM", _LSTM, (Chain("W_{g}_{k}", "U_{g}_{k}", "b_{g}_{k}"),)),
    "blstm": Layout("LSTM", _LSTM, (Chain("W_{g}_fwd", "U_{g}_fwd", "b_{g}_fwd"),
                                    Chain("W_{g}_bwd", "U_{g}_bwd", "b_{g}_bwd", "_reverse")),
                    output=(("V_fwd", "V_bwd"), "b_y")),
}  # fmt: skip
"""A family stands here by its own name, a member that alone is a layer of PyTorch by the member's."""


@dataclass(frozen=True)
class Stack:
    """An array of PyTorch: parameters one after another along an axis; one that stands in two arrays is their sum."""

    names: tuple[str, ...]
    axis: int = 0

    def split(self, array: np.ndarray) -> Iterable[tuple[str, np.ndarray]]:
        return zip(self.names, np.split(array, len(self.names), self.axis), strict=True)


Stacks: TypeAlias = "dict[str, Stack]"
"""The keys of a state dict, in its order."""


def from_torch(source: Any, system: str | System = "lstm") -> dict[str, np.ndarray]:
    """The parameters of `system` that a module of `torch.nn` holds, or its state dict; the arrays are copies.

    `source`: an `RNN`, `GRU`, `LSTM` or one of their cells; the `Linear` above one for the output's parameters, such as
    `V` and `c` of `rnn`.  Without biases these are zero.  Raises `DeriveError` where the system is another network.
    """
    system = catalogue.load(system)
    layout = _layout(system)
    given = source if isinstance(source, Mapping) else _state_dict(source)
    arrays = _uncelled({key: _array(key, value) for key, value in given.items()})
    _same_activation(source, system, layout)
    stacks = _output(system, layout) if "weight" in arrays else _layers(system, layout)
    arrays |= {key: bias for key, bias in _absent_biases(arrays).items() if key in stacks}
    _same_keys(arrays, stacks, system)
    _fitting(arrays, stacks, system)
    found: dict[str, np.ndarray] = {}
    for key, stack in stacks.items():
        for name, part in stack.split(arrays[key]):
            found[name] = found[name] + part if name in found else part.copy()
    return {v.name: found[v.name] for v in system.parameters if v.name in found}


def to_torch(
    params: Weights, system: str | System = "lstm", module: str | None = None, *, gradients: bool = False
) -> dict[str, Any]:
    """A state dict with these parameters: of tensors, or of NumPy arrays where PyTorch is not installed.

    A bias that PyTorch has twice goes whole into `bias_ih`, with zeros in `bias_hh`; `gradients`: what is given are
    gradients, of which each of the two gets the whole.  `module`: `"Linear"` for the output's parameters, `"LSTMCell"`
    and its like for a cell; else it is the recurrent layer.  What the module does not hold is passed over.  Raises
    `DeriveError` for a missing parameter, or shapes that don't agree.
    """
    system = catalogue.load(system)
    stacks, cell = _asked(system, _layout(system), module)
    values = _held(params, stacks, system)
    placed: set[str] = set()
    found = {}
    for key, stack in stacks.items():
        parts = [values[n] if gradients or n not in placed else np.zeros_like(values[n]) for n in stack.names]
        found[key.removesuffix("_l0") if cell else key] = _tensor(np.concatenate(parts, stack.axis))
        placed |= {*stack.names}
    return found


# --- where the parameters of a system stand -----------------------------------------------------------------------------


def _layout(system: System) -> Layout:
    found = LAYOUTS.get(system.name) or LAYOUTS.get(system.name.partition("(")[0])
    if found is None or catalogue.named(system.name) is not system:
        raise DeriveError(
            f"{system.name} is no layer of torch.nn; those of the catalogue that are: {', '.join(LAYOUTS)}; "
            "a system of your own whose parameters are called as in one of these takes its weights"
        )
    return found


def _layers(system: System, layout: Layout) -> Stacks:
    """Of the recurrent layers: as many as the system has parameters for."""
    stacks: Stacks = {}
    names, k = {v.name for v in system.parameters}, 1
    while layout.chains[0].weight.format(g=layout.gates[0], k=k) in names:
        for chain in layout.chains:
            suffix = f"l{k - 1}{chain.reverse}"
            biases = [chain.bias.format(g=g, k=k) for g in layout.gates]
            seconds = [layout.apart.get(g, bias) for g, bias in zip(layout.gates, biases, strict=True)]
            stacks[f"weight_ih_{suffix}"] = Stack(tuple(chain.weight.format(g=g, k=k) for g in layout.gates))
            stacks[f"weight_hh_{suffix}"] = Stack(tuple(chain.recurrent.format(g=g, k=k) for g in layout.gates))
            stacks[f"bias_ih_{suffix}"], stacks[f"bias_hh_{suffix}"] = Stack(tuple(biases)), Stack(tuple(seconds))
        if "{k}" not in layout.chains[0].weight:
            break
        k += 1
    return stacks


def _output(system: System, layout: Layout) -> Stacks:
    if layout.output is None:
        raise DeriveError(f"{system.name} has no output layer; its state is what it puts out")
    weights, bias = layout.output
    return {"weight": Stack(weights, axis=1), "bias": Stack((bias,))}


def _asked(system: System, layout: Layout, module: str | None) -> tuple[Stacks, bool]:
    """The arrays of the module that is asked for, and whether it is a cell, whose keys name no layer."""
    layers, whole = _layers(system, layout), layout.module
    known = [whole, *([f"{whole}Cell"] if len(layers) == 4 else []), *(["Linear"] if layout.output else [])]
    if module not in (None, *known):
        near = did_you_mean(module or "", known)
        raise DeriveError(f"of torch.nn, {system.name} is {' or '.join(known)}, not {module}{near}")
    return _output(system, layout) if module == "Linear" else layers, (module or "").endswith("Cell")


# --- what is given --------------------------------------------------------------------------------------------------------


def _state_dict(module: Any) -> Weights:
    if not callable(getattr(module, "state_dict", None)):
        raise DeriveError(f"weights come from a module of torch.nn or its state dict; found {type(module).__name__}")
    return module.state_dict()  # type: ignore[no-any-return]


def _array(key: str, value: Any) -> np.ndarray:
    """An array, or a tensor on any device, as a NumPy array."""
    try:
        return np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
    except TypeError:
        raise DeriveError(f"{key} has the dtype {value.dtype}, which NumPy lacks; convert it with .float()") from None


def _tensor(array: np.ndarray) -> Any:
    try:
        import torch
    except ImportError:
        return array
    return torch.from_numpy(array)


def _uncelled(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The keys of a cell are those of a first layer without its number."""
    cell = "weight_ih" in arrays and "weight_hh" in arrays
    return {f"{key}_l0": array for key, array in arrays.items()} if cell else arrays


def _absent_biases(arrays: Weights) -> dict[str, np.ndarray]:
    """Zeros in their place, where there is not one."""
    if any(key.startswith("bias") for key in arrays):
        return {}
    weights = {key: a for key, a in arrays.items() if key.startswith("weight") and a.ndim}
    return {key.replace("weight", "bias"): np.zeros(len(a), a.dtype) for key, a in weights.items()}


def _same_activation(source: Any, system: System, layout: Layout) -> None:
    """A state dict does not tell tanh from relu; a module does."""
    nonlinearity = getattr(source, "nonlinearity", "")
    mode = getattr(source, "mode", "") or (f"RNN_{nonlinearity.upper()}" if nonlinearity else layout.mode)
    others = [name for name, other in LAYOUTS.items() if other.mode == mode]
    if others and mode != layout.mode:
        raise DeriveError(
            f"the module is of mode {mode}, {system.name} of {layout.mode}; ask for {' or '.join(others)}"
        )


def _same_keys(arrays: Weights, stacks: Stacks, system: System) -> None:
    for key in arrays:
        if key.startswith("weight_hr"):
            raise DeriveError(f"{key} projects the state (proj_size), which no system of the catalogue does")
    for key in stacks:
        if key not in arrays:
            have = ", ".join(list(arrays)[:4]) or "nothing"
            raise DeriveError(
                f"{system.name} needs {key}; found {have}{_instead(arrays, system) or '; pass the layer itself'}"
            )
    for key in arrays:
        if key not in stacks:
            instead = _instead(arrays, system) or "; no system of the catalogue is that layer"
            raise DeriveError(f"{system.name} has no place for {key}{instead}")


def _instead(arrays: Weights, asked: System) -> str:
    """The systems of the catalogue whose weights these are, where the one that was asked for is not among them."""
    numbers = [key.removeprefix("weight_ih_l") for key in arrays if key.startswith("weight_ih_l")]
    layers = 1 + max((int(n) for n in numbers if n.isdecimal()), default=0)
    fitting = []
    for name, layout in LAYOUTS.items():
        system = catalogue.load(f"{name}({layers})" if layers > 1 and name in catalogue.families() else name)
        shape = arrays["weight_hh_l0"].shape if _layers(system, layout).keys() == arrays.keys() else ()
        if shape and shape[:1] == tuple(len(layout.gates) * columns for columns in shape[1:]):
            fitting.append(system.name)
    return f"; these are the weights of {' or '.join(fitting)}" if fitting and asked.name not in fitting else ""


# --- shapes ---------------------------------------------------------------------------------------------------------------


def _fitting(arrays: Weights, stacks: Stacks, system: System) -> None:
    """Each array holds as many parts as it stacks, in the shapes of the system's parameters."""
    sizes: dict[str, int] = {}
    for key, stack in stacks.items():
        shape, parts, symbols = arrays[key].shape, len(stack.names), _symbols(system, stack.names[0])
        even = len(shape) == len(symbols) and not shape[stack.axis] % parts
        each = tuple(size // parts if axis == stack.axis else size for axis, size in enumerate(shape))
        if not (even and _agrees(each, symbols, sizes)):
            holds = f"{system.name} reads {', '.join(stack.names)} in it, each" if parts > 1 else "it should be"
            raise DeriveError(
                f"{key} has the shape {shape}; {holds} {_wanted(symbols, sizes)}{_instead(arrays, system)}"
            )


def _held(params: Weights, stacks: Stacks, system: System) -> dict[str, np.ndarray]:
    """The parameters that stand in these arrays, each in its shape."""
    found: dict[str, np.ndarray] = {}
    sizes: dict[str, int] = {}
    for name in dict.fromkeys(name for stack in stacks.values() for name in stack.names):
        if name not in params:
            raise DeriveError(f"the parameters lack {name} of {system.name}{did_you_mean(name, params)}")
        found[name], symbols = _array(name, params[name]), _symbols(system, name)
        if not _agrees(found[name].shape, symbols, sizes):
            raise DeriveError(f"{name} has the shape {found[name].shape}; it should be {_wanted(symbols, sizes)}")
    return found


def _symbols(system: System, name: str) -> tuple[str, ...]:
    return tuple(str(size) for size in system.variables[name].shape if size != 1)


def _agrees(shape: tuple[int, ...], symbols: tuple[str, ...], sizes: dict[str, int]) -> bool:
    """Whether every letter stands for one size; those that have none yet get theirs here."""
    if len(shape) != len(symbols):
        return False
    known = dict(sizes)
    agrees = all(known.setdefault(letter, size) == size for letter, size in zip(symbols, shape, strict=True))
    sizes |= known if agrees else {}
    return agrees


def _wanted(symbols: tuple[str, ...], sizes: dict[str, int]) -> str:
    known = ", ".join(f"{letter} = {sizes[letter]}" for letter in dict.fromkeys(symbols) if letter in sizes)
    return f"({', '.join(symbols)}){f' with {known}' if known else ''}"
