"""FileSync and FileSend by themselves: what a call's headers ask for, and where an export goes."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from pybuildkit.golang.context import background
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Code, RpcError
from pybuildkit.rpc.health import check
from pybuildkit.session.filesync import (
    FSSendRequestOpt,
    FSSyncProvider,
    StaticDirSource,
    copy_file_writer,
    copy_to_caller,
    fs_sync,
    new_fs_sync_target,
    with_fs_sync,
    with_fs_sync_dir,
    with_fs_sync_dir_delete,
)
from pybuildkit.session.filesync._filesync import MOST_CALLS, TAR_STREAM
from pybuildkit.session.filesync._synctarget import FILE_SEND, MOST_TRANSFERS
from pybuildkit.third_party.fsutil import MODE_DIR, Entry, ReceiveOpt, Stat, StaticFS, new_fs
from pybuildkit.third_party.fsutil._packet import END_OF_LIST, FIN_PACKET, data_end, stat_packet
from tests.session.filesync.test_tunnel import tunnel
from tests.third_party.fsutil.changes import make
from tests.third_party.fsutil.transfer import names

TREE = [
    "ADD a dir",
    "ADD a/one file 1",
    "ADD a/two file 2",
    "ADD b dir",
    "ADD b/link symlink ../a/one",
    "ADD c file 3",
]


def static(**contents: str) -> StaticFS:
    """Files in memory, owned by somebody else."""
    fs = StaticFS()
    for name, text in contents.items():
        fs.add(name, Stat(uid=4321, gid=4321), text.encode())
    return fs


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({}, ["a", "a/one", "a/two", "b", "b/link", "c", "\u00fc"]),
        ({"include_patterns": ["a/t*", "c"]}, ["a", "a/two", "c"]),
        ({"exclude_patterns": ["a/t*", "c"]}, ["a", "a/one", "b", "b/link", "\u00fc"]),
        ({"include_patterns": ["a"], "exclude_patterns": ["**/two"]}, ["a", "a/one"]),
        ({"follow_paths": ["b/link"]}, ["a", "a/one", "b", "b/link"]),
        ({"include_patterns": ["\u00fc", "c"]}, ["c", "\u00fc"]),
        ({"exclude_patterns": ["\u00fc", "a+b %41 %"]}, ["a", "a/one", "a/two", "b", "b/link", "c"]),
        ({"follow_paths": ["\u00fc"]}, ["\u00fc"]),
    ],
)
async def test_filters_of_a_request(tmp_path: Path, filters: Mapping[str, Sequence[str]], wanted: list[str]) -> None:
    """Each kind of filter reaches the walk, also where it is not ASCII."""
    source, dest = make(tmp_path / "src", TREE), make(tmp_path / "dest", [])
    (source / "\u00fc").write_text("4")
    moved: list[tuple[int, bool]] = []
    provider = FSSyncProvider(
        StaticDirSource({"context": new_fs(str(source))}), lambda size, last: moved.append((size, last))
    )
    async with tunnel(provider) as caller:
        opt = FSSendRequestOpt(name="context", dest_dir=str(dest), receive=ReceiveOpt(), **filters)
        await fs_sync(background(), caller, opt)
    assert names(dest) == sorted(wanted)
    assert [last for _, last in moved] == [False] * (len(moved) - 1) + [True]
    assert 0 < moved[0][0] <= moved[-1][0]


@pytest.mark.parametrize("name", ["", "other", "../context"])
async def test_sources_that_are_not_offered(tmp_path: Path, name: str) -> None:
    async with tunnel(FSSyncProvider(StaticDirSource({"context": static(f="x")}))) as caller:
        with pytest.raises(RpcError, match="no access allowed to dir"):
            await fs_sync(
                background(), caller, FSSendRequestOpt(name=name, dest_dir=str(tmp_path), receive=ReceiveOpt())
            )
        call = await caller.conn().stream(background(), TAR_STREAM)
        with pytest.raises(RpcError, match="failed to negotiate protocol"):
            await call.recv_many()
    assert names(tmp_path) == []


async def test_targets_are_chosen_by_their_number(tmp_path: Path) -> None:
    """Each export lands in its own place; one that nobody has is refused; what never came is known."""
    target = new_fs_sync_target(*(with_fs_sync_dir(id, str(tmp_path / f"out{id}")) for id in (0, 1, 2)))
    async with tunnel(target) as caller:
        for id in (1, 0):
            await copy_to_caller(background(), static(**{f"f{id}": "x"}), id, caller)
        with pytest.raises(RpcError, match="exporter 7 not found"):
            await copy_to_caller(background(), static(f="x"), 7, caller)
    assert names(tmp_path) == ["out0", "out0/f0", "out1", "out1/f1"]
    assert [missing.id for missing in target.missing()] == [2]
    assert (tmp_path / "out0").stat().st_mode & 0o777 == 0o700
    info = (tmp_path / "out0/f0").stat()
    assert (info.st_uid, info.st_gid) == (os.getuid(), os.getgid())


async def test_copy_keeps_and_delete_removes_other_files(tmp_path: Path) -> None:
    old = ["ADD keep file old", "ADD d dir", "ADD d/x file old", "ADD same file old"]
    copied, emptied = make(tmp_path / "copied", old), make(tmp_path / "emptied", old)
    target = new_fs_sync_target(with_fs_sync_dir(0, str(copied)), with_fs_sync_dir_delete(1, str(emptied)))
    async with tunnel(target) as caller:
        for id in (0, 1):
            await copy_to_caller(background(), static(same="new"), id, caller, multi_platform=True)
    assert names(copied) == ["d", "d/x", "keep", "same"]
    assert names(emptied) == ["same"]
    assert (copied / "same").read_text() == (emptied / "same").read_text() == "new"


async def test_delete_needs_one_transfer_for_all_platforms(tmp_path: Path) -> None:
    """A daemon that sends each platform by itself would have each delete the one before."""
    dest = make(tmp_path / "out", ["ADD keep file old"])
    async with tunnel(new_fs_sync_target(with_fs_sync_dir_delete(0, str(dest)))) as caller:
        with pytest.raises(RpcError, match="mode=delete requires a BuildKit daemon with multi-platform"):
            await copy_to_caller(background(), static(f="x"), 0, caller)
    assert names(dest) == ["keep"]


async def test_platforms_in_one_transfer_and_in_several(tmp_path: Path) -> None:
    platforms = ("linux_amd64", "linux_arm64")

    def tree(*names: str) -> StaticFS:
        fs = StaticFS()
        for name in names:
            fs.add(name, Stat(mode=MODE_DIR | 0o755), b"")
            fs.add(f"{name}/f", Stat(), name.encode())
        return fs

    outs = [tmp_path / name for name in ("once", "twice", "deleted")]
    target = new_fs_sync_target(
        with_fs_sync_dir(0, str(outs[0])), with_fs_sync_dir(1, str(outs[1])), with_fs_sync_dir_delete(2, str(outs[2]))
    )
    async with tunnel(target) as caller:
        for id in (0, 2):
            await copy_to_caller(background(), tree(*platforms), id, caller, multi_platform=True)
        for name in platforms:
            await copy_to_caller(background(), tree(name), 1, caller)
    for out in outs:
        assert {name: (out / name / "f").read_text() for name in os.listdir(out)} == {n: n for n in platforms}
    assert target.missing() == []
    assert target.incomplete() == []


class Kept:
    """A file's writer that keeps what is written."""

    def __init__(self, fail: bool = False) -> None:
        self.data = bytearray()
        self.ends: list[str] = []
        self._fail = fail

    def write_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._fail:
            raise OSError(28, "No space left on device", "f")
        self.data += data

    def close(self) -> None:
        self.ends.append("close")

    def abort(self) -> None:
        self.ends.append("abort")


async def test_a_file_and_what_its_opener_is_told() -> None:
    """A file comes once, whole, with the headers that are meant for its opener."""
    kept, told = Kept(), list[Mapping[str, str]]()

    def output(metadata: Mapping[str, str]) -> Kept:
        told.append(metadata)
        return kept

    target = new_fs_sync_target(with_fs_sync(3, output))
    data = os.urandom(4 << 20)
    async with tunnel(target) as caller:
        writer = await copy_file_writer(background(), {"image.name": "x", "other": "y"}, 3, caller)
        await writer.write_all(data)
        await writer.close()
        again = await copy_file_writer(background(), {}, 3, caller)
        with pytest.raises(RpcError, match="has already sent its file"):
            await again.close()
    assert told == [{"image.name": "x", "other": "y"}]
    assert (bytes(kept.data), kept.ends) == (data, ["close"])
    assert str(target.failure()) == "exporter 3 has already sent its file"


@pytest.mark.parametrize("how", ["write", "reset"])
async def test_a_file_that_breaks_is_given_up(how: str) -> None:
    kept = Kept(how == "write")
    target = new_fs_sync_target(with_fs_sync(0, lambda metadata: kept))
    async with tunnel(target) as caller:
        writer = await copy_file_writer(background(), {}, 0, caller)
        if how == "write":
            await writer.write_all(b"x")
            with pytest.raises(RpcError, match="no space left on device"):
                await writer.close()
        else:
            await writer.write_all(b"x")
            while not kept.data:
                await asyncio.sleep(0.001)
            writer.abort()
    assert kept.ends == ["abort"]
    assert [missing.id for missing in target.missing()] == [0]
    assert (target.failure() is not None) == (how == "write")


async def test_the_first_failure_counts() -> None:
    """However many more follow."""
    broken = [Kept(fail=True), Kept(fail=True)]
    target = new_fs_sync_target(*(with_fs_sync(id, lambda metadata, id=id: broken[id]) for id in (0, 1)))  # type: ignore[misc]  # bound now
    async with tunnel(target) as caller:
        seen = []
        for id in (1, 0):
            writer = await copy_file_writer(background(), {}, id, caller)
            await writer.write_all(b"x")
            with pytest.raises(RpcError, match="no space left on device"):
                await writer.close()
            seen.append(target.failure())
    assert seen[0] is seen[1] is not None


async def test_a_target_that_wants_no_data() -> None:
    """The daemon takes the answer for success; so does the client."""
    target = new_fs_sync_target(with_fs_sync(0, lambda metadata: None))
    async with tunnel(target) as caller:
        writer = await copy_file_writer(background(), {}, 0, caller)
        with pytest.raises(RpcError) as err:
            await writer.close()
    assert err.value.code == Code.ALREADY_EXISTS
    assert (target.failure(), target.missing()) == (None, [])


async def test_a_session_without_exports() -> None:
    async with tunnel(FSSyncProvider(StaticDirSource({}))) as caller:
        with pytest.raises(BuildkitError, match="not supported by the client"):
            await copy_to_caller(background(), static(), 0, caller)
    async with tunnel(new_fs_sync_target()) as caller:
        with pytest.raises(BuildkitError, match="no local sources enabled"):
            await fs_sync(background(), caller, FSSendRequestOpt(name="x", dest_dir="/", receive=ReceiveOpt()))


async def test_calls_beyond_a_number_wait(tmp_path: Path) -> None:
    """A daemon that asks for a context a hundred times has no hundred threads; each call is answered in its turn."""
    release, began = threading.Event(), []

    class Slow(StaticFS):
        def walk(self, target: bytes = b"") -> Iterator[Entry]:
            began.append(threading.current_thread().name)
            release.wait(30)
            return super().walk(target)

    fs = Slow()
    fs.add("f", Stat(), b"content")
    count = MOST_CALLS + 10
    async with tunnel(FSSyncProvider(StaticDirSource({"context": fs}))) as caller:
        opts = []
        for number in range(count):
            (tmp_path / str(number)).mkdir()
            opts.append(FSSendRequestOpt(name="context", dest_dir=str(tmp_path / str(number)), receive=ReceiveOpt()))
        pulls = asyncio.gather(*(fs_sync(background(), caller, opt) for opt in opts))
        async with asyncio.timeout(20):
            while len(began) < MOST_CALLS:
                await asyncio.sleep(0.001)
        for _ in range(20):
            await check(caller.conn(), background())
        assert len(began) == MOST_CALLS
        release.set()
        await pulls
    assert len(began) == count
    assert {(tmp_path / str(number) / "f").read_text() for number in range(count)} == {"content"}


async def test_transfers_into_one_directory_beyond_a_number_wait(tmp_path: Path) -> None:
    """They are read in their turn; another directory's are not held up."""
    count = MOST_TRANSFERS + 5
    target = new_fs_sync_target(*(with_fs_sync_dir(id, str(tmp_path / f"out{id}")) for id in (0, 1)))

    def threads() -> int:
        return sum(thread.name == "fsutil-receive" for thread in threading.enumerate())

    async with tunnel(target) as caller:
        before = threads()
        streams = []
        for number in range(count):
            stream = await caller.conn().stream(caller.context(background()), FILE_SEND, metadata=[])
            await stream.send_many([stat_packet(Stat(b"f%d" % number, 0o644)), END_OF_LIST])
            streams.append(stream)
        async with asyncio.timeout(20):
            while threads() - before < MOST_TRANSFERS:
                await asyncio.sleep(0.001)
        await copy_to_caller(background(), static(f="x"), 1, caller)
        assert threads() - before <= MOST_TRANSFERS + 1
        async with asyncio.timeout(20):
            for stream in streams:
                assert await stream.recv_many() == [b"\x08\x01"]
                await stream.send_many([data_end(0)])
                assert await stream.recv_many() == [FIN_PACKET]
                await stream.send_many([FIN_PACKET])
                await stream.close_send()
                assert await stream.recv_many() == []
    assert names(tmp_path / "out0") == sorted(f"f{number}" for number in range(count))
    assert names(tmp_path / "out1") == ["f"]
    assert (target.missing(), target.incomplete()) == ([], [])
