"""The site: every document in derivations/ and every system of the catalogue as a page, in site/.

    python build_docs.py                 all that has changed since the last run
    python build_docs.py --anew -o /tmp/site

Works offline; needs `pip install 'derive-bptt[docs]'`, and a TeX only for the PDFs.  The exit code is 1 if a formula of a page is
not as it should be, 2 if a page can't be made.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from derive.site.build import run

ROOT = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the site from derivations/ and the catalogue.")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "site", metavar="FOLDER", help="default: site")
    parser.add_argument(
        "-j", "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: all cores)"
    )
    parser.add_argument("--anew", action="store_true", help="make every page, whatever was made before")
    options = parser.parse_args()
    return run(ROOT, options.output, jobs=max(1, options.jobs), anew=options.anew)


if __name__ == "__main__":
    raise SystemExit(main())
