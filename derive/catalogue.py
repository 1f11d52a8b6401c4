"""The catalogue: the files of `derive.cells`, and the one door through which every system comes, `load`.

A file `lstm_peephole.py` holds the system `lstm-peephole` under the name `lstm_peephole`: a `System`, or a *family*, a
function of whole numbers with defaults that returns one.  A *transformation* makes another system of one, and may stand
before the name of any: `teacher-forced(jordan)`.  Names and titles are read from the files as text, so that
`derive list` does not import SymPy.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from derive import documents
from derive.errors import DeriveError, did_you_mean

if TYPE_CHECKING:
    from derive.system import System

_CELLS = Path(__file__).with_name("cells")
_SPEC = re.compile(r"\s*([^()]*?)\s*(?:\((.*)\))?\s*")
LARGEST = 8
"""The largest argument of a family: beyond it, formulas are no longer for reading."""

TRANSFORMATIONS = {"teacher-forced": "derive.forcing", "scheduled-sampling": "derive.forcing"}
"""The module whose own `TRANSFORMATIONS` holds the function, a `System` to a `System`, under the same name."""


@cache
def names() -> tuple[str, ...]:
    """The names of the catalogue, in alphabetical order."""
    return tuple(sorted(p.stem.replace("_", "-") for p in _CELLS.glob("*.py") if p.stem != "__init__"))


def titles() -> dict[str, str]:
    """Name to what it is, in one line."""
    return {name: _title(_CELLS / f"{_identifier(name)}.py") for name in names()}


def families() -> tuple[str, ...]:
    """The names that take a number: those whose file defines a function of that name."""
    return tuple(name for name in names() if _defines(_CELLS / f"{_identifier(name)}.py", _identifier(name)))


def load(spec: str | Path | System) -> System:
    """The system that `spec` names: `"gru"`, `"mdrnn(3)"`, `"my_cell.py:my_cell"`, `"paper.tex"`; a `System` is itself.

    Each may stand in the brackets of a transformation, `"teacher-forced(my_cell.py:my_cell)"`.
    A Python file is run as Python does it; a document is data, `"notes.md:2"` is its second system.  Raises `DeriveError`
    where nothing of that name is found, with the nearest name.
    """
    if not isinstance(spec, (str, Path)):
        return _checked(spec, f"{type(spec).__name__} object")
    if transformed := _transformed(str(spec), load):
        return transformed
    path, colon, name = str(spec).rpartition(":")
    if colon and path.endswith(".py"):
        return _from_file(Path(path), name)
    if str(spec).endswith(".py"):
        return _from_file(Path(spec), "")
    if is_document(str(spec)):
        return _from_document(str(spec))
    return named(str(spec), "; `derive list` shows all, and a system of your own is named as FILE.py:NAME")


def is_document(spec: str) -> bool:
    """Whether a system is named by a document: `paper.tex`, `notes.md:2` (its second system), `-` (standard input)."""
    path, _ = document_and_number(spec)
    return path == "-" or documents.kind(path) is not None


def document_and_number(spec: str) -> tuple[str, int | None]:
    """`notes.md:2` is the file and the number of a system in it."""
    path, colon, number = spec.rpartition(":")
    return (path, int(number)) if colon and number.isdecimal() else (spec, None)


def _from_document(spec: str) -> System:
    from derive.reader.understand import read

    path, number = document_and_number(spec)
    return read(path).system(number or 1)


def named(spec: str, advice: str = "; `derive list` shows all") -> System:
    """The system of the catalogue that `spec` names, `"gru"` or `"mdrnn(3)"`; no file of the user's is ever run."""
    if transformed := _transformed(spec, lambda inner: named(inner, advice)):
        return transformed
    name, arguments = _parse(spec)
    name = _spelled(name)
    if name not in names():
        near = did_you_mean(name, (*names(), *TRANSFORMATIONS))
        raise DeriveError(f"there is no system {spec!r} in the catalogue{near}{advice}")
    return _of_catalogue(name, arguments)


def _transformed(spec: str, load_inner: Callable[[str], System]) -> System | None:
    """The system that a transformation makes of the one in its brackets; None where `spec` names none."""
    name, arguments = _parse(spec)
    name = _spelled(name)
    if name not in TRANSFORMATIONS:
        return None
    if not (arguments or "").strip():
        raise DeriveError(f"{name} makes a system of another: say of which, as in {name}(jordan)")
    transformations = import_module(TRANSFORMATIONS[name]).TRANSFORMATIONS
    return transformations[name](load_inner(arguments or ""))  # type: ignore[no-any-return]


def _spelled(name: str) -> str:
    return name.lower().replace("_", "-")


@cache
def _of_catalogue(name: str, arguments: str | None) -> System:
    identifier = _identifier(name)
    return _made(getattr(import_module(f"derive.cells.{identifier}"), identifier), name, arguments)


def _identifier(name: str) -> str:
    return name.replace("-", "_")


def _title(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].removesuffix(".")


def _defines(file: Path, name: str) -> bool:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in body)


def _parse(spec: str) -> tuple[str, str | None]:
    """`"mdrnn(3)"` to `("mdrnn", "3")`; None where there are no brackets."""
    match = _SPEC.fullmatch(spec)
    return (match[1], match[2]) if match else (spec, None)


# --- a file of the user's ---------------------------------------------------------------------------------------------


def _from_file(path: Path, spec: str) -> System:
    name, arguments = _parse(spec)
    module = _run(path)
    if not name:
        return _only_system(path, module)
    if not hasattr(module, name):
        raise DeriveError(f"{path} defines no {name}{did_you_mean(name, _offered(module))}{_listed(_offered(module))}")
    with _errors_of(path):
        return _made(getattr(module, name), f"{path}:{name}", arguments)


def _run(path: Path) -> ModuleType:
    """The file as a module.  Raises `DeriveError` where it can't be read or stops with an error."""
    if not path.is_file():
        near = did_you_mean(str(path), map(str, sorted(path.parent.glob("*.py"))))
        raise DeriveError(f"{path}: there is no such file{near}")
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    beside = str(path.parent.resolve())
    sys.path.insert(0, beside)  # as for a script: it may import the files beside it
    try:
        with _errors_of(path):
            exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), module.__dict__)
    finally:
        sys.path.remove(beside)
    return module


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """What the user's code raises as one sentence, with the last line of the file that it passed."""
    try:
        yield
    except DeriveError:
        raise
    except SyntaxError as error:
        place = f"{error.filename}:{error.lineno}:{error.offset}" if error.lineno else str(path)
        raise DeriveError(f"{place}: {error.msg}") from None
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        where = f"{path}:{lines[-1]}" if lines else str(path)
        raise DeriveError(f"{where}: the file stopped with {type(error).__name__}: {error}") from error


def _offered(module: ModuleType) -> list[str]:
    """The systems that a file defines."""
    from derive.system import System

    return [name for name, value in vars(module).items() if isinstance(value, System)]


def _only_system(path: Path, module: ModuleType) -> System:
    offered = _offered(module)
    if len(offered) != 1:
        example = offered[0] if offered else "NAME"
        raise DeriveError(f"say which system of {path} is meant, as in {path}:{example}{_listed(offered)}")
    return getattr(module, offered[0])  # type: ignore[no-any-return]


def _listed(offered: Iterable[str]) -> str:
    return f"; its systems are {', '.join(offered)}" if offered else "; it defines no System"


# --- families ---------------------------------------------------------------------------------------------------------


def _made(found: Any, name: str, arguments: str | None) -> System:
    """The system itself, or the member of the family that the arguments ask for."""
    from derive.system import System

    if isinstance(found, System) or not inspect.isfunction(found):
        if arguments is not None and isinstance(found, System):
            raise DeriveError(f"{name} takes no arguments, found {name}({arguments})")
        return _checked(found, name)
    return _checked(found(*_numbers(found, name, arguments or "")), f"{name}({arguments or ''})")


def _numbers(family: Callable[..., Any], name: str, arguments: str) -> list[int]:
    """The arguments of a family, whole numbers from 1 to `LARGEST`."""
    parameters = list(inspect.signature(family).parameters.values())
    given = [a.strip() for a in arguments.split(",")] if arguments.strip() else []
    needed = [p.name for p in parameters if p.default is inspect.Parameter.empty]
    if not len(needed) <= len(given) <= len(parameters):
        takes = ", ".join(p.name for p in parameters) or "nothing"
        raise DeriveError(f"{name} takes {takes}, found {name}({arguments})")
    for parameter, text in zip(parameters, given, strict=False):
        if not text.isdecimal() or not 1 <= int(text) <= LARGEST:
            raise DeriveError(f"{parameter.name} of {name} is a whole number from 1 to {LARGEST}, found {text!r}")
    return [int(text) for text in given]


def _checked(found: Any, name: str) -> System:
    from derive.system import System

    if not isinstance(found, System):
        raise DeriveError(f"{name} is {_kind(found)}, not a System; write it as System(name, equations=…)")
    return found


def _kind(value: Any) -> str:
    article = "an" if type(value).__name__[0].lower() in "aeiou" else "a"
    return f"{article} {type(value).__name__}"
