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
import zlib
from tarfile import BLOCKSIZE, HeaderError
from typing import BinaryIO, Self, cast

from fake_buildkitd.solver._copy import Owner, mkdir_all
from fake_buildkitd.store import Node, PathError, Store, Tree, walk
from fake_buildkitd.store._tree import clean, join, parent_of
from pybuildkit.golang.errors import BuildkitError

_CHUNK = 1 << 20
_XATTR = "SCHILY.xattr."
DEVICES = {tarfile.CHRTYPE: st.S_IFCHR, tarfile.BLKTYPE: st.S_IFBLK, tarfile.FIFOTYPE: st.S_IFIFO}


class BrokenArchiveError(BuildkitError):
    """An archive that cannot be read to its end."""


def unpack(
    store: Store, source: Tree, src: bytes, target: Tree, dst: bytes, owner: Owner | None, time: int | None
) -> bool:
    """Unpack what is at `src` below the directory `dst`; whether it was an archive at all.

    Raises:
        BuildkitError: a broken archive, or a member that cannot be made.
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
            inside = Tree(target.lstat(place))
            _Unpacker(store, inside, owner).run(archive)
            target.put(place, inside.freeze())
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
        archive = tarfile.open(  # noqa: SIM115  # the caller's
            fileobj=cast("BinaryIO", stream), mode="r:", errors="surrogateescape", tarinfo=_Header
        )
    except (tarfile.TarError, BrokenArchiveError, EOFError, OSError, lzma.LZMAError, zlib.error):
        return None
    if getattr(archive, "firstmember", None) is None:
        archive.close()
        return None
    return archive


class _Header(tarfile.TarInfo):
    """A member's header, read as Go's archive/tar does: an archive that breaks off or goes on with junk is an error."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except HeaderError as err:
            kind = type(err).__name__
            if kind == "EOFHeaderError":
                cls._check_second(cast("BinaryIO", tarfile.fileobj).read(BLOCKSIZE))
            elif kind == "TruncatedHeaderError":
                raise BrokenArchiveError("unexpected EOF") from err
            elif kind == "InvalidHeaderError":
                raise BrokenArchiveError("archive/tar: invalid tar header") from err
            raise

    @staticmethod
    def _check_second(block: bytes) -> None:
        """Judge what follows the first block of the end, which may be nothing."""
        if block and len(block) < BLOCKSIZE:
            raise BrokenArchiveError("unexpected EOF")
        if block.strip(b"\0"):
            raise BrokenArchiveError("archive/tar: invalid tar header")


class _Unpacker:
    """Makes an archive's members in a tree; nothing leads out of it."""

    def __init__(self, store: Store, tree: Tree, owner: Owner | None) -> None:
        self.store = store
        self.tree = tree
        self.owner = owner
        self.dirs: list[tuple[bytes, int]] = []

    def run(self, archive: tarfile.TarFile) -> None:
        try:
            for member in archive:
                self._member(archive, member)
        except (tarfile.ReadError, EOFError) as err:
            raise BrokenArchiveError("unexpected EOF") from err
        except (tarfile.TarError, lzma.LZMAError, zlib.error) as err:
            raise BrokenArchiveError(f"invalid tar archive: {err}") from err
        for path, mtime in self.dirs:
            place = self.tree.resolve(path)
            if self.tree.lstat(place) is not None:
                self.tree.own(place).mtime = mtime

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        shown = clean(member.name.encode("utf-8", "surrogateescape"))
        try:
            self._make(archive, member, shown)
        except PathError as err:
            if member.type in DEVICES:
                raise BuildkitError(err.reason()) from err
            raise PathError(err.op, shown, err.errno) from err

    def _make(self, archive: tarfile.TarFile, member: tarfile.TarInfo, shown: bytes) -> None:
        path = self._place(shown)
        existing = self.tree.lstat(path)
        root = member.name or ("/" if member.isdir() else ".")  # a directory's name comes without its slash
        if existing is not None and path == b"/" and posixpath.normpath(root) == ".":
            return
        if existing is not None and not (existing.is_dir() and member.isdir()):
            if path == b"/":
                raise BuildkitError("unlinkat .//: device or resource busy")
            self.tree.remove(path)
        if member.islnk():
            self._link(member, path, shown)
            return
        node = self._node(archive, member)
        if existing is not None and existing.is_dir() and node.is_dir():
            node.children = dict(existing.children or {})
        self.tree.put(path, node)
        self.tree.touch_parent(path, self.store.clock())
        if node.is_dir():
            self.dirs.append((path, node.mtime))

    def _place(self, shown: bytes) -> bytes:
        """Where a name is, once the directories above it have been made."""
        parent, name = parent_of(shown)
        if self._known(parent) is None:
            mkdir_all(self.tree, self.tree.resolve(parent), 0o755, None, None, self.store.clock())
        return join(self.tree.resolve(parent), name) if name else b"/"

    def _known(self, path: bytes) -> Node | None:
        try:
            return self.tree.lstat(self.tree.resolve(path, follow_last=False))
        except PathError:
            return None

    def _node(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Node:
        node = Node(st.S_IFREG | (member.mode & 0o7777), mtime=nanoseconds(member), children=None)
        node.uid, node.gid = self.owner if self.owner is not None else (member.uid, member.gid)
        node.xattrs = xattrs(member)
        if member.isdir():
            directory = Node(st.S_IFDIR | (member.mode & 0o7777), uid=node.uid, gid=node.gid, mtime=node.mtime)
            directory.xattrs = node.xattrs
            return directory
        if member.issym():
            if not member.linkname:
                raise BuildkitError(f"symlink  {_shown(member)}: no such file or directory")
            node.mode = st.S_IFLNK | 0o777
            node.link = member.linkname.encode("utf-8", "surrogateescape")
            node.size = len(node.link)
        elif member.type in DEVICES:
            node.mode = DEVICES[member.type] | (member.mode & 0o7777)
            node.major, node.minor = member.devmajor, member.devminor
        elif member.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
            node.blob, node.size = self._content(archive, member)
        else:
            raise BuildkitError(f"unhandled tar header type {ord(member.type)}")
        return node

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

    def _link(self, member: tarfile.TarInfo, path: bytes, shown: bytes) -> None:
        """Make another name of a file; what the archive says of this name holds for all."""
        target = clean(member.linkname.encode("utf-8", "surrogateescape"))
        found = self.tree.lstat(self.tree.resolve(target, follow_last=False))
        if found is None or found.is_dir():
            reason = "no such file or directory" if found is None else "operation not permitted"
            raise BuildkitError(
                f"link {target.decode('utf-8', 'replace')} {shown.decode('utf-8', 'replace')}: {reason}"
            )
        fresh = found.clone()
        fresh.inode = found.inode or secrets.randbits(63) | 1
        fresh.uid, fresh.gid = self.owner if self.owner is not None else (member.uid, member.gid)
        if not fresh.is_symlink():
            fresh.mode = st.S_IFMT(fresh.mode) | (member.mode & 0o7777)
            fresh.mtime = nanoseconds(member)
        for other, node in list(walk(self.tree.root)) if found.inode else ():
            if node.inode == found.inode:
                self.tree.put(b"/" + other, fresh.clone())
        self.tree.put(self.tree.resolve(target, follow_last=False), fresh.clone())
        self.tree.put(path, fresh)
        self.tree.touch_parent(path, self.store.clock())


def _shown(member: tarfile.TarInfo) -> str:
    """A member's path."""
    return clean(member.name.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")


def nanoseconds(member: tarfile.TarInfo) -> int:
    """A member's time in nanoseconds since the epoch; 0 for one that is out of bounds."""
    text = member.pax_headers.get("mtime", "")
    seconds, _, fraction = text.partition(".")
    if seconds.isdigit() and fraction.isascii() and (fraction or "0").isdigit():
        time = int(seconds) * 1_000_000_000 + int((fraction + "0" * 9)[:9])
    else:
        time = int(member.mtime) * 1_000_000_000
    return time if 0 <= time < 1 << 63 else 0


def xattrs(member: tarfile.TarInfo) -> tuple[tuple[str, bytes], ...]:
    """A member's extended attributes, by name; those of users are for files and directories only."""
    takes_all = member.isfile() or member.isdir() or member.islnk()
    found = [
        (key.removeprefix(_XATTR), value.encode("utf-8", "surrogateescape"))
        for key, value in member.pax_headers.items()
        if key.startswith(_XATTR) and (takes_all or not key.startswith(_XATTR + "user."))
    ]
    return tuple(sorted(found))
