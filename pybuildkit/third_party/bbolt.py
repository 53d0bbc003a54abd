"""Reading a bbolt database: a file of buckets, which hold values and further buckets by key.

Mirrors the reading half of go.etcd.io/bbolt, v1.5.0.

The file is a row of pages. Page 0 and 1 are meta pages, of which the valid one with the higher transaction number
counts. A page begins with id (8 bytes), flags (2), count (2) and overflow (4). Branch pages hold (position, key size,
page id), leaf pages (flags, position, key size, value size); positions count from the element itself. A value with
flag 1 is a bucket: its root page (8 bytes) and a sequence number (8); root 0 means that its page follows in place.
All numbers are in the machine's order (little-endian here).
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pybuildkit.golang.errors import BuildkitError

_MAGIC = 0xED0CDAED
_VERSION = 2
_PAGE_HEADER = struct.Struct("<QHHI")
_META = struct.Struct("<IIIIQQQQQQ")
_BRANCH_ELEMENT = struct.Struct("<IIQ")
_LEAF_ELEMENT = struct.Struct("<IIII")
_BUCKET = struct.Struct("<QQ")
_BRANCH, _LEAF, _META_FLAG = 1, 2, 4
_BUCKET_FLAG = 1
_MAX_DEPTH = 64
_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


class BoltError(BuildkitError):
    """A file that is no database, is broken, or is in use."""


class _Pages:
    def __init__(self, data: bytes | mmap.mmap, size: int) -> None:
        self._data = data
        self.size = size

    def page(self, number: int) -> bytes:
        """A page with its overflow."""
        start = number * self.size
        header = self._data[start : start + _PAGE_HEADER.size]
        if len(header) < _PAGE_HEADER.size:
            raise BoltError("invalid database")
        overflow = _PAGE_HEADER.unpack(header)[3]
        return self._data[start : start + (overflow + 1) * self.size]


class Bucket:
    """A bucket."""

    def __init__(self, pages: _Pages, root: int, inline: bytes = b"", depth: int = 0) -> None:
        self._pages = pages
        self._root = root
        self._inline = inline
        self._depth = depth

    def items(self) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """The entries in the order of their keys.

        Raises:
            BoltError: the file is broken.
        """
        yield from self._walk(self._inline or self._pages.page(self._root), self._depth)

    def buckets(self) -> Iterator[tuple[bytes, Bucket]]:
        """The entries that are buckets."""
        for key, value in self.items():
            if isinstance(value, Bucket):
                yield key, value

    def _walk(self, page: bytes, depth: int) -> Iterator[tuple[bytes, bytes | Bucket]]:
        if depth > _MAX_DEPTH:
            raise BoltError("invalid database")
        try:
            _, flags, count, _ = _PAGE_HEADER.unpack_from(page)
            for number in range(count):
                if flags & _BRANCH:
                    start = _PAGE_HEADER.size + number * _BRANCH_ELEMENT.size
                    child = _BRANCH_ELEMENT.unpack_from(page, start)[2]
                    yield from self._walk(self._pages.page(child), depth + 1)
                elif flags & _LEAF:
                    yield self._leaf(page, _PAGE_HEADER.size + number * _LEAF_ELEMENT.size, depth)
        except struct.error as err:
            raise BoltError("invalid database") from err

    def _leaf(self, page: bytes, start: int, depth: int) -> tuple[bytes, bytes | Bucket]:
        flags, position, key_size, value_size = _LEAF_ELEMENT.unpack_from(page, start)
        begin = start + position
        key = page[begin : begin + key_size]
        value = page[begin + key_size : begin + key_size + value_size]
        if not flags & _BUCKET_FLAG:
            return key, value
        root = _BUCKET.unpack_from(value)[0]
        return key, Bucket(self._pages, root, b"" if root else value[_BUCKET.size :], depth + 1)


@contextmanager
def open(path: str, timeout: float = 3.0) -> Iterator[Bucket]:
    """The root bucket of a database, which is locked against writers until the end.

    Args:
        timeout: seconds that a writer may hold the file.

    Raises:
        OSError: the file cannot be read.
        BoltError: "timeout", "invalid database", "version mismatch" or "checksum error".
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _lock(fd, timeout)
        if os.fstat(fd).st_size == 0:
            raise BoltError("invalid database")
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as data:
            size, root = _meta(data)
            yield Bucket(_Pages(data, size), root)
    finally:
        os.close(fd)


def _lock(fd: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() + 0.05 > deadline:
                raise BoltError("timeout") from None
            time.sleep(0.05)


def _meta(data: mmap.mmap) -> tuple[int, int]:
    """The page size and the root bucket's page."""
    found: list[tuple[int, int, int]] = []
    failure = "invalid database"
    candidates = [0, *(1 << bits for bits in range(9, 25))]
    for start in candidates:
        meta = data[start + _PAGE_HEADER.size : start + _PAGE_HEADER.size + _META.size]
        if len(meta) < _META.size:
            continue
        magic, version, size, _, root, _, _, _, transaction, checksum = _META.unpack(meta)
        if magic != _MAGIC or start not in (0, size):
            continue
        if version != _VERSION:
            failure = "version mismatch"
        elif checksum != _fnv(meta[:-8]):
            failure = "checksum error"
        else:
            found.append((transaction, size, root))
    if not found:
        raise BoltError(failure)
    return max(found)[1:]


def _fnv(data: bytes) -> int:
    value = _FNV_OFFSET
    for byte in data:
        value = (value ^ byte) * _FNV_PRIME & 0xFFFFFFFFFFFFFFFF
    return value
