"""Laying the layers of an image over each other.

Mirrors pkg/archive (diffApplier) of github.com/containerd/containerd: a file `.wh.NAME` takes NAME away,
`.wh..wh..opq` everything that lower layers have in its directory.
"""

from __future__ import annotations

import gzip
import hashlib
import posixpath
import secrets
import stat as st
import tarfile
import zlib
from typing import BinaryIO, Protocol, cast

from fake_buildkitd.image import _zstd
from fake_buildkitd.image._spec import ImageError
from fake_buildkitd.solver._unpack import DEVICES, nanoseconds, xattrs
from fake_buildkitd.store import Node, Store, Tree
from fake_buildkitd.store._tree import clean, join, parent_of

_CHUNK = 1 << 20
_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"


class _Reader(Protocol):
    def read(self, n: int, /) -> bytes: ...


class _Hashing:
    """A stream that is hashed while it is read."""

    def __init__(self, stream: _Reader) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def read(self, n: int) -> bytes:
        data = self._stream.read(n)
        self.digest.update(data)
        return data


def apply_layer(store: Store, lower: Node | None, blob: BinaryIO, diff_id: str) -> Node:
    """The tree of a layer on top of another tree; blocks.

    Args:
        blob: the layer, perhaps compressed.
        diff_id: the digest that it must have uncompressed; "" for any.

    Raises:
        ImageError: the layer is broken, or another one. UnsupportedError: compressed with zstd, which is not there.
    """
    tree = Tree(lower)
    stream = _Hashing(_uncompressed(blob))
    applier = _Applier(store, tree)
    try:
        with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r|", errors="surrogateescape") as archive:
            for member in archive:
                applier.member(archive, member)
        while stream.read(_CHUNK):
            pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as err:
        raise ImageError(f"failed to extract layer {diff_id}: {err}") from err
    found = f"sha256:{stream.digest.hexdigest()}"
    if diff_id and found != diff_id:
        raise ImageError(f"mismatched layer diffID {found}, expected {diff_id}")
    applier.finish()
    return tree.freeze()


def _uncompressed(blob: BinaryIO) -> _Reader:
    magic = blob.read(4)
    blob.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=blob)
    if magic == _zstd.MAGIC:
        return _zstd.ZstdReader(blob)
    return blob


class _Applier:
    def __init__(self, store: Store, tree: Tree) -> None:
        self._store = store
        self._tree = tree
        self._unpacked: set[bytes] = set()
        self._times: list[tuple[bytes, int]] = []

    def finish(self) -> None:
        """Set the times of directories, which their files have changed."""
        for path, mtime in self._times:
            node = self._tree.lstat(path)
            if node is not None and node.is_dir():
                self._tree.own(path).mtime = mtime

    def member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = clean(member.name.encode("utf-8", "surrogateescape"))
        parent, name = parent_of(path)
        if not name:
            self._directory(member, b"/")
            return
        place = self._place(parent)
        if name == _OPAQUE:
            self._clear(place)
        elif name.startswith(_WHITEOUT + _WHITEOUT):
            pass  # notes of aufs
        elif name.startswith(_WHITEOUT):
            self._tree.remove(join(place, name[len(_WHITEOUT) :]))
        else:
            self._entry(archive, member, join(place, name))

    def _place(self, parent: bytes) -> bytes:
        """The directory that a path means, links followed inside the tree, made where it is not there."""
        place = self._tree.resolve(parent)
        made = b"/"
        for part in place.split(b"/")[1:]:
            if not part:
                continue
            made = join(made, part)
            node = self._tree.lstat(made)
            if node is None or not node.is_dir():
                self._tree.remove(made)
                self._tree.put(made, Node(st.S_IFDIR | 0o755))
        return place

    def _clear(self, place: bytes) -> None:
        node = self._tree.lstat(place)
        for name in list(node.children or ()) if node is not None else ():
            path = join(place, name)
            if not any(each == path or each.startswith(path + b"/") for each in self._unpacked):
                self._tree.remove(path)

    def _entry(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: bytes) -> None:
        self._unpacked.add(path)
        existing = self._tree.lstat(path)
        if member.isdir():
            if existing is None or not existing.is_dir():
                self._tree.remove(path)
                self._tree.put(path, Node(st.S_IFDIR))
            self._directory(member, path)
            return
        if member.islnk():
            self._link(member, path)
            return
        node = Node(st.S_IFREG | (member.mode & 0o7777), uid=member.uid, gid=member.gid, mtime=nanoseconds(member))
        node.xattrs = xattrs(member)
        if member.issym():
            node.mode = st.S_IFLNK | 0o777
            node.link = member.linkname.encode("utf-8", "surrogateescape")
            node.size = len(node.link)
        elif member.type in DEVICES:
            node.mode = DEVICES[member.type] | (member.mode & 0o7777)
            node.major, node.minor = member.devmajor, member.devminor
        elif member.isfile():
            node.blob, node.size = self._content(archive, member)
        else:
            raise ImageError(f"unhandled tar header type {ord(member.type)}")
        self._tree.remove(path)
        self._tree.put(path, node)

    def _directory(self, member: tarfile.TarInfo, path: bytes) -> None:
        node = self._tree.own(path)
        node.mode = st.S_IFDIR | (member.mode & 0o7777)
        node.uid, node.gid = member.uid, member.gid
        node.xattrs = xattrs(member)
        self._times.append((path, nanoseconds(member)))

    def _content(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[bytes, int]:
        reader = archive.extractfile(member)
        writer = self._store.blob_writer()
        try:
            while reader is not None and (chunk := reader.read(_CHUNK)):
                writer.write(chunk)
            return writer.finish()
        except BaseException:
            writer.abort()
            raise

    def _link(self, member: tarfile.TarInfo, path: bytes) -> None:
        named = clean(posixpath.join("/", member.linkname).encode("utf-8", "surrogateescape"))
        parent, name = parent_of(named)
        target = join(self._tree.resolve(parent), name)
        found = self._tree.lstat(target)
        if found is None or found.is_dir():
            raise ImageError(f"invalid hardlink {member.name} -> {member.linkname}")
        if not found.inode:
            found = self._tree.own(target)
            found.inode = secrets.randbits(63) | 1
        self._tree.remove(path)
        self._tree.put(path, found.clone())
