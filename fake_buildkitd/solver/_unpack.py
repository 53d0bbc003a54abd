"""Unpacking archives into a tree, as ADD does.

Mirrors solver/llbsolver/file/unpack.go of v0.32.2 and Untar of github.com/moby/go-archive.

Differs on purpose: an archive compressed with zstd is an error where the extra `zstd` is not installed.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import posixpath
import secrets
import stat as st
import tarfile
from typing import BinaryIO, cast

from fake_buildkitd.solver._copy import Owner, mkdir_all
from fake_buildkitd.store import Node, Store, Tree
from fake_buildkitd.store._tree import clean, join, parent_of
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

_CHUNK = 1 << 20
_XATTR = "SCHILY.xattr."
DEVICES = {tarfile.CHRTYPE: st.S_IFCHR, tarfile.BLKTYPE: st.S_IFBLK, tarfile.FIFOTYPE: st.S_IFIFO}


class BreakoutError(BuildkitError):
    """An archive that names something outside of its destination."""


def unpack(
    store: Store, source: Tree, src: bytes, target: Tree, dst: bytes, owner: Owner | None, time: int | None
) -> bool:
    """Unpack what is at `src` below the directory `dst`; whether it was an archive at all.

    Raises:
        BuildkitError: a broken archive, or one that leads outside of `dst`.
    """
    node = source.lstat(source.resolve(src))
    if node is None or not node.is_regular():
        return False
    with store.open_blob(node.blob) as file:
        archive = _open(file)
        if archive is None:
            return False
        with archive:
            place = target.resolve(dst)
            mkdir_all(target, place, 0o755, owner, time, store.clock())
            _Unpacker(store, target, place, owner).run(archive)
    return True


def _open(file: BinaryIO) -> tarfile.TarFile | None:
    """The file as an archive with at least one member, or None."""
    magic = file.read(10)
    file.seek(0)
    stream: object = file
    if magic.startswith(b"\x1f\x8b\x08"):
        stream = gzip.GzipFile(fileobj=file)
    elif magic.startswith(b"BZh"):
        stream = bz2.BZ2File(file)
    elif magic.startswith(b"\xfd7zXZ\x00"):
        stream = lzma.LZMAFile(file)  # noqa: SIM115  # the caller closes the file below
    elif magic.startswith(b"\x28\xb5\x2f\xfd"):
        from fake_buildkitd.image._zstd import ZstdReader

        stream = ZstdReader(file)
    try:
        archive = tarfile.open(fileobj=cast("BinaryIO", stream), mode="r:", errors="surrogateescape")  # noqa: SIM115  # the caller's
    except (tarfile.TarError, EOFError, OSError, lzma.LZMAError):
        return None
    if getattr(archive, "firstmember", None) is None:
        archive.close()
        return None
    return archive


class _Unpacker:
    def __init__(self, store: Store, tree: Tree, place: bytes, owner: Owner | None) -> None:
        self.store = store
        self.tree = tree
        self.place = place
        self.owner = owner
        self.dirs: list[tuple[bytes, int]] = []

    def run(self, archive: tarfile.TarFile) -> None:
        try:
            for member in archive:
                self._member(archive, member)
        except (tarfile.TarError, EOFError, lzma.LZMAError) as err:
            raise BuildkitError(f"invalid tar archive: {err}") from err
        for path, mtime in self.dirs:
            if self.tree.lstat(path) is not None:
                self.tree.own(path).mtime = mtime

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = posixpath.normpath(member.name or ".")
        if name == ".." or name.startswith("../"):
            raise BreakoutError(f"{quote(member.name)} is outside of {quote(self._text(self.place))}")
        path = self._below(name.encode("utf-8", "surrogateescape"))
        mkdir_all(self.tree, parent_of(path)[0], 0o755, None, None, self.store.clock())
        existing = self.tree.lstat(path)
        if existing is not None and existing.is_dir() and name == ".":
            return
        if existing is not None and not (existing.is_dir() and member.isdir()):
            self.tree.remove(path)
        if member.islnk():
            self._link(member, path)
            return
        node = self._node(archive, member, path)
        if node is None:
            return
        if existing is not None and existing.is_dir() and node.is_dir():
            node.children = dict(existing.children or {})
        self.tree.put(path, node)
        self.tree.touch_parent(path, self.store.clock())
        if node.is_dir():
            self.dirs.append((path, node.mtime))

    def _below(self, name: bytes) -> bytes:
        relative = clean(name)
        return self.place if relative == b"/" else join(self.place, relative[1:])

    @staticmethod
    def _text(path: bytes) -> str:
        return path.decode("utf-8", "surrogateescape")

    def _node(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: bytes) -> Node | None:
        node = Node(st.S_IFREG | (member.mode & 0o7777), mtime=nanoseconds(member), children=None)
        node.uid, node.gid = self.owner if self.owner is not None else (member.uid, member.gid)
        node.xattrs = xattrs(member)
        if member.isdir():
            directory = Node(st.S_IFDIR | (member.mode & 0o7777), uid=node.uid, gid=node.gid, mtime=node.mtime)
            directory.xattrs = node.xattrs
            return directory
        if member.issym():
            self._check_symlink(member, path)
            node.mode = st.S_IFLNK | 0o777
            node.link = member.linkname.encode("utf-8", "surrogateescape")
            node.size = len(node.link)
        elif member.type in DEVICES:
            node.mode = DEVICES[member.type] | (member.mode & 0o7777)
            node.major, node.minor = member.devmajor, member.devminor
        elif member.isfile():
            node.blob, node.size = self._content(archive, member)
        else:
            raise BuildkitError(f"unhandled tar header type {ord(member.type)}")
        return node

    def _check_symlink(self, member: tarfile.TarInfo, path: bytes) -> None:
        link = member.linkname.encode("utf-8", "surrogateescape")
        target = posixpath.normpath(posixpath.join(parent_of(path)[0], link.lstrip(b"/") or b"."))
        if not target.startswith(self.place) or self._escapes(path, link):
            raise BreakoutError(f"invalid symlink {quote(self._text(path))} -> {quote(member.linkname)}")

    def _escapes(self, path: bytes, link: bytes) -> bool:
        depth = 0 if self.place == b"/" else self.place.count(b"/")
        level = path.count(b"/") - 1
        for part in link.split(b"/"):
            level += {b"..": -1, b".": 0, b"": 0}.get(part, 1)
            if level < depth and depth > 0:
                return True
        return False

    def _content(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[bytes, int]:
        reader = archive.extractfile(member)
        if reader is None:
            return b"", 0
        writer = self.store.blob_writer()
        try:
            while chunk := reader.read(_CHUNK):
                writer.write(chunk)
            return writer.finish()
        except BaseException:
            writer.abort()
            raise

    def _link(self, member: tarfile.TarInfo, path: bytes) -> None:
        link = posixpath.normpath("/" + member.linkname)
        target = self._below(link.encode("utf-8", "surrogateescape"))
        found = self.tree.must_lstat(target)
        if found.is_dir():
            raise BuildkitError(f"invalid hardlink {quote(self._text(target))} -> {quote(member.linkname)}")
        if not found.inode:
            found = self.tree.own(target)
            found.inode = secrets.randbits(63) | 1
        self.tree.put(path, found.clone())
        self.tree.touch_parent(path, self.store.clock())


def nanoseconds(member: tarfile.TarInfo) -> int:
    """A member's time in nanoseconds since the epoch."""
    return int(member.mtime) * 1_000_000_000 + round((member.mtime % 1) * 1e9)


def xattrs(member: tarfile.TarInfo) -> tuple[tuple[str, bytes], ...]:
    """A member's extended attributes, by name."""
    found = [
        (key.removeprefix(_XATTR), value.encode("utf-8", "surrogateescape"))
        for key, value in member.pax_headers.items()
        if key.startswith(_XATTR)
    ]
    return tuple(sorted(found))
