"""Nested builds: definitions that a build makes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fake_buildkitd import Daemon
from pybuildkit.client import llb
from pybuildkit.client._solveopt import ExportEntry, SolveOpt
from pybuildkit.client.llb import llbbuild
from pybuildkit.golang import context
from pybuildkit.solver.pb import ops_pb2 as pb
from pybuildkit.third_party import fsutil
from tests.fake_buildkitd.helpers import Built, connected, solve, tree_on_disk, write_tree

INNER = llb.scratch().file(llb.mkfile("/made", 0o644, "x"), llb.with_custom_name("inner"))


def nested(data: bytes, name: str = "/def") -> llb.State:
    """A build of a definition, which is in the file /def."""
    outer = llb.scratch().file(llb.mkfile("/def", 0o644, data), llb.with_custom_name("outer"))
    return outer.with_(llbbuild.build(llbbuild.with_filename(name)))


def definition(state: llb.State) -> bytes:
    """A state's definition."""
    return state.marshal_sync(llb.linux_amd64).to_bytes()


async def build(state: llb.State, dest: Path | None = None, local: Path | None = None, times: int = 1) -> Built:
    """Solve a state on a new daemon, that many times; what the last build gave."""
    mounts = {"context": fsutil.new_fs(str(local))} if local is not None else {}
    exports = [ExportEntry(type="local", output_dir=str(dest))] if dest is not None else []
    async with Daemon() as daemon, connected(daemon) as client:
        for _ in range(times):
            graph = await state.marshal(context.background(), llb.linux_amd64)
            built = await solve(client, SolveOpt(local_mounts=mounts, exports=exports), graph)
    return built


@pytest.mark.parametrize("depth", [1, 3])
async def test_build(tmp_path: Path, depth: int) -> None:
    state = INNER
    for _ in range(depth):
        state = nested(definition(state))
    built = await build(state, tmp_path / "out")
    assert built.error is None
    assert tree_on_disk(tmp_path / "out") == {"made": ("f644", "x")}
    assert {"outer", "inner", "build"} <= set(built.names())


async def test_cached(tmp_path: Path) -> None:
    built = await build(nested(definition(INNER)), tmp_path / "out", times=2)
    assert "build" in built.cached()
    assert "inner" not in built.names()
    assert tree_on_disk(tmp_path / "out") == {"made": ("f644", "x")}


FAILING = llb.scratch().file(llb.mkfile("/no/file", 0o644, "x"), llb.with_custom_name("inner"))


@pytest.mark.parametrize(
    ("data", "name", "text"),
    [
        (b"\xff\xff", "/def", "unexpected EOF"),
        (b"", "/def", "failed to load LLB: invalid empty definition"),
        (b"", "/none/def", "failed to open /none/def: open /none/def: no such file or directory"),
        (b"", "../../none", "failed to open /none: open /none: no such file or directory"),
        (b"", "/", "/ is not a regular file"),
        (definition(FAILING), "/def", "open /no/file: no such file or directory"),
    ],
)
async def test_errors(data: bytes, name: str, text: str) -> None:
    built = await build(nested(data, name))
    assert str(built.error) == f"failed to solve: {text}"
    assert built.errors()["build"] == text


async def test_a_definition_that_builds_itself(tmp_path: Path) -> None:
    state = llb.local("context").with_(llbbuild.build(llbbuild.with_filename("/def")))
    folder = write_tree(tmp_path / "src", {})
    (folder / "def").write_bytes(definition(state))
    built = await asyncio.wait_for(build(state, local=folder), 20)
    assert str(built.error) == "failed to solve: the definition of a nested build leads back to that build"


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (pb.BuildOp(builder=0), "only LLB builder is currently allowed"),
        (pb.BuildOp(builder=-1), "no llb definition input buildkit.llb.definition found"),
        (
            pb.BuildOp(builder=-1, inputs={"buildkit.llb.definition": pb.BuildInput(input=4)}),
            "invalid index 4",
        ),
    ],
)
async def test_bad_ops(op: pb.BuildOp, text: str) -> None:
    from fake_buildkitd.solver import digest_of

    source = pb.Op(
        file=pb.FileOp(
            actions=[pb.FileAction(input=-1, secondaryInput=-1, mkdir=pb.FileActionMkDir(path="/a", mode=0o755))]
        )
    )
    first = source.SerializeToString()
    second = pb.Op(build=op, inputs=[pb.Input(digest=digest_of(first))]).SerializeToString()
    last = pb.Op(inputs=[pb.Input(digest=digest_of(second))]).SerializeToString()
    async with Daemon() as daemon, connected(daemon) as client:
        built = await solve(client, SolveOpt(), llb.Definition(def_=[first, second, last], metadata={}, source=None))
    assert str(built.error) == f"failed to solve: {text}"
