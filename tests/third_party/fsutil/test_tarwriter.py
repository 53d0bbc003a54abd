"""Tar streams, read back by Python's tarfile."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from pybuildkit.golang.context import background
from pybuildkit.third_party.fsutil import (
    MODE_CHAR_DEVICE,
    MODE_DEVICE,
    MODE_DIR,
    MODE_NAMED_PIPE,
    MODE_SETUID,
    MODE_SOCKET,
    MODE_SYMLINK,
    Stat,
    StaticFS,
    new_fs,
    write_tar,
)
from pybuildkit.third_party.fsutil._tarwriter import TarError, header, tar_stream
from tests.third_party.fsutil.changes import make
from tests.third_party.fsutil.transfer import open_descriptors


class Collect:
    """A writer that keeps what it gets."""

    def __init__(self) -> None:
        self.data = bytearray()

    async def write_all(self, data: bytes, /) -> None:
        self.data += data


HEADERS: list[Stat] = [
    Stat(b"f", 0o644, size=5, mod_time=1700000000 * 10**9 + 600_000_000),
    Stat(b"d", MODE_DIR | 0o755, 1000, 1001),
    Stat(b"l", MODE_SYMLINK | 0o777, linkname=b"../x", size=4),
    Stat(b"h", 0o644, size=5, linkname=b"f"),
    Stat(b"s", MODE_SETUID | 0o755),
    Stat(b"p", MODE_NAMED_PIPE | 0o600),
    Stat(b"c", MODE_DEVICE | MODE_CHAR_DEVICE | 0o600, devmajor=1, devminor=3),
    Stat(b"b", MODE_DEVICE | 0o600, devmajor=7, devminor=259),
    Stat(b"dir/" * 30 + b"f", 0o644, size=1),
    Stat(b"x" * 200, 0o644, size=1),
    Stat("grün/ü".encode(), 0o644, linkname="ö".encode()),
    Stat(b"big", 0o644, 3_000_000, 4_000_000, size=1 << 40),
    Stat(b"old", 0o644, mod_time=-(10**9)),
    Stat(b"x", 0o644, xattrs={"user.a": b"1\n2", "security.capability": b"\x00\xff"}),
]
_TYPES = {MODE_DIR: tarfile.DIRTYPE, MODE_SYMLINK: tarfile.SYMTYPE, MODE_NAMED_PIPE: tarfile.FIFOTYPE}


@pytest.mark.parametrize("stat", HEADERS, ids=lambda stat: stat.path[:8].decode())
def test_header(stat: Stat) -> None:
    raw = header(stat.path, stat)
    assert len(raw) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(raw + bytes(1024)), mode="r:", encoding="utf-8") as tar:
        tar.errorlevel = 0
        member = tar.next()
    assert member is not None
    name = stat.path.decode()
    assert member.name == name
    assert member.mode == stat.mode & 0o777 | (0o4000 if stat.mode & MODE_SETUID else 0)
    assert (member.uid, member.gid) == (stat.uid, stat.gid)
    assert member.mtime == (stat.mod_time + 500_000_000) // 10**9
    assert member.linkname == stat.linkname.decode()
    assert (member.devmajor, member.devminor) == (stat.devmajor, stat.devminor)
    if stat.linkname or stat.mode & ~(0o777 | MODE_SETUID):
        assert member.size == 0
    else:
        assert member.size == stat.size
    if stat.linkname and not stat.mode & MODE_SYMLINK:
        assert member.type == tarfile.LNKTYPE
    for mode, kind in _TYPES.items():
        if stat.mode & mode:
            assert member.type == kind
    attributes = {k: v.encode("utf-8", "surrogateescape") for k, v in member.pax_headers.items() if "xattr" in k}
    assert attributes == {f"SCHILY.xattr.{key}": value for key, value in (stat.xattrs or {}).items()}


@pytest.mark.parametrize(
    ("path", "mode", "name"),
    [
        (b"d/n", 0o644, b"d/PaxHeaders.0/n"),
        (b"d/n", MODE_DIR | 0o755, b"d/n/PaxHeaders.0"),
        (b"n", MODE_DIR | 0o755, b"n/PaxHeaders.0"),
        (b"d/\xff", 0o644, b"d/PaxHeaders.0"),
    ],
)
def test_name_of_an_extended_header(path: bytes, mode: int, name: bytes) -> None:
    """As Go makes it of the entry's name, with its "/" for a directory; it only shows in old readers."""
    raw = header(path, Stat(path, mode, xattrs={"user.a": b"v"}))
    assert raw[:100].rstrip(b"\0") == name
    assert raw[156:157] == b"x"


def test_header_of_a_second_name_of_a_device() -> None:
    """It keeps the device's numbers, as with Go."""
    raw = header(b"n", Stat(b"n", MODE_DEVICE | 0o600, linkname=b"a", devmajor=7, devminor=8))
    assert (raw[156:157], raw[329:345]) == (b"1", b"0000007\x000000010\x00")


def test_header_of_a_socket() -> None:
    with pytest.raises(TarError, match=r"^archive/tar: unknown file mode"):
        header(b"s", Stat(b"s", MODE_SOCKET | 0o644))


async def test_write_tar(tmp_path: Path) -> None:
    root = make(
        tmp_path / "d", ["ADD a file abc", "ADD d dir", "ADD d/b file >a", "ADD d/l symlink ../a", "ADD e file"]
    )
    large = os.urandom(1_500_001)
    (root / "large").write_bytes(large)
    before = open_descriptors()
    out = Collect()
    await write_tar(background(), new_fs(str(root)), out)
    assert open_descriptors() <= before
    with tarfile.open(fileobj=io.BytesIO(out.data), mode="r:") as tar:
        assert tar.getnames() == ["a", "d", "d/b", "d/l", "e", "large"]
        assert tar.getmember("d/b").islnk()
        assert [tar.extractfile(name).read() for name in ("a", "e", "large")] == [b"abc", b"", large]  # type: ignore[union-attr]  # regular files
    assert out.data.endswith(bytes(1024))


async def test_write_tar_of_memory() -> None:
    fs = StaticFS()
    fs.add("x", Stat(), b"data")
    out = Collect()
    await write_tar(background(), fs, out)
    assert len(out.data) == 512 * 4


async def test_write_tar_of_a_file_that_shrinks(tmp_path: Path) -> None:
    root = make(tmp_path / "d", ["ADD a file abcdef"])

    stream = tar_stream(new_fs(str(root)))
    next(stream)
    os.truncate(root / "a", 3)
    assert next(stream) == b"abc"
    with pytest.raises(OSError, match="shorter"):
        next(stream)


async def test_write_tar_stops_with_its_writer(tmp_path: Path) -> None:
    root = make(tmp_path / "d", ["ADD a file abc"])
    (root / "large").write_bytes(bytes(3 << 20))

    class Full:
        async def write_all(self, data: bytes, /) -> None:
            raise OSError(28, "No space left on device")

    before = open_descriptors()
    with pytest.raises(OSError, match="No space left"):
        await write_tar(background(), new_fs(str(root)), Full())
    assert open_descriptors() <= before
