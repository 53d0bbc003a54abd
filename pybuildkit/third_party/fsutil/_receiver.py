"""The receiving end of a transfer, without the network: packets into changes on disk, and requests.

Mirrors receive.go of tonistiigi/fsutil (6d9dc2e); the order of packets is told in `_sender`.

`feed` takes packets; it blocks on the disk and belongs in a thread. `outgoing` gives those to be sent, and does not
block. Contents may come in any order and mixed, also while the list is still coming.

Differs from Go: a file whose content is longer or shorter than its STAT, a STAT after the end of the list, a second
end, a FIN before ours and a stream that ends before the sender's FIN are errors, and so is a list without end.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from pybuildkit.third_party.fsutil._diff import DIFF_METADATA, Differ, DiffType
from pybuildkit.third_party.fsutil._diskwriter import ContentHasher, DiskWriter, NotifyFunc
from pybuildkit.third_party.fsutil._fs import new_fs
from pybuildkit.third_party.fsutil._packet import (
    DATA,
    ERR,
    FIN,
    FIN_PACKET,
    STAT,
    decode_packet,
    split_data,
)
from pybuildkit.third_party.fsutil._pending import Pending
from pybuildkit.third_party.fsutil._sender import ProtocolError, RemoteError
from pybuildkit.third_party.fsutil._stat import MODE_TYPE, Stat
from pybuildkit.third_party.fsutil._validator import ChangeKind, Hardlinks, Validator
from pybuildkit.third_party.fsutil._wire import decode_varint, encode_varint

METADATA_PATH = b".fsutil-metadata"

FilterFunc = Callable[[bytes, Stat], bool]
"""Called with an entry's name and Stat, which it may change; False leaves the entry out."""


@dataclass(frozen=True, kw_only=True)
class ReceiveOpt:
    """How a tree is received.

    Args:
        notify_hashed: called, in the transfer's thread, for each change with the digest of its content.
        content_hasher: makes the hash objects for that.
        progress: called with the bytes received so far, and at the end once more with True.
        merge: keep what is there and not in the list; nothing is compared.
        filter: changes or leaves out entries.
        differ: how to compare with what is there.
        metadata_only: the contents of entries for which it gives False stay away; the list is written to
            `.fsutil-metadata`, each STAT behind its length in four bytes.
        special_files: whether devices and `trusted.*` attributes may be made.
    """

    notify_hashed: NotifyFunc | None = None
    content_hasher: ContentHasher | None = None
    progress: Callable[[int, bool], None] | None = None
    merge: bool = False
    filter: FilterFunc | None = None
    differ: DiffType = DIFF_METADATA
    metadata_only: FilterFunc | None = None
    special_files: bool = False


class Receiver:
    """One transfer.

    Args:
        dest: the directory that is written to; it exists.
        opt: how.
        check: called between packets; raises to give up.

    Attributes:
        finished: the sender has said FIN after ours.
        whole: everything has been received and written; only the sender's FIN is missing.

    Raises:
        OSError, BuildkitError: the directory cannot be opened.
    """

    def __init__(self, dest: str | bytes, opt: ReceiveOpt, check: Callable[[], None] = lambda: None) -> None:
        self.finished = False
        self.whole = False
        self._opt = opt
        self._check = check
        self._listed = False
        self._count = 0
        self._said_fin = False
        self._pending = Pending()
        self._validator = Validator()
        self._hardlinks = Hardlinks()
        self._metadata = bytearray()
        self._parents: list[Stat] = []
        there = None if opt.merge else new_fs(dest, xattrs=False).walk(b"")
        self._writer = DiskWriter(
            dest, special_files=opt.special_files, notify=opt.notify_hashed, hasher=opt.content_hasher
        )
        self._differ = Differ(there, opt.differ, self._delete)

    def close(self) -> None:
        """Close everything; what is not complete is removed."""
        self._differ.close()
        self._writer.close()

    def outgoing(self, limit: int) -> list[bytes]:
        """The next packets for the sender, at most `limit`; any thread may call it, one at a time."""
        whole = self.whole
        out = self._pending.requests(limit)
        if whole and not out and not self._said_fin:
            self._said_fin = True
            out = [FIN_PACKET]
        return out

    def feed(self, packets: list[bytes]) -> None:
        """Take packets from the sender. Blocks.

        Raises:
            RemoteError: the sender has failed.
            ProtocolError, OSError, BuildkitError: a packet that should not come, or cannot be followed.
        """
        pending = self._pending
        for count, raw in enumerate(packets):
            if not count & 63:
                self._check()
            if self.finished:
                raise ProtocolError("packet after FIN")
            content = split_data(raw)
            if content is not None:
                self._data(*content)
                if not pending.count and self._listed:
                    self._finish()
                continue
            packet = decode_packet(raw)
            if packet.type == DATA:
                self._data(encode_varint(packet.id) if packet.id else b"", packet.data)
            elif packet.type == STAT:
                self._stat(packet.stat, len(raw))
            elif packet.type == FIN:
                if not self.whole:
                    raise ProtocolError("unexpected FIN from the sender")
                self.finished = True
            elif packet.type == ERR:
                raise RemoteError(f"error from sender: {bytes(packet.data).decode('utf-8', 'replace')}")
            else:
                raise ProtocolError(f"unexpected packet of type {packet.type} from the sender")
            if self._listed and not pending.count and not self.whole:
                self._finish()

    def end(self) -> None:
        """The stream has ended.

        Raises:
            ProtocolError: too early.
        """
        if not self.finished:
            raise ProtocolError("unexpected EOF")

    def _finish(self) -> None:
        if self._opt.metadata_only is not None:
            self._writer.write_plain(METADATA_PATH, bytes(self._metadata))
        self._writer.finish()
        self.whole = True

    def _stat(self, stat: Stat | None, size: int) -> None:
        if self._listed:
            raise ProtocolError("STAT after the end of the list" if stat is not None else "second end of the list")
        if stat is None:
            self._listed = True
            self._differ.finish()
            return
        id = self._count
        self._count += 1
        self._validator.handle_change(ChangeKind.ADD, stat.path, stat)
        self._hardlinks.handle_change(ChangeKind.ADD, stat.path, stat)
        if self._opt.metadata_only is None:
            self._entry(stat, id, size)
        elif stat.path != METADATA_PATH:
            self._metadata_entry(stat, id, size)

    def _metadata_entry(self, stat: Stat, id: int, size: int) -> None:
        """Note an entry; make it, after its directories, where its content is wanted."""
        assert self._opt.metadata_only is not None
        body = stat.marshal()
        self._metadata += struct.pack("<I", len(body)) + body
        self._pending.charge(len(body))
        wanted = self._opt.metadata_only(stat.path, stat)
        parent = stat.path.rpartition(b"/")[0]
        while self._parents and self._parents[-1].path != parent:
            self._parents.pop()
        if stat.is_dir():
            self._parents.append(stat)
        if wanted:
            waiting, self._parents = self._parents, []
            for directory in waiting:
                self._entry(directory, -1, size)
            if not stat.is_dir():
                self._entry(stat, id, size)

    def _entry(self, stat: Stat, id: int, size: int) -> None:
        original = stat
        keep = True
        if self._opt.filter is not None:
            if self._opt.notify_hashed is not None:
                original = stat.clone()
            keep = self._opt.filter(stat.path, stat)
        path = original.path
        kind = self._differ.change(path, stat)
        if kind is None or not keep:
            return
        file = self._writer.add(kind, path, stat, original)
        if file is not None:
            self._pending.add(id, file)
        elif stat.is_dir() or not stat.mode & MODE_TYPE:  # kept for the end: a directory or a hard link
            self._pending.charge_object(size)
        else:
            self._pending.charge(0)

    def _delete(self, path: bytes) -> None:
        if self._opt.filter is None or self._opt.filter(path, Stat()):
            self._writer.delete(path)

    def _data(self, id: bytes, data: bytes | memoryview) -> None:
        """Content, or its end, of the file whose number has the varint `id`; nothing for 0, as in its request."""
        file = self._pending.get(id)
        if file is None:
            raise ProtocolError(f"invalid file request {decode_varint(id, 0, len(id))[0] if id else 0}")
        if data:
            self._writer.write(file, data)
        else:
            self._pending.done(file)
            self._writer.end(file)
