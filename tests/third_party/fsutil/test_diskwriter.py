"""Ports diskwriter_test.go, diskwriter_unix_test.go and the tests of roots of tonistiigi/fsutil."""

from __future__ import annotations

import errno
import os
import stat as unix
from pathlib import Path

import pytest

from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.third_party import fsutil
from pybuildkit.third_party.fsutil import (
    MODE_CHAR_DEVICE,
    MODE_DEVICE,
    MODE_DIR,
    MODE_NAMED_PIPE,
    MODE_SETGID,
    MODE_SETUID,
    MODE_SOCKET,
    MODE_STICKY,
    MODE_SYMLINK,
    ChangeKind,
    DiskWriter,
    FileWriter,
    RefusedError,
    Root,
    SizeError,
    Stat,
)
from pybuildkit.third_party.fsutil._diskio import link
from pybuildkit.third_party.fsutil._diskwriter import MAX_OPEN_FILES
from tests.session.unprivileged import unprivileged
from tests.third_party.fsutil.changes import make, parse, shown
from tests.third_party.fsutil.transfer import names, open_descriptors

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root")


def add(writer: DiskWriter, stat: Stat, data: bytes = b"") -> None:
    """Add an entry with its content."""
    if stat.uid == 0:
        stat.uid, stat.gid = os.getuid(), os.getgid()
    file = writer.add(ChangeKind.ADD, stat.path, stat, stat)
    if file is not None:
        if data:
            writer.write(file, data)
        writer.end(file)


def write(dest: Path, lines: list[str]) -> None:
    """Write a tree in one go."""
    writer = DiskWriter(str(dest))
    for change in parse(lines):
        change.stat.size = len(change.data)
        change.stat.mode |= 0o755 if change.stat.is_dir() else 0o644
        add(writer, change.stat, change.data)
    writer.finish()


TREES: dict[str, tuple[list[str], list[str], list[str]]] = {
    "TestWriterSimple": (
        [],
        ["ADD bar dir", "ADD bar/foo file", "ADD bar/foo2 symlink ../foo", "ADD foo file", "ADD foo2 file >foo"],
        ["dir bar", "file bar/foo", "symlink:../foo bar/foo2", "file foo", "file foo2 >foo"],
    ),
    "TestWriterFileToDir": (
        ["ADD foo file data1"],
        ["ADD foo dir", "ADD foo/bar file data2"],
        ["dir foo", "file foo/bar"],
    ),
    "TestWriterDirToFile": (["ADD foo dir", "ADD foo/bar file data2"], ["ADD foo file data1"], ["file foo"]),
    "link over file": (["ADD a file 1"], ["ADD a symlink x"], ["symlink:x a"]),
    "link over dir": (["ADD a dir", "ADD a/b dir", "ADD a/b/c file"], ["ADD a symlink x"], ["symlink:x a"]),
    "file over dir with a link to a dir": (
        ["ADD r dir", "ADD r/x file y", "ADD a dir", "ADD a/l symlink ../r"],
        ["ADD a file x"],
        ["file a", "dir r", "file r/x"],
    ),
    "file over link": (["ADD a symlink /etc/passwd"], ["ADD a file x"], ["file a"]),
    "dir over link": (
        ["ADD r dir", "ADD a symlink r"],
        ["ADD a dir", "ADD a/f file x"],
        ["dir a", "file a/f", "dir r"],
    ),
    "hard link over file": (["ADD b file old"], ["ADD a file x", "ADD b file >a"], ["file a", "file b >a"]),
    "hard link over itself": (
        ["ADD a file x", "ADD b file >a"],
        ["ADD b file y", "ADD c file >b"],
        ["file a", "file b", "file c >b"],
    ),
    "hard link over dir": (["ADD b dir", "ADD b/c file"], ["ADD a file x", "ADD b file >a"], ["file a", "file b >a"]),
}


@pytest.mark.parametrize("name", TREES)
def test_writer(tmp_path: Path, name: str) -> None:
    before, lines, after = TREES[name]
    before_fds = open_descriptors()
    dest = make(tmp_path / "dest", before)
    write(dest, lines)
    assert shown(fsutil.walk(str(dest))) == after
    assert open_descriptors() <= before_fds


def test_hard_links_that_are_there_already(tmp_path: Path) -> None:
    dest = make(tmp_path / "dest", ["ADD a file x", "ADD b file >a"])
    writer = DiskWriter(str(dest))
    writer.add(ChangeKind.ADD, b"b", Stat(b"b", 0o644, linkname=b"a"), Stat(b"b"))
    writer.finish()
    assert names(dest) == ["a", "b"]
    assert (dest / "a").samefile(dest / "b")


def test_walker_writer_simple(tmp_path: Path) -> None:
    """TestWalkerWriterSimple and TestWalkerWriterAsync: files are filled after later entries were made."""
    lines = ["ADD foo dir", "ADD foo/foo1 file data1", "ADD foo/foo2 file data2", "ADD foo/foo3 file data3"]
    dest = make(tmp_path / "dest", [])
    writer = DiskWriter(str(dest))
    files: list[tuple[FileWriter, bytes]] = []
    for change in parse([*lines, "ADD foo/foo4 file >foo/foo3", "ADD foo5 file data5"]):
        change.stat.size = len(change.data)
        change.stat.mode |= 0o700
        file = writer.add(change.kind, change.stat.path, change.stat, change.stat)
        if file is not None:
            files.append((file, change.data))
    for file, data in reversed(files):
        writer.write(file, data[:2])
    for file, data in files:
        writer.write(file, data[2:])
        writer.end(file)
    writer.finish()
    assert (dest / "foo/foo4").read_bytes() == b"data3"
    assert (dest / "foo/foo3").samefile(dest / "foo/foo4")
    assert (dest / "foo5").read_bytes() == b"data5"


@needs_root
@pytest.mark.parametrize("special", [True, False])
def test_walker_writer_devices(tmp_path: Path, special: bool) -> None:
    """TestWalkerWriterDevices; they are made only where that is allowed."""
    writer = DiskWriter(str(tmp_path), special_files=special)
    devices = [
        Stat(b"block", MODE_DEVICE | 0o600, devmajor=2, devminor=3),
        Stat(b"char", MODE_DEVICE | MODE_CHAR_DEVICE | 0o400, devmajor=1, devminor=9),
    ]
    for stat in devices:
        if not special:
            with pytest.raises(RefusedError, match=r"^refusing to create device"):
                add(writer, stat)
            continue
        add(writer, stat)
        info = (tmp_path / os.fsdecode(stat.path)).lstat()
        assert (os.major(info.st_rdev), os.minor(info.st_rdev)) == (stat.devmajor, stat.devminor)
        assert fsutil.go_mode(info.st_mode) == stat.mode
    writer.finish()
    assert names(tmp_path) == (["block", "char"] if special else [])


def test_root_mknod_fifo(tmp_path: Path) -> None:
    """TestRootMknodFIFO, also over what is there, and whatever the umask."""
    writer = DiskWriter(str(tmp_path))
    (tmp_path / "fifo2").touch()
    for path in (b"fifo", b"fifo2"):
        add(writer, Stat(path, MODE_NAMED_PIPE | 0o622, mod_time=5))
    writer.finish()
    for name in ("fifo", "fifo2"):
        info = (tmp_path / name).lstat()
        assert (info.st_mode, info.st_mtime_ns) == (unix.S_IFIFO | 0o622, 5)


@needs_root
def test_attributes_of_what_cannot_be_opened(tmp_path: Path) -> None:
    """A FIFO's attributes, also where it takes the place of a file; only what root may set goes there."""
    writer = DiskWriter(str(tmp_path), special_files=True)
    (tmp_path / "b").touch()
    for path in (b"a", b"b"):
        add(writer, Stat(path, MODE_NAMED_PIPE | 0o600, xattrs={"trusted.name": b"value"}))
    writer.finish()
    try:
        found = [os.getxattr(tmp_path / name, "trusted.name", follow_symlinks=False) for name in "ab"]
    except OSError as err:
        if err.errno == errno.ENODATA:
            raise
        pytest.skip(f"no such attributes here: {err}")
    assert found == [b"value", b"value"]


def test_a_link_to_a_link_is_a_link(tmp_path: Path) -> None:
    """What a hard link leads to is not followed, should it have become a symbolic link."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "swapped").symlink_to("secret")
    with Root(str(tmp_path)) as root:
        link(root.dir(b""), b"swapped", root.dir(b""), b"name")
    assert (tmp_path / "name").is_symlink()
    assert (tmp_path / "secret").stat().st_nlink == 1


@pytest.mark.parametrize("path", [b"../out", b"a/../../out", b"..", b"", b"/abs", b"link/x", b"file/x"])
def test_root_rejects_escape(tmp_path: Path, path: bytes) -> None:
    """TestRootMknodRejectsEscape, for every kind of entry, whatever came through the validator."""
    outside = make(tmp_path / "outside", [])
    dest = make(tmp_path / "dest", ["ADD link symlink ../outside", "ADD file file"])
    writer = DiskWriter(str(dest))
    for mode in (MODE_NAMED_PIPE, MODE_DIR, MODE_SYMLINK, 0):
        with pytest.raises((OSError, BuildkitError)):
            add(writer, Stat(path, mode | 0o600, linkname=b"x" if mode == MODE_SYMLINK else b""))
    with pytest.raises((OSError, BuildkitError)):
        writer.delete(path)
    writer.close()
    assert names(outside) == []
    assert names(tmp_path) == ["dest", "dest/file", "dest/link", "outside"]


def test_root_lchtimes_does_not_follow_symlink(tmp_path: Path) -> None:
    """TestRootLChtimesDoesNotFollowSymlink."""
    (tmp_path / "target").write_bytes(b"data")
    os.utime(tmp_path / "target", ns=(1000, 1000))
    writer = DiskWriter(str(tmp_path))
    add(writer, Stat(b"link", MODE_SYMLINK | 0o777, linkname=b"target", mod_time=2000))
    writer.finish()
    assert (tmp_path / "link").lstat().st_mtime_ns == 2000
    assert (tmp_path / "target").stat().st_mtime_ns == 1000


def test_root_disk_writer_xattrs(tmp_path: Path) -> None:
    """TestRootDiskWriterXattrs and TestRootLSetxattr, on read-only files and directories as well."""
    try:
        os.setxattr(tmp_path, "user.probe", b"")
    except OSError:
        pytest.skip("the file system knows no attributes")
    writer = DiskWriter(str(tmp_path))
    attributes = {"user.fsutil.rootdiskwriter": b"value\x00\xff"}
    add(writer, Stat(b"foo", 0o444, size=1, xattrs=attributes), b"x")
    add(writer, Stat(b"dir", MODE_DIR | 0o555, xattrs=attributes))
    writer.finish()
    for name in ("foo", "dir"):
        assert os.getxattr(tmp_path / name, "user.fsutil.rootdiskwriter") == b"value\x00\xff"
        assert fsutil.stat(str(tmp_path / name)).xattrs == attributes


def test_trusted_attributes_are_refused(tmp_path: Path) -> None:
    writer = DiskWriter(str(tmp_path))
    with pytest.raises(RefusedError, match=r"^refusing to set trusted.x on foo"):
        add(writer, Stat(b"foo", 0o644, xattrs={"trusted.x": b"1"}))
    writer.close()
    assert names(tmp_path) == []


@pytest.mark.parametrize("mode", [MODE_SOCKET, 1 << 19, MODE_DIR | MODE_SYMLINK, MODE_CHAR_DEVICE])
def test_unknown_types_are_refused(tmp_path: Path, mode: int) -> None:
    writer = DiskWriter(str(tmp_path))
    with pytest.raises(RefusedError):
        add(writer, Stat(b"foo", mode | 0o644))
    writer.close()


MODES = {
    b"plain": 0o644,
    b"none": 0,
    b"wide": 0o666,
    b"suid": MODE_SETUID | 0o755,
    b"sgid": MODE_SETGID | 0o2755,
    b"all": MODE_SETUID | MODE_SETGID | MODE_STICKY | 0o777,
}


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        writer = DiskWriter(str(tmp_path))
        for name, mode in MODES.items():
            add(writer, Stat(name, mode & ~0o7000, size=1, mod_time=7), b"x")
            add(writer, Stat(b"d" + name, MODE_DIR | mode & ~0o7000, mod_time=7))
        writer.finish()
    finally:
        os.umask(before)
    for name, mode in MODES.items():
        for path, wanted in ((name, mode & ~0o7000), (b"d" + name, MODE_DIR | mode & ~0o7000)):
            info = os.lstat(os.path.join(os.fsencode(tmp_path), path))
            assert (fsutil.go_mode(info.st_mode), info.st_mtime_ns) == (wanted, 7), path


@needs_root
def test_owners(tmp_path: Path) -> None:
    writer = DiskWriter(str(tmp_path))
    add(writer, Stat(b"f", MODE_SETUID | 0o755, 1000, 1001, size=1), b"x")
    add(writer, Stat(b"d", MODE_DIR | 0o755, 5, 6))
    add(writer, Stat(b"l", MODE_SYMLINK | 0o777, 7, 8, linkname=b"f"))
    writer.finish()
    for name, owner in (("f", (1000, 1001)), ("d", (5, 6)), ("l", (7, 8))):
        info = (tmp_path / name).lstat()
        assert (info.st_uid, info.st_gid) == owner
    assert (tmp_path / "f").stat().st_mode & 0o7777 == 0o4755


def test_owners_without_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Owners that may not be given are left; root's errors count."""

    def refuse(fd: int, uid: int, gid: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    for euid, fails in ((1000, False), (0, True)):
        monkeypatch.setattr(os, "geteuid", lambda euid=euid: euid)
        writer = DiskWriter(str(tmp_path))
        stat = Stat(b"f%d" % euid, 0o644, 4242, 4242)
        if fails:
            with pytest.raises(PermissionError):
                add(writer, stat)
        else:
            add(writer, stat)
        writer.close()
    assert names(tmp_path) == ["f1000"]


@pytest.mark.parametrize("mode", [0o555, 0o400, 0o2500])
def test_directory_without_write_permission_is_filled(mode: int) -> None:
    """By a user who is bound to it; and again, when it is there with that mode."""
    with unprivileged() as folder:
        for data in (b"x", b"y"):
            writer = DiskWriter(str(folder))
            add(writer, Stat(b"d", MODE_DIR | mode & 0o777, mod_time=9))
            assert (folder / "d").stat().st_mode & 0o700 == 0o700
            add(writer, Stat(b"d/e", MODE_DIR | 0o755, mod_time=9))
            add(writer, Stat(b"d/f", 0o644, size=1), data)
            writer.finish()
            assert ((folder / "d").stat().st_mode & 0o777, (folder / "d").stat().st_mtime_ns) == (mode & 0o777, 9)
            (folder / "d").chmod(mode)
        (folder / "d").chmod(0o700)
        assert (folder / "d/f").read_bytes() == b"y"


def test_a_directory_of_somebody_else_keeps_its_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not be changed; what the system says of what is made in it counts."""
    (tmp_path / "d").mkdir(0o555)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    writer = DiskWriter(str(tmp_path))
    add(writer, Stat(b"d", MODE_DIR | 0o755))
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o555
    writer.close()


@pytest.mark.parametrize(("data", "word"), [(b"12", "shorter"), (b"1234", "longer")])
@pytest.mark.parametrize("exists", [True, False])
def test_sizes_are_checked(tmp_path: Path, data: bytes, word: str, exists: bool) -> None:
    if exists:
        (tmp_path / "f").write_bytes(b"old")
    writer = DiskWriter(str(tmp_path))
    with pytest.raises(SizeError, match=f"^f is {word} than its size of 3 bytes"):
        add(writer, Stat(b"f", 0o644, size=3), data)
    writer.close()
    assert names(tmp_path) == (["f"] if exists else [])
    assert not exists or (tmp_path / "f").read_bytes() == b"old"


@pytest.mark.parametrize(("piece", "most"), [(128 << 10, 64 << 10), (100_000, 1 << 20)])
def test_sparse_file_keeps_its_holes(tmp_path: Path, piece: int, most: int) -> None:
    """Two blocks of it hold something; where pieces do not end with blocks, some more are written."""
    size = 8 << 20
    data = bytearray(size)
    data[1 << 20 : (1 << 20) + 5] = b"hello"
    data[4096 * 700 - 1] = 1
    writer = DiskWriter(str(tmp_path))
    stat = Stat(b"f", 0o644, size=size)
    file = writer.add(ChangeKind.ADD, b"f", stat, stat)
    assert file is not None
    for pos in range(0, size, piece):
        writer.write(file, bytes(data[pos : pos + piece]))
    writer.end(file)
    writer.finish()
    assert (tmp_path / "f").read_bytes() == data
    assert (tmp_path / "f").stat().st_blocks * 512 < most


def test_many_files_at_once_keep_few_open(tmp_path: Path) -> None:
    """Pieces of a hundred files, mixed."""
    before = len(open_descriptors())
    writer = DiskWriter(str(tmp_path))
    files = []
    chunk = os.urandom(150_000)
    for number in range(100):
        stat = Stat(b"f%d" % number, 0o644, size=2 * len(chunk))
        file = writer.add(ChangeKind.ADD, stat.path, stat, stat)
        assert file is not None
        files.append(file)
    most = 0
    for _ in range(2):
        for file in files:
            writer.write(file, chunk)
            most = max(most, len(open_descriptors()) - before)
    assert not any(name.startswith("f") for name in names(tmp_path))
    for file in files:
        writer.end(file)
    writer.finish()
    assert most <= 20
    assert all((tmp_path / f"f{number}").read_bytes() == chunk * 2 for number in range(100))


def test_a_file_that_was_put_aside_is_not_followed(tmp_path: Path) -> None:
    """More content comes for a file that had to be closed, and whose temporary name is a link by now."""
    secret, dest = tmp_path / "secret", tmp_path / "dest"
    secret.write_bytes(b"secret")
    dest.mkdir()
    size = 300_000
    writer = DiskWriter(str(dest))
    stats = [Stat(b"f%d" % number, 0o644, size=2 * size) for number in range(MAX_OPEN_FILES + 1)]
    files = [writer.add(ChangeKind.ADD, stat.path, stat, stat) for stat in stats]
    for file in files:
        assert file is not None
        writer.write(file, b"x" * size)
    first = files[0]
    assert first is not None
    aside = dest / os.fsdecode(first.temp)
    aside.unlink()
    aside.symlink_to(secret)
    with pytest.raises(OSError, match="links"):
        writer.write(first, b"x" * size)
    writer.close()
    assert secret.read_bytes() == b"secret"
    assert os.listdir(dest) == []


def test_a_deep_tree_keeps_few_directories_open(tmp_path: Path) -> None:
    before, most, path = len(open_descriptors()), 0, b""
    writer = DiskWriter(str(tmp_path))
    for level in range(60):
        path += b"/d" if path else b"d"
        add(writer, Stat(path, MODE_DIR | 0o755))
        add(writer, Stat(path + b"/f%d" % level, 0o644, size=1), b"x")
        most = max(most, len(open_descriptors()) - before)
    writer.finish()
    assert most <= 10
    assert len(open_descriptors()) == before
    assert len(names(tmp_path)) == 120


def test_close_removes_what_is_not_complete(tmp_path: Path) -> None:
    writer = DiskWriter(str(tmp_path))
    add(writer, Stat(b"d", MODE_DIR | 0o755))
    add(writer, Stat(b"d/whole", 0o644, size=1), b"x")
    stat = Stat(b"d/part", 0o644, size=1 << 20)
    file = writer.add(ChangeKind.ADD, b"d/part", stat, stat)
    assert file is not None
    writer.write(file, bytes(300_000))
    assert len(names(tmp_path)) == 3
    writer.close()
    writer.close()
    assert names(tmp_path) == ["d", "d/whole"]


def test_root_stack_uses_subroot_and_basename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TestRootStackUsesSubrootAndBasename, TestRootCacheUsesCachedParentChain: what is open is not opened again."""
    make(tmp_path, ["ADD a dir", "ADD a/b dir", "ADD a/b/c dir", "ADD a/b/c/file file data"])
    opened: list[object] = []
    real = os.open

    def remember(path: bytes, flags: int, *, dir_fd: int | None = None) -> int:
        opened.append(path)
        return real(path, flags, dir_fd=dir_fd)

    with Root(str(tmp_path)) as root:
        monkeypatch.setattr(os, "open", remember)
        fd, _ = root.open_file(b"a/b/c/file")
        assert os.read(fd, 10) == b"data"
        os.close(fd)
        assert opened == [b"a", b"b", b"c", b"file"]
        for path in (b"a/b/c", b"a/b", b"a", b""):
            assert os.fstat(root.dir(path)).st_ino == (tmp_path / os.fsdecode(path)).stat().st_ino
        assert len(opened) == 4
        with pytest.raises(FileNotFoundError) as err:
            root.dir(b"a/none/c")
        assert error_text(err.value) == f"open {tmp_path}/a/none: no such file or directory"


def test_root_close_closes_wrapped_root(tmp_path: Path) -> None:
    """TestRootCloseClosesWrappedRoot, and all that was opened below it."""
    make(tmp_path, ["ADD a dir", "ADD a/b dir"])
    before = open_descriptors()
    root = Root(str(tmp_path))
    root.dir(b"a/b")
    assert len(open_descriptors() - before) == 3
    root.close()
    assert open_descriptors() == before
    root.close()
    for path in (b"", b"a", b"a/b"):
        with pytest.raises(OSError, match="Bad file descriptor"):
            root.dir(path)


def test_delete_of_a_deep_tree(tmp_path: Path) -> None:
    deep = tmp_path / "d"
    for level in range(200):
        deep.mkdir()
        (deep / "f").touch()
        (deep / "g").mkdir()
        deep = deep / f"n{level % 10}"
    writer = DiskWriter(str(tmp_path))
    writer.delete(b"d")
    writer.delete(b"none")
    writer.close()
    assert names(tmp_path) == []
