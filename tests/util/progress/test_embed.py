"""The example that embeds the display in a tool of one's own, run as its reader would run it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from tests.daemons import EMBEDDED, environment

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "progress_embed.py"


def test_lines_for_the_tool_and_a_display_for_people(addr: str, tmp_path: Path) -> None:
    argv = [sys.executable, str(EXAMPLE), addr]
    env = environment({"XDG_CACHE_HOME": str(tmp_path)})
    done = subprocess.run(argv, env=env, capture_output=True, check=True, text=True, timeout=90)
    said = [re.sub(r": (cached|[\d.]+ ms)$", "", line) for line in done.stdout.splitlines()]
    assert list(dict.fromkeys(said)) == ["[tool] check the tool", "[site 1/2] make a folder", "[site 2/2] write a page"]
    shown = re.sub(r"\d+\.\d+", "N", done.stderr)
    assert "#1 [tool] check the tool\n#1 look around Ns done\n#1 N all is well\n#1 DONE Ns\n" in shown
    assert re.search(r"\n#2 \[site 1/2\] make a folder\n#2 (DONE Ns|CACHED)\n", shown)
    assert re.search(r"\n#3 \[site 2/2\] write a page\n#3 (DONE Ns|CACHED)\n$", shown)


def test_on_a_terminal(tmp_path: Path) -> None:
    terminal, display = pty.openpty()
    env = environment({"XDG_CACHE_HOME": str(tmp_path)})
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE), EMBEDDED], env=env, stdout=subprocess.DEVNULL, stderr=display
    ) as tool:
        os.close(display)
        shown = b""
        while data := _read(terminal):
            shown += data
    os.close(terminal)
    assert tool.returncode == 0
    last = shown.decode().rpartition("\x1b[?25l")[2]
    assert re.match(r"\[\+\] Building \d+\.\ds \(3/3\) FINISHED", last)
    for line in ("[tool] check the tool", "=> look around", "[site 1/2] make a folder", "[site 2/2] write a page"):
        assert f" => {line}" in last or f" => CACHED {line}" in last


def _read(fd: int) -> bytes:
    """What a terminal shows next; nothing once its program has ended."""
    try:
        return os.read(fd, 1 << 16)
    except OSError:
        return b""
