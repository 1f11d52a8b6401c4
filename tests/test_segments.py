"""Checkpointing, truncated backpropagation and lengths: over all systems, each against a road that knows none of them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from test_emit_contract import CATALOGUE, DIMENSIONS, SYSTEMS, WITH_LOSS, Arrays, Case, cell, lengths, shape_of

import derive
from derive.emit import compile_system
from derive.emit.cuts import segments
from derive.emit.segments import Segmented
from derive.errors import DeriveError
from derive.evaluate import evaluate
from derive.system import LOSS, System

T = 5
EVERY: dict[str, System] = {
    **SYSTEMS,
    **WITH_LOSS,
    "learned, ahead, in the loss": cell(
        "h[t] = tanh(U @ h[t+1] + V @ x[t-1])", inputs="x: n", parameters="U V", targets="y: n",
        loss="squared_error(h[t] + h[t+2], y[t-1])", boundary={"h": "learned", "x": "learned"},
    ),
    "no inputs": cell("h[t] = tanh(W @ h[t-1])", parameters="W: n x n", loss="sum(h[t] * h[t])", shapes="h: n"),
    "no recurrence": cell("h[t] = tanh(W @ x[t])", inputs="x: m", parameters="W", shapes="h: n"),
}  # fmt: skip
BOTH_WAYS = ("birnn", "blstm", "a state that reads ahead", "both ways", "a chain that runs ahead")
WHOLE = [name for name, system in EVERY.items() if name in BOTH_WAYS or system.lattice.dimension > 1]
CUT = [name for name in EVERY if name not in WHOLE]
LOSSES = [name for name, system in EVERY.items() if system.has_loss]


def targets(system: System) -> list[str]:
    """The targets that states read, which `vjp` finds among the inputs."""
    read = {source for target, source, _ in system.reads if target != LOSS}
    return [v.name for v in system.of_kind("target") if v.name in read]


class Drawn(Case):
    """A case with the inputs that every function takes."""

    def __init__(self, name: str, batch: tuple[int, ...], T: int = T, seed: int = 3, dtype: str = "float64"):
        super().__init__(EVERY[name], T, batch, seed, dtype)
        for array in [*self.params.values(), *self.inputs.values()]:
            array *= 0.5  # so that five steps of h = exp(…) stay finite
        for target in targets(self.system):
            self.inputs[target] = self.targets[target]
        if not self.inputs:
            self.inputs = {str(n): size for n, size in lengths(self.system, T).items()}  # type: ignore[misc]

    @property
    def arguments(self) -> tuple[Any, ...]:
        return self.params, self.inputs, self.cotangents, self.initial

    @property
    def loss_arguments(self) -> tuple[Any, ...]:
        return self.params, self.inputs, self.targets, self.initial


@cache
def compiled(name: str) -> Any:
    return compile_system(EVERY[name])


def same(found: Mapping[str, Any], wanted: Mapping[str, Any], what: object) -> None:
    assert set(found) == set(wanted), what
    for key, values in wanted.items():
        assert np.shape(found[key]) == np.shape(values), (what, key)
        np.testing.assert_allclose(found[key], values, rtol=1e-9, atol=1e-11, err_msg=f"{what}, {key}")


# --- checkpointing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("batch", [(), (2, 2)])
def test_checkpoints_change_no_gradient(name: str, batch: tuple[int, ...]):
    case, f = Drawn(name, batch), compiled(name)
    wanted = f.vjp(*case.arguments)
    for k in (1, 2, 3, T, T + 5, True):
        same(f.vjp(*case.arguments, checkpoint=k), wanted, f"{name}, checkpoint={k}, seed 3")


@pytest.mark.parametrize("name", [name for name in CUT if name in LOSSES])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_checkpoints_change_no_loss(name: str, batch: tuple[int, ...]):
    case, f = Drawn(name, batch), compiled(name)
    loss, gradients = f.value_and_grad(*case.loss_arguments)
    for k in (1, 2, T, True):
        again, found = f.value_and_grad(*case.loss_arguments, checkpoint=k)
        assert np.ndim(again) == 0
        np.testing.assert_allclose(again, loss, rtol=1e-12, err_msg=f"{name}, checkpoint={k}, seed 3")
        same(found, gradients, f"{name}, checkpoint={k}, seed 3")


def test_checkpoints_keep_single_precision_and_missing_boundary_values_missing():
    case = Drawn("lstm", (2,), dtype="float32")
    case.initial.pop("c[0]")
    wanted = compiled("lstm").vjp(*case.arguments)
    found = compiled("lstm").vjp(*case.arguments, checkpoint=2)
    assert {values.dtype for values in found.values()} == {np.dtype("float32")}
    for key, values in wanted.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-4, atol=1e-5)


def test_no_gradient_in_segments_is_part_of_another():
    case = Drawn("inputs at other steps", (2,))
    found = [*compiled("inputs at other steps").vjp(*case.arguments, checkpoint=5).values()]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(found) for b in found[:i])
    assert not any(np.shares_memory(a, b) for a in found for b in case.given.values())


def peak(steps: int, **how: Any) -> int:
    """Bytes that a gradient allocates at most, without the gradient by the inputs, which is as long as they are."""
    rng = np.random.default_rng(0)
    system, n, m, batch = CATALOGUE["lstm"], 16, 1, 8
    sizes = {"n": n, "m": m}
    params = {v.name: rng.normal(size=[sizes[str(s)] for s in v.shape if s != 1]) / n for v in system.parameters}
    params = {name: values.reshape(n, m) if name.startswith("W") else values for name, values in params.items()}
    arguments = (params, {"x": rng.normal(size=(steps, batch, m))}, {"h": rng.normal(size=(steps, batch, n))})
    f = compiled("lstm")
    f.vjp(*arguments, **how)
    tracemalloc.start()
    f.vjp(*arguments, **how)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_grows_as_the_root_of_the_steps():
    whole = [peak(steps) for steps in (256, 1024)]
    parts = [peak(steps, checkpoint=True) for steps in (256, 1024)]
    assert 2.5 < whole[1] / whole[0] < 4.5, whole  # but for a block of the backward pass, as much for both
    assert parts[1] / parts[0] < 2.5, parts
    assert parts[1] < whole[1] / 8, (parts, whole)


def test_memory_of_truncation_is_that_of_its_block():
    """Whatever the steps; what grows is the gradient by the inputs alone, here one number a step and sample."""
    short, long = (peak(steps, truncate=16) for steps in (256, 1024))
    assert long - short < 3 * 768 * 8 * 8, (short, long)


# --- truncation ------------------------------------------------------------------------------------------------------------


def detached(case: Drawn, k: int, of_loss: bool, length: int = T) -> tuple[float, Arrays]:
    """Value and gradients of one sample by HIPS autograd, of the equations as they stand, step by step.

    A state that is read from another block of k steps is a number there (`getval`), as is a state's boundary value
    that is not read from the first block.
    """
    pytest.importorskip("autograd")
    import autograd.numpy as anp
    from autograd import value_and_grad
    from autograd.tracer import getval

    from derive.oracles.with_autograd import AutogradRing

    system = case.system
    sizes = {**DIMENSIONS, "T": length}
    ahead = any(o > 0 for t, s, (o,) in system.reads if t != LOSS and system.variables[s].kind == "state")
    ring = AutogradRing()

    def block(step: int) -> int:
        return (length - step) // k if ahead else (step - 1) // k

    def column(name: str, array: Any) -> Any:
        rows, columns = (int(n) if n.is_Integer else DIMENSIONS[str(n)] for n in system.variables[name].shape)
        return anp.reshape(array, (rows, columns))

    def border(name: str, step: int) -> str:
        return f"{name}[{step}]" if step < 1 else f"{name}[T+{step - length}]"

    def total(leaves: Arrays) -> Any:
        found: dict[tuple[str, int], Any] = {}

        def state(name: str, step: int) -> Any:
            if (name, step) not in found:
                here = block(step)
                read = lambda var, at: value(var.name, at, here)  # noqa: E731
                found[name, step] = evaluate(system.equations[name].rhs, ring, read, {"t": step}, sizes)
            return found[name, step]

        def value(name: str, at: tuple[int, ...], here: int) -> Any:
            variable = system.variables[name]
            if not at:
                return column(name, leaves[name])
            (step,) = at
            if not 1 <= step <= length:
                zeros = np.zeros(shape_of(system, name))
                values = column(name, {**case.initial, **leaves}.get(border(name, step), zeros))
                return getval(values) if variable.kind == "state" and here else values
            if variable.kind != "state":
                return column(name, {**case.targets, **leaves}[name][step - 1])
            return state(name, step) if block(step) == here else getval(state(name, step))

        order = range(length, 0, -1) if ahead else range(1, length + 1)
        if of_loss:
            counted = [length] if system.loss == "last" else order
            return sum(anp.sum(value(LOSS, (step,), block(step))) for step in counted)
        return sum(
            anp.sum(column(name, cotangent[step - 1]) * state(name, step))
            for step in order
            for name, cotangent in case.cotangents.items()
        )

    leaves = {k: v for k, v in case.given.items() if k not in case.targets and not isinstance(v, int)}
    return value_and_grad(total)(leaves)


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_truncation_is_detaching_every_k_steps(name: str, k: int):
    case, f = Drawn(name, ()), compiled(name)
    if name == "no inputs":
        case.inputs = {"T": T}
    _, wanted = detached(case, k, of_loss=False)
    for checkpoint in (None, 1, 2):
        found = f.vjp(*case.arguments, truncate=k, checkpoint=checkpoint)
        assert set(found) == set(wanted)
        same(found, {key: wanted[key] for key in found}, f"{name}, truncate={k}, checkpoint={checkpoint}, seed 3")


@pytest.mark.parametrize("name", [name for name in CUT if name in LOSSES])
def test_truncation_of_a_loss_is_detaching_every_k_steps(name: str):
    case, f = Drawn(name, ()), compiled(name)
    for k in (1, 2, T):
        value, wanted = detached(case, k, of_loss=True)
        loss, found = f.value_and_grad(*case.loss_arguments, truncate=k)
        np.testing.assert_allclose(loss, value, rtol=1e-12)
        same(found, {key: wanted[key] for key in found}, f"{name}, truncate={k}, seed 3")


def test_truncation_after_all_steps_is_none():
    for name in ("lstm", "skip-rnn", "backward chain"):
        case, f = Drawn(name, (2,)), compiled(name)
        same(f.vjp(*case.arguments, truncate=T), f.vjp(*case.arguments), name)


@pytest.mark.parametrize(("kind", "ours"), [("RNN", "h"), ("LSTM", "hc")])
def test_truncation_is_that_of_a_torch_loop_over_chunks(kind: str, ours: str):
    """The loop of PyTorch's tutorials: run k steps, `detach` the state, run the next k."""
    torch = pytest.importorskip("torch")
    steps, k, m, n, seed = 7, 3, 4, 6, 5
    torch.manual_seed(seed)
    layer = getattr(torch.nn, kind)(m, n).double()
    x = torch.randn(steps, 2, m, dtype=torch.float64, requires_grad=True)
    start = [torch.randn(1, 2, n, dtype=torch.float64, requires_grad=True) for _ in ours]
    cotangent = torch.randn(steps, 2, n, dtype=torch.float64)
    state: Any = tuple(start) if len(start) > 1 else start[0]
    for first in range(0, steps, k):
        out, state = layer(x[first : first + k], state)
        out.backward(cotangent[first : first + k])
        state = tuple(s.detach() for s in state) if len(start) > 1 else state.detach()
    name = "lstm" if kind == "LSTM" else "rnn"
    params = derive.from_torch(layer, name)
    if name == "rnn":
        params |= {"V": np.zeros((2, n)), "c": np.zeros(2)}
    initial = {f"{letter}[0]": s.detach().numpy()[0] for letter, s in zip(ours, start, strict=True)}
    found = compiled(name).vjp(params, {"x": x.detach().numpy()}, {"h": cotangent.numpy()}, initial, truncate=k)
    wanted = {"x": x.grad.numpy()} | {key: s.grad.numpy()[0] for key, s in zip(initial, start, strict=True)}
    recurrent = layer.weight_hh_l0.grad.numpy()
    if kind == "LSTM":
        wanted |= {f"U_{g}": part for g, part in zip("ifgo", np.split(recurrent, 4), strict=True)}
    else:
        wanted["W"] = recurrent
    for key, values in wanted.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-9, atol=1e-11, err_msg=f"{key}, seed {seed}")


# --- lengths ---------------------------------------------------------------------------------------------------------------


def drawn_lengths(case: Drawn, seed: int = 7) -> np.ndarray:
    """Of every sample; equal ones, 1 and the longest are among them."""
    rng = np.random.default_rng(seed)
    sizes = [*lengths(case.system, T).values()]
    found = np.stack([rng.integers(1, size + 1, case.batch) for size in sizes], -1)
    if case.batch:
        found.reshape(-1, len(sizes))[:3] = [sizes, [1] * len(sizes), sizes]
    return found if len(sizes) > 1 else found[..., 0]


class Samples:
    """A batch cut into its samples, each on its own lattice; what lies beyond is no number."""

    def __init__(self, case: Drawn, each: np.ndarray):
        self.case, self.system, self.d = case, case.system, case.system.lattice.dimension
        self.each = each.reshape(*case.batch, self.d)
        self.along = {
            border.key: [a for a, s in enumerate(border.sides) if not s.depth] for border in self.system.borders
        }
        for at in np.ndindex(*case.batch):
            for array in [*case.inputs.values(), *case.cotangents.values(), *case.targets.values()]:
                for axis in range(self.d) if isinstance(array, np.ndarray) else ():
                    array[(slice(None),) * axis + (slice(self.each[at][axis], None),)][(slice(None),) * self.d + at] = (
                        np.nan
                    )

    def axes(self, name: str) -> list[int]:
        return self.along[name] if name in self.along else list(range(self.d))

    def own(self, name: str, array: Any, at: tuple[int, ...]) -> Any:
        """The part of an array, with a batch, that is a sample's."""
        if not isinstance(array, np.ndarray):
            return int(self.each[at][0])
        axes = self.axes(name)
        return array[((slice(None),) * len(axes) + at + (...,))][(*(slice(self.each[at][a]) for a in axes), ...)]

    def shared(self, name: str, array: np.ndarray, at: tuple[int, ...]) -> np.ndarray:
        """A parameter, or a learned boundary value along the lattice."""
        return array[(*(slice(self.each[at][a]) for a in self.along.get(name, ())), ...)]

    def of(self, given: Arrays, at: tuple[int, ...]) -> Arrays:
        return {name: self.own(name, array, at) for name, array in given.items()}

    def params(self, at: tuple[int, ...]) -> Arrays:
        return {name: self.shared(name, array, at) for name, array in self.case.params.items()}

    def check(self, found: Arrays, alone: dict[tuple[int, ...], Arrays], what: str) -> None:
        rest = {name: np.array(array) for name, array in found.items()}
        for at, results in alone.items():
            assert set(found) == set(results)
            for name, values in results.items():
                summed = name in self.case.params
                place = self.shared(name, rest[name], at) if summed else self.own(name, rest[name], at)
                if not summed:
                    np.testing.assert_allclose(
                        place, values, rtol=1e-9, atol=1e-11, err_msg=f"{what}, {name}{at}, seed 7"
                    )
                place -= values
        for name, array in rest.items():
            np.testing.assert_allclose(array, 0, atol=1e-10, err_msg=f"{what}, {name}: the rest, seed 7")


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_lengths_are_the_samples_one_by_one(name: str, batch: tuple[int, ...]):
    case, f = Drawn(name, batch), compiled(name)
    each = drawn_lengths(case)
    samples = Samples(case, each)
    points = list(np.ndindex(*batch))
    states, gradients = {}, {}
    for at in points:
        params, inputs, cotangents, initial = samples.params(at), *(samples.of(g, at) for g in case.arguments[1:])
        states[at] = f.forward(params, inputs, initial)
        gradients[at] = f.vjp(params, inputs, cotangents, initial)
    samples.check(f.forward(case.params, case.inputs, case.initial, lengths=each), states, "forward")
    samples.check(f.vjp(*case.arguments, lengths=each), gradients, "vjp")


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("batch", [(), (5,)])
def test_the_loss_with_lengths_is_that_of_the_samples_one_by_one(name: str, batch: tuple[int, ...]):
    case, f = Drawn(name, batch), compiled(name)
    each = drawn_lengths(case)
    samples = Samples(case, each)
    total, gradients = 0.0, {}
    for at in np.ndindex(*batch):
        given = (samples.of(g, at) for g in case.loss_arguments[1:])
        loss, gradients[at] = f.value_and_grad(samples.params(at), *given)
        total += loss
    loss, found = f.value_and_grad(*case.loss_arguments, lengths=each)
    np.testing.assert_allclose(loss, total, rtol=1e-12)
    samples.check(found, gradients, f"{name}, value_and_grad")


@pytest.mark.parametrize("name", ["lstm", "skip-rnn", "learned border", "backward chain", "inputs at other steps"])
def test_lengths_with_truncation_and_checkpoints_are_the_samples_one_by_one(name: str):
    case, f = Drawn(name, (5,)), compiled(name)
    each = drawn_lengths(case)
    samples = Samples(case, each)
    for how in ({"truncate": 2}, {"checkpoint": True}, {"truncate": 3, "checkpoint": 2}):
        gradients = {
            at: f.vjp(samples.params(at), *(samples.of(g, at) for g in case.arguments[1:]), **how)
            for at in np.ndindex(*case.batch)
        }
        samples.check(f.vjp(*case.arguments, lengths=each, **how), gradients, f"{name}, {how}")


def test_lengths_are_exact_where_a_padded_sample_runs_off_to_infinity():
    system = cell("h[t] = a * square(h[t-1]) + x[t]", inputs="x: n", parameters="a: n")
    f, each = system.compile(), np.array([2, 12])
    params, x = {"a": np.ones(3)}, np.stack([np.full((12, 3), 50.0), np.full((12, 3), 0.1)], axis=1)
    cotangent = np.ones((12, 2, 3))
    with np.errstate(all="ignore"):
        found = f.vjp(params, {"x": x}, {"h": cotangent}, lengths=each)
    alone = [f.vjp(params, {"x": x[:T, b]}, {"h": cotangent[:T, b]}) for b, T in enumerate(each)]
    np.testing.assert_allclose(found["a"], sum(one["a"] for one in alone), rtol=1e-12)
    for b, T in enumerate(each):
        np.testing.assert_allclose(found["x"][:T, b], alone[b]["x"], rtol=1e-12)


@pytest.mark.parametrize("name", ["rnn", "birnn", "mdrnn"])
def test_a_derived_system_has_lengths_as_well(name: str):
    """The adjoint, run forwards with cotangents for inputs, is `vjp`."""
    system = CATALOGUE[name].with_cotangents()
    case, (output,) = Drawn(name, (4,)), system.outputs
    each = drawn_lengths(case)
    cotangent = case.cotangents[output]
    given = {**case.inputs, f"{output}_ct": cotangent}
    found = compile_system(system.adjoint()).forward(case.params, given, case.initial, lengths=each)
    wanted = compiled(name).vjp(case.params, case.inputs, {output: cotangent}, case.initial, lengths=each)
    for key, values in wanted.items():
        bar = key.replace("[", "_bar[") if "[" in key else f"{key}_bar"
        np.testing.assert_allclose(found[bar], values, rtol=1e-9, atol=1e-11, err_msg=f"{name}, {key}, seed 3")


# --- arrays of other libraries ---------------------------------------------------------------------------------------------


class Elsewhere:
    """A compiled module whose results are arrays of another library, as those of its backends will be."""

    def __init__(self, inner: Any, convert: Any):
        self.inner, self.convert = inner, convert

    def _call(self, function: Any, *given: Any) -> dict[str, Any]:
        found = function(*({k: v if isinstance(v, int) else np.asarray(v) for k, v in g.items()} for g in given))
        return {name: self.convert(values) for name, values in found.items()}

    def forward(self, *given: Any) -> dict[str, Any]:
        return self._call(self.inner.forward, *given)

    def vjp(self, *given: Any) -> dict[str, Any]:
        return self._call(self.inner.vjp, *given)


@pytest.mark.parametrize("library", ["jax", "torch"])
@pytest.mark.parametrize("name", ["lstm", "learned border", "inputs at other steps", "skip-rnn"])
def test_segments_take_arrays_of_every_library(name: str, library: str):
    pytest.importorskip(library)
    if library == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
        convert, kind = jax.numpy.asarray, jax.Array
    else:
        import torch

        convert, kind = torch.as_tensor, torch.Tensor
    case = Drawn(name, (2,))
    driver = Segmented(case.system, lambda system: Elsewhere(compile_system(system), convert))
    arguments = [{key: convert(values) for key, values in given.items()} for given in case.arguments]
    for how in ({"checkpoint": 2}, {"truncate": 2, "checkpoint": 1}):
        found = driver.vjp(*arguments, **how)
        assert all(isinstance(values, kind) for values in found.values())
        same({k: np.asarray(v) for k, v in found.items()}, compiled(name).vjp(*case.arguments, **how), f"{name}, {how}")


@pytest.mark.parametrize("name", ["lstm", "mdrnn", "birnn"])
@pytest.mark.parametrize("library", ["jax", "torch"])
def test_lengths_take_arrays_of_every_library(name: str, library: str):
    pytest.importorskip(library)
    from derive.emit.lengths import Batch

    if library == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
        convert = jax.numpy.asarray
    else:
        import torch

        convert = torch.as_tensor
    case, f = Drawn(name, (5,)), compiled(name)
    each = drawn_lengths(case)
    params, *given = ({key: convert(values) for key, values in g.items()} for g in case.arguments)
    found = Batch(case.system, convert(each), *given).run(Elsewhere(f, convert).vjp, params)
    assert {type(values) for values in found.values()} == {type(convert(each))}
    same({k: np.asarray(v) for k, v in found.items()}, f.vjp(*case.arguments, lengths=each), name)


def test_lengths_may_be_traced_where_one_run_is_exact():
    """The driver around a stand-in that returns what it is given, traced by JAX."""
    jax = pytest.importorskip("jax")
    from derive.emit.lengths import Batch

    jax.config.update("jax_enable_x64", True)
    case = Drawn("lstm", (5,))
    each = drawn_lengths(case)

    def run(numbers: Any) -> Any:
        return Batch(case.system, numbers, *case.arguments[1:]).run(lambda p, x, c, i: {**x, **c}, case.params)

    wanted = run(each)
    found = jax.jit(run)(each)
    same({key: found[key] for key in wanted}, wanted, "traced, seed 7")
    case = Drawn("birnn", (5,))
    with pytest.raises(ValueError, match="birnn runs samples of equal lengths together") as caught:
        jax.jit(lambda numbers: run(numbers))(each)
    assert str(caught.value).endswith("leave them out of what is traced")


# --- what can't be -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WHOLE)
def test_what_flows_both_ways_is_not_cut(name: str):
    case = Drawn(name, ())
    for how in ({"truncate": 2}, {"checkpoint": True}):
        with pytest.raises(DeriveError, match="call it without truncate and checkpoint") as caught:
            compiled(name).vjp(*case.arguments, **how)
        assert "\n" not in str(caught.value)
        assert ("grid" in str(caught.value)) == (case.system.lattice.dimension > 1)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"truncate": 0}, "truncate is a number of steps, 1 or more; found 0"),
        ({"truncate": True}, "truncate is a number of steps, 1 or more; found True"),
        ({"checkpoint": 2.0}, "checkpoint is a number of steps, 1 or more; found 2.0"),
        ({"lengths": [1, 2]}, "lengths has shape (2,); it should have (3,), a number for every sample"),
        ({"lengths": [1, 2, 6]}, "lengths are from 1 to T = 5; found 6"),
        ({"lengths": [1, 0, 5]}, "lengths are from 1 to T = 5; found 0"),
        ({"lengths": [1.0, 2.0, 5.0]}, "lengths are whole numbers; found float64"),
    ],
)
def test_bad_options_are_one_sentence(how: dict[str, Any], message: str):
    case = Drawn("gru", (3,))
    with pytest.raises(ValueError) as caught:
        compiled("gru").vjp(*case.arguments, **how)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"cotangents": {"h": np.zeros((5, 2, 3))}},
            "cotangents['h'] has shape (5, 2, 3); it should begin with (5, 3)",
        ),
        ({"initial": {"h[0]": np.zeros((2, 3))}}, "initial['h[0]'] has shape (2, 3); it should begin with (3,)"),
        ({"inputs": {"x": np.zeros(5)}}, "inputs['x'] has shape (5,); it should have 2 axes or more"),
        ({"inputs": {"xx": 0}}, "inputs lacks 'x' (did you mean xx?)"),
    ],
)
def test_bad_input_with_lengths_is_one_sentence(change: dict[str, Any], message: str):
    case = Drawn("gru", (3,))
    given = dict(zip(("params", "inputs", "cotangents", "initial"), case.arguments, strict=True)) | change
    with pytest.raises(ValueError) as caught:
        compiled("gru").vjp(**given, lengths=[1, 2, 3])
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"initial": {"h[1]": 0}}, "initial has 'h[1]', which is unknown (did you mean h[0]?); the names are h[0]"),
        ({"cotangents": {"hh": 0}}, "cotangents has 'hh', which is unknown (did you mean h?); the names are"),
        ({"inputs": {"y": np.zeros((5, 3))}}, "inputs lacks 'x'"),
        ({"cotangents": {"h": np.zeros((4, 3, 3))}}, "cotangents['h'] has shape (4, 3, 3); it should have 5 steps"),
        ({"params": {}}, "params lacks"),
    ],
)
def test_bad_input_in_segments_is_one_sentence(change: dict[str, Any], message: str):
    case = Drawn("gru", (3,))
    given = dict(zip(("params", "inputs", "cotangents", "initial"), case.arguments, strict=True)) | change
    with pytest.raises(ValueError) as caught:
        compiled("gru").vjp(**given, checkpoint=2)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize("direction", [1, -1])
def test_segments_are_all_steps_once_and_stay_in_their_blocks(direction: int):
    for steps in range(1, 12):
        for truncate in (None, 1, 3, 20):
            for checkpoint in (None, 1, 2, 5, True):
                cut = segments(steps, direction, truncate, checkpoint)
                covered = [s for part in cut[::direction] for s in range(part.first, part.last + 1)]
                assert covered == list(range(1, steps + 1))
                assert all(part.start <= part.first <= part.last <= part.end for part in cut)
                assert all(part.end - part.start < (truncate or steps) for part in cut)
