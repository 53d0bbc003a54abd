"""Ports receive_test.go of tonistiigi/fsutil: whole transfers."""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuildkit.golang.context import background
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.third_party import fsutil
from pybuildkit.third_party.fsutil import (
    DIFF_CONTENT,
    DIFF_NONE,
    ChangeKind,
    Dir,
    Entry,
    File,
    FilterOpt,
    HashedChange,
    MapResult,
    ReceiveOpt,
    RemoteError,
    Stat,
    SubDirFS,
    go_mode,
    new_filter_fs,
    new_fs,
    receive,
)
from pybuildkit.third_party.fsutil._packet import error_packet, stat_packet
from tests.third_party.fsutil.changes import make, shown
from tests.third_party.fsutil.streams import Ended
from tests.third_party.fsutil.transfer import outcome, transfer

HOUR = 3600 * 10**9


class Changes:
    """Remembers what was announced."""

    def __init__(self) -> None:
        self.kinds: dict[bytes, ChangeKind] = {}
        self.digests: dict[bytes, str] = {}

    def handle(self, kind: ChangeKind, path: bytes, change: HashedChange | None) -> None:
        self.kinds[path] = kind
        if change is None:
            self.digests.pop(path, None)
        else:
            self.digests[path] = change.digest


def hasher(stat: Stat) -> hashlib._Hash:
    """The upstream tests' hasher: the Stat without its time and device, then the content."""
    stat = stat.clone()
    stat.mod_time = stat.devmajor = stat.devminor = 0
    if stat.mode & fsutil.MODE_SYMLINK:
        stat.mode |= 0o777
    return hashlib.sha256(stat.marshal())


def reset(path: bytes, stat: Stat) -> MapResult:
    stat.uid = stat.gid = 0
    return MapResult.KEEP


def own(path: bytes, stat: Stat) -> bool:
    stat.uid, stat.gid = os.getuid(), os.getgid()
    return True


class FailingFS:
    """A file system that cannot be walked or read."""

    def walk(self, target: bytes = b"") -> Iterator[Entry]:
        raise BuildkitError("invalid walk: foo bar")

    def open(self, path: bytes) -> File:
        raise BuildkitError("invalid open: foo bar")


async def test_send_error(tmp_path: Path) -> None:
    changes = Changes()
    opt = ReceiveOpt(notify_hashed=changes.handle, content_hasher=hasher)
    sender, receiver = await outcome(FailingFS(), tmp_path, opt)
    assert str(sender) == "invalid walk: foo bar"
    assert isinstance(receiver, RemoteError)
    assert str(receiver) == "error from sender: invalid walk: foo bar"


async def test_copy_with_sub_dir(tmp_path: Path) -> None:
    source = make(tmp_path / "d", ["ADD foo dir", "ADD foo/bar file data1"])
    dest = make(tmp_path / "dest", [])
    stat = Stat(b"sub", fsutil.MODE_DIR | 0o755, os.getuid(), os.getgid())
    await transfer(SubDirFS([Dir(stat, new_fs(str(source)))]), dest, ReceiveOpt())
    assert (dest / "sub/foo/bar").read_bytes() == b"data1"


async def test_copy_directory_timestamps(tmp_path: Path) -> None:
    source = make(tmp_path / "d", ["ADD foo dir", "ADD foo/bar dir", "ADD foo/bar/baz file data1"])
    for path in ("foo/bar", "foo"):
        os.utime(source / path, ns=(0, 0))
    dest = make(tmp_path / "dest", [])
    await transfer(new_fs(str(source)), dest, ReceiveOpt())
    assert (dest / "foo/bar/baz").read_bytes() == b"data1"
    assert (dest / "foo").stat().st_mtime_ns == 0
    assert (dest / "foo/bar").stat().st_mtime_ns == 0


async def test_copy_switch_dir_to_file(tmp_path: Path) -> None:
    source = make(tmp_path / "d", ["ADD foo file data1"])
    dest = make(tmp_path / "dest", ["ADD foo dir", "ADD foo/bar file data2"])
    changes = Changes()
    fs = new_filter_fs(new_fs(str(source)), FilterOpt(map=reset))
    await transfer(fs, dest, ReceiveOpt(notify_hashed=changes.handle, content_hasher=hasher, filter=own))
    assert changes.kinds == {b"foo": ChangeKind.ADD}
    assert shown(fsutil.walk(str(dest))) == ["file foo"]


async def test_hardlink_filter(tmp_path: Path) -> None:
    source = make(tmp_path / "d", ["ADD bar file data1", "ADD foo file >bar", "ADD foo2 file >bar"])
    fs = new_filter_fs(new_fs(str(source)), FilterOpt())
    fs = new_filter_fs(fs, FilterOpt(include_patterns=["foo*"], map=reset))
    dest = make(tmp_path / "dest", [])
    links = {}

    def note(path: bytes, stat: Stat) -> bool:
        links[path] = stat.linkname
        return own(path, stat)

    await transfer(fs, dest, ReceiveOpt(filter=note))
    assert links == {b"foo": b"", b"foo2": b"foo"}
    assert (dest / "foo").read_bytes() == b"data1"
    assert (dest / "foo").samefile(dest / "foo2")


async def test_hardlink_whose_first_name_is_left_out_later(tmp_path: Path) -> None:
    """As above, where the first name is known to the walk already when the map function leaves it out."""
    source = make(tmp_path / "d", ["ADD bar file data1", "ADD foo file >bar", "ADD foo2 file >bar"])

    def leave_out(path: bytes, stat: Stat) -> MapResult:
        return MapResult.EXCLUDE if path == b"bar" else MapResult.KEEP

    dest = make(tmp_path / "dest", [])
    await transfer(new_filter_fs(new_fs(str(source)), FilterOpt(map=leave_out)), dest, ReceiveOpt())
    assert sorted(os.listdir(dest)) == ["foo", "foo2"]
    assert (dest / "foo").read_bytes() == b"data1"
    assert (dest / "foo").samefile(dest / "foo2")


async def test_a_symbolic_link_with_two_names_keeps_its_target(tmp_path: Path) -> None:
    """Both names come as links of their own, as with Go: the target's place is taken, it cannot name the first one."""
    source = make(tmp_path / "d", ["ADD bar symlink ../elsewhere"])
    os.link(source / "bar", source / "foo", follow_symlinks=False)
    dest = make(tmp_path / "dest", [])
    await transfer(new_fs(str(source)), dest, ReceiveOpt())
    assert [os.readlink(dest / name) for name in ("bar", "foo")] == ["../elsewhere"] * 2


_SIMPLE = [
    "ADD foo file data1",
    "ADD foo2 file dat2",
    "ADD zzz dir",
    "ADD zzz/aa file data3",
    "ADD zzz/bb dir",
    "ADD zzz/bb/cc dir",
    "ADD zzz/bb/cc/dd symlink ../../",
    "ADD zzz.aa zzdata",
]
_LINK_DIGEST = "sha256:eca07e8f2d09bd574ea2496312e6de1685ef15b8e6a49a534ed9e722bcac8adc"


@pytest.mark.skipif(os.getuid() != 0, reason="the digests are those of files of root")
async def test_copy_simple(tmp_path: Path) -> None:
    source = make(tmp_path / "d", _SIMPLE)
    fs = new_filter_fs(new_fs(str(source)), FilterOpt(map=reset))
    dest = make(tmp_path / "dest", [])
    time = 1700000000 * 10**9 // HOUR * HOUR
    progress: list[tuple[int, bool]] = []
    changes = Changes()

    def set_time(path: bytes, stat: Stat) -> bool:
        stat.mod_time = time
        return own(path, stat)

    opt = ReceiveOpt(notify_hashed=changes.handle, content_hasher=hasher, filter=set_time)
    await transfer(fs, dest, opt, lambda size, last: progress.append((size, last)))
    assert progress[-1] == (max(progress)[0], True)
    assert [last for _, last in progress].count(True) == 1
    wanted = ["file foo", "file foo2", "dir zzz", "file zzz/aa", "dir zzz/bb", "dir zzz/bb/cc"]
    wanted += ["symlink:../../ zzz/bb/cc/dd", "file zzz.aa"]
    assert shown(fsutil.walk(str(dest))) == wanted
    assert (dest / "zzz/aa").read_bytes() == b"data3"
    assert (dest / "foo2").read_bytes() == b"dat2"
    assert (dest / "foo2").stat().st_mtime_ns == time
    assert changes.digests[b"zzz/aa"] == "sha256:99b6ef96ee0572b5b3a4eb28f00b715d820bfd73836e59cc1565e241f4d1bb2f"
    assert changes.digests[b"foo2"] == "sha256:dd2529f7749ba45ea55de3b2e10086d6494cc45a94e57650c2882a6a14b4ff32"
    assert changes.digests[b"zzz/bb/cc/dd"] == _LINK_DIGEST
    assert changes.kinds[b"zzz/aa"] == ChangeKind.ADD

    (source / "zzz/bb/cc/foo").write_bytes(b"data5")
    (source / "zzz/bb/cc/foo").chmod(0o600)
    (source / "foo2").unlink()
    changes.kinds.clear()
    await transfer(fs, dest, opt)
    wanted.remove("file foo2")
    wanted.insert(-1, "file zzz/bb/cc/foo")
    assert shown(fsutil.walk(str(dest))) == wanted
    digest = "sha256:cd14a931fc2e123ded338093f2864b173eecdee578bba6ec24d0724272326c3a"
    assert changes.digests[b"zzz/bb/cc/foo"] == digest
    assert changes.digests[b"zzz/bb/cc/dd"] == _LINK_DIGEST
    assert changes.kinds == {b"foo2": ChangeKind.DELETE, b"zzz/bb/cc/foo": ChangeKind.ADD}
    assert b"foo2" not in changes.digests
    assert (dest / "zzz/bb/cc/foo").read_bytes() == b"data5"


async def test_kinds_of_changes(tmp_path: Path) -> None:
    """A file that has content is always announced as added, and a directory that stays not at all, as Go does."""
    lines = ["ADD a file new", "ADD b dir", "ADD c symlink new", "ADD d dir", "ADD e file >a", "ADD f file new"]
    source = make(tmp_path / "d", lines)
    lines = ["ADD a file old", "ADD b dir", "ADD c symlink old", "ADD d file old", "ADD e file old"]
    dest = make(tmp_path / "dest", lines)
    changes = Changes()
    opt = ReceiveOpt(notify_hashed=changes.handle, content_hasher=hasher, differ=DIFF_NONE)
    await transfer(new_fs(str(source)), dest, opt)
    changed = dict.fromkeys((b"c", b"d", b"e"), ChangeKind.MODIFY)
    assert changes.kinds == {b"a": ChangeKind.ADD, b"f": ChangeKind.ADD, **changed}


async def test_copy_metadata_only(tmp_path: Path) -> None:
    lines = ["ADD foo file data1", "ADD foo2 file dat2", "ADD zzz dir", "ADD zzz/aa file data3"]
    source = make(tmp_path / "d", [*lines, "ADD .fsutil-metadata file evil"])
    dest = make(tmp_path / "dest", [])
    await transfer(new_fs(str(source)), dest, ReceiveOpt(metadata_only=lambda path, stat: path == b"foo2"))
    assert shown(fsutil.walk(str(dest))) == ["file .fsutil-metadata", "file foo2"]
    assert (dest / "foo2").read_bytes() == b"dat2"
    data = (dest / ".fsutil-metadata").read_bytes()
    stats = []
    while data:
        (size,) = struct.unpack_from("<I", data)
        stats.append(Stat.unmarshal(data[4 : 4 + size]))
        data = data[4 + size :]
    assert [(s.path, s.size, s.is_dir()) for s in stats] == [
        (b"foo", 5, False),
        (b"foo2", 4, False),
        (b"zzz", 0, True),
        (b"zzz/aa", 5, False),
    ]


async def test_metadata_only_makes_parents_of_what_is_wanted(tmp_path: Path) -> None:
    source = make(tmp_path / "d", ["ADD a dir", "ADD a/b dir", "ADD a/b/c file x", "ADD a/d file y", "ADD e dir"])
    dest = make(tmp_path / "dest", [])
    await transfer(new_fs(str(source)), dest, ReceiveOpt(metadata_only=lambda path, stat: path.endswith(b"c")))
    assert shown(fsutil.walk(str(dest))) == ["file .fsutil-metadata", "dir a", "dir a/b", "file a/b/c"]


@pytest.mark.parametrize(("differ", "requested"), [(fsutil.DIFF_METADATA, 0), (DIFF_NONE, 2), (DIFF_CONTENT, 2)])
async def test_differ(tmp_path: Path, differ: fsutil.DiffType, requested: int) -> None:
    source = make(tmp_path / "d", ["ADD a file x", "ADD d dir", "ADD d/b file y", "ADD l symlink a", "ADD m file >a"])
    dest = make(tmp_path / "dest", [])
    await transfer(new_fs(str(source)), dest, ReceiveOpt())
    changes = Changes()
    opt = ReceiveOpt(notify_hashed=changes.handle, content_hasher=hasher, differ=differ)
    await transfer(new_fs(str(source)), dest, opt)
    files = [path for path in changes.kinds if path in (b"a", b"d/b")]
    assert len(files) == requested
    assert shown(fsutil.walk(str(dest))) == shown(fsutil.walk(str(source)))


async def test_merge_keeps_and_delete_removes(tmp_path: Path) -> None:
    source = make(tmp_path / "d", ["ADD a file new", "ADD c dir", "ADD c/x file x"])
    lines = [
        "ADD a file old",
        "ADD b dir",
        "ADD b/deep dir",
        "ADD b/deep/f file",
        "ADD c dir",
        "ADD c/y file",
        "ADD z file",
    ]
    for merge in (True, False):
        dest = make(tmp_path / f"dest{merge}", lines)
        await transfer(new_fs(str(source)), dest, ReceiveOpt(merge=merge, differ=DIFF_NONE))
        assert (dest / "a").read_bytes() == b"new"
        kept = ["dir b", "dir b/deep", "file b/deep/f", "dir c", "file c/x", "file c/y", "file z"]
        assert shown(fsutil.walk(str(dest)))[1:] == (kept if merge else ["dir c", "file c/x"])


async def test_filter_leaves_out(tmp_path: Path) -> None:
    source = make(tmp_path / "d", ["ADD a file x", "ADD b file y"])
    dest = make(tmp_path / "dest", ["ADD kept file"])
    await transfer(new_fs(str(source)), dest, ReceiveOpt(filter=lambda path, stat: path == b"b"))
    assert shown(fsutil.walk(str(dest))) == ["file b", "file kept"]


async def test_missing_destination(tmp_path: Path) -> None:
    for merge in (True, False):
        sender, receiver = await outcome(new_fs(str(tmp_path)), tmp_path / "none", ReceiveOpt(merge=merge))
        assert isinstance(sender, RemoteError)
        assert "no such file or directory" in str(sender)
        assert receiver is not None


@pytest.mark.parametrize(("last", "text"), [([error_packet("no")], "error from sender: no"), ([], "stream is closed")])
async def test_the_senders_error_beats_the_end_of_the_stream(tmp_path: Path, last: list[bytes], text: str) -> None:
    """A sender that fails ends the stream; a request may find it ended before the sender's words are read."""
    stat = stat_packet(Stat(b"f", go_mode(0o100644), size=1))
    stream = Ended([stat], *([last] if last else []))
    with pytest.raises((BuildkitError, OSError)) as caught:
        await asyncio.wait_for(receive(background(), stream, str(tmp_path), ReceiveOpt()), 30)
    assert error_text(caught.value) == text
