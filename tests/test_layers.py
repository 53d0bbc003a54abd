"""Lower layers never import higher ones: reads the imports of every module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The longest prefix that matches a module gives its layer.
LAYERS = {
    "pybuildkit._lazy": 0,
    "pybuildkit.golang": 0,
    "pybuildkit.identity": 0,
    "pybuildkit.rpc": 1,
    "pybuildkit.third_party": 1,
    "pybuildkit.api": 1,
    "pybuildkit.client._graph": 2,
    "pybuildkit.client._pbjson": 2,
    "pybuildkit.util": 3,
    "pybuildkit.solver": 3,
    "pybuildkit.sourcepolicy": 3,
    "pybuildkit.frontend.gateway.pb": 3,
    "pybuildkit.session": 4,
    "pybuildkit.client.ociindex": 4,
    "pybuildkit.client.llb": 5,
    "pybuildkit.frontend": 6,
    "pybuildkit.client": 7,
    "pybuildkit.cmd": 8,
    "pybuildkit": 9,
}
EMBEDDED = "pybuildkit.client.connhelper._embedded"


def layer(module: str) -> int:
    """The layer of a module; generated messages are at the bottom wherever they are."""
    if module.endswith("_pb2"):
        return 1
    while module not in LAYERS:
        module = module.rpartition(".")[0]
    return LAYERS[module]


def module_name(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(package: str) -> list[Path]:
    """The hand-written modules of a package."""
    return sorted(p for p in (ROOT / package).rglob("*.py") if not p.name.endswith("_pb2.py"))


def exists(module: str) -> bool:
    """Whether a dotted name is a module of this tree."""
    path = ROOT.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def type_checking_lines(tree: ast.Module) -> set[int]:
    """The lines that only type checkers see."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for part in node.body:
                lines.update(range(part.lineno, (part.end_lineno or part.lineno) + 1))
    return lines


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """The modules that a file imports at run time, with the line; `from package import module` names the module."""
    tree = ast.parse(path.read_text())
    hidden = type_checking_lines(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and node.lineno not in hidden:
            yield from ((alias.name, node.lineno) for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.lineno not in hidden and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if exists(full) else node.module), node.lineno


@pytest.mark.parametrize("path", sources("pybuildkit"), ids=module_name)
def test_lower_layers_do_not_import_higher_ones(path: Path) -> None:
    module = module_name(path)
    for imported, line in imports(path):
        if imported.split(".")[0] == "fake_buildkitd":
            assert module == EMBEDDED, f"{path}:{line} imports {imported}"
        if imported.split(".")[0] == "tests":
            pytest.fail(f"{path}:{line} imports {imported}")
        if imported.split(".")[0] != "pybuildkit" or module.startswith(f"{imported}."):
            continue
        if path.name == "__init__.py" and imported.startswith(f"{module}."):
            continue
        assert layer(imported) <= layer(module), f"{path}:{line}: {module} imports {imported} of a higher layer"


@pytest.mark.parametrize("path", sources("fake_buildkitd"), ids=module_name)
def test_the_daemon_does_not_import_the_command(path: Path) -> None:
    for imported, line in imports(path):
        assert not imported.startswith("pybuildkit.cmd"), f"{path}:{line} imports {imported}"


def test_the_check_sees_imports() -> None:
    """The parser finds what it looks for (a check that cannot fail would be worthless)."""
    found = {name for name, _ in imports(ROOT / "pybuildkit/client/_dial.py")}
    assert "pybuildkit.golang.errors" in found
    assert "pybuildkit.rpc" in found
    assert layer("pybuildkit.golang.errors") < layer("pybuildkit.rpc") < layer("pybuildkit.client._dial")
