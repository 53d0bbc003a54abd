"""A stored tree as a file system for transfers and archives, and back from transferred entries.

The wire has Go's file modes, trees have Unix's.
"""

from __future__ import annotations

import errno
import os
import stat as st
from collections.abc import Callable, Iterator
from typing import BinaryIO

from fake_buildkitd.store._store import Store
from fake_buildkitd.store._tree import Node, Tree, clean, walk
from pybuildkit.golang.errors import with_op
from pybuildkit.third_party import fsutil

_UNIX_TYPES = {
    0: st.S_IFREG,
    fsutil.MODE_DIR: st.S_IFDIR,
    fsutil.MODE_SYMLINK: st.S_IFLNK,
    fsutil.MODE_DEVICE: st.S_IFBLK,
    fsutil.MODE_DEVICE | fsutil.MODE_CHAR_DEVICE: st.S_IFCHR,
    fsutil.MODE_NAMED_PIPE: st.S_IFIFO,
    fsutil.MODE_SOCKET: st.S_IFSOCK,
}


def unix_mode(mode: int) -> int:
    """Unix's mode of Go's; 0 for a type that Unix does not have."""
    kind = _UNIX_TYPES.get(mode & fsutil.MODE_TYPE)
    return 0 if kind is None else kind | fsutil.unix_permissions(mode)


class _BlobFile:
    """The content of a regular file, opened when it is first read."""

    def __init__(self, store: Store, digest: bytes) -> None:
        self._store = store
        self._digest = digest
        self._file: BinaryIO | None = None

    def fileno(self) -> int:
        """-1: reading goes through `read`."""
        return -1

    def read(self, n: int, /) -> bytes:
        """The next bytes of the content."""
        if self._file is None:
            self._file = self._store.open_blob(self._digest)
        return self._file.read(n)

    def close(self) -> None:
        """Let go of the content."""
        if self._file is not None:
            self._file.close()


class TreeFS:
    """A tree as fsutil's FS.

    Args:
        store: has the contents.
        root: the tree.
        change: called with each Stat before it is given out, and may change it.
    """

    def __init__(self, store: Store, root: Node, change: Callable[[fsutil.Stat], None] | None = None) -> None:
        self._store = store
        self._root = root
        self._change = change

    def walk(self, target: bytes = b"") -> Iterator[fsutil.Entry]:
        """The entries in fsutil's order."""
        links: dict[int, bytes] = {}
        yield from self._walk(self._root, b"", links, target.strip(b"/"))

    def _walk(self, node: Node, path: bytes, links: dict[int, bytes], target: bytes) -> Iterator[fsutil.Entry]:
        children = node.children or {}
        for name in sorted(children):
            child = children[name]
            child_path = path + b"/" + name if path else name
            if target and not _related(child_path, target):
                continue
            entry = None
            if not target or child_path == target or child_path.startswith(target + b"/"):
                stat = node_stat(child, child_path, links)
                if self._change is not None:
                    self._change(stat)
                entry = fsutil.Entry(child_path, child.is_dir(), stat)
                yield entry
            if entry is not None and entry.skip:
                if child.is_dir():
                    continue
                return
            if child.is_dir():
                yield from self._walk(child, child_path, links, target)

    def open(self, path: bytes) -> _BlobFile:
        """The content of a regular file."""
        node = Tree(self._root).lstat(clean(path))
        if node is None or not node.is_regular():
            code = errno.ENOENT if node is None else errno.EINVAL
            raise with_op(OSError(code, os.strerror(code), path), "open")
        return _BlobFile(self._store, node.blob)


def _related(path: bytes, target: bytes) -> bool:
    return path == target or path.startswith(target + b"/") or target.startswith(path + b"/")


def node_stat(node: Node, path: bytes, links: dict[int, bytes] | None = None) -> fsutil.Stat:
    """The Stat of a node; `links` remembers the first name of each hard-linked file of a walk."""
    stat = fsutil.Stat(
        path,
        fsutil.go_mode(node.mode),
        node.uid,
        node.gid,
        0 if node.is_dir() else node.size,
        node.mtime,
        node.link,
        node.major,
        node.minor,
        dict(node.xattrs) if node.xattrs else None,
        1,
    )
    if node.inode and links is not None:
        first = links.setdefault(node.inode, path)
        stat.nlink = 2
        if first != path:
            stat.linkname = first
    return stat


def node_from_stat(stat: fsutil.Stat) -> Node:
    """A node with a Stat's attributes, without content."""
    node = Node(
        unix_mode(stat.mode),
        uid=stat.uid,
        gid=stat.gid,
        mtime=stat.mod_time,
        size=0 if stat.is_dir() else stat.size,
        major=stat.devmajor,
        minor=stat.devminor,
        xattrs=tuple(sorted(stat.xattrs.items())) if stat.xattrs else (),
    )
    if node.is_symlink():
        node.link = stat.linkname
    return node


def entries(root: Node) -> list[fsutil.Stat]:
    """The Stats of the entries directly in a directory, by name."""
    return [node_stat(node, path) for path, node in walk(root) if b"/" not in path]
