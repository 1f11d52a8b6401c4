"""What several tests need: a small derivation built by hand, the programs that read its formats, and no skips in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import derive
from derive.derivation import Derivation, Step
from derive.expr import Equals, Labelled, Partial, add, apply, diag, had, mul, power
from derive.expr import Path as Passing
from derive.notation import Notation
from derive.system import System

collect_ignore = ["corpus", "data"]  # documents for tests to read: their claims are no tests

IN_CI = os.environ.get("CI") == "true"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    report = yield
    return _never_skipped(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    return _never_skipped(report)


def _never_skipped(report: Any) -> Any:
    """In CI everything is installed, so a test that is skipped is a test that is missing: it fails."""
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"skipped in CI, where every tool must be there: {reason}"
    return report


def program(*names: str) -> str:
    """The first of the programs that is installed; the test is skipped where none is."""
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"{names[0]} is not installed")


KATEX_OPTIONS = {"displayMode": True, "strict": "error"}
REFUSED_BY_KATEX = """
function refused(fragments, options) {
  const found = [];
  for (const fragment of fragments) {
    try { katex.renderToString(fragment, options) } catch (error) { found.push(fragment + "\\n" + error.message) }
  }
  return found;
}
"""


@pytest.fixture(scope="session")
def katex_script() -> Any:
    """The KaTeX of the pages in a JavaScript engine."""
    mini_racer = pytest.importorskip("py_mini_racer")
    context = mini_racer.MiniRacer()
    context.eval((Path(derive.__file__).parent / "render" / "katex" / "katex.min.js").read_text(encoding="utf-8"))
    context.eval(REFUSED_BY_KATEX)
    return context


@pytest.fixture(scope="session")
def katex(katex_script: Any) -> Callable[[str], str]:
    """KaTeX as the pages use it: a fragment to HTML.  Raises where the fragment is no valid TeX math."""
    return lambda fragment: katex_script.call("katex.renderToString", fragment, KATEX_OPTIONS)


@pytest.fixture(scope="session")
def refused_by_katex(katex_script: Any) -> Callable[[Iterable[str]], list[str]]:
    """Those of many fragments that are no valid TeX math, each with KaTeX's reason; their HTML stays where it is."""
    return lambda fragments: katex_script.call("refused", list(fragments), KATEX_OPTIONS)


@dataclass(frozen=True)
class Verdict:
    """What the renderers ask of a verdict: whether it is good, a sentence, its fields."""

    verdict: str
    error_bound: float

    def __bool__(self) -> bool:
        return self.verdict == "holds"

    def __str__(self) -> str:
        return "The formula holds exactly over F_p, p = 2⁶¹ − 1, T = 1…4, error at most 1e-30."


@pytest.fixture(scope="session")
def gate() -> System:
    """One update gate before a tanh: the smallest system with two paths from `h[t-1]` to `h[t]`."""
    return System(
        "gate",
        equations="""
            z[t] = sigmoid(W_z @ x[t] + U_z @ h[t-1] + b_z)
            h[t] = z[t] * h[t-1] + (1 - z[t]) * tanh(W @ x[t])
        """,
        inputs="x: m",
        parameters="W_z: n x m, U_z: n x n, b_z: n, W: n x m",
        shapes="h: n",
        title="A gate & a <tanh>",
        reference="Made for the tests, 100 % by hand; cf. Müller_1990.",
    )


@pytest.fixture(scope="session")
def derivation(gate: System) -> Derivation:
    """`dh[t]/dh[t-1]` of `gate`, its steps written by hand."""
    z, h, x = (gate.variables[name].var for name in ("z", "h", "x"))
    before = h.at((h.index[0] - 1,))
    jacobian = Partial(h, before)
    slope = had(z, 1 - z)
    through = mul(diag(had(before - apply("tanh", mul(gate.variables["W"].var, x)), slope)), gate.variables["U_z"].var)
    forward = tuple(Equals(e.target, e.rhs) for e in gate.equations.values())
    collected = add(Labelled(diag(z), Passing(before, h)), Labelled(through, Passing(before, z, h)))
    steps = (
        Step("definition", "Forward equations", "The cell, for `t` = 1…T, as it is given.", (), forward),
        Step(
            "table",
            "Local partials",
            "σ' = σ − σ², entry by entry & at `z[t]`.",
            forward[:1],
            (Equals(slope, z - power(z, 2)),),
        ),
        Step(
            "paths",
            "Paths from `h[t-1]`",
            "Two paths, h̃_t aside: 50 % <each>.",
            (),
            (Passing(before, h), Passing(before, z, h)),
        ),
        Step(
            "chain rule",
            "Collected",
            "One term for each path; ∂h_t/∂h_{t-1} is their sum.",
            forward[1:2],
            (Equals(jacobian, collected),),
        ),
    )
    return Derivation(
        gate, "dh[t]/dh[t-1]", steps, collected, Notation(), {"hold": (), "unroll": None}, Verdict("holds", 1e-30)
    )
