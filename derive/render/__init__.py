"""What a person sees of derivations: one file a format.

The modules here have a function `render(derivations) -> str | bytes` of a whole document.  A new format is a new module
and a row in `RENDERERS`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from derive.errors import DeriveError, did_you_mean
from derive.render import html, ipynb, json, md, pdf, terminal, tex

if TYPE_CHECKING:
    from derive.derivation import Derivation

RENDERERS: dict[str, Callable[[Sequence[Derivation]], str | bytes]] = {
    ".tex": tex.render,
    ".html": html.render,
    ".md": md.render,
    ".pdf": pdf.render,
    ".ipynb": ipynb.render,
    ".json": json.render,
    ".txt": terminal.render,
}


def renderer(path: str | Path) -> Callable[[Sequence[Derivation]], str | bytes]:
    """The renderer that the name of the file asks for.  Raises `DeriveError` for a suffix that no format has."""
    suffix = Path(path).suffix.lower()
    if suffix not in RENDERERS:
        found = f"the suffix {suffix}" if suffix else "no suffix"
        raise DeriveError(
            f"{path}: {found} says no format; use one of {' '.join(RENDERERS)}{did_you_mean(suffix, RENDERERS)}"
        )
    return RENDERERS[suffix]


def write(path: str | Path, content: str | bytes) -> None:
    """Write the file whole or not at all: beside its place first, then moved.  Raises `DeriveError` where it can't."""
    target = Path(os.path.realpath(path))
    data = content.encode() if isinstance(content, str) else content
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(data)  # a pipe or a terminal can't be replaced
        else:
            _replace(target, data)
    except OSError as error:
        raise DeriveError(f"{path} can't be written: {error.strerror or error}") from None


def _replace(target: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _mode(target: Path) -> int:
    """The permissions of the file that is replaced, or those of a new one."""
    if target.is_file():
        return target.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
