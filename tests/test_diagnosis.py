"""Why a line is wrong: every cause is named for a line of its kind, and none whose repair does not hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random

import pytest
from corpus_means import means
from mutants import Mutant, mutants

from derive import expr
from derive.canonical import canonical
from derive.catalogue import load, names
from derive.check import Claim, claim_ranges, system_claims
from derive.expr import Equals
from derive.field import P
from derive.notation import Notation
from derive.oracles.check import Trial
from derive.printing import text
from derive.reader.understand import read
from derive.system import System
from derive.verdicts.causes.diagnosis import diagnose
from derive.verdicts.causes.elimination import small, solve
from derive.verdicts.causes.sites import sites
from derive.verdicts.causes.slips import COUNTED, ROWS, SUMMED
from derive.verdicts.report import KINDS, Diagnosis


@dataclass(frozen=True)
class Asked:
    """The context of a line: the question that a diagnosis puts to it."""

    system: System
    derived: System | None = None
    hold: tuple[str, ...] = ()
    loss: str | None = None
    ranges: tuple = ()
    seed: int = 0

    def trial(self, formula: Equals) -> Trial:
        ranges = {**dict(self.ranges), **dict(claim_ranges(formula, self.system))}
        return Trial(
            self.system, formula, derived=self.derived, hold=self.hold, loss=self.loss, ranges=ranges, seed=self.seed
        )

    def holds(self, formula: Equals) -> bool:
        return self.trial(formula).verdict("field").verdict == "holds"

    def survey(self, formula: Equals) -> list[tuple[dict[str, int], bool]]:
        return self.trial(formula).survey()


def asked(claim: Claim) -> Asked:
    return Asked(claim.system, claim.derived, claim.hold, ranges=claim.ranges)


def line(system: System, written: str) -> Equals:
    """A line in the typed form of the corpus."""
    return means(written, {name: (v.shape, v.indexed) for name, v in system.variables.items()})[0]


def plain(node) -> str:
    return " ".join(text(node, Notation()).split())


GRU = "D(h[t], h[t-1]) == diag(z[t]) + "
Z_PATH = "diag((h[t-1] - h_tilde[t]) * z[t] * (1 - z[t])) @ U_z"
H_PATH = "diag(1 - z[t]) @ D(h_tilde[t], h[t-1])"
SKIP = (
    "bar(h[t]) == grad(L[t], h[t]) + M.T @ (h[t+2] * (1 - h[t+2]) * bar(h[t+2])) + W.T @ (h[t+1] * (1 - h[t+1]) * {})"
)

CASES = (
    ("gru", GRU + H_PATH, "missing-path",
     "∂h_t/∂h_{t-1} misses the path h_{t-1} → z_t → h_t: add diag(h_{t-1} - h̃_t) · ∂z_t/∂h_{t-1}"),
    ("gru", GRU + f"{Z_PATH} + diag((1 - z[t]) * (1 - h_tilde[t]**2) * r[t]) @ U_h", "missing-path",
     "∂h_t/∂h_{t-1} misses the path h_{t-1} → r_t → h̃_t → h_t: "
     "add diag((1 - z_t) ⊙ (1 - h̃_t²) ⊙ (U_h h_{t-1} + c_h) ⊙ r_t ⊙ (1 - r_t)) U_r"),
    ("gru", GRU + f"2 * {Z_PATH} + {H_PATH}", "double-count",
     "the path h_{t-1} → z_t → h_t is counted twice: take away diag(h_{t-1} - h̃_t) · ∂z_t/∂h_{t-1}"),
    ("lstm", "bar(c[t]) == bar(h[t]) * o[t] * (1 - m[t]**2)", "missing-path",
     "∇_{c_t} L misses the path c_t → c_{t+1}: add f_{t+1} ⊙ ∇_{c_{t+1}} L"),
    ("lstm", "bar(c[t]) == bar(h[t]) * o[t] * (1 - m[t]**2) + bar(c[t+1]) * f[t]", "index",
     "f_t is read at the wrong index: write f_{t+1}"),
    ("lstm", "bar(i[t]) == bar(c[t]) * i[t]", "symbol", "i_t stands where g_t belongs"),
    ("skip-rnn", SKIP.format("bar(h[t+1]) + h[t+1] * (1 - h[t+1]) * (W.T @ (h[t+2] * (1 - h[t+2]) * bar(h[t+2])))"),
     "double-count", "the path h_t → h_{t+1} → h_{t+2} is counted twice: "
     "take away Wᵀ (h_{t+1} ⊙ (1 - h_{t+1}) ⊙ (Wᵀ (h_{t+2} ⊙ (1 - h_{t+2}) ⊙ ∇_{h_{t+2}} L)))"),
    ("rnn", "D(h[t], h[t-1]) == diag(1 - h[t]**2) @ W.T", "transpose", "Wᵀ is transposed: write W"),
    ("rnn", "D(h[t], h[t-1]) == W @ diag(1 - h[t]**2)", "order",
     "the factors of W diag(1 - h_t²) stand in the wrong order: write diag(1 - h_t²) W"),
    ("rnn", "D(h[t], h[t-1]) == (diag(1 - h[t]**2) @ W).T", "layout",
     "Wᵀ diag(1 - h_t²) is not transposed: write diag(1 - h_t²) W"),
    ("rnn", "D(h[t], h[t-1]) == diag(1 + h[t]**2) @ W", "sign", "the sign of h_t² is wrong: write -h_t²"),
    ("rnn", "D(h[t], h[t-1]) == diag(h[t] * (1 - h[t])) @ W", "activation",
     "h_t ⊙ (1 - h_t) is the derivative of another activation: write 1 - h_t²"),
    ("rnn", "D(h[t], h[t-1]) == diag(tanh(a[t])) @ W", "activation",
     "the derivative of the activation belongs here: write tanh'(a_t) for tanh(a_t)"),
    ("rnn", "D(h[t], h[t-1]) == diag(1 - h[t]) @ W", "activation", "1 - h_t stands where 1 - h_t² belongs"),
    ("rnn", "D(h[t], h[t-1]) == W", "activation", "a factor is missing in W: write diag(1 - h_t²) W"),
    ("rnn", "bar(o[t]) == (y_hat[t] - y[t]) / 2", "factor", "the number in front of ½ (ŷ_t - y_t) is wrong: write ŷ_t - y_t"),
    ("rnn", "D(h[t], h[t-1]) == diag(1 - h[t]**2) * W", "hadamard",
     "the product in diag(1 - h_t²) ⊙ W is a matrix product: write diag(1 - h_t²) W"),
    ("rnn", "bar(W) == Sum(diag(1 - h[t]**2) @ bar(h[t]) @ h[t-1].T, (t, 1, T-2))", "bounds",
     "the sum ends at t = T-2: it must end at t = T"),
    ("rnn", "bar(W) == diag(1 - h[t]**2) @ bar(h[t]) @ h[t-1].T", "missing-sum",
     "a sum is missing: write Σ_{t=1..T} ((1 - h_t²) ⊙ ∇_{h_t} L) h_{t-1}ᵀ"),
    ("rnn", "bar(h[t]) == V.T @ bar(o[t]) + W.T @ (1 - h[t+1]**2)", "factor",
     "a factor is missing in Wᵀ (1 - h_{t+1}²): write Wᵀ diag(∇_{h_{t+1}} L) (1 - h_{t+1}²)"),
    ("rnn", "D(h[t], h[t-2]) == D(h[t], h[t-1]) @ D(h[t-1], h[t-2]) + W", "extra-term",
     "the term W does not belong here"),
    ("rnn", "bar(o[t]) == y[t] - y_hat[t]", "sign", "the sign of y_t - ŷ_t is wrong: write ŷ_t - y_t"),
    ("rnn", "bar(o[t]) == 2 * (y_hat[t] - y[t])", "factor",
     "the number in front of 2 (ŷ_t - y_t) is wrong: write ŷ_t - y_t"),
    ("gru", "D(h[t], z[t]) == diag(h_tilde[t] - h[t-1])", "sign",
     "the sign of diag(h̃_t - h_{t-1}) is wrong: write diag(h_{t-1} - h̃_t)"),
    ("gru", GRU.replace("z", "1 - z") + Z_PATH.replace("h[t-1] - h_tilde[t]", "h_tilde[t] - h[t-1]")
     + " + diag(z[t]) @ D(h_tilde[t], h[t-1])", "symbol", "z_t and 1 - z_t are exchanged"),
    ("gru", "D(z[t], h[t-1]) == diag(z[t]) @ U_z", "factor",
     "the factor 1 - z_t is missing in z_t: write z_t ⊙ (1 - z_t)"),
    ("gru", "bar(b_z) == Sum(z[t] * (h[t-1] - h_tilde[t]) * bar(h[t]), (t, 1, T))", "factor",
     "the factor 1 - z_t is missing in z_t ⊙ (h_{t-1} - h̃_t) ⊙ ∇_{h_t} L: "
     "write z_t ⊙ (1 - z_t) ⊙ (h_{t-1} - h̃_t) ⊙ ∇_{h_t} L"),
    ("rnn", "bar(h[t]) == Sum(D(h[s], h[t]).T @ V.T @ (y_hat[s] - y[s]), (s, 1, t))", "bounds",
     "the sum runs over the wrong steps: write Σ_{s=t..T} (∂h_s/∂h_t)ᵀ Vᵀ (ŷ_s - y_s)"),
    ("rnn", "bar(h[t]) == Sum(D(h[t], h[k]).T @ grad(L[k], h[k]), (k, t, T))", "index",
     "∂h_t/∂h_k is read at the wrong indices: write ∂h_k/∂h_t"),
    ("rnn", "bar(h[t]) == Sum(D(h[k], h[t]).T @ bar(h[k]), (k, t, T))", "double-count",
     "∇_{h_k} L is of the losses of all later steps, which other terms count too: write ∇_{h_k} L_k"),
    ("rnn", "D(h[t], h[k]) == Prod(diag(1 - h[j]**2) @ W, (j, k, t))", "bounds",
     "the product starts at j = k: it must start at j = k+1"),
    ("birnn", "bar(h_fwd[t]) == V_fwd.T @ bar(o[t]) + U_fwd.T @ ((1 - h_fwd[t-1]**2) * bar(h_fwd[t-1]))", "index",
     "U_{fwd}ᵀ ((1 - h_{fwd,t-1}²) ⊙ ∇_{h_{fwd,t-1}} L) is read at the wrong index: "
     "write U_{fwd}ᵀ ((1 - h_{fwd,t+1}²) ⊙ ∇_{h_{fwd,t+1}} L)"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "written", "kind", "sentence"), CASES, ids=[f"{c[0]} {c[1]}" for c in CASES])
def test_the_cause_is_named_and_said(name, written, kind, sentence):
    system = load(name)
    question = Asked(system)
    cause = diagnose(question, line(system, written))[0]
    assert (cause.kind, cause.sentence) == (kind, sentence)
    assert question.holds(cause.repair)


def test_a_repair_says_something():
    system = load("rnn")
    for written in (
        "D(h[t], h[k]) == W",
        "D(h[k], h[t+1]) == Prod(W, (j, t, k))",
        "bar(h[t]) == (1 - h[t]) * bar(h[t])",
    ):
        formula = line(system, written)
        for cause in diagnose(Asked(system), formula):
            added = set(expr.walk(cause.repair.rhs)) - set(expr.walk(formula.rhs))
            assert not any(isinstance(n, expr.Zero) for n in added) and formula.lhs not in added, plain(cause.repair)


def test_an_end_of_the_lattice_is_a_condition_and_a_term():
    system = load("rnn")
    wrong = line(system, "bar(h[t]) == W.T @ ((1 - h[t+1]**2) * bar(h[t+1]))")
    end, path = diagnose(Asked(system, loss="last"), wrong)
    assert (end.kind, end.sentence) == ("boundary", "true for t < T only: for t = T the two sides differ")
    assert end.repair.rhs is wrong and plain(end.repair.lhs) == "t < T"
    assert (path.kind, path.paths) == ("missing-path", (("h[t]", "o[t]"),))


def test_a_line_that_is_true_at_an_end_only_has_no_condition():
    system = load("rnn")
    for written in ("D(h[t], h[k]) == Prod(diag(1 - h[j]**2) @ W.T, (j, k+1, t))", "bar(h[t]) == V.T @ bar(o[t])"):
        causes = diagnose(Asked(system, loss="last"), line(system, written))
        assert causes and all(cause.kind != "boundary" for cause in causes), causes


def test_a_line_with_two_mistakes_has_a_cause_for_each():
    system = load("skip-rnn")
    twice = "bar(h[t+1]) + h[t+1] * (1 - h[t+1]) * (W.T @ (h[t+2] * (1 - h[t+2]) * bar(h[t+2])))"
    wrong = line(system, SKIP.format(twice).replace("grad(L[t], h[t]) + ", ""))
    counted, missing = diagnose(Asked(system), wrong)
    assert (counted.kind, counted.paths) == ("double-count", (("h[t]", "h[t+1]", "h[t+2]"),))
    assert (missing.kind, plain(missing.missing)) == ("missing-path", "∂L_t/∂h_t")
    assert counted.repair == missing.repair and Asked(system).holds(missing.repair)


def test_what_no_small_change_mends_has_no_cause():
    system = load("rnn")
    assert diagnose(Asked(system), line(system, "bar(W) == Sum(U @ U.T @ W, (t, 1, T))")) == ()


def test_a_held_gate_is_no_missing_path():
    system = load("gru")
    held = line(system, GRU + H_PATH.replace("D(h_tilde[t], h[t-1])", "diag((1 - h_tilde[t]**2) * r[t]) @ U_h"))
    (cause,) = diagnose(Asked(system, hold=("z",)), held)
    assert {name for path in cause.paths for name in path} & {"z[t]"} == set(), cause.sentence


# --- the texts ---------------------------------------------------------------------------------------------------------

TEXTS = Path(__file__).parents[1] / "derivations" / "marked"
MISSING = "diag(h_{t-1}) · ∂z_t/∂h_{t-1}", "-diag(h̃_t) · ∂z_t/∂h_{t-1}", "diag(h_{t-1} - h̃_t) · ∂z_t/∂h_{t-1}"


def wrong_lines(text: str, kind: str) -> list[tuple[System, Equals]]:
    """The lines of a document that expect this kind of mistake, at one index, where they are wrong so."""
    claims = [
        c for c in read(TEXTS / text).claims if c.expect and c.expect[1] == kind and isinstance(c.formula, Equals)
    ]
    lines = [(c.system, at_one_index(c.system, c.formula)) for c in claims]
    return [(system, formula) for system, formula in lines if not Asked(system).holds(formula)]


def at_one_index(system: System, formula: Equals) -> Equals:
    """The author writes `m` and `t` for the same step."""
    (t,) = system.lattice.indices
    letters = {s for v in expr.variables(formula) for i in v.index for s in i.free_symbols}
    return expr.at(formula, {m: t for m in letters if str(m).startswith("m")})


def test_the_path_that_text_000_misses():
    causes = [diagnose(Asked(system), formula) for system, formula in wrong_lines("text-000.md", "missing-path")]
    named = [(cause.kind, plain(cause.missing)) for (cause,) in causes]
    assert named == [("missing-path", term) for term in MISSING]


def test_the_path_that_text_003_counts_twice():
    ((system, formula),) = wrong_lines("text-003.md", "double-count")
    (cause,) = diagnose(Asked(system), formula)
    assert (cause.kind, cause.paths) == ("double-count", (("h[t]", "h[t+1]", "h[t+2]"),))
    assert plain(cause.repair).count("W") < plain(formula).count("W")


# --- every system ------------------------------------------------------------------------------------------------------

SAMPLE = ("rnn", "gru", "lstm-coupled", "skip-rnn", "mdrnn", "birnn")
EACH = 8


@cache
def wrong(name: str) -> tuple[Mutant, ...]:
    """Some single edits of lines of a system, of kinds as different as can be, that are wrong."""
    random = Random(name)
    found: list[Mutant] = []
    claims = system_claims(load(name))
    random.shuffle(claims)
    used: Counter[str] = Counter()
    for claim in claims:
        made = [m for m in mutants(claim) if m.well_shaped]
        random.shuffle(made)
        chosen = min(made, key=lambda m: used[m.edit.name], default=None)
        if chosen is not None and asked(claim).trial(chosen.equation).verdict("field").verdict == "fails":
            used[chosen.edit.name] += 1
            found.append(chosen)
        if len(found) == EACH:
            break
    return tuple(found)


@cache
def found(name: str) -> tuple[tuple[Mutant, tuple[Diagnosis, ...]], ...]:
    return tuple((mutant, diagnose(asked(mutant.claim), mutant.equation)) for mutant in wrong(name))


@pytest.mark.parametrize("name", SAMPLE)
def test_every_repair_holds_by_other_seeds(name):
    for mutant, causes in found(name):
        question = replace(asked(mutant.claim), seed=7)
        for cause in causes:
            assert cause.kind in KINDS and cause.sentence
            repair = cause.repair
            mended = question.holds(repair) if isinstance(repair, Equals) else cause.kind == "boundary"
            assert mended, f"{mutant}\n{cause.kind}: {cause.sentence}\n{repair}"


def terms_of(root) -> int:
    return sum(len(n.args) for n in expr.walk(root) if isinstance(n, expr.Add))


@pytest.mark.parametrize("name", SAMPLE)
def test_a_repair_is_an_edit_of_the_line(name):
    """It is a term longer at most, but for paths that are missing, and no two causes come to the same."""
    for mutant, causes in found(name):
        for cause in causes:
            if isinstance(cause.repair, Equals) and cause.kind != "missing-path":
                longest = max(terms_of(mutant.equation) + 2, terms_of(mutant.claim.equation))
                assert terms_of(cause.repair) <= longest, f"{mutant}\n{cause.repair}"
        assert len({(c.kind, canonical(c.repair)) for c in causes}) == len(causes), mutant


def test_nearly_every_wrong_line_gets_a_cause_and_the_right_one():
    every = [pair for name in SAMPLE for pair in found(name)]
    named = [causes for _, causes in every if causes]
    right = [m for m, causes in every if m.causes & {c.kind for c in causes}]
    assert len(named) >= 0.95 * len(every), [str(m) for m, causes in every if not causes]
    assert len(right) >= 0.90 * len(every), [str(m) for m, _ in every if m not in right]


@pytest.mark.parametrize("name", SAMPLE[:4])
def test_sides_of_different_shapes_are_no_trouble(name):
    claims = Random(name).sample(system_claims(load(name)), 8)
    made = [m for claim in claims for m in mutants(claim) if not m.well_shaped]
    for mutant in Random(name).sample(made, 2):
        causes = diagnose(asked(mutant.claim), mutant.equation)
        assert all(asked(mutant.claim).holds(cause.repair) for cause in causes), mutant


def test_the_same_line_always_gets_the_same_cause():
    for mutant, causes in found("gru")[:3]:
        assert diagnose(asked(mutant.claim), mutant.equation) == causes


# --- its parts ---------------------------------------------------------------------------------------------------------


def test_every_kind_of_a_row_is_a_kind():
    assert {kind for rows in (*ROWS, SUMMED, *COUNTED.values()) for kind, _ in rows} <= set(KINDS)


@pytest.mark.parametrize("name", names())
def test_a_site_puts_back_what_stood_there(name):
    for claim in system_claims(load(name))[:20]:
        for site in sites(claim.equation):
            assert site.put(site.node) == claim.equation, site


def test_elimination_finds_small_coefficients():
    random = Random(1)
    columns = [[random.randrange(P) for _ in range(9)] for _ in range(4)]
    wanted = [1, -1, 0, 2]
    target = [sum(c * column[k] for c, column in zip(wanted, columns, strict=True)) % P for k in range(9)]
    solution = solve(columns, target)
    assert [small(c) for c in solution] == wanted
    assert solve(columns, [*target[:-1], target[-1] + 1]) is None
    assert small(pow(2, -1, P)) == pytest.approx(0.5) and small(random.randrange(10, P - 10)) is None
