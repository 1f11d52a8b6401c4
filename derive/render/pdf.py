"""Derivations as a PDF, by the TeX that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from derive.errors import DeriveError
from derive.render import tex

if TYPE_CHECKING:
    from derive.derivation import Derivation

SECONDS = 120


def render(derivations: Sequence[Derivation]) -> bytes:
    """The `.tex` document, compiled.  Raises `DeriveError` where pdflatex is missing or fails."""
    return compile_tex(tex.render(derivations))


def compile_tex(source: str) -> bytes:
    """What pdflatex makes of `source`, the same bytes for the same source."""
    program = shutil.which("pdflatex")
    if program is None:
        raise DeriveError(
            "a PDF needs pdflatex, which is not installed; write a .tex or .html file instead, "
            "or install TeX (Debian: texlive-latex-base texlive-latex-recommended lmodern)"
        )
    with tempfile.TemporaryDirectory(prefix="derive-") as folder:
        Path(folder, "derivation.tex").write_text(source, encoding="utf-8")
        command = [program, "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "derivation.tex"]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1", "max_print_line": "1000"}
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            raise DeriveError(f"pdflatex took more than {SECONDS} seconds; write a .tex file instead") from None
        if done.returncode:
            raise DeriveError(f"pdflatex failed: {_complaint(done.stdout)}; write a .tex file and look there")
        return Path(folder, "derivation.pdf").read_bytes()


def _complaint(log: bytes) -> str:
    """The first error of the log and the line that it stands in."""
    lines = log.decode("utf-8", "replace").splitlines()
    found = [line.lstrip("! ") for line in lines if line.startswith(("! ", "l."))]
    return " ".join(found[:2]) or "no reason given"
