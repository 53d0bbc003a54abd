"""What a build offers of its local sources: which of them, and whose files they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from pybuildkit.client import llb
from pybuildkit.client._solve import prepare_synced_files
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.session.filesync._filesync import DIFF_COPY
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.third_party.fsutil import FS, MODE_DIR, Stat, StaticFS, new_fs
from pybuildkit.third_party.fsutil._packet import FIN_PACKET, decode_packet
from tests.conformance.faulty import BUILD, Build, Script, serve
from tests.daemons import run, write_tree


def owned(uid: int, gid: int) -> StaticFS:
    """A file and a directory with owners."""
    fs = StaticFS()
    fs.add("d", Stat(mode=MODE_DIR | 0o755, uid=uid, gid=gid), b"")
    fs.add("d/f", Stat(mode=0o644, uid=uid, gid=gid), b"content")
    return fs


async def definition(name: str) -> ops_pb2.Definition:
    """A build that reads one local source."""
    marshaled = await llb.local(name).marshal(context.background())
    return marshaled.to_pb()


@pytest.mark.parametrize("given", [True, False])
async def test_owners_stay_at_home(given: bool) -> None:
    """A daemon sees no numbers of this machine's users, whatever kind of file system a context is."""
    mounts: Mapping[str, FS] = {"context": owned(1234, 4321)}
    offered = prepare_synced_files(await definition("context") if given else None, mounts)["context"]
    stats = [entry.stat() for entry in offered.walk()]
    assert [(stat.path, stat.uid, stat.gid) for stat in stats] == [(b"d", 0, 0), (b"d/f", 0, 0)]
    assert [entry.stat().uid for entry in mounts["context"].walk()] == [1234, 1234], "only what is sent is changed"


async def test_only_what_a_definition_names_is_offered() -> None:
    mounts: Mapping[str, FS] = {"one": owned(0, 0), "two": owned(0, 0)}
    assert list(prepare_synced_files(await definition("two"), mounts)) == ["two"]
    assert list(prepare_synced_files(None, mounts)) == ["one", "two"]
    with pytest.raises(BuildkitError, match=r"^local directory three not enabled$"):
        prepare_synced_files(await definition("three"), mounts)


class Lists(Script):
    """Takes the context's list, and nothing else of it."""

    def __init__(self) -> None:
        self.stats: list[Stat] = []

    async def frontend(self, build: Build) -> None:
        caller = await build.caller()
        ctx = caller.context(context.background())
        stream = await caller.conn().stream(ctx, DIFF_COPY, metadata=[("dir-name", "context")])
        listed = False
        while not listed:
            packets = [decode_packet(raw) for raw in await stream.recv_many()]
            self.stats += [packet.stat for packet in packets if packet.stat is not None]
            listed = packets[-1].stat is None
        await stream.send_many([FIN_PACKET])
        await stream.close_send()
        while await stream.recv_many():
            pass


def test_owners_of_a_directory_stay_at_home(tmp_path: Path) -> None:
    """The same for what the command sends."""
    work = tmp_path / "work"
    write_tree(work / "test", {"d/f": "x", "g": "y"})
    (work / "test/l").symlink_to("g")
    if os.geteuid() == 0:
        for name in ("d", "d/f", "g", "l"):
            os.chown(work / "test" / name, 1234, 4321, follow_symlinks=False)
    before = {(entry.stat().uid, entry.stat().gid) for entry in new_fs(str(work / "test")).walk()}
    assert before == {(1234, 4321) if os.geteuid() == 0 else (os.getuid(), os.getgid())}
    lists = Lists()
    with serve(lists, tmp_path) as daemon:
        result = run(*BUILD, "--local", "context=test", addr=daemon.addr, cwd=work)
    assert result.code == 0, result.stderr
    assert [(stat.path, stat.uid, stat.gid) for stat in lists.stats] == [
        (name, 0, 0) for name in (b"d", b"d/f", b"g", b"l")
    ]
