"""Lines that someone who had not seen the checker labelled true or false: a sample of the documents in `labelled/`.

All of them: `python benchmarks/labelled.py`.
"""

from __future__ import annotations

from collections import Counter

import pytest
from labelled_lines import labelled

from derive.reader import document
from derive.verdicts.verify import BROKEN, verify_file

SAMPLE = ("a02", "a07", "a09", "a10", "a11", "a12", "b03", "c02", "c05")


@pytest.mark.parametrize("name", SAMPLE)
def test_no_true_line_fails_and_no_false_one_holds(name):
    lines = labelled(name)
    report = verify_file(document.parse(lines.text, f"{name}.{lines.kind}", lines.kind))
    assert report.trouble is None
    seen: Counter[int] = Counter()
    for finding in report.findings:
        label = lines.label(finding.place.line, seen[finding.display])
        seen[finding.display] += 1
        said = f"{finding.place}: labelled {label}, {finding.verdict}: {finding.latex}"
        assert (label, finding.verdict) not in {("T", "fails"), ("F", "holds")}, said
        assert BROKEN not in finding.reason, said
