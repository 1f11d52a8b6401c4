"""The emitted PyTorch modules: against NumPy's, PyTorch's own gradients through a loop, and finite differences of both orders."""

from __future__ import annotations

import inspect
import subprocess
import sys
from itertools import product
from typing import Any

import numpy as np
import pytest

from derive.catalogue import load, names
from derive.emit.torch.frame import class_name
from derive.errors import DeriveError
from derive.evaluate import evaluate, integer
from derive.system import LOSS, System

torch = pytest.importorskip("torch")

from derive.oracles.with_torch import TorchRing  # noqa: E402

RING = TorchRing()
SEED = 5
SYSTEMS = (*names(), "mdrnn(3)", "stacked-lstm(3)")
TINY = {"n": 2, "m": 3}

CELLS = {
    "second order, learned": System(
        "second", equations="h[t] = tanh(x[t] + U @ h[t-1] + V @ h[t-2])", inputs="x: n", parameters="U V", shapes="h: n",
        boundary={"h": "learned"},
    ),
    "grid, given": System(
        "grid", equations="h[i,j] = tanh(x[i,j] + U @ h[i-1,j] + V @ h[i,j-1])", inputs="x: n", parameters="U V",
        shapes="h: n", boundary={"h": "given"},
    ),
    "matrix state, scalar gates": System(
        "gates",
        equations="f[t] = sigmoid(w.T @ x[t] + b)\n"
        "C[t] = f[t] * C[t-1] + exp(u.T @ x[t]) * (V @ x[t]) @ (K @ x[t]).T\ny[t] = tanh(C[t]) @ (Q @ x[t])",
        inputs="x: m", parameters="w u: m, b: scalar, V: p x m, K: n x m, Q",
    ),
    "row parameter": System(
        "row", equations="a[t] = sigmoid(w @ x[t] + c * a[t-1])\nh[t] = a[t] * h[t-1] + (1 - a[t]) * x[t]",
        inputs="x: m", parameters="w: 1 x m, c: scalar", shapes="h: m",
    ),
    "teacher forcing": System(
        "forced", equations="h[t] = tanh(U @ h[t-1] + V @ y[t-1] + x[t])\no[t] = W @ h[t]", inputs="x: n",
        parameters="U V W", shapes="h: n, o: q", targets="y: q", loss="cross_entropy(o[t], y[t])", outputs="o",
    ),
    "quotients": System(
        "quotients", equations="h[t] = x[t] / (1 + square(h[t-1])) + 1 / (2 + sqrt(x[t] * x[t] + 0.1))", inputs="x: n",
        shapes="h: n",
    ),
    "functions": System(
        "functions", equations="h[t] = gelu(x[t] + h[t-1]) + softplus(h[t-1]) + elu(W @ x[t]) + max(h[t-1], 0.1)",
        inputs="x: n", parameters="W", shapes="h: n",
    ),
    "maxima": System(
        "maxima", equations="h[t] = max(W @ h[t-1], x[t]) + min(h[t-1], 0.5) + abs(x[t])", inputs="x: n", parameters="W",
        shapes="h: n",
    ),
    "no input": System("free", equations="h[t] = tanh(W @ h[t-1])", parameters="W: n x n", shapes="h: n"),
}  # fmt: skip


def system_of(name: str) -> System:
    return CELLS.get(name) or load(name)


class Case:
    """A system with random numbers for all that it reads, as NumPy arrays."""

    def __init__(self, system: System, *batch: int, steps: int = 3, dtype: str = "float64"):
        rng = np.random.default_rng(SEED)
        self.system = system
        self.lead = {str(n): steps - k for k, n in enumerate(system.lattice.lengths)}
        self.sizes = {str(d): TINY.get(str(d), 4) for d in system.dimensions}
        lattice = tuple(self.lead.values())

        def draw(name: str, *front: int) -> np.ndarray:
            shape = system.variables[name].shape
            kept = shape if shape[0] == 1 and shape[1] != 1 else [s for s in shape if s != 1]
            size = [int(s) if s.is_Integer else self.sizes[str(s)] for s in kept]
            return rng.uniform(-0.8, 0.8, (*front, *size)).astype(dtype)

        def distribution(name: str) -> np.ndarray:
            array = np.exp(draw(name, *lattice, *batch))
            return array / array.sum(-1, keepdims=True)

        self.params = {v.name: draw(v.name) for v in system.parameters}
        self.inputs: dict[str, Any] = {v.name: draw(v.name, *lattice, *batch) for v in system.inputs}
        self.targets = {v.name: distribution(v.name) for v in system.of_kind("target")}
        read = {v.name for _, v, _ in _reads(system)}
        self.fed = {name: array for name, array in self.targets.items() if name in read}
        if not system.inputs:
            self.inputs |= self.lead
        self.initial: dict[str, np.ndarray] = {}
        for border in system.borders:
            along = tuple(n for n, side in zip(lattice, border.sides, strict=True) if not side.depth)
            if system.boundary[border.variable] == "learned":
                self.params[border.key] = draw(border.variable, *along)
            elif system.variables[border.variable].kind != "target":
                self.initial[border.key] = draw(border.variable, *along, *batch)
        f = system.compile("numpy")
        states = f.forward(self.params, {**self.inputs, **self.fed}, self.initial)
        self.cotangents = {name: rng.uniform(-1, 1, states[name].shape).astype(dtype) for name in system.outputs}

    @property
    def read(self) -> dict[str, Any]:
        return {**self.inputs, **self.fed}


def _reads(system: System) -> list[tuple[str, Any, Any]]:
    return [(t, system.variables[s], o) for t, s, o in system.reads if t != LOSS]


def same(found: dict[str, Any], wanted: dict[str, Any], what: str, tolerance: float = 1e-10) -> None:
    assert set(found) == set(wanted), what
    for name, value in wanted.items():
        assert torch.is_tensor(found[name]) and tuple(found[name].shape) == np.shape(value), (what, name)
        np.testing.assert_allclose(
            found[name].numpy(), value, rtol=tolerance, atol=tolerance, err_msg=f"{what} {name}, seed {SEED}"
        )


@pytest.mark.parametrize("name", [*SYSTEMS, *CELLS])
def test_the_module_agrees_with_numpy_and_with_differences_of_both_orders(name):
    system = system_of(name)
    f, reference = system.compile("torch"), system.compile("numpy")
    for case in (Case(system, 2), Case(system, steps=2 if system.lattice.dimension == 1 else 3), Case(system, 2, 1)):
        given = case.params, case.read
        same(f.forward(*given, case.initial), reference.forward(*given, case.initial), name)
        same(f.forward(*given), reference.forward(*given), name)
        same(f.vjp(*given, case.cotangents, case.initial), reference.vjp(*given, case.cotangents, case.initial), name)
        same(f.vjp(*given, {}), reference.vjp(*given, {}), name)
        if system.has_loss:
            loss, gradients = f.value_and_grad(case.params, case.inputs, case.targets, case.initial)
            value, wanted = reference.value_and_grad(case.params, case.inputs, case.targets, case.initial)
            np.testing.assert_allclose(float(loss), value, err_msg=name)
            same(gradients, wanted, name)
    assert f.module.check(SEED) < 1e-6, name


@pytest.mark.parametrize("name", [*SYSTEMS, *CELLS])
def test_gradients_of_gradients_pass_gradgradcheck(name):
    system = system_of(name)
    case, f = Case(system, 1, steps=2 if system.lattice.dimension < 3 else 3), system.compile("torch")
    free = {
        k: torch.tensor(v) for k, v in {**case.params, **case.inputs, **case.initial}.items() if not isinstance(v, int)
    }
    fixed = {k: v for k, v in case.inputs.items() if isinstance(v, int)} | {
        k: torch.tensor(v) for k, v in case.fed.items()
    }

    def outputs(*arrays):
        values = dict(zip(free, arrays, strict=True))
        pick = lambda some: {k: values.get(k, fixed.get(k)) for k in some}  # noqa: E731
        states = f.module.forward(pick(case.params), pick(case.read), pick(case.initial))
        return tuple(states[name] for name in system.outputs)

    arrays = [array.requires_grad_() for array in free.values()]
    assert torch.autograd.gradcheck(outputs, arrays, fast_mode=True), name
    assert torch.autograd.gradgradcheck(outputs, arrays, fast_mode=True), name


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_float32_stays_float32_and_is_close(name, batch):
    system = load(name)
    case = Case(system, *batch, dtype="float32")
    f, reference = system.compile("torch"), system.compile("numpy")
    found = f.vjp(case.params, case.read, case.cotangents, case.initial)
    wide = {k: np.asarray(v, "float64") for k, v in case.params.items()}
    wanted = reference.vjp(wide, case.read, case.cotangents, case.initial)
    assert {v.dtype for v in found.values()} == {torch.float32}
    same({k: v.double() for k, v in found.items()}, wanted, name, 2e-5)


class Unrolled:
    """The states of one sample, point by point, by PyTorch's own operations on columns: what its autograd goes through."""

    def __init__(self, system: System, case: Case, values: dict[str, Any]):
        self.system, self.values, self.known = system, values, {}
        self.lengths = tuple(case.lead.values())
        self.sizes = {**case.sizes, **case.lead}

    def read(self, var: Any, point: tuple[int, ...]) -> Any:
        shape = [integer(n, self.sizes) for n in var.shape]
        if not var.index:
            return self.values[var.name].reshape(shape)
        if all(1 <= p <= n for p, n in zip(point, self.lengths, strict=True)):
            if var.name in self.system.equations:
                return self.state(var.name, point)
            return self.values[var.name][tuple(p - 1 for p in point)].reshape(shape)
        return self.beyond(var.name, point).reshape(shape)

    def beyond(self, name: str, point: tuple[int, ...]) -> Any:
        for border in (b for b in self.system.borders if b.variable == name):
            ends = zip(border.sides, point, self.lengths, strict=True)
            if all(p == s.coordinate(p, n) if s.depth else 1 <= p <= n for s, p, n in ends):
                along = [p - 1 for s, p in zip(border.sides, point, strict=True) if not s.depth]
                return self.values[border.key][tuple(along)]
        return torch.zeros([integer(n, self.sizes) for n in self.system.variables[name].shape], dtype=torch.float64)

    def state(self, name: str, point: tuple[int, ...]) -> Any:
        if (name, point) not in self.known:
            here = dict(zip(map(str, self.system.lattice.indices), point, strict=True))
            rhs = self.system.equations[name].rhs
            self.known[name, point] = evaluate(rhs, RING, self.read, here, self.sizes)
        return self.known[name, point]

    def trajectory(self, name: str, shape: tuple[int, ...]) -> Any:
        points = product(*(range(1, n + 1) for n in self.lengths))
        return torch.stack([self.state(name, p) for p in points]).reshape(shape)


def own_loss(states: dict[str, Any]) -> Any:
    """A loss that no module knows, with a second derivative of its own."""
    return sum((state**3).mean() + torch.sin(state.sum()) for state in states.values())


@pytest.mark.parametrize("name", [*SYSTEMS, "second order, learned", "grid, given", "no input"])
def test_a_layer_has_the_gradients_of_a_loop(name):
    system = system_of(name)
    case = Case(system)
    layer = system.compile("torch").layer(*module_sizes(system, case), dtype=torch.float64)
    assert set(dict(layer.named_parameters())) == set(case.params)
    with torch.no_grad():
        for key, parameter in layer.named_parameters():
            parameter.copy_(torch.tensor(case.params[key]))
    given = {k: torch.tensor(v, requires_grad=True) for k, v in {**case.inputs, **case.initial}.items() if np.ndim(v)}
    fixed = {**case.lead, **{k: torch.tensor(v) for k, v in case.fed.items()}}
    values = {**fixed, **dict(layer.named_parameters()), **given}
    wanted = [*layer.parameters(), *given.values()]

    states = layer(*(values[k] for k in case.read), initial={k: given[k] for k in case.initial})
    found = {k: states[k] for k in system.outputs}
    unrolled = Unrolled(system, case, values)
    known = {k: unrolled.trajectory(k, state.shape) for k, state in found.items()}
    first, second = (
        torch.autograd.grad(own_loss(s), wanted, create_graph=True, allow_unused=True) for s in (found, known)
    )
    names_of = [*dict(layer.named_parameters()), *given]
    compare(names_of, first, second, name)
    norms = [sum((g**2).sum() for g in some if g is not None) for some in (first, second)]
    first, second = (torch.autograd.grad(n, wanted, allow_unused=True) for n in norms)
    compare(names_of, first, second, f"{name}, the gradient of the gradient")


def compare(names_of: list[str], found: Any, wanted: Any, what: str) -> None:
    for key, a, b in zip(names_of, found, wanted, strict=True):
        a, b = (torch.zeros(()) if g is None else g.detach() for g in (a, b))
        a, b = torch.broadcast_tensors(a, b)
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-9, rtol=1e-8, err_msg=f"{what} {key}, seed {SEED}")


def module_sizes(system: System, case: Case) -> list[int]:
    """The arguments of the layer's constructor."""
    layer = getattr(system.compile("torch").module, class_name(system.name))
    known = {**case.sizes, **case.lead}
    return [known[k] for k in list(inspect.signature(layer.__init__).parameters)[1:] if k not in ("device", "dtype")]


# --- the module as a file -----------------------------------------------------------------------------------------------


def test_the_sources_pass_ruff(tmp_path):
    pytest.importorskip("ruff")
    for k, name in enumerate((*SYSTEMS, *CELLS)):
        (tmp_path / f"module_{k}.py").write_text(system_of(name).compile("torch").source, encoding="utf-8")
    rules = ["--isolated", "--select=E,F,I,UP,B", "--line-length=120"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *rules, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_the_source_needs_nothing_but_torch(tmp_path):
    path = tmp_path / "lstm.py"
    path.write_text(load("lstm").compile("torch").source, encoding="utf-8")
    block = "import sys; sys.modules['numpy'] = sys.modules['derive'] = None\n"
    run = block + f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", run], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 1e-6


def test_nothing_is_on_the_cpu_but_what_was_given_there():
    """On the device without memory every operation has to follow its operands."""
    for name in ("lstm", "mdlstm", "linear-attention", "blstm"):
        f = load(name).compile("torch")
        lead = (3,) if load(name).lattice.dimension == 1 else (2, 3)
        layer = f.layer(*[4] * (len(load(name).dimensions)), device="meta")
        states = layer(*(torch.zeros(*lead, 2, 4, device="meta") for _ in f.system.inputs))
        (output,) = f.system.outputs
        assert {s.device.type for s in states.values()} == {"meta"}
        first = torch.autograd.grad(states[output].sum(), list(layer.parameters()), create_graph=True)
        second = torch.autograd.grad(sum(g.sum() for g in first), list(layer.parameters()), allow_unused=True)
        assert {g.device.type for g in (*first, *second) if g is not None} == {"meta"}


# --- what is asked wrongly, and what is left out ----------------------------------------------------------------------------


def test_a_state_without_a_cotangent_says_so():
    f = load("lstm").compile("torch")
    states = f.layer(2, 3)(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="cotangents of h; write it with those of c as well"):
        states["c"].sum().backward()
    layer = load("lstm").compile("torch", cotangents="h, c").layer(2, 3)
    layer(torch.zeros(4, 3))["c"].sum().backward()
    assert float(layer.b_i.grad.abs().sum()) > 0


def _lstm() -> tuple[dict[str, Any], dict[str, Any]]:
    case = Case(load("lstm"), steps=4)
    return case.params, case.inputs


def test_segments_and_lengths_work_on_tensors():
    case = Case(load("gru"), 2, steps=6)
    f, reference = load("gru").compile("torch"), load("gru").compile("numpy")
    given = case.params, case.inputs, case.cotangents, case.initial
    for options in ({"checkpoint": 2}, {"truncate": 2}, {"lengths": [6, 3]}):
        same(f.vjp(*given, **options), reference.vjp(*given, **options), str(options))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, x: p.pop("U_i"), r"params lacks 'U_i', of shape \(n, n\)"),
        (lambda p, x: p.update(U_i=np.zeros((2, 5))), r"params\['U_i'\] has shape \(2, 5\); it should be \(n, n\)"),
        (lambda p, x: x.update(x=np.zeros((4, 7))), r"inputs\['x'\] has shape \(4, 7\)"),
    ],
)
def test_what_is_given_wrongly_is_said(change, message):
    params, inputs = _lstm()
    change(params, inputs)
    with pytest.raises(ValueError, match=message):
        load("lstm").compile("torch").forward(params, inputs)


def test_an_unknown_function_needs_no_more_derivatives_than_are_called():
    system = System("own", equations="h[t] = phi(W @ h[t-1] + x[t])", inputs="x: n", parameters="W", shapes="h: n")
    with pytest.raises(DeriveError, match='"phi": …, "phi\'": …'):
        system.compile("torch")
    f = system.compile("torch", functions={"phi": torch.sin, "phi'": torch.cos})
    x = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    layer = f.layer(2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: layer(x)["h"], x)
    with pytest.raises(ValueError, match="phi''"):
        torch.autograd.gradgradcheck(lambda x: layer(x)["h"], x)


def test_derived_systems_run_forwards():
    system = load("gru")
    case = Case(system, 2)
    adjoint = system.adjoint()
    inputs = {**case.inputs, "h_ct": case.cotangents["h"]}
    found = adjoint.compile("torch").forward(case.params, inputs, case.initial)
    wanted = system.compile("numpy").vjp(case.params, case.inputs, case.cotangents, case.initial)
    for key in (*case.params, *case.inputs):
        np.testing.assert_allclose(found[f"{key}_bar"].numpy(), wanted[key], atol=1e-12, err_msg=key)


@pytest.mark.parametrize("name", [*SYSTEMS, *CELLS])
def test_nothing_that_was_given_or_is_kept_is_written_to(name):
    """A gradient may be clipped in place without another one changing, and a backward pass be run twice."""
    system = system_of(name)
    case, f = Case(system, 2), system.compile("torch")
    every = (case.params, case.read, case.initial)
    given = [{k: torch.tensor(v) if np.ndim(v) else v for k, v in some.items()} for some in every]
    cotangents = {k: torch.tensor(v) for k, v in case.cotangents.items()}
    before = [t.clone() for some in (*given, cotangents) for t in some.values() if torch.is_tensor(t)]
    found = f.vjp(*given[:2], cotangents, given[2])
    after = [t for some in (*given, cotangents) for t in some.values() if torch.is_tensor(t)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), name
    kept = {k: g.clone() for k, g in found.items()}
    for key, gradient in found.items():
        gradient.fill_(7.0)
        assert all(torch.equal(found[k], kept[k]) for k in found if k != key), (name, key)
        gradient.copy_(kept[key])
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), name

    leaves = [t.requires_grad_() for some in given for t in some.values() if torch.is_tensor(t)]
    value = own_loss({k: s for k, s in f.forward(*given).items() if k in cotangents})
    once, twice = (torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True) for _ in range(2))
    for a, b in zip(once, twice, strict=True):
        assert (a is None and b is None) or torch.equal(a, b), name
