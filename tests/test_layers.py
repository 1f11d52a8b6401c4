"""The order of imports: a module imports, at its top level, only from those that stand before it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import derive

PACKAGE = Path(derive.__file__).parent
ORDER = [
    "errors",
    "documents",
    "processes",
    "functions",
    "expr",
    "clipping",
    "notation",
    "lattice",
    "shapes",
    "conventions",
    "equations",
    "system",
    "linear",
    "partials",
    "adjoint",
    "tangent",
    "forcing",
    "paths",
    "affine",
    "ranges",
    "norms",
    "printing",
    "canonical",
    "solutions",
    "derivation",
    "readings",
    "queries",
    "evaluate",
    "automata",
    "scalars",
    "residues",
    "field",
    "tower",
    "ball",
    "oracles",
    "schedule",
    "emit",
    "check",
    "reader",
    "cells",
    "catalogue",
    "interchange",
    "pictures",
    "verdicts",
    "render",
    "pytest_plugin",
    "cli",
    "site",
    "__main__",
]


def modules() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if p.parent != PACKAGE or p.stem != "__init__"]


def part(path: Path) -> str:
    """The module of the package, or the sub-package, that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The parts of derive that a file imports when it is imported; not what it imports in a function or for types only."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module == "derive":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("derive."):
            found.add((node.module or "").split(".")[1])
    return found & set(ORDER)


def test_every_module_has_its_place():
    assert {part(p) for p in modules()} == set(ORDER)


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_one_way(path):
    own = part(path)
    later = [name for name in imported(path) - {own} if ORDER.index(name) > ORDER.index(own)]
    assert not later, f"{own} imports {', '.join(later)}, which stand after it"


def dotted(folder: Path) -> str:
    return ".".join(("derive", *folder.relative_to(PACKAGE).parts))


def inside(path: Path) -> set[str]:
    """The modules of its own sub-package that a file imports when it is imported."""
    package, found = dotted(path.parent), set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module == package:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
            found.add((node.module or "").removeprefix(f"{package}.").split(".")[0])
    return found & {p.stem for p in path.parent.glob("*.py")}


@pytest.mark.parametrize("folder", sorted({p.parent for p in modules() if p.parent != PACKAGE}), ids=dotted)
def test_no_module_of_a_sub_package_needs_itself(folder):
    """Each can be imported first: what it imports, directly or not, does not import it."""
    needs = {p.stem: inside(p) for p in folder.glob("*.py") if p.stem != "__init__"}
    while free := {name for name, needed in needs.items() if not needed & needs.keys()}:
        needs = {name: needed for name, needed in needs.items() if name not in free}
    assert not needs, f"a circle of imports among {', '.join(sorted(needs))}"


@pytest.mark.parametrize("name", ["automata", "pictures", "reader", "verdicts", "verdicts.causes", "site"])
def test_a_large_sub_package_says_where_each_of_its_modules_belongs(name):
    folder = PACKAGE.joinpath(*name.split("."))
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert {p.stem for p in folder.glob("*.py")} - {"__init__"} <= set(said.split())
