"""The Python examples of README.md and docs/library.md run, and print what stands behind them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
