"""LLB made in Python, solved by daemons: the examples, and random graphs of file ops against a model."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from pybuildkit import client
from pybuildkit.golang import context
from tests import strategies_llb as strategies
from tests.daemons import can_run, environment, run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
OFFLINE = {
    "multi_stage": "srv/www/index.html",
    "merge_trees": "opt/tools/run",
    "platform_matrix": "linux_amd64/etc/platform",
    "nested_build": "from-inside",
}


def definition(example: str, *argv: str) -> bytes:
    """What an example writes to standard output."""
    words = [sys.executable, str(EXAMPLES / f"{example}.py"), *argv]
    return subprocess.run(words, capture_output=True, check=True, env=environment()).stdout


@pytest.mark.parametrize("example", sorted(OFFLINE))
def test_examples(addr: str, tmp_path: Path, example: str) -> None:
    if addr.startswith("docker:") and example in ("multi_stage", "merge_trees"):
        pytest.skip("the BuildKit of Docker 20.10 knows no symlink action, merge or diff op")
    result = run(
        *("build", "--local", f"context={EXAMPLES}/demo", "--output", "type=local,dest=out"),
        addr=addr,
        cwd=tmp_path,
        stdin=definition(example),
    )
    assert result.code == 0, result.stderr
    assert (tmp_path / "out" / OFFLINE[example]).is_file()


@pytest.mark.parametrize(
    ("example", "argv", "made"),
    [("busybox_image", [], "bin/sh"), ("static_binary", ["--busybox"], "usr/bin/hello")],
)
def test_examples_with_run(addr: str, tmp_path: Path, busybox: Path, example: str, argv: list[str], made: str) -> None:
    if reason := can_run(addr):
        pytest.skip(reason)
    (tmp_path / "tools/bin").mkdir(parents=True)
    shutil.copy(busybox, tmp_path / "tools/bin/busybox")
    shutil.copy(busybox, tmp_path / "tools/busybox")
    result = run(
        *("build", "--local", "context=tools", "--local", "toolchain=tools"),
        *("--output", "type=local,dest=out"),
        addr=addr,
        cwd=tmp_path,
        stdin=definition(example, *argv),
    )
    assert result.code == 0, result.stderr
    assert os.path.lexists(tmp_path / "out" / made)


def exported(root: Path) -> strategies.Tree:
    """A directory as the model has it."""
    out: strategies.Tree = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder, name)
            key = "/" + str(path.relative_to(root))
            mode = path.lstat().st_mode & 0o7777
            if path.is_symlink():
                out[key] = strategies.Link(os.readlink(path))
            elif path.is_dir():
                out[key] = strategies.Directory(mode)
            else:
                out[key] = strategies.File(mode, path.read_bytes())
    return out


async def solve(addr: str, acts: list[strategies.Act], chained: bool, dest: str) -> None:
    """Build a recipe's tree on a daemon."""
    ctx = context.background()
    state = strategies.build_files(acts, chained=chained)
    async with await client.new(ctx, addr) as connection:
        opt = client.SolveOpt(exports=[client.ExportEntry(type="local", output_dir=dest)])
        await connection.solve(ctx, await state.marshal(ctx), opt)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(recipe=strategies.file_recipes)
def test_random_file_ops_make_the_tree_of_the_model(addr: str, recipe: list[strategies.Act]) -> None:
    acts, tree = strategies.applicable(recipe)
    if addr.startswith("docker:"):
        acts, tree = strategies.applicable([act for act in acts if act.kind != "symlink"])
    if not acts:
        return
    for chained in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(solve(addr, acts, chained, folder))
            assert exported(Path(folder)) == tree


def test_the_model_sees_a_difference(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o700)
    (tmp_path / "a/b").write_bytes(b"x")
    (tmp_path / "a/b").chmod(0o600)
    assert exported(tmp_path) == {"/a": strategies.Directory(0o700), "/a/b": strategies.File(0o600, b"x")}
