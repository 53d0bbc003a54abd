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
