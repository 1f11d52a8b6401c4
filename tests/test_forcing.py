"""Teacher forcing: what happens to the table, to the adjoint and to the gradients of a system whose output is fed back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import derive
from derive import catalogue, expr, forcing
from derive.adjoint import contributions
from derive.cli import main
from derive.errors import DeriveError
from derive.partials import table
from derive.schedule import schedule
from derive.schedule.program import Sweep
from derive.system import LOSS, System

SEED = 7
STEPS = 5
MY_CELL = Path(__file__).parent / "data" / "my_cell.py"


def fed(name: str, equations: str, loss: str = "squared_error(y_hat[t], y[t])", **more: str) -> System:
    settings = {"inputs": "x: m", "targets": "y: q", "shapes": "h: n, y_hat: q", "outputs": "y_hat", **more}
    return System(name, equations=equations, loss=loss, **settings)  # type: ignore[arg-type]


WORDS = fed(
    "words",
    """
    h[t] = tanh(W @ x[t] + U @ h[t-1] + V @ y_hat[t-1] + b)
    o[t] = R @ h[t]
    y_hat[t] = softmax(o[t])
    """,
    "cross_entropy(o[t], y[t])",
    parameters="W U V b R",
)
SPELLED_OUT = fed(
    "spelled_out",
    "h[t] = tanh(W @ x[t] + V @ softmax(o[t-1]))\no[t] = R @ h[t]",
    "cross_entropy(o[t], y[t])",
    parameters="W V R", shapes="h: n, o: q", outputs="o",
)  # fmt: skip
BITS = fed(
    "bits",
    "h[t] = x[t] * tanh(V @ y_hat[t-1] + U @ y_hat[t-2])\no[t] = R @ h[t]\ny_hat[t] = sigmoid(o[t])",
    "logistic(o[t], y[t])",
    inputs="x: n", parameters="V U R", loss_at="last",
)  # fmt: skip
GRID = fed(
    "grid",
    "h[i,j] = tanh(W @ x[i,j] + U @ y_hat[i-1,j] + V @ y_hat[i,j-1])\ny_hat[i,j] = R @ h[i,j]",
    "squared_error(y_hat[i,j], y[i,j])",
    parameters="W U V R",
)
BACKWARDS = fed(
    "backwards", "h[t] = tanh(W @ x[t] + V @ y_hat[t+1])\ny_hat[t] = R @ h[t]", parameters="W V R",
)  # fmt: skip
NEXT = fed(
    "next_word",
    "h[t] = tanh(V @ p[t-1])\no[t] = R @ h[t]\np[t] = softmax(o[t])",
    "cross_entropy(o[t], y[t+1])",
    inputs="", parameters="V R", shapes="h: n, o: q", outputs="p",
)  # fmt: skip
FED = {s.name: s for s in (catalogue.load("jordan"), WORDS, SPELLED_OUT, BITS, GRID, BACKWARDS, NEXT)}
STILL_RECURRENT = {"words": ("h",)}


@pytest.fixture(params=FED)
def system(request: pytest.FixtureRequest) -> System:
    return FED[request.param]


@pytest.fixture(params=forcing.TRANSFORMATIONS)
def transformed(request: pytest.FixtureRequest, system: System) -> System:
    return forcing.TRANSFORMATIONS[request.param](system)


def targets(system: System) -> set[str]:
    return {v.name for v in system.of_kind("target")}


# --- the table and the adjoint ----------------------------------------------------------------------------------------


def test_the_forced_table_is_the_table_without_the_feedback(system: System):
    """What is cut are entries at another step; what is new are reads of targets, at those steps too."""
    forced = forcing.teacher_forced(system)
    cut = {v.key for v in forcing.vanished(system) if v.cut}
    kept, found = set(table(system).entries) - cut, set(table(forced).entries)
    new = found - kept
    assert kept <= found, f"{system.name}: {kept - found}"
    assert {source for _, source, _ in new} <= targets(system), f"{system.name}: {new}"
    assert cut and all(any(offset) for _, _, offset in cut), f"{system.name}: {cut}"
    assert {target for target, _, _ in new} == {target for target, _, _ in cut}


def test_what_stays_of_the_adjoint_is_the_same_term(system: System):
    """Forcing changes values, not the form of what it leaves: a gradient `δ y_hat[t-1].T` becomes `δ y[t-1].T`."""
    forced = forcing.teacher_forced(system)
    before, after = contributions(system), contributions(forced)
    swap = dict(pair.at(shift) for pair, shift in forcing.fed_back(system))
    assert after.keys() == before.keys() - {v.key for v in forcing.vanished(system)}
    for key in after.keys() - {key for key in after if key[0] == LOSS}:
        wanted = expr.replace(before[key], swap)
        assert after[key] == wanted, f"{system.name} {key}: {after[key]} against {wanted}"


def test_what_vanishes_comes_back_from_nowhere(system: System):
    """Nothing is cut but on the way from a prediction, and what else goes led there alone."""
    gone = forcing.vanished(system)
    cut = {v.entry.source.name for v in gone if v.cut}
    behind = {v.entry.target.name for v in gone if not v.cut}
    bars = forcing.teacher_forced(system).adjoint().equations
    assert behind <= cut and not any(f"{name}_bar" in bars for name in behind), f"{system.name}: {behind}"


def test_a_forced_prediction_hears_of_its_own_loss_only():
    jordan = catalogue.load("jordan")
    forced = forcing.teacher_forced(jordan).adjoint().equations["y_hat_bar"].rhs
    (lost,) = forcing.vanished(jordan)
    assert lost.key == ("h", "y_hat", (-1,)) and lost.cut
    assert lost.term in jordan.adjoint().equations["y_hat_bar"].rhs.args
    assert {v.name for v in expr.variables(forced)} == {"y_hat", "y"}
    assert {v.name for v in expr.variables(lost.term)} == {"U_h", "h_delta"}


def test_what_is_left_to_sweep(system: System):
    assert forcing.recurrent(system), system.name
    left = STILL_RECURRENT.get(system.name, ())
    assert forcing.recurrent(forcing.teacher_forced(system)) == left
    sampled = forcing.recurrent(forcing.scheduled_sampling(system))
    assert set(sampled) >= set(forcing.recurrent(system)) and any(n.endswith("_mix") for n in sampled)


def test_twice_transposed_is_the_table(transformed: System):
    local, twice = table(transformed), table(transformed).transposed().transposed()
    assert dict(local.entries) == dict(twice.entries)


def test_the_mixture_hands_back_what_the_mask_leaves():
    sampled = forcing.scheduled_sampling(WORDS)
    terms = contributions(sampled)
    y_mix, s, y_hat = (sampled.variables[n].var for n in ("y_mix", "s", "y_hat"))
    assert sampled.equations["y_mix"].rhs == s * sampled.variables["y"].var + (1 - s) * y_hat
    assert terms["y_mix", "y_hat", (0,)] == expr.scale(expr.add(expr.Ones(*expr.SCALAR), -s), y_mix.marked("bar"))


@pytest.mark.parametrize("name", catalogue.names())
def test_every_system_of_the_catalogue_is_forced_or_says_why_not(name: str):
    system = catalogue.load(name)
    feeds = {(s, o) for t, s, o in system.reads if s in system.outputs and any(o) and t != LOSS and system.has_loss}
    for transform in forcing.TRANSFORMATIONS:
        if feeds:
            forced = catalogue.load(f"{transform}({name})")
            assert not feeds & {(s, o) for _, s, o in forced.reads}
        else:
            with pytest.raises(DeriveError, match=rf"^{name} (has no target to force|feeds no output back): "):
                catalogue.load(f"{transform}({name})")


# --- checks and gradients ---------------------------------------------------------------------------------------------


def test_its_derivations_are_right(transformed: System):
    for query in ("table", "adjoint", "tangent"):
        verdict = transformed.derive(query).check(SEED)
        assert verdict, f"{transformed.name} {query}: {verdict}"


def test_its_code_has_the_gradients_of_finite_differences(transformed: System):
    error = transformed.compile("numpy").module.check(SEED)
    assert error < 1e-7, f"{transformed.name}: {error} at seed {SEED}"


def test_without_a_recurrence_the_code_sweeps_over_nothing():
    systems = [catalogue.load(name) for name in ("jordan", "teacher-forced(jordan)", "scheduled-sampling(jordan)")]
    assert [any(isinstance(item, Sweep) for item in schedule(s).forward) for s in systems] == [True, False, True]


def drawn(system: System, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], ...]:
    """Parameters, inputs, targets and boundary values of a chain."""
    sizes = {"n": 4, "m": 3, "q": 2}

    def draw(kind: str) -> dict[str, np.ndarray]:
        shapes = {v.name: [sizes[str(s)] for s in v.shape if s != 1] for v in system.of_kind(kind)}
        indexed = {v.name: (STEPS,) if v.indexed else () for v in system.of_kind(kind)}
        return {name: rng.uniform(-1, 1, (*indexed[name], *shape)) for name, shape in shapes.items()}

    initial = {b.key: rng.uniform(-1, 1, sizes[str(system.variables[b.variable].shape[0])]) for b in system.borders}
    return draw("parameter"), draw("input"), draw("target"), initial


def assert_same_gradients(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    for name, gradient in wanted.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-9, atol=1e-12, err_msg=f"{name} at seed {SEED}")


def by_hand(params, x, y, first, h, mask, stop=lambda value: value):  # type: ignore[no-untyped-def]
    """The loss of `words` by a loop, with what is fed back mixed as the mask says: 1 is the target."""
    import autograd.numpy as anp

    fed_back, loss = first, 0.0
    for t in range(STEPS):
        h = anp.tanh(params["W"] @ x[t] + params["U"] @ h + params["V"] @ fed_back + params["b"])
        e = anp.exp(params["R"] @ h)
        y_hat = e / anp.sum(e)
        loss = loss + anp.log(anp.sum(e)) - y[t] @ (params["R"] @ h)
        fed_back = stop(mask[t] * y[t] + (1 - mask[t]) * y_hat)
    return loss


def test_forced_gradients_are_those_of_a_loop():
    autograd = pytest.importorskip("autograd")
    forced = forcing.teacher_forced(WORDS)
    params, inputs, wanted, initial = drawn(forced, np.random.default_rng(SEED))
    loss, gradients = forced.compile("numpy").value_and_grad(params, inputs, wanted, initial)
    given = inputs["x"], wanted["y"], initial["y[0]"], initial["h[0]"], np.ones(STEPS)
    assert loss == pytest.approx(by_hand(params, *given), rel=1e-12)
    assert_same_gradients(gradients, autograd.grad(by_hand)(params, *given))


@pytest.mark.parametrize(
    "mask", [np.zeros(STEPS), np.ones(STEPS), np.array([1.0, 0, 0, 1, 0])], ids=["0", "1", "mixed"]
)
def test_gradients_of_scheduled_sampling_are_those_of_a_loop(mask: np.ndarray):
    autograd = pytest.importorskip("autograd")
    sampled = forcing.scheduled_sampling(WORDS)
    params, inputs, wanted, initial = drawn(sampled, np.random.default_rng(SEED))
    _, gradients = sampled.compile("numpy").value_and_grad(params, {**inputs, "s": mask}, wanted, initial)
    given = inputs["x"], wanted["y"], initial["y_mix[0]"], initial["h[0]"], mask
    assert_same_gradients(gradients, autograd.grad(by_hand)(params, *given))


def test_the_ends_of_the_mask_are_the_forced_and_the_free_running_system():
    rng = np.random.default_rng(SEED)
    params, inputs, wanted, initial = drawn(forcing.scheduled_sampling(WORDS), rng)
    first, h = initial["y_mix[0]"], initial["h[0]"]

    def gradients(system: System, key: str, **more: np.ndarray) -> dict[str, np.ndarray]:
        given = {"x": inputs["x"], **more}
        found = system.compile("numpy").value_and_grad(params, given, wanted, {key: first, "h[0]": h})[1]
        return {name: found[name] for name in params}

    mixed = forcing.scheduled_sampling(WORDS)
    forced = gradients(forcing.teacher_forced(WORDS), "y[0]")
    free = gradients(WORDS, "y_hat[0]")
    assert_same_gradients(gradients(mixed, "y_mix[0]", s=np.ones(STEPS)), forced)
    assert_same_gradients(gradients(mixed, "y_mix[0]", s=np.zeros(STEPS)), free)
    assert not np.allclose(forced["V"], free["V"])


def test_held_the_mixture_is_the_token_that_is_not_differentiated_through():
    """As in Bengio et al.: the values are the mixture's, and nothing flows through it."""
    verdict = forcing.scheduled_sampling(WORDS).derive("adjoint", hold="y_mix").check(SEED)
    assert verdict, verdict


def test_the_query_shows_what_is_cut_and_is_right(system: System):
    derivation = system.derive("forcing")
    assert derivation.check(SEED), system.name
    marked = [n for line in derivation.result for n in expr.walk(line) if isinstance(n, expr.Labelled)]
    assert len(marked) == len(forcing.vanished(system)), system.name
    assert ("still takes" in derivation.steps[-1].reason) == (system.name in STILL_RECURRENT)


SPELLED = [
    "0.5 * sum((y_hat[t] - y[t])**2)",
    "(y[t] - y_hat[t]).T @ (y[t] - y_hat[t])",
    "-y[t].T @ log(y_hat[t])",
    "sum(-y[t] * log(y_hat[t]) - (1 - y[t]) * log(1 - y_hat[t]))",
    "sum(abs(R @ h[t] - y[t]))",
    "squared_error(R @ h[t], y[t])",
]


@pytest.mark.parametrize("loss", SPELLED)
def test_a_loss_that_is_spelled_out_says_what_is_predicted(loss: str):
    system = fed("spelled", "h[t] = tanh(V @ y_hat[t-1])\ny_hat[t] = R @ h[t]", loss, inputs="", parameters="V R")
    assert {v.key for v in forcing.vanished(system) if v.cut} == {("h", "y_hat", (-1,))}
    assert not forcing.recurrent(forcing.teacher_forced(system))


# --- by name ----------------------------------------------------------------------------------------------------------


TITLES = {"teacher-forced": "with teacher forcing", "scheduled-sampling": "with scheduled sampling"}


@pytest.mark.parametrize("transform", forcing.TRANSFORMATIONS)
def test_a_name_loads_it(transform: str):
    system, jordan = catalogue.load(f"{transform}(jordan)"), catalogue.load("jordan")
    loose = f" {transform.upper().replace('-', '_')}( Jordan )"
    assert catalogue.load(system.name) is system is catalogue.named(loose)
    assert system.name == f"{transform}(jordan)"
    assert system.title == f"{jordan.title}, {TITLES[transform]}"
    assert system.reference.startswith(f"{jordan.reference}; ")


def test_the_table_of_names_is_that_of_the_functions():
    assert set(catalogue.TRANSFORMATIONS) == set(forcing.TRANSFORMATIONS)
    assert not set(catalogue.TRANSFORMATIONS) & set(catalogue.names())


def test_a_file_or_a_document_in_the_brackets(tmp_path: Path):
    (tmp_path / "cell.py").write_text(
        "from derive import System\n"
        "cell = System('cell', equations='''\nh[t] = tanh(U @ y_hat[t-1] + x[t])\ny_hat[t] = W @ h[t]\n''',\n"
        "  inputs='x: n', parameters='U W', targets='y: q', loss='squared_error(y_hat[t], y[t])')\n"
    )
    (tmp_path / "notes.md").write_text(
        "$$\\begin{aligned} h_t &= \\tanh(U \\hat y_{t-1} + W x_t) \\\\ \\hat y_t &= V h_t \\\\"
        " L &= \\sum_t \\tfrac12 \\lVert y_t - \\hat y_t \\rVert^2 \\end{aligned}$$\n"
    )
    for spec in (f"{tmp_path}/cell.py:cell", f"{tmp_path}/cell.py", f"{tmp_path}/notes.md"):
        system = catalogue.load(f"teacher-forced({spec})")
        assert [b.key for b in system.borders] == ["y[0]"], spec
        assert not forcing.recurrent(system)


def test_a_document_speaks_of_a_forced_system(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- derive: system teacher-forced(jordan) -->\n\n"
        "$$ \\nabla_{\\hat y_t} L = \\hat y_t - y_t $$\n\n"
        "<!-- derive: system jordan -->\n\n"
        "<!-- derive: expect fails -->\n$$ \\nabla_{\\hat y_t} L = \\hat y_t - y_t $$\n"
    )
    report = derive.verify(page)
    assert [c.verdict for c in report.claims] == ["holds", "fails"], str(report)


def test_the_command_line_knows_it(capsys: pytest.CaptureFixture[str]):
    assert main(["solve", "teacher-forced(jordan)", "dL/dU_h"]) == 0
    assert "y_{t-1}" in capsys.readouterr().out
    assert main(["show", "teacher-forced(gru)"]) == 2
    assert "gru has no target to force" in capsys.readouterr().err


TWO_TARGETS = System(
    "two", equations="h[t] = tanh(W @ h[t-1])", parameters="W", targets="y z", shapes="h: n",
    loss="squared_error(h[t], y[t]) + squared_error(h[t], z[t])",
)  # fmt: skip
LOGITS = fed(
    "logits", "h[t] = tanh(V @ o[t-1])\no[t] = R @ h[t]", "cross_entropy(o[t], y[t])",
    inputs="", parameters="V R", shapes="h: n, o: q", outputs="o",
)  # fmt: skip
NO_PREDICTION = System(
    "plain", equations="h[t] = tanh(W @ h[t-1])", parameters="W", targets="y", shapes="h: n", loss="h[t].T @ y[t]"
)
TAKEN = fed(
    "taken", "s[t] = tanh(V @ y_hat[t-1])\ny_hat[t] = R @ s[t]", inputs="", parameters="V R", shapes="s: n, y_hat: q"
)

BAD = [
    ("gru", "gru has no target to force: its loss is left abstract; give it one, "
            "targets='y: q', loss='squared_error(y_hat[t], y[t])'"),
    ("elman", "elman feeds no output back: y would take the place of y_hat[t-1], which no equation reads"),
    (LOGITS, "logits feeds no output back: y would take the place of its prediction at another step, "
             "which no equation reads"),
    (NO_PREDICTION, "plain has no target to force: its loss compares no output with one; "
                    "write it by squared_error, cross_entropy, logistic, or as a difference"),
    (TWO_TARGETS, "two compares one prediction with two targets, y and z: neither can replace it"),
    (catalogue.load("jordan").adjoint(), "jordan adjoint is derived from another system: force that one, then derive from it"),
]  # fmt: skip


@pytest.mark.parametrize(("system", "message"), BAD, ids=[getattr(s, "name", s) for s, _ in BAD])
def test_what_cant_be_forced(system: System | str, message: str):
    for transform in forcing.TRANSFORMATIONS.values():
        with pytest.raises(DeriveError) as error:
            transform(catalogue.load(system))
        assert str(error.value) == message


BAD_NAMES = [
    ("teacher-forced", "teacher-forced makes a system of another: say of which, as in teacher-forced(jordan)"),
    ("teacher-forced()", "teacher-forced makes a system of another: say of which, as in teacher-forced(jordan)"),
    ("teacher-forced(jordn)", "there is no system 'jordn' in the catalogue (did you mean jordan?); HINT"),
    (
        "teacher-force(jordan)",
        "there is no system 'teacher-force(jordan)' in the catalogue (did you mean teacher-forced?); HINT",
    ),
]


@pytest.mark.parametrize(("spec", "message"), BAD_NAMES)
def test_bad_names(spec: str, message: str):
    hint = "`derive list` shows all, and a system of your own is named as FILE.py:NAME"
    with pytest.raises(DeriveError) as error:
        catalogue.load(spec)
    assert str(error.value) == message.replace("HINT", hint)


def test_a_name_that_the_mask_needs():
    with pytest.raises(DeriveError, match=r"^taken has a variable s, which scheduled sampling needs; rename that one$"):
        forcing.scheduled_sampling(TAKEN)


def test_a_transformed_name_runs_no_file():
    with pytest.raises(DeriveError, match="there is no system"):
        catalogue.named(f"teacher-forced({MY_CELL}:my_cell)")
