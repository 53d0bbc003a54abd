"""A file system as a tar stream.

Mirrors tarwriter.go of tonistiigi/fsutil (6d9dc2e), and the choices of Go's archive/tar for what it writes: USTAR
where a header fits, PAX records for what does not; times in whole seconds; attributes as `SCHILY.xattr.NAME`.

Differs from Go: a file that is shorter than its size is an error that names it, one that has grown is cut at it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Iterator
from typing import Protocol

from pybuildkit.golang.context import Context, run
from pybuildkit.golang.errors import BuildkitError, with_op
from pybuildkit.third_party.fsutil._fs import FS, Entry, walking
from pybuildkit.third_party.fsutil._stat import (
    FS_ENCODING,
    MODE_CHAR_DEVICE,
    MODE_DEVICE,
    MODE_NAMED_PIPE,
    MODE_SYMLINK,
    MODE_TYPE,
    Stat,
    unix_permissions,
)
from pybuildkit.third_party.fsutil._worker import Worker

BLOCK = 512
_CHUNK = 256 << 10
_BATCH = 512 << 10

_REGULAR, _LINK, _SYMLINK, _CHAR = b"0", b"1", b"2", b"3"
_BLOCK_DEVICE, _DIRECTORY, _FIFO, _PAX = b"4", b"5", b"6", b"x"


class TarError(BuildkitError):
    """An entry that tar has no form for."""


class Writer(Protocol):
    """Where the stream goes."""

    async def write_all(self, data: bytes, /) -> None: ...


async def write_tar(ctx: Context, fs: FS, writer: Writer) -> None:
    """Write a file system as a tar stream; the writer is not closed.

    The file system is read in a thread, a batch ahead of the writing.

    Raises:
        OSError, BuildkitError: an entry cannot be read, or the writer's own error.
    """
    await run(ctx, _write(fs, writer))


async def _write(fs: FS, writer: Writer) -> None:
    worker = Worker("fsutil-tar")
    blocks = tar_stream(fs)

    def batch() -> bytes:
        out: list[bytes] = []
        size = 0
        for block in blocks:
            worker.check()
            out.append(block)
            size += len(block)
            if size >= _BATCH:
                break
        return b"".join(out)

    try:
        ahead = worker.submit(batch)
        while data := await ahead:
            ahead = worker.submit(batch)
            await writer.write_all(data)
    finally:
        worker.stopping = True
        worker.submit(blocks.close)
        await worker.close()


def tar_stream(fs: FS) -> Generator[bytes, None, None]:
    """The pieces of a tar stream; the iterator blocks, and must be closed where it is not used up."""
    with walking(fs, b"") as walk:
        for entry in walk:
            if entry.error is not None:
                raise entry.error
            try:
                stat = entry.stat()
            except FileNotFoundError:
                continue
            yield header(entry.path, stat)
            if not stat.mode & MODE_TYPE and stat.size and not stat.linkname:
                yield from _content(fs, entry, stat.size)
    yield bytes(2 * BLOCK)


def _content(fs: FS, entry: Entry, size: int) -> Iterator[bytes]:
    if entry.source is not None:
        file = entry.source.open(entry.source_path)
    else:
        file = fs.open(entry.path)
    try:
        left = size
        while left:
            data = file.read(min(_CHUNK, left))
            if not data:
                raise with_op(OSError(errno.EIO, "File is shorter than it was when it was listed", entry.path), "read")
            left -= len(data)
            yield data
    finally:
        file.close()
    if size % BLOCK:
        yield bytes(BLOCK - size % BLOCK)


def header(path: bytes, stat: Stat) -> bytes:
    """The blocks that stand before an entry's content.

    Raises:
        TarError: tar knows no such type.
    """
    kind = _type_flag(path, stat)
    name = path + b"/" if kind == _DIRECTORY and not path.endswith(b"/") else path
    size = stat.size if kind == _REGULAR else 0
    records: dict[bytes, bytes] = {}
    for key, value in (stat.xattrs or {}).items():
        records[b"SCHILY.xattr." + key.encode("utf-8", "surrogateescape")] = value
    seconds = (stat.mod_time + 500_000_000) // 1_000_000_000
    prefix, base = _split_name(name)
    if not base:
        records[b"path"] = name
        prefix, base = b"", _cut(name)
    if len(stat.linkname) > 100 or not stat.linkname.isascii():
        records[b"linkpath"] = stat.linkname
    for key_name, number, width in (
        (b"uid", stat.uid, 8),
        (b"gid", stat.gid, 8),
        (b"size", size, 12),
        (b"mtime", seconds, 12),
    ):
        if not _fits(number, width):
            records[key_name] = b"%d" % number
    block = _block(
        kind,
        base,
        prefix,
        unix_permissions(stat.mode),
        stat.uid,
        stat.gid,
        size,
        seconds,
        _cut(stat.linkname),
        (stat.devmajor, stat.devminor),
    )
    return _pax(name, records) + block if records else block


def _type_flag(path: bytes, stat: Stat) -> bytes:
    mode = stat.mode & MODE_TYPE
    if mode & MODE_SYMLINK:
        return _SYMLINK
    if stat.linkname:
        return _LINK
    if not mode:
        return _REGULAR
    if stat.is_dir():
        return _DIRECTORY
    if mode & MODE_DEVICE:
        return _CHAR if mode & MODE_CHAR_DEVICE else _BLOCK_DEVICE
    if mode == MODE_NAMED_PIPE:
        return _FIFO
    raise TarError(f"archive/tar: unknown file mode {stat.mode:o}: {path.decode(FS_ENCODING, 'replace')}")


def _fits(number: int, width: int) -> bool:
    return 0 <= number < 1 << 3 * (width - 1)


def _cut(name: bytes) -> bytes:
    """What old readers see of a name that is told in a record; cut behind a slash it would be a directory's."""
    text = bytes(byte for byte in name if byte < 0x80)
    return text if len(text) <= 100 else text[:100].rstrip(b"/")


def _split_name(name: bytes) -> tuple[bytes, bytes]:
    """A name as USTAR's prefix and name; nothing where it does not fit."""
    if not name.isascii():
        return b"", b""
    if len(name) <= 100:
        return b"", name
    limit = min(len(name), 155 + 1)
    if name.endswith(b"/"):
        limit = min(limit, len(name) - 1)
    cut = name.rfind(b"/", 0, limit)
    if cut <= 0 or cut > 155 or not 0 < len(name) - cut - 1 <= 100:
        return b"", b""
    return name[:cut], name[cut + 1 :]


def _octal(number: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, number if _fits(number, width) else 0)


def _block(
    kind: bytes,
    name: bytes,
    prefix: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    seconds: int,
    linkname: bytes,
    device: tuple[int, int] | None,
) -> bytes:
    before = name.ljust(100, b"\0") + _octal(mode, 8) + _octal(uid, 8) + _octal(gid, 8)
    before += _octal(size, 12) + _octal(seconds, 12)
    after = kind + linkname.ljust(100, b"\0") + b"ustar\x0000" + bytes(64)
    numbers = bytes(16) if device is None else _octal(device[0], 8) + _octal(device[1], 8)
    after += numbers + prefix.ljust(155, b"\0") + bytes(12)
    checksum = sum(before) + sum(after) + 8 * ord(" ")
    return before + b"%06o\0 " % checksum + after


def _pax(name: bytes, records: dict[bytes, bytes]) -> bytes:
    """An extended header with its records in order."""
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    directory, _, base = name.rpartition(b"/")
    shown = os.path.normpath(os.path.join(directory, b"PaxHeaders.0", base))
    block = _block(_PAX, _cut(shown).rstrip(b"/"), b"", 0, 0, 0, len(body), 0, b"", None)
    return block + body + bytes(-len(body) % BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    size = len(rest) + 1
    while len(b"%d" % size) + len(rest) != size:
        size = len(b"%d" % size) + len(rest)
    return b"%d" % size + rest
