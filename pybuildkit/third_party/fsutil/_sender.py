"""The sending end of a transfer, without the network: entries into packets, requests into contents.

Mirrors send.go of tonistiigi/fsutil (6d9dc2e).

    us → STAT … STAT, STAT without a stat      the list, ids count from 0
    us ← REQ id                                for each regular file that is wanted, once, also during the list
    us → DATA id, …, DATA id without data      its content
    us ← FIN, us → FIN                         the receiver has everything

`list_more` and `read_more` block and belong in a thread; `receive` does not. A batch of packets comes from each of
the two, small files as a whole, since the cost of many small files is that of their messages and hand-overs.

Differs from Go: a file that is unreadable, gone, shorter than its STAT or not a regular file any more is an error
that names it (Go sends it empty or short); one that has grown is sent up to the size in its STAT; files are opened
relative to the root and nothing is followed; a FIN before the end of the list or with requests open is an error.
"""

from __future__ import annotations

import errno
import os
import stat as _unix
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from pybuildkit.golang.errors import BuildkitError, with_op
from pybuildkit.third_party.fsutil._fs import FS, DiskFile, DiskFS, Entry, File, close_walk
from pybuildkit.third_party.fsutil._packet import (
    END_OF_LIST,
    ERR,
    FIN,
    REQ,
    data_end,
    data_header,
    decode_packet,
    split_request,
    stat_packet,
)
from pybuildkit.third_party.fsutil._root import Root, close_unwritten
from pybuildkit.third_party.fsutil._stat import MODE_TYPE
from pybuildkit.third_party.fsutil._tasks import Payload
from pybuildkit.third_party.fsutil._validator import with_hardlink_reset
from pybuildkit.third_party.fsutil._wire import encode_varint

DATA_SIZE = 256 << 10
"""Bytes of content in a packet."""
FLUSH_SIZE = 512 << 10
"""Bytes of packets in a batch."""

_SMALL_FILE = 64 << 10
_LIST_BATCH = 1000
_LIST_STEP = 32
_LIST_SECONDS = 0.05
_READ_BATCH = 512
_LARGE_BATCH = 8


class ProtocolError(BuildkitError):
    """The other end does not keep to the protocol."""


class RemoteError(BuildkitError):
    """The other end says why the transfer has failed."""


class LargeFile:
    """A file that is sent in pieces; its Sender closes it.

    Attributes:
        id: its number in the list.
        size: how many bytes are still to be sent.
        file: its content.
        name: what it is called in errors.
        sent: nobody reads it any more; set by the one who did.
    """

    __slots__ = ("file", "id", "name", "offset", "sent", "size")

    def __init__(self, id: int, size: int, file: File, name: bytes) -> None:
        self.id = id
        self.size = size
        self.file = file
        self.name = name
        self.offset = 0
        self.sent = False

    def read(self) -> list[Payload]:
        """The next batch of packets.

        Raises:
            OSError: it cannot be read, or is shorter than it was.
        """
        fd = self.file.fileno()
        out: list[Payload] = []
        total = 0
        while self.size and total < FLUSH_SIZE:
            size = min(DATA_SIZE, self.size)
            try:
                data = os.pread(fd, size, self.offset) if fd >= 0 else self.file.read(size)
            except OSError as err:
                raise with_op(OSError(err.errno, err.strerror, self.name), "read") from None
            if not data:
                raise _shrunk(self.name)
            out.append(self._packet(data))
            total += len(data)
        return self._ended(out)

    def read_cached(self) -> list[Payload]:
        """As `read` without waiting for a disk; nothing where that would be needed, or where nobody can tell."""
        fd = self.file.fileno()
        out: list[Payload] = []
        total = 0
        while fd >= 0 and self.size and total < FLUSH_SIZE:
            data = bytearray(min(DATA_SIZE, self.size))
            try:
                count = os.preadv(fd, [data], self.offset, _NOWAIT)
            except OSError as err:
                if err.errno in _NOT_NOW:
                    break
                raise with_op(OSError(err.errno, err.strerror, self.name), "read") from None
            if not count:
                raise _shrunk(self.name)
            del data[count:]
            out.append(self._packet(data))
            total += count
        return self._ended(out)

    def _ended(self, packets: list[Payload]) -> list[Payload]:
        """The packets, with the end of the content where they reach it."""
        if packets and not self.size:
            packets.append(data_end(self.id))
        return packets

    def _packet(self, data: bytes | bytearray) -> Payload:
        self.offset += len(data)
        self.size -= len(data)
        return (data_header(self.id, len(data)), data)


_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
_NOT_NOW = (errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)


def _shrunk(name: bytes) -> OSError:
    return with_op(OSError(errno.EIO, "File is shorter than it was when it was listed", name), "read")


class Sender:
    """One transfer.

    Args:
        fs: what is sent.
        check: called between files in the blocking calls; raises to give up.

    Attributes:
        listed: the list is complete.
        finished: the receiver has everything.
        requested: ids of files that are still to be sent.
    """

    def __init__(self, fs: FS, check: Callable[[], None] = lambda: None) -> None:
        self.listed = False
        self.finished = False
        self.requested: deque[int] = deque()
        self._fs = fs
        self._check = check
        self._walk: Iterator[Entry] | None = None
        self._names: list[bytes | tuple[FS, bytes] | None] = []
        self._sizes = array("q")
        self._wanted = bytearray()
        self._open: set[LargeFile] = set()
        self._main: FS | None = None
        self._roots: dict[int, Root] = {}

    def close(self) -> None:
        """Close what is open; belongs in the thread of the blocking calls."""
        if self._walk is not None:
            close_walk(self._walk)
        for large in self._open:
            large.file.close()
        self._open.clear()
        roots, self._roots = self._roots, {}
        for root in roots.values():
            root.close()

    def list_more(self) -> list[bytes]:
        """The next packets of the list, with its end when it is complete. Blocks.

        Raises:
            OSError, BuildkitError: the walk has failed.
        """
        if self._walk is None:
            self._walk = with_hardlink_reset(self._fs).walk(b"")
        out: list[bytes] = []
        deadline = time.monotonic() + _LIST_SECONDS
        while len(out) < _LIST_BATCH and time.monotonic() < deadline:
            self._check()
            if not self._list_some(islice(self._walk, _LIST_STEP), out):
                self.listed = True
                out.append(END_OF_LIST)
                break
        return out

    def _list_some(self, entries: Iterable[Entry], out: list[bytes]) -> bool:
        """Add packets of a few entries; whether there were any."""
        names, sizes, wanted, main = self._names, self._sizes, self._wanted, self._main
        before = len(names)
        for entry in entries:
            stat = entry.stat()
            if stat.mode & MODE_TYPE:
                names.append(None)
                sizes.append(0)
                wanted.append(0)
            else:
                names.append(entry.source_path if main is not None and entry.source is main else self._remember(entry))
                sizes.append(stat.size)
                wanted.append(1)
            out.append(stat_packet(stat))
        return len(names) > before

    def _remember(self, entry: Entry) -> bytes | tuple[FS, bytes]:
        """Where an entry's content is; mostly all entries are of one file system."""
        source, path = entry.source, entry.source_path
        if source is None:
            source, path = self._fs, entry.path
        if self._main is None:
            self._main = source
        return path if source is self._main else (source, path)

    def receive_many(self, packets: Iterable[bytes]) -> None:
        """Take packets from the receiver, in order; raises as `receive`."""
        wanted, requested = self._wanted, self.requested
        for raw in packets:
            id = split_request(raw)
            if 0 <= id < len(wanted) and wanted[id] and not self.finished:
                wanted[id] = 0
                requested.append(id)
            else:
                self.receive(raw)

    def receive(self, raw: bytes) -> None:
        """Take a packet from the receiver.

        Raises:
            RemoteError: it is an error.
            ProtocolError: it should not come, or not now.
        """
        packet = decode_packet(raw)
        if self.finished:
            raise ProtocolError("packet after FIN")
        if packet.type == REQ:
            if packet.id >= len(self._wanted) or not self._wanted[packet.id]:
                raise ProtocolError(f"invalid file id {packet.id}")
            self._wanted[packet.id] = 0
            self.requested.append(packet.id)
        elif packet.type == FIN:
            if not self.listed:
                raise ProtocolError("FIN before the end of the list")
            if self.requested:
                raise ProtocolError("FIN before the end of a file")
            self.finished = True
        elif packet.type == ERR:
            raise RemoteError(f"error from receiver: {bytes(packet.data).decode('utf-8', 'replace')}")
        else:
            raise ProtocolError(f"unexpected packet of type {packet.type} from the receiver")

    def read_more(self) -> list[list[Payload] | LargeFile]:
        """The contents of the files that were asked for first: packets, and files to be sent in pieces. Blocks.

        Raises:
            OSError: a file cannot be sent; the text names it.
        """
        out: list[list[Payload] | LargeFile] = []
        packets: list[Payload] = []
        total = count = larges = 0
        self._close_sent()
        while self.requested and total < FLUSH_SIZE and count < _READ_BATCH and larges < _LARGE_BATCH:
            id = self.requested.popleft()
            size = self._sizes[id]
            found = self._read(id, size)
            if isinstance(found, LargeFile):
                self._open.add(found)
                if packets:
                    out.append(packets)
                    packets = []
                out.append(found)
                larges += 1
            else:
                packets += found
            total += min(size, _SMALL_FILE)
            count += 1
            if not count & 31:
                self._check()
        if packets:
            out.append(packets)
        return out

    def _close_sent(self) -> None:
        for large in [large for large in self._open if large.sent]:
            self._open.discard(large)
            large.file.close()

    def _read(self, id: int, size: int) -> list[Payload] | LargeFile:
        where = self._names[id]
        assert where is not None
        self._names[id] = None
        fs: FS | None
        if isinstance(where, tuple):
            fs, path = where
        else:
            fs, path = self._main, where
        assert fs is not None
        if isinstance(fs, DiskFS):
            return self._read_disk(fs, id, path, size)
        return _read_file(id, size, fs.open(path), path)

    def _read_disk(self, fs: DiskFS, id: int, path: bytes, size: int) -> list[Payload] | LargeFile:
        root = self._roots.get(builtin_id(fs))
        if root is None:
            root = self._roots[builtin_id(fs)] = Root(fs.root)
        end = data_end(id)
        if not size:
            _check_empty(root, path)
            return [end]
        fd, info = root.open_file(path)
        if info.st_size < size:
            close_unwritten(fd)
            raise _shrunk(root.full_path(path))
        if size > _SMALL_FILE:
            return LargeFile(id, size, DiskFile(fd), root.full_path(path))
        try:
            data = os.read(fd, size)
            while len(data) < size:
                more = os.read(fd, size - len(data))
                if not more:
                    raise _shrunk(root.full_path(path))
                data += more
        except OSError as err:
            if err.filename is not None:
                raise
            raise with_op(OSError(err.errno, err.strerror, root.full_path(path)), "read") from None
        finally:
            close_unwritten(fd)
        return [b"".join((end, b'"', encode_varint(size), data)), end]


builtin_id = id


def _check_empty(root: Root, path: bytes) -> None:
    """An empty file needs no opening, and must not be opened: a socket is sent as one."""
    info = root.lstat(path)
    if not (_unix.S_ISREG(info.st_mode) or _unix.S_ISSOCK(info.st_mode)):
        raise with_op(OSError(errno.EINVAL, "Not a regular file", root.full_path(path)), "open")


def _read_file(id: int, size: int, file: File, path: bytes) -> list[Payload] | LargeFile:
    """The content of a file that is not ours."""
    if size > _SMALL_FILE:
        return LargeFile(id, size, file, path)
    out: list[Payload] = []
    try:
        large = LargeFile(id, size, file, path)
        while large.size:
            out += large.read()
    finally:
        file.close()
    return out or [data_end(id)]
