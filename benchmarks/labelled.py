"""Verdicts on lines that were labelled true or false without a look at the checker: `python benchmarks/labelled.py [NAME …]`.

The documents stand in `tests/labelled/`.  Printed are true lines that fail, false ones that hold, and a table of labels
against verdicts; exits with 1 where there is one of these that `AGREED` does not explain.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

from derive.reader import document
from derive.verdicts.report import VERDICTS
from derive.verdicts.verify import verify_file

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from labelled_lines import NAMES, labelled

AGREED = {
    ("c03", "F"): "one line in each of two layouts: either may be the document's",
    ("d01", "F"): "an empty sum beside a derivative that is zero",
}
"""Labels that were given up: document and label, and why the verdict is right."""


def main(names: list[str]) -> int:
    counts: Counter[tuple[str, str]] = Counter()
    wrong, start = 0, time.process_time()
    for name in names:
        lines, seen = labelled(name), Counter[int]()
        for finding in verify_file(document.parse(lines.text, f"{name}.{lines.kind}", lines.kind)).findings:
            label = lines.label(finding.place.line, seen[finding.display])
            seen[finding.display] += 1
            counts[label, finding.verdict] += 1
            if (label, finding.verdict) in {("T", "fails"), ("F", "holds")}:
                why = AGREED.get((name, label), "")
                wrong += not why
                print(
                    f"{finding.place}: labelled {label}, {finding.verdict}{': ' if why else ''}{why}\n  {finding.latex}"
                )
    print(f"{'':8}" + "".join(f"{verdict:>11}" for verdict in VERDICTS))
    for label, title in (("T", "true"), ("F", "false")):
        print(f"{title:8}" + "".join(f"{counts[label, verdict]:11}" for verdict in VERDICTS))
    print(f"{time.process_time() - start:.0f} s CPU")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or NAMES))
