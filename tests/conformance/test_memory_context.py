"""Contexts that are put together from memory and directories: the example, on every daemon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pybuildkit import client
from pybuildkit.golang import context
from pybuildkit.third_party.fsutil import Stat, StaticFS
from tests.daemons import environment, write_tree

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/memory_context.py"


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_example(addr: str, tmp_path: Path, on_disk: bool) -> None:
    """An upper file counts, a lower one stays, and what .dockerignore names (from memory too) is left out."""
    write_tree(tmp_path / "d", {"greeting": "from disk\n", "sub/deep": "kept too\n"})
    argv = [sys.executable, str(EXAMPLE), addr, *([str(tmp_path / "d")] if on_disk else [])]
    done = subprocess.run(argv, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    lower = ["a/sub/", "a/sub/deep: kept too"] if on_disk else ["a/note: kept"]
    wanted = ["a/", "a/greeting: from memory", *lower, "a/version: 1.2.3", "b/", "b/version: 1.2.3"]
    assert [line.replace("/:", ":") for line in done.stdout.splitlines()] == [line.rstrip("/") for line in wanted]


async def test_folders_from_memory(addr: str, tmp_path: Path) -> None:
    """Files in folders that were not added: of one a file is asked for, of another everything."""
    files = StaticFS()
    for path, text in {
        "Dockerfile": "FROM scratch\nCOPY src/app/main /bin/\nCOPY etc /etc\n",
        "src/app/main": "the program",
        "src/other": "not wanted",
        "etc/a/b": "b",
    }.items():
        files.add(path, Stat(), text.encode())
    opt = client.SolveOpt(
        frontend="dockerfile.v0",
        local_mounts={"context": files, "dockerfile": files},
        exports=[client.ExportEntry(type="local", output_dir=tmp_path / "out")],
    )
    async with await client.new(context.background(), addr) as connection:
        await connection.solve(context.background(), None, opt)
    out = tmp_path / "out"
    found = {str(path.relative_to(out)): path.read_text() for path in out.rglob("*") if path.is_file()}
    assert found == {"bin/main": "the program", "etc/a/b": "b"}
