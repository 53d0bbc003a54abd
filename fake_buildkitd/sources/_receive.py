"""Receiving a client's files into a tree.

Mirrors receive.go of tonistiigi/fsutil as BuildKit's local source uses it; the order of packets is told in
`pybuildkit.third_party.fsutil`. What differs from a transfer to a directory is only where the files go: names,
modes, owners and devices become nodes, contents become blobs, and nothing is written that another tree needs.

A file counts as unchanged when its attributes, size and time are those of the same file in the tree before; only
the others are asked for.
"""

from __future__ import annotations

import itertools
import secrets
import stat as st
import struct
from collections.abc import Callable
from typing import Protocol

from fake_buildkitd.store import BlobWriter, Node, Store, empty_root
from fake_buildkitd.store._fs import node_from_stat
from pybuildkit.golang.context import Context, run
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.third_party import fsutil
from pybuildkit.third_party.fsutil._packet import (
    DATA,
    ERR,
    FIN,
    FIN_PACKET,
    STAT,
    Packet,
    decode_packet,
    error_packet,
    request_packet,
)
from pybuildkit.third_party.fsutil._receiver import METADATA_PATH

Progress = Callable[[int, bool], None]


class PacketStream(Protocol):
    """What a transfer runs over."""

    async def send_many(self, messages: list[bytes]) -> None: ...

    async def recv_many(self) -> list[bytes]: ...


class TreeReceiver:
    """One transfer, without the network.

    Args:
        store: takes the contents.
        base: the tree to compare with, or None to ask for everything.
        wants: makes it a transfer of metadata: called with each entry; one that it wants comes whole, with its
            directories, and the list of all entries is a file of the tree, `.fsutil-metadata`.
    """

    def __init__(
        self, store: Store, base: Node | None, wants: Callable[[bytes, fsutil.Stat], bool] | None = None
    ) -> None:
        self.root = empty_root()
        self.finished = False
        self._store = store
        self._wants = wants
        self._validator = fsutil.Validator()
        self._hardlinks = fsutil.Hardlinks()
        self._dirs: list[tuple[bytes, Node, Node | None]] = [(b"", self.root, base)]
        self._files: dict[bytes, Node] = {}
        self._pending: dict[int, tuple[Node, BlobWriter]] = {}
        self._links: list[tuple[Node, Node]] = []
        self._count = 0
        self._listed = False
        self._asked_to_end = False
        self._metadata = bytearray()

    def feed(self, packets: list[bytes]) -> list[bytes]:
        """Take packets from the sender; the packets for it.

        Raises:
            fsutil.RemoteError: the sender has failed.
            BuildkitError, OSError: a packet that should not come, or a hostile name.
        """
        out: list[bytes] = []
        for raw in packets:
            packet = decode_packet(raw)
            if self.finished:
                raise fsutil.ProtocolError("packet after FIN")
            self._take(packet, out)
            if self._listed and not self._pending and not self._asked_to_end:
                self._asked_to_end = True
                self._finish_links()
                self._finish_metadata()
                out.append(FIN_PACKET)
        return out

    def _take(self, packet: Packet, out: list[bytes]) -> None:
        if packet.type == DATA:
            self._data(packet.id, packet.data)
        elif packet.type == STAT:
            self._stat(packet.stat, out)
        elif packet.type == FIN:
            if not self._asked_to_end:
                raise fsutil.ProtocolError("unexpected FIN from the sender")
            self.finished = True
        elif packet.type == ERR:
            raise fsutil.RemoteError(f"error from sender: {bytes(packet.data).decode('utf-8', 'replace')}")
        else:
            raise fsutil.ProtocolError(f"unexpected packet of type {packet.type} from the sender")

    def abort(self) -> None:
        """Forget unfinished contents."""
        for _, writer in self._pending.values():
            writer.abort()
        self._pending.clear()

    def _stat(self, stat: fsutil.Stat | None, out: list[bytes]) -> None:
        if self._listed:
            raise fsutil.ProtocolError("second end of the list" if stat is None else "STAT after the end of the list")
        if stat is None:
            self._listed = True
            return
        index = self._count
        self._count += 1
        self._validator.handle_change(fsutil.ChangeKind.ADD, stat.path, stat)
        self._hardlinks.handle_change(fsutil.ChangeKind.ADD, stat.path, stat)
        parent, _, name = stat.path.rpartition(b"/")
        while self._dirs[-1][0] != parent:
            self._dirs.pop()
        _, directory, base = self._dirs[-1]
        old = base.children.get(name) if base is not None and base.children is not None else None
        node = node_from_stat(stat)
        if not node.mode:
            raise fsutil.ProtocolError(f"invalid mode {stat.mode:o} of an entry")
        assert directory.children is not None
        if stat.is_dir():
            self._dirs.append((stat.path, node, old if old is not None and old.is_dir() else None))
        if self._wants is not None and not self._wanted_entry(stat, node):
            return
        if node.is_regular():
            node = self._file(index, stat, node, old, out)
        directory.children[name] = node

    def _wanted_entry(self, stat: fsutil.Stat, node: Node) -> bool:
        """In a transfer of metadata, note an entry; one that is wanted brings the directories it is in."""
        assert self._wants is not None
        if stat.path == METADATA_PATH:
            return False
        body = stat.marshal()
        self._metadata += struct.pack("<I", len(body)) + body
        if not self._wants(stat.path, stat):
            return False
        for (_, parent, _), (path, child, _) in itertools.pairwise(self._dirs):
            if child is not node:
                assert parent.children is not None
                parent.children[path.rpartition(b"/")[2]] = child
        return True

    def _finish_metadata(self) -> None:
        if self._wants is None:
            return
        assert self.root.children is not None
        node = Node(mode=st.S_IFREG | 0o644, size=len(self._metadata))
        node.blob = self._store.put_blob(bytes(self._metadata))
        self.root.children[METADATA_PATH] = node

    def _file(self, index: int, stat: fsutil.Stat, node: Node, old: Node | None, out: list[bytes]) -> Node:
        if stat.linkname:
            first = self._files.get(stat.linkname)
            if first is not None:
                if not first.inode:
                    first.inode = secrets.randbits(63) | 1
                self._links.append((node, first))
                return node
        self._files[stat.path] = node
        if old is not None and _same(old, node):
            node.blob = old.blob
            node.digest = old.digest if not old.inode else None
            return node
        self._pending[index] = (node, self._store.blob_writer())
        out.append(request_packet(index))
        return node

    def _data(self, index: int, data: memoryview | bytes) -> None:
        found = self._pending.get(index)
        if found is None:
            raise fsutil.ProtocolError(f"invalid file request {index}")
        node, writer = found
        if data:
            writer.write(data)
            return
        del self._pending[index]
        blob, size = writer.finish()
        if size != node.size:
            raise fsutil.SizeError(f"content of a file has {size} bytes, its entry said {node.size}")
        node.blob = blob

    def _finish_links(self) -> None:
        """Give the later names of a file what its first name got."""
        for node, first in self._links:
            copy = first.clone()
            node.mode, node.uid, node.gid, node.mtime = copy.mode, copy.uid, copy.gid, copy.mtime
            node.size, node.blob, node.xattrs, node.inode = copy.size, copy.blob, copy.xattrs, copy.inode


def _same(old: Node, new: Node) -> bool:
    return (
        old.mode == new.mode
        and old.size == new.size
        and old.mtime == new.mtime
        and old.uid == new.uid
        and old.gid == new.gid
        and old.xattrs == new.xattrs
    )


async def receive_tree(
    ctx: Context,
    stream: PacketStream,
    store: Store,
    base: Node | None,
    progress: Progress,
    wants: Callable[[bytes, fsutil.Stat], bool] | None = None,
) -> Node:
    """Receive a client's files.

    Args:
        ctx: ends the transfer.
        stream: both directions; it is not closed.
        base: the tree to compare with, or None.
        progress: called with the bytes that came so far, and whether that was all.

    Returns:
        the root of the tree.

    Raises:
        fsutil.RemoteError: the client has failed.
        BuildkitError: the client does not keep to the protocol, or the stream's own error.
    """
    receiver = TreeReceiver(store, base, wants)
    received = 0

    async def transfer() -> None:
        nonlocal received
        while not receiver.finished:
            packets = await stream.recv_many()
            if not packets:
                raise fsutil.ProtocolError("unexpected EOF")
            received += sum(map(len, packets))
            answers = receiver.feed(packets)
            if answers:
                try:
                    await stream.send_many(answers)
                except (BuildkitError, OSError):
                    await _hear_out(stream, receiver)
                    raise
            progress(received, False)

    try:
        await run(ctx, transfer())
    except (BuildkitError, OSError) as err:
        receiver.abort()
        if not isinstance(err, fsutil.RemoteError) and not ctx.is_done():
            await _last_words(stream, err)
        raise
    except BaseException:
        receiver.abort()
        raise
    finally:
        progress(received, True)
    return receiver.root


async def _hear_out(stream: PacketStream, receiver: TreeReceiver) -> None:
    """Read what the client said before the stream ended: its own error says more than the stream's.

    Raises:
        fsutil.RemoteError: there was one.
    """
    try:
        while packets := await stream.recv_many():
            receiver.feed(packets)
    except fsutil.RemoteError:
        raise
    except (BuildkitError, OSError):
        return


async def _last_words(stream: PacketStream, err: BaseException) -> None:
    try:
        await stream.send_many([error_packet(error_text(err))])
    except (BuildkitError, OSError):
        return
