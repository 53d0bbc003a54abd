"""A folder of this machine as a tree of the store."""

from __future__ import annotations

import os
import stat as st

from fake_buildkitd.store import Node, Store

_CHUNK = 1 << 20


def import_folder(store: Store, folder: str, mtime: int | None = None) -> Node:
    """The tree of a folder's files, all of them root's; blocks. What is no file, folder or link is left out.

    Args:
        mtime: the time that everything gets (nanoseconds); None for its own.

    Raises:
        OSError: a file cannot be read.
    """
    return _directory(store, os.fsencode(folder), mtime)


def _directory(store: Store, path: bytes, mtime: int | None) -> Node:
    info = os.lstat(path)
    node = Node(info.st_mode, mtime=info.st_mtime_ns if mtime is None else mtime)
    assert node.children is not None
    with os.scandir(path) as listed:
        for entry in listed:
            child = _node(store, entry, mtime)
            if child is not None:
                node.children[entry.name] = child
    return node


def _node(store: Store, entry: os.DirEntry[bytes], mtime: int | None) -> Node | None:
    info = entry.stat(follow_symlinks=False)
    if st.S_ISDIR(info.st_mode):
        return _directory(store, entry.path, mtime)
    node = Node(info.st_mode, mtime=info.st_mtime_ns if mtime is None else mtime)
    if st.S_ISLNK(info.st_mode):
        node.link = os.readlink(entry.path)
        node.size = len(node.link)
        return node
    if not st.S_ISREG(info.st_mode):
        return None
    writer = store.blob_writer()
    try:
        with open(entry.path, "rb") as file:
            while piece := file.read(_CHUNK):
                writer.write(piece)
        node.blob, node.size = writer.finish()
    except BaseException:
        writer.abort()
        raise
    return node
