"""Graphs that no Dockerfile makes: what they make, and what is said of those that make no sense.

The answers are BuildKit v0.32.2's; a real daemon of today is asked too, where one is named.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fake_buildkitd import Daemon
from fake_buildkitd.solver import digest_of
from pybuildkit.client import Client, llb
from pybuildkit.client._client import new
from pybuildkit.client._solveopt import ExportEntry, SolveOpt
from pybuildkit.golang import context
from pybuildkit.golang.errors import error_text
from pybuildkit.solver.pb import ops_pb2 as pb
from pybuildkit.third_party import fsutil
from tests.fake_buildkitd.helpers import Built, connected, solve, write_tree
from tests.fake_buildkitd.twins import _Memory, plain

Graph = Callable[["Ops"], None]


class Ops:
    """A definition that grows; the last operation makes the result."""

    def __init__(self) -> None:
        self.data: list[bytes] = []

    def add(self, op: pb.Op, *inputs: tuple[str, int]) -> str:
        """Add an operation on inputs; its digest."""
        op.inputs.extend(pb.Input(digest=digest, index=index) for digest, index in inputs)
        self.data.append(op.SerializeToString(deterministic=True))
        return digest_of(self.data[-1])

    def file(self, actions: Sequence[pb.FileAction], *inputs: tuple[str, int]) -> str:
        """Add file actions."""
        return self.add(pb.Op(file=pb.FileOp(actions=actions)), *inputs)

    def made(self, path: str) -> str:
        """Add a file."""
        return self.file([mkfile(path, output=0)])

    def diff(self, lower: int, upper: int, *inputs: tuple[str, int]) -> str:
        """Add a difference."""
        op = pb.DiffOp(lower=pb.LowerDiffInput(input=lower), upper=pb.UpperDiffInput(input=upper))
        return self.add(pb.Op(diff=op), *inputs)

    def merge(self, *inputs: tuple[str, int]) -> str:
        """Add a merge."""
        op = pb.MergeOp(inputs=[pb.MergeInput(input=index) for index in range(len(inputs))])
        return self.add(pb.Op(merge=op), *inputs)

    def definition(self, output: int = 0) -> llb.Definition:
        """All of it, whose result is that output of the last operation."""
        last = pb.Op(inputs=[pb.Input(digest=digest_of(self.data[-1]), index=output)])
        return llb.Definition(def_=[*self.data, last.SerializeToString()])


def mkfile(path: str, input: int = -1, output: int = -1, owner: pb.ChownOpt | None = None) -> pb.FileAction:
    """An action that makes a file."""
    made = pb.FileActionMkFile(path=path, mode=0o644, timestamp=-1, owner=owner)
    return pb.FileAction(input=input, secondaryInput=-1, output=output, mkfile=made)


def copied(path: str, dest: str, input: int, source: int, output: int = -1) -> pb.FileAction:
    """An action that copies."""
    made = pb.FileActionCopy(src=path, dest=dest, mode=-1, timestamp=-1, createDestPath=True)
    return pb.FileAction(input=input, secondaryInput=source, output=output, copy=made)


def named(input: int) -> pb.ChownOpt:
    """A user by its name in an input."""
    return pb.ChownOpt(user=pb.UserOpt(byName=pb.NamedUserOpt(name="foo", input=input)))


def used_twice(ops: Ops) -> None:
    """An action's result that two others use is a layer of its own."""
    ops.file([mkfile("/a"), copied("/a", "/b", 0, 0), mkfile("/c", 1, 0)])


def used_once(ops: Ops) -> None:
    ops.file([mkfile("/a"), mkfile("/b", 0), mkfile("/c", 1, 0)])


def two_outputs(ops: Ops) -> None:
    ops.file([mkfile("/a", output=0), mkfile("/b", 0, 1)])


def merge_of_outputs(ops: Ops) -> None:
    made = ops.file([mkfile("/a", output=0), mkfile("/b", 0, 1)])
    ops.merge((made, 1), (ops.made("/c"), 0))


def diff_in_order(ops: Ops) -> None:
    """The inputs' order counts, not which index a side names."""
    lower = ops.made("/a")
    upper = ops.file([mkfile("/b", 0, 0)], (lower, 0))
    ops.diff(1, 0, (lower, 0), (upper, 0))


def diff_of_nothing(ops: Ops) -> None:
    ops.diff(-1, 0, (ops.made("/a"), 0))


def merge_of_one(ops: Ops) -> None:
    made = ops.made("/a")
    ops.merge((made, 0), (ops.diff(0, 1, (made, 0), (made, 0)), 0))


def passed_through(ops: Ops) -> None:
    one, two = ops.made("/a"), ops.made("/b")
    op = pb.Op(passthrough=pb.PassthroughOp(id="p", outputs=[1, 0]))
    ops.merge((ops.add(op, (one, 0), (two, 0)), 0), (ops.made("/c"), 0))


def unchanged_owner(ops: Ops) -> None:
    owner = pb.ChownOpt(user=pb.UserOpt(byID=5), group=pb.UserOpt(byID=0xFFFFFFFF))
    ops.file([mkfile("/a", output=0, owner=owner)])


MAKES: list[tuple[Graph, dict[str, tuple[int, int]], int]] = [
    (used_twice, {"a": (0, 0), "b": (0, 0), "c": (0, 0)}, 2),
    (used_once, {"a": (0, 0), "b": (0, 0), "c": (0, 0)}, 1),
    (two_outputs, {"a": (0, 0)}, 1),
    (merge_of_outputs, {"a": (0, 0), "b": (0, 0), "c": (0, 0)}, 3),
    (diff_in_order, {"b": (0, 0)}, 1),
    (diff_of_nothing, {"a": (0, 0)}, 1),
    (merge_of_one, {"a": (0, 0)}, 1),
    (passed_through, {"b": (0, 0), "c": (0, 0)}, 2),
    (unchanged_owner, {"a": (5, 0)}, 1),
]
"""The files of a graph with their owners, and the number of its layers."""


def no_input_of_a_name(ops: Ops) -> None:
    ops.file([mkfile("/a", output=0, owner=named(7))])


def negative_source(ops: Ops) -> None:
    ops.file([copied("/a", "/b", -1, -2, 0)], (ops.made("/a"), 0))


def name_of_nothing(ops: Ops) -> None:
    ops.file([mkfile("/a", output=0, owner=named(-1))])


def no_such_output(ops: Ops) -> None:
    ops.file([mkfile("/b", 0, 0)], (ops.made("/a"), 3))


def merge_of_nothing(ops: Ops) -> None:
    made = ops.made("/a")
    nothing = ops.diff(0, 1, (made, 0), (made, 0))
    ops.merge((nothing, 0), (nothing, 0))


def link_to_no_name(ops: Ops) -> None:
    link = pb.FileActionSymlink(oldpath="", newpath="/l", timestamp=-1)
    ops.file([pb.FileAction(input=-1, secondaryInput=-1, output=0, symlink=link)])


def link_in_nothing(ops: Ops) -> None:
    link = pb.FileActionSymlink(oldpath="a", newpath="/x/l", timestamp=-1)
    ops.file([pb.FileAction(input=-1, secondaryInput=-1, output=0, symlink=link)])


REFUSED: list[tuple[Graph, str]] = [
    (no_input_of_a_name, "failed to load cache key: invalid input index 7 in file op with 0 inputs"),
    (negative_source, "failed to load cache key: invalid input index -2 in file op with 1 inputs"),
    (name_of_nothing, "invalid user index: -1"),
    (no_such_output, "invalid response from exec need 3 index but 1 results received"),
    (merge_of_nothing, "invalid response from exec need 0 index but 0 results received"),
    (link_to_no_name, "symlink  /l: no such file or directory"),
    (link_in_nothing, "symlink a /x/l: no such file or directory"),
]


async def _build(client: Client, graph: Graph, kind: str, output: int = 0) -> tuple[Built, bytes]:
    ops = Ops()
    graph(ops)
    out = _Memory()
    exports = [ExportEntry(type=kind, output=lambda md: out)]
    return await solve(client, SolveOpt(exports=exports), ops.definition(output)), bytes(out.data)


async def _owners(client: Client, graph: Graph) -> dict[str, tuple[int, int]]:
    built, data = await _build(client, graph, "tar")
    assert built.error is None
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: (member.uid, member.gid) for member in archive}


async def _layers(client: Client, graph: Graph) -> int:
    built, data = await _build(client, graph, "oci")
    assert built.error is None
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        index = archive.extractfile("index.json")
        assert index is not None
        digest = json.load(index)["manifests"][0]["digest"]
        manifest = archive.extractfile("blobs/" + digest.replace(":", "/"))
        assert manifest is not None
        return len(json.load(manifest)["layers"])


@pytest.mark.parametrize(("graph", "files", "layers"), MAKES, ids=[case[0].__name__ for case in MAKES])
async def test_makes(graph: Graph, files: dict[str, tuple[int, int]], layers: int) -> None:
    async with Daemon() as daemon, connected(daemon) as client:
        for _ in range(2):
            assert await _owners(client, graph) == files
            assert await _layers(client, graph) == layers


@pytest.mark.parametrize(("graph", "text"), REFUSED, ids=[case[0].__name__ for case in REFUSED])
async def test_refused(graph: Graph, text: str) -> None:
    async with Daemon() as daemon, connected(daemon) as client:
        built, _ = await _build(client, graph, "tar")
        assert built.error is not None
        assert error_text(built.error) == f"failed to solve: {text}"


async def test_a_link_owned_by_itself() -> None:
    """BuildKit waits for ever."""

    def graph(ops: Ops) -> None:
        link = pb.FileActionSymlink(oldpath="a", newpath="/l", timestamp=-1, owner=named(0))
        ops.file([pb.FileAction(input=-1, secondaryInput=-1, output=0, symlink=link)])

    async with Daemon() as daemon, connected(daemon) as client:
        built, _ = await _build(client, graph, "tar")
    assert str(built.error) == "failed to solve: loop from index 0"


async def test_real_daemon(real_addr: str) -> None:
    if real_addr.startswith("docker:"):
        pytest.skip("the BuildKit of Docker 20.10 knows neither merges nor differences")
    async with await new(context.background(), real_addr) as client:
        for graph, files, layers in MAKES:
            assert (await _owners(client, graph), await _layers(client, graph)) == (files, layers), graph.__name__
        for graph, text in REFUSED:
            built, _ = await _build(client, graph, "tar")
            assert built.error is not None
            assert plain(error_text(built.error)) == f"failed to solve: {text}", graph.__name__


async def test_local_files_themselves_are_not_cached(tmp_path: Path) -> None:
    """What is made on a client's files runs in every build; what is copied from them is cached."""
    local = llb.local("context")
    on_it = local.file(llb.mkfile("/b", 0o644, ""), llb.with_custom_name("on it"))
    both = on_it.file(llb.copy(local, "/a", "/c"), llb.with_custom_name("copy"))
    alone = llb.scratch().file(llb.copy(local, "/a", "/c"), llb.with_custom_name("alone"))
    mounts = {"context": fsutil.new_fs(str(write_tree(tmp_path, {"a": "1"})))}
    async with Daemon() as daemon, connected(daemon) as client:
        for state, cached in ((both, set()), (alone, {"alone"})):
            for want in (set(), cached):
                graph = await state.marshal(context.background(), llb.linux_amd64)
                built = await solve(client, SolveOpt(local_mounts=mounts), graph)
                assert built.error is None
                assert built.cached() == want


@pytest.mark.parametrize(
    ("marked", "cached"),
    [
        ("", ["B", "C", "D", "after", "copy"]),
        ("A", ["C", "D", "after", "copy"]),
        ("AB", ["D", "after", "copy"]),
        ("B", ["A", "D", "after", "copy"]),
        ("C", ["B", "after", "copy"]),
        ("ABCD", ["after", "copy"]),
    ],
)
async def test_steps_that_run_in_every_build(marked: str, cached: list[str]) -> None:
    """What stands on a marked step runs too, what stands on that is known again; a copy looks at the content."""

    def chain(marked: str) -> llb.State:
        state = llb.scratch()
        for name in "ABCD":
            mark = [llb.ignore_cache] if name in marked else []
            state = state.file(llb.mkfile(f"/{name}", 0o644, ""), llb.with_custom_name(name), *mark)
        state = llb.scratch().file(llb.copy(state, "/A", "/z"), llb.with_custom_name("copy"))
        return state.file(llb.mkfile("/e", 0o644, ""), llb.with_custom_name("after"))

    async with Daemon() as daemon, connected(daemon) as client:
        for each in ("", marked, marked):
            graph = await chain(each).marshal(context.background(), llb.linux_amd64)
            built = await solve(client, SolveOpt(), graph)
            assert built.error is None
    assert sorted(built.cached()) == cached


async def test_times_of_directories_on_the_way() -> None:
    """The time that is asked for is that of the last one; making it changed the others."""

    def graph(ops: Ops) -> None:
        made = pb.FileActionMkDir(path="/a/b", mode=0o755, makeParents=True, timestamp=1_000_000_000)
        ops.file([pb.FileAction(input=-1, secondaryInput=-1, output=0, mkdir=made)])

    async with Daemon(clock=lambda: 7_000_000_000) as daemon, connected(daemon) as client:
        built, data = await _build(client, graph, "tar")
    assert built.error is None
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert {member.name: member.mtime for member in archive} == {"a": 7, "a/b": 1}
