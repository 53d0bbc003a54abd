"""Random command lines, against what BuildKit's own client made of them (testdata/command_lines.json).

They were drawn from the grammar of all flags, with good and malformed values, flags given twice, flags in conflict and
words in wrong places. No daemon listens. `<HELP>` stands for a help text, whose words are our own.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cmd.buildctl.streams import run_in_process

CASES = json.loads((Path(__file__).parent / "testdata" / "command_lines.json").read_text())
ADDR = "unix:///nonexistent/sock"


def masked(text: str) -> str:
    """The text without times and without what follows the headline of a help."""
    return re.sub(r'time="[^"]*"', "time=T", re.sub(r"NAME:\n.*", "<HELP>", text, flags=re.DOTALL))


@pytest.mark.parametrize("case", CASES, ids=[" ".join(case["argv"]) for case in CASES])
def test_as_go(case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("f", "sec", "Dockerfile"):
        (tmp_path / name).write_text("x")
    (tmp_path / "d").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("E", "envval")
    for name in ("SSH_AUTH_SOCK", "SOURCE_DATE_EPOCH", "ACTIONS_CACHE_URL", "ACTIONS_RESULTS_URL"):
        monkeypatch.delenv(name, raising=False)
    code, stdout, stderr = run_in_process("--addr", ADDR, *case["argv"])
    stderr = stderr.replace("pybuildctl", "buildctl")
    assert (code, masked(stdout), masked(stderr)) == (case["exit"], case["stdout"], case["stderr"])
