"""Reports made by hand, over formulas that the reader read: what the formats are tested with, whoever judges.

`whole()` has a claim of every category; the document between its formulas tries to break out of every format.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from derive.errors import Place
from derive.printing import latex
from derive.reader.claims import Claim
from derive.reader.document import parse
from derive.reader.understand import understand
from derive.verdicts.report import Assumption, Certificate, Diagnosis, FileReport, Finding, Numeric, Report

DOCUMENT = r"""# Homework

<!-- derive: system gru-before -->

$$ a_t = W_z x_t $$

$$ \frac{\partial h_t}{\partial h_{t-1}} = \operatorname{diag}(z_t)
   + \operatorname{diag}((1 - z_t) \odot (1 - \tilde h_t^2)) U_h \operatorname{diag}(r_t) $$

## Gradients

$$ \frac{\partial L}{\partial U_z} = \sum_{t=1}^{T} \frac{\partial L}{\partial h_t} \frac{\partial h_t}{\partial U_z} $$

<!-- derive: expect fails transpose -->
$$ \frac{\partial L}{\partial W_z} = \sum_{t=1}^{T} x_t \delta z_t^\top $$

$$ h_t = \spam{<script>alert(1)</script> % $&amp; ]]> } $$

<!-- derive: skip -->
$$ z_t = 1 $$

$$ \frac{\partial h_t}{\partial h_{t-1}} = \frac{\partial h_t}{\partial h_{t-1}} $$
"""
FIELD = Certificate("field", seeds=2, points=48, prime_bits=61, error_bound=1.41e-24)
BALLS = Certificate(
    "ball", at="entry (1, 2) at n = 3, T = 2, t = 1", left="0.2134 ± 1e-52", right="0.1127 ± 1e-52", points=1
)


@cache
def claims() -> tuple[Claim, ...]:
    return understand(parse(DOCUMENT, "home work,1.md", "md")).claims


def whole(strict: bool = False) -> Report:
    """One document with a claim of every category, one that can't be used."""
    named, jacobian, total, transposed, unread, skipped, same = claims()
    mended = same.formula
    wrong = Diagnosis(
        "missing-path",
        "∂h_t/∂h_{t-1} misses the path h_{t-1} → z_t → h_t: add diag((h_{t-1} − h̃_t) ∘ z_t ∘ (1 − z_t)) U_z",
        (("h[t-1]", "z[t]", "h[t]"),),
        jacobian.formula.rhs,  # type: ignore[union-attr]
        mended,
    )
    only_if = (Assumption("∂h_t/∂U_z is the immediate partial", "index"),)
    findings = [
        made(named, "defines", reason="a, a vector of n entries"),
        made(jacobian, "fails", causes=(wrong,), certificate=BALLS, numeric=Numeric("autograd", 0.2389)),
        made(total, "holds-if", assumptions=only_if, certificate=FIELD, readings=("gradients are columns",)),
        made(transposed, "fails", causes=(Diagnosis("transpose", "a transpose is missing", (), None, mended),)),
        made(unread, "unread", reason=unread.unread, caret=unread.caret),
        made(skipped, "defines", skipped=True),
        made(same, "fails", inherits=2),
        made(same, "undecided", reason="nested 14 deep: 12 levels of primes are at hand"),
        made(same, "holds", expected=("fails", "sign"), as_expected=False),
        made(same, "holds", certificate=FIELD, numeric=Numeric("autograd", 3.1e-16)),
    ]
    findings = [replace(finding, n=n) for n, finding in enumerate(findings, 1)]
    name = "home work,1.md"
    broken = FileReport("b\x1b[31m.md", (), (), "b.md:3:7: there is no directive 'hodl' (did you mean hold?)", None)
    broken = replace(broken, trouble_place=Place(broken.file, 3, 7))
    return Report((FileReport(name, ("gru-before",), tuple(findings), seconds=0.25), broken), strict)


def made(claim: Claim, verdict: str, **fields: Any) -> Finding:
    """The claim with a verdict; what its directive expects is as the document says."""
    said = {"formula": claim.formula, "expected": claim.expect, "display": claim.display, **fields}
    return Finding(claim.n, claim.place, claim.latex, claim.kind, verdict, **said)


def in_a_notebook() -> Report:
    """A wrong line in a cell, which is no line of the file."""
    claim = claims()[1]
    finding = replace(made(claim, "fails"), place=Place("a.ipynb:cell 3", 5, 1))
    return Report((FileReport("a.ipynb", ("gru",), (finding,)),))


def written(report: Report) -> list[str]:
    """The LaTeX of every repair."""
    return [latex(cause.repair) for claim in report.claims for cause in claim.causes if cause.repair is not None]
