"""What the documents say is so: the examples of README.md and docs/library.md run and print what stands behind them,
every module says what it mirrors, and what the public packages export says what it does."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pybuildkit.session
from tests import matrix
from tests.daemons import write_tree

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
DOCKERFILE = "FROM scratch\nARG GREETING=nothing\nCOPY $GREETING /greeting\n"


def examples() -> list[tuple[str, str, str]]:
    return [
        (f"{name}-{number}", code, shown)
        for name in ("README.md", "docs/library.md")
        for number, (code, shown) in enumerate(EXAMPLE.findall((ROOT / name).read_text()))
    ]


@pytest.mark.parametrize(("code", "shown"), [case[1:] for case in examples()], ids=[case[0] for case in examples()])
def test_examples_run(
    code: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"Dockerfile": DOCKERFILE, "hello": "hello from the context\n", "nothing": "nothing\n"}
    write_tree(tmp_path / "test", files)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "example", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == shown
    if not shown:
        assert (tmp_path / "images/test/greeting").read_text() == "nothing\n"


def test_there_are_examples() -> None:
    assert len(examples()) >= 6


VERSION = re.compile(r"\bv\d+\.\d+|\bGo 1\.\d+|\([0-9a-f]{7}\)")
OURS = re.compile(r"Not in BuildKit|Not a port|no counterpart|^Ours\b|^Stands for|^Ports of", re.MULTILINE)


def says_what_it_mirrors(docstring: str) -> bool:
    """Whether a paragraph names a Go file or package with its version, or the text says that there is none."""
    mirrored = any("irror" in text and VERSION.search(text) for text in docstring.split("\n\n"))
    return mirrored or OURS.search(docstring) is not None


def test_every_module_says_what_it_mirrors() -> None:
    silent = []
    for path in sorted((ROOT / "pybuildkit").rglob("*.py")):
        if not path.stem.endswith("_pb2"):
            docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
            if not says_what_it_mirrors(docstring):
                silent.append(str(path.relative_to(ROOT)))
    assert silent == []


PUBLIC = [
    "pybuildkit",
    "pybuildkit.client",
    "pybuildkit.client.llb",
    "pybuildkit.frontend.gateway.client",
    "pybuildkit.frontend.gateway.grpcclient",
    "pybuildkit.session",
    *(
        module.name
        for module in pkgutil.walk_packages(pybuildkit.session.__path__, "pybuildkit.session.")
        if module.ispkg
    ),
]


def undocumented(owner: type) -> Iterator[str]:
    """The public methods and properties of a class that neither it nor a base says anything about."""
    for name, member in vars(owner).items():
        function = member.fget if isinstance(member, property) else inspect.unwrap(getattr(member, "__func__", member))
        if inspect.isfunction(function) and not name.startswith("_") and inspect.getdoc(getattr(owner, name)) is None:
            yield f"{owner.__name__}.{name}"


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names_have_docstrings(package: str) -> None:
    module = importlib.import_module(package)
    silent = []
    for name in getattr(module, "__all__", dir(module)):
        value = getattr(module, name)
        if name.startswith("_") or not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        if str(value.__module__).startswith("pybuildkit"):
            silent += [] if value.__doc__ else [name]
            silent += undocumented(value) if inspect.isclass(value) else []
    assert silent == []


CELL = re.compile(r"(yes|no|-|recorded|received|SLSA v1)( \(.+\))?")
FEATURES, DIFFERENCES = matrix.rows("feature"), matrix.rows("situation")
UNTESTED_DIFFERENCES = 1  # rows with a dash for a test; may become fewer


def test_there_are_tables() -> None:
    assert len(FEATURES) > 90
    assert len(DIFFERENCES) > 60
    assert {len(row.cells) for row in FEATURES} == {5}
    assert {len(row.cells) for row in DIFFERENCES} == {4}
    assert sum(row.cells[-1] == "-" for row in DIFFERENCES) <= UNTESTED_DIFFERENCES


@pytest.mark.parametrize("row", FEATURES + DIFFERENCES, ids=lambda row: f"line-{row.line}")
def test_rows_name_tests_that_exist(row: matrix.Row) -> None:
    references = list(row.references())
    assert references or row.vectors() or (row in DIFFERENCES and row.cells[-1] == "-")
    for file, name in references:
        assert file.exists(), file
        assert not name or name in matrix.functions(file), name
    for area in row.vectors():
        assert (ROOT / "tests/golden/vectors" / f"{area}.json").is_file(), area


@pytest.mark.parametrize("row", FEATURES, ids=lambda row: f"line-{row.line}")
def test_cells_say_what_the_skips_say(row: matrix.Row) -> None:
    """A yes has a test that runs there, a no none that runs whole, a dash none at all."""
    reaches = [matrix.reach(file, name) for file, name in row.references() if name]
    offered = any(reach.kinds for reach in reaches)
    for kind, cell in zip(matrix.KINDS, row.cells[1:4], strict=True):
        assert CELL.fullmatch(cell), cell
        if cell.startswith("yes") and offered:
            assert any(reach.runs(kind) or not reach.kinds for reach in reaches), f"nothing named runs on {kind}"
        if cell.startswith("no"):
            assert not any(reach.runs_whole(kind) for reach in reaches), f"a test runs on {kind}"
        if cell == "-":
            assert not any(reach.runs(kind) for reach in reaches), f"a test runs on {kind}"


def test_reach_sees_what_skips() -> None:
    """The check reads fixtures, also of fixtures, and skips of each form."""
    folder = ROOT / "tests/conformance"
    assert matrix.reach(folder / "test_build.py", "test_run_step").never == {"embedded"}
    assert matrix.reach(folder / "test_services.py", "test_raw_socket").kinds == {"docker", "buildkitd"}
    assert matrix.reach(folder / "test_addresses.py", "test_tcp").kinds == set(matrix.KINDS)
    assert matrix.reach(folder / "test_cache.py", "test_local_cache").never == {"docker"}
    assert matrix.reach(folder / "test_library.py", "test_errors_name_the_source_line").never == {"docker"}
    assert matrix.reach(folder / "test_requests.py", "test_github_cache").kinds == set()
